@testable import EnforcementDaemon
import Foundation
import Glibc
import LocalInstallation
import Logging
import OrganizationClient
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

/// Registering this machine where the organization takes in only who shows an enrollment token.
struct RegistrationTests {
    /// The part of the server that registers devices.
    private final class Door: Sendable {
        /// How many have come without a token, and what came with one; who is in.
        let seen = Mutex<(without: Int, shown: [String], isIn: Bool)>((0, [], false))

        func register(_ request: OrganizationWeb.Request) -> OrganizationWeb.Reply {
            let shown = (try? StrictJSON.parse(Array(request.body.utf8)))?.value(named: "enrollmentToken")?.text
            return seen.withLock { seen in
                if let shown { seen.shown.append(shown) } else { seen.without += 1 }
                guard shown == "rame_good" else {
                    return .json(#"{"title":"no","status":403,"code":"enrollment_refused"}"#, 403)
                }
                seen.isIn = true
                return .json(#"{"device":"d1234567890","secret":"ramd_one"}"#, 201)
            }
        }

        func changes(_ request: OrganizationWeb.Request) -> OrganizationWeb.Reply {
            guard seen.withLock({ $0.isIn }) else {
                return .json(#"{"title":"unknown","status":401,"code":"device_unknown"}"#, 401)
            }
            if request.target.contains("after=c1") { Thread.sleep(forTimeInterval: 0.2) }
            return .json(#"{"cursor":"c1","session":"none"}"#)
        }
    }

    private static let registered = #"{"registered":{"device":"d1234567890"}}"#

    private static func ask(_ token: String) -> String {
        JSONValue.object([
            JSONMember("request", .string("register")), JSONMember("enrollmentToken", .string(token)),
        ]).text()
    }

    private func withMachine(
        isEnrolled: Bool = true,
        _ body: @escaping @Sendable (RunningDaemon, OrganizationWeb, Door) async throws -> Void
    ) async throws {
        let organization = SignedOrganization()
        let door = Door()
        var pace = OrganizationKeeper.Pace()
        pace.tick = .milliseconds(20)
        pace.waiting = 1
        try await OrganizationWeb.with { web in
            try web.publishRoot(organization)
            try web.publish(organization, version: 3)
            web.reply(to: "/v1/organizations/acme/devices") { door.register($0) }
            web.reply(to: "/v1/organizations/acme/devices/d1234567890/changes") { door.changes($0) }
            try await RunningDaemon.with(
                policy: nil,
                pace: pace,
                preparing: { if isEnrolled { try web.enroll($0, organization) } }
            ) { daemon in
                if isEnrolled { #expect(try await eventually { try await daemon.status().policy.state == .enforce }) }
                try await body(daemon, web, door)
            }
        }
    }

    @Test
    func `without a token the policy is in force, and status says what is missing`() async throws {
        try await withMachine { daemon, _, _ in
            #expect(
                try await eventually {
                    try await daemon.status().policy.problem?.contains("it wants an enrollment token") == true
                }
            )
            let answer = try await daemon.ask(#"{"request":"sign-in","token":"ramp_x"}"#)
            #expect(answer.first?.hasPrefix(#"{"refused":{"code":"enrollment_refused""#) == true, "\(answer)")
            #expect(answer.first?.contains("--enrollment-token-stdin") == true, "\(answer)")
        }
    }

    @Test
    func `a token that is not good is refused, and a good one mends that at once`() async throws {
        try await withMachine { daemon, web, door in
            let refused = try await daemon.ask(Self.ask("rame_bad"))
            let words = "the enrollment token is unknown to acme or has ended"
            #expect(refused.first?.contains(words) == true, "\(refused)")
            let done = try await daemon.ask(Self.ask("rame_good"))
            #expect(done == [Self.registered])
            #expect(try OrganizationFiles(daemon.paths).device?.secret == Token("ramd_one"))
            // It does not wait for the next try of who came without a token.
            #expect(
                try await eventually {
                    try await daemon.status().policy.problem == nil
                        && web.requests.contains { $0.target.contains("after=c1") }
                }
            )
            #expect(door.seen.withLock { $0.shown } == ["rame_bad", "rame_good"])
        }
    }

    @Test
    func `who is registered is not registered twice, unless the server knows them no more`() async throws {
        try await withMachine { daemon, _, door in
            for _ in 0..<2 {
                let answer = try await daemon.ask(Self.ask("rame_good"))
                #expect(answer == [Self.registered])
            }
            #expect(door.seen.withLock { $0.shown.count } == 1)
            door.seen.withLock { $0.isIn = false }
            let again = try await daemon.ask(Self.ask("rame_good"))
            #expect(again == [Self.registered])
            #expect(door.seen.withLock { $0.shown.count } == 2)
        }
    }

    @Test
    func `whoever registers at the same time gets the same device`() async throws {
        try await withMachine { daemon, _, door in
            try await withThrowingTaskGroup { tasks in
                for _ in 0..<8 { tasks.addTask { try await daemon.ask(Self.ask("rame_good")) } }
                for try await answer in tasks { #expect(answer == [Self.registered]) }
            }
            #expect(door.seen.withLock { $0.shown.count } == 1)
        }
    }

    @Test
    func `an enrollment that was written just now is waited for`() async throws {
        let organization = SignedOrganization()
        try await withMachine(isEnrolled: false) { daemon, web, _ in
            try web.publishRoot(organization)
            try web.publish(organization, version: 3)
            try web.enroll(daemon.paths, organization)
            #expect(try await daemon.ask(Self.ask("rame_good")) == [Self.registered])
        }
    }

    @Test
    func `a machine without an organization is told so, and who is not root is refused`() async throws {
        try await RunningDaemon.with { daemon in
            let keeper = OrganizationKeeper(
                daemon.paths,
                CurrentPolicy(PolicySnapshot(inForce: PolicyInForce.load(daemon.paths), loadedAt: .now(), servers: [])),
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            )
            let desk = RegistrationDesk(keeper: keeper, patience: .milliseconds(100))
            let nowhere = await desk.register(showing: Token("rame_x"), by: 0)
            #expect(nowhere.value(named: "refused")?.value(named: "code")?.text == "not_enrolled")
            let stranger = await desk.register(showing: Token("rame_x"), by: geteuid() + 1000)
            #expect(stranger.value(named: "refused")?.value(named: "code")?.text == "forbidden")
        }
    }
}
