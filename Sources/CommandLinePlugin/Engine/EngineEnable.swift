import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram engine enable`: has the engine ask the authorization plugin.
struct EngineEnable: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable",
        abstract: "Add the authorization plugin to daemon.json (as root)"
    )

    @Flag(help: "Show what would be done and change nothing")
    var dryRun = false

    @Flag(help: "Have the running engine read daemon.json again")
    var reload = false

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let setup = EngineSetup(context.paths)
        if let flag = EngineProcess.pluginFlag(of: context.paths) {
            throw Failure(
                "dockerd gets --authorization-plugin in \"\(flag)\"; with that and daemon.json it would not start",
                hints: ["move those plugins to \"authorization-plugins\" in \(context.paths.dockerDaemonConfig)"]
            )
        }
        let isAnswering = PluginProbe.answers(context.paths.pluginSocket)
        if reload, !dryRun, !isAnswering {
            throw Failure(
                "the plugin does not answer on \"\(context.paths.pluginSocket)\"; nothing was changed",
                hints: ["start docker-ramd first: an engine whose plugin is missing refuses every command"]
            )
        }
        let change = try setup.enable(isDryRun: dryRun)
        let isReloaded = reload && !dryRun ? try EngineProcess.reload(context, try setup.state()) : false
        let result = EngineResult(change: change, isDryRun: dryRun, isReloaded: isReloaded, isEnabled: true)
        context.show(result, as: common.format)
        if change.isReloadNeeded, !isReloaded, !dryRun {
            context.note("note: a running engine reads it on reload, which stops no container: systemctl reload docker")
        }
        if !isAnswering {
            context.note("note: the plugin does not answer yet; dockerd does not start without it")
        }
    }
}

/// What `engine enable` and `engine disable` did.
struct EngineResult: CommandResult {
    let change: EngineSetup.Change
    let isDryRun: Bool
    let isReloaded: Bool
    let isEnabled: Bool

    func text(for context: CommandContext) -> String {
        var lines: [String] = []
        if change.changes.isEmpty {
            lines.append(isEnabled ? "Already in daemon.json" : "Not in daemon.json")
        } else {
            lines.append(isDryRun ? "Would change:" : "Changed:")
            lines += change.changes.map { "  \($0)" }
        }
        if isReloaded { lines.append("dockerd was told to read it") }
        return lines.joined(separator: "\n")
    }

    var json: JSONValue {
        .object([
            JSONMember("enabled", .bool(isEnabled)),
            JSONMember("dryRun", .bool(isDryRun)),
            JSONMember("changes", .texts(change.changes)),
            JSONMember("reloadNeeded", .bool(change.isReloadNeeded && !isReloaded && !isDryRun)),
            JSONMember("reloaded", .bool(isReloaded)),
        ])
    }
}
