import GRDB
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

struct PolicyTests {
    private func newest(_ server: RunningServer) async throws -> (version: Int, addresses: [String]) {
        let answer = try await server.ask(.get, "policy", by: "member")
        let policy = try AccessPolicy(json: answer.bytes)
        #expect(answer.headers[.eTag] == "\"\(policy.version)\"")
        return (policy.version, policy.rules.map(\.address.description))
    }

    // MARK: - Saving

    @Test
    func `what is saved is in force, under the next number`() async throws {
        try await RunningServer.with { server in
            let document = server.policy(
                allowing: ["docker.io", "ghcr.io"],
                more: ",\"mode\":\"audit\",\"contact\":\"ops\""
            )
            let answer = try await server.ask(
                .put,
                "policy?comment=let%20us%20see",
                by: "editor",
                body: document,
                ifMatch: 1
            )
            #expect(answer.status == .ok)
            #expect(answer.headers[.eTag] == "\"2\"")
            let warnings = try #require(try answer.json().value(named: "warnings")?.elements)
            #expect(warnings.contains { $0.value(named: "message")?.text == "audit mode: nothing is refused" })
            let there = try await newest(server)
            #expect(there == (2, ["docker.io", "ghcr.io"]))
            var machine = try await server.machine()
            try await server.refresh(&machine)
            #expect(machine.policy?.policy.mode == .audit)
            let version = try #require(try await server.store.policyVersions(of: "acme", before: nil, atMost: 1).first)
            #expect(version.author == "editor")
            #expect(version.comment == "let us see")
            #expect(version.time == server.time.now)
        }
    }

    @Test
    func `a save without the version that was seen is refused`() async throws {
        try await RunningServer.with { server in
            let answer = try await server.ask(.put, "policy", by: "owner", body: server.policy(allowing: ["ghcr.io"]))
            #expect(answer.status == .preconditionRequired)
            #expect(answer.code == "precondition_required")
            let there = try await newest(server)
            #expect(there == (1, ["docker.io"]))
        }
    }

    @Test
    func `a save that builds on an older version overwrites nothing, and is told what is there`() async throws {
        try await RunningServer.with { server in
            try await server.ask(.put, "policy", by: "editor", body: server.policy(allowing: ["ghcr.io"]), ifMatch: 1)
            let answer = try await server.ask(
                .put,
                "policy",
                by: "owner",
                body: server.policy(allowing: ["quay.io"]),
                ifMatch: 1
            )
            #expect(answer.status == .preconditionFailed)
            #expect(answer.code == "changed_meanwhile")
            #expect(answer.headers[.eTag] == "\"2\"")
            let current = try #require(try answer.json().value(named: "current"))
            #expect(current.value(named: "version") == .number("2"))
            #expect(current.value(named: "author")?.text == "editor")
            let there = try await newest(server)
            #expect(there == (2, ["ghcr.io"]))
        }
    }

