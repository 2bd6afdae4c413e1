import LocalInstallation
import NIOCore
import NIOHTTP1
import RegistryAccess

/// Asks a proxy behind us for a tunnel, and takes itself out of the way when that is open.
final class UpstreamTunnel: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let upstream: UpstreamProxy
    private let opened: EventLoopPromise<any Channel>
    private let encoder = HTTPRequestEncoder()
    private let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes))
    private var isDecided = false

    private init(_ upstream: UpstreamProxy, _ opened: EventLoopPromise<any Channel>) {
        self.upstream = upstream
        self.opened = opened
    }

    /// Opens a tunnel.
    ///
    /// - Parameters:
    ///   - destination: where to.
    ///   - upstream: the proxy behind us.
    ///   - channel: a connection to it, which is closed if there is no tunnel.
    /// - Returns: the channel, of which the next byte is the destination's, or ``DialFault/upstream(_:_:)``.
    static func open(
        to destination: ProxyRequest.Destination,
        through upstream: UpstreamProxy,
        on channel: any Channel
    ) -> EventLoopFuture<any Channel> {
        let authority = (try? destination.target.get())?.authority ?? destination.authority
        let opened = channel.eventLoop.makePromise(of: (any Channel).self)
        do {
            let tunnel = UpstreamTunnel(upstream, opened)
            try channel.pipeline.syncOperations.addHandlers([tunnel.encoder, tunnel.decoder, tunnel])
        } catch {
            opened.fail(error)
        }
        var headers = HTTPHeaders([("Host", authority)])
        if let authorization = upstream.authorization { headers.add(name: "Proxy-Authorization", value: authorization) }
        let head = HTTPRequestHead(version: .http1_1, method: .CONNECT, uri: authority, headers: headers)
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
        channel.read()
        return opened.futureResult.flatMapErrorThrowing { error in
            channel.close(promise: nil)
            throw error
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(let head) = unwrapInboundIn(data), !isDecided else { return }
        // A proxy may say that it is working on it, but not that it speaks another protocol from here on: that has no end.
        if (100..<200).contains(head.status.code), head.status != .switchingProtocols { return }
        isDecided = true
        guard (200..<300).contains(head.status.code) else {
            return fail("it answers \(head.status.code) \(head.status.reasonPhrase)")
        }
        let channel = context.channel
        let pipeline = context.pipeline.syncOperations
        pipeline.removeHandler(context: context, promise: nil)
        // What the destination would say before it is spoken to has nobody left to read it: in TLS the client begins.
        pipeline.removeHandler(encoder).and(pipeline.removeHandler(decoder)).map { _ in channel }.cascade(to: opened)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if !isDecided { context.read() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail("it closes the connection")
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { fail("it closes the connection") }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(error is HTTPParserError ? "its answer is not HTTP" : "\(DialFault(from: error))")
    }

    private func fail(_ reason: String) {
        isDecided = true
        opened.fail(DialFault.upstream(upstream.address, reason))
    }
}
