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

    /// How it does, as owners look for it.
    enum Standing: String, CaseIterable, Sendable {
        /// It has the newest policy and enforces it.
        case current
        /// It has the newest policy, and nothing enforces it there.
        case notEnforcing = "not-enforcing"
        case behind
        case silent
        case new
        /// Its session has ended.
        case signedOut = "signed-out"

        /// What it is in SQL, of the tables that ``Device/measured`` brings; `:now` is the time.
        var condition: String {
            let state = "\(Device.state)"
            switch self {
            case .current: return "\(state) = 'current' AND NOT \(Self.enforcesNothing)"
            case .notEnforcing: return "\(state) = 'current' AND \(Self.enforcesNothing)"
            case .behind, .silent, .new: return "\(state) = '\(rawValue)'"
            case .signedOut:
                return """
                    (SELECT ended FROM session
                        WHERE session.organization = device.organization AND session.device = device.id
                        ORDER BY number DESC LIMIT 1) IS NOT NULL
                    """
            }
        }

        /// It has said that no enforcement point is active; what it says of itself is an object.
        private static let enforcesNothing = """
            coalesce(json_array_length(deviceStatus.document, '$.enforcementPoints'), 0) = 0
            """
    }

    /// What a device is compared with in SQL, beside its status.
    static let measured = """
        JOIN organization ON organization.name = device.organization
        LEFT JOIN freshness ON freshness.organization = device.organization
        """

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

    /// The devices of an organization in the order of their names.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - place: only those behind this one; `nil` begins at the beginning.
    ///   - limit: how many at most.
    ///   - filter: which of them.
    /// - Returns: the devices.
    /// - Throws: what SQLite says.
    func devices(of organization: String, after place: Device.Place?, atMost limit: Int, _ filter: DeviceFilter)
        async throws -> [Device]
    {
        // As for the counts: where nothing can be written, it is told apart by what is a minute old.
        if filter.standing != nil { try? await lastSeen.write(to: store) }
        return try await store.devices(of: organization, after: place, atMost: limit, filter, at: now())
            .map { heard($0, in: organization) }
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

    /// Counts the devices of a standing.
    ///
    /// - Parameters:
    ///   - standing: which.
    ///   - organization: whose.
    /// - Returns: how many, as of at most a minute ago.
    /// - Throws: what SQLite says.
    func deviceCount(_ standing: Device.Standing, of organization: String) async throws -> Int {
        try await store.deviceCount(standing, of: organization, at: now())
    }
}

extension Store {
    fileprivate func deviceCount(_ standing: Device.Standing, of organization: String, at now: Instant) async throws
        -> Int
    {
        // Not each condition goes by the time.
        try await database.read { database in
            try Int.fetchOne(
                database,
                sql: """
                    SELECT count(*) FROM device \(Device.withStatus) \(Device.measured)
                    WHERE device.organization = :organization AND :now > 0 AND \(standing.condition)
                    """,
                arguments: ["organization": organization, "now": now.seconds]
            ) ?? 0
        }
    }

    fileprivate func deviceCounts(of organization: String?, at now: Instant) async throws -> [Device.State: Int] {
        var arguments: StatementArguments = ["now": now.seconds]
        if let organization { arguments += ["organization": organization] }
        return try await database.read { [arguments] database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT \(Device.state) AS state, count(*) AS count
                    FROM device \(Device.withStatus) \(Device.measured)
                    \(organization == nil ? "" : "WHERE device.organization = :organization") GROUP BY 1
                    """,
                arguments: arguments
            )
            return Dictionary(rows.map { ($0["state"], $0["count"]) }, uniquingKeysWith: { $1 })
        }
    }
}
