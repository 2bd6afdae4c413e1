import RegistryAccess

/// One entry of a no-proxy list, as Go reads it for dockerd and BuildKit (`golang.org/x/net/http/httpproxy`, `init` and
/// `useProxy`).
///
/// Whatever the list says, Go never asks a proxy for `localhost`, 127.0.0.0/8 and ::1.
enum NoProxyEntry: Equatable {
    /// `*`: nothing goes through the proxy.
    case everything
    /// Hosts that are written as an address of a network; names that lead there are not meant.
    case network(RegistryAddress, length: Int)
    /// A host that is written as this address; `nil` is any port.
    case address(RegistryAddress, port: UInt16?)
    /// A name and every name below it, or only those below it; `nil` is any port.
    case name(String, isItselfMeant: Bool, port: UInt16?)

    /// Reads a list; entries that Go passes over are left out.
    static func list(_ text: String) -> [NoProxyEntry] {
        var entries: [NoProxyEntry] = []
        for part in text.split(separator: ",") {
            let word = part.filter { $0 != " " && $0 != "\t" }.lowercased()
            guard !word.isEmpty else { continue }
            // Go forgets the others.
            if word == "*" { return [.everything] }
            if let entry = NoProxyEntry(word) { entries.append(entry) }
        }
        return entries
    }

    private init?(_ word: String) {
        if let slash = word.firstIndex(of: "/") {
            // As Go's net.ParseCIDR: bits behind the prefix may be set.
            let text = word[..<slash]
            let isIPv6 = text.contains(":")
            guard let length = Int(word[word.index(after: slash)...]), (0...(isIPv6 ? 128 : 32)).contains(length),
                let address = try? RegistryAddress(isIPv6 ? "[\(text)]" : String(text)), address.isIPAddress
            else { return nil }
            self = .network(address, length: length)
            return
        }
        var host = word[...]
        var port: UInt16?
        let colons = word.count { $0 == ":" }
        if let colon = word.lastIndex(of: ":"), colons == 1 || word.hasPrefix("[") && !word.hasSuffix("]") {
            host = word[..<colon]
            port = UInt16(word[word.index(after: colon)...])
        }
        let text = host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : String(host)
        if let address = try? RegistryAddress(text), address.isIPAddress {
            self = .address(address, port: port)
            return
        }
        if host.hasPrefix("*.") { host = host.dropFirst() }
        let isItselfMeant = !host.hasPrefix(".")
        if !isItselfMeant { host = host.dropFirst() }
        guard !host.isEmpty else { return nil }
        self = .name(String(host), isItselfMeant: isItselfMeant, port: port)
    }

    /// Hosts that the entry leads past the proxy, to ask the policy about; none if they cannot be named.
    var examples: [RegistryAddress] {
        switch self {
        case .everything, .network: []
        case .address(let address, let port): [Self.on(port, address.host)].compactMap(\.self)
        case .name(let name, let isItselfMeant, let port):
            ((isItselfMeant ? [name] : []) + ["registry.\(name)"]).compactMap { Self.on(port, $0) }
        }
    }

    private static func on(_ port: UInt16?, _ host: String) -> RegistryAddress? {
        try? RegistryAddress(port.map { "\(host):\($0)" } ?? host)
    }

    /// Whether nothing that the entry says is left of Go's own exceptions.
    var isLoopbackOnly: Bool {
        switch self {
        case .everything, .name: false
        case .network(let address, let length): address.isLoopback && length >= (address.host == "[::1]" ? 128 : 8)
        case .address(let address, _): address.isLoopback
        }
    }

    /// What goes past the proxy.
    var inWords: String {
        func on(_ port: UInt16?) -> String { port.map { " on port \($0)" } ?? "" }
        return switch self {
        case .everything: "\"*\" leads everything past the proxy"
        case .network(let address, let length):
            "\"\(address.host)/\(length)\" leads registries named by such an address past the proxy"
        case .address(let address, let port): "\"\(address.host)\"\(on(port)) goes past the proxy"
        case .name("localhost", true, let port):
            "\"localhost\" leads every name that ends in \".localhost\"\(on(port)) past the proxy"
        case .name(let name, true, let port): "\"\(name)\" and every name below it\(on(port)) go past the proxy"
        case .name(let name, false, let port): "every name below \"\(name)\"\(on(port)) goes past the proxy"
        }
    }
}
