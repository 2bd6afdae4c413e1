import ArgumentParser
import RegistryAccess

/// `--since`, of the commands that list what happened.
struct SinceOption: ParsableArguments {
    @Option(help: ArgumentHelp("Only since then: 30m, 12h, 7d, 2026-11-20", valueName: "time"))
    var since: String?

    func validate() throws {
        if let since, Timestamp.start(of: since, now: 0) == nil {
            throw ValidationError("--since is a time like 30m, 12h, 7d, 2026-11-20 or 2026-11-20T08:00:00Z")
        }
    }

    /// The moment that is meant, in seconds since 1970.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Returns: that, or `nil` if nothing was said.
    func start(now: Int) -> Int? { since.flatMap { Timestamp.start(of: $0, now: now) } }
}
