@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import Logging
import OrganizationClient
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

/// What the organization's server hears of what is allowed on a machine.
struct UseReporterTests {
    /// The part of the server that hears which registries are used.
    private final class Server: Sendable {
        private let state = Mutex((status: 204, told: [String](), posts: 0))
        let client: OrganizationClient

        init(on web: OrganizationWeb, devices: [String] = ["d1234567890", "d0987654321"]) throws {
            client = OrganizationClient(server: try ServerURL(web.url), organization: "acme")
            for device in devices {
                web.reply(to: "/v1/organizations/acme/devices/\(device)/uses") { [self] request in
                    let body = try? StrictJSON.parse(Array(request.body.utf8))
                    guard request.headers["authorization"] == "Bearer ramd_one",
                        let uses = body?.value(named: "uses")?.elements
                    else { return .json("{}", 500) }
                    return state.withLock { state in
                        state.posts += 1
                        guard state.status == 204 else { return .json(#"{"code":"no"}"#, state.status) }
                        state.told += uses.map { use in
                            ["day", "registry", "action"].map { use.value(named: $0)?.text ?? "-" }
                                .joined(separator: " ")
                        }
                        return .answer(204, [])
                    }
                }
            }
        }

        func answers(_ status: Int) { state.withLock { $0.status = status } }
        /// All that it heard, with repetitions.
        var told: [String] { state.withLock { $0.told } }
        /// How often it was asked.
        var posts: Int { state.withLock { $0.posts } }
    }

    /// A machine of which only the decisions, the file and the clock are there.
    private final class Machine: Sendable {
        let paths: InstallationPaths
        let server: Server
        let tally = UseTally()
        let queue: DecisionQueue
        let seconds = Mutex<Int64>(0)
        let organization = Mutex<String?>("acme")
        let device = Mutex<String?>("d1234567890")
        let said = Mutex<[String]>([])
        static let start = Instant(seconds: 1_795_614_310)

        init(_ paths: InstallationPaths, _ server: Server) {
            self.paths = paths
            self.server = server
            queue = DecisionQueue(uses: tally)
        }

        /// A docker-ramd that has just started.
        func reporter(_ pace: UseReporter.Pace = UseReporter.Pace()) -> UseReporter {
            let logger = Logger(label: "test") { _ in Listener(machine: self) }
            return UseReporter(
                paths,
                tally: tally,
                logger: logger,
                pace: pace,
                target: { [self] in
                    let id = device.withLock { $0 }
                    let device = id.map { OrganizationClient.Device(id: $0, secret: Token("ramd_one")) }
                    return organization.withLock { $0 }.map { organization in
                        RefusalReporter.Target(organization: organization, client: server.client, device: device)
                    }
                },
                reading: { [self] in
                    let seconds = seconds.withLock { $0 }
                    return TrustedClock.Reading(wall: Self.start + seconds, boot: "boot", sinceBoot: 1000 + seconds)
                }
            )
        }

        private struct Listener: LogHandler {
            let machine: Machine
            var metadata: Logger.Metadata = [:]
            var logLevel = Logger.Level.info

            subscript(metadataKey key: String) -> Logger.Metadata.Value? {
                get { metadata[key] }
                set { metadata[key] = newValue }
            }

            func log(event: LogEvent) {
                machine.said.withLock { $0.append("\(event.message)") }
            }
        }

        func pass(_ more: Int64) { seconds.withLock { $0 += more } }

        /// Decides as the plugin does, under a policy that allows everything.
        func use(_ registry: String, _ action: RegistryAction = .pull, organization: String = "acme") throws {
            queue.record(
                try record(.authorizationPlugin, registry, action, Verdict(.allow, .allowedByRule), organization)
            )
        }

        func record(
            _ point: DecisionRecord.Point,
            _ registry: String,
            _ action: RegistryAction?,
            _ verdict: Verdict,
            _ organization: String = "acme"
        ) throws -> DecisionRecord {
            let address = try RegistryAddress(registry)
            let milliseconds = (Self.start + seconds.withLock { $0 }).seconds * 1000
            let policy = AccessPolicy(version: 3, organization: organization, rules: [])
            var record = DecisionRecord(
                id: DecisionID(),
                time: UTCTime(milliseconds: milliseconds).description,
                point: point,
                request: AccessRequest(action ?? .pull, address),
                image: "\(registry)/secret/x",
                verdict: verdict,
                policy: policy
            )
            record.action = action
            return record
        }

        var file: String { "\(paths.organizationDirectory)/uses.json" }
    }

    private func withMachine(_ body: (Machine, Server) async throws -> Void) async throws {
        try await OrganizationWeb.with { web in
            try await withTemporaryDirectory { root in
                let server = try Server(on: web)
                do {
                    try await body(Machine(InstallationPaths(root: root), server), server)
                } catch {
                    await server.client.shutdown()
                    throw error
                }
                await server.client.shutdown()
            }
        }
    }

    @Test
    func `a registry, an action and a day are told once, and no image`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            for _ in 0..<3 {
                try machine.use("ghcr.io")
                try machine.use("registry.acme.test:5000", .push)
                try machine.use("docker.io", organization: "other")
                await reporter.turn()
                machine.pass(400)
            }
            #expect(server.told == ["2026-11-25 ghcr.io pull", "2026-11-25 registry.acme.test:5000 push"])
            #expect(server.posts == 1)
            #expect(try Files.status(machine.file).mode & 0o777 == 0o600)
            let text = String(decoding: try Files.read(machine.file, atMost: 1 << 16).bytes, as: UTF8.self)
            #expect(!text.contains("secret"))
            // The next day is another one, and the one before needs no place any more.
            machine.pass(86_400)
            try machine.use("ghcr.io")
            await reporter.turn()
            #expect(server.told.last == "2026-11-26 ghcr.io pull" && server.posts == 2)
            let kept = try #require(UseFile(machine.paths).content())
            #expect(kept.told.map(\.day) == ["2026-11-26"] && kept.untold.isEmpty)
        }
    }

