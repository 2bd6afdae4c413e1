import Foundation
import GRDB
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// The activity of two organizations in a file, which is changed behind the server's back.
private struct KeptServer {
    let directory: String
    let store: Store
    let time: TestTime
    let publisher: Publisher

    init(_ directory: String) async throws {
        let time = TestTime(SignedOrganization.start)
        self.time = time
        self.directory = directory
        store = try Store(path: "\(directory)/server.sqlite")
        publisher = Publisher(
            store: store,
            keys: SigningKeys(directory: "\(directory)/keys"),
            changes: ChangeFeed(),
            now: { time.now }
        )
        for organization in ["acme", "other"] {
            try await store.database.write { database in
                try database.execute(
                    sql: "INSERT INTO organization (name, created) VALUES (?, ?)",
                    arguments: [organization, time.now.seconds]
                )
            }
            try await RunningServer.begin(organization, publisher, .generate())
        }
        // The lines of the two take turns.
        for number in 0..<10 {
            for organization in ["acme", "other"] { try await record("team \(number)", in: organization) }
        }
    }

    func record(_ name: String, in organization: String = "acme") async throws {
        time.pass(1)
        let data = [JSONMember("quoted", .string("\"\u{E9}\n,")), JSONMember("number", .number("1.50"))]
        let activity = Activity(.teamCreated, by: "owner", name: name, data: data)
        try await store.record(activity, in: organization, at: time.now)
    }

    /// The numbers of the lines of acme.
    func numbers() async throws -> [Int] {
        try await store.database.read {
            try Int.fetchAll($0, sql: "SELECT number FROM activity WHERE organization = 'acme' ORDER BY number")
        }
    }

    /// Changes the file as somebody can who has it: nothing in it keeps them from it.
    func edit<Result>(_ change: (Database) throws -> Result) throws -> Result {
        var configuration = Configuration()
        configuration.foreignKeysEnabled = false
        let file = try DatabaseQueue(path: "\(directory)/server.sqlite", configuration: configuration)
        defer { try? file.close() }
        return try file.write { database in
            for trigger in try String.fetchAll(database, sql: "SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            where trigger.hasPrefix("activity") { try database.execute(sql: "DROP TRIGGER \(trigger)") }
            return try change(database)
        }
    }

    /// The number of the first line that does not fit.
    func faultyLine(with checkpoints: [[UInt8]] = []) async throws -> Int? {
        do {
            _ = try await publisher.verifyActivity(of: "acme", with: checkpoints)
            try await store.database.read(ActivityChain.checkEnd)
            return nil
        } catch let fault as ActivityChain.Fault {
            return fault.number
        }
    }

    static func with(_ body: (KeptServer) async throws -> Void) async throws {
        try await withTemporaryDirectory { try await body(KeptServer($0)) }
    }
}

/// What somebody does to the activity behind the server's back.
private enum Tampering: String, CaseIterable {
    case actorChanged, timeChanged, dataChanged, hashChanged, hashTakenAway
    case removed, firstRemoved, insertedBefore, swapped, swappedWithHashes, movedToAnotherOrganization
    case lastRemoved, lastRemovedAndCounter, lastRemovedWithCheckpoint, lastThreeRemoved
    case rewritten, rewrittenShorter

