import GRDB
import HTTPTypes
import RegistryAccess
import SignedPolicy

/// How an owner allows what was asked for.
struct RequestAnswer: Sendable {
    /// Which addresses are allowed.
    var address: AddressPattern
    var actions: Set<RegistryAction>
    /// Which repositories; empty means all.
    var repositories: [RepositoryPattern] = []
    /// When it ends; `nil`: it does not.
    var until: Instant?
    /// What is said to who asked.
    var word = ""
    /// Whether a pattern over a shared service is meant so.
    var acknowledgesBroad = false
    /// Whether a policy is meant that denies the server itself, as the one in force may do already.
    var acknowledgesLockOut = false
    /// The version of the policy that the owner has seen; `nil` if they do not care.
    var version: Int?

    /// What was asked for, and nothing more.
    init(to request: RegistryRequest) { self.init(request.registry, request.actions) }

    fileprivate init(_ registry: RegistryAddress, _ actions: Set<RegistryAction>) {
        address = AddressPattern(exactly: registry)
        self.actions = actions
    }

    /// The rule that is added to the policy.
    var rule: RegistryRule {
        RegistryRule(
            address: address,
            isAllowed: true,
            actions: actions,
            repositories: repositories,
            isBroadAcknowledged: acknowledgesBroad
        )
    }

    /// The farthest end: ten years.
    private static let longest: Int64 = 3653 * 86_400

    /// Whether something can be allowed until a time.
    static func isEnd(_ time: Instant, at now: Instant) -> Bool { time > now && time - now <= longest }
}

/// What came of an answer.
struct AnsweredRequest: Sendable {
    let request: RegistryRequest
    /// The version of the policy that was made; `nil` if the registry was allowed already.
    let saved: Publisher.Result?
}

/// The registry is allowed already, by this rule.
private struct AllowedAlready: Error {
    let rule: RegistryRule
    /// The team of who asks that has it; `nil`: it is for everybody.
    var team: String?

    /// Which rule it is, for refusals.
    var words: String { "\"\(rule.address)\"" + (team.map { " of team \"\($0)\"" } ?? "") }
}

extension [RegistryRule] {
    /// The rule that denies what an answer would allow, so that the answer would have no effect.
    ///
    /// - Parameters:
    ///   - answer: the answer.
    ///   - registry: what was asked for.
    /// - Returns: the index of the rule; `nil` if there is none.
    fileprivate func denial(of answer: RequestAnswer, for registry: RegistryAddress) -> Int? {
        firstIndex { rule in
            guard !rule.isAllowed, rule.address.matches(registry), !rule.actions.isDisjoint(with: answer.actions) else {
                return false
            }
            return rule.repositories.isEmpty
                || (!answer.repositories.isEmpty && Set(answer.repositories).isSubset(of: rule.repositories))
        }
    }

    /// The rule that allows all that an answer would allow.
    fileprivate func allowance(of answer: RequestAnswer, for registry: RegistryAddress) -> RegistryRule? {
        let isExact = answer.address == AddressPattern(exactly: registry)
        return first { rule in
            guard rule.isAllowed, isExact ? rule.address.matches(registry) : rule.address == answer.address,
                answer.actions.isSubset(of: rule.actions)
            else { return false }
            return rule.repositories.isEmpty
                || (!answer.repositories.isEmpty && Set(answer.repositories).isSubset(of: rule.repositories))
        }
    }
}

extension PolicyContent {
    /// Makes sure that an answer has an effect for who asks.
    ///
    /// - Parameters:
    ///   - answer: the answer.
    ///   - registry: what was asked for.
    ///   - teams: the teams of who asks.
    /// - Throws: ``Problem`` if what everybody or a team of theirs has denies it, for deny wins; ``AllowedAlready``.
    fileprivate func check(_ answer: RequestAnswer, for registry: RegistryAddress, of teams: [String]) throws {
        let places = places(of: teams)
        for (team, rules) in places {
            guard let index = rules.denial(of: answer, for: registry) else { continue }
            let place = team.map { " of team \"\($0)\"" } ?? ""
            throw Problem(
                .conflict,
                .conflict,
                "registry \(index + 1)\(place), \"\(rules[index].address)\", denies \"\(registry)\", and deny wins",
                hint: "change that entry first, or decline the request with a word"
            )
        }
        if let already = places.allowance(of: answer, for: registry) { throw already }
    }

