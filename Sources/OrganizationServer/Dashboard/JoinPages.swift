import HTTPTypes
import Hummingbird
import RegistryAccess

/// The page behind an invitation's link.
///
/// Whoever is signed in joins as who they are; everybody else takes a name and a password, or gives those that they have.
struct JoinPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }
    private var signIn: SignInPages { SignInPages(dashboard: dashboard) }

    /// An invitation that somebody shows.
    private struct Shown {
        let secret: String
        let invitation: Invitation
    }

    func show(_ request: Request, _ context: ServerContext) async throws -> Response {
        guard let text = try request.queryValue("invitation").map(Self.trimmed), !text.isEmpty else {
            return try await page(request, nil)
        }
        do {
            let invitation = try await services.invitation(text, context.address).invitation
            return try await page(request, Shown(secret: text, invitation: invitation))
        } catch let problem as Problem where problem.status.code < 500 {
            return try await page(request, nil, problem)
        }
    }

    func join(_ request: Request, _ context: ServerContext) async throws -> Response {
        var shown: Shown?
        var fields: [String: String] = [:]
        do {
            let browser = try await viewer(request)
            guard request.isFromPage(of: services.settings.publicAddress) else { throw Problem.foreignForm }
            fields = try await request.readForm(context)
            guard let expected = browser?.formToken ?? signIn.browser(of: request).map(BrowserSession.formToken),
                fields["form"] == expected
            else { throw Problem.foreignForm }
            let secret = Self.trimmed(fields["invitation"] ?? "")
            let (token, invitation) = try await services.invitation(secret, context.address)
            shown = Shown(secret: secret, invitation: invitation)
            let name = browser?.person.name ?? Names.typed(fields["name"]) ?? ""
            var newPassword: PasswordHash?
            if browser == nil { newPassword = try await hash(name, fields, invitation, context) }
            let joined = try await services.join(by: token, as: name, newPassword)
            let address = "/organizations/\(joined.organization)"
            let message = "Welcome, \(name). You belong to \(joined.organization) now, as \(joined.role.rawValue)."
            guard browser == nil else { return dashboard.see(address, message: message) }
            return try await signIn.begin(name, to: address, message: message, request, context)
        } catch let problem as Problem where problem.status.code < 500 {
            return try await page(request, shown, problem, name: fields["name"] ?? "")
        }
    }

    /// Whoever is signed in, for all of their organizations.
    private func viewer(_ request: Request) async throws -> BrowserSession? {
        guard let browser = try await dashboard.session(of: request), browser.person.onlyOrganization == nil else {
            return nil
        }
        return browser
    }

    /// The hash of the password of somebody who is new; `nil` for somebody who is not, and has shown it.
    private func hash(
        _ name: String,
        _ fields: [String: String],
        _ invitation: Invitation,
        _ context: ServerContext
    ) async throws -> PasswordHash? {
        let password = fields["password"] ?? ""
        // Nobody could send them another one.
        if try await services.store.account(named: name) == nil, fields["repeated"] != password {
            throw Problem(.badRequest, .badRequest, "the two passwords are not the same; nothing was done")
        }
        return try await services.newPassword(name, Password(password), in: invitation.organization, context.address)
    }

    private static func trimmed(_ text: String) -> String { String(text.filter { !$0.isWhitespace }) }

    private func page(
        _ request: Request,
        _ shown: Shown?,
        _ problem: Problem? = nil,
        name: String = ""
    ) async throws -> Response {
        let viewer = try await viewer(request)
        let browser = signIn.browser(of: request) ?? OpaqueToken(.form)
        var content: [String: Any] = [
            "title": "Join", "name": name, "form": viewer?.formToken ?? BrowserSession.formToken(browser),
            "server": services.settings.publicAddress.description,
        ]
        content["viewer"] = viewer?.person.name
        if let problem {
            content["fault"] = Dashboard.sentence(problem.detail)
            content["faultHint"] = problem.hint.map(Dashboard.sentence)
        }
        if let shown {
            let organization = shown.invitation.organization
            var invitation: [String: Any] = [
                "secret": shown.secret, "organization": organization, "role": shown.invitation.role.rawValue,
                "inviter": shown.invitation.inviter, "expires": shown.invitation.expires.description,
            ]
            if viewer == nil, try await services.store.singleSignOn(of: organization) != nil {
                invitation["provider"] = "/single-sign-on/\(organization)"
            }
            if let viewer, viewer.person.roles[organization] != nil {
                invitation["isMember"] = true
                invitation["address"] = "/organizations/\(organization)"
            }
            content["invitation"] = invitation
        }
        var response = dashboard.html("join", content, problem?.status ?? .ok, request)
        response.headers.append(contentsOf: problem?.headers ?? [:])
        if viewer == nil {
            response.headers.append(
                HTTPField(name: .setCookie, value: dashboard.cookie("form", browser.secret, "; Max-Age=3600"))
            )
        }
        return response
    }
}
