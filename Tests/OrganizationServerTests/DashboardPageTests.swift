import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import Testing

@testable import OrganizationServer

/// The tags of a page with the names of their attributes, as a browser reads them.
struct PageTags: Equatable {
    var tags: [String] = []

    init(_ html: String) {
        let bytes = Array(html.utf8)
        var position = 0
        func isLetter(_ byte: UInt8) -> Bool { (65...90).contains(byte) || (97...122).contains(byte) }
        func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 10 || byte == 13 || byte == 9 || byte == 12 }
        while position < bytes.count {
            guard bytes[position] == UInt8(ascii: "<"), position + 1 < bytes.count,
                isLetter(bytes[position + 1]) || bytes[position + 1] == UInt8(ascii: "/")
                    || bytes[position + 1] == UInt8(ascii: "!")
            else {
                position += 1
                continue
            }
            var words = ""
            var quote: UInt8?
            position += 1
            while position < bytes.count {
                let byte = bytes[position]
                if let open = quote {
                    if byte == open { quote = nil }
                } else if byte == UInt8(ascii: ">") {
                    break
                } else if (byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'")), words.hasSuffix("=") {
                    quote = byte
                } else {
                    words.unicodeScalars.append(Unicode.Scalar(isSpace(byte) ? 32 : byte))
                }
                position += 1
            }
            tags.append(words)
        }
    }
}

struct DashboardPageTests {
    /// Texts that mean something to a browser, a template, a database, a terminal or a spreadsheet.
    static let hostile = [
        "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onmouseover='alert(1)", "</title><script>",
        "</textarea><script>alert(1)</script>", "<!--", "-->", "<![CDATA[", "]]>", "&lt;script&gt;", "&#60;script&#62;",
        "&amp;", "&", "<", ">", "\"", "'", "`", "javascript:alert(1)", "data:text/html,<script>", "{{title}}",
        "{{{title}}}", "{{#rows}}", "{{/content}}", "{{>layout}}", "{{% CONTENT_TYPE:TEXT}}", "${7*7}", "<%= 7*7 %>",
        "'; DROP TABLE user; --", "\" OR 1=1", "\\", "%3Cscript%3E", "+ADw-script+AD4-", "=1+1", "@SUM(A1)", "-1",
        "\"\u{301} onfocus=alert(1) x=", "<\u{338}script>", "'\u{301}", "&\u{301}lt;", "\u{FF1C}script\u{FF1E}",
        "<svg/onload=alert(1)>", "<a href=//evil.test>x</a>", "<style>*{display:none}</style>",
        "<base href=//evil.test>",
        "</select></form><form action=//evil.test>", "</td></tr></table><h1>", "\u{1F600}<b>", "<b>\u{5E9}\u{5DC}</b>",
        "x\" autofocus onfocus=\"alert(1)",
    ]

    @Test
    func `50 hostile texts in every stored field stay text on every page`() async throws {
        #expect(Self.hostile.count == 50)
        try await AccountsServer.withPolicy { server in
            let harmless = try await Self.pages(server, with: "harmless")
            let now = server.clock.now
            for text in Self.hostile {
                try await server.services.store.database.write { database in
                    try database.execute(sql: "DELETE FROM refusal")
                    try database.execute(sql: "DELETE FROM device")
                    try database.execute(
                        sql: "UPDATE policyDraft SET document = NULL, number = number + 1, time = ?",
                        arguments: [now.seconds]
                    )
                }
                let pages = try await Self.pages(server, with: text)
                for (path, page) in pages {
                    #expect(PageTags(page) == PageTags(harmless[path] ?? ""), "\(text) on \(path)")
                    #expect(page.contains(HTMLText.escaped(text)) || !path.contains("!"), "\(text) on \(path)")
                }
            }
        }
    }

