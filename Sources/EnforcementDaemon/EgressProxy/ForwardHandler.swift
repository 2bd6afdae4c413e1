import LocalInstallation
import NIOCore
import NIOHTTP1
import RegistryAccess

/// Passes on the one request of a connection over plain HTTP, and its response back; both are made anew from what was read.
///
/// Nothing of what follows the request on the connection is looked at.
final class ForwardHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = ByteBuffer

    private let request: ForwardedRequest
    private let destination: ProxyRequest.Destination
    private let id: DecisionID
    private let dialer: EgressDialer
    private let limits: ProxyLimits
    private var context: ChannelHandlerContext?
    private var origin: (any Channel)?
    /// The proxy behind us through which the other end is reached.
    fileprivate private(set) var upstream: UpstreamProxy?
    private var timer: Scheduled<Void>?
    private var idle: IdleTimer?
    /// What came before the other end was there: at most what one read of the socket brought.
    private var waiting: [HTTPServerRequestPart] = []
    private var isReadPending = false
    /// Whether bytes of the final response have gone to the client, so that there can be no other answer.
    private var hasAnswered = false
    private var isRequestComplete = false
    private var isOver = false

    init(
        _ request: ForwardedRequest,
        to destination: ProxyRequest.Destination,
        id: DecisionID,
        dialer: EgressDialer,
        limits: ProxyLimits
    ) {
        self.request = request
        self.destination = destination
        self.id = id
        self.dialer = dialer
        self.limits = limits
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: limits.connect) { bound.value.fail(.timeout) }
        dialer.dial(destination, id: id, on: context.eventLoop).whenComplete { result in
            switch result {
            case .success(let connection): bound.value.dialed(connection)
            case .failure(let error): bound.value.fail(DialFault(from: error))
            }
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    // MARK: - From the client

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        guard !isOver, !isRequestComplete else { return }
        if case .head = part { return }
        if case .end = part { isRequestComplete = true }
        guard origin != nil else { return waiting.append(part) }
        send(part)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        origin?.flush()
        readOn()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if (event as? ChannelEvent) == .inputClosed, !isRequestComplete { return context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A body that is no HTTP: the other end must not take what it has for all.
        guard !isRequestComplete else { return }
        origin?.close(promise: nil)
        context.close(promise: nil)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { origin?.read() }
        context.fireChannelWritabilityChanged()
    }

    private func send(_ part: HTTPServerRequestPart) {
        idle?.touch()
        switch part {
        case .head: break
        case .body(let bytes): origin?.write(HTTPClientRequestPart.body(.byteBuffer(bytes)), promise: nil)
        // Trailers are not passed on: they are hardly read anywhere, and differently where they are.
        case .end: origin?.write(HTTPClientRequestPart.end(nil), promise: nil)
        }
    }

    /// Reads from the client what the other end can take.
    private func readOn() {
        guard !isOver, !isRequestComplete, let origin else { return }
        if origin.isWritable { context?.read() } else { isReadPending = true }
    }

    // MARK: - To the other end

    private func dialed(_ connection: EgressDialer.Connection) {
        timer?.cancel()
        let channel = connection.channel
        guard !isOver, let context else { return channel.close(promise: nil) }
        if let refusal = dialer.proxy.opened(context.channel, to: destination, isPlainHTTP: true, id: id) {
            channel.close(promise: nil)
            return fail(.refused(refusal))
        }
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = ProxyLimits.longestHead
        limits.maxHeaderListSize = ProxyLimits.longestHead
        limits.maxHeaderFieldCount = ProxyLimits.mostHeaders
        var configuration = HTTPRequestEncoder.Configuration()
        // The framing is ours, see ``MessageFraming``.
        configuration.automaticallySetFramingHeaders = false
        let decoder = HTTPResponseDecoder(
            leftOverBytesStrategy: .dropBytes,
            informationalResponseStrategy: .forward,
            limitConfiguration: limits
        )
        do {
            try channel.pipeline.syncOperations.addHandlers([
                HTTPRequestEncoder(configuration: configuration), ByteToMessageHandler(decoder), ResponseHandler(self),
            ])
        } catch {
            return fail(.unreachable("\(error)"))
        }
        origin = channel
        upstream = connection.upstream
        idle = IdleTimer(self.limits.idle, context.channel, on: context.eventLoop)
        let head = request.head(to: destination, through: connection.upstream)
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        for part in waiting { send(part) }
        waiting = []
        channel.flush()
        channel.read()
        readOn()
    }

    /// Ends the exchange with an answer of the proxy itself, or by a break where the client has a part of another.
    private func fail(_ fault: DialFault) {
        guard !isOver, let context else { return }
        let hasAnswered = hasAnswered
        end()
        guard !hasAnswered else { return context.close(promise: nil) }
        let answer = ProxyAnswer.failed(destination.authority, fault)
        context.channel.sendLast(answer.bytes, waitingFor: limits.farewell)
    }

    private func end() {
        isOver = true
        timer?.cancel()
        idle?.cancel()
        origin?.close(promise: nil)
        origin = nil
    }

    // MARK: - From the other end

    fileprivate func originWritabilityChanged() {
        guard isReadPending, origin?.isWritable == true else { return }
        isReadPending = false
        readOn()
    }

    /// Whether more of the response is wanted now.
    fileprivate var wantsMore: Bool { !isOver && context?.channel.isWritable == true }

    fileprivate func pass(_ bytes: ByteBuffer, isInformational: Bool = false) {
        guard !isOver else { return }
        idle?.touch()
        if !isInformational { hasAnswered = true }
        context?.write(wrapOutboundOut(bytes), promise: nil)
    }

    /// The body has no other end than that of the connection: whatever closes that before is to break it.
    fileprivate func endsWithConnection() {
        context?.channel.resetOnClose()
    }

    fileprivate func flush() {
        context?.flush()
    }

    fileprivate func responseEnded() {
        guard !isOver, let context else { return }
        isOver = true
        origin?.close(promise: nil)
        origin = nil
        let bound = NIOLoopBound((self, context.channel), eventLoop: context.eventLoop)
        // A slow client has until ``idle`` to take what is left, and only then the moment of a farewell.
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in
            let (handler, channel) = bound.value
            handler.idle?.cancel()
            channel.resetOnClose(false)
            channel.sendLast(ByteBuffer(), waitingFor: handler.limits.farewell)
        }
    }

    fileprivate func responseFailed(_ reason: String) {
        fail(upstream.map { .upstream($0.address, reason) } ?? .unreachable(reason))
    }

    fileprivate var isHead: Bool { request.method == .HEAD }

    fileprivate var takesChunks: Bool { request.takesChunks }
}

