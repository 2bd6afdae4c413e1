import LocalInstallation
import OrganizationClient
import RegistryAccess
import SignedPolicy

/// What a machine has of the organization that it belongs to, in memory and on disk, and what follows from it: without the
/// network, so that every step of it is one that nothing comes between.
struct OrganizationState: Sendable {
    /// To whom the machine belongs.
    let enrollment: Enrollment
    /// The root key of the enrollment.
    let pinned: KeyID
    /// What has been accepted; `nil` as long as there is no root document.
    private(set) var documents: TrustedDocuments?
    /// Why there is nothing newer, in a few words.
    var fault: String?
    /// Why the server does not know this machine, if it refused to register it.
    var registrationFault: String?
    /// Why what is accepted cannot be kept, if it cannot.
    private(set) var keepingFault: String?
    /// Who is signed in and no member.
    private(set) var stranger: String?

    private let packs: RegistryPacks
    private let files: OrganizationFiles
    private var marks: HighWaterMarks
    private var clock: TrustedClock

    /// Goes on with what is kept; what of it cannot be used is said and fetched anew.
    ///
    /// - Parameters:
    ///   - enrollment: to whom the machine belongs.
    ///   - packs: which hosts registries send their clients to.
    ///   - paths: where everything is.
    ///   - reading: what the clocks say.
    init?(
        resuming enrollment: Enrollment,
        packs: RegistryPacks,
        _ paths: InstallationPaths,
        _ reading: TrustedClock.Reading
    ) {
        guard let pinned = KeyID(fingerprint: enrollment.fingerprint) else { return nil }
        self.enrollment = enrollment
        self.pinned = pinned
        self.packs = packs
        files = OrganizationFiles(paths)
        marks = HighWaterMarks()
        clock = TrustedClock()
        do {
            try files.prepare()
            files.removeHalves()
            if let bytes = try files.read(.clock) {
                let kept = try TrustedClock(json: bytes)
                clock = kept
                clock.resume(reading)
                // Now, so that whoever is killed again and again does not begin to count anew each time.
                if clock != kept { try files.write(clock.json, .clock) }
            }
        } catch {
            keepingFault = "\(error)"
        }
        do {
            try resume(reading)
        } catch {
            fault = "what was kept cannot be used: \(error)"
        }
    }

    private mutating func resume(_ reading: TrustedClock.Reading) throws {
        if let bytes = try files.read(.marks) { marks = try HighWaterMarks(json: bytes) }
        let roots = try files.roots()
        guard !roots.isEmpty else { return }
        var resumed: TrustedDocuments
        do throws(Rejection) {
            resumed = try TrustedDocuments(
                organization: enrollment.organization,
                pinned: pinned,
                roots: roots,
                marks: marks
            )
        } catch {
            switch error {
            case .notPinned, .otherOrganization:
                // Root has enrolled the machine elsewhere.
                files.clear()
                marks = HighWaterMarks()
                return
            default: throw error
            }
        }
        // They are less than what is kept if somebody was killed behind root documents with new keys.
        marks = resumed.marks
        documents = resumed
        if let freshness = try files.read(.freshness) {
            var last: Rejection?
            for policy in try files.policies() {
                do throws(Rejection) {
                    try resumed.resume(freshness: freshness, policy: policy, packs: packs)
                    last = nil
                    break
                } catch {
                    last = error
                }
            }
            if let last { throw last }
            marks = resumed.marks
            documents = resumed
        }
        if let ticket = try files.read(.ticket), let device = try files.device {
            // One that has ended meanwhile is no fault.
            try? resumed.accept(ticket: ticket, for: device.id, at: clock.now(reading))
            marks = resumed.marks
            documents = resumed
        }
    }

    // MARK: - What comes from the server

    /// What was fetched, to be accepted in one go.
    struct Update: Sendable {
        /// Root documents: without any accepted yet, the one that the pinned key has signed first.
        var roots: [[UInt8]] = []
        /// The freshness document, if there is a new one.
        var freshness: [UInt8]?
        /// The policy, if the freshness document names one that is not ours.
        var policy: [UInt8]?

