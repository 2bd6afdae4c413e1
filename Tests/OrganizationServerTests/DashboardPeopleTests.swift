import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import Synchronization
import Testing

@testable import OrganizationServer

extension TestBrowser {
    static let organization = "/organizations/acme"

    /// The message that an answer leaves for the next page.
    static func message(_ answer: Answer) -> String {
        answer.cookie("__Host-ram_message")?.removingPercentEncoding ?? ""
    }
}

extension AccountsServer {
    /// Signs somebody in on a machine.
    func signIn(_ user: String, on device: String) async throws {
        _ = try await makeDevice(device)
        _ = try await services.store.beginSession(
            of: SignedInPerson(user: user),
            in: "acme",
            on: device,
            from: "192.0.2.7",
            at: clock.now
        )
    }

    /// What was written down of an action, the newest last.
    func recorded(_ action: Activity.Action) async throws -> [String] {
        try await services.store.database.read { database in
            try Row.fetchAll(
                database,
                sql: "SELECT actor, name FROM activity WHERE action = ? ORDER BY number",
                arguments: [action.rawValue]
            ).map { row in "\(row["actor"] as String) \(row["name"] as String)" }
        }
    }

    /// Gives the organization a provider, which nobody asks.
    func setProvider() async throws {
        try await services.store.database.write { database in
            try database.execute(
                sql: """
                    INSERT INTO singleSignOn (organization, issuer, clientID, clientSecret, scopes, membership, domains)
                    VALUES ('acme', 'https://id.test', 'ram', 'secret', 'openid', 'invited', '')
                    """
            )
        }
    }

    func role(of user: String) async throws -> Role? {
        try await services.store.members(of: "acme").first { $0.name == user }?.role
    }

    /// What a browser knows of a page for those who have no session: its cookie and the value of its forms.
    func visitor(_ page: Answer) throws -> (cookie: String, form: String) {
        (
            "__Host-ram_form=\(try #require(page.cookie("__Host-ram_form")))",
            try #require(page.hidden("form"))
        )
    }
}

/// Members and invitations.
struct DashboardMemberTests {
    private static let members = "\(TestBrowser.organization)/members"

    @Test
    func `members are listed with their role, teams and sessions`() async throws {
        try await AccountsServer.withPolicy { server in
            let store = server.services.store
            try await store.makeTeam("backend", in: "acme", by: "alice", at: server.clock.now)
            _ = try await store.setMember(
                "mia",
                ofTeam: "backend",
                isIn: true,
                in: "acme",
                by: "alice",
                at: server.clock.now
            )
            try await server.signIn("mia", on: "device0000000000000000001a")
            try await server.signIn("mia", on: "device0000000000000000002b")
            _ = try await server.signIn("mia")
            let audrey = try await server.browser("audrey")
            let page = try await audrey.get(Self.members)
            #expect(page.text.contains("5 members"))
            for name in ["alice", "bob", "edith", "audrey", "mia"] {
                #expect(page.text.contains("\(Self.members)/\(name)\"><strong>\(name)</strong>"))
                #expect(page.text.contains("\(name)@acme.test"))
            }
            #expect(page.text.contains("2 machines, 1 browser or program"))
            #expect(!page.text.contains("Invite somebody"), "an auditor changes nothing")
            let found = try await audrey.get("\(Self.members)?q=BACKEND")
            #expect(found.text.contains("1 of 5 members") && found.text.contains("members/mia\""))
            let owners = try await audrey.get("\(Self.members)?role=owner")
            #expect(owners.text.contains("2 of 5 members") && !owners.text.contains("members/mia\""))
            #expect(try await audrey.get("\(Self.members)?q=nobody").text.contains("Nobody is like this"))

            let member = try await audrey.get("\(Self.members)/mia")
            #expect(member.text.contains("/teams/backend\">backend</a>"))
            #expect(member.text.ranges(of: "/devices/device").count == 2)
            #expect(!member.text.contains("formaction") && !member.text.contains("sessions/end"))
            #expect(try await audrey.get("\(Self.members)/nobody").status == 404)
        }
    }

