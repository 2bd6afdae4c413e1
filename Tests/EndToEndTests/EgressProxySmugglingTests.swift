import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Bytes that two readers of HTTP could read in two ways, on their way through the egress proxy.
    ///
    /// Whatever a client sends, the server behind the proxy gets at most one request, and no byte of it that a strict
    /// reader would not have sent.
    @Suite(.serialized)
    struct EgressProxySmugglingTests {
        /// What comes of a shape.
        private enum Outcome {
            /// The server is not contacted.
            case refused
            /// The server gets exactly one request, which begins with these words and has this body.
            case passes(_ start: String, body: String = "")
            /// The server is not contacted, or gets one strict request; both are safe.
            case safe
        }

        private struct Shape {
            let name: String
            let bytes: String
            let outcome: Outcome
        }

        private static let host = PrivateNetwork.Host.plain

        /// A request with the secret in it.
        private static func request(
            _ line: String = "POST http://plain.acme.test/a HTTP/1.1",
            host: String = "Host: plain.acme.test\r\n",
            headers: String = "",
            body: String = ""
        ) -> String {
            "\(line)\r\n\(host)$AUTHORIZATION\r\n\(headers)\r\n\(body)"
        }

        /// What an attacker wants to be a request of its own.
        private static let second = "GET http://plain.acme.test/second HTTP/1.1\r\nHost: plain.acme.test\r\n\r\n"
        private static let get = "GET http://plain.acme.test/a HTTP/1.1"

        private static let shapes: [Shape] = [
            // What has one reading.
            .init(name: "GET", bytes: request(get), outcome: .passes("GET /a HTTP/1.1")),
            .init(
                name: "an upper-case host",
                bytes: request("GET http://PLAIN.acme.TEST/a HTTP/1.1", host: "Host: PLAIN.acme.TEST\r\n"),
                outcome: .passes("GET /a HTTP/1.1")
            ),
            .init(
                name: "port 80 written",
                bytes: request("GET http://plain.acme.test:80/a?b=c HTTP/1.1", host: "Host: plain.acme.test:80\r\n"),
                outcome: .passes("GET /a?b=c HTTP/1.1")
            ),
            .init(
                name: "no path",
                bytes: request("GET http://plain.acme.test HTTP/1.1"),
                outcome: .passes("GET / HTTP/1.1")
            ),
            .init(
                name: "a length",
                bytes: request(headers: "Content-Length: 5\r\n", body: "hello"),
                outcome: .passes("POST /a HTTP/1.1", body: "hello")
            ),
            .init(
                name: "chunks",
                bytes: request(headers: "Transfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n"),
                outcome: .passes("POST /a HTTP/1.1", body: "hello")
            ),
            .init(
                name: "chunked in upper case",
                bytes: request(headers: "Transfer-Encoding: CHUNKED\r\n", body: "5\r\nhello\r\n0\r\n\r\n"),
                outcome: .safe
            ),

            // Two lengths, or a length and an encoding (RFC 9112, section 6.3).
            .init(
                name: "two lengths",
                bytes: request(headers: "Content-Length: 5\r\nContent-Length: 0\r\n", body: "hello" + second),
                outcome: .refused
            ),
            .init(
                name: "the same length twice",
                bytes: request(headers: "Content-Length: 5\r\nContent-Length: 5\r\n", body: "hello"),
                outcome: .refused
            ),
            .init(
                name: "two lengths in one line",
                bytes: request(headers: "Content-Length: 5, 5\r\n", body: "hello"),
                outcome: .refused
            ),
            .init(
                name: "length before encoding",
                bytes: request(
                    headers: "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                    body: "0\r\n\r\n" + second
                ),
                outcome: .refused
            ),
            .init(
                name: "encoding before length",
                bytes: request(
                    headers: "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                    body: "0\r\n\r\n" + second
                ),
                outcome: .refused
            ),

            // Lengths that are no numbers.
            .init(
                name: "a signed length",
                bytes: request(headers: "Content-Length: +5\r\n", body: "hello"),
                outcome: .refused
            ),
            .init(
                name: "a negative length",
                bytes: request(headers: "Content-Length: -1\r\n", body: second),
                outcome: .refused
            ),
            .init(
                name: "a hexadecimal length",
                bytes: request(headers: "Content-Length: 0x5\r\n", body: "hello"),
                outcome: .refused
            ),
            .init(
                name: "a length with a space in it",
                bytes: request(headers: "Content-Length: 5 5\r\n", body: "hello"),
                outcome: .refused
            ),
            .init(
                name: "an empty length",
                bytes: request(headers: "Content-Length: \r\n", body: second),
                outcome: .refused
            ),
            .init(
                name: "a length beyond 64 bits",
                bytes: request(headers: "Content-Length: 18446744073709551621\r\n", body: "hello"),
                outcome: .refused
            ),
            .init(
                name: "a length with leading zeros",
                bytes: request(headers: "Content-Length: 0005\r\n", body: "hello"),
                outcome: .safe
            ),

            // Encodings that are not exactly chunked.
            .init(
                name: "xchunked",
                bytes: request(headers: "Transfer-Encoding: xchunked\r\n", body: "0\r\n\r\n" + second),
                outcome: .refused
            ),
            .init(
                name: "chunked twice",
                bytes: request(headers: "Transfer-Encoding: chunked, chunked\r\n", body: "0\r\n\r\n"),
                outcome: .refused
            ),
            .init(
                name: "two encodings",
                bytes: request(
                    headers: "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                    body: "0\r\n\r\n" + second
                ),
                outcome: .refused
            ),
            .init(
                name: "identity",
                bytes: request(headers: "Transfer-Encoding: identity\r\n", body: second),
                outcome: .refused
            ),
            .init(
                name: "gzip, chunked",
                bytes: request(headers: "Transfer-Encoding: gzip, chunked\r\n", body: "0\r\n\r\n"),
                outcome: .refused
            ),
            .init(
                name: "chunked, gzip",
                bytes: request(headers: "Transfer-Encoding: chunked, gzip\r\n", body: "0\r\n\r\n"),
                outcome: .refused
            ),
            .init(
                name: "a quoted encoding",
                bytes: request(headers: "Transfer-Encoding: \"chunked\"\r\n", body: "0\r\n\r\n"),
                outcome: .refused
            ),
            .init(
                name: "an encoding behind a vertical tab",
                bytes: request(headers: "Transfer-Encoding:\u{0B}chunked\r\n", body: "0\r\n\r\n"),
                outcome: .refused
            ),
            .init(
                name: "a Kelvin sign in chunked",
                bytes: request(headers: "Transfer-Encoding: chun\u{212A}ed\r\n", body: "0\r\n\r\n"),
                outcome: .refused
            ),
            .init(
                name: "an encoding in HTTP/1.0",
                bytes: request(
                    "POST http://plain.acme.test/a HTTP/1.0",
                    headers: "Transfer-Encoding: chunked\r\n",
                    body: "0\r\n\r\n" + second
                ),
                outcome: .refused
            ),
            .init(
                name: "an underscore in the name",
                bytes: request(headers: "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", body: "hello"),
                outcome: .safe
            ),

            // Header lines.
            .init(
                name: "a space before the colon",
                bytes: request(headers: "Content-Length : 5\r\n", body: "hello"),
                outcome: .refused
            ),
            .init(
                name: "a tab before the colon",
                bytes: request(headers: "Transfer-Encoding\t: chunked\r\n", body: "0\r\n\r\n"),
                outcome: .refused
            ),
            .init(
                name: "a folded line",
                bytes: request(headers: "X-A: b\r\n Content-Length: 5\r\n"),
                outcome: .refused
            ),
            .init(
                name: "a folded encoding",
                bytes: request(headers: "Transfer-Encoding:\r\n chunked\r\n", body: "0\r\n\r\n"),
                outcome: .refused
            ),
            .init(
                name: "a folded first header",
                bytes: "\(get)\r\n X: y\r\nHost: plain.acme.test\r\n$AUTHORIZATION\r\n\r\n",
                outcome: .refused
            ),
            .init(name: "a line without a colon", bytes: request(headers: "Content-Length\r\n"), outcome: .refused),
            .init(name: "an empty name", bytes: request(headers: ": 5\r\n"), outcome: .refused),
            .init(name: "NUL in a name", bytes: request(headers: "X\u{0}Y: z\r\n"), outcome: .refused),
            .init(name: "NUL in a value", bytes: request(headers: "X: a\u{0}b\r\n"), outcome: .refused),
            .init(name: "CR in a value", bytes: request(headers: "X: a\rContent-Length: 5\r\n"), outcome: .refused),
            .init(name: "LF at the end of a line", bytes: request(headers: "X: a\nY: b\r\n"), outcome: .refused),
            .init(
                name: "LF everywhere",
                bytes: request(get).replacingOccurrences(of: "\r\n", with: "\n"),
                outcome: .refused
            ),
            .init(
                name: "CR everywhere",
                bytes: request(get).replacingOccurrences(of: "\r\n", with: "\r"),
                outcome: .refused
            ),
            .init(
                name: "an empty line that ends with LF",
                bytes: request(get, headers: "X: a\r\n").dropLast(1) + "\n" + second,
                outcome: .refused
            ),
            .init(name: "a control character in a value", bytes: request(headers: "X: a\u{1}b\r\n"), outcome: .refused),
            .init(
                name: "a header that names a length to be dropped",
                bytes: request(headers: "Connection: content-length\r\nContent-Length: 5\r\n", body: "hello"),
                outcome: .passes("POST /a HTTP/1.1", body: "hello")
            ),
            .init(
                name: "a header that names the host to be dropped",
                bytes: request(get, headers: "Connection: host, x-a\r\nX-A: b\r\n"),
                outcome: .passes("GET /a HTTP/1.1")
            ),
            .init(
                name: "an upgrade to HTTP/2",
                bytes: request(
                    get,
                    headers:
                        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
                ),
                outcome: .passes("GET /a HTTP/1.1")
            ),

            // The first line.
            .init(name: "two spaces", bytes: request("GET  http://plain.acme.test/a HTTP/1.1"), outcome: .safe),
            .init(name: "a tab", bytes: request("GET\thttp://plain.acme.test/a HTTP/1.1"), outcome: .refused),
            .init(
                name: "a space in the target",
                bytes: request("GET http://plain.acme.test/a b HTTP/1.1"),
                outcome: .refused
            ),
            .init(
                name: "NUL in the target",
                bytes: request("GET http://plain.acme.test/a\u{0} HTTP/1.1"),
                outcome: .refused
            ),
            .init(name: "no version", bytes: "GET http://plain.acme.test/a\r\n", outcome: .refused),
            .init(name: "no version and headers", bytes: request("GET http://plain.acme.test/a"), outcome: .refused),
            .init(name: "HTTP/1.0", bytes: request("GET http://plain.acme.test/a HTTP/1.0"), outcome: .safe),
            .init(name: "HTTP/1.2", bytes: request("GET http://plain.acme.test/a HTTP/1.2"), outcome: .refused),
            .init(name: "HTTP/2.0", bytes: request("GET http://plain.acme.test/a HTTP/2.0"), outcome: .refused),
            .init(name: "HTTP/01.1", bytes: request("GET http://plain.acme.test/a HTTP/01.1"), outcome: .refused),
            .init(name: "http/1.1", bytes: request("GET http://plain.acme.test/a http/1.1"), outcome: .refused),
            .init(name: "HTTP/2 from the start", bytes: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", outcome: .refused),
            .init(
                name: "a made-up method",
                bytes: request("SMUGGLE http://plain.acme.test/a HTTP/1.1"),
                outcome: .safe
            ),
            .init(
                name: "a method in lower case",
                bytes: request("get http://plain.acme.test/a HTTP/1.1"),
                outcome: .safe
            ),

            // The target and the host.
            .init(
                name: "another host in Host",
                bytes: request(get, host: "Host: stranger.test\r\n"),
                outcome: .refused
            ),
            .init(
                name: "two hosts",
                bytes: request(get, host: "Host: plain.acme.test\r\nHost: stranger.test\r\n"),
                outcome: .refused
            ),
            .init(
                name: "the same host twice",
                bytes: request(get, host: "Host: plain.acme.test\r\nHost: plain.acme.test\r\n"),
                outcome: .refused
            ),
            .init(name: "no host", bytes: request(get, host: ""), outcome: .refused),
            .init(name: "an empty host", bytes: request(get, host: "Host: \r\n"), outcome: .refused),
            .init(
                name: "another port in Host",
                bytes: request(get, host: "Host: plain.acme.test:8080\r\n"),
                outcome: .refused
            ),
            .init(name: "a path for a target", bytes: request("GET /a HTTP/1.1"), outcome: .refused),
            .init(name: "an asterisk for a target", bytes: request("OPTIONS * HTTP/1.1"), outcome: .refused),
            .init(
                name: "a user in the target",
                bytes: request("GET http://stranger.test@plain.acme.test/a HTTP/1.1"),
                outcome: .refused
            ),
            .init(
                name: "the allowed host as user",
                bytes: request("GET http://plain.acme.test@stranger.test/a HTTP/1.1", host: "Host: stranger.test\r\n"),
                outcome: .refused
            ),
            .init(
                name: "the allowed host as user, backslash",
                bytes: request("GET http://stranger.test\\@plain.acme.test/a HTTP/1.1"),
                outcome: .refused
            ),
            .init(
                name: "a backslash behind the host",
                bytes: request("GET http://plain.acme.test\\.stranger.test/a HTTP/1.1"),
                outcome: .refused
            ),
            .init(name: "https", bytes: request("GET https://plain.acme.test/a HTTP/1.1"), outcome: .refused),
            .init(name: "ftp", bytes: request("GET ftp://plain.acme.test/a HTTP/1.1"), outcome: .refused),
            .init(
                name: "a fragment",
                bytes: request("GET http://plain.acme.test#@stranger.test/a HTTP/1.1"),
                outcome: .refused
            ),
            .init(
                name: "a fragment behind a path",
                bytes: request("GET http://plain.acme.test/a#b HTTP/1.1"),
                outcome: .safe
            ),
            .init(
                name: "a stranger",
                bytes: request("GET http://stranger.test/a HTTP/1.1", host: "Host: stranger.test\r\n"),
                outcome: .refused
            ),

            // More than one request.
            .init(
                name: "a second request behind the first",
                bytes: request(get) + second,
                outcome: .passes("GET /a HTTP/1.1")
            ),
            .init(
                name: "a second request with the secret",
                bytes: request(get) + request("GET http://plain.acme.test/second HTTP/1.1"),
                outcome: .passes("GET /a HTTP/1.1")
            ),
            .init(
                name: "a request as the body of GET without a length",
                bytes: request(get, headers: "Connection: keep-alive\r\n") + second,
                outcome: .passes("GET /a HTTP/1.1")
            ),
            .init(
                name: "more bytes than the length",
                bytes: request(headers: "Content-Length: 5\r\n", body: "hello" + second),
                outcome: .passes("POST /a HTTP/1.1", body: "hello")
            ),
            .init(
                name: "more bytes than the chunks",
                bytes: request(headers: "Transfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n" + second),
                outcome: .passes("POST /a HTTP/1.1", body: "hello")
            ),
            .init(
                name: "a request inside of a body",
                bytes: request(headers: "Content-Length: \(second.utf8.count)\r\n", body: second),
                outcome: .passes("POST /a HTTP/1.1", body: second)
            ),

            // Chunks (RFC 9112, section 7.1).
            .init(
                name: "a chunk with an extension",
                bytes: request(headers: "Transfer-Encoding: chunked\r\n", body: "5;a=b\r\nhello\r\n0\r\n\r\n"),
                outcome: .safe
            ),
            .init(
                name: "a chunk with LF in an extension",
                bytes: request(headers: "Transfer-Encoding: chunked\r\n", body: "5;a\nhello\r\n0\r\n\r\n"),
                outcome: .safe
            ),
            .init(
                name: "a chunk size with leading zeros",
                bytes: request(headers: "Transfer-Encoding: chunked\r\n", body: "0005\r\nhello\r\n00\r\n\r\n"),
                outcome: .safe
            ),
            .init(
                name: "a chunk size with 0x",
                bytes: request(headers: "Transfer-Encoding: chunked\r\n", body: "0x5\r\nhello\r\n0\r\n\r\n"),
                outcome: .safe
            ),
            .init(
                name: "a chunk size with a sign",
                bytes: request(headers: "Transfer-Encoding: chunked\r\n", body: "+5\r\nhello\r\n0\r\n\r\n"),
                outcome: .safe
            ),
            .init(
                name: "a chunk size with a space",
                bytes: request(headers: "Transfer-Encoding: chunked\r\n", body: "5 \r\nhello\r\n0\r\n\r\n"),
                outcome: .safe
            ),
            .init(
                name: "a chunk size beyond 64 bits",
                bytes: request(
                    headers: "Transfer-Encoding: chunked\r\n",
                    body: "10000000000000005\r\nhello\r\n0\r\n\r\n"
                ),
                outcome: .safe
            ),
            .init(
                name: "a chunk that is too long",
                bytes: request(headers: "Transfer-Encoding: chunked\r\n", body: "5\r\nhelloworld\r\n0\r\n\r\n"),
                outcome: .safe
            ),
            .init(
                name: "chunks that end with LF",
                bytes: request(headers: "Transfer-Encoding: chunked\r\n", body: "5\nhello\n0\n\n"),
                outcome: .safe
            ),
            .init(
                name: "a trailer",
                bytes: request(
                    headers: "Transfer-Encoding: chunked\r\nTrailer: X-A\r\n",
                    body: "5\r\nhello\r\n0\r\nX-A: b\r\n\r\n"
                ),
                outcome: .safe
            ),
            .init(
                name: "a length as a trailer",
                bytes: request(
                    headers: "Transfer-Encoding: chunked\r\n",
                    body: "5\r\nhello\r\n0\r\nContent-Length: 99\r\n\r\n"
                ),
                outcome: .safe
            ),

            // Too much.
            .init(
                name: "a header of 100 KiB",
                bytes: request(get, headers: "X: \(String(repeating: "a", count: 100 << 10))\r\n"),
                outcome: .refused
            ),
            .init(
                name: "a target of 100 KiB",
                bytes: request("GET http://plain.acme.test/\(String(repeating: "a", count: 100 << 10)) HTTP/1.1"),
                outcome: .refused
            ),
            .init(
                name: "5,000 headers",
                bytes: request(get, headers: (0..<5000).map { "X\($0): y\r\n" }.joined()),
                outcome: .refused
            ),
            .init(
                name: "no end of a header",
                bytes: "GET http://plain.acme.test/a HTTP/1.1\r\nX: " + String(repeating: "a", count: 1 << 20),
                outcome: .refused
            ),

            // CONNECT.
            .init(
                name: "CONNECT without a port",
                bytes: request("CONNECT plain.acme.test HTTP/1.1"),
                outcome: .refused
            ),
            .init(
                name: "CONNECT with a scheme",
                bytes: request("CONNECT http://plain.acme.test:80 HTTP/1.1"),
                outcome: .refused
            ),
            .init(
                name: "CONNECT with a path",
                bytes: request("CONNECT plain.acme.test:80/ HTTP/1.1"),
                outcome: .refused
            ),
            .init(
                name: "CONNECT with a user",
                bytes: request("CONNECT plain.acme.test:80@stranger.test:80 HTTP/1.1"),
                outcome: .refused
            ),
            .init(
                name: "CONNECT with another Host",
                bytes: request("CONNECT plain.acme.test:80 HTTP/1.1", host: "Host: stranger.test:80\r\n"),
                outcome: .refused
            ),
            .init(
                name: "CONNECT to a stranger with an allowed Host",
                bytes: request("CONNECT stranger.test:443 HTTP/1.1", host: "Host: plain.acme.test:443\r\n"),
                outcome: .refused
            ),
            .init(
                name: "CONNECT with a length",
                bytes: request(
                    "CONNECT plain.acme.test:80 HTTP/1.1",
                    host: "Host: plain.acme.test:80\r\n",
                    headers: "Content-Length: 5\r\n",
                    body: "hello"
                ),
                outcome: .refused
            ),
            .init(
                name: "CONNECT with chunks",
                bytes: request(
                    "CONNECT plain.acme.test:80 HTTP/1.1",
                    host: "Host: plain.acme.test:80\r\n",
                    headers: "Transfer-Encoding: chunked\r\n",
                    body: "0\r\n\r\n"
                ),
                outcome: .refused
            ),

            // Who asks.
            .init(name: "no secret", bytes: "\(get)\r\nHost: plain.acme.test\r\n\r\n", outcome: .refused),
            .init(
                name: "a wrong secret",
                bytes: "\(get)\r\nHost: plain.acme.test\r\nProxy-Authorization: Basic eDp5\r\n\r\n",
                outcome: .refused
            ),
            .init(name: "the secret twice", bytes: request(get, headers: "$AUTHORIZATION\r\n"), outcome: .refused),
            .init(
                name: "the secret for the server",
                bytes: request(get).replacingOccurrences(of: "$AUTHORIZATION", with: "$SERVERAUTHORIZATION"),
                outcome: .refused
            ),
        ]

        @Test("no shape puts a second request, or a byte that is not strict, upstream")
        func shapes() async throws {
            let policy = """
                { "version": 1, "organization": "acme", "registries": [
                    { "address": "plain.acme.test:80", "allowed": true, "insecure": true } ] }
                """
            try await withTemporaryDirectory { (directory: String) async throws in
                try await PrivateNetwork.with(in: directory) { network in
                    try await RecordingServer.with(network, address: Self.host.address, port: 80) { server in
                        try await PrivateDaemon.with(in: directory, network, policy: policy) { daemon in
                            let authorization = try daemon.authorization.trimmingCharacters(in: .newlines)
                            for shape in Self.shapes {
                                let before = server.received.count
                                let bytes = shape.bytes
                                    .replacingOccurrences(of: "$AUTHORIZATION", with: authorization)
                                    .replacingOccurrences(
                                        of: "$SERVERAUTHORIZATION",
                                        with: authorization.replacingOccurrences(of: "Proxy-", with: "")
                                    )
                                let answer = try network.inside {
                                    let connection = try RawConnection(to: "127.0.0.1", port: PrivateDaemon.port)
                                    connection.send(bytes)
                                    connection.finish()
                                    return String(decoding: connection.readToEnd(), as: UTF8.self)
                                }
                                // What is still on its way to the server belongs to this shape too.
                                let dialed = try await network.connections(to: Self.host.address)
                                try await waitUntil("the server has read all of: \(shape.name)") {
                                    server.ended == dialed
                                }
                                check(shape, answer, server.received.dropFirst(before).map(\.self), authorization)
                            }
                            #expect(try await network.connections(to: PrivateNetwork.Host.stranger.address) == 0)
                        }
                    }
                }
            }
        }

        private func check(_ shape: Shape, _ answer: String, _ received: [[UInt8]], _ authorization: String) {
            let texts = received.map { String(decoding: $0, as: UTF8.self) }
            let all = "\(shape.name): answered \(answer.prefix(200).debugDescription), server got \(texts)"
            #expect(received.count <= 1, "\(all)")
            let status = Int(answer.dropFirst("HTTP/1.1 ".count).prefix(3))
            #expect(answer.matches(of: /HTTP\/1\.[01] [0-9]/).count <= 1, "two answers: \(all)")
            let secret = authorization.split(separator: " ").last.map(String.init) ?? authorization
            #expect(!texts.contains { $0.contains(secret.trimmingCharacters(in: .newlines)) }, "\(all)")
            switch shape.outcome {
            case .refused:
                #expect(received.isEmpty, "\(all)")
                #expect(status == nil || [400, 403, 407, 431, 505].contains(status), "\(all)")
            case .passes(let start, let body):
                #expect(received.count == 1, "\(all)")
                #expect(status == 200, "\(all)")
                let request = received.first.flatMap { StrictRequest($0) }
                #expect(request?.line == start, "\(all)")
                #expect(request?.body == Array(body.utf8), "\(all)")
                #expect(request?.isComplete == true, "\(all)")
            case .safe:
                guard let first = received.first, !first.isEmpty else { break }
                // A body of which the end does not come may be cut off: nobody can take it for a whole one.
                let request = StrictRequest(first)
                #expect(request != nil, "\(all)")
                #expect(request?.isComplete == true || status != 200, "\(all)")
            }
        }
    }
}

