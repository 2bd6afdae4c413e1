import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

/// What an organization decides: the policy for everybody, and what teams have in addition.
struct PolicyContent: Sendable {
    /// For everybody; its version is not heeded, for the publisher numbers versions.
    var policy: AccessPolicy
    /// What teams have in addition.
    var teams: [String: [RegistryRule]]
}

extension PolicyContent {
    /// What a version decides.
    init(_ document: PolicyDocument) { self.init(policy: document.policy, teams: document.teams) }
}

/// Makes what machines fetch: root documents, policies, freshness documents and tickets.
///
/// Nothing is signed that a machine would not accept: each document is read again by the machines' own reader first.
struct Publisher: Sendable {
    /// The database.
    let store: Store
    /// What signs.
    let keys: SigningKeys
    /// Who waits for changes.
    let changes: ChangeFeed
    /// The time.
    let now: @Sendable () -> Instant
    /// The server itself as machines reach it; a policy that denies it is not made by mistake.
    var serverAddress: RegistryAddress?
    /// What was made last, in memory.
    let served: ServedDocuments
    private let metrics: Metrics

    /// A publisher.
    ///
    /// - Parameters:
    ///   - store: the database.
    ///   - keys: what signs.
    ///   - changes: who waits for changes.
    ///   - serverAddress: the server itself as machines reach it.
    ///   - metrics: where versions of policies are counted.
    ///   - now: the time.
    init(
        store: Store,
        keys: SigningKeys,
        changes: ChangeFeed,
        serverAddress: RegistryAddress? = nil,
        metrics: Metrics = Metrics(),
        now: @escaping @Sendable () -> Instant
    ) {
        self.store = store
        self.keys = keys
        self.changes = changes
        self.serverAddress = serverAddress
        self.metrics = metrics
        self.now = now
        served = ServedDocuments(store: store)
    }

    /// A version of the policy, just made or there already.
    struct Result: Sendable {
        /// The newest version.
        let document: PolicyDocument
        /// What it changed.
        let change: PolicyChange
        /// Whether it was made now: what decides as before is no new version.
        let isNew: Bool
    }

    // MARK: - The beginning

    /// Takes the first root document of an organization, and makes the first version of its policy: Docker Hub is allowed,
    /// and nothing else.
    ///
    /// - Parameters:
    ///   - organization: the organization.
    ///   - root: the first root document, signed. It names keys that ``SigningKeys`` has.
    ///   - owner: who makes it.
    ///   - contact: whom developers ask.
    ///   - beforehand: writes what has to be there first, in the same transaction: the organization, where it is new.
    /// - Throws: ``Rejection`` if the root document is not in order, ``Problem`` if there is one already.
    func begin(
        _ organization: String,
        root: [UInt8],
        by owner: String,
        contact: String?,
        beforehand: @escaping @Sendable (Database) throws -> Void = { _ in }
    ) async throws {
        guard try await store.signingState(of: organization) == nil else {
            throw Problem(.conflict, .conflict, "\"\(organization)\" has a root document already")
        }
        let document = try trust([root], organization).root
        guard document.version == 1 else { throw Rejection.rootOutOfOrder(expected: 1, found: document.version) }
        guard document.expires > now() else { throw Rejection.rootExpired(document.expires) }
        for kind in SigningKeys.kinds { _ = try keys.signing(kind, by: document) }
        let dockerHub = RegistryRule(
            address: try AddressPattern("docker.io"),
            nickname: "Docker Hub",
            isAllowed: true
        )
        let policy = AccessPolicy(version: 1, organization: organization, contact: contact, rules: [dockerHub])
        let nothing = AccessPolicy(version: 1, organization: organization, rules: [])
        let content = PolicyContent(policy: policy, teams: [:])
        let change = PolicyChange(from: PolicyContent(policy: nothing, teams: [:]), to: content)
        let made = try sign(content, version: 1, by: document)
        let publication = Publication(
            organization: organization,
            base: SigningState.Base(rootVersion: 0, policyVersion: 0),
            root: document,
            newRoot: try Envelope(json: root, as: .root),
            policy: Publication.Policy(
                document: made.document,
                envelope: made.envelope,
                author: owner,
                comment: "the first policy",
                difference: change.json.text()
            ),
            activities: [rootActivity(document, by: owner)]
                + change.activities(.policySaved, version: 1, comment: "the first policy", by: owner),
            beforehand: beforehand
        )
        guard try await store.write(publication, keys: keys, at: now()) else {
            throw Problem(.conflict, .conflict, "\"\(organization)\" has a root document already")
        }
        await announce(organization)
    }

