import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// `docker ram admin login` by a browser, at a server whose certificate comes from an authority of its own.
    @Suite(.serialized)
    struct AdminBrowserTests {
        /// What a browser does: it keeps cookies, and sends forms with what stands in them and where they come from.
        private struct Browser {
            let server: PrivateServer
            let jar: String

            func open(_ address: String) async throws -> String {
                try await server.curl("-f", "-b", jar, "-c", jar, address)
            }

            func send(_ page: String, to path: String, _ fields: [String: String]) async throws -> String {
                let hidden = page.matches(of: #/<input type="hidden" name="([a-z_]+)" value="([^"]*)">/#)
                    .map { (String($0.1), String($0.2)) }
                #expect(!hidden.isEmpty && page.contains("action=\"\(path)\""), "\(page)")
                let all = Dictionary(uniqueKeysWithValues: hidden).merging(fields) { $1 }
                let data = all.sorted { $0.key < $1.key }.flatMap { ["--data-urlencode", "\($0.key)=\($0.value)"] }
                return try await server.network.run(
                    [
                        "curl", "-sSf", "--cacert", server.certificateAuthority, "-b", jar, "-c", jar, "-H",
                        "Origin: \(PrivateServer.url)", "-H", "Sec-Fetch-Site: same-origin",
                        "\(PrivateServer.url)\(path)",
                    ] + data
                ).expecting(0).output
            }
        }

        @Test("who approves is signed in, who denies is not, and the authority is remembered")
        func login() async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                try FileManager.default.createDirectory(atPath: "\(directory)/n", withIntermediateDirectories: true)
                try await PrivateNetwork.with(in: "\(directory)/n") { network in
                    try await PrivateServer.with(in: directory, network) { server in
                        try await PrivateKeyring.with(in: directory) { keyring in
                            let program = try Programs.path("docker-ram")
                            let environment = keyring.environment
                                .merging(["DOCKER_CONFIG": "\(directory)/docker"]) { $1 }
                            func admin(_ words: String...) async throws -> EndedProgram {
                                try await network.run([program, "admin"] + words, environment: environment)
                            }
                            let login = [
                                program, "admin", "login", PrivateServer.url, "--organization", "acme", "--no-browser",
                            ]
                            let untrusted = try await network.run(login, environment: environment).expecting(1)
                            #expect(untrusted.errors.contains("certificate"), "\(untrusted)")
                            #expect(untrusted.errors.contains("--certificate-authority FILE"), "\(untrusted)")

                            let trusting = login + ["--certificate-authority", server.certificateAuthority]
                            for decision in ["deny", "approve"] {
                                let started = try RunningProgram(network.command(trusting), environment: environment)
                                let ended = try await Self.decide(decision, server, started, directory)
                                if decision == "deny" {
                                    #expect(
                                        ended == 1 && started.errors.contains("the sign-in was denied in the browser")
                                    )
                                    let nobody = try await admin("member", "list").expecting(1)
                                    #expect(nobody.errors.contains("docker ram admin login"), "\(nobody)")
                                } else {
                                    #expect(ended == 0, "\(started.errors)")
                                    #expect(started.output == "Signed in to acme at \(PrivateServer.url) as alice.\n")
                                }
                            }
                            let members = try await admin("member", "list").expecting(0)
                            #expect(members.output.contains(#/alice +owner/#), "\(members)")
                            try await admin("registry", "add", "ghcr.io").expecting(0)
                            try await admin("logout").expecting(0)
                            try await admin("member", "list").expecting(1)
                        }
                    }
                }
            }
        }

        /// Does in a browser what the command asks for, and gives the status that it ends with.
        private static func decide(
            _ decision: String,
            _ server: PrivateServer,
            _ command: RunningProgram,
            _ directory: String
        ) async throws -> Int32? {
            func code() -> String? { command.errors.firstMatch(of: #/\b([A-Z]{4}-[A-Z]{4})\b/#).map { String($0.1) } }
            try await waitUntil("the command shows a code") {
                guard command.status == nil else { throw UnexpectedEnd(description: command.errors) }
                return code() != nil
            }
            #expect(command.errors.contains("\n    \(PrivateServer.url)/activate\n"), "\(command.errors)")
            let browser = Browser(server: server, jar: "\(directory)/cookies-\(decision)")
            let first = try await browser.open("\(PrivateServer.url)/activate")
            let account = ["user_code": try #require(code()), "name": "alice"]
            let wrong = try await browser.send(
                first,
                to: "/activate",
                account.merging(["password": "wrong horse battery"]) { $1 }
            )
            #expect(wrong.contains("The name or the password is wrong."), "\(wrong)")
            let question = try await browser.send(
                wrong,
                to: "/activate",
                account.merging(["password": PrivateServer.password]) { $1 }
            )
            #expect(
                question.contains("docker ram admin on ") && question.contains("do everything in acme that you may"),
                "\(question)"
            )
            let last = try await browser.send(question, to: "/activate/decision", ["decision": decision])
            #expect(last.contains(decision == "deny" ? "was not signed in" : "may do now what alice may"), "\(last)")
            return try await command.status(within: .seconds(30))
        }
    }
}
