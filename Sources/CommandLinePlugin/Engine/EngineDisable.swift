import ArgumentParser
import LocalInstallation

/// `docker ram engine disable`: gives the engine its earlier daemon.json back.
struct EngineDisable: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable",
        abstract: "Take the authorization plugin out of daemon.json (as root)"
    )

    @Flag(help: "Show what would be done and change nothing")
    var dryRun = false

    @Flag(help: "Have the running engine read daemon.json again")
    var reload = false

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let setup = EngineSetup(context.paths)
        // Read before the file goes: it may say where the process id is.
        let state = try setup.state()
        let change = try setup.disable(isDryRun: dryRun)
        let isReloaded = reload && !dryRun ? try EngineProcess.reload(context, state) : false
        let result = EngineResult(change: change, isDryRun: dryRun, isReloaded: isReloaded, isEnabled: false)
        context.show(result, as: common.format)
        if change.isReloadNeeded, !isReloaded, !dryRun {
            context.note("note: a running engine reads it on reload, which stops no container: systemctl reload docker")
        }
    }
}
