public import RegistryAccess

/// How far a machine has come, kept so that nobody can lead it back: what is below a mark is not accepted again.
public struct HighWaterMarks: Hashable, Sendable {
    /// The newest root document.
    public internal(set) var rootVersion = 0
    /// Its digest.
    public internal(set) var rootDigest = ""
    /// The newest freshness document.
    public internal(set) var sequence = 0
    /// Its digest.
    public internal(set) var freshnessDigest = ""
    /// When it was made.
    public internal(set) var freshnessIssued = Instant(seconds: 0)
    /// The newest policy.
    public internal(set) var policyVersion = 0
    /// Its digest.
    public internal(set) var policyDigest = ""
    /// When the newest ticket was made.
    public internal(set) var ticketIssued = Instant(seconds: 0)
    /// The session that was ended last.
    public internal(set) var endedSession = ""
    /// Who signed in before this time is not signed in any more; by the clock of the server, like everything in a ticket.
    public internal(set) var sessionsEnded = Instant(seconds: 0)

    /// The marks of a machine that has seen nothing yet.
    public init() {}

    private static let keys = [
        "rootVersion", "rootDigest", "sequence", "freshnessDigest", "freshnessIssued", "policyVersion", "policyDigest",
        "ticketIssued", "endedSession", "sessionsEnded",
    ]

    /// Reads marks.
    ///
    /// - Parameter json: what ``json`` gave.
    /// - Throws: ``Rejection/malformed(_:)``. Who goes on without marks can be led back to an older policy, so a machine
    ///   refuses everything until it has documents again.
    public init(json: [UInt8]) throws(Rejection) {
        var texts: [String: String] = [:]
        var numbers: [String: Int] = [:]
        var times: [String: Instant] = [:]
        try DocumentReader.read(json, Self.keys) { (key, scanner) throws(InvalidJSON) in
            switch key {
            case "rootVersion", "sequence", "policyVersion":
                numbers[key] = try DocumentReader.number(&scanner, in: 0...(1 << 53))
            case "rootDigest", "freshnessDigest", "policyDigest":
                texts[key] = try DocumentReader.value(&scanner, "digest") { $0.isEmpty ? "" : KeyID($0)?.description }
            case "endedSession": texts[key] = try scanner.string()
            default: times[key] = try DocumentReader.instant(&scanner)
            }
        }
        let none = Instant(seconds: 0)
        rootVersion = numbers["rootVersion"] ?? 0
        rootDigest = texts["rootDigest"] ?? ""
        sequence = numbers["sequence"] ?? 0
        freshnessDigest = texts["freshnessDigest"] ?? ""
        freshnessIssued = times["freshnessIssued"] ?? none
        policyVersion = numbers["policyVersion"] ?? 0
        policyDigest = texts["policyDigest"] ?? ""
        ticketIssued = times["ticketIssued"] ?? none
        endedSession = texts["endedSession"] ?? ""
        sessionsEnded = times["sessionsEnded"] ?? none
    }

    /// The marks for keeping.
    public var json: String {
        JSONValue.object([
            JSONMember("rootVersion", .number("\(rootVersion)")),
            JSONMember("rootDigest", .string(rootDigest)),
            JSONMember("sequence", .number("\(sequence)")),
            JSONMember("freshnessDigest", .string(freshnessDigest)),
            JSONMember("freshnessIssued", .string(freshnessIssued.description)),
            JSONMember("policyVersion", .number("\(policyVersion)")),
            JSONMember("policyDigest", .string(policyDigest)),
            JSONMember("ticketIssued", .string(ticketIssued.description)),
            JSONMember("endedSession", .string(endedSession)),
            JSONMember("sessionsEnded", .string(sessionsEnded.description)),
        ]).text()
    }
}
