import LocalInstallation
import RegistryAccess

/// What the engine says about its authorization plugins.
struct EngineInfo {
    private(set) var version: String?
    private(set) var plugins: [String] = []
    /// Why the engine could not be asked.
    private(set) var fault: String?

    /// Whether the engine's list of authorization plugins holds ours.
    var namesPlugin: Bool { plugins.contains(EngineSetup.plugin) }

    /// An engine whose plugin hangs would hang us too.
    private static let patience = 5000

    /// Asks the engine that the caller's Docker talks to, with the caller's own global flags.
    init(asking context: CommandContext) {
        // Docker tells its plugins by which name it was called (docker/cli, `cli-plugins/metadata`).
        let name = context.environment["DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"] ?? "docker"
        guard let docker = ChildProcess.find(name, environment: context.environment) else {
            fault = "docker is not on PATH"
            return
        }
        let arguments = context.globalFlags.arguments + ["info", "--format", "{{json .}}"]
        do throws(ChildProcess.Trouble) {
            let process = ChildProcess(path: docker, arguments: arguments, environment: context.environment)
            read(try process.run(within: Self.patience))
        } catch {
            fault = error == .timeout ? "the engine did not answer within 5 seconds" : "docker could not be started"
        }
    }

    private mutating func read(_ result: ChildProcess.Result) {
        guard let json = try? StrictJSON.parse(result.output) else {
            fault = Self.firstLine(result.errorWords) ?? "docker info said nothing"
            return
        }
        version = json.value(named: "ServerVersion")?.text
        plugins =
            (json.value(named: "Plugins")?.value(named: "Authorization")?.elements ?? []).compactMap(\.text)
        if let error = json.value(named: "ServerErrors")?.elements?.first?.text, !error.isEmpty {
            fault = Self.firstLine(error)
        } else if version?.isEmpty != false {
            fault = Self.firstLine(result.errorWords) ?? "the engine does not answer"
        }
    }

    private static func firstLine(_ text: String) -> String? {
        text.split(whereSeparator: \.isNewline).first.map(String.init)
    }
}
