@testable import EnforcementDaemon
import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

/// What a machine keeps of its organization, without a network.
struct OrganizationStateTests {
    private static let start = SignedOrganization.start
    private static let own = SignedOrganization()
    private static let pull = AccessRequest(.pull, .dockerHub)

    private static func reading(_ seconds: Int64 = 0, boot: String = "b1") -> TrustedClock.Reading {
        TrustedClock.Reading(wall: start + seconds, boot: boot, sinceBoot: 1000 + seconds)
    }

    private static func enrollment(
        _ organization: SignedOrganization = own,
        requiresSignIn: Bool = false
    ) throws -> Enrollment {
        Enrollment(
            server: try ServerURL("https://ram.acme.test"),
            organization: organization.name,
            fingerprint: organization.pinned.fingerprint,
            requiresSignIn: requiresSignIn
        )
    }

    private static func resumed(
        _ paths: InstallationPaths,
        _ enrollment: Enrollment? = nil,
        at seconds: Int64 = 0
    ) throws -> OrganizationState {
        let enrollment = try enrollment ?? Self.enrollment()
        return try #require(OrganizationState(resuming: enrollment, packs: .embedded, paths, reading(seconds)))
    }

    /// A machine that has accepted freshness 5 of policy 3.
    private static func started(_ paths: InstallationPaths, _ enrollment: Enrollment? = nil) throws -> OrganizationState
    {
        var state = try resumed(paths, enrollment)
        try state.accept(
            .init(roots: [own.root()], freshness: own.freshness(5, of: 3), policy: own.policy(3)),
            reading()
        )
        return state
    }

    private func withPaths(_ body: (InstallationPaths) throws -> Void) throws {
        try withTemporaryDirectory { (root) throws in try body(InstallationPaths(root: root)) }
    }

    @Test("What was accepted is in force after a restart, until its end")
    func restart() throws {
        try withPaths { paths in
            let nothing = try Self.resumed(paths).summary(Self.reading())
            #expect(nothing.state == .none && nothing.reason == "the server has not been asked yet")
            let before = try Self.started(paths)
            let after = try Self.resumed(paths)
            #expect(after.documents?.marks == before.documents?.marks)
            for state in [before, after] {
                #expect(state.fault == nil && state.summary(Self.reading()).state == .enforced)
                #expect(state.policy(state.summary(Self.reading(86_399))).policy?.version == 3)
                let ended = state.summary(Self.reading(86_400))
                #expect(ended.state == .expired && ended.reason.contains("it ended at"))
                #expect(state.policy(ended).policy == nil)
            }
            #expect(try Files.status(paths.organizationDirectory).mode & 0o777 == 0o700)
            for name in try Files.names(in: paths.organizationDirectory) {
                #expect(try Files.status("\(paths.organizationDirectory)/\(name)").mode & 0o777 == 0o600)
            }
        }
    }

    @Test("A clock that is set back does not make the policy hold longer, across restarts neither")
    func clock() throws {
        try withPaths { paths in
            var state = try Self.started(paths)
            state.keepTime(Self.reading(86_400))
            let later = try Self.resumed(paths, at: 10)
            let other = TrustedClock.Reading(wall: Self.start, boot: "b2", sinceBoot: 5)
            for reading in [Self.reading(10), other] {
                #expect(later.summary(reading).state == .expired)
                #expect(later.isClockSetBack(reading))
            }
        }
    }

