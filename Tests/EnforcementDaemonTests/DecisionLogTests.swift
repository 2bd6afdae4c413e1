@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import Logging
import RegistryAccess
import TestSupport
import Testing

struct RotatingFileTests {
    @Test
    func `a full file is put aside and the oldest is dropped`() throws {
        try withTemporaryDirectory { root in
            let path = "\(root)/log"
            // Ten lines of ten bytes fill a file.
            var file = RotatingFile(path: path, maximumBytes: 100, files: 3)
            for number in 0..<45 { try file.append(Self.line(number)) }
            #expect(try file.newestLines(1000) == (20..<45).map(Self.line))
            #expect(try file.newestLines(7) == (38..<45).map(Self.line))
            #expect(try file.newestLines(0) == [])
            for (name, lines) in [("log", 40..<45), ("log.1", 30..<40), ("log.2", 20..<30)] {
                let text = try String(contentsOfFile: "\(root)/\(name)", encoding: .utf8)
                #expect(text == lines.map { Self.line($0) + "\n" }.joined())
                #expect(try Files.status("\(root)/\(name)").mode & 0o777 == 0o640)
            }
            #expect(throws: FileError.self) { try Files.status("\(root)/log.3") }
        }
    }

    @Test
    func `one file alone begins anew`() throws {
        try withTemporaryDirectory { root in
            var file = RotatingFile(path: "\(root)/log", maximumBytes: 100, files: 1)
            for number in 0..<12 { try file.append(Self.line(number)) }
            #expect(try file.newestLines(1000) == (10..<12).map(Self.line))
        }
    }

    @Test
    func `half a line that a crash left is passed over`() throws {
        try withTemporaryDirectory { root in
            let path = "\(root)/log"
            try Files.replace(path, with: Array("\(Self.line(1))\n{\"id\":\"7".utf8), mode: 0o644)
            var file = RotatingFile(path: path, maximumBytes: 1000, files: 2)
            try file.append(Self.line(2))
            #expect(try file.newestLines(9) == [Self.line(1), Self.line(2)])
            #expect(try Files.status(path).mode & 0o777 == 0o640)
        }
    }

    @Test
    func `lines over many blocks`() throws {
        try withTemporaryDirectory { root in
            var file = RotatingFile(path: "\(root)/log", maximumBytes: 1 << 30, files: 2)
            let lines = (0..<3000).map { "{\($0):\(String(repeating: "x", count: $0 % 211))}" }
            for line in lines { try file.append(line) }
            for limit in [1, 2, 500, 2999, 3000, 4000] { #expect(try file.newestLines(limit) == lines.suffix(limit)) }
        }
    }

    @Test
    func `a file that somebody moved is begun anew`() throws {
        try withTemporaryDirectory { root in
            var file = RotatingFile(path: "\(root)/log", maximumBytes: 1000, files: 2)
            try file.append(Self.line(1))
            try FileManager.default.moveItem(atPath: "\(root)/log", toPath: "\(root)/elsewhere")
            try file.append(Self.line(2))
            #expect(try file.newestLines(9) == [Self.line(2)])
        }
    }

    @Test
    func `what stands in the place of the log is not written to`() throws {
        try withTemporaryDirectory { root in
            try Files.replace("\(root)/other", with: [], mode: 0o600)
            try FileManager.default.createSymbolicLink(atPath: "\(root)/log", withDestinationPath: "\(root)/other")
            var file = RotatingFile(path: "\(root)/log", maximumBytes: 1000, files: 2)
            #expect(throws: FileError.self) { try file.append(Self.line(1)) }
            #expect(try Files.status("\(root)/other").size == 0)
            var directory = RotatingFile(path: root, maximumBytes: 1000, files: 2)
            #expect(throws: FileError.self) { try directory.append(Self.line(1)) }
        }
    }

    private static func line(_ number: Int) -> String { "{\"n\":\(100 + number)}" }
}

struct DecisionLogTests {
    @Test
    func `a queue that nobody empties drops and counts`() {
        let queue = DecisionQueue(capacity: 10)
        for _ in 0..<25 { queue.record(Self.record(.deny)) }
        #expect(queue.dropped == 15)
    }

