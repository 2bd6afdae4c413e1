import LocalInstallation
import RegistryAccess

/// What is in force on this machine, what enforces it, and what is wrong.
struct MachineStatus {
    let policy: PolicyInForce
    let paths: InstallationPaths
    let policyAge: String?
    let daemon: JSONValue?
    let daemonSilence: String?
    let engine: EngineInfo
    let plugin: PluginState
    let helper: HelperState
    let refused: [JSONValue]
    private(set) var problems: [Problem] = []

    /// Something that is wrong, and a way out.
    struct Problem {
        let text: String
        let hint: String?
    }

    /// Whether the engine asks the authorization plugin; `isAsked` is `nil` where that cannot be known.
    struct PluginState {
        let isAsked: Bool?
        let detail: String
    }

    /// What the developer's `config.json` says.
    struct HelperState {
        /// `nil` if the file cannot be read.
        var isSetUp: Bool?
        var detail: String
        /// Registries that Docker asks another helper for.
        var overriding: [String] = []
        var fault: String?
    }

    init(of context: CommandContext) {
        paths = context.paths
        policy = PolicyInForce.load(context.paths)
        policyAge = (try? Files.status(context.paths.policyFile)).map { status in
            // The fourth number is the time of the last change.
            Timestamp.age(seconds: context.now() - status.identity[3])
        }
        let control = ControlClient(path: context.paths.controlSocket)
        do {
            daemon = try control.status()
            daemonSilence = nil
        } catch {
            daemon = nil
            daemonSilence = "\(error)"
        }
        let recent = daemon == nil ? [] : (try? control.log(limit: 200)) ?? []
        refused = Array(recent.filter { $0.value(named: "verdict")?.text != "allow" }.suffix(3))
        engine = EngineInfo(asking: context)
        plugin = Self.pluginState(engine, before: daemon, after: daemon.flatMap { _ in try? control.status() })
        helper = Self.helperState(of: context)
        problems = findProblems(context)
    }

    /// Whether there is nothing to tell.
    var isUnreadable: Bool {
        guard case .unavailable = policy else { return false }
        return daemon == nil && engine.fault != nil && helper.isSetUp == nil
    }

    /// Judges by whether docker-ramd was asked about our own question to the engine.
    ///
    /// The list in `docker info` is that of the engine's start: measured with 20.10, a plugin that was added or taken
    /// out on SIGHUP does not change it. It decides only where docker-ramd does not answer.
    private static func pluginState(_ engine: EngineInfo, before: JSONValue?, after: JSONValue?) -> PluginState {
        if let fault = engine.fault { return PluginState(isAsked: nil, detail: "unknown: \(fault)") }
        let name = "engine \(engine.version ?? "")"
        func count(_ status: JSONValue?) -> Int? {
            guard case .number(let text) = status?.value(named: "authorizationPlugin")?.value(named: "requests") else {
                return nil
            }
            return Int(text)
        }
        if let before = count(before), let after = count(after) {
            if after > before { return PluginState(isAsked: true, detail: "active: \(name) asks \"docker-ram\"") }
            if engine.namesPlugin {
                let detail = "unknown: \(name) names \"docker-ram\", but this machine's docker-ramd was not asked"
                return PluginState(isAsked: nil, detail: detail)
            }
        } else if engine.namesPlugin {
            return PluginState(isAsked: true, detail: "active: \(name) asks \"docker-ram\"")
        }
        return PluginState(isAsked: false, detail: "not active: \(name) does not ask \"docker-ram\"")
    }

    private static func helperState(of context: CommandContext) -> HelperState {
        guard let directory = context.dockerConfigDirectory else {
            return HelperState(isSetUp: nil, detail: "unknown: there is no home directory", fault: "HOME is not set")
        }
        let config: DockerConfigFile
        do {
            config = try DockerConfigFile(directory: directory)
        } catch {
            return HelperState(isSetUp: nil, detail: "unknown", fault: "\(error)")
        }
        let overriding = config.credentialHelpers.filter { $0.helper != DeveloperSetup.helper }.map(\.registry)
        guard DeveloperSetup.isSetUp(config) else {
            let store = config.credentialStore.map { "credsStore is \"\($0)\"" } ?? "credsStore is not set"
            return HelperState(isSetUp: false, detail: "not active: \(store)", overriding: overriding)
        }
        return HelperState(isSetUp: true, detail: "active: credsStore is \"ram\"", overriding: overriding)
    }

    private func findProblems(_ context: CommandContext) -> [Problem] {
        var problems: [Problem] = []
        if let problem = policy.problem {
            var hint = "run: docker ram policy validate \(paths.policyFile)"
            if case .unavailable = policy { hint = "every registry is refused until then; \(hint)" }
            problems.append(Problem(text: problem, hint: hint))
        }
        if case .unmanaged = policy {
        } else {
            problems += enforcementProblems(context)
        }
        if let fault = helper.fault { problems.append(Problem(text: fault, hint: nil)) }
        if context.environment["DOCKER_AUTH_CONFIG"]?.isEmpty == false {
            problems.append(
                Problem(
                    text: "DOCKER_AUTH_CONFIG is set: Docker takes credentials from it and asks no helper",
                    hint: "unset DOCKER_AUTH_CONFIG"
                )
            )
        }
        if helper.isSetUp == true, !helper.overriding.isEmpty {
            problems.append(
                Problem(
                    text: "\"credHelpers\" in config.json goes before docker-ram for "
                        + helper.overriding.map { "\"\($0)\"" }.joined(separator: ", "),
                    hint: "run: docker ram setup"
                )
            )
        }
        if helper.isSetUp == true,
            ChildProcess.find("docker-credential-ram", environment: context.environment) == nil
        {
            problems.append(
                Problem(
                    text: "docker-credential-ram is not on PATH, so Docker finds no credentials",
                    hint: "add its directory to PATH, or run: docker ram setup --undo"
                )
            )
        }
        return problems
    }

