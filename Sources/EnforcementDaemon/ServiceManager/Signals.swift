import Dispatch
import Glibc

/// Signals as orders: SIGTERM and SIGINT stop, SIGHUP reloads.
enum Signals {
    /// Runs a body with the orders that signals give while it runs.
    static func whileDelivering<Result>(
        _ body: (AsyncStream<EnforcementDaemon.Order>) async throws -> Result
    ) async rethrows -> Result {
        let (orders, continuation) = AsyncStream.makeStream(of: EnforcementDaemon.Order.self)
        let sources = [(SIGTERM, EnforcementDaemon.Order.stop), (SIGINT, .stop), (SIGHUP, .reload)].map {
            number,
            order in
            // The default action would end the process before the source sees the signal.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number)
            source.setEventHandler { continuation.yield(order) }
            source.resume()
            return source
        }
        defer { for source in sources { source.cancel() } }
        return try await body(orders)
    }
}
