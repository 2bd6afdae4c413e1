import Foundation
import LocalInstallation
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import CommandLinePlugin

struct EnrollTests {
    private static let own = SignedOrganization()
    private static let documents = "/v1/organizations/acme/documents"

    /// A machine, and the server of an organization with its root document.
    private func with(
        at place: String = documents,
        _ organization: SignedOrganization = own,
        _ body: (Machine, DocumentServer) throws -> Void
    ) throws {
        try Machine.with(policy: nil) { (machine) throws in
            try DocumentServer.with { (server) throws in
                let root = try organization.root(expires: .now() + 365 * SignedOrganization.day)
                server.put(root, at: "\(place)/root.json")
                server.put(root, at: "\(place)/root/1.json")
                try body(machine, server)
            }
        }
    }

    private func words(
        _ server: String,
        organization: String = "acme",
        fingerprint: String = own.pinned.fingerprint,
        _ more: String...
    ) -> [String] {
        ["enroll", server, "--organization", organization, "--fingerprint", fingerprint] + more
    }

    private func enrollment(of machine: Machine) -> Enrollment.Reading {
        Enrollment.read(InstallationPaths(root: machine.root))
    }

    @Test
    func `a machine is enrolled, and taken out again`() throws {
        try with { machine, server in
            let outcome = machine.run(words(server.url))
            #expect(outcome.code == 0, "\(outcome.errors)")
            #expect(outcome.output.contains("this machine belongs to acme at \(server.url) now"))
            #expect(outcome.errors.contains("docker-ramd does not answer"))
            let found = try #require(enrollment(of: machine).enrollment)
            #expect(found.organization == "acme" && found.fingerprint == Self.own.pinned.fingerprint)
            #expect(found.server == (try ServerURL(server.url)) && !found.requiresSignIn)
            #expect(machine.run(["check", "alpine"]).code == 3, "there is no policy yet")
            for name in ["marks.json", "reports/progress", "reports/1.json"] {
                try machine.write("{}", "root/var/lib/docker-ram/organization/\(name)")
            }
            let left = machine.run(["enroll", "--remove"])
            #expect(left.code == 0 && left.output.contains("belongs to acme no more"), "\(left.errors)")
            #expect(enrollment(of: machine) == .none)
            #expect(try Files.names(in: "\(machine.root)/var/lib/docker-ram/organization").isEmpty)
            #expect(machine.run(["check", "alpine"]).code == 0)
            #expect(machine.run(["enroll", "--remove"]).errors.contains("it belonged to none"))
        }
    }

    @Test
    func `an enrollment token goes to docker-ramd, and nowhere else`() throws {
        try with { machine, server in
            let registered = #"{"registered":{"device":"d1234567890"}}"# + "\n"
            try machine.withDaemon(answer: { _ in registered }) { daemon in
                let outcome = machine.run(words(server.url, "--enrollment-token-stdin"), input: "rame_secret")
                #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
                #expect(outcome.output.contains("this machine belongs to acme"))
                #expect(daemon.requests == [#"{"request":"register","enrollmentToken":"rame_secret"}"# + "\n"])
            }
            #expect(try !machine.read("root/etc/docker-ram/enrollment.json").contains("rame_"))
        }
    }

