import RegistryAccess
import SignedPolicy

/// What a draft would do to what machines used and tried in the last 30 days, as far as they told of it.
///
/// Of what was allowed they tell the registry, the action and the day; of what they refused, or would have refused, more.
struct PolicyEffect {
    static let days: Int64 = 30
    /// These are told apart from the others.
    private static let lateDays: Int64 = 7
    /// So many lines of each sort are shown.
    private static let most = 20
    /// So many limits are held against what was used.
    private static let mostLimits = 200
    /// What no repository is called and no pattern for some of them matches.
    fileprivate static let anyRepository = " "

    /// A registry and what becomes of it.
    private struct Line {
        let registry: String
        let words: String
        /// When it was seen last; one of the two.
        var last: Instant?
        var day: Int64?

        var content: [String: Any] {
            var content: [String: Any] = ["registry": registry, "words": words]
            content["last"] = last?.description
            content["day"] = day.map(UseReport.text)
            return content
        }
    }

    private var refused: [Line] = []
    private var limited: [Line] = []
    private var allowed: [Line] = []
    /// What is not known, in sentences.
    private var unknown: [String] = []
    /// What is known to have no effect.
    private var unused: String?
    /// Whether machines told of anything at all.
    private let hasReports: Bool

    init(of staged: StagedPolicy, in organization: String, _ services: Services) async throws {
        let now = services.now()
        let today = UseReport.day(of: now)
        let summaries = try await services.store.refusalSummary(of: organization, since: now + -Self.days * 86_400)
        let uses = try await services.store.useSummary(
            of: organization,
            since: today - Self.days + 1,
            lately: today - Self.lateDays + 1
        )
        hasReports = !summaries.isEmpty || !uses.isEmpty
        let taken = takeUses(uses, staged)
        takeRefusals(summaries, staged, taken)
        let narrowed = NarrowedEntries(of: staged)
        guard !narrowed.isEmpty else { return }
        let machines = try await services.store.machinesTellingUses(of: organization, since: today - Self.days + 1)
        takeUnknown(narrowed.unused(by: uses.map(\.registry)), machines)
    }

    // MARK: - What was used

    /// Takes what was allowed and would not be, or not all of it.
    ///
    /// - Returns: how many machines used what would be refused, by registry and action.
    private mutating func takeUses(_ uses: [Store.UseSummary], _ staged: StagedPolicy) -> [String: Int] {
        let (before, after) = (staged.inForce.policy, staged.policy)
        let limits = NarrowedEntries.limits(of: staged.difference, atMost: Self.mostLimits)
        var affected: [(use: Store.UseSummary, address: RegistryAddress)] = []
        for use in uses {
            guard let address = try? RegistryAddress(use.registry) else { continue }
            guard let action = use.action else {
                if before.verdict(onReaching: address).isAllowed, !after.verdict(onReaching: address).isAllowed {
                    affected.append((use, address))
                }
                continue
            }
            guard before.verdict(on: AccessRequest(action, address)).isAllowed else { continue }
            if !after.verdict(on: AccessRequest(action, address)).isAllowed {
                affected.append((use, address))
            } else if let limit = Self.limit(on: action, address, limits, before, after) {
                let words = "\(limit): \(Self.words(use)); which repositories is not known"
                limited.append(Line(registry: use.registry, words: words, day: use.last))
            }
        }
        var taken: [String: Int] = [:]
        for (use, address) in affected {
            taken[Self.key(use.registry, use.action?.rawValue)] = use.machines
            let words = Self.words(use) + Self.words(ofTeams: staged, use.action, address)
            refused.append(Line(registry: use.registry, words: words, day: use.last))
        }
        return taken
    }

    private static func key(_ registry: String, _ action: String?) -> String { "\(registry) \(action ?? "")" }

    /// `12 machines pulled from it in the last 30 days, 3 of them in the last 7`.
    private static func words(_ use: Store.UseSummary) -> String {
        let what =
            switch use.action {
            case .pull: "pulled from it"
            case .push: "pushed to it"
            case .login: "signed in there"
            case nil: "reached it otherwise, as builds do,"
            }
        let late =
            switch (use.machines, use.lately) {
            case (1, 0): "not in the last \(lateDays)"
            case (1, _): "and in the last \(lateDays)"
            case (_, 0): "none of them in the last \(lateDays)"
            case (let all, let late) where all == late: "all of them in the last \(lateDays)"
            case (_, let late): "\(late) of them in the last \(lateDays)"
            }
        return "\(Dashboard.count(use.machines, "machine", "machines")) \(what) in the last \(days) days, \(late)"
    }

