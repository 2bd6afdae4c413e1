import Glibc
import RegistryAccess

/// Tells docker-ramd what was decided here, because this program runs as the developer, who may not write the log.
///
/// It is one line that goes into the buffer of docker-ramd's control socket or nowhere: nothing waits, and nothing fails
/// because of it. docker-ramd looks at the policy itself and believes nothing else (see its `HelperRecords`).
struct DecisionNotice: Sendable {
    /// docker-ramd's control socket.
    let socketPath: String

    /// Sends a notice.
    ///
    /// - Parameters:
    ///   - id: the decision's name.
    ///   - registry: the registry; `nil` if what Docker named is none.
    func send(_ id: DecisionID, _ registry: RegistryAddress?) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array(socketPath.utf8)
        guard path.count < MemoryLayout.size(ofValue: address.sun_path), !path.contains(0) else { return }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_UNIX, kind, 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        guard isConnected else { return }
        // An address and a decision's name hold nothing that JSON would want escaped.
        let value = registry.map { "\"\($0)\"" } ?? "null"
        let line = Array("{\"request\":\"record\",\"id\":\"\(id)\",\"registry\":\(value)}\n".utf8)
        _ = line.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
    }
}
