import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// A way out for whoever has forgotten a password.
struct PasswordResetTests {
    private static let new = "quite a fine sentence"
    /// Another password, as the form has it.
    private static let another = ["password": "another fine one", "repeated": "another fine one"]
    private static let device = "device0000000000000000001a"

    private static func page(_ user: String) -> String {
        "\(TestBrowser.organization)/members/\(user)/password-reset"
    }

    /// Makes a link on the dashboard, and gives it without the server.
    private static func link(_ browser: TestBrowser, for user: String = "mia") async throws -> String {
        let made = try await browser.post(page(user))
        #expect(made.status == 201, "\(made)")
        let found = made.text.firstMatch(of: #/value="https:\/\/ram\.acme\.test(\/new-password\?link=ramn_[^"]+)"/#)
        return String(try #require(found?.1))
    }

    /// Sends the form of the page behind a link.
    private static func set(
        _ server: AccountsServer,
        _ link: String,
        _ fields: [String: String] = ["password": new, "repeated": new],
        origin: String? = AccountsServer.publicURL
    ) async throws -> Answer {
        let page = try await server.send(.get, "/new-password")
        let (cookie, form) = (
            "__Host-ram_form=\(try #require(page.cookie("__Host-ram_form")))",
            BrowserSession.formToken(try #require(page.cookie("__Host-ram_form").flatMap { OpaqueToken($0) }))
        )
        var headers: HTTPFields = [.cookie: cookie]
        headers[.origin] = origin
        let secret = String(link.split(separator: "=").last ?? "")
        return try await server.form(
            "/new-password",
            ["form": form, "link": secret].merging(fields) { $1 },
            headers: headers
        )
    }

    private static func signsIn(_ server: AccountsServer, _ password: String, _ user: String = "mia") async throws
        -> Bool
    {
        try await server.services.user(named: user, password: Password(password), from: "192.0.2.9") == user
    }

    @Test
    func `an owner makes a link, and whoever has it sets a new password, once; all their sessions end`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let mia = try await server.browser("mia")
            try await server.signIn("mia", on: Self.device)
            _ = try await server.signIn("mia")
            #expect(try await alice.get("\(TestBrowser.organization)/members/mia").text.contains(Self.page("mia")))
            let question = try await alice.get(Self.page("mia"))
            #expect(question.status == 200 && question.text.contains("be sure that it is mia who asks"), "\(question)")
            #expect(try await server.count("passwordReset") == 0, "it is only asked")

            let link = try await Self.link(alice)
            let secret = try #require(link.split(separator: "=").last.flatMap { OpaqueToken(String($0)) })
            #expect(try await server.count("passwordReset WHERE digest = '\(secret.digest)' AND user = 'mia'") == 1)
            #expect(try await !alice.get(Self.page("mia")).text.contains("ramn_"), "it is shown once")
            #expect(try await server.recorded(.passwordResetMade) == ["alice mia"])
            #expect(try await server.count("activity WHERE data LIKE '%ramn%'") == 0)

            let page = try await server.send(.get, link)
            #expect(page.status == 200 && page.text.contains("A new password for mia"), "\(page)")
            #expect(page.text.contains("alice, an owner of acme, has made this link"))
            #expect(page.headers[.cacheControl] == "no-store")
            #expect(try await Self.signsIn(server, AccountsServer.password), "until it is used the old one is good")
            #expect(try await mia.get("/account").status == 200)

            let done = try await Self.set(server, link)
            #expect(done.status == 303 && done.headers[.location] == "/sign-in", "\(done)")
            #expect(TestBrowser.message(done).contains("mia has a new password"))
            #expect(try await server.count("session WHERE user = 'mia' AND ended IS NULL") == 0)
            #expect(try await mia.get("/account").status == 303)
            #expect(try await server.services.store.sessionState(device: Self.device, in: "acme") == .ended)
            #expect(try await !Self.signsIn(server, AccountsServer.password))
            #expect(try await Self.signsIn(server, Self.new))
            #expect(try await alice.get("/account").status == 200, "nobody else is signed out")
            #expect(try await server.recorded(.passwordChanged) == ["mia mia"])
            #expect(try await server.count("activity WHERE data = '{\"maker\":\"alice\"}'") == 1)

            // It is used up.
            #expect(try await server.send(.get, link).status == 404)
            let again = try await Self.set(server, link, Self.another)
            #expect(again.status == 404 && again.text.contains("This link is not good, or not any more."), "\(again)")
            #expect(try await Self.signsIn(server, Self.new))
        }
    }

    /// What may not be, by what has to be done for it.
    @Test(arguments: ["elsewhere", "owner elsewhere", "provider", "self", "nobody", "token"])
    func `nobody gets at somebody who is not theirs alone`(why: String) async throws {
        try await AccountsServer.withPolicy { server in
            try await server.setProvider()
            var (user, status, words) = ("mia", 403, "belongs to another organization")
            var token = try await server.signIn("alice")
            switch why {
            case "elsewhere": try await server.make("other", ["olga": .owner, "mia": .member])
            case "owner elsewhere": try await server.make("other", ["mia": .owner])
            case "provider":
                try await server.services.store.database.write { database in
                    try database.execute(
                        sql: """
                            INSERT INTO identity (organization, issuer, subject, user, email, created)
                                VALUES ('acme', 'https://id.test', '1', 'mia', NULL, 0);
                            UPDATE user SET password = NULL WHERE name = 'mia';
                            """
                    )
                }
                words = "signs in at the organization"
            case "self": (user, words) = ("alice", "for somebody else")
            case "nobody": (user, status, words) = ("nobody", 404, "there is no member")
            default:
                token = try await server.services.store.makeAccessToken(
                    named: "all",
                    of: "alice",
                    in: "acme",
                    scopes: Set(Permission.allCases),
                    now: server.clock.now,
                    expires: server.clock.now + 86_400
                ).secret
                words = "an access token cannot do this"
            }
            let path = "/v1/organizations/acme/members/\(user)/password-reset"
            let refused = try await server.send(.post, path, as: token)
            #expect(refused.status == status && refused["detail"]?.contains(words) == true, "\(refused)")
            if why != "token" {
                let alice = try await server.browser("alice")
                #expect(try await alice.get(Self.page(user)).status == status)
                #expect(try await alice.post(Self.page(user)).status == status)
            }
            #expect(try await server.count("passwordReset") == 0)
            #expect(try await server.recorded(.passwordResetMade) == [])
        }
    }

    @Test
    func `the schema itself keeps links to one's own people, and to owners`() async throws {
        try await AccountsServer.withPolicy { server in
            try await server.make("other", ["olga": .owner, "mia": .member])
            for (user, maker) in [("mia", "alice"), ("audrey", "edith"), ("olga", "alice"), ("audrey", "olga")] {
                await #expect(throws: DatabaseError.self, "\(user) by \(maker)") {
                    try await server.services.store.database.write { database in
                        try database.execute(
                            sql: """
                                INSERT INTO passwordReset (digest, organization, user, maker, created, expires)
                                VALUES (?, 'acme', ?, ?, 1, 2)
                                """,
                            arguments: [OpaqueToken(.passwordReset).digest, user, maker]
                        )
                    }
                }
            }
        }
    }

