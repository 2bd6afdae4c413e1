import Glibc
import HTTPTypes
import RegistryAccess
import SignedPolicy
import Synchronization

/// What an organization prepares, beside what is in force.
struct StagedPolicy: Sendable {
    /// The newest version, which machines have.
    let inForce: PolicyDocument
    /// The draft without its document; `nil` if there is none, or it changes nothing.
    let draft: Draft?
    /// The number of the draft, also if it is gone.
    let draftNumber: Int
    /// The draft's policy; without one, the policy in force.
    let policy: AccessPolicy
    /// What the draft changes of the version that it was begun on.
    let difference: PolicyDifference
    /// The rules that the draft has added or changed.
    let touched: Set<RegistryRule>
    /// By which entries are found.
    let search: RuleSearch

    /// Who changed the draft last.
    struct Draft: Sendable {
        let basedOn: Int
        let author: String
        let time: Instant
    }

    /// - Parameters:
    ///   - inForce: the newest version.
    ///   - base: the policy that the draft was begun on.
    ///   - policy: the draft's policy.
    ///   - draft: whose it is; `nil` if there is none.
    ///   - draftNumber: its number.
    init(inForce: PolicyDocument, base: AccessPolicy, policy: AccessPolicy, draft: Draft?, draftNumber: Int) {
        self.inForce = inForce
        difference = PolicyDifference(from: base, to: policy)
        // A draft that was changed back is none.
        self.policy = difference.isEmpty ? inForce.policy : policy
        self.draft = difference.isEmpty ? nil : draft
        self.draftNumber = draftNumber
        touched = Set(difference.added).union(difference.changed.map(\.after))
        search = RuleSearch(self.policy.rules)
    }

    /// Whether somebody has saved another version since the draft was begun.
    var isBehind: Bool { draft.map { $0.basedOn != inForce.version } ?? false }

    /// How many changes the draft makes.
    var count: Int {
        difference.settings.count + difference.added.count + difference.removed.count + difference.changed.count
    }
}

/// The texts of rules one behind the other, so that a search walks through memory once.
struct RuleSearch: Sendable {
    private let text: [UInt8]
    /// Where each rule begins.
    private let starts: [Int]

    init(_ rules: [RegistryRule]) {
        var text: [UInt8] = []
        var starts: [Int] = []
        text.reserveCapacity(rules.count * 40)
        starts.reserveCapacity(rules.count)
        for rule in rules {
            starts.append(text.count)
            text.append(contentsOf: rule.address.description.utf8)
            text.append(10)
            if let nickname = rule.nickname { text.append(contentsOf: nickname.lowercased().utf8) }
            text.append(10)
        }
        self.text = text
        self.starts = starts
    }

    /// The rules whose address or nickname holds a text.
    ///
    /// - Parameter wanted: the text, in capital or small letters.
    /// - Returns: the indices of the rules in their order.
    func rules(holding wanted: String) -> [Int] {
        let needle = Array(wanted.lowercased().utf8)
        guard !needle.isEmpty, !needle.contains(10) else { return needle.isEmpty ? Array(starts.indices) : [] }
        var found: [Int] = []
        var position = 0
        while let offset = Self.offset(of: needle, in: text, from: position) {
            let rule = index(of: offset)
            found.append(rule)
            position = rule + 1 < starts.count ? starts[rule + 1] : text.count
        }
        return found
    }

    /// Where bytes come next, at the speed of the C library.
    private static func offset(of needle: [UInt8], in text: [UInt8], from start: Int) -> Int? {
        text.withUnsafeBytes { text in
            guard let base = text.baseAddress, let first = needle.first else { return nil }
            var position = start
            let end = text.count - needle.count
            while position <= end, let hit = memchr(base + position, Int32(first), end - position + 1) {
                position = base.distance(to: UnsafeRawPointer(hit))
                if memcmp(hit, needle, needle.count) == 0 { return position }
                position += 1
            }
            return nil
        }
    }

    /// The rule that a place of the text belongs to.
    private func index(of offset: Int) -> Int {
        var (low, high) = (0, starts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= offset { low = middle } else { high = middle }
        }
        return low
    }
}

/// Names a rule of a draft for forms: where it stands, and what it says, so that a rule that somebody else has changed is
/// not taken for it.
struct RuleName: Hashable, Sendable, CustomStringConvertible {
    let index: Int
    let digest: String

    init(_ rule: RegistryRule, at index: Int) {
        self.index = index
        digest = Self.digest(of: rule)
    }

