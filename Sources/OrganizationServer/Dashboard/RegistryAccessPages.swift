import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// The registries of an organization: the list, and the forms that prepare changes of it.
    func addRegistryAccessPages(_ dashboard: Dashboard) {
        let pages = RegistryAccessPages(dashboard: dashboard)
        dashboard.get(self, "registry-access", .readPolicy) { try await pages.list($0) }
        dashboard.post(self, "registry-access/switch", .editPolicy) { try await pages.change($0, pages.switched) }
        dashboard.post(self, "registry-access/allow", .editPolicy) { try await pages.changeRule($0, .allow) }
        dashboard.post(self, "registry-access/disallow", .editPolicy) { try await pages.changeRule($0, .disallow) }
        dashboard.post(self, "registry-access/remove", .editPolicy) { try await pages.changeRule($0, .remove) }
        dashboard.post(self, "registry-access/keep", .editPolicy) { try await pages.keep($0) }
        dashboard.get(self, "registry-access/add", .editPolicy) { try await pages.form($0) }
        dashboard.post(self, "registry-access/add", .editPolicy) { try await pages.save($0) }
        dashboard.get(self, "registry-access/edit", .editPolicy) { try await pages.form($0) }
        dashboard.post(self, "registry-access/edit", .editPolicy) { try await pages.save($0) }
    }
}

/// The list of registries.
///
/// Every change goes to the draft; nothing reaches a machine before it is saved and applied.
struct RegistryAccessPages: Sendable {
    let dashboard: Dashboard

    /// What is prepared, for those who may see that; what is in force for everybody else.
    private func staged(_ visit: Dashboard.Visit) async throws -> StagedPolicy {
        try await dashboard.staged.staged(of: visit.organization, withDraft: visit.may(.editPolicy))
    }

    // MARK: - The list

    fileprivate func list(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let staged = try await staged(visit)
        let query = visit.request.typedValue("q") ?? ""
        let show = visit.request.typedValue("show").flatMap(Show.init) ?? .all
        let rules = staged.policy.rules
        var found = staged.search.rules(holding: query)
        if show != .all { found = found.filter { show.holds(rules[$0], staged) } }
        // What is to be removed is behind the others, with the way back.
        let removed = show == .touched ? staged.difference.removed : []
        let foundRemoved = removed.isEmpty ? [] : RuleSearch(removed).rules(holding: query)
        let paging = Paging(
            count: found.count + foundRemoved.count,
            page: try visit.request.queryNumber("page") ?? 1
        )
        let address = visit.address("registry-access")
        var content = Self.head(staged, visit, "registries")
        let ends = try await dashboard.services.ends(in: visit.organization)
        content["rows"] = paging.range.map { position in
            guard position < found.count else {
                let index = foundRemoved[position - found.count]
                var row = row(removed[index], at: index, staged)
                row["isRemoved"] = true
                return row
            }
            let index = found[position]
            var row = row(rules[index], at: index, staged)
            row["until"] = ends[rules[index]]?.description
            return row
        }
        content["paging"] = paging.content { page in
            Dashboard.address(
                address,
                [("q", query), ("show", show == .all ? "" : show.rawValue), ("page", "\(page)")]
            )
        }
        content["query"] = query
        content["searched"] = query.isEmpty ? nil : query
        content["isFiltered"] = !query.isEmpty || show != .all
        content["isEmpty"] = rules.isEmpty
        content["count"] = Dashboard.count(rules.count, "registry", "registries")
        content["found"] = Dashboard.digits(found.count)
        content["removed"] = foundRemoved.isEmpty ? nil : Dashboard.digits(foundRemoved.count)
        content["hasRows"] = !paging.range.isEmpty
        content["shows"] = Show.allCases.filter { $0 != .touched || visit.may(.editPolicy) }.map { other in
            ["value": other.rawValue, "title": other.title, "isCurrent": other == show] as [String: Any]
        }
        content["back"] = visit.request.uri.string
        content.merge(Self.state(staged)) { _, new in new }
        if visit.may(.readActivity) {
            content["standing"] = StandingWarnings.content(dashboard.staged.warnings(of: staged.inForce))
        }
        return .page(Dashboard.Page(template: "registries", title: "Registry Access", content: content))
    }

    /// What holds on the machines now, and what will once the draft is saved.
    private static func state(_ staged: StagedPolicy) -> [String: Any] {
        let inForce = staged.inForce.policy
        let (now, next) = (Effect(inForce), Effect(staged.policy))
        var state: [String: Any] = [
            "isFree": now == .off, "isRecorded": now == .audit, "isRefused": now == .enforce, "nowInWords": now.words,
        ]
        if next != now { state["nextInWords"] = next.words }
        if now == .enforce { state["contact"] = inForce.contact }
        return state
    }

    /// What a policy does about registries that are not allowed.
    private enum Effect {
        case off, audit, enforce

