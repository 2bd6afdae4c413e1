import LocalInstallation
import Logging
import RegistryAccess
import Synchronization

/// The policy in force, as everything in docker-ramd sees it: each decision takes one snapshot.
final class CurrentPolicy: Sendable {
    private let state: Mutex<PolicySnapshot>
    private let continuation: AsyncStream<Void>.Continuation

    /// Says that something else has come into force.
    ///
    /// Several changes can be said at once. For one listener.
    let changes: AsyncStream<Void>

    init(_ snapshot: PolicySnapshot) {
        state = Mutex(snapshot)
        (changes, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// What is in force now.
    var snapshot: PolicySnapshot { state.withLock { $0 } }

    /// Puts something else in force.
    func replace(with snapshot: PolicySnapshot) {
        state.withLock { $0 = snapshot }
        continuation.yield()
    }

    /// Puts something else in force and says so, unless that would be said in the same words as what was before.
    func replace(with snapshot: PolicySnapshot, sayingSoTo logger: Logger) {
        let isSaid = snapshot.isAnnouncedLike(self.snapshot)
        replace(with: snapshot)
        if !isSaid { snapshot.announce(to: logger) }
    }
}

/// What was in force at one moment.
struct PolicySnapshot: Sendable {
    /// What decides.
    var inForce: PolicyInForce
    /// Since when.
    var loadedAt: UTCTime
    /// What is wrong with the policy file, if anything is.
    var problem: String?
    /// Where the organization's server is, which is open whatever the policy says.
    var servers: [ServerURL] = []
}
