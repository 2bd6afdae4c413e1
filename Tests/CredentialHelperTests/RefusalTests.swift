import Glibc
import LocalInstallation
import RegistryAccess
import Testing

@testable import CredentialHelper

/// What the policy does to credentials.
@Suite(.serialized)
struct HelperRefusalTests {
    private var sentence: Regex<Substring> {
        /Your organization has disallowed this registry: ghcr\.io \(acme, policy 42, [0-9a-f]{6}\)\. Ask platform@acme\.test for access\.\n/
    }

    @Test("a disallowed registry gets nothing and takes nothing; what was stored can be erased")
    func disallowed() throws {
        try withKeyringSession(.unlocked) { session in
            try session.store("ghcr.io", "u", "hunter2")
            try session.store("a.test", "u", "s")
            #expect(try session.ours("get", "ghcr.io").status == 0)
            try session.allow("a.test")
            for spelling in ["ghcr.io", "https://ghcr.io/v2/", "GHCR.IO:443", "http://ghcr.io"] {
                let get = try session.ours("get", spelling)
                #expect(get.status == 1 && get.words.isEmpty, "\(get)")
                #expect(get.text.wholeMatch(of: sentence) != nil, "\(get)")
            }
            let store = try session.ours("store", KeyringSession.json("ghcr.io", "u", "other"))
            #expect(store.status == 1 && store.words.isEmpty, "\(store)")
            #expect(store.text.wholeMatch(of: sentence) != nil, "\(store)")
            #expect(try session.ours("list").text == "{\"a.test\":\"u\"}\n")
            #expect(try session.ours("get", "a.test").status == 0)
            #expect(try session.debians("get", "ghcr.io").text.contains("hunter2"))
            #expect(try session.ours("erase", "ghcr.io").status == 0)
            #expect(try session.items(of: "ghcr.io") == 0)
        }
    }

    @Test("the session of docker ram admin is kept whatever the policy says, and is nobody's password")
    func administration() throws {
        try withKeyringSession(.unlocked) { session in
            try session.store("ghcr.io", "u", "hunter2")
            try session.allow("a.test")
            let key = "https://ghcr.io/docker-ram-admin"
            // The password of a disallowed registry is not to be had under that name, or one that is like it.
            #expect(try session.ours("get", key).text == "credentials not found in native keychain\n")
            for other in ["\(key)/", "\(key)/x", "ghcr.io/docker-ram-admin", "https://ghcr.io/x/docker-ram-admin"] {
                let get = try session.ours("get", other)
                #expect(get.status == 1 && get.text.wholeMatch(of: sentence) != nil, "\(other): \(get)")
            }
            #expect(try session.ours("store", KeyringSession.json(key, "acme/alice", "tokens")).status == 0)
            #expect(try session.ours("get", key).text.contains("tokens"))
            #expect(try session.ours("list").text == "{}\n")
            // Nor is the session to be had under a registry's name.
            try session.allow("ghcr.io")
            #expect(try session.ours("erase", "ghcr.io").status == 0)
            #expect(try session.ours("get", "ghcr.io").text == "credentials not found in native keychain\n")
            #expect(try session.ours("get", key).text.contains("tokens"))
            #expect(try session.ours("erase", key).status == 0)
            #expect(try session.items(of: key) == 0)
        }
    }

