import ArgumentParser
import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess

/// `docker ram request REGISTRY`: asks the organization to allow a registry; alone, what was asked for; with `--withdraw`,
/// takes that back.
struct Request: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "request",
        abstract: "Ask your organization to allow a registry",
        discussion: """
            Names a registry as a refusal does, or an image that is there. The answer comes to docker ram status. \
            Without a registry it lists what was asked for, and with --withdraw it takes the request of this number back.

            Example: docker ram request ghcr.io --reason "base images of acme/api"
            """
    )

    @Argument(help: "A registry like ghcr.io or r.test:5000, or an image")
    var registry: String?

    @Option(help: ArgumentHelp("Why it is needed", valueName: "text"))
    var reason: String?

    @Flag(help: "To push there as well")
    var push = false

    @Option(help: ArgumentHelp("Take this request back instead", valueName: "number"))
    var withdraw: Int?

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard registry != nil || (reason == nil && !push) else {
            throw ValidationError("--reason and --push go with a registry")
        }
        if let withdraw {
            guard registry == nil else {
                throw ValidationError("--withdraw takes the number of a request, and no registry")
            }
            guard withdraw >= 1 else {
                throw ValidationError("requests have numbers from 1 on; see: docker ram request")
            }
        }
        if let reason, !Self.isReason(reason) { throw ValidationError(Self.noReason) }
    }

    private static let longestReason = 500
    private static let noReason =
        "a reason has at most \(longestReason) characters on one line, none of them a control character"

    /// Whether the server takes a text for a reason: people are shown it.
    private static func isReason(_ text: String) -> Bool {
        text.unicodeScalars.count <= longestReason && !text.unicodeScalars.contains(where: \.isHidden)
    }

    func run(in context: CommandContext) throws {
        if let withdraw { return try takeBack(withdraw, context) }
        guard let registry else { return try list(context) }
        let (address, reference) = try Self.address(of: registry)
        let action = push ? RegistryAction.push : .pull
        if let rule = rule(allowing: action, address, reference, context) {
            return context.show(AllowedAlready(registry: address, rule: rule, action: action), as: common.format)
        }
        let members = [
            JSONMember("request", .string("request")), JSONMember("registry", .string(address.description)),
            JSONMember("action", .string(action.rawValue)),
            JSONMember("reason", .string(try reason ?? askForReason(context))),
        ]
        var result: Requested?
        try context.askDaemon(.object(members), patience: 90_000) { line in
            guard let request = line.value(named: "requested").flatMap({ RegistryRequest($0) }) else { return }
            result = Requested(request: request, organization: line.value(named: "organization")?.text ?? "")
        }
        guard let result else { throw Failure("docker-ramd ended the conversation; see: docker ram request") }
        context.show(result, as: common.format)
    }

    private func takeBack(_ number: Int, _ context: CommandContext) throws {
        let members = [JSONMember("request", .string("withdraw")), JSONMember("number", .number("\(number)"))]
        var result: Withdrawn?
        try context.askDaemon(.object(members), patience: 90_000) { line in
            guard let request = line.value(named: "withdrawn").flatMap({ RegistryRequest($0) }) else { return }
            result = Withdrawn(request: request)
        }
        guard let result else { throw Failure("docker-ramd ended the conversation; see: docker ram request") }
        context.show(result, as: common.format)
    }

    private func list(_ context: CommandContext) throws {
        var requests: [RegistryRequest]?
        try context.askDaemon(.object([JSONMember("request", .string("requests"))]), patience: 2000) { line in
            requests = line.value(named: "requests")?.elements?.compactMap { RegistryRequest($0) }
        }
        guard let requests else { throw Failure("docker-ramd does not say what was asked for") }
        context.show(RequestList(requests: requests), as: common.format)
    }

    /// The registry that is meant: what refusals name, or that of an image.
    ///
    /// - Parameter text: what was typed.
    /// - Returns: the registry, and the image, if it is one.
    /// - Throws: ``Failure`` if it is neither.
    static func address(of text: String) throws(Failure) -> (RegistryAddress, ImageReference?) {
        do throws(InvalidImageReference) {
            let named = try NamedRegistry(text)
            return (named.address, named.image)
        } catch {
            throw Failure(
                "\"\(text)\" is neither a registry nor an image: \(error)",
                hints: ["write host or host:port, like ghcr.io, or an image as for docker pull"]
            )
        }
    }

    /// The rule of the policy in force that allows it already, all of it as far as is known.
    private func rule(
        allowing action: RegistryAction,
        _ address: RegistryAddress,
        _ reference: ImageReference?,
        _ context: CommandContext
    ) -> RegistryRule? {
        guard case .policy(let policy, _) = context.policyInForce, policy.isEnabled else { return nil }
        let verdict = policy.verdict(on: AccessRequest(action, address, repository: reference?.repository))
        guard verdict.outcome == .allow, let index = verdict.rule, policy.rules.indices.contains(index) else {
            return nil
        }
        let rule = policy.rules[index]
        return rule.repositories.isEmpty || reference != nil ? rule : nil
    }

    private func askForReason(_ context: CommandContext) throws -> String {
        guard isatty(STDIN_FILENO) == 1 else { return "" }
        context.errors.write("Reason: ")
        let reason = context.readLine() ?? ""
        guard Self.isReason(reason) else { throw Failure(Self.noReason) }
        return reason
    }
}

