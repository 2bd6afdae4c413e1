import Testing

@testable import RegistryAccess

@Suite struct EngineRequestTargetTests {
    // facts/engine.md 8.3 and threats.md 0 finding 5; held against Go 1.19's net/http and gorilla/mux.
    static let targets: [(String, String)] = [
        ("/images/create", "pull"),
        ("/v1.41/images/create", "pull"),
        ("/v01.41/images/create", "pull"),
        ("/v1.41./images/create", "pull"),
        ("/v1.41.0/images/create", "pull"),
        ("/v1.41../images/create", "pull"),
        ("/v1/images/create", "pull"),
        ("/v..../images/create", "pull"),
        ("/v%31.41/images/create", "pull"),
        ("/%76%31/images/create", "pull"),
        ("/v1.41%2Fimages%2Fcreate", "pull"),
        ("/images%2Fcreate", "pull"),
        ("/images%2fcreate", "pull"),
        ("/%69mages/create", "pull"),
        ("/%69mages/cre%61te", "pull"),
        ("http://foo/images/create", "pull"),
        ("http://foo/v1.41/images/create", "pull"),
        ("http:///images/create", "pull"),
        ("HTTP://foo:1/images/create", "pull"),
        ("x:/images/create", "pull"),
        ("x:///images/create", "pull"),
        ("a+b.c-d9:/images/create", "pull"),
        ("http://user:p@foo/images/create", "pull"),
        ("http://[::1]/images/create", "pull"),
        ("x:/v1.41/images%2Fcreate", "pull"),
        ("/v1.41x/images/create", "?route"),
        ("/v1.41/v1.41/images/create", "?route"),
        ("/v/images/create", "?route"),
        ("/V1.41/images/create", "?route"),
        ("/v1,41/images/create", "?route"),
        ("/images/create/", "?route"),
        ("/Images/create", "?route"),
        ("/images/create%20", "?route"),
        ("/images/create%3F", "?route"),
        ("/images/create#", "?route"),
        ("/images/create+", "?route"),
        ("/images%252Fcreate", "?route"),
        ("//images/create", "?target"),
        ("///images/create", "?target"),
        ("/images//create", "?target"),
        ("/images/%2Fcreate", "?target"),
        ("/./images/create", "?target"),
        ("/%2e/images/create", "?target"),
        ("/auth/../images/create", "?target"),
        ("/auth/%2e%2e/images/create", "?target"),
        ("/auth/.%2E/images/create", "?target"),
        ("/images/create/..", "?target"),
        ("/images/create/.", "?target"),
        ("/..", "?target"),
        ("/images/create%00", "?target"),
        ("/images/create%0a", "?target"),
        ("/images/create%7F", "?target"),
        ("/images/create%", "?target"),
        ("/images/create%4", "?target"),
        ("/images/create%zz", "?target"),
        ("/images\u{0}/create", "?target"),
        ("/images\n/create", "?target"),
        ("/images\t/create", "?target"),
        ("/images\u{7F}/create", "?target"),
        ("", "?target"),
        ("*", "?target"),
        ("images/create", "?target"),
        ("x:images/create", "?target"),
        ("x:", "?target"),
        ("http://foo", "?target"),
        ("http:?/images/create", "?target"),
        ("1x:/images/create", "?target"),
        ("-:/images/create", "?target"),
        (":/images/create", "?target"),
        ("h_t:/images/create", "?target"),
        ("foo:80", "?target"),
        ("/imag\u{E9}s/create", "?route"),
        ("/ima\u{301}ges/create", "?route"),
    ]

    @Test(arguments: targets)
    func `a target is routed as the engine routes it`(_ target: String, _ expected: String) {
        let expected = expected == "pull" ? "pull evil.test/x" : expected
        #expect(CallRow("POST \(target)?fromImage=evil.test/x", .empty, expected).reading == expected)
    }

    @Test(arguments: [
        ("POST", "pull evil.test/x"), ("post", "?method"), ("Post", "?method"), ("", "?method"), ("PO ST", "?method"),
        ("CONNECT", "?method"), ("TRACE", "?method"), ("PROPFIND", "?method"), ("GET", "nothing"), ("HEAD", "nothing"),
        ("OPTIONS", "nothing"), ("PUT", "?route"), ("PATCH", "?route"), ("DELETE", "nothing"),
    ])
    func `methods are known exactly or refused`(_ method: String, _ expected: String) {
        // DELETE finds the call that removes the image "create".
        let request = EngineRequest(
            method: method,
            target: "/images/create?fromImage=evil.test/x",
            headers: [],
            body: nil
        )
        #expect(summary(of: request.reading(ownPluginName: "docker-ram")) == expected)
    }

    @Test(arguments: [
        ("a=1&b=2&a=3", "a", ["1", "3"]), ("a=1+2", "a", ["1 2"]), ("a=1%2B2", "a", ["1+2"]), ("a", "a", [""]),
        ("a=", "a", [""]), ("=x", "", ["x"]), ("%61=%62", "a", ["b"]), ("a=b=c", "a", ["b=c"]), ("A=1", "a", []),
        ("a%3D=1", "a=", ["1"]), ("a=%26&b", "a", ["&"]), ("", "a", []), ("&&&", "", []), ("a=?#/", "a", ["?#/"]),
    ])
    func `a query is read as Go's ParseQuery reads it`(_ query: String, _ name: String, _ values: [String]) throws {
        let parameters = try QueryParameters(Array(query.utf8)[...])
        #expect(parameters.values(name).map { String(decoding: $0, as: UTF8.self) } == values)
    }

    @Test(arguments: [";", "a;b", "a=1;b=2", "%", "a=%", "%a", "a=%zz", "%zz=a", "a=1&;&b=2", "a=1&b=%2"])
    func `a query that Go reports an error for is refused`(_ query: String) {
        #expect(throws: Obstacle.unreadableQuery) { try QueryParameters(Array(query.utf8)[...]) }
    }

    @Test(arguments: [
        ("/images/{name:.*}/push", "/images/a/b/push", ["a/b"]),
        ("/images/{name:.*}/push", "/images/a/push/push", ["a/push"]),
        ("/images/{name:.*}/push", "/images//push", [""]), ("/images/{name:.*}/push", "/images/push", nil),
        ("/images/{name:.*}/push", "/images/a/pushx", nil), ("/services/{id}/update", "/services/a/update", ["a"]),
        ("/services/{id}/update", "/services/a/b/update", nil), ("/services/{id}/update", "/services//update", nil),
        ("/containers/{name}/checkpoints/{checkpoint}", "/containers/a/checkpoints/b", ["a", "b"]),
        ("/containers/{name}/checkpoints/{checkpoint}", "/containers/a/checkpoints/b/c", nil), ("/build", "/build", []),
        ("/build", "/builds", nil), ("/build", "/buil", nil), ("/volumes/{name:.*}", "/volumes/", [""]),
    ])
    func `templates match as the router's do`(_ template: String, _ path: String, _ variables: [String]?) {
        let match = PathPattern(template).match(Array(path.utf8)[...])
        #expect(match?.map { String(decoding: $0, as: UTF8.self) } == variables)
    }
}
