import Foundation
import GRDB
import HTTPTypes
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

extension AccountsServer {
    /// Signs in with a password.
    func passwordGrant(
        _ name: String = "alice",
        _ password: String = AccountsServer.password,
        _ more: [String: String] = ["organization": "acme"]
    ) async throws -> Answer {
        let fields = ["grant_type": "password", "username": name, "password": password]
        return try await form("/v1/token", fields.merging(more) { $1 })
    }

    func refreshGrant(_ token: String?, _ more: [String: String] = [:]) async throws -> Answer {
        let fields = ["grant_type": "refresh_token", "refresh_token": token ?? ""]
        return try await form("/v1/token", fields.merging(more) { $1 })
    }

    /// Whether a token is good.
    func isSignedIn(_ token: String?) async throws -> Bool {
        try await send(.get, "/v1/me", as: token).status == 200
    }
}

struct PasswordTests {
    @Test
    func `a password is known again, and no other`() async throws {
        let passwords = Passwords(cost: 4)
        let hash = try await passwords.hash(Password("correct horse battery"))
        #expect(hash.phc.hasPrefix("$scrypt$ln=4,r=8,p=3$"))
        #expect(PasswordHash(phc: hash.phc) == hash)
        #expect(try await passwords.check(Password("correct horse battery"), against: hash))
        #expect(try await !passwords.check(Password("correct horse batterx"), against: hash))
        #expect(try await !passwords.check(Password(""), against: hash))
        #expect(try await !passwords.check(Password("correct horse battery"), against: nil))
        #expect(try await passwords.hash(Password("correct horse battery")) != hash)
    }

    @Test
    func `a hash that another program made with scrypt is known`() async throws {
        // Python's hashlib.scrypt, with this salt and these parameters.
        let phc = "$scrypt$ln=10,r=8,p=2$c2FsdHNhbHRzYWx0c2FsdA$x7s26qK5a5UE1Qu/WZ5xwbOo1f/G8lZSqQ2aPGM4V04"
        let hash = try #require(PasswordHash(phc: phc))
        #expect(try await Passwords(cost: 4).check(Password("correct horse battery"), against: hash))
        #expect(try await !Passwords(cost: 4).check(Password("correct horse"), against: hash))
    }

    @Test
    func `the same letters composed in another way are the same password`() async throws {
        let passwords = Passwords(cost: 4)
        let hash = try await passwords.hash(Password("caf\u{E9} und Kuchen"))
        #expect(try await passwords.check(Password("cafe\u{301} und Kuchen"), against: hash))
    }

    @Test(arguments: [
        "short", String(repeating: "ab", count: 10), "alice in the wonderland", "my Password is this",
        String(repeating: "abcdefgh", count: 33), "tab\tin the password",
    ])
    func `weak passwords are not taken`(password: String) {
        #expect(Password(password).weakness(for: "alice") != nil)
    }

    @Test(arguments: [
        "", "$scrypt$", "$scrypt$ln=17,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$", "$argon2id$v=19$m=1,t=1,p=1$YQ$YQ",
        "$scrypt$ln=63,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$cCO9yzr9c0hGHAbNgf04/evwKk+oQb87jk+bxTbVDUQ",
        "$scrypt$ln=17,r=9,p=1$c2FsdHNhbHRzYWx0c2FsdA$cCO9yzr9c0hGHAbNgf04/evwKk+oQb87jk+bxTbVDUQ",
        "$scrypt$ln=017,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$cCO9yzr9c0hGHAbNgf04/evwKk+oQb87jk+bxTbVDUQ",
    ])
    func `what this program would not have written is no hash`(phc: String) {
        #expect(PasswordHash(phc: phc) == nil)
    }

    @Test
    func `no password and no hash shows in a message`() async throws {
        let password = Password("correct horse battery")
        let hash = try await Passwords(cost: 4).hash(password)
        #expect("\(password) \(hash)" == "<redacted> <redacted>")
    }

