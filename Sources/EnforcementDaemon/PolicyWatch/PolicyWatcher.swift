import LocalInstallation
import Logging
import NIOPosix
import RegistryAccess

/// Keeps the policy in force equal to the policy file, and to the registry packs that it is read with; where the machine
/// belongs to an organization, it leaves that to the ``OrganizationKeeper``.
///
/// A file that cannot be used leaves the policy in force that was read last, and says so loudly. Each policy that was
/// read without an error is kept in ``InstallationPaths/lastValidPolicy``, from where it survives a restart.
actor PolicyWatcher {
    private let paths: InstallationPaths
    private let current: CurrentPolicy
    private let logger: Logger
    private let now: @Sendable () -> UTCTime
    private var seen: PolicyFileState
    /// The hash of the content that is in force, to tell a new policy of the same version from the same policy.
    private var contentHash: Int?
    private var readings = 0
    private var packs: InstalledPacks
    private var enrollment: Enrollment.Reading
    /// Keeps what the organization has in force, if the machine belongs to one.
    let organization: OrganizationKeeper

    /// Reads the policy for the first time; if the machine belongs to an organization, that is for ``begin()``.
    init(
        _ paths: InstallationPaths,
        logger: Logger,
        pace: OrganizationKeeper.Pace = OrganizationKeeper.Pace(),
        settings: DaemonSettings.EgressProxy = DaemonSettings.EgressProxy(),
        now: @escaping @Sendable () -> UTCTime = UTCTime.now
    ) {
        self.paths = paths
        self.logger = logger
        self.now = now
        seen = PolicyFileState(paths, now: now())
        packs = InstalledPacks.load(paths)
        enrollment = Enrollment.read(paths)
        let time = now()
        guard enrollment == .none else {
            let starting = PolicyInForce.unavailable("docker-ramd is starting")
            current = CurrentPolicy(PolicySnapshot(inForce: starting, loadedAt: time))
            organization = OrganizationKeeper(paths, current, logger: logger, pace: pace, settings: settings)
            packs.announce(to: logger)
            return
        }
        switch PolicyInForce.readPolicyFile(paths) {
        case .missing: current = CurrentPolicy(PolicySnapshot(inForce: .unmanaged, loadedAt: time))
        case .policy(let policy, let bytes):
            let source = PolicyInForce.policy(policy, source: PolicySource(path: paths.policyFile))
            current = CurrentPolicy(PolicySnapshot(inForce: source, loadedAt: time))
            contentHash = Self.hash(bytes, policy)
            Self.keep(bytes, paths, logger)
        case .faulty(let problem):
            let inForce = PolicyInForce.load(paths)
            current = CurrentPolicy(PolicySnapshot(inForce: inForce, loadedAt: time, problem: problem))
        }
        organization = OrganizationKeeper(paths, current, logger: logger, pace: pace, settings: settings)
        current.snapshot.announce(to: logger)
        packs.announce(to: logger)
    }

    /// Finds what the organization has in force, if the machine belongs to one.
    func begin() async {
        guard enrollment != .none else { return }
        await check(always: true)
    }

    /// The policy in force.
    nonisolated var policy: CurrentPolicy { current }

    /// Looks at the policy file again and again until the task is cancelled.
    ///
    /// - Parameter interval: how long to wait in between.
    func run(every interval: Duration = .milliseconds(250)) async {
        while !Task.isCancelled {
            await check()
            try? await Task.sleep(for: interval)
        }
    }

    /// Reads the policy file if it has changed.
    ///
    /// - Parameter always: whether to read it even if it looks the same.
    func check(always: Bool = false) async {
        let state = PolicyFileState(paths, now: now())
        guard always || state != seen || seen.isFresh else { return }
        seen = state
        readings += 1
        let (paths, logger, reading) = (paths, logger, readings)
        enrollment = Enrollment.read(paths)
        let installed = InstalledPacks.load(paths)
        if installed != packs { installed.announce(to: logger) }
        packs = installed
        await organization.follow(enrollment.enrollment, packs: installed.packs)
        // Whoever wants it asked gets that, also if another reading has begun meanwhile.
        if always { await organization.refresh() }
        guard reading == readings else { return }
        switch enrollment {
        case .enrolled:
            contentHash = nil
            return
        case .faulty(let problem):
            contentHash = nil
            let snapshot = PolicySnapshot(inForce: .unavailable(problem), loadedAt: now(), problem: problem)
            if !snapshot.isAnnouncedLike(current.snapshot) {
                current.replace(with: snapshot, sayingSoTo: logger)
            }
            return
        case .none: break
        }
        // A policy of a million rules takes seconds to read.
        let file = try? await NIOThreadPool.singleton.runIfActive {
            let file = PolicyInForce.readPolicyFile(paths)
            if case .policy(_, let bytes) = file { Self.keep(bytes, paths, logger) }
            return file
        }
        // What another reading has overtaken may be older than what is in force.
        guard let file, reading == readings else { return }
        take(file)
    }

    /// What tells one policy from another, the packs that it was read with included.
    private static func hash(_ bytes: [UInt8], _ policy: AccessPolicy) -> Int {
        var hasher = Hasher()
        hasher.combine(bytes)
        hasher.combine(policy.packs)
        return hasher.finalize()
    }

    private func take(_ file: PolicyInForce.PolicyFile) {
        let old = current.snapshot
        let oldHash = contentHash
        var new = PolicySnapshot(inForce: .unmanaged, loadedAt: now())
        switch file {
        case .missing: contentHash = nil
        case .policy(let policy, let bytes):
            contentHash = Self.hash(bytes, policy)
            new.inForce = .policy(policy, source: PolicySource(path: paths.policyFile))
        case .faulty(let problem):
            new = old
            new.problem = problem
            // On an unmanaged machine a policy has been meant, so everything is refused until it can be read.
            if old.inForce.policy == nil || !old.servers.isEmpty { new.inForce = PolicyInForce.load(paths) }
            new.servers = []
        }
        if contentHash == oldHash, new.isAnnouncedLike(old) { return }
        current.replace(with: new)
        new.announce(to: logger)
    }

    private static func keep(_ bytes: [UInt8], _ paths: InstallationPaths, _ logger: Logger) {
        do throws(FileError) {
            if let kept = try? Files.read(paths.lastValidPolicy, atMost: bytes.count).bytes, kept == bytes { return }
            try Files.makeDirectory(paths.stateDirectory)
            try Files.replace(paths.lastValidPolicy, with: bytes, mode: 0o644)
        } catch {
            logger.error("the policy cannot be kept for the next start", metadata: ["error": "\(error)"])
        }
    }
}

