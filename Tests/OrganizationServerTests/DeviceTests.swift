import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

extension RunningServer {
    /// Registers a device.
    func register(_ name: String = "laptop") async throws -> (id: String, secret: String) {
        let answer = try await ask(.post, "devices", body: "{\"name\":\"\(name)\"}")
        // How many an address may register is no matter of these tests.
        await services.limits.fill(.registration, "-")
        return (try #require(try answer.text("device")), try #require(try answer.text("secret")))
    }

    /// Asks for what has changed.
    func changes(
        _ device: (id: String, secret: String),
        after cursor: String? = nil,
        wait: Int = 0
    ) async throws -> (cursor: String, session: String) {
        let query = "wait=\(wait)" + (cursor.map { "&after=\($0)" } ?? "")
        let answer = try await ask(.get, "devices/\(device.id)/changes?\(query)", secret: device.secret)
        return (try #require(try answer.text("cursor")), try #require(try answer.text("session")))
    }

    /// Returns when so many wait for a change.
    func waiters(_ count: Int) async {
        while await services.waiting.count < count { await Task.yield() }
    }
}

struct DeviceTests {
    // MARK: - Registration

    @Test
    func `everyone may register a device where that is open`() async throws {
        try await RunningServer.with { server in
            let answer = try await server.ask(.post, "devices", body: #"{"name":"alice's laptop"}"#)
            #expect(answer.status == .created)
            let id = try #require(try answer.text("device"))
            #expect(id.utf8.count == 26)
            #expect(OpaqueToken(try #require(try answer.text("secret")))?.kind == .device)
            let devices = try await server.store.devices(of: "acme", after: nil, atMost: 9, at: server.time.now)
            #expect(devices.map(\.name) == ["alice's laptop"])
            // The secret is nowhere to be read.
            let dump = try await server.store.database.read { database in
                try String.fetchOne(database, sql: "SELECT digest FROM device")
            }
            #expect(dump?.utf8.count == 64)
        }
    }

    enum Enrollment: String, CaseIterable {
        case none, noToken, personalToken, unknown, ended, ofOther, removed, good
    }

    @Test(
        "where a token is asked for, only one that is good lets a device in",
        arguments: Enrollment.allCases,
        ["token", "open"]
    )
    func enrollment(_ enrollment: Enrollment, _ setting: String) async throws {
        try await RunningServer.with { server in
            let body = "{\"enrollment\":\"\(setting)\"}"
            #expect(try await server.ask(.patch, "settings", by: "owner", body: body).status == .ok)
            let made = try await server.ask(.post, "enrollment-tokens", by: "owner", body: #"{"name":"ci","days":1}"#)
            #expect(made.status == .created)
            var token = try made.text("enrollmentToken")
            #expect(token != nil)
            switch enrollment {
            case .good: break
            case .none: token = nil
            case .noToken: token = "secret"
            case .personalToken: token = server.tokens["owner"]?.secret
            case .unknown: token = OpaqueToken(.enrollment).secret
            case .ended: server.time.pass(86_400)
            case .removed: try await server.ask(.delete, "enrollment-tokens/ci", by: "owner")
            case .ofOther:
                try await server.store.database.write {
                    try $0.execute(sql: "UPDATE enrollmentToken SET organization = 'other'")
                }
            }
            let member = token.map { ",\"enrollmentToken\":\"\($0)\"" } ?? ""
            let answer = try await server.ask(.post, "devices", body: "{\"name\":\"ci\"\(member)}")
            let isLetIn = enrollment == .good || (enrollment == .none && setting == "open")
            #expect(answer.status == (isLetIn ? .created : .forbidden), "\(answer.text)")
            if !isLetIn { #expect(answer.code == "enrollment_refused") }
            let count = try await server.store.devices(of: "acme", after: nil, atMost: 9, at: server.time.now).count
            #expect(count == (isLetIn ? 1 : 0))
        }
    }

    @Test(arguments: ["ci", "CI runners / Berlin", "100%", "a%2Fb", "büro", "..", "?x=1#y", "+ plus"])
    func `an enrollment token ends by its name, whatever that is`(name: String) async throws {
        try await RunningServer.with { server in
            let body = JSONValue.object([JSONMember("name", .string(name)), JSONMember("days", .number("1"))]).text()
            #expect(try await server.ask(.post, "enrollment-tokens", by: "owner", body: body).status == .created)
            let path = "enrollment-tokens/\(PercentEncoding.encode(name))"
            let ended = try await server.ask(.delete, path, by: "owner")
            #expect(ended.status == .noContent, "\(ended.text)")
            #expect(try await server.store.enrollmentTokens(of: "acme").isEmpty)
            #expect(try await server.ask(.delete, path, by: "owner").status == .notFound)
            #expect(try await server.ask(.delete, "enrollment-tokens/%FF", by: "owner").status == .notFound)
        }
    }

    @Test(
        "a bad registration is refused",
        arguments: [
            #"{}"#, #"{"name":""}"#, #"{"name":"a\nb"}"#, #"{"name":"a","name":"b"}"#, #"{"name":"a","x":"y"}"#,
            #"{"name":7}"#, "",
        ]
    )
    func badRegistration(_ body: String) async throws {
        try await RunningServer.with { server in
            let answer = try await server.ask(.post, "devices", body: body)
            #expect(answer.status == .badRequest)
            let nowhere = try await server.ask(.post, "/v1/organizations/nobody/devices", body: #"{"name":"a"}"#)
            #expect(nowhere.status == .notFound)
        }
    }

    // MARK: - Waiting

    @Test
    func `who knows nothing or something else is answered at once, and who knows everything when the time is over`()
        async throws
    {
        try await RunningServer.with { server in
            let device = try await server.register()
            let first = try await server.changes(device, wait: 60)
            #expect(first == ("1-0-0-none-0", "none"))
            let other = try await server.changes(device, after: "0-0-none-0", wait: 60)
            #expect(other == first)
            let same = try await server.changes(device, after: first.cursor, wait: 0)
            #expect(same == first)
        }
    }

    @Test
    func `every device that waits learns of a new policy`() async throws {
        try await RunningServer.with { server in
            var devices: [(id: String, secret: String)] = []
            for number in 0..<200 { devices.append(try await server.register("laptop \(number)")) }
            let cursor = try await server.changes(devices[0]).cursor
            let cursors = try await withThrowingTaskGroup(of: String.self) { group in
                for device in devices {
                    group.addTask { try await server.changes(device, after: cursor, wait: 60).cursor }
                }
                await server.waiters(devices.count)
                try await server.ask(
                    .put,
                    "policy",
                    by: "owner",
                    body: server.policy(allowing: ["ghcr.io"]),
                    ifMatch: 1
                )
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(cursors.count == 200)
            #expect(Set(cursors) == ["2-0-0-none-0"])
        }
    }

    @Test
    func `what is new comes with the change, but for a long policy, and what is known does not`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            func ask(after cursor: String?) async throws -> JSONValue {
                let query = cursor.map { "?after=\($0)" } ?? ""
                return try await server.ask(.get, "devices/\(device.id)/changes\(query)", secret: device.secret).json()
            }
            func document(_ name: String) async throws -> String {
                try await server.ask(.get, "documents/\(name)").text
            }
            let first = try await ask(after: nil)
            #expect(first.value(named: "ticket")?.text == "0-0-none")
            #expect(first.value(named: "root") == .number("1"))
            #expect(first.value(named: "freshness")?.text == (try await document("freshness.json")))
            #expect(first.value(named: "policy")?.text == (try await document("policy/1.json")))
            let same = try await ask(after: first.value(named: "cursor")?.text)
            #expect(same.members?.map(\.name) == ["cursor", "session", "ticket", "requests"])
            let session = try await ask(after: "1-0-active-0")
            #expect(session.members?.map(\.name) == ["cursor", "session", "ticket", "requests"])

            let many = (0..<400).map { "registry\($0).acme.test" }
            try await server.ask(.put, "policy", by: "owner", body: server.policy(allowing: many), ifMatch: 1)
            let long = try await ask(after: first.value(named: "cursor")?.text)
            #expect(long.value(named: "freshness")?.text == (try await document("freshness.json")))
            #expect(long.value(named: "policy") == nil)
        }
    }

    @Test
    func `a device that waits learns that its session has ended, and not of another organization's changes`()
        async throws
    {
        try await RunningServer.with { server in
            let device = try await server.register()
            try await server.signIn("member", on: device)
            let before = try await server.changes(device)
            #expect(before.session == "active")
            async let waiting = server.changes(device, after: before.cursor, wait: 60)
            await server.waiters(1)
            await server.services.changes.notify("other")
            await server.waiters(1)
            try await server.store.database.write { try $0.execute(sql: "UPDATE session SET ended = created") }
            await server.services.changes.notify("acme")
            let after = try await waiting
            #expect(after.session == "ended")
            #expect(after.cursor != before.cursor)
        }
    }

    @Test
    func `the end of a session is news where the machine knows only the end of the one before`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            var cursors: [String?] = [nil]
            for _ in 1...3 {
                // The machine is not told of the sign-in, which it made itself.
                try await server.signIn("member", on: device)
                #expect(try await server.ask(.delete, "sessions?user=member", by: "owner").status.kind == .successful)
                let changes = try await server.changes(device, after: cursors.last ?? nil, wait: 0)
                #expect(changes.session == "ended")
                cursors.append(changes.cursor)
            }
            #expect(Set(cursors).count == cursors.count, "\(cursors)")
        }
    }

    @Test
    func `a change between two polls is not missed`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let before = try await server.changes(device)
            try await server.ask(.put, "policy", by: "owner", body: server.policy(allowing: ["ghcr.io"]), ifMatch: 1)
            let after = try await server.changes(device, after: before.cursor, wait: 60)
            #expect(after.cursor != before.cursor)
        }
    }

    @Test
    func `a change of a team is one for its devices, also when a member leaves`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            var cursors = [try await server.changes(device).cursor]
            let changes = [
                "INSERT INTO teamMember (organization, team, user) VALUES ('acme', 'backend', 'member')",
                "INSERT INTO teamMember (organization, team, user) VALUES ('acme', 'frontend', 'member')",
                "DELETE FROM team WHERE name = 'backend'", "DELETE FROM membership WHERE user = 'member'",
            ]
            for sql in changes {
                try await server.store.database.write { try $0.execute(sql: sql) }
                cursors.append(try await server.changes(device, after: cursors.last, wait: 60).cursor)
            }
            #expect(Set(cursors).count == 5)
        }
    }

    @Test
    func `a server that stops lets nobody wait`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let before = try await server.changes(device)
            async let waiting = server.changes(device, after: before.cursor, wait: 60)
            await server.waiters(1)
            await server.services.changes.finish()
            let after = try await waiting
            #expect(after.cursor == before.cursor)
        }
    }

    @Test("a wait is 0 to 60 seconds", arguments: ["61", "-1", "x", "1.5", "01"])
    func badWait(_ wait: String) async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let answer = try await server.ask(.get, "devices/\(device.id)/changes?wait=\(wait)", secret: device.secret)
            #expect(answer.status == .badRequest)
        }
    }

    @Test
    func `a device that is taken out is told so while it waits, and is not known from then on`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let cursor = try await server.changes(device).cursor
            async let waiting = server.ask(
                .get,
                "devices/\(device.id)/changes?wait=60&after=\(cursor)",
                secret: device.secret
            )
            await server.waiters(1)
            #expect(try await server.ask(.delete, "devices/\(device.id)", by: "owner").status == .noContent)
            let answer = try await waiting
            #expect(answer.status == .unauthorized)
            #expect(answer.code == "device_unknown")
            let later = try await server.ask(.get, "devices/\(device.id)/changes", secret: device.secret)
            #expect(later.code == "device_unknown")
            #expect(try await server.ask(.delete, "devices/\(device.id)", by: "owner").status == .notFound)
        }
    }

    @Test
    func `a device speaks for itself alone`() async throws {
        try await RunningServer.with { server in
            let (one, other) = (try await server.register(), try await server.register())
            for secret in [other.secret, try #require(server.tokens["owner"]).secret] {
                let changes = try await server.ask(.get, "devices/\(one.id)/changes", secret: secret)
                #expect(changes.status == .unauthorized)
                let report = try await server.ask(
                    .post,
                    "devices/\(one.id)/reports",
                    secret: secret,
                    body: #"{"batch":"00000000-0000-0000-0000-000000000001"}"#
                )
                #expect(report.status == .unauthorized)
            }
            let elsewhere = try await server.ask(
                .get,
                "/v1/organizations/other/devices/\(one.id)/changes",
                secret: one.secret
            )
            #expect(elsewhere.status == .unauthorized)
        }
    }

    // MARK: - What owners see

    @Test
    func `a poll is seen at once, and written down later`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let (registered, key) = (server.time.now, "SELECT lastSeen FROM device WHERE id = ?")
            func shown() async throws -> String? {
                let devices = try await server.ask(.get, "devices", by: "auditor").json().value(named: "devices")
                return devices?.elements?.first?.value(named: "lastSeen")?.text
            }
            func written() async throws -> Int64? {
                try await server.store.database.read { try Int64.fetchOne($0, sql: key, arguments: [device.id]) }
            }
            for wait: Int64 in [10, 1000] {
                server.time.pass(wait)
                _ = try await server.changes(device)
                #expect(try await shown() == server.time.now.description)
            }
            #expect(try await written() == registered.seconds)
            try await server.services.lastSeen.write(to: server.store)
            #expect(try await written() == server.time.now.seconds)
            #expect(try await shown() == server.time.now.description)
            // One that is taken out meanwhile is no fault.
            _ = try await server.changes(device)
            #expect(try await server.ask(.delete, "devices/\(device.id)", by: "owner").status == .noContent)
            try await server.services.lastSeen.write(to: server.store)
            #expect(try await shown() == nil)
        }
    }

    @Test
    func `owners see how devices do`() async throws {
        try await RunningServer.with { server in
            var ids: [String: String] = [:]
            for (name, version) in [("new", nil), ("current", 1), ("behind", 0), ("silent", 1)] {
                let device = try await server.register(name)
                ids[name] = device.id
                guard let version else { continue }
                let status = """
                    {"policyVersion":\(version),"engineVersion":"29.7.2","productVersion":"0.4.0",
                    "enforcementPoints":["egress-proxy"],"findings":[{"check":"proxy","fixed":false}]}
                    """
                let body = "{\"batch\":\"00000000-0000-0000-0000-000000000001\",\"status\":\(status)}"
                let answer = try await server.ask(
                    .post,
                    "devices/\(device.id)/reports",
                    secret: device.secret,
                    body: body
                )
                #expect(answer.status == .noContent, "\(answer.text)")
            }
            try await server.services.lastSeen.write(to: server.store)
            try await server.store.database.write { database in
                try database.execute(sql: "UPDATE device SET lastSeen = lastSeen - 90000 WHERE name = 'silent'")
            }
            try await server.signIn("member", on: (try #require(ids["current"]), ""))
            var states: [String: String] = [:]
            var after = ""
            var pages = 0
            while true {
                let answer = try await server.ask(.get, "devices?limit=3\(after)", by: "auditor").json()
                for device in answer.value(named: "devices")?.elements ?? [] {
                    let name = try #require(device.value(named: "name")?.text)
                    #expect(name == device.value(named: "state")?.text)
                    states[name] = device.value(named: "session")?.text
                    if name == "current" {
                        #expect(device.value(named: "status")?.value(named: "engineVersion")?.text == "29.7.2")
                    }
                }
                pages += 1
                guard let next = answer.value(named: "next")?.text else { break }
                after = "&after=\(next)"
            }
            #expect(pages == 2)
            #expect(states == ["new": "none", "current": "active", "behind": "none", "silent": "none"])
        }
    }

    @Test
    func `a change of how long a policy holds is in force at once`() async throws {
        try await RunningServer.with { server in
            let body = #"{"validitySeconds":7200,"refreshSeconds":60,"contact":null}"#
            #expect(try await server.ask(.patch, "settings", by: "owner", body: body).status == .ok)
            var machine = try await server.machine()
            try await server.refresh(&machine)
            #expect(machine.freshness?.expires == server.time.now + 7200)
            #expect(machine.freshness?.refreshSeconds == 60)
            for bad in [#"{"validitySeconds":60}"#, #"{"enrollment":"none"}"#, #"{"x":1}"#, #"{"reportDays":0}"#, "[]"]
            {
                #expect(
                    try await server.ask(.patch, "settings", by: "owner", body: bad).status == .unprocessableContent
                )
            }
            let settings = try await server.store.settings(of: "acme")
            #expect(settings.validitySeconds == 7200)
        }
    }
}