    /// Every page that shows what is stored, with a text in each stored field that takes it.
    ///
    /// Pages marked with `!` show it.
    private static func pages(_ server: AccountsServer, with text: String) async throws -> [String: String] {
        let device = "device0000000000000000001a"
        _ = try await server.makeDevice(device)
        let now = server.clock.now
        try await server.services.store.database.write { database in
            try database.execute(sql: "UPDATE device SET name = ?, lastSeen = ?", arguments: [text, now.seconds])
            let status = JSONValue.object([
                JSONMember("policyVersion", .number("1")), JSONMember("productVersion", .string(text)),
                JSONMember("engineVersion", .string(text)), JSONMember("enforcementPoints", .texts([text])),
                JSONMember("findings", .array([.string(text), .object([JSONMember("x", .string(text))])])),
            ])
            try database.execute(
                sql: """
                    INSERT INTO deviceStatus (organization, device, time, policyVersion, document)
                    VALUES ('acme', ?, ?, 1, ?)
                    """,
                arguments: [device, now.seconds, status.text()]
            )
            try database.execute(
                sql: """
                    INSERT INTO refusal (organization, device, received, id, time, registry, action, verdict, rule,
                        point, user) VALUES ('acme', :device, :now, :text, :text, :text, :text, 'deny', :text, :text, :text)
                    """,
                arguments: ["device": device, "now": now.seconds, "text": text]
            )
            try Activity(.memberAdded, by: text, name: text, data: [JSONMember("reason", .string(text))])
                .record(in: "acme", at: now, database)
        }
        // Lines of the activity stay for ever, so what is looked at is the newest.
        let alice = try await server.browser("alice")
        let nickname = try await alice.add("ghcr.io", ["nickname": text])
        #expect(nickname.status == 303, "\(text)")
        var pages: [String: String] = [:]
        let access = TestBrowser.access
        func page(_ name: String, _ answer: Answer) { pages[name] = answer.text }
        page("!list", try await alice.get("\(access)?q=ghcr.io"))
        page("!search", try await alice.get("\(access)?q=\(PercentEncoding.encode(text))&show=disallowed"))
        page("!edit", try await alice.get("\(access)/edit?rule=\(try await alice.rule("ghcr.io"))"))
        page("!review", try await alice.get("\(access)/review"))
        let comment = try await alice.save(["comment": text, "draft": "0"])
        #expect(comment.status == 412)
        page("!comment", comment)
        let wrong = "\(text) NO"
        page("!address", try await alice.add(wrong, ["repositories": wrong, "supportHosts": wrong]))
        page("!device", try await alice.get("/organizations/acme/devices/\(device)"))
        page("!devices", try await alice.get("/organizations/acme/devices"))
        page("!overview", try await alice.get("/organizations/acme"))
        let filter = "kind=people&person=\(PercentEncoding.encode(text))"
        page("!activity", try await alice.get("/organizations/acme/activity?\(filter)"))
        page("!refusals", try await alice.get("/organizations/acme/activity?kind=refusals"))
        let day = "kind=refusals&from=\(PercentEncoding.encode(text))"
        page("!day", try await alice.get("/organizations/acme/activity?\(day)"))
        let message = PercentEncoding.encode(text)
        let cookies = "\(alice.cookie); __Host-ram_message=\(message)"
        page("!message", try await server.send(.get, "\(access)/history", headers: [.cookie: cookies]))
        page("sign-in", try await server.send(.get, "/sign-in?to=%2F\(message)"))
        // A slash begins another part of the path.
        if !text.contains("/") { page("missing", try await alice.get("/organizations/\(message)/devices")) }
        return pages
    }

