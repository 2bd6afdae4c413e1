import Foundation
import HTTPTypes
import Hummingbird
import RegistryAccess
import Synchronization

extension Router<ServerContext> {
    /// The pages for people in browsers.
    ///
    /// They go by the session in a cookie, as nothing else does, and heed no bearer token. Each page works without script.
    func addDashboardRoutes(_ services: Services) {
        DashboardFiles.prepare()
        let dashboard = Dashboard(services: services)
        addSignInPages(dashboard)
        addRegistryAccessPages(dashboard)
        addReviewPages(dashboard)
        addHistoryPages(dashboard)
        addActivityPages(dashboard)
        addDevicePages(dashboard)
        addRequestPages(dashboard)
        addOverviewPage(dashboard)
        addMemberPages(dashboard)
        addInvitationPages(dashboard)
        addPasswordResetPages(dashboard)
        addTeamPages(dashboard)
        addSessionPages(dashboard)
        addAccountPages(dashboard)
        addSetUpPages(dashboard)
        addSettingsPages(dashboard)
        addSingleSignOnSettingsPages(dashboard)
        addTokenPages(dashboard)
        addKeyPages(dashboard)
        // What is added behind the last route stands only before the answer that there is none.
        add(middleware: MissingPage(dashboard: dashboard))
    }
}

/// What all pages share: who is there, forms that are ours, and how an answer is made.
struct Dashboard: Sendable {
    let services: Services
    /// What is prepared in each organization.
    let staged: StagedPolicies
    /// Where there are pages.
    private let addresses = PageAddresses()

    init(services: Services) {
        self.services = services
        staged = StagedPolicies(services: services)
    }

    /// What a page shows.
    struct Page {
        /// The name of the template.
        let template: String
        let title: String
        /// What the template names.
        var content: [String: Any]
        var status = HTTPResponse.Status.ok
    }

    /// What comes of a request.
    enum Reply {
        case page(Page)
        /// Another page, which tells what was done.
        case see(String, message: String? = nil)
        /// Something that is no page of its own.
        case answer(Response)
    }

    /// A request of somebody who is signed in.
    struct Visit: Sendable {
        let request: Request
        let context: ServerContext
        let browser: BrowserSession
        /// The organization that the path names; empty if it names none.
        let organization: String
        /// The fields of a form that are not empty.
        var fields: [String: String] = [:]
        /// How many requests wait for an answer, for who may answer.
        var openRequests = 0

        var person: Person { browser.person }

        /// A number that a page of ours puts into its form.
        ///
        /// - Parameter field: the field's name.
        /// - Returns: the number.
        /// - Throws: ``Problem`` if it is not there.
        func number(_ field: String) throws(Problem) -> Int {
            guard let number = fields[field].flatMap({ WholeNumber.read($0) }) else {
                throw Problem.faultyForm
            }
            return number
        }

        /// Whether they may do something in the organization.
        func may(_ permission: Permission) -> Bool { person.may(permission, in: organization) }

        /// The address of a page of the organization.
        func address(_ path: String = "") -> String {
            path.isEmpty ? "/organizations/\(organization)" : "/organizations/\(organization)/\(path)"
        }
    }

    typealias Handler = @Sendable (Visit) async throws -> Reply

    // MARK: - Routes

    /// Answers a page of an organization to members who may see it.
    func get(_ router: Router<ServerContext>, _ path: String, _ permission: Permission, _ body: @escaping Handler) {
        get(router, at: Self.path(path), permission, body)
    }

    /// Answers what a page asks for by itself while somebody looks at it; to look on is not to use it, so that a session
    /// ends as it would without.
    func watch(_ router: Router<ServerContext>, _ path: String, _ permission: Permission, _ body: @escaping Handler) {
        router.get(RouterPath(Self.path(path))) { request, context in
            try await answer(request, context, permission, isWatching: true, body)
        }
    }

