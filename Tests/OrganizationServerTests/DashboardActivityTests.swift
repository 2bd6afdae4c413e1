import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

struct DashboardActivityTests {
    private static let activity = "/organizations/acme/activity"
    private static let device = "device0000000000000000001a"

    @Test
    func `each action has words, and is of one kind`() {
        let names = Activity.Action.allCases.map(\.rawValue) + Activity.PolicyAction.allCases.map(\.rawValue)
        for name in names { #expect(Activity.words(name) != name) }
        #expect(ActivityKind.allCases.flatMap(\.actions).sorted() == names.sorted())
        #expect(Activity.words("made.up") == "made.up")
    }

    @Test(arguments: ActivityKind.allCases)
    func `a kind shows its actions and no others`(kind: ActivityKind) async throws {
        try await AccountsServer.withPolicy { server in
            let names = Activity.Action.allCases.map(\.rawValue) + Activity.PolicyAction.allCases.map(\.rawValue)
            let now = server.clock.now
            try await server.services.store.database.write { database in
                for action in Activity.Action.allCases {
                    try Activity(action, by: "bob", name: "of-\(action.rawValue)").record(in: "acme", at: now, database)
                }
                for action in Activity.PolicyAction.allCases {
                    try Activity(action, by: "bob", name: "of-\(action.rawValue)").record(in: "acme", at: now, database)
                }
            }
            let alice = try await server.browser("alice")
            let page = try await alice.get("\(Self.activity)?person=bob&kind=\(kind.rawValue)").text
            let shown = names.filter { page.contains("<code>of-\($0)</code>") }
            #expect(shown.sorted() == kind.actions.sorted())
        }
    }

    /// What a page knows, as the script reads it.
    private func known(_ page: String, _ name: String) throws -> Int {
        let match = try #require(page.firstMatch(of: try Regex("data-\(name)=\"([0-9]+)\"")))
        return try #require(match[1].substring.flatMap { Int($0) })
    }

    @Test
    func `the news are what came since, each once, and do not keep a session`() async throws {
        try await AccountsServer.withPolicy { server in
            _ = try await server.makeDevice(Self.device)
            try await server.report(Self.device, "old.test")
            let alice = try await server.browser("alice")
            let page = try await alice.get("\(Self.activity)?kind=people")
            #expect(page.text.contains("data-address=\"\(Self.activity)/news?kind=people\""))
            let all = try await alice.get(Self.activity).text
            var (change, refusal) = (try known(all, "change"), try known(all, "refusal"))
            func news(_ query: String = "") async throws -> Answer {
                try await alice.get("\(Self.activity)/news?change=\(change)&refusal=\(refusal)\(query)")
            }
            #expect(try await news().status == 204)
            server.clock.advance(1)
            try await server.report(Self.device, "new.test")
            try await server.services.store.makeTeam("backend", in: "acme", by: "bob", at: server.clock.now)
            let answer = try await news()
            #expect(answer.status == 200)
            #expect(answer.headers[.cacheControl] == "no-store")
            #expect(answer.text.ranges(of: "<tr>").count == 2)
            // Of one second, the refusal stands above the change.
            let (refused, made) = (answer.text.firstRange(of: "new.test"), answer.text.firstRange(of: "backend"))
            #expect(try #require(refused).lowerBound < #require(made).lowerBound)
            #expect(!answer.text.contains("old.test") && !answer.text.contains("data-more"))
            #expect(try await news("&kind=refusals").text.ranges(of: "<tr>").count == 1)
            #expect(try await news("&kind=settings").status == 204)
            (change, refusal) = (try known(answer.text, "change"), try known(answer.text, "refusal"))
            #expect(try await news().status == 204)
            for number in 0...Paging.size { try await server.report(Self.device, "r\(number).test") }
            #expect(try await news().text.contains("data-more"))
            // A page further back knows nothing of news.
            #expect(!(try await alice.get("\(Self.activity)?change=3").text.contains("data-address")))

            // Asked every minute, the session ends as if nobody had asked.
            for _ in 0..<29 {
                server.clock.advance(60)
                #expect(try await news().status == 200)
            }
            server.clock.advance(120)
            let ended = try await news()
            #expect(ended.status == 303)
            #expect(ended.headers[.location]?.hasPrefix("/sign-in") == true)
        }
    }

    @Test(arguments: [
        ("list=changes&format=csv", 200, ["backend"]), ("list=refusals&format=csv", 200, ["quay.io", "=1+1"]),
        ("list=refusals&format=jsonl&registry=quay.io", 200, ["quay.io"]),
        ("list=changes&format=jsonl&person=nobody", 200, []), ("list=refusals&format=csv&from=2026-11-26", 200, []),
        ("list=changes&format=json", 400, []), ("list=changes&format=xlsx", 400, []), ("format=csv", 404, []),
        ("list=changes&format=csv&kind=refusals", 404, []), ("list=refusals&format=csv&kind=people", 404, []),
        ("list=changes&format=csv&from=yesterday", 400, []),
    ])
    func `files hold what is filtered`(query: String, status: Int, names: [String]) async throws {
        try await AccountsServer.withPolicy { server in
            _ = try await server.makeDevice(Self.device)
            try await server.report(Self.device, "quay.io")
            try await server.report(Self.device, "=1+1")
            try await server.services.store.makeTeam("backend", in: "acme", by: "bob", at: server.clock.now)
            let audrey = try await server.browser("audrey")
            let answer = try await audrey.get("\(Self.activity)/export?\(query)")
            #expect(answer.status == status)
            guard status == 200 else { return }
            for name in ["backend", "quay.io", "=1+1"] {
                #expect(answer.text.contains(name) == names.contains(name), "\(name)")
            }
            #expect(answer.headers[.contentDisposition]?.hasPrefix("attachment; filename=\"") == true)
            if query.contains("csv"), names.contains("=1+1") { #expect(answer.text.contains(",'=1+1,")) }
        }
    }

    @Test
    func `more refusals than are read at once come all, the newest first`() async throws {
        try await AccountsServer.withPolicy { server in
            _ = try await server.makeDevice(Self.device)
            let now = server.clock.now
            try await server.services.store.database.write { database in
                for number in 0..<1203 {
                    try database.execute(
                        sql: """
                            INSERT INTO refusal (organization, device, received, id, time, registry, action, verdict,
                                point) VALUES ('acme', ?, ?, ?, ?, ?, 'pull', 'deny', 'egress-proxy')
                            """,
                        arguments: [Self.device, now.seconds, "\(number)", now.description, "r\(number).test"]
                    )
                }
            }
            let alice = try await server.browser("alice")
            let lines = try await alice.get("\(Self.activity)/export?list=refusals&format=csv").text
                .split(separator: "\r\n")
            #expect(lines.first == "number,received,device,id,time,registry,action,verdict,rule,point,user,deviceName")
            let names = lines.dropFirst().map { String($0.split(separator: ",")[5]) }
            #expect(names == (0..<1203).reversed().map { "r\($0).test" })
        }
    }

    @Test
    func `a machine is shown by its name, as long as it is there with the way to its page, and afterwards too`()
        async throws
    {
        try await AccountsServer.withPolicy { server in
            let made = try await server.send(.post, "/v1/organizations/acme/devices", body: #"{"name":"build-01"}"#)
            let id = try #require(made["device"])
            try await server.report(id, "quay.io")
            try await server.report(Self.device, "ghcr.io")
            let alice = try await server.browser("alice")
            let page = try await alice.get(Self.activity).text
            let link = "<a href=\"/organizations/acme/devices/\(id)\" title=\"\(id)\">build-01</a>"
            #expect(page.contains("\(link) registered"))
            #expect(page.contains("<td>\(link)</td>"))
            #expect(!page.contains("device_name") && !page.contains(">\(id)"))
            // One that nobody knows has its id.
            #expect(page.contains("<td><code>\(Self.device)</code></td>"))
            #expect(try await alice.post("/organizations/acme/devices/\(id)/remove").status == 303)
            let after = try await alice.get(Self.activity).text
            let name = "<strong title=\"\(id)\">build-01</strong>"
            #expect(after.contains("<strong>alice</strong> took out the device \(name)"))
            #expect(after.contains("<td>\(name)</td>") && after.contains("\(name) registered"))
            #expect(!after.contains("devices/\(id)"))
            // So do files.
            let export = "\(Self.activity)/export?list=refusals&registry=quay.io&format="
            let table = try await alice.get(export + "csv").text.split(separator: "\r\n")
            #expect(table.count == 2 && table.last?.hasSuffix(",build-01") == true, "\(table)")
            let json = try StrictJSON.parse(Array(try await alice.get(export + "jsonl").text.dropLast().utf8))
            #expect(json.value(named: "deviceName")?.text == "build-01", "\(json)")
            // Another organization has nothing to do with it.
            let names = try await server.services.store.deviceNames(of: [id], in: "other")
            #expect(names.isEmpty)
        }
    }

    @Test(
        arguments: [
            (.identityLinked, "alice", "linked an identity of single sign-on<span"),
            (.identityLinked, "mia", "linked an identity of single sign-on with <code>mia</code>"),
            (.identityUnlinked, "alice", "unlinked an identity of single sign-on<span"),
            (.memberInvited, "", "made an invitation<span"),
            (.memberInvited, "new@acme.test", "invited <code>new@acme.test</code>"),
            (.memberAdded, "alice", "joined<span"), (.passwordChanged, "alice", "changed the password<span"),
            (.teamMemberAdded, "alice", "changed a team by adding <code>alice</code>"),
            (.tokenCreated, "alice", "made the access token <code>alice</code>"),
        ] as [(Activity.Action, String, String)]
    )
    func `what somebody did to themselves or to nobody is a whole sentence, too`(
        action: Activity.Action,
        name: String,
        words: String
    ) async throws {
        try await AccountsServer.withPolicy { server in
            let activity = Activity(action, by: "alice", name: name, data: [JSONMember("number", .number("1"))])
            try await server.services.store.record(activity, in: "acme", at: server.clock.now)
            let page = try await server.browser("alice").get(Self.activity).text
            #expect(page.contains("<strong>alice</strong> \(words)"), "\(page)")
        }
    }

    @Test
    func `the filter of a machine takes its name, and shows what it refused and what was done with it`() async throws {
        try await AccountsServer.withPolicy { server in
            var ids: [String: String] = [:]
            for name in ["Build-01", "build-02", "laptop"] {
                let made = try await server.send(
                    .post,
                    "/v1/organizations/acme/devices",
                    body: #"{"name":"\#(name)"}"#
                )
                let id: String = try #require(made["device"])
                ids[name] = id
            }
            for (name, id) in ids { try await server.report(id, "\(name.lowercased()).test") }
            let laptop = try #require(ids["laptop"])
            _ = try await server.services.store.beginSession(
                of: SignedInPerson(user: "mia"),
                in: "acme",
                on: laptop,
                from: "192.0.2.1",
                at: server.clock.now
            )
            let alice = try await server.browser("alice")
            let path = "/organizations/acme/devices/\(laptop)"
            #expect(try await alice.post("\(path)/end-session").status == 303)
            func rows(_ query: String) async throws -> [String] {
                let page = try await alice.get("\(Self.activity)?\(query)")
                #expect(page.status == 200)
                return page.text.matches(of: #/(?s)<tr><td><time.*?<\/tr>/#).map { String($0.0) }
            }
            func found(_ device: String, _ words: [String], _ more: String = "") async throws {
                let rows = try await rows("device=\(device)\(more)")
                #expect(rows.count == words.count, "\(device): \(rows)")
                for word in words { #expect(rows.contains { $0.contains(word) }, "\(device) \(word): \(rows)") }
            }
            let all = ["laptop.test", "registered", "</strong> signed in<", "ended sessions"]
            for name in ["laptop", "LAPTOP", "lap", laptop] { try await found(name, all) }
            try await found("laptop", ["laptop.test"], "&kind=refusals")
            try await found("laptop", ["registered"], "&kind=devices")
            try await found("laptop", [], "&person=nobody")
            // The whole name is meant before others that begin so.
            try await found("build-", ["build-01.test", "build-02.test", "registered", "registered"])
            try await found("build-01", ["build-01.test", "registered"])
            try await found("nothing", [])
            #expect(try await alice.post("\(path)/remove").status == 303)
            try await found("laptop", all + ["took out the device"])
            let file = try await alice.get("\(Self.activity)/export?device=laptop&list=changes&format=csv")
            #expect(file.text.split(separator: "\r\n").count == 5, "\(file)")
        }
    }

    @Test(arguments: [
        ("person=ali", "alice", "person=alice"), ("person=Ali", "alice", "person=alice"),
        ("registry=gh", "ghcr.io", "registry=ghcr.io"), ("registry=back", "backend", "registry=backend"),
        ("registry=gh&kind=refusals", "ghcr.io", "kind=refusals&amp;registry=ghcr.io"),
    ])
    func `where nothing is found, the page says that whole names are, and which there are`(
        query: String,
        name: String,
        address: String
    ) async throws {
        try await AccountsServer.withPolicy { server in
            _ = try await server.makeDevice(Self.device)
            for _ in 0..<3 { try await server.report(Self.device, "ghcr.io") }
            try await server.services.store.makeTeam("backend", in: "acme", by: "alice", at: server.clock.now)
            let audrey = try await server.browser("audrey")
            let page = try await audrey.get("\(Self.activity)?\(query)").text
            #expect(page.contains("Nothing is like this") && page.contains("by their whole names"))
            #expect(page.contains("<a href=\"\(Self.activity)?\(address)\"><code>\(name)</code></a>"), "\(page)")
            #expect(try await !audrey.get("\(Self.activity)?person=zzz").text.contains("Did you mean"))
            #expect(try await audrey.get("\(Self.activity)?\(query.replacing("=", with: "=zz"))").status == 200)
        }
    }

    @Test(arguments: [
        ("current", "Up to date"), ("not-enforcing", "Not enforcing"), ("behind", "Outdated"), ("silent", "Silent"),
        ("new", "Never reported"), ("signed-out", "Signed out"),
    ])
    func `devices are shown by their state, page by page and as a file`(state: String, title: String) async throws {
        try await AccountsServer.withPolicy { server in
            // 60 of each state, one after the other.
            let states = Device.Standing.allCases
            let ids = (0..<360).map { "device000000000000\($0 + 1_000_000)" }
            for id in ids { _ = try await server.makeDevice(id) }
            let now = server.clock.now
            try await server.services.store.database.write { database in
                for (number, id) in ids.enumerated() {
                    let standing = states[number % states.count]
                    let seen = standing == .silent ? 0 : now.seconds
                    try database.execute(
                        sql: "UPDATE device SET lastSeen = ?, name = ? WHERE id = ?",
                        arguments: [seen, "\(standing.rawValue) =\(number)", id]
                    )
                    guard standing != .new else { continue }
                    let points = standing == .notEnforcing ? "[]" : #"["egress-proxy"]"#
                    try database.execute(
                        sql: """
                            INSERT INTO deviceStatus (organization, device, time, policyVersion, document)
                            VALUES ('acme', ?, ?, ?, ?)
                            """,
                        arguments: [
                            id, now.seconds, standing == .behind ? 0 : 1, #"{"enforcementPoints":\#(points)}"#,
                        ]
                    )
                }
            }
            for (number, id) in ids.enumerated() where states[number % states.count] == .signedOut {
                _ = try await server.services.store.beginSession(
                    of: SignedInPerson(user: "mia"),
                    in: "acme",
                    on: id,
                    from: "192.0.2.1",
                    at: now
                )
            }
            _ = try await server.services.store.endSessions(
                in: "acme",
                Store.SessionSelection(user: "mia"),
                by: "alice",
                at: now
            )
            let audrey = try await server.browser("audrey")
            // Whoever is signed out is up to date all the same.
            let count = state == "current" ? 120 : 60
            var address: String? = "/organizations/acme/devices?state=\(state)"
            var shown = 0
            while let next = address {
                let page = try await audrey.get(next)
                #expect(page.status == 200)
                shown += page.text.ranges(of: "<tr><td class=\"long\"><a href=\"/organizations/acme/devices/").count
                if state != "signed-out" { #expect(page.text.contains(">\(title)</span>")) }
                let link = page.text.firstMatch(of: #/href="([^"]+)" rel="next"/#)
                address = link.map { String($0.1).replacing("&amp;", with: "&") }
            }
            #expect(shown == count)
            let file = try await audrey.get("/organizations/acme/devices-export?state=\(state)")
            let lines = file.text.split(separator: "\r\n")
            #expect(lines.count == count + 1)
            #expect(lines.first?.hasPrefix("id,name,state,policyVersion,") == true)
            #expect(lines.dropFirst().allSatisfy { $0.contains(state == "signed-out" ? ",ended," : title) })
            let overview = try await audrey.get("/organizations/acme").text
            let tile = "devices?state=signed-out\"><strong>60</strong><span class=\"faint\">Signed out<"
            #expect(overview.contains(tile))
            let whole = try await audrey.get("/organizations/acme/devices-export")
            #expect(whole.text.split(separator: "\r\n").count == 361)
        }
    }
}
