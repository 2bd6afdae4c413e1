import LocalInstallation
import RegistryAccess

/// What is read and asked of a machine once, for `status` and for every check of `doctor`.
struct MachineFacts {
    let context: CommandContext
    let policy: PolicyInForce
    /// The organization that the machine belongs to.
    let enrollment: Enrollment?
    /// What docker-ramd says about itself.
    let daemon: JSONValue?
    /// Why docker-ramd says nothing.
    let daemonSilence: String?
    let engine: EngineInfo
    let endpoint: EngineEndpoint
    /// The settings of docker-ramd; the defaults if they cannot be used.
    let settings: DaemonSettings
    /// Why the settings of docker-ramd cannot be used.
    let settingsFault: String?
    /// Docker's settings of the caller; `nil` without a home directory or if they cannot be read.
    let config: DockerConfigFile?
    /// Why Docker's settings cannot be read.
    let configFault: String?
    let helper: PointState
    let plugin: PointState
    let proxy: PointState

    /// Whether something is enforced at one place; `isActive` is `nil` where that cannot be known.
    struct PointState: Equatable {
        let isActive: Bool?
        let detail: String

        static func active(_ detail: String) -> PointState { PointState(isActive: true, detail: "active: \(detail)") }
        static func inactive(_ detail: String) -> PointState {
            PointState(isActive: false, detail: "not active: \(detail)")
        }
        static func unknown(_ detail: String) -> PointState { PointState(isActive: nil, detail: "unknown: \(detail)") }
    }

    var paths: InstallationPaths { context.paths }
    /// What the engine is told by files, as far as the caller may read them.
    var told: EngineSetup.State? { try? EngineSetup(paths).state() }
    /// The engine of this machine, if it runs.
    var process: EngineProcess? { EngineProcess(paths, pidFile: told?.pidFile) }
    /// Where docker-ramd listens as the egress proxy, or should.
    var listen: String { Self.listen(daemon, settings) }

    private static func listen(_ daemon: JSONValue?, _ settings: DaemonSettings) -> String {
        daemon?.value(named: "egressProxy")?.value(named: "address")?.text ?? settings.egressProxy.listen
    }
    /// Whether there should be a policy, so that what goes around it matters.
    var isManaged: Bool { if case .unmanaged = policy { false } else { true } }

    init(of context: CommandContext) {
        self.context = context
        policy = context.policyInForce
        enrollment = Enrollment.read(context.paths).enrollment
        let control = ControlClient(path: context.paths.controlSocket)
        do {
            daemon = try control.status()
            daemonSilence = nil
        } catch {
            daemon = nil
            daemonSilence = "\(error)"
        }
        do throws(InvalidDaemonSettings) {
            settings = try DaemonSettings(context.paths)
            settingsFault = nil
        } catch {
            settings = DaemonSettings()
            settingsFault = "\(error)"
        }
        endpoint = EngineEndpoint(context)
        engine = EngineInfo(asking: context)
        let after = daemon.flatMap { _ in try? control.status() }
        plugin = Self.pluginState(engine, before: daemon, after: after)
        proxy = Self.proxyState(engine, endpoint.isOfMachine(context.paths), daemon, settings)
        (config, configFault, helper) = Self.helperState(of: context)
    }

    /// Judges by whether docker-ramd was asked about our own question to the engine.
    ///
    /// The list in `docker info` is that of the engine's start: measured with 20.10, a plugin that was added or taken
    /// out on SIGHUP does not change it. It decides only where docker-ramd does not answer.
    private static func pluginState(_ engine: EngineInfo, before: JSONValue?, after: JSONValue?) -> PointState {
        if let fault = engine.fault { return .unknown(fault) }
        let name = engine.name
        func count(_ status: JSONValue?) -> Int? {
            status?.value(named: "authorizationPlugin")?.value(named: "requests")?.integer
        }
        if let before = count(before), let after = count(after) {
            if after > before { return .active("\(name) asks \"docker-ram\"") }
            if engine.namesPlugin {
                return .unknown("\(name) names \"docker-ram\", but this machine's docker-ramd was not asked")
            }
        } else if engine.namesPlugin {
            return .active("\(name) asks \"docker-ram\"")
        }
        return .inactive("\(name) does not ask \"docker-ram\"")
    }

    /// Judges by the proxies that the engine names and where docker-ramd listens.
    private static func proxyState(
        _ engine: EngineInfo,
        _ isOfMachine: Bool,
        _ daemon: JSONValue?,
        _ settings: DaemonSettings
    ) -> PointState {
        if let fault = engine.fault { return .unknown(fault) }
        let name = engine.name
        let status = daemon?.value(named: "egressProxy")
        let address = status?.value(named: "address")?.text
        let listen = listen(daemon, settings)
        let proxies = [engine.proxies.httpProxy, engine.proxies.httpsProxy].map { $0.map(ProxyURL.init) }
        guard proxies.contains(where: { $0 != nil }) else { return .inactive("\(name) uses no proxy") }
        for (proxy, scheme) in zip(proxies, ["http", "https"]) {
            guard let proxy else { return .inactive("\(name) uses no proxy for \(scheme)") }
            guard proxy.leads(to: listen) else {
                return .inactive("\(name) uses \(proxy.authority) for \(scheme), not docker-ramd's \(listen)")
            }
        }
        guard !NoProxyEntry.list(engine.proxies.noProxy ?? "").contains(.everything) else {
            return .inactive("\(name) uses \(listen), but for nothing: its no-proxy list is \"*\"")
        }
        guard isOfMachine else { return .unknown("\(name) uses \(listen), but may be that of another machine") }
        guard daemon != nil else { return .unknown("\(name) uses \(listen), but docker-ramd does not answer") }
        guard address != nil else {
            let problem = status?.value(named: "problem")?.text ?? "it does not say why"
            return .inactive("docker-ramd does not listen on \(listen): \(problem)")
        }
        return .active("\(name) uses \(listen)")
    }

    private static func helperState(
        of context: CommandContext
    ) -> (config: DockerConfigFile?, fault: String?, state: PointState) {
        guard let directory = context.dockerConfigDirectory else {
            return (nil, "HOME is not set", .unknown("there is no home directory"))
        }
        let config: DockerConfigFile
        do {
            config = try DockerConfigFile(directory: directory)
        } catch {
            return (nil, "\(error)", PointState(isActive: nil, detail: "unknown"))
        }
        guard DeveloperSetup.isSetUp(config) else {
            let store = config.credentialStore.map { "credsStore is \"\($0)\"" } ?? "credsStore is not set"
            return (config, nil, .inactive(store))
        }
        return (config, nil, .active("credsStore is \"ram\""))
    }

    /// What leads around the policy: an error where there is one.
    func leak(_ detail: String, hint: String? = nil) -> MachineCheck.Outcome {
        isManaged ? .error(detail, hint: hint) : .warning(detail, hint: hint)
    }
}
