import GRDB
import HTTPTypes
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

struct DeviceLimitTests {
    private static let devices = "/v1/organizations/acme/devices"

    private func register(_ server: AccountsServer, _ more: String = "") async throws -> Answer {
        try await server.send(.post, Self.devices, body: "{\"name\":\"laptop\"\(more)}")
    }

    private func actions(_ server: AccountsServer, _ action: String) async throws -> [KeptActivity] {
        try await server.services.store.activity(of: "acme", ActivityFilter(action: action))
    }

    @Test
    func `an address registers ten devices a minute, and as many as it likes with an enrollment token`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            for _ in 0..<10 { #expect(try await register(server).status == 201) }
            let refused = try await register(server)
            #expect(refused.status == 429)
            #expect(refused["code"] == "too_many_requests")
            #expect(refused.headers[.retryAfter] == "6")
            let alice = try await server.signIn("alice")
            let token = try await server.send(
                .post,
                "/v1/organizations/acme/enrollment-tokens",
                as: alice,
                body: #"{"name":"office","days":1}"#
            )
            let more = ",\"enrollmentToken\":\"\(try #require(token["enrollmentToken"]))\""
            for _ in 0..<30 { #expect(try await register(server, more).status == 201) }
            server.clock.advance(6)
            #expect(try await register(server).status == 201)
            #expect(try await register(server).status == 429)
        }
    }

    @Test
    func `an enrollment token is not guessed`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            var statuses: [Int] = []
            for _ in 0..<101 {
                let more = ",\"enrollmentToken\":\"\(OpaqueToken(.enrollment).secret)\""
                statuses.append(try await register(server, more).status)
            }
            #expect(statuses == [Int](repeating: 403, count: 100) + [429])
        }
    }

    @Test
    func `an organization has no more devices than it has set, and says so once a day`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let alice = try await server.signIn("alice")
            let settings = try await server.send(
                .patch,
                "/v1/organizations/acme/settings",
                as: alice,
                body: #"{"maximumDevices":3}"#
            )
            #expect(settings.json.value(named: "maximumDevices") == .number("3"))
            for _ in 0..<3 { #expect(try await register(server).status == 201) }
            for _ in 0..<2 {
                let refused = try await register(server)
                #expect(refused.status == 403)
                #expect(refused["code"] == "enrollment_refused")
                #expect(refused["detail"] == "\"acme\" has 3 devices, and may have no more")
                #expect(refused["hint"]?.contains("maximumDevices") == true)
            }
            #expect(try await server.count("device") == 3)
            #expect(try await actions(server, "device.limit_reached").count == 1)
            server.clock.advance(86_400)
            #expect(try await register(server).status == 403)
            #expect(try await actions(server, "device.limit_reached").count == 2)
        }
    }

    @Test
    func `devices that were never seen again make room after a month, and no others do`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let store = server.services.store
            let start = server.clock.now
            // Each but the first two has a reason to stay.
            for number in 0..<6 { _ = try await server.makeDevice("device000000000000000000\(number)") }
            try await store.database.write { database in
                try database.execute(
                    sql: "UPDATE device SET lastSeen = created WHERE id <> 'device0000000000000000000'"
                )
                try database.execute(
                    sql: "UPDATE device SET lastSeen = created + 300 WHERE id = 'device0000000000000000002'"
                )
                try database.execute(
                    sql: "UPDATE device SET created = created + 1, lastSeen = created + 1 WHERE id = ?",
                    arguments: ["device0000000000000000003"]
                )
                try database.execute(
                    sql: """
                        INSERT INTO deviceStatus (organization, device, time, policyVersion, document)
                        VALUES ('acme', 'device0000000000000000004', ?, 1, '{}')
                        """,
                    arguments: [start.seconds]
                )
                try database.execute(sql: "UPDATE organization SET maximumDevices = 6")
            }
            _ = try await store.beginSession(
                of: SignedInPerson(user: "alice"),
                in: "acme",
                on: "device0000000000000000005",
                from: "-",
                at: start
            )
            server.clock.advance(Device.forgottenSeconds - 1)
            #expect(try await register(server).status == 403)
            #expect(try await server.count("device") == 6)
            server.clock.advance(1)
            #expect(try await register(server).status == 201)
            let left = try await store.devices(of: "acme", after: nil, atMost: 100, at: start).map(\.id)
                .filter { $0.hasPrefix("device") }
            #expect(left == (2...5).map { "device000000000000000000\($0)" })
            let line = try #require(try await actions(server, "device.forget").first)
            #expect(line.data.value(named: "devices") == .number("2"))
        }
    }
}
