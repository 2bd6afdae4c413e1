import Glibc
import LocalInstallation

/// A file of lines that is put aside when it is full.
///
/// `log` becomes `log.1`, that becomes `log.2`, and so on up to a number of files.
struct RotatingFile {
    private let path: String
    private let maximumBytes: Int
    private let files: Int
    private var descriptor: CInt?
    private var size = 0

    init(path: String, maximumBytes: Int, files: Int) {
        self.path = path
        self.maximumBytes = maximumBytes
        self.files = files
    }

    /// Writes one line, as a whole or not at all as far as the reader of lines can tell.
    mutating func append(_ line: String) throws(FileError) {
        let bytes = Array(line.utf8) + [UInt8(ascii: "\n")]
        try reopenIfRemoved()
        if size > 0, size + bytes.count > maximumBytes { try rotate() }
        let descriptor = try open()
        let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard written == bytes.count else {
            let code = written < 0 ? errno : ENOSPC
            // Take back what was written of the line.
            if written > 0 { _ = ftruncate(descriptor, size) }
            throw FileError("write \"\(path)\"", code: code)
        }
        size += bytes.count
    }

    /// The newest lines over all files, oldest first.
    func newestLines(_ limit: Int) throws(FileError) -> [String] {
        var newestFirst: [String] = []
        for index in 0..<files where newestFirst.count < limit {
            guard let lines = try Self.lastLines(of: name(index), limit - newestFirst.count) else { break }
            newestFirst += lines
        }
        return newestFirst.reversed()
    }

    /// Ends writing.
    mutating func close() {
        if let descriptor { _ = Glibc.close(descriptor) }
        descriptor = nil
    }

    private func name(_ index: Int) -> String { index == 0 ? path : "\(path).\(index)" }

    private mutating func rotate() throws(FileError) {
        close()
        if files == 1 {
            unlink(path)
        }
        for index in stride(from: files - 2, through: 0, by: -1) {
            guard rename(name(index), name(index + 1)) == 0 || errno == ENOENT else {
                throw FileError("put aside \"\(name(index))\"", code: errno)
            }
        }
    }

    /// Somebody who removes or moves the file expects a new one.
    private mutating func reopenIfRemoved() throws(FileError) {
        guard let descriptor else { return }
        var (ours, there) = (stat(), stat())
        if fstat(descriptor, &ours) == 0, stat(path, &there) == 0,
            ours.st_ino == there.st_ino, ours.st_dev == there.st_dev
        {
            return
        }
        close()
    }

    private mutating func open() throws(FileError) -> CInt {
        if let descriptor { return descriptor }
        try Files.makeDirectory(Files.directory(of: path))
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o640)
        guard descriptor >= 0 else { throw FileError("open \"\(path)\"", code: errno) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, fchmod(descriptor, 0o640) == 0 else {
            let code = errno
            _ = Glibc.close(descriptor)
            throw FileError("open \"\(path)\"", code: code == 0 ? EINVAL : code)
        }
        size = status.st_size
        // A crash may have left half a line.
        var last: UInt8 = 0
        if size > 0, pread(descriptor, &last, 1, size - 1) == 1, last != UInt8(ascii: "\n"),
            Glibc.write(descriptor, "\n", 1) == 1
        {
            size += 1
        }
        self.descriptor = descriptor
        return descriptor
    }

    /// The last complete lines of a file, newest first; `nil` if there is no such file.
    private static func lastLines(of path: String, _ limit: Int) throws(FileError) -> [String]? {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw FileError("read \"\(path)\"", code: errno)
        }
        defer { _ = Glibc.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileError("read \"\(path)\"", code: errno) }

        var lines: [String] = []
        // What is before the first line break of the blocks read so far, and so may go on in the block before.
        var head: [UInt8] = []
        var end = status.st_size
        while end > 0, lines.count < limit {
            let count = min(64 << 10, end)
            var block = [UInt8](repeating: 0, count: count)
            guard pread(descriptor, &block, count, end - count) == count else {
                throw FileError("read \"\(path)\"", code: errno)
            }
            end -= count
            var parts = (block + head).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            head = end > 0 ? Array(parts.removeFirst()) : []
            for part in parts.reversed() where part.first == UInt8(ascii: "{") && part.last == UInt8(ascii: "}") {
                guard lines.count < limit else { break }
                lines.append(String(decoding: part, as: UTF8.self))
            }
        }
        return lines
    }
}
