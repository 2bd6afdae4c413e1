public import RegistryAccess

/// Says how far an organization's activity went at a moment, so that nobody cuts its end off unnoticed.
public struct ActivityCheckpoint: Hashable, Sendable {
    /// The organization.
    public let organization: String
    /// The number of the newest line.
    public let number: Int
    /// How many lines there are up to it.
    public let lines: Int
    /// What the chain comes to at that line: 64 hexadecimal digits.
    public let hash: String
    /// When this was made.
    public let issued: Instant

    /// A checkpoint.
    ///
    /// - Parameters:
    ///   - organization: the organization.
    ///   - number: the number of the newest line.
    ///   - lines: how many lines there are up to it.
    ///   - hash: what the chain comes to at that line.
    ///   - issued: when this is made.
    public init(organization: String, number: Int, lines: Int, hash: String, issued: Instant) {
        self.organization = organization
        self.number = number
        self.lines = lines
        self.hash = hash
        self.issued = issued
    }

    /// Reads a document whose signatures are good.
    ///
    /// - Parameter payload: the document.
    /// - Throws: ``Rejection/malformed(_:)``.
    public init(payload: [UInt8]) throws(Rejection) {
        var (organization, hash, number, lines) = ("", "", 0, 0)
        var issued = Instant(seconds: 0)
        try DocumentReader.read(payload, ["organization", "number", "lines", "hash", "issued"]) {
            (key, scanner) throws(InvalidJSON) in
            switch key {
            case "organization": organization = try DocumentReader.name(&scanner)
            case "number": number = try DocumentReader.number(&scanner, in: DocumentReader.numbers)
            case "lines": lines = try DocumentReader.number(&scanner, in: DocumentReader.numbers)
            case "hash":
                hash = try DocumentReader.value(&scanner, "hash") { KeyID(fingerprint: $0)?.description }
            default: issued = try DocumentReader.instant(&scanner)
            }
        }
        self.init(organization: organization, number: number, lines: lines, hash: hash, issued: issued)
    }

    /// The document for signing.
    public var payload: [UInt8] {
        let document = JSONValue.object([
            JSONMember("organization", .string(organization)),
            JSONMember("number", .number("\(number)")),
            JSONMember("lines", .number("\(lines)")),
            JSONMember("hash", .string("sha256:\(hash)")),
            JSONMember("issued", .string(issued.description)),
        ])
        return Array(document.text().utf8)
    }
}
