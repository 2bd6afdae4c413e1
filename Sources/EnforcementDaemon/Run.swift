import ArgumentParser
import Glibc
import LocalInstallation
import Logging

/// `docker-ramd run`.
struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve the authorization plugin, the egress proxy and the control socket until SIGTERM.",
        discussion: """
            Sockets are taken over from systemd where it hands them over, and opened otherwise. \
            SIGHUP reads the policy again at once; a change of the file is noticed without it.
            """
    )

    @Option(help: ArgumentHelp("Where all files lie. (default: DOCKER_RAM_ROOT, or /)", valueName: "directory"))
    var root: String?

    @Option(
        help: ArgumentHelp(
            "How much is said: trace, debug, info, notice, warning, error or critical.",
            valueName: "level"
        ),
        transform: level
    )
    var logLevel = Logger.Level.info

    func validate() throws {
        guard root?.hasPrefix("/") ?? true else { throw ValidationError("the root must be an absolute path") }
    }

    func run() async throws {
        let environment = ServiceEnvironment.take()
        // A write to somebody who has gone is an error of that write, not the end of the program.
        signal(SIGPIPE, SIG_IGN)
        Self.raiseOpenFileLimit()
        var logger = Logger(label: "docker-ramd") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = logLevel
        let paths = InstallationPaths(root: root ?? environment.root ?? "/")
        do {
            guard paths.root.hasPrefix("/") else {
                throw DaemonFailure(description: "the root must be an absolute path")
            }
            try await Self.serve(paths, environment, logger)
        } catch {
            logger.critical("cannot go on", metadata: ["error": "\(error)"])
            throw ExitCode.failure
        }
    }

    /// A tunnel takes two descriptors, and the usual soft limit is a thousand.
    private static func raiseOpenFileLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    private static func level(_ name: String) throws -> Logger.Level {
        guard let level = Logger.Level(rawValue: name) else {
            throw ValidationError("there is no log level \"\(name)\"")
        }
        return level
    }

    private static func serve(
        _ paths: InstallationPaths,
        _ environment: ServiceEnvironment,
        _ logger: Logger
    ) async throws {
        let settings = try DaemonSettings(paths)
        let lock = try DaemonLock(paths)
        defer { lock.release() }
        let handed = try HandedSockets(environment)
        // dockerd, which runs as root, and nobody else calls the plugin; everybody may ask for the status.
        let plugin = try handed.plugin ?? ListeningSocket.open(at: paths.pluginSocket, mode: 0o600)
        defer { plugin.removeFile() }
        let control = try handed.control ?? ListeningSocket.open(at: paths.controlSocket, mode: 0o666)
        defer { control.removeFile() }
        let proxy = Result { () throws(SocketFault) -> ListeningSocket in
            if let proxy = handed.proxy { return proxy }
            return try ListeningSocket.openTCP(at: settings.egressProxy.listen)
        }
        let daemon = EnforcementDaemon(
            paths: paths,
            settings: settings,
            pluginSocket: plugin,
            controlSocket: control,
            proxySocket: proxy,
            logger: logger,
            notifier: ServiceNotifier(socketPath: environment.notifySocket),
            watchdogInterval: environment.watchdogMicroseconds.map { .microseconds($0 / 2) }
        )
        try await Signals.whileDelivering { orders in
            try await daemon.run(orders: orders)
        }
    }
}
