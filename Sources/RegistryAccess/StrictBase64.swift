/// Base64 as Go writes it: RFC 4648's standard alphabet with padding, and nothing else.
///
/// Line breaks, missing padding, the other alphabet and stray bits at the end are refused, so that a text has one
/// reading.
package enum StrictBase64 {
    /// Writes bytes.
    package static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var bits: UInt32 = 0
            for index in 0..<3 { bits = bits << 8 | UInt32(index < group.count ? group[start + index] : 0) }
            for index in 0..<4 {
                let digit = Int(bits >> UInt32(18 - 6 * index) & 63)
                text.append(index <= group.count ? alphabet[digit] : UInt8(ascii: "="))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads a text; `nil` if it is none.
    ///
    /// - Parameters:
    ///   - text: what to read.
    ///   - acceptsStrayBits: whether the bits that padding leaves over may be something, as where Go reads.
    /// - Returns: the bytes.
    package static func decode(_ text: some Collection<UInt8>, acceptsStrayBits: Bool = false) -> [UInt8]? {
        guard text.count % 4 == 0 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3)
        var group: UInt32 = 0
        var digits = 0
        var padding = 0
        for byte in text {
            if byte == UInt8(ascii: "=") {
                padding += 1
                guard padding <= 2 else { return nil }
                group <<= 6
            } else {
                guard padding == 0 else { return nil }
                let value = values[Int(byte)]
                guard value != invalid else { return nil }
                group = group << 6 | UInt32(value)
            }
            digits += 1
            guard digits == 4 else { continue }
            // The bits that padding leaves over must be zero.
            guard acceptsStrayBits || padding == 0 || group & (padding == 1 ? 0xFF : 0xFFFF) == 0 else { return nil }
            bytes.append(UInt8(truncatingIfNeeded: group >> 16))
            if padding < 2 { bytes.append(UInt8(truncatingIfNeeded: group >> 8)) }
            if padding < 1 { bytes.append(UInt8(truncatingIfNeeded: group)) }
            group = 0
            digits = 0
        }
        return bytes
    }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let invalid: UInt8 = 0xFF
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: invalid, count: 256)
        for (value, byte) in alphabet.enumerated() { values[Int(byte)] = UInt8(value) }
        return values
    }()
}
