public import RegistryAccess

/// What a machine has accepted of an organization, and the rules by which it accepts more.
///
/// Every document is looked at in the same order: its size, the envelope, the signatures of keys that the root document
/// gives this role, and only then what it says: whose it is, whether it leads forward, whether it holds now. What is not
/// accepted changes nothing: the policy before it stays in force until its own end.
public struct TrustedDocuments: Sendable {
    /// The most root documents that are gone through at a time.
    public static let mostRoots = 64
    /// How far ahead of us the clock of who made a document may be, in seconds.
    public static let clockTolerance: Int64 = 300

    /// The organization.
    public let organization: String
    /// The newest root document.
    public private(set) var root: RootDocument
    /// How far we have come.
    public private(set) var marks: HighWaterMarks
    /// Until when the policy holds.
    public private(set) var freshness: FreshnessDocument?
    /// The policy.
    public private(set) var policy: PolicyDocument?
    /// Who is signed in.
    public private(set) var ticket: TicketDocument?

    /// Begins to trust an organization, or goes on after a restart.
    ///
    /// - Parameters:
    ///   - organization: the organization.
    ///   - pinned: the root key that the enrollment names. The first root document must give it the role of root, and be
    ///     signed by it.
    ///   - roots: envelopes of root documents without a gap, the oldest first.
    ///   - marks: how far we had come.
    /// - Throws: ``Rejection``; also if the documents do not reach up to the marks.
    public init(
        organization: String,
        pinned: KeyID,
        roots: [[UInt8]],
        marks: HighWaterMarks = HighWaterMarks()
    ) throws(Rejection) {
        guard let first = roots.first else { throw .notPinned }
        let envelope = try Envelope(json: first, as: .root)
        let root = try RootDocument(payload: envelope.payload)
        guard root.organization.utf8.elementsEqual(organization.utf8) else {
            throw .otherOrganization(root.organization)
        }
        guard root.role(for: .root).signatures(on: envelope).contains(pinned) else { throw .notPinned }
        try root.role(for: .root).check(envelope)
        self.organization = organization
        self.root = root
        self.marks = HighWaterMarks()
        note(root, envelope)
        if root.version >= marks.rootVersion { adopt(marks) }
        for next in roots.dropFirst() {
            try step(to: next)
            // Not at the end: what comes behind the marks retires what they are made of, like when it was accepted.
            if self.root.version == marks.rootVersion { adopt(marks) }
        }
        guard self.marks.rootVersion >= marks.rootVersion else {
            throw .older(newest: marks.rootVersion, found: self.marks.rootVersion)
        }
        if self.marks.rootVersion == marks.rootVersion, self.marks.rootDigest != marks.rootDigest {
            throw .equivocation(marks.rootVersion)
        }
    }

    /// Takes over how far we had come, but for the root document.
    private mutating func adopt(_ marks: HighWaterMarks) {
        let (version, digest) = (self.marks.rootVersion, self.marks.rootDigest)
        self.marks = marks
        self.marks.rootVersion = version
        self.marks.rootDigest = digest
    }

    private mutating func note(_ root: RootDocument, _ envelope: Envelope) {
        self.root = root
        marks.rootVersion = root.version
        marks.rootDigest = Hexadecimal.sha256(envelope.payload)
    }

    // MARK: - Root documents

    /// Accepts newer root documents, all of them or none.
    ///
    /// - Parameters:
    ///   - roots: their envelopes, beginning with the version behind ours.
    ///   - now: the time. One that has ended is good for a step, not as the last.
    /// - Throws: ``Rejection``.
    public mutating func accept(roots: [[UInt8]], at now: Instant) throws(Rejection) {
        guard roots.count <= Self.mostRoots else { throw .tooManyRoots(limit: Self.mostRoots) }
        var next = self
        for root in roots { try next.step(to: root) }
        guard next.root.expires > now else { throw .rootExpired(next.root.expires) }
        self = next
    }