    @Test
    func `of many who save at once on the same version, one does`() async throws {
        try await RunningServer.with { server in
            let statuses = try await withThrowingTaskGroup(of: HTTPResponse.Status.self) { group in
                for number in 0..<8 {
                    group.addTask {
                        let document = server.policy(allowing: ["r\(number).acme.test"])
                        return try await server.ask(.put, "policy", by: "owner", body: document, ifMatch: 1).status
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.count { $0 == .ok } == 1)
            #expect(statuses.count { $0 == .preconditionFailed } == 7)
            let there = try await newest(server)
            #expect(there.version == 2)
        }
    }

    @Test
    func `what decides as before is no new version`() async throws {
        try await RunningServer.with { server in
            let there = try await server.ask(.get, "policy", by: "owner")
            let answer = try await server.ask(.put, "policy", by: "owner", body: there.text, ifMatch: 1)
            #expect(answer.status == .ok)
            #expect(try answer.json().value(named: "isNew") == .bool(false))
            #expect(try await server.store.sequences()["acme"] == 1)
        }
    }

    @Test
    func `every mistake is named with its place`() async throws {
        try await RunningServer.with { server in
            let document = """
                {
                  "version": 1, "organization": "acme", "mode": "hard",
                  "registries": [
                    { "address": "gh cr.io", "allowed": true },
                    { "address": "ghcr.io", "allowed": "yes" }
                  ]
                }
                """
            for path in ["policy", "policy/draft"] {
                let match = path == "policy" ? 1 : 0
                let answer = try await server.ask(.put, path, by: "owner", body: document, ifMatch: match)
                #expect(answer.status == .unprocessableContent)
                #expect(answer.headers[.contentType] == "application/problem+json")
                let faults = try #require(try answer.json().value(named: "faults")?.elements)
                #expect(faults.map { $0.value(named: "line") } == [.number("2"), .number("4"), .number("5")])
            }
        }
    }

    @Test(
        "what is no policy of this organization is refused",
        arguments: [
            "", "[]", "{\"version\":1,\"organization\":\"other\",\"registries\":[]}",
            "{\"version\":1,\"organization\":\"acme\",\"registries\":[],\"registries\":[]}",
            "{\"version\":1,\"organization\":\"acme\",\"registries\":[]} ",
        ]
    )
    func noPolicy(_ document: String) async throws {
        try await RunningServer.with { server in
            let answer = try await server.ask(.put, "policy", by: "owner", body: document, ifMatch: 1)
            // The last one is a policy: it shows that the others are refused for what they are.
            #expect(answer.status == (document.hasSuffix(" ") ? .ok : .unprocessableContent))
            let there = try await newest(server)
            #expect(there.version == (document.hasSuffix(" ") ? 2 : 1))
        }
    }

    @Test(
        "If-Match is one version in quotes",
        arguments: ["1", "*", "W/\"1\"", "\"1\", \"2\"", "\"01\"", "\"-1\"", "\"\""]
    )
    func badMatch(_ field: String) async throws {
        try await RunningServer.with { server in
            let token = try #require(server.tokens["owner"]).secret
            let headers: HTTPFields = [.authorization: "Bearer \(token)", .ifMatch: field]
            let body = ByteBuffer(string: server.policy(allowing: ["ghcr.io"]))
            let status = try await server.client.execute(
                uri: "/v1/organizations/acme/policy",
                method: .put,
                headers: headers,
                body: body
            ) { $0.status }
            #expect(status == .badRequest)
            let there = try await newest(server)
            #expect(there.version == 1)
        }
    }

    @Test
    func `a policy with 100,000 rules is saved, and a machine accepts it`() async throws {
        try await RunningServer.with { server in
            let document = server.policy(allowing: (0..<100_000).map { "r\($0).acme.test" })
            let clock = ContinuousClock()
            let duration = try await clock.measure {
                let answer = try await server.ask(.put, "policy", by: "owner", body: document, ifMatch: 1)
                #expect(answer.status == .ok, "\(answer.text.prefix(300))")
                let counts = try answer.json().value(named: "counts")
                #expect(counts?.value(named: "added") == .number("100000"))
            }
            print("saved \(document.utf8.count) bytes with 100,000 rules in \(duration)")
            var machine = try await server.machine()
            try await server.refresh(&machine)
            #expect(machine.policy?.policy.rules.count == 100_000)
            // The activity has the whole count, and of the registries the first.
            let lines = try await server.store.activity(
                of: "acme",
                ActivityFilter(action: "registry_access", limit: 5000)
            )
            #expect(lines.count { $0.action == "registry_access.registry_added" } == PolicyChange.mostNamed + 1)
            let saved = try #require(lines.first { $0.action == "registry_access.policy_saved" })
            #expect(saved.data.value(named: "added") == .number("100000"))
        }
    }

    @Test
    func `only a policy may be long`() async throws {
        try await RunningServer.with { server in
            let long = String(repeating: " ", count: 2 << 20)
            let saved = try await server.ask(
                .put,
                "policy",
                by: "owner",
                body: server.policy(allowing: ["ghcr.io"]) + long,
                ifMatch: 1
            )
            #expect(saved.status == .ok)
            let rollback = try await server.ask(.post, "policy/rollback", by: "owner", body: "{\"version\":1}" + long)
            #expect(rollback.status == .contentTooLarge)
            let tooLong = String(repeating: " ", count: (64 << 20) + 1)
            let refused = try await server.ask(.put, "policy", by: "owner", body: tooLong, ifMatch: 2)
            #expect(refused.status == .contentTooLarge)
        }
    }

    // MARK: - Locking out

    static let lockingOut: [(rule: String, team: String?)] = [
        (#"{"address":"ram.acme.test:8443","allowed":false}"#, nil),
        (#"{"address":"*.acme.test:*","allowed":false}"#, nil),
        (#"{"address":"**.acme.test:8443","allowed":false}"#, "backend"),
    ]

    @Test("a policy that denies the server itself is saved only if that is said", arguments: lockingOut)
    func lockOut(_ rule: String, _ team: String?) async throws {
        try await RunningServer.with(serverAddress: "ram.acme.test:8443") { server in
            let body =
                team == nil
                ? "{\"version\":1,\"organization\":\"acme\",\"registries\":[\(rule)]}" : "{\"registries\":[\(rule)]}"
            let path = team.map { "teams/\($0)/policy" } ?? "policy"
            let refused = try await server.ask(.put, path, by: "owner", body: body, ifMatch: 1)
            #expect(refused.status == .unprocessableContent)
            #expect(refused.code == "locks_out")
            let there = try await newest(server)
            #expect(there.version == 1)
            let meant = try await server.ask(
                .put,
                "\(path)?acknowledgeLockOut=true",
                by: "owner",
                body: body,
                ifMatch: 1
            )
            #expect(meant.status == .ok)
        }
    }

    @Test
    func `a policy that says nothing of the server locks nobody out`() async throws {
        try await RunningServer.with(serverAddress: "ram.acme.test:8443") { server in
            let answer = try await server.ask(
                .put,
                "policy",
                by: "owner",
                body: server.policy(allowing: []),
                ifMatch: 1
            )
            #expect(answer.status == .ok)
        }
    }

    // MARK: - Drafts

    @Test
    func `a draft is changed by who has seen it, and saved as the policy`() async throws {
        try await RunningServer.with { server in
            let none = try await server.ask(.get, "policy/draft", by: "editor")
            #expect(none.status == .notFound)
            #expect(none.headers[.eTag] == "\"0\"")
            let first = server.policy(allowing: ["ghcr.io"])
            let second = server.policy(allowing: ["ghcr.io", "quay.io"])
            #expect(try await server.ask(.put, "policy/draft", by: "editor", body: first, ifMatch: 0).status == .ok)
            let late = try await server.ask(.put, "policy/draft", by: "owner", body: second, ifMatch: 0)
            #expect(late.status == .preconditionFailed)
            #expect(late.headers[.eTag] == "\"1\"")
            #expect(try await server.ask(.put, "policy/draft", by: "owner", body: second, ifMatch: 1).status == .ok)
            let draft = try await server.ask(.get, "policy/draft", by: "editor")
            #expect(draft.headers[.eTag] == "\"2\"")
            #expect(try draft.json().value(named: "author")?.text == "owner")
            let rules = try #require(try draft.json().value(named: "policy")?.value(named: "registries")?.elements)
            #expect(rules.count == 2)
            // A draft is not in force.
            let before = try await newest(server)
            #expect(before.version == 1)

            for body in [#"{"draft":1,"policy":1}"#, #"{"draft":2,"policy":2}"#] {
                let refused = try await server.ask(.post, "policy/draft/save", by: "editor", body: body)
                #expect(refused.status == .preconditionFailed)
            }
            let saved = try await server.ask(
                .post,
                "policy/draft/save",
                by: "editor",
                body: #"{"draft":2,"policy":1,"comment":"as agreed"}"#
            )
            #expect(saved.status == .ok, "\(saved.text)")
            let after = try await newest(server)
            #expect(after == (2, ["ghcr.io", "quay.io"]))
            // The number of a draft never comes again.
            let gone = try await server.ask(.get, "policy/draft", by: "editor")
            #expect(gone.status == .notFound)
            #expect(gone.headers[.eTag] == "\"3\"")
            #expect(
                try await server.ask(.put, "policy/draft", by: "editor", body: first, ifMatch: 0).status
                    == .preconditionFailed
            )
            #expect(try await server.ask(.put, "policy/draft", by: "editor", body: first, ifMatch: 3).status == .ok)
            #expect(
                try await server.ask(.delete, "policy/draft", by: "editor", ifMatch: 3).status == .preconditionFailed
            )
            #expect(try await server.ask(.delete, "policy/draft", by: "editor", ifMatch: 4).status == .noContent)
            #expect(try await server.ask(.get, "policy/draft", by: "editor").status == .notFound)
        }
    }

    // MARK: - Versions

    @Test
    func `every version stays with who made it and what it changed, and can come back`() async throws {
        try await RunningServer.with { server in
            try await server.ask(.put, "policy", by: "editor", body: server.policy(allowing: ["ghcr.io"]), ifMatch: 1)
            let third = server.policy(allowing: ["ghcr.io", "quay.io"], more: ",\"enabled\":false")
            try await server.ask(.put, "policy", by: "owner", body: third, ifMatch: 2)
            let back = try await server.ask(.post, "policy/rollback", by: "owner", body: #"{"version":1}"#, ifMatch: 3)
            #expect(back.status == .ok)
            let there = try await newest(server)
            #expect(there == (4, ["docker.io"]))

            let list = try await server.ask(.get, "policy/versions?limit=3", by: "member")
            let versions = try #require(try list.json().value(named: "versions")?.elements)
            #expect(versions.map { $0.value(named: "version") } == [.number("4"), .number("3"), .number("2")])
            #expect(versions.map { $0.value(named: "author")?.text } == ["owner", "owner", "editor"])
            #expect(try list.json().value(named: "next") == .number("2"))
            let rest = try await server.ask(.get, "policy/versions?before=2", by: "member")
            #expect(try rest.json().value(named: "versions")?.elements?.count == 1)
            #expect(try rest.json().value(named: "next") == .null)

            let shown = try await server.ask(.get, "policy/versions/2", by: "member").json()
            let difference = try #require(shown.value(named: "difference"))
            #expect(difference.value(named: "removed")?.elements?.first?.value(named: "address")?.text == "docker.io")
            #expect(difference.value(named: "added")?.elements?.first?.value(named: "address")?.text == "ghcr.io")
            #expect(shown.value(named: "policy")?.value(named: "version") == .number("2"))
            for missing in ["0", "5", "x"] {
                #expect(try await server.ask(.get, "policy/versions/\(missing)", by: "member").status == .notFound)
            }
            let unknown = try await server.ask(.post, "policy/rollback", by: "owner", body: #"{"version":9}"#)
            #expect(unknown.status == .notFound)
        }
    }

    @Test
    func `what a save changes is in the activity`() async throws {
        try await RunningServer.with { server in
            let document = #"""
                {"version":1,"organization":"acme","enabled":false,"contact":"platform@acme.test",
                "registries":[{"address":"docker.io","allowed":false},{"address":"ghcr.io","nickname":"GitHub","allowed":true}]}
                """#
            try await server.ask(.put, "policy", by: "editor", body: document, ifMatch: 1)
            let on = document.replacing("\"enabled\":false,", with: "").replacing(
                #"{"address":"docker.io","allowed":false},"#,
                with: ""
            )
            try await server.ask(.put, "policy", by: "owner", body: on, ifMatch: 2)
            let answer = try await server.ask(.get, "activity?action=registry_access&limit=9", by: "auditor")
            let lines = try #require(try answer.json().value(named: "activity")?.elements)
            let said = lines.map { line in
                ["action", "name", "actor"].map { line.value(named: $0)?.text ?? "" }.joined(separator: " ")
            }
            #expect(
                said.prefix(7) == [
                    "registry_access.registry_removed docker.io owner", "registry_access.enabled enabled owner",
                    "registry_access.policy_saved version 3 owner",
                    "registry_access.registry_updated docker.io editor",
                    "registry_access.registry_added ghcr.io editor",
                    "registry_access.disabled enabled editor", "registry_access.policy_saved version 2 editor",
                ]
            )
            let next = try await server.ask(
                .get,
                "activity?actor=editor&action=registry_access&before=\(Int.max >> 11)",
                by: "owner"
            )
            #expect(try next.json().value(named: "activity")?.elements?.count == 4)
        }
    }

    // MARK: - Teams

    @Test
    func `teams have registries in addition, and denying wins`() async throws {
        try await RunningServer.with { server in
            let backend = #"{"registries":[{"address":"quay.io","allowed":true}]}"#
            let frontend =
                #"{"registries":[{"address":"quay.io","allowed":false},{"address":"ghcr.io","allowed":true}]}"#
            #expect(
                try await server.ask(.put, "teams/backend/policy", by: "editor", body: backend, ifMatch: 1).status
                    == .ok
            )
            #expect(
                try await server.ask(.put, "teams/frontend/policy", by: "editor", body: frontend, ifMatch: 2).status
                    == .ok
            )
            let late = try await server.ask(.put, "teams/backend/policy", by: "editor", body: frontend, ifMatch: 2)
            #expect(late.status == .preconditionFailed)
            let shown = try await server.ask(.get, "teams/backend/policy", by: "member")
            #expect(shown.headers[.eTag] == "\"3\"")
            #expect(try shown.json().value(named: "registries")?.elements?.count == 1)
            #expect(try await server.ask(.get, "teams/nobody/policy", by: "member").status == .notFound)
            #expect(
                try await server.ask(.put, "teams/nobody/policy", by: "owner", body: backend, ifMatch: 3).status
                    == .notFound
            )

            var machine = try await server.machine()
            try await server.refresh(&machine)
            let table: [([String], String, Verdict.Outcome)] = [
                ([], "quay.io", .deny), (["backend"], "quay.io", .allow), (["frontend"], "quay.io", .deny),
                (["backend", "frontend"], "quay.io", .deny), (["backend", "frontend"], "ghcr.io", .allow),
                (["backend"], "docker.io", .allow),
            ]
            for (teams, registry, outcome) in table {
                let inForce = try #require(machine.policyInForce(for: teams, at: server.time.now))
                let request = AccessRequest(.pull, try RegistryAddress(registry))
                #expect(inForce.policy.verdict(on: request).outcome == outcome, "\(teams) \(registry)")
            }
        }
    }

    @Test
    func `versions and answers say how much changes for teams, and what teams were called later`() async throws {
        try await RunningServer.with { server in
            let rules = #"{"registries":[{"address":"quay.io","allowed":true}]}"#
            let saved = try await server.ask(.put, "teams/backend/policy", by: "editor", body: rules, ifMatch: 1)
            let one = #"{"backend":{"settings":0,"removed":0,"added":1,"changed":0}}"#
            #expect(try saved.json().value(named: "teamCounts")?.text() == one)
            let list = try await server.ask(.get, "policy/versions?limit=1", by: "member")
            let newest = try list.json().value(named: "versions")?.elements?.first
            #expect(newest?.value(named: "teamCounts")?.text() == one)
            let back = try await server.ask(.post, "policy/rollback", by: "editor", body: #"{"version":1}"#)
            #expect(
                try back.json().value(named: "teamCounts")?.text()
                    == #"{"backend":{"settings":0,"removed":1,"added":0,"changed":0}}"#
            )
            try await server.ask(.post, "policy/rollback", by: "editor", body: #"{"version":2}"#)
            try await server.ask(.patch, "teams/backend", by: "owner", body: #"{"name":"services"}"#)
            let version = try await server.ask(.get, "policy/versions/2", by: "member")
            #expect(
                try version.json().value(named: "renamedTeams")?.text()
                    == #"[{"version":5,"from":"backend","to":"services"}]"#
            )
        }
    }

    @Test
    func `what a team had does not come back with another team of its name`() async throws {
        try await RunningServer.with { server in
            let rules = #"{"registries":[{"address":"quay.io","allowed":true}]}"#
            try await server.ask(.put, "teams/backend/policy", by: "editor", body: rules, ifMatch: 1)
            try await server.store.database.write { try $0.execute(sql: "DELETE FROM team WHERE name = 'backend'") }
            try await server.ask(.put, "policy", by: "editor", body: server.policy(allowing: ["ghcr.io"]), ifMatch: 2)
            #expect(try await server.store.policyDocument(2, of: "acme")?.teams.keys.sorted() == ["backend"])
            #expect(try await server.store.policyDocument(3, of: "acme")?.teams.keys.sorted() == [])
        }
    }

    // MARK: - Docker's form

    @Test
    func `a policy comes and goes in Docker's form, too`() async throws {
        try await RunningServer.with { server in
            let document = #"""
                {"enabled":true,"standard_registries":[{"id":"DockerHub","allowed":false}],
                "custom_registries":[{"address":"https://ghcr.io","friendly_name":"GitHub","allowed":true}]}
                """#
            let saved = try await server.ask(.put, "policy?format=docker", by: "editor", body: document, ifMatch: 1)
            #expect(saved.status == .ok, "\(saved.text)")
            let there = try await newest(server)
            #expect(there == (2, ["docker.io", "ghcr.io"]))
            let shown = try await server.ask(.get, "policy?format=docker", by: "member").json()
            let custom = shown.value(named: "document")?.value(named: "custom_registries")?.elements
            #expect(custom?.first?.value(named: "friendly_name")?.text == "GitHub")
            #expect(shown.value(named: "losses") == .array([]))
            #expect(try await server.ask(.get, "policy?format=yaml", by: "member").status == .badRequest)
        }
    }
}
