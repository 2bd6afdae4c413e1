import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

extension AccountsServer {
    static let people: [String: Role] = [
        "alice": .owner, "bob": .owner, "edith": .editor, "audrey": .auditor, "mia": .member,
    ]

    /// Runs a server with an organization that has a policy and people in every role.
    static func withPolicy(
        rootKey: SigningKey = .generate(),
        _ body: @Sendable (AccountsServer) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            try await with(keys: "\(directory)/keys") { server in
                try await server.make("acme", people)
                try await RunningServer.begin("acme", server.services.publisher, rootKey)
                try await body(server)
            }
        }
    }

    /// The policy in force.
    func policy() async throws -> AccessPolicy {
        try #require(try await services.publisher.served.policy(of: "acme")).policy
    }

    /// The draft's policy.
    func draft() async throws -> AccessPolicy? { try await services.store.policyDraft(of: "acme").draft?.policy }
}

extension TestBrowser {
    static let access = "/organizations/acme/registry-access"

    /// Adds a registry by the form.
    func add(_ address: String, _ more: [String: String] = [:]) async throws -> Answer {
        let fields = ["address": address, "allowed": "true", "pull": "on", "push": "on", "login": "on"]
        return try await post("\(Self.access)/add", fields.merging(more) { $1 })
    }

    /// Saves what the review shows.
    func save(_ more: [String: String] = [:]) async throws -> Answer {
        let review = try await get("\(Self.access)/review")
        let fields = [
            "draft": try #require(review.hidden("draft")), "policy": try #require(review.hidden("policy")),
        ]
        return try await post("\(Self.access)/save", fields.merging(more) { $1 })
    }

    /// The name of a registry in the forms of the list.
    func rule(_ address: String) async throws -> String {
        let page = try await get("\(Self.access)?q=\(PercentEncoding.encode(address))")
        let mark = "\(Self.access)/edit?rule="
        let start = try #require(page.text.firstRange(of: mark)?.upperBound)
        return String(page.text[start...].prefix { $0 != "\"" })
    }
}

/// Registry Access: what owners prepare and save.
struct DashboardPolicyTests {
    @Test
    func `an owner adds a registry, reviews, saves and applies it, and sees it in the activity`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let list = try await alice.get(TestBrowser.access)
            #expect(list.status == 200)
            #expect(list.text.contains("docker.io") && list.text.contains("1 registry"))
            #expect(!list.text.contains("not saved</strong>"))

            let added = try await alice.add("ghcr.io", ["nickname": "GitHub"])
            #expect(added.status == 303)
            #expect(added.headers[.location] == TestBrowser.access)
            #expect(try await server.policy().rules.count == 1, "nothing is in force before it is saved")
            let staged = try await alice.get(TestBrowser.access)
            #expect(staged.text.contains("1 change not saved"))
            #expect(staged.text.contains("Not saved</span>"))

