import Foundation
import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

struct LockdownTests {
    private static func rules(
        _ exceptions: [String] = [],
        cgroup: String = "system.slice/docker.service",
        listen: String = "127.0.0.1:7260"
    ) -> LockdownRules? {
        LockdownRules(
            cgroup: cgroup,
            listen: listen,
            exceptions: exceptions.compactMap(LockdownRules.Exception.init)
        )
    }

    @Test(arguments: [
        ("10.0.0.5:514", "ip daddr 10.0.0.5 meta l4proto { tcp, udp } th dport 514 accept"),
        ("10.1.0.0/16:*", "ip daddr 10.1.0.0/16 accept"),
        ("10.1.0.0/16", "ip daddr 10.1.0.0/16 meta l4proto { tcp, udp } th dport 443 accept"),
        ("[fd00::1]:2377", "ip6 daddr fd00::1 meta l4proto { tcp, udp } th dport 2377 accept"),
        ("[fd00::]/8:*", "ip6 daddr fd00::/8 accept"),
    ])
    func `an exception becomes a rule`(_ text: String, _ rule: String) throws {
        let lines = try #require(Self.rules([text])).text.split(separator: "\n").map { $0.drop { $0 == " " } }
        #expect(lines.filter { $0 == rule }.count == 1)
    }

    // Names, and what could bring other rules in.
    @Test(arguments: [
        "registry.acme.test", "*.acme.test:5000", "**", "localhost:5000", "10.0.0.5 accept", "10.0.0.5:514; accept",
        "10.0.0.5:514\naccept", "10.0.0.5:0", "10.0.0.5:99999", "10.0.0.1/8", "010.0.0.5:1", "1.2.3", "", "0x7f.1:1",
    ])
    func `what is no address is no exception`(_ text: String) {
        #expect(LockdownRules.Exception(text) == nil)
    }

    @Test(arguments: ["", "/system.slice", "a\" accept; #", "a b", "a\nb", "a;b", "a{b", "é.service"])
    func `a cgroup that nft could read otherwise gets no rules`(_ cgroup: String) {
        #expect(Self.rules(cgroup: cgroup) == nil)
    }

    @Test(arguments: [
        ("127.0.0.1:7260", "ip daddr 127.0.0.1 tcp dport 7260 accept"),
        ("0.0.0.0:8000", "ip daddr 127.0.0.1 tcp dport 8000 accept"),
        ("[::1]:7260", "ip6 daddr ::1 tcp dport 7260 accept"),
        ("172.17.0.1:7260", "ip daddr 172.17.0.1 tcp dport 7260 accept"),
    ])
    func `the proxy stays reachable where it listens`(_ listen: String, _ rule: String) throws {
        #expect(try #require(Self.rules(listen: listen)).text.contains("        \(rule)\n"))
    }

    @Test
    func `a proxy on any port cannot be named`() {
        #expect(Self.rules(listen: "127.0.0.1:0") == nil)
    }

    @Test(arguments: [true, false])
    func `disable leaves the machine as it was`(_ hasDirectories: Bool) throws {
        try withTemporaryDirectory { (root) throws in
            let paths = InstallationPaths(root: root)
            let lockdown = Lockdown(paths)
            for path in [paths.lockdownRules, paths.lockdownDropIn] {
                let directory = Files.directory(of: path)
                try Files.makeDirectory(hasDirectories ? directory : Files.directory(of: directory))
            }
            try Files.makeDirectory(Files.directory(of: paths.undoDirectory))
            let before = try Self.tree(root)
            let rules = try #require(Self.rules())
            #expect(try lockdown.enable(rules, nft: "/usr/sbin/nft", isDryRun: true).count == 2)
            #expect(try Self.tree(root) == before)
            #expect(try lockdown.enable(rules, nft: "/usr/sbin/nft", isDryRun: false).count == 2)
            #expect(try lockdown.state().isEnabled)
            #expect(try lockdown.enable(rules, nft: "/usr/sbin/nft", isDryRun: false).isEmpty)
            // Other rules in their place are still taken back.
            let others = try #require(Self.rules(["10.0.0.5:514"]))
            #expect(try lockdown.enable(others, nft: "/usr/sbin/nft", isDryRun: false).count == 1)
            #expect(try lockdown.state().rules == others.text)
            #expect(try lockdown.disable(isDryRun: true).count == 2)
            #expect(try lockdown.state().isEnabled)
            #expect(try lockdown.disable(isDryRun: false).count == 2)
            #expect(try Self.tree(root) == before)
            #expect(try lockdown.disable(isDryRun: false).isEmpty)
        }
    }

    @Test
    func `files that somebody changed since are not overwritten, and no drop-in is left without its rules`() throws {
        try withTemporaryDirectory { (root) throws in
            let paths = InstallationPaths(root: root)
            let lockdown = Lockdown(paths)
            let rules = try #require(Self.rules())
            _ = try lockdown.enable(rules, nft: "/usr/sbin/nft", isDryRun: false)
            let ours = try SharedFile(paths.lockdownDropIn)
            try ours.replace(with: Array("[Service]\n".utf8))
            #expect(throws: UnusableFile.self) { try lockdown.disable(isDryRun: false) }
            #expect(throws: UnusableFile.self) { try lockdown.enable(rules, nft: "/bin/nft", isDryRun: false) }
            #expect(try SharedFile(paths.lockdownRules).bytes != nil)
            #expect(try lockdown.state().isEnabled == false)
            #expect(try lockdown.state().problem?.contains("changed since") == true)

            try SharedFile(paths.lockdownDropIn).replace(with: ours.bytes ?? [])
            try SharedFile(paths.lockdownRules).replace(with: Array("# mine\n".utf8))
            let left = try lockdown.disable(isDryRun: false)
            #expect(left.last == "= \(paths.lockdownRules), which was changed since")
            #expect(try SharedFile(paths.lockdownRules).bytes == Array("# mine\n".utf8))
            #expect(try SharedFile(paths.lockdownDropIn).bytes == nil)
        }
    }

    private static func tree(_ root: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: root).sorted()
    }
}
