import Glibc

/// What the program says and how it ends.
struct Answer: Equatable, Sendable {
    /// For Docker: goes to standard output, also when it is an error.
    var output: [UInt8] = []
    /// For the person: lines for standard error, without the program's name.
    var words: [String] = []
    /// For the person, but only when standard error is a terminal: Docker shows ``output`` itself in most commands.
    var wordsForTerminal: [String] = []
    /// How the program ends.
    var exitCode: CInt = 0

    /// It worked, and this is the answer.
    static func success(_ output: [UInt8] = []) -> Answer { Answer(output: output) }

    /// It did not work, and this is the text for Docker.
    static func failure(_ text: String) -> Answer {
        Answer(output: Array("\(text)\n".utf8), exitCode: 1)
    }

    /// Says it and ends the process.
    func write() -> Never {
        var lines = words
        if isatty(STDERR_FILENO) == 1 { lines += wordsForTerminal }
        let text = lines.map { "\(ProtocolText.name): \($0)\n" }.joined()
        Self.write(Array(text.utf8), to: STDERR_FILENO)
        Self.write(output, to: STDOUT_FILENO)
        // What libsecret has started is left to the kernel.
        _exit(exitCode)
    }

    private static func write(_ bytes: [UInt8], to descriptor: CInt) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { return }
            rest = rest.dropFirst(written)
        }
    }
}
