import Foundation
import LocalInstallation
import RegistryAccess
import Testing

@testable import CommandLinePlugin

struct EngineBuilderTests {
    private static let secret = "0123456789abcdef0123456789abcdef"
    private static let url = "http://docker-ram-builder:\(secret)@127.0.0.1:7260"

    /// A machine with docker-ramd's secret for builders.
    private static func with(listen: String? = nil, _ body: (Machine) throws -> Void) throws {
        try Machine.with(policy: nil) { (machine) throws in
            try machine.write("\(secret)\n", "root/var/lib/docker-ram/builder-proxy-secret", mode: 0o600)
            if let listen {
                try machine.write(#"{"egressProxy": {"listen": "\#(listen)"}}"#, "root/etc/docker-ram/daemon.json")
            }
            try body(machine)
        }
    }

    /// A docker that keeps what it is called with, one word a line, and does what a script says.
    private static func installDocker(_ machine: Machine, _ script: String = "exit 0") throws {
        try machine.write(
            """
            #!/bin/sh
            if [ "$*" = "buildx version" ]; then echo github.com/docker/buildx v0.30.0; exit 0; fi
            printf '%s\\n' "$@" > '\(machine.directory)/arguments'
            \(script)

            """,
            "bin/docker",
            mode: 0o755
        )
    }

    @Test
    func `buildx is asked for a builder that docker-ramd lets pass`() throws {
        try Self.with { (machine) throws in
            try Self.installDocker(machine)
            let outcome = machine.run(["engine", "builder", "acme", "--use", "--buildkitd-config", "/etc/bk.toml"])
            #expect(outcome.code == 0)
            #expect(!(outcome.output + outcome.errors).contains(Self.secret))
            #expect(
                outcome.output == """
                    Created the builder acme
                      proxy    127.0.0.1:7260, as docker-ram-builder
                      network  the host's, where the proxy is; RUN steps are in it too
                      build    docker buildx build --builder acme .
                      undo     docker buildx rm acme

                    """
            )
            let arguments = try machine.read("arguments").split(separator: "\n").map(String.init)
            #expect(arguments.prefix(6) == ["buildx", "create", "--name", "acme", "--driver", "docker-container"])
            #expect(arguments.suffix(3) == ["--buildkitd-config", "/etc/bk.toml", "--use"])
            // What buildx makes of them has to be what the plugin wants to see.
            let options = arguments.filter { $0.contains("=") }
            #expect(options.first == "network=host")
            let environment = options.filter { $0.hasPrefix("env.") }.map { String($0.dropFirst(4)) }
            let body = JSONValue.object([
                JSONMember("Image", .string("moby/buildkit:buildx-stable-1")),
                JSONMember("Env", .texts(environment)),
                JSONMember("HostConfig", .object([JSONMember("NetworkMode", .string("host"))])),
            ])
            var request = EngineRequest(
                method: "POST",
                target: "/containers/create?name=buildx_buildkit_acme0",
                headers: [("Content-Type", "application/json")],
                body: Array(body.text().utf8)
            )
            request.looksForBuilders = true
            guard case .builder(let container) = request.reading(ownPluginName: "docker-ram") else {
                Issue.record("it is not seen as a builder")
                return
            }
            let paths = InstallationPaths(root: machine.root)
            let proxy = BuilderProxy(
                secret: try ProxySecret(paths, of: .builders),
                listen: "127.0.0.1:7260"
            )
            #expect(proxy.isUsed(by: container))
        }
    }

