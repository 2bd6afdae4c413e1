import RegistryAccess
import TestSupport
import Testing

@testable import LocalInstallation

struct EngineServiceTests {
    private func service(_ files: [(String, String)], _ body: (EngineService, String) throws -> Void) throws {
        try withTemporaryDirectory { (root) throws in
            for (name, text) in files {
                let path = "\(root)/\(name)"
                try Files.makeDirectory(Files.directory(of: path))
                try Files.replace(path, with: Array(text.utf8), mode: 0o644)
            }
            try body(EngineService(InstallationPaths(root: root)), root)
        }
    }

    private static let unit = ("lib/systemd/system/docker.service", "[Service]\nExecStart=/usr/sbin/dockerd -H fd://\n")
    private static let dropIns = "etc/systemd/system/docker.service.d"

    @Test(
        "what systemd would make of it",
        arguments: [
            ("Environment=HTTPS_PROXY=http://a.test:1", "http://a.test:1"),
            ("Environment=\"HTTPS_PROXY=http://a.test:1\" 'NO_PROXY=b, c'", "http://a.test:1"),
            ("Environment = A=b https_proxy=http://a.test:1 \\\n  C=d", "http://a.test:1"),
            ("Environment=HTTPS_PROXY=http://u:p%%40s@a.test:1", "http://u:p%40s@a.test:1"),
            // systemd cannot resolve it and ignores it.
            ("Environment=HTTPS_PROXY=http://u:p%40s@a.test:1", nil),
            ("Environment=HTTPS_PROXY=http://a.test:1\nEnvironment=", nil),
            ("Environment=HTTPS_PROXY=http://a.test:1\nEnvironment=HTTPS_PROXY=http://b.test:1", "http://b.test:1"),
            ("# Environment=HTTPS_PROXY=http://a.test:1", nil), ("; Environment=HTTPS_PROXY=http://a.test:1", nil),
            ("[Unit]\nEnvironment=HTTPS_PROXY=http://a.test:1", nil),
            ("Environment=HTTPS_PROXY=", nil),
        ] as [(String, String?)]
    )
    func environment(lines: String, https: String?) throws {
        try service([Self.unit, ("\(Self.dropIns)/a.conf", "[Service]\n\(lines)\n")]) { (service, _) throws in
            #expect(service.proxies.httpsProxy?.text == https)
        }
    }

    @Test(
        "files of an environment",
        arguments: [
            ("HTTPS_PROXY=http://a.test:1\n", "http://a.test:1"),
            ("HTTPS_PROXY=\"http://a.test:1\"  \n", "http://a.test:1"),
            ("  HTTPS_PROXY = 'http://a.test:1'", "http://a.test:1"), ("#HTTPS_PROXY=http://a.test:1", nil),
            // systemd takes that for the name of a variable, and ignores it.
            ("export HTTPS_PROXY=http://a.test:1", nil),
        ] as [(String, String?)]
    )
    func environmentFile(text: String, https: String?) throws {
        let unit = ("lib/systemd/system/docker.service", "[Service]\nEnvironmentFile=-/etc/default/docker\n")
        try service([unit, ("etc/default/docker", text)]) { (service, _) throws in
            #expect(service.proxies.httpsProxy?.text == https)
        }
    }

    @Test
    func `without a unit the init script's settings count, as a shell reads them`() throws {
        try service([("etc/default/docker", "export http_proxy=\"http://a.test:1/\"\nDOCKER_OPTS=\"--no-proxy x\"\n")])
        {
            (service, root) throws in
            #expect(service.unit == nil)
            #expect(service.proxies.httpProxy?.text == "http://a.test:1/")
            #expect(service.file(giving: "--no-proxy") == "\(root)/etc/default/docker")
        }
    }

    @Test
    func `files go before lines, later drop-ins before earlier ones, and etc before lib`() throws {
        try service([
            Self.unit,
            ("etc/e", "HTTPS_PROXY=http://file.test:1\n"),
            ("lib/systemd/system/docker.service.d/a.conf", "[Service]\nEnvironment=NO_PROXY=x HTTP_PROXY=masked\n"),
            ("\(Self.dropIns)/a.conf", "[Service]\nEnvironmentFile=/etc/e\nEnvironment=NO_PROXY=a.test\n"),
            ("\(Self.dropIns)/b.conf", "[Service]\nEnvironment=HTTPS_PROXY=http://line.test:1 NO_PROXY=b.test\n"),
        ]) { (service, root) throws in
            #expect(service.proxies.httpsProxy?.text == "http://file.test:1")
            #expect(service.proxies.httpProxy == nil)
            #expect(service.proxies.noProxy == "b.test")
            #expect(service.environment["HTTPS_PROXY"]?.source == "\(root)/etc/e")
            #expect(service.unit == "\(root)/lib/systemd/system/docker.service")
            #expect(service.program == "/usr/sbin/dockerd")
            #expect(service.overriding == nil)
        }
    }

    @Test(
        "what would go before our own drop-in is found",
        arguments: [
            ("a.conf", "EnvironmentFile=/etc/e", false), ("http-proxy.conf", "EnvironmentFile=/etc/e", true),
            ("http-proxy.conf", "EnvironmentFile=-/etc/e", true), ("http-proxy.conf", "EnvironmentFile=/etc/f", false),
            // A line goes before no file, wherever it stands.
            ("http-proxy.conf", "Environment=HTTPS_PROXY=http://line.test:1", false),
            ("http-proxy.conf", "EnvironmentFile=", true), ("z.conf", "UnsetEnvironment=A HTTPS_PROXY", true),
        ]
    )
    func overriding(name: String, line: String, isOverriding: Bool) throws {
        try service([
            Self.unit, ("etc/e", "no_proxy=evil.test\n"), ("etc/f", "A=b\n"),
            ("\(Self.dropIns)/\(name)", "[Service]\n\(line)\n"),
        ]) { (service, _) throws in
            #expect((service.overriding != nil) == isOverriding)
        }
    }

    @Test
    func `our own drop-in is not somebody else's`() throws {
        try service([
            Self.unit,
            ("\(Self.dropIns)/docker-ram-proxy.conf", "[Service]\nEnvironmentFile=/etc/docker-ram/engine-proxy.env\n"),
            ("etc/docker-ram/engine-proxy.env", "HTTPS_PROXY=http://docker-ram:s@127.0.0.1:7260\n"),
            ("\(Self.dropIns)/http-proxy.conf", "[Service]\nEnvironment=HTTPS_PROXY=http://corp.test:1\n"),
        ]) { (service, _) throws in
            #expect(service.proxies.httpsProxy?.text == "http://corp.test:1")
            #expect(service.overriding == nil)
        }
    }
}
