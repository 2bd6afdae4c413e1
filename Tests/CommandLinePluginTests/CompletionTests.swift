import Testing

@testable import CommandLinePlugin

struct CompletionTests {
    @Test(
        "Choices without descriptions",
        arguments: [
            (["p"], "policy\n:4\n"),
            (["req"], "request\n:4\n"),
            (["request", "--"], "--format\n--push\n--reason\n--root\n--withdraw\n--help\n:4\n"),
            (["s"], "status\nsetup\n:4\n"),
            (["policy", ""], "show\nvalidate\ndiff\nimport\nexport\n:4\n"),
            (["engine", "e"], "enable\n:4\n"),
            (["nonsense", ""], ":4\n"),
            (["check", ""], ":4\n"),
            (["check", "--a"], "--action\n:4\n"),
            (["check", "--action", ""], "pull\npush\nlogin\n:4\n"),
            (["check", "--action", "pu"], "pull\npush\n:4\n"),
            (["check", "--action=pu"], "--action=pull\n--action=push\n:4\n"),
            (["check", "--explain", ""], ":4\n"),
            (["status", "--format", ""], "text\njson\n:4\n"),
            (["status", "--h"], "--help\n:4\n"),
            (["status", "--root", ""], ":0\n"),
            (["policy", "validate", ""], ":0\n"),
            (["log", "--"], "--denied\n--follow\n--format\n--limit\n--root\n--since\n--summary\n--help\n:4\n"),
            (["-"], ":4\n"),
        ]
    )
    func choices(words: [String], expected: String) {
        #expect(Completion(words: words, hasDescriptions: false).text == expected)
    }

    @Test
    func `descriptions stand behind a tab`() throws {
        try Machine.with { (machine) throws in
            #expect(machine.run(["__complete", "ram", "ver"]).output.hasPrefix("version\tShow the versions"))
            #expect(machine.run(["__completeNoDesc", "ram", "ver"]).output == "version\n:4\n")
            #expect(machine.run(["__complete"]).output.contains("status\t"))
        }
    }
}
