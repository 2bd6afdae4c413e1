import GRDB
import RegistryAccess
import SignedPolicy

/// Which registries a device used: the registry, the action and the day, and nothing else.
struct UseReport: Sendable {
    /// That a registry was used.
    struct Use: Sendable, Hashable {
        let registry: String
        /// For what; `nil` where only the host could be seen.
        let action: RegistryAction?
        /// The day in UTC, counted from 1970.
        let day: Int64
    }

    /// The most uses that one report may hold.
    static let mostUses = 1000

    let uses: [Use]

    /// Reads the body of a report.
    ///
    /// - Parameters:
    ///   - scanner: stands before the object.
    ///   - now: the time; a day behind the next one is a mistake.
    /// - Throws: `InvalidJSON` with the place of a mistake.
    init(_ scanner: inout JSONScanner, at now: Instant) throws(InvalidJSON) {
        let last = Self.day(of: now) + 1
        var uses: [Use]?
        try scanner.object(of: ["uses"]) { (_, scanner) throws(InvalidJSON) in
            var found: [Use] = []
            try scanner.array { (scanner) throws(InvalidJSON) in
                _ = scanner.peek()
                let start = scanner.position
                found.append(try Self.use(&scanner, last))
                guard found.count <= Self.mostUses else {
                    throw scanner.fault("there are more than \(Self.mostUses) uses", at: start)
                }
            }
            uses = found
        }
        guard let uses else { throw scanner.fault("the key \"uses\" is missing", at: 0) }
        self.uses = uses
    }

    private static func use(_ scanner: inout JSONScanner, _ last: Int64) throws(InvalidJSON) -> Use {
        _ = scanner.peek()
        let start = scanner.position
        var registry: String?
        var action: RegistryAction?
        var day: Int64?
        try scanner.object(of: ["day", "registry", "action"]) { (key, scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            switch (key, try scanner.value()) {
            case ("action", .null): return
            case ("action", .string(let text)):
                action = RegistryAction(rawValue: text)
                if action != nil { return }
            case ("registry", .string(let text)):
                registry = text
                if (try? RegistryAddress(text))?.description == text { return }
            case ("day", .string(let text)):
                day = Instant("\(text)T00:00:00Z").map { Self.day(of: $0) }
                guard let day else { break }
                if day <= last { return }
                throw scanner.fault("this day is still to come", at: start)
            default: break
            }
            throw scanner.fault("this is not what stands behind \"\(key)\"", at: start)
        }
        guard let registry, let day else { throw scanner.fault("\"day\" and \"registry\" must be there", at: start) }
        return Use(registry: registry, action: action, day: day)
    }

    /// The day of a time, counted from 1970.
    static func day(of time: Instant) -> Int64 {
        let (days, rest) = time.seconds.quotientAndRemainder(dividingBy: 86_400)
        return rest < 0 ? days - 1 : days
    }

    /// A day as people write it: `2026-11-30`.
    static func text(ofDay day: Int64) -> String {
        String(Instant(seconds: day * 86_400).description.prefix(10))
    }
}

extension Store {
    /// The most registries and actions that are kept of one device; the oldest go.
    static let mostUsesOfDevice = 1000

