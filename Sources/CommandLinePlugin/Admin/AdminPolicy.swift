import ArgumentParser
import LocalInstallation
import OrganizationClient
import RegistryAccess

/// `docker ram admin policy show`.
struct AdminPolicyShow: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show the policy that the server has",
        discussion: """
            With --format json it is the document that apply takes.

            With --docker it is what Docker's own service can hold of it, for apply --docker
            or that service; what is lost is said on standard error, and nothing becomes open
            that the policy does not open.

            Example: docker ram admin policy show --format json > policy.json
            """
    )

    @Option(help: ArgumentHelp("Show this version instead of the newest", valueName: "int"))
    var version: Int?

    @Flag(help: "As Docker's own registry access settings")
    var docker = false

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let policy = try server.policy(version)
        guard !docker else { return context.showInDockersForm(policy) }
        context.show(KeptPolicy(policy: policy), as: common.format)
    }
}

/// A policy as the server keeps it.
private struct KeptPolicy: CommandResult {
    let policy: AccessPolicy

    var json: JSONValue { policy.document }

    func text(for context: CommandContext) -> String {
        var lines = ["\(policy.organization), policy version \(policy.version), \(policy.stateInWords)"]
        if let contact = policy.contact { lines.append("contact \(contact)") }
        return (lines.map(TerminalText.printable) + [""] + policy.rules.table).joined(separator: "\n")
    }
}

/// `docker ram admin policy plan FILE`: what applying a file would change.
struct AdminPolicyPlan: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Show what a policy file would change",
        discussion: """
            Nothing is saved.

            Example: docker ram admin policy plan policy.json
            """
    )

    @OptionGroup var file: PolicyFileOption
    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let given = try file.read(for: server, in: context)
        let newest = try server.policy()
        let planned = try given.policy(after: newest, at: server)
        // Teams keep what they have in addition.
        let change = ShownDifference(old: newest, new: planned.numbered(newest.version + 1), teams: ([:], [:]))
        context.show(change, as: common.format)
        if planned.version != newest.version, !change.difference.isEmpty {
            context.note(
                "note: the file was made from version \(planned.version), and version \(newest.version) is the newest"
            )
        }
        for warning in planned.warnings.prefix(100) { context.note("warning: \(warning)") }
    }
}

/// `docker ram admin policy apply FILE`: makes a policy file the policy.
struct AdminPolicyApply: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply",
        abstract: "Make a policy file the policy of the organization",
        discussion: """
            The "version" in the file is the one that it was made from. If that is not the
            newest any more, nothing is saved, so that nobody's change is lost. Files that
            are kept elsewhere, as in Git, are applied with --replace.

            With --docker the file is Docker's own registry access settings. What show
            --docker does not show stays as it is: the mode, say, and what is allowed for
            some actions only or by a pattern. They name no version, so they are applied
            with --replace only.

            Example: docker ram admin policy apply --file policy.json --message "add ghcr.io"
            """
    )

    @OptionGroup var file: PolicyFileOption

    @Option(name: [.short, .long], help: ArgumentHelp("Why, for the history", valueName: "text"))
    var message: String?

    @Flag(help: "Replace the newest version, whichever that is")
    var replace = false

    @Flag(help: "The policy is meant to deny the server itself")
    var acknowledgeLockOut = false

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard !file.docker || replace else {
            throw ValidationError("settings of Docker name no version, so they are applied with --replace only")
        }
    }

    func run(at server: AdminServer, in context: CommandContext) throws {
        let policy: AccessPolicy
        let seen: Int
        switch (try file.read(for: server, in: context), replace) {
        case (.own(let given), false): (policy, seen) = (given, given.version)
        case (let given, _):
            let newest = try server.policy()
            (policy, seen) = (try given.policy(after: newest, at: server), newest.version)
        }
        let saved = try server.save(
            policy,
            seen: seen,
            SaveWords(message: message, acknowledgesLockOut: acknowledgeLockOut),
            context
        )
        context.show(saved, as: common.format)
    }
}

/// The policy file that is meant, with or without `--file` before it.
struct PolicyFileOption: ParsableArguments {
    @Argument(help: ArgumentHelp("The policy file", valueName: "file"), completion: .file())
    var argument: String?

