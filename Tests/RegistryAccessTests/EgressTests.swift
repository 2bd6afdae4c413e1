import TestSupport
import Testing

@testable import RegistryAccess

struct EgressTests {
    private static func policy(_ rules: String, mode: String = "enforce") throws -> AccessPolicy {
        let registries = rules.split(separator: " ").map { rule in
            // +pattern allows, -pattern denies, =host is a supportHosts entry of the rule before it.
            let parts = rule.dropFirst().split(separator: "=", maxSplits: 1)
            let support = parts.count > 1 ? #","supportHosts":["\#(parts[1])"]"# : ""
            return
                #"{"address":"\#(parts[0])","allowed":\#(rule.first == "+"),"acknowledgeBroad":true\#(support)}"#
        }
        return try AccessPolicy(
            json: Array(
                #"{"version":1,"organization":"acme","mode":"\#(mode)","registries":[\#(registries.joined(separator: ","))]}"#
                    .utf8
            )
        )
    }

    private static let ecrBucket = "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com"

    @Test(
        "Hosts that an allowed registry sends its clients to are open, and no others",
        arguments: [
            // Docker Hub under all its names.
            ("+docker.io", "docker.io", "rule 1"), ("+docker.io", "registry-1.docker.io", "rule 1"),
            ("+docker.io", "auth.docker.io", "support-host 1"),
            ("+docker.io", "production.cloudflare.docker.com", "support-host 1"),
            ("+docker.io", "auth.docker.io:80", "no-rule"), ("+docker.io", "auth.docker.io.evil.test", "no-rule"),
            ("+docker.io", "evil.docker.io", "no-rule"), ("+docker.io", "r2.cloudflarestorage.com", "no-rule"),
            ("+docker.io", "evil.r2.cloudflarestorage.com", "no-rule"),
            ("+docker.io:5000", "auth.docker.io", "no-rule"), ("+docker.io:*", "auth.docker.io", "support-host 1"),
            ("+ghcr.io -docker.io", "auth.docker.io", "no-rule"),
            ("+ghcr.io", "pkg-containers.githubusercontent.com", "support-host 1"),
            ("+ghcr.io", "raw.githubusercontent.com", "no-rule"),
            ("", "auth.docker.io", "no-rule"),

            // One account, a region, all regions, and buckets that an attacker rents.
            ("+1.dkr.ecr.eu-west-1.amazonaws.com", ecrBucket, "support-host 1"),
            ("+1.dkr.ecr.eu-west-1.amazonaws.com", "api.ecr.eu-west-1.amazonaws.com", "support-host 1"),
            ("+1.dkr.ecr.us-east-1.amazonaws.com", ecrBucket, "no-rule"),
            ("+**.dkr.ecr.eu-west-1.amazonaws.com", ecrBucket, "support-host 1"),
            ("+*.dkr.ecr.eu-west-1.amazonaws.com", ecrBucket, "support-host 1"),
            ("+**.dkr.ecr.us-east-1.amazonaws.com", ecrBucket, "no-rule"),
            ("+**.dkr.ecr.eu-west-1.amazonaws.com:5000", ecrBucket, "no-rule"),
            ("+**.amazonaws.com", ecrBucket, "rule 1"),
            (
                "+**.dkr.ecr.eu-west-1.amazonaws.com",
                "prod-eu-west-1-starport-layer-bucket.s3.us-east-1.amazonaws.com", "no-rule"
            ),
            (
                "+**.dkr.ecr.eu-west-1.amazonaws.com",
                "prod-evil-starport-layer-bucket.s3.eu-west-1.amazonaws.com", "no-rule"
            ),
            (
                "+**.dkr.ecr.eu-west-1.amazonaws.com", "prod--starport-layer-bucket.s3.eu-west-1.amazonaws.com",
                "no-rule"
            ),
            ("+**.dkr.ecr.eu-west-1.amazonaws.com", "evil.s3.eu-west-1.amazonaws.com", "no-rule"),
            ("+2.dkr.ecr.eu-west-1.amazonaws.com -1.dkr.ecr.eu-west-1.amazonaws.com", ecrBucket, "support-host 1"),
            ("+1.dkr.ecr.eu-west-1.amazonaws.com -1.dkr.ecr.eu-west-1.amazonaws.com", ecrBucket, "no-rule"),
            ("+1.dkr.ecr.eu-west-1.amazonaws.com -**.dkr.ecr.eu-west-1.amazonaws.com", ecrBucket, "no-rule"),
            ("+**.dkr.ecr.eu-west-1.amazonaws.com -**.dkr.ecr.eu-west-1.amazonaws.com", ecrBucket, "no-rule"),
            ("+**.dkr.ecr.eu-west-1.amazonaws.com -1.dkr.ecr.eu-west-1.amazonaws.com", ecrBucket, "support-host 1"),

            // The data endpoint of one registry is that registry's.
            ("+acme.azurecr.io", "acme.eastus.data.azurecr.io", "support-host 1"),
            ("+acme.azurecr.io", "evil.eastus.data.azurecr.io", "no-rule"),
            ("+acme.azurecr.io", "acme.evil.eastus.data.azurecr.io", "no-rule"),
            ("+acme.azurecr.io", "other.blob.core.windows.net", "support-host 1"),
            ("+acme.eastus.geo.azurecr.io", "acme.eastus.data.azurecr.io", "support-host 1"),
            ("+acme.eastus.geo.azurecr.io", "acme.westus.data.azurecr.io", "no-rule"),
            ("+acme.eastus.geo.azurecr.io", "other.blob.core.windows.net", "support-host 1"),
            ("+**.eastus.geo.azurecr.io", "acme.eastus.data.azurecr.io", "support-host 1"),
            ("+**.eastus.geo.azurecr.io", "acme.westus.data.azurecr.io", "no-rule"),
            ("+**.eastus.geo.azurecr.io", "other.blob.core.windows.net", "support-host 1"),
            ("+**.eastus.geo.azurecr.io -**.azurecr.io", "other.blob.core.windows.net", "no-rule"),
            ("+*.azurecr.io", "acme.eastus.data.azurecr.io", "support-host 1"),
            ("+*.azurecr.io -evil.azurecr.io", "evil.eastus.data.azurecr.io", "denied-by-rule 2"),
            ("+*.azurecr.io -evil.azurecr.io", "acme.eastus.data.azurecr.io", "support-host 1"),
            ("+**.azurecr.io -evil.azurecr.io", "evil.eastus.data.azurecr.io", "denied-by-rule 2"),
            ("+**.azurecr.io -evil.azurecr.io", "acme.eastus.data.azurecr.io", "rule 1"),
            ("+** -evil.azurecr.io", "evil.eastus.data.azurecr.io", "denied-by-rule 2"),
            ("+evil.eastus.data.azurecr.io -evil.azurecr.io", "evil.eastus.data.azurecr.io", "rule 1"),
            ("+x.test=*.eastus.data.azurecr.io -evil.azurecr.io", "evil.eastus.data.azurecr.io", "support-host 1"),

            // Deny rules that name the host itself win.
            ("+docker.io -auth.docker.io", "auth.docker.io", "denied-by-rule 2"),
            ("+docker.io -**.docker.io", "auth.docker.io", "denied-by-rule 2"),
            ("+docker.io -**.docker.io", "production.cloudflare.docker.com", "support-host 1"),
            ("+docker.io=cdn.test -cdn.test", "cdn.test", "denied-by-rule 2"),
            ("+docker.io -docker.io", "auth.docker.io", "no-rule"),
            ("+docker.io -**", "auth.docker.io", "denied-by-rule 2"),
            ("+** -docker.io", "auth.docker.io", "rule 1"), ("+** -docker.io", "docker.io", "denied-by-rule 2"),

            // supportHosts of a rule, on their own ports, unless the whole rule is denied.
            ("+r.test=cdn.test", "cdn.test", "support-host 1"), ("+r.test=cdn.test", "cdn.test:5000", "no-rule"),
            ("+r.test=cdn.test:5000", "cdn.test:5000", "support-host 1"),
            ("+r.test:5000=*.cdn.test:*", "a.cdn.test:81", "support-host 1"),
            ("+r.test=10.0.0.0/8:*", "10.1.2.3:9000", "support-host 1"),
            ("+r.test=cdn.test -r.test", "cdn.test", "no-rule"),
            ("+r.test=cdn.test -**", "cdn.test", "denied-by-rule 2"),
            ("+r.test:5000=cdn.test -r.test:*", "cdn.test", "no-rule"),
            ("+r.test:*=cdn.test -r.test", "cdn.test", "support-host 1"),
            ("+*.r.test=cdn.test -**.r.test", "cdn.test", "no-rule"),
            ("+**.r.test=cdn.test -*.r.test", "cdn.test", "support-host 1"),
            ("+a.r.test=cdn.test -*.r.test +b.test=cdn.test", "cdn.test", "support-host 3"),

            // Addresses are compared with rules only.
            ("+docker.io", "10.0.0.1", "no-rule"), ("+docker.io", "[::1]", "no-rule"),
            ("+docker.io", "localhost", "no-rule"),
            ("+*.k8s.io", "europe-west4-docker.pkg.dev", "support-host 1"),
            ("+registry.k8s.io", "europe-west4-npm.pkg.dev", "no-rule"),
            (
                "+registry.k8s.io", "prod-registry-k8s-io-eu-west-1.s3.dualstack.eu-west-1.amazonaws.com",
                "support-host 1"
            ),
            ("+registry.k8s.io", "prod-registry-k8s-io-evil.s3.dualstack.eu-west-1.amazonaws.com", "no-rule"),
            ("+eu.gcr.io", "storage.googleapis.com", "support-host 1"),
            ("+evil.gcr.io", "storage.googleapis.com", "no-rule"),
            ("+us-docker.pkg.dev", "europe-docker.pkg.dev", "no-rule"),
            ("+quay.io", "cdn02.quay.io", "support-host 1"), ("+registry.redhat.io", "cdn02.quay.io", "support-host 1"),
            ("+**.redhat.io", "sso.redhat.com", "support-host 1"), ("+**.io", "sso.redhat.com", "support-host 1"),
        ]
    )
    func reaching(_ rules: String, _ host: String, _ expected: String) throws {
        let address = try RegistryAddress(host)
        for (mode, refused) in [("enforce", Verdict.Outcome.deny), ("audit", .wouldDeny)] {
            let verdict = try Self.policy(rules, mode: mode).verdict(onReaching: address)
            #expect(verdict.reason.rawValue + (verdict.rule.map { " \($0 + 1)" } ?? "") == expected)
            #expect(verdict.outcome == (["rule", "support-host"].contains(verdict.reason.rawValue) ? .allow : refused))
        }
    }

