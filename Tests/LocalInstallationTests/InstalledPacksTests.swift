import Glibc
import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

struct InstalledPacksTests {
    static func document(version: Int, host: String = "cdn.ghcr.test") -> String {
        #"{"version":\#(version),"packs":[{"name":"GHCR","registries":["ghcr.io"],"#
            + #""hosts":[{"host":"\#(host)","purpose":"content"}]}]}"#
    }

    private func withPacks(_ text: String?, _ body: (InstallationPaths) throws -> Void) throws {
        try withTemporaryDirectory { (root) throws in
            let paths = InstallationPaths(root: root)
            try Files.makeDirectory(Files.directory(of: paths.registryPacks))
            let policy = #"{"version":1,"organization":"acme","registries":[{"address":"ghcr.io","allowed":true}]}"#
            try Files.replace(paths.policyFile, with: Array(policy.utf8), mode: 0o644)
            if let text { try Files.replace(paths.registryPacks, with: Array(text.utf8), mode: 0o644) }
            try body(paths)
        }
    }

    private func opens(_ host: String, _ paths: InstallationPaths) throws -> Bool {
        PolicyInForce.load(paths).verdict(onReaching: try RegistryAddress(host)).outcome == .allow
    }

    @Test("Without a file the packs of the program are in force")
    func none() throws {
        try withPacks(nil) { (paths) throws in
            #expect(InstalledPacks.load(paths) == InstalledPacks.load(InstallationPaths(root: "/nowhere")))
            #expect(InstalledPacks.load(paths).packs == .embedded)
            #expect(InstalledPacks.load(paths).problem == nil)
            #expect(try opens("pkg-containers.githubusercontent.com", paths))
        }
    }

    @Test("A newer file takes the place of all packs of the program")
    func newer() throws {
        try withPacks(Self.document(version: 1000)) { (paths) throws in
            let installed = InstalledPacks.load(paths)
            #expect(installed.packs.version == 1000)
            #expect(installed.path == paths.registryPacks)
            #expect(installed.problem == nil)
            #expect(try opens("cdn.ghcr.test", paths))
            #expect(try !opens("pkg-containers.githubusercontent.com", paths))
        }
    }

    @Test(
        "A file that cannot be used leaves the packs of the program in force, with a reason",
        arguments: [
            ("", "line 1, column 1"), ("{", "line 1"), ("[]", "expected an object"),
            (document(version: 1), "not newer than version"),
            (document(version: 0), "whole number from 1"), (document(version: 1000, host: "*.com"), "bad host"),
            (document(version: 1000) + "x", "after the end"),
            (document(version: 1000).replacing("purpose", with: "purpos"), "unknown key \"purpos\""),
            (document(version: 1000).replacing("\"packs\"", with: "\"version\":1000,\"packs\""), "comes twice"),
            (document(version: 1000).replacing("content", with: "registries"), "unknown value"),
        ]
    )
    func faulty(_ text: String, _ problem: String) throws {
        try withPacks(text) { (paths) throws in
            let installed = InstalledPacks.load(paths)
            #expect(installed.packs == .embedded)
            #expect(installed.path == nil)
            #expect(installed.problem?.contains(problem) == true, "\(installed.problem ?? "")")
            #expect(installed.problem?.contains(paths.registryPacks) == true)
            #expect(try opens("pkg-containers.githubusercontent.com", paths))
            #expect(try !opens("cdn.ghcr.test", paths))
        }
    }

    @Test("Without packs only the registry itself is open")
    func empty() throws {
        try withPacks(Self.document(version: 1000)) { (paths) throws in
            let policy = PolicyInForce.load(paths, packs: .empty)
            #expect(policy.verdict(onReaching: try RegistryAddress("ghcr.io")).outcome == .allow)
            #expect(policy.verdict(onReaching: try RegistryAddress("cdn.ghcr.test")).outcome == .deny)
            #expect(policy.verdict(on: AccessRequest(.pull, try RegistryAddress("ghcr.io"))).outcome == .allow)
        }
    }

    @Test("A file that others may write to is not read")
    func writable() throws {
        try withPacks(Self.document(version: 1000)) { (paths) throws in
            #expect(chmod(paths.registryPacks, 0o666) == 0)
            #expect(InstalledPacks.load(paths).problem?.contains("can be written by others") == true)
            #expect(chmod(paths.registryPacks, 0o644) == 0)
            #expect(InstalledPacks.load(paths).problem == nil)
            let directory = Files.directory(of: paths.registryPacks)
            #expect(chmod(directory, 0o777) == 0)
            #expect(InstalledPacks.load(paths).problem?.contains("the directory") == true)
            #expect(chmod(directory, 0o755) == 0)
            #expect(unlink(paths.registryPacks) == 0)
            #expect(symlink("/nowhere/packs.json", paths.registryPacks) == 0)
            #expect(InstalledPacks.load(paths).problem?.contains("no such file") == true)
        }
    }

    @Test("A file of a stranger is not read", .enabled(if: geteuid() == 0))
    func stranger() throws {
        try withPacks(Self.document(version: 1000)) { (paths) throws in
            #expect(chown(paths.registryPacks, 12345, 0) == 0)
            let installed = InstalledPacks.load(paths)
            #expect(installed.problem?.contains("belongs to user 12345") == true)
            #expect(installed.packs == .embedded)
        }
    }
}
