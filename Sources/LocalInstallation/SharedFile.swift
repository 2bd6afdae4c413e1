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
    private let status: FileStatus?

    /// The longest file that is taken, in bytes.
    static let longest = 16 << 20

    /// Reads a file.
    ///
    /// - Parameter path: the file; that it is missing is no error.
    /// - Throws: ``FileError`` if it cannot be read, is longer than 16 MiB or is no regular file.
    public init(_ path: String) throws(FileError) {
        self.path = path
        target = try Self.resolve(path)
        do throws(FileError) {
            let (bytes, status) = try Files.read(target, atMost: Self.longest)
            self.bytes = bytes
            self.status = status
        } catch {
            guard error.code == ENOENT else { throw error }
            bytes = nil
            status = nil
        }
    }

    /// Follows symbolic links, also to where nothing is yet.
    private static func resolve(_ path: String) throws(FileError) -> String {
        var target = path
        for _ in 0..<40 {
            var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = readlink(target, &buffer, buffer.count)
            guard count > 0 else { return target }
            let link = String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
            target = link.hasPrefix("/") ? link : "\(Files.directory(of: target))/\(link)"
        }
        throw FileError("read \"\(path)\"", code: ELOOP)
    }

    /// Puts new content in the place of the file, in one step.
    ///
    /// - Parameters:
    ///   - content: the new content.
    ///   - mode: the mode of a file that was not there; one that was keeps its own.
    /// - Throws: ``FileError`` if it cannot be written; `EBUSY` if it was changed since it was read.
    public func replace(with content: [UInt8], mode: UInt32 = 0o600) throws(FileError) {
        try checkUnchanged()
        try Files.replace(
            target,
            with: content,
            mode: status.map { $0.mode & 0o7777 } ?? mode,
            owner: status.flatMap { $0.owner == geteuid() && $0.group == getegid() ? nil : ($0.owner, $0.group) }
        )
    }

    /// Removes the file, if it is there.
    ///
    /// - Throws: ``FileError`` if it cannot be removed; `EBUSY` if it was changed since it was read.
    public func remove() throws(FileError) {
        try checkUnchanged()
        guard bytes != nil else { return }
        guard unlink(target) == 0 || errno == ENOENT else { throw FileError("remove \"\(path)\"", code: errno) }
    }

    private func checkUnchanged() throws(FileError) {
        guard try SharedFile(path).bytes == bytes else {
            throw FileError("write \"\(path)\", which somebody else is changing", code: EBUSY)
        }
    }
}

extension FileError {
    /// Whether the system did not permit it.
    public var isPermission: Bool { [EACCES, EPERM, EROFS].contains(code) }
}
