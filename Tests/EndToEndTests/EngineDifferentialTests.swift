import Foundation
import RegistryAccess
import TestSupport
import Testing

/// Sends requests in many shapes to a running engine, and holds what it did against what was read from what it showed.
@Suite(
    .serialized,
    .enabled(if: geteuid() == 0 && EngineUnderTest.isThere, "needs dockerd")
)
struct EngineDifferentialTests {
    @Test(.timeLimit(.minutes(10)))
    func `the engine goes nowhere that was not read from its request`() throws {
        try EngineRecorder.run { recorder in
            Self.prepare(recorder)
            var counts = Counts()
            let corpus = EngineCorpus(loopbackPort: recorder.loopbackPort).requests
            for request in corpus {
                let exchange = recorder.send(request.bytes)
                Self.judge(request, exchange, &counts)
            }
            print(
                "engine differential: \(corpus.count) requests, \(counts.shown) shown to the plugin,",
                "\(counts.contacts) that went to \(counts.hosts) hosts, \(counts.refused) refused,",
                "\(counts.refusedContacts) of them would have gone somewhere"
            )
            // Should the engine stop doing anything, the comparison would be of nothing with nothing.
            #expect(counts.contacts > corpus.count / 4)
            #expect(counts.refusedContacts > 50)
        }
    }

    struct Counts {
        var shown = 0
        var contacts = 0
        var hosts = 0
        var refused = 0
        var refusedContacts = 0
    }

    /// A swarm, so that services are taken, and images to push.
    private static func prepare(_ recorder: EngineRecorder) {
        // Another engine on this machine may hold a port of the swarm for a while.
        var swarm = recorder.send(swarmInitialization(port: .random(in: 20_000..<30_000)))
        for _ in 0..<30 where !swarm.status.contains(" 200 ") {
            sleep(1)
            swarm = recorder.send(swarmInitialization(port: .random(in: 20_000..<30_000)))
        }
        #expect(swarm.status.contains(" 200 "), "\(swarm.answer)")

        let emptyArchive = [UInt8](repeating: 0, count: 10_240)
        for host in EngineCorpus.pushHosts {
            let head = "POST /v1.41/images/create?fromSrc=-&repo=\(host)/x&tag=1 HTTP/1.1\r\nHost: d\r\n"
            let answer = recorder.send(
                Array("\(head)Content-Type: text/plain\r\nContent-Length: 10240\r\nConnection: close\r\n\r\n".utf8)
                    + emptyArchive
            )
            #expect(answer.status.contains(" 200 "), "\(answer.answer)")
        }
    }

