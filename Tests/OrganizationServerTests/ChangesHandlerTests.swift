import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import RegistryAccess
import TestSupport
import Testing

@testable import OrganizationServer

/// Devices that wait for a change on real sockets: whether they are held on the event loop or by the router, they are told the
/// same.
struct ChangesHandlerTests {
    /// A connection of a device.
    private struct Line: Sendable {
        let connection: RawConnection
        let device: (id: String, secret: String)

        init(_ client: any TestClientProtocol, _ device: (id: String, secret: String)) throws {
            connection = try RawConnection(to: "127.0.0.1", port: UInt16(try #require(client.port)))
            self.device = device
        }

        /// The head of a question.
        func question(_ after: String?, wait: Int, _ fields: String = "") -> String {
            let query = "?wait=\(wait)" + (after.map { "&after=\($0)" } ?? "")
            return "GET /v1/organizations/acme/devices/\(device.id)/changes\(query) HTTP/1.1\r\nHost: x\r\n"
                + "Authorization: Bearer \(device.secret)\r\n\(fields)\r\n"
        }

        /// The next answer, status line and body.
        func answer() async throws -> (status: String, body: String) {
            try await onThread {
                var text = ""
                while true {
                    if let end = text.range(of: "\r\n\r\n") {
                        let length =
                            text[..<end.lowerBound].lowercased().firstMatch(of: #/content-length: (\d+)/#)
                            .flatMap { Int($0.1) } ?? 0
                        let body = text[end.upperBound...]
                        if body.utf8.count >= length {
                            return (String(text.prefix { $0 != "\r\n" }), String(body))
                        }
                    }
                    guard let bytes = connection.read(waits: 12) else { return ("", text) }
                    text += String(decoding: bytes, as: UTF8.self)
                }
            }
        }

        func ask(_ after: String?, wait: Int = 0, _ fields: String = "") async throws -> (status: String, body: String)
        {
            #expect(connection.send(question(after, wait: wait, fields)))
            return try await answer()
        }

        /// How far everything has come.
        func cursor() async throws -> String {
            let body = try await ask(nil).body
            return try #require(try StrictJSON.parse(Array(body.utf8)).value(named: "cursor")?.text, "\(body)")
        }
    }

    private static func held(_ server: RunningServer, _ count: Int) async {
        while await server.services.waiting.heldCount != count { await Task.yield() }
    }

    @Test(
        "a question that is not plain is the router's, which answers the same",
        arguments: [
            "", "X-Other: 1\r\n", "Connection: keep-alive\r\n", "Connection: close\r\n", "Content-Length: 0\r\n",
            "Authorization: Bearer ramd_x\r\n", "Expect: 100-continue\r\n",
        ]
    )
    func fields(_ fields: String) async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let wanted = try await server.ask(.get, "devices/\(device.id)/changes", secret: device.secret)
            try await server.live { client in
                let line = try Line(client, device)
                let (status, body) = try await line.ask(nil, wait: 0, fields)
                if fields.hasPrefix("Authorization") {
                    #expect(status.contains(" 401 "), "\(status)")
                } else {
                    #expect(status == "HTTP/1.1 200 OK")
                    #expect(body == wanted.text)
                }
            }
        }
    }

