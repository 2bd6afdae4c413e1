import RegistryAccess

/// Another proxy that the egress proxy goes through, as in corporate networks.
public struct UpstreamProxy: Hashable, Sendable {
    /// Its host: a name, or an IP address without brackets.
    public let host: String
    /// Its port.
    public let port: UInt16
    /// What is sent as `Proxy-Authorization`, if it wants to know who we are: `user:password` before it is encoded.
    public let credentials: Secret?

    /// Reads `http://user:password@host:port`; user and password may hold percent escapes.
    ///
    /// - Parameter url: the URL; its port is 3128 if it says none, as squid's is.
    /// - Throws: ``InvalidUpstreamProxy``, which does not repeat the URL.
    public init(url: Secret) throws(InvalidUpstreamProxy) {
        let text = url.text
        let scheme = "http://"
        guard text.utf8.starts(with: scheme.utf8) else { throw .scheme }
        var rest = Substring(text.dropFirst(scheme.count))
        if rest.utf8.last == 0x2F { rest = rest.dropLast() }
        guard !rest.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7F || $0 == 0x2F || $0 == 0x3F || $0 == 0x23 }) else {
            throw .address
        }
        if let at = rest.lastIndex(of: "@") {
            guard let decoded = Self.decoded(rest[..<at]), decoded.utf8.contains(0x3A) else { throw .credentials }
            credentials = Secret(decoded)
            rest = rest[rest.index(after: at)...]
        } else {
            credentials = nil
        }
        do throws(InvalidRegistryAddress) {
            let target = try EgressTarget(authority: rest, defaultPort: 3128)
            host = target.host
            port = target.port
        } catch {
            throw .address
        }
    }

    /// The address without user and password.
    public var address: String { host.utf8.contains(0x3A) ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Percent escapes undone; `nil` if one is broken or stands for no printable character.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8
        while let byte = rest.popFirst() {
            guard byte == 0x25 else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2).compactMap { hexadecimalValue($0) }
            guard digits.count == 2 else { return nil }
            rest = rest.dropFirst(2)
            bytes.append(digits[0] << 4 | digits[1])
        }
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func hexadecimalValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}

/// Why a text is not the address of a proxy.
public enum InvalidUpstreamProxy: Error, Equatable, Sendable, CustomStringConvertible {
    /// It does not begin with `http://`.
    case scheme
    /// User and password cannot be read.
    case credentials
    /// Host and port cannot be read, or something stands behind them.
    case address

    /// What is wrong, without the address itself, which may hold a password.
    public var description: String {
        switch self {
        case .scheme: "a proxy is written as http://host:port; https:// and socks:// are not supported"
        case .credentials: "user and password before the \"@\" cannot be read; write user:password with percent escapes"
        case .address: "host and port of the proxy cannot be read; write http://host:port"
        }
    }
}
