import LocalInstallation
import NIOHTTP1
import RegistryAccess

/// Tells the engine and managed builders from everybody else who can reach the proxy (RFC 7617).
struct ProxyCredentials: Sendable {
    /// The values of `Proxy-Authorization` that are let in.
    private let admitted: [[UInt8]]

    /// Those who know one of the secrets; nobody if there is none.
    init(_ secrets: [ProxySecret]) {
        admitted = secrets.map { secret in
            let text = "\(secret.holder.user):\(secret.secret.text)"
            return Array("basic \(StrictBase64.encode(Array(text.utf8)))".utf8)
        }
    }

    /// Whether headers hold one of the secrets.
    func admit(_ headers: HTTPHeaders) -> Bool {
        let values = headers["Proxy-Authorization"]
        guard values.count == 1 else { return false }
        var given = Array(values[0].utf8)
        // The scheme is a word in any case.
        for index in given.indices.prefix(5) { given[index] |= 0x20 }
        return admitted.map { Self.areSame($0, given) }.contains(true)
    }

    /// Compares in the same time wherever the first difference is.
    private static func areSame(_ expected: [UInt8], _ given: [UInt8]) -> Bool {
        guard expected.count == given.count else { return false }
        return zip(expected, given).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
