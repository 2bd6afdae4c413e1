import LocalInstallation
import Logging
import NIOCore
import NIOPosix
import RegistryAccess

/// docker-ramd: everything that runs between the first socket and the last.
struct EnforcementDaemon: Sendable {
    /// What it is told from outside.
    enum Order: Sendable {
        /// Look at the policy file now, or ask the organization.
        case reload
        /// End.
        case stop
    }

    /// Where everything is.
    let paths: InstallationPaths
    /// The settings.
    let settings: DaemonSettings
    /// The socket of the authorization plugin.
    let pluginSocket: ListeningSocket
    /// The control socket.
    let controlSocket: ListeningSocket
    /// The socket of the egress proxy, or why there is none.
    let proxySocket: Result<ListeningSocket, SocketFault>
    /// Where the words go.
    let logger: Logger
    /// What a connection of the engine may not exceed.
    var pluginLimits = PluginLimits()
    /// What a control connection may not exceed.
    var controlLimits = ControlServer.Limits()
    /// What a connection to the egress proxy may not exceed; `nil` for what the settings say.
    var proxyLimits: ProxyLimits?
    /// How the organization is followed.
    var organizationPace = OrganizationKeeper.Pace()
    /// How the organization is told what was refused.
    var reportPace = RefusalReporter.Pace()
    /// How the organization is told which registries are used.
    var usePace = UseReporter.Pace()
    /// The service manager.
    var notifier = ServiceNotifier(socketPath: nil)
    /// How often the service manager wants a sign of life.
    var watchdogInterval: Duration?

