import NIOCore
import NIOHTTP1
import NIOPosix

/// Carries out what ``PluginConnection`` says, on the connection's event loop.
final class PluginConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private var connection = PluginConnection()
    private var timer: Scheduled<Void>?
    /// When that runs out.
    private var deadline = NIODeadline.distantFuture
    private let plugin: AuthorizationPlugin
    private let limits: PluginLimits

    init(plugin: AuthorizationPlugin, limits: PluginLimits) {
        self.plugin = plugin
        self.limits = limits
    }

    func channelActive(context: ChannelHandlerContext) {
        perform(connection.opened(), context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        connection.closed()
        timer?.cancel()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is BytesArrived {
            perform(connection.bytesArrived(), context)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            let keepsAlive = head.isKeepAlive && head.version == .http1_1
            perform(connection.head(method: head.method.rawValue, target: head.uri, keepsAlive: keepsAlive), context)
        case .body(let part):
            perform(connection.body(Array(buffer: part)), context)
        case .end:
            perform(connection.end(), context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // What is not HTTP has been answered with 400 already. Neither is worth a line in the log.
        context.close(promise: nil)
    }

    private func perform(_ actions: [PluginConnection.Action], _ context: ChannelHandlerContext) {
        for action in actions {
            switch action {
            case .startTimer(let timer): start(timer, context)
            case .decide(let call): decide(call, context)
            case .forgetEngine: plugin.forgetEngine()
            case .learn(let response): plugin.learnEngine(fromResponse: response)
            case .answer(let answer, let close): send(answer, closing: close, context)
            case .close: context.close(promise: nil)
            }
        }
    }

    private func start(_ timer: PluginConnection.Timer, _ context: ChannelHandlerContext) {
        self.timer?.cancel()
        let handler = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        deadline = .now() + (timer == .rest ? limits.rest : limits.call)
        self.timer = context.eventLoop.scheduleTask(deadline: deadline) {
            let (handler, context) = handler.value
            handler.perform(handler.connection.timerExpired(), context)
        }
    }

    private func decide(_ call: Result<[UInt8], MalformedCall>, _ context: ChannelHandlerContext) {
        // Almost every call is small and decided faster than another thread wakes up. A large one would hold up the
        // others, and its own deadline.
        guard case .success(let bytes) = call, bytes.count > limits.largestInlineCall else {
            return answer(plugin.decide(call), context)
        }
        let handler = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        // When the call's own timer has run out nobody waits for the decision, and those behind it do.
        let (plugin, deadline) = (plugin, deadline)
        NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) {
            NIODeadline.now() < deadline ? plugin.decide(call) : nil
        }.whenSuccess { decision in
            guard let decision else { return }
            let (handler, context) = handler.value
            handler.answer(decision, context)
        }
    }

    private func answer(_ decision: AuthorizationDecision, _ context: ChannelHandlerContext) {
        let actions = connection.decided(decision.answer)
        // A decision that came too late was not made.
        if !actions.isEmpty { plugin.record(decision) }
        perform(actions, context)
    }

    private func send(_ answer: PluginAnswer, closing: Bool, _ context: ChannelHandlerContext) {
        let body = ByteBuffer(string: answer.body)
        var headers = HTTPHeaders([
            ("Content-Type", "application/vnd.docker.plugins.v1.1+json"),
            ("Content-Length", String(body.readableBytes)),
        ])
        if closing { headers.add(name: "Connection", value: "close") }
        let status = HTTPResponseStatus(statusCode: answer.status)
        let head = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        let sent = context.writeAndFlush(wrapOutboundOut(.end(nil)))
        // A caller that sends calls and takes no answers is not the engine.
        guard context.channel.isWritable else { return context.close(promise: nil) }
        guard closing else { return }
        timer?.cancel()
        let context = context.loopBound
        sent.whenComplete { _ in context.value.close(promise: nil) }
    }
}

/// What a connection of the engine may not exceed.
struct PluginLimits: Sendable {
    /// The hard deadline of a call, from its head on; and of a head, from its first byte on.
    var call: TimeAmount = .seconds(2)
    /// The longest rest between two calls.
    ///
    /// The engine keeps two connections open for ever, and sends its call again without a body if one is closed under
    /// its hands, so this is long.
    var rest: TimeAmount = .minutes(30)
    /// How many connections are open at a time; more wait in the kernel's queue.
    var connections = 256
    /// The largest call that is decided on the event loop, in bytes.
    var largestInlineCall = 64 << 10
}

/// Bytes have come from the engine.
struct BytesArrived: Sendable {}

/// Tells the handlers behind it of bytes before it passes them on.
final class BytesArrivedHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.fireUserInboundEventTriggered(BytesArrived())
        context.fireChannelRead(data)
    }
}