    @Test(
        "Rules for some actions or repositories open the host; only what denies pulls and pushes shuts it",
        arguments: [
            (#"{"address":"a.test","allowed":true,"actions":["pull"]}"#, "rule 1"),
            (#"{"address":"a.test","allowed":true,"actions":["push"]}"#, "rule 1"),
            (#"{"address":"a.test","allowed":true,"actions":["login"]}"#, "rule 1"),
            (#"{"address":"a.test","allowed":true,"repositories":["x/**"]}"#, "rule 1"),
            (
                #"{"address":"a.test","allowed":true},{"address":"a.test","allowed":false,"repositories":["x/**"]}"#,
                "rule 1"
            ),
            (#"{"address":"a.test","allowed":true},{"address":"**","allowed":false,"actions":["push"]}"#, "rule 1"),
            (#"{"address":"a.test","allowed":true},{"address":"**","allowed":false,"actions":["pull"]}"#, "rule 1"),
            (
                #"{"address":"a.test","allowed":true},{"address":"**","allowed":false,"actions":["pull","push"]}"#,
                "denied-by-rule 2"
            ),
            (
                #"{"address":"a.test","allowed":true,"actions":["login"]},{"address":"**","allowed":false,"actions":["login"]}"#,
                "action 1"
            ),
        ]
    )
    func partly(_ registries: String, _ expected: String) throws {
        let verdict = try AccessPolicyTests.policy(registries).verdict(onReaching: RegistryAddress("a.test"))
        #expect(verdict.reason.rawValue + (verdict.rule.map { " \($0 + 1)" } ?? "") == expected)
        let support = try AccessPolicyTests.policy(registries.replacing("a.test", with: "ghcr.io"))
            .verdict(onReaching: RegistryAddress("pkg-containers.githubusercontent.com"))
        #expect((support.outcome == .allow) == expected.hasPrefix("rule"))
    }

    @Test(
        "A support host is no registry: what names an image there is refused",
        arguments: [
            "auth.docker.io", "production.cloudflare.docker.com", "pkg-containers.githubusercontent.com", "cdn.test",
        ]
    )
    func noRegistry(_ host: String) throws {
        let policy = try Self.policy("+docker.io +ghcr.io +r.test=cdn.test")
        let address = try RegistryAddress(host)
        #expect(policy.verdict(onReaching: address).reason == .supportHost)
        for action in RegistryAction.allCases {
            #expect(policy.verdict(on: AccessRequest(action, address)) == Verdict(.deny, .noRule))
        }
    }

    @Test("A policy that is switched off shuts nothing")
    func disabled() throws {
        let policy = try AccessPolicyTests.policy("", #""enabled":false,"#)
        #expect(try policy.verdict(onReaching: RegistryAddress("evil.test")) == Verdict(.allow, .disabled))
        #expect(try policy.acceptsPlainHTTP(at: RegistryAddress("evil.test:80")))
    }

    @Test(
        "Plain HTTP is accepted where a rule that allows says so, and nowhere else",
        arguments: [
            ("r.test:5000", true), ("r.test", false), ("r.test:80", false), ("a.lab.test:80", true),
            ("a.lab.test:81", true), ("lab.test:80", false), ("10.1.1.1:5000", true), ("10.1.1.1", false),
            ("cdn.test:80", false), ("bad.lab.test:80", false), ("other.test:80", false), ("docker.io", false),
            ("auth.docker.io:80", false), ("plain.test:80", false),
        ]
    )
    func plainHTTP(_ host: String, _ expected: Bool) throws {
        let policy = try AccessPolicyTests.policy(
            """
            {"address":"docker.io","allowed":true},
            {"address":"r.test:5000","allowed":true,"insecure":true,"supportHosts":["cdn.test:80"]},
            {"address":"**.lab.test:*","allowed":true,"insecure":true},
            {"address":"10.0.0.0/8:5000","allowed":true,"insecure":true,"actions":["pull"]},
            {"address":"bad.lab.test:*","allowed":false},
            {"address":"plain.test:80","allowed":true}, {"address":"plain.test:80","allowed":false,"insecure":true}
            """
        )
        #expect(policy.acceptsPlainHTTP(at: try RegistryAddress(host)) == expected)
    }
}
