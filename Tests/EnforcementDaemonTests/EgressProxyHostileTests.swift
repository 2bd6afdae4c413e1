@testable import EnforcementDaemon
import Foundation
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
}

/// The memory of this process.
private func residentMegabytes() throws -> Int {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
    return Int(line.filter(\.isNumber)).map { $0 >> 10 } ?? 0
}
