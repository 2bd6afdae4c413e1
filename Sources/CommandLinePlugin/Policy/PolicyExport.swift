import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram policy export [FILE]`: what Docker's own service can hold of a policy.
struct PolicyExport: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a policy as Docker's own registry access settings",
        discussion: """
            Docker's know no patterns, actions or repositories; what is lost is said on
            standard error, and nothing becomes open that the policy does not open.

            Example: docker ram policy export policy.json > settings.json
            """
    )

    @Argument(help: "The policy file; the policy in force if none is given", completion: .file())
    var file: String?

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let policy = try file.map { try AccessPolicy(file: $0, in: context) } ?? AccessPolicy(inForceIn: context)
        context.showInDockersForm(policy)
    }
}
