/// Texts as addresses and forms have them (RFC 3986, section 2.1; `application/x-www-form-urlencoded`); read as Go decodes
/// them (`net/url`, `unescape`).
package enum PercentEncoding {
    /// The decoded bytes; `nil` if a percent sign is not followed by two hexadecimal digits.
    static func decode(_ text: ArraySlice<UInt8>, plusIsSpace: Bool) -> [UInt8]? {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(text.count)
        var position = text.startIndex
        while position < text.endIndex {
            let byte = text[position]
            position += 1
            if byte == ASCII.percent {
                guard position + 1 < text.endIndex, let high = ASCII.hexValue(text[position]),
                    let low = ASCII.hexValue(text[position + 1])
                else { return nil }
                decoded.append(high << 4 | low)
                position += 2
            } else if plusIsSpace, byte == UInt8(ascii: "+") {
                decoded.append(UInt8(ascii: " "))
            } else {
                decoded.append(byte)
            }
        }
        return decoded
    }

    /// A text of which everything is escaped that is not a letter, a digit or one of `-._~`.
    ///
    /// - Parameter text: the text.
    /// - Returns: the text, escaped.
    package static func encode(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: bytes.append(byte)
            default: bytes += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Fields of a form or a query.
    ///
    /// - Parameter fields: names and values.
    /// - Returns: the text.
    package static func form(_ fields: [(String, String)]) -> String {
        fields.map { "\(encode($0))=\(encode($1))" }.joined(separator: "&")
    }
}
