import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import NIOHTTPTypes

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
    private let fields: CommonFields
    private var context: ChannelHandlerContext?
    /// The question that is being read.
    private var reading: ChangesPoll?
    /// The question that is being answered.
    private var poll: ChangesPoll?
    /// What came behind it; answers keep the order of their requests.
    private var behind: [HTTPRequestPart] = []
    /// How many requests the router has not answered yet.
    private var unanswered = 0
    /// The question that was answered last, and what was read for that.
    private var last: (question: ChangesQuestion, look: ChangesPoll.Look)?

    /// How many parts of requests may come behind a question.
    private static let longestQueue = 32
    /// The pattern of the route.
    private static let route = "/v1/organizations/{organization}/devices/{device}/changes"

    /// A handler for one connection.
    ///
    /// - Parameters:
    ///   - services: what the parts of the server share.
    ///   - fields: the fields that all answers have.
    init(services: Services, fields: CommonFields) {
        self.services = services
        self.fields = fields
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
                let look = last.flatMap { question.continues($0.question, $0.look.unchanged.cursor) ? $0.look : nil }
                reading = ChangesPoll(question, head, look, NIOLoopBound(self, eventLoop: context.eventLoop))
            } else {
                unanswered += 1
                context.fireChannelRead(wrapInboundOut(part))
            }
        case .body:
            if reading == nil { context.fireChannelRead(wrapInboundOut(part)) }
        case .end:
            guard let poll = reading else { return context.fireChannelRead(wrapInboundOut(part)) }
            reading = nil
            self.poll = poll
            Task { [waiting = services.waiting] in await waiting.ask(poll) }
        }
    }

    /// Answers a question, unless its connection is closed.
    ///
    /// - Parameters:
    ///   - poll: the question.
    ///   - body: the answer.
    ///   - look: what was read for that.
    func finish(_ poll: ChangesPoll, _ body: ByteBuffer, _ look: ChangesPoll.Look) {
        guard let context, poll === self.poll else { return }
        self.poll = nil
        last = (poll.question, look)
        var response = HTTPResponse(status: .ok, headerFields: fields.fields(at: services.now()))
        response.headerFields[.contentType] = ChangesAnswer.contentType
        response.headerFields[.contentLength] = "\(body.readableBytes)"
        response.headerFields[.cacheControl] = "no-store"
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        context.write(wrapOutboundOut(.body(body)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        let seconds = Double((NIODeadline.now() - poll.began).nanoseconds) / 1e9
        services.metrics.answered("GET", Self.route, 200, seconds: seconds)
        takeWhatIsBehind(context)
    }

    /// Gives a question to the router, unless its connection is closed.
    ///
    /// - Parameter poll: the question.
    func leaveToRouter(_ poll: ChangesPoll) {
        guard let context, poll === self.poll else { return }
        self.poll = nil
        last = nil
        unanswered += 1
        context.fireChannelRead(wrapInboundOut(.head(poll.head)))
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
        reading = nil
        behind = []
        guard let poll else { return }
        self.poll = nil
        poll.goAway()
        Task { [waiting = services.waiting] in await waiting.forget(poll) }
    }
}