        init(_ policy: AccessPolicy) {
            self = !policy.isEnabled ? .off : policy.mode == .audit ? .audit : .enforce
        }

        var words: String {
            switch self {
            case .off: "Off: every registry is allowed."
            case .audit: "Audit only: nothing is refused; what would have been is recorded, and shown under Activity."
            case .enforce: "Enforced: whatever is not allowed is refused on the machines."
            }
        }
    }

    /// Which registries are shown.
    private enum Show: String, CaseIterable {
        case all, allowed, disallowed, touched

        var title: String {
            switch self {
            case .all: "All"
            case .allowed: "Allowed"
            case .disallowed: "Not allowed"
            case .touched: "Changed, not saved"
            }
        }

        func holds(_ rule: RegistryRule, _ staged: StagedPolicy) -> Bool {
            switch self {
            case .all: true
            case .allowed: rule.isAllowed
            case .disallowed: !rule.isAllowed
            case .touched: staged.touched.contains(rule)
            }
        }
    }

    /// What stands on every page of Registry Access.
    static func head(_ staged: StagedPolicy, _ visit: Dashboard.Visit, _ tab: String) -> [String: Any] {
        let policy = staged.policy
        let base = visit.address("registry-access")
        let tabs = [
            ("registries", "Registries", base), ("settings", "Settings", "\(base)/settings"),
            ("history", "History", "\(base)/history"),
        ]
        var content: [String: Any] = [
            "base": base,
            "isEnabled": policy.isEnabled, "isAudit": policy.mode == .audit, "isEnforcing": policy.mode == .enforce,
            "version": staged.inForce.version,
            "issued": staged.inForce.issued.description,
            "hasDraft": staged.draft != nil,
            "changesInWords": Dashboard.count(staged.count, "change", "changes"),
            "isBehind": staged.isBehind,
            "draftNumber": staged.draftNumber,
            "tabs": tabs.map { ["title": $0.1, "address": $0.2, "isCurrent": $0.0 == tab] as [String: Any] },
        ]
        if let draft = staged.draft {
            content["draftAuthor"] = draft.author
            content["draftTime"] = draft.time.description
            content["draftIsOthers"] = draft.author != visit.person.name
        }
        return content
    }

    private func row(_ rule: RegistryRule, at index: Int, _ staged: StagedPolicy) -> [String: Any] {
        var row = Self.content(of: rule)
        row["rule"] = RuleName(rule, at: index).description
        row["isTouched"] = staged.touched.contains(rule)
        return row
    }

    /// A rule as templates name it.
    static func content(of rule: RegistryRule) -> [String: Any] {
        var content: [String: Any] = [
            "address": rule.address.description, "isAllowed": rule.isAllowed, "isInsecure": rule.isInsecure,
            "isBroad": rule.isBroadAcknowledged,
        ]
        content["nickname"] = rule.nickname
        if rule.actions.count < RegistryAction.allCases.count {
            content["actions"] = RegistryAction.allCases.filter(rule.actions.contains).map(\.rawValue)
                .joined(separator: ", ")
        }
        if let first = rule.repositories.first {
            let others = rule.repositories.count - 1
            content["repositories"] = others == 0 ? first.description : "\(first) and \(others) more"
        }
        if let first = rule.supportHosts.first {
            let others = rule.supportHosts.count - 1
            content["supportHosts"] = others == 0 ? first.description : "\(first) and \(others) more"
        }
        return content
    }

    // MARK: - Changes of one click

    /// The page that a form was on.
    private func back(_ visit: Dashboard.Visit) -> String {
        let list = visit.address("registry-access")
        let address = Dashboard.localAddress(visit.fields["back"])
        return address.hasPrefix(list) ? address : list
    }

    fileprivate func change(
        _ visit: Dashboard.Visit,
        _ change: @Sendable (Dashboard.Visit, AccessPolicy) throws -> (AccessPolicy, String)
    ) async throws -> Dashboard.Reply {
        let before = try await staged(visit)
        let message = try change(visit, before.policy).1
        try await dashboard.staged.change(in: visit.organization, by: visit.person.name) { try change(visit, $0).0 }
        return .see(back(visit), message: message)
    }

    @Sendable
    fileprivate func switched(_ visit: Dashboard.Visit, _ policy: AccessPolicy) throws -> (AccessPolicy, String) {
        let apply = "Review and save it to apply it."
        switch (visit.fields["enabled"], visit.fields["mode"].flatMap(AccessPolicy.Mode.init)) {
        case ("true", nil): return (policy.with(isEnabled: true), "Registry Access is to be on. \(apply)")
        case ("false", nil): return (policy.with(isEnabled: false), "Registry Access is to be off. \(apply)")
        case (nil, .enforce): return (policy.with(mode: .enforce), "Refusals are to be enforced. \(apply)")
        case (nil, .audit): return (policy.with(mode: .audit), "Refusals are to be recorded only. \(apply)")
        default: throw Problem.faultyForm
        }
    }

