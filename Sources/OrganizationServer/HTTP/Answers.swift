import RegistryAccess
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

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
        let number = context.logger[metadataKey: "hb.request.id"]?.description ?? RequestID().description
        var response: Response
        do {
            response = try await next(request, context)
        } catch let refusal as GrantRefusal {
            response = refusal.response(from: request, context: context)
        } catch {
            response = try problem(of: error, number, context).response(from: request, context: context)
        }
        addHeaders(to: &response)
        if let name = HTTPField.Name("X-Request-Id") { response.headers[name] = number }
        let duration = ContinuousClock.now - start
        services.metrics.answered(
            request.method.rawValue,
            context.route,
            response.status.code,
            seconds: duration / .seconds(1)
        )
        context.logger.info(
            "answered",
            metadata: [
                "request": "\(number)", "method": "\(Metrics.method(request.method.rawValue))",
                "route": "\(context.route ?? "none")", "status": "\(response.status.code)",
                "address": "\(context.address)", "person": "\(context.asker.name ?? "-")",
                "milliseconds": "\(duration / .milliseconds(1))",
            ]
        )
        return response
    }

    private func problem(of error: any Error, _ number: String, _ context: ServerContext) -> Problem {
        switch error {
        case var problem as Problem:
            if problem.status.code >= 500 {
                problem.members.append(JSONMember("request", .string(number)))
            }
            return problem
        case let error as any HTTPResponseError:
            switch error.status {
            case .notFound: return Problem(.notFound, .notFound, "there is nothing here")
            case .contentTooLarge: return Problem(.contentTooLarge, .tooLarge, "the body is too long")
            default: return Problem(error.status, .badRequest, "the request is not in order")
            }
        default:
            context.logger.error("cannot answer", metadata: ["request": "\(number)", "error": "\(error)"])
            var problem = Problem(
                .internalServerError,
                .internalFault,
                "something went wrong on the server",
                hint: "its log says what; look for \"\(number)\""
            )
            problem.members = [JSONMember("request", .string(number))]
            return problem
        }
    }

    /// The fields of facts about browsers; a route that needs another value has set it already.
    private func addHeaders(to response: inout Response) {
        var fields = [
            ("Content-Security-Policy", Self.contentSecurityPolicy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
            ("Cache-Control", "no-store"),
        ]
        if services.settings.publicAddress.isSecure {
            fields.append(("Strict-Transport-Security", "max-age=31536000"))
        }
        for (name, value) in fields {
            guard let name = HTTPField.Name(name), response.headers[name] == nil else { continue }
            response.headers[name] = value
        }
    }

    static let contentSecurityPolicy = [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
        "form-action 'self'", "base-uri 'none'", "object-src 'none'", "frame-ancestors 'none'",
    ].joined(separator: "; ")
}
