@testable import EnforcementDaemon
import Foundation
import Glibc
import LocalInstallation
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

/// The built program, killed while new policies come.
struct OrganizationKillTests {
    /// How often; each time takes less than a second.
    private static let kills = ProcessInfo.processInfo.environment["DOCKER_RAM_KILLS"].flatMap(Int.init) ?? 20

    /// Another program, which looks again and again at what is in force.
    private final class Reader: Sendable {
        private struct Seen {
            var looks = 0
            var newest = 0
            var wrong: [String] = []
            var isOver = false
        }

        private let seen = Mutex(Seen())
        private let paths: InstallationPaths

        init(_ paths: InstallationPaths) {
            self.paths = paths
            // What looks must not run short of threads because others wait.
            Thread.detachNewThread { self.run() }
        }

        var looks: Int { seen.withLock { $0.looks } }
        var newest: Int { seen.withLock { $0.newest } }
        var wrong: [String] { seen.withLock { $0.wrong } }

        func stop() { seen.withLock { $0.isOver = true } }

        private func run() {
            while !seen.withLock({ $0.isOver }) {
                let inForce = PolicyInForce.load(paths)
                seen.withLock { seen in
                    seen.looks += 1
                    let version = inForce.policy?.version ?? 0
                    if version == 0 {
                        seen.wrong.append("none after \(seen.newest): \(inForce.problem ?? "no problem")")
                    } else if version < seen.newest {
                        seen.wrong.append("\(version) after \(seen.newest)")
                    }
                    seen.newest = max(seen.newest, version)
                }
                usleep(500)
            }
        }
    }

    @Test
    func `whenever it is killed, no older policy comes into force, and there is always one`() async throws {
        try await OrganizationWeb.with { web in
            let organization = SignedOrganization()
            try web.publishRoot(organization)
            try web.publish(organization, version: 1)
            try await withTemporaryDirectory { root in
                let paths = InstallationPaths(root: root)
                try web.enroll(paths, organization)
                let settings = #"{"egressProxy":{"listen":"127.0.0.1:0"}}"#
                try Files.replace(paths.daemonSettings, with: Array(settings.utf8), mode: 0o644)
                let first = try DaemonProcess(["run", "--root", root])
                #expect(await eventually { PolicyInForce.load(paths).policy?.version == 1 })
                let reader = Reader(paths)
                defer { reader.stop() }
                try await kill(first, web, organization, paths, reader)
            }
        }
    }

    private func kill(
        _ first: DaemonProcess,
        _ web: OrganizationWeb,
        _ organization: SignedOrganization,
        _ paths: InstallationPaths,
        _ reader: Reader
    ) async throws {
        var generator = SeededGenerator(seed: 9)
        var (version, seen, changes) = (1, 1, 0)
        var daemon = first
        for round in 0..<Self.kills {
            if round > 0 {
                daemon = try DaemonProcess(["run", "--root", paths.root])
                // A request may still be one of the docker-ramd before, and SIGHUP ends one that does not wait for it yet.
                #expect(try await daemon.becomesReady(paths))
            }
            for _ in 0..<3 {
                version += 1
                try web.publish(organization, version: version)
                daemon.signal(SIGHUP)
                // Where it is then is left to chance; what has to hold, holds wherever that is.
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...120, using: &generator)))
            }
            daemon.signal(SIGKILL)
            #expect(try await daemon.ending() == 128 + SIGKILL)
            let told = PolicyInForce.load(paths).policy?.version ?? 0
            #expect(told >= seen, "\(told) is older than \(seen)")
            let kept = try Self.kept(paths)
            #expect(kept >= told, "version \(kept) would come into force again after \(told)")
            if kept > seen { changes += 1 }
            seen = max(told, kept)
        }
        #expect(changes > Self.kills / 5, "hardly anything came into force in between")
        let last = try DaemonProcess(["run", "--root", paths.root])
        #expect(try await last.becomesReady(paths))
        #expect(await eventually { PolicyInForce.load(paths).policy?.version == version })
        #expect(await eventually { reader.newest == version })
        #expect(reader.wrong == [] && reader.looks > 10 * Self.kills)
        // What a kill has left half written is gone. The last one may be writing, but not for long.
        #expect(
            try await eventually {
                try Files.names(in: paths.organizationDirectory).allSatisfy { $0.hasSuffix(".json") || $0 == "reports" }
            }
        )
        #expect(try Files.names(in: Files.directory(of: paths.organizationPolicy)).count < 10)
        last.signal(SIGTERM)
        #expect(try await last.ending() == 0)
    }

    /// What the next start would put in force before it asks anybody.
    private static func kept(_ paths: InstallationPaths) throws -> Int {
        guard let enrollment = Enrollment.read(paths).enrollment else { return 0 }
        let reading = TrustedClock.Reading.ofThisMachine()
        let state = try #require(OrganizationState(resuming: enrollment, packs: .embedded, paths, reading))
        #expect(state.fault == nil)
        return state.policy(state.summary(reading)).policy?.version ?? 0
    }
}
