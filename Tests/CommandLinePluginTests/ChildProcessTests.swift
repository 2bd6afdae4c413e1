import Glibc
import TestSupport
import Testing

@testable import CommandLinePlugin

struct ChildProcessTests {
    private func shell(_ script: String, _ input: [UInt8] = [], within: Int = 10_000) throws -> ChildProcess.Result {
        try ChildProcess(path: "/bin/sh", arguments: ["-c", script], environment: ["PATH": "/usr/bin:/bin", "A": "b"])
            .run(input: input, within: within)
    }

    @Test
    func `output, errors, environment and exit code`() throws {
        let result = try shell("echo \" $A\"; echo e >&2; exit 7")
        #expect(result.words == "b")
        #expect(result.errorWords == "e")
        #expect(result.exitCode == 7)
        #expect(try shell("kill -9 $$").exitCode == 137)
    }

    @Test
    func `much input and output at once does not block`() throws {
        let input = [UInt8](repeating: 0x61, count: 1 << 20)
        #expect(try shell("cat", input).output == input)
    }

    @Test
    func `input that nobody reads is no error`() throws {
        #expect(try shell("exit 3", [UInt8](repeating: 0, count: 1 << 20)).exitCode == 3)
    }

    @Test
    func `a program that does not end is ended`() {
        #expect(throws: ChildProcess.Trouble.timeout) { try shell("exec sleep 30", within: 200) }
    }

    @Test
    func `a program that is not there is not started`() {
        #expect(throws: ChildProcess.Trouble.self) {
            try ChildProcess(path: "/nonexistent/x", arguments: [], environment: [:]).run(within: 1000)
        }
    }

    @Test
    func `what is open in a test does not stay open in the programs that it runs`() async throws {
        // As SwiftNIO opens its sockets: without the mark that an exec closes them.
        let socket = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        let program = try RunningProgram(["/bin/sh", "-c", "[ -e /proc/$$/fd/\(socket) ] && echo open || echo closed"])
        #expect(try await program.status(within: .seconds(60)) == 0)
        #expect(program.output == "closed\n")
    }
}
