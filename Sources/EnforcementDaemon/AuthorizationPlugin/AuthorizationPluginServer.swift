import NIOCore
import NIOHTTP1
import NIOPosix

/// The authorization plugin on its socket.
struct AuthorizationPluginServer: Sendable {
    private let channel: any Channel
    private let drained: EventLoopFuture<Void>

    /// Begins to serve.
    ///
    /// - Parameters:
    ///   - socket: a listening socket, which the server takes over and closes.
    ///   - plugin: what decides.
    ///   - limits: what a connection may not exceed.
    ///   - group: the event loops.
    /// - Returns: the server.
    /// - Throws: what the system says to the socket.
    static func start(
        on socket: CInt,
        plugin: AuthorizationPlugin,
        limits: PluginLimits = PluginLimits(),
        group: any EventLoopGroup
    ) async throws -> AuthorizationPluginServer {
        let drained = group.next().makePromise(of: Void.self)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let gate = ConnectionGate(limit: limits.connections, grace: limits.call, drained: drained)
                    try channel.pipeline.syncOperations.addHandler(gate)
                }
            }
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try Self.setUp(channel, plugin, limits) }
            }
        do {
            let channel = try await bootstrap.withBoundSocket(socket).get()
            ListeningSocket.restoreQueue(of: socket)
            return AuthorizationPluginServer(channel: channel, drained: drained.futureResult)
        } catch {
            drained.succeed()
            throw error
        }
    }

    /// The handlers of a connection.
    static func setUp(_ channel: any Channel, _ plugin: AuthorizationPlugin, _ limits: PluginLimits) throws {
        let pipeline = channel.pipeline.syncOperations
        var decoderLimits = NIOHTTPDecoderLimitConfiguration()
        // The engine sends a handful of short headers.
        decoderLimits.maxHeaderFieldSize = 8 << 10
        decoderLimits.maxHeaderListSize = 64 << 10
        decoderLimits.maxHeaderFieldCount = 64
        try pipeline.addHandler(BytesArrivedHandler())
        try pipeline.configureHTTPServerPipeline(
            withEncoderConfiguration: HTTPResponseEncoder.Configuration(),
            withDecoderLimitConfiguration: decoderLimits
        )
        try pipeline.addHandler(PluginConnectionHandler(plugin: plugin, limits: limits))
    }

    /// Returns when the server no longer listens.
    func listeningEnded() async {
        try? await channel.closeFuture.get()
    }

    /// Stops listening, lets calls in flight end within their deadline, and closes the connections.
    func stop() async {
        channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        try? await drained.get()
    }
}
