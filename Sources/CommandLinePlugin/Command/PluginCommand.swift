import ArgumentParser
import LocalInstallation
import RegistryAccess

/// A command of the plugin.
protocol PluginCommand: ParsableCommand {
    var common: CommonOptions { get }
    /// Does the work.
    func run(in context: CommandContext) throws
}

extension PluginCommand {
    // The program calls run(in:); this is what ArgumentParser would call.
    func run() throws { try run(in: .ofThisProcess()) }
}

/// What every command takes.
struct CommonOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Format of the output", valueName: "string"))
    var format = OutputFormat.text

    @Option(help: ArgumentHelp("Directory that stands for /, for tests and trial runs", valueName: "dir"))
    var root: String?
}

/// How a command shows its result.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case text
    case json
}

/// The result of a command: one value for programs, words for people.
protocol CommandResult {
    var json: JSONValue { get }
    /// The lines for people, without a line end behind the last.
    func text(for context: CommandContext) -> String
}

extension CommandContext {
    /// The one place where results become output.
    func show(_ result: some CommandResult, as format: OutputFormat) {
        switch format {
        case .text:
            let text = result.text(for: self)
            if !text.isEmpty { output.line(text) }
        case .json:
            output.line(TerminalText.escaped(json: result.json.text(indentation: "  ")))
        }
    }

    /// A line for people beside the data.
    func note(_ text: String) {
        errors.line("docker ram: \(TerminalText.printable(text))")
    }
}

extension JSONValue {
    /// The number, if this is a whole one.
    var integer: Int? {
        if case .number(let text) = self { Int(text) } else { nil }
    }
}
