import Foundation
import Synchronization
import TestSupport

/// A stand-in for an organization's server on loopback, which keeps what it was asked.
final class ServerStandIn: Sendable {
    /// A request as it came.
    struct Request: Sendable {
        let method: String
        /// Path and query.
        let target: String
        let headers: [String: String]
        let body: String

        /// For example `PUT /v1/organizations/acme/policy?comment=x`.
        var line: String { "\(method) \(target)" }

        /// Reads a request; `nil` if it is not whole yet.
        init?(_ bytes: [UInt8]) {
            let text = String(decoding: bytes, as: UTF8.self)
            guard let end = text.firstRange(of: "\r\n\r\n") else { return nil }
            let lines = text[..<end.lowerBound].components(separatedBy: "\r\n")
            let words = (lines.first ?? "").split(separator: " ").map(String.init)
            guard words.count == 3 else { return nil }
            var headers: [String: String] = [:]
            for line in lines.dropFirst() {
                let parts = line.split(separator: ":", maxSplits: 1).map(String.init)
                headers[parts[0].lowercased()] = parts.count > 1 ? parts[1].trimmingCharacters(in: .whitespaces) : ""
            }
            body = String(text[end.upperBound...])
            guard body.utf8.count >= Int(headers["content-length"] ?? "0") ?? 0 else { return nil }
            (method, target) = (words[0], words[1])
            self.headers = headers
        }
    }

    /// What it answers.
    struct Reply: Sendable {
        var status = 200
        var body = ""
        var version: Int?
        /// Whether the connection ends without an answer.
        var isCut = false

        static func problem(_ status: Int, _ code: String, _ detail: String, hint: String? = nil) -> Reply {
            let more = hint.map { #","hint":"\#($0)""# } ?? ""
            return Reply(
                status: status,
                body:
                    #"{"type":"about:blank","title":"x","status":\#(status),"code":"\#(code)","detail":"\#(detail)"\#(more)}"#
            )
        }
    }

    private let descriptor: Int32
    private let log = Mutex<[Request]>([])
    let url: String

    /// What came so far.
    var requests: [Request] { log.withLock { $0 } }

    private init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let isThere = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) == 0 && listen(descriptor, 16) == 0
                    && getsockname(descriptor, address, &length) == 0
            }
        }
        guard isThere else { throw POSIXError(.EADDRINUSE) }
        url = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
    }

    /// Runs a server while a body runs.
    static func with(
        _ answer: @escaping @Sendable (Request) -> Reply,
        _ body: (ServerStandIn) async throws -> Void
    ) async throws {
        let server = try ServerStandIn()
        Thread.detachNewThread { server.acceptAll(answer) }
        defer { shutdown(server.descriptor, Int32(SHUT_RDWR)) }
        try await body(server)
    }

    private func acceptAll(_ answer: @escaping @Sendable (Request) -> Reply) {
        while true {
            let accepted = accept(descriptor, nil, nil)
            guard accepted >= 0 else {
                // Closed here and nowhere else: another test's socket could get the number in between.
                close(descriptor)
                return
            }
            _ = fcntl(accepted, F_SETFD, FD_CLOEXEC)
            Thread.detachNewThread { [self] in
                let connection = RawConnection(accepted: accepted)
                var bytes: [UInt8] = []
                while let more = connection.read() {
                    bytes += more
                    guard let request = Request(bytes) else { continue }
                    log.withLock { $0.append(request) }
                    let reply = answer(request)
                    guard !reply.isCut else { return }
                    let tag = reply.version.map { "ETag: \"\($0)\"\r\n" } ?? ""
                    let type = reply.status < 300 ? "application/json" : "application/problem+json"
                    _ = connection.send(
                        "HTTP/1.1 \(reply.status) X\r\nContent-Type: \(type)\r\n\(tag)"
                            + "Content-Length: \(reply.body.utf8.count)\r\nConnection: close\r\n\r\n\(reply.body)"
                    )
                    return
                }
            }
        }
    }
}
