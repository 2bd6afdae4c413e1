import Glibc
import TestSupport

/// How long something took, over and over.
struct Sample {
    /// Seconds, sorted.
    let seconds: [Double]

    /// Seconds in any order.
    init(_ seconds: [Double]) {
        self.seconds = seconds.sorted()
    }

    /// The middle one.
    var median: Double { seconds[seconds.count / 2] }
    /// The middle one, in words.
    var milliseconds: String { String(Double(Int(median * 100_000)) / 100) + " ms" }
}

/// Times whole processes, from their start to their end.
enum ProcessTimes {
    /// What to run.
    struct Run {
        let command: [String]
        let input: String
        let status: Int32

        /// A run.
        ///
        /// - Parameters:
        ///   - command: the program's path and its arguments.
        ///   - input: what it reads.
        ///   - status: the exit status without which the measurement means nothing.
        init(_ command: [String], input: String, status: Int32) {
            self.command = command
            self.input = input
            self.status = status
        }
    }

    /// Runs each in turn, so that what else the machine does falls on all of them alike.
    ///
    /// - Parameters:
    ///   - runs: what to run.
    ///   - rounds: how often.
    ///   - environment: the whole environment.
    /// - Returns: a sample for each run.
    /// - Throws: ``UnexpectedEnd`` if one does not end as it should.
    static func measure(_ runs: [Run], rounds: Int, environment: [String: String]) throws -> [Sample] {
        let variables = environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { for variable in variables { free(variable) } }
        var seconds = [[Double]](repeating: [], count: runs.count)
        let warmUp = 5
        for round in 0..<(rounds + warmUp) {
            for (index, run) in runs.enumerated() {
                let time = try once(run, variables)
                if round >= warmUp { seconds[index].append(time) }
            }
        }
        return seconds.map { Sample($0) }
    }

    private static func once(_ run: Run, _ variables: [UnsafeMutablePointer<CChar>?]) throws -> Double {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw UnexpectedEnd(description: "cannot make a pipe") }
        let input = Array(run.input.utf8)
        _ = input.withUnsafeBytes { write(ends[1], $0.baseAddress, $0.count) }
        close(ends[1])
        defer { close(ends[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        let arguments = run.command.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }

        var pid = pid_t()
        let clock = ContinuousClock()
        let start = clock.now
        let spawned = posix_spawn(&pid, run.command[0], &actions, nil, arguments, variables)
        guard spawned == 0 else { throw UnexpectedEnd(description: "cannot start \(run.command[0])") }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        let time = (clock.now - start) / .seconds(1)
        guard status & 0x7F == 0, (status >> 8) & 0xFF == run.status else {
            throw UnexpectedEnd(description: "\(run.command.joined(separator: " ")) ended with \(status)")
        }
        return time
    }
}
