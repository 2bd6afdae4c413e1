import RegistryAccess
import TestSupport
import Testing

struct RefusalTests {
    private static func policy(_ organization: String = "acme", contact: String? = nil, version: Int = 42)
        -> AccessPolicy
    {
        AccessPolicy(version: version, organization: organization, contact: contact, rules: [])
    }

    private static func id() -> DecisionID {
        var generator = SeededGenerator(seed: 7)
        return DecisionID(using: &generator)
    }

    @Test(
        "The sentences",
        arguments: [
            (
                "ghcr.io", Verdict.Reason.noRule, nil,
                "Your organization has disallowed this registry: ghcr.io (acme, policy 42, ID)."
            ),
            (
                "ghcr.io", .noRule, "platform@acme.test",
                "Your organization has disallowed this registry: ghcr.io (acme, policy 42, ID). Ask platform@acme.test for access."
            ),
            (
                "docker.io", .deniedByRule, nil,
                "Your organization has disallowed this registry: docker.io (acme, policy 42, ID)."
            ),
            (
                "ghcr.io", .action, nil,
                "Your organization has disallowed this registry: ghcr.io (acme, policy 42, ID). Other actions are allowed there."
            ),
            (
                "r.test:5000", .repository, "x@acme.test",
                "Your organization has disallowed this registry: r.test:5000 (acme, policy 42, ID). Other repositories are allowed there. Ask x@acme.test for access."
            ),
            (
                "r.test", .forbiddenAddress, nil,
                "Your organization has disallowed this registry: r.test (acme, policy 42, ID). Its name leads to an address that is not allowed."
            ),
            (
                "r.test:80", .plainHTTP, "x@acme.test",
                "Your organization has disallowed this registry: r.test:80 (acme, policy 42, ID). Plain HTTP is not allowed there. Ask x@acme.test for access."
            ),
            (
                "r.test", .serverName, nil,
                "Your organization has disallowed this registry: r.test (acme, policy 42, ID). The TLS session is for another host."
            ),
            (
                "r.test", .notTLS, nil,
                "Your organization has disallowed this registry: r.test (acme, policy 42, ID). What was sent there is not TLS."
            ),
            (
                "[::1]:5000", .noRule, nil,
                "Your organization has disallowed this registry: [::1]:5000 (acme, policy 42, ID)."
            ),
        ]
    )
    func registry(_ address: String, _ reason: Verdict.Reason, _ contact: String?, _ sentence: String) throws {
        let id = Self.id()
        let refusal = Refusal(
            .registry(try RegistryAddress(address), reason),
            id: id,
            policy: Self.policy(contact: contact)
        )
        #expect(refusal.sentence == sentence.replacing("ID", with: id.description))
    }

    @Test("The other sentences")
    func others() {
        let id = Self.id()
        #expect(
            Refusal(.notInspected("the request has a form body"), id: id, policy: Self.policy()).sentence
                == "This request could not be inspected: the request has a form body (acme, policy 42, \(id))."
        )
        #expect(
            Refusal(.ownPlugin, id: id, policy: nil).sentence == "This plugin may not be replaced: docker-ram (\(id))."
        )
        #expect(
            Refusal(.unmanagedBuilder("moby/buildkit:1"), id: id, policy: Self.policy()).sentence
                == "Your organization has disallowed builders outside its egress proxy: moby/buildkit:1 (acme, policy 42, \(id)). Run: docker ram engine builder NAME."
        )
        #expect(
            Refusal(.policyUnavailable, id: id, policy: nil).sentence
                == "Registries are refused until the policy can be read: run docker ram status (\(id))."
        )
    }

    @Test("The sentences of an organization that lets nobody use registries now")
    func withheld() {
        let id = Self.id()
        #expect(
            Refusal(.signInRequired(organization: "acme"), id: id, policy: nil).sentence
                == "Your organization requires you to sign in: registry.json names acme (\(id)). Run: docker ram login."
        )
        #expect(
            Refusal(.notAMember(organization: "acme", user: "mallory"), id: id, policy: nil).sentence
                == "Only members of this organization may use registries here: acme (\(id)). Ask an owner to invite you. Signed in: mallory."
        )
        #expect(
            Refusal(.policyExpired(organization: "acme", why: "the server does not answer"), id: id, policy: nil)
                .sentence
                == "Registries are refused because the policy of acme has expired: the server does not answer (\(id)). Run: docker ram status."
        )
    }

    @Test(
        "Whatever has to be done stands in the sentence, however long the names are",
        arguments: [
            (Refusal.Subject.signInRequired(organization: String(repeating: "o", count: 99)), "Run: docker ram login."),
            (
                .notAMember(organization: String(repeating: "o", count: 99), user: String(repeating: "u", count: 99)),
                "Ask an owner to invite you."
            ),
            (
                .policyExpired(organization: String(repeating: "o", count: 99), why: String(repeating: "w", count: 99)),
                "Run: docker ram status."
            ),
        ]
    )
    func longWithheld(_ subject: Refusal.Subject, _ advice: String) {
        let sentence = Refusal(subject, id: Self.id(), policy: nil).sentence
        #expect(sentence.utf8.count <= Refusal.longest && sentence.contains(advice), "\(sentence)")
    }

    @Test(
        "What is wrong with a name is said whole",
        arguments: [
            "", "a b", "a..b", "-a.b", "a:0", "127.1", "[::g]", String(repeating: "a", count: 300),
        ]
    )
    func wholeObstacle(_ text: String) throws {
        let error = try #require(throws: InvalidRegistryAddress.self) { try RegistryAddress(text) }
        let sentence = Refusal(.notInspected("\(error)"), id: Self.id(), policy: Self.policy()).sentence
        #expect(sentence.contains(": \(error) (acme, "))
    }

    @Test(
        "However long the names are, the sentence is 200 printable ASCII characters at most and begins as it must",
        arguments: [1, 30, 64, 100, 253]
    )
    func length(_ length: Int) throws {
        let label = String(repeating: "a", count: min(length, 60))
        let host =
            String((label + ".").dropLast().prefix(60)) + (length > 100 ? ".\(label).\(label).evil.test" : ".test")
        for organization in ["acme", String(repeating: "o", count: 64)] {
            for contact in [nil, "x@acme.test", String(repeating: "c", count: 100)] {
                for version in [1, 1 << 53] {
                    for reason in [
                        Verdict.Reason.noRule, .action, .repository, .forbiddenAddress, .plainHTTP, .serverName,
                        .notTLS,
                    ] {
                        let policy = Self.policy(organization, contact: contact, version: version)
                        let id = DecisionID()
                        let sentence = Refusal(
                            .registry(try RegistryAddress("\(host):65535"), reason),
                            id: id,
                            policy: policy
                        ).sentence
                        #expect(sentence.utf8.count <= 200)
                        #expect(sentence.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
                        #expect(sentence.hasPrefix("Your organization has disallowed this registry: a"))
                        #expect(sentence.contains(".test:65535 ("), "the end of the host is what tells whose it is")
                        #expect(sentence.contains("\(id))."))
                    }
                }
            }
        }
    }

    @Test("Nothing that a stranger writes reaches the terminal as a control character")
    func controlCharacters() {
        let sentence = Refusal(.notInspected("\u{1B}[2Jé\r\n\u{202E}"), id: DecisionID(), policy: nil).sentence
        #expect(sentence.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
    }

    @Test("Decision names are six hexadecimal digits")
    func decisionID() {
        for _ in 0..<1_000 {
            let id = DecisionID().description
            #expect(id.utf8.count == 6)
            #expect(id.allSatisfy { "0123456789abcdef".contains($0) })
        }
    }
}
