import Foundation
import Glibc
import Synchronization

/// A web server on loopback that has some files and nothing else.
final class DocumentServer: Sendable {
    private let descriptor: CInt
    private let port: UInt16
    private let files = Mutex<[String: [UInt8]]>([:])

    /// Where it is.
    var url: String { "http://127.0.0.1:\(port)" }

    struct CannotListen: Error {}

    init() throws {
        descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && listen(descriptor, 16) == 0
                    && getsockname(descriptor, $0, &size) == 0
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        guard isListening else { throw CannotListen() }
        Thread.detachNewThread { [self] in
            while true {
                let connection = accept(descriptor, nil, nil)
                guard connection >= 0 else { return }
                answer(connection)
                close(connection)
            }
        }
    }

    /// Runs a server while a body runs.
    static func with(_ body: (DocumentServer) throws -> Void) throws {
        let server = try DocumentServer()
        defer {
            shutdown(server.descriptor, CInt(SHUT_RDWR))
            close(server.descriptor)
        }
        try body(server)
    }

    /// Has a file from now on.
    func put(_ bytes: [UInt8], at path: String) { files.withLock { $0[path] = bytes } }

    private func answer(_ connection: CInt) {
        var request: [UInt8] = []
        while request.firstRange(of: Array("\r\n\r\n".utf8)) == nil {
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            request += buffer[..<count]
        }
        let words = String(decoding: request, as: UTF8.self).split(separator: " ")
        let body = words.count > 1 ? files.withLock { $0[String(words[1])] } : nil
        let status = body == nil ? "404 Not Found" : "200 OK"
        let head = "HTTP/1.1 \(status)\r\nContent-Length: \(body?.count ?? 0)\r\nConnection: close\r\n\r\n"
        let answer = Array(head.utf8) + (body ?? [])
        _ = answer.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
    }
}
