import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Docker's own commands, each with a registry that the policy allows and with one that it does not.
    @Suite(.serialized)
    struct DockerCommandsTests {
        @Test("pull", arguments: DockerClients.all)
        func pull(client: String) async throws {
            try await PrivateDocker.with { docker in
                let allowed = try await docker.engine.docker(client, ["pull", docker.allowed.image]).expecting(0)
                #expect(allowed.output.contains("Downloaded newer image for \(docker.allowed.image)"))

                let refused = try await docker.engine.docker(client, ["pull", docker.refused.image])
                #expect(refused.status == 1)
                #expect(PrivateDocker.isRefusal(refused.errors, of: docker.refused.address), "\(refused)")
                #expect(try await !docker.has(docker.refused.image))
                #expect(!docker.refused.wasAsked)

                let hub = try await docker.engine.docker(client, ["pull", "alpine"])
                #expect(PrivateDocker.isRefusal(hub.errors, of: "docker.io"), "\(hub)")
            }
        }

        @Test("run and create", arguments: DockerClients.all)
        func runAndCreate(client: String) async throws {
            try await PrivateDocker.with { docker in
                let network = ["--network", "none"]
                let ran = try await docker.engine.docker(client, ["run", "--rm"] + network + [docker.allowed.image])
                #expect(try ran.expecting(0).output == "\(PrivateRegistry.greeting)\n")
                try await docker.engine.docker(client, ["image", "rm", "-f", docker.allowed.image]).expecting(0)
                try await docker.engine.docker(client, ["create"] + network + [docker.allowed.image]).expecting(0)

                for command in [["run", "--rm"], ["create"]] {
                    let refused = try await docker.engine.docker(client, command + network + [docker.refused.image])
                    #expect(refused.status != 0)
                    #expect(PrivateDocker.isRefusal(refused.errors, of: docker.refused.address), "\(refused)")
                }
                #expect(try await !docker.has(docker.refused.image))
                #expect(!docker.refused.wasAsked)
                try await docker.engine.docker(client, ["ps", "--all"]).expecting(0)
            }
        }

        @Test("tag and push", arguments: DockerClients.all)
        func tagAndPush(client: String) async throws {
            try await PrivateDocker.with { docker in
                try await docker.engine.docker(client, ["pull", docker.allowed.image]).expecting(0)
                let mine = "\(docker.allowed.address)/mine/hello:2"
                try await docker.engine.docker(client, ["tag", docker.allowed.image, mine]).expecting(0)
                try await docker.engine.docker(client, ["push", mine]).expecting(0)

                let elsewhere = "\(docker.refused.address)/mine/hello:2"
                try await docker.engine.docker(client, ["tag", docker.allowed.image, elsewhere]).expecting(0)
                let refused = try await docker.engine.docker(client, ["push", elsewhere])
                #expect(refused.status == 1)
                #expect(PrivateDocker.isRefusal(refused.said, of: docker.refused.address), "\(refused)")
                #expect(!docker.refused.wasAsked)
            }
        }

        // A developer owns these settings, so the credential helper can be gone around; the engine still refuses.
        @Test("valid credentials outside of the helper do not help", arguments: DockerClients.all)
        func credentialsElsewhere(client: String) async throws {
            let account = PrivateRegistry.Account()
            try await PrivateDocker.with(account: account) { docker in
                let pair = Data("\(account.name):\(account.password)".utf8).base64EncodedString()
                let addresses = [docker.allowed.address, docker.refused.address]
                let auths = addresses.map { address in #""\#(address)":{"auth":"\#(pair)"}"# }
                let config = #"{"auths":{\#(auths.joined(separator: ","))}}"#
                let other = "\(docker.engine.root)/other-config"
                try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
                for directory in [docker.engine.config, other] {
                    try config.write(toFile: "\(directory)/config.json", atomically: true, encoding: .utf8)
                }
                let ways: [(arguments: [String], environment: [String: String])] = [
                    ([], [:]), (["--config", other], [:]), ([], ["DOCKER_CONFIG": other]),
                    ([], ["DOCKER_AUTH_CONFIG": config]),
                ]
                for way in ways {
                    func pull(_ image: String) async throws -> EndedProgram {
                        let arguments = way.arguments + ["pull", image]
                        return try await docker.engine.docker(client, arguments, environment: way.environment)
                    }
                    try await pull(docker.allowed.image).expecting(0)
                    let refused = try await pull(docker.refused.image)
                    #expect(refused.status == 1)
                    #expect(PrivateDocker.isRefusal(refused.errors, of: docker.refused.address), "\(refused)")
                }
                #expect(try await !docker.has(docker.refused.image))
                #expect(!docker.refused.wasAsked)
            }
        }

        @Test("login and logout through docker-credential-ram", arguments: DockerClients.all)
        func loginAndLogout(client: String) async throws {
            let account = PrivateRegistry.Account()
            try await PrivateDocker.with(account: account) { docker in
                try await PrivateKeyring.with(in: docker.engine.root) { keyring in
                    try #"{"credsStore":"ram"}"#.write(
                        toFile: "\(docker.engine.config)/config.json",
                        atomically: true,
                        encoding: .utf8
                    )
                    func login(_ address: String) async throws -> EndedProgram {
                        try await docker.engine.docker(
                            client,
                            ["login", "--username", account.name, "--password-stdin", address],
                            input: account.password,
                            environment: keyring.environment
                        )
                    }
                    let before = try await docker.engine.docker(
                        client,
                        ["pull", docker.allowed.image],
                        environment: keyring.environment
                    )
                    #expect(before.status != 0)

                    #expect(try await login(docker.allowed.address).expecting(0).said.contains("Login Succeeded"))
                    try await docker.engine.docker(
                        client,
                        ["pull", docker.allowed.image],
                        environment: keyring.environment
                    ).expecting(0)
                    let config = try String(contentsOfFile: "\(docker.engine.config)/config.json", encoding: .utf8)
                    #expect(!config.contains("b3Blbi1zZXNhbWU"), "the password must not be in config.json")

                    let refused = try await login(docker.refused.address)
                    #expect(refused.status == 1)
                    #expect(PrivateDocker.isRefusal(refused.said, of: docker.refused.address), "\(refused)")
                    let list = try await keyring.helper("list")
                    #expect(list.output.contains(docker.allowed.address))
                    #expect(!list.output.contains(docker.refused.address))

                    try await docker.engine.docker(
                        client,
                        ["logout", docker.allowed.address],
                        environment: keyring.environment
                    ).expecting(0)
                    #expect(try await keyring.helper("list").output == "{}\n")
                    let after = try await docker.engine.docker(
                        client,
                        ["pull", "\(docker.allowed.address)/acme/hello:other"],
                        environment: keyring.environment
                    )
                    #expect(after.said.contains("no basic auth credentials"), "\(after)")
                }
            }
        }

        @Test("plugin install")
        func pluginInstall() async throws {
            try await PrivateDocker.with { docker in
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
                // Another engine makes it, because what is in a plugin's archive cannot be inspected.
                try FileManager.default.createDirectory(
                    atPath: "\(docker.engine.root)/o",
                    withIntermediateDirectories: true
                )
                try await PrivateEngine.with(in: "\(docker.engine.root)/o", policy: nil, hasPlugin: false) { other in
                    try await other.docker(["plugin", "create", plugin, directory]).expecting(0)
                    try await other.docker(["plugin", "push", plugin]).expecting(0)
                }
                let install = ["plugin", "install", "--disable", "--grant-all-permissions"]
                let installed = try await docker.engine.docker(install + [plugin]).expecting(0)
                #expect(installed.said.contains("Installed plugin \(plugin)"))

                let refused = try await docker.engine.docker(install + ["\(docker.refused.address)/acme/plug:1"])
                #expect(refused.status == 1)
                #expect(PrivateDocker.isRefusal(refused.errors, of: docker.refused.address), "\(refused)")
                #expect(!docker.refused.wasAsked)

                let ours = try await docker.engine.docker(install + ["--alias", "docker-ram", plugin])
                #expect(ours.status == 1)
                #expect(ours.errors.contains("This plugin may not be replaced: docker-ram"), "\(ours)")
            }
        }

        @Test("import by URL")
        func importByURL() async throws {
            try await PrivateDocker.with { docker in
                // What comes is no archive, so the engine says so: the host was contacted.
                let allowed = try await docker.engine.docker(["import", "http://\(docker.allowed.address)/v2/", "x:1"])
                #expect(allowed.said.contains("Downloading from http://\(docker.allowed.address)/v2/"), "\(allowed)")
                let refused = try await docker.engine.docker(["import", "http://\(docker.refused.address)/v2/", "x:1"])
                #expect(refused.status == 1)
                #expect(PrivateDocker.isRefusal(refused.errors, of: docker.refused.address), "\(refused)")
                #expect(!docker.refused.wasAsked)
            }
        }

        @Test("service create")
        func serviceCreate() async throws {
            try await PrivateDocker.with { docker in
                let port = Int.random(in: 20000..<32000)
                try await docker.engine.docker([
                    "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:\(port)",
                ]).expecting(0)
                let create = ["service", "create", "--detach", "--restart-condition", "none", "--network", "host"]
                try await docker.engine.docker(create + ["--name", "good", docker.allowed.image]).expecting(0)
                try await waitUntil("the service ran its image") {
                    try await docker.engine.docker(["service", "ps", "good"]).output.contains("Complete")
                }
                let refused = try await docker.engine.docker(create + ["--name", "bad", docker.refused.image])
                #expect(refused.status == 1)
                #expect(PrivateDocker.isRefusal(refused.errors, of: docker.refused.address), "\(refused)")
                #expect(!docker.refused.wasAsked)
                try await docker.engine.docker(["service", "rm", "good"]).expecting(0)
                try await docker.engine.docker(["swarm", "leave", "--force"]).expecting(0)
            }
        }

        @Test("classic build", arguments: DockerClients.all)
        func classicBuild(client: String) async throws {
            try await PrivateDocker.with { docker in
                let directory = "\(docker.engine.root)/context"
                try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
                let recipe = "FROM \(docker.allowed.image)\nLABEL a=b\n"
                try recipe.write(toFile: "\(directory)/Dockerfile", atomically: true, encoding: .utf8)
                try await docker.engine.docker(client, ["build", "--tag", "made:1", directory]).expecting(0)
                #expect(try await docker.has("made:1"))

                // The client fetches such a context itself, but a program may leave it to the engine.
                for source in ["http://\(docker.refused.address)/context.tar", "git://\(docker.refused.address)/x.git"]
                {
                    let answer = try await docker.engine.raw(
                        "POST /v1.41/build?remote=\(source) HTTP/1.1\r\nHost: d\r\nConnection: close\r\n"
                            + "Content-Length: 0\r\n\r\n"
                    )
                    #expect(answer.hasPrefix("HTTP/1.1 403"), "\(answer)")
                    #expect(PrivateDocker.isRefusal(answer, of: docker.refused.address), "\(answer)")
                }
                let cache = try await docker.engine.docker(
                    client,
                    ["build", "--cache-from", docker.refused.image, directory]
                )
                #expect(cache.status == 1)
                #expect(PrivateDocker.isRefusal(cache.said, of: docker.refused.address), "\(cache)")
            }
        }

        @Test("search and the image's digest in a registry")
        func lookUps() async throws {
            try await PrivateDocker.with { docker in
                let search = try await docker.engine.docker(["search", "\(docker.refused.address)/hello"])
                #expect(search.status == 1)
                #expect(PrivateDocker.isRefusal(search.errors, of: docker.refused.address), "\(search)")
                for (registry, isAllowed) in [(docker.allowed, true), (docker.refused, false)] {
                    let answer = try await docker.engine.raw(
                        "GET /v1.41/distribution/\(registry.image)/json HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
                    )
                    #expect(answer.hasPrefix(isAllowed ? "HTTP/1.1 200" : "HTTP/1.1 403"), "\(answer)")
                    #expect(PrivateDocker.isRefusal(answer, of: registry.address) == !isAllowed)
                }
                #expect(!docker.refused.wasAsked)
            }
        }

        @Test("a second client: Python's docker")
        func pythonClient() async throws {
            try await PrivateDocker.with { docker in
                let script = """
                    import docker, sys
                    client = docker.from_env()
                    image = client.images.pull(sys.argv[1])
                    print(image.tags[0])
                    print(client.containers.run(image, network_mode="none", remove=True).decode(), end="")
                    try:
                        client.images.pull(sys.argv[2])
                        print("pulled")
                    except docker.errors.APIError as error:
                        print(error.status_code, error.explanation)
                    """
                let ended = try await runProgram(
                    ["/usr/bin/python3", "-c", script, docker.allowed.image, docker.refused.image],
                    environment: docker.engine.environment
                ).expecting(0)
                let lines = ended.output.split(separator: "\n").map(String.init)
                #expect(lines.first == docker.allowed.image)
                #expect(lines.dropFirst().first == PrivateRegistry.greeting)
                #expect(lines.last?.hasPrefix("403 ") == true)
                #expect(PrivateDocker.isRefusal(ended.output, of: docker.refused.address), "\(ended)")
                #expect(!docker.refused.wasAsked)
            }
        }

        @Test("what touches no registry always works")
        func otherCommands() async throws {
            try await PrivateDocker.with { docker in
                for command in [["ps"], ["info"], ["images"], ["volume", "create", "vol"], ["volume", "rm", "vol"]] {
                    try await docker.engine.docker(command).expecting(0)
                }
            }
        }

        @Test("status, check and log tell what happened")
        func commandLinePlugin() async throws {
            try await PrivateDocker.with { docker in
                _ = try await docker.engine.docker(["pull", docker.refused.image])
                let status = try await docker.engine.docker(["ram", "status"]).expecting(0)
                #expect(status.output.contains("acme"))
                #expect(status.output.contains(docker.refused.address))
                try await docker.engine.docker(["ram", "check", docker.allowed.image]).expecting(0)
                try await docker.engine.docker(["ram", "check", docker.refused.image]).expecting(3)
                let log = try await docker.engine.docker(["ram", "log", "--format", "json"]).expecting(0)
                #expect(log.output.contains(#""verdict": "deny""#), "\(log)")
                #expect(log.output.contains(docker.refused.image))
            }
        }
    }
}

extension PrivateDocker {
    /// Whether the engine has an image.
    func has(_ image: String) async throws -> Bool {
        try await engine.docker(["image", "inspect", image]).status == 0
    }
}

extension PrivateRegistry {
    /// Whether a Docker client or engine has asked this registry for anything.
    var wasAsked: Bool { ["UpstreamClient", "Docker-Client", "Go-http-client"].contains { log.contains($0) } }
}
