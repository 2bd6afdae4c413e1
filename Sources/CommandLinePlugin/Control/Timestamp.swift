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

    /// A moment as docker-ramd writes it.
    static func text(_ seconds: Int) -> String {
        var (time, parts) = (time_t(seconds), tm())
        gmtime_r(&time, &parts)
        func padded(_ number: Int32, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date = [padded(parts.tm_year + 1900, 4), padded(parts.tm_mon + 1, 2), padded(parts.tm_mday, 2)]
        let hour = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { padded($0, 2) }
        return "\(date.joined(separator: "-"))T\(hour.joined(separator: ":")).000Z"
    }

    /// The moment that somebody means by `30m`, `12h`, `7d` (so long ago), a date or a date and time in UTC.
    ///
    /// - Parameters:
    ///   - text: what they wrote.
    ///   - now: seconds since 1970.
    /// - Returns: seconds since 1970, or `nil` if the text is none of these.
    static func start(of text: String, now: Int) -> Int? {
        let units: [Character: Int] = ["m": 60, "h": 3600, "d": 86_400]
        if let last = text.last, let unit = units[last] {
            let digits = text.dropLast()
            guard (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
                return nil
            }
            return Int(digits).map { now - $0 * unit }
        }
        let whole = text.utf8.count == 10 ? "\(text)T00:00:00Z" : text
        let form = Array("0000-00-00T00:00:00".utf8)
        let matches = zip(whole.utf8, form).allSatisfy { byte, mark in
            mark == UInt8(ascii: "0") ? (0x30...0x39).contains(byte) : byte == mark
        }
        guard matches, whole.utf8.count == 20, let moment = seconds(whole) else { return nil }
        // timegm makes a day of the 31st of February too.
        return Self.text(moment).hasPrefix(whole.dropLast()) ? moment : nil
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
