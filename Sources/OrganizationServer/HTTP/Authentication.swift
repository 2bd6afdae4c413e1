import RegistryAccess
import HTTPTypes
import Hummingbird

/// Finds out who asks, by the bearer token (RFC 6750); cookies are no matter of the API.
struct Authentication: RouterMiddleware {
    let services: Services

    func handle(
        _ request: Request,
        context: ServerContext,
        next: @concurrent (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        if let header = request.headers[.authorization] {
            do {
                context.caller = try await caller(header)
            } catch let problem as Problem {
                try await services.limits.take(.wrongToken, context.address)
                throw problem
            }
        }
        return try await next(request, context)
    }

    private func caller(_ header: String) async throws -> Caller {
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { throw Problem.notSignedIn }
        guard let token = OpaqueToken(shown: String(parts[1])) else { throw Problem.notSignedIn }
        let now = services.now()
        let caller: Caller? =
            switch token.kind {
            case .access: try await services.store.person(inSessionShowing: token, at: now).map(Caller.person)
            case .personal: try await services.store.person(showing: token, at: now).map(Caller.person)
            case .device: try await services.store.device(showing: token)
            case .refresh, .enrollment, .deviceCode, .invitation, .passwordReset, .form, .browser, .setUp:
                nil
            }
        guard let caller else {
            throw token.kind == .device
                ? Problem(.unauthorized, .deviceUnknown, "this device is not known", hint: "register it again")
                : Problem.notSignedIn
        }
        return caller
    }
}
