@testable import EnforcementDaemon
import Foundation
import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

/// A machine that belongs to an organization, with the organization's documents on a web server: over HTTP, and seen from
/// where the engine asks and from what other programs go by.
struct OrganizationTests {
    private static let ghcr = "/images/create?fromImage=ghcr.io/acme/x"
    private static let quay = "/images/create?fromImage=quay.io/acme/x"

    /// Nothing here waits for the pace, but tests should not take long.
    private static let pace: OrganizationKeeper.Pace = {
        var pace = OrganizationKeeper.Pace()
        pace.tick = .milliseconds(50)
        pace.waiting = 1
        return pace
    }()

    /// Runs a machine that has policy 3 of an organization in force.
    private func withMachine(
        _ organization: SignedOrganization = SignedOrganization(),
        pace: OrganizationKeeper.Pace = pace,
        requiresSignIn: Bool = false,
        publishing: Bool = true,
        _ body: @escaping @Sendable (RunningDaemon, OrganizationWeb, SignedOrganization) async throws -> Void
    ) async throws {
        try await OrganizationWeb.with { web in
            if publishing {
                try web.publishRoot(organization)
                // A while ago, so that what comes later may have been made before now.
                try web.publish(organization, version: 3, issued: .now() + -10_000)
            }
            try await RunningDaemon.with(
                policy: nil,
                pace: pace,
                preparing: { try web.enroll($0, organization, requiresSignIn: requiresSignIn) }
            ) { daemon in
                if publishing, !requiresSignIn { #expect(try await Self.reaches(daemon, 3)) }
                try await body(daemon, web, organization)
            }
        }
    }

    private static func reaches(_ daemon: RunningDaemon, _ version: Int) async throws -> Bool {
        try await eventually { try await daemon.status().policy.policyVersion == version }
    }

    private static func becomes(
        _ daemon: RunningDaemon,
        _ isSo: (DaemonStatus.Policy) -> Bool
    ) async throws -> Bool {
        try await eventually { isSo(try await daemon.status().policy) }
    }

    @Test
    func `the organization's policy is in force, for the engine and for every other program`() async throws {
        try await withMachine { daemon, web, _ in
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == true)
            #expect(try await daemon.isAllowed("POST", Self.quay) == false)
            let inForce = PolicyInForce.load(daemon.paths)
            #expect(inForce.policy?.version == 3 && inForce.problem == nil)
            let status = try await daemon.status().policy
            #expect(status.state == .enforce && status.organization == "acme" && status.problem == nil)
            #expect(status.source == daemon.paths.organizationPolicy && status.until != nil)
            let paths = Set(web.requests.map(\.path))
            #expect(
                paths.isSuperset(of: ["/documents/root.json", "/documents/freshness.json", "/documents/policy/3.json"])
            )
        }
    }

    @Test
    func `a new policy comes with SIGHUP, and a policy file counts for nothing`() async throws {
        try await withMachine { daemon, web, organization in
            let file = #"{"version":99,"organization":"acme","registries":[{"address":"**","allowed":true}]}"#
            try Files.replace(daemon.paths.policyFile, with: Array(file.utf8), mode: 0o644)
            try web.publish(organization, version: 4, allowing: "quay.io")
            daemon.orders.yield(.reload)
            #expect(try await Self.reaches(daemon, 4))
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == false)
            #expect(try await daemon.isAllowed("POST", Self.quay) == true)
            #expect(PolicyInForce.load(daemon.paths).policy?.version == 4)
        }
    }

    @Test
    func `without any document every registry is refused, and nothing else`() async throws {
        try await withMachine(publishing: false) { (daemon, _, _) async throws in
            #expect(try await Self.becomes(daemon) { $0.problem?.contains("does not have it") == true })
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == false)
            #expect(try await daemon.isAllowed("GET", "/containers/json") == true)
            #expect(!PolicyInForce.load(daemon.paths).verdict(on: AccessRequest(.pull, .dockerHub)).isAllowed)
        }
    }

    @Test
    func `a policy ends when its time is over, and the refusal says why nothing newer came`() async throws {
        let passed = Mutex<Int64>(0)
        var pace = Self.pace
        pace.reading = {
            let reading = TrustedClock.Reading.ofThisMachine()
            let seconds = passed.withLock { $0 }
            return TrustedClock.Reading(
                wall: reading.wall + seconds,
                boot: reading.boot,
                sinceBoot: reading.sinceBoot + seconds
            )
        }
        try await withMachine(pace: pace) { daemon, web, organization in
            web.reply(to: "/documents/freshness.json", .answer(500, []))
            passed.withLock { $0 = 2 * SignedOrganization.day }
            #expect(try await Self.becomes(daemon) { $0.state == .expired })
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == false)
            #expect(try await daemon.isAllowed("GET", "/containers/json") == true)
            daemon.orders.yield(.reload)
            #expect(try await Self.becomes(daemon) { $0.problem?.contains("status 500") == true })
            let answer = try await daemon.call("/AuthZPlugin.AuthZReq", pull("ghcr.io/acme/x"))
            let sentence =
                "Registries are refused because the policy of acme has expired: the server answered with status 500"
            #expect(answer?.body.contains(sentence) == true, "\(answer?.body ?? "")")
            #expect(
                PolicyInForce.load(daemon.paths).verdict(on: AccessRequest(.pull, .dockerHub)).reason == .policyExpired
            )
            // And it is in force again as soon as there is something newer.
            try web.publish(organization, version: 5, issued: .now() + 2 * SignedOrganization.day)
            daemon.orders.yield(.reload)
            #expect(try await Self.reaches(daemon, 5))
        }
    }

    /// What a server, or somebody between it and us, can do.
    enum Attack: String, CaseIterable, Sendable {
        case endless, announcedTooLong, slow, redirect, cut, notFound, broken, noJSON, otherOrganization, olderSequence
        case olderPolicy, otherKeys, otherPolicy, policyCut, policyOfOther, future, ended, equivocation, empty
    }

    private static func words(_ attack: Attack) -> String {
        switch attack {
        case .endless, .announcedTooLong: "more than 262144 bytes"
        case .slow: "took longer than 2 seconds"
        case .redirect: "sends elsewhere"
        case .cut, .policyCut: "closed the connection before its answer was complete"
        case .notFound: "404"
        case .broken: "status 500"
        case .noJSON, .empty: "not in order"
        case .otherOrganization: "another organization"
        case .olderSequence: "number 2 is older than 3"
        case .olderPolicy: "number 2 is older than 3"
        case .otherKeys: "0 of the 1 signatures"
        case .otherPolicy: "not the one that the freshness document names"
        case .policyOfOther: "0 of the 1 signatures"
        case .future: "from the future"
        case .ended: "the document ended"
        case .equivocation: "said something else"
        }
    }

    private static func attack(
        _ attack: Attack,
        _ web: OrganizationWeb,
        _ own: SignedOrganization
    ) throws {
        let (freshness, policy) = ("/documents/freshness.json", "/documents/policy/4.json")
        let stranger = SignedOrganization()
        try web.publish(own, version: 4)
        switch attack {
        case .endless:
            web.reply(
                to: freshness,
                .raw { connection in
                    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    let chunk = "1000\r\n" + String(repeating: " ", count: 0x1000) + "\r\n"
                    while connection.send(Array(chunk.utf8)) {}
                }
            )
        case .announcedTooLong:
            web.reply(
                to: freshness,
                .raw { connection in
                    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
                    _ = connection.isClosed(within: 60)
                }
            )
        case .slow:
            web.reply(
                to: freshness,
                .raw { connection in
                    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                    while !connection.isClosed(within: 0.1) { connection.send(" ") }
                }
            )
        case .redirect: web.reply(to: freshness, .answer(302, [], ["Location": "\(web.url)/documents/root.json"]))
        case .cut, .policyCut:
            web.reply(
                to: attack == .cut ? freshness : policy,
                .raw { $0.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"payloadType\"") }
            )
        case .notFound: web.reply(to: freshness, .answer(404, []))
        case .broken: web.reply(to: freshness, .answer(500, Array("<html>".utf8)))
        case .noJSON: web.publish("freshness.json", Array("<html>".utf8))
        case .empty: web.publish("freshness.json", [])
        case .otherOrganization:
            var other = own
            other.name = "umbrella"
            try web.publish(other, version: 4)
        case .olderSequence: try web.publish(own, version: 4, sequence: 2)
        case .olderPolicy: try web.publish(own, version: 2, sequence: 4)
        case .otherKeys: try web.publish(stranger, version: 4)
        case .otherPolicy: web.publish("policy/4.json", try own.policy(5))
        case .policyOfOther: web.publish("policy/4.json", try stranger.policy(4))
        case .future: try web.publish(own, version: 4, issued: .now() + 3600)
        case .ended: try web.publish(own, version: 4, issued: .now() + -7200, lifetime: 3600)
        case .equivocation: try web.publish(own, version: 4, sequence: 3)
        }
    }

    @Test(arguments: Attack.allCases)
    func `whatever the server does, the policy before stays in force, and what is wrong is said`(
        _ attack: Attack
    ) async throws {
        var pace = Self.pace
        pace.limits.exchange = .seconds(2)
        try await withMachine(pace: pace) { daemon, web, organization in
            try Self.attack(attack, web, organization)
            daemon.orders.yield(.reload)
            let words = Self.words(attack)
            let isSaid = try await Self.becomes(daemon) { $0.problem?.contains(words) == true }
            let status = try await daemon.status().policy
            #expect(isSaid, "\(status)")
            #expect(status.state == .enforce && status.policyVersion == 3)
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == true)
            #expect(try await daemon.isAllowed("POST", Self.quay) == false)
            #expect(PolicyInForce.load(daemon.paths).policy?.version == 3)
            // The next good answer is accepted.
            try web.publish(organization, version: 5)
            daemon.orders.yield(.reload)
            #expect(try await Self.reaches(daemon, 5))
            let problem = try await daemon.status().policy.problem
            #expect(problem == nil)
        }
    }

    @Test
    func `the server's keys can be replaced, and what the old ones sign does not count any more`() async throws {
        try await withMachine { daemon, web, organization in
            var newer = organization
            for kind in [DocumentKind.policy, .freshness, .ticket] { newer.keys[kind] = [.generate()] }
            let root = try newer.root(2, expires: .now() + 365 * SignedOrganization.day)
            web.publish("root/2.json", root)
            web.publish("root.json", root)
            try web.publish(newer, version: 4, sequence: 1)
            daemon.orders.yield(.reload)
            #expect(try await Self.reaches(daemon, 4))
            try web.publish(organization, version: 5)
            daemon.orders.yield(.reload)
            #expect(try await Self.becomes(daemon) { $0.problem?.contains("0 of the 1 signatures") == true })
            #expect(try await daemon.status().policy.policyVersion == 4)
            #expect(try Files.names(in: daemon.paths.organizationDirectory).contains("root-2.json"))
        }
    }

    @Test
    func `a copy that has the new keys and the old policy still is asked until it has the new one`() async throws {
        try await withMachine { daemon, web, organization in
            // With a name, by which it is not sent again.
            #expect(try await Self.becomes(daemon) { $0.policyVersion != nil })
            var newer = organization
            for kind in [DocumentKind.policy, .freshness, .ticket] { newer.keys[kind] = [.generate()] }
            let root = try newer.root(2, expires: .now() + 365 * SignedOrganization.day)
            web.publish("root/2.json", root)
            for _ in 0..<3 {
                let asked = web.requests.count { $0.path == "/documents/freshness.json" }
                daemon.orders.yield(.reload)
                #expect(await eventually { web.requests.count { $0.path == "/documents/freshness.json" } > asked })
                #expect(try await Self.becomes(daemon) { $0.problem?.contains("0 of the 1 signatures") == true })
            }
            try web.publish(newer, version: 4, sequence: 1)
            #expect(try await Self.reaches(daemon, 4))
        }
    }

    @Test
    func `a machine that is enrolled late finds its key in an older root document`() async throws {
        let organization = SignedOrganization()
        var newer = organization
        newer.keys[.root] = [.generate()]
        let later = newer
        try await withMachine(organization, publishing: false) { daemon, web, _ in
            let end = Instant.now() + 365 * SignedOrganization.day
            let second = try later.root(2, by: later.keys(.root) + organization.keys(.root), expires: end)
            web.publish("root/1.json", try organization.root(expires: end))
            web.publish("root/2.json", second)
            web.publish("root.json", try later.root(2, expires: end))
            try web.publish(later, version: 3)
            daemon.orders.yield(.reload)
            #expect(try await Self.reaches(daemon, 3))
        }
    }

    @Test
    func `a machine can be enrolled, enrolled elsewhere and taken out while docker-ramd runs`() async throws {
        try await OrganizationWeb.with { web in
            let organization = SignedOrganization()
            try web.publishRoot(organization)
            try web.publish(organization, version: 3)
            try await RunningDaemon.with(pace: Self.pace) { daemon in
                #expect(try await daemon.status().policy.policyVersion == 7, "the policy file")
                try web.enroll(daemon.paths, organization)
                #expect(try await Self.reaches(daemon, 3))
                // Another organization's documents are not there.
                try web.enroll(daemon.paths, SignedOrganization(name: "umbrella"))
                #expect(try await Self.becomes(daemon) { $0.state == .unavailable })
                #expect(try await daemon.isAllowed("POST", Self.ghcr) == false)
                try Files.replace(daemon.paths.enrollment, with: Array("{".utf8), mode: 0o644)
                #expect(try await Self.becomes(daemon) { $0.problem?.contains("enrollment.json") == true })
                #expect(try await daemon.isAllowed("POST", Self.ghcr) == false)
                unlink(daemon.paths.enrollment)
                #expect(try await Self.reaches(daemon, 7))
            }
        }
    }

    @Test
    func `where sign-in is required, the refusal says so`() async throws {
        try await withMachine(requiresSignIn: true) { daemon, _, _ in
            #expect(try await Self.becomes(daemon) { $0.state == .signInRequired })
            let answer = try await daemon.call("/AuthZPlugin.AuthZReq", pull("ghcr.io/acme/x"))
            #expect(answer?.body.contains("registry.json names acme") == true)
            #expect(answer?.body.contains("Run: docker ram login.") == true)
            #expect(try await daemon.isAllowed("GET", "/containers/json") == true)
            let record = try #require(try await daemon.records().last)
            #expect(record.reason == .signInRequired && record.verdict == .deny)
            #expect(
                PolicyInForce.load(daemon.paths).verdict(on: AccessRequest(.login, .dockerHub)).reason
                    == .signInRequired
            )
        }
    }
}
