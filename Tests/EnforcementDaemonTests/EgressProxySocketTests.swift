@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import NIOCore
import NIOHTTP1
import RegistryAccess
import TestSupport
import Testing

/// The egress proxy on a real socket, between clients and servers that send exactly the bytes that they are told.
struct EgressProxySocketTests {
    static let sentence = "Your organization has disallowed this registry: "

    // MARK: - Tunnels

    @Test("a tunnel passes on every byte in both directions")
    func tunnel() async throws {
        let hello = ClientHelloTests.hello()
        let upload = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try await LoopbackServer.with({ server in
            // Everything back, and then what it was.
            let received = server.read { $0.count >= hello.count + upload.count }
            server.send(received)
        }) { origin in
            try await RunningProxy.with { running in
                let got = try await onThread {
                    let client = try #require(try running.tunnel("origin.test:\(origin.port)"))
                    client.send(hello)
                    client.send(upload)
                    return client.read()
                }
                #expect(got == hello + upload)
                #expect(running.proxy.counts.allowed == 1)
                #expect(await eventually { running.proxy.openConnections == 0 })
            }
        }
    }

    @Test("bytes that come with the head of the request belong to the tunnel")
    func earlyBytes() async throws {
        let hello = ClientHelloTests.hello()
        try await LoopbackServer.with({ $0.send($0.read { $0.count >= hello.count }) }) { origin in
            try await RunningProxy.with { running in
                let got = try await onThread {
                    let client = try SocketClient(port: running.port)
                    client.send(Array(running.connect("origin.test:\(origin.port)").utf8) + hello)
                    return client.read()
                }
                #expect(got.suffix(hello.count).elementsEqual(hello))
            }
        }
    }

    @Test("a direction that has ended lets the other finish")
    func halfClosed() async throws {
        let recording = Recording()
        let hello = ClientHelloTests.hello()
        let download = [UInt8](repeating: 9, count: 2_000_000)
        try await LoopbackServer.with({ server in
            // Until the client has ended its side.
            _ = server.read()
            server.send(download)
        }) { origin in
            try await RunningProxy.with { running in
                let got = try await onThread {
                    let client = try #require(try running.tunnel("origin.test:\(origin.port)"))
                    client.send(hello)
                    client.endSending()
                    return client.read()
                }
                #expect(got == download)
            }
        }
        try await LoopbackServer.with({ server in
            let beginning = server.read { $0.count >= hello.count }.count
            server.send([1, 2, 3])
            server.endSending()
            let rest = server.read { $0.count >= hello.count + download.count - beginning }.count
            recording.add(Array("\(beginning + rest)".utf8))
        }) { origin in
            try await RunningProxy.with { running in
                let got = try await onThread {
                    let client = try #require(try running.tunnel("origin.test:\(origin.port)"))
                    client.send(hello)
                    let first = client.read()
                    client.send(download)
                    return first
                }
                #expect(got == [1, 2, 3])
                #expect(await eventually { recording.all == ["\(hello.count + download.count)"] })
            }
        }
    }

    @Test("a destination that ends before it is spoken to ends the tunnel")
    func earlyEnd() async throws {
        try await LoopbackServer.with({ server in
            server.send("lost")
            server.endSending()
            _ = server.read()
        }) { origin in
            try await RunningProxy.with { running in
                let got = try await onThread {
                    let client = try SocketClient(port: running.port)
                    client.send(running.connect("origin.test:\(origin.port)"))
                    _ = client.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
                    Thread.sleep(forTimeInterval: 0.2)
                    client.send(ClientHelloTests.hello())
                    return client.read(for: 20)
                }
                #expect(got.isEmpty)
            }
        }
    }

