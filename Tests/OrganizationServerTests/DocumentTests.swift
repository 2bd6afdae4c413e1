import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import Logging
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

struct DocumentTests {
    @Test
    func `a machine accepts what a new server serves`() async throws {
        try await RunningServer.with { server in
            var machine = try await server.machine()
            try await server.refresh(&machine)
            let inForce = try #require(machine.policyInForce(at: server.time.now))
            #expect(inForce.policy.version == 1)
            #expect(inForce.until == server.time.now + 86_400)
            #expect(inForce.policy.verdict(on: AccessRequest(.pull, .dockerHub)).outcome == .allow)
            let other = AccessRequest(.pull, try RegistryAddress("ghcr.io"))
            #expect(inForce.policy.verdict(on: other).outcome == .deny)
        }
    }

    @Test(arguments: ["documents/freshness.json", "documents/policy/1.json", "policy", "devices"])
    func `HEAD says what GET says, without the body`(path: String) async throws {
        try await RunningServer.with { server in
            let whole = try await server.ask(.get, path, by: "owner")
            let head = try await server.ask(.head, path, by: "owner")
            #expect(whole.status == .ok && head.status == .ok)
            #expect(head.bytes.isEmpty)
            for field in [HTTPField.Name.eTag, .contentType, .contentLength, .cacheControl] {
                #expect(head.headers[field] == whole.headers[field], "\(field)")
            }
            let refused = try await server.ask(.head, "devices", by: "member")
            #expect(refused.status == .forbidden && refused.bytes.isEmpty)
        }
    }

