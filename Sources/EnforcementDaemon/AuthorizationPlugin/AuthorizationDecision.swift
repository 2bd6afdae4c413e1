import LocalInstallation
import RegistryAccess

/// What the policy says to one call of the engine: the answer, and what the decision log will hold of it.
///
/// The decision is a function of its arguments; whatever cannot be read is refused.
struct AuthorizationDecision: Sendable, Hashable {
    /// The name that the plugin has in Docker's settings.
    static let pluginName = "docker-ram"
    /// How many contacts of one call are recorded, refused ones first; a build can name any number of images.
    static let mostRecords = 64

    /// What the engine is answered.
    let answer: PluginAnswer
    /// When.
    let time: UTCTime
    /// One for each contact with a registry; none if the request touches no registry.
    let records: [DecisionRecord]

    /// Decides about the body of an `AuthZReq` call.
    ///
    /// - Parameters:
    ///   - call: the body, or why there is none to look at.
    ///   - engine: the version of the engine, if it is known; without it the engine is taken for the newest.
    ///   - policy: the policy in force.
    ///   - servers: where the organization's own server is; people may sign in there whatever the policy says.
    ///   - builderProxy: what BuildKit containers have to go through; without it none does.
    ///   - id: the decision's name.
    ///   - time: when.
    init(
        onCall call: Result<[UInt8], MalformedCall>,
        from engine: EngineVersion?,
        under policy: PolicyInForce,
        servers: [ServerURL] = [],
        builderProxy: BuilderProxy? = nil,
        id: DecisionID,
        at time: UTCTime
    ) {
        let request: PluginCall
        do throws(MalformedCall) {
            request = try PluginCall(json: call.get())
        } catch {
            // No policy lets this pass: nobody knows what it would let pass.
            self.init(refusing: .notInspected, as: .notInspected("\(error)"), under: policy, id, time)
            return
        }
        var engineRequest = EngineRequest(
            method: request.method,
            target: request.target,
            headers: request.headers,
            body: request.body
        )
        engineRequest.trustsContentLength = engine.map { !$0.servesHTTP2 } ?? false
        // Where it makes no difference, a container whose description cannot be read is none of our business.
        engineRequest.looksForBuilders = policy.policy.map { $0.isEnabled && $0.unmanagedBuilders == .deny } ?? false
        let reading = engineRequest.reading(ownPluginName: Self.pluginName)
        self.init(on: reading, under: policy, servers: servers, builderProxy: builderProxy, id: id, at: time)
    }

    /// Decides about what a request to the engine would do.
    init(
        on reading: EngineRequest.Reading,
        under policy: PolicyInForce,
        servers: [ServerURL],
        builderProxy: BuilderProxy?,
        id: DecisionID,
        at time: UTCTime
    ) {
        switch reading {
        case .nothing:
            self.init(answer: .allow, time: time, records: [])
        case .ownPlugin:
            self.init(refusing: .ownPlugin, as: .ownPlugin, under: policy, id, time)
        case .builder(let container) where builderProxy?.isUsed(by: container) == true:
            self.init(answer: .allow, time: time, records: [])
        case .builder(let container):
            let verdict = policy.verdict(refusing: .unmanagedBuilder)
            self.init([(nil, verdict)], refusing: .unmanagedBuilder(container.subject), under: policy, id, time)
        case .notInspected(let obstacle):
            let isAcceptedImport = obstacle == .importFromStream && policy.policy?.imports == .allow
            let verdict = isAcceptedImport ? Verdict(.allow, .importsAllowed) : policy.verdict(refusing: .notInspected)
            let subject = policy.refusalOfEverything ?? .notInspected("\(obstacle)")
            self.init([(nil, verdict)], refusing: subject, under: policy, id, time)
        case .accesses(let contacts):
            let verdicts = contacts.map { contact in
                let isSignIn =
                    contact.access.action == .login && servers.contains { $0.target.address == contact.access.address }
                let verdict = isSignIn ? Verdict(.allow, .organizationServer) : policy.verdict(on: contact.access)
                return (Optional(contact), verdict)
            }
            self.init(verdicts, refusing: nil, under: policy, id, time)
        }
    }

    /// Refuses under every policy.
    private init(
        refusing reason: Verdict.Reason,
        as subject: Refusal.Subject,
        under policy: PolicyInForce,
        _ id: DecisionID,
        _ time: UTCTime
    ) {
        self.init([(nil, Verdict(.deny, reason))], refusing: subject, under: policy, id, time)
    }

    private init(
        _ verdicts: [(contact: RegistryContact?, verdict: Verdict)],
        refusing subject: Refusal.Subject?,
        under policy: PolicyInForce,
        _ id: DecisionID,
        _ time: UTCTime
    ) {
        let refused = verdicts.first { !$0.verdict.isAllowed }
        if let refused {
            let subject = subject ?? Self.subject(refused.contact, refused.verdict, policy)
            answer = .refuse(policy.refusal(of: subject, id: id).sentence)
        } else {
            answer = .allow
        }
        self.time = time
        let allowed = verdicts.filter { $0.verdict.outcome == .allow }
        let others = verdicts.filter { $0.verdict.outcome != .allow }
        var obstacle: String?
        if case .notInspected(let text) = subject { obstacle = text }
        var builder: String?
        if case .unmanagedBuilder(let name) = subject { builder = name }
        records = (others + allowed).prefix(Self.mostRecords).map { contact, verdict in
            DecisionRecord(
                id: id,
                time: time.description,
                point: .authorizationPlugin,
                request: contact?.access,
                image: contact?.subject ?? builder,
                verdict: verdict,
                policy: policy.policy,
                obstacle: verdict.reason == .notInspected ? obstacle : nil
            )
        }
    }

    private init(answer: PluginAnswer, time: UTCTime, records: [DecisionRecord]) {
        self.answer = answer
        self.time = time
        self.records = records
    }

    private static func subject(
        _ contact: RegistryContact?,
        _ verdict: Verdict,
        _ policy: PolicyInForce
    ) -> Refusal.Subject {
        if let subject = policy.refusalOfEverything { return subject }
        guard let contact else { return .policyUnavailable }
        return .registry(contact.access.address, verdict.reason)
    }
}
