import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// How a machine is found among many: by its name, or by who is signed in there.
struct DeviceSearchTests {
    private static let devices = "/organizations/acme/devices"

    /// Makes devices of these names, the first one last.
    private static func make(_ names: [String], _ server: AccountsServer) async throws {
        let now = server.clock.now
        try await server.services.store.database.write { database in
            for name in names.reversed() {
                try database.execute(
                    sql: "INSERT INTO device (organization, id, name, digest, created) VALUES ('acme', ?, ?, ?, ?)",
                    arguments: [Device.makeID(), name, OpaqueToken(.device).digest, now.seconds]
                )
            }
        }
    }

    /// The names on a page and on those that follow it.
    private static func names(_ browser: TestBrowser, _ query: String) async throws -> [[String]] {
        var pages: [[String]] = []
        var address: String? = devices + query
        while let next = address {
            let page = try await browser.get(next)
            #expect(page.status == 200, "\(page)")
            let names = page.text.matches(of: #/<a href="\/organizations\/acme\/devices\/[^"]+"><strong>([^<]+)</#)
            pages.append(names.map { String($0.1) })
            if !pages[pages.count - 1].isEmpty, pages.count > 1 {
                let first = try #require(page.text.firstMatch(of: #/href="([^"]+)">First</#)).1
                #expect(first.replacing("&amp;", with: "&") == devices + query)
            }
            let link = page.text.firstMatch(of: #/href="([^"]+)" rel="next"/#)
            address = link.map { String($0.1).replacing("&amp;", with: "&") }
        }
        return pages
    }

    @Test
    func `devices come in the order of their names, page by page, each once, also where many have the same`()
        async throws
    {
        try await AccountsServer.withPolicy { server in
            let names = ["Build-1", "build-02", "laptop:of mia & co", "Zebra", "\u{e4}ffchen"]
            try await Self.make(names + (0..<60).map { _ in "same" }, server)
            let audrey = try await server.browser("audrey")
            let pages = try await Self.names(audrey, "")
            #expect(pages.map(\.count) == [25, 25, 15])
            let shown = pages.flatMap(\.self)
            #expect(Array(shown.prefix(3)) == ["build-02", "Build-1", "laptop:of mia &amp; co"])
            #expect(Array(shown.suffix(2)) == ["Zebra", "\u{e4}ffchen"])
            #expect(shown.count { $0 == "same" } == 60)
            // A page goes on where it was, also when the device that it goes on behind is gone.
            let first = try await audrey.get(Self.devices).text
            let next = try #require(first.firstMatch(of: #/href="([^"]+)" rel="next"/#)).1
            let id = try #require(next.firstMatch(of: #/after=([a-z0-9]+)/#)).1
            let before = try await audrey.get(String(next)).text
            let store = server.services.store
            #expect(try await store.removeDevice(String(id), from: "acme", by: "alice", at: server.clock.now))
            #expect(try await audrey.get(String(next)).text == before)
            #expect(try await audrey.get("\(Self.devices)?after=none").status == 400)
        }
    }

    @Test(arguments: [
        ("?q=build-0", ["build-02", "BUILD-03"]), ("?q=BUILD", ["build-02", "BUILD-03", "Build-1"]),
        ("?q=%C3%84FF", ["\u{e4}ffchen"]), ("?q=%25", ["100%"]), ("?q=_", ["under_score"]), ("?q=a+b", ["a b"]),
        ("?q=mia", ["laptop", "of-mia"]), ("?q=bob", []), ("?q=nothing", []), ("?q=build&state=silent", []),
        ("?q=build&state=new", ["BUILD-03"]),
    ])
    func `a device is found by a part of its name, or of who is signed in there`(query: String, expected: [String])
        async throws
    {
        try await AccountsServer.withPolicy { server in
            let names = [
                "Build-1", "build-02", "BUILD-03", "\u{e4}ffchen", "100%", "under_score", "a b", "of-mia", "laptop",
                "other",
            ]
            try await Self.make(names, server)
            let now = server.clock.now
            let ids = try await server.services.store.database.write { database in
                try database.execute(
                    sql: "UPDATE device SET lastSeen = ? WHERE name IN ('BUILD-03', 'other')",
                    arguments: [now.seconds]
                )
                return try ["laptop", "other"].map { name in
                    try String.fetchOne(database, sql: "SELECT id FROM device WHERE name = ?", arguments: [name]) ?? ""
                }
            }
            for (user, id) in [("mia", ids[0]), ("bob", ids[1])] {
                _ = try await server.services.store.beginSession(
                    of: SignedInPerson(user: user),
                    in: "acme",
                    on: id,
                    from: "192.0.2.1",
                    at: now
                )
            }
            // Whoever is signed out is not there.
            let selection = Store.SessionSelection(user: "bob")
            _ = try await server.services.store.endSessions(in: "acme", selection, by: "alice", at: now)
            let audrey = try await server.browser("audrey")
            // Those without a time are silent but for the two.
            let wanted = query.contains("state=silent") ? ["build-02", "Build-1"] : expected
            #expect(try await Self.names(audrey, query) == [wanted])
            let page = try await audrey.get(Self.devices + query).text
            let typed = try #require(query.firstMatch(of: #/q=([^&]+)/#)).1.replacing("+", with: " ")
                .removingPercentEncoding
            #expect(page.contains("name=\"q\" type=\"search\" value=\"\(typed ?? "")\""))
            #expect(page.contains("No machine is like this") == wanted.isEmpty)
            let file = try await audrey.get("/organizations/acme/devices-export\(query)")
            let lines = file.text.split(separator: "\r\n").dropFirst()
            #expect(lines.map { String($0.split(separator: ",")[1]) } == wanted)
            if !wanted.isEmpty {
                let export = try #require(page.firstMatch(of: #/href="([^"]+)" download/#)).1
                let linked = try await audrey.get(String(export).replacing("&amp;", with: "&"))
                #expect(linked.text == file.text)
            }
        }
    }

    @Test
    func `programs find a device in the same way`() async throws {
        try await AccountsServer.withPolicy { server in
            try await Self.make((0..<7).map { "build-\($0)" } + ["Build:x", "laptop"], server)
            let store = server.services.store
            let devices = try await store.devices(of: "acme", after: nil, atMost: 9, at: server.clock.now)
            let laptop = try #require(devices.last)
            #expect(laptop.name == "laptop")
            _ = try await server.services.store.beginSession(
                of: SignedInPerson(user: "mia"),
                in: "acme",
                on: laptop.id,
                from: "192.0.2.1",
                at: server.clock.now
            )
            let token = try await server.signIn("audrey")
            func names(_ query: String) async throws -> [[String]] {
                var pages: [[String]] = []
                var after = ""
                while true {
                    let path = "/v1/organizations/acme/devices?limit=3\(query)\(after)"
                    let answer = try await server.send(.get, path, as: token)
                    #expect(answer.status == 200, "\(answer)")
                    let devices = answer.json.value(named: "devices")?.elements ?? []
                    pages.append(devices.compactMap { $0.value(named: "name")?.text })
                    guard let next = answer["next"] else { return pages }
                    after = "&after=\(PercentEncoding.encode(next))"
                }
            }
            let built = [
                ["build-0", "build-1", "build-2"], ["build-3", "build-4", "build-5"], ["build-6", "Build:x"],
            ]
            #expect(try await names("&name=BUILD") == built)
            #expect(try await names("&name=d:x") == [["Build:x"]])
            #expect(try await names("&user=mi") == [["laptop"]])
            #expect(try await names("&user=mi&name=build") == [[]])
            // A name is no person, and a person no name.
            #expect(try await names("&name=mia") == [[]])
            #expect(try await names("&user=laptop") == [[]])
            let wrong = try await server.send(.get, "/v1/organizations/acme/devices?after=x", as: token)
            #expect(wrong.status == 400 && wrong.text.contains("must be the \\\"next\\\" of an answer"), "\(wrong)")
        }
    }

    @Test
    func `one of ten thousand machines is found, and each is on a page`() async throws {
        try await AccountsServer.withPolicy { server in
            try await Self.make((0..<10_000).map { "machine-\($0)" } + ["build-01"], server)
            let store = server.services.store
            func devices(_ filter: DeviceFilter = DeviceFilter()) async throws -> [String] {
                var names: [String] = []
                var place: Device.Place?
                while true {
                    let devices = try await store.devices(
                        of: "acme",
                        after: place,
                        atMost: 200,
                        filter,
                        at: server.clock.now
                    )
                    names += devices.map(\.name)
                    guard devices.count == 200 else { return names }
                    place = devices.last?.place
                }
            }
            #expect(try await devices(DeviceFilter(text: "BUILD-01")) == ["build-01"])
            #expect(try await devices(DeviceFilter(text: "nobody")) == [])
            let all = try await devices()
            #expect(all.count == 10_001 && Set(all).count == 10_001 && all == all.sorted())
        }
    }
}
