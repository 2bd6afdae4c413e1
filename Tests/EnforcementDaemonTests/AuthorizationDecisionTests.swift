@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

struct AuthorizationDecisionTests {
    enum State: String, Sendable, CaseIterable {
        case enforce, importsAllowed, buildersDenied, buildersAudited, audit, disabled, unmanaged, unavailable

        func policy() throws -> PolicyInForce {
            switch self {
            case .unmanaged: return .unmanaged
            case .unavailable: return .unavailable("broken")
            default:
                let extra =
                    switch self {
                    case .buildersDenied: #""unmanagedBuilders": "deny","#
                    case .buildersAudited: #""unmanagedBuilders": "deny", "mode": "audit","#
                    case .importsAllowed: #""imports": "allow","#
                    case .audit: #""mode": "audit","#
                    case .disabled: #""enabled": false,"#
                    default: ""
                    }
                let json = RunningDaemon.policy.replacing("\"registries\"", with: "\(extra) \"registries\"")
                return .policy(try AccessPolicy(json: Array(json.utf8)), source: PolicySource(path: "/policy.json"))
            }
        }
    }

    enum Expected: Sendable, Equatable {
        case allow
        case refuse(String)
    }

    struct Row: Sendable {
        let state: State
        let method: String
        let target: String
        let expected: Expected
        /// The verdicts and reasons that are recorded.
        let recorded: [String]

        init(_ state: State, _ method: String, _ target: String, _ expected: Expected, _ recorded: [String]) {
            self.state = state
            self.method = method
            self.target = target
            self.expected = expected
            self.recorded = recorded
        }
    }

    private static let hub = "/v1.41/images/create?fromImage=alpine&tag=3"
    private static let evil = "/v1.41/images/create?fromImage=evil.test%2Fx&tag=1"
    private static let unreadable = "/v1.41/images/create?fromImage=alpine;x"
    private static let stream = "/v1.41/images/create?fromSrc=-&repo=x"
    private static let own = "/plugins/docker-ram/enable"
    private static let disallowed = "Your organization has disallowed this registry: "
    private static let opaque = "This request could not be inspected: "

    static let rows: [Row] = [
        // Nothing to do with a registry: always allowed, never recorded
        Row(.enforce, "GET", "/v1.41/containers/json", .allow, []),
        Row(.audit, "GET", "/_ping", .allow, []),
        Row(.unmanaged, "POST", "/containers/x/stop", .allow, []),
        Row(.unavailable, "POST", "/containers/x/stop", .allow, []),
        Row(.unavailable, "HEAD", "/_ping", .allow, []),
        // Allowed
        Row(.enforce, "POST", hub, .allow, ["allow rule"]),
        Row(.audit, "POST", hub, .allow, ["allow rule"]),
        Row(.disabled, "POST", hub, .allow, ["allow disabled"]),
        Row(.unmanaged, "POST", hub, .allow, ["allow unmanaged"]),
        Row(
            .unavailable,
            "POST",
            hub,
            .refuse("Registries are refused until the policy can be read"),
            ["deny policy-unavailable"]
        ),
        Row(.enforce, "POST", "/images/create?fromImage=ghcr.io/acme/api", .allow, ["allow rule"]),
        // Disallowed
        Row(.enforce, "POST", evil, .refuse(disallowed + "evil.test (acme, policy 7, 7f3a9c)"), ["deny no-rule"]),
        Row(.audit, "POST", evil, .allow, ["would-deny no-rule"]),
        Row(.disabled, "POST", evil, .allow, ["allow disabled"]),
        Row(.unmanaged, "POST", evil, .allow, ["allow unmanaged"]),
        Row(
            .enforce,
            "POST",
            "/images/create?fromImage=ghcr.io/other/api",
            .refuse(disallowed + "ghcr.io"),
            ["deny repository"]
        ),
        Row(.enforce, "POST", "/images/ghcr.io/acme/api/push?tag=1", .refuse(disallowed + "ghcr.io"), ["deny action"]),
        Row(
            .enforce,
            "POST",
            "/v1.41/%69mages/create?fromImage=evil.test/x",
            .refuse(disallowed + "evil.test"),
            ["deny no-rule"]
        ),
        Row(
            .enforce,
            "POST",
            "http://x/images%2Fcreate?fromImage=evil.test/x",
            .refuse(disallowed + "evil.test"),
            ["deny no-rule"]
        ),
        // What cannot be inspected
        Row(.enforce, "POST", unreadable, .refuse(opaque), ["deny not-inspected"]),
        Row(.audit, "POST", unreadable, .allow, ["would-deny not-inspected"]),
        Row(.disabled, "POST", unreadable, .allow, ["allow disabled"]),
        Row(.unmanaged, "POST", unreadable, .allow, ["allow unmanaged"]),
        Row(.unavailable, "POST", unreadable, .refuse("Registries are refused"), ["deny policy-unavailable"]),
        Row(.importsAllowed, "POST", unreadable, .refuse(opaque), ["deny not-inspected"]),
        Row(.enforce, "POST", "/something/new", .refuse(opaque), ["deny not-inspected"]),
        Row(.enforce, "BREW", "/_ping", .refuse(opaque), ["deny not-inspected"]),
        // Imports of a stream
        Row(.enforce, "POST", stream, .refuse(opaque), ["deny not-inspected"]),
        Row(.importsAllowed, "POST", stream, .allow, ["allow imports-allowed"]),
        Row(.audit, "POST", stream, .allow, ["would-deny not-inspected"]),
        Row(.unmanaged, "POST", stream, .allow, ["allow unmanaged"]),
        Row(.unavailable, "POST", stream, .refuse("Registries are refused"), ["deny policy-unavailable"]),
    ]

