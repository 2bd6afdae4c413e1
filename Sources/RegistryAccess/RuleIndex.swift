/// Finds the rules that speak of a request without walking through them.
///
/// Each pattern is filed under its canonical text. An address has few texts that could match it: itself, one wildcard
/// for each of its parent domains, one network for each prefix length in use, and `**`; twice as many where some rule
/// leaves the port open.
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
        /// Those that speak of some: where their patterns are, in `repositories`.
        var repositories: Int32 = -1
    }

    private struct RepositoryRules {
        var byPattern: [String: Rules] = [:]
        /// An allowing rule for some repository, where the repository cannot be seen.
        var allowingSome = RuleForAction()
    }

    private var entries: [String: Entry] = [:]
    private var repositories: [RepositoryRules] = []
    private var hasAnyPort = false
    private var hasOneLabel = false
    private var hasManyLabels = false
    private var ipv4Prefixes: [Int] = []
    private var ipv6Prefixes: [Int] = []

    init(_ rules: [RegistryRule]) {
        entries.reserveCapacity(rules.count)
        for (index, rule) in rules.enumerated() {
            note(rule.address)
            let key = rule.address.description
            if rule.repositories.isEmpty {
                entries[key, default: Entry()].everywhere.note(index, rule)
            } else {
                noteRepositories(index, rule, key)
            }
        }
    }

    private mutating func noteRepositories(_ index: Int, _ rule: RegistryRule, _ key: String) {
        var place = entries[key]?.repositories ?? -1
        if place < 0 {
            place = Int32(truncatingIfNeeded: repositories.count)
            repositories.append(RepositoryRules())
            entries[key, default: Entry()].repositories = place
        }
        if rule.isAllowed { repositories[Int(place)].allowingSome.noteAllowing(index, rule.actions) }
        for pattern in rule.repositories {
            repositories[Int(place)].byPattern[pattern.description, default: Rules()].note(index, rule)
        }
    }

    private mutating func note(_ pattern: AddressPattern) {
        switch pattern.host {
        case .everything: return
        case .exactly: break
        case .oneLabelBelow: hasOneLabel = true
        case .labelsBelow: hasManyLabels = true
        case .ipv4Network(_, let prefix): if !ipv4Prefixes.contains(prefix) { ipv4Prefixes.append(prefix) }
        case .ipv6Network(_, _, let prefix): if !ipv6Prefixes.contains(prefix) { ipv6Prefixes.append(prefix) }
        }
        if pattern.port == .any { hasAnyPort = true }
    }

    func match(_ request: AccessRequest) -> Match {
        var match = Match()
        let address = request.address
        let port = address.port.map { ":\($0)" } ?? ""
        forEachHostPattern(address) { host in
            look(port.isEmpty ? host : host + port, request, &match)
            if hasAnyPort { look(host + ":*", request, &match) }
        }
        look("**", request, &match)
        return match
    }

    /// The texts that could match the host, the most specific first.
    private func forEachHostPattern(_ address: RegistryAddress, _ body: (String) -> Void) {
        body(address.host)
        switch address.kind {
        case .name:
            guard hasOneLabel || hasManyLabels else { return }
            var parent = address.host.utf8[...]
            var isFirst = true
            while let dot = parent.firstIndex(of: ASCII.dot) {
                parent = parent[parent.index(after: dot)...]
                let suffix = Substring(parent)
                if isFirst, hasOneLabel { body("*." + suffix) }
                if hasManyLabels { body("**." + suffix) }
                isFirst = false
            }
        case .ipv4(let value):
            for prefix in ipv4Prefixes {
                body("\(IPv4Text.format(AddressPattern.masked(value, prefix: prefix)))/\(prefix)")
            }
        case .ipv6(let high, let low):
            for prefix in ipv6Prefixes {
                let network = AddressPattern.masked(high: high, low: low, prefix: prefix)
                body("[\(IPv6Text.format(high: network.0, low: network.1))]/\(prefix)")
            }
        }
    }

    private func look(_ pattern: String, _ request: AccessRequest, _ match: inout Match) {
        guard let entry = entries[pattern] else { return }
        note(entry.everywhere, request.action, &match)
        guard entry.repositories >= 0 else { return }
        let rules = repositories[Int(entry.repositories)]
        if let repository = request.repository {
            for candidate in RepositoryPattern.candidates(for: repository) {
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