    private static func swarmInitialization(port: Int) -> [UInt8] {
        let body = #"{"ListenAddr":"127.0.0.1:\#(port)","AdvertiseAddr":"127.0.0.1"}"#
        let head = "POST /v1.41/swarm/init HTTP/1.1\r\nHost: d\r\nConnection: close\r\n"
        return Array("\(head)Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8)
    }

    private static func judge(
        _ request: EngineCorpus.Request,
        _ exchange: EngineRecorder.Exchange,
        _ counts: inout Counts
    ) {
        var addresses: Set<RegistryAddress> = []
        var isRefused = false
        for shown in exchange.shown {
            var call = EngineRequest(
                method: shown.RequestMethod,
                target: shown.RequestUri,
                headers: shown.headers,
                body: shown.body
            )
            call.trustsContentLength = true
            switch call.reading(ownPluginName: "docker-ram") {
            case .nothing, .builder: break
            case .accesses(let contacts): addresses.formUnion(contacts.map(\.access.address))
            case .notInspected, .ownPlugin: isRefused = true
            }
        }
        counts.shown += exchange.shown.isEmpty ? 0 : 1
        counts.contacts += exchange.hosts.isEmpty ? 0 : 1
        counts.hosts += exchange.hosts.count
        counts.refused += isRefused ? 1 : 0
        counts.refusedContacts += isRefused && !exchange.hosts.isEmpty ? 1 : 0

        if !exchange.hosts.isEmpty, exchange.shown.isEmpty {
            Issue.record("\(request.text) went to \(exchange.hosts) and was not shown")
        }
        if !isRefused, !exchange.shown.contains(where: isHiddenLogin), !isHiddenBuild(request) {
            for host in exchange.hosts {
                let address = try? RegistryAddress(host)
                if address.map({ addresses.contains($0) || $0.isLoopback && addresses.contains(where: \.isLoopback) })
                    != true
                {
                    Issue.record("\(request.text) went to \(host), read was \(addresses), shown \(exchange.shown)")
                }
            }
        }
        if request.isOrdinary, !exchange.answer.contains("Minimum supported API version") {
            #expect(!isRefused, "\(request.text) is what clients send; \(exchange.shown)")
            #expect(!exchange.hosts.isEmpty, "\(request.text) should go somewhere: \(exchange.answer)")
        }
    }
}

/// Whether it is a login whose body the engine shows to no plugin, as those from 27.1 on: the egress proxy decides it.
private func isHiddenLogin(_ shown: EngineRecorder.Shown) -> Bool {
    let path = shown.RequestUri.prefix { $0 != "?" && $0 != "#" }
    return EngineUnderTest.major >= 27 && shown.body == nil && path.removingPercentEncoding?.hasSuffix("/auth") == true
}

/// Whether it is a build whose parameters come in a form that hides behind a second type, which engines from 29 on read
/// (docs/engine-calls.md): the egress proxy decides it.
private func isHiddenBuild(_ request: EngineCorpus.Request) -> Bool {
    EngineUnderTest.major >= 29 && request.text.prefix { $0 != "|" }.contains("/build")
        && request.text.components(separatedBy: "| Content-Type:").count > 2
}

/// The requests: what clients send, and ways to make it look like something else.
struct EngineCorpus {
    struct Request {
        let bytes: [UInt8]
        /// Whether clients send just this, so that it may not be refused.
        let isOrdinary: Bool

        var text: String {
            String(decoding: bytes.prefix(500), as: UTF8.self).replacing("\r\n", with: " | ")
        }
    }

    /// A call that names a host, `{}` standing for it.
    struct Call {
        let method: String
        let path: String
        let query: String
        let json: String?
    }

    let loopbackPort: UInt16

    static let pushHosts = ["push0.test", "push1.test:5000", "push2.test"]

    static let calls: [Call] = [
        Call(method: "POST", path: "/v1.41/images/create", query: "fromImage={}%2Fx&tag=1", json: nil),
        Call(method: "POST", path: "/v1.24/images/create", query: "tag=1&fromImage={}/x", json: nil),
        Call(method: "POST", path: "/images/create", query: "fromSrc=http://{}/a.tar&repo=r", json: nil),
        Call(method: "POST", path: "/v1.41/images/create", query: "fromSrc={}/a.tar", json: nil),
        Call(method: "POST", path: "/v1.41/images/create", query: "fromSrc=https%3A%2F%2F{}%2Fa.tar", json: nil),
        Call(method: "GET", path: "/v1.41/distribution/{}/x/json", query: "", json: nil),
        Call(method: "GET", path: "/v1.41/images/search", query: "term={}/x", json: nil),
        Call(method: "GET", path: "/v1.41/plugins/privileges", query: "remote={}/p", json: nil),
        Call(method: "POST", path: "/v1.41/plugins/pull", query: "remote={}/p&name=n", json: "[]"),
        Call(method: "POST", path: "/v1.41/build", query: "remote=http://{}/c.tar", json: nil),
        Call(
            method: "POST",
            path: "/v1.41/auth",
            query: "",
            json: #"{"username":"u","password":"p","serveraddress":"{}"}"#
        ),
        Call(
            method: "POST",
            path: "/v1.29/services/create",
            query: "",
            json:
                #"{"Name":"{name}","Mode":{"Replicated":{"Replicas":0}},"TaskTemplate":{"ContainerSpec":{"Image":"{}/x"}}}"#
        ),
    ]

