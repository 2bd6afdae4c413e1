import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// An organization's server that a machine reaches through the proxy of a company only.
    @Suite(.serialized)
    struct OrganizationProxyTests {
        private typealias Host = PrivateNetwork.Host

        /// A kind of proxy, and what is said if the secret is wrong.
        struct Company: CustomTestStringConvertible {
            let kind: OtherProxy.Kind
            let refusal: String

            var testDescription: String { kind.rawValue }
        }

        private static let proxyAddress = "\(Host.corporateProxy.name):3128"
        private static let proxy = "the proxy \(proxyAddress) "
        private static let upstream = "http://corporate:s3cr%65t@\(proxyAddress)"

        /// Lets nobody but the company's proxy reach the server.
        private static func close(_ network: PrivateNetwork) async throws {
            let rule = """
                add chain inet tests company { type filter hook output priority 1; }
                add rule inet tests company ip saddr != \(Host.corporateProxy.address) ip daddr \(Host.server.address) \
                tcp dport \(PrivateServer.port) tcp flags syn reject with tcp reset
                """
            try await network.run(["nft", "-f", "-"], input: rule).expecting(0)
        }

        private static func open(_ network: PrivateNetwork) async throws {
            try await network.run(["nft", "delete", "chain", "inet", "tests", "company"]).expecting(0)
        }

        /// Runs docker-ram as root on the machine of a docker-ramd.
        private static func ram(
            _ daemon: PrivateDaemon,
            _ network: PrivateNetwork,
            _ arguments: [String],
            environment: [String: String] = [:],
            input: String = ""
        ) async throws -> EndedProgram {
            let ended = try await network.run(
                [try Programs.path("docker-ram")] + arguments,
                environment: ["DOCKER_RAM_ROOT": daemon.root, "DOCKER_CONFIG": "\(daemon.root)/config"]
                    .merging(environment) { $1 },
                input: input
            )
            #expect(!ended.said.contains("s3c"), "\(ended)")
            return ended
        }

        private static func isInForce(_ daemon: PrivateDaemon, _ network: PrivateNetwork) async throws -> Bool {
            try await ram(daemon, network, ["status", "--format", "json"]).output.contains(#""policyVersion": 1"#)
        }

        @Test(
            "a machine enrolls, follows and signs in through a proxy that wants a secret, and says what is wrong with it",
            arguments: [
                Company(kind: .squid, refusal: "does not accept the user and the secret (407)"),
                // tinyproxy says 401 where 407 would be right, as if the server had been asked.
                Company(kind: .tinyproxy, refusal: "opens no tunnel to the server"),
            ]
        )
        func machine(company: Company) async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                try FileManager.default.createDirectory(atPath: "\(directory)/n", withIntermediateDirectories: true)
                try await PrivateNetwork.with(in: "\(directory)/n") { network in
                    try await PrivateServer.with(in: directory, network) { server in
                        try await Self.close(network)
                        let settings = #"{ "egressProxy": { "upstream": "\#(Self.upstream)" } }"#
                        try await PrivateDaemon.with(
                            in: directory,
                            network,
                            policy: PrivateDocker.policy(version: 7, allowing: []),
                            settings: settings
                        ) { daemon in
                            func ram(_ words: String..., input: String = "") async throws -> EndedProgram {
                                try await Self.ram(daemon, network, words, input: input)
                            }
                            let enroll = [
                                "enroll", PrivateServer.url, "--organization", "acme", "--fingerprint",
                                server.fingerprint,
                                "--certificate-authority", server.certificateAuthority, "--require-sign-in",
                            ]
                            let away = try await Self.ram(daemon, network, enroll).expecting(1)
                            #expect(away.errors.contains("\(Self.proxy)refuses connections"), "\(away)")
                            for password in ["wrong", "s3cret"] {
                                try await OtherProxy.with(
                                    company.kind,
                                    in: directory,
                                    network,
                                    address: Host.corporateProxy.address,
                                    port: 3128,
                                    password: password
                                ) { proxy in
                                    if password == "wrong" {
                                        let refused = try await Self.ram(daemon, network, enroll).expecting(1)
                                        #expect(
                                            refused.errors.contains("\(Self.proxy)\(company.refusal)"),
                                            "\(refused)"
                                        )
                                        return
                                    }
                                    try await Self.ram(daemon, network, enroll).expecting(0)
                                    try await waitUntil("the organization's policy is there") {
                                        try await ram("status", "--format", "json").output
                                            .contains("\"sign-in-required\"")
                                    }
                                    try await ram(
                                        "login",
                                        "--username",
                                        "alice",
                                        "--password-stdin",
                                        input: "\(PrivateServer.password)\n"
                                    ).expecting(0)
                                    try await waitUntil("the policy of the organization is in force") {
                                        try await Self.isInForce(daemon, network)
                                    }
                                    #expect(proxy.log.contains(Host.server.name), "\(proxy.log)")
                                }
                            }
                            // Gone again: the policy stays, and the status says what is away.
                            try await waitUntil("the status says that the proxy is away") {
                                if let process = daemon.process { kill(process, SIGHUP) }
                                let status = try await ram("status", "--format", "json").output
                                return status.contains("\(Self.proxy)refuses connections")
                                    && status.contains("\"enforce\"")
                            }
                            #expect(!daemon.log.contains("s3c"), "\(daemon.log)")
                        }
                    }
                }
            }
        }

        @Test("a server of the no-proxy list is reached without the proxy, and HTTPS_PROXY counts for developers only")
        func noProxy() async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                try FileManager.default.createDirectory(atPath: "\(directory)/n", withIntermediateDirectories: true)
                try await PrivateNetwork.with(in: "\(directory)/n") { network in
                    try await PrivateServer.with(in: directory, network) { server in
                        let settings = """
                            { "egressProxy": { "upstream": "\(Self.upstream)", "noProxy": ["ram.acme.test"] } }
                            """
                        try await PrivateDaemon.with(
                            in: directory,
                            network,
                            policy: PrivateDocker.policy(version: 7, allowing: []),
                            settings: settings
                        ) { daemon in
                            try await network.expectNobody(asks: .corporateProxy) {
                                try await Self.ram(
                                    daemon,
                                    network,
                                    [
                                        "enroll", PrivateServer.url, "--organization", "acme", "--fingerprint",
                                        server.fingerprint, "--certificate-authority", server.certificateAuthority,
                                    ],
                                    environment: ["HTTPS_PROXY": Self.upstream]
                                ).expecting(0)
                                try await waitUntil("the policy of the organization is in force") {
                                    try await Self.isInForce(daemon, network)
                                }
                            }
                            try await Self.developer(daemon, network, server, directory)
                        }
                    }
                }
            }
        }

        /// What a developer's environment says of proxies.
        private static func developer(
            _ daemon: PrivateDaemon,
            _ network: PrivateNetwork,
            _ server: PrivateServer,
            _ directory: String
        ) async throws {
            let token = try await server.accessToken(["policy:read"])
            func show(_ environment: [String: String]) async throws -> EndedProgram {
                let ours = [
                    "DOCKER_RAM_SERVER": PrivateServer.url, "DOCKER_RAM_ORGANIZATION": "acme",
                    "DOCKER_RAM_TOKEN": token,
                ]
                let command = [
                    "admin", "policy", "show", "--certificate-authority", server.certificateAuthority,
                ]
                return try await ram(daemon, network, command, environment: ours.merging(environment) { $1 })
            }
            try await close(network)
            let direct = try await show([:]).expecting(1)
            #expect(direct.errors.contains("the server refuses connections"), "\(direct)")
            let away = try await show(["HTTPS_PROXY": upstream]).expecting(1)
            #expect(away.errors.contains("\(proxy)refuses connections"), "\(away)")
            let socks = try await show(["https_proxy": "socks5://corporate:s3cret@\(proxyAddress)"]).expecting(1)
            #expect(socks.errors.contains("HTTPS_PROXY: a proxy is written as http://host:port"), "\(socks)")
            try await OtherProxy.with(
                .squid,
                in: directory,
                network,
                address: Host.corporateProxy.address,
                port: 3128,
                password: "s3cret"
            ) { _ in
                for name in ["HTTPS_PROXY", "https_proxy"] { try await show([name: upstream]).expecting(0) }
                let around = [".acme.test", "10.0.0.0/8,acme.test", "other.test, ram.acme.test:8443", "*"]
                for list in around {
                    let ended = try await show(["HTTPS_PROXY": upstream, "NO_PROXY": list]).expecting(1)
                    #expect(ended.errors.contains("the server refuses connections"), "\(list): \(ended)")
                }
                // Names that lead into a network are not meant by it, and neither is another port.
                for list in ["10.0.0.0/8", "ram.acme.test:443", ".ram.acme.test", "cme.test"] {
                    try await show(["HTTPS_PROXY": upstream, "NO_PROXY": list]).expecting(0)
                }
            }
            try await open(network)
            try await network.expectNobody(asks: .corporateProxy) {
                try await show(["HTTPS_PROXY": upstream, "NO_PROXY": ".acme.test"]).expecting(0)
            }
        }
    }
}
