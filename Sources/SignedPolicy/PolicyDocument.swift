public import RegistryAccess

/// A version of an organization's policy, as its server signs it.
public struct PolicyDocument: Sendable {
    /// When it was made.
    public let issued: Instant
    /// The policy for everybody.
    public let policy: AccessPolicy
    /// What teams have in addition: allowing adds up, and denying wins.
    public let teams: [String: [RegistryRule]]
    /// The SHA-256 of the document in hexadecimal digits, by which a freshness document names it.
    public let digest: String

    /// The organization.
    public var organization: String { policy.organization }
    /// The version.
    public var version: Int { policy.version }

    /// The document of a policy for signing.
    ///
    /// - Parameters:
    ///   - policy: the policy for everybody.
    ///   - teams: what teams have in addition.
    ///   - issued: when it is made.
    /// - Returns: the document.
    public static func payload(_ policy: AccessPolicy, teams: [String: [RegistryRule]], issued: Instant) -> [UInt8] {
        let teams = teams.sorted { $0.key < $1.key }
        let document = JSONValue.object([
            JSONMember("organization", .string(policy.organization)),
            JSONMember("version", .number("\(policy.version)")),
            JSONMember("issued", .string(issued.description)),
            JSONMember("policy", policy.document),
            JSONMember("teams", .object(teams.map { JSONMember($0.key, .array($0.value.map(\.document))) })),
        ])
        return Array(document.text().utf8)
    }

    /// Reads a document whose signatures are good.
    ///
    /// - Parameters:
    ///   - payload: the document.
    ///   - packs: which hosts the registries send their clients to.
    /// - Throws: ``Rejection/malformed(_:)``.
    public init(payload: [UInt8], packs: RegistryPacks = .embedded) throws(Rejection) {
        var organization = ""
        var version = 0
        var issued = Instant(seconds: 0)
        var policy: AccessPolicy?
        var teams: [String: [RegistryRule]] = [:]
        try DocumentReader.read(payload, ["organization", "version", "issued", "policy", "teams"]) {
            (key, scanner) throws(InvalidJSON) in
            switch key {
            case "organization": organization = try DocumentReader.name(&scanner)
            case "version": version = try DocumentReader.number(&scanner, in: DocumentReader.numbers)
            case "issued": issued = try DocumentReader.instant(&scanner)
            case "policy": policy = try PolicyReader.document(&scanner, packs)
            default:
                try scanner.object { (name, _, scanner) throws(InvalidJSON) in
                    teams[name] = try PolicyReader.rules(&scanner)
                }
            }
        }
        guard let policy, policy.version == version, policy.organization.utf8.elementsEqual(organization.utf8) else {
            throw .malformed("the policy is not of the version and organization that the document names")
        }
        self.issued = issued
        self.policy = policy
        self.teams = teams
        digest = Hexadecimal.sha256(payload)
    }

    /// The policy for somebody.
    ///
    /// - Parameter teams: the teams that they are in; one without additions changes nothing.
    /// - Returns: the policy for everybody with the additions of the teams.
    public func policy(for teams: [String]) -> AccessPolicy {
        let additions = Set(teams).sorted().flatMap { self.teams[$0] ?? [] }
        guard !additions.isEmpty else { return policy }
        return AccessPolicy(
            version: policy.version,
            organization: policy.organization,
            isEnabled: policy.isEnabled,
            mode: policy.mode,
            contact: policy.contact,
            imports: policy.imports,
            unmanagedBuilders: policy.unmanagedBuilders,
            rules: policy.rules + additions,
            packs: policy.packs
        )
    }
}
