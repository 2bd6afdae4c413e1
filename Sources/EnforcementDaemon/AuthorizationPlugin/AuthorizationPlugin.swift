import LocalInstallation
import RegistryAccess
import Synchronization

/// The authorization plugin without its socket: decides about calls, records the decisions, counts.
final class AuthorizationPlugin: Sendable {
    private let policy: CurrentPolicy
    private let log: DecisionQueue
    private let builderProxy: BuilderProxy?
    private let now: @Sendable () -> UTCTime
    private let counters = Mutex(Counters())
    private let engine = Mutex<EngineVersion?>(nil)

    /// What was asked and answered since the start.
    struct Counters: Hashable, Sendable {
        var allowed = 0
        var refused = 0
        var lastRequestAt: UTCTime?
    }

    init(
        policy: CurrentPolicy,
        log: DecisionQueue,
        builderProxy: BuilderProxy? = nil,
        now: @escaping @Sendable () -> UTCTime = UTCTime.now
    ) {
        self.policy = policy
        self.log = log
        self.builderProxy = builderProxy
        self.now = now
    }

    /// Decides about the body of an `AuthZReq` call, and records nothing yet.
    func decide(_ call: Result<[UInt8], MalformedCall>) -> AuthorizationDecision {
        let snapshot = policy.snapshot
        return AuthorizationDecision(
            onCall: call,
            from: engine.withLock { $0 },
            under: snapshot.inForce,
            servers: snapshot.servers,
            builderProxy: builderProxy,
            id: DecisionID(),
            at: now()
        )
    }

    /// The engine has started to use the plugin; it may be another one than before.
    func forgetEngine() {
        engine.withLock { $0 = nil }
    }

    /// Learns the version of the engine from the body of an `AuthZRes` call, if it is not known yet.
    func learnEngine(fromResponse response: [UInt8]) {
        guard engine.withLock({ $0 }) == nil, let version = EngineVersion(authorizationResponse: response) else {
            return
        }
        engine.withLock { $0 = version }
    }

    /// The version of the engine, if it is known.
    var engineVersion: EngineVersion? { engine.withLock { $0 } }

    /// Records a decision that the engine is answered with.
    func record(_ decision: AuthorizationDecision) {
        counters.withLock {
            if decision.answer == .allow { $0.allowed += 1 } else { $0.refused += 1 }
            $0.lastRequestAt = decision.time
        }
        for record in decision.records { log.record(record) }
    }

    /// What was asked and answered since the start.
    var counts: Counters { counters.withLock { $0 } }

    /// Whether decisions come out as they must: what touches no registry passes, an empty call does not.
    func works() -> Bool {
        let harmless = #"{"RequestMethod":"GET","RequestUri":"/_ping"}"#
        return decide(.success(Array(harmless.utf8))).answer == .allow && decide(.success([])).answer != .allow
    }
}
