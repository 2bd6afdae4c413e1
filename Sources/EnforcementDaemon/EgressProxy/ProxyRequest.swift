import LocalInstallation
import NIOHTTP1
import RegistryAccess

/// What a client of the proxy wants, read from the head of its request.
///
/// There are two forms (RFC 9112, sections 3.2.2 and 3.2.3): `CONNECT host:port` and `GET http://host/path`. The target alone
/// says where it goes, and a `Host` that says something else is refused.
enum ProxyRequest: Equatable {
    /// A tunnel.
    case tunnel(Destination)
    /// A request to pass on over plain HTTP.
    case forward(Destination, ForwardedRequest)
    /// A question to the proxy itself: whether it is there.
    case probe

    /// Where it goes.
    struct Destination: Equatable {
        /// Host and port as they were written.
        let authority: String
        /// The same as it was understood.
        let target: Result<EgressTarget, InvalidRegistryAddress>
    }

    /// Reads a head.
    ///
    /// - Throws: ``Fault`` if there is any doubt about what a next reader would make of it.
    init(_ head: HTTPRequestHead) throws(Fault) {
        guard head.version == .http1_1 || head.version == .http1_0 else { throw .version }
        guard head.headers.allSatisfy({ Self.isField($0.name, $0.value) }) else { throw .header }
        if head.method == .CONNECT {
            guard !head.headers.contains(name: "Content-Length"), !head.headers.contains(name: "Transfer-Encoding")
            else {
                throw .body
            }
            let destination = Self.destination(head.uri, defaultPort: nil)
            try Self.checkHost(head, destination)
            self = .tunnel(destination)
            return
        }
        let scheme = "http://"
        if head.uri.utf8.starts(with: scheme.utf8) {
            let rest = head.uri.utf8.dropFirst(scheme.utf8.count)
            let end = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? rest.endIndex
            let authority = String(decoding: rest[..<end], as: UTF8.self)
            let path = String(decoding: rest[end...], as: UTF8.self)
            guard path.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }) else { throw .target }
            let destination = Self.destination(authority, defaultPort: 80)
            try Self.checkHost(head, destination)
            self = .forward(destination, try ForwardedRequest(head, path: path))
            return
        }
        guard head.uri == "/", head.method == .GET || head.method == .HEAD else { throw .target }
        self = .probe
    }

    private static func destination(_ authority: String, defaultPort: UInt16?) -> Destination {
        let target = Result { () throws(InvalidRegistryAddress) in
            try EgressTarget(authority: authority, defaultPort: defaultPort)
        }
        return Destination(authority: authority, target: target)
    }

    private static func checkHost(_ head: HTTPRequestHead, _ destination: Destination) throws(Fault) {
        let hosts = head.headers[canonicalForm: "Host"]
        guard hosts.count <= 1 else { throw .host }
        guard let host = hosts.first else {
            // HTTP/1.1 demands one; nobody but an attacker leaves it out.
            guard head.version == .http1_0 else { throw .host }
            return
        }
        switch destination.target {
        case .success(let target):
            let written = try? EgressTarget(authority: host, defaultPort: head.method == .CONNECT ? target.port : 80)
            guard written == target else { throw .host }
        case .failure:
            guard host.utf8.elementsEqual(destination.authority.utf8) else { throw .host }
        }
    }

    /// Whether a header is a token and a text of one line (RFC 9110, sections 5.1 and 5.5).
    static func isField(_ name: String, _ value: String) -> Bool {
        let isToken = name.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
        }
        return isToken && !name.isEmpty && value.utf8.allSatisfy { $0 == 0x09 || ($0 >= 0x20 && $0 != 0x7F) }
    }

    /// Why a head is refused.
    enum Fault: Error, Equatable, CustomStringConvertible {
        /// The parser found it doubtful.
        case syntax
        /// It is too long.
        case tooLarge
        /// Neither HTTP/1.1 nor HTTP/1.0.
        case version
        /// A header that a next reader might read differently.
        case header
        /// A target of another form.
        case target
        /// `Host` is missing, comes twice, or is not that of the target.
        case host
        /// A `CONNECT` with a body, or a body whose end is doubtful.
        case body

        var description: String {
            switch self {
            case .syntax: "the request is not HTTP/1.1 with a single reading"
            case .tooLarge: "the head of the request is too large"
            case .version: "the HTTP version is unknown"
            case .header: "a header has no single reading"
            case .target: "the proxy takes CONNECT and http:// only"
            case .host: "the Host header does not agree with the target"
            case .body: "the body of the request has no single reading"
            }
        }
    }
}