    @Test(
        "targets are read as the router reads them",
        arguments: [
            "changes?wait=x", "changes?wait=61", "changes?wait=1&wait=0", "changes?wait=", "changes?", "changes?after=",
            "changes?other=1", "changes?after=1-0-none-0&after=2", "changes?wait=%30", "changes/", "changes?wait=0&",
            "changes?wait=+0", "changes?after=1-%30-none-0&wait=0", "changes?wait=00",
        ]
    )
    func targets(_ target: String) async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let path = "/v1/organizations/acme/devices/\(device.id)/\(target)"
            let fields: HTTPFields = [.authorization: "Bearer \(device.secret)"]
            let wanted = try await server.client.execute(uri: path, method: .get, headers: fields) {
                ($0.status, String(buffer: $0.body))
            }
            try await server.live { client in
                let found = try await client.execute(uri: path, method: .get, headers: fields) {
                    ($0.status, String(buffer: $0.body))
                }
                #expect(found.0 == wanted.0)
                #expect(found.0 != .ok || found.1 == wanted.1)
            }
        }
    }

    @Test
    func `who is not that device is told so by the router`() async throws {
        try await RunningServer.with { server in
            let (one, other) = (try await server.register("one"), try await server.register("other"))
            try await server.live { client in
                let stranger = try Line(client, (other.id, one.secret))
                let theirs = try await server.ask(.get, "devices/\(other.id)/changes", secret: one.secret)
                let answer = try await stranger.ask(nil)
                #expect(answer.status.contains(" \(theirs.status.code) "))
                let gone = try Line(client, one)
                #expect(try await gone.ask(nil).status.contains(" 200 "))
                #expect(try await server.ask(.delete, "devices/\(one.id)", by: "owner").status == .noContent)
                let after = try await gone.ask(nil)
                #expect(after.status.contains(" 401 ") && after.body.contains("device_unknown"), "\(after)")
            }
        }
    }

    @Test
    func `a device that waits is told of a save, of the end of its session, and that it was taken out`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            try await server.signIn("member", on: device)
            try await server.live { client in
                /// Asks on a connection of its own, for the server closes those on which nothing is asked for long.
                func wait(_ cursor: String) async throws -> Line {
                    let line = try Line(client, device)
                    #expect(line.connection.send(line.question(cursor, wait: 60)))
                    await Self.held(server, 1)
                    return line
                }
                var cursor = try await Line(client, device).cursor()
                for version in 1...2 {
                    let line = try await wait(cursor)
                    let policy = server.policy(allowing: ["r\(version).acme.test"])
                    let save = try await server.ask(.put, "policy", by: "owner", body: policy, ifMatch: version)
                    #expect(save.status == .ok)
                    let told = try StrictJSON.parse(Array(try await line.answer().body.utf8))
                    cursor = try #require(told.value(named: "cursor")?.text)
                    #expect(told.value(named: "policy")?.text != nil)
                    #expect(told.value(named: "session")?.text == "active")
                }
                let signedIn = try await wait(cursor)
                // What concerns others does not wake it.
                await server.services.changes.notify("acme")
                await Self.held(server, 1)
                #expect(try await server.ask(.delete, "sessions?user=member", by: "owner").status.kind == .successful)
                let ended = try await signedIn.answer().body
                #expect(ended.contains(#""session":"ended""#) && !ended.contains("policy"), "\(ended)")
                cursor = try #require(try StrictJSON.parse(Array(ended.utf8)).value(named: "cursor")?.text)
                let last = try await wait(cursor)
                #expect(try await server.ask(.delete, "devices/\(device.id)", by: "owner").status == .noContent)
                let gone = try await last.answer()
                #expect(gone.status.contains(" 401 ") && gone.body.contains("device_unknown"), "\(gone)")
            }
        }
    }

    @Test
    func `eight that wait are each told once of each change`() async throws {
        try await RunningServer.with { server in
            var devices: [(id: String, secret: String)] = []
            for index in 0..<8 { devices.append(try await server.register("m\(index)")) }
            try await server.live { [devices] client in
                var cursor = try await Line(client, devices[0]).cursor()
                for version in 1...2 {
                    let lines = try devices.map { try Line(client, $0) }
                    for line in lines { #expect(line.connection.send(line.question(cursor, wait: 60))) }
                    await Self.held(server, lines.count)
                    let policy = server.policy(allowing: ["r\(version).acme.test"])
                    let save = try await server.ask(.put, "policy", by: "owner", body: policy, ifMatch: version)
                    #expect(save.status == .ok)
                    var told: Set<String> = []
                    for line in lines {
                        let answer = try StrictJSON.parse(Array(try await line.answer().body.utf8))
                        told.insert(try #require(answer.value(named: "cursor")?.text))
                    }
                    #expect(told.count == 1 && !told.contains(cursor))
                    cursor = try #require(told.first)
                    #expect(await server.services.waiting.heldCount == 0)
                }
            }
        }
    }

    @Test
    func `when its time is over, a device is told that nothing has changed`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            try await server.live { client in
                let line = try Line(client, device)
                let cursor = try await line.cursor()
                let answer = try await line.ask(cursor, wait: 1)
                #expect(answer.status.contains(" 200 "), "\(answer)")
                #expect(answer.body.contains("\"cursor\":\"\(cursor)\""), "\(answer)")
                #expect(!answer.body.contains("freshness"))
            }
        }
    }

    @Test
    func `a server that stops lets those go who wait`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            try await server.live { client in
                let line = try Line(client, device)
                let cursor = try await line.cursor()
                #expect(line.connection.send(line.question(cursor, wait: 60)))
                await Self.held(server, 1)
                await server.services.changes.finish()
                #expect(try await line.answer().body.contains("\"cursor\":\"\(cursor)\""))
                #expect(try await line.ask(cursor, wait: 60).body.contains("\"cursor\":\"\(cursor)\""))
            }
        }
    }

    @Test
    func `who asks on is not looked up anew until something changes`() async throws {
        try await RunningServer.with { server in
            let (device, other) = (try await server.register(), try await server.register("other"))
            try await server.live { client in
                let line = try Line(client, device)
                let cursor = try await line.cursor()
                try await server.services.store.database.write {
                    try $0.execute(sql: "DELETE FROM device WHERE id = ?", arguments: [device.id])
                }
                #expect(line.connection.send(line.question(cursor, wait: 1)))
                await Self.held(server, 1)
                #expect(try await line.answer().body.contains("\"cursor\":\"\(cursor)\""))
                // What another device may know is not what this one was told, and who does not wait is always looked up.
                for (asking, after, wait) in [(device, cursor, 0), ((id: device.id, secret: other.secret), cursor, 60)]
                {
                    let question = try Line(client, asking).question(after, wait: wait)
                    #expect(line.connection.send(question))
                    #expect(try await line.answer().status.contains(" 401 "), "\(wait)")
                }
                let connected = try Line(client, other)
                #expect(try await connected.cursor() == cursor)
                try await server.services.store.database.write {
                    try $0.execute(sql: "DELETE FROM device WHERE id = ?", arguments: [other.id])
                }
                #expect(connected.connection.send(connected.question(cursor, wait: 60)))
                await Self.held(server, 1)
                await server.services.changes.notify("acme")
                #expect(try await connected.answer().status.contains(" 401 "))
            }
        }
    }

    @Test
    func `a device that goes away is waited for no more`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            try await server.live { client in
                for _ in 0..<3 {
                    let line = try Line(client, device)
                    let cursor = try await line.cursor()
                    #expect(line.connection.send(line.question(cursor, wait: 60)))
                    await Self.held(server, 1)
                    line.connection.finish()
                    withExtendedLifetime(line) {}
                }
                await Self.held(server, 0)
            }
        }
    }

    @Test
    func `what comes behind a question is answered behind it, and too much is cut off`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            try await server.live { client in
                let line = try Line(client, device)
                let cursor = try await line.cursor()
                let health = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
                #expect(line.connection.send(line.question(cursor, wait: 60) + health))
                await Self.held(server, 1)
                await server.services.changes.finish()
                let first = try await line.answer()
                #expect(first.body.contains("\"cursor\":\"\(cursor)\""))
                let second = first.body.contains("ok\n") ? first.body : try await line.answer().body
                #expect(second.hasSuffix("ok\n"))
            }
        }
        try await RunningServer.with { server in
            let device = try await server.register()
            try await server.live { client in
                let line = try Line(client, device)
                let cursor = try await line.cursor()
                #expect(line.connection.send(line.question(cursor, wait: 60)))
                await Self.held(server, 1)
                line.connection.send(String(repeating: "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", count: 100))
                #expect(try await line.answer().status.isEmpty)
                await Self.held(server, 0)
            }
        }
    }
}
