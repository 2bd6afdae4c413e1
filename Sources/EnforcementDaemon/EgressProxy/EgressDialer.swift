import Glibc
import LocalInstallation
import NIOCore
import NIOHTTP1
import NIOPosix
import RegistryAccess

/// Opens connections to the outside: finds a host's addresses, checks every one of them, and dials one that was checked.
struct EgressDialer: Sendable {
    let settings: DaemonSettings.EgressProxy
    let resolver: any HostResolver
    let proxy: EgressProxy
    /// Where the proxy listens: nobody gets back to it through itself.
    let ownAddress: SocketAddress

    /// A connection to the outside that nothing was read from yet.
    struct Connection: Sendable {
        let channel: any Channel
        /// The proxy behind us that the connection leads to; `nil` if it leads to the destination itself.
        ///
        /// A tunnel through it is not opened yet.
        let upstream: UpstreamProxy?
    }

    /// Opens a connection.
    ///
    /// Through a proxy behind us, that proxy finds the addresses of names, and they are not checked.
    ///
    /// - Parameters:
    ///   - destination: where to.
    ///   - id: the decision that allowed it.
    ///   - eventLoop: the event loop of the connection.
    /// - Returns: the connection, which does not read by itself, or ``DialFault``.
    func dial(
        _ destination: ProxyRequest.Destination,
        id: DecisionID,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<Connection> {
        let endpoint = destination.endpoint
        let isDirect = destination.address.map(settings.isDirect) ?? (settings.upstream == nil)
        if !isDirect, let upstream = settings.upstream {
            do {
                // Only names are the other proxy's to look up.
                let written = try? SocketAddress(ipAddress: endpoint.host, port: Int(endpoint.port))
                if let written { try check(written, of: destination, id) }
            } catch {
                return eventLoop.makeFailedFuture(error)
            }
            return resolver.addresses(of: upstream.host, port: upstream.port, on: eventLoop)
                .flatMapErrorThrowing { throw DialFault.upstream(upstream.address, "\(DialFault(from: $0))") }
                .flatMap { connect(to: $0, on: eventLoop) }
                .map { Connection(channel: $0, upstream: upstream) }
                .flatMapErrorThrowing { throw DialFault.upstream(upstream.address, "\(DialFault(from: $0))") }
        }
        return resolver.addresses(of: endpoint.host, port: endpoint.port, on: eventLoop)
            .flatMapThrowing { addresses in
                for address in addresses { try check(address, of: destination, id) }
                return addresses
            }
            .flatMap { connect(to: $0, on: eventLoop) }
            .map { Connection(channel: $0, upstream: nil) }
    }

    private func check(_ address: SocketAddress, of destination: ProxyRequest.Destination, _ id: DecisionID) throws {
        guard !isOwn(address) else { throw DialFault.ownListener }
        guard let ip = address.ipAddress, let port = address.port,
            let checked = try? RegistryAddress(ip.contains(":") ? "[\(Self.withoutZone(ip))]:\(port)" : "\(ip):\(port)")
        else { throw DialFault.notFound("it has an address that cannot be read") }
        // What cannot be read goes only where nothing is refused, see ``EgressDecision``.
        guard case .success(let target) = destination.target else { return }
        if let refusal = proxy.decideLater(.address(target, checked), id: id).refusal {
            throw DialFault.refused(refusal)
        }
    }

    private static func withoutZone(_ ip: String) -> Substring {
        ip.prefix { $0 != "%" }
    }

    private func isOwn(_ address: SocketAddress) -> Bool {
        guard address.port == ownAddress.port, let ip = address.ipAddress, let own = ownAddress.ipAddress else {
            return false
        }
        let isWildcard = own == "0.0.0.0" || own == "::"
        let isLoopback =
            ip == "::1" || ip.hasPrefix("127.") || ip.hasPrefix("::ffff:127.") || ip == "0.0.0.0" || ip == "::"
        if ip == own || ip == "::ffff:\(own)" || isLoopback { return true }
        guard isWildcard, let devices = try? System.enumerateDevices() else { return isWildcard }
        return devices.contains { $0.address?.ipAddress == ip }
    }

    private func connect(to addresses: [SocketAddress], on eventLoop: any EventLoop) -> EventLoopFuture<any Channel> {
        let bootstrap = ClientBootstrap(group: eventLoop)
            // Happy Eyeballs among the addresses that were checked, and no others (RFC 8305).
            .resolver(CheckedAddresses(addresses, eventLoop))
            .connectTimeout(.seconds(Int64(settings.connectSeconds)))
            .channelOption(.autoRead, value: false)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.writeBufferWaterMark, value: ProxyLimits.pendingBytes)
            .channelOption(.recvAllocator, value: ProxyLimits.readSizes)
        // Most names have one address, for which there is nothing to race.
        if addresses.count == 1 { return bootstrap.connect(to: addresses[0]) }
        return bootstrap.connect(host: "checked", port: 0)
    }
}

extension ProxyRequest.Destination {
    /// What the policy was asked about, if it could be read.
    var address: RegistryAddress? { (try? target.get())?.address }

    /// What is dialed; of what cannot be read, everything before the last colon.
    var endpoint: (host: String, port: UInt16) {
        switch target {
        case .success(let target): return (target.host, target.port)
        case .failure:
            let colon = authority.lastIndex(of: ":")
            let port = colon.flatMap { UInt16(authority[authority.index(after: $0)...]) }
            return (String(authority[..<(colon ?? authority.endIndex)]), port ?? 443)
        }
    }
}

/// Addresses as a resolver of SwiftNIO's gives them.
private struct CheckedAddresses: Resolver, Sendable {
    private let ipv4: [SocketAddress]
    private let ipv6: [SocketAddress]
    private let eventLoop: any EventLoop

    init(_ addresses: [SocketAddress], _ eventLoop: any EventLoop) {
        ipv4 = addresses.filter { $0.protocol == .inet }
        ipv6 = addresses.filter { $0.protocol == .inet6 }
        self.eventLoop = eventLoop
    }

    func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        eventLoop.makeSucceededFuture(ipv4)
    }

    func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        eventLoop.makeSucceededFuture(ipv6)
    }

    func cancelQueries() {}
}

/// Why there is no connection to the outside.
enum DialFault: Error, Equatable, CustomStringConvertible {
    /// The policy refuses the address that the name leads to; the sentence.
    case refused(String)
    /// The host has no address; the system's words.
    case notFound(String)
    /// No address answers; the system's words.
    case unreachable(String)
    /// It took too long.
    case timeout
    /// The way leads back to the proxy itself.
    case ownListener
    /// The proxy behind us could not be reached or does not want to; its address and why.
    case upstream(String, String)

    /// What an error of SwiftNIO's means.
    init(from error: any Error) {
        switch error {
        case let fault as DialFault: self = fault
        case let failure as NIOConnectionError:
            let causes = failure.connectionErrors.map { DialFault(from: $0.error) }
            self = causes.contains(.timeout) && causes.count == 1 ? .timeout : causes.first ?? .unreachable("no answer")
        case ChannelError.connectTimeout: self = .timeout
        case let failure as IOError:
            self = .unreachable(String(cString: strerror(failure.errnoCode)).lowercased())
        default: self = .unreachable("\(error)")
        }
    }

    var description: String {
        switch self {
        case .refused(let sentence): sentence
        case .notFound(let text): "its name cannot be resolved: \(text)"
        case .unreachable(let text): text
        case .timeout: "no answer in time"
        case .ownListener: "it leads back to the egress proxy itself"
        case .upstream(let address, let text): "the upstream proxy \(address): \(text)"
        }
    }
}
