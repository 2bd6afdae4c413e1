import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// What is prepared, before it is saved: the difference, what it may break, and the settings.
    func addReviewPages(_ dashboard: Dashboard) {
        let pages = ReviewPages(dashboard: dashboard)
        dashboard.get(self, "registry-access/review", .editPolicy) { try await pages.page($0) }
        dashboard.post(self, "registry-access/save", .editPolicy) { try await pages.save($0) }
        dashboard.get(self, "registry-access/discard", .editPolicy) { try await pages.askToDiscard($0) }
        dashboard.post(self, "registry-access/discard", .editPolicy) { try await pages.discard($0) }
        dashboard.post(self, "registry-access/update", .editPolicy) { try await pages.bringUpToDate($0) }
        dashboard.get(self, "registry-access/settings", .readPolicy) { try await pages.settings($0) }
        dashboard.post(self, "registry-access/settings", .editPolicy) { try await pages.saveSettings($0) }
        dashboard.get(self, "registry-access/times", .manageSettings) { try await pages.times($0) }
        dashboard.post(self, "registry-access/times", .manageSettings) { try await pages.saveTimes($0) }
    }
}

struct ReviewPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    // MARK: - The review

    /// The page, also with what was typed and what is wrong.
    fileprivate func page(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let staged = try await dashboard.staged.staged(of: visit.organization)
        var content = RegistryAccessPages.head(staged, visit, "review")
        content["isBehind"] = false
        content["mustUpdate"] = staged.isBehind
        content["difference"] = DifferenceContent.content(staged.difference)
        // Bringing the changes up to date hands the comment on in the address.
        content["comment"] = visit.fields["comment"] ?? visit.request.typedValue("comment") ?? ""
        content["acknowledgesLockOut"] = visit.fields["acknowledgeLockOut"] == "on"
        content["policyVersion"] = staged.inForce.version
        if staged.isBehind {
            let saved = try await services.store.policyVersions(of: visit.organization, before: nil, atMost: 1).first
            content["newestVersion"] = staged.inForce.version
            content["newestAuthor"] = saved?.author
            content["newestTime"] = saved?.time.description
            content["newestComment"] = saved.flatMap { $0.comment.isEmpty ? nil : $0.comment }
            content["newestAddress"] = visit.address("registry-access/history/\(staged.inForce.version)")
        }
        if staged.draft != nil {
            let lockOut = services.publisher.lockOut(
                by: PolicyContent(policy: staged.policy, teams: staged.inForce.teams)
            )
            content["lockOut"] = lockOut.map(Dashboard.sentence)
            let warnings = staged.policy.warnings
            // What the draft brings comes first; what was there before is folded away.
            let new = warnings.beyond(dashboard.staged.warnings(of: staged.inForce))
            content["warnings"] = new.prefix(20).map { Dashboard.sentence($0.description) }
            content["hasWarnings"] = !new.isEmpty
            content["moreWarnings"] = new.count > 20 ? Dashboard.digits(new.count - 20) : nil
            content["standing"] = StandingWarnings.content(warnings.beyond(new))
            let effect = try await PolicyEffect(of: staged, in: visit.organization, services)
            content["effect"] = effect.content
        }
        content.merge(more) { _, new in new }
        return .page(
            Dashboard.Page(template: "review", title: "Review and save", content: content, status: status)
        )
    }

    /// Save & Apply.
    fileprivate func save(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let (draft, policy) = (try visit.number("draft"), try visit.number("policy"))
        let comment = visit.fields["comment"] ?? ""
        if let fault = Self.fault(of: comment) {
            return try await page(visit, ["commentFault": fault], .unprocessableContent)
        }
        if let fault = try await dashboard.confirm(visit) {
            return try await page(visit, ["passwordFault": fault], .forbidden)
        }
        let staged = try await dashboard.staged.staged(of: visit.organization)
        let changed =
            "Somebody has changed the draft or the policy since you looked at it, "
            + "so nothing was saved. Nothing is lost: this is how it is now."
        guard !staged.isBehind else { return try await page(visit, ["conflict": changed], .preconditionFailed) }
        do {
            let result = try await services.saveDraft(
                of: visit.organization,
                seen: draft,
                after: policy,
                comment: comment,
                acknowledgingLockOut: visit.fields["acknowledgeLockOut"] == "on",
                by: visit.person.name
            )
            guard let result else { return try await page(visit, ["conflict": changed], .preconditionFailed) }
            let message =
                result.isNew
                ? "Version \(result.document.version) is saved and applied. Machines that are connected have it in seconds."
                : "There was nothing to change: version \(result.document.version) is as before."
            return .see(visit.address("registry-access"), message: message)
        } catch let problem as Problem where problem.code == .changedMeanwhile {
            return try await page(visit, ["conflict": changed], .preconditionFailed)
        } catch let problem as Problem where problem.code == .locksOut {
            return try await page(
                visit,
                ["lockOut": Dashboard.sentence(problem.detail), "lockOutFault": true],
                .unprocessableContent
            )
        }
    }

    private static func fault(of comment: String) -> String? {
        if let hidden = Names.hidden(in: comment) {
            let digits = String(hidden.value, radix: 16, uppercase: true)
            let code = "U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
            return "A comment is one line of characters that are seen. This one holds a control character, \(code)."
        }
        return comment.utf8.count > 1000 ? "A comment has at most 1000 bytes." : nil
    }

    /// The draft is everybody's: what others have prepared would be gone, too.
    fileprivate func askToDiscard(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let staged = try await dashboard.staged.staged(of: visit.organization)
        let base = visit.address("registry-access")
        guard let draft = staged.draft else { return .see(base, message: "There are no changes to discard.") }
        let changes = Dashboard.count(staged.count, "change", "changes")
        let author = draft.author == visit.person.name ? "you" : draft.author
        return Confirmation(
            title: "Discard \(changes)?",
            lines: [
                "\(changes) \(staged.count == 1 ? "is" : "are") prepared and not saved, last by \(author), "
                    + "\(Dashboard.time(draft.time)).",
                "All owners and editors share what is prepared, so what others have prepared is gone, too. "
                    + "What is on the machines stays as it is.",
            ],
            button: "Discard \(changes)",
            action: "\(base)/discard",
            fields: [("draft", "\(staged.draftNumber)")],
            back: base,
            isDangerous: false
        ).reply()
    }

    fileprivate func discard(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let number = try await services.store.writeDraft(
            nil,
            of: visit.organization,
            expecting: try visit.number("draft"),
            basedOn: 0,
            by: visit.person.name,
            at: services.now()
        )
        guard number != nil else {
            throw Problem(
                .preconditionFailed,
                .changedMeanwhile,
                "somebody has changed the draft meanwhile, so it was not discarded",
                hint: "look at the changes again"
            )
        }
        return .see(visit.address("registry-access"), message: "The changes are discarded.")
    }

    fileprivate func bringUpToDate(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let both = try await dashboard.staged.bringUpToDate(in: visit.organization, by: visit.person.name)
        let comment = visit.fields["comment"] ?? ""
        var message = "Your changes are on top of the newest version now."
        if !both.isEmpty {
            let names = both.prefix(3).joined(separator: ", ") + (both.count > 3 ? " and \(both.count - 3) more" : "")
            message += " Others have changed \(names) too: look at these again."
        }
        let review = visit.address("registry-access/review")
        return .see(
            comment.isEmpty ? review : Dashboard.address(review, [("comment", comment)]),
            message: message
        )
    }

    // MARK: - Settings

    fileprivate func settings(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await settingsPage(visit)
    }

    private func settingsPage(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let staged = try await dashboard.staged.staged(of: visit.organization, withDraft: visit.may(.editPolicy))
        let settings = try await services.store.settings(of: visit.organization)
        var content = RegistryAccessPages.head(staged, visit, "settings")
        for time in SetTime.allCases {
            content["\(time.field)InWords"] = time.words(settings[keyPath: time.setting])
        }
        // A box that is not ticked is not sent.
        let isTyped = visit.fields["contact"] != nil
        content["contact"] = visit.fields["contact"] ?? staged.policy.contact ?? ""
        content["allowsImports"] = isTyped ? visit.fields["imports"] == "on" : staged.policy.imports == .allow
        content["allowsBuilders"] =
            isTyped ? visit.fields["builders"] == "on" : staged.policy.unmanagedBuilders == .allow
        content["mayManage"] = visit.may(.manageSettings)
        content.merge(more) { _, new in new }
        return .page(
            Dashboard.Page(template: "settings", title: "Registry Access settings", content: content, status: status)
        )
    }

    /// Takes what the policy itself says beside its registries, into the draft.
    fileprivate func saveSettings(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let contact = visit.fields["contact"]
        let bytes = contact.map { Array($0.utf8) } ?? []
        guard bytes.count <= 100, bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            let fault = "A contact has at most 100 printable ASCII characters: it is part of every refusal."
            return try await settingsPage(visit, ["contactFault": fault], .unprocessableContent)
        }
        let imports: AccessPolicy.Imports = visit.fields["imports"] == "on" ? .allow : .deny
        let builders: AccessPolicy.UnmanagedBuilders = visit.fields["builders"] == "on" ? .allow : .deny
        try await dashboard.staged.change(in: visit.organization, by: visit.person.name) { policy in
            policy.with(contact: .some(contact), imports: imports, unmanagedBuilders: builders)
        }
        let message = "The settings are prepared. Review and save them to apply them."
        return .see(visit.address("registry-access/settings"), message: message)
    }

    /// The form of the two times: a page of its own, so that nothing that was typed in the other form is lost with it.
    fileprivate func times(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await timesPage(visit)
    }

    private func timesPage(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let settings = try await services.store.settings(of: visit.organization)
        var content: [String: Any] = ["base": visit.address("registry-access")]
        for time in SetTime.allCases {
            let text = time.text(settings[keyPath: time.setting])
            content[time.field] = visit.fields[time.field] ?? text
            content[time.fieldSeen] = visit.fields[time.fieldSeen] ?? text
        }
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "times", title: "Refresh and validity", content: content, status: status))
    }

    /// Takes the two times of the organization, which are in force at once.
    fileprivate func saveTimes(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        var faults: [String: Any] = [:]
        var typed: [(time: SetTime, seconds: Int64)] = []
        for time in SetTime.allCases {
            let text = visit.fields[time.field] ?? ""
            // What was left as it was shown stays as it is, also if somebody has set something else meanwhile.
            if text == visit.fields[time.fieldSeen] { continue }
            if let seconds = time.seconds(text) {
                typed.append((time, seconds))
            } else {
                faults["\(time.field)Fault"] = time.fault
            }
        }
        guard faults.isEmpty else { return try await timesPage(visit, faults, .unprocessableContent) }
        if let fault = try await dashboard.confirm(visit) {
            return try await timesPage(visit, ["passwordFault": fault], .forbidden)
        }
        let before = try await services.store.settings(of: visit.organization)
        var after = before
        for (time, seconds) in typed { after[keyPath: time.setting] = seconds }
        try await services.change(before, to: after, of: visit.organization, by: visit.person.name)
        return .see(visit.address("registry-access/settings"), message: "The times are saved, and hold from now on.")
    }
}

