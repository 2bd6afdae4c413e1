import RegistryAccess
import HTTPTypes
import Hummingbird
import SignedPolicy

extension Router<ServerContext> {
    /// The page on which a person signs in and approves a machine; it works without script.
    func addActivationRoutes(_ services: Services) {
        let page = Activation(services: services)
        get("activate") { request, _ in page.form(try request.queryValue("user_code"), request) }
        post("activate") { request, context in try await page.ask(request, context) }
        post("activate/single-sign-on") { request, context in try await page.goToProvider(request, context) }
        post("activate/decision") { request, context in try await page.decide(request, context) }
        get("activate.css") { _, _ in
            Response(
                status: .ok,
                headers: [.contentType: "text/css; charset=utf-8", .cacheControl: "max-age=3600"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: ActivationHTML.style))
            )
        }
    }
}

/// What happens on the page: a form for code, name and password; then the question; then the decision.
///
/// A form is taken only from a page of ours in the browser that it was given to: its `Origin` is the server's, and its
/// field `form` is the digest of a cookie that other sites can neither read nor set.
struct Activation: Sendable {
    let services: Services

    private var isSecure: Bool { services.settings.publicAddress.isSecure }
    private var cookieName: String { isSecure ? "__Host-ram_activate" : "ram_activate" }

    /// The first page.
    fileprivate func form(_ userCode: String?, _ request: Request) -> Response {
        // The code of the address is shown and not taken: the person has to compare it with the machine's.
        let code = userCode.flatMap(DeviceAuthorization.userCode).map(DeviceAuthorization.shown) ?? ""
        return first(code: code, fault: nil, browser: browser(of: request))
    }

    /// The second page, for whoever has signed in.
    fileprivate func ask(_ request: Request, _ context: ServerContext) async throws -> Response {
        let (fields, browser) = try await trustedForm(request, context)
        func again(_ fault: String) -> Response {
            first(code: fields["user_code"] ?? "", fault: fault, browser: browser)
        }
        do {
            guard let (code, _) = try await waiting(fields, browser, context) else { return again(Self.noCode) }
            guard let name = fields["name"], let password = fields["password"],
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
            return try await question(about: code, user, browser)
                ?? again("The code is too old. Begin again on the machine.")
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
        return question.map {
            answer(ActivationHTML.question($0, user, browser.digest, confirmation.secret), browser)
        }
    }

    /// Sends the person to the provider of the organization that the machine belongs to.
    fileprivate func goToProvider(_ request: Request, _ context: ServerContext) async throws -> Response {
        let (fields, browser) = try await trustedForm(request, context)
        func again(_ fault: String) -> Response {
            first(code: fields["user_code"] ?? "", fault: fault, browser: browser)
        }
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
            return answer(ActivationHTML.end("Too late", "The code is too old, or this was decided already."), browser)
        }
        let device = decided.question.deviceName
        let (title, words) =
            if decision != "approve" {
                ("Denied", "\(device) was not signed in.")
            } else if decided.isMember {
                ("Signed in", "\(device) is signed in as \(decided.user). You can close this page.")
            } else {
                (
                    "Not a member",
                    "\(decided.user) does not belong to \(decided.question.organization). "
                        + "Ask an owner of it for an invitation."
                )
            }
        return answer(ActivationHTML.end(title, words), browser)
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

    private func first(code: String, fault: String?, browser: OpaqueToken) -> Response {
        answer(ActivationHTML.form(code: code, fault: fault, browser.digest), browser)
    }

    private func answer(_ html: String, _ browser: OpaqueToken) -> Response {
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

/// The words of the page.
enum ActivationHTML {
    static func form(code: String, fault: String?, _ form: String) -> String {
        page(
            "Sign in a machine",
            """
            \(fault.map { "<p class=\"fault\" role=\"alert\">\(escaped($0))</p>" } ?? "")
            <form method="post" action="/activate">
            <input type="hidden" name="form" value="\(escaped(form))">
            <p><label for="user_code">The code that the machine shows</label>
            <input id="user_code" name="user_code" value="\(escaped(code))" autocomplete="off" autocapitalize="characters"
              spellcheck="false" required maxlength="12"></p>
            <p><label for="name">Your name or e-mail address</label>
            <input id="name" name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required></p>
            <p><label for="password">Your password</label>
            <input id="password" name="password" type="password" autocomplete="current-password" required></p>
            <p><button type="submit">Sign in</button>
            <button type="submit" formaction="/activate/single-sign-on" formnovalidate>Use single sign-on</button></p>
            </form>
            """
        )
    }

    static func question(
        _ question: DeviceAuthorization.Question,
        _ user: String,
        _ form: String,
        _ confirmation: String
    ) -> String {
        page(
            "Did you start this?",
            """
            <p>A machine asks to be signed in as <strong>\(escaped(user))</strong>.</p>
            <dl>
            <dt>Machine</dt><dd>\(escaped(question.deviceName))</dd>
            <dt>Address</dt><dd>\(escaped(question.address))</dd>
            <dt>Time</dt><dd>\(escaped(question.created.description))</dd>
            <dt>Organization</dt><dd>\(escaped(question.organization))</dd>
            <dt>Code</dt><dd>\(escaped(DeviceAuthorization.shown(question.userCode)))</dd>
            </dl>
            <p>If somebody sent you this code, or you are not at this machine, deny it.</p>
            <form method="post" action="/activate/decision">
            <input type="hidden" name="form" value="\(escaped(form))">
            <input type="hidden" name="confirmation" value="\(escaped(confirmation))">
            <p><button type="submit" name="decision" value="deny">Deny</button>
            <button type="submit" name="decision" value="approve">I started this: sign in the machine</button></p>
            </form>
            """
        )
    }

    static func end(_ title: String, _ words: String) -> String { page(title, "<p>\(escaped(words))</p>") }

    static let style = """
        :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
        main { max-width: 30rem; margin: 3rem auto; padding: 0 1rem }
        label { display: block; font-weight: 600 }
        input:not([type=hidden]) { box-sizing: border-box; width: 100%; padding: .5rem; font: inherit }
        #user_code { font-family: monospace; letter-spacing: .1em }
        button { padding: .5rem 1rem; margin: 0 .5rem .5rem 0; font: inherit; cursor: pointer }
        dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem }
        dt { font-weight: 600 }
        dd { margin: 0; overflow-wrap: anywhere }
        .fault { border-left: .25rem solid #c00; padding-left: .75rem }

        """

    /// A page.
    static func page(_ title: String, _ body: String) -> String {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>\(escaped(title))</title>
        <link rel="stylesheet" href="/activate.css">
        </head>
        <body><main>
        <h1>\(escaped(title))</h1>
        \(body)
        </main></body>
        </html>

        """
    }

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