    /// Which repositories are left or taken away where the registry stays open; `nil` if that does not change.
    private static func limit(
        on action: RegistryAction,
        _ address: RegistryAddress,
        _ limits: [RegistryRule],
        _ before: AccessPolicy,
        _ after: AccessPolicy
    ) -> String? {
        guard action != .login, after.isEnabled, after.mode == .enforce else { return nil }
        func isWhole(_ policy: AccessPolicy) -> Bool {
            policy.verdict(on: AccessRequest(action, address, repository: anyRepository)).isAllowed
        }
        let rules = limits.filter { $0.actions.contains(action) && $0.address.matches(address) }
        if let denying = rules.first(where: { !$0.isAllowed }) { return "not \(names(denying)) any more" }
        guard !isWhole(after) else { return nil }
        if let allowing = rules.first { return "limited to \(names(allowing))" }
        return isWhole(before) ? "limited to some repositories" : nil
    }

    private static func names(_ rule: RegistryRule) -> String {
        Dashboard.list(rule.repositories.map(\.description), atMost: 3)
    }

    /// Which teams may go on.
    private static func words(
        ofTeams staged: StagedPolicy,
        _ action: RegistryAction?,
        _ address: RegistryAddress
    ) -> String {
        let request = AccessRequest(action ?? .pull, address)
        guard staged.policy.verdict(on: request).reason != .deniedByRule else { return "" }
        let teams = staged.inForce.teams.filter { _, rules in
            rules.contains { $0.isAllowed && $0.actions.contains(request.action) && $0.address.matches(address) }
        }.keys.sorted()
        guard !teams.isEmpty else { return "" }
        return "; who is in the team \(Dashboard.list(teams, atMost: 3)) has it in addition"
    }

    // MARK: - What was refused

    /// Takes what was refused and would not be, and the other way round.
    private mutating func takeRefusals(
        _ summaries: [Store.RefusalSummary],
        _ staged: StagedPolicy,
        _ taken: [String: Int]
    ) {
        for summary in summaries {
            guard let address = try? RegistryAddress(summary.registry) else { continue }
            let request = AccessRequest(RegistryAction(rawValue: summary.action ?? "") ?? .pull, address)
            let (before, after) = (
                staged.inForce.policy.verdict(on: request).isAllowed, staged.policy.verdict(on: request).isAllowed
            )
            let machines = Dashboard.count(summary.machines, "machine", "machines")
            let what = summary.action ?? "reaching it"
            if before, !after {
                // Not what the use of it says already.
                let others = taken[Self.key(summary.registry, summary.action)] ?? 0
                guard others < summary.machines else { continue }
                let words = "\(machines) used it (\(what)) and would be refused"
                refused.append(Line(registry: summary.registry, words: words, last: summary.last))
            }
            if !before, after {
                let words = "\(machines) \(summary.machines == 1 ? "was" : "were") refused (\(what)) and could go on"
                allowed.append(Line(registry: summary.registry, words: words, last: summary.last))
            }
        }
    }

    // MARK: - What is not known

    private mutating func takeUnknown(_ narrowed: NarrowedEntries, _ machines: (telling: Int, all: Int)) {
        let advice =
            "Ask those who may need it, or save in audit mode first, which refuses nothing and tells what would be."
        if narrowed.isSwitchedOn {
            let what = machines.telling == 0 ? "What machines used" : "What builds reached"
            unknown.append("\(what) while Registry Access Management was off is not known. \(advice)")
        }
        guard let names = narrowed.inWords else { return }
        guard machines.telling > 0 else {
            unknown.append(
                "What machines used of \(names) is not known: no machine has told which registries it uses. \(advice)"
            )
            return
        }
        let nobody = "No machine has told that it used \(names) in the last \(Self.days) days."
        if machines.telling < machines.all {
            unknown.append(
                "\(nobody) But only \(machines.telling) of \(Dashboard.count(machines.all, "machine", "machines")) "
                    + "told which registries they use, so the others may have. \(advice)"
            )
        } else {
            unused = nobody
        }
    }

    // MARK: - The page

    var content: [String: Any] {
        func lines(_ lines: [Line]) -> [[String: Any]] { lines.prefix(Self.most).map(\.content) }
        var content: [String: Any] = [
            "refused": lines(refused), "limited": lines(limited), "allowed": lines(allowed),
            "hasRefused": !refused.isEmpty, "hasLimited": !limited.isEmpty, "hasAllowed": !allowed.isEmpty,
            "unknown": unknown, "hasUnknown": !unknown.isEmpty,
        ]
        for (name, lines) in [("moreRefused", refused), ("moreLimited", limited), ("moreAllowed", allowed)]
        where lines.count > Self.most {
            content[name] = lines.count - Self.most
        }
        if let unused {
            content["nothing"] = unused
        } else if refused.isEmpty, limited.isEmpty, allowed.isEmpty, unknown.isEmpty {
            content["nothing"] =
                hasReports
                ? "These changes make no difference to anything that machines told they used or refused."
                : "No machine has told of a refusal, nor of what it uses. Save in audit mode first to learn what would "
                    + "be refused, without refusing it."
        }
        return content
    }
}

