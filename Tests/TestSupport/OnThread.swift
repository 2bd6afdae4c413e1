import Foundation

/// Runs blocking code on a thread of its own, so that tests do not take the threads that tasks run on.
///
/// - Parameter body: the code.
/// - Returns: what the body returns.
/// - Throws: what the body throws.
public func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread {
            continuation.resume(with: Swift.Result { try body() })
        }
    }
}