    @Test
    func `how a member signs in is told: with a password, at the provider, both or neither`() async throws {
        try await AccountsServer.withPolicy { server in
            try await server.setProvider()
            try await server.services.store.database.write { database in
                try database.execute(
                    sql: """
                        INSERT INTO identity (organization, issuer, subject, user, email, created) VALUES
                            ('acme', 'https://id.test', '1', 'mia', NULL, 0),
                            ('acme', 'https://id.test', '2', 'bob', NULL, 0),
                            ('acme', 'https://earlier.test', '3', 'edith', NULL, 0);
                        UPDATE user SET password = NULL WHERE name IN ('bob', 'edith');
                        """
                )
            }
            let alice = try await server.browser("alice")
            for (name, words) in [
                ("mia", "Password, Single sign-on"), ("bob", "Single sign-on"), ("edith", "No way yet"),
                ("audrey", "Password"),
            ] {
                let page = try await alice.get("\(Self.members)/\(name)")
                #expect(page.text.contains("<dt>Signs in with</dt><dd>\(words)</dd>"), "\(name)")
            }
        }
    }

    @Test
    func `thousands of members are paged, and none is shown twice`() async throws {
        try await AccountsServer.withPolicy { server in
            try await server.services.store.database.write { database in
                for number in 0..<2000 {
                    let name = "user-\(number + 10_000)"
                    try database.execute(
                        sql: "INSERT INTO user (name, created) VALUES (?, 0)",
                        arguments: [name]
                    )
                    try database.execute(
                        sql: """
                            INSERT INTO membership (organization, user, role, created)
                            VALUES ('acme', ?, 'member', 0)
                            """,
                        arguments: [name]
                    )
                }
            }
            let alice = try await server.browser("alice")
            var seen: [String] = []
            for page in 1...81 {
                let text = try await alice.get("\(Self.members)?page=\(page)&q=user-").text
                seen += text.matches(of: #/members\/(user-[0-9]+)"/#).map { String($0.1) }
                #expect(text.utf8.count < 60_000)
            }
            // The last page again.
            #expect(Set(seen).count == 2000 && seen.count == 2000 + Paging.size)
        }
    }

    /// How many statements the database gets while the body runs.
    private static func statements(_ server: AccountsServer, _ body: () async throws -> Void) async throws -> Int {
        final class Counter: Sendable { let count = Mutex(0) }
        let counter = Counter()
        try await server.services.store.database.write { database in
            database.trace(options: .statement) { _ in counter.count.withLock { $0 += 1 } }
        }
        try await body()
        let count = counter.count.withLock { $0 }
        try await server.services.store.database.write { $0.trace(options: []) }
        return count
    }

    @Test
    func `a list of many rows asks the database no more often than one of few`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let paths =
                [
                    "members", "members?q=m", "members/mia", "teams", "teams/team0", "sessions",
                    "sessions/end?user=mia",
                    "devices", "devices?state=signed-out", "devices-export", "requests", "invitations",
                ].map { "\(TestBrowser.organization)/\($0)" } + ["/account"]
            func add(_ numbers: Range<Int>) async throws {
                for number in numbers {
                    let (user, device) = ("user\(number)", String(format: "device%022d", number))
                    try await server.services.store.database.write { database in
                        try Store.insertUser(user, email: nil, nil, at: server.clock.now, database)
                        try database.execute(
                            sql: """
                                INSERT INTO membership (organization, user, role, created)
                                VALUES ('acme', ?, 'member', 1)
                                """,
                            arguments: [user]
                        )
                    }
                    let store = server.services.store
                    try await store.makeTeam("team\(number)", in: "acme", by: "alice", at: server.clock.now)
                    for user in [user, "mia"] {
                        _ = try await store.setMember(
                            user,
                            ofTeam: "team0",
                            isIn: true,
                            in: "acme",
                            by: "alice",
                            at: server.clock.now
                        )
                    }
                    try await server.signIn(number.isMultiple(of: 2) ? "mia" : user, on: device)
                    _ = try await server.services.ask(
                        for: "r\(number).test",
                        to: "pull",
                        because: "",
                        by: .device(device),
                        in: "acme"
                    )
                }
            }
            func counts() async throws -> [String: Int] {
                var counts: [String: Int] = [:]
                for path in paths {
                    counts[path] = try await Self.statements(server) {
                        let answer = try await alice.get(path)
                        #expect(answer.status == 200, "\(path): \(answer)")
                    }
                }
                return counts
            }
            try await add(0..<2)
            var few = try await counts()
            try await add(2..<12)
            var many = try await counts()
            // How much each registry is wanted is asked for one by one.
            let requests = "\(TestBrowser.organization)/requests"
            let (before, after) = (few.removeValue(forKey: requests) ?? 0, many.removeValue(forKey: requests) ?? 0)
            #expect(after - before == 2 * 10)
            #expect(many == few)
            #expect(few.values.allSatisfy { $0 > 0 })
        }
    }

    @Test
    func `members are found by their name, their address, their teams and their role`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let store = server.services.store
            for team in ["backend", "middle-end"] {
                try await store.makeTeam(team, in: "acme", by: "alice", at: server.clock.now)
                _ = try await store.setMember(
                    "mia",
                    ofTeam: team,
                    isIn: true,
                    in: "acme",
                    by: "alice",
                    at: server.clock.now
                )
            }
            for (query, found) in [
                ("q=MIA", ["mia"]), ("q=edith%40ACME", ["edith"]), ("q=dle-end", ["mia"]), ("q=backend+middle", []),
                ("q=%25", []), ("role=auditor", ["audrey"]), ("role=auditor&q=mia", []),
                ("role=nothing&q=mia", ["mia"]),
            ] {
                let page = try await alice.get("\(TestBrowser.organization)/members?\(query)").text
                let names = page.matches(of: #/members\/([a-z]+)"><strong>/#).map { String($0.1) }
                #expect(names == found, "\(query)")
            }
            let page = try await alice.get("\(TestBrowser.organization)/members?q=mia").text
            #expect(page.contains("backend, middle-end"))
        }
    }

    @Test
    func `an owner changes a role and takes a member out, and shows who they are before`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let mia = try await server.browser("mia")
            server.clock.advance(601)
            let refused = try await alice.post("\(Self.members)/mia/role", ["role": "editor"])
            #expect(refused.status == 403 && refused.text.contains("Enter your password to go on."))
            #expect(refused.text.contains("<option value=\"editor\" selected>"), "what was chosen stays")
            #expect(try await server.role(of: "mia") == .member)
            let wrong = try await alice.post("\(Self.members)/mia/role", ["role": "editor", "password": "wrong"])
            #expect(wrong.status == 403)
            let done = try await alice.post(
                "\(Self.members)/mia/role",
                ["role": "editor", "password": AccountsServer.password]
            )
            #expect(done.status == 303)
            #expect(TestBrowser.message(done) == "mia is editor now.")
            #expect(try await server.role(of: "mia") == .editor)
            #expect(try await mia.get("/organizations/acme/registry-access/add").status == 200, "at once")

            let question = try await alice.get("\(Self.members)/mia/remove")
            #expect(question.status == 200 && question.text.contains("Remove mia from acme?"), "\(question)")
            #expect(try await alice.get("\(Self.members)/mia").text.contains("href=\"\(Self.members)/mia/remove\""))
            #expect(try await alice.get("\(Self.members)/nobody/remove").status == 404)
            #expect(try await server.role(of: "mia") == .editor, "to be asked does nothing")
            let removed = try await alice.post("\(Self.members)/mia/remove")
            #expect(removed.headers[.location] == Self.members)
            #expect(try await server.role(of: "mia") == nil)
            #expect(try await mia.get("/organizations/acme").status == 404)
            #expect(try await server.recorded(.memberRoleChanged) == ["alice mia"])
            #expect(try await server.recorded(.memberRemoved) == ["alice mia"])
            #expect(try await alice.post("\(Self.members)/mia/remove").status == 404)
            #expect(try await alice.post("\(Self.members)/bob/role", ["role": "king"]).status == 400)
        }
    }

    @Test(arguments: [("role", ["role": "editor"]), ("remove", [:])])
    func `the last owner stays, and is told so in words`(what: String, fields: [String: String]) async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            #expect(!(try await alice.get("\(Self.members)/alice").text.contains("is the only owner")))
            #expect(try await alice.post("\(Self.members)/bob/role", ["role": "member"]).status == 303)
            #expect(try await alice.get("\(Self.members)/alice").text.contains("is the only owner"))
            let answer = try await alice.post("\(Self.members)/alice/\(what)", fields)
            #expect(answer.status == 409)
            #expect(answer.text.contains("role=\"alert\">The last owner cannot leave; make another member an owner"))
            #expect(try await server.role(of: "alice") == .owner)
        }
    }

    @Test
    func `of two owners who remove each other at once, one stays`() async throws {
        try await AccountsServer.withPolicy { server in
            let (alice, bob) = (try await server.browser("alice"), try await server.browser("bob"))
            async let first = alice.post("\(Self.members)/bob/remove")
            async let second = bob.post("\(Self.members)/alice/remove")
            let answers = [try await first.status, try await second.status]
            #expect(answers.count { $0 == 303 } == 1, "\(answers)")
            let owners = try await server.services.store.members(of: "acme").filter { $0.role == .owner }
            #expect(owners.count == 1)
        }
    }

    @Test
    func `an owner who steps down or leaves is not sent to a page that they may not see`() async throws {
        try await AccountsServer.withPolicy { server in
            let bob = try await server.browser("bob")
            let down = try await bob.post("\(Self.members)/bob/role", ["role": "member"])
            #expect(down.headers[.location] == "/organizations/acme")
            #expect(try await bob.get("/organizations/acme").status == 303)
            let alice = try await server.browser("alice")
            _ = try await alice.post("\(Self.members)/bob/role", ["role": "owner"])
            let out = try await bob.post("\(Self.members)/bob/remove")
            #expect(out.headers[.location] == "/organizations")
            #expect(try await bob.get("/organizations").status == 200)
        }
    }
}

