import Foundation
import GRDB
import Glibc
import HTTPTypes
import Logging
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// The program where the disk, the database or the clock is not as it should be.
struct ServerFaultTests {
    private static let organization = "/v1/organizations/acme"

    /// A server with a database of some pages, and a token that may do everything.
    private static func make(in data: String) async throws -> String {
        try await ServerCommandTests.make(in: data)
        let store = try Store(path: "\(data)/server.sqlite")
        let token = try await store.makeTokenForEverything()
        try await store.database.write { database in
            for number in 0..<500 {
                try Activity(.teamCreated, by: "alice", name: "team-\(number)")
                    .record(in: "acme", at: .now, database)
            }
        }
        try store.database.close()
        // What is damaged is to be in the file, and not in its log.
        let database = try DatabaseQueue(path: "\(data)/server.sqlite")
        try await database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA wal_checkpoint(TRUNCATE)") }
        try database.close()
        return token.secret
    }

    private static func ask(_ port: Int, _ line: String, _ token: String? = nil, _ body: String = "") throws -> String {
        let secret = token.map { "\r\nAuthorization: Bearer \($0)" } ?? ""
        let type = body.isEmpty ? "" : "\r\nContent-Type: application/json"
        return try ServerCommandTests.ask(port, "\(line) HTTP/1.1\(secret)\(type)", body)
    }

