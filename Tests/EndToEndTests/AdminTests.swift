import Foundation
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

extension EndToEnd {
    /// `docker ram admin` and docker-ram-server, with a real keyring.
    @Suite(.serialized)
    struct AdminTests {
        private static let password = LoopbackOrganization.password

        /// A server that runs, and the keyring of somebody who administers it.
        private struct Setting: Sendable {
            let directory: String
            let url: String
            let keyring: PrivateKeyring
            /// What `docker ram admin key init` has made.
            let rootKey: String

            var record: String { "\(directory)/docker/ram-admin.json" }

            /// Runs `docker ram admin`.
            func admin(
                _ words: String...,
                input: String = "",
                environment more: [String: String] = [:]
            ) async throws -> EndedProgram {
                try await runProgram(
                    [try Programs.path("docker-ram"), "admin"] + words,
                    environment: keyring.environment.merging(["DOCKER_CONFIG": "\(directory)/docker"]) { $1 }
                        .merging(more) { $1 },
                    input: input
                )
            }

            /// Writes a file, and gives its path.
            func write(_ text: String, _ name: String) throws -> String {
                let path = "\(directory)/\(name)"
                try text.write(toFile: path, atomically: true, encoding: .utf8)
                return path
            }

            /// The newest root document that the server hands out.
            func newestRoot() async throws -> RootDocument {
                let address = try #require(URL(string: "\(url)/v1/organizations/acme/documents/root.json"))
                let ended = try await runProgram(["curl", "-sf", address.absoluteString]).expecting(0)
                return try RootDocument(payload: Envelope(json: Array(ended.output.utf8), as: .root).payload)
            }
        }

        /// Makes a server whose root key is made by `docker ram admin` and never comes near it, and signs its owner in.
        private static func with(_ body: (Setting) async throws -> Void) async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                let (data, keys) = ("\(directory)/data", "\(directory)/keys")
                let program = try Programs.path("docker-ram-server")
                let plugin = try Programs.path("docker-ram")
                let made = try await runProgram(
                    [plugin, "admin", "key", "init", "--out", keys, "--format", "json"]
                ).expecting(0)
                let publicKey = try StrictJSON.parse(Array(made.output.utf8)).value(named: "publicKey")?.text
                let fingerprint = try StrictJSON.parse(Array(made.output.utf8)).value(named: "fingerprint")?.text
                let initialized = try await runProgram(
                    [
                        program, "init", "--data", data, "--organization", "acme", "--owner", "alice",
                        "--password-stdin", "--public-url", "http://127.0.0.1:8443", "--root-public-key",
                        try #require(publicKey),
                    ],
                    input: "\(password)\n"
                ).expecting(0)
                #expect(initialized.output.contains(try #require(fingerprint)))
                #expect(!FileManager.default.fileExists(atPath: "\(data)/acme-root.key"))

                // Nothing is trusted that the root key has not signed, or that is another document.
                let root = "\(directory)/root-1.json"
                try FileManager.default.copyItem(atPath: "\(data)/acme-root-1-to-sign.json", toPath: root)
                let trust = [program, "trust", "--data", data, root]
                let unsigned = try await runProgram(trust).expecting(1)
                #expect(unsigned.errors.contains("the root document was not taken"), "\(unsigned)")
                try await runProgram([plugin, "admin", "key", "sign", root, "--key", "\(keys)/root.key"]).expecting(0)
                try await runProgram(trust).expecting(0)
                #expect(!FileManager.default.fileExists(atPath: "\(data)/acme-root-1-to-sign.json"))
                let again = try await runProgram(trust).expecting(1)
                #expect(again.errors.contains("no root document of \"acme\" waits for a signature"), "\(again)")

