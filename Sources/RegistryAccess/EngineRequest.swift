/// One call of the Engine API, as Docker hands it to an authorization plugin, and which registries it would touch.
///
/// Docker shows a plugin less than it acts on (moby, `pkg/authorization/authz.go`): of repeated headers only the last,
/// never `Transfer-Encoding`, and no body unless its first `Content-Type` is `application/json`. Its handlers, on the
/// other hand, read parameters from form bodies as well as from the query (moby, `daemon/server/httputils`; Go,
/// `net/http` `Request.ParseForm`). A request is therefore read as Go would read it, or not at all: whatever could
/// mean two things on a route that touches registries is ``Reading/notInspected(_:)``.
///
/// Three things cannot be seen here and are the egress proxy's to decide: what a build pulls (`FROM`, `COPY --from`,
/// `# syntax=`), everything inside `/session` and `/grpc`, and the registry of a login whose body Docker withholds.
public struct EngineRequest: Sendable {
    /// What a request would do with registries.
    public enum Reading: Sendable, Equatable {
        /// Nothing: no registry is touched.
        case nothing
        /// It would contact registries; there is at least one.
        case accesses([RegistryContact])
        /// It may touch a registry, and which one cannot be told.
        case notInspected(Obstacle)
        /// It would put another plugin in the place of the authorization plugin, or switch such a one on or off.
        case ownPlugin
        /// It would make a container that seems to run BuildKit, or give one the name of a builder; only where
        /// ``EngineRequest/looksForBuilders`` is set.
        case builder(BuilderContainer)
    }

    /// Whether `Content-Length: 0` proves that there is no body; `false` unless it is changed.
    ///
    /// It does for HTTP/1. An engine from 29.2 on takes HTTP/2 on its socket too (moby, `daemon/command/httphandler.go`),
    /// where Go's server goes by the first of several lengths (`golang.org/x/net/http2`, `newWriterAndRequest`) and a
    /// plugin is shown the last. Set it to `true` for an engine that is known to be older; without that the pulls of
    /// old clients, which send `Content-Type: text/plain` with no body, are refused.
    public var trustsContentLength = false

    /// Whether calls that make a container are read as well; `false` unless it is changed, and they then are
    /// ``Reading/nothing`` whatever they hold.
    ///
    /// With it such a call is ``Reading/notInspected(_:)`` if Docker does not show its body, as engines before 29.3.1 do
    /// with bodies over 1 MiB.
    public var looksForBuilders = false

    let method: String
    let target: String
    let body: [UInt8]?
    /// Every value of the two headers that decide where Go looks for parameters.
    let contentTypes: [String]
    let contentLengths: [String]

    /// A request.
    ///
    /// - Parameters:
    ///   - method: Docker's `RequestMethod`.
    ///   - target: Docker's `RequestUri`: the request target as it was sent.
    ///   - headers: Docker's `RequestHeaders`.
    ///   - body: Docker's `RequestBody`, decoded; `nil` if there was none.
    public init(method: String, target: String, headers: [(name: String, value: String)], body: [UInt8]?) {
        self.method = method
        self.target = target
        self.body = body.flatMap { $0.isEmpty ? nil : $0 }
        contentTypes = Self.values(of: "content-type", in: headers)
        contentLengths = Self.values(of: "content-length", in: headers)
    }

    /// Tells what the request would do with registries.
    ///
    /// - Parameter ownPluginName: the name under which Docker knows the authorization plugin. A managed plugin of the
    ///   same name would be asked in its stead (moby, `daemon/pkg/plugin/store.go`).
    /// - Returns: the reading. It is ``Reading/notInspected(_:)`` for calls that change something and are not known.
    public func reading(ownPluginName: String) -> Reading {
        do throws(Obstacle) {
            return try tellReading(ownPluginName: ownPluginName)
        } catch {
            return .notInspected(error)
        }
    }

    private func tellReading(ownPluginName: String) throws(Obstacle) -> Reading {
        guard let method = EngineRoute.Method(rawValue: method) else { throw .unknownMethod }
        // Docker answers OPTIONS itself, for every path.
        if method == .options { return .nothing }
        let target = try RequestTarget(target)
        guard let route = EngineRoute.find(method, target.path) else {
            guard method == .get || method == .head else { throw .unknownRoute }
            return .nothing
        }
        let query = target.query
        switch route.effect {
        case .local: return .nothing
        case .createImage: return try readImageCreation(query)
        case .pushImage: return try readImagePush(route.name)
        case .searchImages: return try readImageSearch(query)
        case .inspectImage: return try readDistributionInspection(route.name)
        case .build: return try readBuild(query)
        case .login: return try readLogin()
        case .showPluginPrivileges: return try readPluginPrivileges(query)
        case .pullPlugin: return try readPluginPull(query, ownPluginName)
        case .upgradePlugin: return try readPluginUpgrade(query, name: route.name, ownPluginName)
        case .pushPlugin: return try readPluginPush(route.name)
        case .createPlugin: return try readPluginCreation(query, ownPluginName)
        case .changePlugin: return readPluginChange(name: route.name, ownPluginName)
        case .createService: return try readService(ownPluginName)
        case .updateService: return try readServiceUpdate(query, ownPluginName)
        case .joinSwarm: return try readSwarmJoin()
        case .createContainer: return try readContainerCreation(query)
        case .renameContainer: return try readContainerRenaming(query)
        }
    }

    // MARK: - Where parameters may hide

