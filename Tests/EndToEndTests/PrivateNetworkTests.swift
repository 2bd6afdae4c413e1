import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// That the tests' own network is what the tests of the egress proxy take it for.
    @Suite(.serialized)
    struct PrivateNetworkTests {
        private typealias Host = PrivateNetwork.Host

        @Test("there is no way out, and unknown names are unknown at once")
        func closed() async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                try await PrivateNetwork.with(in: directory) { network in
                    let outside = try await network.run(["curl", "-sS", "-m", "5", "https://192.0.2.1/"])
                    #expect(outside.status == 7, "\(outside)")
                    let unknown = try await network.run(["curl", "-sS", "-m", "5", "https://unknown.test/"])
                    #expect(unknown.status == 6, "\(unknown)")
                    try network.resolve(Host("unknown.test", Host.files.address))
                    let known = try await network.run(["curl", "-sS", "-m", "5", "https://unknown.test/"])
                    #expect(known.status == 7, "\(known)")
                    #expect(try await network.connections(to: Host.files.address) == 1)
                    #expect(try await network.connections(to: Host.files.address, port: 80) == 0)
                }
            }
        }

        @Test("an engine goes out through another proxy", arguments: OtherProxy.Kind.allCases)
        func otherProxy(kind: OtherProxy.Kind) async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                try await PrivateNetwork.with(in: directory) { network in
                    let place = PrivateRegistry.Place(network, .registry)
                    try await OtherProxy.with(kind, in: directory, network, port: 3128) { proxy in
                        try await PrivateRegistry.with(in: directory, at: place) { registry in
                            try FileManager.default.createDirectory(
                                atPath: "\(directory)/e",
                                withIntermediateDirectories: true
                            )
                            try await PrivateEngine.with(
                                in: "\(directory)/e",
                                policy: nil,
                                hasPlugin: false,
                                network: network,
                                way: .proxy(url: proxy.url)
                            ) { engine in
                                try await engine.docker(["pull", registry.image]).expecting(0)
                                #expect(proxy.log.contains("CONNECT \(Host.registry.name):443"), "\(proxy.log)")
                                try await engine.docker(["run", "--rm", "--network", "none", registry.image])
                                    .expecting(0)
                            }
                        }
                    }
                }
            }
        }

        @Test("nginx serves the hosts that a test describes")
        func webServer() async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                try await PrivateNetwork.with(in: directory) { network in
                    let sites = [
                        WebServer.Site(.files), WebServer.Site(.stranger, "return 307 https://files.acme.test/;"),
                    ]
                    try await WebServer.with(in: directory, network, sites) { server in
                        try "content".write(toFile: "\(server.directory)/file", atomically: true, encoding: .utf8)
                        let file = try await network.run(["curl", "-sSf", "https://files.acme.test/file"]).expecting(0)
                        #expect(file.output == "content")
                        #expect(server.log(of: .files).contains("GET /file HTTP/1.1\" 200"))
                        #expect(server.log(of: .stranger) == "")
                        let head = try network.inside {
                            let connection = try RawConnection(to: Host.stranger.address, port: 443)
                            connection.send(ClientHello.record(serverName: Host.stranger.name))
                            return connection.read()
                        }
                        // A handshake record with a ServerHello.
                        #expect(head?.prefix(3) == [22, 3, 3])
                        #expect(head?.dropFirst(5).first == 2)
                    }
                }
            }
        }
    }
}