struct DashboardInvitationTests {
    private static let invitations = "\(TestBrowser.organization)/invitations"

    /// Makes an invitation on the page, and gives its link without the server.
    private static func invite(_ browser: TestBrowser, _ fields: [String: String]) async throws -> String {
        let page = try await browser.post(invitations, fields)
        #expect(page.status == 201)
        let link = try #require(page.text.firstMatch(of: #/value="https:\/\/ram\.acme\.test(\/join\?[^"]+)"/#)?.1)
        return String(link)
    }

    /// Sends the form of an invitation's page without a session.
    private static func join(_ server: AccountsServer, _ link: String, _ fields: [String: String]) async throws
        -> Answer
    {
        let page = try await server.send(.get, link)
        let (cookie, form) = try server.visitor(page)
        let secret = try #require(page.hidden("invitation"))
        return try await server.form(
            "/join",
            ["form": form, "invitation": secret].merging(fields) { $1 },
            headers: [.cookie: cookie, .origin: AccountsServer.publicURL]
        )
    }

    @Test
    func `an invitation's link is shown once, and whoever has it joins and is signed in`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let link = try await Self.invite(alice, ["email": "nora@acme.test", "role": "editor"])
            let list = try await alice.get(Self.invitations)
            #expect(list.text.contains("nora@acme.test") && !list.text.contains("rami_"))
            let page = try await server.send(.get, link)
            #expect(page.status == 200)
            #expect(page.text.contains("alice invites you to be editor of acme"))
            #expect(page.headers[.cacheControl] == "no-store")

