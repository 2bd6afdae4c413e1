import Foundation
import RegistryAccess
import Testing

@testable import CommandLinePlugin

/// Docker's own command line on this machine.
private enum InstalledDocker {
    static let path = ChildProcess.find("docker", environment: ProcessInfo.processInfo.environment)

    /// Hooks, completion of plugins and the cancellation socket came after 20.10, which is Debian 12's.
    static let isRecent: Bool = {
        guard let path else { return false }
        let process = ChildProcess(path: path, arguments: ["--version"], environment: [:])
        let words = (try? process.run(within: 10_000))?.words.split(separator: " ") ?? []
        return (words.dropFirst(2).first?.split(separator: ".").first.flatMap { Int($0) } ?? 0) >= 28
    }()
}

/// The plugin as Docker's own command line sees it.
@Suite(.enabled(if: InstalledDocker.path != nil, "docker is not installed"))
struct DockerCommandLineTests {

    /// The program under test lies beside the program that runs the tests.
    private static let plugin = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("docker-ram").path

    private func with(_ body: (Machine) throws -> Void) throws {
        try Machine.with { (machine) throws in
            let plugins = "\(machine.config)/cli-plugins"
            try FileManager.default.createDirectory(atPath: plugins, withIntermediateDirectories: true)
            // A link: a copy could still be open for writing in a process that another test has just started.
            try FileManager.default.createSymbolicLink(
                atPath: "\(plugins)/docker-ram",
                withDestinationPath: Self.plugin
            )
            try body(machine)
        }
    }

    private func environment(_ machine: Machine, engine: String? = nil) -> [String: String] {
        machine.environment.merging(
            [
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM": "xterm",
                "DOCKER_HOST": "unix://\(engine ?? "\(machine.directory)/nothing.sock")",
            ]
        ) { $1 }
    }

    private func docker(
        _ machine: Machine,
        engine: String? = nil,
        _ arguments: String...
    ) throws -> ChildProcess.Result {
        let docker = try #require(InstalledDocker.path)
        return try ChildProcess(path: docker, arguments: arguments, environment: environment(machine, engine: engine))
            .run(within: 60_000)
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test
    func `docker takes the plugin, and knows its version`() throws {
        try with { (machine) throws in
            let result = try docker(machine, "info", "--format", "{{json .ClientInfo.Plugins}}")
            let plugins = try StrictJSON.parse(result.output).elements ?? []
            let ours = try #require(plugins.first { $0.value(named: "Name") == .string("ram") })
            #expect(ours.value(named: "Version") == .string("0.1.0"))
            #expect(ours.value(named: "Err") == nil)
            #expect(ours.value(named: "ShortDescription") == .string("Registry Access Management"))
        }
    }

    @Test
    func `the metadata file is what docker is told`() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../plugin-metadata/docker-ram.json")
        #expect(try String(contentsOf: file, encoding: .utf8) == PluginMetadata.text)
    }

    @Test
    func `help comes through docker in every way of asking`() throws {
        try with { (machine) throws in
            let help = CommandTree.root.help()
            #expect(text(try docker(machine, "ram", "--help").output) == help)
            #expect(text(try docker(machine, "help", "ram").output) == help)
            #expect(text(try docker(machine, "--debug", "ram", "--help").output) == help)
            let check = CommandTree.root.find(["check"]).command.help()
            #expect(text(try docker(machine, "ram", "check", "--help").output) == check)
            #expect(text(try docker(machine, "help", "ram", "check").output) == check)
        }
    }

    @Test
    func `docker's own flags arrive, and so do exit codes`() throws {
        try with { (machine) throws in
            let result = try docker(machine, "--debug", "--log-level", "info", "ram", "check", "quay.io/x")
            #expect(result.exitCode == 3)
            #expect(result.words == "denied  quay.io/x  no rule allows quay.io")
            #expect(try docker(machine, "ram", "check", "alpine").exitCode == 0)
            #expect(try docker(machine, "ram", "nonsense").exitCode == 64)
            #expect(try docker(machine, "ram", "log").exitCode == 1)
        }
    }

