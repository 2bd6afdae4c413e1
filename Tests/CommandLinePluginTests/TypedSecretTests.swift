import Foundation
import LocalInstallation
import TestSupport
import Testing

@testable import CommandLinePlugin

/// What is asked for on a terminal and not shown there, with the program itself.
struct TypedSecretTests {
    private static func environment(_ directory: String) -> [String: String] {
        ["DOCKER_CONFIG": "\(directory)/config", "DOCKER_RAM_ROOT": directory, "HOME": directory]
    }

    @Test(
        arguments: [
            ["login", "--username", "alice"], ["admin", "login", "https://ram.acme.test", "--username", "alice"],
            ["admin", "member", "join", "https://ram.acme.test", "--username", "alice"],
        ],
        [SIGINT, SIGTERM, SIGHUP]
    )
    func `whoever gives up at the question has a terminal as before`(words: [String], signal: Int32) async throws {
        try await withTemporaryDirectory { directory in
            let terminal = try PseudoTerminal()
            let command = [try Programs.path("docker-ram")] + words
            let program = try RunningProgram(command, environment: Self.environment(directory), terminal: terminal)
            try await waitUntil("the secret is asked for") { !terminal.echoes }
            if signal == SIGINT { terminal.type("hunt\u{3}") } else { program.send(signal) }
            #expect(try await program.status(within: .seconds(30)) == 128 + signal)
            #expect(terminal.echoes)
            try await program.stop()
        }
    }

    /// With a shell that leaves the terminal as the stopped program had it.
    @Test
    func `whoever stops it at the question sees what they type, and nothing when it goes on`() async throws {
        try await withTemporaryDirectory { directory in
            let terminal = try PseudoTerminal()
            let line = "'\(try Programs.path("docker-ram"))' login --username alice; echo stopped; read line; fg"
            let shell = ["/bin/sh", "-m", "-c", line]
            let program = try RunningProgram(shell, environment: Self.environment(directory), terminal: terminal)
            try await waitUntil("the secret is asked for") { !terminal.echoes }
            terminal.type("hunt\u{1A}")
            try await waitUntil("it has stopped") { program.output.contains("stopped\n") }
            #expect(terminal.echoes)
            terminal.type("\n")
            try await waitUntil("it has gone on") { !terminal.echoes }
            terminal.type("\u{3}")
            #expect(try await program.status(within: .seconds(30)) != 0)
            #expect(terminal.echoes)
            try await program.stop()
        }
    }

    @Test
    func `what is typed is taken, and the terminal is as before`() async throws {
        try await withTemporaryDirectory { directory in
            let machine = Machine(directory: directory)
            try FileManager.default.createDirectory(
                atPath: Files.directory(of: machine.controlSocket),
                withIntermediateDirectories: true
            )
            let answer = #"{"signedIn":{"user":"alice","organization":"acme"}}"# + "\n"
            let daemon = try LineServer(at: machine.controlSocket, end: "\n") { _ in answer }
            defer { daemon.stop() }
            let terminal = try PseudoTerminal()
            let command = [try Programs.path("docker-ram"), "login", "--username", "alice"]
            let program = try RunningProgram(command, environment: machine.environment, terminal: terminal)
            try await waitUntil("the secret is asked for") { !terminal.echoes }
            terminal.type("secret\n")
            #expect(try await program.status(within: .seconds(30)) == 0, "\(program.errors)")
            #expect(program.errors == "Password: \n" && program.output == "Signed in to acme as alice.\n")
            #expect(daemon.requests == [#"{"request":"sign-in","user":"alice","password":"secret"}"# + "\n"])
            #expect(terminal.echoes)
            try await program.stop()
        }
    }
}
