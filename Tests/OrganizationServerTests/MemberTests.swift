import GRDB
import HTTPTypes
import RegistryAccess
import SignedPolicy
import Testing

@testable import OrganizationServer

private let members = "/v1/organizations/acme/members"
private let invitations = "/v1/organizations/acme/invitations"
private let teams = "/v1/organizations/acme/teams"
private let tokens = "/v1/organizations/acme/tokens"
private let sessions = "/v1/organizations/acme/sessions"

struct MemberTests {
    @Test
    func `a role counts from the moment that it is given`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            let alice = try await server.signIn("alice")
            let bob = try await server.signIn("bob")
            #expect(try await server.send(.get, members, as: bob).status == 403)
            let change = try await server.send(.patch, "\(members)/bob", as: alice, body: #"{"role":"auditor"}"#)
            #expect(change.status == 204)
            let list = try await server.send(.get, members, as: bob)
            #expect(list.status == 200)
            let found = list.json.value(named: "members")?.elements?.map { $0.value(named: "role")?.text }
            #expect(found == ["owner", "auditor"])
            #expect(
                try await server.count(
                    """
                    activity WHERE action = 'member.role.change' AND actor = 'alice' AND name = 'bob'
                        AND data = '{"from":"member","to":"auditor"}'
                    """
                ) == 1
            )
        }
    }

    @Test
    func `the last owner can neither leave nor become something else`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            let alice = try await server.signIn("alice")
            for (method, body) in [(HTTPRequest.Method.patch, #"{"role":"member"}"#), (.delete, nil)] {
                let answer = try await server.send(method, "\(members)/alice", as: alice, body: body)
                #expect(answer.status == 409)
                #expect(answer["code"] == "conflict")
            }
            _ = try await server.send(.patch, "\(members)/bob", as: alice, body: #"{"role":"owner"}"#)
            #expect(try await server.send(.delete, "\(members)/alice", as: alice).status == 204)
        }
    }

    @Test
    func `whoever is taken out leaves no session, no token, no invitation and no team behind`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .owner])
            let alice = try await server.signIn("alice")
            let bob = try await server.signIn("bob")
            let everywhere = try await server.signIn("bob", in: nil)
            _ = try await server.send(.post, teams, as: alice, body: #"{"name":"backend"}"#)
            #expect(try await server.send(.put, "\(teams)/backend/members/bob", as: alice).status == 204)
            let made = try await server.send(
                .post,
                tokens,
                as: bob,
                body: #"{"name":"ci","scopes":["members:write"],"days":3}"#
            )
            let invited = try await server.send(.post, invitations, as: bob, body: #"{"role":"member"}"#)
            #expect(made.status == 201 && invited.status == 201)
            let seen = await server.services.changes.count(of: "acme")
            #expect(try await server.send(.delete, "\(members)/bob", as: alice).status == 204)
            #expect(await server.services.changes.count(of: "acme") == seen + 1)
            #expect(try await !server.isSignedIn(bob))
            #expect(try await !server.isSignedIn(made["token"]))
            #expect(try await server.send(.get, members, as: everywhere).status == 404)
            for table in [
                "accessToken", "teamMember", "invitation", "session WHERE user = 'bob' AND organization = 'acme'",
            ] {
                let expected = table.hasPrefix("session") ? 1 : 0
                #expect(try await server.count(table) == expected, "\(table)")
            }
            #expect(try await server.send(.delete, "\(members)/bob", as: alice).status == 404)
        }
    }

    @Test(arguments: [
        #"{"role":"king"}"#, #"{"role":1}"#, "{}", #"{"role":"owner","role":"member"}"#, #"{"x":"y"}"#, "null",
    ])
    func `a body that is not in order is refused with the place`(body: String) async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            let alice = try await server.signIn("alice")
            let answer = try await server.send(.patch, "\(members)/bob", as: alice, body: body)
            #expect(answer.status == 400)
            #expect(answer["code"] == "bad_request")
            #expect(
                try await server.send(.patch, "\(members)/carol", as: alice, body: #"{"role":"owner"}"#).status == 404
            )
        }
    }
}

