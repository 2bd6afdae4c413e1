import Foundation
import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// A policy that changes, breaks, or can be written by anybody, under a running engine.
    @Suite(.serialized)
    struct PolicyChangeTests {
        @Test("a new policy is in force within seconds, in both directions")
        func newPolicy() async throws {
            try await PrivateDocker.with { docker in
                let (allowed, refused) = (docker.allowed, docker.refused)
                try await docker.engine.docker(["pull", allowed.image]).expecting(0)

                try docker.engine.write(policy: PrivateDocker.policy(version: 2, allowing: [refused.address]))
                try await waitUntil("policy 2 is in force", within: .seconds(5)) {
                    let pull = try await docker.engine.docker(["pull", allowed.image])
                    return PrivateDocker.isRefusal(pull.errors, of: allowed.address, policy: 2)
                }
                try await docker.engine.docker(["pull", refused.image]).expecting(0)

                try docker.engine.write(policy: PrivateDocker.policy(version: 3, allowing: [allowed.address]))
                try await waitUntil("policy 3 is in force", within: .seconds(5)) {
                    try await docker.engine.docker(["pull", allowed.image]).status == 0
                }
                let pull = try await docker.engine.docker(["pull", refused.image])
                #expect(PrivateDocker.isRefusal(pull.errors, of: refused.address, policy: 3), "\(pull)")
            }
        }

        @Test(
            "a file that cannot be used leaves the earlier policy in force, also over a restart",
            arguments: [
                (#"{ "version": 2, "organization": "acme", "alowed": [] }"#, 0o644 as mode_t, "alowed"),
                ("", 0o644, "policy"),
                (
                    #"{ "version": 2, "organization": "acme", "registries": [{ "address": "**", "allowed": true }] }"#,
                    0o666, "can be written"
                ),
            ]
        )
        func brokenPolicy(document: String, mode: mode_t, word: String) async throws {
            try await PrivateDocker.with { docker in
                try docker.engine.write(policy: document, mode: mode)
                try await waitUntil("docker-ramd says what is wrong", within: .seconds(5)) {
                    docker.engine.daemonLog.contains(word)
                }
                func oldPolicyHolds() async throws {
                    try await docker.engine.docker(["pull", docker.allowed.image]).expecting(0)
                    let pull = try await docker.engine.docker(["pull", docker.refused.image])
                    #expect(PrivateDocker.isRefusal(pull.errors, of: docker.refused.address), "\(pull)")
                }
                try await oldPolicyHolds()
                let status = try await docker.engine.docker(["ram", "status"])
                #expect(status.said.contains(word), "\(status)")

                try await docker.engine.stopDaemon()
                try await docker.engine.startDaemon()
                try await oldPolicyHolds()
            }
        }

        @Test("without a policy everything is allowed, and status says so")
        func unmanaged() async throws {
            try await PrivateDocker.with { docker in
                #expect(unlink("\(docker.engine.root)/etc/docker-ram/policy.json") == 0)
                try await waitUntil("the machine is unmanaged", within: .seconds(5)) {
                    try await docker.engine.docker(["pull", docker.refused.image]).status == 0
                }
                let status = try await docker.engine.docker(["ram", "status"])
                #expect(status.said.contains("unmanaged"), "\(status)")
            }
        }

        @Test("audit mode allows, and records what would have been refused")
        func audit() async throws {
            try await PrivateDocker.with { docker in
                let policy = #"{ "version": 2, "organization": "acme", "mode": "audit", "registries": [] }"#
                try docker.engine.write(policy: policy)
                try await waitUntil("audit mode is in force", within: .seconds(5)) {
                    try await docker.engine.docker(["pull", docker.refused.image]).status == 0
                }
                let log = try await docker.engine.docker(["ram", "log", "--format", "json"]).expecting(0)
                #expect(log.output.contains(#""verdict": "would-deny""#), "\(log)")
            }
        }
    }
}
