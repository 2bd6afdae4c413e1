import Foundation
public import Glibc
import Synchronization

/// A program that ended, and what it said.
public struct EndedProgram: Sendable, CustomStringConvertible {
    /// The program and its arguments.
    public let command: [String]
    /// The exit status; 128 and the signal's number if a signal ended it.
    public let status: Int32
    /// What it wrote on its standard output.
    public let output: String
    /// What it wrote on its standard error.
    public let errors: String

    /// Everything that it said.
    public var said: String { output + errors }
    /// The command, the status and everything said, for the messages of failed tests.
    public var description: String {
        "\(command.joined(separator: " ")) ended with \(status)\n\(output)\(errors)"
    }

    /// Insists on a status.
    ///
    /// - Parameter expected: the status.
    /// - Returns: the same program.
    /// - Throws: ``UnexpectedEnd`` if it ended otherwise.
    @discardableResult
    public func expecting(_ expected: Int32) throws -> EndedProgram {
        guard status == expected else { throw UnexpectedEnd(description: "\(self)\n(expected \(expected))") }
        return self
    }
}

/// A program did not start, did not end in time, or ended with another status than expected.
public struct UnexpectedEnd: Error, CustomStringConvertible {
    /// What happened.
    public let description: String

    /// An error.
    ///
    /// - Parameter description: what happened.
    public init(description: String) {
        self.description = description
    }
}

/// Runs a program to its end.
///
/// - Parameters:
///   - command: the program, which is looked for in `PATH`, and its arguments.
///   - environment: what to add to the environment; the settings of this machine's Docker are left out of it.
///   - input: what the program reads.
///   - limit: when it is killed.
/// - Returns: the ended program.
/// - Throws: ``UnexpectedEnd`` if it does not start, or does not end in time.
public func runProgram(
    _ command: [String],
    environment: [String: String] = [:],
    input: String = "",
    within limit: Duration = .seconds(120)
) async throws -> EndedProgram {
    let program = try RunningProgram(command, environment: environment, input: input)
    guard let status = try await program.status(within: limit) else {
        try await program.stop()
        throw UnexpectedEnd(
            description:
                "\(command.joined(separator: " ")) did not end within \(limit)\n\(program.output)\(program.errors)"
        )
    }
    return EndedProgram(command: command, status: status, output: program.output, errors: program.errors)
}

/// A program that runs beside the test.
public final class RunningProgram: Sendable {
    /// The program and its arguments.
    public let command: [String]
    /// Its process.
    public let pid: pid_t

    private let outputFile: Int32
    private let errorFile: Int32
    private let ended = Mutex<Int32?>(nil)

    /// Starts a program, in a process group of its own.
    ///
    /// - Parameters:
    ///   - command: the program, which is looked for in `PATH`, and its arguments.
    ///   - environment: what to add to the environment; the settings of this machine's Docker are left out of it.
    ///   - input: what the program reads.
    ///   - terminal: what it reads instead; its Control-C is for the program.
    /// - Throws: ``UnexpectedEnd`` if it does not start.
    public init(
        _ command: [String],
        environment: [String: String] = [:],
        input: String = "",
        terminal: PseudoTerminal? = nil
    ) throws {
        self.command = command
        let inputFile = try Self.temporaryFile()
        defer { close(inputFile) }
        let bytes = Array(input.utf8)
        guard bytes.withUnsafeBytes({ write(inputFile, $0.baseAddress, $0.count) }) == bytes.count else {
            throw UnexpectedEnd(description: "cannot write a temporary file: errno \(errno)")
        }
        lseek(inputFile, 0, SEEK_SET)
        outputFile = try Self.temporaryFile()
        errorFile = try Self.temporaryFile()

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let terminal {
            // The first terminal that the leader of a session opens becomes that session's own.
            posix_spawn_file_actions_addopen(&actions, 0, terminal.path, O_RDWR, 0)
        } else {
            posix_spawn_file_actions_adddup2(&actions, inputFile, 0)
        }
        posix_spawn_file_actions_adddup2(&actions, outputFile, 1)
        posix_spawn_file_actions_adddup2(&actions, errorFile, 2)
        try closeDescriptors(from: 3, in: &actions)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var noSignals = sigset_t()
        sigemptyset(&noSignals)
        posix_spawnattr_setsigmask(&attributes, &noSignals)
        posix_spawnattr_setpgroup(&attributes, 0)
        let group = terminal == nil ? POSIX_SPAWN_SETPGROUP : Self.newSession
        posix_spawnattr_setflags(&attributes, Int16(group | POSIX_SPAWN_SETSIGMASK))

        var pid = pid_t()
        let status = Self.withCStrings(command) { arguments in
            Self.withCStrings(Self.environment(adding: environment).map { "\($0)=\($1)" }) { variables in
                posix_spawnp(&pid, command[0], &actions, &attributes, arguments, variables)
            }
        }
        guard status == 0 else {
            close(outputFile)
            close(errorFile)
            throw UnexpectedEnd(description: "cannot start \(command[0]): \(String(cString: strerror(status)))")
        }
        self.pid = pid
    }

