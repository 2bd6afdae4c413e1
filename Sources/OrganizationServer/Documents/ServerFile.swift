// Where `stat` belongs to, according to the compiler, as soon as anything has loaded it.
import CDispatch
import Glibc

/// A file that was not read or written.
struct ServerFileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was attempted and what the system said, lower-case.
    let description: String

    init(_ description: String) {
        self.description = description
    }

    fileprivate init(_ attempt: String, _ path: String, code: CInt) {
        description = "cannot \(attempt) \"\(path)\": \(String(cString: strerror(code)).lowercased())"
    }
}

/// Whole files of the server: written so that a reader sees the old content or the new, and that a power cut leaves one.
enum ServerFile {
    /// Replaces a file, or makes it.
    ///
    /// - Parameters:
    ///   - path: the path; its directory must exist.
    ///   - bytes: the content.
    ///   - mode: the permissions.
    ///   - isNew: whether a file that is already there is a fault.
    /// - Throws: ``ServerFileError``; what was there is then untouched.
    static func write(
        _ path: String,
        _ bytes: [UInt8],
        mode: UInt32,
        isNew: Bool = false
    ) throws(ServerFileError) {
        let temporary = "\(path).\(UInt64.random(in: .min ... .max))"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ServerFileError("write", path, code: errno) }
        var failure: CInt = 0
        var rest = bytes[...]
        while failure == 0, !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 { rest = rest.dropFirst(written) } else if errno != EINTR { failure = errno }
        }
        if failure == 0, fchmod(descriptor, mode) != 0 { failure = errno }
        if failure == 0, fsync(descriptor) != 0 { failure = errno }
        if close(descriptor) != 0, failure == 0 { failure = errno }
        // A link, other than a rename, does not replace.
        if failure == 0, isNew ? link(temporary, path) != 0 : rename(temporary, path) != 0 { failure = errno }
        if failure != 0 || isNew { unlink(temporary) }
        guard failure == 0 else { throw ServerFileError("write", path, code: failure) }
        try flush(directoryOf: path)
    }

    /// Reads a file.
    ///
    /// - Parameters:
    ///   - path: the path.
    ///   - limit: the longest that is read, in bytes.
    ///   - isSecret: whether it is a fault that others than its owner, who must be the server's user, can open it.
    /// - Returns: the content; `nil` if nothing is there.
    /// - Throws: ``ServerFileError``.
    static func read(_ path: String, atMost limit: Int, isSecret: Bool = false) throws(ServerFileError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw ServerFileError("read", path, code: errno)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw ServerFileError("read", path, code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw ServerFileError("\"\(path)\" is no regular file") }
        guard status.st_size <= limit else { throw ServerFileError("\"\(path)\" is longer than \(limit) bytes") }
        if isSecret {
            guard status.st_uid == geteuid() else {
                throw ServerFileError("\"\(path)\" belongs to user \(status.st_uid) and not to the server's")
            }
            guard status.st_mode & 0o077 == 0 else {
                throw ServerFileError("\"\(path)\" can be opened by others; run: chmod 600 \"\(path)\"")
            }
        }
        var bytes: [UInt8] = []
        while bytes.count <= limit {
            var failure: CInt = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
                let got = Glibc.read(descriptor, buffer.baseAddress, 1 << 16)
                if got < 0 { failure = errno }
                count = max(got, 0)
            }
            if failure == EINTR { continue }
            guard failure == 0 else { throw ServerFileError("read", path, code: failure) }
            if chunk.isEmpty { return bytes }
            bytes += chunk
        }
        throw ServerFileError("\"\(path)\" is longer than \(limit) bytes")
    }

    /// Makes a directory and those above it that are missing.
    ///
    /// - Parameters:
    ///   - path: the path.
    ///   - mode: the permissions of what is made.
    /// - Throws: ``ServerFileError``.
    static func makeDirectory(_ path: String, mode: UInt32) throws(ServerFileError) {
        // Without the process's umask: a folder for a web server is for everybody.
        if mkdir(path, mode) == 0 ? chmod(path, mode) == 0 : errno == EEXIST { return }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            throw ServerFileError("make the directory", path, code: errno)
        }
        try makeDirectory(String(path[..<slash]), mode: mode)
        guard mkdir(path, mode) == 0 ? chmod(path, mode) == 0 : errno == EEXIST else {
            throw ServerFileError("make the directory", path, code: errno)
        }
    }

    /// The names in a directory, sorted, without those that begin with a dot.
    ///
    /// - Parameter path: the directory.
    /// - Returns: the names; none if it is not there.
    /// - Throws: ``ServerFileError``.
    static func names(in path: String) throws(ServerFileError) -> [String] {
        guard let stream = opendir(path) else {
            if errno == ENOENT { return [] }
            throw ServerFileError("list", path, code: errno)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    private static func flush(directoryOf path: String) throws(ServerFileError) {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(directory, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard descriptor >= 0 else { throw ServerFileError("open", directory, code: errno) }
        defer { close(descriptor) }
        // Some file systems cannot flush a directory; the rename has happened all the same.
        guard fsync(descriptor) == 0 || errno == EINVAL else { throw ServerFileError("flush", directory, code: errno) }
    }
}
