import Hummingbird
import Logging
import RegistryAccess
import SignedPolicy

/// What the parts of the server share.
struct Services: Sendable {
    /// The database.
    let store: Store
    /// The time.
    let now: @Sendable () -> Instant
}

/// The routes of the server with everything that stands before them.
func makeRouter(_ services: Services) -> Router<ServerContext> {
    let router = Router(context: ServerContext.self)
    router.get("healthz") { _, _ in "ok\n" }
    router.add(middleware: Authentication(services: services))
    return router
}
