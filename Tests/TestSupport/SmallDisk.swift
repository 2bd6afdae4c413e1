import Foundation
import Glibc

/// A small file system of its own, which programs see that are started for it: what a full disk does, without filling one.
public final class SmallDisk: Sendable {
    /// Where those programs see it.
    public let directory: String
    private let holder: RunningProgram

    /// The same directory as a test sees it; not for SQLite, which goes where the link leads.
    public var path: String { "/proc/\(holder.pid)/root\(directory)" }

    private init(_ directory: String, _ holder: RunningProgram) {
        self.directory = directory
        self.holder = holder
    }

    /// Makes one while a body runs; only root can.
    ///
    /// - Parameters:
    ///   - directory: an existing directory, in the place of which it is.
    ///   - kilobytes: how much goes in.
    ///   - body: gets the disk.
    /// - Throws: what the body throws, or why there is none.
    public static func with(
        at directory: String,
        kilobytes: Int,
        _ body: (SmallDisk) async throws -> Void
    ) async throws {
        let script = "mount -t tmpfs -o size=\(kilobytes)k,mode=0755 tmpfs \"$1\" && echo ready && exec sleep 100000"
        let holder = try RunningProgram([
            "unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh", directory,
        ])
        do {
            try await waitUntil("the disk is there") {
                guard holder.status == nil else { throw UnexpectedEnd(description: "no disk: \(holder.errors)") }
                return holder.output.contains("ready")
            }
            try await body(SmallDisk(directory, holder))
        } catch {
            try await holder.stop()
            throw error
        }
        try await holder.stop()
    }

    /// A command that sees the disk.
    ///
    /// - Parameter command: the program and its arguments.
    /// - Returns: the program and its arguments.
    public func command(_ command: [String]) -> [String] {
        ["nsenter", "--target", "\(holder.pid)", "--mount", "--"] + command
    }

    private var filling: String { "\(path)/filling" }

    /// Fills it up to the last byte.
    ///
    /// - Throws: ``UnexpectedEnd`` if that does not work.
    public func fill() throws {
        let file = open(filling, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw UnexpectedEnd(description: "cannot fill the disk: errno \(errno)") }
        defer { close(file) }
        let block = [UInt8](repeating: 0x55, count: 4096)
        while write(file, block, block.count) > 0 {}
        guard errno == ENOSPC else { throw UnexpectedEnd(description: "cannot fill the disk: errno \(errno)") }
    }

    /// Makes space again.
    public func free() { unlink(filling) }
}
