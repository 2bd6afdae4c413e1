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
    public private(set) var version: Int
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

    /// Which hosts the registries send their clients to.
    public let packs: RegistryPacks

    let index: RuleIndex
    let egress: EgressIndex

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
    ///   - packs: which hosts the registries send their clients to.
    public init(
        version: Int,
        organization: String,
        isEnabled: Bool = true,
        mode: Mode = .enforce,
        contact: String? = nil,
        imports: Imports = .deny,
        unmanagedBuilders: UnmanagedBuilders = .allow,
        rules: [RegistryRule],
        packs: RegistryPacks = .embedded
    ) {
        self.version = version
        self.organization = organization
        self.isEnabled = isEnabled
        self.mode = mode
        self.contact = contact
        self.imports = imports
        self.unmanagedBuilders = unmanagedBuilders
        self.rules = rules
        self.packs = packs
        index = RuleIndex(rules)
        egress = EgressIndex(rules, index, packs)
    }

    /// The same policy under another number.
    ///
    /// - Parameter version: the version.
    /// - Returns: the policy, without reading a rule again.
    package func numbered(_ version: Int) -> AccessPolicy {
        var policy = self
        policy.version = version
        return policy
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
        return verdict(index.match(request))
    }

    func verdict(_ match: RuleIndex.Match) -> Verdict {
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

    func refusal(_ reason: Verdict.Reason, _ rule: Int?) -> Verdict {
        Verdict(mode == .audit ? .wouldDeny : .deny, reason, rule: rule)
    }
}
