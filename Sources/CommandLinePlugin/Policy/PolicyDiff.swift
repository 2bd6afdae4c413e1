import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram policy diff [OLD] NEW`: what a new policy changes.
struct PolicyDiff: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Show what a new policy changes",
        discussion: """
            With one file, against the policy in force on this machine. The order of the rules means nothing.

            Example: docker ram policy diff new-policy.json
            """
    )

    @Argument(help: "The new policy file, or the earlier and the new one", completion: .file())
    var files: [String]

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard files.count <= 2 else { throw ValidationError("at most two policy files can be compared") }
    }

    func run(in context: CommandContext) throws {
        let new = try AccessPolicy(file: files[files.count - 1], in: context)
        let old = try files.count == 2 ? AccessPolicy(file: files[0], in: context) : AccessPolicy(inForceIn: context)
        context.show(ShownDifference(old: old, new: new), as: common.format)
    }
}

/// What changes from one policy to another.
struct ShownDifference: CommandResult {
    let old: AccessPolicy
    let new: AccessPolicy
    let difference: PolicyDifference
    /// What changes for each team for which something does, in the order of their names; `nil` where there are no teams.
    let teams: [(name: String, difference: PolicyDifference)]?

    /// - Parameters:
    ///   - old: the earlier policy.
    ///   - new: the later one.
    ///   - teams: what teams had in addition, and what they have; `nil` where there are no teams.
    init(
        old: AccessPolicy,
        new: AccessPolicy,
        teams: (old: [String: [RegistryRule]], new: [String: [RegistryRule]])? = nil
    ) {
        self.old = old
        self.new = new
        difference = PolicyDifference(from: old, to: new)
        self.teams = teams.map { teams in
            func policy(_ rules: [RegistryRule]?) -> AccessPolicy {
                AccessPolicy(version: 1, organization: new.organization, rules: rules ?? [])
            }
            return Set(teams.old.keys).union(teams.new.keys).sorted().compactMap { team in
                let difference = PolicyDifference(from: policy(teams.old[team]), to: policy(teams.new[team]))
                return difference.isEmpty ? nil : (team, difference)
            }
        }
    }

    /// Whether nothing changes for anybody.
    var isEmpty: Bool { difference.isEmpty && (teams ?? []).isEmpty }

    func text(for context: CommandContext) -> String {
        let versions = "policy version \(old.version) -> \(new.version)"
        guard !isEmpty else { return "\(versions): nothing changes" }
        var lines = [difference.isEmpty ? "\(versions): nothing changes for everybody" : versions]
        lines += Self.lines(difference)
        for team in teams ?? [] { lines += [TerminalText.printable("team \(team.name)")] + Self.lines(team.difference) }
        return lines.joined(separator: "\n")
    }

    private static func lines(_ difference: PolicyDifference) -> [String] {
        var lines = difference.settings.map {
            ["~", $0.name, "\($0.before ?? "none") -> \($0.after ?? "none")"]
        }
        lines += difference.removed.map { ["-", $0.address.description, words($0)] }
        lines += difference.added.map { ["+", $0.address.description, words($0)] }
        lines += difference.changed.map {
            ["~", $0.after.address.description, changes(from: $0.before, to: $0.after)]
        }
        return TerminalText.table(lines).map(TerminalText.printable)
    }

    /// What a rule says, in the order in which `policy show` has it.
    private static func facets(_ rule: RegistryRule) -> [(name: String, value: String)] {
        func list(_ texts: [String]) -> String { texts.isEmpty ? "all" : texts.joined(separator: ", ") }
        return [
            ("", rule.isAllowed ? "allowed" : "denied"),
            ("actions ", rule.actions.count == RegistryAction.allCases.count ? "all" : rule.actionNames),
            ("repositories ", list(rule.repositories.map(\.description))),
            ("", rule.isInsecure ? "insecure" : "TLS only"),
            ("support hosts ", rule.supportHosts.isEmpty ? "none" : list(rule.supportHosts.map(\.description))),
            ("nickname ", rule.nickname ?? "none"),
        ]
    }

    private static func words(_ rule: RegistryRule) -> String {
        let usual = ["all", "none", "TLS only"]
        return facets(rule).filter { !usual.contains($0.value) }.map { "\($0.name)\($0.value)" }.joined(separator: "; ")
    }

    private static func changes(from old: RegistryRule, to new: RegistryRule) -> String {
        let changes = zip(facets(old), facets(new)).filter { $0.0.value != $0.1.value }
            .map { "\($0.0.name)\($0.0.value) -> \($0.1.value)" }
        return changes.isEmpty ? "acknowledged as broad or not" : changes.joined(separator: "; ")
    }

    var json: JSONValue {
        var members = [
            JSONMember("from", .number("\(old.version)")),
            JSONMember("to", .number("\(new.version)")),
            JSONMember(
                "settings",
                .array(
                    difference.settings.map {
                        .object([
                            JSONMember("name", .string($0.name)),
                            JSONMember("before", .text($0.before)),
                            JSONMember("after", .text($0.after)),
                        ])
                    }
                )
            ),
        ]
        members += Self.registries(difference)
        if let teams {
            let changes = teams.map { JSONMember($0.name, .object(Self.registries($0.difference))) }
            members.append(JSONMember("teams", .object(changes)))
        }
        return .object(members)
    }

    private static func registries(_ difference: PolicyDifference) -> [JSONMember] {
        [
            JSONMember("removed", .array(difference.removed.map(\.document))),
            JSONMember("added", .array(difference.added.map(\.document))),
            JSONMember(
                "changed",
                .array(
                    difference.changed.map {
                        .object([JSONMember("before", $0.before.document), JSONMember("after", $0.after.document)])
                    }
                )
            ),
        ]
    }
}
