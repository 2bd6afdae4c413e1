import GRDB
import RegistryAccess
import SignedPolicy

extension Store {
    /// What machines refused of one registry and action, or would have refused.
    struct RefusalSummary: Sendable, Hashable {
        let registry: String
        let action: String?
        /// How many machines.
        let machines: Int
        /// How often.
        let count: Int
        /// When the newest of them came here.
        let last: Instant
    }

    /// What machines refused, by registry and action; those that concern most machines first.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - since: received at this time or later.
    ///   - limit: how many at most.
    /// - Returns: the summaries.
    /// - Throws: what SQLite says.
    func refusalSummary(of organization: String, since: Instant, atMost limit: Int = 500) async throws
        -> [RefusalSummary]
    {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT registry, action, count(DISTINCT device) AS machines, count(*) AS count,
                        max(received) AS last
                    FROM refusal WHERE organization = ? AND received >= ? AND registry IS NOT NULL
                    GROUP BY registry, action ORDER BY machines DESC, count DESC, registry, action LIMIT ?
                    """,
                arguments: [organization, since.seconds, limit]
            ).map { row in
                RefusalSummary(
                    registry: row["registry"],
                    action: row["action"],
                    machines: row["machines"],
                    count: row["count"],
                    last: Instant(seconds: row["last"])
                )
            }
        }
    }

    /// How many refusals came in each day, and how many of them were recorded only.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - since: the beginning of the first day; days follow each other every 86,400 seconds.
    /// - Returns: the days that have any, by their number from the first one.
    /// - Throws: what SQLite says.
    func refusalsByDay(of organization: String, since: Instant) async throws
        -> [Int: (refused: Int, recorded: Int)]
    {
        try await database.read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT (received - :since) / 86400 AS day, sum(verdict = 'deny') AS refused,
                        sum(verdict <> 'deny') AS recorded
                    FROM refusal WHERE organization = :organization AND received >= :since GROUP BY day
                    """,
                arguments: ["organization": organization, "since": since.seconds]
            )
            return Dictionary(
                rows.map { ($0["day"] as Int, ($0["refused"] as Int, $0["recorded"] as Int)) },
                uniquingKeysWith: { first, _ in first }
            )
        }
    }
}