    /// All requests, the same ones for the same port.
    var requests: [Request] {
        var chance = SeededGenerator(seed: 2_010_24)
        var serial = 0
        var requests: [Request] = []
        func host() -> String {
            serial += 1
            return "h\(serial).test"
        }

        for call in Self.calls {
            for type in call.json == nil
                ? [nil, "text/plain"] : ["application/json", "Application/JSON; charset=utf-8"]
            {
                requests.append(make(call, host(), headers: Self.bodyHeaders(call, type), isOrdinary: true))
            }
            for target in Self.targets {
                for query in Self.queries {
                    requests.append(
                        make(call, host(), target: target, query: query, headers: Self.bodyHeaders(call, nil))
                    )
                }
            }
            for body in Self.bodies {
                requests.append(make(call, host(), smuggled: body))
                requests.append(make(call, host(), query: { _ in "" }, smuggled: body))
            }
            for spelling in spellings {
                requests.append(make(call, spelling, headers: Self.bodyHeaders(call, nil)))
            }
            for json in call.json == nil ? [] : Self.documents {
                requests.append(make(call, host(), document: json(call.json ?? "", host())))
            }
            for _ in 0..<80 {
                let request = make(call, host(), headers: Self.bodyHeaders(call, nil))
                requests.append(Self.mutated(request, &chance))
            }
        }
        requests += Self.pushes
        requests.append(pipelined(host(), host()))
        return requests
    }

    // MARK: - Targets and queries

    private static let targets: [@Sendable (String) -> String] = [
        { $0 }, { "http://front.test\($0)" }, { "x:\($0)" }, { "x://\($0)" }, { "HTTPS://u:p@front.test:1\($0)" },
        { escaping($0, "s") }, { escaping($0, "aeiou") },
        { escaping($0, "/").replacing("%2F", with: "/", maxReplacements: 1) },
        { $0.replacing("/v1.41/", with: "/v01.41/") }, { $0.replacing("/v1.41/", with: "/v1.41./") },
        { $0.replacing("/v1.41/", with: "/") }, { $0.replacing("/v1.41/", with: "/%76%31.4%31/") },
        { "/auth/.." + $0 }, { "/" + $0 }, { $0 + "/" }, { $0.replacing("%", with: "%25") },
        { escaping($0, "t", twice: true) },
    ]

    private static let queries: [@Sendable (String) -> String] = [
        { $0 }, { $0 + "&" + $0.replacing(".test", with: ".second.test") },
        { $0.replacing(".test", with: ".first.test") + "&" + $0 }, { $0 + "&z=%zz" }, { "z=%&" + $0 }, { $0 + ";z=1" },
        { "&&" + $0 + "&=" }, { escapingNames($0) }, { $0.uppercased() },
        { $0 + "&" + escapingNames($0.replacing(".test", with: ".encoded.test")) }, { "z=1;" + $0 }, { $0 + "#x" },
    ]

    static func escaping(_ text: String, _ letters: String, twice: Bool = false) -> String {
        text.map { letters.contains($0) ? "%" + (twice ? "25" : "") + hexadecimal($0) : String($0) }.joined()
    }

    private static func hexadecimal(_ letter: Character) -> String {
        String(letter.asciiValue ?? 0, radix: 16, uppercase: true)
    }

    private static func escapingNames(_ query: String) -> String {
        query.split(separator: "&").map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return ([escaping(String(parts[0]), "eIS")] + parts.dropFirst().map(String.init)).joined(separator: "=")
        }.joined(separator: "&")
    }

    // MARK: - Bodies

