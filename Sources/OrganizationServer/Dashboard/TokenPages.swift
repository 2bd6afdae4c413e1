import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// Access tokens: one's own, and everybody's to revoke for owners, to read for editors and auditors.
    func addTokenPages(_ dashboard: Dashboard) {
        let pages = TokenPages(dashboard: dashboard)
        dashboard.get(self, "settings/tokens", .readPolicy) { try await pages.page($0) }
        dashboard.post(self, "settings/tokens", .readPolicy) { try await pages.make($0) }
        dashboard.get(self, "settings/tokens/:token/revoke", .readPolicy) { try await pages.ask($0) }
        dashboard.post(self, "settings/tokens/:token/revoke", .readPolicy) { try await pages.revoke($0) }
    }
}

struct TokenPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    private static let soonSeconds: Int64 = 14 * 86_400

    /// Whose tokens somebody may revoke: everybody's, or their own.
    private func owner(_ visit: Dashboard.Visit) -> String? { visit.may(.manageTokens) ? nil : visit.person.name }

    // MARK: - The list

    fileprivate func page(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let now = services.now()
        let seesAll = visit.may(.readSettings)
        let tokens = try await services.store.accessTokens(
            in: visit.organization,
            of: seesAll ? nil : visit.person.name
        )
        var content = SettingsTab.tokens.head(visit)
        content["seesAll"] = seesAll
        content["revokesAll"] = owner(visit) == nil
        content["hasTokens"] = !tokens.isEmpty
        content["tokens"] = tokens.map { token in
            var row: [String: Any] = [
                "name": token.name, "user": token.user, "scopes": token.scopes.joined(separator: ", "),
                "created": token.created.description, "expires": token.expires.description,
                "isOver": token.expires <= now,
                "isEnding": token.expires > now && token.expires - now < Self.soonSeconds,
            ]
            if owner(visit).map({ $0 == token.user }) ?? true {
                row["revokeAddress"] = visit.address("settings/tokens/\(token.id)/revoke")
            }
            row["lastUsed"] = token.lastUsed?.description
            return row
        }
        content["name"] = visit.fields["name"] ?? ""
        content["days"] = visit.fields["days"] ?? "90"
        content["scopes"] = Permission.allCases.filter(visit.may).map { permission in
            let isOn = visit.fields["scope-\(permission.rawValue)"] != nil
            return ["value": permission.rawValue, "title": Self.title(of: permission), "isOn": isOn] as [String: Any]
        }
        content.merge(more) { _, new in new }
        return .page(
            Dashboard.Page(template: "tokens", title: "Settings: access tokens", content: content, status: status)
        )
    }

    private static func title(of permission: Permission) -> String {
        switch permission {
        case .readPolicy: "Read the policy and its versions"
        case .editPolicy: "Change the policy"
        case .readActivity: "Read the activity and what was refused"
        case .readMachines: "See machines"
        case .manageMachines: "Take machines out, make enrollment tokens"
        case .readMembers: "See members, teams, invitations and sessions"
        case .manageMembers: "Change members, teams and invitations"
        case .manageTokens: "Make and revoke access tokens of everybody"
        case .endSessions: "Make people sign in again"
        case .readSettings: "See the settings, the keys, and what tokens there are"
        case .manageSettings: "Change the settings, single sign-on and keys"
        case .readMetrics: "Read the figures of the whole server"
        }
    }

    // MARK: - A new one

    fileprivate func make(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        var faults: [String: Any] = [:]
        let name = visit.fields["name"] ?? ""
        if !Names.isLabel(name, longest: 80) {
            faults["nameFault"] = "A name has 1 to 80 bytes and no control characters."
        }
        let days = visit.fields["days"].flatMap { WholeNumber.read($0) } ?? 0
        if !(1...365).contains(days) { faults["daysFault"] = "A token is good for 1 to 365 days." }
        let scopes = Set(Permission.allCases.filter { visit.fields["scope-\($0.rawValue)"] != nil })
        if scopes.isEmpty { faults["scopesFault"] = "Choose what the token may do." }
        guard faults.isEmpty else { return try await page(visit, faults, .unprocessableContent) }
        if let fault = try await dashboard.confirm(visit) {
            return try await page(visit, ["passwordFault": fault], .forbidden)
        }
        do {
            let (token, expires) = try await services.makeAccessToken(
                named: name,
                of: visit.person,
                in: visit.organization,
                scopes: scopes,
                days: days
            )
            return .page(
                Dashboard.Page(
                    template: "secret",
                    title: "Access token \(name)",
                    content: [
                        "label": "The token", "secret": token.secret, "expires": expires.description,
                        "back": visit.address("settings/tokens"),
                        "use": "Programs send it as \"Authorization: Bearer ...\"; machines without a person sign in "
                            + "with it.",
                    ]
                )
            )
        } catch let problem as Problem where problem.code == .conflict {
            return try await page(visit, ["nameFault": Dashboard.sentence(problem.detail)], .conflict)
        }
    }

    // MARK: - The end of one

    private func question(_ visit: Dashboard.Visit) async throws -> (Confirmation, String) {
        let id = try visit.context.parameters.require("token")
        let tokens = try await services.store.accessTokens(in: visit.organization, of: owner(visit))
        guard let token = tokens.first(where: { $0.id == id }) else {
            throw Problem(.notFound, .notFound, "there is no such access token", hint: "it may be revoked already")
        }
        let question = Confirmation(
            title: "Revoke the access token \(token.name)?",
            lines: [
                "It belongs to \(token.user), and may: \(token.scopes.joined(separator: ", ")).",
                "What uses it is refused at once. The sessions that were begun with it end, and so do the access tokens "
                    + "that were made with it.",
            ],
            button: "Revoke it",
            action: visit.address("settings/tokens/\(id)/revoke"),
            back: visit.address("settings/tokens")
        )
        return (question, token.name)
    }

    fileprivate func ask(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await question(visit).0.reply()
    }

    fileprivate func revoke(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let (question, name) = try await question(visit)
        if let fault = try await dashboard.confirm(visit) { return question.reply(fault: fault) }
        _ = try await services.store.deleteAccessToken(
            try visit.context.parameters.require("token"),
            in: visit.organization,
            of: owner(visit),
            by: visit.person.name,
            at: services.now()
        )
        await services.changes.notify(visit.organization)
        return .see(question.back, message: "The access token \(name) is revoked.")
    }
}