        /// Whether there is nothing to accept.
        var isEmpty: Bool { roots.isEmpty && freshness == nil }
    }

    /// By what time to find out whether a freshness document needs its policy; whether it holds is found out later.
    func least(_ reading: TrustedClock.Reading) -> Instant { clock.least(reading) }

    /// The time.
    func now(_ reading: TrustedClock.Reading) -> Instant { clock.now(reading) }

    /// Accepts what was fetched, keeps it, and learns from it what time it is at least.
    ///
    /// - Parameters:
    ///   - update: what was fetched.
    ///   - reading: what the clocks say.
    /// - Returns: whether it is kept. What cannot be kept is not accepted: after a restart something older would be in force.
    /// - Throws: `Rejection`; root documents that were good are accepted all the same.
    @discardableResult
    mutating func accept(_ update: Update, _ reading: TrustedClock.Reading) throws(Rejection) -> Bool {
        let now = clock.now(reading)
        var next: TrustedDocuments
        if let documents {
            next = documents
            if !update.roots.isEmpty { try next.accept(roots: update.roots, at: now) }
        } else {
            next = try TrustedDocuments(
                organization: enrollment.organization,
                pinned: pinned,
                roots: update.roots,
                marks: marks
            )
        }
        var rejection: Rejection?
        if let freshness = update.freshness {
            do throws(Rejection) {
                next = try accepting(freshness, update.policy, next, reading)
            } catch {
                rejection = error
            }
        }
        let isFresh = update.freshness != nil && rejection == nil
        if isFresh, let issued = next.freshness?.issued {
            clock.learn(issued, isNews: next.marks.sequence > marks.sequence, reading)
        }
        guard keep(isFresh ? update : Update(roots: update.roots), next) else { return false }
        documents = next
        marks = next.marks
        if let rejection { throw rejection }
        return true
    }

    /// Accepts a freshness document and its policy.
    ///
    /// The clock of this machine may have been ahead, and then nothing would hold any more. What is newer than everything
    /// before is looked at by what is known of the time besides.
    private func accepting(
        _ freshness: [UInt8],
        _ policy: [UInt8]?,
        _ documents: TrustedDocuments,
        _ reading: TrustedClock.Reading
    ) throws(Rejection) -> TrustedDocuments {
        var next = documents
        do throws(Rejection) {
            try next.accept(freshness: freshness, policy: policy, packs: packs, at: clock.now(reading))
        } catch {
            guard case .expired = error, clock.isSetBack(reading) else { throw error }
            next = documents
            try next.accept(freshness: freshness, policy: policy, packs: packs, at: clock.least(reading))
            guard next.marks.sequence > documents.marks.sequence else { throw error }
        }
        return next
    }

    private mutating func keep(_ update: Update, _ next: TrustedDocuments) -> Bool {
        do throws(FileError) {
            try files.prepare()
            let first = next.root.version - update.roots.count + 1
            for (offset, root) in update.roots.enumerated() { try files.write(root: root, version: first + offset) }
            if let policy = update.policy, let version = next.policy?.version {
                try files.write(policy: policy, version: version)
            }
            if let freshness = update.freshness { try files.write(freshness, .freshness) }
            try files.write(next.marks.json, .marks)
            if let version = next.policy?.version { files.keepPolicy(version) }
            try files.write(clock.json, .clock)
            keepingFault = nil
            return true
        } catch {
            keepingFault = "\(error)"
            return false
        }
    }

    /// Keeps what time it is, for the time after a restart.
    mutating func keepTime(_ reading: TrustedClock.Reading) {
        clock.advance(reading)
        do throws(FileError) {
            try files.write(clock.json, .clock)
            keepingFault = nil
        } catch {
            keepingFault = "\(error)"
        }
    }

