import GRDB

/// The only holder of the database: every query of the server is a method of an extension of it.
///
/// A method that reads or writes what belongs to an organization takes the organization, so that nothing of another can be
/// reached by a name or number that somebody made up.
struct Store: Sendable {
    /// The writer; there is one at a time, and readers do not wait for it.
    let database: any DatabaseWriter
    /// Short questions that come by the thousand.
    let reads: SharedTransactions
    /// Short changes that come by the thousand.
    let writes: SharedTransactions

    /// Opens a database, and brings it to the newest schema.
    ///
    /// - Parameter path: its file; made if it is not there.
    /// - Throws: what SQLite says, also when the schema is newer than the program's.
    init(path: String) throws {
        var configuration = Configuration()
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA trusted_schema = OFF")
        }
        let pool = try DatabasePool(path: path, configuration: configuration)
        try pool.writeWithoutTransaction { database in
            // A change that was acknowledged survives the power cut, see sqlite.org/pragma.html#pragma_synchronous. A pool
            // sets NORMAL when it opens, so this comes after.
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        try self.init(pool)
    }

    /// A database in memory, for tests.
    static func inMemory() throws -> Store {
        try Store(DatabaseQueue())
    }

    private init(_ database: any DatabaseWriter) throws {
        self.database = database
        reads = .reading(database)
        writes = .writing(database)
        try Schema.migrator.migrate(database)
    }

    /// Whether the database can be read and holds an organization.
    ///
    /// - Returns: whether the server can do its work.
    /// - Throws: what SQLite says.
    func hasOrganization() async throws -> Bool {
        try await database.read { try Bool.fetchOne($0, sql: "SELECT EXISTS (SELECT 1 FROM organization)") ?? false }
    }
}
