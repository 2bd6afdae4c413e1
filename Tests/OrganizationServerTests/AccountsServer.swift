import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

@testable import OrganizationServer

/// A clock that stands until the test moves it.
final class TestClock: Sendable {
    private let time: Mutex<Instant>

    init(_ start: Instant) { time = Mutex(start) }

    var now: Instant { time.withLock { $0 } }

    func advance(_ seconds: Int64) { time.withLock { $0 = $0 + seconds } }
}

/// A server in memory, asked without a socket.
struct AccountsServer {
    let client: any TestClientProtocol
    let services: Services
    let clock: TestClock
    /// Whose ticket key signs.
    let organization: SignedOrganization

    static let publicURL = "https://ram.acme.test"

    /// Runs a server while the body runs; its signing keys are in a directory, as far as there are any.
    static func with(
        now: Instant = Instant(seconds: 1_795_614_310),
        keys: String = "/nonexistent",
        // How busy the machine of the tests is decides nothing.
        providers: ProviderConnection = ProviderConnection(time: .seconds(3600)),
        logger: Logger? = nil,
        configure: (inout Services) -> Void = { _ in },
        _ body: @Sendable (AccountsServer) async throws -> Void
    )
        async throws
    {
        let clock = TestClock(now)
        let organization = SignedOrganization()
        let address = try #require(PublicAddress(publicURL))
        var services = try Services(
            store: .inMemory(),
            settings: ServerSettings(publicAddress: address),
            keys: SigningKeys(directory: keys),
            // A cost for tests: what is tested is not how slow it is.
            passwords: Passwords(cost: 4),
            now: { clock.now }
        )
        services.providers = Providers(connection: providers, now: { clock.now })
        configure(&services)
        services.signTicket = { try Envelope(signing: $0.payload, as: .ticket, with: organization.keys(.ticket)) }
        // A line for each of thousands of requests is nothing that anybody reads.
        let silent = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }
        try await Application(router: makeRouter(services), logger: logger ?? silent).test(.router) {
            [services] client in
            try await body(
                AccountsServer(client: client, services: services, clock: clock, organization: organization)
            )
        }
    }
}

// MARK: - Organizations and people

extension AccountsServer {
    static let password = "correct horse battery"

    /// Makes an organization with people in it; all have the same password.
    func make(_ organization: String = "acme", _ people: [String: Role] = ["alice": .owner]) async throws {
        let hash = try await services.passwords.hash(Password(Self.password))
        let now = clock.now
        try await services.store.database.write { database in
            try database.execute(
                sql: "INSERT INTO organization (name, created) VALUES (?, ?)",
                arguments: [organization, now.seconds]
            )
            for (name, role) in people {
                let isThere = try Bool.fetchOne(
                    database,
                    sql: "SELECT EXISTS (SELECT 1 FROM user WHERE name = ?)",
                    arguments: [name]
                )
                if isThere != true { try Store.insertUser(name, email: "\(name)@acme.test", hash, at: now, database) }
                try database.execute(
                    sql: "INSERT INTO membership (organization, user, role, created) VALUES (?, ?, ?, ?)",
                    arguments: [organization, name, role.rawValue, now.seconds]
                )
            }
        }
    }

    /// Makes somebody who belongs to no organization.
    func makeStranger(_ name: String) async throws {
        let hash = try await services.passwords.hash(Password(Self.password))
        let now = clock.now
        try await services.store.database.write {
            try Store.insertUser(name, email: nil, hash, at: now, $0)
        }
    }

    /// Registers a device, and gives its secret.
    func makeDevice(_ id: String = "device0000000000000000001a", in organization: String = "acme") async throws
        -> OpaqueToken
    {
        let secret = OpaqueToken(.device)
        let now = clock.now
        try await services.store.database.write { database in
            try database.execute(
                sql: "INSERT INTO device (organization, id, name, digest, created) VALUES (?, ?, 'laptop', ?, ?)",
                arguments: [organization, id, secret.digest, now.seconds]
            )
        }
        return secret
    }

