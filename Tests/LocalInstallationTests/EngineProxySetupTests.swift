import Foundation
import RegistryAccess
import TestSupport
import Testing

@testable import LocalInstallation

/// The proxy in `daemon.json` and in the environment of `docker.service`, put there and taken back.
struct EngineProxySetupTests {
    private static let url = Secret("http://docker-ram:0123456789abcdef0123456789abcdef@127.0.0.1:7260")

    /// A machine with files, and a look at all of it.
    private struct Machine {
        let paths: InstallationPaths
        var setup: EngineSetup { EngineSetup(paths) }

        func write(_ text: String, _ path: String, mode: UInt32 = 0o644) throws {
            try Files.makeDirectory(Files.directory(of: path))
            try Files.replace(path, with: Array(text.utf8), mode: mode)
        }

        func text(_ path: String) throws -> String? {
            try SharedFile(path).bytes.map { String(decoding: $0, as: UTF8.self) }
        }

        func mode(_ path: String) throws -> UInt32 { try Files.status(path).mode & 0o7777 }

        /// Every file and directory with mode, owner and content, but for docker-ramd's own directory.
        func everything() throws -> [String: String] {
            var all: [String: String] = [:]
            for name in try FileManager.default.subpathsOfDirectory(atPath: paths.root) {
                let path = "\(paths.root)/\(name)"
                let status = try Files.status(path)
                let content = status.isDirectory ? "" : try text(path) ?? ""
                all[name] = "\(String(status.mode, radix: 8)) \(status.owner):\(status.group) \(content)"
            }
            return all
        }
    }

    private func with(_ content: String?, mode: UInt32 = 0o644, _ body: (Machine) throws -> Void) throws {
        try withTemporaryDirectory { (root) throws in
            let machine = Machine(paths: InstallationPaths(root: root))
            if let content { try machine.write(content, machine.paths.dockerDaemonConfig, mode: mode) }
            try Files.makeDirectory("\(root)/var/lib")
            try body(machine)
        }
    }

    private func proxy(
        _ place: EngineProxy.Place,
        _ url: Secret = Self.url,
        upstream: TakenOverProxy? = nil
    ) -> EngineProxy {
        EngineProxy(url: url, place: place, upstream: upstream)
    }

    // MARK: - daemon.json

    private static let ours = """
        {"http-proxy": "\(url.text)", "https-proxy": "\(url.text)", "no-proxy": "127.0.0.1"}
        """

