/// Text as Go's standard library reads and writes it, byte for byte.
enum GoText {
    /// What a helper makes of its input: line ends are dropped and the lines put together, then white space is cut
    /// from both ends.
    ///
    /// Source: docker-credential-helpers, `credentials.Get` (`bufio.ScanLines`, `strings.TrimSpace`).
    static func joinedAndTrimmed(_ input: [UInt8]) -> [UInt8] {
        var joined: [UInt8] = []
        joined.reserveCapacity(input.count)
        for line in input.split(separator: 0x0A, omittingEmptySubsequences: false) {
            joined += line.last == 0x0D ? line.dropLast() : line
        }
        return trimmed(joined[...])
    }

    /// `strings.TrimSpace`: cuts what Unicode calls white space.
    static func trimmed(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var rest = bytes
        while let length = leadingSpace(rest) { rest = rest.dropFirst(length) }
        while let length = trailingSpace(rest) { rest = rest.dropLast(length) }
        return Array(rest)
    }

    // White space of more than one byte, in UTF-8: U+0085, U+00A0, U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F,
    // U+205F and U+3000.
    private static let wideSpaces: [[UInt8]] =
        [[0xC2, 0x85], [0xC2, 0xA0], [0xE1, 0x9A, 0x80]] + (0x80...0x8A).map { [0xE2, 0x80, $0] }
        + [[0xE2, 0x80, 0xA8], [0xE2, 0x80, 0xA9], [0xE2, 0x80, 0xAF], [0xE2, 0x81, 0x9F], [0xE3, 0x80, 0x80]]

    private static func isNarrowSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    private static func leadingSpace(_ bytes: ArraySlice<UInt8>) -> Int? {
        guard let first = bytes.first else { return nil }
        if first < 0x80 { return isNarrowSpace(first) ? 1 : nil }
        return wideSpaces.first { bytes.starts(with: $0) }?.count
    }

    private static func trailingSpace(_ bytes: ArraySlice<UInt8>) -> Int? {
        guard let last = bytes.last else { return nil }
        if last < 0x80 { return isNarrowSpace(last) ? 1 : nil }
        return wideSpaces.first { bytes.suffix($0.count).elementsEqual($0) }?.count
    }

    /// A text as `encoding/json` writes it, in quotes: `<`, `>`, `&`, U+2028 and U+2029 are escaped, and each byte that
    /// is not UTF-8 becomes `\ufffd`.
    static func quoted(_ bytes: [UInt8]) -> [UInt8] {
        var text: [UInt8] = [UInt8(ascii: "\"")]
        text.reserveCapacity(bytes.count + 2)
        var rest = bytes[...]
        while let first = rest.first {
            let length = characterLength(rest)
            switch (first, length) {
            case (_, 0): text += #"\ufffd"#.utf8
            case (UInt8(ascii: "\""), _): text += #"\""#.utf8
            case (UInt8(ascii: "\\"), _): text += #"\\"#.utf8
            case (0x08, _): text += #"\b"#.utf8
            case (0x09, _): text += #"\t"#.utf8
            case (0x0A, _): text += #"\n"#.utf8
            case (0x0C, _): text += #"\f"#.utf8
            case (0x0D, _): text += #"\r"#.utf8
            case (0..<0x20, _), (UInt8(ascii: "<"), _), (UInt8(ascii: ">"), _), (UInt8(ascii: "&"), _):
                text += #"\u00"#.utf8
                text += [hexDigit(first >> 4), hexDigit(first & 0xF)]
            case (0xE2, 3) where rest.starts(with: [0xE2, 0x80, 0xA8]): text += #"\u2028"#.utf8
            case (0xE2, 3) where rest.starts(with: [0xE2, 0x80, 0xA9]): text += #"\u2029"#.utf8
            default: text += rest.prefix(length)
            }
            rest = rest.dropFirst(max(length, 1))
        }
        text.append(UInt8(ascii: "\""))
        return text
    }

    /// The text, if the bytes are UTF-8.
    static func validated(_ bytes: [UInt8]) -> String? {
        var rest = bytes[...]
        while !rest.isEmpty {
            let length = characterLength(rest)
            guard length > 0 else { return nil }
            rest = rest.dropFirst(length)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// How many bytes the first character has; 0 if they are not UTF-8 (RFC 3629).
    private static func characterLength(_ bytes: ArraySlice<UInt8>) -> Int {
        guard let first = bytes.first else { return 0 }
        let (length, second): (Int, ClosedRange<UInt8>) =
            switch first {
            case 0x00...0x7F: (1, 0...0)
            case 0xC2...0xDF: (2, 0x80...0xBF)
            case 0xE0: (3, 0xA0...0xBF)
            case 0xED: (3, 0x80...0x9F)
            case 0xE1...0xEF: (3, 0x80...0xBF)
            case 0xF0: (4, 0x90...0xBF)
            case 0xF1...0xF3: (4, 0x80...0xBF)
            case 0xF4: (4, 0x80...0x8F)
            default: (0, 0...0)
            }
        if length <= 1 { return length }
        let following = bytes.dropFirst().prefix(length - 1)
        guard following.count == length - 1, let next = following.first, second.contains(next),
            following.dropFirst().allSatisfy({ $0 & 0xC0 == 0x80 })
        else { return 0 }
        return length
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
