import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// Single sign-on to the pages, and what a session that began so is good for.
struct DashboardSingleSignOnTests {
    private static let refresh = HTTPField.Name("Refresh")

    /// Goes from the sign-in page to the provider, and gives the address there.
    private static func leave(_ browser: inout CookieBrowser, _ organization: String = "acme", to: String = "/")
        async throws -> Answer
    {
        let page = try await browser.open("/sign-in?organization=\(organization)&to=\(PercentEncoding.encode(to))")
        #expect(page.text.contains("name=\"organization\" value=\"\(organization)\""), "\(page)")
        return try await browser.submit("/sign-in/single-sign-on", page, ["organization": organization, "to": to])
    }

    private static func provider(_ answer: Answer) throws -> String {
        let name = try #require(refresh)
        return try #require(answer.headers[name]?.split(separator: "url=").last.map(String.init), "\(answer)")
    }

    /// Signs alice in, who is linked.
    private static func signIn(_ setting: SingleSignOnSetting, to: String = "/organizations") async throws
        -> CookieBrowser
    {
        var browser = CookieBrowser(setting.server)
        let back = try await setting.comeBack(&browser, try provider(try await leave(&browser, to: to)))
        #expect(back.status == 303 && back.headers[.location] == to, "\(back)")
        return browser
    }

    /// A server where alice is an owner of two organizations and linked in one of them.
    private static func with(_ body: @escaping @Sendable (SingleSignOnSetting) async throws -> Void) async throws {
        try await SingleSignOnSetting.with(["owner": .owner, "alice": .owner]) { setting in
            let server = setting.server
            try await server.make("other", ["alice": .owner])
            _ = try await server.services.store.link(
                "alice",
                to: TestProvider.Account().subject,
                in: "acme",
                by: "owner",
                at: server.clock.now
            )
            try await body(setting)
        }
    }

    private static func settings(_ browser: inout CookieBrowser, _ days: String = "30") async throws -> Answer {
        let page = try await browser.open("/organizations/acme/settings")
        #expect(page.status == 200, "\(page)")
        return try await browser.submit(
            "/organizations/acme/settings",
            page,
            ["reportDays": days, "maximumDevices": "10", "enrollment": "open"]
        )
    }

    /// What the provider says of when somebody has shown who they are.
    private static func sets(_ time: Instant?, _ setting: SingleSignOnSetting) {
        setting.provider.conduct { conduct in
            conduct.claims = { claims in claims["auth_time"] = time.map { .number("\($0.seconds)") } }
        }
    }

