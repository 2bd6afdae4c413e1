import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// The egress proxy behind the proxy of a company.
    @Suite(.serialized)
    struct EgressProxyUpstreamTests {
        private typealias Host = PrivateNetwork.Host

        /// A kind of proxy, and what is different behind it.
        struct Company: CustomTestStringConvertible {
            let kind: OtherProxy.Kind
            /// What a developer reads if the password is wrong.
            let refusal: String
            /// The same for an import over plain HTTP.
            let importRefusal: String
            /// The same for a pull over plain HTTP.
            let plainPullRefusal: String
            /// Whether it passes on more than the first of several `Accept` headers, as the engine sends them for a manifest.
            let passesManifests: Bool

            var testDescription: String { kind.rawValue }
        }

        private static let proxyAddress = "\(Host.corporateProxy.name):3128"
        private static let proxyFault = "the upstream proxy \(proxyAddress): "
        private static let asksForPassword = "\(proxyFault)it answers 407 Proxy Authentication Required"
        private static let settings = """
            { "egressProxy": { "upstream": "http://corporate:s3cr%65t@\(proxyAddress)",
                               "noProxy": ["registry.acme.test", "mirror.acme.test"] } }
            """
        private static let policy = """
            { "version": 1, "organization": "acme", "contact": "platform@acme.test", "registries": [
                { "address": "registry.acme.test", "allowed": true }, { "address": "front.acme.test", "allowed": true },
                { "address": "plain.acme.test:5000", "allowed": true, "insecure": true },
                { "address": "mirror.acme.test:5000", "allowed": true, "insecure": true } ] }
            """
        /// All of them are ``Host/registry``, one with TLS and two without, and have a file besides.
        private static let sites: [WebServer.Site] = {
            let both = """
                location / { proxy_set_header Host $http_host; proxy_pass https://10.77.0.2; }
                location = /layer.tar { root $directory; }
                """
            return [
                .init(.front, both), .init(.plain, port: 5000, hasTLS: false, both),
                .init(.mirror, port: 5000, hasTLS: false, both),
            ]
        }()

        @Test(
            "behind a corporate proxy that wants a password, and around it: in tunnels and over plain HTTP",
            arguments: [
                Company(
                    kind: .squid,
                    refusal: asksForPassword,
                    importRefusal: asksForPassword,
                    plainPullRefusal: asksForPassword,
                    passesManifests: true
                ),
                // tinyproxy says 401 where 407 would be right, which over plain HTTP could be the registry's own.
                Company(
                    kind: .tinyproxy,
                    refusal: "\(proxyFault)it answers 401 Unauthorized",
                    importRefusal: "401 Unauthorized",
                    plainPullRefusal: "no basic auth credentials",
                    passesManifests: false
                ),
            ]
        )
        func upstream(company: Company) async throws {
            try await PrivateDocker.behindProxy(
                policy: Self.policy,
                engineSettings: #","insecure-registries":["plain.acme.test:5000","mirror.acme.test:5000"]"#,
                daemonSettings: Self.settings
            ) { docker, network in
                let tunneled = ["pull", "\(Host.front.name)/acme/hello:1"]
                let plain = ["import", "http://\(Host.plain.name):5000/layer.tar", "imported:1"]
                let plainPull = ["pull", "\(Host.plain.name):5000/acme/hello:1"]
                let around = [
                    ["pull", docker.allowed.image], ["pull", "\(Host.mirror.name):5000/acme/hello:1"],
                    ["import", "http://\(Host.mirror.name):5000/layer.tar", "imported:2"],
                ]
                func fetch(_ commands: [[String]]) async throws {
                    for command in commands { try await docker.engine.docker(command).expecting(0) }
                    for command in commands {
                        try await docker.engine.docker(["image", "rm", command[command.count - 1]]).expecting(0)
                    }
                }
                try await WebServer.with(in: docker.engine.root, network, Self.sites) { web in
                    try FileManager.default.copyItem(
                        atPath: "\(docker.allowed.parts)/layer.tar",
                        toPath: "\(web.directory)/layer.tar"
                    )
                    func expectFailure(_ command: [String], saying text: String) async throws {
                        let failed = try await docker.engine.docker(command)
                        #expect(failed.status == 1)
                        #expect(failed.errors.contains(text), "\(failed)")
                        #expect(!failed.said.contains("s3cret"), "\(failed)")
                    }
                    // Not there yet: what is reached around it works, the rest says why it does not.
                    try await fetch(around)
                    for command in [tunneled, plain, plainPull] {
                        try await expectFailure(command, saying: Self.proxyFault)
                    }
                    for password in ["wrong", "s3cret"] {
                        try await OtherProxy.with(
                            company.kind,
                            in: docker.engine.root,
                            network,
                            address: Host.corporateProxy.address,
                            port: 3128,
                            password: password
                        ) { proxy in
                            if password == "wrong" {
                                try await expectFailure(tunneled, saying: company.refusal)
                                try await expectFailure(plain, saying: company.importRefusal)
                                // containerd asks for a tunnel first, and shows what became of that.
                                let isInContainerd = try await docker.engine.keepsImagesInContainerd()
                                let said = isInContainerd ? company.refusal : company.plainPullRefusal
                                try await expectFailure(plainPull, saying: said)
                            } else {
                                try await fetch([tunneled, plain] + (company.passesManifests ? [plainPull] : []))
                                // squid notes a tunnel at its end.
                                try await waitUntil("the proxy has noted what it did") {
                                    ["CONNECT \(Host.front.name):443", "GET http://\(Host.plain.name):5000/layer.tar"]
                                        .allSatisfy { proxy.log.contains($0) }
                                }
                            }
                            try await network.expectNobody(asks: .stranger) {
                                let refused = try await docker.engine.docker(["pull", docker.refused.image])
                                #expect(PrivateDocker.isRefusal(refused.errors, of: Host.stranger.name), "\(refused)")
                            }
                            try await network.expectNobody(asks: .corporateProxy) { try await fetch(around) }
                            for host in [Host.registry, .mirror, .stranger] {
                                #expect(!proxy.log.contains(host.name), "\(proxy.log)")
                            }
                        }
                    }
                }
                #expect(!docker.engine.daemonLog.contains("s3c"), "\(docker.engine.daemonLog)")
                let status = try await docker.engine.docker(["ram", "status", "--format", "json"])
                #expect(!status.said.contains("s3c"), "\(status)")
            }
        }
    }
}
