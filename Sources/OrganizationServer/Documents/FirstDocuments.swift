import RegistryAccess
import Glibc
import SignedPolicy

/// What `docker-ram-server init` signs: the first root document and the first policy of an organization.
struct FirstDocuments: Sendable {
    /// How long a root document holds: time enough to make the next one, and too short to forget how.
    static let rootLifetime: Int64 = 400 * 86_400

    /// Where the organization's root key comes from.
    ///
    /// Whoever has that key can take the organization's machines over, and nobody can change the server's keys without it;
    /// the server itself never needs it.
    enum RootKey: Sendable {
        /// It is made here, and written to this file.
        case new(file: String)
        /// Its owner has it elsewhere; this is its public half.
        case elsewhere(VerificationKey)
    }

    /// Where the root key comes from.
    let rootKey: RootKey

    /// Where the first root document waits for a signature, in the server's directory.
    static let fileToSign = "root-1-to-sign.json"

    /// The file that its owner has to do something with: the root key, or what is to be signed with it.
    ///
    /// - Parameter data: the server's directory.
    /// - Returns: its path.
    func file(in data: DataDirectory) -> String {
        switch rootKey {
        case .new(let file): file
        case .elsewhere: "\(data.path)/\(Self.fileToSign)"
        }
    }

    /// Where the root key of an organization is written unless somebody wants it elsewhere.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - data: the server's directory.
    /// - Returns: the path.
    static func rootKeyFile(of organization: String, in data: DataDirectory) -> String {
        "\(data.path)/\(organization)-root.key"
    }

    /// Makes the keys, the root document and the first policy.
    ///
    /// - Parameters:
    ///   - setup: the organization, which is in the database.
    ///   - store: the database.
    ///   - data: where the server's keys go.
    /// - Returns: lines that say what its owner has to do now.
    /// - Throws: ``ServerFileError`` if a file cannot be written, or what SQLite says.
    func make(for setup: OrganizationSetup, in store: Store, _ data: DataDirectory) async throws -> [String] {
        let keys = SigningKeys(directory: data.keys)
        switch rootKey {
        case .new(let file):
            let rootKey = SigningKey.generate()
            try ServerFile.write(file, Array(rootKey.file.utf8), mode: 0o600, isNew: true)
            do {
                try await publish(rootKey, for: setup, in: store, keys)
            } catch {
                // A key of nothing would only be in the way of the next attempt.
                unlink(file)
                throw error
            }
            return [
                "the root key is \(file): move it away from this machine, and keep it safe",
                "machines are enrolled with the fingerprint \(rootKey.verificationKey.id.fingerprint)",
            ]
        case .elsewhere(let rootKey):
            let root = try keys.create(
                organization: setup.organization,
                rootKeys: [rootKey],
                expires: setup.now + Self.rootLifetime
            )
            let file = file(in: data)
            let envelope = try Envelope(signing: root.payload, as: .root, with: [])
            try ServerFile.write(file, Array("\(envelope.json)\n".utf8), mode: 0o600, isNew: true)
            return [
                "sign \(file) where the root key is: docker ram admin key sign FILE --key root.key",
                "then bring it back: docker-ram-server trust --data \(data.path) FILE",
                "machines are enrolled with the fingerprint \(rootKey.id.fingerprint)",
            ]
        }
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
