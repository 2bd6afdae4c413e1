import RegistryAccess

/// Where browsers and machines reach the server: `https://ram.acme.test:8443`.
///
/// Every link that the server writes begins with it, never with what a request says of its host.
struct PublicAddress: Hashable, Sendable, CustomStringConvertible {
    /// The origin (RFC 6454): scheme, host and port, no slash at the end.
    let description: String

    /// Reads an address.
    ///
    /// - Parameter text: `https://` with a host and perhaps a port, nothing behind it; `http://` only to loopback. Anything
    ///   else gives `nil`.
    init?(_ text: String) {
        let isSecure = text.utf8.starts(with: "https://".utf8)
        guard isSecure || text.utf8.starts(with: "http://".utf8) else { return nil }
        let authority = String(text.dropFirst(isSecure ? 8 : 7))
        guard let (host, port) = Self.hostAndPort(authority), port != 0 else { return nil }
        guard isSecure || Self.isLoopback(host) else { return nil }
        description = text
    }

    /// Whether browsers come over TLS.
    var isSecure: Bool { description.utf8.starts(with: "https://".utf8) }

    /// What machines reach, as a policy names it.
    var registryAddress: RegistryAddress? { try? RegistryAddress(serverURL: description) }

    /// Splits what stands for a host and perhaps a port.
    ///
    /// - Parameter authority: `ram.acme.test`, `127.0.0.1:8443`, `[::1]:8443`.
    /// - Returns: the host, an IPv6 address without its brackets, and the port; `nil` if it is none.
    static func hostAndPort(_ authority: String) -> (host: String, port: Int?)? {
        var host = authority[...]
        var port: Int?
        let isBracketed = authority.utf8.first == UInt8(ascii: "[")
        let end = isBracketed ? authority.firstIndex(of: "]") : authority.startIndex
        guard let end else { return nil }
        if let colon = authority[end...].lastIndex(of: ":") {
            let digits = authority[authority.index(after: colon)...].utf8
            guard (1...5).contains(digits.count), digits.allSatisfy({ (48...57).contains($0) }),
                let number = Int(String(digits) ?? ""), number < 65_536
            else { return nil }
            port = number
            host = authority[..<colon]
        }
        if isBracketed {
            guard host.last == "]" else { return nil }
            host = host.dropFirst().dropLast()
        }
        let isHost =
            !host.isEmpty
            && host.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (97...122).contains(byte) || byte == UInt8(ascii: ".")
                    || byte == UInt8(ascii: "-") || (isBracketed && byte == UInt8(ascii: ":"))
            }
        return isHost ? (String(host), port) : nil
    }

    /// Whether a host is this machine and nothing else.
    static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || (host.hasPrefix("127.") && host.utf8.count { $0 == 46 } == 3)
    }
}