    @Test(arguments: ["time", "another", "joins", "steps down", "maker leaves", "leaves", "changed", "set"])
    func `a link ends`(by why: String) async throws {
        try await AccountsServer.withPolicy { server in
            let (store, now) = (server.services.store, server.clock.now)
            let bob = try await server.browser("bob")
            let link = try await Self.link(bob)
            #expect(try await server.send(.get, link).status == 200)
            switch why {
            case "time":
                server.clock.advance(PasswordReset.lifetimeSeconds - 1)
                #expect(try await server.send(.get, link).status == 200)
                server.clock.advance(1)
            case "another":
                let next = try await Self.link(try await server.browser("alice"))
                #expect(try await server.send(.get, next).status == 200)
            case "joins": try await server.make("other", ["mia": .member])
            case "steps down": _ = try await store.changeRole(of: "bob", to: .editor, in: "acme", by: "alice", at: now)
            case "maker leaves": _ = try await store.removeMember("bob", from: "acme", by: "alice", at: now)
            case "leaves": _ = try await store.removeMember("mia", from: "acme", by: "alice", at: now)
            case "changed":
                let hash = try await server.services.passwords.hash(Password(Self.new))
                _ = try await store.changePassword(of: "mia", to: hash, keeping: nil, at: now)
            default:
                let hash = try await server.services.passwords.hash(Password(Self.new))
                _ = try await store.setPassword(of: "mia", to: hash, at: now)
            }
            #expect(try await server.send(.get, link).status == 404)
            let used = try await Self.set(server, link, Self.another)
            #expect(used.status == 404, "\(used)")
            #expect(try await !Self.signsIn(server, "another fine one"))
        }
    }

