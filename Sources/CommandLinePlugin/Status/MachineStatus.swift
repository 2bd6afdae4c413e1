import LocalInstallation
import OrganizationClient
import RegistryAccess

/// What is in force on this machine, what enforces it, and what is wrong.
struct MachineStatus {
    private let facts: MachineFacts
    private let policyAge: String?
    private let refused: [JSONValue]
    /// What was asked of the organization and is open, or was answered lately.
    private let requests: [RegistryRequest]
    /// What is wrong, the worst first, as far as it can be seen without asking more programs; `doctor` finds the rest.
    private let problems: [Finding]

    init(of context: CommandContext) {
        facts = MachineFacts(of: context)
        if case .policy(_, let source) = facts.policy, let organization = source.organization {
            policyAge = organization.issued.map { Timestamp.age(seconds: context.now() - Int($0.seconds)) }
        } else {
            policyAge = (try? Files.status(context.paths.policyFile)).map { status in
                // The fourth number is the time of the last change.
                Timestamp.age(seconds: context.now() - status.identity[3])
            }
        }
        let control = ControlClient(path: context.paths.controlSocket)
        let recent = facts.daemon == nil ? [] : (try? control.log(limit: 200)) ?? []
        refused = Array(recent.filter { $0.value(named: "verdict")?.text != "allow" }.suffix(3))
        let asked = facts.enrollment == nil || facts.daemon == nil ? [] : (try? control.requests()) ?? []
        requests = asked.filter { $0.isNews(at: Instant(seconds: Int64(context.now()))) }
        let facts = facts
        let found = MachineCheck.all.filter { !$0.asksPrograms }.map { Finding($0, facts) }
        // Where nothing is to be enforced, nothing can go around it.
        let least: Finding.Status = facts.isManaged ? .warning : .error
        problems = [.error, .warning].filter { $0 >= least }.flatMap { status in found.filter { $0.status == status } }
    }

    /// Whether there is nothing to tell.
    var isUnreadable: Bool {
        guard case .unavailable = facts.policy else { return false }
        return facts.daemon == nil && facts.engine.fault != nil && facts.config == nil
    }

    private var points: [(name: String, state: MachineFacts.PointState)] {
        [("credential helper", facts.helper), ("authorization plugin", facts.plugin), ("egress proxy", facts.proxy)]
    }
}

// MARK: - For people

extension MachineStatus: CommandResult {
    private static let labelWidth = 14

    func text(for context: CommandContext) -> String {
        let terminal = context.terminal
        var lines: [String] = []
        func add(_ label: String, _ text: String) {
            let gap = String(repeating: " ", count: max(0, Self.labelWidth - label.count))
            let words = TerminalText.wrapped(
                TerminalText.printable(text),
                width: terminal.width,
                indentation: Self.labelWidth
            )
            lines.append(terminal.colored(label, .bold) + gap + words)
        }
        addPolicy(add)
        if !requests.isEmpty { add("Asked for", requests.inWords) }
        lines.append("")
        add("Enforcement", "")
        lines[lines.count - 1] = terminal.colored("Enforcement", .bold)
        for (point, state) in points {
            let color: Terminal.Color = state.isActive == true ? .green : .yellow
            let gap = String(repeating: " ", count: 22 - point.count)
            let words = TerminalText.wrapped(
                TerminalText.printable(state.detail),
                width: terminal.width,
                indentation: 24
            )
            lines.append("  \(point)\(gap)\(terminal.colored(words, color))")
        }
        add("Daemon", daemonLine(now: context.now()))
        if !refused.isEmpty {
            let isAudit = refused.contains { $0.value(named: "verdict")?.text == Verdict.Outcome.wouldDeny.rawValue }
            lines += ["", terminal.colored(isAudit ? "Lately refused, or would have been" : "Lately refused", .bold)]
            lines += TerminalText.table(refused.map { LogLine($0).cells(now: context.now()) }, indentation: "  ")
                .map { TerminalText.printable($0) }
        }
        lines += problemLines(terminal)
        return lines.joined(separator: "\n")
    }

