import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Hosts in every spelling that an engine could pass on, and tunnels that are not what they say.
    @Suite(.serialized)
    struct EgressProxyNameTests {
        private typealias Host = PrivateNetwork.Host

        /// docker-ramd alone in a network, with TLS servers at the stranger, at the registry and on loopback.
        private func withDaemon(
            policy: String,
            _ body: (PrivateDaemon, PrivateNetwork, WebServer) async throws -> Void
        ) async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                try await PrivateNetwork.with(in: directory) { network in
                    let loopback = Host("localhost", "127.0.0.1")
                    let sites = [Host.registry, .stranger, loopback].map { WebServer.Site($0, "return 200 here;") }
                    try await WebServer.with(in: directory, network, sites) { web in
                        try await PrivateDaemon.with(in: directory, network, policy: policy) { daemon in
                            try await body(daemon, network, web)
                        }
                    }
                }
            }
        }

        /// What the proxy answers to a `CONNECT`.
        private func connect(
            _ target: String,
            _ daemon: PrivateDaemon,
            _ network: PrivateNetwork,
            hello: [UInt8]? = nil
        ) throws -> (status: String, tunnel: [UInt8]) {
            let head = "CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n\(try daemon.authorization)\r\n"
            return try network.inside {
                let connection = try RawConnection(to: "127.0.0.1", port: PrivateDaemon.port)
                connection.send(head)
                let answer = connection.readHead()
                guard let hello else { return (answer, []) }
                connection.send(hello)
                let first = connection.read() ?? []
                return (answer, first)
            }
        }

        @Test("no spelling of an address gets through that no rule names")
        func spellings() async throws {
            let policy = """
                { "version": 1, "organization": "acme", "registries": [
                    { "address": "**", "allowed": true, "acknowledgeBroad": true } ] }
                """
            let narrow = PrivateDocker.policy(version: 1, allowing: [Host.registry.name])
            // Under "everything is allowed" still refused: loopback and the like, and what has more than one reading.
            let never = [
                "127.0.0.1:443", "127.1:443", "2130706433:443", "0x7f.0.0.1:443", "0x7f000001:443", "0177.0.0.1:443",
                "017700000001:443", "127.0.0.1.:443", "[::1]:443", "[::ffff:127.0.0.1]:443", "[::ffff:7f00:1]:443",
                "[0:0:0:0:0:ffff:7f00:0001]:443", "[::127.0.0.1]:443", "[64:ff9b::7f00:1]:443", "0.0.0.0:443",
                "[::]:443",
                "169.254.169.254:80", "[fe80::1]:443", "[fe80::1%25lo]:443", "[fe80::1%lo]:443", "224.0.0.1:443",
                "255.255.255.255:443", "[ff02::1]:443", "127.0.0.1:7260", "[::ffff:127.0.0.1]:7260",
                "\(Host.inside.name):443", "\(Host.inside.name):7260", "\(Host.metadata.name):443",
                "10.77.9:443", "0x0a.77.0.9:443", "172818441:443", "012.77.0.9:443",
                "stranger.test.:443", "stranger.test:0443", "stranger.test:", "stranger.test:0", "stranger.test:65536",
                "stranger.test:+443", "stranger.test:4 43", "stranger.test%2e:443", "stranger%00.test:443",
                "a@stranger.test:443", "stranger.test:443:443", "stranger..test:443", ":443", "[10.77.0.9]:443",
                "str\u{E4}nger.test:443", "stranger\u{3002}test:443", "\u{FF11}27.0.0.1:443",
            ]
            try await withDaemon(policy: policy) { daemon, network, _ in
                // A rule for everything lets the stranger in: the servers are there.
                let open = try connect("stranger.test:443", daemon, network)
                #expect(open.status.hasPrefix("HTTP/1.1 200 "), "\(open.status)")
                let loopback = try await network.connections(to: "127.0.0.1", port: 443)
                try await network.expectNobody(asks: .stranger) {
                    for target in never {
                        let answer = try connect(target, daemon, network)
                        #expect(
                            ["400", "403", "502"].contains(answer.status.dropFirst(9).prefix(3)),
                            "\(target): \(answer.status)"
                        )
                    }
                }
                #expect(try await network.connections(to: "127.0.0.1", port: 443) == loopback)
                #expect(try await network.connections(to: "169.254.169.254") == 0)
            }
            try await withDaemon(policy: narrow) { daemon, network, _ in
                let spellings = [
                    "10.77.0.9:443", "[::ffff:10.77.0.9]:443", "[::ffff:a4d:9]:443", "STRANGER.test:443",
                    "stranger.TEST:443", "10.77.0.2:443", "registry.acme.test:80", "registry.acme.test:8443",
                ]
                try await network.expectNobody(asks: .stranger) {
                    try await network.expectNobody(asks: .registry) {
                        for target in never + spellings {
                            let answer = try connect(target, daemon, network)
                            #expect(
                                ["400", "403"].contains(answer.status.dropFirst(9).prefix(3)),
                                "\(target): \(answer.status)"
                            )
                        }
                    }
                }
                for target in ["registry.acme.test:443", "REGISTRY.acme.TEST:443"] {
                    let hello = ClientHello.record(serverName: Host.registry.name)
                    let answer = try connect(target, daemon, network, hello: hello)
                    #expect(answer.status.hasPrefix("HTTP/1.1 200 "), "\(target): \(answer.status)")
                    #expect(answer.tunnel.first == 22, "\(target)")
                }
            }
        }

        @Test("a name that its owner moves to loopback between two connections is not followed")
        func rebinding() async throws {
            let policy = PrivateDocker.policy(version: 1, allowing: [Host.registry.name])
            try await withDaemon(policy: policy) { daemon, network, _ in
                let target = "\(Host.registry.name):443"
                #expect(try connect(target, daemon, network).status.hasPrefix("HTTP/1.1 200 "))
                let loopback = try await network.connections(to: "127.0.0.1", port: 443)
                try network.resolve(Host(Host.registry.name, "127.0.0.1"))
                // An answer is used again for two seconds; what is dialed meanwhile is the address that was looked at.
                var moved = try connect(target, daemon, network)
                try await waitUntil("the name is asked for again") {
                    moved = try connect(target, daemon, network)
                    return !moved.status.hasPrefix("HTTP/1.1 200 ")
                }
                #expect(moved.status.hasPrefix("HTTP/1.1 403 "), "\(moved.status)")
                let isSaid = PrivateDocker.isRefusal(
                    moved.status,
                    of: Host.registry.name,
                    explaining: "Its name leads to an address that is not allowed. "
                )
                #expect(isSaid, "\(moved.status)")
                #expect(try await network.connections(to: "127.0.0.1", port: 443) == loopback)
                try network.resolve(Host.registry)
                try await waitUntil("the name leads back") {
                    try connect(target, daemon, network).status.hasPrefix("HTTP/1.1 200 ")
                }
            }
        }

        @Test("an address that a rule names may be reached, in the one spelling that it has")
        func namedAddress() async throws {
            let policy = PrivateDocker.policy(version: 1, allowing: ["10.77.0.9"])
            try await withDaemon(policy: policy) { daemon, network, _ in
                for target in ["10.77.0.9:443", "[::ffff:10.77.0.9]:443"] {
                    let answer = try connect(target, daemon, network, hello: ClientHello.record(serverName: nil))
                    #expect(answer.status.hasPrefix("HTTP/1.1 200 "), "\(target): \(answer.status)")
                    #expect(answer.tunnel.first == 22, "\(target)")
                }
                let name = try connect("stranger.test:443", daemon, network)
                #expect(name.status.hasPrefix("HTTP/1.1 403 "), "\(name.status)")
            }
        }

        @Test("a tunnel for one host does not lead to another behind the same address")
        func serverName() async throws {
            let policy = PrivateDocker.policy(version: 1, allowing: [Host.registry.name])
            try await withDaemon(policy: policy) { daemon, network, web in
                let target = "\(Host.registry.name):443"
                func first(_ hello: [UInt8]) throws -> [UInt8] {
                    let answer = try connect(target, daemon, network, hello: hello)
                    #expect(answer.status.hasPrefix("HTTP/1.1 200 "), "\(answer.status)")
                    return answer.tunnel
                }
                // A handshake record, as against an alert or nothing.
                #expect(try first(ClientHello.record(serverName: "registry.acme.test")).first == 22)
                #expect(try first(ClientHello.record(serverName: "REGISTRY.acme.test")).first == 22)
                for name in [
                    nil, "stranger.test", "registry.acme.test.", "x.registry.acme.test", "acme.test", "10.77.0.2", "",
                    "registry.acme.test\u{0}", "registry.acme.test:443",
                ] {
                    let bytes = try first(ClientHello.record(serverName: name))
                    #expect(bytes.first != 22, "\(name ?? "none"): \(bytes)")
                }
                for text in [
                    "GET / HTTP/1.1\r\nHost: stranger.test\r\n\r\n", "SSH-2.0-x\r\n", "PRI * HTTP/2.0\r\n\r\n",
                ] {
                    let bytes = try first(Array(text.utf8))
                    #expect(bytes.isEmpty || bytes.first == 21, "\(text): \(bytes)")
                }
                // One byte at a time is the same handshake.
                let slow = try network.inside { [authorization = try daemon.authorization] in
                    let connection = try RawConnection(to: "127.0.0.1", port: PrivateDaemon.port)
                    connection.send("CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n\(authorization)\r\n")
                    _ = connection.readHead()
                    for byte in ClientHello.record(serverName: Host.registry.name) { connection.send([byte]) }
                    return connection.read()
                }
                #expect(slow?.first == 22)
                // openssl is a client that others have made.
                let url = try daemon.proxyURL.split(separator: "@")
                let user = url[0].split(separator: ":")
                func openssl(_ name: String) async throws -> EndedProgram {
                    try await network.run([
                        "openssl", "s_client", "-proxy", "127.0.0.1:\(PrivateDaemon.port)", "-proxy_user",
                        "docker-ram", "-proxy_pass", "pass:\(user[2])", "-connect", target, "-servername", name,
                    ])
                }
                let good = try await openssl(Host.registry.name)
                #expect(good.said.contains("Verify return code: 0 (ok)"), "\(good)")
                let bad = try await openssl(Host.stranger.name)
                #expect(!bad.said.contains("BEGIN CERTIFICATE"), "\(bad)")
                #expect(!web.log(of: .registry).contains("GET"), "\(web.log(of: .registry))")
                try await waitUntil("the refusals are recorded") {
                    daemon.decisions.contains(#""reason":"server-name""#)
                        && daemon.decisions.contains(#""reason":"not-tls""#)
                }
            }
        }

        @Test("nobody is served who does not know the secret, the engine's own user included")
        func secret() async throws {
            let policy = PrivateDocker.policy(version: 1, allowing: [Host.registry.name])
            try await withDaemon(policy: policy) { daemon, network, _ in
                let right = try daemon.authorization
                let wrong = [
                    "", "Proxy-Authorization: Basic \r\n", "Proxy-Authorization: Basic ZG9ja2VyLXJhbTo=\r\n",
                    "Proxy-Authorization: Bearer x\r\n", right.replacingOccurrences(of: "Proxy-", with: ""),
                    right.replacingOccurrences(of: "=", with: ""),
                    String(right.dropLast()) + "A\r\n", right.lowercased(),
                ].filter { $0 != right }
                try await network.expectNobody(asks: .registry) {
                    for header in wrong {
                        for line in [
                            "CONNECT registry.acme.test:443 HTTP/1.1\r\nHost: registry.acme.test:443",
                            "CONNECT stranger.test:443 HTTP/1.1\r\nHost: stranger.test:443",
                            "GET http://registry.acme.test/ HTTP/1.1\r\nHost: registry.acme.test",
                        ] {
                            let answer = try network.inside {
                                let connection = try RawConnection(to: "127.0.0.1", port: PrivateDaemon.port)
                                connection.send("\(line)\r\n\(header)\r\n")
                                return connection.readHead()
                            }
                            #expect(answer.hasPrefix("HTTP/1.1 407 "), "\(header): \(answer)")
                            #expect(answer.contains("Proxy-Authenticate: Basic"), "\(answer)")
                        }
                    }
                }
                let file = "\(daemon.root)/var/lib/docker-ram/proxy-secret"
                let attributes = try FileManager.default.attributesOfItem(atPath: file)
                #expect(attributes[.posixPermissions] as? Int == 0o600)
            }
        }
    }
}
