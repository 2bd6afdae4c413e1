import Testing

@testable import CommandLinePlugin

struct GlobalFlagsTests {
    @Test(
        "Docker's own flags are taken as Docker reads them",
        arguments: [
            ("ram status", [], nil, "ram status"),
            ("--config /c ram status", ["--config", "/c"], "/c", "ram status"),
            ("--config=/c --debug ram", ["--config=/c", "--debug"], "/c", "ram"),
            ("-D -c remote ram", ["-D", "-c", "remote"], nil, "ram"),
            ("-Dcremote ram", ["-D", "-cremote"], nil, "ram"),
            ("-c=remote ram", ["-c=remote"], nil, "ram"),
            ("-H unix:///s -Htcp://h:1 ram", ["-H", "unix:///s", "-Htcp://h:1"], nil, "ram"),
            (
                "--context remote --log-level debug -l info ram",
                ["--context", "remote", "--log-level", "debug", "-l", "info"], nil, "ram"
            ),
            (
                "--tls --tlsverify=false --tlscacert ca --tlscert=c --tlskey k ram",
                ["--tls", "--tlsverify=false", "--tlscacert", "ca", "--tlscert=c", "--tlskey", "k"], nil, "ram"
            ),
            // A value that looks like a command or a flag is a value.
            ("--context ram ram status", ["--context", "ram"], nil, "ram status"),
            ("--context --debug ram", ["--context", "--debug"], nil, "ram"),
            ("--debug=true ram", ["--debug=true"], nil, "ram"),
            ("-D=true ram", ["-D=true"], nil, "ram"),
            ("", [], nil, ""),
        ] as [(String, [String], String?, String)]
    )
    func flags(line: String, arguments: [String], config: String?, rest: String) throws {
        var words = line.split(separator: " ").map(String.init)[...]
        var flags = GlobalFlags()
        try flags.take(from: &words)
        #expect(flags.arguments == arguments)
        #expect(flags.configDirectory == config)
        #expect(words.joined(separator: " ") == rest)
    }

    @Test(arguments: ["--nonsense ram", "-x ram", "--config", "-c", "-H", "-Dx ram", "--configs /c ram"])
    func `other flags are refused`(line: String) {
        var words = line.split(separator: " ").map(String.init)[...]
        var flags = GlobalFlags()
        #expect(throws: GlobalFlags.Unreadable.self) { try flags.take(from: &words) }
    }

    @Test(arguments: [
        ["ram", "version"], ["version"], ["--debug", "ram", "version"], ["ram", "--root", "/nowhere", "version"],
        ["--root=/nowhere", "version"], ["ram", "version", "--root", "/nowhere"], ["-c", "ram", "ram", "version"],
    ])
    func `the program runs under both its names`(words: [String]) throws {
        try Machine.with { (machine) throws in
            let outcome = machine.run(words)
            #expect(outcome.output == "docker-ram   0.1.0\ndocker-ramd  does not answer\n")
            #expect(outcome.code == 0)
        }
    }

    @Test
    func `the config flag goes before the environment`() throws {
        try Machine.with { (machine) throws in
            try machine.installHelper()
            let outcome = machine.run(["--config", "\(machine.directory)/other", "ram", "setup", "--dry-run"])
            #expect(outcome.output.hasPrefix("Would change in \(machine.directory)/other:\n"))
        }
    }
}
