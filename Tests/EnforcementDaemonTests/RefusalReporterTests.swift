@testable import EnforcementDaemon
import Foundation
import Glibc
import LocalInstallation
import Logging
import OrganizationClient
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

/// What the organization's server hears of what a machine refused.
struct RefusalReporterTests {
    /// The part of the server that takes reports; it keeps what comes twice once, as the real one does.
    private final class Server: Sendable {
        struct State {
            var reply = OrganizationWeb.Reply.answer(204, [])
            /// Whether what came is kept, whatever is answered.
            var takes = true
            /// Every batch that came, with repetitions.
            var batches: [String] = []
            /// What is kept, in the order in which it came.
            var kept: [(batch: String, refusals: [String], status: JSONValue)] = []
        }

        let state = Mutex(State())
        let client: OrganizationClient

        init(on web: OrganizationWeb) throws {
            client = OrganizationClient(server: try ServerURL(web.url), organization: "acme")
            web.reply(to: "/v1/organizations/acme/devices/d1234567890/reports") { [self] request in
                let body = try? StrictJSON.parse(Array(request.body.utf8))
                guard let body, let batch = body.value(named: "batch")?.text,
                    request.headers["authorization"] == "Bearer ramd_one"
                else { return .json("{}", 500) }
                return state.withLock { state in
                    state.batches.append(batch)
                    if state.takes, !state.kept.contains(where: { $0.batch == batch }) {
                        let refusals = body.value(named: "refusals")?.elements ?? []
                        state.kept.append(
                            (
                                batch, refusals.compactMap { $0.value(named: "id")?.text },
                                body.value(named: "status") ?? .null
                            )
                        )
                    }
                    return state.reply
                }
            }
        }

        /// What is refused with from now on.
        func answers(_ status: Int, _ code: String = "unavailable") {
            state.withLock { state in
                state.takes = (200..<300).contains(status)
                state.reply = state.takes ? .answer(status, []) : .json(#"{"code":"\#(code)"}"#, status)
            }
        }

        var refusals: [String] { state.withLock { $0.kept.flatMap(\.refusals) } }
        var sizes: [Int] { state.withLock { $0.kept.map(\.refusals.count) } }
        var batches: [String] { state.withLock { $0.batches } }
        /// How many refusals the machine has said to be lost.
        var lost: Int {
            state.withLock { state in
                state.kept.flatMap { $0.status.value(named: "findings")?.elements ?? [] }
                    .reduce(0) { $0 + (ReportFiles.number($1, "lost") ?? 0) }
            }
        }
    }

    /// A machine of which only the decision log, the files and the clock are there.
    private final class Machine: Sendable {
        let paths: InstallationPaths
        let server: Server
        let seconds = Mutex<Int64>(0)
        let organization = Mutex<String?>("acme")
        let isRegistered = Mutex(true)
        let policyVersion = Mutex(3)
        private let written = Mutex(0)

        init(_ paths: InstallationPaths, _ server: Server) {
            self.paths = paths
            self.server = server
        }

        /// A docker-ramd that has just started.
        func reporter(_ pace: RefusalReporter.Pace = RefusalReporter.Pace()) -> RefusalReporter {
            var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            logger.logLevel = .critical
            return RefusalReporter(
                paths,
                logger: logger,
                pace: pace,
                target: { [self] in
                    let device = OrganizationClient.Device(id: "d1234567890", secret: Token("ramd_one"))
                    return organization.withLock { $0 }.map { organization in
                        RefusalReporter.Target(
                            organization: organization,
                            client: server.client,
                            device: isRegistered.withLock { $0 } ? device : nil
                        )
                    }
                },
                status: { [self] in
                    RefusalReporter.Status(
                        policyVersion: policyVersion.withLock { $0 },
                        engineVersion: "29.7",
                        enforcementPoints: [.authorizationPlugin]
                    )
                },
                reading: { [self] in
                    let seconds = seconds.withLock { $0 }
                    return TrustedClock.Reading(wall: .now() + seconds, boot: "boot", sinceBoot: 1000 + seconds)
                }
            )
        }

        func pass(_ more: Int64) { seconds.withLock { $0 += more } }

        /// Writes lines into the decision log.
        func decide(_ count: Int, verdict: String = "deny", organization: String = "acme") throws {
            let settings = DaemonSettings.DecisionLog()
            var file = RotatingFile(path: paths.decisionLog, maximumBytes: 100_000, files: settings.files)
            defer { file.close() }
            for _ in 0..<count {
                try file.append(line(verdict: verdict, organization: organization))
            }
        }

