public import RegistryAccess

/// What decides on this machine now.
public enum PolicyInForce: Sendable {
    /// The machine has no policy: everything is allowed.
    case unmanaged
    /// A policy.
    case policy(AccessPolicy, source: PolicySource)
    /// The organization that the machine belongs to lets nobody use registries now: everything that touches one is refused.
    case withheld(WithheldPolicy)
    /// There should be a policy, but neither the file nor the last valid copy of it can be used: everything that
    /// touches a registry is refused. The text says why.
    case unavailable(String)

    /// Finds the policy of this machine: the organization's if the machine belongs to one, otherwise the policy file.
    ///
    /// What the organization has in force is what docker-ramd has written down (``OrganizationPolicy``).
    ///
    /// The policy file must be a regular file that belongs to root and that nobody else may write to, in a directory
    /// of which the same is true; under another root than `/` it may belong to the caller too. A file that cannot be
    /// used leaves the policy in force that docker-ramd read last (``InstallationPaths/lastValidPolicy``), and
    /// ``PolicySource/problem`` says what is wrong with it. A file that is not there means an unmanaged machine; a
    /// symbolic link that leads nowhere is a file that cannot be used.
    ///
    /// - Parameters:
    ///   - paths: where to look.
    ///   - packs: which hosts registries send their clients to; those of the machine unless given. Who asks about
    ///     images and logins only has no need of any, and saves the time to read them.
    ///   - now: the time, after which what the organization has said may not hold any more.
    /// - Returns: what decides.
    public static func load(
        _ paths: InstallationPaths,
        packs: RegistryPacks? = nil,
        at now: Instant = .now()
    ) -> PolicyInForce {
        switch Enrollment.read(paths) {
        case .none: loadPolicyFile(paths, packs)
        case .enrolled(let enrollment): OrganizationPolicy.load(paths, of: enrollment, packs: packs, at: now)
        case .faulty(let problem): .unavailable(problem)
        }
    }

    private static func loadPolicyFile(_ paths: InstallationPaths, _ packs: RegistryPacks?) -> PolicyInForce {
        switch readPolicyFile(paths, packs: packs) {
        case .missing: .unmanaged
        case .policy(let policy, _): .policy(policy, source: PolicySource(path: paths.policyFile, problem: nil))
        case .faulty(let problem):
            if let policy = lastValid(paths, packs) {
                .policy(policy, source: PolicySource(path: paths.lastValidPolicy, problem: problem))
            } else {
                .unavailable(problem)
            }
        }
    }

    /// Decides.
    ///
    /// - Parameter request: what is wanted.
    /// - Returns: the verdict of the policy; everything on an unmanaged machine, nothing where the policy is
    ///   unavailable or withheld.
    public func verdict(on request: AccessRequest) -> Verdict {
        switch self {
        case .unmanaged: Verdict(.allow, .unmanaged)
        case .policy(let policy, _): policy.verdict(on: request)
        case .withheld(let withheld): withheld.verdict
        case .unavailable: Verdict(.deny, .policyUnavailable)
        }
    }

    /// Decides whether the engine may reach an address, where nothing else can be seen.
    ///
    /// - Parameter address: host and port.
    /// - Returns: the verdict of the policy, as in ``verdict(on:)``.
    public func verdict(onReaching address: RegistryAddress) -> Verdict {
        switch self {
        case .unmanaged: Verdict(.allow, .unmanaged)
        case .policy(let policy, _): policy.verdict(onReaching: address)
        case .withheld(let withheld): withheld.verdict
        case .unavailable: Verdict(.deny, .policyUnavailable)
        }
    }

    /// Decides whether the engine may reach an address, the organization's own server included: that one is open whatever
    /// is in force, also where nothing is, so that people can sign in and come by something newer.
    ///
    /// - Parameters:
    ///   - address: host and port.
    ///   - servers: ``Enrollment/servers`` of this machine.
    /// - Returns: the verdict of the policy, as in ``verdict(on:)``, or ``Verdict/Reason/organizationServer``.
    public func verdict(onReaching address: RegistryAddress, orOneOf servers: [ServerURL]) -> Verdict {
        let isServer = servers.contains { $0.target.address == address }
        return isServer ? Verdict(.allow, .organizationServer) : verdict(onReaching: address)
    }

