import Crypto
import CryptoExtras
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTesting
import Logging
import RegistryAccess
import ServiceLifecycle
import SignedPolicy
import Synchronization
import Testing

@testable import OrganizationServer

/// A provider of OpenID Connect on loopback: it signs with real keys, and keeps to what it is asked unless a test wants
/// something else.
final class TestProvider: Sendable {
    /// Who signs in there.
    struct Account: Sendable {
        var subject = "248289761001"
        var email: String? = "alice@acme.test"
        var isEmailVerified = true
        var name: String? = "alice"
    }

    /// With what a token is signed.
    enum Signer: String, Sendable, CaseIterable {
        case rs256 = "RS256"
        case ps256 = "PS256"
        case es256 = "ES256"
        case eddsa = "EdDSA"
        /// Not at all.
        case none
        /// With HMAC, and the public RSA key as the secret.
        case hs256 = "HS256"
        /// With RSA keys that the provider has not got.
        case forged

        var key: String {
            switch self {
            case .rs256, .ps256, .hs256, .none, .forged: "rsa"
            case .es256: "ec"
            case .eddsa: "ed"
            }
        }
    }

    /// What the provider does wrong at one of its addresses.
    enum Trouble: Sendable, CaseIterable {
        case slow, endless, tooLong, redirecting, broken, noJSON
    }

    /// What is as a test wants it.
    struct Conduct: Sendable {
        var account = Account()
        var signer = Signer.rs256
        var header: @Sendable (inout [String: JSONValue]) -> Void = { _ in }
        var claims: @Sendable (inout [String: JSONValue]) -> Void = { _ in }
        var token: @Sendable (String) -> String = { $0 }
        var discovery: @Sendable (inout [String: JSONValue]) -> Void = { _ in }
        /// The names of the keys that it publishes.
        var keys = ["rsa", "ec", "ed"]
        var troubles: [String: Trouble] = [:]
        var clientSecret = "s3cret/+ \u{e4}"
    }

    private struct Code {
        let nonce: String
        let challenge: String
        let redirect: String
    }

    private struct State {
        var conduct = Conduct()
        var codes: [String: Code] = [:]
        var asked: [String: Int] = [:]
    }

    static let clientID = "docker ram"
    private static let rsa = Result { try _RSA.Signing.PrivateKey(keySize: .bits2048) }
    private static let otherRSA = Result { try _RSA.Signing.PrivateKey(keySize: .bits2048) }
    private static let ec = P256.Signing.PrivateKey()
    private static let ed = Curve25519.Signing.PrivateKey()

    private let state = Mutex(State())
    private let now: @Sendable () -> Instant
    let issuer: String

    private init(port: Int, _ now: @escaping @Sendable () -> Instant) {
        self.now = now
        issuer = "http://localhost:\(port)"
    }

    /// Changes what it does.
    func conduct(_ change: (inout Conduct) -> Void) { state.withLock { change(&$0.conduct) } }

    /// How often an address was asked.
    func asked(_ path: String) -> Int { state.withLock { $0.asked[path] ?? 0 } }

