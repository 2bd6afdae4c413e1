import Glibc

/// A call of the operating system that failed.
public struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was attempted, on which file.
    public let attempt: String
    /// The error number.
    public let code: CInt

    /// A failure.
    ///
    /// - Parameters:
    ///   - attempt: what was attempted, for example `read "/etc/docker/daemon.json"`.
    ///   - code: the error number.
    public init(_ attempt: String, code: CInt) {
        self.attempt = attempt
        self.code = code
    }

    /// The attempt and the system's own words.
    public var description: String { "cannot \(attempt): \(String(cString: strerror(code)).lowercased())" }

    /// Whether the file or a directory above it is not there.
    public var isNotFound: Bool { code == ENOENT || code == ENOTDIR }
}

/// Who owns a file, what it is and when it changed.
public struct FileStatus: Equatable, Sendable {
    /// The owner's user id.
    public let owner: UInt32
    /// The group's id.
    public let group: UInt32
    /// Type and permissions, as `st_mode`.
    public let mode: UInt32
    /// The size in bytes.
    public let size: Int
    /// Tells one state of a file from another: device, inode, and the times of the last changes in nanoseconds.
    public let identity: [Int]

    /// Whether it is a regular file.
    public var isRegularFile: Bool { mode & S_IFMT == S_IFREG }
    /// Whether it is a directory.
    public var isDirectory: Bool { mode & S_IFMT == S_IFDIR }
    /// Whether somebody besides the owner may write to it, a directory with the sticky bit included.
    public var isWritableByOthers: Bool { mode & (S_IWGRP | S_IWOTH) != 0 }

    init(_ status: stat) {
        owner = status.st_uid
        group = status.st_gid
        mode = status.st_mode
        size = status.st_size
        identity = [
            Int(truncatingIfNeeded: status.st_dev), Int(truncatingIfNeeded: status.st_ino), status.st_size,
            status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec,
        ]
    }
}

/// Whole files, read and replaced.
public enum Files {
    /// Looks at what is at a path; symbolic links are followed.
    ///
    /// - Parameter path: the path.
    /// - Returns: what is there.
    /// - Throws: ``FileError``.
    public static func status(_ path: String) throws(FileError) -> FileStatus {
        var status = stat()
        guard stat(path, &status) == 0 else { throw FileError("look at \"\(path)\"", code: errno) }
        return FileStatus(status)
    }

    /// The names in a directory, sorted, without `.` and `..`.
    ///
    /// - Parameter directory: the path.
    /// - Returns: the names.
    /// - Throws: ``FileError``.
    public static func names(in directory: String) throws(FileError) -> [String] {
        guard let stream = opendir(directory) else { throw FileError("list \"\(directory)\"", code: errno) }
        defer { closedir(stream) }
        return names(in: stream)
    }

    private static func names(in stream: OpaquePointer) -> [String] {
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes all that is in a directory of another account, and nothing else: whatever that account puts in the place of
    /// a directory meanwhile, no symbolic link is followed.
    ///
    /// - Parameter directory: the directory, which stays; there may be none.
    /// - Throws: ``FileError``; but not for what is put there while it is emptied.
    public static func empty(_ directory: String) throws(FileError) {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if descriptor < 0, errno == ENOENT { return }
        try empty(descriptor, directory)
    }

    private static func empty(_ descriptor: CInt, _ path: String) throws(FileError) {
        guard descriptor >= 0, let stream = fdopendir(descriptor) else {
            let error = FileError("list \"\(path)\"", code: errno)
            close(descriptor)
            throw error
        }
        defer { closedir(stream) }
        for name in names(in: stream) {
            guard unlinkat(descriptor, name, 0) != 0, errno != ENOENT else { continue }
            let code = errno
            let inner = "\(path)/\(name)"
            guard code == EISDIR else { throw FileError("remove \"\(inner)\"", code: code) }
            try empty(openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), inner)
            guard unlinkat(descriptor, name, AT_REMOVEDIR) != 0 else { continue }
            guard errno == ENOENT || errno == ENOTEMPTY else { throw FileError("remove \"\(inner)\"", code: errno) }
        }
    }

    /// Whether a path itself is a symbolic link, wherever that leads.
    ///
    /// - Parameter path: the path.
    /// - Returns: `false` also if nothing is there.
    public static func isSymbolicLink(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
    }

