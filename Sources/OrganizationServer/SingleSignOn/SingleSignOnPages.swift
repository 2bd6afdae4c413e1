import GRDB
import HTTPTypes
import Hummingbird
import Logging
import RegistryAccess

/// The way of a browser to an organization's provider and back.
///
/// The browser is known by a cookie that comes along when the provider sends it back (`SameSite=Lax`); everything that it
/// changes besides is done by a form of ours.
struct SingleSignOnPages: Sendable {
    let services: Services

    private var singleSignOn: SingleSignOn { SingleSignOn(services: services) }
    private var isSecure: Bool { services.settings.publicAddress.isSecure }
    private var cookieName: String { isSecure ? "__Host-ram_sso" : "ram_sso" }

    // MARK: - There

    /// Sends a browser to the provider.
    ///
    /// - Parameters:
    ///   - purpose: what for.
    ///   - organization: whose provider; it need not be there.
    ///   - isFromForm: whether the browser has sent a form: it does not follow a redirection elsewhere then, because of
    ///     `form-action` in the content security policy, so a page sends it on.
    ///   - request: what the browser has sent.
    ///   - context: where it comes from.
    /// - Returns: the answer.
    /// - Throws: ``SingleSignOnFault``, ``Problem`` 429, or what SQLite says.
    func begin(
        _ purpose: SingleSignOn.Purpose,
        in organization: String,
        fromForm isFromForm: Bool = false,
        _ request: Request,
        _ context: ServerContext
    ) async throws -> Response {
        try await services.limits.take(.singleSignOn, context.address)
        let browser = browser(of: request) ?? OpaqueToken(.form)
        let address: ProviderAddress
        do {
            address = try await singleSignOn.begin(purpose, in: organization, for: browser)
        } catch let fault as SingleSignOnFault {
            log(fault, organization, context)
            throw fault
        }
        guard isFromForm else {
            return Response(
                status: .seeOther,
                headers: [.location: address.description, .setCookie: cookie(browser)]
            )
        }
        let content = ["link": address.description, "host": address.host]
        var response = page("entrance-end", "Sign in", content, browser)
        if let refresh = HTTPField.Name("Refresh") { response.headers[refresh] = "0; url=\(address)" }
        return response
    }

    /// Sends a browser to the provider for nothing but to sign in there.
    fileprivate func join(_ request: Request, _ context: ServerContext) async throws -> Response {
        let organization = try context.parameters.require("organization")
        do {
            return try await begin(.joining, in: organization, request, context)
        } catch let fault as SingleSignOnFault {
            return refusal(fault)
        }
    }

    // MARK: - And back

    /// Ends a sign-in at the provider.
    fileprivate func finish(_ request: Request, _ context: ServerContext) async throws -> Response {
        let answer = SingleSignOn.Answer(
            state: try request.queryValue("state"),
            code: try request.queryValue("code"),
            error: try request.queryValue("error"),
            issuer: try request.queryValue("iss")
        )
        let browser = browser(of: request)
        do {
            let outcome = try await services.metrics.counting(
                .singleSignOn,
                isGood: { if case .signedIn = $0 { true } else { false } },
                { try await singleSignOn.finish(answer, for: browser) }
            )
            switch outcome {
            case .signedIn(let signedIn): return try await goOn(signedIn, request, context)
            case .stranger(let stranger, let confirmation):
                // A browser without a cookie is refused before.
                guard let browser else { throw SingleSignOnFault.otherBrowser }
                return question(stranger, confirmation, [:], fault: nil, browser)
            }
        } catch let fault as SingleSignOnFault {
            log(fault, nil, context)
            return refusal(fault)
        }
    }

