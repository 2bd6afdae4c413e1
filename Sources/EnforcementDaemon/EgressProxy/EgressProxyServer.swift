import LocalInstallation
import NIOCore
import NIOHTTP1
import NIOPosix

/// The egress proxy on its socket.
struct EgressProxyServer: Sendable {
    private let channel: any Channel
    private let drained: EventLoopFuture<Void>
    private let resolver: SystemResolver?

    /// Where it listens.
    let address: SocketAddress

    /// Begins to serve.
    ///
    /// - Parameters:
    ///   - socket: a listening TCP socket, which the server takes over and closes.
    ///   - proxy: what decides.
    ///   - settings: the settings.
    ///   - limits: what a connection may not exceed.
    ///   - resolver: finds the addresses of hosts; the system's unless given.
    ///   - group: the event loops.
    /// - Returns: the server.
    /// - Throws: what the system says to the socket.
    static func start(
        on socket: CInt,
        proxy: EgressProxy,
        settings: DaemonSettings.EgressProxy,
        limits: ProxyLimits,
        resolver: (any HostResolver)? = nil,
        group: any EventLoopGroup
    ) async throws -> EgressProxyServer {
        let own = resolver == nil ? SystemResolver() : nil
        let drained = group.next().makePromise(of: Void.self)
        let newcomers = Newcomers()
        do {
            guard let resolver = resolver ?? own else { throw ChannelError.operationUnsupported }
            let address = try ListeningSocket.address(ofTCP: socket)
            let dialer = EgressDialer(settings: settings, resolver: resolver, proxy: proxy, ownAddress: address)
            let channel = try await ServerBootstrap(group: group)
                .serverChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let gate = ConnectionGate(
                            limit: limits.connections,
                            grace: limits.drain,
                            drained: drained,
                            newcomers: newcomers
                        )
                        try channel.pipeline.syncOperations.addHandler(gate)
                    }
                }
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .childChannelOption(.writeBufferWaterMark, value: ProxyLimits.pendingBytes)
                .childChannelOption(.recvAllocator, value: ProxyLimits.readSizes)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try setUp(channel, dialer, limits, newcomers) }
                }
                .withBoundSocket(socket).get()
            ListeningSocket.restoreQueue(of: socket)
            return EgressProxyServer(
                channel: channel,
                drained: drained.futureResult,
                resolver: own,
                address: address
            )
        } catch {
            drained.succeed()
            await own?.shutDown()
            throw error
        }
    }

    /// The handlers of a new connection.
    private static func setUp(
        _ channel: any Channel,
        _ dialer: EgressDialer,
        _ limits: ProxyLimits,
        _ newcomers: Newcomers
    ) throws {
        var heads = NIOHTTPDecoderLimitConfiguration()
        heads.maxHeaderFieldSize = ProxyLimits.longestHead
        heads.maxHeaderListSize = ProxyLimits.longestHead
        heads.maxHeaderFieldCount = ProxyLimits.mostHeaders
        let decoder = HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: heads)
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(ByteToMessageHandler(decoder))
        try pipeline.addHandler(ProxyRequestHandler(dialer: dialer, limits: limits, newcomers: newcomers))
    }

    /// Returns when the server no longer listens.
    func listeningEnded() async {
        try? await channel.closeFuture.get()
    }

    /// Stops listening, lets tunnels go on for a bounded time, and closes those that are left.
    func stop() async {
        channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        try? await drained.get()
        await resolver?.shutDown()
    }
}