    /// Headers and a body that says something else, `{}` standing for the other host.
    private static let bodies: [(headers: [String], body: String)] = {
        let form = "fromImage={}/x&fromSrc=http://{}/b.tar&remote=http://{}/c&term={}/x&name=m&tag=latest"
        let multipart =
            ["fromImage", "fromSrc", "remote"].map {
                "--b\r\nContent-Disposition: form-data; name=\"\($0)\"\r\n\r\nhttp://{}/m\r\n"
            }.joined() + "--b--\r\n"
        let urlencoded = "Content-Type: application/x-www-form-urlencoded"
        let json = "Content-Type: application/json"
        let chunked = "Transfer-Encoding: chunked"
        return [
            ([urlencoded, "length"], form), ([urlencoded, chunked], form),
            ([urlencoded + "; charset=utf-8", "length"], form),
            ([urlencoded + "; bad", "length"], form), ([urlencoded.uppercased(), "length"], form),
            ([urlencoded, json, "length"], form), ([urlencoded, json, chunked], form),
            ([urlencoded, "Content-Type: text/plain", chunked], form), ([json, urlencoded, "length"], form),
            ([urlencoded, "Content-Type:", chunked], form),
            ([urlencoded, "Content-Type: application/x-tar", chunked], form),
            ([chunked], form), (["length"], form), (["Content-Type: text/plain", "length"], form),
            ([urlencoded, "Content-Length: 0"], ""), ([urlencoded, "Content-Length: 0", chunked], form),
            ([urlencoded, "Content-Length: 0", "Content-Length: 0"], ""),
            (["content-type:application/x-www-form-urlencoded", "length"], form),
            (["Content-Type: multipart/form-data; boundary=b", "length"], multipart),
            (["Content-Type: multipart/form-data; boundary=b", chunked], multipart),
            (["Content-Type: multipart/form-data; boundary=b", json, chunked], multipart), ([json, "length"], "{}"),
            ([json, chunked], "[]"),
        ]
    }()

    private static let documents: [@Sendable (String, String) -> String] = [
        { json, _ in json.replacing("Image", with: "image").replacing("serveraddress", with: "SERVERADDRESS") },
        { json, other in json.replacing("\"}", with: "\",\"serverAddress\":\"\(other)\",\"image\":\"\(other)/x\"}") },
        { json, other in json.replacing("\"}", with: "\",\"serveraddress\":\"\(other)\",\"Image\":\"\(other)/x\"}") },
        { json, _ in json.replacing("server", with: "\u{17F}erver").replacing("Task", with: "Ta\u{17F}\u{212A}") },
        { json, _ in json.replacing("erveraddress", with: "\\u0065rveraddress").replacing("mage", with: "\\u006dage") },
        { json, _ in json + " " }, { json, _ in json + json }, { json, _ in json + "x" }, { json, _ in " \n" + json },
        { json, _ in "\u{FEFF}" + json }, { json, _ in "[" + json + "]" },
        { json, other in
            json.dropLast()
                + ",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"\(other)/x\"}},\"serveraddress\":\"\(other)\"}"
        },
        { json, other in
            json.dropLast() + ",\"tasktemplate\":{\"containerspec\":{\"image\":\"\(other)/x\"}}}"
        },
    ]

    // MARK: - Hosts

    private var spellings: [String] {
        [
            "UPPER.Example", "one", "EVILHOST", "a.test:443", "b.test:0443", "c.test:5000", "d.test.", "e..test",
            "-f.test",
            "u@g.test", "u%40h.test", "%69.test", "i%2etest", "j.test%3A5000", "xn--e1afmkfd.test", "k_l.test", "[::1]",
            "[2001:db8::1]:5000", "[2001:DB8:0::1]", "2130706433:5000", "0x7f.0.0.1:\(loopbackPort)",
            "127.1:\(loopbackPort)",
            "localhost:\(loopbackPort)", "127.0.0.1:\(loopbackPort)", "LOCALHOST:\(loopbackPort)", "docker.io",
            "index.docker.io",
            "registry-1.docker.io", "registry.hub.docker.com", "DOCKER.io", "docker.io/library", "m.test:65536",
            "n.test:",
            "192.0.2.1", "192.0.2.1:80", "192.0.2.01", "o.test/p/q", "doc%E2%84%AAer.io", "r%00.test", "s%0a.test",
            "t%20.test",
        ]
    }

    // MARK: - Putting together

    private static func bodyHeaders(_ call: Call, _ type: String?) -> [String] {
        guard call.method == "POST" else { return [] }
        if call.json != nil { return ["Content-Type: \(type ?? "application/json")", "length"] }
        return (type.map { ["Content-Type: \($0)"] } ?? []) + ["Content-Length: 0"]
    }

