import ArgumentParser
import OrganizationClient
import RegistryAccess

/// `docker ram admin session list`.
struct AdminSessionList: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List who is signed in",
        discussion: "Example: docker ram admin session list --user bob"
    )

    @Option(help: ArgumentHelp("Those of a member", valueName: "name"))
    var user: String?

    @Option(help: ArgumentHelp("Those of a device", valueName: "id"))
    var device: String?

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws { try SessionFilter.check([user, device]) }

    func run(at server: AdminServer, in context: CommandContext) throws {
        let answer = try server.ask(.get, "sessions", query: [("user", user), ("device", device)])
        let list = AdminList(
            elements: answer.value.value(named: "sessions")?.elements ?? [],
            columns: [
                .init("ID", "id"), .init("USER", "user"), .init("DEVICE", "device"), .init("ADDRESS", "address"),
                .init("SIGNED IN", "signedIn"), .init("LAST USED", "lastUsed"),
            ],
            nothing: "nobody is signed in"
        )
        context.show(list, as: common.format)
    }
}

/// `docker ram admin session end`.
struct AdminSessionEnd: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "end",
        abstract: "Make people sign in again",
        discussion: """
            Their machines refuse registries within seconds, until somebody signs in there.

            Example: docker ram admin session end --user bob
            """
    )

    @Argument(help: "The session's ID")
    var id: String?

    @Option(help: ArgumentHelp("Those of a member", valueName: "name"))
    var user: String?

    @Option(help: ArgumentHelp("Those of a device", valueName: "id"))
    var device: String?

    @Flag(help: "Those of everybody, your own among them")
    var all = false

    @Flag(help: "Yes, of everybody")
    var yes = false

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        try SessionFilter.check([id, user, device])
        guard [id != nil, user != nil || device != nil, all].filter(\.self).count == 1 else {
            throw ValidationError("say which sessions: an ID, --user and --device, or --all")
        }
        guard !all || yes else {
            throw ValidationError("--all makes everybody sign in again, you too; if that is meant, add --yes")
        }
    }

    func run(at server: AdminServer, in context: CommandContext) throws {
        let answer: AdminServer.Answer
        if let id {
            answer = try server.ask(.delete, "sessions", id)
        } else {
            answer = try server.ask(.delete, "sessions", query: [("user", user), ("device", device)])
        }
        let count = answer.value.shown("ended")
        context.show(
            AdminDone("Ended \(count) \(count == "1" ? "session" : "sessions").", answer.value),
            as: common.format
        )
    }
}

private enum SessionFilter {
    /// An empty value would be no condition at all.
    static func check(_ values: [String?]) throws {
        guard !values.contains("") else { throw ValidationError("a name is empty") }
    }
}