/// The entries of a draft that take something away which was allowed, or limit it.
struct NarrowedEntries {
    private let addresses: [AddressPattern]
    /// Whether everything was allowed before, and only what is listed is from now on.
    let isSwitchedOn: Bool

    /// - Parameter staged: the draft beside what is in force; one that refuses nothing takes nothing away.
    init(of staged: StagedPolicy) {
        let (before, after) = (staged.inForce.policy, staged.policy)
        guard after.isEnabled, after.mode == .enforce else {
            self.init([], isSwitchedOn: false)
            return
        }
        let difference = staged.difference
        var narrowed = difference.removed.filter { $0.isAllowed && !Self.staysOpen($0, in: after) }
        narrowed += difference.changed.filter { change in
            Self.isNarrower(change.after, than: change.before)
                && !(change.before.isAllowed && Self.staysOpen(change.before, in: after))
        }.map(\.after)
        narrowed += difference.added.filter { !$0.isAllowed && Self.mayBeOpen($0.address, in: before) }
        self.init(narrowed.map(\.address), isSwitchedOn: !before.isEnabled)
    }

    private init(_ addresses: [AddressPattern], isSwitchedOn: Bool) {
        self.addresses = addresses
        self.isSwitchedOn = isSwitchedOn
    }

    var isEmpty: Bool { addresses.isEmpty && !isSwitchedOn }

    /// Those of which nothing is known.
    ///
    /// - Parameter used: registries that machines told they used.
    /// - Returns: the entries that match none of them.
    func unused(by used: [String]) -> NarrowedEntries {
        let names = Set(used)
        // Most machines used the first ones.
        let others = used.prefix(500).compactMap { try? RegistryAddress($0) }
        let left = addresses.filter { pattern in
            if names.contains(pattern.description) { return false }
            return (try? RegistryAddress(pattern.description)) != nil || !others.contains(where: pattern.matches)
        }
        return NarrowedEntries(left, isSwitchedOn: isSwitchedOn)
    }

    /// What they are about, for a sentence; `nil` if there are none.
    var inWords: String? { addresses.isEmpty ? nil : Dashboard.list(addresses.map(\.description), atMost: 3) }

    /// The entries that limit a registry to some of its repositories, or take some away.
    ///
    /// - Parameters:
    ///   - difference: what a draft changes.
    ///   - most: how many at most.
    /// - Returns: the entries as they are to be.
    static func limits(of difference: PolicyDifference, atMost most: Int) -> [RegistryRule] {
        let changed = difference.changed.filter { isNarrower($0.after, than: $0.before) }.map(\.after)
        let limits = (changed + difference.added.filter { !$0.isAllowed }).filter { !$0.repositories.isEmpty }
        return Array(limits.prefix(most))
    }

    private static func isNarrower(_ after: RegistryRule, than before: RegistryRule) -> Bool {
        switch (before.isAllowed, after.isAllowed) {
        case (true, false): true
        case (false, true): false
        case (true, true): !covers(after, before)
        case (false, false): !covers(before, after)
        }
    }

    /// Whether one rule speaks of all actions and repositories that another one for the same address does.
    private static func covers(_ wide: RegistryRule, _ narrow: RegistryRule) -> Bool {
        let hasRepositories =
            wide.repositories.isEmpty
            || (!narrow.repositories.isEmpty && Set(narrow.repositories).isSubset(of: wide.repositories))
        return hasRepositories && narrow.actions.isSubset(of: wide.actions)
    }

    /// Whether a policy allows all that a rule for one address allowed, by another rule.
    private static func staysOpen(_ rule: RegistryRule, in policy: AccessPolicy) -> Bool {
        guard let address = try? RegistryAddress(rule.address.description) else { return false }
        return rule.actions.allSatisfy { action in
            let request = AccessRequest(action, address, repository: PolicyEffect.anyRepository)
            return policy.verdict(on: request).isAllowed
        }
    }

    /// Whether a policy may allow something that a pattern matches.
    private static func mayBeOpen(_ pattern: AddressPattern, in policy: AccessPolicy) -> Bool {
        guard let address = try? RegistryAddress(pattern.description) else { return true }
        return RegistryAction.allCases.contains { policy.verdict(on: AccessRequest($0, address)).isAllowed }
    }
}

extension Dashboard {
    /// Names in a sentence: `a`, `a and b`, `a, b, c and 5 more`.
    static func list(_ names: [String], atMost most: Int) -> String {
        var parts = Array(names.prefix(most))
        if names.count > most { parts.append("\(names.count - most) more") }
        guard let last = parts.popLast() else { return "" }
        return parts.isEmpty ? last : "\(parts.joined(separator: ", ")) and \(last)"
    }
}
