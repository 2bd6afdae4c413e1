import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// The policy, its draft, its versions and what teams have in addition.
    ///
    /// Whoever saves names the version that they have seen, in `If-Match`; if it is not the newest, nothing is written.
    func addPolicyRoutes(_ services: Services) {
        let organization = group("v1/organizations/:organization")
        organization.get("policy") { request, context in try await show(request, context, services) }
        organization.put("policy") { request, context in try await save(request, context, services) }
        organization.get("policy/draft") { _, context in
            let (_, organization) = try context.authorize(.editPolicy)
            let (draft, number) = try await services.store.policyDraft(of: organization)
            guard let draft else { throw noDraft(number) }
            return try draft.json.numbered(number)
        }
        organization.put("policy/draft") { request, context in try await writeDraft(request, context, services) }
        organization.delete("policy/draft") { request, context in
            let (person, organization) = try context.authorize(.editPolicy)
            let seen = try requireMatch(request)
            let there = try await services.store.policyDraft(of: organization)
            guard there.draft != nil else { throw noDraft(there.number) }
            let number = try await services.store.writeDraft(
                nil,
                of: organization,
                expecting: seen,
                basedOn: 0,
                by: person.name,
                at: services.now()
            )
            guard number != nil else { throw draftChanged(there) }
            return HTTPResponse.Status.noContent
        }
        organization.post("policy/draft/save") { request, context in try await saveDraft(request, context, services) }
        organization.get("policy/versions") { request, context in
            let (_, organization) = try context.authorize(.readPolicy)
            let limit = try request.limit(most: 200)
            let before = try request.queryNumber("before")
            let versions = try await services.store.policyVersions(of: organization, before: before, atMost: limit)
            let next = versions.count == limit ? versions.last?.version : nil
            return JSONAnswer(
                value: .object([
                    JSONMember("versions", .array(versions.map { $0.json(withDifference: false) })),
                    JSONMember("next", .integer(next)),
                ])
            )
        }
        organization.get("policy/versions/:version") { _, context in
            let (_, organization) = try context.authorize(.readPolicy)
            guard let number = WholeNumber.read(try context.parameters.require("version")), number >= 1,
                let version = try await services.store.policyVersions(of: organization, before: number + 1, atMost: 1)
                    .first, version.version == number,
                let document = try await services.store.policyDocument(number, of: organization)
            else { throw Problem(.notFound, .notFound, "there is no such version of the policy") }
            let renames = try await services.store.teamRenames(since: number, in: organization)
            return JSONAnswer(
                value: .object(
                    (version.json(withDifference: true).members ?? []) + [
                        JSONMember("policy", document.policy.document),
                        JSONMember("teams", teams(document.teams)),
                        JSONMember("renamedTeams", .array(renames.map(\.json))),
                    ]
                )
            )
        }
        organization.post("policy/rollback") { request, context in try await rollBack(request, context, services) }
        organization.get("teams/:team/policy") { _, context in
            let (_, organization) = try context.authorize(.readPolicy)
            let team = try await team(context, organization, services)
            let document = try await newest(organization, services)
            return try team.json(document.teams[team.name] ?? []).numbered(document.version)
        }
        organization.put("teams/:team/policy") { request, context in
            try await saveTeam(request, context, services)
        }
    }
}

/// The longest policy that a request may bring.
private let longestPolicy = 64 << 20

// MARK: - The policy

/// The policy document as it is; or, as Docker's own service keeps it, with what is lost in it.
private func show(_ request: Request, _ context: ServerContext, _ services: Services) async throws -> Response {
    let (_, organization) = try context.authorize(.readPolicy)
    let document = try await newest(organization, services)
    switch try PolicyFormat(of: request) {
    case .own: return try document.policy.document.numbered(document.version)
    case .docker:
        let (exported, losses) = DockerRegistryAccess.export(document.policy)
        return try JSONValue.object([JSONMember("document", exported), JSONMember("losses", .texts(losses))])
            .numbered(document.version)
    }
}

