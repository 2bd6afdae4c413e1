import RegistryAccess
import TestSupport
import Testing

struct StrictJSONTests {
    @Test(
        "What is read, and how it is written again",
        arguments: [
            ("null", "null"), ("true", "true"), ("false", "false"), (" true \n", "true"), ("\t{}\r\n", "{}"),
            ("[]", "[]"),
            ("[ ]", "[]"), ("{ }", "{}"), ("0", "0"), ("-0", "-0"), ("1", "1"), ("-1", "-1"), ("10", "10"),
            ("1.5", "1.5"),
            ("1e5", "1e5"), ("1E+5", "1E+5"), ("1.0e-5", "1.0e-5"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("\"\"", "\"\""), ("\"a\"", "\"a\""), (#""\n\r\t\b\f\\\/\"""#, #""\n\r\t\b\f\\/\"""#), (#""A""#, "\"A\""),
            (#""é""#, "\"é\""), (#""😀""#, "\"😀\""), (#""\u0000""#, #""\u0000""#), ("\"é\"", "\"é\""),
            (#""<>&""#, #""\u003c\u003e\u0026""#), ("\"\u{2028}\"", #""\u2028""#), ("\"\u{7F}\"", "\"\u{7F}\""),
            ("[1,2,3]", "[1,2,3]"), ("[ 1 , [ 2 ] ]", "[1,[2]]"), ("{\"a\":1}", "{\"a\":1}"),
            ("{ \"b\" : 2 , \"a\" : [ ] }", "{\"b\":2,\"a\":[]}"),
            ("{\"\":1}", "{\"\":1}"), ("{\"a\":{\"a\":1}}", "{\"a\":{\"a\":1}}"),
            ("[{\"a\":1},{\"a\":2}]", "[{\"a\":1},{\"a\":2}]"),
            // Only U+017F and U+212A fold to ASCII; other letters keep their case apart.
            ("{\"é\":1,\"É\":2}", "{\"é\":1,\"É\":2}"), ("{\"ss\":1,\"ß\":2}", "{\"ss\":1,\"ß\":2}"),
        ]
    )
    func reads(_ text: String, as written: String) throws {
        let value = try StrictJSON.parse(Array(text.utf8))
        #expect(value.text() == written)
        #expect(try StrictJSON.parse(Array(value.text().utf8)) == value)
        #expect(try StrictJSON.parse(Array(value.text(indentation: "\t").utf8)) == value)
    }

    @Test(
        "What is refused",
        arguments: [
            // Not complete, or not JSON.
            "", " ", "n", "nul", "nulll", "tru", "True", "NULL", "nan", "Infinity", "undefined", "'a'", "{", "[",
            "{\"a\"", "{\"a\":", "{\"a\":1",
            "{\"a\":1,", "[1", "[1,", "[,]", "[1,]", "[1 2]", "{,}", "{\"a\":1,}", "{\"a\" 1}", "{\"a\":1 \"b\":2}",
            "{a:1}", "{'a':1}", "{1:1}",
            "{null:1}", "}", "]", ":", ",", "[}", "{]", "[\"a\":1]", "{\"a\",\"b\"}", "/* */ 1", "// x\n1", "#\n1",
            "\u{FEFF}{}", "\u{A0}1", "\u{B}1",
            // Something behind the end: Go 1.2x reads it, or not, depending on the caller.
            "{}{}", "{} x", "1 2", "null,", "[]]", "{}\0", "\"a\"\"b\"", "{}/**/",
            // Numbers.
            "01", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "0x10", "1_000", "--1", "00", "-01", "1e5.5", "1,5", "١",
            // Texts.
            "\"", "\"a", "\"\\\"", "\"\\x41\"", "\"\\u00\"", "\"\\u00zz\"", "\"\\U0041\"", "\"\n\"", "\"\t\"", "\"\0\"",
            "\"\u{1B}\"", "\"\\",
            #""\ud800""#, #""\udc00""#, #""\ud800\ud800""#, #""\ud800A""#, #""\ud800x""#, #""\ud83d\u""#, #""\'""#,
            #""\a""#,
            // A key twice, also as Go folds keys.
            "{\"a\":1,\"a\":1}", "{\"a\":1,\"A\":2}", "{\"Image\":1,\"image\":2}", "{\"IMAGE\":1,\"iMaGe\":2}",
            "{\"\":1,\"\":2}",
            "{\"mask\":1,\"ma\u{17F}k\":2}", "{\"k\":1,\"\u{212A}\":2}", "{\"ſ\":1,\"S\":2}", #"{"a":1,"\u0061":2}"#,
            #"{"A":1,"a":2}"#,
            "{\"x\":{\"b\":1,\"B\":2}}", "[{\"b\":1,\"b\":2}]",
            "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"j\":10,\"k\":11,\"l\":12,\"m\":13,\"n\":14,\"o\":15,\"p\":16,\"q\":17,\"r\":18,\"S\":19,\"s\":20}",
        ]
    )
    func refuses(_ text: String) {
        #expect(throws: InvalidJSON.self) { try StrictJSON.parse(Array(text.utf8)) }
    }

    @Test(
        "Bytes that are not UTF-8 are refused",
        arguments: [
            [0x80], [0xC0, 0xAF], [0xC3], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
            [0xF8, 0x88, 0x80, 0x80, 0x80],
            [0xFE], [0xFF], [0x61, 0xE2, 0x82],
        ] as [[UInt8]]
    )
    func notUTF8(_ bytes: [UInt8]) {
        #expect(throws: InvalidJSON.self) { try StrictJSON.parse([0x22] + bytes + [0x22]) }
        #expect(throws: InvalidJSON.self) { try StrictJSON.parse(bytes) }
    }

    @Test("UTF-16 with or without a byte order mark is refused")
    func utf16() {
        #expect(throws: InvalidJSON.self) { try StrictJSON.parse([0xFF, 0xFE, 0x7B, 0, 0x7D, 0]) }
        #expect(throws: InvalidJSON.self) { try StrictJSON.parse([0x7B, 0, 0x7D, 0]) }
        #expect(throws: InvalidJSON.self) { try StrictJSON.parse([0, 0x7B, 0, 0x7D]) }
    }

    @Test("Depth and size at and beyond their limits")
    func limits() throws {
        func nested(_ levels: Int) -> [UInt8] {
            Array(repeating: UInt8(ascii: "["), count: levels) + Array(repeating: UInt8(ascii: "]"), count: levels)
        }
        #expect(throws: Never.self) { try StrictJSON.parse(nested(64)) }
        #expect(throws: InvalidJSON.self) { try StrictJSON.parse(nested(65)) }
        #expect(throws: InvalidJSON.self) { try StrictJSON.parse(Array(repeating: UInt8(ascii: "["), count: 1 << 20)) }
        #expect(throws: InvalidJSON.self) { try StrictJSON.parse(Array(repeating: UInt8(ascii: "{"), count: 1 << 20)) }
        let limits = StrictJSON.Limits(bytes: 10)
        #expect(throws: Never.self) { try StrictJSON.parse(Array("\"12345678\"".utf8), limits: limits) }
        #expect(throws: InvalidJSON.self) { try StrictJSON.parse(Array("\"123456789\"".utf8), limits: limits) }
    }

    @Test(
        "Where the fault is",
        arguments: [
            ("{\n  \"a\": 1,\n  \"A\": 2\n}", 3, 3), ("x", 1, 1), ("\n\nx", 3, 1), ("{\"a\": tru}", 1, 7),
            ("{\"a\": 1} x", 1, 10),
            ("[1,\n 01]", 2, 2), ("{\"a\": \"\\q\"}", 1, 8), ("{\"a\"", 1, 5), ("[\"é\", x]", 1, 8),
        ]
    )
    func place(_ text: String, line: Int, column: Int) {
        let error = #expect(throws: InvalidJSON.self) { try StrictJSON.parse(Array(text.utf8)) }
        #expect(error?.line == line)
        #expect(error?.column == column)
    }

    @Test("Members are found by exact bytes, or as Go folds them")
    func lookup() throws {
        let value = try StrictJSON.parse(Array("{\"Image\":\"x\",\"Tas\u{212A}\":\"y\"}".utf8))
        #expect(value.value(named: "Image")?.text == "x")
        #expect(value.value(named: "image") == nil)
        #expect(value.value(foldedName: "image")?.text == "x")
        #expect(value.value(foldedName: "IMAGE")?.text == "x")
        #expect(value.value(named: "TasK") == nil, "Swift's == would hold U+212A and K for equal")
        #expect(value.value(foldedName: "task")?.text == "y")
    }

    @Test("Random bytes end in a value or an error", arguments: 0..<10 as Range<UInt64>)
    func random(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let pieces = [
            "{", "}", "[", "]", ":", ",", "\"", "a", "\\", "u00", "41", "1", "-", ".", "e", " ", "\n", "true", "null",
            "\u{212A}",
        ]
        for _ in 0..<2_000 {
            let text = (0..<Int.random(in: 1...12, using: &generator)).map { _ in
                pieces.randomElement(using: &generator) ?? ""
            }.joined()
            guard let value = try? StrictJSON.parse(Array(text.utf8)) else { continue }
            #expect(try StrictJSON.parse(Array(value.text().utf8)) == value, "\(text)")
        }
    }
}