                try await LoopbackOrganization.serve(data) { server in
                    try await PrivateKeyring.with(in: directory) { keyring in
                        let setting = Setting(
                            directory: directory,
                            url: server.url,
                            keyring: keyring,
                            rootKey: "\(keys)/root.key"
                        )
                        try await setting.admin(
                            "login",
                            server.url,
                            "--username",
                            "alice",
                            "--password-stdin",
                            input: "\(password)\n"
                        ).expecting(0)
                        try await body(setting)
                    }
                }
            }
        }

        @Test("a policy is changed, and nobody's change is lost")
        func policy() async throws {
            try await Self.with { setting in
                let added = try await setting.admin("registry", "add", "ghcr.io", "--actions", "pull").expecting(0)
                #expect(added.output.hasPrefix("Saved policy version 2 of acme.\n"), "\(added)")
                let shown = try await setting.admin("policy", "show", "--format", "json").expecting(0)
                let file = try setting.write(shown.output, "policy.json")
                let policy = try AccessPolicy(json: Array(shown.output.utf8))
                #expect(policy.version == 2)
                #expect(policy.rules.map(\.address.description) == ["docker.io", "ghcr.io"])

                // Somebody else saves meanwhile: the file is not applied, and what they saved stays.
                try await setting.admin("registry", "add", "quay.io", "--message", "for the backend").expecting(0)
                let edited = shown.output.replacing("ghcr.io", with: "gcr.io")
                _ = try setting.write(edited, "policy.json")
                let late = try await setting.admin("policy", "apply", "--file", file).expecting(1)
                #expect(
                    late.errors.contains("version 2 of the policy is not the newest, so nothing was saved"),
                    "\(late)"
                )
                let list = try await setting.admin("registry", "list").expecting(0)
                #expect(list.output.contains("quay.io") && !list.output.contains("\ngcr.io"))

                let plan = try await setting.admin("policy", "plan", file).expecting(0)
                #expect(plan.output.hasPrefix("policy version 3 -> 4\n"), "\(plan)")
                #expect(plan.errors.contains("made from version 2, and version 3 is the newest"))
                try await setting.admin("policy", "apply", "--file", file, "--replace").expecting(0)
                let same = try await setting.admin("policy", "apply", "--file", file, "--replace").expecting(0)
                #expect(same.output.hasPrefix("Nothing changes: policy version 4"), "\(same)")
                let faulty = try setting.write(edited.replacing("\"gcr.io\"", with: "\"**.com\""), "faulty.json")
                let refused = try await setting.admin("policy", "apply", "--file", faulty, "--replace").expecting(1)
                #expect(refused.errors.contains("faulty.json\" is not a policy"), "\(refused)")

                let difference = try await setting.admin("policy", "diff", "2", "4").expecting(0)
                #expect(difference.output.contains("-  ghcr.io") && difference.output.contains("+  gcr.io"))
                try await setting.admin("policy", "rollback", "3").expecting(0)
                let history = try await setting.admin("policy", "history").expecting(0)
                let lines = history.output.split(separator: "\n")
                #expect(lines.count == 6 && lines[1].hasPrefix("5") && lines[1].hasSuffix("as in version 3"))
                #expect(lines[3].hasPrefix("3") && lines[3].hasSuffix("for the backend"), "\(history)")
                let activity = try await setting.admin("activity", "--since", "1h", "--actor", "alice").expecting(0)
                #expect(activity.output.contains("registry_access.policy_rolled_back"), "\(activity)")
            }
        }

        @Test("members come and go, and tokens of machines do what they may")
        func members() async throws {
            try await Self.with { setting in
                let invited = try await setting.admin("member", "invite", "--role", "editor").expecting(0)
                let joined = try await setting.admin(
                    "member",
                    "join",
                    setting.url,
                    "--username",
                    "bob",
                    "--stdin",
                    input: "\(invited.output)a long pass phrase\n"
                ).expecting(0)
                #expect(joined.output == "bob belongs to acme now, as editor.\n")
                try await setting.admin("team", "create", "backend").expecting(0)
                try await setting.admin("team", "add", "backend", "bob").expecting(0)
                try await setting.admin("registry", "add", "quay.io", "--team", "backend").expecting(0)
                try await setting.admin("member", "role", "bob", "auditor").expecting(0)
                let members = try await setting.admin("member", "list").expecting(0)
                #expect(members.output.contains(#/bob +auditor +backend/#), "\(members)")
                let last = try await setting.admin("member", "role", "alice", "member").expecting(1)
                #expect(last.errors.contains("the last owner cannot leave"), "\(last)")

                // A token alone, without a keyring and without a sign-in.
                let created = try await setting.admin("token", "create", "ci", "--scopes", "policy:read").expecting(0)
                let environment = [
                    "DOCKER_RAM_TOKEN": created.output.trimmingCharacters(in: .newlines),
                    "DOCKER_RAM_SERVER": setting.url, "DOCKER_RAM_ORGANIZATION": "acme",
                    "DOCKER_CONFIG": "\(setting.directory)/nobody", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere",
                ]
                try await setting.admin("policy", "show", environment: environment).expecting(0)
                let forbidden = try await setting.admin("registry", "add", "a.test", environment: environment)
                    .expecting(1)
                #expect(forbidden.errors.hasPrefix("docker ram: "), "\(forbidden)")
                let tokens = try await setting.admin("token", "list", "--format", "json").expecting(0)
                let id = try StrictJSON.parse(Array(tokens.output.utf8)).elements?.first?.value(named: "id")?.text
                try await setting.admin("token", "revoke", try #require(id)).expecting(0)
                let revoked = try await setting.admin("policy", "show", environment: environment).expecting(1)
                #expect(revoked.errors.contains("the token in DOCKER_RAM_TOKEN is wrong or not good any more"))

                try await setting.admin("device", "tokens", "create", "laptops").expecting(0)
                try await setting.admin("device", "tokens", "revoke", "laptops").expecting(0)
                try await setting.admin("device", "list").expecting(0)
                try await setting.admin("report", "list").expecting(0)
                try await setting.admin("member", "remove", "bob").expecting(0)
            }
        }

        @Test("the session is in the keyring only, and ends everywhere at once")
        func session() async throws {
            try await Self.with { setting in
                let key = "\(setting.url)/docker-ram-admin"
                let kept = try await setting.keyring.helper("get", key).expecting(0)
                #expect(kept.output.contains("acme/alice") && kept.output.contains("ramr_"))
                let record = try String(contentsOfFile: setting.record, encoding: .utf8)
                #expect(!record.contains("ramr_") && !record.contains("rama_"))
                // Nobody who asks for a registry on that host gets it, and `docker build` does not hand it on.
                let host = setting.url.replacing("http://", with: "")
                for name in [host, setting.url, "\(key)/"] {
                    let other = try await setting.keyring.helper("get", name).expecting(1)
                    #expect(!other.output.contains("ram" + "r_"), "\(name)")
                }
                #expect(try await setting.keyring.helper("list").expecting(0).output == "{}\n")

                let sessions = try await setting.admin("session", "list").expecting(0)
                #expect(sessions.output.contains("alice"))
                let all = try await setting.admin("session", "end", "--all", "--yes").expecting(0)
                #expect(all.output == "Ended 1 session.\n", "\(all)")
                let ended = try await setting.admin("member", "list").expecting(1)
                #expect(ended.errors.contains("your session at \"\(setting.url)\" has ended"), "\(ended)")
                try await setting.admin("logout").expecting(0)
                #expect(!FileManager.default.fileExists(atPath: setting.record))
                let gone = try await setting.keyring.helper("get", key).expecting(1)
                #expect(gone.output == "credentials not found in native keychain\n")
            }
        }

        @Test("keys are changed by who has the root key, and by nobody else")
        func keys() async throws {
            try await Self.with { setting in
                let first = try await setting.newestRoot()
                let old = try #require(first.roles[.policy]?.keys.first?.id.fingerprint)
                try await setting.admin("key", "create", "policy").expecting(0)
                let other = try await setting.admin(
                    "key",
                    "init",
                    "--out",
                    "\(setting.directory)/other",
                    "--format",
                    "json"
                )
                .expecting(0)
                let added = try #require(
                    try StrictJSON.parse(Array(other.output.utf8)).value(named: "publicKey")?.text
                )
                let next = "\(setting.directory)/root-2.json"
                let fingerprint = try #require(first.roles[.root]?.keys.first?.id.fingerprint)
                try await setting.admin(
                    "key",
                    "prepare",
                    "--out",
                    next,
                    "--without",
                    old,
                    "--add-root-key",
                    added,
                    "--remove-root-key",
                    fingerprint
                ).expecting(0)
                // The new root key alone is not enough.
                try await setting.admin("key", "sign", next, "--key", "\(setting.directory)/other/root.key").expecting(
                    0
                )
                let refused = try await setting.admin("key", "publish", next).expecting(1)
                #expect(refused.errors.contains("the root document was not taken"), "\(refused)")
                #expect(try await setting.newestRoot() == first)
                try await setting.admin("key", "sign", next, "--key", setting.rootKey).expecting(0)
                let published = try await setting.admin("key", "publish", next).expecting(0)
                #expect(published.output == "Root document 2 of acme is in force.\n")
                let second = try await setting.newestRoot()
                #expect(second.version == 2 && second.roles[.policy]?.keys.first?.id.fingerprint != old)
                let list = try await setting.admin("key", "list").expecting(0)
                #expect(list.output.contains("policy     \(old)  retired"), "\(list)")
                // The next document does not bring it back.
                let third = "\(setting.directory)/root-3.json"
                let prepared = try await setting.admin("key", "prepare", "--out", third, "--before", next).expecting(0)
                #expect(prepared.output.contains("policy     1 of 1") && !prepared.output.contains(old), "\(prepared)")
                let policy = try await setting.admin("policy", "history").expecting(0)
                #expect(policy.output.contains("signed with the keys of root version 2"))
            }
        }
    }
}
