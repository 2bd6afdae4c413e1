import Foundation
import NIOCore
import OrganizationClient
import RegistryAccess
import Synchronization
import TestSupport

/// How many refusals per second the server keeps, and that each is there once afterwards.
enum ReportLoad {
    private static let machines = 1000

    /// Measures.
    ///
    /// - Parameter table: where it is written down.
    /// - Throws: why something could not be measured.
    static func run(_ table: inout Table) async throws {
        table.add(
            contentsOf: try await withTemporaryDirectory { (directory: String) async throws -> Table in
                var table = Table()
                try await OrganizationUnderLoad.make(in: directory)
                let devices = try await OrganizationUnderLoad.serve(in: directory, hasTLS: true) { server in
                    try await server.register(machines)
                }
                let sizeBefore = try OrganizationUnderLoad.databaseSize(in: directory)
                var kept = 0
                try await OrganizationUnderLoad.serve(in: directory, hasTLS: true) { server in
                    kept += try await measure(server, devices, in: directory, pause: 5.5, &table)
                    kept += try await measure(server, devices, in: directory, pause: 0, &table)
                    kept += try await fullBatches(server, Array(devices.prefix(20)), &table)
                    let found = try await identifiers(server)
                    table.add(
                        "of \(kept) refusals, lost or doubled",
                        "\(abs(found.all - kept) + found.all - found.different)",
                        limit: (found.all == kept && found.different == kept, "none")
                    )
                }
                let size = try OrganizationUnderLoad.databaseSize(in: directory) - sizeBefore
                table.add("database per refusal", "\(size / max(1, kept)) bytes")
                return table
            }
        )
    }

    /// How many batches each machine sends.
    private static let batches = 6

    private static func measure(
        _ server: OrganizationUnderLoad,
        _ devices: [OrganizationClient.Device],
        in directory: String,
        pause: Double,
        _ table: inout Table
    ) async throws -> Int {
        let name = pause > 0 ? "reports at 1000 refusals/s" : "reports one after another"
        Benchmarks.note("\(name), \(devices.count) machines with 1 to 10 refusals in each")
        let before = try server.cost()
        let process = try MachinesProcess("report", server, devices, in: directory, ["\(pause)", "\(batches)"])
        try await process.end(within: .seconds(300))
        let after = try server.cost()
        let figures = process.numbers(of: "reports")
        guard figures.count == 5, process.numbers(of: "failed") == [0] else {
            throw UnexpectedEnd(description: "the machines say: \(process.lines)")
        }
        let (refusals, posts, seconds, p50, p99) = (figures[0], figures[1], figures[2], figures[3], figures[4])
        table.add(
            "\(name), kept",
            String(format: "%.0f refusals/s in %.0f reports/s", refusals / seconds, posts / seconds),
            // What the machines offer varies by chance.
            limit: (refusals / seconds >= (pause > 0 ? 900 : 1000), pause > 0 ? "all that come" : "at least 1000/s")
        )
        table.add("\(name), until acknowledged", String(format: "p50 %.1f ms, p99 %.1f ms", p50 * 1000, p99 * 1000))
        table.add(
            "\(name), processor time of the server",
            String(format: "%.0f µs/refusal", (after.processor - before.processor) / refusals * 1e6)
        )
        return Int(refusals)
    }

    /// Machines after a day without their server; one may not send so much.
    private static func fullBatches(
        _ server: OrganizationUnderLoad,
        _ devices: [OrganizationClient.Device],
        _ table: inout Table
    ) async throws -> Int {
        let size = 1000
        Benchmarks.note("reports of \(devices.count) machines with \(size) refusals in each")
        var seconds: [Double] = []
        for (index, device) in devices.enumerated() {
            let text = body(device: device.id, batch: "full-batch-\(index)", refusals: size)
            let report = try StrictJSON.parse(Array(text.utf8), limits: StrictJSON.Limits(bytes: 1 << 20))
            let start = ContinuousClock.now
            try await server.owner.send(report: report, from: device)
            seconds.append((ContinuousClock.now - start) / .seconds(1))
        }
        let sample = Sample(seconds)
        table.add(
            "a report with \(size) refusals, until acknowledged",
            sample.milliseconds,
            limit: (sample.median < 1, "at least 1000/s")
        )
        return devices.count * size
    }

    /// What the owner finds afterwards.
    private static func identifiers(_ server: OrganizationUnderLoad) async throws -> (all: Int, different: Int) {
        var (all, different) = (0, Set<String>())
        var before: String?
        repeat {
            let query = [("limit", "500")] + (before.map { [("before", $0)] } ?? [])
            let answer = try await server.ask(.get, ["reports"], query: query).value
            for refusal in answer.value(named: "reports")?.elements ?? [] {
                all += 1
                different.insert(refusal.value(named: "id")?.text ?? "")
            }
            if case .number(let next) = answer.value(named: "next") { before = next } else { before = nil }
        } while before != nil
        return (all, different.count)
    }