    @Test
    func `that a host was reached is told where nothing else was seen there`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            func reach(_ registry: String) throws {
                machine.queue.record(
                    try machine.record(.egressProxy, registry, nil, Verdict(.allow, .allowedByRule))
                )
            }
            try machine.use("ghcr.io")
            try reach("ghcr.io")
            try reach("quay.io")
            await reporter.turn()
            machine.pass(400)
            try reach("ghcr.io")
            await reporter.turn()
            #expect(server.told == ["2026-11-25 ghcr.io pull", "2026-11-25 quay.io -"])
            machine.pass(86_400)
            try reach("ghcr.io")
            await reporter.turn()
            #expect(server.told.last == "2026-11-26 ghcr.io -")
        }
    }

    @Test
    func `what is new is told some minutes after the telling before`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            try machine.use("ghcr.io")
            await reporter.turn()
            for number in 0..<70 {
                machine.pass(5)
                try machine.use("r\(number).acme.test")
                await reporter.turn()
                if number < 59 { #expect(server.posts == 1) }
            }
            #expect(server.posts == 2, "after five minutes once more")
            #expect(Set(server.told).count == 61 && server.told.count == 61)
        }
    }

    @Test
    func `who is killed goes on, and tells nothing again`() async throws {
        try await withMachine { machine, server in
            try machine.use("ghcr.io")
            await machine.reporter().turn()
            server.answers(503)
            try machine.use("quay.io")
            machine.pass(400)
            await machine.reporter().turn()
            #expect(server.told == ["2026-11-25 ghcr.io pull"])
            server.answers(204)
            // Nothing is used after the start: it is in the file.
            try machine.use("ghcr.io")
            await machine.reporter().turn()
            #expect(server.told == ["2026-11-25 ghcr.io pull", "2026-11-25 quay.io pull"])
        }
    }

    @Test
    func `a server that is away hears it later, for a week`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            server.answers(503)
            for day in 0..<10 {
                try machine.use("r\(day).acme.test")
                await reporter.turn()
                await reporter.turn()
                if day < 9 { machine.pass(86_400) }
            }
            #expect(server.posts == 10, "with pauses")
            server.answers(204)
            machine.pass(400)
            await reporter.turn()
            #expect(server.told.map { $0.dropFirst(11) } == (2..<10).map { "r\($0).acme.test pull" })
        }
    }

    @Test(arguments: [404, 405])
    func `a server that does not know it is left alone for an hour`(_ status: Int) async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            server.answers(status)
            for _ in 0..<30 {
                try machine.use("ghcr.io")
                await reporter.turn()
                machine.pass(100)
            }
            #expect(server.posts == 1)
            #expect(machine.said.withLock { $0.count } == 1)
            // Whoever starts again asks again.
            let next = machine.reporter()
            await next.turn()
            #expect(server.posts == 2)
            server.answers(204)
            machine.pass(3500)
            await next.turn()
            #expect(server.posts == 2)
            machine.pass(100)
            await next.turn()
            #expect(server.told == ["2026-11-25 ghcr.io pull"])
        }
    }

    @Test
    func `what the server finds malformed is dropped`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            server.answers(422)
            try machine.use("ghcr.io")
            await reporter.turn()
            server.answers(204)
            machine.pass(3600)
            try machine.use("quay.io")
            await reporter.turn()
            #expect(server.told == ["2026-11-25 quay.io pull"] && server.posts == 2)
        }
    }

    @Test
    func `who belongs to nobody tells and keeps nothing, nor who is not registered`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            machine.organization.withLock { $0 = nil }
            try machine.use("ghcr.io")
            await reporter.turn()
            #expect(!FileManager.default.fileExists(atPath: machine.file))
            machine.organization.withLock { $0 = "acme" }
            machine.device.withLock { $0 = nil }
            try machine.use("quay.io")
            await reporter.turn()
            #expect(server.posts == 0)
            machine.device.withLock { $0 = "d1234567890" }
            await reporter.turn()
            #expect(server.told == ["2026-11-25 quay.io pull"])
        }
    }

    @Test
    func `another organization hears nothing of it, and another device all of the day`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            try machine.use("ghcr.io")
            await reporter.turn()
            machine.device.withLock { $0 = "d0987654321" }
            machine.pass(400)
            await reporter.turn()
            #expect(server.told == ["2026-11-25 ghcr.io pull", "2026-11-25 ghcr.io pull"])
            server.answers(503)
            try machine.use("quay.io")
            machine.pass(400)
            await reporter.turn()
            let posts = server.posts
            server.answers(204)
            machine.organization.withLock { $0 = "other" }
            await reporter.turn()
            machine.pass(400)
            await reporter.turn()
            #expect(server.posts == posts)
            #expect(UseFile(machine.paths).content()?.organization == "other")
        }
    }

    @Test
    func `of a day so much is told at most, and the log says so once`() async throws {
        try await withMachine { machine, server in
            let reporter = machine.reporter()
            for round in 0..<3 {
                for number in 0..<150 { try machine.use("r\(round)-\(number).acme.test") }
                await reporter.turn()
                machine.pass(400)
            }
            #expect(server.told.count == 200)
            #expect(machine.said.withLock { $0.count { $0.contains("so many registries") } } == 1)
            // In memory, too.
            for number in 0..<(2 * UseTally.capacity) { try machine.use("m\(number).acme.test") }
            let (uses, lost) = machine.tally.take(of: "acme")
            #expect(uses.count == UseTally.capacity && lost == UseTally.capacity)
            #expect(machine.tally.take(of: "acme").uses.isEmpty)
        }
    }

    @Test
    func `only what a rule or a policy that is off allowed is use`() async throws {
        try await withMachine { machine, _ in
            let table: [(DecisionRecord.Point, RegistryAction?, Verdict, Bool)] = [
                (.authorizationPlugin, .pull, Verdict(.allow, .allowedByRule), true),
                (.authorizationPlugin, .login, Verdict(.allow, .disabled), true),
                (.egressProxy, nil, Verdict(.allow, .allowedByRule), true),
                (.egressProxy, nil, Verdict(.allow, .supportHost), false),
                (.egressProxy, nil, Verdict(.allow, .disabled), false),
                (.egressProxy, nil, Verdict(.allow, .organizationServer), false),
                (.authorizationPlugin, .login, Verdict(.allow, .organizationServer), false),
                (.authorizationPlugin, .pull, Verdict(.wouldDeny, .noRule), false),
                (.authorizationPlugin, .pull, Verdict(.deny, .noRule), false),
                (.authorizationPlugin, .pull, Verdict(.allow, .unmanaged), false),
            ]
            for (point, action, verdict, isUse) in table {
                let use = RegistryUse(try machine.record(point, "ghcr.io", action, verdict))
                let expected = RegistryUse(day: "2026-11-25", registry: "ghcr.io", action: action)
                #expect(use == (isUse ? expected : nil), "\(point) \(verdict)")
            }
        }
    }

    @Test(arguments: [true, false])
    func `docker-ramd tells what it allows, unless what is allowed is not recorded`(_ isRecorded: Bool) async throws {
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
            let reports = Mutex(0)
            web.reply(to: "/v1/organizations/acme/devices/d1234567890/reports") { request in
                if request.body.contains("quay.io") { reports.withLock { $0 += 1 } }
                return .answer(204, [])
            }
            var pace = OrganizationKeeper.Pace()
            pace.tick = .milliseconds(50)
            pace.waiting = 1
            var reportPace = RefusalReporter.Pace()
            reportPace.tick = .milliseconds(50)
            var usePace = UseReporter.Pace()
            usePace.tick = .milliseconds(50)
            var settings = DaemonSettings()
            settings.decisionLog.logAllowed = isRecorded
            try await RunningDaemon.with(
                policy: nil,
                settings: settings,
                pace: pace,
                reportPace: reportPace,
                usePace: usePace,
                preparing: { try web.enroll($0, organization) }
            ) { (daemon) async throws in
                let isInForce = try await eventually { try await daemon.status().policy.policyVersion == 3 }
                #expect(isInForce)
                #expect(await eventually { web.requests.contains { $0.path.hasSuffix("/reports") } })
                let isAllowed = try await daemon.isAllowed("POST", "/images/create?fromImage=ghcr.io/acme/x")
                #expect(isAllowed == true)
                let isRefused = try await daemon.isAllowed("POST", "/images/create?fromImage=quay.io/acme/x")
                #expect(isRefused == false)
                #expect(await eventually { reports.withLock { $0 } > 0 })
                if isRecorded {
                    #expect(await eventually { server.told.map { $0.dropFirst(11) } == ["ghcr.io pull"] })
                } else {
                    #expect(server.posts == 0)
                }
            }
            await server.client.shutdown()
        }
    }
}
