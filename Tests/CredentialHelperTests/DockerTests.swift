import Glibc
import LocalInstallation
import Testing

@testable import CredentialHelper

/// Docker's own client with our helper as its `credsStore`.
///
/// No engine is there, so the client talks to the registry
/// itself, as it does when the engine is away.
@Suite(.serialized)
struct DockerTests {
    /// Runs a body with a registry on loopback.
    private func withRegistry(_ session: KeyringSession, _ body: (_ address: String) throws -> Void) throws {
        try session.write(
            """
            version: 0.1
            storage: { inmemory: {} }
            http: { addr: "127.0.0.1:0" }
            log: { level: info, formatter: json }
            """,
            to: "registry.yml"
        )
        let registry = try RunningProgram(
            "sh",
            [
                "-c",
                "exec docker-registry serve '\(session.directory)/registry.yml' 2> '\(session.directory)/registry.log' >&2",
            ],
            environment: session.environment
        )
        defer {
            kill(registry.process, SIGTERM)
            _ = try? registry.end()
        }
        for _ in 0..<500 {
            let log = (try? Files.read("\(session.directory)/registry.log", atMost: 1 << 20).bytes) ?? []
            if let found = String(decoding: log, as: UTF8.self).firstMatch(of: /listening on (127\.0\.0\.1:\d+)/) {
                return try body(String(found.1))
            }
            usleep(10_000)
        }
        throw TestFailure("the registry did not start")
    }

    private func docker(_ session: KeyringSession, _ arguments: String...) throws -> Ending {
        var environment = session.environment
        environment["DOCKER_HOST"] = "unix://\(session.directory)/no-engine.sock"
        return try run("docker", arguments, input: Array("hunter2\n".utf8), environment: environment)
    }

    @Test("login keeps, logout removes, and a disallowed registry gets nothing")
    func login() throws {
        try withKeyringSession(.unlocked) { session in
            try session.write(#"{"credsStore":"ram"}"#, to: ".docker/config.json")
            try withRegistry(session) { address in
                let login = try docker(session, "login", "--username", "u", "--password-stdin", address)
                #expect(login.status == 0 && login.text.contains("Login Succeeded"), "\(login)")
                #expect(
                    try session.debians("get", address).text
                        == "{\"ServerURL\":\"\(address)\",\"Username\":\"u\",\"Secret\":\"hunter2\"}\n"
                )
                let config = try Files.read("\(session.directory)/.docker/config.json", atMost: 1 << 16).bytes
                #expect(!String(decoding: config, as: UTF8.self).contains("hunter2"))
                let logout = try docker(session, "logout", address)
                #expect(logout.status == 0, "\(logout)")
                #expect(try session.ours("list").text == "{}\n")

                try session.allow("a.test")
                let refused = try docker(session, "login", "--username", "u", "--password-stdin", address)
                #expect(refused.status != 0)
                #expect(
                    (refused.text + refused.words).contains(
                        "Your organization has disallowed this registry: \(address) (acme, policy 42, "
                    ),
                    "\(refused)"
                )
                #expect(try session.debians("list").text == "{}\n")
                #expect(try docker(session, "logout", address).status == 0)
            }
        }
    }

    @Test("logout of docker.io removes what Docker keeps under its old key")
    func hubLogout() throws {
        try withKeyringSession(.unlocked) { session in
            try session.write(#"{"credsStore":"ram"}"#, to: ".docker/config.json")
            try session.store("https://index.docker.io/v1/", "u", "s")
            #expect(try docker(session, "logout", "docker.io").status == 0)
            #expect(try session.ours("list").text == "{}\n")
        }
    }
}
