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

/// Asking the organization for registries over the control socket, with the server's answers.
struct RequestTests {
    private static let deviceID = "d0000000000000000000000001"
    private static let place = "/v1/organizations/acme/devices/\(deviceID)"

    private static let pace: OrganizationKeeper.Pace = {
        var pace = OrganizationKeeper.Pace()
        pace.tick = .milliseconds(20)
        pace.waiting = 1
        return pace
    }()

    private static func request(_ state: String, _ more: String = "", number: Int = 3) -> String {
        #"{"number":\#(number),"registry":"quay.io","action":"pull","reason":"why","user":null,"device":"x","#
            + #""made":"2026-11-25T13:45:10Z","state":"\#(state)","word":"","answeredBy":null,"answered":null,"#
            + #""until":null,"policyVersion":null\#(more)}"#
    }

    /// What is asked for a registry.
    private static func question(_ registry: String = "quay.io", reason: String = "why") -> String {
        JSONValue.object([
            JSONMember("request", .string("request")), JSONMember("registry", .string(registry)),
            JSONMember("action", .string("pull")), JSONMember("reason", .string(reason)),
        ]).text()
    }

    /// What a server knows of requests; it has changed as often as there are changes.
    private final class Book: Sendable {
        let requests = Mutex<(list: [String], changes: Int)>(([], 0))

        func set(_ list: [String]) { requests.withLock { $0 = (list, $0.changes + 1) } }
    }

