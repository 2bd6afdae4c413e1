import ArgumentParser
import LocalInstallation
import RegistryAccess

/// What else the engine may connect to; the same for `engine lockdown enable` and `engine enable --lockdown`.
struct LockdownExceptions: ParsableArguments {
    @Option(
        name: .customLong("allow"),
        help: ArgumentHelp(
            "Address that the engine may connect to as well, like 10.0.0.5:514 or 10.1.0.0/16:*",
            valueName: "address"
        ),
        transform: { text in
            guard let exception = LockdownRules.Exception(text) else {
                throw ValidationError("an exception is an IP address or a network, with a port: 10.0.0.5:514")
            }
            return exception
        }
    )
    var exceptions: [LockdownRules.Exception] = []
}

/// `engine enable --lockdown`.
struct LockdownOption: ParsableArguments {
    @Flag(
        name: .customLong("lockdown"),
        help: "Let the engine connect to the egress proxy only: docker ram engine lockdown enable --help"
    )
    var isWanted = false

    @OptionGroup var exceptions: LockdownExceptions

    func validate() throws {
        guard isWanted || exceptions.exceptions.isEmpty else {
            throw ValidationError("--allow is an exception from --lockdown, which is missing")
        }
    }

    /// Insists that the engine can be locked in if that is wanted, before anything else is changed.
    func check(in context: CommandContext) throws {
        guard isWanted else { return }
        _ = try LockdownChange.enable(exceptions, isDryRun: true, in: context)
    }

    /// Locks the engine in if that is wanted; what is done is told beside the command's own result.
    func apply(isDryRun: Bool, in context: CommandContext) throws {
        guard isWanted else { return }
        let change = try LockdownChange.enable(exceptions, isDryRun: isDryRun, in: context)
        for line in change.changes { context.note("lockdown: \(line)") }
    }

    /// Takes lockdown away before the engine loses the proxy, which would leave it without any way out.
    static func takeAway(isDryRun: Bool, in context: CommandContext) throws {
        for line in try LockdownChange.disable(isDryRun: isDryRun, in: context).changes {
            context.note("lockdown: \(line)")
        }
    }
}

/// `docker ram engine lockdown enable`.
struct EngineLockdownEnable: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable",
        abstract: "Write and load a packet filter for Docker's service (as root)",
        discussion: """
            From then on dockerd and its helpers reach the egress proxy and nothing else, loopback registries \
            included; containers are not concerned. docs/lockdown.md says what stops working.

            Example: docker ram engine lockdown enable --allow 10.0.0.5:514
            Undo it: docker ram engine lockdown disable
            """
    )

    @OptionGroup var exceptions: LockdownExceptions

    @Flag(help: "Show what would be done and change nothing")
    var dryRun = false

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let changed = try LockdownChange.enable(exceptions, isDryRun: dryRun, in: context)
        context.show(changed, as: common.format)
        if changed.isLoadedLater {
            context.note("note: Docker's service does not run; the rules are loaded when it starts")
        }
        let engine = try EngineSetup(context.paths).state()
        let proxies = [engine.proxies.httpsProxy, engine.dropIn?.httpsProxy].compactMap { $0?.text }
        if !proxies.contains(where: { $0.hasPrefix("http://\(ProxySecret.user):") }) {
            context.note("note: the engine is not told to use the egress proxy, and now reaches nothing else")
            context.note("hint: docker ram engine enable")
        }
    }
}

/// `docker ram engine lockdown disable`.
struct EngineLockdownDisable: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable",
        abstract: "Take the packet filter away (as root)",
        discussion: "Example: docker ram engine lockdown disable --dry-run"
    )

    @Flag(help: "Show what would be done and change nothing")
    var dryRun = false

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        context.show(try LockdownChange.disable(isDryRun: dryRun, in: context), as: common.format)
    }
}

/// `docker ram engine lockdown status`.
struct EngineLockdownStatus: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show whether the engine is locked in (as root)",
        discussion: "Example: docker ram engine lockdown status --format json"
    )

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        context.show(
            LockdownReport(state: try Lockdown(context.paths).state(), loaded: PacketFilter(context)?.loaded),
            as: common.format
        )
    }
}

/// Whether the engine is locked in, by its files and by the kernel.
private struct LockdownReport: CommandResult {
    let state: Lockdown.State
    let loaded: PacketFilter.Loaded?

    private var kernel: String {
        guard let loaded else { return "not loaded" }
        guard loaded.isCurrent else { return "loaded for an earlier start of Docker, without effect" }
        return "loaded, \(loaded.refused) packets refused"
    }

    func text(for context: CommandContext) -> String {
        var rows = [
            ["lockdown", state.isEnabled ? "enabled" : "not enabled"], ["kernel", kernel],
        ]
        if let rules = state.rules {
            rows.append(["rules", context.paths.lockdownRules])
            let accepted = rules.split(separator: "\n").map { $0.trimmingSpaces }.filter { $0.hasSuffix(" accept") }
            for (index, rule) in accepted.enumerated() {
                rows.append([index == 0 ? "accepted" : "", String(rule.dropLast(" accept".count))])
            }
        }
        if let problem = state.problem { rows.append(["problem", problem]) }
        return TerminalText.table(rows).map(TerminalText.printable).joined(separator: "\n")
    }

    var json: JSONValue {
        .object([
            JSONMember("enabled", .bool(state.isEnabled)), JSONMember("loaded", .bool(loaded?.isCurrent == true)),
            JSONMember("refusedPackets", .integer(loaded?.refused)), JSONMember("problem", .text(state.problem)),
        ])
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring { drop { $0 == " " } }
}
