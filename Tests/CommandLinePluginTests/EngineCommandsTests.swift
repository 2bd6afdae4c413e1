import Foundation
import LocalInstallation
import RegistryAccess
import Testing

@testable import CommandLinePlugin

/// `docker ram engine enable | disable | status` with a docker-ramd, an engine and a systemd that are played.
struct EngineCommandsTests {
    /// What stands in for docker-ramd.
    private struct Daemon {
        var hasPlugin = true
        /// What the egress proxy answers; `nil` is silence.
        var proxyAnswer: String? = "HTTP/1.1 200 docker-ram egress proxy\r\nConnection: close\r\n\r\n{}\n"
        /// What it says of its proxy over the control socket; `PORT` stands for where the proxy listens.
        var status = #"{"egressProxy":{"address":"127.0.0.1:PORT","problem":null}}"#
    }

    private func with(
        _ daemon: Daemon = Daemon(),
        _ body: (_ machine: Machine, _ proxy: LineServer) throws -> Void
    ) throws {
        try Machine.with { (machine) throws in
            let plugins = "\(machine.root)/run/docker/plugins"
            try FileManager.default.createDirectory(atPath: plugins, withIntermediateDirectories: true)
            let answer = daemon.proxyAnswer
            let proxy = try LineServer(end: "\r\n\r\n") { _ in answer ?? "" }
            defer { proxy.stop() }
            let plugin =
                daemon.hasPlugin
                ? try LineServer(at: "\(plugins)/docker-ram.sock", end: "\r\n\r\n") { _ in
                    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"Implements\": [\"authz\"]}"
                } : nil
            defer { plugin?.stop() }
            let status = daemon.status.replacingOccurrences(of: "PORT", with: "\(proxy.port ?? 0)") + "\n"
            try machine.withDaemon(answer: { _ in status }) { _ throws in try body(machine, proxy) }
        }
    }

    /// An engine at the machine's own socket.
    private func withEngine(
        _ machine: Machine,
        version: String,
        proxy: String = "",
        noProxy: String = "",
        _ body: () throws -> Void
    ) throws {
        let info =
            #"{"ID":"x","ServerVersion":"\#(version)","HttpProxy":"\#(proxy)","HttpsProxy":"\#(proxy)","#
            + #""NoProxy":"\#(noProxy)"}"#
        let engine = try LineServer(at: "\(machine.root)/run/docker.sock", end: "\r\n\r\n") { request in
            request.hasPrefix("GET /info HTTP/1.0\r\n") ? "HTTP/1.0 200 OK\r\n\r\n\(info)" : "HTTP/1.0 404 Not\r\n\r\n"
        }
        defer { engine.stop() }
        try body()
    }

    private func installEngine(_ machine: Machine, version: String) throws {
        try machine.write(
            "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Docker version \(version), build 5d6db84'\n",
            "root/usr/sbin/dockerd",
            mode: 0o755
        )
    }

    /// A systemctl that writes down what it is told.
    private func installSystemd(_ machine: Machine, exitCode: Int = 0) throws {
        let runtime = "\(machine.root)/run/systemd/system"
        try FileManager.default.createDirectory(atPath: runtime, withIntermediateDirectories: true)
        let script =
            "#!/bin/sh\necho \"$@\" >> '\(machine.directory)/told'\n[ \(exitCode) = 0 ] || echo no such unit >&2\n"
        try machine.write(script + "exit \(exitCode)\n", "bin/systemctl", mode: 0o755)
    }

    private func told(_ machine: Machine) -> [String] {
        ((try? machine.read("told")) ?? "").split(separator: "\n").map(String.init)
    }

    private func settings(_ machine: Machine) -> [String] {
        let names = (try? FileManager.default.subpathsOfDirectory(atPath: "\(machine.root)/etc")) ?? []
        return names.filter { $0.hasSuffix("docker/daemon.json") || $0.contains("proxy") }.sorted()
    }

    // MARK: - Before anything is changed

