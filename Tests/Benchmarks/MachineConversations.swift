import Glibc
import NIOCore
import NIOPosix
import NIOSSL

/// What a server answered.
struct Reply {
    let status: Int
    let body: ByteBufferView
}

/// A machine that asks its server one thing after another.
protocol Machine: AnyObject {
    /// What it does next.
    ///
    /// - Parameter reply: what it was answered; `nil` at the beginning.
    /// - Returns: what it asks, and when.
    func next(after reply: Reply?) -> MachineStep

    /// The connection has ended, wanted or not.
    func ended()
}

/// What a machine does next.
enum MachineStep {
    /// Asks at once.
    case ask(String)
    /// Asks later.
    case askIn(TimeAmount, String)
    /// Has nothing more to ask.
    case hangUp
}

/// The connections of thousands of machines, each with one of its own.
///
/// They speak as little HTTP as will do, for the processors that they take are the server's as well.
struct MachineConversations: Sendable {
    /// Where the server listens on 127.0.0.1.
    let port: Int
    /// The certificate that the server has; `nil` is no TLS.
    let certificate: String?

    /// How many connect at the same time.
    private static let atOnce = 100

    /// Connects machines, each of which goes on by itself.
    ///
    /// - Parameters:
    ///   - count: how many.
    ///   - make: makes one of them, and gets what it has to succeed when it was answered first, so that the next can begin.
    /// - Throws: why one cannot connect.
    func begin(_ count: Int, _ make: @escaping @Sendable (Int, EventLoopPromise<Void>) -> any Machine) async throws {
        let tls = try certificate.map { certificate in
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.trustRoots = .file(certificate)
            return try NIOSSLContext(configuration: configuration)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<count {
                if index >= Self.atOnce { try await group.next() }
                group.addTask {
                    let loop = MultiThreadedEventLoopGroup.singleton.next()
                    let answered = loop.makePromise(of: Void.self)
                    do {
                        try await connect(index, loop, tls, answered, make)
                    } catch {
                        answered.fail(error)
                    }
                    try await answered.futureResult.get()
                }
            }
            try await group.waitForAll()
        }
    }

    private func connect(
        _ index: Int,
        _ loop: any EventLoop,
        _ tls: NIOSSLContext?,
        _ answered: EventLoopPromise<Void>,
        _ make: @escaping @Sendable (Int, EventLoopPromise<Void>) -> any Machine
    ) async throws {
        // Each source address has ports of its own.
        let source = try SocketAddress(ipAddress: "127.0.0.\(2 + index % 8)", port: 0)
        _ = try await ClientBootstrap(group: loop)
            .bind(to: source)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls {
                        try pipeline.addHandler(
                            NIOSSLClientHandler(context: tls, serverHostname: OrganizationUnderLoad.host)
                        )
                    }
                    try pipeline.addHandler(Conversation(make(index, answered)))
                }
            }
            .connect(host: "127.0.0.1", port: port)
            .get()
    }

    /// Seconds of a clock that all processes share.
    static var seconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

/// One connection: requests as they are told, answers with `Content-Length` or without a body.
private final class Conversation: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let machine: any Machine
    private var received = ByteBuffer()

    init(_ machine: any Machine) {
        self.machine = machine
    }

    func channelActive(context: ChannelHandlerContext) {
        go(machine.next(after: nil), context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if received.readableBytes == 0 { received = bytes } else { received.writeBuffer(&bytes) }
        while let reply = readReply() { go(machine.next(after: reply), context) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        machine.ended()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func go(_ step: MachineStep, _ context: ChannelHandlerContext) {
        switch step {
        case .ask(let request): send(request, context)
        case .askIn(let time, let request):
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            context.eventLoop.scheduleTask(in: time) { bound.value.0.send(request, bound.value.1) }
        case .hangUp: context.close(promise: nil)
        }
    }

    private func send(_ request: String, _ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(string: request)), promise: nil)
    }

    /// The next answer, if all of it is here.
    private func readReply() -> Reply? {
        let view = received.readableBytesView
        guard let end = Self.end(of: view) else { return nil }
        let head = view[..<end]
        let status = head.dropFirst(9).prefix(3).reduce(0) { $0 * 10 + Int($1) - 48 }
        let length = Self.contentLength(head)
        guard view.endIndex - end >= length else { return nil }
        let body = view[end..<(end + length)]
        received.moveReaderIndex(forwardBy: end + length - view.startIndex)
        return Reply(status: status, body: body)
    }

    /// Where the body begins.
    private static func end(of view: ByteBufferView) -> Int? {
        var matched = 0
        for (place, byte) in zip(view.indices, view) {
            matched = byte == blankLine[matched] ? matched + 1 : (byte == 13 ? 1 : 0)
            if matched == blankLine.count { return place + 1 }
        }
        return nil
    }

    private static let blankLine: [UInt8] = [13, 10, 13, 10]
    private static let lengthField = Array("\ncontent-length:".utf8)

    private static func contentLength(_ head: ByteBufferView) -> Int {
        var matched = 0
        for (place, byte) in zip(head.indices, head) {
            let small = (65...90).contains(byte) ? byte | 0x20 : byte
            matched = small == lengthField[matched] ? matched + 1 : (small == 10 ? 1 : 0)
            guard matched == lengthField.count else { continue }
            return head[(place + 1)...].drop { $0 == 32 }.prefix { (48...57).contains($0) }
                .reduce(0) { $0 * 10 + Int($1) - 48 }
        }
        return 0
    }
}
