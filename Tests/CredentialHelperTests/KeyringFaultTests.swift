import Glibc
import LocalInstallation
import Testing

@testable import CredentialHelper

/// What happens when the session has no keyring that works: every call must end within ten seconds.
@Suite(.serialized)
struct KeyringFaultTests {
    private let credentials = KeyringSession.json("b.test", "u", "s")

    private func check(
        _ ending: Ending,
        says text: String,
        hint: String,
        _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(ending.status == 1, sourceLocation: location)
        let lines = ending.text.split(separator: "\n").map(String.init)
        #expect(lines.first?.contains(text) == true, "\(ending)", sourceLocation: location)
        #expect(lines.count == 2 && lines[1].hasPrefix("hint: "), "\(ending)", sourceLocation: location)
        #expect(lines.last?.contains(hint) == true, "\(ending)", sourceLocation: location)
        #expect(ending.seconds < 10, "\(ending)", sourceLocation: location)
    }

    /// `get` where there is no keyring at all: Docker goes on without credentials, the person learns why.
    private func checkAbsent(
        _ ending: Ending,
        says text: String,
        hint: String,
        _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(ending.status == 1, sourceLocation: location)
        #expect(ending.text == "credentials not found in native keychain\n", sourceLocation: location)
        #expect(ending.words.contains("docker-credential-ram: \(text)"), "\(ending)", sourceLocation: location)
        #expect(ending.words.contains("docker-credential-ram: hint: "), "\(ending)", sourceLocation: location)
        #expect(ending.words.contains(hint), "\(ending)", sourceLocation: location)
        #expect(ending.seconds < 10, "\(ending)", sourceLocation: location)
    }

    @Test(
        "no bus in any of the ways that there is none",
        arguments: [
            (nil, "Cannot autolaunch D-Bus without X11 $DISPLAY"),
            ("", "The given address is empty"),
            ("unix:path=/nonexistent/bus", "Could not connect: No such file or directory"),
            ("nonsense", "nonsense"),
        ] as [(String?, String)]
    )
    func noBus(address: String?, text: String) throws {
        try withKeyringSession(.noProvider) { session in
            session.environment["DBUS_SESSION_BUS_ADDRESS"] = address
            let get = try session.ours("get", "b.test")
            #expect(get.text == "credentials not found in native keychain\n")
            #expect(get.words.contains(text), "\(get)")
            #expect(get.words.contains("hint: this session has no D-Bus session bus"))
            check(try session.ours("store", credentials), says: text, hint: "session bus")
            check(try session.ours("list"), says: text, hint: "session bus")
            check(try session.ours("erase", "b.test"), says: text, hint: "session bus")
        }
    }

