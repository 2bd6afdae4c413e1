import RegistryAccess
import Testing

@Suite struct EngineRequestPluginTests {
    // Rows 19 to 24 of facts/engine.md 6; threats.md 1.4 L2-9 and L2-16.
    static let rows: [CallRow] = [
        CallRow("GET /plugins/privileges?remote=evil.test/plug", .unsaid, "pull evil.test/plug"),
        CallRow("GET /plugins/privileges?remote=plug", .unsaid, "pull docker.io/library/plug"),
        CallRow("GET /plugins/privileges?remote=a&remote=evil.test/plug", .unsaid, "?twice remote"),
        CallRow("GET /plugins/privileges", .unsaid, "?none"),
        CallRow("GET /plugins/privileges?remote=evil.test/P", .unsaid, "?image"),
        CallRow("GET /plugins/privileges?remote=evil.test/p;x", .unsaid, "?query"),
        CallRow("POST /plugins/pull?remote=evil.test/p&name=ramd", .json("[]"), "pull evil.test/p"),
        CallRow("POST /plugins/pull?remote=evil.test/p:2", .json("[]"), "pull evil.test/p"),
        CallRow("POST /plugins/pull?remote=evil.test/p@sha256:\(digits)", .json("[]"), "pull evil.test/p"),
        CallRow("POST /plugins/pull?remote=evil.test/p", .empty, "pull evil.test/p"),
        CallRow("POST /plugins/pull?remote=evil.test/p", .hidden(formType, 9), "?hidden"),
        CallRow("POST /plugins/pull?remote=evil.test/p", .chunked("application/json"), "?hidden"),
        CallRow("POST /plugins/pull?remote=evil.test/p", .chunked("multipart/form-data; boundary=b"), "?hidden"),
        CallRow("POST /plugins/pull?remote=ok.test/p&remote=evil.test/p", .json("[]"), "?twice remote"),
        CallRow("POST /plugins/pull?remote=ok.test/p&name=a&name=docker-ram", .json("[]"), "?twice name"),
        CallRow("POST /plugins/pull?name=x", .json("[]"), "?none"),
        CallRow("POST /plugins/pull?remote=evil.test/p&name=B%40D", .json("[]"), "?image"),
        CallRow("POST /plugins/pull?remote=evil.test/p&name=docker-ram", .json("[]"), "own"),
        CallRow("POST /plugins/pull?remote=evil.test/p&name=docker-ram:latest", .json("[]"), "own"),
        CallRow("POST /plugins/pull?remote=evil.test/p&name=docker-ram:other", .json("[]"), "own"),
        CallRow("POST /plugins/pull?remote=evil.test/p&name=library/docker-ram", .json("[]"), "own"),
        CallRow("POST /plugins/pull?remote=evil.test/p&name=docker.io/docker-ram", .json("[]"), "own"),
        CallRow("POST /plugins/pull?remote=evil.test/p&name=docker.io/library/docker-ram", .json("[]"), "own"),
        CallRow("POST /plugins/pull?remote=evil.test/p&name=index.docker.io/library/docker-ram:x", .json("[]"), "own"),
        CallRow("POST /plugins/pull?remote=evil.test/p&name=%64ocker-ram", .json("[]"), "own"),
        CallRow("POST /plugins/pull?remote=docker-ram", .json("[]"), "own"),
        CallRow("POST /plugins/pull?remote=docker-ram@sha256:\(digits)", .json("[]"), "own"),
        CallRow("POST /plugins/pull?remote=docker-ram&name=other", .json("[]"), "pull docker.io/library/docker-ram"),
        CallRow("POST /plugins/pull?remote=evil.test/docker-ram", .json("[]"), "pull evil.test/docker-ram"),
        CallRow("POST /plugins/pull?remote=acme/docker-ram", .json("[]"), "pull docker.io/acme/docker-ram"),
        CallRow("POST /plugins/x/upgrade?remote=evil.test/p", .json("[]"), "pull evil.test/p"),
        CallRow("POST /plugins/evil.test/x/upgrade?remote=evil.test/p", .json("[]"), "pull evil.test/p"),
        CallRow("POST /plugins/docker-ram/upgrade?remote=evil.test/p", .json("[]"), "own"),
        CallRow("POST /plugins/docker-ram%3Alatest/upgrade?remote=evil.test/p", .json("[]"), "own"),
        CallRow("POST /plugins/x/upgrade?remote=evil.test/p", .chunked(formType), "?hidden"),
        CallRow("POST /plugins/x/upgrade", .json("[]"), "?none"),
        CallRow("POST /plugins/evil.test/p/push", .empty, "push evil.test/p"),
        CallRow("POST /plugins/p/push", .chunked(formType), "?hidden"),
        CallRow("POST /plugins/P/push", .empty, "?image"),
        // The engine takes the beginning of an identifier, too, and then pushes to another registry than Docker Hub.
        CallRow("POST /plugins/\(digits)/push", .empty, "?identifier"),
        CallRow("POST /plugins/0a1b2c3d4e5f/push", .empty, "?identifier"),
        CallRow("POST /plugins/f/push", .empty, "?identifier"),
        CallRow("POST /plugins/%66/push", .empty, "?identifier"),
        CallRow("POST /plugins/acme/f/push", .empty, "push docker.io/acme/f"),
        CallRow("POST /plugins/f:latest/push", .empty, "push docker.io/library/f"),
        CallRow("POST /plugins/create?name=x", .chunked("application/x-tar"), "nothing"),
        CallRow("POST /plugins/create?name=docker-ram", .chunked("application/x-tar"), "own"),
        CallRow("POST /plugins/create?name=docker-ram:v2", .chunked("application/x-tar"), "own"),
        CallRow("POST /plugins/create?name=x", .chunked(formType), "?hidden"),
        CallRow("POST /plugins/create", .chunked("application/x-tar"), "?none"),
        CallRow("POST /plugins/create?name=x&name=docker-ram", .chunked("application/x-tar"), "?twice name"),
        CallRow("POST /plugins/create?name=D@", .chunked("application/x-tar"), "?image"),
        CallRow("POST /plugins/x/enable?timeout=0", .empty, "nothing"),
        CallRow("POST /plugins/x/disable", .empty, "nothing"),
        CallRow("POST /plugins/x/set", .json(#"["A=b"]"#), "nothing"),
        CallRow("DELETE /plugins/x", .unsaid, "nothing"),
        CallRow("DELETE /plugins/\(digits)?force=1", .unsaid, "nothing"),
        CallRow("POST /plugins/docker-ram/enable?timeout=0", .empty, "own"),
        CallRow("POST /plugins/docker-ram:latest/disable", .empty, "own"),
        CallRow("POST /plugins/docker.io%2Flibrary%2Fdocker-ram/disable?force=1", .empty, "own"),
        CallRow("POST /plugins/docker-ram/set", .json("[]"), "own"),
        CallRow("DELETE /plugins/docker-ram", .unsaid, "own"),
        CallRow("DELETE /v1.41/plugins/docker%2Dram:x?force=1", .unsaid, "own"),
        CallRow("DELETE http://d/plugins/docker-ram", .unsaid, "own"),
        CallRow("GET /plugins/docker-ram/json", .unsaid, "nothing"),
        CallRow("GET /plugins", .unsaid, "nothing"),
        CallRow("POST /plugins/x/rename", .empty, "?route"),
    ]
    static let digits = String(repeating: "0a", count: 32)

    @Test(arguments: rows)
    func `a call about plugins is read as the engine reads it`(_ row: CallRow) {
        #expect(row.reading == row.expected)
    }

    @Test func `another plugin name protects another plugin`() {
        let request = CallRow("DELETE /plugins/acme/guard:1", .unsaid, "").request
        #expect(request.reading(ownPluginName: "acme/guard") == .ownPlugin)
        #expect(request.reading(ownPluginName: "docker-ram") == .nothing)
    }
}