    @Test
    func `two are computed at a time, sixteen wait, and others are turned away`() async throws {
        let passwords = Passwords(cost: 12)
        let outcomes = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<40 {
                group.addTask {
                    do {
                        _ = try await passwords.hash(Password("correct horse battery"))
                        return 200
                    } catch {
                        return (error as? Problem)?.status.code ?? 0
                    }
                }
            }
            return await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
        }
        #expect(outcomes[200, default: 0] >= 18)
        #expect(outcomes[200, default: 0] + outcomes[503, default: 0] == 40)
        // Whoever was turned away took no place.
        #expect(try await passwords.hash(Password("correct horse battery")).phc.isEmpty == false)
    }
}

struct SignInTests {
    @Test
    func `a name and a password give a session, whose tokens the database does not hold`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let answer = try await server.passwordGrant()
            #expect(answer.status == 200)
            #expect(answer["token_type"] == "Bearer")
            #expect(answer["user"] == "alice")
            #expect(answer.json.value(named: "expires_in") == .number("900"))
            #expect(answer.json.value(named: "ticket") == nil)
            #expect(answer.headers[.cacheControl] == "no-store")
            #expect(try await server.isSignedIn(answer["access_token"]))
            let tokens = [try #require(answer["access_token"]), try #require(answer["refresh_token"])]
            let row = try await server.services.store.database.read { database in
                try Row.fetchAll(database, sql: "SELECT * FROM session").map { "\($0)" }.joined()
            }
            for token in tokens { #expect(!row.contains(token)) }
            #expect(OpaqueToken(tokens[0])?.kind == .access && OpaqueToken(tokens[1])?.kind == .refresh)
            // By the e-mail address, too; in whatever case.
            #expect(try await server.passwordGrant("Alice@acme.test").status == 200)
        }
    }

