import RegistryAccess
import Logging
import SignedPolicy

/// Keeps freshness documents from ending while the server runs.
struct FreshnessRenewal: Sendable {
    /// What makes the documents.
    let publisher: Publisher
    /// What it waits by.
    let clock: any Clock<Duration>
    /// How long it waits between two looks.
    var interval: Duration = .seconds(60)
    /// Where trouble is said.
    let logger: Logger

    /// How many seconds before its end a root document is spoken of.
    private static let rootNotice: Int64 = 30 * 86_400

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
            for (organization, error) in try await publisher.renewFreshness() {
                logger.error(
                    "cannot renew the freshness document; machines will refuse when the last one ends",
                    metadata: ["organization": "\(organization)", "error": "\(error)"]
                )
            }
            for (organization, end) in try await publisher.rootsEnding(within: Self.rootNotice) {
                logger.warning(
                    "the root document ends soon; machines refuse from then on, so bring the next one",
                    metadata: ["organization": "\(organization)", "ends": "\(end)"]
                )
            }
            for checkpoint in try await publisher.makeDailyCheckpoints() {
                // Whoever keeps the log elsewhere keeps this with it.
                logger.notice(
                    "signed how far the activity goes",
                    metadata: [
                        "organization": "\(checkpoint.organization)", "number": "\(checkpoint.number)",
                        "hash": "sha256:\(checkpoint.hash)",
                    ]
                )
            }
        } catch {
            // The server stops because something else failed, and says that.
            if Task.isCancelled { return }
            logger.error("cannot look for what is to be renewed", metadata: ["error": "\(error)"])
        }
    }
}
