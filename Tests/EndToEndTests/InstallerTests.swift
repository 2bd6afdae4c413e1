import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// install.sh, into roots and homes that are thrown away.
    @Suite(.serialized)
    struct InstallerTests {
        private let installer = "\(Programs.package)/install.sh"

        /// A machine's directory with accounts, Docker settings and a file that is in the way.
        private func withScratchRoot<Result>(_ body: (String) async throws -> Result) async throws -> Result {
            try await withTemporaryDirectory { (root: String) async throws -> Result in
                let files = FileManager.default
                for directory in ["etc/docker", "usr/local/bin"] {
                    try files.createDirectory(atPath: "\(root)/\(directory)", withIntermediateDirectories: true)
                }
                for (name, text) in [
                    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", "root:x:0:\n"),
                    ("etc/shadow", "root:*:19000:0:99999:7:::\n"), ("etc/gshadow", "root:*::\n"),
                    ("etc/docker/daemon.json", "{\r\n\t\"log-level\" :  \"warn\",\"future\":[1.50, 1e3]}"),
                    ("usr/local/bin/docker-credential-ram", "somebody else's\n"),
                ] {
                    try text.write(toFile: "\(root)/\(name)", atomically: true, encoding: .utf8)
                }
                return try await body(root)
            }
        }

        /// Every file with its mode and contents; the account tools' own backups and locks are theirs.
        private func contents(of root: String) async throws -> String {
            try await runProgram([
                "sh", "-euc",
                """
                cd "$1"
                find . ! -name '*-' ! -name .pwd.lock -printf '%p %M %l\\n' | sort
                find . -type f ! -name '*-' ! -name .pwd.lock | sort | xargs sha256sum
                """, "sh", root,
            ]).expecting(0).output
        }

        private func install(_ arguments: [String], environment: [String: String] = [:]) async throws -> EndedProgram {
            try await runProgram([installer] + arguments, environment: environment)
        }

        private func programs() throws -> String {
            let path = try Programs.path("docker-ramd")
            for name in ["docker-ram", "docker-credential-ram"] { _ = try Programs.path(name) }
            return URL(fileURLWithPath: path).deletingLastPathComponent().path
        }

        @Test("what is installed is taken back byte for byte")
        func uninstall() async throws {
            try await withScratchRoot { root in
                let before = try await contents(of: root)
                let options = ["--root", root, "--prebuilt", try programs()]
                try await install(options + ["--dry-run"]).expecting(0)
                #expect(try await contents(of: root) == before, "a dry run changes nothing")

                try await install(options).expecting(0)
                let installed = try await contents(of: root)
                for path in [
                    "usr/local/lib/docker/cli-plugins/docker-ram", "usr/local/bin/docker-credential-ram",
                    "usr/local/libexec/docker-ramd", "etc/systemd/system/docker-ramd.service",
                    "etc/systemd/system/sockets.target.wants/docker-ramd-plugin.socket",
                    "etc/systemd/system/sockets.target.wants/docker-ramd-proxy.socket",
                    "etc/systemd/system/docker-ramd-proxy.socket", "etc/systemd/system/docker-ram-doctor.service",
                    "etc/systemd/system/timers.target.wants/docker-ram-doctor.timer",
                    "etc/systemd/system/docker.service.d/docker-ram-proxy.conf", "etc/docker-ram/engine-proxy.env",
                ] {
                    #expect(installed.contains("./\(path) "), "\(path)")
                }
                let settings = try String(contentsOfFile: "\(root)/etc/docker/daemon.json", encoding: .utf8)
                #expect(settings.contains("docker-ram"))
                #expect(settings.contains("\t\"log-level\" :  \"warn\",\"future\":[1.50, 1e3]"))

                let again = try await install(options).expecting(0)
                #expect(again.output.contains("unchanged"))
                #expect(!again.output.contains("installed  "))
                #expect(try await contents(of: root) == installed, "a second run changes nothing")

                try await install(["--root", root, "--uninstall", "--dry-run"]).expecting(0)
                #expect(try await contents(of: root) == installed, "a dry run changes nothing")
                try await install(["--root", root, "--uninstall"]).expecting(0)
                #expect(try await contents(of: root) == before)
                try await install(["--root", root, "--uninstall"]).expecting(0)
            }
        }

        @Test(
            "an engine behind a company's proxy: the proxy is kept, secrets are closed, and all of it comes back",
            arguments: ["20.10.24+dfsg1", "28.2.2"]
        )
        func companyProxy(version: String) async throws {
            try await withScratchRoot { root in
                let files: [(String, String, mode_t)] = [
                    (
                        "usr/sbin/dockerd",
                        "#!/bin/sh\necho 'Docker version \(version), build x'\n", 0o755
                    ),
                    ("lib/systemd/system/docker.service", "[Service]\nExecStart=/usr/sbin/dockerd\n", 0o644),
                    (
                        "etc/systemd/system/docker.service.d/http-proxy.conf",
                        "[Service]\nEnvironment=HTTPS_PROXY=http://me:secret@proxy.corp.test:3128 NO_PROXY=.corp.test\n",
                        0o640
                    ),
                    ("etc/docker-ram/daemon.json", "{ \"decisionLog\": { \"files\": 2 } }", 0o644),
                ]
                for (name, text, mode) in files {
                    let path = "\(root)/\(name)"
                    let above = URL(fileURLWithPath: path).deletingLastPathComponent()
                    try FileManager.default.createDirectory(at: above, withIntermediateDirectories: true)
                    try text.write(toFile: path, atomically: true, encoding: .utf8)
                    chmod(path, mode)
                }
                let before = try await contents(of: root)
                let options = ["--root", root, "--prebuilt", try programs()]
                let told = try await install(options + ["--dry-run"]).expecting(0)
                #expect(try await contents(of: root) == before)
                #expect(told.output.contains("egressProxy.upstream \"proxy.corp.test:3128\""), "\(told)")

                let ended = try await install(options).expecting(0)
                #expect(ended.errors.contains("is \(version); it reads its proxy from"), "\(ended)")
                #expect(!ended.said.contains("secret@"))
                let settings = try String(contentsOfFile: "\(root)/etc/docker-ram/daemon.json", encoding: .utf8)
                #expect(settings.contains("http://me:secret@proxy.corp.test:3128"))
                #expect(settings.contains("**.corp.test"))
                let installed = try await contents(of: root)
                let isNew = version.hasPrefix("28")
                #expect(installed.contains("./etc/docker-ram/daemon.json -rw-r-----"))
                #expect(installed.contains("./etc/docker/daemon.json -rw\(isNew ? "-------" : "-r--r--")"))
                #expect(installed.contains("./etc/docker-ram/engine-proxy.env -rw-------") == !isNew)
                let again = try await install(options).expecting(0)
                #expect(again.output.contains("Already set up"), "\(again)")
                #expect(try await contents(of: root) == installed)

                try await install(["--root", root, "--uninstall"]).expecting(0)
                #expect(try await contents(of: root) == before)
            }
        }

        @Test("an installation by the version without a proxy is upgraded, and taken back as it was before that")
        func upgrade() async throws {
            try await withScratchRoot { root in
                let before = try await contents(of: root)
                let options = ["--root", root, "--prebuilt", try programs()]
                try await install(options).expecting(0)
                // What that version did and wrote down, and nothing more.
                try await runProgram([
                    "sh", "-euc",
                    """
                    cd "$1"
                    DOCKER_RAM_ROOT=$1 usr/local/lib/docker/cli-plugins/docker-ram ram engine disable
                    DOCKER_RAM_ROOT=$1 usr/local/lib/docker/cli-plugins/docker-ram ram engine enable --plugin-only --no-check
                    rm etc/systemd/system/docker-ramd-proxy.socket var/lib/docker-ram/proxy-secret
                    rm etc/systemd/system/sockets.target.wants/docker-ramd-proxy.socket
                    record=var/lib/docker-ram-undo/installed
                    grep -v docker-ramd-proxy.socket $record >changed
                    mv changed $record
                    undo=var/lib/docker-ram-undo/daemon.json
                    python3 - $undo <<'END'
                    import json, sys
                    record = json.load(open(sys.argv[1]))
                    del record["written"], record["madeDirectories"]
                    record["madeDirectory"] = False
                    json.dump(record, open(sys.argv[1], "w"))
                    END
                    """, "sh", root,
                ]).expecting(0)
                try await install(options).expecting(0)
                let installed = try await contents(of: root)
                #expect(installed.contains("docker.service.d/docker-ram-proxy.conf "))
                #expect(installed.contains("sockets.target.wants/docker-ramd-proxy.socket "))
                try await install(["--root", root, "--uninstall"]).expecting(0)
                #expect(try await contents(of: root) == before)
            }
        }

        @Test("what others changed since, and a policy, stay")
        func changedSince() async throws {
            try await withScratchRoot { root in
                try await install(["--root", root, "--prebuilt", try programs()]).expecting(0)
                let unit = "\(root)/etc/systemd/system/docker-ramd.service"
                let mine = try String(contentsOfFile: unit, encoding: .utf8) + "# ours\n"
                try mine.write(toFile: unit, atomically: true, encoding: .utf8)
                let policy = "\(root)/etc/docker-ram/policy.json"
                try PrivateDocker.policy(version: 1, allowing: []).write(
                    toFile: policy,
                    atomically: true,
                    encoding: .utf8
                )
                let ended = try await install(["--root", root, "--uninstall"]).expecting(0)
                #expect(ended.errors.contains("was changed since it was installed and is left as it is"))
                #expect(ended.output.contains("kept       \(root)/etc/docker-ram"))
                #expect(try String(contentsOfFile: unit, encoding: .utf8) == mine)
                #expect(FileManager.default.fileExists(atPath: policy))
            }
        }

        @Test("settings of Docker that are not JSON are left untouched, and it says so")
        func brokenSettings() async throws {
            try await withScratchRoot { root in
                let settings = "\(root)/etc/docker/daemon.json"
                try "{ no".write(toFile: settings, atomically: true, encoding: .utf8)
                let ended = try await install(["--root", root, "--prebuilt", try programs()])
                #expect(ended.status == 1)
                #expect(ended.errors.contains("is left untouched"), "\(ended)")
                #expect(try String(contentsOfFile: settings, encoding: .utf8) == "{ no")
            }
        }

        @Test("one developer's installation, and back")
        func oneDeveloper() async throws {
            try await withTemporaryDirectory { (home: String) async throws in
                let config = "{\n  \"psFormat\": \"x\", \"credHelpers\": {\"a.test\": \"pass\"} }"
                try FileManager.default.createDirectory(atPath: "\(home)/.docker", withIntermediateDirectories: true)
                try config.write(toFile: "\(home)/.docker/config.json", atomically: true, encoding: .utf8)
                let before = try await contents(of: home)
                let variables = ["HOME": home, "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": ""]
                try await install(["--user", "--prebuilt", try programs()], environment: variables).expecting(0)
                let settings = try String(contentsOfFile: "\(home)/.docker/config.json", encoding: .utf8)
                #expect(settings.contains(#""credsStore": "ram""#), "\(settings)")
                let version = try await runProgram(
                    ["/usr/bin/docker", "ram", "version"],
                    environment: variables.merging(["PATH": "\(home)/.local/bin:/usr/bin:/bin"]) { _, new in new }
                )
                #expect(version.status == 0, "\(version)")
                try await install(["--user", "--uninstall"], environment: variables).expecting(0)
                #expect(try await contents(of: home) == before)
            }
        }

        @Test("the organization's server is installed and taken back; its data stays, unless it is purged")
        func organizationServer() async throws {
            try await withScratchRoot { root in
                let before = try await contents(of: root)
                let server = ["--organization-server", "--root", root]
                let programs = URL(fileURLWithPath: try Programs.path("docker-ram-server"))
                let options = server + ["--prebuilt", programs.deletingLastPathComponent().path]
                try await install(options + ["--dry-run"]).expecting(0)
                #expect(try await contents(of: root) == before, "a dry run changes nothing")

                let first = try await install(options).expecting(0)
                #expect(first.output.contains("sudo -u docker-ram-server docker-ram-server init"), "\(first)")
                let installed = try await contents(of: root)
                for path in [
                    "usr/local/bin/docker-ram-server -rwxr-xr-x",
                    "etc/systemd/system/docker-ram-server.service -rw-r--r--",
                    "etc/default/docker-ram-server -rw-r--r--", "var/lib/docker-ram-server drwx------",
                    "etc/systemd/system/multi-user.target.wants/docker-ram-server.service ",
                ] {
                    #expect(installed.contains("./\(path)"), "\(path)")
                }
                #expect(!installed.contains("docker-ramd"), "nothing of a developer's machine")
                let again = try await install(options).expecting(0)
                #expect(!again.output.contains("installed  "), "\(again)")
                #expect(try await contents(of: root) == installed, "a second run changes nothing")
                try await install(server + ["--uninstall", "--dry-run"]).expecting(0)
                #expect(try await contents(of: root) == installed, "a dry run changes nothing")

                let settings = "\(root)/etc/default/docker-ram-server"
                try "OPTIONS=--behind-proxy\n".write(toFile: settings, atomically: true, encoding: .utf8)

                // An organization is made: it stays, and its account with it, until it is purged.
                let data = "\(root)/var/lib/docker-ram-server"
                // The account is in the root and not on this machine, so whoever tests is the owner meanwhile.
                #expect(chown(data, geteuid(), getegid()) == 0)
                let initialize = ["init", "--data", data, "--organization", "acme", "--owner", "alice"]
                try await runProgram(
                    ["\(root)/usr/local/bin/docker-ram-server"] + initialize
                        + ["--password-stdin", "--public-url", "https://ram.acme.test"],
                    input: "correct horse battery\n"
                ).expecting(0)
                #expect(FileManager.default.fileExists(atPath: "\(data)/acme-root.key"))
                let kept = try await install(server + ["--uninstall"]).expecting(0)
                #expect(kept.output.contains("kept       \(data) and the account docker-ram-server"), "\(kept)")
                #expect(FileManager.default.fileExists(atPath: "\(data)/server.sqlite"))
                #expect(!FileManager.default.fileExists(atPath: "\(root)/usr/local/bin/docker-ram-server"))
                let ready = try await install(options).expecting(0)
                #expect(!ready.output.contains("docker-ram-server init"), "\(ready)")
                #expect(try String(contentsOfFile: settings, encoding: .utf8) == "OPTIONS=--behind-proxy\n")
                try await install(server + ["--uninstall", "--purge"]).expecting(0)
                #expect(try await contents(of: root) == before)
            }
        }

        @Test(
            "a server and a machine in one place: what both put something in goes with the last",
            arguments: [true, false]
        )
        func both(serverGoesFirst: Bool) async throws {
            try await withScratchRoot { root in
                let before = try await contents(of: root)
                let machine = ["--root", root]
                let server = machine + ["--organization-server"]
                let programs = URL(fileURLWithPath: try Programs.path("docker-ram-server")).deletingLastPathComponent()
                _ = try self.programs()
                for options in serverGoesFirst ? [server, machine] : [machine, server] {
                    try await install(options + ["--prebuilt", programs.path]).expecting(0)
                }
                let order = serverGoesFirst ? [server, machine] : [machine, server]
                try await install(order[0] + ["--uninstall"]).expecting(0)
                #expect(try await contents(of: root) != before)
                try await install(order[1] + ["--uninstall"]).expecting(0)
                #expect(try await contents(of: root) == before)
            }
        }

        @Test("a purge leaves nothing either where an earlier --uninstall has kept the policy")
        func purgeLater() async throws {
            try await withScratchRoot { root in
                let before = try await contents(of: root)
                let options = ["--root", root, "--prebuilt", try programs()]
                try await install(options).expecting(0)
                let policy = "\(root)/etc/docker-ram/policy.json"
                try "{}".write(toFile: policy, atomically: true, encoding: .utf8)
                let kept = try await install(["--root", root, "--uninstall"]).expecting(0)
                #expect(kept.output.contains("kept       \(root)/etc/docker-ram"), "\(kept)")
                #expect(FileManager.default.fileExists(atPath: policy))

                try await install(options).expecting(0)
                try await install(["--root", root, "--uninstall", "--purge"]).expecting(0)
                #expect(try await contents(of: root) == before)
            }
        }

        @Test("systemd takes the units, and they are closed as far as they say", arguments: [true, false])
        func units(ofServer isServer: Bool) async throws {
            try await withScratchRoot { root in
                let options =
                    (isServer ? ["--organization-server"] : []) + ["--root", root, "--prebuilt", try programs()]
                try await install(options).expecting(0)
                let unit = isServer ? "docker-ram-server.service" : "docker-ramd.service"
                let others = isServer ? [] : ["docker-ram-doctor.service", "docker-ram-doctor.timer"]
                let script = """
                    mkdir -p "$1/usr/lib/systemd/system" "$1/bin"
                    cp -a /bin/kill "$1/bin/"
                    cp -a /lib/systemd/system/*.target /lib/systemd/system/*.slice "$1/usr/lib/systemd/system/"
                    r=$1
                    shift
                    systemd-analyze verify --man=no --root="$r" "$@"
                    """
                let verified = try await runProgram(["sh", "-euc", script, "sh", root, unit] + others).expecting(0)
                #expect(verified.said.isEmpty, "\(verified)")
                // docker-ramd reads the policy anew; systemctl refuses to reload what has no order for it.
                if !isServer {
                    let reload = try String(contentsOfFile: "\(root)/etc/systemd/system/\(unit)", encoding: .utf8)
                    #expect(reload.contains("\nExecReload=/bin/kill -HUP $MAINPID\n"))
                }
                let rated = try await runProgram([
                    "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=16",
                    "\(root)/etc/systemd/system/\(unit)",
                ])
                #expect(rated.status == 0, "\(rated)")
            }
        }

        @Test("the demo does what it says and leaves nothing")
        func demo() async throws {
            // Somebody may have kept another demo running.
            let kept = try FileManager.default.contentsOfDirectory(atPath: "/tmp")
            let ended = try await runProgram(
                [installer, "--demo", "--prebuilt", try programs()],
                within: .seconds(180)
            ).expecting(0)
            #expect(ended.output.contains("the demo did what it should"))
            // A real engine, started with what "docker ram engine enable" wrote, says that it uses the proxy.
            #expect(ended.output.contains(" uses 127.0.0.1:"))
            #expect(PrivateDocker.isRefusal(ended.output, of: "ghcr.io"))
            #expect(ended.output.contains("Head \"https://ghcr.io/v2/acme/hello/manifests/1\": Your organization"))
            let work = try FileManager.default.contentsOfDirectory(atPath: "/tmp")
            #expect(!work.contains { $0.hasPrefix("docker-ram-demo") && !kept.contains($0) })
        }

        @Test(
            "wrong options are said to be wrong",
            arguments: [
                ["--frobnicate"], ["--root"], ["--purge"], ["--user", "--root", "/tmp"], ["--demo", "--dry-run"],
                ["--keep"],
                ["--restart-docker", "--root", "/tmp"], ["--restart-docker", "--user"],
                ["--organization-server", "--restart-docker"],
                [
                    "--organization-server", "--server", "https://a.test", "--organization", "acme", "--fingerprint",
                    "x",
                ],
            ]
        )
        func wrongOptions(arguments: [String]) async throws {
            let ended = try await install(arguments)
            #expect(ended.status == 64)
            #expect(ended.errors.hasPrefix("install.sh: error: "))
        }
    }
}
