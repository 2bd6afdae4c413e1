import GRDB
import HTTPTypes
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// A browser with its cookies, as far as they come along.
struct CookieBrowser {
    let server: AccountsServer
    private(set) var cookies: [String: (value: String, isStrict: Bool)] = [:]

    init(_ server: AccountsServer) { self.server = server }

    /// Opens an address of the server; one that another site sends to comes without cookies that are `SameSite=Strict`.
    mutating func open(_ path: String, fromElsewhere: Bool = false) async throws -> Answer {
        take(try await server.send(.get, path, headers: headers(fromElsewhere)))
    }

    /// Sends the form of a page with more fields.
    mutating func submit(_ path: String, _ page: Answer, _ fields: [String: String]) async throws -> Answer {
        var fields = fields
        for name in ["form", "confirmation"] {
            fields[name] = fields[name] ?? Self.hidden(name, page.text)
        }
        var headers = headers(false)
        headers[.origin] = AccountsServer.publicURL
        return take(try await server.form(path, fields, headers: headers))
    }

    static func hidden(_ name: String, _ html: String) -> String? {
        html.split(separator: "name=\"\(name)\" value=\"").dropFirst().first.flatMap { $0.split(separator: "\"").first }
            .map(String.init)
    }

    private func headers(_ fromElsewhere: Bool) -> HTTPFields {
        let sent = cookies.filter { !fromElsewhere || !$0.value.isStrict }.map { "\($0.key)=\($0.value.value)" }
        return sent.isEmpty ? [:] : [.cookie: sent.joined(separator: "; ")]
    }

    private mutating func take(_ answer: Answer) -> Answer {
        for text in answer.headers[values: .setCookie] {
            let pair = text.prefix { $0 != ";" }.split(separator: "=", maxSplits: 1).map(String.init)
            // Without a value it is taken back.
            cookies[pair[0]] = pair.count == 2 ? (pair[1], text.contains("SameSite=Strict")) : nil
            #expect(text.contains("; Secure") && text.contains("; HttpOnly") && text.contains("; Path=/;"))
            #expect(text.hasPrefix("__Host-"))
        }
        return answer
    }
}

/// A server whose organization signs in at a provider.
struct SingleSignOnSetting: Sendable {
    let server: AccountsServer
    let provider: TestProvider

    /// Makes them, with `acme` and the people in it.
    static func with(
        _ people: [String: Role] = ["owner": .owner],
        connection: ProviderConnection = ProviderConnection(time: .seconds(3600)),
        isSet: Bool = true,
        _ body: @escaping @Sendable (SingleSignOnSetting) async throws -> Void
    ) async throws {
        try await AccountsServer.with(providers: connection) { server in
            try await server.make("acme", people)
            try await TestProvider.with(now: { server.clock.now }) { provider in
                let setting = SingleSignOnSetting(server: server, provider: provider)
                if isSet {
                    let answer = try await setting.set()
                    #expect(answer.status == 200, "\(answer)")
                }
                try await body(setting)
            }
        }
    }

