import RegistryAccess
import TestSupport
import Testing

/// What becomes of a policy when a document of Docker's is put over it.
struct DockerRegistryAccessPolicyTests {
    private static func policy(_ rules: String, isEnabled: Bool = true) throws -> AccessPolicy {
        let settings =
            #""version":3,"organization":"a","enabled":\#(isEnabled),"mode":"audit","contact":"ops","imports":"allow""#
        return try AccessPolicy(
            json: Array("{\(settings),\"unmanagedBuilders\":\"deny\",\"registries\":[\(rules)]}".utf8)
        )
    }

    /// A short form: `address`, `-` before one that is denied, and members behind a space.
    private static func rules(_ texts: [String]) -> String {
        texts.map { text in
            let parts = text.split(separator: " ", maxSplits: 1)
            let isAllowed = !text.hasPrefix("-")
            let address = parts[0].drop { $0 == "-" }
            let members = parts.count > 1 ? ",\(parts[1])" : ""
            return #"{"address":"\#(address)","allowed":\#(isAllowed),"acknowledgeBroad":true\#(members)}"#
        }.joined(separator: ",")
    }

    /// `hub`, `-hub` and registries in the same short form.
    private static func document(_ entries: [String], enabled: Bool = true) throws -> DockerRegistryAccess {
        func list(_ entries: [String], _ member: (Substring) -> String) -> String {
            entries.map { entry in
                let parts = entry.split(separator: " ", maxSplits: 1)
                let members = parts.count > 1 ? ",\(parts[1])" : ""
                return "{\(member(parts[0].drop { $0 == "-" })),\"allowed\":\(!entry.hasPrefix("-"))\(members)}"
            }.joined(separator: ",")
        }
        let hub = list(entries.filter { $0.hasSuffix("hub") }) { _ in #""id":"DockerHub""# }
        let custom = list(entries.filter { !$0.hasSuffix("hub") }) { #""address":"\#($0)""# }
        let text = #"{"enabled":\#(enabled),"standard_registries":[\#(hub)],"custom_registries":[\#(custom)]}"#
        return try DockerRegistryAccess(json: Array(text.utf8))
    }

    private static let pull = #""actions":["pull"]"#
    private static let some = #""repositories":["x/**"]"#

    /// Policies with whatever Docker's form can and cannot show.
    private static let policies: [[String]] = [
        [], ["docker.io"], ["-docker.io"], ["docker.io \(pull)"], ["docker.io", "docker.io \(pull)"],
        ["docker.io", "-docker.io \(some)"], ["**"], ["-**", "docker.io", "a.test"], ["**", "-docker.io"],
        ["a.test \(pull)"], ["a.test \(some)"], ["a.test", "a.test \(pull)"], ["a.test \(pull)", "a.test \(some)"],
        ["a.test \(pull)", "a.test"], ["a.test", "-a.test \(some)"], ["-a.test \(pull)"],
        ["a.test \(pull)", "-a.test"],
        ["*.a.test", "-b.a.test"], ["*.a.test", "b.a.test"], ["-*.a.test", "b.a.test", "*.a.test \(pull)"],
        ["10.0.0.0/8", "10.1.2.3:5000", "-10.1.2.4"], ["[::1]:5000", "[2001:db8::]/32"],
        ["a.test:5000", "a.test:*", "-a.test", "a.test:5001 \(some)"],
        [#"a.test "insecure":true"#, #"b.test "insecure":true,\#(pull)"#],
        [#"a.test "supportHosts":["b.a.test"]"#, "-b.a.test", #"c.test \#(pull),"supportHosts":["*.c.test"]"#],
        [#"a.test "nickname":"A""#, #"b.test "nickname":"""#, #"c.test "nickname":"c.test""#, "d.test"],
        ["a.test", #"a.test "nickname":"A""#, #"a.test "nickname":"B""#], ["a.test", "a.test", "-b.test", "-b.test"],
        ["ghcr.io", "-pkg-containers.githubusercontent.com"], ["**.data.azurecr.io", "-evil.azurecr.io"],
    ]

    @Test(arguments: policies)
    func `a document that is fetched and put back changes nothing`(_ rules: [String]) throws {
        for isEnabled in [true, false] {
            let policy = try Self.policy(Self.rules(rules), isEnabled: isEnabled)
            let text = DockerRegistryAccess.export(policy).document.text()
            let after = try DockerRegistryAccess(json: Array(text.utf8)).policy(after: policy, teams: [:])
            #expect(after.document == policy.document)
        }
    }

    @Test(
        "a document changes what it says otherwise, and nothing else",
        arguments: [
            // What is not shown stays.
            (
                ["docker.io", "*.acme.test", "ghcr.io \(pull)", "quay.io", "-*.evil.test"], ["hub"],
                ["docker.io", "*.acme.test", "ghcr.io \(pull)", "-*.evil.test"]
            ),
            (
                ["docker.io \(pull)", "a.test \(some)", "a.test:*", "10.0.0.0/8"], [],
                ["docker.io \(pull)", "a.test \(some)", "a.test:*", "10.0.0.0/8"]
            ),
            (
                ["a.test", "b.test", "c.test \(pull)"], ["-hub", "a.test", "d.test"],
                ["a.test", "c.test \(pull)", "d.test"]
            ),
            // Of an address that is shown, all its rules go.
            (["a.test", "a.test \(pull)", "b.test"], ["-hub", "b.test"], ["b.test"]),
            (["a.test", "-a.test \(some)"], ["-hub"], []),
            (["a.test:5000", "a.test"], ["a.test"], ["a.test"]),
            // Docker Hub.
            (["docker.io", "a.test \(pull)"], ["-hub"], ["-docker.io", "a.test \(pull)"]),
            (["docker.io"], [], []), (["-docker.io"], [], []), (["**", "-docker.io"], [], ["**", "-docker.io"]),
            ([], ["-hub"], []), ([], ["hub"], ["docker.io"]), (["docker.io \(pull)"], ["-hub"], ["docker.io \(pull)"]),
            (["docker.io \(pull)"], ["hub"], ["docker.io"]), (["-docker.io"], ["hub"], ["docker.io"]),
            // What is not shown, and then listed, is what the document says.
            (["a.test \(pull)", "b.test \(some)"], ["-hub", "a.test", "-b.test"], ["a.test", "-b.test"]),
            // Changed both ways.
            (
                ["a.test", "-b.test", "c.test"], ["-hub", "-a.test", "b.test", "c.test"],
                ["-a.test", "b.test", "c.test"]
            ),
            (["a.test", "-a.test \(some)"], ["-hub", "a.test"], ["a.test"]),
            // Who says both says no.
            (["a.test"], ["-hub", "a.test", "-a.test"], ["a.test", "-a.test"]),
            // Details.
            (
                [#"a.test "insecure":true"#, "b.test"], ["a.test", "http://b.test"],
                [#"a.test "insecure":true"#, #"b.test "insecure":true"#]
            ),
            (
                [#"a.test "supportHosts":["s.test"],"nickname":"A""#], [#"a.test "friendly_name":"B""#],
                [#"a.test "supportHosts":["s.test"],"nickname":"B""#]
            ),
            (
                ["a.test", #"a.test \#(pull),"nickname":"A""#], [#"a.test "friendly_name":"B""#],
                ["a.test", #"a.test \#(pull),"nickname":"B""#]
            ),
            // A denial goes where nothing is open without it.
            (["a.test \(pull)", "-b.test"], ["-hub"], ["a.test \(pull)"]),
            (["*.a.test", "-b.a.test:5000", "-c.b.a.test"], ["-hub"], ["*.a.test"]),
            (["-a.test", "-*.evil.test"], ["-hub"], ["-*.evil.test"]),
            (["mcr.microsoft.com", "*.a.test", "-quay.io"], ["mcr.microsoft.com"], ["mcr.microsoft.com", "*.a.test"]),
            // And stays where something is.
            (["*.a.test", "-b.a.test", "-b.test"], ["-hub"], ["*.a.test", "-b.a.test"]),
            (["*.a.test \(pull)", "-b.a.test \(some)"], ["-hub"], ["*.a.test \(pull)", "-b.a.test \(some)"]),
            (["**.test", "a.test", "-a.test \(pull)"], ["-hub"], ["**.test", "-a.test \(pull)"]),
            (["10.0.0.0/8", "-10.1.2.3"], [], ["10.0.0.0/8", "-10.1.2.3"]),
            (["a.test:*", "-a.test:5000"], [], ["a.test:*", "-a.test:5000"]),
            (
                [#"a.test \#(pull),"supportHosts":["s.test"]"#, "-s.test"], [],
                [#"a.test \#(pull),"supportHosts":["s.test"]"#, "-s.test"]
            ),
            (
                ["ghcr.io \(pull)", "-pkg-containers.githubusercontent.com"], [],
                ["ghcr.io \(pull)", "-pkg-containers.githubusercontent.com"]
            ),
            (["**.data.azurecr.io", "-evil.azurecr.io"], [], ["**.data.azurecr.io", "-evil.azurecr.io"]),
            (["*.eastus.data.azurecr.io", "-evil.azurecr.io"], [], ["*.eastus.data.azurecr.io", "-evil.azurecr.io"]),
            (
                ["**.data.azurecr.io", "-evil.eastus.data.azurecr.io"], ["-evil.azurecr.io"],
                ["**.data.azurecr.io", "-evil.eastus.data.azurecr.io", "-evil.azurecr.io"]
            ),
        ] as [([String], [String], [String])]
    )
    func changes(_ before: [String], _ document: [String], _ expected: [String]) throws {
        let current = try Self.policy(Self.rules(before))
        let after = try Self.document(document).policy(after: current, teams: [:])
        // Rules that come with a document need no acknowledgement, and have a name if it gives one.
        func plain(_ policy: AccessPolicy) -> [String] {
            policy.rules.map { rule in
                let name = rule.nickname == "Docker Hub" ? nil : rule.nickname
                return RegistryRule(
                    address: rule.address,
                    nickname: name,
                    isAllowed: rule.isAllowed,
                    actions: rule.actions,
                    repositories: rule.repositories,
                    isInsecure: rule.isInsecure,
                    supportHosts: rule.supportHosts
                ).document.text()
            }
        }
        #expect(plain(after) == plain(try Self.policy(Self.rules(expected))))
        #expect(after.mode == .audit && after.contact == "ops" && after.imports == .allow)
        #expect(after.version == 3 && after.unmanagedBuilders == .deny)
    }

    @Test
    func `a denial that shuts something for a team stays`() throws {
        let current = try Self.policy(Self.rules(["-a.test", "-b.test", "-c.test"]))
        let additions = try Self.policy(Self.rules(["a.test \(Self.pull)", "-b.test"])).rules
        let after = try Self.document([]).policy(after: current, teams: ["backend": additions])
        #expect(after.rules.map(\.address.description) == ["a.test"])
    }

    @Test
    func `a denial stays that was put off with the policy`() throws {
        let current = try Self.policy(Self.rules(["*.a.test", "-b.a.test"]))
        let off = try Self.document(["hub"], enabled: false).policy(after: current, teams: [:])
        let on = try Self.document(["hub"]).policy(after: off, teams: [:])
        let request = AccessRequest(.pull, try RegistryAddress("b.a.test"))
        #expect(!off.isEnabled && on.isEnabled)
        #expect(on.verdict(on: request).reason == .deniedByRule)
    }

    @Test
    func `nothing becomes allowed that was not, unless the document allows it`() throws {
        var random = SeededGenerator(seed: 29)
        let patterns = [
            "docker.io", "a.test", "b.a.test", "*.a.test", "**.test", "a.test:5000", "a.test:*", "evil.azurecr.io",
            "**.azurecr.io", "*.eastus.data.azurecr.io", "ghcr.io", "pkg-containers.githubusercontent.com", "**",
            "10.1.2.3", "10.0.0.0/8",
        ]
        let exact = patterns.filter { !$0.contains("*") && !$0.contains("/") }
        let targets = try (exact + ["evil.eastus.data.azurecr.io", "auth.docker.io"]).map { try RegistryAddress($0) }
        let limits = ["", "", Self.pull, Self.some, #""supportHosts":["b.a.test"]"#]
        func someRules(_ count: ClosedRange<Int>) throws -> [RegistryRule] {
            let texts = (0..<Int.random(in: count, using: &random)).map { _ in
                let sign = Bool.random(using: &random) ? "-" : ""
                let address = patterns.randomElement(using: &random) ?? ""
                return "\(sign)\(address) \(limits.randomElement(using: &random) ?? "")"
            }
            return try Self.policy(Self.rules(texts)).rules
        }
        for _ in 0..<300 {
            let current = AccessPolicy(version: 1, organization: "a", rules: try someRules(1...7))
            let team = try someRules(0...2)
            let shown = DockerRegistryAccess.export(current).document.value(named: "custom_registries")?.elements ?? []
            var entries = shown.compactMap { entry -> String? in
                let address = entry.value(named: "address")?.text ?? ""
                let isAllowed = entry.value(named: "allowed") == .bool(true)
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<5: return nil
                case 5: return isAllowed ? "-\(address)" : address
                default: return isAllowed ? address : "-\(address)"
                }
            }
            entries += [["hub"], ["-hub"], [], ["ghcr.io"], ["-a.test"]].randomElement(using: &random) ?? []
            let document = try Self.document(entries)
            let after = document.policy(after: current, teams: ["backend": team])
            let alone = AccessPolicy(version: 1, organization: "a", rules: document.rules)
            // With a registry come the hosts that it sends its clients to.
            let opened = AccessPolicy(version: 1, organization: "a", rules: document.rules.filter(\.isAllowed))
            for additions in [[], team] {
                func all(_ policy: AccessPolicy) -> AccessPolicy {
                    AccessPolicy(version: 1, organization: "a", rules: policy.rules + additions)
                }
                let (old, new) = (all(current), all(after))
                for target in targets {
                    let words = "\(target), \(entries): \(old.document.text()) -> \(new.document.text())"
                    if new.verdict(onReaching: target).isAllowed {
                        let (was, says) = (old.verdict(onReaching: target), opened.verdict(onReaching: target))
                        #expect(was.isAllowed || says.isAllowed, "reaching \(words)")
                    }
                    for action in RegistryAction.allCases {
                        for repository in [nil, "x/y", "z"] {
                            let request = AccessRequest(action, target, repository: repository)
                            guard new.verdict(on: request).isAllowed else { continue }
                            let (was, says) = (old.verdict(on: request), alone.verdict(on: request))
                            #expect(was.isAllowed || says.isAllowed, "\(action) \(repository ?? "") \(words)")
                        }
                    }
                }
            }
        }
    }
}
