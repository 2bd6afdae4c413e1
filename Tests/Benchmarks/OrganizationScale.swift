import Foundation
import NIOCore
import OrganizationClient
import RegistryAccess
import Synchronization
import TestSupport

/// How long it takes until ten thousand connected machines have a new policy, and what the server takes for it.
enum OrganizationScale {
    private static let machines = 10_000

    /// Measures, with TLS and without.
    ///
    /// - Parameter table: where it is written down.
    /// - Throws: why something could not be measured.
    static func run(_ table: inout Table) async throws {
        for hasTLS in [true, false] {
            Benchmarks.note("\(machines) connected machines, \(hasTLS ? "TLS" : "without TLS")")
            let rows = try await withTemporaryDirectory { (directory: String) async throws -> Table in
                try await OrganizationUnderLoad.make(in: directory)
                return try await OrganizationUnderLoad.serve(in: directory, hasTLS: hasTLS) { server in
                    try await measure(server, in: directory)
                }
            }
            table.add(contentsOf: rows)
        }
    }

    private static func measure(_ server: OrganizationUnderLoad, in directory: String) async throws -> Table {
        let kind = server.certificate == nil ? "HTTP" : "TLS"
        let devices = try await server.register(machines)
        let before = try server.cost()
        let followers = try MachinesProcess("follow", server, devices, in: directory)
        let result:
            (connected: OrganizationUnderLoad.Cost, after: OrganizationUnderLoad.Cost, start: Double, slowest: Double)
        do {
            try await waitUntil("\(machines) machines wait", within: .seconds(180)) {
                try followers.check()
                return followers.lines.contains("waiting")
            }
            // What they asked last is under way.
            try await Task.sleep(for: .seconds(3))
            let connected = try server.cost()
            let start = MachineConversations.seconds
            let policy = OrganizationUnderLoad.policy(allowing: ["docker.io", "ghcr.io"])
            try await server.ask(.put, ["policy"], version: 1, body: policy)
            let slowest = try await slowestAnswer(server, while: followers)
            result = (connected, try server.cost(), start, slowest)
        } catch {
            try await followers.stop()
            throw error
        }
        try await followers.stop()
        let times = followers.numbers(of: "times").map { $0 - result.start }
        guard times.count == 6, followers.numbers(of: "failed") == [0] else {
            throw UnexpectedEnd(description: "the machines say: \(followers.lines)")
        }
        var table = Table()
        let names = ["50 %", "99 %", "all"]
        for (name, seconds) in zip(names, times) {
            table.add(
                "\(machines) machines, \(kind), from a save until \(name) are told",
                String(format: "%.2f s", seconds)
            )
        }
        for (name, seconds) in zip(names, times.dropFirst(3)) {
            table.add(
                "\(machines) machines, \(kind), from a save until \(name) have the policy",
                String(format: "%.2f s", seconds),
                limit: name == "99 %" ? (seconds <= 2, "within 2 s") : nil
            )
        }
        let (connected, after) = (result.connected, result.after)
        table.add("the slowest answer to the owner meanwhile, \(kind)", String(format: "%.2f s", result.slowest))
        table.add("memory of the server before, \(kind)", String(format: "%.0f MiB", before.resident))
        table.add(
            "memory of the server with \(machines) machines, \(kind)",
            String(format: "%.0f MiB", connected.resident)
        )
        table.add(
            "the most memory of the server, \(kind)",
            String(format: "%.0f MiB", after.highWater),
            limit: (after.highWater < 1024, "under 1 GiB")
        )
        table.add(
            "processor time of the server for the change, \(kind)",
            String(format: "%.2f s", after.processor - connected.processor)
        )
        table.add(
            "processor time of the server for connecting, \(kind)",
            String(format: "%.2f s", connected.processor - before.processor)
        )
        return table
    }

    /// Asks for something else again and again until the machines have ended.
    private static func slowestAnswer(
        _ server: OrganizationUnderLoad,
        while followers: MachinesProcess
    ) async throws -> Double {
        var slowest = 0.0
        let deadline = ContinuousClock.now + .seconds(120)
        while !followers.hasEnded, ContinuousClock.now < deadline {
            let start = ContinuousClock.now
            try await server.ask(.get, ["policy", "versions"])
            slowest = max(slowest, (ContinuousClock.now - start) / .seconds(1))
            try await Task.sleep(for: .milliseconds(20))
        }
        return slowest
    }

    // MARK: - The machines

