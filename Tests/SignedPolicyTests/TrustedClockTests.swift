import RegistryAccess
import SignedPolicy
import Testing

struct TrustedClockTests {
    private let start = Instant(seconds: 1_795_614_310)
    private let day: Int64 = 86_400

    private func reading(_ wall: Int64, boot: String = "a", sinceBoot: Int64) -> TrustedClock.Reading {
        TrustedClock.Reading(wall: start + wall, boot: boot, sinceBoot: sinceBoot)
    }

    @Test
    func `a clock that is right is the time`() {
        var clock = TrustedClock()
        clock.learn(start, reading(2, sinceBoot: 100))
        #expect(clock.now(reading(60, sinceBoot: 158)) == start + 60)
        #expect(!clock.isSetBack(reading(60, sinceBoot: 158)))
    }

    @Test
    func `a clock that is set back stops nothing`() throws {
        var clock = TrustedClock()
        clock.learn(start, reading(0, sinceBoot: 100))
        // The machine has counted an hour, whatever the wall clock says.
        #expect(clock.now(reading(-1000 * day, sinceBoot: 3700)) == start + 3600)
        #expect(clock.isSetBack(reading(-1000 * day, sinceBoot: 3700)))
        #expect(!clock.isSetBack(reading(3400, sinceBoot: 3700)))
        // Across a reboot, what was kept.
        clock.advance(reading(3600, sinceBoot: 3700))
        let kept = try TrustedClock(json: Array(clock.json.utf8))
        #expect(kept == clock)
        #expect(kept.now(reading(-5, boot: "b", sinceBoot: 1)) == start + 3600)
        #expect(kept.isSetBack(reading(-5, boot: "b", sinceBoot: 1)))
    }

    @Test
    func `a restart of the program does not stop the count`() throws {
        var clock = TrustedClock()
        clock.learn(start, reading(0, sinceBoot: 100))
        let kept = try TrustedClock(json: Array(clock.json.utf8))
        #expect(kept.now(reading(-day, sinceBoot: 36_100)) == start + 36_000)
        let empty = try TrustedClock(json: Array(TrustedClock().json.utf8))
        #expect(empty.now(reading(7, sinceBoot: 1)) == start + 7)
        for text in ["", "{}", #"{"latest":"x"}"#] {
            #expect(throws: Rejection.self) { try TrustedClock(json: Array(text.utf8)) }
        }
    }

    @Test
    func `the count of another boot is not ours`() {
        var clock = TrustedClock()
        clock.learn(start, reading(0, sinceBoot: 100))
        #expect(clock.now(reading(10, boot: "b", sinceBoot: 1_000_000)) == start + 10)
        #expect(clock.now(reading(10, sinceBoot: 50)) == start + 10)
    }

    @Test
    func `a clock that was far ahead once does not end everything for ever`() {
        var clock = TrustedClock()
        clock.learn(start, reading(0, sinceBoot: 100))
        let ahead = reading(4000 * day, sinceBoot: 200)
        #expect(clock.now(ahead) == start + 4000 * day)
        clock.advance(ahead)
        #expect(clock.latest == start + 7 * day)
        // With the right time and a new document all is well, a week at the latest.
        #expect(clock.now(reading(300, boot: "b", sinceBoot: 1)) == start + 7 * day)
        clock.learn(start + 7 * day, reading(7 * day, boot: "b", sinceBoot: 9))
        #expect(!clock.isSetBack(reading(7 * day + 1, boot: "b", sinceBoot: 10)))
    }

    @Test
    func `a machine whose clock is behind from the start learns from documents`() {
        var clock = TrustedClock()
        let behind = reading(-5 * day, sinceBoot: 10)
        clock.learn(start, behind)
        #expect(clock.now(behind) == start)
        #expect(clock.now(reading(-5 * day + 60, sinceBoot: 70)) == start + 60)
    }
}
