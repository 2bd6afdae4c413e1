import NIOCore

/// One side of a tunnel: passes on what it reads to the other side, which is on the same event loop.
///
/// It reads no more than the other side can write. The end of what comes in ends what goes out over there, so a tunnel of
/// which one direction has ended goes on in the other. A connection that breaks breaks the other, too: who reads until the
/// end must not take what has come so far for all.
final class TunnelHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var context: ChannelHandlerContext?
    private var other: TunnelHandler?
    private let idle: IdleTimer
    private var isReadPending = false
    private var hasInputEnded = false
    private var hasOutputEnded = false
    private var hasFailed = false
    private var isClosedByUs = false

    private init(_ idle: IdleTimer) {
        self.idle = idle
    }

    /// The two sides of one tunnel.
    ///
    /// - Parameter idle: ends it when nothing passes any more.
    /// - Returns: the side of the client and that of the destination.
    static func pair(_ idle: IdleTimer) -> (client: TunnelHandler, origin: TunnelHandler) {
        let (client, origin) = (TunnelHandler(idle), TunnelHandler(idle))
        client.other = origin
        origin.other = client
        return (client, origin)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        // Until then, the other side may have something to write that nobody takes.
        if other?.context == nil { idle.cancel() }
        other = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let other = other?.context else { return }
        idle.touch()
        other.write(data, promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        other?.context?.flush()
    }

    func read(context: ChannelHandlerContext) {
        if let other, other.context?.channel.isWritable == false {
            isReadPending = true
        } else {
            context.read()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard context.channel.isWritable, let other, other.isReadPending else { return }
        other.isReadPending = false
        other.context?.read()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed:
            hasInputEnded = true
            other?.end(.output)
        case is ChannelShouldQuiesceEvent: break
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode == .all { isClosedByUs = true }
        context.close(mode: mode, promise: promise)
    }

    func channelInactive(context: ChannelHandlerContext) {
        // Of a side that was sent the end before, SwiftNIO does not tell its own end but as this.
        if hasInputEnded || (hasOutputEnded && !hasFailed && !isClosedByUs) {
            other?.end(.all)
        } else {
            other?.breakOff(isReset: !isClosedByUs)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        hasFailed = true
        context.close(promise: nil)
    }

    /// Closes behind what is still to be written.
    private func end(_ mode: CloseMode) {
        guard let context else { return }
        hasOutputEnded = true
        let bound = context.loopBound
        context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(capacity: 0))).whenComplete { _ in
            bound.value.close(mode: mode, promise: nil)
        }
    }

    /// Closes at once, and if so with a reset, which nobody takes for an end.
    private func breakOff(isReset: Bool) {
        guard let context else { return }
        if isReset { context.channel.resetOnClose() }
        context.close(promise: nil)
    }
}

/// Closes channels of one event loop through which nothing passes for a while.
final class IdleTimer {
    private let limit: TimeAmount
    private let channels: [any Channel]
    private let eventLoop: any EventLoop
    private var lastPassage = NIODeadline.now()
    private var timer: Scheduled<Void>?

    init(_ limit: TimeAmount, _ channels: (any Channel)..., on eventLoop: any EventLoop) {
        self.limit = limit
        self.channels = channels
        self.eventLoop = eventLoop
        schedule(limit)
    }

    /// Something passes.
    func touch() {
        lastPassage = .now()
    }

    func cancel() {
        timer?.cancel()
        timer = nil
    }

    // One timer that looks now and then, because there is more to pass than to time.
    private func schedule(_ delay: TimeAmount) {
        let idle = NIOLoopBound(self, eventLoop: eventLoop)
        timer = eventLoop.scheduleTask(in: delay) {
            let idle = idle.value
            let rest = idle.lastPassage + idle.limit - .now()
            guard rest <= .nanoseconds(0) else { return idle.schedule(rest) }
            for channel in idle.channels { channel.close(promise: nil) }
        }
    }
}
