import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

struct DockerAPITests {
    private static let path = "/v2/orgs/acme/settings/registry-access-management"

    /// What the Terraform provider sends.
    private func document(_ enabled: Bool, hub: Bool, _ registries: [(String, Bool)]) -> String {
        let custom = registries.map { "{\"address\":\"\($0)\",\"friendly_name\":\"\($0)\",\"allowed\":\($1)}" }
        return """
            {"enabled":\(enabled),"standard_registries":[{"id":"DockerHub","allowed":\(hub)}],
            "custom_registries":[\(custom.joined(separator: ","))]}
            """
    }

    private func rules(_ server: RunningServer) async throws -> [String] {
        let policy = try #require(try await server.store.signingState(of: "acme")?.policy?.policy)
        return policy.rules.map { "\($0.address) \($0.isAllowed)" }
    }

    @Test
    func `Docker's document is saved as a policy, and shown as one`() async throws {
        try await RunningServer.with { server in
            let put = try await server.ask(
                .put,
                Self.path,
                by: "editor",
                body: document(true, hub: false, [("https://example.com", true), ("bad.acme.test", false)])
            )
            #expect(put.status == .ok, "\(put.text)")
            #expect(try await rules(server) == ["docker.io false", "example.com true", "bad.acme.test false"])
            let shown = try await server.ask(.get, Self.path, by: "member")
            #expect(shown.bytes == put.bytes)
            #expect(shown.text.contains(#"{"id":"DockerHub","allowed":false}"#))
            let allowed = try await server.ask(.get, "\(Self.path)/policy", by: "member").json()
            let values = allowed.value(named: "allowed")?.elements?.map { $0.value(named: "value")?.text }
            #expect(values == ["example.com"])
            // As the provider deletes the resource.
            try await server.ask(.put, Self.path, by: "owner", body: document(false, hub: true, []))
            let logs = try await server.ask(.get, "/v2/auditlogs/acme?page_size=4", by: "auditor").json()
            let actions = logs.value(named: "logs")?.elements?.map { $0.value(named: "action")?.text }
            #expect(
                actions == [
                    "org.registry_access.registry_updated", "org.registry_access.registry_removed",
                    "org.registry_access.registry_removed", "org.registry_access.disabled",
                ]
            )
        }
    }

    @Test
    func `a document that is fetched and put back changes nothing, whatever the policy holds`() async throws {
        try await RunningServer.with { server in
            let policy = #"""
                {"version":1,"organization":"acme","mode":"audit","contact":"ops@acme.test","registries":[
                {"address":"docker.io","nickname":"Hub","allowed":true},
                {"address":"registry.acme.test:5000","allowed":true,"insecure":true,"supportHosts":["blobs.acme.test"]},
                {"address":"ghcr.io","allowed":true},{"address":"ghcr.io","allowed":false,"repositories":["evil/**"]},
                {"address":"**.evil.test","allowed":false}]}
                """#
            #expect(try await server.ask(.put, "policy", by: "owner", body: policy, ifMatch: 1).status == .ok)
            let shown = try await server.ask(.get, Self.path, by: "owner")
            let put = try await server.ask(.put, Self.path, by: "owner", body: shown.text)
            #expect(put.status == .ok)
            #expect(try await server.store.sequences()["acme"] == 2)
            let more = shown.text.replacing(
                #""custom_registries":["#,
                with: #""custom_registries":[{"address":"quay.io","friendly_name":"Quay","allowed":true},"#
            )
            #expect(try await server.ask(.put, Self.path, by: "owner", body: more).status == .ok)
            let after = try #require(try await server.store.signingState(of: "acme")?.policy?.policy)
            #expect(after.mode == .audit)
            #expect(after.contact == "ops@acme.test")
            let table: [(String, String?, Verdict.Reason)] = [
                ("quay.io", nil, .allowedByRule), ("a.evil.test", nil, .deniedByRule),
                ("ghcr.io", "evil/a", .deniedByRule),
            ]
            for (registry, repository, reason) in table {
                let request = AccessRequest(.pull, try RegistryAddress(registry), repository: repository)
                #expect(after.verdict(on: request).reason == reason, "\(registry)")
            }
            #expect(after.acceptsPlainHTTP(at: try RegistryAddress("registry.acme.test:5000")))
            #expect(after.verdict(onReaching: try RegistryAddress("blobs.acme.test")).reason == .supportHost)
        }
    }

    @Test
    func `what Docker's document leaves out is gone, and what it cannot show stays`() async throws {
        try await RunningServer.with { server in
            let policy = #"""
                {"version":1,"organization":"acme","registries":[{"address":"docker.io","allowed":true},
                {"address":"*.acme.test","allowed":true},{"address":"ghcr.io","allowed":true,"actions":["pull"]},
                {"address":"quay.io","allowed":true},{"address":"bad.acme.test","allowed":false},
                {"address":"bad.test","allowed":false},{"address":"team.test","allowed":false},
                {"address":"*.evil.test","allowed":false}]}
                """#
            #expect(try await server.ask(.put, "policy", by: "owner", body: policy, ifMatch: 1).status == .ok)
            let team = #"{"registries":[{"address":"team.test","allowed":true}]}"#
            #expect(
                try await server.ask(.put, "teams/backend/policy", by: "owner", body: team, ifMatch: 2).status == .ok
            )
            let shown = try await server.ask(.get, Self.path, by: "owner")
            #expect(try await server.ask(.put, Self.path, by: "owner", body: shown.text).status == .ok)
            #expect(try await server.store.sequences()["acme"] == 3)
            try await server.ask(.put, Self.path, by: "owner", body: document(true, hub: true, []))
            let expected = [
                "docker.io true", "*.acme.test true", "ghcr.io true", "bad.acme.test false", "team.test false",
                "*.evil.test false",
            ]
            #expect(try await rules(server) == expected)
        }
    }

    @Test
    func `every mistake of a document is named with its place`() async throws {
        try await RunningServer.with { server in
            let body = document(true, hub: true, [("*.acme.test", true), ("ok.acme.test", true), ("a b", true)])
            let answer = try await server.ask(.put, Self.path, by: "owner", body: body)
            #expect(answer.status == .unprocessableContent)
            #expect(try answer.json().value(named: "faults")?.elements?.count == 2)
            #expect(try await rules(server) == ["docker.io true"])
        }
    }

    @Test
    func `the audit log is read page by page, and filtered`() async throws {
        try await RunningServer.with { server in
            for number in 1...4 {
                server.time.pass(100)
                let body = server.policy(allowing: (0..<number).map { "r\($0).acme.test" })
                try await server.ask(
                    .put,
                    "policy",
                    by: number % 2 == 0 ? "owner" : "editor",
                    body: body,
                    ifMatch: number
                )
            }
            func logs(_ query: String) async throws -> [JSONValue] {
                let answer = try await server.ask(.get, "/v2/auditlogs/acme?\(query)", by: "auditor")
                return try #require(try answer.json().value(named: "logs")?.elements, "\(answer.text)")
            }
            let all = try await logs("page_size=100&action=registry_access")
            // The root document, the first policy with a contact and Docker Hub; then the save that takes both out and adds
            // one; then saves that add one.
            let count = [1, 3, 4, 2, 2, 2].reduce(0, +)
            #expect(all.count == count)
            var paged: [JSONValue] = []
            for page in 1...4 { paged += try await logs("page=\(page)&page_size=4&action=registry_access") }
            #expect(paged == all)
            let added = try #require(all.first { $0.value(named: "name")?.text == "r3.acme.test" })
            #expect(added.value(named: "account")?.text == "acme")
            #expect(added.value(named: "action")?.text == "org.registry_access.registry_added")
            #expect(added.value(named: "data")?.value(named: "version")?.text == "5")
            #expect(
                added.value(named: "action_description")?.text
                    == "Registry Access Management registry added: r3.acme.test"
            )
            // Access tokens have lines, too.
            func isOfPolicy(_ line: JSONValue) -> Bool {
                line.value(named: "action")?.text?.hasPrefix("org.registry_access.") ?? false
            }
            let late = (SignedOrganization.start + 300).description.dropLast() + ".000Z"
            let later = (SignedOrganization.start + 300 + 7200).description
            let table = [
                ("action=org.registry_access.registry_added", 5), ("action=registry_access.registry_added", 5),
                ("action=registry_access", 14), ("actor=editor", 6), ("name=docker.io", 2),
                ("from=\(late)", 4), ("to=\(late)", 10), ("action=team", 0),
                ("from=\(later.dropLast())%2B02:00", 4), ("from=\(later.dropLast()).000%2B02:00", 4),
                ("from=\(later.dropLast())-01:30", 0),
            ]
            for (query, count) in table {
                #expect(try await logs("page_size=100&\(query)").filter(isOfPolicy).count == count, "\(query)")
            }
            for time in [
                "2026-11-30T18:00:00.rubbish", "2026-11-30T18:00:00", "2026-11-30T18:00:00+2:00", "2026-11-30",
            ] {
                let from = time.replacing("+", with: "%2B")
                let answer = try await server.ask(.get, "/v2/auditlogs/acme?from=\(from)", by: "auditor")
                #expect(answer.status == .badRequest, "\(time)")
            }
            let known = try await server.ask(.get, "/v2/auditlogs/acme/actions", by: "auditor").json()
            let org = known.value(named: "actions")?.value(named: "org")?.value(named: "actions")?.elements
            let names = Set((org ?? []).compactMap { $0.value(named: "name")?.text })
            #expect(names.isSuperset(of: Activity.PolicyAction.allCases.map(\.rawValue)))
            let actions = try await server.store.activity(of: "acme", ActivityFilter(limit: 500)).map(\.action)
            #expect(names.isSuperset(of: actions))
        }
    }
}