    @Test("nobody is read from faster than the other side takes it")
    func backPressure() async throws {
        let sent = Counter()
        try await LoopbackServer.with({ server in
            _ = server.read { !$0.isEmpty }
            let block = [UInt8](repeating: 1, count: 1 << 20)
            for _ in 0..<512 where server.send(block, within: 2) { sent.add(block.count) }
        }) { origin in
            try await RunningProxy.with { running in
                let client = try await onThread {
                    let client = try #require(try running.tunnel("origin.test:\(origin.port)"))
                    client.send(ClientHelloTests.hello())
                    return client
                }
                // The client takes nothing; what is on the way is in the buffers of four sockets and in ours.
                var before = 0
                let isStanding = await eventually {
                    before = sent.value
                    try? await Task.sleep(for: .seconds(1))
                    return before > 0 && sent.value == before
                }
                #expect(isStanding)
                #expect(before < 64 << 20)
                withExtendedLifetime(client) {}
            }
        }
    }

    @Test("a session for another host and what is not TLS end before the destination hears of them")
    func wrongBeginnings() async throws {
        let recording = Recording()
        try await LoopbackServer.with({ recording.add($0.read()) }) { origin in
            try await RunningProxy.with { running in
                for (bytes, reason, answer) in [
                    (
                        ClientHelloTests.hello(["evil.test"]), Verdict.Reason.serverName,
                        [UInt8]([21, 3, 1, 0, 2, 2, 49])
                    ),
                    (ClientHelloTests.hello([]), .serverName, [21, 3, 1, 0, 2, 2, 49]),
                    (Array("GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n".utf8), .notTLS, []),
                ] {
                    let got = try await onThread {
                        let client = try #require(try running.tunnel("origin.test:\(origin.port)"))
                        client.send(bytes)
                        return client.read()
                    }
                    #expect(got == answer)
                    let records = await running.log.take(2)
                    #expect(records.map(\.verdict) == [.allow, .deny])
                    #expect(records.last?.reason == reason)
                    #expect(records.first?.id == records.last?.id)
                }
                #expect(running.proxy.counts.allowed == 0)
                #expect(running.proxy.counts.refused == 3)
            }
            #expect(await eventually { recording.all.count == 3 })
            #expect(recording.all == ["", "", ""])
        }
    }

    @Test("audit mode and no policy let all of it pass", arguments: [RunningProxy.policy(mode: "audit"), nil])
    func audit(policy: String?) async throws {
        try await LoopbackServer.with({ $0.send($0.read { $0.count >= 5 }) }) { origin in
            let names = RunningProxy.Names(addresses: ["evil.test": ["127.0.0.1"], "0x7f.1": ["127.0.0.1"]])
            try await RunningProxy.with(policy: policy, names: names) { running in
                for host in ["evil.test", "127.0.0.1", "0x7f.1"] {
                    let got = try await onThread {
                        let client = try #require(try running.tunnel("\(host):\(origin.port)"))
                        client.send("plain")
                        return client.read()
                    }
                    #expect(got.elementsEqual("plain".utf8))
                }
                let answer = try await running.exchange(
                    "GET http://evil.test:\(origin.port)/ HTTP/1.1\r\nHost: evil.test:\(origin.port)\r\n"
                        + "\(running.authorization)\r\n"
                )
                #expect(answer.contains(" 502 "), "the echo is no HTTP: \(answer)")
                let records = await running.log.take(policy == nil ? 4 : 6)
                #expect(records.allSatisfy { $0.verdict != .deny })
                #expect(records.contains { $0.verdict == .wouldDeny } == (policy != nil))
            }
        }
    }