    @Test("audit mode, a policy that is off, and no policy let everything pass", arguments: ["audit", "off", "none"])
    func open(how: String) throws {
        try withKeyringSession(.unlocked) { session in
            switch how {
            case "audit": try session.allow("a.test", mode: "audit")
            case "off": try session.allow("a.test", enabled: false)
            default: break
            }
            for server in ["ghcr.io", "not an address"] {
                #expect(try session.ours("store", KeyringSession.json(server, "u", "s")).status == 0)
                #expect(
                    try session.ours("get", server).text
                        == "{\"ServerURL\":\"\(server)\",\"Username\":\"u\",\"Secret\":\"s\"}\n"
                )
            }
            #expect(try session.ours("list").text == "{\"ghcr.io\":\"u\",\"not an address\":\"u\"}\n")
        }
    }

    @Test(
        "on a machine of an organization, what docker-ramd says is in force decides, and nothing else",
        arguments: [
            ("sign-in-required", "Your organization requires you to sign in: registry.json names acme ("),
            ("not-a-member", "Only members of this organization may use registries here: acme ("),
            ("expired", "Registries are refused because the policy of acme has expired: away ("),
            ("none", "Registries are refused until the policy can be read: run docker ram status ("), ("enforced", ""),
        ]
    )
    func organization(state: String, sentence: String) throws {
        try withKeyringSession(.unlocked) { session in
            try session.store("ghcr.io", "u", "hunter2")
            // An enrolled machine does not go by this.
            try session.allow(state == "enforced" ? "a.test" : "ghcr.io")
            let fingerprint = "sha256:" + String(repeating: "0", count: 64)
            let enrollment =
                #"{"version":1,"server":"https://ram.acme.test","organization":"acme","fingerprint":"\#(fingerprint)"}"#
            try session.write(enrollment, to: "root/etc/docker-ram/enrollment.json", mode: 0o644)
            #expect(try session.ours("get", "ghcr.io").text.hasPrefix("Registries are refused until"))
            let policy =
                #"{"version":1,"organization":"acme","registries":[{"address":"ghcr.io","allowed":true}]}"#
            let inForce =
                #"{"version":1,"organization":"acme","server":"https://ram.acme.test","state":"\#(state)","#
                + #""reason":"away","until":"9999-01-01T00:00:00Z","policy":\#(policy)}"#
            try session.write(inForce, to: "root/var/lib/docker-ram/in-force.json", mode: 0o644)
            let get = try session.ours("get", "ghcr.io")
            #expect(get.status == (state == "enforced" ? 0 : 1))
            #expect(state == "enforced" ? get.text.contains("hunter2") : get.text.hasPrefix(sentence), "\(get)")
            // Who administers the organization from here neither signs the machine in nor out by that.
            let key = "https://ram.acme.test/docker-ram-admin"
            let server = try session.ours("store", KeyringSession.json("https://ram.acme.test", "alice", "pw"))
            #expect(server.status == 1 && server.text.hasPrefix("docker-ramd does not answer"), "\(server)")
            #expect(try session.ours("store", KeyringSession.json(key, "acme/alice", "tokens")).status == 0)
            #expect(try session.ours("get", key).text.contains("tokens"))
            #expect(try session.ours("erase", key).status == 0)
            #expect(try session.items(of: key) == 0)
        }
    }

    @Test("a server URL that is no address is refused while a policy is in force, and nothing of it is printed")
    func notAnAddress() throws {
        try withKeyringSession(.unlocked) { session in
            try session.store("user@a.test", "u", "s")
            try session.allow("a.test")
            let doubtful = InteroperationTests.serverURLs.filter { (try? RegistryAddress(serverURL: $0)) == nil }
            #expect(doubtful.count >= 60)
            for server in doubtful {
                let get = try session.ours("get", server)
                #expect(get.status == 1)
                #expect(get.text.hasPrefix("This request could not be inspected: "), "\(server): \(get)")
                #expect(get.output.dropLast().allSatisfy { (0x20..<0x7F).contains($0) } && get.output.count <= 201)
                #expect(!get.text.contains("a.test"), "\(server): \(get)")
            }
            let notText = try run(
                Built.helper,
                ["get"],
                input: [0x61, 0xFF, 0x2E, 0x62],
                environment: session.environment
            )
            #expect(notText.text.hasPrefix("This request could not be inspected: "), "\(notText)")
            #expect(try session.ours("store", KeyringSession.json("user@a.test", "u", "s")).status == 1)
            #expect(try session.ours("list").text == "{}\n")
            #expect(try session.ours("erase", "user@a.test").status == 0)
            #expect(try session.items(of: "user@a.test") == 0)
        }
    }

    @Test(
        "a policy that cannot be read refuses, one that others can write is none",
        arguments: [
            ("{", 0o644),
            (
                "{\"version\":42,\"organization\":\"acme\",\"registries\":[{\"address\":\"a.test\",\"allowed\":true}]}",
                0o666
            ),
        ] as [(String, UInt32)]
    )
    func unavailable(document: String, mode: UInt32) throws {
        try withKeyringSession(.unlocked) { session in
            try session.store("a.test", "u", "s")
            try session.write(document, to: "root/etc/docker-ram/policy.json", mode: mode)
            let get = try session.ours("get", "a.test")
            #expect(get.status == 1)
            #expect(get.text.hasPrefix("Registries are refused until the policy can be read: "), "\(get)")
            #expect(try session.ours("list").text == "{}\n")
            #expect(try session.ours("erase", "a.test").status == 0)
        }
    }

    @Test("on a terminal the sentence is on standard error too")
    func terminal() throws {
        try withKeyringSession(.noProvider) { session in
            try session.allow("a.test")
            // script(1) gives it a terminal; standard output goes to a file, so what is left is standard error.
            let ending = try run(
                "script",
                ["-qec", "echo ghcr.io | '\(Built.helper)' get > '\(session.directory)/answer'", "/dev/null"],
                environment: session.environment
            )
            #expect(ending.status == 1)
            #expect(
                ending.text.hasPrefix(
                    "docker-credential-ram: Your organization has disallowed this registry: ghcr.io ("
                ),
                "\(ending)"
            )
            let answer = try Files.read("\(session.directory)/answer", atMost: 1000).bytes
            #expect(String(decoding: answer, as: UTF8.self).wholeMatch(of: sentence) != nil)
        }
    }

    @Test(
        "GLib is loaded for the keyring and for nothing else",
        arguments: [
            ("get", "ghcr.io", false), ("store", KeyringSession.json("ghcr.io", "u", "s"), false),
            ("version", "", false),
            ("get", "pass.test", false), ("get", "a.test", true),
        ]
    )
    func libraries(action: String, input: String, isLoaded: Bool) throws {
        try withKeyringSession(.unlocked) { session in
            try session.allow("a.test", "pass.test")
            try session.write(#"{"helpers":[{"address":"pass.test","helper":"absent"}]}"#, to: ".docker/ram.json")
            session.environment["LD_DEBUG"] = "files"
            let ending = try session.ours(action, input)
            #expect(ending.words.contains("libc.so.6"), "the loader tells nothing")
            for library in ["libsecret", "libglib", "libgio", "libgobject", "libgcrypt"] {
                #expect(ending.words.contains(library) == isLoaded, "\(library)")
            }
        }
    }

    @Test("what is declared of libsecret is what its own headers declare")
    func headers() throws {
        try withKeyringSession(.noProvider) { session in
            try session.write(
                """
                #include <libsecret/secret.h>
                #undef g_str_equal
                #include "LibSecret.h"
                _Static_assert(SECRET_SERVICE_NONE == 0 && SECRET_SEARCH_NONE == 0 && SECRET_SEARCH_ALL == 2, "flags");
                _Static_assert(SECRET_COLLECTION_NONE == 0 && G_DBUS_CALL_FLAGS_NONE == 0, "flags");
                _Static_assert(sizeof(GError) == 16 && __builtin_offsetof(GError, message) == 8, "GError");
                _Static_assert(sizeof(gboolean) == 4 && sizeof(gsize) == 8 && sizeof(guint64) == 8, "numbers");
                """,
                to: "check.c"
            )
            let command =
                "cc -Wall -Werror -fsyntax-only -I'\(Built.sources)/CLibSecret' $(pkg-config --cflags libsecret-1) '\(session.directory)/check.c'"
            let ending = try run("sh", ["-c", command], environment: session.environment)
            #expect(ending.status == 0, "\(ending.words)")
        }
    }
}
