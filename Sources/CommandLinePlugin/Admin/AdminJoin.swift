import ArgumentParser
import LocalInstallation
import OrganizationClient
import RegistryAccess

/// `docker ram admin member join SERVER`: takes an invitation.
struct AdminMemberJoin: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "join",
        abstract: "Take an invitation into an organization",
        discussion: """
            Who has an account there joins with its name and password. With --stdin the first
            line of standard input is the invitation, the second the password.

            Example: docker ram admin member join https://ram.acme.test --username bob
            """
    )

    @Argument(help: "Address of the organization's server")
    var server: String

    @Option(name: [.short, .long], help: ArgumentHelp("Your name there", valueName: "name"))
    var username: String

    @Flag(help: "Read invitation and password from standard input")
    var stdin = false

    @Option(
        help: ArgumentHelp("Certificate authorities of the server, a PEM file", valueName: "file"),
        completion: .file()
    )
    var certificateAuthority: String?

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let address = try AdminServer.server(server)
        func ask(_ words: String, _ what: String) throws -> String {
            try stdin ? Login.line(of: what, context) : Login.ask(words, what, context)
        }
        let invitation = try ask("Invitation: ", "invitation")
        let password = try ask("Password: ", "password")
        var request = OrganizationClient.AdministrationRequest(.post, ["invitations", "accept"])
        request.body = Array(
            JSONValue.object([
                JSONMember("invitation", .string(invitation)), JSONMember("name", .string(username)),
                JSONMember("password", .string(password)),
            ]).text().utf8
        )
        let client = try OrganizationClient.ofDeveloper(
            address,
            organization: "",
            certificateAuthority: certificateAuthority,
            context
        )
        defer { waitFor { await client.shutdown() } }
        let sent = request
        do throws(AdministrationFault) {
            let answer = try waitFor { () async throws(AdministrationFault) in
                try await client.administer(sent, showing: nil)
            }
            let (organization, role) = (answer.value.shown("organization"), answer.value.shown("role"))
            context.show(
                AdminDone("\(username) belongs to \(organization) now, as \(role).", answer.value),
                as: common.format
            )
        } catch {
            switch error {
            case .refused(let problem): throw Failure(problem.detail, hints: problem.hint.map { [$0] } ?? [])
            case .unanswered(let fault): throw Failure(fault, at: address)
            }
        }
    }
}
