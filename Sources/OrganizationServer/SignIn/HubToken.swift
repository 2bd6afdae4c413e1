import RegistryAccess

/// An access token in the form that programs written for Docker Hub read: three parts with dots between them, as a JSON Web
/// Token has (RFC 7519).
///
/// Such programs take no token whose end they do not find in the second part (docker/terraform-provider-docker,
/// `internal/auth/config.go`). The last part is the token as it always was; no signature is there. The first two are for
/// those programs alone: whoever shows the token may have put anything there, so they decide nothing.
struct HubToken: Sendable, CustomStringConvertible {
    /// All of it, for its one reader.
    let secret: String

    /// Writes a token.
    ///
    /// - Parameters:
    ///   - token: the access token of a session.
    ///   - expires: when it ends.
    init(_ token: OpaqueToken, expires: Instant) {
        let claims = #"{"exp":\#(expires.seconds)}"#
        secret = [Self.header, claims].map { Base64URL.encode(Array($0.utf8)) + "." }.joined() + token.secret
    }

    /// Nothing of the secret.
    var description: String { "<redacted>" }

    /// Programs that look at the algorithm expect that of Docker Hub's tokens.
    private static let header = #"{"alg":"RS256","typ":"JWT"}"#
    /// What is written is half as long.
    fileprivate static let longest = 256
}

extension OpaqueToken {
    /// Reads a token that somebody shows: itself, or an access token in the form of ``HubToken``.
    ///
    /// - Parameter text: what somebody showed; `nil` if it is none, which only says that it was never handed out.
    init?(shown text: String) {
        if let token = OpaqueToken(text) {
            self = token
            return
        }
        guard text.utf8.count <= HubToken.longest else { return nil }
        let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, Base64URL.decode(parts[0]) != nil, Base64URL.decode(parts[1]) != nil,
            let token = String(parts[2]).flatMap({ OpaqueToken($0) }), token.kind == .access
        else { return nil }
        self = token
    }
}