    @Test("A clock that is set back before a boot makes the policy hold no longer, however often docker-ramd is killed")
    func clockAcrossBoots() throws {
        try withPaths { paths in
            let enrollment = try Self.enrollment(requiresSignIn: true)
            var state = try Self.started(paths, enrollment)
            try OrganizationFiles(paths).write(.init(id: "d1", secret: .init("ramd_x")))
            try state.signIn(ticket: Self.own.ticket(lifetime: 7200), for: "d1", session: nil, Self.reading())
            state.keepTime(Self.reading(3600))
            func back(_ seconds: Int64) -> TrustedClock.Reading {
                let wall = Self.start + (seconds - 30 * 86_400)
                return TrustedClock.Reading(wall: wall, boot: "b2", sinceBoot: 5 + seconds)
            }
            // Nobody keeps the time in between.
            for seconds: Int64 in [0, 40, 80] {
                state = try #require(
                    OrganizationState(resuming: enrollment, packs: .embedded, paths, back(seconds))
                )
                #expect(state.now(back(seconds)) == Self.start + 3600 + seconds)
                #expect(state.isClockSetBack(back(seconds)) && state.keepingFault == nil)
            }
            #expect(state.summary(back(3599)).state == .enforced)
            #expect(state.summary(back(3600)).state == .signInRequired)
            #expect(state.summary(back(82_799)).state == .signInRequired)
            #expect(state.summary(back(82_800)).state == .expired)
        }
    }

    @Test("A clock that is ahead while docker-ramd starts, and put right at once, is not believed")
    func clockAheadAtBoot() throws {
        try withPaths { paths in
            _ = try Self.started(paths)
            let ahead = TrustedClock.Reading(wall: Self.start + 86_400 * 3, boot: "b2", sinceBoot: 5)
            let state = try #require(
                OrganizationState(resuming: Self.enrollment(), packs: .embedded, paths, ahead)
            )
            let right = TrustedClock.Reading(wall: Self.start + 600, boot: "b2", sinceBoot: 9)
            #expect(state.summary(right).state == .enforced && !state.isClockSetBack(right))
        }
    }

    @Test("What is not accepted changes nothing, on disk neither")
    func rejected() throws {
        try withPaths { paths in
            var state = try Self.started(paths)
            let before = state.documents?.marks
            let stranger = SignedOrganization()
            let updates: [OrganizationState.Update] = [
                .init(freshness: try Self.own.freshness(4, of: 3)),
                .init(freshness: try Self.own.freshness(6, of: 2), policy: try Self.own.policy(2)),
                .init(freshness: try stranger.freshness(6, of: 4), policy: try stranger.policy(4)),
                .init(freshness: try Self.own.freshness(6, of: 4), policy: try Self.own.policy(5)),
                .init(freshness: Array("{}".utf8)), .init(roots: [try stranger.root(2)]),
            ]
            for update in updates {
                #expect(throws: Rejection.self) { try state.accept(update, Self.reading()) }
                #expect(state.documents?.marks == before)
                #expect(try Self.resumed(paths).documents?.marks == before)
            }
        }
    }

    @Test("An older policy never comes back, whichever file is put in place of the newer one")
    func replay() throws {
        try withPaths { paths in
            var state = try Self.started(paths)
            let directory = paths.organizationDirectory
            let old = try Files.names(in: directory).map { name in
                (name, try Files.read("\(directory)/\(name)", atMost: 1 << 20).bytes)
            }
            try state.accept(.init(freshness: Self.own.freshness(6, of: 4), policy: Self.own.policy(4)), Self.reading())
            #expect(!(try Files.names(in: directory).contains("policy-3.json")), "nobody needs it any more")
            // All but the marks.
            for (name, bytes) in old where name != "marks.json" {
                try Files.replace("\(directory)/\(name)", with: bytes, mode: 0o600)
            }
            var resumed = try Self.resumed(paths)
            #expect(resumed.summary(Self.reading()).state == .none && resumed.fault != nil)
            let replayed = OrganizationState.Update(
                freshness: try Self.own.freshness(5, of: 3),
                policy: try Self.own.policy(3)
            )
            #expect(throws: Rejection.self) { try resumed.accept(replayed, Self.reading()) }
            let newest = OrganizationState.Update(
                freshness: try Self.own.freshness(6, of: 4),
                policy: try Self.own.policy(4)
            )
            try resumed.accept(newest, Self.reading())
            #expect(resumed.summary(Self.reading()).state == .enforced)
        }
    }

    /// Every file that an update replaces, in the order in which it does.
    private static let written = ["policy-4.json", "freshness.json", "marks.json", "clock.json"]

    @Test("Whoever is killed between two files finds the policy of before or the new one", arguments: 0...written.count)
    func cut(_ count: Int) throws {
        try withPaths { paths in
            var state = try Self.started(paths)
            let directory = paths.organizationDirectory
            let names = try Files.names(in: directory)
            let before = try names.map { ($0, try Files.read("\(directory)/\($0)", atMost: 1 << 20).bytes) }
            try state.accept(.init(freshness: Self.own.freshness(6, of: 4), policy: Self.own.policy(4)), Self.reading())
            let after = try Self.written.map { ($0, try Files.read("\(directory)/\($0)", atMost: 1 << 20).bytes) }
            for name in try Files.names(in: directory) { unlink("\(directory)/\(name)") }
            for (name, bytes) in before + after.prefix(count) {
                try Files.replace("\(directory)/\(name)", with: bytes, mode: 0o600)
            }
            let resumed = try Self.resumed(paths)
            let summary = resumed.summary(Self.reading())
            #expect(summary.state == .enforced && resumed.fault == nil)
            #expect(resumed.policy(summary).policy?.version == (count < 2 ? 3 : 4))
        }
    }

    @Test(
        "Marks that cannot be read, and files that are broken, let nothing pass until there is something new",
        arguments: ["marks.json", "root-1.json", "freshness.json", "policy-3.json"]
    )
    func broken(_ name: String) throws {
        try withPaths { paths in
            _ = try Self.started(paths)
            try Files.replace("\(paths.organizationDirectory)/\(name)", with: Array("{".utf8), mode: 0o600)
            var state = try Self.resumed(paths)
            let summary = state.summary(Self.reading())
            #expect(summary.state == .none && summary.reason.contains("what was kept cannot be used"))
            let update = OrganizationState.Update(
                roots: state.documents == nil ? [try Self.own.root()] : [],
                freshness: try Self.own.freshness(6, of: 3),
                policy: try Self.own.policy(3)
            )
            try state.accept(update, Self.reading())
            state.fault = nil
            #expect(state.summary(Self.reading()).state == .enforced)
            #expect(try Self.resumed(paths).summary(Self.reading()).state == .enforced)
        }
    }

    @Test("A machine that is enrolled elsewhere forgets what it had")
    func elsewhere() throws {
        try withPaths { paths in
            _ = try Self.started(paths)
            let other = SignedOrganization(name: "umbrella")
            var state = try Self.resumed(paths, Self.enrollment(other))
            #expect(state.documents == nil && state.fault == nil)
            let update = OrganizationState.Update(
                roots: [try other.root()],
                freshness: try other.freshness(1, of: 1),
                policy: try other.policy(1)
            )
            try state.accept(update, Self.reading())
            let resumed = try Self.resumed(paths, Self.enrollment(other))
            #expect(resumed.policy(resumed.summary(Self.reading())).policy?.organization == "umbrella")
        }
    }

    @Test("Where sign-in is required, nothing is in force without it, and the end of the session is the end")
    func signIn() throws {
        try withPaths { paths in
            let enrollment = try Self.enrollment(requiresSignIn: true)
            var state = try Self.started(paths, enrollment)
            #expect(state.summary(Self.reading()).state == .signInRequired)
            #expect(throws: Rejection.self) {
                try state.signIn(ticket: Self.own.ticket(), for: "other", session: nil, Self.reading())
            }
            #expect(state.summary(Self.reading()).state == .signInRequired)
            let session = OrganizationFiles.Session(user: "alice", refreshToken: .init("ramr_x"), localUser: 1000)
            try OrganizationFiles(paths).write(.init(id: "d1", secret: .init("ramd_x")))
            try state.signIn(ticket: Self.own.ticket(lifetime: 3600), for: "d1", session: session, Self.reading())
            for state in [state, try Self.resumed(paths, enrollment)] {
                let summary = state.summary(Self.reading())
                #expect(summary.state == .enforced && summary.user == "alice" && summary.teams == ["backend"])
                #expect(summary.until == Self.start + 3600, "the ticket ends before the policy")
                let policy = try #require(state.policy(summary).policy)
                #expect(policy.verdict(on: AccessRequest(.pull, try RegistryAddress("quay.io"))).isAllowed)
                #expect(state.summary(Self.reading(3600)).state == .signInRequired)
            }
            #expect(try OrganizationFiles(paths).session == session)
            state.endSession()
            for state in [state, try Self.resumed(paths, enrollment)] {
                #expect(state.summary(Self.reading()).state == .signInRequired)
            }
            #expect(throws: Rejection.sessionEnded) {
                try state.signIn(ticket: Self.own.ticket(), for: "d1", session: nil, Self.reading())
            }
            #expect(try OrganizationFiles(paths).session == nil)
            state.endSession(ofStranger: "mallory")
            #expect(state.summary(Self.reading()).state == .notAMember)
            #expect(state.policy(state.summary(Self.reading())).user == "mallory")
        }
    }

    @Test("A chain of root documents is kept whole, and replaced keys are heeded")
    func roots() throws {
        try withPaths { paths in
            var state = try Self.started(paths)
            var newer = Self.own
            newer.keys[.freshness] = [.generate()]
            let second = try newer.root(2)
            try state.accept(.init(roots: [second]), Self.reading())
            #expect(state.summary(Self.reading()).state == .none, "what a retired key has signed does not hold")
            let resumed = try Self.resumed(paths)
            #expect(resumed.summary(Self.reading()).state == .none && resumed.documents?.root.version == 2)
            try state.accept(.init(freshness: newer.freshness(1, of: 3, rootVersion: 2)), Self.reading())
            #expect(state.summary(Self.reading()).state == .enforced)
            #expect(try Self.resumed(paths).summary(Self.reading()).state == .enforced)
        }
    }

    @Test("Whoever is killed before the marks are kept recovers from numbers that were set too high all the same")
    func rootsCut() throws {
        try withPaths { paths in
            var state = try Self.started(paths)
            try OrganizationFiles(paths).write(.init(id: "d1", secret: .init("ramd_x")))
            // Whoever had the keys of freshness and of tickets has set their numbers as high as they like.
            let highest = try Self.own.freshness(1 << 50, of: 1 << 50)
            try state.accept(.init(freshness: highest, policy: Self.own.policy(1 << 50)), Self.reading())
            try state.signIn(
                ticket: Self.own.ticket(issued: Self.start + 300),
                for: "d1",
                session: nil,
                Self.reading()
            )
            var newer = Self.own
            newer.keys[.freshness] = [.generate()]
            newer.keys[.ticket] = [.generate()]
            let marks = try Files.read("\(paths.organizationDirectory)/marks.json", atMost: 1 << 16).bytes
            try state.accept(.init(roots: [newer.root(2)]), Self.reading())
            try Files.replace("\(paths.organizationDirectory)/marks.json", with: marks, mode: 0o600)
            var resumed = try Self.resumed(paths)
            #expect(resumed.documents?.root.version == 2)
            #expect(resumed.documents?.marks == state.documents?.marks)
            let news = try newer.freshness(1, of: 3, rootVersion: 2)
            try resumed.accept(.init(freshness: news, policy: newer.policy(3)), Self.reading())
            try resumed.signIn(ticket: newer.ticket(), for: "d1", session: nil, Self.reading())
            resumed.fault = nil
            for state in [resumed, try Self.resumed(paths)] {
                #expect(state.summary(Self.reading()).state == .enforced)
                #expect(state.documents?.ticket?.subject == "alice")
            }
        }
    }

    @Test(
        "What cannot be kept does not come into force, or something older would after a restart; and that is said",
        .enabled(if: geteuid() == 0, "it takes a file in the place of the directory")
    )
    func fullDisk() throws {
        try withPaths { paths in
            var state = try Self.started(paths)
            for name in try Files.names(in: paths.organizationDirectory) {
                unlink("\(paths.organizationDirectory)/\(name)")
            }
            rmdir(paths.organizationDirectory)
            try Files.replace(paths.organizationDirectory, with: [], mode: 0o600)
            try state.accept(.init(freshness: Self.own.freshness(6, of: 4), policy: Self.own.policy(4)), Self.reading())
            let summary = state.summary(Self.reading())
            #expect(summary.state == .enforced && summary.reason.contains("organization"))
            #expect(state.policy(summary).policy?.version == 3)
            unlink(paths.organizationDirectory)
            try state.accept(.init(freshness: Self.own.freshness(6, of: 4), policy: Self.own.policy(4)), Self.reading())
            #expect(state.policy(state.summary(Self.reading())).policy?.version == 4)
        }
    }
}