    /// An access token of a session of somebody's.
    func signIn(_ name: String, in organization: String? = "acme") async throws -> String {
        try await services.store.beginSession(
            of: SignedInPerson(user: name),
            in: organization,
            on: nil,
            from: "192.0.2.1",
            at: clock.now
        ).access.secret
    }

    /// How many rows a query counts.
    func count(_ sql: String) async throws -> Int {
        try await services.store.database.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM \(sql)") ?? -1 }
    }
}

// MARK: - Requests

/// An answer of the server.
struct Answer: CustomStringConvertible {
    let status: Int
    let headers: HTTPFields
    let text: String

    /// The document, if it is JSON.
    var json: JSONValue { (try? StrictJSON.parse(Array(text.utf8))) ?? .null }
    /// The text under a key.
    subscript(_ key: String) -> String? { json.value(named: key)?.text }

    var description: String { "\(status) \(text)" }
}

extension AccountsServer {
    func send(
        _ method: HTTPRequest.Method,
        _ path: String,
        as token: String? = nil,
        headers: HTTPFields = [:],
        body: String? = nil
    ) async throws -> Answer {
        var headers = headers
        if let token { headers[.authorization] = "Bearer \(token)" }
        if body != nil, headers[.contentType] == nil { headers[.contentType] = "application/json" }
        let response = try await client.execute(
            uri: path,
            method: method,
            headers: headers,
            body: body.map { ByteBuffer(string: $0) }
        )
        return Answer(
            status: response.status.code,
            headers: response.headers,
            text: String(buffer: response.body)
        )
    }

    /// Sends a form.
    func form(_ path: String, _ fields: [String: String], headers: HTTPFields = [:]) async throws -> Answer {
        var headers = headers
        headers[.contentType] = "application/x-www-form-urlencoded"
        let allowed = CharacterSet.alphanumerics
        let pairs = fields.map { name, value in
            "\(name)=\(value.addingPercentEncoding(withAllowedCharacters: allowed) ?? "")"
        }
        return try await send(.post, path, headers: headers, body: pairs.joined(separator: "&"))
    }
}

struct AnswerTests {
    @Test(arguments: ["/healthz", "/readyz"])
    func `a server that answers is alive, and ready when it holds an organization`(path: String) async throws {
        try await AccountsServer.with { server in
            #expect(try await server.send(.get, path).status == (path == "/healthz" ? 200 : 503))
            try await server.make()
            #expect(try await server.send(.get, path).status == 200)
        }
    }

    @Test
    func `every answer has the header fields that browsers go by, also a refusal`() async throws {
        try await AccountsServer.with { server in
            for path in ["/healthz", "/nothing", "/v1/me", "/activate"] {
                let answer = try await server.send(.get, path)
                for name in [
                    "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control",
                    "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Strict-Transport-Security",
                    "Permissions-Policy",
                ] {
                    let field = try #require(HTTPField.Name(name))
                    #expect(answer.headers[values: field].count == 1, "\(path) \(name)")
                }
            }
            let missing = try await server.send(.get, "/nothing")
            #expect(missing.status == 404)
            #expect(missing["code"] == "not_found")
            #expect(missing.headers[.contentType] == "application/problem+json")
        }
    }
}

struct StoreTests {
    @Test
    func `what was acknowledged is on the disk, and the schema is held to`() async throws {
        try await withTemporaryDirectory { directory in
            let store = try Store(path: "\(directory)/server.sqlite")
            let settings = try await store.database.write { database in
                try ["journal_mode", "synchronous", "foreign_keys", "trusted_schema"].map { name in
                    try String.fetchOne(database, sql: "PRAGMA \(name)")
                }
            }
            #expect(settings == ["wal", "2", "1", "0"])
        }
    }
}
