import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram policy import FILE`: makes a policy of what Docker's own service keeps.
struct PolicyImport: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Make a policy of Docker's own registry access settings",
        discussion: """
            Reads the answer of GET /v2/orgs/ORG/settings/registry-access-management of
            Docker Hub's API, and prints a policy file.

            Example: docker ram policy import settings.json --organization acme > policy.json
            """
    )

    @Argument(help: "The settings as JSON", completion: .file())
    var file: String

    @Option(help: ArgumentHelp("The organization's name", valueName: "name"))
    var organization: String

    @Option(help: ArgumentHelp("Whom to ask for access, said in refusals", valueName: "text"))
    var contact: String?

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let settings = try DockerRegistryAccess(file: file, in: context)
        let policy = AccessPolicy(
            version: 1,
            organization: organization,
            isEnabled: settings.isEnabled,
            contact: contact,
            rules: settings.rules
        )
        // The names are the caller's, so they are looked at like those of a file.
        let text = policy.document.text(indentation: "  ")
        do throws(InvalidPolicy) {
            _ = try AccessPolicy(json: Array(text.utf8))
        } catch {
            throw Failure(
                "no policy can be made of it: \(error.message)",
                hints: ["change \"\(file)\", or the options"]
            )
        }
        context.output.line(TerminalText.escaped(json: text))
        context.note("note: look at it with: docker ram policy validate FILE")
    }
}