    private func make(
        _ call: Call,
        _ host: String,
        target: (String) -> String = { $0 },
        query: (String) -> String = { $0 },
        headers: [String] = [],
        document: String? = nil,
        smuggled: (headers: [String], body: String)? = nil,
        isOrdinary: Bool = false
    ) -> Request {
        let path = target(call.path.replacing("{}", with: host))
        let query = query(call.query.replacing("{}", with: host))
        var headers = headers
        var body = document ?? call.json ?? ""
        if document != nil { headers = Self.bodyHeaders(call, nil) }
        if let smuggled {
            headers = smuggled.headers
            body = smuggled.body.replacing("{}", with: "smuggled-\(host)")
        }
        body = body.replacing("{}", with: host).replacing("{name}", with: host.filter { $0.isLetter || $0.isNumber })
        if headers.contains(where: { $0.hasPrefix("Transfer-Encoding") }) {
            body = String(body.utf8.count, radix: 16) + "\r\n\(body)\r\n0\r\n\r\n"
        } else if !headers.contains("length") {
            body = ""
        }
        let lines =
            ["\(call.method) \(path)\(query.isEmpty ? "" : "?" + query) HTTP/1.1", "Host: d", "Connection: close"]
            + headers.map { $0 == "length" ? "Content-Length: \(body.utf8.count)" : $0 }
        return Request(
            bytes: Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8),
            isOrdinary: isOrdinary
        )
    }

    private func pipelined(_ first: String, _ second: String) -> Request {
        let requests = [first, second].map {
            make(Self.calls[0], $0, headers: ["Content-Length: 0"]).bytes
        }
        let open = String(decoding: requests[0], as: UTF8.self).replacing("Connection: close\r\n", with: "")
        return Request(bytes: Array(open.utf8) + requests[1], isOrdinary: true)
    }

    /// Pushes of images that are there, the name in the path.
    private static var pushes: [Request] {
        var requests: [Request] = []
        for host in pushHosts {
            for (path, isOrdinary) in [
                ("/v1.41/images/\(host)/x/push?tag=1", true), ("/v1.41/images/\(host)%2Fx/push?tag=1", true),
                ("/images/\(escaping(host, "pt"))/x/pus%68?tag=1", false), ("x:/images/\(host)/x/push?tag=1", false),
                ("/images/\(host)/x/push?tag=1&tag=2", false), ("/images/\(host)%252Fx/push?tag=1", false),
                ("/images/\(host)/x:1/push", false), ("/images/\(host.uppercased())/x/push?tag=1", false),
                ("/images/docker.io/library/y/../../../\(host)/x/push?tag=1", false), ("/images/\(host)/x/push", false),
            ] {
                let head = "POST \(path) HTTP/1.1\r\nHost: d\r\nX-Registry-Auth: e30=\r\nConnection: close\r\n"
                requests.append(Request(bytes: Array("\(head)Content-Length: 0\r\n\r\n".utf8), isOrdinary: isOrdinary))
            }
        }
        return requests
    }

    /// The request with a few bytes of its first line taken out, put in or written otherwise.
    private static func mutated(_ request: Request, _ chance: inout SeededGenerator) -> Request {
        var bytes = request.bytes
        let lineEnd = bytes.firstIndex(of: 0x0D) ?? bytes.count
        let pieces = [
            "/", "%2F", "&", "=", ";", "%", "?", "#", "+", ".", "..", "//", ":", "@", "%00", "A", "a", "%25", "v1",
        ]
        for _ in 0..<Int.random(in: 1...3, using: &chance) {
            let position = Int.random(in: 5..<(lineEnd - 9), using: &chance)
            switch Int.random(in: 0..<4, using: &chance) {
            case 0:
                bytes.replaceSubrange(position...position, with: Array("%\(String(bytes[position], radix: 16))".utf8))
            case 1: bytes.insert(contentsOf: Array((pieces.randomElement(using: &chance) ?? "").utf8), at: position)
            case 2: bytes[position] ^= 0x20
            default: bytes.remove(at: position)
            }
        }
        return Request(bytes: bytes, isOrdinary: false)
    }
}
