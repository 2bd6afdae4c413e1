import NIOCore
import NIOHTTP1

/// Answers what is asked of documents in memory, and lets everything else through.
///
/// After a change every machine asks for the same few documents within a second, and between changes for one of them again
/// and again. Each question answered by the router is a dozen changes of task; here it is one function call on the event
/// loop. Whatever is not plainly such a question goes to the router, which answers the same.
final class DocumentHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private let services: Services
    private let fields: CommonFields
    /// Answers are bytes already: they leave behind what would make bytes of them.
    private let encoder: ChannelHandlerContext
    /// The answer to the request that is being read, if it is given here.
    private var answer: (document: PreparedDocument, isUnchanged: Bool)?
    private var began = NIODeadline.now()
    /// How many requests the router has not answered yet; answers keep the order of their requests.
    private var unanswered = 0
    /// When the router saw something of this connection: what closes idle ones sees no other requests.
    private var passedOn = NIODeadline.now()
    private var isFlushNeeded = false

    /// Less than idle connections may be silent.
    private static let longestSilence = TimeAmount.seconds(30)

    init(services: Services, fields: CommonFields, encoder: ChannelHandlerContext) {
        self.services = services
        self.fields = fields
        self.encoder = encoder
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let request):
            began = .now()
            if unanswered == 0, began - passedOn < Self.longestSilence { answer = Self.answer(to: request, services) }
            guard answer == nil else { return }
            unanswered += 1
            passedOn = began
            context.fireChannelRead(data)
        case .body:
            if answer == nil { context.fireChannelRead(data) }
        case .end:
            guard let answer else { return context.fireChannelRead(data) }
            self.answer = nil
            send(answer.document, isUnchanged: answer.isUnchanged, context)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if isFlushNeeded {
            isFlushNeeded = false
            encoder.flush()
        }
        context.fireChannelReadComplete()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) { unanswered -= 1 }
        context.write(data, promise: promise)
    }

    private func send(_ document: PreparedDocument, isUnchanged: Bool, _ context: ChannelHandlerContext) {
        let (head, ending) = (isUnchanged ? document.unchangedHead : document.head, fields.text(at: services.now()))
        let length = head.utf8.count + ending.utf8.count + (isUnchanged ? 0 : document.body.readableBytes)
        var bytes = context.channel.allocator.buffer(capacity: length)
        bytes.writeString(head)
        bytes.writeString(ending)
        if !isUnchanged { bytes.writeImmutableBuffer(document.body) }
        encoder.write(NIOAny(bytes), promise: nil)
        isFlushNeeded = true
        let seconds = Double((NIODeadline.now() - began).nanoseconds) / 1e9
        services.metrics.answered("GET", document.route, isUnchanged ? 304 : document.status, seconds: seconds)
    }

    /// The answer to a request for a document that is in memory; `nil` if the router has to look at it.
    private static func answer(
        to request: HTTPRequestHead,
        _ services: Services
    ) -> (document: PreparedDocument, isUnchanged: Bool)? {
        guard request.method == .GET, request.version == .http1_1,
            let document = services.publisher.served.prepared(request.uri)
        else { return nil }
        var tags: String?
        for (name, value) in request.headers {
            switch name.lowercased() {
            case "if-none-match":
                guard tags == nil else { return nil }
                tags = value
            case "connection": guard value.lowercased() == "keep-alive" else { return nil }
            case "authorization", "content-length", "expect", "transfer-encoding", "upgrade": return nil
            default: break
            }
        }
        return (document, document.etag.map { EntityTag.matches(tags, $0) } ?? false)
    }
}
