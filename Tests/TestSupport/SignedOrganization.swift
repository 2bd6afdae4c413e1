public import RegistryAccess
public import SignedPolicy

/// An organization with keys of its own, that signs what a test wants signed.
public struct SignedOrganization: Sendable {
    /// Its name.
    public var name: String
    /// Its keys, by what they sign.
    public var keys: [DocumentKind: [SigningKey]] = Dictionary(
        uniqueKeysWithValues: DocumentKind.roles.map { ($0, [SigningKey.generate()]) }
    )
    /// When documents are made unless a test says otherwise.
    public static let start = Instant(seconds: 1_795_614_310)
    /// Seconds of a day.
    public static let day: Int64 = 86_400

    /// An organization with new keys.
    ///
    /// - Parameter name: its name.
    public init(name: String = "acme") { self.name = name }

    /// The root key that machines are told.
    public var pinned: KeyID { keys(.root)[0].verificationKey.id }

    /// Its keys for a kind of document.
    ///
    /// - Parameter kind: the kind.
    /// - Returns: the keys.
    public func keys(_ kind: DocumentKind) -> [SigningKey] { keys[kind] ?? [] }

    /// A root document that names the keys.
    ///
    /// - Parameters:
    ///   - version: its version.
    ///   - threshold: how many root keys must sign the next one.
    ///   - expires: when it ends.
    /// - Returns: the document.
    public func rootDocument(_ version: Int = 1, threshold: Int = 1, expires: Instant = start + 365 * day)
        -> RootDocument
    {
        RootDocument(
            organization: name,
            version: version,
            expires: expires,
            roles: Dictionary(
                uniqueKeysWithValues: DocumentKind.roles.map { kind in
                    let keys = keys(kind).map(\.verificationKey)
                    return (kind, RootDocument.Role(threshold: kind == .root ? threshold : 1, keys))
                }
            )
        )
    }

    /// The envelope of a root document.
    ///
    /// - Parameters:
    ///   - version: its version.
    ///   - signers: who signs it; the root keys unless given.
    ///   - expires: when it ends.
    /// - Returns: the envelope.
    /// - Throws: what signing throws.
    public func root(_ version: Int = 1, by signers: [SigningKey]? = nil, expires: Instant = start + 365 * day) throws
        -> [UInt8]
    {
        let payload = rootDocument(version, expires: expires).payload
        return Array(try Envelope(signing: payload, as: .root, with: signers ?? keys(.root)).json.utf8)
    }

    /// A policy that allows one registry, and another one to the team `backend`.
    ///
    /// - Parameters:
    ///   - version: its version.
    ///   - registry: what is allowed.
    /// - Returns: the document.
    /// - Throws: if the registry is none.
    public func policyDocument(_ version: Int, allowing registry: String = "ghcr.io") throws -> [UInt8] {
        let rule = { (text: String) throws in RegistryRule(address: try AddressPattern(text), isAllowed: true) }
        let policy = AccessPolicy(version: version, organization: name, rules: [try rule(registry)])
        return PolicyDocument.payload(policy, teams: ["backend": [try rule("quay.io")]], issued: Self.start)
    }

    /// The envelope of such a policy.
    ///
    /// - Parameters:
    ///   - version: its version.
    ///   - registry: what is allowed.
    ///   - signers: who signs it; the policy keys unless given.
    /// - Returns: the envelope.
    /// - Throws: what signing throws.
    public func policy(_ version: Int, allowing registry: String = "ghcr.io", by signers: [SigningKey]? = nil) throws
        -> [UInt8]
    {
        let payload = try policyDocument(version, allowing: registry)
        return Array(try Envelope(signing: payload, as: .policy, with: signers ?? keys(.policy)).json.utf8)
    }

    /// A freshness document of such a policy.
    ///
    /// - Parameters:
    ///   - sequence: its number.
    ///   - version: the version of the policy.
    ///   - registry: what the policy allows.
    ///   - rootVersion: the version of the root document.
    ///   - issued: when it is made.
    ///   - lifetime: how long it holds, in seconds.
    /// - Returns: the document.
    /// - Throws: if the registry is none.
    public func freshnessDocument(
        _ sequence: Int,
        of version: Int,
        allowing registry: String = "ghcr.io",
        rootVersion: Int = 1,
        issued: Instant = start,
        lifetime: Int64 = day
    ) throws -> FreshnessDocument {
        FreshnessDocument(
            of: try PolicyDocument(payload: policyDocument(version, allowing: registry)),
            sequence: sequence,
            rootVersion: rootVersion,
            issued: issued,
            expires: issued + lifetime,
            refreshSeconds: 900
        )
    }

    /// The envelope of such a freshness document.
    ///
    /// - Parameters:
    ///   - sequence: its number.
    ///   - version: the version of the policy.
    ///   - registry: what the policy allows.
    ///   - rootVersion: the version of the root document.
    ///   - issued: when it is made.
    ///   - lifetime: how long it holds, in seconds.
    ///   - signers: who signs it; the freshness keys unless given.
    /// - Returns: the envelope.
    /// - Throws: what signing throws.
    public func freshness(
        _ sequence: Int,
        of version: Int,
        allowing registry: String = "ghcr.io",
        rootVersion: Int = 1,
        issued: Instant = start,
        lifetime: Int64 = day,
        by signers: [SigningKey]? = nil
    ) throws -> [UInt8] {
        let document = try freshnessDocument(
            sequence,
            of: version,
            allowing: registry,
            rootVersion: rootVersion,
            issued: issued,
            lifetime: lifetime
        )
        let envelope = try Envelope(signing: document.payload, as: .freshness, with: signers ?? keys(.freshness))
        return Array(envelope.json.utf8)
    }

    /// The envelope of a ticket of `alice`.
    ///
    /// - Parameters:
    ///   - device: the device.
    ///   - session: the session.
    ///   - signedIn: when she signed in.
    ///   - issued: when it is made.
    ///   - lifetime: how long it holds, in seconds.
    ///   - signers: who signs it; the ticket keys unless given.
    /// - Returns: the envelope.
    /// - Throws: what signing throws.
    public func ticket(
        device: String = "d1",
        session: String = "s1",
        signedIn: Instant = start,
        issued: Instant = start,
        lifetime: Int64 = day,
        by signers: [SigningKey]? = nil
    ) throws -> [UInt8] {
        let ticket = TicketDocument(
            organization: name,
            device: device,
            session: session,
            subject: "alice",
            teams: ["backend"],
            signedIn: signedIn,
            issued: issued,
            expires: issued + lifetime
        )
        return Array(try Envelope(signing: ticket.payload, as: .ticket, with: signers ?? keys(.ticket)).json.utf8)
    }

    /// A machine that has accepted freshness 5 of policy 3.
    ///
    /// - Returns: what it has accepted.
    /// - Throws: what accepting throws.
    public func machine() throws -> TrustedDocuments {
        var machine = try TrustedDocuments(organization: name, pinned: pinned, roots: [root()])
        try machine.accept(freshness: freshness(5, of: 3), policy: policy(3), at: Self.start)
        try machine.accept(ticket: ticket(), for: "d1", at: Self.start)
        return machine
    }
}
