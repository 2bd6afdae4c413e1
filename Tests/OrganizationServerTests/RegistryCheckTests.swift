import Foundation
import HTTPTypes
import RegistryAccess
import Testing

@testable import OrganizationServer

/// What an engine asks on `docker login SERVER`.
struct RegistryCheckTests {
    private func ask(_ server: AccountsServer, _ credentials: String?) async throws -> Answer {
        var headers = HTTPFields()
        if let credentials { headers[.authorization] = "Basic \(Data(credentials.utf8).base64EncodedString())" }
        return try await server.send(.get, "/v2/", headers: headers)
    }

    @Test
    func `who is known may sign in, and others learn how`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let stranger = try await ask(server, nil)
            #expect(stranger.status == 401)
            #expect(stranger.headers[.wwwAuthenticate] == "Basic realm=\"docker-ram-server\"")
            #expect(try await ask(server, "alice:\(AccountsServer.password)").status == 200)
            for credentials in ["alice:wrong", "alice", "bob:\(AccountsServer.password)", ""] {
                #expect(try await ask(server, credentials).status == 401, "\(credentials)")
            }
            let now = server.clock.now
            let token = try await server.services.store.makeAccessToken(
                named: "ci",
                of: "alice",
                in: "acme",
                scopes: [.readPolicy],
                now: now,
                expires: now + 3600
            )
            #expect(try await ask(server, "alice:\(token.secret)").status == 200)
            #expect(try await ask(server, "bob:\(token.secret)").status == 401)
            let bearer = HTTPFields([HTTPField(name: .authorization, value: "Basic !!!")])
            #expect(try await server.send(.get, "/v2/", headers: bearer).status == 401)
        }
    }
}
