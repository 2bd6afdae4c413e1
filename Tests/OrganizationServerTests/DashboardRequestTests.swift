import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// Requests on the dashboard: who sees which, asking, and answers.
struct DashboardRequestTests {
    private static let page = "/organizations/acme/requests"

    private static let people: [String: Role] = [
        "owner": .owner, "editor": .editor, "auditor": .auditor, "member": .member, "other": .member,
    ]

    private static func with(_ body: @Sendable @escaping (AccountsServer) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            try await AccountsServer.with(keys: "\(directory)/keys") { server in
                try await server.make("acme", people)
                try await RunningServer.begin("acme", server.services.publisher, SigningKey.generate())
                try await body(server)
            }
        }
    }

    private static func inForce(_ server: AccountsServer) async throws -> (rules: [String], version: Int) {
        let policy = try #require(try await server.services.publisher.served.policy(of: "acme"))
        return (policy.policy.rules.map(\.document).map { $0.text() }, policy.version)
    }

    @Test
    func `a member asks with the link of a refusal, sees their own, and takes it back`() async throws {
        try await Self.with { server in
            let (member, other) = (try await server.browser("member"), try await server.browser("other"))
            let form = try await member.get("\(Self.page)?registry=r.test%3A5000&action=push")
            #expect(form.text.contains(#"name="registry" value="r.test:5000""#))
            #expect(form.text.contains(#"<input type="radio" id="action-push" name="action" value="push" checked>"#))
            let fields = ["registry": " r.test:5000 ", "reason": "a\r\nb", "action": "push"]
            let asked = try await member.post(Self.page, fields)
            #expect(asked.status == 303 && asked.headers[.location] == "\(Self.page)/1", "\(asked)")
            let request = try await server.services.store.request(1, of: "acme")
            #expect(request.user == "member" && request.reason == "a b" && request.action == .push)
            #expect(try await member.get(Self.page).text.contains("r.test:5000"))
            #expect(try await member.get("\(Self.page)/1").status == 200)
            #expect(try await !other.get(Self.page).text.contains("r.test:5000"))
            #expect(try await other.get("\(Self.page)/1").status == 404)
            #expect(try await other.post("\(Self.page)/1/withdraw").status == 404)
            // Nothing to answer with, and nothing answered.
            #expect(try await !member.get("\(Self.page)/1").text.contains("/allow"))
            #expect(try await member.post("\(Self.page)/1/allow", ["policy": "1"]).status == 403)
            #expect(try await member.post("\(Self.page)/1/decline").status == 403)
            #expect(try await member.post("\(Self.page)/1/withdraw").status == 303)
            #expect(try await member.get(Self.page).text.contains("Withdrawn"))
        }
    }

    @Test(
        arguments: [
            ("https://ghcr.io", "is no registry"), ("", "is no registry"), ("<b>", "is no registry"),
            ("*.acme.test", "is no registry"), ("https://ghcr.io/", "written as its host alone"),
            ("alpine", "is an image; its registry is &quot;docker.io&quot;"),
            ("ghcr.io/acme/api:1.2", "is an image; its registry is &quot;ghcr.io&quot;"),
            ("b\u{fc}cher.example", "&quot;b\u{fc}cher.example&quot; is no registry"),
            ("reason", "is an image"),
        ]
    )
    func `what is wrong is told, and what was typed stays`(registry: String, words: String) async throws {
        try await Self.with { server in
            let member = try await server.browser("member")
            let answer = try await member.post(Self.page, ["registry": registry, "reason": "it is <needed>"])
            #expect(answer.status == 422, "\(answer)")
            #expect(answer.text.contains(words) && answer.text.contains("registry-fault"), "\(answer)")
            #expect(answer.text.contains(#"value="it is &lt;needed&gt;""#), "\(answer)")
            #expect(try await server.count("registryRequest") == 0)
        }
    }

    @Test(arguments: [
        (1_798_156_800, "the end of 24 December 2026 (UTC)"), (1_798_156_799, "24 December 2026, 23:59 UTC"),
        (1_767_225_600, "the end of 31 December 2025 (UTC)"), (1_767_243_900, "1 January 2026, 05:05 UTC"),
    ])
    func `an end is said so that it reads well`(seconds: Int64, words: String) {
        #expect(Dashboard.end(Instant(seconds: seconds)) == words)
    }

    @Test
    func `owners see how many are open and how much they are wanted, and allow until a day`() async throws {
        try await Self.with { server in
            for name in ["member", "other"] {
                let fields = ["registry": "ghcr.io", "reason": "base images"]
                #expect(try await server.browser(name).post(Self.page, fields).status == 303)
            }
            let owner = try await server.browser("owner")
            let list = try await owner.get(Self.page).text
            #expect(list.contains("2 requests are open"))
            #expect(list.contains("1 other asked for it in 30 days"))
            #expect(list.contains(#"<span class="badge info">2<span class="hidden"> open</span></span>"#))
            // Also on other pages, but for nobody who cannot answer.
            #expect(try await owner.get("/organizations/acme/devices").text.contains(#"badge info">2<"#))
            let auditor = try await server.browser("auditor")
            #expect(try await auditor.get(Self.page).text.contains("base images"))
            #expect(try await !auditor.get(Self.page).text.contains(#"badge info">2<"#))
            #expect(try await !auditor.get("\(Self.page)/1").text.contains("/allow"))

            let page = try await owner.get("\(Self.page)/1")
            #expect(page.text.contains(#"name="address" value="ghcr.io""#))
            var fields = [
                "policy": try #require(page.hidden("policy")), "address": "ghcr.io", "pull": "on", "end": "date",
                "word": "until the mirror has it",
            ]
            let noDay = try await owner.post("\(Self.page)/1/allow", fields)
            #expect(noDay.status == 422 && noDay.text.contains("Choose the last day"), "\(noDay)")
            #expect(noDay.text.contains("until the mirror has it"))
            fields["date"] = String((server.clock.now + 86_400).description.prefix(10))
            // Nobody allows for good what was to end.
            let both = try await owner.post("\(Self.page)/1/allow", fields.merging(["end": "never"]) { _, new in new })
            #expect(both.status == 422 && both.text.contains("and For good as well"), "\(both)")
            #expect(try await Self.inForce(server).version == 1)
            // GHCR brings a shared host, which is to be seen first.
            let warned = try await owner.post("\(Self.page)/1/allow", fields)
            if let seen = warned.hidden("seen") {
                #expect(warned.status == 422 && warned.text.contains("Look at this before"))
                #expect(try await Self.inForce(server).version == 1)
                fields["seen"] = seen
                let allowed = try await owner.post("\(Self.page)/1/allow", fields)
                #expect(allowed.status == 303)
                let message = TestBrowser.message(allowed)
                #expect(message.hasPrefix("ghcr.io is allowed until the end of 26 November 2026 (UTC): version 2."))
            }
            let inForce = try await Self.inForce(server)
            #expect(inForce.version == 2)
            #expect(inForce.rules.last == #"{"address":"ghcr.io","allowed":true,"actions":["pull"]}"#)
            let request = try await server.services.store.request(2, of: "acme")
            #expect(request.state == .allowed && request.word == "until the mirror has it")
            #expect(request.until.map { $0 - server.clock.now > 86_400 } == true)
            #expect(try await server.browser("other").get(Self.page).text.contains("until the mirror has it"))
            #expect(try await owner.get(Self.page).text.contains("Nothing is open"))
            let again = try await owner.post("\(Self.page)/1/allow", fields)
            #expect(again.status == 409 && again.text.contains("allowed already"), "\(again)")
        }
    }

    @Test
    func `what is allowed already is told at the field, and not asked for`() async throws {
        try await Self.with { server in
            let answer = try await server.browser("member").post(Self.page, ["registry": "docker.io"])
            #expect(answer.status == 409, "\(answer)")
            #expect(answer.text.contains("&quot;docker.io&quot; is allowed already, by &quot;docker.io&quot;."))
            #expect(answer.text.contains("registry-fault") && answer.text.contains(#"value="docker.io""#))
            #expect(try await server.count("registryRequest") == 0)
        }
    }

    @Test(arguments: [-1, 0, 3652, 3653])
    func `a day that is no end is told at its field`(days: Int64) async throws {
        try await Self.with { server in
            let asked = try await server.browser("member").post(Self.page, ["registry": "r.test"])
            #expect(asked.status == 303)
            let owner = try await server.browser("owner")
            let answer = try await owner.post(
                "\(Self.page)/1/allow",
                [
                    "policy": "1", "address": "r.test", "pull": "on", "end": "date",
                    "date": String((server.clock.now + days * 86_400).description.prefix(10)),
                ]
            )
            // The last day is a whole one, so the farthest end is a day later.
            let isGood = days == 0 || days == 3652
            #expect(answer.status == (isGood ? 303 : 422), "\(answer)")
            if !isGood {
                let words = "Choose a day from today on, in ten years at most."
                #expect(answer.text.ranges(of: words).count == 1 && answer.text.contains("date-fault"), "\(answer)")
            }
        }
    }

    @Test
    func `open requests are paged like answered ones, and the page counts them all`() async throws {
        try await Self.with { server in
            let total = 2 * Paging.size + 3
            let now = server.clock.now.seconds
            try await server.services.store.database.write { database in
                for number in 1...2 * total {
                    try database.execute(
                        sql: """
                            INSERT INTO registryRequest (organization, number, registry, action, reason, user, device,
                                made, state, answered) VALUES ('acme', ?, ?, 'pull', '', ?, ?, ?, ?, ?)
                            """,
                        arguments: [
                            number, "r\(number).test", number == 1 ? "member" : nil, "device", now,
                            number <= total ? "open" : "declined", number <= total ? nil : now,
                        ]
                    )
                }
            }
            let owner = try await server.browser("owner")
            var (open, answered): (Set<String>, Set<String>) = ([], [])
            var addresses = [Self.page]
            var pages = 0
            while let address = addresses.popLast() {
                pages += 1
                let page = try await owner.get(address)
                #expect(page.status == 200)
                let names = page.text.matches(of: #/<strong>(r[0-9]+\.test)</#).map { String($0.1) }
                #expect(names.count <= 2 * Paging.size)
                let (first, second) = (
                    names.filter { Self.number($0) <= total }, names.filter { Self.number($0) > total }
                )
                if !first.isEmpty { #expect(page.text.contains("\(total) requests are open")) }
                #expect(page.text.contains(#"badge info">\#(total)<"#))
                #expect(open.isDisjoint(with: first) && answered.isDisjoint(with: second), "\(address)")
                open.formUnion(first)
                answered.formUnion(second)
                addresses += page.text.matches(of: #/href="([^"]+)" rel="next"/#).map { String($0.1) }
                #expect(page.text.contains("Ask for a registry") == (address == Self.page))
                #expect(page.text.contains(">First</a>") == (address != Self.page))
                #expect(!page.text.contains("There are no older requests") && !page.text.contains("Nothing is open"))
            }
            #expect(open.count == total && answered.count == total && pages == 5)
            #expect(try await owner.get("\(Self.page)?open-before=1").text.contains("There are no older requests"))
            #expect(try await server.browser("member").get(Self.page).text.contains("1 request is open"))
        }
    }

    private static func number(_ name: String) -> Int { Int(name.dropFirst().dropLast(5)) ?? 0 }

    @Test
    func `an answer to another version, a rule that denies, and a broad pattern are told on the page`() async throws {
        try await Self.with { server in
            #expect(try await server.browser("member").post(Self.page, ["registry": "quay.test"]).status == 303)
            let editor = try await server.browser("editor")
            let fields = ["policy": "1", "address": "quay.test", "pull": "on"]
            let broad = fields.merging(["address": "**"]) { $1 }
            let answer = try await editor.post("\(Self.page)/1/allow", broad)
            #expect(answer.status == 422 && answer.text.contains("Confirm that this is meant"), "\(answer)")
            let elsewhere = try await editor.post("\(Self.page)/1/allow", fields.merging(["address": "x.test"]) { $1 })
            #expect(elsewhere.status == 422 && elsewhere.text.contains("does not speak of"), "\(elsewhere)")
            _ = try await server.services.publisher.publish(in: "acme", by: "owner") { content in
                var content = content
                let denying = RegistryRule(address: try AddressPattern("*.test"), isAllowed: false)
                content.policy = content.policy.with(rules: content.policy.rules + [denying])
                return content
            }
            let late = try await editor.post("\(Self.page)/1/allow", fields)
            #expect(late.status == 412 && late.text.contains("another version of the policy"), "\(late)")
            #expect(late.hidden("policy") == "2")
            let denied = try await editor.post("\(Self.page)/1/allow", fields.merging(["policy": "2"]) { $1 })
            #expect(denied.status == 409 && denied.text.contains("deny wins"), "\(denied)")
            #expect(try await Self.inForce(server).version == 2)
            let long = ["word": String(repeating: "x", count: 501)]
            #expect(try await editor.post("\(Self.page)/1/decline", long).status == 422)
            #expect(try await editor.post("\(Self.page)/1/decline", ["word": "use our mirror"]).status == 303)
            #expect(try await server.browser("member").get(Self.page).text.contains("use our mirror"))
        }
    }

    @Test
    func `where the policy is meant to deny the server, requests are allowed with that said again`() async throws {
        try await Self.with { server in
            #expect(try await server.browser("member").post(Self.page, ["registry": "quay.test"]).status == 303)
            let publisher = server.services.publisher
            _ = try await publisher.publish(in: "acme", by: "owner", acknowledgingLockOut: true) { content in
                var content = content
                let denying = RegistryRule(address: try AddressPattern("ram.acme.test"), isAllowed: false)
                content.policy = content.policy.with(rules: content.policy.rules + [denying])
                return content
            }
            let editor = try await server.browser("editor")
            var fields = ["policy": "2", "address": "quay.test", "pull": "on"]
            #expect(try await !editor.get("\(Self.page)/1").text.contains("acknowledgeLockOut"))
            let refused = try await editor.post("\(Self.page)/1/allow", fields)
            #expect(refused.status == 422, "\(refused)")
            #expect(refused.text.contains("That is meant: allow it all the same"))
            #expect(!refused.text.contains("say &quot;acknowledgeLockOut&quot;"))
            fields["acknowledgeLockOut"] = "on"
            server.clock.advance(601)
            let again = try await editor.post("\(Self.page)/1/allow", fields)
            #expect(again.status == 403 && again.text.contains("name=\"acknowledgeLockOut\" checked>"), "\(again)")
            fields["password"] = AccountsServer.password
            #expect(try await editor.post("\(Self.page)/1/allow", fields).status == 303)
            #expect(try await Self.inForce(server).version == 3)
        }
    }

    @Test
    func `who has not shown their password lately does so before something is allowed`() async throws {
        try await Self.with { server in
            #expect(try await server.browser("member").post(Self.page, ["registry": "quay.test"]).status == 303)
            let owner = try await server.browser("owner")
            server.clock.advance(601)
            let fields = ["policy": "1", "address": "quay.test", "pull": "on"]
            let refused = try await owner.post("\(Self.page)/1/allow", fields)
            #expect(refused.status == 403 && refused.text.contains("Enter your password"), "\(refused)")
            #expect(try await Self.inForce(server).version == 1)
            let given = fields.merging(["password": AccountsServer.password]) { $1 }
            #expect(try await owner.post("\(Self.page)/1/allow", given).status == 303)
            #expect(try await Self.inForce(server).version == 2)
        }
    }

    @Test
    func `a form from elsewhere asks and answers nothing`() async throws {
        try await Self.with { server in
            let owner = try await server.browser("owner")
            let foreign = try await owner.post(Self.page, ["registry": "ghcr.io"], origin: "https://evil.test")
            #expect(foreign.status == 403)
            let forged = try await owner.post(Self.page, ["registry": "ghcr.io", "form": "x"])
            #expect(forged.status == 403)
            #expect(try await server.count("registryRequest") == 0)
        }
    }

    @Test
    func `hostile texts in a reason and a word stay text`() async throws {
        try await Self.with { server in
            let store = server.services.store
            let registry = try RegistryAddress("ghcr.io")
            func pages(_ text: String, _ number: Int) async throws -> [PageTags] {
                var pages: [PageTags] = []
                for name in ["owner", "member"] {
                    let browser = try await server.browser(name)
                    for path in [Self.page, "\(Self.page)/\(number)"] {
                        let answer = try await browser.get(path)
                        #expect(answer.status == 200)
                        #expect(answer.text.contains(HTMLText.escaped(text)), "\(text) on \(path)")
                        pages.append(PageTags(answer.text))
                    }
                }
                return pages
            }
            func tags(_ text: String) async throws -> [PageTags] {
                server.clock.advance(86_401)
                let number = try await store.ask(
                    for: registry,
                    to: .pull,
                    because: text,
                    by: .person("member"),
                    in: "acme",
                    at: server.clock.now
                ).request.number
                let open = try await pages(text, number)
                _ = try await server.services.decline(number, in: "acme", word: text, by: "owner")
                let closed = try await pages(text, number)
                try await store.database.write { try $0.execute(sql: "DELETE FROM registryRequest") }
                return open + closed
            }
            let harmless = try await tags("harmless")
            for text in DashboardPageTests.hostile { #expect(try await tags(text) == harmless, "\(text)") }
        }
    }
}
