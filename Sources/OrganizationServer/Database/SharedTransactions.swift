import GRDB
import Synchronization

/// Takes into one transaction what comes while the one before is under way.
///
/// A transaction that is to last costs a write to the disk, and every one costs two changes of thread, for one question as
/// for hundreds. Nobody waits for company: what comes alone goes alone. Each is answered when the transaction is over, and
/// one that fails takes nothing of the others with it.
final class SharedTransactions: Sendable {
    /// What is to be done, once for all.
    typealias Transaction =
        @Sendable (_ body: @escaping @Sendable (Database) throws -> [Answer]) async throws -> [Answer]
    /// Answers one of them.
    typealias Answer = @Sendable () -> Void

    private struct Request: Sendable {
        let run: @Sendable (Database) throws -> Answer
        let fail: @Sendable (any Error) -> Void
    }

    private struct State {
        var waiting: [Request] = []
        var isBusy = false
    }

    private let state = Mutex(State())
    private let writes: Bool
    private let most: Int
    private let transaction: Transaction

    /// Shared transactions that read.
    ///
    /// - Parameter database: the database.
    /// - Returns: them.
    static func reading(_ database: any DatabaseWriter) -> SharedTransactions {
        SharedTransactions(writes: false, most: 1000) { try await database.read($0) }
    }

    /// Shared transactions that write.
    ///
    /// - Parameter database: the database.
    /// - Returns: them.
    static func writing(_ database: any DatabaseWriter) -> SharedTransactions {
        SharedTransactions(writes: true, most: 200) { try await database.write($0) }
    }

    private init(writes: Bool, most: Int, _ transaction: @escaping Transaction) {
        self.writes = writes
        self.most = most
        self.transaction = transaction
    }

    /// How many wait for the next transaction, for tests and figures.
    var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// Does something in the next transaction.
    ///
    /// - Parameter body: what; it may be done together with others, before or behind it.
    /// - Returns: what the body returns, once it is sure to last.
    /// - Throws: what the body throws, or why the transaction failed.
    func run<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Value, any Error>) in
            let request = Request(
                run: { database in
                    let value = try body(database)
                    return { continuation.resume(returning: value) }
                },
                fail: { continuation.resume(throwing: $0) }
            )
            let isFirst = state.withLock { state in
                state.waiting.append(request)
                defer { state.isBusy = true }
                return !state.isBusy
            }
            if isFirst { Task { await goThroughAll() } }
        }
    }

    @concurrent
    private func goThroughAll() async {
        while let requests = next() {
            let answers: [Answer]
            do {
                answers = try await transaction { [writes] database in
                    try requests.map { writes ? try Self.write($0, database) : Self.read($0, database) }
                }
            } catch {
                answers = requests.map { request in { request.fail(error) } }
            }
            for answer in answers { answer() }
        }
    }

    private func next() -> [Request]? {
        state.withLock { state in
            guard !state.waiting.isEmpty else {
                state.isBusy = false
                return nil
            }
            let requests = Array(state.waiting.prefix(most))
            state.waiting.removeFirst(requests.count)
            return requests
        }
    }

    private static func read(_ request: Request, _ database: Database) -> Answer {
        do {
            return try request.run(database)
        } catch {
            return { request.fail(error) }
        }
    }

    private static func write(_ request: Request, _ database: Database) throws -> Answer {
        do {
            var answer: Answer?
            try database.inSavepoint {
                answer = try request.run(database)
                return .commit
            }
            return answer ?? {}
        } catch {
            // A full disk ends the whole transaction, and with it what the others have done.
            guard database.isInsideTransaction else { throw error }
            return { request.fail(error) }
        }
    }
}
