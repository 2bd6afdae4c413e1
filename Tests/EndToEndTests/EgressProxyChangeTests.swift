import Foundation
import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// The egress proxy while policies and the daemon itself change.
    @Suite(.serialized)
    struct EgressProxyChangeTests {
        private typealias Host = PrivateNetwork.Host

        @Test(
            "a policy that changes in the middle of a pull: what it still allows goes on, what it does not breaks off"
        )
        func policyChange() async throws {
            let policy = PrivateDocker.policy(version: 1, allowing: [Host.front.name])
            try await PrivateDocker.behindProxy(policy: policy) { docker, network in
                // Slow enough that the layer of 320 KiB is still under way when the policy changes.
                let sites: [WebServer.Site] = [
                    .init(
                        .front,
                        """
                        location / { proxy_set_header Host $http_host; proxy_pass https://10.77.0.2; }
                        location ~ /blobs/ {
                            limit_rate 64k;
                            proxy_set_header Host $http_host;
                            proxy_pass https://10.77.0.2;
                        }
                        """
                    )
                ]
                try await WebServer.with(in: docker.engine.root, network, sites) { web in
                    let image = "\(Host.front.name)/acme/hello:1"
                    func blobs() -> Int {
                        docker.allowed.log.split(separator: "\n").count { line in
                            [Host.front.name, "/blobs/", "response completed"].allSatisfy { line.contains($0) }
                        }
                    }
                    for (version, allowing) in [(2, [Host.front.name, "other.test"]), (3, ["other.test"])] {
                        let before = blobs()
                        let pull = try RunningProgram(
                            [DockerClients.debian, "pull", image],
                            environment: docker.engine.environment
                        )
                        // nginx has all of the configuration and of the layer at once, and hands it on slowly.
                        try await waitUntil("the layer is under way") { blobs() == before + 2 }
                        let policy = PrivateDocker.policy(version: version, allowing: allowing)
                        try await docker.engine.daemon.enforce(policy: policy, version: version)
                        #expect(pull.status == nil, "it was over before the policy changed: \(pull.output)")
                        if version == 2 {
                            #expect(try await pull.status(within: .seconds(60)) == 0, "\(pull.output)\(pull.errors)")
                            try await docker.engine.docker(["image", "rm", image]).expecting(0)
                        } else {
                            // The engine tries again for more than a minute before it says why; with images in
                            // containerd it says it at once.
                            try await waitUntil("the engine has tried again in vain") {
                                let isOver = pull.status.map { $0 != 0 } ?? pull.output.contains("Retrying")
                                return isOver && docker.engine.daemon.decisions.contains(#""deny""#)
                            }
                            try await pull.stop()
                            #expect(try await !docker.has(image))
                        }
                    }
                    try await network.expectNobody(asks: .front) {
                        let refused = try await docker.engine.docker(["pull", image])
                        #expect(refused.status == 1)
                        #expect(PrivateDocker.isRefusal(refused.errors, of: Host.front.name, policy: 3), "\(refused)")
                    }
                    #expect(web.log(of: .front).contains("/blobs/"))
                }
            }
        }

        @Test(
            "stopped, killed and started in a loop of pulls: none hangs, no refused one succeeds, allowed ones recover"
        )
        func restarts() async throws {
            try await PrivateDocker.behindProxy { docker, network in
                try await network.expectNobody(asks: .stranger) {
                    for round in 0..<6 {
                        async let pulls: [EndedProgram] = {
                            var ended: [EndedProgram] = []
                            for image in [docker.allowed.image, docker.refused.image, docker.allowed.image] {
                                // A pull that hangs does not end in the two minutes that it is given, and throws.
                                ended.append(try await docker.engine.docker(["pull", image]))
                            }
                            return ended
                        }()
                        try await Task.sleep(for: .milliseconds(30 * round))
                        try await docker.engine.stopDaemon(round.isMultiple(of: 2) ? SIGTERM : SIGKILL)
                        try await Task.sleep(for: .milliseconds(50))
                        try await docker.engine.startDaemon()
                        #expect(try await pulls[1].status != 0)
                        // Whatever came before, those after the start work.
                        _ = try await docker.engine.docker(["image", "rm", docker.allowed.image])
                        try await docker.engine.docker(["pull", docker.allowed.image]).expecting(0)
                        let refused = try await docker.engine.docker(["pull", docker.refused.image])
                        #expect(PrivateDocker.isRefusal(refused.errors, of: Host.stranger.name), "\(refused)")
                    }
                }
                #expect(!docker.refused.wasAsked)
            }
        }

        @Test("audit mode: all of it passes, and what would have been refused is recorded at both points")
        func audit() async throws {
            let policy = #"{ "version": 1, "organization": "acme", "mode": "audit", "registries": [] }"#
            try await PrivateDocker.behindProxy(policy: policy, hasPlugin: true) { docker, network in
                try await docker.engine.docker(["pull", docker.refused.image]).expecting(0)
                try await docker.build("FROM \(docker.allowed.image)\n", environment: ["DOCKER_BUILDKIT": "1"])
                    .expecting(0)
                try await waitUntil("both points have recorded it") {
                    let lines = docker.engine.daemon.decisions.split(separator: "\n")
                    func has(_ point: String, _ registry: String) -> Bool {
                        lines.contains { line in
                            [point, "\"\(registry)\"", "\"would-deny\""].allSatisfy { line.contains($0) }
                        }
                    }
                    return has("authorization-plugin", docker.refused.address)
                        && has("egress-proxy", docker.refused.address) && has("egress-proxy", docker.allowed.address)
                }
                #expect(!docker.engine.daemon.decisions.contains(#""verdict":"deny""#))
            }
        }
    }
}