    /// More problems than these do not fit on one screen.
    private static let mostProblems = 3

    private func problemLines(_ terminal: Terminal) -> [String] {
        guard !problems.isEmpty else { return [] }
        func wrapped(_ text: String) -> String {
            TerminalText.wrapped(TerminalText.printable(text), width: terminal.width, indentation: 4)
        }
        var lines = ["", terminal.colored("Problems", .bold)]
        for problem in problems.prefix(Self.mostProblems) {
            lines.append(terminal.colored("  ! \(wrapped(problem.outcome.details[0]))", .red))
        }
        let more = problems.count - Self.mostProblems
        lines.append("    \(more > 0 ? "and \(more) more; " : "")to mend it, run: docker ram doctor")
        return lines
    }

    private func addPolicy(_ add: (String, String) -> Void) {
        switch facts.policy {
        case .unmanaged:
            add("Organization", "none")
            add("Policy", "none: this machine is unmanaged, every registry is allowed")
        case .unavailable:
            add("Organization", facts.enrollment?.organization ?? "unknown")
            let isEnrolled = facts.enrollment != nil
            add("Policy", isEnrolled ? "none: every registry is refused" : "cannot be read: every registry is refused")
            if let server = facts.enrollment?.server { add("", "\(server)") }
        case .withheld(let withheld):
            add("Organization", withheld.organization)
            if let user = withheld.user { add("Signed in", user) }
            add("Policy", withheld.inWords)
            add("", withheld.server + (withheld.until.map { ", held until \($0)" } ?? ""))
        case .policy(let policy, let source):
            add("Organization", policy.organization + (policy.contact.map { " (contact \($0))" } ?? ""))
            if let organization = source.organization {
                if let user = organization.user { add("Signed in", user) }
                let age = policyAge.map { ", confirmed \($0)" } ?? ""
                add("Policy", "version \(policy.version), \(policy.stateInWords)\(age)")
                add("", "\(organization.server), holds until \(organization.until)")
                if let problem = source.problem { add("", "nothing newer: \(problem)") }
            } else {
                let age = policyAge.map { ", changed \($0)" } ?? ""
                add("Policy", "version \(policy.version), \(policy.stateInWords)\(source.problem == nil ? age : "")")
                add("", source.path)
            }
            add("Allowed", policy.allowedInWords)
        }
    }

    private func daemonLine(now: Int) -> String {
        guard let daemon = facts.daemon else { return "docker-ramd does not answer" }
        let version = daemon.value(named: "version")?.text ?? ""
        let started = (daemon.value(named: "startedAt")?.text).flatMap { Timestamp.age($0, now: now) }
        func count(_ name: String) -> Int {
            ["authorizationPlugin", "egressProxy"].reduce(0) { sum, point in
                sum + (daemon.value(named: point)?.value(named: name)?.integer ?? 0)
            }
        }
        return "docker-ramd \(version)\(started.map { ", started \($0)" } ?? ""), "
            + "\(count("requests")) requests seen, \(count("refused")) refused"
    }
}

// MARK: - For programs

extension MachineStatus {
    var json: JSONValue {
        .object([
            JSONMember("policy", policyJSON),
            JSONMember("enforcement", enforcementJSON),
            JSONMember("daemon", facts.daemon ?? .null),
            JSONMember(
                "engine",
                .object([
                    JSONMember("version", .text(facts.engine.version)),
                    JSONMember("authorizationPlugins", .texts(facts.engine.plugins)),
                    JSONMember("problem", .text(facts.engine.fault)),
                ])
            ),
            JSONMember("refused", .array(refused)),
            JSONMember("requests", .array(requests.map(\.json))),
            JSONMember("problems", .array(problems.map(\.json))),
        ])
    }

    private var enforcementJSON: JSONValue {
        func point(_ state: MachineFacts.PointState) -> JSONValue {
            .object([
                JSONMember("active", state.isActive.map(JSONValue.bool) ?? .null),
                JSONMember("detail", .string(state.detail)),
            ])
        }
        return .object([
            JSONMember("credentialHelper", point(facts.helper)),
            JSONMember("authorizationPlugin", point(facts.plugin)),
            JSONMember("egressProxy", point(facts.proxy)),
        ])
    }

