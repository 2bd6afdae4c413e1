@testable import EnforcementDaemon
import RegistryAccess
import TestSupport
import Testing

struct PluginCallTests {
    static let malformed: [(String, MalformedCall)] = [
        ("", .empty),
        (" ", .notJSON),
        ("\n", .notJSON),
        ("null", .notJSON),
        ("[]", .notJSON),
        ("1", .notJSON),
        (#""POST""#, .notJSON),
        ("{", .notJSON),
        ("POST /images/create", .notJSON),
        (#"{"RequestMethod":"GET","RequestUri":"/_ping"} x"#, .notJSON),
        (#"{"RequestMethod":"GET","RequestUri":"/_ping"}{}"#, .notJSON),
        (#"{"RequestMethod":"GET","RequestUri":"/_ping""#, .notJSON),
        ("\u{FEFF}" + #"{"RequestMethod":"GET","RequestUri":"/_ping"}"#, .notJSON),
        // Two readings
        (#"{"RequestMethod":"GET","RequestUri":"/_ping","RequestUri":"/images/create"}"#, .notJSON),
        (#"{"RequestMethod":"GET","RequestUri":"/_ping","requesturi":"/images/create"}"#, .notJSON),
        (#"{"RequestMethod":"GET","RequestUri":"/","RequestHeaders":{"A":"1","A":"2"}}"#, .notJSON),
        (
            #"{"RequestMethod":"GET","RequestUri":"/","RequestHeaders":{"Content-Type":"a","content-type":"b"}}"#,
            .notJSON
        ),
        (#"{"RequestMethod":"GET","RequestUri":"/_ping\ud800"}"#, .notJSON),
        // Missing or of another type
        ("{}", .incomplete("RequestMethod")),
        (#"{"RequestUri":"/_ping"}"#, .incomplete("RequestMethod")),
        (#"{"RequestMethod":"GET"}"#, .incomplete("RequestUri")),
        (#"{"requestmethod":"GET","RequestUri":"/_ping"}"#, .incomplete("RequestMethod")),
        (#"{"RequestMethod":"","RequestUri":"/_ping"}"#, .incomplete("RequestMethod")),
        (#"{"RequestMethod":"GET","RequestUri":""}"#, .incomplete("RequestUri")),
        (#"{"RequestMethod":1,"RequestUri":"/_ping"}"#, .incomplete("RequestMethod")),
        (#"{"RequestMethod":"GET","RequestUri":null}"#, .incomplete("RequestUri")),
        (#"{"RequestMethod":"GET","RequestUri":["/_ping"]}"#, .incomplete("RequestUri")),
        (#"{"RequestMethod":"GET","RequestUri":"/","RequestHeaders":[]}"#, .incomplete("RequestHeaders")),
        (#"{"RequestMethod":"GET","RequestUri":"/","RequestHeaders":{"A":["1"]}}"#, .incomplete("RequestHeaders")),
        (#"{"RequestMethod":"GET","RequestUri":"/","RequestHeaders":{"A":null}}"#, .incomplete("RequestHeaders")),
        (#"{"RequestMethod":"GET","RequestUri":"/","RequestBody":{}}"#, .incomplete("RequestBody")),
        (#"{"RequestMethod":"GET","RequestUri":"/","RequestBody":"e30"}"#, .incomplete("RequestBody")),
        (#"{"RequestMethod":"GET","RequestUri":"/","RequestBody":"e3 0="}"#, .incomplete("RequestBody")),
    ]

    @Test(arguments: malformed)
    func `a call that cannot be read`(_ json: String, _ fault: MalformedCall) {
        #expect(throws: fault) { try PluginCall(json: Array(json.utf8)) }
    }

    @Test
    func `a call as an engine sends it`() throws {
        let json = """
            {"User":"","UserAuthNMethod":"","RequestMethod":"POST","RequestUri":"/v1.41/containers/create?name=x\\u0026y=z",\
            "RequestBody":"eyJJbWFnZSI6ICJhIn0K","RequestHeaders":{"Content-Length":"15","Content-Type":"application/json"},\
            "RequestPeerCertificates":["x"],"SomethingNew":{"a":[1]}}

            """
        let call = try PluginCall(json: Array(json.utf8))
        #expect(call.method == "POST")
        #expect(call.target == "/v1.41/containers/create?name=x&y=z")
        #expect(call.headers.map(\.name) == ["Content-Length", "Content-Type"])
        #expect(call.headers.map(\.value) == ["15", "application/json"])
        #expect(call.body == Array("{\"Image\": \"a\"}\n".utf8))
    }

    @Test
    func `no text of a call shows what it holds`() throws {
        let json =
            #"{"RequestMethod":"POST","RequestUri":"/auth?secret","RequestHeaders":{"A":"secret"},"RequestBody":"c2VjcmV0"}"#
        let call = try PluginCall(json: Array(json.utf8))
        var dumped = ""
        dump(call, to: &dumped)
        for text in ["\(call)", String(reflecting: call), dumped] {
            #expect(!text.contains("secret") && !text.contains("115"))
        }
    }

    @Test
    func `every beginning of a call is refused`() {
        let json = Array(#"{"RequestMethod":"GET","RequestUri":"/_ping","RequestHeaders":{"A":"b"}}"#.utf8)
        for count in 0..<json.count {
            #expect(throws: MalformedCall.self) { try PluginCall(json: Array(json[..<count])) }
        }
    }
}

struct StrictBase64Tests {
    @Test(arguments: [
        ("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmE=", "fooba"),
        ("Zm9vYmFy", "foobar"), ("+/+/", "\u{FB}"),
    ])
    func `RFC 4648's own examples`(_ text: String, _ expected: String) {
        let decoded = StrictBase64.decode(text.utf8)
        #expect(text == "+/+/" ? decoded == [0xFB, 0xFF, 0xBF] : decoded == Array(expected.utf8))
    }

    @Test(arguments: [
        "Zg", "Zg=", "Zg===", "=", "==", "====", "Z===", "Zm9v=", "Zm9vZg", "Z g=", "Zg==\n", "\nZg==", "Zm\n9v",
        "Zh==",
        "Zm9=", "-_-_", "Zg==Zg==", "Zm=v", "Zm8=Zm8=", "Zg=a", "Zm9v Zm9v", "Zg\u{0}=", "é===",
    ])
    func `anything else is refused`(_ text: String) {
        #expect(StrictBase64.decode(text.utf8) == nil)
    }

    @Test
    func `what was encoded comes back`() {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var random = SeededGenerator(seed: 64)
        for length in 0..<300 {
            let bytes = (0..<length).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            var text: [UInt8] = []
            for start in stride(from: 0, to: length, by: 3) {
                let group = bytes[start..<min(start + 3, length)]
                let value = (0..<3).reduce(0) { $0 << 8 | ($1 < group.count ? Int(group[start + $1]) : 0) }
                for digit in 0..<4 {
                    text.append(digit <= group.count ? alphabet[value >> (18 - 6 * digit) & 63] : UInt8(ascii: "="))
                }
            }
            #expect(StrictBase64.decode(text) == bytes)
        }
    }
}

struct UTCTimeTests {
    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (951_868_799_999, "2000-02-29T23:59:59.999Z"),
        (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
        (1_795_441_510_123, "2026-11-23T13:45:10.123Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
    ])
    func `a moment as text`(_ milliseconds: Int64, _ text: String) {
        #expect(UTCTime(milliseconds: milliseconds).description == text)
    }
}