    @Test
    func `whoever makes a link shows who they are`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            server.clock.advance(601)
            #expect(try await alice.get(Self.page("mia")).text.contains("name=\"password\""))
            let refused = try await alice.post(Self.page("mia"))
            #expect(refused.status == 403 && refused.text.contains("Enter your password"), "\(refused)")
            let wrong = try await alice.post(Self.page("mia"), ["password": "wrong"])
            #expect(wrong.status == 403 && wrong.text.contains("The password is wrong."))
            #expect(try await server.count("passwordReset") == 0)
            let made = try await alice.post(Self.page("mia"), ["password": AccountsServer.password])
            #expect(made.status == 201 && made.text.contains("/new-password?link=ramn_"))
        }
    }

    @Test(arguments: [
        (["password": "short", "repeated": "short"], "12 to 256 bytes"),
        (["password": "mia in a wonderland", "repeated": "mia in a wonderland"], "the name of its owner"),
        (["password": "horses of acme", "repeated": "horses of acme"], "everybody would try"),
        (["password": new, "repeated": "another fine one"], "not the same"), (["password": new], "not the same"),
        (["form": "0", "password": new, "repeated": new], "did not come from a page"),
    ])
    func `what is not in order is told, and the link is good for another try`(
        fields: [String: String],
        words: String
    ) async throws {
        try await AccountsServer.withPolicy { server in
            let link = try await Self.link(try await server.browser("alice"))
            let answer = try await Self.set(server, link, fields)
            #expect((400..<500).contains(answer.status) && answer.text.contains(words), "\(answer)")
            let foreign = try await Self.set(server, link, origin: "https://evil.test")
            #expect(foreign.status == 403)
            #expect(try await Self.signsIn(server, AccountsServer.password))
            #expect(try await Self.set(server, link).status == 303)
        }
    }

    @Test
    func `of two who use a link at the same time one sets the password`() async throws {
        try await AccountsServer.withPolicy { server in
            let link = try await Self.link(try await server.browser("alice"))
            let passwords = ["quite a fine sentence", "another fine sentence", "some more fine words"]
            let answers = try await withThrowingTaskGroup { group in
                for password in passwords {
                    group.addTask {
                        try await (
                            password, Self.set(server, link, ["password": password, "repeated": password]).status
                        )
                    }
                }
                return try await group.reduce(into: [String: Int]()) { $0[$1.0] = $1.1 }
            }
            #expect(answers.values.count { $0 == 303 } == 1, "\(answers)")
            for (password, status) in answers {
                #expect(try await Self.signsIn(server, password) == (status == 303))
            }
            #expect(try await server.recorded(.passwordChanged).count == 1)
        }
    }

    @Test
    func `links are tried a few times a minute only, and no text in them is more than a text`() async throws {
        try await AccountsServer.withPolicy { server in
            var statuses: [Int] = []
            for text in ["ramn_x", "%3Cscript%3E", OpaqueToken(.passwordReset).secret, OpaqueToken(.access).secret] {
                let page = try await server.send(.get, "/new-password?link=\(text)")
                #expect(page.text.contains("The secret of your link") && !page.text.contains("<script>"), "\(text)")
                statuses.append(page.status)
            }
            for _ in 0..<8 { statuses.append(try await server.send(.get, "/new-password?link=ramn_x").status) }
            #expect(statuses == Array(repeating: 404, count: 10) + [429, 429])
            #expect(try await server.send(.get, "/new-password").status == 200)
        }
    }

    @Test
    func `whoever has tried old passwords too often signs in at once with the new one`() async throws {
        try await AccountsServer.withPolicy { server in
            let link = try await Self.link(try await server.browser("alice"))
            // The address of whoever asks without a socket.
            let address = "-"
            for _ in 0..<10 {
                server.clock.advance(60)
                _ = try await server.services.user(named: "mia", password: Password("wrong"), from: address)
            }
            await #expect(throws: Problem.self) {
                try await server.services.user(named: "mia", password: Password(Self.new), from: address)
            }
            #expect(try await Self.set(server, link).status == 303)
            server.clock.advance(60)
            let user = try await server.services.user(named: "mia", password: Password(Self.new), from: address)
            #expect(user == "mia")
        }
    }

    @Test
    func `no link is good that comes from a copy: it may have been used since`() async throws {
        try await withTemporaryDirectory { directory in
            let (data, copy) = (DataDirectory(path: "\(directory)/data"), "\(directory)/copy.sqlite")
            try await ServerCommandTests.make(in: data.path)
            let store = try Store(path: data.database)
            try await store.database.write { database in
                try Store.insertUser("mia", email: nil, nil, at: .now, database)
                try database.execute(
                    sql: """
                        INSERT INTO membership (organization, user, role, created) VALUES ('acme', 'mia', 'member', 1);
                        INSERT INTO passwordReset (digest, organization, user, maker, created, expires)
                            VALUES ('\(OpaqueToken(.passwordReset).digest)', 'acme', 'mia', 'alice', 1, 2);
                        """
                )
            }
            try store.database.close()
            try Backup.make(of: data, to: copy)
            _ = try Backup.restore(copy, in: data, at: .now)
            let restored = try DatabaseQueue(path: data.database)
            #expect(try await restored.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM passwordReset") } == 0)
        }
    }

    @Test
    func `somebody without any way to sign in gets one`() async throws {
        try await AccountsServer.withPolicy { server in
            try await server.services.store.database.write { database in
                try database.execute(sql: "UPDATE user SET password = NULL WHERE name = 'mia'")
            }
            let link = try await Self.link(try await server.browser("alice"))
            #expect(try await Self.set(server, link).status == 303)
            #expect(try await Self.signsIn(server, Self.new))
        }
    }
}

