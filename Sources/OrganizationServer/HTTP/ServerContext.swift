import Hummingbird

/// What the server knows of a request while it answers it.
struct ServerContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// Who asks, once that has been looked at.
    var caller: Caller?

    /// No body but a policy may be longer, and that is read by its own route.
    var maxUploadSize: Int { 1 << 20 }

    init(source: Source) {
        coreContext = .init(source: source)
    }
}

/// Who asks.
struct Caller: Hashable, Sendable {
    /// The user's name, or the access token's as `token:NAME`.
    let name: String
    /// The role in each organization.
    let roles: [String: Role]
    /// What an access token is limited to; `nil` is everything that the role may do.
    let scopes: Set<String>?
}
