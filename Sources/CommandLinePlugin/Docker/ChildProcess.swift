import Glibc

/// Another program, run to its end.
struct ChildProcess {
    /// What became of it.
    struct Result: Sendable {
        let exitCode: Int32
        let output: [UInt8]
        let errorOutput: [UInt8]

        /// The output without white space around it.
        var words: String { Self.trimmed(output) }
        var errorWords: String { Self.trimmed(errorOutput) }

        private static func trimmed(_ bytes: [UInt8]) -> String {
            let isBlank = { (byte: UInt8) in byte <= 0x20 }
            let text = bytes.drop(while: isBlank).reversed().drop(while: isBlank).reversed()
            return String(decoding: text, as: UTF8.self)
        }
    }

    /// Why it did not come to its end.
    enum Trouble: Error, Equatable {
        case notStarted(CInt)
        case timeout
    }

    let path: String
    let arguments: [String]
    let environment: [String: String]

    /// Finds a program in the directories of `PATH`.
    static func find(_ name: String, environment: [String: String]) -> String? {
        if name.contains("/") { return access(name, X_OK) == 0 ? name : nil }
        for directory in (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":") {
            let path = "\(directory)/\(name)"
            if access(path, X_OK) == 0 { return path }
        }
        return nil
    }

    /// Runs it.
    ///
    /// - Parameters:
    ///   - input: what it reads.
    ///   - milliseconds: how long it may take; then it is killed.
    ///   - limit: how much output is kept.
    ///   - whileWaiting: called now and then with the milliseconds that have passed.
    /// - Returns: what became of it.
    /// - Throws: ``Trouble`` if it did not come to its end.
    func run(
        input: [UInt8] = [],
        within milliseconds: Int,
        limit: Int = 4 << 20,
        whileWaiting: (Int) -> Void = { _ in }
    ) throws(Trouble) -> Result {
        guard let stdin = Pipe(), let stdout = Pipe(), let stderr = Pipe() else { throw .notStarted(errno) }
        let pid = try spawn(stdin, stdout, stderr)
        stdin.closeReading()
        stdout.closeWriting()
        stderr.closeWriting()
        _ = fcntl(stdin.writing, F_SETFL, O_NONBLOCK)
        defer {
            stdout.closeReading()
            stderr.closeReading()
        }
        let end = Self.clock() + milliseconds
        var input = input[...]
        if input.isEmpty { stdin.closeWriting() }
        var open: Set<CInt> = [stdout.reading, stderr.reading]
        var collected: [CInt: [UInt8]] = [:]
        var isWriting = !input.isEmpty
        defer { if isWriting { stdin.closeWriting() } }
        while !open.isEmpty {
            let left = end - Self.clock()
            whileWaiting(milliseconds - left)
            guard left > 0 else {
                kill(pid, SIGKILL)
                _ = Self.wait(for: pid)
                throw .timeout
            }
            var descriptors = open.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            if isWriting { descriptors.append(pollfd(fd: stdin.writing, events: Int16(POLLOUT), revents: 0)) }
            _ = poll(&descriptors, nfds_t(descriptors.count), Int32(min(left, 500)))
            for descriptor in descriptors where descriptor.revents != 0 {
                if descriptor.fd == stdin.writing, isWriting {
                    let count = input.withUnsafeBytes {
                        send(stdin.writing, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                    }
                    if count > 0 { input = input.dropFirst(count) }
                    if input.isEmpty || (count < 0 && errno != EAGAIN && errno != EINTR) {
                        stdin.closeWriting()
                        isWriting = false
                    }
                } else {
                    var chunk = [UInt8](repeating: 0, count: 64 << 10)
                    let count = read(descriptor.fd, &chunk, chunk.count)
                    if count > 0 {
                        let kept = collected[descriptor.fd, default: []]
                        collected[descriptor.fd] = kept + chunk[..<min(count, max(0, limit - kept.count))]
                    } else if count == 0 || errno != EINTR {
                        open.remove(descriptor.fd)
                    }
                }
            }
        }
        return Result(
            exitCode: Self.wait(for: pid),
            output: collected[stdout.reading] ?? [],
            errorOutput: collected[stderr.reading] ?? []
        )
    }

    private func spawn(_ stdin: Pipe, _ stdout: Pipe, _ stderr: Pipe) throws(Trouble) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, stdin.reading, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, stdout.writing, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, stderr.writing, STDERR_FILENO)
        // The child gets SIGPIPE's usual meaning back, which this program ignores.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))
        var words = ([path] + arguments).map { strdup($0) } + [nil]
        var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in words + variables { free(text) } }
        var pid = pid_t()
        let code = posix_spawn(&pid, path, &actions, &attributes, &words, &variables)
        guard code == 0 else {
            for pipe in [stdin, stdout, stderr] {
                pipe.closeReading()
                pipe.closeWriting()
            }
            throw .notStarted(code)
        }
        return pid
    }

    private static func wait(for pid: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        // WIFEXITED and WEXITSTATUS are macros that Swift does not see.
        return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
    }

    private static func clock() -> Int {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
    }

    private struct Pipe {
        let reading: CInt
        let writing: CInt

        init?() {
            var ends: [CInt] = [0, 0]
            // Unlike a pipe, a pair of sockets is closed on exec from the first moment, and writing to one whose other
            // end is gone can be an error and no signal.
            let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { return nil }
            reading = ends[0]
            writing = ends[1]
        }

        func closeReading() { close(reading) }
        func closeWriting() { close(writing) }
    }
}
