import ArgumentParser
import OrganizationClient
import RegistryAccess

/// `docker ram admin sso show`.
struct AdminSingleSignOnShow: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show at which provider the members sign in",
        discussion: """
            The client secret is shown to nobody.

            Example: docker ram admin sso show
            """
    )

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        context.show(SingleSignOnResult(json: try server.ask(.get, "single-sign-on").value), as: common.format)
    }
}

/// `docker ram admin sso set`.
struct AdminSingleSignOnSet: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Let the members sign in at a provider",
        discussion: """
            The server looks at the provider before it keeps anything. The client secret is
            asked for, or read with --client-secret-stdin; with --keep-secret the one that is
            set goes on to be used. Without --domain only those come in who are invited, or
            linked; with it everybody whose verified e-mail address is in that domain.

            Example: docker ram admin sso set https://login.acme.test --client-id docker-ram
            """
    )

    @Argument(help: "The provider's issuer")
    var issuer: String

    @Option(help: ArgumentHelp("What the provider calls the server", valueName: "id"))
    var clientId: String

    @Flag(help: "Read the client secret from standard input")
    var clientSecretStdin = false

    @Flag(help: "Go on with the client secret that is set")
    var keepSecret = false

    @Option(help: ArgumentHelp("What is asked for, with commas", valueName: "list"))
    var scopes: String?

    @Option(help: ArgumentHelp("E-mail domains of whom is let in, with commas", valueName: "list"))
    var domain: String?

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard !clientSecretStdin || !keepSecret else {
            throw ValidationError("--client-secret-stdin and --keep-secret exclude each other")
        }
    }

    func run(at server: AdminServer, in context: CommandContext) throws {
        var members = [JSONMember("issuer", .string(issuer)), JSONMember("clientID", .string(clientId))]
        if !keepSecret {
            let secret =
                try clientSecretStdin
                ? Login.line(of: "client secret", context)
                : Login.ask("Client secret: ", "client secret", context)
            members.append(JSONMember("clientSecret", .string(secret)))
        }
        if let scopes { members.append(JSONMember("scopes", .texts(scopes.listed))) }
        if let domain {
            members.append(JSONMember("membership", .string("domain")))
            members.append(JSONMember("domains", .texts(domain.listed.map { $0.lowercased() })))
        }
        let answer = try server.ask(.put, "single-sign-on", body: .object(members))
        context.show(SingleSignOnResult(json: answer.value), as: common.format)
        if common.format == .text {
            context.note("note: the provider must send browsers back to \(answer.value.shown("redirectAddress"))")
        }
    }
}

/// `docker ram admin sso remove`.
struct AdminSingleSignOnRemove: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "End single sign-on",
        discussion: """
            Whoever has no password cannot sign in any more. Sessions go on: end them with
            docker ram admin session end --all

            Example: docker ram admin sso remove
            """
    )

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        _ = try server.ask(.delete, "single-sign-on")
        context.show(
            AdminDone(
                "\(server.organization) has no single sign-on any more.",
                [JSONMember("organization", .string(server.organization))]
            ),
            as: common.format
        )
    }
}

/// `docker ram admin sso links`.
struct AdminSingleSignOnLinks: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "links",
        abstract: "List who is linked to whom at the provider",
        discussion: "Example: docker ram admin sso links"
    )

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let answer = try server.ask(.get, "single-sign-on", "identities")
        let list = AdminList(
            elements: answer.value.value(named: "identities")?.elements ?? [],
            columns: [
                .init("USER", "user"), .init("SUBJECT", "subject"), .init("E-MAIL", "email"),
                .init("ISSUER", "issuer"), .init("SINCE", "since"),
            ],
            nothing: "nobody is linked"
        )
        context.show(list, as: common.format)
    }
}

/// `docker ram admin sso link`.
struct AdminSingleSignOnLink: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "link",
        abstract: "Link a member to somebody at the provider",
        discussion: """
            The subject is what the provider knows a person by ("sub"); many providers call
            it the user's ID. Whoever signs in there as this subject is this member.

            Example: docker ram admin sso link bob 248289761001
            """
    )

    @Argument(help: "The member")
    var user: String

    @Argument(help: "The subject")
    var subject: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let body = JSONValue.object([JSONMember("subject", .string(subject))])
        _ = try server.ask(.put, "single-sign-on", "identities", user, body: body)
        context.show(
            AdminDone(
                "\(user) signs in as \(subject) at the provider.",
                [JSONMember("user", .string(user)), JSONMember("subject", .string(subject))]
            ),
            as: common.format
        )
    }
}

/// `docker ram admin sso unlink`.
struct AdminSingleSignOnUnlink: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "unlink",
        abstract: "Unlink a member from who they are at the provider",
        discussion: """
            Their sessions go on: end them with docker ram admin session end --user USER

            Example: docker ram admin sso unlink bob
            """
    )

    @Argument(help: "The member")
    var user: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        _ = try server.ask(.delete, "single-sign-on", "identities", user)
        context.show(AdminDone("Unlinked \(user).", [JSONMember("user", .string(user))]), as: common.format)
    }
}

/// At which provider the members of an organization sign in.
private struct SingleSignOnResult: CommandResult {
    let json: JSONValue

    func text(for context: CommandContext) -> String {
        let lines = [
            ("issuer", "issuer"), ("client", "clientID"), ("scopes", "scopes"), ("who is let in", "membership"),
            ("domains", "domains"), ("redirect address", "redirectAddress"),
        ]
        let rows = lines.map { [$0, TerminalText.printable(json.shown($1))] }.filter { !$0[1].isEmpty }
        return TerminalText.table(rows).joined(separator: "\n")
    }
}
