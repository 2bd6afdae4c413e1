import GRDB
import RegistryAccess
import SignedPolicy

/// What a device tells of itself and of what it refused.
struct Report: Sendable {
    /// How a device is.
    struct Status: Sendable {
        /// The version of the policy that is in force there; 0 if none is.
        let policyVersion: Int
        /// All that it says, as JSON.
        let document: String
    }

    /// Something that was refused, or would have been; the members are those of the machine's decision log.
    struct Refusal: Sendable, Hashable {
        let id: String
        let time: String
        let registry: String?
        let action: String?
        let verdict: String
        let rule: String?
        let point: String
        let user: String?
    }

    /// Names the report: one that comes twice is kept once.
    let batch: String
    /// How the device is.
    let status: Status?
    /// What it refused.
    let refusals: [Refusal]

    /// The most refusals that one report may hold.
    static let mostRefusals = 1000

    /// Reads the body of a report.
    ///
    /// - Parameter scanner: stands before the object.
    /// - Throws: `InvalidJSON` with the place of a mistake.
    init(_ scanner: inout JSONScanner) throws(InvalidJSON) {
        var batch: String?
        var status: Status?
        var refusals: [Refusal] = []
        try scanner.object(of: ["batch", "status", "refusals"]) { (key, scanner) throws(InvalidJSON) in
            switch key {
            case "batch":
                batch = try Self.text(&scanner, "UUID") { text in
                    (8...64).contains(text.utf8.count)
                        && text.utf8.allSatisfy {
                            (48...57).contains($0) || (97...122).contains($0) || (65...90).contains($0) || $0 == 45
                        }
                }
            case "status": status = try Self.status(&scanner)
            default:
                try scanner.array { (scanner) throws(InvalidJSON) in
                    _ = scanner.peek()
                    let start = scanner.position
                    refusals.append(try Self.refusal(&scanner))
                    guard refusals.count <= Self.mostRefusals else {
                        throw scanner.fault("there are more than \(Self.mostRefusals) refusals", at: start)
                    }
                }
            }
        }
        guard let batch else { throw scanner.fault("the key \"batch\" is missing", at: 0) }
        self.batch = batch
        self.status = status
        self.refusals = refusals
    }

