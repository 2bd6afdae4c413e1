/// What a command ends with when it cannot do its work: printed as one line, and one more for every hint.
struct Failure: Error, CustomStringConvertible {
    let message: String
    let hints: [String]
    let exitCode: Int32

    init(_ message: String, hints: [String] = [], exitCode: Int32 = ExitStatus.failure) {
        self.message = message
        self.hints = hints
        self.exitCode = exitCode
    }

    var description: String { message }

    func print(to errors: TextStream) {
        errors.line("docker ram: \(TerminalText.printable(message))")
        for hint in hints { errors.line("docker ram: hint: \(TerminalText.printable(hint))") }
    }
}

/// Says that a command has answered and that the answer is "no"; nothing more is printed.
struct Denied: Error {}

/// What the program exits with.
enum ExitStatus {
    static let success: Int32 = 0
    static let failure: Int32 = 1
    /// `check` found something that is denied.
    static let denied: Int32 = 3
    /// The command line was wrong: `EX_USAGE`.
    static let usage: Int32 = 64
}

/// Text from files and other programs, before it is shown.
enum TerminalText {
    /// The text without control characters, which could rewrite what the terminal shows.
    static func printable(_ text: String) -> String {
        var printable = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { printable.append(isPrintable(scalar) ? scalar : "?") }
        return String(printable)
    }

    /// A JSON document with such characters escaped: JSON itself wants that only below U+0020.
    static func escaped(json: String) -> String {
        var escaped = ""
        for scalar in json.unicodeScalars {
            // White space between values; in a text it is escaped already.
            if "\n\r\t".unicodeScalars.contains(scalar) || isPrintable(scalar) {
                escaped.unicodeScalars.append(scalar)
            } else {
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return escaped
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: false
        default: true
        }
    }

    /// Words on lines of at most a width, every line after the first indented.
    static func wrapped(_ words: [String], width: Int, indentation: Int) -> String {
        var lines: [String] = []
        var line = ""
        for word in words {
            let available = width - indentation
            if line.isEmpty {
                line = word
            } else if line.count + 1 + word.count <= available {
                line += " " + word
            } else {
                lines.append(line)
                line = word
            }
        }
        if !line.isEmpty { lines.append(line) }
        return lines.joined(separator: "\n" + String(repeating: " ", count: indentation))
    }

    static func wrapped(_ text: String, width: Int, indentation: Int) -> String {
        wrapped(text.split(whereSeparator: \.isWhitespace).map(String.init), width: width, indentation: indentation)
    }

    /// Rows with their columns one below the other.
    static func table(_ rows: [[String]], gap: Int = 2, indentation: String = "") -> [String] {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0 }
        return rows.map { row in
            var line = indentation
            for (column, cell) in row.enumerated() {
                line += cell
                if column < row.count - 1 {
                    line += String(repeating: " ", count: widths[column] - cell.count + gap)
                }
            }
            while line.hasSuffix(" ") { line.removeLast() }
            return line
        }
    }
}
