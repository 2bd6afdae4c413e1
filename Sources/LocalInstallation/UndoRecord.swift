public import RegistryAccess

/// What was done to one JSON file of somebody else, so that it can be taken back.
///
/// As long as nobody else touches the file, it gets its earlier bytes back exactly. Otherwise only what we changed is
/// taken back, place by place, and what others changed stays.
public struct UndoRecord: Sendable, Equatable {
    /// The file.
    public let path: String
    /// What it held before; `nil` if there was none.
    public private(set) var before: String?
    /// Tells whether the file still is what we made of it.
    public let fingerprint: String
    /// Whether `before` is the content without any change of ours.
    public private(set) var isExact: Bool
    /// What was changed, in this order.
    public private(set) var changes: [Change]
    /// Who might read and write the file before, and who may since; `nil` if that was not changed.
    public var access: AccessChange?

    /// A change of who may read and write the file.
    public struct AccessChange: Sendable, Equatable {
        /// Before.
        public let before: FileAccess
        /// Since.
        public let given: FileAccess
    }

    /// One change of a value.
    public enum Change: Sendable, Equatable {
        /// A value was put at a path, in the place of another or of none.
        case set([String], JSONValue, before: JSONValue?, madeObjects: Int)
        /// A member was taken out.
        case removed([String], JSONValue)
        /// An element was put behind the others of a list.
        case appended([String], JSONValue, madeList: Bool, madeObjects: Int)

        var path: [String] {
            switch self {
            case .set(let path, _, _, _), .removed(let path, _), .appended(let path, _, _, _): path
            }
        }

        /// Whether both changed the same value; two elements of one list are two values.
        func isAbout(_ other: Change) -> Bool {
            guard path == other.path else { return false }
            if case .appended(_, let element, _, _) = self, case .appended(_, let another, _, _) = other {
                return element == another
            }
            return true
        }
    }

    init(
        path: String,
        before: String?,
        fingerprint: String,
        isExact: Bool,
        changes: [Change],
        access: AccessChange? = nil
    ) {
        self.path = path
        self.before = before
        self.fingerprint = fingerprint
        self.isExact = isExact
        self.changes = changes
        self.access = access
    }

    /// The length of a content and its FNV-1a hash: no secret can be read from it.
    static func fingerprint(of content: [UInt8]) -> String {
        let hash = content.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        return "\(content.count)-\(String(hash, radix: 16))"
    }

    // MARK: - Secrets

    /// The members of an object at the top of the earlier content.
    func beforeMembers(of name: String) -> [(name: String, value: JSONValue)] {
        guard let before, let document = try? JSONFileEdit(Array(before.utf8)) else { return [] }
        return (document.value(at: [name])?.members ?? []).map { ($0.name, $0.value) }
    }

    /// Puts another value at a place that the record remembers.
    mutating func replace(at path: [String], with value: JSONValue) {
        changes = changes.map { change in
            if case .removed(path, _) = change { .removed(path, value) } else { change }
        }
        guard let before, var document = try? JSONFileEdit(Array(before.utf8)), let old = document.value(at: path)
        else {
            return
        }
        do {
            try document.set(value, at: path)
            let replaced = document.bytes
            try document.set(old, at: path)
            // A text with unusual escapes would come back in another spelling.
            if document.bytes != Array(before.utf8) { isExact = false }
            self.before = String(decoding: replaced, as: UTF8.self)
        } catch {
            isExact = false
            self.before = ""
        }
    }

    /// Forgets a place.
    mutating func forget(_ path: [String]) {
        changes.removeAll { change in
            if case .removed(path, _) = change { true } else { false }
        }
        guard let before, var document = try? JSONFileEdit(Array(before.utf8)) else { return }
        if (try? document.remove(at: path)) != nil { self.before = String(decoding: document.bytes, as: UTF8.self) }
    }

    /// The registries for which an empty helper was put into `credHelpers`.
    var registriesReadFromFile: Set<String> {
        Set(
            changes.compactMap { change in
                guard case .set(let path, .string(""), nil, _) = change, path.first == "credHelpers" else { return nil }
                return path.last
            }
        )
    }

    // MARK: - Undoing

    /// What undoing came to.
    struct Undone {
        /// What the file is to hold; `nil` if it is to be removed.
        var content: [UInt8]?
        /// What was left because somebody else changed it since.
        var left: [[String]]
        /// Whether that is the earlier content, byte for byte.
        var isExact: Bool
    }

    /// The access to give back, if it still is what we made of it.
    ///
    /// - Parameter current: who may read and write the file now.
    /// - Returns: who might before; `nil` if nothing is to be given back.
    func earlierAccess(insteadOf current: FileAccess?) -> FileAccess? {
        guard let access, access.given == current else { return nil }
        return access.before
    }

