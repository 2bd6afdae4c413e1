import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// What people and machines ask for, and what owners answer.
    func addRequestRoutes(_ services: Services) {
        let organization = group("v1/organizations/:organization")
        organization.post("devices/:device/requests") { request, context in
            let (organization, device) = try context.authorizeDevice()
            services.lastSeen.note(device, in: organization, at: services.now())
            return try await ask(request, context, .device(device), organization, services)
        }
        organization.get("devices/:device/requests") { _, context in
            let (organization, device) = try context.authorizeDevice()
            let (requests, changes) = try await services.store.requests(ofDevice: device, in: organization)
            return JSONAnswer(
                value: .object([
                    JSONMember("changes", .number("\(changes)")),
                    JSONMember("requests", .array(requests.map(\.json))),
                ])
            )
        }
        organization.post("devices/:device/requests/:number/withdraw") { _, context in
            let (organization, device) = try context.authorizeDevice()
            services.lastSeen.note(device, in: organization, at: services.now())
            let number = try context.requestNumber()
            return JSONAnswer(value: try await services.withdraw(number, in: organization, by: .device(device)).json)
        }
        organization.post("requests") { request, context in
            let (person, organization) = try context.authorize(.readPolicy)
            return try await ask(request, context, .person(person.name), organization, services)
        }
        organization.get("requests") { request, context in try await list(request, context, services) }
        organization.post("requests/:number/allow") { request, context in
            try await allow(request, context, services)
        }
        organization.post("requests/:number/decline") { request, context in
            let (person, organization) = try context.authorize(.editPolicy)
            let number = try context.requestNumber()
            let word = try await request.readTexts([], optional: ["word"], context)["word"] ?? ""
            let declined = try await services.decline(number, in: organization, word: word, by: person.name)
            return JSONAnswer(value: declined.json)
        }
        organization.post("requests/:number/withdraw") { _, context in
            let (person, organization) = try context.authorize(.readPolicy)
            let number = try context.requestNumber()
            return JSONAnswer(
                value: try await services.withdraw(number, in: organization, by: .person(person.name)).json
            )
        }
    }
}

extension ServerContext {
    /// The number of a request in the path.
    fileprivate func requestNumber() throws -> Int {
        guard let number = WholeNumber.read(try parameters.require("number")) else {
            throw Problem.noRequest
        }
        return number
    }
}

private func ask(
    _ request: Request,
    _ context: ServerContext,
    _ asker: Asker,
    _ organization: String,
    _ services: Services
) async throws -> JSONAnswer {
    let texts = try await request.readTexts(["registry"], optional: ["action", "reason"], context)
    let (made, isNew) = try await services.ask(
        for: texts["registry"] ?? "",
        to: texts["action"] ?? RegistryAction.pull.rawValue,
        because: texts["reason"] ?? "",
        by: asker,
        in: organization
    )
    return JSONAnswer(value: made.json, status: isNew ? .created : .ok)
}

extension Services {
    /// Takes a request down, and lets the machines of whoever asks know.
    ///
    /// - Parameters:
    ///   - registry: the registry as it was typed.
    ///   - action: `pull` or `push`.
    ///   - reason: why.
    ///   - asker: who asks.
    ///   - organization: whom.
    /// - Returns: the request, and whether it is new.
    /// - Throws: ``Problem``, or what SQLite says.
    func ask(
        for registry: String,
        to action: String,
        because reason: String,
        by asker: Asker,
        in organization: String
    ) async throws -> (request: RegistryRequest, isNew: Bool) {
        let address = try Self.registry(registry)
        guard let action = RegistryAction(rawValue: action), action != .login else {
            throw Problem(.badRequest, .badRequest, "\"action\" must be \"pull\" or \"push\"")
        }
        guard RegistryRequest.isText(reason) else { throw Problem.badText("reason") }
        // A machine looks at the policy that it goes by before it asks.
        if case .person(let name) = asker { try await checkIsRefused(address, action, to: name, in: organization) }
        let made = try await store.ask(
            for: address,
            to: action,
            because: reason,
            by: asker,
            in: organization,
            at: now()
        )
        if made.isNew { await changes.notify(organization) }
        return made
    }

