import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// The teams of an organization, and which registries they have in addition.
    func addTeamPages(_ dashboard: Dashboard) {
        let pages = TeamPages(dashboard: dashboard)
        dashboard.get(self, "teams", .readPolicy) { try await pages.listPage($0) }
        dashboard.post(self, "teams", .manageMembers) { try await pages.make($0) }
        dashboard.get(self, "teams/:team", .readPolicy) { try await pages.page($0) }
        dashboard.post(self, "teams/:team/rename", .manageMembers) { try await pages.rename($0) }
        dashboard.get(self, "teams/:team/remove", .manageMembers) { try await pages.askToRemove($0) }
        dashboard.post(self, "teams/:team/remove", .manageMembers) { try await pages.remove($0) }
        dashboard.post(self, "teams/:team/members/add", .manageMembers) { try await pages.setMember($0, isIn: true) }
        dashboard.post(self, "teams/:team/members/remove", .manageMembers) {
            try await pages.setMember($0, isIn: false)
        }
        let registries = TeamRegistryPages(dashboard: dashboard)
        dashboard.get(self, "teams/:team/registries/add", .editPolicy) { try await registries.form($0) }
        dashboard.post(self, "teams/:team/registries/add", .editPolicy) { try await registries.save($0) }
        dashboard.get(self, "teams/:team/registries/edit", .editPolicy) { try await registries.form($0) }
        dashboard.post(self, "teams/:team/registries/edit", .editPolicy) { try await registries.save($0) }
        dashboard.get(self, "teams/:team/registries/remove", .editPolicy) { try await registries.askToRemove($0) }
        dashboard.post(self, "teams/:team/registries/remove", .editPolicy) { try await registries.remove($0) }
    }
}

