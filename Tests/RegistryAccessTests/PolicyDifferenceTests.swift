import RegistryAccess
import TestSupport
import Testing

struct PolicyDifferenceTests {
    private static func policy(_ registries: String, _ others: String = "") throws -> AccessPolicy {
        try AccessPolicy(
            json: Array(#"{ "version": 1, "organization": "acme"\#(others), "registries": [\#(registries)] }"#.utf8)
        )
    }

    private static let hub = #"{ "address": "docker.io", "allowed": true }"#
    private static let pull = #"{ "address": "ghcr.io", "allowed": true, "actions": ["pull"] }"#
    private static let push = #"{ "address": "ghcr.io", "allowed": true, "actions": ["push"] }"#
    private static let deny = #"{ "address": "ghcr.io", "allowed": false }"#

    @Test(
        arguments: [
            ("", "", [], [], []),
            (hub, hub, [], [], []),
            ("\(hub),\(pull)", "\(pull),\(hub)", [], [], []),
            (hub, "\(hub),\(pull)", [], ["ghcr.io"], []),
            ("\(hub),\(pull)", pull, ["docker.io"], [], []),
            ("\(hub),\(pull)", "\(hub),\(push)", [], [], ["ghcr.io"]),
            (pull, deny, [], [], ["ghcr.io"]),
            // With several rules for an address nobody can say which became which.
            ("\(pull),\(push)", deny, ["ghcr.io", "ghcr.io"], ["ghcr.io"], []),
            ("\(pull),\(push)", "\(push),\(deny)", [], [], ["ghcr.io"]),
            // A rule that stands there twice.
            (pull, "\(pull),\(pull)", [], ["ghcr.io"], []),
            ("\(pull),\(pull)", pull, ["ghcr.io"], [], []),
        ] as [(String, String, [String], [String], [String])]
    )
    func `rules are told apart by their address`(
        _ before: String,
        _ after: String,
        _ removed: [String],
        _ added: [String],
        _ changed: [String]
    ) throws {
        let difference = try PolicyDifference(from: Self.policy(before), to: Self.policy(after))
        #expect(difference.removed.map(\.address.description) == removed)
        #expect(difference.added.map(\.address.description) == added)
        #expect(difference.changed.map(\.after.address.description) == changed)
        #expect(difference.isEmpty == (removed + added + changed).isEmpty)
    }

    @Test
    func `settings are compared, and the version is none`() throws {
        let before = try Self.policy("", #", "contact": "a@b.test""#)
        let text = #"{"version":2,"organization":"acme","mode":"audit","enabled":false,"registries":[]}"#
        let after = try AccessPolicy(json: Array(text.utf8))
        let settings = PolicyDifference(from: before, to: after).settings
        #expect(settings.map(\.name) == ["enabled", "mode", "contact"])
        #expect(settings.map(\.before) == ["true", "enforce", "a@b.test"])
        #expect(settings.map(\.after) == ["false", "audit", nil])
    }

    @Test
    func `a difference and the way back are each other's mirror, and make the one of the other`() throws {
        var random = SeededGenerator(seed: 7)
        let choice = [Self.hub, Self.pull, Self.push, Self.deny, Self.pull.replacing("ghcr.io", with: "quay.io")]
        for _ in 0..<300 {
            func some() -> String {
                (0..<Int.random(in: 0...6, using: &random)).map { _ in choice.randomElement(using: &random) ?? Self.hub
                }
                .joined(separator: ",")
            }
            let (before, after) = (try Self.policy(some()), try Self.policy(some()))
            let (there, back) = (PolicyDifference(from: before, to: after), PolicyDifference(from: after, to: before))
            #expect(Self.counts(there.removed) == Self.counts(back.added))
            #expect(Self.counts(there.added) == Self.counts(back.removed))
            #expect(Self.counts(there.changed.map(\.before)) == Self.counts(back.changed.map(\.after)))
            var made = Self.counts(before.rules)
            for rule in there.removed + there.changed.map(\.before) { made[rule, default: 0] -= 1 }
            for rule in there.added + there.changed.map(\.after) { made[rule, default: 0] += 1 }
            #expect(made.filter { $0.value != 0 } == Self.counts(after.rules))
        }
    }

    private static func counts(_ rules: [RegistryRule]) -> [RegistryRule: Int] {
        Dictionary(rules.map { ($0, 1) }, uniquingKeysWith: +)
    }

    @Test
    func `a policy is what its document says`() throws {
        let rules = """
            \(Self.hub), \(Self.pull), \(Self.deny),
            { "address": "**.acme.test:*", "nickname": "H\u{E4}user", "allowed": true, "repositories": ["a/**", "b"],
              "actions": ["login", "pull"], "insecure": true, "supportHosts": ["blobs.acme.test", "10.0.0.0/8"] },
            { "address": "*.amazonaws.com", "allowed": true, "acknowledgeBroad": true }
            """
        let others =
            #", "enabled": false, "mode": "audit", "contact": "x", "imports": "allow", "unmanagedBuilders": "deny""#
        let policy = try Self.policy(rules, others)
        let again = try AccessPolicy(json: Array(policy.document.text().utf8))
        #expect(again.rules == policy.rules)
        #expect(PolicyDifference(from: policy, to: again).isEmpty)
        #expect(again.document == policy.document)
    }
}
