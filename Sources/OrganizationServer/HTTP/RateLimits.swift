import RegistryAccess
import HTTPTypes
import SignedPolicy

/// How often something may be tried: token buckets in memory, which begin full with the process.
actor RateLimits {
    /// What is limited.
    enum Limit: String, Hashable, Sendable, CaseIterable {
        /// Wrong passwords for an account, from wherever.
        case passwordOfAccount
        /// Passwords that come from one address.
        case passwordFromAddress
        /// Wrong passwords for an account from one address, one after another; then a quarter of an hour of peace.
        case passwordInARow
        /// Wrong passwords of whoever is signed in already, in one session.
        case passwordInSession
        /// Codes of the sign-in page that come from one address.
        case codeFromAddress
        /// Wrong codes in one browser.
        case codeInBrowser
        /// Sign-ins that a machine begins.
        case deviceAuthorization
        /// Tokens that are none, from one address.
        case wrongToken
        /// Invitations that are shown, from one address.
        case invitation
        /// Links for new passwords that are shown, from one address.
        case passwordReset
        /// Sign-ins at a provider that are begun from one address.
        case singleSignOn
        /// Devices that register without an enrollment token, from one address.
        case registration
        /// Refusals that one device tells of; a report without any counts as one.
        case reports

        fileprivate var size: Double {
            switch self {
            case .passwordOfAccount, .passwordInSession, .codeInBrowser: 5
            case .passwordFromAddress, .codeFromAddress, .singleSignOn: 20
            case .passwordInARow, .deviceAuthorization, .invitation, .passwordReset, .registration: 10
            case .wrongToken: 100
            case .reports: 2000
            }
        }

        /// Seconds until an empty bucket is full again.
        fileprivate var fillSeconds: Double {
            switch self {
            case .passwordInSession, .codeInBrowser: 600
            case .passwordInARow: 900
            default: 60
            }
        }
    }

    private struct Key: Hashable {
        let limit: Limit
        let subject: String
    }

    private struct Bucket {
        var content: Double
        var time: Instant
    }

    private var buckets: [Key: Bucket] = [:]
    private let now: @Sendable () -> Instant
    private let metrics: Metrics
    /// More than this many buckets are looked through for full ones.
    private static let manyBuckets = 50_000

    /// Full buckets.
    ///
    /// - Parameters:
    ///   - now: the time.
    ///   - metrics: where refusals are counted.
    init(now: @escaping @Sendable () -> Instant, metrics: Metrics = Metrics()) {
        self.now = now
        self.metrics = metrics
    }

    /// Takes from a bucket, or refuses if there is not enough in it.
    ///
    /// - Parameters:
    ///   - limit: what is tried.
    ///   - subject: by whom, or at whom.
    ///   - amount: how much of it.
    /// - Throws: ``Problem`` 429 with the seconds to wait.
    func take(_ limit: Limit, _ subject: String, _ amount: Int = 1) throws(Problem) {
        try check(limit, subject, amount)
        spend(limit, subject, amount)
    }

    /// Takes one from each of some buckets, or refuses if one of them is empty, and takes nothing then.
    ///
    /// - Parameter wanted: what is tried, and by whom, or at whom.
    /// - Returns: those whose bucket has just become empty.
    /// - Throws: ``Problem`` 429 with the seconds to wait.
    func take(each wanted: [(limit: Limit, subject: String)]) throws(Problem) -> Set<Limit> {
        for (limit, subject) in wanted { try check(limit, subject) }
        return Set(wanted.compactMap { spend($0.limit, $0.subject) ? $0.limit : nil })
    }

    /// Refuses if there is not enough in a bucket, and takes nothing.
    ///
    /// - Parameters:
    ///   - limit: what is tried.
    ///   - subject: by whom, or at whom.
    ///   - amount: how much of it.
    /// - Throws: ``Problem`` 429 with the seconds to wait.
    func check(_ limit: Limit, _ subject: String, _ amount: Int = 1) throws(Problem) {
        let bucket = bucket(limit, subject)
        let missing = Double(amount) - bucket.content
        guard missing > 0 else { return }
        metrics.limited(limit)
        let seconds =
            limit == .passwordInARow
            ? limit.fillSeconds - Double(now() - bucket.time)
            : (missing * limit.fillSeconds / limit.size).rounded(.up)
        var problem = Problem(
            .tooManyRequests,
            .tooManyRequests,
            "this was tried too often",
            hint: "try again in \(Int(seconds)) seconds"
        )
        problem.headers[.retryAfter] = String(Int(seconds))
        throw problem
    }

    /// Takes from a bucket, as far as there is something in it.
    ///
    /// - Parameters:
    ///   - limit: what was tried.
    ///   - subject: by whom, or at whom.
    ///   - amount: how much of it.
    /// - Returns: whether the bucket has just become empty.
    @discardableResult
    func spend(_ limit: Limit, _ subject: String, _ amount: Int = 1) -> Bool {
        var bucket = bucket(limit, subject)
        let wasEmpty = bucket.content < 1
        bucket.content = max(0, bucket.content - Double(amount))
        bucket.time = now()
        if buckets.count > Self.manyBuckets { forgetFull() }
        buckets[Key(limit: limit, subject: subject)] = bucket
        return !wasEmpty && bucket.content < 1
    }

    /// Puts back what was taken for something that is not to count.
    ///
    /// - Parameters:
    ///   - limit: what was tried.
    ///   - subject: by whom, or at whom.
    func giveBack(_ limit: Limit, _ subject: String) {
        var bucket = bucket(limit, subject)
        bucket.content = min(limit.size, bucket.content + 1)
        buckets[Key(limit: limit, subject: subject)] = bucket
    }

    /// Fills a bucket again: what was tried was right.
    ///
    /// - Parameters:
    ///   - limit: what was tried.
    ///   - subject: by whom, or at whom.
    func fill(_ limit: Limit, _ subject: String) { buckets[Key(limit: limit, subject: subject)] = nil }

    private func bucket(_ limit: Limit, _ subject: String) -> Bucket {
        let now = now()
        guard let bucket = buckets[Key(limit: limit, subject: subject)] else {
            return Bucket(content: limit.size, time: now)
        }
        let seconds = Double(max(0, now - bucket.time))
        if limit == .passwordInARow {
            // It is full when the peace is over, and does not fill drop by drop.
            return seconds >= limit.fillSeconds ? Bucket(content: limit.size, time: now) : bucket
        }
        let content = min(limit.size, bucket.content + seconds * limit.size / limit.fillSeconds)
        return Bucket(content: content, time: now)
    }

    private func forgetFull() {
        let now = now()
        buckets = buckets.filter { key, bucket in Double(now - bucket.time) < key.limit.fillSeconds }
    }
}