private struct Requested: CommandResult {
    let request: RegistryRequest
    let organization: String

    func text(for context: CommandContext) -> String {
        let what = request.action == .push ? "pushing to \(request.registry)" : "\(request.registry)"
        return TerminalText.printable(
            "\(organization) has your request \(request.number) for \(what). The answer comes to: docker ram status"
        )
    }

    var json: JSONValue { request.json }
}

private struct Withdrawn: CommandResult {
    let request: RegistryRequest

    func text(for context: CommandContext) -> String {
        TerminalText.printable("request \(request.number) for \(request.registry) is taken back")
    }

    var json: JSONValue { request.json }
}

private struct AllowedAlready: CommandResult {
    let registry: RegistryAddress
    let rule: RegistryRule
    let action: RegistryAction

    func text(for context: CommandContext) -> String {
        let more = action == .pull ? " To push, add --push." : ""
        return "\(registry) is allowed already, by the rule for \(rule.address); nothing was asked.\(more)"
    }

    var json: JSONValue {
        .object([
            JSONMember("registry", .string(registry.description)), JSONMember("action", .string(action.rawValue)),
            JSONMember("state", .string(RegistryRequest.State.allowed.rawValue)),
            JSONMember("rule", .string(rule.address.description)),
        ])
    }
}

private struct RequestList: CommandResult {
    let requests: [RegistryRequest]

    func text(for context: CommandContext) -> String {
        guard !requests.isEmpty else { return "nothing was asked for" }
        let rows = requests.map { request in
            let age = Timestamp.age(request.made.description, now: context.now()) ?? "-"
            return [
                "\(request.number)", request.registry.description, request.action.rawValue, request.stateInWords,
                request.user ?? "-", age, request.word.isEmpty ? "-" : request.word,
            ].map(TerminalText.printable)
        }
        return TerminalText.table([["NUMBER", "REGISTRY", "FOR", "STATE", "BY", "MADE", "ANSWER"]] + rows)
            .joined(separator: "\n")
    }

    var json: JSONValue { .array(requests.map(\.json)) }
}

extension RegistryRequest {
    /// What became of it, with its end.
    var stateInWords: String {
        switch (state, until) {
        case (.allowed, let until?): "allowed until \(until)"
        case (.ended, let until?): "ended at \(until)"
        default: state.rawValue
        }
    }

    /// For how many seconds an answer is news.
    private static let newsSeconds: Int64 = 14 * 86_400

    /// Whether it is open, or something has come of it lately.
    ///
    /// - Parameter now: the time.
    /// - Returns: whether `status` shows it.
    func isNews(at now: Instant) -> Bool {
        switch state {
        case .open: true
        case .withdrawn: false
        case .allowed, .declined: answered.map { now - $0 < Self.newsSeconds } ?? false
        case .ended: (until ?? answered).map { now - $0 < Self.newsSeconds } ?? false
        }
    }
}

extension [RegistryRequest] {
    /// On one line or two what was asked for, and the answers.
    var inWords: String {
        let most = 3
        let shown = prefix(most).map { request in
            let action = request.action == .push ? " (push)" : ""
            let state = request.state == .open ? "no answer yet" : request.stateInWords
            let by = request.answeredBy.map { " by \($0)" } ?? ""
            let word = request.word.isEmpty ? "" : ": \"\(request.word)\""
            return "\(request.registry)\(action) \(state)\(by)\(word)"
        }
        return shown.joined(separator: "; ") + (count > most ? "; \(count - most) more: docker ram request" : "")
    }
}