    /// What everybody has, and what teams have in addition.
    fileprivate func places(of teams: [String]) -> [Place] {
        [(nil, policy.rules)] + teams.map { ($0, self.teams[$0] ?? []) }
    }

    fileprivate typealias Place = (team: String?, rules: [RegistryRule])
}

extension [PolicyContent.Place] {
    /// The rule that allows already what an answer would allow.
    fileprivate func allowance(of answer: RequestAnswer, for registry: RegistryAddress) -> AllowedAlready? {
        for (team, rules) in self {
            if let rule = rules.allowance(of: answer, for: registry) { return AllowedAlready(rule: rule, team: team) }
        }
        return nil
    }
}

extension Services {
    /// Makes sure that what somebody asks for is not allowed them already: what is allowed is not asked for.
    ///
    /// - Parameters:
    ///   - registry: what they ask for.
    ///   - action: to pull, or to push as well.
    ///   - user: who asks.
    ///   - organization: whom.
    /// - Throws: ``Problem`` 409 if the policy in force allows it everybody, or a team of theirs, and denies it nowhere.
    func checkIsRefused(
        _ registry: RegistryAddress,
        _ action: RegistryAction,
        to user: String,
        in organization: String
    ) async throws {
        guard let inForce = try await publisher.served.policy(of: organization), inForce.policy.isEnabled else {
            return
        }
        let teams = try await store.teamNames(of: organization, with: user)
        let places = PolicyContent(inForce).places(of: teams)
        let answer = RequestAnswer(registry, RegistryRequest.actions(of: action))
        guard places.allSatisfy({ $0.rules.denial(of: answer, for: registry) == nil }),
            let already = places.allowance(of: answer, for: registry)
        else { return }
        let end = already.team == nil ? try await ends(in: organization)[already.rule] : nil
        throw Problem(
            .conflict,
            .conflict,
            "\"\(registry)\" is allowed already, by \(already.words)"
                + (end.map { ", until \(Dashboard.end($0))" } ?? ""),
            hint: "on a machine that refuses it all the same, docker ram check \(registry) says why"
        )
    }

    /// Allows what was asked for: saves a version of the policy that has the rule, at once.
    ///
    /// - Parameters:
    ///   - number: which request.
    ///   - organization: where.
    ///   - answer: how.
    ///   - actor: who answers.
    /// - Returns: what came of it.
    /// - Throws: ``Problem``, among others if a rule denies the registry, for then one that allows it has no effect.
    func allow(_ number: Int, in organization: String, _ answer: RequestAnswer, by actor: String) async throws
        -> AnsweredRequest
    {
        let request = try await store.request(number, of: organization)
        guard request.state == .open else { throw Problem.answered(request) }
        let now = now()
        try check(answer, to: request, at: now)
        var teams: [String] = []
        if let user = request.user { teams = try await store.teamNames(of: organization, with: user) }
        let rule = answer.rule
        let document = rule.document.text()
        let written = Store.WrittenAnswer(
            state: .allowed,
            word: answer.word,
            actor: actor,
            until: answer.until,
            rule: document
        )
        do {
            let result = try await publisher.publish(
                in: organization,
                by: actor,
                comment: "request \(number) of \(request.asker): \(request.registry)",
                expecting: answer.version,
                acknowledgingLockOut: answer.acknowledgesLockOut,
                alongside: { database in
                    var written = written
                    written.policyVersion = try Store.newestPolicyVersion(of: organization, database)
                    try Store.write(written, to: number, in: organization, at: now, database)
                }
            ) { content in
                var content = content
                try content.check(answer, for: request.registry, of: teams)
                content.policy = content.policy.with(rules: content.policy.rules + [rule])
                return content
            }
            return AnsweredRequest(request: try await store.request(number, of: organization), saved: result)
        } catch let already as AllowedAlready {
            return try await noteAllowed(request, already, answer, actor, organization)
        }
    }

