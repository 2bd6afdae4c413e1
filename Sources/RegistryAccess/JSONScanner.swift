/// Walks through a JSON document from front to back; ``StrictJSON`` and ``AccessPolicy`` read with it.
///
/// A policy of a million rules is read without a tree of values in between, so objects and lists are handed out one
/// member at a time.
package struct JSONScanner {
    let bytes: [UInt8]
    package private(set) var position = 0
    private let limits: StrictJSON.Limits
    private var depth = 0

    package init(_ bytes: [UInt8], limits: StrictJSON.Limits) {
        self.bytes = bytes
        self.limits = limits
    }

    package func fault(_ message: String, at offset: Int? = nil) -> InvalidJSON {
        InvalidJSON(message, at: offset ?? position, in: bytes)
    }

    package func checkSize() throws(InvalidJSON) {
        guard bytes.count <= limits.bytes else {
            throw fault("the document is longer than \(limits.bytes) bytes", at: limits.bytes)
        }
    }

    /// The first byte of the next value, after white space; where it stands is `position`.
    package mutating func peek() -> UInt8? {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return bytes[position]
            }
        }
        return nil
    }

    package mutating func end() throws(InvalidJSON) {
        guard peek() == nil else { throw fault("there is something after the end of the document") }
    }

    // MARK: - Objects and lists

    /// The names that an object had so far, to find one that comes twice.
    struct Names {
        /// Names of ASCII, as long as there are few names and no others.
        private var few: [String] = []
        private var many: Set<[UInt8]> = []
        private let folds: Bool

        init(folding: Bool) {
            folds = folding
        }

        /// Whether the name is new.
        mutating func insert(_ name: String) -> Bool {
            guard folds else { return many.insert(Array(name.utf8)).inserted }
            if many.isEmpty, few.count < 16, ASCII.isAll(name) {
                for other in few where ASCII.areSame(other, name) { return false }
                few.append(name)
                return true
            }
            if many.isEmpty { many = Set(few.map(GoFolding.fold)) }
            return many.insert(GoFolding.fold(name)).inserted
        }
    }

    /// Reads an object; the body is called behind each colon and must read one value.
    package mutating func object(
        _ member: (_ name: String, _ nameOffset: Int, inout JSONScanner) throws(InvalidJSON) -> Void
    ) throws(InvalidJSON) {
        try members { (name, nameOffset, isNew, scanner) throws(InvalidJSON) in
            guard isNew else { throw scanner.twice(name, at: nameOffset) }
            try member(name, nameOffset, &scanner)
        }
    }

    /// Reads an object whose names may come twice; the body is called behind each colon and must read one value.
    mutating func members(
        _ member: (_ name: String, _ nameOffset: Int, _ isNew: Bool, inout JSONScanner) throws(InvalidJSON) -> Void
    ) throws(InvalidJSON) {
        try open(UInt8(ascii: "{"), "an object")
        var names = Names(folding: limits.foldsKeys)
        var isFirst = true
        while try next(UInt8(ascii: "}"), &isFirst) {
            _ = peek()
            let nameOffset = position
            let name = try string()
            let isNew = names.insert(name)
            guard peek() == ASCII.colon else { throw fault("expected a colon after the key") }
            position += 1
            try member(name, nameOffset, isNew, &self)
        }
    }

    func twice(_ name: String, at offset: Int) -> InvalidJSON {
        fault("the key \(Self.quoted(name)) comes twice", at: offset)
    }

    /// Reads an object of which every key must be known; the body is called behind each colon and must read one value.
    package mutating func object(
        of known: [String],
        _ member: (_ name: String, inout JSONScanner) throws(InvalidJSON) -> Void
    ) throws(InvalidJSON) {
        try object { (key, offset, scanner) throws(InvalidJSON) in
            try member(try scanner.known(key, of: known, at: offset), &scanner)
        }
    }

    /// A key that must be one of some.
    mutating func known(_ key: String, of known: [String], at offset: Int) throws(InvalidJSON) -> String {
        let name = PolicyReader.ascii(key)
        guard known.contains(name) else { throw PolicyReader.unknown(key, known, &self, offset) }
        return name
    }

    /// Reads a list; the body is called before each element and must read it.
    package mutating func array(_ element: (inout JSONScanner) throws(InvalidJSON) -> Void) throws(InvalidJSON) {
        try open(ASCII.leftBracket, "a list")
        var isFirst = true
        while try next(ASCII.rightBracket, &isFirst) {
            try element(&self)
        }
    }

    /// Reads a list of which no element comes twice.
    mutating func distinctElements<Element: Hashable>(
        _ name: String,
        _ element: (inout JSONScanner) throws(InvalidJSON) -> Element
    ) throws(InvalidJSON) -> [Element] {
        var elements: [Element] = []
        var seen: Set<Element> = []
        try array { (scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            let next = try element(&scanner)
            guard seen.insert(next).inserted else { throw scanner.fault("the same \(name) comes twice", at: start) }
            elements.append(next)
        }
        return elements
    }

    private mutating func open(_ byte: UInt8, _ what: String) throws(InvalidJSON) {
        guard peek() == byte else { throw fault("expected \(what)") }
        depth += 1
        guard depth <= limits.depth else { throw fault("the document nests deeper than \(limits.depth) levels") }
        position += 1
    }

    private mutating func next(_ close: UInt8, _ isFirst: inout Bool) throws(InvalidJSON) -> Bool {
        guard let byte = peek() else { throw fault("the document ends too early") }
        if byte == close {
            position += 1
            depth -= 1
            return false
        }
        if !isFirst {
            guard byte == UInt8(ascii: ",") else { throw fault("expected a comma or the end") }
            position += 1
        }
        isFirst = false
        return true
    }

    // MARK: - Values

    package mutating func value() throws(InvalidJSON) -> JSONValue {
        switch peek() {
        case UInt8(ascii: "{"):
            var members: [JSONMember] = []
            try object { (name, _, scanner) throws(InvalidJSON) in
                members.append(JSONMember(name, try scanner.value()))
            }
            return .object(members)
        case ASCII.leftBracket:
            var elements: [JSONValue] = []
            try array { (scanner) throws(InvalidJSON) in elements.append(try scanner.value()) }
            return .array(elements)
        case ASCII.quote: return .string(try string())
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool(try bool())
        case UInt8(ascii: "n"):
            try literal("null")
            return .null
        default: return .number(try number())
        }
    }

    /// Goes behind the next value, in which keys may come twice.
    mutating func skip() throws(InvalidJSON) {
        switch peek() {
        case UInt8(ascii: "{"): try members { (_, _, _, scanner) throws(InvalidJSON) in try scanner.skip() }
        case ASCII.leftBracket: try array { (scanner) throws(InvalidJSON) in try scanner.skip() }
        default: _ = try value()
        }
    }

    package mutating func bool() throws(InvalidJSON) -> Bool {
        switch peek() {
        case UInt8(ascii: "t"):
            try literal("true")
            return true
        case UInt8(ascii: "f"):
            try literal("false")
            return false
        default: throw fault("expected true or false")
        }
    }

    private mutating func literal(_ word: StaticString) throws(InvalidJSON) {
        let end = position + word.utf8CodeUnitCount
        let isThere =
            end <= bytes.count
            && word.withUTF8Buffer { $0.elementsEqual(bytes[position..<end]) }
        guard isThere else { throw fault("expected a value") }
        position = end
    }

    /// Reads a number by RFC 8259's grammar and returns it as it was written.
    package mutating func number() throws(InvalidJSON) -> String {
        guard let first = peek() else { throw fault("the document ends too early") }
        let start = position
        guard first == ASCII.hyphen || ASCII.isDigit(first) else { throw fault("expected a value") }
        if first == ASCII.hyphen { position += 1 }
        let integer = digits()
        guard integer > 0, integer == 1 || bytes[position - integer] != ASCII.zero else {
            throw fault("a number has a leading zero or no digit", at: start)
        }
        if position < bytes.count, bytes[position] == ASCII.dot {
            position += 1
            guard digits() > 0 else { throw fault("a number ends in a dot", at: start) }
        }
        if position < bytes.count, ASCII.lowercased(bytes[position]) == UInt8(ascii: "e") {
            position += 1
            if position < bytes.count, bytes[position] == ASCII.hyphen || bytes[position] == UInt8(ascii: "+") {
                position += 1
            }
            guard digits() > 0 else { throw fault("a number has no exponent", at: start) }
        }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private mutating func digits() -> Int {
        let start = position
        while position < bytes.count, ASCII.isDigit(bytes[position]) { position += 1 }
        return position - start
    }

    package mutating func string() throws(InvalidJSON) -> String {
        guard let first = peek() else { throw fault("the document ends too early") }
        guard first == ASCII.quote else { throw fault("expected a text in quotes") }
        let start = position
        position += 1
        var hasEscape = false
        var isASCII = true
        while position < bytes.count {
            let byte = bytes[position]
            if byte == ASCII.quote {
                let content = bytes[(start + 1)..<position]
                position += 1
                if isASCII, !hasEscape { return String(decoding: content, as: UTF8.self) }
                let raw = hasEscape ? try unescaped(content) : content
                guard let text = String(validating: raw, as: UTF8.self) else {
                    throw fault("a text is not UTF-8", at: start)
                }
                return text
            }
            guard byte >= 0x20 else { throw fault("a text holds a control character") }
            if byte >= 0x80 { isASCII = false }
            if byte == ASCII.backslash {
                hasEscape = true
                position += 1
            }
            position += 1
        }
        position = bytes.count
        throw fault("the document ends inside a text")
    }

    private func unescaped(_ content: ArraySlice<UInt8>) throws(InvalidJSON) -> ArraySlice<UInt8> {
        var result: [UInt8] = []
        result.reserveCapacity(content.count)
        var index = content.startIndex
        while index < content.endIndex {
            let byte = content[index]
            index += 1
            guard byte == ASCII.backslash else {
                result.append(byte)
                continue
            }
            let escape = content[index]
            index += 1
            switch escape {
            case ASCII.quote, ASCII.backslash, ASCII.slash: result.append(escape)
            case UInt8(ascii: "b"): result.append(0x08)
            case UInt8(ascii: "f"): result.append(0x0C)
            case UInt8(ascii: "n"): result.append(0x0A)
            case UInt8(ascii: "r"): result.append(0x0D)
            case UInt8(ascii: "t"): result.append(0x09)
            case UInt8(ascii: "u"): result.append(contentsOf: Array(String(try codePoint(content, &index)).utf8))
            default: throw fault("a text holds an unknown escape", at: index - 2)
            }
        }
        return result[...]
    }

    /// Reads what follows `\u`: four digits, or two halves of a surrogate pair.
    private func codePoint(_ content: ArraySlice<UInt8>, _ index: inout Int) throws(InvalidJSON) -> Unicode.Scalar {
        let start = index - 2
        guard let first = hex4(content, &index) else { throw fault("a text holds an incomplete escape", at: start) }
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard (0xD800..<0xDC00).contains(first), index + 1 < content.endIndex, content[index] == ASCII.backslash,
            content[index + 1] == UInt8(ascii: "u")
        else { throw fault("a text holds half of a character", at: start) }
        index += 2
        guard let second = hex4(content, &index), (0xDC00..<0xE000).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else { throw fault("a text holds half of a character", at: start) }
        return scalar
    }

    private func hex4(_ content: ArraySlice<UInt8>, _ index: inout Int) -> UInt32? {
        guard index + 4 <= content.endIndex else { return nil }
        var value: UInt32 = 0
        for byte in content[index..<(index + 4)] {
            guard let digit = ASCII.hexValue(byte) else { return nil }
            value = value << 4 | UInt32(digit)
        }
        index += 4
        return value
    }

    /// A text for an error message: what can be seen of it in quotes, shortened; everything else is a question mark.
    package static func quoted(_ text: String) -> String {
        let shown = text.unicodeScalars.prefix(60).map { isSeen($0) ? String($0) : "?" }
        return "\"\(shown.joined())\(text.unicodeScalars.count > 60 ? "..." : "")\""
    }

    /// Whether a character is one that people see, and does nothing to those around it.
    private static func isSeen(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return ASCII.isPrintable(UInt8(scalar.value)) }
        // Fillers and selectors are letters and marks that nobody sees.
        return !scalar.isHidden && scalar.properties.generalCategory != .spaceSeparator
            && !scalar.properties.isDefaultIgnorableCodePoint
    }
}
