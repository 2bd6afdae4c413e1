import Glibc
import LocalInstallation
import RegistryAccess

/// How far the decision log has been read.
///
/// A file of the log is known by how it begins, with the name and the time of its first decision: that stays so when the
/// file is put aside, and no other file begins like it.
struct LogPosition: Hashable, Sendable {
    /// How many bytes of the beginning tell one file from another; every record is longer.
    static let headLength = 80

    /// How the file begins; `nil` stands before all files.
    var head: String?
    /// Where in the file the next line begins.
    var offset = 0
}

/// Refusals that stand in the decision log behind a position.
struct RefusalReading {
    /// The longest text of a refusal that the server takes.
    private static let longestText = 300
    /// How much is read at once, and the longest line.
    private static let block = 1 << 20

    /// The refusals as reports have them, the oldest first.
    private(set) var refusals: [JSONValue] = []
    /// How many lines record refusals that cannot be told.
    private(set) var unusable = 0
    /// Where the next reading begins.
    private(set) var position: LogPosition
    /// Whether everything is read.
    private(set) var isComplete = true
    /// Whether the file of the position is gone, so that some lines may have been missed.
    private(set) var hasGap = false

    private let organization: String
    private let mostRefusals: Int
    private let mostBytes: Int
    private let userName: @Sendable (uid_t) -> String?
    private var bytes = 0
    /// The names of users by their numbers; `nil`: there is none.
    private var names: [uid_t: String?] = [:]

    /// Reads on.
    ///
    /// - Parameters:
    ///   - path: the newest file of the log.
    ///   - position: how far it has been read.
    ///   - organization: whose refusals are wanted; what was decided under the policy of another one is passed over.
    ///   - mostRefusals: how many are read at most.
    ///   - mostBytes: how long they may be together.
    ///   - userName: what this machine calls a user; `nil`: nothing.
    init(
        of path: String,
        behind position: LogPosition,
        organization: String,
        mostRefusals: Int,
        mostBytes: Int = 512 << 10,
        userName: @escaping @Sendable (uid_t) -> String? = Self.userName
    ) {
        self.position = position
        self.organization = organization
        self.mostRefusals = mostRefusals
        self.mostBytes = mostBytes
        self.userName = userName
        let files = LogFile.open(path)
        defer { for file in files { close(file.descriptor) } }
        for (index, file) in files.enumerated() where isBehind(file.head, index, files.map(\.head)) {
            read(file.descriptor, file.head)
            guard isComplete else { return }
        }
    }

    /// Where the decision log ends now.
    ///
    /// - Parameter path: its newest file.
    /// - Returns: behind its last line.
    static func end(of path: String) -> LogPosition {
        var position = LogPosition()
        while true {
            let reading = RefusalReading(of: path, behind: position, organization: "", mostRefusals: .max)
            position = reading.position
            if reading.isComplete { return position }
        }
    }

    /// Whether a file is the one of the position or a later one.
    private mutating func isBehind(_ head: String, _ index: Int, _ heads: [String]) -> Bool {
        guard let known = position.head else { return true }
        if let place = heads.firstIndex(of: known) { return index >= place }
        hasGap = true
        // Older files have been read before that one.
        return Self.time(known) < Self.time(head)
    }

    private static func time(_ head: String) -> String {
        DecisionHistory.time(of: Array(head.utf8)[...]).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    private mutating func read(_ descriptor: CInt, _ head: String) {
        var offset = position.head == head ? position.offset : 0
        while true {
            let block = [UInt8](unsafeUninitializedCapacity: Self.block) { buffer, count in
                count = max(0, pread(descriptor, buffer.baseAddress, Self.block, off_t(offset)))
            }
            guard let end = block.lastIndex(of: UInt8(ascii: "\n")) else {
                guard block.count == Self.block else { return }
                // No record is that long.
                offset += block.count
                continue
            }
            for line in block[..<end].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
                take(line)
                offset += line.count + 1
                position = LogPosition(head: head, offset: offset)
                guard refusals.count < mostRefusals, bytes < mostBytes else { return isComplete = false }
            }
        }
    }

