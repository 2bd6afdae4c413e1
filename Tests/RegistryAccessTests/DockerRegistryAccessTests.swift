import RegistryAccess
import TestSupport
import Testing

struct DockerRegistryAccessTests {
    private static func document(enabled: String = "true", standard: String = "", custom: String = "") -> [UInt8] {
        Array(#"{"enabled":\#(enabled),"standard_registries":[\#(standard)],"custom_registries":[\#(custom)]}"#.utf8)
    }

    private static func custom(_ address: String, _ name: String = "x", allowed: Bool = true) -> String {
        #"{"address":"\#(address)","friendly_name":"\#(name)","allowed":\#(allowed)}"#
    }

    @Test(arguments: [
        ("registry.example.com", "registry.example.com", false), ("https://example.com", "example.com", false),
        ("https://example.com/", "example.com", false), ("http://example.com", "example.com", true),
        ("example.com:5000", "example.com:5000", false), ("example.com:443", "example.com", false),
        ("index.docker.io", "docker.io", false), ("10.1.2.3:5000", "10.1.2.3:5000", false),
        ("[::1]:5000", "[::1]:5000", false),
    ])
    func `an address of Docker's is a rule`(_ address: String, _ expected: String, _ isInsecure: Bool) throws {
        let rule = try #require(DockerRegistryAccess(json: Self.document(custom: Self.custom(address))).rules.first)
        #expect(rule.address.description == expected)
        #expect(rule.isInsecure == isInsecure)
        #expect(rule.isAllowed && rule.nickname == "x")
    }

    @Test(arguments: [
        "", "*.example.com", "**", "10.0.0.0/8", "example.com:*", "https://", "https://example.com/path",
        "https://https://example.com", "ftp://example.com", "user@example.com", "example.com.", "exa mple.com",
        "https://example.com//", "127.1",
    ])
    func `what is no address is a fault at its place`(_ address: String) throws {
        let json = Self.document(custom: Self.custom(address))
        let error = try #require(throws: InvalidDockerDocument.self) { try DockerRegistryAccess(json: json) }
        let column = String(decoding: json, as: UTF8.self).utf8.count - Self.custom(address).utf8.count - 2
        #expect(error.faults.count == 1)
        #expect(error.faults.first?.column == column + #"{"address":"#.utf8.count + 1)
    }

    @Test
    func `all faults are named at once`() throws {
        let json = Self.document(
            standard: #"{"id":"Quay","allowed":true},{"id":"DockerHub"},{"id":"DockerHub","allowed":true},"#
                + #"{"id":"DockerHub","allowed":false}"#,
            custom: #"\#(Self.custom("a b")),{"allowed":true},{"address":"a.test"}"#
        )
        let error = try #require(throws: InvalidDockerDocument.self) { try DockerRegistryAccess(json: json) }
        #expect(
            error.faults.map(\.message) == [
                "the only standard registry is \"DockerHub\"", "the key \"allowed\" is missing from this registry",
                "\"DockerHub\" is there twice",
                "bad address \"a b\": the registry address holds a character that no host name has",
                "the key \"address\" is missing from this registry",
                "the key \"allowed\" is missing from this registry",
            ]
        )
    }