    /// Decides whether the engine may reach a host that a registry sends its clients to.
    ///
    /// - Parameter host: one of the hosts that ``packs`` name.
    /// - Returns: the verdict of the policy, as in ``verdict(on:)``.
    public func verdict(onReaching host: RegistryPacks.Host) -> Verdict {
        switch self {
        case .unmanaged: Verdict(.allow, .unmanaged)
        case .policy(let policy, _): policy.verdict(onReaching: host)
        case .withheld(let withheld): withheld.verdict
        case .unavailable: Verdict(.deny, .policyUnavailable)
        }
    }

    /// The verdict on something that no rule can allow, like a request that could not be inspected.
    ///
    /// - Parameter reason: why it would be refused.
    /// - Returns: a refusal, unless the machine is unmanaged or the policy is switched off or in audit mode.
    public func verdict(refusing reason: Verdict.Reason) -> Verdict {
        switch self {
        case .unmanaged: Verdict(.allow, .unmanaged)
        case .policy(let policy, _): policy.verdict(refusing: reason)
        case .withheld(let withheld): withheld.verdict
        case .unavailable: Verdict(.deny, .policyUnavailable)
        }
    }

    /// Which hosts registries send their clients to; those of the programs where there is no policy.
    public var packs: RegistryPacks { policy?.packs ?? .embedded }

    /// The policy, if there is one.
    public var policy: AccessPolicy? {
        if case .policy(let policy, _) = self { policy } else { nil }
    }

    /// A refusal under this policy, with whom to ask: with a command where the policy is from an organization's server.
    ///
    /// - Parameters:
    ///   - subject: what is refused.
    ///   - id: the decision's name.
    /// - Returns: the refusal.
    public func refusal(of subject: Refusal.Subject, id: DecisionID) -> Refusal {
        guard case .policy(let policy, let source) = self else { return Refusal(subject, id: id, policy: nil) }
        return Refusal(subject, id: id, policy: policy, takesRequests: source.organization != nil)
    }

    /// What a refusal speaks of where nothing that touches a registry passes; `nil` where a policy decides.
    public var refusalOfEverything: Refusal.Subject? {
        switch self {
        case .unmanaged, .policy: nil
        case .withheld(let withheld): withheld.subject
        case .unavailable: .policyUnavailable
        }
    }

    /// What is wrong, if something is.
    public var problem: String? {
        switch self {
        case .unmanaged: nil
        case .policy(_, let source): source.problem
        case .withheld(let withheld): withheld.problem
        case .unavailable(let problem): problem
        }
    }

    // MARK: - The policy file

    /// What is at the place of the policy file.
    public enum PolicyFile: Sendable {
        /// Nothing.
        case missing
        /// A policy, and the bytes that it was read from.
        case policy(AccessPolicy, bytes: [UInt8])
        /// Something that cannot be used, and why.
        case faulty(String)
    }

    /// Reads the policy file and nothing else.
    ///
    /// - Parameters:
    ///   - paths: where it is.
    ///   - packs: which hosts registries send their clients to; those of the machine unless given.
    /// - Returns: what is there.
    public static func readPolicyFile(_ paths: InstallationPaths, packs: RegistryPacks? = nil) -> PolicyFile {
        let packs = packs ?? InstalledPacks.load(paths).packs
        return read(paths.policyFile, trusting: TrustedFile.owners(under: paths), packs)
    }

    private static func lastValid(_ paths: InstallationPaths, _ packs: RegistryPacks?) -> AccessPolicy? {
        // It lies in docker-ramd's own directory and belongs to the user that docker-ramd runs as.
        guard let owner = try? Files.status(paths.stateDirectory).owner else { return nil }
        let packs = packs ?? InstalledPacks.load(paths).packs
        guard case .policy(let policy, _) = read(paths.lastValidPolicy, trusting: [0, owner], packs) else { return nil }
        return policy
    }

