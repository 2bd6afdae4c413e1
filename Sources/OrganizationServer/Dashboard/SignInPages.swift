import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// Sign-in and sign-out of browsers, the organizations of a person, and the files that pages name.
    func addSignInPages(_ dashboard: Dashboard) {
        let pages = SignInPages(dashboard: dashboard)
        get("assets/:name") { request, context in try pages.asset(request, context) }
        get("sign-in") { request, _ in try await pages.form(request) }
        post("sign-in") { request, context in try await pages.signIn(request, context) }
        get("sign-in/single-sign-on") { _, _ in dashboard.see("/sign-in") }
        post("sign-in/single-sign-on") { request, context in try await pages.goToProvider(request, context) }
        get("sign-in/again") { request, context in try await pages.showAgain(request, context) }
        get("sign-out") { _, _ in dashboard.see("/") }
        post("sign-out") { request, context in try await pages.signOut(request, context) }
        get("/") { request, context in
            try await dashboard.answer(request, context, nil) { visit in
                let organizations = visit.person.roles.keys.sorted()
                guard organizations.count == 1 else { return .see("/organizations") }
                return .see("/organizations/\(organizations[0])")
            }
        }
        get("organizations") { request, context in
            try await dashboard.answer(request, context, nil) { _ in
                .page(Dashboard.Page(template: "organizations", title: "Organizations", content: [:]))
            }
        }
    }
}

