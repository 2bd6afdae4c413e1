import RegistryAccess

/// A proxy that the engine went through until now, as in corporate networks, and that the egress proxy goes through from
/// now on.
public struct TakenOverProxy: Sendable, Equatable {
    /// Its address, as `egressProxy.upstream` takes it.
    public let url: Secret
    /// Its host and port.
    public let address: String
    /// The hosts that are reached without it, as `egressProxy.noProxy` takes them.
    public let noProxy: [String]

    /// What becomes of an engine's earlier proxy.
    public struct Takeover: Sendable, Equatable {
        /// What is taken over, if anything is.
        public var proxy: TakenOverProxy?
        /// What changes thereby or could not be taken over, in words without secrets.
        public var notes: [String] = []
    }

    /// Works out what the egress proxy takes over.
    ///
    /// Everything goes one way through the egress proxy, and nearly all that an engine fetches is HTTPS, so the proxy for
    /// HTTPS is the one that is taken.
    ///
    /// - Parameter settings: what the engine was told until now.
    /// - Returns: the proxy, if there is one, and what is to be said about it.
    /// - Throws: ``InvalidUpstreamProxy`` if docker-ramd cannot go through such a proxy; the engine would be cut off.
    public static func takeover(of settings: EngineProxySettings) throws(InvalidUpstreamProxy) -> Takeover {
        var takeover = Takeover()
        guard let https = settings.httpsProxy else {
            if let http = settings.httpProxy {
                takeover.notes.append(
                    "the engine used \"\(EngineProxySettings.masked(http))\" for plain HTTP only; it is not taken over"
                )
            }
            return takeover
        }
        let exceptions = NoProxyList(settings.noProxy ?? "")
        guard !exceptions.isEverything else {
            takeover.notes.append(
                "the engine's no-proxy list says \"*\", so \"\(EngineProxySettings.masked(https))\" was not used and is "
                    + "not taken over"
            )
            return takeover
        }
        let url = normalized(https)
        let upstream = try UpstreamProxy(url: url)
        takeover.proxy = TakenOverProxy(url: url, address: upstream.address, noProxy: exceptions.patterns)
        if let http = settings.httpProxy, normalized(http) != url {
            takeover.notes.append(
                "\"\(EngineProxySettings.masked(http))\", which the engine used for plain HTTP, is not taken over; "
                    + "\(upstream.address) is used for that too"
            )
        }
        if !exceptions.unexpressed.isEmpty {
            let entries = exceptions.unexpressed.map { "\"\($0)\"" }.joined(separator: ", ")
            takeover.notes.append("of the engine's no-proxy list this could not be taken over: \(entries)")
        }
        return takeover
    }

    /// The address as ``UpstreamProxy`` reads it: what Go adds to one that says less is written out.
    private static func normalized(_ url: Secret) -> Secret {
        var (scheme, authority, _) = EngineProxySettings.parts(of: url)
        var user = ""
        if let at = authority.lastIndex(of: "@") {
            user = String(authority[..<at])
            if !user.utf8.contains(0x3A) { user += ":" }
            user += "@"
            authority = authority[authority.index(after: at)...]
        }
        let afterBrackets = authority[(authority.lastIndex(of: "]") ?? authority.startIndex)...]
        let port = afterBrackets.utf8.contains(0x3A) ? "" : ":80"
        scheme = scheme?.lowercased() ?? "http://"
        return Secret("\(scheme ?? "")\(user)\(authority)\(port)")
    }
}

/// A list of hosts that Go reaches without a proxy (`golang.org/x/net/http/httpproxy`, `NoProxy`), as address patterns.
struct NoProxyList {
    /// The patterns; what only speaks of this machine's loopback is left out, because Go never sends that to a proxy.
    private(set) var patterns: [String] = []
    /// Entries that no pattern says.
    private(set) var unexpressed: [String] = []
    /// Whether no host is reached through the proxy.
    private(set) var isEverything = false

    init(_ text: String) {
        for entry in text.split(separator: ",") {
            let entry = entry.drop { $0.isWhitespace }.lowercased()
            let trimmed = String(entry.reversed().drop { $0.isWhitespace }.reversed())
            guard !trimmed.isEmpty else { continue }
            guard trimmed != "*" else {
                isEverything = true
                return
            }
            add(trimmed)
        }
    }

    private mutating func add(_ entry: String) {
        // An IPv6 address without a port stands there without brackets; one with a port has them.
        let isBareIPv6 = entry.utf8.count { $0 == 0x3A } > 1 && !entry.hasPrefix("[") && !entry.contains("/")
        let name = isBareIPv6 ? "[\(entry)]" : entry
        if let address = try? RegistryAddress(name), address.isLoopback { return }
        if name == "127.0.0.0/8" || name == "::1/128" { return }
        var candidates = [name]
        if name.hasPrefix("*.") {
            candidates = ["*" + name]
        } else if name.hasPrefix(".") {
            candidates = ["**" + name]
        } else if let address = try? RegistryAddress(name), !address.isIPAddress {
            candidates = [name, "**." + name]
        }
        let read = candidates.compactMap { try? AddressPattern($0).description }
        guard read.count == candidates.count else { return unexpressed.append(entry) }
        for pattern in read where !patterns.contains(pattern) { patterns.append(pattern) }
    }
}
