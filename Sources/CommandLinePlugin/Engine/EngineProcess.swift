import Glibc
import LocalInstallation

/// A dockerd as a process of this machine.
struct EngineProcess {
    let id: pid_t
    private let directory: String

    /// Finds the machine's engine by the process id that dockerd wrote down; `nil` if it does not run.
    ///
    /// - Parameters:
    ///   - paths: the machine.
    ///   - pidFile: where `daemon.json` says that the process id is, if it does.
    init?(_ paths: InstallationPaths, pidFile: String?) {
        guard let bytes = try? Files.read(pidFile ?? "\(paths.prefix)/run/docker.pid", atMost: 64).bytes,
            let id = pid_t(String(decoding: bytes.filter { $0 > 0x20 }, as: UTF8.self)), id > 1
        else { return nil }
        // An engine under a root of its own is a process like others.
        let own = "\(paths.prefix)/proc"
        self.init(id, in: (try? Files.status(own)) == nil ? "/proc" : own)
    }

    /// A pid file can be older than the process that has the number now.
    private init?(_ id: pid_t, in processes: String) {
        directory = "\(processes)/\(id)"
        guard (try? Files.read("\(directory)/comm", atMost: 64).bytes) == Array("dockerd\n".utf8) else { return nil }
        self.id = id
    }

    /// Every dockerd that can be seen, whoever runs it; under another root than `/`, those that the root shows.
    static func all(_ paths: InstallationPaths) -> [EngineProcess] {
        let processes = "\(paths.prefix)/proc"
        return ((try? Files.names(in: processes)) ?? []).compactMap { pid_t($0) }.sorted()
            .compactMap { EngineProcess($0, in: processes) }
    }

    /// The user that it belongs to.
    var owner: UInt32? { (try? Files.status(directory))?.owner }

    /// Its cgroup (cgroup v2), as a path without a slash before it; empty if there is none.
    var cgroup: String {
        get throws(FileError) {
            let text = String(decoding: try Files.read("\(directory)/cgroup", atMost: 1 << 16).bytes, as: UTF8.self)
            return text.split(separator: "\n").first { $0.hasPrefix("0::/") }.map { String($0.dropFirst(4)) } ?? ""
        }
    }

    /// Its command line.
    var words: [String] {
        let bytes = (try? Files.read("\(directory)/cmdline", atMost: 1 << 20).bytes) ?? []
        return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The file that it reads in the place of `daemon.json`, if its command line names another.
    func otherConfig(_ paths: InstallationPaths) -> String? {
        let flag = "--config-file"
        let words = words
        guard let index = words.firstIndex(where: { $0 == flag || $0.hasPrefix("\(flag)=") }) else { return nil }
        let file =
            words[index] == flag ? words.dropFirst(index + 1).first : String(words[index].dropFirst(flag.count + 1))
        // An engine under a root of its own may see it at its usual place.
        return [paths.dockerDaemonConfig, InstallationPaths().dockerDaemonConfig].contains(file) ? nil : file
    }

    /// The environment that it was started with; only root may see it.
    var environment: [String: String] {
        get throws(FileError) {
            var environment: [String: String] = [:]
            for entry in try Files.read("\(directory)/environ", atMost: 1 << 20).bytes.split(separator: 0) {
                let parts = entry.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2 else { continue }
                environment[String(decoding: parts[0], as: UTF8.self)] = String(decoding: parts[1], as: UTF8.self)
            }
            return environment
        }
    }

    /// Has it read `authorization-plugins` again, which it does on SIGHUP.
    ///
    /// - Throws: ``Failure`` if it cannot be told.
    func reload() throws(Failure) {
        guard kill(id, SIGHUP) == 0 else {
            throw Failure(
                "cannot tell dockerd (process \(id)) to reload: \(String(cString: strerror(errno)).lowercased())",
                hints: ["run it as root"]
            )
        }
    }
}
