import Foundation
import Synchronization

/// A server on a Unix socket for tests: it reads until a request is whole, answers once and closes.
final class LineServer: Sendable {
    private let descriptor: CInt
    /// The port of loopback on which it listens, if it does.
    let port: Int?
    private let seen = Mutex<[String]>([])

    /// The requests so far.
    var requests: [String] { seen.withLock { $0 } }

    /// Listens at a path.
    ///
    /// - Parameters:
    ///   - path: the path of the socket.
    ///   - end: what ends a request.
    ///   - answer: gives the bytes of the answer; `nil` leaves the connection open and silent.
    /// - Throws: `POSIXError` if there is something at the path.
    init(at path: String, end: String, answer: @escaping @Sendable (String) -> String?) throws {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        self.descriptor = descriptor
        port = nil
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, listen(descriptor, 16) == 0 else { throw POSIXError(.EADDRINUSE) }
        serveAll(end, answer)
    }

    /// Listens on a port of loopback that is free.
    ///
    /// - Parameters:
    ///   - end: what ends a request.
    ///   - answer: gives the bytes of the answer; `nil` leaves the connection open and silent.
    /// - Throws: `POSIXError` if there is none.
    init(end: String, answer: @escaping @Sendable (String) -> String?) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) == 0 && listen(descriptor, 16) == 0
                    && getsockname(descriptor, address, &length) == 0
            }
        }
        guard bound else { throw POSIXError(.EADDRINUSE) }
        port = Int(UInt16(bigEndian: address.sin_port))
        serveAll(end, answer)
    }

    private func serveAll(_ end: String, _ answer: @escaping @Sendable (String) -> String?) {
        Thread.detachNewThread { [self] in
            while true {
                let connection = accept(descriptor, nil, nil)
                guard connection >= 0 else {
                    // Closed here and nowhere else: another test's socket could get the number in between.
                    close(descriptor)
                    return
                }
                serve(connection, end, answer)
            }
        }
    }

    private func serve(_ connection: CInt, _ end: String, _ answer: (String) -> String?) {
        var request: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while !Self.isWhole(String(decoding: request, as: UTF8.self), end) {
            let count = recv(connection, &chunk, chunk.count, 0)
            guard count > 0 else { break }
            request += chunk[..<count]
        }
        let text = String(decoding: request, as: UTF8.self)
        seen.withLock { $0.append(text) }
        guard let reply = answer(text) else { return }
        let bytes = Array(reply.utf8)
        _ = bytes.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        close(connection)
    }

    /// Whether a request has its end and the body that its head announces, if it does.
    private static func isWhole(_ request: String, _ end: String) -> Bool {
        guard let head = request.range(of: end) else { return false }
        guard let length = request.range(of: "Content-Length: ") else { return true }
        let digits = request[length.upperBound...].prefix { $0.isASCII && $0.isNumber }
        return request[head.upperBound...].utf8.count >= Int(digits) ?? 0
    }

    func stop() {
        shutdown(descriptor, Int32(SHUT_RDWR))
    }
}

extension Machine {
    var controlSocket: String { "\(root)/run/docker-ram/control.sock" }

    /// A docker-ramd that says this.
    func withDaemon(
        answer: @escaping @Sendable (String) -> String? = { Machine.daemonAnswer(to: $0) },
        _ body: (LineServer) throws -> Void
    ) throws {
        let server = try LineServer(at: controlSocket, end: "\n", answer: answer)
        defer { server.stop() }
        try body(server)
    }

    static let decision =
        #"{"id":"7f3a9c","time":"2026-11-23T13:45:10.123Z","point":"authorization-plugin","action":"pull","#
        + #""registry":"ghcr.io","image":"ghcr.io/evil/x","verdict":"deny","reason":"repository","rule":"ghcr.io","#
        + #""policyVersion":42,"organization":"acme"}"#

    static let allowed =
        #"{"id":"000001","time":"2026-11-23T13:45:09.000Z","point":"authorization-plugin","action":"pull","#
        + #""registry":"docker.io","image":"docker.io/library/alpine","verdict":"allow","reason":"rule","#
        + #""rule":"docker.io","policyVersion":42,"organization":"acme"}"#

    static func daemonAnswer(to request: String) -> String {
        if request.contains("\"status\"") {
            return #"{"version":"0.1.0","startedAt":"2026-11-23T13:00:00.000Z","root":"/","policy":{"state":"enforce","#
                + #""source":null,"organization":"acme","policyVersion":42,"rules":4,"contact":null,"loadedAt":null,"#
                + #""problem":null},"authorizationPlugin":{"socket":"s","requests":12,"allowed":11,"refused":1,"#
                + #""lastRequestAt":null},"decisionLog":{"path":"p","dropped":0}}"# + "\n"
        }
        return allowed + "\n" + decision + "\n"
    }

    /// An engine that asks the authorization plugin and is refused a pull by it.
    func withEngine(plugins: String = "[\"docker-ram\"]", _ body: (String) throws -> Void) throws {
        let path = "\(directory)/docker.sock"
        let server = try LineServer(at: path, end: "\r\n\r\n") { request in
            let line = request.split(separator: "\r\n").first ?? ""
            var status = "200 OK"
            var body = "{}"
            if line.contains("/_ping") {
                body = "OK"
            } else if line.contains("/info") {
                body = #"{"ID":"x","ServerVersion":"28.2.2","Plugins":{"Authorization":\#(plugins)}}"#
            } else if line.contains("/images/create") || line.contains("/containers/create") {
                status = "403 Forbidden"
                let sentence = HookTests.sentence + " Ask platform@acme.test for access."
                body = #"{"message":"authorization denied by plugin docker-ram: \#(sentence)"}"#
            } else {
                status = "404 Not Found"
                body = #"{"message":"page not found"}"#
            }
            return "HTTP/1.1 \(status)\r\nApi-Version: 1.50\r\nOstype: linux\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n"
                + (line.hasPrefix("HEAD") ? "" : body)
        }
        defer { server.stop() }
        try body(path)
    }
}
