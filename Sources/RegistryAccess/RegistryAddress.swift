/// A registry as the policy names it: a host and, unless it is 443, a port.
///
/// Every part of the product turns bytes into an address here and nowhere else, so that what one enforcement
/// point refuses no other reads differently. It works on ASCII bytes; what is doubtful is refused, not repaired.
///
/// - Names are lower-case letters, digits, hyphens and dots; `xn--` labels are taken as they are.
/// - Port 443 is the same as none; ports are 1 to 65535 without a leading zero.
/// - An IPv4 address is a strict dotted quad. A last label of digits (or `0x` and hexadecimal digits) that is not
///   part of one is refused, because resolvers read such names as addresses.
/// - An IPv6 address stands in brackets and is kept in the form of RFC 5952; one that maps an IPv4 address is that
///   IPv4 address.
/// - `docker.io`, `index.docker.io`, `registry-1.docker.io` and `registry.hub.docker.com` are all ``dockerHub``.
public struct RegistryAddress: Hashable, Sendable, CustomStringConvertible {
    /// The host in canonical form: a lower-case name, a dotted quad, or an IPv6 address in brackets.
    public let host: String
    /// The port; `nil` means 443.
    public let port: UInt16?

    let kind: Kind

    /// What sort of host it is; the bytes are in network order.
    enum Kind: Hashable, Sendable {
        case name
        case ipv4(UInt32)
        case ipv6(high: UInt64, low: UInt64)
    }

    /// Docker Hub, under all its names.
    public static let dockerHub = RegistryAddress(host: "docker.io", port: nil, kind: .name)

    /// The longest host that is accepted, in bytes: the limit of the domain name system.
    public static let longestHost = 253

    init(host: String, port: UInt16?, kind: Kind) {
        self.host = host
        self.port = port
        self.kind = kind
    }

    /// Reads `host` or `host:port`.
    ///
    /// - Parameter text: the address, without scheme, path or user.
    /// - Throws: ``InvalidRegistryAddress`` if it is not exactly one well-formed address.
    public init(_ text: some StringProtocol) throws(InvalidRegistryAddress) {
        self = try Self.parse(Array(text.utf8)[...])
    }

    /// Reads what Docker hands to a credential helper: an address with or without `http://` or `https://`, whose
    /// path says nothing about the registry.
    ///
    /// The rule is docker-credential-helpers' and docker/cli's `ConvertToHostname`: strip the scheme, cut at the first
    /// slash.
    ///
    /// - Parameter text: for example `https://index.docker.io/v1/` or `registry.acme.test:5000`.
    /// - Throws: ``InvalidRegistryAddress`` if what is left is not an address.
    public init(serverURL text: some StringProtocol) throws(InvalidRegistryAddress) {
        var bytes = Array(text.utf8)[...]
        for scheme in ["https://", "http://"] {
            let prefix = Array(scheme.utf8)
            if bytes.count >= prefix.count, zip(bytes, prefix).allSatisfy({ ASCII.lowercased($0) == $1 }) {
                bytes = bytes.dropFirst(prefix.count)
                break
            }
        }
        if let slash = bytes.firstIndex(of: ASCII.slash) {
            bytes = bytes[..<slash]
        }
        self = try Self.parse(bytes)
    }

    /// The address as it is shown and compared: the host, and the port unless it is 443.
    public var description: String {
        guard let port else { return host }
        return "\(host):\(port)"
    }

    /// Whether the host is an IP address and not a name.
    public var isIPAddress: Bool { kind != .name }

    /// Whether Docker connects to it without any proxy: `localhost`, 127.0.0.0/8 and ::1.
    ///
    /// Source: `golang.org/x/net/http/httpproxy`, `useProxy`.
    public var isLoopback: Bool {
        switch kind {
        case .name: host == "localhost"
        case .ipv4(let address): address >> 24 == 127
        case .ipv6(let high, let low): high == 0 && low == 1
        }
    }

    static func parse(_ bytes: ArraySlice<UInt8>) throws(InvalidRegistryAddress) -> RegistryAddress {
        guard !bytes.isEmpty else { throw .empty }
        // The longest host, a colon and five digits: anything longer is refused before it is looked at.
        guard bytes.count <= longestHost + 6 else { throw .tooLong }
        // Said first: what stands before the slash may look like a host with a port that is none.
        guard !bytes.contains(ASCII.slash) else { throw .path }
        if bytes.first == ASCII.leftBracket {
            return try parseBracketed(bytes)
        }
        var host = bytes
        var port: UInt16?
        if let colon = bytes.firstIndex(of: ASCII.colon) {
            host = bytes[..<colon]
            port = try parsePort(bytes[bytes.index(after: colon)...])
        }
        return try parseName(host, port: port)
    }

