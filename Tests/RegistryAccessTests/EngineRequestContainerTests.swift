import RegistryAccess
import Testing

@Suite struct EngineRequestContainerTests {
    static let proxy = "http://docker-ram-builder:0123456789abcdef0123456789abcdef@127.0.0.1:7260"

    /// The environment that `docker ram engine builder` gives to a builder, as members of a JSON list.
    static let environment = BuilderContainer.environment(through: proxy).map { "\"\($0.name)=\($0.value)\"" }

    /// What buildx's docker-container driver sends, with other members as they are given.
    static func buildx(
        _ environment: [String] = environment,
        image: String = "moby/buildkit:buildx-stable-1",
        network: String = "host",
        extra: String = ""
    ) -> String {
        """
        {"Hostname":"","User":"","Env":[\(environment.joined(separator: ","))],\
        "Cmd":["--allow-insecure-entitlement=network.host"],"Image":"\(image)","Volumes":null,"WorkingDir":"",\
        "Entrypoint":null,"Labels":null,"HostConfig":{"Binds":null,"NetworkMode":"\(network)",\
        "RestartPolicy":{"Name":"unless-stopped","MaximumRetryCount":0},"CapAdd":null,"Privileged":true,"Init":true,\
        "Mounts":[{"Type":"volume","Source":"buildx_buildkit_x0_state","Target":"/var/lib/buildkit"}]}\(extra)}
        """
    }

    private static func reading(
        _ line: String,
        _ shape: BodyShape,
        looksForBuilders: Bool = true
    ) -> EngineRequest.Reading {
        var request = CallRow(line, shape, "").request
        request.looksForBuilders = looksForBuilders
        return request.reading(ownPluginName: "docker-ram")
    }

    private static let create = "POST /v1.47/containers/create?name=x"

