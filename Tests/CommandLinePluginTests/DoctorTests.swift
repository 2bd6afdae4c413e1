import Foundation
import LocalInstallation
import RegistryAccess
import Synchronization
import Testing

@testable import CommandLinePlugin

/// A machine on which everything is in order, to be spoiled by a test.
private struct Surroundings: Sendable {
    /// What `docker info` says, by key.
    var info = [
        "ServerVersion": #""29.4.0""#, "Plugins": #"{"Authorization":["docker-ram"]}"#,
        "HttpProxy": #""http://xxxxx:xxxxx@127.0.0.1:7260""#, "HttpsProxy": #""http://xxxxx:xxxxx@127.0.0.1:7260""#,
        "NoProxy": #""""#, "SecurityOptions": #"["name=seccomp,profile=builtin"]"#,
        "RegistryConfig": #"{"InsecureRegistryCIDRs":["127.0.0.0/8","::1/128"],"Mirrors":[]}"#,
    ]
    /// What `docker info` says instead, as a script.
    var infoScript: String?
    /// What `docker ps` and `docker inspect` say.
    var containers = ""
    var details = "[]"
    var policy: String? = Machine.policy
    var config = #"{"credsStore":"ram"}"#
    var helper = "#!/bin/sh\necho '{}'\n"
    var environment: [String: String] = [:]
    var flags: [String] = []
    /// Further files of the machine.
    var files: [(name: String, text: String)] = []
    /// Whether docker-ramd answers, and what it says of itself, by key.
    var isDaemonThere = true
    var daemon = [
        "version": "\"\(ProductVersion.text)\"", "policy": #"{"state":"enforce","policyVersion":42,"problem":null}"#,
        "egressProxy": #"{"address":"127.0.0.1:7260","problem":null,"requests":1,"refused":0}"#,
        "decisionLog": #"{"path":"p","dropped":0}"#,
    ]
    /// Whether the engine asks the plugin.
    var isAsked = true
    /// Makes what no text can.
    var prepare: @Sendable (Machine) throws -> Void = { _ in }

    /// What a check found.
    struct Examined {
        var status = ""
        var detail = ""
        var hint: String?
        /// The checks that found something wrong.
        var wrong: [String] = []

        init(_ id: String, in outcome: Machine.Outcome) throws {
            let checks = try StrictJSON.parse(Array(outcome.output.utf8)).value(named: "checks")?.elements ?? []
            for check in checks {
                let status = check.value(named: "status")?.text ?? ""
                let name = check.value(named: "id")?.text ?? ""
                if ["warning", "error"].contains(status) { wrong.append(name) }
                guard name == id else { continue }
                self.status = status
                detail = check.value(named: "detail")?.text ?? ""
                hint = check.value(named: "hint")?.text
            }
            #expect(outcome.code == (wrong.isEmpty ? 0 : 1), "\(outcome)")
        }
    }

    /// What a check finds there.
    func examine(_ id: String) throws -> Examined {
        var outcomes: [Machine.Outcome] = []
        try with { outcomes.append($0) }
        return try Examined(id, in: try #require(outcomes.first))
    }

    func with(_ words: [String] = ["--format", "json"], _ body: (Machine.Outcome) throws -> Void) throws {
        let changed = self
        try Machine.with(policy: policy) { (machine) throws in
            let text = changed.info.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }
            let info = changed.infoScript ?? "cat '\(machine.directory)/info'"
            try machine.write("{\(text.joined(separator: ","))}", "info")
            try machine.write(changed.containers, "containers")
            try machine.write(changed.details, "details")
            try machine.write(
                """
                #!/bin/sh
                PATH=/usr/bin:/bin
                for word; do case $word in
                info) \(info); exit ;;
                ps) cat '\(machine.directory)/containers'; exit ;;
                inspect) cat '\(machine.directory)/details'; exit ;;
                esac; done

                """,
                "bin/docker",
                mode: 0o755
            )
            try machine.write(changed.config, "config/config.json")
            if !changed.helper.isEmpty { try machine.write(changed.helper, "bin/docker-credential-ram", mode: 0o755) }
            try machine.write("", "root/var/lib/docker-ram/decisions.jsonl")
            for (name, text) in changed.files { try machine.write(text, name) }
            chmod(machine.paths.proxySecret, 0o600)
            try changed.prepare(machine)
            let plugins = "\(machine.root)/run/docker/plugins"
            try FileManager.default.createDirectory(atPath: plugins, withIntermediateDirectories: true)
            let run = { machine.run(changed.flags + ["doctor"] + words, extra: changed.environment) }
            guard changed.isDaemonThere else { return try body(run()) }
            let requests = Mutex(0)
            let plugin = try LineServer(at: machine.paths.pluginSocket, end: "\r\n\r\n") { _ in
                "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"Implements\":[\"authz\"]}"
            }
            defer { plugin.stop() }
            let answer: @Sendable (String) -> String? = { _ in
                let count = requests.withLock { count in
                    if changed.isAsked { count += 1 }
                    return count
                }
                let members = changed.daemon.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }
                return "{\"authorizationPlugin\":{\"requests\":\(count)},\(members.joined(separator: ","))}\n"
            }
            try machine.withDaemon(answer: answer) { _ throws in try body(run()) }
        }
    }
}

