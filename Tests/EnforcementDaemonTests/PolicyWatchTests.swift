@testable import EnforcementDaemon
import Glibc
import LocalInstallation
import Logging
import RegistryAccess
import TestSupport
import Testing

/// The policy file while docker-ramd runs, seen from the plugin's socket.
struct PolicyWatchTests {
    private static let evil = "/images/create?fromImage=evil.test/x"
    private static let stricter =
        #"{"version":8,"organization":"acme","registries":[{"address":"quay.io","allowed":true}]}"#

    @Test
    func `a new policy is in force at once`() async throws {
        try await RunningDaemon.with { daemon in
            #expect(try await daemon.isAllowed("POST", "/images/create?fromImage=alpine") == true)
            try Files.replace(daemon.paths.policyFile, with: Array(Self.stricter.utf8), mode: 0o644)
            #expect(await Self.becomes(daemon) { $0.policy.policyVersion == 8 })
            #expect(try await daemon.isAllowed("POST", "/images/create?fromImage=alpine") == false)
            #expect(try await daemon.isAllowed("POST", "/images/create?fromImage=quay.io/x/y") == true)
            let kept = try Files.read(daemon.paths.lastValidPolicy, atMost: 1 << 20)
            #expect(kept.bytes == Array(Self.stricter.utf8))
            #expect(kept.status.mode & 0o777 == 0o644)
        }
    }

    @Test
    func `a new policy of the same version and length is in force, too`() async throws {
        try await RunningDaemon.with { daemon in
            let other = RunningDaemon.policy.replacing("docker.io", with: "evil.test")
            // In place and without a pause, as an editor or a script may do it.
            for text in [RunningDaemon.policy, other] {
                let file = try #require(fopen(daemon.paths.policyFile, "w"))
                fputs(text, file)
                fclose(file)
            }
            #expect(try await eventually { try await daemon.isAllowed("POST", Self.evil) == true })
        }
    }

    @Test(arguments: [
        ("{", "line 1, column 2: "),
        (stricter.replacing("allowed", with: "alowed"), "line 1, column 71: unknown key \"alowed\""),
        ("", "line 1, column 1: "),
    ])
    func `a broken new file keeps the old policy in force and says why`(_ text: String, _ problem: String) async throws
    {
        try await RunningDaemon.with { daemon in
            try Files.replace(daemon.paths.policyFile, with: Array(text.utf8), mode: 0o644)
            #expect(await Self.becomes(daemon) { $0.policy.problem?.contains(problem) == true })
            let status = try await daemon.status()
            #expect(status.policy.state == .enforce && status.policy.policyVersion == 7)
            #expect(try await daemon.isAllowed("POST", "/images/create?fromImage=alpine") == true)
            #expect(try await daemon.isAllowed("POST", Self.evil) == false)
            // What can be used is used again.
            try Files.replace(daemon.paths.policyFile, with: Array(Self.stricter.utf8), mode: 0o644)
            #expect(await Self.becomes(daemon) { $0.policy.problem == nil && $0.policy.policyVersion == 8 })
        }
    }

    @Test
    func `a file that anybody can write to is not used`() async throws {
        try await RunningDaemon.with { daemon in
            try Files.replace(daemon.paths.policyFile, with: Array(Self.stricter.utf8), mode: 0o666)
            #expect(await Self.becomes(daemon) { $0.policy.problem?.contains("can be written by others") == true })
            #expect(try await daemon.status().policy.policyVersion == 7)
            // Nor one in a directory that anybody can write to.
            try Files.replace(daemon.paths.policyFile, with: Array(Self.stricter.utf8), mode: 0o644)
            #expect(await Self.becomes(daemon) { $0.policy.policyVersion == 8 })
            chmod(Files.directory(of: daemon.paths.policyFile), 0o777)
            #expect(await Self.becomes(daemon) { $0.policy.problem?.contains("the directory") == true })
            #expect(try await daemon.status().policy.policyVersion == 8)
        }
    }

    @Test
    func `a removed file means an unmanaged machine`() async throws {
        try await RunningDaemon.with { daemon in
            unlink(daemon.paths.policyFile)
            #expect(await Self.becomes(daemon) { $0.policy.state == .unmanaged })
            #expect(try await daemon.isAllowed("POST", Self.evil) == true)
            #expect(try await daemon.status().policy.source == nil)
            // A policy comes back as it comes the first time.
            try Files.replace(daemon.paths.policyFile, with: Array(Self.stricter.utf8), mode: 0o644)
            #expect(await Self.becomes(daemon) { $0.policy.state == .enforce })
        }
    }

