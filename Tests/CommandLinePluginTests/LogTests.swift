import LocalInstallation
import RegistryAccess
import Testing

@testable import CommandLinePlugin

struct LogTests {
    /// Records of a machine in audit mode, the oldest first.
    private static let records: [String] = [
        record("2026-11-01T00:00:00.000Z", "would-deny", "old.test", "pull", "old.test/x:1", "no-rule"),
        record("2026-11-20T08:00:00.000Z", "would-deny", "evil.test", "pull", "evil.test/a:1", "no-rule"),
        record("2026-11-20T09:00:00.000Z", "allow", "docker.io", "pull", "docker.io/library/alpine", "rule"),
        record("2026-11-21T08:00:00.000Z", "would-deny", "evil.test", "login", nil, "no-rule", "credential-helper"),
        record("2026-11-22T08:00:00.000Z", "would-deny", "evil.test", "push", "evil.test/b:1", "no-rule"),
        record("2026-11-22T08:00:01.000Z", "would-deny", "cdn.evil.test:8443", nil, nil, "no-rule", "egress-proxy"),
        record("2026-11-22T08:00:02.000Z", "would-deny", "ghcr.io", "pull", "ghcr.io/other/x:1", "repository"),
        // What the policy allows by now.
        record("2026-11-22T08:00:03.000Z", "would-deny", "ghcr.io", "pull", "ghcr.io/acme/x:1", "no-rule"),
        record("2026-11-22T08:00:04.000Z", "would-deny", "docker.io", nil, nil, "no-rule", "egress-proxy"),
        record("2026-11-22T08:00:05.000Z", "would-deny", nil, nil, nil, "not-inspected"),
    ]

    private static func record(
        _ time: String,
        _ verdict: String,
        _ registry: String?,
        _ action: String?,
        _ image: String?,
        _ reason: String,
        _ point: String = "authorization-plugin"
    ) -> String {
        JSONValue.object([
            JSONMember("id", .string("7f3a9c")), JSONMember("time", .string(time)),
            JSONMember("point", .string(point)), JSONMember("action", .text(action)),
            JSONMember("registry", .text(registry)), JSONMember("image", .text(image)),
            JSONMember("verdict", .string(verdict)), JSONMember("reason", .string(reason)), JSONMember("rule", .null),
            JSONMember("policyVersion", .number("42")), JSONMember("organization", .string("acme")),
            JSONMember("obstacle", .text(registry == nil ? "this engine call is unknown to docker-ram" : nil)),
        ]).text()
    }

    private static let audit = Machine.policy.replacing("\"version\"", with: "\"mode\": \"audit\", \"version\"")

    /// Runs a body with a machine whose docker-ramd has the records, in its files too.
    private func with(
        _ policy: String = Self.audit,
        end: String = "{\"end\":true}\n",
        _ body: (Machine, LineServer) throws -> Void
    ) throws {
        try Machine.with(policy: policy) { (machine) throws in
            let lines = Self.records.map { $0 + "\n" }.joined()
            try machine.withDaemon(answer: { $0.contains("history") ? lines + end : "{}\n" }) { try body(machine, $0) }
        }
    }

    private func lines(_ text: String) -> [String] { text.split(separator: "\n").map(String.init) }

