/// Something in a valid policy that its owner may not have meant.
public struct PolicyWarning: Sendable, Hashable, CustomStringConvertible {
    /// The index of the rule in ``AccessPolicy/rules``; `nil` if it is about the whole policy.
    public let rule: Int?
    /// What it is.
    public let description: String
    /// What it is, without the places of rules: it stays the same when a rule before it comes or goes.
    public let subject: String

    fileprivate init(rule: Int?, _ text: WarningText) {
        self.rule = rule
        description = text.description
        subject = text.subject
    }
}

extension [PolicyWarning] {
    /// Those that a policy brings beyond those of another.
    ///
    /// - Parameter others: the warnings of the other policy.
    /// - Returns: the warnings whose subjects the other policy has not, or not so often, in their order.
    public func beyond(_ others: [PolicyWarning]) -> [PolicyWarning] {
        var known: [String: Int] = [:]
        for warning in others { known[warning.subject, default: 0] += 1 }
        return filter { warning in
            guard let count = known[warning.subject], count > 0 else { return true }
            known[warning.subject] = count - 1
            return false
        }
    }
}

/// What a warning says, in which places of rules may stand.
private struct WarningText: ExpressibleByStringInterpolation {
    let description: String
    let subject: String

    init(_ text: String, subject: String? = nil) {
        description = text
        self.subject = subject ?? text
    }

    init(stringLiteral value: String) { self.init(value) }
}

extension AccessPolicy {
    /// What the owner should look at again, in the order of the rules.
    ///
    /// The walk is linear in the rules.
    public var warnings: [PolicyWarning] {
        var warnings: [PolicyWarning] = []
        if !isEnabled { warnings.append(PolicyWarning(rule: nil, "the policy is switched off")) }
        if isEnabled, mode == .audit {
            warnings.append(PolicyWarning(rule: nil, "audit mode: nothing is refused"))
        }
        if !rules.contains(where: \.isAllowed) {
            warnings.append(PolicyWarning(rule: nil, "no rule allows anything, not even Docker Hub"))
        }
        if contact == nil {
            warnings.append(
                PolicyWarning(rule: nil, "there is no \"contact\", so refusals cannot say whom to ask")
            )
        }
        var firstWithPattern: [String: Int] = [:]
        for (index, rule) in rules.enumerated() {
            if let text = warning(about: rule, index, &firstWithPattern) {
                warnings.append(PolicyWarning(rule: index, text))
            }
            if rule.isAllowed {
                for text in egressWarnings(about: rule) {
                    warnings.append(PolicyWarning(rule: index, text))
                }
            }
        }
        return warnings
    }

    /// What a rule opens in the egress proxy beyond its registry, and what else the registry needs but rules deny.
    private func egressWarnings(about rule: RegistryRule) -> [WarningText] {
        let hosts = packs.hosts(openedBy: rule.address)
        var warnings: [WarningText] = []
        let shared = hosts.filter { $0.isShared && verdict(onReaching: $0).reason == .supportHost }.map(\.name)
        if !shared.isEmpty {
            let verb = shared.count == 1 ? "is" : "are"
            warnings.append(
                WarningText(
                    "\"\(rule.address)\" opens \(Self.list(shared)) in the egress proxy, which \(verb) shared: a stranger "
                        + "can keep images or files there, and a build can fetch them or send data to the stranger"
                )
            )
        }
        // Whoever denies the registry itself means it.
        if let address = try? RegistryAddress(rule.address.description),
            verdict(onReaching: address).reason == .deniedByRule
        {
            return warnings
        }
        for host in hosts {
            let verdict = verdict(onReaching: host)
            guard verdict.reason == .deniedByRule, let other = verdict.rule else { continue }
            let need =
                host.isShared
                ? "where \"\(rule.address)\" may keep what it needs for \(host.purpose.inWords)"
                : "without which \"\(rule.address)\" cannot be used: it is there for \(host.purpose.inWords)"
            // Which of several rules denies it makes no difference.
            let denial = "denies \(host.name), \(need)"
            warnings.append(
                WarningText("registry \(other + 1), \"\(rules[other].address)\", \(denial)", subject: denial)
            )
        }
        return warnings
    }

    private static func list(_ names: [String]) -> String {
        names.count < 2 ? names.joined() : names.dropLast().joined(separator: ", ") + " and " + names.suffix(1).joined()
    }

    private func warning(about rule: RegistryRule, _ index: Int, _ first: inout [String: Int]) -> WarningText? {
        let pattern = rule.address
        if rule.isAllowed, let reason = ([pattern] + rule.supportHosts).lazy.compactMap(\.broadness).first {
            return "\"\(pattern)\" is broad: \(reason)"
        }
        if rule.isAllowed, pattern.host == .exactly, let address = try? RegistryAddress(pattern.name),
            let pack = packs.packOfSupportHost(address)
        {
            return "\"\(pattern)\" is a support host of \(pack.name); the registry is \(pack.registriesInWords)"
        }
        // Two rules for one registry are ordinary as long as they differ in what they speak of.
        if rule.repositories.isEmpty, rule.actions == RegistryRule.everyAction {
            if let other = first[pattern.description] {
                guard rules[other].isAllowed == rule.isAllowed else {
                    return "\"\(pattern)\" is allowed and denied; deny wins"
                }
                let repetition = "\"\(pattern)\" is already rule"
                return WarningText("\(repetition) \(other + 1)", subject: repetition)
            }
            first[pattern.description] = index
        }
        return nil
    }
}

extension RegistryPacks.Host.Purpose {
    fileprivate var inWords: String {
        switch self {
        case .registry: "every request"
        case .signIn: "signing in, also of pulls without an account"
        case .content: "layers"
        }
    }
}

extension RegistryPacks.Pack {
    fileprivate var registriesInWords: String {
        registries.map { "\"\($0.text)\"" }.joined(separator: " or ")
    }
}
