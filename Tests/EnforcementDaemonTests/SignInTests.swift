@testable import EnforcementDaemon
import Foundation
import Glibc
import LocalInstallation
import NIOCore
import OrganizationClient
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

/// Signing in and out over the control socket of a machine where sign-in is enforced, with the server's answers.
struct SignInTests {
    private static let ghcr = "/images/create?fromImage=ghcr.io/acme/x"

    private static let pace: OrganizationKeeper.Pace = {
        var pace = OrganizationKeeper.Pace()
        pace.tick = .milliseconds(20)
        pace.waiting = 1
        return pace
    }()

    private static let deviceID = "d0000000000000000000000001"

    /// Runs a machine where sign-in is enforced, and a server that knows alice, her password and a token.
    ///
    /// - Parameters:
    ///   - renewal: what the server does before it answers who asks for the next token.
    ///   - body: what is done meanwhile.
    /// - Throws: what the body throws.
    private func withMachine(
        renewal: @escaping @Sendable () -> Void = {},
        _ body: @escaping @Sendable (RunningDaemon, OrganizationWeb) async throws -> Void
    ) async throws {
        let organization = SignedOrganization()
        try await OrganizationWeb.with { web in
            try web.publishRoot(organization)
            try web.publish(organization, version: 3)
            web.reply(
                to: "/v1/organizations/acme/devices",
                .json(#"{"device":"\#(Self.deviceID)","secret":"ramd_x"}"#, 201)
            )
            web.reply(
                to: "/v1/organizations/acme/devices/\(Self.deviceID)/changes",
                .json(#"{"cursor":"c1","session":"active"}"#)
            )
            web.reply(to: "/v1/token/revoke", .json("{}"))
            web.reply(to: "/v1/token") { request in
                guard request.body.contains("device=\(Self.deviceID)&device_secret=ramd_x") else {
                    return .json(#"{"error":"invalid_client"}"#, 400)
                }
                if request.body.contains("username=hasty") { return .json(#"{"code":"too_many_requests"}"#, 429) }
                guard
                    [
                        "password=right", "token=ramp_good", "device_code=ramc_approved", "refresh_token=ramr_x",
                    ].contains(where: request.body.contains)
                else { return .json(#"{"error":"\#(Self.refusal(of: request.body))"}"#, 400) }
                if request.body.contains("refresh_token=") { renewal() }
                let time = Instant.now()
                guard let ticket = try? organization.ticket(device: Self.deviceID, signedIn: time, issued: time) else {
                    return .json("{}", 500)
                }
                return .json(
                    """
                    {"access_token":"rama_x","token_type":"Bearer","expires_in":900,"refresh_token":"ramr_x",
                     "user":"alice","ticket":\(String(decoding: ticket, as: UTF8.self))}
                    """
                )
            }
            try await RunningDaemon.with(
                policy: nil,
                pace: Self.pace,
                preparing: { try web.enroll($0, organization, requiresSignIn: true) }
            ) { daemon in
                #expect(try await Self.becomes(daemon, .signInRequired))
                try await body(daemon, web)
            }
        }
    }

    private static func refusal(of body: String) -> String {
        if body.contains("username=stranger") { return "not_a_member" }
        if body.contains("device_code=ramc_declined") { return "access_denied" }
        return "invalid_grant"
    }

    private static func becomes(_ daemon: RunningDaemon, _ state: DaemonStatus.Policy.State) async throws -> Bool {
        try await eventually { try await daemon.status().policy.state == state }
    }

    @Test(
        arguments: [
            #"{"request":"sign-in","user":"alice","password":"right"}"#,
            #"{"request":"sign-in","token":"ramp_good"}"#,
        ]
    )
    func `who signs in may use registries at once, and who signs out may not`(request: String) async throws {
        try await withMachine { daemon, web in
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == false)
            #expect(try await daemon.ask(request) == [#"{"signedIn":{"user":"alice","organization":"acme"}}"#])
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == true)
            #expect(PolicyInForce.load(daemon.paths).policy?.version == 3)
            let session = try #require(try OrganizationFiles(daemon.paths).session)
            #expect(session.user == "alice" && session.localUser == geteuid())
            let mode = try Files.status("\(daemon.paths.organizationDirectory)/session.json").mode
            #expect(mode & 0o777 == 0o600)
            #expect(try await daemon.ask(#"{"request":"sign-out"}"#) == [#"{"signedOut":{"user":"alice"}}"#])
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == false)
            #expect(try await daemon.status().policy.state == .signInRequired)
            #expect(try OrganizationFiles(daemon.paths).session == nil)
            #expect(web.requests.contains { $0.path == "/v1/token/revoke" && $0.body == "token=ramr_x" })
        }
    }

    @Test
    func `what the server says of sessions is asked from the beginning after each sign-in`() async throws {
        try await withMachine { daemon, web in
            func polls(afterNothing: Bool) -> Int {
                web.requests.count { $0.path.hasSuffix("/changes") && $0.target.contains("after=") != afterNothing }
            }
            for number in 1...2 {
                // By now one waits that began before the sign-in.
                let before = polls(afterNothing: false)
                #expect(await eventually { polls(afterNothing: false) > before })
                #expect(polls(afterNothing: true) == number)
                _ = try await daemon.ask(#"{"request":"sign-in","user":"alice","password":"right"}"#)
                #expect(await eventually { polls(afterNothing: true) == number + 1 })
            }
        }
    }

    @Test
    func `who signs out while the next token is under way stays signed out`() async throws {
        let gate = DispatchSemaphore(value: 0)
        try await withMachine(renewal: { gate.wait() }) { daemon, web in
            defer { for _ in 0..<100 { gate.signal() } }
            func renewals() -> Int { web.requests.count { $0.body.contains("refresh_token=") } }
            func polls() -> Int { web.requests.count { $0.path.hasSuffix("/changes") } }
            _ = try await daemon.ask(#"{"request":"sign-in","user":"alice","password":"right"}"#)
            #expect(await eventually { renewals() == 1 })
            #expect(try await daemon.ask(#"{"request":"sign-out"}"#) == [#"{"signedOut":{"user":"alice"}}"#])
            gate.signal()
            // By then the answer has come and was heeded, or was not.
            let before = polls()
            #expect(await eventually { polls() > before + 10 })
            #expect(try OrganizationFiles(daemon.paths).session == nil)
            #expect(try await daemon.status().policy.state == .signInRequired)
        }
    }

    @Test(
        arguments: [
            (#"{"request":"sign-in","user":"alice","password":"wrong"}"#, "invalid_grant", "or the password is wrong"),
            (#"{"request":"sign-in","user":"stranger","password":"x"}"#, "not_a_member", #"not a member of \"acme\""#),
            (#"{"request":"sign-in","user":"hasty","password":"x"}"#, "too_many_requests", "tried this too often"),
            (#"{"request":"sign-in","token":"ramp_bad"}"#, "invalid_grant", "the access token is unknown"),
            (#"{"request":"sign-out"}"#, "not_signed_in", "nobody is signed in"),
        ]
    )
    func `who is refused is told why`(request: String, code: String, text: String) async throws {
        try await withMachine { daemon, _ in
            let answer = try await daemon.ask(request)
            #expect(answer.count == 1)
            #expect(answer.first?.hasPrefix(#"{"refused":{"code":"\#(code)""#) == true, "\(answer)")
            #expect(answer.first?.contains(text) == true, "\(answer)")
            #expect(try await daemon.status().policy.state == .signInRequired)
        }
    }

    @Test(arguments: [("ramc_approved", "signedIn"), ("ramc_declined", "access_denied")])
    func `a browser is waited for`(deviceCode: String, end: String) async throws {
        try await withMachine { daemon, web in
            web.reply(
                to: "/v1/device_authorization",
                .json(
                    """
                    {"device_code":"\(deviceCode)","user_code":"BCDF-GHJK","verification_uri":"https://ram.acme.test/activate",
                     "expires_in":600,"interval":1}
                    """
                )
            )
            let answer = try await daemon.ask(#"{"request":"sign-in"}"#)
            #expect(answer.first?.contains(#""userCode":"BCDF-GHJK""#) == true)
            #expect(answer.last?.contains(end) == true, "\(answer)")
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == (end == "signedIn"))
        }
    }

    @Test(arguments: [0, 429, 503])
    func `a browser is waited for, also while the server cannot be reached`(status: Int) async throws {
        let asked = Mutex(0)
        try await withMachine { daemon, web in
            web.reply(
                to: "/v1/device_authorization",
                .json(
                    """
                    {"device_code":"ramc_approved","user_code":"BCDF-GHJK","expires_in":600,"interval":1,
                     "verification_uri":"https://ram.acme.test/activate"}
                    """
                )
            )
            let inOrder = try #require(web.reply(of: "/v1/token"))
            web.reply(to: "/v1/token") { request in
                guard request.body.contains("device_code") else { return inOrder(request) }
                let isFirst = asked.withLock { number in
                    number += 1
                    return number == 1
                }
                guard isFirst else { return inOrder(request) }
                return status == 0 ? .raw { _ in } : .json(#"{"code":"unavailable"}"#, status)
            }
            let answer = try await daemon.ask(#"{"request":"sign-in"}"#)
            #expect(answer.count == 3 && answer.dropFirst().first?.contains("waiting") == true, "\(answer)")
            #expect(answer.last == #"{"signedIn":{"user":"alice","organization":"acme"}}"#)
            #expect(asked.withLock { $0 } >= 2)
        }
    }

    private static func code(_ deviceCode: String) -> OrganizationWeb.Reply {
        .json(
            """
            {"device_code":"\(deviceCode)","user_code":"BCDF-GHJK","expires_in":600,"interval":1,
             "verification_uri":"https://ram.acme.test/activate"}
            """
        )
    }

    @Test
    func `a code that is approved after its owner gave up signs nobody in`() async throws {
        try await withMachine { daemon, web in
            web.reply(to: "/v1/device_authorization", Self.code("ramc_approved"))
            let socket = daemon.paths.controlSocket
            let shown = try await onThread {
                let client = try SocketClient(socket)
                client.send(#"{"request":"sign-in"}"# + "\n")
                return String(decoding: client.read { $0.contains(UInt8(ascii: "\n")) }, as: UTF8.self)
            }
            #expect(shown.contains("BCDF-GHJK"))
            // Who waits as long from now on is asked for later than the one before.
            web.reply(to: "/v1/device_authorization", Self.code("ramc_declined"))
            let answer = try await daemon.ask(#"{"request":"sign-in"}"#)
            #expect(answer.last?.contains("access_denied") == true, "\(answer)")
            #expect(!web.requests.contains { $0.body.contains("ramc_approved") })
            #expect(try await daemon.status().policy.state == .signInRequired)
        }
    }

    @Test(arguments: [#"{"request":"sign-in"}"#, #"{"request":"sign-in","user":"alice","password":"right"}"#])
    func `a ticket that comes when nobody waits any more is given back`(request: String) async throws {
        let gate = DispatchSemaphore(value: 0)
        try await withMachine { daemon, web in
            defer { for _ in 0..<100 { gate.signal() } }
            web.reply(to: "/v1/device_authorization", Self.code("ramc_approved"))
            let inOrder = try #require(web.reply(of: "/v1/token"))
            web.reply(to: "/v1/token") { request in
                gate.wait()
                return inOrder(request)
            }
            let client = Mutex<SocketClient?>(try SocketClient(daemon.paths.controlSocket))
            client.withLock { $0?.send(request + "\n") }
            #expect(await eventually { web.requests.contains { $0.path == "/v1/token" } })
            client.withLock { $0 = nil }
            // Each of its threads looks after another connection, and has then seen that the one before has ended.
            for _ in 0..<NIOSingletons.groupLoopCountSuggestion { _ = try await daemon.status() }
            gate.signal()
            #expect(await eventually { web.requests.contains { $0.path == "/v1/token/revoke" } })
            #expect(try OrganizationFiles(daemon.paths).session == nil)
            #expect(try await daemon.status().policy.state == .signInRequired)
        }
    }

    @Test
    func `a code that ends while the server cannot be reached ends with that`() async throws {
        try await withMachine { daemon, web in
            web.reply(
                to: "/v1/device_authorization",
                .json(
                    """
                    {"device_code":"ramc_x","user_code":"BCDF-GHJK","expires_in":2,"interval":1,
                     "verification_uri":"https://ram.acme.test/activate"}
                    """
                )
            )
            web.reply(to: "/v1/token", .json(#"{"code":"unavailable"}"#, 503))
            let answer = try await daemon.ask(#"{"request":"sign-in"}"#)
            #expect(answer.last?.hasPrefix(#"{"refused":{"code":"unavailable""#) == true, "\(answer)")
            web.reply(to: "/v1/token", .json(#"{"error":"authorization_pending"}"#, 400))
            let unused = try await daemon.ask(#"{"request":"sign-in"}"#)
            #expect(unused.last?.hasPrefix(#"{"refused":{"code":"expired_token""#) == true, "\(unused)")
        }
    }

    @Test
    func `a machine that the server has forgotten registers again`() async throws {
        try await withMachine { daemon, web in
            let stale = OrganizationFiles(daemon.paths)
            #expect(try await eventually { try stale.device != nil })
            web.reply(
                to: "/v1/organizations/acme/devices",
                .json(#"{"device":"d0000000000000000000000002","secret":"ramd_y"}"#, 201)
            )
            web.reply(to: "/v1/token") { request in
                request.body.contains("ramd_y")
                    ? .json(#"{"error":"invalid_grant"}"#, 400) : .json(#"{"code":"device_unknown"}"#, 401)
            }
            let answer = try await daemon.ask(#"{"request":"sign-in","token":"ramp_good"}"#)
            #expect(answer.first?.contains("invalid_grant") == true, "\(answer)")
            #expect(try stale.device?.id == "d0000000000000000000000002")
        }
    }

    @Test
    func `a machine without an organization has nobody to sign in with`() async throws {
        try await RunningDaemon.with { daemon in
            for request in [
                #"{"request":"sign-in","token":"x"}"#, #"{"request":"sign-in"}"#, #"{"request":"sign-out"}"#,
            ] {
                let answer = try await daemon.ask(request)
                #expect(answer.first?.hasPrefix(#"{"refused":{"code":"not_enrolled""#) == true, "\(answer)")
            }
        }
    }

    @Test(
        arguments: [
            #"{"request":"sign-in","user":"alice"}"#, #"{"request":"sign-in","user":"alice","password":""}"#,
            #"{"request":"sign-in","user":"alice","password":1}"#, #"{"request":"sign-in","token":"x","user":"y"}"#,
            #"{"request":"sign-out","user":"alice"}"#, #"{"request":"register"}"#,
            #"{"request":"register","enrollmentToken":""}"#,
            #"{"request":"register","enrollmentToken":"rame_x","organization":"acme"}"#,
        ]
    )
    func `what is no request is refused`(line: String) {
        #expect(throws: InvalidControlRequest.self) { try ControlRequest(line: Array(line.utf8)) }
    }
}
