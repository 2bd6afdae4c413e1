import Glibc

/// Tells systemd how we are (`sd_notify(3)`); does nothing where nobody listens.
struct ServiceNotifier: Sendable {
    /// What can be told.
    enum State: String {
        /// The sockets are served.
        case ready = "READY=1"
        /// We are about to end.
        case stopping = "STOPPING=1"
        /// Decisions work.
        case alive = "WATCHDOG=1"
    }

    /// The manager's socket, if there is one.
    let socketPath: String?

    /// Tells it.
    func send(_ state: State) {
        guard let socketPath, let address = try? UnixSocketAddress(socketPath) else { return }
        let descriptor = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let message = Array(state.rawValue.utf8)
        _ = address.withPointer { sendto(descriptor, message, message.count, CInt(MSG_NOSIGNAL), $0, $1) }
    }
}