        private func line(verdict: String, organization: String) -> String {
            let number = written.withLock { number in
                defer { number += 1 }
                return number
            }
            let digits = String(format: "%06d", number)
            let time = String(format: "2026-11-23T13:45:%02d.%03dZ", number / 1000, number % 1000)
            return #"{"id":"\#(digits)","time":"\#(time)","point":"authorization-plugin","action":"pull","#
                + #""registry":"quay.io","image":"quay.io/secret/x","verdict":"\#(verdict)","reason":"not-listed","#
                + #""rule":null,"policyVersion":3,"organization":"\#(organization)","obstacle":null,"user":1000}"#
        }

        static func names(_ range: Range<Int>) -> [String] { range.map { String(format: "%06d", $0) } }

        var reports: String { "\(paths.organizationDirectory)/reports" }

        /// The reports that wait.
        var waiting: [String] { ((try? Files.names(in: reports)) ?? []).filter { $0 != "progress" } }
    }

    private func withMachine(_ body: (Machine, Server) async throws -> Void) async throws {
        try await OrganizationWeb.with { web in
            try await withTemporaryDirectory { root in
                let paths = InstallationPaths(root: root)
                try OrganizationFiles(paths).prepare()
                let server = try Server(on: web)
                do {
                    try await body(Machine(paths, server), server)
                } catch {
                    await server.client.shutdown()
                    throw error
                }
                await server.client.shutdown()
            }
        }
    }

    @Test
    func `what is refused is told once and in order, and nothing else is`() async throws {
        try await withMachine { machine, server in
            try machine.decide(5)
            let reporter = machine.reporter()
            await reporter.turn()
            // Before the machine belonged to the organization.
            #expect(server.refusals.isEmpty && server.sizes == [0])
            try machine.decide(3)
            try machine.decide(2, verdict: "allow")
            try machine.decide(2, verdict: "would-deny")
            try machine.decide(2, organization: "other")
            for _ in 0..<3 { await reporter.turn() }
            #expect(server.refusals == Machine.names(5..<8) + Machine.names(10..<12))
            #expect(server.sizes == [0, 5] && machine.waiting.isEmpty)
            let status = server.state.withLock { $0.kept[1].status.text() }
            #expect(
                status == #"{"policyVersion":3,"engineVersion":"29.7","productVersion":"\#(ProductVersion.text)","#
                    + #""enforcementPoints":["authorization-plugin"],"findings":[]}"#
            )
            let mode = try Files.status("\(machine.paths.organizationDirectory)/reports/progress").mode
            #expect(mode & 0o777 == 0o600)
        }
    }

