import Glibc

/// What the service manager and the administrator say to us in the environment.
struct ServiceEnvironment: Hashable, Sendable {
    /// `DOCKER_RAM_ROOT`.
    var root: String?
    /// `LISTEN_PID`: whom the sockets are for.
    var listenProcess: pid_t?
    /// `LISTEN_FDS`: how many sockets there are.
    var listenCount = 0
    /// `LISTEN_FDNAMES`.
    var listenNames: [String] = []
    /// `NOTIFY_SOCKET`: where to say that we are ready.
    var notifySocket: String?
    /// `WATCHDOG_USEC`, if `WATCHDOG_PID` is us or missing: within how many microseconds a sign of life is expected.
    var watchdogMicroseconds: Int?

    /// Reads an environment.
    ///
    /// - Parameters:
    ///   - processID: our own process.
    ///   - value: gives the value of a variable.
    init(processID: pid_t, value: (String) -> String?) {
        root = value("DOCKER_RAM_ROOT").flatMap { $0.isEmpty ? nil : $0 }
        listenProcess = value("LISTEN_PID").flatMap { pid_t($0) }
        listenCount = value("LISTEN_FDS").flatMap { Int($0) } ?? 0
        listenNames =
            value("LISTEN_FDNAMES")?.split(separator: ":", omittingEmptySubsequences: false).map(String.init) ?? []
        notifySocket = value("NOTIFY_SOCKET").flatMap { $0.isEmpty ? nil : $0 }
        let watched = value("WATCHDOG_PID").map { pid_t($0) }
        if watched == nil || watched == processID {
            watchdogMicroseconds = value("WATCHDOG_USEC").flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
        }
    }

    /// Reads the environment of this process, and takes out what is meant for nobody but us.
    static func take() -> ServiceEnvironment {
        let environment = ServiceEnvironment(processID: getpid()) { name in
            getenv(name).map { String(cString: $0) }
        }
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"] {
            unsetenv(name)
        }
        return environment
    }
}
