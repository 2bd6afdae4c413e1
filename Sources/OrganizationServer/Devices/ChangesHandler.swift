import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import NIOHTTPTypes
import Synchronization

/// Takes the questions of devices that wait for changes off their connections, before a task would wait for each of them.
///
/// Whatever is not plainly such a question goes on to the router, which answers the same. It stands behind the handler that
/// closes idle connections and those of a server that stops, so that a question that is held is one that is being answered.
final class ChangesHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let services: Services
    private var context: ChannelHandlerContext?
    /// The question that is being read.
    private var reading: (question: ChangesQuestion, head: HTTPRequest)?
    /// The question that is being answered.
    private var poll: ChangesPoll?
    private var head: HTTPRequest?
    private var began = NIODeadline.now()
    /// What came behind it; answers keep the order of their requests.
    private var behind: [HTTPRequestPart] = []
    /// How many requests the router has not answered yet.
    private var unanswered = 0

    /// How many parts of requests may come behind a question.
    private static let longestQueue = 32
    /// The pattern of the route.
    private static let route = "/v1/organizations/{organization}/devices/{device}/changes"

    init(services: Services) {
        self.services = services
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        drop()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        drop()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        take(unwrapInboundIn(data), context)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) { unanswered -= 1 }
        context.write(data, promise: promise)
    }

    private func take(_ part: HTTPRequestPart, _ context: ChannelHandlerContext) {
        guard poll == nil else {
            behind.append(part)
            if behind.count > Self.longestQueue { context.close(promise: nil) }
            return
        }
        switch part {
        case .head(let head):
            if unanswered == 0, let question = ChangesQuestion(head) {
                reading = (question, head)
            } else {
                unanswered += 1
                context.fireChannelRead(wrapInboundOut(part))
            }
        case .body:
            if reading == nil { context.fireChannelRead(wrapInboundOut(part)) }
        case .end:
            guard let (question, head) = reading else { return context.fireChannelRead(wrapInboundOut(part)) }
            reading = nil
            self.head = head
            began = .now()
            let poll = ChangesPoll(question, NIOLoopBound(self, eventLoop: context.eventLoop))
            self.poll = poll
            Task { [waiting = services.waiting] in await waiting.ask(poll) }
        }
    }

    /// Answers the question.
    fileprivate func finish(_ poll: ChangesPoll, _ body: ByteBuffer) {
        guard let context, poll === self.poll else { return }
        self.poll = nil
        var response = HTTPResponse(
            status: .ok,
            headerFields: Answers.headers(isSecure: services.settings.publicAddress.isSecure)
        )
        response.headerFields[.contentType] = ChangesAnswer.contentType
        response.headerFields[.contentLength] = "\(body.readableBytes)"
        response.headerFields[.cacheControl] = "no-store"
        response.headerFields[.date] = services.now().httpDate
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        context.write(wrapOutboundOut(.body(body)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        let seconds = Double((NIODeadline.now() - began).nanoseconds) / 1e9
        services.metrics.answered("GET", Self.route, 200, seconds: seconds)
        takeWhatIsBehind(context)
    }

    /// Gives the question to the router.
    fileprivate func leaveToRouter(_ poll: ChangesPoll) {
        guard let context, poll === self.poll, let head else { return }
        self.poll = nil
        unanswered += 1
        context.fireChannelRead(wrapInboundOut(.head(head)))
        context.fireChannelRead(wrapInboundOut(.end(nil)))
        context.fireChannelReadComplete()
        takeWhatIsBehind(context)
    }

    private func takeWhatIsBehind(_ context: ChannelHandlerContext) {
        guard !behind.isEmpty else { return }
        let parts = behind
        behind = []
        for part in parts { take(part, context) }
        context.fireChannelReadComplete()
    }

    /// Nobody is there any more who could be told.
    private func drop() {
        guard let poll else { return }
        self.poll = nil
        behind = []
        poll.goAway()
        Task { [waiting = services.waiting] in await waiting.forget(poll) }
    }
}

/// A question that is being answered.
final class ChangesPoll: Sendable {
    let question: ChangesQuestion
    /// How long the device waits.
    let end: ContinuousClock.Instant
    private let handler: NIOLoopBound<ChangesHandler>
    private let gone = Atomic(false)

    /// Whether its connection is closed.
    var isGone: Bool { gone.load(ordering: .acquiring) }

    fileprivate func goAway() { gone.store(true, ordering: .releasing) }

    fileprivate init(_ question: ChangesQuestion, _ handler: NIOLoopBound<ChangesHandler>) {
        self.question = question
        end = .now + .seconds(question.wait)
        self.handler = handler
    }

    /// Answers.
    ///
    /// - Parameter answer: what the device is told.
    func answer(_ answer: ChangesAnswer) {
        let body = answer.body
        handler.eventLoop.execute { self.handler.value.finish(self, body) }
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

        private struct Told: Sendable {
            let poll: ChangesPoll
            let body: ByteBuffer
        }

        private let newest: ServedDocuments.Newest?
        private var answers: [Key: (cursor: String, body: ByteBuffer)] = [:]
        private var told: [ObjectIdentifier: (eventLoop: any EventLoop, answers: [Told])] = [:]

        /// Nobody is told yet.
        ///
        /// - Parameter newest: what the organization serves.
        init(_ newest: ServedDocuments.Newest?) {
            self.newest = newest
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
            let (cursor, body) = answers[key] ?? Self.answer(changes, newest, after)
            answers[key] = (cursor, body)
            guard cursor != after else { return false }
            let eventLoop = poll.handler.eventLoop
            told[ObjectIdentifier(eventLoop), default: (eventLoop, [])].answers.append(Told(poll: poll, body: body))
            return true
        }

        private static func answer(
            _ changes: DeviceChanges,
            _ newest: ServedDocuments.Newest?,
            _ after: String?
        ) -> (String, ByteBuffer) {
            let answer = ChangesAnswer(changes, newest, after: after)
            return (answer.cursor, answer.body)
        }

        /// Sends the answers.
        func send() {
            for (eventLoop, answers) in told.values {
                eventLoop.execute {
                    for told in answers { told.poll.handler.value.finish(told.poll, told.body) }
                }
            }
        }
    }
}
