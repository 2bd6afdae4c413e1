import Glibc
import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

struct PolicyInForceTests {
    private static let valid =
        #"{"version":1,"organization":"acme","registries":[{"address":"docker.io","allowed":true}]}"#
    private static let newer =
        #"{"version":2,"organization":"acme","registries":[{"address":"ghcr.io","allowed":true}]}"#

    /// A root with a policy file and, if it is given, a last valid policy.
    private func withRoot(policy: String?, lastValid: String? = nil, _ body: (InstallationPaths) throws -> Void) throws
    {
        try withTemporaryDirectory { (root) throws in
            let paths = InstallationPaths(root: root)
            try Files.makeDirectory(Files.directory(of: paths.policyFile))
            try Files.makeDirectory(paths.stateDirectory)
            if let policy { try Files.replace(paths.policyFile, with: Array(policy.utf8), mode: 0o644) }
            if let lastValid { try Files.replace(paths.lastValidPolicy, with: Array(lastValid.utf8), mode: 0o644) }
            try body(paths)
        }
    }

    private let pull = AccessRequest(.pull, .dockerHub)

    @Test("Without a policy file the machine is unmanaged, whatever was in force once")
    func unmanaged() throws {
        try withRoot(policy: nil, lastValid: Self.valid) { paths in
            let policy = PolicyInForce.load(paths)
            guard case .unmanaged = policy else {
                Issue.record("\(policy)")
                return
            }
            #expect(policy.verdict(on: pull) == Verdict(.allow, .unmanaged))
            #expect(policy.verdict(refusing: .notInspected) == Verdict(.allow, .unmanaged))
            #expect(policy.problem == nil)
        }
    }

    @Test("A link to a policy that is not there is no machine without a policy")
    func danglingLink() throws {
        for lastValid in [nil, Self.newer] {
            try withRoot(policy: nil, lastValid: lastValid) { paths in
                #expect(symlink("/nowhere/policy.json", paths.policyFile) == 0)
                let policy = PolicyInForce.load(paths)
                #expect(policy.policy?.version == (lastValid == nil ? nil : 2))
                #expect(!policy.verdict(on: pull).isAllowed)
                #expect(policy.problem?.contains("no such file") == true)
            }
        }
    }

    @Test("A policy file decides")
    func policyFile() throws {
        try withRoot(policy: Self.valid) { paths in
            let policy = PolicyInForce.load(paths)
            #expect(policy.policy?.version == 1)
            #expect(policy.problem == nil)
            #expect(policy.verdict(on: pull).isAllowed)
            let other = try RegistryAddress("ghcr.io")
            #expect(policy.verdict(on: AccessRequest(.pull, other)) == Verdict(.deny, .noRule))
        }
    }

    @Test(
        "A broken policy file leaves the last valid one in force and says so",
        arguments: ["", "{", #"{"version":3}"#, "\0"]
    )
    func fallsBack(_ broken: String) throws {
        try withRoot(policy: broken, lastValid: Self.valid) { paths in
            let policy = PolicyInForce.load(paths)
            #expect(policy.policy?.version == 1)
            #expect(policy.problem?.contains("line 1") == true, "\(policy.problem ?? "")")
            #expect(policy.verdict(on: pull).isAllowed)
        }
    }

    @Test("A broken policy file and nothing to fall back on refuses everything")
    func unavailable() throws {
        for lastValid in [nil, "{"] {
            try withRoot(policy: "{", lastValid: lastValid) { paths in
                let policy = PolicyInForce.load(paths)
                #expect(policy.policy == nil)
                #expect(policy.verdict(on: pull) == Verdict(.deny, .policyUnavailable))
                #expect(policy.verdict(refusing: .notInspected) == Verdict(.deny, .policyUnavailable))
            }
        }
    }

    @Test(
        "A policy that others may write to is refused, with the reason",
        arguments: [0o666, 0o664, 0o646] as [UInt32]
    )
    func writable(mode: UInt32) throws {
        try withRoot(policy: Self.newer, lastValid: Self.valid) { paths in
            chmod(paths.policyFile, mode)
            let policy = PolicyInForce.load(paths)
            #expect(policy.policy?.version == 1)
            #expect(policy.problem?.contains("can be written by others") == true)
            #expect(policy.problem?.contains("chmod go-w") == true)
        }
        try withRoot(policy: Self.newer, lastValid: Self.valid) { paths in
            chmod(Files.directory(of: paths.policyFile), 0o777)
            #expect(PolicyInForce.load(paths).problem?.contains("the directory") == true)
        }
    }

    @Test("A policy of a stranger is refused", .enabled(if: geteuid() == 0, "only root can give files away"))
    func owner() throws {
        try withRoot(policy: Self.newer) { paths in
            chown(paths.policyFile, 12345, 0)
            #expect(PolicyInForce.load(paths).problem?.contains("belongs to user 12345") == true)
            #expect(!PolicyInForce.load(paths).verdict(on: pull).isAllowed)
        }
        try withRoot(policy: "{", lastValid: Self.valid) { paths in
            chown(paths.lastValidPolicy, 12345, 0)
            #expect(PolicyInForce.load(paths).policy == nil, "nor is it taken for the last valid one")
            chown(paths.stateDirectory, 12345, 0)
            #expect(PolicyInForce.load(paths).policy?.version == 1, "docker-ramd's own directory tells its user")
        }
    }

    @Test("What is no regular file is refused and never waited for")
    func special() throws {
        try withRoot(policy: nil) { paths in
            mkfifo(paths.policyFile, 0o644)
            #expect(!PolicyInForce.load(paths).verdict(on: pull).isAllowed)
            unlink(paths.policyFile)
            mkdir(paths.policyFile, 0o755)
            #expect(!PolicyInForce.load(paths).verdict(on: pull).isAllowed)
            rmdir(paths.policyFile)
            symlink("policy.json", paths.policyFile)
            #expect(!PolicyInForce.load(paths).verdict(on: pull).isAllowed, "a loop of links is no missing file")
        }
    }
}