    // GLib makes ~/.cache when nobody says where a session's sockets are.
    @Test("asking for a keyring without a session leaves nothing in the home directory")
    func leavesNothing() throws {
        try withKeyringSession(.noProvider) { session in
            for name in ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"] {
                session.environment[name] = nil
            }
            _ = try session.ours("list")
            let made = #expect(throws: FileError.self) { try Files.status("\(session.directory)/.cache") }
            #expect(made?.isNotFound == true)
        }
    }

    @Test("nothing provides the Secret Service")
    func noProvider() throws {
        try withKeyringSession(.noProvider) { session in
            let text = "The name org.freedesktop.secrets was not provided by any .service files"
            checkAbsent(try session.ours("get", "b.test"), says: text, hint: "install a keyring")
            check(try session.ours("store", credentials), says: text, hint: "install a keyring")
            check(try session.ours("list"), says: text, hint: "install a keyring")
            check(try session.ours("erase", "b.test"), says: text, hint: "install a keyring")
        }
    }

    /// The four actions at once, because each of them waits.
    private func endings(_ session: KeyringSession, server: String) throws -> [Ending] {
        try ["get", "store", "list", "erase"].map { action in
            let input = action == "store" ? credentials : server
            return try RunningProgram(
                Built.helper,
                [action],
                input: Array(input.utf8),
                environment: session.environment
            )
        }.map { try $0.end() }
    }

    @Test("the provider never comes up")
    func hangingProvider() throws {
        try withKeyringSession(.hangingProvider) { session in
            for ending in try endings(session, server: "b.test") {
                let text = "Error calling StartServiceByName for org.freedesktop.secrets: Timeout was reached"
                check(ending, says: text, hint: "does not answer")
                #expect(ending.seconds > 4)
            }
        }
    }

    @Test("the provider stops answering, with and without a display", arguments: [false, true])
    func stoppedProvider(hasDisplay: Bool) throws {
        try withKeyringSession(.unlocked) { session in
            if hasDisplay { session.environment["WAYLAND_DISPLAY"] = "wayland-0" }
            try session.store("a.test", "u", "s")
            kill(try #require(session.keyring), SIGSTOP)
            for ending in try endings(session, server: "a.test") {
                check(ending, says: "Timeout was reached", hint: "does not answer")
            }
        }
    }

    @Test("a bus that takes connections and says nothing")
    func silentBus() throws {
        try withKeyringSession(.noProvider) { session in
            let bus = try RunningProgram(
                "socat",
                ["UNIX-LISTEN:\(session.directory)/silent,fork", "EXEC:sleep 60"],
                environment: session.environment
            )
            defer {
                kill(bus.process, SIGTERM)
                _ = try? bus.end()
            }
            try session.wait("the silent bus") { access("\(session.directory)/silent", F_OK) == 0 }
            session.environment["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=\(session.directory)/silent"
            for ending in try endings(session, server: "a.test") {
                check(ending, says: "Timeout was reached", hint: "does not answer")
            }
        }
    }

    @Test("locked, and the window that asks for the password never opens", arguments: [false, true])
    func hangingPrompter(hasDisplay: Bool) throws {
        try withKeyringSession(.locked) { session in
            let service = "[D-BUS Service]\nName=org.gnome.keyring.SystemPrompter\nExec=/bin/sleep 60\n"
            try session.write(service, to: "services/org.gnome.keyring.SystemPrompter.service")
            let reloaded = try run(
                "dbus-send",
                [
                    "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/",
                    "org.freedesktop.DBus.ReloadConfig",
                ],
                environment: session.environment
            )
            #expect(reloaded.status == 0, "\(reloaded)")
            guard hasDisplay else {
                let get = try session.ours("get", "a.test")
                check(get, says: "Timeout was reached", hint: "does not answer")
                #expect(get.seconds > 4)
                return
            }
            // Where a window can be shown, a person gets the time to type.
            session.environment["DISPLAY"] = ":93"
            let patient = try RunningProgram(
                "timeout",
                ["8", Built.helper, "get"],
                input: Array("a.test".utf8),
                environment: session.environment
            )
            let ending = try patient.end()
            #expect(ending.status == 124, "\(ending)")
        }
    }

    @Test("locked, and nothing can ask for the password", arguments: [false, true])
    func locked(hasDisplay: Bool) throws {
        try withKeyringSession(.locked) { session in
            if hasDisplay { session.environment["DISPLAY"] = ":93" }
            check(try session.ours("get", "a.test"), says: "Cannot get secret of a locked object", hint: "unlock")
            check(
                try session.ours("store", credentials),
                says: "Cannot create an item in a locked collection",
                hint: "unlock"
            )
            check(try session.ours("list"), says: "the keyring is locked", hint: "unlock")
            check(try session.ours("erase", "a.test"), says: "", hint: "unlock")
            // What is not there is not there, locked or not: nobody is bothered for a public image.
            let absent = try session.ours("get", "b.test")
            #expect(absent.text == "credentials not found in native keychain\n")
            #expect(absent.words.isEmpty)
            #expect(try session.ours("erase", "b.test").status == 0)
        }
    }

    @Test("there is no collection", arguments: [false, true])
    func noCollection(hasDisplay: Bool) throws {
        try withKeyringSession(.noCollection) { session in
            if hasDisplay { session.environment["DISPLAY"] = ":93" }
            #expect(try session.ours("get", "a.test").text == "credentials not found in native keychain\n")
            #expect(try session.ours("list").text == "{}\n")
            #expect(try session.ours("erase", "a.test").status == 0)
            let text = "Object does not exist at path \u{201C}/org/freedesktop/secrets/collection/login\u{201D}"
            check(try session.ours("store", credentials), says: text, hint: "no default keyring")
        }
    }

    @Test("libsecret is not installed")
    func noLibrary() throws {
        try withKeyringSession(.unlocked) { session in
            // A library of that name that is none, where the loader looks first.
            try session.write("not a library", to: "lib/libsecret-1.so.0", mode: 0o755)
            session.environment["LD_LIBRARY_PATH"] = "\(session.directory)/lib"
            let text = "\(session.directory)/lib/libsecret-1.so.0: file too short"
            checkAbsent(try session.ours("get", "b.test"), says: text, hint: "install libsecret-1-0")
            check(try session.ours("store", credentials), says: text, hint: "install libsecret-1-0")
            check(try session.ours("list"), says: text, hint: "install libsecret-1-0")
            check(try session.ours("erase", "b.test"), says: text, hint: "install libsecret-1-0")
        }
    }

    @Test("a call that does not come back even when it is cancelled")
    func lastWords() throws {
        try withKeyringSession(.noProvider) { session in
            // In the place of libsecret a library whose functions do nothing, but for one that sleeps.
            let header = try Files.read("\(Built.sources)/CLibSecret/LibSecret.h", atMost: 1 << 20).bytes
            let names = String(decoding: header, as: UTF8.self).matches(of: /typedef __typeof__\(&(\w+)\)/)
                .map { String($0.1) }
            #expect(names.count > 30)
            let functions = names.map { name in
                "long \(name)(void) { \(name == "secret_service_get_sync" ? "sleep(60); " : "")return 8; }"
            }
            try session.write("unsigned sleep(unsigned);\n" + functions.joined(separator: "\n"), to: "lib/fake.c")
            let compiled = try run(
                "cc",
                [
                    "-fno-builtin", "-shared", "-fPIC", "-o", "\(session.directory)/lib/libsecret-1.so.0",
                    "\(session.directory)/lib/fake.c",
                ],
                environment: session.environment
            )
            #expect(compiled.status == 0, "\(compiled)")
            session.environment["LD_LIBRARY_PATH"] = "\(session.directory)/lib"
            for ending in try endings(session, server: "a.test") {
                check(ending, says: "Timeout was reached", hint: "does not answer")
            }
        }
    }

    @Test("a fault's text cannot act on a terminal")
    func controlCharacters() {
        let fault = KeyringFault(.other, "a\u{1B}[31m\nb\u{9B}c\u{7F}")
        #expect(fault.text == "a [31m b c ")
    }

    @Test(
        "what libsecret reports and what it means",
        arguments: [
            (nil, "Cannot autolaunch D-Bus without X11 $DISPLAY", true, KeyringFault.Kind.noBus),
            (nil, "Timeout was reached", false, .noAnswer),
            (nil, "The connection is closed", false, .other),
            ("org.freedesktop.DBus.Error.ServiceUnknown", "x", false, .noProvider),
            ("org.freedesktop.DBus.Error.ServiceUnknown", "x", true, .noProvider),
            ("org.freedesktop.DBus.Error.Spawn.ChildExited", "x", true, .noProvider),
            ("org.freedesktop.Secret.Error.IsLocked", "x", false, .locked),
            ("org.freedesktop.Secret.Error.NoSuchObject", "x", false, .missingCollection),
            ("org.freedesktop.DBus.Error.UnknownMethod", "x", false, .missingCollection),
            ("org.freedesktop.DBus.Error.NoReply", "x", false, .noAnswer),
            ("org.freedesktop.DBus.Error.Failed", "x", false, .other),
        ] as [(String?, String, Bool, KeyringFault.Kind)]
    )
    func kinds(remote: String?, text: String, isStarting: Bool, kind: KeyringFault.Kind) {
        let fault = KeyringFault(remoteError: remote, text, isStarting: isStarting)
        #expect(fault.kind == kind)
        #expect(fault.text == text)
        #expect(!fault.hint.isEmpty)
        #expect(fault.answer == "\(text)\nhint: \(fault.hint)")
    }
}
