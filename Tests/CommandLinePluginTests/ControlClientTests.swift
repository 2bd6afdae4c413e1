import RegistryAccess
import Testing

@testable import CommandLinePlugin

struct ControlClientTests {
    @Test
    func `the log is shown as a table, and as one list`() throws {
        try Machine.with { (machine) throws in
            try machine.withDaemon { server throws in
                let outcome = machine.run(["log", "--limit", "7"])
                #expect(
                    outcome.output == """
                        2026-11-23T13:45:09.000Z  000001  allow  pull  docker.io/library/alpine  rule
                        2026-11-23T13:45:10.123Z  7f3a9c  deny   pull  ghcr.io/evil/x            repository

                        """
                )
                #expect(server.requests == ["{\"request\":\"log\",\"limit\":7,\"follow\":false}\n"])
                let json = try StrictJSON.parse(Array(machine.run(["log", "--format", "json"]).output.utf8))
                #expect(json.elements?.map { $0.text(indentation: nil) } == [Machine.allowed, Machine.decision])
            }
        }
    }

    @Test
    func `following shows every line as it comes`() throws {
        try Machine.with { (machine) throws in
            try machine.withDaemon { server throws in
                let outcome = machine.run(["log", "--follow"])
                #expect(outcome.output.split(separator: "\n").count == 2, "\(outcome)")
                #expect(machine.run(["log", "--follow", "--format", "json"]).output.contains(Machine.decision + "\n"))
                #expect(server.requests.allSatisfy { $0.contains("\"follow\":true") })
            }
        }
    }

    @Test
    func `status says what the daemon says`() throws {
        try Machine.with { (machine) throws in
            try machine.withDaemon { _ throws in
                let text = machine.run(["status"]).words
                #expect(text.contains("docker-ramd 0.1.0"))
                #expect(text.contains("12 requests seen, 1 refused"))
                #expect(text.contains("ghcr.io/evil/x"))
                #expect(!text.contains("docker-ramd does not answer"))
                #expect(!text.contains("library/alpine"))
                #expect(machine.run(["version"]).output == "docker-ram   0.1.0\ndocker-ramd  0.1.0\n")
            }
        }
    }

    @Test(
        "A daemon that misbehaves is reported, and status still answers",
        arguments: [
            ("not json\n", "sent something that is not JSON"),
            ("{\"error\":\"no such request\"}\n", "says: no such request"),
            ("", "sent no status"),
            ("{\"a\":1,\"a\":2}\n", "sent something that is not JSON"),
        ]
    )
    func misbehaving(answer: String, words: String) throws {
        try Machine.with { (machine) throws in
            try machine.withDaemon(answer: { _ in answer }) { _ throws in
                let outcome = machine.run(["status"])
                #expect(outcome.code == 0)
                #expect(outcome.words.contains(words))
            }
        }
    }

    @Test
    func `a daemon that says nothing is waited for two seconds and no longer`() throws {
        try Machine.with { (machine) throws in
            try machine.withDaemon(answer: { _ in nil }) { _ throws in
                let clock = ContinuousClock()
                let start = clock.now
                let outcome = machine.run(["log"])
                #expect(outcome.code == 1)
                #expect(outcome.errors.contains("does not answer within 2 seconds"))
                #expect(clock.now - start < .seconds(10))
            }
        }
    }

    @Test
    func `a line without end is refused`() throws {
        try Machine.with { (machine) throws in
            try machine.withDaemon(answer: { _ in String(repeating: "x", count: 2 << 20) }) { _ throws in
                let outcome = machine.run(["log"])
                #expect(outcome.code == 1)
                #expect(outcome.errors.contains("sent a line without end"))
            }
        }
    }

    @Test
    func `control characters from the log never reach the terminal`() throws {
        try Machine.with { (machine) throws in
            let record = Machine.decision.replacing("ghcr.io/evil/x", with: "a\\u001b[31m\\u0007\\u202eb")
            try machine.withDaemon(answer: { _ in record + "\n" }) { _ throws in
                #expect(machine.run(["log"]).output.contains("a?[31m??b"))
            }
        }
    }

    @Test
    func `without a daemon the log's file is shown to whoever may read it`() throws {
        try Machine.with { (machine) throws in
            let lines = "\(Machine.allowed)\n\(Machine.decision)\n{\"cut"
            try machine.write(lines, "root/var/lib/docker-ram/decisions.jsonl")
            let outcome = machine.run(["log", "--limit", "1"])
            #expect(outcome.code == 0)
            #expect(outcome.output.contains("7f3a9c") && !outcome.output.contains("000001"))
            #expect(outcome.errors.contains("docker-ramd does not answer"))
            #expect(machine.run(["log", "--follow"]).code == 1)
        }
    }

    @Test
    func `a log that is empty shows nothing`() throws {
        try Machine.with { (machine) throws in
            try machine.withDaemon(answer: { _ in "" }) { _ throws in
                #expect(machine.run(["log"]).output == "")
                #expect(machine.run(["log", "--format", "json"]).output == "[]\n")
            }
        }
    }

    @Test(
        "Times become ages",
        arguments: [
            ("2026-11-23T13:45:10.123Z", 1_795_441_510, "just now"),
            ("2026-11-23T13:45:10Z", 1_795_441_540, "30 seconds ago"),
            ("2026-11-23T13:45:10Z", 1_795_441_510 + 600, "10 minutes ago"),
            ("2026-11-23T13:45:10Z", 1_795_441_510 + 10_800, "3 hours ago"),
            ("2026-11-23T13:45:10Z", 1_795_441_510 + 864_000, "10 days ago"), ("x", 0, nil), ("2026-11-23", 0, nil),
            ("2026-11-23T13:45:10+01:00", 0, nil), ("aaaa-bb-ccTdd:ee:ffZ", 0, nil),
        ] as [(String, Int, String?)]
    )
    func ages(time: String, now: Int, expected: String?) {
        #expect(Timestamp.age(time, now: now) == expected)
    }
}