    private static func read(
        _ path: String,
        trusting owners: [UInt32],
        _ packs: RegistryPacks
    ) -> PolicyFile {
        do {
            let (bytes, status) = try Files.read(path, atMost: AccessPolicy.longestDocument)
            if let fault = try TrustedFile.fault(in: status, of: path, trusting: owners) { return .faulty(fault) }
            return .policy(try AccessPolicy(json: bytes, packs: packs), bytes: bytes)
        } catch let error as FileError {
            // A link that leads nowhere, say to a volume that is not mounted, is no sign that there is no policy.
            return error.isNotFound && !Files.isSymbolicLink(path) ? .missing : .faulty("\(error)")
        } catch {
            return .faulty("\"\(path)\": \(error)")
        }
    }
}

/// Where the policy in force comes from.
public struct PolicySource: Sendable, Hashable {
    /// What the organization's server has to do with it.
    public struct Organization: Sendable, Hashable {
        /// The server.
        public let server: String
        /// When the server said last that the policy holds.
        public let issued: Instant?
        /// Until when the policy holds if nothing newer comes.
        public let until: Instant
        /// Who is signed in, if somebody is.
        public let user: String?

        /// What a server has to do with a policy.
        ///
        /// - Parameters:
        ///   - server: the server.
        ///   - issued: when the server said last that the policy holds.
        ///   - until: until when the policy holds.
        ///   - user: who is signed in.
        public init(server: String, issued: Instant?, until: Instant, user: String?) {
            self.server = server
            self.issued = issued
            self.until = until
            self.user = user
        }
    }

    /// The file that it was read from.
    public let path: String
    /// Why it is not the policy file itself, if it is not; of an organization's policy, why there is nothing newer, if that
    /// is known.
    public let problem: String?
    /// The organization's server, if the policy is from there.
    public let organization: Organization?

    /// A source.
    ///
    /// - Parameters:
    ///   - path: the file that the policy was read from.
    ///   - problem: why it is not the policy file itself, or why there is nothing newer.
    ///   - organization: the organization's server, if the policy is from there.
    public init(path: String, problem: String? = nil, organization: Organization? = nil) {
        self.path = path
        self.problem = problem
        self.organization = organization
    }
}

/// Why the organization that the machine belongs to lets nobody use registries now.
public struct WithheldPolicy: Sendable, Hashable {
    /// Why.
    public enum Cause: String, Sendable, CaseIterable {
        /// Sign-in is enforced and nobody is signed in.
        case signInRequired = "sign-in-required"
        /// Who is signed in is no member of the organization.
        case notAMember = "not-a-member"
        /// What the organization said last does not hold any more.
        case expired
    }

    /// Why.
    public let cause: Cause
    /// The organization.
    public let organization: String
    /// Its server.
    public let server: String
    /// Who is signed in, if somebody is.
    public let user: String?
    /// More about the cause in a few words, if there is more to say.
    public let reason: String
    /// Until when the policy held that has expired, if that is known.
    public let until: Instant?

    /// Why nothing passes.
    ///
    /// - Parameters:
    ///   - cause: why.
    ///   - organization: the organization.
    ///   - server: its server.
    ///   - user: who is signed in.
    ///   - reason: more about the cause in a few words, or nothing.
    ///   - until: until when the policy held that has expired.
    public init(
        _ cause: Cause,
        organization: String,
        server: String,
        user: String? = nil,
        reason: String = "",
        until: Instant? = nil
    ) {
        self.cause = cause
        self.organization = organization
        self.server = server
        self.user = user
        self.reason = reason
        self.until = until
    }

    /// The verdict on everything that touches a registry.
    public var verdict: Verdict {
        switch cause {
        case .signInRequired: Verdict(.deny, .signInRequired)
        case .notAMember: Verdict(.deny, .notAMember)
        case .expired: Verdict(.deny, .policyExpired)
        }
    }

    /// What a refusal speaks of.
    var subject: Refusal.Subject {
        switch cause {
        case .signInRequired: .signInRequired(organization: organization)
        case .notAMember: .notAMember(organization: organization, user: user)
        case .expired:
            .policyExpired(organization: organization, why: reason.isEmpty ? "nothing newer has come" : reason)
        }
    }

    /// What is wrong, in words.
    public var problem: String {
        let more = reason.isEmpty ? "" : ": \(reason)"
        return switch cause {
        case .signInRequired: "\(organization) requires you to sign in on this machine, and nobody is signed in\(more)"
        case .notAMember: "\(user ?? "who is signed in") is no member of \(organization)\(more)"
        case .expired: "the policy of \(organization) has expired\(more)"
        }
    }
}
