public import Glibc

/// Has a program that is about to be started begin without the descriptors of this process.
///
/// Tests run in one process, and SwiftNIO's sockets have no mark that an exec closes them: a program that runs for a minute
/// would keep the connections of every other test open for as long, and whoever is at their other end would wait for it.
///
/// - Parameters:
///   - first: the lowest descriptor that it does not get.
///   - actions: what is done before it is started.
/// - Throws: ``UnexpectedEnd`` if the C library is older than 2.34.
public func closeDescriptors(from first: CInt, in actions: inout posix_spawn_file_actions_t) throws {
    typealias AddCloseFrom = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, CInt) -> CInt
    // Swift does not see what the C library declares for its own extensions only.
    guard let symbol = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np") else {
        throw UnexpectedEnd(description: "the C library cannot start a program without our descriptors")
    }
    _ = unsafeBitCast(symbol, to: AddCloseFrom.self)(&actions, first)
}
