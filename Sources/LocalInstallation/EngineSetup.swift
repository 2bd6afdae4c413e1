import Glibc
import RegistryAccess

/// Adds the authorization plugin to the engine's `daemon.json`, and takes it out again.
///
/// What the file held before is kept in ``InstallationPaths/undoDirectory``, which is root's alone.
public struct EngineSetup: Sendable {
    private let paths: InstallationPaths

    /// The plugin's name, which Docker takes from its socket's.
    public static let plugin = "docker-ram"
    private static let key = ["authorization-plugins"]
    private static let indentation = "  "

    /// The engine's setup on a machine.
    ///
    /// - Parameter paths: where the machine's files are.
    public init(_ paths: InstallationPaths) {
        self.paths = paths
    }

    /// What `daemon.json` says.
    public struct State: Sendable, Equatable {
        /// Whether the file exists.
        public let isThere: Bool
        /// The authorization plugins in the order in which the engine asks them.
        public let plugins: [String]
        /// Where the engine writes its process id, if the file says so.
        public let pidFile: String?

        /// Whether our plugin is among them.
        public var isEnabled: Bool { plugins.contains(EngineSetup.plugin) }
    }

    /// What was done or would be done.
    public struct Change: Sendable, Equatable {
        /// One line for every change.
        public var changes: [String] = []
        /// Whether the engine has to read its file again.
        public var isReloadNeeded: Bool { !changes.isEmpty }
    }

    private var recordPath: String { "\(paths.undoDirectory)/daemon.json" }

    /// Reads `daemon.json`.
    ///
    /// - Returns: what it says.
    /// - Throws: ``FileError`` or ``UnusableFile``.
    public func state() throws -> State {
        let file = try SharedFile(paths.dockerDaemonConfig)
        let document = try Self.read(file)
        let plugins = document.value(at: Self.key)?.elements?.compactMap(\.text) ?? []
        return State(
            isThere: file.bytes != nil,
            plugins: plugins,
            pidFile: document.value(at: ["pidfile"])?.text
        )
    }

    /// The file to change; under another root than `/`, links in it must not lead to the machine's own file.
    private func fileToChange() throws -> SharedFile {
        let file = try SharedFile(paths.dockerDaemonConfig)
        var directory = Files.directory(of: file.target)
        while directory != "/", (try? Files.status(directory)) == nil { directory = Files.directory(of: directory) }
        guard let root = Self.realPath(paths.root), let place = Self.realPath(directory) else { return file }
        guard root == "/" || place == root || place.hasPrefix("\(root)/") else {
            throw UnusableFile(path: file.path, reason: "it is a link that leads out of \"\(paths.root)\"")
        }
        return file
    }

    private static func realPath(_ path: String) -> String? {
        guard let real = realpath(path, nil) else { return nil }
        defer { free(real) }
        return String(cString: real)
    }

    private static func read(_ file: SharedFile) throws(UnusableFile) -> JSONFileEdit {
        let document = try UnusableFile.read(file, indentation: indentation)
        switch document.value(at: key) {
        case nil, .null: return document
        case .array(let elements) where elements.allSatisfy({ $0.text != nil }): return document
        default:
            throw UnusableFile(path: file.path, reason: "\"authorization-plugins\" in it is not a list of names")
        }
    }

    /// Puts our plugin behind the others; doing it twice changes nothing more.
    ///
    /// The engine asks the plugins in their order and stops at the first that refuses, so the place does not matter
    /// for what is refused; the last one changes the least for those that were there.
    ///
    /// - Parameter isDryRun: whether to say only what would be done.
    /// - Returns: what was done.
    /// - Throws: ``FileError`` or ``UnusableFile``; the file is then as it was.
    public func enable(isDryRun: Bool) throws -> Change {
        let file = try fileToChange()
        var edit = RecordedEdit(try Self.read(file))
        try edit.append(.string(Self.plugin), at: Self.key)
        guard !edit.changes.isEmpty else { return Change() }
        var change = Change()
        if file.bytes == nil { change.changes.append("+ \(file.path)") }
        change.changes.append("+ \(file.path): authorization-plugins \"\(Self.plugin)\"")
        guard !isDryRun else { return change }

        let earlier = try readRecord()
        let directory = Files.directory(of: file.target)
        let madeDirectory = (try? Files.status(directory)) == nil
        try Files.makeDirectory(directory)
        try Files.makeDirectory(paths.undoDirectory, mode: 0o700)
        let record = edit.record(of: file, after: earlier?.record)
        let members = [
            JSONMember("version", .number("1")),
            JSONMember("file", record.json),
            JSONMember("madeDirectory", .bool(madeDirectory || earlier?.madeDirectory == true)),
        ]
        let text = JSONValue.object(members).text(indentation: "  ") + "\n"
        try SharedFile(recordPath).replace(with: Array(text.utf8))
        try file.replace(with: edit.document.bytes, mode: 0o644)
        return change
    }

    /// Takes our plugin out: the earlier bytes where nobody else changed the file since, otherwise only our entry.
    ///
    /// - Parameter isDryRun: whether to say only what would be done.
    /// - Returns: what was done.
    /// - Throws: ``FileError`` or ``UnusableFile``; the file is then as it was.
    public func disable(isDryRun: Bool) throws -> Change {
        let file = try fileToChange()
        var document = try Self.read(file)
        let earlier = try readRecord()
        let content: [UInt8]?
        if let earlier {
            content = try earlier.record.undo(in: file.bytes, indentation: Self.indentation).content
        } else {
            content = try document.removeElements(.string(Self.plugin), at: Self.key) ? document.bytes : file.bytes
        }
        var change = Change()
        if content == nil, file.bytes != nil { change.changes.append("- \(file.path)") }
        if let content, content != file.bytes {
            change.changes.append("- \(file.path): authorization-plugins \"\(Self.plugin)\"")
        }
        guard !isDryRun else { return change }
        if let content {
            if content != file.bytes { try file.replace(with: content, mode: 0o644) }
        } else {
            try file.remove()
        }
        if let earlier {
            try SharedFile(recordPath).remove()
            // Both fail, as they should, where something else is in them.
            rmdir(paths.undoDirectory)
            if earlier.madeDirectory { rmdir(Files.directory(of: file.target)) }
        }
        return change
    }

    private func readRecord() throws -> (record: UndoRecord, madeDirectory: Bool)? {
        let file = try SharedFile(recordPath)
        guard let bytes = file.bytes else { return nil }
        guard let json = try? StrictJSON.parse(bytes, limits: .init(bytes: 2 * SharedFile.longest)),
            json.value(named: "version") == .number("1"),
            let record = json.value(named: "file").flatMap(UndoRecord.init(json:))
        else {
            throw UnusableFile(path: recordPath, reason: "it is not a record that this version of docker-ram wrote")
        }
        return (record, json.value(named: "madeDirectory") == .bool(true))
    }
}
