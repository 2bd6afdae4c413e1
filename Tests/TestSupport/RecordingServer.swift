import Foundation
import Glibc
import Synchronization

/// A server in a ``PrivateNetwork`` that keeps every byte it is sent, connection by connection, and answers each
/// connection once, at the first empty line.
public final class RecordingServer: Sendable {
    private let descriptor: Int32
    private let connections = Mutex<[[UInt8]]>([])
    private let endings = Mutex(0)

    /// What came so far, connection by connection.
    public var received: [[UInt8]] { connections.withLock { $0 } }

    /// How many connections have come to their end.
    public var ended: Int { endings.withLock { $0 } }

    private init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// Runs a server while a body runs.
    ///
    /// - Parameters:
    ///   - network: where it is.
    ///   - address: the IPv4 address on which it listens.
    ///   - port: the port on which it listens.
    ///   - answer: what it answers.
    ///   - body: gets the server.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or `POSIXError` if it cannot listen.
    public static func with<Result>(
        _ network: PrivateNetwork,
        address: String,
        port: UInt16,
        answer: String = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
        _ body: (RecordingServer) async throws -> Result
    ) async throws -> Result {
        let descriptor = try network.inside {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            var yes: Int32 = 1
            setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
            guard descriptor >= 0, withIPv4Address(address, port, { bind(descriptor, $0, $1) }) == 0,
                listen(descriptor, 4096) == 0
            else { throw POSIXError(.EADDRINUSE) }
            return descriptor
        }
        let server = RecordingServer(descriptor: descriptor)
        server.accept(answer)
        defer {
            shutdown(descriptor, Int32(SHUT_RDWR))
            close(descriptor)
        }
        return try await body(server)
    }

    private func accept(_ answer: String) {
        let descriptor = descriptor
        Thread.detachNewThread { [self] in
            while true {
                let accepted = Glibc.accept(descriptor, nil, nil)
                guard accepted >= 0 else { return }
                _ = fcntl(accepted, F_SETFD, FD_CLOEXEC)
                let index = connections.withLock { connections in
                    connections.append([])
                    return connections.count - 1
                }
                Thread.detachNewThread { [self] in serve(RawConnection(accepted: accepted), index, answer) }
            }
        }
    }

    private func serve(_ connection: RawConnection, _ index: Int, _ answer: String) {
        var hasAnswered = false
        defer { endings.withLock { $0 += 1 } }
        while let more = connection.read() {
            let isHeadThere = connections.withLock { connections in
                connections[index] += more
                return connections[index].firstRange(of: Array("\r\n\r\n".utf8)) != nil
            }
            if isHeadThere, !hasAnswered {
                hasAnswered = true
                connection.send(answer)
            }
        }
    }
}
