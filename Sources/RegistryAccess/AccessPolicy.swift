/// An organization's list of registry rules, with a version.
///
/// Deny wins over allow, and what no rule speaks of is denied. A decision costs as much with a million rules as with
/// ten: it looks up the patterns that could match the address, not the rules.
public struct AccessPolicy: Sendable {
    /// What a refusal does.
    public enum Mode: String, Sendable, Codable, CaseIterable {
        /// It refuses.
        case enforce
        /// It is recorded and lets the request pass.
        case audit
    }

    /// Whether an image may be made of a stream that cannot be inspected (`docker import -`).
    public enum Imports: String, Sendable, Codable, CaseIterable {
        /// It may not: a pull can be hidden behind it, see ``EngineRequest``.
        case deny
        /// It may.
        case allow
    }

    /// Whether a BuildKit may run in a container of its own without going through the egress proxy.
    public enum UnmanagedBuilders: String, Sendable, Codable, CaseIterable {
        /// It may not.
        case deny
        /// It may; what it pulls is then not decided by anybody.
        case allow
    }

    /// The version, at least 1.
    public let version: Int
    /// The organization's name.
    public let organization: String
    /// Whether the policy is in force at all.
    public let isEnabled: Bool
    /// What a refusal does.
    public let mode: Mode
    /// Whom to ask for access.
    public let contact: String?
    /// What becomes of imports that cannot be inspected.
    public let imports: Imports
    /// What becomes of BuildKit containers that do not go through the egress proxy.
    public let unmanagedBuilders: UnmanagedBuilders
    /// The rules in the order of the document.
    public let rules: [RegistryRule]

    private let index: RuleIndex

    /// A policy.
    ///
    /// - Parameters:
    ///   - version: the version.
    ///   - organization: the organization's name.
    ///   - isEnabled: whether it is in force.
    ///   - mode: what a refusal does.
    ///   - contact: whom to ask for access.
    ///   - imports: what becomes of imports that cannot be inspected.
    ///   - unmanagedBuilders: what becomes of BuildKit containers that do not go through the egress proxy.
    ///   - rules: the rules.
    public init(
        version: Int,
        organization: String,
        isEnabled: Bool = true,
        mode: Mode = .enforce,
        contact: String? = nil,
        imports: Imports = .deny,
        unmanagedBuilders: UnmanagedBuilders = .allow,
        rules: [RegistryRule]
    ) {
        self.version = version
        self.organization = organization
        self.isEnabled = isEnabled
        self.mode = mode
        self.contact = contact
        self.imports = imports
        self.unmanagedBuilders = unmanagedBuilders
        self.rules = rules
        index = RuleIndex(rules)
    }

    /// Decides.
    ///
    /// Where the repository cannot be seen, the registry is open if any of its rules allows the action for some
    /// repository. Whoever may pull or push may also log in, unless a rule denies that.
    ///
    /// - Parameter request: what is wanted.
    /// - Returns: the verdict; in audit mode a refusal is ``Verdict/Outcome/wouldDeny``.
    public func verdict(on request: AccessRequest) -> Verdict {
        guard isEnabled else { return Verdict(.allow, .disabled) }
        let match = index.match(request)
        if let rule = match.denying { return refusal(.deniedByRule, rule) }
        if let rule = match.allowing { return Verdict(.allow, .allowedByRule, rule: rule) }
        if let rule = match.allowingOtherRepository { return refusal(.repository, rule) }
        if let rule = match.allowingOtherAction { return refusal(.action, rule) }
        return refusal(.noRule, nil)
    }

    /// The verdict on something that no rule can allow: it is refused, recorded in audit mode, and passes when the
    /// policy is switched off.
    ///
    /// - Parameter reason: why it would be refused.
    /// - Returns: the verdict.
    public func verdict(refusing reason: Verdict.Reason) -> Verdict {
        isEnabled ? refusal(reason, nil) : Verdict(.allow, .disabled)
    }

    /// Decides whether the engine may reach an address at all, where nothing else can be seen: in the egress proxy.
    ///
    /// The host of a registry is open if any of its rules allows something there. So are the hosts that an allowed
    /// registry sends its clients to: those of its pack and the `supportHosts` of its rules.
    ///
    /// - Parameter address: host and port.
    /// - Returns: the verdict; in audit mode a refusal is ``Verdict/Outcome/wouldDeny``.
    public func verdict(onReaching address: RegistryAddress) -> Verdict {
        let verdicts = RegistryAction.allCases.map { verdict(on: AccessRequest($0, address)) }
        if let allowed = verdicts.first(where: { $0.outcome == .allow }) { return allowed }
        if let rule = rules.firstIndex(where: { $0.isAllowed && $0.supportHosts.contains { $0.matches(address) } }) {
            return Verdict(.allow, .supportHost, rule: rule)
        }
        return verdicts[0]
    }

    /// Whether a rule that allows something at an address accepts plain HTTP there.
    ///
    /// - Parameter address: host and port.
    /// - Returns: `false` also for a support host, and `true` where no policy is enforced.
    public func acceptsPlainHTTP(at address: RegistryAddress) -> Bool {
        guard isEnabled else { return true }
        return rules.contains { $0.isAllowed && $0.isInsecure && $0.address.matches(address) }
    }

    private func refusal(_ reason: Verdict.Reason, _ rule: Int?) -> Verdict {
        Verdict(mode == .audit ? .wouldDeny : .deny, reason, rule: rule)
    }
}
