import Glibc
import LocalInstallation

/// The engine as a process of this machine.
enum EngineProcess {
    /// Where a flag is given to dockerd: in its service, or on its own command line; `nil` if nowhere.
    ///
    /// dockerd does not start when the same setting comes as a flag and in daemon.json (moby,
    /// `daemon/config/config.go`, `findConfigurationConflicts`), and a flag goes before the environment.
    static func place(of flag: String, service: EngineService, paths: InstallationPaths, pidFile: String?) -> String? {
        if let file = service.file(giving: flag) { return file }
        guard let pid = processID(paths, pidFile), let bytes = try? readUnsized("/proc/\(pid)/cmdline") else {
            return nil
        }
        let words = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        return words.contains { $0.hasPrefix(flag) } ? "the command line of process \(pid)" : nil
    }

    /// The environment that the running engine was started with; only root may see it.
    static func environment(_ paths: InstallationPaths, pidFile: String?) -> [String: String] {
        guard let pid = processID(paths, pidFile), let bytes = try? readUnsized("/proc/\(pid)/environ") else {
            return [:]
        }
        var environment: [String: String] = [:]
        for entry in bytes.split(separator: 0) {
            let parts = entry.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { continue }
            environment[String(decoding: parts[0], as: UTF8.self)] = String(decoding: parts[1], as: UTF8.self)
        }
        return environment
    }

    /// Whether there is a running engine.
    static func isRunning(_ paths: InstallationPaths, pidFile: String?) -> Bool { processID(paths, pidFile) != nil }

    /// Sends SIGHUP to the running engine, on which it reads `authorization-plugins` again.
    ///
    /// - Returns: whether there is a running engine.
    static func reload(_ context: CommandContext, _ state: EngineSetup.State) throws -> Bool {
        guard let pid = processID(context.paths, state.pidFile) else {
            context.note("note: no running dockerd was found to reload")
            return false
        }
        guard kill(pid, SIGHUP) == 0 else {
            throw Failure(
                "cannot tell dockerd (process \(pid)) to reload: \(String(cString: strerror(errno)).lowercased())",
                hints: ["run it as root"]
            )
        }
        return true
    }

    private static func processID(_ paths: InstallationPaths, _ pidFile: String?) -> pid_t? {
        let prefix = paths.root == "/" ? "" : paths.root
        let file = pidFile ?? "\(prefix)/run/docker.pid"
        guard let bytes = try? Files.read(file, atMost: 64).bytes else { return nil }
        let text = String(decoding: bytes.filter { $0 > 0x20 }, as: UTF8.self)
        guard let pid = pid_t(text), pid > 1 else { return nil }
        // A pid file can be older than the process that has the number now.
        guard let name = try? readUnsized("/proc/\(pid)/comm") else { return nil }
        return String(decoding: name, as: UTF8.self) == "dockerd\n" ? pid : nil
    }

    /// Files of /proc have no size.
    private static func readUnsized(_ path: String) throws(FileError) -> [UInt8] {
        try Files.read(path, atMost: 1 << 20).bytes
    }
}
