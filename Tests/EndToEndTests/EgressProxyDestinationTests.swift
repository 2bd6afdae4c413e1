import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Where an allowed registry leads the engine: to its token service, its blobs, somebody else's blobs; and where the
    /// engine's own settings lead it.
    @Suite(.serialized)
    struct EgressProxyDestinationTests {
        private typealias Host = PrivateNetwork.Host

        /// A registry that sends its clients elsewhere, in front of ``Host/registry``.
        private static let sites: [WebServer.Site] = [
            .init(
                .front,
                """
                add_header WWW-Authenticate 'Bearer realm="https://auth.acme.test/token",service="front"' always;
                location / {
                    if ($http_authorization != "Bearer open-sesame") { return 401; }
                    proxy_set_header Host $http_host;
                    proxy_pass https://10.77.0.2;
                }
                location ~ ^/v2/acme/hello/blobs/ {
                    if ($http_authorization != "Bearer open-sesame") { return 401; }
                    return 307 https://blobs.acme.test$request_uri;
                }
                location ~ ^/v2/acme/astray/blobs/ { return 307 https://stranger.test$request_uri; }
                location ~ ^/v2/acme/astray/(.*)$ {
                    if ($http_authorization != "Bearer open-sesame") { return 401; }
                    proxy_set_header Host $http_host;
                    proxy_pass https://10.77.0.2/v2/acme/hello/$1;
                }
                """
            ),
            .init(
                .auth,
                """
                default_type application/json;
                location /token { return 200 '{"token":"open-sesame","access_token":"open-sesame"}'; }
                """
            ),
            .init(.blobs, "location / { proxy_set_header Host $http_host; proxy_pass https://10.77.0.2; }"),
        ]

        private static func policy(version: Int, supportHosts: [Host]) -> String {
            let names = supportHosts.map { "\"\($0.name)\"" }.joined(separator: ", ")
            return """
                { "version": \(version), "organization": "acme", "contact": "platform@acme.test", "registries": [
                    { "address": "front.acme.test", "allowed": true, "supportHosts": [\(names)] } ] }
                """
        }

        @Test("a token service and blobs on other hosts: as support hosts only", arguments: DockerClients.all)
        func supportHosts(client: String) async throws {
            let policy = Self.policy(version: 1, supportHosts: [.auth, .blobs])
            try await PrivateDocker.behindProxy(policy: policy) { docker, network in
                try await WebServer.with(in: docker.engine.root, network, Self.sites) { web in
                    let image = "\(Host.front.name)/acme/hello:1"
                    try await docker.engine.docker(client, ["pull", image]).expecting(0)
                    #expect(web.log(of: .auth).contains("GET /token"))
                    #expect(web.log(of: .blobs).contains("/blobs/sha256:"))
                    try await docker.engine.docker(client, ["image", "rm", image]).expecting(0)
                    // A support host is no registry, though the proxy cannot tell.
                    try await docker.engine.docker(["ram", "check", "\(Host.blobs.name)/acme/hello:1"]).expecting(3)

                    for (version, open, closed) in [(2, Host.blobs, Host.auth), (3, .auth, .blobs)] {
                        let policy = Self.policy(version: version, supportHosts: [open])
                        try await docker.engine.daemon.enforce(policy: policy, version: version)
                        try await network.expectNobody(asks: closed) {
                            let refused = try await docker.engine.docker(client, ["pull", image])
                            #expect(refused.status == 1)
                            let said = PrivateDocker.isRefusal(refused.errors, of: closed.name, policy: version)
                            #expect(said, "\(refused)")
                            #expect(try await !docker.has(image))
                        }
                    }
                }
            }
        }

        @Test("an allowed registry that redirects to a stranger", arguments: DockerClients.all)
        func redirectToStranger(client: String) async throws {
            let policy = Self.policy(version: 1, supportHosts: [.auth, .blobs])
            try await PrivateDocker.behindProxy(policy: policy) { docker, network in
                try await WebServer.with(in: docker.engine.root, network, Self.sites) { web in
                    try await network.expectNobody(asks: .stranger) {
                        let image = "\(Host.front.name)/acme/astray:1"
                        let refused = try await docker.engine.docker(client, ["pull", image])
                        #expect(refused.status == 1)
                        #expect(PrivateDocker.isRefusal(refused.errors, of: Host.stranger.name), "\(refused)")
                        #expect(try await !docker.has(image))
                        #expect(web.log(of: .front).contains(" 307 "))
                    }
                    #expect(!docker.refused.wasAsked)
                }
            }
        }

        @Test("a layer that an allowed registry says to fetch from a stranger")
        func foreignLayer() async throws {
            try await PrivateDocker.behindProxy { docker, network in
                try await WebServer.with(in: docker.engine.root, network, [.init(.files)]) { web in
                    try FileManager.default.copyItem(
                        atPath: "\(docker.allowed.parts)/layer.tar.gz",
                        toPath: "\(web.directory)/layer"
                    )
                    func put(_ tag: String, layerFrom url: String) async throws {
                        let path = "\(docker.allowed.parts)/manifest.json"
                        let manifest = try String(contentsOfFile: path, encoding: .utf8)
                            .replacingOccurrences(of: "rootfs.diff.tar.gzip", with: "rootfs.foreign.diff.tar.gzip")
                            .replacingOccurrences(of: "}]}", with: #","urls":["\#(url)"]}]}"#)
                        try await network.run(
                            [
                                "curl", "-sSf", "-X", "PUT", "--data-binary", "@-", "-H",
                                "Content-Type: application/vnd.docker.distribution.manifest.v2+json",
                                "https://\(docker.allowed.address)/v2/acme/foreign/manifests/\(tag)",
                            ],
                            input: manifest
                        ).expecting(0)
                    }
                    try await network.run([
                        "sh", "-euc",
                        """
                        base=https://\(docker.allowed.address)/v2/acme
                        place=$(curl -sSf -X POST -o /dev/null -w '%header{location}' $base/foreign/blobs/uploads/)
                        curl -sSf -X PUT -H 'Content-Type: application/octet-stream' \
                            --data-binary @\(docker.allowed.parts)/config.json \
                            "$place&digest=sha256:$(sha256sum <\(docker.allowed.parts)/config.json | cut -d ' ' -f 1)"
                        """,
                    ]).expecting(0)
                    try await put("stranger", layerFrom: "https://\(Host.stranger.name)/layer")
                    try await put("files", layerFrom: "https://\(Host.files.name)/layer")
                    let repository = "\(docker.allowed.address)/acme/foreign"
                    // A build forgets where the layer is if images are in containerd; a pull does not.
                    let isInContainerd = try await docker.engine.keepsImagesInContainerd()
                    func command(_ tag: String) -> [String] {
                        isInContainerd ? ["pull", "\(repository):\(tag)"] : ["build", "--tag", "made:1", "-"]
                    }
                    try await network.expectNobody(asks: .stranger) {
                        // The engine tries again and again for more than a minute, and says nothing meanwhile.
                        let client = try RunningProgram(
                            [DockerClients.debian] + command("stranger"),
                            environment: docker.engine.environment.merging(["DOCKER_BUILDKIT": "1"]) { _, new in new },
                            input: "FROM \(repository):stranger\n"
                        )
                        try await waitUntil("the proxy has refused it") {
                            let registry = "\"registry\":\"\(Host.stranger.name)\""
                            if docker.engine.daemon.decisions.contains(registry) { return true }
                            guard client.status == nil else {
                                throw UnexpectedEnd(description: "\(client.output)\(client.errors)")
                            }
                            return false
                        }
                        try await client.stop()
                        #expect(try await !docker.has(isInContainerd ? "\(repository):stranger" : "made:1"))
                    }
                    #expect(!docker.refused.wasAsked)
                    let policy = PrivateDocker.policy(
                        version: 2,
                        allowing: [docker.allowed.address, Host.files.name]
                    )
                    try await docker.engine.daemon.enforce(policy: policy, version: 2)
                    try await docker.engine.docker(
                        DockerClients.debian,
                        command("files"),
                        input: "FROM \(repository):files\n",
                        environment: ["DOCKER_BUILDKIT": "1"]
                    ).expecting(0)
                    #expect(web.log(of: .files).contains("GET /layer HTTP/1.1\" 200"))
                }
            }
        }

        @Test("a mirror of Docker Hub: asked if it is allowed, and Docker Hub is not asked in its place")
        func mirror() async throws {
            for isAllowed in [true, false] {
                let allowing = isAllowed ? ["docker.io", Host.mirror.name] : [Host.registry.name]
                try await PrivateDocker.behindProxy(
                    policy: PrivateDocker.policy(version: 1, allowing: allowing),
                    engineSettings: #","registry-mirrors":["https://mirror.acme.test"]"#
                ) { docker, network in
                    let sites: [WebServer.Site] = [
                        .init(
                            .mirror,
                            """
                            location / { proxy_set_header Host $http_host; proxy_pass https://10.77.0.2; }
                            """
                        )
                    ]
                    try await WebServer.with(in: docker.engine.root, network, sites) { web in
                        if isAllowed {
                            try await docker.engine.docker(["pull", "acme/hello:1"]).expecting(0)
                            #expect(web.log(of: .mirror).contains("/v2/acme/hello/manifests/1"))
                        } else {
                            try await network.expectNobody(asks: .mirror) {
                                let refused = try await docker.engine.docker(["pull", "acme/hello:1"])
                                #expect(refused.status == 1)
                                // The engine goes on to Docker Hub, and it is Docker Hub's refusal that it shows;
                                // with images in containerd it is the mirror's.
                                let isInContainerd = try await docker.engine.keepsImagesInContainerd()
                                let shown = isInContainerd ? Host.mirror.name : "docker.io"
                                #expect(PrivateDocker.isRefusal(refused.errors, of: shown), "\(refused)")
                                #expect(try await !docker.has("acme/hello:1"))
                                let log = try await docker.engine.docker(["ram", "log"]).expecting(0)
                                #expect(log.output.contains(Host.mirror.name), "\(log)")
                            }
                        }
                    }
                }
            }
        }

        @Test("a registry on localhost: the engine asks no proxy, so the plugin decides, and a build gets through")
        func localhost() async throws {
            try await PrivateDocker.behindProxy(hasPlugin: true) { docker, network in
                let place = PrivateRegistry.Place(
                    network,
                    PrivateNetwork.Host("localhost", "127.0.0.1"),
                    port: 5000,
                    hasTLS: false
                )
                let directory = "\(docker.engine.root)/local"
                try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
                try await PrivateRegistry.with(in: directory, at: place) { local in
                    let before = try await network.connections(to: "127.0.0.1", port: 5000)
                    for image in [local.image, "127.0.0.1:5000/acme/hello:1"] {
                        let refused = try await docker.engine.docker(["pull", image])
                        #expect(refused.status == 1)
                        let registry = image.prefix { $0 != "/" }
                        #expect(PrivateDocker.isRefusal(refused.errors, of: String(registry)), "\(refused)")
                    }
                    #expect(try await network.connections(to: "127.0.0.1", port: 5000) == before)

                    // What docs/ says that it does not stop without lockdown: no enforcement point sees this.
                    let built = try await docker.build(
                        "FROM \(local.image)\n",
                        environment: ["DOCKER_BUILDKIT": "1"]
                    )
                    #expect(built.status == 0, "\(built)")
                    #expect(try await network.connections(to: "127.0.0.1", port: 5000) > before)
                    let log = try await docker.engine.docker(["ram", "log", "--format", "json"]).expecting(0)
                    #expect(!log.output.contains(#""point": "egress-proxy""#), "\(log)")
                }
            }
        }
    }
}