    fileprivate enum RuleChange { case allow, disallow, remove }

    fileprivate func changeRule(_ visit: Dashboard.Visit, _ kind: RuleChange) async throws -> Dashboard.Reply {
        try await change(visit) { visit, policy in
            let place = try Self.place(visit.fields["rule"], in: policy.rules)
            var rules = policy.rules
            let rule = rules[place]
            let message: String
            switch kind {
            case .remove:
                rules.remove(at: place)
                message = "\(rule.address) is to be removed."
            case .allow:
                rules[place] = try Self.allowed(rule)
                message = "\(rule.address) is to be allowed."
            case .disallow:
                rules[place] = rule.with(isAllowed: false)
                message = "\(rule.address) is not to be allowed."
            }
            return (policy.with(rules: rules), message)
        }
    }

    /// Takes back that a registry is to be removed.
    fileprivate func keep(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let removed = try await staged(visit).difference.removed
        let rule = removed[try Self.place(visit.fields["rule"], in: removed)]
        return try await change(visit) { _, policy in
            // Somebody else may have done the same meanwhile.
            let rules = policy.rules.contains(rule) ? policy.rules : policy.rules + [rule]
            return (policy.with(rules: rules), "\(rule.address) is to stay.")
        }
    }

    private static func allowed(_ rule: RegistryRule) throws(Problem) -> RegistryRule {
        let allowed = rule.with(isAllowed: true)
        if RegistryForm.broadness(of: allowed) != nil {
            throw Problem(
                .unprocessableContent,
                .faulty,
                "\"\(rule.address)\" is too broad to be allowed with one click",
                hint: "edit it, and confirm there that it is meant so"
            )
        }
        return allowed
    }

    private static func place(_ name: String?, in rules: [RegistryRule]) throws(Problem) -> Int {
        guard let place = name.flatMap(RuleName.init)?.place(in: rules) else {
            throw Problem(
                .conflict,
                .changedMeanwhile,
                "somebody has changed or removed this registry meanwhile, so nothing was done",
                hint: "go back to the list and look at it as it is now"
            )
        }
        return place
    }

    // MARK: - The form of a registry

    /// The form, empty or with what a rule says.
    fileprivate func form(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let staged = try await staged(visit)
        guard visit.request.uri.path.hasSuffix("/edit") else {
            var form = RegistryForm()
            form.address = try visit.request.queryValue("address") ?? ""
            return page(form, nil, staged, visit)
        }
        let name = try visit.request.queryValue("rule")
        let rule = staged.policy.rules[try Self.place(name, in: staged.policy.rules)]
        let until = try await dashboard.services.ends(in: visit.organization)[rule]
        return page(RegistryForm(rule), name, staged, visit, until: until)
    }

    /// Takes what was typed; what is not in order comes back with what is wrong.
    fileprivate func save(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let staged = try await staged(visit)
        let isEdit = visit.request.uri.path.hasSuffix("/edit")
        let name = isEdit ? visit.fields["rule"] : nil
        var form = RegistryForm(fields: visit.fields)
        let place: Int?
        do {
            place = isEdit ? try Self.place(name, in: staged.policy.rules) : nil
        } catch {
            form.faults["form"] =
                "Somebody has changed or removed this registry meanwhile. "
                + "What you typed is still here: copy what you need, and look at the list."
            return page(form, name, staged, visit, .conflict)
        }
        guard let rule = form.rule(in: staged.policy, replacing: place) else {
            let before = place.map { staged.policy.rules[$0] }
            let ends = try await dashboard.services.ends(in: visit.organization)
            return page(form, name, staged, visit, .unprocessableContent, until: before.flatMap { ends[$0] })
        }
        try await dashboard.staged.change(in: visit.organization, by: visit.person.name) { policy in
            var rules = policy.rules
            if isEdit { rules[try Self.place(name, in: policy.rules)] = rule } else { rules.append(rule) }
            return policy.with(rules: rules)
        }
        let words = isEdit ? "is to be changed" : "is to be added"
        return .see(back(visit), message: "\(rule.address) \(words). Review and save it to apply it.")
    }

    private func page(
        _ form: RegistryForm,
        _ name: String?,
        _ staged: StagedPolicy,
        _ visit: Dashboard.Visit,
        _ status: HTTPResponse.Status = .ok,
        until: Instant? = nil
    ) -> Dashboard.Reply {
        var content = form.content.merging(Self.head(staged, visit, "registries")) { mine, _ in mine }
        content["isEdit"] = name != nil
        content["rule"] = name
        content["until"] = until?.description
        content["action"] = visit.address("registry-access/\(name == nil ? "add" : "edit")")
        content["baseTitle"] = "Registry Access"
        content["suggestions"] = RegistryForm.suggestions
        let title = name == nil ? "Add a registry" : "Edit \(form.address)"
        return .page(Dashboard.Page(template: "registry", title: title, content: content, status: status))
    }
}
