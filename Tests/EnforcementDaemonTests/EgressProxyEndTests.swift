@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import NIOCore
import NIOPosix
import RegistryAccess
import TestSupport
import Testing

/// How connections through the egress proxy end, when the sides do not do what is expected of them.
struct EgressProxyEndTests {
    // MARK: - What is sent behind the last answer

    @Test(
        "what comes behind an answer is not kept",
        arguments: [
            "CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        ]
    )
    func flood(request: String) async throws {
        try await RunningProxy.with(adjust: { $0.farewell = .seconds(60) }) { running in
            let before = try Self.residentMegabytes()
            let client = try await onThread {
                let client = try SocketClient(port: running.port)
                client.send(request)
                let block = [UInt8](repeating: 1, count: 1 << 20)
                for _ in 0..<512 where !client.send(block) { break }
                return client
            }
            #expect(try Self.residentMegabytes() - before < 256)
            withExtendedLifetime(client) {}
        }
    }

    private static func residentMegabytes() throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
        return Int(line.filter(\.isNumber)).map { $0 >> 10 } ?? 0
    }

    // MARK: - Slow and stuck sides

    @Test("a client that is slow to take a response gets all of it")
    func slowClient() async throws {
        // Some of these are so long that the kernel's buffers do not hold them and so short that the proxy has all.
        let lengths = (1...32).map { $0 << 17 }
        try await LoopbackServer.with({ server in
            let head = String(decoding: server.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }, as: UTF8.self)
            let length = head.firstMatch(of: #/GET /([0-9]+) /#).flatMap { Int($0.1) } ?? 0
            server.send("HTTP/1.1 200 OK\r\nContent-Length: \(length)\r\n\r\n")
            server.send([UInt8](repeating: 1, count: length))
        }) { origin in
            try await RunningProxy.with(adjust: { $0.farewell = .milliseconds(200) }) { running in
                let host = "plain.test:\(origin.port)"
                let clients = try await onThread {
                    try lengths.map { length in
                        let client = try SocketClient(port: running.port, window: 4096)
                        client.send(
                            "GET http://\(host)/\(length) HTTP/1.1\r\nHost: \(host)\r\n\(running.authorization)\r\n"
                        )
                        return client
                    }
                }
                try await Task.sleep(for: .seconds(2))
                for (length, client) in zip(lengths, clients) {
                    let answer = try await onThread { HTTPAnswer(client.read()) }
                    #expect(answer?.body.utf8.count == length)
                }
            }
        }
    }

    @Test("a destination that takes nothing does not keep a connection whose client is gone")
    func stuckOrigin() async throws {
        let recording = Recording()
        let hello = ClientHelloTests.hello()
        try await LoopbackServer.with({ server in
            _ = server.read { $0.count >= hello.count }
            Thread.sleep(forTimeInterval: 3)
            // What it still says is no reason to keep it.
            for _ in 0..<300 {
                guard server.send([1], within: 1) else { return recording.add(Array("closed".utf8)) }
                Thread.sleep(forTimeInterval: 0.05)
            }
            recording.add(Array("open".utf8))
        }) { origin in
            try await RunningProxy.with(adjust: { $0.idle = .milliseconds(500) }) { running in
                try await onThread {
                    let client = try #require(try running.tunnel("origin.test:\(origin.port)"))
                    client.send(hello)
                    // More than the buffers on the way hold.
                    let block = [UInt8](repeating: 2, count: 1 << 20)
                    for _ in 0..<64 where !client.send(block, within: 1) { break }
                }
                #expect(await eventually { !recording.all.isEmpty })
                #expect(recording.all == ["closed"])
            }
        }
    }

