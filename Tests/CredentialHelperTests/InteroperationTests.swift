import Glibc
import LocalInstallation
import Testing

@testable import CredentialHelper

/// docker-credential-secretservice and docker-credential-ram on one keyring.
@Suite(.serialized)
struct InteroperationTests {
    /// Server URLs as Docker, other clients and attackers write them; without a policy all of them are only texts.
    static let serverURLs: [String] = {
        let hosts = [
            "a.test", "A.TEST", "ghcr.io", "registry.acme.test:5000", "localhost", "localhost:5000", "a.test:443",
            "a.test:80",
            "a.test:0", "a.test:65536", "a.test:05", "a.test:", "a.test.", ".a.test", "a..test", "-a.test", "a-.test",
            "a_b.test",
            "xn--bcher-kva.test", "bücher.test", "bu\u{308}cher.test", "doc\u{212A}er.io", "a．test",
            "a。test",
            "user@a.test", "user:pw@a.test", "a%2etest", "a%00test", "a.test%", "10.0.0.1", "10.0.0.1:5000", "127.1",
            "2130706433", "0x7f000001", "0177.0.0.1", "1.2.3.4.5", "[::1]", "[::1]:5000", "[::ffff:127.0.0.1]",
            "[fe80::1%25eth0]",
            "::1", "[::1", "docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com",
            "docker.io.evil.test",
            "a.test?x=1", "a.test#x", "a test", "a\ttest", "a\u{1B}[31mtest", "a\u{1}test", "a\u{7F}test",
            "a\u{85}test",
            "a\u{200B}test", "\u{202E}tset.a", "a\"test", "a\\test", "a'test", "<a>&test", "a\u{2028}test", "💥.test",
            "a=b", "a;b", "a|b",
            "*.a.test", "**", "${HOME}", "$(id)", "../../etc/passwd", "{}", "null",
        ]
        return hosts.map { "https://\($0)/v1/" } + hosts + [
            "https://", "http://a.test", "//a.test", "https:/a.test", "ftp://a.test", "a.test//x",
        ]
    }()

    @Test("what one stores the other finds, byte for byte, and both erase")
    func everyServerURL() throws {
        #expect(Self.serverURLs.count >= 120)
        try withKeyringSession(.unlocked) { session in
            for (index, server) in Self.serverURLs.enumerated() {
                let quoted = String(decoding: GoText.quoted(Array(server.utf8)), as: UTF8.self)
                let json = "{\"ServerURL\":\(quoted),\"Username\":\"u\(index)\",\"Secret\":\"s<&>\\u2028é\(index)\"}"
                let isOursFirst = index.isMultiple(of: 2)
                let stored = try isOursFirst ? session.ours("store", json) : session.debians("store", json)
                #expect(stored.status == 0 && stored.output.isEmpty, "\(server): \(stored)")
                let theirs = try session.debians("get", server)
                let ours = try session.ours("get", server + "\n")
                #expect(ours.output == theirs.output, "\(server): \(ours) \(theirs)")
                #expect(ours.status == 0 && ours.words.isEmpty, "\(server)")
            }
            // `list` of 0.6.4 tells the label, which for ours is the server URL too.
            let theirs = try session.debians("list")
            let ours = try session.ours("list")
            #expect(ours.text.matches(of: /":"u\d+"/).count == Self.serverURLs.count)
            #expect(ours.output == theirs.output)
            for (index, server) in Self.serverURLs.enumerated() {
                let erased =
                    try index.isMultiple(of: 3) ? session.debians("erase", server) : session.ours("erase", server)
                #expect(erased.status == 0 && erased.output.isEmpty, "\(server): \(erased)")
                #expect(try session.debians("get", server).text == "credentials not found in native keychain\n")
            }
            #expect(try session.ours("list").text == "{}\n")
            #expect(try session.ours("get", "a.test").text == "credentials not found in native keychain\n")
        }
    }

