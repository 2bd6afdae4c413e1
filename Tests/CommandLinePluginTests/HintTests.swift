import Foundation
import Testing

/// What the commands tell people to run has to be there.
struct HintTests {
    private static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    /// The texts in the program's source that tell somebody to run something.
    private static let commands: [String] = {
        let sources = package.appendingPathComponent("Sources/CommandLinePlugin")
        let files = FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil)
        return (files?.compactMap { $0 as? URL } ?? []).filter { $0.pathExtension == "swift" }
            .compactMap { try? String(contentsOf: $0, encoding: .utf8) }
            .flatMap { $0.matches(of: /run(?: as root)?: ([^"]+)"/).map { String($0.output.1) } }
    }()

    @Test
    func `commands begin with a program that is on the path`() {
        #expect(Self.commands.count >= 5)
        for command in Self.commands {
            #expect(["docker", "systemctl", "journalctl"].contains(command.split(separator: " ").first), "\(command)")
        }
    }

    @Test
    func `units have files`() throws {
        let units = Self.commands.filter { $0.hasPrefix("systemctl") }
            .flatMap { $0.split(separator: " ") }.filter { $0.hasPrefix("docker-ramd") }
        #expect(!units.isEmpty)
        for unit in units {
            let name = unit.contains(".") ? String(unit) : "\(unit).service"
            let file = Self.package.appendingPathComponent("plugin-metadata/systemd/\(name)")
            #expect(FileManager.default.fileExists(atPath: file.path), "\(name)")
        }
    }
}