    /// Works out the file without our changes.
    ///
    /// - Parameters:
    ///   - current: what it holds now.
    ///   - indentation: what one level is indented by where the document does not say it.
    /// - Returns: what it is to hold.
    /// - Throws: what ``JSONFileEdit`` throws, if the file is not JSON any more.
    func undo(in current: [UInt8]?, indentation: String) throws -> Undone {
        if isExact, current.map(Self.fingerprint) == fingerprint {
            return Undone(content: before.map { Array($0.utf8) }, left: [], isExact: true)
        }
        guard let current else { return Undone(content: nil, left: [], isExact: before == nil) }
        var document = try JSONFileEdit(current, indentation: indentation)
        let original = document.bytes
        var left: [[String]] = []
        for change in changes.reversed() where try !Self.undo(change, in: &document) {
            left.append(change.path)
        }
        if before == nil, document.value == .object([]) { return Undone(content: nil, left: left, isExact: true) }
        let content = document.bytes == original ? current : document.bytes
        return Undone(content: content, left: left, isExact: before.map { Array($0.utf8) } == content)
    }

    fileprivate static func undo(_ change: Change, in document: inout JSONFileEdit) throws -> Bool {
        switch change {
        case .set(let path, let value, let before, let madeObjects):
            let current = document.value(at: path)
            guard current == value else { return current == before }
            if let before {
                try document.set(before, at: path)
            } else {
                try document.remove(at: path)
                try prune(madeObjects, above: path, in: &document)
            }
            return true
        case .removed(let path, let value):
            guard let current = document.value(at: path) else {
                try document.set(value, at: path)
                return true
            }
            return current == value
        case .appended(let path, let element, let madeList, let madeObjects):
            try document.removeElements(element, at: path)
            guard madeList, document.value(at: path) == .array([]) else { return true }
            try document.remove(at: path)
            try prune(madeObjects, above: path, in: &document)
            return true
        }
    }

    /// Removes objects that we made on the way to a value and that hold nothing any more.
    private static func prune(_ count: Int, above path: [String], in document: inout JSONFileEdit) throws {
        var path = path
        for _ in 0..<count {
            path.removeLast()
            guard document.value(at: path) == .object([]) else { return }
            try document.remove(at: path)
        }
    }
}

// MARK: - Recording

/// A document under change, and what was changed so far.
struct RecordedEdit {
    private(set) var document: JSONFileEdit
    private(set) var changes: [UndoRecord.Change] = []
    /// The earlier changes that are undone again.
    private var takenBack: [UndoRecord.Change] = []
    /// Whether the document is another than before.
    var isChanged: Bool { !changes.isEmpty || !takenBack.isEmpty }

    init(_ document: JSONFileEdit) {
        self.document = document
    }

    mutating func set(_ value: JSONValue, at path: [String]) throws {
        let before = document.value(at: path)
        guard before != value else { return }
        let made = try document.set(value, at: path)
        changes.append(.set(path, value, before: before, madeObjects: made))
    }

    mutating func remove(at path: [String]) throws {
        guard let before = try document.remove(at: path) else { return }
        changes.append(.removed(path, before))
    }

    mutating func append(_ element: JSONValue, at path: [String]) throws {
        guard document.value(at: path)?.elements?.contains(element) != true else { return }
        let made = try document.append(element, at: path)
        changes.append(.appended(path, element, madeList: made.madeList, madeObjects: made.madeObjects))
    }

    /// Undoes what an earlier setup put at a path, if it did.
    mutating func takeBack(_ path: [String], of earlier: UndoRecord?) throws {
        guard let change = earlier?.changes.first(where: { $0.path == path }),
            try UndoRecord.undo(change, in: &document)
        else { return }
        takenBack.append(change)
    }

    /// The record of these changes and of those made earlier that are still in the file.
    ///
    /// - Parameters:
    ///   - file: the file before these changes.
    ///   - earlier: the record of what was done to it before.
    /// - Returns: the record.
    func record(of file: SharedFile, after earlier: UndoRecord?) -> UndoRecord {
        let before = file.bytes.map { String(decoding: $0, as: UTF8.self) }
        let fingerprint = UndoRecord.fingerprint(of: document.bytes)
        guard let earlier else {
            return UndoRecord(
                path: file.target,
                before: before,
                fingerprint: fingerprint,
                isExact: true,
                changes: changes
            )
        }
        // A place that was changed again remembers what stood there first.
        let first = earlier.changes.filter { earlier in
            !takenBack.contains(earlier) && !changes.contains { $0.isAbout(earlier) }
        }
        let merged = first + changes.map { change in Self.merge(change, into: earlier.changes) }
        let isExact = earlier.isExact && file.bytes.map(UndoRecord.fingerprint) == earlier.fingerprint
        return UndoRecord(
            path: file.target,
            before: earlier.before,
            fingerprint: fingerprint,
            isExact: isExact,
            changes: merged,
            access: earlier.access
        )
    }

