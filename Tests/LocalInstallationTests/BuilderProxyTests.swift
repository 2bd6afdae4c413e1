import Glibc
import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

struct BuilderProxyTests {
    @Test
    func `engine and builders have secrets of their own`() throws {
        try withTemporaryDirectory { (directory) throws in
            let paths = InstallationPaths(root: directory)
            let engine = try ProxySecret.readOrMake(paths)
            let builders = try ProxySecret.readOrMake(paths, of: .builders)
            #expect(engine.secret != builders.secret)
            #expect(try ProxySecret(paths) == engine)
            #expect(try ProxySecret(paths, of: .builders) == builders)
            #expect(try ProxySecret.readOrMake(paths, of: .builders) == builders)
            #expect(builders.proxyURL(listen: "127.0.0.1:1").text.hasPrefix("http://docker-ram-builder:"))
            #expect(engine.proxyURL(listen: "127.0.0.1:1").text.hasPrefix("http://docker-ram:"))
            #expect(!"\(engine) \(builders)".contains(builders.secret.text))
            #expect(try Files.status(paths.builderProxySecret).mode & 0o777 == 0o600)
        }
    }

    @Test
    func `only the builders' secret may be read by a group`() throws {
        try withTemporaryDirectory { (directory) throws in
            let paths = InstallationPaths(root: directory)
            _ = try ProxySecret.readOrMake(paths)
            _ = try ProxySecret.readOrMake(paths, of: .builders)
            chmod(paths.proxySecret, 0o640)
            chmod(paths.builderProxySecret, 0o640)
            #expect(throws: FileError.self) { try ProxySecret(paths) }
            #expect(throws: Never.self) { try ProxySecret(paths, of: .builders) }
            for mode: mode_t in [0o644, 0o660, 0o604, 0o750] {
                chmod(paths.builderProxySecret, mode)
                #expect(throws: FileError.self) { try ProxySecret(paths, of: .builders) }
            }
        }
    }

    @Test(.enabled(if: geteuid() == 0, "only root can give a file to a group"))
    func `those who may use the Docker socket may read the builders' secret`() throws {
        try withTemporaryDirectory { (directory) throws in
            let paths = InstallationPaths(root: directory)
            _ = try ProxySecret.readOrMake(paths, of: .builders)
            // Without a socket nobody is let in.
            try ProxySecret.shareWithDockerUsers(paths)
            #expect(try Files.status(paths.builderProxySecret).mode & 0o777 == 0o600)
            try Files.makeDirectory(Files.directory(of: paths.dockerSocket))
            try Files.replace(paths.dockerSocket, with: [], mode: 0o660, owner: (0, 4242))
            try ProxySecret.shareWithDockerUsers(paths)
            let status = try Files.status(paths.builderProxySecret)
            #expect(status.group == 4242 && status.owner == 0 && status.mode & 0o777 == 0o640)
            #expect(throws: Never.self) { try ProxySecret(paths, of: .builders) }
            // docker-ramd, whose directory it is, cannot have root open up another file.
            let other = "\(directory)/other"
            try Files.replace(other, with: [], mode: 0o600)
            for make in [symlink, link] {
                unlink(paths.builderProxySecret)
                #expect(make(other, paths.builderProxySecret) == 0)
                #expect(throws: FileError.self) { try ProxySecret.shareWithDockerUsers(paths) }
                #expect(try Files.status(other).mode & 0o777 == 0o600)
            }
        }
    }

    @Test(arguments: [
        ("127.0.0.1:7260", "127.0.0.1:7260", true), ("127.8.0.1:1", "127.8.0.1:1", true),
        ("[::1]:7260", "[::1]:7260", true), ("0.0.0.0:7260", "127.0.0.1:7260", true),
        ("[::]:7260", "[::1]:7260", true), ("172.17.0.1:7260", "172.17.0.1:7260", false),
        ("[fd00::1]:7260", "[fd00::1]:7260", false),
    ])
    func `where a builder finds the proxy`(_ listen: String, _ address: String, _ needsHostNetwork: Bool) throws {
        try withTemporaryDirectory { (directory) throws in
            let secret = try ProxySecret.readOrMake(InstallationPaths(root: directory), of: .builders)
            let proxy = BuilderProxy(secret: secret, listen: listen)
            #expect(proxy.url.text == "http://docker-ram-builder:\(secret.secret.text)@\(address)")
            #expect(proxy.needsHostNetwork == needsHostNetwork)
        }
    }
}
