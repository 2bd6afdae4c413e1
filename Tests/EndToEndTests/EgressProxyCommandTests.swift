import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Docker's own commands, decided by the egress proxy alone: the engine has no authorization plugin.
    ///
    /// Each refusal is checked three times: the client says our sentence, the engine does not have the thing, and the
    /// kernel has seen nobody knock at the refused registry.
    @Suite(.serialized)
    struct EgressProxyCommandTests {
        private typealias Host = PrivateNetwork.Host

        @Test("pull, push and import", arguments: DockerClients.all)
        func pullAndPush(client: String) async throws {
            try await PrivateDocker.behindProxy { docker, network in
                let allowed = try await docker.engine.docker(client, ["pull", docker.allowed.image]).expecting(0)
                #expect(allowed.output.contains("Downloaded newer image for \(docker.allowed.image)"))
                let mine = "\(docker.allowed.address)/mine/hello:2"
                try await docker.engine.docker(client, ["tag", docker.allowed.image, mine]).expecting(0)
                try await docker.engine.docker(client, ["push", mine]).expecting(0)

                try await network.expectNobody(asks: .stranger) {
                    let pull = try await docker.engine.docker(client, ["pull", docker.refused.image])
                    #expect(pull.status == 1)
                    #expect(PrivateDocker.isRefusal(pull.errors, of: docker.refused.address), "\(pull)")
                    #expect(try await !docker.has(docker.refused.image))

                    let elsewhere = "\(docker.refused.address)/mine/hello:2"
                    try await docker.engine.docker(client, ["tag", docker.allowed.image, elsewhere]).expecting(0)
                    let push = try await docker.engine.docker(client, ["push", elsewhere])
                    #expect(push.status == 1)
                    #expect(PrivateDocker.isRefusal(push.said, of: docker.refused.address), "\(push)")

                    for scheme in ["http", "https"] {
                        let load = try await docker.engine.docker(
                            client,
                            ["import", "\(scheme)://\(docker.refused.address)/x.tar", "x:1"]
                        )
                        #expect(load.status == 1)
                        let registry = docker.refused.address + (scheme == "http" ? ":80" : "")
                        #expect(PrivateDocker.isRefusal(load.said, of: registry), "\(load)")
                        #expect(try await !docker.has("x:1"))
                    }
                }
                #expect(!docker.refused.wasAsked)
                let status = try await docker.engine.docker(["ram", "log", "--format", "json"]).expecting(0)
                #expect(status.output.contains(#""point": "egress-proxy""#), "\(status)")
            }
        }

        @Test("login and search", arguments: DockerClients.all)
        func loginAndSearch(client: String) async throws {
            let account = PrivateRegistry.Account()
            try await PrivateDocker.behindProxy(account: account) { docker, network in
                func login(_ address: String) async throws -> EndedProgram {
                    try await docker.engine.docker(
                        client,
                        ["login", "--username", account.name, "--password-stdin", address],
                        input: account.password
                    )
                }
                #expect(try await login(docker.allowed.address).expecting(0).said.contains("Login Succeeded"))
                try await docker.engine.docker(client, ["pull", docker.allowed.image]).expecting(0)
                // This registry knows no search, but it is asked.
                let before = try await network.connections(to: Host.registry.address)
                let search = try await docker.engine.docker(client, ["search", "\(docker.allowed.address)/hello"])
                #expect(!search.said.contains("disallowed"), "\(search)")
                #expect(try await network.connections(to: Host.registry.address) > before)

                try await network.expectNobody(asks: .stranger) {
                    let refused = try await login(docker.refused.address)
                    #expect(refused.status == 1)
                    #expect(PrivateDocker.isRefusal(refused.said, of: docker.refused.address), "\(refused)")
                    let config = try String(contentsOfFile: "\(docker.engine.config)/config.json", encoding: .utf8)
                    #expect(!config.contains(docker.refused.address))

                    let search = try await docker.engine.docker(client, ["search", "\(docker.refused.address)/hello"])
                    #expect(search.status == 1)
                    #expect(PrivateDocker.isRefusal(search.said, of: docker.refused.address), "\(search)")
                }
                #expect(!docker.refused.wasAsked)
            }
        }

        @Test("plugin install")
        func pluginInstall() async throws {
            try await PrivateDocker.behindProxy { docker, network in
                let plugin = "\(docker.allowed.address)/acme/plug:1"
                let directory = "\(docker.engine.root)/plug"
                try FileManager.default.createDirectory(
                    atPath: "\(directory)/rootfs",
                    withIntermediateDirectories: true
                )
                try "x".write(toFile: "\(directory)/rootfs/x", atomically: true, encoding: .utf8)
                let settings = """
                    { "description": "A plugin for a test.", "documentation": "", "entrypoint": ["/x"],
                      "interface": { "types": ["docker.volumedriver/1.0"], "socket": "x.sock" },
                      "network": { "type": "none" }, "linux": { "capabilities": [] } }
                    """
                try settings.write(toFile: "\(directory)/config.json", atomically: true, encoding: .utf8)
                try await docker.engine.docker(["plugin", "create", plugin, directory]).expecting(0)
                try await docker.engine.docker(["plugin", "push", plugin]).expecting(0)
                try await docker.engine.docker(["plugin", "rm", plugin]).expecting(0)
                let install = ["plugin", "install", "--disable", "--grant-all-permissions"]
                let installed = try await docker.engine.docker(install + [plugin]).expecting(0)
                #expect(installed.said.contains("Installed plugin \(plugin)"))

                try await network.expectNobody(asks: .stranger) {
                    let refused = try await docker.engine.docker(install + ["\(docker.refused.address)/acme/plug:1"])
                    #expect(refused.status == 1)
                    #expect(PrivateDocker.isRefusal(refused.said, of: docker.refused.address), "\(refused)")
                    let list = try await docker.engine.docker(["plugin", "ls"]).expecting(0)
                    #expect(!list.output.contains(docker.refused.address), "\(list)")
                }
                #expect(!docker.refused.wasAsked)
            }
        }

        @Test("an image that went through the proxy is the one that went directly")
        func identical() async throws {
            try await PrivateDocker.behindProxy { docker, network in
                // Chance cannot be compressed, so all of it goes over the wire.
                let directory = "\(docker.engine.root)/context"
                try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
                try await runProgram([
                    "dd", "if=/dev/urandom", "of=\(directory)/chance", "bs=1M", "count=48", "status=none",
                ]).expecting(0)
                try "FROM \(docker.allowed.image)\nADD chance /chance\n"
                    .write(toFile: "\(directory)/Dockerfile", atomically: true, encoding: .utf8)
                let other = "\(docker.engine.root)/o"
                try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
                try await PrivateEngine.with(in: other, policy: nil, hasPlugin: false, network: network) { direct in
                    let sent = "\(docker.allowed.address)/direct/chance:1"
                    try await direct.docker(["build", "--tag", sent, directory]).expecting(0)
                    try await direct.docker(["push", sent]).expecting(0)

                    // Pulled through the proxy, pushed through it to another repository, pulled directly again.
                    let through = "\(docker.allowed.address)/through/chance:1"
                    try await docker.engine.docker(["pull", sent]).expecting(0)
                    try await docker.engine.docker(["tag", sent, through]).expecting(0)
                    try await docker.engine.docker(["push", through]).expecting(0)
                    let fetch = "https://\(docker.allowed.address)/v2/$0/chance"
                    let digests = """
                        manifest=$(curl -sSf -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
                            -H 'Accept: application/vnd.oci.image.manifest.v1+json' \(fetch)/manifests/1)
                        printf '%s' "$manifest" | sha256sum
                        for blob in $(printf '%s' "$manifest" | grep -o 'sha256:[0-9a-f]*'); do
                            curl -sSf \(fetch)/blobs/$blob | sha256sum
                        done
                        """
                    let before = try await network.run(["sh", "-euc", digests, "direct"]).expecting(0)
                    let after = try await network.run(["sh", "-euc", digests, "through"]).expecting(0)
                    #expect(before.output == after.output)
                    // A manifest, a configuration and two layers.
                    #expect(before.output.split(separator: "\n").count == 4, "\(before)")

                    func identity(_ engine: PrivateEngine, _ image: String) async throws -> String {
                        try await engine.docker([
                            "image", "inspect", "--format", "{{.Id}} {{json .RootFS.Layers}}", image,
                        ]).expecting(0).output
                    }
                    let original = try await identity(direct, sent)
                    #expect(try await identity(docker.engine, sent) == original)
                    try await direct.docker(["image", "rm", sent]).expecting(0)
                    try await direct.docker(["pull", through]).expecting(0)
                    #expect(try await identity(direct, through) == original)
                }
            }
        }
    }
}

extension PrivateNetwork {
    /// Expects that nobody tries to connect to a host while a body runs.
    func expectNobody(
        asks host: Host,
        sourceLocation: SourceLocation = #_sourceLocation,
        _ body: () async throws -> Void
    ) async throws {
        let before = try await connections(to: host.address)
        try await body()
        let after = try await connections(to: host.address)
        #expect(after == before, "\(after - before) connections to \(host.name)", sourceLocation: sourceLocation)
    }
}
