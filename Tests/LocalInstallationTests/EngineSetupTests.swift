import Foundation
import RegistryAccess
import TestSupport
import Testing

@testable import LocalInstallation

struct EngineSetupTests {
    static let shapes: [String] = [
        "{}", "", "{\n}\n", "{\n  \"debug\": true\n}\n", "{\"debug\":true,\"mtu\":1450}",
        "{\r\n\t\"dns\": [\"1.1.1.1\"]\r\n}", "\u{FEFF}{\"debug\": true}",
        "{\"authorization-plugins\":[]}", "{\"authorization-plugins\":[\"opa\"]}",
        "{\n  \"authorization-plugins\": [\n    \"opa\",\n    \"other\"\n  ],\n  \"x-unknown\": 1.0\n}\n",
        "{\"authorization-plugins\": null, \"log-opts\": {\"max-size\": \"10m\"}}",
        "{\"runtimes\":{\"nvidia\":{\"path\":\"nvidia-container-runtime\",\"runtimeArgs\":[]}},\"default-runtime\":\"nvidia\"}",
    ]

    private func with(_ content: String?, _ body: (InstallationPaths, EngineSetup) throws -> Void) throws {
        try withTemporaryDirectory { (root) throws in
            let paths = InstallationPaths(root: root)
            if let content {
                try Files.makeDirectory(Files.directory(of: paths.dockerDaemonConfig))
                try SharedFile(paths.dockerDaemonConfig).replace(with: Array(content.utf8), mode: 0o644)
            }
            try body(paths, EngineSetup(paths))
        }
    }

    private func content(_ paths: InstallationPaths) throws -> String? {
        try SharedFile(paths.dockerDaemonConfig).bytes.map { String(decoding: $0, as: UTF8.self) }
    }

    @Test(arguments: shapes)
    func `disable gives the bytes back`(shape: String) throws {
        try with(shape) { (paths, setup) throws in
            #expect(try setup.state().isEnabled == false)
            #expect(try setup.enable(isDryRun: true).isReloadNeeded)
            #expect(try content(paths) == shape)
            #expect(try setup.enable(isDryRun: false).isReloadNeeded)
            #expect(try setup.state().plugins.last == "docker-ram")
            #expect(try Files.status(paths.undoDirectory).mode & 0o777 == 0o700)
            #expect(try setup.enable(isDryRun: false).isReloadNeeded == false)
            #expect(try setup.disable(isDryRun: true).isReloadNeeded)
            #expect(try setup.state().isEnabled)
            #expect(try setup.disable(isDryRun: false).isReloadNeeded)
            #expect(try content(paths) == shape)
            #expect(FileManager.default.fileExists(atPath: paths.undoDirectory) == false)
            #expect(try setup.disable(isDryRun: false).isReloadNeeded == false)
        }
    }

    @Test(arguments: ["etc/docker/daemon.json", "etc/docker"])
    func `a link does not lead out of the root`(place: String) throws {
        try withTemporaryDirectory { (outside) throws in
            try SharedFile("\(outside)/daemon.json").replace(with: Array("{}".utf8))
            try with("{}") { (paths, setup) throws in
                let link = "\(paths.root)/\(place)"
                try FileManager.default.removeItem(atPath: link)
                let target = place.hasSuffix("json") ? "\(outside)/daemon.json" : outside
                try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: target)
                #expect(throws: UnusableFile.self) { try setup.enable(isDryRun: false) }
                #expect(try SharedFile("\(outside)/daemon.json").bytes == Array("{}".utf8))
            }
        }
    }

    @Test(arguments: shapes)
    func `disable keeps what others changed since`(shape: String) throws {
        try with(shape) { (paths, setup) throws in
            let before = try JSONFileEdit(Array(shape.utf8)).value(at: ["authorization-plugins"])
            _ = try setup.enable(isDryRun: false)
            let file = try SharedFile(paths.dockerDaemonConfig)
            var edit = try JSONFileEdit(file.bytes ?? [])
            try edit.set(.number("1400"), at: ["mtu"])
            try file.replace(with: edit.bytes)
            _ = try setup.disable(isDryRun: false)
            let after = try JSONFileEdit(Array(try #require(try content(paths)).utf8))
            #expect(after.value(at: ["mtu"]) == .number("1400"))
            let plugins = after.value(at: ["authorization-plugins"])
            #expect(plugins == before || (before == .null && plugins == nil))
        }
    }

    @Test
    func `a file that was not there is made and goes again with its directory`() throws {
        try with(nil) { (paths, setup) throws in
            _ = try setup.enable(isDryRun: false)
            #expect(try content(paths) == "{\n  \"authorization-plugins\": [\n    \"docker-ram\"\n  ]\n}\n")
            #expect(try Files.status(paths.dockerDaemonConfig).mode & 0o777 == 0o644)
            _ = try setup.disable(isDryRun: false)
            #expect(FileManager.default.fileExists(atPath: "\(paths.root)/etc/docker") == false)
        }
    }

    @Test
    func `the other plugins keep their places`() throws {
        try with("{\"authorization-plugins\":[\"opa\"]}") { (paths, setup) throws in
            _ = try setup.enable(isDryRun: false)
            #expect(try content(paths) == "{\"authorization-plugins\":[\"opa\",\"docker-ram\"]}")
        }
    }

    @Test
    func `without a record the entry goes all the same`() throws {
        try with("{\"authorization-plugins\":[\"docker-ram\",\"opa\"]}") { (paths, setup) throws in
            #expect(try setup.enable(isDryRun: false).isReloadNeeded == false)
            _ = try setup.disable(isDryRun: false)
            #expect(try content(paths) == "{\"authorization-plugins\":[\"opa\"]}")
        }
    }

    @Test(arguments: [
        "not json", "{\"debug\": true", "[]", "{\"authorization-plugins\":\"opa\"}", "{\"authorization-plugins\":[1]}",
        "{\"authorization-plugins\":{}}", "{\"a\":1,\"a\":1}", "{} {}", "# comment\n{}",
    ])
    func `a file that is not what it should be is left untouched`(shape: String) throws {
        try with(shape) { (paths, setup) throws in
            #expect(throws: UnusableFile.self) { try setup.enable(isDryRun: false) }
            #expect(throws: UnusableFile.self) { try setup.disable(isDryRun: false) }
            #expect(try content(paths) == shape)
            #expect(FileManager.default.fileExists(atPath: paths.undoDirectory) == false)
        }
    }
}