/// A request over plain HTTP as it is passed on: made anew from what was read, without what is meant for the proxy.
struct ForwardedRequest: Equatable {
    let method: HTTPMethod
    /// The target behind the host, which begins with a slash.
    let path: String
    /// The headers that are meant for the other end, without `Host` and framing.
    let headers: HTTPHeaders
    let framing: MessageFraming
    /// Whether the client understands a chunked response, as everybody does but one of HTTP/1.0.
    let takesChunks: Bool

    init(_ head: HTTPRequestHead, path: String) throws(ProxyRequest.Fault) {
        method = head.method
        // `OPTIONS http://host` asks about the whole server, and `?query` alone stands for the path `/`.
        self.path = path.isEmpty ? (head.method == .OPTIONS ? "*" : "/") : path.hasPrefix("/") ? path : "/\(path)"
        guard let framing = MessageFraming(head.headers), head.version == .http1_1 || framing != .chunked else {
            throw .body
        }
        self.framing = framing
        takesChunks = head.version == .http1_1
        headers = MessageFraming.endToEnd(head.headers)
    }

    /// The head for the next reader.
    ///
    /// - Parameters:
    ///   - destination: where it goes.
    ///   - upstream: the proxy behind us, `nil` if the next reader is the destination itself.
    /// - Returns: the head.
    func head(to destination: ProxyRequest.Destination, through upstream: UpstreamProxy?) -> HTTPRequestHead {
        let authority = destination.forwardedAuthority
        var headers = HTTPHeaders([("Host", authority)])
        if let authorization = upstream?.authorization {
            headers.add(name: "Proxy-Authorization", value: authorization)
        }
        headers.add(contentsOf: self.headers)
        if let header = framing.header { headers.add(name: header.name, value: header.value) }
        headers.add(name: "Connection", value: "close")
        let uri = upstream == nil ? path : "http://\(authority)\(path == "*" ? "" : path)"
        return HTTPRequestHead(version: .http1_1, method: method, uri: uri, headers: headers)
    }
}

/// How the end of a message's body is found (RFC 9112, section 6).
enum MessageFraming: Equatable {
    /// There is no body; for a response: it ends with the connection.
    case none
    case length(Int)
    case chunked

    /// Reads it from headers.
    ///
    /// The parser refuses most of what is doubtful already; this refuses what another reader might still see in it.
    ///
    /// - Returns: `nil` if the headers have no single reading.
    init?(_ headers: HTTPHeaders) {
        let encodings = headers[canonicalForm: "Transfer-Encoding"]
        let lengths = headers[canonicalForm: "Content-Length"]
        switch (encodings.count, lengths.count) {
        case (0, 0): self = .none
        case (0, 1):
            guard !lengths[0].isEmpty, lengths[0].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let length = Int(lengths[0])
            else { return nil }
            self = .length(length)
        case (1, 0):
            // On bytes, because Swift holds the Kelvin sign for a k.
            guard encodings[0].utf8.map({ $0 | 0x20 }).elementsEqual("chunked".utf8) else { return nil }
            self = .chunked
        default: return nil
        }
    }

    /// The header that says it.
    var header: (name: String, value: String)? {
        switch self {
        case .none: nil
        case .length(let length): ("Content-Length", String(length))
        case .chunked: ("Transfer-Encoding", "chunked")
        }
    }

    /// What RFC 9110, section 7.6.1, and habit mean for one connection only, and what frames the message there.
    private static let hopByHop: Set<String> = [
        "connection", "content-length", "host", "http2-settings", "keep-alive", "proxy-authenticate",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    ]

    /// The headers that are meant for the other end.
    static func endToEnd(_ headers: HTTPHeaders) -> HTTPHeaders {
        let named = Set(headers[canonicalForm: "Connection"].map { $0.lowercased() })
        return HTTPHeaders(
            headers.filter { header in
                let name = header.name.lowercased()
                return !hopByHop.contains(name) && !named.contains(name)
            }.map { ($0.name, $0.value) }
        )
    }
}

extension ProxyRequest.Destination {
    /// Host and port as they are passed on: the port is left out if it is 80.
    var forwardedAuthority: String {
        guard case .success(let target) = target else { return authority }
        return target.port == 80 ? String(target.authority.dropLast(3)) : target.authority
    }
}

extension UpstreamProxy {
    /// The value of `Proxy-Authorization`, if the proxy wants one.
    var authorization: String? {
        credentials.map { "Basic \(StrictBase64.encode(Array($0.text.utf8)))" }
    }
}
