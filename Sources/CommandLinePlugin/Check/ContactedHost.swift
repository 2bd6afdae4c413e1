import LocalInstallation
import RegistryAccess

/// A host that a client of a registry contacts, and what the egress proxy makes of it.
struct ContactedHost {
    /// The host; a star stands for what is in one label and differs from client to client.
    let name: String
    /// What it is for; `support` if only a rule knows.
    let purpose: String
    /// Whether strangers can store something there too.
    let isShared: Bool
    let verdict: Verdict
    private let policy: PolicyInForce

    private init(_ host: RegistryPacks.Host, _ policy: PolicyInForce) {
        name = host.name
        purpose = host.purpose.rawValue
        isShared = host.isShared
        verdict = policy.verdict(onReaching: host)
        self.policy = policy
    }

    private init(_ pattern: AddressPattern, _ rule: Int, _ policy: PolicyInForce) {
        name = "\(pattern)"
        purpose = "support"
        isShared = false
        // What is no address but a pattern is open by the rule that names it.
        verdict =
            (try? RegistryAddress(name)).map { policy.verdict(onReaching: $0) }
            ?? Verdict(.allow, .supportHost, rule: rule)
        self.policy = policy
    }

    /// The hosts that a client of a registry contacts.
    ///
    /// - Parameters:
    ///   - registry: the registry.
    ///   - policy: what decides.
    /// - Returns: the registry itself, the hosts of its pack, and the `supportHosts` of the rule that opens it.
    static func all(for registry: RegistryAddress, _ policy: PolicyInForce) -> [ContactedHost] {
        var hosts = policy.packs.hosts(for: registry).map { ContactedHost($0, policy) }
        let own = policy.verdict(onReaching: registry)
        if own.reason == .allowedByRule, let rule = own.rule(of: policy), let index = own.rule {
            let known = Set(hosts.map(\.name))
            hosts += rule.supportHosts.filter { !known.contains("\($0)") }.map { ContactedHost($0, index, policy) }
        }
        return hosts
    }

    /// Whether the egress proxy lets it pass.
    var word: String {
        switch verdict.outcome {
        case .allow: "open"
        case .deny: "shut"
        case .wouldDeny: "audit"
        }
    }

    /// By what.
    var reason: String {
        let rule = verdict.rule.map { "rule \($0 + 1)" } ?? "no rule"
        var words =
            switch verdict.reason {
            case .deniedByRule: "\(rule) denies it"
            case .supportHost: "\(rule), \(isNamed ? "supportHosts" : "registry pack")"
            case .disabled: "the policy is switched off"
            case .unmanaged: "no policy"
            case .policyUnavailable: "the policy cannot be read"
            case .signInRequired: "nobody is signed in"
            case .notAMember: "not a member"
            case .policyExpired: "the policy has expired"
            case .organizationServer: "the organization's own server"
            case .allowedByRule: rule
            default: "no rule"
            }
        if isShared { words += "; shared" }
        return words
    }

    private var isNamed: Bool {
        guard let rule = verdict.rule(of: policy) else { return false }
        if purpose == "support" { return true }
        guard let address = try? RegistryAddress(name) else { return false }
        return rule.supportHosts.contains { $0.matches(address) }
    }

    var json: JSONValue {
        .object([
            JSONMember("host", .string(name)),
            JSONMember("purpose", .string(purpose)),
            JSONMember("shared", .bool(isShared)),
            JSONMember("verdict", .string(verdict.outcome.rawValue)),
            JSONMember("reason", .string(verdict.reason.rawValue)),
            JSONMember("rule", .text(verdict.rule(of: policy)?.address.description)),
        ])
    }
}
