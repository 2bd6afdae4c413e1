import Glibc

/// Times as docker-ramd writes them, `2026-11-23T13:45:10.123Z`, and as people say them.
enum Timestamp {
    /// Seconds since 1970, or `nil` if the text is no such time.
    static func seconds(_ text: String) -> Int? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.last == UInt8(ascii: "Z") else { return nil }
        func number(_ range: Range<Int>) -> Int32? {
            Int32(String(decoding: bytes[range], as: UTF8.self))
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19)
        else { return nil }
        var parts = tm()
        parts.tm_year = year - 1900
        parts.tm_mon = month - 1
        parts.tm_mday = day
        parts.tm_hour = hour
        parts.tm_min = minute
        parts.tm_sec = second
        return timegm(&parts)
    }

    /// For example `3 minutes ago`.
    static func age(_ text: String, now: Int) -> String? {
        guard let seconds = seconds(text) else { return nil }
        return age(seconds: now - seconds)
    }

    static func age(seconds: Int) -> String {
        switch seconds {
        case ..<0: "in the future"
        case ..<5: "just now"
        case ..<120: "\(seconds) seconds ago"
        case ..<7200: "\(seconds / 60) minutes ago"
        case ..<172_800: "\(seconds / 3600) hours ago"
        default: "\(seconds / 86_400) days ago"
        }
    }
}
