@testable import EnforcementDaemon
import NIOHTTP1
import RegistryAccess
import Testing

/// The heads of requests to the egress proxy.
struct ProxyRequestTests {
    static func head(
        _ method: HTTPMethod,
        _ uri: String,
        _ headers: [(String, String)],
        version: HTTPVersion = .http1_1
    ) -> HTTPRequestHead {
        HTTPRequestHead(version: version, method: method, uri: uri, headers: HTTPHeaders(headers))
    }

    @Test(
        "tunnels",
        arguments: [
            ("ghcr.io:443", "ghcr.io", "ghcr.io", 443), ("GHCR.io:443", "ghcr.io", "ghcr.io", 443),
            ("registry.acme.test:5000", "registry.acme.test:5000", "registry.acme.test", 5000),
            ("registry-1.docker.io:443", "docker.io", "registry-1.docker.io", 443),
            ("[::1]:443", "[::1]", "::1", 443), ("[::ffff:10.0.0.1]:443", "10.0.0.1", "10.0.0.1", 443),
        ]
    )
    func tunnels(uri: String, address: String, host: String, port: UInt16) throws {
        let request = try ProxyRequest(Self.head(.CONNECT, uri, [("Host", uri)]))
        guard case .tunnel(let destination) = request else { return #expect(Bool(false), "\(request)") }
        let target = try destination.target.get()
        #expect(target.address.description == address)
        #expect(target.host == host)
        #expect(target.port == port)
    }

    @Test(
        "destinations that cannot be read are for the policy to refuse",
        arguments: [
            "127.1:443", "2130706433:443", "0x7f.0.0.1:443", "evil.test:0443", "evil.test.:443", "evil.test",
            "evil.test:",
            "user@evil.test:443", "evil_.test:443", "[fe80::1%25eth0]:443", "evil.test:443:443", ":443",
            "evil.test:99999",
        ]
    )
    func unreadable(uri: String) throws {
        let request = try ProxyRequest(Self.head(.CONNECT, uri, [("Host", uri)]))
        guard case .tunnel(let destination) = request, case .failure = destination.target else {
            return #expect(Bool(false), "\(request)")
        }
    }

    @Test(
        "requests to pass on",
        arguments: [
            ("http://plain.test/v2/", "plain.test", "/v2/", "plain.test"),
            ("http://plain.test:5000/v2/?a=b", "plain.test:5000", "/v2/?a=b", "plain.test:5000"),
            ("http://plain.test", "plain.test:80", "/", "plain.test"),
            ("http://plain.test?a", "plain.test", "/?a", "plain.test"),
            ("http://PLAIN.test:80/A", "plain.test", "/A", "plain.test"),
            ("http://[::1]:5000/x", "[::1]:5000", "/x", "[::1]:5000"),
        ]
    )
    func forwards(uri: String, host: String, path: String, written: String) throws {
        let request = try ProxyRequest(Self.head(.GET, uri, [("Host", host), ("A", "b")]))
        guard case .forward(let destination, let forwarded) = request else { return #expect(Bool(false), "\(request)") }
        let head = forwarded.head(to: destination, through: nil)
        #expect(head.uri == path)
        #expect(head.headers["Host"] == [written])
        #expect(head.headers["A"] == ["b"])
        #expect(head.headers["Connection"] == ["close"])
    }

    typealias Doubtful = (HTTPMethod, String, [(String, String)], ProxyRequest.Fault)

    @Test(
        "doubtful heads go nowhere",
        arguments: [
            (.CONNECT, "ghcr.io:443", [], .host),
            (.CONNECT, "ghcr.io:443", [("Host", "evil.test:443")], .host),
            (.CONNECT, "ghcr.io:443", [("Host", "ghcr.io:443"), ("Host", "ghcr.io:443")], .host),
            (.CONNECT, "ghcr.io:443", [("Host", "ghcr.io:443, evil.test")], .host),
            (.CONNECT, "ghcr.io:443", [("Host", "ghcr.io:443"), ("Content-Length", "5")], .body),
            (.CONNECT, "ghcr.io:443", [("Host", "ghcr.io:443"), ("Transfer-Encoding", "chunked")], .body),
            (.CONNECT, "ghcr.io:443", [("Host", "ghcr.io:443"), ("A b", "c")], .header),
            (.CONNECT, "ghcr.io:443", [("Host", "ghcr.io:443"), ("A", "c\u{1}")], .header),
            (.CONNECT, "ghcr.io:443", [("Host", "ghcr.io:443"), ("A", "c\rB: d")], .header),
            (.GET, "http://plain.test/", [("Host", "evil.test")], .host),
            (.GET, "http://plain.test/", [("Host", "plain.test:8080")], .host),
            (.GET, "http://plain.test/", [("Host", "plain.test@evil.test")], .host),
            (.GET, "http://plain.test/a b", [("Host", "plain.test")], .target),
            (.GET, "http://plain.test/a#b", [("Host", "plain.test")], .target),
            (.GET, "http://plain.test/\u{E9}", [("Host", "plain.test")], .target),
            (.GET, "https://plain.test/", [("Host", "plain.test")], .target),
            (.GET, "HTTP://plain.test/", [("Host", "plain.test")], .target),
            (.GET, "ftp://plain.test/", [("Host", "plain.test")], .target),
            (.GET, "//plain.test/", [("Host", "plain.test")], .target),
            (.GET, "/v2/", [("Host", "plain.test")], .target), (.OPTIONS, "*", [("Host", "plain.test")], .target),
            (.POST, "/", [("Host", "plain.test")], .target),
            (.POST, "http://plain.test/", [("Host", "plain.test"), ("Content-Length", "1, 1")], .body),
            (.POST, "http://plain.test/", [("Host", "plain.test"), ("Content-Length", "+1")], .body),
            (.POST, "http://plain.test/", [("Host", "plain.test"), ("Content-Length", "1 2")], .body),
            (
                .POST, "http://plain.test/",
                [("Host", "plain.test"), ("Content-Length", "1"), ("Transfer-Encoding", "chunked")], .body
            ),
            (.POST, "http://plain.test/", [("Host", "plain.test"), ("Transfer-Encoding", "xchunked")], .body),
            (.POST, "http://plain.test/", [("Host", "plain.test"), ("Transfer-Encoding", "gzip, chunked")], .body),
            (.POST, "http://plain.test/", [("Host", "plain.test"), ("Transfer-Encoding", "chun\u{212A}ed")], .body),
        ] as [Doubtful]
    )
    func doubtful(method: HTTPMethod, uri: String, headers: [(String, String)], fault: ProxyRequest.Fault) {
        #expect(throws: fault) { try ProxyRequest(Self.head(method, uri, headers)) }
    }

    @Test("a version that is none of ours goes nowhere")
    func versions() {
        let head = Self.head(
            .GET,
            "http://plain.test/",
            [("Host", "plain.test")],
            version: HTTPVersion(major: 2, minor: 0)
        )
        #expect(throws: ProxyRequest.Fault.version) { try ProxyRequest(head) }
    }

    @Test("what is for the proxy alone is not passed on")
    func hopByHop() throws {
        let headers = [
            ("Host", "plain.test"), ("Proxy-Authorization", "Basic c2VjcmV0"), ("Proxy-Connection", "keep-alive"),
            ("Connection", "keep-alive, X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "5"), ("TE", "trailers"),
            ("Trailer", "X"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
            ("Transfer-Encoding", "Chunked"), ("Authorization", "Bearer t"),
        ]
        guard
            case .forward(let destination, let forwarded) = try ProxyRequest(
                Self.head(.POST, "http://plain.test/", headers)
            )
        else { throw ProxyRequest.Fault.target }
        let direct = forwarded.head(to: destination, through: nil)
        #expect(
            direct.headers.map { "\($0.name): \($0.value)" } == [
                "Host: plain.test", "Authorization: Bearer t", "Transfer-Encoding: chunked", "Connection: close",
            ]
        )
    }
}