    // MARK: - Policies

    /// Makes a version of the policy, and announces it to machines.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - author: who makes it.
    ///   - comment: why.
    ///   - version: the version that the author has seen, which must be the newest; `nil` if they do not care.
    ///   - action: what they do.
    ///   - acknowledgesLockOut: whether a policy is meant that denies the server itself.
    ///   - leaving: a team that is no more when it is written, and what it is called then instead; what it has in addition
    ///     goes to that name, and is gone with the team if there is none.
    ///   - alongside: writes what belongs to it, in the transaction of a new version.
    ///   - change: gets what is in force, and gives what is to be. It may be asked again.
    /// - Returns: the newest version, which is the one before where nothing has changed.
    /// - Throws: ``Problem``, among others ``Problem/Code/changedMeanwhile`` and ``Problem/Code/locksOut``.
    func publish(
        in organization: String,
        by author: String,
        comment: String = "",
        expecting version: Int? = nil,
        as action: Activity.PolicyAction = .policySaved,
        acknowledgingLockOut acknowledgesLockOut: Bool = false,
        leaving: (team: String, newName: String?)? = nil,
        alongside: @escaping @Sendable (Database) throws -> Void = { _ in },
        _ change: (PolicyContent) async throws -> PolicyContent
    ) async throws -> Result {
        while true {
            guard let state = try await store.signingState(of: organization), let current = state.policy else {
                throw Problem(.notFound, .notFound, "\"\(organization)\" has no policy yet")
            }
            if let version, version != current.version { throw try await changedMeanwhile(organization, version) }
            var before = PolicyContent(current)
            var teams = state.teams
            if let leaving {
                teams.remove(leaving.team)
                if let newName = leaving.newName {
                    teams.insert(newName)
                    // Under another name it is the same team: nothing changes for who is in it.
                    before.teams[newName] = before.teams.removeValue(forKey: leaving.team)
                }
            }
            var after = try await change(before)
            // What a team had that is gone must not come back with another team of its name.
            after.teams = after.teams.filter { teams.contains($0.key) && !$0.value.isEmpty }
            let difference = PolicyChange(from: before, to: after)
            guard !difference.isEmpty || leaving?.newName != nil else {
                return Result(document: current, change: difference, isNew: false)
            }
            let made = try sign(after, version: current.version + 1, by: state.root)
            if !acknowledgesLockOut { try checkLockOut(made.document) }
            let publication = Publication(
                organization: organization,
                base: state.base,
                root: state.root,
                policy: Publication.Policy(
                    document: made.document,
                    envelope: made.envelope,
                    author: author,
                    comment: comment,
                    difference: difference.json.text()
                ),
                activities: difference.activities(
                    action,
                    version: made.document.version,
                    comment: comment,
                    by: author
                ),
                alongside: alongside
            )
            if try await store.write(publication, keys: keys, at: now()) {
                metrics.happened(action == .policyRolledBack ? .policiesRolledBack : .policiesSaved)
                await announce(organization)
                return Result(document: made.document, change: difference, isNew: true)
            }
        }
    }

    /// The refusal of a change that builds on a version which is not the newest.
    private func changedMeanwhile(_ organization: String, _ expected: Int) async throws -> Problem {
        let newest = try await store.policyVersions(of: organization, before: nil, atMost: 1).first
        let words = newest.map { "version \($0.version), which \($0.author) has saved," } ?? "the newest version"
        var problem = Problem(
            .preconditionFailed,
            .changedMeanwhile,
            "version \(expected) of the policy is not the newest, so nothing was saved",
            hint: "look at \(words) and make the change again"
        )
        if let newest {
            problem.headers[.eTag] = "\"\(newest.version)\""
            problem.members = [JSONMember("current", newest.json(withDifference: false))]
        }
        return problem
    }

    private func sign(
        _ content: PolicyContent,
        version: Int,
        by root: RootDocument
    ) throws -> (document: PolicyDocument, envelope: Envelope) {
        guard content.policy.organization.utf8.elementsEqual(root.organization.utf8) else {
            throw Rejection.otherOrganization(content.policy.organization)
        }
        let policy = content.policy.numbered(version)
        let payload = PolicyDocument.payload(policy, teams: content.teams, issued: now())
        // Base64 makes it a third longer; the rest of the envelope is short.
        guard payload.count <= DocumentKind.policy.longest / 4 * 3 - 65_536 else {
            throw Problem(.contentTooLarge, .tooLarge, "the policy is longer than machines read")
        }
        let document = try PolicyDocument(payload: payload)
        let envelope = try Envelope(signing: payload, as: .policy, with: keys.signing(.policy, by: root))
        return (document, envelope)
    }

