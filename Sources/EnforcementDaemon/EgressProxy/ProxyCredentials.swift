import LocalInstallation
import NIOHTTP1

/// Tells the engine from everybody else who can reach the proxy (RFC 7617).
struct ProxyCredentials: Sendable {
    /// The value of `Proxy-Authorization` that is let in; `nil` lets nobody in.
    private let expected: [UInt8]?

    init(_ secret: ProxySecret?) {
        expected = secret.map { secret in
            let text = "\(ProxySecret.user):\(secret.secret.text)"
            return Array("Basic \(Base64.encode(Array(text.utf8)))".utf8)
        }
    }

    /// Whether headers hold the secret.
    func admit(_ headers: HTTPHeaders) -> Bool {
        let values = headers["Proxy-Authorization"]
        guard let expected, values.count == 1 else { return false }
        let given = Array(values[0].utf8)
        // The scheme is a word in any case.
        guard given.count == expected.count, given.prefix(6).map({ $0 | 0x20 }) == Array("basic ".utf8) else {
            return false
        }
        // In the same time for every wrong secret.
        return zip(given, expected).dropFirst(6).reduce(UInt8(0)) { $0 | $1.0 ^ $1.1 } == 0
    }
}