    /// Takes a form of a page of an organization from members who may do it.
    ///
    /// - Parameters:
    ///   - router: where; a page at the same address is added before.
    ///   - path: the address.
    ///   - page: the page that the form is on, which who opens the address is sent to; `nil`: the one at the address, or
    ///     else the nearest above it.
    ///   - permission: what is wanted.
    ///   - body: what is done.
    func post(
        _ router: Router<ServerContext>,
        _ path: String,
        on page: String? = nil,
        _ permission: Permission,
        _ body: @escaping Handler
    ) {
        post(router, at: Self.path(path), on: page.map(Self.path), permission, body)
    }

    /// Answers a page of whoever is signed in, in whatever organization.
    func get(_ router: Router<ServerContext>, own path: String, _ body: @escaping Handler) {
        get(router, at: path, nil, body)
    }

    /// Takes a form of a page of whoever is signed in, in whatever organization.
    func post(_ router: Router<ServerContext>, own path: String, _ body: @escaping Handler) {
        post(router, at: path, on: nil, nil, body)
    }

    private func get(
        _ router: Router<ServerContext>,
        at path: String,
        _ permission: Permission?,
        _ body: @escaping Handler
    ) {
        addresses.add(path, permission)
        router.get(RouterPath(path)) { request, context in try await answer(request, context, permission, body) }
    }

    private func post(
        _ router: Router<ServerContext>,
        at path: String,
        on page: String?,
        _ permission: Permission?,
        _ body: @escaping Handler
    ) {
        router.post(RouterPath(path)) { request, context in
            try await answer(request, context, permission) { visit in try await body(try await trusted(visit)) }
        }
        // The answer to a form stands at its address, which is opened once more after a sign-in or by hand.
        guard let page = addresses.nearest(to: page ?? path), page.path != path else { return }
        router.get(RouterPath(path)) { request, context in
            try await answer(request, context, page.permission) { visit in
                .see(PageAddresses.address(page.path, like: visit.request.uri.path))
            }
        }
    }

    private static func path(_ path: String) -> String {
        "organizations/:organization" + (path.isEmpty ? "" : "/\(path)")
    }

    /// Answers whoever is signed in; sends others to sign in, and then back.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - context: what is known of it.
    ///   - permission: what is wanted in the organization that the path names; `nil`: the path names none.
    ///   - isWatching: whether a page asks by itself.
    ///   - body: what is done.
    /// - Returns: the answer.
    /// - Throws: what SQLite says of the session.
    func answer(
        _ request: Request,
        _ context: ServerContext,
        _ permission: Permission?,
        isWatching: Bool = false,
        _ body: Handler
    ) async throws -> Response {
        var context = context
        context.caller = nil
        guard let browser = try await session(of: request, isWatching: isWatching) else {
            return signIn(for: request)
        }
        context.caller = .person(browser.person)
        var visit = Visit(request: request, context: context, browser: browser, organization: "")
        do {
            if let permission {
                let (person, organization) = try context.authorizeMember()
                visit = Visit(request: request, context: context, browser: browser, organization: organization)
                guard visit.may(permission) else { throw Self.needsAnotherRole(person, in: organization) }
            }
            switch try await body(visit) {
            case .page(let page): return try await self.page(page, for: visit)
            case .see(let address, let message): return see(address, message: message)
            case .answer(let response): return response
            }
        } catch {
            let problem = Answers(services: services).problem(of: error, context)
            var response = render(Self.page(about: problem), visit)
            response.headers.append(contentsOf: problem.headers)
            return response
        }
    }

    /// The refusal of a page: on one nobody goes by a token.
    private static func needsAnotherRole(_ person: Person, in organization: String) -> Problem {
        let role = person.role(in: organization).map { ", which is \"\($0.rawValue)\"" } ?? ""
        return Problem(
            .forbidden,
            .forbidden,
            "this needs another role in \"\(organization)\" than yours\(role)",
            hint: "ask an owner of the organization"
        )
    }

    /// A page as an answer, with what all pages of an organization tell.
    func page(_ page: Page, for visit: Visit) async throws -> Response {
        var visit = visit
        if visit.may(.editPolicy) {
            visit.openRequests = try await services.store.openRequestCount(of: visit.organization)
        }
        return render(page, visit)
    }

