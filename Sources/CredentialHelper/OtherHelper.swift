@preconcurrency import Glibc
import LocalInstallation

/// Another credential helper that keeps credentials for us.
struct OtherHelper {
    let name: HelperName
    /// Where the program is.
    let path: String
    /// How often helpers have handed on, this time included.
    let depth: Int

    /// More than this many helpers that hand on to one another are a circle.
    static let deepest = 4
    /// How long all `list`s together may take, in milliseconds.
    static let listTime = 5000
    /// The longest answer that is taken, in bytes.
    static let longestAnswer = 8 << 20

    /// Why another helper cannot be used.
    enum Fault: Error, Equatable {
        case notFound(HelperName)
        case ourselves(HelperName)
        case circle(HelperName)
        case failed(HelperName, attempt: String, code: CInt)
        case noAnswer(HelperName)

        /// The text.
        var text: String {
            switch self {
            case .notFound(let name): "\"\(name.program)\" was not found on the PATH"
            case .ourselves(let name): "\"\(name.program)\" is this program under another name"
            case .circle(let name): "\"\(name.program)\" hands back to this program"
            case .failed(let name, let attempt, let code):
                "cannot \(attempt) \"\(name.program)\": \(String(cString: strerror(code)).lowercased())"
            case .noAnswer(let name): "\"\(name.program)\" did not answer in time"
            }
        }

        /// What to do.
        var hint: String {
            switch self {
            case .notFound: "install it, or name another store in ram.json beside Docker's config.json"
            case .ourselves, .circle: "name another store in ram.json beside Docker's config.json"
            case .failed, .noAnswer: "run it by hand to see what is wrong with it"
            }
        }
    }

    /// Finds a helper on the PATH.
    ///
    /// - Parameters:
    ///   - name: the end of its name.
    ///   - environment: the environment of the process.
    /// - Throws: ``Fault``.
    init(_ name: HelperName, environment: ProcessEnvironment) throws(Fault) {
        self.name = name
        depth = environment.depth + 1
        guard depth <= Self.deepest else { throw .circle(name) }
        let directories = (environment.variables["PATH"] ?? "").split(separator: ":")
        // As Go's exec.LookPath: what lies in the current directory is not run by accident.
        let candidates = directories.filter { $0.hasPrefix("/") }.map { "\($0)/\(name.program)" }
        guard let path = candidates.first(where: Self.isProgram) else { throw .notFound(name) }
        self.path = path
        if let ours = try? Files.status("/proc/self/exe"), let theirs = try? Files.status(path), ours == theirs {
            throw .ourselves(name)
        }
    }

    private static func isProgram(_ path: String) -> Bool {
        guard let status = try? Files.status(path), status.isRegularFile else { return false }
        return access(path, X_OK) == 0
    }

    // MARK: - Running it

    /// Becomes the other helper: its answer is ours, byte for byte.
    ///
    /// - Parameters:
    ///   - action: what it is asked to do.
    ///   - input: what it gets to read.
    /// - Returns: why that did not work; otherwise it does not return.
    func replaceProcess(_ action: HelperAction, input: [UInt8]) -> Fault {
        let source: CInt
        do throws(Fault) {
            source = try memory(holding: input)
        } catch {
            return error
        }
        setenv(ProcessEnvironment.depthName, "\(depth)", 1)
        guard dup2(source, STDIN_FILENO) >= 0 else { return .failed(name, attempt: "run", code: errno) }
        return withArguments(action) { arguments in
            execv(path, arguments)
            return .failed(name, attempt: "run", code: errno)
        }
    }

    /// Runs the other helper and takes its answer.
    ///
    /// - Parameters:
    ///   - action: what it is asked to do.
    ///   - input: what it gets to read.
    ///   - milliseconds: how long it may take; for ever, if a person may have to type something.
    /// - Returns: how it ended and what it said.
    /// - Throws: ``Fault``.
    func run(_ action: HelperAction, input: [UInt8], milliseconds: Int?) throws(Fault) -> Answer {
        let source = try memory(holding: input)
        defer { close(source) }
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else { throw .failed(name, attempt: "run", code: errno) }
        defer { close(ends[0]) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        setenv(ProcessEnvironment.depthName, "\(depth)", 1)

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, source, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        if milliseconds != nil {
            // What it starts is stopped with it. One that may ask a person stays in the terminal's foreground.
            posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        }
        var process = pid_t()
        let failure = withArguments(action) { arguments in
            posix_spawn(&process, path, &actions, &attributes, arguments, environ)
        }
        close(ends[1])
        guard failure == 0 else { throw .failed(name, attempt: "run", code: failure) }

        let output = Self.readAll(ends[0], milliseconds: milliseconds)
        if output == nil { kill(milliseconds == nil ? process : -process, SIGKILL) }
        var status: CInt = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        guard let output else { throw .noAnswer(name) }
        let exitCode = status & 0x7F == 0 ? (status >> 8) & 0xFF : 1
        return Answer(output: output, exitCode: exitCode)
    }

    private func withArguments<Result>(
        _ action: HelperAction,
        _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        let arguments = [strdup(path), strdup(action.rawValue), nil]
        defer { for argument in arguments { free(argument) } }
        return arguments.withUnsafeBufferPointer { buffer in
            guard let start = buffer.baseAddress else { preconditionFailure("an array of three has a start") }
            return body(start)
        }
    }

    /// The input as a file that lies in memory only and has no name: it may hold a secret, and a pipe would not take
    /// all of it.
    private func memory(holding input: [UInt8]) throws(Fault) -> CInt {
        let path = "/\(ProtocolText.name).\(UInt64.random(in: .min ... .max))"
        let file = shm_open(path, O_RDWR | O_CREAT | O_EXCL, 0o600)
        guard file >= 0 else { throw .failed(name, attempt: "pass the input to", code: errno) }
        shm_unlink(path)
        var rest = input[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            guard written > 0 else {
                let code = errno
                close(file)
                throw .failed(name, attempt: "pass the input to", code: code)
            }
            rest = rest.dropFirst(written)
        }
        lseek(file, 0, SEEK_SET)
        return file
    }

    /// Reads to the end; `nil` if that takes too long or becomes too much.
    private static func readAll(_ descriptor: CInt, milliseconds: Int?) -> [UInt8]? {
        var bytes: [UInt8] = []
        let end = milliseconds.map { now() + $0 }
        while true {
            let rest = end.map { max($0 - now(), 0) }
            var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let count = poll(&ready, 1, rest.map { CInt(clamping: $0) } ?? -1)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            let chunk = [UInt8](unsafeUninitializedCapacity: 16 << 10) { buffer, count in
                count = max(read(descriptor, buffer.baseAddress, buffer.count), 0)
            }
            if chunk.isEmpty { return bytes }
            bytes += chunk
            guard bytes.count <= longestAnswer else { return nil }
        }
    }

    /// Milliseconds on a clock that nobody sets.
    static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }
}
