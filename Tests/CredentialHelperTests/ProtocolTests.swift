import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

@testable import CredentialHelper

/// The protocol of docker-credential-helpers, `credentials/credentials.go` and `credentials/error.go`.
struct ProtocolTests {
    private let environment = ["PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "DOCKER_RAM_ROOT": "/nonexistent"]

    @Test(
        "the command line",
        arguments: [
            ([], 1, "Usage: docker-credential-ram <store|get|erase|list|version>\n"),
            (["get", "x"], 1, "Usage: docker-credential-ram <store|get|erase|list|version>\n"),
            (["--help"], 0, "Usage: docker-credential-ram <store|get|erase|list|version>\n"),
            (["-h"], 0, "Usage: docker-credential-ram <store|get|erase|list|version>\n"),
            (["--version"], 0, "docker-credential-ram (docker-ram) v0.1.0\n"),
            (["-v"], 0, "docker-credential-ram (docker-ram) v0.1.0\n"),
            (["version"], 0, "docker-credential-ram (docker-ram) v0.1.0\n"),
            (["foo"], 1, "docker-credential-ram: unknown action: foo\n"),
            (["GET"], 1, "docker-credential-ram: unknown action: GET\n"),
            ([""], 1, "docker-credential-ram: unknown action: \n"),
            (["help"], 1, "docker-credential-ram: unknown action: help\n"),
        ] as [([String], CInt, String)]
    )
    func commandLine(arguments: [String], status: CInt, output: String) throws {
        let ending = try run(Built.helper, arguments, environment: environment)
        #expect(ending.text == output)
        #expect(ending.status == status)
        #expect(ending.words.isEmpty)
    }

    @Test("input that holds nothing", arguments: ["", "\n", " \t\r\n", "\u{A0}\u{3000}\n", "\n\n\n", "\u{2028}"])
    func emptyInput(input: String) throws {
        for action in ["get", "erase"] {
            let ending = try run(Built.helper, [action], input: Array(input.utf8), environment: environment)
            #expect(ending.text == "no credentials server URL\n")
            #expect(ending.status == 1)
            #expect(ending.words.isEmpty)
        }
    }

    @Test(
        "credentials that cannot be stored",
        arguments: [
            ("{}", "no credentials server URL\n"),
            ("null", nil),
            (#"{"Username":"u","Secret":"s"}"#, "no credentials server URL\n"),
            (#"{"ServerURL":"","Username":"u","Secret":"s"}"#, "no credentials server URL\n"),
            (#"{"ServerURL":null,"Username":"u","Secret":"s"}"#, "no credentials server URL\n"),
            (#"{"ServerURL":"a.test","Secret":"s"}"#, "no credentials username\n"),
            (#"{"ServerURL":"a.test","Username":"","Secret":"s"}"#, "no credentials username\n"),
            (#"{"ServerURL":"a\u0000b","Username":"u","Secret":"s"}"#, nil),
            (#"{"ServerURL":"a","Username":"u\u0000","Secret":"s"}"#, nil),
            (#"{"ServerURL":5,"Username":"u","Secret":"s"}"#, nil),
            (#"{"ServerURL":"a.test","serverurl":"b.test","Username":"u","Secret":"s"}"#, nil),
            (#"{"ServerURL":"a.test","Username":"u","Secret":"s"} x"#, nil),
            (#"{"ServerURL":"a.test","Username":"u","Secret":"s""#, nil),
            (#"["a.test"]"#, nil), ("x", nil), ("", nil), ("\u{FEFF}{}", nil),
        ] as [(String, String?)]
    )
    func refusedCredentials(input: String, output: String?) throws {
        let ending = try run(Built.helper, ["store"], input: Array(input.utf8), environment: environment)
        if let output {
            #expect(ending.text == output)
        } else {
            #expect(!ending.text.isEmpty && !ending.text.contains("\"s\""), "\(ending)")
            #expect(ending.text.utf8.dropLast().allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "\(ending)")
        }
        #expect(ending.status == 1)
        #expect(ending.words.isEmpty)
    }

    @Test(
        "input that is too long",
        arguments: [("get", 1 << 20), ("erase", 1 << 20), ("store", 2 << 20), ("get", 20 << 20)]
    )
    func longInput(action: String, count: Int) throws {
        let input = [UInt8](repeating: UInt8(ascii: "a"), count: count)
        let ending = try run(Built.helper, [action], input: input, environment: environment)
        #expect(ending.status == 1)
        #expect(ending.text.contains("longer than"))
        #expect(ending.text.count < 100)
    }

    @Test("a closed standard input is an empty one")
    func closedInput() throws {
        let ending = try run("sh", ["-c", "\"$0\" get <&-", Built.helper], environment: environment)
        #expect(ending.text == "no credentials server URL\n")
    }

    @Test("keys of what is stored are read in any case, others are passed over")
    func foldedKeys() throws {
        let credentials = try Credentials(
            json: Array(#"{"serverurl":"a.test","USERNAME":"u","\u017fecret":"s","extra":[1]}"#.utf8)
        )
        #expect(credentials == Credentials(serverURL: "a.test", username: "u", secret: Secret(Array("s".utf8))))
    }

    @Test(
        "JSON as Go writes it",
        arguments: [
            ("", #""""#), ("a", #""a""#), ("<>&", #""\u003c\u003e\u0026""#), ("\"\\/", #""\"\\/""#),
            ("\n\r\t", #""\n\r\t""#), ("\u{8}\u{C}", #""\b\f""#), ("\u{0}\u{1F}\u{1B}", #""\u0000\u001f\u001b""#),
            ("\u{7F}", "\"\u{7F}\""), ("\u{2028}\u{2029}", #""\u2028\u2029""#),
            ("\u{2027}\u{202A}", "\"\u{2027}\u{202A}\""),
            ("é", "\"é\""), ("💥", "\"💥\""), ("\u{FFFD}", "\"\u{FFFD}\""), ("k\u{212A}", "\"k\u{212A}\""),
        ]
    )
    func quoted(text: String, json: String) {
        #expect(GoText.quoted(Array(text.utf8)) == Array(json.utf8))
    }

    @Test("what is written reads back as the same text", arguments: 0..<20)
    func quotedTexts(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            var text = String.UnicodeScalarView()
            for _ in 0..<Int.random(in: 0..<40, using: &generator) {
                let limit: UInt32 = [0x80, 0x800, 0x3000, 0x110000].randomElement(using: &generator) ?? 0x80
                if let scalar = Unicode.Scalar(UInt32.random(in: 0..<limit, using: &generator)) { text.append(scalar) }
            }
            let quoted = GoText.quoted(Array(String(text).utf8))
            let read = try StrictJSON.parse(quoted).text
            #expect(read.map { Array($0.utf8) } == Array(String(text).utf8))
            #expect(quoted == Array(JSONValue.string(String(text)).text().utf8))
        }
    }

    @Test("no bytes make it write what cannot be read", arguments: 0..<20)
    func quotedBytes(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            let bytes = (0..<Int.random(in: 0..<40, using: &generator)).map { _ in
                UInt8.random(in: .min ... .max, using: &generator)
            }
            #expect(throws: Never.self) { try StrictJSON.parse(GoText.quoted(bytes)) }
            #expect((GoText.validated(bytes) != nil) == (String(validating: bytes, as: UTF8.self) != nil))
            #expect(GoText.trimmed(bytes[...]).count <= bytes.count)
        }
    }

    @Test(
        "what is not UTF-8 becomes one replacement for each byte",
        arguments: [
            ([0xFF], #""\ufffd""#), ([0x61, 0xC3], #""a\ufffd""#), ([0xE2, 0x80], #""\ufffd\ufffd""#),
            ([0xC0, 0x80], #""\ufffd\ufffd""#), ([0xED, 0xA0, 0x80], #""\ufffd\ufffd\ufffd""#),
            ([0xF4, 0x90, 0x80, 0x80], #""\ufffd\ufffd\ufffd\ufffd""#),
            ([0xF0, 0x9F, 0x92, 0x41], #""\ufffd\ufffd\ufffdA""#),
        ] as [([UInt8], String)]
    )
    func faultyText(bytes: [UInt8], json: String) {
        #expect(GoText.quoted(bytes) == Array(json.utf8))
        #expect(GoText.validated(bytes) == nil)
    }

    @Test(
        "input is put together and trimmed as Go does it",
        arguments: [
            ("a.test", "a.test"), ("a.test\n", "a.test"), ("a.test\r\n", "a.test"), (" \t a.test \n", "a.test"),
            ("a.\ntest\n", "a.test"), ("a\r\nb", "ab"), ("a\rb\n", "a\rb"), ("\u{A0}a b\u{2003}", "a b"),
            ("a\u{85}", "a"),
            ("\u{200B}a", "\u{200B}a"), ("\u{FEFF}a", "\u{FEFF}a"), ("a\n\n\nb", "ab"),
        ]
    )
    func trimmed(input: String, text: String) {
        #expect(GoText.joinedAndTrimmed(Array(input.utf8)) == Array(text.utf8))
    }

    @Test("whatever prints a secret prints that it is one")
    func redaction() {
        let credentials = Credentials(serverURL: "a.test", username: "u", secret: Secret(Array("hunter2".utf8)))
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), dumped, "\(credentials.secret)"] {
            #expect(text.contains("redacted") || !text.contains("ecret"))
            #expect(!text.contains("hunter2") && !text.contains("104"))
        }
    }

    @Test("a list is sorted by server")
    func list() {
        var list = CredentialList()
        #expect(list.json == Array("{}\n".utf8))
        list.add(server: "b.test", username: "<b>")
        list.add(server: "B.test", username: "x")
        list.add(server: "https://a.test", username: "a")
        list.add(server: "b.test", username: "older")
        #expect(list.json == Array(#"{"B.test":"x","b.test":"\u003cb\u003e","https://a.test":"a"}"#.utf8) + [0x0A])
    }
}

/// Which server URLs are the same key.
struct ServerKeyTests {
    @Test(
        "the same key",
        arguments: [
            [
                "a.test", "A.test", "https://a.test", "http://a.test", "https://a.test/", "https://a.test/v2/",
                "a.test:443", "HTTPS://a.test:443/x",
            ],
            ["a.test:5000", "https://a.test:5000/v1/", "http://A.TEST:5000"],
            [
                "docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io",
                "https://registry.hub.docker.com",
            ],
            ["https://index.docker.io/v1/access-token", "docker.io/access-token"],
            ["https://index.docker.io/v1/refresh-token", "index.docker.io/v1/refresh-token"],
            ["10.0.0.1:5000", "http://10.0.0.1:5000"], ["[::1]:5000", "http://[0:0:0:0:0:0:0:1]:5000/"],
        ]
    )
    func same(spellings: [String]) throws {
        let key = try #require(ServerKey(spellings[0]))
        for spelling in spellings { #expect(ServerKey(spelling) == key, "\(spelling)") }
        for spelling in key.spellings { #expect(ServerKey(spelling) == key, "\(spelling)") }
    }

    @Test(
        "different keys",
        arguments: [
            ("a.test", "b.test"), ("a.test", "a.test.evil.test"), ("a.test", "evil-a.test"), ("a.test", "sub.a.test"),
            ("a.test", "a.test:5000"), ("a.test:80", "a.test"), ("docker.io", "docker.io:5000"),
            ("docker.io", "hub.docker.io"),
            ("docker.io", "docker.io.evil.test"), ("docker.io", "evil.test/docker.io"),
            ("https://index.docker.io/v1/", "https://index.docker.io/v1/refresh-token"),
            ("https://index.docker.io/v1/", "https://index.docker.io/v1/access-token"),
            ("https://index.docker.io/v1/access-token", "https://index.docker.io/v1/refresh-token"),
        ]
    )
    func different(first: String, second: String) {
        #expect(ServerKey(first) != ServerKey(second))
    }

    @Test(
        "no key",
        arguments: ["", "a b", "user@a.test", "a_b.test", "a%2etest", "a.test.", "https://", "é.test", "127.1", "a:0"]
    )
    func none(text: String) {
        #expect(ServerKey(text) == nil)
    }
}