    /// Whether Go may find a form where Docker shows the plugin none.
    ///
    /// Without any `Content-Type` Go reads no form. `Content-Length: 0` is the length, as Go drops the header when it
    /// reads chunks. And a body that was shown was `application/json` to the handler as well. In every other case an
    /// earlier `Content-Type`, which is the one that counts, may have named a form.
    var mayHoldForm: Bool {
        !contentTypes.isEmpty && !isKnownToBeEmpty && body == nil
    }

    /// Whether the request says that its body is a form.
    var saysForm: Bool {
        !isKnownToBeEmpty
            && contentTypes.contains { value in
                let value = value.utf8.map(ASCII.lowercased)
                return value.contains(Array("x-www-form-urlencoded".utf8)) || value.contains(Array("multipart/".utf8))
            }
    }

    private var isKnownToBeEmpty: Bool { trustsContentLength && contentLengths == ["0"] }

    func refuseHiddenForm() throws(Obstacle) {
        guard !mayHoldForm else { throw .hiddenParameters }
    }

    func refuseForm() throws(Obstacle) {
        guard !saysForm else { throw .hiddenParameters }
    }

    /// The body as JSON, where it has to be there.
    func jsonBody(foldsKeys: Bool = true) throws(Obstacle) -> JSONValue {
        try refuseForm()
        guard let body else { throw .missingBody }
        do throws(InvalidJSON) {
            return try StrictJSON.parse(body, limits: StrictJSON.Limits(foldsKeys: foldsKeys))
        } catch {
            throw .unreadableBody
        }
    }

    private static func values(of name: String, in headers: [(name: String, value: String)]) -> [String] {
        headers.filter { $0.name.utf8.map(ASCII.lowercased).elementsEqual(name.utf8) }.map(\.value)
    }
}

/// One registry that a request would contact, and what for.
public struct RegistryContact: Hashable, Sendable {
    /// What the policy is asked.
    public let access: AccessRequest
    /// What it is about, to be shown and logged: an image, a plugin, an address, or a URL without its query.
    ///
    /// It can hold any printable ASCII, at most ``longestSubject`` bytes.
    public let subject: String

    /// The longest subject, in bytes; what is longer is cut and ends in three dots.
    ///
    /// No image name is longer. A URL can have a megabyte, and thousands of them would wait for the decision log.
    public static let longestSubject = 1024

    /// A contact.
    ///
    /// - Parameters:
    ///   - access: what the policy is asked.
    ///   - subject: what it is about.
    public init(_ access: AccessRequest, subject: String) {
        self.access = access
        let bytes = subject.utf8
        let isLong = bytes.count > Self.longestSubject
        self.subject = isLong ? String(decoding: bytes.prefix(Self.longestSubject - 3), as: UTF8.self) + "..." : subject
    }

    init(_ action: RegistryAction, _ image: ImageReference) {
        self.init(AccessRequest(action, image), subject: image.description)
    }

    init(_ action: RegistryAction, _ address: RegistryAddress) {
        self.init(AccessRequest(action, address), subject: address.description)
    }
}

/// Why it cannot be told which registry a request would touch.
public enum Obstacle: Error, Equatable, Sendable, CustomStringConvertible {
    /// The method is none that Docker knows.
    case unknownMethod
    /// The request target is not one that Docker reads in one way only.
    case unreadableTarget
    /// A call that changes something and that this product does not know.
    case unknownRoute
    /// A part of the query cannot be decoded.
    case unreadableQuery
    /// A query parameter that decides comes more than once.
    case repeatedParameter(String)
    /// The body may hold parameters that Docker does not show to plugins.
    case hiddenParameters
    /// An import whose bytes come with the request. A policy may allow it: it puts an image on the engine as
    /// `docker load` does. Parameters may hide in its body.
    case importFromStream
    /// A pull and an import at once.
    case pullAndImport
    /// No image, plugin or address is named where one has to be.
    case nothingNamed
    /// The name of an image or plugin is not one.
    case unreadableImage(InvalidImageReference)
    /// The address is not one.
    case unreadableAddress(InvalidRegistryAddress)
    /// A location that is neither a web address nor a git repository, or that holds a user or a password.
    case unreadableLocation
    /// Docker handed over no body where the image is named in it; it does so for bodies that are too large.
    case missingBody
    /// The body is not JSON, not JSON with one meaning, or not what this call takes.
    case unreadableBody
    /// A parameter that should be JSON is not, or not with one meaning.
    case unreadableParameter(String)
    /// A rollback: the image is in an older version of the service.
    case rollback
    /// A push of a plugin under what may be its identifier, which does not tell the registry.
    case pluginIdentifier

    /// What is in the way, in few words.
    public var description: String {
        switch self {
        case .unknownMethod: "the HTTP method is unknown"
        case .unreadableTarget: "the request path has no single reading"
        case .unknownRoute: "this engine call is unknown to docker-ram"
        case .unreadableQuery: "the query cannot be decoded"
        case .repeatedParameter(let name): "the parameter \(name) comes more than once"
        case .hiddenParameters: "its body may hold parameters that Docker does not show"
        case .importFromStream: "importing an image from a file or stream is not allowed"
        case .pullAndImport: "it is a pull and an import at once"
        case .nothingNamed: "it does not say what to fetch"
        case .unreadableImage(let error): error.description
        case .unreadableAddress(let error): error.description
        case .unreadableLocation: "the location is no plain web address or git repository"
        case .missingBody: "Docker did not show its body"
        case .unreadableBody: "its body is not JSON with a single reading"
        case .unreadableParameter(let name): "the parameter \(name) is not JSON with a single reading"
        case .pluginIdentifier: "its identifier does not say where the plugin is pushed; use its name"
        case .rollback: "a rollback does not name its image; use docker service update --image"
        }
    }
}
