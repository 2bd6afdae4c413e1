import RegistryAccess
import Testing

struct ServerURLTests {
    @Test(
        "An address of a server is read in one way",
        arguments: [
            ("https://ram.acme.test", "https://ram.acme.test", "ram.acme.test", UInt16(443)),
            ("https://ram.acme.test/", "https://ram.acme.test", "ram.acme.test", 443),
            ("https://RAM.acme.test:443", "https://ram.acme.test", "ram.acme.test", 443),
            (
                "https://ram.acme.test:8443/a/b-c_d~e.f/", "https://ram.acme.test:8443/a/b-c_d~e.f", "ram.acme.test",
                8443
            ),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443", "2001:db8::1", 8443),
            ("http://127.0.0.1:8080/acme", "http://127.0.0.1:8080/acme", "127.0.0.1", 8080),
            ("http://localhost", "http://localhost", "localhost", 80),
            ("http://[::1]:80", "http://[::1]", "::1", 80),
        ]
    )
    func reading(_ text: String, _ spelling: String, _ host: String, _ port: UInt16) throws {
        let url = try ServerURL(text)
        #expect(url.description == spelling)
        #expect(url.target.host == host && url.target.port == port)
        #expect(url.isEncrypted == text.hasPrefix("https"))
        #expect(try ServerURL(spelling) == url)
    }

    @Test(
        "What is doubtful is refused",
        arguments: [
            "", "ram.acme.test", "HTTPS://ram.acme.test", "ftp://ram.acme.test", "https://", "https:///x",
            "https://u@ram.acme.test", "https://ram.acme.test?x", "https://ram.acme.test/?x=1",
            "https://ram.acme.test#x",
            "https://ram.acme.test/a//b", "https://ram.acme.test/../b", "https://ram.acme.test/./b",
            "https://ram.acme.test/a%2fb", "https://ram.acme.test/a b", "https://ram.acme.test:0", "https://ram_acme",
            "https://127.1", "http://ram.acme.test", "http://10.0.0.1", "http://localhost.acme.test",
            "http://128.0.0.1",
            "https://ram.acme.test\n", "https://ram.acme.test/\u{212A}",
        ]
    )
    func refused(_ text: String) {
        #expect(throws: InvalidServerURL.self) { try ServerURL(text) }
    }

    @Test(
        "Names of organizations and people",
        arguments: [
            ("acme", true), ("a-1", true), ("0ab", true), (String(repeating: "a", count: 40), true), ("", false),
            ("ab", false), (String(repeating: "a", count: 41), false), ("-ab", false), ("ab-", false), ("Acme", false),
            ("a_b", false), ("a.b", false), ("\u{212A}ab", false),
        ]
    )
    func names(_ text: String, _ isValid: Bool) {
        #expect(OrganizationName.isValid(text) == isValid)
    }
}