extension Machine {
    fileprivate var paths: InstallationPaths { InstallationPaths(root: root) }
}

struct DoctorTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let id: String
        let status: String
        let words: String
        fileprivate let change: @Sendable (inout Surroundings) -> Void
        var testDescription: String { "\(id): \(status) \(words)" }

        fileprivate init(
            _ id: String,
            _ status: String,
            _ words: String,
            _ change: @escaping @Sendable (inout Surroundings) -> Void
        ) {
            self.id = id
            self.status = status
            self.words = words
            self.change = change
        }
    }

    @Test
    func `a machine in order has nothing wrong`() throws {
        try Surroundings().with([]) { outcome in
            #expect(outcome.code == 0, "\(outcome.output)")
            #expect(outcome.words.contains("0 errors, 0 warnings"), "\(outcome.output)")
            #expect(outcome.errors.isEmpty)
        }
    }

    /// What spoils a machine, and what the check then says.
    static let rows =
        policyRows + packRows + daemonRows + engineRows + registryRows + builderRows + otherEngineRows + credentialRows
        + systemRows

    private static let policyRows = [
        Row("policy", "warning", "unmanaged, every registry is allowed") { $0.policy = nil },
        Row("policy", "error", "unknown key \"x\"") { $0.policy = #"{"x":1}"# },
        Row("policy", "error", "can be written by others than its owner") { surroundings in
            surroundings.prepare = { try $0.write(Machine.policy, "root/etc/docker-ram/policy.json", mode: 0o666) }
        },
        Row("policy", "error", "belongs to user 12345 and not to root") { surroundings in
            surroundings.prepare = { chown($0.paths.policyFile, 12345, 0) }
        },
        Row("policy-warnings", "warning", "audit mode: nothing is refused") {
            $0.policy = Machine.policy.replacing("\"version\"", with: "\"mode\": \"audit\", \"version\"")
        },
    ]

    private static let packRows = [
        Row("registry-packs", "warning", "line 1, column") { surroundings in
            surroundings.prepare = { machine in
                try Files.makeDirectory(Files.directory(of: machine.paths.registryPacks))
                try Files.replace(machine.paths.registryPacks, with: Array("{".utf8), mode: 0o644)
            }
        },
        Row("registry-packs", "ok", "those of the programs") { _ in },
    ]

    private static let daemonRows = [
        Row("daemon", "error", "docker-ramd does not answer") { $0.isDaemonThere = false },
        Row("daemon", "warning", "docker-ramd does not answer") {
            $0.isDaemonThere = false
            $0.policy = nil
        },
        Row("daemon-version", "warning", "docker-ramd is version 0.0.1") { $0.daemon["version"] = #""0.0.1""# },
        Row("daemon-settings", "error", "unknown key \"decisionlog\"") {
            $0.files = [("root/etc/docker-ram/daemon.json", #"{"decisionlog":{}}"#)]
        },
        Row("daemon-settings", "warning", "listens on 127.0.0.1:7260, where systemd opens") {
            $0.files = [("root/etc/docker-ram/daemon.json", #"{"egressProxy":{"listen":"172.17.0.1:7260"}}"#)]
        },
        Row("daemon-policy", "warning", "has not taken over policy 42") {
            $0.daemon["policy"] = #"{"state":"enforce","policyVersion":41,"problem":null}"#
        },
        Row("decision-log", "warning", "7 records could not be written to \"/var/log/x\"") {
            $0.daemon["decisionLog"] = #"{"path":"/var/log/x","dropped":7}"#
        },
    ]

    private static let engineRows = [
        Row("engine", "error", "Cannot connect to the Docker daemon") {
            $0.infoScript = "echo 'Cannot connect to the Docker daemon' >&2; exit 1"
        },
        Row("engine", "unknown", "permission denied") { $0.infoScript = "echo 'permission denied' >&2; exit 1" },
        Row("engine", "error", "did not answer within 5 seconds") { $0.infoScript = "exec sleep 60" },
        Row("engine-plugin", "error", "does not ask the authorization plugin") {
            $0.isAsked = false
            $0.info["Plugins"] = #"{"Authorization":null}"#
        },
        Row("engine-plugin", "unknown", "this machine's docker-ramd was not asked") { $0.isAsked = false },
        Row("plugin-socket", "error", "nothing answers on") { $0.isDaemonThere = false },
        Row("engine-proxy", "error", "uses no proxy, so") {
            $0.info["HttpProxy"] = #""""#
            $0.info["HttpsProxy"] = #""""#
        },
        Row("engine-proxy", "error", "uses no proxy for https") { $0.info["HttpsProxy"] = #""""# },
        Row("engine-proxy", "error", "uses proxy.corp.test:3128 for http, not docker-ramd's 127.0.0.1:7260") {
            $0.info["HttpProxy"] = #""http://alice:hunter2@proxy.corp.test:3128/""#
        },
        Row("engine-proxy", "error", "uses 127.0.0.1:7261 for https") {
            $0.info["HttpsProxy"] = #""127.0.0.1:7261""#
        },
        Row("engine-proxy", "error", "an address that cannot be read") {
            $0.info["HttpProxy"] = #""socks5://127.0.0.1:7260""#
        },
        Row("engine-proxy", "error", "does not listen on 127.0.0.1:7260: address already in use") {
            $0.daemon["egressProxy"] = #"{"address":null,"problem":"address already in use"}"#
        },
        Row("engine-proxy", "error", "its no-proxy list is \"*\"") { $0.info["NoProxy"] = #""a.test, *""# },
        Row("engine-proxy", "unknown", "that of another machine") {
            $0.environment["DOCKER_HOST"] = "ssh://build.test"
        },
        Row("engine-no-proxy", "error", "\"*\" leads everything past") { $0.info["NoProxy"] = #""*""# },
        Row("engine-no-proxy", "error", "\"evil.test\" and every name below it go past the proxy") {
            $0.info["NoProxy"] = #""docker.io,evil.test""#
        },
        Row("engine-no-proxy", "error", "every name below \"evil.test\" on port 5000") {
            $0.info["NoProxy"] = #""*.evil.test:5000""#
        },
        Row("engine-no-proxy", "error", "\"10.0.0.0/8\" leads registries") { $0.info["NoProxy"] = #""10.0.0.0/8""# },
        Row("engine-no-proxy", "error", "\"10.1.2.3\" on port 5000 goes past") {
            $0.info["NoProxy"] = #""10.1.2.3:5000""#
        },
        Row("engine-no-proxy", "warning", "every name below \"dkr.ecr.eu-west-1.amazonaws.com\"") {
            $0.info["NoProxy"] = #"".dkr.ecr.eu-west-1.amazonaws.com""#
        },
        Row("engine-no-proxy", "warning", "every name that ends in \".localhost\"") {
            $0.info["NoProxy"] = #""localhost,127.0.0.1""#
        },
        Row("engine-no-proxy", "ok", "nothing") { $0.info["NoProxy"] = #""127.0.0.1,::1,127.0.0.0/8, ,""# },
        Row("proxy-secret", "error", "another secret than docker-ramd has") {
            $0.files = secret("0123456789abcdef0123456789abcdee")
        },
        Row("proxy-secret", "ok", "knows it") { $0.files = secret("0123456789abcdef0123456789abcdef") },
        Row("proxy-secret", "ok", "knows it") {
            $0.files = secret("0123456789abcdef0123456789abcdef", port: 7270)
            $0.daemon["egressProxy"] = #"{"address":"127.0.0.1:7270","problem":null}"#
        },
        Row("proxy-secret", "error", "others may read") {
            $0.files = secret("0123456789abcdef0123456789abcdef")
            $0.prepare = { chmod($0.paths.proxySecret, 0o644) }
        },
        Row("proxy-secret", "ok", "knows it") {
            $0.files = secret("0123456789abcdef0123456789abcdef")
            $0.files[0].text = "{}"
            $0.files.append(("root/run/docker.pid", "4711"))
            $0.files.append(("root/proc/4711/comm", "dockerd\n"))
            let url = "http://docker-ram:0123456789abcdef0123456789abcdef@127.0.0.1:7260"
            $0.files.append(("root/proc/4711/environ", "A=b\0HTTP_PROXY=\(url)\0HTTPS_PROXY=\(url)\0"))
        },
        Row("engine-version", "warning", "has CVE-2024-41110 and CVE-2026-34040") {
            $0.info["ServerVersion"] = #""24.0.9""#
        },
        Row("engine-version", "warning", "engine 28.2.2 has CVE-2026-34040: ") {
            $0.info["ServerVersion"] = #""28.2.2""#
        },
        Row("engine-version", "warning", "has CVE-2026-34040: ") { $0.info["ServerVersion"] = #""23.0.15""# },
        Row("engine-version", "warning", "has CVE-2024-41110 and") { $0.info["ServerVersion"] = #""23.0.14""# },
        Row("engine-version", "warning", "29.3.0-rc.1 has CVE-2026-34040") {
            $0.info["ServerVersion"] = #""29.3.0-rc.1""#
        },
        Row("engine-version", "ok", "engine 25.0.16 has none") { $0.info["ServerVersion"] = #""25.0.16""# },
        Row("engine-version", "ok", "engine 29.3.1 has none") { $0.info["ServerVersion"] = #""29.3.1""# },
        Row("engine-version", "unknown", "20.10.24+dfsg1 comes from a distribution") {
            $0.info["ServerVersion"] = #""20.10.24+dfsg1""#
        },
        Row("engine", "unknown", "permission denied on the engine's socket") {
            $0.infoScript =
                "echo 'permission denied while trying to connect to the docker API at unix:///s' >&2; exit 1"
        },
        Row("engine-flags", "ok", "none goes before daemon.json") {
            $0.files = running("--config-file", "/etc/docker/daemon.json", "--http-proxyless")
        },
        Row("engine-flags", "warning", "--https-proxy in the command line of process 4711, which goes before") {
            $0.files = running("--https-proxy", "http://alice:hunter2@proxy.test")
        },
        Row("engine-flags", "error", "does not start when daemon.json says it too") {
            let unit = "[Service]\nExecStart=/usr/sbin/dockerd --authorization-plugin=docker-ram\n"
            $0.files = [
                ("root/lib/systemd/system/docker.service", unit),
                ("root/etc/docker/daemon.json", #"{"authorization-plugins":["docker-ram"]}"#),
            ]
        },
        Row("engine-flags", "warning", "reads \"/srv/daemon.json\" and not") {
            $0.files = running("--config-file=/srv/daemon.json")
        },
        Row("git-contexts", "warning", "engine 27.5.1 fetches git contexts past the egress proxy") {
            $0.info["ServerVersion"] = #""27.5.1""#
        },
        Row("git-contexts", "ok", "engine 28.0.0 tells git its proxy") { $0.info["ServerVersion"] = #""28.0.0""# },
        Row("engine-http2", "error", "takes builds over HTTP/2 without asking") {
            $0.info["HttpProxy"] = #""""#
            $0.info["HttpsProxy"] = #""""#
        },
        Row("engine-http2", "ok", "the egress proxy decides what they fetch") { _ in },
        Row("engine-http2", "ok", "29.1.9 does not serve HTTP/2") { $0.info["ServerVersion"] = #""29.1.9""# },
    ]

    private static func running(_ words: String...) -> [(name: String, text: String)] {
        [
            ("root/run/docker.pid", "4711\n"), ("root/proc/4711/comm", "dockerd\n"),
            ("root/proc/4711/cmdline", (["dockerd"] + words).joined(separator: "\0") + "\0"),
        ]
    }

    private static func secret(_ told: String, port: Int = 7260) -> [(name: String, text: String)] {
        let url = "http://docker-ram:\(told)@127.0.0.1:\(port)"
        return [
            ("root/etc/docker/daemon.json", #"{"proxies":{"http-proxy":"\#(url)","https-proxy":"\#(url)"}}"#),
            ("root/var/lib/docker-ram/proxy-secret", "0123456789abcdef0123456789abcdef\n"),
        ]
    }

    private static let registryRows = [
        Row("registry-mirrors", "error", "the mirror mirror.evil.test is not allowed") {
            $0.info["RegistryConfig"] = #"{"Mirrors":["https://docker.io/","https://mirror.evil.test/"]}"#
        },
        Row("registry-mirrors", "error", "docker.io is asked without TLS") {
            $0.info["RegistryConfig"] = #"{"Mirrors":["http://docker.io/"]}"#
        },
        Row("registry-mirrors", "error", "\"https://a_b/\" is no address") {
            $0.info["RegistryConfig"] = #"{"Mirrors":["https://a_b/"]}"#
        },
        Row("registry-mirrors", "ok", "registry.acme.test:5000 is allowed") {
            $0.info["RegistryConfig"] = #"{"Mirrors":["http://registry.acme.test:5000"]}"#
        },
        Row("hosts-toml", "error", "hosts.toml\": mirror.evil.test is not allowed") {
            let text = "server = \"https://docker.io\"\n\n  [host.\"https://mirror.evil.test\"]\n  ca = \"x\"\n"
            $0.files = [("root/etc/docker/certs.d/docker.io/hosts.toml", text)]
        },
        Row("hosts-toml", "error", "other.test is not allowed") {
            $0.files = [("root/etc/containerd/certs.d/_default/hosts.toml", "server = 'other.test' # x\n")]
        },
        Row("hosts-toml", "ok", "ghcr.io is allowed") {
            let text = "# server = \"https://evil.test\"\nserver = \"https://ghcr.io\"\n"
            $0.files = [("root/etc/docker/certs.d/ghcr.io/hosts.toml", text)]
        },
        Row("insecure-registries", "warning", "ghcr.io may be asked without TLS") {
            $0.info["RegistryConfig"] = #"{"IndexConfigs":{"ghcr.io":{"Secure":false},"docker.io":{"Secure":true}}}"#
        },
        Row("insecure-registries", "warning", "the network 10.0.0.0/8") {
            $0.info["RegistryConfig"] = #"{"InsecureRegistryCIDRs":["10.0.0.0/8","127.0.0.0/8"]}"#
        },
        Row("insecure-registries", "ok", "none but") {
            $0.info["RegistryConfig"] = #"{"IndexConfigs":{"registry.acme.test:5000":{"Secure":false}}}"#
        },
    ]

    private static let container =
        #"{"ID":"abc","Names":"buildx_buildkit_b0","Image":"moby/buildkit:buildx-stable-1"}"# + "\n"
        + #"{"ID":"def","Names":"web","Image":"nginx"}"# + "\n"

    private static func details(network: String, proxies: String...) -> String {
        let variables = proxies.map { "\"\($0)\"" }.joined(separator: ",")
        return
            #"[{"Name":"/buildx_buildkit_b0","Config":{"Image":"moby/buildkit:buildx-stable-1","Env":[\#(variables)]},"#
            + #""HostConfig":{"NetworkMode":"\#(network)"}}]"#
    }

    private static func instance(_ driver: String, _ options: String) -> (name: String, text: String) {
        let node = #"{"Name":"b0","Endpoint":"unix:///var/run/docker.sock","DriverOpts":\#(options)}"#
        return ("config/buildx/instances/b", #"{"Name":"b","Driver":"\#(driver)","Nodes":[\#(node)]}"#)
    }

    private static let ours = "http://docker-ram:0123456789abcdef0123456789abcdef@127.0.0.1:7260"

    private static let builderRows = [
        Row("builder-containers", "ok", "there is none") {
            $0.containers = #"{"ID":"d","Names":"x","Image":"y"}"# + "\n"
        },
        Row("builder-containers", "error", "\"buildx_buildkit_b0\" (moby/buildkit:buildx-stable-1) fetches past") {
            $0.containers = container
            $0.details = details(network: "host", proxies: "PATH=/bin")
        },
        Row("builder-containers", "error", "fetches past") {
            $0.containers = container.replacing("buildx_buildkit_b0", with: "mine")
            $0.details = details(network: "bridge", proxies: "HTTP_PROXY=\(ours)", "HTTPS_PROXY=\(ours)")
        },
        Row("builder-containers", "error", "fetches past") {
            $0.containers = container
            $0.details = details(
                network: "host",
                proxies: "HTTP_PROXY=\(ours)",
                "https_proxy=\(ours)",
                "NO_PROXY=a.test"
            )
        },
        Row("builder-containers", "ok", "all use the egress proxy") {
            $0.containers = container
            $0.details = details(network: "host", proxies: "HTTP_PROXY=\(ours)", "https_proxy=\(ours)")
        },
        Row("builder-containers", "unknown", "docker inspect says") {
            $0.containers = container
            $0.details = ""
        },
        Row("builder-instances", "error", "builder \"b\" (docker-container) fetches past") {
            $0.files = [instance("docker-container", "null")]
        },
        Row("builder-instances", "error", "builder \"b\" (kubernetes) builds elsewhere") {
            $0.files = [instance("kubernetes", "{}")]
        },
        Row("builder-instances", "error", "builder \"b\" (remote) builds elsewhere") {
            $0.files = [("x/instances/b", instance("remote", "{}").text)]
            $0.prepare = {
                try FileManager.default.moveItem(atPath: "\($0.directory)/x", toPath: "\($0.config)/buildx")
            }
        },
        Row("builder-instances", "ok", "none") { $0.files = [instance("docker", "null")] },
        Row("builder-instances", "ok", "none") {
            let options = #"{"network":"host","env.http_proxy":"\#(ours)","env.HTTPS_PROXY":"\#(ours)"}"#
            $0.files = [instance("docker-container", options)]
        },
    ]

    private static let context = (
        name: "config/contexts/meta/1f/meta.json",
        text: #"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"ssh://far.test","SkipTLSVerify":false}}}"#
    )

    private static let otherEngineRows = [
        Row("docker-endpoint", "error", "rootless engine") {
            $0.info["SecurityOptions"] = #"["name=seccomp,profile=default","name=rootless"]"#
        },
        Row("docker-endpoint", "warning", "DOCKER_HOST leads docker to another engine than the machine's own: tcp://b")
        {
            $0.environment["DOCKER_HOST"] = "tcp://b.test:2375"
        },
        Row("docker-endpoint", "warning", "--host leads docker to another engine") {
            $0.flags = ["-Htcp://b.test:2375"]
        },
        Row("docker-endpoint", "warning", "context \"far\" (--context) leads docker to another engine") {
            $0.flags = ["--context", "far"]
            $0.files = [context]
        },
        Row("docker-endpoint", "warning", "context \"far\" (DOCKER_CONTEXT) leads docker to another engine") {
            $0.environment["DOCKER_CONTEXT"] = "far"
            $0.files = [context]
        },
        Row("docker-endpoint", "warning", "(\"currentContext\" in config.json) leads docker to another") {
            $0.config = #"{"credsStore":"ram","currentContext":"far"}"#
            $0.files = [context]
        },
        Row("docker-endpoint", "ok", "machine's own") {
            $0.config = #"{"credsStore":"ram","currentContext":"default"}"#
        },
        Row("docker-contexts", "warning", "context \"far\" leads to another engine: ssh://far.test") {
            $0.files = [context]
        },
        Row("other-engines", "error", "process 4712 of root is another dockerd") {
            $0.files = [
                ("root/run/docker.pid", "4711"), ("root/proc/4711/comm", "dockerd\n"),
                ("root/proc/4712/comm", "dockerd\n"), ("root/proc/4713/comm", "bash\n"),
            ]
        },
        Row("other-engines", "ok", "there is none") { $0.files = [("root/proc/4711/comm", "dockerd\n")] },
        Row("other-sockets", "error", "/run/user/1000/docker.sock\" is a rootless dockerd of user 1000") {
            $0.prepare = { try socket($0, "run/user/1000/docker.sock") }
        },
        Row("other-sockets", "error", "is podman") { $0.prepare = { try socket($0, "run/podman/podman.sock") } },
        Row("other-sockets", "error", "is podman of user 1000") {
            $0.prepare = { try socket($0, "run/user/1000/podman/podman.sock") }
        },
        Row("other-sockets", "error", "is open to others than root") {
            $0.prepare = { machine in
                try socket(machine, "run/containerd/containerd.sock")
                chmod("\(machine.root)/run/containerd/containerd.sock", 0o666)
            }
        },
        Row("other-sockets", "ok", "none that can be seen") {
            $0.prepare = { machine in
                try socket(machine, "run/containerd/containerd.sock")
                chmod("\(machine.root)/run/containerd/containerd.sock", 0o660)
                try machine.write("", "root/run/user/1000/docker.sock")
            }
        },
    ]

    private static func socket(_ machine: Machine, _ name: String) throws {
        let path = "\(machine.root)/\(name)"
        try FileManager.default.createDirectory(
            atPath: Files.directory(of: path),
            withIntermediateDirectories: true
        )
        try LineServer(at: path, end: "\n") { _ in nil }.stop()
    }

    private static let credentialRows = [
        Row("docker-config", "error", "it is not valid JSON") { $0.config = "{," },
        Row("credential-store", "warning", "does not ask the credential helper") { $0.config = "{}" },
        Row("credential-store", "unknown", "alice's are seen without sudo") {
            $0.config = "{}"
            $0.environment["SUDO_USER"] = "alice"
        },
        Row("credential-helpers", "warning", "goes before docker-ram for \"a.test\"") {
            $0.config = #"{"credsStore":"ram","credHelpers":{"a.test":"x","b.test":"ram"}}"#
        },
        Row("plain-credentials", "warning", "the password for \"a.test\"") {
            $0.config = #"{"credsStore":"ram","auths":{"a.test":{"auth":"dTpw"},"b.test":{}}}"#
        },
        Row("plain-credentials", "warning", "the password for \"a.test\"") {
            $0.config = #"{"auths":{"a.test":{"auth":"dTpw"}}}"#
        },
        Row("docker-auth-config", "warning", "DOCKER_AUTH_CONFIG is set") {
            $0.environment["DOCKER_AUTH_CONFIG"] = "{}"
        },
        Row("credential-helper-path", "error", "is not on PATH") { $0.helper = "" },
        Row("credential-helper-path", "ok", "does not ask it") {
            $0.helper = ""
            $0.config = "{}"
        },
        Row("keyring", "error", "Cannot autolaunch D-Bus without X11 $DISPLAY") {
            $0.helper = "#!/bin/sh\necho 'Cannot autolaunch D-Bus without X11 $DISPLAY'\necho 'hint: log in'\nexit 1\n"
        },
        Row("keyring", "warning", "\"docker-credential-pass\" is left out: it ended with exit code 1") {
            $0.helper =
                "#!/bin/sh\necho 'docker-credential-ram: \"docker-credential-pass\" is left out: it ended with exit code 1' >&2\necho '{}'\n"
        },
        Row("keyring", "error", "could not be started") { $0.helper = "#!/nowhere/sh\n" },
    ]

    private static let systemRows = [
        Row("clock", "warning", "policy.json\" was changed later than now") { surroundings in
            surroundings.prepare = { machine in
                let date = Date(timeIntervalSinceNow: 3600)
                try FileManager.default.setAttributes([.modificationDate: date], ofItemAtPath: machine.paths.policyFile)
            }
        },
        Row("disk", "warning", "the log may take") {
            $0.files = [
                ("root/etc/docker-ram/daemon.json", #"{"decisionLog":{"maximumBytes":1073741824,"files":100}}"#)
            ]
        },
    ]

    @Test(arguments: rows)
    func `a check finds what is spoiled`(_ row: Row) throws {
        var surroundings = Surroundings()
        row.change(&surroundings)
        let found = try surroundings.examine(row.id)
        #expect(found.status == row.status, "\(found)")
        #expect(found.detail.contains(row.words), "\(found)")
        #expect(!found.detail.contains("hunter2") && !found.detail.contains("0123456789abcdef"))
        if ["warning", "error"].contains(row.status) {
            #expect(found.wrong.contains(row.id))
        } else {
            #expect(!found.wrong.contains(row.id))
        }
    }

    @Test
    func `each check has a case in which something is wrong, but one`() {
        let wrong = Set(Self.rows.filter { ["warning", "error"].contains($0.status) }.map(\.id))
        #expect(MachineCheck.all.map(\.id).filter { !wrong.contains($0) } == [])
        #expect(Set(MachineCheck.all.map(\.id)).count == MachineCheck.all.count)
    }

    @Test
    func `what setup left in config.json is taken out by logout`() throws {
        var surroundings = Surroundings()
        surroundings.config = #"{"credsStore":"ram","auths":{"a.test":{"auth":"dTpw"}}}"#
        #expect(try surroundings.examine("plain-credentials").hint == "run: docker ram setup; or: docker logout a.test")
    }

    @Test
    func `an engine that hangs while docker-ramd is silent is said to wait for it`() throws {
        var surroundings = Surroundings()
        surroundings.isDaemonThere = false
        surroundings.infoScript = "echo 'Cannot connect to the Docker daemon' >&2; exit 1"
        #expect(try surroundings.examine("engine").hint == "run as root: systemctl status docker")
        surroundings.files = [("root/etc/docker/daemon.json", #"{"authorization-plugins":["docker-ram"]}"#)]
        #expect(try surroundings.examine("engine").hint?.hasPrefix("it may wait for docker-ramd") == true)
    }

    @Test
    func `the hint of a keyring is the helper's own`() throws {
        var surroundings = Surroundings()
        surroundings.helper = "#!/bin/sh\necho no\necho 'hint: log in'\nexit 1\n"
        #expect(try surroundings.examine("keyring").hint == "log in")
    }

    @Test
    func `no window can ask for a password`() throws {
        var surroundings = Surroundings()
        surroundings.helper = "#!/bin/sh\n[ -z \"$DISPLAY$WAYLAND_DISPLAY\" ] || echo window >&2\necho '{}'\n"
        surroundings.environment = ["DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"]
        #expect(try surroundings.examine("keyring").status == "ok")
    }

    @Test
    func `what takes long is said`() throws {
        var surroundings = Surroundings()
        surroundings.infoScript = "exec sleep 60"
        try surroundings.with([]) { outcome in
            #expect(outcome.errors == "docker ram: waiting for the engine\n")
            #expect(outcome.code == 1)
        }
    }

    @Test
    func `no line is longer than the terminal`() throws {
        var surroundings = Surroundings()
        surroundings.info["NoProxy"] = #""evil.test,10.0.0.0/8""#
        surroundings.config = "{}"
        try surroundings.with([]) { outcome in
            for line in outcome.output.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
        }
    }

    @Test(arguments: [
        (0, 0, "error"), (1 << 20, 0, "warning"), (49 << 20, 0, "warning"), (51 << 20, 0, "ok"),
        (2 << 20, 49 << 20, "ok"), (2 << 20, 60 << 20, "ok"),
    ])
    func `space for the log`(free: Int, used: Int, status: String) {
        let outcome = MachineCheck.space(free: free, used: used, settings: .init(), "/var")
        #expect(outcome.status.rawValue == status)
    }
}

struct NoProxyEntryTests {
    @Test(
        "Entries as Go reads them",
        arguments: [
            ("", []), (" , ,", []), ("a.test,*,b.test", [.everything]),
            ("A.Test", [.name("a.test", isItselfMeant: true, port: nil)]),
            (".a.test", [.name("a.test", isItselfMeant: false, port: nil)]),
            ("*.a.test:80", [.name("a.test", isItselfMeant: false, port: 80)]),
            ("localhost", [.name("localhost", isItselfMeant: true, port: nil)]),
            ("a.test/8", []), ("10.0.0.0/33", []), ("10.0.0/8", []), ("/8", []),
            (".", []), (":80", []),
        ] as [(String, [NoProxyEntry])]
    )
    func entries(text: String, entries: [NoProxyEntry]) {
        #expect(NoProxyEntry.list(text) == entries)
    }

    @Test(arguments: [("10.1.2.3/8", "10.1.2.3", 8), ("fd00::/8", "[fd00::]", 8), ("0.0.0.0/0", "0.0.0.0", 0)])
    func `networks need not be written by their first address`(text: String, host: String, length: Int) throws {
        #expect(NoProxyEntry.list(text) == [.network(try RegistryAddress(host), length: length)])
    }

    @Test(arguments: [
        ("127.0.0.1", true), ("127.0.0.0/8", true), ("127.0.0.0/7", false), ("::1", true), ("[::1]:80", true),
        ("::1/128", true), ("::1/127", false), ("127.9.9.9/16", true), ("10.0.0.1", false), ("localhost", false),
        ("0.0.0.0/0", false), ("127.evil.test", false),
    ])
    func `what Go reaches without a proxy anyway is no hole`(text: String, isHarmless: Bool) {
        #expect(NoProxyEntry.list(text).allSatisfy(\.isLoopbackOnly) == isHarmless)
    }
}
