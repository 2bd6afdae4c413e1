import Testing

@testable import CommandLinePlugin

struct HelpTests {
    private static func all(_ tree: CommandTree) -> [CommandTree] { [tree] + tree.subcommands.flatMap(all) }

    @Test(arguments: all(.root).map(\.path))
    func `help fits on a terminal, and each command has an example that it takes`(path: String) throws {
        let command = try #require(Self.all(.root).first { $0.path == path })
        let lines = command.help().split(separator: "\n").map(String.init)
        for line in lines { #expect(line.count <= 80, "\(line)") }
        guard command.subcommands.isEmpty else { return }
        let name = "Example: docker ram "
        let example = try #require(lines.first { $0.hasPrefix(name) })
        #expect("\(example) ".hasPrefix("Example: \(path) "))
        for word in example.split(separator: " ") where word.hasPrefix("--") {
            #expect(command.options.contains { "--\($0.name)" == word })
        }
    }

    @Test
    func `an option is listed behind its letter, as Docker does it`() {
        let help = CommandTree.root.find(["admin", "policy", "apply"]).command.help()
        for start in ["  -f, --file file ", "  -m, --message text ", "      --replace "] {
            #expect(help.contains("\n\(start)"), "\(help)")
        }
    }
}