/// One request of HTTP/1.1, read as strictly as RFC 9112 allows: a reader that refuses what another might see a second
/// request in.
struct StrictRequest {
    /// The first line.
    let line: String
    /// The headers, their names in lower case.
    let headers: [(name: String, value: String)]
    /// The body without its framing.
    private(set) var body: [UInt8] = []
    /// Whether the body has come to its end.
    private(set) var isComplete = false

    /// Reads it.
    ///
    /// - Parameter bytes: all that came over one connection.
    init?(_ bytes: [UInt8]) {
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let head = bytes[..<end.lowerBound]
        guard head.allSatisfy({ (0x20...0x7E).contains($0) || $0 == 0x0D || $0 == 0x0A }) else { return nil }
        let lines = String(decoding: head, as: UTF8.self).components(separatedBy: "\r\n")
        guard !lines.contains(where: { $0.contains("\r") || $0.contains("\n") || $0.isEmpty }) else { return nil }
        let words = lines[0].components(separatedBy: " ")
        guard words.count == 3, !words.contains(""), words[1].hasPrefix("/") || words[1] == "*",
            words[2] == "HTTP/1.1"
        else { return nil }
        line = lines[0]
        var headers: [(name: String, value: String)] = []
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let name = line[..<colon]
            guard !name.isEmpty, name.utf8.allSatisfy({ Self.isToken($0) }) else { return nil }
            headers.append((name.lowercased(), line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)))
        }
        self.headers = headers
        func values(_ name: String) -> [String] { headers.filter { $0.name == name }.map(\.value) }
        guard values("host").count == 1, values("connection") == ["close"], values("proxy-authorization").isEmpty else {
            return nil
        }
        let rest = bytes[end.upperBound...]
        switch (values("content-length"), values("transfer-encoding")) {
        case ([], []):
            guard rest.isEmpty else { return nil }
            isComplete = true
        case (let lengths, []) where lengths.count == 1:
            guard let length = Int(lengths[0]), lengths[0] == "\(length)", length >= 0, rest.count <= length else {
                return nil
            }
            body = Array(rest)
            isComplete = body.count == length
        case ([], ["chunked"]):
            guard readChunks(rest) else { return nil }
        default: return nil
        }
    }

    private mutating func readChunks(_ bytes: ArraySlice<UInt8>) -> Bool {
        var rest = bytes
        let lineEnd = Array("\r\n".utf8)
        while !rest.isEmpty {
            guard let end = rest.firstRange(of: lineEnd) else { return rest.allSatisfy(Self.isHexadecimal) }
            let size = rest[..<end.lowerBound]
            guard !size.isEmpty, size.allSatisfy(Self.isHexadecimal), size.first != 0x30 || size.count == 1,
                let count = Int(String(decoding: size, as: UTF8.self), radix: 16)
            else { return false }
            rest = rest[end.upperBound...]
            if count == 0 {
                // No trailers, and nothing behind the end.
                isComplete = rest.elementsEqual(lineEnd)
                return isComplete || rest.isEmpty
            }
            body += rest.prefix(count)
            rest = rest.dropFirst(count)
            guard rest.count >= 2 else { return rest.isEmpty || rest.first == 0x0D }
            guard rest.starts(with: lineEnd) else { return false }
            rest = rest.dropFirst(2)
        }
        return true
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x46).contains(byte & 0xDF)
    }

    private static func isToken(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF) || "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
}
