@testable import EnforcementDaemon
import Foundation
import Glibc
import LocalInstallation
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

/// The built program, killed while new policies come.
struct OrganizationKillTests {
    @Test
    func `whenever it is killed, no older policy comes into force`() async throws {
        try await OrganizationWeb.with { web in
            let organization = SignedOrganization()
            try web.publishRoot(organization)
            try await withTemporaryDirectory { root in
                let paths = InstallationPaths(root: root)
                try web.enroll(paths, organization)
                let settings = #"{"egressProxy":{"listen":"127.0.0.1:0"}}"#
                try Files.replace(paths.daemonSettings, with: Array(settings.utf8), mode: 0o644)
                var generator = SeededGenerator(seed: 9)
                var (version, seen, changes) = (0, 0, 0)
                for _ in 0..<50 {
                    let daemon = try DaemonProcess(["run", "--root", root])
                    let requests = web.requests.count
                    #expect(await eventually { web.requests.count > requests })
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
                #expect(changes > 10, "hardly anything came into force in between")
                let last = try DaemonProcess(["run", "--root", root])
                #expect(try await last.becomesReady(paths))
                #expect(await eventually { PolicyInForce.load(paths).policy?.version == version })
                last.signal(SIGTERM)
                #expect(try await last.ending() == 0)
            }
        }
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