private func save(_ request: Request, _ context: ServerContext, _ services: Services) async throws -> Response {
    let (person, organization) = try context.authorize(.editPolicy)
    let seen = try requireMatch(request)
    let options = try SaveOptions(query: request)
    let given = try await GivenPolicy(request, organization)
    let result = try await services.publisher.publish(
        in: organization,
        by: person.name,
        comment: options.comment,
        expecting: seen,
        acknowledgingLockOut: options.acknowledgesLockOut
    ) { content in PolicyContent(policy: given.policy(after: content), teams: content.teams) }
    return try result.answer()
}

private func rollBack(_ request: Request, _ context: ServerContext, _ services: Services) async throws -> Response {
    let (person, organization) = try context.authorize(.editPolicy)
    let seen = try EntityTag.number(ifMatchOf: request)
    let options = try await SaveOptions(body: request, numbers: ["version"])
    guard let version = options.numbers["version"],
        let document = try await services.store.policyDocument(version, of: organization)
    else { throw Problem(.notFound, .notFound, "\"version\" must name a version of the policy") }
    let result = try await services.publisher.rollBack(
        to: document,
        in: organization,
        by: person.name,
        comment: options.comment,
        expecting: seen,
        acknowledgingLockOut: options.acknowledgesLockOut
    )
    return try result.answer()
}

// MARK: - The draft

private func writeDraft(_ request: Request, _ context: ServerContext, _ services: Services) async throws -> Response {
    let (person, organization) = try context.authorize(.editPolicy)
    let seen = try requireMatch(request)
    let given = try await GivenPolicy(request, organization)
    let newest = try await newest(organization, services)
    let policy = given.policy(after: PolicyContent(newest))
    let number = try await services.store.writeDraft(
        Array(policy.document.text().utf8),
        of: organization,
        expecting: seen,
        basedOn: newest.version,
        by: person.name,
        at: services.now()
    )
    let there = try await services.store.policyDraft(of: organization)
    guard let number else { throw draftChanged(there) }
    return try JSONValue.object([
        JSONMember("number", .number("\(number)")), JSONMember("warnings", policy.warningsInJSON),
    ]).numbered(number)
}

private func saveDraft(_ request: Request, _ context: ServerContext, _ services: Services) async throws -> Response {
    let (person, organization) = try context.authorize(.editPolicy)
    let options = try await SaveOptions(body: request, numbers: ["draft", "policy"])
    guard let seenDraft = options.numbers["draft"], let seenPolicy = options.numbers["policy"] else {
        throw Problem(
            .badRequest,
            .badRequest,
            "\"draft\" and \"policy\" must be there: the numbers of the draft and the policy that you have seen"
        )
    }
    let there = try await services.store.policyDraft(of: organization)
    guard let draft = there.draft else { throw noDraft(there.number) }
    guard draft.number == seenDraft else { throw draftChanged(there) }
    let result = try await services.saveDraft(
        of: organization,
        seen: seenDraft,
        after: seenPolicy,
        comment: options.comment,
        acknowledgingLockOut: options.acknowledgesLockOut,
        by: person.name
    )
    guard let result else { throw draftChanged(try await services.store.policyDraft(of: organization)) }
    return try result.answer()
}

private func noDraft(_ number: Int) -> Problem {
    var problem = Problem(
        .notFound,
        .notFound,
        "there is no draft",
        hint: "begin one with PUT and \"If-Match: \\\"\(number)\\\"\""
    )
    problem.headers[.eTag] = "\"\(number)\""
    problem.members = [JSONMember("number", .number("\(number)"))]
    return problem
}

private func draftChanged(_ there: (draft: PolicyDraft?, number: Int)) -> Problem {
    var problem = Problem(
        .preconditionFailed,
        .changedMeanwhile,
        "the draft was changed meanwhile, so nothing was written",
        hint: "look at the draft and make the change again"
    )
    problem.headers[.eTag] = "\"\(there.number)\""
    problem.members = [
        JSONMember(
            "current",
            .object([
                JSONMember("number", .number("\(there.number)")), JSONMember("author", .text(there.draft?.author)),
                JSONMember("time", .text(there.draft?.time.description)),
            ])
        )
    ]
    return problem
}

