import ArgumentParser
import Foundation
import GRDB
import RegistryAccess
import SignedPolicy

/// `docker-ram-server trust FILE`: takes the first root document, which was signed elsewhere.
struct Trust: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trust",
        abstract: "Take the first root document, signed where the root key is.",
        discussion: """
            init and organization add with --root-public-key write it unsigned, as ORGANIZATION-root-1-to-sign.json in the \
            server's directory. The server takes that document and no other, and makes the first policy.

            Example: docker-ram-server trust --data /var/lib/docker-ram-server acme-root-1-to-sign.json
            """
    )

    @OptionGroup var data: DataOption

    @Argument(help: "The signed root document.", completion: .file())
    var file: String

    func run() async throws {
        try await reporting {
            let directory = data.directory
            try directory.check()
            guard let bytes = try ServerFile.read(file, atMost: DocumentKind.root.longest) else {
                throw ServerFileError("there is no file \"\(file)\"")
            }
            let store = try Store(of: directory)
            let root = try await FirstDocuments.take(root: bytes, in: store, directory)
            try store.database.close()
            print("\(root.organization): root document 1 is in force until \(root.expires), and policy 1")
        }
    }
}

extension FirstDocuments {
    /// Takes the first root document, and makes the first policy.
    ///
    /// - Parameters:
    ///   - bytes: the document that ``make(for:in:_:)`` wrote, signed.
    ///   - store: the database.
    ///   - data: the server's directory.
    /// - Returns: the root document.
    /// - Throws: ``ServerFileError`` if it is another document, or what ``Publisher/begin(_:root:by:contact:)`` throws.
    static func take(root bytes: [UInt8], in store: Store, _ data: DataDirectory) async throws -> RootDocument {
        let envelope = try Envelope(json: trimmed(bytes), as: .root)
        let name = try RootDocument(payload: envelope.payload).organization
        let path = "\(data.path)/\(fileToSign(of: name))"
        guard Names.isName(name), let written = try ServerFile.read(path, atMost: DocumentKind.root.longest) else {
            throw ServerFileError("no root document of \"\(name)\" waits for a signature in \"\(data.path)\"")
        }
        let expected = try Envelope(json: trimmed(written), as: .root).payload
        guard envelope.payload == expected else {
            throw ServerFileError("this is not the root document that was written to \"\(path)\"")
        }
        let root = try RootDocument(payload: expected)
        let (owner, contact) = try await store.firstOwner(of: root.organization)
        let publisher = Publisher(store: store, keys: SigningKeys(directory: data.keys), changes: ChangeFeed()) { .now }
        do {
            try await publisher.begin(root.organization, root: Array(envelope.json.utf8), by: owner, contact: contact)
        } catch let rejection as Rejection {
            throw ServerFileError("the root document was not taken: \(rejection)")
        } catch let problem as Problem {
            throw ServerFileError(problem.detail)
        }
        try FileManager.default.removeItem(atPath: path)
        return root
    }

    private static func trimmed(_ bytes: [UInt8]) -> [UInt8] {
        Array(bytes.reversed().drop { $0 == UInt8(ascii: "\n") }.reversed())
    }
}

extension Store {
    /// Who made an organization, and whom its developers ask.
    ///
    /// - Parameter organization: which.
    /// - Returns: its first owner and its contact.
    /// - Throws: ``ServerFileError`` if there is no such organization, or what SQLite says.
    fileprivate func firstOwner(of organization: String) async throws -> (owner: String, contact: String?) {
        let found = try await database.read { database -> (owner: String, contact: String?)? in
            try Row.fetchOne(
                database,
                sql: """
                    SELECT membership.user, organization.contact FROM organization
                    JOIN membership ON membership.organization = organization.name AND membership.role = 'owner'
                    WHERE organization.name = ? ORDER BY membership.created, membership.user LIMIT 1
                    """,
                arguments: [organization]
            ).map { (owner: $0["user"], contact: $0["contact"]) }
        }
        guard let found else { throw ServerFileError("there is no organization \"\(organization)\" with an owner") }
        return found
    }
}
