import GRDB
import Glibc
import Synchronization
import Testing

@testable import OrganizationServer

struct SharedTransactionsTests {
    private struct Refusal: Error {}

    private final class Flag: Sendable {
        private let state = Mutex(false)

        var isSet: Bool { state.withLock { $0 } }

        func set() { state.withLock { $0 = true } }
    }

    private static func add(_ number: Int) -> @Sendable (Database) throws -> Int {
        { database in
            try database.execute(sql: "INSERT INTO number (value) VALUES (?)", arguments: [number])
            return number
        }
    }

    private static func numbers(_ store: Store) async throws -> [Int] {
        try await store.database.read { try Int.fetchAll($0, sql: "SELECT value FROM number ORDER BY value") }
    }

    /// Has bodies run in one transaction: another one lasts until all of them wait.
    private static func together(
        _ store: Store,
        _ bodies: [@Sendable (Database) throws -> Int]
    ) async throws -> [Result<Int, any Error>] {
        try await store.database.write { database in
            try database.execute(
                sql: """
                    CREATE TABLE number (value INTEGER UNIQUE);
                    CREATE TRIGGER badNumber BEFORE INSERT ON number WHEN NEW.value = -1
                    BEGIN SELECT RAISE(ROLLBACK, 'as when the disk is full'); END;
                    """
            )
        }
        let (isUnderWay, isFree) = (Flag(), Flag())
        return try await withThrowingTaskGroup(of: (Int, Result<Int, any Error>).self) { group in
            group.addTask {
                try await store.writes.run { _ in
                    isUnderWay.set()
                    while !isFree.isSet { usleep(1000) }
                    return (-1, .success(0))
                }
            }
            while !isUnderWay.isSet { await Task.yield() }
            for (index, body) in bodies.enumerated() {
                group.addTask {
                    do {
                        return (index, .success(try await store.writes.run(body)))
                    } catch {
                        return (index, .failure(error))
                    }
                }
                while store.writes.waitingCount <= index { await Task.yield() }
            }
            isFree.set()
            let results = try await group.reduce(into: []) { $0.append($1) }
            return results.filter { $0.0 >= 0 }.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    @Test
    func `each of many gets its own answer`() async throws {
        let store = try Store.inMemory()
        let results = try await Self.together(store, (0..<500).map { Self.add($0) })
        #expect(try results.map { try $0.get() } == Array(0..<500))
        #expect(try await Self.numbers(store) == Array(0..<500))
        #expect(store.writes.waitingCount == 0)
    }

    @Test
    func `one that fails takes nothing of the others with it, and leaves nothing`() async throws {
        let store = try Store.inMemory()
        let results = try await Self.together(
            store,
            [
                Self.add(1),
                { database in
                    _ = try Self.add(2)(database)
                    throw Refusal()
                },
                Self.add(1), Self.add(3),
            ]
        )
        #expect(try results[0].get() == 1)
        #expect(throws: Refusal.self) { try results[1].get() }
        #expect(throws: DatabaseError.self) { try results[2].get() }
        #expect(try results[3].get() == 3)
        #expect(try await Self.numbers(store) == [1, 3])
    }

    @Test
    func `a transaction that ends in the middle acknowledges nothing`() async throws {
        let store = try Store.inMemory()
        let results = try await Self.together(store, [1, 2, -1, 4].map { Self.add($0) })
        for result in results { #expect(throws: DatabaseError.self) { try result.get() } }
        #expect(try await Self.numbers(store).isEmpty)
        // What comes later is not concerned.
        #expect(try await store.writes.run(Self.add(5)) == 5)
        #expect(try await Self.numbers(store) == [5])
    }

    @Test
    func `readers get each their own answer`() async throws {
        let store = try Store.inMemory()
        try await withThrowingTaskGroup(of: (Int, Int).self) { group in
            for number in 0..<1000 {
                group.addTask {
                    (number, try await store.reads.run { try Int.fetchOne($0, sql: "SELECT \(number)") ?? -1 })
                }
            }
            for try await (asked, answered) in group { #expect(asked == answered) }
        }
        await #expect(throws: DatabaseError.self) {
            try await store.reads.run { try Int.fetchOne($0, sql: "SELECT nothing") }
        }
    }
}
