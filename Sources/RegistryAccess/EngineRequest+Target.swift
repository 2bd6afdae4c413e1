/// The target of a request line, read as Go's server and Docker's router read it.
///
/// Go takes a path or an absolute URL of any scheme and ignores the authority (`net/url`, `ParseRequestURI`); Docker's
/// router matches the path after decoding it once, and redirects a path that is not clean before any plugin sees it
/// (gorilla/mux, `cleanPath`). What Go or the router would not take is refused.
struct RequestTarget {
    /// The decoded path, without the API version: `/images/create`.
    let path: [UInt8]
    /// The query as it was sent, empty if there is none.
    let query: ArraySlice<UInt8>

    init(_ text: String) throws(Obstacle) {
        let bytes = Array(text.utf8)
        guard !bytes.contains(where: Self.isControl) else { throw .unreadableTarget }
        var rest = bytes[...]
        if rest.first != ASCII.slash {
            guard let afterScheme = Self.cutScheme(rest) else { throw .unreadableTarget }
            rest = afterScheme
        }
        let isAbsolute = rest.startIndex > bytes.startIndex

        let questionMark = rest.firstIndex(of: UInt8(ascii: "?"))
        query = questionMark.map { rest[($0 + 1)...] } ?? []
        rest = rest[..<(questionMark ?? rest.endIndex)]

        guard rest.first == ASCII.slash else { throw .unreadableTarget }
        if isAbsolute, rest.starts(with: [ASCII.slash, ASCII.slash]) {
            guard let slash = rest.dropFirst(2).firstIndex(of: ASCII.slash) else { throw .unreadableTarget }
            rest = rest[slash...]
        }
        guard let decoded = PercentEncoding.decode(rest, plusIsSpace: false), Self.isClean(decoded) else {
            throw .unreadableTarget
        }
        path = Self.withoutVersion(decoded)
    }

    private static func isControl(_ byte: UInt8) -> Bool { byte < 0x20 || byte == 0x7F }

    private static func cutScheme(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let first = bytes.first, ASCII.isLetter(first) else { return nil }
        guard let colon = bytes.firstIndex(of: ASCII.colon) else { return nil }
        let isScheme = bytes[..<colon].allSatisfy {
            ASCII.isAlphanumeric($0) || $0 == UInt8(ascii: "+") || $0 == ASCII.hyphen || $0 == ASCII.dot
        }
        return isScheme ? bytes[(colon + 1)...] : nil
    }

    /// Whether the router takes the path as it is: no empty segment but the last, and none that is `.` or `..`.
    private static func isClean(_ path: [UInt8]) -> Bool {
        guard path.first == ASCII.slash, !path.contains(where: isControl) else { return false }
        let segments = path.dropFirst().split(separator: ASCII.slash, omittingEmptySubsequences: false)
        for (index, segment) in segments.enumerated() {
            if segment.isEmpty, index < segments.count - 1 { return false }
            if segment == [ASCII.dot] || segment == [ASCII.dot, ASCII.dot] { return false }
        }
        return true
    }

    /// Takes off one `/v` and a run of digits and dots in front of a slash: moby's `versionMatcher`.
    private static func withoutVersion(_ path: [UInt8]) -> [UInt8] {
        guard path.starts(with: [ASCII.slash, UInt8(ascii: "v")]) else { return path }
        let rest = path.dropFirst(2)
        guard let end = rest.firstIndex(where: { !ASCII.isDigit($0) && $0 != ASCII.dot }) else { return path }
        guard end > rest.startIndex, path[end] == ASCII.slash else { return path }
        return Array(path[end...])
    }
}

/// The parameters of a query, read as Go's `url.ParseQuery` reads them without error.
///
/// Where Go would report an error Docker still uses what came before it on some routes (`Request.FormValue` drops the
/// error); such a query is refused, and so is a parameter that decides and comes twice.
struct QueryParameters {
    private let pairs: [(name: [UInt8], value: [UInt8])]

    init(_ query: ArraySlice<UInt8>) throws(Obstacle) {
        var pairs: [(name: [UInt8], value: [UInt8])] = []
        for pair in query.split(separator: UInt8(ascii: "&")) {
            guard !pair.contains(UInt8(ascii: ";")) else { throw .unreadableQuery }
            let equals = pair.firstIndex(of: UInt8(ascii: "="))
            let name = PercentEncoding.decode(pair[..<(equals ?? pair.endIndex)], plusIsSpace: true)
            let value = PercentEncoding.decode(equals.map { pair[($0 + 1)...] } ?? [], plusIsSpace: true)
            guard let name, let value else { throw .unreadableQuery }
            pairs.append((name, value))
        }
        self.pairs = pairs
    }

    /// All values of a parameter.
    func values(_ name: String) -> [[UInt8]] {
        pairs.filter { $0.name.elementsEqual(name.utf8) }.map(\.value)
    }

    /// The value of a parameter that may come once; empty if it does not come, as Docker makes no difference.
    func value(_ name: String) throws(Obstacle) -> [UInt8] {
        let values = values(name)
        guard values.count <= 1 else { throw .repeatedParameter(name) }
        return values.first ?? []
    }

    /// The value of a parameter that may come once, as text.
    func text(_ name: String) throws(Obstacle) -> String {
        String(decoding: try value(name), as: UTF8.self)
    }
}
