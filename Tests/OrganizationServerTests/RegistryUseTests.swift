import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// What devices tell of the registries that they use.
struct RegistryUseTests {
    private typealias Device = (id: String, secret: String)

    private static func use(_ day: String, _ registry: String = "ghcr.io", _ action: String = #""pull""#) -> String {
        #"{"day":"\#(day)","registry":"\#(registry)","action":\#(action)}"#
    }

    private func tell(_ server: RunningServer, _ device: Device, _ uses: [String]) async throws
        -> RunningServer.Answer
    {
        let body = #"{"uses":[\#(uses.joined(separator: ","))]}"#
        return try await server.ask(.post, "devices/\(device.id)/uses", secret: device.secret, body: body)
    }

    /// All rows: registry, action, day.
    private func kept(_ server: RunningServer) async throws -> [String] {
        try await server.store.database.read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM registryUse ORDER BY registry, action, device").map { row in
                "\(row["registry"] as String) \(row["action"] as String) \(UseReport.text(ofDay: row["day"]))"
            }
        }
    }

    /// A day before the first one of the tests.
    private func day(_ server: RunningServer, _ back: Int64) -> String {
        UseReport.text(ofDay: UseReport.day(of: server.time.now) - back)
    }

    @Test
    func `the last day is kept, however often and in whichever order it is told`() async throws {
        try await RunningServer.with { server in
            let (one, other) = (try await server.register(), try await server.register())
            for back in [5, 1, 3, 1] as [Int64] {
                for device in [one, other] {
                    let uses = [Self.use(day(server, back)), Self.use(day(server, back), "docker.io", "null")]
                    #expect(try await tell(server, device, uses).status == .noContent)
                }
            }
            let last = day(server, 1)
            #expect(
                try await kept(server) == ["docker.io  \(last)", "docker.io  \(last)"]
                    + ["ghcr.io pull \(last)", "ghcr.io pull \(last)"]
            )
            #expect(try await tell(server, one, []).status == .noContent)
            // A clock may be a day ahead.
            #expect(try await tell(server, one, [Self.use(day(server, -1), "a.test:5000")]).status == .noContent)
            #expect(try await kept(server).first == "a.test:5000 pull \(day(server, -1))")
        }
    }

    @Test(
        "a report that is not in order is refused as a whole, with its place",
        arguments: [
            "{}", "[]", #"{"uses":{}}"#, #"{"uses":[],"more":1}"#, #"{"uses":[{}]}"#, #"{"uses":[[]]}"#,
            #"{"uses":[{"day":"DAY"}]}"#, #"{"uses":[{"registry":"ghcr.io"}]}"#,
            #"{"uses":[{"day":"DAY","registry":"ghcr.io","count":3}]}"#,
            #"{"uses":[{"day":"DAY","registry":"ghcr.io","day":"DAY"}]}"#,
            "{\"uses\":[\(Array(repeating: use("DAY"), count: 1001).joined(separator: ","))]}",
        ]
            + [
                ("DAY", "2026-11-32"), ("DAY", "2026-11-2"), ("DAY", "DAYT00:00:00Z"), ("DAY", "TOMORROW"),
                ("\"DAY\"", "20"), ("ghcr.io", "GHCR.io"), ("ghcr.io", "ghcr.io/acme"), ("ghcr.io", "ghcr.io:443"),
                ("ghcr.io", ""), ("\"ghcr.io\"", "null"), ("pull", "eat"), ("\"pull\"", "1"), ("pull", ""),
            ].map { "{\"uses\":[\(use("DAY")),\(use("DAY").replacing($0, with: $1))]}" }
    )
    func badReport(_ body: String) async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let given = body.replacing("TOMORROW", with: day(server, -2)).replacing("DAY", with: day(server, 0))
            let answer = try await server.ask(.post, "devices/\(device.id)/uses", secret: device.secret, body: given)
            #expect(answer.status == .unprocessableContent, "\(answer.text)")
            #expect(try answer.json().value(named: "faults")?.elements?.count == 1)
            #expect(try await kept(server).isEmpty)
        }
    }

    @Test
    func `who is not that device tells nothing`() async throws {
        try await RunningServer.with { server in
            let (one, other) = (try await server.register(), try await server.register())
            let use = Self.use(day(server, 0))
            #expect(try await tell(server, (one.id, other.secret), [use]).status == .unauthorized)
            #expect(try await tell(server, (one.id, "x"), [use]).status == .unauthorized)
            let body = "{\"uses\":[\(use)]}"
            let elsewhere = try await server.ask(
                .post,
                "/v1/organizations/other/devices/\(one.id)/uses",
                secret: one.secret,
                body: body
            )
            #expect(elsewhere.status == .unauthorized)
            let person = try await server.ask(.post, "devices/\(one.id)/uses", by: "owner", body: body)
            #expect(person.status == .unauthorized)
            #expect(try await kept(server).isEmpty)
            let long = "{\"uses\":[\(use)]\(String(repeating: " ", count: 1 << 20))}"
            let tooLong = try await server.ask(.post, "devices/\(one.id)/uses", secret: one.secret, body: long)
            #expect(tooLong.status == .contentTooLarge)
        }
    }

    @Test
    func `it goes when reports do, and with the device`() async throws {
        try await RunningServer.with { server in
            try await server.ask(.patch, "settings", by: "owner", body: #"{"reportDays":3}"#)
            let (one, other) = (try await server.register(), try await server.register())
            // What is too old already is left out, and no mistake of the device.
            let uses = (0..<6).map { Self.use(day(server, $0), "r\($0).test") }
            #expect(try await tell(server, one, uses).status == .noContent)
            #expect(try await kept(server).count == 4)
            server.time.pass(2 * 86_400)
            try await server.store.removeOldReports(at: server.time.now)
            #expect(try await kept(server).map { $0.prefix(2) } == ["r0", "r1"])
            #expect(try await tell(server, other, [Self.use(day(server, 0))]).status == .noContent)
            try await server.ask(.delete, "devices/\(one.id)", by: "owner")
            #expect(try await kept(server) == ["ghcr.io pull \(day(server, 0))"])
        }
    }

    @Test
    func `of one device so much is kept, and the oldest goes`() async throws {
        try await RunningServer.with { server in
            let (device, other) = (try await server.register(), try await server.register())
            _ = try await tell(server, other, [Self.use(day(server, 20))])
            for back in [2, 1, 0] as [Int64] {
                let uses = (0..<400).map { Self.use(day(server, back), "r\(back)-\($0).test") }
                #expect(try await tell(server, device, uses).status == .noContent)
            }
            let kept = try await kept(server)
            #expect(kept.count == Store.mostUsesOfDevice + 1)
            #expect(kept.count { $0.hasPrefix("r0-") } == 400 && kept.count { $0.hasPrefix("r1-") } == 400)
            #expect(kept.first == "ghcr.io pull \(day(server, 20))", "that is another device's")
        }
    }

    @Test
    func `machines are counted by registry and action, those of the last days too`() async throws {
        try await RunningServer.with { server in
            let today = UseReport.day(of: server.time.now)
            for number in 0..<12 {
                let device = try await server.register()
                var uses = [Self.use(day(server, number < 3 ? 6 : 7), "quay.io")]
                if number < 5 { uses.append(Self.use(day(server, 29), "quay.io", #""push""#)) }
                if number < 2 { uses.append(Self.use(day(server, 30), "ghcr.io")) }
                _ = try await tell(server, device, uses)
            }
            _ = try await server.register()
            let summaries = try await server.store.useSummary(of: "acme", since: today - 29, lately: today - 6)
            #expect(
                summaries == [
                    Store.UseSummary(registry: "quay.io", action: .pull, machines: 12, lately: 3, last: today - 6),
                    Store.UseSummary(registry: "quay.io", action: .push, machines: 5, lately: 0, last: today - 29),
                ]
            )
            #expect(try await server.store.useSummary(of: "other", since: 0, lately: 0).isEmpty)
            let machines = try await server.store.machinesTellingUses(of: "acme", since: today - 29)
            #expect(machines == (12, 13))
            #expect(try await server.store.machinesTellingUses(of: "other", since: 0) == (0, 0))
        }
    }

    @Test
    func `machines are counted in one pass over the key`() async throws {
        let plan = try await Store.inMemory().database.read { database in
            try Row.fetchAll(
                database,
                sql: "EXPLAIN QUERY PLAN \(Store.useSummarySQL)",
                arguments: ["organization": "acme", "first": 1, "late": 2, "limit": 3]
            ).map { $0["detail"] as String }
        }
        #expect(plan == ["SEARCH registryUse USING PRIMARY KEY (organization=?)", "USE TEMP B-TREE FOR ORDER BY"])
    }
}

/// What the review says of what machines use.
struct PolicyEffectTests {
    private static let review = "\(TestBrowser.access)/review"

    /// Runs with an organization that allows some registries, and with some machines.
    private func withMachines(
        _ registries: [String],
        machines: Int,
        _ body: @Sendable (AccountsServer, TestBrowser, [String]) async throws -> Void
    ) async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            for registry in registries { _ = try await alice.add(registry, ["acknowledgeBroad": "on"]) }
            #expect(try await alice.save().status == 303)
            var devices: [String] = []
            for number in 0..<machines {
                devices.append("device00000000000000000\(number + 100)")
                _ = try await server.makeDevice(devices[number])
            }
            try await body(server, alice, devices)
        }
    }

    private func remove(_ alice: TestBrowser, _ registry: String) async throws {
        let answer = try await alice.post("\(TestBrowser.access)/remove", ["rule": try await alice.rule(registry)])
        #expect(answer.status == 303)
    }

    private func edit(_ alice: TestBrowser, _ registry: String, _ more: [String: String]) async throws {
        let fields = [
            "rule": try await alice.rule(registry), "address": registry, "allowed": "true", "pull": "on", "login": "on",
        ]
        #expect(try await alice.post("\(TestBrowser.access)/edit", fields.merging(more) { $1 }).status == 303)
    }

    @Test
    func `the review says how many machines would be cut off from what they use`() async throws {
        try await withMachines(["quay.io", "ghcr.io"], machines: 12) { server, alice, devices in
            for (number, device) in devices.enumerated() {
                try await server.use(device, "quay.io", "pull", daysAgo: number < 3 ? 2 : 20)
                try await server.use(device, "docker.io", "pull", daysAgo: 0)
            }
            try await server.use(devices[0], "quay.io", "push", daysAgo: 8)
            try await server.use(devices[0], "quay.io", "login", daysAgo: 1)
            try await remove(alice, "quay.io")
            try await remove(alice, "ghcr.io")
            let text = try await alice.get(Self.review).text
            let lines = [
                "12 machines pulled from it in the last 30 days, 3 of them in the last 7",
                "1 machine pushed to it in the last 30 days, not in the last 7",
                "1 machine signed in there in the last 30 days, and in the last 7",
            ]
            for line in lines { #expect(text.contains("<code>quay.io</code><span>\(line)</span>"), "\(line)") }
            #expect(text.contains("last on 2026-11-23"))
            #expect(!text.contains("<code>docker.io</code><span>"))
            #expect(text.contains("No machine has told that it used ghcr.io in the last 30 days."))
            #expect(!text.contains("Not known") && !text.contains("make no difference"))
            let first = try #require(text.firstRange(of: "12 machines")?.lowerBound)
            let second = try #require(text.firstRange(of: "1 machine pushed")?.lowerBound)
            #expect(first < second)
        }
    }

    @Test
    func `it says what it does not know`() async throws {
        try await withMachines(["quay.io", "ghcr.io"], machines: 3) { server, alice, devices in
            try await server.use(devices[0], "docker.io", "pull", daysAgo: 31)
            try await remove(alice, "quay.io")
            var text = try await alice.get(Self.review).text
            #expect(text.contains("What machines used of quay.io is not known: no machine has told"))
            try await server.use(devices[0], "docker.io", "pull", daysAgo: 29)
            text = try await alice.get(Self.review).text
            let others = "No machine has told that it used quay.io in the last 30 days. But only 1 of 3 machines"
            #expect(text.contains(others))
            #expect(text.contains("<h3>Not known</h3>"))
        }
    }

    @Test
    func `more in builds, limits, and what a team has are said`() async throws {
        let registries = ["quay.io", "ghcr.io", "*.acme.test", "gone.test"]
        try await withMachines(registries, machines: 4) { server, alice, devices in
            for device in devices {
                try await server.use(device, "quay.io", "", daysAgo: 1)
                try await server.use(device, "ghcr.io", "pull", daysAgo: 1)
                try await server.use(device, "ghcr.io", "", daysAgo: 1)
                try await server.use(device, "one.acme.test", "pull", daysAgo: 1)
            }
            try await server.use(devices[0], "quay.io", "pull", daysAgo: 1)
            try await server.use(devices[1], "ghcr.io", "push", daysAgo: 1)
            try await server.use(devices[1], "gone.test", "pull", daysAgo: 1)
            let now = server.clock.now
            try await server.services.store.database.write { database in
                try database.execute(
                    sql: "INSERT INTO team (organization, name, created) VALUES ('acme', 'backend', ?)",
                    arguments: [now.seconds]
                )
            }
            _ = try await server.services.publisher.publish(in: "acme", by: "alice") { content in
                var content = content
                content.teams["backend"] = [RegistryRule(address: try AddressPattern("gone.test"), isAllowed: true)]
                return content
            }
            try await remove(alice, "quay.io")
            try await remove(alice, "gone.test")
            // Pushes go, and pulls of others than acme's.
            try await edit(alice, "ghcr.io", ["repositories": "acme/**\nbase/os"])
            _ = try await alice.add("one.acme.test", ["allowed": "false", "repositories": "secret/*"])
            let text = try await alice.get(Self.review).text
            let all = "4 machines pulled from it in the last 30 days, all of them in the last 7"
            let lines = [
                (
                    "quay.io",
                    "4 machines reached it otherwise, as builds do, in the last 30 days, all of them in the last 7"
                ),
                ("quay.io", "1 machine pulled from it in the last 30 days, and in the last 7"),
                (
                    "gone.test",
                    "1 machine pulled from it in the last 30 days, and in the last 7; "
                        + "who is in the team backend has it in addition"
                ), ("ghcr.io", "1 machine pushed to it in the last 30 days, and in the last 7"),
                ("ghcr.io", "limited to acme/** and base/os: \(all); which repositories is not known"),
                ("one.acme.test", "not secret/* any more: \(all); which repositories is not known"),
            ]
            for (registry, line) in lines {
                #expect(text.contains("<code>\(registry)</code><span>\(line)</span>"), "\(registry) \(line)")
            }
            #expect(text.contains("May be refused from now on"))
            #expect(!text.contains("Not known"))
        }
    }

    @Test
    func `a limit that another entry leaves open is none`() async throws {
        try await withMachines(["ghcr.io", "*.acme.test", "two.acme.test"], machines: 1) { server, alice, devices in
            try await server.use(devices[0], "one.acme.test", "pull", daysAgo: 1)
            try await server.use(devices[0], "ghcr.io", "pull", daysAgo: 1)
            _ = try await alice.add("one.acme.test", ["repositories": "acme/**"])
            // Nobody used this one, and it stays open.
            try await remove(alice, "two.acme.test")
            #expect(try await alice.get(Self.review).text.contains("make no difference to anything"))
            // Only pulls were told, and they stay.
            try await edit(alice, "ghcr.io", [:])
            let text = try await alice.get(Self.review).text
            #expect(text.contains("make no difference to anything that machines told they used or refused"))
        }
    }

    @Test
    func `a refusal that a use says already is not said twice`() async throws {
        try await withMachines(["quay.io"], machines: 3) { server, alice, devices in
            for device in devices { try await server.use(device, "quay.io", "pull", daysAgo: 1) }
            try await server.report(devices[0], "quay.io", verdict: "would-deny")
            try await remove(alice, "quay.io")
            let text = try await alice.get(Self.review).text
            #expect(text.contains("3 machines pulled from it") && !text.contains("and would be refused"))
        }
    }
}

extension AccountsServer {
    /// Keeps that a machine used a registry.
    func use(_ device: String, _ registry: String, _ action: String, daysAgo: Int64) async throws {
        let day = UseReport.day(of: clock.now) - daysAgo
        try await services.store.database.write { database in
            try database.execute(
                sql: """
                    INSERT INTO registryUse (organization, registry, action, device, day) VALUES ('acme', ?, ?, ?, ?)
                    ON CONFLICT DO UPDATE SET day = excluded.day
                    """,
                arguments: [registry, action, device, day]
            )
        }
    }
}
