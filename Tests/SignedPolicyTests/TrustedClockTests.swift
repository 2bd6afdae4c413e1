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
        // From its boot on, so that nothing is known besides.
        let ahead = reading(4000 * day, boot: "b", sinceBoot: 2)
        #expect(clock.now(ahead) == start + 4000 * day)
        clock.advance(ahead)
        #expect(clock.latest == start + 7 * day)
        let right = reading(300, boot: "b", sinceBoot: 9)
        #expect(clock.now(right) == start + 7 * day && clock.isSetBack(right))
        #expect(clock.least(right) == start + 300)
        // The same document again says nothing about that, and a newer one puts it right.
        clock.learn(start, right)
        #expect(clock.now(right) == start + 7 * day)
        clock.learn(start + 200, isNews: true, reading(300, boot: "c", sinceBoot: 1))
        #expect(clock.now(reading(310, boot: "c", sinceBoot: 11)) == start + 310)
        #expect(!clock.isSetBack(reading(310, boot: "c", sinceBoot: 11)))
    }

    @Test
    func `a clock that jumps ahead while the machine counts leaves nothing behind`() throws {
        var clock = TrustedClock()
        clock.learn(start, reading(3600, sinceBoot: 100))
        let ahead = reading(400 * day, sinceBoot: 160)
        #expect(clock.now(ahead) == start + 400 * day)
        clock.advance(ahead)
        clock.learn(start, ahead)
        let kept = try TrustedClock(json: Array(clock.json.utf8))
        for clock in [clock, kept] {
            let right = reading(3720, sinceBoot: 220)
            #expect(!clock.isSetBack(right))
            #expect(clock.now(right) - right.wall <= TrustedClock.tolerance)
        }
    }

    @Test
    func `a newer document does not take back what the machine has counted`() {
        var clock = TrustedClock()
        clock.learn(start, reading(0, sinceBoot: 100))
        clock.learn(start + 60, isNews: true, reading(-day, sinceBoot: 100 + 9 * 3600))
        #expect(clock.now(reading(-day, sinceBoot: 100 + 9 * 3600)) == start + 9 * 3600)
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
