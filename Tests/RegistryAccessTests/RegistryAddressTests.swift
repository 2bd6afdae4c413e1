import RegistryAccess
import Testing
import TestSupport

struct RegistryAddressTests {
    @Test(
        "Addresses and their canonical form",
        arguments: [
            // Plain names.
            ("ghcr.io", "ghcr.io"), ("registry.acme.test", "registry.acme.test"), ("localhost", "localhost"),
            ("a", "a"), ("a.b", "a.b"), ("a-b.c-d", "a-b.c-d"), ("a--b.test", "a--b.test"), ("0101.com", "0101.com"),
            ("001a.com", "001a.com"), ("1.a", "1.a"), ("1a", "1a"), ("10.0.0.1a", "10.0.0.1a"), ("0xg.a", "0xg.a"),
            ("x0", "x0"), ("0xfg", "0xfg"), ("xn--n3h.com", "xn--n3h.com"), ("xn--7o8h.com", "xn--7o8h.com"),
            // Upper case is another spelling of the same host.
            ("GHCR.IO", "ghcr.io"), ("EvilHost", "evilhost"), ("Registry.Acme.TEST:5000", "registry.acme.test:5000"),
            // Ports; 443 is none.
            ("ghcr.io:443", "ghcr.io"), ("ghcr.io:80", "ghcr.io:80"), ("ghcr.io:1", "ghcr.io:1"),
            ("ghcr.io:65535", "ghcr.io:65535"), ("localhost:5000", "localhost:5000"), ("a:8443", "a:8443"),
            ("ghcr.io:4430", "ghcr.io:4430"), ("ghcr.io:44", "ghcr.io:44"),
            // Docker Hub by all its names, on its own port only.
            ("docker.io", "docker.io"), ("index.docker.io", "docker.io"), ("registry-1.docker.io", "docker.io"),
            ("registry.hub.docker.com", "docker.io"), ("DOCKER.io", "docker.io"), ("Index.Docker.IO", "docker.io"),
            ("docker.io:443", "docker.io"), ("index.docker.io:443", "docker.io"),
            ("registry-1.docker.io:443", "docker.io"), ("docker.io:80", "docker.io:80"),
            ("registry-1.docker.io:5000", "registry-1.docker.io:5000"),
            // Hosts that only look like Docker Hub.
            ("docker.io.evil.test", "docker.io.evil.test"), ("xdocker.io", "xdocker.io"),
            ("hub.docker.com", "hub.docker.com"), ("registry-2.docker.io", "registry-2.docker.io"),
            ("auth.docker.io", "auth.docker.io"), ("docker.com", "docker.com"),
            // IPv4.
            ("127.0.0.1", "127.0.0.1"), ("127.0.0.1:5000", "127.0.0.1:5000"), ("0.0.0.0", "0.0.0.0"),
            ("255.255.255.255", "255.255.255.255"), ("192.168.1.1:443", "192.168.1.1"), ("10.1.2.3:8", "10.1.2.3:8"),
            // IPv6, in the form of RFC 5952.
            ("[::1]", "[::1]"), ("[::]", "[::]"), ("[::1]:5000", "[::1]:5000"), ("[::1]:443", "[::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"), ("[2001:DB8::1]", "[2001:db8::1]"),
            ("[2001:0db8:0000:0000:0000:0000:0000:0001]", "[2001:db8::1]"), ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[1:2:3:4:5:6:7:8]", "[1:2:3:4:5:6:7:8]"), ("[2001:db8:0:1:1:1:1:1]", "[2001:db8:0:1:1:1:1:1]"),
            ("[2001:0:0:1:0:0:0:1]", "[2001:0:0:1::1]"), ("[2001:db8:0:0:1:0:0:1]", "[2001:db8::1:0:0:1]"),
            ("[fe80::]", "[fe80::]"), ("[1::]", "[1::]"), ("[::8]", "[::8]"), ("[1::8]", "[1::8]"),
            ("[1:2:3:4:5:6:7::]", "[1:2:3:4:5:6:7:0]"), ("[::2:3:4:5:6:7:8]", "[0:2:3:4:5:6:7:8]"),
            ("[64:ff9b::1.2.3.4]", "[64:ff9b::102:304]"), ("[::1.2.3.4]", "[::102:304]"),
            // One that maps an IPv4 address is that address.
            ("[::ffff:7f00:1]", "127.0.0.1"), ("[::ffff:127.0.0.1]:5000", "127.0.0.1:5000"),
            ("[::FFFF:0a01:0203]", "10.1.2.3"), ("[0:0:0:0:0:ffff:1.2.3.4]", "1.2.3.4"),
        ]
    )
    func address(_ text: String, isShownAs canonical: String) throws {
        let address = try RegistryAddress(text)
        #expect(address.description == canonical)
        #expect(try RegistryAddress(canonical) == address, "normalizing twice changes nothing")
    }