    @Test
    func `nobody is woken for what joins others that wait`() async {
        let queue = DecisionQueue()
        for _ in 0..<3 { queue.record(Self.record(.deny)) }
        #expect(queue.take().count == 3)
        #expect(queue.take().isEmpty)
        queue.record(Self.record(.deny))
        queue.finish()
        queue.record(Self.record(.deny))
        var rings = 0
        for await _ in queue.rings { rings += 1 }
        // The bell rang twice, and who slept through both hears one.
        #expect(rings == 1)
        #expect(queue.take().count == 1)
        #expect(queue.dropped == 1)
    }

    @Test
    func `a log that cannot be written counts`() async throws {
        try await withTemporaryDirectory { root in
            let queue = DecisionQueue()
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let log = DecisionLog(path: root, settings: .init(), queue: queue, logger: logger)
            for _ in 0..<5 { queue.record(Self.record(.deny)) }
            queue.finish()
            await log.run()
            #expect(queue.dropped == 5)
        }
    }

    @Test
    func `who follows gets what waits to be written, and gets it once`() async throws {
        try await withTemporaryDirectory { root in
            let queue = DecisionQueue()
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let log = DecisionLog(path: "\(root)/log", settings: .init(), queue: queue, logger: logger)
            queue.record(Self.record(.deny))
            let follower = await log.follow(10, capacity: 10) {}
            follower.leave()
            var further = 0
            for await _ in follower.further { further += 1 }
            #expect(follower.lines.count == 1)
            #expect(further == 0)
        }
    }

    @Test
    func `who leaves is forgotten at once, also when nothing is decided`() async throws {
        try await withTemporaryDirectory { root in
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let log = DecisionLog(path: "\(root)/log", settings: .init(), queue: DecisionQueue(), logger: logger)
            let followers = [await log.follow(1, capacity: 1) {}, await log.follow(1, capacity: 1) {}]
            #expect(await log.followerCount == 2)
            followers[0].leave()
            #expect(await eventually { await log.followerCount == 1 })
            followers[1].leave()
            #expect(await eventually { await log.followerCount == 0 })
        }
    }

    @Test
    func `allowed contacts are recorded unless the settings say otherwise`() async throws {
        for logAllowed in [true, false] {
            var settings = DaemonSettings()
            settings.decisionLog.logAllowed = logAllowed
            try await RunningDaemon.with(settings: settings) { daemon in
                for target in ["/images/create?fromImage=alpine", "/_ping", "/images/create?fromImage=evil.test/x"] {
                    _ = try await daemon.isAllowed("POST", target)
                }
                let expected: [Verdict.Outcome] = logAllowed ? [.allow, .deny, .deny] : [.deny, .deny]
                let isRecorded = try await eventually { try await daemon.records().map(\.verdict) == expected }
                #expect(isRecorded)
            }
        }
    }

    @Test
    func `the file holds no more and no less than the records`() async throws {
        try await RunningDaemon.with { daemon in
            let secret =
                #"{"RequestMethod":"POST","RequestUri":"/images/create?fromImage=evil.test/x&message=hunter2","#
                + #""RequestHeaders":{"X-Secret":"hunter2"}}"#
            _ = try await daemon.call("/AuthZPlugin.AuthZReq", Array(secret.utf8))
            _ = try await daemon.call("/AuthZPlugin.AuthZReq", Array("hunter2".utf8))
            #expect(try await eventually { try await daemon.records().count == 2 })
            let text = try String(contentsOfFile: daemon.paths.decisionLog, encoding: .utf8)
            #expect(text.split(separator: "\n").count == 2)
            #expect(!text.contains("hunter2"))
            #expect(text.utf8.allSatisfy { $0 == 0x0A || (0x20..<0x7F).contains($0) })
            #expect(try Files.status(daemon.paths.decisionLog).mode & 0o777 == 0o640)
        }
    }

    static func record(_ outcome: Verdict.Outcome) -> DecisionRecord {
        DecisionRecord(
            id: DecisionID(),
            time: "2026-11-23T13:45:10.123Z",
            point: .authorizationPlugin,
            request: AccessRequest(.pull, .dockerHub),
            image: "docker.io/library/alpine:3",
            verdict: Verdict(outcome, .noRule),
            policy: nil
        )
    }
}