    /// Runs a provider while a body runs.
    static func with(
        now: @escaping @Sendable () -> Instant,
        _ body: @escaping @Sendable (TestProvider) async throws -> Void
    ) async throws {
        let provider = Mutex<TestProvider?>(nil)
        let router = Router(context: BasicRequestContext.self)
        for path in [".well-known/openid-configuration", "token", "keys", "elsewhere"] {
            router.on("\(path)", method: path == "token" ? .post : .get) { request, _ in
                let provider = try provider.withLock { try #require($0) }
                return try await provider.answer(path, request)
            }
        }
        let silent = Logger(label: "provider") { _ in SwiftLogNoOpLogHandler() }
        try await Application(router: router, logger: silent).test(.live) { client in
            let made = TestProvider(port: try #require(client.port), now)
            provider.withLock { $0 = made }
            try await body(made)
        }
    }

    /// Signs the account in, and says where its browser is sent back to.
    func authorize(_ address: String) throws -> String {
        #expect(address.hasPrefix("\(issuer)/authorize?"))
        let query = URI(address).queryParameters
        func value(_ name: String) throws -> String { try #require(query[name[...]].map(String.init), "\(name)") }
        #expect(try value("response_type") == "code")
        #expect(try value("code_challenge_method") == "S256")
        #expect(try value("client_id") == Self.clientID)
        #expect(try value("realm") == "acme")
        #expect(try value("scope").split(separator: " ").contains("openid"))
        let (redirect, code) = (try value("redirect_uri"), UUID().uuidString)
        #expect(redirect == "\(AccountsServer.publicURL)/single-sign-on/callback")
        let kept = Code(nonce: try value("nonce"), challenge: try value("code_challenge"), redirect: redirect)
        state.withLock { $0.codes[code] = kept }
        return "\(redirect)?" + PercentEncoding.form([("code", code), ("state", try value("state")), ("iss", issuer)])
    }

    // MARK: - What it answers

    private func answer(_ path: String, _ request: Request) async throws -> Response {
        let conduct = state.withLock { state in
            state.asked[path, default: 0] += 1
            return state.conduct
        }
        switch conduct.troubles[path] {
        case .slow:
            try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(3600)) }
            return Self.json(.object([]))
        case .endless:
            return Response(
                status: .ok,
                body: ResponseBody { writer in
                    while !Task.isCancelled {
                        try await writer.write(ByteBuffer(string: " "))
                        try await Task.sleep(for: .milliseconds(10))
                    }
                }
            )
        case .tooLong: return Self.json(.string(String(repeating: "x", count: 70_000)))
        case .redirecting: return Response(status: .temporaryRedirect, headers: [.location: "\(issuer)/elsewhere"])
        case .broken: return Response(status: .internalServerError)
        case .noJSON: return Response(status: .ok, body: ResponseBody(byteBuffer: ByteBuffer(string: "<html>")))
        case nil: break
        }
        switch path {
        case "token": return try await token(request, conduct)
        case "keys": return Self.json(.object([JSONMember("keys", .array(try conduct.keys.map(Self.publicKey)))]))
        default: return Self.json(discovery(conduct))
        }
    }

    private func discovery(_ conduct: Conduct) -> JSONValue {
        var members: [String: JSONValue] = [
            "issuer": .string(issuer), "authorization_endpoint": .string("\(issuer)/authorize?realm=acme"),
            "token_endpoint": .string("\(issuer)/token"), "jwks_uri": .string("\(issuer)/keys"),
            "code_challenge_methods_supported": .texts(["plain", "S256"]),
            "response_types_supported": .texts(["code", "code id_token"]),
            "id_token_signing_alg_values_supported": .texts(["RS256", "ES256"]),
            "token_endpoint_auth_methods_supported": .texts(["client_secret_basic", "client_secret_post"]),
            "authorization_response_iss_parameter_supported": .bool(true), "claims_supported": .texts([]),
        ]
        conduct.discovery(&members)
        return Self.object(members)
    }

    private func token(_ request: Request, _ conduct: Conduct) async throws -> Response {
        let body = String(buffer: try await request.body.collect(upTo: 64 << 10))
        var fields: [String: String] = [:]
        for pair in body.split(separator: "&") {
            let halves = pair.split(separator: "=", maxSplits: 1).map { String($0).removingPercentEncoding ?? "" }
            fields[halves[0]] = halves.count > 1 ? halves[1] : ""
        }
        func refused(_ error: String) -> Response {
            var response = Self.json(.object([JSONMember("error", .string(error))]))
            response.status = .badRequest
            return response
        }
        var credentials = (fields["client_id"], fields["client_secret"])
        if let header = request.headers[.authorization] {
            #expect(fields["client_secret"] == nil)
            let bytes = try #require(StrictBase64.decode(header.dropFirst("Basic ".count).utf8))
            let halves = String(decoding: bytes, as: UTF8.self).split(separator: ":").map {
                String($0).removingPercentEncoding
            }
            credentials = (halves[0], halves[1])
        }
        guard credentials == (Self.clientID, conduct.clientSecret) else { return refused("invalid_client") }
        let kept = state.withLock { $0.codes.removeValue(forKey: fields["code"] ?? "") }
        let verifier = fields["code_verifier"] ?? ""
        guard let kept, (43...128).contains(verifier.utf8.count), fields["redirect_uri"] == kept.redirect,
            Self.base64URL(Array(SHA256.hash(data: Array(verifier.utf8)))) == kept.challenge
        else { return refused("invalid_grant") }
        let accessToken = UUID().uuidString
        return Self.json(
            .object([
                JSONMember("access_token", .string(accessToken)), JSONMember("token_type", .string("Bearer")),
                JSONMember("id_token", .string(conduct.token(try idToken(kept.nonce, accessToken, conduct)))),
            ])
        )
    }

    // MARK: - Tokens and keys

    private func idToken(_ nonce: String, _ accessToken: String, _ conduct: Conduct) throws -> String {
        let bytes = Array(accessToken.utf8)
        let hash = conduct.signer == .eddsa ? Array(SHA512.hash(data: bytes)) : Array(SHA256.hash(data: bytes))
        let account = conduct.account
        var claims: [String: JSONValue] = [
            "iss": .string(issuer), "sub": .string(account.subject), "aud": .string(Self.clientID),
            "exp": .number("\(now().seconds + 300)"), "iat": .number("\(now().seconds)"), "nonce": .string(nonce),
            "at_hash": .string(Self.base64URL(Array(hash.prefix(hash.count / 2)))),
            "email_verified": .bool(account.isEmailVerified),
        ]
        if let email = account.email { claims["email"] = .string(email) }
        if let name = account.name { claims["preferred_username"] = .string(name) }
        conduct.claims(&claims)
        let name = conduct.signer == .forged ? "RS256" : conduct.signer.rawValue
        var header: [String: JSONValue] = ["alg": .string(name), "kid": .string(conduct.signer.key)]
        conduct.header(&header)
        let parts = [header, claims].map { Self.base64URL(Array(Self.object($0).text().utf8)) }
        let signed = parts.joined(separator: ".")
        return "\(signed).\(Self.base64URL(try Self.signature(of: signed, conduct.signer)))"
    }

    private static func signature(of text: String, _ signer: Signer) throws -> [UInt8] {
        let data = Data(text.utf8)
        return switch signer {
        case .rs256: Array(try rsa.get().signature(for: data, padding: .insecurePKCS1v1_5).rawRepresentation)
        case .ps256: Array(try rsa.get().signature(for: data, padding: .PSS).rawRepresentation)
        case .forged: Array(try otherRSA.get().signature(for: data, padding: .insecurePKCS1v1_5).rawRepresentation)
        case .es256: Array(try ec.signature(for: data).rawRepresentation)
        case .eddsa: Array(try ed.signature(for: data))
        case .none: []
        case .hs256:
            Array(
                HMAC<SHA256>.authenticationCode(
                    for: data,
                    using: SymmetricKey(data: Data(try rsa.get().publicKey.pemRepresentation.utf8))
                )
            )
        }
    }

    private static func publicKey(_ name: String) throws -> JSONValue {
        var members = [JSONMember("kid", .string(name)), JSONMember("use", .string("sig"))]
        func add(_ more: (String, String)...) { members += more.map { JSONMember($0, .string($1)) } }
        switch name {
        case "rsa", "rsa for RS256":
            let primitives = try rsa.get().publicKey.getKeyPrimitives()
            add(("kty", "RSA"), ("n", base64URL(Array(primitives.modulus))))
            add(("e", base64URL(Array(primitives.publicExponent))))
            if name != "rsa" { add(("alg", "RS256")) }
        case "ec":
            let point = Array(ec.publicKey.rawRepresentation)
            add(("kty", "EC"), ("crv", "P-256"), ("alg", "ES256"))
            add(("x", base64URL(Array(point[..<32]))), ("y", base64URL(Array(point[32...]))))
        case "ed":
            add(("kty", "OKP"), ("crv", "Ed25519"), ("x", base64URL(Array(ed.publicKey.rawRepresentation))))
        case "hmac":
            let secret = Array(try rsa.get().publicKey.pemRepresentation.utf8)
            add(("kty", "oct"), ("alg", "HS256"), ("k", base64URL(secret)))
        default: add(("kty", "new kind"))
        }
        return .object(members)
    }

    private static func base64URL(_ bytes: [UInt8]) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    private static func object(_ members: [String: JSONValue]) -> JSONValue {
        .object(members.sorted { $0.key < $1.key }.map { JSONMember($0.key, $0.value) })
    }

    private static func json(_ value: JSONValue) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: value.text()))
        )
    }
}