    private mutating func step(to json: [UInt8]) throws(Rejection) {
        let envelope = try Envelope(json: json, as: .root)
        // Who may not sign is not read.
        try root.role(for: .root).check(envelope)
        let next = try RootDocument(payload: envelope.payload)
        try checkIsOurs(next.organization)
        guard next.version == root.version + 1 else {
            throw .rootOutOfOrder(expected: root.version + 1, found: next.version)
        }
        try next.role(for: .root).check(envelope)
        let previous = root
        note(next, envelope)
        retire(what: previous)
    }

    /// What a key has signed that may not sign any more, is not relied on further; and where all keys of a role are new, its
    /// marks begin anew: whoever had the old ones could have set them as high as they like.
    ///
    /// That is how The Update Framework recovers from a fast-forward attack (specification, section 5.3.11).
    private mutating func retire(what previous: RootDocument) {
        func isWeaker(_ kind: DocumentKind) -> Bool {
            let (old, new) = (previous.role(for: kind), root.role(for: kind))
            return !Set(old.keys).isSubset(of: new.keys) || new.threshold > old.threshold
        }
        func isReplaced(_ kind: DocumentKind) -> Bool {
            Set(previous.role(for: kind).keys).isDisjoint(with: root.role(for: kind).keys)
        }
        if isWeaker(.freshness) { freshness = nil }
        if isWeaker(.policy) { policy = nil }
        if isWeaker(.ticket) { ticket = nil }
        if isReplaced(.freshness) {
            marks.sequence = 0
            marks.freshnessDigest = ""
            marks.freshnessIssued = Instant(seconds: 0)
            // It was a freshness document that said so.
            marks.policyVersion = 0
            marks.policyDigest = ""
        }
        if isReplaced(.ticket) { marks.ticketIssued = Instant(seconds: 0) }
    }

    // MARK: - Policy and freshness

    /// Accepts a freshness document, and with it the policy that it names, if that is not ours already: both or none.
    ///
    /// - Parameters:
    ///   - freshnessJSON: the envelope of the freshness document.
    ///   - policyJSON: the envelope of the policy that it names; `nil` asks whether one is needed.
    ///   - packs: which hosts the registries send their clients to.
    ///   - now: the time.
    /// - Throws: ``Rejection``: ``Rejection/rootNeeded(_:)`` and ``Rejection/policyNeeded(_:)`` say what to fetch first.
    public mutating func accept(
        freshness freshnessJSON: [UInt8],
        policy policyJSON: [UInt8]?,
        packs: RegistryPacks = .embedded,
        at now: Instant
    ) throws(Rejection) {
        try accept(freshnessJSON, policyJSON, packs, at: now)
    }

    /// Takes up documents that were accepted before a restart; they are looked at again but for their end, which
    /// ``policyInForce(for:at:)`` heeds.
    ///
    /// - Parameters:
    ///   - freshnessJSON: the envelope of the freshness document.
    ///   - policyJSON: the envelope of the policy that it names.
    ///   - packs: which hosts the registries send their clients to.
    /// - Throws: ``Rejection``.
    public mutating func resume(
        freshness freshnessJSON: [UInt8],
        policy policyJSON: [UInt8],
        packs: RegistryPacks = .embedded
    ) throws(Rejection) {
        try accept(freshnessJSON, policyJSON, packs, at: nil)
    }

    private mutating func accept(
        _ json: [UInt8],
        _ policyJSON: [UInt8]?,
        _ packs: RegistryPacks,
        at now: Instant?
    ) throws(Rejection) {
        if let now, root.expires <= now { throw .rootExpired(root.expires) }
        let envelope = try open(json, .freshness)
        let freshness = try FreshnessDocument(payload: envelope.payload)
        try checkIsOurs(freshness.organization)
        let digest = Hexadecimal.sha256(envelope.payload)
        try Self.check(freshness.sequence, digest, newest: marks.sequence, marks.freshnessDigest)
        guard freshness.issued >= marks.freshnessIssued else {
            throw .older(newest: marks.sequence, found: freshness.sequence)
        }
        try Self.check(from: freshness.issued, to: freshness.expires, at: now)
        guard freshness.rootVersion <= root.version else { throw .rootNeeded(freshness.rootVersion) }
        try Self.check(freshness.policyVersion, freshness.policyDigest, newest: marks.policyVersion, marks.policyDigest)
        if policy?.digest != freshness.policyDigest {
            guard let policyJSON else { throw .policyNeeded(freshness.policyVersion) }
            policy = try policy(policyJSON, namedBy: freshness, packs)
        }
        self.freshness = freshness
        marks.sequence = freshness.sequence
        marks.freshnessDigest = digest
        marks.freshnessIssued = freshness.issued
        marks.policyVersion = freshness.policyVersion
        marks.policyDigest = freshness.policyDigest
    }