    @Test
    func `whoever signs in at the provider sees that organization, and no other of theirs`() async throws {
        try await Self.with { setting in
            let server = setting.server
            var browser = try await Self.signIn(setting)
            let mine = try await browser.open("/organizations")
            #expect(mine.status == 200 && mine.text.contains("/organizations/acme"), "\(mine)")
            #expect(!mine.text.contains("other"), "\(mine)")
            #expect(try await browser.open("/").headers[.location] == "/organizations/acme")
            #expect(try await browser.open("/organizations/acme/settings").status == 200)
            for path in ["", "/settings", "/registry-access", "/activity", "/devices", "/settings/tokens"] {
                let answer = try await browser.open("/organizations/other\(path)")
                #expect(answer.status == 404 && !answer.text.contains("href=\"/organizations/other"), "\(answer)")
            }
            // With a password it is both.
            let both = try await server.browser("alice").get("/organizations")
            #expect(both.text.contains("/organizations/acme") && both.text.contains("/organizations/other"))
            #expect(
                try await server.count(
                    "activity WHERE action = 'session.start' AND organization = 'acme' AND actor = 'alice'"
                ) == 2
            )
            #expect(try await server.count("activity WHERE action = 'session.start' AND organization = 'other'") == 1)
            // The other organization's owners have nothing to do with it.
            let sessions = try await server.services.store.sessions(
                in: "other",
                Store.SessionSelection(user: "alice"),
                at: server.clock.now
            )
            #expect(sessions.count == 1)
            let counts = server.services.metrics.counts.signIns[.singleSignOn]
            #expect(counts == [.succeeded: 1])
        }
    }

    @Test
    func `signing out is recorded once, and leads to the same way in`() async throws {
        try await Self.with { setting in
            var browser = try await Self.signIn(setting)
            let page = try await browser.open("/organizations")
            let out = try await browser.submit("/sign-out", page, [:])
            #expect(out.headers[.location] == "/sign-in?organization=acme", "\(out)")
            #expect(try await browser.open("/organizations").status == 303)
            #expect(try await setting.server.count("activity WHERE action = 'session.end'") == 1)
            #expect(
                try await setting.server.count("activity WHERE action = 'session.end' AND organization = 'acme'") == 1
            )
        }
    }

    @Test
    func `who leaves the organization is signed out`() async throws {
        try await Self.with { setting in
            let server = setting.server
            var browser = try await Self.signIn(setting)
            let removed = try await server.send(
                .delete,
                "/v1/organizations/acme/members/alice",
                as: try await server.signIn("owner")
            )
            #expect(removed.status < 300)
            #expect(try await browser.open("/organizations").status == 303)
        }
    }

    @Test(arguments: [
        ("elsewhere", "There is no single sign-on for"), ("", "Enter the name"), ("a\"><b>", "There is no"),
    ])
    func `an organization without a provider is said to have none, on the same page`(name: String, words: String)
        async throws
    {
        try await SingleSignOnSetting.with { setting in
            var browser = CookieBrowser(setting.server)
            let page = try await browser.open("/sign-in?to=%2Forganizations")
            let answer = try await browser.submit(
                "/sign-in/single-sign-on",
                page,
                ["organization": name, "to": "/organizations"]
            )
            #expect(answer.status == 200 && answer.text.contains(words), "\(answer)")
            #expect(answer.hidden("to") == "/organizations")
            #expect(answer.text.contains("value=\"\(HTMLText.escaped(name))\""))
            #expect(try await setting.server.count("singleSignOnBegun") == 0)
        }
    }

    @Test
    func `a form of another site sends nobody to a provider, and nobody is sent to another site`() async throws {
        try await Self.with { setting in
            var browser = CookieBrowser(setting.server)
            let page = try await browser.open("/sign-in?organization=acme")
            let forged = try await browser.submit(
                "/sign-in/single-sign-on",
                page,
                ["organization": "acme", "form": BrowserSession.formToken(OpaqueToken(.form))]
            )
            #expect(forged.status == 403)
            #expect(try await setting.server.count("singleSignOnBegun") == 0)
            let way = try await browser.submit(
                "/sign-in/single-sign-on",
                page,
                ["organization": "acme", "to": "//evil.test"]
            )
            let back = try await setting.comeBack(&browser, try Self.provider(way))
            #expect(back.headers[.location] == "/", "\(back)")
        }
    }

    @Test
    func `somebody new comes in as the organization lets them, and is then on the page that they wanted`() async throws
    {
        try await SingleSignOnSetting.with { setting in
            try await setting.setDomain()
            let browser = try await Self.signIn(setting, to: "/organizations/acme/registry-access?q=a")
            #expect(browser.cookies.keys.contains("__Host-ram_session"))
            #expect(try await setting.server.count("membership WHERE user = 'alice' AND role = 'member'") == 1)
            // Who is asked who they are comes to the page as well.
            _ = try await setting.set()
            setting.provider.conduct { $0.account.subject = "42" }
            var other = CookieBrowser(setting.server)
            let question = try await setting.comeBack(
                &other,
                try Self.provider(try await Self.leave(&other, to: "/organizations"))
            )
            #expect(question.text.contains("Who are you here?"), "\(question)")
            let end = try await other.submit(
                "/single-sign-on/introduction",
                question,
                ["name": "owner", "password": AccountsServer.password]
            )
            #expect(end.status == 303 && end.headers[.location] == "/organizations", "\(end)")
            // They have just typed their password, so nothing more is asked.
            #expect(try await Self.settings(&other).status == 303)
            #expect(
                setting.server.services.metrics.counts.signIns[.singleSignOn] == [.succeeded: 2, .refused: 1]
            )
        }
    }

    // MARK: - Showing again who they are

    @Test
    func `what is dangerous takes a fresh sign-in at the provider, and then it is done`() async throws {
        try await Self.with { setting in
            let server = setting.server
            // Signed in there since this morning: that is no proof of now.
            Self.sets(server.clock.now + -3600, setting)
            var browser = try await Self.signIn(setting)
            let refused = try await Self.settings(&browser)
            #expect(refused.status == 403 && refused.text.contains("Nothing was done."), "\(refused)")
            #expect(refused.text.contains("value=\"30\""), "what was typed is still there")
            #expect(!refused.text.contains("type=\"password\""))
            let page = try await browser.open("/organizations/acme/settings")
            let again = "/sign-in/again?to=%2Forganizations%2Facme%2Fsettings"
            #expect(page.text.contains("href=\"\(again)\""), "\(page)")
            let way = try await browser.open(again)
            #expect(way.status == 303)
            let address = try #require(way.headers[.location])
            #expect(address.contains("&prompt=login&max_age=0"), "\(address)")
            Self.sets(server.clock.now, setting)
            let back = try await setting.comeBack(&browser, address)
            #expect(back.status == 303 && back.headers[.location] == "/organizations/acme/settings", "\(back)")
            let shown = try await browser.open("/organizations/acme/settings")
            #expect(shown.text.contains("You have shown who you are.") && !shown.text.contains(again))
            #expect(try await Self.settings(&browser).status == 303)
            #expect(try await server.services.store.settings(of: "acme").reportDays == 30)
            // For ten minutes.
            server.clock.advance(600)
            #expect(try await Self.settings(&browser, "31").status == 403)
        }
    }

    @Test
    func `who has just signed in at the provider is not asked again`() async throws {
        try await Self.with { setting in
            Self.sets(setting.server.clock.now + 3600, setting)
            var browser = try await Self.signIn(setting)
            // A clock that is ahead there makes nothing last longer here.
            #expect(try await Self.settings(&browser).status == 303)
            setting.server.clock.advance(600)
            #expect(try await Self.settings(&browser, "31").status == 403)
        }
    }

    @Test(
        "what shows nothing is not taken",
        arguments: [nil, "0", "-61", "\"now\"", "another person", "another browser", "signed out"]
    )
    func notShown(what: String?) async throws {
        try await Self.with { setting in
            let server = setting.server
            Self.sets(nil, setting)
            var browser = try await Self.signIn(setting)
            let way = try await browser.open("/sign-in/again?to=%2Forganizations")
            let address = try #require(way.headers[.location])
            let now = server.clock.now
            Self.sets(now, setting)
            var words = "does not say that you have just shown who you are"
            switch what {
            case nil: Self.sets(nil, setting)
            case "0": Self.sets(Instant(seconds: 0), setting)
            case "-61": Self.sets(now + -61, setting)
            case "\"now\"": setting.provider.conduct { $0.claims = { $0["auth_time"] = .string("\(now.seconds)") } }
            case "another person":
                setting.provider.conduct { $0.account.subject = "42" }
                words = "This is not the sign-in of &quot;alice&quot;"
            case "signed out":
                _ = try await browser.submit("/sign-out", try await browser.open("/organizations"), [:])
                words = "This sign-in is over"
            default:
                words = "in another browser"
                var other = try await Self.signIn(setting)
                let stolen = try await setting.comeBack(&other, address)
                #expect(stolen.status == 400 && stolen.text.contains(words), "\(stolen)")
                return
            }
            let members = try await server.count("membership")
            let back = try await setting.comeBack(&browser, address)
            #expect([400, 403].contains(back.status) && back.text.contains(words), "\(back)")
            #expect(try await server.count("membership") == members)
            #expect(try await server.count("singleSignOnStranger") == 0)
            guard what != "signed out" else { return }
            #expect(try await Self.settings(&browser).status == 403)
        }
    }

    @Test
    func `who signed in with a password is asked for that, and not sent to a provider`() async throws {
        try await Self.with { setting in
            let server = setting.server
            let browser = try await server.browser("alice")
            #expect(try await browser.get("/sign-in/again?to=%2Forganizations").headers[.location] == "/organizations")
            server.clock.advance(600)
            let page = try await browser.get("/organizations/acme/settings")
            #expect(page.text.contains("type=\"password\"") && !page.text.contains("/sign-in/again"))
        }
    }
}