/// One of the two times of an organization, as the form has it: a number of its unit, or of seconds where that is not whole.
private enum SetTime: String, CaseIterable {
    /// After how long machines ask by themselves.
    case refresh
    /// How long a policy holds without the server.
    case validity

    var setting: WritableKeyPath<OrganizationSettings, Int64> {
        switch self {
        case .refresh: \.refreshSeconds
        case .validity: \.validitySeconds
        }
    }

    private var unit: (name: String, seconds: Int64) {
        switch self {
        case .refresh: ("minutes", 60)
        case .validity: ("hours", 3600)
        }
    }

    /// How many of the unit there may be.
    private var range: ClosedRange<Int64> {
        switch self {
        case .refresh: 1...1440
        case .validity: 1...168
        }
    }

    /// The field.
    var field: String { rawValue }
    /// The field with what was shown.
    var fieldSeen: String { "\(field)Seen" }

    func text(_ seconds: Int64) -> String {
        seconds % unit.seconds == 0 ? "\(seconds / unit.seconds)" : "\(seconds) s"
    }

    func words(_ seconds: Int64) -> String {
        seconds % unit.seconds == 0 ? "\(seconds / unit.seconds) \(unit.name)" : "\(seconds) seconds"
    }

    /// What was typed; `nil` if it is no such time.
    func seconds(_ text: String) -> Int64? {
        let isOfSeconds = text.hasSuffix(" s")
        guard let number = WholeNumber.read(text.dropLast(isOfSeconds ? 2 : 0)) else { return nil }
        let factor = isOfSeconds ? 1 : unit.seconds
        let whole = range.lowerBound * unit.seconds...range.upperBound * unit.seconds
        let (seconds, isTooMuch) = Int64(number).multipliedReportingOverflow(by: factor)
        return !isTooMuch && whole.contains(seconds) ? seconds : nil
    }