    private func checkLockOut(_ document: PolicyDocument) throws(Problem) {
        for team in [nil] + document.teams.keys.sorted().map(Optional.some) {
            let policy = document.policy(for: team.map { [$0] } ?? [])
            guard let lockOut = lockOut(by: policy, ofTeam: team) else { continue }
            throw Problem(
                .unprocessableContent,
                .locksOut,
                lockOut,
                hint: "take it out or make it narrower; if it is meant, say \"acknowledgeLockOut\""
            )
        }
    }

    /// How what is to be decided denies the organization's own server, for everybody or for a team.
    ///
    /// - Parameter content: what is to be decided.
    /// - Returns: which rule does so; `nil` if none does.
    func lockOut(by content: PolicyContent) -> String? {
        if let lockOut = lockOut(by: content.policy) { return lockOut }
        // What only allows shuts nothing.
        let teams = content.teams.filter { $0.value.contains { !$0.isAllowed } }
        return teams.sorted { $0.key < $1.key }.lazy.compactMap { team, rules in
            lockOut(by: content.policy.with(rules: content.policy.rules + rules), ofTeam: team)
        }.first
    }

    /// How a policy denies the organization's own server.
    ///
    /// - Parameters:
    ///   - policy: the policy.
    ///   - team: whose additions are in it.
    /// - Returns: which rule does so; `nil` if none does.
    func lockOut(by policy: AccessPolicy, ofTeam team: String? = nil) -> String? {
        guard let serverAddress else { return nil }
        let verdict = policy.verdict(onReaching: serverAddress)
        guard verdict.reason == .deniedByRule else { return nil }
        let rule = verdict.rule.map { "\"\(policy.rules[$0].address)\"" } ?? "a rule"
        let place = team.map { " of team \"\($0)\"" } ?? ""
        return "\(rule)\(place) denies \"\(serverAddress)\", the server of the organization itself"
    }

    // MARK: - Root documents and keys

    /// Takes the next root document.
    ///
    /// What the server signs from then on is signed by the keys that it names. If the policy in force is signed by keys
    /// that it does not name, a new version with the same content is made.
    ///
    /// - Parameters:
    ///   - json: its envelope.
    ///   - organization: whose.
    ///   - author: who brings it.
    /// - Returns: the root document.
    /// - Throws: ``Rejection`` if a machine would not accept it, ``ServerFileError`` if the server does not have the keys
    ///   that it names, ``Problem`` if there is no organization of the name.
    func accept(root json: [UInt8], in organization: String, by author: String) async throws -> RootDocument {
        while true {
            let chain = try await store.rootDocuments(of: organization)
            guard let state = try await store.signingState(of: organization), let policy = state.policy else {
                throw Problem(.notFound, .notFound, "\"\(organization)\" has no root document yet")
            }
            var machine = try trust(chain, organization)
            try machine.accept(roots: [json], at: now())
            let root = machine.root
            for kind in SigningKeys.kinds { _ = try keys.signing(kind, by: root) }
            var publication = Publication(
                organization: organization,
                base: state.base,
                root: root,
                newRoot: try Envelope(json: json, as: .root),
                activities: [rootActivity(root, by: author)]
            )
            if let role = root.roles[.policy], let envelope = state.policyEnvelope,
                envelope.signers(among: Self.byName(role.keys)).count < role.threshold
            {
                let content = PolicyContent(policy)
                let made = try sign(content, version: policy.version + 1, by: root)
                let change = PolicyChange(from: content, to: content)
                let comment = "signed with the keys of root version \(root.version)"
                publication.policy = Publication.Policy(
                    document: made.document,
                    envelope: made.envelope,
                    author: author,
                    comment: comment,
                    difference: change.json.text()
                )
                publication.activities += change.activities(
                    .policySaved,
                    version: made.document.version,
                    comment: comment,
                    by: author
                )
            }
            if try await store.write(publication, keys: keys, at: now()) {
                await announce(organization)
                return root
            }
        }
    }

