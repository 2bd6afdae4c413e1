import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Addresses in every spelling, typed as image names: what Docker refuses itself, and what reaches plugin and proxy.
    @Suite(.serialized)
    struct EgressProxySpellingTests {
        private typealias Host = PrivateNetwork.Host

        /// What a spelling is taken for.
        private enum Reading: Sendable {
            /// No client and no engine takes it for a name.
            case noName
            /// Newer clients and engines take it for a name and the plugin for this address; Docker 20.10 does not.
            indirect case ipv6(Reading)
            /// This address, by everybody.
            case address(String)
            /// An address where no registry has any business, or a name that leads there.
            case special(String)
            /// A name to Docker, and doubtful to us.
            case doubtful
            /// This address, to which the engine goes without a proxy.
            case loopback(String)
            /// The same, but doubtful to us.
            case doubtfulLoopback
        }

        private static let spellings: [(registry: String, reading: Reading)] = [
            ("127.0.0.1:5000", .loopback("127.0.0.1:5000")), ("127.0.0.2:5000", .loopback("127.0.0.2:5000")),
            ("localhost:5000", .loopback("localhost:5000")), ("127.0.0.1:05000", .doubtfulLoopback),
            // Go compares it letter by letter, so it goes to the proxy.
            ("LOCALHOST:5000", .special("localhost:5000")), ("Localhost:5000", .special("localhost:5000")),
            ("inside.acme.test:5000", .special("inside.acme.test:5000")),
            ("0.0.0.0:5000", .special("0.0.0.0:5000")), ("169.254.169.254", .special("169.254.169.254")),
            ("224.0.0.1", .special("224.0.0.1")), ("255.255.255.255", .special("255.255.255.255")),
            ("10.77.0.9", .address("10.77.0.9")), ("10.77.0.9:443", .address("10.77.0.9")),
            ("STRANGER.test", .address("stranger.test")), ("stranger.test:443", .address("stranger.test")),
            ("[::ffff:7f00:1]:5000", .ipv6(.loopback("127.0.0.1:5000"))),
            ("[::FFFF:7F00:1]:5000", .ipv6(.loopback("127.0.0.1:5000"))),
            ("[0:0:0:0:0:ffff:7f00:0001]:5000", .ipv6(.loopback("127.0.0.1:5000"))),
            ("[::ffff:a4d:9]", .ipv6(.address("10.77.0.9"))),
            ("[::1]:5000", .ipv6(.loopback("[::1]:5000"))), ("[0:0:0:0:0:0:0:1]:5000", .ipv6(.loopback("[::1]:5000"))),
            ("[::]:5000", .ipv6(.special("[::]:5000"))), ("[fe80::1]:5000", .ipv6(.special("[fe80::1]:5000"))),
            ("[64:ff9b::7f00:1]:5000", .ipv6(.special("[64:ff9b::7f00:1]:5000"))),
            ("127.1:5000", .doubtful), ("127.0.1:5000", .doubtful), ("2130706433:5000", .doubtful),
            ("0x7f000001:5000", .doubtful), ("0x7f.1:5000", .doubtful), ("0x7f.0.0.1:5000", .doubtful),
            ("0177.0.0.1:5000", .doubtful), ("017700000001:5000", .doubtful), ("127.000.000.001:5000", .doubtful),
            ("0:5000", .doubtful), ("10.77.9", .doubtful), ("0x0a.77.0.9", .doubtful), ("012.77.0.9", .doubtful),
            ("172818441:443", .doubtful), ("stranger.test:0443", .doubtful),
            ("[::ffff:127.0.0.1]:5000", .noName), ("[::ffff:10.77.0.9]", .noName), ("[::127.0.0.1]:5000", .noName),
            ("[fe80::1%25lo]:5000", .noName), ("[fe80::1%lo]:5000", .noName), ("::1:5000", .noName),
            ("127.0.0.1.:5000", .noName), ("localhost.:5000", .noName), ("127.0.0.1:0x1388", .noName),
            ("127.0.0.1%00:5000", .noName), ("a@127.0.0.1:5000", .noName), ("127.0.0.1:5000:5000", .noName),
            ("http://127.0.0.1:5000", .noName), ("\u{FF11}27.0.0.1:5000", .noName),
            ("127\u{3002}0.0.1:5000", .noName),
        ]

        /// Pulls, and says what was answered; without a client the engine is asked over its socket.
        private func pull(_ image: String, _ docker: PrivateDocker, client: String?) async throws -> String {
            if let client {
                let ended = try await docker.engine.docker(client, ["pull", image])
                if ended.status == 0 { try await docker.engine.docker(["image", "rm", image]).expecting(0) }
                return ended.errors
            }
            let name = image.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
            return try await docker.engine.raw(
                "POST /v1.41/images/create?fromImage=\(name) HTTP/1.1\r\nHost: d\r\nConnection: close\r\n"
                    + "Content-Length: 0\r\n\r\n"
            )
        }

        /// Whether an answer is the right one.
        private func isRight(
            _ answer: String,
            _ reading: Reading,
            client: String?,
            hasPlugin: Bool,
            isOpen: Bool
        ) -> Bool {
            let byPlugin = answer.contains("authorization denied by plugin docker-ram: ")
            let byUs = { (isSaid: Bool) in isSaid && byPlugin == hasPlugin }
            let isNoReference = answer.contains("invalid reference format")
            let byClient = isNoReference && client != nil && !answer.contains("Error response from daemon")
            switch reading {
            case .noName:
                if client != nil { return byClient }
                return hasPlugin ? byUs(PrivateDocker.isNotInspected(answer)) : isNoReference
            case .ipv6(let reading):
                if client == DockerClients.debian { return byClient }
                // Engines that take no such name, and clients that do not, say so.
                let isTaken = isRight(answer, reading, client: client, hasPlugin: hasPlugin, isOpen: isOpen)
                return isTaken || byClient || !hasPlugin && isNoReference
            case .address(let address): return byUs(PrivateDocker.isRefusal(answer, of: address))
            case .special(let address):
                let why = isOpen ? "Its name leads to an address that is not allowed. " : ""
                return byUs(PrivateDocker.isRefusal(answer, of: address, explaining: why))
            case .doubtful: return byUs(PrivateDocker.isNotInspected(answer))
            case .loopback(let address):
                return hasPlugin ? byUs(PrivateDocker.isRefusal(answer, of: address)) : !answer.contains("(acme, ")
            case .doubtfulLoopback:
                return hasPlugin ? byUs(PrivateDocker.isNotInspected(answer)) : !answer.contains("(acme, ")
            }
        }

        @Test(
            "as image names",
            arguments: [
                (hasPlugin: true, isOpen: false), (hasPlugin: false, isOpen: false), (hasPlugin: false, isOpen: true),
            ]
        )
        func names(hasPlugin: Bool, isOpen: Bool) async throws {
            let everything = #"{ "address": "**", "allowed": true, "insecure": true, "acknowledgeBroad": true }"#
            let policy = """
                { "version": 1, "organization": "acme", "contact": "platform@acme.test", "registries": [
                    \(isOpen ? everything : #"{ "address": "registry.acme.test", "allowed": true }"#) ] }
                """
            try await PrivateDocker.behindProxy(policy: policy, hasPlugin: hasPlugin) { docker, network in
                let pass = "location / { proxy_set_header Host $http_host; proxy_pass https://10.77.0.2; }"
                let local = WebServer.Site(Host("localhost", "127.0.0.1"), port: 5000, hasTLS: false, pass)
                let refusal = try await pull("[::1]:5000/acme/hello:1", docker, client: nil)
                let takesIPv6 = !refusal.contains("invalid reference format")
                try await WebServer.with(in: docker.engine.root, network, [local]) { _ in
                    for (registry, reading) in Self.spellings {
                        // Under "everything is allowed" these lead to a registry.
                        switch reading {
                        case .address where isOpen, .ipv6(.address) where isOpen: continue
                        default: break
                        }
                        var clients: [String?] = DockerClients.all
                        switch reading {
                        case .noName: clients.append(nil)
                        case .ipv6 where hasPlugin || !takesIPv6: clients.append(nil)
                        // Over the socket the engine gives up what takes longer than the request.
                        default: break
                        }
                        for client in clients {
                            let before = try await network.connections(to: "127.0.0.1", port: 5000)
                            var answer = ""
                            try await network.expectNobody(asks: .stranger) {
                                answer = try await pull("\(registry)/acme/hello:1", docker, client: client)
                            }
                            let isRight = isRight(
                                answer,
                                reading,
                                client: client,
                                hasPlugin: hasPlugin,
                                isOpen: isOpen
                            )
                            #expect(isRight, "\(registry) by \(client ?? "the socket"): \(answer)")
                            let after = try await network.connections(to: "127.0.0.1", port: 5000)
                            var isReached = false
                            switch reading {
                            case .loopback("127.0.0.2:5000"): break
                            case .loopback, .doubtfulLoopback: isReached = !hasPlugin
                            // On the other loopback address nobody listens.
                            case .ipv6(.loopback("127.0.0.1:5000")):
                                isReached = !hasPlugin && takesIPv6 && client != DockerClients.debian
                            default: break
                            }
                            #expect((after > before) == isReached, "\(registry): \(answer)")
                        }
                    }
                    #expect(try await network.connections(to: "169.254.169.254") == 0)
                }
            }
        }
    }
}