    @Test
    func `the summary says what enforcing would cut off, the most used first`() throws {
        try with { machine, server throws in
            let outcome = machine.run(["log", "--summary", "--since", "2026-11-20"])
            #expect(
                server.requests == [
                    #"{"request":"history","refusedOnly":true,"since":"2026-11-20T00:00:00.000Z"}"# + "\n"
                ]
            )
            let shown = lines(outcome.output).map { line in
                // The age is the clock's.
                line.replacing(/[ ]+(in the future|[0-9]+ [a-z]+ ago|just now)$/, with: "  AGE")
            }
            #expect(
                shown == [
                    "A switch to \"enforce\" would cut off, as used since 2026-11-20 00:00 UTC:",
                    "COUNT  REGISTRY                  LAST USE",
                    "2      evil.test  AGE",
                    "       login, pull, push: no-rule; for example evil.test/b:1",
                    "1      (no registry is named)  AGE",
                    "       this engine call is unknown to docker-ram",
                    "1      ghcr.io  AGE",
                    "       pull: repository; for example ghcr.io/other/x:1",
                    "1      cdn.evil.test:8443  AGE",
                    "       no-rule",
                    "2 more were refused that the policy allows by now",
                ]
            )
            #expect(outcome.code == 0 && outcome.errors.isEmpty)
        }
    }

    @Test
    func `the summary for programs`() throws {
        try with { machine, _ throws in
            let outcome = machine.run(["log", "--summary", "--format", "json"])
            let json = try StrictJSON.parse(Array(outcome.output.utf8))
            #expect(json.value(named: "since") == .null)
            #expect(json.value(named: "mode") == .string("audit"))
            #expect(json.value(named: "allowedByNow") == .number("2"))
            let registries = json.value(named: "registries")?.elements ?? []
            #expect(registries.contains { $0.value(named: "registry") == .string("old.test") })
            #expect(
                registries.first?.text() == #"{"registry":"evil.test","count":2,"denied":0,"wouldBeDenied":3,"#
                    + #""lastUse":"2026-11-22T08:00:00.000Z","actions":["login","pull","push"],"reasons":["no-rule"],"#
                    + #""points":["authorization-plugin","credential-helper"],"rule":null,"example":"evil.test/b:1"}"#
            )
        }
    }

    @Test
    func `an enforced policy has refused, and nothing is said of a switch`() throws {
        try with(Machine.policy) { machine, _ throws in
            #expect(lines(machine.run(["log", "--summary"]).output)[0] == "Refused:")
        }
        try Machine.with { (machine) throws in
            try machine.withDaemon(answer: { _ in "{\"end\":true}\n" }) { _ throws in
                #expect(machine.run(["log", "--summary"]).output == "Nothing was refused\n")
                try machine.write(Self.audit, "root/etc/docker-ram/policy.json")
                #expect(
                    machine.run(["log", "--summary"]).output
                        == "Nothing was refused, and enforcing would cut off nothing\n"
                )
            }
        }
    }

    @Test
    func `a log that is cut off is not taken for the whole`() throws {
        try with(end: "") { machine, _ throws in
            let outcome = machine.run(["log", "--summary"])
            #expect(outcome.code == 1 && outcome.output.isEmpty)
            #expect(outcome.errors.contains("did not send the whole log"))
        }
    }

    @Test
    func `who may read the files needs no docker-ramd`() throws {
        try Machine.with(policy: Self.audit) { (machine) throws in
            let lines = Self.records.map { $0 + "\n" }
            try machine.write(lines[..<4].joined(), "root/var/lib/docker-ram/decisions.jsonl.2")
            try machine.write(lines[4..<6].joined(), "root/var/lib/docker-ram/decisions.jsonl.1")
            try machine.write(lines[6...].joined() + "{\"half", "root/var/lib/docker-ram/decisions.jsonl")
            let summary = machine.run(["log", "--summary", "--since", "2026-11-20", "--format", "json"])
            let json = try StrictJSON.parse(Array(summary.output.utf8))
            #expect(json.value(named: "registries")?.elements?.count == 4)
            #expect(json.value(named: "registries")?.elements?[0].value(named: "count") == .number("2"))
            #expect(
                summary.errors.contains("this is what \"\(machine.root)/var/lib/docker-ram/decisions.jsonl\" holds")
            )
            #expect(self.lines(machine.run(["log"]).output).count == 10)
            #expect(self.lines(machine.run(["log", "--limit", "3"]).output).count == 3)
            let denied = self.lines(machine.run(["log", "--denied", "--limit", "4"]).output)
            #expect(denied.count == 4 && denied.allSatisfy { $0.contains("would-deny") })
        }
    }

    @Test
    func `only what was denied, or since then`() throws {
        try with { machine, server throws in
            _ = machine.run(["log", "--denied"])
            _ = machine.run(["log", "--since", "2026-11-20T08:30:00Z"])
            #expect(
                server.requests == [
                    #"{"request":"history","refusedOnly":true}"# + "\n",
                    #"{"request":"history","refusedOnly":false,"since":"2026-11-20T08:30:00.000Z"}"# + "\n",
                ]
            )
            #expect(lines(machine.run(["log", "--denied", "--limit", "2"]).output).count == 2)
        }
        try Machine.with { (machine) throws in
            let following = { @Sendable (_: String) in Machine.allowed + "\n" + Machine.decision + "\n" }
            try machine.withDaemon(answer: following) { _ throws in
                let outcome = machine.run(["log", "--follow", "--denied", "--format", "json"])
                #expect(outcome.output == Machine.decision + "\n")
            }
        }
    }

    @Test(arguments: [
        ["--follow", "--summary"], ["--follow", "--since", "7d"], ["--since", "yesterday"], ["--since", "7"],
        ["--since", "-7d"], ["--since", "2026-02-30"], ["--since", "2026-13-01"], ["--since", "2026-11-20 08:00"],
        ["--since", "999999d"], ["--since", ""],
    ])
    func `wrong usage`(options: [String]) throws {
        try Machine.with { (machine) throws in
            #expect(machine.run(["log"] + options).code == 64)
        }
    }

    @Test(arguments: [
        ("30m", 1_000_000 - 1800), ("12h", 1_000_000 - 43_200), ("7d", 1_000_000 - 604_800), ("1970-01-01", 0),
        ("2026-11-23T13:45:10Z", 1_795_441_510), ("2024-02-29", 1_709_164_800),
    ])
    func `times that people write`(text: String, seconds: Int) {
        #expect(Timestamp.start(of: text, now: 1_000_000) == seconds)
        #expect(Timestamp.seconds(Timestamp.text(seconds)) == seconds)
    }
}