    /// The keys that the server has for an organization, and which of them sign.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the keys by kind, those of a kind in the order of their names.
    /// - Throws: ``ServerFileError``, what SQLite says, or ``Rejection`` if a stored root document is not in order.
    func serverKeys(of organization: String) async throws -> [ServerKey] {
        let roots = try await store.rootDocuments(of: organization).map { json in
            try RootDocument(payload: try Envelope(json: json, as: .root).payload)
        }
        return try SigningKeys.kinds.flatMap { kind in
            let newest = Set(roots.last?.roles[kind]?.keys ?? [])
            let ever = Set(roots.flatMap { $0.roles[kind]?.keys ?? [] })
            return try keys.publicKeys(kind, of: organization).map { key in
                let state: ServerKey.State = newest.contains(key) ? .signs : ever.contains(key) ? .retired : .waiting
                return ServerKey(kind: kind, key: key, state: state)
            }
        }
    }

    private static func byName(_ keys: [VerificationKey]) -> [KeyID: VerificationKey] {
        Dictionary(keys.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// What a machine makes of root documents, the first of which it is told to trust.
    func trust(_ roots: [[UInt8]], _ organization: String) throws -> TrustedDocuments {
        guard let first = roots.first else { throw Rejection.notPinned }
        let envelope = try Envelope(json: first, as: .root)
        let role = try RootDocument(payload: envelope.payload).roles[.root]
        guard let pinned = envelope.signers(among: Self.byName(role?.keys ?? [])).min() else {
            throw Rejection.notSigned(signatures: 0, needed: role?.threshold ?? 1)
        }
        return try TrustedDocuments(organization: organization, pinned: pinned, roots: roots)
    }

    private func rootActivity(_ root: RootDocument, by author: String) -> Activity {
        Activity(
            .rootUpdated,
            by: author,
            name: "root version \(root.version)",
            data: [
                JSONMember("version", .number("\(root.version)")),
                JSONMember("expires", .string(root.expires.description)),
            ]
        )
    }

    // MARK: - Freshness and tickets

    /// Makes freshness documents anew where half of their life is over, and drops from memory what another process has
    /// changed.
    ///
    /// - Returns: the organizations whose document could not be made, and why; the others have theirs all the same.
    /// - Throws: what SQLite says.
    @discardableResult
    func renewFreshness() async throws -> [(organization: String, error: any Error)] {
        var failures: [(organization: String, error: any Error)] = []
        for organization in try await store.organizationsToRenew(at: now()) {
            do {
                try await renewFreshness(of: organization)
            } catch {
                failures.append((organization, error))
            }
        }
        try await announceWhatIsNewer()
        return failures
    }

    /// Drops from memory what another process has changed.
    ///
    /// - Throws: what SQLite says.
    func announceWhatIsNewer() async throws {
        for organization in served.outdated(by: try await store.sequences()) { await announce(organization) }
    }

    /// Makes the freshness document of an organization anew at once, as when its settings have changed.
    ///
    /// - Parameter organization: whose.
    /// - Throws: what SQLite says, or why it cannot be signed.
    func renewFreshness(of organization: String) async throws {
        try await store.renewFreshness(of: organization, keys: keys, at: now())
        await announce(organization)
    }

    /// The organizations whose newest root document ends soon.
    ///
    /// - Parameter seconds: how soon.
    /// - Returns: the organizations and the ends.
    /// - Throws: what SQLite says.
    func rootsEnding(within seconds: Int64) async throws -> [(organization: String, end: Instant)] {
        var ending: [(organization: String, end: Instant)] = []
        for organization in try await store.sequences().keys.sorted() {
            guard let root = try await served.newest(of: organization)?.rootDocument else { continue }
            if root.expires - now() < seconds { ending.append((organization, root.expires)) }
        }
        return ending
    }

    /// Signs a ticket.
    ///
    /// - Parameter ticket: says whose organization's keys are to sign.
    /// - Returns: its envelope.
    /// - Throws: why it cannot be signed.
    func sign(_ ticket: TicketDocument) async throws -> Envelope {
        guard let newest = try await served.newest(of: ticket.organization) else {
            throw ServerFileError("\"\(ticket.organization)\" has no root document yet")
        }
        let signers = try keys.signing(.ticket, by: newest.rootDocument)
        return try Envelope(signing: ticket.payload, as: .ticket, with: signers)
    }

    /// Lets everybody know that there is something new.
    private func announce(_ organization: String) async {
        served.forget(organization)
        // Everybody will ask for it; who finds nothing in memory would go to the database.
        _ = try? await served.newest(of: organization)
        await changes.notify(organization)
    }
}
