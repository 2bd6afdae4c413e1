import ArgumentParser
import LocalInstallation

/// `docker ram engine disable`: gives the engine its earlier daemon.json back.
struct EngineDisable: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable",
        abstract: "Take the authorization plugin out of daemon.json (as root)"
    )

    @OptionGroup var change: EngineChangeOptions
    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        try LockdownOption.takeAway(isDryRun: change.dryRun, in: context)
        let setup = EngineSetup(context.paths)
        // Read before the file goes: it may say where the process id is.
        let state = try setup.state()
        let changed = try setup.disable(isDryRun: change.dryRun)
        let isReloaded = change.isReloading ? try EngineProcess.reload(context, state) : false
        EngineResult(change: changed, isDryRun: change.dryRun, isReloaded: isReloaded, isEnabled: false)
            .show(in: context, as: common.format)
    }
}