    @Option(name: [.short, .long], help: ArgumentHelp("The policy file", valueName: "file"), completion: .file())
    var file: String?

    @Flag(help: "The file is Docker's own registry access settings")
    var docker = false

    func validate() throws {
        guard argument != nil || file != nil else { throw ValidationError("name a policy file: --file policy.json") }
        if let argument, let file {
            // What follows an option that there is none of comes here, too.
            throw ValidationError("name one policy file, and not both \"\(file)\" and \"\(argument)\"")
        }
    }

    /// As it was named.
    private var name: String { file ?? argument ?? "" }

    /// Reads it, and makes sure that it is not of another organization.
    func read(for server: AdminServer, in context: CommandContext) throws -> GivenPolicy {
        guard !docker else { return .docker(try DockerRegistryAccess(file: name, in: context)) }
        let policy = try AccessPolicy(file: name, in: context)
        try server.check(policy, name)
        return .own(policy)
    }
}

/// What a file says is to be the policy.
enum GivenPolicy {
    case own(AccessPolicy)
    /// What it cannot say stays.
    case docker(DockerRegistryAccess)

    /// The policy that is to be.
    func policy(after newest: AccessPolicy, at server: AdminServer) throws -> AccessPolicy {
        switch self {
        case .own(let policy): policy
        case .docker(let settings):
            settings.policy(after: newest, teams: try server.version(newest.version).teams)
        }
    }
}

/// `docker ram admin policy diff [V1 [V2]]`.
struct AdminPolicyDiff: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Show what changed from one version to another",
        discussion: """
            Without a version: what the newest changed. With one: what changed since then.

            Example: docker ram admin policy diff 40 42
            """
    )

    @Argument(help: "The earlier version")
    var from: Int?

    @Argument(help: "The later version; the newest if none is given")
    var to: Int?

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let new = try server.version(to)
        guard from != nil || new.policy.version > 1 else {
            throw Failure("there is only version 1 of the policy, so there is nothing to compare")
        }
        let old = try server.version(from ?? new.policy.version - 1)
        let teams = (old: old.teams(named: new), new: new.teams(named: old))
        context.show(ShownDifference(old: old.policy, new: new.policy, teams: teams), as: common.format)
    }
}

/// A version of the policy as the server keeps it, with what teams have in addition.
struct KeptVersion {
    /// A team was given another name.
    struct Rename {
        /// The version that was the newest then.
        let version: Int
        let from: String
        let to: String
    }

    let policy: AccessPolicy
    let teams: [String: [RegistryRule]]
    /// Those since then, in their order.
    let renames: [Rename]

    /// What teams have in addition, by the names that they had in another version if that is a later one.
    func teams(named other: KeptVersion) -> [String: [RegistryRule]] {
        var teams = teams
        for rename in renames where rename.version <= other.policy.version {
            if let rules = teams.removeValue(forKey: rename.from) { teams[rename.to] = rules }
        }
        return teams
    }
}

/// `docker ram admin policy history`.
struct AdminPolicyHistory: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "List the versions of the policy, the newest first",
        discussion: "Example: docker ram admin policy history --limit 10"
    )

    @Option(help: ArgumentHelp("How many versions at most", valueName: "int"))
    var limit = 50

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws { try AdminLimit.check(limit) }

    func run(at server: AdminServer, in context: CommandContext) throws {
        let versions = try server.list("versions", ["policy", "versions"], page: "before", limit: limit)
        let list = AdminList(
            elements: versions,
            columns: [
                .init("VERSION", "version"), .init("TIME", "time"), .init("AUTHOR", "author"),
                .init("CHANGES") { version in
                    let teams = version.value(named: "teamCounts")?.members ?? []
                    var parts = [Self.words(version.value(named: "counts"))].filter { !$0.isEmpty }
                    parts += teams.prefix(3).map { "\($0.name): \(Self.words($0.value))" }
                    if teams.count > 3 { parts.append("\(teams.count - 3) more teams") }
                    return parts.isEmpty ? "-" : parts.joined(separator: ", ")
                },
                .init("MESSAGE", "comment"),
            ],
            nothing: "there is no version of the policy"
        )
        context.show(list, as: common.format)
    }

    /// How much changed for everybody or for a team.
    private static func words(_ counts: JSONValue?) -> String {
        [("+", "added"), ("-", "removed"), ("~", "changed"), ("settings ", "settings")].compactMap { mark, name in
            counts?.value(named: name)?.integer.flatMap { $0 > 0 ? "\(mark)\($0)" : nil }
        }.joined(separator: " ")
    }
}

