import Foundation
import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

extension EndToEnd {
    /// BuildKit in a container of its own: who may make such a container, and what it reaches.
    @Suite(.serialized)
    struct BuilderTests {
        /// The variables and the network that `docker ram engine builder` asks buildx for, as flags of `docker create`.
        private static func flags(_ engine: PrivateEngine) async throws -> [String] {
            let said = try await engine.docker(["ram", "engine", "builder", "a", "--print", "--format", "json"])
                .expecting(0)
            let command = try StrictJSON.parse(Array(said.output.utf8)).value(named: "command")?.elements ?? []
            let words = command.compactMap(\.text)
            return zip(words, words.dropFirst()).filter { $0.0 == "--driver-opt" }.map { _, option in
                option.hasPrefix("env.") ? "--env=\(option.dropFirst(4))" : "--\(option)"
            }
        }

        private static func policy(_ docker: PrivateDocker, version: Int, _ builders: String) -> String {
            PrivateDocker.policy(version: version, allowing: [docker.allowed.address])
                .replacing(#""registries""#, with: #""unmanagedBuilders": "\#(builders)", "registries""#)
        }

        @Test("a policy that denies unmanaged builders refuses them and no other container")
        func creation() async throws {
            try await PrivateDocker.with { docker in
                let engine = docker.engine
                try await engine.docker(["pull", docker.allowed.image]).expecting(0)
                try await engine.docker(["tag", docker.allowed.image, "moby/buildkit:buildx-stable-1"]).expecting(0)
                // BuildKit by its image, by its container's name, by its command, by its volume.
                let builders: [[String]] = [
                    ["moby/buildkit:buildx-stable-1"], ["--name=buildx_buildkit_a0", docker.allowed.image],
                    ["--entrypoint=sh", "moby/buildkit:buildx-stable-1"], [docker.allowed.image, "buildkitd"],
                    ["--volume=state:/var/lib/buildkit", docker.allowed.image],
                    ["--mount=type=volume,source=state,target=/var/lib/buildkit", docker.allowed.image],
                ]
                let others: [[String]] = [
                    [docker.allowed.image, "sh"],
                    [
                        "--privileged", "--network=host", "--name=plain", "--label=a=1", "--label=A=2",
                        docker.allowed.image,
                    ],
                ]
                for arguments in builders + others {
                    try await engine.docker(["create"] + arguments).expecting(0)
                }
                try await engine.docker(["rm", "plain", "buildx_buildkit_a0"]).expecting(0)

                try engine.write(policy: Self.policy(docker, version: 2, "deny"))
                let sentence = "Your organization has disallowed builders outside its egress proxy: "
                try await waitUntil("policy 2 is in force", within: .seconds(5)) {
                    try await engine.docker(["create", "moby/buildkit:buildx-stable-1"]).said.contains(sentence)
                }
                for arguments in builders {
                    let ended = try await engine.docker(["create"] + arguments).expecting(1)
                    #expect(ended.errors.contains(sentence), "\(ended)")
                    #expect(ended.errors.contains("(acme, policy 2, "), "\(ended)")
                    #expect(ended.errors.contains("Run: docker ram engine builder NAME."), "\(ended)")
                }
                for arguments in others { try await engine.docker(["create"] + arguments).expecting(0) }
                // A name that buildx would find, given later.
                let renamed = try await engine.docker(["rename", "plain", "buildx_buildkit_a0"]).expecting(1)
                #expect(renamed.errors.contains(sentence + "buildx_buildkit_a0"), "\(renamed)")
                try await engine.docker(["rename", "plain", "other"]).expecting(0)
                // A description that the engine does not show, as it is too long for it.
                let long = String(repeating: "x", count: 120_000)
                let many = (0..<10).map { "--env=LONG\($0)=\(long)" }
                let hidden = try await engine.docker(["create"] + many + [docker.allowed.image])
                #expect(hidden.status == 1)
                #expect(hidden.errors.contains("This request could not be inspected: Docker did not show its body"))

                // As docker ram engine builder has it made.
                let flags = try await Self.flags(engine)
                #expect(flags.count == 7)
                let managed = ["create", "--name=buildx_buildkit_b0", "--privileged"] + flags
                try await engine.docker(managed + ["moby/buildkit:buildx-stable-1", "--debug"]).expecting(0)
                let elsewhere = managed.map { $0 == "--network=host" ? "--network=bridge" : $0 }
                try await engine.docker(elsewhere + ["moby/buildkit:buildx-stable-1"]).expecting(1)
                let exception = managed.map { $0.hasPrefix("--env=no_proxy=") ? $0 + "evil.test" : $0 }
                try await engine.docker(exception + ["moby/buildkit:buildx-stable-1"]).expecting(1)

                let log = try await engine.docker(["ram", "log", "--format", "json"]).expecting(0)
                #expect(log.output.contains(#""reason": "unmanaged-builder""#), "\(log)")
            }
        }

        @Test("with its secret a builder reaches what the policy allows, through the proxy, and nothing else")
        func reach() async throws {
            try await PrivateDocker.behindProxy(hasPlugin: true) { docker, network in
                var environment: [String: String] = ["CURL_CA_BUNDLE": network.authority]
                for flag in try await Self.flags(docker.engine) where flag.hasPrefix("--env=") {
                    let parts = flag.dropFirst(6).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                    environment[String(parts[0])] = String(parts[1])
                }
                func ask(_ host: PrivateNetwork.Host, _ environment: [String: String]) async throws -> EndedProgram {
                    // As BuildKit does, by nothing but its environment.
                    let variables = environment.map { "\($0.key)=\($0.value)" }
                    return try await runProgram(
                        network.command(["env"] + variables + ["curl", "-sSv", "-m", "20", "https://\(host.name)/v2/"])
                    )
                }
                let allowed = try await ask(.registry, environment)
                #expect(allowed.status == 0, "\(allowed)")
                #expect(allowed.errors.contains("CONNECT registry.acme.test:443"), "\(allowed)")

                let refused = try await ask(.stranger, environment)
                #expect(PrivateDocker.isRefusal(refused.errors, of: "stranger.test"), "\(refused)")
                #expect(!docker.refused.wasAsked)

                // The engine's secret is another one, and a wrong one opens nothing.
                let paths = InstallationPaths(root: docker.engine.root)
                let secret = try ProxySecret(paths, of: .builders).secret.text
                #expect(try ProxySecret(paths).secret.text != secret)
                let wrong = environment.mapValues { $0.replacing(secret, with: String(repeating: "0", count: 32)) }
                #expect(try await ask(.registry, wrong).errors.contains("407"))
            }
        }
    }
}