    @Test(
        arguments: [
            ("rame_x", #"{"refused":{"code":"enrollment_refused","text":"it has ended","hint":"ask an owner"}}"#),
            ("rame_x", nil),
            ("ramp_x", #"{"registered":{"device":"d1234567890"}}"#),
            ("", #"{"registered":{"device":"d1234567890"}}"#),
        ]
    )
    func `a machine that is not registered is told so`(token: String, answer: String?) throws {
        try with { machine, server in
            func run() throws {
                let outcome = machine.run(words(server.url, "--enrollment-token-stdin"), input: token)
                #expect(outcome.code == 1 && outcome.output.isEmpty)
                #expect(!outcome.errors.contains(token) || token.isEmpty)
                guard token == "rame_x" else {
                    #expect(outcome.errors.contains("enrollment token"))
                    #expect(enrollment(of: machine) == .none, "nothing was changed")
                    return
                }
                #expect(outcome.errors.contains("this machine is enrolled, but not registered: "))
                if answer != nil { #expect(outcome.errors.contains("it has ended\ndocker ram: hint: ask an owner")) }
                #expect(enrollment(of: machine).enrollment != nil)
            }
            guard let answer else { return try run() }
            try machine.withDaemon(answer: { _ in answer + "\n" }) { _ in try run() }
        }
    }

    @Test
    func `sign-in can be required, and the documents can lie elsewhere`() throws {
        try with(at: "/copy") { machine, server in
            let outcome = machine.run(
                words(server.url, "--documents", "\(server.url)/copy/", "--require-sign-in", "--format", "json")
            )
            #expect(outcome.code == 0, "\(outcome.errors)")
            let json = try StrictJSON.parse(Array(outcome.output.utf8))
            #expect(json.value(named: "rootVersion") == .number("1"))
            #expect(json.value(named: "signInRequired") == .bool(true))
            #expect(try machine.read("root/etc/docker-ram/registry.json").contains("\"acme\""))
            #expect(enrollment(of: machine).enrollment?.requiresSignIn == true)
        }
    }

    @Test
    func `a fingerprint that does not match has an answer of its own, and nothing is written`() throws {
        let stranger = SignedOrganization()
        try with { machine, server in
            let outcome = machine.run(
                words(server.url, fingerprint: stranger.pinned.fingerprint, "--require-sign-in")
            )
            #expect(outcome.code == 1)
            #expect(outcome.errors.contains("the fingerprint does not match"))
            #expect(
                outcome.errors.contains(stranger.pinned.fingerprint) && outcome.errors.contains("nothing was changed")
            )
            #expect(enrollment(of: machine) == .none)
            #expect(throws: FileError.self) { try Files.status("\(machine.root)/etc/docker-ram/registry.json") }
        }
    }

    @Test
    func `an older root key is found, too`() throws {
        var newer = Self.own
        newer.keys[.root] = [.generate()]
        try with { machine, server in
            let second = try newer.root(2, expires: .now() + 365 * SignedOrganization.day)
            server.put(second, at: "\(Self.documents)/root.json")
            #expect(machine.run(words(server.url)).code == 0)
        }
    }

    @Test(
        arguments: [
            (["enroll"], 64, "name the server"), (["enroll", "https://x.test"], 64, "name the server"),
            (["enroll", "--remove", "https://x.test"], 64, "it goes alone"),
            (["enroll", "--remove", "--require-sign-in"], 64, "it goes alone"),
            (["enroll", "http://ram.acme.test", "--organization", "acme", "--fingerprint", zeros], 1, "plain http"),
            (
                ["enroll", "https://x.test", "--organization", "A", "--fingerprint", zeros], 1,
                "no name of an organization"
            ),
            (["enroll", "https://x.test", "--organization", "acme", "--fingerprint", "4f53"], 1, "is no fingerprint"),
            (
                [
                    "enroll", "https://x.test", "--organization", "acme", "--fingerprint", zeros,
                    "--certificate-authority",
                    "ca.pem",
                ], 1, "no absolute path"
            ),
            (
                ["enroll", "http://127.0.0.1:1", "--organization", "acme", "--fingerprint", zeros], 1,
                "nothing was changed"
            ),
        ] as [([String], Int32, String)]
    )
    func `what cannot be done says why`(_ words: [String], _ code: Int32, _ text: String) throws {
        try Machine.with(policy: nil) { (machine) throws in
            let outcome = machine.run(words)
            #expect(outcome.code == code)
            #expect(outcome.errors.contains(text), "\(outcome.errors)")
            #expect(enrollment(of: machine) == .none)
        }
    }

    private static let zeros = "sha256:" + String(repeating: "0", count: 64)

    @Test
    func `another organization's server, and a server without one, are told apart`() throws {
        let other = SignedOrganization(name: "umbrella")
        try with(other) { machine, server in
            let wrong = machine.run(words(server.url, fingerprint: other.pinned.fingerprint))
            #expect(wrong.code == 1 && wrong.errors.contains("another organization: \"umbrella\""))
            let none = machine.run(words(server.url, organization: "initech"))
            #expect(none.code == 1 && none.errors.contains("there is no root document of \"initech\""))
            #expect(enrollment(of: machine) == .none)
        }
    }
}