/// What other processes write into the database of a server that runs.
struct OtherProcessesTests {
    @Test
    func `whoever waits is woken when another process writes, and not when this one does`() async throws {
        try await withTemporaryDirectory { directory in
            let address = try #require(PublicAddress("https://ram.acme.test"))
            let services = Services(
                store: try Store(path: "\(directory)/server.sqlite"),
                settings: ServerSettings(publicAddress: address),
                keys: SigningKeys(directory: "\(directory)/keys"),
                passwords: Passwords(cost: 4),
                now: { .now }
            )
            let data = DataDirectory(path: directory)
            func setup(_ name: String, _ owner: String) async throws -> OrganizationSetup {
                OrganizationSetup(
                    organization: name,
                    contact: nil,
                    owner: owner,
                    password: try await services.passwords.hash(Password("correct horse battery")),
                    now: .now,
                    documents: FirstDocuments(rootKey: .new(file: "\(directory)/\(name).key"))
                )
            }
            _ = try await setup("acme", "alice").run(in: services.store, data)
            var others = OtherProcesses(services: services)
            #expect(try await !others.look(), "there is nothing to compare with")
            _ = try await services.store.recordInEachOrganization(
                of: "alice",
                Activity(.passwordChanged, by: "alice", name: "alice"),
                at: .now
            )
            #expect(try await !others.look())
            let policy = try #require(try await services.publisher.served.newest(of: "acme"))
            #expect(policy.policyVersion == 1)
            let seen = await services.changes.count(of: "acme")

            // Another process has a store of its own.
            let other = try Store(path: "\(directory)/server.sqlite")
            let hash = try await services.passwords.hash(Password("quite a fine sentence"))
            #expect(try await other.setPassword(of: "alice", to: hash, at: .now) == ["acme"])
            #expect(try await others.look())
            #expect(await services.changes.count(of: "acme") > seen)
            #expect(try await !others.look(), "it is told once")
            _ = try await setup("ops", "bob").run(in: other, data)
            try await Publisher(store: other, keys: services.publisher.keys, changes: ChangeFeed()) { .now }
                .renewFreshness(of: "acme")
            #expect(try await others.look())
            let newest = try #require(try await services.publisher.served.newest(of: "acme"))
            #expect(newest.sequence == policy.sequence + 1)
            #expect(try await services.publisher.served.newest(of: "ops")?.policyVersion == 1)
        }
    }
}