    @Test(arguments: rows)
    func `a request under a policy`(_ row: Row) throws {
        let contentType = [JSONMember("Content-Type", .string("application/x-tar"))]
        let call = JSONValue.object([
            JSONMember("RequestMethod", .string(row.method)), JSONMember("RequestUri", .string(row.target)),
            JSONMember("RequestHeaders", .object(row.target == Self.stream ? contentType : [])),
        ])
        let decision = try decide(Array(call.text().utf8), row.state)
        switch (row.expected, decision.answer) {
        case (.allow, .allow): break
        case (.refuse(let beginning), .refuse(let sentence)): #expect(sentence.hasPrefix(beginning))
        default: Issue.record("\(decision.answer)")
        }
        #expect(decision.records.map { "\($0.verdict.rawValue) \($0.reason.rawValue)" } == row.recorded)
    }

    @Test(arguments: State.allCases)
    func `our own plugin is safe under every policy`(_ state: State) throws {
        for target in ["/plugins/docker-ram/enable", "/v1.41/plugins/docker-ram:latest/disable"] {
            let decision = try decide(Array(#"{"RequestMethod":"POST","RequestUri":"\#(target)"}"#.utf8), state)
            guard case .refuse(let sentence) = decision.answer else {
                Issue.record("\(target) is allowed")
                continue
            }
            #expect(sentence.hasPrefix("This plugin may not be replaced"))
            #expect(decision.records.map(\.reason) == [.ownPlugin])
        }
    }

    @Test(arguments: State.allCases, PluginCallTests.malformed.map(\.0))
    func `a call that cannot be read is refused under every policy`(_ state: State, _ json: String) throws {
        let decision = try decide(Array(json.utf8), state)
        guard case .refuse(let sentence) = decision.answer else {
            Issue.record("it is allowed")
            return
        }
        #expect(sentence.hasPrefix("This request could not be inspected: Docker passed on "))
        #expect(sentence.utf8.count <= Refusal.longest)
        #expect(decision.records.map(\.verdict) == [.deny])
    }

    @Test
    func `a record holds what the log promises`() throws {
        let record = try #require(try decide(pull("evil.test/x/y"), .enforce).records.first)
        #expect(
            record.json.text() == """
                {"id":"7f3a9c","time":"1970-01-01T00:00:00.000Z","point":"authorization-plugin","action":"pull",\
                "registry":"evil.test","image":"evil.test/x/y:1","verdict":"deny","reason":"no-rule","rule":null,\
                "policyVersion":7,"organization":"acme","obstacle":null,"user":null}
                """
        )
        let unknown = Array(#"{"RequestMethod":"POST","RequestUri":"/something/new"}"#.utf8)
        let opaque = try #require(try decide(unknown, .audit).records.first)
        #expect(opaque.obstacle == "this engine call is unknown to docker-ram")
        #expect(opaque.verdict == .wouldDeny)
        let allowed = try #require(try decide(pull("ghcr.io/acme/y"), .enforce).records.first)
        #expect(allowed.rule == "ghcr.io")
    }

    @Test
    func `a request for many registries is refused for the first that is disallowed`() throws {
        let images = (0..<100).map { "\"r\($0).test/x\"" }
        let body = #"/build?cachefrom=["docker.io/a","# + images.joined(separator: ",") + "]"
        let call = JSONValue.object([
            JSONMember("RequestMethod", .string("POST")),
            JSONMember("RequestUri", .string(body.replacing("\"", with: "%22"))),
            JSONMember("RequestHeaders", .object([JSONMember("Content-Type", .string("application/x-tar"))])),
        ])
        let decision = try decide(Array(call.text().utf8), .enforce)
        guard case .refuse(let sentence) = decision.answer else {
            Issue.record("it is allowed")
            return
        }
        #expect(sentence.contains("this registry: r0.test "))
        #expect(decision.records.count == AuthorizationDecision.mostRecords)
        #expect(decision.records.allSatisfy { $0.verdict == .deny && $0.id == "7f3a9c" })
    }

    // What buildx sends, with and without the environment that docker ram engine builder gives.
    @Test(arguments: [
        (State.buildersDenied, false, false, ["deny unmanaged-builder"]), (.buildersDenied, true, true, []),
        (.buildersAudited, false, true, ["would-deny unmanaged-builder"]), (.buildersAudited, true, true, []),
        (.enforce, false, true, []), (.audit, false, true, []), (.disabled, false, true, []),
        (.unmanaged, false, true, []), (.unavailable, false, true, []),
    ])
    func `a builder under a policy`(
        _ state: State,
        _ isManaged: Bool,
        _ isAllowed: Bool,
        _ recorded: [String]
    ) throws {
        try withTemporaryDirectory { (directory) throws in
            let secret = try ProxySecret.readOrMake(InstallationPaths(root: directory), of: .builders)
            let proxy = BuilderProxy(secret: secret, listen: "127.0.0.1:7260")
            let environment = BuilderContainer.environment(through: isManaged ? proxy.url.text : "http://x.test:1")
            let call = Self.containerCreation([
                JSONMember("Image", .string("moby/buildkit:buildx-stable-1")),
                JSONMember("Env", .array(environment.map { .string("\($0.name)=\($0.value)") })),
                JSONMember("HostConfig", .object([JSONMember("NetworkMode", .string("host"))])),
            ])
            let decision = try decide(call, state, proxy)
            #expect(decision.records.map { "\($0.verdict.rawValue) \($0.reason.rawValue)" } == recorded)
            #expect(decision.records.allSatisfy { $0.image == "moby/buildkit:buildx-stable-1" && $0.registry == nil })
            guard case .refuse(let sentence) = decision.answer else {
                #expect(isAllowed)
                return
            }
            #expect(!isAllowed)
            #expect(
                sentence == "Your organization has disallowed builders outside its egress proxy: "
                    + "moby/buildkit:buildx-stable-1 (acme, policy 7, 7f3a9c). Run: docker ram engine builder NAME. "
                    + "Ask platform@acme.test for access."
            )
            // A docker-ramd that knows no secret for builders lets none pass.
            #expect(try decide(call, state, nil).answer == decision.answer)
        }
    }

    @Test(arguments: State.allCases)
    func `a container whose description is hidden is refused only where builders are`(_ state: State) throws {
        let hidden = Array(
            #"{"RequestMethod":"POST","RequestUri":"/containers/create","RequestHeaders":{"Content-Type":"application/json"}}"#
                .utf8
        )
        let decision = try decide(hidden, state)
        #expect((decision.answer == .allow) == (state != .buildersDenied))
        #expect(decision.records.map(\.obstacle).count == (state.rawValue.hasPrefix("builders") ? 1 : 0))
        let ordinary = Self.containerCreation([JSONMember("Image", .string("alpine"))], name: "x")
        #expect(try decide(ordinary, state).answer == .allow)
    }

    @Test(
        arguments: [
            ("/auth", #"{"serveraddress":"ram.acme.test:8443"}"#, true),
            ("/auth", #"{"serveraddress":"https://ram.acme.test:8443/v2/"}"#, true),
            ("/auth", #"{"serveraddress":"ram.acme.test"}"#, false),
            ("/auth", #"{"serveraddress":"evil.test"}"#, false),
            ("/images/create?fromImage=ram.acme.test:8443/x", "", false),
        ],
        [State.enforce, .unavailable]
    )
    func `people may sign in with the organization's server, and with no other`(
        call: (String, String, Bool),
        state: State
    ) throws {
        let request = JSONValue.object([
            JSONMember("RequestMethod", .string("POST")), JSONMember("RequestUri", .string(call.0)),
            JSONMember("RequestHeaders", .object([JSONMember("Content-Type", .string("application/json"))])),
            JSONMember("RequestBody", .string(Data(call.1.utf8).base64EncodedString())),
        ])
        let decision = try decide(
            Array(request.text().utf8),
            state,
            servers: [try ServerURL("https://ram.acme.test:8443")]
        )
        #expect((decision.answer == .allow) == call.2)
        if call.2 { #expect(decision.records.map(\.reason) == [.organizationServer]) }
    }

    private static func containerCreation(_ members: [JSONMember], name: String = "buildx_buildkit_x0") -> [UInt8] {
        let call = JSONValue.object([
            JSONMember("RequestMethod", .string("POST")),
            JSONMember("RequestUri", .string("/v1.47/containers/create?name=\(name)")),
            JSONMember("RequestHeaders", .object([JSONMember("Content-Type", .string("application/json"))])),
            JSONMember("RequestBody", .string(Data(JSONValue.object(members).text().utf8).base64EncodedString())),
        ])
        return Array(call.text().utf8)
    }

    private func decide(
        _ call: [UInt8],
        _ state: State,
        _ builderProxy: BuilderProxy? = nil,
        servers: [ServerURL] = []
    ) throws -> AuthorizationDecision {
        var generator = FixedGenerator(value: 0x7F3A9C)
        return AuthorizationDecision(
            onCall: .success(call),
            from: nil,
            under: try state.policy(),
            servers: servers,
            builderProxy: builderProxy,
            id: DecisionID(using: &generator),
            at: UTCTime(milliseconds: 0)
        )
    }
}

/// Makes the decision's name one that is known beforehand.
private struct FixedGenerator: RandomNumberGenerator {
    let value: UInt64
    // `UInt32.random(in: 0..<(1 << 24))` multiplies 32 bits of it by the size of the range and takes the upper half.
    mutating func next() -> UInt64 { value << 8 | 0x80 }
}