    /// Does it, and says which line must be named.
    func apply(_ database: Database, _ numbers: [Int]) throws -> Int {
        let (middle, last) = (numbers[numbers.count / 2], numbers[numbers.count - 1])
        let next = numbers[numbers.count / 2 + 1]
        func remove(_ number: Int) throws {
            try database.execute(sql: "DELETE FROM activity WHERE number = ?", arguments: [number])
        }
        switch self {
        case .actorChanged, .timeChanged, .dataChanged, .hashChanged, .hashTakenAway, .movedToAnotherOrganization:
            let change: [Tampering: String] = [
                .actorChanged: "actor = 'mallory'", .timeChanged: "time = time + 1", .dataChanged: "data = '{}'",
                .hashChanged: "hash = '\(String(repeating: "a", count: 64))'", .hashTakenAway: "hash = NULL",
                .movedToAnotherOrganization: "organization = 'other'",
            ]
            try database.execute(
                sql: "UPDATE activity SET \(change[self] ?? "") WHERE number = ?",
                arguments: [middle]
            )
            return self == .movedToAnotherOrganization ? next : middle
        case .removed:
            try remove(middle)
            return next
        case .firstRemoved:
            try remove(numbers[0])
            return numbers[1]
        case .insertedBefore:
            // With a hash that is right, as everybody can compute it.
            let hash = ActivityChain.hash(
                after: ActivityChain.beginning,
                number: 0,
                organization: "acme",
                time: 1,
                texts: ["team.create", "mallory", "x", "{}"]
            )
            try database.execute(
                sql: """
                    INSERT INTO activity (number, organization, time, action, actor, name, data, hash)
                    VALUES (0, 'acme', 1, 'team.create', 'mallory', 'x', '{}', ?)
                    """,
                arguments: [hash]
            )
            return numbers[0]
        case .swapped, .swappedWithHashes:
            let columns = ["time", "name"] + (self == .swapped ? [] : ["hash"])
            let rows = try [middle, next].map { number in
                try Row.fetchOne(
                    database,
                    sql: "SELECT \(columns.joined(separator: ", ")) FROM activity WHERE number = ?",
                    arguments: [number]
                ) ?? Row()
            }
            for (number, row) in zip([next, middle], rows) {
                try database.execute(
                    sql: "UPDATE activity SET \(columns.map { "\($0) = ?" }.joined(separator: ", ")) WHERE number = ?",
                    arguments: StatementArguments(Array(row.databaseValues)) + [number]
                )
            }
            return middle
        case .lastRemoved: try remove(last)
        case .lastThreeRemoved: for number in numbers.suffix(3) { try remove(number) }
        case .lastRemovedAndCounter, .lastRemovedWithCheckpoint:
            try database.execute(sql: "DELETE FROM activity WHERE number >= ?", arguments: [last])
            try database.execute(
                sql: "UPDATE sqlite_sequence SET seq = ? WHERE name = 'activity'",
                arguments: [last - 1]
            )
            if self == .lastRemovedWithCheckpoint {
                try database.execute(sql: "DELETE FROM activityCheckpoint WHERE organization = 'acme'")
            }
        case .rewritten, .rewrittenShorter:
            // A line is changed or removed, and every hash behind it made anew.
            if self == .rewritten {
                try database.execute(sql: "UPDATE activity SET actor = 'mallory' WHERE number = ?", arguments: [middle])
            } else {
                try remove(middle)
            }
            var hash = ActivityChain.beginning
            for row in try Row.fetchAll(
                database,
                sql: "SELECT * FROM activity WHERE organization = 'acme' ORDER BY number"
            ) {
                hash = ActivityChain.hash(
                    after: hash,
                    number: row["number"],
                    organization: row["organization"],
                    time: row["time"],
                    texts: [row["action"], row["actor"], row["name"], row["data"]]
                )
                try database.execute(
                    sql: "UPDATE activity SET hash = ? WHERE number = ?",
                    arguments: [hash, row["number"] as Int]
                )
            }
        }
        return last
    }
}

struct ActivityChainTests {
    @Test
    func `what nobody has touched is proved, and a checkpoint says how far it goes`() async throws {
        try await KeptServer.with { server in
            let numbers = try await server.numbers()
            let checkpoint = try #require(try await server.publisher.makeCheckpoint(of: "acme"))
            #expect(checkpoint.number == numbers.last)
            #expect(checkpoint.lines == numbers.count)
            let (end, checkpoints) = try await server.publisher.verifyActivity(of: "acme")
            #expect(end == ActivityChain.End(number: checkpoint.number, lines: checkpoint.lines, hash: checkpoint.hash))
            #expect(checkpoints == 1)
            #expect(try await server.faultyLine() == nil)
            // Nothing was done, so there is nothing more to sign.
            #expect(try await server.publisher.makeCheckpoint(of: "acme") == nil)
            try await server.record("one more")
            #expect(try await server.publisher.makeCheckpoint(of: "acme")?.lines == numbers.count + 1)
            #expect(try await server.faultyLine() == nil)
        }
    }

    @Test(arguments: Tampering.allCases)
    private func `the first line that does not fit is named`(tampering: Tampering) async throws {
        try await KeptServer.with { server in
            let numbers = try await server.numbers()
            try await server.publisher.makeCheckpoint(of: "acme")
            let kept = try #require(try await server.store.newestCheckpoint(of: "acme"))
            #expect(try await server.faultyLine() == nil)
            let line = try server.edit { try tampering.apply($0, numbers) }
            if tampering == .lastRemovedWithCheckpoint {
                // Nothing in the file is left that says so; what was kept elsewhere does.
                #expect(try await server.faultyLine() == nil)
            } else {
                #expect(try await server.faultyLine() == line)
            }
            #expect(try await server.faultyLine(with: [kept]) == line)
            // The other organization's lines stand for themselves, but for the one that was pushed among them.
            if tampering == .movedToAnotherOrganization {
                await #expect(throws: ActivityChain.Fault.self) {
                    try await server.publisher.verifyActivity(of: "other")
                }
            } else if ![.lastRemovedAndCounter, .lastRemovedWithCheckpoint].contains(tampering) {
                _ = try await server.publisher.verifyActivity(of: "other")
            }
        }
    }

    @Test
    func `lines that are lost at the end are missed even without a checkpoint`() async throws {
        try await KeptServer.with { server in
            try await server.record("the last")
            let last = try #require(try await server.numbers().last)
            try server.edit { try $0.execute(sql: "DELETE FROM activity WHERE number = ?", arguments: [last]) }
            #expect(try await server.faultyLine() == last)
            // Its number is not given again, which would hide that.
            try await server.record("another")
            #expect(try await server.numbers().last == last + 1)
        }
    }

