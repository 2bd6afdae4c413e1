import RegistryAccess
import TestSupport
import Testing

struct AccessPolicyTests {
    static func policy(_ registries: String, _ more: String = "") throws -> AccessPolicy {
        try AccessPolicy(
            json: Array(#"{"version":42,"organization":"acme",\#(more)"registries":[\#(registries)]}"#.utf8)
        )
    }

    private static let mixed = """
        {"address":"docker.io","allowed":true},
        {"address":"ghcr.io","allowed":true,"actions":["pull"],"repositories":["acme/**"]},
        {"address":"**.acme.test","allowed":true},
        {"address":"secret.acme.test","allowed":false},
        {"address":"old.acme.test","allowed":false,"actions":["push"]},
        {"address":"nologin.acme.test","allowed":false,"actions":["login"]},
        {"address":"part.acme.test","allowed":false,"repositories":["private/**"]},
        {"address":"push.test","allowed":true,"actions":["push"]},
        {"address":"10.0.0.0/8:*","allowed":true},
        {"address":"two.test","allowed":true,"actions":["pull"],"repositories":["a/**"]},
        {"address":"two.test","allowed":true,"actions":["push"],"repositories":["b/**"]}
        """

    @Test(
        "Verdicts of a policy with every kind of rule",
        arguments: [
            ("pull", "docker.io/library/alpine", "rule", 0), ("push", "docker.io/acme/x", "rule", 0),
            ("login", "docker.io/-", "rule", 0),
            ("pull", "ghcr.io/acme/api", "rule", 1), ("push", "ghcr.io/acme/api", "action", 1),
            ("login", "ghcr.io/-", "rule", 1),
            ("pull", "ghcr.io/evil/api", "repository", 1), ("push", "ghcr.io/evil/api", "action", 1),
            ("pull", "ghcr.io/-", "rule", 1), ("push", "ghcr.io/-", "action", 1),
            ("pull", "r.acme.test/x", "rule", 2), ("pull", "a.b.acme.test/x", "rule", 2),
            ("pull", "acme.test/x", "no-rule", nil),
            ("pull", "secret.acme.test/x", "denied-by-rule", 3), ("login", "secret.acme.test/-", "denied-by-rule", 3),
            ("push", "secret.acme.test/x", "denied-by-rule", 3),
            ("pull", "old.acme.test/x", "rule", 2), ("push", "old.acme.test/x", "denied-by-rule", 4),
            ("login", "old.acme.test/-", "rule", 2),
            ("pull", "nologin.acme.test/x", "rule", 2), ("login", "nologin.acme.test/-", "denied-by-rule", 5),
            ("pull", "part.acme.test/x/y", "rule", 2), ("pull", "part.acme.test/private/y", "denied-by-rule", 6),
            ("pull", "part.acme.test/-", "rule", 2),
            ("pull", "push.test/x", "action", 7), ("push", "push.test/x", "rule", 7),
            ("login", "push.test/-", "rule", 7),
            ("pull", "10.1.2.3:5000/x", "rule", 8), ("pull", "11.1.2.3:5000/x", "no-rule", nil),
            ("pull", "[::ffff:10.1.2.3]:5000/-", "rule", 8),
            ("pull", "two.test/a/x", "rule", 9), ("push", "two.test/a/x", "repository", 10),
            ("push", "two.test/b/x", "rule", 10), ("pull", "two.test/b/x", "repository", 9),
            ("pull", "two.test/c/x", "repository", 9), ("login", "two.test/-", "rule", 9),
            ("pull", "evil.test/x", "no-rule", nil), ("login", "evil.test/-", "no-rule", nil),
            ("pull", "localhost:5000/x", "no-rule", nil), ("pull", "EVILHOST/x", "no-rule", nil),
            ("pull", "secret.acme.test:5000/x", "no-rule", nil),
            ("pull", "docker.io:80/x", "no-rule", nil), ("pull", "registry-1.docker.io/library/alpine", "rule", 0),
        ] as [(String, String, String, Int?)]
    )
    func verdicts(_ action: String, _ image: String, _ reason: String, _ rule: Int?) throws {
        let action = try #require(RegistryAction(rawValue: action))
        let slash = try #require(image.firstIndex(of: "/"))
        let repository = String(image[image.index(after: slash)...])
        let request = AccessRequest(
            action,
            try RegistryAddress(image[..<slash]),
            repository: repository == "-" ? nil : repository
        )
        for (mode, refused) in [("enforce", Verdict.Outcome.deny), ("audit", .wouldDeny)] {
            let verdict = try Self.policy(Self.mixed, #""mode":"\#(mode)","#).verdict(on: request)
            #expect(verdict.reason.rawValue == reason)
            #expect(verdict.rule == rule)
            #expect(verdict.outcome == (reason == "rule" ? .allow : refused))
            #expect(verdict.isAllowed == (reason == "rule" || mode == "audit"))
        }
        let switchedOff = try Self.policy(Self.mixed, #""enabled":false,"#).verdict(on: request)
        #expect(switchedOff == Verdict(.allow, .disabled))
    }

    @Test("Of several rules that allow, the most specific one is named")
    func mostSpecific() throws {
        let policy = try Self.policy(
            """
            {"address":"**","allowed":true,"acknowledgeBroad":true},{"address":"**.acme.test","allowed":true},
            {"address":"**.b.acme.test","allowed":true},{"address":"*.b.acme.test","allowed":true},
            {"address":"a.b.acme.test","allowed":true},{"address":"10.0.0.0/8","allowed":true},{"address":"10.1.1.1","allowed":true}
            """
        )
        let expected = [
            ("a.b.acme.test", 4), ("c.b.acme.test", 3), ("d.c.b.acme.test", 2), ("c.acme.test", 1), ("acme.test", 0),
            ("10.1.1.1", 6), ("10.1.1.2", 5), ("11.1.1.1", 0),
        ]
        for (host, rule) in expected {
            #expect(policy.verdict(on: AccessRequest(.pull, try RegistryAddress(host))).rule == rule, "\(host)")
        }
    }

    @Test("An empty list denies everything")
    func empty() throws {
        #expect(try Self.policy("").verdict(on: AccessRequest(.pull, .dockerHub)) == Verdict(.deny, .noRule))
    }

    @Test("What no rule can allow is refused, recorded, or passes when the policy is off")
    func refusing() throws {
        #expect(try Self.policy("").verdict(refusing: .notInspected) == Verdict(.deny, .notInspected))
        #expect(
            try Self.policy("", #""mode":"audit","#).verdict(refusing: .notInspected)
                == Verdict(.wouldDeny, .notInspected)
        )
        #expect(
            try Self.policy("", #""enabled":false,"#).verdict(refusing: .notInspected) == Verdict(.allow, .disabled)
        )
    }

    @Test("Every key is read")
    func everyKey() throws {
        let policy = try AccessPolicy(
            json: Array(
                """
                {"version": 7, "organization": "acme", "enabled": true, "mode": "audit", "contact": "platform@acme.test", "imports": "allow", "unmanagedBuilders": "deny",
                 "registries": [{"address": "r.acme.test:5000", "nickname": "Régistre", "allowed": true, "actions": ["pull", "push"],
                   "repositories": ["a/**", "b"], "insecure": true, "supportHosts": ["blobs.acme.test"]},
                   {"address": "**.amazonaws.com", "allowed": true, "acknowledgeBroad": true}]}
                """.utf8
            )
        )
        #expect(policy.version == 7)
        #expect(policy.organization == "acme")
        #expect(policy.isEnabled)
        #expect(policy.mode == .audit)
        #expect(policy.contact == "platform@acme.test")
        #expect(policy.imports == .allow)
        #expect(policy.unmanagedBuilders == .deny)
        #expect(try Self.policy("").unmanagedBuilders == .allow, "a document without the key goes on as before")
        let rule = try #require(policy.rules.first)
        #expect(rule.address.description == "r.acme.test:5000")
        #expect(rule.nickname == "Régistre")
        #expect(rule.actions == [.pull, .push])
        #expect(rule.repositories.map(\.description) == ["a/**", "b"])
        #expect(rule.isInsecure)
        #expect(rule.supportHosts.map(\.description) == ["blobs.acme.test"])
        #expect(policy.rules[1].isBroadAcknowledged)
    }

    @Test(
        "Faults and their places",
        arguments: [
            ("", 1, 1, "expected an object"), ("[]", 1, 1, "expected an object"),
            ("{}", 1, 1, "\"version\" is missing"),
            (#"{"version":1}"#, 1, 1, "\"organization\" is missing"),
            (#"{"version":1,"organization":"a"}"#, 1, 1, "\"registries\" is missing"),
            (#"{"version":1,"organization":"a","registries":[]} x"#, 1, 50, "after the end"),
            ("{\"version\":1,\n \"organisation\":\"a\"}", 2, 2, "unknown key \"organisation\""),
            (#"{"Version":1}"#, 1, 2, "unknown key \"Version\""),
            (#"{"version":1,"version":2}"#, 1, 14, "comes twice"),
            (#"{"version":1,"VERSION":2}"#, 1, 14, "comes twice"),
            (#"{"version":"1"}"#, 1, 12, "expected a value"), (#"{"version":0}"#, 1, 12, "not a whole number"),
            (#"{"version":-1}"#, 1, 12, "not a whole number"),
            (#"{"version":1.0}"#, 1, 12, "not a whole number"), (#"{"version":1e3}"#, 1, 12, "not a whole number"),
            (#"{"version":9007199254740993}"#, 1, 12, "not a whole number"),
            (#"{"version":99999999999999999999}"#, 1, 12, "not a whole number"),
            (#"{"version":null}"#, 1, 12, "expected a value"), (#"{"version":true}"#, 1, 12, "expected a value"),
            (#"{"organization":""}"#, 1, 17, "printable"), (#"{"organization":5}"#, 1, 17, "in quotes"),
            (#"{"organization":"acmé"}"#, 1, 17, "printable"),
            (#"{"organization":"a\u001b[31m"}"#, 1, 17, "printable"), (#"{"enabled":1}"#, 1, 12, "true or false"),
            (#"{"enabled":"true"}"#, 1, 12, "true or false"),
            (#"{"enabled":null}"#, 1, 12, "true or false"), (#"{"mode":"Enforce"}"#, 1, 9, "unknown value"),
            (#"{"mode":"off"}"#, 1, 9, "expected \"enforce\" or \"audit\""),
            (#"{"imports":true}"#, 1, 12, "in quotes"),
            (#"{"imports":"yes"}"#, 1, 12, "expected \"deny\" or \"allow\""),
            (#"{"unmanagedBuilders":false}"#, 1, 22, "in quotes"),
            (#"{"unmanagedBuilders":"Deny"}"#, 1, 22, "expected \"deny\" or \"allow\""),
            (#"{"contact":"a\nb"}"#, 1, 12, "printable"),
            (#"{"registries":{}}"#, 1, 15, "expected a list"),
            (#"{"registries":["ghcr.io"]}"#, 1, 16, "expected an object"),
            (#"{"registries":[{}]}"#, 1, 16, "\"address\" is missing"),
            (#"{"registries":[{"address":"ghcr.io"}]}"#, 1, 16, "\"allowed\" is missing"),
            (#"{"registries":[{"allowed":true}]}"#, 1, 16, "\"address\" is missing"),
            (#"{"registries":[{"address":"ghcr.io","alowed":true}]}"#, 1, 37, "unknown key \"alowed\""),
            (#"{"registries":[{"address":"ghcr.io","address":"ghcr.io"}]}"#, 1, 37, "comes twice"),
            (#"{"registries":[{"address":"ghcr.io","allowed":"yes"}]}"#, 1, 47, "true or false"),
            (#"{"registries":[{"address":5}]}"#, 1, 27, "in quotes"),
            (#"{"registries":[{"address":"https://ghcr.io"}]}"#, 1, 27, "bad address"),
            (#"{"registries":[{"address":"*"}]}"#, 1, 27, "bad address \"*\""),
            (#"{"registries":[{"address":"ghcr.io","actions":[]}]}"#, 1, 47, "empty list"),
            (#"{"registries":[{"actions":["read"]}]}"#, 1, 28, "unknown value \"read\""),
            (#"{"registries":[{"actions":["pull","pull"]}]}"#, 1, 35, "comes twice"),
            (#"{"registries":[{"actions":"pull"}]}"#, 1, 27, "expected a list"),
            (#"{"registries":[{"repositories":["Acme/x"]}]}"#, 1, 33, "bad repository"),
            (#"{"registries":[{"repositories":[]}]}"#, 1, 32, "empty list"),
            (#"{"registries":[{"supportHosts":["a b"]}]}"#, 1, 33, "bad address"),
            (#"{"registries":[{"insecure":0}]}"#, 1, 28, "true or false"),
            (#"{"registries":[{"nickname":"a\u0007"}]}"#, 1, 28, "control characters"),
            (#"{"registries":[{"nickname":"\u202e"}]}"#, 1, 28, "control characters"),
            ("{\"registries\":[{\"nic\u{212A}name\":\"x\"}]}", 1, 17, "unknown key"),
            (#"{"registries":[[[[[[[[[[[[]]]]]]]]]]]]}"#, 1, 16, "expected an object"),
            (#"{"registries":[{"address":"**.com","allowed":true}]}"#, 1, 16, "too broad"),
            (#"{"registries":[{"address":"**.co.uk","allowed":true}]}"#, 1, 16, "sold to anybody"),
            (#"{"registries":[{"address":"*.amazonaws.com","allowed":true}]}"#, 1, 16, "too broad"),
            (#"{"registries":[{"address":"**","allowed":true}]}"#, 1, 16, "every registry"),
            (#"{"registries":[{"address":"**.blob.core.windows.net","allowed":true}]}"#, 1, 16, "anybody can rent"),
            (#"{"registries":[{"address":"s3.amazonaws.com","allowed":true}]}"#, 1, 16, "too broad"),
            (#"{"registries":[{"address":"s3.eu-west-1.amazonaws.com","allowed":true}]}"#, 1, 16, "too broad"),
            (#"{"registries":[{"address":"0.0.0.0/0","allowed":true}]}"#, 1, 16, "large part"),
            (
                #"{"registries":[{"address":"ghcr.io","allowed":true,"supportHosts":["storage.googleapis.com"]}]}"#, 1,
                16, "too broad"
            ), ("{\"version\":1,", 1, 14, "too early"),
        ]
    )
    func faults(_ text: String, line: Int, column: Int, says message: String) {
        let error = #expect(throws: InvalidPolicy.self) { try AccessPolicy(json: Array(text.utf8)) }
        #expect(error?.line == line)
        #expect(error?.column == column)
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test(
        "A rule that denies may be as broad as it likes",
        arguments: ["**", "**.com", "**.amazonaws.com", "0.0.0.0/0", "s3.amazonaws.com"]
    )
    func broadDeny(_ pattern: String) throws {
        #expect(throws: Never.self) { try Self.policy(#"{"address":"\#(pattern)","allowed":false}"#) }
        #expect(throws: Never.self) {
            try Self.policy(#"{"address":"\#(pattern)","allowed":true,"acknowledgeBroad":true}"#)
        }
    }

    @Test(
        "Warnings",
        arguments: [
            (#"{"address":"docker.io","allowed":true}"#, "no \"contact\""), ("", "no rule allows anything"),
            (#"{"address":"docker.io","allowed":false}"#, "no rule allows anything"),
            (#"{"address":"**","allowed":true,"acknowledgeBroad":true}"#, "is broad"),
            (#"{"address":"auth.docker.io","allowed":true}"#, "support host of Docker Hub"),
            (#"{"address":"ghcr.io","allowed":true},{"address":"ghcr.io","allowed":true}"#, "already rule 1"),
            (#"{"address":"ghcr.io","allowed":true},{"address":"GHCR.io:443","allowed":false}"#, "deny wins"),
            (#"{"address":"docker.io","allowed":true},{"address":"index.docker.io","allowed":true}"#, "already rule 1"),
        ]
    )
    func warnings(_ registries: String, says text: String) throws {
        #expect(try Self.policy(registries).warnings.contains { $0.description.contains(text) })
    }

    @Test(
        "Warnings about what a rule opens in the egress proxy, and about what it needs there",
        arguments: [
            (
                "gcr.io",
                #""gcr.io" opens storage.googleapis.com in the egress proxy, which is shared: a stranger can keep"#
            ),
            ("**.gcr.io", "opens storage.googleapis.com in"), ("acme.azurecr.io", "opens *.blob.core.windows.net in"),
            ("registry.gitlab.com:*", "opens gitlab.com in"),
            (
                "*.k8s.io",
                "*-docker.pkg.dev and prod-registry-k8s-io-*.s3.dualstack.*.amazonaws.com in the egress proxy, which are shared"
            ),
            (
                "-auth.docker.io docker.io",
                #"registry 1, "auth.docker.io", denies auth.docker.io, without which "docker.io" cannot be used"#
            ),
            ("-**.docker.io docker.io", #"registry 1, "**.docker.io", denies auth.docker.io"#),
            ("-cdn02.quay.io quay.io", "it is there for layers"),
            (
                "-storage.googleapis.com gcr.io",
                #"storage.googleapis.com, where "gcr.io" may keep what it needs for layers"#
            ),
            (
                "-*.s3.eu-west-1.amazonaws.com **.dkr.ecr.eu-west-1.amazonaws.com",
                #"registry 1, "*.s3.eu-west-1.amazonaws.com", denies prod-eu-west-1-"#
            ),
            (
                "pkg-containers.githubusercontent.com",
                #"support host of GitHub Container Registry; the registry is "ghcr.io""#
            ),
            ("api.ecr.eu-west-1.amazonaws.com", #"the registry is "{account}.dkr.ecr.{region}.amazonaws.com""#),
        ]
    )
    func egressWarnings(_ rules: String, says text: String) throws {
        let registries = rules.split(separator: " ").map { rule in
            let isAllowed = rule.first != "-"
            return
                #"{"address":"\#(isAllowed ? rule : rule.dropFirst())","allowed":\#(isAllowed),"acknowledgeBroad":true}"#
        }
        let warnings = try Self.policy(registries.joined(separator: ",")).warnings
        #expect(warnings.contains { $0.description.contains(text) }, "\(warnings)")
    }

    @Test
    func `a warning stays the same one when rules before it come or go`() throws {
        func warnings(_ rules: String) throws -> [PolicyWarning] {
            let registries = rules.split(separator: " ").map { rule in
                #"{"address":"\#(rule.drop { $0 == "-" })","allowed":\#(rule.first != "-")}"#
            }
            return try Self.policy(registries.joined(separator: ",")).warnings
        }
        let before = try warnings("quay.test ghcr.test ghcr.test -auth.docker.io docker.io")
        let after = try warnings("ghcr.test ghcr.test -auth.docker.io docker.io")
        #expect(before.contains { $0.description.hasPrefix("registry 4, ") })
        #expect(after.contains { $0.description.hasPrefix("registry 3, ") })
        #expect(after.contains { $0.description.hasSuffix("is already rule 1") })
        #expect(after.beyond(before).isEmpty)
        // A third one is one more.
        let third = try warnings("quay.test ghcr.test ghcr.test ghcr.test -auth.docker.io docker.io").beyond(before)
        #expect(third.map(\.description) == [#""ghcr.test" is already rule 2"#])
        #expect(third.map(\.rule) == [3])
    }

    @Test(
        "No warnings of that kind about a registry that is denied, or whose shared host is",
        arguments: [
            "docker.io", "ghcr.io", "us-docker.pkg.dev", "gcr.io:5000", "gcr.io -storage.googleapis.com",
            "gcr.io -gcr.io",
            "gitlab.com", "docker.io -docker.io -auth.docker.io", "10.0.0.0/8", "registry.acme.test -auth.docker.io",
        ]
    )
    func noEgressWarnings(_ rules: String) throws {
        let registries = rules.split(separator: " ").map { rule in
            let isAllowed = rule.first != "-"
            return #"{"address":"\#(isAllowed ? rule : rule.dropFirst())","allowed":\#(isAllowed)}"#
        }
        let warnings = try Self.policy(registries.joined(separator: ",")).warnings
        let about = ["shared", "without which", "support host"]
        #expect(!warnings.contains { warning in about.contains { warning.description.contains($0) } }, "\(warnings)")
    }

    @Test("An ordinary policy has no warnings")
    func noWarnings() throws {
        let registries =
            #"{"address":"docker.io","allowed":true},{"address":"ghcr.io","allowed":true,"repositories":["a/**"]},{"address":"ghcr.io","allowed":true,"repositories":["b/**"]}"#
        #expect(try Self.policy(registries, #""contact":"x@acme.test","#).warnings.isEmpty)
    }

    @Test("Every cut of a policy document is refused")
    func cut() throws {
        let whole = Array(
            #"{"version":42,"organization":"acme","registries":[{"address":"ghcr.io","allowed":true,"actions":["pull"]}]}"#
                .utf8
        )
        #expect(throws: Never.self) { try AccessPolicy(json: whole) }
        for length in 0..<whole.count {
            #expect(throws: InvalidPolicy.self) { try AccessPolicy(json: Array(whole[..<length])) }
        }
    }

    @Test("A decision looks at the patterns that could match, not at the rules: 200,000 rules decide as one")
    func large() throws {
        var json = #"{"version":1,"organization":"acme","registries":["#
        for index in 0..<200_000 { json += #"{"address":"r\#(index).acme.test","allowed":true},"# }
        json += #"{"address":"ghcr.io","allowed":true}]}"#
        let policy = try AccessPolicy(json: Array(json.utf8))
        #expect(policy.rules.count == 200_001)
        #expect(
            policy.verdict(on: AccessRequest(.pull, try RegistryAddress("ghcr.io")))
                == Verdict(.allow, .allowedByRule, rule: 200_000)
        )
        #expect(
            policy.verdict(on: AccessRequest(.pull, try RegistryAddress("r77.acme.test")))
                == Verdict(.allow, .allowedByRule, rule: 77)
        )
        #expect(
            policy.verdict(on: AccessRequest(.pull, try RegistryAddress("r200000.acme.test")))
                == Verdict(.deny, .noRule)
        )
    }
}
