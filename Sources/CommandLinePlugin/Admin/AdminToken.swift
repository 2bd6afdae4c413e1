import ArgumentParser
import OrganizationClient
import RegistryAccess

/// `docker ram admin token list`.
struct AdminTokenList: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List access tokens for machines and CI",
        discussion: "Example: docker ram admin token list"
    )

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let answer = try server.ask(.get, "tokens")
        let list = AdminList(
            elements: answer.value.value(named: "tokens")?.elements ?? [],
            columns: [
                .init("ID", "id"), .init("USER", "user"), .init("NAME", "name"), .init("SCOPES", "scopes"),
                .init("EXPIRES", "expires"), .init("LAST USED", "lastUsed"),
            ],
            nothing: "there is no access token"
        )
        context.show(list, as: common.format)
    }
}

/// `docker ram admin token create`.
struct AdminTokenCreate: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make an access token for machines and CI",
        discussion: """
            The token is printed, this once. Scopes are policy:read, policy:write, activity:read,
            machines:read, machines:write, members:read, members:write, tokens:write,
            sessions:write, settings:read, settings:write and metrics:read; none does more
            than you may.

            Example: docker ram admin token create ci --scopes policy:read
            """
    )

    @Argument(help: "What you call it")
    var name: String

    @Option(help: ArgumentHelp("What it may do, with commas", valueName: "list"))
    var scopes: String

    @Option(help: ArgumentHelp("For how many days it is good, up to 365", valueName: "int"))
    var days = 90

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (1...365).contains(days) else { throw ValidationError("--days is a number from 1 to 365") }
        let there = "there are \(Self.scopes.joined(separator: ", "))"
        guard !scopes.listed.isEmpty else { throw ValidationError("--scopes names none; \(there)") }
        if let unknown = scopes.listed.first(where: { !Self.scopes.contains($0) }) {
            throw ValidationError("there is no scope \"\(unknown)\"; \(there)")
        }
    }

    /// The scopes that the server has.
    private static let scopes = [
        "policy:read", "policy:write", "activity:read", "machines:read", "machines:write", "members:read",
        "members:write", "tokens:write", "sessions:write", "settings:read", "settings:write", "metrics:read",
    ]

    func run(at server: AdminServer, in context: CommandContext) throws {
        let body = JSONValue.object([
            JSONMember("name", .string(name)), JSONMember("scopes", .texts(scopes.listed)),
            JSONMember("days", .number("\(days)")),
        ])
        let answer = try server.ask(.post, "tokens", body: body)
        context.show(AdminSecret(secret: answer.value.shown("token"), json: answer.value), as: common.format)
        if common.format == .text { context.note("note: it is good until \(answer.value.shown("expires"))") }
    }
}

/// `docker ram admin token revoke`.
struct AdminTokenRevoke: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "Take an access token back",
        discussion: """
            What was begun with it ends, and so do access tokens that were made with it.

            Example: docker ram admin token revoke 0a1b2c3d4e5f6a7b8c9d
            """
    )

    @Argument(help: "The token's ID")
    var id: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        _ = try server.ask(.delete, "tokens", id)
        context.show(AdminDone("Took access token \(id) back.", [JSONMember("id", .string(id))]), as: common.format)
    }
}
