/// When the organization's server is asked next.
///
/// Times are seconds of a clock that nobody sets and that counts while the machine sleeps.
struct RefreshSchedule: Hashable, Sendable {
    /// How long to wait after the first failure, in seconds.
    static let shortestRetry: Int64 = 5
    /// How long to wait at most after a failure.
    static let longestRetry: Int64 = 300

    /// When to ask; `nil` is now.
    private(set) var next: Int64?
    private var failures = 0

    /// Whether it is time.
    func isDue(at time: Int64) -> Bool {
        next.map { $0 <= time } ?? true
    }

    /// Asks as soon as possible.
    mutating func hurry() {
        next = nil
    }

    /// The server has answered: the next time comes after what it wishes, or a tenth earlier, so that machines that were
    /// switched on together do not ask together for ever.
    mutating func succeeded(at time: Int64, refreshSeconds: Int, using generator: inout some RandomNumberGenerator) {
        failures = 0
        let wish = Int64(refreshSeconds)
        next = time + wish - Int64.random(in: 0...wish / 10, using: &generator)
    }

    /// The server has not answered: the waits double, and half of each is left to chance.
    mutating func failed(at time: Int64, using generator: inout some RandomNumberGenerator) {
        let wait = min(Self.longestRetry, Self.shortestRetry << min(failures, 16))
        failures += 1
        next = time + wait - Int64.random(in: 0...wait / 2, using: &generator)
    }
}
