/// Which registries a rule speaks of.
///
/// | pattern | what it matches |
/// |---|---|
/// | `ghcr.io` | that host, on port 443 |
/// | `registry.acme.test:5000` | that host on that port |
/// | `registry.acme.test:*` | that host on any port |
/// | `*.acme.test` | exactly one label before `acme.test` |
/// | `**.acme.test` | one or more labels before it, never `acme.test` itself |
/// | `10.1.0.0/16` | the addresses of a network, written as addresses |
/// | `**` | everything |
///
/// A port may stand behind each of them but the last; without one, only port 443 is meant. A pattern is compared with
/// a whole ``RegistryAddress`` and never with a piece of text, so `acme.test` does not match `acme.test.evil.test`.
public struct AddressPattern: Hashable, Sendable, CustomStringConvertible {
    let host: Host
    let port: Port

    enum Host: Hashable, Sendable {
        case everything
        case exactly
        case oneLabelBelow
        case labelsBelow
        case ipv4Network(UInt32, prefix: Int)
        case ipv6Network(high: UInt64, low: UInt64, prefix: Int)
    }

    enum Port: Hashable, Sendable {
        case any
        case only(UInt16?)
    }

    /// The host or the suffix that the pattern names; empty for networks and `**`.
    let name: String

    /// Reads a pattern.
    ///
    /// - Parameter text: see the table.
    /// - Throws: ``InvalidAddressPattern`` if it is none of these forms.
    public init(_ text: some StringProtocol) throws(InvalidAddressPattern) {
        let bytes = Array(text.utf8)[...]
        guard !bytes.isEmpty else { throw .address(.empty) }
        if bytes.elementsEqual("**".utf8) {
            self.init(host: .everything, name: "", port: .any)
            return
        }
        if let slash = bytes.firstIndex(of: ASCII.slash) {
            self = try Self.network(bytes[..<slash], rest: bytes[(slash + 1)...])
            return
        }
        let (rest, isAnyPort) = Self.cutAnyPort(bytes)
        if rest.starts(with: "**.".utf8) {
            self = try Self.named(rest.dropFirst(3), .labelsBelow, isAnyPort: isAnyPort)
        } else if rest.starts(with: "*.".utf8) {
            self = try Self.named(rest.dropFirst(2), .oneLabelBelow, isAnyPort: isAnyPort)
        } else {
            guard !rest.contains(ASCII.star) else { throw .misplacedStar }
            self = try Self.named(rest, .exactly, isAnyPort: isAnyPort)
        }
    }

    /// The pattern that matches one address and nothing else.
    ///
    /// - Parameter address: the address.
    public init(exactly address: RegistryAddress) {
        self.init(host: .exactly, name: address.host, port: .only(address.port))
    }

    private init(host: Host, name: String, port: Port) {
        self.host = host
        self.name = name
        self.port = port
    }

    /// The pattern in canonical form; two patterns that match the same are written the same.
    public var description: String {
        let text =
            switch host {
            case .everything: "**"
            case .exactly: name
            case .oneLabelBelow: "*.\(name)"
            case .labelsBelow: "**.\(name)"
            case .ipv4Network(let address, let prefix): "\(IPv4Text.format(address))/\(prefix)"
            case .ipv6Network(let high, let low, let prefix): "[\(IPv6Text.format(high: high, low: low))]/\(prefix)"
            }
        return switch port {
        case .any: host == .everything ? text : "\(text):*"
        case .only(let port): port.map { "\(text):\($0)" } ?? text
        }
    }

    /// Whether the pattern speaks of an address.
    ///
    /// - Parameter address: the address.
    /// - Returns: `true` if host and port match.
    public func matches(_ address: RegistryAddress) -> Bool {
        if case .only(let port) = port, port != address.port { return false }
        switch host {
        case .everything: return true
        case .exactly: return name.utf8.elementsEqual(address.host.utf8)
        case .oneLabelBelow, .labelsBelow:
            guard address.kind == .name else { return false }
            let host = address.host.utf8
            guard host.count > name.utf8.count + 1, host.reversed().starts(with: name.utf8.reversed()) else {
                return false
            }
            let above = host.dropLast(name.utf8.count)
            guard above.last == ASCII.dot else { return false }
            return self.host == .labelsBelow || !above.dropLast().contains(ASCII.dot)
        case .ipv4Network(let network, let prefix):
            guard case .ipv4(let value) = address.kind else { return false }
            return Self.masked(value, prefix: prefix) == network
        case .ipv6Network(let high, let low, let prefix):
            guard case .ipv6(let addressHigh, let addressLow) = address.kind else { return false }
            return Self.masked(high: addressHigh, low: addressLow, prefix: prefix) == (high, low)
        }
    }

    static func masked(_ address: UInt32, prefix: Int) -> UInt32 {
        prefix == 0 ? 0 : address & (UInt32.max << UInt32(32 - prefix))
    }

    static func masked(high: UInt64, low: UInt64, prefix: Int) -> (UInt64, UInt64) {
        if prefix == 0 { return (0, 0) }
        if prefix <= 64 { return (high & (UInt64.max << UInt64(64 - prefix)), 0) }
        return (high, low & (UInt64.max << UInt64(128 - prefix)))
    }

