@testable import EnforcementDaemon
import Glibc
import LocalInstallation
import RegistryAccess
import Synchronization
import TestSupport
import Testing

struct HelperRecordsTests {
    /// A clock that a test sets.
    private final class Clock: Sendable {
        private let milliseconds = Mutex<Int64>(1_000_000)
        var now: UTCTime { UTCTime(milliseconds: milliseconds.withLock(\.self)) }
        func advance(seconds: Int64) { milliseconds.withLock { $0 += seconds * 1000 } }
    }

    private func records(
        limits: HelperRecords.Limits = HelperRecords.Limits(),
        policy: PolicyInForce,
        clock: Clock = Clock(),
        _ body: (HelperRecords) throws -> Void
    ) async throws -> [DecisionRecord] {
        let queue = DecisionQueue()
        let current = CurrentPolicy(PolicySnapshot(inForce: policy, loadedAt: clock.now))
        try body(HelperRecords(policy: current, log: queue, limits: limits) { clock.now })
        queue.finish()
        return queue.take()
    }

    private func id() throws -> DecisionID { try #require(DecisionID("7f3a9c")) }
    private let evil = try? RegistryAddress("evil.test")

    @Test
    func `what the policy refuses is recorded with the user that the kernel names`() async throws {
        let records = try await records(policy: try AuthorizationDecisionTests.State.enforce.policy()) { records in
            records.take(try id(), evil, from: 1000)
            records.take(try id(), nil, from: 1001)
        }
        #expect(
            records.map { $0.json.text() } == [
                #"{"id":"7f3a9c","time":"1970-01-01T00:16:40.000Z","point":"credential-helper","action":"login","#
                    + #""registry":"evil.test","image":null,"verdict":"deny","reason":"no-rule","rule":null,"#
                    + #""policyVersion":7,"organization":"acme","obstacle":null,"user":1000}"#,
                #"{"id":"7f3a9c","time":"1970-01-01T00:16:40.000Z","point":"credential-helper","action":null,"#
                    + #""registry":null,"image":null,"verdict":"deny","reason":"not-inspected","rule":null,"#
                    + #""policyVersion":7,"organization":"acme","#
                    + #""obstacle":"what Docker named is no address of a registry","user":1001}"#,
            ]
        )
    }

    @Test
    func `audit mode records what would have been refused`() async throws {
        let records = try await records(policy: try AuthorizationDecisionTests.State.audit.policy()) { records in
            records.take(try id(), evil, from: 1000)
            records.take(try id(), nil, from: 1000)
        }
        #expect(records.map(\.verdict) == [.wouldDeny, .wouldDeny])
    }

    @Test(arguments: [AuthorizationDecisionTests.State.disabled, .unmanaged])
    func `nothing is recorded where nothing is refused`(_ state: AuthorizationDecisionTests.State) async throws {
        let records = try await records(policy: try state.policy()) { $0.take(try id(), evil, from: 1000) }
        #expect(records.isEmpty)
    }

    @Test
    func `a lie about what the policy allows is not recorded`() async throws {
        let records = try await records(policy: try AuthorizationDecisionTests.State.enforce.policy()) { records in
            records.take(try id(), .dockerHub, from: 1000)
        }
        #expect(records.isEmpty)
    }

    @Test
    func `one user gets few records, the others theirs, and time gives more`() async throws {
        var limits = HelperRecords.Limits()
        limits.ofUser = 3
        limits.ofUserEachSecond = 0.5
        let clock = Clock()
        let policy = try AuthorizationDecisionTests.State.enforce.policy()
        let records = try await records(limits: limits, policy: policy, clock: clock) { records in
            for _ in 0..<10 { records.take(try id(), evil, from: 1000) }
            for _ in 0..<2 { records.take(try id(), evil, from: 1001) }
            clock.advance(seconds: 4)
            for _ in 0..<10 { records.take(try id(), evil, from: 1000) }
            clock.advance(seconds: -1000)
            for _ in 0..<10 { records.take(try id(), evil, from: 1000) }
            clock.advance(seconds: 100_000)
            for _ in 0..<10 { records.take(try id(), evil, from: 1000) }
        }
        #expect(records.map(\.user) == [1000, 1000, 1000, 1001, 1001, 1000, 1000, 1000, 1000, 1000])
    }

    @Test
    func `many user ids together get few records too`() async throws {
        var limits = HelperRecords.Limits()
        limits.ofAll = 30
        let policy = try AuthorizationDecisionTests.State.enforce.policy()
        let records = try await records(limits: limits, policy: policy) { records in
            for user in 0..<uid_t(5000) { records.take(try id(), evil, from: 100_000 + user) }
        }
        #expect(records.count == 30)
    }

    @Test
    func `the control socket takes records and answers nothing`() async throws {
        try await RunningDaemon.with { daemon in
            let answer = try await daemon.ask(#"{"request":"record","id":"7f3a9c","registry":"evil.test"}"#)
            #expect(answer.isEmpty)
            #expect(try await eventually { try await daemon.records().count == 1 })
            let record = try await daemon.records()[0]
            #expect(record.point == .credentialHelper)
            #expect(record.registry == "evil.test")
            #expect(record.user == Int(getuid()))
        }
    }

    @Test
    func `the whole log, from a time on, without what was allowed`() async throws {
        var settings = DaemonSettings()
        settings.decisionLog.maximumBytes = 4096
        settings.decisionLog.files = 50
        try await RunningDaemon.with(settings: settings) { daemon in
            for number in 0..<60 {
                let image = number % 3 == 0 ? "alpine" : "r\(number).test/x"
                _ = try await daemon.isAllowed("POST", "/images/create?fromImage=\(image)")
            }
            #expect(try await eventually { try await daemon.records(100).count == 60 })
            let all = try await daemon.ask(#"{"request":"history"}"#)
            let end = #"{"end":true}"#
            #expect(all == (try await daemon.ask(#"{"request":"log","limit":100}"#)) + [end])
            let refused = try await daemon.ask(#"{"request":"history","refusedOnly":true}"#)
            #expect(refused == all.filter { $0.contains(#""verdict":"deny""#) } + [end])
            #expect(refused.count == 41)
            let since = try await daemon.records(100)[30].time
            let late = try await daemon.ask(#"{"request":"history","since":"\#(since)"}"#)
            #expect(late == Array(all.drop { !$0.contains(since) }))
            #expect((2...31).contains(late.count))
        }
    }

    @Test
    func `few read the whole log at a time`() async throws {
        var limits = RunningDaemon.patientControl
        limits.histories = 0
        try await RunningDaemon.with(controlLimits: limits) { daemon in
            let answer = try await daemon.ask(#"{"request":"history"}"#)
            #expect(answer == [#"{"error":"others are reading the log; try again"}"#])
        }
    }
}
