import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram engine status`: what the engine is told, and what the running engine does.
struct EngineStatus: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show what the engine is told and what it uses (as root)",
        discussion: "Example: docker ram engine status --format json"
    )

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        context.show(try EngineState(context), as: common.format)
    }
}

/// What is told to the engine of this machine.
private struct EngineState: CommandResult {
    let path: String
    let state: EngineSetup.State
    /// A flag that is in the way, and where it stands.
    let conflict: EngineFlag?
    let pluginAnswers: Bool
    let address: String
    let proxy: EgressProxyProbe
    /// Where the engine is told to use our proxy.
    let place: EngineProxy.Place?
    let engine: EngineInfo?
    /// Whether the running engine uses our proxy, and nothing else.
    let isUsed: Bool

    init(_ context: CommandContext) throws {
        let paths = context.paths
        path = paths.dockerDaemonConfig
        state = try EngineSetup(paths).state()
        let process = EngineProcess(paths, pidFile: state.pidFile)
        conflict = EngineFlag.all(service: EngineService(paths), process: process).first
        pluginAnswers = PluginProbe.answers(paths.pluginSocket)
        let settings = (try? DaemonSettings(paths)) ?? DaemonSettings()
        address = try EgressProxyAddress(context, settings: settings, isChecked: false).text
        engine = EngineInfo(ofMachine: paths, hosts: state.hosts)
        do throws(FileError) {
            let secret = try ProxySecret(paths)
            let url = secret.proxyURL(listen: address)
            place = state.place(of: url)
            isUsed = engine?.uses(url) == true
            // The secret goes only to where docker-ramd says that it listens.
            let isListening = (try? EgressProxyAddress(context, settings: settings, isChecked: true)) != nil
            proxy = isListening ? EgressProxyProbe(at: address, secret: secret) : .silence
        } catch {
            guard error.isNotFound else { throw error }
            place = nil
            isUsed = false
            proxy = .silence
        }
    }

    /// Whether the running engine has another proxy than the files say.
    private var isRestartPending: Bool? {
        guard let engine else { return nil }
        guard place == nil else { return !isUsed }
        // What docker-ram does not say itself is judged by whether the engine still uses our proxy.
        return engine.goesThrough(address)
    }

    private var told: String {
        if let place { return "\(address) (\(place.rawValue))" }
        let others = [state.proxies, state.dropIn ?? EngineProxySettings()]
        guard let other = others.first(where: { !$0.isEmpty }) else { return "none" }
        return "\(Self.words(of: other)), not as docker-ram sets it"
    }

    private func words(of engine: EngineInfo) -> String {
        "\(engine.version ?? "") uses \(isUsed ? address : Self.words(of: engine.proxies))"
    }

    private static func words(of proxies: EngineProxySettings) -> String {
        let addresses = [proxies.httpsProxy, proxies.httpProxy].compactMap { $0.map(EngineProxySettings.masked) }
        let distinct = addresses.first.map { first in [first] + addresses.dropFirst().filter { $0 != first } } ?? []
        let exceptions = proxies.noProxy.map { ["except for \($0)"] } ?? []
        return distinct.isEmpty ? "no proxy" : (distinct + exceptions).joined(separator: ", ")
    }

    func text(for context: CommandContext) -> String {
        let plugins = state.plugins.isEmpty ? "none" : state.plugins.joined(separator: ", ")
        var rows = [
            ["daemon.json", state.isThere ? path : "\(path) (not there)"],
            ["authorization-plugins", plugins],
            ["docker-ram", state.isEnabled ? "enabled" : "not enabled"],
            ["plugin socket", pluginAnswers ? "answers" : "does not answer"],
            ["proxy", told],
            ["proxy port", "\(address) \(proxy.words)"],
            ["running engine", engine.map(words) ?? "does not answer"],
        ]
        if isRestartPending == true {
            rows.append(["restart", "pending: the running engine has another proxy than the files say"])
        }
        if let conflict { rows.append(["conflict", conflict.inWords]) }
        return TerminalText.table(rows).map(TerminalText.printable).joined(separator: "\n")
    }

    var json: JSONValue {
        func settings(_ proxies: EngineProxySettings) -> [JSONMember] {
            [
                JSONMember("httpProxy", .text(proxies.httpProxy.map(EngineProxySettings.masked))),
                JSONMember("httpsProxy", .text(proxies.httpsProxy.map(EngineProxySettings.masked))),
                JSONMember("noProxy", .text(proxies.noProxy)),
            ]
        }
        return .object([
            JSONMember("path", .string(path)),
            JSONMember("exists", .bool(state.isThere)),
            JSONMember("authorizationPlugins", .texts(state.plugins)),
            JSONMember("enabled", .bool(state.isEnabled)),
            JSONMember("pluginAnswers", .bool(pluginAnswers)),
            JSONMember("conflict", .text(conflict?.inWords)),
            JSONMember(
                "proxy",
                .object([
                    JSONMember("address", .string(address)),
                    JSONMember("answers", .bool(proxy == .answers)),
                    JSONMember("enabled", .bool(place != nil)),
                    JSONMember("place", .text(place?.rawValue)),
                    JSONMember("daemonJSON", .object(settings(state.proxies))),
                    JSONMember("dropIn", state.dropIn.map { .object(settings($0)) } ?? .null),
                ])
            ),
            JSONMember(
                "engine",
                engine.map { engine in
                    .object(
                        [JSONMember("version", .text(engine.version))] + settings(engine.proxies)
                            + [JSONMember("usesProxy", .bool(isUsed))]
                    )
                } ?? .null
            ),
            JSONMember("restartPending", isRestartPending.map(JSONValue.bool) ?? .null),
        ])
    }
}

extension EgressProxyProbe {
    /// What is said of it.
    var words: String {
        switch self {
        case .answers: "answers"
        case .wrongSecret: "answers, but has another secret"
        case .stranger: "is taken by another program"
        case .silence: "does not answer"
        }
    }
}
