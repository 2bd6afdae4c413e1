import RegistryAccess
import GRDB
import Glibc
import SignedPolicy

/// What is signed for a new organization: the first root document and the first policy of an organization.
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

    /// What the first root document of an organization is called in the server's directory, while it waits for a signature.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the name of the file.
    static func fileToSign(of organization: String) -> String { "\(organization)-root-1-to-sign.json" }

    /// Where the root key of an organization is written unless somebody wants it elsewhere.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - data: the server's directory.
    /// - Returns: the path.
    static func rootKeyFile(of organization: String, in data: DataDirectory) -> String {
        "\(data.path)/\(organization)-root.key"
    }

    /// Makes the keys, the root document and the first policy, and writes the organization with them: all of it or nothing.
    ///
    /// - Parameters:
    ///   - setup: the organization.
    ///   - store: the database.
    ///   - data: where the server's keys go.
    /// - Returns: lines that say what its owner has to do now.
    /// - Throws: ``ServerFileError`` if a file cannot be written, or what SQLite says.
    func make(for setup: OrganizationSetup, in store: Store, _ data: DataDirectory) async throws -> [String] {
        let keys = SigningKeys(directory: data.keys)
        let (file, trusted, secret): (String, VerificationKey, SigningKey?)
        switch rootKey {
        case .new(let path):
            let key = SigningKey.generate()
            (file, trusted, secret) = (path, key.verificationKey, key)
        case .elsewhere(let key):
            (file, trusted, secret) = ("\(data.path)/\(Self.fileToSign(of: setup.organization))", key, nil)
        }
        let root = try keys.create(
            organization: setup.organization,
            rootKeys: [trusted],
            expires: setup.now + Self.rootLifetime
        )
        do {
            let envelope = try Envelope(signing: root.payload, as: .root, with: secret.map { [$0] } ?? [])
            let content = secret?.file ?? "\(envelope.json)\n"
            try ServerFile.write(file, Array(content.utf8), mode: 0o600, isNew: true)
            do {
                try await write(setup, secret == nil ? nil : envelope, in: store, keys)
            } catch {
                // A key of nothing would only be in the way of the next attempt.
                unlink(file)
                throw error
            }
        } catch {
            keys.discard(root)
            throw error
        }
        let fingerprint = "machines are enrolled with the fingerprint \(trusted.id.fingerprint)"
        guard secret == nil else {
            return ["the root key is \(file): move it away from this machine, and keep it safe", fingerprint]
        }
        return [
            "sign \(file) where the root key is: docker ram admin key sign FILE --key root.key",
            "then bring it back: docker-ram-server trust --data \(data.path) FILE",
            fingerprint,
        ]
    }

    /// Writes the organization, and the first policy if the root document is signed already.
    private func write(
        _ setup: OrganizationSetup,
        _ root: Envelope?,
        in store: Store,
        _ keys: SigningKeys
    ) async throws {
        guard let root else { return try await store.database.write { try setup.write($0) } }
        let publisher = Publisher(store: store, keys: keys, changes: ChangeFeed()) { setup.now }
        try await publisher.begin(
            setup.organization,
            root: Array(root.json.utf8),
            by: setup.owner,
            contact: setup.contact,
            beforehand: { try setup.write($0) }
        )
    }
}
