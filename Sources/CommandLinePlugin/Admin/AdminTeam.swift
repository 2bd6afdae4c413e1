import ArgumentParser
import OrganizationClient
import RegistryAccess

/// `docker ram admin team list`.
struct AdminTeamList: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the teams of the organization",
        discussion: """
            What a team has in addition: docker ram admin registry list --team NAME

            Example: docker ram admin team list
            """
    )

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let answer = try server.ask(.get, "teams")
        let list = AdminList(
            elements: answer.value.value(named: "teams")?.elements ?? [],
            columns: [.init("TEAM", "name"), .init("MEMBERS", "members")],
            nothing: "there is no team"
        )
        context.show(list, as: common.format)
    }
}

/// `docker ram admin team create`.
struct AdminTeamCreate: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a team",
        discussion: "Example: docker ram admin team create backend"
    )

    @Argument(help: "The team")
    var team: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let answer = try server.ask(.post, "teams", body: .object([JSONMember("name", .string(team))]))
        context.show(AdminDone("Made team \(team).", answer.value), as: common.format)
    }
}

/// `docker ram admin team rename`.
struct AdminTeamRename: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "rename",
        abstract: "Give a team another name",
        discussion: """
            Its members and what it has in addition stay with it.

            Example: docker ram admin team rename backend services
            """
    )

    @Argument(help: "The team")
    var team: String

    @Argument(help: "Its new name")
    var name: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        _ = try server.ask(.patch, "teams", team, body: .object([JSONMember("name", .string(name))]))
        context.show(
            AdminDone("Team \(team) is called \(name) now.", [JSONMember("name", .string(name))]),
            as: common.format
        )
    }
}

/// `docker ram admin team delete`.
struct AdminTeamDelete: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Take a team away; its members stay in the organization",
        discussion: """
            What the team had in addition goes with it.

            Example: docker ram admin team delete backend
            """
    )

    @Argument(help: "The team")
    var team: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        _ = try server.ask(.delete, "teams", team)
        context.show(AdminDone("Took team \(team) away.", [JSONMember("name", .string(team))]), as: common.format)
    }
}

/// A member and a team, of the commands that put one into the other.
struct AdminTeamMember: ParsableArguments {
    @Argument(help: "The team")
    var team: String

    @Argument(help: "The member")
    var user: String

    /// Asks the server, and shows what is true then.
    ///
    /// - Parameters:
    ///   - method: `PUT` puts the member into the team, `DELETE` takes it out.
    ///   - state: what is true then, between the member and the team.
    ///   - server: the server.
    ///   - context: what to show it on.
    ///   - format: how.
    /// - Throws: what the server has against it.
    func change(
        _ method: AdminServer.Request.Method,
        _ state: String,
        at server: AdminServer,
        in context: CommandContext,
        as format: OutputFormat
    ) throws {
        _ = try server.ask(method, "teams", team, "members", user)
        context.show(
            AdminDone(
                "\(user) \(state) team \(team).",
                [JSONMember("team", .string(team)), JSONMember("name", .string(user))]
            ),
            as: format
        )
    }
}

/// `docker ram admin team add`.
struct AdminTeamAdd: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Put a member into a team",
        discussion: "Example: docker ram admin team add backend bob"
    )

    @OptionGroup var member: AdminTeamMember
    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        try member.change(.put, "is in", at: server, in: context, as: common.format)
    }
}

/// `docker ram admin team remove`.
struct AdminTeamRemove: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Take a member out of a team",
        discussion: "Example: docker ram admin team remove backend bob"
    )

    @OptionGroup var member: AdminTeamMember
    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        try member.change(.delete, "is not in", at: server, in: context, as: common.format)
    }
}
