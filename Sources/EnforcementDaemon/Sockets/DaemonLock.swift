import Glibc
import LocalInstallation

/// Makes sure that one docker-ramd writes the decision log and the policy of a root.
struct DaemonLock: Sendable {
    private let descriptor: CInt

    /// Takes the lock, which is freed when the process ends, however it ends.
    init(_ paths: InstallationPaths) throws {
        let path = "\(paths.stateDirectory)/docker-ramd.lock"
        try Files.makeDirectory(paths.stateDirectory)
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw FileError("open \"\(path)\"", code: errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(descriptor)
            throw code == EWOULDBLOCK
                ? DaemonFailure(description: "another docker-ramd is running; it holds \"\(path)\"")
                : FileError("lock \"\(path)\"", code: code)
        }
    }

    func release() {
        close(descriptor)
    }
}
