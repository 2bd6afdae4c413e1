import RegistryAccess
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// Stands before every route: makes a problem of every error, sets the header fields that every answer has, and logs.
///
/// What is logged of a request is its method, the pattern of its route and the status: neither its query nor its fields,
/// where secrets are.
struct Answers: RouterMiddleware {
    let services: Services

    func handle(
        _ request: Request,
        context: ServerContext,
        next: @concurrent (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        if services.settings.isBehindProxy, let address = ClientAddress.forwarded(request.headers) {
            context.address = address
        }
        let start = ContinuousClock.now
        var response: Response
        do {
            response = try await next(request, context)
        } catch let refusal as GrantRefusal {
            response = refusal.response(from: request, context: context)
        } catch {
            response = try problem(of: error, context).response(from: request, context: context)
        }
        Self.addHeaders(to: &response, isSecure: services.settings.publicAddress.isSecure)
        Self.note(
            method: request.method,
            route: context.endpointPath ?? "none",
            status: response.status,
            address: context.address,
            since: start,
            context.logger
        )
        return response
    }

    /// Logs that something was answered; what machines ask all the time is for who looks for a fault.
    ///
    /// - Parameters:
    ///   - method: what was to be done.
    ///   - route: the pattern of the route.
    ///   - status: how it went.
    ///   - address: who asked.
    ///   - start: when.
    ///   - logger: where it is logged.
    static func note(
        method: HTTPRequest.Method,
        route: String,
        status: HTTPResponse.Status,
        address: String,
        since start: ContinuousClock.Instant,
        _ logger: Logger
    ) {
        let isPoll = route.hasSuffix("/changes") || route.contains("/documents/")
        let level: Logger.Level = isPoll && status.code < 500 ? .debug : .info
        guard logger.logLevel <= level else { return }
        let duration = ContinuousClock.now - start
        logger.log(
            level: level,
            "answered",
            metadata: [
                "method": "\(method.rawValue)", "route": "\(route)", "status": "\(status.code)",
                "address": "\(address)", "milliseconds": "\(duration / .milliseconds(1))",
            ]
        )
    }

    private func problem(of error: any Error, _ context: ServerContext) -> Problem {
        switch error {
        case let problem as Problem: return problem
        case let error as any HTTPResponseError:
            switch error.status {
            case .notFound: return Problem(.notFound, .notFound, "there is nothing here")
            case .contentTooLarge: return Problem(.contentTooLarge, .tooLarge, "the body is too long")
            default: return Problem(error.status, .badRequest, "the request is not in order")
            }
        default:
            context.logger.error("cannot answer", metadata: ["error": "\(error)"])
            return Problem(
                .internalServerError,
                .internalFault,
                "something went wrong on the server",
                hint: "its log says what; look for \"\(context.id)\""
            )
        }
    }

    /// The fields of facts about browsers; a route that needs another value has set it already.
    ///
    /// - Parameters:
    ///   - response: the answer.
    ///   - isSecure: whether browsers come over TLS.
    static func addHeaders(to response: inout Response, isSecure: Bool) {
        for field in isSecure ? secureFields : fields where !response.headers.contains(field.name) {
            response.headers.append(field)
        }
    }

    /// What ``addHeaders(to:isSecure:)`` adds to an answer that says itself how it may be cached.
    ///
    /// - Parameter isSecure: whether browsers come over TLS.
    /// - Returns: the fields.
    static func headers(isSecure: Bool) -> HTTPFields { isSecure ? secureHeaders : plainHeaders }

    private static let plainHeaders = HTTPFields(fields.filter { $0.name != .cacheControl })
    private static let secureHeaders = HTTPFields(secureFields.filter { $0.name != .cacheControl })

    private static let fields = fields([
        ("Content-Security-Policy", contentSecurityPolicy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
        ("Cache-Control", "no-store"),
    ])

    private static let secureFields = fields + fields([("Strict-Transport-Security", "max-age=31536000")])

    private static func fields(_ pairs: [(name: String, value: String)]) -> [HTTPField] {
        pairs.compactMap { pair in HTTPField.Name(pair.name).map { HTTPField(name: $0, value: pair.value) } }
    }

    static let contentSecurityPolicy = [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
        "form-action 'self'", "base-uri 'none'", "object-src 'none'", "frame-ancestors 'none'",
    ].joined(separator: "; ")
}
