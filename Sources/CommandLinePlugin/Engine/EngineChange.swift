import ArgumentParser
import LocalInstallation
import RegistryAccess

/// What `engine enable` and `engine disable` have in common.
struct EngineChangeOptions: ParsableArguments {
    @Flag(help: "Show what would be done and change nothing")
    var dryRun = false

    @Flag(help: "Have the running engine read daemon.json again")
    var reload = false

    /// Whether the running engine is told.
    var isReloading: Bool { reload && !dryRun }
}

/// What `engine enable` and `engine disable` did.
struct EngineResult: CommandResult {
    let change: EngineSetup.Change
    let isDryRun: Bool
    let isReloaded: Bool
    let isEnabled: Bool

    /// Shows it, and says what is left to do.
    func show(in context: CommandContext, as format: OutputFormat) {
        context.show(self, as: format)
        if change.isReloadNeeded, !isReloaded, !isDryRun {
            context.note("note: a running engine reads it on reload, which stops no container: systemctl reload docker")
        }
    }

    func text(for context: CommandContext) -> String {
        var lines: [String] = []
        if change.changes.isEmpty {
            lines.append(isEnabled ? "Already in daemon.json" : "Not in daemon.json")
        } else {
            lines.append(isDryRun ? "Would change:" : "Changed:")
            lines += change.changes.map { "  \($0)" }
        }
        if isReloaded { lines.append("dockerd was told to read it") }
        return lines.joined(separator: "\n")
    }

    var json: JSONValue {
        .object([
            JSONMember("enabled", .bool(isEnabled)),
            JSONMember("dryRun", .bool(isDryRun)),
            JSONMember("changes", .texts(change.changes)),
            JSONMember("reloadNeeded", .bool(change.isReloadNeeded && !isReloaded && !isDryRun)),
            JSONMember("reloaded", .bool(isReloaded)),
        ])
    }
}
