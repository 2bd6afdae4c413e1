import RegistryAccess
import SignedPolicy

/// What a draft would do to what machines tried in the last 30 days, as far as they told of it: machines tell of what they
/// refused, or would have refused.
struct PolicyEffect {
    static let days: Int64 = 30
    /// So many lines of each sort are shown.
    private static let most = 20

    /// Whether machines told of anything at all.
    private let hasReports: Bool
    private let refused: [Store.RefusalSummary]
    private let allowed: [Store.RefusalSummary]
    private let narrowed: NarrowedEntries

    init(of staged: StagedPolicy, in organization: String, _ services: Services) async throws {
        let since = services.now() + -Self.days * 86_400
        let summaries = try await services.store.refusalSummary(of: organization, since: since)
        hasReports = !summaries.isEmpty
        var (refused, allowed): ([Store.RefusalSummary], [Store.RefusalSummary]) = ([], [])
        for summary in summaries {
            guard let address = try? RegistryAddress(summary.registry) else { continue }
            let request = AccessRequest(RegistryAction(rawValue: summary.action ?? "") ?? .pull, address)
            let (before, after) = (
                staged.inForce.policy.verdict(on: request).isAllowed, staged.policy.verdict(on: request).isAllowed
            )
            if before, !after { refused.append(summary) }
            if !before, after { allowed.append(summary) }
        }
        (self.refused, self.allowed) = (refused, allowed)
        narrowed = NarrowedEntries(of: staged)
    }

    var content: [String: Any] {
        func lines(_ summaries: [Store.RefusalSummary], _ words: (Store.RefusalSummary) -> String) -> [[String: Any]] {
            summaries.prefix(Self.most).map { summary in
                [
                    "registry": summary.registry,
                    "words": words(summary),
                    "last": summary.last.description,
                ]
            }
        }
        func machines(_ summary: Store.RefusalSummary) -> String {
            Dashboard.count(summary.machines, "machine", "machines")
        }
        var content: [String: Any] = [
            "refused": lines(refused) { "\(machines($0)) used it (\(Self.verb($0.action))) and would be refused" },
            "allowed": lines(allowed) {
                "\(machines($0)) \($0.machines == 1 ? "was" : "were") refused (\(Self.verb($0.action))) and could go on"
            },
            "hasRefused": !refused.isEmpty, "hasAllowed": !allowed.isEmpty,
        ]
        if refused.count > Self.most { content["moreRefused"] = refused.count - Self.most }
        if allowed.count > Self.most { content["moreAllowed"] = allowed.count - Self.most }
        if let names = narrowed.inWords {
            content["unknown"] =
                "What machines used of \(names) is not known: they tell what they refused, not what they were allowed. "
                + "Ask those who may need it, or save in audit mode first, which refuses nothing and tells what would be."
        } else if refused.isEmpty, allowed.isEmpty {
            content["nothing"] =
                hasReports
                ? "These changes make no difference to anything that was refused."
                : "No machine has told of a refusal. Save in audit mode first to learn what would be refused, "
                    + "without refusing it."
        }
        return content
    }

    private static func verb(_ action: String?) -> String { action ?? "reaching it" }
}

/// The entries of a draft that take something away which was allowed, or limit it.
struct NarrowedEntries {
    private let addresses: [AddressPattern]
    /// Whether everything was allowed before, and only what is listed is from now on.
    private let isSwitchedOn: Bool

    /// - Parameter staged: the draft beside what is in force; one that refuses nothing takes nothing away.
    init(of staged: StagedPolicy) {
        let (before, after) = (staged.inForce.policy, staged.policy)
        guard after.isEnabled, after.mode == .enforce else {
            (addresses, isSwitchedOn) = ([], false)
            return
        }
        isSwitchedOn = !before.isEnabled
        let difference = staged.difference
        var narrowed = difference.removed.filter(\.isAllowed)
        narrowed += difference.changed.filter { Self.isNarrower($0.after, than: $0.before) }.map(\.after)
        narrowed += difference.added.filter { !$0.isAllowed && Self.mayBeOpen($0.address, in: before) }
        addresses = narrowed.map(\.address)
    }

    /// What they are about, for a sentence; `nil` if there are none.
    var inWords: String? {
        if isSwitchedOn { return "what is not listed" }
        guard !addresses.isEmpty else { return nil }
        let names = addresses.prefix(3).map(\.description)
        let rest = addresses.count - names.count
        if rest > 0 { return "\(names.joined(separator: ", ")) and \(rest) more" }
        return names.count == 1 ? names[0] : "\(names.dropLast().joined(separator: ", ")) and \(names[names.count - 1])"
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

    /// Whether a policy may allow something that a pattern matches.
    private static func mayBeOpen(_ pattern: AddressPattern, in policy: AccessPolicy) -> Bool {
        guard let address = try? RegistryAddress(pattern.description) else { return true }
        return RegistryAction.allCases.contains { policy.verdict(on: AccessRequest($0, address)).isAllowed }
    }
}
