import LocalInstallation
import RegistryAccess
import Synchronization

/// That a registry was used on a day: all that the organization is told of what is allowed.
struct RegistryUse: Hashable, Sendable {
    /// The day in UTC: `2026-11-30`.
    let day: String
    /// The registry, with its port if it has one.
    let registry: String
    /// For what; `nil` where only the host was seen that day, as in a build.
    let action: RegistryAction?

    init(day: String, registry: String, action: RegistryAction?) {
        self.day = day
        self.registry = registry
        self.action = action
    }

    /// What a decision says of use.
    ///
    /// The egress proxy sees hosts. One that only a registry sends its clients to says nothing that the registry itself does
    /// not, and while the policy is switched off nobody knows which hosts these are.
    ///
    /// - Parameter record: the decision.
    init?(_ record: DecisionRecord) {
        guard record.verdict == .allow, let registry = record.registry else { return nil }
        switch (record.point, record.reason) {
        case (_, .allowedByRule), (.authorizationPlugin, .disabled): break
        default: return nil
        }
        self.init(day: String(record.time.prefix(10)), registry: registry, action: record.action)
    }

    /// The same for something else.
    func with(_ action: RegistryAction) -> RegistryUse { RegistryUse(day: day, registry: registry, action: action) }

    /// As the server is told.
    var json: JSONValue {
        .object([
            JSONMember("day", .string(day)), JSONMember("registry", .string(registry)),
            JSONMember("action", .text(action?.rawValue)),
        ])
    }
}

/// What was used since somebody looked last; a decision never waits for more than a set.
final class UseTally: Sendable {
    /// So much is held at most; what is beyond is counted.
    static let capacity = 4096

    private struct Entry: Hashable {
        let organization: String
        let use: RegistryUse
    }

    private let seen = Mutex<(entries: Set<Entry>, lost: Int)>(([], 0))

    /// Notes what a decision says of use, if it says anything.
    func note(_ record: DecisionRecord) {
        guard let organization = record.organization, let use = RegistryUse(record) else { return }
        let entry = Entry(organization: organization, use: use)
        seen.withLock { seen in
            if seen.entries.count < Self.capacity {
                seen.entries.insert(entry)
            } else if !seen.entries.contains(entry) {
                seen.lost += 1
            }
        }
    }

    /// Takes what was noted, and forgets it.
    ///
    /// - Parameter organization: whose; what belongs to another one is forgotten, too.
    /// - Returns: what was used, and how much could not be held.
    func take(of organization: String?) -> (uses: [RegistryUse], lost: Int) {
        let (entries, lost) = seen.withLock { seen in
            defer { seen = ([], 0) }
            return seen
        }
        return (entries.filter { $0.organization == organization }.map(\.use), lost)
    }
}