    @Test("a change of the policy ends the tunnels that it does not allow any more, and no others")
    func policyChange() async throws {
        try await LoopbackServer.with({ server in
            let hello = server.read { !$0.isEmpty }
            server.send(server.read { !$0.isEmpty } + hello)
        }) { origin in
            try await RunningProxy.with { running in
                let (kept, ended) = try await onThread {
                    let clients = try ["plain.test", "origin.test"].map { host in
                        let client = try #require(try running.tunnel("\(host):\(origin.port)"))
                        client.send(ClientHelloTests.hello([host]))
                        return client
                    }
                    return (clients[0], clients[1])
                }
                #expect(await eventually { running.proxy.openConnections == 2 })
                try running.replacePolicy(
                    with: RunningProxy.policy(#", {"address": "origin.test:*", "allowed": false}"#)
                )
                running.proxy.reconsider()
                let rest = try await onThread { () -> ([UInt8], [UInt8]) in
                    let rest = ended.read()
                    kept.send("!")
                    return (rest, kept.read())
                }
                #expect(rest.0.isEmpty)
                #expect(rest.1.starts(with: [UInt8(ascii: "!")]))
            }
        }
    }

    // MARK: - Who and where

    @Test(
        "refusals are the sentence, as reason phrase and as an error of the registry API",
        arguments: [
            ("evil.test:443", "evil.test"), ("127.1:443", nil), ("evil.test:0443", nil), ("[::1]:443", "[::1]"),
            ("169.254.169.254:443", "169.254.169.254"), ("inside.test:443", "inside.test"),
        ]
    )
    func refusal(authority: String, registry: String?) async throws {
        try await RunningProxy.with { running in
            let answer = try await running.exchange(running.connect(authority))
            let expected = registry.map { "HTTP/1.1 403 \(Self.sentence)\($0) (acme, policy 7, " }
            #expect(answer.hasPrefix(expected ?? "HTTP/1.1 403 This request could not be inspected: "), "\(answer)")
            let phrase = answer.prefix { $0 != "\r\n" }.dropFirst("HTTP/1.1 403 ".count)
            let body = answer.components(separatedBy: "\r\n\r\n").last ?? ""
            #expect(body == #"{"errors":[{"code":"DENIED","message":"\#(phrase)"}]}"# + "\n")
            #expect(phrase.utf8.count <= Refusal.longest)
            let record = await running.log.take(registry == "inside.test" ? 2 : 1).last
            #expect(record?.verdict == .deny)
            #expect(record.map { answer.contains($0.id) } == true)
            #expect(record?.registry == registry)
        }
    }

    @Test(
        "whoever does not know the secret gets nothing",
        arguments: ["", "Proxy-Authorization: Basic ZG9ja2VyLXJhbTo=\r\n"]
    )
    func strangers(header: String) async throws {
        try await RunningProxy.with { running in
            for request in [
                "CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\(header)\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\n\(header)\r\n",
                "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\(header)\(running.authorization)"
                    + "\(running.authorization)\r\n",
            ] {
                let answer = try await running.exchange(request)
                #expect(answer.hasPrefix("HTTP/1.1 407 "), "\(answer)")
                #expect(answer.contains("Proxy-Authenticate: Basic realm=\"docker-ram\"\r\n"))
            }
            #expect(running.proxy.counts.strangers == 3)
            #expect(running.proxy.counts.refused == 0)
            let present = try await running.exchange("GET / HTTP/1.1\r\nHost: x\r\n\(running.authorization)\r\n")
            #expect(present.hasPrefix("HTTP/1.1 200 docker-ram egress proxy\r\n"))
        }
    }

    @Test("a name is dialed at the address that was checked, and at none if one of them is not allowed")
    func addresses() async throws {
        let names = RunningProxy.Names(addresses: [
            "origin.test": ["169.254.169.254", "127.0.0.1"], "nowhere.test": [], "plain.test": ["127.0.0.1", "::"],
        ])
        try await LoopbackServer.with({ _ in }) { origin in
            try await RunningProxy.with(names: names) { running in
                for name in ["origin.test", "plain.test"] {
                    let answer = try await running.exchange(running.connect("\(name):\(origin.port)"))
                    #expect(answer.hasPrefix("HTTP/1.1 403 \(Self.sentence)\(name):\(origin.port) "), "\(answer)")
                }
                let answer = try await running.exchange(running.connect("nowhere.test:\(origin.port)"))
                #expect(answer.hasPrefix("HTTP/1.1 502 The egress proxy of docker-ram cannot reach nowhere.test:"))
                #expect(answer.contains("its name cannot be resolved: name or service not known"))
                #expect(origin.connections == 0)
            }
        }
    }

    @Test(
        "no way leads back to the proxy",
        arguments: [RunningProxy.policy(), RunningProxy.policy(mode: "audit"), nil]
    )
    func ownListener(policy: String?) async throws {
        let names = RunningProxy.Names(addresses: ["origin.test": ["127.0.0.1"], "plain.test": ["::ffff:127.0.0.1"]])
        try await RunningProxy.with(policy: policy, names: names) { running in
            for host in ["origin.test", "127.0.0.1", "plain.test"] {
                let answer = try await running.exchange(running.connect("\(host):\(running.port)"))
                #expect(answer.contains("it leads back to the egress proxy itself"), "\(answer)")
            }
        }
    }

    @Test("a port that nobody listens on is said to be one")
    func unreachable() async throws {
        // The port of a server that was there a moment ago may be another test's by now.
        try await RunningProxy.with { running in
            let answer = try await running.exchange(running.connect("origin.test:1"))
            #expect(
                answer.hasPrefix(
                    "HTTP/1.1 502 The egress proxy of docker-ram cannot reach origin.test:1: "
                        + "connection refused\r\n"
                ),
                "\(answer)"
            )
        }
    }