    private func enforcementProblems(_ context: CommandContext) -> [Problem] {
        var problems: [Problem] = []
        if let daemonSilence {
            problems.append(
                Problem(
                    text: daemonSilence,
                    hint: "run as root: systemctl status docker-ramd docker-ramd-control.socket"
                )
            )
        } else if let known = daemon?.value(named: "policy")?.value(named: "policyVersion"), let policy = policy.policy,
            known != .number("\(policy.version)")
        {
            problems.append(Problem(text: "docker-ramd has not taken over policy \(policy.version) yet", hint: nil))
        }
        if plugin.isAsked == false {
            problems.append(
                Problem(
                    text: "the engine does not ask the authorization plugin, so pulls and pushes are not refused",
                    hint: "run as root: docker ram engine enable --reload"
                )
            )
        }
        if helper.isSetUp == false {
            problems.append(Problem(text: "Docker does not ask the credential helper", hint: "run: docker ram setup"))
        }
        return problems
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
            lines += ["", terminal.colored("Lately refused", .bold)]
            lines += TerminalText.table(refused.map { LogLine($0).cells(now: context.now()) }, indentation: "  ")
                .map { TerminalText.printable($0) }
        }
        if !problems.isEmpty { lines += ["", terminal.colored("Problems", .bold)] }
        for problem in problems {
            let words = TerminalText.wrapped(
                TerminalText.printable(problem.text),
                width: terminal.width,
                indentation: 4
            )
            lines.append(terminal.colored("  ! \(words)", .red))
            if let hint = problem.hint {
                lines.append(
                    "    " + TerminalText.wrapped(TerminalText.printable(hint), width: terminal.width, indentation: 4)
                )
            }
        }
        return lines.joined(separator: "\n")
    }

    private func addPolicy(_ add: (String, String) -> Void) {
        switch policy {
        case .unmanaged:
            add("Organization", "none")
            add("Policy", "none: this machine is unmanaged, every registry is allowed")
        case .unavailable:
            add("Organization", "unknown")
            add("Policy", "cannot be read: every registry is refused")
        case .policy(let policy, let source):
            add("Organization", policy.organization + (policy.contact.map { " (contact \($0))" } ?? ""))
            let age = policyAge.map { ", changed \($0)" } ?? ""
            add("Policy", "version \(policy.version), \(policy.stateInWords)\(source.problem == nil ? age : "")")
            add("", source.path)
            add("Allowed", policy.allowedInWords)
        }
    }

    private var points: [(name: String, state: (isActive: Bool?, detail: String))] {
        [
            ("credential helper", (helper.isSetUp, helper.detail)),
            ("authorization plugin", (plugin.isAsked, plugin.detail)),
            ("egress proxy", (false, "not part of this version")),
        ]
    }

    private func daemonLine(now: Int) -> String {
        guard let daemon else { return "docker-ramd does not answer" }
        let version = daemon.value(named: "version")?.text ?? ""
        let started = (daemon.value(named: "startedAt")?.text).flatMap { Timestamp.age($0, now: now) }
        let plugin = daemon.value(named: "authorizationPlugin")
        func count(_ name: String) -> String {
            if case .number(let number) = plugin?.value(named: name) ?? .null { number } else { "0" }
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
            JSONMember(
                "enforcement",
                .object([
                    JSONMember(
                        "credentialHelper",
                        .object([
                            JSONMember("active", helper.isSetUp.map(JSONValue.bool) ?? .null),
                            JSONMember("detail", .string(helper.detail)),
                            JSONMember("overriding", .texts(helper.overriding)),
                        ])
                    ),
                    JSONMember(
                        "authorizationPlugin",
                        .object([
                            JSONMember("active", plugin.isAsked.map(JSONValue.bool) ?? .null),
                            JSONMember("detail", .string(plugin.detail)),
                        ])
                    ),
                    JSONMember(
                        "egressProxy",
                        .object([
                            JSONMember("active", .bool(false)),
                            JSONMember("detail", .string("not part of this version")),
                        ])
                    ),
                ])
            ),
            JSONMember("daemon", daemon ?? .null),
            JSONMember(
                "engine",
                .object([
                    JSONMember("version", .text(engine.version)),
                    JSONMember("authorizationPlugins", .texts(engine.plugins)),
                    JSONMember("problem", .text(engine.fault)),
                ])
            ),
            JSONMember("refused", .array(refused)),
            JSONMember(
                "problems",
                .array(
                    problems.map {
                        .object([JSONMember("text", .string($0.text)), JSONMember("hint", .text($0.hint))])
                    }
                )
            ),
        ])
    }

    private var policyJSON: JSONValue {
        let policy = policy.policy
        var source: String?
        if case .policy(_, let place) = self.policy { source = place.path }
        return .object([
            JSONMember("state", .string(self.policy.stateName)),
            JSONMember("organization", .text(policy?.organization)),
            JSONMember("policyVersion", .integer(policy?.version)),
            JSONMember("contact", .text(policy?.contact)),
            JSONMember("source", .text(source)),
            JSONMember("rules", .integer(policy?.rules.count)),
            JSONMember("problem", .text(self.policy.problem)),
        ])
    }
}

extension PolicyInForce {
    /// `enforce`, `audit`, `disabled`, `unmanaged` or `unavailable`, as docker-ramd says it.
    var stateName: String {
        switch self {
        case .unmanaged: "unmanaged"
        case .unavailable: "unavailable"
        case .policy(let policy, _): policy.isEnabled ? policy.mode.rawValue : "disabled"
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
