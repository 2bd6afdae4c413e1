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

    @Test
    func `a clock that is set back across a reboot does not stop the time`() throws {
        var clock = TrustedClock()
        clock.learn(start, reading(0, sinceBoot: 100))
        clock.advance(reading(3600, sinceBoot: 3700))
        let back = -30 * day
        func later(_ seconds: Int64, boot: String = "b") -> TrustedClock.Reading {
            reading(back + seconds, boot: boot, sinceBoot: 7 + seconds)
        }
        clock.advance(later(0))
        #expect(clock.now(later(0)) == start + 3600)
        #expect(clock.now(later(day)) == start + 3600 + day)
        #expect(clock.isSetBack(later(day)))
        clock.advance(later(3600))
        clock.advance(later(7200))
        // The program is started again, and so is the machine.
        let kept = try TrustedClock(json: Array(clock.json.utf8))
        #expect(kept == clock)
        #expect(kept.now(later(9000)) == start + 3600 + 9000)
        var third = kept
        third.advance(later(0, boot: "c"))
        #expect(third.now(later(60, boot: "c")) == start + 3600 + 7200 + 60)
        // No longer than what may be signed.
        #expect(third.now(later(29 * day, boot: "c")) == start + 7 * day)
        // A document that is not newer takes nothing back, one that is says what time it is.
        var same = kept
        same.learn(start, later(9000))
        #expect(same.now(later(9060)) == start + 3600 + 9060)
        var newer = kept
        newer.learn(start + 300, isNews: true, later(9000))
        #expect(newer.now(later(9060)) == start + 360)
    }

    @Test
    func `a clock that is set back while the machine runs on from a reboot does not stop the time`() {
        var clock = TrustedClock()
        clock.learn(start, reading(0, sinceBoot: 100))
        // Switched off over night, and well at first.
        clock.advance(reading(12 * 3600, boot: "b", sinceBoot: 20))
        let back = reading(-30 * day, boot: "b", sinceBoot: 20 + 600)
        #expect(clock.now(back) == start + 12 * 3600 + 600)
        #expect(clock.least(back) == start)
    }

    @Test
    func `what was kept before the count went on across boots is read`() throws {
        let old =
            #"{"latest":"2026-11-25T14:45:10Z","ceiling":"2026-12-02T13:45:10Z","boot":"a","sinceBoot":100,"#
            + #""atThatTime":"2026-11-25T13:45:10Z"}"#
        var clock = try TrustedClock(json: Array(old.utf8))
        #expect(clock.json == old)
        #expect(clock.latest == start + 3600)
        let back = reading(-30 * day, boot: "b", sinceBoot: 5)
        clock.advance(back)
        #expect(clock.now(reading(-30 * day, boot: "b", sinceBoot: 65)) == start + 3660)
    }
}
