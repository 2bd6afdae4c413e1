import RegistryAccess
import HTTPTypes
import Hummingbird
import SignedPolicy

extension Router<ServerContext> {
    /// The page on which a person signs in and approves a machine; it works without script.
    func addActivationRoutes(_ services: Services) {
        let page = Activation(services: services)
        get("activate") { request, _ in try await page.form(request) }
        post("activate") { request, context in try await page.ask(request, context) }
        post("activate/single-sign-on") { request, context in try await page.goToProvider(request, context) }
        post("activate/decision") { request, context in try await page.decide(request, context) }
    }
}

/// What happens on the page: a form for code, name and password; then the question; then the decision.
///
/// A form is taken only from a page of ours in the browser that it was given to: its `Origin` is the server's, and its
/// field `form` is the digest of a cookie that other sites can neither read nor set.
///
/// Whoever is signed in on the dashboard, and has shown who they are within ten minutes, needs no password once more: that is
/// what everything dangerous takes there. The form then carries what only that session knows. What is asked stays the same.
struct Activation: Sendable {
    let services: Services

    private var dashboard: Dashboard { Dashboard(services: services) }
    private var isSecure: Bool { services.settings.publicAddress.isSecure }
    private var cookieName: String { isSecure ? "__Host-ram_activate" : "ram_activate" }

    /// The first page.
    fileprivate func form(_ request: Request) async throws -> Response {
        // The code of the address is shown and not taken: the person has to compare it with the machine's.
        let code =
            try request.queryValue("user_code").flatMap(DeviceAuthorization.userCode).map(DeviceAuthorization.shown)
            ?? ""
        let session = try await dashboard.session(of: request)
        var fields = ["user_code": code]
        fields["as"] = try request.queryValue("as") ?? "session"
        return first(fields, fault: nil, browser: browser(of: request), session)
    }

    /// The second page, for whoever has signed in.
    fileprivate func ask(_ request: Request, _ context: ServerContext) async throws -> Response {
        let (fields, browser) = try await trustedForm(request, context)
        let session = try await dashboard.session(of: request)
        func again(_ fault: String) -> Response { first(fields, fault: fault, browser: browser, session) }
        do {
            guard let (code, organization) = try await waiting(fields, browser, context) else {
                return again(Self.noCode)
            }
            let tooOld = "The code is too old. Begin again on the machine."
            if fields["as"] == "session" {
                guard let session, session.isConfirmed(at: services.now()), fields["session"] == session.formToken
                else { return again("You have not shown lately who you are. Sign in.") }
                // A provider speaks for its own organization only.
                guard session.organization.map({ $0 == organization }) ?? true else {
                    return first(
                        fields.filter { $0.key != "as" },
                        fault: "You are signed in for another organization than the machine's. Sign in for that.",
                        browser: browser,
                        session
                    )
                }
                return try await question(about: code, session.person.name, browser) ?? again(tooOld)
            }
            guard let name = Names.typed(fields["name"]), let password = fields["password"],
                let user = try await services.metrics.counting(
                    .activation,
                    isGood: { $0 != nil },
                    {
                        try await services.user(
                            named: name,
                            password: Password(password),
                            from: context.address
                        )
                    }
                )
            else { return again("The name or the password is wrong.") }
            return try await question(about: code, user, browser) ?? again(tooOld)
        } catch let problem as Problem where problem.code == .tooManyRequests || problem.code == .busy {
            return tooOften(problem, again)
        }
    }

    private static let noCode = "There is no such code, or it is too old. Look at the machine again."

    /// The code that somebody has typed, and the organization that its machine belongs to.
    private func waiting(_ fields: [String: String], _ browser: OpaqueToken, _ context: ServerContext) async throws
        -> (code: String, organization: String)?
    {
        try await services.limits.take(.codeFromAddress, context.address)
        try await services.limits.check(.codeInBrowser, browser.digest)
        if let code = fields["user_code"].flatMap(DeviceAuthorization.userCode),
            let organization = try await services.store.organization(waitingWith: code, at: services.now())
        {
            return (code, organization)
        }
        await services.limits.spend(.codeInBrowser, browser.digest)
        return nil
    }

    /// The second page: asks somebody who has signed in about a machine.
    ///
    /// - Parameters:
    ///   - code: the code that they have typed.
    ///   - user: who they are.
    ///   - browser: their browser.
    /// - Returns: the page; `nil` if the code is not good any more.
    /// - Throws: what SQLite says.
    func question(about code: String, _ user: String, _ browser: OpaqueToken = OpaqueToken(.form)) async throws
        -> Response?
    {
        let confirmation = OpaqueToken(.form)
        let question = try await services.store.ask(
            about: code,
            user,
            confirmation: confirmation,
            at: services.now()
        )
        return question.map { question in
            let content: [String: Any] = [
                "user": user, "deviceName": question.deviceName, "address": question.address,
                "isForAdministration": question.isForAdministration,
                "created": question.created.description, "organization": question.organization,
                "code": DeviceAuthorization.shown(question.userCode), "form": browser.digest,
                "confirmation": confirmation.secret,
            ]
            return answer("activation-question", "Did you start this?", content, browser)
        }
    }

