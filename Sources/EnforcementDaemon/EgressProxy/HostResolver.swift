import Glibc
import NIOCore
import NIOPosix

/// Finds the addresses of hosts.
protocol HostResolver: Sendable {
    /// The addresses of a host in the order in which they are to be tried.
    ///
    /// - Parameters:
    ///   - host: a name or an IP address without brackets.
    ///   - port: the port that the addresses get.
    ///   - eventLoop: where the answer is wanted.
    /// - Returns: at least one address, or ``DialFault/notFound(_:)``.
    func addresses(
        of host: String,
        port: UInt16,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<[SocketAddress]>
}

/// The resolver of the system, `getaddrinfo(3)`: /etc/hosts, /etc/resolv.conf and whatever else nsswitch.conf names.
///
/// It blocks, so it runs on threads of its own: name servers that do not answer hold up nobody but those who ask for
/// names.
struct SystemResolver: HostResolver {
    private let threads: NIOThreadPool

    /// A resolver.
    ///
    /// - Parameter numberOfThreads: how many questions are asked at a time.
    init(numberOfThreads: Int = 16) {
        threads = NIOThreadPool(numberOfThreads: numberOfThreads)
        threads.start()
    }

    /// Ends the threads.
    func shutDown() async {
        try? await threads.shutdownGracefully()
    }

    func addresses(
        of host: String,
        port: UInt16,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<[SocketAddress]> {
        if let address = try? SocketAddress(ipAddress: host, port: Int(port)) {
            return eventLoop.makeSucceededFuture([address])
        }
        return threads.runIfActive(eventLoop: eventLoop) { try Self.ask(host, port) }
    }

    private static func ask(_ host: String, _ port: UInt16) throws -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        hints.ai_protocol = CInt(IPPROTO_TCP)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, nil, &hints, &list)
        guard status == 0 else { throw DialFault.notFound(String(cString: gai_strerror(status)).lowercased()) }
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var next = list
        while let entry = next {
            let address = entry.pointee.ai_addr
            switch entry.pointee.ai_family {
            case AF_INET:
                address?.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    addresses.append(SocketAddress($0.pointee))
                }
            case AF_INET6:
                address?.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    addresses.append(SocketAddress($0.pointee))
                }
            default: break
            }
            next = entry.pointee.ai_next
        }
        for index in addresses.indices { addresses[index].port = Int(port) }
        guard !addresses.isEmpty else { throw DialFault.notFound("it has no address") }
        return addresses
    }
}
