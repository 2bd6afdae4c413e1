import NIOCore
import Synchronization

/// Sits before a listening socket and counts the connections that it has accepted.
///
/// When there are as many as there may be, no more are accepted: the next ones wait in the kernel's queue. Where anybody can
/// connect, those that have not said for a while who they are make room for them, the oldest first. On
/// `ChannelShouldQuiesceEvent` listening ends, every connection is told, and those that are still open after the grace
/// are closed.
final class ConnectionGate: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never

    /// How long a connection may keep others waiting without having said whose it is.
    private static let patience = TimeAmount.seconds(1)

    private let limit: Int
    private let grace: TimeAmount
    private let drained: EventLoopPromise<Void>
    private let newcomers: Newcomers?
    private var isMakingRoom = false
    private var connections: [ObjectIdentifier: any Channel] = [:]
    private var isReadPending = false
    private var isQuiescing = false

    /// A gate.
    ///
    /// - Parameters:
    ///   - limit: how many connections may be open.
    ///   - grace: how long they may go on when listening has ended.
    ///   - drained: succeeds when listening has ended and the last connection is closed.
    ///   - newcomers: learns of each connection, and whoever finds out whose it is takes it out again; `nil` where only one
    ///     side can connect.
    init(limit: Int, grace: TimeAmount, drained: EventLoopPromise<Void>, newcomers: Newcomers? = nil) {
        self.limit = limit
        self.grace = grace
        self.drained = drained
        self.newcomers = newcomers
    }

    func read(context: ChannelHandlerContext) {
        if connections.count < limit {
            context.read()
        } else {
            isReadPending = true
            makeRoom(context.eventLoop)
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
        newcomers?.enter(connection)
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
        newcomers?.leave(name)
        if isQuiescing {
            if connections.isEmpty { drained.succeed() }
        } else if isReadPending {
            isReadPending = false
            // One read accepts several, so there may still be too many.
            read(context: context)
        }
    }

    private func makeRoom(_ eventLoop: any EventLoop) {
        guard isReadPending, !isQuiescing, !isMakingRoom, let newcomers else { return }
        // When it is closed, there is something to read or the next one to close.
        if let oldest = newcomers.takeOldest(from: .now() - Self.patience) { return oldest.close(promise: nil) }
        isMakingRoom = true
        let gate = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.scheduleTask(in: Self.patience) {
            gate.value.isMakingRoom = false
            gate.value.makeRoom(eventLoop)
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

/// Connections that have not said yet who they are, in the order in which they came.
final class Newcomers: Sendable {
    private struct State {
        var numbers: [ObjectIdentifier: UInt64] = [:]
        var waiting: [UInt64: (channel: any Channel, since: NIODeadline)] = [:]
        var oldest: UInt64 = 0
        var next: UInt64 = 0
    }

    private let state = Mutex(State())

    /// A connection has come.
    func enter(_ channel: any Channel) {
        state.withLock { state in
            state.numbers[ObjectIdentifier(channel)] = state.next
            state.waiting[state.next] = (channel, .now())
            state.next += 1
        }
    }

    /// A connection has gone or said who it is.
    func leave(_ name: ObjectIdentifier) {
        state.withLock { state in
            guard let number = state.numbers.removeValue(forKey: name) else { return }
            state.waiting[number] = nil
        }
    }

    /// Takes out the one that came first.
    ///
    /// - Parameter time: when it must have been there.
    /// - Returns: `nil` if none was.
    func takeOldest(from time: NIODeadline) -> (any Channel)? {
        state.withLock { state in
            while state.oldest < state.next {
                guard let (channel, since) = state.waiting[state.oldest] else {
                    state.oldest += 1
                    continue
                }
                guard since <= time else { return nil }
                state.waiting[state.oldest] = nil
                state.numbers[ObjectIdentifier(channel)] = nil
                return channel
            }
            return nil
        }
    }
}