    /// Whether the wall clock is behind what is known to have been.
    func isClockSetBack(_ reading: TrustedClock.Reading) -> Bool { clock.isSetBack(reading) }

    // MARK: - Who is signed in

    /// Accepts who is signed in.
    ///
    /// - Parameters:
    ///   - ticket: the envelope of the ticket.
    ///   - device: this machine.
    ///   - session: by what they stay signed in; `nil` leaves what there is.
    ///   - reading: what the clocks say.
    /// - Throws: `Rejection`.
    mutating func signIn(
        ticket: [UInt8],
        for device: String,
        session: OrganizationFiles.Session?,
        _ reading: TrustedClock.Reading
    ) throws(Rejection) {
        guard var next = documents else { throw .notPinned }
        try next.accept(ticket: ticket, for: device, at: clock.now(reading))
        documents = next
        marks = next.marks
        stranger = nil
        do throws(FileError) {
            if let session { try files.write(session) }
            try files.write(ticket, .ticket)
            try files.write(marks.json, .marks)
            keepingFault = nil
        } catch {
            keepingFault = "\(error)"
        }
    }

    /// Keeps by what somebody stays signed in: what there was before is good no more.
    mutating func keep(_ session: OrganizationFiles.Session) {
        do throws(FileError) {
            try files.write(session)
        } catch {
            keepingFault = "\(error)"
        }
    }

    /// Ends the session on this machine.
    ///
    /// - Parameter stranger: who it was, if the server says that they are no member.
    mutating func endSession(ofStranger stranger: String? = nil) {
        self.stranger = stranger
        documents?.endSession()
        if let documents { marks = documents.marks }
        do throws(FileError) {
            // First, so that whoever is killed behind it does not find the ticket good.
            try files.write(marks.json, .marks)
            keepingFault = nil
        } catch {
            keepingFault = "\(error)"
        }
        files.remove(.ticket)
        files.remove(.session)
    }

    // MARK: - What is in force

    /// Tells one state of what is in force from another, without making it.
    struct Summary: Hashable, Sendable {
        var state: OrganizationPolicy.State
        var reason: String
        var issued: Instant?
        var until: Instant?
        var user: String?
        var teams: [String]
        var policyDigest: String?
    }

    /// What is in force now.
    func summary(_ reading: TrustedClock.Reading) -> Summary {
        let now = clock.now(reading)
        let clockFault = clock.isSetBack(reading) ? "the clock of this machine is wrong: it is later than it says" : nil
        let reason = fault ?? keepingFault ?? clockFault ?? registrationFault ?? ""
        var summary = Summary(state: .none, reason: reason, teams: [])
        let ticket = documents?.signedIn(at: now)
        summary.user = ticket?.subject
        guard let documents, let freshness = documents.freshness, let policy = documents.policy else {
            if reason.isEmpty { summary.reason = "the server has not been asked yet" }
            return summary
        }
        summary.issued = freshness.issued
        summary.until = freshness.expires
        guard freshness.expires > now else {
            summary.state = .expired
            if reason.isEmpty {
                summary.reason = "it ended at \(freshness.expires); if that is yet to come, the clock is wrong"
            }
            return summary
        }
        if enrollment.requiresSignIn {
            guard stranger == nil else {
                summary.state = .notAMember
                summary.user = stranger
                return summary
            }
            guard let ticket else {
                summary.state = .signInRequired
                return summary
            }
            summary.until = min(freshness.expires, ticket.expires)
        }
        summary.state = .enforced
        summary.teams = ticket?.teams ?? []
        summary.policyDigest = policy.digest
        return summary
    }

    /// What a summary stands for.
    func policy(_ summary: Summary) -> OrganizationPolicy {
        OrganizationPolicy(
            organization: enrollment.organization,
            server: enrollment.server.description,
            state: summary.state,
            reason: summary.reason,
            issued: summary.issued,
            until: summary.until,
            user: summary.user,
            policy: summary.state == .enforced ? documents?.policy?.policy(for: summary.teams) : nil
        )
    }
}
