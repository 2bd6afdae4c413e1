import GRDB

/// Notices what other processes write into the database of a server that runs: `docker-ram-server password`,
/// `organization add`, `trust` and `publish`.
///
/// Whoever waits for a change waits in memory, and would learn of theirs only when it asks anew.
struct OtherProcesses {
    private let services: Services
    /// What SQLite counts for the writer: commits of other connections, and nobody else in this process writes.
    private var version: Int?

    /// Nothing was looked at yet.
    ///
    /// - Parameter services: whose database it is about.
    init(services: Services) {
        self.services = services
    }

    /// Looks once, and has everybody look who waits if something was written since the look before.
    ///
    /// - Returns: whether it is so.
    /// - Throws: what SQLite says.
    @discardableResult
    mutating func look() async throws -> Bool {
        let newest = try await services.store.database.writeWithoutTransaction { database in
            try Int.fetchOne(database, sql: "PRAGMA data_version")
        }
        defer { version = newest }
        guard let version, version != newest else { return false }
        try await services.publisher.announceWhatIsNewer()
        for organization in try await services.store.organizations() {
            await services.changes.notify(organization)
        }
        return true
    }
}