struct InvitationTests {
    @Test
    func `whoever is an owner no more lets nobody in, and not themselves`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .owner])
            let (alice, bob) = (try await server.signIn("alice"), try await server.signIn("bob"))
            var secrets: [String] = []
            for who in [bob, alice] {
                let invited = try await server.send(.post, invitations, as: who, body: #"{"role":"owner"}"#)
                secrets.append(try #require(invited["invitation"]))
            }
            // An owner who stays one keeps what they have made.
            let same = try await server.send(.patch, "\(members)/bob", as: alice, body: #"{"role":"owner"}"#)
            #expect(same.status == 204)
            #expect(try await server.count("invitation") == 2)
            let change = try await server.send(.patch, "\(members)/bob", as: alice, body: #"{"role":"member"}"#)
            #expect(change.status == 204)
            var statuses: [Int] = []
            for (index, secret) in secrets.enumerated() {
                let body = #"{"invitation":"\#(secret)","name":"bob-\#(index)","password":"a good long phrase"}"#
                statuses.append(try await server.send(.post, "/v1/invitations/accept", body: body).status)
            }
            #expect(statuses == [404, 201])
            #expect(try await server.services.store.members(of: "acme").map(\.name) == ["alice", "bob", "bob-1"])
        }
    }

    @Test
    func `invitations of those who were owners before are gone with the next version of the server`() async throws {
        let database = try DatabaseQueue()
        let mark = "invitations and access tokens end with what made them"
        let place = try #require(Schema.migrator.migrations.firstIndex(of: mark))
        try Schema.migrator.migrate(database, upTo: Schema.migrator.migrations[place - 1])
        try await database.write { database in
            try database.execute(sql: "INSERT INTO organization (name, created) VALUES ('acme', 1)")
            for (name, role) in [("alice", "owner"), ("bob", "member")] {
                try database.execute(sql: "INSERT INTO user (name, created) VALUES (?, 1)", arguments: [name])
                try database.execute(
                    sql: "INSERT INTO membership (organization, user, role, created) VALUES ('acme', ?, ?, 1)",
                    arguments: [name, role]
                )
                try database.execute(
                    sql: """
                        INSERT INTO invitation (digest, organization, role, inviter, created, expires)
                        VALUES (?, 'acme', 'owner', ?, 1, 9)
                        """,
                    arguments: [OpaqueToken(.invitation).digest, name]
                )
            }
        }
        try Schema.migrator.migrate(database)
        let inviters = try await database.read { try String.fetchAll($0, sql: "SELECT inviter FROM invitation") }
        #expect(inviters == ["alice"])
    }

    @Test
    func `nobody is called as the server calls itself`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let alice = try await server.signIn("alice")
            let invited = try await server.send(.post, invitations, as: alice, body: #"{"role":"member"}"#)
            let secret = invited["invitation"] ?? ""
            let answer = try await server.send(
                .post,
                "/v1/invitations/accept",
                body: #"{"invitation":"\#(secret)","name":"system","password":"a good long phrase"}"#
            )
            #expect(answer.status == 400 && answer["detail"]?.contains("the server's own") == true, "\(answer)")
            #expect(try await server.count("user WHERE name = 'system'") == 0)
        }
    }

    @Test(
        arguments: [
            ([], ["owner": 403, "editor": 403, "auditor": 403, "member": 403]),
            ([.readPolicy], ["owner": 403, "editor": 403, "auditor": 403, "member": 201]),
            ([.readPolicy, .editPolicy], ["editor": 403]),
            (
                [.readPolicy, .readActivity, .readMachines, .readMembers, .readSettings],
                ["owner": 403, "editor": 403, "auditor": 201]
            ),
            (
                [.readPolicy, .readActivity, .readMachines, .readMembers, .readSettings, .editPolicy],
                ["owner": 403, "editor": 201]
            ),
        ] as [(Set<Permission>, [String: Int])]
    )
    func `a token gives no role that may do more than it may`(scopes: Set<Permission>, statuses: [String: Int])
        async throws
    {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .owner])
            let token = try await server.services.store.makeAccessToken(
                named: "people",
                of: "alice",
                in: "acme",
                scopes: scopes.union([.manageMembers]),
                now: server.clock.now,
                expires: server.clock.now + 86_400
            ).secret
            for (role, status) in statuses {
                let body = #"{"role":"\#(role)"}"#
                #expect(try await server.send(.post, invitations, as: token, body: body).status == status, "\(role)")
                let given = try await server.send(.patch, "\(members)/bob", as: token, body: body)
                #expect(given.status == (status == 201 ? 204 : 403), "\(role)")
            }
        }
    }

    @Test
    func `an invitation lets one person join, with the role that it says`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let alice = try await server.signIn("alice")
            let body = #"{"role":"editor","email":"bob@acme.test"}"#
            let invited = try await server.send(.post, invitations, as: alice, body: body)
            #expect(invited.status == 201)
            let secret = try #require(invited["invitation"])
            let list = try await server.send(.get, invitations, as: alice)
            #expect(list.text.contains("bob@acme.test") && !list.text.contains(secret))
            func accept(_ name: String, _ password: String) async throws -> Answer {
                try await server.send(
                    .post,
                    "/v1/invitations/accept",
                    body: #"{"invitation":"\#(secret)","name":"\#(name)","password":"\#(password)"}"#
                )
            }
            #expect(try await accept("bob", "short").status == 400)
            #expect(try await accept("Bob", "a good long phrase").status == 400)
            #expect(try await accept("alice", "a good long phrase").status == 403, "alice is another")
            #expect(try await server.count("invitation") == 1)
            let joined = try await accept("bob", "a good long phrase")
            #expect(joined.status == 201)
            #expect(joined["role"] == "editor" && joined["organization"] == "acme")
            #expect(try await server.passwordGrant("bob", "a good long phrase").status == 200)
            #expect(try await server.passwordGrant("bob@acme.test", "a good long phrase").status == 200)
            #expect(try await accept("carol", "a good long phrase").status == 404)
            #expect(try await server.count("activity WHERE action = 'member.add' AND name = 'bob'") == 1)
        }
    }

    @Test
    func `who is here already joins with their own password`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            try await server.make("other", ["bob": .owner])
            let alice = try await server.signIn("alice")
            let invited = try await server.send(.post, invitations, as: alice, body: #"{"role":"member"}"#)
            let secret = invited["invitation"] ?? ""
            for (name, status) in [("alice", 409), ("bob", 201)] {
                let answer = try await server.send(
                    .post,
                    "/v1/invitations/accept",
                    body: #"{"invitation":"\#(secret)","name":"\#(name)","password":"\#(AccountsServer.password)"}"#
                )
                #expect(answer.status == status, "\(name): \(answer)")
            }
            #expect(try await server.services.store.members(of: "acme").map(\.name) == ["alice", "bob"])
        }
    }

    @Test
    func `an invitation ends after a week, or when it is taken back`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let alice = try await server.signIn("alice")
            var secrets: [String] = []
            for _ in 0..<2 {
                let invited = try await server.send(.post, invitations, as: alice, body: #"{"role":"member"}"#)
                secrets.append(invited["invitation"] ?? "")
                if secrets.count == 1 {
                    let id = invited["id"] ?? ""
                    #expect(try await server.send(.delete, "\(invitations)/\(id)", as: alice).status == 204)
                    #expect(try await server.send(.delete, "\(invitations)/\(id)", as: alice).status == 404)
                }
            }
            server.clock.advance(Invitation.lifetimeSeconds)
            for secret in secrets + ["rami_x", OpaqueToken(.invitation).secret, OpaqueToken(.access).secret] {
                let answer = try await server.send(
                    .post,
                    "/v1/invitations/accept",
                    body: #"{"invitation":"\#(secret)","name":"bob","password":"a good long phrase"}"#
                )
                #expect(answer.status == 404)
            }
            #expect(try await server.count("user") == 1)
        }
    }

    @Test
    func `a token makes no owners, whatever its scopes`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            let token = try await server.services.store.makeAccessToken(
                named: "all",
                of: "alice",
                in: "acme",
                scopes: Set(Permission.allCases),
                now: server.clock.now,
                expires: server.clock.now + 86_400
            ).secret
            let body = #"{"role":"owner"}"#
            #expect(try await server.send(.post, invitations, as: token, body: body).status == 403)
            #expect(try await server.send(.patch, "\(members)/bob", as: token, body: body).status == 403)
            #expect(
                try await server.send(.patch, "\(members)/bob", as: token, body: #"{"role":"editor"}"#).status == 204
            )
        }
    }
}

