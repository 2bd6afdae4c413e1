import RegistryAccess
import Testing

@Suite struct EngineRequestSwarmTests {
    // Rows 25, 26 and 28 of facts/engine.md 6; 8.3 for the JSON shapes.
    static let services: [(String, String)] = [
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"evil.test/x:1"}}}"#, "pull evil.test/x"),
        (#"{"tasktemplate":{"CONTAINERSPEC":{"image":"evil.test/x"}}}"#, "pull evil.test/x"),
        (#"{"Ta\u017f\u212aTemplate":{"Container\u017fpec":{"Image":"evil.test/x"}}}"#, "pull evil.test/x"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"alpine@sha256:\#(digits)"}}}"#, "pull docker.io/library/alpine"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"good.test/x","image":"evil.test/x"}}}"#, "?body"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"good.test/x","Image":"evil.test/x"}}}"#, "?body"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"}},"TaskTemplate":{"ContainerSpec":{"Image":"b"}}}"#, "?body"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"}},"taskTemplate":null}"#, "?body"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"}}}{"TaskTemplate":{}}"#, "?body"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"evil.test/X"}}}"#, "?image"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":7}}}"#, "?body"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":["a"]}}}"#, "?body"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":""}}}"#, "?none"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":null}}}"#, "?none"),
        (#"{"TaskTemplate":{"ContainerSpec":{}}}"#, "?none"),
        (#"{"TaskTemplate":{"ContainerSpec":null}}"#, "?none"),
        (#"{"TaskTemplate":{"ContainerSpec":[]}}"#, "?body"),
        (#"{"TaskTemplate":null}"#, "?none"),
        (#"{"TaskTemplate":"x"}"#, "?body"),
        ("{}", "?none"), ("[]", "?body"), ("null", "?body"), ("", "?no body"), ("{", "?body"), ("\u{FEFF}{}", "?body"),
        (
            #"{"TaskTemplate":{"ContainerSpec":{"Image":"a.test/x","Mounts":[{"Type":"image","Source":"b.test/y"}]}}}"#,
            "pull a.test/x, pull b.test/y"
        ),
        (
            #"{"TaskTemplate":{"ContainerSpec":{"Image":"a.test/x","mounts":[{"type":"image","source":"b.test/Y"}]}}}"#,
            "?image"
        ),
        (
            #"{"TaskTemplate":{"ContainerSpec":{"Image":"a.test/x","Mounts":[{"Type":"bind","Source":"/B"},null]}}}"#,
            "pull a.test/x"
        ),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"a.test/x","Mounts":null}}}"#, "pull a.test/x"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"a.test/x","Mounts":{}}}}"#, "?body"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"a.test/x","Mounts":["image"]}}}"#, "?body"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"a.test/x","Mounts":[{"Type":"image"}]}}}"#, "?image"),
        (
            #"{"TaskTemplate":{"Runtime":"plugin","PluginSpec":{"Name":"p","Remote":"evil.test/p"}}}"#,
            "pull evil.test/p"
        ),
        (#"{"TaskTemplate":{"PluginSpec":{"remote":"evil.test/p"}}}"#, "pull evil.test/p"),
        (#"{"TaskTemplate":{"PluginSpec":{"name":"docker-ram","remote":"evil.test/p"}}}"#, "own"),
        (#"{"TaskTemplate":{"PluginSpec":{"NAME":"docker-ram:latest","remote":"evil.test/p"}}}"#, "own"),
        (#"{"TaskTemplate":{"PluginSpec":{"remote":"docker-ram"}}}"#, "own"),
        (#"{"TaskTemplate":{"PluginSpec":{"name":"docker-ram"}}}"#, "own"),
        (#"{"TaskTemplate":{"PluginSpec":{"name":"x"}}}"#, "?none"),
        (#"{"TaskTemplate":{"PluginSpec":{"remote":"evil.test/P"}}}"#, "?image"),
        (
            #"{"TaskTemplate":{"ContainerSpec":{"Image":"a.test/x"},"PluginSpec":{"remote":"b.test/y"}}}"#,
            "pull a.test/x, pull b.test/y"
        ),
        (#"{"Name":"a","Labels":{"a":"b"},"TaskTemplate":{"ContainerSpec":{"Image":"a.test/x"}}}"#, "pull a.test/x"),
        (#"{"Image":"evil.test/x","ContainerSpec":{"Image":"evil.test/x"}}"#, "?none"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"a.test/x"},"ForceUpdate":1e999}}"#, "pull a.test/x"),
        (#"{"TaskTemplate":{"ContainerSpec":{"Image":"a.test/\ud800x"}}}"#, "?body"),
    ]
    static let digits = String(repeating: "0a", count: 32)
    static let spec = #"{"TaskTemplate":{"ContainerSpec":{"Image":"evil.test/x"}}}"#

    static let rows: [CallRow] = [
        CallRow("POST /services/create", .hidden("application/json", 2_000_000), "?no body"),
        CallRow("POST /services/create", .chunked("application/json"), "?no body"),
        CallRow("POST /services/create", .chunked(formType), "?hidden"),
        CallRow("POST /services/create", .unsaid, "?no body"),
        CallRow("POST /services/create", .empty, "?no body"),
        CallRow("POST /services/create?x=/auth", .hidden("application/json", 60), "?no body"),
        CallRow("POST /services/s1/update?version=3", .json(spec), "pull evil.test/x"),
        CallRow("POST /services/s1/update?version=3&rollback=", .json(spec), "pull evil.test/x"),
        CallRow("POST /services/s1/update?version=3&rollback=none", .json(spec), "pull evil.test/x"),
        CallRow("POST /services/s1/update?version=3&rollback=previous", .json(spec), "?rollback"),
        CallRow("POST /services/s1/update?version=3&rollback=x", .json(spec), "?rollback"),
        CallRow("POST /services/s1/update?version=3&roll%62ack=previous", .json(spec), "?rollback"),
        CallRow("POST /services/s1/update?rollback=none&rollback=previous", .json(spec), "?twice rollback"),
        CallRow("POST /services/s1/update?version=3;rollback=previous", .json(spec), "?query"),
        CallRow("POST /services/s1/update?version=3&registryAuthFrom=previous-spec", .json(spec), "pull evil.test/x"),
        CallRow("POST /services/s1/update?version=3", .empty, "?no body"),
        CallRow("POST /services/create/update", .json(spec), "pull evil.test/x"),
        CallRow("POST /services/a/b/update", .json(spec), "?route"),
        CallRow("DELETE /services/s1", .unsaid, "nothing"),
        CallRow("GET /services/s1", .unsaid, "nothing"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":["192.0.2.1:2377"]}"#), "pull 192.0.2.1:2377"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":["192.0.2.1"]}"#), "pull 192.0.2.1:2377"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":["tcp://evil.test"]}"#), "pull evil.test:2377"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":["tcp://evil.test:443"]}"#), "pull evil.test"),
        CallRow("POST /swarm/join", .json(#"{"remoteaddrs":["a.test:1","b.test:2"]}"#), "pull a.test:1, pull b.test:2"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":["[2001:db8::1]"]}"#), "pull [2001:db8::1]:2377"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":["[2001:db8::1]:9"]}"#), "pull [2001:db8::1]:9"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":["2001:db8::1"]}"#), "?address"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":["unix:///x"]}"#), "?address"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":["a.test","b test"]}"#), "?address"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":[""]}"#), "?address"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":[null]}"#), "?body"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":[]}"#), "?none"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":"a.test"}"#), "?body"),
        CallRow("POST /swarm/join", .json("{}"), "?none"),
        CallRow("POST /swarm/join", .json("[]"), "?body"),
        CallRow("POST /swarm/join", .json(#"{"RemoteAddrs":["a.test"],"remoteAddrs":["b.test"]}"#), "?body"),
        CallRow("POST /swarm/join", .empty, "?no body"),
        CallRow("POST /swarm/init", .json(#"{"ListenAddr":"0.0.0.0"}"#), "nothing"),
        CallRow("POST /swarm/update?version=1", .json("{}"), "nothing"),
        CallRow("POST /swarm/leave?force=1", .empty, "nothing"),
        CallRow("POST /swarm/unlock", .json("{}"), "nothing"),
    ]

    @Test(arguments: services)
    func `a service is read as the engine reads it`(_ body: String, _ expected: String) {
        #expect(CallRow("POST /v1.41/services/create", .json(body), expected).reading == expected)
        #expect(CallRow("POST /services/a/update?version=1", .json(body), expected).reading == expected)
    }

    @Test(arguments: rows)
    func `a call about a swarm is read as the engine reads it`(_ row: CallRow) {
        #expect(row.reading == row.expected)
    }
}
