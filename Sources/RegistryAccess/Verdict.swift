/// What the policy says to a request, and why.
public struct Verdict: Sendable, Hashable {
    /// What is to be done.
    public enum Outcome: String, Sendable, Codable {
        /// Let it pass.
        case allow
        /// Refuse it.
        case deny
        /// Let it pass and record that it would have been refused: the policy is in audit mode.
        case wouldDeny = "would-deny"
    }

    /// Why; the raw values are what the decision log holds.
    public enum Reason: String, Sendable, Codable {
        /// A rule allows it.
        case allowedByRule = "rule"
        /// A rule denies it, or the only registry whose support host it is.
        case deniedByRule = "denied-by-rule"
        /// The policy allows imports that cannot be inspected.
        case importsAllowed = "imports-allowed"
        /// No rule speaks of the registry.
        case noRule = "no-rule"
        /// Rules allow the registry, but not this action.
        case action
        /// Rules allow the registry, but not this repository.
        case repository
        /// The policy is switched off.
        case disabled
        /// The machine has no policy.
        case unmanaged
        /// The request could not be inspected.
        case notInspected = "not-inspected"
        /// The policy should be there but cannot be read.
        case policyUnavailable = "policy-unavailable"
        /// Sign-in is enforced on this machine and nobody is signed in.
        case signInRequired = "sign-in-required"
        /// Who is signed in is no member of the organization that the machine belongs to.
        case notAMember = "not-a-member"
        /// What the organization said last does not hold any more.
        case policyExpired = "policy-expired"
        /// It is the server of the organization that the machine belongs to, which is open whatever the policy says.
        case organizationServer = "organization-server"
        /// It would put something else in the place of the authorization plugin.
        case ownPlugin = "own-plugin"
        /// A rule allows a registry that sends its clients to this host, by its registry pack or by the `supportHosts`
        /// of the rule; only the egress proxy lets it pass, and it is no registry.
        case supportHost = "support-host"
        /// It would make a BuildKit container that does not go through the egress proxy.
        case unmanagedBuilder = "unmanaged-builder"
        /// The name leads to an address that no registry has (loopback, link-local, multicast or our own), and no rule
        /// names that address.
        case forbiddenAddress = "forbidden-address"
        /// Plain HTTP to a registry of which no rule that allows says `insecure`.
        case plainHTTP = "plain-http"
        /// The TLS session in a tunnel is for another host than the tunnel.
        case serverName = "server-name"
        /// What comes through a tunnel is not TLS.
        case notTLS = "not-tls"
    }

    /// What is to be done.
    public let outcome: Outcome
    /// Why.
    public let reason: Reason
    /// The index of the rule that decided, in ``AccessPolicy/rules``; for a refusal by ``Reason/action`` or
    /// ``Reason/repository`` a rule that speaks of the registry.
    public let rule: Int?

    /// A verdict.
    ///
    /// - Parameters:
    ///   - outcome: what is to be done.
    ///   - reason: why.
    ///   - rule: the index of the rule that decided.
    public init(_ outcome: Outcome, _ reason: Reason, rule: Int? = nil) {
        self.outcome = outcome
        self.reason = reason
        self.rule = rule
    }

    /// Whether the request passes.
    public var isAllowed: Bool { outcome != .deny }
}
