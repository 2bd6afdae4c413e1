@testable import EnforcementDaemon
import Foundation
import Glibc
import NIOCore
import Synchronization

/// A TCP server on loopback: what it does with a connection is a closure, which runs on a thread of its own.
final class LoopbackServer: Sendable {
    /// Where it listens.
    let port: Int
    private let descriptor: CInt
    private let counter = Mutex(0)

    /// How many connections it has taken.
    var connections: Int { counter.withLock { $0 } }

    init(_ serve: @escaping @Sendable (SocketClient) -> Void) throws {
        let socket = try ListeningSocket.openTCP(at: "127.0.0.1:0")
        descriptor = socket.descriptor
        port = try ListeningSocket.address(ofTCP: descriptor).port ?? 0
        _ = fcntl(descriptor, F_SETFL, 0)
        let descriptor = descriptor
        Thread.detachNewThread { [self] in
            // Whoever else closed it might give its number to another server, whose connections would come here.
            defer { close(descriptor) }
            while true {
                let connection = accept(descriptor, nil, nil)
                guard connection >= 0 else { return }
                counter.withLock { $0 += 1 }
                let client = SocketClient(descriptor: connection)
                Thread.detachNewThread { serve(client) }
            }
        }
    }

    /// Takes no more connections.
    func stop() {
        shutdown(descriptor, CInt(SHUT_RDWR))
    }

    /// Runs a server while a body runs.
    static func with<Result>(
        _ serve: @escaping @Sendable (SocketClient) -> Void,
        _ body: (LoopbackServer) async throws -> Result
    ) async throws -> Result {
        let server = try LoopbackServer(serve)
        defer { server.stop() }
        return try await body(server)
    }
}

/// Takes down what somebody sends.
final class Recording: Sendable {
    private let texts = Mutex<[String]>([])

    func add(_ bytes: [UInt8]) { texts.withLock { $0.append(String(decoding: bytes, as: UTF8.self)) } }

    var all: [String] { texts.withLock { $0 } }
}
