import Foundation
import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// A machine of an organization with the organization's real server, and people who sign in as Docker's users do.
    @Suite(.serialized)
    struct OrganizationSignInTests {
        private static let password = LoopbackOrganization.password

        /// Runs an engine whose machine belongs to an organization that demands a sign-in.
        private static func with(_ body: (PrivateEngine, LoopbackOrganization) async throws -> Void) async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                let (data, root) = ("\(directory)/data", "\(directory)/e")
                try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
                let fingerprint = try await LoopbackOrganization.make(data)
                try await LoopbackOrganization.serve(data) { server in
                    try await PrivateEngine.with(in: root, policy: nil) { engine in
                        try await engine.docker([
                            "ram", "enroll", server.url, "--organization", "acme", "--fingerprint", fingerprint,
                            "--require-sign-in",
                        ]).expecting(0)
                        try #"{"credsStore":"ram"}"#
                            .write(toFile: "\(engine.config)/config.json", atomically: true, encoding: .utf8)
                        try await becomes(engine, "sign-in-required")
                        try await body(engine, server)
                    }
                }
            }
        }

        private static func becomes(_ engine: PrivateEngine, _ state: String) async throws {
            try await waitUntil("the state is \(state)") {
                try await engine.docker(["ram", "status", "--format", "json"]).output.contains("\"\(state)\"")
            }
        }

        @Test("docker login and docker logout sign the machine in and out", arguments: DockerClients.all)
        func loginAndLogout(client: String) async throws {
            try await Self.with { engine, server in
                let refused = try await engine.docker(client, ["pull", "127.0.0.1:1/acme/x"])
                #expect(refused.status != 0)
                #expect(refused.errors.contains("requires you to sign in"), "\(refused)")
                #expect(refused.errors.contains("docker ram login"), "\(refused)")
                try await engine.docker(client, ["ps"]).expecting(0)

                let login = ["login", server.authority, "--username", "alice", "--password-stdin"]
                let wrong = try await engine.docker(client, login, input: "wrong horse battery\n")
                #expect(wrong.status != 0, "\(wrong)")
                try await Self.becomes(engine, "sign-in-required")

                let right = try await engine.docker(client, login, input: "\(Self.password)\n").expecting(0)
                #expect(right.output.contains("Login Succeeded"), "\(right)")
                try await Self.becomes(engine, "enforce")
                let status = try await engine.docker(["ram", "status"]).expecting(0)
                #expect(status.output.contains("alice"), "\(status)")
                // Signed in, the policy decides: it has Docker Hub only.
                let disallowed = try await engine.docker(client, ["pull", "127.0.0.1:1/acme/x"])
                #expect(PrivateDocker.isRefusal(disallowed.errors, of: "127.0.0.1:1"), "\(disallowed)")

                try await engine.docker(client, ["logout", server.authority]).expecting(0)
                try await Self.becomes(engine, "sign-in-required")
                let config = try String(contentsOfFile: "\(engine.config)/config.json", encoding: .utf8)
                #expect(!config.contains(Self.password))
            }
        }

        @Test("each session that an owner ends ends on the machine, not the first one alone")
        func endedAgainAndAgain() async throws {
            try await Self.with { engine, server in
                let token = try await server.accessToken(["sessions:write"])
                let login = ["ram", "login", "--username", "alice", "--password-stdin"]
                // Told at once, not found by the poll after the next: that is longer than becomes waits.
                for selection in ["user=alice", "user=alice", ""] {
                    try await engine.docker(DockerClients.debian, login, input: "\(Self.password)\n").expecting(0)
                    try await Self.becomes(engine, "enforce")
                    try await runProgram([
                        "curl", "-sSf", "-X", "DELETE", "\(server.url)/v1/organizations/acme/sessions?\(selection)",
                        "-H", "Authorization: Bearer \(token)",
                    ]).expecting(0)
                    try await Self.becomes(engine, "sign-in-required")
                    let refused = try await engine.docker(["pull", "127.0.0.1:1/acme/x"])
                    #expect(refused.status != 0 && refused.errors.contains("docker ram login"), "\(refused)")
                }
            }
        }

        @Test("where enrollment tokens are asked for, a machine is registered with a good one")
        func enrollmentToken() async throws {
            try await Self.with { engine, server in
                let token = try await server.accessToken(["machines:read", "machines:write", "settings:write"])
                func admin(_ words: [String]) async throws -> EndedProgram {
                    try await runProgram(
                        [try Programs.path("docker-ram"), "admin"] + words,
                        environment: engine.environment.merging(
                            [
                                "DOCKER_RAM_SERVER": server.url, "DOCKER_RAM_ORGANIZATION": "acme",
                                "DOCKER_RAM_TOKEN": token,
                            ]
                        ) { $1 }
                    )
                }
                func devices() async throws -> [String] {
                    let list = try await admin(["device", "list", "--format", "json"]).expecting(0)
                    return list.output.matches(of: #/"device": "([0-9a-z]+)"/#).map { String($0.output.1) }
                }
                try await waitUntil("the machine is registered") { try await devices().count == 1 }
                try await runProgram([
                    "curl", "-sSf", "-X", "PATCH", "\(server.url)/v1/organizations/acme/settings", "-H",
                    "Authorization: Bearer \(token)", "--json", #"{"enrollment":"token"}"#,
                ]).expecting(0)
                try await admin(["device", "remove", try #require(try await devices().first)]).expecting(0)
                try await waitUntil("status says what is missing") {
                    try await engine.docker(["ram", "status"]).output.contains("it wants an enrollment token")
                }

                let made = try await admin(["device", "tokens", "create", "laptops", "--days", "1"]).expecting(0)
                let enrollmentToken = String(try #require(made.output.firstMatch(of: #/rame_[0-9A-Za-z_]+/#)?.output))
                let fingerprint = try #require(
                    try String(contentsOfFile: "\(engine.root)/etc/docker-ram/enrollment.json", encoding: .utf8)
                        .firstMatch(of: #/sha256:[0-9a-f]{64}/#)?.output
                )
                let enroll = [
                    "ram", "enroll", server.url, "--organization", "acme", "--fingerprint", String(fingerprint),
                    "--require-sign-in", "--enrollment-token-stdin",
                ]
                let wrong = "\(enrollmentToken.dropLast())\(enrollmentToken.last == "0" ? "1" : "0")\n"
                let refused = try await engine.docker(DockerClients.debian, enroll, input: wrong)
                #expect(refused.status == 1 && refused.errors.contains("enrolled, but not registered"), "\(refused)")
                try await engine.docker(DockerClients.debian, enroll, input: "\(enrollmentToken)\n").expecting(0)
                #expect(try await devices().count == 1)
                try await waitUntil("status misses nothing") {
                    try await !engine.docker(["ram", "status"]).output.contains("enrollment token")
                }
            }
        }

        @Test("who is signed in stays so over a restart of docker-ramd and when it is killed")
        func restart() async throws {
            try await Self.with { engine, server in
                let login = ["ram", "login", "--username", "alice", "--password-stdin"]
                try await engine.docker(DockerClients.debian, login, input: "\(Self.password)\n").expecting(0)
                try await Self.becomes(engine, "enforce")
                for signal in [SIGTERM, SIGKILL] {
                    try await engine.stopDaemon(signal)
                    try await engine.startDaemon()
                    try await Self.becomes(engine, "enforce")
                }
                let disallowed = try await engine.docker(["pull", "127.0.0.1:1/acme/x"])
                #expect(PrivateDocker.isRefusal(disallowed.errors, of: "127.0.0.1:1"), "\(disallowed)")
            }
        }
    }
}