    @Test(
        "nothing is changed unless plugin and proxy answer, and the proxy knows the secret",
        arguments: [
            (Daemon(hasPlugin: false), "the plugin does not answer"),
            (Daemon(proxyAnswer: "HTTP/1.1 407 The egress proxy serves only the engine\r\n\r\n"), "has another secret"),
            (Daemon(proxyAnswer: "HTTP/1.1 200 OK\r\n\r\n"), "is not the egress proxy"),
            (Daemon(proxyAnswer: "HTTP/1.1 400 Bad Request\r\n\r\n"), "is not the egress proxy"),
            (Daemon(proxyAnswer: "SSH-2.0-x\r\n"), "is not the egress proxy"),
            (Daemon(proxyAnswer: nil), "does not answer"),
            (Daemon(status: #"{"egressProxy":{"address":null,"problem":"address already in use"}}"#), "already in use"),
            (Daemon(status: #"{"version":"0.1.0"}"#), "docker-ramd is older than this command"),
            (Daemon(status: "no"), "that is not JSON"),
        ]
    )
    private func refused(daemon: Daemon, words: String) throws {
        try with(daemon) { (machine, proxy) throws in
            try installEngine(machine, version: "20.10.24")
            let outcome = machine.run(["engine", "enable"])
            #expect(outcome.code == 1)
            #expect(outcome.errors.contains(words), "\(outcome.errors)")
            #expect(outcome.errors.contains("nothing was changed"))
            #expect(settings(machine) == [])
            // Nothing learns the secret that docker-ramd does not say to be its own.
            if !daemon.status.contains("PORT") { #expect(proxy.requests == []) }
        }
    }

    @Test
    func `with both answering, the engine is told where docker-ramd says that it listens`() throws {
        try with { (machine, proxy) throws in
            try installEngine(machine, version: "20.10.24+dfsg1")
            let outcome = machine.run(["engine", "enable"])
            #expect(outcome.code == 0, "\(outcome.errors)")
            #expect(outcome.errors.contains("/usr/sbin/dockerd\" is 20.10.24+dfsg1"))
            let secret = try ProxySecret(InstallationPaths(root: machine.root))
            let environment = try machine.read("root/etc/docker-ram/engine-proxy.env")
            #expect(
                environment.contains(
                    "\nHTTPS_PROXY=http://docker-ram:\(secret.secret.text)@127.0.0.1:\(proxy.port ?? 0)\n"
                )
            )
            let request = try #require(proxy.requests.first)
            #expect(request.hasPrefix("GET / HTTP/1.1\r\n"))
            let credentials = Data("docker-ram:\(secret.secret.text)".utf8).base64EncodedString()
            #expect(request.contains("\r\nProxy-Authorization: Basic \(credentials)\r\n"))
            #expect(!(outcome.output + outcome.errors).contains(secret.secret.text))

            let status = machine.run(["engine", "status"])
            #expect(status.output.contains("127.0.0.1:\(proxy.port ?? 0) (systemd drop-in)"))
            #expect(status.output.contains("127.0.0.1:\(proxy.port ?? 0) answers\n"))
            #expect(!status.output.contains(secret.secret.text))
        }
    }

    @Test
    func `lockdown and builders too get the address where docker-ramd says that it listens`() throws {
        try with { (machine, proxy) throws in
            let port = proxy.port ?? 0
            #expect(machine.run(["engine", "lockdown", "enable"]).code == 0)
            let rules = try machine.read("root/etc/docker-ram/lockdown.nft")
            #expect(rules.contains("ip daddr 127.0.0.1 tcp dport \(port) accept"), "\(rules)")
            try FileManager.default.createDirectory(
                atPath: "\(machine.root)/var/lib/docker-ram",
                withIntermediateDirectories: true
            )
            _ = try ProxySecret.readOrMake(InstallationPaths(root: machine.root), of: .builders)
            let builder = machine.run(["engine", "builder", "acme", "--print"])
            #expect(builder.output.contains("@127.0.0.1:\(port) "), "\(builder)")
        }
    }

    // MARK: - Versions

    @Test(
        "the running engine and the installed one decide where the proxy goes",
        arguments: [
            ("20.10.24", nil, "docker-ram-proxy.conf"), ("28.2.2", nil, "proxies"), (nil, "24.0.5", "proxies"),
            (nil, "20.10.24+dfsg1", "docker-ram-proxy.conf"), ("28.2.2", "29.1.0", "proxies"),
            ("dev", "23.0.1", "proxies"), ("dev", "dev", "docker-ram-proxy.conf"), (nil, nil, "docker-ram-proxy.conf"),
            ("20.10.24", "24.0.5", nil), ("24.0.5", "20.10.24", nil),
        ] as [(String?, String?, String?)]
    )
    func versions(running: String?, installed: String?, place: String?) throws {
        try with { (machine, _) throws in
            if let installed { try installEngine(machine, version: installed) }
            func check() {
                let outcome = machine.run(["engine", "enable", "--dry-run"])
                #expect(outcome.code == (place == nil ? 1 : 0), "\(outcome.errors)")
                if let place {
                    #expect(outcome.output.contains(place), "\(outcome)")
                } else {
                    #expect(outcome.errors.contains("read their proxy in different places"))
                }
                for version in [running, installed].compactMap(\.self) { #expect(outcome.errors.contains(version)) }
            }
            if let running {
                try withEngine(machine, version: running) { check() }
            } else {
                check()
            }
        }
    }

    // MARK: - The running engine

    @Test(
        "status says whether the running engine has another proxy than it is told",
        arguments: [
            ("", "", true), ("http://xxxxx:xxxxx@127.0.0.1:PORT", "127.0.0.1", false),
            ("http://xxxxx:xxxxx@127.0.0.1:PORT", "127.0.0.1,localhost", true),
            ("http://xxxxx:xxxxx@127.0.0.1:PORT", "", true), ("http://corp.test:3128", "127.0.0.1", true),
        ]
    )
    func pending(proxy: String, noProxy: String, isPending: Bool) throws {
        try with { (machine, server) throws in
            let url = proxy.replacingOccurrences(of: "PORT", with: "\(server.port ?? 0)")
            try withEngine(machine, version: "28.2.2", proxy: url, noProxy: noProxy) {
                #expect(machine.run(["engine", "enable"]).code == 0)
                let json = try StrictJSON.parse(
                    Array(machine.run(["engine", "status", "--format", "json"]).output.utf8)
                )
                #expect(json.value(named: "restartPending") == .bool(isPending))
                #expect(json.value(named: "engine")?.value(named: "usesProxy") == .bool(!isPending))
                #expect(json.value(named: "proxy")?.value(named: "place") == .string("daemon.json"))
                let text = machine.run(["engine", "status"]).output
                #expect(text.contains("restart") == isPending, "\(text)")

                // A second enable changes nothing, and says so of the engine too.
                let again = machine.run(["engine", "enable"])
                #expect(again.output == "Already set up\n")
                #expect(again.errors.contains("at its next start only") == isPending)

                // Taken back, the engine uses it until it starts again.
                #expect(machine.run(["engine", "disable"]).code == 0)
                let after = try StrictJSON.parse(
                    Array(machine.run(["engine", "status", "--format", "json"]).output.utf8)
                )
                #expect(after.value(named: "restartPending") == .bool(url.contains("xxxxx")))
            }
        }
    }

    // MARK: - systemd

    @Test
    func `systemd is told what is needed, and to restart Docker only if that is wanted`() throws {
        try with { (machine, server) throws in
            try installSystemd(machine)
            try machine.write(
                "[Service]\nEnvironment=HTTPS_PROXY=http://proxy.corp.test:3128\n",
                "root/etc/systemd/system/docker.service.d/http-proxy.conf"
            )
            let url = "http://xxxxx:xxxxx@127.0.0.1:\(server.port ?? 0)"
            try withEngine(machine, version: "20.10.24", proxy: url, noProxy: "127.0.0.1") {
                #expect(machine.run(["engine", "enable", "--dry-run", "--restart"]).code == 0)
                #expect(told(machine) == [])
                let first = machine.run(["engine", "enable"])
                #expect(told(machine) == ["daemon-reload", "try-restart docker-ramd.service"])
                #expect(first.errors.contains("systemctl reload docker"))
                #expect(first.errors.contains("systemctl restart docker"))
                let restarted = machine.run(["engine", "disable", "--restart"])
                #expect(restarted.output.contains("Docker was restarted"))
                #expect(
                    told(machine).dropFirst(2) == [
                        "daemon-reload", "try-restart docker-ramd.service", "try-restart docker.service",
                    ]
                )
                #expect(!restarted.errors.contains("systemctl"))
            }
        }
    }

    @Test
    func `a restart that is still to come is done by another enable`() throws {
        try with { (machine, _) throws in
            try installSystemd(machine)
            try withEngine(machine, version: "28.2.2") {
                #expect(machine.run(["engine", "enable"]).code == 0)
                #expect(told(machine) == [])
                let outcome = machine.run(["engine", "enable", "--restart"])
                #expect(told(machine) == ["try-restart docker.service"])
                // The engine that is played goes on without.
                #expect(outcome.code == 1)
                #expect(outcome.errors.contains("does not say that it uses the egress proxy"))
            }
        }
    }

    @Test
    func `what systemd refuses is said`() throws {
        try with { (machine, _) throws in
            try installSystemd(machine, exitCode: 5)
            try installEngine(machine, version: "20.10.24")
            let outcome = machine.run(["engine", "enable"])
            #expect(outcome.code == 1)
            #expect(outcome.errors.contains("\"systemctl daemon-reload\" failed: no such unit"))
        }
    }
}
