import RegistryAccess

/// The proxy that an engine is told to use, and where it is told.
public struct EngineProxy: Sendable {
    /// The address of the egress proxy with the secret of this machine.
    public let url: Secret
    /// Where the engine reads it.
    public let place: Place
    /// What the egress proxy takes over from the engine: the other proxy that it went through until now.
    public let upstream: TakenOverProxy?

    /// Where an engine reads which proxy to use.
    public enum Place: String, Sendable {
        /// `proxies` in `daemon.json`. Engines before 23.0 do not start with that key (moby, `daemon/config/config.go`).
        case daemonConfig = "daemon.json"
        /// The environment, put in place by a drop-in of `docker.service`; engines of every version read it.
        case systemdDropIn = "systemd drop-in"

        /// Where an engine of a version reads it.
        ///
        /// It is `nil` if the version does not begin with a number, as those of development builds.
        ///
        /// - Parameter engineVersion: for example `20.10.24+dfsg1`.
        public init?(engineVersion: String) {
            let digits = engineVersion.utf8.prefix { (0x30...0x39).contains($0) }
            guard engineVersion.utf8.dropFirst(digits.count).first == 0x2E, digits.count <= 3,
                let major = Int(String(decoding: Array(digits), as: UTF8.self)), major > 0
            else { return nil }
            self = major >= 23 ? .daemonConfig : .systemdDropIn
        }
    }

    /// What an engine is to be told.
    ///
    /// - Parameters:
    ///   - url: the address of the egress proxy with the secret.
    ///   - place: where the engine reads it.
    ///   - upstream: what the egress proxy takes over.
    public init(url: Secret, place: Place, upstream: TakenOverProxy? = nil) {
        self.url = url
        self.place = place
        self.upstream = upstream
    }

    /// The hosts that the engine reaches without the proxy: this machine's loopback, which Go never sends through one.
    ///
    /// The list is not empty, because an empty one leaves a `NO_PROXY` of the engine's environment in force
    /// (moby, `configureProxyEnv`). And it does not say `localhost`: that would open every `x.localhost` too, as Go takes
    /// a name for all names below it (`golang.org/x/net/http/httpproxy`, `domainMatch`), and a resolver may send such a
    /// name anywhere.
    public static let noProxy = "127.0.0.1"

    /// What the engine is told.
    var settings: EngineProxySettings {
        EngineProxySettings(httpProxy: url, httpsProxy: url, noProxy: Self.noProxy)
    }
}

/// What an engine is told about proxies.
public struct EngineProxySettings: Sendable, Equatable {
    /// For what is reached by plain HTTP; it may hold a password.
    public var httpProxy: Secret?
    /// For what is reached by HTTPS; it may hold a password.
    public var httpsProxy: Secret?
    /// Hosts that are reached without a proxy, separated by commas.
    public var noProxy: String?

    /// What an engine is told; what is empty counts as not said, as it does in Go.
    ///
    /// - Parameters:
    ///   - httpProxy: for what is reached by plain HTTP.
    ///   - httpsProxy: for what is reached by HTTPS.
    ///   - noProxy: hosts that are reached without a proxy.
    public init(httpProxy: Secret? = nil, httpsProxy: Secret? = nil, noProxy: String? = nil) {
        self.httpProxy = httpProxy?.text.isEmpty == true ? nil : httpProxy
        self.httpsProxy = httpsProxy?.text.isEmpty == true ? nil : httpsProxy
        self.noProxy = noProxy?.isEmpty == true ? nil : noProxy
    }

    /// Whether nothing is said.
    public var isEmpty: Bool { self == EngineProxySettings() }

    /// What is said in environment variables: the upper-case ones go first (`httpproxy`, `FromEnvironment`).
    ///
    /// - Parameter environment: the variables.
    public init(environment: [String: String]) {
        func value(_ name: String) -> String? {
            [name.uppercased(), name].compactMap { environment[$0] }.first { !$0.isEmpty }
        }
        self.init(
            httpProxy: value("http_proxy").map(Secret.init),
            httpsProxy: value("https_proxy").map(Secret.init),
            noProxy: value("no_proxy")
        )
    }

    /// The environment variables that say it.
    ///
    /// dockerd reads either case; git and curl, which fetch the contexts of builds, read `http_proxy` in lower case only.
    var environment: [(name: String, value: String)] {
        let values = [("HTTP_PROXY", httpProxy?.text), ("HTTPS_PROXY", httpsProxy?.text), ("NO_PROXY", noProxy)]
        let upper = values.compactMap { name, value in value.map { (name: name, value: $0) } }
        return upper + upper.map { (name: $0.name.lowercased(), value: $0.value) }
    }

    /// The address of a proxy as Docker shows it: user and password are `xxxxx` (moby, `MaskCredentials`).
    ///
    /// - Parameter url: the address.
    /// - Returns: the address without secrets.
    public static func masked(_ url: Secret) -> String {
        let (scheme, authority, rest) = parts(of: url)
        guard let at = authority.lastIndex(of: "@") else { return url.text }
        return "\(scheme ?? "")xxxxx:xxxxx@\(authority[authority.index(after: at)...])\(rest)"
    }

    /// Whether a proxy is ours, by the user that nobody else has.
    static func isOurs(_ url: Secret) -> Bool { parts(of: url).authority.hasPrefix("\(ProxySecret.user):") }

    /// What is said without the proxies that are ours.
    ///
    /// - Parameter address: host and port of our proxy.
    /// - Returns: what is said about others.
    public func withoutOurs(at address: String) -> EngineProxySettings {
        func isOther(_ url: Secret) -> Bool {
            let authority = Self.parts(of: url).authority
            return authority != address && !authority.hasSuffix("@\(address)") && !Self.isOurs(url)
        }
        return EngineProxySettings(
            httpProxy: httpProxy.flatMap { isOther($0) ? $0 : nil },
            httpsProxy: httpsProxy.flatMap { isOther($0) ? $0 : nil },
            noProxy: noProxy == EngineProxy.noProxy ? nil : noProxy
        )
    }

    /// What is said here, and elsewhere where nothing is said here.
    ///
    /// - Parameter other: what is said elsewhere.
    /// - Returns: both together.
    public func filled(from other: EngineProxySettings) -> EngineProxySettings {
        EngineProxySettings(
            httpProxy: httpProxy ?? other.httpProxy,
            httpsProxy: httpsProxy ?? other.httpsProxy,
            noProxy: noProxy ?? other.noProxy
        )
    }

    /// Takes the address of a proxy apart, as Go would.
    ///
    /// - Parameter url: the address.
    /// - Returns: the scheme with `://` if there is one, what stands between it and the path, and what follows.
    public static func parts(of url: Secret) -> (scheme: String?, authority: Substring, rest: Substring) {
        let text = url.text
        var scheme: String?
        var rest = text[...]
        if let colon = text.firstIndex(of: ":"), text[colon...].utf8.starts(with: "://".utf8) {
            let start = text.index(colon, offsetBy: 3)
            scheme = String(text[..<start])
            rest = text[start...]
        }
        let end = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
        return (scheme, rest[..<end], rest[end...])
    }
}

extension ProxySecret {
    /// What the engine sends as `Proxy-Authorization` (RFC 7617).
    public var basicAuthorization: Secret {
        Secret("Basic \(StrictBase64.encode(Array("\(holder.user):\(secret.text)".utf8)))")
    }
}
