import LocalInstallation
import RegistryAccess
import Synchronization
import Testing

@testable import CommandLinePlugin

struct StatusTests {
    /// A stand-in for `docker info`.
    private func installDocker(_ machine: Machine, _ script: String) throws {
        try machine.write("#!/bin/sh\n\(script)\n", "bin/docker", mode: 0o755)
    }

    @Test(
        "What the engine says about its plugins",
        arguments: [
            (
                "echo '{\"ServerVersion\":\"28.2.2\",\"Plugins\":{\"Authorization\":[\"docker-ram\"]}}'",
                "active: engine 28.2.2 asks"
            ),
            (
                "echo '{\"ServerVersion\":\"28.2.2\",\"Plugins\":{\"Authorization\":[\"opa\"]}}'",
                "not active: engine 28.2.2 does not"
            ),
            (
                "echo '{\"ServerVersion\":\"28.2.2\",\"Plugins\":{\"Authorization\":null}}'",
                "not active: engine 28.2.2 does not"
            ),
            ("echo '{\"ServerErrors\":[\"no daemon\"]}'; exit 1", "unknown: no daemon"),
            ("echo 'Cannot connect' >&2; exit 1", "unknown: Cannot connect"),
            ("echo nonsense", "unknown: docker info said nothing"),
            ("exit 1", "unknown: docker info said nothing"),
        ]
    )
    func engine(script: String, words: String) throws {
        try Machine.with { (machine) throws in
            try installDocker(machine, script)
            let outcome = machine.run(["status"])
            #expect(outcome.code == 0)
            #expect(outcome.words.contains(words), "\(outcome.output)")
        }
    }

    @Test(
        "Whether docker-ramd was asked counts for more than the engine's list",
        arguments: [
            ("[\"docker-ram\"]", 1, "active: engine 28.2.2 asks"), ("null", 1, "active: engine 28.2.2 asks"),
            ("[\"docker-ram\"]", 0, "unknown: engine 28.2.2 names \"docker-ram\", but"),
            ("[]", 0, "not active: engine 28.2.2 does not ask"),
        ]
    )
    func asked(plugins: String, step: Int, words: String) throws {
        try Machine.with { (machine) throws in
            try installDocker(
                machine,
                "echo '{\"ServerVersion\":\"28.2.2\",\"Plugins\":{\"Authorization\":\(plugins)}}'"
            )
            let requests = Mutex(12)
            let answer: @Sendable (String) -> String? = { request in
                guard request.contains("status") else { return "" }
                let count = requests.withLock { count in
                    count += step
                    return count
                }
                return "{\"authorizationPlugin\":{\"requests\":\(count)}}\n"
            }
            try machine.withDaemon(answer: answer) { _ throws in
                #expect(machine.run(["status"]).words.contains(words))
            }
        }
    }

    @Test
    func `the caller's own flags go to docker`() throws {
        try Machine.with { (machine) throws in
            try installDocker(machine, "printf '%s|' \"$@\" > '\(machine.directory)/args'; echo '{}'")
            _ = machine.run(["--context", "remote", "-D", "ram", "status"])
            #expect(try machine.read("args") == "--context|remote|-D|info|--format|{{json .}}|")
        }
    }

    @Test
    func `the docker that called is the docker that is asked`() throws {
        try Machine.with { (machine) throws in
            try machine.write("#!/bin/sh\necho '{\"ServerVersion\":\"other\"}'\n", "elsewhere/docker", mode: 0o755)
            let outcome = machine.run(
                ["status"],
                extra: ["DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND": "\(machine.directory)/elsewhere/docker"]
            )
            #expect(outcome.words.contains("engine other does not ask"))
        }
    }

    @Test
    func `what goes around the helper is a problem`() throws {
        try Machine.with { (machine) throws in
            try machine.write(
                #"{"credsStore":"ram","credHelpers":{"a.test":"x","b.test":"ram"}}"#,
                "config/config.json"
            )
            let outcome = machine.run(["status"], extra: ["DOCKER_AUTH_CONFIG": "{}"])
            #expect(outcome.words.contains("docker-credential-ram is not on PATH"))
            #expect(outcome.words.contains("goes before docker-ram for \"a.test\""))
            #expect(outcome.words.contains("and 1 more; to mend it, run: docker ram doctor"))
            let words = ["status", "--format", "json"]
            let json = machine.run(words, extra: ["DOCKER_AUTH_CONFIG": "{}"]).output
            let problems = try StrictJSON.parse(Array(json.utf8)).value(named: "problems")?.elements
            #expect(
                problems?.compactMap { $0.value(named: "id")?.text } == [
                    "daemon", "credential-helper-path", "credential-helpers", "docker-auth-config",
                ]
            )
        }
    }

    @Test
    func `a config file that is not JSON is a problem and no end`() throws {
        try Machine.with { (machine) throws in
            try machine.write("{,", "config/config.json")
            let outcome = machine.run(["status"])
            #expect(outcome.code == 0)
            #expect(outcome.words.contains("is left untouched: it is not valid JSON"))
        }
    }

    @Test
    func `a policy that others may write is refused with the reason`() throws {
        try Machine.with { (machine) throws in
            try machine.write(Machine.policy, "root/etc/docker-ram/policy.json", mode: 0o666)
            let outcome = machine.run(["status"])
            #expect(outcome.words.contains("every registry is refused"))
            #expect(outcome.words.contains("can be written by others"))
            #expect(machine.run(["check", "alpine"]).code == 3)
        }
    }

    @Test(arguments: [[], ["--format", "json"]])
    func `what an engine says cannot steer the terminal`(options: [String]) throws {
        try Machine.with { (machine) throws in
            // U+009B begins a command as escape does; U+202E turns what follows around.
            try installDocker(
                machine,
                "printf '{\"ServerErrors\":[\"no\\302\\233[2J\\342\\200\\256daemon\"]}'"
            )
            let outcome = machine.run(["status"] + options)
            #expect(outcome.output.contains("[2J"))
            let harmful = outcome.output.unicodeScalars.filter { scalar in
                scalar != "\n" && [.control, .format].contains(scalar.properties.generalCategory)
            }
            #expect(harmful.isEmpty)
            guard !options.isEmpty else { return }
            let json = try StrictJSON.parse(Array(outcome.output.utf8))
            let plugin = json.value(named: "enforcement")?.value(named: "authorizationPlugin")
            #expect(plugin?.value(named: "detail") == .string("unknown: no\u{9B}[2J\u{202E}daemon"))
        }
    }

    @Test
    func `nothing readable at all is a failure`() throws {
        try Machine.with(policy: "{") { (machine) throws in
            try machine.write("{", "config/config.json")
            let outcome = machine.run(["status"])
            #expect(outcome.code == 1)
            #expect(outcome.errors == "docker ram: nothing about this machine could be read\n")
        }
    }

    @Test
    func `no line is longer than the terminal, and there is no colour without one`() throws {
        try Machine.with { (machine) throws in
            try machine.withDaemon { _ throws in
                for line in machine.run(["status"]).output.split(separator: "\n") {
                    #expect(line.count <= 80, "\(line)")
                    #expect(!line.contains("\u{1B}"))
                }
            }
        }
    }

    @Test
    func `colour is a matter of the terminal`() {
        var terminal = Terminal()
        #expect(terminal.colored("x", .red) == "x")
        terminal.hasColor = true
        #expect(terminal.colored("x", .red) == "\u{1B}[31mx\u{1B}[0m")
    }
}
