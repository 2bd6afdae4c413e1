public import RegistryAccess

/// Says who is signed in on a device, and until when that holds.
public struct TicketDocument: Hashable, Sendable {
    /// The organization.
    public let organization: String
    /// The device that it was made for.
    public let device: String
    /// The session that it stands for.
    public let session: String
    /// Who is signed in.
    public let subject: String
    /// The teams that they are in.
    public let teams: [String]
    /// When they signed in.
    public let signedIn: Instant
    /// When it was made.
    public let issued: Instant
    /// When it ends; it lives as long as a ``FreshnessDocument`` may.
    public let expires: Instant

    /// A ticket.
    ///
    /// - Parameters:
    ///   - organization: the organization.
    ///   - device: the device that it is for.
    ///   - session: the session that it stands for.
    ///   - subject: who is signed in.
    ///   - teams: the teams that they are in.
    ///   - signedIn: when they signed in.
    ///   - issued: when it is made.
    ///   - expires: when it ends.
    public init(
        organization: String,
        device: String,
        session: String,
        subject: String,
        teams: [String],
        signedIn: Instant,
        issued: Instant,
        expires: Instant
    ) {
        self.organization = organization
        self.device = device
        self.session = session
        self.subject = subject
        self.teams = teams
        self.signedIn = signedIn
        self.issued = issued
        self.expires = expires
    }

    private static let keys = [
        "organization", "device", "session", "subject", "teams", "signedIn", "issued", "expires",
    ]

    /// Reads a ticket whose signatures are good.
    ///
    /// - Parameter payload: the document.
    /// - Throws: ``Rejection/malformed(_:)``.
    public init(payload: [UInt8]) throws(Rejection) {
        var names: [String: String] = [:]
        var times: [String: Instant] = [:]
        var teams: [String] = []
        try DocumentReader.read(payload, Self.keys) { (key, scanner) throws(InvalidJSON) in
            switch key {
            case "teams": teams = try DocumentReader.texts(&scanner, "name") { $0.isEmpty ? nil : $0 }
            case "signedIn", "issued", "expires": times[key] = try DocumentReader.instant(&scanner)
            default: names[key] = try DocumentReader.name(&scanner)
            }
        }
        let none = Instant(seconds: 0)
        self.init(
            organization: names["organization"] ?? "",
            device: names["device"] ?? "",
            session: names["session"] ?? "",
            subject: names["subject"] ?? "",
            teams: teams,
            signedIn: times["signedIn"] ?? none,
            issued: times["issued"] ?? none,
            expires: times["expires"] ?? none
        )
    }

    /// The document for signing.
    public var payload: [UInt8] {
        let document = JSONValue.object([
            JSONMember("organization", .string(organization)),
            JSONMember("device", .string(device)),
            JSONMember("session", .string(session)),
            JSONMember("subject", .string(subject)),
            JSONMember("teams", .texts(teams)),
            JSONMember("signedIn", .string(signedIn.description)),
            JSONMember("issued", .string(issued.description)),
            JSONMember("expires", .string(expires.description)),
        ])
        return Array(document.text().utf8)
    }
}
