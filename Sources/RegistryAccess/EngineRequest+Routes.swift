/// A call of the Engine API that this product knows, and what it has to do with registries.
///
/// The calls are those of moby's `daemon/server/router` at b985e2313a (API 1.56), of 20.10, and of what lies between.
/// A call that is missing here is refused if it changes something, so a new engine's calls have to be added; a test
/// holds the table against the routes of both engines.
struct EngineRoute {
    /// The methods that Docker has routes for, and two that it might.
    enum Method: String {
        case get = "GET"
        case head = "HEAD"
        case options = "OPTIONS"
        case post = "POST"
        case put = "PUT"
        case patch = "PATCH"
        case delete = "DELETE"
    }

    /// What a call has to do with registries.
    enum Effect: Hashable, CaseIterable {
        /// Nothing.
        case local
        case createImage, pushImage, searchImages, inspectImage, build, login
        case showPluginPrivileges, pullPlugin, upgradePlugin, pushPlugin, createPlugin, changePlugin
        case createService, updateService, joinSwarm
        /// Nothing, unless the container runs BuildKit.
        case createContainer, renameContainer
    }

    /// A call that was found.
    struct Match {
        let effect: Effect
        /// The part of the path that stands for the first variable of the template, empty if it has none.
        let name: String
    }

    /// The template in moby's spelling: `{name:.*}` is anything, `{id}` anything without a slash.
    let template: String
    let method: Method
    let effect: Effect
    private let pattern: PathPattern

    init(_ method: Method, _ template: String, _ effect: Effect = .local) {
        self.template = template
        self.method = method
        self.effect = effect
        pattern = PathPattern(template)
    }

    /// Finds the call for a path without API version.
    ///
    /// A path that could be two calls counts as the one that touches registries.
    static func find(_ method: Method, _ path: [UInt8]) -> Match? {
        // Docker has no HEAD calls but two; should it get them, they do what GET does.
        let method = method == .head ? .get : method
        for route in all where route.method == method {
            if let variables = route.pattern.match(path[...]) {
                let name = variables.first.map { String(decoding: $0, as: UTF8.self) } ?? ""
                return Match(effect: route.effect, name: name)
            }
        }
        return nil
    }

    /// Every call, those that touch registries first.
    static let all: [EngineRoute] = registryRoutes + localRoutes

    private static let registryRoutes: [EngineRoute] = [
        EngineRoute(.post, "/images/create", .createImage),
        EngineRoute(.post, "/images/{name:.*}/push", .pushImage),
        EngineRoute(.get, "/images/search", .searchImages),
        EngineRoute(.get, "/distribution/{name:.*}/json", .inspectImage),
        EngineRoute(.post, "/build", .build),
        EngineRoute(.post, "/auth", .login),
        EngineRoute(.get, "/plugins/privileges", .showPluginPrivileges),
        EngineRoute(.post, "/plugins/pull", .pullPlugin),
        EngineRoute(.post, "/plugins/create", .createPlugin),
        EngineRoute(.post, "/plugins/{name:.*}/upgrade", .upgradePlugin),
        EngineRoute(.post, "/plugins/{name:.*}/push", .pushPlugin),
        EngineRoute(.post, "/plugins/{name:.*}/enable", .changePlugin),
        EngineRoute(.post, "/plugins/{name:.*}/disable", .changePlugin),
        EngineRoute(.post, "/plugins/{name:.*}/set", .changePlugin),
        EngineRoute(.delete, "/plugins/{name:.*}", .changePlugin),
        EngineRoute(.post, "/services/create", .createService),
        EngineRoute(.post, "/services/{id}/update", .updateService),
        EngineRoute(.post, "/swarm/join", .joinSwarm),
        EngineRoute(.post, "/containers/create", .createContainer),
        EngineRoute(.post, "/containers/{name:.*}/rename", .renameContainer),
    ]

