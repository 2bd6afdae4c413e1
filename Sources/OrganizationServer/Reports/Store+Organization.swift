import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

/// What an organization has set for itself.
struct OrganizationSettings: Hashable, Sendable {
    /// Whom to ask; goes into new organizations' first policy only, the policy has its own.
    var contact: String?
    /// After how many seconds machines ask for something new.
    var refreshSeconds: Int64
    /// How many seconds a policy holds without the server.
    var validitySeconds: Int64
    /// How many days reports are kept.
    var reportDays: Int64
    /// Who may register a device: `open` is everyone, `token` who shows an enrollment token.
    var enrollment: String
    /// How many devices there may be.
    var maximumDevices: Int64

    /// The settings as answers have them.
    var json: JSONValue {
        .object([
            JSONMember("contact", .text(contact)),
            JSONMember("refreshSeconds", .number("\(refreshSeconds)")),
            JSONMember("validitySeconds", .number("\(validitySeconds)")),
            JSONMember("reportDays", .number("\(reportDays)")),
            JSONMember("enrollment", .string(enrollment)),
            JSONMember("maximumDevices", .number("\(maximumDevices)")),
        ])
    }
}

/// A line of the activity as the server keeps it.
struct KeptActivity: Sendable {
    let number: Int
    let time: Instant
    let action: String
    let actor: String
    let name: String
    /// An object.
    let data: JSONValue
}

/// Which lines of the activity are wanted.
struct ActivityFilter: Sendable {
    /// Exactly this action, or one that begins with it and a dot.
    var action: String?
    /// Exactly one of these actions.
    var actions: [String]?
    var actor: String?
    var name: String?
    /// Only what concerns one of these devices: what it did itself, what was done to it, and what was done there.
    var devices: [String]?
    /// At this time or later.
    var from: Instant?
    /// Before this time.
    var to: Instant?
    /// Only those with a smaller number.
    var before: Int?
    /// Only those with a greater number.
    var after: Int?
    var limit = 100
    /// How many of the newest are left out.
    var offset = 0
}

extension Store {
    /// The settings of an organization.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the settings.
    /// - Throws: ``Problem`` if there is no such organization.
    func settings(of organization: String) async throws -> OrganizationSettings {
        let settings = try await database.read { database in
            try Row.fetchOne(
                database,
                sql: """
                    SELECT contact, refreshSeconds, validitySeconds, reportDays, enrollment, maximumDevices
                    FROM organization WHERE name = ?
                    """,
                arguments: [organization]
            ).map { row in
                OrganizationSettings(
                    contact: row["contact"],
                    refreshSeconds: row["refreshSeconds"],
                    validitySeconds: row["validitySeconds"],
                    reportDays: row["reportDays"],
                    enrollment: row["enrollment"],
                    maximumDevices: row["maximumDevices"]
                )
            }
        }
        guard let settings else { throw Problem(.notFound, .notFound, "there is no organization of this name") }
        return settings
    }

    /// Sets what an organization has for itself.
    ///
    /// - Parameters:
    ///   - settings: what is to be.
    ///   - organization: whose.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Throws: what SQLite says.
    func set(_ settings: OrganizationSettings, of organization: String, by actor: String, at now: Instant) async throws
    {
        try await database.write { database in
            try database.execute(
                sql: """
                    UPDATE organization SET contact = ?, refreshSeconds = ?, validitySeconds = ?, reportDays = ?,
                        enrollment = ?, maximumDevices = ? WHERE name = ?
                    """,
                arguments: [
                    settings.contact, settings.refreshSeconds, settings.validitySeconds, settings.reportDays,
                    settings.enrollment, settings.maximumDevices, organization,
                ]
            )
            try Activity(
                .organizationSettingsUpdated,
                by: actor,
                name: organization,
                data: settings.json.members ?? []
            ).record(in: organization, at: now, database)
        }
    }

    /// Writes a line of activity of something that happened outside of the database.
    ///
    /// - Parameters:
    ///   - activity: the line.
    ///   - organization: whose.
    ///   - now: the time.
    /// - Throws: what SQLite says.
    func record(_ activity: Activity, in organization: String, at now: Instant) async throws {
        try await database.write { try activity.record(in: organization, at: now, $0) }
    }

    /// What was done in an organization, the newest first.
    ///
    /// - Parameters:
    ///   - organization: where.
    ///   - filter: which lines.
    /// - Returns: the lines.
    /// - Throws: what SQLite says.
    func activity(of organization: String, _ filter: ActivityFilter) async throws -> [KeptActivity] {
        var conditions = ["organization = ?"]
        var arguments: StatementArguments = [organization]
        if let action = filter.action {
            // From "team." on up to the byte behind the dot: an index could serve it, and no character is special.
            conditions.append("(action = ? OR (action > ? AND action < ?))")
            arguments += [action, "\(action).", "\(action)/"]
        }
        if let actions = filter.actions {
            conditions.append("action IN (\(actions.map { _ in "?" }.joined(separator: ", ")))")
            arguments += StatementArguments(actions)
        }
        for (column, text) in [("actor", filter.actor), ("name", filter.name)] {
            guard let text else { continue }
            conditions.append("\(column) = ?")
            arguments += [text]
        }
        if let devices = filter.devices {
            // Each of the three has an index of its own, and lines that concern a device are few among all: these are
            // looked up by their numbers, and not all of the organization's walked through.
            conditions[0] = "+organization = ?"
            let ids = JSONValue.texts(devices).text()
            let concerned = "SELECT number FROM activity WHERE organization = ? AND"
            conditions.append(
                """
                number IN (\(concerned) name IN (SELECT value FROM json_each(?))
                    UNION \(concerned) actor IN (SELECT 'device:' || value FROM json_each(?))
                    UNION SELECT number FROM activityOnDevice
                        WHERE organization = ? AND device IN (SELECT value FROM json_each(?)))
                """
            )
            arguments += [organization, ids, organization, ids, organization, ids]
        }
        let numbers: [(String, Int64?)] = [
            ("time >= ?", filter.from?.seconds), ("time < ?", filter.to?.seconds),
            ("number < ?", filter.before.map(Int64.init)), ("number > ?", filter.after.map(Int64.init)),
        ]
        for (condition, number) in numbers {
            guard let number else { continue }
            conditions.append(condition)
            arguments += [number]
        }
        arguments += [filter.limit, filter.offset]
        let sql = """
            SELECT number, time, action, actor, name, data FROM activity
            WHERE \(conditions.joined(separator: " AND ")) ORDER BY number DESC LIMIT ? OFFSET ?
            """
        let limits = StrictJSON.Limits(bytes: 1 << 20, foldsKeys: false)
        return try await database.read { [arguments] database in
            try Row.fetchAll(database, sql: sql, arguments: arguments).map { row in
                let data: String = row["data"]
                return KeptActivity(
                    number: row["number"],
                    time: Instant(seconds: row["time"]),
                    action: row["action"],
                    actor: row["actor"],
                    name: row["name"],
                    data: (try? StrictJSON.parse(Array(data.utf8), limits: limits)) ?? .object([])
                )
            }
        }
    }
}
