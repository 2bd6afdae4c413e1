import Hummingbird
import RegistryAccess

extension Router<ServerContext> {
    /// The members of an organization.
    func addMemberPages(_ dashboard: Dashboard) {
        let pages = MemberPages(dashboard: dashboard)
        dashboard.get(self, "members", .readMembers) { try await pages.list($0) }
        dashboard.get(self, "members/:user", .readMembers) { try await pages.page($0) }
        dashboard.post(self, "members/:user/role", .manageMembers) { try await pages.changeRole($0) }
        dashboard.get(self, "members/:user/remove", .manageMembers) { try await pages.removal($0).reply() }
        dashboard.post(self, "members/:user/remove", .manageMembers) { try await pages.remove($0) }
    }
}

struct MemberPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    // MARK: - The list

    fileprivate func list(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let query = visit.request.typedValue("q") ?? ""
        let role = visit.request.typedValue("role").flatMap(Role.init)
        let filter = MemberFilter(text: query.lowercased(), role: role)
        let count = try await services.store.memberCount(of: visit.organization)
        let found = try await services.store.memberCount(of: visit.organization, filter)
        let paging = Paging(count: found, page: try visit.request.queryNumber("page") ?? 1)
        let shown = try await services.store.members(of: visit.organization, filter, paging.range)
        let places = try await services.store.places(
            of: shown.map(\.name),
            in: visit.organization,
            at: services.now()
        )
        let address = visit.address("members")
        var content: [String: Any] = [
            "tabs": Self.tabs(visit, "members"), "address": address, "query": query,
            "isFiltered": !query.isEmpty || role != nil, "hasRows": found > 0,
            "rows": shown.map { Self.row($0, places[$0.name] ?? (0, 0), visit) },
            "count": Dashboard.count(count, "member", "members"),
            "found": Dashboard.digits(found),
            "mayManage": visit.may(.manageMembers), "invite": visit.address("invitations"),
        ]
        content["paging"] = paging.content { page in
            Dashboard.address(
                address,
                [("q", query), ("role", role?.rawValue ?? ""), ("page", "\(page)")]
            )
        }
        content["roles"] = Self.roles(role)
        return .page(Dashboard.Page(template: "members", title: "Members", content: content))
    }

    /// A member as templates name them.
    private static func row(
        _ member: Member,
        _ signedIn: (machines: Int, others: Int),
        _ visit: Dashboard.Visit
    ) -> [String: Any] {
        let (machines, others) = signedIn
        var places: [String] = []
        if machines > 0 { places.append(Dashboard.count(machines, "machine", "machines")) }
        if others > 0 { places.append(Dashboard.count(others, "browser or program", "browsers or programs")) }
        var ways: [String] = []
        if member.hasPassword { ways.append("Password") }
        if member.isLinked { ways.append("Single sign-on") }
        return [
            "name": member.name, "address": visit.address("members/\(member.name)"), "email": member.email ?? "",
            "hasEmail": member.email != nil, "memberRole": member.role.rawValue, "since": member.since.description,
            "tone": member.role == .owner ? "info" : "", "teams": member.teams.joined(separator: ", "),
            "hasTeams": !member.teams.isEmpty, "isSignedIn": !places.isEmpty,
            "places": places.joined(separator: ", "),
            "ways": ways.isEmpty ? "No way yet" : ways.joined(separator: ", "),
            "isMe": member.name == visit.person.name,
        ]
    }

    /// The roles to choose from, with what they mean.
    static func roles(_ chosen: Role?) -> [[String: Any]] {
        Role.allCases.map { role in
            let words =
                switch role {
                case .owner: "Owner: may do everything"
                case .editor: "Editor: changes the policy, reads the rest"
                case .auditor: "Auditor: reads everything, changes nothing"
                case .member: "Member: sees the policy"
                }
            return [
                "value": role.rawValue, "title": words.prefix { $0 != ":" }, "words": words, "isChosen": role == chosen,
            ]
        }
    }

    /// What members and invitations have in common.
    static func tabs(_ visit: Dashboard.Visit, _ current: String) -> [[String: Any]] {
        [("members", "Members"), ("invitations", "Invitations")].map { path, title in
            ["title": title, "address": visit.address(path), "isCurrent": path == current]
        }
    }

    // MARK: - One member

    fileprivate func page(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let name = try visit.context.parameters.require("user")
        let member = try await services.store.members(of: visit.organization, MemberFilter(name: name)).first
        guard let member else { throw Problem.none("member", name) }
        let owners = try await services.store.memberCount(of: visit.organization, MemberFilter(role: .owner))
        let sessions = try await services.store.sessions(
            in: visit.organization,
            Store.SessionSelection(user: name),
            at: services.now()
        )
        let machines = Set(sessions.compactMap(\.device)).count
        var content = Self.row(member, (machines, sessions.count { $0.device == nil }), visit)
        content["memberAddress"] = visit.address("members/\(name)")
        content["members"] = visit.address("members")
        content["teamLinks"] = member.teams.map { ["team": $0, "teamAddress": visit.address("teams/\($0)")] }
        content["rows"] = dashboard.sessionRows(sessions, visit)
        content["mayManage"] = visit.may(.manageMembers)
        content["mayEnd"] = visit.may(.endSessions)
        content["endAll"] = Dashboard.address(visit.address("sessions/end"), [("user", name)])
        if visit.may(.manageMembers), name != visit.person.name {
            content["passwordReset"] = visit.address("members/\(name)/password-reset")
        }
        content["isOnlyOwner"] = member.role == .owner && owners == 1
        content["roles"] = Self.roles(visit.fields["role"].flatMap(Role.init) ?? member.role)
        content["activityAddress"] = Dashboard.address(visit.address("activity"), [("person", name)])
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "member", title: name, content: content, status: status))
    }

    /// Does something that the last owner cannot have done, and tells it.
    private func change(
        _ visit: Dashboard.Visit,
        after question: Confirmation? = nil,
        _ body: (String) async throws -> Dashboard.Reply
    ) async throws -> Dashboard.Reply {
        let name = try visit.context.parameters.require("user")
        if let fault = try await dashboard.confirm(visit) {
            if let question { return question.reply(fault: fault) }
            return try await page(visit, ["passwordFault": fault], .forbidden)
        }
        do {
            return try await body(name)
        } catch let problem as Problem where problem.status == .conflict {
            return try await page(visit, ["fault": Dashboard.sentence(problem.detail)], problem.status)
        }
    }

    fileprivate func changeRole(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        guard let role = visit.fields["role"].flatMap(Role.init) else {
            throw Problem.faultyForm
        }
        return try await change(visit) { name in
            try await services.changeRole(of: name, to: role, in: visit.organization, by: visit.person.name)
            // Who was an owner may not see this page any more.
            let address = name == visit.person.name ? visit.address() : visit.address("members/\(name)")
            return .see(address, message: "\(name) is \(role.rawValue) now.")
        }
    }

    /// The question before somebody is removed.
    fileprivate func removal(_ visit: Dashboard.Visit) async throws -> Confirmation {
        let name = try visit.context.parameters.require("user")
        let count = try await services.store.memberCount(of: visit.organization, MemberFilter(name: name))
        guard count == 1 else { throw Problem.none("member", name) }
        return Confirmation(
            title: "Remove \(name) from \(visit.organization)?",
            lines: [
                "\(name == visit.person.name ? "That is you. You lose" : "They lose") the access tokens, invitations and "
                    + "team memberships here.",
                "The machines where \(name) is signed in refuse whatever touches a registry until another member signs in "
                    + "there.",
            ],
            button: "Remove \(name)",
            action: visit.address("members/\(name)/remove"),
            back: visit.address("members/\(name)")
        )
    }

    fileprivate func remove(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await change(visit, after: try await removal(visit)) { name in
            try await services.removeMember(name, from: visit.organization, by: visit.person.name)
            return .see(
                name == visit.person.name ? "/organizations" : visit.address("members"),
                message: "\(name) does not belong to \(visit.organization) any more, and is signed out on its machines."
            )
        }
    }
}