    /// Sends somebody to sign in, and then back.
    func signIn(for request: Request) -> Response {
        // A form is not kept across a sign-in: it would be done later, by whoever that is.
        let message =
            request.method == .post
            ? "Your session had ended, so nothing was done. Sign in, and do it again." : nil
        return see("/sign-in?to=\(PercentEncoding.encode(returnAddress(of: request)))", message: message)
    }

    /// The page that a form came from, or that was asked for.
    private func returnAddress(of request: Request) -> String {
        guard request.method != .get else { return request.uri.string }
        guard let name = HTTPField.Name("Referer"), let value = request.headers[name],
            value.hasPrefix("\(services.settings.publicAddress)/")
        else { return "/" }
        return String(value.dropFirst(services.settings.publicAddress.description.count))
    }

    /// The session of the browser that asks.
    func session(of request: Request, isWatching: Bool = false) async throws -> BrowserSession? {
        guard let token = token(of: request) else { return nil }
        return try await services.store.browserSession(showing: token, at: services.now(), isUsed: !isWatching)
    }

    /// What the browser shows.
    func token(of request: Request) -> OpaqueToken? {
        guard let value = request.cookies[cookieName("session")]?.value, let token = OpaqueToken(value),
            token.kind == .browser
        else { return nil }
        return token
    }

    // MARK: - Forms

    /// The form of a request, if it came from a page of ours in this session.
    private func trusted(_ visit: Visit) async throws -> Visit {
        guard visit.request.isFromPage(of: services.settings.publicAddress) else { throw Problem.foreignForm }
        var visit = visit
        visit.fields = try await visit.request.readForm(visit.context)
        guard visit.fields["form"] == visit.browser.formToken else { throw Problem.foreignForm }
        return visit
    }

    /// Makes sure that whoever does something dangerous has shown lately who they are.
    ///
    /// - Parameter visit: a form with the field `password` if it was asked for.
    /// - Returns: what is wrong; `nil` if all is well.
    /// - Throws: ``Problem`` 429, or what SQLite says.
    func confirm(_ visit: Visit) async throws -> String? {
        guard !visit.browser.isConfirmed(at: services.now()) else { return nil }
        guard visit.browser.organization == nil else {
            return "Show first who you are, at your organization's provider. Nothing was done."
        }
        guard let password = visit.fields["password"] else { return "Enter your password to go on." }
        let isTheirs = try await services.isPassword(
            Password(password),
            of: visit.person.name,
            in: visit.browser.id,
            from: visit.context.address
        )
        guard isTheirs else { return "The password is wrong." }
        try await services.store.confirm(visit.browser, at: services.now())
        return nil
    }

    // MARK: - Answers

    /// A page as an answer.
    func render(_ page: Page, _ visit: Visit) -> Response {
        var content = page.content
        let person = visit.person
        content["title"] = page.title
        content["viewer"] = person.name
        content["form"] = visit.browser.formToken
        content["organizations"] = person.roles.keys.sorted().map { name -> [String: Any] in
            ["name": name, "isCurrent": name == visit.organization, "role": person.roles[name]?.rawValue ?? ""]
        }
        content["hasOrganizations"] = !person.roles.isEmpty
        if !visit.organization.isEmpty {
            content["organization"] = visit.organization
            content["role"] = person.roles[visit.organization]?.rawValue ?? ""
            content["mayEdit"] = visit.may(.editPolicy)
            content["mustConfirm"] = !visit.browser.isConfirmed(at: services.now())
            content["pages"] = Self.navigation(visit)
            if visit.browser.organization != nil {
                let back = PercentEncoding.encode(returnAddress(of: visit.request))
                content["confirmAddress"] = "/sign-in/again?to=\(back)"
            }
        }
        return html(page.template, content, page.status, visit.request)
    }

