import RegistryAccess

/// JSON values as text in the style of the document that they go into.
enum JSONText {
    /// How the text is laid out.
    struct Style {
        var isMultiLine: Bool
        var indentation: String
        /// What the line that the value begins on is indented by.
        var currentIndentation: String
        var newline: String
        /// What stands behind a colon, and behind a comma on one line.
        var space: String

        func text(of value: JSONValue) -> String {
            var text = ""
            JSONText.write(value, style: self, depth: 0, to: &text)
            return text
        }
    }

    /// A text in quotation marks, with the escapes that JSON demands and no others.
    static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }

    private static func write(_ value: JSONValue, style: Style, depth: Int, to text: inout String) {
        switch value {
        case .null: text += "null"
        case .bool(let isTrue): text += isTrue ? "true" : "false"
        case .number(let number): text += number
        case .string(let string): text += quoted(string)
        case .array(let elements):
            writeItems(elements.count, "[", "]", style: style, depth: depth, to: &text) { index, text in
                write(elements[index], style: style, depth: depth + 1, to: &text)
            }
        case .object(let members):
            writeItems(members.count, "{", "}", style: style, depth: depth, to: &text) { index, text in
                text += "\(quoted(members[index].name)):\(style.space)"
                write(members[index].value, style: style, depth: depth + 1, to: &text)
            }
        }
    }

    private static func writeItems(
        _ count: Int,
        _ open: String,
        _ close: String,
        style: Style,
        depth: Int,
        to text: inout String,
        item: (Int, inout String) -> Void
    ) {
        text += open
        for index in 0..<count {
            if index > 0 { text += style.isMultiLine ? "," : ",\(style.space)" }
            if style.isMultiLine {
                text += style.newline + style.currentIndentation
                text += String(repeating: style.indentation, count: depth + 1)
            }
            item(index, &text)
        }
        if count > 0, style.isMultiLine {
            text += style.newline + style.currentIndentation + String(repeating: style.indentation, count: depth)
        }
        text += close
    }
}