    /// Sends the person to the provider of the organization that the machine belongs to.
    fileprivate func goToProvider(_ request: Request, _ context: ServerContext) async throws -> Response {
        let (fields, browser) = try await trustedForm(request, context)
        let session = try await dashboard.session(of: request)
        func again(_ fault: String) -> Response { first(fields, fault: fault, browser: browser, session) }
        do {
            guard let (code, organization) = try await waiting(fields, browser, context) else {
                return again(Self.noCode)
            }
            return try await SingleSignOnPages(services: services).begin(
                .activation(userCode: code),
                in: organization,
                fromForm: true,
                request,
                context
            )
        } catch let fault as SingleSignOnFault {
            return again(SingleSignOnHTML.sentence(fault))
        } catch let problem as Problem where problem.code == .tooManyRequests {
            return tooOften(problem, again)
        }
    }

    private func tooOften(_ problem: Problem, _ again: (String) -> Response) -> Response {
        var response = again("This was tried too often. Wait a little, then try again.")
        response.status = problem.status
        response.headers.append(contentsOf: problem.headers)
        return response
    }

    /// The last page.
    fileprivate func decide(_ request: Request, _ context: ServerContext) async throws -> Response {
        let (fields, browser) = try await trustedForm(request, context)
        let decision = fields["decision"]
        guard let confirmation = fields["confirmation"].flatMap({ OpaqueToken($0) }), confirmation.kind == .form,
            decision == "approve" || decision == "deny"
        else { throw Problem.faultyForm }
        let decided = try await services.store.decide(
            confirmation,
            isApproved: decision == "approve",
            at: services.now()
        )
        guard let decided else {
            let words = "The code is too old, or this was decided already."
            return answer("entrance-end", "Too late", ["words": words], browser)
        }
        let device = decided.question.deviceName
        let (title, words) =
            if decision != "approve" {
                ("Denied", "\(device) was not signed in.")
            } else if decided.isMember {
                (
                    "Signed in",
                    decided.question.isForAdministration
                        ? "\(device) may do now what \(decided.user) may. You can close this page."
                        : "\(device) is signed in as \(decided.user). You can close this page."
                )
            } else {
                (
                    "Not a member",
                    "\(decided.user) does not belong to \(decided.question.organization). "
                        + "Ask an owner of it for an invitation."
                )
            }
        return answer("entrance-end", title, ["words": words], browser)
    }

    // MARK: - Browsers

    /// What the browser has been given to be known by.
    private func browser(of request: Request) -> OpaqueToken {
        if let value = request.cookies[cookieName]?.value, let token = OpaqueToken(value), token.kind == .form {
            return token
        }
        return OpaqueToken(.form)
    }

    /// The fields of a form that came from a page of ours.
    private func trustedForm(_ request: Request, _ context: ServerContext) async throws -> (
        [String: String], OpaqueToken
    ) {
        let refusal = Problem(
            .forbidden,
            .forbidden,
            "this form did not come from a page of this server",
            hint: "open \(services.settings.publicAddress)/activate and try again; the browser must accept cookies"
        )
        guard request.isFromPage(of: services.settings.publicAddress) else { throw refusal }
        let fields = try await request.readForm(context)
        let browser = browser(of: request)
        guard request.cookies[cookieName]?.value == browser.secret, fields["form"] == browser.digest else {
            throw refusal
        }
        return (fields, browser)
    }

    /// The first page, with what was typed but the password.
    private func first(_ fields: [String: String], fault: String?, browser: OpaqueToken, _ session: BrowserSession?)
        -> Response
    {
        var content: [String: Any] = [
            "code": fields["user_code"] ?? "", "name": fields["name"] ?? "", "form": browser.digest,
        ]
        content["fault"] = fault
        if let session {
            if fields["as"] == "session", session.isConfirmed(at: services.now()) {
                content["viewer"] = session.person.name
                content["session"] = session.formToken
                content["otherAddress"] = Dashboard.address(
                    "/activate",
                    [("user_code", fields["user_code"] ?? ""), ("as", "other")]
                )
            } else if fields["as"] != "other", fields["name"] == nil {
                content["name"] = session.person.name
            }
        }
        return answer("activation", "Sign in a machine", content, browser)
    }

    private func answer(_ template: String, _ title: String, _ content: [String: Any], _ browser: OpaqueToken)
        -> Response
    {
        let html = DashboardFiles.entrance(template, title, at: services.settings.publicAddress, content)
        let secure = isSecure ? "; Secure" : ""
        var headers: HTTPFields = [
            .contentType: "text/html; charset=utf-8",
            .setCookie: "\(cookieName)=\(browser.secret); Path=/; HttpOnly; SameSite=Strict; Max-Age=900\(secure)",
        ]
        if let name = HTTPField.Name("Referrer-Policy") {
            // With "no-referrer" a browser sends "Origin: null" with the form (Fetch, "append a request Origin header").
            headers[name] = "same-origin"
        }
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: html)))
    }
}

/// Texts in pages.
enum HTMLText {
    /// A text as content or as the value of an attribute in double quotes.
    static func escaped(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { result, scalar in
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            default: result.unicodeScalars.append(scalar)
            }
        }
    }
}