    @Test(
        "what is written for engines from 23.0 on, byte for byte",
        arguments: [
            (
                "{\"debug\": true}",
                "{\"debug\": true, \"authorization-plugins\": [\"docker-ram\"], \"proxies\": \(ours)}"
            ),
            // In the style of the file.
            (
                "{\"a\":1,\"b\":[ 1.50 ]}",
                "{\"a\":1,\"b\":[ 1.50 ],\"authorization-plugins\":[\"docker-ram\"],\"proxies\":"
                    + "\(ours.replacingOccurrences(of: "\": \"", with: "\":\"").replacingOccurrences(of: ", ", with: ","))}"
            ),
            // What else stands in the object stays, and so does its order.
            (
                "{\"proxies\": {\"https-proxy\": \"http://corp.test:3128\", \"x-other\": 1}}",
                "{\"proxies\": {\"https-proxy\": \"\(url.text)\", \"x-other\": 1, \"http-proxy\": \"\(url.text)\", "
                    + "\"no-proxy\": \"127.0.0.1\"}, \"authorization-plugins\": [\"docker-ram\"]}"
            ),
        ]
    )
    func written(before: String, after: String) throws {
        try with(before) { (machine) throws in
            let path = machine.paths.dockerDaemonConfig
            let change = try machine.setup.enable(proxy: proxy(.daemonConfig), isDryRun: false)
            #expect(change.isReloadNeeded && change.isRestartNeeded)
            #expect(!change.isUnitChanged && !change.isDaemonRestartNeeded)
            #expect(try machine.text(path) == after)
            #expect(try machine.setup.state().place(of: Self.url) == .daemonConfig)
        }
    }

    static let shapes: [String?] = [
        nil, "{}", "", "{\n}\n", "{\r\n\t\"dns\": [\"1.1.1.1\"]\r\n}", "\u{FEFF}{\"debug\": true}",
        "{\"authorization-plugins\":[\"opa\"],\"x-unknown\": 1.0 }", "{\"proxies\": null}", "{\"proxies\": {}}",
        "{\"proxies\":{\"http-proxy\":\"http://corp.test:3128\",\"https-proxy\":\"http://u:p@corp.test:3128\"}}",
        "{\n  \"proxies\": {\n    \"no-proxy\": \"*.test,127.0.0.0/8\"\n  },\n  \"mtu\": 1400\n}\n",
        "{\"Proxies\":{\"HTTP-Proxy\":\"http://corp.test:3128\"}}",
    ]

    @Test(
        "everything comes back, byte for byte and with its modes",
        arguments: [EngineProxy.Place.daemonConfig, .systemdDropIn].flatMap { place in
            shapes.flatMap { shape in [0o644, 0o600, 0o640].map { (place, shape, UInt32($0)) } }
        }
    )
    func back(place: EngineProxy.Place, shape: String?, mode: UInt32) throws {
        try with(shape, mode: mode) { (machine) throws in
            // Engines that do not read proxies there do not start with them, so only others have such a file.
            let hasOthers = try !machine.setup.state().proxies.isEmpty
            guard place == .daemonConfig || !hasOthers else {
                let before = try machine.everything()
                #expect(throws: UnusableFile.self) { try machine.setup.enable(proxy: proxy(place), isDryRun: false) }
                #expect(try machine.everything() == before)
                return
            }
            try machine.write("{\"decisionLog\":{\"files\":2}}", machine.paths.daemonSettings)
            let before = try machine.everything()
            let corporate = TakenOverProxy(
                url: Secret("http://u:p@c.test:80"),
                address: "c.test:80",
                noProxy: ["a.test"]
            )
            let wanted = proxy(place, upstream: corporate)

            let told = try machine.setup.enable(proxy: wanted, isDryRun: true)
            #expect(told.isRestartNeeded && told.isDaemonRestartNeeded)
            #expect(try machine.everything() == before)

            let done = try machine.setup.enable(proxy: wanted, isDryRun: false)
            #expect(done == told, "a dry run says what a real one does")
            #expect(!"\(done)".contains("0123456789abcdef"), "no secret is shown")
            #expect(!"\(done)".contains("u:p"))
            #expect(try machine.setup.state().place(of: Self.url) == place)
            #expect(try machine.setup.state().isEnabled)
            for path in [machine.paths.dockerDaemonConfig, machine.paths.proxyEnvironment] {
                guard let text = try machine.text(path), text.contains(Self.url.text) else { continue }
                #expect(try machine.mode(path) == 0o600)
            }
            let during = try machine.everything()
            #expect(try machine.setup.enable(proxy: wanted, isDryRun: false) == EngineSetup.Change())
            #expect(try machine.setup.enable(isDryRun: false) == EngineSetup.Change())
            #expect(try machine.everything() == during, "doing it twice changes nothing more")

            let toldBack = try machine.setup.disable(isDryRun: true)
            #expect(try machine.everything() == during)
            #expect(try machine.setup.disable(isDryRun: false) == toldBack)
            #expect(toldBack.isRestartNeeded && toldBack.isDaemonRestartNeeded)
            #expect(try machine.everything() == before)
            #expect(try machine.setup.disable(isDryRun: false) == EngineSetup.Change())
        }
    }

    @Test("what others changed since stays, and nothing of ours", arguments: shapes.compactMap(\.self))
    func changedSince(shape: String) throws {
        try with(shape) { (machine) throws in
            let path = machine.paths.dockerDaemonConfig
            let earlier = try machine.setup.state()
            _ = try machine.setup.enable(proxy: proxy(.daemonConfig), isDryRun: false)
            let file = try SharedFile(path)
            var edit = try JSONFileEdit(file.bytes ?? [])
            try edit.set(.number("1499"), at: ["mtu"])
            try file.replace(with: edit.bytes)
            _ = try machine.setup.disable(isDryRun: false)
            let after = try machine.setup.state()
            #expect(after.proxies == earlier.proxies)
            #expect(after.plugins == earlier.plugins)
            #expect(try JSONFileEdit(SharedFile(path).bytes ?? []).value(at: ["mtu"]) == .number("1499"))
            #expect(try machine.mode(path) == 0o644)
        }
    }

    @Test(arguments: [EngineProxy.Place.daemonConfig, .systemdDropIn])
    func `another secret or port is brought up to date and taken back all the same`(place: EngineProxy.Place) throws {
        try with("{\"debug\":true}") { (machine) throws in
            let before = try machine.everything()
            _ = try machine.setup.enable(proxy: proxy(place), isDryRun: false)
            let other = Secret("http://docker-ram:ffffffffffffffffffffffffffffffff@[::1]:7261")
            let change = try machine.setup.enable(proxy: proxy(place, other), isDryRun: false)
            #expect(change.isRestartNeeded && !change.isReloadNeeded)
            #expect(try machine.setup.state().place(of: other) == place)
            #expect(try machine.setup.state().place(of: Self.url) == nil)
            _ = try machine.setup.disable(isDryRun: false)
            #expect(try machine.everything() == before)
        }
    }

    @Test(arguments: [EngineProxy.Place.daemonConfig, .systemdDropIn])
    func `an engine of another version moves the proxy to the other place`(place: EngineProxy.Place) throws {
        try with("{\"debug\":true}") { (machine) throws in
            let before = try machine.everything()
            let other: EngineProxy.Place = place == .daemonConfig ? .systemdDropIn : .daemonConfig
            _ = try machine.setup.enable(proxy: proxy(place), isDryRun: false)
            let change = try machine.setup.enable(proxy: proxy(other), isDryRun: false)
            #expect(change.isRestartNeeded && change.isUnitChanged)
            #expect(try machine.setup.state().place(of: Self.url) == other)
            let isInFile = try machine.text(machine.paths.dockerDaemonConfig)?.contains("proxies") == true
            #expect(isInFile == (other == .daemonConfig))
            #expect(try machine.mode(machine.paths.dockerDaemonConfig) == (isInFile ? 0o600 : 0o644))
            #expect(try (machine.text(machine.paths.proxyDropIn) == nil) == isInFile)
            _ = try machine.setup.disable(isDryRun: false)
            #expect(try machine.everything() == before)
        }
    }

    @Test
    func `what the version without a proxy did is taken over and taken back`() throws {
        try with("{\"debug\":true}") { (machine) throws in
            let before = try machine.everything()
            _ = try machine.setup.enable(isDryRun: false)
            // So it wrote its record.
            let path = "\(machine.paths.undoDirectory)/daemon.json"
            var record = try JSONFileEdit(SharedFile(path).bytes ?? [])
            try record.remove(at: ["written"])
            try record.remove(at: ["madeDirectories"])
            try record.set(.bool(false), at: ["madeDirectory"])
            try SharedFile(path).replace(with: record.bytes)

            _ = try machine.setup.enable(proxy: proxy(.daemonConfig), isDryRun: false)
            #expect(try machine.mode(machine.paths.dockerDaemonConfig) == 0o600)
            _ = try machine.setup.disable(isDryRun: false)
            #expect(try machine.everything() == before)
        }
    }

    @Test
    func `a mode that somebody set since stays`() throws {
        try with("{}") { (machine) throws in
            let path = machine.paths.dockerDaemonConfig
            _ = try machine.setup.enable(proxy: proxy(.daemonConfig), isDryRun: false)
            chmod(path, 0o400)
            _ = try machine.setup.disable(isDryRun: false)
            #expect(try machine.mode(path) == 0o400)
            #expect(try machine.text(path) == "{}")
        }
    }

    @Test
    func `a file that became readable for others is closed again`() throws {
        try with("{}") { (machine) throws in
            let path = machine.paths.dockerDaemonConfig
            _ = try machine.setup.enable(proxy: proxy(.daemonConfig), isDryRun: false)
            chmod(path, 0o644)
            let change = try machine.setup.enable(proxy: proxy(.daemonConfig), isDryRun: false)
            #expect(change.changes.count == 1 && !change.isRestartNeeded)
            #expect(try machine.mode(path) == 0o600)
            _ = try machine.setup.disable(isDryRun: false)
            #expect(try machine.mode(path) == 0o644)
        }
    }

    @Test(arguments: ["{\"proxies\":1}", "{\"proxies\":[]}", "{\"proxies\":{\"no-proxy\":[\"a\"]}}"])
    func `proxies that are not what they should be are left untouched`(shape: String) throws {
        try with(shape) { (machine) throws in
            let before = try machine.everything()
            #expect(throws: UnusableFile.self) {
                try machine.setup.enable(proxy: proxy(.daemonConfig), isDryRun: false)
            }
            #expect(throws: UnusableFile.self) { try machine.setup.state() }
            #expect(try machine.everything() == before)
        }
    }

    @Test
    func `a plugin that a person named goes too, or the engine would not start`() throws {
        try with("{\"authorization-plugins\":[\"docker-ram\",\"opa\"]}") { (machine) throws in
            _ = try machine.setup.enable(proxy: proxy(.daemonConfig), isDryRun: false)
            #expect(try machine.setup.disable(isDryRun: false).isReloadNeeded)
            #expect(try machine.text(machine.paths.dockerDaemonConfig) == "{\"authorization-plugins\":[\"opa\"]}")
        }
    }

    // MARK: - The drop-in

    @Test
    func `the drop-in names a file that is root's alone, and that holds the proxy in both cases`() throws {
        try with(nil) { (machine) throws in
            let change = try machine.setup.enable(proxy: proxy(.systemdDropIn), isDryRun: false)
            #expect(change.isUnitChanged)
            let unit = try #require(try machine.text(machine.paths.proxyDropIn))
            // As the service manager sees it, without the root of this test.
            #expect(unit.contains("\n[Service]\nEnvironmentFile=/etc/docker-ram/engine-proxy.env\n"))
            #expect(!unit.contains("0123456789abcdef"))
            #expect(try machine.mode(machine.paths.proxyDropIn) == 0o644)
            let lines = try #require(try machine.text(machine.paths.proxyEnvironment)).split(separator: "\n")
            #expect(
                lines.dropFirst() == [
                    "HTTP_PROXY=\(Self.url.text)", "HTTPS_PROXY=\(Self.url.text)", "NO_PROXY=127.0.0.1",
                    "http_proxy=\(Self.url.text)", "https_proxy=\(Self.url.text)", "no_proxy=127.0.0.1",
                ]
            )
            #expect(try machine.mode(machine.paths.proxyEnvironment) == 0o600)
            #expect(try machine.mode(machine.paths.dockerDaemonConfig) == 0o644, "there is no secret in it")
        }
    }

    @Test
    func `files of the same names come back`() throws {
        try with(nil) { (machine) throws in
            try machine.write("[Service]\nNice=1\n", machine.paths.proxyDropIn, mode: 0o640)
            try machine.write("A=b\n", machine.paths.proxyEnvironment, mode: 0o644)
            let before = try machine.everything()
            _ = try machine.setup.enable(proxy: proxy(.systemdDropIn), isDryRun: false)
            #expect(try machine.mode(machine.paths.proxyEnvironment) == 0o600)
            _ = try machine.setup.disable(isDryRun: false)
            #expect(try machine.everything() == before)
        }
    }

    @Test(arguments: ["etc/docker-ram", "etc/systemd", "etc/docker"])
    func `a link does not lead out of the root`(place: String) throws {
        try withTemporaryDirectory { (outside) throws in
            try with(nil) { (machine) throws in
                let link = "\(machine.paths.root)/\(place)"
                try Files.makeDirectory(Files.directory(of: link))
                try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: outside)
                let corporate = TakenOverProxy(url: Secret("http://c.test:80"), address: "c.test:80", noProxy: [])
                #expect(throws: UnusableFile.self) {
                    try machine.setup.enable(proxy: proxy(.systemdDropIn, upstream: corporate), isDryRun: false)
                }
                #expect(try FileManager.default.subpathsOfDirectory(atPath: outside) == [])
            }
        }
    }

    // MARK: - The settings of docker-ramd

    @Test(
        "the corporate proxy becomes the egress proxy's, unless an administrator named another",
        arguments: [
            (nil, "http://u:p@c.test:80", ["a.test"]),
            ("{}", "http://u:p@c.test:80", ["a.test"]),
            ("{\"egressProxy\": {\"listen\": \"127.0.0.1:7261\"}}", "http://u:p@c.test:80", ["a.test"]),
            ("{\"egressProxy\": {\"noProxy\": [\"b.test\"]}}", "http://u:p@c.test:80", ["b.test"]),
            ("{\"egressProxy\": {\"upstream\": \"http://mine.test:1\"}}", "http://mine.test:1", nil),
        ] as [(String?, String, [String]?)]
    )
    func corporate(settings: String?, upstream: String, noProxy: [String]?) throws {
        try with(nil) { (machine) throws in
            let path = machine.paths.daemonSettings
            if let settings { try machine.write(settings, path) }
            let before = try machine.everything()
            let taken = TakenOverProxy(url: Secret("http://u:p@c.test:80"), address: "c.test:80", noProxy: ["a.test"])
            let change = try machine.setup.enable(proxy: proxy(.daemonConfig, upstream: taken), isDryRun: false)
            let document = try JSONFileEdit(SharedFile(path).bytes ?? [])
            #expect(document.value(at: ["egressProxy", "upstream"])?.text == upstream)
            #expect(document.value(at: ["egressProxy", "noProxy"])?.elements?.compactMap(\.text) == noProxy)
            #expect(try DaemonSettings(machine.paths).egressProxy.upstream != nil)
            let isTaken = upstream.contains("c.test")
            #expect(change.isDaemonRestartNeeded == isTaken)
            #expect(try machine.mode(path) == (isTaken ? 0o640 : 0o644))

            // Another one is brought up to date, if the first was ours.
            let other = TakenOverProxy(url: Secret("http://d.test:80"), address: "d.test:80", noProxy: [])
            _ = try machine.setup.enable(proxy: proxy(.daemonConfig, upstream: other), isDryRun: false)
            let now = try JSONFileEdit(SharedFile(path).bytes ?? [])
            #expect(now.value(at: ["egressProxy", "upstream"])?.text == (isTaken ? "http://d.test:80" : upstream))
            _ = try machine.setup.disable(isDryRun: false)
            #expect(try machine.everything() == before)
        }
    }

    @Test
    func `docker-ramd reads the settings through its group, and nobody else does`() throws {
        try #require(geteuid() == 0, "only root can give files away")
        try with(nil) { (machine) throws in
            try Files.makeDirectory(machine.paths.stateDirectory)
            chown(machine.paths.stateDirectory, 12345, 54321)
            try machine.write("{}", machine.paths.daemonSettings)
            let taken = TakenOverProxy(url: Secret("http://u:p@c.test:80"), address: "c.test:80", noProxy: [])
            _ = try machine.setup.enable(proxy: proxy(.daemonConfig, upstream: taken), isDryRun: false)
            let status = try Files.status(machine.paths.daemonSettings)
            #expect(status.owner == 0 && status.group == 54321 && status.mode & 0o7777 == 0o640)
            _ = try machine.setup.disable(isDryRun: false)
            let after = try Files.status(machine.paths.daemonSettings)
            #expect(after.owner == 0 && after.group == 0 && after.mode & 0o7777 == 0o644)
        }
    }

    @Test
    func `what docker-ramd would not understand is not written`() throws {
        try with("{}") { (machine) throws in
            try machine.write("{\"egressProxy\": {\"unknown\": 1}}", machine.paths.daemonSettings)
            let before = try machine.everything()
            let taken = TakenOverProxy(url: Secret("http://c.test:80"), address: "c.test:80", noProxy: [])
            #expect(throws: UnusableFile.self) {
                try machine.setup.enable(proxy: proxy(.daemonConfig, upstream: taken), isDryRun: false)
            }
            #expect(try machine.everything() == before)
        }
    }

    // MARK: - Versions

    @Test(
        arguments: [
            ("20.10.24+dfsg1", .systemdDropIn), ("22.06.0-beta.0", .systemdDropIn), ("23.0.0", .daemonConfig),
            ("24.0.5", .daemonConfig), ("29.7.2", .daemonConfig), ("26.1.5+dfsg1", .daemonConfig),
            ("library-import", nil), ("dev", nil), ("", nil), ("0.0.0-20250101", nil), ("23", nil), ("v23.0", nil),
        ] as [(String, EngineProxy.Place?)]
    )
    func `where an engine of a version reads its proxy`(version: String, place: EngineProxy.Place?) {
        #expect(EngineProxy.Place(engineVersion: version) == place)
    }
}