    @Test(
        "a value of the wrong type hides no other fault",
        arguments: [
            (
                #"{"enabled":true,"standard_registries":[{"id":"DockerHubb","allowed":true}],"custom_registries":["#
                    + #"{"address":"b..io","friendly_name":"B","allowed":true},"#
                    + #"{"address":"c..io","friendly_name":"C","allowed":true},"#
                    + #"{"address":"ghcr.io","friendly_name":"G","allowed":"no"}]}"#,
                [
                    (40, "the only standard registry is \"DockerHub\""), (108, "bad address \"b..io\""),
                    (163, "bad address \"c..io\""), (258, "expected true or false"),
                ]
            ),
            (
                #"{"enabled":"yes","custom_registries":{},"standard_registries":3}"#,
                [(12, "expected true or false"), (38, "expected a list"), (63, "expected a list")]
            ),
            (
                #"{"custom_registries":[1,{"address":2,"allowed":null,"friendly_name":{"a":1,"a":[]}},{"allowed":1}]}"#,
                [
                    (23, "expected an object"), (36, "expected a text"), (48, "expected true or false"),
                    (69, "expected a text"), (85, "the key \"address\" is missing"), (96, "expected true or false"),
                ]
            ),
            (
                #"{"other":{"x":[]},"custom_registries":[{"adress":"a.test"},{"address":"a.test","address":"b.test"}]}"#,
                [
                    (2, "unknown key \"other\""), (40, "the key \"address\" is missing"),
                    (40, "the key \"allowed\" is missing"), (41, "unknown key \"adress\""),
                    (60, "the key \"allowed\" is missing"), (80, "the key \"address\" comes twice"),
                ]
            ),
            (
                #"{"standard_registries":[{},{"id":1,"allowed":true},{"id":"DockerHub","allowed":0},["DockerHub"]]}"#,
                [
                    (25, "the only standard registry"), (25, "the key \"allowed\" is missing"), (34, "expected a text"),
                    (80, "expected true or false"), (83, "expected an object"),
                ]
            ),
            (
                #"{"enabled":1,"custom_registries":[2,{"address":"a b","allowed":tru}]}"#,
                [
                    (12, "expected true or false"), (35, "expected an object"), (48, "bad address \"a b\""),
                    (64, "expected a value"),
                ]
            ),
            (
                #"{"enabled":1,"custom_registries":[[[[[[[[[[]]]]]]]]]]}"#,
                [(12, "expected true or false"), (41, "the document nests deeper than 8 levels")]
            ),
            (#"{"enabled":1} {}"#, [(12, "expected true or false"), (15, "there is something after the end")]),
        ] as [(String, [(Int, String)])]
    )
    func faultsAfterFaults(_ json: String, _ expected: [(column: Int, message: String)]) throws {
        let error = try #require(throws: InvalidDockerDocument.self) {
            try DockerRegistryAccess(json: Array(json.utf8))
        }
        #expect(error.faults.map(\.column) == expected.map(\.column), "\(error)")
        for (fault, expected) in zip(error.faults, expected) {
            #expect(fault.line == 1 && fault.message.hasPrefix(expected.message), "\(fault)")
        }
    }

    @Test
    func `a document of faults is left soon`() throws {
        let custom = Array(repeating: #"{"address":1,"x":2}"#, count: 200_000).joined(separator: ",")
        let json = Self.document(enabled: "0", custom: custom)
        let error = try #require(throws: InvalidDockerDocument.self) { try DockerRegistryAccess(json: json) }
        #expect(error.faults.count == 100)
    }

    @Test(arguments: [
        "", "[]", "{", #"{"enabled":true,"enabled":true}"#, #"{"enabled":1}"#, #"{"other":1}"#,
        #"{"standard_registries":{}}"#, #"{"custom_registries":[1]}"#, "{} {}",
    ])
    func `what is no such document is refused`(_ text: String) {
        #expect(throws: InvalidDockerDocument.self) { try DockerRegistryAccess(json: Array(text.utf8)) }
    }

    @Test
    func `a document comes back as it went`() throws {
        let json = Self.document(
            enabled: "false",
            standard: #"{"id":"DockerHub","allowed":false}"#,
            custom: "\(Self.custom("a.test")),\(Self.custom("b.test:5000", "B", allowed: false))"
        )
        let settings = try DockerRegistryAccess(json: json)
        let policy = AccessPolicy(version: 1, organization: "a", isEnabled: settings.isEnabled, rules: settings.rules)
        let (document, losses) = DockerRegistryAccess.export(policy)
        #expect(document.text() == String(decoding: json, as: UTF8.self))
        #expect(losses.isEmpty)
    }

    @Test
    func `what is exported opens nothing that the policy does not`() throws {
        var random = SeededGenerator(seed: 11)
        let addresses = ["docker.io", "a.test", "b.a.test", "*.a.test", "**.test", "a.test:5000", "c.test"]
        let limits = ["", #","actions":["pull"]"#, #","repositories":["x/**"]"#]
        for _ in 0..<500 {
            let rules = (0..<Int.random(in: 1...6, using: &random)).map { _ in
                let address = addresses.randomElement(using: &random) ?? ""
                let limit = limits.randomElement(using: &random) ?? ""
                return
                    #"{"address":"\#(address)","allowed":\#(Bool.random(using: &random))\#(limit),"acknowledgeBroad":true}"#
            }
            let text = #"{"version":1,"organization":"a","registries":[\#(rules.joined(separator: ","))]}"#
            let policy = try AccessPolicy(json: Array(text.utf8))
            let document = DockerRegistryAccess.export(policy).document.text()
            for rule in try DockerRegistryAccess(json: Array(document.utf8)).rules where rule.isAllowed {
                let address = try RegistryAddress(rule.address.description)
                for action in RegistryAction.allCases {
                    for repository in [nil, "x/y", "z"] {
                        let request = AccessRequest(action, address, repository: repository)
                        #expect(policy.verdict(on: request).isAllowed, "\(address) \(action): \(text)")
                    }
                }
            }
        }
    }
}
