import Foundation
import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// Pulls while others hold the egress proxy busy.
    @Suite(.serialized)
    struct EgressProxyLoadTests {
        private typealias Host = PrivateNetwork.Host

        /// How many files a process may have open here; docker-ramd gets the same.
        private static var openFiles: Int {
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            limit.rlim_cur = limit.rlim_max
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            return Int(clamping: limit.rlim_max)
        }

        @Test("2,000 clients that send a byte a second of a head do not hold up pulls")
        func slowClients() async throws {
            try await PrivateDocker.behindProxy { docker, network in
                let head = Array(
                    "CONNECT registry.acme.test:443 HTTP/1.1\r\nHost: registry.acme.test:443\r\n\(try docker.engine.daemon.authorization)"
                        .utf8
                )
                let open: @Sendable () throws -> [RawConnection] = {
                    try (0..<2000).map { _ in try RawConnection(to: "127.0.0.1", port: PrivateDaemon.port) }
                }
                var clients = try network.inside(open)
                for second in 0..<12 {
                    for client in clients { client.send([head[second]]) }
                    if second.isMultiple(of: 3) {
                        _ = try await docker.engine.docker(["image", "rm", docker.allowed.image])
                        try await docker.engine.docker(["pull", docker.allowed.image]).expecting(0)
                    }
                    try await Task.sleep(for: .milliseconds(700))
                    // Those that the proxy has given up come back.
                    if second == 6 { clients = try network.inside(open) }
                }
                let refused = try await docker.engine.docker(["pull", docker.refused.image])
                #expect(PrivateDocker.isRefusal(refused.errors, of: Host.stranger.name), "\(refused)")
                // A head that does not come is not waited for.
                let (first, later) = (clients[0].readToEnd(), try network.inside(open).count)
                #expect(!String(decoding: first, as: UTF8.self).contains(" 200 "))
                #expect(later == 2000)
            }
        }

        @Test("10,000 idle tunnels do not hold up pulls")
        func idleTunnels() async throws {
            // Each tunnel takes two files of docker-ramd, which needs some for itself.
            let tunnels = min(10_000, Self.openFiles / 2 - 500)
            let policy = PrivateDocker.policy(version: 1, allowing: [Host.registry.name, Host.files.name])
            try await PrivateDocker.behindProxy(policy: policy) { docker, network in
                try await WebServer.with(in: docker.engine.root, network, [.init(.files)]) { _ in
                    let authorization = try docker.engine.daemon.authorization
                    let connect =
                        "CONNECT files.acme.test:443 HTTP/1.1\r\nHost: files.acme.test:443\r\n\(authorization)\r\n"
                    let held = try network.inside {
                        try (0..<tunnels).map { number in
                            let connection = try RawConnection(to: "127.0.0.1", port: PrivateDaemon.port)
                            connection.send(connect)
                            let answer = connection.readHead()
                            guard answer.hasPrefix("HTTP/1.1 200 ") else {
                                throw UnexpectedEnd(description: "tunnel \(number): \(answer)")
                            }
                            connection.send(ClientHello.record(serverName: "files.acme.test"))
                            guard connection.read()?.first == 22 else {
                                throw UnexpectedEnd(description: "nothing came through tunnel \(number)")
                            }
                            return connection
                        }
                    }
                    for _ in 0..<3 {
                        try await docker.engine.docker(["pull", docker.allowed.image]).expecting(0)
                        try await docker.engine.docker(["image", "rm", docker.allowed.image]).expecting(0)
                    }
                    let refused = try await docker.engine.docker(["pull", docker.refused.image])
                    #expect(PrivateDocker.isRefusal(refused.errors, of: Host.stranger.name), "\(refused)")
                    func openTunnels() async throws -> Int {
                        let status = try await docker.engine.docker(["ram", "status", "--format", "json"])
                        let number = status.output.firstMatch(of: /"tunnels": ([0-9]+)/)?.1
                        return number.flatMap { Int($0) } ?? -1
                    }
                    #expect(try await openTunnels() >= tunnels)
                    // Still open all the way: nginx sees the end of a client, and its own end comes back.
                    for connection in [held[0], held[tunnels / 2], held[tunnels - 1]] {
                        connection.finish()
                        let start = ContinuousClock.now
                        _ = connection.readToEnd()
                        #expect(ContinuousClock.now - start < .seconds(9), "no end came back")
                    }
                    withExtendedLifetime(held) {}
                }
            }
        }
    }
}