    private mutating func take(_ line: ArraySlice<UInt8>) {
        // What a crash left of a line is none.
        guard line.first == UInt8(ascii: "{"), line.last == UInt8(ascii: "}"), !DecisionHistory.isAllowed(line) else {
            return
        }
        let record = try? StrictJSON.parse(Array(line), limits: StrictJSON.Limits(bytes: Self.block, depth: 4))
        let decider = record?.value(named: "organization")?.text
        guard decider == nil || decider == organization else { return }
        guard let record, let refusal = refusal(record) else { return unusable += 1 }
        refusals.append(refusal)
        bytes += refusal.text().utf8.count
    }

    /// What is told of a record; the image is not.
    private mutating func refusal(_ record: JSONValue) -> JSONValue? {
        var members: [JSONMember] = []
        for name in ["id", "time", "registry", "action", "verdict", "rule", "point", "user"] {
            switch record.value(named: name) {
            case .string(let text):
                guard Self.isText(text) else { return nil }
                members.append(JSONMember(name, .string(text)))
            case .number(let digits) where name == "user":
                members.append(JSONMember(name, self.name(of: digits).map { .string($0) } ?? .number(digits)))
            case .null, nil: continue
            default: return nil
            }
        }
        let refusal = JSONValue.object(members)
        guard let verdict = refusal.value(named: "verdict")?.text.flatMap(Verdict.Outcome.init), verdict != .allow,
            refusal.value(named: "point")?.text.flatMap(DecisionRecord.Point.init) != nil,
            refusal.value(named: "time")?.text.map(DecisionHistory.isTime) == true,
            refusal.value(named: "id") != nil
        else { return nil }
        return refusal
    }
}

extension RefusalReading {
    private static func isText(_ text: String) -> Bool {
        (1...longestText).contains(text.utf8.count) && text.utf8.allSatisfy { (0x20...0x7E).contains($0) }
    }

    /// What people call a user of this machine.
    private mutating func name(of digits: String) -> String? {
        guard let user = uid_t(digits) else { return nil }
        if let known = names[user] { return known }
        // One that is all digits would be taken for somebody else's number.
        let name = userName(user).flatMap { name in
            Self.isText(name) && !name.utf8.allSatisfy { (0x30...0x39).contains($0) } ? name : nil
        }
        names[user] = .some(name)
        return name
    }

    /// What the system's user database calls a user.
    private static func userName(_ user: uid_t) -> String? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16 << 10)
        guard getpwuid_r(user, &entry, &buffer, buffer.count, &found) == 0, found != nil, let name = entry.pw_name
        else { return nil }
        return String(cString: name)
    }
}

/// A file of the decision log, open.
private struct LogFile {
    let descriptor: CInt
    let head: String

    /// Opens all files, the oldest first; who calls it closes them.
    static func open(_ path: String) -> [LogFile] {
        var newestFirst: [LogFile] = []
        // The newest first: a file that is put aside meanwhile is found twice and not missed.
        for index in 0..<100 {
            let name = index == 0 ? path : "\(path).\(index)"
            let descriptor = Glibc.open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)
            guard descriptor >= 0 else {
                if index > 0 { break }
                continue
            }
            if let head = head(of: descriptor), !newestFirst.contains(where: { $0.head == head }) {
                newestFirst.append(LogFile(descriptor: descriptor, head: head))
            } else {
                close(descriptor)
            }
        }
        return newestFirst.reversed()
    }

    /// How a file begins; `nil` if nothing of use is in it.
    private static func head(of descriptor: CInt) -> String? {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        var bytes = [UInt8](repeating: 0, count: LogPosition.headLength)
        guard pread(descriptor, &bytes, bytes.count, 0) == bytes.count else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
}
