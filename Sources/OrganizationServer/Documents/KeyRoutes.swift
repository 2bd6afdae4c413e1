import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// The server's public keys, and the next root document.
    ///
    /// Keys are changed in three steps: the server makes one, the owner signs a root document that names it, the server takes
    /// that and signs with the key from then on.
    func addKeyRoutes(_ services: Services) {
        let organization = group("v1/organizations/:organization")
        organization.get("keys") { _, context in
            let (_, organization) = try context.authorize(.readSettings, or: .manageSettings)
            return JSONAnswer(value: try await keys(services, organization))
        }
        organization.post("keys") { request, context in
            let (person, organization) = try context.authorize(.manageSettings)
            var kind: DocumentKind?
            try await request.readObject(of: ["kind"], context) { (_, scanner) throws(InvalidJSON) in
                let text = try scanner.string()
                kind = SigningKeys.kinds.first { $0.rawValue.utf8.elementsEqual(text.utf8) }
            }
            guard let kind else {
                throw Problem(.badRequest, .badRequest, "\"kind\" must be \"policy\", \"freshness\" or \"ticket\"")
            }
            let key = try await services.makeKey(kind, for: organization, by: person.name)
            return JSONAnswer(value: key.json, status: .created)
        }
        organization.post("root") { request, context in
            let (person, organization) = try context.authorize(.manageSettings)
            let body = Array(try await request.body.collect(upTo: DocumentKind.root.longest).readableBytesView)
            let root = try await services.takeRoot(body, in: organization, by: person.name)
            return JSONAnswer(value: .object([JSONMember("version", .number("\(root.version)"))]), status: .created)
        }
    }
}

extension Services {
    /// Makes a key that signs as soon as a root document names it.
    ///
    /// - Parameters:
    ///   - kind: what it is for.
    ///   - organization: whose it is.
    ///   - actor: who does it.
    /// - Returns: its public half.
    /// - Throws: ``ServerFileError``, or what SQLite says.
    func makeKey(_ kind: DocumentKind, for organization: String, by actor: String) async throws -> VerificationKey {
        let key = try publisher.keys.add(kind, for: organization)
        let activity = Activity(
            .keyCreated,
            by: actor,
            name: key.id.fingerprint,
            data: [JSONMember("kind", .string(kind.rawValue))]
        )
        try await store.record(activity, in: organization, at: now())
        return key
    }

    /// Takes the next root document, by which keys sign from then on.
    ///
    /// - Parameters:
    ///   - bytes: the signed document.
    ///   - organization: whose it is.
    ///   - actor: who brings it.
    /// - Returns: the document.
    /// - Throws: ``Problem`` if machines would not accept it, or the server has not the keys that it names; what SQLite says.
    func takeRoot(_ bytes: [UInt8], in organization: String, by actor: String) async throws -> RootDocument {
        do {
            return try await publisher.accept(root: bytes, in: organization, by: actor)
        } catch let error as Rejection {
            throw Problem(
                .unprocessableContent,
                .faulty,
                "the root document was not taken: \(error)",
                hint: "machines would not accept it either; nothing has changed"
            )
        } catch let error as ServerFileError {
            throw Problem(
                .conflict,
                .conflict,
                "the root document was not taken: \(error)",
                hint: "make the keys first, and name them in the document"
            )
        }
    }
}

private func keys(_ services: Services, _ organization: String) async throws -> JSONValue {
    let root = try await services.publisher.served.newest(of: organization)?.rootDocument
    let keys = try await services.publisher.serverKeys(of: organization)
    let members = SigningKeys.kinds.map { kind in
        JSONMember(kind.rawValue, .array(keys.filter { $0.kind == kind }.map(\.json)))
    }
    return .object([
        JSONMember("rootVersion", .integer(root?.version)),
        JSONMember("rootExpires", .text(root?.expires.description)),
        JSONMember("keys", .object(members)),
    ])
}

extension ServerKey {
    fileprivate var json: JSONValue {
        .object(
            (key.json.members ?? []) + [
                JSONMember("signs", .bool(state == .signs)), JSONMember("state", .string(state.rawValue)),
            ]
        )
    }
}

extension VerificationKey {
    fileprivate var json: JSONValue {
        .object([
            JSONMember("id", .string(id.description)), JSONMember("key", .string(StrictBase64.encode(bytes))),
        ])
    }
}
