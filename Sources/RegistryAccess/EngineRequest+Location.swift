/// A place on the network that the engine itself fetches from: the source of an import, the context of a build.
struct RemoteLocation {
    let address: RegistryAddress
    /// Scheme, host and path, without the query, in which secrets may be.
    let shown: String

    var contact: RegistryContact {
        RegistryContact(AccessRequest(.pull, address), subject: shown)
    }

    /// The source of an import: a URL, or one without `http://` (moby, `postImagesCreate`).
    ///
    /// Docker adds the scheme only if `://` comes nowhere in the text.
    static func importSource(_ text: [UInt8]) throws(Obstacle) -> RemoteLocation {
        guard text.contains(schemeMark) else { return try webAddress(Array("http://".utf8) + text) }
        return try webAddress(text)
    }

    /// The context of a build; `nil` if it comes with the request or over the client's session.
    ///
    /// The forms are those of moby's `urlutil.IsGitURL` and `IsURL` and of BuildKit's git and HTTP sources.
    static func buildContext(_ text: [UInt8]) throws(Obstacle) -> RemoteLocation? {
        switch String(decoding: text, as: UTF8.self) {
        case "", "client-session", "upload-request": return nil
        default: break
        }
        if text.starts(with: "github.com/".utf8) { return try webAddress(Array("https://".utf8) + text) }
        if text.starts(with: "git@".utf8) { return try secureShellPath(text) }
        if text.starts(with: "git://".utf8) { return try location(text, defaultPort: 9418, userAllowed: false) }
        if text.starts(with: "ssh://".utf8) { return try location(text, defaultPort: 22, userAllowed: true) }
        return try webAddress(text)
    }

    // MARK: - URLs

    private static let schemeMark = Array("://".utf8)

    private static func webAddress(_ text: [UInt8]) throws(Obstacle) -> RemoteLocation {
        let lower = text.prefix(8).map(ASCII.lowercased)
        if lower.starts(with: "https://".utf8) { return try location(text, defaultPort: 443, userAllowed: false) }
        if lower.starts(with: "http://".utf8) { return try location(text, defaultPort: 80, userAllowed: false) }
        throw .unreadableLocation
    }

    private static func location(
        _ text: [UInt8],
        defaultPort: UInt16,
        userAllowed: Bool
    ) throws(Obstacle) -> RemoteLocation {
        guard let mark = text.firstRange(of: schemeMark), !text.contains(where: { $0 < 0x20 || $0 >= 0x7F }) else {
            throw .unreadableLocation
        }
        let rest = text[mark.upperBound...]
        let end = rest.firstIndex { $0 == ASCII.slash || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
        var authority = rest[..<(end ?? rest.endIndex)]
        if userAllowed, let at = authority.lastIndex(of: ASCII.at) {
            guard isUser(authority[..<at]) else { throw .unreadableLocation }
            authority = authority[(at + 1)...]
        }
        guard !authority.contains(ASCII.at) else { throw .unreadableLocation }
        let address = try RegistryAddress(
            inRequest: String(decoding: authority, as: UTF8.self),
            defaultPort: defaultPort
        )
        let path = rest[authority.endIndex...].prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
        let scheme = String(decoding: text[..<mark.lowerBound].map(ASCII.lowercased), as: UTF8.self)
        return RemoteLocation(
            address: address,
            shown: "\(scheme)://\(String(decoding: authority, as: UTF8.self))\(String(decoding: path, as: UTF8.self))"
        )
    }

    /// `git@host:path`: what git hands to ssh.
    private static func secureShellPath(_ text: [UInt8]) throws(Obstacle) -> RemoteLocation {
        guard !text.contains(where: { $0 < 0x20 || $0 >= 0x7F }) else { throw .unreadableLocation }
        let rest = text.dropFirst(4)
        guard let colon = rest.firstIndex(of: ASCII.colon) else { throw .unreadableLocation }
        let host = String(decoding: rest[..<colon], as: UTF8.self)
        let path = rest[colon...].prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
        return RemoteLocation(
            address: try RegistryAddress(inRequest: "\(host):22"),
            shown: "git@\(host)\(String(decoding: path, as: UTF8.self))"
        )
    }

    private static func isUser(_ text: ArraySlice<UInt8>) -> Bool {
        !text.isEmpty
            && text.allSatisfy {
                ASCII.isAlphanumeric($0) || $0 == ASCII.underscore || $0 == ASCII.hyphen || $0 == ASCII.dot
            }
    }
}