    // MARK: - Plain HTTP

    @Test("a request is made anew, without what is for the proxy")
    func forward() async throws {
        let recording = Recording()
        try await LoopbackServer.with({ server in
            recording.add(server.read { $0.suffix(5).elementsEqual("hello".utf8) })
            server.send(
                "HTTP/1.1 201 Made\r\nX-A: b\r\nKeep-Alive: 5\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"
            )
            _ = server.read()
        }) { origin in
            try await RunningProxy.with { running in
                let host = "plain.test:\(origin.port)"
                let answer = try await running.exchange(
                    "POST http://\(host)/v2/?a=b HTTP/1.1\r\nHost: \(host)\r\n\(running.authorization)"
                        + "Content-Length: 5\r\nAuthorization: Bearer t\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\n\r\n"
                        // A second request on the same connection.
                        + "helloGET http://\(host)/second HTTP/1.1\r\nHost: \(host)\r\n\(running.authorization)\r\n"
                )
                #expect(answer == "HTTP/1.1 201 Created\r\nX-A: b\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
                #expect(
                    recording.all == [
                        "POST /v2/?a=b HTTP/1.1\r\nHost: \(host)\r\nAuthorization: Bearer t\r\nContent-Length: 5\r\n"
                            + "Connection: close\r\n\r\nhello"
                    ]
                )
                #expect(origin.connections == 1)
            }
        }
    }

    typealias Response = (request: String, response: String, passed: String)

    @Test(
        "responses",
        arguments: [
            // Chunks come out as chunks, but without extensions and trailers.
            (
                "GET",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
            // A body that ends with the connection gets an end.
            (
                "GET", "HTTP/1.1 200 OK\r\n\r\nabc",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
            (
                "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
            ),
            (
                "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
            ),
            ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
            (
                "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
            ),
            (
                "GET", "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                // A reason phrase is nobody's to read, and not kept.
                "HTTP/1.1 103 \r\nLink: <a>\r\n\r\n"
                    + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ),
            // Half a body is not taken for a whole one: the length says more, or the last chunk is missing.
            (
                "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabc"
            ),
            (
                "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n"
            ),
        ] as [Response]
    )
    func responses(row: Response) async throws {
        try await LoopbackServer.with({ server in
            _ = server.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
            server.send(row.response)
        }) { origin in
            try await RunningProxy.with { running in
                let host = "plain.test:\(origin.port)"
                let answer = try await running.exchange(
                    "\(row.request) http://\(host)/ HTTP/1.1\r\nHost: \(host)\r\n\(running.authorization)\r\n"
                )
                #expect(answer == row.passed)
            }
        }
    }

    @Test(
        "responses that have no single reading are not passed on",
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "SSH-2.0-OpenSSH\r\n", "",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", "HTTP/1.1 200 OK\r\n \r\nA: b\r\n\r\n",
        ]
    )
    func doubtfulResponses(response: String) async throws {
        try await LoopbackServer.with({ server in
            _ = server.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
            server.send(response)
        }) { origin in
            try await RunningProxy.with { running in
                let host = "plain.test:\(origin.port)"
                let answer = try await running.exchange(
                    "GET http://\(host)/ HTTP/1.1\r\nHost: \(host)\r\n\(running.authorization)\r\n"
                )
                #expect(
                    answer.hasPrefix("HTTP/1.1 502 The egress proxy of docker-ram cannot reach \(host): "),
                    "\(answer)"
                )
            }
        }
    }

    @Test("plain HTTP goes only where a rule accepts it")
    func plainHTTP() async throws {
        try await LoopbackServer.with({ _ in }) { origin in
            try await RunningProxy.with { running in
                let host = "origin.test:\(origin.port)"
                let answer = try await running.exchange(
                    "GET http://\(host)/ HTTP/1.1\r\nHost: \(host)\r\n\(running.authorization)\r\n"
                )
                #expect(answer.hasPrefix("HTTP/1.1 403 \(Self.sentence)\(host) "), "\(answer)")
                #expect(await running.log.take(1).first?.reason == .plainHTTP)
                #expect(origin.connections == 0)
            }
        }
    }

    // MARK: - Through another proxy

    @Test("everything goes through the upstream proxy but what its list names")
    func upstream() async throws {
        let recording = Recording()
        let hello = ClientHelloTests.hello(["nowhere.test"])
        try await LoopbackServer.with({ proxy in
            let head = proxy.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
            recording.add(head)
            guard head.starts(with: "CONNECT".utf8) else {
                return proxy.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            }
            proxy.send("HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")
            proxy.send(proxy.read { $0.count >= hello.count })
        }) { upstream in
            try await LoopbackServer.with({ server in
                _ = server.read { !$0.isEmpty }
                server.send("direct")
            }) { origin in
                var settings = DaemonSettings.EgressProxy()
                settings.upstream = try UpstreamProxy(url: Secret("http://us%65r:s%3Acret@127.0.0.1:\(upstream.port)"))
                settings.noProxy = [try AddressPattern("origin.test")]
                try await RunningProxy.with(settings: settings) { running in
                    let got = try await onThread {
                        let client = try #require(try running.tunnel("nowhere.test:443"))
                        client.send(hello)
                        return client.read()
                    }
                    #expect(got == hello)
                    let plain = try await running.exchange(
                        "GET http://plain.test/v2/ HTTP/1.1\r\nHost: plain.test\r\n\(running.authorization)\r\n"
                    )
                    #expect(plain.hasSuffix("\r\n\r\nok"))
                    let direct = try await onThread {
                        let client = try #require(try running.tunnel("origin.test:\(origin.port)"))
                        client.send(ClientHelloTests.hello())
                        return client.read()
                    }
                    #expect(direct.elementsEqual("direct".utf8))
                    let refused = try await running.exchange(running.connect("evil.test:443"))
                    #expect(refused.hasPrefix("HTTP/1.1 403 \(Self.sentence)evil.test "))
                    let credentials = Data("user:s:cret".utf8).base64EncodedString()
                    #expect(recording.all.count == 2)
                    #expect(recording.all.allSatisfy { $0.contains("Proxy-Authorization: Basic \(credentials)\r\n") })
                    #expect(
                        recording.all.first?.hasPrefix(
                            "CONNECT nowhere.test:443 HTTP/1.1\r\nHost: nowhere.test:443\r\n"
                        ) == true
                    )
                    #expect(
                        recording.all.last?.hasPrefix("GET http://plain.test/v2/ HTTP/1.1\r\nHost: plain.test\r\n")
                            == true
                    )
                }
            }
        }
    }

    @Test(
        "an upstream proxy that does not want to is named with its reason, and never with our password for it",
        arguments: [
            ("HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", "it answers 407 Proxy Authentication Required"),
            ("HTTP/1.1 403 No\r\n\r\n", "it answers 403 Forbidden"), ("SSH-2.0\r\n", "its answer is not HTTP"),
            ("", "it closes the connection"),
        ]
    )
    func upstreamFaults(answer: String, reason: String) async throws {
        try await expectFault(ofUpstream: answer, reason) { $0.connect("origin.test:443") }
    }

    @Test(
        "the same over plain HTTP: what the upstream proxy says for itself is not taken for the destination's answer",
        arguments: [
            (
                "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nno",
                "it answers 407 Proxy Authentication Required"
            ),
            ("SSH-2.0\r\n", "its response is not HTTP"), ("", "it closes the connection without a whole response"),
        ]
    )
    func upstreamFaultsOverPlainHTTP(answer: String, reason: String) async throws {
        try await expectFault(ofUpstream: answer, reason) { running in
            "GET http://plain.test/v2/ HTTP/1.1\r\nHost: plain.test\r\n\(running.authorization)\r\n"
        }
    }

    private func expectFault(
        ofUpstream said: String,
        _ reason: String,
        request: @escaping (RunningProxy) -> String
    ) async throws {
        try await LoopbackServer.with({ proxy in
            _ = proxy.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
            proxy.send(said)
        }) { upstream in
            var settings = DaemonSettings.EgressProxy()
            settings.upstream = try UpstreamProxy(url: Secret("http://user:secret@127.0.0.1:\(upstream.port)"))
            try await RunningProxy.with(settings: settings) { running in
                let answer = try await running.exchange(request(running))
                #expect(answer.hasPrefix("HTTP/1.1 502 "))
                #expect(answer.contains("the upstream proxy 127.0.0.1:\(upstream.port): \(reason)"), "\(answer)")
                #expect(!answer.contains("secret"))
            }
        }
    }

    // MARK: - Limits

    @Test("a head that does not come, or is too long, ends the connection")
    func heads() async throws {
        try await RunningProxy.with(adjust: { $0.head = .milliseconds(200) }) { running in
            for beginning in ["", "CONNECT origin.test:443 HTTP/1.1\r\nHost: "] {
                let isClosed = try await onThread {
                    let client = try SocketClient(port: running.port)
                    client.send(beginning)
                    return client.isClosed(within: 30)
                }
                #expect(isClosed)
            }
        }
        try await RunningProxy.with { running in
            for head in [
                "CONNECT origin.test:443 HTTP/1.1\r\nA: \(String(repeating: "a", count: ProxyLimits.longestHead))\r\n\r\n",
                "GET http://plain.test/\(String(repeating: "a", count: ProxyLimits.longestHead)) HTTP/1.1\r\n\r\n",
                "CONNECT origin.test:443 HTTP/1.1\r\n\(String(repeating: "A: b\r\n", count: 200))\r\n",
            ] {
                let answer = try await running.exchange(head)
                #expect(answer.hasPrefix("HTTP/1.1 431 "), "\(answer)")
            }
        }
    }

    @Test("a tunnel in which nothing is said, or nothing more, ends")
    func idle() async throws {
        try await LoopbackServer.with({ _ = $0.read() }) { origin in
            try await RunningProxy.with(adjust: { $0.hello = .milliseconds(200) }) { running in
                let isClosed = try await onThread {
                    try #require(try running.tunnel("origin.test:\(origin.port)")).isClosed(within: 30)
                }
                #expect(isClosed)
            }
            try await RunningProxy.with(adjust: { $0.idle = .milliseconds(200) }) { running in
                let isClosed = try await onThread {
                    let client = try #require(try running.tunnel("origin.test:\(origin.port)"))
                    client.send(ClientHelloTests.hello())
                    return client.isClosed(within: 30)
                }
                #expect(isClosed)
                #expect(await eventually { running.proxy.openConnections == 0 })
            }
        }
    }

    @Test("a proxy that stops lets tunnels go on for a while, and then ends them")
    func drain() async throws {
        try await LoopbackServer.with({ server in
            let hello = server.read { !$0.isEmpty }
            Thread.sleep(forTimeInterval: 0.5)
            server.send(hello)
            _ = server.read()
        }) { origin in
            try await RunningProxy.with(adjust: { $0.drain = .seconds(5) }) { running in
                async let got = onThread {
                    let client = try #require(try running.tunnel("origin.test:\(origin.port)"))
                    client.send(ClientHelloTests.hello())
                    return client.read()
                }
                #expect(await eventually { running.proxy.openConnections == 1 })
                await running.server.stop()
                let passed = try await got
                #expect(passed == ClientHelloTests.hello())
                #expect(throws: SocketFault.self) { try SocketClient(port: running.port) }
            }
        }
    }
}

/// A number that threads add to.
private final class Counter: Sendable {
    private let number = Recording()

    func add(_ count: Int) { number.add(Array("\(count)".utf8)) }

    var value: Int { number.all.compactMap(Int.init).reduce(0, +) }
}
