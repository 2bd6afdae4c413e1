import HTTPTypes
import RegistryAccess
import SignedPolicy
import Testing

@testable import OrganizationServer

/// A browser on the sign-in page.
private struct Browser {
    let server: AccountsServer
    var cookie: String
    var field: String
    var headers: HTTPFields = [.origin: AccountsServer.publicURL]

    /// Opens the page.
    init(_ server: AccountsServer, query: String = "") async throws {
        self.server = server
        let page = try await server.send(.get, "/activate\(query)")
        #expect(page.status == 200)
        let set = try #require(page.headers[.setCookie])
        #expect(set.contains("__Host-ram_activate=") && set.contains("; Secure") && set.contains("; HttpOnly"))
        #expect(set.contains("; SameSite=Strict") && set.contains("; Path=/;"))
        cookie = String(try #require(set.split(separator: ";").first))
        field = try #require(Self.hidden("form", page.text))
    }

    /// Opens the page in a browser in which somebody is signed in on the dashboard.
    init(_ server: AccountsServer, of signedIn: TestBrowser) async throws {
        try await self.init(server)
        cookie += "; \(signedIn.cookie)"
    }

    static func hidden(_ name: String, _ html: String) -> String? {
        html.split(separator: "name=\"\(name)\" value=\"").dropFirst().first.flatMap { $0.split(separator: "\"").first }
            .map(String.init)
    }

    func post(_ path: String, _ fields: [String: String]) async throws -> Answer {
        var headers = headers
        headers[.cookie] = cookie
        return try await server.form(path, fields.merging(["form": field]) { own, _ in own }, headers: headers)
    }

    func signIn(_ code: String, _ name: String = "alice", _ password: String = AccountsServer.password) async throws
        -> Answer
    {
        try await post("/activate", ["user_code": code, "name": name, "password": password])
    }

    func decide(_ decision: String, _ page: Answer) async throws -> Answer {
        let confirmation = Self.hidden("confirmation", page.text) ?? "none"
        return try await post("/activate/decision", ["decision": decision, "confirmation": confirmation])
    }
}

extension AccountsServer {
    fileprivate func beginDevice(
        _ organization: String = "acme",
        name: String = "alice's laptop",
        scope: String? = nil
    ) async throws -> Answer {
        var fields = ["client_id": "docker-ram", "organization": organization, "device_name": name]
        fields["scope"] = scope
        return try await form("/v1/device_authorization", fields)
    }

