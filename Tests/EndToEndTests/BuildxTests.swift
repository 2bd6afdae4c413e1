import Foundation
import LocalInstallation
import TestSupport
import Testing

/// What the tests of BuildKit in containers need beside the engine.
enum Buildx {
    /// Whether `docker buildx version` answers.
    static let isThere = answers()
    /// Static `buildkitd` and `buildctl`: beside the engine under test, or where an administrator puts programs.
    static let buildKit = [EngineUnderTest.directory, "/usr/local/bin", "/usr/bin"].first { directory in
        ["buildkitd", "buildctl"].allSatisfy { FileManager.default.isExecutableFile(atPath: "\(directory)/\($0)") }
    }

    private static func answers() -> Bool {
        let program = Process()
        program.executableURL = URL(fileURLWithPath: DockerClients.debian)
        program.arguments = ["buildx", "version"]
        // The private engines' clients have no plugins of the person who tests.
        var environment = ProcessInfo.processInfo.environment
        environment["DOCKER_CONFIG"] = "/nonexistent"
        program.environment = environment
        program.standardOutput = FileHandle.nullDevice
        program.standardError = FileHandle.nullDevice
        guard (try? program.run()) != nil else { return false }
        program.waitUntilExit()
        return program.terminationStatus == 0
    }
}

extension EndToEnd {
    /// The real buildx: its builders in containers, and the engine's own BuildKit through it.
    @Suite(.serialized, .enabled(if: Buildx.isThere, "docker has no buildx"))
    struct BuildxTests {
        private typealias Host = PrivateNetwork.Host