    @Test(
        "What is refused, and why",
        arguments: [
            ("", InvalidRegistryAddress.empty), (":5000", .empty), (":", .badPort),
            // Characters that no host has.
            ("ghcr.io ", .badCharacter), (" ghcr.io", .badCharacter), ("gh cr.io", .badCharacter),
            ("ghcr.io\n", .badCharacter), ("ghcr.io\r\n", .badCharacter), ("ghcr.io\0", .badCharacter),
            ("\u{1B}[31mghcr.io", .badCharacter), ("ghcr\u{7F}.io", .badCharacter), ("ghcr.io\t", .badCharacter),
            ("ev_il.test", .badCharacter), ("a.test%2eevil.test", .badCharacter), ("%67hcr.io", .badCharacter),
            ("user@ghcr.io", .badCharacter), ("user:pass@ghcr.io", .badPort), ("ghcr.io\\x", .badCharacter),
            ("ghcr.io?x", .badCharacter), ("ghcr.io#x", .badCharacter),
            ("*.acme.test", .badCharacter), ("ghcr,io", .badCharacter), ("ghcr.io;x", .badCharacter),
            ("(ghcr.io)", .badCharacter), ("\"ghcr.io\"", .badCharacter), ("ghcr.io,evil.test", .badCharacter),
            // What is pasted: an address of the web, an image.
            ("ghcr.io/x", .path), ("ghcr.io/acme/api:1.2", .path), ("https://ghcr.io", .path),
            ("https://ghcr.io/", .path),
            ("r.test:5000/acme/api:1.2", .path), ("[::1]/x", .path), ("/", .path), ("10.0.0.0/8", .path),
            // Unicode: never folded, never mapped.
            ("doc\u{212A}er.io", .badCharacter), ("gh\u{441}r.io", .badCharacter), ("a.test．evil.test", .badCharacter),
            ("a.test。evil.test", .badCharacter), ("ghcr．io", .badCharacter), ("é.test", .badCharacter),
            ("e\u{301}.test", .badCharacter), ("ſ.test", .badCharacter), ("ghcr\u{200B}.io", .badCharacter),
            ("\u{FEFF}ghcr.io", .badCharacter), ("ghcr.io\u{202E}", .badCharacter), ("１.test", .badCharacter),
            // Labels.
            ("ghcr.io.", .badLabel), (".ghcr.io", .badLabel), ("ghcr..io", .badLabel), (".", .badLabel),
            ("-ghcr.io", .badLabel), ("ghcr-.io", .badLabel), ("ghcr.-io", .badLabel), ("ghcr.io-", .badLabel),
            ("-", .badLabel), ("ghcr.io.:443", .badLabel), ("localhost.", .badLabel),
            // Ports.
            ("ghcr.io:", .badPort), ("ghcr.io:0", .badPort), ("ghcr.io:0443", .badPort), ("ghcr.io:00", .badPort),
            ("ghcr.io:+443", .badPort), ("ghcr.io:-1", .badPort), ("ghcr.io:65536", .badPort),
            ("ghcr.io:99999", .badPort), ("ghcr.io:750050", .badPort), ("ghcr.io:http", .badPort),
            ("ghcr.io: 443", .badPort), ("ghcr.io:443 ", .badPort), ("ghcr.io:44３", .badPort),
            ("ghcr.io:443:443", .badPort), ("ghcr.io::443", .badPort), ("ghcr.io:0x1bb", .badPort),
            ("test.com:tag", .badPort), ("fc00::1", .badPort), ("fd00:1:2::3:75050", .badPort),
            ("ghcr.io:*", .badPort), ("ghcr.io:4_43", .badPort),
            // IP addresses that resolvers read in their own ways.
            ("2130706433", .badIPAddress), ("127.1", .badIPAddress), ("127.0.1", .badIPAddress),
            ("0x7f.0.0.1", .badIPAddress), ("0x7f000001", .badIPAddress), ("0X7F000001", .badIPAddress),
            ("0177.0.0.1", .badIPAddress), ("127.0.0.01", .badIPAddress), ("010.0.0.1", .badIPAddress),
            ("1.2.3.4.5", .badIPAddress), ("256.0.0.1", .badIPAddress), ("1.2.3.256", .badIPAddress),
            ("999.1.1.1", .badIPAddress), ("1.2.3", .badIPAddress), ("0", .badIPAddress), ("1", .badIPAddress),
            ("evil.test.0x7f", .badIPAddress), ("evil.1", .badIPAddress), ("evil.0x", .badIPAddress),
            ("0x", .badIPAddress), ("00.0.0.0", .badIPAddress), ("127.0.0.1000", .badIPAddress),
            // IPv6 that is not one.
            ("[", .badIPAddress), ("[]", .badIPAddress), ("[::1", .badIPAddress), ("[:::1]", .badIPAddress),
            ("[::1%eth0]", .badIPAddress), ("[fe80::1%25eth0]", .badIPAddress), ("[1:2:3]", .badIPAddress),
            ("[1:2:3:4:5:6:7:8:9]", .badIPAddress), ("[1::2::3]", .badIPAddress), ("[12345::]", .badIPAddress),
            ("[g::]", .badIPAddress), ("[::1]x", .badIPAddress), ("[::1]5000", .badIPAddress),
            ("[::1]:", .badPort), ("[::1]:0", .badPort), ("[::1]::5000", .badPort), ("[127.0.0.1]", .badIPAddress),
            ("[::127.1]", .badIPAddress), ("[::1.2.3.4.5]", .badIPAddress), ("[::01.2.3.4]", .badIPAddress),
            ("[1.2.3.4::]", .badIPAddress), ("[::ffff:1.2.3.4:5]", .badIPAddress), ("[:1]", .badIPAddress),
            ("[1:]", .badIPAddress), ("[1:2:3:4:5:6:7:8::]", .badIPAddress), ("[ghcr.io]", .badIPAddress),
            ("[::1]]", .badIPAddress), ("[[::1]]", .badIPAddress), ("[:]", .badIPAddress), ("[ ::1]", .badIPAddress),
            ("[fd00123123123]", .badIPAddress), ("[1:2:3:4:5:6:1.2.3.4:7]", .badIPAddress),
            ("::1", .badPort), ("::1]", .badPort), ("x[::1]", .badPort),
        ]
    )
    func refused(_ text: String, because error: InvalidRegistryAddress) {
        #expect(throws: error) { try RegistryAddress(text) }
    }

