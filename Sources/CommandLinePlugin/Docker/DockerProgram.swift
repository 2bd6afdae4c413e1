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

    /// How the caller started it: Docker tells its plugins (docker/cli, `cli-plugins/metadata`).
    var name: String { context.environment["DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"] ?? "docker" }

    /// Runs it.
    ///
    /// - Parameters:
    ///   - arguments: the command, to stand behind the global flags.
    ///   - milliseconds: how long it may take.
    /// - Returns: what became of it.
    /// - Throws: ``Trouble`` if it did not come to its end.
    func run(_ arguments: [String], within milliseconds: Int) throws(Trouble) -> ChildProcess.Result {
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
