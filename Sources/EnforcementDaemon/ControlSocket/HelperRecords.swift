import Glibc
import LocalInstallation
import RegistryAccess
import Synchronization

/// Takes down what docker-credential-ram has decided: it runs as the developer, who may not write the decision log.
///
/// Whoever says so may lie. A record of this kind therefore names the user as the kernel does and holds nothing that the
/// user chose but the decision's name and a well-formed address; what the policy says to it is asked here once more,
/// and what it allows is not recorded. A user gets few records, so that nobody can push others out of the log.
final class HelperRecords: Sendable {
    /// How much is taken.
    struct Limits: Sendable {
        /// How many records of one user at once.
        var ofUser = 20.0
        /// How many records of one user a second after that.
        var ofUserEachSecond = 0.2
        /// How many records of all users at once.
        var ofAll = 200.0
        /// How many records of all users a second after that.
        var ofAllEachSecond = 2.0
    }

    private let policy: CurrentPolicy
    private let log: DecisionQueue
    private let limits: Limits
    private let now: @Sendable () -> UTCTime
    private let allowances = Mutex((ofUser: [uid_t: Allowance](), ofAll: Allowance?.none))

    /// Takes records down.
    ///
    /// - Parameters:
    ///   - policy: the policy in force.
    ///   - log: where records go.
    ///   - limits: how much is taken.
    ///   - now: the clock.
    init(
        policy: CurrentPolicy,
        log: DecisionQueue,
        limits: Limits = Limits(),
        now: @escaping @Sendable () -> UTCTime = UTCTime.now
    ) {
        self.policy = policy
        self.log = log
        self.limits = limits
        self.now = now
    }

    /// Takes one down, unless the policy allows it or there were too many.
    ///
    /// - Parameters:
    ///   - id: the decision's name.
    ///   - registry: the registry; `nil` if what Docker named is none.
    ///   - user: who says it.
    func take(_ id: DecisionID, _ registry: RegistryAddress?, from user: uid_t) {
        let inForce = policy.snapshot.inForce
        let request = registry.map { AccessRequest(.login, $0) }
        let verdict = request.map { inForce.verdict(on: $0) } ?? inForce.verdict(refusing: .notInspected)
        let time = now()
        guard verdict.outcome != .allow, isWithinLimits(user, time) else { return }
        var record = DecisionRecord(
            id: id,
            time: time.description,
            point: .credentialHelper,
            request: request,
            image: nil,
            verdict: verdict,
            policy: inForce.policy,
            obstacle: registry == nil ? "what Docker named is no address of a registry" : nil
        )
        record.user = Int(user)
        log.record(record)
    }

    private func isWithinLimits(_ user: uid_t, _ time: UTCTime) -> Bool {
        allowances.withLock { allowances in
            var mine = allowances.ofUser[user] ?? Allowance(left: limits.ofUser, at: time)
            mine.grow(until: time, limits.ofUserEachSecond, atMost: limits.ofUser)
            var all = allowances.ofAll ?? Allowance(left: limits.ofAll, at: time)
            all.grow(until: time, limits.ofAllEachSecond, atMost: limits.ofAll)
            let isWithin = mine.left >= 1 && all.left >= 1
            if isWithin {
                mine.left -= 1
                all.left -= 1
            }
            // One person can have thousands of user ids (subordinate ones).
            if allowances.ofUser.count >= 1024 { allowances.ofUser.removeAll() }
            allowances.ofUser[user] = mine
            allowances.ofAll = all
            return isWithin
        }
    }

    /// What may still be taken.
    private struct Allowance {
        var left: Double
        var at: UTCTime

        mutating func grow(until time: UTCTime, _ eachSecond: Double, atMost most: Double) {
            // A clock that was turned back gives nothing.
            let seconds = Double(max(0, time.milliseconds - at.milliseconds)) / 1000
            left = min(most, left + seconds * eachSecond)
            at = time
        }
    }
}
