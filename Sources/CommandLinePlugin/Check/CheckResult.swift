import LocalInstallation
import RegistryAccess

/// The results of one `check`.
struct CheckResults: CommandResult {
    let results: [CheckResult]

    var json: JSONValue { .array(results.map(\.json)) }

    func text(for context: CommandContext) -> String {
        if results.contains(where: { $0.surroundings != nil }) {
            return results.map { $0.explanation(for: context) }.joined(separator: "\n\n")
        }
        return Self.table(results.map { ($0.verdict, $0.name, $0.reason) }, context)
    }

    /// Verdicts below each other.
    static func table(
        _ rows: [(verdict: Verdict, name: String, reason: String)],
        _ context: CommandContext
    ) -> String {
        zip(TerminalText.table(rows.map { [$0.verdict.word, $0.name, $0.reason] }), rows).map { line, row in
            let word = row.verdict.word
            return context.terminal.colored(word, row.verdict.color)
                + TerminalText.printable(String(line.dropFirst(word.count)))
        }.joined(separator: "\n")
    }
}

/// What the policy says to one image or registry.
struct CheckResult {
    let name: String
    let request: AccessRequest
    let reference: ImageReference?
    let verdict: Verdict
    let policy: PolicyInForce
    let surroundings: Surroundings?

    /// What is switched on around the policy.
    struct Surroundings {
        let isHelperActive: Bool
        let isPluginNamed: Bool

        init(of context: CommandContext) {
            let config = context.dockerConfigDirectory.flatMap { try? DockerConfigFile(directory: $0) }
            isHelperActive = config.map(DeveloperSetup.isSetUp) ?? false
            isPluginNamed = (try? EngineSetup(context.paths).state().isEnabled) ?? false
        }
    }

    init(
        name: String,
        _ request: AccessRequest,
        _ reference: ImageReference?,
        _ policy: PolicyInForce,
        _ surroundings: Surroundings?
    ) {
        self.name = name
        self.request = request
        self.reference = reference
        self.policy = policy
        self.surroundings = surroundings
        verdict = policy.verdict(on: request)
    }

    private var rule: RegistryRule? { verdict.rule(of: policy) }

    var reason: String {
        verdict.inWords(on: request.address, action: request.action, repository: request.repository, by: policy)
    }

    // MARK: - The explanation

    func explanation(for context: CommandContext) -> String {
        let column = 24
        let verb = verdict.outcome == .wouldDeny ? " " : " is "
        var lines = [TerminalText.printable(name) + verb + context.terminal.colored(verdict.word, verdict.color) + ":"]
        let head = name.count + "\(verb)\(verdict.word): ".count
        lines[0] += (head + reason.count > context.terminal.width ? "\n  " : " ") + TerminalText.printable(reason)
        func add(_ label: String, _ text: String) {
            let gap = String(repeating: " ", count: max(0, column - 2 - label.count))
            lines.append(
                "  \(label)\(gap)"
                    + TerminalText.wrapped(
                        TerminalText.printable(text),
                        width: context.terminal.width,
                        indentation: column
                    )
            )
        }
        add("registry", "\(request.address)" + (policy.packs.pack(for: request.address).map { " (\($0.name))" } ?? ""))
        if let repository = request.repository { add("repository", repository) }
        add("action", request.action.rawValue)
        add("rule", ruleInWords)
        add("policy", policyInWords)
        for (point, text) in effects { add(point, text) }
        lines.append("  hosts contacted")
        let hosts = ContactedHost.all(for: request.address, policy)
        lines += TerminalText.table(
            hosts.map { [$0.word, $0.purpose, "\($0.name) (\($0.reason))"] },
            gap: 1,
            indentation: "    "
        ).map(TerminalText.printable)
        if hosts.contains(where: { $0.isShared && $0.verdict.outcome != .deny }) {
            add("shared hosts", "strangers can keep images and files there, too, and a build can fetch them")
        }
        if verdict.outcome == .deny, let contact = policy.policy?.contact { add("for access", "ask \(contact)") }
        return lines.joined(separator: "\n")
    }

    private var ruleInWords: String {
        guard let rule, let index = verdict.rule else { return "none" }
        var words = "\(index + 1), \(rule.address)"
        if let nickname = rule.nickname { words += " (\(nickname))" }
        words += rule.isAllowed ? ": allows \(rule.actionNames)" : ": denies \(rule.actionNames)"
        if !rule.repositories.isEmpty {
            words += " for " + rule.repositories.map(\.description).joined(separator: ", ")
        }
        return words
    }

    private var policyInWords: String {
        guard let policy = policy.policy else { return "none" }
        return "\(policy.organization), version \(policy.version), \(policy.stateInWords)"
    }

    /// What every enforcement point does.
    var effects: [(point: String, text: String)] {
        [
            ("credential helper", helperEffect),
            ("authorization plugin", pluginEffect),
            ("egress proxy", proxyEffect),
        ]
    }

    private var helperEffect: String {
        guard surroundings?.isHelperActive != false else { return "is not asked: credsStore is not \"ram\"" }
        let login = policy.verdict(on: AccessRequest(.login, request.address))
        switch login.outcome {
        case .allow: return "gives out the credentials for \(request.address)"
        case .wouldDeny: return "gives out the credentials for \(request.address) and records it"
        case .deny: return "withholds the credentials for \(request.address)"
        }
    }

    private var pluginEffect: String {
        guard surroundings?.isPluginNamed != false else { return "is not asked: daemon.json does not name it" }
        guard request.action != .login else { return "does not see it: Docker hides logins from plugins" }
        let command = "docker \(request.action.rawValue)"
        let blind = request.action == .pull ? "; it does not see what a build pulls" : ""
        switch verdict.outcome {
        case .allow: return "lets \(command) pass"
        case .wouldDeny: return "lets \(command) pass and records it"
        case .deny: return "refuses \(command)\(blind)"
        }
    }

    private var proxyEffect: String {
        let host = request.address
        let reach = policy.verdict(onReaching: host)
        switch reach.outcome {
        case .allow:
            return verdict.outcome == .allow ? "lets \(host) pass" : "lets \(host) pass: it sees no more than the host"
        case .wouldDeny: return "lets \(host) pass and records it"
        case .deny: return "refuses \(host), also to builds"
        }
    }

    // MARK: - For programs

    var json: JSONValue {
        var members = [
            JSONMember("name", .string(name)),
            JSONMember("image", .text(reference?.description)),
            JSONMember("registry", .string(request.address.description)),
            JSONMember("repository", .text(request.repository)),
            JSONMember("action", .string(request.action.rawValue)),
            JSONMember("verdict", .string(verdict.outcome.rawValue)),
            JSONMember("reason", .string(verdict.reason.rawValue)),
            JSONMember("rule", .text(rule?.address.description)),
            JSONMember("policyVersion", .integer(policy.policy?.version)),
            JSONMember("organization", .text(policy.policy?.organization)),
        ]
        guard surroundings != nil else { return .object(members) }
        members.append(JSONMember("enforcement", .object(effects.map { JSONMember($0.point, .string($0.text)) })))
        members.append(
            JSONMember(
                "hosts",
                .array(ContactedHost.all(for: request.address, policy).map(\.json))
            )
        )
        return .object(members)
    }
}