    private var policyJSON: JSONValue {
        let policy = facts.policy.policy
        var source: PolicySource?
        var withheld: WithheldPolicy?
        if case .policy(_, let place) = facts.policy { source = place }
        if case .withheld(let found) = facts.policy { withheld = found }
        return .object([
            JSONMember("state", .string(facts.policy.stateName)),
            JSONMember("organization", .text(policy?.organization ?? facts.enrollment?.organization)),
            JSONMember("policyVersion", .integer(policy?.version)),
            JSONMember("contact", .text(policy?.contact)),
            JSONMember("source", .text(source?.path)),
            JSONMember("server", .text(facts.enrollment?.server.description)),
            JSONMember("issued", .text(source?.organization?.issued?.description)),
            JSONMember("until", .text((source?.organization?.until ?? withheld?.until)?.description)),
            JSONMember("user", .text(source?.organization?.user ?? withheld?.user)),
            JSONMember("rules", .integer(policy?.rules.count)),
            JSONMember("problem", .text(facts.policy.problem)),
        ])
    }
}

extension PolicyInForce {
    /// `enforce`, `audit`, `disabled`, `unmanaged`, `unavailable`, `sign-in-required`, `not-a-member` or `expired`, as
    /// docker-ramd says it.
    var stateName: String {
        switch self {
        case .unmanaged: "unmanaged"
        case .withheld(let withheld): withheld.cause.rawValue
        case .unavailable: "unavailable"
        case .policy(let policy, _): policy.isEnabled ? policy.mode.rawValue : "disabled"
        }
    }
}

extension WithheldPolicy {
    /// What becomes of registries, and why.
    var inWords: String {
        switch cause {
        case .signInRequired: "sign-in is required: every registry is refused"
        case .notAMember: "for members only: every registry is refused"
        case .expired: "expired: every registry is refused"
        }
    }

    /// What to do.
    var hint: String {
        switch cause {
        case .signInRequired: "run: docker ram login"
        case .notAMember: "ask an owner of \(organization) to invite you, or sign in as somebody else"
        case .expired: "see whether this machine reaches \(server), and whether docker-ramd runs"
        }
    }
}

extension CommandContext {
    /// What to do where the policy cannot be read.
    var hintForUnreadablePolicy: String {
        switch Enrollment.read(paths) {
        case .none: "run: docker ram policy validate \(paths.policyFile)"
        case .enrolled(let enrollment):
            "see whether docker-ramd runs, and whether this machine reaches \(enrollment.server)"
        case .faulty: "mend the file, or take this machine out of the organization: docker ram enroll --remove"
        }
    }
}

extension AccessPolicy {
    var stateInWords: String {
        guard isEnabled else { return "switched off: every registry is allowed" }
        return mode == .audit ? "audit mode: refusals are only recorded" : "enforced"
    }

    /// How many rules allow something, and the first of them.
    var allowedInWords: String {
        guard isEnabled else { return "everything" }
        let allowing = rules.filter(\.isAllowed)
        guard !allowing.isEmpty else { return "nothing" }
        let first = allowing.prefix(6).map(\.inWords).joined(separator: ", ")
        let more = allowing.count > 6 ? " and \(allowing.count - 6) more" : ""
        let denying = rules.count - allowing.count
        return first + more + (denying > 0 ? "; \(denying) denied" : "")
    }
}

extension RegistryRule {
    var inWords: String {
        var limits: [String] = []
        if actions.count < RegistryAction.allCases.count { limits.append(actionNames) }
        if !repositories.isEmpty { limits.append("some repositories") }
        return limits.isEmpty ? address.description : "\(address) (\(limits.joined(separator: "; ")))"
    }

    /// The actions in their usual order.
    var actionNames: String {
        RegistryAction.allCases.filter(actions.contains).map(\.rawValue).joined(separator: ", ")
    }
}
