import RegistryAccess
import Testing

@Suite struct EngineRequestImageTests {
    // facts: moby's postImagesCreate; the same query in every shape of body.
    static let bodies: [CallRow] = [
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .unsaid, "pull evil.test/x"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .empty, "pull evil.test/x"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .emptyOf("text/plain"), "pull evil.test/x"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .emptyOf("application/json"), "pull evil.test/x"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .emptyOf(formType), "pull evil.test/x"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .emptyOf(""), "pull evil.test/x"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .json("{}"), "pull evil.test/x"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .json("null"), "pull evil.test/x"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .json("not json"), "pull evil.test/x"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .hidden(formType, 32), "?hidden"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .hidden("text/plain", 32), "?hidden"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .hidden("application/json", 5_000_000), "?hidden"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .hidden("application/x-tar", 10), "?hidden"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .hidden("", 32), "?hidden"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .chunked(formType), "?hidden"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .chunked("text/plain"), "?hidden"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .chunked("application/json"), "?hidden"),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .chunked("\(formType); bad"), "?hidden"),
        CallRow(
            "POST /v1.41/images/create?fromImage=evil.test/x",
            .chunked("Application/X-WWW-Form-UrlEncoded"),
            "?hidden"
        ),
        CallRow(
            "POST /v1.41/images/create?fromImage=evil.test/x",
            .chunked("multipart/form-data; boundary=x"),
            "?hidden"
        ),
        CallRow("POST /v1.41/images/create?fromImage=evil.test/x", .chunked(""), "?hidden"),
        CallRow("POST /v1.41/images/create", .hidden(formType, 32), "?hidden"),
        CallRow("POST /v1.41/images/create", .empty, "?none"),
        CallRow("POST /v1.41/images/create?", .empty, "?none"),
        CallRow("POST /v1.41/images/create?fromImage=", .empty, "?none"),
        CallRow("POST /v1.41/images/create?fromimage=evil.test/x", .empty, "?none"),
        CallRow("POST /v1.41/images/create?FromImage=evil.test/x&fromImage=ok.test/y", .empty, "pull ok.test/y"),
    ]

    // facts/engine.md 8.2: what each spelling makes the engine contact.
    static let names: [(String, String)] = [
        ("alpine", "pull docker.io/library/alpine"),
        ("library/alpine", "pull docker.io/library/alpine"),
        ("docker.io/alpine", "pull docker.io/library/alpine"),
        ("docker.io/library/alpine", "pull docker.io/library/alpine"),
        ("index.docker.io/library/alpine", "pull docker.io/library/alpine"),
        ("registry-1.docker.io/library/alpine", "pull docker.io/library/alpine"),
        ("registry.hub.docker.com/library/alpine", "pull docker.io/library/alpine"),
        ("DOCKER.io/library/alpine", "pull docker.io/library/alpine"),
        ("Docker.IO/alpine", "pull docker.io/library/alpine"),
        ("EVILHOST/x", "pull evilhost/x"),
        ("LOCALDOMAIN/debian", "pull localdomain/debian"),
        ("evilhost/x", "pull docker.io/evilhost/x"),
        ("test_com/foo", "pull docker.io/test_com/foo"),
        ("evil.example:443/x", "pull evil.example/x"),
        ("evil.example:0443/x", "?image"),
        ("EVIL.Example/x", "pull evil.example/x"),
        ("evil.example./x", "?image"),
        ("2130706433:5000/x", "?image"),
        ("0x7f.0.0.1:5000/x", "?image"),
        ("127.1:5000/x", "?image"),
        ("localhost:5000/x", "pull localhost:5000/x"),
        ("localhost/x", "pull localhost/x"),
        ("localhost-evil/x", "pull docker.io/localhost-evil/x"),
        ("127.0.0.1:5000/x", "pull 127.0.0.1:5000/x"),
        ("[::1]:5000/x", "pull [::1]:5000/x"),
        ("foo.localhost:5000/x", "pull foo.localhost:5000/x"),
        ("xn--e1afmkfd.example/x", "pull xn--e1afmkfd.example/x"),
        ("ev_il.test/x", "?image"),
        ("evil.test/X", "?image"),
        ("evil.test/x+y", "?image"),
        ("evil.test%2Fx", "pull evil.test/x"),
        ("evil.test%252Fx", "?image"),
        ("user%40evil.test/x", "?image"),
        ("evil.test/x%00", "?image"),
        ("evil.test/x%0A", "?image"),
        ("%20evil.test/x", "?image"),
        ("evil.test/%C3%A9", "?image"),
        ("doc%E2%84%AAer.io/x", "?image"),
        ("https://evil.test/x", "?image"),
        ("evil.test//x", "?image"),
        ("evil.test/", "?image"),
        ("/x", "?image"),
        ("evil.test:/x", "?image"),
        ("evil.test:65536/x", "?image"),
        ("evil.test/x:", "pull evil.test/x"),
        ("evil.test/x::", "?image"),
        ("evil.test/x:1", "pull evil.test/x"),
        (String(repeating: "a", count: 64), "?image"),
        (String(repeating: "a", count: 63), "pull docker.io/library/" + String(repeating: "a", count: 63)),
    ]

    static let tags: [(String, String)] = [
        ("fromImage=evil.test/x&tag=1", "evil.test/x:1"),
        ("fromImage=evil.test/x:1&tag=2", "evil.test/x:2"),
        ("fromImage=evil.test/x:1", "evil.test/x:1"),
        ("fromImage=evil.test/x&tag=", "evil.test/x"),
        ("fromImage=evil.test/x:&tag=", "evil.test/x"),
        ("fromImage=evil.test/x:&tag=3", "evil.test/x:3"),
        ("fromImage=alpine&tag=latest", "docker.io/library/alpine:latest"),
        ("fromImage=evil.test/x&tag=sha256:\(digits)", "evil.test/x@sha256:\(digits)"),
        ("fromImage=evil.test/x:7&tag=sha256:\(digits)", "evil.test/x@sha256:\(digits)"),
        ("fromImage=evil.test/x:7@sha256:\(digits)", "evil.test/x:7@sha256:\(digits)"),
        ("fromImage=evil.test/x@sha256:\(digits)&tag=7", "evil.test/x:7@sha256:\(digits)"),
    ]
    static let digits = String(repeating: "0a", count: 32)

    static let queries: [(String, String)] = [
        ("fromImage=evil.test/x&fromImage=docker.io/library/alpine", "?twice fromImage"),
        ("fromImage=evil.test/x&from%49mage=docker.io/library/alpine", "?twice fromImage"),
        ("fromImage=evil.test/x&fromImage=evil.test/x", "?twice fromImage"),
        ("fromImage=evil.test/x&fromImage", "?twice fromImage"),
        ("fromImage=evil.test/x&tag=1&tag=2", "?twice tag"),
        ("fromImage=evil.test/x&fromSrc=-&fromSrc=-", "?twice fromSrc"),
        ("from%49mage=evil.test/x", "pull evil.test/x"),
        ("%66romImage=%65vil.test/x", "pull evil.test/x"),
        ("fromImage=evil.test/x&z=%zz", "?query"),
        ("fromImage=evil.test/x&%zz=z", "?query"),
        ("fromImage=evil.test/x&z=%", "?query"),
        ("fromImage=evil.test/x&z=%4", "?query"),
        ("fromImage=evil.test/x;tag=1", "?query"),
        ("a=b;c&fromImage=evil.test/x", "?query"),
        (";&fromImage=evil.test/x", "?query"),
        ("fromImage=evil.test/x%3Btag", "?image"),
        ("&&fromImage=evil.test/x&&", "pull evil.test/x"),
        ("=&fromImage=evil.test/x", "pull evil.test/x"),
        ("fromImage=evil.test/x#fragment", "?image"),
        ("fromImage=evil.test/x?fromImage=ok.test/y", "?image"),
        ("?fromImage=evil.test/x", "?none"),
        ("fromImage+=evil.test/x&fromImage=ok.test/y", "pull ok.test/y"),
        ("fromImage%00=evil.test/x&fromImage=ok.test/y", "pull ok.test/y"),
        ("fromImage=evil.test/x&tag=%20", "?image"),
        ("fromImage=evil.test/x&tag=a/b", "?image"),
        ("fromImage=evil.test/x&tag=%40x", "?image"),
        ("fromImage=evil.test/x&tag=sha256:short", "?image"),
        ("fromImage=evil.test/x&tag=-x", "?image"),
        ("fromImage=evil.test/x&platform=linux/amd64&platform=x", "pull evil.test/x"),
        ("fromImage=evil.test/x&fromSrc=http://other.test/y", "?both"),
        ("fromImage=evil.test/x&fromSrc=-", "?both"),
        ("fromImage=evil.test/x&fromSrc=", "pull evil.test/x"),
        ("fromImage=&fromSrc=http://other.test/y", "pull other.test:80"),
    ]

    // facts/engine.md 6 row 2; threats.md 1.4 L2-11.
    static let imports: [CallRow] = [
        CallRow("POST /images/create?fromSrc=evil.test/rootfs.tar&repo=x", .empty, "pull evil.test:80"),
        CallRow("POST /images/create?fromSrc=evil.test", .empty, "pull evil.test:80"),
        CallRow("POST /images/create?fromSrc=evil.test:8080/x", .empty, "pull evil.test:8080"),
        CallRow("POST /images/create?fromSrc=http://evil.test/x", .empty, "pull evil.test:80"),
        CallRow("POST /images/create?fromSrc=http://evil.test:80/x", .empty, "pull evil.test:80"),
        CallRow("POST /images/create?fromSrc=http://evil.test:443/x", .empty, "pull evil.test"),
        CallRow("POST /images/create?fromSrc=HTTP://EVIL.test/x", .empty, "pull evil.test:80"),
        CallRow("POST /images/create?fromSrc=https://evil.test/x", .empty, "pull evil.test"),
        CallRow("POST /images/create?fromSrc=https://evil.test:443/x", .empty, "pull evil.test"),
        CallRow("POST /images/create?fromSrc=https://evil.test:8443/x", .empty, "pull evil.test:8443"),
        CallRow("POST /images/create?fromSrc=https://evil.test", .empty, "pull evil.test"),
        CallRow("POST /images/create?fromSrc=https://evil.test?a=/b", .empty, "pull evil.test"),
        CallRow("POST /images/create?fromSrc=https://evil.test%23@ok.test/x", .empty, "pull evil.test"),
        CallRow("POST /images/create?fromSrc=https://[::1]/x", .empty, "pull [::1]"),
        CallRow("POST /images/create?fromSrc=http://[::1]/x", .empty, "pull [::1]:80"),
        CallRow("POST /images/create?fromSrc=http://[::1]:5000/x", .empty, "pull [::1]:5000"),
        CallRow("POST /images/create?fromSrc=http://[::1%2525eth0]/x", .empty, "?address"),
        CallRow("POST /images/create?fromSrc=https://docker.io/x", .empty, "pull docker.io"),
        CallRow("POST /images/create?fromSrc=https://user@evil.test/x", .empty, "?location"),
        CallRow("POST /images/create?fromSrc=https://ok.test:x@evil.test/x", .empty, "?location"),
        CallRow("POST /images/create?fromSrc=https://ok.test%5C@evil.test/x", .empty, "?location"),
        CallRow("POST /images/create?fromSrc=https://ok.test%5Cevil.test/x", .empty, "?address"),
        CallRow("POST /images/create?fromSrc=https://ev%2569l.test/x", .empty, "?address"),
        CallRow("POST /images/create?fromSrc=https://evil.test./x", .empty, "?address"),
        CallRow("POST /images/create?fromSrc=https://evil.test:/x", .empty, "?address"),
        CallRow("POST /images/create?fromSrc=https:///x", .empty, "?address"),
        CallRow("POST /images/create?fromSrc=https://127.1/x", .empty, "?address"),
        CallRow("POST /images/create?fromSrc=https://2130706433/x", .empty, "?address"),
        CallRow("POST /images/create?fromSrc=%20https://evil.test/x", .empty, "?location"),
        CallRow("POST /images/create?fromSrc=https://evil.test/x%0A", .empty, "?location"),
        CallRow("POST /images/create?fromSrc=https://evil.test/%C3%A9", .empty, "?location"),
        CallRow("POST /images/create?fromSrc=ftp://evil.test/x", .empty, "?location"),
        CallRow("POST /images/create?fromSrc=file:///etc/passwd", .empty, "?location"),
        CallRow("POST /images/create?fromSrc=http:/evil.test/x", .empty, "?address"),
        CallRow("POST /images/create?fromSrc=evil.test/x?u=https://ok.test", .empty, "?location"),
        CallRow("POST /images/create?fromSrc=http://evil.test/x", .hidden(formType, 9), "?hidden"),
        CallRow("POST /images/create?fromSrc=http://evil.test/x", .chunked("text/plain"), "?hidden"),
        CallRow("POST /images/create?fromSrc=-", .chunked("text/plain"), "?import"),
        CallRow("POST /images/create?fromSrc=-&repo=x", .hidden("application/x-tar", 10240), "?import"),
        CallRow("POST /images/create?fromSrc=-", .hidden(formType, 32), "?import"),
        CallRow("POST /images/create?fromSrc=-", .unsaid, "nothing"),
        CallRow("POST /images/create?fromSrc=-", .empty, "nothing"),
        CallRow("POST /images/create?fromSrc=-", .emptyOf("text/plain"), "nothing"),
        CallRow("POST /images/create?fromSrc=--", .empty, "?address"),
        CallRow("POST /images/create?fromSrc=%2D", .chunked("text/plain"), "?import"),
    ]

    // Rows 4, 7, 8 and 9 of facts/engine.md 6.
    static let others: [CallRow] = [
        CallRow("POST /images/evil.test/x/push?tag=3", .empty, "push evil.test/x"),
        CallRow("POST /v1.41/images/evil.test%2Fx/push?tag=3", .empty, "push evil.test/x"),
        CallRow("POST /images/x/push", .emptyOf("text/plain"), "push docker.io/library/x"),
        CallRow("POST /images/x/push", .json("{}"), "push docker.io/library/x"),
        CallRow("POST /images/x/push", .chunked("text/plain"), "push docker.io/library/x"),
        CallRow("POST /images/x/push", .chunked(formType), "?hidden"),
        CallRow("POST /images/x/push", .hidden("multipart/form-data; boundary=b", 7), "?hidden"),
        CallRow("POST /images/x/push", .emptyOf(formType), "push docker.io/library/x"),
        CallRow("POST /images/a/push/b/push", .empty, "push docker.io/a/push/b"),
        CallRow("POST /images/evil.test/a/tag/push", .empty, "push evil.test/a/tag"),
        CallRow("POST /images/load/push", .empty, "push docker.io/library/load"),
        CallRow("POST /images/evil.test/push/tag", .empty, "nothing"),
        CallRow("POST /images/evil.test%252Fx/push", .empty, "?image"),
        CallRow("POST /images/EVIL/X/push", .empty, "?image"),
        CallRow("POST /images//push", .empty, "?target"),
        CallRow("POST /images/push", .empty, "?route"),
        CallRow("POST /images/evil.test/x/push/", .empty, "?route"),
        CallRow("GET /images/search?term=evil.test/x", .unsaid, "pull evil.test"),
        CallRow("GET /images/search?term=evil.test:5000/x", .unsaid, "pull evil.test:5000"),
        CallRow("GET /images/search?term=localhost/x", .unsaid, "pull localhost"),
        CallRow("GET /images/search?term=evil.test", .unsaid, "pull docker.io"),
        CallRow("GET /images/search?term=nginx", .unsaid, "pull docker.io"),
        CallRow("GET /images/search?term=a/b", .unsaid, "pull docker.io"),
        CallRow("GET /images/search?term=EVIL/x", .unsaid, "pull docker.io"),
        CallRow("GET /images/search", .unsaid, "pull docker.io"),
        CallRow("GET /images/search?term=docker.io/x", .unsaid, "pull docker.io"),
        CallRow("GET /images/search?term=index.docker.io/x", .unsaid, "pull docker.io"),
        CallRow("GET /images/search?term=evil.test/a/b", .unsaid, "pull evil.test"),
        CallRow("GET /images/search?term=./x", .unsaid, "?address"),
        CallRow("GET /images/search?term=evil.test?x/y", .unsaid, "?address"),
        CallRow("GET /images/search?term=https://evil.test/x", .unsaid, "?address"),
        CallRow("GET /images/search?term=a%40evil.test/x", .unsaid, "?address"),
        CallRow("GET /images/search?term=nginx&term=evil.test/x", .unsaid, "?twice term"),
        CallRow("GET /images/search?term=evil.test/x;a", .unsaid, "?query"),
        CallRow("HEAD /images/search?term=evil.test/x", .unsaid, "pull evil.test"),
        CallRow("GET /v1.41/distribution/evil.test/x/json", .unsaid, "pull evil.test/x"),
        CallRow("GET /distribution/alpine:3/json", .unsaid, "pull docker.io/library/alpine"),
        CallRow("GET /distribution/evil.test%2fx%3a1/json", .unsaid, "pull evil.test/x"),
        CallRow("GET /distribution/a/json/json", .unsaid, "pull docker.io/a/json"),
        CallRow("GET /distribution/Evil/X/json", .unsaid, "?image"),
        CallRow("GET /distribution/x", .unsaid, "nothing"),
        CallRow("POST /auth", .json(#"{"username":"u","password":"p","serveraddress":"ghcr.io"}"#), "login ghcr.io"),
        CallRow("POST /auth", .json(#"{"serveraddress":"https://index.docker.io/v1/"}"#), "login docker.io"),
        CallRow("POST /auth", .json(#"{"ServerAddress":"evil.test:5000"}"#), "login evil.test:5000"),
        CallRow("POST /auth", .json(#"{"\u017ferveraddress":"evil.test"}"#), "login evil.test"),
        CallRow("POST /auth", .json(#"{"serveraddress":""}"#), "login docker.io"),
        CallRow("POST /auth", .json(#"{"serveraddress":null}"#), "login docker.io"),
        CallRow("POST /auth", .json("{}"), "login docker.io"),
        CallRow("POST /auth", .json(#"{"serveraddress":"a.test","serverAddress":"b.test"}"#), "?body"),
        CallRow("POST /auth", .json(#"{"serveraddress":"https://u@evil.test/"}"#), "?address"),
        CallRow("POST /auth", .json(#"{"serveraddress":"evil.test?x"}"#), "?address"),
        CallRow("POST /auth", .json(#"{"serveraddress":7}"#), "?body"),
        CallRow("POST /auth", .json("[]"), "?body"),
        CallRow("POST /auth", .json("{} {}"), "?body"),
        CallRow("POST /auth", .json("{"), "?body"),
        CallRow("POST /auth", .hidden("application/json", 60), "nothing"),
        CallRow("POST /auth", .empty, "nothing"),
    ]

    @Test(arguments: bodies + imports + others)
    func `a call is read as the engine reads it`(_ row: CallRow) {
        #expect(row.reading == row.expected)
    }

    @Test(arguments: names)
    func `a pull goes where the engine goes`(_ name: String, _ expected: String) {
        let row = CallRow("POST /images/create?fromImage=\(name)", .empty, expected)
        #expect(row.reading == row.expected)
    }

    @Test(arguments: queries)
    func `a query has one reading or none`(_ query: String, _ expected: String) {
        #expect(CallRow("POST /images/create?\(query)", .empty, expected).reading == expected)
    }

    @Test(arguments: tags)
    func `what is pulled is shown by its full name`(_ query: String, _ subject: String) throws {
        let row = CallRow("POST /images/create?\(query)", .empty, "")
        guard case .accesses(let contacts) = row.request.reading(ownPluginName: "docker-ram") else {
            Issue.record("\(row.reading)")
            return
        }
        #expect(contacts.map(\.subject) == [subject])
    }

    @Test(arguments: [
        ("http://evil.test/x.tar?token=secret", "http://evil.test/x.tar"),
        ("HTTPS://Evil.test:8443/a/b%23c", "https://Evil.test:8443/a/b"), ("evil.test", "http://evil.test"),
    ])
    func `a location is shown without its query`(_ source: String, _ subject: String) {
        let escaped = source.replacing("?", with: "%3F")
        let row = CallRow("POST /images/create?fromSrc=\(escaped)", .empty, "")
        guard case .accesses(let contacts) = row.request.reading(ownPluginName: "docker-ram") else {
            Issue.record("\(row.reading)")
            return
        }
        #expect(contacts.map(\.subject) == [subject])
    }

    // golang.org/x/net/http2 takes the first of two lengths, and a plugin is shown the last.
    @Test(arguments: [
        (BodyShape.emptyOf("text/plain"), "?hidden"), (.emptyOf(formType), "?hidden"), (.empty, "pull evil.test/x"),
        (.unsaid, "pull evil.test/x"), (.json("{}"), "pull evil.test/x"),
    ])
    func `an engine that speaks HTTP 2 is not believed its length`(_ shape: BodyShape, _ expected: String) {
        var request = CallRow("POST /images/create?fromImage=evil.test/x", shape, expected).request
        request.trustsContentLength = false
        #expect(summary(of: request.reading(ownPluginName: "docker-ram")) == expected)
    }

    @Test(arguments: [
        [("content-type", formType)], [("CONTENT-TYPE", formType)], [("Content-Type", "")],
        [("Content-Type", "text/plain"), ("Content-Length", "00")],
        [("Content-Type", "text/plain"), ("Content-Length", "+0")],
        [("Content-Type", "text/plain"), ("Content-Length", " 0")],
        [("Content-Type", "text/plain"), ("Content-Length", "0"), ("content-length", "32")],
        [("Content-Type", formType), ("content-type", "application/json")],
    ])
    func `headers are found in any case and never guessed`(_ headers: [(String, String)]) {
        var request = EngineRequest(
            method: "POST",
            target: "/images/create?fromImage=evil.test/x",
            headers: headers.map { (name: $0.0, value: $0.1) },
            body: nil
        )
        request.trustsContentLength = true
        #expect(request.reading(ownPluginName: "docker-ram") == .notInspected(.hiddenParameters))
    }

    @Test func `an empty body is no body`() {
        let request = EngineRequest(
            method: "POST",
            target: "/images/create?fromImage=evil.test/x",
            headers: [(name: "Content-Type", value: "application/json")],
            body: []
        )
        #expect(request.reading(ownPluginName: "docker-ram") == .notInspected(.hiddenParameters))
    }
}
