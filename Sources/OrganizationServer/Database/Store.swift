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

    /// Opens a database, and brings it to the newest schema; see ``init(of:)`` for one that has to be there.
    ///
    /// - Parameter path: its file; made if it is not there.
    /// - Throws: what SQLite says.
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

    /// Opens the database of a server that was made before: nothing is made in its place, and nothing is written to one that
    /// is damaged or newer than the program.
    ///
    /// - Parameters:
    ///   - data: the server's directory.
    ///   - mayBeNew: whether one will do in which no organization was ever made.
    /// - Throws: ``DataDirectory/Fault`` with what is wrong and what to do.
    init(of data: DataDirectory, mayBeNew: Bool = false) throws {
        do {
            let fault = try Self.fault(of: data.database, mayBeNew: mayBeNew && data.isWithoutKeys())
            guard fault == nil else { throw StorageFault.damaged(fault ?? "") }
            try self.init(path: data.database)
        } catch let error as DatabaseError {
            guard let fault = StorageFault(error) else { throw error }
            throw DataDirectory.Fault(description: fault.description(of: data))
        } catch let fault as StorageFault {
            throw DataDirectory.Fault(description: fault.description(of: data))
        }
    }

    /// The longest database that is looked through before the server serves; a longer one is looked through meanwhile.
    static let longestLook = 256 << 20

    private static func fault(of path: String, mayBeNew: Bool) throws -> String? {
        var reading = Configuration()
        reading.readonly = true
        reading.busyMode = .timeout(5)
        let database = try DatabaseQueue(path: path, configuration: reading)
        defer { try? database.close() }
        return try database.read { database in
            let pages = try Int.fetchOne(database, sql: "PRAGMA page_count") ?? 0
            let size = try Int.fetchOne(database, sql: "PRAGMA page_size") ?? 0
            if pages * size <= longestLook, let damage = try damage(database) { return damage }
            guard try !Schema.migrator.hasBeenSuperseded(database) else { throw StorageFault.newer }
            guard try database.tableExists("organization"),
                try mayBeNew || Bool.fetchOne(database, sql: "SELECT EXISTS (SELECT 1 FROM organization)") ?? false
            else { return "it holds no organization" }
            return nil
        }
    }

    /// Looks the whole database through, which takes seconds for each gigabyte; others read and write meanwhile.
    ///
    /// - Returns: what is wrong with it; `nil` if nothing is.
    /// - Throws: what SQLite says.
    func damage() async throws -> String? {
        try await database.read { try Self.damage($0) }
    }

    private static func damage(_ database: Database) throws -> String? {
        let answer = try String.fetchOne(database, sql: "PRAGMA quick_check(1)")
        guard answer != "ok" else { return nil }
        // Before the last line is only in which database.
        return answer?.split(whereSeparator: \.isNewline).last.map(String.init) ?? "no answer"
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
