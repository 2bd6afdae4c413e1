import GRDB
import HTTPTypes
import Logging
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

@testable import OrganizationServer

/// What a server wrote into its log.
private final class WrittenLog: Sendable {
    private let written = Mutex("")

    var text: String { written.withLock { $0 } }

    /// A log that writes everything, also what nobody asks for.
    var logger: Logger {
        var logger = Logger(label: "tests") { _ in JSONLog { line in self.written.withLock { $0 += line } } }
        logger.logLevel = .trace
        return logger
    }

    func entries() throws -> [JSONValue] {
        try text.split(separator: "\n").map { try StrictJSON.parse(Array($0.utf8)) }
    }
}

struct LogTests {
    @Test
    func `a line for each request says who asked what from where, and how it went`() async throws {
        let log = WrittenLog()
        try await AccountsServer.with(logger: log.logger) { server in
            try await server.make()
            let device = try await server.makeDevice()
            let alice = try await server.signIn("alice")
            let path = "/v1/organizations/acme/devices/device0000000000000000001a/changes"
            let answers = [
                try await server.send(.get, "/v1/organizations/acme/members", as: alice),
                try await server.send(.get, path, as: device.secret), try await server.send(.get, "/v1/me"),
                try await server.send(.get, "/v1/nothing"),
            ]
            let lines = try log.entries().filter { $0.value(named: "message")?.text == "answered" }
            let expected = [
                ("/v1/organizations/{organization}/members", "alice", "200"),
                (
                    "/v1/organizations/{organization}/devices/{device}/changes", "device:device0000000000000000001a",
                    "200"
                ), ("/v1/me", "-", "401"), ("none", "-", "404"),
            ]
            #expect(lines.count == expected.count)
            for ((line, answer), (route, person, status)) in zip(zip(lines, answers), expected) {
                #expect(line.value(named: "route")?.text == route)
                #expect(line.value(named: "person")?.text == person)
                #expect(line.value(named: "status")?.text == status)
                #expect(line.value(named: "method")?.text == "GET")
                #expect(line.value(named: "level")?.text == (route.hasSuffix("/changes") ? "debug" : "info"))
                #expect(line.value(named: "address")?.text == "-")
                #expect(Double(line.value(named: "milliseconds")?.text ?? "") != nil)
                let time = try #require(line.value(named: "time")?.text)
                #expect(time.wholeMatch(of: #/\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z/#) != nil, "\(time)")
                let request = try #require(line.value(named: "request")?.text)
                #expect(answer.headers[try #require(.init("X-Request-Id"))] == request)
            }
            #expect(Set(lines.compactMap { $0.value(named: "request")?.text }).count == expected.count)
        }
    }

    @Test
    func `a fault of the server names the request under which the log has it`() async throws {
        let log = WrittenLog()
        try await AccountsServer.with(logger: log.logger) { server in
            try await server.make()
            let alice = try await server.signIn("alice")
            try await server.services.store.database.write { try $0.execute(sql: "DROP TABLE invitation") }
            let answer = try await server.send(.get, "/v1/organizations/acme/invitations", as: alice)
            #expect(answer.status == 500)
            let request = try #require(answer["request"])
            #expect(answer.headers[try #require(.init("X-Request-Id"))] == request)
            #expect(!answer.text.contains("invitation"))
            let line = try log.entries().first { $0.value(named: "message")?.text == "cannot answer" }
            #expect(line?.value(named: "request")?.text == request)
            #expect(line?.value(named: "error")?.text?.contains("no such table") == true)
        }
    }

