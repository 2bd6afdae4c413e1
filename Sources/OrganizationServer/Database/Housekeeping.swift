import Logging
import RegistryAccess

/// Forgets what ended long ago, and reports that are older than they are kept; but nothing by a clock that may be wrong.
///
/// What is forgotten does not come back when the clock is right again. So nothing is forgotten unless the clock has gone on
/// as it should since the look before, an hour ago: not in the first hour of the server either.
struct Housekeeping {
    /// By how much the clock may go on otherwise, in seconds.
    static let tolerance: Int64 = 300

    private let services: Services
    private let logger: Logger
    private var last: (wall: Instant, at: ContinuousClock.Instant)?

    /// A housekeeping that has not looked yet.
    ///
    /// - Parameters:
    ///   - services: whose database it is about.
    ///   - logger: where trouble is said.
    init(services: Services, logger: Logger) {
        self.services = services
        self.logger = logger
    }

    /// Looks once.
    ///
    /// - Parameter time: the time by a clock that nobody sets.
    mutating func look(at time: ContinuousClock.Instant) async {
        let wall = services.now()
        defer { last = (wall, time) }
        guard let last else { return }
        let jump = (wall - last.wall) - (time - last.at).components.seconds
        guard abs(jump) <= Self.tolerance else {
            logger.error(
                "THE CLOCK OF THE SERVER WAS SET; nothing is forgotten for an hour",
                metadata: ["seconds": "\(jump)"]
            )
            return
        }
        do {
            try await services.store.forgetWhatEnded(at: wall)
            try await services.store.removeOldReports(at: wall)
        } catch {
            logger.error("cannot forget what has ended", metadata: ["error": "\(error)"])
        }
    }
}
