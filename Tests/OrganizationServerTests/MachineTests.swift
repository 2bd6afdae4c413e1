import Foundation
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

/// All parts of the server together, as a machine sees them.
struct MachineTests {
    @Test
    func `a machine registers, signs in with a ticket that it accepts, and learns that its session has ended`()
        async throws
    {
        try await RunningServer.with { server in
            let device = try await server.register()
            var machine = try await server.machine()
            try await server.refresh(&machine)
            let before = try await server.changes(device)
            #expect(before.session == "none")

            let token = try #require(server.tokens["member"]).secret
            let form =
                "grant_type=urn%3Adocker-ram%3Aaccess-token&organization=acme&token=\(token)"
                + "&device=\(device.id)&device_secret=\(device.secret)"
            let answer = try await server.client.execute(
                uri: "/v1/token",
                method: .post,
                headers: [.contentType: "application/x-www-form-urlencoded"],
                body: ByteBuffer(string: form)
            ) { String(buffer: $0.body) }
            let ticket = try #require(try StrictJSON.parse(Array(answer.utf8)).value(named: "ticket"), "\(answer)")
            try machine.accept(ticket: Array(ticket.text().utf8), for: device.id, at: server.time.now)
            #expect(machine.signedIn(at: server.time.now)?.subject == "member")

            let active = try await server.changes(device, after: before.cursor, wait: 60)
            #expect(active.session == "active")
            async let waiting = server.changes(device, after: active.cursor, wait: 60)
            await server.waiters(1)
            let ended = try await server.ask(.delete, "sessions?user=member", by: "owner")
            #expect(ended.status == .ok || ended.status == .noContent, "\(ended.text)")
            let after = try await waiting
            #expect(after.session == "ended")
        }
    }

    @Test
    func `a new organization has keys and a policy, and its files are accepted by who has the fingerprint`()
        async throws
    {
        try await withTemporaryDirectory { directory in
            let data = DataDirectory(path: "\(directory)/data")
            try data.create()
            let store = try Store(path: data.database)
            let setup = OrganizationSetup(
                organization: "acme",
                contact: "platform@acme.test",
                owner: "alice",
                password: try await Passwords(cost: 4).hash(Password("correct horse battery")),
                now: .now,
                documents: FirstDocuments(rootKey: .new(file: "\(directory)/stick.key"))
            )
            let lines = try await setup.run(in: store, data)
            try store.database.close()
            let key = try #require(FileManager.default.contents(atPath: "\(directory)/stick.key"))
            let rootKey = try #require(SigningKey(file: Array(key)))
            #expect(lines.joined().contains(rootKey.verificationKey.id.fingerprint))
            #expect(!lines.joined().contains(rootKey.file))

            let command = [
                try Programs.path("docker-ram-server"), "publish", "--data", data.path, "\(directory)/www",
            ]
            try await runProgram(command).expecting(0)
            func file(_ name: String) throws -> [UInt8] {
                Array(try #require(FileManager.default.contents(atPath: "\(directory)/www/\(name)")))
            }
            let mode = try FileManager.default.attributesOfItem(atPath: "\(directory)/www/root")[.posixPermissions]
            #expect(mode as? Int == 0o755)
            var machine = try TrustedDocuments(
                organization: "acme",
                pinned: rootKey.verificationKey.id,
                roots: [try file("root/1.json")]
            )
            try machine.accept(freshness: file("freshness.json"), policy: file("policy/1.json"), at: .now)
            let policy = try #require(machine.policyInForce(at: .now)?.policy)
            #expect(policy.contact == "platform@acme.test")
            #expect(policy.rules.map(\.address.description) == ["docker.io"])
            let nothing = try await runProgram(command.dropLast() + ["--organization", "other", "\(directory)/x"])
            #expect(nothing.status == 1)
            #expect(nothing.errors.contains("\"other\" has no policy yet"))
        }
    }
}
