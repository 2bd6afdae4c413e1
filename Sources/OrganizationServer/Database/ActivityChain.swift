import Foundation
import GRDB
import RegistryAccess
import SignedPolicy

/// Binds each line of an organization's activity to all lines before it.
///
/// A line bears `SHA256(the hash of the line before || the line)`, in hexadecimal digits; before the first there are 64
/// zeros. The line is a JSON array without white space: number, organization, time, action, actor, name, data, where numbers
/// and texts are as the table has them. Whoever changes, removes, adds or moves a line behind the server's back has to make
/// every later hash anew, and then they differ from what checkpoints say, which are signed.
enum ActivityChain {
    /// What the first line follows.
    static let beginning = String(repeating: "0", count: 64)

    /// A line that is not what it was.
    struct Fault: Error, Equatable, CustomStringConvertible {
        /// The number of the first line that does not fit.
        let number: Int
        /// Why, lower-case.
        let reason: String

        var description: String { "line \(number) does not fit: \(reason)" }
    }

    /// How far a chain goes.
    struct End: Equatable, Sendable {
        var number = 0
        var lines = 0
        var hash = ActivityChain.beginning
    }

    /// The schema: a hash for each line, those that are there included, and a place for checkpoints.
    static let migration: (name: String, migrate: @Sendable (Database) throws -> Void) = (
        "activity is chained",
        { database in
            try database.execute(
                sql: """
                    ALTER TABLE activity ADD COLUMN hash TEXT;
                    DROP TRIGGER activityIsNotChanged;
                    """
            )
            for organization in try String.fetchAll(database, sql: "SELECT name FROM organization") {
                var end = End()
                let rows = try Row.fetchAll(database, sql: selection, arguments: [organization])
                for row in rows {
                    end.hash = hash(of: row, after: end.hash)
                    try database.execute(
                        sql: "UPDATE activity SET hash = ? WHERE number = ?",
                        arguments: [end.hash, row["number"] as Int]
                    )
                }
            }
            try database.execute(
                sql: """
                    CREATE TRIGGER activityIsNotChanged BEFORE UPDATE ON activity
                    BEGIN SELECT RAISE(ABORT, 'activity is only added to'); END;
                    CREATE TRIGGER activityIsNotRemoved BEFORE DELETE ON activity
                    BEGIN SELECT RAISE(ABORT, 'activity is only added to'); END;
                    CREATE TRIGGER activityIsChained BEFORE INSERT ON activity
                    WHEN NEW.hash IS NULL OR length(NEW.hash) <> 64
                    BEGIN SELECT RAISE(ABORT, 'activity is chained'); END;
                    CREATE TABLE activityCheckpoint (
                        organization TEXT NOT NULL REFERENCES organization (name),
                        number INTEGER NOT NULL CHECK (number >= 1), -- of the newest line then
                        created INTEGER NOT NULL,
                        envelope BLOB NOT NULL,
                        PRIMARY KEY (organization, number)
                    ) STRICT;
                    CREATE TRIGGER activityCheckpointIsNotChanged BEFORE UPDATE ON activityCheckpoint
                    BEGIN SELECT RAISE(ABORT, 'a checkpoint is not changed'); END;
                    CREATE TRIGGER activityCheckpointIsNotRemoved BEFORE DELETE ON activityCheckpoint
                    BEGIN SELECT RAISE(ABORT, 'a checkpoint is not removed'); END;
                    """
            )
        }
    )

    private static let selection = """
        SELECT number, organization, time, action, actor, name, data, hash FROM activity
        WHERE organization = ? ORDER BY number
        """

    private static func hash(of row: Row, after previous: String) -> String {
        hash(
            after: previous,
            number: row["number"],
            organization: row["organization"],
            time: row["time"],
            texts: [row["action"], row["actor"], row["name"], row["data"]]
        )
    }

    /// The hash of a line.
    ///
    /// - Parameters:
    ///   - previous: the hash of the line before.
    ///   - number: its number.
    ///   - organization: whose it is.
    ///   - time: seconds since 1970.
    ///   - texts: action, actor, name and data.
    /// - Returns: 64 hexadecimal digits.
    static func hash(after previous: String, number: Int, organization: String, time: Int64, texts: [String]) -> String
    {
        let line = JSONValue.array(
            [.number("\(number)"), .string(organization), .number("\(time)")] + texts.map { .string($0) }
        )
        return Hexadecimal.sha256(Array(previous.utf8) + Array(line.text().utf8))
    }

    /// What the next line follows; to be called in the transaction that writes it, of which there is one at a time.
    ///
    /// - Parameters:
    ///   - organization: whose activity.
    ///   - database: where that transaction is.
    /// - Returns: the hash of the newest line.
    /// - Throws: what SQLite says.
    static func newestHash(of organization: String, _ database: Database) throws -> String {
        try String.fetchOne(
            database,
            sql: "SELECT hash FROM activity WHERE organization = ? ORDER BY number DESC LIMIT 1",
            arguments: [organization]
        ) ?? beginning
    }

    /// The number of the next line; no number comes twice, also not that of a line that was removed.
    static func nextNumber(_ database: Database) throws -> Int {
        1 + (try Int.fetchOne(database, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'activity'") ?? 0)
    }

    /// Follows the chain of an organization from its beginning.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - checkpoints: what was said of it, the signatures of which were found good.
    ///   - database: where it is.
    /// - Returns: how far it goes.
    /// - Throws: ``Fault`` with the first line that does not fit, or what SQLite says.
    static func follow(_ organization: String, _ checkpoints: [ActivityCheckpoint], _ database: Database) throws -> End
    {
        let expected = Dictionary(grouping: checkpoints, by: \.number)
        var end = End()
        let rows = try Row.fetchCursor(database, sql: selection, arguments: [organization])
        while let row = try rows.next() {
            let number: Int = row["number"]
            let hash = hash(of: row, after: end.hash)
            guard row["hash"] as String? == hash else {
                throw Fault(number: number, reason: "it, or what it follows, is not what was written")
            }
            end = End(number: number, lines: end.lines + 1, hash: hash)
            for checkpoint in expected[number] ?? []
            where checkpoint.hash != hash || checkpoint.lines != end.lines {
                throw Fault(
                    number: number,
                    reason: "the checkpoint of \(checkpoint.issued) says otherwise: it, or one before it, was rewritten"
                )
            }
        }
        if let beyond = checkpoints.filter({ $0.number > end.number }).max(by: { $0.number < $1.number }) {
            throw Fault(
                number: beyond.number,
                reason: "it was there at \(beyond.issued), as a checkpoint says, and is not there any more"
            )
        }
        if let lost = checkpoints.first(where: { $0.number < end.number && $0.lines > end.lines }) {
            throw Fault(number: lost.number, reason: "there were \(lost.lines) lines at \(lost.issued)")
        }
        return end
    }

    /// Whether numbers were given to lines that are not there: those at the end of all organizations' lines.
    ///
    /// - Parameter database: where they are.
    /// - Throws: ``Fault``, or what SQLite says.
    static func checkEnd(_ database: Database) throws {
        let newest = try Int.fetchOne(database, sql: "SELECT max(number) FROM activity") ?? 0
        guard try nextNumber(database) == newest + 1 else {
            throw Fault(number: newest + 1, reason: "it was written, and is not there any more")
        }
    }
}
