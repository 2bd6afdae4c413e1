import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram engine status`: what daemon.json says.
struct EngineStatus: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show whether daemon.json names the authorization plugin"
    )

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let state = try EngineSetup(context.paths).state()
        context.show(
            EngineState(
                path: context.paths.dockerDaemonConfig,
                state: state,
                flag: EngineProcess.pluginFlag(of: context.paths),
                isAnswering: PluginProbe.answers(context.paths.pluginSocket)
            ),
            as: common.format
        )
    }
}

private struct EngineState: CommandResult {
    let path: String
    let state: EngineSetup.State
    let flag: String?
    let isAnswering: Bool

    func text(for context: CommandContext) -> String {
        let plugins = state.plugins.isEmpty ? "none" : state.plugins.joined(separator: ", ")
        var rows = [
            ["daemon.json", state.isThere ? path : "\(path) (not there)"],
            ["authorization-plugins", plugins],
            ["docker-ram", state.isEnabled ? "enabled" : "not enabled"],
            ["plugin socket", isAnswering ? "answers" : "does not answer"],
        ]
        if let flag { rows.append(["conflict", "--authorization-plugin in \(flag)"]) }
        return TerminalText.table(rows).map(TerminalText.printable).joined(separator: "\n")
    }

    var json: JSONValue {
        .object([
            JSONMember("path", .string(path)),
            JSONMember("exists", .bool(state.isThere)),
            JSONMember("authorizationPlugins", .texts(state.plugins)),
            JSONMember("enabled", .bool(state.isEnabled)),
            JSONMember("pluginAnswers", .bool(isAnswering)),
            JSONMember("conflict", .text(flag)),
        ])
    }
}
