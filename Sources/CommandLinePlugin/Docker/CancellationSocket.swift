import Glibc
import TerminalInput

/// How Docker tells a plugin that the user has had enough: it closes a connection (docker/cli,
/// `cli-plugins/socket/socket.go`).
enum CancellationSocket {
    /// Ends the process when Docker closes the connection; does nothing where Docker offers none.
    static func exitWhenClosed(environment: [String: String]) {
        guard let name = environment["DOCKER_CLI_PLUGIN_SOCKET"], !name.isEmpty,
            let socket = ClientSocket(connectingTo: name)
        else { return }
        // A thread, because the commands block where they wait.
        var thread = pthread_t()
        let descriptor = socket.descriptor
        let watch: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
            let descriptor = CInt(truncatingIfNeeded: Int(bitPattern: argument))
            var byte: UInt8 = 0
            while true {
                let count = read(descriptor, &byte, 1)
                if count == 0 {
                    TypedSecret.showTyping()
                    _exit(130)
                }
                if count < 0, errno != EINTR { return nil }
            }
        }
        pthread_create(&thread, nil, watch, UnsafeMutableRawPointer(bitPattern: Int(descriptor)))
    }
}