    /// Runs until it is told to stop.
    ///
    /// - Parameter orders: what it is told; the end of the stream means stop.
    /// - Throws: what makes it impossible to serve.
    func run(orders: AsyncStream<Order>) async throws {
        let startedAt = UTCTime.now()
        let group = MultiThreadedEventLoopGroup.singleton
        let watcher = PolicyWatcher(paths, logger: logger, pace: organizationPace, settings: settings.egressProxy)
        await watcher.begin()
        let tally = UseTally()
        let queue = DecisionQueue(logAllowed: settings.decisionLog.logAllowed, uses: tally)
        let log = DecisionLog(path: paths.decisionLog, settings: settings.decisionLog, queue: queue, logger: logger)

        // Before the plugin answers, so that whoever waits for that finds the proxy and its secrets.
        let (proxy, proxyServer, proxyProblem) = await startProxy(watcher.policy, queue)
        let builderProxy = builderProxy(listen: proxyServer?.address.text ?? settings.egressProxy.listen)
        let plugin = AuthorizationPlugin(policy: watcher.policy, log: queue, builderProxy: builderProxy)
        let pluginServer = try await AuthorizationPluginServer.start(
            on: pluginSocket.descriptor,
            plugin: plugin,
            limits: pluginLimits,
            group: group
        )
        let controlServer = try await ControlServer(
            on: controlSocket.descriptor,
            limits: controlLimits,
            log: log,
            helperRecords: HelperRecords(policy: watcher.policy, log: queue),
            signInDesk: SignInDesk(keeper: watcher.organization),
            registrationDesk: RegistrationDesk(keeper: watcher.organization),
            requestDesk: RequestDesk(keeper: watcher.organization, policy: watcher.policy),
            status: {
                var status = status(startedAt, watcher.policy, plugin, queue)
                status.egressProxy = proxy.status(listening: proxyServer?.address, problem: proxyProblem)
                return status
            },
            logger: logger,
            group: group
        )
        let reporter = RefusalReporter(
            paths,
            logger: logger,
            pace: reportPace,
            target: { await watcher.organization.reportTarget },
            status: {
                var points: [DecisionRecord.Point] = []
                // Every command of Docker begins with a question, so an engine with the plugin has asked soon.
                if plugin.counts.lastRequestAt != nil { points.append(.authorizationPlugin) }
                if proxyServer != nil, proxyProblem == nil { points.append(.egressProxy) }
                return RefusalReporter.Status(
                    policyVersion: watcher.policy.snapshot.inForce.policy?.version ?? 0,
                    engineVersion: plugin.engineVersion?.description,
                    enforcementPoints: points,
                    findings: DoctorFinding.read(paths)
                )
            }
        )
        let useReporter = UseReporter(
            paths,
            tally: tally,
            logger: logger,
            pace: usePace,
            target: { await watcher.organization.reportTarget }
        )
        logger.notice(
            "listening",
            metadata: [
                "plugin.socket": "\(pluginSocket.path)", "control.socket": "\(controlSocket.path)",
                "proxy.address": "\(proxyServer?.address.text ?? "none")",
            ]
        )
        notifier.send(.ready)

        try await withThrowingTaskGroup(of: Void.self) { outer in
            // The log outlives the rest, so that what was decided last is written too.
            outer.addTask { await log.run() }
            defer { queue.finish() }
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { await follow(orders, watcher, proxy) }
                tasks.addTask { await watcher.run() }
                tasks.addTask { await watcher.organization.run() }
                tasks.addTask { await reporter.run() }
                tasks.addTask { await useReporter.run() }
                tasks.addTask { for await _ in watcher.policy.changes { proxy.reconsider() } }
                tasks.addTask {
                    try await controlServer.run()
                    throw DaemonFailure(description: "the control socket was closed")
                }
                tasks.addTask {
                    await pluginServer.listeningEnded()
                    throw DaemonFailure(description: "the socket of the authorization plugin was closed")
                }
                if let proxyServer {
                    tasks.addTask {
                        await proxyServer.listeningEnded()
                        throw DaemonFailure(description: "the socket of the egress proxy was closed")
                    }
                }
                if let watchdogInterval {
                    tasks.addTask { await giveSignsOfLife(every: watchdogInterval, plugin, group) }
                }
                // Only the end of the orders is an orderly end; nothing else returns before it is cancelled.
                let ending = await tasks.nextResult()
                logger.notice("stopping")
                notifier.send(.stopping)
                // While tunnels end, the engine goes on to be answered.
                await proxyServer?.stop()
                await pluginServer.stop()
                tasks.cancelAll()
                try ending?.get()
            }
        }
    }

    /// Starts the egress proxy.
    ///
    /// Without it the engine reaches nothing, but the plugin goes on to answer: what touches no registry works.
    private func startProxy(
        _ policy: CurrentPolicy,
        _ queue: DecisionQueue
    ) async -> (EgressProxy, EgressProxyServer?, problem: String?) {
        let (credentials, fault) = proxyCredentials()
        let proxy = EgressProxy(policy: policy, credentials: credentials, log: queue)
        do {
            let server = try await EgressProxyServer.start(
                on: proxySocket.get().descriptor,
                proxy: proxy,
                settings: settings.egressProxy,
                limits: proxyLimits ?? ProxyLimits(settings.egressProxy),
                group: Self.proxyGroup
            )
            return (proxy, server, fault)
        } catch {
            logger.error("THE EGRESS PROXY DOES NOT LISTEN", metadata: ["error": "\(error)"])
            return (proxy, nil, "\(error)")
        }
    }

    /// Who is let in: the engine, and builders if their secret can be had.
    private func proxyCredentials() -> (ProxyCredentials, fault: String?) {
        let builders = try? ProxySecret.readOrMake(paths, of: .builders)
        do throws(FileError) {
            let engine = try ProxySecret.readOrMake(paths, of: .engine)
            return (ProxyCredentials([engine] + [builders].compactMap(\.self)), nil)
        } catch {
            logger.error("THE EGRESS PROXY SERVES NOBODY", metadata: ["error": "\(error)"])
            return (ProxyCredentials([]), "it serves nobody: \(error)")
        }
    }

    // Of its own, so that what passes through tunnels does not hold up the engine's questions. One loop carries more than a
    // network does, and both sides of every tunnel stay on it.
    private static let proxyGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    /// What builders go through; without their secret, which is no reason not to serve, none of them does.
    private func builderProxy(listen: String) -> BuilderProxy? {
        do throws(FileError) {
            let secret = try ProxySecret.readOrMake(paths, of: .builders)
            return BuilderProxy(secret: secret, listen: listen)
        } catch {
            logger.error("builders count as unmanaged", metadata: ["error": "\(error)"])
            return nil
        }
    }

    private func follow(_ orders: AsyncStream<Order>, _ watcher: PolicyWatcher, _ proxy: EgressProxy) async {
        for await order in orders {
            switch order {
            case .reload:
                proxy.credentials = proxyCredentials().0
                await watcher.check(always: true)
            case .stop: return
            }
        }
    }

    /// A sign of life says that decisions come out right and that every event loop turns.
    private func giveSignsOfLife(
        every interval: Duration,
        _ plugin: AuthorizationPlugin,
        _ group: MultiThreadedEventLoopGroup
    ) async {
        while !Task.isCancelled {
            for eventLoop in group.makeIterator() {
                try? await eventLoop.submit {}.get()
            }
            if plugin.works() {
                notifier.send(.alive)
            } else {
                logger.critical("decisions do not come out right; waiting to be restarted")
            }
            try? await Task.sleep(for: interval)
        }
    }

    private func status(
        _ startedAt: UTCTime,
        _ policy: CurrentPolicy,
        _ plugin: AuthorizationPlugin,
        _ queue: DecisionQueue
    ) -> DaemonStatus {
        let counts = plugin.counts
        return DaemonStatus(
            version: ProductVersion.text,
            startedAt: startedAt.description,
            root: paths.root,
            policy: policy.snapshot.status,
            authorizationPlugin: DaemonStatus.AuthorizationPlugin(
                socket: pluginSocket.path,
                requests: counts.allowed + counts.refused,
                allowed: counts.allowed,
                refused: counts.refused,
                lastRequestAt: counts.lastRequestAt?.description
            ),
            egressProxy: DaemonStatus.EgressProxy(),
            decisionLog: DaemonStatus.DecisionLog(path: paths.decisionLog, dropped: queue.dropped)
        )
    }
}

/// Why docker-ramd cannot go on.
struct DaemonFailure: Error, CustomStringConvertible {
    let description: String
}