    @Test("one item is left for a server, whoever stored before")
    func oneItem() throws {
        try withKeyringSession(.unlocked) { session in
            try session.store("a.test", "u1", "s1")
            try session.store("a.test", "u2", "s2")
            #expect(try session.items(of: "a.test") == 2)
            #expect(try session.ours("store", KeyringSession.json("a.test", "u3", "s3")).status == 0)
            #expect(try session.items(of: "a.test") == 1)
            #expect(try session.ours("store", KeyringSession.json("a.test", "u3", "s4")).status == 0)
            #expect(try session.items(of: "a.test") == 1)
            #expect(
                try session.debians("get", "a.test").text == #"{"ServerURL":"a.test","Username":"u3","Secret":"s4"}"#
                    + "\n"
            )
        }
    }

    @Test("an empty secret is stored and then not found")
    func emptySecret() throws {
        try withKeyringSession(.unlocked) { session in
            #expect(try session.ours("store", KeyringSession.json("a.test", "u", "")).status == 0)
            let theirs = try session.debians("get", "a.test")
            let ours = try session.ours("get", "a.test")
            #expect(ours.output == theirs.output && ours.status == theirs.status, "\(ours) \(theirs)")
        }
    }

    @Test("the same registry under another spelling is found, the exact one first")
    func spellings() throws {
        try withKeyringSession(.unlocked) { session in
            try session.store("https://a.test", "u1", "s1")
            #expect(
                try session.ours("get", "A.test:443/v2/").text
                    == #"{"ServerURL":"A.test:443/v2/","Username":"u1","Secret":"s1"}"# + "\n"
            )
            try session.store("a.test", "u2", "s2")
            #expect(try session.ours("get", "https://a.test").text.contains("\"u1\""))
            #expect(try session.ours("get", "a.test").text.contains("\"u2\""))
            for other in ["a.test.evil.test", "evil.test/a.test", "sub.a.test", "a.test:5000", "a.tes"] {
                #expect(try session.ours("get", other).text == "credentials not found in native keychain\n", "\(other)")
            }
            #expect(try session.ours("erase", "a.test").status == 0)
            #expect(try session.ours("list").text == "{}\n")
        }
    }

    @Test("Docker Hub's names are one key, its device tokens are others")
    func dockerHub() throws {
        try withKeyringSession(.unlocked) { session in
            let hub = "https://index.docker.io/v1/"
            try session.store(hub, "u", "password")
            try session.store("\(hub)access-token", "u", "access")
            try session.store("\(hub)refresh-token", "u", "refresh")
            for name in ["docker.io", "index.docker.io", "registry-1.docker.io", hub] {
                #expect(try session.ours("get", name).text.contains("\"password\""), "\(name)")
            }
            #expect(try session.ours("get", "\(hub)refresh-token").text.contains("\"refresh\""))
            #expect(try session.ours("erase", "docker.io").status == 0)
            #expect(try session.ours("get", hub).text == "credentials not found in native keychain\n")
            #expect(try session.ours("get", "docker.io").text == "credentials not found in native keychain\n")
            #expect(try session.ours("list").text == "{\"\(hub)access-token\":\"u\",\"\(hub)refresh-token\":\"u\"}\n")
            #expect(try session.ours("erase", "\(hub)refresh-token").status == 0)
            #expect(try session.ours("list").text == "{\"\(hub)access-token\":\"u\"}\n")
        }
    }

    @Test("items of other programs are left alone")
    func otherPrograms() throws {
        try withKeyringSession(.unlocked) { session in
            let stored = try run(
                "secret-tool",
                [
                    "store", "--label=x", "xdg:schema", "io.docker.Credentials", "label", "CDS Credentials",
                    "docker_cli", "1", "server", "a.test", "username", "cds",
                ],
                input: Array("theirs".utf8),
                environment: session.environment
            )
            #expect(stored.status == 0, "\(stored)")
            #expect(try session.ours("get", "a.test").text == "credentials not found in native keychain\n")
            #expect(try session.ours("list").text == "{}\n")
            #expect(try session.ours("store", KeyringSession.json("a.test", "u", "s")).status == 0)
            #expect(try session.ours("erase", "a.test").status == 0)
            #expect(try session.items(of: "a.test") == 1)
        }
    }

    @Test("32 helpers at once: one item is left, and it is one of theirs")
    func parallel() throws {
        try withKeyringSession(.unlocked) { session in
            let running = try (0..<32).map { index in
                try RunningProgram(
                    Built.helper,
                    ["store"],
                    input: Array(KeyringSession.json("a.test", "u\(index)", "s\(index)").utf8),
                    environment: session.environment
                )
            }
            for program in running {
                let ending = try program.end()
                #expect(ending.status == 0 && ending.output.isEmpty, "\(ending)")
            }
            #expect(try session.items(of: "a.test") == 1)
            let found = try session.ours("get", "a.test")
            let number = try #require(found.text.firstMatch(of: /"u(\d+)"/)?.1)
            #expect(found.text == "{\"ServerURL\":\"a.test\",\"Username\":\"u\(number)\",\"Secret\":\"s\(number)\"}\n")

            let readers = try (0..<32).map { _ in
                try RunningProgram(Built.helper, ["get"], input: Array("a.test".utf8), environment: session.environment)
            }
            for program in readers {
                let ending = try program.end()
                #expect(ending.output == found.output)
            }
        }
    }

    @Test("two people have two keyrings")
    func twoPeople() throws {
        try withKeyringSession(.unlocked) { first in
            try withKeyringSession(.unlocked) { (second: KeyringSession) throws in
                #expect(try first.ours("store", KeyringSession.json("a.test", "first", "s1")).status == 0)
                #expect(try second.ours("get", "a.test").text == "credentials not found in native keychain\n")
                #expect(try second.ours("store", KeyringSession.json("a.test", "second", "s2")).status == 0)
                #expect(try first.ours("get", "a.test").text.contains("\"s1\""))
                #expect(try second.ours("erase", "a.test").status == 0)
                #expect(try first.ours("get", "a.test").text.contains("\"s1\""))
            }
        }
    }
}
