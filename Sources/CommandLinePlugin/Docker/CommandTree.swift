import ArgumentParser
import RegistryAccess

/// A command with its options and subcommands, as ArgumentParser describes it; help and completion are made from it,
/// so that both say what the parser takes.
struct CommandTree: Sendable {
    /// For example `docker ram policy show`.
    let path: String
    let name: String
    let abstract: String
    let discussion: String
    let options: [Parameter]
    let operands: [Parameter]
    let subcommands: [CommandTree]
    /// Which of them is meant if none is named.
    let defaultSubcommand: String?

    /// An option or an operand.
    struct Parameter: Sendable {
        let name: String
        /// The letter that stands for it, as `f` in `-f`.
        let letter: String?
        let valueName: String
        let abstract: String
        let defaultValue: String?
        let values: [String]
        let isFlag: Bool
        let isOptional: Bool
        let isRepeating: Bool
        /// Whether the value is the name of a file.
        let isFile: Bool
    }

    /// `docker ram` and everything below it.
    static let root: CommandTree = {
        let description = try? StrictJSON.parse(Array(RAM._dumpHelp().utf8))
        return CommandTree(description?.value(named: "command") ?? .null, above: "docker")
    }()

    private init(_ json: JSONValue, above: String) {
        let name = json.value(named: "commandName")?.text ?? "ram"
        let path = "\(above) \(name)"
        self.name = name
        self.path = path
        abstract = json.value(named: "abstract")?.text ?? ""
        discussion = json.value(named: "discussion")?.text ?? ""
        let arguments = (json.value(named: "arguments")?.elements ?? [])
            .filter { $0.value(named: "shouldDisplay") != .bool(false) }
        options = arguments.filter { $0.value(named: "kind")?.text != "positional" }
            .map(Parameter.init)
            // Docker shows help everywhere and lists it nowhere.
            .filter { $0.name != "help" && $0.name != "h" }
            .sorted { $0.name < $1.name }
        defaultSubcommand = json.value(named: "defaultSubcommand")?.text
        operands = arguments.filter { $0.value(named: "kind")?.text == "positional" }.map(Parameter.init)
        subcommands = (json.value(named: "subcommands")?.elements ?? [])
            .filter { $0.value(named: "commandName")?.text != "help" }
            .map { CommandTree($0, above: path) }
    }

    /// The command that words lead to, and the first word that is no command where one is needed.
    ///
    /// - Parameters:
    ///   - words: the words.
    ///   - isRun: whether a command that is run if none is named is meant, where the words end before it.
    /// - Returns: the command and the word.
    func find(_ words: [String], isRun: Bool = false) -> (command: CommandTree, unknown: String?) {
        if let meant = subcommands.first(where: { $0.name == defaultSubcommand }),
            words.first.map({ $0.hasPrefix("-") && $0 != "--help" && $0 != "-h" }) ?? isRun
        {
            return meant.find(words, isRun: isRun)
        }
        guard !subcommands.isEmpty, let word = words.first(where: { !$0.hasPrefix("-") }) else { return (self, nil) }
        guard let next = subcommands.first(where: { $0.name == word }) else { return (self, word) }
        return next.find(Array(words[(words.firstIndex(of: word) ?? 0)...].dropFirst()), isRun: isRun)
    }

    // MARK: - Help in Docker's form (docker/cli, `cli/cobra.go`)

    var usage: String {
        guard subcommands.isEmpty else { return "\(path) COMMAND" }
        var words = [path]
        if !options.isEmpty { words.append("[OPTIONS]") }
        for operand in operands {
            let name = operand.valueName.uppercased()
            if operand.isRepeating {
                words.append(operand.isOptional ? "[\(name)...]" : "\(name) [\(name)...]")
            } else {
                words.append(operand.isOptional ? "[\(name)]" : name)
            }
        }
        return words.joined(separator: " ")
    }

    func help(width: Int = 80) -> String {
        var text = "Usage:  \(usage)\n\n\(abstract)\n"
        if !discussion.isEmpty {
            text += "\n\(paragraphs(width: width).joined(separator: "\n\n"))\n"
        }
        if !options.isEmpty, subcommands.isEmpty { text += "\nOptions:\n" + optionLines(width: width) }
        let groups = subcommands.filter { !$0.subcommands.isEmpty }.sorted { $0.name < $1.name }
        let verbs = subcommands.filter(\.subcommands.isEmpty).sorted { $0.name < $1.name }
        let padding = max(11, (subcommands.map(\.name.count).max() ?? 0) + 2)
        for (title, commands) in [("Management Commands", groups), ("Commands", verbs)] where !commands.isEmpty {
            text += "\n\(title):\n"
            for command in commands {
                let gap = String(repeating: " ", count: padding - command.name.count)
                text += "  \(command.name)\(gap) \(command.abstract)\n"
            }
        }
        if !subcommands.isEmpty {
            let words = "Run '\(path) COMMAND --help' for more information on a command."
            text += "\n\(TerminalText.wrapped(words, width: width, indentation: 0))\n"
        }
        return text
    }

    /// The discussion with lines of our own length; examples are a command on each line, and keep theirs.
    private func paragraphs(width: Int) -> [String] {
        discussion.split(separator: "\n\n").map { paragraph in
            let lines = paragraph.hasPrefix("Example") ? paragraph.split(separator: "\n") : [paragraph]
            return lines.map { TerminalText.wrapped(String($0), width: width, indentation: 0) }
                .joined(separator: "\n")
        }
    }

    private func optionLines(width: Int) -> String {
        let rows = options.map { option -> (left: String, option: Parameter) in
            let letter = option.letter.map { "-\($0), " } ?? "    "
            return (left: "  \(letter)--\(option.name)\(option.isFlag ? "" : " \(option.valueName)")", option: option)
        }
        let column = (rows.map(\.left.count).max() ?? 0) + 3
        return rows.map { left, option in
            var words = option.abstract
            if !option.values.isEmpty {
                words += " (\(option.values.map { "\"\($0)\"" }.joined(separator: ", ")))"
            }
            if let value = option.defaultValue, !value.isEmpty {
                // As Docker does, numbers stand without quotes.
                words += " (default \(Int(value) == nil ? "\"\(value)\"" : value))"
            }
            let gap = String(repeating: " ", count: column - left.count)
            return left + gap + TerminalText.wrapped(words, width: width - 1, indentation: column) + "\n"
        }.joined()
    }
}

extension CommandTree.Parameter {
    init(_ json: JSONValue) {
        name = json.value(named: "preferredName")?.value(named: "name")?.text ?? ""
        letter =
            (json.value(named: "names")?.elements ?? [])
            .first { $0.value(named: "kind")?.text == "short" }?.value(named: "name")?.text
        valueName = json.value(named: "valueName")?.text ?? ""
        abstract = json.value(named: "abstract")?.text ?? ""
        isFlag = json.value(named: "kind")?.text == "flag"
        defaultValue = isFlag ? nil : json.value(named: "defaultValue")?.text
        values = (json.value(named: "allValues")?.elements ?? []).compactMap(\.text)
        isOptional = json.value(named: "isOptional") == .bool(true)
        isRepeating = json.value(named: "isRepeating") == .bool(true)
        isFile = json.value(named: "completionKind")?.value(named: "file") != nil
    }
}