struct TeamTests {
    @Test
    func `a renamed team keeps who is in it, and their machines learn its name`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            let alice = try await server.signIn("alice")
            for name in ["backend", "frontend"] {
                _ = try await server.send(.post, teams, as: alice, body: #"{"name":"\#(name)"}"#)
            }
            _ = try await server.send(.put, "\(teams)/backend/members/bob", as: alice)
            func rename(_ team: String, to name: String) async throws -> Int {
                try await server.send(.patch, "\(teams)/\(team)", as: alice, body: #"{"name":"\#(name)"}"#).status
            }
            #expect(try await rename("backend", to: "frontend") == 409)
            #expect(try await rename("backend", to: "Back End") == 400)
            #expect(try await rename("nothing", to: "services") == 404)
            #expect(try await rename("nothing", to: "nothing") == 404)
            #expect(try await rename("backend", to: "backend") == 204)
            #expect(try await server.count("activity WHERE action = 'team.rename'") == 0)
            let seen = await server.services.changes.count(of: "acme")
            let counted = try await server.count("teamChange WHERE count > 1")
            #expect(counted == 0)
            #expect(try await rename("backend", to: "services") == 204)
            #expect(await server.services.changes.count(of: "acme") == seen + 1)
            #expect(try await server.count("teamChange WHERE count > 1") == 1, "a new ticket is due")
            #expect(
                try await server.services.store.teams(of: "acme") == [
                    Team(name: "frontend", members: []), Team(name: "services", members: ["bob"]),
                ]
            )
            #expect(try await server.services.store.teams(of: "acme", named: "services").map(\.members) == [["bob"]])
            #expect(
                try await server.count(
                    """
                    activity WHERE action = 'team.rename' AND actor = 'alice' AND name = 'backend'
                        AND data = '{"to":"services"}'
                    """
                ) == 1
            )
        }
    }

    @Test
    func `teams are made, filled, emptied and removed, and each change is recorded and told`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            try await server.make("other", ["carol": .owner])
            let alice = try await server.signIn("alice")
            #expect(try await server.send(.post, teams, as: alice, body: #"{"name":"backend"}"#).status == 201)
            #expect(try await server.send(.post, teams, as: alice, body: #"{"name":"backend"}"#).status == 409)
            #expect(try await server.send(.post, teams, as: alice, body: #"{"name":"Back End"}"#).status == 400)
            let seen = await server.services.changes.count(of: "acme")
            for _ in 0..<2 {
                #expect(try await server.send(.put, "\(teams)/backend/members/bob", as: alice).status == 204)
            }
            #expect(await server.services.changes.count(of: "acme") == seen + 2)
            let team = try await server.send(.get, "\(teams)/backend", as: alice)
            #expect(team.json.value(named: "members") == .array([.string("bob")]))
            // Nobody who does not belong to the organization, and no team that is not there.
            #expect(try await server.send(.put, "\(teams)/backend/members/carol", as: alice).status == 404)
            #expect(try await server.send(.put, "\(teams)/frontend/members/bob", as: alice).status == 404)
            #expect(try await server.send(.delete, "\(teams)/backend/members/bob", as: alice).status == 204)
            #expect(try await server.send(.delete, "\(teams)/backend", as: alice).status == 204)
            #expect(try await server.send(.delete, "\(teams)/backend", as: alice).status == 404)
            let actions = try await server.services.store.database.read { database in
                try String.fetchAll(
                    database,
                    sql: "SELECT action FROM activity WHERE action LIKE 'team.%' ORDER BY number"
                )
            }
            #expect(actions == ["team.create", "team.member.add", "team.member.remove", "team.delete"])
        }
    }
}

