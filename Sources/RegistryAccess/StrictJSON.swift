/// JSON as this product reads it: every document that Go's `encoding/json` could read in two ways is refused.
///
/// Refused, beyond what RFC 8259 refuses: a key that comes twice in an object, also when the two differ only as Go
/// folds them (ASCII case, U+017F for `s`, U+212A for `k`: `encoding/json`, `fold.go`); anything after the value; more
/// than ``Limits/depth`` levels; bytes that are not UTF-8 and escapes that stand for half a character, which Go
/// silently replaces; a byte order mark.
public enum StrictJSON {
    /// What a document may not exceed.
    public struct Limits: Sendable {
        /// The longest document, in bytes.
        public var bytes: Int
        /// How deep objects and arrays may nest.
        public var depth: Int
        /// Whether keys that Go holds for the same name of a struct's field count as the same.
        public var foldsKeys: Bool

        /// Limits for a document.
        ///
        /// - Parameters:
        ///   - bytes: the longest document; 8 MiB unless given, which holds the 4 MiB that an engine passes on.
        ///   - depth: the deepest nesting.
        ///   - foldsKeys: whether keys that differ only as Go folds them are the same; not so where Go reads a map.
        public init(bytes: Int = 8 << 20, depth: Int = 64, foldsKeys: Bool = true) {
            self.bytes = bytes
            self.depth = depth
            self.foldsKeys = foldsKeys
        }
    }

    /// Reads one document.
    ///
    /// - Parameters:
    ///   - bytes: the document in UTF-8.
    ///   - limits: what it may not exceed.
    /// - Returns: the value, its members in the order of the document and its numbers as they were written.
    /// - Throws: ``InvalidJSON`` with the place of the first fault.
    public static func parse(_ bytes: [UInt8], limits: Limits = Limits()) throws(InvalidJSON) -> JSONValue {
        var scanner = JSONScanner(bytes, limits: limits)
        try scanner.checkSize()
        let value = try scanner.value()
        try scanner.end()
        return value
    }
}

/// A value of a JSON document.
public indirect enum JSONValue: Sendable, Equatable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number, as it was written.
    case number(String)
    /// A text, its escapes resolved.
    case string(String)
    /// A list.
    case array([JSONValue])
    /// Members in the order of the document; no two names are the same to Go.
    case object([JSONMember])

    /// The members, if this is an object.
    public var members: [JSONMember]? {
        if case .object(let members) = self { members } else { nil }
    }

    /// The elements, if this is a list.
    public var elements: [JSONValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    /// The text, if this is one.
    public var text: String? {
        if case .string(let text) = self { text } else { nil }
    }

    /// The value under a name, compared byte for byte.
    ///
    /// Swift's `==` on strings holds U+212A and `K` for equal; names are therefore compared as bytes.
    ///
    /// - Parameter name: the exact name.
    /// - Returns: the value, or `nil` if this is no object or has no such member.
    public func value(named name: String) -> JSONValue? {
        members?.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
    }

    /// The value under a name, compared as Go compares the keys of a struct.
    ///
    /// - Parameter name: the name in any case.
    /// - Returns: the value, or `nil` if this is no object or has no such member.
    public func value(foldedName name: String) -> JSONValue? {
        let folded = GoFolding.fold(name)
        return members?.first { GoFolding.fold($0.name) == folded }?.value
    }
}

/// A name and its value in a JSON object.
public struct JSONMember: Sendable, Equatable {
    /// The name, its escapes resolved.
    public let name: String
    /// The value.
    public let value: JSONValue

    /// A member.
    ///
    /// - Parameters:
    ///   - name: the name.
    ///   - value: the value.
    public init(_ name: String, _ value: JSONValue) {
        self.name = name
        self.value = value
    }
}

/// Why a document is refused, and where.
public struct InvalidJSON: Error, Equatable, Sendable, CustomStringConvertible {
    /// The line, counted from 1.
    public let line: Int
    /// The column in bytes, counted from 1.
    public let column: Int
    /// What is wrong there.
    public let message: String

    /// The place and the fault.
    public var description: String { "line \(line), column \(column): \(message)" }

    init(_ message: String, at offset: Int, in bytes: [UInt8]) {
        let before = bytes[..<min(offset, bytes.count)]
        line = before.count { $0 == 0x0A } + 1
        column = before.count - (before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0) + 1
        self.message = message
    }
}

/// How Go compares the name of a JSON member with the name of a field (`encoding/json`, `fold.go`).
enum GoFolding {
    static func fold(_ name: String) -> [UInt8] {
        var folded: [UInt8] = []
        folded.reserveCapacity(name.utf8.count)
        for scalar in name.unicodeScalars {
            switch scalar.value {
            case 0x17F: folded.append(UInt8(ascii: "s"))
            case 0x212A: folded.append(UInt8(ascii: "k"))
            case 0..<0x80: folded.append(ASCII.lowercased(UInt8(scalar.value)))
            default: folded.append(contentsOf: Array(String(scalar).utf8))
            }
        }
        return folded
    }
}