    init?(_ text: String) {
        let parts = text.split(separator: "-", maxSplits: 1)
        guard parts.count == 2, let index = WholeNumber.read(parts[0]), parts[1].utf8.count == 16 else { return nil }
        self.index = index
        digest = String(parts[1])
    }

    var description: String { "\(index)-\(digest)" }

    /// Where the rule stands now.
    ///
    /// - Parameter rules: the rules of the draft.
    /// - Returns: the index; `nil` if there is no such rule any more.
    func place(in rules: [RegistryRule]) -> Int? {
        if rules.indices.contains(index), Self.digest(of: rules[index]) == digest { return index }
        return rules.firstIndex { Self.digest(of: $0) == digest }
    }

    private static func digest(of rule: RegistryRule) -> String {
        String(Hexadecimal.sha256(Array(rule.document.text().utf8)).prefix(16))
    }
}

/// What is prepared in each organization, in memory: to read a draft of 100,000 rules takes longer than to show it.
final class StagedPolicies: Sendable {
    private let services: Services
    private let held = Mutex<[Key: StagedPolicy]>([:])
    /// What policies in force are warned of, by their digests.
    private let warned = Mutex<[String: [PolicyWarning]]>([:])
    /// So many organizations are held at most.
    private static let most = 16

    private struct Key: Hashable {
        let organization: String
        let hasDraft: Bool
    }

    init(services: Services) {
        self.services = services
    }

    /// What an organization prepares.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - withDraft: whether the draft is looked at; if not, it is as if there were none.
    /// - Returns: the draft beside what is in force.
    /// - Throws: ``Problem`` if it has no policy yet, or what SQLite says.
    func staged(of organization: String, withDraft: Bool = true) async throws -> StagedPolicy {
        guard let inForce = try await services.publisher.served.policy(of: organization) else {
            throw Problem(
                .notFound,
                .notFound,
                "\"\(organization)\" has no policy yet",
                hint: "its root document has to be signed first: see Settings, Machines"
            )
        }
        let number = withDraft ? try await services.store.draftNumber(of: organization) : 0
        let key = Key(organization: organization, hasDraft: withDraft)
        if let known = held.withLock({ $0[key] }), known.draftNumber == number,
            known.inForce.version == inForce.version
        {
            return known
        }
        let (draft, newest) = withDraft ? try await services.store.policyDraft(of: organization) : (nil, 0)
        var policy = inForce.policy
        var base = inForce.policy
        if let draft {
            policy = try draft.policy
            if draft.basedOn != inForce.version,
                let document = try await services.store.policyDocument(draft.basedOn, of: organization)
            {
                base = document.policy
            }
        }
        let staged = StagedPolicy(
            inForce: inForce,
            base: base,
            policy: policy,
            draft: draft.map { StagedPolicy.Draft(basedOn: $0.basedOn, author: $0.author, time: $0.time) },
            draftNumber: newest
        )
        hold(staged, key)
        return staged
    }

    private func hold(_ staged: StagedPolicy, _ key: Key) {
        held.withLock { held in
            if held.count >= Self.most, held[key] == nil { held.removeAll() }
            held[key] = staged
        }
    }

    /// What the owner of a policy in force should look at again; looked for once.
    ///
    /// - Parameter document: the version.
    /// - Returns: the warnings about what it says for everybody.
    func warnings(of document: PolicyDocument) -> [PolicyWarning] {
        if let known = warned.withLock({ $0[document.digest] }) { return known }
        let warnings = document.policy.warnings
        warned.withLock { warned in
            if warned.count >= Self.most { warned.removeAll() }
            warned[document.digest] = warnings
        }
        return warnings
    }

    /// Changes the draft of an organization, and begins one where there is none.
    ///
    /// Whoever changes it at the same time loses nothing: the change is made again on what they have written.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - author: who changes it.
    ///   - change: gets the policy of the draft, and gives what is to be; it may be asked again.
    /// - Throws: ``Problem``, or what SQLite says.
    func change(
        in organization: String,
        by author: String,
        _ change: @Sendable (AccessPolicy) throws -> AccessPolicy
    ) async throws {
        while true {
            let staged = try await staged(of: organization)
            let policy = try change(staged.policy)
            let basedOn = staged.draft?.basedOn ?? staged.inForce.version
            let now = services.now()
            let written = try await services.store.writeDraft(
                Array(policy.document.text().utf8),
                of: organization,
                expecting: staged.draftNumber,
                basedOn: basedOn,
                movesBase: true,
                by: author,
                at: now
            )
            guard let written else { continue }
            // Whoever changes it looks at it next; to read it from the database takes longer.
            if !staged.isBehind {
                let draft = StagedPolicy.Draft(basedOn: basedOn, author: author, time: now)
                hold(
                    StagedPolicy(
                        inForce: staged.inForce,
                        base: staged.inForce.policy,
                        policy: policy,
                        draft: draft,
                        draftNumber: written
                    ),
                    Key(organization: organization, hasDraft: true)
                )
            }
            return
        }
    }

