import ArgumentParser
import LocalInstallation
import RegistryAccess

/// What `engine enable` and `engine disable` have in common.
struct EngineChangeOptions: ParsableArguments {
    @Flag(help: "Show what would be done and change nothing")
    var dryRun = false

    @Flag(help: "Have the running engine read its list of plugins again; no container stops")
    var reload = false

    @Flag(help: "Restart Docker where its proxy changed; containers stop, unless live-restore is set")
    var restart = false
}

/// What `engine enable` and `engine disable` did.
struct EngineResult: CommandResult {
    let change: EngineSetup.Change
    let isEnabled: Bool
    let isDryRun: Bool
    /// Whether the running engine has another proxy than it is told.
    let isRestartNeeded: Bool
    private(set) var isReloaded = false
    private(set) var isRestarted = false

    /// What is to be done about the running engine, and that done as far as it is wanted.
    init(
        _ change: EngineSetup.Change,
        isEnabled: Bool,
        options: EngineChangeOptions,
        state: EngineSetup.State,
        running: EngineInfo?,
        isRestartPending: Bool,
        in context: CommandContext
    ) throws {
        self.change = change
        self.isEnabled = isEnabled
        isDryRun = options.dryRun
        isRestartNeeded = change.isRestartNeeded || isRestartPending
        guard !isDryRun else { return }
        let services = ServiceManager(context)
        let process = EngineProcess(context.paths, pidFile: state.pidFile)
        if change.isUnitChanged { try services?.run("daemon-reload") }
        if change.isDaemonRestartNeeded { try services?.run("try-restart", "docker-ramd.service") }
        if options.restart, isRestartNeeded, let services {
            // Not started where it does not run.
            try services.run("try-restart", "docker.service")
            isRestarted = true
        } else if options.reload {
            if let process {
                try process.reload()
                isReloaded = true
            } else {
                context.note("note: no running dockerd was found to reload")
            }
        }
        addNotes(hasServices: services != nil, isRunning: running != nil || process != nil, context)
    }

    private func addNotes(hasServices: Bool, isRunning: Bool, _ context: CommandContext) {
        if change.isDaemonRestartNeeded, !hasServices {
            context.note("note: docker-ramd reads its settings at its start only: start it again")
        }
        guard isRunning else {
            if change.isReloadNeeded || isRestartNeeded { context.note("note: Docker takes it over at its next start") }
            return
        }
        if change.isReloadNeeded, !isReloaded, !isRestarted {
            let how = hasServices ? "systemctl reload docker" : "kill -HUP $(cat /run/docker.pid)"
            context.note("note: Docker reads its plugins on reload, which stops no container: \(how)")
        }
        if isRestartNeeded, !isRestarted {
            let how = hasServices ? "systemctl restart docker" : "stop dockerd and start it again"
            context.note("note: Docker takes its proxy over at its next start only: \(how)")
            context.note("note: that stops its containers, unless live-restore is set")
        }
    }

    func text(for context: CommandContext) -> String {
        var lines: [String] = []
        if change.changes.isEmpty {
            lines.append(isEnabled ? "Already set up" : "Nothing to take back")
        } else {
            lines.append(isDryRun ? "Would change:" : "Changed:")
            lines += change.changes.map { "  \(TerminalText.printable($0))" }
        }
        if isReloaded { lines.append("dockerd was told to read its list of plugins") }
        if isRestarted { lines.append("Docker was restarted") }
        return lines.joined(separator: "\n")
    }

    var json: JSONValue {
        let isLeft = !isDryRun && !isRestarted
        return .object([
            JSONMember("enabled", .bool(isEnabled)),
            JSONMember("dryRun", .bool(isDryRun)),
            JSONMember("changes", .texts(change.changes)),
            JSONMember("reloadNeeded", .bool(change.isReloadNeeded && !isReloaded && isLeft)),
            JSONMember("reloaded", .bool(isReloaded)),
            JSONMember("restartNeeded", .bool(isRestartNeeded && isLeft)),
            JSONMember("restarted", .bool(isRestarted)),
        ])
    }
}
