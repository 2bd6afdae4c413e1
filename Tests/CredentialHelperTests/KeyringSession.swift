@preconcurrency import Glibc
import LocalInstallation
import TestSupport

/// A session of one person, with a bus, a keyring and a home directory of its own.
final class KeyringSession {
    /// What the session has.
    enum Kind {
        /// A bus and an unlocked keyring.
        case unlocked
        /// A bus and a keyring that holds credentials of `a.test` and is locked; nothing can ask for its password.
        case locked
        /// A bus and gnome-keyring, but no collection.
        case noCollection
        /// A bus on which nothing provides the Secret Service.
        case noProvider
        /// A bus that starts a provider which never comes up.
        case hangingProvider
    }

    let directory: String
    var environment: [String: String]
    private var processes: [pid_t] = []
    private(set) var keyring: pid_t?

    init(_ kind: Kind, in directory: String) throws {
        self.directory = directory
        environment = [
            "PATH": "\(Built.directory):/usr/local/bin:/usr/bin:/bin", "HOME": directory,
            "XDG_RUNTIME_DIR": "\(directory)/run",
            "XDG_DATA_HOME": "\(directory)/data", "XDG_CONFIG_HOME": "\(directory)/config",
            "XDG_CACHE_HOME": "\(directory)/cache",
            "DOCKER_RAM_ROOT": "\(directory)/root", "LC_ALL": "C.UTF-8", "GNUPGHOME": "\(directory)/gnupg",
        ]
        for name in ["run", "data", "config", "cache", "root", ".docker", "services", "gnupg"] {
            try Files.makeDirectory("\(directory)/\(name)", mode: 0o700)
        }
        switch kind {
        case .unlocked:
            try startBus()
            try startKeyring(password: "pw")
        case .locked:
            try startBus()
            try startKeyring(password: "pw")
            try store("a.test", "u", "s")
            stop()
            try startBus()
            try startKeyring(password: nil)
        case .noCollection:
            try startBus()
            try startKeyring(password: nil)
        case .noProvider:
            try startBus()
        case .hangingProvider:
            let service = "[D-BUS Service]\nName=org.freedesktop.secrets\nExec=/bin/sleep 60\n"
            try write(service, to: "services/org.freedesktop.secrets.service")
            try startBus()
        }
    }

    deinit { stop() }

    /// Ends what was started.
    func stop() {
        for process in processes.reversed() {
            kill(process, SIGCONT)
            kill(process, SIGTERM)
            var status: CInt = 0
            waitpid(process, &status, 0)
        }
        processes = []
        unlink("\(directory)/bus")
    }

    /// Writes a file below the session's directory.
    func write(_ text: String, to name: String, mode: UInt32 = 0o600) throws {
        try Files.makeDirectory(Files.directory(of: "\(directory)/\(name)"), mode: 0o755)
        try Files.replace("\(directory)/\(name)", with: Array(text.utf8), mode: mode)
    }

    /// Puts a policy in force that allows some registries.
    func allow(_ registries: String..., mode: String = "enforce", enabled: Bool = true) throws {
        let rules = registries.map { "{\"address\":\"\($0)\",\"allowed\":true}" }.joined(separator: ",")
        try write(
            "{\"version\":42,\"organization\":\"acme\",\"contact\":\"platform@acme.test\",\"mode\":\"\(mode)\","
                + "\"enabled\":\(enabled),\"registries\":[\(rules)]}",
            to: "root/etc/docker-ram/policy.json",
            mode: 0o644
        )
    }

    /// Our helper, asked as Docker asks it.
    func ours(_ action: String, _ input: String = "") throws -> Ending {
        try run(Built.helper, [action], input: Array(input.utf8), environment: environment)
    }

    /// Debian's helper.
    func debians(_ action: String, _ input: String = "") throws -> Ending {
        try run("docker-credential-secretservice", [action], input: Array(input.utf8), environment: environment)
    }

    /// Has Debian's helper keep credentials.
    func store(_ server: String, _ username: String, _ secret: String) throws {
        let ending = try debians("store", Self.json(server, username, secret))
        guard ending.status == 0 else { throw TestFailure("cannot store: \(ending)") }
    }

    /// What `store` reads.
    static func json(_ server: String, _ username: String, _ secret: String) -> String {
        "{\"ServerURL\":\"\(server)\",\"Username\":\"\(username)\",\"Secret\":\"\(secret)\"}"
    }

    /// How many items have the attribute `server`.
    func items(of server: String) throws -> Int {
        let ending = try run("secret-tool", ["search", "--all", "server", server], environment: environment)
        return ending.text.split(separator: "\n").count { $0.hasPrefix("label = ") }
    }

    // MARK: - Its parts

    private func startBus() throws {
        try write(
            """
            <!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
             "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
            <busconfig>
              <type>session</type>
              <listen>unix:path=\(directory)/bus</listen>
              <servicedir>\(directory)/services</servicedir>
              <policy context="default">
                <allow send_destination="*" eavesdrop="true"/>
                <allow eavesdrop="true"/>
                <allow own="*"/>
              </policy>
            </busconfig>
            """,
            to: "bus.conf"
        )
        environment["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=\(directory)/bus"
        let bus = try RunningProgram(
            "dbus-daemon",
            ["--config-file=\(directory)/bus.conf", "--nofork", "--nopidfile"],
            environment: environment
        )
        processes.append(bus.process)
        // Its socket is there a moment before it takes connections.
        try wait("the bus") { try askBus("GetId").status == 0 }
    }

    private func startKeyring(password: String?) throws {
        let daemon = try RunningProgram(
            "gnome-keyring-daemon",
            ["--foreground", "--components=secrets"] + (password == nil ? [] : ["--unlock"]),
            input: Array((password ?? "").utf8),
            environment: environment
        )
        processes.append(daemon.process)
        keyring = daemon.process
        try wait("the keyring") {
            try askBus("NameHasOwner", "string:org.freedesktop.secrets").text.contains("boolean true")
        }
        guard password != nil else { return }
        try wait("the open collection") {
            // The keyring answers before it has read or made one.
            try run(
                "dbus-send",
                [
                    "--session", "--print-reply", "--dest=org.freedesktop.secrets",
                    "/org/freedesktop/secrets/collection/login", "org.freedesktop.DBus.Properties.Get",
                    "string:org.freedesktop.Secret.Collection", "string:Locked",
                ],
                environment: environment
            ).text.contains("boolean false")
        }
    }

    private func askBus(_ method: String, _ arguments: String...) throws -> Ending {
        try run(
            "dbus-send",
            [
                "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus",
                "org.freedesktop.DBus.\(method)",
            ] + arguments,
            environment: environment
        )
    }

    /// Waits for something that comes within seconds.
    func wait(_ what: String, for condition: () throws -> Bool) throws {
        for _ in 0..<500 {
            if try condition() { return }
            usleep(10_000)
        }
        throw TestFailure("\(what) did not start")
    }
}

/// Runs a body with a session that is gone afterwards.
func withKeyringSession<Result>(
    _ kind: KeyringSession.Kind,
    _ body: (KeyringSession) throws -> Result
) throws -> Result {
    try withTemporaryDirectory { (directory: String) in
        let session = try KeyringSession(kind, in: directory)
        defer { session.stop() }
        return try body(session)
    }
}