    private static func merge(_ change: UndoRecord.Change, into earlier: [UndoRecord.Change]) -> UndoRecord.Change {
        guard let first = earlier.first(where: change.isAbout) else { return change }
        switch (change, first) {
        case (.set(let path, let value, let before, let made), .set(_, let earlierValue, let first, let firstMade)):
            // Only if our value still stood there is the earlier one what a person had.
            guard before == earlierValue else { return .set(path, value, before: before, madeObjects: made) }
            return .set(path, value, before: first, madeObjects: max(made, firstMade))
        case (.appended(let path, let element, let madeList, let made), .appended(_, _, let firstList, let firstMade)):
            return .appended(path, element, madeList: madeList || firstList, madeObjects: max(made, firstMade))
        default: return change
        }
    }
}

// MARK: - As JSON

extension UndoRecord {
    /// The record as it is kept in a file.
    var json: JSONValue {
        var members = [JSONMember("path", .string(path))]
        if let before { members.append(JSONMember("before", .string(before))) }
        members.append(JSONMember("fingerprint", .string(fingerprint)))
        members.append(JSONMember("exact", .bool(isExact)))
        members.append(JSONMember("changes", .array(changes.map(\.json))))
        if let access {
            members.append(JSONMember("accessBefore", access.before.json))
            members.append(JSONMember("accessGiven", access.given.json))
        }
        return .object(members)
    }

    /// A record that was kept in a file, or `nil` if it is none.
    ///
    /// - Parameter json: what the file holds.
    init?(json: JSONValue) {
        guard let path = json.value(named: "path")?.text, let fingerprint = json.value(named: "fingerprint")?.text,
            case .bool(let isExact) = json.value(named: "exact") ?? .null,
            let elements = json.value(named: "changes")?.elements
        else { return nil }
        let changes = elements.compactMap(Change.init(json:))
        guard changes.count == elements.count else { return nil }
        var access: AccessChange?
        if let before = json.value(named: "accessBefore"), let given = json.value(named: "accessGiven") {
            guard let before = FileAccess(json: before), let given = FileAccess(json: given) else { return nil }
            access = AccessChange(before: before, given: given)
        }
        self.init(
            path: path,
            before: json.value(named: "before")?.text,
            fingerprint: fingerprint,
            isExact: isExact,
            changes: changes,
            access: access
        )
    }
}

extension FileAccess {
    var json: JSONValue {
        .object([
            JSONMember("mode", .string(octalMode)), JSONMember("owner", .number("\(owner)")),
            JSONMember("group", .number("\(group)")),
        ])
    }

    /// The permissions as `chmod` takes them, for example `0644`.
    var octalMode: String {
        let digits = String(mode, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }

    init?(json: JSONValue) {
        guard let mode = json.value(named: "mode")?.text.flatMap({ UInt32($0, radix: 8) }), mode <= 0o7777,
            case .number(let owner) = json.value(named: "owner") ?? .null, let owner = UInt32(owner),
            case .number(let group) = json.value(named: "group") ?? .null, let group = UInt32(group)
        else { return nil }
        self.init(mode: mode, owner: owner, group: group)
    }
}

extension UndoRecord.Change {
    var json: JSONValue {
        let place = JSONMember("at", .texts(path))
        switch self {
        case .set(_, let value, let before, let madeObjects):
            let earlier = before.map { [JSONMember("before", $0)] } ?? []
            return .object(
                [JSONMember("change", .string("set")), place, JSONMember("value", value)] + earlier
                    + [JSONMember("madeObjects", .number("\(madeObjects)"))]
            )
        case .removed(_, let value):
            return .object([JSONMember("change", .string("removed")), place, JSONMember("value", value)])
        case .appended(_, let element, let madeList, let madeObjects):
            return .object([
                JSONMember("change", .string("appended")), place, JSONMember("value", element),
                JSONMember("madeList", .bool(madeList)), JSONMember("madeObjects", .number("\(madeObjects)")),
            ])
        }
    }

    init?(json: JSONValue) {
        guard let names = json.value(named: "at")?.elements, let value = json.value(named: "value") else { return nil }
        let path = names.compactMap(\.text)
        var madeObjects = 0
        if case .number(let text) = json.value(named: "madeObjects") ?? .null { madeObjects = Int(text) ?? 0 }
        guard path.count == names.count, !path.isEmpty, (0..<path.count).contains(madeObjects) else { return nil }
        switch json.value(named: "change")?.text {
        case "set": self = .set(path, value, before: json.value(named: "before"), madeObjects: madeObjects)
        case "removed": self = .removed(path, value)
        case "appended":
            let madeList = json.value(named: "madeList") == .bool(true)
            self = .appended(path, value, madeList: madeList, madeObjects: madeObjects)
        default: return nil
        }
    }
}