    @Test(arguments: [
        ("alice", "wrong horse battery"), ("nobody", AccountsServer.password), ("ALICE", AccountsServer.password),
        ("", AccountsServer.password), ("alice' OR 1=1 --", AccountsServer.password),
    ])
    func `a wrong name and a wrong password are refused in the same words`(name: String, password: String) async throws
    {
        try await AccountsServer.with { server in
            try await server.make()
            let answer = try await server.passwordGrant(name, password)
            #expect(answer.status == 400)
            #expect(answer["error"] == (name.isEmpty ? "invalid_request" : "invalid_grant"))
            if !name.isEmpty { #expect(answer["error_description"] == "the name or the password is wrong") }
            #expect(try await server.count("session") == 0)
        }
    }

    @Test(arguments: ["other", "nowhere", "Not A Name"])
    func `who does not belong to the organization is told so`(organization: String) async throws {
        try await AccountsServer.with { server in
            try await server.make()
            try await server.make("other", ["bob": .owner])
            let answer = try await server.passwordGrant(
                "alice",
                AccountsServer.password,
                ["organization": organization]
            )
            #expect(answer.status == 400)
            #expect(answer["error"] == "not_a_member")
            #expect(try await server.count("session") == 0)
        }
    }

    @Test(arguments: [
        ("grant_type=password&username=alice", "invalid_request"), ("username=alice", "invalid_request"),
        ("grant_type=client_credentials", "unsupported_grant_type"),
        ("grant_type=refresh_token&refresh_token=x", "invalid_grant"),
        ("grant_type=urn:docker-ram:access-token&token=ramp_x", "invalid_grant"),
    ])
    func `a request that is not complete says what is missing`(body: String, error: String) async throws {
        try await AccountsServer.with { server in
            let type: HTTPFields = [.contentType: "application/x-www-form-urlencoded"]
            let answer = try await server.send(.post, "/v1/token", headers: type, body: body)
            #expect(answer.status == 400)
            #expect(answer["error"] == error)
        }
    }

    @Test(arguments: [
        ("grant_type=password&grant_type=password", "application/x-www-form-urlencoded", 400),
        ("grant_type=%zz", "application/x-www-form-urlencoded", 400),
        ("grant_type", "application/x-www-form-urlencoded", 400),
        ("{}", "application/json", 415),
        (String(repeating: "a", count: 70_000), "application/x-www-form-urlencoded", 413),
    ])
    func `a form that is not in order is refused`(body: String, type: String, status: Int) async throws {
        try await AccountsServer.with { server in
            let answer = try await server.send(.post, "/v1/token", headers: [.contentType: type], body: body)
            #expect(answer.status == status)
            #expect(answer["code"] != nil)
        }
    }

    @Test
    func `passwords are not to be guessed: five for an account, then a minute`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            for _ in 0..<5 {
                #expect(try await server.passwordGrant("alice", "wrong horse battery").status == 400)
            }
            let slowed = try await server.passwordGrant()
            #expect(slowed.status == 429)
            #expect(slowed["code"] == "too_many_requests")
            #expect(slowed.headers[.retryAfter] == "12")
            // Others are not concerned, known or unknown.
            #expect(try await server.passwordGrant("nobody", "wrong horse battery").status == 400)
            server.clock.advance(12)
            #expect(try await server.passwordGrant().status == 200)
        }
    }

    @Test
    func `ten wrong passwords in a row from one address are followed by a quarter of an hour, and are recorded`()
        async throws
    {
        try await AccountsServer.with { server in
            try await server.make()
            for _ in 0..<10 {
                #expect(try await server.passwordGrant("alice", "wrong horse battery").status == 400)
                server.clock.advance(12)
            }
            #expect(try await server.passwordGrant().status == 429)
            #expect(try await server.count("activity WHERE action = 'session.sign_in_slowed' AND name = 'alice'") == 1)
            server.clock.advance(880)
            #expect(try await server.passwordGrant().status == 429)
            server.clock.advance(20)
            #expect(try await server.passwordGrant().status == 200)
        }
    }

    @Test
    func `a stranger keeps nobody from signing in where they are signed in already`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            // From 192.0.2.1.
            _ = try await server.signIn("alice")
            func signIn(_ password: String, from address: String) async throws -> String? {
                do {
                    return try await server.services.user(named: "alice", password: Password(password), from: address)
                } catch let problem as Problem {
                    return "\(problem.status.code)"
                }
            }
            for _ in 0..<5 { #expect(try await signIn("wrong", from: "198.51.100.7") == nil) }
            #expect(try await signIn(AccountsServer.password, from: "198.51.100.8") == "429")
            #expect(try await signIn(AccountsServer.password, from: "192.0.2.1") == "alice")
            // Whoever guesses there is slowed all the same.
            for _ in 0..<10 { #expect(try await signIn("wrong", from: "192.0.2.1") == nil) }
            #expect(try await signIn(AccountsServer.password, from: "192.0.2.1") == "429")
            server.clock.advance(900)
            // Nobody is at home where their session has ended.
            try await server.services.store.database.write { try $0.execute(sql: "UPDATE session SET ended = created") }
            for _ in 0..<5 { #expect(try await signIn("wrong", from: "198.51.100.7") == nil) }
            #expect(try await signIn(AccountsServer.password, from: "192.0.2.1") == "429")
        }
    }

    @Test
    func `as many passwords are tried at the same time as one after another`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            // So slow that all have come before the first is answered.
            let slow = try await Passwords(cost: 12).hash(Password(AccountsServer.password))
            try await server.services.store.database.write {
                try $0.execute(sql: "UPDATE user SET password = ?", arguments: [slow.phc])
            }
            let tried = try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<16 {
                    group.addTask {
                        do {
                            let address = "192.0.2.\(number)"
                            let wrong = Password("x")
                            return try await server.services.user(named: "alice", password: wrong, from: address) == nil
                        } catch let problem as Problem where problem.status == .tooManyRequests {
                            return false
                        }
                    }
                }
                return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(tried == 5)
        }
    }

    @Test
    func `what was not tried, and what was right, does not count`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            for _ in 0..<20 {
                server.clock.advance(3)
                #expect(try await server.passwordGrant().status == 200)
            }
            let limits = server.services.limits
            for _ in 0..<10 { try await limits.take(.passwordInARow, "alice -") }
            await limits.giveBack(.passwordInARow, "alice -")
            #expect(try await server.passwordGrant().status == 200)
            // Of several buckets none is touched if one is empty.
            for _ in 0..<5 { try await limits.take(.passwordOfAccount, "bob") }
            for _ in 0..<30 {
                await #expect(throws: Problem.self) {
                    try await limits.take(each: [(.passwordFromAddress, "192.0.2.9"), (.passwordOfAccount, "bob")])
                }
            }
            try await limits.take(.passwordFromAddress, "192.0.2.9")
        }
    }

    @Test
    func `twenty passwords a minute come from one address, whosever they are`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            for number in 0..<20 {
                #expect(try await server.passwordGrant("user-\(number)", "wrong horse battery").status == 400)
            }
            #expect(try await server.passwordGrant("user-20", "wrong horse battery").status == 429)
        }
    }

    @Test
    func `a password that was kept at a lower cost is kept at the usual one after a sign-in`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let cheap = try await Passwords(cost: 2).hash(Password(AccountsServer.password))
            try await server.services.store.database.write {
                try $0.execute(sql: "UPDATE user SET password = ?", arguments: [cheap.phc])
            }
            #expect(try await server.passwordGrant().status == 200)
            #expect(try await server.count("user WHERE password LIKE '$scrypt$ln=4,%'") == 1)
            #expect(try await server.passwordGrant().status == 200)
        }
    }
}