    @Test
    func `a machine that is silent for long or has another policy is heard of`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            for (pass, version, reports) in [(0, 3, 1), (5, 3, 1), (5, 4, 2), (5, 4, 2), (894, 4, 2), (6, 4, 3)] {
                machine.pass(Int64(pass))
                machine.policyVersion.withLock { $0 = version }
                await reporter.turn()
                #expect(server.sizes.count == reports, "after \(pass) seconds with policy \(version)")
            }
        }
    }

    @Test(arguments: [503, 429, 401, 404])
    func `a server that is away gets everything when it is back`(_ status: Int) async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            await reporter.turn()
            server.answers(status)
            for _ in 0..<4 {
                try machine.decide(10)
                await reporter.turn()
            }
            // With pauses: only the first one was sent.
            #expect(server.batches.count == 2 && machine.waiting.count == 4)
            server.answers(204)
            machine.pass(3600)
            await machine.reporter().turn()
            #expect(server.refusals == Machine.names(0..<40) && server.lost == 0)
            #expect(machine.waiting.isEmpty)
        }
    }

    @Test
    func `after an answer that did not come the same report comes again, and is kept once`() async throws {
        try await withMachine { machine, server in
            await machine.reporter().turn()
            try machine.decide(4)
            server.state.withLock { $0.reply = .raw { _ in } }
            await machine.reporter().turn()
            server.answers(204)
            try machine.decide(4)
            await machine.reporter().turn()
            let batches = server.batches
            #expect(batches.count >= 4 && Set(batches).count < batches.count)
            #expect(server.refusals == Machine.names(0..<8))
        }
    }

    @Test
    func `a report that was written by who was killed before it counted is no second one`() async throws {
        try await withMachine { machine, server in
            await machine.reporter().turn()
            let files = "\(machine.paths.organizationDirectory)/reports"
            let progress = try Files.read("\(files)/progress", atMost: 1 << 16).bytes
            server.answers(503)
            try machine.decide(4)
            await machine.reporter().turn()
            #expect(machine.waiting.count == 1)
            // As it was between the two files, with what a write leaves half done.
            try Files.replace("\(files)/progress", with: progress, mode: 0o600)
            try Files.replace("\(files)/\(machine.waiting[0]).123", with: [0x7B], mode: 0o600)
            try machine.decide(1)
            server.answers(204)
            await machine.reporter().turn()
            #expect(server.refusals == Machine.names(0..<5) && machine.waiting.isEmpty)
        }
    }

    @Test(arguments: [400, 413, 422])
    func `a report that the server finds malformed is dropped, and the next one says so`(_ status: Int) async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            await reporter.turn()
            server.answers(status, "malformed")
            try machine.decide(7)
            await reporter.turn()
            #expect(machine.waiting.isEmpty && server.refusals.isEmpty)
            server.answers(204)
            try machine.decide(1)
            await reporter.turn()
            #expect(server.refusals == Machine.names(7..<8) && server.lost == 7)
        }
    }

    @Test
    func `a report holds so many refusals at most, over the files of the log`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            await reporter.turn()
            // More than one file of the log.
            try machine.decide(1250)
            let files = try Files.names(in: Files.directory(of: machine.paths.decisionLog))
            #expect(files.contains("decisions.jsonl.2"))
            await reporter.turn()
            #expect(server.refusals == Machine.names(0..<1250))
            #expect(server.sizes == [0, 1000, 250])
        }
    }

    @Test
    func `of what waits too long or is too much the oldest goes, and the server hears how much`() async throws {
        try await withMachine { machine, server in
            var pace = RefusalReporter.Pace()
            pace.mostRefusals = 10
            pace.mostBytes = 8000
            await machine.reporter(pace).turn()
            server.answers(503)
            try machine.decide(100)
            await machine.reporter(pace).turn()
            let left = machine.waiting.count * 10
            #expect((10..<100).contains(left))
            server.answers(204)
            try machine.decide(1)
            await machine.reporter(pace).turn()
            #expect(server.refusals == Machine.names((100 - left)..<101) && server.lost == 100 - left)
            // After a month without the server; what cannot be sent then goes.
            server.answers(503)
            try machine.decide(3)
            await machine.reporter(pace).turn()
            #expect(machine.waiting.count == 1)
            machine.pass(30 * 86_400 + 100)
            await machine.reporter(pace).turn()
            #expect(machine.waiting.isEmpty)
            server.answers(204)
            await machine.reporter(pace).turn()
            #expect(server.refusals.last == "000100" && server.lost == 100 - left + 3)
        }
    }

    @Test
    func `so many reports wait and no more`() async throws {
        try await withMachine { machine, server in
            var pace = RefusalReporter.Pace()
            pace.mostRefusals = 1
            pace.mostReports = 3
            let reporter = machine.reporter(pace)
            await reporter.turn()
            server.answers(503)
            try machine.decide(5)
            await reporter.turn()
            #expect(machine.waiting.count == 3)
            server.answers(204)
            machine.pass(600)
            try machine.decide(1)
            await reporter.turn()
            #expect(server.refusals == Machine.names(2..<6) && server.lost == 2)
        }
    }

    @Test(arguments: [86_500, 4 * 86_400, 40 * 86_400] as [Int64])
    func `what waited while the machine slept is sent before its age is looked at`(_ seconds: Int64) async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            await reporter.turn()
            server.answers(503)
            try machine.decide(3)
            await reporter.turn()
            machine.pass(seconds)
            if seconds < 30 * 86_400 {
                // The network comes back later than the machine.
                await reporter.turn()
                machine.pass(600)
            }
            server.answers(204)
            await reporter.turn()
            #expect(server.refusals == Machine.names(0..<3) && server.lost == 0)
        }
    }

    /// Puts something that cannot be opened in the place of a file, even by root, while a body runs.
    private func withUnreadable(_ path: String, _ body: () async throws -> Void) async throws {
        // In another directory, because what does not belong into that of reports is removed there.
        let aside = "\(Files.directory(of: Files.directory(of: path)))/aside"
        #expect(rename(path, aside) == 0)
        #expect(symlink(path, path) == 0)
        try await body()
        #expect(rename(aside, path) == 0)
    }

    @Test
    func `a report that cannot be read waits, and keeps nothing else from being told`() async throws {
        try await withMachine { machine, server in
            await machine.reporter().turn()
            server.answers(503)
            let reporter = machine.reporter()
            try machine.decide(4)
            await reporter.turn()
            try machine.decide(2)
            await reporter.turn()
            server.answers(204)
            let reports = machine.waiting
            #expect(reports.count == 2)
            let bytes = try Files.read("\(machine.reports)/\(reports[0])", atMost: 1 << 20).bytes
            #expect(unlink("\(machine.reports)/\(reports[0])") == 0)
            #expect(symlink(reports[0], "\(machine.reports)/\(reports[0])") == 0)
            machine.pass(600)
            await reporter.turn()
            #expect(server.refusals == Machine.names(4..<6) && machine.waiting == [reports[0]])
            // Nor is the machine silent.
            let told = server.sizes.count
            machine.pass(1000)
            await reporter.turn()
            #expect(server.sizes.count == told + 1 && machine.waiting == [reports[0]])
            try Files.replace("\(machine.reports)/\(reports[0])", with: bytes, mode: 0o600)
            await reporter.turn()
            #expect(server.refusals == Machine.names(4..<6) + Machine.names(0..<4) && server.lost == 0)
            #expect(machine.waiting.isEmpty)
        }
    }

    @Test
    func `a report that nobody can use any more is counted as lost`() async throws {
        try await withMachine { machine, server in
            await machine.reporter().turn()
            server.answers(503)
            try machine.decide(4)
            await machine.reporter().turn()
            try Files.replace("\(machine.reports)/\(machine.waiting[0])", with: Array("{".utf8), mode: 0o600)
            server.answers(204)
            try machine.decide(2)
            await machine.reporter().turn()
            try machine.decide(1)
            await machine.reporter().turn()
            #expect(server.refusals == Machine.names(4..<7))
            // How many were in it nobody knows: one at least.
            #expect(server.lost == 1 && machine.waiting.isEmpty)
        }
    }

    @Test
    func `while it cannot be read how far the log is in reports nothing is forgotten`() async throws {
        try await withMachine { machine, server in
            let running = machine.reporter()
            await running.turn()
            server.answers(503)
            try machine.decide(4)
            await running.turn()
            #expect(machine.waiting.count == 1)
            try await withUnreadable("\(machine.reports)/progress") {
                try machine.decide(3)
                machine.pass(600)
                for reporter in [running, machine.reporter()] {
                    await reporter.turn()
                    #expect(machine.waiting.filter { !$0.hasPrefix("progress") }.count == 1)
                }
            }
            server.answers(204)
            machine.pass(600)
            await machine.reporter().turn()
            #expect(server.refusals == Machine.names(0..<7) && server.lost == 0)
        }
    }

    @Test
    func `where it is lost how far the log is in reports the server hears what is lost with it`() async throws {
        try await withMachine { machine, server in
            await machine.reporter().turn()
            server.answers(503)
            try machine.decide(4)
            await machine.reporter().turn()
            try Files.replace("\(machine.reports)/progress", with: Array("{".utf8), mode: 0o600)
            server.answers(204)
            await machine.reporter().turn()
            try machine.decide(2)
            await machine.reporter().turn()
            #expect(server.refusals == Machine.names(4..<6) && server.lost == 4)
        }
    }

    @Test
    func `a log that was removed is read from its new beginning, and nothing older again`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            await reporter.turn()
            try machine.decide(700)
            await reporter.turn()
            #expect(unlink(machine.paths.decisionLog) == 0)
            await reporter.turn()
            try machine.decide(5)
            await reporter.turn()
            #expect(server.refusals == Machine.names(0..<705))
        }
    }

    @Test
    func `who belongs to nobody or is not registered tells nothing`() async throws {
        try await withMachine { machine, server in
            machine.organization.withLock { $0 = nil }
            let reporter = machine.reporter()
            try machine.decide(2)
            await reporter.turn()
            #expect(!FileManager.default.fileExists(atPath: "\(machine.paths.organizationDirectory)/reports"))
            machine.organization.withLock { $0 = "acme" }
            machine.isRegistered.withLock { $0 = false }
            await reporter.turn()
            try machine.decide(2)
            await reporter.turn()
            #expect(server.batches.isEmpty)
            machine.isRegistered.withLock { $0 = true }
            await reporter.turn()
            #expect(server.refusals == Machine.names(2..<4))
        }
    }

    @Test
    func `another organization hears nothing of what the one before was to hear`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            await reporter.turn()
            server.answers(503)
            try machine.decide(2)
            await reporter.turn()
            #expect(machine.waiting.count == 1)
            server.answers(204)
            machine.organization.withLock { $0 = "other" }
            machine.pass(3600)
            await reporter.turn()
            try machine.decide(1, organization: "other")
            await reporter.turn()
            #expect(server.refusals == Machine.names(2..<3))
            OrganizationFiles(machine.paths).clear()
            let left = try Files.names(in: "\(machine.paths.organizationDirectory)/reports")
            #expect(left.isEmpty)
        }
    }

    @Test
    func `docker-ramd tells what it refuses`() async throws {
        try await OrganizationWeb.with { web in
            let organization = SignedOrganization()
            try web.publishRoot(organization)
            try web.publish(organization, version: 3)
            let server = try Server(on: web)
            web.reply(
                to: "/v1/organizations/acme/devices",
                .json(#"{"device":"d1234567890","secret":"ramd_one"}"#, 201)
            )
            web.reply(
                to: "/v1/organizations/acme/devices/d1234567890/changes",
                .json(#"{"cursor":"c1","session":"none"}"#)
            )
            var pace = OrganizationKeeper.Pace()
            pace.tick = .milliseconds(50)
            pace.waiting = 1
            var reportPace = RefusalReporter.Pace()
            reportPace.tick = .milliseconds(50)
            try await RunningDaemon.with(
                policy: nil,
                pace: pace,
                reportPace: reportPace,
                preparing: { try web.enroll($0, organization) }
            ) { (daemon) async throws in
                // The first report, so that the decision log is followed.
                #expect(await eventually { !server.batches.isEmpty })
                let isInForce = try await eventually { try await daemon.status().policy.policyVersion == 3 }
                #expect(isInForce)
                let isAllowed = try await daemon.isAllowed("POST", "/images/create?fromImage=quay.io/acme/x")
                #expect(isAllowed == false)
                #expect(await eventually { server.refusals.count == 1 })
                let status = server.state.withLock { $0.kept.last?.status }
                #expect(ReportFiles.number(status ?? .null, "policyVersion") == 3)
                #expect(
                    status?.value(named: "enforcementPoints") == .texts(["authorization-plugin", "egress-proxy"])
                )
            }
            await server.client.shutdown()
        }
    }
}