        private static let image = "\(Host.registry.name)/tools/buildkit:1"
        private static let policy = PrivateDocker.policy(
            version: 1,
            allowing: [Host.registry.name, Host.files.name]
        ).replacing(#""registries""#, with: #""unmanagedBuilders": "deny", "registries""#)

        @Test("the engine's own BuildKit through buildx: FROM, COPY --from, ADD, # syntax, cache and push")
        func engineBuilder() async throws {
            try await PrivateDocker.behindProxy(policy: Self.policy, hasPlugin: true) { docker, network in
                try await Self.expectDecided(docker, network, builder: "default", output: ["--load"])
            }
        }

        @Test(
            "a builder of docker ram engine builder goes through the proxy, and no other may be made",
            .enabled(if: Buildx.buildKit != nil, "there are no buildkitd and buildctl")
        )
        func containerBuilder() async throws {
            let programs = try #require(Buildx.buildKit)
            try await PrivateDocker.behindProxy(policy: Self.policy, hasPlugin: true) { docker, network in
                let engine = docker.engine
                try await Self.push(Self.image, programs, docker, network)

                let unmanaged = try await engine.docker([
                    "buildx", "create", "--name", "plain", "--driver", "docker-container", "--bootstrap",
                    "--driver-opt", "image=\(Self.image)", "--driver-opt", "network=host",
                ])
                #expect(unmanaged.status != 0)
                let sentence = "Your organization has disallowed builders outside its egress proxy: "
                #expect(unmanaged.said.contains(sentence + Self.image), "\(unmanaged)")
                let stranger = try await engine.docker([
                    "buildx", "create", "--name", "other", "--driver", "docker-container", "--bootstrap",
                    "--driver-opt", "image=\(Host.stranger.name)/tools/buildkit:1",
                ])
                #expect(stranger.status != 0)
                #expect(PrivateDocker.isRefusal(stranger.said, of: Host.stranger.name), "\(stranger)")

                let configuration = "\(engine.root)/buildkitd.toml"
                try "[registry.\"\(Host.registry.name)\"]\nca = [\"\(network.authority)\"]\n"
                    .write(toFile: configuration, atomically: true, encoding: .utf8)
                let options = ["--image", Self.image, "--buildkitd-config", configuration]
                try await engine.docker(["ram", "engine", "builder", "acme"] + options).expecting(0)
                try await engine.docker(["buildx", "inspect", "--bootstrap", "acme"]).expecting(0)
                try await Self.expectDecided(docker, network, builder: "acme", output: ["--load"])
                try await Self.expectGitDecided(docker, network, builder: "acme")

                let doctor = try await engine.docker(["ram", "doctor", "--format", "json"])
                for check in ["builder-containers", "builder-instances"] {
                    let said = try #require(doctor.output.components(separatedBy: "\"\(check)\"").last)
                    // The refused ones are still in buildx's list of builders.
                    let isListed = check == "builder-instances"
                    #expect(
                        said.prefix(60).contains(isListed ? #""error""# : #""ok""#),
                        "\(check): \(said.prefix(400))"
                    )
                }
                for name in ["plain", "other", "acme"] {
                    try await engine.docker(["buildx", "rm", name]).expecting(0)
                }
            }
        }

        @Test("what buildx does itself goes around the engine: imagetools, as docs/ says")
        func imageTools() async throws {
            try await PrivateDocker.behindProxy(policy: Self.policy, hasPlugin: true) { docker, network in
                let command = [DockerClients.debian, "buildx", "imagetools", "inspect", docker.refused.image]
                let before = try await network.connections(to: Host.stranger.address)
                try await network.run(command, environment: docker.engine.environment).expecting(0)
                #expect(try await network.connections(to: Host.stranger.address) > before)
                #expect(!docker.engine.daemon.decisions.contains(Host.stranger.name))
            }
        }

        /// What a build with a builder may fetch and push, and what not.
        private static func expectDecided(
            _ docker: PrivateDocker,
            _ network: PrivateNetwork,
            builder: String,
            output: [String]
        ) async throws {
            try await WebServer.with(in: docker.engine.root, network, [WebServer.Site(.files)]) { web in
                try "content".write(toFile: "\(web.directory)/file", atomically: true, encoding: .utf8)
                let (good, bad) = (docker.allowed.image, docker.refused.image)
                func build(_ recipe: String, _ options: [String]) async throws -> EndedProgram {
                    try await docker.buildx(recipe, builder: builder, options)
                }
                let recipe =
                    "FROM \(good)\nCOPY --from=\(good) /hello /hello2\nADD https://\(Host.files.name)/file /f\n"
                try await build(recipe, ["--tag", "made:1"] + output).expecting(0)
                #expect(try await docker.has("made:1"))
                #expect(web.log(of: .files).contains("GET /file HTTP/1.1\" 200"))
                try await docker.engine.docker(["image", "rm", "made:1"]).expecting(0)
                let pushed = ["--tag", "\(Host.registry.name)/made/\(builder):1", "--push"]
                try await build(recipe, pushed).expecting(0)
                #expect(docker.allowed.log.contains("/v2/made/\(builder)/manifests/1"))

                try await network.expectNobody(asks: .stranger) {
                    for recipe in [
                        "FROM \(bad)\n",
                        "FROM \(good)\nCOPY --from=\(bad) /hello /hello2\n",
                        "FROM \(good)\nADD https://\(Host.stranger.name)/file /file\n",
                        "# syntax=\(bad)\nFROM \(good)\n",
                        "ARG REGISTRY=\(Host.stranger.name)\nFROM $REGISTRY/acme/hello:1\n",
                    ] {
                        let refused = try await build(recipe, ["--tag", "made:1"] + output)
                        #expect(refused.status != 0)
                        #expect(PrivateDocker.isRefusal(refused.said, of: Host.stranger.name), "\(refused)")
                        #expect(try await !docker.has("made:1"))
                    }
                    let push = try await build(recipe, ["--tag", "\(Host.stranger.name)/made:1", "--push"])
                    #expect(push.status != 0)
                    #expect(PrivateDocker.isRefusal(push.said, of: Host.stranger.name), "\(push)")
                    // BuildKit of older engines knows no named contexts.
                    if builder != "default" || EngineUnderTest.major >= 23 {
                        let named = try await build(
                            "FROM other\n",
                            ["--build-context", "other=docker-image://\(bad)", "--tag", "made:1"] + output
                        )
                        #expect(named.status != 0)
                        #expect(PrivateDocker.isRefusal(named.said, of: Host.stranger.name), "\(named)")
                    }
                    // A cache that cannot be read is no fault to BuildKit.
                    _ = try await build(
                        recipe,
                        ["--cache-from", "type=registry,ref=\(bad)", "--tag", "made:1"] + output
                    )
                }
                #expect(!docker.refused.wasAsked)
            }
        }

        /// git in BuildKit's container goes through the proxy, too.
        private static func expectGitDecided(
            _ docker: PrivateDocker,
            _ network: PrivateNetwork,
            builder: String
        ) async throws {
            try await network.expectNobody(asks: .stranger) {
                let git = try await docker.engine.docker([
                    "buildx", "build", "--builder", builder, "https://\(Host.stranger.name)/x.git",
                ])
                #expect(git.status != 0)
                #expect(git.said.contains("403"), "\(git)")
            }
        }

        /// Puts an image with BuildKit into the registry that the policy allows, and not on the engine.
        private static func push(
            _ image: String,
            _ programs: String,
            _ docker: PrivateDocker,
            _ network: PrivateNetwork
        ) async throws {
            let directory = "\(docker.engine.root)/buildkit"
            let script = """
                mkdir -p "$1/usr/bin" "$1/etc/ssl/certs" "$1/tmp" "$1/usr/lib/git-core"
                cp "$2/buildkitd" "$2/buildctl" "$1/usr/bin/"
                cp "$(command -v git)" /usr/lib/git-core/git-remote-https "$1/usr/lib/git-core/"
                cp "$(command -v git)" "$(command -v runc)" "$1/usr/bin/"
                cp "$3" "$1/etc/ssl/certs/ca-certificates.crt"
                # What those are linked against, and what loads it.
                for program in git runc /usr/lib/git-core/git-remote-https; do ldd "$(command -v $program)"; done |
                    grep -o '/[^ ]*' | sort -u | while read -r library; do cp -nL --parents "$library" "$1"; done
                """
            try await runProgram(["sh", "-euc", script, "sh", directory, programs, network.authority]).expecting(0)
            try "FROM scratch\nCOPY . /\nENV PATH=/usr/bin\nENTRYPOINT [\"buildkitd\"]\n"
                .write(toFile: "\(directory)/Dockerfile", atomically: true, encoding: .utf8)
            try await docker.engine.docker(["build", "--tag", image, directory]).expecting(0)
            try await docker.engine.docker(["push", image]).expecting(0)
            try await docker.engine.docker(["image", "rm", image]).expecting(0)
        }
    }
}

extension PrivateDocker {
    /// Builds a Dockerfile with buildx.
    fileprivate func buildx(_ recipe: String, builder: String, _ options: [String]) async throws -> EndedProgram {
        let directory = "\(engine.root)/context-\(UInt32.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try recipe.write(toFile: "\(directory)/Dockerfile", atomically: true, encoding: .utf8)
        return try await engine.docker(["buildx", "build", "--builder", builder] + options + [directory])
    }
}
