import Glibc
import LocalInstallation

/// The engine as a process of this machine.
enum EngineProcess {
    /// Where `--authorization-plugin` is given to dockerd: its own command line or a unit file; `nil` if nowhere.
    ///
    /// dockerd does not start when the same setting comes as a flag and in daemon.json (moby,
    /// `daemon/config/config.go`, `findConfigurationConflicts`).
    static func pluginFlag(of paths: InstallationPaths) -> String? {
        let prefix = paths.root == "/" ? "" : paths.root
        var files = [
            "\(prefix)/etc/systemd/system/docker.service", "\(prefix)/lib/systemd/system/docker.service",
            "\(prefix)/usr/lib/systemd/system/docker.service", "\(prefix)/etc/default/docker",
        ]
        let dropIns = "\(prefix)/etc/systemd/system/docker.service.d"
        files += entries(of: dropIns).filter { $0.hasSuffix(".conf") }.map { "\(dropIns)/\($0)" }
        for file in files {
            guard let bytes = try? Files.read(file, atMost: 1 << 20).bytes else { continue }
            let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
            let isGiven = lines.contains { line in
                guard line.first(where: { $0 != " " && $0 != "\t" }) != "#" else { return false }
                return line.contains("--authorization-plugin")
            }
            if isGiven { return file }
        }
        guard let pid = processID(paths, nil), let bytes = try? readUnsized("/proc/\(pid)/cmdline") else { return nil }
        let words = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        let isGiven = words.contains { $0.hasPrefix("--authorization-plugin") }
        return isGiven ? "the command line of process \(pid)" : nil
    }

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

    private static func entries(of directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            names.append(name)
        }
        return names.sorted()
    }
}

/// Asks the plugin's socket what dockerd asks first.
enum PluginProbe {
    /// Whether there is an authorization plugin behind a socket.
    static func answers(_ path: String) -> Bool {
        guard let socket = UnixSocket(connectingTo: path) else { return false }
        defer { socket.close() }
        let request =
            "POST /Plugin.Activate HTTP/1.1\r\nHost: docker-ram\r\n"
            + "Accept: application/vnd.docker.plugins.v1.2+json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        guard socket.send(request) else { return false }
        var answer: [UInt8] = []
        while answer.count < 64 << 10 {
            guard case .bytes(let bytes) = socket.receive(within: 2000) else { break }
            answer += bytes
            let text = String(decoding: answer, as: UTF8.self)
            if text.contains("authz") { return text.hasPrefix("HTTP/1.1 200") || text.hasPrefix("HTTP/1.0 200") }
        }
        return false
    }
}
