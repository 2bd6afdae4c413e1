import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// Who may what.
struct PolicyRoutesTests {
    struct Route: CustomStringConvertible, Sendable {
        let method: HTTPRequest.Method
        let path: String
        let permission: Permission
        /// What does as well.
        var wider: Permission?
        var description: String { "\(method) \(path)" }

        init(_ method: HTTPRequest.Method, _ path: String, _ permission: Permission, or wider: Permission? = nil) {
            self.method = method
            self.path = path
            self.permission = permission
            self.wider = wider
        }
    }

    static let routes: [Route] = [
        Route(.get, "policy", .readPolicy), Route(.put, "policy", .editPolicy),
        Route(.get, "policy/draft", .editPolicy), Route(.put, "policy/draft", .editPolicy),
        Route(.delete, "policy/draft", .editPolicy), Route(.post, "policy/draft/save", .editPolicy),
        Route(.get, "policy/versions", .readPolicy), Route(.get, "policy/versions/1", .readPolicy),
        Route(.post, "policy/rollback", .editPolicy), Route(.get, "teams/backend/policy", .readPolicy),
        Route(.put, "teams/backend/policy", .editPolicy),
        Route(.get, "keys", .readSettings, or: .manageSettings),
        Route(.post, "keys", .manageSettings), Route(.post, "root", .manageSettings),
        Route(.get, "settings", .readSettings, or: .manageSettings), Route(.patch, "settings", .manageSettings),
        Route(.get, "activity", .readActivity), Route(.get, "reports", .readActivity),
        Route(.get, "devices", .readMachines), Route(.delete, "devices/none", .manageMachines),
        Route(.get, "enrollment-tokens", .readSettings, or: .manageMachines),
        Route(.post, "enrollment-tokens", .manageMachines),
        Route(.delete, "enrollment-tokens/none", .manageMachines),
        Route(.get, "/v2/orgs/acme/settings/registry-access-management", .readPolicy),
        Route(.put, "/v2/orgs/acme/settings/registry-access-management", .editPolicy),
        Route(.get, "/v2/orgs/acme/settings/registry-access-management/policy", .readPolicy),
        Route(.get, "/v2/auditlogs/acme", .readActivity), Route(.get, "/v2/auditlogs/acme/actions", .readActivity),
    ]

    @Test("a route is for those whose role and token allow it", arguments: routes)
    func whoMay(_ route: Route) async throws {
        try await RunningServer.with { server in
            let now = server.time.now
            let device = try await server.register()
            for role in Role.allCases {
                // The body is empty, so nobody gets further than to be asked for it: what counts is who is let through.
                let answer = try await server.ask(route.method, route.path, by: role.rawValue, body: "")
                let isRefused = answer.status == .forbidden || answer.status == .unauthorized
                #expect(isRefused != role.allows(route.permission), "\(role) \(answer.status)")
            }
            #expect(try await server.ask(route.method, route.path, body: "").status == .unauthorized)
            #expect(
                try await server.ask(route.method, route.path, secret: device.secret, body: "").status == .unauthorized
            )
            let stranger = try await server.ask(route.method, route.path, by: "stranger", body: "")
            #expect(stranger.status == .notFound)
            #expect(stranger.text.contains("that you belong to"))
            let narrow = try await server.store.makeAccessToken(
                named: "narrow",
                of: "owner",
                in: "acme",
                scopes: Set(Permission.allCases).subtracting([route.permission, route.wider ?? route.permission]),
                now: now,
                expires: now + 3600
            )
            #expect(
                try await server.ask(route.method, route.path, secret: narrow.secret, body: "").status == .forbidden
            )
            // Each of the two is enough.
            guard let wider = route.wider else { return }
            for scope in [route.permission, wider] {
                let token = try await server.store.makeAccessToken(
                    named: scope.rawValue,
                    of: "owner",
                    in: "acme",
                    scopes: [scope],
                    now: now,
                    expires: now + 3600
                )
                #expect(try await server.ask(route.method, route.path, secret: token.secret).status == .ok, "\(scope)")
            }
        }
    }
}
