import RegistryAccess
import TestSupport
import Testing

@testable import LocalInstallation

struct JSONFileEditTests {
    private func edit(_ text: String) throws -> JSONFileEdit { try JSONFileEdit(Array(text.utf8)) }
    private func text(_ edit: JSONFileEdit) -> String { String(decoding: edit.bytes, as: UTF8.self) }

    @Test(
        "A new member follows the style of its document",
        arguments: [
            // Nothing, or white space only, becomes an object.
            ("", "{\n  \"k\": \"v\"\n}\n"),
            (" \n", "{\n  \"k\": \"v\"\n}\n"),
            ("{}", "{\n  \"k\": \"v\"\n}"),
            ("{ \n }\n", "{\n  \"k\": \"v\"\n}\n"),
            // One line stays one line, tight or with spaces.
            (#"{"a":1}"#, #"{"a":1,"k":"v"}"#),
            (#"{"a": 1}"#, #"{"a": 1, "k": "v"}"#),
            (#"{"a":1,"b":2}"#, #"{"a":1,"b":2,"k":"v"}"#),
            (#"{ "a": 1, "b": 2 }"#, #"{ "a": 1, "b": 2, "k": "v" }"#),
            // Two spaces, four spaces, tabs, CRLF.
            ("{\n  \"a\": 1\n}\n", "{\n  \"a\": 1,\n  \"k\": \"v\"\n}\n"),
            ("{\n    \"a\": 1,\n    \"b\": []\n}", "{\n    \"a\": 1,\n    \"b\": [],\n    \"k\": \"v\"\n}"),
            ("{\n\t\"a\": 1\n}", "{\n\t\"a\": 1,\n\t\"k\": \"v\"\n}"),
            ("{\r\n\t\"a\": 1\r\n}\r\n", "{\r\n\t\"a\": 1,\r\n\t\"k\": \"v\"\r\n}\r\n"),
            // Braces inside texts are no braces.
            (#"{"a": "}{\"\\", "b": "]"}"#, #"{"a": "}{\"\\", "b": "]", "k": "v"}"#),
            // A byte order mark stays.
            ("\u{FEFF}{\"a\":1}", "\u{FEFF}{\"a\":1,\"k\":\"v\"}"),
            // Commas in front of the lines.
            ("{ \"a\": 1\n, \"b\": 2\n}", "{ \"a\": 1\n, \"b\": 2, \"k\": \"v\"\n}"),
        ]
    )
    func insert(into document: String, gives expected: String) throws {
        var edit = try edit(document)
        try edit.set(.string("v"), at: ["k"])
        #expect(text(edit) == expected)
        #expect(edit.value(at: ["k"]) == .string("v"))
    }

    @Test(
        "A value is replaced where it stands",
        arguments: [
            (#"{"k": "old", "n": 1.0e+05}"#, #"{"k": "v", "n": 1.0e+05}"#),
            ("{\n  \"k\" :\t[1,\n2],\n  \"n\": -0\n}", "{\n  \"k\" :\t\"v\",\n  \"n\": -0\n}"),
            (#"{"K": null}"#, #"{"K": "v"}"#),  // Go takes the name in any case
            ("{\"\u{212A}\": 1}", "{\"\u{212A}\": \"v\"}"),  // and with the Kelvin sign
        ]
    )
    func replace(in document: String, gives expected: String) throws {
        var edit = try edit(document)
        try edit.set(.string("v"), at: ["k"])
        #expect(text(edit) == expected)
    }

    @Test(
        "Objects that are missing on the way are made",
        arguments: [
            (#"{"a":1}"#, #"{"a":1,"x":{"y":{"z":"v"}}}"#, 2),
            ("{\n\t\"a\": 1\n}", "{\n\t\"a\": 1,\n\t\"x\": {\n\t\t\"y\": {\n\t\t\t\"z\": \"v\"\n\t\t}\n\t}\n}", 2),
            (#"{"x":{}}"#, #"{"x":{"y":{"z":"v"}}}"#, 1),
            (#"{"x": null}"#, #"{"x": {"y": {"z": "v"}}}"#, 1),
            (#"{"x":{"y":{"b":1}}}"#, #"{"x":{"y":{"b":1,"z":"v"}}}"#, 0),
            (
                "{\n  \"x\": {\n    \"b\": 1\n  },\n  \"c\": 2\n}",
                "{\n  \"x\": {\n    \"b\": 1,\n    \"y\": {\n      \"z\": \"v\"\n    }\n  },\n  \"c\": 2\n}", 1
            ),
        ]
    )
    func nested(in document: String, gives expected: String, making count: Int) throws {
        var edit = try edit(document)
        let made = try edit.set(.string("v"), at: ["x", "y", "z"])
        #expect(text(edit) == expected)
        #expect(made == count)
    }

    @Test(arguments: [#"{"x": 1}"#, #"{"x": "t"}"#, #"{"x": []}"#, #"{"x": {"y": true}}"#])
    func `nothing is put into what is no object`(document: String) throws {
        var edit = try edit(document)
        #expect(throws: JSONEditFailure.self) { try edit.set(.string("v"), at: ["x", "y", "z"]) }
        #expect(text(edit) == document)
    }

    @Test(
        "A member goes with its comma",
        arguments: [
            (#"{"k": 1}"#, "{}"),
            ("{\n  \"k\": 1\n}\n", "{}\n"),
            (#"{"k": 1, "b": 2}"#, #"{"b": 2}"#),
            (#"{"a": 1, "k": 2}"#, #"{"a": 1}"#),
            ("{\n  \"a\": 1,\n  \"k\": {\"x\": [1, 2]},\n  \"b\": 3\n}", "{\n  \"a\": 1,\n  \"b\": 3\n}"),
            ("{\n  \"k\": 1,\n  \"b\": 3\n}", "{\n  \"b\": 3\n}"),
            (#"{"a": 1}"#, #"{"a": 1}"#),
        ]
    )
    func remove(from document: String, gives expected: String) throws {
        var edit = try edit(document)
        try edit.remove(at: ["k"])
        #expect(text(edit) == expected)
    }

    @Test(
        "An element comes behind the others and goes again",
        arguments: [
            (#"{"k": []}"#, #"{"k": ["v"]}"#, true),
            (#"{"k": ["a"]}"#, #"{"k": ["a", "v"]}"#, true),
            (#"{"k":["a"]}"#, #"{"k":["a","v"]}"#, true),
            (#"{"k":["a","b"]}"#, #"{"k":["a","b","v"]}"#, true),
            (
                "{\n  \"k\": [\n    \"a\"\n  ]\n}", "{\n  \"k\": [\n    \"a\",\n    \"v\"\n  ]\n}", true
            ),
            ("{\n  \"k\": [\"a\"]\n}", "{\n  \"k\": [\"a\", \"v\"]\n}", true),
            // Without a list, one is made; taking the element out leaves it empty.
            (#"{"a":1}"#, #"{"a":1,"k":["v"]}"#, false),
            (#"{"k": null}"#, #"{"k": ["v"]}"#, false),
        ]
    )
    func append(to document: String, gives expected: String, comesBack: Bool) throws {
        var edit = try edit(document)
        try edit.append(.string("v"), at: ["k"])
        #expect(text(edit) == expected)
        try edit.removeElements(.string("v"), at: ["k"])
        if comesBack { #expect(text(edit) == document) }
        #expect(edit.value(at: ["k"])?.elements?.contains(.string("v")) == false)
    }

    @Test
    func `an element is taken out every time it is there`() throws {
        var edit = try edit(#"{"k": ["v", "a", "v", "b", "v"]}"#)
        try edit.removeElements(.string("v"), at: ["k"])
        #expect(text(edit) == #"{"k": ["a", "b"]}"#)
    }

    @Test(arguments: [
        "not json", "{", "{\"a\":1}}", "{\"a\":1,}", "[1", "{'a':1}", "// c\n{}", "{\"a\":1} x", "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"A\":2}", "{\"a\":\"\u{1}\"}", "\u{FEFF}", "{\"a\":01}", "{\"a\":tru}",
    ])
    func `a document that has not exactly one reading is refused`(document: String) {
        #expect(throws: InvalidJSON.self) { try edit(document) }
    }

    @Test
    func `bytes that are not UTF-8 are refused`() {
        #expect(throws: InvalidJSON.self) { try JSONFileEdit([0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D]) }
    }

    // MARK: - By chance

    /// A document in a style of its own.
    private func document(_ generator: inout SeededGenerator) -> String {
        let newline = ["", "\n", "\r\n"].randomElement(using: &generator) ?? ""
        let unit = ["  ", "    ", "\t"].randomElement(using: &generator) ?? ""
        let colon = [":", ": ", " : "].randomElement(using: &generator) ?? ":"
        func value(_ depth: Int, _ generator: inout SeededGenerator) -> String {
            let indent = newline.isEmpty ? "" : newline + String(repeating: unit, count: depth + 1)
            let close = newline.isEmpty ? "" : newline + String(repeating: unit, count: depth)
            switch Int.random(in: 0..<(depth > 3 ? 5 : 8), using: &generator) {
            case 0: return ["1", "-0", "1.50", "2E+3"].randomElement(using: &generator) ?? "1"
            case 1: return ["\"x\"", "\"{\\\"}\"", "\"é\\u00e9\"", "\"\""].randomElement(using: &generator) ?? "1"
            case 2: return "true"
            case 3: return "null"
            case 4: return ["{}", "[]", "{ }", "[ ]"].randomElement(using: &generator) ?? "{}"
            case 5:
                let count = Int.random(in: 1...3, using: &generator)
                return "[" + (0..<count).map { _ in indent + value(depth + 1, &generator) }.joined(separator: ",")
                    + close
                    + "]"
            default:
                let count = Int.random(in: 1...4, using: &generator)
                let members = (0..<count).map { "\(indent)\"m\($0)\"\(colon)" + value(depth + 1, &generator) }
                return "{" + members.joined(separator: ",") + close + "}"
            }
        }
        let count = Int.random(in: 0...4, using: &generator)
        let indent = newline.isEmpty ? "" : newline + unit
        let members = (0..<count).map { "\(indent)\"m\($0)\"\(colon)" + value(1, &generator) }
        return "{" + members.joined(separator: ",") + newline + "}" + newline
    }

    @Test(arguments: 0..<400)
    func `a value comes and goes and every other byte stays`(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let document = document(&generator)
        var edit = try edit(document)
        let before = edit.value
        try edit.set(.string("v"), at: ["new"])
        // Whatever came is one piece: the rest is the old document around it.
        let changed = edit.bytes
        let old = Array(document.utf8)
        let head = zip(old, changed).prefix { $0 == $1 }.count
        let tail = zip(old.reversed(), changed.reversed()).prefix { $0 == $1 }.count
        if before != .object([]) { #expect(head + tail >= old.count) }
        try edit.remove(at: ["new"])
        #expect(edit.value == before)
        if before != .object([]) { #expect(edit.bytes == old) }
    }

    @Test(arguments: 0..<200)
    func `a member taken out by chance changes no other member`(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed) + 10_000)
        let document = document(&generator)
        var edit = try edit(document)
        guard let members = edit.value.members, let victim = members.randomElement(using: &generator) else { return }
        let removed = try edit.remove(at: [victim.name])
        #expect(removed == victim.value)
        #expect(edit.value == .object(members.filter { $0.name != victim.name }))
        // Every other member's text is still there as it was written.
        let outline = try #require(JSONOutline(Array(document.utf8)))
        for member in outline.members where member.name != victim.name {
            let text = String(decoding: Array(document.utf8)[member.range], as: UTF8.self)
            #expect(self.text(edit).contains(text))
        }
    }

    @Test(arguments: 0..<200)
    func `the places that are found are those of the values`(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed) + 20_000)
        let bytes = Array(document(&generator).utf8)
        func check(_ place: JSONPlace, _ value: JSONValue) throws {
            #expect(try StrictJSON.parse(Array(bytes[place.range])) == value)
            switch place.content {
            case .leaf: break
            case .array(let places): for (place, value) in zip(places, value.elements ?? []) { try check(place, value) }
            case .object(let members):
                #expect(members.count == value.members?.count)
                for member in members { try check(member.value, try #require(value.value(named: member.name))) }
            }
        }
        try check(JSONPlace.locate(in: bytes), try StrictJSON.parse(bytes))
    }

    @Test(arguments: 0..<300)
    func `finding places ends on any bytes`(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed) + 30_000)
        let alphabet = Array("{}[]\",:\\ tn1\n".utf8)
        let bytes = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
            alphabet.randomElement(using: &generator) ?? 0
        }
        let place = JSONPlace.locate(in: bytes)
        #expect(place.range.upperBound <= bytes.count)
    }
}
