import LocalInstallation
import RegistryAccess

/// What the policy says to somebody who wants to leave the machine, and what the decision log will hold of it.
///
/// The decision is a function of its arguments; what cannot be read is refused.
struct EgressDecision: Sendable, Hashable {
    /// The sentence of a refusal; `nil` lets it pass.
    let refusal: String?
    /// What was decided.
    let verdict: Verdict
    /// For the decision log.
    let record: DecisionRecord

    /// What is decided about.
    enum Question: Sendable, Hashable {
        /// Whether a host may be reached; plain HTTP goes only where a rule accepts it.
        case reaching(EgressTarget, isPlainHTTP: Bool)
        /// The same for a host that cannot be read.
        case unreadable(authority: String, InvalidRegistryAddress)
        /// Whether a name may lead to an address.
        case address(EgressTarget, RegistryAddress)
        /// Something in a tunnel to an allowed host that no rule can allow.
        case tunnel(EgressTarget, Verdict.Reason)
    }

    /// Decides.
    ///
    /// - Parameters:
    ///   - question: what about.
    ///   - policy: the policy in force.
    ///   - servers: where the organization's own server is, which is open whatever the policy says.
    ///   - id: the decision's name; all that is decided for one request share it.
    ///   - time: when.
    init(
        _ question: Question,
        under policy: PolicyInForce,
        servers: [ServerURL] = [],
        id: DecisionID,
        at time: UTCTime
    ) {
        let address: RegistryAddress?
        var subject: String?
        var obstacle: String?
        switch question {
        case .reaching(let target, let isPlainHTTP):
            address = target.address
            verdict = Self.verdict(onReaching: target.address, isPlainHTTP: isPlainHTTP, policy, servers)
        case .unreadable(let authority, let error):
            address = nil
            subject = Self.printable(authority)
            obstacle = "\(error)"
            verdict = policy.verdict(refusing: .notInspected)
        case .address(let target, let leadsTo):
            address = target.address
            subject = leadsTo.description
            let isServer = Self.isServer(target.address, at: leadsTo, servers)
            verdict = isServer ? Verdict(.allow, .organizationServer) : Self.verdict(onLeadingTo: leadsTo, policy)
        case .tunnel(let target, let reason):
            address = target.address
            verdict = policy.verdict(refusing: reason)
        }
        if verdict.isAllowed {
            refusal = nil
        } else {
            var subject = Refusal.Subject.notInspected(obstacle ?? "")
            if let address { subject = .registry(address, verdict.reason) }
            refusal = policy.refusal(of: policy.refusalOfEverything ?? subject, id: id).sentence
        }
        record = DecisionRecord(
            id: id,
            time: time.description,
            point: .egressProxy,
            reaching: address,
            subject: subject,
            verdict: verdict,
            policy: policy.policy,
            obstacle: obstacle
        )
    }

    private static func verdict(
        onReaching address: RegistryAddress,
        isPlainHTTP: Bool,
        _ policy: PolicyInForce,
        _ servers: [ServerURL]
    ) -> Verdict {
        let verdict = policy.verdict(onReaching: address, orOneOf: servers)
        guard isPlainHTTP, verdict.outcome == .allow else { return verdict }
        let isAccepted = acceptsPlainHTTP(at: address, policy, servers) ?? true
        return isAccepted ? verdict : policy.verdict(refusing: .plainHTTP)
    }

    /// Whether what goes to a host need not be TLS; `nil` where nobody says.
    static func acceptsPlainHTTP(
        at address: RegistryAddress,
        _ policy: PolicyInForce,
        _ servers: [ServerURL]
    ) -> Bool? {
        let ofServer = servers.filter { $0.target.address == address }
        guard ofServer.isEmpty else { return ofServer.contains { !$0.isEncrypted } }
        return policy.policy?.acceptsPlainHTTP(at: address)
    }

    /// Whether the enrollment itself says that the organization's server is at an address, be it this very machine's.
    private static func isServer(
        _ target: RegistryAddress,
        at address: RegistryAddress,
        _ servers: [ServerURL]
    ) -> Bool {
        guard servers.contains(where: { $0.target.address == target }) else { return false }
        return target == address || target.isLoopback && address.isLoopback
    }

    /// A registry is not where nobody has one, unless a rule names the very address.
    private static func verdict(onLeadingTo address: RegistryAddress, _ policy: PolicyInForce) -> Verdict {
        guard address.isSpecialPurpose else { return Verdict(.allow, .allowedByRule) }
        let verdict = policy.verdict(onReaching: address)
        let pattern = verdict.rule.flatMap { rule in policy.policy?.rules[rule].address.description }
        // "**" means every registry, and not the metadata service of a cloud.
        let isNamed = verdict.outcome == .allow && pattern != "**"
        return isNamed ? verdict : policy.verdict(refusing: .forbiddenAddress)
    }

    /// At most 80 characters of what was asked for.
    private static func printable(_ text: String) -> String {
        let bytes = text.utf8.prefix(80).map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }
        return String(decoding: bytes, as: UTF8.self)
    }
}