    @Test("Lengths at and beyond their limits")
    func lengths() throws {
        let label = String(repeating: "a", count: 63)
        #expect(throws: Never.self) { try RegistryAddress(label) }
        #expect(throws: InvalidRegistryAddress.tooLong) { try RegistryAddress(label + "a") }
        let longest = "\(label).\(label).\(label).\(String(repeating: "b", count: 61))"
        #expect(longest.utf8.count == 253)
        #expect(try RegistryAddress("\(longest):65535").description == "\(longest):65535")
        #expect(throws: InvalidRegistryAddress.tooLong) { try RegistryAddress("\(longest)b") }
        #expect(throws: InvalidRegistryAddress.tooLong) { try RegistryAddress(String(repeating: "a", count: 1 << 20)) }
    }

    @Test(
        "What Docker hands to a credential helper",
        arguments: [
            ("https://index.docker.io/v1/", "docker.io"), ("https://index.docker.io/v1/access-token", "docker.io"),
            ("https://index.docker.io/v1/refresh-token", "docker.io"), ("index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"), ("https://registry-1.docker.io", "docker.io"),
            ("https://registry.hub.docker.com/v2/", "docker.io"), ("http://index.docker.io/v1/", "docker.io"),
            ("ghcr.io", "ghcr.io"), ("https://ghcr.io", "ghcr.io"), ("http://ghcr.io", "ghcr.io"),
            ("HTTPS://GHCR.IO/", "ghcr.io"), ("HttP://ghcr.io", "ghcr.io"), ("https://ghcr.io:443/v2/", "ghcr.io"),
            ("https://ghcr.io/x/y/z", "ghcr.io"), ("ghcr.io/", "ghcr.io"),
            ("registry.acme.test:5000", "registry.acme.test:5000"),
            ("http://registry.acme.test:5000/v2/", "registry.acme.test:5000"), ("http://h:80", "h:80"),
            ("localhost:5000", "localhost:5000"), ("https://[::1]:5000/v2/", "[::1]:5000"),
            ("https://127.0.0.1:5000", "127.0.0.1:5000"), ("ghcr.io//evil.test", "ghcr.io"),
            ("ghcr.io/@evil.test", "ghcr.io"), ("http://ghcr.io/https://evil.test", "ghcr.io"),
        ]
    )
    func serverURL(_ text: String, is canonical: String) throws {
        #expect(try RegistryAddress(serverURL: text).description == canonical)
    }

