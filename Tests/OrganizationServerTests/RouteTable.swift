import RegistryAccess
import GRDB
import HTTPTypes
import Hummingbird
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// Who may use a route.
enum Access: Sendable {
    /// Everybody, and it makes no difference who asks.
    case open
    /// Whoever signed in; and whether an access token will do, whatever its scopes.
    case person(withToken: Bool)
    /// Members in these roles; with an access token if it has this scope, or the other one.
    case members(Set<Role>, scope: Permission, or: Permission? = nil)
    /// Members in these roles who have signed in; no access token.
    case signedIn(Set<Role>)
    /// The device that the path names.
    case device
    /// Members in these roles of any organization; with an access token if it has this scope.
    case server(Set<Role>, scope: Permission)
    /// Whoever is signed in with a browser; in these roles, if the path names an organization.
    case page(Set<Role>?)
}

/// A route and who may use it.
struct RouteRow: Sendable, CustomTestStringConvertible {
    /// The method and the pattern.
    let route: String
    let access: Access
    /// A body that is in order.
    var body: String?
    /// Fields of a form that are in order.
    var fields: [String: String] = [:]

    init(_ route: String, _ access: Access, body: String? = nil, fields: [String: String] = [:]) {
        self.route = route
        self.access = access
        self.body = body
        self.fields = fields
    }

    var testDescription: String { route }

    var isOpen: Bool { if case .open = access { true } else { false } }

    var method: HTTPRequest.Method? { route.split(separator: " ").first.flatMap { .init(String($0)) } }