    /// Answers a request for what is allowed already.
    private func noteAllowed(
        _ request: RegistryRequest,
        _ already: AllowedAlready,
        _ answer: RequestAnswer,
        _ actor: String,
        _ organization: String
    ) async throws -> AnsweredRequest {
        guard answer.until == nil else {
            throw Problem(
                .conflict,
                .conflict,
                "\"\(request.registry)\" is allowed already, by \(already.words), and that entry does not end",
                hint: "allow it without a date, or change that entry"
            )
        }
        let now = now()
        let document = already.rule.document.text()
        try await store.database.write { database in
            let written = Store.WrittenAnswer(
                state: .allowed,
                word: answer.word,
                actor: actor,
                // With the entry of another request it ends when that does; those are for everybody.
                until: already.team == nil
                    ? try Store.end(ofRule: document, in: organization, database).flatMap { $0 > now ? $0 : nil } : nil,
                policyVersion: try Store.newestPolicyVersion(of: organization, database),
                // Others who ask may not be in the team.
                isForAll: already.team == nil
            )
            try Store.write(written, to: request.number, in: organization, at: now, database)
        }
        await changes.notify(organization)
        return AnsweredRequest(request: try await store.request(request.number, of: organization), saved: nil)
    }

    /// What an answer must be, whatever the policy says.
    private func check(_ answer: RequestAnswer, to request: RegistryRequest, at now: Instant) throws(Problem) {
        guard answer.address.matches(request.registry) else {
            throw Problem(
                .unprocessableContent,
                .faulty,
                "\"\(answer.address)\" does not speak of \"\(request.registry)\", which was asked for"
            )
        }
        guard request.actions.isSubset(of: answer.actions) else {
            throw Problem(
                .unprocessableContent,
                .faulty,
                "the request is to \(request.action.rawValue), which the answer does not allow",
                hint: "decline it with a word if that is not wanted"
            )
        }
        if let until = answer.until, !RequestAnswer.isEnd(until, at: now) {
            throw Problem(.unprocessableContent, .faulty, "\"until\" must be a time to come, in ten years at most")
        }
        guard RegistryRequest.isText(answer.word) else { throw Problem.badText("word") }
        if let reason = answer.rule.unacknowledgedBroadPattern {
            throw Problem(
                .unprocessableContent,
                .faulty,
                reason,
                hint: "make it narrower; if it is meant, say \"acknowledgeBroad\""
            )
        }
    }

    /// Declines what was asked for.
    ///
    /// - Parameters:
    ///   - number: which request.
    ///   - organization: where.
    ///   - word: what is said to who asked.
    ///   - actor: who answers.
    /// - Returns: the request.
    /// - Throws: ``Problem``, or what SQLite says.
    func decline(_ number: Int, in organization: String, word: String, by actor: String) async throws
        -> RegistryRequest
    {
        guard RegistryRequest.isText(word) else { throw Problem.badText("word") }
        let written = Store.WrittenAnswer(state: .declined, word: word, actor: actor)
        return try await answer(number, in: organization, written)
    }

    /// Takes a request back.
    ///
    /// - Parameters:
    ///   - number: which request.
    ///   - organization: where.
    ///   - asker: who asked; a device speaks for who is signed in there, and for itself where nobody was.
    /// - Returns: the request.
    /// - Throws: ``Problem`` 404 also if it is somebody else's, or what SQLite says.
    func withdraw(_ number: Int, in organization: String, by asker: Asker) async throws -> RegistryRequest {
        let request = try await store.request(number, of: organization)
        let isTheirs =
            switch asker {
            case .person(let name): request.user == name
            case .device(let id):
                if let user = request.user {
                    try await store.user(on: id, in: organization) == user
                } else {
                    request.device == id
                }
            }
        guard isTheirs else { throw Problem.noRequest }
        return try await answer(number, in: organization, Store.WrittenAnswer(state: .withdrawn, actor: request.asker))
    }

