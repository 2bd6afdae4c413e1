import Foundation
import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

@testable import CommandLinePlugin

/// `docker ram request` against what docker-ramd answers, and what `status` says of it.
struct RequestTests {
    private static func request(
        _ number: Int,
        _ registry: String,
        _ state: String,
        answered: String? = nil,
        until: String? = nil,
        word: String = "",
        made: String = "2026-11-25T13:45:10Z"
    ) -> String {
        JSONValue.object([
            JSONMember("number", .number("\(number)")), JSONMember("registry", .string(registry)),
            JSONMember("action", .string("pull")), JSONMember("reason", .string("why")), JSONMember("user", .null),
            JSONMember("made", .string(made)), JSONMember("state", .string(state)), JSONMember("word", .string(word)),
            JSONMember("answeredBy", .text(answered == nil ? nil : "alice")), JSONMember("answered", .text(answered)),
            JSONMember("until", .text(until)),
        ]).text()
    }

    private func run(
        _ words: [String],
        policy: String? = Machine.policy,
        answer: String
    ) throws -> (outcome: Machine.Outcome, requests: [String]) {
        var result: (Machine.Outcome, [String])?
        try Machine.with(policy: policy) { machine in
            try machine.withDaemon(answer: { _ in answer }) { server in
                let outcome = machine.run(["request"] + words)
                result = (outcome, server.requests)
            }
        }
        return try #require(result)
    }

    private static func answer(_ registry: String) -> String {
        #"{"requested":\#(request(3, registry, "open")),"organization":"acme"}"# + "\n"
    }

