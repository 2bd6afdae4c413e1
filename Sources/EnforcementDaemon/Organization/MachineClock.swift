import Glibc
import LocalInstallation
import RegistryAccess
import SignedPolicy

extension TrustedClock.Reading {
    /// What the clocks of this machine say.
    static func ofThisMachine() -> TrustedClock.Reading {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        let boot = (try? Files.read("/proc/sys/kernel/random/boot_id", atMost: 256).bytes) ?? []
        let name = String(decoding: boot.prefix { $0 > 0x20 }, as: UTF8.self)
        return TrustedClock.Reading(wall: .now(), boot: name, sinceBoot: Int64(time.tv_sec))
    }
}

/// The name of this machine, for people.
enum HostName {
    /// What the kernel says; at most 64 characters, all printable ASCII.
    static var ofThisMachine: String {
        let bytes = (try? Files.read("/proc/sys/kernel/hostname", atMost: 256).bytes) ?? []
        let name = bytes.prefix { $0 > 0x20 }.prefix(64).map { (0x21...0x7E).contains($0) ? $0 : UInt8(ascii: "-") }
        return name.isEmpty ? "unnamed" : String(decoding: name, as: UTF8.self)
    }
}
