@testable import EnforcementDaemon
import Foundation
import Glibc
import LocalInstallation
import NIOCore
import RegistryAccess
import TestSupport
import Testing

/// The egress proxy between clients and servers that mean it no good.
struct EgressProxyHostileTests {
    /// A request over plain HTTP.
    private static func request(
        _ method: String,
        _ port: Int,
        _ running: RunningProxy,
        _ headers: String = "",
        version: String = "1.1"
    ) -> String {
        let host = "plain.test:\(port)"
        return "\(method) http://\(host)/ HTTP/\(version)\r\nHost: \(host)\r\n\(running.authorization)\(headers)\r\n"
    }

    // MARK: - Truncation

    @Test("a response that breaks while the request is still sent is not taken for a whole one")
    func breaksWhileUploading() async throws {
        try await LoopbackServer.with({ server in
            _ = server.read { $0.count > 100_000 }
            server.send("HTTP/1.1 200 OK\r\n\r\nhalf of it")
            Thread.sleep(forTimeInterval: 0.02)
            server.breakOnClose()
        }) { origin in
            try await RunningProxy.with { running in
                for _ in 0..<25 {
                    let got = try await onThread {
                        let client = try SocketClient(port: running.port)
                        client.send(Self.request("POST", origin.port, running, "Content-Length: 1000000000\r\n"))
                        let block = [UInt8](repeating: 1, count: 10_000)
                        for _ in 0..<400 where !client.send(block, within: 1) { break }
                        return String(decoding: client.read(for: 5), as: UTF8.self)
                    }
                    #expect(!got.hasSuffix("\r\n0\r\n\r\n"))
                }
            }
        }
    }

    @Test("a response whose end is that of the connection does not end in order before it is whole")
    func cutWithoutChunks() async throws {
        try await LoopbackServer.with({ server in
            _ = server.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
            server.send("HTTP/1.1 200 OK\r\n\r\nhalf of it")
            _ = server.read()
        }) { origin in
            for cut in 0..<2 {
                try await RunningProxy.with(adjust: { if cut == 0 { $0.idle = .milliseconds(300) } }) { running in
                    let client = try await onThread {
                        let client = try SocketClient(port: running.port)
                        client.send(Self.request("GET", origin.port, running, version: "1.0"))
                        _ = client.read { $0.suffix(10).elementsEqual("half of it".utf8) }
                        return client
                    }
                    if cut == 1 {
                        try running.replacePolicy(
                            with: RunningProxy.policy(#", {"address": "plain.test:*", "allowed": false}"#)
                        )
                        running.proxy.reconsider()
                    }
                    #expect(try await onThread { client.endsInOrder() } == false)
                }
            }
        }
    }

    @Test("a slow client that has ended its side gets all of a download")
    func slowHalfClosed() async throws {
        let hello = ClientHelloTests.hello()
        let length = 24 << 20
        try await LoopbackServer.with({ server in
            _ = server.read()
            server.send([UInt8](repeating: 1, count: length))
        }) { origin in
            try await RunningProxy.with { running in
                let got = try await onThread {
                    let client = try SocketClient(port: running.port, window: 4096)
                    client.send(running.connect("origin.test:\(origin.port)"))
                    _ = client.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
                    client.send(hello)
                    client.endSending()
                    Thread.sleep(forTimeInterval: 1)
                    return client.read().count
                }
                #expect(got == length)
            }
        }
    }

    // MARK: - Memory

    @Test("what a proxy behind us says in another protocol is not kept")
    func endlessUpstream() async throws {
        try await LoopbackServer.with({ proxy in
            _ = proxy.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
            proxy.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            let block = [UInt8](repeating: 1, count: 1 << 20)
            for _ in 0..<512 where !proxy.send(block) { break }
        }) { upstream in
            var settings = DaemonSettings.EgressProxy()
            settings.upstream = try UpstreamProxy(url: Secret("http://127.0.0.1:\(upstream.port)"))
            try await RunningProxy.with(settings: settings, adjust: { $0.connect = .seconds(20) }) { running in
                let before = try residentMegabytes()
                let answer = try await running.exchange(running.connect("origin.test:443"))
                #expect(answer.hasPrefix("HTTP/1.1 502 "), "\(answer)")
                #expect(try residentMegabytes() - before < 256)
            }
        }
    }

    // MARK: - Too many

    @Test("as many wait to be accepted as the socket was made for")
    func queue() async throws {
        try await RunningProxy.with { running in
            var info = tcp_info()
            var length = socklen_t(MemoryLayout<tcp_info>.size)
            #expect(getsockopt(running.descriptor, CInt(IPPROTO_TCP), TCP_INFO, &info, &length) == 0)
            // Of a socket that listens, these are how many wait and how many may.
            let most = try String(contentsOfFile: "/proc/sys/net/core/somaxconn", encoding: .utf8)
            let system = try #require(UInt32(most.trimmingCharacters(in: .whitespacesAndNewlines)))
            #expect(info.tcpi_sacked == min(system, UInt32(ListeningSocket.longestQueue)))
        }
    }

    @Test(
        "connections leave files for everything else",
        arguments: [(16_384, 65_536, 16_384), (60_000, 65_536, 32_512), (16_384, 1024, 256), (16_384, 64, 16)]
    )
    func openFiles(asked: Int, files: Int, given: Int) {
        var settings = DaemonSettings.EgressProxy()
        settings.connections = asked
        #expect(ProxyLimits(settings, openFiles: files).connections == given)
    }

    @Test("there are no more connections at a time than may be, whoever comes and goes")
    func limit() async throws {
        var settings = DaemonSettings.EgressProxy()
        settings.connections = 16
        try await LoopbackServer.with({ _ = $0.read() }) { origin in
            try await RunningProxy.with(settings: settings) { running in
                let hello = ClientHelloTests.hello()
                let head = Array(running.connect("origin.test:\(origin.port)").utf8)
                var clients = try await onThread {
                    try (0..<100).map { _ in
                        let client = try SocketClient(port: running.port)
                        client.send(head + hello)
                        return client
                    }
                }
                #expect(await eventually { running.proxy.openConnections >= 16 })
                for _ in 0..<40 {
                    // Those that are open are among the first.
                    clients.removeFirst()
                    try await Task.sleep(for: .milliseconds(20))
                    // One read of the socket accepts up to 16.
                    #expect(running.proxy.openConnections < 32)
                }
            }
        }
    }

    @Test("strangers that say nothing do not keep the engine waiting")
    func strangersTakeAll() async throws {
        var settings = DaemonSettings.EgressProxy()
        settings.connections = 16
        try await RunningProxy.with(settings: settings) { running in
            let strangers = try await onThread { try (0..<64).map { _ in try SocketClient(port: running.port) } }
            let answer = try await running.exchange(running.connect("evil.test:443"), for: 20)
            #expect(answer.hasPrefix("HTTP/1.1 403 "), "\(answer)")
            withExtendedLifetime(strangers) {}
        }
    }
}

/// The memory of this process.
private func residentMegabytes() throws -> Int {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
    return Int(line.filter(\.isNumber)).map { $0 >> 10 } ?? 0
}