/// What tells one state of the policy file, and of the registry packs and the enrollment beside it, from another without reading them.
private struct PolicyFileState: Equatable {
    private let files: [FileStatus?]
    private let directories: [DirectoryState?]
    /// Whether a file changed so shortly before that a further change might have the same time.
    let isFresh: Bool

    init(_ paths: InstallationPaths, now: UTCTime) {
        let names = [
            paths.policyFile, paths.registryPacks, paths.enrollment, paths.registryRequirement,
            paths.desktopRegistryRequirement,
        ]
        files = names.map { try? Files.status($0) }
        directories = [paths.policyFile, paths.desktopRegistryRequirement].map { name in
            (try? Files.status(Files.directory(of: name))).map { DirectoryState(owner: $0.owner, mode: $0.mode) }
        }
        isFresh = files.contains { file in
            // The last two parts of the identity are the time of the last change, in seconds and nanoseconds.
            let change = file.map { $0.identity.suffix(2).reduce(0) { $0 &* 1_000_000_000 &+ $1 } / 1_000_000 }
            return change.map { abs(Int64($0) - now.milliseconds) < 100 } ?? false
        }
    }
}

private struct DirectoryState: Equatable {
    let owner: UInt32
    let mode: UInt32
}

extension PolicySnapshot {
    /// What `status` says about it.
    var status: DaemonStatus.Policy {
        var status = DaemonStatus.Policy(state: .unmanaged, loadedAt: loadedAt.description, problem: problem)
        switch inForce {
        case .unmanaged: break
        case .withheld(let withheld):
            status.state = DaemonStatus.Policy.State(withheld.cause)
            status.organization = withheld.organization
            status.problem = withheld.problem
        case .unavailable(let text):
            status.state = .unavailable
            status.problem = problem ?? text
        case .policy(let policy, let source):
            status.state = policy.isEnabled ? (policy.mode == .audit ? .audit : .enforce) : .disabled
            status.source = source.path
            status.organization = policy.organization
            status.policyVersion = policy.version
            status.rules = policy.rules.count
            status.contact = policy.contact
            status.problem = problem ?? source.problem
            status.until = source.organization?.until.description
        }
        return status
    }

    /// Whether the two would be announced in the same words.
    func isAnnouncedLike(_ other: PolicySnapshot) -> Bool {
        var (mine, others) = (status, other.status)
        mine.loadedAt = nil
        others.loadedAt = nil
        return mine == others
    }

    /// Says what is in force; everything but plain enforcement is said so that nobody overlooks it.
    func announce(to logger: Logger) {
        let status = status
        var metadata: Logger.Metadata = ["policy.state": "\(status.state.rawValue)"]
        if let source = status.source { metadata["policy.source"] = "\(source)" }
        if let organization = status.organization { metadata["policy.organization"] = "\(organization)" }
        if let version = status.policyVersion { metadata["policy.version"] = "\(version)" }
        if let rules = status.rules { metadata["policy.rules"] = "\(rules)" }
        if let problem = status.problem {
            metadata["policy.problem"] = "\(problem)"
            if servers.isEmpty { logger.error("THE POLICY FILE CANNOT BE USED", metadata: metadata) }
        }
        switch status.state {
        case .enforce: logger.notice("policy in force", metadata: metadata)
        case .audit: logger.notice("AUDIT MODE: nothing is refused, refusals are recorded only", metadata: metadata)
        case .disabled: logger.notice("THE POLICY IS SWITCHED OFF: everything is allowed", metadata: metadata)
        case .unmanaged: logger.notice("UNMANAGED: there is no policy, everything is allowed", metadata: metadata)
        case .unavailable: logger.error("NO POLICY CAN BE READ: every registry is refused", metadata: metadata)
        case .signInRequired: logger.notice("SIGN-IN IS REQUIRED: every registry is refused", metadata: metadata)
        case .notAMember: logger.notice("NOT A MEMBER: every registry is refused", metadata: metadata)
        case .expired: logger.error("THE POLICY HAS EXPIRED: every registry is refused", metadata: metadata)
        }
    }
}

extension InstalledPacks {
    /// Says what is in force, if it is not simply what the program brought with it.
    fileprivate func announce(to logger: Logger) {
        var metadata: Logger.Metadata = ["packs.version": "\(packs.version)"]
        if let path { metadata["packs.source"] = "\(path)" }
        if let problem {
            metadata["packs.problem"] = "\(problem)"
            logger.error("THE REGISTRY PACKS FILE CANNOT BE USED", metadata: metadata)
        } else if packs != .embedded {
            logger.notice("registry packs in force", metadata: metadata)
        }
    }
}
