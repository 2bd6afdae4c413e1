import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram engine enable`: has the engine ask the authorization plugin and use the egress proxy.
struct EngineEnable: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable",
        abstract: "Have the engine ask the plugin and use the egress proxy (as root)",
        discussion: """
            Another proxy that the engine used until now becomes the egress proxy's own.

            Example: docker ram engine enable --dry-run
            Then: docker ram engine enable --reload --restart
            Undo it: docker ram engine disable --reload --restart
            """
    )

    @Flag(help: "Leave the engine's proxy as it is; what builds and logins reach is then not enforced")
    var pluginOnly = false

    @Option(help: ArgumentHelp("Version of the engine, where it cannot be found out", valueName: "version"))
    var engineVersion: String?

    @Flag(help: "Do not insist that docker-ramd answers, for images and where it starts later")
    var noCheck = false

    @OptionGroup var change: EngineChangeOptions
    @OptionGroup var lockdown: LockdownOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard !pluginOnly || !lockdown.isWanted else {
            throw ValidationError(
                "with --lockdown the engine reaches the egress proxy only, which --plugin-only leaves out"
            )
        }
    }

    func run(in context: CommandContext) throws {
        try lockdown.check(in: context)
        let setup = EngineSetup(context.paths)
        let state = try setup.state()
        let service = EngineService(context.paths)
        let process = EngineProcess(context.paths, pidFile: state.pidFile)
        let flags = [EngineFlag.plugin] + (pluginOnly ? [] : EngineFlag.proxies)
        if let flag = EngineFlag.all(flags, service: service, process: process).first {
            throw Self.conflict(flag, context)
        }
        if let file = process?.otherConfig(context.paths) {
            throw Failure(
                "dockerd reads \"\(file)\" and not \"\(context.paths.dockerDaemonConfig)\"; nothing was changed",
                hints: ["start dockerd without --config-file"]
            )
        }
        let running = EngineInfo(ofMachine: context.paths, hosts: state.hosts)
        let proxy = pluginOnly ? nil : try proxy(setup, state, service, running, context)
        if !noCheck, !change.dryRun, !PluginProbe.answers(context.paths.pluginSocket) {
            throw Failure(
                "the plugin does not answer on \"\(context.paths.pluginSocket)\"; nothing was changed",
                hints: [
                    "start docker-ramd first: an engine whose plugin is missing refuses every command",
                    "for an image, or where docker-ramd starts later: --no-check",
                ]
            )
        }
        let changed = try setup.enable(proxy: proxy, isDryRun: change.dryRun)
        // It begins with the restart, too.
        try lockdown.apply(isDryRun: change.dryRun, in: context)
        let result = try EngineResult(
            changed,
            isEnabled: true,
            options: change,
            state: change.dryRun ? state : try setup.state(),
            running: running,
            isRestartPending: proxy.map { running?.uses($0.url) == false } ?? false,
            in: context
        )
        context.show(result, as: common.format)
        if proxy?.place == .systemdDropIn, service.unit == nil {
            let file = context.paths.proxyEnvironment
            context.note("note: there is no docker.service; start dockerd with the environment that \(file) sets")
        }
        guard result.isRestarted, running != nil, let proxy else { return }
        guard EngineInfo(ofMachine: context.paths, hosts: state.hosts)?.uses(proxy.url) == true else {
            throw Failure(
                "Docker was restarted, but does not say that it uses the egress proxy",
                hints: ["run: docker ram engine status"]
            )
        }
    }

    private static func conflict(_ flag: EngineFlag, _ context: CommandContext) -> Failure {
        let isPlugin = flag.name == EngineFlag.plugin
        let why = isPlugin ? "with that and daemon.json it would not start" : "that would go first"
        return Failure(
            "dockerd gets \(flag.inWords); \(why); nothing was changed",
            hints: ["move what it says to \"\(flag.key)\" in \(context.paths.dockerDaemonConfig)"]
        )
    }

    // MARK: - The proxy

    private func proxy(
        _ setup: EngineSetup,
        _ state: EngineSetup.State,
        _ service: EngineService,
        _ running: EngineInfo?,
        _ context: CommandContext
    ) throws -> EngineProxy {
        let settings: DaemonSettings
        do {
            settings = try DaemonSettings(context.paths)
        } catch {
            throw Failure("the settings of docker-ramd cannot be used: \(error)", hints: ["correct them first"])
        }
        let place = try place(state, service, running, context)
        if place == .systemdDropIn, let overriding = service.overriding {
            throw Failure(
                "\"\(overriding)\" says something about the engine's proxy that would go first; nothing was changed",
                hints: [
                    "say it in a line \"Environment=\", or in a drop-in whose name comes before docker-ram-proxy.conf"
                ]
            )
        }
        let address = try EgressProxyAddress(context, settings: settings, isChecked: !noCheck && !change.dryRun)
        let url = try secretURL(address, context)
        return EngineProxy(
            url: url,
            place: place,
            upstream: try upstream(setup, state, service, settings, address, context)
        )
    }

    private func place(
        _ state: EngineSetup.State,
        _ service: EngineService,
        _ running: EngineInfo?,
        _ context: CommandContext
    ) throws -> EngineProxy.Place {
        if let engineVersion {
            guard let place = EngineProxy.Place(engineVersion: engineVersion) else {
                throw ValidationError("\"\(engineVersion)\" is not the version of an engine, like 28.2.2")
            }
            return place
        }
        let versions = EngineVersions(context, service: service, running: running)
        let place = try versions.place(besides: state.proxies)
        let reads = place == .daemonConfig ? "daemon.json" : "the environment of docker.service"
        let suffix = versions.isKnown ? "" : ", as engines of every version do"
        context.note("note: \(versions.words); it reads its proxy from \(reads)\(suffix)")
        return place
    }

    private func secretURL(_ address: EgressProxyAddress, _ context: CommandContext) throws -> Secret {
        if change.dryRun {
            do throws(FileError) {
                return try ProxySecret(context.paths).proxyURL(listen: address.text)
            } catch {
                // It would be made.
                guard error.isNotFound else { throw error }
                return Secret("http://\(ProxySecret.user):@\(address.text)")
            }
        }
        let secret = try ProxySecret.readOrMake(context.paths)
        // So that developers need no root for docker ram engine builder.
        _ = try ProxySecret.readOrMake(context.paths, of: .builders)
        try ProxySecret.shareWithDockerUsers(context.paths)
        if !noCheck { try address.check(secret) }
        return secret.proxyURL(listen: address.text)
    }

    /// What the egress proxy takes over, if an administrator has not told it another proxy.
    private func upstream(
        _ setup: EngineSetup,
        _ state: EngineSetup.State,
        _ service: EngineService,
        _ settings: DaemonSettings,
        _ address: EgressProxyAddress,
        _ context: CommandContext
    ) throws -> TakenOverProxy? {
        let environment = (try? EngineProcess(context.paths, pidFile: state.pidFile)?.environment) ?? [:]
        let earlier = try setup.earlierProxies().withoutOurs(at: address.text)
            .filled(from: service.proxies.withoutOurs(at: address.text))
            .filled(from: EngineProxySettings(environment: environment).withoutOurs(at: address.text))
        do {
            let takeover = try TakenOverProxy.takeover(of: earlier)
            if settings.egressProxy.upstream == nil {
                for note in takeover.notes { context.note("note: \(note)") }
            }
            return takeover.proxy
        } catch {
            if settings.egressProxy.upstream != nil { return nil }
            let shown = earlier.httpsProxy.map(EngineProxySettings.masked) ?? ""
            throw Failure(
                "docker-ramd cannot go through \"\(shown)\", which the engine uses: \(error); nothing was changed",
                hints: [
                    "name one that it can in \"egressProxy\": {\"upstream\": ...} in \(context.paths.daemonSettings)",
                    "or have the engine ask the plugin only: --plugin-only",
                ]
            )
        }
    }
}