    /// Brings the draft up to date: what it changes is changed in the newest version instead.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - author: who does it.
    /// - Returns: the addresses of rules that both have changed; the draft's stay beside the newest version's.
    /// - Throws: ``Problem``, or what SQLite says.
    func bringUpToDate(in organization: String, by author: String) async throws -> [String] {
        while true {
            let staged = try await staged(of: organization)
            guard staged.isBehind else { return [] }
            let (policy, both) = staged.difference.applied(to: staged.inForce.policy)
            let written = try await services.store.writeDraft(
                Array(policy.document.text().utf8),
                of: organization,
                expecting: staged.draftNumber,
                basedOn: staged.inForce.version,
                movesBase: true,
                by: author,
                at: services.now()
            )
            if written != nil { return both }
        }
    }
}

extension PolicyDifference {
    /// Makes the same changes in another policy.
    ///
    /// - Parameter policy: the other policy.
    /// - Returns: the policy with the changes, and the addresses whose rule is another one there than the changes began with.
    func applied(to policy: AccessPolicy) -> (policy: AccessPolicy, both: [String]) {
        var both: [String] = []
        var gone: [RegistryRule: Int] = [:]
        var replacements: [RegistryRule: RegistryRule] = [:]
        for rule in removed { gone[rule, default: 0] += 1 }
        for change in changed { replacements[change.before] = change.after }
        var rules: [RegistryRule] = []
        rules.reserveCapacity(policy.rules.count + added.count)
        var present = Set<RegistryRule>()
        for rule in policy.rules {
            if let count = gone[rule], count > 0 {
                gone[rule] = count - 1
                continue
            }
            let new = replacements.removeValue(forKey: rule) ?? rule
            rules.append(new)
            present.insert(new)
        }
        // Somebody else has changed or removed these; what was meant here is said again, for deny wins over allow.
        for change in changed where replacements[change.before] != nil && !present.contains(change.after) {
            rules.append(change.after)
            both.append(change.after.address.description)
        }
        for rule in removed where (gone[rule] ?? 0) > 0 {
            if policy.rules.contains(where: { $0.address == rule.address }) { both.append(rule.address.description) }
        }
        rules += added.filter { !present.contains($0) }
        func setting<Value>(_ name: String, _ now: Value, _ read: (String?) -> Value?) -> Value {
            settings.first { $0.name == name }.map { read($0.after) ?? now } ?? now
        }
        let result = AccessPolicy(
            version: policy.version,
            organization: policy.organization,
            isEnabled: setting("enabled", policy.isEnabled) { $0 == "true" },
            mode: setting("mode", policy.mode) { $0.flatMap(AccessPolicy.Mode.init) },
            contact: setting("contact", policy.contact) { .some($0) },
            imports: setting("imports", policy.imports) { $0.flatMap(AccessPolicy.Imports.init) },
            unmanagedBuilders: setting("unmanagedBuilders", policy.unmanagedBuilders) {
                $0.flatMap(AccessPolicy.UnmanagedBuilders.init)
            },
            rules: rules
        )
        return (result, both)
    }
}

extension AccessPolicy {
    /// The policy with other settings or rules.
    func with(
        isEnabled: Bool? = nil,
        mode: Mode? = nil,
        contact: String?? = nil,
        imports: Imports? = nil,
        unmanagedBuilders: UnmanagedBuilders? = nil,
        rules: [RegistryRule]? = nil
    ) -> AccessPolicy {
        AccessPolicy(
            version: version,
            organization: organization,
            isEnabled: isEnabled ?? self.isEnabled,
            mode: mode ?? self.mode,
            contact: contact ?? self.contact,
            imports: imports ?? self.imports,
            unmanagedBuilders: unmanagedBuilders ?? self.unmanagedBuilders,
            rules: rules ?? self.rules
        )
    }
}

extension PolicyDraft {
    /// What it says.
    var policy: AccessPolicy {
        get throws {
            do throws(InvalidPolicy) {
                return try AccessPolicy(json: document)
            } catch {
                throw Problem.faults("a policy", [error])
            }
        }
    }
}