    private func withMachine(
        _ body: @escaping @Sendable (RunningDaemon, OrganizationWeb, Book) async throws -> Void
    ) async throws {
        let organization = SignedOrganization()
        let book = Book()
        try await OrganizationWeb.with { web in
            try web.publishRoot(organization)
            try web.publish(organization, version: 3)
            web.reply(
                to: "/v1/organizations/acme/devices",
                .json(#"{"device":"\#(Self.deviceID)","secret":"ramd_x"}"#, 201)
            )
            web.reply(to: "\(Self.place)/changes") { _ in
                let count = book.requests.withLock { $0.changes }
                return .json(#"{"cursor":"c\#(count)","session":"none","requests":\#(count)}"#)
            }
            web.reply(to: "\(Self.place)/requests") { request in
                if request.method == "POST" {
                    guard request.headers["authorization"] == "Bearer ramd_x" else { return .json("{}", 401) }
                    book.set([Self.request("open")])
                    return .json(Self.request("open"), 201)
                }
                let (list, changes) = book.requests.withLock { $0 }
                return .json(#"{"changes":\#(changes),"requests":[\#(list.joined(separator: ","))]}"#)
            }
            try await RunningDaemon.with(policy: nil, pace: Self.pace, preparing: { try web.enroll($0, organization) })
            {
                daemon in
                #expect(try await eventually { try await daemon.status().policy.state == .enforce })
                try await body(daemon, web, book)
            }
        }
    }

    @Test
    func `what is asked for reaches the server, and its answer comes back without a question`() async throws {
        try await withMachine { daemon, web, book in
            #expect(try await daemon.ask(#"{"request":"requests"}"#) == [#"{"requests":[]}"#])
            let answer = try await daemon.ask(Self.question())
            #expect(answer.count == 1 && answer[0].hasPrefix(#"{"requested":{"number":3,"registry":"quay.io""#))
            let sent = try #require(web.requests.last { $0.method == "POST" && $0.path.hasSuffix("/requests") })
            #expect(sent.body == #"{"registry":"quay.io","action":"pull","reason":"why"}"#)
            func state(_ state: String) async throws -> Bool {
                try await daemon.ask(#"{"request":"requests"}"#).first?.contains(#""state":"\#(state)""#) ?? false
            }
            #expect(try await state("open"))
            book.set([Self.request("declined")])
            #expect(try await eventually { try await state("declined") })
            // What has not changed is not fetched again and again.
            let count = web.requests.filter { $0.method == "GET" && $0.path.hasSuffix("/requests") }.count
            let polls = web.requests.filter { $0.path.hasSuffix("/changes") }.count
            #expect(await eventually { web.requests.filter { $0.path.hasSuffix("/changes") }.count >= polls + 3 })
            #expect(web.requests.filter { $0.method == "GET" && $0.path.hasSuffix("/requests") }.count == count)
        }
    }

    @Test(
        arguments: [
            (#"{"code":"too_many_requests"}"#, 429, "too_many_requests", "wait until tomorrow"),
            (#"{"code":"not_found"}"#, 404, "not_supported", "takes no requests"),
            ("nothing", 404, "not_supported", "takes no requests"), ("nothing", 500, "unreachable", "status 500"),
            (#"{"number":1}"#, 201, "unreachable", "it holds no request"),
            (#"{"code":"forbidden"}"#, 403, "forbidden", "refused: forbidden"),
        ]
    )
    func `a refusal of the server is told, and nothing is kept`(
        body: String,
        status: Int,
        code: String,
        text: String
    ) async throws {
        try await withMachine { daemon, web, _ in
            web.reply(to: "\(Self.place)/requests", .json(body, status))
            let answer = try await daemon.ask(Self.question())
            #expect(answer.first?.hasPrefix(#"{"refused":{"code":"\#(code)""#) == true, "\(answer)")
            #expect(answer.first?.contains(text) == true, "\(answer)")
            #expect(try await daemon.ask(#"{"request":"requests"}"#) == [#"{"requests":[]}"#])
        }
    }

    @Test
    func `where somebody else is signed in, nothing goes out in their name`() async throws {
        try await withMachine { daemon, web, _ in
            let files = OrganizationFiles(daemon.paths)
            try files.write(
                OrganizationFiles.Session(user: "alice", refreshToken: Token("ramr_x"), localUser: geteuid() + 1)
            )
            let answer = try await daemon.ask(Self.question())
            let isSent = web.requests.contains { $0.method == "POST" && $0.path.hasSuffix("/requests") }
            // Root may ask for everybody.
            #expect(isSent == (geteuid() == 0))
            let prefix = geteuid() == 0 ? #"{"requested""# : #"{"refused":{"code":"forbidden""#
            #expect(answer.first?.hasPrefix(prefix) == true, "\(answer)")
        }
    }

    @Test
    func `a local user who is not who signed in is refused`() async throws {
        try await withMachine { daemon, web, _ in
            try OrganizationFiles(daemon.paths).write(
                OrganizationFiles.Session(user: "alice", refreshToken: Token("ramr_x"), localUser: 1001)
            )
            let current = CurrentPolicy(
                PolicySnapshot(inForce: PolicyInForce.load(daemon.paths), loadedAt: .now(), servers: [])
            )
            let keeper = OrganizationKeeper(
                daemon.paths,
                current,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
                pace: Self.pace
            )
            guard case .enrolled(let enrollment) = Enrollment.read(daemon.paths) else {
                Issue.record("not enrolled")
                return
            }
            await keeper.follow(enrollment, packs: .embedded)
            let desk = RequestDesk(keeper: keeper, policy: current)
            let registry = try RegistryAddress("quay.io")
            let refused = await desk.ask(for: registry, to: .pull, because: "", by: 1002).text()
            #expect(refused.hasPrefix(#"{"refused":{"code":"forbidden""#), "\(refused)")
            #expect(refused.contains("/organizations/acme/requests?registry=quay.io"), "\(refused)")
            #expect(!web.requests.contains { $0.method == "POST" && $0.path.hasSuffix("/requests") })
            let kept = await desk.withdraw(3, by: 1002).text()
            #expect(kept.hasPrefix(#"{"refused":{"code":"forbidden""#) && kept.contains("/acme/requests"), "\(kept)")
            #expect(!web.requests.contains { $0.path.hasSuffix("/withdraw") })
            for user in [1001, 0] as [uid_t] {
                let asked = await desk.ask(for: registry, to: .pull, because: "", by: user).text()
                #expect(asked.hasPrefix(#"{"requested""#), "\(asked)")
            }
            await keeper.follow(nil, packs: .embedded)
        }
    }

    private static let withdrawal = #"{"request":"withdraw","number":3}"#

    @Test
    func `what was asked for is taken back, and shown so at once`() async throws {
        try await withMachine { daemon, web, book in
            web.reply(to: "\(Self.place)/requests/3/withdraw") { request in
                guard request.method == "POST", request.headers["authorization"] == "Bearer ramd_x" else {
                    return .json("{}", 401)
                }
                book.set([Self.request("withdrawn")])
                return .json(Self.request("withdrawn"))
            }
            _ = try await daemon.ask(Self.question())
            let answer = try await daemon.ask(Self.withdrawal)
            #expect(answer.count == 1 && answer[0].hasPrefix(#"{"withdrawn":{"number":3,"#), "\(answer)")
            let list = try await daemon.ask(#"{"request":"requests"}"#)
            #expect(list.first?.contains(#""state":"withdrawn""#) == true, "\(list)")
        }
    }

    @Test(
        arguments: [
            (#"{"code":"not_found"}"#, 404, "not_found", "acme has no request 3"),
            ("nothing", 404, "not_found", "acme"),
            (#"{"code":"conflict"}"#, 409, "conflict", "has its answer already"),
            (#"{"code":"forbidden"}"#, 403, "forbidden", "refused: forbidden"),
            ("{}", 200, "unreachable", "it holds no request"),
        ]
    )
    func `what cannot be taken back is told`(body: String, status: Int, code: String, text: String) async throws {
        try await withMachine { daemon, web, _ in
            web.reply(to: "\(Self.place)/requests/3/withdraw", .json(body, status))
            // Before it has asked for anything, the server may not know the machine.
            _ = try await daemon.ask(Self.question())
            let answer = try await daemon.ask(Self.withdrawal)
            #expect(answer.first?.hasPrefix(#"{"refused":{"code":"\#(code)""#) == true, "\(answer)")
            #expect(answer.first?.contains(text) == true, "\(answer)")
        }
    }

    @Test
    func `a machine of no organization names whom to ask`() async throws {
        try await RunningDaemon.with { daemon in
            let answer = try await daemon.ask(Self.question())
            #expect(answer.first?.contains(#""code":"not_enrolled""#) == true, "\(answer)")
            #expect(answer.first?.contains("ask platform@acme.test for access") == true, "\(answer)")
            #expect(try await daemon.ask(#"{"request":"requests"}"#) == [#"{"requests":[]}"#])
        }
    }

    @Test
    func `a server that is away is told, and the page where a browser can ask`() async throws {
        try await withMachine { daemon, web, _ in
            web.reply(to: "\(Self.place)/requests", .raw { _ in })
            let answer = try await daemon.ask(Self.question("r.test:5000"))
            #expect(answer.first?.contains("was not sent, and is not kept") == true, "\(answer)")
            #expect(answer.first?.contains("requests?registry=r.test%3A5000") == true, "\(answer)")
        }
    }

    @Test(
        arguments: [
            #"{"request":"request"}"#, #"{"request":"request","registry":"quay.io","action":"pull"}"#,
            #"{"request":"request","registry":"quay.io","action":"login","reason":""}"#,
            #"{"request":"request","registry":"https://quay.io","action":"pull","reason":""}"#,
            #"{"request":"request","registry":"quay.io/acme","action":"pull","reason":""}"#,
            #"{"request":"request","registry":"quay.io","action":"pull","reason":"","user":"alice"}"#,
            #"{"request":"request","registry":1,"action":"pull","reason":""}"#,
            #"{"request":"request","registry":"quay.io","action":"pull","reason":null}"#,
            #"{"request":"request","registry":"quay.io","registry":"ghcr.io","action":"pull","reason":""}"#,
            question(reason: String(repeating: "x", count: 501)), #"{"request":"requests","of":"alice"}"#,
            #"{"request":"withdraw"}"#, #"{"request":"withdraw","number":0}"#, #"{"request":"withdraw","number":-1}"#,
            #"{"request":"withdraw","number":"3"}"#, #"{"request":"withdraw","number":3,"by":"alice"}"#,
            #"{"request":"withdraw","number":1.5}"#,
        ]
    )
    func `a line that is not in order is no request`(line: String) throws {
        #expect(throws: InvalidControlRequest.self) { try ControlRequest(line: Array(line.utf8)) }
    }

    @Test
    func `a line that is in order is one`() throws {
        let request = try ControlRequest(line: Array(Self.question("QUAY.io", reason: "ü\u{301}").utf8))
        let expected = ControlRequest.request(
            registry: try RegistryAddress("quay.io"),
            action: .pull,
            reason: "ü\u{301}"
        )
        #expect(request == expected)
        #expect(try ControlRequest(line: Array(#"{"request":"requests"}"#.utf8)) == .requests)
        #expect(try ControlRequest(line: Array(Self.withdrawal.utf8)) == .withdraw(number: 3))
    }
}
