import RegistryAccess
import Glibc
import SignedPolicy

/// What `docker-ram-server init` signs: the first root document and the first policy of an organization.
struct FirstDocuments: Sendable {
    /// How long a root document holds: time enough to make the next one, and too short to forget how.
    static let rootLifetime: Int64 = 400 * 86_400

    /// The file that the organization's new root key is written to.
    ///
    /// Whoever has that key can take the organization's machines over, and nobody can change the server's keys without it;
    /// the server itself never needs it.
    let rootKeyFile: String

    /// Makes the keys, the root document and the first policy.
    ///
    /// - Parameters:
    ///   - setup: the organization, which is in the database.
    ///   - store: the database.
    ///   - data: where the server's keys go.
    /// - Returns: lines that say what its owner has to do now.
    /// - Throws: ``ServerFileError`` if a file cannot be written, or what SQLite says.
    func make(for setup: OrganizationSetup, in store: Store, _ data: DataDirectory) async throws -> [String] {
        let rootKey = SigningKey.generate()
        try ServerFile.write(rootKeyFile, Array(rootKey.file.utf8), mode: 0o600, isNew: true)
        do {
            try await publish(rootKey, for: setup, in: store, SigningKeys(directory: data.keys))
        } catch {
            // A key of nothing would only be in the way of the next attempt.
            unlink(rootKeyFile)
            throw error
        }
        return [
            "the root key is \(rootKeyFile): move it away from this machine, and keep it safe",
            "machines are enrolled with the fingerprint \(rootKey.verificationKey.id.fingerprint)",
        ]
    }

    private func publish(
        _ rootKey: SigningKey,
        for setup: OrganizationSetup,
        in store: Store,
        _ keys: SigningKeys
    ) async throws {
        let publisher = Publisher(store: store, keys: keys, changes: ChangeFeed()) { setup.now }
        let root = try keys.create(
            organization: setup.organization,
            rootKey: rootKey,
            expires: setup.now + Self.rootLifetime
        )
        try await publisher.begin(
            setup.organization,
            root: Array(root.json.utf8),
            by: setup.owner,
            contact: setup.contact
        )
    }
}