    /// Connects machines that wait for a change and fetch what is new then, as docker-ramd does, and says when.
    ///
    /// - Parameter arguments: those of ``MachinesProcess``.
    /// - Throws: why they cannot connect.
    static func follow(_ arguments: MachinesProcess.Arguments) async throws {
        let tally = Tally(arguments.devices.count)
        let conversations = MachineConversations(port: arguments.port, certificate: arguments.certificate)
        try await conversations.begin(arguments.devices.count) { index, answered in
            Follower(arguments.devices[index], tally, answered)
        }
        MachinesProcess.say("waiting")
        let deadline = ContinuousClock.now + .seconds(100)
        while !tally.isComplete, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(10)) }
        let (told, done) = tally.sorted
        let count = arguments.devices.count
        MachinesProcess.say("failed \(count - done.count)")
        guard told.count == count, done.count == count else { return }
        let times = [told, done].flatMap { [$0[count / 2], $0[count * 99 / 100], $0[count - 1]] }
        MachinesProcess.say("times \(times.map { "\($0)" }.joined(separator: " "))")
    }

    /// When machines were told and had everything.
    private final class Tally: Sendable {
        private let times = Mutex<(told: [Double], done: [Double], failed: Int)>(([], [], 0))
        private let count: Int

        init(_ count: Int) { self.count = count }

        func told() { times.withLock { $0.told.append(MachineConversations.seconds) } }
        func done() { times.withLock { $0.done.append(MachineConversations.seconds) } }
        func failed() { times.withLock { $0.failed += 1 } }

        var isComplete: Bool { times.withLock { $0.done.count + $0.failed >= count } }
        var sorted: (told: [Double], done: [Double]) { times.withLock { ($0.told.sorted(), $0.done.sorted()) } }
    }

    /// A machine that waits for a change, and then fetches what docker-ramd does.
    private final class Follower: Machine {
        private enum Question { case cursor, change, root, freshness, policy, nothing }

        private static let beginning = Array("{\"cursor\":\"".utf8)
        private static let policy = Array(",\"policy\":\"".utf8)

        private let device: MachinesProcess.Device
        private let tally: Tally
        private let answered: EventLoopPromise<Void>
        private var question = Question.cursor
        private var cursor = ""

        init(_ device: MachinesProcess.Device, _ tally: Tally, _ answered: EventLoopPromise<Void>) {
            self.device = device
            self.tally = tally
            self.answered = answered
        }

        func next(after reply: Reply?) -> MachineStep {
            guard let reply else { return .ask(changes("wait=60")) }
            switch (question, reply.status) {
            case (.cursor, 200), (.change, 200):
                // By bytes: what ten thousand machines take to read it is not to be taken from the server.
                let found = String(
                    decoding: reply.body.dropFirst(Self.beginning.count).prefix { $0 != UInt8(ascii: "\"") },
                    as: UTF8.self
                )
                let isNew = question == .change && found != cursor
                if question == .cursor { answered.succeed() }
                cursor = found
                question = .change
                guard isNew else { return .ask(changes("wait=60&after=\(cursor)")) }
                tally.told()
                if holdsPolicy(reply.body) {
                    // All of it came along.
                    question = .nothing
                    tally.done()
                    return .ask(changes("wait=60&after=\(cursor)"))
                }
                question = .root
                return .ask(document("root/2.json"))
            case (.root, 404):
                question = .freshness
                return .ask(document("freshness.json"))
            case (.freshness, 200):
                question = .policy
                return .ask(document("policy/2.json"))
            case (.policy, 200):
                question = .nothing
                tally.done()
                // The rest goes on as it does on a machine: it waits again.
                return .ask(changes("wait=60&after=\(cursor)"))
            case (.nothing, 200): return .ask(changes("wait=60&after=\(cursor)"))
            default: return .hangUp
            }
        }

        func ended() {
            answered.fail(UnexpectedEnd(description: "the server has hung up"))
            if question != .nothing { tally.failed() }
        }

        /// Whether the policy came along; Foundation's `firstRange(of:)` takes longer than all that the server does for it.
        private func holdsPolicy(_ body: ByteBufferView) -> Bool {
            let policy = Self.policy
            return body.withUnsafeBytes { body in
                body.indices.contains { body[$0] == policy[0] && body[$0...].starts(with: policy) }
            }
        }

        private func changes(_ query: String) -> String {
            "GET /v1/organizations/acme/devices/\(device.id)/changes?\(query) HTTP/1.1\r\n"
                + "Host: \(OrganizationUnderLoad.host)\r\nAuthorization: Bearer \(device.secret)\r\n"
                + "User-Agent: docker-ram\r\nAccept: application/json\r\n\r\n"
        }

        private func document(_ path: String) -> String {
            "GET /v1/organizations/acme/documents/\(path) HTTP/1.1\r\nHost: \(OrganizationUnderLoad.host)\r\n"
                + "User-Agent: docker-ram\r\nAccept: application/json\r\n\r\n"
        }
    }
}
