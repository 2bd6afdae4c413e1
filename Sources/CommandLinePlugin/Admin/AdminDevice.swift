import ArgumentParser
import OrganizationClient
import RegistryAccess

/// `docker ram admin device list`.
struct AdminDeviceList: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the machines of the organization",
        discussion: """
            They come in the order of their names.

            Example: docker ram admin device list --name build-
            """
    )

    @Option(help: ArgumentHelp("Only those that have this in their name", valueName: "text"))
    var name: String?

    @Option(help: ArgumentHelp("Only those where such a member is signed in", valueName: "text"))
    var user: String?

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let list = AdminList(
            elements: try server.list("devices", query: [("name", name), ("user", user)], page: "after", limit: nil),
            columns: [
                .init("DEVICE", "device"), .init("NAME", "name"), .init("STATE", "state"), .init("SESSION", "session"),
                .init("POLICY") { $0.value(named: "status")?.shown("policyVersion") ?? "-" },
                .init("ENGINE") { $0.value(named: "status")?.shown("engineVersion") ?? "-" },
                .init("POINTS") { device in
                    let points = device.value(named: "status")?.value(named: "enforcementPoints")?.elements ?? []
                    return points.isEmpty ? "-" : points.compactMap(\.text).joined(separator: " ")
                },
                .init("FINDINGS") { device in
                    let findings = device.value(named: "status")?.value(named: "findings")?.elements ?? []
                    let checks = findings.compactMap { $0.value(named: "check")?.text }
                    return checks.isEmpty ? "-" : checks.joined(separator: " ")
                },
                .init("LAST SEEN", "lastSeen"),
            ],
            nothing: "there is no machine"
        )
        context.show(list, as: common.format)
    }
}

/// `docker ram admin device remove`.
struct AdminDeviceRemove: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Take a machine out of the organization",
        discussion: "Example: docker ram admin device remove abcdefghijklmnopqrstuvwxyz"
    )

    @Argument(help: "The device")
    var device: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        _ = try server.ask(.delete, "devices", device)
        context.show(
            AdminDone("Took device \(device) out.", [JSONMember("device", .string(device))]),
            as: common.format
        )
    }
}

/// `docker ram admin device tokens list`.
struct AdminEnrollmentTokenList: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List what lets machines register",
        discussion: "Example: docker ram admin device tokens list"
    )

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let answer = try server.ask(.get, "enrollment-tokens")
        let list = AdminList(
            elements: answer.value.value(named: "enrollmentTokens")?.elements ?? [],
            columns: [
                .init("NAME", "name"), .init("BY", "author"), .init("CREATED", "created"), .init("EXPIRES", "expires"),
            ],
            nothing: "there is no enrollment token"
        )
        context.show(list, as: common.format)
    }
}

/// `docker ram admin device tokens create`.
struct AdminEnrollmentTokenCreate: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a token that lets machines register",
        discussion: """
            It is printed, this once.

            Example: docker ram admin device tokens create laptops --days 7
            """
    )

    @Argument(help: "What you call it")
    var name: String

    @Option(help: ArgumentHelp("For how many days it is good, up to 365", valueName: "int"))
    var days = 30

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (1...365).contains(days) else { throw ValidationError("--days is a number from 1 to 365") }
    }

    func run(at server: AdminServer, in context: CommandContext) throws {
        let body = JSONValue.object([
            JSONMember("name", .string(name)), JSONMember("days", .number("\(days)")),
        ])
        let answer = try server.ask(.post, "enrollment-tokens", body: body)
        context.show(AdminSecret(secret: answer.value.shown("enrollmentToken"), json: answer.value), as: common.format)
    }
}

/// `docker ram admin device tokens revoke`.
struct AdminEnrollmentTokenRevoke: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "Take such a token back; machines that used it stay",
        discussion: "Example: docker ram admin device tokens revoke laptops"
    )

    @Argument(help: "The token's name")
    var name: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        _ = try server.ask(.delete, "enrollment-tokens", name)
        context.show(
            AdminDone("Took enrollment token \(name) back.", [JSONMember("name", .string(name))]),
            as: common.format
        )
    }
}
