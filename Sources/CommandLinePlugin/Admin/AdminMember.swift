import ArgumentParser
import OrganizationClient
import RegistryAccess

/// `docker ram admin member list`.
struct AdminMemberList: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the members of the organization",
        discussion: "Example: docker ram admin member list"
    )

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let answer = try server.ask(.get, "members")
        let list = AdminList(
            elements: answer.value.value(named: "members")?.elements ?? [],
            columns: [
                .init("NAME", "name"), .init("ROLE", "role"), .init("TEAMS", "teams"), .init("E-MAIL", "email"),
                .init("SINCE", "since"),
            ],
            nothing: "there is no member"
        )
        context.show(list, as: common.format)
    }
}

/// `docker ram admin member invite`.
struct AdminMemberInvite: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "invite",
        abstract: "Invite somebody into the organization",
        discussion: """
            The invitation is printed, this once, and is good for a week. Whoever has it joins
            with: docker ram admin member join

            Example: docker ram admin member invite --role editor
            """
    )

    @Option(help: "What they will be")
    var role = MemberRole.member

    @Option(help: ArgumentHelp("Their e-mail address", valueName: "address"))
    var email: String?

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        var members = [JSONMember("role", .string(role.rawValue))]
        if let email { members.append(JSONMember("email", .string(email))) }
        let answer = try server.ask(.post, "invitations", body: .object(members))
        let secret = AdminSecret(secret: answer.value.shown("invitation"), json: answer.value)
        context.show(secret, as: common.format)
        if common.format == .text {
            context.note("note: it is good until \(answer.value.shown("expires")), once, for the role \(role.rawValue)")
        }
    }
}

/// `docker ram admin member invitations`.
struct AdminMemberInvitations: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "invitations",
        abstract: "List invitations that nobody has taken so far",
        discussion: "Example: docker ram admin member invitations"
    )

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let answer = try server.ask(.get, "invitations")
        let list = AdminList(
            elements: answer.value.value(named: "invitations")?.elements ?? [],
            columns: [
                .init("ID", "id"), .init("ROLE", "role"), .init("E-MAIL", "email"), .init("BY", "inviter"),
                .init("EXPIRES", "expires"),
            ],
            nothing: "there is no invitation"
        )
        context.show(list, as: common.format)
    }
}

/// `docker ram admin member uninvite`.
struct AdminMemberUninvite: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "uninvite",
        abstract: "Take an invitation back",
        discussion: "Example: docker ram admin member uninvite 0a1b2c3d"
    )

    @Argument(help: "The invitation's ID")
    var id: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        _ = try server.ask(.delete, "invitations", id)
        context.show(AdminDone("Took invitation \(id) back.", [JSONMember("id", .string(id))]), as: common.format)
    }
}

/// `docker ram admin member role`.
struct AdminMemberRole: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "role",
        abstract: "Give a member another role",
        discussion: """
            The last owner keeps theirs.

            Example: docker ram admin member role bob editor
            """
    )

    @Argument(help: "The member")
    var user: String

    @Argument(help: "The role")
    var role: MemberRole

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let body = JSONValue.object([JSONMember("role", .string(role.rawValue))])
        _ = try server.ask(.patch, "members", user, body: body)
        context.show(
            AdminDone(
                "\(user) is \(role.rawValue) of \(server.organization) now.",
                [JSONMember("name", .string(user)), JSONMember("role", .string(role.rawValue))]
            ),
            as: common.format
        )
    }
}

/// `docker ram admin member reset-password`.
struct AdminMemberResetPassword: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset-password",
        abstract: "Make a link by which a member sets a new password",
        discussion: """
            For whoever has forgotten theirs. The link is printed, this once; it is good for a
            day, once, and ends the one before. Give it to nobody else: whoever has it can act
            as that member. It takes a sign-in, and is refused for who belongs to another
            organization as well; there whoever runs the server sets the password, with
            docker-ram-server password.

            Example: docker ram admin member reset-password bob
            """
    )

    @Argument(help: "The member")
    var user: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let answer = try server.ask(.post, "members", user, "password-reset")
        context.show(AdminSecret(secret: answer.value.shown("link"), json: answer.value), as: common.format)
        if common.format == .text {
            context.note("note: it is good until \(answer.value.shown("expires")), once; \(user) opens it in a browser")
        }
    }
}

/// `docker ram admin member remove`.
struct AdminMemberRemove: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Take a member out of the organization",
        discussion: """
            Their sessions, access tokens and invitations end with it.

            Example: docker ram admin member remove bob
            """
    )

    @Argument(help: "The member")
    var user: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        _ = try server.ask(.delete, "members", user)
        context.show(
            AdminDone(
                "\(user) does not belong to \(server.organization) any more.",
                [JSONMember("name", .string(user))]
            ),
            as: common.format
        )
    }
}

/// What a member is in an organization.
enum MemberRole: String, ExpressibleByArgument, CaseIterable {
    case owner
    case editor
    case auditor
    case member
}
