import Foundation
import Testing

/// What the commands print, as a person would see it: `Transcripts/*.txt`.
///
///     # a comment
///     < policy.json      the lines up to the next empty one become this file of the machine
///     $ docker ram check alpine
///     the expected output
///     ! the expected words on standard error
///     ? 3                the exit code, 0 unless given
///
/// `DIR` stands for the machine's directory.
struct TranscriptTests {
    static let names: [String] = {
        let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "Transcripts"
        )
        let files = (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
        return files.filter { $0.hasSuffix(".txt") }.map { directory.appendingPathComponent($0).path }.sorted()
    }()

    @Test
    func `there are transcripts`() {
        #expect(Self.names.count >= 5)
    }

    @Test(arguments: names)
    func transcript(path: String) throws {
        let steps = Step.read(try String(contentsOfFile: path, encoding: .utf8))
        #expect(!steps.isEmpty)
        try Machine.with(policy: nil) { (machine) throws in
            try machine.installHelper()
            for step in steps {
                for (name, text) in step.files { try machine.write(text, name) }
                let words = step.command.split(separator: " ").dropFirst().map {
                    $0.replacingOccurrences(of: "DIR", with: machine.directory)
                }
                let outcome = machine.run(words)
                func plain(_ text: String) -> String {
                    text.replacingOccurrences(of: machine.directory, with: "DIR")
                }
                #expect(plain(outcome.output) == step.output, "\(step.command)")
                #expect(plain(outcome.errors) == step.errors, "\(step.command)")
                #expect(outcome.code == step.code, "\(step.command)")
            }
        }
    }

    private struct Step {
        var command: String
        var files: [(String, String)] = []
        var output = ""
        var errors = ""
        var code: Int32 = 0

        static func read(_ text: String) -> [Step] {
            var steps: [Step] = []
            var files: [(String, String)] = []
            var file: String?
            for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
                if let name = file {
                    if line.isEmpty { file = nil } else { files[files.count - 1].1 += line + "\n" }
                    _ = name
                } else if line.hasPrefix("< ") {
                    file = String(line.dropFirst(2))
                    files.append((String(line.dropFirst(2)), ""))
                } else if line.hasPrefix("$ ") {
                    steps.append(Step(command: String(line.dropFirst(2)), files: files))
                    files = []
                } else if line.hasPrefix("# ") || steps.isEmpty {
                    continue
                } else if line.hasPrefix("? ") {
                    steps[steps.count - 1].code = Int32(line.dropFirst(2)) ?? -1
                } else if line == "!" || line.hasPrefix("! ") {
                    steps[steps.count - 1].errors += line.dropFirst(2) + "\n"
                } else {
                    steps[steps.count - 1].output += line + "\n"
                }
            }
            // The empty lines between a step and the next command belong to no output.
            for index in steps.indices {
                while steps[index].output.hasSuffix("\n\n") || steps[index].output == "\n" {
                    steps[index].output.removeLast()
                }
            }
            return steps
        }
    }
}
