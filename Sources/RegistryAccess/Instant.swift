/// A point in time in whole seconds, as documents and the server's API write it: `2026-11-25T13:45:10Z`.
///
/// Nothing else is read: no fraction, no offset, no year beyond 9999 (a profile of RFC 3339).
public struct Instant: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Seconds since 1970 in UTC, without leap seconds.
    public let seconds: Int64

    /// A point in time.
    ///
    /// - Parameter seconds: seconds since 1970 in UTC.
    public init(seconds: Int64) {
        self.seconds = seconds
    }

    /// Reads one; anything else than the 20 characters `YYYY-MM-DDTHH:MM:SSZ` of a day that exists gives `nil`.
    ///
    /// - Parameter text: what to read.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        let marks: [(Int, Character)] = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"), (19, "Z")]
        guard bytes.count == 20, marks.allSatisfy({ bytes[$0.0] == $0.1.asciiValue }) else { return nil }
        func number(_ range: Range<Int>) -> Int64? {
            var number: Int64 = 0
            for byte in bytes[range] {
                guard (48...57).contains(byte) else { return nil }
                number = number * 10 + Int64(byte - 48)
            }
            return number
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
            (1...12).contains(month), (1...Self.days(in: month, of: year)).contains(day),
            hour < 24, minute < 60, second < 60
        else { return nil }
        seconds = ((Self.day(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
    }

    /// `2026-11-25T13:45:10Z`.
    public var description: String {
        let (day, second) = seconds.quotientAndRemainder(dividingBy: 86_400)
        let days = second < 0 ? day - 1 : day
        let rest = second < 0 ? second + 86_400 : second
        let (year, month, ofMonth) = Self.date(days)
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let years = String(repeating: "0", count: max(0, 4 - "\(year)".utf8.count)) + "\(year)"
        return "\(years)-\(two(month))-\(two(ofMonth))T\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))Z"
    }

    /// Whether the first is the earlier one.
    public static func < (left: Instant, right: Instant) -> Bool { left.seconds < right.seconds }

    /// Later by a number of seconds.
    public static func + (instant: Instant, seconds: Int64) -> Instant { Instant(seconds: instant.seconds + seconds) }

    /// Seconds from one to the other.
    public static func - (later: Instant, earlier: Instant) -> Int64 { later.seconds - earlier.seconds }

    private static func days(in month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    // The Gregorian calendar with years that begin in March, so that the day that only some have is the last.
    private static func day(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shifted = month > 2 ? year : year - 1
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let ofEra = shifted - era * 400
        let ofYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468
    }

    private static func date(_ day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let ofEra = shifted - era * 146_097
        let year = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * year + year / 4 - year / 100)
        let month = (5 * ofYear + 2) / 153
        let real = month < 10 ? month + 3 : month - 9
        return (year + era * 400 + (real <= 2 ? 1 : 0), real, ofYear - (153 * month + 2) / 5 + 1)
    }
}
