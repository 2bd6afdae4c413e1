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

    /// - Parameters:
    ///   - old: the earlier policy.
    ///   - new: the later one.
    init(old: AccessPolicy, new: AccessPolicy) {
        self.old = old
        self.new = new
        difference = PolicyDifference(from: old, to: new)
    }

    func text(for context: CommandContext) -> String {
        let versions = "policy version \(old.version) -> \(new.version)"
        guard !difference.isEmpty else { return "\(versions): nothing changes" }
        var lines = difference.settings.map {
            ["~", $0.name, "\($0.before ?? "none") -> \($0.after ?? "none")"]
        }
        lines += difference.removed.map { ["-", $0.address.description, Self.words($0)] }
        lines += difference.added.map { ["+", $0.address.description, Self.words($0)] }
        lines += difference.changed.map {
            ["~", $0.after.address.description, Self.changes(from: $0.before, to: $0.after)]
        }
        return ([versions] + TerminalText.table(lines).map(TerminalText.printable)).joined(separator: "\n")
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
        .object([
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
        ])
    }
}
