import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import Testing

@testable import OrganizationServer

/// Sessions, and what somebody has of their own.
struct DashboardSessionTests {
    private static let sessions = "\(TestBrowser.organization)/sessions"
    private static let machines = ["device0000000000000000001a", "device0000000000000000002b"]

    /// Runs a server with mia on two machines, bob on none, and a session of another organization.
    private static func withSessions(_ body: @Sendable (AccountsServer) async throws -> Void) async throws {
        try await AccountsServer.withPolicy { server in
            try await server.make("other", ["stranger": .owner, "mia": .member])
            for machine in machines { try await server.signIn("mia", on: machine) }
            _ = try await server.signIn("bob")
            _ = try await server.signIn("stranger", in: "other")
            _ = try await server.signIn("mia", in: "other")
            try await body(server)
        }
    }

    private static func active(_ server: AccountsServer, _ more: String = "1") async throws -> Int {
        try await server.count("session WHERE ended IS NULL AND \(more)")
    }

    @Test
    func `who is signed in where is listed, and ending it is for owners`() async throws {
        try await Self.withSessions { server in
            let alice = try await server.browser("alice")
            let page = try await alice.get(Self.sessions)
            #expect(page.text.contains("4 sessions, 3 people, 2 machines"))
            #expect(page.text.contains("This browser") && page.text.contains("from 192.0.2.7"))
            #expect(page.text.ranges(of: "sessions/end?session=").count == 4)
            #expect(!page.text.contains("stranger"), "of another organization")
            #expect(try await alice.get("\(Self.sessions)?q=mia").text.contains("<caption>2 sessions</caption>"))
            let audrey = try await server.browser("audrey")
            let seen = try await audrey.get(Self.sessions)
            #expect(seen.status == 200 && !seen.text.contains("sessions/end"))
        }
    }

    @Test
    func `how many are affected is said before everybody is made to sign in again, and after`() async throws {
        try await Self.withSessions { server in
            let alice = try await server.browser("alice")
            server.clock.advance(601)
            let page = try await alice.get("\(Self.sessions)/end?everybody=true")
            for (count, word) in [(4, "sessions"), (3, "people"), (2, "machines")] {
                #expect(page.text.contains("<strong>\(count)</strong><span class=\"faint\">\(word)</span>"), "\(word)")
            }
            #expect(page.text.contains("This browser is among them"))
            let refused = try await alice.post("\(Self.sessions)/end", ["everybody": "true"])
            #expect(refused.status == 403 && refused.text.contains("Enter your password to go on."))
            #expect(try await Self.active(server) == 6)
            let done = try await alice.post(
                "\(Self.sessions)/end",
                ["everybody": "true", "password": AccountsServer.password]
            )
            #expect(done.headers[.location] == "/sign-in")
            #expect(TestBrowser.message(done).hasPrefix("4 sessions are ended. Everybody has to sign in again."))
            #expect(try await Self.active(server) == 2, "those of the other organization stay")
            #expect(try await alice.get(Self.sessions).status == 303)
            for machine in Self.machines {
                #expect(try await server.services.store.sessionState(device: machine, in: "acme") == .ended)
            }
            #expect(try await server.recorded(.sessionsEnded) == ["alice acme"])
            let message = try #require(done.cookie("__Host-ram_message"))
            let signIn = try await server.send(.get, "/sign-in", headers: [.cookie: "__Host-ram_message=\(message)"])
            #expect(signIn.text.contains("4 sessions are ended."))
        }
    }

    @Test
    func `sessions that have run out are not told to have been ended`() async throws {
        try await Self.withSessions { server in
            _ = try await server.browser("bob")
            try await server.services.store.database.write { database in
                try database.execute(sql: "UPDATE session SET expires = 1 WHERE user = 'bob'")
            }
            let alice = try await server.browser("alice")
            let page = try await alice.get("\(Self.sessions)/end?user=bob")
            #expect(page.text.contains("<strong>0</strong>"), "\(page)")
            let done = try await alice.post("\(Self.sessions)/end", ["user": "bob"])
            #expect(TestBrowser.message(done).hasPrefix("0 sessions are ended."), "\(done)")
            #expect(try await Self.active(server, "user = 'bob'") == 0, "they are closed all the same")
        }
    }

