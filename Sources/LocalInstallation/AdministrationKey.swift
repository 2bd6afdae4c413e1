public import RegistryAccess

/// Under which name docker-credential-ram keeps the session of who administers an organization's server with
/// `docker ram admin`: the server's address and ``path``.
///
/// It is no registry's: Docker never asks for it, the policy says nothing about it, and whoever asks for it gets neither
/// the password of a registry on that host nor the other way round.
public enum AdministrationKey {
    /// What stands behind the server's address.
    public static let path = "/docker-ram-admin"

    /// Whether a server URL is such a name.
    ///
    /// - Parameter serverURL: the server URL, in the one spelling that `docker ram admin` uses.
    /// - Returns: whether it is.
    public static func isOne(_ serverURL: String) -> Bool {
        guard serverURL.utf8.reversed().starts(with: path.utf8.reversed()), let server = try? ServerURL(serverURL)
        else { return false }
        return server.path.utf8.elementsEqual(path.utf8)
    }

    /// The name for a server.
    ///
    /// - Parameter server: the server; only its host and port count.
    /// - Returns: the server URL.
    public static func serverURL(of server: ServerURL) -> String {
        "\(String(server.description.dropLast(server.path.count)))\(path)"
    }
}
