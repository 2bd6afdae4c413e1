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

/// What an organization's server says by itself: that something has changed, and that a session has ended.
struct OrganizationChangesTests {
    /// The part of the server that knows devices and sessions.
    private final class Devices: Sendable {
        struct State {
            var device = "d1234567890"
            var secret = "ramd_one"
            var isKnown = true
            var registered: [String] = []
            var cursor = "c1"
            var session = "none"
            var refreshTokens: [String] = []
            var refusal: String?
            /// For which device a ticket is made, if not for the one that asks.
            var ticketDevice: String?
            /// How long an answer with a ticket is on its way, in seconds.
            var delay = 0.0
            /// What a ticket says; a server that does not say it, if there is none.
            var ticket: String?
            /// Documents that come along, as members.
            var news: [JSONMember] = []
        }

        let state = Mutex(State())
        let organization: SignedOrganization

        init(_ organization: SignedOrganization, on web: OrganizationWeb) {
            self.organization = organization
            web.reply(to: "/v1/organizations/acme/devices") { [self] request in register(request) }
            for device in ["d1234567890", "d9876543210"] {
                web.reply(to: "/v1/organizations/acme/devices/\(device)/changes") { [self] in changes($0, device) }
            }
            web.reply(to: "/v1/token") { [self] request in token(request) }
        }

