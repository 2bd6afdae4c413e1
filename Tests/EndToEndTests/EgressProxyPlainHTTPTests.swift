import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Registries without TLS: what the engine was told of them, what the rule says, and what the developer reads.
    @Suite(.serialized)
    struct EgressProxyPlainHTTPTests {
        private typealias Host = PrivateNetwork.Host

        private static let nobody =
            "The egress proxy of docker-ram cannot reach plain.acme.test:443: connection refused"
        private static let noTLS = "http: server gave HTTP response to HTTPS client"
        private static let insecure =
            #","insecure-registries":["plain.acme.test:5000","plain.acme.test","plain.acme.test:80"]"#
        /// ``Host/registry`` without TLS, on the port of HTTP and on loopback.
        private static let sites: [WebServer.Site] = {
            let pass = "location / { proxy_set_header Host $http_host; proxy_pass https://10.77.0.2; }"
            return [
                .init(.plain, port: 80, hasTLS: false, pass),
                .init(Host("localhost", "127.0.0.1"), port: 5001, hasTLS: false, pass),
            ]
        }()

        private static func policy(_ version: Int, _ rules: [(address: String, isInsecure: Bool)]) -> String {
            let rules = rules.map {
                #"{ "address": "\#($0.address)", "allowed": true, "insecure": \#($0.isInsecure) }"#
            }
            return """
                { "version": \(version), "organization": "acme", "contact": "platform@acme.test",
                  "registries": [\(rules.joined(separator: ", "))] }
                """
        }

        /// An engine, a registry without TLS on port 5000, and ``sites``.
        private func withRegistry(
            hasPlugin: Bool = false,
            engineSettings: String,
            _ body: (PrivateDocker, PrivateNetwork, PrivateRegistry) async throws -> Void
        ) async throws {
            try await PrivateDocker.behindProxy(
                policy: Self.policy(1, []),
                hasPlugin: hasPlugin,
                engineSettings: engineSettings
            ) { docker, network in
                let place = PrivateRegistry.Place(network, .plain, port: 5000, hasTLS: false)
                let directory = "\(docker.engine.root)/plain"
                try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
                try await PrivateRegistry.with(in: directory, at: place) { plain in
                    try await WebServer.with(in: docker.engine.root, network, Self.sites) { _ in
                        try await body(docker, network, plain)
                    }
                }
            }
        }

        private func login(_ docker: PrivateDocker, to address: String) async throws -> EndedProgram {
            try await docker.engine.docker(
                DockerClients.debian,
                ["login", "--username", "x", "--password-stdin", address],
                input: "y"
            )
        }

        @Test("an engine that was told nothing asks for TLS only, whatever the rule says")
        func untold() async throws {
            try await withRegistry(engineSettings: "") { docker, network, plain in
                // On port 443 of the host there is nobody.
                let bare = "plain.acme.test/acme/hello:1"
                let rows: [(image: String, rules: [(address: String, isInsecure: Bool)], said: String)] = [
                    (plain.image, [(plain.address, false)], Self.noTLS),
                    (plain.image, [(plain.address, true)], Self.noTLS),
                    (bare, [("plain.acme.test", true)], Self.nobody),
                    (bare, [("plain.acme.test", true), ("plain.acme.test:80", true)], Self.nobody),
                ]
                for (index, row) in rows.enumerated() {
                    let version = index + 2
                    try await docker.engine.daemon.enforce(policy: Self.policy(version, row.rules), version: version)
                    let pull = try await docker.engine.docker(["pull", row.image])
                    let build = try await docker.build("FROM \(row.image)\n", environment: ["DOCKER_BUILDKIT": "1"])
                    let login = try await login(docker, to: String(row.image.prefix { $0 != "/" }))
                    for failed in [pull, build, login] {
                        #expect(failed.status == 1 && failed.said.contains(row.said), "\(failed)")
                    }
                    #expect(!plain.wasAsked, "\(plain.log)")
                }
                #expect(try await network.connections(to: Host.plain.address, port: 80) == 0)
                // Without a rule the refusal comes first.
                try await docker.engine.daemon.enforce(policy: Self.policy(9, []), version: 9)
                let refused = try await docker.engine.docker(["pull", plain.image])
                #expect(PrivateDocker.isRefusal(refused.errors, of: plain.address, policy: 9), "\(refused)")
            }
        }

        @Test("an engine that was told to do without TLS: only by a rule that says so, too")
        func told() async throws {
            try await withRegistry(engineSettings: Self.insecure) { docker, network, plain in
                // containerd, if it has the images, tries no plain HTTP where a name has no port.
                let isInContainerd = try await docker.engine.keepsImagesInContainerd()
                func expectRefusal(
                    _ version: Int,
                    _ rules: [(address: String, isInsecure: Bool)],
                    image: String,
                    of registry: String,
                    _ explanation: String
                ) async throws {
                    try await docker.engine.daemon.enforce(policy: Self.policy(version, rules), version: version)
                    let pull = try await docker.engine.docker(["pull", image])
                    #expect(pull.status == 1)
                    let isSaid = PrivateDocker.isRefusal(
                        pull.errors,
                        of: registry,
                        policy: version,
                        explaining: explanation
                    )
                    let isOnlyTLS = isInContainerd && image.hasPrefix("plain.acme.test/")
                    #expect(isOnlyTLS ? pull.errors.contains(Self.nobody) : isSaid, "\(pull)")
                    #expect(try await !docker.has(image))
                    // The engine keeps the sentence to itself; the log has it.
                    let address = String(image.prefix { $0 != "/" })
                    let login = try await login(docker, to: address)
                    #expect(login.status == 1)
                    let said = "login attempt to http://\(address)/v2/ failed with status: 403 Forbidden"
                    #expect(login.errors.contains(said), "\(login)")
                    let log = try await docker.engine.docker(["ram", "log"]).expecting(0)
                    #expect(log.output.contains(registry), "\(log)")
                }
                let unmarked = "Plain HTTP is not allowed there. "
                try await expectRefusal(2, [], image: plain.image, of: plain.address, "")
                try await expectRefusal(3, [(plain.address, false)], image: plain.image, of: plain.address, unmarked)
                #expect(!plain.wasAsked, "\(plain.log)")

                // Without a port it is port 443 for TLS and port 80 for what comes without.
                let (bare, port80) = ("plain.acme.test/acme/hello:1", "plain.acme.test:80")
                try await expectRefusal(4, [("plain.acme.test", true)], image: bare, of: port80, "")
                let rules = [("plain.acme.test", false), (port80, false)]
                try await expectRefusal(5, rules, image: bare, of: port80, unmarked)
                #expect(try await network.connections(to: Host.plain.address, port: 80) == 0)

                let open = [(plain.address, true), ("plain.acme.test", false), (port80, true)]
                try await docker.engine.daemon.enforce(policy: Self.policy(6, open), version: 6)
                for image in [plain.image, isInContainerd ? "\(port80)/acme/hello:1" : bare] {
                    try await docker.engine.docker(["pull", image]).expecting(0)
                }
                #expect(try await login(docker, to: plain.address).status == 0)
                let mine = "\(plain.address)/mine/hello:2"
                try await docker.engine.docker(["tag", plain.image, mine]).expecting(0)
                try await docker.engine.docker(["push", mine]).expecting(0)
            }
        }

        @Test("a name without a port needs a rule for the plugin and one for port 80")
        func bothPoints() async throws {
            try await withRegistry(hasPlugin: true, engineSettings: Self.insecure) { docker, _, _ in
                let image = "plain.acme.test/acme/hello:1"
                let port80 = [("plain.acme.test:80", true)]
                try await docker.engine.daemon.enforce(policy: Self.policy(2, port80), version: 2)
                let refused = try await docker.engine.docker(["pull", image])
                #expect(refused.errors.contains("authorization denied by plugin docker-ram: "), "\(refused)")
                #expect(PrivateDocker.isRefusal(refused.errors, of: "plain.acme.test", policy: 2), "\(refused)")
                let both = port80 + [("plain.acme.test", false)]
                try await docker.engine.daemon.enforce(policy: Self.policy(3, both), version: 3)
                let isInContainerd = try await docker.engine.keepsImagesInContainerd()
                let pull = try await docker.engine.docker(["pull", image])
                // With images in containerd the port has to be written.
                #expect(isInContainerd ? pull.errors.contains(Self.nobody) : pull.status == 0, "\(pull)")
            }
        }

        @Test("on loopback Docker does without TLS by itself, and without the proxy: \"insecure\" changes nothing")
        func loopback() async throws {
            try await withRegistry(hasPlugin: true, engineSettings: "") { docker, _, _ in
                for (index, isInsecure) in [false, true].enumerated() {
                    let version = index + 2
                    let rules = [("127.0.0.1:5001", isInsecure)]
                    try await docker.engine.daemon.enforce(policy: Self.policy(version, rules), version: version)
                    let image = "127.0.0.1:5001/acme/hello:1"
                    try await docker.engine.docker(["pull", image]).expecting(0)
                    try await docker.engine.docker(["image", "rm", image]).expecting(0)
                    let other = "localhost:5001"
                    let refused = try await docker.engine.docker(["pull", "\(other)/acme/hello:1"])
                    #expect(PrivateDocker.isRefusal(refused.errors, of: other, policy: version), "\(refused)")
                }
                let log = try await docker.engine.docker(["ram", "log", "--format", "json"]).expecting(0)
                #expect(!log.output.contains(#""point": "egress-proxy""#), "\(log)")
            }
        }
    }
}
