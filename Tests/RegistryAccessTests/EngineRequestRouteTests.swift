import Testing

@testable import RegistryAccess

@Suite struct EngineRequestRouteTests {
    /// Which engines have a route: moby b985e2313a (API 1.56), 20.10.24 (API 1.41), or both.
    enum Era { case newer, older, both }

    // Every route of both engines, from `daemon/server/router` and `api/server/router`, and what it has to do with
    // registries.
    static let routes: [(method: String, template: String, era: Era, effect: EngineRoute.Effect)] = [
        ("GET", "/_ping", .both, .local),
        ("HEAD", "/_ping", .both, .local),
        ("POST", "/auth", .both, .login),
        ("POST", "/build", .both, .build),
        ("POST", "/build/cancel", .both, .local),
        ("POST", "/build/prune", .both, .local),
        ("POST", "/commit", .both, .local),
        ("GET", "/configs", .both, .local),
        ("POST", "/configs/create", .both, .local),
        ("GET", "/configs/{id}", .both, .local),
        ("DELETE", "/configs/{id}", .both, .local),
        ("POST", "/configs/{id}/update", .both, .local),
        ("POST", "/containers/create", .both, .createContainer),
        ("GET", "/containers/json", .both, .local),
        ("POST", "/containers/prune", .both, .local),
        ("DELETE", "/containers/{name:.*}", .both, .local),
        ("GET", "/containers/{name:.*}/archive", .both, .local),
        ("HEAD", "/containers/{name:.*}/archive", .both, .local),
        ("PUT", "/containers/{name:.*}/archive", .both, .local),
        ("POST", "/containers/{name:.*}/attach", .both, .local),
        ("GET", "/containers/{name:.*}/attach/ws", .both, .local),
        ("GET", "/containers/{name:.*}/changes", .both, .local),
        ("GET", "/containers/{name:.*}/checkpoints", .both, .local),
        ("POST", "/containers/{name:.*}/checkpoints", .both, .local),
        ("POST", "/containers/{name:.*}/copy", .older, .local),
        ("POST", "/containers/{name:.*}/exec", .both, .local),
        ("GET", "/containers/{name:.*}/export", .both, .local),
        ("GET", "/containers/{name:.*}/json", .both, .local),
        ("POST", "/containers/{name:.*}/kill", .both, .local),
        ("GET", "/containers/{name:.*}/logs", .both, .local),
        ("POST", "/containers/{name:.*}/pause", .both, .local),
        ("POST", "/containers/{name:.*}/rename", .both, .renameContainer),
        ("POST", "/containers/{name:.*}/resize", .both, .local),
        ("POST", "/containers/{name:.*}/restart", .both, .local),
        ("POST", "/containers/{name:.*}/start", .both, .local),
        ("GET", "/containers/{name:.*}/stats", .both, .local),
        ("POST", "/containers/{name:.*}/stop", .both, .local),
        ("GET", "/containers/{name:.*}/top", .both, .local),
        ("POST", "/containers/{name:.*}/unpause", .both, .local),
        ("POST", "/containers/{name:.*}/update", .both, .local),
        ("POST", "/containers/{name:.*}/wait", .both, .local),
        ("DELETE", "/containers/{name}/checkpoints/{checkpoint}", .both, .local),
        ("GET", "/debug/pprof/", .both, .local),
        ("GET", "/debug/pprof/cmdline", .both, .local),
        ("GET", "/debug/pprof/profile", .both, .local),
        ("GET", "/debug/pprof/symbol", .both, .local),
        ("GET", "/debug/pprof/trace", .both, .local),
        ("GET", "/debug/pprof/{name}", .both, .local),
        ("GET", "/debug/vars", .both, .local),
        ("GET", "/distribution/{name:.*}/json", .both, .inspectImage),
        ("GET", "/events", .both, .local),
        ("GET", "/exec/{id:.*}/json", .both, .local),
        ("POST", "/exec/{name:.*}/resize", .both, .local),
        ("POST", "/exec/{name:.*}/start", .both, .local),
        ("POST", "/grpc", .both, .local),
        ("POST", "/images/create", .both, .createImage),
        ("GET", "/images/get", .both, .local),
        ("GET", "/images/json", .both, .local),
        ("POST", "/images/load", .both, .local),
        ("POST", "/images/prune", .both, .local),
        ("GET", "/images/search", .both, .searchImages),
        ("DELETE", "/images/{name:.*}", .both, .local),
        ("GET", "/images/{name:.*}/attestations", .newer, .local),
        ("GET", "/images/{name:.*}/get", .both, .local),
        ("GET", "/images/{name:.*}/history", .both, .local),
        ("GET", "/images/{name:.*}/json", .both, .local),
        ("POST", "/images/{name:.*}/push", .both, .pushImage),
        ("POST", "/images/{name:.*}/tag", .both, .local),
        ("GET", "/info", .both, .local),
        ("GET", "/networks", .both, .local),
        ("GET", "/networks/", .both, .local),
        ("POST", "/networks/create", .both, .local),
        ("POST", "/networks/prune", .both, .local),
        ("DELETE", "/networks/{id:.*}", .both, .local),
        ("POST", "/networks/{id:.*}/connect", .both, .local),
        ("POST", "/networks/{id:.*}/disconnect", .both, .local),
        ("GET", "/networks/{id:.+}", .both, .local),
        ("GET", "/nodes", .both, .local),
        ("GET", "/nodes/{id}", .both, .local),
        ("DELETE", "/nodes/{id}", .both, .local),
        ("POST", "/nodes/{id}/update", .both, .local),
        ("GET", "/plugins", .both, .local),
        ("POST", "/plugins/create", .both, .createPlugin),
        ("GET", "/plugins/privileges", .both, .showPluginPrivileges),
        ("POST", "/plugins/pull", .both, .pullPlugin),
        ("DELETE", "/plugins/{name:.*}", .both, .changePlugin),
        ("POST", "/plugins/{name:.*}/disable", .both, .changePlugin),
        ("POST", "/plugins/{name:.*}/enable", .both, .changePlugin),
        ("GET", "/plugins/{name:.*}/json", .both, .local),
        ("POST", "/plugins/{name:.*}/push", .both, .pushPlugin),
        ("POST", "/plugins/{name:.*}/set", .both, .changePlugin),
        ("POST", "/plugins/{name:.*}/upgrade", .both, .upgradePlugin),
        ("GET", "/secrets", .both, .local),
        ("POST", "/secrets/create", .both, .local),
        ("GET", "/secrets/{id}", .both, .local),
        ("DELETE", "/secrets/{id}", .both, .local),
        ("POST", "/secrets/{id}/update", .both, .local),
        ("GET", "/services", .both, .local),
        ("POST", "/services/create", .both, .createService),
        ("GET", "/services/{id}", .both, .local),
        ("DELETE", "/services/{id}", .both, .local),
        ("GET", "/services/{id}/logs", .both, .local),
        ("POST", "/services/{id}/update", .both, .updateService),
        ("POST", "/session", .both, .local),
        ("GET", "/swarm", .both, .local),
        ("POST", "/swarm/init", .both, .local),
        ("POST", "/swarm/join", .both, .joinSwarm),
        ("POST", "/swarm/leave", .both, .local),
        ("POST", "/swarm/unlock", .both, .local),
        ("GET", "/swarm/unlockkey", .both, .local),
        ("POST", "/swarm/update", .both, .local),
        ("GET", "/system/df", .both, .local),
        ("GET", "/tasks", .both, .local),
        ("GET", "/tasks/{id}", .both, .local),
        ("GET", "/tasks/{id}/logs", .both, .local),
        ("GET", "/version", .both, .local),
        ("GET", "/volumes", .both, .local),
        ("POST", "/volumes/create", .both, .local),
        ("POST", "/volumes/prune", .both, .local),
        ("GET", "/volumes/{name:.*}", .both, .local),
        ("PUT", "/volumes/{name:.*}", .newer, .local),
        ("DELETE", "/volumes/{name:.*}", .both, .local),
        ("OPTIONS", "/{anyroute:.*}", .both, .local),
    ]