    var fault: String {
        "This is a number of \(unit.name) from \(range.lowerBound) to \(range.upperBound), or of seconds as in “5400 s”."
    }
}

/// Warnings about what is in force, as templates name them.
enum StandingWarnings {
    /// So many are shown.
    private static let most = 50

    /// - Parameter warnings: the warnings.
    /// - Returns: `nil` if there are none.
    static func content(_ warnings: [PolicyWarning]) -> [String: Any]? {
        guard !warnings.isEmpty else { return nil }
        var content: [String: Any] = [
            "count": Dashboard.count(warnings.count, "warning", "warnings"),
            "lines": warnings.prefix(most).map { Dashboard.sentence($0.description) },
        ]
        content["more"] = warnings.count > most ? Dashboard.digits(warnings.count - most) : nil
        return content
    }
}

/// A difference as templates name it.
enum DifferenceContent {
    /// So many lines of each sort are shown.
    private static let most = 200

    /// What changes for everybody and for teams.
    static func content(_ change: PolicyChange) -> [String: Any] {
        var content = Self.content(change.everybody)
        content["isEmpty"] = change.isEmpty
        content["isForTeams"] = change.everybody.isEmpty && !change.teams.isEmpty
        content["teams"] = change.teams.map { team in
            Self.content(team.difference).merging(["name": team.name]) { _, new in new }
        }
        return content
    }