    fileprivate func poll(_ begun: Answer, _ more: [String: String] = ["organization": "acme"]) async throws -> Answer {
        let fields = [
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": begun["device_code"] ?? "",
        ]
        return try await form("/v1/token", fields.merging(more) { $1 })
    }
}

struct DeviceAuthorizationTests {
    @Test
    func `a person approves a machine in the browser, and it is signed in once`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let secret = try await server.makeDevice()
            let device = [
                "organization": "acme", "device": "device0000000000000000001a", "device_secret": secret.secret,
            ]
            let begun = try await server.beginDevice()
            #expect(begun.status == 200)
            let code = try #require(begun["user_code"])
            #expect(code.wholeMatch(of: #/[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}/#) != nil)
            #expect(begun["verification_uri"] == "https://ram.acme.test/activate")
            #expect(begun["verification_uri_complete"] == "https://ram.acme.test/activate?user_code=\(code)")
            #expect(begun.json.value(named: "interval") == .number("5"))
            #expect(begun.json.value(named: "expires_in") == .number("600"))
            #expect(try await server.poll(begun, device)["error"] == "authorization_pending")
            let browser = try await Browser(server, query: "?user_code=\(code)")
            let question = try await browser.signIn(code.lowercased().replacing("-", with: " "))
            #expect(question.status == 200)
            #expect(question.text.contains("Did you start this?"))
            // The time is shown in the reader's zone, by script.
            let now = server.clock.now
            #expect(question.text.contains("<time datetime=\"\(now)\">\(now)</time>"))
            #expect(question.text.contains("alice&#39;s laptop"))
            // Signing in decides nothing.
            server.clock.advance(5)
            #expect(try await server.poll(begun, device)["error"] == "authorization_pending")
            #expect(try await browser.decide("approve", question).text.contains("is signed in as alice"))
            server.clock.advance(5)
            let answer = try await server.poll(begun, device)
            #expect(answer.status == 200)
            #expect(answer["user"] == "alice" && answer.json.value(named: "ticket") != nil)
            #expect(try await server.isSignedIn(answer["access_token"]))
            #expect(try await server.poll(begun, device)["error"] == "invalid_grant")
            // The question is answered for good.
            #expect(try await browser.decide("approve", question).text.contains("Too late"))
        }
    }

    /// Ways for an owner's session to begin: its secrets are in reach of whoever has the machine, or sent the code.
    enum Beginning: CaseIterable {
        case codeOfMachine
        case codeWithoutMachine
        case passwordOnMachine
        case codeForAdministration
    }

    @Test(arguments: Beginning.allCases)
    func `the session of a machine reads the policy and does nothing else, whoever it is of`(
        beginning: Beginning
    ) async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let secret = try await server.makeDevice()
            let acme = ["organization": "acme"]
            let machine = acme.merging([
                "device": "device0000000000000000001a", "device_secret": secret.secret,
            ]) { $1 }
            let answer: Answer
            if beginning == .passwordOnMachine {
                answer = try await server.passwordGrant("alice", AccountsServer.password, machine)
            } else {
                let isForAdministration = beginning == .codeForAdministration
                let begun = try await server.beginDevice(scope: isForAdministration ? "administration" : nil)
                let browser = try await Browser(server)
                let question = try await browser.signIn(begun["user_code"] ?? "")
                #expect(question.text.contains("do everything in acme that you may") == isForAdministration)
                #expect(question.text.contains("A machine asks to be signed in") != isForAdministration)
                _ = try await browser.decide("approve", question)
                answer = try await server.poll(begun, beginning == .codeOfMachine ? machine : acme)
            }
            #expect(answer.status == 200, "\(answer)")
            let again = try await server.refreshGrant(
                answer["refresh_token"],
                beginning == .codeWithoutMachine || beginning == .codeForAdministration ? acme : machine
            )
            let token = again["access_token"]
            let organization = "/v1/organizations/acme"
            // There is none yet, which is found out behind the look at who asks.
            #expect(try await server.send(.get, "\(organization)/policy", as: token).status == 404)
            for (method, path, body) in [
                (.post, "/invitations", #"{"role":"owner"}"#), (.post, "/invitations", #"{"role":"member"}"#),
                (.post, "/tokens", #"{"name":"ci","scopes":["policy:read"],"days":365}"#),
                (.post, "/teams", #"{"name":"platform"}"#), (.get, "/members", ""), (.get, "/activity", ""),
                (.post, "/enrollment-tokens", #"{"name":"x","days":1}"#), (.delete, "/sessions", ""),
            ] as [(HTTPRequest.Method, String, String)] {
                let answer = try await server.send(method, organization + path, as: token, body: body)
                let isRefused = answer.status == 403
                #expect(isRefused != (beginning == .codeForAdministration), "\(method) \(path): \(answer)")
            }
        }
    }

    @Test
    func `a person denies, or is no member, and the machine is told so`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            try await server.makeStranger("mallory")
            for (name, decision, error, words) in [
                ("alice", "deny", "access_denied", "was not signed in"),
                ("mallory", "approve", "not_a_member", "does not belong to acme"),
            ] {
                let begun = try await server.beginDevice()
                let browser = try await Browser(server)
                let question = try await browser.signIn(begun["user_code"] ?? "", name)
                #expect(try await browser.decide(decision, question).text.contains(words))
                #expect(try await server.poll(begun)["error"] == error)
                #expect(try await server.poll(begun)["error"] == "invalid_grant")
            }
            #expect(try await server.count("session") == 0)
        }
    }

    @Test
    func `a machine that asks too often is told to slow down, and one that waits too long to begin again`() async throws
    {
        try await AccountsServer.with { server in
            try await server.make()
            let begun = try await server.beginDevice()
            #expect(try await server.poll(begun)["error"] == "authorization_pending")
            server.clock.advance(2)
            let slowed = try await server.poll(begun)
            #expect(slowed.status == 400)
            #expect(slowed["error"] == "slow_down")
            server.clock.advance(5)
            #expect(try await server.poll(begun)["error"] == "slow_down")
            server.clock.advance(15)
            #expect(try await server.poll(begun)["error"] == "authorization_pending")
            server.clock.advance(600)
            #expect(try await server.poll(begun)["error"] == "expired_token")
            let page = try await Browser(server).signIn(begun["user_code"] ?? "")
            #expect(page.text.contains("There is no such code"))
        }
    }

    @Test
    func `the page takes a form only from itself`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let code = try await server.beginDevice()["user_code"] ?? ""
            let good = try await Browser(server)
            let site = try #require(HTTPField.Name("Sec-Fetch-Site"))
            let referer = try #require(HTTPField.Name("Referer"))
            let forgeries: [(String, (inout Browser) -> Void)] = [
                ("another origin", { $0.headers = [.origin: "https://evil.test"] }),
                ("no origin", { $0.headers = [:] }), ("a null origin", { $0.headers = [.origin: "null"] }),
                ("a longer host", { $0.headers = [.origin: "https://ram.acme.test.evil.test"] }),
                ("another referer", { $0.headers = [referer: "https://ram.acme.test.evil.test/"] }),
                ("another site", { $0.headers[site] = "cross-site" }), ("no cookie", { $0.cookie = "" }),
                ("another cookie", { $0.cookie = "__Host-ram_activate=\(OpaqueToken(.form).secret)" }),
                ("no field", { $0.field = "" }), ("another field", { $0.field = OpaqueToken(.form).digest }),
            ]
            for (what, forge) in forgeries {
                var browser = good
                forge(&browser)
                let answer = try await browser.signIn(code)
                #expect(answer.status == 403, "\(what)")
                #expect(!answer.text.contains("Did you start this?"), "\(what)")
            }
            let question = try await good.signIn(code)
            var browser = good
            browser.headers = [.origin: "https://evil.test"]
            #expect(try await browser.decide("approve", question).status == 403)
            browser.headers = [referer: "https://ram.acme.test/activate", site: "same-origin"]
            #expect(try await browser.decide("approve", question).text.contains("is signed in"))
        }
    }

    @Test
    func `the page shows names as text, and loads nothing but its style`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let name = "<script>alert(1)</script>\"'&"
            let begun = try await server.beginDevice(name: name)
            let question = try await Browser(server).signIn(begun["user_code"] ?? "")
            #expect(question.text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"))
            let page = try await server.send(.get, "/activate?user_code=%22%3E%3Cscript%3E")
            #expect(page.text.contains("name=\"user_code\" value=\"\""))
            for text in [question.text, page.text] {
                // The dashboard's own, and nothing else.
                let script = "<script src=\"\(DashboardFiles.script.address)\" defer"
                #expect(text.ranges(of: "<script").count == 1 && text.contains(script))
                #expect(text.contains("<link rel=\"stylesheet\" href=\"\(DashboardFiles.style.address)\">"))
            }
            let policyName = try #require(HTTPField.Name("Content-Security-Policy"))
            let referrerName = try #require(HTTPField.Name("Referrer-Policy"))
            let policy = try #require(page.headers[policyName])
            #expect(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"))
            #expect(policy.contains("form-action 'self'") && !policy.contains("unsafe"))
            // With "no-referrer" browsers would send "Origin: null" with the form.
            #expect(page.headers[referrerName] == "same-origin")
        }
    }

    @Test
    func `codes are not to be guessed: five in a browser, twenty from an address`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let code = try await server.beginDevice()["user_code"] ?? ""
            for _ in 0..<4 {
                let browser = try await Browser(server)
                for _ in 0..<5 {
                    #expect(try await browser.signIn("BBBB-BBBB").text.contains("There is no such code"))
                }
                // Not even the right one, then; and this try counts, too.
                server.clock.advance(3)
                #expect(try await browser.signIn(code).status == 429)
            }
            let browser = try await Browser(server)
            let slowed = try await browser.signIn(code)
            #expect(slowed.status == 429)
            #expect(slowed.headers[.retryAfter] != nil)
            server.clock.advance(60)
            #expect(try await browser.signIn(code).text.contains("Did you start this?"))
        }
    }

    @Test
    func `a wrong password on the page asks nothing and decides nothing`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let begun = try await server.beginDevice()
            let browser = try await Browser(server)
            for (name, password) in [("alice", "wrong horse battery"), ("nobody", AccountsServer.password), ("", "")] {
                let page = try await browser.signIn(begun["user_code"] ?? "", name, password)
                #expect(page.text.contains("The name or the password is wrong."))
                #expect(page.text.contains("name=\"name\" value=\"\(name)\""))
                #expect(page.text.contains("name=\"user_code\" value=\"\(begun["user_code"] ?? "")\""))
                #expect(!page.text.contains("wrong horse"))
                #expect(Browser.hidden("confirmation", page.text) == nil)
            }
            let forged = ["decision": "approve", "confirmation": OpaqueToken(.form).secret]
            #expect(try await browser.post("/activate/decision", forged).text.contains("Too late"))
            #expect(try await browser.post("/activate/decision", ["decision": "approve"]).status == 400)
            #expect(try await server.poll(begun)["error"] == "authorization_pending")
        }
    }

    @Test
    func `whoever is signed in on the dashboard is asked without a password, and still has to say yes`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let begun = try await server.beginDevice()
            let code = begun["user_code"] ?? ""
            let alice = try await server.browser("alice")
            let browser = try await Browser(server, of: alice)
            let form = try await server.send(.get, "/activate?user_code=\(code)", headers: [.cookie: alice.cookie])
            #expect(form.text.contains("Go on as alice</button>") && form.text.contains("value=\"\(code)\""))
            let somebody = try await server.send(.get, "/activate?as=other", headers: [.cookie: alice.cookie])
            #expect(somebody.text.contains("name=\"name\" value=\"\"") && !somebody.text.contains("Go on as"))
            let fields = ["user_code": code, "as": "session"]
            // Only a page of ours knows what the form carries of the session.
            for session in [nil, "", "0", browser.field] {
                var forged = fields
                forged["session"] = session
                let answer = try await browser.post("/activate", forged)
                #expect(!answer.text.contains("Did you start this?"), "\(answer)")
            }
            let session = ["session": alice.formToken]
            var foreign = browser
            foreign.headers = [.origin: "https://evil.test"]
            #expect(try await foreign.post("/activate", fields.merging(session) { $1 }).status == 403)
            // In another browser it is worth nothing.
            let other = try await Browser(server)
            let stranger = try await other.post("/activate", fields.merging(session) { $1 })
            #expect(!stranger.text.contains("Did you start this?"))
            let question = try await browser.post("/activate", fields.merging(session) { $1 })
            #expect(question.text.contains("Did you start this?"), "\(question)")
            #expect(question.text.contains("signed in as <strong>alice</strong>"))
            #expect(question.text.contains("alice&#39;s laptop") && question.text.contains("<dt>Address</dt>"))
            #expect(try await server.poll(begun)["error"] == "authorization_pending", "to be asked decides nothing")
            #expect(try await browser.decide("approve", question).text.contains("is signed in as alice"))
            server.clock.advance(5)
            #expect(try await server.poll(begun)["user"] == "alice")
        }
    }

    @Test
    func `the session counts only while they have shown lately who they are, and for its own organization`()
        async throws
    {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner])
            try await server.make("other", ["alice": .member])
            let alice = try await server.browser("alice")
            let browser = try await Browser(server, of: alice)
            func go(_ browser: Browser, _ session: TestBrowser, _ organization: String) async throws -> Answer {
                let code = try await server.beginDevice(organization)["user_code"] ?? ""
                let fields = ["user_code": code, "as": "session", "session": session.formToken]
                return try await browser.post("/activate", fields)
            }
            for organization in ["acme", "other"] {
                #expect(try await go(browser, alice, organization).text.contains("Did you start this?"))
            }
            // One that a provider has begun is good for that provider's organization.
            let bound = TestBrowser(
                server,
                try await server.services.store.beginBrowserSession(
                    of: "alice",
                    in: "acme",
                    after: nil,
                    from: "192.0.2.1",
                    at: server.clock.now
                ).secret
            )
            let boundBrowser = try await Browser(server, of: bound)
            #expect(try await go(boundBrowser, bound, "acme").text.contains("Did you start this?"))
            let elsewhere = try await go(boundBrowser, bound, "other")
            #expect(elsewhere.text.contains("for another organization than the machine&#39;s"), "\(elsewhere)")
            // After ten minutes the password is asked for, with the name that is known.
            server.clock.advance(600)
            let form = try await server.send(.get, "/activate", headers: [.cookie: alice.cookie])
            #expect(!form.text.contains("Go on as") && form.text.contains("name=\"name\" value=\"alice\""))
            let late = try await go(browser, alice, "acme")
            #expect(late.text.contains("You have not shown lately who you are."), "\(late)")
            // A session that has ended is none.
            let again = try await server.browser("alice")
            let againBrowser = try await Browser(server, of: again)
            let api = try await server.signIn("alice")
            #expect(try await server.send(.delete, "/v1/organizations/acme/sessions", as: api).status == 200)
            #expect(try await go(againBrowser, again, "acme").text.contains("You have not shown lately who you are."))
        }
    }

    @Test
    func `an approved machine that has not fetched its session is taken back with everybody's`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let begun = try await server.beginDevice()
            let browser = try await Browser(server)
            let question = try await browser.signIn(begun["user_code"] ?? "")
            _ = try await browser.decide("approve", question)
            let owner = try await server.signIn("alice")
            #expect(try await server.send(.delete, "/v1/organizations/acme/sessions", as: owner).status == 200)
            #expect(try await server.poll(begun)["error"] == "invalid_grant")
        }
    }

    @Test(arguments: [
        ["organization": "acme", "device_name": "x"],
        ["client_id": "other", "organization": "acme", "device_name": "x"],
        ["client_id": "docker-ram", "device_name": "x"], ["client_id": "docker-ram", "organization": "acme"],
        ["client_id": "docker-ram", "organization": "A", "device_name": "x"],
        ["client_id": "docker-ram", "organization": "acme", "device_name": "x\u{202E}y"],
        ["client_id": "docker-ram", "organization": "acme", "device_name": String(repeating: "x", count: 256)],
    ])
    func `a machine says who it is in order`(fields: [String: String]) async throws {
        try await AccountsServer.with { server in
            let answer = try await server.form("/v1/device_authorization", fields)
            #expect(answer.status == 400)
            #expect(answer["error"] == "invalid_request")
        }
    }

    @Test
    func `ten sign-ins a minute begin from one address`() async throws {
        try await AccountsServer.with { server in
            for _ in 0..<10 { #expect(try await server.beginDevice().status == 200) }
            let slowed = try await server.beginDevice()
            #expect(slowed.status == 429)
            #expect(slowed.headers[.retryAfter] == "6")
        }
    }
}
