import GRDB
import RegistryAccess

extension Report {
    /// How many refusals of a device are kept: the newest.
    static let mostOfDevice = 20_000
    /// How many refusals of strangers are kept in an organization, of all of them together: the newest.
    ///
    /// A stranger is a device that has shown no enrollment token and on which nobody has ever signed in: anybody may have
    /// registered it, and as many as they like.
    static let mostOfStrangers = 500_000
    /// How many reports of a device are remembered, so that they are not kept twice: a device sends one after the other.
    static let mostBatches = 100
}

/// What there may be of reports. Whatever devices tell, the disk is not filled by it.
extension Store {
    /// Whether a device is a stranger: one that anybody may have registered.
    ///
    /// - Parameters:
    ///   - device: which.
    ///   - organization: where.
    ///   - database: where to look.
    /// - Returns: whether it is; `nil` if there is no such device.
    /// - Throws: what SQLite says.
    static func isStranger(_ device: String, in organization: String, _ database: Database) throws -> Bool? {
        try Bool.fetchOne(
            database.cachedStatement(
                sql: "SELECT signIns = 0 AND NOT showedToken FROM device WHERE organization = ? AND id = ?"
            ),
            arguments: [organization, device]
        )
    }

    /// Remembers a report of a device, and forgets the oldest.
    ///
    /// - Parameters:
    ///   - batch: what the report is called.
    ///   - device: whose it is.
    ///   - organization: where.
    ///   - now: the time.
    ///   - database: where the transaction is.
    /// - Returns: whether it is new.
    /// - Throws: what SQLite says.
    static func remember(
        _ batch: String,
        of device: String,
        in organization: String,
        at now: Instant,
        _ database: Database
    ) throws -> Bool {
        let newest = try Int.fetchOne(
            database.cachedStatement(
                sql: "SELECT coalesce(max(number), 0) FROM reportBatch WHERE organization = ? AND device = ?"
            ),
            arguments: [organization, device]
        )
        let number = 1 + (newest ?? 0)
        try database.cachedStatement(
            sql: """
                INSERT INTO reportBatch (organization, device, batch, received, number) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT DO NOTHING
                """
        ).execute(arguments: [organization, device, batch, now.seconds, number])
        guard database.changesCount == 1 else { return false }
        guard number > Report.mostBatches else { return true }
        try database.cachedStatement(
            sql: "DELETE FROM reportBatch WHERE organization = ? AND device = ? AND number <= ?"
        ).execute(arguments: [organization, device, number - Report.mostBatches])
        return true
    }

    /// The number of the newest refusal of a stranger.
    ///
    /// - Parameters:
    ///   - organization: where.
    ///   - database: where to look.
    /// - Returns: the number, 0 if there is none; it rises for ever.
    /// - Throws: what SQLite says.
    static func newestOfStrangers(in organization: String, _ database: Database) throws -> Int {
        try Int.fetchOne(
            database.cachedStatement(
                sql: "SELECT max(stranger) FROM refusal WHERE organization = ? AND stranger IS NOT NULL"
            ),
            arguments: [organization]
        ) ?? 0
    }

    /// Removes the oldest refusals where there are more than are kept.
    ///
    /// - Parameters:
    ///   - device: the device that has told of some.
    ///   - ofStrangers: the number of its newest, if it is a stranger.
    ///   - organization: where.
    ///   - database: where the transaction is.
    /// - Throws: what SQLite says.
    static func removeOldest(
        of device: String,
        ofStrangers: Int?,
        in organization: String,
        _ database: Database
    ) throws {
        try database.cachedStatement(
            sql: """
                DELETE FROM refusal WHERE organization = :organization AND device = :device AND number <= (
                    SELECT number FROM refusal WHERE organization = :organization AND device = :device
                    ORDER BY number DESC LIMIT 1 OFFSET \(Report.mostOfDevice))
                """
        ).execute(arguments: ["organization": organization, "device": device])
        guard let ofStrangers, ofStrangers > Report.mostOfStrangers else { return }
        try database.cachedStatement(sql: "DELETE FROM refusal WHERE organization = ? AND stranger <= ?")
            .execute(arguments: [organization, ofStrangers - Report.mostOfStrangers])
    }
}