    static func content(_ difference: PolicyDifference) -> [String: Any] {
        [
            "settings": difference.settings.map { setting in
                [
                    "title": title(of: setting.name), "before": words(setting.before), "after": words(setting.after),
                ]
            },
            "added": difference.added.prefix(most).map(RegistryAccessPages.content(of:)),
            "removed": difference.removed.prefix(most).map(RegistryAccessPages.content(of:)),
            "changed": difference.changed.prefix(most).map { change in
                [
                    "address": change.after.address.description, "before": words(change.before),
                    "after": words(change.after),
                ]
            },
            "isEmpty": difference.isEmpty,
            "most": most,
            "isCut": max(difference.added.count, difference.removed.count, difference.changed.count) > most,
            "counts": [
                Dashboard.count(difference.added.count, "registry added", "registries added"),
                Dashboard.count(difference.changed.count, "changed", "changed"),
                Dashboard.count(difference.removed.count, "removed", "removed"),
                Dashboard.count(difference.settings.count, "setting", "settings"),
            ].filter { !$0.hasPrefix("0 ") }.joined(separator: ", "),
        ]
    }

    private static func title(of setting: String) -> String {
        switch setting {
        case "enabled": "Registry Access Management"
        case "mode": "Mode"
        case "contact": "Contact"
        case "imports": "Imports that cannot be inspected"
        case "unmanagedBuilders": "Builders beside the proxy"
        default: setting
        }
    }

    private static func words(_ value: String?) -> String {
        switch value {
        case nil: "none"
        case "true": "on"
        case "false": "off"
        case let value?: value
        }
    }

    /// What a rule says, in one line.
    private static func words(_ rule: RegistryRule) -> String {
        var parts = [rule.isAllowed ? "allowed" : "not allowed"]
        if rule.actions.count < RegistryAction.allCases.count {
            let names = RegistryAction.allCases.filter(rule.actions.contains).map(\.rawValue)
            parts.append("for " + names.joined(separator: ", "))
        }
        if !rule.repositories.isEmpty {
            parts.append("in " + rule.repositories.prefix(5).map(\.description).joined(separator: ", "))
            if rule.repositories.count > 5 { parts.append("and \(rule.repositories.count - 5) more") }
        }
        if let nickname = rule.nickname { parts.append("called “\(nickname)”") }
        if !rule.supportHosts.isEmpty {
            parts.append("also opens " + rule.supportHosts.prefix(5).map(\.description).joined(separator: ", "))
        }
        if rule.isInsecure { parts.append("plain HTTP") }
        if rule.isBroadAcknowledged { parts.append("meant to be broad") }
        return parts.joined(separator: " · ")
    }
}

extension [PolicyWarning] {
    /// What a change of a policy brings.
    ///
    /// - Parameter policy: the policy before.
    /// - Returns: what the warnings say that it has not got.
    func unknown(to policy: AccessPolicy) -> [String] { beyond(policy.warnings).map(\.description) }
}