        private func register(_ request: OrganizationWeb.Request) -> OrganizationWeb.Reply {
            state.withLock { state in
                state.registered.append(request.body)
                state.isKnown = true
                return .json(#"{"device":"\#(state.device)","secret":"\#(state.secret)"}"#, 201)
            }
        }

        private func changes(_ request: OrganizationWeb.Request, _ device: String) -> OrganizationWeb.Reply {
            // Waits a little for something else, as the real one does.
            for _ in 0..<10 {
                let reply: OrganizationWeb.Reply? = state.withLock { state in
                    let isKnown = state.isKnown && device == state.device
                    guard isKnown, request.headers["authorization"] == "Bearer \(state.secret)" else {
                        return .json(#"{"title":"unknown","status":401,"code":"device_unknown"}"#, 401)
                    }
                    guard !request.target.contains("after=\(state.cursor)") else { return nil }
                    return Self.answer(state)
                }
                if let reply { return reply }
                Thread.sleep(forTimeInterval: 0.05)
            }
            return state.withLock { Self.answer($0) }
        }

        private static func answer(_ state: State) -> OrganizationWeb.Reply {
            var members = [
                JSONMember("cursor", .string(state.cursor)), JSONMember("session", .string(state.session)),
            ]
            if let ticket = state.ticket { members.append(JSONMember("ticket", .string(ticket))) }
            return .json(JSONValue.object(members + state.news).text())
        }

        /// Tells a version of the policy with the next change, and serves it nowhere.
        func tell(_ version: Int, root: Int = 1, withPolicy: Bool = true, _ change: (String) -> String = { $0 }) throws
        {
            func text(_ document: [UInt8]) -> JSONValue { .string(change(String(decoding: document, as: UTF8.self))) }
            let freshness = try organization.freshness(version, of: version, allowing: "ghcr.io", issued: .now())
            let policy = try organization.policy(version, allowing: "ghcr.io")
            state.withLock { state in
                state.cursor = "c\(version)"
                state.news = [JSONMember("root", .number("\(root)")), JSONMember("freshness", text(freshness))]
                if withPolicy { state.news.append(JSONMember("policy", text(policy))) }
            }
        }

        private func token(_ request: OrganizationWeb.Request) -> OrganizationWeb.Reply {
            let (reply, delay) = state.withLock { (Self.token(request, &$0, organization), $0.delay) }
            Thread.sleep(forTimeInterval: delay)
            return reply
        }

        private static func token(
            _ request: OrganizationWeb.Request,
            _ state: inout State,
            _ organization: SignedOrganization
        ) -> OrganizationWeb.Reply {
            state.refreshTokens.append(request.body)
            if let refusal = state.refusal { return .json(#"{"error":"\#(refusal)"}"#, 400) }
            let ticket = try? organization.ticket(
                device: state.ticketDevice ?? state.device,
                signedIn: .now() + -3600,
                issued: .now()
            )
            let text = String(decoding: ticket ?? [], as: UTF8.self)
            return .json(
                #"{"access_token":"rama_x","token_type":"Bearer","expires_in":900,"#
                    + #""refresh_token":"ramr_next\#(state.refreshTokens.count)","user":"alice","ticket":\#(text)}"#
            )
        }
    }

    private static let pace: OrganizationKeeper.Pace = {
        var pace = OrganizationKeeper.Pace()
        pace.tick = .milliseconds(50)
        pace.waiting = 1
        return pace
    }()

    /// Runs a machine; with a session, alice has signed in on it before.
    private func withMachine(
        hasSession: Bool = false,
        requiresSignIn: Bool = false,
        ticket: String? = nil,
        _ body: @escaping @Sendable (RunningDaemon, OrganizationWeb, Devices) async throws -> Void
    ) async throws {
        try await OrganizationWeb.with { web in
            let organization = SignedOrganization()
            let devices = Devices(organization, on: web)
            devices.state.withLock { $0.ticket = ticket }
            try web.publishRoot(organization)
            try web.publish(organization, version: 3)
            let preparing: (InstallationPaths) throws -> Void = { paths in
                try web.enroll(paths, organization, requiresSignIn: requiresSignIn)
                guard hasSession else { return }
                devices.state.withLock { $0.session = "active" }
                let files = OrganizationFiles(paths)
                try files.write(OrganizationClient.Device(id: "d1234567890", secret: Token("ramd_one")))
                try files.write(
                    OrganizationFiles.Session(user: "alice", refreshToken: Token("ramr_first"), localUser: 0)
                )
            }
            try await RunningDaemon.with(policy: nil, pace: Self.pace, preparing: preparing) { daemon in
                try await body(daemon, web, devices)
            }
        }
    }

    private static func becomes(
        _ daemon: RunningDaemon,
        _ isSo: (DaemonStatus.Policy) -> Bool
    ) async throws -> Bool {
        try await eventually { isSo(try await daemon.status().policy) }
    }

    @Test
    func `a change comes without being asked for`() async throws {
        try await withMachine { (daemon, web, devices) async throws in
            #expect(try await Self.becomes(daemon) { $0.policyVersion == 3 })
            #expect(await eventually { web.requests.contains { $0.target.contains("after=c1") } })
            for version in 4...8 {
                try web.publish(devices.organization, version: version)
                devices.state.withLock { $0.cursor = "c\(version)" }
                #expect(try await Self.becomes(daemon) { $0.policyVersion == version })
            }
            let registered = devices.state.withLock { $0.registered }
            #expect(registered.count == 1 && registered[0].contains("\"name\":"))
            let file = "\(daemon.paths.organizationDirectory)/device.json"
            #expect(try Files.status(file).mode & 0o777 == 0o600)
        }
    }

    private static func asked(_ web: OrganizationWeb) -> Int {
        web.requests.count { $0.path.hasPrefix("/documents/") || $0.path == "/v1/token" }
    }

    @Test
    func `what comes with a change is in force without anything being asked for`() async throws {
        try await withMachine(hasSession: true, requiresSignIn: true, ticket: "t1") { daemon, web, devices in
            #expect(try await Self.becomes(daemon) { $0.policyVersion == 3 && $0.state == .enforce })
            #expect(await eventually { web.requests.contains { $0.target.contains("after=c1") } })
            let asked = Self.asked(web)
            for version in 4...8 {
                try devices.tell(version)
                #expect(try await Self.becomes(daemon) { $0.policyVersion == version })
            }
            // What the first answer led to may not have been over: a root document, freshness and a ticket.
            #expect(Self.asked(web) - asked < 5)
            let renewals = web.requests.count { $0.path == "/v1/token" }
            // What says something else of who is signed in makes a machine ask.
            devices.state.withLock { state in
                (state.ticket, state.cursor) = ("t2", "c9")
                state.news = []
            }
            #expect(await eventually { web.requests.count { $0.path == "/v1/token" } > renewals })
        }
    }

    @Test(arguments: ["root", "policy", "freshness"])
    func `what does not come along, or is not good, is fetched`(_ missing: String) async throws {
        try await withMachine(ticket: "t1") { daemon, web, devices in
            #expect(try await Self.becomes(daemon) { $0.policyVersion == 3 })
            #expect(await eventually { web.requests.contains { $0.target.contains("after=c1") } })
            try web.publish(devices.organization, version: 4)
            switch missing {
            case "root": try devices.tell(4, root: 2)
            case "policy": try devices.tell(4, withPolicy: false)
            default: try devices.tell(4) { $0.replacing("\"sig\":\"", with: "\"sig\":\"AAAA") }
            }
            #expect(try await Self.becomes(daemon) { $0.policyVersion == 4 && $0.problem == nil })
            #expect(web.requests.contains { $0.path == "/documents/freshness.json" })
        }
    }

    @Test
    func `an older policy that comes with a change is refused`() async throws {
        try await withMachine(ticket: "t1") { daemon, web, devices in
            #expect(try await Self.becomes(daemon) { $0.policyVersion == 3 })
            #expect(await eventually { web.requests.contains { $0.target.contains("after=c1") } })
            try devices.tell(2)
            #expect(await eventually { web.requests.contains { $0.target.contains("after=c2") } })
            #expect(try await daemon.status().policy.policyVersion == 3)
        }
    }

    @Test
    func `a machine that the server does not know any more registers again`() async throws {
        try await withMachine { (daemon, web, devices) async throws in
            #expect(await eventually { web.requests.contains { $0.target.contains("after=c1") } })
            devices.state.withLock { state in
                state.isKnown = false
                state.device = "d9876543210"
                state.secret = "ramd_two"
            }
            let path = "/v1/organizations/acme/devices/d9876543210/changes"
            #expect(await eventually { web.requests.contains { $0.path == path } })
            #expect(try OrganizationFiles(daemon.paths).device?.id == "d9876543210")
        }
    }

    @Test
    func `who was signed in on a machine that an owner has taken out is not any more, at once`() async throws {
        try await withMachine(hasSession: true, requiresSignIn: true) { (daemon, web, devices) async throws in
            #expect(try await Self.becomes(daemon) { $0.state == .enforce })
            // It cannot register again, and nobody says anything of the session.
            web.reply(to: "/v1/organizations/acme/devices", .json("{}", 503))
            devices.state.withLock { $0.isKnown = false }
            #expect(try await Self.becomes(daemon) { $0.state == .signInRequired })
            #expect(try OrganizationFiles(daemon.paths).session == nil)
        }
    }

    @Test
    func `the session is renewed with a token that is good once, and an owner ends it at once`() async throws {
        try await withMachine(hasSession: true, requiresSignIn: true) { (daemon, _, devices) async throws in
            #expect(try await Self.becomes(daemon) { $0.state == .enforce })
            #expect(
                PolicyInForce.load(daemon.paths).verdict(on: AccessRequest(.pull, try RegistryAddress("quay.io")))
                    .isAllowed
            )
            let first = devices.state.withLock { $0.refreshTokens[0] }
            #expect(first.contains("grant_type=refresh_token&refresh_token=ramr_first"))
            #expect(first.contains("device=d1234567890&device_secret=ramd_one"))
            let kept = try OrganizationFiles(daemon.paths).session
            #expect(kept?.refreshToken.text.hasPrefix("ramr_next") == true)
            devices.state.withLock { state in
                state.session = "ended"
                state.cursor = "c2"
                state.refusal = "invalid_grant"
            }
            #expect(try await Self.becomes(daemon) { $0.state == .signInRequired })
            #expect(try await daemon.isAllowed("POST", "/images/create?fromImage=ghcr.io/acme/x") == false)
            #expect(try OrganizationFiles(daemon.paths).session == nil)
            #expect(
                PolicyInForce.load(daemon.paths).verdict(on: AccessRequest(.pull, .dockerHub)).reason == .signInRequired
            )
        }
    }

    @Test(arguments: [("invalid_grant", DaemonStatus.Policy.State.signInRequired), ("not_a_member", .notAMember)])
    func `a session that the server does not renew is none`(
        _ code: String,
        _ state: DaemonStatus.Policy.State
    ) async throws {
        try await withMachine(hasSession: true, requiresSignIn: true) { (daemon, _, devices) async throws in
            #expect(try await Self.becomes(daemon) { $0.state == .enforce })
            devices.state.withLock { devices in
                devices.refusal = code
                devices.cursor = "c2"
            }
            #expect(try await Self.becomes(daemon) { $0.state == state })
            #expect(try OrganizationFiles(daemon.paths).session == nil)
        }
    }

    @Test
    func `a server that is away for a while ends no session`() async throws {
        try await withMachine(hasSession: true, requiresSignIn: true) { (daemon, _, devices) async throws in
            #expect(try await Self.becomes(daemon) { $0.state == .enforce })
            devices.state.withLock { devices in
                devices.refusal = "temporarily_unavailable"
                devices.cursor = "c2"
            }
            #expect(try await Self.becomes(daemon) { $0.problem?.contains("temporarily_unavailable") == true })
            #expect(try await daemon.status().policy.state == .enforce)
            devices.state.withLock { $0.refusal = nil }
            daemon.orders.yield(.reload)
            #expect(try await Self.becomes(daemon) { $0.problem == nil && $0.state == .enforce })
        }
    }

    @Test
    func `whoever has to have another ticket while one is on its way gets another`() async throws {
        try await withMachine(hasSession: true, ticket: "t1") { (daemon, _, devices) async throws in
            func renewals() -> Int { devices.state.withLock { $0.refreshTokens.count } }
            func change(_ number: Int) {
                devices.state.withLock { ($0.cursor, $0.ticket) = ("c\(number)", "t\(number)") }
            }
            #expect(await eventually { renewals() > 0 })
            devices.state.withLock { $0.delay = 1.5 }
            let before = renewals()
            change(2)
            #expect(await eventually { renewals() == before + 1 })
            change(3)
            #expect(await eventually { renewals() == before + 2 })
        }
    }

    @Test
    func `a ticket that is refused is said, and asked for again`() async throws {
        try await withMachine(hasSession: true, ticket: "t1") { (daemon, _, devices) async throws in
            #expect(await eventually { devices.state.withLock { !$0.refreshTokens.isEmpty } })
            devices.state.withLock { ($0.cursor, $0.ticket, $0.ticketDevice) = ("c2", "t2", "d1111111111") }
            #expect(try await Self.becomes(daemon) { $0.problem?.contains("for another device") == true })
            let before = devices.state.withLock { $0.refreshTokens.count }
            devices.state.withLock { $0.ticketDevice = nil }
            daemon.orders.yield(.reload)
            #expect(await eventually { devices.state.withLock { $0.refreshTokens.count } > before })
            #expect(try await Self.becomes(daemon) { $0.problem == nil })
        }
    }

    @Test
    func `where documents come from is away, people stay signed in all the same`() async throws {
        try await withMachine(hasSession: true, ticket: "t1") { (daemon, web, devices) async throws in
            #expect(await eventually { devices.state.withLock { !$0.refreshTokens.isEmpty } })
            web.reply(to: "/documents/freshness.json", .json("{}", 503))
            let before = devices.state.withLock { $0.refreshTokens.count }
            devices.state.withLock { ($0.cursor, $0.ticket) = ("c2", "t2") }
            #expect(await eventually { devices.state.withLock { $0.refreshTokens.count } > before })
            #expect(try await Self.becomes(daemon) { $0.problem?.contains("503") == true })
            #expect(try await daemon.status().policy.policyVersion == 3)
        }
    }
}
