import RegistryAccess
import Testing

@testable import LocalInstallation

struct TakenOverProxyTests {
    private func takeover(
        http: String? = nil,
        https: String? = nil,
        noProxy: String? = nil
    ) throws -> TakenOverProxy.Takeover {
        try TakenOverProxy.takeover(
            of: EngineProxySettings(
                httpProxy: http.map(Secret.init),
                httpsProxy: https.map(Secret.init),
                noProxy: noProxy
            )
        )
    }

    @Test(
        "what Go leaves out is written out",
        arguments: [
            ("http://proxy.corp.test:3128", "http://proxy.corp.test:3128"),
            ("http://proxy.corp.test", "http://proxy.corp.test:80"),
            ("HTTP://proxy.corp.test:3128/", "http://proxy.corp.test:3128"),
            ("proxy.corp.test:3128", "http://proxy.corp.test:3128"),
            ("proxy.corp.test", "http://proxy.corp.test:80"),
            ("http://me:p%40ss@proxy.corp.test:3128/path?x#y", "http://me:p%40ss@proxy.corp.test:3128"),
            ("http://me@10.0.0.1:3128", "http://me:@10.0.0.1:3128"),
            ("http://[fd00::1]:3128", "http://[fd00::1]:3128"), ("http://[fd00::1]", "http://[fd00::1]:80"),
        ]
    )
    func url(written: String, taken: String) throws {
        let takeover = try takeover(http: written, https: written)
        #expect(takeover.proxy?.url.text == taken)
        #expect(takeover.notes == [])
        _ = try UpstreamProxy(url: Secret(taken))
    }

    @Test(
        "a proxy that docker-ramd cannot go through is not taken over silently",
        arguments: ["https://proxy.corp.test:3128", "socks5://proxy.corp.test:1080", "http://a b:3128", "http://:3128"]
    )
    func impossible(url: String) {
        #expect(throws: InvalidUpstreamProxy.self) { try takeover(https: url) }
    }

    @Test
    func `what becomes of plain HTTP is said`() throws {
        #expect(try takeover() == TakenOverProxy.Takeover())
        let onlyHTTP = try takeover(http: "http://me:secret@corp.test:1")
        #expect(onlyHTTP.proxy == nil)
        #expect(onlyHTTP.notes.count == 1 && onlyHTTP.notes[0].contains("for plain HTTP only"))
        let both = try takeover(http: "http://me:secret@a.test:1", https: "http://b.test:1")
        #expect(both.proxy?.address == "b.test:1")
        #expect(both.notes.count == 1)
        #expect(!"\(onlyHTTP)\(both)".contains("secret"))
    }

    @Test(
        "Go's no-proxy list as address patterns",
        arguments: [
            ("", [], []),
            // A name stands for itself and all names below it; a dot before it leaves itself out.
            ("corp.test", ["corp.test", "**.corp.test"], []),
            (".corp.test", ["**.corp.test"], []), ("*.corp.test", ["**.corp.test"], []),
            ("corp.test:5000", ["corp.test:5000", "**.corp.test:5000"], []),
            (" Corp.Test , a.test,, ", ["corp.test", "**.corp.test", "a.test", "**.a.test"], []),
            ("intranet", ["intranet", "**.intranet"], []),
            ("10.0.0.0/8,192.168.1.1,192.168.1.1:5000", ["10.0.0.0/8", "192.168.1.1", "192.168.1.1:5000"], []),
            ("fd00::/8,fd00::1,[fd00::1]:5000", ["[fd00::]/8", "[fd00::1]", "[fd00::1]:5000"], []),
            // Go never sends loopback to a proxy, so nothing is lost.
            ("localhost,127.0.0.1,::1,127.0.0.0/8,localhost:5000,127.1.2.3", [], []),
            ("*.localhost", ["**.localhost"], []),
            ("10.1.2.3/8,a_b.test,x.*.test,10.1", [], ["10.1.2.3/8", "a_b.test", "x.*.test", "10.1"]),
        ] as [(String, [String], [String])]
    )
    func noProxy(text: String, patterns: [String], lost: [String]) throws {
        let list = NoProxyList(text)
        #expect(list.patterns == patterns)
        #expect(list.unexpressed == lost)
        #expect(!list.isEverything)
        let takeover = try takeover(http: "http://c.test:1", https: "http://c.test:1", noProxy: text)
        #expect(takeover.proxy?.noProxy == patterns)
        #expect(takeover.notes.count == (lost.isEmpty ? 0 : 1))
        for entry in lost { #expect(takeover.notes[0].contains("\"\(entry)\"")) }
    }

    @Test(arguments: ["*", "a.test,*", "a.test, * ,b.test"])
    func `a proxy that is used for nothing is not taken over`(noProxy: String) throws {
        let takeover = try takeover(http: "http://c.test:1", https: "http://c.test:1", noProxy: noProxy)
        #expect(takeover.proxy == nil)
        #expect(takeover.notes.count == 1)
    }

    @Test(
        arguments: [
            ("http://corp.test:3128", "http://corp.test:3128"),
            ("http://me:p@ss@corp.test:3128/", "http://xxxxx:xxxxx@corp.test:3128/"),
            ("me:pass@corp.test:3128", "xxxxx:xxxxx@corp.test:3128"),
        ]
    )
    func `secrets are masked as Docker masks them`(url: String, masked: String) {
        #expect(EngineProxySettings.masked(Secret(url)) == masked)
    }

    @Test(
        arguments: [
            ("http://docker-ram:abc@127.0.0.1:7260", true), ("http://127.0.0.1:7260", true),
            ("127.0.0.1:7260", true), ("http://docker-ram:abc@127.0.0.1:7261/", true),
            ("http://127.0.0.1:17260", false), ("http://u:p@corp.test:3128", false),
            ("http://127.0.0.1:7260.test", false),
        ]
    )
    func `our own proxy is never taken for another`(url: String, isOurs: Bool) {
        let settings = EngineProxySettings(httpProxy: Secret(url), httpsProxy: Secret(url))
        #expect(settings.withoutOurs(at: "127.0.0.1:7260").isEmpty == isOurs)
    }
}
