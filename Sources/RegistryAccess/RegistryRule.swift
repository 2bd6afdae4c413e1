/// One entry of a policy.
public struct RegistryRule: Sendable, Hashable {
    /// Which registries it speaks of.
    public let address: AddressPattern
    /// What people call them.
    public let nickname: String?
    /// Whether it allows or denies; deny wins over allow.
    public let isAllowed: Bool
    /// The actions that it speaks of; all of them unless the policy names some.
    public let actions: Set<RegistryAction>
    /// The repositories that it speaks of; empty means all.
    public let repositories: [RepositoryPattern]
    /// Whether plain HTTP is accepted there.
    public let isInsecure: Bool
    /// Hosts that the registry sends clients to, opened in the egress proxy only.
    public let supportHosts: [AddressPattern]
    /// Whether the owner has confirmed that the pattern is meant to be as broad as it is.
    public let isBroadAcknowledged: Bool

    static let everyAction = Set(RegistryAction.allCases)

    /// A rule.
    ///
    /// - Parameters:
    ///   - address: which registries it speaks of.
    ///   - nickname: what people call them.
    ///   - isAllowed: whether it allows or denies.
    ///   - actions: the actions that it speaks of; all unless given.
    ///   - repositories: the repositories that it speaks of; empty means all.
    ///   - isInsecure: whether plain HTTP is accepted there.
    ///   - supportHosts: hosts that the registry sends clients to.
    ///   - isBroadAcknowledged: whether a pattern over a shared service is meant so.
    public init(
        address: AddressPattern,
        nickname: String? = nil,
        isAllowed: Bool,
        actions: Set<RegistryAction>? = nil,
        repositories: [RepositoryPattern] = [],
        isInsecure: Bool = false,
        supportHosts: [AddressPattern] = [],
        isBroadAcknowledged: Bool = false
    ) {
        self.address = address
        self.nickname = nickname
        self.isAllowed = isAllowed
        self.actions = actions ?? Self.everyAction
        self.repositories = repositories
        self.isInsecure = isInsecure
        self.supportHosts = supportHosts
        self.isBroadAcknowledged = isBroadAcknowledged
    }
}