    /// Keeps what a device used: of each registry and action the last day, so that it makes no difference how often it is
    /// told.
    ///
    /// - Parameters:
    ///   - report: what it used; what is older than the organization keeps reports is left out.
    ///   - device: which device.
    ///   - organization: where.
    ///   - now: the time.
    /// - Returns: whether there is such a device.
    /// - Throws: what SQLite says.
    func keep(_ report: UseReport, of device: String, in organization: String, at now: Instant) async throws -> Bool {
        try await writes.run { database in
            let days = try Int64.fetchOne(
                database.cachedStatement(
                    sql: """
                        SELECT reportDays FROM device JOIN organization ON organization.name = device.organization
                        WHERE device.organization = ? AND device.id = ?
                        """
                ),
                arguments: [organization, device]
            )
            guard let days else { return false }
            let oldest = UseReport.day(of: now + -days * 86_400)
            let statement = try database.cachedStatement(
                sql: """
                    INSERT INTO registryUse (organization, registry, action, device, day) VALUES (?, ?, ?, ?, ?)
                    ON CONFLICT (organization, registry, action, device) DO UPDATE SET day = excluded.day
                    WHERE excluded.day > day
                    """
            )
            for use in report.uses where use.day >= oldest {
                try statement.execute(
                    arguments: [organization, use.registry, use.action?.rawValue ?? "", device, use.day]
                )
            }
            let count = try Int.fetchOne(
                database.cachedStatement(
                    sql: "SELECT count(*) FROM registryUse WHERE organization = ? AND device = ?"
                ),
                arguments: [organization, device]
            )
            let excess = (count ?? 0) - Self.mostUsesOfDevice
            guard excess > 0 else { return true }
            try database.cachedStatement(
                sql: """
                    DELETE FROM registryUse WHERE organization = :organization AND device = :device
                    AND (registry, action) IN (SELECT registry, action FROM registryUse
                        WHERE organization = :organization AND device = :device ORDER BY day LIMIT :excess)
                    """
            ).execute(arguments: ["organization": organization, "device": device, "excess": excess])
            return true
        }
    }

    /// Removes what was used longer ago than reports are kept.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - end: reports that came before are not kept.
    /// - Throws: what SQLite says.
    func removeOldUses(of organization: String, before end: Instant) async throws {
        let arguments: StatementArguments = [organization, UseReport.day(of: end)]
        let isThere = try await database.read { database in
            try Bool.fetchOne(
                database,
                sql: "SELECT EXISTS (SELECT 1 FROM registryUse WHERE organization = ? AND day < ?)",
                arguments: arguments
            )
        }
        guard isThere == true else { return }
        try await database.write { database in
            try database.execute(
                sql: "DELETE FROM registryUse WHERE organization = ? AND day < ?",
                arguments: arguments
            )
        }
    }

    /// How many machines used a registry.
    struct UseSummary: Sendable, Hashable {
        let registry: String
        /// For what; `nil` where only the host was seen.
        let action: RegistryAction?
        /// How many machines.
        let machines: Int
        /// How many of them in the last days of the time.
        let lately: Int
        /// The last day, counted from 1970.
        let last: Int64
    }

    /// Which registries machines used, by registry and action; those that most machines used first.
    ///
    /// - Parameters:
    ///   - organization: whose machines.
    ///   - first: used on this day or later.
    ///   - late: when the last days begin.
    ///   - limit: how many at most.
    /// - Returns: the summaries.
    /// - Throws: what SQLite says.
    func useSummary(of organization: String, since first: Int64, lately late: Int64, atMost limit: Int = 2000)
        async throws -> [UseSummary]
    {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: Self.useSummarySQL,
                arguments: ["organization": organization, "first": first, "late": late, "limit": limit]
            ).map { row in
                UseSummary(
                    registry: row["registry"],
                    action: RegistryAction(rawValue: row["action"]),
                    machines: row["machines"],
                    lately: row["lately"],
                    last: row["last"]
                )
            }
        }
    }

    /// In the order of the primary key, which has one row for each machine, so that nothing has to be sorted or told apart.
    static let useSummarySQL = """
        SELECT registry, action, count(*) AS machines, sum(day >= :late) AS lately, max(day) AS last
        FROM registryUse WHERE organization = :organization AND day >= :first
        GROUP BY registry, action ORDER BY machines DESC, registry, action LIMIT :limit
        """

    /// How many machines told of any use.
    ///
    /// - Parameters:
    ///   - organization: whose machines.
    ///   - first: used on this day or later.
    /// - Returns: their number, and that of all machines.
    /// - Throws: what SQLite says.
    func machinesTellingUses(of organization: String, since first: Int64) async throws -> (telling: Int, all: Int) {
        try await database.read { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT count(*) AS machines, coalesce(sum(EXISTS (SELECT 1 FROM registryUse AS used
                        WHERE used.organization = device.organization AND used.device = device.id
                            AND used.day >= ?)), 0) AS telling
                    FROM device WHERE organization = ?
                    """,
                arguments: [first, organization]
            )
            return (row?["telling"] ?? 0, row?["machines"] ?? 0)
        }
    }
}
