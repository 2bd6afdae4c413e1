import HTTPTypes
import RegistryAccess

/// The question of a device whether something has changed, as machines ask it: `GET` of `devices/D/changes`.
struct ChangesQuestion: Hashable, Sendable {
    /// The organization that the path names.
    let organization: String
    /// The device that the path names.
    let device: String
    /// The secret that is shown.
    let secret: OpaqueToken
    /// The cursor that the device knows.
    let after: String?
    /// How long the device waits for a change, in seconds.
    let wait: Int

    /// The longest wait, in seconds.
    static let longestWait = 60

    /// Reads a request.
    ///
    /// - Parameter request: the head of a request. `nil` if it is not plainly such a question, in order and without anything
    ///   unusual: then the router has to look at it.
    init?(_ request: HTTPRequest) {
        guard request.method == .get, let target = request.path,
            // The router reads these in ways of its own.
            target.utf8.allSatisfy({ $0 != UInt8(ascii: "%") && $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "#") })
        else { return nil }
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let names = parts[0].split(separator: "/", omittingEmptySubsequences: false)
        guard names.count == 7, names[0].isEmpty, names[1] == "v1", names[2] == "organizations", names[4] == "devices",
            names[6] == "changes"
        else { return nil }
        var after: String?
        var wait: Int?
        for pair in parts.count == 2 ? parts[1].split(separator: "&", omittingEmptySubsequences: false) : [] {
            switch pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init) {
            case let pair where pair.count == 2 && pair[0] == "after" && after == nil: after = pair[1]
            case let pair where pair.count == 2 && pair[0] == "wait" && wait == nil:
                guard let seconds = WholeNumber.read(pair[1]), (0...Self.longestWait).contains(seconds) else {
                    return nil
                }
                wait = seconds
            default: return nil
            }
        }
        var secret: OpaqueToken?
        for field in request.headerFields {
            switch field.name {
            case .authorization:
                let prefix = "Bearer "
                guard secret == nil, field.value.hasPrefix(prefix),
                    let token = OpaqueToken(String(field.value.dropFirst(prefix.count))), token.kind == .device
                else { return nil }
                secret = token
            case .connection: guard field.value.lowercased() == "keep-alive" else { return nil }
            case .contentLength, .transferEncoding, .expect, .upgrade: return nil
            default: break
            }
        }
        guard let secret else { return nil }
        self.secret = secret
        self.after = after
        self.wait = wait ?? 0
        organization = String(names[3])
        device = String(names[5])
    }

    /// Whether the same device asks on where it was told how far everything had come.
    ///
    /// - Parameters:
    ///   - question: its question before.
    ///   - cursor: what it was told then.
    /// - Returns: whether this is its next question.
    func continues(_ question: ChangesQuestion, _ cursor: String) -> Bool {
        organization == question.organization && device == question.device && secret == question.secret
            && after == cursor
    }
}