struct AccessTokenRouteTests {
    @Test
    func `members see and take back their own tokens, owners everybody's`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            let alice = try await server.signIn("alice")
            let bob = try await server.signIn("bob")
            for (person, name) in [(alice, "of-alice"), (bob, "of-bob")] {
                let body = #"{"name":"\#(name)","scopes":["policy:read"],"days":365}"#
                #expect(try await server.send(.post, tokens, as: person, body: body).status == 201)
                #expect(try await server.send(.post, tokens, as: person, body: body).status == 409)
            }
            func ids(_ person: String) async throws -> [String] {
                let list = try await server.send(.get, tokens, as: person).json.value(named: "tokens")?.elements ?? []
                return list.compactMap { $0.value(named: "id")?.text }
            }
            let all = try await ids(alice)
            let own = try await ids(bob)
            #expect(all.count == 2 && own.count == 1 && all.contains(own[0]))
            let foreign = try #require(all.first { $0 != own[0] })
            #expect(try await server.send(.delete, "\(tokens)/\(foreign)", as: bob).status == 404)
            #expect(try await server.send(.delete, "\(tokens)/\(own[0])", as: alice).status == 204)
            #expect(try await ids(bob) == [])
        }
    }

    @Test(arguments: [
        (#"{"name":"x","scopes":["members:write"],"days":1}"#, 403),
        (#"{"name":"x","scopes":["policy:write"],"days":1}"#, 403),
        (#"{"name":"x","scopes":["everything"],"days":1}"#, 400), (#"{"name":"x","scopes":[],"days":1}"#, 400),
        (#"{"name":"x","scopes":["policy:read"],"days":366}"#, 400),
        (#"{"name":"x","scopes":["policy:read"],"days":0}"#, 400),
        (#"{"name":"x","scopes":["policy:read"]}"#, 400), (#"{"name":"","scopes":["policy:read"],"days":1}"#, 400),
        (#"{"name":"x","scopes":["policy:read"],"days":1.5}"#, 400),
        (#"{"name":"x","scopes":["policy:read"],"days":1,"more":1}"#, 400),
    ])
    func `nobody makes a token that can do more than they may, or that never ends`(body: String, status: Int)
        async throws
    {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            let answer = try await server.send(.post, tokens, as: try await server.signIn("bob"), body: body)
            #expect(answer.status == status, "\(answer)")
            #expect(try await server.count("accessToken") == 0)
        }
    }

    @Test
    func `a token with tokens:write makes none that can do more than itself`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let token = try await server.services.store.makeAccessToken(
                named: "minter",
                of: "alice",
                in: "acme",
                scopes: [.manageTokens, .readPolicy],
                now: server.clock.now,
                expires: server.clock.now + 86_400
            ).secret
            let more = #"{"name":"x","scopes":["policy:write"],"days":1}"#
            let less = #"{"name":"x","scopes":["policy:read"],"days":1}"#
            #expect(try await server.send(.post, tokens, as: token, body: more).status == 403)
            #expect(try await server.send(.post, tokens, as: token, body: less).status == 201)
        }
    }

    @Test
    func `it is noted when a token is used, to the hour`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let token = try await server.services.store.makeAccessToken(
                named: "ci",
                of: "alice",
                in: "acme",
                scopes: [.readPolicy],
                now: server.clock.now,
                expires: server.clock.now + 86_400
            ).secret
            func lastUsed() async throws -> Instant? {
                try await server.services.store.accessTokens(in: "acme", of: nil).first?.lastUsed
            }
            #expect(try await lastUsed() == nil)
            let first = server.clock.now
            #expect(try await server.isSignedIn(token))
            server.clock.advance(3599)
            #expect(try await server.isSignedIn(token))
            #expect(try await lastUsed() == first)
            server.clock.advance(1)
            #expect(try await server.isSignedIn(token))
            #expect(try await lastUsed() == first + 3600)
        }
    }
}

struct TokensOfTokensTests {
    private func minter(_ server: AccountsServer, _ scopes: Set<Permission> = [.manageTokens, .readPolicy])
        async throws -> String
    {
        try await server.services.store.makeAccessToken(
            named: "minter",
            of: "alice",
            in: "acme",
            scopes: scopes,
            now: server.clock.now,
            expires: server.clock.now + 86_400
        ).secret
    }

    private func make(_ name: String, _ server: AccountsServer, by token: String?, days: Int = 365) async throws
        -> Answer
    {
        let body = #"{"name":"\#(name)","scopes":["tokens:write"],"days":\#(days)}"#
        return try await server.send(.post, tokens, as: token, body: body)
    }

    @Test
    func `a token makes none that outlives it, nor does a session that it began`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let (token, end) = (try await minter(server), server.clock.now + 86_400)
            let session = try await server.form(
                "/v1/token",
                ["grant_type": "urn:docker-ram:access-token", "token": token]
            )
            for (name, maker) in [("one", token), ("two", try #require(session["access_token"]))] {
                let made = try await make(name, server, by: maker)
                #expect(made.status == 201 && made["expires"] == end.description, "\(made)")
                // And so on.
                let next = try await make("\(name)-next", server, by: made["token"])
                #expect(next["expires"] == end.description, "\(next)")
            }
            let own = try await make("own", server, by: try await server.signIn("alice"), days: 2)
            #expect(own["expires"] == (server.clock.now + 2 * 86_400).description)
            server.clock.advance(86_400)
            #expect(try await server.count("accessToken WHERE expires > \(server.clock.now.seconds)") == 1)
        }
    }

    @Test
    func `with a token those end that were made with it, and each is recorded`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let alice = try await server.signIn("alice")
            let token = try await minter(server)
            let one = try #require(try await make("one", server, by: token)["token"])
            let two = try #require(try await make("two", server, by: one)["token"])
            let own = try #require(try await make("own", server, by: alice)["token"])
            let grant = ["grant_type": "urn:docker-ram:access-token", "token": two]
            let session = try await server.form("/v1/token", grant)
            let access = try #require(session["access_token"])
            #expect(try await server.isSignedIn(access))
            let entries = try await server.services.store.accessTokens(in: "acme", of: nil)
            let id = try #require(entries.first { $0.name == "minter" }?.id)
            #expect(try await server.send(.delete, "\(tokens)/\(id)", as: alice).status == 204)
            for gone in [token, one, two, access] { #expect(try await !server.isSignedIn(gone)) }
            #expect(try await server.isSignedIn(own))
            let names = try await server.services.store.activity(
                of: "acme",
                ActivityFilter(action: "access_token.delete")
            )
            .map(\.name)
            #expect(names.sorted() == ["minter", "one", "two"])
        }
    }

    @Test
    func `an enrollment token does not outlive the access token that made it`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let token = try await minter(server, [.manageMachines])
            let made = try await server.send(
                .post,
                "/v1/organizations/acme/enrollment-tokens",
                as: token,
                body: #"{"name":"office","days":300}"#
            )
            #expect(made.status == 201)
            let ends = try await server.services.store.enrollmentTokens(of: "acme").map(\.expires)
            #expect(ends == [server.clock.now + 86_400])
        }
    }
}

