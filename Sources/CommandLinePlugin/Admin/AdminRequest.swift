import ArgumentParser
import LocalInstallation
import OrganizationClient
import RegistryAccess

/// `docker ram admin request list`.
struct AdminRequestList: AdminCommand {
    /// Which requests are shown.
    enum State: String, ExpressibleByArgument, CaseIterable {
        case open, allowed, declined, withdrawn, ended, all
    }

    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Show what people ask for, the newest first",
        discussion: "Example: docker ram admin request list --state all"
    )

    @Option(help: ArgumentHelp("Which ones", valueName: "string"))
    var state = State.open

    @Option(help: ArgumentHelp("Only for this registry", valueName: "address"))
    var registry: String?

    @Option(help: ArgumentHelp("How many at most", valueName: "int"))
    var limit = 50

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws { try AdminLimit.check(limit) }

    func run(at server: AdminServer, in context: CommandContext) throws {
        let query = [("state", state == .all ? nil : state.rawValue), ("registry", registry)]
        let list = AdminList(
            elements: try server.list("requests", query: query, page: "before", limit: limit),
            columns: [
                .init("NUMBER", "number"), .init("REGISTRY", "registry"), .init("FOR", "action"),
                .init("STATE", "state"), .init("BY", "user"), .init("DEVICE", "device"), .init("MADE", "made"),
                .init("UNTIL", "until"), .init("REASON", "reason"), .init("ANSWER", "word"),
            ],
            nothing: state == .open ? "no request is open" : "there is no such request"
        )
        context.show(list, as: common.format)
    }
}

/// `docker ram admin request allow NUMBER`.
struct AdminRequestAllow: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "allow",
        abstract: "Allow what was asked for: it is in force at once",
        discussion: """
            The policy gets an entry for the registry that was asked for, or for what is said here. With --until it \
            is taken out again at the end of that day (UTC), or at that time.

            Example: docker ram admin request allow 3 --until 2026-12-24
            """
    )

    @Argument(help: "The number of the request")
    var number: Int

    @Option(help: ArgumentHelp("A date, or a time like 2026-12-24T18:00:00Z", valueName: "date"))
    var until: String?

    @Option(help: ArgumentHelp("What to say to who asked", valueName: "text"))
    var word: String?

    @Option(help: ArgumentHelp("A pattern, if not just the registry", valueName: "pattern"))
    var address: String?

    @Option(help: ArgumentHelp("Only these: pull, push, login, with commas", valueName: "list"))
    var actions: String?

    @Option(help: ArgumentHelp("Only these repositories, with commas", valueName: "list"))
    var repositories: String?

    @Flag(help: "The pattern is meant to be as broad as it is")
    var acknowledgeBroad = false

    @Flag(help: "The policy is meant to deny the server itself")
    var acknowledgeLockOut = false

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard let until else { return }
        guard let end = Self.end(until) else {
            throw ValidationError("--until is a date like 2026-12-24, or a time like 2026-12-24T18:00:00Z")
        }
        guard end - Instant.now() <= Self.longest else { throw ValidationError("--until is in ten years at most") }
    }

    /// The longest that the server takes, in seconds: ten years.
    private static let longest: Int64 = 3653 * 86_400

    /// The end that is meant: a day's is the beginning of the next one.
    static func end(_ text: String) -> Instant? {
        text.utf8.count == 10 ? Instant("\(text)T00:00:00Z").map { $0 + 86_400 } : Instant(text)
    }

    func run(at server: AdminServer, in context: CommandContext) throws {
        var members: [JSONMember] = []
        if let until = until.flatMap(Self.end) { members.append(JSONMember("until", .string(until.description))) }
        for (name, text) in [("word", word), ("address", address)] {
            if let text { members.append(JSONMember(name, .string(text))) }
        }
        for (name, list) in [("actions", actions), ("repositories", repositories)] {
            if let list { members.append(JSONMember(name, .texts(list.listed))) }
        }
        if acknowledgeBroad { members.append(JSONMember("acknowledgeBroad", .bool(true))) }
        if acknowledgeLockOut { members.append(JSONMember("acknowledgeLockOut", .bool(true))) }
        let answer = try server.ask(.post, "requests", "\(number)", "allow", body: .object(members))
        for warning in answer.value.value(named: "warnings")?.elements ?? [] {
            context.note("warning: \(warning.shown("message"))")
        }
        context.show(AdminDone(Self.words(answer.value), answer.value), as: common.format)
    }

    private static func words(_ answer: JSONValue) -> String {
        let request = answer.value(named: "request") ?? .null
        let until = request.value(named: "until")?.text.map { " until \($0)" } ?? ""
        let version = answer.shown("version")
        guard answer.value(named: "isNew") == .bool(true) else {
            return "\(request.shown("registry")) is allowed already\(until), by policy version \(version)."
        }
        return "Allowed \(request.shown("registry"))\(until): policy version \(version)."
    }
}

/// `docker ram admin request decline NUMBER`.
struct AdminRequestDecline: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "decline",
        abstract: "Decline what was asked for",
        discussion: """
            Example: docker ram admin request decline 3 --word "use our mirror"
            """
    )

    @Argument(help: "The number of the request")
    var number: Int

    @Option(help: ArgumentHelp("What to say to who asked", valueName: "text"))
    var word: String?

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let body = JSONValue.object(word.map { [JSONMember("word", .string($0))] } ?? [])
        let answer = try server.ask(.post, "requests", "\(number)", "decline", body: body)
        context.show(AdminDone("Declined \(answer.value.shown("registry")).", answer.value), as: common.format)
    }
}