/// Reads the response of the other end and writes it anew for the client.
private final class ResponseHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let client: ForwardHandler
    private var isChunked = false
    /// Whether the body has no other end than that of the connection.
    private var endsWithConnection = false
    /// Whether that end is there, unless the connection has broken.
    private var hasEnded = false

    init(_ client: ForwardHandler) {
        self.client = client
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): pass(head, context)
        case .body(let bytes):
            guard bytes.readableBytes > 0 else { return }
            if isChunked { client.pass(ByteBuffer(string: "\(String(bytes.readableBytes, radix: 16))\r\n")) }
            client.pass(bytes)
            if isChunked { client.pass(ByteBuffer(string: "\r\n")) }
        case .end:
            // The decoder takes a break for an end here, too.
            if endsWithConnection { hasEnded = true } else { end() }
        }
    }

    private func end() {
        if isChunked { client.pass(ByteBuffer(string: "0\r\n\r\n")) }
        client.responseEnded()
    }

    private func pass(_ head: HTTPResponseHead, _ context: ChannelHandlerContext) {
        let code = head.status.code
        // No origin says it (RFC 9110, section 15.5.8), and the client has nothing to answer it with.
        guard code != 407 || client.upstream == nil else {
            client.responseFailed("it answers 407 \(head.status.reasonPhrase)")
            return context.close(promise: nil)
        }
        // We ask for no other protocol.
        guard code >= 100, code != 101, let framing = MessageFraming(head.headers) else {
            client.responseFailed("its response has no single reading")
            return context.close(promise: nil)
        }
        let reason = head.status.reasonPhrase.utf8.map { $0 >= 0x20 && $0 != 0x7F ? $0 : UInt8(ascii: "?") }
        var text = "HTTP/1.1 \(code) \(String(decoding: reason, as: UTF8.self))\r\n"
        for header in MessageFraming.endToEnd(head.headers) where ProxyRequest.isField(header.name, header.value) {
            text += "\(header.name): \(header.value)\r\n"
        }
        if code >= 200 {
            let hasNoBody = code == 204 || code == 304 || client.isHead
            endsWithConnection = !hasNoBody && framing == .none
            // A body without a length gets an end that shows whether it is complete, in chunks or by how it breaks.
            let hasNoLength = !hasNoBody && (framing == .chunked || framing == .none)
            isChunked = hasNoLength && client.takesChunks
            if hasNoLength, !isChunked { client.endsWithConnection() }
            let header = isChunked ? MessageFraming.chunked.header : framing == .chunked ? nil : framing.header
            if let header, code != 204 { text += "\(header.name): \(header.value)\r\n" }
            text += "Connection: close\r\n"
        }
        client.pass(ByteBuffer(string: "\(text)\r\n"), isInformational: code < 200)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        client.flush()
        if client.wantsMore { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        client.originWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard (event as? ChannelEvent) == .inputClosed else { return }
        // Behind the decoder, which has made the end of a body that ends with the connection of it.
        if hasEnded { end() }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        client.responseFailed("it closes the connection without a whole response")
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        client.responseFailed(error is HTTPParserError ? "its response is not HTTP" : "\(DialFault(from: error))")
        context.close(promise: nil)
    }
}
