import HTTPTypes
import NIOCore
import Synchronization

/// A question for changes that is being answered, on the connection where it was asked.
final class ChangesPoll: Sendable {
    let question: ChangesQuestion
    /// The question as it came, for the router.
    let head: HTTPRequest
    /// When it came.
    let began = NIODeadline.now()
    /// How long the device waits.
    let end: ContinuousClock.Instant
    /// What was read for its last question on this connection, if it asks on from there.
    let look: Look?
    private let handler: NIOLoopBound<ChangesHandler>
    private let gone = Atomic(false)

    /// What was read of a device, which holds as long as nothing changes in its organization.
    struct Look: Sendable {
        /// What the device is told as long as that is so.
        let unchanged: ChangesAnswer
        /// How often the organization had changed before it was read (``ChangeFeed``).
        let count: UInt64
        /// When it was read.
        let time: ContinuousClock.Instant
    }

    /// A question of which the head has come.
    ///
    /// - Parameters:
    ///   - question: what is asked.
    ///   - head: the same as it came.
    ///   - look: what was read for the last question, if this one asks on from there.
    ///   - handler: who has the connection.
    init(_ question: ChangesQuestion, _ head: HTTPRequest, _ look: Look?, _ handler: NIOLoopBound<ChangesHandler>) {
        self.question = question
        self.head = head
        self.look = look
        self.handler = handler
        end = .now + .seconds(question.wait)
    }

    /// Whether its connection is closed.
    var isGone: Bool { gone.load(ordering: .acquiring) }

    /// Notes that its connection is closed.
    func goAway() { gone.store(true, ordering: .releasing) }

    /// Answers.
    ///
    /// - Parameters:
    ///   - answer: what the device is told.
    ///   - look: what was read for that.
    func answer(_ answer: ChangesAnswer, _ look: Look) {
        let body = answer.body
        handler.eventLoop.execute { self.handler.value.finish(self, body, look) }
    }

    /// Has the router answer, as if nobody had looked at the question before.
    func leaveToRouter() {
        handler.eventLoop.execute { self.handler.value.leaveToRouter(self) }
    }

    /// Answers that are given together: most of them are the same bytes.
    struct Round: Sendable {
        private struct Key: Hashable {
            let changes: DeviceChanges
            let after: String?
        }

        private struct Answer: Sendable {
            let body: ByteBuffer
            let look: Look
        }

        /// The answers on one event loop.
        private struct Told: Sendable {
            let eventLoop: any EventLoop
            var answers: [(poll: ChangesPoll, answer: Answer)] = []
        }

        private let newest: ServedDocuments.Newest?
        private let count: UInt64
        private let time: ContinuousClock.Instant
        private var answers: [Key: Answer] = [:]
        private var told: [ObjectIdentifier: Told] = [:]

        /// Nobody is told yet.
        ///
        /// - Parameters:
        ///   - newest: what the organization serves.
        ///   - count: how often it had changed before that was read.
        ///   - time: when it was read.
        init(_ newest: ServedDocuments.Newest?, count: UInt64, at time: ContinuousClock.Instant) {
            self.newest = newest
            self.count = count
            self.time = time
        }

        /// Has a device be told, if there is something that it does not know.
        ///
        /// - Parameters:
        ///   - poll: its question.
        ///   - changes: what concerns it.
        /// - Returns: whether there is.
        mutating func tell(_ poll: ChangesPoll, _ changes: DeviceChanges) -> Bool {
            let after = poll.question.after
            let key = Key(changes: changes, after: after)
            let answer = answers[key] ?? answer(key)
            answers[key] = answer
            guard answer.look.unchanged.cursor != after else { return false }
            let eventLoop = poll.handler.eventLoop
            told[ObjectIdentifier(eventLoop), default: Told(eventLoop: eventLoop)].answers.append((poll, answer))
            return true
        }

        private func answer(_ key: Key) -> Answer {
            let answer = ChangesAnswer(key.changes, newest, after: key.after)
            return Answer(body: answer.body, look: Look(unchanged: answer.unchanged, count: count, time: time))
        }

        /// Sends the answers.
        func send() {
            for told in told.values {
                told.eventLoop.execute {
                    for (poll, answer) in told.answers { poll.handler.value.finish(poll, answer.body, answer.look) }
                }
            }
        }
    }
}