extension PolicyDraft {
    fileprivate var json: JSONValue {
        let limits = StrictJSON.Limits(bytes: AccessPolicy.longestDocument, depth: 8)
        return .object([
            JSONMember("number", .number("\(number)")),
            JSONMember("basedOn", .number("\(basedOn)")),
            JSONMember("author", .string(author)),
            JSONMember("time", .string(time.description)),
            JSONMember("policy", (try? StrictJSON.parse(document, limits: limits)) ?? .null),
        ])
    }
}

// MARK: - Teams

/// What a team has in addition.
private struct TeamPolicy {
    let name: String

    func json(_ rules: [RegistryRule]) -> JSONValue {
        .object([JSONMember("team", .string(name)), JSONMember("registries", .array(rules.map(\.document)))])
    }
}

private func team(_ context: ServerContext, _ organization: String, _ services: Services) async throws -> TeamPolicy {
    let name = try context.parameters.require("team")
    guard try await services.store.hasTeam(name, in: organization) else {
        throw Problem(.notFound, .notFound, "there is no such team")
    }
    return TeamPolicy(name: name)
}

private func saveTeam(_ request: Request, _ context: ServerContext, _ services: Services) async throws -> Response {
    let (person, organization) = try context.authorize(.editPolicy)
    let seen = try requireMatch(request)
    let options = try SaveOptions(query: request)
    let team = try await team(context, organization, services)
    let rules = try await request.readJSON(atMost: longestPolicy, depth: 8) { (scanner) throws(InvalidJSON) in
        var rules: [RegistryRule]?
        try scanner.object(of: ["registries"]) { (_, scanner) throws(InvalidJSON) in
            rules = try PolicyReader.rules(&scanner)
        }
        guard let rules else { throw scanner.fault("the key \"registries\" is missing", at: 0) }
        return rules
    }
    let result = try await services.publisher.publish(
        in: organization,
        by: person.name,
        comment: options.comment,
        expecting: seen,
        acknowledgingLockOut: options.acknowledgesLockOut
    ) { content in
        var content = content
        content.teams[team.name] = rules
        return content
    }
    return try result.answer()
}

private func teams(_ teams: [String: [RegistryRule]]) -> JSONValue {
    .object(teams.sorted { $0.key < $1.key }.map { JSONMember($0.key, .array($0.value.map(\.document))) })
}

extension TeamRename {
    fileprivate var json: JSONValue {
        .object([
            JSONMember("version", .number("\(version)")), JSONMember("from", .string(earlier)),
            JSONMember("to", .string(later)),
        ])
    }
}

// MARK: - What requests bring

/// In which form a policy comes and goes.
private enum PolicyFormat: String {
    /// This product's.
    case own = "docker-ram"
    /// That of Docker's own service.
    case docker

    init(of request: Request) throws(Problem) {
        guard let format = PolicyFormat(rawValue: try request.queryValue("format") ?? Self.own.rawValue) else {
            throw Problem(.badRequest, .badRequest, "\"format\" must be \"docker-ram\" or \"docker\"")
        }
        self = format
    }
}

/// A policy that a request brings in one of the forms.
private enum GivenPolicy: Sendable {
    case own(AccessPolicy)
    case docker(DockerRegistryAccess)

    init(_ request: Request, _ organization: String) async throws {
        let format = try PolicyFormat(of: request)
        let bytes = Array(try await request.body.collect(upTo: longestPolicy).readableBytesView)
        switch format {
        case .own:
            let policy: AccessPolicy
            do throws(InvalidPolicy) {
                policy = try AccessPolicy(json: bytes)
            } catch {
                throw Problem.faults("a policy", error.all(in: bytes))
            }
            guard policy.organization.utf8.elementsEqual(organization.utf8) else {
                throw Problem(
                    .unprocessableContent,
                    .faulty,
                    "the policy belongs to \"\(policy.organization)\" and not to \"\(organization)\""
                )
            }
            self = .own(policy)
        case .docker:
            do throws(InvalidDockerDocument) {
                self = .docker(try DockerRegistryAccess(json: bytes))
            } catch {
                throw Problem.faults("a document of Docker's registry access management", error.faults)
            }
        }
    }

