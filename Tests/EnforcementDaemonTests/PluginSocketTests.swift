@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

/// The authorization plugin byte for byte over its socket.
struct PluginSocketTests {
    private static let request = "/AuthZPlugin.AuthZReq"
    private static let allow = #"{"Allow":true}"#

    @Test
    func `the engine's own calls`() async throws {
        try await RunningDaemon.with { daemon in
            let activation = try #require(try await daemon.call("/Plugin.Activate", []))
            #expect(activation.status == 200)
            #expect(activation.body == #"{"Implements":["authz"]}"#)
            #expect(activation.headers["content-type"] == "application/vnd.docker.plugins.v1.1+json")
            #expect(activation.headers["connection"] == nil)

            let allowed = try #require(try await daemon.call(Self.request, pull("alpine")))
            #expect(allowed.status == 200 && allowed.body == Self.allow)
            let refused = try #require(try await daemon.call(Self.request, pull("evil.test/x")))
            #expect(refused.status == 200)
            #expect(
                refused.body.hasPrefix(
                    #"{"Allow":false,"Msg":"Your organization has disallowed this registry: evil.test (acme, policy 7, "#
                )
            )
            #expect(refused.body.hasSuffix(#"). Ask platform@acme.test for access."}"#))
            #expect(refused.headers["content-type"] == "application/vnd.docker.plugins.v1.1+json")
            let response = try #require(try await daemon.call("/AuthZPlugin.AuthZRes", Array("{broken".utf8)))
            #expect(response.status == 200 && response.body == Self.allow)
        }
    }

    @Test(arguments: PluginCallTests.malformed.map(\.0) + [String(repeating: "x", count: 5_000_000)])
    func `a malformed call is refused`(_ body: String) async throws {
        try await RunningDaemon.with(policy: nil) { daemon in
            let answer = try #require(try await daemon.call(Self.request, Array(body.utf8)))
            #expect(answer.status == 200)
            #expect(answer.body.hasPrefix(#"{"Allow":false,"Msg":"This request could not be inspected: "#))
        }
    }

    @Test
    func `the largest body that an engine passes on is read`() async throws {
        let padding = String(repeating: "A", count: 5_592_404)
        let call = """
            {"RequestMethod":"POST","RequestUri":"/containers/create","RequestBody":"\(padding)",\
            "RequestHeaders":{"Content-Type":"application/json"}}
            """
        try await RunningDaemon.with(policy: nil) { daemon in
            let answer = try await daemon.call(Self.request, Array(call.utf8))
            #expect(answer?.body == Self.allow)
        }
    }

    @Test
    func `a call of more than 8 MiB is refused, and the connection ends`() async throws {
        try await RunningDaemon.with { daemon in
            let socket = daemon.paths.pluginSocket
            try await onThread {
                let client = try SocketClient(socket)
                let body = Array(#"{"RequestMethod":"GET","RequestUri":"/_ping"}"#.utf8)
                client.send(RunningDaemon.post(Self.request, body + [UInt8](repeating: 0x20, count: 8 << 20)))
                let answer = try #require(client.readAnswer())
                #expect(answer.body.contains("more than 8 MiB"))
                #expect(answer.headers["connection"] == "close")
                #expect(client.isClosed(within: 30))
            }
            #expect(try await daemon.status().authorizationPlugin.refused == 1)
        }
    }

    /// Raw bytes, and the statuses and bodies of the answers; the connection ends behind those marked so.
    static let exchanges: [(name: String, bytes: String, statuses: [Int], closes: Bool)] = {
        let ping = #"{"RequestMethod":"GET","RequestUri":"/_ping"}"#
        let size = ping.utf8.count
        let post = "POST \(request) HTTP/1.1\r\nHost: x\r\nContent-Length: \(size)\r\n\r\n\(ping)"
        func http(_ head: String, _ body: String = "") -> String {
            head.replacingOccurrences(of: "\n", with: "\r\n") + "\r\n\r\n" + body
        }
        return [
            ("pipelined", post + post + post, [200, 200, 200], false),
            ("HTTP/1.0", http("POST \(request) HTTP/1.0\nContent-Length: \(size)", ping), [200], true),
            (
                "HTTP/1.0 that asks to keep",
                http("POST \(request) HTTP/1.0\nConnection: keep-alive\nContent-Length: \(size)", ping), [200], true
            ),
            (
                "Connection: close",
                http("POST \(request) HTTP/1.1\nHost: x\nConnection: close\nContent-Length: \(size)", ping), [200], true
            ),
            ("no Host", http("POST \(request) HTTP/1.1\nContent-Length: \(size)", ping), [200], false),
            ("an empty Host", http("POST \(request) HTTP/1.1\nHost:\nContent-Length: \(size)", ping), [200], false),
            (
                "Docker's newer Host",
                http("POST \(request) HTTP/1.1\nHost: plugin.moby.localhost\nContent-Length: \(size)", ping), [200],
                false
            ),
            (
                "chunked",
                http(
                    "POST \(request) HTTP/1.1\nHost: x\nTransfer-Encoding: chunked",
                    "\(String(size, radix: 16))\r\n\(ping)\r\n0\r\n\r\n"
                ), [200], false
            ),
            ("GET", http("GET \(request) HTTP/1.1\nHost: x"), [405], false),
            ("PUT with a body", http("PUT \(request) HTTP/1.1\nHost: x\nContent-Length: 3", "abc"), [405], false),
            (
                "another path", http("POST /NetworkDriver.Join HTTP/1.1\nHost: x\nContent-Length: 3", "abc"), [404],
                false
            ),
            ("a good call behind a bad one", http("GET / HTTP/1.1\nHost: x") + post, [404, 200], false),
            (
                "two lengths", http("POST \(request) HTTP/1.1\nContent-Length: \(size)\nContent-Length: 0", ping),
                [400], true
            ),
            (
                "length and chunks",
                http("POST \(request) HTTP/1.1\nContent-Length: \(size)\nTransfer-Encoding: chunked", ping), [400], true
            ),
            ("a length that is none", http("POST \(request) HTTP/1.1\nContent-Length: x", ping), [400], true),
            (
                "a header that is folded", http("POST \(request) HTTP/1.1\nA: b\n c\nContent-Length: \(size)", ping),
                [400], true
            ),
            ("no HTTP", "hello\r\n\r\n", [400], true),
            ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400], true),
            ("a long header", http("POST \(request) HTTP/1.1\nA: \(String(repeating: "a", count: 9000))"), [400], true),
            ("a long path", http("POST /\(String(repeating: "a", count: 9000)) HTTP/1.1"), [400], true),
            ("many headers", http("POST \(request) HTTP/1.1" + String(repeating: "\nA: b", count: 100)), [400], true),
        ]
    }()

    @Test(arguments: exchanges)
    func exchange(_ exchange: (name: String, bytes: String, statuses: [Int], closes: Bool)) async throws {
        try await RunningDaemon.with { daemon in
            let socket = daemon.paths.pluginSocket
            try await onThread {
                let client = try SocketClient(socket)
                client.send(exchange.bytes)
                let bytes = client.read { HTTPAnswer.all(in: $0).count >= exchange.statuses.count }
                let answers = HTTPAnswer.all(in: bytes)
                #expect(answers.map(\.status) == exchange.statuses, "\(exchange.name)")
                for answer in answers where answer.status == 200 { #expect(answer.body == Self.allow) }
                #expect(client.isClosed(within: exchange.closes ? 30 : 0.05) == exchange.closes, "\(exchange.name)")
            }
        }
    }

    @Test
    func `headers that repeat are not read in two ways`() async throws {
        // The engine hands on one value for each header, so a call with two is not from it.
        let call =
            #"{"RequestMethod":"POST","RequestUri":"/images/create?fromImage=alpine","#
            + #""RequestHeaders":{"Content-Type":"text/plain","content-type":"application/x-www-form-urlencoded"}}"#
        try await RunningDaemon.with { daemon in
            let answer = try await daemon.call(Self.request, Array(call.utf8))
            #expect(answer?.body.contains("not JSON") == true)
        }
    }

    @Test(arguments: ["", "POST /AuthZ", "POST /AuthZPlugin.AuthZReq HTTP/1.1\r\nContent-Length: 90\r\n"])
    func `a head that does not end is not waited for`(_ beginning: String) async throws {
        var limits = RunningDaemon.patientPlugin
        limits.call = .milliseconds(300)
        try await RunningDaemon.with(pluginLimits: limits) { daemon in
            let socket = daemon.paths.pluginSocket
            try await onThread {
                let client = try SocketClient(socket)
                client.send(beginning)
                // A byte now and then does not help. A connection that has sent nothing may rest.
                for _ in 0..<4 where !beginning.isEmpty {
                    usleep(50_000)
                    client.send("x")
                }
                #expect(client.isClosed(within: beginning.isEmpty ? 0.6 : 30) == !beginning.isEmpty)
            }
        }
    }

    @Test
    func `a body that trickles is answered with a fault at the deadline`() async throws {
        var limits = RunningDaemon.patientPlugin
        limits.call = .milliseconds(300)
        try await RunningDaemon.with(pluginLimits: limits) { daemon in
            let socket = daemon.paths.pluginSocket
            try await onThread {
                let client = try SocketClient(socket)
                client.send("POST \(Self.request) HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
                let start = Date()
                for _ in 0..<5 {
                    usleep(50_000)
                    client.send("{")
                }
                let answer = try #require(client.readAnswer())
                #expect((0.2...10).contains(Date().timeIntervalSince(start)))
                #expect(answer.status == 500)
                #expect(answer.body == #"{"Err":"docker-ram could not decide in time; try again"}"#)
                #expect(client.isClosed(within: 30))
            }
            // Nothing was decided, so nothing was counted.
            #expect(try await daemon.status().authorizationPlugin.requests == 0)
        }
    }

    @Test
    func `a large call whose deadline has passed in the queue is not decided any more`() async throws {
        try await withTemporaryDirectory { root in
            let socket = "\(root)/plugin.sock"
            let queue = Queue()
            let unmanaged = PolicySnapshot(inForce: .unmanaged, loadedAt: UTCTime.now())
            let plugin = AuthorizationPlugin(policy: CurrentPolicy(unmanaged), log: DecisionQueue()) {
                queue.decisions.add(1, ordering: .relaxed)
                return UTCTime.now()
            }
            var limits = PluginLimits()
            limits.call = .milliseconds(200)
            let server = try await AuthorizationPluginServer.start(
                on: ListeningSocket.open(at: socket, mode: 0o600).descriptor,
                plugin: plugin,
                limits: limits,
                group: MultiThreadedEventLoopGroup.singleton
            )
            // However many threads decide on large calls, all have something else to do.
            for _ in 0..<64 {
                NIOThreadPool.singleton.submit { _ in
                    while !queue.isFree.load(ordering: .relaxed) { usleep(1000) }
                }
            }
            let call =
                Array(#"{"RequestMethod":"GET","RequestUri":"/_ping","X":""#.utf8)
                + [UInt8](repeating: 0x78, count: limits.largestInlineCall) + Array(#""}"#.utf8)
            let answer = try await onThread {
                let client = try SocketClient(socket)
                client.send(RunningDaemon.post(Self.request, call))
                return client.readAnswer()
            }
            queue.isFree.store(true, ordering: .relaxed)
            #expect(answer?.status == 500)
            // Behind the call in the queue; a decision that was begun has had its time.
            for _ in 0..<20 { try await NIOThreadPool.singleton.runIfActive { _ = usleep(10_000) } }
            #expect(queue.decisions.load(ordering: .relaxed) == 0)
            await server.stop()
        }
    }

    @Test
    func `a connection that rests too long is closed`() async throws {
        var limits = RunningDaemon.patientPlugin
        limits.rest = .seconds(1)
        try await RunningDaemon.with(pluginLimits: limits) { daemon in
            let socket = daemon.paths.pluginSocket
            try await onThread {
                let client = try SocketClient(socket)
                client.send(RunningDaemon.post(Self.request, pull("alpine")))
                #expect(client.readAnswer()?.body == Self.allow)
                #expect(client.isClosed(within: 30))
            }
        }
    }

    @Test
    func `more connections than there may be wait for their turn`() async throws {
        var limits = RunningDaemon.patientPlugin
        limits.connections = 4
        try await RunningDaemon.with(pluginLimits: limits) { daemon in
            let socket = daemon.paths.pluginSocket
            // The limit can be passed by what one wake-up accepts.
            let idle = try await onThread { try (0..<32).map { _ in try SocketClient(socket) } }
            let late = try await onThread {
                let late = try SocketClient(socket)
                late.send(RunningDaemon.post(Self.request, pull("alpine")))
                #expect(late.read(for: 0.3) { !$0.isEmpty }.isEmpty)
                return late
            }
            for client in idle { client.endSending() }
            #expect(try await onThread { late.readAnswer()?.body } == Self.allow)
        }
    }

    @Test
    func `a caller that takes no answers is cut off`() async throws {
        try await RunningDaemon.with { daemon in
            let socket = daemon.paths.pluginSocket
            let isCutOff = try await onThread {
                let client = try SocketClient(socket)
                let calls = (0..<500).flatMap { _ in RunningDaemon.post("/Plugin.Activate", []) }
                for _ in 0..<200 where !client.send(calls, within: 10) { return true }
                return false
            }
            #expect(isCutOff)
        }
    }

    @Test
    func `random bytes never allow anything`() async throws {
        try await RunningDaemon.with { daemon in
            let socket = daemon.paths.pluginSocket
            try await onThread {
                var random = SeededGenerator(seed: 20_26)
                let good = pull("evil.test/x")
                for round in 0..<600 {
                    let client = try SocketClient(socket)
                    var body = good
                    switch round % 3 {
                    case 0:
                        // Noise as a call.
                        body = (0..<Int.random(in: 0..<200, using: &random)).map { _ in
                            UInt8.random(in: .min ... .max, using: &random)
                        }
                    case 1:
                        // A refused pull with a few bytes broken, none of them in the image.
                        let image = body.firstRange(of: Array("evil.test/x".utf8)) ?? 0..<0
                        for _ in 0..<Int.random(in: 1..<5, using: &random) {
                            let index = Int.random(in: 0..<body.count, using: &random)
                            if !(45..<image.upperBound).contains(index) {
                                body[index] = UInt8.random(in: .min ... .max, using: &random)
                            }
                        }
                        // Another method or path of the engine may touch no registry, and then rightly passes.
                        guard body.starts(with: good[..<45]) else { continue }
                    default:
                        // A refused pull that is cut.
                        body = Array(body[..<Int.random(in: 0..<body.count, using: &random)])
                    }
                    client.send(RunningDaemon.post(Self.request, body))
                    let answer = client.readAnswer()
                    #expect(answer?.body.contains("true") == false, "round \(round)")
                }
                // And noise in the place of HTTP.
                for _ in 0..<200 {
                    let client = try SocketClient(socket)
                    client.send(
                        (0..<Int.random(in: 1..<300, using: &random)).map { _ in
                            UInt8.random(in: .min ... .max, using: &random)
                        }
                    )
                    client.endSending()
                    #expect(!String(decoding: client.read(), as: UTF8.self).contains("true"))
                }
            }
            #expect(try await daemon.isAllowed("GET", "/_ping") == true)
        }
    }

    @Test
    func `stopping lets a call in flight end and closes what rests`() async throws {
        var limits = RunningDaemon.patientPlugin
        limits.call = .seconds(30)
        try await RunningDaemon.with(pluginLimits: limits) { daemon in
            let socket = daemon.paths.pluginSocket
            let call = RunningDaemon.post(Self.request, pull("evil.test/x"))
            let (resting, calling) = try await onThread {
                let clients = (try SocketClient(socket), try SocketClient(socket))
                // What comes in one piece is read in one piece: with the answer to the first call, the head of the
                // second has been read.
                clients.1.send(RunningDaemon.post("/Plugin.Activate", []) + call[..<120])
                #expect(clients.1.readAnswer()?.status == 200)
                clients.0.send(RunningDaemon.post("/Plugin.Activate", []))
                #expect(clients.0.readAnswer()?.status == 200)
                return clients
            }
            daemon.orders.yield(.stop)
            try await onThread {
                #expect(resting.isClosed(within: 30))
                calling.send(call[120...])
                let answer = calling.readAnswer()
                #expect(answer?.body.hasPrefix(#"{"Allow":false"#) == true)
                #expect(calling.isClosed(within: 30))
                #expect(throws: SocketFault.self) { try SocketClient(socket) }
            }
        }
    }
}

/// What happens to the queue of large calls.
private final class Queue: Sendable {
    let decisions = Atomic(0)
    let isFree = Atomic(false)
}