/// How a browser comes to its session.
struct SignInPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    /// The page with the form; whoever is signed in goes where they wanted to.
    fileprivate func form(_ request: Request) async throws -> Response {
        let to = Dashboard.localAddress(try request.queryValue("to"))
        if try await dashboard.session(of: request) != nil { return dashboard.see(to) }
        return try await page(to: to, organization: try request.queryValue("organization"), request)
    }

    /// Takes name and password.
    fileprivate func signIn(_ request: Request, _ context: ServerContext) async throws -> Response {
        guard request.isFromPage(of: services.settings.publicAddress) else { return try await refusal(request) }
        let fields: [String: String]
        do {
            fields = try await request.readForm(context)
        } catch let problem as Problem {
            return try await page(fault: Dashboard.sentence(problem.detail), problem.status, to: "/", request)
        }
        let to = Dashboard.localAddress(fields["to"])
        guard let browser = browser(of: request), fields["form"] == BrowserSession.formToken(browser) else {
            return try await refusal(request)
        }
        guard let name = Names.typed(fields["name"]), let password = fields["password"] else {
            return try await page(
                name: fields["name"],
                fault: "Enter your name and your password.",
                .ok,
                to: to,
                request
            )
        }
        do {
            let user = try await services.metrics.counting(
                .dashboard,
                isGood: { $0 != nil },
                { try await services.user(named: name, password: Password(password), from: context.address) }
            )
            guard let user else {
                return try await page(
                    name: fields["name"],
                    fault: "The name or the password is wrong.",
                    .ok,
                    to: to,
                    request
                )
            }
            return try await begin(user, to: to, request, context)
        } catch let problem as Problem where problem.code == .tooManyRequests || problem.code == .busy {
            var response = try await page(
                name: fields["name"],
                fault: "This was tried too often. Wait a little, then try again.",
                problem.status,
                to: to,
                request
            )
            response.headers.append(contentsOf: problem.headers)
            return response
        }
    }

    /// Sends the browser to an organization's provider.
    fileprivate func goToProvider(_ request: Request, _ context: ServerContext) async throws -> Response {
        guard request.isFromPage(of: services.settings.publicAddress) else { return try await refusal(request) }
        let fields = try await request.readForm(context)
        guard let browser = browser(of: request), fields["form"] == BrowserSession.formToken(browser) else {
            return try await refusal(request)
        }
        let to = Dashboard.localAddress(fields["to"])
        guard let organization = Names.typed(fields["organization"]) else {
            return try await page(fault: "Enter the name of your organization.", to: to, organization: "", request)
        }
        do {
            return try await SingleSignOnPages(services: services).begin(
                .dashboard(to: to),
                in: organization,
                fromForm: true,
                request,
                context
            )
        } catch let fault as SingleSignOnFault {
            return try await page(fault: Dashboard.sentence("\(fault)"), to: to, organization: organization, request)
        } catch let problem as Problem where problem.code == .tooManyRequests {
            var response = try await page(
                fault: "This was tried too often. Wait a little, then try again.",
                problem.status,
                to: to,
                organization: organization,
                request
            )
            response.headers.append(contentsOf: problem.headers)
            return response
        }
    }

    /// Sends whoever came by single sign-on to the provider once more, to show who they are.
    fileprivate func showAgain(_ request: Request, _ context: ServerContext) async throws -> Response {
        let to = Dashboard.localAddress(try request.queryValue("to"))
        guard let session = try await dashboard.session(of: request) else {
            return dashboard.see("/sign-in?to=\(PercentEncoding.encode(to))")
        }
        // With a password the page asks for that.
        guard let organization = session.organization else { return dashboard.see(to) }
        let pages = SingleSignOnPages(services: services)
        do {
            let purpose = SingleSignOn.Purpose.confirmation(session: session.id, to: to)
            return try await pages.begin(purpose, in: organization, request, context)
        } catch let fault as SingleSignOnFault {
            return pages.refusal(fault)
        }
    }

    /// Gives the browser a session after single sign-on.
    ///
    /// - Parameters:
    ///   - signedIn: who has signed in, and in which organization.
    ///   - to: the page that they wanted.
    ///   - request: the request.
    ///   - context: what is known of it.
    /// - Returns: the way to that page, with the cookie.
    /// - Throws: what SQLite says.
    func begin(_ signedIn: SingleSignOn.SignedIn, to: String, _ request: Request, _ context: ServerContext)
        async throws -> Response
    {
        try await begin(
            signedIn.user,
            in: signedIn.organization,
            // Whoever was signed in at the provider may have shown nothing now.
            authenticated: signedIn.authenticated ?? services.now() + -BrowserSession.confirmedSeconds,
            to: to,
            request,
            context
        )
    }

    /// Gives the browser a session: the one place for every way to sign in.
    ///
    /// - Parameters:
    ///   - user: who has shown who they are.
    ///   - organization: the one that the session is good for; `nil`: each of theirs.
    ///   - authenticated: when they have shown it; `nil`: now.
    ///   - to: the page that they wanted; see ``Dashboard/localAddress(_:)``.
    ///   - message: what that page tells.
    ///   - request: the request.
    ///   - context: what is known of it.
    /// - Returns: the way to that page, with the cookie.
    /// - Throws: what SQLite says.
    func begin(
        _ user: String,
        in organization: String? = nil,
        authenticated: Instant? = nil,
        to: String,
        message: String? = nil,
        _ request: Request,
        _ context: ServerContext
    ) async throws -> Response {
        let token = try await services.store.beginBrowserSession(
            of: user,
            in: organization,
            authenticated: authenticated,
            after: dashboard.token(of: request),
            from: context.address,
            at: services.now()
        )
        var response = dashboard.see(to, message: message)
        response.headers.append(HTTPField(name: .setCookie, value: dashboard.cookie("session", token.secret)))
        response.headers.append(HTTPField(name: .setCookie, value: dashboard.cookie("form", "", "; Max-Age=0")))
        return response
    }

    /// Ends the session.
    fileprivate func signOut(_ request: Request, _ context: ServerContext) async throws -> Response {
        guard let session = try await dashboard.session(of: request), let token = dashboard.token(of: request) else {
            return dashboard.see("/sign-in")
        }
        guard request.isFromPage(of: services.settings.publicAddress),
            try await request.readForm(context)["form"] == session.formToken
        else { return try await refusal(request) }
        try await services.store.endSession(showing: token, at: services.now())
        let organization = session.organization.map { "?organization=\($0)" } ?? ""
        var response = dashboard.see("/sign-in\(organization)", message: "You are signed out.")
        response.headers.append(
            HTTPField(name: .setCookie, value: dashboard.cookie("session", "", "; Max-Age=0"))
        )
        return response
    }

    /// A file that pages name, for as long as the browser wants: another content has another address.
    fileprivate func asset(_ request: Request, _ context: ServerContext) throws -> Response {
        guard let asset = DashboardFiles.assets["/assets/\(try context.parameters.require("name"))"] else {
            throw Problem(.notFound, .notFound, "there is nothing here")
        }
        return Response(
            status: .ok,
            headers: [
                .contentType: asset.mediaType, .cacheControl: "public, max-age=31536000, immutable",
                .contentLength: "\(asset.bytes.count)",
            ],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: asset.bytes))
        )
    }

    // MARK: - Browsers without a session

    /// What a browser without a session is known by, for its forms.
    func browser(of request: Request) -> OpaqueToken? {
        guard let value = request.cookies[dashboard.cookieName("form")]?.value, let token = OpaqueToken(value),
            token.kind == .form
        else { return nil }
        return token
    }

    private func refusal(_ request: Request) async throws -> Response {
        try await page(
            fault: "This form did not come from a page of this server. Try again; the browser must accept cookies.",
            .forbidden,
            to: "/",
            request
        )
    }

    private func page(
        name: String? = nil,
        fault: String? = nil,
        _ status: HTTPResponse.Status = .ok,
        to: String,
        organization: String? = nil,
        _ request: Request
    ) async throws -> Response {
        let browser = browser(of: request) ?? OpaqueToken(.form)
        var content: [String: Any] = [
            "title": "Sign in", "to": to, "form": BrowserSession.formToken(browser), "name": name ?? "",
            "server": services.settings.publicAddress.description,
        ]
        if let fault { content["fault"] = fault }
        content["isSetUp"] = try await services.store.hasOrganization()
        content["wantsSingleSignOn"] = organization != nil
        content["singleSignOn"] = organization ?? ""
        var response = dashboard.html("sign-in", content, status, request)
        response.headers.append(
            HTTPField(name: .setCookie, value: dashboard.cookie("form", browser.secret, "; Max-Age=3600"))
        )
        return response
    }
}
