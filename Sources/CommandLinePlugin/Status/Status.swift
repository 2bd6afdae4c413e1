import ArgumentParser

/// `docker ram status`: one screen about this machine.
struct Status: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the policy in force and what enforces it on this machine",
        discussion: "Example: docker ram status --format json"
    )

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let status = MachineStatus(of: context)
        context.show(status, as: common.format)
        if status.isUnreadable { throw Failure("nothing about this machine could be read") }
    }
}
