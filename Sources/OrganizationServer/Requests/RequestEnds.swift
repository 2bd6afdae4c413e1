import Logging
import RegistryAccess

/// Ends in time what was allowed until a date, as long as the server runs; what has ended meanwhile, when it starts.
struct RequestEnds: Sendable {
    /// Whose requests.
    let services: Services
    /// What it waits by.
    let clock: any Clock<Duration>
    /// How long it waits between two looks.
    var interval: Duration = .seconds(5)
    /// Where trouble is said.
    let logger: Logger

    /// Looks again and again until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            await look()
            try? await clock.sleep(for: interval)
        }
    }

    /// Looks once.
    func look() async {
        do {
            for (number, organization, error) in try await services.endRequests() {
                logger.error(
                    "what was allowed until now cannot be ended; it is tried again",
                    metadata: ["organization": "\(organization)", "request": "\(number)", "error": "\(error)"]
                )
            }
        } catch {
            // The server stops because something else failed, and says that.
            if Task.isCancelled { return }
            logger.error("cannot look for what has ended", metadata: ["error": "\(error)"])
        }
    }
}