    @Test(arguments: [true, false])
    func `the command is printed where that is wanted, and where there is no buildx`(_ isWanted: Bool) throws {
        try Self.with { (machine) throws in
            let config = ["--image", "registry.acme.test/buildkit:1", "--buildkitd-config", "/a b/it's.toml"]
            if isWanted { try Self.installDocker(machine) }
            let outcome = machine.run(["engine", "builder", "acme"] + config + (isWanted ? ["--print"] : []))
            #expect(outcome.code == 0)
            #expect(
                outcome.output == """
                    docker buildx create --name acme --driver docker-container \\
                      --driver-opt image=registry.acme.test/buildkit:1 \\
                      --driver-opt network=host \\
                      --driver-opt env.HTTP_PROXY=\(Self.url) \\
                      --driver-opt env.http_proxy=\(Self.url) \\
                      --driver-opt env.HTTPS_PROXY=\(Self.url) \\
                      --driver-opt env.https_proxy=\(Self.url) \\
                      --driver-opt env.NO_PROXY= \\
                      --driver-opt env.no_proxy= \\
                      --buildkitd-config '/a b/it'\\''s.toml'

                    """
            )
            let note =
                "docker ram: note: this docker has no buildx, so nothing was created; run the command where it has\n"
            #expect(outcome.errors == (isWanted ? "" : note))
            #expect(!FileManager.default.fileExists(atPath: "\(machine.directory)/arguments"))
        }
    }

    @Test
    func `for programs the answer is JSON, with the command only for whoever has to run it`() throws {
        try Self.with(listen: "172.17.0.1:7260") { (machine) throws in
            try Self.installDocker(machine)
            let created = machine.run(["engine", "builder", "acme", "--format", "json"])
            #expect(
                created.output == """
                    {
                      "name": "acme",
                      "created": true,
                      "proxy": "172.17.0.1:7260",
                      "network": "default",
                      "command": null,
                      "undo": [
                        "docker",
                        "buildx",
                        "rm",
                        "acme"
                      ]
                    }

                    """
            )
            #expect(!(try machine.read("arguments").contains("network=")))
            let printed = machine.run(["engine", "builder", "acme", "--print", "--format", "json"])
            let json = try StrictJSON.parse(Array(printed.output.utf8))
            #expect(json.value(named: "created") == .bool(false))
            #expect(json.value(named: "command")?.elements?.count == 19)
        }
    }

    @Test
    func `what buildx says goes on, without the secret`() throws {
        try Self.with { (machine) throws in
            try Self.installDocker(machine, #"echo "ERROR: existing instance for \"acme\": $9 ${10}" >&2; exit 1"#)
            let outcome = machine.run(["engine", "builder", "acme"])
            #expect(outcome.code == 1)
            #expect(outcome.output.isEmpty)
            #expect(
                outcome.errors
                    == "docker ram: buildx did not create the builder \"acme\": ERROR: existing instance for "
                    + "\"acme\": --driver-opt env.HTTP_PROXY=<redacted>\n"
            )
        }
    }

    @Test(arguments: ["-x", "1a", "a b", "a/b", "a\nb", "é", ""])
    func `a name that buildx does not take is refused`(_ name: String) throws {
        try Self.with { (machine) throws in
            let outcome = machine.run(["engine", "builder", "--print", "--", name])
            #expect(outcome.code == 64)
            #expect(outcome.output.isEmpty)
        }
    }

    @Test
    func `a machine without docker-ramd is told so`() throws {
        try Machine.with(policy: nil) { (machine) throws in
            let outcome = machine.run(["engine", "builder", "acme", "--print"])
            #expect(outcome.code == 1)
            #expect(outcome.errors.contains("docker-ramd is not installed on this machine"))
        }
    }

    @Test(.enabled(if: geteuid() == 0, "only root makes the secret"))
    func `root makes the secret and lets those read it who may use Docker`() throws {
        try Machine.with(policy: nil) { (machine) throws in
            let paths = InstallationPaths(root: machine.root)
            try Files.makeDirectory(paths.stateDirectory)
            try machine.write("", "root/run/docker.sock", mode: 0o660)
            #expect(machine.run(["engine", "builder", "acme", "--print"]).code == 0)
            #expect(try Files.status(paths.builderProxySecret).mode & 0o777 == 0o640)
            let first = try ProxySecret(paths, of: .builders)
            #expect(machine.run(["engine", "builder", "other", "--print"]).output.contains(first.secret.text))
        }
    }
}
