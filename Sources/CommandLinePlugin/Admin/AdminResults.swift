import RegistryAccess

/// A list that the server keeps.
struct AdminList: CommandResult {
    /// A column: its title, and what stands in it for an element.
    struct Column {
        let title: String
        let text: (JSONValue) -> String

        init(_ title: String, _ text: @escaping (JSONValue) -> String) {
            self.title = title
            self.text = text
        }

        /// A column of texts, or of numbers.
        init(_ title: String, _ name: String) {
            self.init(title) { $0.shown(name) }
        }
    }

    let elements: [JSONValue]
    let columns: [Column]
    /// What to say if there is none.
    let nothing: String

    var json: JSONValue { .array(elements) }

    func text(for context: CommandContext) -> String {
        guard !elements.isEmpty else { return TerminalText.printable(nothing) }
        let rows = elements.map { element in columns.map { TerminalText.printable($0.text(element)) } }
        return TerminalText.table([columns.map(\.title)] + rows).joined(separator: "\n")
    }
}

/// Something that was done.
struct AdminDone: CommandResult {
    let json: JSONValue
    let words: String

    /// - Parameters:
    ///   - words: what was done, for people.
    ///   - json: the same for programs.
    init(_ words: String, _ json: JSONValue) {
        self.words = words
        self.json = json
    }

    init(_ words: String, _ members: [JSONMember]) {
        self.init(words, .object(members))
    }

    func text(for context: CommandContext) -> String {
        words.split(separator: "\n", omittingEmptySubsequences: false).map { TerminalText.printable(String($0)) }
            .joined(separator: "\n")
    }
}

/// A secret that is shown this once.
struct AdminSecret: CommandResult {
    let secret: String
    let json: JSONValue

    /// The secret and nothing else, so that it can be put into a file.
    func text(for context: CommandContext) -> String { TerminalText.printable(secret) }
}

extension JSONValue {
    /// A member as it is shown in a table.
    func shown(_ name: String) -> String {
        switch value(named: name) {
        case .string(let text)?: text
        case .number(let number)?: number
        case .bool(let isSo)?: isSo ? "yes" : "no"
        case .array(let elements)?: elements.compactMap(\.text).joined(separator: ", ")
        case .null?, .object?, nil: "-"
        }
    }
}

extension String {
    /// What stands between commas, without white space around it.
    var listed: [String] {
        split(separator: ",").map { part in
            let isBlank = { (character: Character) in character.isWhitespace }
            return String(part.drop(while: isBlank).reversed().drop(while: isBlank).reversed())
        }.filter { !$0.isEmpty }
    }
}
