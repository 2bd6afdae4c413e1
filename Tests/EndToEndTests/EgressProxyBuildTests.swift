import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// What a build fetches, which Docker shows to no authorization plugin.
    @Suite(.serialized)
    struct EgressProxyBuildTests {
        private typealias Host = PrivateNetwork.Host

        private static let policy = PrivateDocker.policy(
            version: 1,
            allowing: [Host.registry.name, Host.files.name, "\(Host.files.name):8443"]
        )

        @Test("BuildKit: FROM, COPY --from, ADD and # syntax", arguments: [false, true])
        func buildKit(hasPlugin: Bool) async throws {
            try await PrivateDocker.behindProxy(policy: Self.policy, hasPlugin: hasPlugin) { docker, network in
                let sites = [WebServer.Site(.files)]
                try await WebServer.with(in: docker.engine.root, network, sites) { web in
                    try "content".write(toFile: "\(web.directory)/file", atomically: true, encoding: .utf8)
                    func build(_ recipe: String) async throws -> EndedProgram {
                        try await docker.build(recipe, environment: ["DOCKER_BUILDKIT": "1"])
                    }
                    let (good, bad) = (docker.allowed.image, docker.refused.image)
                    try await build("FROM \(good)\nCOPY --from=\(good) /hello /hello2\n").expecting(0)
                    #expect(try await docker.has("made:1"))
                    try await docker.engine.docker(["image", "rm", "made:1"]).expecting(0)
                    try await build("FROM \(good)\nADD https://\(Host.files.name)/file /file\n").expecting(0)
                    #expect(web.log(of: .files).contains("GET /file HTTP/1.1\" 200"))
                    // It is no frontend, but it is fetched.
                    let syntax = try await build("# syntax=\(good)\nFROM \(good)\n")
                    #expect(!syntax.said.contains("disallowed"), "\(syntax)")
                    try await docker.engine.docker(["image", "rm", "made:1"]).expecting(0)

                    try await network.expectNobody(asks: .stranger) {
                        for recipe in [
                            "FROM \(bad)\n",
                            "FROM \(good)\nCOPY --from=\(bad) /hello /hello2\n",
                            "FROM \(good)\nADD https://\(Host.stranger.name)/file /file\n",
                            "# syntax=\(bad)\nFROM \(good)\n",
                            "ARG REGISTRY=\(Host.stranger.name)\nFROM $REGISTRY/acme/hello:1\n",
                        ] {
                            let refused = try await build(recipe)
                            #expect(refused.status != 0)
                            #expect(PrivateDocker.isRefusal(refused.said, of: Host.stranger.name), "\(refused)")
                            #expect(try await !docker.has("made:1"))
                        }
                        // BuildKit does not show why; the decision log does.
                        let plain = try await build("FROM \(good)\nADD http://\(Host.stranger.name)/file /file\n")
                        #expect(plain.said.contains("403"), "\(plain)")
                    }
                    #expect(!docker.refused.wasAsked)
                }
            }
        }

        @Test("the classic builder: FROM, COPY --from, ADD and a context by URL", arguments: DockerClients.all)
        func classic(client: String) async throws {
            try await PrivateDocker.behindProxy(policy: Self.policy) { docker, network in
                let sites = [WebServer.Site(.files)]
                try await WebServer.with(in: docker.engine.root, network, sites) { web in
                    try "content".write(toFile: "\(web.directory)/file", atomically: true, encoding: .utf8)
                    func build(_ recipe: String) async throws -> EndedProgram {
                        try await docker.build(recipe, client: client)
                    }
                    let (good, bad) = (docker.allowed.image, docker.refused.image)
                    try await build("FROM \(good)\nCOPY --from=\(good) /hello /hello2\n").expecting(0)
                    try await docker.engine.docker(["image", "rm", "made:1"]).expecting(0)
                    try await build("FROM \(good)\nADD https://\(Host.files.name)/file /file\n").expecting(0)
                    #expect(web.log(of: .files).contains("GET /file HTTP/1.1\" 200"))
                    try await docker.engine.docker(["image", "rm", "made:1"]).expecting(0)

                    try await network.expectNobody(asks: .stranger) {
                        for recipe in [
                            "FROM \(bad)\n",
                            "FROM \(good)\nCOPY --from=\(bad) /hello /hello2\n",
                            "FROM \(good)\nADD https://\(Host.stranger.name)/file /file\n",
                        ] {
                            let refused = try await build(recipe)
                            #expect(refused.status != 0)
                            #expect(PrivateDocker.isRefusal(refused.said, of: Host.stranger.name), "\(refused)")
                            #expect(try await !docker.has("made:1"))
                        }
                        let context = try await docker.engine.raw(
                            "POST /v1.41/build?remote=https://\(Host.stranger.name)/context.tar HTTP/1.1\r\nHost: d\r\n"
                                + "Connection: close\r\nContent-Length: 0\r\n\r\n"
                        )
                        #expect(PrivateDocker.isRefusal(context, of: Host.stranger.name), "\(context)")
                    }
                    #expect(!docker.refused.wasAsked)
                }
            }
        }

        @Test("a git context over https: the classic builder goes through the proxy, BuildKit from engine 28 on")
        func gitContext() async throws {
            try await PrivateDocker.behindProxy(policy: Self.policy) { docker, network in
                let sites = [Host.files, .stranger].map { WebServer.Site($0, port: 8443) }
                try await WebServer.with(in: docker.engine.root, network, sites) { web in
                    // git's simple protocol: files that any web server serves.
                    try await runProgram([
                        "sh", "-euc",
                        """
                        git init -q "$0/work" && cd "$0/work"
                        printf 'FROM \(docker.allowed.image)\\nCOPY Dockerfile /x\\n' >Dockerfile
                        git add . && git -c user.name=t -c user.email=t@acme.test commit -q -m x
                        git clone -q --bare . "$0/x.git" && cd "$0/x.git" && git update-server-info
                        """, web.directory,
                    ]).expecting(0)
                    func classic(_ host: Host) async throws -> String {
                        try await docker.engine.raw(
                            "POST /v1.41/build?remote=https://\(host.name):8443/x.git&t=made:1 HTTP/1.1\r\nHost: d\r\n"
                                + "Connection: close\r\nContent-Length: 0\r\n\r\n"
                        )
                    }
                    let good = try await classic(.files)
                    // The engine gives the rest up because socat has nothing more to say.
                    #expect(good.contains("Step 1/2"), "\(good)")
                    #expect(web.log(of: .files).contains("GET /x.git/"))
                    try await waitUntil("the way through the proxy is recorded") {
                        docker.engine.daemon.decisions.contains("\(Host.files.name):8443")
                    }
                    try await network.expectNobody(asks: .stranger) {
                        // git shows only the code; the decision log says the rest.
                        let bad = try await classic(.stranger)
                        #expect(bad.contains("403"), "\(bad)")
                        #expect(try await !docker.has("made:1"))
                    }
                    try await waitUntil("the refusal is recorded") {
                        docker.engine.daemon.decisions.contains("\(Host.stranger.name):8443")
                    }

                    let before = docker.engine.daemon.decisions.components(separatedBy: Host.stranger.name).count
                    func buildKit() async throws -> EndedProgram {
                        try await docker.engine.docker(
                            DockerClients.debian,
                            ["build", "--tag", "made:1", "https://\(Host.stranger.name):8443/x.git"],
                            environment: ["DOCKER_BUILDKIT": "1"]
                        )
                    }
                    guard EngineUnderTest.major < 28 else {
                        try await network.expectNobody(asks: .stranger) {
                            let refused = try await buildKit()
                            #expect(refused.status != 0 && refused.said.contains("403"), "\(refused)")
                            #expect(try await !docker.has("made:1"))
                        }
                        return
                    }
                    // What docs/ says that it does not stop without lockdown: older BuildKit tells git of no proxy.
                    try await buildKit().expecting(0)
                    #expect(web.log(of: .stranger).contains("GET /x.git/"))
                    let after = docker.engine.daemon.decisions.components(separatedBy: Host.stranger.name).count
                    #expect(after == before)
                }
            }
        }
    }
}

extension PrivateDocker {
    /// Builds a Dockerfile as `made:1`.
    func build(
        _ recipe: String,
        client: String = DockerClients.debian,
        environment: [String: String] = [:]
    ) async throws -> EndedProgram {
        let directory = "\(engine.root)/context-\(UInt32.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try recipe.write(toFile: "\(directory)/Dockerfile", atomically: true, encoding: .utf8)
        return try await engine.docker(client, ["build", "--tag", "made:1", directory], environment: environment)
    }
}
