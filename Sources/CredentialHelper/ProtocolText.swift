import RegistryAccess

/// The words of Docker's credential helper protocol.
///
/// Clients compare some of them byte for byte.
///
/// Source: docker-credential-helpers, `credentials/error.go` and `credentials/credentials.go`.
enum ProtocolText {
    /// The program, as it names itself.
    static let name = "docker-credential-ram"

    /// No credentials are kept for the server; to clients this is an answer, not an error.
    static let credentialsNotFound = "credentials not found in native keychain"
    /// The server URL is missing or empty.
    static let missingServerURL = "no credentials server URL"
    /// The user name is missing or empty.
    static let missingUsername = "no credentials username"

    static let usage = "Usage: \(name) <store|get|erase|list|version>"
    static let versionLine = "\(name) (docker-ram) v\(ProductVersion.text)"

    static func unknownAction(_ action: String) -> String { "\(name): unknown action: \(action)" }
}

/// What a helper can be asked to do; the raw values are the words on the command line.
enum HelperAction: String, CaseIterable {
    case store, get, erase, list, version
}
