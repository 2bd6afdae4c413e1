import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// The settings of an organization: its own, machines, tokens, single sign-on and keys.
struct DashboardSettingsTests {
    private static let settings = "/organizations/acme/settings"

    private static let good = [
        "contact": "platform@acme.test", "reportDays": "30", "maximumDevices": "500", "enrollment": "token",
    ]

    private static func secret(_ page: Answer) throws -> String {
        String(try #require(page.text.firstMatch(of: #/readonly value="(ram[a-z]_[A-Za-z0-9_]+)"/#), "\(page)").1)
    }

    // MARK: - General

    @Test
    func `an owner changes the settings, which are recorded and in force at once`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            #expect(try await alice.post(Self.settings, Self.good).status == 303)
            let settings = try await server.services.store.settings(of: "acme")
            #expect(settings.contact == "platform@acme.test" && settings.reportDays == 30)
            #expect(settings.maximumDevices == 500 && settings.enrollment == "token")
            // What another page sets stays.
            #expect(settings.refreshSeconds == 900 && settings.validitySeconds == 86_400)
            #expect(try await server.count("activity WHERE action = 'settings.update' AND actor = 'alice'") == 1)
            let page = try await alice.get(Self.settings)
            #expect(page.text.contains("value=\"500\"") && page.text.contains("value=\"token\" checked"), "\(page)")
            // The same again is no change.
            #expect(try await alice.post(Self.settings, Self.good).status == 303)
            #expect(try await server.count("activity WHERE action = 'settings.update'") == 1)
        }
    }

    @Test(
        arguments: [
            ("reportDays", "0", "from 1 to 3650"), ("reportDays", "", "from 1 to 3650"),
            ("reportDays", "3651", "from 1 to 3650"), ("reportDays", "1e2", "from 1 to 3650"),
            ("maximumDevices", "1000001", "from 1 to 1000000"), ("maximumDevices", "-1", "from 1 to 1000000"),
            ("enrollment", "nobody", "Choose one"), ("contact", "a\u{202E}b", "no control characters"),
            ("contact", String(repeating: "x", count: 101), "at most 100 bytes"),
        ]
    )
    func `what is not in order is said, and what was typed stays`(field: String, value: String, words: String)
        async throws
    {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let before = try await server.services.store.settings(of: "acme")
            let answer = try await alice.post(Self.settings, Self.good.merging([field: value]) { $1 })
            #expect(answer.status == 422 && answer.text.contains(words), "\(answer)")
            for (name, typed) in Self.good where name != field && name != "enrollment" {
                #expect(answer.text.contains("name=\"\(name)\" value=\"\(typed)\""), "\(name)")
            }
            #expect(try await server.services.store.settings(of: "acme") == before)
        }
    }

    @Test(
        "what is dangerous asks for the password after ten minutes, keeps what was typed, and does nothing before",
        arguments: [
            ("", good), ("/enrollment-tokens", ["name": "laptops", "days": "7"]),
            ("/tokens", ["name": "ci", "days": "7", "scope-policy:read": "on"]), ("/signing-keys", ["kind": "ticket"]),
            ("/signing-keys/root", ["document": "{}"]),
            ("/single-sign-on/link", ["user": "mia", "subject": "42"]),
            (
                "/single-sign-on",
                ["issuer": "http://127.0.0.1:1", "clientID": "c", "clientSecret": "s", "scopes": "openid"]
            ),
        ] as [(String, [String: String])]
    )
    func confirmation(path: String, fields: [String: String]) async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            server.clock.advance(600)
            let before = try await server.count("activity")
            for password in [nil, "wrong"] as [String?] {
                var more = fields
                more["password"] = password
                let answer = try await alice.post(Self.settings + path, more)
                #expect(answer.status == 403 && answer.text.contains("id=\"password-fault\""), "\(answer)")
                for name in ["name", "contact", "reportDays", "issuer", "subject"] where fields[name] != nil {
                    let typed = "value=\"\(fields[name] ?? "")\""
                    #expect(answer.text.contains("name=\"\(name)\" \(typed)"), "\(answer)")
                }
            }
            #expect(try await server.count("activity") == before)
            var more = fields
            more["password"] = AccountsServer.password
            let done = try await alice.post(Self.settings + path, more)
            #expect([200, 303, 404, 422].contains(done.status), "\(done)")
            #expect(!done.text.contains("id=\"password-fault\""))
        }
    }

    @Test
    func `a stranger keeps nobody from showing their password again, and only their own tries count`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let another = try await server.browser("alice")
            server.clock.advance(600)
            func show(_ password: String, in browser: TestBrowser) async throws -> Answer {
                try await browser.post("\(Self.settings)/signing-keys", ["kind": "ticket", "password": password])
            }
            for _ in 0..<5 { #expect(try await server.passwordGrant("alice", "wrong").status == 400) }
            #expect(try await server.passwordGrant("alice").status == 429)
            let slowed = try await server.count("activity WHERE action = 'session.sign_in_slowed'")
            for _ in 0..<5 { #expect(try await show("wrong", in: another).status == 403) }
            #expect(try await show(AccountsServer.password, in: another).status == 429)
            #expect(try await server.count("activity WHERE action = 'session.sign_in_slowed'") == slowed + 1)
            let done = try await show(AccountsServer.password, in: alice)
            #expect([200, 303].contains(done.status) && !done.text.contains("id=\"password-fault\""), "\(done)")
            // To change it is the same.
            let new = "quite a fine sentence"
            let changed = try await alice.post(
                "/account/password",
                ["current": AccountsServer.password, "new": new, "repeated": new]
            )
            #expect(changed.status == 303, "\(changed)")
        }
    }

    @Test
    func `everybody sees the settings that are theirs, and is led to them`() async throws {
        try await AccountsServer.withPolicy { server in
            for (name, first, titles) in [
                ("alice", nil, ["General", "Machines", "Single sign-on", "Access tokens", "Signing keys"]),
                ("edith", nil, ["General", "Machines", "Single sign-on", "Access tokens", "Signing keys"]),
                ("audrey", nil, ["General", "Machines", "Single sign-on", "Access tokens", "Signing keys"]),
                ("mia", "\(Self.settings)/tokens", ["Access tokens"]),
            ] as [(String, String?, [String])] {
                let browser = try await server.browser(name)
                let answer = try await browser.get(Self.settings)
                #expect(answer.headers[.location] == first)
                let page = try await browser.get(first ?? Self.settings)
                let tabs = try #require(page.text.firstMatch(of: #/(?s)<nav class="tabs".*?<\/nav>/#)).0
                let shown = tabs.matches(of: #/>([^<>\n]+)<\/a>/#).map { String($0.1) }
                #expect(shown == titles, "\(name)")
            }
            // Who may not change it is shown no form.
            let audrey = try await server.browser("audrey")
            #expect(try await !audrey.get("\(Self.settings)/single-sign-on").text.contains("name=\"clientSecret\""))
        }
    }

    @Test
    func `an auditor reads all settings, sees what tokens there are without a secret, and is shown no form`()
        async throws
    {
        try await AccountsServer.withPolicy { server in
            let (alice, audrey) = (try await server.browser("alice"), try await server.browser("audrey"))
            _ = try await alice.post(Self.settings, Self.good)
            let enrollment = try await alice.post(
                "\(Self.settings)/enrollment-tokens",
                ["name": "laptops", "days": "7"]
            )
            let made = try await alice.post(
                "\(Self.settings)/tokens",
                ["name": "of-alice", "days": "7", "scope-policy:read": "on"]
            )
            let secrets = [try Self.secret(enrollment), try Self.secret(made)]
            let root = try #require(try await server.services.publisher.served.newest(of: "acme")).rootDocument
            let key = try #require(root.roles[.policy]?.keys.first).id.fingerprint
            for (path, words) in [
                ("", ["platform@acme.test", ">500<", "30 days"]), ("/machines", ["laptops", "docker ram enroll"]),
                ("/signing-keys", [key]), ("/tokens", ["of-alice", "policy:read", "can revoke your own"]),
            ] {
                let page = try await audrey.get(Self.settings + path)
                #expect(page.status == 200, "\(path) \(page)")
                for word in words { #expect(page.text.contains(word), "\(path) \(word)") }
                for secret in secrets { #expect(!page.text.contains(secret), "\(path)") }
                let main = try #require(page.text.firstMatch(of: #/(?s)<main.*<\/main>/#)).0
                // Tokens of their own they make, as everybody does.
                #expect(main.contains("method=\"post\"") == (path == "/tokens"), "\(path)")
                #expect(!main.contains("/revoke") && !main.contains("/delete"), "\(path)")
            }
            let list = try await alice.get("\(Self.settings)/tokens")
            let link = try #require(list.text.firstMatch(of: #/href="([^"]+\/revoke)"/#)).1
            #expect(try await audrey.get(String(link)).status == 404)
            #expect(try await audrey.post(String(link)).status == 404)
            let api = try await server.signIn("audrey")
            for path in ["settings", "keys", "enrollment-tokens", "tokens"] {
                let answer = try await server.send(.get, "/v1/organizations/acme/\(path)", as: api)
                #expect(answer.status == 200, "\(path) \(answer)")
                for secret in secrets { #expect(!answer.text.contains(secret), "\(path)") }
            }
            #expect(try await server.count("accessToken") == 1)
        }
    }

    // MARK: - Machines

    @Test
    func `an enrollment token is shown once, lets a machine in, and is deleted after a question`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            _ = try await alice.post(Self.settings, Self.good)
            let page = "\(Self.settings)/enrollment-tokens"
            let made = try await alice.post(page, ["name": "laptops & <co>", "days": "7"])
            #expect(made.status == 200 && made.headers[.cacheControl] == "no-store", "\(made)")
            let secret = try Self.secret(made)
            let devices = "/v1/organizations/acme/devices"
            func register(_ body: String) async throws -> Int {
                try await server.send(.post, devices, body: body).status
            }
            #expect(try await register(#"{"name":"a"}"#) == 403)
            #expect(try await register(#"{"name":"a","enrollmentToken":"\#(secret)"}"#) == 201)
            let list = try await alice.get("\(Self.settings)/machines")
            #expect(list.text.contains("laptops &amp; &lt;co&gt;") && !list.text.contains(secret), "\(list)")
            let again = try await alice.post(page, ["name": "laptops & <co>", "days": "7"])
            #expect(again.status == 409 && again.text.contains("There is one of this name already."))
            for (field, value) in [("name", ""), ("days", "366"), ("days", "0"), ("days", "x")] {
                let wrong = try await alice.post(page, ["name": "new", "days": "7"].merging([field: value]) { $1 })
                #expect(wrong.status == 422, "\(field) \(value)")
            }
            let delete = "\(page)/delete"
            let ask = try await alice.get("\(delete)?name=laptops+%26+%3Cco%3E")
            #expect(ask.status == 200 && ask.text.contains("value=\"laptops &amp; &lt;co&gt;\""), "\(ask)")
            #expect(try await alice.get("\(delete)?name=other").status == 404)
            #expect(try await alice.post(delete, ["name": "laptops & <co>"]).status == 303)
            #expect(try await register(#"{"name":"b","enrollmentToken":"\#(secret)"}"#) == 403)
            #expect(try await server.count("activity WHERE action LIKE 'enrollment_token.%' AND actor = 'alice'") == 2)
        }
    }

    // MARK: - Access tokens

    @Test
    func `an access token is shown once, does what it may and nothing else, and ends when it is revoked`() async throws
    {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let page = "\(Self.settings)/tokens"
            let made = try await alice.post(page, ["name": "ci", "days": "7", "scope-policy:read": "on"])
            #expect(made.status == 200 && made.headers[.cacheControl] == "no-store", "\(made)")
            let secret = try Self.secret(made)
            #expect(try await server.send(.get, "/v1/organizations/acme/policy", as: secret).status == 200)
            #expect(try await server.send(.get, "/v1/organizations/acme/settings", as: secret).status == 403)
            let list = try await alice.get(page)
            #expect(list.text.contains("<strong>ci</strong>") && list.text.contains("policy:read"), "\(list)")
            #expect(!list.text.contains(secret))
            let again = try await alice.post(page, ["name": "ci", "days": "7", "scope-policy:read": "on"])
            #expect(again.status == 409 && again.text.contains("already"), "\(again)")
            let link = try #require(list.text.firstMatch(of: #/href="([^"]+\/revoke)"/#)).1
            let ask = try await alice.get(String(link))
            #expect(ask.status == 200 && ask.text.contains("It belongs to alice, and may: policy:read."), "\(ask)")
            #expect(try await alice.post(String(link)).status == 303)
            #expect(try await server.send(.get, "/v1/organizations/acme/policy", as: secret).status == 401)
            #expect(try await alice.post(String(link)).status == 404)
            #expect(try await server.count("activity WHERE action LIKE 'access_token.%' AND actor = 'alice'") == 2)
        }
    }

    @Test
    func `a member has tokens of their own, no more in them than they may do, and sees no others`() async throws {
        try await AccountsServer.withPolicy { server in
            let (alice, mia) = (try await server.browser("alice"), try await server.browser("mia"))
            let page = "\(Self.settings)/tokens"
            _ = try await alice.post(page, ["name": "of-alice", "days": "7", "scope-settings:write": "on"])
            let form = try await mia.get(page)
            #expect(form.text.contains("scope-policy:read") && !form.text.contains("scope-settings:write"), "\(form)")
            #expect(!form.text.contains("of-alice"))
            let greedy = try await mia.post(page, ["name": "x", "days": "7", "scope-settings:write": "on"])
            #expect(greedy.status == 403 && greedy.text.contains("You have not got"), "\(greedy)")
            #expect(try await server.count("accessToken WHERE user = 'mia'") == 0)
            #expect(try await mia.post(page, ["name": "mine", "days": "7", "scope-policy:read": "on"]).status == 200)
            let all = try await alice.get(page)
            let links = all.text.matches(of: #/href="([^"]+\/revoke)"/#).map { String($0.1) }
            #expect(links.count == 2)
            // An owner's is not there for a member; a member's is there for an owner.
            #expect(try await mia.get(links[0]).status == 404)
            #expect(try await mia.post(links[0]).status == 404)
            #expect(try await alice.post(links[1]).status == 303)
            #expect(try await server.count("accessToken") == 1)
            for (field, value) in [("name", ""), ("name", "a\u{7}"), ("days", "366"), ("days", "0"), ("scope", "on")] {
                var fields = ["name": "new", "days": "7", "scope-policy:read": "on"]
                if field == "scope" { fields["scope-policy:read"] = nil } else { fields[field] = value }
                let wrong = try await mia.post(page, fields)
                #expect(wrong.status == 422 && wrong.text.contains("class=\"fault\""), "\(field) \(value)")
            }
        }
    }

    // MARK: - Single sign-on

    @Test
    func `an owner sets single sign-on, tests it, links members, and takes all of it back`() async throws {
        try await SingleSignOnSetting.with(["owner": .owner, "bob": .member], isSet: false) { setting in
            let (server, provider) = (setting.server, setting.provider)
            let owner = try await server.browser("owner")
            let page = "\(Self.settings)/single-sign-on"
            let fields = [
                "issuer": provider.issuer, "clientID": "docker ram", "clientSecret": "s3cret/+ \u{e4}",
                "scopes": "openid email  profile", "membership": "domain", "domains": "Acme.test, other.test",
            ]
            let tested = try await owner.post("\(page)/test", fields)
            #expect(tested.status == 200 && tested.text.contains("The provider is in order"), "\(tested)")
            #expect(tested.text.contains("\(provider.issuer)/token") && !tested.text.contains("s3cret"))
            #expect(try await server.count("singleSignOn") == 0)
            #expect(try await owner.post(page, fields).status == 303)
            let set = try #require(try await server.services.store.singleSignOn(of: "acme"))
            #expect(set.domains == ["acme.test", "other.test"] && set.scopes == ["openid", "email", "profile"])
            let shown = try await owner.get(page)
            #expect(shown.text.contains(provider.issuer) && !shown.text.contains("s3cret"), "\(shown)")
            #expect(shown.text.contains("https://ram.acme.test/single-sign-on/callback"))
            // It signs people in, who are linked then.
            #expect(try await setting.join().text.contains("You belong to acme as alice."))
            // The secret goes on to be used as long as issuer and client are the same.
            var kept = fields
            kept["clientSecret"] = nil
            kept["membership"] = "invited"
            #expect(try await owner.post(page, kept).status == 303)
            #expect(try await server.services.store.singleSignOn(of: "acme")?.clientSecret == set.clientSecret)
            kept["clientID"] = "another"
            let other = try await owner.post(page, kept)
            #expect(other.status == 422 && other.text.contains("its secret is needed as well"), "\(other)")
            // Links.
            let link = try await owner.post("\(page)/link", ["user": "bob", "subject": "<b>42"])
            #expect(link.status == 303, "\(link)")
            let taken = try await owner.post("\(page)/link", ["user": "owner", "subject": "<b>42"])
            #expect(taken.status == 409 && taken.text.contains("is linked to somebody else already"), "\(taken)")
            #expect(try await owner.post("\(page)/link", ["user": "nobody", "subject": "1"]).status == 404)
            #expect(try await setting.identities == ["alice 248289761001", "bob <b>42"])
            let list = try await owner.get(page)
            #expect(list.text.contains("<code>&lt;b&gt;42</code>"), "\(list)")
            #expect(try await owner.get("\(page)/unlink?user=bob").text.contains("Unlink bob?"))
            #expect(try await owner.post("\(page)/unlink", ["user": "bob"]).status == 303)
            #expect(try await owner.post("\(page)/unlink", ["user": "bob"]).status == 404)
            #expect(try await setting.identities == ["alice 248289761001"])
            #expect(try await owner.get("\(page)/remove").text.contains("Remove single sign-on?"))
            #expect(try await owner.post("\(page)/remove").status == 303)
            #expect(try await server.count("singleSignOn") == 0)
            #expect(try await owner.post("\(page)/remove").status == 404)
        }
    }

    @Test(
        arguments: [
            ("issuer", "login.acme.test", "This is no issuer"), ("issuer", "", "This is no issuer"),
            ("issuer", "http://192.0.2.1", "This is no issuer"), ("clientID", "", "1 to 255 bytes"),
            ("clientSecret", "", "1 to 1024 bytes"), ("clientSecret", "a\u{7}", "1 to 1024 bytes"),
            ("scopes", "email", "openid is one of them"), ("scopes", "openid \"", "openid is one of them"),
            ("domains", "", "Domains like acme.test"), ("domains", "acme", "Domains like acme.test"),
            ("issuer", "http://127.0.0.1:1", "The provider cannot be reached"),
        ]
    )
    func `a provider that is not in order is not set`(field: String, value: String, words: String) async throws {
        try await SingleSignOnSetting.with(isSet: false) { setting in
            let owner = try await setting.server.browser("owner")
            var fields = [
                "issuer": setting.provider.issuer, "clientID": "x", "clientSecret": "s3cret", "scopes": "openid",
                "membership": "domain", "domains": "acme.test",
            ]
            fields[field] = value
            let answer = try await owner.post("\(Self.settings)/single-sign-on", fields)
            #expect(answer.status == 422 && answer.text.contains(words), "\(answer)")
            #expect(answer.text.contains("value=\"\(HTMLText.escaped(fields["issuer"] ?? ""))\""))
            #expect(!answer.text.contains("s3cret"))
            #expect(try await setting.server.count("singleSignOn") == 0)
            guard field == "issuer" else { return }
            let test = try await owner.post("\(Self.settings)/single-sign-on/test", fields)
            #expect(test.status == 422 && test.text.contains(words), "\(test)")
        }
    }

    // MARK: - Keys

    @Test
    func `the page of keys shows which sign, begins a change of keys, and holds nothing that is secret`() async throws {
        try await AccountsServer.withPolicy { server in
            let alice = try await server.browser("alice")
            let page = "\(Self.settings)/signing-keys"
            let before = try await alice.get(page)
            let root = try #require(try await server.services.publisher.served.newest(of: "acme")).rootDocument
            for kind in [DocumentKind.root, .policy, .freshness, .ticket] {
                let key = try #require(root.roles[kind]?.keys.first)
                #expect(before.text.contains(key.id.fingerprint), "\(kind)")
            }
            #expect(before.text.contains("docker ram admin key prepare --out root-2.json"), "\(before)")
            #expect(before.text.contains(server.clock.now.description), "freshness was signed when it was made")
            #expect(!before.text.contains("Not named yet") && !before.text.contains("docker-ram-key-v1"))
            #expect(try await alice.post(page, ["kind": "ticket"]).status == 303)
            let keys = try server.services.publisher.keys.publicKeys(.ticket, of: "acme")
            #expect(keys.count == 2)
            let after = try await alice.get(page)
            #expect(keys.allSatisfy { after.text.contains($0.id.fingerprint) })
            #expect(after.text.components(separatedBy: "Not named yet").count == 2, "\(after)")
            #expect(try await server.count("activity WHERE action = 'registry_access.key_created'") == 1)
            for kind in ["root", "", "policy "] {
                #expect(try await alice.post(page, ["kind": kind]).status == 400)
            }
        }
    }

    @Test
    func `a root document that was signed elsewhere is pasted, and keys sign by it`() async throws {
        let rootKey = SigningKey.generate()
        try await AccountsServer.withPolicy(rootKey: rootKey) { server in
            let alice = try await server.browser("alice")
            let (keys, page) = ("\(Self.settings)/signing-keys", "\(Self.settings)/signing-keys/root")
            #expect(try await alice.get(keys).text.contains("href=\"\(page)\""))
            #expect(try await alice.post(keys, ["kind": "policy"]).status == 303)
            var root = try #require(try await server.services.publisher.served.newest(of: "acme")).rootDocument
            var roles = root.roles
            roles[.policy] = RootDocument.Role(try server.services.publisher.keys.publicKeys(.policy, of: "acme"))
            root = RootDocument(organization: "acme", version: 2, expires: root.expires, roles: roles)
            let document = try Envelope(signing: root.payload, as: .root, with: [rootKey]).json
            let stranger = try Envelope(signing: root.payload, as: .root, with: [.generate()]).json
            for text in ["", "{}", "</textarea><b>x</b>", stranger] {
                let answer = try await alice.post(page, ["document": text])
                #expect(answer.status == 422 && answer.text.contains("The root document was not taken"), "\(answer)")
                #expect(answer.text.contains(">\(HTMLText.escaped(text))</textarea>"), "\(answer)")
            }
            #expect(try await alice.get(keys).text.contains("Not named yet"))
            // As a browser sends a file's lines.
            let pasted = document + "\r\n"
            let taken = try await alice.post(page, ["document": pasted])
            #expect(taken.status == 303, "\(taken)")
            let after = try await alice.get(keys).text
            #expect(after.contains("<dt>Version</dt><dd>2</dd>") && !after.contains("Not named yet"))
            // The same once more is an older one now.
            #expect(try await alice.post(page, ["document": pasted]).status == 422)
            // A key that the next one leaves out is retired: nothing is left to do with it.
            let old = try #require(roles[.policy]?.keys.first)
            roles[.policy] = RootDocument.Role([try #require(roles[.policy]?.keys.last)])
            root = RootDocument(organization: "acme", version: 3, expires: root.expires, roles: roles)
            let third = try Envelope(signing: root.payload, as: .root, with: [rootKey]).json
            #expect(try await alice.post(page, ["document": third]).status == 303)
            let retired = try await alice.get(keys).text
            #expect(retired.contains("<code>\(old.id.fingerprint)</code></td><td><span class=\"badge\">Retired</span>"))
            #expect(!retired.contains("Not named yet") && !retired.contains("no root document names yet"))
        }
    }

    // MARK: - Hostile texts

    @Test
    func `50 hostile texts in every field of the settings stay text`() async throws {
        try await AccountsServer.withPolicy { server in
            let harmless = try await Self.pages(server, with: "harmless")
            for text in DashboardPageTests.hostile {
                for (path, page) in try await Self.pages(server, with: text) {
                    #expect(PageTags(page) == PageTags(harmless[path] ?? ""), "\(text) on \(path)")
                    #expect(page.contains(HTMLText.escaped(text)), "\(text) on \(path)")
                }
            }
        }
    }

    /// Every page of the settings with a text in each field, stored or typed.
    private static func pages(_ server: AccountsServer, with text: String) async throws -> [String: String] {
        try await server.services.store.database.write { database in
            try database.execute(sql: "DELETE FROM accessToken")
            try database.execute(sql: "DELETE FROM enrollmentToken")
            try database.execute(sql: "DELETE FROM identity")
            try database.execute(sql: "DELETE FROM singleSignOn")
            try database.execute(sql: "UPDATE organization SET contact = ?", arguments: [text])
            try database.execute(
                sql: """
                    INSERT INTO singleSignOn (organization, issuer, clientID, clientSecret, scopes, membership, domains)
                    VALUES ('acme', 'https://login.acme.test', :text, 'secret', :text, 'domain', :text)
                    """,
                arguments: ["text": text]
            )
            try database.execute(
                sql: """
                    INSERT INTO identity (organization, issuer, subject, user, email, created)
                    VALUES ('acme', :text, :text, 'mia', :text, 1)
                    """,
                arguments: ["text": text]
            )
        }
        let alice = try await server.browser("alice")
        var pages: [String: String] = [:]
        let made = try await alice.post("\(settings)/tokens", ["name": text, "days": "7", "scope-policy:read": "on"])
        let enrollment = try await alice.post("\(settings)/enrollment-tokens", ["name": text, "days": "7"])
        #expect(made.status == 200 && enrollment.status == 200, "\(text)")
        pages["made"] = made.text
        pages["enrollment"] = enrollment.text
        let tokens = try await alice.get("\(settings)/tokens")
        pages["tokens"] = tokens.text
        let link = try #require(tokens.text.firstMatch(of: #/href="([^"]+\/revoke)"/#)).1
        pages["revoke"] = try await alice.get(String(link)).text
        pages["machines"] = try await alice.get("\(settings)/machines").text
        let name = PercentEncoding.encode(text)
        pages["delete"] = try await alice.get("\(settings)/enrollment-tokens/delete?name=\(name)").text
        pages["general"] = try await alice.get(settings).text
        pages["general typed"] = try await alice.post(
            settings,
            ["contact": text, "reportDays": text + "x", "maximumDevices": text + "x", "enrollment": text]
        ).text
        pages["tokens typed"] = try await alice.post("\(settings)/tokens", ["name": text, "days": text + "x"]).text
        pages["single sign-on"] = try await alice.get("\(settings)/single-sign-on").text
        pages["single sign-on typed"] = try await alice.post(
            "\(settings)/single-sign-on",
            [
                "issuer": text, "clientID": text, "clientSecret": text, "scopes": text, "membership": "domain",
                "domains": text,
            ]
        ).text
        pages["link typed"] = try await alice.post("\(settings)/single-sign-on/link", ["user": text, "subject": text])
            .text
        pages["unlink"] = try await alice.get("\(settings)/single-sign-on/unlink?user=mia").text
        pages["sign in"] = try await server.send(.get, "/sign-in?organization=\(name)").text
        return pages
    }
}
