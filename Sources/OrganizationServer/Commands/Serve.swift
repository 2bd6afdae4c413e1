import RegistryAccess
import ArgumentParser
import Foundation
import Glibc
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOCore
import NIOSSL
import ServiceLifecycle
import SignedPolicy
import UnixSignals

extension LogFormat: ExpressibleByArgument {}

/// `docker-ram-server serve`.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve until SIGTERM.",
        discussion: """
            Either the server does TLS itself, or a proxy before it does. Without both it listens on loopback only, \
            for a trial on one machine.

            On a directory that is not there or empty, --public-url begins a server: it prints the address of a page that \
            makes the organization, its owner and its keys, as init does.
            """
    )

    @OptionGroup var data: DataOption

    @Option(help: ArgumentHelp("Where to listen. (default: as in server.json)", valueName: "host:port"))
    var listen: String?

    @Option(help: ArgumentHelp("The certificate chain, PEM.", valueName: "file"))
    var tlsCertificate: String?

    @Option(help: ArgumentHelp("The certificate's private key, PEM.", valueName: "file"))
    var tlsKey: String?

    @Option(
        name: .customLong("public-url"),
        help: ArgumentHelp(
            "Where browsers and machines reach a new server: https://ram.acme.test. (default: as in server.json)",
            valueName: "url"
        )
    )
    var publicURL: String?

    @Flag(help: "A proxy does TLS and names the client in X-Forwarded-For; nobody else may reach the address.")
    var behindProxy = false

    @Option(
        help: ArgumentHelp(
            "How much is said: trace, debug, info, notice, warning, error or critical.",
            valueName: "level"
        ),
        transform: { name in
            guard let level = Logger.Level(rawValue: name) else {
                throw ValidationError("there is no log level \"\(name)\"")
            }
            return level
        }
    )
    var logLevel = Logger.Level.info

    @Option(
        help: ArgumentHelp("How the log is written: text, or json with an object on each line.", valueName: "format")
    )
    var logFormat = LogFormat.text

    func validate() throws {
        guard (tlsCertificate == nil) == (tlsKey == nil) else {
            throw ValidationError("--tls-certificate and --tls-key go together")
        }
        guard !behindProxy || tlsCertificate == nil else {
            throw ValidationError("--behind-proxy and --tls-certificate exclude each other")
        }
        guard publicURL.map({ PublicAddress($0) != nil }) ?? true else {
            throw ValidationError(
                "\"\(publicURL ?? "")\" is no address like \"https://ram.acme.test:8443\" (http:// only for this machine)"
            )
        }
        if let listen {
            guard let address = PublicAddress.hostAndPort(listen), address.port != nil else {
                throw ValidationError("\"\(listen)\" is no address like \"0.0.0.0:8443\"")
            }
        }
    }

    func run() async throws {
        try await reporting {
            signal(SIGPIPE, SIG_IGN)
            let mostConnections = Self.mostConnections()
            var logger = Logger(label: "docker-ram-server") { label in
                switch logFormat {
                case .text: StreamLogHandler.standardError(label: label)
                case .json: JSONLog()
                }
            }
            logger.logLevel = logLevel
            let directory = data.directory
            let settings = try takeDirectory()
            var services = Services(
                store: try Store(of: directory, mayBeNew: true),
                settings: settings,
                keys: SigningKeys(directory: directory.keys),
                now: { .now }
            )
            services.data = directory
            if try await !services.store.hasOrganization() { services.setUp = FirstSetUp(data: directory) }
            let machines = try await services.store.deviceCount()
            if machines > mostConnections {
                logger.warning(
                    "not all machines can be connected at the same time; raise the limit of open files (LimitNOFILE)",
                    metadata: ["machines": "\(machines)", "connections": "\(mostConnections)"]
                )
            }
            // Services end in the reverse order: whoever waits for a change is let go first, or the server would wait for
            // them.
            let group = ServiceGroup(
                configuration: .init(
                    services: [
                        Forgetting(services: services, logger: logger),
                        Inspection(
                            services: services,
                            isNeeded: try directory.databaseSize() > Store.longestLook,
                            logger: logger
                        ),
                        KeepLastSeen(services: services, logger: logger),
                        WatchOthers(services: services),
                        Renewal(
                            renewal: FreshnessRenewal(
                                publisher: services.publisher,
                                clock: .continuous,
                                logger: logger
                            )
                        ),
                        EndRequests(
                            ends: RequestEnds(services: services, clock: .continuous, logger: logger)
                        ),
                        try application(services, mostConnections, logger),
                        LetGo(changes: services.changes),
                    ],
                    gracefulShutdownSignals: [.sigterm, .sigint],
                    logger: logger
                )
            )
            do {
                try await group.run()
            } catch let error as IOError where Self.addressFaults.contains(error.errnoCode) {
                throw cannotListen(at: listen ?? settings.listen, error)
            }
            logger.notice("stopped")
        }
    }

    /// Takes the directory, or begins a server in one where there is none; no other process works in it from now on.
    private func takeDirectory() throws -> ServerSettings {
        let directory = data.directory
        let wanted = publicURL.flatMap { PublicAddress($0) }
        let isNew = wanted != nil && directory.isUnused
        if isNew { try directory.create() } else { try directory.check() }
        try directory.takeLock()
        if isNew, let wanted { try directory.begin(ServerSettings(publicAddress: wanted)) }
        var settings = try directory.readSettings()
        if let wanted, wanted != settings.publicAddress {
            throw DataDirectory.Fault(
                description: "the server in \"\(directory.path)\" is at \(settings.publicAddress); "
                    + "leave --public-url out, or change \"publicURL\" in \(directory.settings)"
            )
        }
        settings.isBehindProxy = behindProxy
        return settings
    }

    /// The server, ready to run.
    private func application(_ services: Services, _ mostConnections: Int, _ logger: Logger) throws
        -> some ApplicationProtocol
    {
        let settings = services.settings
        guard let (host, port) = PublicAddress.hostAndPort(listen ?? settings.listen), let port else {
            throw DataDirectory.Fault(description: "\"\(listen ?? settings.listen)\" is no address to listen at")
        }
        guard behindProxy || tlsCertificate != nil || PublicAddress.isLoopback(host) else {
            throw DataDirectory.Fault(
                description: "passwords would cross the network in the clear; "
                    + "give --tls-certificate and --tls-key, or --behind-proxy"
            )
        }
        return Application(
            router: makeRouter(services),
            server: try server(services),
            configuration: ApplicationConfiguration(
                address: .hostname(host, port: port),
                backlog: 4096,
                availableConnectionsDelegate: MaximumAvailableConnections(mostConnections, logger: logger)
            ),
            onServerRunning: { channel in
                logger.notice(
                    "listening",
                    metadata: [
                        "address": "\(channel.localAddress?.description ?? "?")",
                        "url": "\(settings.publicAddress)",
                    ]
                )
                guard let setUp = services.setUp else { return }
                logger.notice("there is no organization yet; make it at the address on standard output")
                // Not by the log, which is kept and sent elsewhere.
                FileHandle.standardOutput.write(
                    Data("set the server up at \(setUp.address(at: settings.publicAddress))\n".utf8)
                )
            },
            logger: logger
        )
    }

    /// What the system says of an address that cannot be listened at.
    private static let addressFaults = [EADDRINUSE, EADDRNOTAVAIL, EACCES]

    private func cannotListen(at address: String, _ error: IOError) -> DataDirectory.Fault {
        let reason = String(cString: strerror(error.errnoCode)).lowercased()
        let needsCapability = error.errnoCode == EACCES
        return DataDirectory.Fault(
            description: "cannot listen at \(address): \(reason)"
                + (needsCapability ? "; ports below 1024 need the capability CAP_NET_BIND_SERVICE" : "")
        )
    }

    private func server(_ services: Services) throws -> HTTPServerBuilder {
        guard let tlsCertificate, let tlsKey else { return try makeServer(services) }
        for file in [tlsCertificate, tlsKey] where access(file, R_OK) != 0 {
            let reason = String(cString: strerror(errno)).lowercased()
            throw DataDirectory.Fault(description: "cannot read \"\(file)\": \(reason)")
        }
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(tlsCertificate)
            let key = try NIOSSLPrivateKey(file: tlsKey, format: .pem)
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) },
                privateKey: .privateKey(key)
            )
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = ["http/1.1"]
            return try makeServer(services, tls: configuration)
        } catch {
            throw DataDirectory.Fault(
                description: "cannot use \"\(tlsCertificate)\" with \"\(tlsKey)\": \(error); both are PEM files"
            )
        }
    }

    /// Raises the limit of open files as far as it goes: each connected machine holds a connection.
    ///
    /// - Returns: how many connections that allows; what is left over is for the database and its log.
    private static func mostConnections() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 896 }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return max(16, Int(min(limit.rlim_cur, 1 << 20)) - 128)
    }
}

