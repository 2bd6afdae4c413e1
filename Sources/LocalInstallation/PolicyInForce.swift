public import RegistryAccess

/// What decides on this machine now.
public enum PolicyInForce: Sendable {
    /// The machine has no policy: everything is allowed.
    case unmanaged
    /// A policy.
    case policy(AccessPolicy, source: PolicySource)
    /// There should be a policy, but neither the file nor the last valid copy of it can be used: everything that
    /// touches a registry is refused. The text says why.
    case unavailable(String)

    /// Finds the policy of this machine.
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
    /// - Returns: what decides.
    public static func load(_ paths: InstallationPaths, packs: RegistryPacks? = nil) -> PolicyInForce {
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
    ///   unavailable.
    public func verdict(on request: AccessRequest) -> Verdict {
        switch self {
        case .unmanaged: Verdict(.allow, .unmanaged)
        case .policy(let policy, _): policy.verdict(on: request)
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
        case .unavailable: Verdict(.deny, .policyUnavailable)
        }
    }

    /// Decides whether the engine may reach a host that a registry sends its clients to.
    ///
    /// - Parameter host: one of the hosts that ``packs`` name.
    /// - Returns: the verdict of the policy, as in ``verdict(on:)``.
    public func verdict(onReaching host: RegistryPacks.Host) -> Verdict {
        switch self {
        case .unmanaged: Verdict(.allow, .unmanaged)
        case .policy(let policy, _): policy.verdict(onReaching: host)
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
        case .unavailable: Verdict(.deny, .policyUnavailable)
        }
    }

    /// Which hosts registries send their clients to; those of the programs where there is no policy.
    public var packs: RegistryPacks { policy?.packs ?? .embedded }

    /// The policy, if there is one.
    public var policy: AccessPolicy? {
        if case .policy(let policy, _) = self { policy } else { nil }
    }

    /// What is wrong, if something is.
    public var problem: String? {
        switch self {
        case .unmanaged: nil
        case .policy(_, let source): source.problem
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
    /// The file that it was read from.
    public let path: String
    /// Why it is not the policy file itself, if it is not.
    public let problem: String?

    /// A source.
    ///
    /// - Parameters:
    ///   - path: the file that the policy was read from.
    ///   - problem: why it is not the policy file itself, if it is not.
    public init(path: String, problem: String? = nil) {
        self.path = path
        self.problem = problem
    }
}
