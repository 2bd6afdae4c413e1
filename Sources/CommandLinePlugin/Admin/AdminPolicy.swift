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

            Example: docker ram admin policy show --format json > policy.json
            """
    )

    @Option(help: ArgumentHelp("Show this version instead of the newest", valueName: "int"))
    var version: Int?

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        context.show(KeptPolicy(policy: try server.policy(version)), as: common.format)
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
        let planned = try file.read(in: context)
        try server.check(planned, file.name)
        let newest = try server.policy()
        let change = ShownDifference(old: newest, new: planned.numbered(newest.version + 1))
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

    func run(at server: AdminServer, in context: CommandContext) throws {
        let policy = try file.read(in: context)
        try server.check(policy, file.name)
        let seen = replace ? try server.policy().version : policy.version
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

    func validate() throws {
        guard (argument == nil) != (file == nil) else { throw ValidationError("name one policy file") }
    }

    /// As it was named.
    var name: String { file ?? argument ?? "" }

    /// Reads it.
    func read(in context: CommandContext) throws -> AccessPolicy { try AccessPolicy(file: name, in: context) }
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
        let new = try server.policy(to)
        guard from != nil || new.version > 1 else {
            throw Failure("there is only version 1 of the policy, so there is nothing to compare")
        }
        let old = try server.policy(from ?? new.version - 1)
        context.show(ShownDifference(old: old, new: new), as: common.format)
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
                    let counts = version.value(named: "counts")
                    let names = [("+", "added"), ("-", "removed"), ("~", "changed"), ("settings ", "settings")]
                    let parts = names.compactMap { mark, name in
                        counts?.value(named: name)?.integer.flatMap { $0 > 0 ? "\(mark)\($0)" : nil }
                    }
                    return parts.isEmpty ? "-" : parts.joined(separator: " ")
                },
                .init("MESSAGE", "comment"),
            ],
            nothing: "there is no version of the policy"
        )
        context.show(list, as: common.format)
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
