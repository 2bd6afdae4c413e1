import LocalInstallation
import Logging
import RegistryAccess
import Synchronization

/// Where decisions go: handed over without waiting, written elsewhere.
///
/// The queue is bounded. When the disk cannot keep up, records are dropped and counted; a decision never waits.
final class DecisionQueue: Sendable {
    /// One element whenever there is something to ``take()`` again; ends after ``finish()``.
    ///
    /// Whoever hands over a record to somebody asleep has to wake them, which takes as long as a decision. So nobody is woken
    /// while what came before has not been taken.
    let rings: AsyncStream<Void>

    private let bell: AsyncStream<Void>.Continuation
    private let capacity: Int
    private let logAllowed: Bool
    private let uses: UseTally?
    private let waiting = Mutex<(records: [DecisionRecord], isFinished: Bool)>(([], false))
    private let losses = Atomic(0)

    /// A queue.
    ///
    /// - Parameters:
    ///   - capacity: how many records wait at most.
    ///   - logAllowed: whether allowed contacts are taken.
    ///   - uses: where it is noted which registries are used, of the contacts that are taken.
    init(capacity: Int = 8192, logAllowed: Bool = true, uses: UseTally? = nil) {
        self.capacity = capacity
        self.logAllowed = logAllowed
        self.uses = uses
        (rings, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Hands over a record.
    func record(_ record: DecisionRecord) {
        guard logAllowed || record.verdict != .allow else { return }
        uses?.note(record)
        let waits = waiting.withLock { waiting in
            guard !waiting.isFinished, waiting.records.count < capacity else { return 0 }
            waiting.records.append(record)
            return waiting.records.count
        }
        switch waits {
        case 0: countLoss()
        case 1: bell.yield()
        default: break
        }
    }

    /// Takes what waits, oldest first.
    func take() -> [DecisionRecord] {
        waiting.withLock { waiting in
            defer { waiting.records = [] }
            return waiting.records
        }
    }

    /// Takes no more records.
    func finish() {
        waiting.withLock { $0.isFinished = true }
        bell.finish()
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
        for await _ in queue.rings {
            // More is likely to follow.
            try? await Task.sleep(for: Self.pause)
            writeWaiting()
        }
        // What came between the last ring and the end.
        writeWaiting()
        for follower in followers.values { follower.lines.finish() }
        followers = [:]
        file.close()
    }

    /// The newest lines, oldest first.
    func newest(_ limit: Int) -> [String] {
        writeWaiting()
        return (try? file.newestLines(min(limit, Self.mostLines))) ?? []
    }

    /// The newest lines and those that are still to come, without a gap and without a repetition.
    ///
    /// - Parameters:
    ///   - limit: how many of the newest lines.
    ///   - capacity: how many lines may wait for the reader.
    ///   - whenTooSlow: called when more wait; the follower then gets no more.
    /// - Returns: what is there and what is to come.
    func follow(_ limit: Int, capacity: Int, whenTooSlow: @escaping @Sendable () -> Void) -> DecisionFollower {
        // Before there is a follower: what waits is written now.
        let lines = newest(limit)
        let (stream, continuation) = AsyncStream.makeStream(
            of: String.self,
            bufferingPolicy: .bufferingOldest(capacity)
        )
        let number = followersSoFar
        followersSoFar += 1
        followers[number] = (continuation, whenTooSlow)
        return DecisionFollower(lines: lines, further: stream) {
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

    private func writeWaiting() {
        for record in queue.take() { write(record) }
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
