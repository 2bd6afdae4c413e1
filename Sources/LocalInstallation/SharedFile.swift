import Glibc

/// A file that others read and write too: read whole, and replaced in one step.
///
/// Its owner and mode are kept. A symbolic link stays one: what it leads to is replaced.
public struct SharedFile: Sendable {
    /// The path as it was given.
    public let path: String
    /// The path behind symbolic links.
    public let target: String
    /// What the file held when it was read; `nil` if there was none.
    public let bytes: [UInt8]?
    private let identity: Identity?

    private struct Identity: Sendable {
        var mode: mode_t
        var owner: uid_t
        var group: gid_t
    }

    /// Reads a file.
    ///
    /// - Parameters:
    ///   - path: the file; that it is missing is no error.
    ///   - limit: the longest file that is taken, in bytes.
    /// - Throws: ``FileFailure`` if it cannot be read, is longer or is no regular file.
    public init(_ path: String, limit: Int = 16 << 20) throws(FileFailure) {
        self.path = path
        target = try Self.resolve(path)
        let descriptor = open(target, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            guard errno == ENOENT else { throw FileFailure("read", path) }
            bytes = nil
            identity = nil
            return
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileFailure("read", path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw FileFailure("read", path, because: "it is not a regular file")
        }
        guard status.st_size <= limit else {
            throw FileFailure("read", path, because: "it is longer than \(limit) bytes")
        }
        identity = Identity(mode: status.st_mode & 0o7777, owner: status.st_uid, group: status.st_gid)
        bytes = try Self.readAll(descriptor, path: path, limit: limit)
    }

    private static func readAll(_ descriptor: Int32, path: String, limit: Int) throws(FileFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileFailure("read", path) }
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= limit else {
                throw FileFailure("read", path, because: "it is longer than \(limit) bytes")
            }
        }
    }

    /// Follows symbolic links, also to where nothing is yet.
    private static func resolve(_ path: String) throws(FileFailure) -> String {
        var path = path
        for _ in 0..<40 {
            var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = readlink(path, &buffer, buffer.count)
            guard count > 0 else { return path }
            let link = String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
            path = link.hasPrefix("/") ? link : "\(Self.directory(of: path))/\(link)"
        }
        throw FileFailure("read", path, because: "too many symbolic links")
    }

    static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    // MARK: - Writing

    /// Puts new content in the place of the file, in one step.
    ///
    /// - Parameters:
    ///   - content: the new content.
    ///   - mode: the mode of a file that was not there; one that was keeps its own.
    /// - Throws: ``FileFailure`` if it cannot be written, or was changed since it was read.
    public func replace(with content: [UInt8], mode: UInt32 = 0o600) throws(FileFailure) {
        try checkUnchanged()
        let directory = Self.directory(of: target)
        let temporary = "\(directory)/.docker-ram-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileFailure("write", path) }
        var isDone = false
        defer {
            close(descriptor)
            if !isDone { unlink(temporary) }
        }
        var written = 0
        while written < content.count {
            let count = content[written...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw FileFailure("write", path) }
            written += count
        }
        if let identity {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw FileFailure("write", path) }
            if status.st_uid != identity.owner || status.st_gid != identity.group {
                guard fchown(descriptor, identity.owner, identity.group) == 0 else {
                    throw FileFailure("keep the owner of", path)
                }
            }
        }
        guard fchmod(descriptor, identity?.mode ?? mode) == 0, fsync(descriptor) == 0 else {
            throw FileFailure("write", path)
        }
        guard rename(temporary, target) == 0 else { throw FileFailure("write", path) }
        isDone = true
        Self.synchronize(directory)
    }

    /// Removes the file, if it is there.
    ///
    /// - Throws: ``FileFailure`` if it cannot be removed, or was changed since it was read.
    public func remove() throws(FileFailure) {
        try checkUnchanged()
        guard bytes != nil else { return }
        guard unlink(target) == 0 || errno == ENOENT else { throw FileFailure("remove", path) }
        Self.synchronize(Self.directory(of: target))
    }

    /// Whether somebody changed the file since it was read.
    public var isChangedSince: Bool {
        (try? SharedFile(path).bytes != bytes) ?? true
    }

    private func checkUnchanged() throws(FileFailure) {
        guard !isChangedSince else {
            throw FileFailure("write", path, because: "somebody else changed it at the same moment")
        }
    }

    private static func synchronize(_ directory: String) {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    /// Makes a directory and those above it.
    ///
    /// - Parameters:
    ///   - path: the directory; that it is there is no error.
    ///   - mode: the mode of those that were missing.
    /// - Returns: whether it was missing.
    /// - Throws: ``FileFailure`` if it cannot be made.
    @discardableResult
    public static func makeDirectory(_ path: String, mode: UInt32) throws(FileFailure) -> Bool {
        var status = stat()
        if stat(path, &status) == 0 {
            guard status.st_mode & S_IFMT == S_IFDIR else {
                throw FileFailure("make", path, because: "it is not a directory")
            }
            return false
        }
        let parent = directory(of: path)
        if parent != path, parent != "." { try makeDirectory(parent, mode: 0o755) }
        guard mkdir(path, mode) == 0 || errno == EEXIST else { throw FileFailure("make", path) }
        return true
    }
}

/// Why a file cannot be read or written.
public struct FileFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was attempted, for example `read`.
    public let attempt: String
    /// The file.
    public let path: String
    /// Why not.
    public let reason: String
    /// Whether the system did not permit it.
    public let isPermission: Bool

    init(_ attempt: String, _ path: String, because reason: String? = nil) {
        let code = errno
        self.attempt = attempt
        self.path = path
        isPermission = reason == nil && (code == EACCES || code == EPERM || code == EROFS)
        self.reason = reason ?? Self.text(of: code)
    }

    private static func text(of code: Int32) -> String {
        guard let text = strerror(code) else { return "error \(code)" }
        let words = String(cString: text)
        return words.prefix(1).lowercased() + words.dropFirst()
    }

    /// What was attempted, on what, and why it failed.
    public var description: String { "cannot \(attempt) \"\(path)\": \(reason)" }
}
