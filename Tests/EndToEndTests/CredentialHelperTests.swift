import Foundation
import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// docker-credential-ram with a real keyring, many at once and for more than one person.
    @Suite(.serialized)
    struct CredentialHelperTests {
        private func withRoot<Result>(
            allowing addresses: [String],
            _ body: (String) async throws -> Result
        ) async throws -> Result {
            try await withTemporaryDirectory { (root: String) async throws -> Result in
                try FileManager.default.createDirectory(
                    atPath: "\(root)/etc/docker-ram",
                    withIntermediateDirectories: true
                )
                try PrivateDocker.policy(version: 1, allowing: addresses).write(
                    toFile: "\(root)/etc/docker-ram/policy.json",
                    atomically: true,
                    encoding: .utf8
                )
                return try await body(root)
            }
        }

        private func credential(_ server: String, _ user: String, _ secret: String) -> String {
            #"{"ServerURL":"\#(server)","Username":"\#(user)","Secret":"\#(secret)"}"#
        }

        @Test("32 helpers at once each get their own credential, and as many are refused")
        func parallel() async throws {
            let servers = (0..<32).map { "r\($0).acme.test" }
            try await withRoot(allowing: ["*.acme.test"]) { root in
                try await PrivateKeyring.with(in: root) { keyring in
                    try await withThrowingDiscardingTaskGroup { group in
                        for (number, server) in servers.enumerated() {
                            group.addTask {
                                let input = credential(server, "user\(number)", "secret \(number)")
                                try await keyring.helper("store", input).expecting(0)
                            }
                        }
                    }
                    try await withThrowingDiscardingTaskGroup { group in
                        for (number, server) in servers.enumerated() {
                            group.addTask {
                                let ended = try await keyring.helper("get", server).expecting(0)
                                #expect(ended.output == credential(server, "user\(number)", "secret \(number)") + "\n")
                            }
                            group.addTask {
                                let host = "r\(number).other.test"
                                let ended = try await keyring.helper("get", host)
                                #expect(ended.status == 1)
                                #expect(PrivateDocker.isRefusal(ended.output, of: host), "\(ended)")
                            }
                        }
                    }
                    try await withThrowingDiscardingTaskGroup { group in
                        for server in servers {
                            group.addTask { try await keyring.helper("erase", server).expecting(0) }
                        }
                    }
                    #expect(try await keyring.helper("list").output == "{}\n")
                }
            }
        }

        @Test("credentials are shared with docker-credential-secretservice, both ways")
        func interoperability() async throws {
            let theirs = "/usr/bin/docker-credential-secretservice"
            try await withRoot(allowing: ["docker.io", "registry.acme.test"]) { root in
                try await PrivateKeyring.with(in: root) { keyring in
                    for (server, writer, reader) in [
                        ("https://index.docker.io/v1/", nil, theirs),
                        ("registry.acme.test", theirs, nil),
                    ] {
                        let written = credential(server, "alice", "open-sesame")
                        try await keyring.helper("store", written, program: writer).expecting(0)
                        let read = try await keyring.helper("get", server, program: reader).expecting(0)
                        #expect(read.output == written + "\n")
                    }
                }
            }
        }

        @Test("a credential of a registry that became disallowed is withheld, not lost")
        func withheld() async throws {
            try await withRoot(allowing: ["registry.acme.test"]) { root in
                try await PrivateKeyring.with(in: root) { keyring in
                    let written = credential("registry.acme.test", "alice", "open-sesame")
                    try await keyring.helper("store", written).expecting(0)
                    let policy = "\(root)/etc/docker-ram/policy.json"
                    let allowing = try String(contentsOfFile: policy, encoding: .utf8)
                    try PrivateDocker.policy(version: 2, allowing: [])
                        .write(toFile: policy, atomically: true, encoding: .utf8)
                    let refused = try await keyring.helper("get", "registry.acme.test")
                    #expect(refused.status == 1)
                    #expect(PrivateDocker.isRefusal(refused.output, of: "registry.acme.test", policy: 2), "\(refused)")
                    #expect(try await keyring.helper("list").output == "{}\n")
                    try allowing.write(toFile: policy, atomically: true, encoding: .utf8)
                    #expect(try await keyring.helper("get", "registry.acme.test").expecting(0).output == written + "\n")
                }
            }
        }

        @Test("two people, each with their own keyring")
        func twoPeople() async throws {
            try await withRoot(allowing: ["registry.acme.test"]) { root in
                let people = [("nobody", "65534"), ("daemon", "1")]
                let programs = "\(root)/programs"
                try FileManager.default.createDirectory(atPath: programs, withIntermediateDirectories: true)
                try FileManager.default.copyItem(
                    atPath: try Programs.path("docker-credential-ram"),
                    toPath: "\(programs)/docker-credential-ram"
                )
                for (name, uid) in people {
                    // Each runs bus, keyring and helper as that person, and the keyring is the person's own.
                    let script = """
                        set -eu
                        export HOME="$1" XDG_RUNTIME_DIR="$1" XDG_DATA_HOME="$1/data" DOCKER_RAM_ROOT="$2"
                        exec dbus-run-session -- sh -euc '
                            echo | gnome-keyring-daemon --unlock --components=secrets >/dev/null
                            printf "%s" "$4" | "$3/docker-credential-ram" store
                            printf registry.acme.test | "$3/docker-credential-ram" get
                            printf ghcr.io | "$3/docker-credential-ram" get 2>/dev/null || echo "status $?"
                        ' sh "$@"
                        """
                    let home = "\(root)/\(name)"
                    try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
                    chmod(root, 0o755)
                    guard let number = uid_t(uid) else { continue }
                    chown(home, number, number)
                    let ended = try await runProgram(
                        [
                            "setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "sh", "-c", script, "sh",
                            home, root, programs, credential("registry.acme.test", name, "secret of \(name)"),
                        ],
                        within: .seconds(60)
                    ).expecting(0)
                    #expect(
                        ended.output.contains(credential("registry.acme.test", name, "secret of \(name)")),
                        "\(ended)"
                    )
                    #expect(PrivateDocker.isRefusal(ended.output, of: "ghcr.io"), "\(ended)")
                    #expect(ended.output.contains("status 1"))
                }
            }
        }
    }
}
