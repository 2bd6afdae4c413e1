import RegistryAccess

extension Instant {
    /// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7); for times since 1970.
    var httpDate: String {
        let text = description
        let (date, time) = (text.prefix(10).split(separator: "-"), text.dropFirst(11).prefix(8))
        let month = Int(date[1]).map { Self.months[$0 - 1] } ?? ""
        // The first of January 1970 was a Thursday.
        return "\(Self.days[Int((seconds / 86_400 + 4) % 7)]), \(date[2]) \(month) \(date[0]) \(time) GMT"
    }

    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
}