    @Test(
        "What no credential helper should take for an address",
        arguments: [
            "", "https://", "http:///v2/", "//ghcr.io", "https:/ghcr.io", "https:ghcr.io", "ftp://ghcr.io",
            "https://https://ghcr.io", "https://user@ghcr.io/", "https://ghcr.io@evil.test/", "https://ghcr.io?x=/y",
            "https://ghcr.io#/", "https://ghcr.io\\@evil.test", " https://ghcr.io", "https://ghcr.io\u{0}.evil.test",
            "https://ghcr.io%2f.evil.test", "https://127.1/", "https://0x7f000001", "https://2130706433/v2/",
            "https://ghcr.io./v2/", "https://gh\ncr.io", "https://ev_il.test", "https://ｇhcr.io",
            "https://ghcr.io:0443",
            "https://[::1%25lo]/", "https://.", "https://ghcr.io:port/", "ssh://git@ghcr.io", "unix:///run/x.sock",
        ]
    )
    func noServerURL(_ text: String) {
        #expect(throws: InvalidRegistryAddress.self) { try RegistryAddress(serverURL: text) }
    }

    @Test(
        "Which addresses no proxy ever sees",
        arguments: [
            ("localhost", true), ("localhost:5000", true), ("LOCALHOST", true), ("127.0.0.1:5000", true),
            ("127.255.255.255", true), ("[::1]:5000", true), ("[::ffff:7f00:1]", true), ("128.0.0.1", false),
            ("126.255.255.255", false), ("foo.localhost", false), ("localhost.test", false), ("[::2]", false),
            ("[1::1]", false), ("10.0.0.1", false),
        ]
    )
    func loopback(_ text: String, isLoopback: Bool) throws {
        #expect(try RegistryAddress(text).isLoopback == isLoopback)
    }

    @Test("Random bytes: what is read is printed so that it reads the same", arguments: 0..<20 as Range<UInt64>)
    func roundTrip(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let alphabet = Array("aZ09.-:[]x%_@/*f\u{E9} ".unicodeScalars)
        for _ in 0..<2_000 {
            var text = ""
            for _ in 0..<Int.random(in: 0...14, using: &generator) {
                text.unicodeScalars.append(alphabet.randomElement(using: &generator) ?? "a")
            }
            guard let address = try? RegistryAddress(text) else { continue }
            #expect(try RegistryAddress(address.description) == address, "\(text)")
            #expect(try RegistryAddress(serverURL: "https://\(address)/v2/") == address, "\(text)")
            #expect(address.description.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }, "\(text)")
        }
    }

    @Test(arguments: [
        // RFC 6890, its first and last addresses.
        ("0.0.0.0", true), ("0.255.255.255", true), ("1.0.0.0", false), ("126.255.255.255", false), ("127.0.0.1", true),
        ("127.255.255.255", true), ("128.0.0.0", false), ("169.253.255.255", false), ("169.254.0.0", true),
        ("169.254.255.255", true), ("169.255.0.0", false), ("223.255.255.255", false), ("224.0.0.0", true),
        ("239.255.255.255", true), ("240.0.0.0", true), ("255.255.255.255", true),
        // Networks of companies.
        ("10.0.0.1", false), ("172.16.0.1", false), ("192.168.0.1", false), ("100.64.0.1", false), ("[fd00::1]", false),
        // IPv6, and IPv4 in it.
        ("[::]", true), ("[::1]", true), ("[::127.0.0.1]", true), ("[::ffff:127.0.0.1]", true),
        ("[::ffff:10.0.0.1]", false),
        ("[fe80::1]", true), ("[febf::1]", true), ("[fec0::1]", false), ("[ff02::1]", true), ("[2001:db8::1]", false),
        ("[64:ff9b::169.254.169.254]", true), ("[64:ff9b::10.0.0.1]", false), ("[2002:7f00:1::]", true),
        ("[2002:a00:1::]", false),
        // The metadata of clouds.
        ("169.254.169.254", true), ("100.100.100.200", true), ("100.100.100.201", false), ("168.63.129.16", true),
        ("[fd00:ec2::254]", true), ("[fd00:ec2::253]", false), ("[64:ff9b::100.100.100.200]", true),
        ("ghcr.io", false), ("localhost", false),
    ])
    func `no registry has an address that is for something else`(_ text: String, _ expected: Bool) throws {
        #expect(try RegistryAddress(text).isSpecialPurpose == expected)
    }
}
