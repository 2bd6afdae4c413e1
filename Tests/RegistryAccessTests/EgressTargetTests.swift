import RegistryAccess
import Testing

struct EgressTargetTests {
    @Test(
        "What is asked about, what is dialed and what is written",
        arguments: [
            ("ghcr.io:443", "ghcr.io", "ghcr.io", 443, "ghcr.io:443"),
            ("GHCR.io:443", "ghcr.io", "ghcr.io", 443, "ghcr.io:443"),
            ("ghcr.io:8443", "ghcr.io:8443", "ghcr.io", 8443, "ghcr.io:8443"),
            (
                "registry.acme.test:5000", "registry.acme.test:5000", "registry.acme.test", 5000,
                "registry.acme.test:5000"
            ),
            ("EVILHOST:443", "evilhost", "evilhost", 443, "evilhost:443"),
            ("localhost:5000", "localhost:5000", "localhost", 5000, "localhost:5000"),
            ("r.test:80", "r.test:80", "r.test", 80, "r.test:80"), ("r.test:1", "r.test:1", "r.test", 1, "r.test:1"),
            ("r.test:65535", "r.test:65535", "r.test", 65535, "r.test:65535"),
            ("xn--e1afmkfd.test:443", "xn--e1afmkfd.test", "xn--e1afmkfd.test", 443, "xn--e1afmkfd.test:443"),

            // Docker Hub is one registry with many names, but each name is dialed as itself, and only on port 443.
            ("docker.io:443", "docker.io", "docker.io", 443, "docker.io:443"),
            ("Registry-1.Docker.IO:443", "docker.io", "registry-1.docker.io", 443, "registry-1.docker.io:443"),
            ("index.docker.io:443", "docker.io", "index.docker.io", 443, "index.docker.io:443"),
            ("registry.hub.docker.com:443", "docker.io", "registry.hub.docker.com", 443, "registry.hub.docker.com:443"),
            (
                "registry-1.docker.io:80", "registry-1.docker.io:80", "registry-1.docker.io", 80,
                "registry-1.docker.io:80"
            ),
            ("docker.io:5000", "docker.io:5000", "docker.io", 5000, "docker.io:5000"),
            ("auth.docker.io:443", "auth.docker.io", "auth.docker.io", 443, "auth.docker.io:443"),

            ("127.0.0.1:5000", "127.0.0.1:5000", "127.0.0.1", 5000, "127.0.0.1:5000"),
            ("10.0.0.1:443", "10.0.0.1", "10.0.0.1", 443, "10.0.0.1:443"),
            ("[::1]:5000", "[::1]:5000", "::1", 5000, "[::1]:5000"), ("[::1]:443", "[::1]", "::1", 443, "[::1]:443"),
            ("[FE80:0:0::A]:443", "[fe80::a]", "fe80::a", 443, "[fe80::a]:443"),
            // Every socket that dials it dials the IPv4 address.
            ("[::ffff:7f00:1]:80", "127.0.0.1:80", "127.0.0.1", 80, "127.0.0.1:80"),
            ("[::ffff:127.0.0.1]:443", "127.0.0.1", "127.0.0.1", 443, "127.0.0.1:443"),
            ("[0:0:0:0:0:FFFF:169.254.169.254]:80", "169.254.169.254:80", "169.254.169.254", 80, "169.254.169.254:80"),
        ]
    )
    func target(_ text: String, _ asked: String, _ host: String, _ port: UInt16, _ written: String) throws {
        let target = try EgressTarget(authority: text)
        #expect(target.address.description == asked)
        #expect(target.address == (try RegistryAddress(text)))
        #expect(target.host == host)
        #expect(target.port == port)
        #expect(target.authority == written)
        #expect(try EgressTarget(authority: written) == target)
        // A default is for what has no port.
        #expect(try EgressTarget(authority: text, defaultPort: 80) == target)
    }

