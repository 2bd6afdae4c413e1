import Glibc
import NIOCore
import NIOPosix
import Synchronization

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
/// names. Answers are good for ``lifetime``, because one pull opens several connections at once.
final class SystemResolver: HostResolver {
    /// How long an answer is used again.
    static let lifetime = TimeAmount.seconds(2)
    /// How many answers are kept; a policy opens few hosts, and with more nothing is kept until these are old.
    static let mostAnswers = 1024

    private let threads: NIOThreadPool
    private let answers = Mutex<[String: (addresses: [SocketAddress], until: NIODeadline)]>([:])

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
        if let known = answers.withLock({ $0[host] }), known.until > .now() {
            return eventLoop.makeSucceededFuture(known.addresses.map { Self.address($0, port) })
        }
        return threads.runIfActive(eventLoop: eventLoop) {
            let addresses = try Self.ask(host)
            self.keep(addresses, of: host)
            return addresses.map { Self.address($0, port) }
        }
    }

    private func keep(_ addresses: [SocketAddress], of host: String) {
        let now = NIODeadline.now()
        answers.withLock { answers in
            if answers.count >= Self.mostAnswers { answers = answers.filter { $0.value.until > now } }
            guard answers.count < Self.mostAnswers else { return }
            answers[host] = (addresses, now + Self.lifetime)
        }
    }

    private static func address(_ address: SocketAddress, _ port: UInt16) -> SocketAddress {
        var address = address
        address.port = Int(port)
        return address
    }

    private static func ask(_ host: String) throws -> [SocketAddress] {
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
        guard !addresses.isEmpty else { throw DialFault.notFound("it has no address") }
        return addresses
    }
}
