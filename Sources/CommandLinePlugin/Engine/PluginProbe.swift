import LocalInstallation

/// Asks the plugin's socket what dockerd asks first.
enum PluginProbe {
    /// Whether there is an authorization plugin behind a socket.
    static func answers(_ path: String) -> Bool {
        guard let socket = ClientSocket(connectingTo: path) else { return false }
        defer { socket.close() }
        let request =
            "POST /Plugin.Activate HTTP/1.1\r\nHost: docker-ram\r\n"
            + "Accept: application/vnd.docker.plugins.v1.2+json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        let answer = socket.answer(to: request) { $0.contains("authz") }
        return answer.contains("authz") && (answer.hasPrefix("HTTP/1.1 200") || answer.hasPrefix("HTTP/1.0 200"))
    }
}
