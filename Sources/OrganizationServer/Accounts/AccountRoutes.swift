import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// People, members, teams, invitations, access tokens and sessions.
    func addAccountRoutes(_ services: Services) {
        addPersonRoutes(services)
        addMemberRoutes(services)
        addInvitationRoutes(services)
        addTeamRoutes(services)
        addAccessTokenRoutes(services)
        addSessionRoutes(services)
    }

    private func addPersonRoutes(_ services: Services) {
        get("v1/me") { _, context in
            guard case .person(let person) = context.caller else { throw Problem.notSignedIn }
            let organizations = person.roles.filter { person.role(in: $0.key) != nil }.sorted { $0.key < $1.key }
            return JSONAnswer(
                value: .object([
                    JSONMember("name", .string(person.name)),
                    JSONMember(
                        "organizations",
                        .array(
                            organizations.map { name, role in
                                .object([
                                    JSONMember("name", .string(name)), JSONMember("role", .string(role.rawValue)),
                                ])
                            }
                        )
                    ),
                    JSONMember("scopes", person.scopes.map { .texts($0.map(\.rawValue).sorted()) } ?? .null),
                ])
            )
        }
        put("v1/me/password") { request, context in
            guard case .person(let person) = context.caller else { throw Problem.notSignedIn }
            guard person.scopes == nil else { throw Problem.needsSignIn }
            let texts = try await request.readTexts(["current", "new"], context)
            try await services.changePassword(
                of: person,
                from: Password(texts["current"] ?? ""),
                to: Password(texts["new"] ?? ""),
                context.address
            )
            return HTTPResponse.Status.noContent
        }
    }

    private func addMemberRoutes(_ services: Services) {
        get("v1/organizations/{organization}/members") { _, context in
            let (_, organization) = try context.authorize(.readMembers)
            return JSONAnswer(list: "members", try await services.store.members(of: organization)) { member in
                [
                    JSONMember("name", .string(member.name)), JSONMember("email", .text(member.email)),
                    JSONMember("role", .string(member.role.rawValue)), JSONMember("teams", .texts(member.teams)),
                    JSONMember("since", .string(member.since.description)),
                ]
            }
        }
        patch("v1/organizations/{organization}/members/{user}") { request, context in
            let (person, organization) = try context.authorize(.manageMembers)
            let user = try context.parameters.require("user")
            let role = try Role(named: try await request.readTexts(["role"], context)["role"] ?? "")
            try person.mayGive(role, in: organization)
            try await services.changeRole(of: user, to: role, in: organization, by: person.name)
            return HTTPResponse.Status.noContent
        }
        delete("v1/organizations/{organization}/members/{user}") { _, context in
            let (person, organization) = try context.authorize(.manageMembers)
            let user = try context.parameters.require("user")
            try await services.removeMember(user, from: organization, by: person.name)
            return HTTPResponse.Status.noContent
        }
        post("v1/organizations/{organization}/members/{user}/password-reset") { _, context in
            let (person, organization) = try context.authorize(.manageMembers)
            let user = try context.parameters.require("user")
            let made = try await services.makePasswordReset(for: user, in: organization, by: person)
            return JSONAnswer(
                value: .object([
                    // Shown here and never again.
                    JSONMember("link", .string(made.link)), JSONMember("name", .string(user)),
                    JSONMember("expires", .string(made.expires.description)),
                ]),
                status: .created
            )
        }
    }

    private func addInvitationRoutes(_ services: Services) {
        get("v1/organizations/{organization}/invitations") { _, context in
            let (_, organization) = try context.authorize(.readMembers)
            let invitations = try await services.store.invitations(to: organization, at: services.now())
            return JSONAnswer(list: "invitations", invitations, \.members)
        }
        post("v1/organizations/{organization}/invitations") { request, context in
            let (person, organization) = try context.authorize(.manageMembers)
            let texts = try await request.readTexts(["role"], optional: ["email"], context)
            let role = try Role(named: texts["role"] ?? "")
            try person.mayGive(role, in: organization)
            if let email = texts["email"] {
                guard Names.isEmail(email) else {
                    throw Problem(.badRequest, .badRequest, "\(JSONScanner.quoted(email)) is no e-mail address")
                }
            }
            let (token, invitation) = try await services.store.invite(
                texts["email"],
                as: role,
                to: organization,
                by: person.name,
                at: services.now()
            )
            let members = [JSONMember("invitation", .string(token.secret))] + (invitation?.members ?? [])
            return JSONAnswer(value: .object(members), status: .created)
        }
        delete("v1/organizations/{organization}/invitations/{invitation}") { _, context in
            let (person, organization) = try context.authorize(.manageMembers)
            let id = try context.parameters.require("invitation")
            guard
                try await services.store.cancelInvitation(id, to: organization, by: person.name, at: services.now())
            else { throw Problem.none("invitation", id) }
            return HTTPResponse.Status.noContent
        }
        post("v1/invitations/accept") { request, context in
            let texts = try await request.readTexts(["invitation", "name", "password"], context)
            let name = texts["name"] ?? ""
            let (token, shown) = try await services.invitation(texts["invitation"] ?? "", context.address)
            let newPassword = try await services.newPassword(
                name,
                Password(texts["password"] ?? ""),
                in: shown.organization,
                context.address
            )
            let invitation = try await services.join(by: token, as: name, newPassword)
            return JSONAnswer(
                value: .object([
                    JSONMember("name", .string(name)), JSONMember("organization", .string(invitation.organization)),
                    JSONMember("role", .string(invitation.role.rawValue)),
                ]),
                status: .created
            )
        }
    }

    private func addTeamRoutes(_ services: Services) {
        get("v1/organizations/{organization}/teams") { _, context in
            let (_, organization) = try context.authorize(.readMembers)
            return JSONAnswer(list: "teams", try await services.store.teams(of: organization), \.json)
        }
        post("v1/organizations/{organization}/teams") { request, context in
            let (person, organization) = try context.authorize(.manageMembers)
            let name = try await request.readTexts(["name"], context)["name"] ?? ""
            try await services.makeTeam(name, in: organization, by: person.name)
            return JSONAnswer(value: .object(Team(name: name, members: []).json), status: .created)
        }
        get("v1/organizations/{organization}/teams/{team}") { _, context in
            let (_, organization) = try context.authorize(.readMembers)
            let name = try context.parameters.require("team")
            guard let team = try await services.store.teams(of: organization, named: name).first else {
                throw Problem.none("team", name)
            }
            return JSONAnswer(value: .object(team.json))
        }
        delete("v1/organizations/{organization}/teams/{team}") { _, context in
            let (person, organization) = try context.authorize(.manageMembers)
            let name = try context.parameters.require("team")
            try await services.removeTeam(name, from: organization, by: person)
            return HTTPResponse.Status.noContent
        }
        patch("v1/organizations/{organization}/teams/{team}") { request, context in
            let (person, organization) = try context.authorize(.manageMembers)
            let name = try context.parameters.require("team")
            let new = try await request.readTexts(["name"], context)["name"] ?? ""
            try await services.renameTeam(name, to: new, in: organization, by: person)
            return HTTPResponse.Status.noContent
        }
        for (method, isIn) in [(HTTPRequest.Method.put, true), (.delete, false)] {
            on("v1/organizations/{organization}/teams/{team}/members/{user}", method: method) { _, context in
                let (person, organization) = try context.authorize(.manageMembers)
                let team = try context.parameters.require("team")
                let user = try context.parameters.require("user")
                try await services.setMember(user, ofTeam: team, isIn: isIn, in: organization, by: person.name)
                return HTTPResponse.Status.noContent
            }
        }
    }

    private func addAccessTokenRoutes(_ services: Services) {
        get("v1/organizations/{organization}/tokens") { _, context in
            let (organization, owner, _) = try context.authorizeTokens(or: .readSettings)
            return JSONAnswer(
                list: "tokens",
                try await services.store.accessTokens(in: organization, of: owner),
                \.json
            )
        }
        post("v1/organizations/{organization}/tokens") { request, context in
            let (organization, _, person) = try context.authorizeTokens()
            let wanted = try await AccessTokenRequest(request, context)
            let (token, expires) = try await services.makeAccessToken(
                named: wanted.name,
                of: person,
                in: organization,
                scopes: wanted.scopes,
                days: wanted.days
            )
            return JSONAnswer(
                value: .object([
                    // Shown here and never again.
                    JSONMember("token", .string(token.secret)), JSONMember("name", .string(wanted.name)),
                    JSONMember("scopes", .texts(wanted.scopes.map(\.rawValue).sorted())),
                    JSONMember("expires", .string(expires.description)),
                ]),
                status: .created
            )
        }
        delete("v1/organizations/{organization}/tokens/{token}") { _, context in
            let (organization, owner, person) = try context.authorizeTokens()
            let id = try context.parameters.require("token")
            let wasThere = try await services.store.deleteAccessToken(
                id,
                in: organization,
                of: owner,
                by: person.name,
                at: services.now()
            )
            guard wasThere else { throw Problem.none("token", id) }
            await services.changes.notify(organization)
            return HTTPResponse.Status.noContent
        }
    }

    private func addSessionRoutes(_ services: Services) {
        get("v1/organizations/{organization}/sessions") { request, context in
            let (_, organization) = try context.authorize(.readMembers)
            let sessions = try await services.store.sessions(
                in: organization,
                try request.sessionSelection(),
                at: services.now()
            )
            return JSONAnswer(list: "sessions", sessions, \.json)
        }
        delete("v1/organizations/{organization}/sessions") { request, context in
            let (person, organization) = try context.authorize(.endSessions)
            let selection = try request.sessionSelection()
            // A name that is mistyped must not look as if somebody had to sign in again.
            if let user = selection.user,
                try await services.store.memberCount(of: organization, MemberFilter(name: user)) == 0
            {
                throw Problem.none("member", user)
            }
            if let device = selection.device, try await services.store.device(device, of: organization) == nil {
                throw Problem.none("device", device)
            }
            let count = try await services.endSessions(in: organization, selection, by: person.name)
            return JSONAnswer(value: .object([JSONMember("ended", .integer(count))]))
        }
        delete("v1/organizations/{organization}/sessions/{session}") { _, context in
            let (person, organization) = try context.authorize(.endSessions)
            let id = try context.parameters.require("session")
            let selection = Store.SessionSelection(id: id)
            let isThere = try await !services.store.sessions(in: organization, selection, at: services.now()).isEmpty
            guard isThere else { throw Problem.none("session", id) }
            let count = try await services.endSessions(in: organization, selection, by: person.name)
            return JSONAnswer(value: .object([JSONMember("ended", .integer(count))]))
        }
    }
}

