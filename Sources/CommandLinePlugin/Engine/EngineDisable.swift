import ArgumentParser
import LocalInstallation

/// `docker ram engine disable`: gives the engine its earlier settings back.
struct EngineDisable: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable",
        abstract: "Give the engine its earlier settings back (as root)",
        discussion: "Example: docker ram engine disable --reload --restart"
    )

    @OptionGroup var change: EngineChangeOptions
    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        try LockdownOption.takeAway(isDryRun: change.dryRun, in: context)
        let setup = EngineSetup(context.paths)
        // Read before the file goes: it may say where the process id is.
        let state = try setup.state()
        let running = EngineInfo(ofMachine: context.paths, hosts: state.hosts)
        let settings = (try? DaemonSettings(context.paths)) ?? DaemonSettings()
        let address = try? EgressProxyAddress(context, settings: settings, isChecked: false)
        let changed = try setup.disable(isDryRun: change.dryRun)
        let result = try EngineResult(
            changed,
            isEnabled: false,
            options: change,
            state: state,
            running: running,
            isRestartPending: address.map { running?.goesThrough($0.text) == true } ?? false,
            in: context
        )
        context.show(result, as: common.format)
    }
}
