import NIOCore
import NIOHTTP1
import RegistryAccess

/// The first handler of a client of the proxy: takes the head of the one request of the connection, has it decided, and gives
/// way to ``ConnectHandler`` or ``ForwardHandler``, or refuses.
final class ProxyRequestHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart

    private enum State {
        case waiting
        /// What follows the head of a tunnel's request, which is its end.
        case accepted(ProxyRequest.Destination, DecisionID)
        case answered
    }

    private var state = State.waiting
    private var timer: Scheduled<Void>?
    private let dialer: EgressDialer
    private let limits: ProxyLimits
    private let newcomers: Newcomers

    init(dialer: EgressDialer, limits: ProxyLimits, newcomers: Newcomers) {
        self.dialer = dialer
        self.limits = limits
        self.newcomers = newcomers
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        // Nobody waits for an answer to half a head.
        timer = context.eventLoop.scheduleTask(in: limits.head) { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // A client that ends its side before its request is complete is gone; so is everybody who waits when we stop.
        if case .waiting = state, event is ChannelShouldQuiesceEvent || (event as? ChannelEvent) == .inputClosed {
            return context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (unwrapInboundIn(data), state) {
        case (.head(let head), .waiting): take(head, context)
        case (.end, .accepted(let destination, let id)): openTunnel(destination, id, context)
        // The rest of a request that is refused.
        default: break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard case .waiting = state else { return context.close(promise: nil) }
        switch error {
        case HTTPParserError.headerOverflow: answer(.faulty(.tooLarge), context)
        case HTTPParserError.invalidVersion: answer(.faulty(.version), context)
        case is HTTPParserError: answer(.faulty(.syntax), context)
        default: context.close(promise: nil)
        }
    }

    private func take(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        timer?.cancel()
        guard dialer.proxy.credentials.admit(head.headers) else {
            dialer.proxy.countStranger()
            return answer(.stranger, context)
        }
        newcomers.leave(ObjectIdentifier(context.channel))
        let request: ProxyRequest
        do throws(ProxyRequest.Fault) {
            request = try ProxyRequest(head)
        } catch {
            return answer(.faulty(error), context)
        }
        let id = DecisionID()
        switch request {
        case .probe: answer(.present, context)
        case .tunnel(let destination):
            if let refusal = dialer.proxy.decide(on: destination, isPlainHTTP: false, id: id).refusal {
                return answer(.refused(refusal), context)
            }
            // What follows is for the other end, and not before that is there.
            try? context.channel.syncOptions?.setOption(.autoRead, value: false)
            state = .accepted(destination, id)
        case .forward(let destination, let forwarded):
            if let refusal = dialer.proxy.decide(on: destination, isPlainHTTP: true, id: id).refusal {
                return answer(.refused(refusal), context)
            }
            try? context.channel.syncOptions?.setOption(.autoRead, value: false)
            let handler = ForwardHandler(forwarded, to: destination, id: id, dialer: dialer, limits: limits)
            give(way: handler, context)
        }
    }

    private func openTunnel(_ destination: ProxyRequest.Destination, _ id: DecisionID, _ context: ChannelHandlerContext)
    {
        let handler = ConnectHandler(destination, id: id, dialer: dialer, limits: limits)
        let pipeline = context.pipeline.syncOperations
        guard let decoder = try? pipeline.context(handlerType: ByteToMessageHandler<HTTPRequestDecoder>.self) else {
            return context.close(promise: nil)
        }
        give(way: handler, context)
        // Bytes that came with the head go to the next handler now.
        pipeline.removeHandler(context: decoder, promise: nil)
    }

    private func give(way next: any ChannelHandler, _ context: ChannelHandlerContext) {
        let pipeline = context.pipeline.syncOperations
        do {
            try pipeline.addHandler(next, position: .after(self))
            pipeline.removeHandler(context: context, promise: nil)
        } catch {
            context.close(promise: nil)
        }
    }

    private func answer(_ answer: ProxyAnswer, _ context: ChannelHandlerContext) {
        timer?.cancel()
        state = .answered
        context.channel.sendLast(answer.bytes, waitingFor: limits.farewell)
    }
}
