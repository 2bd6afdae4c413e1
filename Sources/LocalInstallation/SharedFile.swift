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
    /// Who might read and write it when it was read; `nil` if there was none.
    public var access: FileAccess? { status.map(FileAccess.init) }
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
    ///   - access: the owner and mode to give it instead.
    /// - Throws: ``FileError`` if it cannot be written; `EBUSY` if it was changed since it was read.
    public func replace(
        with content: [UInt8],
        mode: UInt32 = 0o600,
        access: FileAccess? = nil
    ) throws(FileError) {
        try checkUnchanged()
        if let access {
            let owner = access.isOfCaller ? nil : (access.owner, access.group)
            return try Files.replace(target, with: content, mode: access.mode, owner: owner)
        }
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

/// Who may read and write a file.
public struct FileAccess: Equatable, Sendable {
    /// The permissions, without the type of the file.
    public var mode: UInt32
    /// The owner's user id.
    public var owner: UInt32
    /// The group's id.
    public var group: UInt32

    /// The access to a file, the caller's own unless others are given.
    init(mode: UInt32, owner: UInt32 = geteuid(), group: UInt32 = getegid()) {
        self.mode = mode
        self.owner = owner
        self.group = group
    }

    init(_ status: FileStatus) {
        self.init(mode: status.mode & 0o7777, owner: status.owner, group: status.group)
    }

    /// Whether a file that the caller makes belongs to the right ones already.
    var isOfCaller: Bool { owner == geteuid() && group == getegid() }
}

extension FileError {
    /// Whether the system did not permit it.
    public var isPermission: Bool { [EACCES, EPERM, EROFS].contains(code) }
}
