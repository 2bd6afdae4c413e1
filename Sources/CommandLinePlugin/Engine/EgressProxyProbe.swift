import LocalInstallation

/// What became of asking the egress proxy, as the engine would, whether it is there.
enum EgressProxyProbe: Equatable {
    /// It serves whoever knows the secret.
    case answers
    /// It answers, but the secret is another.
    case wrongSecret
    /// Something else answers.
    case stranger
    /// Nothing answers.
    case silence

    /// Asks for the proxy itself; nothing goes out for that.
    ///
    /// - Parameters:
    ///   - address: an IP address and a port.
    ///   - secret: the secret of this machine.
    init(at address: String, secret: ProxySecret) {
        self = Self.ask(address, secret)
    }

    private static func ask(_ address: String, _ secret: ProxySecret) -> EgressProxyProbe {
        guard let socket = ClientSocket(connectingToPort: address) else { return .silence }
        defer { socket.close() }
        let request =
            "GET / HTTP/1.1\r\nHost: \(address)\r\nProxy-Authorization: \(secret.basicAuthorization.text)\r\n"
            + "Connection: close\r\n\r\n"
        let answer = socket.answer(to: request) { $0.contains("\r\n") }
        guard answer.hasPrefix("HTTP/1.1 ") else { return answer.isEmpty ? .silence : .stranger }
        if answer.hasPrefix("HTTP/1.1 407 ") { return .wrongSecret }
        return answer.hasPrefix("HTTP/1.1 200 docker-ram egress proxy\r\n") ? .answers : .stranger
    }
}
