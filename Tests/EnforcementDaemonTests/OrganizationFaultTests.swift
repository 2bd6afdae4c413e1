@testable import EnforcementDaemon
import Foundation
import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

/// A machine of an organization whose disk, clock or network is not as it should be.
struct OrganizationFaultTests {
    private static let ghcr = "/images/create?fromImage=ghcr.io/acme/x"

    private static func status(_ paths: InstallationPaths) async throws -> DaemonStatus {
        let line = try await onThread {
            let client = try SocketClient(paths.controlSocket)
            client.send(#"{"request":"status"}"# + "\n")
            return String(decoding: client.read(), as: UTF8.self)
        }
        return try JSONDecoder().decode(DaemonStatus.self, from: Data(line.utf8))
    }

    private static func becomes(
        _ paths: InstallationPaths,
        _ isSo: (DaemonStatus) -> Bool
    ) async -> Bool {
        await eventually { (try? await status(paths)).map(isSo) ?? false }
    }

    // MARK: - A full disk

    @Test(.enabled(if: geteuid() == 0, "only root makes a file system"))
    func `a full disk leaves the policy in force, also after a kill, and what is newer comes when there is space`()
        async throws
    {
        try await OrganizationWeb.with { web in
            let organization = SignedOrganization()
            try web.publishRoot(organization)
            try web.publish(organization, version: 1)
            try await Self.withSmallDisk(web, organization) { outside, seen, disk in
                try await Self.fullDisk(web, organization, outside, seen, disk)
            }
        }
    }

    /// Makes a machine of an organization whose state is on a small disk; `body` gets its paths as docker-ramd sees them and
    /// as a test does.
    private static func withSmallDisk(
        _ web: OrganizationWeb,
        _ organization: SignedOrganization,
        _ body: (_ outside: InstallationPaths, _ seen: InstallationPaths, _ disk: SmallDisk) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { root in
            let outside = InstallationPaths(root: root)
            try web.enroll(outside, organization)
            let settings = #"{"egressProxy":{"listen":"127.0.0.1:0"}}"#
            try Files.replace(outside.daemonSettings, with: Array(settings.utf8), mode: 0o644)
            let state = Files.directory(of: outside.organizationPolicy)
            try Files.makeDirectory(state)
            try await SmallDisk.with(at: state, kilobytes: 1024) { disk in
                let seen = InstallationPaths(root: String(disk.path.dropLast(state.utf8.count)) + root)
                try await body(outside, seen, disk)
            }
        }
    }

    private static func start(_ paths: InstallationPaths, _ disk: SmallDisk) throws -> RunningProgram {
        let program = try Programs.path("docker-ramd")
        return try RunningProgram(disk.command([program, "run", "--root", paths.root]))
    }

    private static func fullDisk(
        _ web: OrganizationWeb,
        _ organization: SignedOrganization,
        _ paths: InstallationPaths,
        _ seen: InstallationPaths,
        _ disk: SmallDisk
    ) async throws {
        func refusePull() async throws {
            let answer = try await onThread {
                let client = try SocketClient(paths.pluginSocket)
                client.send(RunningDaemon.post("/AuthZPlugin.AuthZReq", pull("quay.io/acme/x")))
                return client.readAnswer()
            }
            #expect(answer?.body.contains(#""Allow":false"#) == true, "\(answer?.body ?? "no answer")")
        }
        var daemon = try start(paths, disk)
        #expect(await becomes(paths) { $0.policy.policyVersion == 1 })
        #expect(PolicyInForce.load(seen).policy?.version == 1)
        try await refusePull()
        #expect(await eventually { !lines(of: seen.decisionLog).isEmpty })
        let before = lines(of: seen.decisionLog)
        try disk.fill()
        try web.publish(organization, version: 2)
        daemon.send(SIGHUP)
        #expect(
            await becomes(paths) {
                $0.policy.policyVersion == 1
                    && $0.policy.problem?.contains("cannot be kept, so it is not in force") == true
                    && $0.policy.problem?.contains("no space left on device") == true
            }
        )
        #expect(PolicyInForce.load(seen).policy?.version == 1)
        // Decisions are made all the same, and counted where they cannot be written.
        for _ in 0..<40 { try await refusePull() }
        #expect(await becomes(paths) { $0.decisionLog.dropped > 0 })
        // Nothing but what was in force is in force after a kill.
        daemon.send(SIGKILL)
        _ = try await daemon.status(within: .seconds(20))
        #expect(PolicyInForce.load(seen).policy?.version == 1)
        daemon = try start(paths, disk)
        #expect(await becomes(paths) { $0.policy.policyVersion == 1 })
        #expect(PolicyInForce.load(seen).policy?.version == 1)
        try await refusePull()
        #expect(await becomes(paths) { $0.policy.problem?.contains("no space left on device") == true })
        let kept = (try? Files.names(in: seen.organizationDirectory)) ?? []
        #expect(kept.allSatisfy { $0.hasSuffix(".json") || $0 == "reports" }, "\(kept)")
        // Nobody has to do anything but to make space.
        disk.free()
        #expect(await becomes(paths) { $0.policy.policyVersion == 2 && $0.policy.problem == nil })
        #expect(PolicyInForce.load(seen).policy?.version == 2)
        try await refusePull()
        let after = lines(of: seen.decisionLog)
        #expect(after.starts(with: before))
        #expect(after.allSatisfy { (try? JSONDecoder().decode(DecisionRecord.self, from: Data($0.utf8))) != nil })
        daemon.send(SIGTERM)
        #expect(try await daemon.status(within: .seconds(60)) == 0, "\(daemon.errors)")
    }

