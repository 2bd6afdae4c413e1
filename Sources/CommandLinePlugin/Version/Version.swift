import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram version`.
struct Version: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "version",
        abstract: "Show the versions of docker-ram and docker-ramd",
        discussion: "Example: docker ram version --format json"
    )

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let status = try? ControlClient(path: context.paths.controlSocket).status()
        context.show(Versions(daemon: status?.value(named: "version")?.text), as: common.format)
    }
}

private struct Versions: CommandResult {
    let daemon: String?

    var json: JSONValue {
        .object([JSONMember("plugin", .string(ProductVersion.text)), JSONMember("daemon", .text(daemon))])
    }

    func text(for context: CommandContext) -> String {
        "docker-ram   \(ProductVersion.text)\ndocker-ramd  \(daemon.map(TerminalText.printable) ?? "does not answer")"
    }
}
