/// A container that seems to be made for BuildKit, as a call of the engine describes it.
///
/// A plugin sees the call and nothing of the image, so this goes by names: those that buildx's `docker-container` driver
/// uses (docker/buildx, `driver/docker-container/driver.go`) and those of BuildKit's own programs and directories. A
/// BuildKit under none of these names is not told from any other container.
public struct BuilderContainer: Sendable, Hashable, CustomStringConvertible {
    /// What names it: the image, or the container's name if the call names no image.
    ///
    /// It is printable ASCII, at most ``RegistryContact/longestSubject`` bytes.
    public let subject: String

    private let environment: [String]
    private let networkMode: String
    /// Whether it runs what its image is made to run.
    private let keepsEntrypoint: Bool

    init(subject: String, environment: [String], networkMode: String, keepsEntrypoint: Bool) {
        let bytes = subject.utf8.prefix(RegistryContact.longestSubject)
        let printable = bytes.map { ASCII.isPrintable($0) ? $0 : UInt8(ascii: "?") }
        self.subject = String(decoding: printable, as: UTF8.self)
        self.environment = environment
        self.networkMode = networkMode
        self.keepsEntrypoint = keepsEntrypoint
    }

    /// The variables that say which proxy a program goes through; each must hold the proxy's address.
    ///
    /// Go looks at the upper-case name first (`golang.org/x/net/http/httpproxy`), curl and so git take only the
    /// lower-case name for `http`, and what is unset here may be set by the image.
    public static let proxyVariables = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"]
    /// The variables that name what is reached without the proxy; they must be there and empty, because an image can
    /// set them too.
    public static let exceptionVariables = ["NO_PROXY", "no_proxy"]

    /// The environment of a container whose BuildKit goes through a proxy.
    ///
    /// - Parameter proxy: the proxy's URL.
    /// - Returns: the variables in the order in which they are shown.
    public static func environment(through proxy: String) -> [(name: String, value: String)] {
        proxyVariables.map { ($0, proxy) } + exceptionVariables.map { ($0, "") }
    }

    /// Whether the BuildKit in it goes through a proxy, as far as its description says.
    ///
    /// It does if all ``proxyVariables`` hold the URL, all ``exceptionVariables`` are empty, the image's own program is
    /// started, and the proxy's address means the proxy in the container's network as well.
    ///
    /// - Parameters:
    ///   - proxy: the proxy's URL, with user and secret.
    ///   - isOnLoopback: whether it listens on a loopback address, which is the proxy's only in the host's network.
    /// - Returns: `false` also where it is doubtful.
    public func goesThrough(_ proxy: String, isOnLoopback: Bool) -> Bool {
        guard keepsEntrypoint, !isOnLoopback || networkMode.utf8.elementsEqual("host".utf8) else { return false }
        return Self.environment(through: proxy).allSatisfy { name, value in
            let prefix = Array("\(name)=".utf8)
            // A variable without "=" takes away the image's; of one that comes twice programs take the first or the last.
            let found = environment.filter { $0.utf8.starts(with: prefix) || $0.utf8.elementsEqual(name.utf8) }
            return found.count == 1 && found[0].utf8.elementsEqual(prefix + value.utf8)
        }
    }

    /// What names it; never the environment, which holds a secret.
    public var description: String { subject }
}