    @Test
    func `status asks the engine that docker is told to use`() throws {
        try with { (machine) throws in
            try machine.withEngine { engine throws in
                let byFlag = try docker(machine, "--host", "unix://\(engine)", "ram", "status")
                #expect(byFlag.words.contains("active: engine 28.2.2 asks \"docker-ram\""))
                let byEnvironment = try docker(machine, engine: engine, "ram", "status")
                #expect(byEnvironment.words.contains("active: engine 28.2.2 asks \"docker-ram\""))
            }
            #expect(try docker(machine, "ram", "status").words.contains("authorization plugin  unknown:"))
        }
    }

    @Test(.enabled(if: InstalledDocker.isRecent, "docker is older than 28"))
    func `completion goes through docker`() throws {
        try with { (machine) throws in
            #expect(try docker(machine, "__complete", "ram", "po").words == "policy\tLook at policies\n:4")
            #expect(try docker(machine, "__complete", "ram", "policy", "v").words.hasPrefix("validate\t"))
            #expect(try docker(machine, "__complete", "ram", "check", "--action", "pu").words == "pull\npush\n:4")
            #expect(try docker(machine, "__complete", "ra").words.hasPrefix("ram\tRegistry Access Management"))
        }
    }

    @Test(
        "After a refusal docker shows what to do next",
        .enabled(if: InstalledDocker.isRecent, "docker is older than 28"),
        arguments: [
            ["pull", "ghcr.io/evil/x:1"], ["image", "pull", "ghcr.io/evil/x:1"], ["run", "--rm", "ghcr.io/evil/x:1"],
        ]
    )
    func hook(command: [String]) throws {
        try with { (machine) throws in
            try machine.installHelper()
            // Setup writes what docker reads.
            #expect(machine.run(["setup"]).code == 0)
            try machine.withEngine { engine throws in
                // Docker asks hooks only where its output is a terminal.
                let script = try #require(ChildProcess.find("script", environment: environment(machine)))
                var environment = environment(machine, engine: engine)
                environment["PATH"] = "\(machine.programs):\(environment["PATH"] ?? "")"
                let docker = try #require(InstalledDocker.path)
                let line = ([docker] + command).joined(separator: " ")
                let result = try ChildProcess(
                    path: script,
                    arguments: ["-qec", line, "/dev/null"],
                    environment: environment
                ).run(within: 60_000)
                let shown = text(result.output)
                #expect(shown.contains("What's next:"), "\(shown)")
                #expect(shown.contains("ghcr.io is not allowed here (acme, policy 42, 7f3a9c)."))
                #expect(shown.contains("Ask platform@acme.test for access."))
                #expect(shown.contains("docker ram check --explain ghcr.io/evil/x:1"))
            }
        }
    }

    @Test(.enabled(if: InstalledDocker.isRecent, "docker is older than 28"))
    func `a plugin that waits ends when docker is told to end`() throws {
        try with { (machine) throws in
            try machine.withDaemon(answer: { _ in nil }) { server throws in
                let process = Process()
                process.executableURL = URL(fileURLWithPath: try #require(InstalledDocker.path))
                process.arguments = ["ram", "log", "--follow"]
                process.environment = environment(machine)
                process.standardOutput = FileHandle.nullDevice
                try process.run()
                let deadline = Date(timeIntervalSinceNow: 20)
                while server.requests.isEmpty, Date() < deadline { Thread.sleep(forTimeInterval: 0.02) }
                #expect(!server.requests.isEmpty)
                process.terminate()
                while process.isRunning, Date() < deadline { Thread.sleep(forTimeInterval: 0.02) }
                #expect(!process.isRunning)
                if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            }
        }
    }
}
