import GRDB

/// What concerns a device besides documents, as far as it is told of it.
struct DeviceChanges: Hashable, Sendable {
    /// How often the teams of its organization have changed.
    let teams: Int
    /// How often what was asked for there has changed.
    let requests: Int
    /// How often somebody has signed in there: two sessions of which both have ended are not the same state.
    let signIns: Int
    /// What has become of the last session.
    let session: SessionState

    /// What is to be selected from the table `device`.
    static let columns = """
        coalesce((SELECT count FROM teamChange WHERE teamChange.organization = device.organization), 0) AS teams,
        \(Store.requestChanges(organization: "device.organization", device: "device.id")) AS requests,
        device.signIns AS signIns,
        (SELECT ended IS NULL FROM session WHERE session.organization = device.organization
            AND session.device = device.id ORDER BY number DESC LIMIT 1) AS isSessionActive
        """

    /// Reads a row with ``columns``.
    init(_ row: Row) {
        teams = row["teams"]
        requests = row["requests"]
        signIns = row["signIns"]
        session = SessionState(isActive: row["isSessionActive"])
    }
}
