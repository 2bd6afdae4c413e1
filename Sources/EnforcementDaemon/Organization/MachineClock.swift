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
        var text = [CChar](repeating: 0, count: 256)
        gethostname(&text, text.count - 1)
        let bytes = text.map(UInt8.init(bitPattern:)).prefix { $0 > 0x20 }.prefix(64)
        let name = bytes.map { (0x21...0x7E).contains($0) ? $0 : UInt8(ascii: "-") }
        return name.isEmpty ? "unnamed" : String(decoding: name, as: UTF8.self)
    }
}
