/// Where somebody wants to go through the egress proxy: what stands behind `CONNECT`, or before the path of an absolute
/// request target.
public struct EgressTarget: Hashable, Sendable {
    /// What the policy is asked about; the hosts of Docker Hub are all ``RegistryAddress/dockerHub`` here.
    public let address: RegistryAddress
    /// The host that is resolved and dialed: the canonical form of what was written, under its own name; an IPv6
    /// address stands without brackets.
    public let host: String
    /// The port.
    public let port: UInt16

    /// Reads `host:port`.
    ///
    /// - Parameters:
    ///   - authority: for example `registry-1.docker.io:443`.
    ///   - defaultPort: the port if none is written; without one the port must be.
    /// - Throws: ``InvalidRegistryAddress`` if it is not exactly one well-formed address; the host is then not to be
    ///   dialed under an enforced policy, however a resolver might read it.
    public init(authority: some StringProtocol, defaultPort: UInt16? = nil) throws(InvalidRegistryAddress) {
        let bytes = Array(authority.utf8)[...]
        let written = try RegistryAddress.parse(bytes)
        let close = bytes.lastIndex(of: ASCII.rightBracket) ?? bytes.startIndex
        let colon = bytes[close...].firstIndex(of: ASCII.colon)
        if colon == nil {
            guard let defaultPort else { throw .badPort }
            port = defaultPort
        } else {
            port = written.port ?? 443
        }
        let isName = written.kind == .name
        // Docker Hub is resolved under the name that was written.
        host =
            isName
            ? String(decoding: bytes[..<(colon ?? bytes.endIndex)].map(ASCII.lowercased), as: UTF8.self)
            : String(written.host.drop { $0 == "[" }.prefix { $0 != "]" })
        address =
            port == 443 && isName
            ? try RegistryAddress.parse(Array(host.utf8)[...])
            : RegistryAddress(host: isName ? host : written.host, port: port == 443 ? nil : port, kind: written.kind)
    }

    /// `host:port` as it is written in a request, an IPv6 address in brackets.
    public var authority: String {
        address.isIPAddress && host.utf8.contains(ASCII.colon) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
