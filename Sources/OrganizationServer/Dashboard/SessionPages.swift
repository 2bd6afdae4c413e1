import Hummingbird
import RegistryAccess

extension Router<ServerContext> {
    /// Who is signed in where, and making people sign in again.
    func addSessionPages(_ dashboard: Dashboard) {
        let pages = SessionPages(dashboard: dashboard)
        dashboard.get(self, "sessions", .readMembers) { try await pages.list($0) }
        dashboard.get(self, "sessions/end", .endSessions) { try await pages.ask($0) }
        dashboard.post(self, "sessions/end", .endSessions) { try await pages.end($0) }
    }
}

extension Dashboard {
    /// Sessions as templates name them.
    ///
    /// - Parameters:
    ///   - sessions: the sessions of a page.
    ///   - visit: who looks at them.
    /// - Returns: rows of the template `session-table`.
    func sessionRows(_ sessions: some Sequence<Session>, _ visit: Visit) -> [[String: Any]] {
        sessions.map { session in
            var place = session.isBrowser ? "Browser" : session.isOfAccessToken ? "Access token" : "Program"
            var device: String?
            if let id = session.device, let organization = session.organization {
                place = session.deviceName ?? id
                if visit.person.may(.readMachines, in: organization) {
                    device = "/organizations/\(organization)/devices/\(id)"
                }
            }
            var row: [String: Any] = [
                "session": session.id, "user": session.user, "place": place, "from": session.address,
                "signedIn": session.created.description, "lastUsed": session.refreshed.description,
                "isMine": session.id == visit.browser.id, "isMachine": session.device != nil,
                "where": session.organization ?? "all organizations",
                "member": visit.organization.isEmpty ? "" : visit.address("members/\(session.user)"),
                "end": visit.organization.isEmpty
                    ? "" : Dashboard.address(visit.address("sessions/end"), [("session", session.id)]),
            ]
            row["device"] = device
            return row
        }
    }
}

struct SessionPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    fileprivate func list(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let query = visit.request.typedValue("q") ?? ""
        let text = query.lowercased()
        let now = services.now()
        let all = try await services.store.sessionCounts(in: visit.organization, Store.SessionSelection(), at: now)
        let found = try await services.store.sessionCounts(
            in: visit.organization,
            Store.SessionSelection(),
            holding: text,
            at: now
        ).sessions
        let paging = Paging(count: found, page: try visit.request.queryNumber("page") ?? 1)
        let address = visit.address("sessions")
        var content: [String: Any] = [
            "address": address, "query": query, "isFiltered": !query.isEmpty, "hasRows": found > 0, "showsUser": true,
            "counts": Self.words(all), "mayEnd": visit.may(.endSessions),
            "endAll": "\(address)/end?everybody=true",
        ]
        let sessions = try await services.store.sessions(
            in: visit.organization,
            holding: text,
            paging.range,
            at: now
        )
        content["rows"] = dashboard.sessionRows(sessions, visit)
        content["found"] = Dashboard.count(found, "session", "sessions")
        content["paging"] = paging.content { page in
            Dashboard.address(address, [("q", query), ("page", "\(page)")])
        }
        return .page(Dashboard.Page(template: "sessions", title: "Sessions", content: content))
    }

    // MARK: - Signing in again

    private static func words(_ counts: Store.SessionCounts) -> String {
        [
            Dashboard.count(counts.sessions, "session", "sessions"),
            Dashboard.count(counts.people, "person", "people"),
            Dashboard.count(counts.machines, "machine", "machines"),
        ].joined(separator: ", ")
    }

    /// What is ended: one of three, and what a form does not say is not everything.
    private enum Target {
        case everybody
        case user(String)
        case session(String)

        init(everybody: String?, user: String?, session: String?) throws(Problem) {
            switch (everybody, user, session) {
            case ("true", nil, nil): self = .everybody
            case (nil, let user?, nil) where !user.isEmpty: self = .user(user)
            case (nil, nil, let session?) where !session.isEmpty: self = .session(session)
            default: throw Problem.faultyForm
            }
        }

        var selection: Store.SessionSelection {
            switch self {
            case .everybody: Store.SessionSelection()
            case .user(let user): Store.SessionSelection(user: user)
            case .session(let session): Store.SessionSelection(id: session)
            }
        }

        var field: (name: String, value: String) {
            switch self {
            case .everybody: ("everybody", "true")
            case .user(let user): ("user", user)
            case .session(let session): ("session", session)
            }
        }
    }

    fileprivate func ask(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let target = try Target(
            everybody: visit.request.queryValue("everybody"),
            user: visit.request.queryValue("user"),
            session: visit.request.queryValue("session")
        )
        return try await page(target, visit)
    }

    /// How many sessions are ended, and whether that of the browser that asks is one of them.
    private func affected(_ target: Target, _ visit: Dashboard.Visit) async throws -> (
        counts: Store.SessionCounts, isMineToo: Bool
    ) {
        let counts = try await services.store.sessionCounts(
            in: visit.organization,
            target.selection,
            at: services.now()
        )
        if case .session = target, counts.sessions == 0 {
            throw Problem(.notFound, .notFound, "there is no such session any more", hint: "it has ended already")
        }
        if case .user(let name) = target {
            let count = try await services.store.memberCount(of: visit.organization, MemberFilter(name: name))
            guard count == 1 else { throw Problem.none("member", name) }
        }
        let isMineToo =
            switch target {
            case .everybody: true
            case .user(let user): user == visit.person.name
            case .session(let session): session == visit.browser.id
            }
        return (counts, isMineToo)
    }

    private func page(
        _ target: Target,
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let (affected, isMineToo) = try await affected(target, visit)
        var content: [String: Any] = [
            "sessions": visit.address("sessions"), "action": visit.address("sessions/end"),
            "field": target.field.name, "value": target.field.value,
            "sessionCount": affected.sessions, "peopleCount": affected.people, "machineCount": affected.machines,
            "sessionWord": affected.sessions == 1 ? "session" : "sessions",
            "peopleWord": affected.people == 1 ? "person" : "people",
            "machineWord": affected.machines == 1 ? "machine" : "machines",
            "isNobody": affected.sessions == 0, "hasMachines": affected.machines > 0, "isMineToo": isMineToo,
        ]
        let title: String
        switch target {
        case .everybody:
            title = "Force everybody to sign in again"
            content["button"] = title
        case .user(let user):
            title = "Force \(user) to sign in again"
            content["button"] = title
        case .session:
            title = "End a session"
            content["button"] = "End this session"
            let sessions = try await services.store.sessions(
                in: visit.organization,
                target.selection,
                at: services.now()
            )
            content["one"] = dashboard.sessionRows(sessions, visit).first
        }
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "session-end", title: title, content: content, status: status))
    }

    fileprivate func end(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let target = try Target(
            everybody: visit.fields["everybody"],
            user: visit.fields["user"],
            session: visit.fields["session"]
        )
        let isMineToo = try await affected(target, visit).isMineToo
        if let fault = try await dashboard.confirm(visit) {
            return try await page(target, visit, ["passwordFault": fault], .forbidden)
        }
        let count = try await services.endSessions(in: visit.organization, target.selection, by: visit.person.name)
        let ended = Dashboard.count(count, "session is ended", "sessions are ended")
        let who =
            switch target {
            case .everybody: "Everybody has to sign in again."
            case .user(let user): "\(user) has to sign in again."
            case .session: "Whoever had it has to sign in again."
            }
        let message = "\(ended). \(who) Connected machines know of it within seconds."
        return .see(isMineToo ? "/sign-in" : visit.address("sessions"), message: message)
    }
}
