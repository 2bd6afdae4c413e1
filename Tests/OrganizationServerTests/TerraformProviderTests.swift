import HTTPTypes
import Hummingbird
import HummingbirdTesting
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// A client that sends what Docker's Terraform provider sends, and reads what it reads (docker/terraform-provider-docker,
/// `internal/auth` and `internal/hubclient`).
private struct ProviderClient {
    let client: any TestClientProtocol
    /// Versions of the provider differ: before August 2025 there was a slash at the end.
    var login = "/v2/users/login"

    private static let userAgent = "terraform-provider-docker/0.6.0"
    static let path = "/v2/orgs/acme/settings/registry-access-management"

    struct Registry: Hashable {
        let address: String
        let name: String
        var isAllowed = true
    }

    /// What it keeps of an answer in its state.
    struct Settings: Hashable {
        let isEnabled: Bool
        let isHubAllowed: Bool
        /// A set, there as here.
        let custom: Set<Registry>
    }

    func send(_ method: HTTPRequest.Method, _ path: String, as token: String? = nil, body: String = "") async throws
        -> (status: Int, text: String)
    {
        var headers: HTTPFields = [.contentType: "application/json", .userAgent: Self.userAgent]
        if let token {
            headers[.accept] = "application/json"
            headers[.authorization] = "Bearer \(token)"
        }
        let response = try await client.execute(
            uri: path,
            method: method,
            headers: headers,
            body: body.isEmpty ? nil : ByteBuffer(string: body)
        )
        return (response.status.code, String(buffer: response.body))
    }

    func signIn(_ name: String, _ secret: String) async throws -> String {
        let answer = try await send(.post, login, body: "{\"username\":\"\(name)\",\"password\":\"\(secret)\"}")
        #expect(answer.status == 200, "\(answer)")
        return try #require(try StrictJSON.parse(Array(answer.text.utf8)).value(named: "token")?.text)
    }

    /// It puts, throws the answer away, and then gets.
    func set(_ settings: Settings, as token: String) async throws -> (status: Int, text: String) {
        let custom = settings.custom.map {
            #"{"address":"\#($0.address)","friendly_name":"\#($0.name)","allowed":\#($0.isAllowed)}"#
        }
        return try await send(
            .put,
            Self.path,
            as: token,
            body: #"{"enabled":\#(settings.isEnabled),"standard_registries":[{"id":"DockerHub","#
                + #""allowed":\#(settings.isHubAllowed)}],"custom_registries":[\#(custom.joined(separator: ","))]}"#
        )
    }

    func get(as token: String) async throws -> Settings {
        let answer = try await send(.get, Self.path, as: token)
        #expect(answer.status == 200, "\(answer)")
        let document = try StrictJSON.parse(Array(answer.text.utf8))
        let standard = document.value(named: "standard_registries")?.elements ?? []
        let hub = standard.first { $0.value(named: "id")?.text == "DockerHub" }
        return Settings(
            isEnabled: document.value(named: "enabled") == .bool(true),
            isHubAllowed: hub?.value(named: "allowed") == .bool(true),
            custom: Set(
                (document.value(named: "custom_registries")?.elements ?? []).map { registry in
                    Registry(
                        address: registry.value(named: "address")?.text ?? "",
                        name: registry.value(named: "friendly_name")?.text ?? "",
                        isAllowed: registry.value(named: "allowed") == .bool(true)
                    )
                }
            )
        )
    }
}

/// The three parts of a token as the provider's library reads them (go-jose v3, `jwt.ParseSigned`).
private struct ReadToken {
    let header: JSONValue
    let claims: JSONValue
    let last: String

    init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let header = Base64URL.decode(parts[0].utf8),
            let claims = Base64URL.decode(parts[1].utf8), let headerValue = try? StrictJSON.parse(header),
            let claimsValue = try? StrictJSON.parse(claims),
            // Bits behind the last byte are not looked at there.
            parts[2].utf8.count % 4 != 1,
            parts[2].unicodeScalars.allSatisfy({
                $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || $0 == "-" || $0 == "_")
            })
        else { return nil }
        self.header = headerValue
        self.claims = claimsValue
        last = parts[2]
    }

    var expires: Int64? {
        guard case .number(let digits) = claims.value(named: "exp") else { return nil }
        return Int64(digits)
    }
}

struct TerraformProviderTests {
    private typealias Registry = ProviderClient.Registry
    private typealias Settings = ProviderClient.Settings

    @Test(arguments: ["/v2/users/login", "/v2/users/login/"])
    func `the provider signs in, creates, reads, changes and deletes`(login: String) async throws {
        try await RunningServer.with { server in
            let secret = try #require(server.tokens["editor"]).secret
            try await server.live { client in
                let provider = ProviderClient(client: client, login: login)
                let token = try await provider.signIn("editor", secret)
                let read = try #require(ReadToken(token))
                #expect(read.header.value(named: "alg")?.text != nil)
                #expect(read.expires == server.time.now.seconds + Session.accessSeconds)
                let example = Registry(address: "example.com", name: "My personal registry")
                let states = [
                    Settings(isEnabled: true, isHubAllowed: true, custom: [example]),
                    Settings(isEnabled: true, isHubAllowed: false, custom: [example]),
                    Settings(isEnabled: false, isHubAllowed: false, custom: [example]),
                    Settings(
                        isEnabled: true,
                        isHubAllowed: false,
                        custom: [
                            Registry(address: "example.com", name: "Another <name> & more"),
                            Registry(address: "alternate.com:5000", name: "My alt registry", isAllowed: false),
                        ]
                    ),
                    // A name goes again when the address takes its place.
                    Settings(
                        isEnabled: true,
                        isHubAllowed: false,
                        custom: [Registry(address: "example.com", name: "example.com")]
                    ),
                    Settings(isEnabled: false, isHubAllowed: true, custom: []),
                ]
                for state in states {
                    let answer = try await provider.set(state, as: token)
                    #expect(answer.status == 200, "\(answer)")
                    #expect(try await provider.get(as: token) == state)
                }
            }
        }
    }
}