struct SessionOfEachOrganizationTests {
    @Test(arguments: ["token", "login"])
    func `a sign-in that is good for each organization is recorded in each, and so is its end`(how: String)
        async throws
    {
        try await AccountsServer.with { server in
            try await server.make()
            try await server.make("other", ["alice": .member])
            try await server.make("third", ["bob": .owner])
            func recorded(_ action: String) async throws -> [String] {
                try await server.services.store.database.read { database in
                    try String.fetchAll(
                        database,
                        sql: "SELECT organization FROM activity WHERE action = ? ORDER BY organization",
                        arguments: [action]
                    )
                }
            }
            var refresh: String?
            if how == "token" {
                refresh = try await server.passwordGrant("alice", AccountsServer.password, [:])["refresh_token"]
            } else {
                let body = #"{"username":"alice","password":"\#(AccountsServer.password)"}"#
                refresh = try await server.send(.post, "/v2/users/login", body: body)["refresh_token"]
            }
            #expect(try await recorded("session.start") == ["acme", "other"])
            let second = try await server.refreshGrant(refresh)
            _ = try await server.refreshGrant(second["refresh_token"])
            #expect(try await server.refreshGrant(refresh)["error"] == "invalid_grant")
            #expect(try await recorded("session.token_reused") == ["acme", "other"])
            let another = try await server.passwordGrant("alice", AccountsServer.password, [:])
            _ = try await server.form("/v1/token/revoke", ["token": another["refresh_token"] ?? ""])
            #expect(try await recorded("session.end") == ["acme", "other"])
        }
    }
}

