import ArgumentParser
import Glibc
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

/// What `engine lockdown enable` and `disable` did; also done by `engine enable --lockdown` and `engine disable`.
struct LockdownChange: CommandResult {
    let changes: [String]
    let isEnabled: Bool
    let isDryRun: Bool
    /// Whether the rules are loaded when Docker starts, and not now.
    let isLoadedLater: Bool

    static func enable(
        _ allowed: LockdownExceptions,
        isDryRun: Bool,
        in context: CommandContext
    ) throws -> LockdownChange {
        let settings = try DaemonSettings(context.paths).egressProxy
        let filter = PacketFilter(context)
        try filter?.checkIsThere()
        let engine = filter == nil ? nil : try EngineCgroup.ofRunningEngine(context.paths)
        let cgroup = engine ?? EngineCgroup.usual
        guard let rules = LockdownRules(cgroup: cgroup, settings: settings, exceptions: allowed.exceptions) else {
            throw Failure(
                "no rules can be written for the cgroup \"\(cgroup)\" and the proxy at \"\(settings.listen)\""
            )
        }
        // Before anything is changed: a drop-in whose rules nft does not load keeps Docker from starting.
        if engine != nil { try filter?.check(rules.text) }
        var changes = try Lockdown(context.paths)
            .enable(rules, nft: filter?.nft ?? PacketFilter.usualPath, isDryRun: isDryRun)
        if let filter, !isDryRun {
            try ServiceManager(context)?.run("daemon-reload")
            if engine != nil, filter.loaded?.isCurrent != true || !changes.isEmpty {
                try filter.load(context.paths.lockdownRules)
                changes.append("+ table inet \(LockdownRules.table), loaded")
            }
        }
        return LockdownChange(
            changes: changes,
            isEnabled: true,
            isDryRun: isDryRun,
            isLoadedLater: filter != nil && engine == nil
        )
    }

    static func disable(isDryRun: Bool, in context: CommandContext) throws -> LockdownChange {
        let filter = PacketFilter(context)
        var changes = try Lockdown(context.paths).disable(isDryRun: isDryRun)
        if let filter, filter.loaded != nil {
            if !isDryRun { try filter.unload() }
            changes.append("- table inet \(LockdownRules.table)")
        }
        if !isDryRun, !changes.isEmpty, filter != nil { try ServiceManager(context)?.run("daemon-reload") }
        return LockdownChange(changes: changes, isEnabled: false, isDryRun: isDryRun, isLoadedLater: false)
    }

    func text(for context: CommandContext) -> String {
        guard !changes.isEmpty else { return isEnabled ? "Already locked in" : "Not locked in" }
        return ([isDryRun ? "Would change:" : "Changed:"] + changes.map { "  \($0)" })
            .map(TerminalText.printable).joined(separator: "\n")
    }

    var json: JSONValue {
        .object([
            JSONMember("enabled", .bool(isEnabled)), JSONMember("dryRun", .bool(isDryRun)),
            JSONMember("changes", .texts(changes)), JSONMember("loadedLater", .bool(isLoadedLater)),
        ])
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

/// The cgroup that the packet filter knows the engine by.
private enum EngineCgroup {
    /// That of Docker's service where nobody changed its slice.
    static let usual = "system.slice/docker.service"

    /// The cgroup of the running engine; `nil` if none runs.
    ///
    /// - Throws: ``Failure`` if the kernel cannot tell it from others, or systemd did not start it.
    static func ofRunningEngine(_ paths: InstallationPaths) throws -> String? {
        guard access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0 else {
            throw Failure(
                "this machine does not use cgroup v2 alone, by which the kernel would know the engine's connections",
                hints: ["start Linux with systemd.unified_cgroup_hierarchy=1, or go without lockdown"]
            )
        }
        let state = try EngineSetup(paths).state()
        guard let process = EngineProcess(paths, pidFile: state.pidFile) else { return nil }
        let path = try process.cgroup
        guard path.split(separator: "/").last == "docker.service" else {
            throw Failure(
                "dockerd (process \(process.id)) runs in the cgroup \"/\(path)\" and not in that of docker.service",
                hints: ["lockdown is loaded with docker.service; start Docker by it: systemctl start docker"]
            )
        }
        return path
    }
}

/// nft and systemd of the running machine.
private struct PacketFilter {
    static let usualPath = "/usr/sbin/nft"

    let nft: String
    private let environment: [String: String]

    /// What the kernel holds of the rules.
    struct Loaded {
        let refused: Int
        /// Whether the cgroup that they are for is still there; a service gets another one with every start.
        let isCurrent: Bool
    }

    /// The running machine's, if it is meant: not so under another root than `/`.
    init?(_ context: CommandContext) {
        guard context.paths.root == "/" else { return nil }
        nft =
            ChildProcess.find("nft", environment: context.environment)
            ?? ChildProcess.find(Self.usualPath, environment: [:]) ?? ""
        environment = context.environment
    }

    func checkIsThere() throws {
        guard nft.isEmpty else { return }
        throw Failure("nft is not installed; nothing was changed", hints: ["install the package nftables"])
    }

    func check(_ rules: String) throws {
        try run(["-c", "-f", "-"], input: rules, "the kernel or nft does not take the rules; nothing was changed")
    }

    func load(_ path: String) throws {
        try run(["-f", path], "the rules could not be loaded")
    }

    func unload() throws {
        try run(["delete", "table", "inet", LockdownRules.table], "the rules could not be taken away")
    }

    /// What is loaded; `nil` if nothing is, or only root is told.
    var loaded: Loaded? {
        guard let result = try? call(["list", "table", "inet", LockdownRules.table]), result.exitCode == 0 else {
            return nil
        }
        let words = result.words.split(whereSeparator: \.isWhitespace)
        func word(_ distance: Int, behind name: Substring) -> Substring? {
            words.firstIndex(of: name).map { $0 + distance }.flatMap { words.indices.contains($0) ? words[$0] : nil }
        }
        return Loaded(
            refused: word(1, behind: "packets").flatMap { Int($0) } ?? 0,
            // nft shows the path of a cgroup in quotes, and only the number of one that is gone.
            isCurrent: word(3, behind: "cgroupv2")?.hasPrefix("\"") ?? false
        )
    }

    private func run(_ arguments: [String], input: String = "", _ fault: String) throws {
        let result = try call(arguments, input: input)
        guard result.exitCode == 0 else {
            let words = result.errorWords.split(whereSeparator: \.isNewline).first.map(String.init) ?? "no reason given"
            throw Failure("\(fault): \(words)", hints: ["lockdown needs root, Linux 5.13 and nft 0.9.9 or later"])
        }
    }

    private func call(_ arguments: [String], input: String = "") throws -> ChildProcess.Result {
        try checkIsThere()
        do throws(ChildProcess.Trouble) {
            return try ChildProcess(path: nft, arguments: arguments, environment: environment)
                .run(input: Array(input.utf8), within: 30_000)
        } catch {
            throw Failure("nft \(error == .timeout ? "did not end in half a minute" : "could not be started")")
        }
    }
}
