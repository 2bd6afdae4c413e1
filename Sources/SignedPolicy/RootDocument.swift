public import RegistryAccess

/// Which keys may sign what for an organization; the owner signs it with keys that no server has.
///
/// Its rules are those of the root of The Update Framework (source: theupdateframework/specification, section 5.3): version
/// N+1 is signed by enough of the root keys of N and of its own.
public struct RootDocument: Hashable, Sendable {
    /// Keys, and how many of them must sign.
    public struct Role: Hashable, Sendable {
        /// How many, at least 1.
        public let threshold: Int
        /// Which keys.
        public let keys: [VerificationKey]

        /// A role.
        ///
        /// - Parameters:
        ///   - threshold: how many must sign, from 1 to the number of keys.
        ///   - keys: which keys may.
        public init(threshold: Int = 1, _ keys: [VerificationKey]) {
            self.threshold = threshold
            self.keys = keys
        }

        /// How many of the keys have signed.
        func signatures(on envelope: Envelope) -> Set<KeyID> {
            envelope.signers(among: Dictionary(keys.map { ($0.id, $0) }) { first, _ in first })
        }

        func check(_ envelope: Envelope) throws(Rejection) {
            let count = signatures(on: envelope).count
            guard count >= threshold else { throw .notSigned(signatures: count, needed: threshold) }
        }
    }

    /// The organization.
    public let organization: String
    /// The version, from 1 on without a gap.
    public let version: Int
    /// When it ends; machines refuse it from then on.
    public let expires: Instant
    /// Who may sign what; every kind of document has a role.
    public let roles: [DocumentKind: Role]

    /// A root document.
    ///
    /// - Parameters:
    ///   - organization: the organization.
    ///   - version: the version.
    ///   - expires: when it ends.
    ///   - roles: who may sign what.
    public init(organization: String, version: Int, expires: Instant, roles: [DocumentKind: Role]) {
        self.organization = organization
        self.version = version
        self.expires = expires
        self.roles = roles
    }

    /// The role for a kind of document; a document of a kind without one is signed by nobody.
    func role(for kind: DocumentKind) -> Role { roles[kind] ?? Role(threshold: 1, []) }

    /// Reads a document whose signatures are still to be looked at.
    ///
    /// - Parameter payload: the document.
    /// - Throws: ``Rejection/malformed(_:)``.
    public init(payload: [UInt8]) throws(Rejection) {
        var organization = ""
        var version = 0
        var expires = Instant(seconds: 0)
        var keys: [KeyID: VerificationKey] = [:]
        var roles: [DocumentKind: (threshold: Int, keys: [KeyID])] = [:]
        try DocumentReader.read(payload, ["organization", "version", "expires", "keys", "roles"]) {
            (key, scanner) throws(InvalidJSON) in
            switch key {
            case "organization": organization = try DocumentReader.name(&scanner)
            case "version": version = try DocumentReader.number(&scanner, in: DocumentReader.numbers)
            case "expires": expires = try DocumentReader.instant(&scanner)
            case "keys":
                try scanner.object { (name, offset, scanner) throws(InvalidJSON) in
                    let key = try DocumentReader.value(&scanner, "key") { text in
                        StrictBase64.decode(text.utf8).flatMap { VerificationKey($0) }
                    }
                    // A name that is not its key's would let one key stand for two.
                    guard KeyID(name) == key.id else {
                        throw scanner.fault("this is not the name of the key", at: offset)
                    }
                    keys[key.id] = key
                }
            default:
                try scanner.object(of: DocumentKind.roles.map(\.rawValue)) {
                    (name, scanner) throws(InvalidJSON) in
                    guard let kind = DocumentKind(rawValue: name) else { return }
                    var threshold = 0
                    var names: [KeyID] = []
                    try scanner.object(of: ["threshold", "keys"]) { (key, scanner) throws(InvalidJSON) in
                        if key == "keys" {
                            names = try DocumentReader.texts(&scanner, "name of a key") { KeyID($0) }
                        } else {
                            threshold = try DocumentReader.number(&scanner, in: 1...Envelope.mostSignatures)
                        }
                    }
                    roles[kind] = (threshold, names)
                }
            }
        }
        var read: [DocumentKind: Role] = [:]
        for kind in DocumentKind.roles {
            guard let role = roles[kind], role.threshold >= 1, Set(role.keys).count == role.keys.count,
                role.keys.count >= role.threshold
            else { throw .malformed("the role \"\(kind.rawValue)\" is missing, or more keys must sign than there are") }
            let members = role.keys.compactMap { keys[$0] }
            guard members.count == role.keys.count else {
                throw .malformed("the role \"\(kind.rawValue)\" names a key that is not there")
            }
            read[kind] = Role(threshold: role.threshold, members)
        }
        // A key that a server has could replace every other key if it were a root key, too.
        let online = read.filter { $0.key != .root }.flatMap(\.value.keys)
        guard Set(online).isDisjoint(with: read[.root]?.keys ?? []) else {
            throw .malformed("a root key has another role, too, for which it would have to be on a server")
        }
        self.init(organization: organization, version: version, expires: expires, roles: read)
    }

    /// The document for signing.
    public var payload: [UInt8] {
        let keys = Set(roles.values.flatMap(\.keys)).sorted { $0.id < $1.id }
        let document = JSONValue.object([
            JSONMember("organization", .string(organization)),
            JSONMember("version", .number("\(version)")),
            JSONMember("expires", .string(expires.description)),
            JSONMember(
                "keys",
                .object(keys.map { JSONMember($0.id.description, .string(StrictBase64.encode($0.bytes))) })
            ),
            JSONMember(
                "roles",
                .object(
                    DocumentKind.roles.map { kind in
                        let role = role(for: kind)
                        return JSONMember(
                            kind.rawValue,
                            .object([
                                JSONMember("threshold", .number("\(role.threshold)")),
                                JSONMember("keys", .texts(role.keys.map(\.id.description))),
                            ])
                        )
                    }
                )
            ),
        ])
        return Array(document.text().utf8)
    }
}