    func set(_ more: String = "", secret: String? = "s3cret/+ \u{e4}", as name: String = "owner") async throws -> Answer
    {
        let client = secret.map { #","clientSecret":"\#($0)""# } ?? ""
        return try await server.send(
            .put,
            "/v1/organizations/acme/single-sign-on",
            as: try await server.signIn(name),
            body: #"{"issuer":"\#(provider.issuer)","clientID":"docker ram"\#(client)\#(more)}"#
        )
    }

    /// Lets whoever has an address in `acme.test` in.
    func setDomain() async throws {
        let answer = try await set(#","membership":"domain","domains":["acme.test"]"#)
        #expect(answer.status == 200, "\(answer)")
    }

    /// Signs in for nothing but that, and gives the page behind the provider.
    func join(_ browser: inout CookieBrowser) async throws -> Answer {
        let begun = try await browser.open("/single-sign-on/acme")
        #expect(begun.status == 303, "\(begun)")
        return try await comeBack(&browser, try #require(begun.headers[.location]))
    }

    func join() async throws -> Answer {
        var browser = CookieBrowser(server)
        return try await join(&browser)
    }

    /// Goes to the provider and comes back.
    func comeBack(_ browser: inout CookieBrowser, _ address: String) async throws -> Answer {
        let back = try provider.authorize(address)
        #expect(back.hasPrefix("\(AccountsServer.publicURL)/single-sign-on/callback?"))
        return try await browser.open(String(back.dropFirst(AccountsServer.publicURL.count)), fromElsewhere: true)
    }

    func invite(_ role: Role = .member, to organization: String = "acme", by name: String = "owner") async throws
        -> String
    {
        try await server.services.store.invite(nil, as: role, to: organization, by: name, at: server.clock.now)
            .token.secret
    }

    var identities: [String] {
        get async throws {
            try await server.services.store.identities(in: "acme").map { "\($0.user) \($0.subject)" }
        }
    }
}

struct SingleSignOnTests {
    // MARK: - The whole way

    private static let device = "device0000000000000000001a"

    @Test(arguments: [
        (["settings:write"], "invited", 200), (["settings:write"], "domain", 403),
        (["settings:write", "policy:read"], "domain", 200),
    ])
    func `a token lets nobody in by a domain who may do more than it may`(
        scopes: [String],
        membership: String,
        status: Int
    ) async throws {
        try await SingleSignOnSetting.with(isSet: false) { setting in
            let server = setting.server
            let made = try await server.send(
                .post,
                "/v1/organizations/acme/tokens",
                as: try await server.signIn("owner"),
                body: #"{"name":"ci","scopes":\#(JSONValue.texts(scopes).text()),"days":1}"#
            )
            let token = try #require(made["token"])
            let answer = try await server.send(
                .put,
                "/v1/organizations/acme/single-sign-on",
                as: token,
                body: """
                    {"issuer":"\(setting.provider.issuer)","clientID":"x","clientSecret":"y",\
                    "membership":"\(membership)"\(membership == "domain" ? #","domains":["evil.test"]"# : "")}
                    """
            )
            #expect(answer.status == status, "\(answer)")
            #expect(try await server.count("singleSignOn") == (status == 200 ? 1 : 0))
        }
    }

    @Test(
        arguments: [
            (TestProvider.Signer.rs256, ["client_secret_basic"]), (.ps256, ["client_secret_post"]),
            (.es256, ["client_secret_post", "client_secret_basic"]), (.eddsa, nil),
        ] as [(TestProvider.Signer, [String]?)]
    )
    private func `a machine is signed in by somebody who signs in at the provider`(
        signer: TestProvider.Signer,
        authentication: [String]?
    ) async throws {
        try await SingleSignOnSetting.with(isSet: false) { setting in
            let (server, provider) = (setting.server, setting.provider)
            provider.conduct { conduct in
                conduct.signer = signer
                conduct.discovery = { members in
                    members["id_token_signing_alg_values_supported"] = .texts([signer.rawValue])
                    members["token_endpoint_auth_methods_supported"] = authentication.map(JSONValue.texts)
                }
            }
            try await setting.setDomain()
            let secret = try await server.makeDevice(Self.device)
            let begun = try await server.form(
                "/v1/device_authorization",
                ["client_id": "docker-ram", "organization": "acme", "device_name": "laptop"]
            )
            var browser = CookieBrowser(server)
            let page = try await browser.open("/activate")
            #expect(page.text.contains("Use single sign-on"))
            let way = try await browser.submit(
                "/activate/single-sign-on",
                page,
                ["user_code": begun["user_code"] ?? ""]
            )
            #expect(way.status == 200, "\(way)")
            let refresh = try #require(HTTPField.Name("Refresh"))
            let address = try #require(way.headers[refresh]?.split(separator: "url=").last.map(String.init))
            #expect(way.text.contains("localhost:"))
            let question = try await setting.comeBack(&browser, address)
            #expect(question.text.contains("A machine asks to be signed in as <strong>alice</strong>"), "\(question)")
            #expect(question.text.contains("laptop"))
            let poll = [
                "grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": begun["device_code"] ?? "",
                "organization": "acme", "device": Self.device, "device_secret": secret.secret,
            ]
            #expect(try await server.form("/v1/token", poll)["error"] == "authorization_pending")
            let end = try await browser.submit("/activate/decision", question, ["decision": "approve"])
            #expect(end.text.contains("laptop is signed in as alice"), "\(end)")
            server.clock.advance(5)
            let session = try await server.form("/v1/token", poll)
            #expect(session["user"] == "alice" && session.json.value(named: "ticket") != nil, "\(session)")
            #expect(try await setting.identities == ["alice 248289761001"])
            // The next time it is the same person.
            #expect(try await setting.join().text.contains("You belong to acme as alice."))
            #expect(try await server.count("user WHERE password IS NULL") == 1)
            #expect(try await server.count("membership WHERE user = 'alice' AND role = 'member'") == 1)
        }
    }

    @Test
    func `who has no password does not sign in with one`() async throws {
        try await SingleSignOnSetting.with { setting in
            try await setting.setDomain()
            _ = try await setting.join()
            for password in ["", AccountsServer.password] {
                let answer = try await setting.server.form(
                    "/v1/token",
                    ["grant_type": "password", "username": "alice", "password": password]
                )
                #expect(answer.status == 400, "\(answer)")
            }
        }
    }

    @Test
    func `a code that is none, or of an organization without a provider, leads nowhere`() async throws {
        try await SingleSignOnSetting.with { setting in
            let server = setting.server
            let begun = try await server.form(
                "/v1/device_authorization",
                ["client_id": "docker-ram", "organization": "elsewhere", "device_name": "laptop"]
            )
            var browser = CookieBrowser(server)
            let page = try await browser.open("/activate")
            for (code, words) in [
                (begun["user_code"] ?? "", "There is no single sign-on for"), ("BBBB-BBBB", "There is no such code"),
                ("", "There is no such code"),
            ] {
                let answer = try await browser.submit("/activate/single-sign-on", page, ["user_code": code])
                #expect(answer.text.contains(words), "\(answer)")
            }
            // A form of another site begins nothing.
            let foreign = try await browser.submit("/activate/single-sign-on", page, ["form": "0"])
            #expect(foreign.status == 403)
            #expect(try await browser.open("/single-sign-on/elsewhere").status == 404)
            #expect(try await server.count("singleSignOnBegun") == 0)
        }
    }

    // MARK: - Attacks by the token

    private struct Attack: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let words: String
        let change: @Sendable (inout TestProvider.Conduct) -> Void

        init(_ name: String, _ words: String, _ change: @escaping @Sendable (inout TestProvider.Conduct) -> Void) {
            (testDescription, self.words, self.change) = (name, words, change)
        }

        /// An attack with other claims.
        static func claim(_ name: String, _ claim: String, _ value: JSONValue?, _ words: String) -> Attack {
            Attack(name, words) { $0.claims = { $0[claim] = value } }
        }

        /// An attack with another time.
        static func time(_ name: String, _ claim: String, _ seconds: Int64, _ words: String) -> Attack {
            Attack(name, words) { conduct in
                conduct.claims = { claims in
                    guard case .number(let issued)? = claims["iat"], let start = Int64(issued) else { return }
                    claims[claim] = .number("\(start + seconds)")
                }
            }
        }
    }

    private static let attacks = [
        Attack("not signed", "is signed with &quot;none&quot;") { $0.signer = .none },
        Attack("none in capitals", "is signed with &quot;NONE&quot;") { conduct in
            conduct.signer = .none
            conduct.header = { $0["alg"] = .string("NONE") }
        },
        Attack("signed with the public key as a secret", "is signed with &quot;HS256&quot;") { $0.signer = .hs256 },
        Attack("the same, and the key is published", "is signed with &quot;HS256&quot;") { conduct in
            conduct.signer = .hs256
            conduct.keys = ["rsa", "hmac"]
            conduct.header = { $0["kid"] = .string("hmac") }
        },
        Attack("an algorithm that is not accepted", "is signed with &quot;RS512&quot;") { conduct in
            conduct.header = { $0["alg"] = .string("RS512") }
        },
        Attack("another's key under a known name", "The signature of the ID token is wrong") { $0.signer = .forged },
        Attack("a key that is unknown", "not among the provider&#39;s") {
            $0.header = { $0["kid"] = .string("other") }
        },
        Attack("no name of a key", "not among the provider&#39;s") { $0.header = { $0["kid"] = nil } },
        Attack("an algorithm for another kind of key", "not for its algorithm") { conduct in
            conduct.header = { $0["alg"] = .string("ES256") }
        },
        Attack("a key that is for another algorithm", "not for its algorithm") { conduct in
            conduct.signer = .ps256
            conduct.keys = ["rsa for RS256"]
            conduct.header = { $0["kid"] = .string("rsa for RS256") }
        },
        Attack("a header that must be understood", "&quot;crit&quot;") { conduct in
            conduct.header = { $0["crit"] = .texts(["b64"]) }
        },
        Attack("claims changed after signing", "The signature of the ID token is wrong") { conduct in
            conduct.token = { token in
                var parts = token.split(separator: ".").map(String.init)
                parts[1] = String(parts[1].dropLast(4)) + (parts[1].hasSuffix("AAAA") ? "BBBB" : "AAAA")
                return parts.joined(separator: ".")
            }
        },
        Attack("four parts", "has not got three parts") { $0.token = { "\($0).AAAA" } },
        Attack("padding", "has not got three parts") { $0.token = { "\($0)==" } },
        Attack("nothing in it", "has not got three parts") { $0.token = { _ in "" } },
        .claim("another issuer", "iss", .string("https://login.evil.test"), "comes from another issuer"),
        .claim("no issuer", "iss", nil, "comes from another issuer"),
        .claim("another audience", "aud", .string("other"), "is for another client"),
        .claim("no audience", "aud", nil, "is for another client"),
        .claim(
            "several audiences, nobody authorized",
            "aud",
            .texts(["docker ram", "other"]),
            "issued to another client"
        ),
        .claim("another authorized party", "azp", .string("other"), "issued to another client"),
        .claim("another nonce", "nonce", .string("other"), "belongs to another sign-in"),
        .claim("no nonce", "nonce", nil, "belongs to another sign-in"),
        .claim("the hash of another access token", "at_hash", .string("AAAA"), "not belong to the access token"),
        .claim("no subject", "sub", nil, "&quot;sub&quot; is missing"),
        .claim("an empty subject", "sub", .string(""), "&quot;sub&quot; is missing"),
        .claim("no end", "exp", nil, "is not good any more"),
        .claim("an end that is no time", "exp", .string("tomorrow"), "is no time"),
        .claim("no beginning", "iat", nil, "was not issued now"),
        .time("expired", "exp", -61, "is not good any more"),
        .time("from the future", "iat", 61, "was not issued now"),
        .time("issued long ago", "iat", -661, "was not issued now"),
        .time("good in the future", "nbf", 61, "is not good yet"),
    ]

    @Test(arguments: attacks)
    private func `an ID token that is not in order signs nobody in`(attack: Attack) async throws {
        try await SingleSignOnSetting.with { setting in
            try await setting.setDomain()
            // Without the attack it works.
            setting.provider.conduct { $0.account.subject = "first" }
            #expect(try await setting.join().text.contains("You belong to acme as alice."))
            setting.provider.conduct { conduct in
                conduct.account = TestProvider.Account(subject: "second", email: "bob@acme.test", name: "bob")
                attack.change(&conduct)
            }
            // Keys that were not there a moment ago are looked for a minute later.
            setting.server.clock.advance(61)
            let answer = try await setting.join()
            #expect(answer.status == 400 && answer.text.contains(attack.words), "\(answer)")
            #expect(try await setting.identities == ["alice first"])
            #expect(try await setting.server.count("user WHERE name = 'bob'") == 0)
        }
    }

    @Test
    func `several audiences are good if we are the party`() async throws {
        try await SingleSignOnSetting.with { setting in
            try await setting.setDomain()
            setting.provider.conduct { conduct in
                conduct.claims = { claims in
                    claims["aud"] = .texts(["other", "docker ram"])
                    claims["azp"] = .string("docker ram")
                    claims["at_hash"] = nil
                }
            }
            #expect(try await setting.join().text.contains("You belong to acme as alice."))
        }
    }

    @Test
    func `keys are fetched again for one that is unknown, and once a minute at most`() async throws {
        try await SingleSignOnSetting.with { setting in
            try await setting.setDomain()
            let provider = setting.provider
            provider.conduct { $0.keys = ["ec"] }
            for _ in 0..<3 { #expect(try await setting.join().text.contains("not among the provider")) }
            #expect(provider.asked("keys") == 1)
            provider.conduct { $0.keys = ["ec", "rsa"] }
            setting.server.clock.advance(59)
            #expect(try await setting.join().text.contains("not among the provider"))
            #expect(provider.asked("keys") == 1)
            setting.server.clock.advance(1)
            #expect(try await setting.join().text.contains("You belong to acme"))
            #expect(try await setting.join().text.contains("You belong to acme"))
            #expect(provider.asked("keys") == 2)
            // A key that the provider takes back is not good for longer than an hour.
            provider.conduct { $0.keys = ["ec"] }
            setting.server.clock.advance(3600)
            #expect(try await setting.join().text.contains("not among the provider"))
        }
    }

    // MARK: - Attacks by the browser

    @Test
    func `a state is good once, in the browser where it was begun, for ten minutes`() async throws {
        try await SingleSignOnSetting.with { setting in
            try await setting.setDomain()
            let (server, provider) = (setting.server, setting.provider)
            func begin(_ browser: inout CookieBrowser) async throws -> String {
                let begun = try await browser.open("/single-sign-on/acme")
                let back = try provider.authorize(try #require(begun.headers[.location]))
                return String(back.dropFirst(AccountsServer.publicURL.count))
            }
            var (browser, other, blank) = (CookieBrowser(server), CookieBrowser(server), CookieBrowser(server))
            _ = try await begin(&other)
            let back = try await begin(&browser)
            for elsewhere in [try await other.open(back), try await blank.open(back)] {
                #expect(elsewhere.status == 400 && elsewhere.text.contains("in another browser"), "\(elsewhere)")
            }
            #expect(try await server.count("user WHERE name = 'alice'") == 0)
            let good = try await browser.open(back, fromElsewhere: true)
            #expect(good.text.contains("You belong to acme as alice."))
            let twice = try await browser.open(back, fromElsewhere: true)
            #expect(twice.status == 400 && twice.text.contains("This sign-in is over"), "\(twice)")
            for state in ["", "ramf_x", OpaqueToken(.form).secret] {
                let unknown = try await browser.open("/single-sign-on/callback?code=x&state=\(state)")
                #expect(unknown.status == 400 && unknown.text.contains("This sign-in is over"), "\(unknown)")
            }
            let late = try await begin(&browser)
            server.clock.advance(600)
            #expect(try await browser.open(late).text.contains("This sign-in is over"))
            // Whoever sets the provider anew ends what is on its way.
            let ended = try await begin(&browser)
            try await setting.setDomain()
            #expect(try await browser.open(ended).text.contains("This sign-in is over"))
        }
    }

    @Test(
        "an answer of the provider that brings no code of ours is refused",
        arguments: [
            ("error=access_denied&iss=ISSUER", 403, "was denied at the provider"),
            ("error=server_error&iss=ISSUER", 400, "The provider refused: &quot;server_error&quot;"),
            ("error=%3Cb%3E&iss=ISSUER", 400, "The provider refused: &quot;&lt;b&gt;&quot;"),
            ("iss=ISSUER", 400, "The provider refused: &quot;no code&quot;"),
            ("code=made-up&iss=ISSUER", 400, "not take the code that it gave: &quot;invalid_grant&quot;"),
            ("code=x&iss=https%3A%2F%2Flogin.evil.test", 400, "comes from another provider"),
            ("code=x", 400, "comes from another provider"),
            ("error=access_denied", 400, "comes from another provider"),
        ]
    )
    func answers(query: String, status: Int, words: String) async throws {
        try await SingleSignOnSetting.with { setting in
            var browser = CookieBrowser(setting.server)
            let begun = try await browser.open("/single-sign-on/acme")
            let location = try #require(begun.headers[.location])
            let state = try #require(location.firstMatch(of: #/state=([^&]+)/#)).1
            let issuer = PercentEncoding.encode(setting.provider.issuer)
            let query = query.replacing("ISSUER", with: issuer)
            let answer = try await browser.open("/single-sign-on/callback?state=\(state)&\(query)")
            #expect(answer.status == status && answer.text.contains(words), "\(answer)")
            #expect(answer.text.contains("Not signed in"))
        }
    }

    @Test
    func `a code is not taken twice, nor for another sign-in`() async throws {
        try await SingleSignOnSetting.with { setting in
            try await setting.setDomain()
            var browser = CookieBrowser(setting.server)
            func parts(_ path: String) throws -> (code: Substring, state: Substring) {
                let code = try #require(path.firstMatch(of: #/code=([^&]+)/#)).1
                return (code, try #require(path.firstMatch(of: #/state=([^&]+)/#)).1)
            }
            let first = try #require(try await browser.open("/single-sign-on/acme").headers[.location])
            let used = try parts(try setting.provider.authorize(first))
            let issuer = PercentEncoding.encode(setting.provider.issuer)
            func callback(_ code: Substring, _ state: Substring) -> String {
                "/single-sign-on/callback?code=\(code)&state=\(state)&iss=\(issuer)"
            }
            #expect(try await browser.open(callback(used.code, used.state)).text.contains("You belong to acme"))
            for isUsed in [true, false] {
                let next = try #require(try await browser.open("/single-sign-on/acme").headers[.location])
                let fresh = try parts(try setting.provider.authorize(next))
                let again = try #require(try await browser.open("/single-sign-on/acme").headers[.location])
                let state = try parts(try setting.provider.authorize(again)).state
                // The code of another sign-in has another challenge.
                let answer = try await browser.open(callback(isUsed ? used.code : fresh.code, state))
                #expect(answer.status == 400 && answer.text.contains("invalid_grant"), "\(answer)")
            }
        }
    }

    // MARK: - A provider in trouble

    @Test(
        arguments: ["token", "keys"],
        [
            (TestProvider.Trouble.tooLong, "sent more than 65536 bytes"),
            (.redirecting, "sends elsewhere, and nobody follows"), (.broken, "answered with status 500"),
            (.noJSON, "cannot be understood"),
        ]
    )
    func `a provider in trouble is said to be`(path: String, trouble: (TestProvider.Trouble, String)) async throws {
        try await SingleSignOnSetting.with { setting in
            setting.provider.conduct { $0.troubles[path] = trouble.0 }
            let answer = try await setting.join()
            #expect(answer.status == 502 && answer.text.contains(trouble.1), "\(answer)")
            #expect(setting.provider.asked("elsewhere") == 0)
        }
    }

    @Test(arguments: [TestProvider.Trouble.slow, .endless])
    func `a provider that never comes to an end holds nobody up`(trouble: TestProvider.Trouble) async throws {
        let discovery = ".well-known/openid-configuration"
        let time = Duration.seconds(1)
        try await SingleSignOnSetting.with(connection: ProviderConnection(time: time), isSet: false) { setting in
            let provider = setting.provider
            provider.conduct { conduct in
                for path in [discovery, "token", "keys"] { conduct.troubles[path] = trouble }
            }
            let connection = ProviderConnection(time: time)
            await #expect(throws: SingleSignOnFault.tooSlow(time)) {
                try await connection.fetch("\(provider.issuer)/keys")
            }
            await #expect(throws: SingleSignOnFault.tooSlow(time)) {
                try await connection.send([], to: "\(provider.issuer)/token", authorization: nil)
            }
            let answer = try await setting.set()
            #expect(answer["detail"] == "the provider took longer than 1 seconds", "\(answer)")
            #expect(try await setting.server.count("singleSignOn") == 0)
        }
    }

    @Test
    func `an answer that does not end is cut where it is too long`() async throws {
        try await SingleSignOnSetting.with(isSet: false) { setting in
            setting.provider.conduct { $0.troubles["keys"] = .endless }
            let connection = ProviderConnection(mostBytes: 5, time: .seconds(3600))
            await #expect(throws: SingleSignOnFault.tooLong(limit: 5)) {
                try await connection.fetch("\(setting.provider.issuer)/keys")
            }
        }
    }

    @Test
    func `a provider that is not there is said not to be`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["owner": .owner])
            let answer = try await server.send(
                .put,
                "/v1/organizations/acme/single-sign-on",
                as: try await server.signIn("owner"),
                body: #"{"issuer":"http://127.0.0.1:1","clientID":"x","clientSecret":"y"}"#
            )
            #expect(answer.status == 422 && answer["code"] == "provider_fault", "\(answer)")
            #expect(answer["detail"] == "the provider cannot be reached: it refuses connections", "\(answer)")
        }
    }

    @Test(
        "what is wrong with a provider is said when it is set, and nothing is kept",
        arguments: [
            (TestProvider.Trouble.tooLong, "sent more than 65536 bytes"), (.redirecting, "sends elsewhere"),
            (.broken, "answered with status 500"), (.noJSON, "cannot be understood"),
        ]
    )
    func discovery(trouble: TestProvider.Trouble, words: String) async throws {
        try await SingleSignOnSetting.with(isSet: false) { setting in
            setting.provider.conduct { $0.troubles[".well-known/openid-configuration"] = trouble }
            let answer = try await setting.set()
            #expect(answer.status == 422 && answer["code"] == "provider_fault", "\(answer)")
            #expect(answer["detail"]?.contains(words) ?? false, "\(answer)")
            #expect(answer["hint"]?.contains("/.well-known/openid-configuration") ?? false)
            #expect(try await setting.server.count("singleSignOn") == 0)
        }
    }

    @Test(
        "a provider that cannot do what is needed is not set",
        arguments: [
            ("issuer", .string("https://login.evil.test"), "calls itself \"https://login.evil.test\""),
            ("issuer", nil, "does not say \"issuer\""),
            ("authorization_endpoint", nil, "does not say \"authorization_endpoint\""),
            ("token_endpoint", nil, "does not say \"token_endpoint\""),
            ("jwks_uri", nil, "does not say \"jwks_uri\""),
            ("jwks_uri", .string("http://192.0.2.1/keys"), "no address that starts with \"https://\""),
            ("token_endpoint", .string("file:///etc/passwd"), "no address that starts with \"https://\""),
            ("authorization_endpoint", .string("https://a.test/\"><script>"), "no address"),
            ("token_endpoint", .string("https://u:p@a.test/"), "no address"),
            ("code_challenge_methods_supported", .texts(["plain"]), "PKCE with \"S256\""),
            ("response_types_supported", .texts(["id_token"]), "authorization code flow"),
            ("id_token_signing_alg_values_supported", .texts(["HS256", "none"]), "none of RS256"),
            ("token_endpoint_auth_methods_supported", .texts(["private_key_jwt"]), "client_secret_basic"),
        ] as [(String, JSONValue?, String)]
    )
    func discovery(name: String, value: JSONValue?, words: String) async throws {
        try await SingleSignOnSetting.with(isSet: false) { setting in
            setting.provider.conduct { $0.discovery = { $0[name] = value } }
            let answer = try await setting.set()
            #expect(answer.status == 422 && answer["detail"]?.contains(words) ?? false, "\(answer)")
            // A provider that does PKCE and does not say so is taken.
            setting.provider.conduct { $0.discovery = { $0["code_challenge_methods_supported"] = nil } }
            #expect(try await setting.set().status == 200)
        }
    }

    @Test
    func `who is reached over TLS does not send the secret to where there is none`() throws {
        let issuer = try #require(ProviderAddress("https://login.acme.test"))
        let document = """
            {"issuer":"https://login.acme.test","authorization_endpoint":"https://login.acme.test/a",\
            "token_endpoint":"http://127.0.0.1:2375/","jwks_uri":"https://login.acme.test/k"}
            """
        #expect(throws: SingleSignOnFault.unsafeEndpoint("token_endpoint")) {
            try Provider(discovery: Array(document.utf8), of: issuer)
        }
    }

    @Test(
        arguments: [
            ("https://login.acme.test", true), ("https://login.acme.test:8443/realms/a~b", true),
            ("http://127.0.0.1:8080/x", true), ("http://localhost", true), ("http://login.acme.test", false),
            ("https://a@login.acme.test", false), ("https://login.acme.test/?a=b", false),
            ("https://login.acme.test/#a", false), ("https://", false), ("ftp://login.acme.test", false),
            ("https://login.acme.test:0", false), ("https://LOGIN.acme.test", false),
            ("https://login.acme.test/a b", false), ("", false), ("http://127.0.0.1.evil.test/", false),
        ]
    )
    func `an issuer is an address over TLS`(text: String, isOne: Bool) {
        #expect((ProviderAddress(text) != nil) == isOne)
    }

    // MARK: - Who comes in

    @Test(
        "whoever is in the domain comes in, and nobody else",
        arguments: [
            ("alice@acme.test", true, nil), ("Alice@ACME.test", true, nil),
            ("alice@acme.test", false, "not say that your e-mail address is verified"),
            (nil, true, "not say that your e-mail address is verified"),
            ("alice@evil.test", true, "in none of the organization&#39;s domains"),
            ("alice@sub.acme.test", true, "in none of the organization&#39;s domains"),
            ("alice@evilacme.test", true, "in none of the organization&#39;s domains"),
            ("alice@acme.test@evil.test", true, "in none of the organization&#39;s domains"),
            ("@acme.test", true, "in none of the organization&#39;s domains"),
        ] as [(String?, Bool, String?)]
    )
    func domain(email: String?, isVerified: Bool, refusal: String?) async throws {
        try await SingleSignOnSetting.with { setting in
            try await setting.setDomain()
            setting.provider.conduct { conduct in
                conduct.account.email = email
                conduct.account.isEmailVerified = isVerified
            }
            let answer = try await setting.join()
            if let refusal {
                #expect(answer.status == 403 && answer.text.contains(refusal), "\(answer)")
                #expect(try await setting.server.count("user") == 1)
            } else {
                #expect(answer.text.contains("You belong to acme as alice."), "\(answer)")
                let members = try await setting.server.services.store.members(of: "acme")
                #expect(members.first { $0.name == "alice" }?.email == email)
                #expect(members.first { $0.name == "alice" }?.role == .member)
            }
        }
    }

    @Test
    func `an address says nothing about who somebody is, and a verified one as a text is none`() async throws {
        try await SingleSignOnSetting.with(["owner": .owner, "carol": .member]) { setting in
            try await setting.setDomain()
            #expect(try await setting.join().text.contains("You belong to acme as alice."))
            // Somebody else at the provider with the same address.
            setting.provider.conduct { $0.account.subject = "another" }
            let other = try await setting.join()
            #expect(other.status == 403 && other.text.contains("is that of &quot;alice&quot;"), "\(other)")
            // The address of a member who has a password: they have to show it.
            setting.provider.conduct { $0.account.email = "carol@acme.test" }
            #expect(try await setting.join().text.contains("Who are you here?"))
            setting.provider.conduct { $0.claims = { $0["email_verified"] = .string("true") } }
            #expect(try await setting.join().status == 403)
            #expect(try await setting.identities == ["alice 248289761001"])
        }
    }

    @Test(
        "who is made gets a name that nobody has",
        arguments: [
            ("owner", "owner-2"), ("Alice.Doe@login.test", "alice-doe"), ("system", "system-2"), ("ab", "doe"),
            ("\u{e4}\u{f6}", "doe"), ("-x--y-z-", "x-y-z"), (nil, "doe"), (String(repeating: "x", count: 50), "x40"),
            ("../../etc", "etc"),
        ] as [(String?, String)]
    )
    func names(preferred: String?, name: String) async throws {
        try await SingleSignOnSetting.with { setting in
            try await setting.setDomain()
            setting.provider.conduct { conduct in
                conduct.account.name = preferred
                conduct.account.email = "doe@acme.test"
            }
            let name = name == "x40" ? String(repeating: "x", count: 40) : name
            #expect(try await setting.join().text.contains("You belong to acme as \(name)."))
        }
    }

    // MARK: - Who is invited

    @Test
    func `a stranger joins with an invitation, which is used up`() async throws {
        try await SingleSignOnSetting.with { setting in
            let server = setting.server
            var browser = CookieBrowser(server)
            let question = try await setting.join(&browser)
            #expect(question.text.contains("Who are you here?") && question.text.contains("alice@acme.test"))
            #expect(try await server.count("user") == 1)
            try await server.make("other", ["owner": .owner])
            let elsewhere = try await setting.invite(to: "other")
            let path = "/single-sign-on/introduction"
            for (fields, words) in [
                ([:], "Give an invitation"), (["invitation": "x"], "The invitation is not good"),
                (["invitation": OpaqueToken(.invitation).secret], "The invitation is not good"),
                (["invitation": elsewhere], "it leads elsewhere"),
                (["name": "owner", "password": "wrong password"], "The name or the password is wrong"),
            ] {
                let answer = try await browser.submit(path, question, fields)
                #expect(answer.text.contains(words) && answer.text.contains("Who are you here?"), "\(answer)")
            }
            let invitation = try await setting.invite(.auditor)
            let joined = try await browser.submit(path, question, ["invitation": " \(invitation) "])
            #expect(joined.text.contains("You belong to acme as alice."), "\(joined)")
            #expect(try await server.count("membership WHERE user = 'alice' AND role = 'auditor'") == 1)
            #expect(try await setting.join().text.contains("You belong to acme as alice."))
            let again = try await browser.submit(path, question, ["invitation": invitation])
            #expect(again.status == 400 && again.text.contains("This sign-in is over"), "\(again)")
            setting.provider.conduct { $0.account = TestProvider.Account(subject: "bob", name: "bob") }
            let next = try await setting.join(&browser)
            let used = try await browser.submit(path, next, ["invitation": invitation])
            #expect(used.text.contains("The invitation is not good"))
        }
    }

    @Test
    func `a stranger who joins is asked about the machine that they came for`() async throws {
        try await SingleSignOnSetting.with { setting in
            let server = setting.server
            let begun = try await server.form(
                "/v1/device_authorization",
                ["client_id": "docker-ram", "organization": "acme", "device_name": "laptop"]
            )
            var browser = CookieBrowser(server)
            let code = ["user_code": begun["user_code"] ?? ""]
            let way = try await browser.submit(
                "/activate/single-sign-on",
                try await browser.open("/activate"),
                code
            )
            let link = try #require(way.text.firstMatch(of: #/href="(http:[^"]+)"/#)).1
                .replacing("&amp;", with: "&")
            let stranger = try await setting.comeBack(&browser, String(link))
            let question = try await browser.submit(
                "/single-sign-on/introduction",
                stranger,
                ["invitation": try await setting.invite()]
            )
            #expect(question.text.contains("signed in as <strong>alice</strong>"), "\(question)")
            let end = try await browser.submit("/activate/decision", question, ["decision": "deny"])
            #expect(end.text.contains("laptop was not signed in"), "\(end)")
            // The machine is gone by now, and who comes back for it is too late.
            let late = try await browser.submit(
                "/activate/single-sign-on",
                try await browser.open("/activate"),
                code
            )
            #expect(late.text.contains("There is no such code"))
        }
    }

    @Test
    func `who has a password shows it once, and is linked`() async throws {
        try await SingleSignOnSetting.with(["owner": .owner, "carol": .editor]) { setting in
            let server = setting.server
            try await server.makeStranger("mallory")
            var browser = CookieBrowser(server)
            let question = try await setting.join(&browser)
            let path = "/single-sign-on/introduction"
            let stranger = ["name": "mallory", "password": AccountsServer.password]
            let refused = try await browser.submit(path, question, stranger)
            #expect(refused.text.contains("mallory does not belong to acme"), "\(refused)")
            // What was typed stays, but the password.
            #expect(refused.text.contains("name=\"name\" value=\"mallory\""), "\(refused)")
            #expect(!refused.text.contains(AccountsServer.password))
            let typed = ["invitation": "rami_<b>", "name": "mallory", "password": "x"]
            let kept = try await browser.submit(path, question, typed)
            #expect(kept.text.contains("name=\"invitation\" value=\"rami_&lt;b&gt;\""), "\(kept)")
            #expect(kept.text.contains("name=\"name\" value=\"mallory\""))
            // Another browser, or another site, does not get to say who that is.
            var other = CookieBrowser(server)
            _ = try await setting.join(&other)
            let carol = ["name": "carol", "password": AccountsServer.password]
            #expect(try await other.submit(path, question, carol).status == 403)
            let foreign = try await server.form(path, carol, headers: [.origin: "https://evil.test"])
            #expect(foreign.status == 403)
            let both = try await browser.submit(path, question, carol.merging(["invitation": setting.invite()]) { $1 })
            #expect(both.text.contains("carol belongs to acme already"), "\(both)")
            let linked = try await browser.submit(path, question, carol)
            #expect(linked.text.contains("You belong to acme as carol."), "\(linked)")
            #expect(try await setting.join().text.contains("You belong to acme as carol."))
            #expect(try await setting.identities == ["carol 248289761001"])
            // Nobody is two people of the provider.
            setting.provider.conduct { $0.account.subject = "another" }
            let second = try await setting.join(&browser)
            let twice = try await browser.submit(path, second, carol)
            #expect(twice.text.contains("carol is linked to somebody else"), "\(twice)")
            // A name of another organization joins with an invitation and its password.
            let joined = try await browser.submit(
                path,
                second,
                stranger.merging(["invitation": setting.invite()]) { $1 }
            )
            #expect(joined.text.contains("You belong to acme as mallory."), "\(joined)")
        }
    }

    @Test
    func `who was taken out stays out until they are invited again, and is the same then`() async throws {
        try await SingleSignOnSetting.with { setting in
            let server = setting.server
            try await setting.setDomain()
            _ = try await setting.join()
            let owner = try await server.signIn("owner")
            #expect(try await server.send(.delete, "/v1/organizations/acme/members/alice", as: owner).status == 204)
            var browser = CookieBrowser(server)
            let question = try await setting.join(&browser)
            #expect(question.text.contains("known here as <strong>alice</strong>"), "\(question)")
            let path = "/single-sign-on/introduction"
            let own = try await browser.submit(path, question, ["name": "owner", "password": AccountsServer.password])
            #expect(own.text.contains("alice does not belong to acme"), "\(own)")
            let back = try await browser.submit(path, question, ["invitation": try await setting.invite()])
            #expect(back.text.contains("You belong to acme as alice."), "\(back)")
            #expect(try await server.count("user") == 2)
        }
    }

    @Test
    func `what one organization's provider says is nothing to another`() async throws {
        try await SingleSignOnSetting.with { setting in
            let server = setting.server
            try await setting.setDomain()
            _ = try await setting.join()
            try await server.make("other", ["mallory": .owner, "alice": .owner])
            let body =
                #"{"issuer":"\#(setting.provider.issuer)","clientID":"docker ram","#
                + #""clientSecret":"s3cret/+ \#u{e4}"}"#
            let token = try await server.signIn("mallory", in: "other")
            let set = try await server.send(
                .put,
                "/v1/organizations/other/single-sign-on",
                as: token,
                body: body
            )
            #expect(set.status == 200, "\(set)")
            var browser = CookieBrowser(server)
            let begun = try await browser.open("/single-sign-on/other")
            let question = try await setting.comeBack(&browser, try #require(begun.headers[.location]))
            #expect(question.text.contains("Nobody of other is known by this sign-in"), "\(question)")
        }
    }

    // MARK: - Settings

    @Test
    func `the secret is given back to nobody, and written nowhere`() async throws {
        try await SingleSignOnSetting.with(["owner": .owner, "auditor": .auditor]) { setting in
            let server = setting.server
            let path = "/v1/organizations/acme/single-sign-on"
            for name in ["owner", "auditor"] {
                let shown = try await server.send(.get, path, as: try await server.signIn(name))
                #expect(
                    shown.text == """
                        {"issuer":"\(setting.provider.issuer)","clientID":"docker ram",\
                        "scopes":["openid","email","profile"],"membership":"invited","domains":[],\
                        "redirectAddress":"https://ram.acme.test/single-sign-on/callback"}

                        """
                )
            }
            let settings = try await server.services.store.singleSignOn(of: "acme")
            #expect(settings?.clientSecret.text == "s3cret/+ \u{e4}")
            #expect(
                !String(reflecting: settings).contains("s3cret")
                    && !"\(String(describing: settings))".contains("s3cret")
            )
            #expect(try await server.count("activity WHERE data LIKE '%s3cret%' OR name LIKE '%s3cret%'") == 0)
            let owner = try await server.signIn("owner")
            #expect(try await server.send(.delete, path, as: owner).status == 204)
            #expect(try await server.send(.get, path, as: owner).status == 404)
            #expect(try await server.send(.delete, path, as: owner).status == 404)
            #expect(try await server.count("activity WHERE action LIKE 'single_sign_on.%'") == 2)
        }
    }

    @Test
    func `a secret goes on to be used for the same client only`() async throws {
        try await SingleSignOnSetting.with { setting in
            #expect(try await setting.set(#","scopes":["openid"]"#, secret: nil).status == 200)
            setting.provider.conduct { $0.account.name = "alice" }
            try await setting.setDomain()
            #expect(try await setting.set(secret: nil).status == 200)
            let answer = try await setting.server.send(
                .put,
                "/v1/organizations/acme/single-sign-on",
                as: try await setting.server.signIn("owner"),
                body: #"{"issuer":"\#(setting.provider.issuer)/other","clientID":"docker ram"}"#
            )
            #expect(answer.status == 422 && answer.text.contains("\\\"clientSecret\\\" is missing"), "\(answer)")
        }
    }

    @Test(
        "settings are read strictly",
        arguments: [
            (#"{}"#, "\"issuer\" is missing"), (#"{"issuer":"http://a.test"}"#, "this is no issuer"),
            (#"{"issuer":"https://a.test"}"#, "\"clientID\" is missing"),
            (#"{"issuer":"https://a.test","clientID":""}"#, "\"clientID\" has 1 to 255 bytes"),
            (#"{"issuer":"https://a.test","clientID":"x"}"#, "\"clientSecret\" is missing"),
            (#"{"issuer":"https://a.test","issuer":"https://a.test"}"#, "comes twice"),
            (#"{"secret":"x"}"#, "secret"),
            (
                #"{"issuer":"https://a.test","clientID":"x","clientSecret":"y","scopes":["email"]}"#,
                "must have \"openid\""
            ),
            (#"{"scopes":["a b"]}"#, "not a scope"),
            (#"{"membership":"all"}"#, "expected \"invited\" or \"domain\""),
            (#"{"domains":["acme"]}"#, "not a domain"), (#"{"domains":["*.test"]}"#, "not a domain"),
            (
                #"{"issuer":"https://a.test","clientID":"x","clientSecret":"y","membership":"domain"}"#,
                "go with \"membership\""
            ),
            (
                #"{"issuer":"https://a.test","clientID":"x","clientSecret":"y","domains":["acme.test"]}"#,
                "go with \"membership\""
            ),
        ]
    )
    func settings(body: String, words: String) async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["owner": .owner])
            let answer = try await server.send(
                .put,
                "/v1/organizations/acme/single-sign-on",
                as: try await server.signIn("owner"),
                body: body
            )
            #expect(answer.status == 422 && answer["detail"]?.contains(words) ?? false, "\(answer)")
        }
    }

    @Test
    func `an owner links a member, and unlinks them`() async throws {
        try await SingleSignOnSetting.with(["owner": .owner, "carol": .editor, "dave": .member]) { setting in
            let server = setting.server
            let owner = try await server.signIn("owner")
            let path = "/v1/organizations/acme/single-sign-on/identities"
            func link(_ user: String, _ subject: String, as token: String) async throws -> Answer {
                try await server.send(.put, "\(path)/\(user)", as: token, body: #"{"subject":"\#(subject)"}"#)
            }
            #expect(try await link("carol", "248289761001", as: owner).status == 204)
            #expect(try await setting.join().text.contains("You belong to acme as carol."))
            #expect(try await link("dave", "248289761001", as: owner).status == 409)
            #expect(try await link("nobody", "x", as: owner).status == 404)
            #expect(try await link("carol", "", as: owner).status == 400)
            // A token that may change members does not make itself an owner.
            let token = try await server.services.store.makeAccessToken(
                named: "members",
                of: "owner",
                in: "acme",
                scopes: [.manageMembers, .readMembers, .readPolicy],
                now: server.clock.now,
                expires: server.clock.now + 86_400
            ).secret
            #expect(try await link("owner", "mine", as: token).status == 403)
            // Nor an editor.
            #expect(try await link("carol", "mine", as: token).status == 403)
            #expect(try await link("dave", "two", as: token).status == 204)
            #expect(try await link("dave", "three", as: owner).status == 204)
            #expect(try await setting.identities == ["carol 248289761001", "dave three"])
            let list = try await server.send(.get, path, as: token)
            #expect(list.json.value(named: "identities")?.elements?.count == 2, "\(list)")
            #expect(try await server.send(.delete, "\(path)/carol", as: owner).status == 204)
            #expect(try await server.send(.delete, "\(path)/carol", as: owner).status == 404)
            #expect(try await setting.join().text.contains("Who are you here?"))
        }
    }

    @Test
    func `whoever tries too often waits`() async throws {
        try await SingleSignOnSetting.with { setting in
            var browser = CookieBrowser(setting.server)
            var statuses: [Int] = []
            for _ in 0..<21 { statuses.append(try await browser.open("/single-sign-on/acme").status) }
            #expect(statuses == Array(repeating: 303, count: 20) + [429])
            // What is over is forgotten.
            setting.server.clock.advance(600)
            _ = try await browser.open("/single-sign-on/acme")
            #expect(try await setting.server.count("singleSignOnBegun") == 1)
        }
    }
}
