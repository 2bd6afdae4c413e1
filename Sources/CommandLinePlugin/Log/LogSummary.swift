import LocalInstallation
import RegistryAccess

/// Which registries were refused, or would have been in audit mode, by count and last use.
///
/// What the policy in force allows by now is left out: a switch to `enforce` would not cut it off.
struct LogSummary: Sendable {
    private let policy: PolicyInForce
    private let since: String?
    private var registries: [String: RefusedUse] = [:]
    /// How many contacts were refused that the policy allows by now.
    private var allowedByNow = 0

    /// What was refused of one registry.
    private struct RefusedUse {
        /// The registry; empty for what could not be inspected.
        let registry: String
        var denied = 0
        var wouldBeDenied = 0
        var lastUse = ""
        var actions: Set<String> = []
        var reasons: Set<String> = []
        var points: [String: Int] = [:]
        var rule: String?
        var example: String?
        /// How often it was used: one pull leaves a record at every enforcement point that it passes.
        var count: Int { points.values.max() ?? 0 }
    }

    /// An empty summary.
    ///
    /// - Parameters:
    ///   - policy: the policy in force.
    ///   - since: the earliest time, as records have it.
    init(policy: PolicyInForce, since: String?) {
        self.policy = policy
        self.since = since
    }

    /// Counts a record; one that allows counts for nothing.
    mutating func add(_ record: JSONValue) {
        func text(_ name: String) -> String? { record.value(named: name)?.text }
        guard let verdict = text("verdict"), verdict != Verdict.Outcome.allow.rawValue, let time = text("time") else {
            return
        }
        if let since, time.utf8.lexicographicallyPrecedes(since.utf8) { return }
        guard !isAllowedByNow(record) else {
            allowedByNow += 1
            return
        }
        let name = text("registry") ?? ""
        var use = registries[name] ?? RefusedUse(registry: name)
        if verdict == Verdict.Outcome.deny.rawValue { use.denied += 1 } else { use.wouldBeDenied += 1 }
        if !time.utf8.lexicographicallyPrecedes(use.lastUse.utf8) {
            use.lastUse = time
            use.rule = text("rule")
            // A login names the registry once more.
            if let image = text("image"), image != name { use.example = image }
        }
        if let action = text("action") { use.actions.insert(action) }
        if let reason = text("obstacle") ?? text("reason") { use.reasons.insert(reason) }
        use.points[text("point") ?? "", default: 0] += 1
        registries[name] = use
    }

    /// Asks the policy once more, as far as the record tells what was wanted.
    private func isAllowedByNow(_ record: JSONValue) -> Bool {
        guard let policy = policy.policy, policy.isEnabled,
            let reason = record.value(named: "reason")?.text.flatMap(Verdict.Reason.init),
            [
                .noRule, .deniedByRule, .action, .repository, .policyUnavailable, .signInRequired, .notAMember,
                .policyExpired,
            ].contains(reason),
            let address = record.value(named: "registry")?.text.flatMap({ try? RegistryAddress($0) })
        else { return false }
        guard let action = record.value(named: "action")?.text.flatMap(RegistryAction.init) else {
            return policy.verdict(onReaching: address).outcome == .allow
        }
        let image = record.value(named: "image")?.text.flatMap { try? ImageReference($0) }
        let repository = image.flatMap { $0.registry == address ? $0.repository : nil }
        return policy.verdict(on: AccessRequest(action, address, repository: repository)).outcome == .allow
    }

    /// The most used first.
    private var sorted: [RefusedUse] {
        registries.values.sorted {
            ($0.count, $0.lastUse, $1.registry) > ($1.count, $1.lastUse, $0.registry)
        }
    }

    private var isAudit: Bool { policy.policy.map { $0.isEnabled && $0.mode == .audit } ?? false }
}

extension LogSummary: CommandResult {
    func text(for context: CommandContext) -> String {
        let width = context.terminal.width
        let period = since.map { " since \($0.prefix(16).split(separator: "T").joined(separator: " ")) UTC" } ?? ""
        let uses = sorted
        var lines: [String] = []
        if uses.isEmpty {
            lines.append("Nothing was refused\(period)" + (isAudit ? "; enforcing would cut off nothing" : ""))
        } else {
            let head = isAudit ? "A switch to \"enforce\" would cut off, as used\(period):" : "Refused\(period):"
            lines += [head, ""]
            let rows = uses.map { use in
                [
                    "\(use.count)", use.registry.isEmpty ? "(no registry is named)" : use.registry,
                    Timestamp.age(use.lastUse, now: context.now()) ?? use.lastUse,
                ]
            }
            let columns = [["COUNT", "REGISTRY", "LAST USE"]] + rows
            let table = TerminalText.table(columns.map { $0.map(TerminalText.printable) })
            lines.append(context.terminal.colored(table[0], .bold))
            for (line, use) in zip(table.dropFirst(), uses) {
                lines.append(line)
                let words = TerminalText.printable(Self.explanation(of: use))
                lines.append("       " + TerminalText.wrapped(words, width: width, indentation: 7))
            }
        }
        if allowedByNow > 0 {
            lines += ["", "\(allowedByNow) more were refused that the policy allows by now"]
        }
        return lines.joined(separator: "\n")
    }

    private static func explanation(of use: RefusedUse) -> String {
        var words = use.reasons.sorted().joined(separator: ", ")
        if !use.actions.isEmpty { words = use.actions.sorted().joined(separator: ", ") + ": " + words }
        if let rule = use.rule, rule != use.registry { words += " (rule \(rule))" }
        if let example = use.example { words += "; for example \(example)" }
        return words
    }

    var json: JSONValue {
        .object([
            JSONMember("since", .text(since)),
            JSONMember("mode", .text(policy.policy.map { $0.isEnabled ? $0.mode.rawValue : "disabled" })),
            JSONMember("registries", .array(sorted.map(Self.json))),
            JSONMember("allowedByNow", .integer(allowedByNow)),
        ])
    }

    private static func json(_ use: RefusedUse) -> JSONValue {
        .object([
            JSONMember("registry", use.registry.isEmpty ? .null : .string(use.registry)),
            JSONMember("count", .integer(use.count)),
            JSONMember("denied", .integer(use.denied)),
            JSONMember("wouldBeDenied", .integer(use.wouldBeDenied)),
            JSONMember("lastUse", .string(use.lastUse)),
            JSONMember("actions", .texts(use.actions.sorted())),
            JSONMember("reasons", .texts(use.reasons.sorted())),
            JSONMember("points", .texts(use.points.keys.sorted())),
            JSONMember("rule", .text(use.rule)),
            JSONMember("example", .text(use.example)),
        ])
    }
}