/// Teams and who is in them.
///
/// Members see of a team what the policy tells everybody: its name, and which registries it has in addition.
struct TeamPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    fileprivate func listPage(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let registries = try await services.publisher.served.policy(of: visit.organization)?.teams ?? [:]
        let seesMembers = visit.may(.readMembers)
        var teams = try await services.store.teamNames(of: visit.organization)
        if !seesMembers { teams = teams.filter { registries[$0] != nil } }
        let query = visit.request.typedValue("q") ?? ""
        let found = query.isEmpty ? teams : teams.filter { $0.contains(query.lowercased()) }
        let paging = Paging(count: found.count, page: try visit.request.queryNumber("page") ?? 1)
        let shown = Array(found[paging.range])
        let members =
            seesMembers ? try await services.store.memberCounts(ofTeams: shown, in: visit.organization) : [:]
        let address = visit.address("teams")
        var content: [String: Any] = [
            "address": address, "query": query, "isFiltered": !query.isEmpty, "hasRows": !found.isEmpty,
            "seesMembers": seesMembers, "mayManage": visit.may(.manageMembers), "team": visit.fields["team"] ?? "",
            "count": Dashboard.count(teams.count, "team", "teams"),
            "found": Dashboard.digits(found.count),
            "showsSearch": teams.count > Paging.size || !query.isEmpty,
        ]
        content["rows"] = shown.map { team in
            [
                "name": team, "teamAddress": "\(address)/\(team)",
                "members": Dashboard.count(members[team] ?? 0, "member", "members"),
                "registries": Self.words(registries[team]?.count ?? 0),
            ]
        }
        content["paging"] = paging.content { page in
            Dashboard.address(address, [("q", query), ("page", "\(page)")])
        }
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "teams", title: "Teams", content: content, status: status))
    }

    private static func words(_ registries: Int) -> String {
        registries == 0 ? "none" : Dashboard.count(registries, "registry", "registries")
    }

    fileprivate func make(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let name = visit.fields["team"] ?? ""
        do {
            try await services.makeTeam(name, in: visit.organization, by: visit.person.name)
        } catch let problem as Problem where problem.status == .badRequest || problem.status == .conflict {
            return try await listPage(visit, ["teamFault": Dashboard.sentence(problem.detail)], problem.status)
        }
        return .see(visit.address("teams/\(name)"), message: "There is a team \(name) now. Nobody is in it yet.")
    }

    // MARK: - One team

    /// The team that the path names.
    ///
    /// - Parameters:
    ///   - visit: the request.
    ///   - services: where it is looked for.
    /// - Returns: its name.
    /// - Throws: ``Problem`` if there is none.
    static func team(_ visit: Dashboard.Visit, _ services: Services) async throws -> String {
        let name = try visit.context.parameters.require("team")
        guard try await services.store.hasTeam(name, in: visit.organization) else { throw Problem.none("team", name) }
        return name
    }

    fileprivate func page(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let team = try await Self.team(visit, services)
        let document = try await services.publisher.served.policy(of: visit.organization)
        let rules = document?.teams[team] ?? []
        let address = visit.address("teams/\(team)")
        var content: [String: Any] = [
            "teams": visit.address("teams"), "address": address, "teamAddress": address, "name": team,
            "mayManage": visit.may(.manageMembers), "hasPolicy": document != nil,
            "hasRegistries": !rules.isEmpty, "everybody": visit.address("registry-access"),
            "registries": Dashboard.count(rules.count, "registry", "registries"),
        ]
        let rulePaging = Paging(count: rules.count, page: try number("entries", visit))
        let memberPage = try number("page", visit)
        // Each of the two lists keeps where the other one stands.
        func place(entries: Int, members: Int) -> String {
            Dashboard.address(
                address,
                [("entries", entries > 1 ? "\(entries)" : ""), ("page", members > 1 ? "\(members)" : "")]
            )
        }
        content["rules"] = rulePaging.range.map { index in
            var row = RegistryAccessPages.content(of: rules[index])
            row["rule"] = RuleName(rules[index], at: index).description
            return row
        }
        content["rulePaging"] = ["paging": rulePaging.content { place(entries: $0, members: memberPage) }]
        if let document {
            let warnings = document.policy(for: [team]).warnings.unknown(to: document.policy)
            content["warnings"] = warnings.prefix(20).map(Dashboard.sentence)
            content["hasWarnings"] = !warnings.isEmpty
        }
        if visit.may(.readMembers) {
            let counts = try await services.store.memberCounts(ofTeams: [team], in: visit.organization)
            let count = counts[team] ?? 0
            let paging = Paging(count: count, page: memberPage)
            let shown = try await services.store.members(ofTeam: team, in: visit.organization, paging.range)
            content["seesMembers"] = true
            content["hasMembers"] = count > 0
            content["members"] = shown.map { ["member": $0, "memberAddress": visit.address("members/\($0)")] }
            content["memberCount"] = Dashboard.count(count, "member", "members")
            content["memberPaging"] = ["paging": paging.content { place(entries: rulePaging.page, members: $0) }]
        }
        if visit.may(.manageMembers) {
            // As many names as a page can carry; others are typed.
            content["candidates"] = try await services.store.members(
                notInTeam: team,
                in: visit.organization,
                atMost: 200
            )
            content["user"] = visit.fields["user"] ?? ""
            content["newName"] = visit.fields["team"] ?? team
        }
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "team", title: "Team \(team)", content: content, status: status))
    }

    private func number(_ name: String, _ visit: Dashboard.Visit) throws -> Int {
        try visit.request.queryNumber(name) ?? 1
    }

    fileprivate func setMember(_ visit: Dashboard.Visit, isIn: Bool) async throws -> Dashboard.Reply {
        let team = try await Self.team(visit, services)
        let user = Names.typed(visit.fields["user"]) ?? ""
        do {
            try await services.setMember(
                user,
                ofTeam: team,
                isIn: isIn,
                in: visit.organization,
                by: visit.person.name
            )
        } catch let problem as Problem where problem.status == .notFound {
            let fault =
                user.isEmpty
                ? "Enter the name of a member."
                : "Nobody of this name belongs to the organization. Invite them first."
            return try await page(visit, ["userFault": fault], .unprocessableContent)
        }
        return .see(
            visit.address("teams/\(team)"),
            message: isIn
                ? "\(user) is in \(team) now; their machines go by it with their next ticket."
                : "\(user) is not in \(team) any more."
        )
    }

    fileprivate func rename(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let team = try await Self.team(visit, services)
        let new = visit.fields["team"] ?? ""
        if let fault = try await dashboard.confirm(visit) {
            return try await page(visit, ["passwordFault": fault], .forbidden)
        }
        do {
            try await services.renameTeam(team, to: new, in: visit.organization, by: visit.person)
        } catch let problem as Problem where problem.status == .badRequest || problem.status == .conflict {
            return try await page(visit, ["nameFault": Dashboard.sentence(problem.detail)], problem.status)
        }
        return .see(visit.address("teams/\(new)"), message: "The team \(team) is called \(new) now.")
    }

    private func removal(of team: String, _ visit: Dashboard.Visit) async throws -> Confirmation {
        let members = try await services.store.memberCounts(ofTeams: [team], in: visit.organization)[team] ?? 0
        let rules = try await services.publisher.served.policy(of: visit.organization)?.teams[team]?.count ?? 0
        var lines =
            switch members {
            case 0: ["Nobody is in it."]
            case 1: ["Its one member stays in \(visit.organization)."]
            default: ["\(Dashboard.count(members, "member", "members")) of it stay in \(visit.organization)."]
            }
        if rules > 0 {
            let registries = Dashboard.count(rules, "registry", "registries")
            let loss =
                members == 0
                ? "What it has in addition (\(registries)) goes with it"
                : "They lose what the team had in addition (\(registries))"
            lines.append("\(loss), with a new version of the policy that is applied at once.")
        }
        return Confirmation(
            title: "Remove the team \(team)?",
            lines: lines,
            button: "Remove \(team)",
            action: visit.address("teams/\(team)/remove"),
            back: visit.address("teams/\(team)")
        )
    }

    fileprivate func askToRemove(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await removal(of: try await Self.team(visit, services), visit).reply()
    }

    fileprivate func remove(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let team = try await Self.team(visit, services)
        if let fault = try await dashboard.confirm(visit) {
            return try await removal(of: team, visit).reply(fault: fault)
        }
        try await services.removeTeam(team, from: visit.organization, by: visit.person)
        return .see(
            visit.address("teams"),
            message: "The team \(team) is removed, and what it had in addition. Its members stay."
        )
    }
}