    @Test("an upstream proxy that says nothing is given up, with its client and when the time is over")
    func silentUpstream() async throws {
        let recording = Recording()
        try await LoopbackServer.with({ proxy in
            _ = proxy.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
            recording.add(Array("\(proxy.isClosed(within: 10))".utf8))
        }) { upstream in
            var settings = DaemonSettings.EgressProxy()
            settings.upstream = try UpstreamProxy(url: Secret("http://127.0.0.1:\(upstream.port)"))
            try await RunningProxy.with(settings: settings, adjust: { $0.connect = .milliseconds(200) }) { running in
                let answer = try await running.exchange(running.connect("origin.test:443"))
                #expect(answer.hasPrefix("HTTP/1.1 504 "), "\(answer)")
                #expect(await eventually { recording.all == ["true"] })
            }
            try await RunningProxy.with(settings: settings) { running in
                try await onThread {
                    let client = try SocketClient(port: running.port)
                    client.send(running.connect("origin.test:443"))
                    Thread.sleep(forTimeInterval: 0.5)
                }
                #expect(await eventually { recording.all == ["true", "true"] })
            }
        }
    }

    // MARK: - Breaks

    @Test("a connection that breaks on one side does not end in order on the other")
    func breaks() async throws {
        let hello = ClientHelloTests.hello()
        try await LoopbackServer.with({ server in
            _ = server.read { $0.count >= hello.count }
            server.send("half of it")
            Thread.sleep(forTimeInterval: 0.3)
            server.breakOnClose()
        }) { origin in
            try await RunningProxy.with { running in
                let inOrder = try await onThread {
                    let client = try #require(try running.tunnel("origin.test:\(origin.port)"))
                    client.send(hello)
                    return client.endsInOrder()
                }
                #expect(inOrder == false)
            }
        }
        let recording = Recording()
        try await LoopbackServer.with({ server in
            recording.add(Array("\(server.endsInOrder() == true)".utf8))
        }) { origin in
            try await RunningProxy.with { running in
                try await onThread {
                    let client = try #require(try running.tunnel("origin.test:\(origin.port)"))
                    client.send(hello)
                    Thread.sleep(forTimeInterval: 0.3)
                    client.breakOnClose()
                }
                #expect(await eventually { !recording.all.isEmpty })
                #expect(recording.all == ["false"])
            }
        }
    }

    @Test("an informational response is no answer")
    func informationalOnly() async throws {
        try await LoopbackServer.with({ server in
            _ = server.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
            server.send("HTTP/1.1 103 Early Hints\r\n\r\n")
        }) { origin in
            try await RunningProxy.with { running in
                let host = "plain.test:\(origin.port)"
                let answer = try await running.exchange(
                    "GET http://\(host)/ HTTP/1.1\r\nHost: \(host)\r\n\(running.authorization)\r\n"
                )
                #expect(answer.hasPrefix("HTTP/1.1 103 \r\n\r\nHTTP/1.1 502 "), "\(answer)")
            }
        }
    }