struct EndingSessionsTests {
    /// Which sessions are ended, and who is signed in then, of: alice, bob on a laptop, bob on a desktop, carol elsewhere.
    @Test(arguments: [
        ("", [false, false, false, true]), ("?user=bob", [true, false, false, true]),
        ("?device=laptop00000000000000000001", [true, false, true, true]),
    ])
    func `owners end everybody's sessions, a member's or a device's, of their organization only`(
        query: String,
        remaining: [Bool]
    ) async throws {
        try await AccountsServer.with { server in
            let all = try await Self.signEverybodyIn(server)
            let seen = await server.services.changes.count(of: "acme")
            let answer = try await server.send(.delete, "\(sessions)\(query)", as: all[0])
            #expect(answer.status == 200)
            #expect(answer.json.value(named: "ended") == .number("\(remaining.count { !$0 })"))
            #expect(await server.services.changes.count(of: "acme") == seen + 1)
            #expect(await server.services.changes.count(of: "other") == 0)
            for (token, isThere) in zip(all, remaining) { #expect(try await server.isSignedIn(token) == isThere) }
            #expect(try await server.count("activity WHERE action = 'session.end' AND actor = 'alice'") == 1)
            let state = try await server.services.store.sessionState(
                device: "laptop00000000000000000001",
                in: "acme"
            )
            #expect(state == (remaining[1] ? .active : .ended))
        }
    }

    @Test(arguments: ["?user=nobody", "?user=carol", "?user=BOB", "?device=elsewhere0000000000000001"])
    func `a name that is mistyped ends nothing, and does not look as if it had`(query: String) async throws {
        try await AccountsServer.with { server in
            let all = try await Self.signEverybodyIn(server)
            let answer = try await server.send(.delete, "\(sessions)\(query)", as: all[0])
            #expect(answer.status == 404 && answer.text.contains("there is no "), "\(answer)")
            for token in all { #expect(try await server.isSignedIn(token)) }
            #expect(try await server.count("activity WHERE action = 'session.end'") == 0)
        }
    }

    @Test
    func `owners see the sessions and end one`() async throws {
        try await AccountsServer.with { server in
            let all = try await Self.signEverybodyIn(server)
            let list = try await server.send(.get, "\(sessions)?user=bob", as: all[0]).json.value(named: "sessions")?
                .elements
            #expect(list?.count == 2)
            #expect(list?.compactMap { $0.value(named: "device")?.text }.sorted().first == "desktop000000000000000001a")
            let newest = try #require(list?.first?.value(named: "id")?.text)
            #expect(try await server.send(.delete, "\(sessions)/\(newest)", as: all[0]).status == 200)
            #expect(try await server.isSignedIn(all[1]))
            #expect(try await !server.isSignedIn(all[2]))
            #expect(try await server.send(.delete, "\(sessions)/\(newest)", as: all[0]).status == 404)
            // The session of another organization is like one that is not there.
            let foreign = try await server.services.store.sessions(in: "other", .init(), at: server.clock.now)
            let id = try #require(foreign.first).id
            #expect(try await server.send(.delete, "\(sessions)/\(id)", as: all[0]).status == 404)
            #expect(try await server.isSignedIn(all[3]))
        }
    }

    @Test(arguments: ["?usr=bob", "?user=", "?user=bob&user=alice", "?user"])
    func `a selection that is misspelt ends nothing`(query: String) async throws {
        try await AccountsServer.with { server in
            let all = try await Self.signEverybodyIn(server)
            #expect(try await server.send(.delete, "\(sessions)\(query)", as: all[0]).status == 400)
            for token in all { #expect(try await server.isSignedIn(token)) }
        }
    }

    @Test
    func `a session that is good for each organization of a member is ended with the others`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            try await server.makeStranger("mallory")
            let alice = try await server.signIn("alice")
            let bob = try await server.signIn("bob", in: nil)
            let mallory = try await server.signIn("mallory", in: nil)
            #expect(try await server.send(.delete, "\(sessions)?user=bob", as: alice).status == 200)
            #expect(try await !server.isSignedIn(bob))
            #expect(try await server.send(.delete, sessions, as: alice).status == 200)
            #expect(try await !server.isSignedIn(alice))
            #expect(try await server.isSignedIn(mallory))
        }
    }

    @Test
    func `a new password ends every other session of its owner`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            let here = try await server.signIn("bob")
            let elsewhere = try await server.signIn("bob")
            let alice = try await server.signIn("alice")
            func change(_ current: String, _ new: String) async throws -> Int {
                let body = #"{"current":"\#(current)","new":"\#(new)"}"#
                return try await server.send(.put, "/v1/me/password", as: here, body: body).status
            }
            #expect(try await change("wrong horse battery", "a good long phrase") == 403)
            #expect(try await change(AccountsServer.password, "short") == 400)
            #expect(try await server.isSignedIn(elsewhere))
            #expect(try await change(AccountsServer.password, "a good long phrase") == 204)
            #expect(try await server.isSignedIn(here))
            #expect(try await !server.isSignedIn(elsewhere))
            #expect(try await server.isSignedIn(alice))
            #expect(try await server.passwordGrant("bob", "a good long phrase").status == 200)
            #expect(try await server.passwordGrant("bob").status == 400)
        }
    }

    @Test
    func `no query makes an ended session begin again`() async throws {
        try await AccountsServer.with { server in
            let all = try await Self.signEverybodyIn(server)
            #expect(try await server.send(.delete, "\(sessions)?user=bob", as: all[0]).status == 200)
            await #expect(throws: DatabaseError.self) {
                try await server.services.store.database.write {
                    try $0.execute(sql: "UPDATE session SET ended = NULL WHERE user = 'bob'")
                }
            }
            #expect(try await !server.isSignedIn(all[1]))
        }
    }

    private static func signEverybodyIn(_ server: AccountsServer) async throws -> [String] {
        try await server.make("acme", ["alice": .owner, "bob": .member])
        try await server.make("other", ["carol": .owner])
        var access = [try await server.signIn("alice")]
        for device in ["laptop00000000000000000001", "desktop000000000000000001a"] {
            _ = try await server.makeDevice(device)
            access.append(
                try await server.services.store.beginSession(
                    of: SignedInPerson(user: "bob"),
                    in: "acme",
                    on: device,
                    from: "192.0.2.1",
                    at: server.clock.now
                ).access.secret
            )
        }
        access.append(try await server.signIn("carol", in: "other"))
        return access
    }
}
