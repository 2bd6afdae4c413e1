import HTTPTypes
import Hummingbird
import RegistryAccess

extension Router<ServerContext> {
    /// A way out for whoever has forgotten a password: an owner makes a link, and the person sets a new one on its page.
    func addPasswordResetPages(_ dashboard: Dashboard) {
        let pages = PasswordResetPages(dashboard: dashboard)
        dashboard.get(self, "members/:user/password-reset", .manageMembers) { try await pages.ask($0) }
        dashboard.post(self, "members/:user/password-reset", .manageMembers) { try await pages.make($0) }
        get("new-password") { request, context in try await pages.show(request, context) }
        post("new-password") { request, context in try await pages.set(request, context) }
    }
}

struct PasswordResetPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    // MARK: - The owner's side

    private func question(_ user: String, _ visit: Dashboard.Visit, fault: String? = nil) -> Dashboard.Reply {
        Confirmation(
            title: "A new password for \(user)",
            lines: [
                "This makes a link by which \(user) sets a new password. It is good once, for a day; one that was made "
                    + "before is good for nothing then.",
                "Whoever has it can act as \(user): give it to nobody else, and be sure that it is \(user) who asks.",
                "The password so far stays good until a new one is set. Then all sessions of \(user) end.",
            ],
            button: "Make the link",
            action: visit.address("members/\(user)/password-reset"),
            back: visit.address("members/\(user)")
        ).reply(fault: fault)
    }

    fileprivate func ask(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let user = try visit.context.parameters.require("user")
        try await services.checkPasswordReset(for: user, in: visit.organization, by: visit.person)
        return question(user, visit)
    }

    fileprivate func make(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let user = try visit.context.parameters.require("user")
        try await services.checkPasswordReset(for: user, in: visit.organization, by: visit.person)
        if let fault = try await dashboard.confirm(visit) { return question(user, visit, fault: fault) }
        let (link, expires) = try await services.makePasswordReset(
            for: user,
            in: visit.organization,
            by: visit.person
        )
        return .page(
            Dashboard.Page(
                template: "secret",
                title: "A new password for \(user)",
                content: [
                    "label": "Give \(user) this link", "secret": link, "expires": expires.description,
                    "back": visit.address("members/\(user)"),
                    "use": "The server sends no mail: copy the link and send it yourself, where only \(user) reads.",
                ],
                status: .created
            )
        )
    }

    // MARK: - The person's side

    fileprivate func show(_ request: Request, _ context: ServerContext) async throws -> Response {
        guard let text = try request.queryValue("link").map(Self.trimmed), !text.isEmpty else {
            return page(request, nil)
        }
        do {
            let reset = try await services.passwordReset(text, context.address).reset
            return page(request, (text, reset))
        } catch let problem as Problem where problem.status.code < 500 {
            return page(request, nil, problem)
        }
    }

    fileprivate func set(_ request: Request, _ context: ServerContext) async throws -> Response {
        var shown: (secret: String, reset: PasswordReset)?
        do {
            guard request.isFromPage(of: services.settings.publicAddress) else { throw Problem.foreignForm }
            let fields = try await request.readForm(context)
            let browser = SignInPages(dashboard: dashboard).browser(of: request)
            guard let browser, fields["form"] == BrowserSession.formToken(browser) else { throw Problem.foreignForm }
            let secret = Self.trimmed(fields["link"] ?? "")
            let password = fields["password"] ?? ""
            let (token, reset) = try await services.passwordReset(secret, context.address)
            shown = (secret, reset)
            guard fields["repeated"] ?? "" == password else {
                throw Problem(.badRequest, .badRequest, "the two passwords are not the same; nothing was done")
            }
            try await services.setPassword(by: token, for: reset, to: Password(password), context.address)
            return dashboard.see(
                "/sign-in",
                message: "\(reset.user) has a new password, and all sessions of before are ended. Sign in with it."
            )
        } catch let problem as Problem where problem.status.code < 500 || problem.code == .busy {
            // What is not good any more is not asked for once more.
            return page(request, problem.status == .notFound ? nil : shown, problem)
        }
    }

    private static func trimmed(_ text: String) -> String { String(text.filter { !$0.isWhitespace }) }

    private func page(
        _ request: Request,
        _ shown: (secret: String, reset: PasswordReset)?,
        _ problem: Problem? = nil
    ) -> Response {
        let browser = SignInPages(dashboard: dashboard).browser(of: request) ?? OpaqueToken(.form)
        var content: [String: Any] = [
            "title": "A new password", "form": BrowserSession.formToken(browser),
            "server": services.settings.publicAddress.description,
        ]
        if let problem {
            content["fault"] = Dashboard.sentence(problem.detail)
            content["faultHint"] = problem.hint.map(Dashboard.sentence)
        }
        if let (secret, reset) = shown {
            content["reset"] = [
                "secret": secret, "user": reset.user, "organization": reset.organization, "maker": reset.maker,
                "expires": reset.expires.description,
            ]
        }
        var response = dashboard.html("new-password", content, problem?.status ?? .ok, request)
        response.headers.append(contentsOf: problem?.headers ?? [:])
        response.headers.append(
            HTTPField(name: .setCookie, value: dashboard.cookie("form", browser.secret, "; Max-Age=3600"))
        )
        return response
    }
}