    /// Reads a regular file and what it was at that moment.
    ///
    /// - Parameters:
    ///   - path: the path.
    ///   - limit: the longest file that is read, in bytes; a longer one fails with `EFBIG`.
    ///   - isPipeRead: whether a pipe is read as well, to its end, however long nobody writes: only where a person has
    ///     named it and waits.
    /// - Returns: the content, and the status of the very file that was read.
    /// - Throws: ``FileError``; a directory fails with `EISDIR`, what else is no regular file with `EINVAL`.
    public static func read(
        _ path: String,
        atMost limit: Int,
        isPipeRead: Bool = false
    ) throws(FileError) -> (bytes: [UInt8], status: FileStatus) {
        let attempt = "read \"\(path)\""
        // Without O_NONBLOCK a named pipe in the place of the file would hang the program.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (isPipeRead ? 0 : O_NONBLOCK))
        guard descriptor >= 0 else { throw FileError(attempt, code: errno) }
        defer { close(descriptor) }
        var raw = stat()
        guard fstat(descriptor, &raw) == 0 else { throw FileError(attempt, code: errno) }
        let status = FileStatus(raw)
        let isPipe = isPipeRead && status.mode & S_IFMT == S_IFIFO
        guard status.isRegularFile || isPipe else {
            throw FileError(attempt, code: status.isDirectory ? EISDIR : EINVAL)
        }
        guard status.size <= limit else { throw FileError(attempt, code: EFBIG) }

        var bytes: [UInt8] = []
        while true {
            let wanted = isPipe ? 1 << 16 : max(status.size - bytes.count, 0) + 1
            var failure: CInt = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
                let got = Glibc.read(descriptor, buffer.baseAddress, wanted)
                if got < 0 { failure = errno }
                count = max(got, 0)
            }
            if failure == EINTR { continue }
            guard failure == 0 else { throw FileError(attempt, code: failure) }
            if chunk.isEmpty { return (bytes, status) }
            if bytes.isEmpty { bytes = chunk } else { bytes += chunk }
            guard bytes.count <= limit else { throw FileError(attempt, code: EFBIG) }
        }
    }

    /// Replaces a file, or makes it, so that a reader sees the old content or the new and nothing between.
    ///
    /// A temporary file in the same directory is written, flushed and renamed. A symbolic link at the path is
    /// replaced, not followed.
    ///
    /// - Parameters:
    ///   - path: the path; its directory must exist.
    ///   - bytes: the new content.
    ///   - mode: the permissions of the new file.
    ///   - owner: user and group of the new file; the caller's own unless given.
    /// - Throws: ``FileError``; the old file is then untouched.
    public static func replace(
        _ path: String,
        with bytes: [UInt8],
        mode: UInt32,
        owner: (user: UInt32, group: UInt32)? = nil
    ) throws(FileError) {
        let attempt = "write \"\(path)\""
        // In the same directory, because a rename works only within one file system.
        let temporary = "\(path).\(UInt64.random(in: .min ... .max))"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileError(attempt, code: errno) }
        var failure = write(bytes, to: descriptor)
        if failure == 0, let owner, fchown(descriptor, owner.user, owner.group) != 0 { failure = errno }
        if failure == 0, fchmod(descriptor, mode) != 0 { failure = errno }
        if failure == 0, fsync(descriptor) != 0 { failure = errno }
        if close(descriptor) != 0, failure == 0 { failure = errno }
        if failure == 0, rename(temporary, path) != 0 { failure = errno }
        guard failure == 0 else {
            unlink(temporary)
            throw FileError(attempt, code: failure)
        }
        try syncDirectory(of: path)
    }

    /// Makes a directory and those above it that are missing.
    ///
    /// - Parameters:
    ///   - path: an absolute path.
    ///   - mode: the permissions of what is made.
    /// - Throws: ``FileError``.
    public static func makeDirectory(_ path: String, mode: UInt32 = 0o755) throws(FileError) {
        if mkdir(path, mode) == 0 || errno == EEXIST { return }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            throw FileError("make the directory \"\(path)\"", code: errno)
        }
        try makeDirectory(String(path[..<slash]), mode: mode)
        guard mkdir(path, mode) == 0 || errno == EEXIST else {
            throw FileError("make the directory \"\(path)\"", code: errno)
        }
    }

    /// The directory that a path lies in.
    ///
    /// - Parameter path: an absolute path.
    /// - Returns: everything before the last slash, `/` for what lies in the root.
    public static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }

    private static func write(_ bytes: [UInt8], to descriptor: CInt) -> CInt {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { return written < 0 ? errno : EIO }
            rest = rest.dropFirst(written)
        }
        return 0
    }

    private static func syncDirectory(of path: String) throws(FileError) {
        let directory = directory(of: path)
        let descriptor = open(directory, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard descriptor >= 0 else { throw FileError("open \"\(directory)\"", code: errno) }
        defer { close(descriptor) }
        // Some file systems cannot flush a directory; the rename has happened all the same.
        guard fsync(descriptor) == 0 || errno == EINVAL else { throw FileError("flush \"\(directory)\"", code: errno) }
    }
}
