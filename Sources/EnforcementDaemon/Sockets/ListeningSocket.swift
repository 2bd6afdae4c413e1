import Glibc
import LocalInstallation
import NIOCore

/// A Unix or TCP socket that somebody listens on.
struct ListeningSocket: Sendable {
    /// The open socket.
    let descriptor: CInt
    /// Where it is: a path, or an address and a port.
    let path: String
    /// Device and inode of the file that we made; `nil` for a socket that was handed to us.
    let ownFile: [UInt64]?

    /// How many connections wait for being accepted, if the system allows so many.
    static let longestQueue: CInt = 4096

    /// Makes a socket and listens on it.
    ///
    /// A socket file that nobody answers on was left behind by a crash and is replaced.
    ///
    /// - Parameters:
    ///   - path: where; missing directories are made.
    ///   - mode: the permissions of the socket, which say who may connect.
    /// - Returns: the socket.
    /// - Throws: ``SocketFault``.
    static func open(at path: String, mode: mode_t) throws -> ListeningSocket {
        let address = try UnixSocketAddress(path)
        try Files.makeDirectory(Files.directory(of: path))
        try removeStale(path, address)
        let descriptor = try UnixSocketAddress.newSocket(path)
        do {
            guard address.withPointer({ bind(descriptor, $0, $1) }) == 0 else {
                throw SocketFault.system("bind", path, errno)
            }
            // Nobody can connect before listen(), so nobody slips in before the permissions are right.
            guard chmod(path, mode) == 0 else { throw SocketFault.system("set the mode of", path, errno) }
            guard listen(descriptor, longestQueue) == 0 else { throw SocketFault.system("listen on", path, errno) }
            guard let file = file(path) else { throw SocketFault.system("look at", path, errno) }
            return ListeningSocket(descriptor: descriptor, path: path, ownFile: file)
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Makes a TCP socket and listens on it.
    ///
    /// - Parameter text: where, `address:port` with an IP address; port 0 is any free one.
    /// - Returns: the socket.
    /// - Throws: ``SocketFault``.
    static func openTCP(at text: String) throws(SocketFault) -> ListeningSocket {
        let colon = text.lastIndex(of: ":") ?? text.endIndex
        let host = text[..<colon].filter { $0 != "[" && $0 != "]" }
        guard let port = Int(text[colon...].dropFirst()), let address = try? SocketAddress(ipAddress: host, port: port)
        else { throw SocketFault.badPath(text) }
        let type = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = socket(address.protocol == .inet6 ? AF_INET6 : AF_INET, type, 0)
        guard descriptor >= 0 else { throw SocketFault.system("open a socket for", text, errno) }
        do throws(SocketFault) {
            // A port that a daemon before us used a moment ago is still ours.
            var on: CInt = 1
            setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<CInt>.size))
            guard address.withSockAddr({ bind(descriptor, $0, socklen_t($1)) }) == 0 else {
                throw errno == EADDRINUSE ? SocketFault.inUse(text) : SocketFault.system("bind", text, errno)
            }
            guard listen(descriptor, longestQueue) == 0 else { throw SocketFault.system("listen on", text, errno) }
            return ListeningSocket(descriptor: descriptor, path: text, ownFile: nil)
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Gives a socket that SwiftNIO has taken over its queue back: SwiftNIO listens once more, for 128 connections.
    static func restoreQueue(of descriptor: CInt) {
        _ = listen(descriptor, longestQueue)
    }

    /// The address that a TCP socket is bound to.
    static func address(ofTCP descriptor: CInt) throws -> SocketAddress {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard status == 0 else { throw SocketFault.system("look at", "the proxy's socket", errno) }
        return try withUnsafePointer(to: storage) { pointer in
            switch Int32(pointer.pointee.ss_family) {
            case AF_INET: pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { SocketAddress($0.pointee) }
            case AF_INET6: pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { SocketAddress($0.pointee) }
            default: throw SocketFault.badHandover("the proxy's socket is not a TCP socket")
            }
        }
    }

    /// Removes the socket's file if we made it and it is still ours.
    func removeFile() {
        guard let ownFile, Self.file(path) == ownFile else { return }
        unlink(path)
    }

    private static func removeStale(_ path: String, _ address: UnixSocketAddress) throws {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw SocketFault.notASocket(path) }
        let descriptor = try UnixSocketAddress.newSocket(path)
        defer { close(descriptor) }
        let result = address.withPointer { connect(descriptor, $0, $1) }
        // A full queue (EAGAIN) is somebody who listens, too.
        guard result != 0, errno != EAGAIN else { throw SocketFault.inUse(path) }
        guard errno == ECONNREFUSED || errno == ENOENT else { throw SocketFault.system("connect to", path, errno) }
        guard unlink(path) == 0 || errno == ENOENT else { throw SocketFault.system("remove", path, errno) }
    }

    private static func file(_ path: String) -> [UInt64]? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        return [UInt64(status.st_dev), UInt64(status.st_ino)]
    }
}

/// The address of a Unix socket: a path, or a name that begins with `@` in Linux's abstract namespace.
struct UnixSocketAddress {
    private var address = sockaddr_un()
    private let length: socklen_t

    init(_ path: String) throws(SocketFault) {
        var bytes = Array(path.utf8)
        let isAbstract = bytes.first == UInt8(ascii: "@")
        if isAbstract { bytes[0] = 0 } else { bytes.append(0) }
        guard bytes.count > 1, bytes.count <= MemoryLayout.size(ofValue: address.sun_path) else { throw .badPath(path) }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
    }

    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }

    /// A new stream socket that no child inherits and that never blocks.
    static func newSocket(_ path: String) throws(SocketFault) -> CInt {
        let type = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_UNIX, type, 0)
        guard descriptor >= 0 else { throw .system("open a socket for", path, errno) }
        return descriptor
    }
}

/// Why there is no socket to listen on.
enum SocketFault: Error, Equatable, CustomStringConvertible {
    /// The path is empty or too long for a socket.
    case badPath(String)
    /// Something else is in its place.
    case notASocket(String)
    /// Another process answers on it.
    case inUse(String)
    /// A call of the system failed: what was attempted, on which path, and the error number.
    case system(String, String, CInt)
    /// What was handed over by the service manager is not what we need.
    case badHandover(String)

    var description: String {
        switch self {
        case .badPath(let path): "\"\(path)\" is not a path that a socket can have"
        case .notASocket(let path): "\"\(path)\" is in the place of our socket but is no socket; remove it"
        case .inUse(let path): "another process listens on \"\(path)\"; is docker-ramd already running?"
        case .system(let attempt, let path, let code):
            "cannot \(attempt) \"\(path)\": \(String(cString: strerror(code)).lowercased())"
        case .badHandover(let fault): "the service manager handed over something unexpected: \(fault)"
        }
    }
}
