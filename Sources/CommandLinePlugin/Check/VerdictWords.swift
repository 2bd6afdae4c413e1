import LocalInstallation
import RegistryAccess

extension Verdict {
    /// The verdict as a word.
    var word: String {
        switch outcome {
        case .allow: "allowed"
        case .deny: "denied"
        case .wouldDeny: "would be denied"
        }
    }

    /// The color of the word.
    var color: Terminal.Color {
        switch outcome {
        case .allow: .green
        case .deny: .red
        case .wouldDeny: .yellow
        }
    }

    /// Why, in words.
    ///
    /// - Parameters:
    ///   - address: what was asked about.
    ///   - action: what is wanted there.
    ///   - repository: of what, if that can be seen.
    ///   - policy: what decided.
    /// - Returns: half a sentence.
    func inWords(
        on address: RegistryAddress,
        action: RegistryAction? = nil,
        repository: String? = nil,
        by policy: PolicyInForce
    ) -> String {
        let pattern = rule(of: policy).map { "\($0.address)" } ?? "\(address)"
        let text =
            switch reason {
            case .allowedByRule: "by the rule for \(pattern)"
            case .deniedByRule: "the rule for \(pattern) denies it"
            case .noRule: "no rule allows \(address)"
            case .action: "the rule for \(pattern) does not allow \(action?.rawValue ?? "this")"
            case .repository: "the rules for \(pattern) do not allow \(repository ?? "this repository")"
            case .disabled: "the policy is switched off"
            case .unmanaged: "this machine has no policy"
            case .policyUnavailable: "the policy cannot be read"
            case .signInRequired: "nobody is signed in"
            case .notAMember: "who is signed in is no member of the organization"
            case .policyExpired: "the policy has expired"
            case .organizationServer: "the organization's own server"
            case .supportHost: "as a support host of \(pattern)"
            case .notInspected: "the request could not be inspected"
            case .ownPlugin: "the authorization plugin may not be replaced"
            case .importsAllowed: "the policy allows imports"
            case .unmanagedBuilder: "the builder would not use the egress proxy"
            case .forbiddenAddress: "the name leads to an address that is not allowed"
            case .plainHTTP: "plain HTTP is not allowed there"
            case .serverName: "the TLS session is for another host"
            case .notTLS: "what was sent there is not TLS"
            }
        return outcome == .wouldDeny ? "\(text); audit mode lets it pass" : text
    }

    /// The rule that decided.
    func rule(of policy: PolicyInForce) -> RegistryRule? {
        guard let index = rule, let rules = policy.policy?.rules else { return nil }
        return rules.indices.contains(index) ? rules[index] : nil
    }
}
