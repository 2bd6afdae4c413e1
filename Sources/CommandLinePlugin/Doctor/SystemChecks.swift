import Glibc
import LocalInstallation
import RegistryAccess

extension MachineCheck {
    static let systemChecks = [
        MachineCheck("clock", "Clock") { facts in
            // What was written cannot have been written later than now.
            let files = [facts.paths.policyFile, facts.paths.decisionLog, facts.context.executable]
            let newest = files.compactMap { path in
                (try? Files.status(path)).map { (path: path, seconds: $0.identity[3]) }
            }.max { $0.seconds < $1.seconds }
            let tolerance = 300
            if let newest, newest.seconds > facts.context.now() + tolerance {
                return .warning(
                    "the clock is behind: \"\(newest.path)\" was changed later than now",
                    hint: "run as root: systemctl restart systemd-timesyncd"
                )
            }
            return .ok("nothing was written later than now")
        },
        MachineCheck("disk", "Space for the decision log") { facts in
            let directory = facts.paths.stateDirectory
            var status = statvfs()
            guard statvfs(directory, &status) == 0 else {
                return errno == ENOENT
                    ? .unknown("there is no \"\(directory)\" yet") : .unknown("\"\(directory)\" cannot be looked at")
            }
            return space(
                free: Int(status.f_bavail) * Int(status.f_frsize),
                used: logSize(facts),
                settings: facts.settings.decisionLog,
                directory
            )
        },
    ]

    private static func logSize(_ facts: MachineFacts) -> Int {
        (0..<facts.settings.decisionLog.files).reduce(0) { sum, index in
            let path = facts.paths.decisionLog + (index == 0 ? "" : ".\(index)")
            return sum + ((try? Files.status(path))?.size ?? 0)
        }
    }

    /// Judges the space that is left by what the log may still take.
    static func space(free: Int, used: Int, settings: DaemonSettings.DecisionLog, _ directory: String) -> Outcome {
        let wanted = max(0, settings.maximumBytes * settings.files - used)
        let hint = "make space, or set \"decisionLog.files\" in docker-ramd's daemon.json"
        let mebibytes = { (bytes: Int) in "\(bytes >> 20) MiB" }
        if free < 1 << 20 { return .error("there is no space left in \"\(directory)\"", hint: hint) }
        if free < wanted {
            let text = "the log may take \(mebibytes(wanted)) more, and \(mebibytes(free)) are free in \"\(directory)\""
            return .warning(text, hint: hint)
        }
        return .ok("\(mebibytes(free)) free")
    }
}