    @Test
    func `a machine follows through saves, renewals and every rotation of keys`() async throws {
        try await RunningServer.with { server in
            var machine = try await server.machine()
            try await server.refresh(&machine)
            var rootKeys = [server.rootKey]
            var root = machine.root
            for (round, kinds) in [[DocumentKind.policy], [.freshness], [.ticket], SigningKeys.kinds, [.root]]
                .enumerated()
            {
                let saved = try await server.ask(
                    .put,
                    "policy",
                    by: "editor",
                    body: server.policy(allowing: ["docker.io", "r\(round).acme.test"]),
                    ifMatch: try #require(machine.policy).version
                )
                #expect(saved.status == .ok)
                try await server.refresh(&machine)
                server.time.pass(50_000)
                #expect(try await server.publisher.renewFreshness().isEmpty)
                try await server.refresh(&machine)

                var roles = root.roles
                var signers = rootKeys
                for kind in kinds {
                    if kind == .root {
                        rootKeys = [SigningKey.generate()]
                        signers += rootKeys
                        roles[.root] = RootDocument.Role(rootKeys.map(\.verificationKey))
                        continue
                    }
                    let answer = try await server.ask(
                        .post,
                        "keys",
                        by: "owner",
                        body: "{\"kind\":\"\(kind.rawValue)\"}"
                    )
                    #expect(answer.status == .created)
                    let text = try #require(try answer.text("key"))
                    let key = StrictBase64.decode(Array(text.utf8)).flatMap(VerificationKey.init)
                    roles[kind] = RootDocument.Role([try #require(key)])
                }
                root = RootDocument(
                    organization: "acme",
                    version: root.version + 1,
                    expires: root.expires,
                    roles: roles
                )
                let envelope = try Envelope(signing: root.payload, as: .root, with: signers)
                let before = try #require(machine.policy)
                let taken = try await server.ask(.post, "root", by: "owner", body: envelope.json)
                #expect(taken.status == .created, "\(taken.text)")
                try await server.refresh(&machine)
                #expect(machine.root == root)
                let after = try #require(machine.policyInForce(at: server.time.now))
                // Only a policy that the old key had signed is made again, with the same content.
                #expect(after.policy.version == before.version + (kinds.contains(.policy) ? 1 : 0))
                #expect(after.policy.rules == before.policy.rules)

                let ticket = TicketDocument(
                    organization: "acme",
                    device: "d1",
                    session: "s\(round)",
                    subject: "member",
                    teams: [],
                    signedIn: server.time.now,
                    issued: server.time.now,
                    expires: server.time.now + 86_400
                )
                let signed = try await server.publisher.sign(ticket)
                try machine.accept(ticket: Array(signed.json.utf8), for: "d1", at: server.time.now)
            }
        }
    }

    enum BadRoot: String, CaseIterable {
        case notSigned, skipsOne, otherOrganization, ended, keysOfNobody
    }

    @Test(
        "a root document that machines or this server could not use is refused and changes nothing",
        arguments: BadRoot.allCases
    )
    func badRoot(_ fault: BadRoot) async throws {
        try await RunningServer.with { server in
            var machine = try await server.machine()
            try await server.refresh(&machine)
            var roles = machine.root.roles
            if fault == .keysOfNobody { roles[.policy] = RootDocument.Role([SigningKey.generate().verificationKey]) }
            let root = RootDocument(
                organization: fault == .otherOrganization ? "other" : "acme",
                version: fault == .skipsOne ? 3 : 2,
                expires: fault == .ended ? server.time.now : machine.root.expires,
                roles: roles
            )
            let signer = fault == .notSigned ? SigningKey.generate() : server.rootKey
            let envelope = try Envelope(signing: root.payload, as: .root, with: [signer])
            let before = try await server.ask(.get, "documents/freshness.json").bytes
            let answer = try await server.ask(.post, "root", by: "owner", body: envelope.json)
            #expect(answer.status == (fault == .keysOfNobody ? .conflict : .unprocessableContent))
            #expect(try await server.ask(.get, "documents/root/2.json").status == .notFound)
            #expect(try await server.ask(.get, "documents/freshness.json").bytes == before)
        }
    }

    @Test
    func
        `a freshness document is renewed at half of its life, with the next number, and also if the clock was set back`()
        async throws
    {
        try await RunningServer.with { server in
            func sequence() async throws -> Int {
                let json = try await server.ask(.get, "documents/freshness.json").bytes
                return try FreshnessDocument(payload: Envelope(json: json, as: .freshness).payload).sequence
            }
            let renewal = FreshnessRenewal(
                publisher: server.publisher,
                clock: ContinuousClock(),
                logger: Logger(label: "test")
            )
            #expect(try await sequence() == 1)
            server.time.pass(43_199)
            await renewal.look()
            #expect(try await sequence() == 1)
            server.time.pass(1)
            await renewal.look()
            #expect(try await sequence() == 2)
            server.time.pass(-86_000)
            await renewal.look()
            #expect(try await sequence() == 3)
            // Machines take none that was made before the last.
            let times = try await server.store.database.read { database in
                try Int64.fetchOne(database, sql: "SELECT issued FROM freshness")
            }
            #expect(times == (SignedOrganization.start + 43_200).seconds)
        }
    }

    @Test
    func `a root document that ends soon is spoken of`() async throws {
        try await RunningServer.with { server in
            #expect(try await server.publisher.rootsEnding(within: 30 * 86_400).isEmpty)
            server.time.pass(3621 * 86_400)
            let ending = try await server.publisher.rootsEnding(within: 30 * 86_400)
            #expect(ending.map(\.organization) == ["acme"])
            #expect(ending.first?.end == SignedOrganization.start + 3650 * 86_400)
        }
    }

    @Test
    func `an organization whose keys are lost does not keep others from being renewed`() async throws {
        try await RunningServer.with { server in
            try await RunningServer.begin("other", server.publisher, SigningKey.generate())
            try FileManager.default.removeItem(atPath: "\(server.directory)/keys/acme")
            server.time.pass(50_000)
            let failures = try await server.publisher.renewFreshness()
            #expect(failures.map(\.organization) == ["acme"])
            #expect(try await server.store.sequences() == ["acme": 1, "other": 2])
        }
    }

    @Test("what has not changed is not sent again", arguments: ["root.json", "policy.json", "freshness.json"])
    func unchanged(_ name: String) async throws {
        try await RunningServer.with { server in
            let first = try await server.ask(.get, "documents/\(name)")
            #expect(first.status == .ok)
            #expect(first.headers[.cacheControl] == "no-cache")
            let etag = try #require(first.headers[.eTag])
            for tags in [etag, "W/\(etag)", "\"x\", \(etag)", "*"] {
                let again = try await server.ask(.get, "documents/\(name)", ifNoneMatch: tags)
                #expect(again.status == .notModified)
                #expect(again.bytes.isEmpty)
                #expect(again.headers[.eTag] == etag)
            }
            #expect(try await server.ask(.get, "documents/\(name)", ifNoneMatch: "\"x\"").status == .ok)
            try await server.ask(.put, "policy", by: "owner", body: server.policy(allowing: ["ghcr.io"]), ifMatch: 1)
            let status: HTTPResponse.Status = name == "root.json" ? .notModified : .ok
            #expect(try await server.ask(.get, "documents/\(name)", ifNoneMatch: etag).status == status)
        }
    }

    @Test
    func `versions stay what they were and may be kept for ever`() async throws {
        try await RunningServer.with { server in
            let first = try await server.ask(.get, "documents/policy/1.json")
            #expect(first.headers[.cacheControl] == "public, max-age=31536000, immutable")
            try await server.ask(.put, "policy", by: "owner", body: server.policy(allowing: ["ghcr.io"]), ifMatch: 1)
            #expect(try await server.ask(.get, "documents/policy/1.json").bytes == first.bytes)
            let second = try await server.ask(.get, "documents/policy/2.json")
            let newest = try await server.ask(.get, "documents/policy.json")
            #expect(second.bytes == newest.bytes)
            #expect(second.bytes != first.bytes)
        }
    }

    @Test(
        "only names of documents are answered",
        arguments: [
            "root/0.json", "root/2.json", "root/01.json", "root/1", "root/+1.json", "policy/0.json", "policy/2.json",
            "policy/x.json", "policy/99999999999999999999.json", "ticket.json",
        ]
    )
    func noSuchDocument(_ name: String) async throws {
        try await RunningServer.with { server in
            #expect(try await server.ask(.get, "documents/\(name)").status == .notFound)
            let other = try await server.ask(.get, "/v1/organizations/nobody/documents/freshness.json")
            #expect(other.status == .notFound)
        }
    }

    @Test
    func `an unchanged poll asks no database`() async throws {
        try await RunningServer.with { server in
            let before = try await server.ask(.get, "documents/freshness.json").bytes
            try await server.store.database.write { try $0.execute(sql: "DELETE FROM freshness") }
            #expect(try await server.ask(.get, "documents/freshness.json").bytes == before)
            // What another process has changed is seen at the next look.
            _ = try await server.publisher.renewFreshness()
            #expect(try await server.ask(.get, "documents/freshness.json").status == .notFound)
        }
    }

    // MARK: - Keys

    @Test
    func `a key file is for the server alone, and one that others can open is not used`() async throws {
        try await RunningServer.with { server in
            let directory = "\(server.directory)/keys/acme"
            let names = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
            #expect(names.count == 3)
            for name in names {
                let mode = try FileManager.default.attributesOfItem(atPath: "\(directory)/\(name)")[.posixPermissions]
                #expect(mode as? Int == 0o600)
            }
            let file = try #require(names.first { $0.hasPrefix("freshness-") })
            try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: "\(directory)/\(file)")
            let error = await #expect(throws: ServerFileError.self) {
                try await server.publisher.renewFreshness(of: "acme")
            }
            #expect(error?.description.contains("chmod 600") ?? false)
        }
    }

