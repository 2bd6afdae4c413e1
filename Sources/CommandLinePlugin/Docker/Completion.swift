/// Answers a shell through Docker, in cobra's protocol: one choice on a line, its description behind a tab, and last a
/// colon with what the shell may add (cobra, `completions.go`; docker/cli, `cli-plugins/manager/cobra.go`).
struct Completion {
    /// What stands on the line behind `docker ram`; the last word is the one to complete.
    let words: [String]
    let hasDescriptions: Bool

    private enum Directive: Int {
        /// The shell may offer files.
        case standard = 0
        case noFiles = 4
    }

    var text: String {
        let (choices, directive) = answer
        var text = ""
        for (choice, description) in choices {
            text += hasDescriptions && !description.isEmpty ? "\(choice)\t\(description)\n" : "\(choice)\n"
        }
        return text + ":\(directive.rawValue)\n"
    }

    private var answer: (choices: [(String, String)], directive: Directive) {
        let current = words.last ?? ""
        let before = Array(words.dropLast())
        let (command, unknown) = CommandTree.root.find(before)
        if !command.subcommands.isEmpty {
            guard unknown == nil, !current.hasPrefix("-") else { return ([], .noFiles) }
            let choices = command.subcommands.filter { $0.name.hasPrefix(current) }
            return (choices.map { ($0.name, $0.abstract) }, .noFiles)
        }
        if current.hasPrefix("--"), let equals = current.firstIndex(of: "=") {
            let name = current[current.index(current.startIndex, offsetBy: 2)..<equals]
            let start = current[current.index(after: equals)...]
            let values = command.options.first { $0.name == name }?.values ?? []
            return (values.filter { $0.hasPrefix(start) }.map { ("--\(name)=\($0)", "") }, .noFiles)
        }
        if let last = before.last, last.hasPrefix("--"),
            let option = command.options.first(where: { "--\($0.name)" == last }), !option.isFlag
        {
            let isPath = option.valueName == "dir"
            return (option.values.filter { $0.hasPrefix(current) }.map { ($0, "") }, isPath ? .standard : .noFiles)
        }
        if current.hasPrefix("-") {
            let choices = command.options.map { ("--\($0.name)", $0.abstract) } + [("--help", "Print usage")]
            return (choices.filter { $0.0.hasPrefix(current) }, .noFiles)
        }
        return ([], command.operands.contains(where: \.isFile) ? .standard : .noFiles)
    }
}
