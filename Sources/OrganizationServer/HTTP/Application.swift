import GRDB
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOSSL
import RegistryAccess
import SignedPolicy

/// What the parts of the server share.
struct Services: Sendable {
    /// The database.
    let store: Store
    /// What the server's file and command line say.
    let settings: ServerSettings
    /// Whether the database is damaged.
    let health = StorageHealth()
    /// The time.
    let now: @Sendable () -> Instant
    /// Who waits for changes.
    let changes: ChangeFeed
    /// When devices were heard of.
    let lastSeen = LastSeen()
    /// Devices that wait for changes.
    let waiting: WaitingDevices
    /// Hashes of passwords.
    let passwords: Passwords
    /// How often things may be tried.
    let limits: RateLimits
    /// What is counted while the server works.
    let metrics: Metrics
    /// What makes and serves signed documents.
    let publisher: Publisher
    /// Where the server's files are, for `serve`; tests may do without.
    var data: DataDirectory?
    /// Makes the first organization in a browser, as long as there is none.
    var setUp: FirstSetUp?
    /// The providers that organizations sign in at.
    var providers: Providers
    /// Signs a ticket with the key of its organization.
    var signTicket: @Sendable (TicketDocument) async throws -> Envelope

    /// Services around a database.
    ///
    /// - Parameters:
    ///   - store: the database.
    ///   - settings: what the server's file and command line say.
    ///   - keys: what signs documents.
    ///   - passwords: hashes of passwords.
    ///   - now: the time.
    init(
        store: Store,
        settings: ServerSettings,
        keys: SigningKeys,
        passwords: Passwords? = nil,
        now: @escaping @Sendable () -> Instant
    ) {
        self.store = store
        self.settings = settings
        self.passwords = passwords ?? Passwords(cost: settings.passwordCost)
        self.now = now
        changes = ChangeFeed()
        metrics = Metrics()
        limits = RateLimits(now: now, metrics: metrics)
        providers = Providers(now: now)
        publisher = Publisher(
            store: store,
            keys: keys,
            changes: changes,
            serverAddress: settings.publicAddress.registryAddress,
            metrics: metrics,
            now: now
        )
        waiting = WaitingDevices(store, publisher.served, changes, lastSeen, now: now)
        store.database.add(transactionObserver: CommitTimes(metrics), extent: .databaseLifetime)
        signTicket = { [publisher] ticket in try await publisher.sign(ticket) }
    }
}

/// What makes the connections of the server.
///
/// - Parameters:
///   - services: what the parts of the server share.
///   - tls: its certificate and key; `nil` if it does without TLS.
/// - Returns: the builder.
/// - Throws: if the certificate and the key are of no use.
func makeServer(_ services: Services, tls: TLSConfiguration? = nil) throws -> HTTPServerBuilder {
    let configuration = HTTP1Channel.Configuration(
        idleTimeout: .seconds(75),
        httpDecoderConfiguration: .init(
            maxHeaderFieldSize: 16 << 10,
            maxHeaderListSize: 32 << 10,
            maxHeaderFieldCount: 100
        )
    )
    // Tried here, where a fault can be told well.
    if let tls { _ = try NIOSSLContext(configuration: tls) }
    return HTTPServerBuilder { responder in
        let http = HTTP1Channel(responder: responder, configuration: configuration)
        let channel = MachineChannel(base: http, services: services)
        guard let tls else { return channel }
        return try TLSChannel(channel, tlsConfiguration: tls)
    }
}

/// The routes of the server with everything that stands before them.
func makeRouter(_ services: Services) -> Router<ServerContext> {
    let router = Router(context: ServerContext.self, options: .autoGenerateHeadEndpoints)
    router.add(middleware: Answers(services: services))
    router.get("healthz") { _, _ in "ok\n" }
    router.get("readyz") { _, context in try await readiness(services, context) }
    router.addRegistryCheck(services)
    router.add(middleware: Authentication(services: services))
    router.addMetricsRoute(services)
    router.addDescriptionRoute()
    router.addSignInRoutes(services)
    router.addActivationRoutes(services)
    router.addSingleSignOnRoutes(services)
    router.addAccountRoutes(services)
    router.addDocumentRoutes(services)
    router.addKeyRoutes(services)
    router.addPolicyRoutes(services)
    router.addDeviceRoutes(services)
    router.addReportRoutes(services)
    router.addRequestRoutes(services)
    router.addOrganizationRoutes(services)
    router.addDockerRoutes(services)
    router.addDashboardRoutes(services)
    return router
}

/// Whether the server can do its work: 503 tells a proxy to ask another, or to wait.
private func readiness(_ services: Services, _ context: ServerContext) async throws -> String {
    if let damage = services.health.damage { throw StorageFault.damaged(damage).problem }
    do {
        guard try await services.store.hasOrganization() else {
            throw Problem(
                .serviceUnavailable,
                .busy,
                "there is no organization yet",
                hint: "set the server up at the address that \"serve\" has printed"
            )
        }
        return "ready\n"
    } catch let problem as Problem {
        throw problem
    } catch let error as DatabaseError where StorageFault(error) != nil {
        throw error
    } catch {
        context.logger.error("cannot read the database", metadata: ["error": "\(error)"])
        throw Problem.notReady
    }
}

extension Problem {
    fileprivate static var notReady: Problem { Problem(.serviceUnavailable, .busy, "the database cannot be read") }
}