    private static func status(_ scanner: inout JSONScanner) throws(InvalidJSON) -> Status {
        _ = scanner.peek()
        let start = scanner.position
        var members: [JSONMember] = []
        var policyVersion: Int?
        let known = ["policyVersion", "engineVersion", "productVersion", "enforcementPoints", "findings"]
        try scanner.object(of: known) { (key, scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            let value = try scanner.value()
            switch (key, value) {
            case ("policyVersion", .number(let digits)):
                guard let number = WholeNumber.read(digits) else {
                    throw scanner.fault("this is no version", at: start)
                }
                policyVersion = number
            case ("engineVersion", .null): break
            case ("engineVersion", .string(let text)), ("productVersion", .string(let text)):
                guard Names.isLabel(text, longest: 200) else { throw scanner.fault("this is no version", at: start) }
            case ("enforcementPoints", .array(let elements)), ("findings", .array(let elements)):
                guard elements.count <= 200, elements.allSatisfy(isFlat) else {
                    throw scanner.fault("this is no list of texts or of objects without objects in them", at: start)
                }
            default: throw scanner.fault("this is not what stands behind \"\(key)\"", at: start)
            }
            members.append(JSONMember(key, value))
        }
        let document = JSONValue.object(members).text()
        guard let policyVersion else { throw scanner.fault("the key \"policyVersion\" is missing", at: start) }
        guard document.utf8.count <= 64 << 10 else {
            throw scanner.fault("the status is longer than 64 KiB", at: start)
        }
        return Status(policyVersion: policyVersion, document: document)
    }

    private static func isFlat(_ value: JSONValue) -> Bool {
        switch value {
        case .string: true
        case .object(let members): members.allSatisfy { $0.value.members == nil && $0.value.elements == nil }
        default: false
        }
    }

    private static func refusal(_ scanner: inout JSONScanner) throws(InvalidJSON) -> Refusal {
        _ = scanner.peek()
        let start = scanner.position
        var texts: [String: String] = [:]
        let known = ["id", "time", "registry", "action", "verdict", "rule", "point", "user"]
        try scanner.object(of: known) { (key, scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            let text: String
            switch (key, try scanner.value()) {
            case ("registry", .null), ("action", .null), ("rule", .null), ("user", .null): return
            case (_, .string(let given)): text = given
            // A machine tells the number where it knows no name; a member may be called 1000.
            case ("user", .number(let given)): text = "user id \(given)"
            default: throw scanner.fault("this is not what stands behind \"\(key)\"", at: start)
            }
            let isGood =
                switch key {
                case "time": isTime(text)
                case "action": RegistryAction(rawValue: text) != nil
                case "verdict": text == Verdict.Outcome.deny.rawValue || text == Verdict.Outcome.wouldDeny.rawValue
                case "point": ["credential-helper", "authorization-plugin", "egress-proxy"].contains(text)
                default: Names.isLabel(text, longest: 300)
                }
            guard isGood else { throw scanner.fault("this is not what stands behind \"\(key)\"", at: start) }
            texts[key] = text
        }
        guard let id = texts["id"], let time = texts["time"], let verdict = texts["verdict"], let point = texts["point"]
        else {
            throw scanner.fault("\"id\", \"time\", \"verdict\" and \"point\" must be there", at: start)
        }
        return Refusal(
            id: id,
            time: time,
            registry: texts["registry"],
            action: texts["action"],
            verdict: verdict,
            rule: texts["rule"],
            point: point,
            user: texts["user"]
        )
    }

    private static func text(
        _ scanner: inout JSONScanner,
        _ what: String,
        _ isGood: (String) -> Bool
    ) throws(InvalidJSON) -> String {
        _ = scanner.peek()
        let start = scanner.position
        let text = try scanner.string()
        guard isGood(text) else { throw scanner.fault("this is no \(what)", at: start) }
        return text
    }

    /// An instant with or without a fraction of a second.
    private static func isTime(_ text: String) -> Bool {
        let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        switch parts.count {
        case 1: return Instant(text) != nil
        case 2:
            let digits = parts[1].dropLast()
            return Instant((String(parts[0]) ?? "") + "Z") != nil && parts[1].last == UInt8(ascii: "Z")
                && (1...9).contains(digits.count) && digits.allSatisfy { (48...57).contains($0) }
        default: return false
        }
    }
}

/// A refusal as the server keeps it.
struct KeptRefusal: Sendable {
    /// Its number, by which pages follow each other.
    let number: Int
    let device: String
    /// When it came here; the machine's own time may be wrong.
    let received: Instant
    let refusal: Report.Refusal

    /// The refusal as answers have it.
    var json: JSONValue {
        .object([
            JSONMember("number", .number("\(number)")),
            JSONMember("device", .string(device)),
            JSONMember("received", .string(received.description)),
            JSONMember("id", .string(refusal.id)),
            JSONMember("time", .string(refusal.time)),
            JSONMember("registry", .text(refusal.registry)),
            JSONMember("action", .text(refusal.action)),
            JSONMember("verdict", .string(refusal.verdict)),
            JSONMember("rule", .text(refusal.rule)),
            JSONMember("point", .string(refusal.point)),
            JSONMember("user", .text(refusal.user)),
        ])
    }
}

/// Which refusals are wanted.
struct RefusalFilter: Sendable {
    var device: String?
    /// Only those of one of these devices.
    var devices: [String]?
    var registry: String?
    var action: String?
    var verdict: String?
    var user: String?
    /// Received at this time or later.
    var from: Instant?
    /// Received before this time.
    var to: Instant?
    /// Only those with a smaller number.
    var before: Int?
    /// Only those with a greater number.
    var after: Int?
    var limit = 100
}

extension Store {
    /// Keeps a report, once; what is too much of its device, or of strangers, goes.
    ///
    /// - Parameters:
    ///   - report: the report.
    ///   - device: whose it is.
    ///   - organization: where.
    ///   - now: the time.
    /// - Returns: whether there is such a device.
    /// - Throws: what SQLite says.
    func keep(_ report: Report, of device: String, in organization: String, at now: Instant) async throws -> Bool {
        try await writes.run { database in
            guard let isStranger = try Self.isStranger(device, in: organization, database) else { return false }
            guard try Self.remember(report.batch, of: device, in: organization, at: now, database) else { return true }
            if let status = report.status {
                try database.cachedStatement(
                    sql: """
                        INSERT INTO deviceStatus (organization, device, time, policyVersion, document)
                        VALUES (?, ?, ?, ?, ?)
                        ON CONFLICT (organization, device) DO UPDATE SET time = excluded.time,
                            policyVersion = excluded.policyVersion, document = excluded.document
                        """
                ).execute(
                    arguments: [organization, device, now.seconds, status.policyVersion, status.document]
                )
            }
            let statement = try database.cachedStatement(
                sql: """
                    INSERT INTO refusal (organization, device, received, id, time, registry, action, verdict, rule, point,
                        user, stranger) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """
            )
            guard !report.refusals.isEmpty else { return true }
            var ofStrangers = isStranger ? try Self.newestOfStrangers(in: organization, database) : nil
            for refusal in report.refusals {
                ofStrangers = ofStrangers.map { $0 + 1 }
                try statement.execute(arguments: [
                    organization, device, now.seconds, refusal.id, refusal.time, refusal.registry, refusal.action,
                    refusal.verdict, refusal.rule, refusal.point, refusal.user, ofStrangers,
                ])
            }
            try Self.removeOldest(of: device, ofStrangers: ofStrangers, in: organization, database)
            return true
        }
    }

    /// What machines of an organization refused, the newest first.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - filter: which.
    /// - Returns: the refusals.
    /// - Throws: what SQLite says.
    func refusals(of organization: String, _ filter: RefusalFilter) async throws -> [KeptRefusal] {
        var conditions = ["organization = ?"]
        var arguments: StatementArguments = [organization]
        if let devices = filter.devices {
            conditions.append("device IN (SELECT value FROM json_each(?))")
            arguments += [JSONValue.texts(devices).text()]
        }
        let texts = [
            ("device", filter.device), ("registry", filter.registry), ("action", filter.action),
            ("verdict", filter.verdict), ("user", filter.user),
        ]
        for (column, text) in texts {
            guard let text else { continue }
            conditions.append("\(column) = ?")
            arguments += [text]
        }
        let numbers: [(String, Int64?)] = [
            ("received >= ?", filter.from?.seconds), ("received < ?", filter.to?.seconds),
            ("number < ?", filter.before.map(Int64.init)), ("number > ?", filter.after.map(Int64.init)),
        ]
        for (condition, number) in numbers {
            guard let number else { continue }
            conditions.append(condition)
            arguments += [number]
        }
        arguments += [filter.limit]
        let sql = """
            SELECT * FROM refusal WHERE \(conditions.joined(separator: " AND ")) ORDER BY number DESC LIMIT ?
            """
        return try await database.read { [arguments] database in
            try Row.fetchAll(database, sql: sql, arguments: arguments).map { row in
                KeptRefusal(
                    number: row["number"],
                    device: row["device"],
                    received: Instant(seconds: row["received"]),
                    refusal: Report.Refusal(
                        id: row["id"],
                        time: row["time"],
                        registry: row["registry"],
                        action: row["action"],
                        verdict: row["verdict"],
                        rule: row["rule"],
                        point: row["point"],
                        user: row["user"]
                    )
                )
            }
        }
    }

    /// Removes reports that are older than their organization keeps them.
    ///
    /// - Parameter now: the time.
    /// - Throws: what SQLite says.
    func removeOldReports(at now: Instant) async throws {
        let ends = try await database.read { database in
            try Row.fetchAll(database, sql: "SELECT name, reportDays FROM organization").map { row in
                let days: Int64 = row["reportDays"]
                return (name: row["name"] as String, end: now.seconds - days * 86_400)
            }
        }
        for (organization, end) in ends {
            try await removeOldUses(of: organization, before: Instant(seconds: end))
            for table in ["refusal", "reportBatch"] {
                let isThere = try await database.read { database in
                    try Bool.fetchOne(
                        database,
                        sql: "SELECT EXISTS (SELECT 1 FROM \(table) WHERE organization = ? AND received < ?)",
                        arguments: [organization, end]
                    )
                }
                guard isThere == true else { continue }
                try await database.write { database in
                    try database.execute(
                        sql: "DELETE FROM \(table) WHERE organization = ? AND received < ?",
                        arguments: [organization, end]
                    )
                }
            }
        }
    }
}