    @Test
    func `one member, and one session, are made to sign in again`() async throws {
        try await Self.withSessions { server in
            let alice = try await server.browser("alice")
            let ask = try await alice.get("\(Self.sessions)/end?user=mia")
            #expect(ask.text.contains("<strong>2</strong><span class=\"faint\">sessions</span>"))
            #expect(!ask.text.contains("This browser is among them"))
            let list = try await alice.get("\(Self.sessions)?q=mia")
            let id = try #require(list.text.firstMatch(of: #/sessions\/end\?session=([a-z0-9]+)"/#)?.1)
            let one = try await alice.get("\(Self.sessions)/end?session=\(id)")
            #expect(one.text.contains("<dt>Who</dt><dd>mia</dd>"))
            let ended = try await alice.post("\(Self.sessions)/end", ["session": String(id)])
            #expect(TestBrowser.message(ended).hasPrefix("1 session is ended."))
            #expect(ended.headers[.location] == Self.sessions)
            #expect(try await Self.active(server, "user = 'mia' AND organization = 'acme'") == 1)
            #expect(try await alice.get("\(Self.sessions)/end?session=\(id)").status == 404)
            #expect(try await alice.post("\(Self.sessions)/end", ["session": String(id)]).status == 404)
            let rest = try await alice.post("\(Self.sessions)/end", ["user": "mia"])
            #expect(TestBrowser.message(rest).hasPrefix("1 session is ended. mia has to sign in again."))
            #expect(try await Self.active(server, "user = 'mia'") == 1, "that of the other organization")
        }
    }

    @Test(arguments: [
        [:], ["everybody": "false"], ["user": ""], ["everybody": "true", "user": "mia"], ["device": "x"],
        ["session": "x", "user": "mia"],
    ])
    func `a form that does not say what ends nothing`(fields: [String: String]) async throws {
        try await Self.withSessions { server in
            let alice = try await server.browser("alice")
            let before = try await Self.active(server)
            #expect(try await alice.post("\(Self.sessions)/end", fields).status == 400)
            let query = fields.map { "\($0)=\($1)" }.joined(separator: "&")
            #expect(try await alice.get("\(Self.sessions)/end?\(query)").status == 400)
            #expect(try await Self.active(server) == before)
        }
    }

    @Test(arguments: ["user=stranger", "session=ofanother"])
    func `nobody of another organization is signed out`(query: String) async throws {
        try await Self.withSessions { server in
            let foreign = try await server.services.store.sessions(
                in: "other",
                Store.SessionSelection(user: "stranger"),
                at: server.clock.now
            )
            let query = query.replacing("ofanother", with: try #require(foreign.first?.id))
            let alice = try await server.browser("alice")
            #expect(try await alice.get("\(Self.sessions)/end?\(query)").status == 404)
            let pair = query.split(separator: "=").map(String.init)
            #expect(try await alice.post("\(Self.sessions)/end", [pair[0]: pair[1]]).status == 404)
            #expect(try await Self.active(server, "user = 'stranger'") == 1)
        }
    }
}

/// Addresses that only take forms, opened as after a sign-in, or with Enter in the address bar.
struct DashboardFormAddressTests {
    @Test(arguments: [
        ("members/bob/role", "members/bob"), ("members/bob/role?x=1", "members/bob"),
        ("registry-access/allow", "registry-access"), ("registry-access/save", "registry-access"),
        ("registry-access/history/1/roll-back", "registry-access/history/1"),
        ("requests/7/allow", "requests/7"), ("devices/x/end-session", "devices/x"),
        ("invitations/x/withdraw", "invitations"), ("settings/enrollment-tokens", "settings/machines"),
        ("settings/single-sign-on/test", "settings/single-sign-on"),
        ("teams/backend/members/add", "teams/backend"), ("teams/backend/rename", "teams/backend"),
    ])
    func `they lead to the page that the form is on`(path: String, page: String) async throws {
        try await AccountsServer.withPolicy { server in
            let answer = try await server.browser("alice").get("\(TestBrowser.organization)/\(path)")
            #expect(answer.status == 303, "\(answer)")
            #expect(answer.headers[.location] == "\(TestBrowser.organization)/\(page)")
        }
    }

