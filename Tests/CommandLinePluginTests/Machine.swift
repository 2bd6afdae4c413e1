import Foundation
import LocalInstallation
import Synchronization
import TestSupport

@testable import CommandLinePlugin

/// A machine in a directory: its root, a Docker configuration, and whatever a test puts there.
struct Machine: Sendable {
    let directory: String
    var root: String { "\(directory)/root" }
    var config: String { "\(directory)/config" }
    var programs: String { "\(directory)/bin" }

    static let policy = """
        {
          "version": 42,
          "organization": "acme",
          "contact": "platform@acme.test",
          "registries": [
            { "address": "docker.io", "nickname": "Docker Hub", "allowed": true },
            { "address": "ghcr.io", "allowed": true, "actions": ["pull"], "repositories": ["acme/**"] },
            { "address": "**.dkr.ecr.eu-west-1.amazonaws.com", "nickname": "ECR Ireland", "allowed": true },
            { "address": "registry.acme.test:5000", "allowed": true, "insecure": true }
          ]
        }

        """

    /// Runs a body with a machine of its own.
    static func with(policy: String? = Machine.policy, _ body: (Machine) throws -> Void) throws {
        try withTemporaryDirectory { (directory) throws in
            // Always as long, because long lines are broken where the paths in them let them.
            let padding = String(repeating: "m", count: max(1, 23 - directory.count))
            let machine = Machine(directory: "\(directory)/\(padding)")
            for path in [machine.config, machine.programs, "\(machine.root)/run/docker-ram"] {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            }
            if let policy { try machine.write(policy, "root/etc/docker-ram/policy.json") }
            try body(machine)
        }
    }

    func write(_ text: String, _ name: String, mode: Int = 0o644) throws {
        let path = "\(directory)/\(name)"
        try FileManager.default.createDirectory(
            atPath: Files.directory(of: path),
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o755]
        )
        // Closed on exec, so that no process of another test keeps a program from being started.
        try Files.replace(path, with: Array(text.utf8), mode: UInt32(mode))
    }

    func read(_ name: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(name)")), as: UTF8.self)
    }

    /// What a program says and ends with.
    struct Outcome: Sendable {
        var output = ""
        var errors = ""
        var code: Int32 = 0

        /// The output with a single space where there was any white space: lines are broken where paths let them.
        var words: String { output.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
    }

    /// The environment of the machine's programs: only its own directory is on the path.
    var environment: [String: String] {
        ["DOCKER_CONFIG": config, "DOCKER_RAM_ROOT": root, "HOME": directory, "PATH": programs]
    }

    /// Runs a command line in this process; standard input is one line or nothing.
    func run(_ words: [String], extra: [String: String] = [:], input: String? = nil) -> Outcome {
        let outcome = Collector()
        let context = CommandContext(
            paths: InstallationPaths(root: root),
            environment: environment.merging(extra) { $1 },
            output: TextStream { text in outcome.append(output: text) },
            errors: TextStream { text in outcome.append(errors: text) },
            readLine: { input },
            now: { Int(Date().timeIntervalSince1970) },
            executable: "\(programs)/docker-ram"
        )
        let code = Invocation(words).run(in: context)
        return outcome.outcome(code)
    }

    private final class Collector: Sendable {
        private let collected = Mutex(Outcome())
        func append(output: String) { collected.withLock { $0.output += output } }
        func append(errors: String) { collected.withLock { $0.errors += errors } }
        func outcome(_ code: Int32) -> Outcome {
            collected.withLock { outcome in
                var outcome = outcome
                outcome.code = code
                return outcome
            }
        }
    }

    /// A stand-in for docker-credential-ram that keeps what it gets in files; it refuses `denied.test`.
    func installHelper() throws {
        try write(
            """
            #!/bin/sh
            D='\(directory)/store'; mkdir -p "$D"
            case $1 in
            list) echo '{}' ;;
            store)
                input=$(cat)
                case $input in
                *denied.test*) echo 'Your organization has disallowed this registry: denied.test (acme).'; exit 1 ;;
                esac
                name=$(printf '%s' "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/' | tr '/:' '__')
                printf '%s' "$input" > "$D/$name" ;;
            get)
                name=$(cat | tr '/:' '__')
                if [ -f "$D/$name" ]; then cat "$D/$name"
                else echo 'credentials not found in native keychain'; exit 1; fi ;;
            erase) rm -f "$D/$(cat | tr '/:' '__')" ;;
            esac

            """,
            "bin/docker-credential-ram",
            mode: 0o755
        )
        for tool in ["cat", "mkdir", "sed", "tr", "rm"] {
            let path = ["/usr/bin/\(tool)", "/bin/\(tool)"].first { FileManager.default.isExecutableFile(atPath: $0) }
            try FileManager.default.createSymbolicLink(
                atPath: "\(programs)/\(tool)",
                withDestinationPath: path ?? "/bin/\(tool)"
            )
        }
    }
}
