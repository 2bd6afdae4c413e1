import Glibc
import LocalInstallation
import NIOCore

/// What a connection to the egress proxy may not exceed.
struct ProxyLimits: Sendable {
    /// How long the head of a request may take to come, from the opening of the connection on.
    var head: TimeAmount = .seconds(10)
    /// How long a tunnel may take until the host that it is for shows.
    var hello: TimeAmount = .seconds(10)
    /// How long finding and reaching a host may take in all.
    var connect: TimeAmount
    /// How long nothing may pass through a connection.
    var idle: TimeAmount
    /// How long to wait for the client to take an answer and close its side.
    var farewell: TimeAmount = .seconds(2)
    /// How long tunnels may go on when the daemon is told to stop.
    var drain: TimeAmount = .seconds(10)
    /// How many connections are open at a time; more wait in the kernel's queue.
    var connections: Int

    /// The longest head of a request or response, its target included, in bytes.
    static let longestHead = 64 << 10
    /// How many header fields there may be.
    static let mostHeaders = 128
    /// Bytes that wait for a slow reader: above the second number no more are read from the other side, below the first
    /// they are again.
    static let pendingBytes = ChannelOptions.Types.WriteBufferWaterMark(low: 64 << 10, high: 256 << 10)

    /// How many bytes are read at a time: few from who sends few, so that idle tunnels hold little.
    static let readSizes = AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 2048, maximum: 256 << 10)

    /// The limits of an administrator, and of the system.
    ///
    /// - Parameters:
    ///   - settings: what the administrator says.
    ///   - openFiles: how many files may be open. A connection takes two, and where strangers could take all, docker-ramd
    ///     could not even read a new policy.
    init(
        _ settings: DaemonSettings.EgressProxy = DaemonSettings.EgressProxy(),
        openFiles: Int = Self.openFiles
    ) {
        connect = .seconds(Int64(settings.connectSeconds))
        idle = .seconds(Int64(settings.idleSeconds))
        connections = min(settings.connections, max(openFiles - Self.otherFiles, 32) / 2)
    }

    /// Files for everything else: control connections, the engine's questions, the policy, the log.
    private static let otherFiles = 512

    private static var openFiles: Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return Int(clamping: limit.rlim_cur)
    }
}
