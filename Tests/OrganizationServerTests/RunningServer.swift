import Hummingbird
import HummingbirdTesting
import RegistryAccess
import SignedPolicy
import Testing

@testable import OrganizationServer

/// A server in memory, asked without a socket.
struct RunningServer {
    let client: any TestClientProtocol
    let services: Services

    /// Runs a server while the body runs.
    static func with(
        now: Instant = Instant(seconds: 1_795_614_310),
        _ body: @Sendable (RunningServer) async throws -> Void
    )
        async throws
    {
        let services = try Services(store: .inMemory()) { now }
        try await Application(router: makeRouter(services)).test(.router) { client in
            try await body(RunningServer(client: client, services: services))
        }
    }
}

struct HealthTests {
    @Test
    func `a server that answers is alive`() async throws {
        try await RunningServer.with { server in
            try await server.client.execute(uri: "/healthz", method: .get) { response in
                #expect(response.status == .ok)
            }
        }
    }
}
