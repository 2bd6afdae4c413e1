import Foundation
import RegistryAccess
import TestSupport
import Testing

extension EndToEnd {
    /// What an organization's server hears of a machine with a real engine.
    @Suite(.serialized)
    struct OrganizationReportTests {
        private typealias Host = PrivateNetwork.Host

        @Test("what is refused reaches the server once, also what was refused while it was away")
        func reports() async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                for part in ["n", "e"] {
                    try FileManager.default.createDirectory(
                        atPath: "\(directory)/\(part)",
                        withIntermediateDirectories: true
                    )
                }
                try await PrivateNetwork.with(in: "\(directory)/n") { network in
                    try await PrivateServer.with(in: directory, network) { server in
                        try await PrivateEngine.with(
                            in: "\(directory)/e",
                            policy: nil,
                            network: network,
                            way: .egressProxy
                        ) { engine in
                            let token = try await server.accessToken(["activity:read", "machines:read"])
                            try await Self.check(Machine(engine: engine, server: server, token: token))
                        }
                    }
                }
            }
        }

        private static func check(_ machine: Machine) async throws {
            let (engine, server) = (machine.engine, machine.server)
            try await machine.ram([
                "enroll", PrivateServer.url, "--organization", "acme", "--fingerprint", server.fingerprint,
                "--certificate-authority", server.certificateAuthority,
            ]).expecting(0)
            try await waitUntil("the policy of the organization is in force") {
                try await machine.ram(["status", "--format", "json"]).output.contains(#""policyVersion": 1"#)
            }
            try await waitUntil("docker-ramd has begun to report") {
                try await machine.device().value(named: "status")?.members != nil
            }
            let pull = ["pull", "\(Host.stranger.name)/acme/hello:1"]
            let refused = try await engine.docker(pull)
            #expect(PrivateDocker.isRefusal(refused.errors, of: Host.stranger.name), "\(refused)")
            try await machine.isReported(1)
            let table = try await machine.admin(["report", "list"]).expecting(0)
            #expect(table.output.contains(#/pull +stranger\.test +deny +authorization-plugin/#), "\(table)")

            // Away: what is refused waits, also while docker-ramd is killed.
            try await server.stop()
            for _ in 0..<3 { _ = try await engine.docker(pull) }
            // A record is written a moment after the answer, and what is killed before is in no log.
            try await waitUntil("what was refused is logged") { try machine.refused.count >= 4 }
            try await engine.stopDaemon(SIGKILL)
            try await engine.startDaemon()
            let login = ["login", Host.stranger.name, "--username", "a", "--password-stdin"]
            _ = try await engine.docker(DockerClients.debian, login, input: "b\n")
            _ = try await engine.docker(pull)
            try await waitUntil("what was refused since is logged") { try machine.refused.count >= 5 }
            let count = try machine.refused.count
            try await server.start()
            try await machine.isReported(count)

            let points = #""enforcementPoints":["authorization-plugin","egress-proxy"]"#
            try await waitUntil("the enforcement points are told") {
                try await machine.device().text().contains(points)
            }
            let device = try await machine.device()
            let status = try #require(device.value(named: "status"))
            #expect(status.value(named: "policyVersion")?.text() == "1")
            let version = try await engine.docker(["version", "--format", "{{.Server.Version}}"]).expecting(0).output
            let known = try #require(status.value(named: "engineVersion")?.text)
            #expect(version.hasPrefix(known) && known.count > 3, "\(known) of \(version)")

            // What root's doctor finds is told, and that it is mended, too.
            let credentials = #"{"auths":{"stranger.test":{"auth":"YTpi"}}}"#
            try credentials.write(toFile: "\(engine.config)/config.json", atomically: true, encoding: .utf8)
            _ = try await machine.ram(["doctor"])
            let found = try await machine.ram(["doctor", "--format", "json"])
            let problems = try StrictJSON.parse(Array(found.output.utf8)).value(named: "checks")?.elements?
                .filter { ["warning", "error"].contains($0.value(named: "status")?.text) }
                .compactMap { $0.value(named: "id")?.text }
            #expect(problems?.isEmpty == false)
            try await waitUntil("the findings are told") {
                try await machine.device().value(named: "status")?.value(named: "findings")?.elements?
                    .compactMap { $0.value(named: "check")?.text } == problems
            }
            let list = try await machine.admin(["device", "list"]).expecting(0)
            #expect(list.output.contains(try #require(problems?.first)), "\(list)")
            let activity = try await machine.admin(["activity"]).expecting(0)
            #expect(activity.output.contains("device.add"), "\(activity)")
            try await machine.isReported(count)
        }

        /// A machine of the organization, and who looks after it.
        private struct Machine {
            let engine: PrivateEngine
            let server: PrivateServer
            let token: String

            func ram(_ arguments: [String], _ environment: [String: String] = [:]) async throws -> EndedProgram {
                try await server.network.run(
                    [try Programs.path("docker-ram")] + arguments,
                    environment: engine.environment.merging(environment) { $1 }
                )
            }

            func admin(_ arguments: [String]) async throws -> EndedProgram {
                try await ram(
                    ["admin"] + arguments + ["--certificate-authority", server.certificateAuthority],
                    [
                        "DOCKER_RAM_SERVER": PrivateServer.url, "DOCKER_RAM_ORGANIZATION": "acme",
                        "DOCKER_RAM_TOKEN": token,
                    ]
                )
            }

            /// The machine as the server knows it.
            func device() async throws -> JSONValue {
                let list = try await admin(["device", "list", "--format", "json"]).expecting(0)
                let devices = try StrictJSON.parse(Array(list.output.utf8)).elements ?? []
                #expect(devices.count <= 1)
                return devices.first ?? .null
            }

            /// The ids of what was refused, as the decision log has them.
            var refused: [String] {
                get throws {
                    try engine.daemon.decisions.split(separator: "\n").compactMap { line in
                        let record = try StrictJSON.parse(Array(line.utf8))
                        return record.value(named: "verdict")?.text == "deny" ? record.value(named: "id")?.text : nil
                    }
                }
            }

            /// Waits until the server has what was refused on the machine: all of it, and nothing twice.
            func isReported(_ count: Int) async throws {
                try await waitUntil("\(count) refusals are logged") { try refused.count >= count }
                let expected = try refused.sorted()
                var last: [String] = []
                do {
                    try await waitUntil("the server has them", within: .seconds(60)) {
                        let list = try await admin(["report", "list", "--limit", "100", "--format", "json"])
                        guard list.status == 0 else { return false }
                        last = (try StrictJSON.parse(Array(list.output.utf8)).elements ?? [])
                            .compactMap { $0.value(named: "id")?.text }
                        return last.count >= expected.count
                    }
                } catch {
                    Issue.record("refused: \(expected), reported: \(last)")
                    throw error
                }
                #expect(last.sorted() == expected)
            }
        }
    }
}