    @Test("a client of HTTP/1.0 is not sent chunks, and sees a body that breaks off break off")
    func oldClient() async throws {
        try await LoopbackServer.with({ server in
            let head = server.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
            let isWhole = head.starts(with: "GET /whole ".utf8)
            server.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n\(isWhole ? "0\r\n\r\n" : "")"
            )
        }) { origin in
            try await RunningProxy.with { running in
                let host = "plain.test:\(origin.port)"
                let request: @Sendable (String) -> String = {
                    "GET http://\(host)/\($0) HTTP/1.0\r\nHost: \(host)\r\n\(running.authorization)\r\n"
                }
                let answer = try await running.exchange(request("whole"))
                #expect(answer == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc")
                let inOrder = try await onThread {
                    let client = try SocketClient(port: running.port)
                    client.send(request("half"))
                    return client.endsInOrder()
                }
                #expect(inOrder == false)
            }
        }
    }

    // MARK: - Changes of the policy

    private static let denied = RunningProxy.policy(
        #", {"address": "origin.test:*", "allowed": false}, {"address": "plain.test:*", "allowed": false}"#
    )

    @Test("a change of the policy holds for a tunnel that is not open yet")
    func changeWhileOpening() async throws {
        let recording = Recording()
        try await LoopbackServer.with({ recording.add($0.read()) }) { origin in
            try await RunningProxy.with { running in
                let client = try await onThread { try #require(try running.tunnel("origin.test:\(origin.port)")) }
                try running.replacePolicy(with: Self.denied)
                running.proxy.reconsider()
                let got = try await onThread {
                    client.send(ClientHelloTests.hello())
                    return client.read()
                }
                #expect(got == [21, 3, 1, 0, 2, 2, 49])
                #expect(await running.log.take(2).map(\.verdict) == [.allow, .deny])
                #expect(await eventually { running.proxy.openConnections == 0 })
                #expect(await eventually { recording.all == [""] })
            }
        }
    }

    @Test("a change of the policy holds for a request that is not sent yet")
    func changeWhileDialing() async throws {
        let recording = Recording()
        let gate = MultiThreadedEventLoopGroup.singleton.next().makePromise(of: Void.self)
        defer { gate.succeed() }
        var names = RunningProxy.names
        names.gate = gate.futureResult
        try await LoopbackServer.with({ recording.add($0.read()) }) { origin in
            try await RunningProxy.with(names: names) { running in
                let host = "plain.test:\(origin.port)"
                let client = try await onThread {
                    let client = try SocketClient(port: running.port)
                    client.send("GET http://\(host)/ HTTP/1.1\r\nHost: \(host)\r\n\(running.authorization)\r\n")
                    return client
                }
                #expect(await eventually { running.proxy.counts.allowed == 1 })
                try running.replacePolicy(with: Self.denied)
                running.proxy.reconsider()
                gate.succeed()
                let answer = try await onThread { String(decoding: client.read(), as: UTF8.self) }
                #expect(answer.hasPrefix("HTTP/1.1 403 \(EgressProxySocketTests.sentence)\(host) "), "\(answer)")
                #expect(recording.all.allSatisfy { $0.isEmpty })
            }
        }
    }

    @Test("what goes over plain HTTP ends when the policy wants TLS there")
    func plainHTTPWithdrawn() async throws {
        try await LoopbackServer.with({ server in
            _ = server.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
            server.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
            // Until we are cut off, however long that takes on a busy machine.
            _ = server.read(for: 120)
            server.send("defghi")
        }) { origin in
            try await RunningProxy.with { running in
                let host = "plain.test:\(origin.port)"
                let client = try await onThread {
                    let client = try SocketClient(port: running.port)
                    client.send("GET http://\(host)/ HTTP/1.1\r\nHost: \(host)\r\n\(running.authorization)\r\n")
                    _ = client.read { $0.suffix(3).elementsEqual("abc".utf8) }
                    return client
                }
                try running.replacePolicy(
                    with: RunningProxy.policy().replacingOccurrences(of: #", "insecure": true"#, with: "")
                )
                running.proxy.reconsider()
                let rest = try await onThread { client.read() }
                #expect(rest.isEmpty)
            }
        }
    }

    // MARK: - Through another proxy

    @Test("an address that is written out is looked at behind another proxy, too")
    func literalThroughUpstream() async throws {
        try await LoopbackServer.with({ _ in }) { upstream in
            var settings = DaemonSettings.EgressProxy()
            settings.upstream = try UpstreamProxy(url: Secret("http://127.0.0.1:\(upstream.port)"))
            let policy = RunningProxy.policy(
                #", {"address": "**", "allowed": true, "insecure": true, "acknowledgeBroad": true}"#
            )
            try await RunningProxy.with(policy: policy, settings: settings) { running in
                for request in [
                    running.connect("169.254.169.254:80"),
                    "GET http://[fe80::1]/ HTTP/1.1\r\nHost: [fe80::1]\r\n\(running.authorization)\r\n",
                ] {
                    let answer = try await running.exchange(request)
                    #expect(answer.hasPrefix("HTTP/1.1 403 \(EgressProxySocketTests.sentence)"), "\(answer)")
                }
                #expect(upstream.connections == 0)
            }
        }
    }
}
