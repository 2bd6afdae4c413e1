/// Something in a valid policy that its owner may not have meant.
public struct PolicyWarning: Sendable, Hashable, CustomStringConvertible {
    /// The index of the rule in ``AccessPolicy/rules``; `nil` if it is about the whole policy.
    public let rule: Int?
    /// What it is.
    public let description: String
}

extension AccessPolicy {
    /// What the owner should look at again, in the order of the rules.
    ///
    /// The walk is linear in the rules.
    public var warnings: [PolicyWarning] {
        var warnings: [PolicyWarning] = []
        if !isEnabled { warnings.append(PolicyWarning(rule: nil, description: "the policy is switched off")) }
        if isEnabled, mode == .audit {
            warnings.append(PolicyWarning(rule: nil, description: "audit mode: nothing is refused"))
        }
        if !rules.contains(where: \.isAllowed) {
            warnings.append(PolicyWarning(rule: nil, description: "no rule allows anything, not even Docker Hub"))
        }
        if contact == nil {
            warnings.append(
                PolicyWarning(rule: nil, description: "there is no \"contact\", so refusals cannot say whom to ask")
            )
        }
        var firstWithPattern: [String: Int] = [:]
        for (index, rule) in rules.enumerated() {
            if let text = warning(about: rule, index, &firstWithPattern) {
                warnings.append(PolicyWarning(rule: index, description: text))
            }
        }
        return warnings
    }

    private func warning(about rule: RegistryRule, _ index: Int, _ first: inout [String: Int]) -> String? {
        let pattern = rule.address
        if rule.isAllowed, let reason = ([pattern] + rule.supportHosts).lazy.compactMap(\.broadness).first {
            return "\"\(pattern)\" is broad: \(reason)"
        }
        if pattern.host == .exactly, ["auth.docker.io", "hub.docker.com"].contains(pattern.name) {
            return "\"\(pattern)\" is a support host of Docker Hub; the registry is \"docker.io\""
        }
        // Two rules for one registry are ordinary as long as they differ in what they speak of.
        if rule.repositories.isEmpty, rule.actions == RegistryRule.everyAction {
            if let other = first[pattern.description] {
                return rules[other].isAllowed == rule.isAllowed
                    ? "\"\(pattern)\" is already rule \(other + 1)"
                    : "\"\(pattern)\" is allowed and denied; deny wins"
            }
            first[pattern.description] = index
        }
        return nil
    }
}
