@testable import EnforcementDaemon
import RegistryAccess
import Testing

/// The opening of a tunnel as a table of what happens and what is then done.
struct TunnelOpeningTests {
    enum Event: Sendable {
        case dialed
        case failed
        case received([UInt8])
        case judged(Bool)
        case ended
        case timer
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let events: [Event]
        /// What the last event leads to.
        let actions: [TunnelOpening.Action]
        var testDescription: String { name }
    }

    static let hello = ClientHelloTests.hello()

    static let rows: [Row] = [
        Row(name: "reached", events: [.dialed], actions: [.answer, .startTimer]),
        Row(name: "not reached", events: [.failed], actions: [.fail(.notFound("gone"))]),
        Row(name: "reached too late", events: [.timer, .dialed], actions: []),
        Row(name: "not reached in time", events: [.timer], actions: [.fail(.timeout)]),
        Row(
            name: "a whole beginning",
            events: [.dialed, .received(hello)],
            actions: [.judge(.hello(serverName: "origin.test"))]
        ),
        Row(
            name: "a beginning in two parts",
            events: [.dialed, .received(Array(hello.prefix(9))), .received(Array(hello.dropFirst(9)))],
            actions: [.judge(.hello(serverName: "origin.test"))]
        ),
        Row(name: "half a beginning", events: [.dialed, .received(Array(hello.prefix(20)))], actions: []),
        Row(
            name: "half a beginning, and no more in time",
            events: [.dialed, .received(Array(hello.prefix(20))), .timer],
            actions: [.close(alert: false)]
        ),
        Row(
            name: "a client that does not wait",
            events: [.received(hello), .dialed],
            actions: [.answer, .startTimer, .judge(.hello(serverName: "origin.test"))]
        ),
        Row(
            name: "a client that does not wait and sends without end",
            events: [.received(Array(repeating: 22, count: ClientHello.longest + 1))],
            actions: [.close(alert: false)]
        ),
        Row(name: "accepted", events: [.dialed, .received(hello), .judged(true)], actions: [.join(hello)]),
        Row(name: "refused", events: [.dialed, .received(hello), .judged(false)], actions: [.close(alert: true)]),
        Row(
            name: "refused for not being TLS",
            events: [.dialed, .received(Array("GET /".utf8)), .judged(false)],
            actions: [.close(alert: false)]
        ),
        Row(name: "gone while it is listened to", events: [.dialed, .ended], actions: [.close(alert: false)]),
        Row(name: "gone for good", events: [.dialed, .ended, .received(hello), .timer, .ended], actions: []),
        Row(name: "judged after the end", events: [.dialed, .received(hello), .ended, .judged(true)], actions: []),
    ]

    @Test("what happens and what is done", arguments: rows)
    func row(row: Row) {
        var opening = TunnelOpening()
        var actions: [TunnelOpening.Action] = []
        for event in row.events {
            actions =
                switch event {
                case .dialed: opening.dialed()
                case .failed: opening.failed(.notFound("gone"))
                case .received(let bytes): opening.received(bytes)
                case .judged(let mayPass): opening.judged(mayPass: mayPass)
                case .ended: opening.ended()
                case .timer: opening.timerExpired()
                }
        }
        #expect(actions == row.actions)
    }

    @Test(
        "whom a session is for",
        arguments: [
            ("ghcr.io:443", ClientHello.hello(serverName: "ghcr.io"), false, nil),
            ("GHCR.io:443", .hello(serverName: "ghcr.io"), false, nil),
            ("ghcr.io:443", .hello(serverName: "evil.test"), false, .serverName),
            ("ghcr.io:443", .hello(serverName: "ghcr.io."), false, .serverName),
            ("ghcr.io:443", .hello(serverName: nil), false, .serverName),
            ("registry-1.docker.io:443", .hello(serverName: "registry-1.docker.io"), false, nil),
            ("registry-1.docker.io:443", .hello(serverName: "docker.io"), false, .serverName),
            ("10.0.0.1:443", .hello(serverName: nil), false, nil),
            ("10.0.0.1:443", .hello(serverName: "10.0.0.1"), false, nil),
            ("10.0.0.1:443", .hello(serverName: "evil.test"), false, .serverName),
            ("ghcr.io:443", .notTLS, false, .notTLS), ("ghcr.io:443", .malformed, false, .notTLS),
            // Plain HTTP may be spoken there; but TLS is to be for the right host.
            ("ghcr.io:80", .notTLS, true, nil), ("ghcr.io:80", .hello(serverName: "evil.test"), true, .serverName),
        ] as [(String, ClientHello, Bool, Verdict.Reason?)]
    )
    func judgement(authority: String, hello: ClientHello, mayBePlain: Bool, reason: Verdict.Reason?) throws {
        let target = try EgressTarget(authority: authority)
        #expect(ConnectHandler.reason(toRefuse: hello, target, mayBePlain: mayBePlain) == reason)
    }
}