    /// A report as docker-ramd sends it.
    private static func body(device: String, batch: String, refusals: Int) -> String {
        let list = (0..<refusals).map { index in
            """
            {"id":"\(device)-\(batch)-\(index)","time":"2026-11-29T12:00:00.\(100 + index % 900)Z",\
            "registry":"registry-\(index % 7).example.test","action":"pull","verdict":"deny","rule":"*",\
            "point":"authorization-plugin","user":"alice"}
            """
        }
        return """
            {"batch":"\(batch)","status":{"policyVersion":1,"engineVersion":"29.1.0","productVersion":"1.0.0",\
            "enforcementPoints":["credential-helper","authorization-plugin","egress-proxy"],"findings":[]},\
            "refusals":[\(list.joined(separator: ","))]}
            """
    }

    // MARK: - The machines

    /// Connects machines that report, and says how long it took.
    ///
    /// - Parameter arguments: those of ``MachinesProcess``; then the seconds between two reports, and how many there are.
    /// - Throws: why they cannot connect.
    static func report(_ arguments: MachinesProcess.Arguments) async throws {
        let pause = arguments.more.first.flatMap { Double($0) } ?? 0
        let batches = arguments.more.last.flatMap { Int($0) } ?? 0
        let count = arguments.devices.count
        let tally = Tally()
        let conversations = MachineConversations(port: arguments.port, certificate: arguments.certificate)
        try await conversations.begin(count) { index, answered in
            Reporter(arguments.devices[index], seed: index, batches: batches, pause: pause, tally, answered)
        }
        let deadline = ContinuousClock.now + .seconds(250)
        while tally.ended < count, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(10)) }
        MachinesProcess.say("failed \(tally.failed + count - tally.ended)")
        let (refusals, times, start, end) = tally.figures
        guard !times.isEmpty else { return }
        let sorted = times.sorted()
        MachinesProcess.say(
            "reports \(refusals) \(times.count) \(end - start) \(sorted[times.count / 2]) \(sorted[times.count * 99 / 100])"
        )
    }

    private final class Tally: Sendable {
        private struct Sum {
            var refusals = 0
            var seconds: [Double] = []
            var start = Double.infinity
            var end = 0.0
            var ended = 0
            var failed = 0
        }

        private let sum = Mutex(Sum())

        var ended: Int { sum.withLock { $0.ended } }
        var failed: Int { sum.withLock { $0.failed } }
        var figures: (refusals: Int, seconds: [Double], start: Double, end: Double) {
            sum.withLock { ($0.refusals, $0.seconds, $0.start, $0.end) }
        }

        func kept(_ refusals: Int, _ start: Double) {
            let now = MachineConversations.seconds
            sum.withLock {
                $0.refusals += refusals
                $0.seconds.append(now - start)
                $0.start = min($0.start, start)
                $0.end = max($0.end, now)
            }
        }

        func end(isGood: Bool) {
            sum.withLock {
                $0.ended += 1
                if !isGood { $0.failed += 1 }
            }
        }
    }

    /// A machine that reports; one report in twenty comes twice, as if its acknowledgement had been lost.
    private final class Reporter: Machine {
        private let device: MachinesProcess.Device
        private let tally: Tally
        private let answered: EventLoopPromise<Void>
        private let pause: Double
        private var chance: SeededGenerator
        private var left: Int
        private var refusals = 0
        private var text = ""
        private var start = 0.0
        private var isFirst = true
        private var isRepeated = false

        init(
            _ device: MachinesProcess.Device,
            seed: Int,
            batches: Int,
            pause: Double,
            _ tally: Tally,
            _ answered: EventLoopPromise<Void>
        ) {
            self.device = device
            self.tally = tally
            self.answered = answered
            self.pause = pause
            chance = SeededGenerator(seed: UInt64(seed))
            left = batches
        }

        func next(after reply: Reply?) -> MachineStep {
            guard let reply else { return .ask("GET /healthz HTTP/1.1\r\nHost: \(OrganizationUnderLoad.host)\r\n\r\n") }
            if isFirst {
                isFirst = false
                answered.succeed()
                // The others connect meanwhile, and each has a time of its own.
                return make(after: 2 + Double.random(in: 0...max(0.1, pause), using: &chance))
            }
            guard reply.status == 204 else { return .hangUp }
            tally.kept(isRepeated ? 0 : refusals, start)
            if !isRepeated, Int.random(in: 0..<20, using: &chance) == 0 {
                isRepeated = true
                start = MachineConversations.seconds
                return .ask(text)
            }
            left -= 1
            return left > 0 ? make(after: pause) : .hangUp
        }

        func ended() {
            answered.fail(UnexpectedEnd(description: "the server has hung up"))
            tally.end(isGood: left == 0)
        }

        private func make(after seconds: Double) -> MachineStep {
            isRepeated = false
            refusals = Int.random(in: 1...10, using: &chance)
            let body = ReportLoad.body(
                device: device.id,
                batch: "\(pause > 0 ? "paced" : "fast")-\(left)-\(UInt32.random(in: .min ... .max, using: &chance))",
                refusals: refusals
            )
            text =
                "POST /v1/organizations/acme/devices/\(device.id)/reports HTTP/1.1\r\n"
                + "Host: \(OrganizationUnderLoad.host)\r\nAuthorization: Bearer \(device.secret)\r\n"
                + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n" + body
            start = MachineConversations.seconds + seconds
            return seconds > 0 ? .askIn(.milliseconds(Int64(seconds * 1000)), text) : .ask(text)
        }
    }
}