    /// What somebody has signed in for.
    private func goOn(_ signedIn: SingleSignOn.SignedIn, _ request: Request, _ context: ServerContext) async throws
        -> Response
    {
        switch signedIn.purpose {
        case .activation(let code):
            // The sign-in is good for this organization's machines only.
            guard
                try await services.store.organization(waitingWith: code, at: services.now()) == signedIn.organization,
                let question = try await Activation(services: services).question(about: code, signedIn.user)
            else {
                return page(
                    "entrance-end",
                    "Too late",
                    ["words": "The code is too old. Begin again on the machine."],
                    nil
                )
            }
            return question
        case .joining:
            let words =
                "You belong to \(signedIn.organization) as \(signedIn.user). "
                + "On your machine, run \"docker ram login\" and choose single sign-on on its page."
            return page("entrance-end", "Signed in", ["words": words], nil)
        case .dashboard(let to):
            let pages = SignInPages(dashboard: Dashboard(services: services))
            return try await pages.begin(signedIn, to: Dashboard.localAddress(to), request, context)
        case .confirmation(let session, let to):
            let dashboard = Dashboard(services: services)
            // Only the browser that asked for it, in the session in which it asked.
            guard let browser = try await dashboard.session(of: request), browser.id == session,
                browser.person.name == signedIn.user
            else { throw SingleSignOnFault.unknownState }
            try await services.store.confirm(browser, at: services.now())
            return dashboard.see(Dashboard.localAddress(to), message: "You have shown who you are. Go on.")
        }
    }

    /// Takes what a stranger says.
    fileprivate func introduce(_ request: Request, _ context: ServerContext) async throws -> Response {
        guard request.isFromPage(of: services.settings.publicAddress) else { throw Problem.foreignForm }
        let fields = try await request.readForm(context)
        guard let browser = browser(of: request), fields["form"] == browser.digest,
            let confirmation = fields["confirmation"].flatMap({ OpaqueToken($0) })
        else { throw Problem.foreignForm }
        let asked = try await services.store.stranger(confirmation, for: browser, at: services.now())
        guard let stranger = asked else { return refusal(.unknownState) }
        func again(_ fault: String) -> Response { question(stranger, confirmation, fields, fault: fault, browser) }
        do {
            var introduction = SingleSignOn.Introduction()
            if let text = fields["invitation"] {
                try await services.limits.take(.invitation, context.address)
                introduction.invitation = OpaqueToken(text.filter { !$0.isWhitespace })
                guard introduction.invitation?.kind == .invitation else { return again(SingleSignOnHTML.noInvitation) }
            }
            if stranger.user == nil, let name = Names.typed(fields["name"]) {
                introduction.user = try await services.user(
                    named: name,
                    password: Password(fields["password"] ?? ""),
                    from: context.address
                )
                guard introduction.user != nil else { return again("The name or the password is wrong.") }
            }
            let signedIn = try await services.metrics.counting(.singleSignOn) { [introduction] in
                try await services.store.introduce(confirmation, for: browser, introduction, at: services.now())
            }
            return try await goOn(signedIn, request, context)
        } catch let refusal as Store.IntroductionRefusal {
            return again(SingleSignOnHTML.sentence(refusal, stranger.organization))
        } catch let fault as SingleSignOnFault {
            return refusal(fault)
        } catch let problem as Problem where problem.code == .tooManyRequests || problem.code == .busy {
            var response = again("This was tried too often. Wait a little, then try again.")
            response.status = problem.status
            response.headers.append(contentsOf: problem.headers)
            return response
        }
    }

    // MARK: - Browsers

    private func browser(of request: Request) -> OpaqueToken? {
        request.cookies[cookieName].flatMap { OpaqueToken($0.value) }.flatMap { $0.kind == .form ? $0 : nil }
    }

    private func cookie(_ browser: OpaqueToken) -> String {
        let secure = isSecure ? "; Secure" : ""
        return "\(cookieName)=\(browser.secret); Path=/; HttpOnly; SameSite=Lax; "
            + "Max-Age=\(SingleSignOn.lifetimeSeconds)\(secure)"
    }

