import AsyncHTTPClient
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import RegistryAccess

/// Why the server did not do what was asked.
public enum ServerFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// It cannot be reached, or the exchange broke off.
    case unreachable(String)
    /// Nobody vouches that it is the server, or TLS is not what it should be.
    case untrusted(String)
    /// It took too long.
    case tooSlow(Duration)
    /// It sent more than is read.
    case tooLong(limit: Int)
    /// It sent elsewhere.
    case redirect
    /// What was asked for is not there.
    case notFound
    /// It refused; the code is one of its closed set, or of RFC 6749 or 8628.
    case refused(status: UInt, code: String)
    /// It answered something that says nothing.
    case status(UInt)
    /// It answered what cannot be understood.
    case malformed(String)

    /// What is wrong, lower-case.
    public var description: String {
        switch self {
        case .unreachable(let words), .untrusted(let words): words
        case .tooSlow(let time): "the server took longer than \(time.components.seconds) seconds"
        case .tooLong(let limit): "the server sent more than \(limit) bytes"
        case .redirect: "the server sends elsewhere, and nobody follows"
        case .notFound: "the server does not have it (404)"
        case .refused(let status, let code): "the server refused: \(code) (\(status))"
        case .status(let status): "the server answered with status \(status)"
        case .malformed(let words): "the server's answer cannot be understood: \(words)"
        }
    }

    /// The code with which the server refused, if it did.
    public var code: String? {
        if case .refused(_, let code) = self { code } else { nil }
    }

    /// Whether the same question may be answered later: the network, or the server itself, was not as it should be.
    var mayPass: Bool {
        switch self {
        case .unreachable, .tooSlow: true
        case .refused(let status, _), .status(let status): status == 429 || status >= 500
        case .untrusted, .tooLong, .redirect, .notFound, .malformed: false
        }
    }

    /// Reads why a server refused: a problem (RFC 9457) or an error of OAuth (RFC 6749).
    init(status: UInt, body: [UInt8]) {
        let answer = try? StrictJSON.parse(body, limits: StrictJSON.Limits(bytes: 64 << 10, depth: 4))
        let code = answer.flatMap { $0.value(named: "code")?.text ?? $0.value(named: "error")?.text }
        let isCode = code.map { !$0.isEmpty && $0.utf8.count <= 64 && $0.utf8.allSatisfy(Self.isPartOfCode) } ?? false
        if let code, isCode {
            self = .refused(status: status, code: code)
        } else {
            self = status == 404 ? .notFound : .status(status)
        }
    }

    private static func isPartOfCode(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."): true
        default: false
        }
    }

    /// Says what a library says in our own words, as far as it is known.
    ///
    /// - Parameters:
    ///   - error: what the library says.
    ///   - proxy: through which proxy the exchange went, if through one.
    init(unexplained error: any Error, through proxy: OrganizationClient.Proxy?) {
        let place = proxy.map { "the proxy \($0.address)" } ?? "the server"
        switch error {
        case let error as HTTPClientError where error == .connectTimeout:
            self = .unreachable("\(place) does not answer")
        case let error as HTTPClientError where error == .httpProxyHandshakeTimeout:
            self = .unreachable("\(place) opens no tunnel in time")
        case let error as HTTPClientError where error == .proxyAuthenticationRequired:
            self = .unreachable("\(place) does not accept the user and the secret (407)")
        // Some proxies answer like this also where user and secret are wrong.
        case let error as HTTPClientError where error == .invalidProxyResponse:
            self = .unreachable("\(place) opens no tunnel to the server")
        case let error as HTTPClientError where error == .remoteConnectionClosed: self = .cutOff
        case let error as HTTPParserError where error == .invalidEOFState: self = .cutOff
        case is HTTPParserError: self = .unreachable("the server does not speak HTTP as it should")
        case let error as NIOConnectionError: self.init(error, of: place)
        case let error as IOError where error.errnoCode == ECONNREFUSED:
            self = .unreachable("\(place) refuses connections")
        case let error as IOError: self = .unreachable("the exchange broke off: \(Self.words(error.errnoCode))")
        case is CancellationError: self = .unreachable("the exchange was ended")
        case let error as HTTPClientError: self = .unreachable("the exchange failed: \(error.shortDescription)")
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError:
            self.init(tls: error)
        default: self = .unreachable("\(place) cannot be reached: \(Self.firstLine(error))")
        }
    }

    private init(_ error: NIOConnectionError, of place: String) {
        // Where there is no address at all, nothing was attempted.
        guard let last = error.connectionErrors.last?.error else {
            self = .unreachable("the name \"\(error.host)\" cannot be found")
            return
        }
        switch last {
        case let error as IOError where error.errnoCode == ECONNREFUSED:
            self = .unreachable("\(place) refuses connections")
        case let error as IOError: self = .unreachable("\(place) cannot be reached: \(Self.words(error.errnoCode))")
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError: self.init(tls: last)
        default: self = .unreachable("\(place) does not answer")
        }
    }

    private init(tls error: any Error) {
        if let error = error as? NIOSSLExtraError, error == .failedToValidateHostname {
            self = .untrusted("the server's certificate is for another host")
            return
        }
        // BoringSSL says why behind this word, and then where in its source that is.
        let line = Self.firstLine(error)
        let reason = line.firstRange(of: "OPENSSL_internal:").map { line[$0.upperBound...].prefix { $0 != " " } }
        switch reason {
        case "WRONG_VERSION_NUMBER", "HTTP_REQUEST":
            self = .unreachable("the server does not speak TLS on this port")
        case "CERTIFICATE_VERIFY_FAILED":
            self = .untrusted(
                "the server's certificate is not accepted: no authority that this machine trusts has signed it, "
                    + "or it has ended"
            )
        default:
            self = .untrusted("the server's certificate or TLS is not accepted: \(reason.map(String.init) ?? line)")
        }
    }

    private static func words(_ code: CInt) -> String { String(cString: strerror(code)).lowercased() }

    private static let cutOff = ServerFault.unreachable(
        "the server closed the connection before its answer was complete"
    )

    private static func firstLine(_ error: any Error) -> String {
        let line = "\(error)".split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
        return String(line.prefix(200))
    }
}
