import LocalInstallation
import RegistryAccess
import Testing

@testable import CommandLinePlugin

struct HookTests {
    private func request(_ error: String, after command: String = "pull") -> String {
        JSONValue.object([
            JSONMember("RootCmd", .string(command)), JSONMember("Flags", .object([])),
            JSONMember("CommandError", .string(error)),
        ]).text()
    }

    private func template(
        _ error: String,
        after command: String = "pull",
        of enrollment: Enrollment? = nil
    ) throws -> [String]? {
        guard let answer = Hook.answer(to: request(error, after: command), of: enrollment) else { return nil }
        let json = try StrictJSON.parse(Array(answer.utf8))
        #expect(json.value(named: "Type") == .number("0"))
        return json.value(named: "Template")?.text?.split(separator: "\n").map(String.init)
    }

    static let sentence = "Your organization has disallowed this registry: ghcr.io (acme, policy 42, 7f3a9c)."

    @Test(
        "The sentence is found wherever Docker puts it",
        arguments: [
            sentence,
            "Error response from daemon: authorization denied by plugin docker-ram: \(sentence)",
            "error getting credentials - err: exit status 1, out: `\(sentence)`",
            "Error response from daemon: Get \"https://ghcr.io/v2/\": \(sentence)",
            "line\nline \(sentence)\nline",
        ]
    )
    func found(error: String) throws {
        let lines = try #require(try template(error))
        #expect(lines[0] == "ghcr.io is not allowed here (acme, policy 42, 7f3a9c).")
        #expect(lines.contains("See the rules for it: docker ram check --explain {{arg . 0}}"))
    }

    @Test
    func `the contact is named`() throws {
        let lines = try #require(try template("\(Self.sentence) Ask platform@acme.test for access."))
        #expect(lines.contains("Ask platform@acme.test for access."))
    }

    @Test
    func `where an organization's server takes requests, the page for that is named`() throws {
        let enrollment = Enrollment(
            server: try ServerURL("https://ram.acme.test"),
            organization: "acme",
            fingerprint: "sha256:" + String(repeating: "0", count: 64)
        )
        let sentence =
            "Your organization has disallowed this registry: registry.acme.test:5000 (acme, policy 42, 7f3a9c). "
        let asking = sentence + "Ask for access: docker ram request registry.acme.test:5000"
        let lines = try #require(try template(asking, of: enrollment))
        let page = "https://ram.acme.test/organizations/acme/requests?registry=registry.acme.test%3A5000"
        #expect(lines.contains("Ask for access: docker ram request registry.acme.test:5000"))
        #expect(lines.contains("Or ask in a browser: \(page)"))
        let other = try #require(try template(sentence, of: enrollment))
        #expect(!other.contains { $0.contains("browser") })
    }

    @Test
    func `what the enforcement points say is understood, whatever the policy holds`() throws {
        let policy = try AccessPolicy(json: Array(Machine.policy.utf8))
        for text in ["ghcr.io", "registry.acme.test:5001", "[2001:db8::1]:5000", "10.0.0.1"] {
            let address = try RegistryAddress(text)
            let refusal = Refusal(.registry(address, .noRule), id: DecisionID(), policy: policy)
            let found = try #require(RefusedRegistry(foundIn: "x: \(refusal.sentence)"))
            #expect(found.registry == address)
            #expect(found.origin == "acme, policy 42, \(refusal.id)")
            #expect(found.contact == "platform@acme.test")
        }
    }

    @Test(
        "A build is told where it names the registry",
        arguments: ["build", "image build"],
        [
            "Error response from daemon: Get \"https://ghcr.io/v2/\": ",
            "failed to solve: ghcr.io/acme/api: failed to resolve source metadata for ghcr.io/acme/api:latest: "
                + "failed to do request: Head \"https://ghcr.io/v2/acme/api/manifests/latest\": ",
            "failed to solve: failed to load cache key: Get \"https://ghcr.io/file\": ",
        ]
    )
    func build(command: String, before: String) throws {
        let lines = try #require(
            try template("\(before)\(Self.sentence) Ask platform@acme.test for access.", after: command)
        )
        #expect(
            lines == [
                "ghcr.io is not allowed here (acme, policy 42, 7f3a9c).", "Ask platform@acme.test for access.",
                "The build names it (FROM, COPY --from, ADD, # syntax=), or a registry redirects to it.",
                "See what is allowed: docker ram policy show",
            ]
        )
    }

    @Test
    func `a builder outside of the proxy leads to one that goes through it`() throws {
        let policy = try AccessPolicy(json: Array(Machine.policy.utf8))
        let sentence = Refusal(.unmanagedBuilder("b0"), id: DecisionID(), policy: policy).sentence
        #expect(
            try template("authorization denied by plugin docker-ram: \(sentence)", after: "run")
                == ["Make a builder that goes through it: docker ram engine builder --help"]
        )
    }

    @Test(arguments: ["login", "build", "search", "import", "image build"])
    func `no operand is asked for where it is no image`(command: String) throws {
        let lines = try #require(try template(Self.sentence, after: command))
        #expect(!lines.contains { $0.contains("{{") })
    }

    @Test(arguments: [
        "", "pull access denied", "Your organization has disallowed this registry: ",
        "Your organization has disallowed this registry: {{.}}", "your organization has disallowed this registry: a.b",
    ])
    func `nothing is said about other errors`(error: String) throws {
        #expect(try template(error) == nil)
    }

    @Test(arguments: ["", "x", "{}", "[]", "{\"CommandError\":1}", "{\"RootCmd\":\"pull\""])
    func `nothing is said to what is no request`(request: String) {
        #expect(Hook.answer(to: request, of: nil) == nil)
    }

    @Test
    func `nothing in an error becomes a template or a control character`() throws {
        let error =
            "Your organization has disallowed this registry: ghcr.io ({{ command }}\u{1B}[31m, policy 1). "
            + "Ask {{.}}\u{7} for access."
        let lines = try #require(try template(error, after: "login"))
        #expect(lines[0] == "ghcr.io is not allowed here ( command [31m, policy 1).")
        #expect(lines[1] == "Ask . for access.")
    }

    @Test(arguments: [
        "Registries are refused until the policy can be read: run docker ram status (7f3a9c).",
        "This request could not be inspected: the body is too large (acme, policy 42, 7f3a9c).",
        "Get \"https://a.test/v2/\": The egress proxy of docker-ram serves only the engine; run: docker ram doctor",
        "Get \"https://a.test/v2/\": The egress proxy of docker-ram cannot reach a.test:443: connection refused",
    ])
    func `other refusals lead to the doctor`(error: String) throws {
        #expect(try template(error) == ["See what is wrong with this machine: docker ram doctor"])
    }
}
