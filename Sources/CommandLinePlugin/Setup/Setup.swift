import ArgumentParser
import Glibc
import LocalInstallation
import RegistryAccess

/// `docker ram setup`: wires one developer's Docker, without root.
struct Setup: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "setup",
        abstract: "Have your Docker ask docker-ram for credentials and explanations",
        discussion: """
            Changes config.json of the docker command. The credential store and helpers that it named are still used, \
            through docker-ram; logins that stand in it in plain text move to the store.

            Example: docker ram setup --dry-run
            Undo it: docker ram setup --undo
            """
    )

    @Flag(help: "Give back the configuration that was there before")
    var undo = false

    @Flag(help: "Show what would be done and change nothing")
    var dryRun = false

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        guard let directory = context.dockerConfigDirectory else {
            throw Failure("there is no Docker configuration directory", hints: ["set HOME or DOCKER_CONFIG"])
        }
        try refuseForeign(directory)
        let helper = HelperProgram(context: context, configDirectory: directory)
        let setup = DeveloperSetup(directory: directory, stores: helper.stores)
        do {
            try perform(setup, helper, directory, context)
        } catch let error as FileError where error.isPermission && geteuid() != 0 {
            // Often what `sudo docker login` leaves behind.
            let hint = "what is in it has to be yours and writable: sudo chown -R \(geteuid()) \"\(directory)\""
            throw Failure("\(error)", hints: [hint])
        }
    }

    private func perform(
        _ setup: DeveloperSetup,
        _ helper: HelperProgram,
        _ directory: String,
        _ context: CommandContext
    ) throws {
        if undo {
            guard let report = try setup.undo(isDryRun: dryRun) else { return try nothingToUndo(directory, context) }
            return show(report, directory, context)
        }
        guard helper.isFound else {
            throw Failure(
                "docker-credential-ram is neither on PATH nor beside docker-ram; nothing was changed",
                hints: ["Docker could not get any credentials without it; run install.sh"]
            )
        }
        if !helper.isOnPath { context.note("note: docker-credential-ram is not on PATH, where Docker looks for it") }
        let report = try setup.setUp(isDryRun: dryRun)
        show(report, directory, context)
        if !dryRun, !report.changes.isEmpty, let fault = helper.storeFault {
            context.note("note: the store cannot be used from here: \(fault)")
            context.note("hint: sign in to a desktop session, or name another store in \(directory)/ram.json")
        }
    }

    /// Root in somebody else's home would leave files there that their owner cannot change, or follow their links.
    private func refuseForeign(_ directory: String) throws {
        guard geteuid() == 0 else { return }
        let nearest = [directory, Files.directory(of: directory)].lazy.compactMap { try? Files.status($0).owner }.first
        guard let owner = nearest, owner != 0 else { return }
        throw Failure(
            "\"\(directory)\" belongs to user \(owner), and this is root; nothing was changed",
            hints: ["run it as that user, without sudo"]
        )
    }

    private func nothingToUndo(_ directory: String, _ context: CommandContext) throws {
        if let config = try? DockerConfigFile(directory: directory), DeveloperSetup.isSetUp(config) {
            throw Failure(
                "config.json in \"\(directory)\" uses docker-ram, but there is no record of what it was before",
                hints: ["remove \"credsStore\": \"ram\" from it by hand"]
            )
        }
        show(DeveloperSetup.Report(), directory, context)
    }

    private func show(_ report: DeveloperSetup.Report, _ directory: String, _ context: CommandContext) {
        let result = SetupResult(report: report, directory: directory, isUndo: undo, isDryRun: dryRun)
        context.show(result, as: common.format)
        guard common.format == .text else { return }
        for note in report.notes { context.note("note: \(note)") }
        for line in report.staying {
            context.note("note: \(undo ? "credentials not given back" : "credentials left in config.json"): \(line)")
        }
    }
}

private struct SetupResult: CommandResult {
    let report: DeveloperSetup.Report
    let directory: String
    let isUndo: Bool
    let isDryRun: Bool

    func text(for context: CommandContext) -> String {
        guard !report.changes.isEmpty else {
            return isUndo ? "Nothing to undo in \(directory)" : "Already set up in \(directory)"
        }
        let head = isDryRun ? "Would change in \(directory):" : "Changed in \(directory):"
        return ([head] + report.changes.map { "  \($0)" }).map(TerminalText.printable).joined(separator: "\n")
    }

    var json: JSONValue {
        .object([
            JSONMember("directory", .string(directory)),
            JSONMember("undo", .bool(isUndo)),
            JSONMember("dryRun", .bool(isDryRun)),
            JSONMember("changes", .texts(report.changes)),
            JSONMember("notes", .texts(report.notes)),
            JSONMember("credentialsLeft", .texts(report.staying)),
        ])
    }
}
