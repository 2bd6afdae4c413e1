import Glibc

/// What the engine, or a builder beside it, says to the egress proxy, so that nobody else on the machine can use it.
///
/// It is 128 bits of chance as 32 hexadecimal digits, made once and kept in a file. The engine's own is
/// ``InstallationPaths/proxySecret``, which only docker-ramd's user and root may read. That of the builders is another
/// one, ``InstallationPaths/builderProxySecret``, because it stands in their containers' environment.
public struct ProxySecret: Sendable, Equatable {
    /// Who says it.
    public enum Holder: Sendable, CaseIterable {
        /// The engine.
        case engine
        /// BuildKit in containers.
        case builders

        /// The user that stands before the secret.
        public var user: String {
            switch self {
            case .engine: ProxySecret.user
            case .builders: "docker-ram-builder"
            }
        }

        fileprivate func path(_ paths: InstallationPaths) -> String {
            switch self {
            case .engine: paths.proxySecret
            case .builders: paths.builderProxySecret
            }
        }

        /// What others than the owner may not do with the file.
        fileprivate var forbidden: UInt32 {
            switch self {
            case .engine: 0o077
            case .builders: 0o037
            }
        }
    }

    /// The engine's user, which stands before the secret.
    public static let user = "docker-ram"

    /// Whose it is.
    public let holder: Holder
    /// The secret itself.
    public let secret: Secret

    /// Reads a secret of this machine.
    ///
    /// - Parameters:
    ///   - paths: where it is.
    ///   - holder: whose.
    /// - Throws: ``FileError`` if there is none, or it cannot be read; `EINVAL` if it is no secret of ours or others than
    ///   its owner may read the engine's, or others than the owner's group the builders'.
    public init(_ paths: InstallationPaths, of holder: Holder = .engine) throws(FileError) {
        let path = holder.path(paths)
        let (bytes, status) = try Files.read(path, atMost: 64)
        let digits = bytes.last == 0x0A ? bytes.dropLast() : bytes[...]
        let isHexadecimal = digits.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
        guard digits.count == 32, isHexadecimal, status.mode & holder.forbidden == 0 else {
            throw FileError("use \"\(path)\"", code: EINVAL)
        }
        self.holder = holder
        secret = Secret(String(decoding: digits, as: UTF8.self))
    }

    /// Reads a secret of this machine, and makes one if there is none.
    ///
    /// - Parameters:
    ///   - paths: where it is; the file belongs to the owner of the directory, so that docker-ramd can read what root
    ///     has made.
    ///   - holder: whose.
    /// - Returns: the secret.
    /// - Throws: ``FileError`` if it cannot be read or written.
    public static func readOrMake(
        _ paths: InstallationPaths,
        of holder: Holder = .engine
    ) throws(FileError) -> ProxySecret {
        do throws(FileError) {
            return try ProxySecret(paths, of: holder)
        } catch {
            guard error.isNotFound else { throw error }
        }
        try Files.makeDirectory(paths.stateDirectory)
        let directory = try Files.status(paths.stateDirectory)
        let isOurs = directory.owner == geteuid() && directory.group == getegid()
        let digits = Array("0123456789abcdef".utf8)
        let secret = (0..<32).map { _ in digits[Int.random(in: 0..<16)] }
        try Files.replace(
            holder.path(paths),
            with: secret + [0x0A],
            mode: 0o600,
            owner: isOurs ? nil : (directory.owner, directory.group)
        )
        return try ProxySecret(paths, of: holder)
    }

    /// Lets those who may use the Docker socket read the builders' secret; does nothing unless root calls it.
    ///
    /// docker-ramd makes the file but is in no group of theirs.
    ///
    /// - Parameter paths: where it is.
    /// - Throws: ``FileError`` if the file cannot be changed.
    public static func shareWithDockerUsers(_ paths: InstallationPaths) throws(FileError) {
        let path = paths.builderProxySecret
        guard geteuid() == 0, let group = try? Files.status(paths.dockerSocket).group else { return }
        // The directory is docker-ramd's, which could put there a link to a file of root's.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileError("open \"\(path)\"", code: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_nlink == 1 else {
            throw FileError("use \"\(path)\"", code: EINVAL)
        }
        guard status.st_gid != group || status.st_mode & 0o777 != 0o640 else { return }
        guard fchown(descriptor, status.st_uid, group) == 0, fchmod(descriptor, 0o640) == 0 else {
            throw FileError("give \"\(path)\" to the group of the Docker socket", code: errno)
        }
    }

    /// The address of the proxy as its holder is told it, secret included.
    ///
    /// - Parameter listen: where the proxy listens, `host:port`.
    /// - Returns: `http://docker-ram:...@127.0.0.1:7260`.
    public func proxyURL(listen: String) -> Secret {
        Secret("http://\(holder.user):\(secret.text)@\(listen)")
    }
}
