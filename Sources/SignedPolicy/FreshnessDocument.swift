public import RegistryAccess

/// Says which version of the policy is the current one, and until when that holds; made anew often.
public struct FreshnessDocument: Hashable, Sendable {
    /// How long one may hold: an hour to a week, in seconds.
    public static let lifetimes: ClosedRange<Int64> = 3600...604_800

    /// The organization.
    public let organization: String
    /// Grows with every one that is made.
    public let sequence: Int
    /// When it was made.
    public let issued: Instant
    /// When the policy may not be relied on any more.
    public let expires: Instant
    /// The newest root document.
    public let rootVersion: Int
    /// The current version of the policy.
    public let policyVersion: Int
    /// The SHA-256 of the policy document in hexadecimal digits.
    public let policyDigest: String
    /// After how many seconds to ask again, 60 to 86,400.
    public let refreshSeconds: Int

    /// A document.
    ///
    /// - Parameters:
    ///   - policy: the current policy.
    ///   - sequence: a number that no earlier one has or exceeds.
    ///   - rootVersion: the newest root document.
    ///   - issued: when it is made.
    ///   - expires: when it ends.
    ///   - refreshSeconds: after how many seconds to ask again.
    public init(
        of policy: PolicyDocument,
        sequence: Int,
        rootVersion: Int,
        issued: Instant,
        expires: Instant,
        refreshSeconds: Int
    ) {
        organization = policy.organization
        self.sequence = sequence
        self.issued = issued
        self.expires = expires
        self.rootVersion = rootVersion
        policyVersion = policy.version
        policyDigest = policy.digest
        self.refreshSeconds = refreshSeconds
    }

    /// A document that says the same for longer.
    ///
    /// - Parameters:
    ///   - previous: what said it before.
    ///   - sequence: a number that no earlier one has or exceeds.
    ///   - rootVersion: the newest root document.
    ///   - issued: when it is made.
    ///   - expires: when it ends.
    ///   - refreshSeconds: after how many seconds to ask again.
    public init(
        renewing previous: FreshnessDocument,
        sequence: Int,
        rootVersion: Int,
        issued: Instant,
        expires: Instant,
        refreshSeconds: Int
    ) {
        organization = previous.organization
        self.sequence = sequence
        self.issued = issued
        self.expires = expires
        self.rootVersion = rootVersion
        policyVersion = previous.policyVersion
        policyDigest = previous.policyDigest
        self.refreshSeconds = refreshSeconds
    }

    private static let keys = [
        "organization", "sequence", "issued", "expires", "rootVersion", "policyVersion", "policyDigest",
        "refreshSeconds",
    ]

    /// Reads a document whose signatures are good.
    ///
    /// - Parameter payload: the document.
    /// - Throws: ``Rejection/malformed(_:)``.
    public init(payload: [UInt8]) throws(Rejection) {
        var (organization, policyDigest) = ("", "")
        var (issued, expires) = (Instant(seconds: 0), Instant(seconds: 0))
        var numbers: [String: Int] = [:]
        try DocumentReader.read(payload, Self.keys) { (key, scanner) throws(InvalidJSON) in
            switch key {
            case "organization": organization = try DocumentReader.name(&scanner)
            case "issued": issued = try DocumentReader.instant(&scanner)
            case "expires": expires = try DocumentReader.instant(&scanner)
            case "policyDigest":
                policyDigest = try DocumentReader.value(&scanner, "digest") { KeyID(fingerprint: $0)?.description }
            case "refreshSeconds": numbers[key] = try DocumentReader.number(&scanner, in: 60...86_400)
            default: numbers[key] = try DocumentReader.number(&scanner, in: DocumentReader.numbers)
            }
        }
        self.organization = organization
        self.issued = issued
        self.expires = expires
        self.policyDigest = policyDigest
        sequence = numbers["sequence"] ?? 0
        rootVersion = numbers["rootVersion"] ?? 0
        policyVersion = numbers["policyVersion"] ?? 0
        refreshSeconds = numbers["refreshSeconds"] ?? 0
    }

    /// The document for signing.
    public var payload: [UInt8] {
        let document = JSONValue.object([
            JSONMember("organization", .string(organization)),
            JSONMember("sequence", .number("\(sequence)")),
            JSONMember("issued", .string(issued.description)),
            JSONMember("expires", .string(expires.description)),
            JSONMember("rootVersion", .number("\(rootVersion)")),
            JSONMember("policyVersion", .number("\(policyVersion)")),
            JSONMember("policyDigest", .string("sha256:\(policyDigest)")),
            JSONMember("refreshSeconds", .number("\(refreshSeconds)")),
        ])
        return Array(document.text().utf8)
    }
}
