import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram policy show`: every rule of the policy in force.
struct PolicyShow: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show the policy in force",
        discussion: "Example: docker ram policy show --format json"
    )

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        switch context.policyInForce {
        case .unmanaged:
            guard common.format == .text else { return context.output.line("null") }
            context.note("note: this machine has no policy: every registry is allowed")
        case .withheld(let withheld):
            throw Failure(withheld.problem, hints: [withheld.hint])
        case .unavailable(let problem):
            throw Failure(problem, hints: [context.hintForUnreadablePolicy])
        case .policy(let policy, let source):
            context.show(ShownPolicy(policy: policy, source: source), as: common.format)
            if let problem = source.problem {
                let what = source.organization == nil ? "an earlier copy is in force" : "nothing newer"
                context.note("note: \(what): \(problem)")
            }
        }
    }
}

private struct ShownPolicy: CommandResult {
    let policy: AccessPolicy
    let source: PolicySource

    func text(for context: CommandContext) -> String {
        var lines = [
            "\(policy.organization), policy version \(policy.version), \(policy.stateInWords)",
            source.organization.map { "\($0.server), holds until \($0.until)" } ?? source.path,
        ]
        if let contact = policy.contact { lines.append("contact \(contact)") }
        return (lines + [""] + policy.rules.table).joined(separator: "\n")
    }

    /// The document again, in the form in which a policy is written, and where it came from.
    var json: JSONValue {
        .object([JSONMember("source", .string(source.path)), JSONMember("policy", policy.document)])
    }
}

extension [RegistryRule] {
    /// The rules on lines for people.
    var table: [String] {
        let header = ["REGISTRY", "ALLOWED", "ACTIONS", "REPOSITORIES", "NICKNAME"]
        let rows = map { rule in
            [
                rule.address.description, rule.isAllowed ? "yes" : "no",
                rule.actions.count == RegistryAction.allCases.count ? "all" : rule.actionNames,
                rule.repositories.isEmpty ? "all" : rule.repositories.map(\.description).joined(separator: ", "),
                rule.nickname ?? "",
            ]
        }
        return TerminalText.table([header] + rows).map(TerminalText.printable)
    }
}
