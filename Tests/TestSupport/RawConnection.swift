import Foundation
import Glibc

/// A TCP connection over which exactly the given bytes go.
///
/// It blocks, and waits ten seconds for what does not come. Made on a thread of a ``PrivateNetwork``, it is one of that
/// network's.
public final class RawConnection: Sendable {
    private let descriptor: Int32

    /// Connects.
    ///
    /// - Parameters:
    ///   - address: an IPv4 address.
    ///   - port: a port.
    /// - Throws: `POSIXError` if nobody listens there.
    public init(to address: String, port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw POSIXError(.EMFILE) }
        let status = withIPv4Address(address, port) { Glibc.connect(descriptor, $0, $1) }
        guard status == 0 else {
            Glibc.close(descriptor)
            throw POSIXError(.ECONNREFUSED)
        }
        setPatience()
    }

    /// Takes over a connection.
    ///
    /// - Parameter descriptor: what `accept` gave; it is closed with this.
    public init(accepted descriptor: Int32) {
        self.descriptor = descriptor
        setPatience()
    }

    deinit {
        close(descriptor)
    }

    private func setPatience() {
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Sends bytes.
    ///
    /// - Parameter bytes: what to send.
    /// - Returns: whether all of them could be handed to the kernel.
    @discardableResult
    public func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Sends a text.
    ///
    /// - Parameter text: what to send.
    /// - Returns: whether all of it could be handed to the kernel.
    @discardableResult
    public func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    /// Says that nothing more comes from here.
    public func finish() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Reads what is there.
    ///
    /// - Parameter waits: how many times ten seconds are waited; more than once where other tests may keep the server busy.
    /// - Returns: some bytes, or nil at the end, after a fault, and if nothing comes in time.
    public func read(waits: Int = 1) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65536)
        for _ in 0..<waits {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count > 0 { return Array(buffer[..<count]) }
            guard count < 0, errno == EAGAIN else { return nil }
        }
        return nil
    }

    /// Reads up to the first empty line.
    ///
    /// - Returns: the text so far, without what came behind it in the same piece.
    public func readHead() -> String {
        var bytes: [UInt8] = []
        let blank = Array("\r\n\r\n".utf8)
        while true {
            guard let more = read() else { return String(decoding: bytes, as: UTF8.self) }
            bytes += more
            if let end = bytes.firstRange(of: blank) {
                return String(decoding: bytes[..<end.upperBound], as: UTF8.self)
            }
        }
    }

    /// Reads up to the end.
    ///
    /// - Parameter waits: how many times ten seconds are waited for each piece.
    /// - Returns: all that came.
    public func readToEnd(waits: Int = 1) -> [UInt8] {
        var bytes: [UInt8] = []
        while let more = read(waits: waits) { bytes += more }
        return bytes
    }
}

/// Bytes as a TLS client sends them first.
public enum ClientHello {
    /// The first record of a client.
    ///
    /// - Parameter serverName: whom it believes to talk to; nil leaves the extension out.
    /// - Returns: a TLS record (RFC 8446, section 4.1.2).
    public static func record(serverName: String?) -> [UInt8] {
        func sized(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)] + bytes }
        var extensions: [UInt8] = []
        if let serverName { extensions += [0, 0] + sized(sized([0] + sized(Array(serverName.utf8)))) }
        // supported_groups: P-256; signature_algorithms: ecdsa_secp256r1_sha256.
        extensions += [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3]
        let random = (0..<32).map { _ in UInt8.random(in: 0...255) }
        let hello = [3, 3] + random + [0] + sized([0xC0, 0x2B]) + [1, 0] + sized(extensions)
        return [22, 3, 1] + sized([1, 0] + sized(hello))
    }
}

func withIPv4Address(
    _ address: String,
    _ port: UInt16,
    _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Int32 {
    var socketAddress = sockaddr_in()
    socketAddress.sin_family = sa_family_t(AF_INET)
    socketAddress.sin_port = port.bigEndian
    guard inet_pton(AF_INET, address, &socketAddress.sin_addr) == 1 else { return -1 }
    return withUnsafePointer(to: &socketAddress) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}