    @Test(
        arguments: [
            ("quay.io", "quay.io"), ("quay.io/acme/api:1.2", "quay.io"), ("r.test:5000", "r.test:5000"),
            ("r.test:5000/acme/api", "r.test:5000"), ("localhost", "localhost"), ("localhost:5000", "localhost:5000"),
            ("registry:5000", "registry:5000"), ("myhost:443", "myhost"), ("[::1]:5000", "[::1]:5000"),
            ("127.0.0.1:5000/x", "127.0.0.1:5000"), ("QUAY.io", "quay.io"), ("index.docker.io", "docker.io"),
        ]
    )
    func `a registry, or that of an image, is asked for`(word: String, registry: String) throws {
        let denying = #"{"version":1,"organization":"acme","registries":[]}"#
        let (outcome, requests) = try run([word, "--reason", "why"], policy: denying, answer: Self.answer(registry))
        #expect(
            requests
                == [#"{"request":"request","registry":"\#(registry)","action":"pull","reason":"why"}"# + "\n"]
        )
        #expect(
            outcome.output
                == "acme has your request 3 for \(registry). The answer comes to: docker ram status\n"
        )
        #expect(outcome.code == 0 && outcome.errors.isEmpty)
    }

    @Test
    func `an image without a host is on Docker Hub, and to push is asked for so`() throws {
        let denying = #"{"version":1,"organization":"acme","registries":[]}"#
        let (outcome, requests) = try run(
            ["--push", "alpine", "--format", "json"],
            policy: denying,
            answer: Self.answer("docker.io")
        )
        #expect(requests.first?.contains(#""registry":"docker.io","action":"push""#) == true)
        #expect(outcome.words.contains(#""number": 3, "registry": "docker.io""#), "\(outcome)")
    }

    @Test(
        "The command in a sentence asks for what was refused",
        arguments: [
            "ghcr.io", "docker.io", "localhost", "localhost:5000", "r.test:5000", "myhost", "myhost:5000", "[::1]:5000",
            "127.0.0.1", "10.0.0.1:80",
        ],
        [Verdict.Reason.noRule, .deniedByRule, .action, .repository]
    )
    func sentence(host: String, reason: Verdict.Reason) throws {
        let address = try RegistryAddress(host)
        let policy = AccessPolicy(version: 1, organization: "acme", contact: "platform@acme.test", rules: [])
        let refusal = Refusal(.registry(address, reason), id: DecisionID(), policy: policy, takesRequests: true)
        let sentence = refusal.sentence
        #expect(!sentence.contains("platform@acme.test"))
        let command = try #require(sentence.components(separatedBy: "Ask for access: ").last)
        var words = command.split(separator: " ").map(String.init)
        #expect(words.prefix(3) == ["docker", "ram", "request"])
        words.removeFirst(3)
        #expect(words.contains("--push") == (reason == .action))
        let asked = try Request.address(of: try #require(words.last))
        #expect(asked.0 == address && asked.1 == nil)
        // The hook reads the same from it.
        let found = try #require(RefusedRegistry(foundIn: "Error: \(sentence)\n"))
        #expect(found.requestCommand == command)
        #expect(found.contact == nil)
    }

    @Test(arguments: [Verdict.Reason.forbiddenAddress, .plainHTTP, .serverName, .notTLS])
    func `where a rule would not help, nobody is told to ask for one`(reason: Verdict.Reason) throws {
        let address = try RegistryAddress("ghcr.io")
        let sentence = Refusal(.registry(address, reason), id: DecisionID(), policy: nil, takesRequests: true).sentence
        #expect(!sentence.contains("docker ram request"))
    }

    @Test(arguments: [["docker.io"], ["alpine"], ["--push", "registry.acme.test:5000"], ["ghcr.io/acme/api"]])
    func `what is allowed already is not asked for`(words: [String]) throws {
        let (outcome, requests) = try run(words, answer: Self.answer("docker.io"))
        #expect(requests.isEmpty)
        #expect(outcome.code == 0 && outcome.output.contains("is allowed already"), "\(outcome)")
    }

    @Test(arguments: [["ghcr.io"], ["ghcr.io/evil/x"], ["--push", "ghcr.io/acme/api"]])
    func `what is allowed in part is asked for`(words: [String]) throws {
        let (outcome, requests) = try run(words, answer: Self.answer("ghcr.io"))
        #expect(requests.count == 1 && outcome.code == 0, "\(outcome)")
    }

    @Test
    func `a refusal is an error with what to do`() throws {
        let refusal = #"{"refused":{"code":"not_enrolled","text":"there is nobody","hint":"ask alice"}}"# + "\n"
        let (outcome, _) = try run(["quay.io"], answer: refusal)
        #expect(outcome.code == 1 && outcome.output.isEmpty)
        #expect(outcome.errors == "docker ram: there is nobody\ndocker ram: hint: ask alice\n")
    }

    @Test(
        arguments: [
            ["https://quay.io"], ["quay.io/"], ["a b"], ["quay.io", "ghcr.io"], ["--push"], ["--reason", "why"],
            ["quay.io", "--reason", String(repeating: "x", count: 501)], ["quay.io", "--reason", "a\tb"],
            ["quay.io", "--reason", "a\nb"], ["quay.io", "--reason", "a\u{202E}b"],
            ["quay.io", "--reason", "a\u{2028}b"], ["quay.io", "--reason", "\u{E000}"], ["--withdraw"],
            ["--withdraw", "0"],
            ["--withdraw", "x"], ["quay.io", "--withdraw", "3"], ["--withdraw", "3", "--reason", "why"],
        ]
    )
    func `what cannot be asked for is told before anything is`(words: [String]) throws {
        let (outcome, requests) = try run(words, answer: Self.answer("quay.io"))
        #expect(outcome.code != 0 && requests.isEmpty, "\(outcome)")
    }

    @Test(arguments: ["a\tb", "a\nb", String(repeating: "x", count: 501)])
    func `a reason that the server does not take is told in words`(reason: String) throws {
        let denying = #"{"version":1,"organization":"acme","registries":[]}"#
        let (outcome, requests) = try run(
            ["quay.io", "--reason", reason],
            policy: denying,
            answer: Self.answer("quay.io")
        )
        let words = "a reason has at most 500 characters on one line, none of them a control character"
        #expect(outcome.code == ExitStatus.usage && requests.isEmpty && outcome.errors.contains(words), "\(outcome)")
    }

    @Test
    func `a request is taken back by its number`() throws {
        let answer = #"{"withdrawn":\#(Self.request(3, "quay.io", "withdrawn")),"organization":"acme"}"# + "\n"
        let (outcome, requests) = try run(["--withdraw", "3"], answer: answer)
        #expect(requests == [#"{"request":"withdraw","number":3}"# + "\n"])
        #expect(outcome.output == "request 3 for quay.io is taken back\n" && outcome.code == 0, "\(outcome)")
        let refusal =
            #"{"refused":{"code":"not_found","text":"acme has no request 3","hint":"see: docker ram request"}}"#
        let (refused, _) = try run(["--withdraw", "3"], answer: refusal + "\n")
        #expect(refused.code == 1 && refused.errors.hasPrefix("docker ram: acme has no request 3\n"), "\(refused)")
    }

    @Test
    func `alone it lists what was asked for, and no text of others rewrites the terminal`() throws {
        let list = [
            Self.request(4, "ghcr.io", "open"),
            Self.request(
                3,
                "quay.io",
                "allowed",
                answered: "2026-11-25T14:00:00Z",
                until: "2026-12-25T00:00:00Z",
                word: "ok\u{1B}[2J"
            ),
        ].joined(separator: ",")
        let (outcome, requests) = try run([], answer: "{\"requests\":[\(list)]}\n")
        #expect(requests == [#"{"request":"requests"}"# + "\n"])
        let lines = outcome.output.split(separator: "\n")
        #expect(lines.count == 3 && outcome.code == 0, "\(outcome)")
        #expect(lines[1].hasPrefix("4       ghcr.io   pull  open "), "\(outcome)")
        #expect(lines[2].contains("allowed until 2026-12-25T00:00:00Z") && lines[2].hasSuffix("ok?[2J"), "\(outcome)")
        let (nothing, _) = try run([], answer: "{\"requests\":[]}\n")
        #expect(nothing.output == "nothing was asked for\n")
    }

    @Test
    func `status shows what is open and what was answered in the last days`() throws {
        let now = Instant(seconds: Int64(Date().timeIntervalSince1970))
        func ago(_ days: Int64) -> String { (now + -days * 86_400).description }
        let list = [
            Self.request(5, "open.test", "open", made: ago(90)),
            Self.request(4, "no.test", "declined", answered: ago(13), word: "use our mirror"),
            Self.request(3, "old.test", "declined", answered: ago(15)),
            Self.request(2, "ended.test", "ended", answered: ago(40), until: ago(3)),
            Self.request(1, "back.test", "withdrawn", answered: ago(1)),
        ].joined(separator: ",")
        try Machine.with(policy: nil) { machine in
            try machine.write(
                #"{"version":1,"server":"https://ram.acme.test","organization":"acme","fingerprint":"sha256:"#
                    + String(repeating: "0f", count: 32) + "\"}",
                "root/etc/docker-ram/enrollment.json"
            )
            let answer: @Sendable (String) -> String = {
                $0.contains("\"requests\"") ? "{\"requests\":[\(list)]}\n" : Machine.daemonAnswer(to: $0)
            }
            try machine.withDaemon(answer: answer) { _ in
                let text = machine.run(["status"]).words
                let expected =
                    "Asked for open.test no answer yet; no.test declined by alice: \"use our mirror\"; "
                    + "ended.test ended at \(ago(3)) by alice"
                #expect(text.contains(expected), "\(text)")
                let json = try StrictJSON.parse(Array(machine.run(["status", "--format", "json"]).output.utf8))
                let numbers = json.value(named: "requests")?.elements?.compactMap { $0.value(named: "number")?.integer }
                #expect(numbers == [5, 4, 2])
            }
        }
    }
}