    deinit {
        close(outputFile)
        close(errorFile)
    }

    /// What it has written on its standard output so far.
    public var output: String { Self.text(of: outputFile) }
    /// What it has written on its standard error so far.
    public var errors: String { Self.text(of: errorFile) }

    /// Its status, if it has ended.
    public var status: Int32? {
        ended.withLock { ended in
            guard ended == nil else { return ended }
            var status: Int32 = 0
            guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
            let signal = status & 0x7F
            ended = signal == 0 ? (status >> 8) & 0xFF : 128 + signal
            return ended
        }
    }

    /// Waits for the end.
    ///
    /// - Parameter limit: how long.
    /// - Returns: the status, or nil if it still runs.
    /// - Throws: if the task is cancelled.
    public func status(within limit: Duration) async throws -> Int32? {
        let deadline = ContinuousClock.now + limit
        while true {
            if let status { return status }
            guard ContinuousClock.now < deadline else { return nil }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Sends a signal to it alone.
    ///
    /// - Parameter signal: the signal.
    public func send(_ signal: Int32) {
        ended.withLock { ended in
            if ended == nil { _ = kill(pid, signal) }
        }
    }

    /// Ends it: asks, and after 15 seconds kills its process group.
    ///
    /// - Throws: ``UnexpectedEnd`` if even that does not help.
    public func stop() async throws {
        send(SIGTERM)
        // A cancelled test cleans up too, so this wait does not sleep by the task.
        for _ in 0..<1500 where status == nil { usleep(10_000) }
        guard status == nil else { return }
        kill(-pid, SIGKILL)
        for _ in 0..<500 where status == nil { usleep(10_000) }
        guard status != nil else { throw UnexpectedEnd(description: "\(command) cannot be ended") }
    }

    /// `POSIX_SPAWN_SETSID`, which the C library shows only to programs that ask for all of it.
    private static let newSession: CInt = 0x80

    private static func temporaryFile() throws -> Int32 {
        let path = "/tmp/ram-\(getpid())-\(UInt64.random(in: .min ... .max))"
        let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw UnexpectedEnd(description: "cannot make a temporary file: errno \(errno)") }
        unlink(path)
        return file
    }

    private static func text(of file: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = pread(file, &buffer, buffer.count, off_t(bytes.count))
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func environment(adding more: [String: String]) -> [String: String] {
        ProcessInfo.processInfo.environment
            .filter { name, _ in !name.hasPrefix("DOCKER_") && !name.lowercased().hasSuffix("_proxy") }
            .merging(more) { _, new in new }
    }

    private static func withCStrings<Result>(
        _ texts: [String],
        _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
    ) -> Result {
        let pointers = texts.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        return body(pointers + [nil])
    }
}

/// Waits until something is so.
///
/// - Parameters:
///   - what: what is waited for, for the message.
///   - limit: how long; longer where it could not be asked often enough, because other tests block what tasks run on.
///   - isSo: asks.
/// - Throws: ``UnexpectedEnd`` if it is not so in time, and what `isSo` throws.
public func waitUntil(
    _ what: String,
    within limit: Duration = .seconds(30),
    _ isSo: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    var looks = 0
    while !(try await isSo()) {
        looks += 1
        guard looks < 200 || ContinuousClock.now < deadline else {
            throw UnexpectedEnd(description: "not within \(limit): \(what)")
        }
        try await Task.sleep(for: .milliseconds(25))
    }
}
