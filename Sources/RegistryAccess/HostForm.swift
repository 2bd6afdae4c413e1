/// The form of a host in a registry pack: `prod-{region}-starport-layer-bucket.s3.{region}.amazonaws.com`.
///
/// A capture in braces stands for one or more characters within one label, and for the same ones wherever it comes
/// again; a star stands for one or more characters of no interest. A label holds at most one of them, and the last two
/// labels none, so that a form is always below a domain that it names.
struct HostForm: Hashable, Sendable {
    struct Label: Sendable {
        var before: [UInt8]
        var hole: Hole?
        var after: [UInt8] = []
    }

    enum Hole: Hashable, Sendable {
        /// The place of the capture in ``HostForm/captures``.
        case capture(Int)
        case star
    }

    /// The form as it is written.
    let text: String
    let labels: [Label]
    /// The names of the captures in the order in which they come.
    let captures: [String]

    static func == (first: HostForm, second: HostForm) -> Bool { first.text == second.text }

    func hash(into hasher: inout Hasher) { hasher.combine(text) }

    /// Reads a form.
    init(_ text: String) throws(InvalidHostForm) {
        var captures: [String] = []
        var labels: [Label] = []
        for part in text.utf8.split(separator: ASCII.dot, omittingEmptySubsequences: false) {
            labels.append(try Self.label(part, &captures))
        }
        guard labels.count >= 2, labels.suffix(2).allSatisfy({ $0.hole == nil }) else { throw .tooWide }
        // Canonical already, so that bytes are all that needs to be compared.
        let sample = labels.map { $0.before + ($0.hole == nil ? [] : [UInt8(ascii: "a")]) + $0.after }
        let bytes = Array(sample.joined(separator: [ASCII.dot]))
        guard let name = try? DomainName.lowercased(bytes[...]), name == bytes, IPv4Text.classify(name) == .name else {
            throw .notAHost
        }
        self.text = text
        self.labels = labels
        self.captures = captures
    }

    private static func label(_ text: Substring.UTF8View, _ captures: inout [String]) throws(InvalidHostForm) -> Label {
        let bytes = Array(text)
        if let star = bytes.firstIndex(of: ASCII.star) {
            return Label(before: Array(bytes[..<star]), hole: .star, after: Array(bytes[(star + 1)...]))
        }
        guard let open = bytes.firstIndex(of: UInt8(ascii: "{")) else { return Label(before: bytes) }
        guard let close = bytes.firstIndex(of: UInt8(ascii: "}")), close > open + 1, close - open <= 32,
            bytes[(open + 1)..<close].allSatisfy(ASCII.isLowercase)
        else { throw .badCapture }
        let name = String(decoding: bytes[(open + 1)..<close], as: UTF8.self)
        let place = captures.firstIndex(of: name) ?? captures.count
        if place == captures.count { captures.append(name) }
        guard captures.count <= 4 else { throw .badCapture }
        return Label(before: Array(bytes[..<open]), hole: .capture(place), after: Array(bytes[(close + 1)...]))
    }

    /// The form with other text in the place of its holes.
    func filled(_ value: (Int) -> String?, orElse other: String) -> String {
        var text = ""
        for label in labels {
            if !text.isEmpty { text += "." }
            text += String(decoding: label.before, as: UTF8.self)
            switch label.hole {
            case .capture(let place): text += value(place) ?? other
            case .star: text += other
            case nil: break
            }
            text += String(decoding: label.after, as: UTF8.self)
        }
        return text
    }

    // MARK: - Matching

    /// Whether a host has the form, and for each capture the bytes that it stands for.
    func matches(_ host: Span<UInt8>, _ found: inout [Range<Int>]) -> Bool {
        matches(host, from: 0, &found)
    }

    /// Whether hosts of the form lie below a domain: exactly one label below it, or any number.
    ///
    /// Captures that stand above the domain are found as empty, as a host there may have anything in their place.
    func isBelow(_ domain: Span<UInt8>, oneLabel: Bool, _ found: inout [Range<Int>]) -> Bool {
        var count = 1
        for index in domain.indices where domain[index] == ASCII.dot { count += 1 }
        guard oneLabel ? labels.count == count + 1 : labels.count > count else { return false }
        return matches(domain, from: labels.count - count, &found)
    }

    private func matches(_ host: Span<UInt8>, from first: Int, _ found: inout [Range<Int>]) -> Bool {
        found.removeAll(keepingCapacity: true)
        for _ in captures { found.append(0..<0) }
        var start = 0
        for index in first..<labels.count {
            var end = start
            while end < host.count, host[end] != ASCII.dot { end += 1 }
            guard matches(labels[index], host, start..<end, &found) else { return false }
            // The last label ends the host, and no other does.
            guard (end == host.count) == (index == labels.count - 1) else { return false }
            start = end + 1
        }
        return true
    }

    private func matches(
        _ label: Label,
        _ host: Span<UInt8>,
        _ range: Range<Int>,
        _ found: inout [Range<Int>]
    ) -> Bool {
        let fixed = label.before.count + label.after.count
        guard label.hole == nil ? range.count == fixed : range.count > fixed else { return false }
        for (offset, byte) in label.before.enumerated() where host[range.lowerBound + offset] != byte { return false }
        let tail = range.upperBound - label.after.count
        for (offset, byte) in label.after.enumerated() where host[tail + offset] != byte { return false }
        guard case .capture(let place) = label.hole else { return true }
        let captured = (range.lowerBound + label.before.count)..<tail
        guard !found[place].isEmpty else {
            found[place] = captured
            return true
        }
        guard found[place].count == captured.count else { return false }
        for (one, other) in zip(found[place], captured) where host[one] != host[other] { return false }
        return true
    }

    // MARK: - Finding forms

    /// The hash of the last two labels of a name; `nil` if it has only one.
    ///
    /// Forms are filed by it, because these labels are always written out.
    static func tailHash(_ name: Span<UInt8>) -> UInt32? {
        var hash: UInt32 = 0x811C_9DC5
        var dots = 0
        for index in name.indices.reversed() {
            if name[index] == ASCII.dot {
                dots += 1
                if dots == 2 { return hash }
            }
            hash = (hash ^ UInt32(name[index])) &* 0x0100_0193
        }
        return dots == 1 ? hash : nil
    }

    var tailHash: UInt32 {
        let tail = labels.suffix(2).map(\.before).joined(separator: [ASCII.dot])
        return Self.tailHash(Array(tail).span) ?? 0
    }
}

/// Why a text is not the form of a host.
enum InvalidHostForm: Error, Equatable, CustomStringConvertible {
    case notAHost
    case badCapture
    case tooWide

    var description: String {
        switch self {
        case .notAHost: "it is not a host name in lower case with captures or stars in it"
        case .badCapture:
            "a capture is up to 30 lower-case letters in braces, one in a label and four in a host at most"
        case .tooWide: "its last two labels must be written out"
        }
    }
}
