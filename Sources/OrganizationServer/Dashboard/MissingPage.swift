import HTTPTypes
import Hummingbird
import RegistryAccess

/// Stands behind all routes, and shows a browser a page where there is none.
///
/// Programs get the problem as JSON, and so does everybody below `/v1` and `/v2`, where there are no pages.
struct MissingPage: RouterMiddleware {
    let dashboard: Dashboard

    func handle(
        _ request: Request,
        context: ServerContext,
        next: @concurrent (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        let first = request.uri.path.split(separator: "/").first
        guard request.acceptsPage, first != "v1", first != "v2" else { return try await next(request, context) }
        return try await dashboard.missing(request, context)
    }
}

extension Dashboard {
    /// The page where there is none.
    func missing(_ request: Request, _ context: ServerContext) async throws -> Response {
        let path = request.uri.path.split(separator: "/")
        let organization = path.first == "organizations" && path.count > 1 ? String(path[1]) : nil
        guard let browser = try await session(of: request) else {
            // Which pages of an organization there are is nobody's business who is not signed in.
            if organization != nil { return signIn(for: request) }
            return html("missing", ["title": Self.title(of: .notFound)], .notFound, request)
        }
        var visit = Visit(request: request, context: context, browser: browser, organization: "")
        if let organization, browser.person.role(in: organization) != nil {
            visit = Visit(request: request, context: context, browser: browser, organization: organization)
        }
        let problem = Problem(.notFound, .notFound, "there is no page here", hint: "the address may be mistyped")
        return try await page(Self.page(about: problem), for: visit)
    }
}

extension Request {
    /// Whether a browser asks, and no program.
    var acceptsPage: Bool { headers[values: .accept].contains { $0.lowercased().contains("text/html") } }
}