            let review = try await alice.get("\(TestBrowser.access)/review")
            #expect(review.text.contains("1 registry added"))
            let saved = try await alice.save(["comment": "for the web team"])
            #expect(saved.status == 303)
            #expect(saved.cookie("__Host-ram_message")?.contains("Version%202%20is%20saved") == true)
            let policy = try await server.policy()
            #expect(policy.version == 2)
            #expect(policy.rules.map(\.address.description) == ["docker.io", "ghcr.io"])
            #expect(policy.rules.last?.nickname == "GitHub")
            #expect(try await server.draft() == nil)
            let activity = try await alice.get("/organizations/acme/activity")
            #expect(activity.text.contains("added the registry <code>ghcr.io</code>"))
            #expect(activity.text.contains("for the web team"))
            let history = try await alice.get("\(TestBrowser.access)/history")
            #expect(history.text.contains("for the web team") && !history.text.contains(">Newest</a>"))
            let older = try await alice.get("\(TestBrowser.access)/history?before=2")
            #expect(older.text.contains("href=\"\(TestBrowser.access)/history\">Newest</a>"))
        }
    }

    @Test
    func `what was done is told once`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let added = try await alice.add("ghcr.io")
            let message = try #require(added.cookie("__Host-ram_message"))
            let cookies = "\(alice.cookie); __Host-ram_message=\(message)"
            let page = try await server.send(.get, TestBrowser.access, headers: [.cookie: cookies])
            #expect(page.text.contains("role=\"status\">ghcr.io is to be added."))
            #expect(page.cookie("__Host-ram_message") == "", "and forgotten")
        }
    }

    @Test
    func `registries are allowed, disallowed, edited and removed in the draft, one by one`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            #expect(try await alice.add("quay.io").status == 303)
            let hub = try await alice.rule("docker.io")
            #expect(try await alice.post("\(TestBrowser.access)/disallow", ["rule": hub]).status == 303)
            #expect(try await server.draft()?.rules.map(\.isAllowed) == [false, true])
            // The name tells what was seen: it is another rule now.
            let again = try await alice.post("\(TestBrowser.access)/disallow", ["rule": hub])
            #expect(again.status == 409)
            #expect(again.text.contains("changed or removed this registry meanwhile"))
            #expect(again.text.contains("<a class=\"button\" href=\"\(TestBrowser.access)\">To Registry Access</a>"))
            let changed = try await alice.rule("docker.io")
            #expect(try await alice.post("\(TestBrowser.access)/allow", ["rule": changed]).status == 303)
            #expect(try await server.draft()?.rules.map(\.isAllowed) == [true, true])

            let quay = try await alice.rule("quay.io")
            let form = try await alice.get("\(TestBrowser.access)/edit?rule=\(quay)")
            #expect(form.text.contains("value=\"quay.io\""))
            let edited = try await alice.post(
                "\(TestBrowser.access)/edit",
                [
                    "rule": quay, "address": "quay.io", "nickname": "Quay", "allowed": "true", "pull": "on",
                    "repositories": "acme/**\r\n\r\n  other/app ", "supportHosts": "cdn.quay.io",
                ]
            )
            #expect(edited.status == 303)
            let rule = try #require(try await server.draft()?.rules.last)
            #expect(rule.actions == [.pull])
            #expect(rule.repositories.map(\.description) == ["acme/**", "other/app"])
            #expect(rule.supportHosts.map(\.description) == ["cdn.quay.io"])
            #expect(rule.nickname == "Quay")
            let gone = try await alice.post("\(TestBrowser.access)/remove", ["rule": try await alice.rule("quay.io")])
            #expect(gone.status == 303)
            #expect(try await server.draft()?.rules.count == 1)
            #expect(!(try await alice.get(TestBrowser.access).text.contains("not saved</strong>")))
        }
    }

    /// What is typed, the field that is wrong, and what is said of it.
    static let mistakes: [([String: String], String, String)] = [
        (["address": ""], "address", "Enter the address"),
        (["address": "ghcr.io/acme"], "address", ""),
        (["address": "https://ghcr.io"], "address", ""),
        (["address": "gh cr.io"], "address", ""),
        (["address": "docker.io"], "address", "There is an entry for this address already"),
        (["repositories": "ok/**\nNOT OK"], "repositories", "NOT OK"),
        (["supportHosts": "a b"], "hosts", "a b"),
        (["nickname": "a\u{202E}b"], "nickname", "control characters"),
        (["nickname": String(repeating: "x", count: 201)], "nickname", "longer than 200 bytes"),
        (["pull": "", "push": "", "login": ""], "actions", "at least one action"),
        (["address": "**.amazonaws.com"], "broad", "Confirm that this is meant"),
        (["address": "**"], "broad", "Confirm that this is meant"),
    ]

    @Test(arguments: mistakes)
    func `a mistake is told at its field, and what was typed is kept`(
        typed: [String: String],
        field: String,
        words: String
    ) async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let answer = try await alice.add("ghcr.io", ["nickname": "Mine & yours"].merging(typed) { $1 })
            #expect(answer.status == 422)
            #expect(answer.text.contains("id=\"\(field)-fault\""), "\(answer.text)")
            #expect(answer.text.contains(HTMLText.escaped(words)))
            for (name, value) in typed where name == "address" || name == "nickname" {
                #expect(answer.text.contains("name=\"\(name)\" value=\"\(HTMLText.escaped(value))\""))
            }
            if typed["nickname"] == nil { #expect(answer.text.contains("value=\"Mine &amp; yours\"")) }
            #expect(try await server.draft() == nil)
        }
    }

    @Test(arguments: [
        ("a\u{200E}b", "This one holds a control character, U+200E."), ("a\nb", "a control character, U+000A."),
        (String(repeating: "x", count: 1001), "A comment has at most 1000 bytes."),
        (String(repeating: "\u{fc}", count: 501), "A comment has at most 1000 bytes."),
    ])
    func `what is wrong with a comment is told`(comment: String, words: String) async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            _ = try await alice.add("quay.io")
            let answer = try await alice.save(["comment": comment])
            #expect(answer.status == 422 && answer.text.contains(words), "\(answer)")
            #expect(try await server.policy().rules.count == 1)
        }
    }

    @Test(arguments: ["ghcr.io/acme/api:1.2", "https://ghcr.io/", "https://ghcr.io", "r.test:5000/acme/api:1.2"])
    func `a pasted image or address of the web is called that`(text: String) async throws {
        try await AccountsServer.withPolicy { server in
            let answer = try await server.browser("alice").add(text)
            #expect(answer.status == 422)
            #expect(answer.text.contains("A registry is written as its host alone, like ghcr.io: without"), "\(answer)")
        }
    }

    @Test
    func `a pattern that opens a service to everybody is taken with a confirmation only`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            #expect(try await alice.add("**.amazonaws.com").status == 422)
            #expect(try await alice.add("**.amazonaws.com", ["acknowledgeBroad": "on"]).status == 303)
            let rule = try #require(try await server.draft()?.rules.last)
            #expect(rule.isBroadAcknowledged)
            // Nobody reads confirmations where there is nothing to confirm.
            #expect(try await alice.add("ghcr.io", ["acknowledgeBroad": "on"]).status == 303)
            #expect(try await server.draft()?.rules.last?.isBroadAcknowledged == false)
            // Denying may be broad; allowing it again needs the form.
            #expect(try await alice.add("*.github.io", ["allowed": "false"]).status == 303)
            let name = try await alice.rule("*.github.io")
            #expect(try await alice.post("\(TestBrowser.access)/allow", ["rule": name]).status == 422)
        }
    }

    /// Whoever changed something is shown what was kept in memory then; everybody else what is in the database.
    @Test
    func `what is prepared is the same in memory as in the database`() async throws {
        try await AccountsServer.withPolicy { server in
            let changed = StagedPolicies(services: server.services)
            func expectSame() async throws {
                let held = try await changed.staged(of: "acme")
                let read = try await StagedPolicies(services: server.services).staged(of: "acme")
                #expect(held.policy.rules == read.policy.rules && held.difference == read.difference)
                #expect(held.touched == read.touched && held.draftNumber == read.draftNumber)
                #expect(held.draft?.basedOn == read.draft?.basedOn && held.draft?.author == read.draft?.author)
                #expect(held.draft?.time == read.draft?.time && held.inForce.version == read.inForce.version)
            }
            let all = ["pull": "on", "push": "on", "login": "on"]
            for (address, more) in [
                ("ghcr.io", [:]), ("quay.io", ["nickname": "Quay <b>&", "repositories": "b/**\na/x", "login": ""]),
                ("*.acme.test", ["allowed": "false", "insecure": "on", "supportHosts": "cdn.acme.test"]),
                ("r.test:5000", ["insecure": "on", "push": "", "supportHosts": "b.test\na.test"]),
                ("**.amazonaws.com", ["acknowledgeBroad": "on"]), ("10.0.0.0/8", ["acknowledgeBroad": "on"]),
            ] as [(String, [String: String])] {
                try await changed.change(in: "acme", by: "alice") { policy in
                    let fields = all.merging(more) { $1 }.merging(["address": address]) { $1 }
                    var form = RegistryForm(fields: fields)
                    let rule = form.rule(in: policy, replacing: nil)
                    return policy.with(rules: policy.rules + [try #require(rule, "\(form.faults)")])
                }
                server.clock.advance(1)
                try await expectSame()
            }
            try await changed.change(in: "acme", by: "bob") { $0.with(mode: .audit, rules: Array($0.rules.prefix(2))) }
            try await expectSame()
            // One that is changed back is none.
            let inForce = try await changed.staged(of: "acme").inForce.policy
            try await changed.change(in: "acme", by: "bob") { $0.with(mode: inForce.mode, rules: inForce.rules) }
            try await expectSame()
            #expect(try await changed.staged(of: "acme").draft == nil)
            try await changed.change(in: "acme", by: "bob") { $0.with(mode: .audit) }
            try await expectSame()
        }
    }

    @Test
    func `what is to be removed is among what is changed, and can be kept`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            for registry in ["ghcr.io", "quay.io"] { _ = try await alice.add(registry) }
            _ = try await alice.save()
            for registry in ["ghcr.io", "docker.io"] {
                let fields = ["rule": try await alice.rule(registry)]
                #expect(try await alice.post("\(TestBrowser.access)/remove", fields).status == 303)
            }
            let quay = ["rule": try await alice.rule("quay.io")]
            #expect(try await alice.post("\(TestBrowser.access)/disallow", quay).status == 303)
            let changed = "\(TestBrowser.access)?show=touched"
            let list = try await alice.get(changed).text
            #expect(list.contains("1 of 1 registry, and 2 to be removed"), "\(list)")
            #expect(list.ranges(of: "To be removed").count == 2 && list.ranges(of: ">Keep</button>").count == 2)
            #expect(list.ranges(of: ">Remove</button>").count == 1)
            #expect(try await !alice.get(TestBrowser.access).text.contains("To be removed"))
            #expect(try await alice.get("\(changed)&q=ghcr").text.ranges(of: "To be removed").count == 1)
            let name = #/formaction="[^"]*/keep" name="rule" value="([^"]+)" aria-label="Keep ghcr\.io"/#
            let keep = ["rule": String(try #require(list.firstMatch(of: name)?.1)), "back": changed]
            let kept = try await alice.post("\(TestBrowser.access)/keep", keep)
            #expect(kept.headers[.location] == changed && TestBrowser.message(kept) == "ghcr.io is to stay.")
            #expect(try await server.draft()?.rules.map(\.address.description) == ["quay.io", "ghcr.io"])
            // It is not to be removed any more.
            #expect(try await alice.post("\(TestBrowser.access)/keep", keep).status == 409)
            #expect(try await server.browser("mia").post("\(TestBrowser.access)/keep", keep).status == 403)
            #expect(try await !server.browser("mia").get(changed).text.contains("To be removed"))
        }
    }

    @Test
    func `the toggle and the mode are changes like others`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            for fields in [["enabled": "false"], ["mode": "audit"]] {
                #expect(try await alice.post("\(TestBrowser.access)/switch", fields).status == 303)
            }
            for fields in [["enabled": "maybe"], ["mode": "never"], [:], ["enabled": "true", "mode": "audit"]] {
                #expect(try await alice.post("\(TestBrowser.access)/switch", fields).status == 400)
            }
            let draft = try #require(try await server.draft())
            #expect(!draft.isEnabled && draft.mode == .audit)
            #expect(try await alice.save().status == 303)
            let policy = try await server.policy()
            #expect(!policy.isEnabled && policy.mode == .audit)
            #expect(try await alice.get(TestBrowser.access).text.contains("Off: every registry is allowed."))
        }
    }

    /// What is in force, what is prepared beside it, and what the page says of both.
    static let states: [(AccessPolicy.Mode?, AccessPolicy.Mode?, [String])] = [
        (
            .enforce, .enforce,
            ["allowed here, and no others", "Enforced: whatever is not", "told to ask the platform team"]
        ),
        (.audit, .audit, ["not allowed here, that is recorded", "Audit only: nothing is refused"]),
        (nil, nil, ["as long as Registry Access Management is off", "Off: every registry is allowed."]),
        (
            .enforce, nil,
            ["allowed here, and no others", "now.</strong> Enforced:", "saved.</strong> Off:", "told to ask"]
        ),
        (.enforce, .audit, ["now.</strong> Enforced:", "saved.</strong> Audit only:", "told to ask"]),
        (.audit, .enforce, ["that is recorded", "now.</strong> Audit only:", "saved.</strong> Enforced:"]),
        (nil, .enforce, ["Management is off", "now.</strong> Off:", "saved.</strong> Enforced:"]),
    ]

    @Test(arguments: states)
    func `the list says what is in force, and what will be once the changes are saved`(
        now: AccessPolicy.Mode?,
        next: AccessPolicy.Mode?,
        words: [String]
    ) async throws {
        try await AccountsServer.withPolicy { server in
            _ = try await server.services.publisher.publish(in: "acme", by: "bob") { content in
                var content = content
                content.policy = content.policy.with(
                    isEnabled: now != nil,
                    mode: now ?? .enforce,
                    contact: "the platform team"
                )
                return content
            }
            let alice = try await server.browser("alice")
            if now != next {
                let isSwitched = (now == nil) != (next == nil)
                let fields = isSwitched ? ["enabled": "\(next != nil)"] : ["mode": next?.rawValue ?? ""]
                #expect(try await alice.post("\(TestBrowser.access)/switch", fields).status == 303)
            }
            let list = try await alice.get(TestBrowser.access).text
            for words in words { #expect(list.contains(words), "\(words): \(list)") }
            #expect(list.contains("told to ask") == (now == .enforce))
            #expect(list.contains("and no others") == (now == .enforce))
            #expect(list.contains("Once the changes are saved.") == (now != next))
            // What is prepared is for those who prepare it.
            #expect(
                try await !server.browser("mia").get(TestBrowser.access).text.contains("Once the changes are saved.")
            )
        }
    }

    @Test
    func `members and auditors see the registries in force, and can change nothing`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            _ = try await alice.add("secret-plan.acme.test")
            for name in ["audrey", "mia"] {
                let browser = try await server.browser(name)
                let page = try await browser.get(TestBrowser.access)
                #expect(page.status == 200)
                #expect(page.text.contains("docker.io"))
                #expect(!page.text.contains("secret-plan"), "what is prepared is for those who prepare it")
                let posts = page.text.ranges(of: "method=\"post\"").count
                #expect(posts == (page.text.contains("<tbody>") ? 2 : 1))
                #expect(!page.text.contains("formaction") && !page.text.contains("registry-access/switch"))
                let start = try await browser.get("/organizations/acme")
                #expect(start.status == (name == "mia" ? 303 : 200))
            }
        }
    }

    // MARK: - Saving

    @Test
    func `saving asks for the password ten minutes after it was shown, and keeps the comment`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            _ = try await alice.add("ghcr.io")
            #expect(!(try await alice.get("\(TestBrowser.access)/review").text.contains("type=\"password\"")))
            server.clock.advance(600)
            #expect(try await alice.get("\(TestBrowser.access)/review").text.contains("type=\"password\""))
            for (password, words) in [("", "Enter your password"), ("wrong", "The password is wrong")] {
                let answer = try await alice.save(["comment": "why <not>", "password": password])
                #expect(answer.status == 403)
                #expect(answer.text.contains(words))
                #expect(answer.text.contains("value=\"why &lt;not&gt;\""))
            }
            #expect(try await server.policy().version == 1)
            let saved = try await alice.save(["comment": "why", "password": AccountsServer.password])
            #expect(saved.status == 303)
            #expect(try await server.policy().version == 2)
            // It counts for the next ten minutes.
            _ = try await alice.add("quay.io")
            #expect(try await alice.save().status == 303)
        }
    }

    @Test
    func `two owners prepare at once, and nothing is lost`() async throws {
        try await AccountsServer.withPolicy { server in
            let (alice, bob) = (try await server.browser("alice"), try await server.browser("bob"))
            async let first = alice.add("ghcr.io")
            async let second = bob.add("quay.io")
            #expect(try await [first.status, second.status] == [303, 303])
            let rules = try #require(try await server.draft()).rules.map(\.address.description)
            #expect(Set(rules) == ["docker.io", "ghcr.io", "quay.io"])
            let review = try await alice.get("\(TestBrowser.access)/review")
            #expect(review.text.contains("2 registries added"))
            // Bob changes the draft while Alice reads.
            _ = try await bob.add("registry.acme.test:5000")
            let fields = [
                "draft": try #require(review.hidden("draft")), "policy": try #require(review.hidden("policy")),
                "comment": "both",
            ]
            let late = try await alice.post("\(TestBrowser.access)/save", fields)
            #expect(late.status == 412)
            #expect(late.text.contains("registry.acme.test:5000"), "it is shown as it is now")
            #expect(late.text.contains("value=\"both\""))
            #expect(try await server.policy().version == 1)
            #expect(try await alice.save().status == 303)
            #expect(try await server.policy().rules.count == 4)
        }
    }

    @Test
    func `another owner's save is shown, and both changes can be brought together`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            _ = try await alice.add("ghcr.io")
            let review = try await alice.get("\(TestBrowser.access)/review")
            let fields = [
                "draft": try #require(review.hidden("draft")), "policy": try #require(review.hidden("policy")),
            ]
            _ = try await server.services.publisher.publish(in: "acme", by: "bob", comment: "quay too") { content in
                var content = content
                let rule = RegistryRule(address: try AddressPattern("quay.io"), isAllowed: true)
                content.policy = content.policy.with(contact: "bob", rules: content.policy.rules + [rule])
                return content
            }
            let conflict = try await alice.post("\(TestBrowser.access)/save", fields)
            #expect(conflict.status == 412)
            #expect(conflict.text.contains("bob has saved version 2"))
            #expect(conflict.text.contains("quay too"))
            #expect(conflict.text.contains("ghcr.io"), "the own change is still there")
            #expect(!conflict.text.contains("Save &amp; Apply"), "first things are brought together")
            #expect(try await server.policy().version == 2)
            #expect(try await alice.post("\(TestBrowser.access)/update").status == 303)
            let merged = try await alice.get("\(TestBrowser.access)/review")
            #expect(merged.text.contains("1 registry added") && !merged.text.contains("quay.io"))
            #expect(try await alice.save().status == 303)
            let policy = try await server.policy()
            #expect(policy.version == 3)
            #expect(policy.rules.map(\.address.description) == ["docker.io", "quay.io", "ghcr.io"])
            #expect(policy.contact == "bob")
        }
    }

    @Test
    func `a draft that somebody else has gone on with is not discarded`() async throws {
        try await AccountsServer.withPolicy { server in
            let (alice, bob) = (try await server.browser("alice"), try await server.browser("bob"))
            _ = try await alice.add("ghcr.io")
            let discard = "\(TestBrowser.access)/discard"
            #expect(try await alice.get(TestBrowser.access).text.contains("href=\"\(discard)\""))
            let question = try await alice.get(discard)
            #expect(
                question.text.contains("Discard 1 change?") && question.text.contains("last by you, 25 November 2026")
            )
            let seen = try #require(question.hidden("draft"))
            _ = try await bob.add("quay.io")
            #expect(try await alice.post("\(TestBrowser.access)/discard", ["draft": seen]).status == 412)
            #expect(try await server.draft()?.rules.count == 3)
            // To look at the question does nothing, and it takes no password.
            server.clock.advance(601)
            let again = try await alice.get(discard)
            #expect(again.text.contains("2 changes are prepared and not saved, last by bob"), "\(again)")
            #expect(!again.text.contains("type=\"password\"") && again.text.contains(">Discard 2 changes</button>"))
            #expect(try await server.draft()?.rules.count == 3)
            let now = try #require(again.hidden("draft"))
            #expect(try await alice.post(discard, ["draft": now]).status == 303)
            #expect(try await server.draft() == nil)
            #expect(try await alice.get(discard).status == 303, "there is nothing to ask about")
        }
    }

    @Test
    func `a policy that denies the server itself is saved with an acknowledgement only`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            _ = try await alice.add("ram.acme.test", ["allowed": "false"])
            let review = try await alice.get("\(TestBrowser.access)/review")
            #expect(review.text.contains("locks the organization"))
            #expect(try await alice.save().status == 422)
            #expect(try await server.policy().version == 1)
            #expect(try await alice.save(["acknowledgeLockOut": "on"]).status == 303)
            #expect(try await server.policy().version == 2)
        }
    }

    @Test
    func `the review says which machines would be refused, as far as they told`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            _ = try await alice.post("\(TestBrowser.access)/switch", ["mode": "audit"])
            #expect(try await alice.save().status == 303)
            for (number, registry) in ["quay.io", "quay.io", "ghcr.io"].enumerated() {
                let device = "device000000000000000000\(number)"
                _ = try await server.makeDevice(device)
                try await server.report(device, registry, verdict: "would-deny")
            }
            _ = try await alice.post("\(TestBrowser.access)/switch", ["mode": "enforce"])
            _ = try await alice.add("ghcr.io")
            let first = try await alice.get("\(TestBrowser.access)/review")
            #expect(first.text.contains("2 machines used it (pull) and would be refused"))
            #expect(!first.text.contains("<code>ghcr.io</code><span>1 machine"), "that is allowed then")
            // After thirty days it is nothing to go by.
            server.clock.advance(30 * 86_400 + 1)
            let later = try await server.browser("alice")
            let review = try await later.get("\(TestBrowser.access)/review")
            #expect(review.text.contains("No machine has told of a refusal"))
        }
    }

    @Test
    func `the review does not call all clear where it knows nothing`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            func review() async throws -> String { try await alice.get("\(TestBrowser.access)/review").text }
            for registry in ["quay.io", "ghcr.io"] { _ = try await alice.add(registry) }
            #expect(try await review().contains("No machine has told of a refusal"), "nothing is taken away")
            #expect(try await alice.save().status == 303)
            _ = try await server.makeDevice("device0000000000000000001")
            try await server.report("device0000000000000000001", "elsewhere.test")

            let quay = try await alice.rule("quay.io")
            _ = try await alice.post("\(TestBrowser.access)/remove", ["rule": quay])
            var page = try await review()
            #expect(page.contains("What machines used of quay.io is not known"))
            #expect(!page.contains("make no difference"))
            let limit = ["rule": try await alice.rule("ghcr.io"), "repositories": "acme/**"]
            let edited = try await alice.post(
                "\(TestBrowser.access)/edit",
                ["address": "ghcr.io", "allowed": "true", "pull": "on", "push": "on", "login": "on"]
                    .merging(limit) { $1 }
            )
            #expect(edited.status == 303)
            #expect(try await review().contains("What machines used of quay.io and ghcr.io is not known"))
            _ = try await alice.post("\(TestBrowser.access)/switch", ["mode": "audit"])
            page = try await review()
            #expect(!page.contains("is not known"), "audit mode refuses nothing")
            #expect(page.contains("1 machine was refused (pull) and could go on"))
            _ = try await alice.post("\(TestBrowser.access)/switch", ["enabled": "false"])
            #expect(try await alice.save().status == 303)
            _ = try await alice.post("\(TestBrowser.access)/switch", ["mode": "enforce"])
            _ = try await alice.post("\(TestBrowser.access)/switch", ["enabled": "true"])
            #expect(try await review().contains("What machines used while Registry Access Management was off is"))
        }
    }

    @Test
    func `a long list of effects says how many more there are`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            _ = try await server.makeDevice("device0000000000000000001")
            for number in 0..<23 { try await server.report("device0000000000000000001", "r\(number).acme.test") }
            _ = try await alice.add("*.acme.test", ["acknowledgeBroad": "on"])
            let review = try await alice.get("\(TestBrowser.access)/review").text
            #expect(review.ranges(of: "1 machine was refused").count == 20)
            #expect(review.contains("And 3 more."))
        }
    }

    @Test
    func `a version is rolled back to, after its difference was shown`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            _ = try await alice.add("ghcr.io")
            _ = try await alice.save()
            let version = try await alice.get("\(TestBrowser.access)/history/1")
            #expect(version.status == 200)
            #expect(version.text.contains("Roll back to version 1"))
            let policy = try #require(version.hidden("policy"))
            let path = "\(TestBrowser.access)/history/1/roll-back"
            #expect(try await alice.post(path, ["policy": "1"]).status == 412)
            server.clock.advance(601)
            #expect(try await alice.post(path, ["policy": policy]).status == 403)
            #expect(try await server.policy().version == 2)
            let done = try await alice.post(path, ["policy": policy, "password": AccountsServer.password])
            #expect(done.status == 303)
            #expect(try await server.policy().version == 3)
            #expect(try await server.policy().rules.map(\.address.description) == ["docker.io"])
            for missing in ["0", "9", "x", "1x"] {
                #expect(try await alice.get("\(TestBrowser.access)/history/\(missing)").status == 404)
            }
        }
    }

    @Test
    func `until when an entry is allowed is shown in the list and the form, until somebody changes it`() async throws {
        try await AccountsServer.withPolicy { server in
            let services = server.services
            _ = try await services.ask(for: "ghcr.io", to: "pull", because: "", by: .person("mia"), in: "acme")
            var answer = RequestAnswer(to: try await services.store.request(1, of: "acme"))
            let until = server.clock.now + 3600
            answer.until = until
            _ = try await services.allow(1, in: "acme", answer, by: "alice")
            let time = "<time datetime=\"\(until)\">\(until)</time>"
            for name in ["alice", "audrey", "mia"] {
                let list = try await server.browser(name).get(TestBrowser.access).text
                #expect(list.ranges(of: "until \(time)").count == 1, "\(name): \(list)")
            }
            let alice = try await server.browser("alice")
            let form = "\(TestBrowser.access)/edit?rule="
            let (dated, other) = (try await alice.rule("ghcr.io"), try await alice.rule("docker.io"))
            let shown = try await alice.get("\(form)\(dated)").text
            #expect(shown.contains("allows this until \(time); then the entry is taken out."))
            #expect(shown.contains("If you change anything of it, it stays for good."))
            #expect(try await !alice.get("\(form)\(other)").text.contains("stays for good"))
            var fields = ["rule": dated, "address": "ghcr.io", "allowed": "true"]
            let faulty = try await alice.post("\(TestBrowser.access)/edit", fields)
            #expect(faulty.status == 422 && faulty.text.contains(time), "\(faulty)")
            fields.merge(["pull": "on", "nickname": "GitHub"]) { $1 }
            #expect(try await alice.post("\(TestBrowser.access)/edit", fields).status == 303)
            #expect(try await !alice.get(TestBrowser.access).text.contains("until <time"))
            // In force it ends all the same, as long as the change is not saved; and not after that.
            #expect(try await server.browser("mia").get(TestBrowser.access).text.contains(time))
            let saved = try await alice.save()
            #expect(saved.status == 303, "\(saved)")
            #expect(try await !server.browser("mia").get(TestBrowser.access).text.contains(time))
            server.clock.advance(3600)
            #expect(try await services.endRequests().isEmpty)
            #expect(try await server.policy().rules.map(\.address.description) == ["docker.io", "ghcr.io"])
        }
    }

    @Test
    func `what was allowed until a date that has come is not shown as coming back with a roll-back`() async throws {
        try await AccountsServer.withPolicy { server in
            let services = server.services
            _ = try await services.ask(for: "ghcr.io", to: "pull", because: "", by: .person("mia"), in: "acme")
            var answer = RequestAnswer(to: try await services.store.request(1, of: "acme"))
            answer.until = server.clock.now + 60
            _ = try await services.allow(1, in: "acme", answer, by: "alice")
            let alice = try await server.browser("alice")
            _ = try await alice.add("quay.io")
            _ = try await alice.save()
            server.clock.advance(60)
            #expect(try await services.endRequests().isEmpty)
            let page = try await alice.get("\(TestBrowser.access)/history/2")
            let back = page.text[
                try #require(page.text.firstRange(of: "What rolling back would change")?.lowerBound)...
            ]
            #expect(back.contains("quay.io") && !back.contains("ghcr.io"), "\(back)")
            let fields = ["policy": try #require(page.hidden("policy"))]
            #expect(try await alice.post("\(TestBrowser.access)/history/2/roll-back", fields).status == 303)
            #expect(try await server.policy().rules.map(\.address.description) == ["docker.io"])
        }
    }

    @Test
    func `settings of the policy are prepared, and times of the organization hold at once`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let settings = "\(TestBrowser.access)/settings"
            #expect(try await alice.post(settings, ["contact": "caf\u{e9}"]).status == 422)
            #expect(try await alice.post(settings, ["contact": "#registries", "imports": "on"]).status == 303)
            let draft = try #require(try await server.draft())
            #expect(draft.contact == "#registries" && draft.imports == .allow && draft.unmanagedBuilders == .deny)
            let times = "\(TestBrowser.access)/times"
            for wrong in [["refresh": "0", "validity": "24"], ["refresh": "5", "validity": "169"], ["refresh": "5"]] {
                let answer = try await alice.post(times, wrong)
                #expect(answer.status == 422)
                #expect(answer.text.contains("-fault\""))
            }
            #expect(try await alice.post(times, ["refresh": "5", "validity": "12"]).status == 303)
            let now = try await server.services.store.settings(of: "acme")
            #expect(now.refreshSeconds == 300 && now.validitySeconds == 43_200)
            let edith = try await server.browser("edith")
            #expect(try await edith.post(times, ["refresh": "9", "validity": "9"]).status == 403)
            // Each form has its page: what is typed in one is not lost with the other.
            let page = try await alice.get(settings).text
            #expect(page.contains("href=\"\(times)\"") && page.contains("5 minutes") && page.contains("12 hours"))
            #expect(page.contains("name=\"contact\"") && !page.contains("name=\"refresh\""))
            let form = try await alice.get(times).text
            #expect(form.contains("name=\"refresh\"") && !form.contains("name=\"contact\""))
            #expect(try await !edith.get(settings).text.contains("href=\"\(times)\""))
        }
    }

    @Test
    func `times that are not whole minutes or hours stay as they are when others are changed`() async throws {
        try await AccountsServer.withPolicy { server in
            let store = server.services.store
            var set = try await store.settings(of: "acme")
            (set.refreshSeconds, set.validitySeconds) = (90, 5400)
            try await store.set(set, of: "acme", by: "alice", at: server.clock.now)
            let alice = try await server.browser("alice")
            let times = "\(TestBrowser.access)/times"
            let page = try await alice.get(times)
            let (refresh, validity) = (try #require(page.hidden("refresh")), try #require(page.hidden("validity")))
            #expect(refresh == "90 s" && validity == "5400 s")
            let seen = ["refreshSeen": refresh, "validitySeen": validity]
            let only = ["refresh": refresh, "validity": "2"].merging(seen) { $1 }
            #expect(try await alice.post(times, only).status == 303)
            var now = try await store.settings(of: "acme")
            #expect(now.refreshSeconds == 90 && now.validitySeconds == 7200)
            // Somebody else has changed the other one meanwhile.
            let late = ["refresh": "5", "validity": validity].merging(seen) { $1 }
            #expect(try await alice.post(times, late).status == 303)
            now = try await store.settings(of: "acme")
            #expect(now.refreshSeconds == 300 && now.validitySeconds == 7200)
            #expect(try await alice.post(times, ["refresh": "61 s", "validity": "3"]).status == 303)
            #expect(try await store.settings(of: "acme").refreshSeconds == 61)
            let member = try await server.browser("mia").get("\(TestBrowser.access)/settings")
            #expect(member.text.contains("61 seconds") && member.text.contains("3 hours"))
            for wrong in ["59 s", "86401 s", "1.5", "90s", "", "9007199254740992"] {
                let answer = try await alice.post(times, ["refresh": wrong, "validity": "3"])
                #expect(answer.status == 422, "\(wrong)")
            }
        }
    }

    @Test
    func `what was typed in the settings and in the review stays after a mistake`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let fields = ["contact": "caf\u{e9}", "imports": "on"]
            let wrong = try await alice.post("\(TestBrowser.access)/settings", fields)
            #expect(wrong.status == 422)
            #expect(wrong.text.contains("name=\"imports\" checked>"))
            #expect(!wrong.text.contains("name=\"builders\" checked>"), "allowed before, but the box was cleared")
            _ = try await alice.add("ram.acme.test", ["allowed": "false"])
            server.clock.advance(601)
            let typed = ["acknowledgeLockOut": "on", "comment": "why & what", "password": "wrong"]
            let refused = try await alice.save(typed)
            #expect(refused.status == 403 && refused.text.contains("name=\"acknowledgeLockOut\" checked>"))
            // Somebody else saves meanwhile.
            _ = try await server.services.publisher.publish(in: "acme", by: "bob") { content in
                var content = content
                content.policy = content.policy.with(contact: "bob")
                return content
            }
            let late = ["draft": "1", "policy": "1", "comment": "why & what", "password": AccountsServer.password]
            let behind = try await alice.post("\(TestBrowser.access)/save", late)
            #expect(behind.status == 412 && behind.text.contains("Your comment is kept: “why &amp; what”"))
            #expect(behind.hidden("comment") == "why &amp; what")
            let updated = try await alice.post("\(TestBrowser.access)/update", ["comment": "why & what"])
            let review = try await alice.get(try #require(updated.headers[.location]))
            #expect(review.text.contains("name=\"comment\" value=\"why &amp; what\""))
        }
    }

    @Test
    func `warnings about what is in force stay to be seen, and are no new ones when registries before them go`()
        async throws
    {
        try await AccountsServer.withPolicy { server in
            let rules = try ["quay.test", "auth.docker.io", "docker.io"].map { name in
                RegistryRule(address: try AddressPattern(name), isAllowed: name != "auth.docker.io")
            }
            _ = try await server.services.publisher.publish(in: "acme", by: "bob") { content in
                var content = content
                content.policy = content.policy.with(contact: "bob", rules: rules)
                return content
            }
            let alice = try await server.browser("alice")
            let list = try await alice.get(TestBrowser.access)
            #expect(list.text.contains("about what is on the machines</summary>"))
            #expect(list.text.contains("Registry 2, &quot;auth.docker.io&quot;, denies auth.docker.io"))
            #expect(try await server.browser("audrey").get(TestBrowser.access).text.contains("</summary><ul"))
            #expect(try await !server.browser("mia").get(TestBrowser.access).text.contains("what is on the machines"))
            let quay = try await alice.rule("quay.test")
            #expect(try await alice.post("\(TestBrowser.access)/remove", ["rule": quay]).status == 303)
            let review = try await alice.get("\(TestBrowser.access)/review")
            #expect(!review.text.contains("Look at these again"))
            #expect(review.text.contains("Registry 1, &quot;auth.docker.io&quot;, denies auth.docker.io"))
        }
    }

    // MARK: - Size

    @Test
    func `100,000 registries are searched and paged by the server`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let rules = try (0..<100_000).map { number in
                RegistryRule(
                    address: try AddressPattern("registry-\(number).acme.test"),
                    nickname: number % 1000 == 0 ? "Round \(number)" : nil,
                    isAllowed: number % 10 != 0
                )
            }
            let policy = try await server.policy().with(rules: rules)
            _ = try await server.services.store.writeDraft(
                Array(policy.document.text().utf8),
                of: "acme",
                expecting: 0,
                basedOn: 1,
                by: "bob",
                at: server.clock.now
            )
            func rows(_ query: String) async throws -> (count: Int, text: String) {
                let page = try await alice.get("\(TestBrowser.access)\(query)")
                #expect(page.text.utf8.count < 100_000)
                return (page.text.ranges(of: "/edit?rule=").count, page.text)
            }
            let first = try await rows("")
            #expect(first.count == Paging.size && first.text.contains("100,000 registries"))
            #expect(first.text.contains("Page 1 of 4000"))
            let last = try await rows("?page=4000")
            #expect(last.count == Paging.size && last.text.contains("registry-99999.acme.test"))
            let beyond = try await rows("?page=999999")
            #expect(beyond.text.contains("registry-99999.acme.test"))
            let found = try await rows("?q=REGISTRY-77777")
            #expect(found.count == 1 && found.text.contains("1 of 100,000 registries"))
            #expect(try await rows("?q=round+").text.contains("100 of 100,000 registries"))
            #expect(try await rows("?q=round%20&show=allowed").text.contains("No registry is like this"))
            #expect(try await rows("?show=disallowed").text.contains("10,000 of 100,000 registries"))
            #expect(try await rows("?q=nowhere").count == 0)
            let change = try await alice.post(
                "\(TestBrowser.access)/allow",
                ["rule": try await alice.rule("registry-50000.acme.test"), "back": "\(TestBrowser.access)?page=7"]
            )
            #expect(change.headers[.location] == "\(TestBrowser.access)?page=7")
            #expect(try await server.draft()?.rules[50_000].isAllowed == true)
        }
    }

    @Test
    func `what is too long to be shown is counted, in the history and before a roll-back`() async throws {
        try await AccountsServer.withPolicy { server in
            let rules = try (0..<1200).map { number in
                RegistryRule(address: try AddressPattern("registry-\(number).acme.test"), isAllowed: true)
            }
            _ = try await server.services.publisher.publish(in: "acme", by: "bob") { content in
                var content = content
                content.policy = content.policy.with(rules: content.policy.rules + rules)
                return content
            }
            let alice = try await server.browser("alice")
            #expect(try await alice.get("\(TestBrowser.access)/history").text.contains(">1,200 added</span>"))
            let words = "of longer lists the first 200 are shown."
            let saved = try await alice.get("\(TestBrowser.access)/history/2").text
            #expect(saved.contains("1,200 registries added: \(words)"))
            #expect(try await alice.get("\(TestBrowser.access)/history/1").text.contains("1,200 removed: \(words)"))
        }
    }

    @Test
    func `a search finds what it should, and never across two registries`() throws {
        let rules = [
            RegistryRule(address: try AddressPattern("ghcr.io"), nickname: "GitHub", isAllowed: true),
            RegistryRule(address: try AddressPattern("quay.io"), nickname: "QUAY \u{DC}", isAllowed: true),
            RegistryRule(address: try AddressPattern("docker.io"), isAllowed: true),
        ]
        let search = RuleSearch(rules)
        for (text, expected) in [
            ("", [0, 1, 2]), ("io", [0, 1, 2]), ("GHCR", [0]), ("github", [0]), ("quay \u{FC}", [1]),
            ("io\ngithub", []), ("iogithub", []), ("x", []), ("docker.io", [2]), ("ioq", []), ("i", [0, 1, 2]),
        ] {
            #expect(search.rules(holding: text) == expected, "\(text)")
        }
        #expect(RuleSearch([]).rules(holding: "x") == [])
        #expect(RuleSearch([]).rules(holding: "") == [])
    }

    @Test
    func `changes are made again in another policy`() throws {
        func policy(_ rules: [String], contact: String? = nil) throws -> AccessPolicy {
            AccessPolicy(
                version: 1,
                organization: "acme",
                contact: contact,
                // "+name" allows, "-name" denies.
                rules: try rules.map { text in
                    RegistryRule(address: try AddressPattern(text.dropFirst()), isAllowed: text.hasPrefix("+"))
                }
            )
        }
        func texts(_ policy: AccessPolicy) -> [String] {
            policy.rules.map { "\($0.isAllowed ? "+" : "-")\($0.address)" }
        }
        let rest = ["+b.test", "+c.test"]
        let base = ["+a.test"] + rest
        let table: [(mine: [String], theirs: [String], result: [String], both: [String])] = [
            (base, base + ["+d.test"], base + ["+d.test"], []),
            (base + ["+d.test"], base, base + ["+d.test"], []),
            (base + ["+d.test"], base + ["+d.test"], base + ["+d.test"], []),
            (["+a.test", "+c.test"], base + ["+d.test"], ["+a.test", "+c.test", "+d.test"], []),
            (["-a.test", "+b.test", "+c.test"], base + ["+d.test"], ["-a.test", "+b.test", "+c.test", "+d.test"], []),
            // Both changed it to the same, or the other one removed it.
            (["-a.test"] + rest, ["-a.test"] + rest, ["-a.test"] + rest, []),
            (["-a.test"] + rest, rest, rest + ["-a.test"], ["a.test"]),
            // I removed what the other one changed: theirs stays, and is named.
            (rest, ["-a.test"] + rest, ["-a.test"] + rest, ["a.test"]),
            (rest, rest, rest, []),
        ]
        for row in table {
            let difference = PolicyDifference(from: try policy(base), to: try policy(row.mine, contact: "me"))
            let (merged, both) = difference.applied(to: try policy(row.theirs, contact: "them"))
            #expect(texts(merged) == row.result, "\(row)")
            #expect(both == row.both, "\(row)")
            #expect(merged.contact == "me")
            let none = PolicyDifference(from: try policy(base), to: try policy(row.mine))
            #expect(none.applied(to: try policy(row.theirs, contact: "them")).policy.contact == "them")
        }
        let gone = PolicyDifference(from: try policy(base, contact: "me"), to: try policy(base))
        #expect(gone.applied(to: try policy(base, contact: "me")).policy.contact == nil)
    }
}

extension AccountsServer {
    /// Keeps a refusal as a machine tells of it.
    func report(_ device: String, _ registry: String, verdict: String = "deny", user: String? = nil) async throws {
        let now = clock.now
        try await services.store.database.write { database in
            try database.execute(
                sql: """
                    INSERT INTO refusal (organization, device, received, id, time, registry, action, verdict, rule,
                        point, user) VALUES ('acme', ?, ?, '7f3a9c', ?, ?, 'pull', ?, NULL, 'authorization-plugin', ?)
                    """,
                arguments: [device, now.seconds, now.description, registry, verdict, user]
            )
        }
    }
}
