import GRDB
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

@testable import OrganizationServer

/// A time that tests set.
final class TestTime: Sendable {
    private let time: Mutex<Instant>

    init(_ now: Instant) { time = Mutex(now) }

    var now: Instant { time.withLock { $0 } }

    func pass(_ seconds: Int64) { time.withLock { $0 = $0 + seconds } }
}

/// A server with the organization `acme`, asked without a socket: an owner, an editor, an auditor and a member are called as
/// their roles, and `stranger` belongs to another organization.
struct RunningServer {
    let client: any TestClientProtocol
    let services: Services
    let time: TestTime
    let rootKey: SigningKey
    /// The server's directory, for keys.
    let directory: String
    /// A token of each role with every scope.
    let tokens: [String: OpaqueToken]

    var store: Store { services.store }
    var publisher: Publisher { services.publisher }

    /// Runs a server while the body runs.
    static func with(
        now: Instant = SignedOrganization.start,
        serverAddress: String? = nil,
        _ body: @Sendable (RunningServer) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let store = try Store.inMemory()
            let time = TestTime(now)
            let rootKey = SigningKey.generate()
            let services = Services(
                store: store,
                settings: ServerSettings(
                    publicAddress: try #require(PublicAddress("https://\(serverAddress ?? "ram.acme.test")"))
                ),
                keys: SigningKeys(directory: "\(directory)/keys"),
                passwords: Passwords(cost: 4),
                now: { time.now }
            )
            let publisher = services.publisher
            let tokens = try await people(store, now)
            try await begin("acme", publisher, rootKey)
            try await Application(router: makeRouter(services)).test(.router) { [services] client in
                try await body(
                    RunningServer(
                        client: client,
                        services: services,
                        time: time,
                        rootKey: rootKey,
                        directory: directory,
                        tokens: tokens
                    )
                )
            }
        }
    }

    private static func people(_ store: Store, _ now: Instant) async throws -> [String: OpaqueToken] {
        let members = [
            ("acme", "owner", "owner"), ("acme", "editor", "editor"), ("acme", "auditor", "auditor"),
            ("acme", "member", "member"), ("other", "stranger", "owner"),
        ]
        try await store.database.write { database in
            for organization in ["acme", "other"] {
                try database.execute(
                    sql: "INSERT INTO organization (name, created) VALUES (?, ?)",
                    arguments: [organization, now.seconds]
                )
            }
            for (organization, user, role) in members {
                try database.execute(
                    sql: "INSERT INTO user (name, created) VALUES (?, ?)",
                    arguments: [user, now.seconds]
                )
                try database.execute(
                    sql: "INSERT INTO membership (organization, user, role, created) VALUES (?, ?, ?, ?)",
                    arguments: [organization, user, role, now.seconds]
                )
            }
            for team in ["backend", "frontend"] {
                try database.execute(
                    sql: "INSERT INTO team (organization, name, created) VALUES ('acme', ?, ?)",
                    arguments: [team, now.seconds]
                )
            }
        }
        var tokens: [String: OpaqueToken] = [:]
        for (organization, user, _) in members {
            tokens[user] = try await store.makeAccessToken(
                named: "all",
                of: user,
                in: organization,
                scopes: Set(Permission.allCases),
                now: now,
                expires: now + 365 * 86_400
            )
        }
        return tokens
    }

    static func begin(_ organization: String, _ publisher: Publisher, _ rootKey: SigningKey) async throws {
        let root = try publisher.keys.create(
            organization: organization,
            rootKey: rootKey,
            expires: publisher.now() + 3650 * 86_400
        )
        try await publisher.begin(organization, root: Array(root.json.utf8), by: "owner", contact: "platform@acme.test")
    }

    /// Signs somebody in on a device.
    func signIn(_ user: String, on device: (id: String, secret: String)) async throws {
        _ = try await store.beginSession(
            of: SignedInPerson(user: user),
            in: "acme",
            on: device.id,
            from: "192.0.2.1",
            at: time.now
        )
    }

    /// Serves on a real socket, with everything that stands on its connections, while a body runs.
    func live(_ body: @Sendable (any TestClientProtocol) async throws -> Void) async throws {
        let application = Application(
            router: makeRouter(services),
            server: try makeServer(services),
            configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: 0))
        )
        try await application.test(.live, body)
    }

    // MARK: - Asking

    struct Answer {
        let status: HTTPResponse.Status
        let headers: HTTPFields
        let bytes: [UInt8]

        var text: String { String(decoding: bytes, as: UTF8.self) }

        func json() throws -> JSONValue {
            try StrictJSON.parse(bytes, limits: StrictJSON.Limits(bytes: 128 << 20, foldsKeys: false))
        }

        func text(_ name: String) throws -> String? { try json().value(named: name)?.text }

        var code: String? { try? text("code") }
    }

    @discardableResult
    func ask(
        _ method: HTTPRequest.Method,
        _ path: String,
        by who: String? = nil,
        secret: String? = nil,
        body: String? = nil,
        ifMatch: Int? = nil,
        ifNoneMatch: String? = nil
    ) async throws -> Answer {
        var headers = HTTPFields()
        if let who { headers[.authorization] = "Bearer \(try #require(tokens[who]).secret)" }
        if let secret { headers[.authorization] = "Bearer \(secret)" }
        if body != nil { headers[.contentType] = "application/json" }
        if let ifMatch { headers[.ifMatch] = "\"\(ifMatch)\"" }
        if let ifNoneMatch { headers[.ifNoneMatch] = ifNoneMatch }
        return try await client.execute(
            uri: path.hasPrefix("/") ? path : "/v1/organizations/acme/\(path)",
            method: method,
            headers: headers,
            body: body.map { ByteBuffer(string: $0) }
        ) { response in
            Answer(status: response.status, headers: response.headers, bytes: Array(response.body.readableBytesView))
        }
    }

    /// A policy document of acme.
    func policy(allowing registries: [String], more: String = "") -> String {
        let rules = registries.map { "{\"address\":\"\($0)\",\"allowed\":true}" }.joined(separator: ",")
        return "{\"version\":1,\"organization\":\"acme\"\(more),\"registries\":[\(rules)]}"
    }

    // MARK: - As a machine

    /// A machine that trusts the root key and has nothing yet.
    func machine() async throws -> TrustedDocuments {
        try TrustedDocuments(
            organization: "acme",
            pinned: rootKey.verificationKey.id,
            roots: [try await ask(.get, "documents/root/1.json").bytes]
        )
    }

    /// Does what a machine does at each refresh: fetches what it is told to, and nothing else.
    func refresh(_ machine: inout TrustedDocuments) async throws {
        let freshness = try await ask(.get, "documents/freshness.json").bytes
        let envelope = try Envelope(json: freshness, as: .freshness)
        let document = try FreshnessDocument(payload: envelope.payload)
        var roots: [[UInt8]] = []
        for version in (machine.root.version + 1)..<(document.rootVersion + 1) {
            roots.append(try await ask(.get, "documents/root/\(version).json").bytes)
        }
        if !roots.isEmpty { try machine.accept(roots: roots, at: time.now) }
        do {
            try machine.accept(freshness: freshness, policy: nil, at: time.now)
        } catch Rejection.policyNeeded(let version) {
            let policy = try await ask(.get, "documents/policy/\(version).json").bytes
            try machine.accept(freshness: freshness, policy: policy, at: time.now)
        }
    }
}

struct HealthTests {
    @Test
    func `a server that answers is alive`() async throws {
        try await RunningServer.with { server in
            let answer = try await server.ask(.get, "/healthz")
            #expect(answer.status == .ok)
        }
    }
}
