@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import NIOCore
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
}