/// `docker ram admin request` against what a server answers.
struct AdminRequestTests {
    private static let request =
        #"{"number":3,"registry":"ghcr.io","action":"pull","reason":"a\u001b[2Jb","user":"bob","device":null,"#
        + #""made":"2026-11-25T13:45:10Z","state":"open","word":"","answeredBy":null,"answered":null,"until":null,"#
        + #""policyVersion":null}"#

    private func run(_ words: String..., answer: ServerStandIn.Reply) async throws -> (Machine.Outcome, [String]) {
        var result: (Machine.Outcome, [String])?
        try await withTemporaryDirectory { directory in
            try await ServerStandIn.with({ _ in answer }) { server in
                let machine = Machine(directory: directory)
                let extra = [
                    "DOCKER_RAM_SERVER": server.url, "DOCKER_RAM_ORGANIZATION": "acme", "DOCKER_RAM_TOKEN": "ramp_x",
                ]
                // On a thread of its own: it waits for what tasks do.
                let outcome = await withCheckedContinuation { continuation in
                    Thread.detachNewThread {
                        continuation.resume(returning: machine.run(["admin", "request"] + words, extra: extra))
                    }
                }
                result = (outcome, server.requests.map { "\($0.line) \($0.body)" })
            }
        }
        return try #require(result)
    }

