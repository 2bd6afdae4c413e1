import Glibc
import RegistryAccess

/// The files that make systemd lock the engine's service in, and their removal.
///
/// Both are ours from the first byte to the last. What was written is kept in ``InstallationPaths/undoDirectory``, so
/// that a file that somebody changed since is told from ours.
public struct Lockdown: Sendable {
    private let paths: InstallationPaths

    /// The lockdown of a machine.
    ///
    /// - Parameter paths: where the machine's files are.
    public init(_ paths: InstallationPaths) {
        self.paths = paths
    }

    /// What the files say.
    public struct State: Sendable, Equatable {
        /// Whether both files are there as we wrote them.
        public let isEnabled: Bool
        /// The rules as they were written; `nil` if there are none.
        public let rules: String?
        /// What is wrong with the files, if something is.
        public let problem: String?
    }

    private var recordPath: String { "\(paths.undoDirectory)/lockdown" }

    /// Looks at the files.
    ///
    /// - Returns: what they say.
    /// - Throws: ``FileError`` or ``UnusableFile``; without root the record cannot be read.
    public func state() throws -> State {
        let rules = try SharedFile(paths.lockdownRules)
        let dropIn = try SharedFile(paths.lockdownDropIn)
        let record = try readRecord()
        var problem: String?
        for (file, fingerprint) in [(rules, record?.rules), (dropIn, record?.dropIn)] {
            if let bytes = file.bytes, UndoRecord.fingerprint(of: bytes) != fingerprint {
                problem = "\"\(file.path)\" was not written by this command, or was changed since"
            } else if file.bytes == nil, record != nil {
                problem = "\"\(file.path)\" is missing"
            }
        }
        return State(
            isEnabled: record != nil && problem == nil,
            rules: rules.bytes.map { String(decoding: $0, as: UTF8.self) },
            problem: problem
        )
    }

    /// Writes the files; doing it twice changes nothing more.
    ///
    /// - Parameters:
    ///   - rules: the rules.
    ///   - nft: the path of nft, which systemd starts.
    ///   - isDryRun: whether to say only what would be done.
    /// - Returns: a line for every change.
    /// - Throws: ``FileError``, or ``UnusableFile`` if there is a file that is not as we wrote it.
    public func enable(_ rules: LockdownRules, nft: String, isDryRun: Bool) throws -> [String] {
        let earlier = try readRecord()
        let files = [
            (file: try SharedFile(paths.lockdownRules), text: rules.text, fingerprint: earlier?.rules),
            (file: try SharedFile(paths.lockdownDropIn), text: dropIn(nft), fingerprint: earlier?.dropIn),
        ]
        for (file, _, fingerprint) in files {
            guard let bytes = file.bytes else { continue }
            guard UndoRecord.fingerprint(of: bytes) == fingerprint else { throw Self.notOurs(file) }
        }
        let changed = files.filter { $0.file.bytes.map { String(decoding: $0, as: UTF8.self) } != $0.text }
        let changes = changed.map { "+ \($0.file.path)" }
        guard !isDryRun, !changed.isEmpty else { return changes }

        var made = earlier?.madeDirectories ?? []
        for file in [paths.lockdownRules, paths.lockdownDropIn] {
            let directory = Files.directory(of: file)
            if (try? Files.status(directory)) == nil { made.append(directory) }
            try Files.makeDirectory(directory)
        }
        try Files.makeDirectory(paths.undoDirectory, mode: 0o700)
        let record = Record(
            rules: UndoRecord.fingerprint(of: Array(files[0].text.utf8)),
            dropIn: UndoRecord.fingerprint(of: Array(files[1].text.utf8)),
            madeDirectories: made
        )
        try SharedFile(recordPath).replace(with: Array((record.json.text(indentation: "  ") + "\n").utf8))
        // The rules first: a drop-in without them keeps Docker from starting.
        for (file, text, _) in changed { try file.replace(with: Array(text.utf8), mode: 0o644) }
        return changes
    }

    /// Removes the files.
    ///
    /// Rules that somebody changed since are left, as nothing loads them any more.
    ///
    /// - Parameter isDryRun: whether to say only what would be done.
    /// - Returns: a line for every change, `- ` before what was removed and `= ` before what was left.
    /// - Throws: ``FileError``, or ``UnusableFile`` if somebody changed the drop-in; nothing is removed then.
    public func disable(isDryRun: Bool) throws -> [String] {
        guard let record = try readRecord() else { return [] }
        let dropIn = try SharedFile(paths.lockdownDropIn)
        if let bytes = dropIn.bytes, UndoRecord.fingerprint(of: bytes) != record.dropIn { throw Self.notOurs(dropIn) }
        let rules = try SharedFile(paths.lockdownRules)
        let areOurs = rules.bytes.map { UndoRecord.fingerprint(of: $0) == record.rules } ?? true
        var changes: [String] = []
        if dropIn.bytes != nil { changes.append("- \(dropIn.path)") }
        if rules.bytes != nil {
            changes.append(areOurs ? "- \(rules.path)" : "= \(rules.path), which was changed since")
        }
        guard !isDryRun else { return changes }
        try dropIn.remove()
        if areOurs { try rules.remove() }
        try SharedFile(recordPath).remove()
        // Both fail, as they should, where something else is in them.
        rmdir(paths.undoDirectory)
        for directory in record.madeDirectories.reversed() { rmdir(directory) }
        return changes
    }

    /// What systemd does with every start and stop of Docker; paths are those of the running machine.
    private func dropIn(_ nft: String) -> String {
        """
        # Written by "docker ram engine lockdown enable"; "docker ram engine lockdown disable" takes it away.
        # The cgroup of a service is another one after each start, so the rules are loaded each time. Docker does not
        # start where they cannot be loaded.
        [Service]
        ExecStartPre=+\(nft) -f \(InstallationPaths().lockdownRules)
        ExecStopPost=-+\(nft) delete table inet \(LockdownRules.table)

        """
    }

    private static func notOurs(_ file: SharedFile) -> UnusableFile {
        UnusableFile(
            path: file.path,
            reason: "it was not written by this command, or was changed since; move it away and try again"
        )
    }

    // MARK: - The record

    private struct Record {
        let rules: String
        let dropIn: String
        let madeDirectories: [String]

        var json: JSONValue {
            .object([
                JSONMember("version", .number("1")), JSONMember("rules", .string(rules)),
                JSONMember("dropIn", .string(dropIn)),
                JSONMember("madeDirectories", .texts(madeDirectories)),
            ])
        }
    }

    private func readRecord() throws -> Record? {
        let file = try SharedFile(recordPath)
        guard let bytes = file.bytes else { return nil }
        guard let json = try? StrictJSON.parse(bytes), json.value(named: "version") == .number("1"),
            let rules = json.value(named: "rules")?.text, let dropIn = json.value(named: "dropIn")?.text,
            let made = json.value(named: "madeDirectories")?.elements
        else {
            throw UnusableFile(path: recordPath, reason: "it is not a record that this version of docker-ram wrote")
        }
        return Record(rules: rules, dropIn: dropIn, madeDirectories: made.compactMap(\.text))
    }
}
