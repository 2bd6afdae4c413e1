import GRDB
import RegistryAccess
import SignedPolicy

/// How a device does.
extension Device {
    enum State: String, CaseIterable, DatabaseValueConvertible {
        /// It has not said anything yet.
        case new
        /// It has the newest policy.
        case current
        /// It has an older one, or none.
        case behind
        /// It was not heard of for as long as a policy holds.
        case silent
    }

    /// What the devices of an organization are compared with.
    struct Measure: Sendable {
        /// The newest version of the policy; 0 if there is none.
        let newest: Int
        /// How many seconds a policy holds without the server.
        let patience: Int64
        let now: Instant
    }

    /// How it does.
    ///
    /// - Parameter measure: what it is compared with.
    /// - Returns: the state.
    func state(by measure: Measure) -> State {
        guard let lastSeen, measure.now - lastSeen < measure.patience + Self.pollGrain else { return .silent }
        guard let policyVersion else { return .new }
        return policyVersion == measure.newest ? .current : .behind
    }

    /// The same in SQL, of the tables `device`, `organization`, `deviceStatus` and `freshness`; `:now` is the time.
    fileprivate static let state = """
        CASE WHEN device.lastSeen IS NULL
                OR :now - device.lastSeen >= organization.validitySeconds + \(pollGrain) THEN 'silent'
            WHEN deviceStatus.policyVersion IS NULL THEN 'new'
            WHEN deviceStatus.policyVersion = freshness.policyVersion THEN 'current'
            ELSE 'behind' END
        """
}

/// Devices as they are now: when they were heard of is in the database only a minute later.
extension Services {
    /// What the devices of an organization are compared with.
    ///
    /// - Parameter organization: whose.
    /// - Returns: that.
    /// - Throws: what SQLite says.
    func deviceMeasure(of organization: String) async throws -> Device.Measure {
        Device.Measure(
            newest: try await publisher.served.newest(of: organization)?.policyVersion ?? 0,
            patience: try await store.settings(of: organization).validitySeconds,
            now: now()
        )
    }

    /// The devices of an organization in the order of their ids.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - id: only those after this one; `nil` begins at the beginning.
    ///   - limit: how many at most.
    /// - Returns: the devices.
    /// - Throws: what SQLite says.
    func devices(of organization: String, after id: String?, atMost limit: Int) async throws -> [Device] {
        try await store.devices(of: organization, after: id, atMost: limit).map { heard($0, in: organization) }
    }

    /// One device of an organization.
    ///
    /// - Parameters:
    ///   - id: which.
    ///   - organization: whose.
    /// - Returns: the device; `nil` if there is none.
    /// - Throws: what SQLite says.
    func device(_ id: String, of organization: String) async throws -> Device? {
        try await store.device(id, of: organization).map { heard($0, in: organization) }
    }

    private func heard(_ device: Device, in organization: String) -> Device {
        var device = device
        device.lastSeen = lastSeen.time(of: device.id, in: organization) ?? device.lastSeen
        return device
    }

    /// Counts devices by their states.
    ///
    /// - Parameter organization: whose; `nil` counts those of all.
    /// - Returns: the numbers of the states that there are.
    /// - Throws: what SQLite says.
    func deviceCounts(of organization: String? = nil) async throws -> [Device.State: Int] {
        // Reading goes on where nothing can be written; the counts are a minute old then.
        try? await lastSeen.write(to: store)
        return try await store.deviceCounts(of: organization, at: now())
    }
}

extension Store {
    fileprivate func deviceCounts(of organization: String?, at now: Instant) async throws -> [Device.State: Int] {
        var arguments: StatementArguments = ["now": now.seconds]
        if let organization { arguments += ["organization": organization] }
        return try await database.read { [arguments] database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT \(Device.state) AS state, count(*) AS count
                    FROM device JOIN organization ON organization.name = device.organization
                    LEFT JOIN freshness ON freshness.organization = device.organization
                    LEFT JOIN deviceStatus
                        ON deviceStatus.organization = device.organization AND deviceStatus.device = device.id
                    \(organization == nil ? "" : "WHERE device.organization = :organization") GROUP BY 1
                    """,
                arguments: arguments
            )
            return Dictionary(rows.map { ($0["state"], $0["count"]) }, uniquingKeysWith: { $1 })
        }
    }
}
