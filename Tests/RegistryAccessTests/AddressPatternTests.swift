import RegistryAccess
import TestSupport
import Testing

struct AddressPatternTests {
    @Test(
        "What a pattern matches",
        arguments: [
            // One host, port 443 unless another is written.
            ("ghcr.io", "ghcr.io", true), ("ghcr.io", "GHCR.io:443", true), ("ghcr.io:443", "ghcr.io", true),
            ("GHCR.IO", "ghcr.io", true),
            ("ghcr.io", "ghcr.io:80", false), ("ghcr.io", "x.ghcr.io", false), ("ghcr.io", "ghcr.io.evil.test", false),
            ("ghcr.io", "evilghcr.io", false),
            ("h.test:5000", "h.test:5000", true), ("h.test:5000", "h.test", false),
            ("h.test:5000", "h.test:5001", false),
            ("h.test:*", "h.test", true), ("h.test:*", "h.test:5000", true), ("h.test:*", "x.h.test:5000", false),
            ("localhost:5000", "localhost:5000", true), ("localhost", "localhost:5000", false),
            ("localhost:*", "127.0.0.1:5000", false),
            // Docker Hub under every name, on either side.
            ("docker.io", "index.docker.io", true), ("registry-1.docker.io", "docker.io", true),
            ("registry.hub.docker.com", "docker.io", true),
            ("docker.io", "auth.docker.io", false), ("docker.io", "docker.io:80", false),
            // One label, or many, never the apex.
            ("*.acme.test", "a.acme.test", true), ("*.acme.test", "acme.test", false),
            ("*.acme.test", "b.a.acme.test", false),
            ("*.acme.test", "xacme.test", false), ("*.acme.test", "a.acme.test:5000", false),
            ("*.acme.test:5000", "a.acme.test:5000", true),
            ("*.acme.test:*", "a.acme.test:5000", true), ("*.acme.test:*", "a.acme.test", true),
            ("*.ACME.test", "A.acme.TEST", true),
            ("*.acme.test", "a.acme.test.evil.test", false), ("*.acme.test", "a.b", false),
            ("*.a.acme.test", "x.a.acme.test", true),
            ("**.acme.test", "a.acme.test", true), ("**.acme.test", "c.b.a.acme.test", true),
            ("**.acme.test", "acme.test", false),
            ("**.acme.test", "xacme.test", false), ("**.acme.test", "acme.test.evil.test", false),
            ("**.acme.test", "a.acme.test:80", false),
            ("**.acme.test:*", "b.a.acme.test:80", true), ("**.acme.test:80", "b.a.acme.test:80", true),
            ("**.acme.test", "a.acme.tes", false),
            ("**.dkr.ecr.eu-west-1.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com", true),
            ("**.dkr.ecr.eu-west-1.amazonaws.com", "1.dkr.ecr.us-east-1.amazonaws.com", false),
            ("**.io", "docker.io", true),
            // Networks hold addresses, never names.
            ("10.1.0.0/16", "10.1.2.3", true), ("10.1.0.0/16", "10.2.0.0", false),
            ("10.1.0.0/16", "10.1.2.3:5000", false),
            ("10.1.0.0/16:5000", "10.1.2.3:5000", true), ("10.1.0.0/16:*", "10.1.2.3:5000", true),
            ("10.1.0.0/16:*", "10.1.2.3", true),
            ("0.0.0.0/0", "1.2.3.4", true), ("0.0.0.0/0", "ghcr.io", false), ("0.0.0.0/0", "[::1]", false),
            ("1.2.3.4/32", "1.2.3.4", true),
            ("1.2.3.4/32", "1.2.3.5", false), ("10.0.0.0/8:*", "[::ffff:10.1.2.3]:5000", true),
            ("127.0.0.0/8:*", "127.0.0.1:5000", true),
            ("127.0.0.0/8:*", "localhost:5000", false), ("192.168.0.0/17", "192.168.127.255", true),
            ("192.168.0.0/17", "192.168.128.0", false),
            ("[2001:db8::]/32", "[2001:db8:1::1]", true), ("2001:db8::/32", "[2001:db8:1::1]", true),
            ("[2001:db8::]/32", "[2001:db9::1]", false),
            ("[2001:db8::]/32:5000", "[2001:db8::1]:5000", true), ("[::]/0:*", "[::1]:1", true),
            ("[::]/0:*", "1.2.3.4:1", false),
            ("[fe80::]/65", "[fe80::1]", true), ("[fe80::]/65", "[fe80::8000:0:0:1]", false),
            ("[::1]/128", "[::1]", true),
            ("10.1.2.3", "10.1.2.3", true), ("10.1.2.3:5000", "10.1.2.3:5000", true),
            ("[::1]:5000", "[::1]:5000", true), ("[::1]:*", "[::1]:9", true),
            // Everything.
            ("**", "ghcr.io", true), ("**", "localhost:5000", true), ("**", "[::1]:1", true), ("**", "docker.io", true),
        ]
    )
    func matches(_ pattern: String, _ address: String, _ expected: Bool) throws {
        let pattern = try AddressPattern(pattern)
        let address = try RegistryAddress(address)
        #expect(pattern.matches(address) == expected)
        #expect(try AddressPattern(pattern.description) == pattern, "normalizing twice changes nothing")
        // The index of a policy finds exactly what the pattern matches.
        let policy = AccessPolicy(
            version: 1,
            organization: "acme",
            rules: [RegistryRule(address: pattern, isAllowed: true)]
        )
        #expect(policy.verdict(on: AccessRequest(.pull, address)).isAllowed == expected)
    }

