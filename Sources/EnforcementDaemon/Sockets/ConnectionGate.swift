import NIOCore

/// Sits before a listening socket and counts the connections that it has accepted.
///
/// When there are as many as there may be, no more are accepted: the next ones wait in the kernel's queue. On
/// `ChannelShouldQuiesceEvent` listening ends, every connection is told, and those that are still open after the grace
/// are closed.
final class ConnectionGate: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never

    private let limit: Int
    private let grace: TimeAmount
    private let drained: EventLoopPromise<Void>
    private var connections: [ObjectIdentifier: any Channel] = [:]
    private var isReadPending = false
    private var isQuiescing = false

    /// A gate.
    ///
    /// - Parameters:
    ///   - limit: how many connections may be open.
    ///   - grace: how long they may go on when listening has ended.
    ///   - drained: succeeds when listening has ended and the last connection is closed.
    init(limit: Int, grace: TimeAmount, drained: EventLoopPromise<Void>) {
        self.limit = limit
        self.grace = grace
        self.drained = drained
    }

    func read(context: ChannelHandlerContext) {
        if connections.count < limit {
            context.read()
        } else {
            isReadPending = true
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let connection = unwrapInboundIn(data)
        guard !isQuiescing else {
            connection.close(promise: nil)
            return
        }
        let name = ObjectIdentifier(connection)
        connections[name] = connection
        let gate = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        connection.closeFuture.hop(to: context.eventLoop).whenComplete { _ in
            let (gate, context) = gate.value
            gate.closed(name, context)
        }
        context.fireChannelRead(data)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // First to the handler behind, which ends listening.
        context.fireUserInboundEventTriggered(event)
        if event is ChannelShouldQuiesceEvent { quiesce(context.eventLoop) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        quiesce(context.eventLoop)
    }

    private func closed(_ name: ObjectIdentifier, _ context: ChannelHandlerContext) {
        connections[name] = nil
        if isQuiescing {
            if connections.isEmpty { drained.succeed() }
        } else if isReadPending {
            isReadPending = false
            context.read()
        }
    }

    private func quiesce(_ eventLoop: any EventLoop) {
        guard !isQuiescing else { return }
        isQuiescing = true
        if connections.isEmpty { return drained.succeed() }
        for connection in connections.values {
            connection.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
        let gate = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.scheduleTask(in: grace) {
            for connection in gate.value.connections.values { connection.close(promise: nil) }
        }
    }
}