    // What buildx, docker run and people who hide it send, and what ordinary containers send.
    static let bodies: [(String, String)] = [
        (buildx(), "builder moby/buildkit:buildx-stable-1"),
        (#"{"Image":"moby/buildkit"}"#, "builder moby/buildkit"),
        (#"{"Image":"moby/buildkit:v0.20.0-rootless"}"#, "builder moby/buildkit:v0.20.0-rootless"),
        (#"{"Image":"mirror.test/docker.io/Moby/BuildKit:1"}"#, "builder mirror.test/docker.io/Moby/BuildKit:1"),
        (#"{"iMAGE":"moby/buildkit"}"#, "builder moby/buildkit"),
        (#"{"Image":"moby/build\u006bit"}"#, "builder moby/buildkit"),
        (#"{"Image":"x","Cmd":["buildkitd","--debug"]}"#, "builder x"),
        (#"{"Image":"x","Cmd":"buildkitd"}"#, "builder x"),
        (#"{"Image":"x","Cmd":["sh","-c","exec /usr/bin/buildkitd"]}"#, "builder x"),
        (#"{"Image":"x","Cmd":["--config","/etc/buildkit/buildkitd.toml"]}"#, "builder x"),
        (#"{"Image":"x","Cmd":["--allow-insecure-entitlement=network.host"]}"#, "builder x"),
        (#"{"Image":"x","Cmd":["--oci-worker-no-process-sandbox"]}"#, "builder x"),
        (#"{"Image":"x","Entrypoint":["rootlesskit","buildkitd"]}"#, "builder x"),
        (#"{"Image":"x","Entrypoint":["buildctl-daemonless.sh"]}"#, "builder x"),
        (#"{"Image":"x","Volumes":{"/var/lib/buildkit":{}}}"#, "builder x"),
        (#"{"Image":"x","HostConfig":{"Binds":["state:/var/lib/buildkit:rw"]}}"#, "builder x"),
        (#"{"Image":"x","Binds":["state:/var/lib/buildkit"]}"#, "builder x"),
        (#"{"Image":"x","HostConfig":{"Mounts":[{"Target":"//var/lib/./buildkit/"}]}}"#, "builder x"),
        (#"{"Image":"x","HostConfig":{"Mounts":[{"target":"/home/user/.local/share/buildkit"}]}}"#, "builder x"),
        (#"{"Image":"\u001b[2Jbuildkit"}"#, "builder ?[2Jbuildkit"),
        // Ordinary containers
        (#"{"Image":"alpine","Cmd":["sh"],"HostConfig":{"Privileged":true,"NetworkMode":"host"}}"#, "nothing"),
        (#"{"Image":"alpine","Entrypoint":null,"Env":null,"HostConfig":null,"Volumes":null}"#, "nothing"),
        (#"{"Image":"docker:dind","HostConfig":{"Privileged":true}}"#, "nothing"),
        (#"{"Image":"golang","Binds":["/home/me/src/buildkit:/go/src/buildkit"]}"#, "nothing"),
        (#"{"Image":"a","HostConfig":{"Mounts":[{"Source":"/var/lib/buildkit","Target":"/data"}]}}"#, "nothing"),
        (#"{"Image":"a","Labels":{"a":"1","A":"2"},"HostConfig":{"Sysctls":{"k":"1","K":"2"}}}"#, "nothing"),
        (#"{"Image":"a","NetworkingConfig":{"EndpointsConfig":{"n":{},"N":{}}}}"#, "nothing"),
        ("{}", "nothing"),
        // What has two readings, or none
        (#"{"Image":"a","image":"moby/buildkit"}"#, "?body"),
        (#"{"Image":"a","Image":"moby/buildkit"}"#, "?body"),
        (#"{"HostConfig":{},"host\u0043onfig":{}}"#, "?body"),
        (#"{"Ho\u017ftConfig":{},"HostConfig":{}}"#, "?body"),
        (#"{"HostConfig":{"Mounts":[{"Target":"/a","target":"/var/lib/buildkit"}]}}"#, "?body"),
        (#"{"HostConfig":{"Mounts":[],"mounts":[]}}"#, "?body"),
        (#"{"Image":7}"#, "?body"), (#"{"Cmd":{}}"#, "?body"), (#"{"Cmd":[7]}"#, "?body"),
        (#"{"HostConfig":[]}"#, "?body"), (#"{"Binds":"a"}"#, "?body"), (#"{"Volumes":[]}"#, "?body"),
        (#"{"Image":"moby/buildkit","Env":"A=b"}"#, "?body"),
        ("[]", "?body"), ("null", "?body"), ("{", "?body"), (#"{"Image":"a"}{"Image":"b"}"#, "?body"),
        ("", "?no body"),
    ]

    @Test(arguments: bodies)
    func `a container by its description`(_ body: String, _ expected: String) {
        #expect(summary(of: Self.reading(Self.create, .json(body))) == expected)
        // Without the switch nothing of it is looked at.
        #expect(Self.reading(Self.create, .json(body), looksForBuilders: false) == .nothing)
    }

    static let names: [(String, BodyShape, String)] = [
        ("POST /containers/create?name=buildx_buildkit_x0", .json(#"{"Image":"sha256:abc"}"#), "builder sha256:abc"),
        ("POST /containers/create?name=%2Fbuildx_buildkit_x0", .json("{}"), "builder /buildx_buildkit_x0"),
        ("POST /containers/create?name=my-buildx_buildkit_x0", .json("{}"), "nothing"),
        ("POST /containers/create?name=a&name=buildx_buildkit_x0", .json("{}"), "?twice name"),
        ("POST /containers/create?name=a;b", .json("{}"), "?query"),
        ("POST /containers/create", .hidden("application/json", 2_000_000), "?no body"),
        ("POST /containers/create", .chunked("application/json"), "?no body"),
        ("POST /containers/create", .hidden(formType, 20), "?hidden"),
        ("POST /containers/create", .empty, "?no body"),
        ("POST /containers/a/rename?name=b", .empty, "nothing"),
        ("POST /containers/a/rename?name=b", .emptyOf("text/plain"), "nothing"),
        ("POST /containers/a/rename?name=buildx_buildkit_x0", .empty, "builder buildx_buildkit_x0"),
        ("POST /containers/a/rename?name=%2fbuildx_buildkit_x0", .empty, "builder /buildx_buildkit_x0"),
        ("POST /v1.41/containers/a/rename?name=b", .hidden(formType, 30), "?hidden"),
        ("POST /containers/a/rename?name=b", .chunked("text/plain"), "?hidden"),
    ]

    @Test(arguments: names)
    func `a container by its name`(_ line: String, _ shape: BodyShape, _ expected: String) {
        #expect(summary(of: Self.reading(line, shape)) == expected)
        #expect(Self.reading(line, shape, looksForBuilders: false) == .nothing)
    }

    private static func without(_ name: String) -> [String] {
        environment.filter { !$0.hasPrefix("\"\(name)=") }
    }

    // The environment; network mode; whether the proxy is on loopback; whether the container goes through it.
    static let environments: [([String], String, Bool, Bool)] = [
        (environment, "host", true, true),
        (environment + ["\"PATH=/bin\""], "host", true, true),
        (environment, "bridge", false, true),
        (environment, "bridge", true, false), (environment, "", true, false), (environment, "container:x", true, false),
        (environment, "HOST", true, false),
        ([], "host", true, false),
        (without("HTTP_PROXY"), "host", true, false), (without("http_proxy"), "host", true, false),
        (without("HTTPS_PROXY"), "host", true, false), (without("https_proxy"), "host", true, false),
        (without("NO_PROXY"), "host", true, false), (without("no_proxy"), "host", true, false),
        (without("NO_PROXY") + ["\"NO_PROXY=evil.test\""], "host", true, false),
        (without("NO_PROXY") + ["\"NO_PROXY\""], "host", true, false),
        (without("https_proxy") + ["\"https_proxy\""], "host", true, false),
        (without("https_proxy") + ["\"https_proxy=\""], "host", true, false),
        (without("https_proxy") + ["\"https_proxy=http://127.0.0.1:7260\""], "host", true, false),
        (without("https_proxy") + ["\"https_proxy=\(proxy)/\""], "host", true, false),
        (without("https_proxy") + ["\"https_proxy=\(proxy)0\""], "host", true, false),
        (environment + ["\"https_proxy=\(proxy)\""], "host", true, false),
        (environment + ["\"https_proxy=http://evil.test:3128\""], "host", true, false),
        (environment + ["\"https_proxy\""], "host", true, false),
    ]

    @Test(arguments: environments)
    func `a builder goes through the proxy only if every way does`(
        _ environment: [String],
        _ network: String,
        _ isOnLoopback: Bool,
        _ expected: Bool
    ) throws {
        let container = try Self.container(Self.buildx(environment, network: network))
        #expect(container.goesThrough(Self.proxy, isOnLoopback: isOnLoopback) == expected)
    }

    @Test(arguments: [
        (#","Entrypoint":["sh"]"#, false), (#","Entrypoint":[]"#, false), (#","Entrypoint":"""#, false),
        (#","Entrypoint":null"#, true), ("", true),
    ])
    func `a builder with a program of its own counts as unmanaged`(_ entrypoint: String, _ expected: Bool) throws {
        let body = Self.buildx(extra: entrypoint).replacing(#""Entrypoint":null,"#, with: "")
        #expect(try Self.container(body).goesThrough(Self.proxy, isOnLoopback: true) == expected)
    }

    @Test func `a container that gets a builder's name later is never one that goes through the proxy`() throws {
        guard case .builder(let container) = Self.reading("POST /containers/a/rename?name=buildx_buildkit_a0", .empty)
        else {
            Issue.record("it is no builder")
            return
        }
        #expect(!container.goesThrough(Self.proxy, isOnLoopback: false))
    }

    @Test func `what is shown of a container does not hold its environment`() throws {
        let container = try Self.container(Self.buildx())
        #expect("\(container)" == "moby/buildkit:buildx-stable-1")
        let long = try Self.container(Self.buildx(image: String(repeating: "buildkit", count: 1000)))
        #expect(long.subject.utf8.count == RegistryContact.longestSubject)
    }

    private static func container(_ body: String) throws -> BuilderContainer {
        guard case .builder(let container) = reading(create, .json(body)) else {
            throw NoBuilder(body: body)
        }
        return container
    }
}

private struct NoBuilder: Error {
    let body: String
}
