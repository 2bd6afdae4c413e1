import LocalInstallation
import NIOCore
import RegistryAccess
import Synchronization

/// The egress proxy without its sockets: decides, records the decisions, counts.
final class EgressProxy: Sendable {
    private let policy: CurrentPolicy
    private let log: DecisionQueue
    private let now: @Sendable () -> UTCTime
    private let admitted: Mutex<ProxyCredentials>
    private let counters = Mutex(Counters())
    private let connections = Mutex<[ObjectIdentifier: (question: EgressDecision.Question, channel: any Channel)]>([:])

    /// What was asked and answered since the start.
    struct Counters: Hashable, Sendable {
        var allowed = 0
        var refused = 0
        var strangers = 0
        var lastRequestAt: UTCTime?
    }

    init(
        policy: CurrentPolicy,
        credentials: ProxyCredentials,
        log: DecisionQueue,
        now: @escaping @Sendable () -> UTCTime = UTCTime.now
    ) {
        self.policy = policy
        self.log = log
        self.now = now
        admitted = Mutex(credentials)
    }

    /// Who is let in.
    var credentials: ProxyCredentials {
        get { admitted.withLock { $0 } }
        set { admitted.withLock { $0 = newValue } }
    }

    /// Decides whether a destination may be reached, records and counts it.
    func decide(on destination: ProxyRequest.Destination, isPlainHTTP: Bool, id: DecisionID) -> EgressDecision {
        let (decision, time) = decide(Self.question(about: destination, isPlainHTTP: isPlainHTTP), id)
        log.record(decision.record)
        counters.withLock {
            if decision.refusal == nil { $0.allowed += 1 } else { $0.refused += 1 }
            $0.lastRequestAt = time
        }
        return decision
    }

    private static func question(
        about destination: ProxyRequest.Destination,
        isPlainHTTP: Bool
    ) -> EgressDecision.Question {
        switch destination.target {
        case .success(let target): .reaching(target, isPlainHTTP: isPlainHTTP)
        case .failure(let error): .unreadable(authority: destination.authority, error)
        }
    }

    /// Decides about what shows only later: an address, or what comes through a tunnel.
    ///
    /// What passes leaves a record only if it would have been refused.
    func decideLater(_ question: EgressDecision.Question, id: DecisionID) -> EgressDecision {
        let (decision, _) = decide(question, id)
        if decision.verdict.outcome != .allow { log.record(decision.record) }
        if decision.refusal != nil {
            counters.withLock {
                $0.allowed -= 1
                $0.refused += 1
            }
        }
        return decision
    }

    /// Whether a rule says that what goes to a host need not be TLS.
    func acceptsPlainHTTP(at target: EgressTarget) -> Bool {
        let snapshot = policy.snapshot
        return EgressDecision.acceptsPlainHTTP(at: target.address, snapshot.inForce, snapshot.servers) ?? false
    }

    /// Counts somebody who does not know the secret.
    func countStranger() {
        counters.withLock { $0.strangers += 1 }
    }

    /// Keeps in mind a client that is connected with the outside, until it is not, and asks again whether it may be.
    ///
    /// - Parameters:
    ///   - channel: the connection of the client.
    ///   - destination: what it is connected with.
    ///   - isPlainHTTP: whether anything but TLS passes.
    ///   - id: the decision that allowed it.
    /// - Returns: the sentence of a refusal, if the policy has changed since that decision.
    func opened(
        _ channel: any Channel,
        to destination: ProxyRequest.Destination,
        isPlainHTTP: Bool,
        id: DecisionID
    ) -> String? {
        let question = Self.question(about: destination, isPlainHTTP: isPlainHTTP)
        let name = ObjectIdentifier(channel)
        connections.withLock { $0[name] = (question, channel) }
        channel.closeFuture.whenComplete { _ in self.connections.withLock { $0[name] = nil } }
        // In this order: what changes from here on, ``reconsider()`` finds.
        guard decide(question, id).0.refusal != nil else { return nil }
        return decideLater(question, id: id).refusal
    }

    /// How many clients are connected with the outside.
    var openConnections: Int { connections.withLock { $0.count } }

    /// Decides again about all that are connected with the outside, and ends those that the policy does not allow any more.
    ///
    /// Docker tries again what breaks off, and then reads why.
    func reconsider() {
        for (question, channel) in connections.withLock({ Array($0.values) })
        where decide(question, DecisionID()).0.refusal != nil {
            channel.close(promise: nil)
        }
    }

    /// What was asked and answered since the start.
    var counts: Counters { counters.withLock { $0 } }

    /// What `status` says about it.
    ///
    /// - Parameters:
    ///   - address: where it listens, if it does.
    ///   - problem: what is wrong, if anything is.
    /// - Returns: that.
    func status(listening address: SocketAddress?, problem: String?) -> DaemonStatus.EgressProxy {
        let counts = counts
        return DaemonStatus.EgressProxy(
            address: address?.text,
            problem: problem,
            requests: counts.allowed + counts.refused,
            allowed: counts.allowed,
            refused: counts.refused,
            strangers: counts.strangers,
            tunnels: openConnections,
            lastRequestAt: counts.lastRequestAt?.description
        )
    }

    private func decide(_ question: EgressDecision.Question, _ id: DecisionID) -> (EgressDecision, UTCTime) {
        let time = now()
        let snapshot = policy.snapshot
        let servers = snapshot.servers
        return (EgressDecision(question, under: snapshot.inForce, servers: servers, id: id, at: time), time)
    }
}

extension SocketAddress {
    /// `address:port`, an IPv6 address in brackets.
    var text: String {
        let host = ipAddress ?? ""
        return host.contains(":") ? "[\(host)]:\(port ?? 0)" : "\(host):\(port ?? 0)"
    }
}
