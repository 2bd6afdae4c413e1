import Glibc
import RegistryAccess

/// What is to be done to the files of a machine, collected first and done at once, so that a dry run says what a real
/// one does.
struct EngineSetupWork {
    let paths: InstallationPaths
    /// What is said about it.
    var change = EngineSetup.Change()
    /// The access that `daemon.json` gets, if another than before.
    private(set) var newAccess: FileAccess?
    private var record: EngineSetupRecord?
    private var config: Replacement?
    private var settings: Replacement?
    private var written: [Replacement] = []

    private struct Replacement {
        let file: SharedFile
        /// `nil` removes the file.
        let content: [UInt8]?
        let mode: UInt32
        let access: FileAccess?
        var record: UndoRecord?

        func perform() throws {
            guard let content else { return try file.remove() }
            try file.replace(with: content, mode: mode, access: access)
        }
    }

    init(paths: InstallationPaths, record: EngineSetupRecord?) {
        self.paths = paths
        self.record = record
    }

    // MARK: - daemon.json

    /// Makes the file its owner's alone.
    ///
    /// - Returns: what is to be remembered of that.
    mutating func conceal(
        _ file: SharedFile,
        after earlier: UndoRecord.AccessChange?
    ) throws -> UndoRecord.AccessChange? {
        let before = file.access ?? FileAccess(mode: 0o644)
        guard before.mode & 0o077 != 0 else { return earlier }
        var given = before
        given.mode = before.mode & 0o700
        newAccess = given
        let from = file.access == nil ? "" : "\(before.octalMode) -> "
        change.changes.append("~ \(file.path): mode \(from)\(given.octalMode), as it holds a secret")
        return UndoRecord.AccessChange(before: earlier?.before ?? before, given: given)
    }

    /// Gives the file the access back that it had before.
    ///
    /// - Returns: what is to be remembered of that.
    mutating func reveal(
        _ file: SharedFile,
        _ earlier: UndoRecord.AccessChange?
    ) throws -> UndoRecord.AccessChange? {
        guard let earlier, earlier.given == file.access else { return nil }
        newAccess = earlier.before
        change.changes.append("~ \(file.path): mode \(earlier.given.octalMode) -> \(earlier.before.octalMode)")
        return nil
    }

    /// Replaces `daemon.json`.
    mutating func replace(_ file: SharedFile, with content: [UInt8], mode: UInt32, record: UndoRecord) {
        config = Replacement(file: file, content: content, mode: mode, access: newAccess, record: record)
    }

    /// Gives `daemon.json` its earlier content back; `nil` removes it.
    mutating func putBack(_ file: SharedFile, _ content: [UInt8]?, mode: UInt32, access: FileAccess?) {
        config = Replacement(file: file, content: content, mode: mode, access: access)
    }

    // MARK: - The drop-in

    private static let header =
        "# Written by \"docker ram engine enable\", taken back by \"docker ram engine disable\"."

    /// Has systemd give the engine an environment.
    mutating func putDropIn(_ settings: EngineProxySettings, dropIn: SharedFile, environment: SharedFile) throws {
        let path = paths.proxyEnvironment.dropFirst(paths.prefix.count)
        let unit = """
            \(Self.header)
            # The environment is in a file of its own because it holds a secret, and systemd shows Environment= to everybody.
            # Docker does not start without that file: it would reach every registry.
            [Service]
            EnvironmentFile=\(path)

            """
        let variables = settings.environment.map { "\($0.name)=\($0.value)\n" }.joined()
        let text = "# Written by \"docker ram engine enable\"; it holds a secret.\n\(variables)"
        put(Array(text.utf8), in: environment, access: FileAccess(mode: 0o600), words: " (mode 0600)")
        put(Array(unit.utf8), in: dropIn, access: FileAccess(mode: 0o644), words: "")
    }

    private mutating func put(_ content: [UInt8], in file: SharedFile, access: FileAccess, words: String) {
        guard file.bytes != content || file.access != access else { return }
        change.changes.append("\(file.bytes == nil ? "+" : "~") \(file.path)\(words)")
        change.isUnitChanged = true
        change.isRestartNeeded = true
        written.append(Replacement(file: file, content: content, mode: access.mode, access: access))
    }

    /// Takes our drop-in and its environment back, and gives back what was there before.
    mutating func takeBackDropIn() throws {
        var files = record?.files ?? []
        // Without a record what we wrote goes all the same.
        if files.isEmpty, let unit = try SharedFile(paths.proxyDropIn).bytes, unit.starts(with: Self.header.utf8) {
            files = [paths.proxyEnvironment, paths.proxyDropIn].map { path in
                EngineSetupRecord.WrittenFile(path: path, before: nil, access: nil)
            }
        }
        for file in files.reversed() {
            let current = try SharedFile(file.path)
            let before = file.before.map { Array($0.utf8) }
            guard current.bytes != before else { continue }
            change.changes.append("\(before == nil ? "-" : "~") \(file.path)")
            change.isUnitChanged = true
            change.isRestartNeeded = true
            written.append(Replacement(file: current, content: before, mode: 0o600, access: file.access))
        }
    }

    // MARK: - The settings of docker-ramd