            let password = "quite a fine sentence"
            let joined = try await Self.join(
                server,
                link,
                ["name": "nora", "password": password, "repeated": password]
            )
            #expect(joined.status == 303)
            #expect(joined.headers[.location] == "/organizations/acme")
            let nora = TestBrowser(server, try #require(joined.cookie("__Host-ram_session")))
            #expect(try await nora.get("/organizations/acme/registry-access/add").status == 200)
            #expect(try await server.role(of: "nora") == .editor)
            #expect(try await server.services.user(named: "nora", password: Password(password), from: "-") == "nora")
            // It is used up.
            let again = try await server.send(.get, link)
            #expect(again.status == 404 && again.text.contains("This invitation is not good, or not any more."))
            #expect(try await server.recorded(.memberInvited) == ["alice nora@acme.test"])
            #expect(try await server.recorded(.memberAdded).last == "nora nora")
        }
    }

    @Test(arguments: [
        ("name", "No Name", "is no name"), ("name", "x", "is no name"),
        ("name", "system", "which is the server&#39;s own"), ("password", "short", "12 to 256 bytes"),
        ("repeated", "another sentence", "not the same"), ("name", "mia", "the password is not theirs"),
        ("name", "", "is no name"), ("password", "acme acme acme!", "12"),
    ])
    func `what is not in order is told, and the name that was typed stays`(field: String, value: String, words: String)
        async throws
    {
        try await AccountsServer.withPolicy { server in
            let link = try await Self.invite(try await server.browser("alice"), ["role": "member"])
            var fields = ["name": "nora", "password": "quite a fine sentence", "repeated": "quite a fine sentence"]
            fields[field] = value
            if field == "password" { fields["repeated"] = value }
            let answer = try await Self.join(server, link, fields)
            #expect((400..<500).contains(answer.status), "\(answer.status)")
            if words != "12" { #expect(answer.text.contains(words), "\(answer.text)") }
            #expect(answer.text.contains("value=\"\(HTMLText.escaped(fields["name"] ?? ""))\""))
            #expect(answer.cookie("__Host-ram_session") == nil)
            #expect(try await server.count("membership") == 5)
            #expect(try await server.count("invitation") == 1, "it is good for another try")
        }
    }

    @Test
    func `somebody with an account joins with its password, or with one click where they are signed in`() async throws {
        try await AccountsServer.withPolicy { server in
            try await server.makeStranger("nora")
            try await server.makeStranger("olaf")
            let alice = try await server.browser("alice")
            let first = try await Self.invite(alice, ["role": "auditor"])
            let joined = try await Self.join(server, first, ["name": "nora", "password": AccountsServer.password])
            #expect(joined.status == 303)
            #expect(try await server.role(of: "nora") == .auditor)

            let second = try await Self.invite(alice, ["role": "member"])
            let olaf = try await server.browser("olaf")
            let page = try await olaf.get(second)
            #expect(page.text.contains("Join as olaf") && !page.text.contains("name=\"password\""))
            let secret = try #require(page.hidden("invitation"))
            // A form of another site does nothing.
            let foreign = try await olaf.post("/join", ["invitation": secret], origin: "https://evil.test")
            #expect(foreign.status == 403)
            let forged = try await olaf.post("/join", ["invitation": secret, "form": "0"])
            #expect(forged.status == 403)
            #expect(try await server.role(of: "olaf") == nil)
            let answer = try await olaf.post("/join", ["invitation": secret, "name": "alice"])
            #expect(answer.headers[.location] == "/organizations/acme")
            #expect(try await server.role(of: "olaf") == .member, "whatever name was sent")

            let third = try await Self.invite(alice, ["role": "owner"])
            #expect(try await olaf.get(third).text.contains("You belong to acme already"))
            let twice = try await olaf.post("/join", ["invitation": String(third.dropFirst("/join?invitation=".count))])
            #expect(twice.status == 409)
            #expect(try await server.role(of: "olaf") == .member)
            #expect(try await server.count("invitation") == 1, "and the invitation is still good")
        }
    }

    @Test
    func `an invitation that is withdrawn or too old lets nobody in`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let withdrawn = try await Self.invite(alice, ["role": "member"])
            let page = try await alice.get(Self.invitations)
            let path = try #require(page.text.firstMatch(of: #/action="([^"]+\/withdraw)"/#)?.1)
            let answer = try await alice.post(String(path))
            #expect(TestBrowser.message(answer).contains("is withdrawn"))
            #expect(try await server.send(.get, withdrawn).status == 404)
            #expect(TestBrowser.message(try await alice.post(String(path))).contains("no such invitation any more"))
            #expect(try await server.recorded(.invitationCancelled).count == 1)

            let old = try await Self.invite(alice, ["role": "member"])
            server.clock.advance(Invitation.lifetimeSeconds)
            #expect(try await server.send(.get, old).status == 404)
            for text in ["rami_x", "%3Cscript%3E", OpaqueToken(.invitation).secret, OpaqueToken(.access).secret] {
                let page = try await server.send(.get, "/join?invitation=\(text)")
                #expect(page.status == 404 && page.text.contains("Your invitation"), "\(text)")
            }
            #expect(try await server.send(.get, "/join").status == 200)
        }
    }

    @Test
    func `invitations are tried a few times a minute only`() async throws {
        try await AccountsServer.withPolicy { server in
            var statuses: [Int] = []
            for _ in 0..<12 { statuses.append(try await server.send(.get, "/join?invitation=rami_x").status) }
            #expect(statuses == Array(repeating: 404, count: 10) + [429, 429])
        }
    }

    @Test
    func `whoever invites shows who they are, and an address that is none stays to be mended`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let wrong = try await alice.post(Self.invitations, ["email": "nora", "role": "owner"])
            #expect(wrong.status == 422 && wrong.text.contains("value=\"nora\""))
            #expect(wrong.text.contains("<option value=\"owner\" selected>"))
            server.clock.advance(601)
            let refused = try await alice.post(Self.invitations, ["email": "nora@x.test", "role": "owner"])
            #expect(refused.status == 403 && refused.text.contains("value=\"nora@x.test\""))
            #expect(try await server.count("invitation") == 0)
            let done = try await alice.post(
                Self.invitations,
                ["email": "nora@x.test", "role": "owner", "password": AccountsServer.password]
            )
            #expect(done.status == 201 && done.text.contains("/join?invitation=rami_"))
            #expect(!done.text.contains("name=\"password\""))
        }
    }

    @Test
    func `where the organization has a provider, the page of an invitation leads there`() async throws {
        try await AccountsServer.withPolicy { server in
            let link = try await Self.invite(try await server.browser("alice"), ["role": "member"])
            #expect(!(try await server.send(.get, link).text.contains("/single-sign-on/acme")))
            try await server.setProvider()
            #expect(try await server.send(.get, link).text.contains("href=\"/single-sign-on/acme\""))
        }
    }

    @Test
    func `hostile texts in names, addresses, teams and devices stay text`() async throws {
        try await AccountsServer.withPolicy { server in
            let harmless = try await Self.pages(server, with: "harmless")
            for text in DashboardPageTests.hostile {
                let pages = try await Self.pages(server, with: text)
                for (name, page) in pages {
                    #expect(PageTags(page) == PageTags(harmless[name] ?? ""), "\(text) on \(name)")
                    #expect(page.contains(HTMLText.escaped(text)), "\(text) on \(name)")
                }
            }
        }
    }

    /// Pages with a text in every field that a database takes it in.
    private static func pages(_ server: AccountsServer, with text: String) async throws -> [String: String] {
        let device = "device0000000000000000001a"
        let now = server.clock.now
        // Names are shorter, and begin with a letter.
        let name = text.utf8.count <= 37 ? "a-\(text)" : "a-name"
        try await server.services.store.database.write { database in
            try database.execute(
                sql: """
                    DELETE FROM session; DELETE FROM device; DELETE FROM invitation; DELETE FROM team;
                    DELETE FROM membership WHERE user LIKE 'a-%'; DELETE FROM user WHERE name LIKE 'a-%';
                    """
            )
            try database.execute(
                sql: "INSERT INTO user (name, email, created) VALUES (?, ?, 0)",
                arguments: [name, "\(text)@x"]
            )
            try database.execute(
                sql: "INSERT INTO membership (organization, user, role, created) VALUES ('acme', ?, 'member', 0)",
                arguments: [name]
            )
            try database.execute(
                sql: "INSERT INTO team (organization, name, created) VALUES ('acme', ?, 0)",
                arguments: [name]
            )
            try database.execute(
                sql: "INSERT INTO teamMember (organization, team, user) VALUES ('acme', ?, ?)",
                arguments: [name, name]
            )
        }
        try await server.signIn("alice", on: device)
        try await server.services.store.database.write { database in
            try database.execute(sql: "UPDATE device SET name = ?", arguments: [text])
            try database.execute(sql: "UPDATE session SET address = ?", arguments: [text])
        }
        let alice = try await server.browser("alice")
        _ = try await server.services.store.invite("\(text)@x", as: .member, to: "acme", by: "alice", at: now)
        let encoded = PercentEncoding.encode(text)
        let base = TestBrowser.organization
        var pages = [
            "members": try await alice.get("\(base)/members").text,
            "search": try await alice.get("\(base)/members?q=\(encoded)&role=owner").text,
            "member": try await alice.get("\(base)/members/alice").text,
            "invitations": try await alice.get("\(base)/invitations").text,
            "address": try await alice.post("\(base)/invitations", ["email": text, "role": "member"]).text,
            "sessions": try await alice.get("\(base)/sessions").text,
            "session search": try await alice.get("\(base)/sessions?q=\(encoded)").text,
            "new team": try await alice.post("\(base)/teams", ["team": "\(text) !"]).text,
            "account": try await alice.get("/account").text,
        ]
        if name != "a-name" { pages["teams"] = try await alice.get("\(base)/teams").text }
        // A text with an at sign is an address.
        if text.contains("@") { pages["address"] = nil }
        return pages
    }
}