struct HubTokenTests {
    private static let routes = [
        ("/v2/users/login", "username", "password", "token"),
        ("/v2/auth/token", "identifier", "secret", "access_token"),
    ]

    private func token(_ server: AccountsServer, _ secret: String, route: Int = 0) async throws -> String {
        let (path, name, field, key) = Self.routes[route]
        let body = "{\"\(name)\":\"alice\",\"\(field)\":\"\(secret)\"}"
        return try #require(try await server.send(.post, path, body: body)[key])
    }

    @Test(arguments: 0..<2, [Int64?.none, 600])
    func `a token says when it ends, and ends then`(route: Int, accessTokenSeconds: Int64?) async throws {
        try await AccountsServer.with { server in
            try await server.make()
            var secret = AccountsServer.password
            if let accessTokenSeconds {
                secret =
                    try await server.services.store.makeAccessToken(
                        named: "terraform",
                        of: "alice",
                        in: "acme",
                        scopes: [.readPolicy],
                        now: server.clock.now,
                        expires: server.clock.now + accessTokenSeconds
                    ).secret
            }
            let text = try await token(server, secret, route: route)
            let read = try #require(ReadToken(text))
            let lifetime = accessTokenSeconds ?? Session.accessSeconds
            #expect(read.expires == server.clock.now.seconds + lifetime)
            #expect(read.header.text() == #"{"alg":"RS256","typ":"JWT"}"#)
            #expect(read.claims.members?.count == 1)
            #expect(OpaqueToken(read.last)?.kind == .access)
            #expect("\(HubToken(OpaqueToken(.access), expires: server.clock.now))" == "<redacted>")
            server.clock.advance(lifetime - 1)
            #expect(try await server.isSignedIn(text))
            server.clock.advance(1)
            #expect(try await !server.isSignedIn(text))
        }
    }

    @Test
    func `what stands before the last dot decides nothing`() async throws {
        try await AccountsServer.with { server in
            try await server.make("acme", ["alice": .owner, "bob": .member])
            let text = try await token(server, AccountsServer.password)
            let secret = try #require(ReadToken(text)).last
            func encoded(_ text: String) -> String { Base64URL.encode(Array(text.utf8)) }
            let later = server.clock.now.seconds + 86_400
            let fronts = [
                (#"{"alg":"none"}"#, #"{"exp":1}"#), ("{}", #"{"exp":\#(later),"sub":"bob","username":"bob"}"#),
                ("no JSON", "at all"),
            ]
            let shown = [text, secret] + fronts.map { "\(encoded($0)).\(encoded($1)).\(secret)" }
            for token in shown {
                let me = try await server.send(.get, "/v1/me", as: token)
                #expect(me.status == 200 && me["name"] == "alice", "\(me)")
            }
            server.clock.advance(Session.accessSeconds)
            for token in shown { #expect(try await !server.isSignedIn(token)) }
        }
    }

    @Test
    func `other forms are no token`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let text = try await token(server, AccountsServer.password)
            let secret = try #require(ReadToken(text)).last
            let personal = try await server.services.store.makeAccessToken(
                named: "ci",
                of: "alice",
                in: "acme",
                scopes: [.readPolicy],
                now: server.clock.now,
                expires: server.clock.now + 86_400
            )
            let device = try await server.makeDevice()
            #expect(try await server.isSignedIn(personal.secret))
            let wrong = [
                ".\(secret)", "..\(secret)", "e30.\(secret)", "e30..\(secret)", ".e30.\(secret)",
                "e30.e30.e30.\(secret)", "\(secret).e30.e30", "e30.\(secret).e30", "e30.e30.\(secret).", "e30.e30.",
                "e30=.e30.\(secret)", "e+0.e30.\(secret)",
                "e 0.e30.\(secret)", "e30.e30. \(secret)", "e30.e30.\(secret.dropLast())x",
                "\(String(repeating: "e30z", count: 60)).e30.\(secret)", "e30.e30.\(personal.secret)",
                "e30.e30.\(device.secret)",
            ]
            for token in wrong {
                let answer = try await server.send(.get, "/v1/me", as: token)
                #expect(answer.status == 401, "\(token)")
                #expect(!answer.text.contains(secret) && !answer.text.contains(personal.secret))
            }
            // They count as wrong tokens do.
            for _ in 0..<(100 - wrong.count) { _ = try await server.send(.get, "/v1/me", as: "e30.e30.x") }
            #expect(try await server.send(.get, "/v1/me", as: "e30.e30.x").status == 429)
            #expect(try await server.isSignedIn(text))
        }
    }

    @Test(arguments: [true, false])
    func `a token is taken back in the form in which it was handed out`(isWhole: Bool) async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let text = try await token(server, AccountsServer.password)
            let last = try #require(ReadToken(text)).last
            #expect(try await server.form("/v1/token/revoke", ["token": isWhole ? text : last]).status == 200)
            #expect(try await !server.isSignedIn(text))
            #expect(try await !server.isSignedIn(last))
        }
    }
}
