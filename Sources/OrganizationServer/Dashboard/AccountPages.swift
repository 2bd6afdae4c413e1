import Hummingbird
import RegistryAccess

extension Router<ServerContext> {
    /// What somebody has of their own: their password, their sessions and their organizations.
    func addAccountPages(_ dashboard: Dashboard) {
        let pages = AccountPages(dashboard: dashboard)
        dashboard.get(self, own: "account") { try await pages.page($0) }
        dashboard.post(self, own: "account/password") { try await pages.changePassword($0) }
        dashboard.post(self, own: "account/sessions/end") { try await pages.endSessions($0) }
    }
}

struct AccountPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    fileprivate func page(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let account = try await services.store.account(named: visit.person.name)
        let sessions = try await services.store.sessions(of: visit.person, at: services.now())
        var content: [String: Any] = [
            "hasPassword": account?.password != nil, "showsWhere": true,
            "rows": dashboard.sessionRows(sessions, visit), "endHere": true,
            "hasOthers": sessions.contains { $0.id != visit.browser.id },
            "count": Dashboard.count(sessions.count, "session", "sessions"),
        ]
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "account", title: "Your account", content: content, status: status))
    }

    fileprivate func changePassword(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        guard let current = visit.fields["current"], let new = visit.fields["new"] else {
            return try await page(
                visit,
                ["newFault": "Enter your password, and the new one twice."],
                .unprocessableContent
            )
        }
        guard visit.fields["repeated"] == new else {
            return try await page(
                visit,
                ["newFault": "The two new passwords are not the same. Nothing was changed."],
                .unprocessableContent
            )
        }
        do {
            try await services.changePassword(
                of: visit.person,
                from: Password(current),
                to: Password(new),
                visit.context.address
            )
        } catch let problem as Problem where problem.status == .badRequest || problem.status == .forbidden {
            let field = problem.status == .forbidden ? "currentFault" : "newFault"
            return try await page(visit, [field: Dashboard.sentence(problem.detail)], problem.status)
        }
        return .see("/account", message: "Your password is changed, and your other sessions are ended.")
    }

    fileprivate func endSessions(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let selection: Store.OwnSessions
        switch (visit.fields["session"], visit.fields["others"]) {
        case (let session?, nil): selection = .one(session)
        case (nil, "true"): selection = .allBut(visit.browser.id)
        default: throw Problem.faultyForm
        }
        let count = try await services.endSessions(of: visit.person, selection)
        let message =
            count == 0
            ? "There was no such session any more."
            : "\(Dashboard.count(count, "session is ended", "sessions are ended"))."
        return .see("/account", message: message)
    }
}