struct SessionTests {
    @Test
    func `a refresh token gives new tokens, and the old access token is over`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let first = try await server.passwordGrant()
            let second = try await server.refreshGrant(first["refresh_token"])
            #expect(second.status == 200)
            #expect(second["user"] == "alice")
            #expect(second["refresh_token"] != first["refresh_token"])
            #expect(try await server.isSignedIn(second["access_token"]))
            #expect(try await !server.isSignedIn(first["access_token"]))
            #expect(try await server.count("session") == 1)
        }
    }

    @Test
    func `a refresh token that was used before ends the session, and is recorded`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let first = try await server.passwordGrant()
            let second = try await server.refreshGrant(first["refresh_token"])
            let third = try await server.refreshGrant(second["refresh_token"])
            let seen = await server.services.changes.count(of: "acme")
            let stolen = try await server.refreshGrant(first["refresh_token"])
            #expect(stolen["error"] == "invalid_grant")
            #expect(try await server.refreshGrant(third["refresh_token"])["error"] == "invalid_grant")
            #expect(try await !server.isSignedIn(third["access_token"]))
            #expect(try await server.count("activity WHERE action = 'session.token_reused' AND name = 'alice'") == 1)
            #expect(await server.services.changes.count(of: "acme") == seen + 1)
        }
    }

    @Test
    func `when the answer was lost, the token before is taken once more, until its successor is used`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let first = try await server.passwordGrant()
            let lost = try await server.refreshGrant(first["refresh_token"])
            let again = try await server.refreshGrant(first["refresh_token"])
            #expect(again.status == 200)
            // The lost answer was not lost, then: somebody else has it.
            #expect(try await server.refreshGrant(lost["refresh_token"])["error"] == "invalid_grant")
            #expect(try await !server.isSignedIn(again["access_token"]))
        }
        try await AccountsServer.with { server in
            try await server.make()
            let first = try await server.passwordGrant()
            let second = try await server.refreshGrant(first["refresh_token"])
            server.clock.advance(Session.lostAnswerSeconds)
            #expect(try await server.refreshGrant(first["refresh_token"])["error"] == "invalid_grant")
            #expect(try await server.refreshGrant(second["refresh_token"])["error"] == "invalid_grant")
        }
    }

    @Test
    func `a machine that was off since an answer was lost goes on with the token before, until the newest is used`()
        async throws
    {
        try await AccountsServer.with { server in
            try await server.make()
            let id = "device0000000000000000001a"
            let secret = try await server.makeDevice(id)
            let device = ["organization": "acme", "device": id, "device_secret": secret.secret]
            let first = try await server.passwordGrant("alice", AccountsServer.password, device)
            for _ in 0..<3 {
                // The answer to this one is lost each time, and the machine is off for a day.
                #expect(try await server.refreshGrant(first["refresh_token"], device).status == 200)
                server.clock.advance(86_400)
            }
            // Without the secret of the device the token is worth nothing, and ends nothing.
            let bare = try await server.refreshGrant(first["refresh_token"])
            #expect(bare["error"] == "invalid_grant")
            let kept = try await server.refreshGrant(first["refresh_token"], device)
            #expect(kept.status == 200)
            let next = try await server.refreshGrant(kept["refresh_token"], device)
            #expect(next.status == 200)
            // The newest has been used: whoever has an older one has taken it from somewhere.
            #expect(try await server.refreshGrant(first["refresh_token"], device)["error"] == "invalid_grant")
            #expect(try await server.refreshGrant(next["refresh_token"], device)["error"] == "invalid_grant")
        }
    }

    @Test
    func `an access token lives 15 minutes, a session 30 days unused and 90 days at most`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            var answer = try await server.passwordGrant()
            server.clock.advance(899)
            #expect(try await server.isSignedIn(answer["access_token"]))
            server.clock.advance(1)
            #expect(try await !server.isSignedIn(answer["access_token"]))
            for _ in 0..<3 {
                server.clock.advance(29 * 86_400)
                answer = try await server.refreshGrant(answer["refresh_token"])
                #expect(answer.status == 200)
            }
            server.clock.advance(4 * 86_400)
            #expect(try await server.refreshGrant(answer["refresh_token"])["error"] == "invalid_grant")
            let unused = try await server.passwordGrant()
            server.clock.advance(30 * 86_400)
            #expect(try await server.refreshGrant(unused["refresh_token"])["error"] == "invalid_grant")
        }
    }

    @Test(arguments: ["access_token", "refresh_token"])
    func `a revoked token ends its session, and one that is none is as good as revoked`(kind: String) async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let answer = try await server.passwordGrant()
            for token in ["rama_nothing", try #require(answer[kind])] {
                #expect(try await server.form("/v1/token/revoke", ["token": token]).status == 200)
            }
            #expect(try await !server.isSignedIn(answer["access_token"]))
            #expect(try await server.refreshGrant(answer["refresh_token"])["error"] == "invalid_grant")
            #expect(try await server.form("/v1/token/revoke", [:]).status == 400)
        }
    }

    @Test
    func `a session of a device has a ticket for it, signed, with the teams`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let secret = try await server.makeDevice()
            try await server.services.store.makeTeam("backend", in: "acme", by: "alice", at: server.clock.now)
            _ = try await server.services.store.setMember(
                "alice",
                ofTeam: "backend",
                isIn: true,
                in: "acme",
                by: "alice",
                at: server.clock.now
            )
            let device = [
                "organization": "acme", "device": "device0000000000000000001a", "device_secret": secret.secret,
            ]
            let answer = try await server.passwordGrant("alice", AccountsServer.password, device)
            let text = try #require(answer.json.value(named: "ticket")).text()
            let envelope = try Envelope(json: Array(text.utf8), as: .ticket)
            let keys = server.organization.keys(.ticket).map(\.verificationKey)
            #expect(envelope.signers(among: Dictionary(uniqueKeysWithValues: keys.map { ($0.id, $0) })).count == 1)
            let ticket = try TicketDocument(payload: envelope.payload)
            #expect(ticket.device == "device0000000000000000001a" && ticket.organization == "acme")
            #expect(ticket.subject == "alice" && ticket.teams == ["backend"])
            #expect(ticket.signedIn == server.clock.now && ticket.issued == server.clock.now)
            #expect(ticket.expires == server.clock.now + 86_400)
            server.clock.advance(3600)
            // Without the device's secret the refresh token is worth nothing.
            #expect(try await server.refreshGrant(answer["refresh_token"])["error"] == "invalid_grant")
            let next = try await server.refreshGrant(answer["refresh_token"], device)
            let renewed = try Envelope(
                json: Array(try #require(next.json.value(named: "ticket")).text().utf8),
                as: .ticket
            )
            let second = try TicketDocument(payload: renewed.payload)
            #expect(second.session == ticket.session && second.signedIn == ticket.signedIn)
            #expect(second.expires == server.clock.now + 86_400)
        }
    }

    @Test
    func `a device that is not the organization's own has to register again`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            try await server.make("other", ["bob": .owner])
            let secret = try await server.makeDevice()
            let others = try await server.makeDevice("device0000000000000000002b", in: "other")
            let attempts = [
                ["organization": "acme", "device": "device0000000000000000001a", "device_secret": others.secret],
                ["organization": "acme", "device": "device0000000000000000002b", "device_secret": others.secret],
                ["organization": "other", "device": "device0000000000000000001a", "device_secret": secret.secret],
                ["organization": "acme", "device": "device0000000000000000001a", "device_secret": "ramd_x"],
            ]
            for fields in attempts {
                let answer = try await server.passwordGrant("alice", AccountsServer.password, fields)
                #expect(answer.status == 401)
                #expect(answer["error"] == "device_unknown")
            }
            let half = try await server.passwordGrant("alice", AccountsServer.password, ["device": "d"])
            #expect(half["error"] == "invalid_request")
            #expect(try await server.count("session") == 0)
        }
    }

    @Test
    func `one member is signed in on a device, and its state is that of the newest session`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            let id = "device0000000000000000001a"
            let secret = try await server.makeDevice(id)
            let device = ["organization": "acme", "device": id, "device_secret": secret.secret]
            func state() async throws -> SessionState {
                try await server.services.store.sessionState(device: id, in: "acme")
            }
            #expect(try await state() == .none)
            let first = try await server.passwordGrant("alice", AccountsServer.password, device)
            #expect(try await state() == .active)
            let second = try await server.passwordGrant("bob", AccountsServer.password, device)
            #expect(try await state() == .active)
            #expect(try await server.refreshGrant(first["refresh_token"], device)["error"] == "invalid_grant")
            #expect(try await server.count("session WHERE ended IS NULL") == 1)
            _ = try await server.form("/v1/token/revoke", ["token": second["refresh_token"] ?? ""])
            #expect(try await state() == .ended)
            _ = try await server.passwordGrant("alice", AccountsServer.password, device)
            #expect(try await state() == .active)
            // Its time is over, which the machine knows by itself; nobody has ended it.
            server.clock.advance(30 * 86_400)
            #expect(try await state() == .active)
            #expect(try await server.services.store.sessionState(device: id, in: "other") == .none)
        }
    }

    @Test
    func `an access token signs in a machine, and its session can do no more and lives no longer`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            try await server.make("other", ["alice": .owner])
            let token = try await server.services.store.makeAccessToken(
                named: "ci",
                of: "alice",
                in: "acme",
                scopes: [.readPolicy, .readMembers],
                now: server.clock.now,
                expires: server.clock.now + 86_400
            )
            let fields = ["grant_type": "urn:docker-ram:access-token", "token": token.secret]
            let other = try await server.form("/v1/token", fields.merging(["organization": "other"]) { $1 })
            #expect(other["error"] == "not_a_member")
            let answer = try await server.form("/v1/token", fields)
            #expect(answer.status == 200)
            let access = try #require(answer["access_token"])
            #expect(try await server.send(.get, "/v1/organizations/acme/members", as: access).status == 200)
            #expect(try await server.send(.get, "/v1/organizations/other/members", as: access).status == 404)
            #expect(try await server.send(.delete, "/v1/organizations/acme/sessions", as: access).status == 403)
            server.clock.advance(80_000)
            let renewed = try await server.refreshGrant(answer["refresh_token"])
            #expect(renewed.status == 200)
            server.clock.advance(6400)
            #expect(try await server.refreshGrant(renewed["refresh_token"])["error"] == "invalid_grant")
            #expect(try await server.form("/v1/token", fields)["error"] == "invalid_grant")
        }
    }

    @Test
    func `an access token that is taken back ends what it began`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let owner = try await server.signIn("alice")
            let made = try await server.send(
                .post,
                "/v1/organizations/acme/tokens",
                as: owner,
                body: #"{"name":"ci","scopes":["policy:read"],"days":30}"#
            )
            #expect(made.status == 201)
            let fields = ["grant_type": "urn:docker-ram:access-token", "token": made["token"] ?? ""]
            let session = try await server.form("/v1/token", fields)
            #expect(try await server.isSignedIn(session["access_token"]))
            let list = try await server.send(.get, "/v1/organizations/acme/tokens", as: owner)
            #expect(!list.text.contains(made["token"] ?? "-"))
            let id = list.json.value(named: "tokens")?.elements?.first?.value(named: "id")?.text ?? ""
            #expect(try await server.send(.delete, "/v1/organizations/acme/tokens/\(id)", as: owner).status == 204)
            #expect(try await !server.isSignedIn(session["access_token"]))
            #expect(try await !server.isSignedIn(made["token"]))
            #expect(try await server.refreshGrant(session["refresh_token"])["error"] == "invalid_grant")
        }
    }

    @Test
    func `tools for Docker Hub sign in with a password or an access token`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let token = try await server.services.store.makeAccessToken(
                named: "terraform",
                of: "alice",
                in: "acme",
                scopes: [.readPolicy],
                now: server.clock.now,
                expires: server.clock.now + 86_400
            )
            for secret in [AccountsServer.password, token.secret] {
                let login = try await server.send(
                    .post,
                    "/v2/users/login",
                    body: #"{"username":"alice","password":"\#(secret)"}"#
                )
                #expect(try await server.isSignedIn(login["token"]))
                for name in ["alice", "acme"] where name == "alice" || secret == token.secret {
                    let answer = try await server.send(
                        .post,
                        "/v2/auth/token",
                        body: #"{"identifier":"\#(name)","secret":"\#(secret)"}"#
                    )
                    #expect(try await server.isSignedIn(answer["access_token"]))
                }
            }
            for body in [
                #"{"identifier":"bob","secret":"\#(token.secret)"}"#, #"{"identifier":"alice","secret":"wrong"}"#,
            ] {
                #expect(try await server.send(.post, "/v2/auth/token", body: body).status == 401)
            }
            for body in [#"{"identifier":"alice"}"#, #"{"identifier":"a","identifier":"a","secret":"b"}"#, "[]", ""] {
                #expect(try await server.send(.post, "/v2/auth/token", body: body).status == 400)
            }
        }
    }

    @Test
    func `what ended long ago is forgotten, and what goes on is not`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let ended = try await server.passwordGrant()
            _ = try await server.form("/v1/token/revoke", ["token": ended["refresh_token"] ?? ""])
            try await server.services.store.forgetWhatEnded(at: server.clock.now)
            #expect(try await server.count("session") == 1)
            server.clock.advance(40 * 86_400)
            let goesOn = try await server.passwordGrant()
            server.clock.advance(21 * 86_400)
            try await server.services.store.forgetWhatEnded(at: server.clock.now)
            #expect(try await server.count("session") == 1)
            #expect(try await server.refreshGrant(goesOn["refresh_token"]).status == 200)
        }
    }
}