    @Test
    func `the activity has changes and refusals in one list, and pages follow each other`() async throws {
        try await AccountsServer.withPolicy { server in
            let device = "device0000000000000000001a"
            _ = try await server.makeDevice(device)
            for number in 0..<130 {
                server.clock.advance(number % 3 == 0 ? 1 : 0)
                if number % 2 == 0 {
                    try await server.report(device, "registry-\(number).test")
                } else {
                    let store = server.services.store
                    try await store.makeTeam("team-\(number)", in: "acme", by: "bob", at: server.clock.now)
                }
            }
            let alice = try await server.browser("alice")
            var address: String? = "/organizations/acme/activity"
            var seen: [String] = []
            while let next = address {
                let page = try await alice.get(next)
                #expect(page.status == 200)
                let names = page.text.matches(of: #/<code>((?:registry|team)-[0-9]+)/#).map { String($0.1) }
                #expect(names.count <= Paging.size)
                seen += names
                // Back to the newest leads a link from each page but the first.
                let newest = "href=\"/organizations/acme/activity\">Newest</a>"
                #expect(page.text.contains(newest) == (next != "/organizations/acme/activity"), "\(next)")
                let link = page.text.firstMatch(of: #/href="([^"]+)" rel="next"/#)
                address = link.map { String($0.1).replacing("&amp;", with: "&") }
            }
            #expect(seen.count == 130)
            #expect(Set(seen).count == 130)
            // Of one second, refusals come before changes.
            #expect(seen.prefix(4) == ["team-129", "registry-128", "registry-126", "team-127"])
        }
    }

    @Test(arguments: [
        ("kind=refusals", 2), ("kind=changes", 0), ("kind=people", 1), ("device=device0000000000000000001a", 1),
        ("registry=quay.io", 1), ("person=mia", 1), ("person=bob", 1), ("from=2026-11-26", 0),
        ("from=2026-11-25&kind=people", 1),
        ("to=2026-11-24", 0), ("kind=refusals&person=nobody", 0),
    ])
    func `the activity is filtered by kind, person, device, registry and day`(query: String, count: Int) async throws {
        try await AccountsServer.withPolicy { server in
            try await server.report("device0000000000000000001a", "quay.io", user: "mia")
            try await server.report("device0000000000000000002b", "ghcr.io", verdict: "would-deny")
            try await server.services.store.makeTeam("backend", in: "acme", by: "bob", at: server.clock.now)
            let alice = try await server.browser("alice")
            let page = try await alice.get("/organizations/acme/activity?\(query)")
            #expect(page.status == 200)
            #expect(page.text.ranges(of: #/<code>(?:quay.io|ghcr.io|backend)</code>/#).count == count)
            // What is filtered by stands in its field.
            for pair in query.split(separator: "&") where !pair.hasPrefix("kind=") {
                let halves = pair.split(separator: "=")
                #expect(page.text.firstMatch(of: try Regex("name=\"\(halves[0])\"[^>]* value=\"\(halves[1])\"")) != nil)
            }
            if count == 0, query != "kind=changes" { #expect(page.text.contains("Nothing is like this")) }
        }
    }

    @Test
    func `devices are listed with their state, and an owner ends the session of one`() async throws {
        try await AccountsServer.withPolicy { server in
            let ids = (0..<60).map { "device00000000000000000\($0 < 10 ? "0" : "")\($0)" }
            for id in ids { _ = try await server.makeDevice(id) }
            let now = server.clock.now
            try await server.services.store.database.write { database in
                try database.execute(sql: "UPDATE device SET lastSeen = ?", arguments: [now.seconds])
                for (id, version) in zip(ids, [1, 0, 1]) {
                    let points = version == 1 && id == ids[0] ? #"["egress-proxy"]"# : "[]"
                    try database.execute(
                        sql: """
                            INSERT INTO deviceStatus (organization, device, time, policyVersion, document)
                            VALUES ('acme', ?, ?, ?, ?)
                            """,
                        arguments: [id, now.seconds, version, #"{"enforcementPoints":\#(points)}"#]
                    )
                }
                try database.execute(sql: "UPDATE device SET lastSeen = NULL WHERE id = ?", arguments: [ids[3]])
            }
            let session = try await server.services.store.beginSession(
                of: SignedInPerson(user: "mia"),
                in: "acme",
                on: ids[0],
                from: "192.0.2.1",
                at: now
            )
            let alice = try await server.browser("alice")
            let page = try await alice.get("/organizations/acme/devices")
            let row = "<tr><td class=\"long\"><a href=\"/organizations/acme/devices/"
            #expect(page.text.ranges(of: row).count == Paging.size)
            for state in ["Up to date", "Outdated", "Not enforcing", "Silent", "Never reported"] {
                #expect(page.text.contains(">\(state)</span>"), "\(state)")
            }
            // A machine that told 0 refuses everything; the others that show no version have told none.
            #expect(page.text.ranges(of: "none in force").count == 1 && !page.text.contains(">0<"))
            let next = try #require(page.text.firstMatch(of: #/href="([^"]+)" rel="next"/#)?.1)
            let second = try await alice.get(String(next))
            #expect(second.text.ranges(of: row).count == Paging.size)
            let afterSecond = try #require(second.text.firstMatch(of: #/href="([^"]+)" rel="next"/#)?.1)
            let third = try await alice.get(String(afterSecond))
            #expect(third.text.ranges(of: row).count == 60 - 2 * Paging.size)
            #expect(!third.text.contains("rel=\"next\""))
            let overview = try await alice.get("/organizations/acme")
            #expect(overview.text.contains("<strong>1</strong><span class=\"faint\">Silent</span>"))
            #expect(overview.text.contains("<strong>1</strong><span class=\"faint\">Up to date</span>"))
            #expect(overview.text.contains("<strong>1</strong><span class=\"faint\">Not enforcing</span>"))
            #expect(overview.text.contains("<strong>1</strong><span class=\"faint\">Outdated</span>"))
            #expect(overview.text.contains("<strong>56</strong><span class=\"faint\">Never reported</span>"))

            let path = "/organizations/acme/devices/\(ids[0])"
            #expect(try await alice.get(path).text.contains("mia, since"))
            let audrey = try await server.browser("audrey")
            #expect(try await audrey.get(path).status == 200)
            #expect(!(try await audrey.get(path).text.contains("end-session")))
            #expect(try await audrey.post("\(path)/end-session").status == 403)
            server.clock.advance(601)
            #expect(try await alice.post("\(path)/end-session").status == 403)
            let state = try await server.services.store.sessionState(device: ids[0], in: "acme")
            #expect(state == .active)
            let ended = try await alice.post("\(path)/end-session", ["password": AccountsServer.password])
            #expect(ended.status == 303)
            let after = try await server.services.store.sessionState(device: ids[0], in: "acme")
            #expect(after == .ended)
            let me = try await server.send(.get, "/v1/me", as: session.access.secret)
            #expect(me.status == 401)
            #expect(try await alice.get(path).text.contains("href=\"\(path)/remove\""))
            let question = try await alice.get("\(path)/remove")
            #expect(question.status == 200 && question.text.contains("Take laptop out?"), "\(question)")
            #expect(try await audrey.get("\(path)/remove").status == 403)
            #expect(try await alice.get(path).status == 200, "to be asked does nothing")
            server.clock.advance(601)
            let unsure = try await alice.post("\(path)/remove", ["password": "wrong"])
            #expect(unsure.status == 403 && unsure.text.contains("Take laptop out?"), "\(unsure)")
            let sure = ["password": AccountsServer.password]
            #expect(try await alice.post("\(path)/remove", sure).status == 303)
            #expect(try await alice.get(path).status == 404)
        }
    }

    @Test
    func `a page that is for another role says so, and nothing of tokens`() async throws {
        try await AccountsServer.withPolicy { server in
            let mia = try await server.browser("mia")
            let page = try await mia.get("/organizations/acme/devices")
            #expect(page.status == 403)
            let words = "This needs another role in &quot;acme&quot; than yours, which is &quot;member&quot;."
            #expect(page.text.contains(words) && page.text.contains("Ask an owner of the organization."), "\(page)")
            #expect(!page.text.contains("token") && !page.text.contains("machines:read"), "\(page)")
            #expect(page.text.contains("aria-label=\"Pages of acme\""), "the way on")
            let form = try await mia.post("/organizations/acme/members/bob/role", ["role": "member"])
            #expect(form.status == 403 && form.text.contains(words), "\(form)")
        }
    }

    @Test
    func `where no machine is enrolled the page leads to the whole command`() async throws {
        try await AccountsServer.withPolicy { server in
            for name in ["alice", "audrey"] {
                let browser = try await server.browser(name)
                let page = try await browser.get("/organizations/acme/devices").text
                #expect(page.contains("No machine is enrolled yet") && !page.contains("printed"), "\(page)")
                #expect(page.contains("href=\"/organizations/acme/settings/machines\">Settings, Machines</a>"))
                let command = try await browser.get("/organizations/acme/settings/machines").text
                #expect(command.contains("--fingerprint sha256:"), "\(command)")
            }
        }
    }

    @Test
    func `no page has script or style of its own, or anything from elsewhere`() async throws {
        try await AccountsServer.withPolicy { server in
            _ = try await server.makeDevice()
            try await server.report("device0000000000000000001a", "quay.io")
            try await server.services.store.makeTeam("backend", in: "acme", by: "alice", at: server.clock.now)
            let alice = try await server.browser("alice")
            _ = try await alice.add("ghcr.io")
            let paths = [
                "/sign-in", "/organizations", "/organizations/acme", TestBrowser.access, "\(TestBrowser.access)/add",
                "\(TestBrowser.access)/review", "\(TestBrowser.access)/settings", "\(TestBrowser.access)/history",
                "\(TestBrowser.access)/history/1", "/organizations/acme/activity", "/organizations/acme/devices",
                "/organizations/acme/devices/device0000000000000000001a", "/organizations/none",
                "/organizations/acme/members", "/organizations/acme/members/mia", "/organizations/acme/invitations",
                "/organizations/acme/teams", "/organizations/acme/teams/backend", "/organizations/acme/sessions",
                "/organizations/acme/teams/backend/registries/add", "/organizations/acme/sessions/end?everybody=true",
                "/account", "/join", "/activate",
            ]
            for path in paths {
                let page = path == "/sign-in" ? try await server.send(.get, path) : try await alice.get(path)
                let tags = PageTags(page.text).tags
                #expect(tags.contains { $0.hasPrefix("html lang=") }, "\(path)")
                for tag in tags {
                    #expect(tag.firstMatch(of: #/ (?:style|on[a-z]+)=/#) == nil, "\(path) \(tag)")
                    #expect(!tag.hasPrefix("style"), "\(path)")
                    if tag.hasPrefix("script") { #expect(tag == "script src= defer blocking=") }
                }
                for match in page.text.matches(of: #/(?:src|href|action|formaction)="([^"]*)"/#) {
                    #expect(match.1.hasPrefix("/") || match.1 == "#main", "\(path) \(match.1)")
                }
                #expect(page.text.ranges(of: "<h1").count == 1, "\(path)")
                #expect(!page.text.contains("{{"), "\(path)")
                // Whatever is labelled is there once.
                let ids = page.text.matches(of: #/ id="([^"]+)"/#).map { String($0.1) }
                #expect(Set(ids).count == ids.count, "\(path)")
                for label in page.text.matches(of: #/ (?:for|list|aria-describedby)="([^"]+)"/#) {
                    for id in label.1.split(separator: " ") { #expect(ids.contains(String(id)), "\(path) \(id)") }
                }
            }
        }
    }

    @Test
    func `whoever belongs to no organization is told what to do, and others choose among theirs`() async throws {
        try await AccountsServer.withPolicy { server in
            try await server.makeStranger("nora")
            let nora = try await server.browser("nora")
            #expect(try await nora.get("/").headers[.location] == "/organizations")
            #expect(try await nora.get("/organizations").text.contains("do not belong to an organization yet"))
            #expect(try await nora.get("/organizations/acme").status == 404)
            let mia = try await server.browser("mia")
            #expect(try await mia.get("/").headers[.location] == "/organizations/acme")
            try await server.make("other", ["mia": .owner])
            #expect(try await mia.get("/").headers[.location] == "/organizations")
            let list = try await mia.get("/organizations").text
            #expect(list.contains("/organizations/acme") && list.contains("/organizations/other"))
        }
    }
}
