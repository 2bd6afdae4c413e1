import Glibc
import LocalInstallation
import RegistryAccess
import TestSupport
import Testing

/// Files under a root, named by their path below it.
private func withFiles(_ files: [String: String], _ body: (InstallationPaths) throws -> Void) throws {
    try withTemporaryDirectory { (root) throws in
        for (name, text) in files {
            let path = "\(root)/\(name)"
            try Files.makeDirectory(Files.directory(of: path))
            try Files.replace(path, with: Array(text.utf8), mode: 0o644)
        }
        try body(InstallationPaths(root: root))
    }
}

private let fingerprint = "sha256:" + String(repeating: "0f", count: 32)
private let enrollmentFile = "etc/docker-ram/enrollment.json"
private let registryFile = "etc/docker-ram/registry.json"
private let desktopFile = "usr/share/docker-desktop/registry/registry.json"
private let inForceFile = "var/lib/docker-ram/in-force.json"

private func enrollment(_ more: String = "") -> String {
    #"{"version":1,"server":"https://ram.acme.test:8443","organization":"acme","fingerprint":"\#(fingerprint)"\#(more)}"#
}

struct EnrollmentTests {
    @Test("A machine without the file belongs to nobody, whatever Docker Desktop is told")
    func none() throws {
        try withFiles([desktopFile: #"{"allowedOrgs":["acme"]}"#]) { paths in
            #expect(Enrollment.read(paths) == .none)
        }
    }

    @Test("An enrollment is read and written")
    func reading() throws {
        let more = #","documents":"https://cdn.acme.test/acme/","certificateAuthority":"/etc/ca.pem""#
        try withFiles([enrollmentFile: enrollment(more)]) { paths in
            let found = try #require(Enrollment.read(paths).enrollment)
            #expect(found.server == (try ServerURL("https://ram.acme.test:8443")))
            #expect(found.organization == "acme" && found.fingerprint == fingerprint)
            #expect(found.documents == (try ServerURL("https://cdn.acme.test/acme")))
            #expect(found.certificateAuthority == "/etc/ca.pem" && !found.requiresSignIn)
            #expect(found.servers.map(\.target.address.description) == ["ram.acme.test:8443", "cdn.acme.test"])
            #expect(try Enrollment(json: Array(found.json.text().utf8)) == found)
        }
    }

    @Test(
        "A faulty enrollment is none that could be gone by, and says where",
        arguments: [
            ("", "line 1, column 1"), ("{}", "\"version\" is missing"), (enrollment(#","x":1"#), "unknown key \"x\""),
            (enrollment(#","server":"https://b.test""#), "comes twice"),
            (enrollment().replacing("\"version\":1", with: "\"version\":2"), "line 1, column 12"),
            (enrollment().replacing("https:", with: "http:"), "plain http"),
            (enrollment().replacing("acme\"", with: "AC\""), "name of an organization"),
            (enrollment().replacing("sha256:0f", with: "sha256:0F"), "64 hexadecimal digits"),
            (enrollment(#","certificateAuthority":"ca.pem""#), "absolute path"),
            (enrollment(#","documents":"https://cdn.acme.test/a?b""#), "address of a server"),
            (enrollment().replacing(#""organization":"acme","#, with: ""), "\"organization\" is missing"),
        ]
    )
    func faulty(_ text: String, _ words: String) throws {
        try withFiles([enrollmentFile: text]) { paths in
            guard case .faulty(let problem) = Enrollment.read(paths) else { throw Unexpected() }
            #expect(problem.contains(words) && problem.contains(paths.enrollment), "\(problem)")
            #expect(!PolicyInForce.load(paths).verdict(on: AccessRequest(.pull, .dockerHub)).isAllowed)
        }
    }

    private struct Unexpected: Error {}

    @Test(
        "Sign-in is enforced where the organization is named, by either file; a list without it refuses everything",
        arguments: [
            ([:], false, nil), ([registryFile: #"{"allowedOrgs":["acme"]}"#], true, nil),
            ([desktopFile: #"{"allowedOrgs":["other","acme"]}"#], true, nil),
            ([registryFile: #"{"allowedOrgs":["other"]}"#], false, "does not name \"acme\""),
            ([registryFile: #"{"allowedOrgs":[]}"#], false, "does not name \"acme\""),
            (
                [registryFile: #"{"allowedOrgs":["acme"]}"#, desktopFile: #"{"allowedOrgs":["other"]}"#], false,
                "docker-desktop"
            ),
            ([registryFile: #"{"allowedOrgs":["acme"],"x":1}"#], false, "unknown key"),
            ([registryFile: "{}"], false, "\"allowedOrgs\" is missing"),
            ([registryFile: #"{"allowedOrgs":["Acme"]}"#], false, "does not name"),
        ] as [([String: String], Bool, String?)]
    )
    func signIn(_ files: [String: String], _ isRequired: Bool, _ words: String?) throws {
        try withFiles(files.merging([enrollmentFile: enrollment()]) { $1 }) { paths in
            switch Enrollment.read(paths) {
            case .enrolled(let enrollment): #expect(enrollment.requiresSignIn == isRequired && words == nil)
            case .faulty(let problem): #expect(problem.contains(words ?? "this is fine"), "\(problem)")
            case .none: Issue.record("the machine belongs to somebody")
            }
        }
    }

    @Test("What others can write decides nothing", arguments: [enrollmentFile, registryFile, desktopFile])
    func trust(_ name: String) throws {
        let requirement = #"{"allowedOrgs":["acme"]}"#
        let files = [enrollmentFile: enrollment(), registryFile: requirement, desktopFile: requirement]
        for change in ["file", "directory", "owner", "link"] {
            if change == "owner", geteuid() != 0 { continue }
            try withFiles(files) { paths in
                let path = "\(paths.root)/\(name)"
                #expect(Enrollment.read(paths).enrollment != nil)
                switch change {
                case "file": chmod(path, 0o666)
                case "directory": chmod(Files.directory(of: path), 0o777)
                case "owner": chown(path, 12345, 0)
                default:
                    unlink(path)
                    symlink("/nowhere/file", path)
                }
                guard case .faulty(let problem) = Enrollment.read(paths) else {
                    Issue.record("\(change) of \(name) is trusted")
                    return
                }
                #expect(problem.contains(change == "directory" ? Files.directory(of: path) : path))
            }
        }
    }
}

struct OrganizationPolicyTests {
    private static let now = Instant(seconds: 1_795_614_310)
    private static let pull = AccessRequest(.pull, .dockerHub)
    private static let policyFile =
        #"{"version":7,"organization":"acme","registries":[{"address":"docker.io","allowed":true}]}"#
    private static let policy = try? AccessPolicy(json: Array(policyFile.utf8))

    private static func state(
        _ state: OrganizationPolicy.State,
        reason: String = "",
        until: Instant? = now + 60,
        policy: AccessPolicy? = policy
    ) -> OrganizationPolicy {
        OrganizationPolicy(
            organization: "acme",
            server: "https://ram.acme.test:8443",
            state: state,
            reason: reason,
            issued: now + -60,
            until: until,
            user: "alice",
            policy: policy
        )
    }

    private func withState(_ json: String?, _ body: (InstallationPaths) throws -> Void) throws {
        var files = [
            enrollmentFile: enrollment(),
            // An enrolled machine does not go by these.
            "etc/docker-ram/policy.json": Self.policyFile,
            "var/lib/docker-ram/last-valid-policy.json": Self.policyFile,
        ]
        files[inForceFile] = json
        try withFiles(files, body)
    }

    @Test("What docker-ramd has written down decides, until its end")
    func enforced() throws {
        try withState(Self.state(.enforced, reason: "the server does not answer").json) { paths in
            let policy = PolicyInForce.load(paths, at: Self.now)
            #expect(policy.policy?.version == 7 && policy.verdict(on: Self.pull).isAllowed)
            guard case .policy(_, let source) = policy else { return }
            #expect(source.path == paths.organizationPolicy && source.problem == "the server does not answer")
            #expect(source.organization?.issued == Self.now + -60)
            #expect(source.organization?.until == Self.now + 60 && source.organization?.user == "alice")
            #expect(PolicyInForce.load(paths, at: Self.now + 59).verdict(on: Self.pull).isAllowed)
            for late in [60, 3600] as [Int64] {
                let ended = PolicyInForce.load(paths, at: Self.now + late)
                #expect(ended.verdict(on: Self.pull) == Verdict(.deny, .policyExpired))
                #expect(ended.policy == nil && ended.problem?.contains("does not answer") == true)
            }
        }
    }

    @Test(
        "What withholds the policy refuses everything in its own words",
        arguments: [
            (OrganizationPolicy.State.signInRequired, Verdict.Reason.signInRequired, "Run: docker ram login."),
            (.notAMember, .notAMember, "Signed in: alice."),
            (.expired, .policyExpired, "why not (ID). Run: docker ram status."),
            (.none, .policyUnavailable, "Registries are refused until the policy can be read"),
        ]
    )
    func withheld(_ state: OrganizationPolicy.State, _ reason: Verdict.Reason, _ words: String) throws {
        // Whatever policy stands beside it.
        try withState(Self.state(state, reason: "why not").json) { paths in
            let policy = PolicyInForce.load(paths, at: Self.now)
            #expect(policy.policy == nil)
            #expect(policy.verdict(on: Self.pull) == Verdict(.deny, reason))
            #expect(policy.verdict(onReaching: .dockerHub) == Verdict(.deny, reason))
            #expect(policy.verdict(refusing: .notInspected) == Verdict(.deny, reason))
            let id = DecisionID()
            let subject = try #require(policy.refusalOfEverything)
            let sentence = Refusal(subject, id: id, policy: policy.policy).sentence
            #expect(sentence.contains(words.replacing("ID", with: "\(id)")), "\(sentence)")
            #expect(policy.problem?.contains("acme") == true)
        }
    }

    @Test(
        "On an enrolled machine, what cannot be relied on refuses everything",
        arguments: [
            nil, "", "{}", "null", state(.enforced).json.replacing("acme", with: "other"),
            state(.enforced).json.replacing("8443", with: "8444"), state(.enforced, policy: nil).json,
            state(.enforced, until: nil).json, state(.enforced).json.replacing("enforced", with: "fine"),
            state(.enforced).json.replacing("\"version\":1,", with: ""),
            state(.enforced).json.replacing("\"user\"", with: "\"usr\""), state(.enforced).json + "x",
            state(.enforced).json.replacing("\"allowed\"", with: "\"alowed\""),
        ] as [String?]
    )
    func unreliable(_ json: String?) throws {
        try withState(json) { paths in
            let policy = PolicyInForce.load(paths, at: Self.now)
            #expect(!policy.verdict(on: Self.pull).isAllowed, "\(policy)")
            #expect(policy.problem != nil)
        }
    }

    @Test("Only docker-ramd and root write it", .enabled(if: geteuid() == 0, "only root can give files away"))
    func trust() throws {
        try withState(Self.state(.enforced).json) { paths in
            #expect(PolicyInForce.load(paths, at: Self.now).policy != nil)
            chown(paths.organizationPolicy, 12345, 0)
            #expect(PolicyInForce.load(paths, at: Self.now).policy == nil)
            chown(paths.stateDirectory, 12345, 0)
            #expect(PolicyInForce.load(paths, at: Self.now).policy != nil, "docker-ramd's own user has written it")
            chmod(paths.organizationPolicy, 0o666)
            #expect(PolicyInForce.load(paths, at: Self.now).policy == nil)
        }
    }

    @Test("The own server is within reach whatever is in force")
    func server() throws {
        let servers = [try ServerURL("https://ram.acme.test:8443")]
        let own = try RegistryAddress("ram.acme.test:8443")
        for state in OrganizationPolicy.State.allCases {
            let policy = Self.state(state).inForce(from: "/x", at: Self.now)
            #expect(policy.verdict(onReaching: own, orOneOf: servers) == Verdict(.allow, .organizationServer))
            let other = try RegistryAddress("ram.acme.test")
            #expect(policy.verdict(onReaching: other, orOneOf: servers) == policy.verdict(onReaching: other))
        }
    }

    @Test("It is written and read", arguments: OrganizationPolicy.State.allCases)
    func roundTrip(_ state: OrganizationPolicy.State) throws {
        try withState(nil) { paths in
            let written = Self.state(state, reason: "a \"reason\"")
            try written.write(paths)
            let file = try Files.read(paths.organizationPolicy, atMost: 1 << 20)
            #expect(file.status.mode & 0o777 == 0o644)
            let read = try OrganizationPolicy(json: file.bytes)
            #expect(read.json == written.json && read.policy?.version == 7)
            #expect(read.until == written.until && read.issued == written.issued)
        }
    }
}
