import RegistryAccess
import GRDB
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// A request that was answered, as far as that is counted and logged.
struct Answered: Sendable {
    /// What the log calls it.
    let id: String
    let method: HTTPRequest.Method
    /// The pattern of its route; `nil` if no route took it.
    let route: String?
    let status: HTTPResponse.Status
    let address: String
    /// Who asked, if somebody is known by it.
    let person: String?
}

/// Stands before every route: makes a problem of every error, sets the header fields that every answer has, and logs.
///
/// What is logged of a request is its method, the pattern of its route, the status, and who asked: neither its path nor its
/// query nor its fields, where secrets are.
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
        // The router's number of the request, which is in the logger that it made; there is none in one that keeps nothing.
        context.number = context.logger[metadataKey: "hb.request.id"]?.description ?? RequestID().description
        var response: Response
        do {
            // What is damaged is not written to; it is read as far as that goes.
            if let damage = services.health.damage, request.method != .get, request.method != .head {
                throw StorageFault.damaged(damage).problem
            }
            response = try await next(request, context)
        } catch let refusal as GrantRefusal {
            response = refusal.response(from: request, context: context)
        } catch {
            response = try problem(of: error, context).response(from: request, context: context)
        }
        Self.addHeaders(to: &response, isSecure: services.settings.publicAddress.isSecure)
        if let name = HTTPField.Name("X-Request-Id") { response.headers[name] = context.number }
        Self.note(
            Answered(
                id: context.number,
                method: request.method,
                route: context.route,
                status: response.status,
                address: context.address,
                person: context.asker.name
            ),
            since: start,
            services.metrics,
            context.logger
        )
        return response
    }

    /// Counts and logs what was answered; what machines ask all the time is logged for who looks for a fault.
    ///
    /// - Parameters:
    ///   - answered: what was to be done, and how it went.
    ///   - start: when.
    ///   - metrics: where it is counted.
    ///   - logger: where it is logged.
    static func note(
        _ answered: Answered,
        since start: ContinuousClock.Instant,
        _ metrics: Metrics,
        _ logger: Logger
    ) {
        let duration = ContinuousClock.now - start
        let method = answered.method.rawValue
        metrics.answered(method, answered.route, answered.status.code, seconds: duration / .seconds(1))
        let isPoll = answered.route.map { $0.hasSuffix("/changes") || $0.contains("/documents/") } ?? false
        let level: Logger.Level = isPoll && answered.status.code < 500 ? .debug : .info
        guard logger.logLevel <= level else { return }
        logger.log(
            level: level,
            "answered",
            metadata: [
                "request": "\(answered.id)", "method": "\(Metrics.method(method))",
                "route": "\(answered.route ?? "none")", "status": "\(answered.status.code)",
                "address": "\(answered.address)", "person": "\(answered.person ?? "-")",
                "milliseconds": "\(duration / .milliseconds(1))",
            ]
        )
    }

    /// What is said of an error.
    ///
    /// - Parameters:
    ///   - error: the error; one that nobody foresaw is logged.
    ///   - context: where it came up.
    /// - Returns: the problem.
    func problem(of error: any Error, _ context: ServerContext) -> Problem {
        switch error {
        case var problem as Problem:
            if problem.status.code >= 500 {
                problem.members.append(JSONMember("request", .string(context.number)))
            }
            return problem
        case let error as DatabaseError where StorageFault(error) != nil:
            return problem(of: StorageFault(error) ?? .busy, error, context)
        case let error as any HTTPResponseError:
            switch error.status {
            case .notFound: return Problem(.notFound, .notFound, "there is nothing here")
            case .contentTooLarge: return Problem(.contentTooLarge, .tooLarge, "the body is too long")
            default: return Problem(error.status, .badRequest, "the request is not in order")
            }
        default:
            context.logger.error("cannot answer", metadata: ["request": "\(context.number)", "error": "\(error)"])
            var problem = Problem(
                .internalServerError,
                .internalFault,
                "something went wrong on the server",
                hint: "its log says what; look for \"\(context.number)\""
            )
            problem.members = [JSONMember("request", .string(context.number))]
            return problem
        }
    }

    private func problem(of fault: StorageFault, _ error: DatabaseError, _ context: ServerContext) -> Problem {
        if case .damaged(let words) = fault, services.health.note(words) {
            context.logger.critical(
                "THE DATABASE IS DAMAGED; nothing is written any more; stop the server and restore a copy"
            )
        }
        context.logger.error("cannot use the database", metadata: ["error": "\(error)"])
        return fault.problem
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
