import LocalInstallation
import NIOCore
import NIOHTTP1
import RegistryAccess

/// Opens the tunnel of a `CONNECT` that the policy allows: dials, answers, looks at whom the TLS session is for, and gives
/// way to ``TunnelHandler``.
///
/// The order is that of ``TunnelOpening``; this carries it out on the connection's event loop.
final class ConnectHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var opening = TunnelOpening()
    private let destination: ProxyRequest.Destination
    private let id: DecisionID
    private let dialer: EgressDialer
    private let limits: ProxyLimits
    private var origin: (any Channel)?
    private var silence: OriginSilence?
    private var timer: Scheduled<Void>?

    init(_ destination: ProxyRequest.Destination, id: DecisionID, dialer: EgressDialer, limits: ProxyLimits) {
        self.destination = destination
        self.id = id
        self.dialer = dialer
        self.limits = limits
    }

    func handlerAdded(context: ChannelHandlerContext) {
        start(limits.connect, context)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let destination = destination
        dialer.dial(destination, id: id, on: context.eventLoop)
            .flatMap { connection in
                let channel = connection.channel
                guard let upstream = connection.upstream else {
                    return channel.eventLoop.makeSucceededFuture(channel)
                }
                // It may never answer, and then ends with us.
                bound.value.0.origin = channel
                if !bound.value.0.opening.isDialing { channel.close(promise: nil) }
                return UpstreamTunnel.open(to: destination, through: upstream, on: channel)
            }
            .whenComplete { result in
                let (handler, context) = bound.value
                switch result {
                case .success(let origin): handler.dialed(origin, context)
                case .failure(let error): handler.perform(handler.opening.failed(DialFault(from: error)), context)
                }
            }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        perform(opening.received(Array(buffer: unwrapInboundIn(data))), context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if opening.wantsMore { context.read() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { perform(opening.ended(), context) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        perform(opening.ended(), context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        perform(opening.ended(), context)
    }

    private func dialed(_ origin: any Channel, _ context: ChannelHandlerContext) {
        guard opening.isDialing else { return origin.close(promise: nil) }
        self.origin = origin
        let silence = OriginSilence()
        self.silence = silence
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        do {
            try origin.pipeline.syncOperations.addHandler(silence)
        } catch {
            return perform(opening.failed(.unreachable("\(error)")), context)
        }
        origin.closeFuture.whenComplete { _ in
            let (handler, context) = bound.value
            handler.perform(handler.opening.ended(), context)
        }
        perform(opening.dialed(), context)
    }

    private func start(_ limit: TimeAmount, _ context: ChannelHandlerContext) {
        timer?.cancel()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: limit) {
            let (handler, context) = bound.value
            handler.perform(handler.opening.timerExpired(), context)
        }
    }

    private func perform(_ actions: [TunnelOpening.Action], _ context: ChannelHandlerContext) {
        for action in actions {
            switch action {
            case .answer:
                context.writeAndFlush(wrapOutboundOut(ProxyAnswer.established.bytes), promise: nil)
                context.read()
            case .fail(let fault):
                timer?.cancel()
                origin?.close(promise: nil)
                origin = nil
                let answer = ProxyAnswer.failed(destination.authority, fault)
                context.channel.sendLast(answer.bytes, waitingFor: limits.farewell)
            case .startTimer: start(limits.hello, context)
            case .judge(let hello): judge(hello, context)
            case .join(let bytes): join(bytes, context)
            case .close(let alert): close(alert, context)
            }
        }
    }

    private func judge(_ hello: ClientHello, _ context: ChannelHandlerContext) {
        var reason: Verdict.Reason?
        if case .success(let target) = destination.target {
            reason = Self.reason(toRefuse: hello, target, mayBePlain: dialer.proxy.acceptsPlainHTTP(at: target))
            if let found = reason, dialer.proxy.decideLater(.tunnel(target, found), id: id).refusal == nil {
                reason = nil
            }
        }
        var mayPass = reason == nil
        if mayPass {
            var isTLS = false
            if case .hello = hello { isTLS = true }
            mayPass =
                dialer.proxy.opened(context.channel, to: destination, isPlainHTTP: !isTLS, id: id) == nil
        }
        perform(opening.judged(mayPass: mayPass), context)
    }

    /// Why what a tunnel begins with is not what a tunnel to a registry begins with.
    static func reason(toRefuse hello: ClientHello, _ target: EgressTarget, mayBePlain: Bool) -> Verdict.Reason? {
        switch hello {
        case .hello(let name):
            // There are no names of addresses (RFC 6066, section 3), and every client of a name sends it.
            let isExpected = target.address.isIPAddress ? name == nil || name == target.host : name == target.host
            return isExpected ? nil : .serverName
        case .notTLS, .incomplete, .malformed: return mayBePlain ? nil : .notTLS
        }
    }

    private func join(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        guard let origin, let silence else { return context.close(promise: nil) }
        timer?.cancel()
        let idle = IdleTimer(limits.idle, context.channel, origin, on: context.eventLoop)
        let (client, other) = TunnelHandler.pair(idle)
        do {
            try origin.pipeline.syncOperations.addHandler(other)
            try context.pipeline.syncOperations.addHandler(client, position: .after(self))
        } catch {
            origin.close(promise: nil)
            return context.close(promise: nil)
        }
        origin.pipeline.syncOperations.removeHandler(silence, promise: nil)
        origin.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
        let channel = context.channel
        self.origin = nil
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        for channel in [channel, origin] {
            try? channel.syncOptions?.setOption(.autoRead, value: true)
        }
    }

    private func close(_ alert: Bool, _ context: ChannelHandlerContext) {
        timer?.cancel()
        origin?.close(promise: nil)
        origin = nil
        guard alert else { return context.close(promise: nil) }
        // A fatal TLS alert, access_denied: an honest client then says more than that the connection broke.
        let bound = context.loopBound
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: [21, 3, 1, 0, 2, 2, 49]))).whenComplete { _ in
            bound.value.close(promise: nil)
        }
    }
}

/// Stands at the other end of a tunnel until the client has said whom it is for: a server that ends before is none of TLS,
/// and what is read at its end would have nobody to go to.
private final class OriginSilence: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if (event as? ChannelEvent) == .inputClosed { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