    private func answer(_ number: Int, in organization: String, _ written: Store.WrittenAnswer) async throws
        -> RegistryRequest
    {
        let now = now()
        _ = try await store.database.write { database in
            try Store.write(written, to: number, in: organization, at: now, database)
        }
        await changes.notify(organization)
        return try await store.request(number, of: organization)
    }

    // MARK: - The end

    /// Takes out of policies what was allowed until a time that has come.
    ///
    /// - Returns: the requests that could not be ended, and why; they are tried again.
    /// - Throws: what SQLite says.
    func endRequests() async throws -> [(number: Int, organization: String, error: any Error)] {
        var failures: [(number: Int, organization: String, error: any Error)] = []
        for (organization, request) in try await store.requestsToEnd(at: now()) {
            do {
                try await end(request, in: organization)
            } catch {
                failures.append((request.number, organization, error))
            }
        }
        return failures
    }

    private func end(_ request: RegistryRequest, in organization: String) async throws {
        let now = now()
        let number = request.number
        guard let document = request.rule, let rule = Self.rule(document) else {
            return try await endWithout(number, in: organization, [], at: now)
        }
        let result = try await publisher.publish(
            in: organization,
            by: Names.system,
            comment: "request \(number) of \(request.asker) has ended: \(request.registry)",
            // What is taken out allows, so it locks nobody out who was not before.
            acknowledgingLockOut: true,
            alongside: { database in
                let version = try Store.newestPolicyVersion(of: organization, database)
                try Store.endRequest(
                    number,
                    in: organization,
                    [JSONMember("version", .integer(version))],
                    at: now,
                    database
                )
            }
        ) { content in
            var content = content
            var rules = content.policy.rules
            if let index = rules.lastIndex(of: rule) { rules.remove(at: index) }
            content.policy = content.policy.with(rules: rules)
            return content
        }
        guard !result.isNew else { return }
        // Somebody has changed it or taken it out: what they meant stays.
        try await endWithout(number, in: organization, [JSONMember("left", .string("the entry was changed"))], at: now)
    }

    private func endWithout(
        _ number: Int,
        in organization: String,
        _ more: [JSONMember],
        at now: Instant
    ) async throws {
        try await store.database.write { database in
            try Store.endRequest(number, in: organization, more, at: now, database)
        }
        await changes.notify(organization)
    }

    /// Until when entries of the policy for everybody are allowed; an entry that is changed is another one, and stays.
    ///
    /// - Parameter organization: whose policy.
    /// - Returns: the times by the entries, of which there are few.
    /// - Throws: what SQLite says.
    func ends(in organization: String) async throws -> [RegistryRule: Instant] {
        let ends = try await store.ends(in: organization).compactMap { rule, until in
            Self.rule(rule).map { ($0, until) }
        }
        return Dictionary(ends, uniquingKeysWith: max)
    }

    /// A rule as a policy document has it.
    static func rule(_ document: String) -> RegistryRule? {
        do throws(InvalidJSON) {
            var scanner = JSONScanner(Array("[\(document)]".utf8), limits: StrictJSON.Limits())
            return try PolicyReader.rules(&scanner).first
        } catch {
            return nil
        }
    }
}

extension Problem {
    /// A request that is not there, or is not for whoever asks to see.
    static var noRequest: Problem { Problem(.notFound, .notFound, "there is no such request") }

    /// A text that cannot be shown to people.
    static func badText(_ name: String) -> Problem {
        Problem(
            .badRequest,
            .badRequest,
            "\"\(name)\" must be at most \(RegistryRequest.longestText) characters on one line, none of them a "
                + "control character"
        )
    }
}
