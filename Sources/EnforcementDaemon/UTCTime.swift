import Glibc
import RegistryAccess

/// A moment as the logs write it: UTC, to the millisecond.
struct UTCTime: Hashable, Sendable, CustomStringConvertible {
    /// Milliseconds since the beginning of 1970.
    let milliseconds: Int64

    /// The moment of the wall clock.
    static func now() -> UTCTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UTCTime(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    /// For example `2026-11-23T13:45:10.123Z`.
    var description: String {
        let (quotient, remainder) = milliseconds.quotientAndRemainder(dividingBy: 1000)
        let (second, inSecond) = remainder < 0 ? (quotient - 1, remainder + 1000) : (quotient, remainder)
        let digits = String(inSecond)
        let fraction = String(repeating: "0", count: 3 - digits.utf8.count) + digits
        return "\(Instant(seconds: second).description.dropLast()).\(fraction)Z"
    }
}
