import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import Testing

@testable import OrganizationServer

/// Sign-in with a browser, and what guards its forms.
struct DashboardSignInTests {
    /// Signs in as a person does: the page, then the form.
    private static func signIn(
        _ server: AccountsServer,
        _ fields: [String: String] = [:],
        to: String = "/",
        headers more: HTTPFields = [:]
    ) async throws -> Answer {
        let page = try await server.send(.get, "/sign-in?to=\(PercentEncoding.encode(to))")
        #expect(page.status == 200)
        let cookie = try #require(page.cookie("__Host-ram_form"))
        var headers: HTTPFields = [.cookie: "__Host-ram_form=\(cookie)", .origin: AccountsServer.publicURL]
        for field in more { headers[field.name] = field.value }
        let typed = [
            "form": try #require(page.hidden("form")), "to": try #require(page.hidden("to")), "name": "alice",
            "password": AccountsServer.password,
        ]
        return try await server.form("/sign-in", typed.merging(fields) { $1 }, headers: headers)
    }

    @Test
    func `whoever signs in gets a cookie that only the server reads, and the page that they wanted`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let wanted = "/organizations/acme?show=all"
            let asked = try await server.send(.get, wanted)
            #expect(asked.status == 303)
            let signIn = try #require(asked.headers[.location])
            #expect(signIn == "/sign-in?to=%2Forganizations%2Facme%3Fshow%3Dall")
            let answer = try await Self.signIn(server, to: wanted)
            #expect(answer.status == 303)
            #expect(answer.headers[.location] == wanted)
            let line = try #require(answer.headers[values: .setCookie].first { $0.hasPrefix("__Host-ram_session=") })
            for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure"] { #expect(line.contains(part)) }
            let token = try #require(answer.cookie("__Host-ram_session"))
            let page = try await TestBrowser(server, token).get("/organizations")
            #expect(page.status == 200)
            #expect(page.headers[.cacheControl] == "no-store")
            #expect(page.headers[.contentType] == "text/html; charset=utf-8")
            let field = try #require(HTTPField.Name("Content-Security-Policy"))
            let policy = try #require(page.headers[field])
            #expect(policy.contains("script-src 'self'") && !policy.contains("unsafe"))
            // The database knows it by its digest only.
            #expect(try await server.count("session WHERE access = '\(token)'") == 0)
            #expect(try await server.count("activity WHERE action = 'session.start' AND data LIKE '%browser%'") == 1)
        }
    }

    @Test
    func `a sign-in gives a new session and ends the one before`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let first = try await server.browser("alice")
            let page = try await server.send(.get, "/sign-in")
            let form = try #require(page.cookie("__Host-ram_form"))
            let answer = try await server.form(
                "/sign-in",
                [
                    "form": try #require(page.hidden("form")), "name": "alice", "password": AccountsServer.password,
                ],
                headers: [
                    .cookie: "__Host-ram_form=\(form); \(first.cookie)", .origin: AccountsServer.publicURL,
                ]
            )
            let second = TestBrowser(server, try #require(answer.cookie("__Host-ram_session")))
            #expect(second.token != first.token)
            #expect(try await first.get("/organizations").status == 303)
            #expect(try await second.get("/organizations").status == 200)
        }
    }

    @Test(arguments: [
        ("name", "nobody"), ("password", "wrong"), ("name", "<b>alice"), ("password", "correct horse battery "),
    ])
    func `a wrong name or password keeps the name that was typed, and says not which is wrong`(
        field: String,
        value: String
    ) async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let answer = try await Self.signIn(server, [field: value], to: "/organizations/acme/activity")
            #expect(answer.text.contains("The name or the password is wrong."))
            #expect(answer.cookie("__Host-ram_session") == nil)
            #expect(answer.hidden("to") == "/organizations/acme/activity")
            let name = field == "name" ? HTMLText.escaped(value) : "alice"
            #expect(answer.text.contains("value=\"\(name)\""))
        }
    }

    @Test(arguments: [
        ("alice ", true), (" ALICE", true), ("\tAlice\u{a0}\n", true), (" alice@acme.test ", true),
        ("Alice@Acme.test", true), ("al ice", false), ("\u{200B}alice", false), ("ali\u{212A}e", false), ("  ", false),
    ])
    func `a name is taken as people type it, and a password never is`(name: String, isTaken: Bool) async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let answer = try await Self.signIn(server, ["name": name])
            #expect(answer.status == (isTaken ? 303 : 200), "\(answer)")
            for password in [" \(AccountsServer.password)", AccountsServer.password.uppercased()] {
                let wrong = try await Self.signIn(server, ["name": name, "password": password])
                #expect(wrong.cookie("__Host-ram_session") == nil)
            }
        }
    }

    @Test(arguments: ["alice", "nobody"])
    func `spellings of a name are counted as one`(name: String) async throws {
        try await AccountsServer.with { server in
            try await server.make()
            for spelling in [name, "\(name) ", " \(name)", name.uppercased(), "\t\(name.uppercased())\n"] {
                #expect(try await Self.signIn(server, ["name": spelling, "password": "wrong"]).status == 200)
            }
            for spelling in [name, "  \(name)", "\(name.uppercased())  "] {
                #expect(try await Self.signIn(server, ["name": spelling]).status == 429)
            }
        }
    }

    @Test(
        arguments: [
            (nil, nil), ("", nil), (" \t\u{a0}", nil), (" Alice ", "alice"), ("Alice@Acme.test ", "Alice@Acme.test"),
            ("\u{212A}im", "\u{212A}im"), ("\u{c4}nne", "\u{c4}nne"), ("a b", "a b"),
        ] as [(String?, String?)]
    )
    func `a typed name has no blanks around it and small letters of ASCII`(text: String?, name: String?) {
        #expect(Names.typed(text) == name)
    }

    @Test
    func `passwords are limited as they are for programs`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            for _ in 0..<5 { #expect(try await Self.signIn(server, ["password": "wrong"]).status == 200) }
            let limited = try await Self.signIn(server)
            #expect(limited.status == 429)
            #expect(limited.headers[.retryAfter] != nil)
            #expect(limited.text.contains("tried too often"))
            server.clock.advance(60)
            #expect(try await Self.signIn(server).status == 303)
        }
    }

    @Test(arguments: [
        "//evil.test", "https://evil.test/", "/\\evil.test", "javascript:alert(1)", "/a b", "", "/\u{e9}", "evil",
        "/\t/evil.test",
    ])
    func `after the sign-in nobody is sent to another place`(to: String) async throws {
        #expect(Dashboard.localAddress(to) == "/")
    }

    @Test
    func `a session ends when it is not used for half an hour, and after twelve hours in any case`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let browser = try await server.browser("alice")
            server.clock.advance(1799)
            #expect(try await browser.get("/organizations").status == 200)
            server.clock.advance(1799)
            #expect(try await browser.get("/organizations").status == 200)
            server.clock.advance(1800)
            #expect(try await browser.get("/organizations").status == 303)

            let busy = try await server.browser("alice")
            for _ in 0..<26 {
                server.clock.advance(1600)
                #expect(try await busy.get("/organizations").status == 200)
            }
            // 26 times 1600 seconds are 11 hours and 33 minutes.
            server.clock.advance(1599)
            #expect(try await busy.get("/organizations").status == 200)
            server.clock.advance(1)
            #expect(try await busy.get("/organizations").status == 303)
        }
    }

    /// What makes people sign in again.
    enum End: CaseIterable { case everybody, user, session, password, signOut, removed }

    @Test(arguments: End.allCases)
    func `a session in a browser is listed and ends like the others`(end: End) async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .editor])
            let browser = try await server.browser("bob")
            let alice = try await server.signIn("alice")
            let list = try await server.send(.get, "/v1/organizations/acme/sessions", as: alice)
            let bobs = (list.json.value(named: "sessions")?.elements ?? []).filter {
                $0.value(named: "user")?.text == "bob"
            }
            #expect(bobs.count == 1)
            let id = try #require(bobs.first?.value(named: "id")?.text)
            let sessions = "/v1/organizations/acme/sessions"
            switch end {
            case .everybody: _ = try await server.send(.delete, sessions, as: alice)
            case .user: _ = try await server.send(.delete, "\(sessions)?user=bob", as: alice)
            case .session: _ = try await server.send(.delete, "\(sessions)/\(id)", as: alice)
            case .password:
                let bob = try await server.signIn("bob")
                let changed = try await server.send(
                    .put,
                    "/v1/me/password",
                    as: bob,
                    body: #"{"current":"\#(AccountsServer.password)","new":"another horse battery"}"#
                )
                #expect(changed.status < 300)
            case .signOut:
                let answer = try await browser.post("/sign-out")
                #expect(answer.status == 303)
                #expect(answer.cookie("__Host-ram_session") == "")
                #expect(try await server.count("activity WHERE action = 'session.end' AND actor = 'bob'") == 1)
            case .removed: _ = try await server.send(.delete, "/v1/organizations/acme/members/bob", as: alice)
            }
            let answer = try await browser.get("/organizations/acme")
            #expect(answer.status == (end == .removed ? 404 : 303))
        }
    }

    /// What a form of another site, or of another session, looks like.
    enum Forgery: CaseIterable {
        case otherOrigin, nullOrigin, noOrigin, otherReferer, crossSite, sameSite, noToken, tokenOfAnother, digest, json
    }

    @Test(arguments: Forgery.allCases)
    func `a form that no page of the session sent does nothing`(forgery: Forgery) async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .owner])
            let (browser, other) = (try await server.browser("alice"), try await server.browser("bob"))
            var fields = ["form": browser.formToken]
            var headers: HTTPFields = [.cookie: browser.cookie, .origin: AccountsServer.publicURL]
            let referer = try #require(HTTPField.Name("Referer"))
            let site = try #require(HTTPField.Name("Sec-Fetch-Site"))
            switch forgery {
            case .otherOrigin: headers[.origin] = "https://evil.test"
            case .nullOrigin: headers[.origin] = "null"
            case .noOrigin: headers[.origin] = nil
            case .otherReferer:
                headers[.origin] = nil
                headers[referer] = "\(AccountsServer.publicURL).evil.test/"
            case .crossSite: headers[site] = "cross-site"
            case .sameSite: headers[site] = "same-site"
            case .noToken: fields["form"] = nil
            case .tokenOfAnother: fields["form"] = other.formToken
            // What stands in the database is nothing to be shown.
            case .digest: fields["form"] = OpaqueToken(browser.token)?.digest
            case .json: break
            }
            let answer =
                forgery == .json
                ? try await server.send(.post, "/sign-out", headers: headers, body: "{}")
                : try await server.form("/sign-out", fields, headers: headers)
            #expect(answer.status == (forgery == .json ? 415 : 403))
            #expect(try await browser.get("/organizations").status == 200, "still signed in")
            headers[.origin] = AccountsServer.publicURL
            headers[site] = "same-origin"
            #expect(try await server.form("/sign-out", ["form": browser.formToken], headers: headers).status == 303)
        }
    }

    @Test(arguments: ["__Host-ram_form", "form", "origin"])
    func `nobody is signed in by a form of another site`(missing: String) async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let answer =
                switch missing {
                case "form": try await Self.signIn(server, ["form": BrowserSession.formToken(OpaqueToken(.form))])
                case "origin": try await Self.signIn(server, headers: [.origin: "https://evil.test"])
                default: try await Self.signIn(server, headers: [.cookie: "other=1"])
                }
            #expect(answer.status == 403)
            #expect(answer.cookie("__Host-ram_session") == nil)
        }
    }

    @Test
    func `the cookie is no bearer token, and no bearer token opens a page`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let browser = try await server.browser("alice")
            #expect(try await server.send(.get, "/v1/me", as: browser.token).status == 401)
            #expect(try await server.send(.get, "/v1/me", headers: [.cookie: browser.cookie]).status == 401)
            let access = try await server.signIn("alice")
            #expect(try await server.send(.get, "/organizations", as: access).status == 303)
            let cookie = "__Host-ram_session=\(access)"
            #expect(try await server.send(.get, "/organizations", headers: [.cookie: cookie]).status == 303)
        }
    }

    private static let page: HTTPFields = [.accept: "text/html,application/xhtml+xml,*/*;q=0.8"]

    @Test
    func `a browser that asks for what is not there gets a page, and a program the problem`() async throws {
        try await AccountsServer.withPolicy { server in
            var headers = Self.page
            headers[.cookie] = try await server.browser("alice").cookie
            for path in ["nothing", "settings/nothing", "registry-access/history/1/x"] {
                let inside = try await server.send(.get, "/organizations/acme/\(path)", headers: headers)
                #expect(inside.status == 404 && inside.text.contains("<h1>There is nothing here</h1>"), "\(inside)")
                #expect(inside.text.contains("aria-label=\"Pages of acme\""), "\(inside)")
                #expect(inside.headers[.contentType] == "text/html; charset=utf-8")
                #expect(inside.headers[.cacheControl] == "no-store")
            }
            // Nobody learns which organizations there are.
            for path in ["/nothing", "/organizations/other/nothing", "/organizations/nothing/nothing"] {
                let outside = try await server.send(.get, path, headers: headers)
                #expect(outside.status == 404 && outside.text.contains("There is nothing here"), "\(outside)")
                #expect(!outside.text.contains("Pages of"))
            }
            for path in ["/v1/nothing", "/v1/organizations/acme/nothing", "/v2/nothing"] {
                let answer = try await server.send(.get, path, headers: headers)
                #expect(answer.status == 404 && answer["code"] == "not_found", "\(answer)")
            }
            let program = try await server.send(.get, "/organizations/acme/nothing", headers: [.accept: "*/*"])
            #expect(program.status == 404 && program["code"] == "not_found")
        }
    }

    @Test
    func `who is signed out is sent to sign in below an organization, and sees elsewhere that nothing is there`()
        async throws
    {
        try await AccountsServer.withPolicy { server in
            for path in ["/organizations/acme/nothing", "/organizations/other/nothing", "/organizations/acme/members"] {
                let answer = try await server.send(.get, path, headers: Self.page)
                #expect(answer.status == 303)
                let to = path.replacing("/", with: "%2F")
                #expect(answer.headers[.location] == "/sign-in?to=\(to)")
            }
            let elsewhere = try await server.send(.get, "/nothing", headers: Self.page)
            #expect(elsewhere.status == 404 && elsewhere.text.contains("<h1>There is nothing here</h1>"))
            #expect(elsewhere.headers[.contentType] == "text/html; charset=utf-8")
        }
    }

    @Test
    func `files that pages name are kept by browsers, and named by what is in them`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let page = try await server.send(.get, "/sign-in")
            #expect(DashboardFiles.assets.count == 3)
            for (address, asset) in DashboardFiles.assets {
                let answer = try await server.send(.get, address)
                #expect(answer.status == 200)
                #expect(answer.headers[.contentType] == asset.mediaType)
                #expect(answer.headers[.cacheControl] == "public, max-age=31536000, immutable")
                #expect(answer.text.utf8.elementsEqual(asset.bytes))
            }
            #expect(page.text.contains(DashboardFiles.style.address))
            #expect(DashboardFiles.style.bytes.count < 30_000)
            #expect(try await server.send(.get, "/assets/style.css").status == 404)
        }
    }

    @Test
    func `templates escape by what browsers take for a mark, not by what Swift takes for a character`() {
        // A mark with an accent is one character of Swift's, and two of a browser's.
        let hostile = "\"\u{301}<\u{301}>\u{338}'\u{301}&\u{301}"
        let text = DashboardFiles.html(
            "message",
            ["title": hostile, "detail": hostile, "organization": hostile]
        )
        #expect(text.contains(HTMLText.escaped(hostile)))
        for mark in ["\"\u{301}", "<\u{301}", "'\u{301}", "&\u{301}"] {
            #expect(text.utf8.firstRange(of: Array(mark.utf8)) == nil)
        }
    }
}