/// Who is told to have been refused something.
struct RefusalUserTests {
    @Test(
        arguments: [
            ("1000", #""mia""#), ("0", #""root""#), ("4242", "4242"), ("4294967296", "4294967296"), ("-1", "-1"),
            // What is no name of a person, or would be taken for a number, is told by the number.
            ("1", "1"), ("2", "2"), ("3", "3"), (#""alice""#, #""alice""#),
        ]
    )
    func `a user is told by their name on the machine, if they have one`(user: String, told: String) throws {
        try withTemporaryDirectory { directory in
            let path = "\(directory)/decisions.log"
            var file = RotatingFile(path: path, maximumBytes: 100_000, files: 2)
            for number in 0..<3 {
                try file.append(
                    #"{"id":"00000\#(number)","time":"2026-11-23T13:45:10.123Z","point":"credential-helper","action":"login","#
                        + #""registry":"quay.io","image":null,"verdict":"deny","reason":"not-listed","rule":null,"#
                        + #""policyVersion":3,"organization":"acme","obstacle":null,"user":\#(user)}"#
                )
            }
            file.close()
            let asked = Mutex(0)
            let reading = RefusalReading(
                of: path,
                behind: LogPosition(),
                organization: "acme",
                mostRefusals: 10
            ) { user in
                asked.withLock { $0 += 1 }
                return [0: "root", 1: "", 2: "5000", 3: "m\u{FC}ller", 1000: "mia"][user]
            }
            #expect(reading.refusals.count == 3)
            for refusal in reading.refusals { #expect(refusal.value(named: "user")?.text() == told) }
            #expect(asked.withLock { $0 } <= 1, "the names of a machine may be on a server far away")
        }
    }

    @Test
    func `the system's own user database is asked`() throws {
        try withTemporaryDirectory { directory in
            let path = "\(directory)/decisions.log"
            var file = RotatingFile(path: path, maximumBytes: 100_000, files: 2)
            try file.append(
                #"{"id":"000000","time":"2026-11-23T13:45:10.123Z","point":"credential-helper","action":"login","#
                    + #""registry":"quay.io","verdict":"deny","organization":"acme","user":0}"#
            )
            file.close()
            let reading = RefusalReading(of: path, behind: LogPosition(), organization: "acme", mostRefusals: 10)
            #expect(reading.refusals.first?.value(named: "user")?.text == "root")
        }
    }
}
