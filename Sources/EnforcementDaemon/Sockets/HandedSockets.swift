import Glibc
import LocalInstallation
import NIOCore

/// The sockets that systemd opened for us (`sd_listen_fds(3)`).
struct HandedSockets: Sendable {
    /// The socket of the authorization plugin.
    var plugin: ListeningSocket?
    /// The control socket.
    var control: ListeningSocket?
    /// The socket of the egress proxy.
    var proxy: ListeningSocket?

    /// Takes over what was handed to this process, and nothing if nothing was.
    ///
    /// Sockets are told apart by their names `plugin`, `control` and `proxy` (`FileDescriptorName=` of the socket unit);
    /// without names they are these three in this order.
    ///
    /// - Throws: ``SocketFault`` if a descriptor is not a listening socket of the right family, or two have the same name.
    init(_ environment: ServiceEnvironment, processID: pid_t = getpid()) throws(SocketFault) {
        guard environment.listenProcess == processID, environment.listenCount > 0 else { return }
        let named = environment.listenNames.contains { Self.names.contains($0) }
        for index in 0..<environment.listenCount {
            let descriptor = Self.firstDescriptor + CInt(index)
            let names = named ? environment.listenNames : Self.names
            switch names.indices.contains(index) ? names[index] : "" {
            case "plugin" where plugin == nil: plugin = try Self.unixSocket(descriptor)
            case "control" where control == nil: control = try Self.unixSocket(descriptor)
            case "proxy" where proxy == nil: proxy = try Self.tcpSocket(descriptor)
            case let name: throw .badHandover("descriptor \(descriptor) has the name \"\(name)\"")
            }
        }
    }

    /// `SD_LISTEN_FDS_START`.
    private static let firstDescriptor: CInt = 3
    private static let names = ["plugin", "control", "proxy"]

    private static func tcpSocket(_ descriptor: CInt) throws(SocketFault) -> ListeningSocket {
        guard let address = try? ListeningSocket.address(ofTCP: descriptor) else {
            throw .badHandover("descriptor \(descriptor) is not a TCP socket")
        }
        try check(descriptor)
        return ListeningSocket(descriptor: descriptor, path: address.text, ownFile: nil)
    }

    private static func unixSocket(_ descriptor: CInt) throws(SocketFault) -> ListeningSocket {
        var address = sockaddr_un()
        var length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard result == 0, address.sun_family == sa_family_t(AF_UNIX) else {
            throw .badHandover("descriptor \(descriptor) is not a unix socket")
        }
        try check(descriptor)
        let path = withUnsafeBytes(of: address.sun_path) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        return ListeningSocket(descriptor: descriptor, path: path, ownFile: nil)
    }

    private static func check(_ descriptor: CInt) throws(SocketFault) {
        guard option(SO_TYPE, of: descriptor) == CInt(SOCK_STREAM.rawValue),
            option(SO_ACCEPTCONN, of: descriptor) == 1
        else { throw .badHandover("descriptor \(descriptor) is not a listening stream socket") }
        guard fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else {
            throw .badHandover("descriptor \(descriptor) cannot be set to close on exec")
        }
    }

    private static func option(_ name: CInt, of descriptor: CInt) -> CInt? {
        var value: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        return getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
    }
}