/// `docker ram admin policy rollback VERSION`.
struct AdminPolicyRollback: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Make an earlier version the policy again",
        discussion: """
            It becomes a new version, so that machines take it; teams get back what they had.

            Example: docker ram admin policy rollback 40
            """
    )

    @Argument(help: "The version")
    var version: Int

    @Option(name: [.short, .long], help: ArgumentHelp("Why, for the history", valueName: "text"))
    var message: String?

    @Flag(help: "The policy is meant to deny the server itself")
    var acknowledgeLockOut = false

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        var members = [JSONMember("version", .number("\(version)"))]
        if let message { members.append(JSONMember("comment", .string(message))) }
        if acknowledgeLockOut { members.append(JSONMember("acknowledgeLockOut", .bool(true))) }
        let seen = try server.policy().version
        let answer = try server.ask(.post, "policy", "rollback", body: .object(members), version: seen)
        context.show(SavedPolicy(answer, organization: server.organization), as: common.format)
    }
}

// MARK: - The policy at the server

/// What is said with a save.
struct SaveWords {
    let message: String?
    var acknowledgesLockOut = false

    var query: [(String, String?)] {
        [("comment", message), ("acknowledgeLockOut", acknowledgesLockOut ? "true" : nil)]
    }
}

/// What was saved.
struct SavedPolicy: CommandResult {
    let json: JSONValue
    private let organization: String

    init(_ answer: AdminServer.Answer, organization: String) {
        json = answer.value
        self.organization = organization
    }

    func text(for context: CommandContext) -> String {
        let version = json.shown("version")
        guard json.value(named: "isNew") != .bool(false) else {
            return "Nothing changes: policy version \(version) of \(organization) decides the same."
        }
        let warnings = (json.value(named: "warnings")?.elements ?? []).map { warning in
            let place = warning.value(named: "registry")?.integer.map { "registry \($0): " } ?? ""
            return TerminalText.printable("warning: \(place)\(warning.shown("message"))")
        }
        return (["Saved policy version \(version) of \(organization)."] + warnings).joined(separator: "\n")
    }
}

extension AdminServer {
    /// A version of the policy.
    ///
    /// - Parameter version: which; `nil` is the newest.
    /// - Returns: the policy.
    /// - Throws: ``Failure``.
    func policy(_ version: Int? = nil) throws -> AccessPolicy {
        guard let version else {
            let answer = try ask(.get, "policy")
            let policy = try read(policy: answer.value)
            return answer.version.map { policy.numbered($0) } ?? policy
        }
        let answer = try ask(.get, "policy", "versions", "\(version)")
        guard let document = answer.value.value(named: "policy") else {
            throw Failure("\"\(client.server)\" sent a version of the policy that says nothing")
        }
        return try read(policy: document)
    }

    /// A version of the policy with what teams have in addition.
    ///
    /// - Parameter number: which; `nil` is the newest.
    /// - Returns: the version.
    /// - Throws: ``Failure``.
    func version(_ number: Int?) throws -> KeptVersion {
        var number = number
        if number == nil {
            let newest = try list("versions", ["policy", "versions"], page: "before", limit: 1).first
            number = newest?.value(named: "version")?.integer
        }
        guard let number else { throw Failure("\"\(client.server)\" has no policy of \"\(organization)\" yet") }
        let answer = try ask(.get, "policy", "versions", "\(number)").value
        guard let document = answer.value(named: "policy") else {
            throw Failure("\"\(client.server)\" sent a version of the policy that says nothing")
        }
        var teams: [String: [RegistryRule]] = [:]
        for team in answer.value(named: "teams")?.members ?? [] {
            teams[team.name] = try read(team.value, ofTeam: team.name)
        }
        let renames = (answer.value(named: "renamedTeams")?.elements ?? []).compactMap {
            rename -> KeptVersion.Rename? in
            guard let version = rename.value(named: "version")?.integer, let from = rename.value(named: "from")?.text,
                let to = rename.value(named: "to")?.text
            else { return nil }
            return KeptVersion.Rename(version: version, from: from, to: to)
        }
        return KeptVersion(policy: try read(policy: document), teams: teams, renames: renames)
    }

