import Glibc
import LocalInstallation
import RegistryAccess

/// Asks docker-ramd's two enforcement points what the engine would ask them.
enum DaemonProbe {
    /// Whether there is an authorization plugin behind a socket.
    static func pluginAnswers(_ path: String) -> Bool {
        guard let socket = UnixSocket(connectingTo: path) else { return false }
        defer { socket.close() }
        let request =
            "POST /Plugin.Activate HTTP/1.1\r\nHost: docker-ram\r\n"
            + "Accept: application/vnd.docker.plugins.v1.2+json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        guard socket.send(request) else { return false }
        let answer = socket.receiveText { $0.contains("authz") }
        return answer.contains("authz") && (answer.hasPrefix("HTTP/1.1 200") || answer.hasPrefix("HTTP/1.0 200"))
    }

    /// What became of asking the egress proxy.
    enum Proxy: Equatable {
        /// It serves whoever knows the secret.
        case answers
        /// It answers, but the secret is another.
        case wrongSecret
        /// Something else answers.
        case stranger
        /// Nothing answers.
        case silence
    }

    /// Asks for the proxy itself; nothing goes out for that.
    ///
    /// - Parameters:
    ///   - address: an IP address and a port.
    ///   - secret: the secret of this machine.
    /// - Returns: what became of it.
    static func proxy(at address: String, secret: ProxySecret) -> Proxy {
        guard let socket = UnixSocket(connectingToPort: address) else { return .silence }
        defer { socket.close() }
        let request =
            "GET / HTTP/1.1\r\nHost: \(address)\r\nProxy-Authorization: \(secret.basicAuthorization.text)\r\n"
            + "Connection: close\r\n\r\n"
        guard socket.send(request) else { return .silence }
        let answer = socket.receiveText { $0.contains("\r\n") }
        guard answer.hasPrefix("HTTP/1.1 ") else { return answer.isEmpty ? .silence : .stranger }
        if answer.hasPrefix("HTTP/1.1 407 ") { return .wrongSecret }
        return answer.hasPrefix("HTTP/1.1 200 docker-ram egress proxy\r\n") ? .answers : .stranger
    }
}

extension UnixSocket {
    /// Connects to a port of this machine.
    ///
    /// - Parameter address: an IP address, an IPv6 one in brackets, and a port.
    init?(connectingToPort address: String) {
        guard let colon = address.lastIndex(of: ":") else { return nil }
        let host = address[..<colon].filter { $0 != "[" && $0 != "]" }
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(address[address.index(after: colon)...]), &hints, &found) == 0, let found else {
            return nil
        }
        defer { freeaddrinfo(found) }
        let entry = found.pointee
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(entry.ai_family, kind, 0)
        guard descriptor >= 0 else { return nil }
        guard connect(descriptor, entry.ai_addr, entry.ai_addrlen) == 0 else {
            Glibc.close(descriptor)
            return nil
        }
        self.init(descriptor: descriptor)
    }

    /// What arrives until it is enough, the other side closes, or two seconds pass without anything.
    func receiveText(until isEnough: (String) -> Bool) -> String {
        var answer: [UInt8] = []
        while answer.count < 4 << 20 {
            guard case .bytes(let bytes) = receive(within: 2000) else { break }
            answer += bytes
            if isEnough(String(decoding: answer, as: UTF8.self)) { break }
        }
        return String(decoding: answer, as: UTF8.self)
    }
}