    private static func navigation(_ visit: Visit) -> [[String: Any]] {
        let pages: [(title: String, path: String, permission: Permission)] = [
            ("Overview", "", .readMachines), ("Registry Access", "registry-access", .readPolicy),
            ("Activity", "activity", .readActivity), ("Devices", "devices", .readMachines),
            ("Requests", "requests", .readPolicy),
            ("Members", "members", .readMembers), ("Teams", "teams", .readPolicy),
            ("Sessions", "sessions", .readMembers),
            ("Settings", "settings", .readPolicy),
        ]
        let here = visit.request.uri.path
        return pages.filter { visit.may($0.permission) }.map { page in
            let address = visit.address(page.path)
            let isCurrent =
                page.path.isEmpty
                ? here == address
                : here == address || here.hasPrefix("\(address)/")
                    // They are a tab of the members.
                    || page.path == "members" && here.hasPrefix(visit.address("invitations"))
            var content: [String: Any] = ["title": page.title, "address": address, "isCurrent": isCurrent]
            if page.path == "requests", visit.openRequests > 0 { content["openRequests"] = visit.openRequests }
            return content
        }
    }

    /// A template as an answer; a message of the page before is shown and forgotten.
    func html(
        _ template: String,
        _ content: [String: Any],
        _ status: HTTPResponse.Status,
        _ request: Request
    ) -> Response {
        var content = content
        content["style"] = DashboardFiles.style.address
        content["script"] = DashboardFiles.script.address
        content["icon"] = DashboardFiles.icon.address
        var headers: HTTPFields = [.contentType: "text/html; charset=utf-8"]
        if let name = HTTPField.Name("Referrer-Policy") {
            // With "no-referrer" a browser sends "Origin: null" with a form (Fetch, "append a request Origin header").
            headers[name] = "same-origin"
        }
        if let value = request.cookies[cookieName("message")]?.value {
            content["message"] = value.removingPercentEncoding
            headers.append(HTTPField(name: .setCookie, value: cookie("message", "", "; Max-Age=0")))
        }
        let text = DashboardFiles.html(template, content)
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    /// Sends a browser to another page, which tells what was done.
    func see(_ address: String, message: String? = nil) -> Response {
        var headers: HTTPFields = [.location: address]
        if let message {
            let value = PercentEncoding.encode(String(message.prefix(500)))
            headers.append(HTTPField(name: .setCookie, value: cookie("message", value, "; Max-Age=60")))
        }
        return Response(status: .seeOther, headers: headers)
    }

    /// What the page about a problem is called.
    static func title(of status: HTTPResponse.Status) -> String {
        switch status.code {
        case 403: "You may not do this"
        case 404: "There is nothing here"
        case 412, 409: "Somebody was faster"
        case 429: "Too often"
        case 500...: "Something went wrong"
        default: "That did not work"
        }
    }

    /// The page about a problem.
    static func page(about problem: Problem) -> Page {
        var content: [String: Any] = ["detail": sentence(problem.detail)]
        if let hint = problem.hint { content["hint"] = sentence(hint) }
        return Page(
            template: "message",
            title: title(of: problem.status),
            content: content,
            status: problem.status
        )
    }

    /// What is wrong, and what to do, in sentences of a page.
    static func words(_ problem: Problem) -> String {
        [problem.detail, problem.hint].compactMap(\.self).map(sentence).joined(separator: " ")
    }

    /// A message of the server as a sentence of a page.
    static func sentence(_ text: String) -> String {
        let first = text.prefix(1)
        // A host or a name in front stays as it is written.
        let begins = first.uppercased() + text.dropFirst()
        return text.hasSuffix(".") ? begins : "\(begins)."
    }

    // MARK: - Words and addresses

    /// A number with its noun.
    static func count(_ number: Int, _ one: String, _ many: String) -> String {
        "\(digits(number)) \(number == 1 ? one : many)"
    }

    /// A number that is not negative, as pages write it: 12,345.
    static func digits(_ number: Int) -> String {
        var digits = String(number)
        var grouped = ""
        while digits.count > 3 {
            grouped = ",\(digits.suffix(3))\(grouped)"
            digits.removeLast(3)
        }
        return digits + grouped
    }

    /// When something ends, for a text in which no time of the reader's zone can stand.
    ///
    /// - Parameter end: the time; at midnight it is the end of the day before.
    /// - Returns: the words, which say that they are of UTC.
    static func end(_ end: Instant) -> String {
        end.seconds % 86_400 == 0 ? "the end of \(day(of: end + -86_400)) (UTC)" : time(end)
    }

    /// A time for a text in which none of the reader's zone can stand.
    static func time(_ time: Instant) -> String {
        "\(day(of: time)), \(time.description.dropFirst(11).prefix(5)) UTC"
    }

    private static func day(of time: Instant) -> String {
        let date = time.description.prefix(10)
        let parts = date.split(separator: "-").compactMap { WholeNumber.read($0.drop { $0 == "0" }) }
        let months = [
            "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
            "November", "December",
        ]
        guard parts.count == 3, months.indices.contains(parts[1] - 1) else { return String(date) }
        return "\(parts[2]) \(months[parts[1] - 1]) \(parts[0])"
    }

    /// An address with those parameters that say something.
    static func address(_ path: String, _ parameters: [(name: String, value: String)]) -> String {
        let pairs = parameters.filter { !$0.value.isEmpty && !($0.name == "page" && $0.value == "1") }
        let query = pairs.map { "\($0.name)=\(PercentEncoding.encode($0.value))" }.joined(separator: "&")
        return query.isEmpty ? path : "\(path)?\(query)"
    }

    // MARK: - Cookies

    /// The name of a cookie: over TLS no other host of the domain can set it (RFC 6265bis, section 4.1.3.2).
    func cookieName(_ name: String) -> String {
        services.settings.publicAddress.isSecure ? "__Host-ram_\(name)" : "ram_\(name)"
    }

    /// The value of `Set-Cookie`.
    func cookie(_ name: String, _ value: String, _ more: String = "") -> String {
        let secure = services.settings.publicAddress.isSecure ? "; Secure" : ""
        return "\(cookieName(name))=\(value); Path=/; HttpOnly; SameSite=Lax\(secure)\(more)"
    }

    /// An address of a page of ours that a request names.
    ///
    /// - Parameter text: what it names.
    /// - Returns: the address; `/` for anything that a browser may take for another place.
    static func localAddress(_ text: String?) -> String {
        guard let text, text.utf8.first == UInt8(ascii: "/"), !text.utf8.starts(with: "//".utf8),
            text.utf8.count <= 2000,
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\\") })
        else { return "/" }
        return text
    }
}

/// The addresses that have a page, as patterns of the router, each with what is wanted to see it.
private final class PageAddresses: Sendable {
    struct Page: Sendable {
        let path: String
        /// `nil`: to be signed in.
        let permission: Permission?
    }

