import RegistryAccess
import Testing

@Suite struct EngineRequestBuildTests {
    // Row 10 of facts/engine.md 6; the forms of a context are those of moby's urlutil and BuildKit's git source.
    static let contexts: [(String, String)] = [
        ("", "nothing"),
        ("client-session", "nothing"),
        ("upload-request", "nothing"),
        ("http://evil.test/ctx.tar", "pull evil.test:80"),
        ("https://evil.test/ctx.tar", "pull evil.test"),
        ("https://evil.test:8443/x.git%23main:dir", "pull evil.test:8443"),
        ("HTTPS://evil.test/x", "pull evil.test"),
        ("git://evil.test/x.git", "pull evil.test:9418"),
        ("git://evil.test:1/x.git", "pull evil.test:1"),
        ("git@evil.test:acme/x.git", "pull evil.test:22"),
        ("git@github.com:acme/x", "pull github.com:22"),
        ("ssh://evil.test/x", "pull evil.test:22"),
        ("ssh://git@evil.test:2222/x", "pull evil.test:2222"),
        ("github.com/acme/x", "pull github.com"),
        ("github.com/acme/x%23main", "pull github.com"),
        ("git://u@evil.test/x", "?location"),
        ("https://u@evil.test/x", "?location"),
        ("https://github.com@evil.test/x.git", "?location"),
        ("ssh://a:b@evil.test/x", "?location"),
        ("ssh://@evil.test/x", "?location"),
        ("git@evil.test", "?location"),
        ("git@evil.test/x:y", "?address"),
        ("git@-oProxyCommand=x:y", "?address"),
        ("git@evil.test%0a:x", "?location"),
        ("evil.test/x", "?location"),
        ("/etc", "?location"),
        ("./x", "?location"),
        ("ftp://evil.test/x", "?location"),
        ("tcp://evil.test/x", "?location"),
        ("docker-image://evil.test/x", "?location"),
        ("ext::sh", "?location"),
        ("user@evil.test:x", "?location"),
        ("Client-Session", "?location"),
    ]

