import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

struct ReportTests {
    private static let refusal = #"""
        {"id":"7f3a9c","time":"2026-11-23T13:45:10.123Z","registry":"ghcr.io","action":"pull","verdict":"deny",
        "rule":null,"point":"authorization-plugin","user":1000}
        """#

    private func batch(_ number: Int, _ refusals: [String] = [refusal]) -> String {
        let uuid = "00000000-0000-0000-0000-" + String(repeating: "0", count: 12 - "\(number)".utf8.count) + "\(number)"
        return "{\"batch\":\"\(uuid)\",\"refusals\":[\(refusals.joined(separator: ","))]}"
    }

    private func kept(_ server: RunningServer, _ query: String = "") async throws -> [JSONValue] {
        let answer = try await server.ask(.get, "reports\(query)", by: "auditor")
        return try #require(try answer.json().value(named: "reports")?.elements, "\(answer.text)")
    }

    @Test
    func `a report that comes twice is kept once`() async throws {
        try await RunningServer.with { server in
            let (one, other) = (try await server.register(), try await server.register())
            for _ in 0..<3 {
                for device in [one, other] {
                    let answer = try await server.ask(
                        .post,
                        "devices/\(device.id)/reports",
                        secret: device.secret,
                        body: batch(1)
                    )
                    #expect(answer.status == .noContent)
                }
            }
            let reports = try await kept(server)
            #expect(reports.count == 2)
            #expect(Set(reports.map { $0.value(named: "device")?.text }) == [one.id, other.id])
            let report = try #require(reports.first)
            #expect(report.value(named: "registry")?.text == "ghcr.io")
            #expect(report.value(named: "rule") == .null)
            #expect(report.value(named: "user")?.text == "user id 1000")
            #expect(report.value(named: "received")?.text == server.time.now.description)
        }
    }

    @Test(
        "a report that is not in order is refused as a whole, with its place",
        arguments: [
            "{}", #"{"batch":"x"}"#, #"{"batch":"00000000-0000-0000-0000-000000000001","more":1}"#,
            #"{"batch":"00000000-0000-0000-0000-000000000001","status":{}}"#,
            #"{"batch":"00000000-0000-0000-0000-000000000001","status":{"policyVersion":-1}}"#,
            #"{"batch":"00000000-0000-0000-0000-000000000001","status":{"policyVersion":1,"findings":[[1]]}}"#,
            #"{"batch":"00000000-0000-0000-0000-000000000001","refusals":[{"id":"a"}]}"#,
            String(repeating: "[", count: 100),
        ]
            + [
                ("deny", "allow"), ("pull", "eat"), ("2026-11-23T13", "2026-11-32T13"), (".123Z", ".Z"),
                ("ghcr.io", "a\\nb"),
                ("authorization-plugin", "elsewhere"), ("\"7f3a9c\"", "null"), ("\"rule\":null", "\"rule\":{}"),
            ].map { (old, new) in
                "{\"batch\":\"00000000-0000-0000-0000-000000000001\",\"refusals\":[\(refusal),\(refusal.replacing(old, with: new))]}"
            }
    )
    func badReport(_ body: String) async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let answer = try await server.ask(.post, "devices/\(device.id)/reports", secret: device.secret, body: body)
            #expect(answer.status == .unprocessableContent)
            #expect(try answer.json().value(named: "faults")?.elements?.count == 1)
            #expect(try await kept(server).isEmpty)
            // Its batch was not noted, so that it can be sent again when it is in order.
            let again = try await server.ask(
                .post,
                "devices/\(device.id)/reports",
                secret: device.secret,
                body: batch(1)
            )
            #expect(again.status == .noContent)
            #expect(try await kept(server).count == 1)
        }
    }

    @Test
    func `reports are read page by page, and filtered`() async throws {
        try await RunningServer.with { server in
            let (one, other) = (try await server.register(), try await server.register())
            let push = Self.refusal.replacing("pull", with: "push").replacing("ghcr.io", with: "quay.io")
            let audit = Self.refusal.replacing("\"deny\"", with: "\"would-deny\"").replacing("1000", with: "\"alice\"")
            for number in 1...10 {
                server.time.pass(10)
                let body = batch(number, [Self.refusal, push, audit])
                let device = number % 2 == 0 ? one : other
                try await server.ask(.post, "devices/\(device.id)/reports", secret: device.secret, body: body)
            }
            var numbers: [JSONValue?] = []
            var before = ""
            while true {
                let answer = try await server.ask(.get, "reports?limit=7\(before)", by: "owner").json()
                numbers += (answer.value(named: "reports")?.elements ?? []).map { $0.value(named: "number") }
                guard case .number(let next) = answer.value(named: "next") else { break }
                before = "&before=\(next)"
            }
            #expect(numbers == (1...30).reversed().map { .number("\($0)") })
            let from = (SignedOrganization.start + 50).description
            let table = [
                ("?action=push", 10), ("?registry=ghcr.io", 20), ("?verdict=would-deny", 10), ("?user=alice", 10),
                ("?device=\(one.id)", 15), ("?device=\(one.id)&action=push", 5), ("?from=\(from)", 18),
                ("?to=\(from)", 12),
                ("?from=\(from)&to=\(from)", 0), ("?registry=nowhere", 0), ("?registry=ghcr.io'%20OR%201=1--", 0),
            ]
            for (query, count) in table { #expect(try await kept(server, query).count == count, "\(query)") }
            for query in ["?limit=0", "?limit=501", "?before=x", "?from=yesterday", "?action=push&action=pull"] {
                #expect(try await server.ask(.get, "reports\(query)", by: "owner").status == .badRequest, "\(query)")
            }
            let elsewhere = try await server.ask(.get, "/v1/organizations/other/reports", by: "stranger").json()
            #expect(elsewhere.value(named: "reports") == .array([]))
        }
    }

    @Test
    func `reports go when they are older than the organization keeps them`() async throws {
        try await RunningServer.with { server in
            try await server.ask(.patch, "settings", by: "owner", body: #"{"reportDays":2}"#)
            let device = try await server.register()
            for number in 1...3 {
                try await server.ask(.post, "devices/\(device.id)/reports", secret: device.secret, body: batch(number))
                server.time.pass(86_400)
            }
            // Now they are one, two and three days old.
            try await server.store.removeOldReports(at: server.time.now)
            #expect(try await kept(server).count == 2)
            server.time.pass(1)
            try await server.store.removeOldReports(at: server.time.now)
            #expect(try await kept(server).count == 1)
            let batches = try await server.store.database.read { database in
                try Int.fetchOne(database, sql: "SELECT count(*) FROM reportBatch")
            }
            #expect(batches == 1)
        }
    }

    // MARK: - How much is kept

    private func send(_ body: String, from device: (id: String, secret: String), to server: RunningServer) async throws
        -> RunningServer.Answer
    {
        try await server.ask(.post, "devices/\(device.id)/reports", secret: device.secret, body: body)
    }

    private func count(_ server: RunningServer, _ sql: String) async throws -> Int {
        try await server.store.database.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM \(sql)") ?? -1 }
    }

    @Test
    func `a device tells of two thousand refusals a minute, and of others later`() async throws {
        try await RunningServer.with { server in
            let (device, other) = (try await server.register(), try await server.register())
            let thousand = [String](repeating: Self.refusal, count: 1000)
            for number in 1...2 {
                #expect(try await send(batch(number, thousand), from: device, to: server).status == .noContent)
            }
            let refused = try await send(batch(3, thousand), from: device, to: server)
            #expect(refused.status == .tooManyRequests)
            #expect(refused.code == "too_many_requests")
            #expect(refused.headers[.retryAfter] == "30")
            // One without refusals is written down, too.
            #expect(try await send(batch(4, []), from: device, to: server).status == .tooManyRequests)
            #expect(try await count(server, "refusal") == 2000)
            #expect(try await send(batch(3, thousand), from: other, to: server).status == .noContent)
            server.time.pass(30)
            #expect(try await send(batch(3, thousand), from: device, to: server).status == .noContent)
            #expect(try await count(server, "refusal WHERE device = '\(device.id)'") == 3000)
        }
    }

    @Test
    func `of a device the newest twenty thousand refusals are kept`() async throws {
        try await RunningServer.with { server in
            let (device, other) = (try await server.register(), try await server.register())
            try await server.signIn("member", on: device)
            try await server.store.database.write { database in
                for (id, most) in [(device.id, 19_999), (other.id, 5)] {
                    try database.execute(
                        sql: """
                            WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)
                            INSERT INTO refusal (organization, device, received, id, time, verdict, point)
                            SELECT 'acme', ?, 1, n, 'x', 'deny', 'x' FROM counted
                            """,
                        arguments: [most, id]
                    )
                }
            }
            let three = [String](repeating: Self.refusal, count: 3)
            #expect(try await send(batch(1, three), from: device, to: server).status == .noContent)
            #expect(try await count(server, "refusal WHERE device = '\(device.id)'") == 20_000)
            #expect(try await count(server, "refusal WHERE device = '\(device.id)' AND id IN ('1', '2')") == 0)
            #expect(try await count(server, "refusal WHERE device = '\(device.id)' AND id = '7f3a9c'") == 3)
            #expect(try await count(server, "refusal WHERE device = '\(other.id)'") == 5)
        }
    }

    @Test
    func `devices that anybody may have registered share what is kept of them`() async throws {
        try await RunningServer.with { server in
            let (one, other, known) = (
                try await server.register(), try await server.register(), try await server.register()
            )
            try await server.signIn("member", on: known)
            let made = try await server.ask(.post, "enrollment-tokens", by: "owner", body: #"{"name":"ci","days":1}"#)
            let token = try #require(try made.text("enrollmentToken"))
            let enrolled = try await server.ask(
                .post,
                "devices",
                body: "{\"name\":\"ci\",\"enrollmentToken\":\"\(token)\"}"
            )
            let invited = (
                id: try #require(try enrolled.text("device")), secret: try #require(try enrolled.text("secret"))
            )
            for device in [one, known, invited] {
                #expect(try await send(batch(1), from: device, to: server).status == .noContent)
            }
            #expect(try await count(server, "refusal WHERE stranger IS NOT NULL") == 1)
            try await server.store.database.write { database in
                try database.execute(
                    sql: """
                        INSERT INTO refusal (organization, device, received, id, time, verdict, point, stranger)
                        VALUES ('acme', ?, 1, 'old', 'x', 'deny', 'x', 2), ('acme', ?, 1, 'new', 'x', 'deny', 'x', 500000)
                        """,
                    arguments: [one.id, one.id]
                )
            }
            let two = [String](repeating: Self.refusal, count: 2)
            #expect(try await send(batch(2, two), from: other, to: server).status == .noContent)
            #expect(try await count(server, "refusal WHERE device = '\(one.id)'") == 1)
            #expect(try await count(server, "refusal WHERE id = 'new'") == 1)
            for device in [known, invited] {
                #expect(try await count(server, "refusal WHERE device = '\(device.id)'") == 1)
            }
        }
    }

    @Test
    func `as many reports of a device are remembered as can come twice`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            for number in 1...150 {
                #expect(try await send(batch(number), from: device, to: server).status == .noContent)
            }
            #expect(try await count(server, "reportBatch") == 100)
            for number in 51...150 {
                #expect(try await send(batch(number), from: device, to: server).status == .noContent)
            }
            #expect(try await count(server, "refusal") == 150)
        }
    }

    @Test
    func `what a device refused outlives it`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            try await server.ask(.post, "devices/\(device.id)/reports", secret: device.secret, body: batch(1))
            try await server.ask(.delete, "devices/\(device.id)", by: "owner")
            #expect(try await kept(server).count == 1)
        }
    }
}

struct UserIDTests {
    @Test
    func `numbers that machines told of before are user ids, and names of digits stay names`() async throws {
        let database = try DatabaseQueue()
        let mark = "user ids of machines are no names"
        let place = try #require(Schema.migrator.migrations.firstIndex(of: mark))
        try Schema.migrator.migrate(database, upTo: Schema.migrator.migrations[place - 1])
        try await database.write { database in
            try database.execute(sql: "INSERT INTO organization (name, created) VALUES ('acme', 1)")
            for (point, user) in [
                ("credential-helper", "0"), ("credential-helper", "mia"), ("egress-proxy", "1000"),
                ("credential-helper", ""),
            ] {
                try database.execute(
                    sql: """
                        INSERT INTO refusal (organization, device, received, id, time, verdict, point, user)
                        VALUES ('acme', 'x', 1, 'x', 'x', 'deny', ?, ?)
                        """,
                    arguments: [point, user]
                )
            }
        }
        try Schema.migrator.migrate(database)
        let users = try await database.read {
            try String.fetchAll($0, sql: "SELECT user FROM refusal ORDER BY number")
        }
        #expect(users == ["user id 0", "mia", "1000", ""])
    }
}