    /// The path with names of what ``RouteTests`` makes.
    var path: String {
        let names = [
            "organization": "acme", "user": "member", "team": "backend", "device": RouteTests.device, "version": "1",
        ]
        var path = String(route.split(separator: " ").last ?? "")
        for (name, value) in names { path = path.replacing("{\(name)}", with: value) }
        return path.replacing(#/\{[a-z]+\}/#, with: "00000000000000000000")
    }

    private static let all: Set<Role> = [.owner, .editor, .auditor, .member]
    private static let readers: Set<Role> = [.owner, .editor, .auditor]
    private static let owner: Set<Role> = [.owner]

    /// Every route of the server; a test fails if one is missing.
    static let rows = accounts + policies + pages + peoplePages + settingsPages + formAddresses

    private static let accounts = [
        RouteRow("GET /healthz", .open),
        RouteRow("GET /readyz", .open),
        RouteRow("GET /metrics", .server(owner, scope: .readMetrics)),
        RouteRow("GET /v1/openapi.json", .open),
        RouteRow("POST /v1/token", .open),
        RouteRow("POST /v1/token/revoke", .open),
        RouteRow("POST /v1/device_authorization", .open),
        RouteRow("GET /activate", .open),
        RouteRow("POST /activate", .open),
        RouteRow("POST /activate/decision", .open),
        RouteRow("POST /activate/single-sign-on", .open),
        RouteRow("GET /single-sign-on/callback", .open),
        RouteRow("GET /single-sign-on/{organization}", .open),
        RouteRow("POST /single-sign-on/introduction", .open),
        RouteRow("GET /v2", .open),
        RouteRow("POST /v2/users/login", .open, body: #"{"username":"nobody","password":"x"}"#),
        RouteRow("POST /v2/auth/token", .open, body: #"{"identifier":"nobody","secret":"x"}"#),
        RouteRow("POST /v1/invitations/accept", .open, body: #"{"invitation":"x","name":"y","password":"z"}"#),
        RouteRow("GET /v1/me", .person(withToken: true)),
        RouteRow("PUT /v1/me/password", .person(withToken: false), body: #"{"current":"x","new":"y"}"#),
        RouteRow("GET /v1/organizations/{organization}/members", .members(readers, scope: .readMembers)),
        RouteRow(
            "PATCH /v1/organizations/{organization}/members/{user}",
            .members(owner, scope: .manageMembers),
            // More than the token may itself, it does not give.
            body: #"{"role":"member"}"#
        ),
        RouteRow("DELETE /v1/organizations/{organization}/members/{user}", .members(owner, scope: .manageMembers)),
        RouteRow("POST /v1/organizations/{organization}/members/{user}/password-reset", .signedIn(owner)),
        RouteRow("GET /v1/organizations/{organization}/invitations", .members(readers, scope: .readMembers)),
        RouteRow(
            "POST /v1/organizations/{organization}/invitations",
            .members(owner, scope: .manageMembers),
            body: #"{"role":"member"}"#
        ),
        RouteRow(
            "DELETE /v1/organizations/{organization}/invitations/{invitation}",
            .members(owner, scope: .manageMembers)
        ),
        RouteRow("GET /v1/organizations/{organization}/teams", .members(readers, scope: .readMembers)),
        RouteRow(
            "POST /v1/organizations/{organization}/teams",
            .members(owner, scope: .manageMembers),
            body: #"{"name":"frontend"}"#
        ),
        RouteRow("GET /v1/organizations/{organization}/teams/{team}", .members(readers, scope: .readMembers)),
        RouteRow("DELETE /v1/organizations/{organization}/teams/{team}", .members(owner, scope: .manageMembers)),
        RouteRow(
            "PATCH /v1/organizations/{organization}/teams/{team}",
            .members(owner, scope: .manageMembers),
            body: #"{"name":"services"}"#
        ),
        RouteRow(
            "PUT /v1/organizations/{organization}/teams/{team}/members/{user}",
            .members(owner, scope: .manageMembers)
        ),
        RouteRow(
            "DELETE /v1/organizations/{organization}/teams/{team}/members/{user}",
            .members(owner, scope: .manageMembers)
        ),
        RouteRow("GET /v1/organizations/{organization}/tokens", .members(all, scope: .readSettings, or: .manageTokens)),
        RouteRow(
            "POST /v1/organizations/{organization}/tokens",
            .members(all, scope: .manageTokens),
            body: #"{"name":"new","scopes":["policy:read"],"days":1}"#
        ),
        RouteRow("DELETE /v1/organizations/{organization}/tokens/{token}", .members(all, scope: .manageTokens)),
        RouteRow("GET /v1/organizations/{organization}/sessions", .members(readers, scope: .readMembers)),
        RouteRow("DELETE /v1/organizations/{organization}/sessions", .members(owner, scope: .endSessions)),
        RouteRow("DELETE /v1/organizations/{organization}/sessions/{session}", .members(owner, scope: .endSessions)),
    ]

    private static let editors: Set<Role> = [.owner, .editor]
    private static let organization = "/v1/organizations/{organization}"
    private static let docker = "/v2/orgs/{organization}/settings/registry-access-management"

    private static let policies = [
        RouteRow("GET \(organization)/documents/root.json", .open),
        RouteRow("GET \(organization)/documents/policy.json", .open),
        RouteRow("GET \(organization)/documents/freshness.json", .open),
        RouteRow("GET \(organization)/documents/root/{version}", .open),
        RouteRow("GET \(organization)/documents/policy/{version}", .open),
        RouteRow("GET \(organization)/keys", .members(readers, scope: .readSettings, or: .manageSettings)),
        RouteRow("POST \(organization)/keys", .members(owner, scope: .manageSettings), body: "{}"),
        RouteRow("POST \(organization)/root", .members(owner, scope: .manageSettings), body: "{}"),
        RouteRow("GET \(organization)/policy", .members(all, scope: .readPolicy)),
        RouteRow("PUT \(organization)/policy", .members(editors, scope: .editPolicy), body: "{}"),
        RouteRow("GET \(organization)/policy/draft", .members(editors, scope: .editPolicy)),
        RouteRow("PUT \(organization)/policy/draft", .members(editors, scope: .editPolicy), body: "{}"),
        RouteRow("DELETE \(organization)/policy/draft", .members(editors, scope: .editPolicy)),
        RouteRow("POST \(organization)/policy/draft/save", .members(editors, scope: .editPolicy), body: "{}"),
        RouteRow("GET \(organization)/policy/versions", .members(all, scope: .readPolicy)),
        RouteRow("GET \(organization)/policy/versions/{version}", .members(all, scope: .readPolicy)),
        RouteRow(
            "POST \(organization)/policy/rollback",
            .members(editors, scope: .editPolicy),
            body: #"{"version":1}"#
        ),
        RouteRow("GET \(organization)/teams/{team}/policy", .members(all, scope: .readPolicy)),
        RouteRow("PUT \(organization)/teams/{team}/policy", .members(editors, scope: .editPolicy), body: "{}"),
        RouteRow("POST \(organization)/devices", .open, body: #"{"name":"laptop"}"#),
        RouteRow("GET \(organization)/devices", .members(readers, scope: .readMachines)),
        RouteRow("DELETE \(organization)/devices/{device}", .members(owner, scope: .manageMachines)),
        RouteRow("GET \(organization)/devices/{device}/changes", .device),
        RouteRow("POST \(organization)/devices/{device}/reports", .device, body: "{}"),
        RouteRow("POST \(organization)/devices/{device}/uses", .device, body: #"{"uses":[]}"#),
        RouteRow(
            "POST \(organization)/devices/{device}/requests",
            .device,
            body: #"{"registry":"ghcr.io","reason":"base images"}"#
        ),
        RouteRow("GET \(organization)/devices/{device}/requests", .device),
        RouteRow("POST \(organization)/devices/{device}/requests/{number}/withdraw", .device),
        RouteRow(
            "POST \(organization)/requests",
            .members(all, scope: .readPolicy),
            body: #"{"registry":"ghcr.io","action":"push"}"#
        ),
        RouteRow("GET \(organization)/requests", .members(all, scope: .readPolicy)),
        RouteRow(
            "POST \(organization)/requests/{number}/allow",
            .members(editors, scope: .editPolicy),
            body: #"{"until":"2099-01-01T00:00:00Z"}"#
        ),
        RouteRow(
            "POST \(organization)/requests/{number}/decline",
            .members(editors, scope: .editPolicy),
            body: #"{"word":"use our mirror"}"#
        ),
        RouteRow("POST \(organization)/requests/{number}/withdraw", .members(all, scope: .readPolicy)),
        RouteRow("GET \(organization)/reports", .members(readers, scope: .readActivity)),
        RouteRow(
            "GET \(organization)/enrollment-tokens",
            .members(readers, scope: .readSettings, or: .manageMachines)
        ),
        RouteRow("POST \(organization)/enrollment-tokens", .members(owner, scope: .manageMachines), body: "{}"),
        RouteRow("DELETE \(organization)/enrollment-tokens/{name}", .members(owner, scope: .manageMachines)),
        RouteRow("GET \(organization)/settings", .members(readers, scope: .readSettings, or: .manageSettings)),
        RouteRow("PATCH \(organization)/settings", .members(owner, scope: .manageSettings), body: "{}"),
        RouteRow("GET \(organization)/activity", .members(readers, scope: .readActivity)),
        RouteRow("GET \(organization)/single-sign-on", .members(readers, scope: .readMembers)),
        RouteRow("PUT \(organization)/single-sign-on", .members(owner, scope: .manageSettings), body: "{}"),
        RouteRow("DELETE \(organization)/single-sign-on", .members(owner, scope: .manageSettings)),
        RouteRow("GET \(organization)/single-sign-on/identities", .members(readers, scope: .readMembers)),
        RouteRow(
            "PUT \(organization)/single-sign-on/identities/{user}",
            .members(owner, scope: .manageMembers),
            body: #"{"subject":"42"}"#
        ),
        RouteRow("DELETE \(organization)/single-sign-on/identities/{user}", .members(owner, scope: .manageMembers)),
        RouteRow("GET \(docker)", .members(all, scope: .readPolicy)),
        RouteRow("PUT \(docker)", .members(editors, scope: .editPolicy), body: "{}"),
        RouteRow("GET \(docker)/policy", .members(all, scope: .readPolicy)),
        RouteRow("GET /v2/auditlogs/{organization}", .members(readers, scope: .readActivity)),
        RouteRow("GET /v2/auditlogs/{organization}/actions", .members(readers, scope: .readActivity)),
    ]
}

extension RouteRow {
    private static let page = "/organizations/{organization}"

    fileprivate static let pages = [
        RouteRow("GET /", .page(nil)),
        RouteRow("GET /organizations", .page(nil)),
        RouteRow("GET /assets/{name}", .open),
        RouteRow("GET /sign-in", .open),
        RouteRow("POST /sign-in", .open),
        RouteRow("POST /sign-in/single-sign-on", .open),
        RouteRow("GET /sign-in/again", .page(nil)),
        RouteRow("GET /set-up", .open),
        RouteRow("POST /set-up", .open, fields: ["organization": "acme"]),
        RouteRow("POST /sign-out", .open),
        RouteRow("GET \(page)", .page(all)),
        RouteRow("GET \(page)/registry-access", .page(all)),
        RouteRow("POST \(page)/registry-access/switch", .page(editors), fields: ["mode": "audit"]),
        RouteRow("POST \(page)/registry-access/allow", .page(editors)),
        RouteRow("POST \(page)/registry-access/disallow", .page(editors)),
        RouteRow("POST \(page)/registry-access/remove", .page(editors)),
        RouteRow("POST \(page)/registry-access/keep", .page(editors)),
        RouteRow("GET \(page)/registry-access/add", .page(editors)),
        RouteRow("POST \(page)/registry-access/add", .page(editors), fields: ["address": "ghcr.io", "pull": "on"]),
        RouteRow("GET \(page)/registry-access/edit", .page(editors)),
        RouteRow("POST \(page)/registry-access/edit", .page(editors), fields: ["address": "ghcr.io", "pull": "on"]),
        RouteRow("GET \(page)/registry-access/review", .page(editors)),
        RouteRow("POST \(page)/registry-access/save", .page(editors), fields: ["draft": "1", "policy": "1"]),
        RouteRow("GET \(page)/registry-access/discard", .page(editors)),
        RouteRow("POST \(page)/registry-access/discard", .page(editors), fields: ["draft": "0"]),
        RouteRow("POST \(page)/registry-access/update", .page(editors)),
        RouteRow("GET \(page)/registry-access/settings", .page(all)),
        RouteRow("POST \(page)/registry-access/settings", .page(editors), fields: ["contact": "platform"]),
        RouteRow("GET \(page)/registry-access/times", .page(owner)),
        RouteRow("POST \(page)/registry-access/times", .page(owner), fields: ["refresh": "5", "validity": "24"]),
        RouteRow("GET \(page)/registry-access/history", .page(all)),
        RouteRow("GET \(page)/registry-access/history/{version}", .page(all)),
        RouteRow("POST \(page)/registry-access/history/{version}/roll-back", .page(editors), fields: ["policy": "1"]),
        RouteRow("GET \(page)/activity", .page(readers)),
        RouteRow("GET \(page)/activity/news", .page(readers)),
        RouteRow("GET \(page)/activity/export", .page(readers)),
        RouteRow("GET \(page)/requests", .page(all)),
        RouteRow("POST \(page)/requests", .page(all), fields: ["registry": "ghcr.io"]),
        RouteRow("GET \(page)/requests/{number}", .page(all)),
        RouteRow("POST \(page)/requests/{number}/allow", .page(editors), fields: ["policy": "1"]),
        RouteRow("POST \(page)/requests/{number}/decline", .page(editors)),
        RouteRow("POST \(page)/requests/{number}/withdraw", .page(all)),
        RouteRow("GET \(page)/devices", .page(readers)),
        RouteRow("GET \(page)/devices-export", .page(readers)),
        RouteRow("GET \(page)/devices/{device}", .page(readers)),
        RouteRow("POST \(page)/devices/{device}/end-session", .page(owner)),
        RouteRow("GET \(page)/devices/{device}/remove", .page(owner)),
        RouteRow("POST \(page)/devices/{device}/remove", .page(owner)),
    ]

    /// Addresses that only take a form: they lead to the page that it is on, whoever may see that.
    fileprivate static let formAddresses = [
        RouteRow("GET /sign-in/single-sign-on", .open),
        RouteRow("GET /sign-out", .open),
        RouteRow("GET \(page)/registry-access/switch", .page(all)),
        RouteRow("GET \(page)/registry-access/allow", .page(all)),
        RouteRow("GET \(page)/registry-access/disallow", .page(all)),
        RouteRow("GET \(page)/registry-access/remove", .page(all)),
        RouteRow("GET \(page)/registry-access/keep", .page(all)),
        RouteRow("GET \(page)/registry-access/save", .page(all)),
        RouteRow("GET \(page)/registry-access/update", .page(all)),
        RouteRow("GET \(page)/registry-access/history/{version}/roll-back", .page(all)),
        RouteRow("GET \(page)/requests/{number}/allow", .page(all)),
        RouteRow("GET \(page)/requests/{number}/decline", .page(all)),
        RouteRow("GET \(page)/requests/{number}/withdraw", .page(all)),
        RouteRow("GET \(page)/devices/{device}/end-session", .page(readers)),
        RouteRow("GET \(page)/settings/enrollment-tokens", .page(readers)),
        RouteRow("GET \(page)/settings/single-sign-on/test", .page(readers)),
        RouteRow("GET \(page)/members/{user}/role", .page(readers)),
        RouteRow("GET \(page)/invitations/{invitation}/withdraw", .page(readers)),
        RouteRow("GET \(page)/teams/{team}/rename", .page(all)),
        RouteRow("GET \(page)/teams/{team}/members/add", .page(all)),
        RouteRow("GET \(page)/teams/{team}/members/remove", .page(all)),
        RouteRow("GET /account/password", .page(nil)),
        RouteRow("GET /account/sessions/end", .page(nil)),
    ]

    /// What an organization is set to.
    fileprivate static let settingsPages = [
        RouteRow("GET \(page)/settings", .page(all)),
        RouteRow(
            "POST \(page)/settings",
            .page(owner),
            fields: ["contact": "platform", "reportDays": "30", "maximumDevices": "10", "enrollment": "token"]
        ),
        RouteRow("GET \(page)/settings/machines", .page(readers)),
        RouteRow("POST \(page)/settings/enrollment-tokens", .page(owner), fields: ["name": "laptops", "days": "30"]),
        RouteRow("GET \(page)/settings/enrollment-tokens/delete", .page(owner)),
        RouteRow("POST \(page)/settings/enrollment-tokens/delete", .page(owner), fields: ["name": "laptops"]),
        RouteRow("GET \(page)/settings/single-sign-on", .page(readers)),
        RouteRow(
            "POST \(page)/settings/single-sign-on",
            .page(owner),
            fields: ["issuer": "http://127.0.0.1:1", "clientID": "x", "clientSecret": "y", "scopes": "openid"]
        ),
        RouteRow(
            "POST \(page)/settings/single-sign-on/test",
            .page(owner),
            fields: ["issuer": "http://127.0.0.1:1"]
        ),
        RouteRow("GET \(page)/settings/single-sign-on/remove", .page(owner)),
        RouteRow("POST \(page)/settings/single-sign-on/remove", .page(owner)),
        RouteRow("GET \(page)/settings/single-sign-on/link", .page(owner)),
        RouteRow(
            "POST \(page)/settings/single-sign-on/link",
            .page(owner),
            fields: ["user": "member", "subject": "42"]
        ),
        RouteRow("GET \(page)/settings/single-sign-on/unlink", .page(owner)),
        RouteRow("POST \(page)/settings/single-sign-on/unlink", .page(owner), fields: ["user": "member"]),
        RouteRow("GET \(page)/settings/tokens", .page(all)),
        RouteRow(
            "POST \(page)/settings/tokens",
            .page(all),
            fields: ["name": "new", "days": "1", "scope-policy:read": "on"]
        ),
        RouteRow("GET \(page)/settings/tokens/{token}/revoke", .page(all)),
        RouteRow("POST \(page)/settings/tokens/{token}/revoke", .page(all)),
        RouteRow("GET \(page)/settings/signing-keys", .page(readers)),
        RouteRow("POST \(page)/settings/signing-keys", .page(owner), fields: ["kind": "policy"]),
        RouteRow("GET \(page)/settings/signing-keys/root", .page(owner)),
        RouteRow("POST \(page)/settings/signing-keys/root", .page(owner), fields: ["document": "{}"]),
    ]

    /// Members, invitations, teams, sessions, and what somebody has of their own.
    fileprivate static let peoplePages = [
        RouteRow("GET \(page)/members", .page(readers)),
        RouteRow("GET \(page)/members/{user}", .page(readers)),
        RouteRow("POST \(page)/members/{user}/role", .page(owner), fields: ["role": "editor"]),
        RouteRow("GET \(page)/members/{user}/remove", .page(owner)),
        RouteRow("POST \(page)/members/{user}/remove", .page(owner)),
        RouteRow("GET \(page)/members/{user}/password-reset", .page(owner)),
        RouteRow("POST \(page)/members/{user}/password-reset", .page(owner)),
        RouteRow("GET /new-password", .open),
        RouteRow("POST /new-password", .open),
        RouteRow("GET \(page)/invitations", .page(readers)),
        RouteRow("POST \(page)/invitations", .page(owner), fields: ["role": "member"]),
        RouteRow("POST \(page)/invitations/{invitation}/withdraw", .page(owner)),
        RouteRow("GET /join", .open),
        RouteRow("POST /join", .open),
        RouteRow("GET \(page)/teams", .page(all)),
        RouteRow("POST \(page)/teams", .page(owner), fields: ["team": "frontend"]),
        RouteRow("GET \(page)/teams/{team}", .page(all)),
        RouteRow("POST \(page)/teams/{team}/rename", .page(owner), fields: ["team": "services"]),
        RouteRow("GET \(page)/teams/{team}/remove", .page(owner)),
        RouteRow("POST \(page)/teams/{team}/remove", .page(owner)),
        RouteRow("POST \(page)/teams/{team}/members/add", .page(owner), fields: ["user": "member"]),
        RouteRow("POST \(page)/teams/{team}/members/remove", .page(owner), fields: ["user": "member"]),
        RouteRow("GET \(page)/teams/{team}/registries/add", .page(editors)),
        RouteRow(
            "POST \(page)/teams/{team}/registries/add",
            .page(editors),
            fields: ["address": "ghcr.io", "pull": "on", "policy": "1"]
        ),
        RouteRow("GET \(page)/teams/{team}/registries/edit", .page(editors)),
        RouteRow(
            "POST \(page)/teams/{team}/registries/edit",
            .page(editors),
            fields: ["address": "ghcr.io", "pull": "on", "policy": "1"]
        ),
        RouteRow("GET \(page)/teams/{team}/registries/remove", .page(editors)),
        RouteRow("POST \(page)/teams/{team}/registries/remove", .page(editors), fields: ["policy": "1"]),
        RouteRow("GET \(page)/sessions", .page(readers)),
        RouteRow("GET \(page)/sessions/end", .page(owner)),
        RouteRow("POST \(page)/sessions/end", .page(owner), fields: ["everybody": "true"]),
        RouteRow("GET /account", .page(nil)),
        RouteRow("POST /account/password", .page(nil)),
        RouteRow("POST /account/sessions/end", .page(nil), fields: ["others": "true"]),
    ]
}

/// Who asks.
enum Who: Hashable, CaseIterable {
    case owner, editor, auditor, member
    /// Who owns another organization and does not belong to this one.
    case stranger
    case nobody
    /// An access token that somebody made up.
    case forger
    /// The device that is registered.
    case device
    /// An owner's access token with every scope but the one.
    case tokenWithoutScope
    /// An owner's access token with the one scope, and that of reading the policy, which tokens made by it have.
    case tokenWithScope
    /// A token of the same person with every scope, for another organization.
    case tokenOfAnother

    var role: Role? {
        switch self {
        case .owner: .owner
        case .editor: .editor
        case .auditor: .auditor
        case .member: .member
        default: nil
        }
    }
}

struct RouteTests {
    static let device = "device0000000000000000001a"
    private static let api = try? OpenAPI()

    @Test
    func `every route is in the table, once, and the table has no others`() async throws {
        try await AccountsServer.with { server in
            let routes = makeRouter(server.services).routes.map { route in
                "\(route.method.rawValue) \(route.path.description)"
            }
            let table = RouteRow.rows.map(\.route)
            #expect(Set(table).count == table.count)
            #expect(Set(routes).subtracting(table) == [], "these are missing in the table")
            #expect(Set(table).subtracting(routes) == [], "these are no routes")
        }
    }

    @Test(arguments: RouteRow.rows)
    func `a route does for each who may, and nothing for others`(row: RouteRow) async throws {
        // Whoever is refused changes nothing, so they can all ask the same server.
        try await Self.withServer { server in
            let tokens = try await Self.prepare(server, row)
            let before = try await Self.content(server)
            for who in Who.allCases {
                guard let expected = Self.refusal(of: who, row.access) else { continue }
                let answer = try await Self.ask(server, row, tokens[who] ?? nil)
                #expect(answer.status == expected, "\(who): \(answer)")
            }
            #expect(try await Self.content(server) == before, "somebody who was refused changed something")
        }
        for who in Who.allCases where Self.refusal(of: who, row.access) == nil {
            try await Self.withServer { server in
                let tokens = try await Self.prepare(server, row)
                let answer = try await Self.ask(server, row, tokens[who] ?? nil)
                #expect(answer.status < 500 || row.route.hasPrefix("GET /readyz"), "\(who): \(answer)")
                if case .open = row.access, who != .forger {
                    // It makes no difference who asks.
                    let same = try await Self.ask(server, row, nil)
                    #expect(answer.status == same.status, "\(who): \(answer)")
                } else if case .open = row.access {
                    // A token that is none is refused everywhere but before the check of tokens.
                    #expect(answer.status == 401 || row.route.hasSuffix("z"), "\(who): \(answer)")
                } else {
                    #expect(answer.status != 401 && answer.status != 403, "\(who): \(answer)")
                    #expect(!answer.text.contains("that you belong to"), "\(who): \(answer)")
                }
            }
        }
    }

    /// The status with which somebody is refused; `nil` if they may.
    private static func refusal(of who: Who, _ access: Access) -> Int? {
        switch (access, who) {
        case (.open, _): nil
        case (.page, .forger): 401
        case (.page, .nobody), (.page, .device), (.page, .tokenWithoutScope), (.page, .tokenWithScope),
            (.page, .tokenOfAnother):
            // No bearer token opens a page.
            303
        case (.page(nil), _): nil
        case (.page, .stranger): 404
        case (.page(let roles?), _): who.role.map(roles.contains) ?? false ? nil : 403
        case (_, .nobody), (_, .forger): 401
        case (.device, .device): nil
        case (.device, _), (_, .device): 401
        case (.person(let withToken), .tokenWithScope), (.person(let withToken), .tokenWithoutScope),
            (.person(let withToken), .tokenOfAnother):
            withToken ? nil : 403
        case (.person, _): nil
        case (.members, .stranger), (.members, .tokenOfAnother): 404
        case (.signedIn, .stranger), (.signedIn, .tokenOfAnother): 404
        case (.signedIn, .tokenWithoutScope), (.signedIn, .tokenWithScope): 403
        case (.signedIn(let roles), _): who.role.map(roles.contains) ?? false ? nil : 403
        case (.members, .tokenWithoutScope): 403
        case (.members, .tokenWithScope): nil
        case (.server, .stranger), (.server, .tokenOfAnother), (.server, .tokenWithScope): nil
        case (.server, .tokenWithoutScope): 403
        case (.server(let roles, _), _): who.role.map(roles.contains) ?? false ? nil : 403
        case (.members(let roles, _, _), _): who.role.map(roles.contains) ?? false ? nil : 403
        }
    }

    /// A server that has a directory for its keys.
    private static func withServer(_ body: @Sendable (AccountsServer) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            try await AccountsServer.with(keys: "\(directory)/keys", body)
        }
    }

    /// Asks, and holds the answer against the description of the route.
    private static func ask(_ server: AccountsServer, _ row: RouteRow, _ token: String?) async throws -> Answer {
        if let token, token.hasPrefix("ramb_") {
            let browser = TestBrowser(server, token)
            guard row.method == .post else { return try await browser.get(row.path) }
            return try await browser.post(row.path, row.fields)
        }
        let answer = try await server.send(try #require(row.method), row.path, as: token, body: row.body)
        // A token that is none is refused before the route is reached, which is said of no public route.
        if api?.operations[row.route] != nil, !(answer.status == 401 && row.isOpen) {
            try api?.check(
                row.route,
                status: answer.status,
                mediaType: answer.headers[.contentType],
                answer.text
            )
        }
        return answer
    }

    /// Makes two organizations, everybody who asks, and what the paths name.
    static func prepare(_ server: AccountsServer, _ row: RouteRow) async throws -> [Who: String?] {
        let people: [String: Role] = ["owner": .owner, "editor": .editor, "auditor": .auditor, "member": .member]
        try await server.make("acme", people)
        try await server.make("other", ["stranger": .owner, "owner": .owner])
        try await server.services.store.makeTeam("backend", in: "acme", by: "owner", at: server.clock.now)
        try await RunningServer.begin("acme", server.services.publisher, SigningKey.generate())
        var scope = Permission.readPolicy
        var wider: Set<Permission> = []
        if case .members(_, let wanted, let other) = row.access {
            scope = wanted
            wider = Set([other].compactMap(\.self))
        }
        if case .server(_, let wanted) = row.access { scope = wanted }
        func token(_ name: String, _ scopes: Set<Permission>, _ organization: String) async throws -> String {
            try await server.services.store.makeAccessToken(
                named: name,
                of: "owner",
                in: organization,
                scopes: scopes,
                now: server.clock.now,
                expires: server.clock.now + 86_400
            ).secret
        }
        func signIn(_ name: String, in organization: String = "acme") async throws -> String {
            guard case .page = row.access else { return try await server.signIn(name, in: organization) }
            return try await server.signInBrowser(name)
        }
        return [
            .owner: try await signIn("owner"), .editor: try await signIn("editor"),
            .auditor: try await signIn("auditor"), .member: try await signIn("member"),
            .stranger: try await signIn("stranger", in: "other"), .nobody: nil,
            .forger: OpaqueToken(.access).secret, .device: try await server.makeDevice(device).secret,
            .tokenWithoutScope: try await token(
                "without",
                Set(Permission.allCases).subtracting([scope]).subtracting(wider),
                "acme"
            ),
            .tokenWithScope: try await token("with", [scope, .readPolicy], "acme"),
            .tokenOfAnother: try await token("another", Set(Permission.allCases), "other"),
        ]
    }

    /// What may only be changed by those who may: how many rows each table has, who is signed in and who is what.
    private static func content(_ server: AccountsServer) async throws -> [String] {
        let tables = try await server.services.store.database.read { database in
            try String.fetchAll(database, sql: "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        }
        var lines: [String] = []
        for table in tables { lines.append("\(table) \(try await server.count(table))") }
        lines.append("sessions \(try await server.count("session WHERE ended IS NULL"))")
        lines += try await server.services.store.members(of: "acme").map { "\($0)" }
        return lines
    }
}