    private static func parseBracketed(_ bytes: ArraySlice<UInt8>) throws(InvalidRegistryAddress) -> RegistryAddress {
        guard let close = bytes.firstIndex(of: ASCII.rightBracket) else { throw .badIPAddress }
        let rest = bytes[bytes.index(after: close)...]
        var port: UInt16?
        if !rest.isEmpty {
            guard rest.first == ASCII.colon else { throw .badIPAddress }
            port = try parsePort(rest.dropFirst())
        }
        guard let address = IPv6Text.parse(bytes[bytes.index(after: bytes.startIndex)..<close]) else {
            throw .badIPAddress
        }
        // ::ffff:a.b.c.d is a.b.c.d to every socket that dials it.
        if address.high == 0, address.low >> 32 == 0xFFFF {
            let mapped = UInt32(truncatingIfNeeded: address.low)
            return RegistryAddress(host: IPv4Text.format(mapped), port: port, kind: .ipv4(mapped))
        }
        return RegistryAddress(
            host: "[\(IPv6Text.format(high: address.high, low: address.low))]",
            port: port,
            kind: .ipv6(high: address.high, low: address.low)
        )
    }

    private static func parseName(
        _ bytes: ArraySlice<UInt8>,
        port: UInt16?
    ) throws(InvalidRegistryAddress) -> RegistryAddress {
        let name = try DomainName.lowercased(bytes)
        switch IPv4Text.classify(name) {
        case .address(let address):
            return RegistryAddress(host: IPv4Text.format(address), port: port, kind: .ipv4(address))
        case .ambiguous:
            throw .badIPAddress
        case .name:
            let host = String(decoding: name, as: UTF8.self)
            if port == nil, isHub(host) { return .dockerHub }
            return RegistryAddress(host: host, port: port, kind: .name)
        }
    }

    /// Reads a port; 443 becomes `nil`.
    static func parsePort(_ digits: ArraySlice<UInt8>) throws(InvalidRegistryAddress) -> UInt16? {
        guard let first = digits.first, first != ASCII.zero, digits.count <= 5, digits.allSatisfy(ASCII.isDigit) else {
            throw .badPort
        }
        let value = digits.reduce(0) { $0 * 10 + Int($1 - ASCII.zero) }
        guard let port = UInt16(exactly: value) else { throw .badPort }
        return port == 443 ? nil : port
    }

    // Docker itself folds only the second; the others reach the same service under another name
    // (distribution/reference normalize.go, docker/cli's registry key for Docker Hub).
    private static func isHub(_ host: String) -> Bool {
        switch host.utf8.count {
        case 9: host == "docker.io"
        case 15: host == "index.docker.io"
        case 20: host == "registry-1.docker.io"
        case 23: host == "registry.hub.docker.com"
        default: false
        }
    }
}

/// Why a text is not the address of a registry.
public enum InvalidRegistryAddress: Error, Equatable, Sendable, CustomStringConvertible {
    /// Nothing was there.
    case empty
    /// The host is longer than ``RegistryAddress/longestHost`` or a label is longer than 63 bytes.
    case tooLong
    /// A byte that no host name holds: a space, a control character, `_`, `%`, `@`, Unicode, ...
    case badCharacter
    /// A label is empty (two dots, a leading or trailing dot) or begins or ends with a hyphen.
    case badLabel
    /// The port is not a number from 1 to 65535 without leading zero.
    case badPort
    /// It looks like an IP address but is not written as one that has only one reading.
    case badIPAddress
    /// It has a scheme or a path, as in `https://ghcr.io` and `ghcr.io/acme/api:1.2`.
    case path

    /// What is wrong, in words.
    public var description: String {
        switch self {
        case .empty: "the registry address is empty"
        case .tooLong: "the registry address is too long"
        case .badCharacter: "the registry address holds a character that no host name has"
        case .badLabel: "the registry address has an empty label, or a hyphen at the end of one"
        case .badPort: "the port is not a number from 1 to 65535"
        case .badIPAddress: "the registry address is an IP address that can be read in more than one way"
        case .path: "a registry is written as its host alone, like ghcr.io: without \"https://\" and without a path"
        }
    }
}