    /// The registry that was typed.
    private static func registry(_ text: String) throws(Problem) -> RegistryAddress {
        let named: NamedRegistry
        do throws(InvalidImageReference) {
            named = try NamedRegistry(text)
        } catch {
            var reason = "\(error)"
            do throws(InvalidRegistryAddress) { _ = try RegistryAddress(text) } catch { reason = "\(error)" }
            throw Problem(
                .unprocessableContent,
                .faulty,
                "\(JSONScanner.quoted(text)) is no registry: \(reason)",
                hint: "write host or host:port, for example ghcr.io"
            )
        }
        guard named.image == nil else {
            throw Problem(
                .unprocessableContent,
                .faulty,
                "\(JSONScanner.quoted(text)) is an image; its registry is \"\(named.address)\"",
                hint: "ask for \"\(named.address)\""
            )
        }
        return named.address
    }
}

/// All requests for who reads the activity, their own for others.
private func list(_ request: Request, _ context: ServerContext, _ services: Services) async throws -> JSONAnswer {
    let (person, organization) = try context.authorize(.readPolicy)
    var filter = RequestFilter(
        registry: try request.queryValue("registry"),
        before: try request.queryNumber("before"),
        limit: try request.limit(most: 200)
    )
    if let state = try request.queryValue("state") {
        guard let state = RegistryRequest.State(rawValue: state) else {
            let states = RegistryRequest.State.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
            throw Problem(.badRequest, .badRequest, "\"state\" must be one of \(states)")
        }
        filter.state = state
    }
    if !person.may(.readActivity, in: organization) { filter.user = person.name }
    let requests = try await services.store.requests(of: organization, filter)
    let next = requests.count == filter.limit ? requests.last?.number : nil
    return JSONAnswer(
        value: .object([
            JSONMember("requests", .array(requests.map(\.json))), JSONMember("next", .integer(next)),
        ])
    )
}

private func allow(_ request: Request, _ context: ServerContext, _ services: Services) async throws -> JSONAnswer {
    let (person, organization) = try context.authorize(.editPolicy)
    let number = try context.requestNumber()
    let version = try EntityTag.number(ifMatchOf: request)
    let asked = try await services.store.request(number, of: organization)
    let given = try await request.readJSON(atMost: 64 << 10, depth: 3) { (scanner) throws(InvalidJSON) in
        try RequestAnswer(&scanner, to: asked)
    }
    var answer = given
    answer.version = version
    let answered = try await services.allow(number, in: organization, answer, by: person.name)
    return JSONAnswer(
        value: .object([
            JSONMember("request", answered.request.json),
            JSONMember("isNew", .bool(answered.saved?.isNew ?? false)),
            JSONMember("version", .integer(answered.saved?.document.version ?? answered.request.policyVersion)),
            JSONMember("warnings", answered.saved?.document.policy.warningsInJSON ?? .array([])),
        ])
    )
}

extension RequestAnswer {
    /// What a request of the API says; what it does not say is as it was asked for.
    fileprivate init(_ scanner: inout JSONScanner, to request: RegistryRequest) throws(InvalidJSON) {
        self.init(to: request)
        let keys = [
            "address", "actions", "repositories", "until", "word", "acknowledgeBroad", "acknowledgeLockOut",
        ]
        var answer = self
        try scanner.object(of: keys) { (key, scanner) throws(InvalidJSON) in
            switch key {
            case "address": answer.address = try PolicyReader.pattern(&scanner)
            case "actions": answer.actions = try PolicyReader.actions(&scanner)
            case "repositories": answer.repositories = try PolicyReader.repositories(&scanner)
            case "until":
                _ = scanner.peek()
                let start = scanner.position
                guard let until = Instant(try scanner.string()) else {
                    throw scanner.fault("\"until\" is a time like \"2026-12-24T00:00:00Z\"", at: start)
                }
                answer.until = until
            case "word": answer.word = try scanner.string()
            case "acknowledgeBroad": answer.acknowledgesBroad = try scanner.bool()
            default: answer.acknowledgesLockOut = try scanner.bool()
            }
        }
        self = answer
    }
}