    /// Reads what a team has in addition.
    func read(_ rules: JSONValue, ofTeam team: String) throws -> [RegistryRule] {
        // There is one reader of rules, and it reads policies.
        let document = JSONValue.object([
            JSONMember("version", .number("1")), JSONMember("organization", .string(organization)),
            JSONMember("registries", rules),
        ])
        do throws(InvalidPolicy) {
            return try AccessPolicy(json: Array(document.text().utf8)).rules
        } catch {
            throw Failure("this program does not understand what team \"\(team)\" has: \(error)")
        }
    }

    private func read(policy: JSONValue) throws -> AccessPolicy {
        do throws(InvalidPolicy) {
            return try AccessPolicy(json: Array(policy.text().utf8))
        } catch {
            throw Failure(
                "this program does not understand the policy of \"\(client.server)\": \(error)",
                hints: ["the server may be newer than this program"]
            )
        }
    }

    /// Makes sure that a policy is this organization's.
    func check(_ policy: AccessPolicy, _ file: String) throws {
        guard policy.organization.utf8.elementsEqual(organization.utf8) else {
            throw Failure(
                "\"\(file)\" is the policy of \"\(policy.organization)\" and not of \"\(organization)\"",
                hints: ["say which organization is meant with --organization NAME"]
            )
        }
    }

    /// Saves a policy, if nobody has saved another meanwhile.
    ///
    /// - Parameters:
    ///   - policy: the policy.
    ///   - seen: the version that it was made from.
    ///   - words: what is said with it.
    ///   - context: where faults are listed.
    /// - Returns: what was saved.
    /// - Throws: ``Failure``; nothing is saved then.
    func save(
        _ policy: AccessPolicy,
        seen: Int,
        _ words: SaveWords,
        _ context: CommandContext
    ) throws -> SavedPolicy {
        try save(["policy"], policy.document, seen: seen, words, context)
    }

    /// Saves what a team has in addition.
    func save(
        _ rules: [RegistryRule],
        ofTeam team: String,
        seen: Int,
        _ words: SaveWords,
        _ context: CommandContext
    ) throws -> SavedPolicy {
        let document = JSONValue.object([JSONMember("registries", .array(rules.map(\.document)))])
        return try save(["teams", team, "policy"], document, seen: seen, words, context)
    }

    private func save(
        _ path: [String],
        _ document: JSONValue,
        seen: Int,
        _ words: SaveWords,
        _ context: CommandContext
    ) throws -> SavedPolicy {
        var request = request(.put, path, query: words.query, version: seen)
        // The faults that the server names have places in this text.
        request.body = Array(document.text(indentation: "  ").utf8)
        do {
            return SavedPolicy(try send(request), organization: organization)
        } catch let fault as AdministrationFault {
            if case .refused(let problem) = fault {
                for fault in problem.faults { context.note("error: \(fault.message)") }
            }
            throw failure(fault)
        }
    }
}

extension AccessPolicy {
    /// The same policy under another number.
    func numbered(_ version: Int) -> AccessPolicy { changed(version: version, rules: rules) }

    /// The same policy with other rules.
    func with(rules: [RegistryRule]) -> AccessPolicy { changed(version: version, rules: rules) }

    private func changed(version: Int, rules: [RegistryRule]) -> AccessPolicy {
        AccessPolicy(
            version: version,
            organization: organization,
            isEnabled: isEnabled,
            mode: mode,
            contact: contact,
            imports: imports,
            unmanagedBuilders: unmanagedBuilders,
            rules: rules
        )
    }
}

/// How long a list may be.
enum AdminLimit {
    static func check(_ limit: Int) throws {
        guard (1...100_000).contains(limit) else { throw ValidationError("--limit is a number from 1 to 100000") }
    }
}