    // Reading calls need no row: what is not found and only reads touches nothing.
    private static let localRoutes: [EngineRoute] = [
        EngineRoute(.post, "/containers/prune"),
        EngineRoute(.post, "/containers/{name:.*}/kill"),
        EngineRoute(.post, "/containers/{name:.*}/pause"),
        EngineRoute(.post, "/containers/{name:.*}/unpause"),
        EngineRoute(.post, "/containers/{name:.*}/restart"),
        EngineRoute(.post, "/containers/{name:.*}/start"),
        EngineRoute(.post, "/containers/{name:.*}/stop"),
        EngineRoute(.post, "/containers/{name:.*}/wait"),
        EngineRoute(.post, "/containers/{name:.*}/resize"),
        EngineRoute(.post, "/containers/{name:.*}/attach"),
        EngineRoute(.post, "/containers/{name:.*}/copy"),  // until 20.10
        EngineRoute(.post, "/containers/{name:.*}/exec"),
        EngineRoute(.post, "/containers/{name:.*}/update"),
        EngineRoute(.post, "/containers/{name:.*}/checkpoints"),
        EngineRoute(.put, "/containers/{name:.*}/archive"),
        EngineRoute(.delete, "/containers/{name}/checkpoints/{checkpoint}"),
        EngineRoute(.delete, "/containers/{name:.*}"),
        EngineRoute(.post, "/exec/{name:.*}/start"),
        EngineRoute(.post, "/exec/{name:.*}/resize"),
        EngineRoute(.post, "/commit"),
        EngineRoute(.post, "/images/load"),
        EngineRoute(.post, "/images/{name:.*}/tag"),
        EngineRoute(.post, "/images/prune"),
        EngineRoute(.delete, "/images/{name:.*}"),
        EngineRoute(.post, "/build/prune"),
        EngineRoute(.post, "/build/cancel"),
        EngineRoute(.post, "/session"),
        EngineRoute(.post, "/grpc"),
        EngineRoute(.post, "/networks/create"),
        EngineRoute(.post, "/networks/{id:.*}/connect"),
        EngineRoute(.post, "/networks/{id:.*}/disconnect"),
        EngineRoute(.post, "/networks/prune"),
        EngineRoute(.delete, "/networks/{id:.*}"),
        EngineRoute(.post, "/volumes/create"),
        EngineRoute(.post, "/volumes/prune"),
        EngineRoute(.put, "/volumes/{name:.*}"),
        EngineRoute(.delete, "/volumes/{name:.*}"),
        EngineRoute(.post, "/swarm/init"),
        EngineRoute(.post, "/swarm/leave"),
        EngineRoute(.post, "/swarm/update"),
        EngineRoute(.post, "/swarm/unlock"),
        EngineRoute(.delete, "/services/{id}"),
        EngineRoute(.post, "/nodes/{id}/update"),
        EngineRoute(.delete, "/nodes/{id}"),
        EngineRoute(.post, "/secrets/create"),
        EngineRoute(.post, "/secrets/{id}/update"),
        EngineRoute(.delete, "/secrets/{id}"),
        EngineRoute(.post, "/configs/create"),
        EngineRoute(.post, "/configs/{id}/update"),
        EngineRoute(.delete, "/configs/{id}"),
    ]
}

/// A path template of gorilla/mux, matched as the regular expression that it stands for.
struct PathPattern {
    private enum Part {
        case literal([UInt8])
        /// `{name:.*}`.
        case anything
        /// `{name}`: one byte or more, no slash.
        case segment
    }

    private let parts: [Part]

    init(_ template: String) {
        var parts: [Part] = []
        var rest = Array(template.utf8)[...]
        while let open = rest.firstIndex(of: UInt8(ascii: "{")), let close = rest.firstIndex(of: UInt8(ascii: "}")) {
            parts.append(.literal(Array(rest[..<open])))
            parts.append(rest[open..<close].contains(ASCII.star) ? .anything : .segment)
            rest = rest[(close + 1)...]
        }
        if !rest.isEmpty { parts.append(.literal(Array(rest))) }
        self.parts = parts
    }

    /// What stands for the variables, each as long as it can be; `nil` if the path does not match as a whole.
    func match(_ path: ArraySlice<UInt8>) -> [ArraySlice<UInt8>]? {
        Self.match(parts[...], path)
    }

    private static func match(_ parts: ArraySlice<Part>, _ path: ArraySlice<UInt8>) -> [ArraySlice<UInt8>]? {
        guard let part = parts.first else { return path.isEmpty ? [] : nil }
        let longest: ArraySlice<UInt8>
        switch part {
        case .literal(let bytes):
            return path.starts(with: bytes) ? match(parts.dropFirst(), path.dropFirst(bytes.count)) : nil
        case .anything: longest = path
        case .segment: longest = path.prefix { $0 != ASCII.slash }
        }
        var end = longest.endIndex
        while end >= path.startIndex {
            let variable = path[path.startIndex..<end]
            if case .segment = part, variable.isEmpty { return nil }
            if let others = match(parts.dropFirst(), path[end...]) { return [variable] + others }
            end -= 1
        }
        return nil
    }
}
