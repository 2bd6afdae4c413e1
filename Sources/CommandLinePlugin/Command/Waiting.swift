import Dispatch
import Synchronization

/// Does work that waits for the network, and ends when it is done: a command has nothing else to do meanwhile.
///
/// - Parameter work: the work; it has a thread of its own, whatever the caller holds up.
/// - Returns: what the work returns.
/// - Throws: what the work throws.
func waiting<Value: Sendable>(for work: @escaping @Sendable () async throws -> Value) throws -> Value {
    let done = DispatchSemaphore(value: 0)
    let outcome = Outcome<Value>()
    Task.detached(executorPreference: OwnQueue()) {
        do {
            let value = try await work()
            outcome.result.withLock { $0 = .success(value) }
        } catch {
            outcome.result.withLock { $0 = .failure(error) }
        }
        done.signal()
    }
    done.wait()
    guard let result = outcome.result.withLock({ $0 }) else { throw CancellationError() }
    return try result.get()
}

private final class Outcome<Value: Sendable>: Sendable {
    let result = Mutex<Result<Value, any Error>?>(nil)
}

private final class OwnQueue: TaskExecutor {
    private let queue = DispatchQueue(label: "docker-ram")

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
