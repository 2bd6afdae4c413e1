import Glibc
import LocalInstallation
import RegistryAccess
import Testing

@testable import CredentialHelper

/// Handing on to other credential helpers.
@Suite(.serialized)
struct OtherHelperTests {
    /// A helper that keeps a record of what it was asked and answers as it is told.
    private func addHelper(_ name: String, _ script: String, to session: KeyringSession) throws {
        try session.write("#!/bin/sh\n\(script)\n", to: "bin/docker-credential-\(name)", mode: 0o755)
        session.environment["PATH"] = "\(session.directory)/bin:/usr/local/bin:/usr/bin:/bin"
    }

    private func routes(_ text: String, in session: KeyringSession) throws {
        try session.write(text, to: ".docker/ram.json")
    }

    @Test("get becomes the other helper: input, output, words and exit code are its own")
    func get() throws {
        try withKeyringSession(.noProvider) { session in
            try addHelper("fake", "echo \"$# $1 $(cat)\"; echo words >&2; exit 7", to: session)
            try routes(#"{"helpers":[{"address":"**.acme.test","helper":"fake"}]}"#, in: session)
            let ending = try session.ours("get", " https://x.acme.test/v2/ \n")
            #expect(ending.text == "1 get https://x.acme.test/v2/\n")
            #expect(ending.words == "words\n")
            #expect(ending.status == 7)
            // Another registry has nothing to do with it.
            #expect(try session.ours("get", "acme.test").text == "credentials not found in native keychain\n")
        }
    }

    @Test("no core dump takes a secret to the disk, here or in the other helper")
    func coreDump() throws {
        try withKeyringSession(.noProvider) { session in
            try addHelper("fake", "ulimit -S -c; ulimit -H -c", to: session)
            try routes(#"{"store":"fake"}"#, in: session)
            try #expect(session.ours("get", "a.test").text == "0\n0\n")
        }
    }

    @Test("the helper never sees a disallowed registry, but for erasing")
    func refused() throws {
        try withKeyringSession(.noProvider) { session in
            try addHelper("fake", "echo \"$1\" >> \"$HOME/asked\"", to: session)
            try routes(#"{"store":"fake"}"#, in: session)
            try session.allow("a.test")
            #expect(try session.ours("get", "ghcr.io").text.hasPrefix("Your organization has disallowed"))
            #expect(try session.ours("store", KeyringSession.json("ghcr.io", "u", "s")).status == 1)
            #expect(throws: FileError.self) { try Files.read("\(session.directory)/asked", atMost: 100) }
            #expect(try session.ours("erase", "ghcr.io").status == 0)
            let asked = try Files.read("\(session.directory)/asked", atMost: 100).bytes
            #expect(String(decoding: asked, as: UTF8.self).hasPrefix("erase\n"))
        }
    }

    @Test("store and erase: what goes in, what comes out")
    func store() throws {
        try withKeyringSession(.noProvider) { session in
            try addHelper(
                "fake",
                "cat > \"$HOME/$1\"; [ $1 = list ] && echo '{}'; [ ! -e \"$HOME/fail\" ] || { echo no; exit 3; }",
                to: session
            )
            try routes(#"{"store":"fake"}"#, in: session)
            // As long as it may be: a pipe would not take it at once.
            let secret = String(repeating: "x", count: (1 << 20) - 100)
            let json = KeyringSession.json("a.test", "u", secret)
            #expect(try session.ours("store", json).status == 0)
            #expect(try Files.read("\(session.directory)/store", atMost: 2 << 20).bytes == Array(json.utf8))
            #expect(try session.ours("erase", "a.test").status == 0)
            #expect(try Files.read("\(session.directory)/erase", atMost: 100).bytes == Array("a.test\n".utf8))
            try session.write("", to: "fail")
            let failed = try session.ours("store", json)
            #expect(failed.text == "no\n" && failed.status == 3)
            #expect(try session.ours("erase", "a.test").text == "no\n")
        }
    }

    @Test(
        "a helper that makes credentials itself is no reason for a login to fail",
        arguments: [
            "not implemented", "add is unimplemented", "list is unimplemented",
        ]
    )
    func notImplemented(text: String) throws {
        try withKeyringSession(.noProvider) { session in
            try addHelper("ecr-login", "echo '\(text)'; exit 1", to: session)
            try routes(
                #"{"helpers":[{"address":"**.dkr.ecr.eu-west-1.amazonaws.com","helper":"ecr-login"}]}"#,
                in: session
            )
            let server = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
            let store = try session.ours("store", KeyringSession.json(server, "AWS", "s"))
            #expect(store.status == 0 && store.output.isEmpty)
            #expect(
                store.words
                    == "docker-credential-ram: \"docker-credential-ecr-login\" makes credentials itself and does not store any\n"
            )
            let erase = try session.ours("erase", server)
            #expect(erase.status == 0 && erase.output.isEmpty)
        }
    }

    @Test("list puts all stores together and leaves out one that fails or is slow")
    func list() throws {
        try withKeyringSession(.unlocked) { session in
            try session.store("a.test", "keyring", "s")
            try session.store("b.test", "keyring", "s")
            try addHelper(
                "b",
                "[ $1 = list ] && cat > \"$HOME/b\" && echo '{\"b.test\":\"b\",\"c.test\":\"b\",\"https://ghcr.io\":\"b\"}'",
                to: session
            )
            try addHelper("broken", "echo broken; exit 1", to: session)
            try addHelper("noise", "echo '[1'", to: session)
            try addHelper("slow", "sleep 60 & wait", to: session)
            try addHelper("slower", "trap '' TERM; sleep 60 & sleep 60", to: session)
            try routes(
                #"""
                {"helpers":[{"address":"b.test","helper":"b"},{"address":"ghcr.io","helper":"b"},
                {"address":"x.test","helper":"broken"},{"address":"y.test","helper":"noise"},
                {"address":"z.test","helper":"slow"},{"address":"w.test","helper":"absent"},
                {"address":"v.test","helper":"slower"}]}
                """#,
                in: session
            )
            try session.allow("a.test", "b.test", "c.test")
            let list = try session.ours("list")
            // c.test is kept in the keyring, whatever the other helper says; ghcr.io is disallowed.
            #expect(list.text == "{\"a.test\":\"keyring\",\"b.test\":\"b\"}\n", "\(list)")
            #expect(list.status == 0 && list.seconds < 10, "\(list)")
            let words = list.words.split(separator: "\n").map(String.init)
            #expect(
                words == [
                    "docker-credential-ram: \"docker-credential-broken\" is left out: it ended with exit code 1",
                    "docker-credential-ram: \"docker-credential-noise\" is left out: its answer is not a list of servers and users",
                    "docker-credential-ram: \"docker-credential-slow\" is left out: \"docker-credential-slow\" did not answer in time",
                    "docker-credential-ram: \"docker-credential-absent\" is left out: \"docker-credential-absent\" was not found on the PATH",
                    "docker-credential-ram: \"docker-credential-slower\" is left out: \"docker-credential-slower\" did not answer in time",
                ]
            )
            #expect(try Files.read("\(session.directory)/b", atMost: 100).bytes == Array("unused".utf8))
        }
    }

    @Test("a helper that is not there: no credentials for get, a fault for the rest")
    func absent() throws {
        try withKeyringSession(.noProvider) { session in
            try routes(#"{"store":"absent"}"#, in: session)
            let get = try session.ours("get", "a.test")
            #expect(get.text == "credentials not found in native keychain\n" && get.status == 1)
            #expect(
                get.words.hasPrefix("docker-credential-ram: \"docker-credential-absent\" was not found on the PATH\n")
            )
            for (action, input) in [("store", KeyringSession.json("a.test", "u", "s")), ("erase", "a.test")] {
                let ending = try session.ours(action, input)
                #expect(
                    ending.text.hasPrefix("\"docker-credential-absent\" was not found on the PATH\nhint: "),
                    "\(ending)"
                )
                #expect(ending.status == 1)
            }
        }
    }

    @Test("helpers in a circle, and this program under another name, come to an end")
    func circles() throws {
        try withKeyringSession(.noProvider) { session in
            try addHelper("loop", "exec '\(Built.helper)' \"$1\"", to: session)
            try routes(#"{"store":"loop"}"#, in: session)
            for action in ["get", "erase", "store"] {
                let ending = try session.ours(
                    action,
                    action == "store" ? KeyringSession.json("a.test", "u", "s") : "a.test"
                )
                #expect(ending.text.contains("hands back to this program"), "\(ending)")
                #expect(ending.status == 1 && ending.seconds < 10)
            }
            #expect(symlink(Built.helper, "\(session.directory)/bin/docker-credential-alias") == 0)
            try routes(#"{"store":"alias"}"#, in: session)
            #expect(try session.ours("get", "a.test").text.contains("is this program under another name"))
        }
    }

    @Test("what lies in the current directory is not run")
    func relativePath() throws {
        try withKeyringSession(.noProvider) { session in
            try addHelper("fake", "echo bad", to: session)
            session.environment["PATH"] = "::.:bin"
            try routes(#"{"store":"fake"}"#, in: session)
            let ending = try run(
                "/bin/sh",
                ["-c", "cd '\(session.directory)' && echo a.test | '\(Built.helper)' get"],
                environment: session.environment
            )
            #expect(ending.text == "credentials not found in native keychain\n", "\(ending)")
        }
    }

    @Test(
        "a ram.json that cannot be read is named, and nothing is done",
        arguments: [
            "{", "[]", #"{"store":"ram"}"#, #"{"store":"../pass"}"#, #"{"stores":"pass"}"#,
            #"{"helpers":[{"address":"a b","helper":"x"}]}"#,
        ]
    )
    func brokenRouting(text: String) throws {
        try withKeyringSession(.unlocked) { session in
            try session.store("a.test", "u", "s")
            try routes(text, in: session)
            for (action, input) in [
                ("get", "a.test"), ("store", KeyringSession.json("a.test", "u", "s2")), ("erase", "a.test"),
                ("list", ""),
            ] {
                let ending = try session.ours(action, input)
                #expect(ending.status == 1)
                #expect(ending.text.hasPrefix("\"\(session.directory)/.docker/ram.json\": "), "\(ending)")
            }
            session.environment["DOCKER_CONFIG"] = "\(session.directory)/elsewhere"
            #expect(try session.ours("get", "a.test").text.contains("\"s\""))
        }
    }

    @Test("docker-credential-pass keeps what is stored, Docker Hub's names included")
    func pass() throws {
        try withKeyringSession(.noProvider) { session in
            defer { _ = try? run("gpgconf", ["--kill", "all"], environment: session.environment) }
            let prepared = try run(
                "sh",
                [
                    "-ec",
                    """
                    gpg --batch --quiet --passphrase '' --quick-gen-key ram@acme.test default default never
                    pass init ram@acme.test
                    """,
                ],
                environment: session.environment
            )
            #expect(prepared.status == 0, "\(prepared)")
            try routes(#"{"store":"pass"}"#, in: session)
            let hub = "https://index.docker.io/v1/"
            #expect(try session.ours("store", KeyringSession.json("a.test", "u", "s")).status == 0)
            #expect(try session.ours("store", KeyringSession.json(hub, "h", "t")).status == 0)
            #expect(
                try session.ours("get", "a.test").text == #"{"ServerURL":"a.test","Username":"u","Secret":"s"}"# + "\n"
            )
            #expect(try session.ours("list").text == "{\"a.test\":\"u\",\"\(hub)\":\"h\"}\n")
            let theirs = try run(
                "docker-credential-pass",
                ["get"],
                input: Array(hub.utf8),
                environment: session.environment
            )
            #expect(theirs.text == "{\"ServerURL\":\"\(hub)\",\"Username\":\"h\",\"Secret\":\"t\"}\n")
            #expect(try session.ours("erase", "absent.test").status == 0)
            #expect(try session.ours("erase", "docker.io").status == 0)
            #expect(try session.ours("list").text == "{\"a.test\":\"u\"}\n")
            #expect(try session.ours("get", hub).text.contains("\"Secret\":\"\""))
        }
    }
}

/// `ram.json`.
struct CredentialRoutingTests {
    @Test(
        "the most specific pattern decides",
        arguments: [
            ("ghcr.io", "exact"), ("x.ghcr.io", "one"), ("y.x.ghcr.io", "many"), ("z.y.x.ghcr.io", "longer"),
            ("a.test", "all"),
            ("ghcr.io:5000", "port"), ("10.1.2.3", "narrow"), ("10.2.0.1", "wide"),
        ]
    )
    func mostSpecific(address: String, store: String) throws {
        let routes = [
            ("**", "all"), ("**.ghcr.io", "many"), ("**.x.ghcr.io", "longer"), ("*.ghcr.io", "one"),
            ("ghcr.io:*", "port"), ("ghcr.io", "exact"),
            ("10.0.0.0/8", "wide"), ("10.1.0.0/16", "narrow"), ("y.x.ghcr.io:9", "never"),
        ].shuffled()
        let text = routes.map { "{\"address\":\"\($0.0)\",\"helper\":\"\($0.1)\"}" }.joined(separator: ",")
        let routing = try CredentialRouting(json: Array("{\"store\":\"pass\",\"helpers\":[\(text)]}".utf8))
        let expected = address == "y.x.ghcr.io" ? "longer" : store
        #expect(routing.store(for: try .init(address)).text == expected)
        #expect(routing.store(for: nil).text == "pass")
        #expect(try CredentialRouting(json: Array(routing.json.text().utf8)) == routing)
        #expect(routing.stores.count == 10)
    }

    @Test(
        "what is refused",
        arguments: [
            (#"{"store":1}"#, #""store" must be a text"#), (#"{"helpers":{}}"#, #""helpers" must be a list"#),
            (#"{"helpers":[1]}"#, #""helpers[0]" must be an object"#),
            (#"{"helpers":[{"address":"a.test"}]}"#, #""helpers[0]": the key "helper" is missing"#),
            (#"{"helpers":[{"helper":"x"}]}"#, #""helpers[0]": the key "address" is missing"#),
            (
                #"{"helpers":[{"address":"a.test","helper":"x","x":1}]}"#,
                #""helpers[0]": unknown key "x"; known are: address, helper"#
            ),
            (#"{"st\u001bore":"x"}"#, #"unknown key "st?ore"; known are: store, helpers"#),
            (#"{"store":"x","STORE":"y"}"#, "line 1, column 14"), ("[]", "expected an object"),
            (#"{"store":"ram"}"#, "docker-credential-ram cannot hand on to itself"),
        ]
    )
    func refused(json: String, text: String) {
        let error = #expect(throws: InvalidCredentialRouting.self) { try CredentialRouting(json: Array(json.utf8)) }
        #expect(error?.description.contains(text) == true, "\(String(describing: error))")
    }

    @Test(
        "names of helpers",
        arguments: [
            ("pass", true), ("ecr-login", true), ("acr_env.2", true), ("", false), ("ram", false), ("-x", false),
            ("a/b", false),
            ("a b", false), ("é", false), ("..", false), (String(repeating: "a", count: 65), false),
        ]
    )
    func names(text: String, isValid: Bool) {
        #expect(((try? HelperName(text)) != nil) == isValid)
    }

    @Test("where the file is")
    func path() {
        #expect(CredentialRouting.path(environment: ["DOCKER_CONFIG": "/x", "HOME": "/h"]) == "/x/ram.json")
        #expect(CredentialRouting.path(environment: ["DOCKER_CONFIG": "", "HOME": "/h"]) == "/h/.docker/ram.json")
        #expect(CredentialRouting.path(environment: [:]) == nil)
    }
}