    @Test(
        "What is no pattern",
        arguments: [
            "", "*", "***", "**.", "*.", "***.acme.test", "*acme.test", "a*.acme.test", "a.*.test", "acme.*",
            "ghcr.io:**", "**:*", "**:443", "*:*", "*:5000",
            "ghcr.io*", "*.*.test", "**.*.test", "*.**.test", ".acme.test", "*..acme.test", "ghcr.io:*:*",
            "ghcr.io:5000:*", "*.acme.test:5000:*",
            "*.10.0.0.1", "**.10.0.0.1", "*.1", "**.[::1]", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/08", "10.0.0.0/",
            "10.0.0.0/-1", "10.0.0.0/8/8", "/8",
            "ghcr.io/acme", "ghcr.io/8", "10.0.0.0:5000/8", "10.0.0.0/8:", "10.0.0.0/8:0", "10.0.0.0/8:05000",
            "10.0.0.0/8:5000:*", "10.0/8", "[::1]/64",
            "[::]/129", "[::]:5000/0", "::1/64", "https://ghcr.io", "ghcr.io/", "ghcr.io ", "ev_il.test",
            "*.ev_il.test", "gh\u{441}r.io", "*.doc\u{212A}er.io",
            "ghcr.io:0443", "ghcr.io.", "*.ghcr.io.", "-a.test", "127.1", "0x7f.1", "**.0x7f", "%2a.test", "a@b.test",
            "ghcr.io,quay.io", "!ghcr.io", "~ghcr", "^ghcr.io$",
        ]
    )
    func noPattern(_ text: String) {
        #expect(throws: InvalidAddressPattern.self) { try AddressPattern(text) }
    }

    @Test("An address of the web or of an image is told from a network that is written wrongly")
    func path() {
        for text in [
            "https://ghcr.io", "http://10.0.0.1:5000", "ghcr.io/", "ghcr.io/acme", "ghcr.io/8", "/", "10.0.0.0/",
            "ghcr.io/acme/api:1.2", "ghcr.io/api:1.2", "ghcr.io/3scale:1.2", "r.test:5000/3scale:1.2", "10.0.0.1/1/x:1",
            "https://ghcr.io/", "https://ghcr.io:5000/v2/",
        ] {
            #expect(throws: InvalidAddressPattern.path) { try AddressPattern(text) }
        }
        for text in ["10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/08", "[::]/129"] {
            #expect(throws: InvalidAddressPattern.badNetwork) { try AddressPattern(text) }
        }
    }

    @Test("Pattern and index agree on random addresses", arguments: 0..<10 as Range<UInt64>)
    func agreement(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let labels = ["a", "b", "acme", "test"]
        func host(_ count: Int) -> String {
            (0..<count).map { _ in labels.randomElement(using: &generator) ?? "a" }.joined(separator: ".")
        }
        let ports = ["", ":5000", ":*"]
        var patterns: [AddressPattern] = []
        for _ in 0..<40 {
            let prefix = ["", "*.", "**."].randomElement(using: &generator) ?? ""
            let port = ports.randomElement(using: &generator) ?? ""
            patterns.append(try AddressPattern(prefix + host(Int.random(in: 1...3, using: &generator)) + port))
            patterns.append(try AddressPattern("10.\(Int.random(in: 0...3, using: &generator)).0.0/16\(port)"))
        }
        let policy = AccessPolicy(
            version: 1,
            organization: "acme",
            rules: patterns.map { RegistryRule(address: $0, isAllowed: true) }
        )
        for _ in 0..<500 {
            let port = ["", ":5000"].randomElement(using: &generator) ?? ""
            let name =
                Bool.random(using: &generator)
                ? host(Int.random(in: 1...5, using: &generator)) : "10.\(Int.random(in: 0...5, using: &generator)).1.1"
            let address = try RegistryAddress(name + port)
            let expected = patterns.contains { $0.matches(address) }
            #expect(policy.verdict(on: AccessRequest(.pull, address)).isAllowed == expected, "\(address)")
        }
    }

    @Test(
        "Repository patterns",
        arguments: [
            ("acme/api", "acme/api", true), ("acme/api", "acme/api/x", false), ("acme/api", "acme/ap", false),
            ("acme/*", "acme/api", true),
            ("acme/*", "acme/api/x", false), ("acme/*", "acme", false), ("acme/**", "acme/api", true),
            ("acme/**", "acme/a/b/c", true), ("acme/**", "acme", false),
            ("acme/**", "acmex/api", false), ("acme/team/**", "acme/team/x", true), ("acme/team/**", "acme/x", false),
            ("**", "anything/at/all", true), ("**", "one", true),
            ("library/*", "library/alpine", true), ("a/b/*", "a/b/c", true), ("a/b/*", "a/c/c", false),
            ("alpine", "alpine", true), ("alpine", "library/alpine", false),
        ]
    )
    func repositories(_ pattern: String, _ repository: String, _ expected: Bool) throws {
        let rule = RegistryRule(
            address: try AddressPattern("r.test"),
            isAllowed: true,
            repositories: [try RepositoryPattern(pattern)]
        )
        let policy = AccessPolicy(version: 1, organization: "acme", rules: [rule])
        let verdict = policy.verdict(on: AccessRequest(.pull, try RegistryAddress("r.test"), repository: repository))
        #expect(verdict.isAllowed == expected)
        #expect(verdict.reason == (expected ? .allowedByRule : .repository))
    }

    @Test(
        "What is no repository pattern",
        arguments: [
            "", "*", "*/x", "acme/", "/acme", "acme//x", "Acme/x", "acme/***", "acme/a*", "**/x", "acme/*/x", "a b",
            "acme/x:1", "é",
        ]
    )
    func noRepositoryPattern(_ text: String) {
        #expect(throws: InvalidRepositoryPattern.self) { try RepositoryPattern(text) }
    }
}
