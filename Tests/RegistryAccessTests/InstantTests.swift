import RegistryAccess
import TestSupport
import Testing

struct InstantTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0), ("2026-11-25T13:45:10Z", 1_795_614_310), ("2000-02-29T23:59:59Z", 951_868_799),
        ("1969-12-31T23:59:59Z", -1), ("9999-12-31T23:59:59Z", 253_402_300_799),
        ("2100-03-01T00:00:00Z", 4_107_542_400),
    ])
    func `an instant is read and written`(_ text: String, _ seconds: Int64) throws {
        #expect(try #require(Instant(text)).seconds == seconds)
        #expect(Instant(seconds: seconds).description == text)
    }

    @Test(arguments: [
        "", "2026-11-25T13:45:10", "2026-11-25T13:45:10z", "2026-11-25 13:45:10Z", "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-11-25T24:00:00Z",
        "2026-11-25T13:60:10Z", "2026-11-25T13:45:60Z", "2026-11-25T13:45:10.1Z", "+026-11-25T13:45:10Z",
    ])
    func `anything else is not`(_ text: String) {
        #expect(Instant(text) == nil)
    }

    @Test
    func `every day comes back`() throws {
        for day in stride(from: Int64(-30_000), to: 60_000, by: 1) {
            let instant = Instant(seconds: day * 86_400 + 43_210)
            #expect(Instant(instant.description) == instant)
        }
    }
}
