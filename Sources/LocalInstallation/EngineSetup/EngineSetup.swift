import Glibc
import RegistryAccess

/// Has the engine ask the authorization plugin and use the egress proxy, and takes that back.
///
/// The plugin stands in the engine's `daemon.json`. The proxy stands there too, or in the environment of
/// `docker.service` (``EngineProxy/Place``). A proxy that the engine went through until now becomes the egress proxy's
/// own. What the files held before is kept in ``InstallationPaths/undoDirectory``, which is root's alone.
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

    /// What the files say.
    public struct State: Sendable, Equatable {
        /// Whether `daemon.json` exists.
        public let isThere: Bool
        /// The authorization plugins in the order in which the engine asks them.
        public let plugins: [String]
        /// The proxies that `daemon.json` names.
        public let proxies: EngineProxySettings
        /// The proxies that our drop-in of `docker.service` names; `nil` if there is none.
        public let dropIn: EngineProxySettings?
        /// Where the engine writes its process id, if `daemon.json` says so.
        public let pidFile: String?
        /// The addresses that the engine listens on, if `daemon.json` says so.
        public let hosts: [String]

        /// Whether our plugin is among them.
        public var isEnabled: Bool { plugins.contains(EngineSetup.plugin) }

        /// Where the engine is told to use a proxy, if it is.
        ///
        /// - Parameter url: the address of the proxy, secret included.
        /// - Returns: `nil` if it is not, or only in part, or with an exception.
        public func place(of url: Secret) -> EngineProxy.Place? {
            let wanted = EngineProxySettings(httpProxy: url, httpsProxy: url, noProxy: EngineProxy.noProxy)
            if proxies == wanted { return .daemonConfig }
            // What daemon.json says goes before the environment.
            return proxies.isEmpty && dropIn == wanted ? .systemdDropIn : nil
        }
    }

    /// What was done or would be done.
    public struct Change: Sendable, Equatable {
        /// One line for every change.
        public var changes: [String] = []
        /// Whether the engine has to read its list of plugins again.
        public var isReloadNeeded = false
        /// Whether the engine has to be started again, because it reads its proxy at its start only.
        public var isRestartNeeded = false
        /// Whether docker-ramd has to be started again, because it reads its settings at its start only.
        public var isDaemonRestartNeeded = false
        /// Whether systemd has to read its units again.
        public var isUnitChanged = false
    }

    private var recordPath: String { "\(paths.undoDirectory)/daemon.json" }

    // MARK: - Reading

    /// Reads `daemon.json` and our drop-in.
    ///
    /// - Returns: what they say.
    /// - Throws: ``FileError`` or ``UnusableFile``.
    public func state() throws -> State {
        let file = try SharedFile(paths.dockerDaemonConfig)
        let document = try Self.read(file)
        var dropIn: EngineProxySettings?
        if try SharedFile(paths.proxyDropIn).bytes != nil {
            let text = String(decoding: try SharedFile(paths.proxyEnvironment).bytes ?? [], as: UTF8.self)
            let variables = UnitText.variables(in: text, isShell: false)
            dropIn = EngineProxySettings(
                environment: Dictionary(variables.map { ($0.name, $0.value) }) { _, last in last }
            )
        }
        return State(
            isThere: file.bytes != nil,
            plugins: document.value(at: Self.key)?.elements?.compactMap(\.text) ?? [],
            proxies: DaemonConfigProxies.settings(in: document),
            dropIn: dropIn,
            pidFile: document.value(at: ["pidfile"])?.text,
            hosts: document.value(at: ["hosts"])?.elements?.compactMap(\.text) ?? []
        )
    }

    /// What `daemon.json` says about proxies, or said before we changed it.
    ///
    /// - Returns: what it says.
    /// - Throws: ``FileError`` or ``UnusableFile``.
    public func earlierProxies() throws -> EngineProxySettings {
        let document = try Self.read(try SharedFile(paths.dockerDaemonConfig))
        return DaemonConfigProxies.earlierSettings(in: document, record: try EngineSetupRecord.read(recordPath)?.config)
    }

    /// A file to change; under another root than `/`, links in it must not lead to the machine's own file.
    private func fileToChange(_ path: String) throws -> SharedFile {
        let file = try SharedFile(path)
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
        try DaemonConfigProxies.check(document, path: file.path)
        switch document.value(at: key) {
        case nil, .null: return document
        case .array(let elements) where elements.allSatisfy({ $0.text != nil }): return document
        default:
            throw UnusableFile(path: file.path, reason: "\"authorization-plugins\" in it is not a list of names")
        }
    }

    // MARK: - Enabling

    /// Puts our plugin behind the others and names our proxy; doing it twice changes nothing more.
    ///
    /// The engine asks the plugins in their order and stops at the first that refuses, so the place does not matter
    /// for what is refused; the last one changes the least for those that were there. `daemon.json` becomes its owner's
    /// alone when the secret comes into it: dockerd reads it as root, and nobody else has to.
    ///
    /// - Parameters:
    ///   - proxy: the proxy; `nil` leaves what is said about it as it is.
    ///   - isDryRun: whether to say only what would be done.
    /// - Returns: what was done.
    /// - Throws: ``FileError`` or ``UnusableFile``; the files are then as they were, or the next call finishes the work.
    public func enable(proxy: EngineProxy? = nil, isDryRun: Bool) throws -> Change {
        let earlier = try EngineSetupRecord.read(recordPath)
        var work = EngineSetupWork(paths: paths, record: earlier)
        let file = try fileToChange(paths.dockerDaemonConfig)
        var edit = RecordedEdit(try Self.read(file))
        try edit.append(.string(Self.plugin), at: Self.key)
        if edit.isChanged {
            if file.bytes == nil { work.change.changes.append("+ \(file.path)") }
            work.change.changes.append("+ \(file.path): authorization-plugins \"\(Self.plugin)\"")
            work.change.isReloadNeeded = true
        }
        var access = earlier?.config.access
        switch proxy?.place {
        case nil: break
        case .daemonConfig:
            guard let proxy else { break }
            if try DaemonConfigProxies.set(proxy.settings, in: &edit) {
                work.change.changes.append("+ \(file.path): proxies \(proxy.words)")
                work.change.isRestartNeeded = true
            }
            access = try work.conceal(file, after: access)
            try work.takeBackDropIn()
        case .systemdDropIn:
            guard let proxy else { break }
            if try DaemonConfigProxies.takeBack(from: &edit, record: earlier?.config) {
                work.change.changes.append("- \(file.path): proxies")
                work.change.isRestartNeeded = true
                access = try work.reveal(file, access)
            }
            guard DaemonConfigProxies.settings(in: edit.document).isEmpty else {
                throw UnusableFile(
                    path: file.path,
                    reason: "\"proxies\" in it goes first, and engines before 23.0 do not start with that"
                )
            }
            try work.putDropIn(
                proxy.settings,
                dropIn: fileToChange(paths.proxyDropIn),
                environment: fileToChange(paths.proxyEnvironment)
            )
        }
        if let upstream = proxy?.upstream {
            try work.takeOver(upstream, settings: fileToChange(paths.daemonSettings))
        }
        if edit.isChanged || work.newAccess != nil {
            var config = edit.record(of: file, after: earlier?.config)
            config.access = access
            work.replace(file, with: edit.document.bytes, mode: 0o644, record: config)
        }
        guard !isDryRun else { return work.change }
        try work.perform(recordPath: recordPath)
        return work.change
    }

    // MARK: - Disabling

    /// Takes our plugin and our proxy out.
    ///
    /// A file gets its earlier bytes where nobody else changed it since; otherwise only what we put there goes. Modes and
    /// owners come back too.
    ///
    /// - Parameter isDryRun: whether to say only what would be done.
    /// - Returns: what was done.
    /// - Throws: ``FileError`` or ``UnusableFile``; what could not be changed is then as it was.
    public func disable(isDryRun: Bool) throws -> Change {
        let file = try fileToChange(paths.dockerDaemonConfig)
        let before = try Self.read(file)
        let record = try EngineSetupRecord.read(recordPath)
        var content = file.bytes
        if let record { content = try record.config.undo(in: file.bytes, indentation: Self.indentation).content }
        // Whoever wrote it there: an engine does not start without a plugin of its list.
        if let bytes = content {
            var document = try JSONFileEdit(bytes, indentation: Self.indentation)
            if try document.removeElements(.string(Self.plugin), at: Self.key) { content = document.bytes }
        }
        var work = EngineSetupWork(paths: paths, record: record)
        let after = try content.map { try JSONFileEdit($0) }
        if content == nil, file.bytes != nil { work.change.changes.append("- \(file.path)") }
        func isListed(_ document: JSONFileEdit?) -> Bool {
            document?.value(at: Self.key)?.elements?.contains(.string(Self.plugin)) == true
        }
        work.change.isReloadNeeded = isListed(before) && !isListed(after)
        if work.change.isReloadNeeded, content != nil {
            work.change.changes.append("- \(file.path): authorization-plugins \"\(Self.plugin)\"")
        }
        let earlierProxies = after.map(DaemonConfigProxies.settings) ?? EngineProxySettings()
        if DaemonConfigProxies.settings(in: before) != earlierProxies {
            work.change.isRestartNeeded = true
            if content != nil { work.change.changes.append("- \(file.path): proxies") }
        }
        let access = record?.config.earlierAccess(insteadOf: file.access)
        if let access, let current = file.access, content != nil {
            work.change.changes.append("~ \(file.path): mode \(current.octalMode) -> \(access.octalMode)")
        }
        if content != file.bytes || (access != nil && content != nil) {
            work.putBack(file, content, mode: 0o644, access: access)
        }
        try work.takeBackDropIn()
        if let settings = record?.settings { try work.takeBack(settings, file: fileToChange(paths.daemonSettings)) }
        guard !isDryRun else { return work.change }
        try work.undo()
        if let record {
            try SharedFile(recordPath).remove()
            // All fail, as they should, where something else is in them.
            rmdir(paths.undoDirectory)
            for directory in record.madeDirectories.reversed() { rmdir(directory) }
        }
        return work.change
    }
}

extension EngineProxy {
    /// The proxy in the words of a change, without the secret.
    fileprivate var words: String { "\"\(EngineProxySettings.masked(url))\", no-proxy \"\(Self.noProxy)\"" }
}
