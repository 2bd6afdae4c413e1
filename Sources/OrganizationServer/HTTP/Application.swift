import Hummingbird
import Logging
import SignedPolicy

/// What the parts of the server share.
struct Services: Sendable {
    /// The database.
    let store: Store
    /// The time.
    let now: @Sendable () -> Instant
    /// Who waits for changes.
    let changes: ChangeFeed
    /// What makes and serves signed documents.
    let publisher: Publisher
    /// The state of a device's session, as the store knows it.
    var sessionState: @Sendable (_ device: String, _ organization: String) async throws -> SessionState
}

/// The routes of the server with everything that stands before them.
func makeRouter(_ services: Services) -> Router<ServerContext> {
    let router = Router(context: ServerContext.self)
    router.get("healthz") { _, _ in "ok\n" }
    router.add(middleware: Authentication(services: services))
    router.addDocumentRoutes(services)
    router.addKeyRoutes(services)
    router.addPolicyRoutes(services)
    router.addDeviceRoutes(services)
    router.addReportRoutes(services)
    router.addOrganizationRoutes(services)
    router.addDockerRoutes(services)
    return router
}
