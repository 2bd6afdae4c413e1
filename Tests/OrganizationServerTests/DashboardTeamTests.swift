import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import Testing

@testable import OrganizationServer

extension AccountsServer {
    /// What a team has in addition.
    func additions(of team: String = "backend") async throws -> [RegistryRule] {
        try #require(try await services.publisher.served.policy(of: "acme")).teams[team] ?? []
    }

    func version() async throws -> Int {
        try #require(try await services.publisher.served.policy(of: "acme")).version
    }
}

extension TestBrowser {
    static let team = "\(organization)/teams/backend"

    /// Sends the form of a registry of a team as its page has it.
    func saveForTeam(_ address: String, _ more: [String: String] = [:], editing rule: String? = nil) async throws
        -> Answer
    {
        let path = rule.map { "\(Self.team)/registries/edit?rule=\($0)" } ?? "\(Self.team)/registries/add"
        let page = try await get(path)
        var fields = [
            "address": address, "allowed": "true", "pull": "on", "push": "on", "login": "on",
            "policy": try #require(page.hidden("policy")),
        ]
        fields["rule"] = rule
        return try await post(
            "\(Self.team)/registries/\(rule == nil ? "add" : "edit")",
            fields.merging(more) { $1 }
        )
    }

    /// The name of the first registry of the team in its links.
    func ruleOfTeam() async throws -> String {
        let page = try await get(Self.team)
        return String(try #require(page.text.firstMatch(of: #/registries\/edit\?rule=([^"]+)"/#)?.1))
    }
}

struct DashboardTeamTests {
    private static func withTeam(_ body: @Sendable (AccountsServer, TestBrowser) async throws -> Void) async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let made = try await alice.post("\(TestBrowser.organization)/teams", ["team": "backend"])
            #expect(made.headers[.location] == TestBrowser.team)
            try await body(server, alice)
        }
    }

    @Test
    func `an owner makes a team, puts members in, takes them out and removes it`() async throws {
        try await Self.withTeam { server, alice in
            let twice = try await alice.post("\(TestBrowser.organization)/teams", ["team": "backend"])
            #expect(twice.status == 409 && twice.text.contains("There is a team &quot;backend&quot; already."))
            let wrong = try await alice.post("\(TestBrowser.organization)/teams", ["team": "Back End"])
            #expect(wrong.status == 400 && wrong.text.contains("value=\"Back End\""))
            #expect(try await alice.post("\(TestBrowser.team)/members/add", ["user": "mia"]).status == 303)
            let unknown = try await alice.post("\(TestBrowser.team)/members/add", ["user": "nobody"])
            #expect(unknown.status == 422 && unknown.text.contains("value=\"nobody\""))
            let page = try await alice.get(TestBrowser.team)
            #expect(page.text.contains("<h2>1 member</h2>") && page.text.contains("members/mia\">mia</a>"))
            #expect(!page.text.contains("<option value=\"mia\">") && page.text.contains("<option value=\"bob\">"))
            #expect(try await alice.get("\(TestBrowser.organization)/teams").text.contains("1 member"))
            #expect(try await alice.post("\(TestBrowser.team)/members/remove", ["user": "mia"]).status == 303)
            #expect(try await alice.get(TestBrowser.team).text.contains("Nobody is in this team yet."))
            #expect(try await server.recorded(.teamMemberAdded) == ["alice mia"])
            #expect(try await server.recorded(.teamMemberRemoved) == ["alice mia"])
            server.clock.advance(601)
            let question = try await alice.get("\(TestBrowser.team)/remove")
            #expect(
                question.text.contains("Remove the team backend?") && question.text.contains("Nobody is in it.")
            )
            let unsure = try await alice.post("\(TestBrowser.team)/remove")
            #expect(unsure.status == 403 && unsure.text.contains("Remove the team backend?"), "\(unsure)")
            #expect(try await alice.get(TestBrowser.team).status == 200)
            let removed = try await alice.post("\(TestBrowser.team)/remove", ["password": AccountsServer.password])
            #expect(removed.headers[.location] == "\(TestBrowser.organization)/teams")
            #expect(try await alice.get(TestBrowser.team).status == 404)
        }
    }

    @Test(arguments: ["mia ", " MIA", "\tMia\u{a0}"])
    func `a member's name is found as people type it`(name: String) async throws {
        try await Self.withTeam { server, alice in
            let added = try await alice.post("\(TestBrowser.team)/members/add", ["user": name])
            #expect(added.status == 303 && TestBrowser.message(added).hasPrefix("mia is in backend now"), "\(added)")
            #expect(try await server.recorded(.teamMemberAdded) == ["alice mia"])
        }
    }

    @Test
    func `what a team has in addition is saved at once as the next version of the policy`() async throws {
        try await Self.withTeam { server, alice in
            let edith = try await server.browser("edith")
            let added = try await edith.saveForTeam("quay.io", ["nickname": "Quay"])
            #expect(added.status == 303)
            #expect(TestBrowser.message(added) == "Version 2 is saved and applied: quay.io is allowed for backend.")
            #expect(try await server.additions().map(\.address.description) == ["quay.io"])
            #expect(try await server.policy().rules.map(\.address.description) == ["docker.io"])
            let page = try await edith.get(TestBrowser.team)
            #expect(page.text.contains("<code>quay.io</code>") && page.text.contains("Quay"))

            let rule = try await edith.ruleOfTeam()
            let form = try await edith.get("\(TestBrowser.team)/registries/edit?rule=\(rule)")
            #expect(form.text.contains("value=\"quay.io\"") && form.text.contains("Save &amp; Apply"))
            let edited = try await edith.saveForTeam("quay.io", ["allowed": "false"], editing: rule)
            #expect(edited.status == 303)
            #expect(try await server.additions().map(\.isAllowed) == [false])

            let other = try await edith.ruleOfTeam()
            let ask = try await edith.get("\(TestBrowser.team)/registries/remove?rule=\(other)")
            #expect(ask.text.contains("<code>quay.io</code>") && ask.text.contains("not allowed"))
            let removed = try await edith.post(
                "\(TestBrowser.team)/registries/remove",
                ["rule": other, "policy": try #require(ask.hidden("policy"))]
            )
            #expect(removed.status == 303)
            #expect(try await server.additions().isEmpty)
            #expect(try await server.version() == 4)
            let activity = try await alice.get("\(TestBrowser.organization)/activity?kind=changes")
            for words in ["added the registry", "changed the registry", "removed the registry"] {
                #expect(activity.text.contains("<strong>edith</strong> \(words) <code>quay.io</code>"), "\(words)")
            }
        }
    }

    @Test
    func `to change what a team has, one shows who one is, and nothing that was typed is lost`() async throws {
        try await Self.withTeam { server, alice in
            server.clock.advance(601)
            let refused = try await alice.saveForTeam("quay.io", ["nickname": "Quay", "repositories": "acme/**"])
            #expect(refused.status == 403 && refused.text.contains("Enter your password to go on."))
            for value in ["value=\"quay.io\"", "value=\"Quay\"", ">acme/**</textarea>"] {
                #expect(refused.text.contains(value))
            }
            #expect(try await server.additions().isEmpty)
            let done = try await alice.saveForTeam("quay.io", ["password": AccountsServer.password])
            #expect(done.status == 303)
            server.clock.advance(601)
            let rule = try await alice.ruleOfTeam()
            let removal = try await alice.post(
                "\(TestBrowser.team)/registries/remove",
                ["rule": rule, "policy": "2"]
            )
            #expect(removal.status == 403)
            #expect(try await server.additions().count == 1)
        }
    }

    @Test(arguments: [
        (["address": "quay io"], "address-fault"), (["address": "**"], "It is meant to be this broad"),
        (["address": "quay.io", "pull": "", "push": "", "login": ""], "Choose at least one action."),
        (["address": "quay.io", "nickname": String(repeating: "x", count: 300)], "nickname-fault"),
        (["address": "quay.io", "repositories": "//"], "repositories-fault"),
    ])
    func `what is not in order is told at its field, and nothing is saved`(fields: [String: String], words: String)
        async throws
    {
        try await Self.withTeam { server, alice in
            let answer = try await alice.saveForTeam("", fields)
            #expect(answer.status == 422, "\(answer)")
            #expect(answer.text.contains(words), "\(answer.text)")
            #expect(try await server.version() == 1)
        }
    }

    @Test
    func `an entry twice, and one that locks the server out, are refused or confirmed`() async throws {
        try await Self.withTeam { server, alice in
            #expect(try await alice.saveForTeam("quay.io").status == 303)
            #expect(try await alice.saveForTeam("quay.io").text.contains("There is an entry for this address already."))
            let lockOut = try await alice.saveForTeam("ram.acme.test", ["allowed": "false"])
            #expect(lockOut.status == 422)
            #expect(lockOut.text.contains("This locks the organization’s own server out."))
            #expect(try await server.version() == 2)
            let meant = try await alice.saveForTeam("ram.acme.test", ["allowed": "false", "acknowledgeLockOut": "on"])
            #expect(meant.status == 303)
            #expect(try await server.additions().count == 2)
        }
    }

    @Test
    func `of two who change a team at once the second learns of it, and loses nothing`() async throws {
        try await Self.withTeam { server, alice in
            let bob = try await server.browser("bob")
            let page = try await bob.get("\(TestBrowser.team)/registries/add")
            #expect(try await alice.saveForTeam("quay.io").status == 303)
            let fields = ["address": "ghcr.io", "allowed": "true", "pull": "on", "nickname": "GitHub"]
            let stale = fields.merging(["policy": try #require(page.hidden("policy"))]) { $1 }
            let conflict = try await bob.post("\(TestBrowser.team)/registries/add", stale)
            #expect(conflict.status == 412)
            #expect(conflict.text.contains("Somebody has saved another version of the policy"))
            #expect(conflict.text.contains("value=\"ghcr.io\"") && conflict.text.contains("value=\"GitHub\""))
            #expect(try await server.additions().map(\.address.description) == ["quay.io"])
            // Sent again from the page that tells it, it is saved.
            let again = fields.merging(["policy": try #require(conflict.hidden("policy"))]) { $1 }
            #expect(try await bob.post("\(TestBrowser.team)/registries/add", again).status == 303)
            #expect(try await server.additions().map(\.address.description) == ["quay.io", "ghcr.io"])

            // One edits what the other has removed.
            let rule = try await bob.ruleOfTeam()
            let removed = try await alice.post(
                "\(TestBrowser.team)/registries/remove",
                ["rule": rule, "policy": "\(try await server.version())"]
            )
            #expect(removed.status == 303)
            let gone = try await bob.post(
                "\(TestBrowser.team)/registries/edit",
                fields.merging(["rule": rule, "policy": "\(try await server.version())"]) { $1 }
            )
            #expect(gone.status == 409 && gone.text.contains("value=\"GitHub\""))
        }
    }

    @Test
    func `both of two who save at the same moment are told what came of it`() async throws {
        try await Self.withTeam { server, alice in
            let bob = try await server.browser("bob")
            let fields = ["allowed": "true", "pull": "on", "policy": "1"]
            let path = "\(TestBrowser.team)/registries/add"
            async let first = alice.post(path, fields.merging(["address": "quay.io"]) { $1 })
            async let second = bob.post(path, fields.merging(["address": "ghcr.io"]) { $1 })
            let statuses = [try await first.status, try await second.status].sorted()
            #expect(statuses == [303, 412])
            #expect(try await server.additions().count == 1)
        }
    }

    @Test
    func `what a removed team had does not come back with another team of its name`() async throws {
        try await Self.withTeam { server, alice in
            _ = try await alice.saveForTeam("quay.io")
            let question = try await alice.get("\(TestBrowser.team)/remove").text
            #expect(
                question.contains("What it has in addition (1 registry) goes with it,") && !question.contains("They")
            )
            #expect(try await alice.post("\(TestBrowser.team)/remove").status == 303)
            #expect(try await server.version() == 3, "without it")
            _ = try await alice.post("\(TestBrowser.organization)/teams", ["team": "backend"])
            #expect(try await server.additions().isEmpty)
            #expect(try await alice.get(TestBrowser.team).text.contains("No registries in addition"))
        }
    }

    @Test
    func `the history and the way back show what changes for teams`() async throws {
        try await Self.withTeam { server, alice in
            #expect(try await alice.saveForTeam("quay.io").status == 303)
            let history = "\(TestBrowser.access)/history"
            #expect(try await alice.get(history).text.contains("team backend: 1 added"))
            let saved = try await alice.get("\(history)/2").text
            #expect(saved.contains("Nothing is changed for everybody.") && saved.contains("<h3>Team backend</h3>"))
            #expect(saved.contains("<code>quay.io</code>") && saved.contains("and 1 registry of teams in addition"))
            let back = try await alice.get("\(history)/1").text
            let preview = try #require(back.split(separator: "What rolling back would change.").last)
            #expect(preview.contains("<h3>Team backend</h3>") && preview.contains("was allowed"))
            // Under another name it is the same team, and nothing is taken from it.
            #expect(try await alice.post("\(TestBrowser.team)/rename", ["team": "services"]).status == 303)
            let renamed = try await alice.get("\(history)/3").text
            #expect(renamed.contains("Nothing is changed.</p>") && !renamed.contains("<h3>Team"))
            let same = try await alice.get("\(history)/2").text
            let nothing = try #require(same.split(separator: "What rolling back would change.").last)
            #expect(nothing.contains("Nothing is changed."))
            #expect(try await alice.post("\(TestBrowser.organization)/teams/services/remove").status == 303)
            let removed = try await alice.get("\(history)/4").text
            #expect(removed.contains("<h3>Team services</h3>") && removed.contains("was allowed"))
            let gone = try await alice.get("\(history)/2").text
            #expect(gone.contains("Of teams that are no more nothing comes back: services."))
        }
    }

    @Test
    func `each of the two lists of a team keeps where the other one stands`() async throws {
        try await Self.withTeam { server, alice in
            let rules = try (1...60).map { number in
                RegistryRule(address: try AddressPattern("r\(number).acme.test"), isAllowed: true)
            }
            _ = try await server.services.publisher.publish(in: "acme", by: "alice") { content in
                var content = content
                content.teams["backend"] = rules
                return content
            }
            let hash = try await server.services.passwords.hash(Password(AccountsServer.password))
            try await server.services.store.database.write { database in
                for name in (100..<160).map({ "user-\($0)" }) {
                    try Store.insertUser(name, email: "\(name)@acme.test", hash, at: Instant(seconds: 0), database)
                    try database.execute(
                        sql: """
                            INSERT INTO membership (organization, user, role, created) VALUES ('acme', ?, 'member', 0)
                            """,
                        arguments: [name]
                    )
                    try database.execute(
                        sql: "INSERT INTO teamMember (organization, team, user) VALUES ('acme', 'backend', ?)",
                        arguments: [name]
                    )
                }
            }
            let page = try await alice.get("\(TestBrowser.team)?entries=2&page=2").text
            for address in ["?page=2", "?entries=3&amp;page=2", "?entries=2", "?entries=2&amp;page=3"] {
                #expect(page.contains("href=\"\(TestBrowser.team)\(address)\""), "\(address)")
            }
            #expect(page.contains("r26.acme.test") && page.contains("user-125"))
        }
    }

    @Test
    func `a renamed team keeps its registries, in a version of its own, and what it had in earlier ones`() async throws
    {
        try await Self.withTeam { server, alice in
            _ = try await alice.post("\(TestBrowser.team)/members/add", ["user": "mia"])
            _ = try await alice.saveForTeam("quay.io")
            _ = try await alice.post("\(TestBrowser.organization)/teams", ["team": "frontend"])
            let taken = try await alice.post("\(TestBrowser.team)/rename", ["team": "frontend"])
            #expect(taken.status == 409 && taken.text.contains("There is a team &quot;frontend&quot; already."))
            #expect(taken.text.contains("value=\"frontend\""))
            #expect(try await alice.post("\(TestBrowser.team)/rename", ["team": "No Name"]).status == 400)
            #expect(try await server.version() == 2)
            server.clock.advance(601)
            #expect(try await alice.post("\(TestBrowser.team)/rename", ["team": "services"]).status == 403)
            let fields = ["team": "services", "password": AccountsServer.password]
            let renamed = try await alice.post("\(TestBrowser.team)/rename", fields)
            #expect(renamed.headers[.location] == "\(TestBrowser.organization)/teams/services")
            #expect(try await server.version() == 3)
            #expect(try await server.additions(of: "services").map(\.address.description) == ["quay.io"])
            #expect(try await server.additions().isEmpty)
            #expect(try await alice.get(TestBrowser.team).status == 404)
            let page = try await alice.get("\(TestBrowser.organization)/teams/services")
            #expect(page.text.contains("<code>quay.io</code>") && page.text.contains("members/mia\">mia</a>"))
            let activity = try await alice.get("\(TestBrowser.organization)/activity")
            #expect(activity.text.contains("<strong>alice</strong> renamed the team <code>backend</code>"))
            // It is the same team: nothing was added to a policy, or taken out of one.
            #expect(
                try await server.count("activity WHERE action = 'registry_access.registry_added' AND actor = 'alice'")
                    == 1
            )
            #expect(try await server.count("activity WHERE action = 'registry_access.registry_removed'") == 0)
            // Back to the version that knew it by its earlier name.
            let path = "\(TestBrowser.organization)/registry-access/history/2/roll-back"
            _ = try await alice.post("\(TestBrowser.organization)/teams", ["team": "backend"])
            #expect(try await alice.post(path, ["policy": "3"]).status == 303)
            #expect(try await server.additions(of: "services").map(\.address.description) == ["quay.io"])
            #expect(try await server.additions().isEmpty, "another team of the earlier name gets nothing")
        }
    }

    @Test
    func `who may change members and not the policy leaves what a team has alone`() async throws {
        try await Self.withTeam { server, alice in
            _ = try await alice.post("\(TestBrowser.organization)/teams", ["team": "frontend"])
            _ = try await alice.saveForTeam("quay.io")
            func token(_ scopes: String) async throws -> String {
                let made = try await server.send(
                    .post,
                    "/v1/organizations/acme/tokens",
                    as: try await server.signIn("alice"),
                    body: #"{"name":"\#(scopes.count)","scopes":[\#(scopes)],"days":1}"#
                )
                return try #require(made["token"])
            }
            let teams = "/v1/organizations/acme/teams"
            let weak = try await token(#""members:write""#)
            let rename = #"{"name":"services"}"#
            for answer in [
                try await server.send(.delete, "\(teams)/backend", as: weak),
                try await server.send(.patch, "\(teams)/backend", as: weak, body: rename),
            ] {
                #expect(answer.status == 403 && answer.text.contains("policy:write"), "\(answer)")
            }
            #expect(try await server.services.store.teamNames(of: "acme") == ["backend", "frontend"])
            #expect(try await server.version() == 2)
            // A team without anything of its own is not part of the policy.
            #expect(try await server.send(.delete, "\(teams)/frontend", as: weak).status == 204)
            let strong = try await token(#""members:write","policy:write""#)
            #expect(try await server.send(.patch, "\(teams)/backend", as: strong, body: rename).status == 204)
            #expect(try await server.send(.delete, "\(teams)/services", as: strong).status == 204)
            #expect(try await server.version() == 4)
            #expect(try await server.additions(of: "services").isEmpty)
        }
    }

    @Test
    func `members see what teams have in addition and not who is in them, auditors see both`() async throws {
        try await Self.withTeam { server, alice in
            _ = try await alice.post("\(TestBrowser.organization)/teams", ["team": "hidden-team"])
            _ = try await alice.saveForTeam("quay.io")
            _ = try await alice.post("\(TestBrowser.team)/members/add", ["user": "bob"])
            let mia = try await server.browser("mia")
            let list = try await mia.get("\(TestBrowser.organization)/teams")
            #expect(list.text.contains("teams/backend\"") && !list.text.contains("hidden-team"))
            #expect(!list.text.contains("1 member"))
            let team = try await mia.get(TestBrowser.team)
            #expect(team.text.contains("<code>quay.io</code>") && !team.text.contains("bob"))
            #expect(!team.text.contains("registries/add") && !team.text.contains("<form method=\"post\" action=\"/org"))
            let audrey = try await server.browser("audrey")
            let seen = try await audrey.get(TestBrowser.team)
            #expect(seen.text.contains("members/bob\">bob</a>") && !seen.text.contains("Take out"))
            #expect(!seen.text.contains("registries/add"))
            let edith = try await server.browser("edith")
            let editor = try await edith.get(TestBrowser.team)
            #expect(editor.text.contains("registries/add") && !editor.text.contains("Take out"))
        }
    }
}