/// Renews freshness documents as long as the server runs.
private struct Renewal: Service {
    let renewal: FreshnessRenewal

    func run() async throws {
        await cancelWhenGracefulShutdown { await renewal.run() }
    }
}

/// Ends what was allowed until a date as long as the server runs.
private struct EndRequests: Service {
    let ends: RequestEnds

    func run() async throws {
        await cancelWhenGracefulShutdown { await ends.run() }
    }
}

/// Writes down every minute, and when the server stops, when devices were heard of.
private struct KeepLastSeen: Service {
    let services: Services
    let logger: Logger

    func run() async throws {
        var goesOn = true
        while goesOn {
            // It ends with the shutdown, which is no fault.
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(60)) }
            // Nothing can be written any more where another service failed.
            if Task.isCancelled { return }
            goesOn = !Task.isShuttingDownGracefully
            do {
                try await services.lastSeen.write(to: services.store)
            } catch {
                logger.error("cannot write when devices were heard of", metadata: ["error": "\(error)"])
            }
        }
    }
}

/// Looks every second whether another process has written something.
private struct WatchOthers: Service {
    let services: Services

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var others = OtherProcesses(services: services)
            while !Task.isCancelled {
                // Whoever works with the database says what is wrong with it.
                _ = try? await others.look()
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }
}

