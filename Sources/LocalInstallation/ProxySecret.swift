import Glibc

/// What the engine says to the egress proxy, so that nobody else on the machine can use it.
///
/// It is 128 bits of chance as 32 hexadecimal digits, made once and kept in ``InstallationPaths/proxySecret``, which
/// only docker-ramd's user and root may read.
public struct ProxySecret: Sendable, Equatable {
    /// The user that stands before the secret.
    public static let user = "docker-ram"

    /// The secret itself.
    public let secret: Secret

    /// Reads the secret of this machine.
    ///
    /// - Parameter paths: where it is.
    /// - Throws: ``FileError`` if there is none, or it cannot be read; `EINVAL` if it is no secret of ours or others than
    ///   its owner may read it.
    public init(_ paths: InstallationPaths) throws(FileError) {
        let (bytes, status) = try Files.read(paths.proxySecret, atMost: 64)
        let digits = bytes.last == 0x0A ? bytes.dropLast() : bytes[...]
        let isHexadecimal = digits.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
        guard digits.count == 32, isHexadecimal, status.mode & 0o077 == 0 else {
            throw FileError("use \"\(paths.proxySecret)\"", code: EINVAL)
        }
        secret = Secret(String(decoding: digits, as: UTF8.self))
    }

    /// Reads the secret of this machine, and makes one if there is none.
    ///
    /// - Parameter paths: where it is; the file belongs to the owner of the directory, so that docker-ramd can read what
    ///   root has made.
    /// - Returns: the secret.
    /// - Throws: ``FileError`` if it cannot be read or written.
    public static func readOrMake(_ paths: InstallationPaths) throws(FileError) -> ProxySecret {
        do throws(FileError) {
            return try ProxySecret(paths)
        } catch {
            guard error.isNotFound else { throw error }
        }
        try Files.makeDirectory(paths.stateDirectory)
        let directory = try Files.status(paths.stateDirectory)
        let isOurs = directory.owner == geteuid() && directory.group == getegid()
        let digits = Array("0123456789abcdef".utf8)
        let secret = (0..<32).map { _ in digits[Int.random(in: 0..<16)] }
        try Files.replace(
            paths.proxySecret,
            with: secret + [0x0A],
            mode: 0o600,
            owner: isOurs ? nil : (directory.owner, directory.group)
        )
        return try ProxySecret(paths)
    }

    /// The address of the proxy as the engine is told it, secret included.
    ///
    /// - Parameter listen: where the proxy listens, `host:port`.
    /// - Returns: `http://docker-ram:...@127.0.0.1:7260`.
    public func proxyURL(listen: String) -> Secret {
        Secret("http://\(Self.user):\(secret.text)@\(listen)")
    }
}
