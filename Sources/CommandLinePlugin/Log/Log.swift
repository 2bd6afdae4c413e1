import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram log`: what was decided on this machine.
struct Log: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "Show the latest decisions on this machine",
        discussion: "With --follow and --format json every decision is a line of its own."
    )

    @Flag(help: "Show new decisions as they are made")
    var follow = false

    @Option(help: ArgumentHelp("How many decisions at most", valueName: "int"))
    var limit = 50

    @OptionGroup var common: CommonOptions

    /// The end of the log's file, for those who may read it when docker-ramd does not answer.
    private static func records(in path: String, limit: Int) -> [JSONValue]? {
        guard let bytes = try? Files.read(path, atMost: 64 << 20).bytes else { return nil }
        // A last line without an end is one that docker-ramd did not finish.
        return bytes.split(separator: 0x0A).suffix(limit).compactMap { try? StrictJSON.parse(Array($0)) }
    }

    func validate() throws {
        guard (0...100_000).contains(limit) else { throw ValidationError("--limit is a number from 0 to 100000") }
    }

    func run(in context: CommandContext) throws {
        let client = ControlClient(path: context.paths.controlSocket)
        do {
            guard follow else {
                return context.show(LogLines(records: try client.log(limit: limit)), as: common.format)
            }
            try client.ask(ControlClient.logRequest(limit: limit, follow: true), isEndless: true) { line, value in
                context.output.line(common.format == .json ? TerminalText.escaped(json: line) : LogLine(value).text)
            }
        } catch let error as ControlClient.Unanswered {
            if !follow, let records = Self.records(in: context.paths.decisionLog, limit: limit) {
                context.note("note: \(error)")
                context.note("note: this is what \"\(context.paths.decisionLog)\" holds")
                return context.show(LogLines(records: records), as: common.format)
            }
            throw Failure(
                error.description,
                hints: ["run as root: systemctl status docker-ramd docker-ramd-control.socket"]
            )
        }
    }
}

private struct LogLines: CommandResult {
    let records: [JSONValue]

    var json: JSONValue { .array(records) }

    func text(for context: CommandContext) -> String {
        TerminalText.table(records.map { LogLine($0).cells() }).joined(separator: "\n")
    }
}

/// A decision on one line.
struct LogLine {
    private let record: JSONValue

    init(_ record: JSONValue) {
        self.record = record
    }

    private func text(_ name: String) -> String {
        TerminalText.printable(record.value(named: name)?.text ?? "-")
    }

    /// Its columns; the time as it was, or as an age.
    func cells(now: Int? = nil) -> [String] {
        let time = text("time")
        let shown = now.flatMap { Timestamp.age(time, now: $0) } ?? time
        let image = record.value(named: "image")?.text.map(TerminalText.printable) ?? text("registry")
        let reason = record.value(named: "obstacle")?.text.map(TerminalText.printable) ?? text("reason")
        return [shown, text("id"), text("verdict"), text("action"), image, reason]
    }

    var text: String { cells().joined(separator: "  ") }
}
