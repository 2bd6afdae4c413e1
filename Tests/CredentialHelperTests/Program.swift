@preconcurrency import Glibc
import TestSupport

/// How a program ended and what it said.
struct Ending: Equatable, CustomStringConvertible {
    var status: CInt
    var output: [UInt8]
    var words: String
    var seconds: Double

    var text: String { String(decoding: output, as: UTF8.self) }
    var description: String { "exit \(status), output \"\(text)\", words \"\(words)\", \(seconds) s" }
}

/// A program that runs, its three streams in files.
struct RunningProgram {
    let process: pid_t
    private let output: CInt
    private let words: CInt
    private let started: timespec

    /// Starts a program.
    init(_ path: String, _ arguments: [String], input: [UInt8] = [], environment: [String: String]) throws {
        let source = try Self.scratch(input)
        defer { close(source) }
        output = try Self.scratch([])
        words = try Self.scratch([])
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, source, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, words, 2)
        try closeDescriptors(from: 3, in: &actions)
        // Threads of the test runner block most signals; what they start must not inherit that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        let words = ([path] + arguments).map { strdup($0) } + [nil]
        defer { for text in variables + words { free(text) } }
        var process = pid_t()
        started = Self.now()
        let failure = posix_spawnp(&process, path, &actions, &attributes, words, variables)
        guard failure == 0 else { throw TestFailure("cannot run \(path): \(String(cString: strerror(failure)))") }
        self.process = process
    }

    /// Waits for its end.
    func end() throws -> Ending {
        var status: CInt = 0
        while waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else { throw TestFailure("cannot wait for \(process)") }
        }
        let end = Self.now()
        defer {
            close(output)
            close(words)
        }
        return Ending(
            status: status & 0x7F == 0 ? (status >> 8) & 0xFF : -(status & 0x7F),
            output: Self.content(output),
            words: String(decoding: Self.content(words), as: UTF8.self),
            seconds: Double(end.tv_sec - started.tv_sec) + Double(end.tv_nsec - started.tv_nsec) / 1e9
        )
    }

    private static func now() -> timespec {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time
    }

    private static func scratch(_ content: [UInt8]) throws -> CInt {
        let path = "/ram-test.\(UInt64.random(in: .min ... .max))"
        let file = shm_open(path, O_RDWR | O_CREAT | O_EXCL, 0o600)
        guard file >= 0 else { throw TestFailure("cannot make a file in memory") }
        shm_unlink(path)
        var rest = content[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            guard written > 0 else { throw TestFailure("cannot write to a file in memory") }
            rest = rest.dropFirst(written)
        }
        lseek(file, 0, SEEK_SET)
        return file
    }

    private static func content(_ file: CInt) -> [UInt8] {
        lseek(file, 0, SEEK_SET)
        var bytes: [UInt8] = []
        while true {
            let chunk = [UInt8](unsafeUninitializedCapacity: 64 << 10) { buffer, count in
                count = max(read(file, buffer.baseAddress, buffer.count), 0)
            }
            if chunk.isEmpty { return bytes }
            bytes += chunk
        }
    }
}

/// What a test needed and did not get.
struct TestFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Where the programs are that were built together with these tests.
enum Built {
    /// docker-credential-ram.
    static let helper = directory + "/docker-credential-ram"

    /// The directory `Sources` of the package.
    static let sources = directory(above: #filePath, levels: 3) + "/Sources"

    static let directory: String = {
        let program = CommandLine.arguments[0]
        // The test runner is the test bundle itself, or a program beside which the bundle is named as an argument.
        let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? program
        return directory(above: bundle, levels: 1)
    }()

    private static func directory(above path: String, levels: Int) -> String {
        path.split(separator: "/", omittingEmptySubsequences: false).dropLast(levels).joined(separator: "/")
    }
}

/// Runs a program to its end.
func run(
    _ path: String,
    _ arguments: [String],
    input: [UInt8] = [],
    environment: [String: String] = ["PATH": "/usr/local/bin:/usr/bin:/bin"]
) throws -> Ending {
    try RunningProgram(path, arguments, input: input, environment: environment).end()
}
