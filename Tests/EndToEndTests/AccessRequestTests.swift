import Foundation
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

extension EndToEnd {
    /// Asking for a registry: a machine with a real engine, and its organization's real server.
    @Suite(.serialized)
    struct AccessRequestTests {
        /// A machine of the organization, a registry that is not allowed there, and who may allow it.
        private struct Setting: Sendable {
            let engine: PrivateEngine
            let registry: PrivateRegistry
            let server: LoopbackOrganization
            let token: String

            func ram(_ words: [String]) async throws -> EndedProgram { try await engine.docker(["ram"] + words) }

            func admin(_ words: String...) async throws -> EndedProgram {
                try await runProgram(
                    [try Programs.path("docker-ram"), "admin", "request"] + words,
                    environment: engine.environment.merging(
                        [
                            "DOCKER_RAM_SERVER": server.url, "DOCKER_RAM_ORGANIZATION": "acme",
                            "DOCKER_RAM_TOKEN": token,
                        ]
                    ) { $1 }
                )
            }

            func pull() async throws -> EndedProgram { try await engine.docker(["pull", registry.image]) }

            /// The state of the newest request, as `docker ram status` says it.
            func newestState() async throws -> String? {
                let status = try await ram(["status", "--format", "json"])
                let json = try StrictJSON.parse(Array(status.output.utf8))
                return json.value(named: "requests")?.elements?.first?.value(named: "state")?.text
            }
        }

        private static func with(_ body: (Setting) async throws -> Void) async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                let data = "\(directory)/data"
                for part in ["e", "r"] {
                    try FileManager.default.createDirectory(
                        atPath: "\(directory)/\(part)",
                        withIntermediateDirectories: true
                    )
                }
                let fingerprint = try await LoopbackOrganization.make(data)
                try await LoopbackOrganization.serve(data) { server in
                    let token = try await server.accessToken(["policy:read", "policy:write", "activity:read"])
                    try await PrivateRegistry.with(in: "\(directory)/r") { registry in
                        try await PrivateEngine.with(in: "\(directory)/e", policy: nil) { engine in
                            try await engine.docker([
                                "ram", "enroll", server.url, "--organization", "acme", "--fingerprint", fingerprint,
                            ]).expecting(0)
                            try await waitUntil("the organization's policy is in force") {
                                try await engine.docker(["ram", "status", "--format", "json"])
                                    .output.contains(#""policyVersion": 1"#)
                            }
                            try await body(Setting(engine: engine, registry: registry, server: server, token: token))
                        }
                    }
                }
            }
        }

        @Test("what a refusal says to type asks for the registry, and the answer is in force until its end")
        func untilADate() async throws {
            try await Self.with { setting in
                let address = setting.registry.address
                let refused = try await setting.pull()
                #expect(PrivateDocker.isRefusal(refused.errors, of: address), "\(refused)")
                let command = "docker ram request \(address)"
                #expect(refused.errors.contains("Ask for access: \(command)"), "\(refused)")

                // The words of the sentence, and why.
                let words = command.split(separator: " ").dropFirst(2).map(String.init)
                let asked = try await setting.ram(words + ["--reason", "base images"]).expecting(0)
                #expect(asked.output.contains("acme has your request 1 for \(address)"), "\(asked)")
                let status = try await setting.ram(["status"]).expecting(0)
                #expect(status.output.contains("no answer yet"), "\(status)")
                // Asking again is no second request.
                try await setting.ram(words).expecting(0)
                // What is taken back is answered by nobody.
                try await setting.ram(["request", "quay.io"]).expecting(0)
                let withdrawn = try await setting.ram(["request", "--withdraw", "2"]).expecting(0)
                #expect(withdrawn.output == "request 2 for quay.io is taken back\n", "\(withdrawn)")
                try await setting.ram(["request", "--withdraw", "2"]).expecting(1)
                let list = try await setting.admin("list").expecting(0)
                #expect(list.output.contains(address) && list.output.contains("base images"), "\(list)")
                #expect(list.output.split(separator: "\n").count == 2, "\(list)")

                let until = Instant(seconds: Int64(Date().timeIntervalSince1970)) + 25
                let allowed = try await setting.admin(
                    "allow",
                    "1",
                    "--until",
                    until.description,
                    "--word",
                    "until the mirror has it"
                ).expecting(0)
                #expect(allowed.output.contains("Allowed \(address) until \(until): policy version 2"), "\(allowed)")
                try await waitUntil("the pull works", within: .seconds(15)) { try await setting.pull().status == 0 }
                try await waitUntil("status has the answer", within: .seconds(15)) {
                    try await setting.newestState() == "allowed"
                }
                let answered = try await setting.ram(["status"]).expecting(0)
                #expect(answered.output.contains("until the mirror has it"), "\(answered)")

                try await waitUntil("the registry is refused again", within: .seconds(60)) {
                    PrivateDocker.isRefusal(try await setting.pull().errors, of: address, policy: 3)
                }
                #expect(Int64(Date().timeIntervalSince1970) >= until.seconds)
                try await waitUntil("status has the end", within: .seconds(15)) {
                    try await setting.newestState() == "ended"
                }
            }
        }

        @Test(
            "a word comes to who asked, also when docker-ramd starts anew, and nothing waits for a server that is away"
        )
        func declined() async throws {
            try await Self.with { setting in
                try await setting.ram(["request", "--push", setting.registry.image]).expecting(0)
                try await setting.admin("decline", "1", "--word", "use our mirror").expecting(0)
                try await waitUntil("status has the answer", within: .seconds(15)) {
                    try await setting.newestState() == "declined"
                }
                try await setting.engine.stopDaemon()
                try await setting.engine.startDaemon()
                try await waitUntil("status has the answer again", within: .seconds(15)) {
                    try await setting.ram(["status"]).output.contains("use our mirror")
                }
                #expect(PrivateDocker.isRefusal(try await setting.pull().errors, of: setting.registry.address))

                try await setting.server.stop()
                let away = try await setting.ram(["request", "quay.io"])
                #expect(away.status == 1)
                #expect(away.errors.contains("was not sent, and is not kept"), "\(away)")
                #expect(away.errors.contains("/organizations/acme/requests?registry=quay.io"), "\(away)")
            }
        }
    }
}
