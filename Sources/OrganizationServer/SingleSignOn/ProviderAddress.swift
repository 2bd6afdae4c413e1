/// An address at a provider: `https://login.acme.test/realms/acme`; `http://` only to loopback.
struct ProviderAddress: Hashable, Sendable, CustomStringConvertible {
    /// The address as it was given.
    let description: String

    /// Reads an address.
    ///
    /// - Parameters:
    ///   - text: the address, without fragment and without names or passwords; anything else gives `nil`.
    ///   - mayHaveQuery: whether it may have one; an issuer may not.
    init?(_ text: String, mayHaveQuery: Bool = false) {
        let isSecure = text.utf8.starts(with: "https://".utf8)
        guard isSecure || text.utf8.starts(with: "http://".utf8), text.utf8.count <= 2048 else { return nil }
        let rest = text.dropFirst(isSecure ? 8 : 7)
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        guard let (host, port) = PublicAddress.hostAndPort(String(rest[..<end])), port != 0,
            isSecure || PublicAddress.isLoopback(host),
            rest[end...].utf8.allSatisfy({ Self.isAllowed($0, mayHaveQuery) })
        else { return nil }
        description = text
        self.host = port.map { "\(host):\($0)" } ?? host
    }

    /// Host and port, to show.
    let host: String
    /// Whether it is reached over TLS.
    var isSecure: Bool { description.utf8.starts(with: "https://".utf8) }

    private static func isAllowed(_ byte: UInt8, _ mayHaveQuery: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "?"): mayHaveQuery
        case UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "\\"),
            UInt8(ascii: "^"), UInt8(ascii: "`"), UInt8(ascii: "{"), UInt8(ascii: "|"), UInt8(ascii: "}"),
            UInt8(ascii: "#"):
            false
        default: (0x21...0x7E).contains(byte)
        }
    }
}