    @Test(arguments: routes.map { ($0.method, $0.template, $0.effect) })
    func `every route of the engines is classified`(
        _ method: String,
        _ template: String,
        _ effect: EngineRoute.Effect
    ) throws {
        let method = try #require(EngineRoute.Method(rawValue: method))
        let row = EngineRoute.all.first { $0.method == method && $0.template == template }
        if [.post, .put, .patch, .delete].contains(method) {
            #expect(row?.effect == effect, "a route that changes something has a row of its own")
        } else {
            #expect((row?.effect ?? .local) == effect)
        }
    }

    @Test(arguments: routes.map { ($0.method, $0.template, $0.effect) })
    func `a path of every route is found as that route`(
        _ method: String,
        _ template: String,
        _ effect: EngineRoute.Effect
    ) throws {
        let method = try #require(EngineRoute.Method(rawValue: method))
        let path = template.replacing(#/\{[^}]*\}/#, with: "one")
        for prefix in ["", "/v1.24", "/v1.56"] {
            let target = try RequestTarget(prefix + path)
            #expect((EngineRoute.find(method, target.path)?.effect ?? .local) == effect)
        }
    }

    @Test func `the table holds nothing but routes of these engines`() {
        for row in EngineRoute.all {
            #expect(Self.routes.contains { $0.method == row.method.rawValue && $0.template == row.template })
        }
    }

    @Test func `every effect has a route`() {
        #expect(Set(EngineRoute.all.map(\.effect)) == Set(EngineRoute.Effect.allCases))
    }

    /// What passes unless the policy speaks of it.
    private static let passing: Set<EngineRoute.Effect> = [.local, .createContainer, .renameContainer]

    // Routes that do not touch registries pass whatever they carry.
    @Test(arguments: routes.filter { passing.contains($0.effect) }.map { ($0.method, $0.template) })
    func `what is local passes with any body`(_ method: String, _ template: String) {
        let path = template.replacing(#/\{[^}]*\}/#, with: "one")
        for shape in [BodyShape.chunked(formType), .json("not json"), .hidden("application/json", 9_000_000), .unsaid] {
            #expect(CallRow("\(method) \(path)?a=%zz;b&fromImage=evil.test/x", shape, "").reading == "nothing")
        }
    }

    @Test(arguments: [
        ("POST /images/evil.test/x/pull", "?route"), ("POST /extensions/create", "?route"), ("PUT /images/x", "?route"),
        ("PATCH /containers/x", "?route"), ("DELETE /unknown", "?route"), ("DELETE /images", "?route"),
        ("POST /", "?route"),
        ("POST /containers/x", "?route"), ("POST /v1.41", "?route"), ("GET /unknown", "nothing"), ("GET /", "nothing"),
        ("HEAD /unknown", "nothing"), ("OPTIONS /images/create", "nothing"), ("OPTIONS *", "nothing"),
        ("GET /networks/", "nothing"), ("GET /debug/pprof/", "nothing"), ("POST /debug/pprof/", "?route"),
        ("GET /containers//json", "?target"),
    ])
    func `what is unknown passes only if it reads`(_ line: String, _ expected: String) {
        #expect(CallRow(line, .empty, expected).reading == expected)
    }
}
