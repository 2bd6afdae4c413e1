public import RegistryAccess

/// A JSON document whose values are changed in single places; every other byte of it stays.
///
/// Docker's files are shared with people and other programs, so a change to one key must not touch the order of the
/// others, the text of a number, the indentation or the line ends. The document is read strictly first
/// (``StrictJSON``); names are compared as Go compares the keys of a struct, because Docker reads these files so.
public struct JSONFileEdit: Sendable {
    /// The document as it is now.
    public private(set) var bytes: [UInt8]
    /// Its value.
    public private(set) var value: JSONValue
    private var root: JSONPlace
    /// What one level is indented by where the document does not say it.
    private let indentation: String

    private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// A document to change; white space only is taken as an empty object, as Docker takes it.
    ///
    /// - Parameters:
    ///   - bytes: the document; a byte order mark is kept.
    ///   - indentation: what one level is indented by where the document does not say it.
    /// - Throws: ``InvalidJSON`` if it is not one JSON document, or one that could be read in two ways.
    public init(_ bytes: [UInt8], indentation: String = "  ") throws(InvalidJSON) {
        let isEmpty = bytes.allSatisfy { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
        self.bytes = isEmpty ? Array("{}\n".utf8) : bytes
        self.indentation = indentation
        value = .null
        root = JSONPlace(range: 0..<0, content: .leaf)
        try read()
    }

    private mutating func read() throws(InvalidJSON) {
        // Blanks in place of the mark keep the columns of a message right.
        let document =
            bytes.starts(with: Self.byteOrderMark) ? [0x20, 0x20, 0x20] + Array(bytes.dropFirst(3)) : bytes
        value = try StrictJSON.parse(document, limits: .init(bytes: 16 << 20, depth: 128))
        root = JSONPlace.locate(in: document)
    }

    // MARK: - Reading

    /// The value at a path of names.
    ///
    /// - Parameter path: the names from the top.
    /// - Returns: the value, or `nil` if there is none.
    public func value(at path: [String]) -> JSONValue? {
        var value = value
        for name in path {
            guard let next = value.value(named: name) ?? value.value(foldedName: name) else { return nil }
            value = next
        }
        return value
    }

    private func place(at path: ArraySlice<String>) -> JSONPlace? {
        var place = root
        for name in path {
            guard let next = place.member(named: name) else { return nil }
            place = next.value
        }
        return place
    }

    // MARK: - Changing

    /// Puts a value at a path of names; objects that are missing on the way are made.
    ///
    /// - Parameters:
    ///   - value: the new value.
    ///   - path: the names from the top.
    /// - Returns: how many objects were made on the way.
    /// - Throws: ``JSONEditFailure`` if something on the way is no object.
    @discardableResult
    public mutating func set(_ value: JSONValue, at path: [String]) throws(JSONEditFailure) -> Int {
        if let place = place(at: path[...]) {
            let style = style(at: place.range.lowerBound)
            try replace(place.range, with: style.text(of: value))
            return 0
        }
        for depth in stride(from: path.count - 1, through: 0, by: -1) {
            guard let parent = place(at: path[..<depth]) else { continue }
            var nested = value
            for name in path[(depth + 1)...].reversed() {
                nested = .object([JSONMember(name, nested)])
            }
            let made = path.count - 1 - depth
            switch parent.content {
            case .object(let members):
                try insert(path[depth], nested, into: parent, behind: members)
                return made
            case .leaf where String(decoding: bytes[parent.range], as: UTF8.self) == "null":
                let style = style(at: parent.range.lowerBound)
                try replace(parent.range, with: style.text(of: .object([JSONMember(path[depth], nested)])))
                return made
            default:
                throw JSONEditFailure(Array(path[..<depth]), "is not an object")
            }
        }
        throw JSONEditFailure([], "is not an object")
    }

    /// Takes a member out, with the comma that it no longer needs.
    ///
    /// - Parameter path: the names from the top.
    /// - Returns: the value that was there, or `nil` if there was none.
    /// - Throws: ``JSONEditFailure`` if the document cannot be read any more.
    @discardableResult
    public mutating func remove(at path: [String]) throws(JSONEditFailure) -> JSONValue? {
        guard let name = path.last, let parent = place(at: path.dropLast()), let old = value(at: path),
            case .object(let members) = parent.content, let index = parent.memberIndex(named: name)
        else { return nil }
        try removeItem(index, of: members.map { $0.nameRange.lowerBound..<$0.value.range.upperBound }, in: parent)
        return old
    }

    /// Puts a value behind the last element of a list; the list is made if it is missing.
    ///
    /// - Parameters:
    ///   - element: the new element.
    ///   - path: the names from the top.
    /// - Returns: whether the list was made, and how many objects on the way to it.
    /// - Throws: ``JSONEditFailure`` if there is something else than a list.
    @discardableResult
    public mutating func append(
        _ element: JSONValue,
        at path: [String]
    ) throws(JSONEditFailure) -> (madeList: Bool, madeObjects: Int) {
        guard let place = place(at: path[...]), place.range != nullRange(place) else {
            return (true, try set(.array([element]), at: path))
        }
        guard case .array(let elements) = place.content else { throw JSONEditFailure(path, "is not a list") }
        guard let last = elements.last else {
            let style = style(at: place.range.lowerBound)
            try replace(place.range, with: style.text(of: .array([element])))
            return (false, 0)
        }
        let previousEnd = elements.count > 1 ? elements[elements.count - 2].range.upperBound : place.range.lowerBound
        var gap = gap(after: previousEnd + 1, before: last.range.lowerBound)
        var style = style(at: last.range.lowerBound)
        if !gap.utf8.contains(0x0A) {
            style.isMultiLine = false
            if elements.count == 1 { gap = style.space }
        }
        try replace(last.range.upperBound..<last.range.upperBound, with: ",\(gap)\(style.text(of: element))")
        return (false, 0)
    }

    /// Takes elements out of a list.
    ///
    /// - Parameters:
    ///   - element: what to take out, every time it is there.
    ///   - path: the names from the top.
    /// - Returns: whether any was there.
    /// - Throws: ``JSONEditFailure`` if the document cannot be read any more.
    @discardableResult
    public mutating func removeElements(
        _ element: JSONValue,
        at path: [String]
    ) throws(JSONEditFailure) -> Bool {
        var isFound = false
        while let index = value(at: path)?.elements?.firstIndex(of: element), let place = place(at: path[...]),
            case .array(let elements) = place.content
        {
            try removeItem(index, of: elements.map(\.range), in: place)
            isFound = true
        }
        return isFound
    }

    // MARK: - Splicing

    private func nullRange(_ place: JSONPlace) -> Range<Int>? {
        bytes[place.range].elementsEqual("null".utf8) ? place.range : nil
    }

    private mutating func insert(
        _ name: String,
        _ value: JSONValue,
        into parent: JSONPlace,
        behind members: [JSONPlace.Member]
    ) throws(JSONEditFailure) {
        guard let last = members.last else {
            var style = style(at: parent.range.lowerBound)
            style.isMultiLine = style.isMultiLine || parent.range == root.range
            try replace(parent.range, with: style.text(of: .object([JSONMember(name, value)])))
            return
        }
        let previousEnd =
            members.count > 1 ? members[members.count - 2].value.range.upperBound : parent.range.lowerBound
        // Where there is more than one member the comma lies in between.
        var gap = gap(after: previousEnd + 1, before: last.nameRange.lowerBound)
        var style = style(at: last.nameRange.lowerBound)
        if !gap.utf8.contains(0x0A) {
            style.isMultiLine = false
            if members.count == 1 { gap = style.space }
        }
        let member = "\(JSONText.quoted(name)):\(style.space)\(style.text(of: value))"
        let end = last.value.range.upperBound
        try replace(end..<end, with: ",\(gap)\(member)")
    }

    /// The white space before an item, without a comma that may stand in it.
    private func gap(after start: Int, before end: Int) -> String {
        let between = bytes[min(start, end)..<end]
        let isBlank = between.allSatisfy { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
        return isBlank ? String(decoding: between, as: UTF8.self) : " "
    }

    private mutating func removeItem(
        _ index: Int,
        of items: [Range<Int>],
        in parent: JSONPlace
    ) throws(JSONEditFailure) {
        let inside = (parent.range.lowerBound + 1)..<(parent.range.upperBound - 1)
        if items.count == 1 {
            try replace(inside, with: "")
        } else if index == 0 {
            try replace(items[0].lowerBound..<items[1].lowerBound, with: "")
        } else {
            try replace(items[index - 1].upperBound..<items[index].upperBound, with: "")
        }
    }

    private mutating func replace(_ range: Range<Int>, with text: String) throws(JSONEditFailure) {
        var changed = self
        changed.bytes.replaceSubrange(range, with: Array(text.utf8))
        do throws(InvalidJSON) {
            try changed.read()
        } catch {
            throw JSONEditFailure([], "would not be JSON any more: \(error)")
        }
        self = changed
    }

    // MARK: - Style

    /// How the document is written around a byte.
    private func style(at offset: Int) -> JSONText.Style {
        let lineStart = bytes[..<offset].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        let current = bytes[lineStart..<offset].prefix { $0 == 0x20 || $0 == 0x09 }
        var unit = indentation
        var isMultiLine = false
        if case .object(let members) = root.content, let first = members.first {
            let gap = bytes[(root.range.lowerBound + 1)..<first.nameRange.lowerBound]
            if let newline = gap.lastIndex(of: 0x0A) {
                isMultiLine = true
                let indent = gap[(newline + 1)...]
                if !indent.isEmpty { unit = String(decoding: indent, as: UTF8.self) }
            }
            let colon = bytes[first.nameRange.upperBound..<first.value.range.lowerBound]
            let isTight = !isMultiLine && !colon.contains(0x20)
            return JSONText.Style(
                isMultiLine: isMultiLine,
                indentation: unit,
                currentIndentation: String(decoding: current, as: UTF8.self),
                newline: usesCarriageReturns ? "\r\n" : "\n",
                space: isTight ? "" : " "
            )
        }
        return JSONText.Style(
            isMultiLine: true,
            indentation: unit,
            currentIndentation: String(decoding: current, as: UTF8.self),
            newline: usesCarriageReturns ? "\r\n" : "\n",
            space: " "
        )
    }

    private var usesCarriageReturns: Bool {
        guard let newline = bytes.firstIndex(of: 0x0A), newline > 0 else { return false }
        return bytes[newline - 1] == 0x0D
    }
}

/// Why a document cannot be changed as wanted.
public struct JSONEditFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The names from the top to the thing that is in the way; empty for the document itself.
    public let path: [String]
    /// What is wrong with it.
    public let message: String

    init(_ path: [String], _ message: String) {
        self.path = path
        self.message = message
    }

    /// The thing and what is wrong with it.
    public var description: String {
        path.isEmpty ? "the document \(message)" : "\"\(path.joined(separator: "."))\" \(message)"
    }
}
