import LocalInstallation
import RegistryAccess

/// A proxy as a URL names it, without what it takes to be served there.
struct ProxyURL: Equatable {
    /// Host and port; `nil` if the URL cannot be read.
    let target: EgressTarget?
    /// What stands before `@`, undone of nothing.
    let credentials: Secret?

    /// Reads a URL as Go does (`golang.org/x/net/http/httpproxy`, `parseProxy`): without a scheme it is `http://`.
    init(_ url: Secret) {
        let (scheme, authority, _) = EngineProxySettings.parts(of: url)
        let isHTTP = scheme.map { $0.lowercased() == "http://" } ?? true
        var rest = authority
        var secret: Secret?
        if let at = rest.lastIndex(of: "@") {
            secret = Secret(String(rest[..<at]))
            rest = rest[rest.index(after: at)...]
        }
        credentials = secret
        target = isHTTP ? try? EgressTarget(authority: rest, defaultPort: 80) : nil
    }

    var authority: String { target?.authority ?? "an address that cannot be read" }

    /// Whether docker-ramd listens there.
    func leads(to listen: String) -> Bool {
        guard let target, let listening = try? EgressTarget(authority: listen) else { return false }
        if target.authority == listening.authority { return true }
        // On every address of the machine.
        return ["0.0.0.0", "::"].contains(listening.host) && target.port == listening.port && target.address.isLoopback
    }
}
