import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram log`: what was decided on this machine.
struct Log: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "Show the latest decisions on this machine",
        discussion: """
            With --follow and --format json every decision is a line of its own.

            Example: docker ram log --denied --since 12h
            Before a switch from audit mode to enforce: docker ram log --summary --since 7d
            """
    )

    @Flag(help: "Show new decisions as they are made")
    var follow = false

    @Flag(help: "Only what was denied, or would have been in audit mode")
    var denied = false

    @Flag(help: "Count by registry what was denied, or would be when enforced")
    var summary = false

    @OptionGroup var since: SinceOption

    @Option(help: ArgumentHelp("How many decisions at most", valueName: "int"))
    var limit = 50

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (0...100_000).contains(limit) else { throw ValidationError("--limit is a number from 0 to 100000") }
        guard !follow || !summary && since.since == nil else {
            throw ValidationError("--follow goes with neither --summary nor --since")
        }
    }

    func run(in context: CommandContext) throws {
        let start = since.start(now: context.now()).map(Timestamp.text)
        if follow { return try followLog(context) }
        if summary {
            var summary = LogSummary(policy: context.policyInForce, since: start)
            try history(context, since: start, isDeniedOnly: true) { summary.add($0) }
            return context.show(summary, as: common.format)
        }
        guard denied || start != nil else {
            var records: [JSONValue] = []
            do {
                records = try ControlClient(path: context.paths.controlSocket).log(limit: limit)
            } catch let error as ControlClient.Unanswered {
                try Self.readFiles(context, because: error) { _, value in records.append(value) }
                records = records.suffix(limit)
            }
            return show(records, context)
        }
        var records: [JSONValue] = []
        try history(context, since: start, isDeniedOnly: denied) { record in
            records.append(record)
            // Not all of a long log at a time.
            if records.count >= 2 * limit + 1000 { records = records.suffix(limit) }
        }
        show(records.suffix(limit), context)
    }

    private func show(_ records: [JSONValue], _ context: CommandContext) {
        context.show(LogLines(records: records), as: common.format)
        if records.isEmpty, limit > 0, common.format == .text { context.note("note: there is no such decision yet") }
    }

    private func followLog(_ context: CommandContext) throws {
        let request = ControlClient.logRequest(limit: limit, follow: true)
        do {
            try ControlClient(path: context.paths.controlSocket).ask(request, patience: -1) { line, value in
                if denied, value.value(named: "verdict") == .string(Verdict.Outcome.allow.rawValue) { return }
                context.output.line(common.format == .json ? TerminalText.escaped(json: line) : LogLine(value).text)
            }
        } catch let error as ControlClient.Unanswered {
            throw Self.failure(error)
        }
    }

    /// Every record, the oldest first.
    private func history(
        _ context: CommandContext,
        since start: String?,
        isDeniedOnly: Bool,
        _ body: (JSONValue) -> Void
    ) throws {
        var isBegun = false
        do {
            let client = ControlClient(path: context.paths.controlSocket)
            try client.history(since: start, isDeniedOnly: isDeniedOnly) { record in
                isBegun = true
                body(record)
            }
        } catch let error as ControlClient.Unanswered {
            // What has been counted must not be counted again.
            if isBegun { throw Self.failure(error) }
            try Self.readFiles(context, because: error) { line, value in
                guard !isDeniedOnly || !DecisionHistory.isAllowed(line) else { return }
                if let start, let time = DecisionHistory.time(of: line), time.lexicographicallyPrecedes(start.utf8) {
                    return
                }
                body(value)
            }
        }
    }

    /// What docker-ramd would have sent, for those who may read the log's files when it does not answer.
    private static func readFiles(
        _ context: CommandContext,
        because silence: ControlClient.Unanswered,
        _ body: (ArraySlice<UInt8>, JSONValue) -> Void
    ) throws {
        let path = context.paths.decisionLog
        var history = DecisionHistory(path: path)
        guard !history.isEmpty else { throw failure(silence) }
        context.note("note: \(silence)")
        context.note("note: this is what \"\(path)\" holds")
        while let block = history.next() {
            for line in block.lines {
                if let value = try? StrictJSON.parse(Array(line)) { body(line, value) }
            }
        }
    }

    private static func failure(_ error: ControlClient.Unanswered) -> Failure {
        Failure(
            error.description,
            hints: ["run as root: systemctl status docker-ramd docker-ramd-control.socket"]
        )
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