// MARK: - What the routes read

/// What somebody asks for who makes an access token.
private struct AccessTokenRequest {
    let name: String
    let scopes: Set<Permission>
    let days: Int

    init(_ request: Request, _ context: ServerContext) async throws {
        var name: String?
        var scopes: Set<Permission> = []
        var days: Int?
        try await request.readObject(of: ["name", "scopes", "days"], context) { (key, scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            switch key {
            case "name":
                name = try scanner.string()
                guard name.map({ Names.isLabel($0, longest: 80) }) ?? false else {
                    throw scanner.fault("a name has 1 to 80 bytes and no control characters", at: start)
                }
            case "scopes":
                try scanner.array { (scanner) throws(InvalidJSON) in
                    _ = scanner.peek()
                    let start = scanner.position
                    guard let scope = Permission(rawValue: try scanner.string()) else {
                        let known = Permission.allCases.map(\.rawValue).joined(separator: ", ")
                        throw scanner.fault("there is no such scope; there are \(known)", at: start)
                    }
                    scopes.insert(scope)
                }
            default:
                days = Int(try scanner.number())
                guard days.map((1...365).contains) ?? false else {
                    throw scanner.fault("a token is good for 1 to 365 days", at: start)
                }
            }
        }
        guard let name, let days, !scopes.isEmpty else {
            throw Problem(.badRequest, .badRequest, "\"name\", \"scopes\" and \"days\" must be there")
        }
        self.name = name
        self.scopes = scopes
        self.days = days
    }
}

extension Role {
    fileprivate init(named name: String) throws(Problem) {
        guard let role = Role(rawValue: name) else {
            let known = Role.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem(.badRequest, .badRequest, "there is no role \(JSONScanner.quoted(name)); there are \(known)")
        }
        self = role
    }
}

extension Request {
    fileprivate func sessionSelection() throws(Problem) -> Store.SessionSelection {
        let known = ["user", "device"]
        // A misspelt name would select everything.
        if let unknown = uri.queryParameters.first(where: { !known.contains(String($0.key)) }) {
            throw Problem(.badRequest, .badRequest, "there is no parameter \(JSONScanner.quoted(String(unknown.key)))")
        }
        let selection = Store.SessionSelection(user: try queryValue("user"), device: try queryValue("device"))
        guard !uri.queryParameters.contains(where: { $0.value.isEmpty }) else {
            throw Problem(.badRequest, .badRequest, "a parameter of the query is empty")
        }
        return selection
    }
}

// MARK: - What the routes demand

extension ServerContext {
    /// Whose access tokens the caller has to do with: everybody's with `tokens:write`, their own with a sign-in.
    ///
    /// - Parameter permission: what does for everybody's as well.
    /// - Returns: the organization, whose tokens (`nil`: everybody's), and who asks.
    /// - Throws: ``Problem``.
    fileprivate func authorizeTokens(or permission: Permission? = nil) throws -> (
        organization: String, owner: String?, person: Person
    ) {
        let (person, organization) = try authorizeMember()
        for permission in [.manageTokens, permission] {
            if let permission, person.may(permission, in: organization) { return (organization, nil, person) }
        }
        guard person.scopes == nil else { throw Problem.needsSignIn }
        return (organization, person.name, person)
    }
}

extension Person {
    /// Only an owner who has signed in makes owners, and a token gives no role that may do more than it may itself: what it
    /// makes would outlive it.
    ///
    /// - Parameters:
    ///   - role: the role.
    ///   - organization: where.
    /// - Throws: ``Problem``, 403.
    func mayGive(_ role: Role, in organization: String) throws(Problem) {
        guard role != .owner || scopes == nil else { throw Problem.needsSignIn }
        guard let missing = missing(toGive: role) else { return }
        throw Problem(
            .forbidden,
            .forbidden,
            "who is \(role == .member ? "a" : "an") \(role.rawValue) of \"\(organization)\" may do what the token may "
                + "not: \"\(missing.rawValue)\"",
            hint: "sign in, or use a token that has this scope as well"
        )
    }
}

extension Problem {
    static var needsSignIn: Problem {
        Problem(.forbidden, .forbidden, "an access token cannot do this", hint: "sign in with a password")
    }

