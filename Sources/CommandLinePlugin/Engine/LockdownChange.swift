import Glibc
import LocalInstallation
import RegistryAccess

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
        // Not what the settings say alone: the engine is told where docker-ramd listens, which systemd may have decided.
        let proxy = try EgressProxyAddress(context, settings: DaemonSettings(context.paths), isChecked: false).text
        let filter = PacketFilter(context)
        try filter?.checkIsThere()
        let engine = filter == nil ? nil : try EngineCgroup.ofRunningEngine(context.paths)
        let cgroup = engine ?? EngineCgroup.usual
        guard let rules = LockdownRules(cgroup: cgroup, listen: proxy, exceptions: allowed.exceptions) else {
            throw Failure(
                "no rules can be written for the cgroup \"\(cgroup)\" and the proxy at \"\(proxy)\""
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
