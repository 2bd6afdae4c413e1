@testable import EnforcementDaemon
import TestSupport
import Testing

struct RefreshScheduleTests {
    @Test(
        "It is time at first, and again after what the server wishes or a little earlier",
        arguments: 0..<50 as Range<UInt64>
    )
    func success(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var schedule = RefreshSchedule()
        #expect(schedule.isDue(at: 0))
        schedule.succeeded(at: 1000, refreshSeconds: 900, using: &generator)
        let next = try #require(schedule.next)
        #expect((1810...1900).contains(next))
        #expect(!schedule.isDue(at: next - 1) && schedule.isDue(at: next))
        schedule.hurry()
        #expect(schedule.isDue(at: 0))
    }

    @Test(
        "After failures the waits double up to a longest, and half of each is chance",
        arguments: 0..<20 as Range<UInt64>
    )
    func failure(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var schedule = RefreshSchedule()
        for longest in [5, 10, 20, 40, 80, 160, 300, 300, 300] as [Int64] {
            schedule.failed(at: 1000, using: &generator)
            let wait = try #require(schedule.next) - 1000
            #expect((longest - longest / 2...longest).contains(wait))
        }
        schedule.succeeded(at: 1000, refreshSeconds: 60, using: &generator)
        schedule.failed(at: 1000, using: &generator)
        #expect(try #require(schedule.next) <= 1005, "a success is the end of the series")
    }

    @Test("Machines that fail together do not come back together")
    func spread() {
        var generator = SeededGenerator(seed: 1)
        let times = (0..<200).map { _ in
            var schedule = RefreshSchedule()
            for _ in 0..<8 { schedule.failed(at: 0, using: &generator) }
            return schedule.next
        }
        #expect(Set(times).count > 50)
    }
}
