extension JSONValue {
    /// A text or `null`.
    package static func text(_ text: String?) -> JSONValue { text.map(JSONValue.string) ?? .null }
    /// A whole number or `null`.
    package static func integer(_ number: Int?) -> JSONValue { number.map { .number(String($0)) } ?? .null }
    /// A list of texts.
    package static func texts(_ texts: [String]) -> JSONValue { .array(texts.map(JSONValue.string)) }

    /// The document as text, its texts escaped as Go's `encoding/json` escapes them (`<`, `>`, `&`, U+2028 and U+2029
    /// included), so that what Docker wrote and what we write look alike.
    ///
    /// - Parameter indentation: what one level is indented by; `nil` puts all on one line without spaces.
    /// - Returns: the text, without a line break at the end.
    public func text(indentation: String? = nil) -> String {
        var text = ""
        write(to: &text, indentation: indentation, level: 0)
        return text
    }

    private func write(to text: inout String, indentation: String?, level: Int) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .number(let number): text += number
        case .string(let string): Self.writeQuoted(string, to: &text)
        case .array(let elements):
            Self.writeList(elements, "[", "]", to: &text, indentation, level) { element, text in
                element.write(to: &text, indentation: indentation, level: level + 1)
            }
        case .object(let members):
            Self.writeList(members, "{", "}", to: &text, indentation, level) { member, text in
                Self.writeQuoted(member.name, to: &text)
                text += indentation == nil ? ":" : ": "
                member.value.write(to: &text, indentation: indentation, level: level + 1)
            }
        }
    }

    private static func writeList<Element>(
        _ elements: [Element],
        _ open: String,
        _ close: String,
        to text: inout String,
        _ indentation: String?,
        _ level: Int,
        _ write: (Element, inout String) -> Void
    ) {
        text += open
        for (index, element) in elements.enumerated() {
            if index > 0 { text += "," }
            if let indentation { text += "\n" + String(repeating: indentation, count: level + 1) }
            write(element, &text)
        }
        if let indentation, !elements.isEmpty { text += "\n" + String(repeating: indentation, count: level) }
        text += close
    }

    private static func isWrittenAsItIs(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "&"): false
        default: (0x20...0x7E).contains(byte)
        }
    }

    private static func writeQuoted(_ string: String, to text: inout String) {
        text += "\""
        // Nearly every text needs nothing.
        if string.utf8.allSatisfy(isWrittenAsItIs) {
            text += string
            text += "\""
            return
        }
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{8}": text += "\\b"
            case "\u{C}": text += "\\f"
            case "<", ">", "&", "\u{2028}", "\u{2029}", "\0"..<" ":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