    private static func cutAnyPort(_ bytes: ArraySlice<UInt8>) -> (rest: ArraySlice<UInt8>, isAnyPort: Bool) {
        bytes.reversed().starts(with: ":*".utf8.reversed()) ? (bytes.dropLast(2), true) : (bytes, false)
    }

    private static func address(_ bytes: ArraySlice<UInt8>) throws(InvalidAddressPattern) -> RegistryAddress {
        do throws(InvalidRegistryAddress) {
            return try RegistryAddress.parse(bytes)
        } catch {
            throw .address(error)
        }
    }

    private static func named(
        _ bytes: ArraySlice<UInt8>,
        _ host: Host,
        isAnyPort: Bool
    ) throws(InvalidAddressPattern) -> AddressPattern {
        guard !bytes.contains(ASCII.star) else { throw .misplacedStar }
        guard !isAnyPort || !hasPort(bytes) else { throw .address(.badPort) }
        let address = try address(bytes)
        guard host != .exactly else {
            return AddressPattern(host: host, name: address.host, port: isAnyPort ? .any : .only(address.port))
        }
        guard address.kind == .name else { throw .wildcardBelowAddress }
        var name = address.host
        if address == .dockerHub {
            // Only whole hosts have other names: `*.index.docker.io` is not `*.docker.io`.
            let written = bytes[..<(bytes.firstIndex(of: ASCII.colon) ?? bytes.endIndex)]
            name = String(decoding: written.map(ASCII.lowercased), as: UTF8.self)
        }
        return AddressPattern(host: host, name: name, port: isAnyPort ? .any : .only(address.port))
    }

    private static func hasPort(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes[(bytes.lastIndex(of: ASCII.rightBracket) ?? bytes.startIndex)...].contains(ASCII.colon)
    }

    private static func network(
        _ host: ArraySlice<UInt8>,
        rest: ArraySlice<UInt8>
    ) throws(InvalidAddressPattern) -> AddressPattern {
        let (rest, isAnyPort) = cutAnyPort(rest)
        let parts = rest.split(separator: ASCII.colon, maxSplits: 1, omittingEmptySubsequences: false)
        let digits = parts[0]
        guard digits.first.map(ASCII.isDigit) ?? false, !rest.contains(ASCII.slash) else { throw .path }
        // A bare IPv6 network is as clear as one in brackets, because the slash ends it.
        let isBareIPv6 = host.first != ASCII.leftBracket && host.count { $0 == ASCII.colon } > 1
        let address = try address(isBareIPv6 ? [ASCII.leftBracket] + host + [ASCII.rightBracket] : host)
        // Said before its port: behind an image there is a tag.
        guard address.kind != .name else { throw .path }
        var port = Port.only(nil)
        if isAnyPort {
            guard parts.count == 1 else { throw .address(.badPort) }
            port = .any
        } else if parts.count == 2 {
            do throws(InvalidRegistryAddress) {
                port = .only(try RegistryAddress.parsePort(parts[1]))
            } catch {
                throw .address(error)
            }
        }
        guard (1...3).contains(digits.count), digits.allSatisfy(ASCII.isDigit),
            digits.count == 1 || digits.first != ASCII.zero
        else { throw .badNetwork }
        let prefix = digits.reduce(0) { $0 * 10 + Int($1 - ASCII.zero) }
        guard address.port == nil, !hasPort(host) || isBareIPv6 else { throw .badNetwork }
        switch address.kind {
        case .ipv4(let value):
            guard prefix <= 32, masked(value, prefix: prefix) == value else { throw .badNetwork }
            return AddressPattern(host: .ipv4Network(value, prefix: prefix), name: "", port: port)
        case .ipv6(let high, let low):
            guard prefix <= 128, masked(high: high, low: low, prefix: prefix) == (high, low) else { throw .badNetwork }
            return AddressPattern(host: .ipv6Network(high: high, low: low, prefix: prefix), name: "", port: port)
        case .name:
            throw .path
        }
    }
}

/// Why a text is not a pattern.
public enum InvalidAddressPattern: Error, Equatable, Sendable, CustomStringConvertible {
    /// The address in it is none.
    case address(InvalidRegistryAddress)
    /// A star stands elsewhere than as `*.`, `**.`, `:*` or alone as `**`.
    case misplacedStar
    /// `*.` or `**.` before an IP address.
    case wildcardBelowAddress
    /// A network whose prefix does not fit, or whose address has bits behind the prefix.
    case badNetwork
    /// A slash behind something else than the address of a network, as in `https://ghcr.io` and `ghcr.io/acme`.
    case path

    /// What is wrong, in words.
    public var description: String {
        switch self {
        case .address(let error): "\(error)"
        case .misplacedStar: "a star may stand only as \"*.\", \"**.\" in front, as \":*\" behind, or alone as \"**\""
        case .wildcardBelowAddress: "a star cannot stand before an IP address; write a network, like 10.1.0.0/16"
        case .badNetwork: "a network is written as its first address, a slash and the length of the prefix"
        case .path: "\(InvalidRegistryAddress.path)"
        }
    }
}