    private let pages = Mutex<[String: Page]>([:])

    func add(_ path: String, _ permission: Permission?) {
        pages.withLock { $0[path] = Page(path: path, permission: permission) }
    }

    /// The page at an address, or else the nearest above it.
    func nearest(to path: String) -> Page? {
        let parts = path.split(separator: "/")
        return pages.withLock { pages in
            for count in (1...parts.count).reversed() {
                if let page = pages[parts.prefix(count).joined(separator: "/")] { return page }
            }
            return nil
        }
    }

    /// The address of a page.
    ///
    /// - Parameters:
    ///   - pattern: the pattern of the page.
    ///   - path: an address that has the same in the places of the pattern's parameters.
    /// - Returns: the address.
    static func address(_ pattern: String, like path: String) -> String {
        let parts = zip(pattern.split(separator: "/"), path.split(separator: "/")).map { part, given in
            part.hasPrefix(":") ? given : part
        }
        return "/" + parts.joined(separator: "/")
    }
}

extension Request {
    /// A field of a form that came with the address: there a plus sign is a space, as it is not in the queries of the API.
    ///
    /// - Parameter name: the field's name.
    /// - Returns: what was typed; `nil` if it is empty, or not there.
    func typedValue(_ name: String) -> String? {
        for pair in (uri.query ?? "").split(separator: "&") {
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard halves.count == 2, halves[0].utf8.elementsEqual(name.utf8) else { continue }
            let value = halves[1].replacing("+", with: " ").removingPercentEncoding ?? ""
            return value.isEmpty ? nil : value
        }
        return nil
    }
}
