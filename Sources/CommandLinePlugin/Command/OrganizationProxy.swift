import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess

extension DaemonSettings.EgressProxy {
    /// The proxy through which docker-ramd reaches a web server of the organization, if through one.
    func proxy(to place: ServerURL) -> OrganizationClient.Proxy? {
        isDirect(place.target.address) ? nil : upstream.map(OrganizationClient.Proxy.init)
    }
}

extension OrganizationClient.Proxy {
    init(_ proxy: UpstreamProxy) {
        self.init(host: proxy.host, port: proxy.port, credentials: proxy.credentials.map { Token($0.text) })
    }
}

/// The proxy that a developer's environment names in `HTTPS_PROXY` and `NO_PROXY`, read as the Docker client reads them.
struct ProxyVariables {
    private let upstream: UpstreamProxy?
    private let exceptions: [NoProxyEntry]

    init(_ environment: [String: String]) throws(Failure) {
        let variables = EngineProxySettings(environment: environment)
        exceptions = NoProxyEntry.list(variables.noProxy ?? "")
        do throws(InvalidUpstreamProxy) {
            let settings = EngineProxySettings(httpsProxy: variables.httpsProxy)
            guard let proxy = try TakenOverProxy.takeover(of: settings).proxy else {
                upstream = nil
                return
            }
            upstream = try UpstreamProxy(url: proxy.url)
        } catch {
            throw Failure("HTTPS_PROXY: \(error)", hints: ["or name the server in NO_PROXY, if it is reached without"])
        }
    }

    func proxy(to place: ServerURL) -> OrganizationClient.Proxy? {
        exceptions.contains { $0.matches(place.target) } ? nil : upstream.map(OrganizationClient.Proxy.init)
    }
}

extension OrganizationClient {
    /// A client as a developer's commands use it.
    static func ofDeveloper(
        _ server: ServerURL,
        organization: String,
        certificateAuthority: String?,
        _ context: CommandContext
    ) throws(Failure) -> OrganizationClient {
        let variables = try ProxyVariables(context.environment)
        return OrganizationClient(
            server: server,
            organization: organization,
            certificateAuthority: certificateAuthority,
            proxy: variables.proxy
        )
    }
}

extension NoProxyEntry {
    /// Whether a host is reached without the proxy because of this entry.
    func matches(_ target: EgressTarget) -> Bool {
        switch self {
        case .everything: return true
        case .network(let network, let length):
            let (bytes, prefix) = (Self.bytes(of: target.host), Self.bytes(of: network.host))
            guard let bytes, let prefix, bytes.count == prefix.count else { return false }
            return (0..<length).allSatisfy { bit in
                (bytes[bit / 8] ^ prefix[bit / 8]) & (0x80 >> UInt8(bit % 8)) == 0
            }
        case .address(let address, let port):
            return target.address.host == address.host && (port ?? target.port) == target.port
        case .name(let name, let isItselfMeant, let port):
            let isMeant = target.host.hasSuffix(".\(name)") || isItselfMeant && target.host == name
            return isMeant && (port ?? target.port) == target.port
        }
    }

    /// The bytes of an IP address, in brackets or not; `nil` for a name.
    private static func bytes(of host: String) -> [UInt8]? {
        let text = String(host.drop { $0 == "[" }.prefix { $0 != "]" })
        var (short, long) = (in_addr(), in6_addr())
        if inet_pton(AF_INET, text, &short) == 1 { return withUnsafeBytes(of: short) { Array($0) } }
        if inet_pton(AF_INET6, text, &long) == 1 { return withUnsafeBytes(of: long) { Array($0) } }
        return nil
    }
}