    @Test
    func `the list asks for what is open`() async throws {
        let (outcome, requests) = try await run(
            "list",
            answer: .init(body: #"{"requests":[\#(Self.request)],"next":null}"#)
        )
        #expect(requests == ["GET /v1/organizations/acme/requests?state=open&limit=50 "])
        #expect(outcome.output.contains("ghcr.io") && outcome.output.contains("a?[2Jb"), "\(outcome)")
    }

    @Test
    func `allowing says until when, and the end of a day is meant`() async throws {
        let allowed = Self.request.replacingOccurrences(of: #""until":null"#, with: #""until":"2026-12-25T00:00:00Z""#)
        let (outcome, requests) = try await run(
            "allow",
            "3",
            "--until",
            "2026-12-24",
            "--word",
            "ok",
            "--address",
            "*.ghcr.io",
            "--actions",
            "pull,push",
            "--repositories",
            "acme/**",
            "--acknowledge-broad",
            answer: .init(body: #"{"request":\#(allowed),"isNew":true,"version":4,"warnings":[]}"#)
        )
        let body =
            #"{"until":"2026-12-25T00:00:00Z","word":"ok","address":"*.ghcr.io","actions":["pull","push"],"#
            + #""repositories":["acme/**"],"acknowledgeBroad":true}"#
        #expect(requests == ["POST /v1/organizations/acme/requests/3/allow \(body)"])
        #expect(outcome.output == "Allowed ghcr.io until 2026-12-25T00:00:00Z: policy version 4.\n", "\(outcome)")
    }

    @Test
    func `what is allowed already is told, and a warning is a note`() async throws {
        let (outcome, _) = try await run(
            "allow",
            "3",
            answer: .init(
                body:
                    #"{"request":\#(Self.request),"isNew":false,"version":4,"warnings":[{"registry":1,"message":"x is broad"}]}"#
            )
        )
        #expect(outcome.output == "ghcr.io is allowed already, by policy version 4.\n", "\(outcome)")
        #expect(outcome.errors == "docker ram: warning: x is broad\n", "\(outcome)")
    }

    @Test
    func `declining says a word, and a refusal is told`() async throws {
        let (outcome, requests) = try await run("decline", "3", "--word", "no", answer: .init(body: Self.request))
        #expect(requests == [#"POST /v1/organizations/acme/requests/3/decline {"word":"no"}"#])
        #expect(outcome.output == "Declined ghcr.io.\n", "\(outcome)")
        let (refused, _) = try await run("decline", "3", answer: .problem(409, "conflict", "it is answered"))
        #expect(refused.code == 1 && refused.errors.contains("it is answered"), "\(refused)")
    }

    @Test(arguments: ["24.12.2026", "2026-02-30", "tomorrow", "2026-12-24T08:00"])
    func `a date that is none is wrong usage`(date: String) async throws {
        let (outcome, requests) = try await run("allow", "3", "--until", date, answer: .init(body: "{}"))
        #expect(outcome.code == ExitStatus.usage && requests.isEmpty, "\(outcome)")
    }

    @Test(arguments: ["9999-12-31", "9999-12-31T23:59:59Z", "\(Instant.now() + 3654 * 86_400)"])
    func `an end that is too far away is wrong usage, in words of the command line`(date: String) async throws {
        let (outcome, requests) = try await run("allow", "3", "--until", date, answer: .init(body: "{}"))
        #expect(outcome.code == ExitStatus.usage && requests.isEmpty, "\(outcome)")
        #expect(outcome.errors.contains("--until is in ten years at most"), "\(outcome)")
    }

    @Test
    func `what is to be acknowledged is named as the command line has it`() async throws {
        let (outcome, _) = try await run(
            "allow",
            "3",
            "--address",
            "*.io",
            answer: .init(
                status: 422,
                body: #"{"code":"faulty","detail":"\"*.io\" is broad","#
                    + #""hint":"make it narrower; if it is meant, say \"acknowledgeBroad\""}"#
            )
        )
        let words = "docker ram: hint: make it narrower; if it is meant, say --acknowledge-broad\n"
        #expect(outcome.errors.hasSuffix(words), "\(outcome)")
    }
}