/// Forgets what is over.
private struct Forgetting: Service {
    let services: Services
    let logger: Logger

    func run() async throws {
        var housekeeping = Housekeeping(services: services, logger: logger)
        // Another service that fails, as where the address is taken, cancels this one and does not shut it down.
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            await housekeeping.look(at: .now)
            // It ends with the shutdown, which is no fault.
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(3600)) }
        }
    }
}

/// Looks a database through that was too long for that at the start.
private struct Inspection: Service {
    let services: Services
    let isNeeded: Bool
    let logger: Logger

    func run() async throws {
        if isNeeded { await look() }
        // A service that ends ends the server.
        try await gracefulShutdown()
    }

    private func look() async {
        do {
            let start = ContinuousClock.now
            let damage = try await services.store.damage()
            let seconds = (ContinuousClock.now - start).components.seconds
            guard let damage else {
                return logger.notice("the database is sound", metadata: ["seconds": "\(seconds)"])
            }
            services.health.note(damage)
            logger.critical(
                "THE DATABASE IS DAMAGED; nothing is written any more; stop the server and restore a copy",
                metadata: ["damage": "\(damage)"]
            )
        } catch {
            logger.error("cannot look the database through", metadata: ["error": "\(error)"])
        }
    }
}

/// Lets those who wait for a change go when the server stops.
struct LetGo: Service {
    let changes: ChangeFeed

    func run() async throws {
        try await gracefulShutdown()
        await changes.finish()
    }
}
