import Glibc
import LocalInstallation
import RegistryAccess

/// What a command gets from outside: made once for the process, and by tests for a directory of their own.
struct CommandContext: Sendable {
    var paths: InstallationPaths
    var environment: [String: String]
    /// What stood before the plugin's name on Docker's command line.
    var globalFlags = GlobalFlags()
    /// For data.
    var output: TextStream
    /// For words.
    var errors: TextStream
    /// The next line of standard input; `nil` at its end.
    var readLine: @Sendable () -> String? = { Swift.readLine(strippingNewline: true) }
    var terminal = Terminal()
    /// Seconds since 1970.
    var now: @Sendable () -> Int
    /// The path of this program.
    var executable: String

    static func ofThisProcess() -> CommandContext {
        var environment: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            let parts = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { environment[String(parts[0])] = String(parts[1]) }
            entry += 1
        }
        return CommandContext(
            paths: InstallationPaths(environment: environment),
            environment: environment,
            output: .descriptor(STDOUT_FILENO),
            errors: .descriptor(STDERR_FILENO),
            terminal: Terminal(environment: environment),
            now: { time(nil) },
            executable: executablePath() ?? CommandLine.arguments.first ?? "docker-ram"
        )
    }

    private static func executablePath() -> String? {
        guard let path = realpath("/proc/self/exe", nil) else { return nil }
        defer { free(path) }
        return String(cString: path)
    }

    /// What decides on this machine now.
    var policyInForce: PolicyInForce { PolicyInForce.load(paths, at: Instant(seconds: Int64(now()))) }

    /// Docker's configuration directory: `--config`, `DOCKER_CONFIG`, or `.docker` in the home directory.
    var dockerConfigDirectory: String? {
        globalFlags.configDirectory ?? DockerConfigFile.directory(environment: environment)
    }
}

/// Where text goes.
struct TextStream: Sendable {
    let write: @Sendable (String) -> Void

    static func descriptor(_ descriptor: CInt) -> TextStream {
        TextStream { text in
            var bytes = Array(text.utf8)[...]
            while !bytes.isEmpty {
                let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return }
                bytes = bytes.dropFirst(count)
            }
        }
    }

    func line(_ text: String) {
        write(text + "\n")
    }
}

/// What the terminal can show.
struct Terminal: Sendable {
    var width = 80
    var hasColor = false

    init() {}

    /// The terminal behind standard output.
    init(environment: [String: String]) {
        guard isatty(STDOUT_FILENO) == 1 else { return }
        var size = winsize()
        if ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col >= 40 { width = Int(size.ws_col) }
        // https://no-color.org
        hasColor = (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb"
    }

    enum Color: Int {
        case red = 31
        case green = 32
        case yellow = 33
        case bold = 1
    }

    func colored(_ text: String, _ color: Color) -> String {
        hasColor && !text.isEmpty ? "\u{1B}[\(color.rawValue)m\(text)\u{1B}[0m" : text
    }
}
