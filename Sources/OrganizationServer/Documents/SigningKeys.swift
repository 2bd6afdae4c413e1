import Glibc
import RegistryAccess
import SignedPolicy

/// A key of the server's, and whether it signs.
struct ServerKey: Sendable {
    /// Whether the newest root document names a key, and whether one ever did.
    enum State: String, Sendable {
        /// The newest root document names it.
        case signs
        /// It was made, and no root document has named it yet.
        case waiting
        /// A root document named it, and the newest does not. Nobody should name it again: it was taken out for a reason.
        case retired
    }

    /// What it is for.
    let kind: DocumentKind
    /// Its public half.
    let key: VerificationKey
    /// Whether it signs.
    let state: State
}

/// The private keys by which the server signs: `DIRECTORY/ORGANIZATION/KIND-KEYID.key`, mode 0600.
///
/// An organization may have several keys of a kind. Those sign that the newest root document names, so a key can be made
/// first, named by a root document then, and taken out when no machine needs it: there is no moment of changing over. They
/// are read each time that something is signed, and no copy is kept.
struct SigningKeys: Sendable {
    /// What the server signs; the root is signed by keys that no server has.
    static let kinds: [DocumentKind] = [.policy, .freshness, .ticket]

    /// The directory of all organizations' keys.
    let directory: String

    /// Makes the first keys of an organization and the root document that names them.
    ///
    /// - Parameters:
    ///   - organization: the organization.
    ///   - rootKeys: who may sign root documents; one of them must.
    ///   - expires: when the root document ends.
    /// - Returns: the root document, not signed.
    /// - Throws: ``ServerFileError``.
    func create(
        organization: String,
        rootKeys: [VerificationKey],
        expires: Instant
    ) throws(ServerFileError) -> RootDocument {
        var roles: [DocumentKind: RootDocument.Role] = [.root: RootDocument.Role(rootKeys)]
        func root() -> RootDocument {
            RootDocument(organization: organization, version: 1, expires: expires, roles: roles)
        }
        do {
            for kind in Self.kinds { roles[kind] = RootDocument.Role([try add(kind, for: organization)]) }
        } catch {
            discard(root())
            throw error
        }
        return root()
    }

    /// Takes the keys away that were made for a root document which came to nothing; others of the organization stay.
    ///
    /// - Parameter root: the root document.
    func discard(_ root: RootDocument) {
        guard let folder = try? directory(of: root.organization) else { return }
        for kind in Self.kinds {
            for key in root.roles[kind]?.keys ?? [] { unlink(Self.file(kind, key, in: folder)) }
        }
        // As long as something else is in them, they stay.
        rmdir(folder)
        rmdir(directory)
    }

    private static func file(_ kind: DocumentKind, _ key: VerificationKey, in directory: String) -> String {
        "\(directory)/\(kind.rawValue)-\(key.id).key"
    }

    /// Makes the first keys of an organization and the root document that names them, signed.
    ///
    /// - Parameters:
    ///   - organization: the organization.
    ///   - rootKey: the owner's key. It is not kept here.
    ///   - expires: when the root document ends.
    /// - Returns: the root document in its envelope.
    /// - Throws: ``ServerFileError``, or what the cryptography says.
    func create(organization: String, rootKey: SigningKey, expires: Instant) throws -> Envelope {
        let root = try create(organization: organization, rootKeys: [rootKey.verificationKey], expires: expires)
        return try Envelope(signing: root.payload, as: .root, with: [rootKey])
    }

    /// Makes a key, which signs as soon as a root document names it.
    ///
    /// - Parameters:
    ///   - kind: what it is for.
    ///   - organization: whose it is.
    /// - Returns: its public half.
    /// - Throws: ``ServerFileError``.
    func add(_ kind: DocumentKind, for organization: String) throws(ServerFileError) -> VerificationKey {
        let key = SigningKey.generate()
        let directory = try self.directory(of: organization)
        try ServerFile.makeDirectory(directory, mode: 0o700)
        let path = Self.file(kind, key.verificationKey, in: directory)
        try ServerFile.write(path, Array(key.file.utf8), mode: 0o600, isNew: true)
        return key.verificationKey
    }

    /// The public halves of all keys of a kind that are here.
    ///
    /// - Parameters:
    ///   - kind: what they are for.
    ///   - organization: whose they are.
    /// - Returns: the keys in the order of their names.
    /// - Throws: ``ServerFileError``.
    func publicKeys(_ kind: DocumentKind, of organization: String) throws(ServerFileError) -> [VerificationKey] {
        try keys(kind, of: organization).map(\.verificationKey)
    }

    /// The keys that sign documents of a kind: those that are here and that a root document names.
    ///
    /// - Parameters:
    ///   - kind: the kind.
    ///   - root: the newest root document.
    /// - Returns: as many as the root document asks for, or more.
    /// - Throws: ``ServerFileError`` also if there are too few, for what is signed with them nobody would accept.
    func signing(_ kind: DocumentKind, by root: RootDocument) throws(ServerFileError) -> [SigningKey] {
        let role = root.roles[kind] ?? RootDocument.Role([])
        let named = Set(role.keys)
        let keys = try keys(kind, of: root.organization).filter { named.contains($0.verificationKey) }
        guard keys.count >= role.threshold else {
            throw ServerFileError(
                "version \(root.version) of the root document of \"\(root.organization)\" asks for \(role.threshold) of "
                    + "its keys for \"\(kind.rawValue)\", and the server has \(keys.count) of them"
            )
        }
        return Array(keys.prefix(Envelope.mostSignatures))
    }

    private func keys(_ kind: DocumentKind, of organization: String) throws(ServerFileError) -> [SigningKey] {
        let directory = try self.directory(of: organization)
        var keys: [SigningKey] = []
        for name in try ServerFile.names(in: directory) where name.hasPrefix("\(kind.rawValue)-") {
            // What a program that was stopped left beside a key has another ending.
            guard name.hasSuffix(".key") else { continue }
            let path = "\(directory)/\(name)"
            guard let bytes = try ServerFile.read(path, atMost: 4096, isSecret: true) else { continue }
            guard let key = SigningKey(file: bytes), name == "\(kind.rawValue)-\(key.verificationKey.id).key" else {
                throw ServerFileError("\"\(path)\" is not the key that its name says")
            }
            keys.append(key)
        }
        return keys
    }

    private func directory(of organization: String) throws(ServerFileError) -> String {
        guard Names.isName(organization) else { throw ServerFileError("bad name \"\(organization)\"") }
        return "\(directory)/\(organization)"
    }
}