    private func policy(
        _ json: [UInt8],
        namedBy freshness: FreshnessDocument,
        _ packs: RegistryPacks
    ) throws(Rejection) -> PolicyDocument {
        let envelope = try open(json, .policy)
        // Before it is read: it may be long.
        guard Hexadecimal.sha256(envelope.payload) == freshness.policyDigest else { throw .otherPolicy }
        let policy = try PolicyDocument(payload: envelope.payload, packs: packs)
        try checkIsOurs(policy.organization)
        guard policy.version == freshness.policyVersion else { throw .otherPolicy }
        return policy
    }

    /// What decides now for those who are in some teams, and until when; `nil` if nothing does.
    ///
    /// - Parameters:
    ///   - teams: the teams of who is signed in.
    ///   - now: the time.
    /// - Returns: the policy with the additions of the teams, and when it ends.
    public func policyInForce(for teams: [String] = [], at now: Instant) -> (policy: AccessPolicy, until: Instant)? {
        guard let policy, let freshness, freshness.expires > now else { return nil }
        return (policy.policy(for: teams), freshness.expires)
    }

    // MARK: - Sign-in

    /// Accepts who is signed in.
    ///
    /// - Parameters:
    ///   - json: the envelope of the ticket.
    ///   - device: this device.
    ///   - now: the time.
    /// - Throws: ``Rejection``.
    public mutating func accept(ticket json: [UInt8], for device: String, at now: Instant) throws(Rejection) {
        let ticket = try TicketDocument(payload: try open(json, .ticket).payload)
        try checkIsOurs(ticket.organization)
        guard ticket.device.utf8.elementsEqual(device.utf8) else { throw .otherDevice }
        guard ticket.issued >= marks.ticketIssued else { throw .expired(ticket.issued) }
        guard !ticket.session.utf8.elementsEqual(marks.endedSession.utf8), ticket.signedIn >= marks.sessionsEnded else {
            throw .sessionEnded
        }
        try Self.check(from: ticket.issued, to: ticket.expires, at: now)
        self.ticket = ticket
        marks.ticketIssued = ticket.issued
    }

    /// Who is signed in now; `nil` if nobody is.
    ///
    /// - Parameter now: the time.
    /// - Returns: the ticket, unless it has ended.
    public func signedIn(at now: Instant) -> TicketDocument? {
        ticket.flatMap { $0.expires > now ? $0 : nil }
    }

    /// Ends the session: its tickets, and those of sign-ins before the newest ticket, are not accepted any more.
    public mutating func endSession() {
        guard let ticket else { return }
        marks.endedSession = ticket.session
        marks.sessionsEnded = ticket.issued
        self.ticket = nil
    }

    // MARK: - What every document has to be

    private func checkIsOurs(_ name: String) throws(Rejection) {
        guard name.utf8.elementsEqual(organization.utf8) else { throw .otherOrganization(name) }
    }

    private func open(_ json: [UInt8], _ kind: DocumentKind) throws(Rejection) -> Envelope {
        let envelope = try Envelope(json: json, as: kind)
        try root.role(for: kind).check(envelope)
        return envelope
    }

    private static func check(_ number: Int, _ digest: String, newest: Int, _ newestDigest: String) throws(Rejection) {
        guard number >= newest else { throw .older(newest: newest, found: number) }
        if number == newest, digest != newestDigest { throw .equivocation(number) }
    }

    private static func check(from issued: Instant, to expires: Instant, at now: Instant?) throws(Rejection) {
        guard FreshnessDocument.lifetimes.contains(expires - issued) else {
            throw .badLifetime(seconds: expires - issued)
        }
        guard let now else { return }
        guard issued <= now + clockTolerance else { throw .fromFuture(issued) }
        guard expires > now else { throw .expired(expires) }
    }
}
