import ArgumentParser
import LocalInstallation
import OrganizationClient
import RegistryAccess

/// `docker ram admin registry list`.
struct AdminRegistryList: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the registries of the policy",
        discussion: "Example: docker ram admin registry list"
    )

    @OptionGroup var team: TeamOption
    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        context.show(RuleList(rules: try server.rules(of: team.team).rules, team: team.team), as: common.format)
    }
}

/// `docker ram admin registry add ADDRESS`.
struct AdminRegistryAdd: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Allow a registry, or deny it",
        discussion: """
            An address is a host, perhaps with a port, or a pattern like *.acme.test.

            Example: docker ram admin registry add ghcr.io --actions pull
            """
    )

    @Argument(help: "The registry's address, or a pattern")
    var address: String

    @Option(help: ArgumentHelp("What people call it", valueName: "text"))
    var nickname: String?

    @Option(help: ArgumentHelp("Only these: pull, push, login, with commas", valueName: "list"))
    var actions: String?

    @Option(help: ArgumentHelp("Only these repositories, with commas", valueName: "list"))
    var repositories: String?

    @Option(help: ArgumentHelp("Hosts that the registry sends clients to, with commas", valueName: "list"))
    var supportHosts: String?

    @Flag(help: "Deny it; what is denied no other rule allows")
    var deny = false

    @Flag(help: "Accept plain HTTP there")
    var insecure = false

    @Flag(help: "The pattern is meant to be as broad as it is")
    var acknowledgeBroad = false

    @Flag(help: "Put it in the place of what is there for this address")
    var replace = false

    @OptionGroup var change: ChangeOptions
    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let rule = try rule()
        let saved = try server.change(change, context) { rules in
            let there = rules.filter { $0.address == rule.address }
            guard there.isEmpty || replace || there == [rule] else {
                throw Failure(
                    "there is a rule for \"\(rule.address)\" already",
                    hints: ["put the new one in its place with --replace"]
                )
            }
            guard let index = rules.firstIndex(where: { $0.address == rule.address }) else { return rules + [rule] }
            var rules = rules
            rules[index] = rule
            return rules.enumerated().filter { $0.offset == index || $0.element.address != rule.address }
                .map(\.element)
        }
        context.show(saved, as: common.format)
    }

    private func rule() throws -> RegistryRule {
        let rule = RegistryRule(
            address: try AddressPattern(argument: address),
            nickname: nickname,
            isAllowed: !deny,
            actions: try actions.map { text in
                let names = text.listed
                let actions = names.compactMap(RegistryAction.init(rawValue:))
                guard !actions.isEmpty, actions.count == names.count else {
                    throw ValidationError("--actions is a list of pull, push and login, with commas")
                }
                return Set(actions)
            },
            repositories: try (repositories?.listed ?? []).map { text in
                do throws(InvalidRepositoryPattern) {
                    return try RepositoryPattern(text)
                } catch {
                    throw Failure("\"\(text)\" is no pattern of repositories: \(error)")
                }
            },
            isInsecure: insecure,
            supportHosts: try (supportHosts?.listed ?? []).map { try AddressPattern(argument: $0) },
            isBroadAcknowledged: acknowledgeBroad
        )
        if let broad = rule.unacknowledgedBroadPattern {
            throw Failure(broad, hints: ["if that is meant: --acknowledge-broad"])
        }
        return rule
    }
}

/// `docker ram admin registry remove ADDRESS`.
struct AdminRegistryRemove: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Take a registry out of the policy",
        discussion: """
            What no rule speaks of is denied.

            Example: docker ram admin registry remove ghcr.io
            """
    )

    @Argument(help: "The registry's address or pattern, as the list has it")
    var address: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let pattern = try AddressPattern(argument: address)
        let saved = try server.change(change, context) { rules in
            let rest = rules.filter { $0.address != pattern }
            guard rest.count < rules.count else {
                throw Failure(
                    "there is no rule for \"\(pattern)\"",
                    hints: ["see them: docker ram admin registry list"]
                )
            }
            return rest
        }
        context.show(saved, as: common.format)
    }
}

/// Whose registries are meant.
struct TeamOption: ParsableArguments {
    @Option(help: ArgumentHelp("What a team has in addition, instead of everybody's", valueName: "name"))
    var team: String?
}

/// How a change of the registries is made.
struct ChangeOptions: ParsableArguments {
    @OptionGroup var team: TeamOption

    @Option(name: [.short, .long], help: ArgumentHelp("Why, for the history", valueName: "text"))
    var message: String?

    @Flag(help: "The policy is meant to deny the server itself")
    var acknowledgeLockOut = false
}

/// Registries as the policy has them.
private struct RuleList: CommandResult {
    let rules: [RegistryRule]
    /// Whose they are in addition to everybody's, if they are a team's.
    let team: String?

    var json: JSONValue { .array(rules.map(\.document)) }

    func text(for context: CommandContext) -> String {
        guard rules.isEmpty else { return rules.table.joined(separator: "\n") }
        guard let team else { return "there is no registry, so every one is denied" }
        return TerminalText.printable("team \"\(team)\" has no registry in addition to everybody's")
    }
}

extension AdminServer {
    /// The registries of everybody or of a team, and the version that they are of.
    fileprivate func rules(of team: String?) throws -> (rules: [RegistryRule], version: Int) {
        guard let team else {
            let policy = try policy()
            return (policy.rules, policy.version)
        }
        let answer = try ask(.get, "teams", team, "policy")
        guard let version = answer.version, let rules = answer.value.value(named: "registries") else {
            throw Failure("\"\(client.server)\" did not say what team \"\(team)\" has")
        }
        return (try read(rules, ofTeam: team), version)
    }

    /// Changes the registries of everybody or of a team; if somebody else has saved meanwhile, nothing is saved.
    fileprivate func change(
        _ options: ChangeOptions,
        _ context: CommandContext,
        _ change: ([RegistryRule]) throws -> [RegistryRule]
    ) throws -> SavedPolicy {
        let words = SaveWords(message: options.message, acknowledgesLockOut: options.acknowledgeLockOut)
        if let team = options.team.team {
            let (rules, version) = try rules(of: team)
            return try save(try change(rules), ofTeam: team, seen: version, words, context)
        }
        let policy = try policy()
        return try save(policy.with(rules: try change(policy.rules)), seen: policy.version, words, context)
    }
}

extension AddressPattern {
    fileprivate init(argument text: String) throws {
        do throws(InvalidAddressPattern) {
            try self.init(text)
        } catch {
            throw Failure("\"\(text)\" is no address of a registry: \(error)")
        }
    }
}
