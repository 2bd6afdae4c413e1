import HTTPTypes
import Synchronization

/// What the server counts while it works, for `/metrics`.
///
/// Each way to count is one short turn under a lock: hot paths do not change threads for it. Everything that a series is
/// named by comes from a closed set (cases of ours, patterns of routes), so that no stranger makes series.
final class Metrics: Sendable {
    /// How somebody signs in.
    enum SignIn: String, Hashable, Sendable, CaseIterable {
        case password
        case refreshToken = "refresh_token"
        case deviceCode = "device_code"
        case accessToken = "access_token"
        /// With a program that was written for Docker Hub, or `docker login`.
        case docker
        /// On the page where sign-ins of machines are approved.
        case activation
        /// On the sign-in page of the dashboard, with a password.
        case dashboard
        /// At an organization's own provider: on the dashboard, or to approve a machine.
        case singleSignOn = "single_sign_on"
    }

    /// How a sign-in went.
    enum SignInResult: String, Hashable, Sendable, CaseIterable {
        case succeeded
        /// The device code is not approved yet; no fault of anybody's.
        case pending
        case refused
        /// Too often, or too many at once.
        case limited
        /// A fault of the server.
        case failed
    }

    /// Why sessions end before their time.
    enum SessionEnd: String, Hashable, Sendable, CaseIterable {
        /// An owner ends them.
        case forced
        case signOut = "sign_out"
        /// A refresh token came a second time.
        case reused
    }

    /// What is counted and has no more to say.
    enum Event: String, Hashable, Sendable, CaseIterable {
        case reports
        case refusals
        case policiesSaved
        case policiesRolledBack
        case devicesRegistered
        case devicesRefused
    }

    /// A route by its pattern; requests that no route takes share one.
    struct Route: Hashable, Sendable {
        let method: String
        let pattern: String
        /// `2xx` and so on.
        let status: String
    }

    /// What was counted until now.
    struct Counts: Sendable {
        var requests: [Route: Histogram] = [:]
        var signIns: [SignIn: [SignInResult: Int]] = [:]
        var sessionsEnded: [SessionEnd: Int] = [:]
        var limited: [RateLimits.Limit: Int] = [:]
        var events: [Event: Int] = [:]
        var commits = Histogram(bounds: Histogram.commitSeconds)
    }

    private let state = Mutex(Counts())

    /// What was counted until now.
    var counts: Counts { state.withLock { $0 } }

    private static let methods: Set<String> = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

    /// A method as it is counted and logged; what a client made up is `other`.
    static func method(_ name: String) -> String { methods.contains(name) ? name : "other" }

    /// Counts a request that was answered.
    ///
    /// - Parameters:
    ///   - method: its method, as the client says it.
    ///   - pattern: the pattern of its route; `nil` if no route took it.
    ///   - status: the status of the answer.
    ///   - seconds: how long it took.
    func answered(_ method: String, _ pattern: String?, _ status: Int, seconds: Double) {
        let route = Route(
            method: Self.method(method),
            pattern: pattern ?? "none",
            status: "\(status / 100)xx"
        )
        state.withLock { counts in
            counts.requests[route, default: Histogram(bounds: Histogram.requestSeconds)].add(seconds)
        }
    }

    /// Counts a sign-in.
    func signedIn(by kind: SignIn, _ result: SignInResult) {
        state.withLock { $0.signIns[kind, default: [:]][result, default: 0] += 1 }
    }

    /// Counts sessions that have ended.
    func ended(_ sessions: Int, _ reason: SessionEnd) {
        state.withLock { $0.sessionsEnded[reason, default: 0] += sessions }
    }

    /// Counts a request that was refused because of a limit.
    func limited(_ limit: RateLimits.Limit) { state.withLock { $0.limited[limit, default: 0] += 1 } }

    /// Counts something that happened.
    func happened(_ event: Event, _ times: Int = 1) { state.withLock { $0.events[event, default: 0] += times } }

    /// Counts a transaction that is on the disk.
    func committed(seconds: Double) { state.withLock { $0.commits.add(seconds) } }

    /// Counts how a sign-in goes.
    ///
    /// - Parameters:
    ///   - kind: how somebody signs in.
    ///   - isGood: whether what the body gives is a sign-in.
    ///   - body: signs in, or throws why not.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws.
    func counting<Result>(
        _ kind: SignIn,
        isGood: (Result) -> Bool = { _ in true },
        _ body: () async throws -> Result
    ) async throws -> Result {
        do {
            let result = try await body()
            signedIn(by: kind, isGood(result) ? .succeeded : .refused)
            return result
        } catch let refusal as GrantRefusal {
            let isPending = refusal.code == .authorizationPending || refusal.code == .slowDown
            signedIn(by: kind, isPending ? .pending : .refused)
            throw refusal
        } catch let fault as SingleSignOnFault {
            signedIn(by: kind, fault.isOfProvider ? .failed : .refused)
            throw fault
        } catch let refusal as Store.IntroductionRefusal {
            signedIn(by: kind, .refused)
            throw refusal
        } catch let problem as Problem {
            let isLimited = problem.code == .tooManyRequests || problem.code == .busy
            signedIn(by: kind, isLimited ? .limited : problem.status.code >= 500 ? .failed : .refused)
            throw problem
        } catch {
            signedIn(by: kind, .failed)
            throw error
        }
    }
}

/// How many durations were at most how long.
struct Histogram: Hashable, Sendable {
    /// From a cached document to a long poll.
    static let requestSeconds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
    /// From a disk with a battery to one that is in trouble.
    static let commitSeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

    /// The upper bounds of all buckets but the last, in seconds.
    let bounds: [Double]
    /// How many fell into each, not counting smaller ones; the last has no bound.
    private(set) var buckets: [Int]
    /// What all of them come to.
    private(set) var sum = 0.0

    /// Nothing yet.
    init(bounds: [Double]) {
        self.bounds = bounds
        buckets = [Int](repeating: 0, count: bounds.count + 1)
    }

    /// How many there were.
    var count: Int { buckets.reduce(0, +) }

    mutating func add(_ value: Double) {
        buckets[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
        sum += value
    }
}