    /// Asks a stranger who they are here; what they have typed stays, but the password.
    private func question(
        _ stranger: SingleSignOn.Stranger,
        _ confirmation: OpaqueToken,
        _ fields: [String: String],
        fault: String?,
        _ browser: OpaqueToken
    ) -> Response {
        var content: [String: Any] = [
            "organization": stranger.organization, "form": browser.digest, "confirmation": confirmation.secret,
            "invitation": fields["invitation"] ?? "", "name": fields["name"] ?? "",
        ]
        content["email"] = stranger.email
        content["user"] = stranger.user
        content["fault"] = fault
        return page("introduction", "Who are you here?", content, browser)
    }

    private func page(_ template: String, _ title: String, _ content: [String: Any], _ browser: OpaqueToken?)
        -> Response
    {
        let html = DashboardFiles.entrance(template, title, at: services.settings.publicAddress, content)
        var headers: HTTPFields = [.contentType: "text/html; charset=utf-8"]
        if let browser { headers[.setCookie] = cookie(browser) }
        if let name = HTTPField.Name("Referrer-Policy") {
            // With "no-referrer" a browser sends "Origin: null" with the form.
            headers[name] = "same-origin"
        }
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: html)))
    }

    /// A page that says why nobody is signed in.
    func refusal(_ fault: SingleSignOnFault) -> Response {
        var response = page("entrance-end", "Not signed in", ["words": SingleSignOnHTML.sentence(fault)], nil)
        response.status = fault.status
        return response
    }

    private func log(_ fault: SingleSignOnFault, _ organization: String?, _ context: ServerContext) {
        context.logger.notice(
            "no single sign-on",
            metadata: [
                "reason": "\(fault)", "organization": "\(organization ?? "-")", "address": "\(context.address)",
            ]
        )
    }
}

extension Router<ServerContext> {
    /// The pages.
    func addSingleSignOnPages(_ services: Services) {
        let pages = SingleSignOnPages(services: services)
        get("single-sign-on/callback") { request, context in try await pages.finish(request, context) }
        post("single-sign-on/introduction") { request, context in try await pages.introduce(request, context) }
        get("single-sign-on/{organization}") { request, context in try await pages.join(request, context) }
    }
}

extension SingleSignOnFault {
    /// The status of the page that says so.
    fileprivate var status: HTTPResponse.Status {
        switch self {
        case .notSet: .notFound
        case .emailUnverified, .emailOfAnotherDomain, .emailTaken, .denied, .otherPerson, .notAgain: .forbidden
        default: isOfProvider ? .badGateway : .badRequest
        }
    }
}

extension Store {
    /// The stranger whom a browser asks about.
    fileprivate func stranger(_ confirmation: OpaqueToken, for browser: OpaqueToken, at now: Instant) async throws
        -> SingleSignOn.Stranger?
    {
        try await database.read { database in
            try Row.fetchOne(
                database,
                sql: "SELECT * FROM singleSignOnStranger WHERE confirmation = ? AND browser = ? AND expires > ?",
                arguments: [confirmation.digest, browser.digest, now.seconds]
            ).flatMap { row in
                SingleSignOn.Purpose(row["purpose"]).map { purpose in
                    SingleSignOn.Stranger(
                        organization: row["organization"],
                        purpose: purpose,
                        email: row["email"],
                        user: row["user"]
                    )
                }
            }
        }
    }
}

/// The words of the pages.
enum SingleSignOnHTML {
    static let noInvitation =
        "The invitation is not good, or not any more, or it leads elsewhere. Ask an owner for another."

    /// A fault as a sentence.
    static func sentence(_ fault: SingleSignOnFault) -> String {
        let words = fault.description
        return words.prefix(1).uppercased() + words.dropFirst() + "."
    }

    /// A refusal as a sentence.
    static func sentence(_ refusal: Store.IntroductionRefusal, _ organization: String) -> String {
        switch refusal {
        case .invitation: noInvitation
        case .notAMember(let user): "\(user) does not belong to \(organization). Ask an owner for an invitation."
        case .isAMember(let user): "\(user) belongs to \(organization) already. Leave the invitation out."
        case .linked(let user):
            "\(user) is linked to somebody else at the provider. Ask an owner to unlink them."
        case .nothing: "Give an invitation, or your name and password."
        }
    }
}