    @Test
    func `the keys of an organization are shown to its owner without what is secret of them`() async throws {
        try await RunningServer.with { server in
            try await server.ask(.post, "keys", by: "owner", body: "{\"kind\":\"policy\"}")
            let answer = try await server.ask(.get, "keys", by: "owner")
            let keys = try #require(try answer.json().value(named: "keys")?.value(named: "policy")?.elements)
            #expect(keys.count == 2)
            #expect(keys.count { $0.value(named: "signs") == .bool(true) } == 1)
            #expect(!answer.text.contains("docker-ram-key"))
        }
    }

    // MARK: - Files

    @Test
    func `published files are what the server serves, and a machine accepts them`() async throws {
        try await RunningServer.with { server in
            let folder = "\(server.directory)/www/acme"
            for version in 1...3 {
                let written = try await server.publisher.writeFiles(of: nil, to: folder)
                #expect(written.organization == "acme")
                #expect(written.policyVersion == version)
                let names = ["root.json", "root/1.json", "policy.json", "policy/\(version).json", "freshness.json"]
                for name in names {
                    let file = try #require(FileManager.default.contents(atPath: "\(folder)/\(name)"))
                    let served = try await server.ask(.get, "documents/\(name)")
                    #expect(Array(file) == served.bytes)
                }
                try await server.ask(
                    .put,
                    "policy",
                    by: "owner",
                    body: server.policy(allowing: ["r\(version).acme.test"]),
                    ifMatch: version
                )
            }
            let files = try FileManager.default.subpathsOfDirectory(atPath: folder).sorted()
            #expect(
                files == [
                    "freshness.json", "policy", "policy.json", "policy/1.json", "policy/2.json", "policy/3.json",
                    "root",
                    "root.json", "root/1.json",
                ]
            )
        }
    }

    @Test
    func `publishing renews a freshness document that is due`() async throws {
        try await RunningServer.with { server in
            let folder = "\(server.directory)/www"
            _ = try await server.publisher.writeFiles(of: "acme", to: folder)
            server.time.pass(50_000)
            _ = try await server.publisher.writeFiles(of: "acme", to: folder)
            let file = Array(try #require(FileManager.default.contents(atPath: "\(folder)/freshness.json")))
            let document = try FreshnessDocument(payload: Envelope(json: file, as: .freshness).payload)
            #expect(document.sequence == 2)
            #expect(document.issued == server.time.now)
        }
    }
}