    @Test(.enabled(if: geteuid() == 0, "only root makes a file system"))
    func `a machine that cannot write its name down is registered once, and keeps it when there is space`()
        async throws
    {
        try await OrganizationWeb.with { web in
            let organization = SignedOrganization()
            try web.publishRoot(organization)
            try web.publish(organization, version: 1)
            let registered = Mutex(0)
            let polled = Mutex(0)
            let unknown = #"{"title":"unknown","status":401,"code":"device_unknown"}"#
            web.reply(to: "/v1/organizations/acme/devices/d1234567891/changes", .json(unknown, 401))
            web.reply(to: "/v1/organizations/acme/devices/d1234567892/changes") { _ in
                polled.withLock { $0 += 1 }
                return .json(#"{"cursor":"c1","session":"none"}"#)
            }
            try await Self.withSmallDisk(web, organization) { outside, seen, disk in
                web.reply(to: "/v1/organizations/acme/devices") { _ in
                    let number = registered.withLock { count -> Int in
                        count += 1
                        return count
                    }
                    // As late as this: a machine with nothing at all could not begin, and forgetting a name makes space.
                    if number > 1 { try? disk.fill() }
                    return .json(#"{"device":"d123456789\#(number)","secret":"ramd_x"}"#, 201)
                }
                let daemon = try Self.start(outside, disk)
                #expect(await eventually { polled.withLock { $0 } >= 4 })
                #expect(registered.withLock { $0 } == 2)
                #expect(try OrganizationFiles(seen).device == nil)
                disk.free()
                #expect(await eventually { (try? OrganizationFiles(seen).device?.id) == "d1234567892" })
                #expect(registered.withLock { $0 } == 2)
                daemon.send(SIGTERM)
                #expect(try await daemon.status(within: .seconds(60)) == 0, "\(daemon.errors)")
            }
        }
    }

    private static func lines(of file: String) -> [String] {
        ((try? String(contentsOfFile: file, encoding: .utf8)) ?? "").split(separator: "\n").map(String.init)
    }

    @Test(.enabled(if: geteuid() == 0, "only root makes a file system"))
    func `reports that do not fit on a full disk are made when there is space, and none is sent twice`() async throws {
        try await OrganizationWeb.with { web in
            let organization = SignedOrganization()
            try web.publishRoot(organization)
            try web.publish(organization, version: 1)
            web.reply(
                to: "/v1/organizations/acme/devices",
                .json(#"{"device":"d0000000000000000000000001","secret":"ramd_x"}"#, 201)
            )
            let isAway = Mutex(true)
            web.reply(to: "/v1/organizations/acme/devices/d0000000000000000000000001/reports") { _ in
                isAway.withLock { $0 } ? .json("{}", 500) : .answer(204, [])
            }
            web.reply(
                to: "/v1/organizations/acme/devices/d0000000000000000000000001/changes",
                .json(#"{"cursor":"1","session":"none"}"#)
            )
            try await Self.withSmallDisk(web, organization) { paths, seen, disk in
                try await Self.reports(web, paths, seen, disk) { isAway.withLock { $0 = false } }
            }
        }
    }

    private static func reports(
        _ web: OrganizationWeb,
        _ paths: InstallationPaths,
        _ seen: InstallationPaths,
        _ disk: SmallDisk,
        _ serverComes: () -> Void
    ) async throws {
        let daemon = try start(paths, disk)
        #expect(await becomes(paths) { $0.policy.policyVersion == 1 })
        func refusePulls() async throws {
            for _ in 0..<20 {
                _ = try await onThread {
                    let client = try SocketClient(paths.pluginSocket)
                    client.send(RunningDaemon.post("/AuthZPlugin.AuthZReq", pull("quay.io/acme/x")))
                    return client.readAnswer()
                }
            }
        }
        // The reporter begins with what is refused from then on.
        let progress = OrganizationFiles(seen).reports + "/progress"
        #expect(await eventually { (try? Files.status(progress)) != nil })
        try await refusePulls()
        #expect(await eventually { lines(of: seen.decisionLog).count >= 20 })
        try disk.fill()
        try await refusePulls()
        disk.free()
        try await refusePulls()
        serverComes()
        daemon.send(SIGHUP)
        func sent() -> [String] {
            let bodies = web.requests.filter { $0.path.hasSuffix("/reports") }.map(\.body)
            var batches: Set<String> = []
            var ids: [String] = []
            for body in bodies {
                guard let report = try? StrictJSON.parse(Array(body.utf8), limits: StrictJSON.Limits(bytes: 1 << 20)),
                    let batch = report.value(named: "batch")?.text, batches.insert(batch).inserted
                else { continue }
                ids += (report.value(named: "refusals")?.elements ?? []).compactMap { $0.value(named: "id")?.text }
            }
            return ids
        }
        func logged() -> [String] {
            lines(of: seen.decisionLog).compactMap {
                try? JSONDecoder().decode(DecisionRecord.self, from: Data($0.utf8)).id
            }
        }
        #expect(
            await eventually { Set(sent()) == Set(logged()) && logged().count >= 40 },
            "\(sent().count) of \(logged().count)"
        )
        #expect(Set(sent()).count == sent().count)
        daemon.send(SIGTERM)
        #expect(try await daemon.status(within: .seconds(60)) == 0)
    }

    // MARK: - A session whose renewal was not kept

    @Test
    func `a session outlives a kill between the server's renewal of it and its being kept`() async throws {
        let organization = SignedOrganization()
        try await OrganizationWeb.with { web in
            try web.publishRoot(organization)
            try web.publish(organization, version: 3)
            web.reply(
                to: "/v1/organizations/acme/devices",
                .json(#"{"device":"d0000000000000000000000001","secret":"ramd_x"}"#, 201)
            )
            let cursor = Mutex(1)
            web.reply(to: "/v1/organizations/acme/devices/d0000000000000000000000001/changes") { _ in
                .json("{\"cursor\":\"\(cursor.withLock { $0 })\",\"session\":\"active\"}")
            }
            let killed = Mutex<DaemonProcess?>(nil)
            let isArmed = Mutex(false)
            web.reply(to: "/v1/token") { request in
                let time = Instant.now()
                guard
                    let ticket = try? organization.ticket(
                        device: "d0000000000000000000000001",
                        signedIn: time,
                        issued: time
                    )
                else {
                    return .json("{}", 500)
                }
                // The server has renewed the session, and nobody is there any more to hear it.
                if request.body.contains("grant_type=refresh_token"), isArmed.withLock({ $0 }) {
                    isArmed.withLock { $0 = false }
                    while killed.withLock({ $0 == nil }) { usleep(1000) }
                    killed.withLock { $0?.signal(SIGKILL) }
                }
                let number = web.requests.count { $0.path == "/v1/token" }
                return .json(
                    """
                    {"access_token":"rama_x","token_type":"Bearer","expires_in":900,"refresh_token":"ramr_\(number)",
                     "user":"alice","ticket":\(String(decoding: ticket, as: UTF8.self))}
                    """
                )
            }
            func shown() -> [String] {
                web.requests.filter { $0.path == "/v1/token" }.map { request in
                    request.body.firstMatch(of: #/ramr_\d+/#).map { String($0.0) } ?? "password"
                }
            }
            try await withTemporaryDirectory { root in
                let paths = InstallationPaths(root: root)
                try web.enroll(paths, organization, requiresSignIn: true)
                let settings = #"{"egressProxy":{"listen":"127.0.0.1:0"}}"#
                try Files.replace(paths.daemonSettings, with: Array(settings.utf8), mode: 0o644)
                let first = try DaemonProcess(["run", "--root", root])
                #expect(await Self.becomes(paths) { $0.policy.state == .signInRequired })
                let answer = try await onThread {
                    let client = try SocketClient(paths.controlSocket)
                    client.send(#"{"request":"sign-in","user":"alice","password":"right"}"# + "\n")
                    return String(decoding: client.read(), as: UTF8.self)
                }
                #expect(answer.contains("signedIn"), "\(answer)")
                first.signal(SIGTERM)
                #expect(try await first.ending() == 0)
                let before = try #require(try OrganizationFiles(paths).session).refreshToken.text
                let seen = shown().count

                isArmed.withLock { $0 = true }
                let second = try DaemonProcess(["run", "--root", root])
                killed.withLock { $0 = second }
                // It renews the ticket after the first change that it learns of.
                cursor.withLock { $0 += 1 }
                #expect(try await second.ending() == 128 + SIGKILL)
                #expect(Array(shown()[seen...]) == [before])
                #expect(try OrganizationFiles(paths).session?.refreshToken.text == before)

                let third = try DaemonProcess(["run", "--root", root])
                // With the one that it has, which the server takes once more as long as its successor is not used.
                #expect(await eventually { shown().count > seen + 1 })
                #expect(shown()[seen + 1] == before)
                #expect(
                    await eventually { (try? OrganizationFiles(paths).session?.refreshToken.text ?? before) != before }
                )
                #expect(await Self.becomes(paths) { $0.policy.policyVersion == 3 && $0.policy.problem == nil })
                third.signal(SIGTERM)
                #expect(try await third.ending() == 0)
            }
        }
    }

    // MARK: - A clock that is wrong

    /// Clocks that tests set; seconds go by as they do.
    private final class Clocks: Sendable {
        private let ahead = Mutex<Int64>(0)
        private let passed = Mutex<Int64>(0)
        private let boot = Mutex("one")

        func set(_ seconds: Int64) { ahead.withLock { $0 = seconds } }
        /// Begins another boot, as far as the clocks say.
        func reboot() { boot.withLock { $0 += "+" } }
        func pass(_ seconds: Int64) { passed.withLock { $0 += seconds } }

        var now: Instant { .now() + passed.withLock { $0 } }

        var pace: OrganizationKeeper.Pace {
            var pace = OrganizationKeeper.Pace()
            pace.tick = .milliseconds(20)
            pace.waiting = 1
            pace.keepingTime = 0
            pace.reading = {
                let real = TrustedClock.Reading.ofThisMachine()
                let passed = self.passed.withLock { $0 }
                return TrustedClock.Reading(
                    wall: real.wall + passed + self.ahead.withLock { $0 },
                    boot: self.boot.withLock { $0 },
                    sinceBoot: real.sinceBoot + passed
                )
            }
            return pace
        }
    }

    private static func withMachine(
        _ clocks: Clocks,
        _ body: @escaping @Sendable (RunningDaemon, OrganizationWeb, SignedOrganization) async throws -> Void
    ) async throws {
        let organization = SignedOrganization()
        try await OrganizationWeb.with { web in
            try web.publishRoot(organization)
            try web.publish(organization, version: 3, issued: clocks.now + -600)
            try await RunningDaemon.with(
                policy: nil,
                pace: clocks.pace,
                preparing: { try web.enroll($0, organization) }
            ) { daemon in try await body(daemon, web, organization) }
        }
    }

    @Test(arguments: [400 * 86_400, 2 * 86_400, 7 * 3600] as [Int64])
    func `a machine whose clock is ahead for a while is well when it is right again`(jump: Int64) async throws {
        let clocks = Clocks()
        try await Self.withMachine(clocks) { daemon, web, organization in
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 3 && $0.policy.problem == nil })
            clocks.set(jump)
            let ends = jump > SignedOrganization.day
            if ends {
                #expect(await Self.becomes(daemon.paths) { $0.policy.state == .expired })
                #expect(try await daemon.isAllowed("POST", Self.ghcr) == false)
                let problem = try await Self.status(daemon.paths).policy.problem
                #expect(problem?.contains("the clock") == true, "\(problem ?? "")")
            }
            // Long enough for it to be kept what time it is.
            for _ in 0..<3 {
                clocks.pass(600)
                daemon.orders.yield(.reload)
                _ = try await daemon.ask(#"{"request":"status"}"#)
                try await Task.sleep(for: .milliseconds(100))
            }
            clocks.set(0)
            // Nothing newer has come, and nobody does anything.
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 3 && $0.policy.problem == nil })
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == true)
            #expect(PolicyInForce.load(daemon.paths).policy?.version == 3)
            try web.publish(organization, version: 4, issued: clocks.now)
            daemon.orders.yield(.reload)
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 4 && $0.policy.problem == nil })
        }
    }

    @Test
    func `a machine that started with a clock far ahead is well with the next document after it is right`() async throws
    {
        let clocks = Clocks()
        clocks.set(300 * 86_400)
        try await Self.withMachine(clocks) { daemon, web, organization in
            #expect(await Self.becomes(daemon.paths) { $0.policy.problem?.contains("clock of this machine") == true })
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == false)
            clocks.set(0)
            daemon.orders.yield(.reload)
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 3 && $0.policy.problem == nil })
            // Again, now that there is something that may end.
            clocks.reboot()
            clocks.set(300 * 86_400)
            #expect(await Self.becomes(daemon.paths) { $0.policy.state == .expired })
            clocks.pass(60)
            try await Task.sleep(for: .milliseconds(200))
            clocks.set(0)
            try web.publish(organization, version: 4, issued: clocks.now)
            daemon.orders.yield(.reload)
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 4 && $0.policy.problem == nil })
        }
    }

    @Test(arguments: [-400 * 86_400, -86_400, -3600] as [Int64])
    func `a machine whose clock is set back says so, holds nothing longer, and is well when it is right`(
        jump: Int64
    ) async throws {
        let clocks = Clocks()
        try await Self.withMachine(clocks) { daemon, web, organization in
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 3 && $0.policy.problem == nil })
            clocks.set(jump)
            let words = "the clock of this machine is wrong"
            #expect(await Self.becomes(daemon.paths) { $0.policy.problem?.contains(words) == true })
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == true)
            // What is new comes.
            try web.publish(organization, version: 4, issued: clocks.now)
            daemon.orders.yield(.reload)
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 4 })
            clocks.set(0)
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 4 && $0.policy.problem == nil })
            clocks.set(jump)
            clocks.pass(SignedOrganization.day + 1)
            #expect(await Self.becomes(daemon.paths) { $0.policy.state == .expired })
            clocks.set(0)
            try web.publish(organization, version: 5, issued: clocks.now)
            daemon.orders.yield(.reload)
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 5 && $0.policy.problem == nil })
        }
    }

    @Test
    func `a server whose clock is ahead is refused in words that say so, until it is right`() async throws {
        let clocks = Clocks()
        try await Self.withMachine(clocks) { daemon, web, organization in
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 3 && $0.policy.problem == nil })
            try web.publish(organization, version: 4, issued: clocks.now + 365 * 86_400)
            daemon.orders.yield(.reload)
            let words = "the clock of the server or of this machine is wrong"
            #expect(await Self.becomes(daemon.paths) { $0.policy.problem?.contains(words) == true })
            #expect(try await Self.status(daemon.paths).policy.policyVersion == 3)
            try web.publish(organization, version: 4, sequence: 5, issued: clocks.now)
            daemon.orders.yield(.reload)
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 4 && $0.policy.problem == nil })
        }
    }

    // MARK: - A server that cannot be reached

    enum Trouble: String, CaseIterable, Sendable {
        case refused, html, broken, unavailable, tooMany, notHTTP, closed
    }

    @Test(arguments: Trouble.allCases)
    func `what is wrong with the server is said in a sentence, the policy stays, and it goes on by itself`(
        trouble: Trouble
    ) async throws {
        let clocks = Clocks()
        try await Self.withMachine(clocks) { daemon, web, organization in
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 3 && $0.policy.problem == nil })
            let freshness = "/documents/freshness.json"
            let words: String
            switch trouble {
            case .refused:
                let closed = "http://127.0.0.1:1"
                let enrollment = Enrollment(
                    server: try ServerURL(closed),
                    organization: organization.name,
                    fingerprint: organization.pinned.fingerprint,
                    documents: try ServerURL("\(closed)/documents")
                )
                try Files.replace(daemon.paths.enrollment, with: Array(enrollment.json.text().utf8), mode: 0o644)
                words = "the server refuses connections"
            case .html:
                let page = Array("<html><body>Welcome to the airport</body></html>".utf8)
                web.reply(to: freshness, .answer(200, page, ["Content-Type": "text/html"]))
                words = "not in order"
            case .broken:
                web.reply(to: freshness, .answer(500, Array("<html>oops</html>".utf8)))
                words = "the server answered with status 500"
            case .unavailable:
                web.reply(to: freshness, .json(#"{"code":"storage_fault","status":503}"#, 503))
                words = "the server refused: storage_fault (503)"
            case .tooMany:
                web.reply(to: freshness, .json(#"{"code":"too_many_requests"}"#, 429))
                words = "the server refused: too_many_requests (429)"
            case .notHTTP:
                web.reply(to: freshness, .raw { $0.send("220 mail.acme.test ESMTP\r\n") })
                words = "the server does not speak HTTP"
            case .closed:
                web.reply(to: freshness, .raw { _ in })
                words = "the server closed the connection before its answer was complete"
            }
            daemon.orders.yield(.reload)
            let isSaid = await Self.becomes(daemon.paths) { $0.policy.problem?.contains(words) == true }
            let problem = try await Self.status(daemon.paths).policy.problem
            #expect(isSaid, "\(problem ?? "")")
            #expect(try await daemon.isAllowed("POST", Self.ghcr) == true)
            let asked = web.requests.count { $0.path == freshness }
            try web.publish(organization, version: 4, issued: clocks.now)
            try web.enroll(daemon.paths, organization)
            // The pauses are seconds of the machine's own count.
            clocks.pass(RefreshSchedule.longestRetry)
            #expect(await Self.becomes(daemon.paths) { $0.policy.policyVersion == 4 && $0.policy.problem == nil })
            #expect(web.requests.count { $0.path == freshness } - asked < 10, "it asks without a pause")
        }
    }

    @Test(.enabled(if: geteuid() == 0, "only root makes a network"))
    func `without a network the name of the server cannot be found, which is said`() async throws {
        try await withTemporaryDirectory { root in
            let paths = InstallationPaths(root: root)
            let organization = SignedOrganization()
            let enrollment = Enrollment(
                server: try ServerURL("https://ram.acme.test"),
                organization: organization.name,
                fingerprint: organization.pinned.fingerprint
            )
            try Files.makeDirectory(Files.directory(of: paths.enrollment))
            try Files.replace(paths.enrollment, with: Array(enrollment.json.text().utf8), mode: 0o644)
            let settings = #"{"egressProxy":{"listen":"127.0.0.1:0"}}"#
            try Files.replace(paths.daemonSettings, with: Array(settings.utf8), mode: 0o644)
            let program = try Programs.path("docker-ramd")
            let daemon = try RunningProgram([
                "unshare", "--net", "/bin/sh", "-c", "ip link set lo up; exec \"$0\" \"$@\"", program, "run", "--root",
                root,
            ])
            let isSaid = await Self.becomes(paths) {
                $0.policy.problem?.contains(#"the name "ram.acme.test" cannot be found"#) == true
            }
            let problem = try? await Self.status(paths).policy.problem
            #expect(isSaid, "\(problem ?? daemon.errors)")
            try await daemon.stop()
        }
    }
}