    @Test
    func `no secret comes into the log, wherever it is shown`() async throws {
        let log = WrittenLog()
        try await AccountsServer.with(logger: log.logger) { server in
            try await server.make()
            var secrets = [AccountsServer.password, "wrong horse battery", "a new and better secret"]
            let device = try await server.makeDevice()
            secrets.append(device.secret)
            // Those that the server hands out.
            let signIn = try await server.form(
                "/v1/token",
                ["grant_type": "password", "username": "alice", "password": secrets[0], "organization": "acme"]
            )
            let access = try #require(signIn["access_token"])
            let refresh = try #require(signIn["refresh_token"])
            secrets += [access, refresh]
            let made = [
                ("tokens", #"{"name":"ci","scopes":["policy:read"],"days":1}"#, "token"),
                ("invitations", #"{"role":"member"}"#, "invitation"),
                ("enrollment-tokens", #"{"name":"office","days":1}"#, "enrollmentToken"),
            ]
            for (path, body, name) in made {
                let answer = try await server.send(.post, "/v1/organizations/acme/\(path)", as: access, body: body)
                secrets.append(try #require(answer[name], "\(answer)"))
            }
            let begun = try await server.form(
                "/v1/device_authorization",
                ["client_id": "docker-ram", "organization": "acme", "device_name": "laptop"]
            )
            secrets += [try #require(begun["device_code"]), try #require(begun["user_code"])]
            let hub = try await server.send(
                .post,
                "/v2/users/login",
                body: #"{"username":"alice","password":"\#(secrets[0])"}"#
            )
            let hubToken = try #require(hub["token"])
            secrets += [hubToken, try #require(OpaqueToken(shown: hubToken)).secret]
            // And one of each kind that was never handed out.
            secrets += OpaqueToken.Kind.allCases.map { OpaqueToken($0).secret }

            for secret in secrets {
                let escaped = secret.replacing(" ", with: "%20")
                _ = try await server.send(.get, "/v1/me", as: secret)
                _ = try await server.send(.get, "/v1/\(escaped)?token=\(escaped)")
                _ = try await server.send(.get, "/v1/organizations/\(escaped)/policy?format=\(escaped)", as: access)
                _ = try await server.send(.delete, "/v1/organizations/acme/tokens/\(escaped)", as: access)
                _ = try await server.send(.get, "/activate?user_code=\(escaped)", headers: [.cookie: "a=\(secret)"])
                let basic = StrictBase64.encode(Array("alice:\(secret)".utf8))
                _ = try await server.send(.get, "/v2", headers: [.authorization: "Basic \(basic)"])
                for grant in ["password", "refresh_token", "urn:docker-ram:access-token"] {
                    _ = try await server.form(
                        "/v1/token",
                        [
                            "grant_type": grant, "username": "alice", "password": secret, "refresh_token": secret,
                            "token": secret, "device_code": secret,
                        ]
                    )
                }
                let bodies = [
                    ("/v2/users/login", "username", "password"), ("/v2/auth/token", "identifier", "secret"),
                    ("/v1/organizations/acme/devices", "name", "enrollmentToken"),
                    ("/v1/organizations/acme/teams", "name", "unknown"),
                ]
                for (path, name, field) in bodies {
                    let body = "{\"\(name)\":\"\(secret)\",\"\(field)\":\"\(secret)\"}"
                    _ = try await server.send(.post, path, as: access, body: body)
                    _ = try await server.send(.post, path, body: body)
                }
                _ = try await server.send(
                    .put,
                    "/v1/me/password",
                    as: access,
                    body: "{\"current\":\"\(secret)\",\"new\":\"\(secret)\"}"
                )
                _ = try await server.form("/v1/token/revoke", ["token": secret == access ? "none" : secret])
            }
            let text = log.text
            #expect(text.split(separator: "\n").count > 300)
            for secret in secrets {
                #expect(!text.contains(secret), "a secret of \(secret.prefix(4)) is in the log")
                #expect(!text.contains(StrictBase64.encode(Array("alice:\(secret)".utf8))))
                // Nor the random part of a token alone, nor its digest.
                if let token = OpaqueToken(secret) {
                    #expect(!text.contains(secret.split(separator: "_")[1]))
                    #expect(!text.contains(token.digest))
                }
            }
        }
    }

    @Test
    func `entries of the log are one line each, whatever is in them`() throws {
        let log = WrittenLog()
        var logger = log.logger
        logger[metadataKey: "level"] = "not the level"
        logger.warning("a\nb\"c", metadata: ["name": "\u{1B}[31m\r\n", "list": ["x", "y"]])
        #expect(log.text.split(separator: "\n").count == 1)
        let entry = try #require(try log.entries().first)
        #expect(entry.value(named: "message")?.text == "a\nb\"c")
        #expect(entry.value(named: "level")?.text == "warning")
        #expect(entry.value(named: "name")?.text == "\u{1B}[31m\r\n")
        #expect(!log.text.contains("\u{1B}"))
    }
}