    static func none(_ kind: String, _ name: String) -> Problem {
        Problem(.notFound, .notFound, "there is no \(kind) \(JSONScanner.quoted(name))")
    }
}

extension Services {
    /// Makes an access token.
    ///
    /// - Parameters:
    ///   - name: what its owner calls it.
    ///   - person: whose it is; it may never do more than they may now.
    ///   - organization: where it is good.
    ///   - scopes: what it is limited to.
    ///   - days: for how long; with an access token it ends with that at the latest.
    /// - Returns: the token, which is never to be had again, and when it ends.
    /// - Throws: ``Problem`` if they have not got a scope or have a token of this name, or what SQLite says.
    func makeAccessToken(
        named name: String,
        of person: Person,
        in organization: String,
        scopes: Set<Permission>,
        days: Int
    ) async throws -> (token: OpaqueToken, expires: Instant) {
        if let scope = scopes.sorted(by: { $0.rawValue < $1.rawValue })
            .first(where: { !person.may($0, in: organization) })
        {
            throw Problem(.forbidden, .forbidden, "you have not got \"\(scope.rawValue)\" yourself")
        }
        let now = now()
        let expires = person.bounded(now + Int64(days) * 86_400)
        let token = try await conflicts("you have a token \(JSONScanner.quoted(name)) already") {
            try await store.makeAccessToken(
                named: name,
                of: person.name,
                in: organization,
                scopes: scopes,
                by: person.accessToken?.digest,
                now: now,
                expires: expires
            )
        }
        return (token, expires)
    }
}

// MARK: - What the routes answer

extension JSONAnswer {
    /// A list under its name.
    init<Element>(list name: String, _ elements: [Element], _ members: (Element) -> [JSONMember]) {
        self.init(value: .object([JSONMember(name, .array(elements.map { .object(members($0)) }))]))
    }
}

extension Invitation {
    fileprivate var members: [JSONMember] {
        [
            JSONMember("id", .string(id)), JSONMember("email", .text(email)),
            JSONMember("role", .string(role.rawValue)),
            JSONMember("inviter", .string(inviter)), JSONMember("expires", .string(expires.description)),
        ]
    }
}

extension Team {
    fileprivate var json: [JSONMember] {
        [JSONMember("name", .string(name)), JSONMember("members", .texts(members))]
    }
}

extension Store.AccessTokenEntry {
    fileprivate var json: [JSONMember] {
        [
            JSONMember("id", .string(id)), JSONMember("name", .string(name)), JSONMember("user", .string(user)),
            JSONMember("scopes", .texts(scopes)), JSONMember("created", .string(created.description)),
            JSONMember("expires", .string(expires.description)), JSONMember("lastUsed", .text(lastUsed?.description)),
        ]
    }
}

extension Session {
    fileprivate var json: [JSONMember] {
        [
            JSONMember("id", .string(id)), JSONMember("user", .string(user)), JSONMember("device", .text(device)),
            JSONMember("address", .string(address)), JSONMember("signedIn", .string(created.description)),
            JSONMember("lastUsed", .string(refreshed.description)), JSONMember("expires", .string(expires.description)),
        ]
    }
}
