@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import NIOCore
import RegistryAccess
import TestSupport
import Testing

struct ControlRequestTests {
    @Test(arguments: [
        (#"{"request":"status"}"#, ControlRequest.status),
        (#" { "request" : "status" } "#, .status),
        (#"{"request":"log"}"#, .log(limit: 50, follow: false)),
        (#"{"request":"log","limit":0,"follow":true}"#, .log(limit: 0, follow: true)),
        (#"{"follow":false,"limit":10000,"request":"log"}"#, .log(limit: 10000, follow: false)),
        (#"{"request":"history"}"#, .history(since: nil, refusedOnly: false)),
        (
            #"{"request":"history","refusedOnly":true,"since":"2026-11-23T13:45:10.123Z"}"#,
            .history(since: "2026-11-23T13:45:10.123Z", refusedOnly: true)
        ),
        (
            #"{"request":"record","id":"7f3a9c","registry":"ghcr.io"}"#,
            .record(id: DecisionID("7f3a9c") ?? DecisionID(), registry: try? RegistryAddress("ghcr.io"))
        ),
        (
            #"{"request":"record","registry":null,"id":"000000"}"#,
            .record(id: DecisionID("000000") ?? DecisionID(), registry: nil)
        ),
    ])
    func `a request`(_ line: String, _ request: ControlRequest) throws {
        #expect(try ControlRequest(line: Array(line.utf8)) == request)
    }

    @Test(arguments: [
        "", "status", "{", "[]", "null", "1", #""status""#, "{}", #"{"request":null}"#, #"{"request":"stop"}"#,
        #"{"request":"Status"}"#, #"{"Request":"status"}"#, #"{"request":"status","limit":1}"#,
        #"{"request":"status","request":"log"}"#, #"{"request":"log","limit":-1}"#, #"{"request":"log","limit":10001}"#,
        #"{"request":"log","limit":1.5}"#, #"{"request":"log","limit":"5"}"#, #"{"request":"log","limit":1e3}"#,
        #"{"request":"log","limit":99999999999999999999}"#, #"{"request":"log","follow":1}"#,
        #"{"request":"history","since":"yesterday"}"#, #"{"request":"history","since":"2026-11-23 13:45:10.123Z"}"#,
        #"{"request":"history","since":1}"#, #"{"request":"history","limit":1}"#, #"{"request":"record"}"#,
        #"{"request":"record","id":"7f3a9c"}"#, #"{"request":"record","registry":"ghcr.io"}"#,
        #"{"request":"record","id":"7f3a9","registry":"ghcr.io"}"#,
        #"{"request":"record","id":"7F3A9C","registry":"ghcr.io"}"#,
        #"{"request":"record","id":"7f3a9\u212a","registry":"ghcr.io"}"#,
        #"{"request":"record","id":"7f3a9c","registry":"not an address"}"#,
        #"{"request":"record","id":"7f3a9c","registry":"ghcr.io\n"}"#,
        #"{"request":"record","id":"7f3a9c","registry":1}"#,
        #"{"request":"record","id":"7f3a9c","registry":"ghcr.io","verdict":"allow"}"#,
        #"{"request":"log","folow":true}"#, #"{"request":"log"} {"request":"log"}"#, #"[[[[[[[[1]]]]]]]]"#,
    ])
    func `what is none`(_ line: String) {
        #expect(throws: InvalidControlRequest.self) { try ControlRequest(line: Array(line.utf8)) }
    }
}

struct ControlSocketTests {
    @Test
    func `status`() async throws {
        try await RunningDaemon.with { daemon in
            _ = try await daemon.isAllowed("POST", "/images/create?fromImage=alpine")
            _ = try await daemon.isAllowed("POST", "/images/create?fromImage=evil.test/x")
            _ = try await daemon.isAllowed("GET", "/_ping")
            let status = try await daemon.status()
            #expect(status.version == ProductVersion.text)
            #expect(status.root == daemon.paths.root)
            #expect(status.policy.state == .enforce)
            #expect(status.policy.source == daemon.paths.policyFile)
            #expect(status.policy.organization == "acme")
            #expect(status.policy.policyVersion == 7)
            #expect(status.policy.rules == 2)
            #expect(status.policy.contact == "platform@acme.test")
            #expect(status.policy.problem == nil)
            #expect(status.authorizationPlugin.socket == daemon.paths.pluginSocket)
            #expect(status.authorizationPlugin.requests == 3)
            #expect(status.authorizationPlugin.allowed == 2)
            #expect(status.authorizationPlugin.refused == 1)
            #expect(status.authorizationPlugin.lastRequestAt != nil)
            #expect(status.decisionLog == DaemonStatus.DecisionLog(path: daemon.paths.decisionLog, dropped: 0))
            // What a reader of Swift's own coding makes of it is written back the same.
            let line = try await daemon.ask(#"{"request":"status"}"#)
            #expect(line == [try await daemon.status().json.text()])
        }
    }

    @Test
    func `log, oldest first and no more than wanted`() async throws {
        try await RunningDaemon.with { daemon in
            for number in 0..<5 { _ = try await daemon.isAllowed("POST", "/images/create?fromImage=r\(number).test/x") }
            #expect(try await eventually { try await daemon.records().count == 5 })
            #expect(try await daemon.records().map(\.registry) == (0..<5).map { "r\($0).test" })
            #expect(try await daemon.records(2).map(\.registry) == ["r3.test", "r4.test"])
            #expect(try await daemon.records(0).isEmpty)
        }
    }

    @Test
    func `an empty log is an empty answer`() async throws {
        try await RunningDaemon.with { daemon in
            let answer = try await daemon.ask(#"{"request":"log","limit":5}"#)
            #expect(answer.isEmpty)
        }
    }

    @Test
    func `following gives what is there and then what comes`() async throws {
        try await RunningDaemon.with { daemon in
            for number in 0..<3 { _ = try await daemon.isAllowed("POST", "/images/create?fromImage=r\(number).test/x") }
            #expect(try await eventually { try await daemon.records().count == 3 })
            let socket = daemon.paths.controlSocket
            let follower = try await onThread {
                let client = try SocketClient(socket)
                client.send(#"{"request":"log","limit":2,"follow":true}"# + "\n")
                // Some clients end their side behind the question, and want the answers all the same.
                client.endSending()
                let first = client.read { $0.count { $0 == 0x0A } == 2 }
                #expect(Self.registries(first) == ["r1.test", "r2.test"])
                return client
            }
            for number in 3..<6 { _ = try await daemon.isAllowed("POST", "/images/create?fromImage=r\(number).test/x") }
            try await onThread {
                let further = follower.read { $0.count { $0 == 0x0A } == 3 }
                #expect(Self.registries(further) == ["r3.test", "r4.test", "r5.test"])
            }
            // When docker-ramd ends, following ends.
            daemon.orders.yield(.stop)
            #expect(try await onThread { follower.isClosed(within: 30) })
        }
    }

    @Test
    func `a follower that does not read is dropped, and the others go on`() async throws {
        var limits = RunningDaemon.patientControl
        limits.waitingLines = 10
        try await RunningDaemon.with(controlLimits: limits) { daemon in
            let socket = daemon.paths.controlSocket
            let idle = try await onThread {
                let client = try SocketClient(socket)
                client.send(#"{"request":"log","limit":0,"follow":true}"# + "\n")
                usleep(200_000)
                return client
            }
            // More than the buffers of the socket and of the channel hold.
            let plugin = daemon.paths.pluginSocket
            try await onThread {
                let client = try SocketClient(plugin)
                for _ in 0..<60 {
                    let images = (0..<64).map { "\"r\($0).test/\(String(repeating: "x", count: 200))\"" }.joined(
                        separator: ","
                    )
                    let target = "/build?cachefrom=[\(images)]".replacing("\"", with: "%22")
                    let call = #"{"RequestMethod":"POST","RequestUri":"\#(target)"}"#
                    client.send(RunningDaemon.post("/AuthZPlugin.AuthZReq", Array(call.utf8)))
                    #expect(client.readAnswer()?.body.hasPrefix(#"{"Allow":false"#) == true)
                }
            }
            #expect(try await onThread { idle.isClosed(within: 30) })
            #expect(try await eventually { try await daemon.records(10_000).count == 60 * 64 })
        }
    }

    @Test(arguments: ["nonsense\n", "{}\n", #"{"request":"shutdown"}"# + "\n", "\n", #"{"request":"status""# + "\n"])
    func `anything else is answered with an error`(_ text: String) async throws {
        try await RunningDaemon.with { daemon in
            let socket = daemon.paths.controlSocket
            try await onThread {
                let client = try SocketClient(socket)
                client.send(text)
                let answer = String(decoding: client.read(), as: UTF8.self)
                #expect(answer.hasPrefix(#"{"error":""#) && answer.hasSuffix("\"}\n"))
            }
        }
    }

    @Test
    func `a line that is too long is answered with an error`() async throws {
        try await RunningDaemon.with { daemon in
            let socket = daemon.paths.controlSocket
            try await onThread {
                let client = try SocketClient(socket)
                client.send([UInt8](repeating: 0x20, count: 70_000))
                #expect(String(decoding: client.read(), as: UTF8.self).hasPrefix(#"{"error":""#))
            }
        }
    }

    @Test
    func `a question that does not come is not waited for`() async throws {
        var limits = RunningDaemon.patientControl
        limits.patience = .seconds(1)
        try await RunningDaemon.with(controlLimits: limits) { daemon in
            let socket = daemon.paths.controlSocket
            let isClosed = try await onThread { try SocketClient(socket).isClosed(within: 30) }
            #expect(isClosed)
        }
    }

    @Test
    func `too many connections are turned away`() async throws {
        var limits = RunningDaemon.patientControl
        limits.connections = 3
        try await RunningDaemon.with(controlLimits: limits) { daemon in
            let socket = daemon.paths.controlSocket
            var held = try await onThread {
                try (0..<8).map { _ in
                    let client = try SocketClient(socket)
                    client.send(#"{"request":"log","limit":0,"follow":true}"# + "\n")
                    client.endSending()
                    return client
                }
            }
            #expect(
                try await eventually {
                    try await daemon.ask(#"{"request":"status"}"#) == [#"{"error":"too many connections"}"#]
                }
            )
            // A follower that goes away is noticed although nothing is written to it.
            held.removeAll()
            #expect(await eventually { (try? await daemon.status()) != nil })
        }
    }

    @Test
    func `no number of users keeps root out`() {
        let limits = ControlServer.Limits()
        let admission = Admission(limits)
        #expect(admission.enter(0))
        let users = 1...uid_t(limits.connections / limits.connectionsOfUser)
        for user in users {
            for _ in 0..<limits.connectionsOfUser { #expect(admission.enter(user)) }
            #expect(!admission.enter(user))
        }
        #expect(!admission.enter(1000))
        for _ in 1..<limits.connections { #expect(admission.enter(0)) }
        #expect(!admission.enter(0))
        admission.leave(1)
        #expect(admission.enter(1000))
        #expect(!admission.enter(1001))
    }

    @Test
    func `one user leaves the log for others to read`() {
        let admission = Admission(ControlServer.Limits())
        #expect(admission.enterHistory(1))
        #expect(!admission.enterHistory(1))
        #expect(admission.enterHistory(2))
        #expect(!admission.enterHistory(3))
        #expect(admission.enterHistory(0) && admission.enterHistory(0))
        #expect(!admission.enterHistory(0))
        admission.leaveHistory(0)
        #expect(!admission.enterHistory(3))
        admission.leaveHistory(1)
        #expect(admission.enterHistory(3))
    }

    private static func registries(_ bytes: [UInt8]) -> [String?] {
        String(decoding: bytes, as: UTF8.self).split(separator: "\n").map {
            (try? JSONDecoder().decode(DecisionRecord.self, from: Data($0.utf8)))?.registry
        }
    }
}