    @Test(arguments: [
        ("/account/password", "/account"), ("/account/sessions/end", "/account"), ("/sign-out", "/"),
        ("/sign-in/single-sign-on", "/sign-in"),
    ])
    func `so do those that are of no organization`(path: String, page: String) async throws {
        try await AccountsServer.withPolicy { server in
            let answer = try await server.browser("mia").get(path)
            #expect(answer.headers[.location] == page, "\(answer)")
        }
    }

    @Test
    func `whoever had to sign in on such a page is back on it, and who may not see it is told so`() async throws {
        try await AccountsServer.withPolicy { server in
            let address = "\(TestBrowser.organization)/members/bob/role"
            let page = try #require(HTTPField.Name("Referer"))
            let ended = try await server.form(
                address,
                ["role": "editor"],
                headers: [.origin: AccountsServer.publicURL, page: "\(AccountsServer.publicURL)\(address)"]
            )
            let to = try #require(ended.headers[.location]?.split(separator: "to=").last?.removingPercentEncoding)
            let back = try await server.browser("alice").get(to)
            #expect(back.status == 303 && back.headers[.location] == "\(TestBrowser.organization)/members/bob")
            #expect(try await server.browser("mia").get(to).status == 403)
            try await server.make("other", ["stranger": .owner])
            #expect(try await server.browser("stranger").get(to).status == 404)
            #expect(try await server.send(.get, to).headers[.location]?.hasPrefix("/sign-in?to=") == true)
        }
    }
}

struct DashboardAccountTests {
    @Test
    func `somebody sees their organizations and sessions, and ends sessions of theirs only`() async throws {
        try await AccountsServer.withPolicy { server in
            try await server.make("other", ["mia": .owner])
            try await server.signIn("mia", on: "device0000000000000000001a")
            _ = try await server.signIn("mia", in: "other")
            _ = try await server.signIn("bob")
            let mia = try await server.browser("mia")
            let page = try await mia.get("/account")
            #expect(page.text.contains("/organizations/acme\">acme</a>"))
            #expect(page.text.contains("/organizations/other\">other</a>"))
            #expect(page.text.contains("<caption>3 sessions</caption>"))
            // A member may not look at machines.
            #expect(page.text.contains("laptop") && !page.text.contains("/devices/"))
            let id = try #require(page.text.firstMatch(of: #/name="session" value="([a-z0-9]+)"/#)?.1)
            let one = try await mia.post("/account/sessions/end", ["session": String(id)])
            #expect(TestBrowser.message(one) == "1 session is ended.")
            #expect(try await server.count("session WHERE user = 'mia' AND ended IS NULL") == 2)

            let bobs = try await server.services.store.sessions(
                in: "acme",
                Store.SessionSelection(user: "bob"),
                at: server.clock.now
            )
            let foreign = try await mia.post("/account/sessions/end", ["session": try #require(bobs.first?.id)])
            #expect(TestBrowser.message(foreign) == "There was no such session any more.")
            #expect(try await server.count("session WHERE user = 'bob' AND ended IS NULL") == 1)

            let others = try await mia.post("/account/sessions/end", ["others": "true"])
            #expect(TestBrowser.message(others) == "1 session is ended.")
            #expect(try await mia.get("/account").status == 200, "this one goes on")
            let state = try await server.services.store.sessionState(device: "device0000000000000000001a", in: "acme")
            #expect(state == .ended)
            #expect(try await mia.post("/account/sessions/end").status == 400)
            #expect(try await server.recorded(.sessionsEnded) == ["mia mia", "mia mia"])
        }
    }

    @Test
    func `a changed password ends every other session, and the old one is good for nothing`() async throws {
        try await AccountsServer.withPolicy { server in
            try await server.signIn("mia", on: "device0000000000000000001a")
            let (mia, elsewhere) = (try await server.browser("mia"), try await server.browser("mia"))
            let new = "quite a fine sentence"
            let done = try await mia.post(
                "/account/password",
                ["current": AccountsServer.password, "new": new, "repeated": new]
            )
            #expect(done.headers[.location] == "/account")
            #expect(try await mia.get("/account").status == 200)
            #expect(try await elsewhere.get("/account").status == 303)
            let state = try await server.services.store.sessionState(device: "device0000000000000000001a", in: "acme")
            #expect(state == .ended)
            let services = server.services
            #expect(try await services.user(named: "mia", password: Password(new), from: "-") == "mia")
            let old = Password(AccountsServer.password)
            #expect(try await services.user(named: "mia", password: old, from: "-") == nil)
            #expect(try await server.recorded(.passwordChanged) == ["mia mia"])
        }
    }

    @Test(arguments: [
        (["current": "wrong"], "The current password is wrong."), (["repeated": "another"], "are not the same"),
        (["new": "short", "repeated": "short"], "12 to 256 bytes"), (["current": ""], "Enter your password"),
        (["new": "mia mia mia mia", "repeated": "mia mia mia mia"], "new-fault"),
        (["new": "acme is the best", "repeated": "acme is the best"], "does not hold"),
    ])
    func `a password is not changed unless everything is in order`(fields: [String: String], words: String) async throws
    {
        try await AccountsServer.withPolicy { server in
            let mia = try await server.browser("mia")
            let good = [
                "current": AccountsServer.password, "new": "quite a fine sentence",
                "repeated": "quite a fine sentence",
            ]
            let answer = try await mia.post("/account/password", good.merging(fields) { $1 })
            #expect((400..<500).contains(answer.status))
            #expect(answer.text.contains(words), "\(answer.text)")
            #expect(!answer.text.contains("quite a fine sentence"))
            let old = Password(AccountsServer.password)
            #expect(try await server.services.user(named: "mia", password: old, from: "-") == "mia")
        }
    }

    @Test
    func `whoever has no password is not asked for one, and a form of another site changes none`() async throws {
        try await AccountsServer.withPolicy { server in
            let mia = try await server.browser("mia")
            let fields = [
                "current": AccountsServer.password, "new": "quite a fine sentence",
                "repeated": "quite a fine sentence",
            ]
            #expect(try await mia.post("/account/password", fields, origin: "https://evil.test").status == 403)
            #expect(try await mia.post("/account/password", fields.merging(["form": "0"]) { $1 }).status == 403)
            #expect(try await mia.post("/account/sessions/end", ["others": "true"], origin: nil).status == 403)
            #expect(try await server.recorded(.passwordChanged) == [])
            try await server.services.store.database.write { database in
                try database.execute(sql: "UPDATE user SET password = NULL WHERE name = 'mia'")
            }
            let page = try await mia.get("/account")
            #expect(page.text.contains("you sign in with single sign-on") && !page.text.contains("account/password"))
            #expect(try await server.send(.get, "/account").headers[.location] == "/sign-in?to=%2Faccount")
        }
    }

    @Test
    func `a session for one organization neither sees nor ends those of others`() async throws {
        try await AccountsServer.withPolicy { server in
            try await server.make("other", ["mia": .owner])
            _ = try await server.signIn("mia", in: "other")
            _ = try await server.signIn("mia")
            _ = try await server.browser("mia")
            var person = Person(name: "mia", roles: ["acme": .member])
            person.onlyOrganization = "acme"
            let store = server.services.store
            #expect(try await store.sessions(of: person, at: server.clock.now).map(\.organization) == ["acme"])
            let ended = try await store.endSessions(of: person, .allBut("none"), at: server.clock.now)
            #expect(ended.count == 1 && ended.organizations == ["acme"])
            #expect(try await server.count("session WHERE ended IS NULL") == 2)
        }
    }
}
