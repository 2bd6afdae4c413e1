import Glibc
import RegistryAccess

/// How the setup of an engine is taken back.
struct EngineSetupRecord: Sendable, Equatable {
    /// What was done to the engine's `daemon.json`.
    var config: UndoRecord
    /// What was done to the settings of docker-ramd.
    var settings: UndoRecord?
    /// The files of ours that were written.
    var files: [WrittenFile] = []
    /// The directories that were not there before, in the order in which they were made.
    var madeDirectories: [String] = []

    /// A file that is ours as a whole.
    struct WrittenFile: Sendable, Equatable {
        let path: String
        /// What was there before; `nil` if nothing was.
        let before: String?
        /// Who might read and write that.
        let access: FileAccess?

        init(path: String, before: String?, access: FileAccess?) {
            self.path = path
            self.before = before
            self.access = access
        }
    }

    /// Reads the record that is kept in a file.
    ///
    /// - Returns: `nil` if there is none.
    /// - Throws: ``UnusableFile`` if there is something else; ``FileError``.
    static func read(_ path: String) throws -> EngineSetupRecord? {
        guard let bytes = try SharedFile(path).bytes else { return nil }
        guard let json = try? StrictJSON.parse(bytes, limits: .init(bytes: 4 * SharedFile.longest)),
            json.value(named: "version") == .number("1"), let record = EngineSetupRecord(json: json)
        else {
            throw UnusableFile(path: path, reason: "it is not a record that this version of docker-ram wrote")
        }
        return record
    }

    func write(_ path: String) throws {
        try SharedFile(path).replace(with: Array((json.text(indentation: "  ") + "\n").utf8))
    }

    // MARK: - As JSON

    init(config: UndoRecord) {
        self.config = config
    }

    init?(json: JSONValue) {
        guard let config = json.value(named: "file").flatMap(UndoRecord.init(json:)) else { return nil }
        self.config = config
        if let settings = json.value(named: "settings") {
            guard let settings = UndoRecord(json: settings) else { return nil }
            self.settings = settings
        }
        let elements = json.value(named: "written")?.elements ?? []
        files = elements.compactMap(WrittenFile.init(json:))
        guard files.count == elements.count else { return nil }
        madeDirectories = (json.value(named: "madeDirectories")?.elements ?? []).compactMap(\.text)
        // So wrote the version that knew daemon.json only.
        if json.value(named: "madeDirectory") == .bool(true), madeDirectories.isEmpty {
            madeDirectories = [Files.directory(of: config.path)]
        }
    }

    var json: JSONValue {
        var members = [JSONMember("version", .number("1")), JSONMember("file", config.json)]
        if let settings { members.append(JSONMember("settings", settings.json)) }
        members.append(JSONMember("written", .array(files.map(\.json))))
        members.append(JSONMember("madeDirectories", .texts(madeDirectories)))
        return .object(members)
    }
}

extension EngineSetupRecord.WrittenFile {
    init?(json: JSONValue) {
        guard let path = json.value(named: "path")?.text else { return nil }
        self.path = path
        before = json.value(named: "before")?.text
        access = json.value(named: "access").flatMap(FileAccess.init(json:))
        if before != nil, access == nil { return nil }
    }

    var json: JSONValue {
        var members = [JSONMember("path", .string(path))]
        if let before { members.append(JSONMember("before", .string(before))) }
        if let access { members.append(JSONMember("access", access.json)) }
        return .object(members)
    }
}
