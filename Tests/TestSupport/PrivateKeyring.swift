import Foundation

/// gnome-keyring with an unlocked login collection, on a D-Bus of its own.
public struct PrivateKeyring: Sendable {
    /// What a program needs to find this keyring, and docker-credential-ram its policy.
    public let environment: [String: String]

    /// Runs a keyring while a body runs.
    ///
    /// - Parameters:
    ///   - root: the root of the policy that docker-credential-ram follows; the keyring is kept there too.
    ///   - body: gets the keyring.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why the keyring does not start.
    public static func with<Result>(
        in root: String,
        _ body: (PrivateKeyring) async throws -> Result
    ) async throws -> Result {
        let home = "\(root)/home-\(Int.random(in: 1000..<10000))"
        try FileManager.default.createDirectory(atPath: "\(home)/run", withIntermediateDirectories: true)
        let address = "unix:path=\(home)/bus"
        let variables = [
            "HOME": home, "XDG_RUNTIME_DIR": "\(home)/run", "XDG_DATA_HOME": "\(home)/data",
            "DBUS_SESSION_BUS_ADDRESS": address, "DOCKER_RAM_ROOT": root,
        ]
        let bus = try RunningProgram(
            ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--address=\(address)"],
            environment: variables
        )
        var service: RunningProgram?
        do {
            try await waitUntil("the session bus is there") {
                // Its socket is there a moment before it takes connections.
                try await runProgram(
                    [
                        "dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus",
                        "/org/freedesktop/DBus", "org.freedesktop.DBus.GetId",
                    ],
                    environment: variables
                ).status == 0
            }
            let keyring = try RunningProgram(
                ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
                environment: variables,
                input: "\n"
            )
            service = keyring
            try await waitUntil("the keyring is there") {
                // Whoever asks for secrets before makes the bus start a keyring of its own, which nobody unlocks.
                try await runProgram(
                    [
                        "dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus",
                        "/org/freedesktop/DBus", "org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.secrets",
                    ],
                    environment: variables
                ).output.contains("boolean true")
            }
            try await waitUntil("the keyring has an open collection") {
                // The daemon answers before it has read or made one.
                try await runProgram(
                    [
                        "dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.secrets",
                        "/org/freedesktop/secrets/collection/login", "org.freedesktop.DBus.Properties.Get",
                        "string:org.freedesktop.Secret.Collection", "string:Locked",
                    ],
                    environment: variables
                ).output.contains("boolean false")
            }
            let result = try await body(PrivateKeyring(environment: variables))
            try await keyring.stop()
            try await bus.stop()
            return result
        } catch {
            try await service?.stop()
            try await bus.stop()
            throw error
        }
    }

    /// Runs docker-credential-ram, or another helper.
    ///
    /// - Parameters:
    ///   - action: what it shall do.
    ///   - input: what it reads.
    ///   - program: its path, if it is not ours.
    ///   - more: what to add to ``environment``.
    /// - Returns: the ended helper.
    /// - Throws: ``UnexpectedEnd`` if it does not end in time.
    public func helper(
        _ action: String,
        _ input: String = "",
        program: String? = nil,
        environment more: [String: String] = [:]
    ) async throws -> EndedProgram {
        let program = try program ?? Programs.path("docker-credential-ram")
        return try await runProgram(
            [program, action],
            environment: environment.merging(more) { _, new in new },
            input: input
        )
    }
}
