import LocalInstallation
import RegistryAccess

/// What makes two server URLs the key of the same credentials.
///
/// Docker writes the same registry in several ways: with and without scheme, path or port 443, in any case, and
/// Docker Hub under several names. Two keys are the same if they name the same ``RegistryAddress`` and the same kind of
/// secret; a host is never compared by a part of its name.
///
/// Docker's device login keeps its tokens beside the password, as `https://index.docker.io/v1/access-token` and
/// `.../refresh-token`. Those are kinds of their own: somebody who asks for the password must not get a token that is
/// good for something else.
struct ServerKey: Hashable {
    /// What is kept under the key.
    enum Kind: Hashable {
        case password
        case accessToken
        case refreshToken
        /// The session of `docker ram admin` (``AdministrationKey``).
        case administration
    }

    let address: RegistryAddress
    let kind: Kind

    /// The key of a server URL; `nil` if it names no registry, and then only the same text is the same key.
    init?(_ serverURL: String) {
        guard let address = try? RegistryAddress(serverURL: serverURL) else { return nil }
        self.address = address
        let path = serverURL.utf8.reversed()
        if AdministrationKey.isOne(serverURL) {
            kind = .administration
        } else if path.starts(with: "/access-token".utf8.reversed()) {
            kind = .accessToken
        } else if path.starts(with: "/refresh-token".utf8.reversed()) {
            kind = .refreshToken
        } else {
            kind = .password
        }
    }

    /// The spellings that Docker uses for this key; there may be others.
    var spellings: [String] {
        // It has one spelling, and Docker does not know it.
        if kind == .administration { return [] }
        let tail =
            switch kind {
            case .password, .administration: ""
            case .accessToken: "access-token"
            case .refreshToken: "refresh-token"
            }
        if address == .dockerHub {
            var spellings = ["https://index.docker.io/v1/\(tail)"]
            if kind == .password {
                for name in ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"] {
                    spellings += [name, "https://\(name)"]
                }
            }
            return spellings
        }
        guard kind == .password else { return ["https://\(address)/v1/\(tail)"] }
        return ["", "https://", "http://"].flatMap { scheme in
            ["", "/", "/v1/", "/v2/"].map { "\(scheme)\(address)\($0)" }
        }
    }
}
