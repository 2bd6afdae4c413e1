import LocalInstallation
import RegistryAccess

/// What the engine says about itself (moby, `api/types/system/info.go`).
struct EngineInfo {
    private(set) var version: String?
    private(set) var plugins: [String] = []
    /// The proxies that it uses; Docker masks what stands before `@`.
    private(set) var httpProxy: String?
    private(set) var httpsProxy: String?
    private(set) var noProxy = ""
    /// What it asks in the place of Docker Hub.
    private(set) var mirrors: [String] = []
    /// Registries and networks that it reaches without TLS or with a certificate that nobody vouches for.
    private(set) var insecureRegistries: [String] = []
    private(set) var isRootless = false
    /// Why the engine could not be asked.
    private(set) var fault: String?

    /// Whether the engine's list of authorization plugins holds ours.
    var namesPlugin: Bool { plugins.contains(EngineSetup.plugin) }
    /// For example `engine 20.10.24`.
    var name: String { "engine \(version ?? "")" }

    /// An engine whose plugin hangs would hang us too.
    private static let patience = 5000

    /// Asks the engine that the caller's Docker talks to, with the caller's own global flags.
    init(asking context: CommandContext) {
        do throws(DockerProgram.Trouble) {
            read(try DockerProgram(context).run(["info", "--format", "{{json .}}"], within: Self.patience))
        } catch {
            fault = error.description
        }
    }

    private mutating func read(_ result: ChildProcess.Result) {
        guard let json = try? StrictJSON.parse(result.output, limits: .init(foldsKeys: false)) else {
            fault = Self.firstLine(result.errorWords) ?? "docker info said nothing"
            return
        }
        version = json.value(named: "ServerVersion")?.text
        plugins =
            (json.value(named: "Plugins")?.value(named: "Authorization")?.elements ?? []).compactMap(\.text)
        httpProxy = json.value(named: "HttpProxy")?.text.flatMap { $0.isEmpty ? nil : $0 }
        httpsProxy = json.value(named: "HttpsProxy")?.text.flatMap { $0.isEmpty ? nil : $0 }
        noProxy = json.value(named: "NoProxy")?.text ?? ""
        let options = (json.value(named: "SecurityOptions")?.elements ?? []).compactMap(\.text)
        isRootless = options.contains { $0.split(separator: ",").contains("name=rootless") }
        let registries = json.value(named: "RegistryConfig")
        mirrors = (registries?.value(named: "Mirrors")?.elements ?? []).compactMap(\.text)
        insecureRegistries =
            (registries?.value(named: "IndexConfigs")?.members ?? [])
            .filter { $0.value.value(named: "Secure") == .bool(false) }.map(\.name)
            + (registries?.value(named: "InsecureRegistryCIDRs")?.elements ?? []).compactMap(\.text)
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

/// The caller's own `docker`, called with the caller's own global flags.
struct DockerProgram {
    private let context: CommandContext

    init(_ context: CommandContext) {
        self.context = context
    }

    /// Why there is no answer.
    enum Trouble: Error, CustomStringConvertible {
        case notFound
        case notStarted
        case timeout(seconds: Int)

        var description: String {
            switch self {
            case .notFound: "docker is not on PATH"
            case .notStarted: "docker could not be started"
            case .timeout(let seconds): "the engine did not answer within \(seconds) seconds"
            }
        }
    }

    /// Runs `docker`.
    func run(_ arguments: [String], within milliseconds: Int) throws(Trouble) -> ChildProcess.Result {
        // Docker tells its plugins by which name it was called (docker/cli, `cli-plugins/metadata`).
        let name = context.environment["DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"] ?? "docker"
        guard let docker = ChildProcess.find(name, environment: context.environment) else { throw .notFound }
        let process = ChildProcess(
            path: docker,
            arguments: context.globalFlags.arguments + arguments,
            environment: context.environment
        )
        do throws(ChildProcess.Trouble) {
            return try process.run(within: milliseconds, whileWaiting: context.impatience(about: "the engine"))
        } catch {
            throw error == .timeout ? .timeout(seconds: milliseconds / 1000) : .notStarted
        }
    }
}

extension CommandContext {
    /// Says once that an answer takes long.
    ///
    /// - Parameter what: what is waited for.
    /// - Returns: what ``ChildProcess/run(input:within:limit:whileWaiting:)`` calls.
    func impatience(about what: String) -> (Int) -> Void {
        var isSaid = false
        return { milliseconds in
            guard milliseconds > 2000, !isSaid else { return }
            isSaid = true
            note("waiting for \(what)")
        }
    }
}