/// The registries that a team has in addition.
///
/// There is no draft of them: what is saved is in force at once, as the next version of the policy.
struct TeamRegistryPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    /// What a team has in addition, and in which version of the policy.
    private struct Additions {
        let team: String
        let version: Int
        let rules: [RegistryRule]

        /// The rules as a policy of their own.
        func policy(of organization: String) -> AccessPolicy {
            AccessPolicy(version: version, organization: organization, rules: rules)
        }
    }

    private func additions(_ visit: Dashboard.Visit) async throws -> Additions {
        let team = try await TeamPages.team(visit, services)
        guard let document = try await services.publisher.served.policy(of: visit.organization) else {
            throw Problem(.notFound, .notFound, "\"\(visit.organization)\" has no policy yet")
        }
        return Additions(team: team, version: document.version, rules: document.teams[team] ?? [])
    }

    fileprivate func form(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let additions = try await additions(visit)
        guard visit.request.uri.path.hasSuffix("/edit") else {
            var form = RegistryForm()
            form.address = try visit.request.queryValue("address") ?? ""
            return page(form, nil, additions, visit)
        }
        let name = try visit.request.queryValue("rule")
        return page(RegistryForm(additions.rules[try place(name, additions)]), name, additions, visit)
    }

    private func place(_ name: String?, _ additions: Additions) throws(Problem) -> Int {
        guard let place = name.flatMap(RuleName.init)?.place(in: additions.rules) else {
            throw Problem(
                .conflict,
                .changedMeanwhile,
                "somebody has changed or removed this registry meanwhile, so nothing was done",
                hint: "go back to the team and look at it as it is now"
            )
        }
        return place
    }

    private static let conflict =
        "Somebody has saved another version of the policy since you looked at it, so nothing was done. "
        + "What you typed is still here; look at the team as it is now, and save again if it is still meant."

    fileprivate func save(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let additions = try await additions(visit)
        let seen = try visit.number("policy")
        let isEdit = visit.request.uri.path.hasSuffix("/edit")
        let name = isEdit ? visit.fields["rule"] : nil
        var form = RegistryForm(fields: visit.fields)
        func again(
            _ status: HTTPResponse.Status,
            form fault: String? = nil,
            _ more: [String: Any] = [:]
        ) -> Dashboard.Reply {
            if let fault { form.faults["form"] = fault }
            return page(form, name, additions, visit, more, status)
        }
        let place: Int?
        do {
            place = isEdit ? try self.place(name, additions) : nil
        } catch {
            return again(
                .conflict,
                form: "Somebody has changed or removed this registry meanwhile. "
                    + "What you typed is still here: copy what you need, and look at the team."
            )
        }
        guard let rule = form.rule(in: additions.policy(of: visit.organization), replacing: place) else {
            return again(.unprocessableContent)
        }
        if let fault = try await dashboard.confirm(visit) { return again(.forbidden, ["passwordFault": fault]) }
        do {
            let version = try await publish(visit, additions, seen) { rules in
                if let place { rules[place] = rule } else { rules.append(rule) }
            }
            return .see(
                visit.address("teams/\(additions.team)"),
                message: "Version \(version) is saved and applied: "
                    + "\(rule.address) is \(rule.isAllowed ? "allowed" : "not allowed") for \(additions.team)."
            )
        } catch let problem as Problem where problem.code == .changedMeanwhile {
            return again(.preconditionFailed, form: Self.conflict)
        } catch let problem as Problem where problem.code == .locksOut {
            return again(.unprocessableContent, ["lockOut": Dashboard.sentence(problem.detail)])
        }
    }

    /// Saves what the team has in addition as the next version of the policy.
    private func publish(
        _ visit: Dashboard.Visit,
        _ additions: Additions,
        _ seen: Int,
        _ change: (inout [RegistryRule]) -> Void
    ) async throws -> Int {
        // Where a rule stands was looked up in this version.
        guard seen == additions.version else {
            throw Problem(.preconditionFailed, .changedMeanwhile, "the policy has another version now")
        }
        var rules = additions.rules
        change(&rules)
        let changed = rules
        return try await services.publisher.publish(
            in: visit.organization,
            by: visit.person.name,
            expecting: seen,
            acknowledgingLockOut: visit.fields["acknowledgeLockOut"] == "on"
        ) { content in
            var content = content
            content.teams[additions.team] = changed
            return content
        }.document.version
    }

    private func page(
        _ form: RegistryForm,
        _ name: String?,
        _ additions: Additions,
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) -> Dashboard.Reply {
        let base = visit.address("teams/\(additions.team)")
        var content = form.content
        content["base"] = base
        content["baseTitle"] = "Team \(additions.team)"
        content["isDirect"] = true
        content["policyVersion"] = additions.version
        content["isEdit"] = name != nil
        content["rule"] = name
        content["action"] = "\(base)/registries/\(name == nil ? "add" : "edit")"
        content["suggestions"] = RegistryForm.suggestions
        content.merge(more) { _, new in new }
        let title =
            name == nil ? "Add a registry for \(additions.team)" : "Edit \(form.address) for \(additions.team)"
        return .page(Dashboard.Page(template: "registry", title: title, content: content, status: status))
    }

    // MARK: - Removing

    fileprivate func askToRemove(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let additions = try await additions(visit)
        return try removal(of: try visit.request.queryValue("rule"), additions, visit)
    }

    private func removal(
        of name: String?,
        _ additions: Additions,
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) throws -> Dashboard.Reply {
        let rule = additions.rules[try place(name, additions)]
        let base = visit.address("teams/\(additions.team)")
        var content = RegistryAccessPages.content(of: rule)
        content["base"] = base
        content["team"] = additions.team
        content["rule"] = name
        content["policyVersion"] = additions.version
        content["action"] = "\(base)/registries/remove"
        content.merge(more) { _, new in new }
        let title = "Remove \(rule.address) from \(additions.team)"
        return .page(
            Dashboard.Page(template: "team-registry-remove", title: title, content: content, status: status)
        )
    }

    fileprivate func remove(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let additions = try await additions(visit)
        let seen = try visit.number("policy")
        let name = visit.fields["rule"]
        let place = try place(name, additions)
        if let fault = try await dashboard.confirm(visit) {
            return try removal(of: name, additions, visit, ["passwordFault": fault], .forbidden)
        }
        do {
            let version = try await publish(visit, additions, seen) { $0.remove(at: place) }
            return .see(
                visit.address("teams/\(additions.team)"),
                message: "Version \(version) is saved and applied: "
                    + "\(additions.rules[place].address) is not among the registries of \(additions.team) any more."
            )
        } catch let problem as Problem where problem.code == .changedMeanwhile {
            let conflict = "Somebody has saved another version of the policy meanwhile. Remove it again if it is meant."
            return try removal(of: name, additions, visit, ["conflict": conflict], .preconditionFailed)
        } catch let problem as Problem where problem.code == .locksOut {
            let lockOut = Dashboard.sentence(problem.detail)
            return try removal(of: name, additions, visit, ["lockOut": lockOut], .unprocessableContent)
        }
    }
}