    @Test
    func `an unmanaged machine with a broken first policy refuses registries`() async throws {
        try await RunningDaemon.with(policy: nil) { daemon in
            #expect(try await daemon.isAllowed("POST", Self.evil) == true)
            try Files.replace(daemon.paths.policyFile, with: Array("nonsense".utf8), mode: 0o644)
            #expect(await Self.becomes(daemon) { $0.policy.state == .unavailable })
            #expect(try await daemon.isAllowed("POST", "/images/create?fromImage=alpine") == false)
            #expect(try await daemon.isAllowed("GET", "/containers/json") == true)
            #expect(try await daemon.status().policy.problem?.contains("line 1, column 1") == true)
        }
    }

    @Test(arguments: [("audit", DaemonStatus.Policy.State.audit), ("enforce", .enforce)])
    func `the mode`(_ mode: String, _ state: DaemonStatus.Policy.State) async throws {
        let policy = RunningDaemon.policy.replacing("\"version\"", with: #""mode": "\#(mode)", "version""#)
        try await RunningDaemon.with(policy: policy) { daemon in
            let status = try await daemon.status()
            #expect(status.policy.state == state)
            let isAllowed = try await daemon.isAllowed("POST", Self.evil)
            #expect(isAllowed == (state == .audit))
            #expect(await Self.hasRecord(daemon, state == .audit ? .wouldDeny : .deny))
        }
    }

    @Test
    func `a broken file at the start falls back on the last valid policy`() throws {
        try withTemporaryDirectory { root in
            let paths = InstallationPaths(root: root)
            try Files.makeDirectory(Files.directory(of: paths.policyFile))
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            try Files.replace(paths.policyFile, with: Array(Self.stricter.utf8), mode: 0o644)
            #expect(PolicyWatcher(paths, logger: logger).policy.snapshot.status.policyVersion == 8)
            try Files.replace(paths.policyFile, with: Array("{".utf8), mode: 0o644)
            let status = PolicyWatcher(paths, logger: logger).policy.snapshot.status
            #expect(status.policyVersion == 8 && status.source == paths.lastValidPolicy)
            #expect(status.problem?.contains("line 1, column 2") == true)
        }
    }

    @Test
    func `newer registry packs are in force at once, and faulty ones never`() async throws {
        try await withTemporaryDirectory { (root: String) async throws in
            let paths = InstallationPaths(root: root)
            try Files.makeDirectory(Files.directory(of: paths.policyFile))
            let policy = #"{"version":8,"organization":"acme","registries":[{"address":"ghcr.io","allowed":true}]}"#
            try Files.replace(paths.policyFile, with: Array(policy.utf8), mode: 0o644)
            let watcher = PolicyWatcher(paths, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            let old = try RegistryAddress("pkg-containers.githubusercontent.com")
            let new = try RegistryAddress("cdn.ghcr.test")
            func isOpen(_ address: RegistryAddress) -> Bool {
                watcher.policy.snapshot.inForce.verdict(onReaching: address).outcome == .allow
            }
            #expect(isOpen(old) && !isOpen(new))
            func packs(_ version: Int) -> [UInt8] {
                Array(
                    (#"{"version":\#(version),"packs":[{"name":"GHCR","registries":["ghcr.io"],"#
                        + #""hosts":[{"host":"cdn.ghcr.test","purpose":"content"}]}]}"#).utf8
                )
            }
            try Files.replace(paths.registryPacks, with: packs(1000), mode: 0o644)
            await watcher.check()
            #expect(!isOpen(old) && isOpen(new))
            for faulty in [packs(0), Array("{".utf8), packs(1)] {
                try Files.replace(paths.registryPacks, with: faulty, mode: 0o644)
                await watcher.check()
                #expect(isOpen(old) && !isOpen(new))
            }
            try Files.replace(paths.registryPacks, with: packs(1001), mode: 0o644)
            await watcher.check()
            #expect(!isOpen(old) && isOpen(new))
            #expect(unlink(paths.registryPacks) == 0)
            await watcher.check()
            #expect(isOpen(old) && !isOpen(new))
        }
    }

    private static func becomes(_ daemon: RunningDaemon, _ condition: (DaemonStatus) -> Bool) async -> Bool {
        await eventually { (try? await daemon.status()).map(condition) ?? false }
    }

    private static func hasRecord(_ daemon: RunningDaemon, _ verdict: Verdict.Outcome) async -> Bool {
        await eventually { (try? await daemon.records())?.contains { $0.verdict == verdict } ?? false }
    }
}
