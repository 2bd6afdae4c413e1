import ArgumentParser
import LocalInstallation

/// `docker ram engine enable`: has the engine ask the authorization plugin.
struct EngineEnable: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable",
        abstract: "Add the authorization plugin to daemon.json (as root)"
    )

    @OptionGroup var change: EngineChangeOptions
    @OptionGroup var lockdown: LockdownOption
    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        try lockdown.check(in: context)
        let setup = EngineSetup(context.paths)
        if let flag = EngineProcess.pluginFlag(of: context.paths) {
            throw Failure(
                "dockerd gets --authorization-plugin in \"\(flag)\"; with that and daemon.json it would not start",
                hints: ["move those plugins to \"authorization-plugins\" in \(context.paths.dockerDaemonConfig)"]
            )
        }
        let isAnswering = PluginProbe.answers(context.paths.pluginSocket)
        if change.isReloading, !isAnswering {
            throw Failure(
                "the plugin does not answer on \"\(context.paths.pluginSocket)\"; nothing was changed",
                hints: ["start docker-ramd first: an engine whose plugin is missing refuses every command"]
            )
        }
        let changed = try setup.enable(isDryRun: change.dryRun)
        let isReloaded = change.isReloading ? try EngineProcess.reload(context, try setup.state()) : false
        EngineResult(change: changed, isDryRun: change.dryRun, isReloaded: isReloaded, isEnabled: true)
            .show(in: context, as: common.format)
        try lockdown.apply(isDryRun: change.dryRun, in: context)
        if !isAnswering {
            context.note("note: the plugin does not answer yet; dockerd does not start without it")
        }
    }
}
