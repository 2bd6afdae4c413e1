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
        let path = request.uri.path.split(separator: "/")
        let acceptsPage = request.headers[values: .accept].contains { $0.lowercased().contains("text/html") }
        guard acceptsPage, path.first != "v1", path.first != "v2" else { return try await next(request, context) }
        let organization = path.first == "organizations" && path.count > 1 ? String(path[1]) : nil
        guard let browser = try await dashboard.session(of: request) else {
            // Which pages of an organization there are is nobody's business who is not signed in.
            if organization != nil { return dashboard.signIn(for: request) }
            return dashboard.html("missing", ["title": Dashboard.title(of: .notFound)], .notFound, request)
        }
        var visit = Dashboard.Visit(request: request, context: context, browser: browser, organization: "")
        if let organization, browser.person.role(in: organization) != nil {
            visit = Dashboard.Visit(request: request, context: context, browser: browser, organization: organization)
        }
        let problem = Problem(.notFound, .notFound, "there is no page here", hint: "the address may be mistyped")
        return try await dashboard.page(Dashboard.page(about: problem), for: visit)
    }
}
