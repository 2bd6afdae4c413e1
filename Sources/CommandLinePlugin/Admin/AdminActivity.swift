import ArgumentParser
import OrganizationClient
import RegistryAccess

/// Which changes are wanted, of the commands that show or write the activity.
struct AdminActivityFilter: ParsableArguments {
    @OptionGroup var since: SinceOption

    @Option(help: ArgumentHelp("Only these actions", valueName: "name"))
    var action: String?

    @Option(help: ArgumentHelp("Only what this person did", valueName: "name"))
    var actor: String?

    /// As the server reads it.
    fileprivate func query(_ context: CommandContext) -> [(String, String?)] {
        [("action", action), ("actor", actor), ("from", context.start(since))]
    }
}

/// `docker ram admin activity list`, and `docker ram admin activity` alone.
struct AdminActivity: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Show who changed what, the newest first",
        discussion: """
            An action may be the beginning of several.

            Example: docker ram admin activity list --since 7d --action registry_access
            """
    )

    @OptionGroup var filter: AdminActivityFilter

    @Option(help: ArgumentHelp("How many at most", valueName: "int"))
    var limit = 50

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws { try AdminLimit.check(limit) }

    func run(at server: AdminServer, in context: CommandContext) throws {
        let query = filter.query(context)
        let list = AdminList(
            elements: try server.list("activity", query: query, page: "before", limit: limit),
            columns: [
                .init("TIME", "time"), .init("ACTOR", "actor"), .init("ACTION", "action"), .init("NAME", "name"),
                .init("DETAILS") { line in
                    (line.value(named: "data")?.members ?? []).filter { $0.value != .null }
                        .map { "\($0.name)=\($0.value.text ?? $0.value.text())" }.joined(separator: " ")
                },
            ],
            nothing: "nothing was done"
        )
        context.show(list, as: common.format)
    }
}

/// `docker ram admin activity export`.
struct AdminActivityExport: AdminCommand {
    /// What the server writes.
    enum Kind: String, ExpressibleByArgument, CaseIterable {
        /// A table for spreadsheets; no cell of it is computed.
        case csv
        /// An object on each line.
        case jsonl
    }

    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write all of the activity, the newest first",
        discussion: """
            Example: docker ram admin activity export --as csv --since 30d >activity.csv
            """
    )

    @Option(name: .customLong("as"), help: ArgumentHelp("What is written", valueName: "format"))
    var kind = Kind.jsonl

    @OptionGroup var filter: AdminActivityFilter

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let query = filter.query(context)
        guard common.format == .text else {
            let elements = try server.list("activity", query: query, page: "before", limit: nil)
            return context.show(AdminList(elements: elements, columns: [], nothing: ""), as: common.format)
        }
        let bytes = try server.export("activity", query: [("format", kind.rawValue)] + query)
        let text = String(decoding: bytes, as: UTF8.self)
        switch kind {
        case .csv:
            let lines = text.split(separator: "\r\n").map { TerminalText.printable(String($0)) }
            context.output.write(lines.map { "\($0)\r\n" }.joined())
        case .jsonl: context.output.write(TerminalText.escaped(json: text))
        }
    }
}

/// `docker ram admin report list`.
struct AdminReportList: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Show what machines refused, the newest first",
        discussion: "Example: docker ram admin report list --since 24h --registry ghcr.io"
    )

    @OptionGroup var since: SinceOption

    @Option(help: ArgumentHelp("How many at most", valueName: "int"))
    var limit = 50

    @Option(help: ArgumentHelp("Only this registry", valueName: "address"))
    var registry: String?

    @Option(help: ArgumentHelp("Only this machine", valueName: "id"))
    var device: String?

    @Option(help: ArgumentHelp("Only this member", valueName: "name"))
    var user: String?

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws { try AdminLimit.check(limit) }

    func run(at server: AdminServer, in context: CommandContext) throws {
        let query = [
            ("registry", registry), ("device", device), ("user", user),
            ("from", context.start(since)),
        ]
        let list = AdminList(
            elements: try server.list("reports", query: query, page: "before", limit: limit),
            columns: [
                .init("TIME", "time"), .init("DEVICE", "device"), .init("USER", "user"), .init("ACTION", "action"),
                .init("REGISTRY", "registry"), .init("VERDICT", "verdict"), .init("POINT", "point"),
            ],
            nothing: "nothing was refused"
        )
        context.show(list, as: common.format)
    }
}

extension CommandContext {
    /// The moment that is meant, as the server reads it.
    fileprivate func start(_ since: SinceOption) -> String? {
        since.start(now: now()).map { Instant(seconds: Int64($0)).description }
    }
}