    static let parameters: [(String, String)] = [
        ("t=evil.test/x&dockerfile=Dockerfile", "nothing"),
        (#"cachefrom=["evil.test/x"]"#, "pull evil.test/x"),
        (#"cachefrom=["a.test/x","b.test/y:1"]"#, "pull a.test/x, pull b.test/y"),
        (#"cachefrom=["a.test/x,b.test/y"]"#, "pull a.test/x, pull b.test/y"),
        (#"cachefrom=%5B%22evil.test%2Fx%22%5D"#, "pull evil.test/x"),
        ("cachefrom=[]", "nothing"),
        ("cachefrom=null", "nothing"),
        ("cachefrom=", "nothing"),
        (#"cachefrom=[""]"#, "nothing"),
        (#"cachefrom=[null]"#, "nothing"),
        ("cachefrom=[\"\(String(repeating: "0a", count: 32))\"]", "nothing"),
        (#"cachefrom=["type=registry,ref=evil.test/x"]"#, "?image"),
        (#"cachefrom=["evil.test/X"]"#, "?image"),
        (#"cachefrom=["a.test/x"]&cachefrom=["b.test/y"]"#, "?twice cachefrom"),
        (#"cachefrom="evil.test/x""#, "?parameter cachefrom"),
        (#"cachefrom=evil.test/x"#, "?parameter cachefrom"),
        (#"cachefrom=[7]"#, "?parameter cachefrom"),
        (#"cachefrom=[]["evil.test/x"]"#, "?parameter cachefrom"),
        (#"cachefrom={}"#, "?parameter cachefrom"),
        (#"outputs=[{"Type":"image","Attrs":{"push":"true","name":"evil.test/x"}}]"#, "push evil.test/x"),
        (#"outputs=[{"type":"image","attrs":{"push":"","name":"a.test/x,b.test/y"}}]"#, "push a.test/x, push b.test/y"),
        (
            #"outputs=[{"Type":"image","Attrs":{"push":"true"}}]&t=evil.test/x&t=b.test/y"#,
            "push evil.test/x, push b.test/y"
        ),
        (#"outputs=[{"Type":"registry"}]&t=evil.test/x"#, "push evil.test/x"),
        (#"outputs=[{"Type":"moby","Attrs":{"push":"1"}}]&t=evil.test/x"#, "push evil.test/x"),
        (#"outputs=[{"Type":"image","Attrs":{"push":"false","name":"evil.test/x"}}]"#, "nothing"),
        (#"outputs=[{"Type":"image","Attrs":{"push":"0"}}]&t=evil.test/x"#, "nothing"),
        (#"outputs=[{"Type":"local","Attrs":{"dest":"x"}}]"#, "nothing"),
        (#"outputs=[{"Type":"cacheonly"}]"#, "nothing"),
        (#"outputs=[{"Type":"cacheonly","Attrs":null},null]"#, "nothing"),
        ("outputs=[]", "nothing"),
        ("outputs=null", "nothing"),
        (#"outputs=[{"Type":"image","Attrs":{"push":"true"}}]"#, "?none"),
        (#"outputs=[{"Type":"image","Attrs":{"push":true}}]&t=x"#, "?parameter outputs"),
        (#"outputs=[{"Type":7}]"#, "?parameter outputs"),
        (#"outputs=[{"Type":"image","Attrs":[]}]"#, "?parameter outputs"),
        (#"outputs=["image"]"#, "?parameter outputs"),
        (#"outputs=[{"Type":"local","type":"registry"}]&t=evil.test/x"#, "?parameter outputs"),
        // Thousands of both fit into one request; each tag counts once.
        (#"outputs=[{"Type":"registry"},{"Type":"registry"}]&t=a.test/x&t=b.test/y"#, "push a.test/x, push b.test/y"),
        (
            #"outputs=[{"Type":"registry"},{"Type":"image","Attrs":{"push":"1","name":"b.test/y"}}]&t=a.test/x"#,
            "push a.test/x, push b.test/y"
        ),
        (#"outputs=[{"Type":"registry"}]&t=EVIL/X"#, "?image"),
        (#"outputs=[]&outputs=[{"Type":"registry"}]"#, "?twice outputs"),
        (#"remote=http://a.test/c&cachefrom=["b.test/x"]"#, "pull a.test:80, pull b.test/x"),
        ("remote=http://a.test/c&remote=http://b.test/c", "?twice remote"),
        ("remote=client-session&z=%zz", "?query"),
        ("remote=client-session;x", "?query"),
        (#"buildargs={"HTTP_PROXY":"x","http_proxy":"y"}"#, "nothing"),
        // BuildKit takes this one for a `# syntax=` line.
        (#"buildargs={"BUILDKIT_SYNTAX":"evil.test/x","HTTP_PROXY":"x","http_proxy":"y"}"#, "pull evil.test/x"),
        (#"buildargs={"BUILDKIT\u005fSYNTAX":"+\tevil.test/x:1+more"}"#, "pull evil.test/x"),
        (#"buildargs={"BUILDKIT_SYNTAX":null,"buildkit_syntax":"evil.test/x"}"#, "nothing"),
        (#"buildargs={"BUILDKIT_SYNTAX":""}"#, "nothing"),
        (#"buildargs={"BUILDKIT_SYNTAX":"evil.test/X"}"#, "?image"),
        (#"buildargs={"BUILDKIT_SYNTAX":"a.test/x","BUILDKIT_SYNTAX":"evil.test/x"}"#, "?parameter buildargs"),
        (#"buildargs={"BUILDKIT_SYNTAX":["evil.test/x"]}"#, "?parameter buildargs"),
        (#"buildargs={"a":"b"}&buildargs={"BUILDKIT_SYNTAX":"evil.test/x"}"#, "?twice buildargs"),
        ("buildargs=null", "nothing"),
        ("buildargs=[]", "?parameter buildargs"),
    ]

    static let rows: [CallRow] = [
        CallRow("POST /v1.41/build?remote=http://evil.test/ctx.tar", .empty, "pull evil.test:80"),
        CallRow("POST /build", .chunked("application/x-tar"), "nothing"),
        CallRow("POST /build", .chunked(formType), "?hidden"),
        CallRow("POST /build", .hidden(formType, 30), "?hidden"),
        CallRow("POST /build", .chunked("multipart/form-data; boundary=b"), "?hidden"),
        CallRow("POST /build", .chunked("Multipart/Mixed; boundary=b"), "?hidden"),
        CallRow("POST /build", .chunked("Application/X-WWW-Form-URLEncoded ; charset=utf-8"), "?hidden"),
        CallRow("POST /build?version=2&remote=client-session&session=s", .emptyOf("text/plain"), "nothing"),
        CallRow("POST /build/prune?all=1", .empty, "nothing"),
        CallRow("POST /build/cancel?id=x", .empty, "nothing"),
        CallRow("POST /session", .unsaid, "nothing"),
        CallRow("POST /grpc", .unsaid, "nothing"),
    ]

    @Test(arguments: contexts)
    func `the context of a build is where the engine fetches it`(_ remote: String, _ expected: String) {
        #expect(CallRow("POST /build?remote=\(remote)", .chunked("application/x-tar"), expected).reading == expected)
    }

    @Test(arguments: parameters)
    func `what a build's query names is found`(_ query: String, _ expected: String) {
        #expect(CallRow("POST /build?\(query)", .chunked("application/x-tar"), expected).reading == expected)
    }

    @Test
    func `the subject of a contact is short enough to be kept`() throws {
        let path = String(repeating: "x", count: 100_000)
        let row = CallRow("POST /build?remote=https://evil.test/\(path)", .empty, "pull evil.test")
        guard case .accesses(let contacts) = row.request.reading(ownPluginName: "docker-ram") else {
            return #expect(row.reading == row.expected)
        }
        #expect(contacts.map(\.access.address.description) == ["evil.test"])
        let subject = try #require(contacts.first).subject
        #expect(subject.utf8.count == RegistryContact.longestSubject)
        #expect(subject.hasPrefix("https://evil.test/xxx"))
        #expect(subject.hasSuffix("xxx..."))
    }

    @Test(arguments: rows)
    func `a call about builds is read as the engine reads it`(_ row: CallRow) {
        #expect(row.reading == row.expected)
    }
}