    private static func makeTeam(_ port: Int, _ token: String, _ name: String) throws -> String {
        try ask(port, "POST \(organization)/teams", token, #"{"name":"\#(name)"}"#)
    }

    private static func teams(_ port: Int, _ token: String) throws -> Set<String> {
        let answer = try ask(port, "GET \(organization)/teams", token)
        #expect(answer.contains(" 200 "), "\(answer)")
        return Set(answer.matches(of: #/"name":"(team-\d+)"/#).map { String($0.1) })
    }

    // MARK: - A full disk

    @Test(.enabled(if: geteuid() == 0, "only root makes a file system"))
    func `a full disk keeps it from writing and not from reading, and it goes on when there is space`() async throws {
        try await withTemporaryDirectory { directory in
            let made = "\(directory)/made"
            let token = try await Self.make(in: made)
            let mount = "\(directory)/disk"
            try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: false)
            try await SmallDisk.with(at: mount, kilobytes: 16 << 10) { disk in
                let data = "\(mount)/data"
                try await runProgram(disk.command(["cp", "-a", made, data])).expecting(0)
                var kept: Set<String> = []
                try await ServerCommandTests.serving(data, on: disk) { port, program in
                    #expect(try Self.makeTeam(port, token, "team-0").contains(" 201 "))
                    kept.insert("team-0")
                    try disk.fill()
                    // There may be some space in the files that are there.
                    var refused = ""
                    for number in 1...3000 where refused.isEmpty {
                        let answer = try Self.makeTeam(port, token, "team-\(number)")
                        if answer.contains(" 201 ") { kept.insert("team-\(number)") } else { refused = answer }
                    }
                    #expect(refused.contains(" 507 ") && refused.contains(#""code":"storage_full""#), "\(refused)")
                    #expect(refused.contains("application/problem+json"))
                    #expect(refused.contains("no space left, so nothing of this was done"))
                    let body = #"{"version":1,"organization":"acme","registries":[]}"#
                    let save = try ServerCommandTests.ask(
                        port,
                        "PUT \(Self.organization)/policy HTTP/1.1\r\nAuthorization: Bearer \(token)\r\n"
                            + "Content-Type: application/json\r\nIf-Match: \"1\"",
                        body
                    )
                    #expect(save.contains(" 507 "), "\(save)")
                    #expect(try Self.teams(port, token) == kept)
                    for path in ["/readyz", "/healthz", "\(Self.organization)/documents/freshness.json"] {
                        #expect(try Self.ask(port, "GET \(path)").contains(" 200 "), "\(path)")
                    }
                    #expect(try Self.ask(port, "GET \(Self.organization)/policy", token).contains("ETag: \"1\""))
                    disk.free()
                    #expect(try Self.makeTeam(port, token, "team-9000").contains(" 201 "))
                    kept.insert("team-9000")
                    try disk.fill()
                    for number in 4000...7000 {
                        let answer = try Self.makeTeam(port, token, "team-\(number)")
                        guard answer.contains(" 201 ") else { break }
                        kept.insert("team-\(number)")
                    }
                    program.send(SIGKILL)
                    _ = try await program.status(within: .seconds(20))
                }
                // It may start or say that it cannot for want of space; either way nothing is lost.
                disk.free()
                try await ServerCommandTests.serving(data, on: disk) { port, _ in
                    let teams = try Self.teams(port, token)
                    #expect(teams == kept)
                    let more = try Self.makeTeam(port, token, "team-9001")
                    #expect(more.contains(" 201 "), "\(more)")
                }
            }
        }
    }

    @Test(.enabled(if: geteuid() == 0, "only root makes a file system"))
    func `without space it does not start, and says so`() async throws {
        try await withTemporaryDirectory { directory in
            let made = "\(directory)/made"
            _ = try await Self.make(in: made)
            let mount = "\(directory)/disk"
            try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: false)
            try await SmallDisk.with(at: mount, kilobytes: 8 << 10) { disk in
                let data = "\(mount)/data"
                try await runProgram(disk.command(["cp", "-a", made, data])).expecting(0)
                try disk.fill()
                let program = try Programs.path("docker-ram-server")
                let serve = disk.command([program, "serve", "--data", data, "--listen", "127.0.0.1:0"])
                let refused = try await runProgram(serve).expecting(1)
                #expect(refused.errors.contains("no space left"), "\(refused)")
                let copy = disk.command([program, "backup", "--data", data, "\(mount)/copy"])
                let half = try await runProgram(copy).expecting(1)
                #expect(half.errors.contains("no space left"), "\(half)")
                disk.free()
                let names = try FileManager.default.contentsOfDirectory(atPath: disk.path)
                #expect(names == ["data"], "a copy is there whole or not at all")
                try await ServerCommandTests.serving(data, on: disk) { port, _ in
                    let ready = try Self.ask(port, "GET /readyz")
                    #expect(ready.contains(" 200 "), "\(ready)")
                }
            }
        }
    }

    // MARK: - A damaged database

    enum Damage: String, CaseIterable, Sendable {
        case header, pages, onePage, truncated, text, empty, directory, missing, newer, otherDatabase, unreadable
    }

    private static func words(_ damage: Damage) -> String {
        switch damage {
        case .header, .pages, .onePage, .truncated, .text: "is damaged: "
        case .empty: "is empty; restore a copy: docker-ram-server restore --data"
        case .directory: "is no file; restore a copy"
        case .missing: "there is no server in"
        case .newer: "is of a newer docker-ram-server; install that"
        case .otherDatabase: "it holds no organization"
        case .unreadable: "look at its permissions"
        }
    }

    private static func flip(_ path: String, from start: Int, to end: Int, by step: Int = 1) throws {
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        for index in stride(from: start, to: min(end, bytes.count), by: step) { bytes[index] ^= 0x5A }
        try bytes.write(to: URL(fileURLWithPath: path))
    }

    private static func doDamage(_ damage: Damage, _ path: String) throws {
        let manager = FileManager.default
        switch damage {
        case .header: try flip(path, from: 0, to: 16)
        case .pages: try flip(path, from: 4096, to: .max, by: 7)
        case .onePage: try flip(path, from: 4 * 4096, to: 5 * 4096)
        case .truncated:
            let size = try Data(contentsOf: URL(fileURLWithPath: path)).count
            #expect(truncate(path, size / 2) == 0)
        case .text: try Data("no database at all".utf8).write(to: URL(fileURLWithPath: path))
        case .empty: #expect(truncate(path, 0) == 0)
        case .directory:
            try manager.removeItem(atPath: path)
            try manager.createDirectory(atPath: path, withIntermediateDirectories: false)
        case .missing: try manager.removeItem(atPath: path)
        case .newer:
            let database = try DatabaseQueue(path: path)
            try database.write {
                try $0.execute(sql: "INSERT INTO grdb_migrations (identifier) VALUES ('of tomorrow')")
            }
            try database.close()
        case .otherDatabase:
            try manager.removeItem(atPath: path)
            let database = try DatabaseQueue(path: path)
            try database.write { try $0.execute(sql: "CREATE TABLE something (x)") }
            try database.close()
        case .unreadable: #expect(chmod(path, 0o000) == 0)
        }
    }

    // Root reads everything.
    @Test(arguments: Damage.allCases.filter { $0 != .unreadable || geteuid() != 0 })
    func `a database that is damaged is not served, not changed and not made anew`(damage: Damage) async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            let path = "\(data)/server.sqlite"
            _ = try await Self.make(in: data)
            try await ServerCommandTests.run("backup", "--data", data, "\(directory)/copy").expecting(0)
            try Self.doDamage(damage, path)
            let before = FileManager.default.contents(atPath: path)
            for command in [["serve", "--listen", "127.0.0.1:0"], ["publish", "\(directory)/www"]] {
                let program = try Programs.path("docker-ram-server")
                let arguments = [program, command[0], "--data", data] + command.dropFirst()
                let refused = try await runProgram(arguments).expecting(1)
                #expect(refused.errors.contains(Self.words(damage)), "\(refused)")
                #expect(refused.errors.split(separator: "\n").count == 1, "\(refused)")
            }
            #expect(FileManager.default.contents(atPath: path) == before)
            guard damage != .newer else { return }
            try await ServerCommandTests.run("restore", "--data", data, "\(directory)/copy").expecting(0)
            try await ServerCommandTests.serving(data) { port, _ in
                let ready = try Self.ask(port, "GET /readyz")
                #expect(ready.contains(" 200 "), "\(ready)")
            }
        }
    }

    enum Log: CaseIterable, Sendable { case whole, withoutIndex, cut, damaged }

    @Test(arguments: Log.allCases)
    func `what is left of the database's log after a crash is taken up as far as it is sound`(log: Log) async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            let token = try await Self.make(in: data)
            try await ServerCommandTests.serving(data) { port, program in
                for number in 0..<20 {
                    #expect(try Self.makeTeam(port, token, "team-\(number)").contains(" 201 "))
                }
                program.send(SIGKILL)
                _ = try await program.status(within: .seconds(20))
            }
            let path = "\(data)/server.sqlite"
            let size = try Data(contentsOf: URL(fileURLWithPath: "\(path)-wal")).count
            #expect(size > 20 * 4096)
            switch log {
            case .whole: break
            case .withoutIndex: unlink("\(path)-shm")
            case .cut: #expect(truncate("\(path)-wal", size / 2 + 100) == 0)
            case .damaged: try Self.flip("\(path)-wal", from: size / 2, to: size / 2 + 1000)
            }
            try await ServerCommandTests.serving(data) { port, _ in
                let teams = try Self.teams(port, token)
                // The first ones without a gap: nothing is there of which something earlier is not.
                #expect(teams == Set((0..<teams.count).map { "team-\($0)" }))
                switch log {
                case .whole, .withoutIndex: #expect(teams.count == 20)
                case .cut, .damaged: #expect((1..<20).contains(teams.count))
                }
                #expect(try Self.makeTeam(port, token, "team-99").contains(" 201 "))
            }
            let database = try DatabaseQueue(path: path)
            #expect(try await database.read { try String.fetchOne($0, sql: "PRAGMA integrity_check") } == "ok")
            try database.close()
        }
    }

    @Test
    func `damage that is found while it runs stops what writes, and documents go on`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            let token = try await Self.make(in: data)
            try await ServerCommandTests.serving(data) { port, program in
                let documents = ["freshness.json", "policy.json", "root.json", "policy/1.json"]
                for name in documents {
                    let answer = try Self.ask(port, "GET \(Self.organization)/documents/\(name)")
                    #expect(answer.contains(" 200 "))
                }
                #expect(try Self.ask(port, "GET /readyz").contains(" 200 "))
                // In place, as a disk does it.
                let file = open("\(data)/server.sqlite", O_RDWR | O_CLOEXEC)
                defer { close(file) }
                let size = lseek(file, 0, SEEK_END)
                let noise = [UInt8](repeating: 0x5A, count: Int(size) - 4096)
                #expect(pwrite(file, noise, noise.count, 4096) == noise.count)
                var answer = ""
                for number in 0..<50 where !answer.contains(" 503 ") {
                    answer = try Self.makeTeam(port, token, "team-\(number)")
                    #expect(answer.contains(" 201 ") || answer.contains(" 503 "), "\(answer)")
                }
                #expect(answer.contains(#""code":"storage_fault""#), "\(answer)")
                #expect(answer.contains("the server's database is damaged"))
                let ready = try Self.ask(port, "GET /readyz")
                #expect(ready.contains(" 503 ") && ready.contains("damaged"), "\(ready)")
                #expect(try Self.makeTeam(port, token, "team-50").contains(" 503 "))
                #expect(try Self.ask(port, "GET /healthz").contains(" 200 "))
                for name in documents {
                    #expect(try Self.ask(port, "GET \(Self.organization)/documents/\(name)").contains(" 200 "))
                }
                #expect(program.errors.contains("THE DATABASE IS DAMAGED"))
            }
        }
    }

    // MARK: - A clock that is wrong

    /// Brings a machine up to date as far as it accepts what there is.
    private static func refresh(_ machine: inout TrustedDocuments, _ server: RunningServer, at now: Instant)
        async throws
        -> Rejection?
    {
        let freshness = try await server.ask(.get, "documents/freshness.json").bytes
        let policy = try await server.ask(.get, "documents/policy.json").bytes
        do throws(Rejection) {
            try machine.accept(freshness: freshness, policy: policy, at: now)
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: [300 * 86_400, 2 * 86_400, 3600, -86_400, -3600] as [Int64])
    func `a server whose clock was wrong for an hour goes on when it is right again`(jump: Int64) async throws {
        try await RunningServer.with { server in
            var machine = try await server.machine()
            #expect(try await Self.refresh(&machine, server, at: server.time.now) == nil)
            let before = try #require(machine.freshness)
            let right = server.time.now
            let renewal = FreshnessRenewal(
                publisher: server.publisher,
                clock: .continuous,
                logger: Logger(label: "test")
            )
            func save(_ version: Int) async throws {
                let body = server.policy(allowing: ["r\(version).acme.test"])
                let saved = try await server.ask(.put, "policy", by: "owner", body: body, ifMatch: version)
                #expect(saved.status == .ok, "\(saved.text)")
            }
            server.time.pass(jump)
            await renewal.look()
            try await save(1)
            let rejection = try await Self.refresh(&machine, server, at: right + 60)
            if jump > 0 {
                // What is not good yet is refused in words that say why, and what was in force stays so.
                let words = try #require(rejection?.description)
                #expect(words.contains("the clock of the server or of this machine is wrong"), "\(words)")
                #expect(machine.freshness == before && machine.policy?.version == 1)
            } else {
                // A clock that is behind makes documents that are as old as the last one, and machines go on.
                #expect(rejection == nil && machine.policy?.version == 2)
                #expect(machine.freshness?.issued == before.issued)
            }
            // An hour later the clock is right.
            server.time.pass(3600 - jump)
            await renewal.look()
            try await save(2)
            #expect(try await Self.refresh(&machine, server, at: server.time.now) == nil)
            #expect(machine.policy?.version == 3)
            #expect(machine.freshness.map { $0.sequence > before.sequence && $0.issued >= before.issued } == true)
            // And again after the next renewal.
            server.time.pass(50_000)
            await renewal.look()
            #expect(try await Self.refresh(&machine, server, at: server.time.now) == nil)
            #expect(machine.freshness?.issued == server.time.now)
        }
    }

    @Test
    func `nothing is forgotten by a clock that was just set`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let body = """
                {"batch":"00000000-0000-0000-0000-000000000001","refusals":[{"id":"a","time":"2026-11-23T13:45:10.123Z",
                "registry":"ghcr.io","action":"pull","verdict":"deny","point":"authorization-plugin","user":1000}]}
                """
            let sent = try await server.ask(.post, "devices/\(device.id)/reports", secret: device.secret, body: body)
            #expect(sent.status == .noContent)
            func kept() async throws -> Int? {
                try await server.store.database.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM refusal") }
            }
            var housekeeping = Housekeeping(services: server.services, logger: Logger(label: "test"))
            let start = ContinuousClock.now
            await housekeeping.look(at: start)
            server.time.pass(365 * 86_400)
            await housekeeping.look(at: start + .seconds(3600))
            #expect(try await kept() == 1)
            server.time.pass(3600 - 365 * 86_400)
            await housekeeping.look(at: start + .seconds(7200))
            #expect(try await kept() == 1)
            // Who starts with a clock that is wrong does not forget either, at first.
            var restarted = Housekeeping(services: server.services, logger: Logger(label: "test"))
            server.time.pass(365 * 86_400)
            await restarted.look(at: start)
            #expect(try await kept() == 1)
            // But a year goes by.
            server.time.pass(3600)
            await restarted.look(at: start + .seconds(3600))
            #expect(try await kept() == 0)
        }
    }
}