    @Test(
        "Without a port the default is meant, and without a default there must be one",
        arguments: [
            ("r.test", 80, "r.test:80", "r.test"), ("r.test", 443, "r.test", "r.test"),
            ("docker.io", 80, "docker.io:80", "docker.io"),
            ("index.docker.io", 80, "index.docker.io:80", "index.docker.io"),
            ("Index.docker.io", 443, "docker.io", "index.docker.io"),
            ("10.0.0.1", 80, "10.0.0.1:80", "10.0.0.1"), ("[::1]", 80, "[::1]:80", "::1"),
            ("[::ffff:10.0.0.1]", 443, "10.0.0.1", "10.0.0.1"),
        ] as [(String, UInt16, String, String)]
    )
    func defaults(_ text: String, _ port: UInt16, _ asked: String, _ host: String) throws {
        let target = try EgressTarget(authority: text, defaultPort: port)
        #expect(target.address.description == asked)
        #expect(target.host == host)
        #expect(target.port == port)
        #expect(throws: InvalidRegistryAddress.badPort) { try EgressTarget(authority: text) }
    }

    @Test(
        "What could be read in two ways is refused",
        arguments: [
            "", ":443", ":", "r.test:", "r.test:0", "r.test:0443", "r.test:+443", "r.test:-1", "r.test:65536",
            "r.test:443443", "r.test:443:443", "r.test:4 43", "r.test: 443", "r.test:443 ", " r.test:443", "r.test:٤٤٣",
            "r.test:http", "r.test.:443", "r..test:443", ".r.test:443", "-r.test:443", "r-.test:443", "r_.test:443",
            // Addresses in every other spelling that some resolver reads.
            "127.1:443", "127.0.1:443", "2130706433:443", "0x7f000001:443", "0x7f.0.0.1:443", "0177.0.0.1:443",
            "127.0.0.01:443", "127.0.0.1.:443", "127.0.0.256:443", "1.2.3.4.5:443", "r.test.1:443", "r.0x1:443",
            "0:443",
            "::1:443", "::1", "[::1", "[::1]443", "[::1]]:443", "[[::1]]:443", "[fe80::1%eth0]:443",
            "[fe80::1%25eth0]:443",
            "[127.0.0.1]:443", "[r.test]:443", "[]:443", "[::1]:443:443", "[::g]:443", "[:::]:443", "[1::2::3]:443",
            "[::ffff:127.1]:443", "[v1.fe80::1]:443", "[::1].evil.test:443",
            // Users, paths and other parts of a URL.
            "user@r.test:443", "user:pw@r.test:443", "r.test:443@evil.test:443", "r.test:443/x", "r.test/x:443",
            "https://r.test:443", "//r.test:443", "r.test:443?x", "r.test:443#x", "r.test\\evil.test:443",
            "r.test%2e:443",
            "r%2etest:443", "r.test,evil.test:443", "*.r.test:443", "r.test:*",
            // Bytes that end a line or a name somewhere.
            "r.test\r\nHost: evil.test:443", "r.test\u{0}.evil.test:443", "r.test\t:443", "r.test:443\n",
            "r.test:443\u{0}",
            // Letters that fold into ASCII, and dots that some read as dots.
            "doc\u{212A}er.io:443", "r.te\u{17F}t:443", "r。test:443", "r．test:443", "é.test:443", "e\u{301}.test:443",
            String(repeating: "a", count: 300) + ":443", String(repeating: "a", count: 64) + ".test:443",
            String(repeating: "a.", count: 150) + "test:443", String(repeating: "9", count: 300),
        ]
    )
    func refused(_ text: String) {
        #expect(throws: InvalidRegistryAddress.self) { try EgressTarget(authority: text) }
        #expect(throws: InvalidRegistryAddress.self) { try EgressTarget(authority: text, defaultPort: 443) }
    }

    @Test("The longest name and the longest label")
    func longest() throws {
        let label = String(repeating: "a", count: 63)
        let name = [label, label, label, String(repeating: "b", count: 61)].joined(separator: ".")
        #expect(name.utf8.count == RegistryAddress.longestHost)
        #expect(try EgressTarget(authority: "\(name):65535").host == name)
        #expect(throws: InvalidRegistryAddress.tooLong) { try EgressTarget(authority: "\(name)b:443") }
    }
}
