/// Finds the rules that speak of a request without walking through them.
///
/// The rules of one pattern are summed up in one entry: for each action the first rule that allows and the first
/// that denies it. A ``PatternTable`` finds the few patterns that match an address.
struct RuleIndex: Sendable {
    /// What the index knows of a request.
    struct Match {
        var denying: Int?
        var allowing: Int?
        var allowingOtherRepository: Int?
        var allowingOtherAction: Int?
    }

    /// The first rule for each action, -1 for none.
    private struct RuleForAction {
        var pull: Int32 = -1
        var push: Int32 = -1
        var login: Int32 = -1

        subscript(action: RegistryAction) -> Int? {
            let value =
                switch action {
                case .pull: pull
                case .push: push
                case .login: login
                }
            return value < 0 ? nil : Int(value)
        }

        var any: Int? { self[.pull] ?? self[.push] ?? self[.login] }

        mutating func note(_ rule: Int, _ actions: Set<RegistryAction>) {
            let rule = Int32(truncatingIfNeeded: rule)
            if pull < 0, actions.contains(.pull) { pull = rule }
            if push < 0, actions.contains(.push) { push = rule }
            if login < 0, actions.contains(.login) { login = rule }
        }

        /// Credentials are of use only to those who pull or push, so who may do that may log in.
        mutating func noteAllowing(_ rule: Int, _ actions: Set<RegistryAction>) {
            note(rule, actions)
            if login < 0 { login = Int32(truncatingIfNeeded: rule) }
        }
    }

    private struct Rules {
        var allowing = RuleForAction()
        var denying = RuleForAction()

        mutating func note(_ index: Int, _ rule: RegistryRule) {
            if rule.isAllowed {
                allowing.noteAllowing(index, rule.actions)
            } else {
                denying.note(index, rule.actions)
            }
        }
    }

    /// The rules of one pattern.
    private struct Entry {
        /// Those that speak of every repository.
        var everywhere = Rules()
        /// Whether one that allows accepts plain HTTP.
        var isInsecure = false
        /// Those that speak of some: where their patterns are, in `repositories`.
        var repositories: Int32 = -1
    }

    private struct RepositoryRules {
        var byPattern: [String: Rules] = [:]
        /// An allowing rule for some repository, where the repository cannot be seen.
        var allowingSome = RuleForAction()
    }

    /// What the rules say of an address where neither the action nor the repository can be seen.
    enum Standing {
        /// Something is allowed there, by this rule.
        case open(Int)
        /// Pulling and pushing are denied there, pulling by this rule.
        case denied(Int)
        /// Nothing is allowed there; what the rules say of pulling.
        case shut(Match)
    }

    private var table: PatternTable
    /// One for each place of the table.
    private var entries: [Entry] = []
    private var repositories: [RepositoryRules] = []

    init(_ rules: [RegistryRule]) {
        table = PatternTable(minimumCapacity: rules.count)
        entries.reserveCapacity(rules.count)
        for (index, rule) in rules.enumerated() {
            let place = table.place(of: rule.address)
            if place == entries.count { entries.append(Entry()) }
            if rule.isAllowed, rule.isInsecure { entries[place].isInsecure = true }
            if rule.repositories.isEmpty {
                entries[place].everywhere.note(index, rule)
            } else {
                noteRepositories(index, rule, place)
            }
        }
    }

    private mutating func noteRepositories(_ index: Int, _ rule: RegistryRule, _ place: Int) {
        if entries[place].repositories < 0 {
            entries[place].repositories = Int32(truncatingIfNeeded: repositories.count)
            repositories.append(RepositoryRules())
        }
        let list = Int(entries[place].repositories)
        if rule.isAllowed { repositories[list].allowingSome.noteAllowing(index, rule.actions) }
        for pattern in rule.repositories {
            repositories[list].byPattern[pattern.description, default: Rules()].note(index, rule)
        }
    }

    func match(_ request: AccessRequest) -> Match {
        match(request, table.matches(request.address))
    }

    private func match(_ request: AccessRequest, _ places: [Int]) -> Match {
        var match = Match()
        for place in places { note(entries[place], request, &match) }
        return match
    }

    /// What the rules say of an address as a whole.
    func standing(of address: RegistryAddress) -> Standing {
        let places = table.matches(address)
        let pull = match(AccessRequest(.pull, address), places)
        if pull.denying == nil, let rule = pull.allowing { return .open(rule) }
        let push = match(AccessRequest(.push, address), places)
        if push.denying == nil, let rule = push.allowing { return .open(rule) }
        // Who may neither pull nor push there has no use for a login.
        if let rule = pull.denying, push.denying != nil { return .denied(rule) }
        let login = match(AccessRequest(.login, address), places)
        if login.denying == nil, let rule = login.allowing { return .open(rule) }
        return .shut(pull)
    }

    /// Whether a rule that speaks of the address and allows something accepts plain HTTP.
    func acceptsPlainHTTP(at address: RegistryAddress) -> Bool {
        table.matches(address).contains { entries[$0].isInsecure }
    }

    private func note(_ entry: Entry, _ request: AccessRequest, _ match: inout Match) {
        note(entry.everywhere, request.action, &match)
        guard entry.repositories >= 0 else { return }
        let rules = repositories[Int(entry.repositories)]
        if let repository = request.repository {
            RepositoryPattern.forEachCandidate(for: repository) { candidate in
                if let rules = rules.byPattern[candidate] { note(rules, request.action, &match) }
            }
            match.allowingOtherRepository = match.allowingOtherRepository ?? rules.allowingSome[request.action]
        } else {
            match.allowing = match.allowing ?? rules.allowingSome[request.action]
        }
        match.allowingOtherAction = match.allowingOtherAction ?? rules.allowingSome.any
    }

    private func note(_ rules: Rules, _ action: RegistryAction, _ match: inout Match) {
        match.denying = match.denying ?? rules.denying[action]
        match.allowing = match.allowing ?? rules.allowing[action]
        match.allowingOtherAction = match.allowingOtherAction ?? rules.allowing.any
    }
}
