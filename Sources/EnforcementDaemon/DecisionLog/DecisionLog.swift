import LocalInstallation
import Logging
import RegistryAccess
import Synchronization

/// Where decisions go: handed over without waiting, written elsewhere.
///
/// The queue is bounded. When the disk cannot keep up, records are dropped and counted; a decision never waits.
final class DecisionQueue: Sendable {
    /// What was handed over, in order; ends after ``finish()``.
    let records: AsyncStream<DecisionRecord>

    private let continuation: AsyncStream<DecisionRecord>.Continuation
    private let logAllowed: Bool
    private let losses = Atomic(0)

    /// A queue.
    ///
    /// - Parameters:
    ///   - capacity: how many records wait at most.
    ///   - logAllowed: whether allowed contacts are taken.
    init(capacity: Int = 8192, logAllowed: Bool = true) {
        self.logAllowed = logAllowed
        (records, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(capacity))
    }

    /// Hands over a record.
    func record(_ record: DecisionRecord) {
        guard logAllowed || record.verdict != .allow else { return }
        if case .dropped = continuation.yield(record) { countLoss() }
    }

    /// Takes no more records.
    func finish() {
        continuation.finish()
    }

    /// How many records were lost.
    var dropped: Int { losses.load(ordering: .relaxed) }

    /// Counts a record that could not be written.
    func countLoss() {
        losses.add(1, ordering: .relaxed)
    }
}

/// The decision log: writes records to a file of JSON lines, and hands them to whoever follows.
actor DecisionLog {
    /// The most lines that are given at once.
    static let mostLines = 10_000
    /// How long records are collected before they are written.
    private static let pause = Duration.milliseconds(10)

    /// Its file.
    nonisolated let path: String

    private let queue: DecisionQueue
    private let logger: Logger
    private var file: RotatingFile
    private var followers: [Int: (lines: AsyncStream<String>.Continuation, whenTooSlow: @Sendable () -> Void)] = [:]
    private var followersSoFar = 0
    private var isFailing = false

    init(path: String, settings: DaemonSettings.DecisionLog, queue: DecisionQueue, logger: Logger) {
        self.path = path
        file = RotatingFile(path: path, maximumBytes: settings.maximumBytes, files: settings.files)
        self.queue = queue
        self.logger = logger
    }

    /// Writes what comes until the queue is finished and empty.
    func run() async {
        let clock = ContinuousClock()
        var nextPause = clock.now
        for await record in queue.records {
            write(record)
            guard clock.now >= nextPause else { continue }
            // Whoever hands over a record to somebody asleep has to wake them, which takes as long as a decision. So what
            // comes within this time is collected.
            try? await Task.sleep(for: Self.pause)
            nextPause = clock.now + Self.pause
        }
        for follower in followers.values { follower.lines.finish() }
        followers = [:]
        file.close()
    }

    /// The newest lines, oldest first.
    func newest(_ limit: Int) -> [String] {
        (try? file.newestLines(min(limit, Self.mostLines))) ?? []
    }

    /// The newest lines and those that are still to come, without a gap and without a repetition.
    ///
    /// - Parameters:
    ///   - limit: how many of the newest lines.
    ///   - capacity: how many lines may wait for the reader.
    ///   - whenTooSlow: called when more wait; the follower then gets no more.
    /// - Returns: what is there and what is to come.
    func follow(_ limit: Int, capacity: Int, whenTooSlow: @escaping @Sendable () -> Void) -> DecisionFollower {
        let (stream, continuation) = AsyncStream.makeStream(
            of: String.self,
            bufferingPolicy: .bufferingOldest(capacity)
        )
        let number = followersSoFar
        followersSoFar += 1
        followers[number] = (continuation, whenTooSlow)
        return DecisionFollower(lines: newest(limit), further: stream) {
            continuation.finish()
            // Not only when the next line comes: anybody can come and go while nothing is decided.
            Task { await self.forget(number) }
        }
    }

    /// How many follow.
    var followerCount: Int { followers.count }

    private func forget(_ number: Int) {
        followers[number] = nil
    }

    private func write(_ record: DecisionRecord) {
        let line = record.json.text()
        log(record)
        do throws(FileError) {
            try file.append(line)
            isFailing = false
        } catch {
            queue.countLoss()
            if !isFailing { logger.error("the decision log cannot be written", metadata: ["error": "\(error)"]) }
            isFailing = true
        }
        for (number, follower) in followers {
            switch follower.lines.yield(line) {
            case .enqueued: continue
            case .dropped:
                follower.lines.finish()
                follower.whenTooSlow()
            default: break
            }
            followers[number] = nil
        }
    }

    private func log(_ record: DecisionRecord) {
        let level: Logger.Level = record.verdict == .allow ? .debug : .info
        guard level >= logger.logLevel else { return }
        var metadata: Logger.Metadata = [
            "decision.id": "\(record.id)",
            "verdict": "\(record.verdict.rawValue)",
            "reason": "\(record.reason.rawValue)",
        ]
        if let registry = record.registry { metadata["registry.name"] = "\(registry)" }
        if let action = record.action { metadata["registry.action"] = "\(action.rawValue)" }
        if let version = record.policyVersion { metadata["policy.version"] = "\(version)" }
        logger.log(level: level, "decision", metadata: metadata)
    }
}

/// Somebody who reads the decision log as it grows.
struct DecisionFollower: Sendable {
    /// What is there already, oldest first.
    let lines: [String]
    /// What is still to come.
    let further: AsyncStream<String>
    /// Ends `further`.
    let leave: @Sendable () -> Void
}