    /// Has the egress proxy go through the proxy that the engine went through.
    mutating func takeOver(_ proxy: TakenOverProxy, settings file: SharedFile) throws {
        let document = try UnusableFile.read(file, indentation: "  ")
        var edit = RecordedEdit(document)
        let upstream = ["egressProxy", "upstream"]
        let noProxy = ["egressProxy", "noProxy"]
        // What an administrator set goes before what the engine used.
        func isOurs(_ path: [String]) -> Bool {
            guard let value = document.value(at: path) else { return true }
            return record?.settings?.changes.contains { change in
                if case .set(path, value, _, _) = change { true } else { false }
            } == true
        }
        guard isOurs(upstream) else { return }
        try edit.set(.string(proxy.url.text), at: upstream)
        if isOurs(noProxy), !proxy.noProxy.isEmpty || document.value(at: noProxy) != nil {
            try edit.set(.texts(proxy.noProxy), at: noProxy)
        }
        guard edit.isChanged else { return }
        do throws(InvalidJSON) {
            _ = try DaemonSettings(json: edit.document.bytes)
        } catch {
            throw UnusableFile(path: file.path, reason: "the engine's proxy does not fit into it: \(error)")
        }
        let sign = file.bytes == nil ? "+" : "~"
        change.changes.append("\(sign) \(file.path): egressProxy.upstream \"\(proxy.address)\"")
        change.isDaemonRestartNeeded = true
        var undo = edit.record(of: file, after: record?.settings)
        let access = try self.access(to: file)
        if let access, let before = file.access {
            undo.access = UndoRecord.AccessChange(before: undo.access?.before ?? before, given: access)
            let modes = "\(before.octalMode) -> \(access.octalMode)"
            change.changes.append("~ \(file.path): mode \(modes), as it may hold a secret")
        }
        settings = Replacement(file: file, content: edit.document.bytes, mode: 0o640, access: access, record: undo)
    }

    /// The access that keeps the file from everybody but root and docker-ramd; `nil` if it has such already.
    private func access(to file: SharedFile) throws -> FileAccess? {
        if let access = file.access, access.mode & 0o007 == 0 { return nil }
        let owner = file.access?.owner ?? geteuid()
        // docker-ramd runs as the owner of its state directory and reads the file through the group.
        let group = (try? Files.status(paths.stateDirectory).group) ?? file.access?.group ?? getegid()
        return FileAccess(mode: 0o640, owner: owner, group: group)
    }

    /// Takes back what was done to the settings.
    mutating func takeBack(_ undo: UndoRecord, file: SharedFile) throws {
        let content = try undo.undo(in: file.bytes, indentation: "  ").content
        let access = undo.earlierAccess(insteadOf: file.access)
        guard content != file.bytes || (access != nil && content != nil) else { return }
        change.changes.append("\(content == nil ? "-" : "~") \(file.path)\(content == nil ? "" : ": egressProxy")")
        change.isDaemonRestartNeeded = true
        settings = Replacement(file: file, content: content, mode: 0o640, access: access)
    }

    // MARK: - Doing it

    /// Does what is to be done, the record first: whoever is interrupted can still take everything back.
    mutating func perform(recordPath: String) throws {
        guard config != nil || settings != nil || !written.isEmpty else { return }
        let configRecord = try config?.record ?? record?.config ?? unchangedConfig()
        var new = record ?? EngineSetupRecord(config: configRecord)
        new.config = configRecord
        new.settings = settings?.record ?? new.settings
        for replacement in [config, settings].compactMap(\.self) + written where replacement.content != nil {
            new.madeDirectories += try makeDirectory(of: replacement.file)
        }
        for replacement in written {
            if replacement.content == nil {
                new.files.removeAll { $0.path == replacement.file.path }
            } else if !new.files.contains(where: { $0.path == replacement.file.path }) {
                let before = replacement.file.bytes.map { String(decoding: $0, as: UTF8.self) }
                let file = EngineSetupRecord.WrittenFile(
                    path: replacement.file.path,
                    before: before,
                    access: replacement.file.access
                )
                new.files.append(file)
            }
        }
        try Files.makeDirectory(paths.undoDirectory, mode: 0o700)
        try new.write(recordPath)
        // daemon.json last: nothing that the engine is told is missing then.
        for replacement in written + [settings, config].compactMap(\.self) { try replacement.perform() }
    }

    /// The record of a `daemon.json` in which nothing was to be changed, because a person had written it all.
    private func unchangedConfig() throws -> UndoRecord {
        let file = try SharedFile(paths.dockerDaemonConfig)
        return RecordedEdit(try UnusableFile.read(file, indentation: "  ")).record(of: file, after: nil)
    }

    /// Makes the directory of a file.
    ///
    /// - Returns: the directories that were missing, the uppermost first.
    private func makeDirectory(of file: SharedFile) throws -> [String] {
        var missing: [String] = []
        var directory = Files.directory(of: file.target)
        while directory != "/", (try? Files.status(directory)) == nil {
            missing.insert(directory, at: 0)
            directory = Files.directory(of: directory)
        }
        try Files.makeDirectory(Files.directory(of: file.target))
        return missing
    }

    /// Takes back what is to be taken back, `daemon.json` first.
    func undo() throws {
        for replacement in [config, settings].compactMap(\.self) + written { try replacement.perform() }
    }
}
