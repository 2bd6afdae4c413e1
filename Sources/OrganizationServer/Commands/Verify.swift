import ArgumentParser
import Foundation
import GRDB
import RegistryAccess
import SignedPolicy

/// `docker-ram-server verify`.
struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prove that nobody has changed what the activity says, also while the server runs.",
        discussion: """
            Follows the chain of each organization and its signed checkpoints, and names the first line that does not fit. \
            If all is well it signs a new checkpoint.

            Whoever can write to the whole directory can take lines and checkpoints back together. A copy of the newest \
            checkpoints that is kept elsewhere shows that, too: --checkpoints FILE.
            """
    )

    @OptionGroup var data: DataOption

    @Option(
        help: ArgumentHelp(
            "Checkpoints that are kept elsewhere: what is in the file is compared, then the newest are put into it.",
            valueName: "file"
        )
    )
    var checkpoints: String?

    func run() async throws {
        try await reporting {
            let directory = data.directory
            try directory.check()
            let store = try Store(path: directory.database)
            let publisher = Publisher(store: store, keys: SigningKeys(directory: directory.keys), changes: ChangeFeed())
            {
                .now
            }
            let kept = try Self.read(checkpoints)
            let organizations = try await store.organizations()
            if let other = kept.keys.sorted().first(where: { !organizations.contains($0) }) {
                throw DataDirectory.Fault(
                    description: "there is a checkpoint of \"\(other)\", and no such organization"
                )
            }
            for organization in organizations {
                let proved = try await named(organization) {
                    try await publisher.verifyActivity(of: organization, with: kept[organization] ?? [])
                }
                let signed = proved.checkpoints == 1 ? "1 checkpoint" : "\(proved.checkpoints) checkpoints"
                print(
                    "\(organization): \(proved.end.lines) lines up to number \(proved.end.number), "
                        + "\(signed), sha256:\(proved.end.hash)"
                )
            }
            try await store.database.read(ActivityChain.checkEnd)
            for organization in organizations { try await publisher.makeCheckpoint(of: organization) }
            if let checkpoints {
                var lines = ""
                for organization in organizations {
                    guard let envelope = try await store.newestCheckpoint(of: organization) else { continue }
                    lines += String(decoding: envelope, as: UTF8.self) + "\n"
                }
                try DataDirectory.write(lines, to: checkpoints)
            }
            try store.database.close()
        }
    }

    /// Says of which organization something is.
    private func named<Result>(_ organization: String, _ body: () async throws -> Result) async throws -> Result {
        do {
            return try await body()
        } catch let fault as ActivityChain.Fault {
            throw DataDirectory.Fault(description: "the activity of \"\(organization)\": \(fault)")
        } catch let rejection as Rejection {
            throw DataDirectory.Fault(
                description: "the activity of \"\(organization)\": a checkpoint is not to be relied on: \(rejection)"
            )
        }
    }

    /// The checkpoints of a file by their organization, an envelope on each line.
    private static func read(_ file: String?) throws -> [String: [[UInt8]]] {
        guard let file, FileManager.default.fileExists(atPath: file) else { return [:] }
        guard let bytes = FileManager.default.contents(atPath: file) else {
            throw DataDirectory.Fault(description: "cannot read \"\(file)\"")
        }
        var kept: [String: [[UInt8]]] = [:]
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            do {
                // Who has signed it is looked at with the keys of the organization that it names.
                let payload = try Envelope(json: Array(line), as: .activity).payload
                kept[try ActivityCheckpoint(payload: payload).organization, default: []].append(Array(line))
            } catch {
                throw DataDirectory.Fault(description: "\"\(file)\" is no file of checkpoints: \(error)")
            }
        }
        return kept
    }
}
