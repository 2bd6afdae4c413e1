import Glibc
public import RegistryAccess

extension Instant {
    /// The time of the wall clock.
    ///
    /// - Returns: that.
    public static func now() -> Instant { Instant(seconds: Int64(time(nil))) }
}
