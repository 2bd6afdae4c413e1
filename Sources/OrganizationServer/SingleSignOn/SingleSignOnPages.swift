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
        var response = page(SingleSignOnHTML.onTheWay(to: address), browser)
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
                let form = SingleSignOnHTML.Form(browser: browser.digest, confirmation: confirmation.secret)
                return page(SingleSignOnHTML.question(stranger, form, fault: nil), browser)
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
                return page(ActivationHTML.end("Too late", "The code is too old. Begin again on the machine."), nil)
            }
            return question
        case .joining:
            return page(SingleSignOnHTML.welcome(signedIn), nil)
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
        let form = SingleSignOnHTML.Form(browser: browser.digest, confirmation: confirmation.secret)
        let asked = try await services.store.stranger(confirmation, for: browser, at: services.now())
        guard let stranger = asked else { return refusal(.unknownState) }
        func again(_ fault: String) -> Response {
            page(SingleSignOnHTML.question(stranger, form, fault: fault), browser)
        }
        do {
            var introduction = SingleSignOn.Introduction()
            if let text = fields["invitation"] {
                try await services.limits.take(.invitation, context.address)
                introduction.invitation = OpaqueToken(text.filter { !$0.isWhitespace })
                guard introduction.invitation?.kind == .invitation else { return again(SingleSignOnHTML.noInvitation) }
            }
            if stranger.user == nil, let name = fields["name"] {
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

    private func page(_ html: String, _ browser: OpaqueToken?) -> Response {
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
        var response = page(ActivationHTML.end("Not signed in", SingleSignOnHTML.sentence(fault)), nil)
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
    /// What binds a form to its browser and its question.
    struct Form {
        let browser: String
        let confirmation: String
    }

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

    /// While the browser goes to the provider.
    static func onTheWay(to address: ProviderAddress) -> String {
        let link = ActivationHTML.escaped(address.description)
        return ActivationHTML.page(
            "Sign in",
            "<p><a href=\"\(link)\">Go on to \(ActivationHTML.escaped(address.host))</a></p>"
        )
    }

    /// Asks a stranger who they are here.
    static func question(_ stranger: SingleSignOn.Stranger, _ form: Form, fault: String?) -> String {
        let escaped = ActivationHTML.escaped
        let organization = escaped(stranger.organization)
        let email = stranger.email.map { " as <strong>\(escaped($0))</strong>" } ?? ""
        let known =
            stranger.user.map { user in
                "You are known here as <strong>\(escaped(user))</strong>, who does not belong to "
                    + "\(organization) any more."
            } ?? "Nobody of \(organization) is known by this sign-in so far."
        let account =
            """
            <p>If you have a name and a password here, you are linked to that name, and need the password never again.</p>
            <p><label for="name">Your name or e-mail address</label>
            <input id="name" name="name" autocomplete="username" autocapitalize="none" spellcheck="false"></p>
            <p><label for="password">Your password</label>
            <input id="password" name="password" type="password" autocomplete="current-password"></p>
            """
        return ActivationHTML.page(
            "Who are you here?",
            """
            \(fault.map { "<p class=\"fault\" role=\"alert\">\(escaped($0))</p>" } ?? "")
            <p>You have signed in at the provider of \(organization)\(email). \(known)</p>
            <form method="post" action="/single-sign-on/introduction">
            <input type="hidden" name="form" value="\(escaped(form.browser))">
            <input type="hidden" name="confirmation" value="\(escaped(form.confirmation))">
            <p><label for="invitation">Your invitation, if you join with one</label>
            <input id="invitation" name="invitation" autocomplete="off" autocapitalize="none" spellcheck="false"></p>
            \(stranger.user == nil ? account : "")
            <p><button type="submit">Go on</button></p>
            </form>
            """
        )
    }

    /// Somebody who has joined.
    static func welcome(_ signedIn: SingleSignOn.SignedIn) -> String {
        ActivationHTML.end(
            "Signed in",
            "You belong to \(signedIn.organization) as \(signedIn.user). "
                + "On your machine, run \"docker ram login\" and choose single sign-on on its page."
        )
    }
}
