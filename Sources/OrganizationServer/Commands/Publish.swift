import ArgumentParser
import GRDB
import RegistryAccess
import SignedPolicy

/// `docker-ram-server publish DIR`: what machines fetch as files, for any web server.
struct Publish: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Write what machines fetch into a folder that any web server can serve",
        discussion: """
            The freshness document is renewed first if half of its life is over, so run this from a timer, at least \
            every quarter of the time that a policy holds. It works beside a running server, and without one.

            Example: docker-ram-server publish --data /var/lib/docker-ram-server /var/www/acme
            """
    )

    @Argument(help: "The folder; it is made if it is not there", completion: .directory)
    var folder: String

    @OptionGroup var data: DataOption

    @Option(name: .long, help: "The organization; may be left out if there is only one")
    var organization: String?

    func run() async throws {
        try await reporting {
            let directory = data.directory
            try directory.check()
            let store = try Store(of: directory)
            let keys = SigningKeys(directory: directory.keys)
            let publisher = Publisher(store: store, keys: keys, changes: ChangeFeed()) { .now }
            let written = try await publisher.writeFiles(of: organization, to: folder)
            try store.database.close()
            print("\(written.organization): policy \(written.policyVersion) is in \"\(folder)\"")
        }
    }
}

extension Publisher {
    /// Writes what machines fetch into a folder.
    ///
    /// Each file is written beside its place and moved there, what has a number first and the freshness document last: at
    /// every moment a machine finds all that it is told to fetch.
    ///
    /// - Parameters:
    ///   - name: whose; `nil` if there is only one organization.
    ///   - folder: where to.
    /// - Returns: whose documents were written, and the version of the policy.
    /// - Throws: ``ServerFileError``, or what SQLite says.
    func writeFiles(
        of name: String?,
        to folder: String
    ) async throws -> (organization: String, policyVersion: Int) {
        let organizations = try await store.sequences().keys.sorted()
        let organization: String
        switch name {
        case let name?: organization = name
        case nil where organizations.count == 1: organization = organizations[0]
        case nil:
            throw ServerFileError(
                "there are \(organizations.count) organizations; say which one with --organization NAME"
            )
        }
        if try await store.organizationsToRenew(at: now()).contains(organization) {
            try await renewFreshness(of: organization)
        }
        guard let newest = try await store.newestDocuments(of: organization) else {
            throw ServerFileError("\"\(organization)\" has no policy yet")
        }
        var files = newest.roots.enumerated().map { ("root/\($0.offset + 1).json", $0.element) }
        files.append(("policy/\(newest.policyVersion).json", newest.policy))
        files += newest.roots.last.map { [("root.json", $0)] } ?? []
        files.append(("policy.json", newest.policy))
        files.append(("freshness.json", newest.freshness))
        for directory in [folder, "\(folder)/root", "\(folder)/policy"] {
            try ServerFile.makeDirectory(directory, mode: 0o755)
        }
        for (name, bytes) in files {
            let path = "\(folder)/\(name)"
            // What is the same stays, with its time, so that who asks a web server gets 304.
            if try ServerFile.read(path, atMost: DocumentKind.policy.longest) == bytes { continue }
            try ServerFile.write(path, bytes, mode: 0o644)
        }
        return (organization, newest.policyVersion)
    }
}
