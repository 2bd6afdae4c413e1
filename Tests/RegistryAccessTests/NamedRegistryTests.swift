import Testing

@testable import RegistryAccess

struct NamedRegistryTests {
    @Test(arguments: [
        ("ghcr.io", "ghcr.io"), ("GHCR.io:443", "ghcr.io"), ("localhost", "localhost"), ("alpine:5000", "alpine:5000"),
        ("[::1]:5000", "[::1]:5000"), ("10.1.2.3", "10.1.2.3"),
    ])
    func `a name with a dot or a port is a registry`(text: String, registry: String) throws {
        let named = try NamedRegistry(text)
        #expect(named.address.description == registry && named.image == nil)
    }

    @Test(arguments: [
        ("alpine", "docker.io"), ("alpine:3.20", "docker.io"), ("acme/api", "docker.io"),
        ("ghcr.io/acme/api:1.2", "ghcr.io"), ("r.test:5000/x", "r.test:5000"), ("localhost/x", "localhost"),
    ])
    func `anything else is an image`(text: String, registry: String) throws {
        let named = try NamedRegistry(text)
        #expect(named.address.description == registry && named.image != nil)
    }

    @Test(arguments: ["", "https://ghcr.io", "ghcr.io/", "*.acme.test", "gh cr.io", "<b>", "10.0.0.0/"])
    func `what is neither is refused`(text: String) {
        #expect(throws: InvalidImageReference.self) { try NamedRegistry(text) }
    }
}

struct QuotedTests {
    @Test(arguments: [
        ("team", "\"team\""), ("te\u{e4}m", "\"te\u{e4}m\""), ("b\u{fc}cher.example", "\"b\u{fc}cher.example\""),
        ("te\u{61}\u{308}m", "\"te\u{61}\u{308}m\""), ("\u{65e5}\u{672c}", "\"\u{65e5}\u{672c}\""),
        ("\u{2713}", "\"\u{2713}\""),
        // Control, format and direction characters, blanks that look like others, and letters that nobody sees.
        ("a\u{1B}[31m", "\"a?[31m\""), ("a\nb", "\"a?b\""), ("a\u{202E}b", "\"a?b\""), ("a\u{200E}b", "\"a?b\""),
        ("a\u{2066}b", "\"a?b\""), ("a\u{200B}b", "\"a?b\""), ("a\u{FEFF}b", "\"a?b\""), ("a\u{A0}b", "\"a?b\""),
        ("a\u{2028}b", "\"a?b\""), ("a\u{85}b", "\"a?b\""), ("a\u{E000}b", "\"a?b\""), ("a\u{115F}b", "\"a?b\""),
        ("a\u{34F}b", "\"a?b\""), ("a\u{FE0F}b", "\"a?b\""), ("a\u{E0041}b", "\"a?b\""), ("a\u{378}b", "\"a?b\""),
        (String(repeating: "\u{fc}", count: 61), "\"\(String(repeating: "\u{fc}", count: 60))...\""),
    ])
    func `a text in a message shows what can be seen of it`(text: String, shown: String) {
        #expect(JSONScanner.quoted(text) == shown)
    }
}