    @Test
    func `a checkpoint that another has signed, or that is another's, is not relied on`() async throws {
        try await KeptServer.with { server in
            let made = try #require(try await server.publisher.makeCheckpoint(of: "acme"))
            try await server.publisher.makeCheckpoint(of: "other")
            let others = try #require(try await server.store.newestCheckpoint(of: "other"))
            let forged = try Envelope(signing: made.payload, as: .activity, with: [.generate()])
            for bad in [Array(forged.json.utf8), others, Array("{}".utf8)] {
                await #expect(throws: Rejection.self) {
                    try await server.publisher.verifyActivity(of: "acme", with: [bad])
                }
            }
            // The same document, signed by the right key, but as something else.
            let root = try #require(try await server.store.signingState(of: "acme")?.root)
            let keys = try server.publisher.keys.signing(.freshness, by: root)
            let disguised = try Envelope(signing: made.payload, as: .freshness, with: keys)
            await #expect(throws: Rejection.self) {
                try await server.publisher.verifyActivity(of: "acme", with: [Array(disguised.json.utf8)])
            }
        }
    }

    @Test
    func `checkpoints are made once a day where anything was done`() async throws {
        try await KeptServer.with { server in
            #expect(try await server.publisher.makeDailyCheckpoints().map(\.organization) == ["acme", "other"])
            #expect(try await server.publisher.makeDailyCheckpoints().isEmpty)
            try await server.record("soon after")
            #expect(try await server.publisher.makeDailyCheckpoints().isEmpty)
            server.time.pass(86_400)
            #expect(try await server.publisher.makeDailyCheckpoints().map(\.organization) == ["acme"])
            server.time.pass(10 * 86_400)
            #expect(try await server.publisher.makeDailyCheckpoints().isEmpty)
        }
    }

    @Test
    func `the schema lets nobody change, remove or add lines past the chain`() async throws {
        try await KeptServer.with { server in
            try await server.publisher.makeCheckpoint(of: "acme")
            for sql in [
                "UPDATE activity SET actor = 'mallory'", "DELETE FROM activity",
                "INSERT INTO activity (organization, time, action, actor) VALUES ('acme', 1, 'a', 'b')",
                "DELETE FROM activityCheckpoint", "UPDATE activityCheckpoint SET created = 1",
            ] {
                await #expect(throws: DatabaseError.self, "\(sql)") {
                    try await server.store.database.write { try $0.execute(sql: sql) }
                }
            }
        }
    }

    @Test
    func `the activity of an earlier version is chained as it is`() async throws {
        try await withTemporaryDirectory { directory in
            let path = "\(directory)/server.sqlite"
            let earlier = try #require(Schema.migrator.migrations.firstIndex(of: ActivityChain.migration.name))
            let old = try DatabaseQueue(path: path)
            try Schema.migrator.migrate(old, upTo: Schema.migrator.migrations[earlier - 1])
            try await old.write { database in
                for organization in ["acme", "other"] {
                    try database.execute(
                        sql: "INSERT INTO organization (name, created) VALUES (?, 1)",
                        arguments: [organization]
                    )
                }
                for number in 0..<1000 {
                    try database.execute(
                        sql:
                            "INSERT INTO activity (organization, time, action, actor, name) VALUES (?, ?, 'a', 'b', 'c')",
                        arguments: [number % 3 == 0 ? "other" : "acme", number]
                    )
                }
            }
            try old.close()
            let store = try Store(path: path)
            let publisher = Publisher(
                store: store,
                keys: SigningKeys(directory: "\(directory)/keys"),
                changes: ChangeFeed(),
                now: { SignedOrganization.start }
            )
            #expect(try await publisher.verifyActivity(of: "acme").end.lines == 666)
            #expect(try await publisher.verifyActivity(of: "other").end.lines == 334)
            try await store.database.write { database in
                try Activity(.teamCreated, by: "a", name: "b").record(
                    in: "acme",
                    at: SignedOrganization.start,
                    database
                )
            }
            #expect(try await publisher.verifyActivity(of: "acme").end.lines == 667)
            try await store.database.read(ActivityChain.checkEnd)
        }
    }

    @Test
    func `a copy of the database is proved like the database`() async throws {
        try await KeptServer.with { server in
            try await server.publisher.makeCheckpoint(of: "acme")
            let end = try await server.publisher.verifyActivity(of: "acme").end
            let data = DataDirectory(path: server.directory)
            try Backup.make(of: data, to: "\(server.directory)/copy.sqlite")
            try await server.record("after the copy")
            try server.store.database.close()
            _ = try Backup.restore("\(server.directory)/copy.sqlite", in: data, at: server.time.now)
            let store = try Store(path: data.database)
            let publisher = Publisher(
                store: store,
                keys: SigningKeys(directory: "\(server.directory)/keys"),
                changes: ChangeFeed(),
                now: { SignedOrganization.start }
            )
            let restored = try await publisher.verifyActivity(of: "acme")
            #expect(restored.end == end)
            #expect(restored.checkpoints == 1)
        }
    }
}