    /// The policy; what a document of Docker's cannot say stays.
    func policy(after current: PolicyContent) -> AccessPolicy {
        switch self {
        case .own(let policy): policy
        case .docker(let document): document.policy(after: current.policy, teams: current.teams)
        }
    }
}

/// What is said with a save.
private struct SaveOptions {
    var comment = ""
    var acknowledgesLockOut = false
    var numbers: [String: Int] = [:]

    /// Those in the query, where the body is the document.
    init(query request: Request) throws {
        comment = try request.queryValue("comment") ?? ""
        switch try request.queryValue("acknowledgeLockOut") {
        case nil, "false": break
        case "true": acknowledgesLockOut = true
        default: throw Problem(.badRequest, .badRequest, "\"acknowledgeLockOut\" must be \"true\" or \"false\"")
        }
        try check()
    }

    /// Those in the body.
    init(body request: Request, numbers names: [String]) async throws {
        self = try await request.readJSON(atMost: 64 << 10, depth: 2) { (scanner) throws(InvalidJSON) in
            var options = SaveOptions()
            try scanner.object(of: names + ["comment", "acknowledgeLockOut"]) { (key, scanner) throws(InvalidJSON) in
                switch key {
                case "comment": options.comment = try scanner.string()
                case "acknowledgeLockOut": options.acknowledgesLockOut = try scanner.bool()
                default: options.numbers[key] = WholeNumber.read(try scanner.number())
                }
            }
            return options
        }
        try check()
    }

    private init() {}

    private func check() throws(Problem) {
        guard comment.isEmpty || Names.isLabel(comment, longest: 1000) else {
            throw Problem(.badRequest, .badRequest, "\"comment\" must be at most 1000 bytes without control characters")
        }
    }
}

/// The version that somebody has seen who is about to write.
private func requireMatch(_ request: Request) throws(Problem) -> Int {
    guard let number = try EntityTag.number(ifMatchOf: request) else {
        throw Problem(
            .preconditionRequired,
            .preconditionRequired,
            "\"If-Match\" must name the version that you have seen",
            hint: "it is in the \"ETag\" of GET"
        )
    }
    return number
}

private func newest(_ organization: String, _ services: Services) async throws -> PolicyDocument {
    guard let policy = try await services.publisher.served.policy(of: organization) else {
        throw Problem(.notFound, .notFound, "\"\(organization)\" has no policy yet")
    }
    return policy
}

// MARK: - Answers

extension JSONValue {
    /// The answer whose state is a number.
    fileprivate func numbered(_ number: Int) throws -> Response {
        let body = ByteBuffer(string: text() + "\n")
        var headers = HTTPFields()
        headers[.contentType] = "application/json"
        headers[.contentLength] = "\(body.readableBytes)"
        headers[.eTag] = "\"\(number)\""
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: body))
    }
}

extension Publisher.Result {
    /// What was saved, and what its author may not have meant.
    fileprivate func answer() throws -> Response {
        try JSONValue.object([
            JSONMember("version", .number("\(document.version)")),
            JSONMember("digest", .string("sha256:\(document.digest)")),
            JSONMember("isNew", .bool(isNew)),
            JSONMember("counts", change.counts),
            JSONMember("teamCounts", change.teamCounts),
            JSONMember("warnings", document.policy.warningsInJSON),
        ]).numbered(document.version)
    }
}

extension AccessPolicy {
    /// What the owner should look at again; nobody reads more than a hundred.
    var warningsInJSON: JSONValue {
        .array(
            warnings.prefix(100).map {
                .object([
                    JSONMember("registry", .integer($0.rule.map { $0 + 1 })),
                    JSONMember("message", .string($0.description)),
                ])
            }
        )
    }
}
