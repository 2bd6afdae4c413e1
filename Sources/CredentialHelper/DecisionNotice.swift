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
        guard let descriptor = ControlSocket.connect(to: socketPath, isWaiting: false) else { return }
        defer { close(descriptor) }
        // An address and a decision's name hold nothing that JSON would want escaped.
        let value = registry.map { "\"\($0)\"" } ?? "null"
        let line = Array("{\"request\":\"record\",\"id\":\"\(id)\",\"registry\":\(value)}\n".utf8)
        _ = line.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
    }
}
