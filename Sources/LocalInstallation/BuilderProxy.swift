public import RegistryAccess

/// The egress proxy as a BuildKit container is told it.
public struct BuilderProxy: Sendable, Equatable {
    /// Its URL, with the builders' user and secret.
    public let url: Secret
    /// Whether it listens on a loopback address, so that a container reaches it only in the host's network.
    public let needsHostNetwork: Bool

    /// The proxy of this machine.
    ///
    /// - Parameters:
    ///   - secret: the builders' secret.
    ///   - listen: where the proxy listens: an IP address and a port.
    public init(secret: ProxySecret, listen: String) {
        let (host, port) = DaemonSettings.EgressProxy.reached(listening: listen)
        needsHostNetwork = host.hasPrefix("127.") || host == "[::1]"
        url = secret.proxyURL(listen: "\(host):\(port)")
    }

    /// Whether a container goes through it, as far as its description says.
    ///
    /// - Parameter container: the container as it is to be made.
    /// - Returns: `false` also where it is doubtful.
    public func isUsed(by container: BuilderContainer) -> Bool {
        container.goesThrough(url.text, isOnLoopback: needsHostNetwork)
    }
}
