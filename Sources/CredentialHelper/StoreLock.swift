import Glibc

/// Lets one docker-credential-ram after the other change the keyring.
///
/// A store writes its item and then removes the others of the same server. Two at once could remove each other's.
enum StoreLock {
    /// How long to wait for the others, in milliseconds: on a busy machine thirty of them take some seconds, and whoever
    /// goes on without the lock may lose what another has just stored.
    private static let patience = 10_000

    /// Does something while no other helper of this person does such a thing.
    ///
    /// A directory that is missing or cannot be locked is no reason not to store: then there is no lock.
    ///
    /// - Parameters:
    ///   - directories: the first that is there is locked; nothing is written to it.
    ///   - body: what to do.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws.
    static func held<Result>(
        on directories: [String],
        _ body: () throws(KeyringFault) -> Result
    ) throws(KeyringFault) -> Result {
        var descriptor: CInt = -1
        for directory in directories where descriptor < 0 {
            descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        defer { if descriptor >= 0 { close(descriptor) } }
        var waited = 0
        while descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK, waited < patience {
            usleep(2000)
            waited += 2
        }
        return try body()
    }
}
