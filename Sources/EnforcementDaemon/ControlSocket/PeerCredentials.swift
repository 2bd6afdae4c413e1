import Glibc
import NIOCore

/// Who is at the other end of a Unix socket, as the kernel says.
struct PeerCredentials: Hashable, Sendable {
    /// The user.
    let user: uid_t
    /// The process.
    let process: pid_t

    /// Asks the kernel.
    static func of(_ channel: any Channel) -> EventLoopFuture<PeerCredentials> {
        guard let provider = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        let credentials: EventLoopFuture<KernelCredentials> = provider.unsafeGetSocketOption(
            level: .socket,
            name: NIOBSDSocket.Option(rawValue: SO_PEERCRED)
        )
        return credentials.map { PeerCredentials(user: $0.user, process: $0.process) }
    }
}

/// `struct ucred` of Linux, which Swift's Glibc module leaves out.
private struct KernelCredentials {
    let process: pid_t
    let user: uid_t
    let group: gid_t
}
