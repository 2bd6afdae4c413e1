import GRDB
import RegistryAccess
import SignedPolicy

extension Store {
    /// One device of an organization.
    ///
    /// - Parameters:
    ///   - id: which.
    ///   - organization: whose.
    /// - Returns: the device; `nil` if there is none.
    /// - Throws: what SQLite says.
    func device(_ id: String, of organization: String) async throws -> Device? {
        try await database.read { database in
            try Row.fetchOne(
                database,
                sql: """
                    SELECT id, name, created, lastSeen, document, time, policyVersion
                    FROM device LEFT JOIN deviceStatus
                    ON deviceStatus.organization = device.organization AND deviceStatus.device = device.id
                    WHERE device.organization = ? AND id = ?
                    """,
                arguments: [organization, id]
            ).map(Device.init)
        }
    }

    /// How many devices there are in each state; see ``Device/State``.
    struct DeviceCounts: Sendable, Hashable {
        let new: Int
        let current: Int
        let behind: Int
        let silent: Int

        /// All of them.
        var all: Int { new + current + behind + silent }
    }

    /// Counts the devices of an organization by their states.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - version: the newest version of the policy.
    ///   - end: who was not heard of since then is silent.
    /// - Returns: the numbers.
    /// - Throws: what SQLite says.
    func deviceCounts(of organization: String, newest version: Int, silentSince end: Instant) async throws
        -> DeviceCounts
    {
        try await database.read { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT count(*) AS number, coalesce(sum(isHeard), 0) AS heard,
                        coalesce(sum(isHeard AND policyVersion = :version), 0) AS current,
                        coalesce(sum(isHeard AND policyVersion <> :version), 0) AS behind
                    FROM (SELECT coalesce(lastSeen > :end, 0) AS isHeard, policyVersion
                        FROM device LEFT JOIN deviceStatus
                        ON deviceStatus.organization = device.organization AND deviceStatus.device = device.id
                        WHERE device.organization = :organization)
                    """,
                arguments: ["organization": organization, "version": version, "end": end.seconds]
            )
            guard let row else { return DeviceCounts(new: 0, current: 0, behind: 0, silent: 0) }
            let (number, heard, current, behind): (Int, Int, Int, Int) = (
                row["number"], row["heard"], row["current"], row["behind"]
            )
            return DeviceCounts(
                new: heard - current - behind,
                current: current,
                behind: behind,
                silent: number - heard
            )
        }
    }
}
