import Foundation
import GRDB
import Glibc
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

@testable import OrganizationServer

/// The program, killed while it writes.
struct ServerKillTests {
    /// How often; each time takes about a second.
    private static let kills = ProcessInfo.processInfo.environment["DOCKER_RAM_KILLS"].flatMap(Int.init) ?? 10

    /// What the server said that it has done, and what those who asked know besides.
    private struct Known {
        var teams: [String] = []
        /// The registries of each version of the policy.
        var policies: [Int: String] = [:]
        var refusals: [String] = []
        /// Reports to which there was no answer: they are sent again.
        var unanswered: [Int: String] = [:]
        /// Refresh tokens of machines.
        var tokens: [Int: String] = [:]
        var refreshes = 0
        /// Answers that should not be.
        var wrong: [String] = []

        var count: Int { teams.count + policies.count + refusals.count + refreshes }
    }

    /// Those who ask until the server is gone.
    private final class Clients: Sendable {
        private let token: String
        private let devices: [(id: String, secret: String)]
        private let known = Mutex(Known())

        init(_ token: String, _ devices: [(id: String, secret: String)]) {
            self.token = token
            self.devices = devices
        }

        var seen: Known { known.withLock { $0 } }

        /// Asks; `nil` if there was no whole answer.
        private func ask(
            _ port: Int,
            _ line: String,
            as token: String? = nil,
            _ fields: String = "",
            _ body: String = ""
        ) -> (status: Int, head: String, body: String)? {
            let secret = token.map { "\r\nAuthorization: Bearer \($0)" } ?? ""
            guard let text = try? ServerCommandTests.ask(port, "\(line) HTTP/1.1\(secret)\(fields)", body),
                let end = text.firstRange(of: "\r\n\r\n"), let status = Int(text.dropFirst(9).prefix(3))
            else { return nil }
            let length = text.firstMatch(of: #/(?i)content-length: (\d+)/#).flatMap { Int($0.1) } ?? 0
            let content = text[end.upperBound...]
            guard content.utf8.count >= length else { return nil }
            return (status, String(text[..<end.lowerBound]), String(content))
        }

        private static let json = "\r\nContent-Type: application/json"

        private func wrong(_ answer: (status: Int, head: String, body: String)) {
            known.withLock { $0.wrong.append("\(answer.status) \(answer.body)") }
        }

        /// Makes one team after the other.
        func makeTeams(_ port: Int, _ prefix: String) {
            for number in 0... {
                let name = "\(prefix)-\(number)"
                let answer = ask(
                    port,
                    "POST /v1/organizations/acme/teams",
                    as: token,
                    Self.json,
                    #"{"name":"\#(name)"}"#
                )
                guard let answer else { return }
                guard answer.status == 201 else { return wrong(answer) }
                known.withLock { $0.teams.append(name) }
            }
        }

        /// Saves one policy after the other.
        func savePolicies(_ port: Int, _ prefix: String) {
            guard let newest = ask(port, "GET /v1/organizations/acme/policy", as: token),
                var version = newest.head.firstMatch(of: #/(?i)etag: "(\d+)"/#).flatMap({ Int($0.1) })
            else { return }
            for number in 0... {
                let registry = "\(prefix)-\(number).acme.test"
                let body =
                    #"{"version":1,"organization":"acme","registries":[{"address":"\#(registry)","allowed":true}]}"#
                let answer = ask(
                    port,
                    "PUT /v1/organizations/acme/policy",
                    as: token,
                    "\(Self.json)\r\nIf-Match: \"\(version)\"",
                    body
                )
                guard let answer else { return }
                guard answer.status == 200 else { return wrong(answer) }
                version += 1
                known.withLock { $0.policies[version] = registry }
            }
        }

        /// Reports one refusal after the other, first the one that may not have come.
        func report(_ port: Int, _ device: Int) {
            while true {
                let id = known.withLock { $0.unanswered[device] } ?? UUID().uuidString
                known.withLock { $0.unanswered[device] = id }
                let body = """
                    {"batch":"\(id)","refusals":[{"id":"\(id)","time":"2026-11-23T13:45:10.123Z","registry":"ghcr.io",
                    "action":"pull","verdict":"deny","point":"authorization-plugin","user":1000}]}
                    """
                let path = "POST /v1/organizations/acme/devices/\(devices[device].id)/reports"
                guard let answer = ask(port, path, as: devices[device].secret, Self.json, body) else { return }
                guard answer.status == 204 else { return wrong(answer) }
                known.withLock { known in
                    known.refusals.append(id)
                    known.unanswered[device] = nil
                }
            }
        }

        /// Signs a machine in, and goes on with its session again and again, with the last token that came.
        func refresh(_ port: Int, _ device: Int) {
            while true {
                let (id, secret) = devices[device]
                let old = known.withLock { $0.tokens[device] }
                let grant =
                    old.map { "grant_type=refresh_token&refresh_token=\($0)" }
                    ?? "grant_type=urn%3Adocker-ram%3Aaccess-token&token=\(token)"
                let answer = ask(
                    port,
                    "POST /v1/token",
                    "\r\nContent-Type: application/x-www-form-urlencoded",
                    "\(grant)&organization=acme&device=\(id)&device_secret=\(secret)"
                )
                guard let answer else { return }
                guard answer.status == 200, let new = answer.body.firstMatch(of: #/"refresh_token":"([^"]*)"/#)?.1
                else { return wrong(answer) }
                known.withLock { known in
                    known.tokens[device] = String(new)
                    known.refreshes += 1
                }
            }
        }
    }

    private static func prepare(_ data: String) async throws -> Clients {
        try await ServerCommandTests.make(in: data)
        let store = try Store(path: "\(data)/server.sqlite")
        let token = try await store.makeTokenForEverything()
        try store.database.close()
        var devices: [(id: String, secret: String)] = []
        try await ServerCommandTests.serving(data) { port, _ in
            for number in 0..<4 {
                let answer = try ServerCommandTests.ask(
                    port,
                    "POST /v1/organizations/acme/devices HTTP/1.1\r\nContent-Type: application/json",
                    #"{"name":"laptop-\#(number)"}"#
                )
                let found = answer.firstMatch(of: #/"device":"([^"]*)","secret":"([^"]*)"/#)
                let match = try #require(found, "\(answer)")
                devices.append((String(match.1), String(match.2)))
            }
        }
        return Clients(token.secret, devices)
    }

    private static func freshness(_ port: Int) throws -> FreshnessDocument {
        let text = try ServerCommandTests.ask(port, "GET /v1/organizations/acme/documents/freshness.json HTTP/1.1")
        let body = try #require(text.firstRange(of: "\r\n\r\n").map { Array(text[$0.upperBound...].utf8) })
        return try FreshnessDocument(payload: Envelope(json: body, as: .freshness).payload)
    }

    @Test
    func `whenever it is killed, what was acknowledged is there, once, and it goes on by itself`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            let clients = try await Self.prepare(data)
            var generator = SeededGenerator(seed: 4)
            var sequence = 0
            for round in 0..<Self.kills {
                try await ServerCommandTests.serving(data) { port, program in
                    let ready = try ServerCommandTests.ask(port, "GET /readyz HTTP/1.1")
                    #expect(ready.contains(" 200 "), "\(ready)")
                    let freshness = try Self.freshness(port)
                    #expect(freshness.sequence >= sequence)
                    sequence = freshness.sequence
                    #expect(freshness.policyVersion >= clients.seen.policies.keys.max() ?? 1)
                    let enough = clients.seen.count + Int.random(in: 5...40, using: &generator)
                    let writers: [@Sendable () -> Void] = [
                        { clients.makeTeams(port, "team-\(round)") }, { clients.savePolicies(port, "r-\(round)") },
                        { clients.report(port, 0) }, { clients.report(port, 1) },
                        { clients.refresh(port, 2) }, { clients.refresh(port, 3) },
                    ]
                    await withTaskGroup { group in
                        for writer in writers { group.addTask { try? await onThread(writer) } }
                        try? await waitUntil("enough is done") {
                            clients.seen.count >= enough || program.status != nil
                        }
                        program.send(SIGKILL)
                    }
                    #expect(try await program.status(within: .seconds(20)) == 128 + SIGKILL)
                }
            }
            let seen = clients.seen
            #expect(seen.wrong == [])
            #expect(seen.teams.count >= Self.kills && seen.policies.count >= Self.kills)
            #expect(seen.refusals.count >= Self.kills && seen.refreshes >= Self.kills)
            try Self.check(seen, "\(data)/server.sqlite")
        }
    }

    private static func check(_ seen: Known, _ path: String) throws {
        let database = try DatabaseQueue(path: path)
        defer { try? database.close() }
        try database.read { database in
            #expect(try String.fetchOne(database, sql: "PRAGMA integrity_check") == "ok")
            let teams = try String.fetchAll(database, sql: "SELECT name FROM team ORDER BY name")
            #expect(Set(seen.teams).subtracting(teams) == [])
            // Each change and its record came together or not at all.
            let recorded = "SELECT name FROM activity WHERE action = 'team.create' ORDER BY name"
            #expect(try String.fetchAll(database, sql: recorded) == teams)
            let refusals = try String.fetchAll(database, sql: "SELECT id FROM refusal")
            #expect(Set(refusals).count == refusals.count, "something is there twice")
            #expect(Set(seen.refusals).subtracting(refusals) == [])
            #expect(Set(refusals).subtracting(seen.refusals).isSubset(of: seen.unanswered.values))
            let rows = try Row.fetchAll(database, sql: "SELECT version, envelope FROM policyVersion")
            #expect(rows.map { $0["version"] as Int }.sorted() == Array(1...rows.count))
            for row in rows {
                guard let registry = seen.policies[row["version"]] else { continue }
                let envelope: Data = row["envelope"]
                let policy = try PolicyDocument(payload: Envelope(json: Array(envelope), as: .policy).payload)
                #expect(policy.policy.rules.map(\.address.description) == [registry])
            }
            #expect(rows.count >= seen.policies.keys.max() ?? 0)
            // Nobody's session was ended for a token that came twice.
            #expect(try Int.fetchOne(database, sql: "SELECT count(*) FROM session WHERE ended IS NOT NULL") == 0)
        }
    }

    @Test
    func `a copy made while it writes is sound, and has all that was acknowledged before`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            let clients = try await Self.prepare(data)
            var before = clients.seen
            try await ServerCommandTests.serving(data) { port, program in
                try await withThrowingTaskGroup { group in
                    let writers: [@Sendable () -> Void] = [
                        { clients.makeTeams(port, "team") }, { clients.savePolicies(port, "r") },
                        { clients.report(port, 0) },
                    ]
                    for writer in writers { group.addTask { try? await onThread(writer) } }
                    for number in 0..<3 {
                        let enough = clients.seen.count + 30
                        try await waitUntil("more is done") { clients.seen.count >= enough }
                        before = clients.seen
                        try await ServerCommandTests.run("backup", "--data", data, "\(directory)/copy-\(number)")
                            .expecting(0)
                        try Self.checkCopy("\(directory)/copy-\(number)", before)
                    }
                    program.send(SIGKILL)
                }
            }
            try await ServerCommandTests.run("restore", "--data", data, "\(directory)/copy-2").expecting(0)
            try Self.checkCopy("\(data)/server.sqlite", before)
            try await ServerCommandTests.serving(data) { port, _ in
                let ready = try ServerCommandTests.ask(port, "GET /readyz HTTP/1.1")
                #expect(ready.contains(" 200 "), "\(ready)")
            }
        }
    }

    private static func checkCopy(_ path: String, _ before: Known) throws {
        let copy = try DatabaseQueue(path: path)
        defer { try? copy.close() }
        try copy.read { database in
            #expect(try String.fetchOne(database, sql: "PRAGMA integrity_check") == "ok")
            #expect(try Row.fetchOne(database, sql: "PRAGMA foreign_key_check") == nil)
            let teams = try String.fetchAll(database, sql: "SELECT name FROM team")
            #expect(Set(before.teams).subtracting(teams) == [])
            let versions = try Int.fetchOne(database, sql: "SELECT max(version) FROM policyVersion") ?? 0
            #expect(versions >= before.policies.keys.max() ?? 1)
            let refusals = try String.fetchAll(database, sql: "SELECT id FROM refusal")
            #expect(Set(before.refusals).subtracting(refusals) == [])
        }
    }
}
