import ArgumentParser
import OrganizationClient
import RegistryAccess

/// `docker ram admin organization list`.
struct AdminOrganizationList: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the organizations that you belong to",
        discussion: """
            A sign-in or an access token that is good for one organization knows only that
            one. Sign in without --organization to see all of yours.

            Example: docker ram admin organization list
            """
    )

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let list = AdminList(
            elements: try server.askWhoAsks().value.value(named: "organizations")?.elements ?? [],
            columns: [.init("ORGANIZATION", "name"), .init("YOUR ROLE", "role")],
            nothing: "you belong to no organization"
        )
        context.show(list, as: common.format)
    }
}

/// `docker ram admin organization show`.
struct AdminOrganizationShow: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show what the organization is set to",
        discussion: """
            Its provider for single sign-on: docker ram admin sso show

            Example: docker ram admin organization show --format json
            """
    )

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let settings = OrganizationSettingsResult(
            organization: server.organization,
            json: try server.ask(.get, "settings").value
        )
        context.show(settings, as: common.format)
    }
}

/// `docker ram admin organization set`.
struct AdminOrganizationSet: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Change what the organization is set to",
        discussion: """
            What is not given stays. Connected machines have new times within seconds. The
            contact that refusals show is the policy's own: docker ram admin policy apply

            Example: docker ram admin organization set --report-days 30
            """
    )

    @Option(help: ArgumentHelp("Who answers for the organization", valueName: "address"))
    var contact: String?

    @Flag(help: "Take the contact out")
    var noContact = false

    @Option(help: ArgumentHelp("After how many seconds machines ask anew, 60 to 86400", valueName: "int"))
    var refreshSeconds: Int?

    @Option(help: ArgumentHelp("For how many seconds a policy holds offline, 3600 to 604800", valueName: "int"))
    var validitySeconds: Int?

    @Option(help: ArgumentHelp("For how many days reports are kept, 1 to 3650", valueName: "int"))
    var reportDays: Int?

    @Option(help: "Who may register a machine: everybody (open), or who has a token")
    var enrollment: EnrollmentMode?

    @Option(help: ArgumentHelp("How many machines there may be, 1 to 1000000", valueName: "int"))
    var maximumDevices: Int?

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard contact == nil || !noContact else {
            throw ValidationError("--contact and --no-contact exclude each other")
        }
        let numbers: [(String, Int?, ClosedRange<Int>)] = [
            ("--refresh-seconds", refreshSeconds, 60...86_400),
            ("--validity-seconds", validitySeconds, 3600...604_800),
            ("--report-days", reportDays, 1...3650), ("--maximum-devices", maximumDevices, 1...1_000_000),
        ]
        for (name, number, range) in numbers {
            guard let number, !range.contains(number) else { continue }
            throw ValidationError("\(name) is a number from \(range.lowerBound) to \(range.upperBound)")
        }
        guard !members.isEmpty else { throw ValidationError("say what is to change, for example --report-days 30") }
    }

    private var members: [JSONMember] {
        var members: [JSONMember] = []
        if noContact { members.append(JSONMember("contact", .null)) }
        if let contact { members.append(JSONMember("contact", .string(contact))) }
        let numbers = [
            ("refreshSeconds", refreshSeconds), ("validitySeconds", validitySeconds), ("reportDays", reportDays),
            ("maximumDevices", maximumDevices),
        ]
        for (name, number) in numbers {
            if let number { members.append(JSONMember(name, .integer(number))) }
        }
        if let enrollment { members.append(JSONMember("enrollment", .string(enrollment.rawValue))) }
        return members
    }

    func run(at server: AdminServer, in context: CommandContext) throws {
        let settings = OrganizationSettingsResult(
            organization: server.organization,
            json: try server.ask(.patch, "settings", body: .object(members)).value
        )
        context.show(settings, as: common.format)
    }
}

/// Who may register a machine.
enum EnrollmentMode: String, ExpressibleByArgument, CaseIterable {
    case open
    case token
}

/// What an organization is set to.
private struct OrganizationSettingsResult: CommandResult {
    let organization: String
    let json: JSONValue

    func text(for context: CommandContext) -> String {
        func seconds(_ name: String) -> String { "\(json.shown(name)) seconds" }
        let rows = [
            ["organization", organization], ["contact", json.shown("contact")],
            ["machines ask after", seconds("refreshSeconds")], ["a policy holds for", seconds("validitySeconds")],
            ["reports are kept for", "\(json.shown("reportDays")) days"],
            ["who may register", json.shown("enrollment")], ["machines at most", json.shown("maximumDevices")],
        ]
        return TerminalText.table(rows.map { [$0[0], TerminalText.printable($0[1])] }).joined(separator: "\n")
    }
}
