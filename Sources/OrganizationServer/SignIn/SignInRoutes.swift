import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// Sign-in of programs and machines, and Docker Hub's two ways to sign in.
    func addSignInRoutes(_ services: Services) {
        let grants = Grants(services: services)
        post("v1/token") { request, context in
            try await grants.answer(try await request.readForm(context), from: context.address)
        }
        post("v1/token/revoke") { request, context in
            guard let token = try await request.readForm(context)["token"] else {
                throw GrantRefusal(.invalidRequest, "the field \"token\" is missing")
            }
            // A token that is none is as good as revoked (RFC 7009, section 2.2).
            if let token = OpaqueToken(shown: token) {
                if try await services.store.endSession(showing: token, at: services.now()) != nil {
                    services.metrics.ended(1, .signOut)
                }
            }
            return HTTPResponse.Status.ok
        }
        post("v1/device_authorization") { request, context in
            try await grants.beginDeviceAuthorization(try await request.readForm(context), from: context.address)
        }
        post("v2/users/login") { request, context in
            let texts = try await request.readTexts(["username", "password"], context)
            let session = try await grants.hubSession(texts["username"], texts["password"], from: context.address)
            return JSONAnswer(
                value: .object([
                    JSONMember("token", .string(session.hubToken.secret)),
                    JSONMember("refresh_token", .string(session.refresh.secret)),
                ])
            )
        }
        post("v2/auth/token") { request, context in
            let texts = try await request.readTexts(["identifier", "secret"], context)
            let session = try await grants.hubSession(texts["identifier"], texts["secret"], from: context.address)
            return JSONAnswer(value: .object([JSONMember("access_token", .string(session.hubToken.secret))]))
        }
    }
}

extension Router<ServerContext> {
    /// What an engine asks a registry on `docker login`: whether a name and a password are good.
    ///
    /// We hold no images; that it is answered lets people sign in with the command that they know (distribution,
    /// docs/content/spec/api.md, "API version check").
    ///
    /// It stands before the bearer tokens of everything else, because Docker sends Basic credentials (RFC 7617).
    func addRegistryCheck(_ services: Services) {
        let grants = Grants(services: services)
        get("v2") { request, context -> Response in
            guard let (name, secret) = BasicCredentials.read(request.headers[.authorization]),
                try await grants.hubPerson(name, secret, from: context.address) != nil
            else {
                var problem = Problem.notSignedIn
                problem.headers[.wwwAuthenticate] = "Basic realm=\"docker-ram-server\""
                throw problem
            }
            var response = Response(
                status: .ok,
                headers: [.contentType: "application/json"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: "{}"))
            )
            if let version = HTTPField.Name("Docker-Distribution-Api-Version") {
                response.headers[version] = "registry/2.0"
            }
            return response
        }
    }
}

/// A name and a password as HTTP's Basic authentication has them.
private enum BasicCredentials {
    static func read(_ header: String?) -> (name: String, secret: String)? {
        guard let parts = header?.split(separator: " ", maxSplits: 1), parts.count == 2,
            parts[0].lowercased() == "basic", let bytes = StrictBase64.decode(parts[1].utf8),
            let text = String(validating: bytes, as: UTF8.self), let colon = text.firstIndex(of: ":")
        else { return nil }
        return (String(text[..<colon]), String(text[text.index(after: colon)...]))
    }
}

/// Gives sessions to those who show that they may have one.
private struct Grants: Sendable {
    let services: Services

    /// The answer of `/v1/token`.
    func answer(_ form: [String: String], from address: String) async throws -> JSONAnswer {
        let kind: Metrics.SignIn? =
            switch form["grant_type"] {
            case "password": .password
            case "refresh_token": .refreshToken
            case "urn:ietf:params:oauth:grant-type:device_code": .deviceCode
            case "urn:docker-ram:access-token": .accessToken
            default: nil
            }
        guard let kind else { return try await issue(form, from: address) }
        return try await services.metrics.counting(kind) { try await issue(form, from: address) }
    }

    private func issue(_ form: [String: String], from address: String) async throws -> JSONAnswer {
        let device = try await device(form)
        let organization = form["organization"]
        let issued: IssuedSession
        do {
            switch form["grant_type"] {
            case "password":
                let name = try field("username", form)
                let password = Password(try field("password", form))
                guard let user = try await services.user(named: name, password: password, from: address) else {
                    throw GrantRefusal(.invalidGrant, "the name or the password is wrong")
                }
                issued = try await begin(SignedInPerson(user: user), organization, device, address)
            case "refresh_token":
                let token = try token("refresh_token", .refresh, form)
                issued = try await services.store.refreshSession(showing: token, on: device, at: services.now())
            case "urn:ietf:params:oauth:grant-type:device_code":
                let token = try token("device_code", .deviceCode, form)
                issued = try await redeem(token, organization, device, address)
            case "urn:docker-ram:access-token":
                let token = try token("token", .personal, form)
                guard let person = try await services.store.signedInPerson(showing: token, at: services.now()) else {
                    try await services.limits.take(.wrongToken, address)
                    throw GrantRefusal(.invalidGrant, "this access token is not good, or not any more")
                }
                issued = try await begin(person, organization, device, address)
            case nil: throw GrantRefusal(.invalidRequest, "the field \"grant_type\" is missing")
            default: throw GrantRefusal(.unsupportedGrantType, "there is no such \"grant_type\"")
            }
        } catch let refusal as SessionRefusal {
            throw await grantRefusal(refusal, organization)
        } catch DatabaseError.SQLITE_CONSTRAINT_FOREIGNKEY {
            // The device was taken out since it showed its secret.
            throw GrantRefusal(.deviceUnknown, "this device is not known; register it again")
        }
        return try await answer(issued)
    }

    private func grantRefusal(_ refusal: SessionRefusal, _ organization: String?) async -> GrantRefusal {
        switch refusal {
        case .invalidGrant: return GrantRefusal(.invalidGrant, "sign in again")
        case .notAMember: return notAMember(organization)
        case .reused(let organizations):
            services.metrics.ended(1, .reused)
            for organization in organizations { await services.changes.notify(organization) }
            return GrantRefusal(.invalidGrant, "this token was used before, so its session has ended; sign in again")
        }
    }

    private func notAMember(_ organization: String?) -> GrantRefusal {
        let name = organization.map { JSONScanner.quoted($0) } ?? "the organization"
        return GrantRefusal(.notAMember, "you do not belong to \(name); ask an owner of it for an invitation")
    }

    private func begin(_ person: SignedInPerson, _ organization: String?, _ device: String?, _ address: String)
        async throws
        -> IssuedSession
    {
        try await services.store.beginSession(
            of: person,
            in: organization,
            on: device,
            from: address,
            at: services.now()
        )
    }

    private func redeem(_ token: OpaqueToken, _ organization: String?, _ device: String?, _ address: String)
        async throws
        -> IssuedSession
    {
        let bound = device.flatMap { device in organization.map { ($0, device) } }
        switch try await services.store.redeem(token, on: bound, from: address, at: services.now()) {
        case .session(let issued): return issued
        case .pending: throw GrantRefusal(.authorizationPending, "nobody has approved this sign-in so far")
        case .slowDown: throw GrantRefusal(.slowDown, "ask 5 seconds less often")
        case .expired: throw GrantRefusal(.expiredToken, "the code is too old; begin again")
        case .denied: throw GrantRefusal(.accessDenied, "the sign-in was denied in the browser")
        case .notAMember: throw notAMember(organization)
        case .unknown:
            try await services.limits.take(.wrongToken, address)
            throw GrantRefusal(.invalidGrant, "there is no such code, or it was used")
        }
    }

    private func answer(_ issued: IssuedSession) async throws -> JSONAnswer {
        var members = [
            JSONMember("access_token", .string(issued.access.secret)),
            JSONMember("token_type", .string("Bearer")),
            JSONMember("expires_in", .number(String(Session.accessSeconds))),
            JSONMember("refresh_token", .string(issued.refresh.secret)),
            JSONMember("user", .string(issued.session.user)),
        ]
        if let ticket = try await services.store.ticket(for: issued.session, at: services.now()) {
            let envelope = try await services.signTicket(ticket)
            members.append(JSONMember("ticket", try StrictJSON.parse(Array(envelope.json.utf8))))
        }
        return JSONAnswer(value: .object(members))
    }

    /// The device that a form shows the secret of.
    private func device(_ form: [String: String]) async throws -> String? {
        guard form["device"] != nil || form["device_secret"] != nil else { return nil }
        let device = try field("device", form)
        let organization = try field("organization", form)
        guard let secret = OpaqueToken(try field("device_secret", form)), secret.kind == .device,
            try await services.store.device(showing: secret) == .device(organization: organization, id: device)
        else { throw GrantRefusal(.deviceUnknown, "this device is not known; register it again") }
        return device
    }

    private func field(_ name: String, _ form: [String: String]) throws(GrantRefusal) -> String {
        guard let value = form[name] else { throw GrantRefusal(.invalidRequest, "the field \"\(name)\" is missing") }
        return value
    }

    private func token(_ name: String, _ kind: OpaqueToken.Kind, _ form: [String: String]) throws(GrantRefusal)
        -> OpaqueToken
    {
        guard let token = OpaqueToken(try field(name, form)), token.kind == kind else {
            throw GrantRefusal(.invalidGrant, "what is in the field \"\(name)\" is none")
        }
        return token
    }

    /// The answer of `/v1/device_authorization`.
    func beginDeviceAuthorization(_ form: [String: String], from address: String) async throws -> JSONAnswer {
        guard form["client_id"] == "docker-ram" else {
            throw GrantRefusal(.invalidRequest, "the field \"client_id\" must be \"docker-ram\"")
        }
        let organization = try field("organization", form)
        guard Names.isName(organization) else {
            throw GrantRefusal(.invalidRequest, "\(JSONScanner.quoted(organization)) is no name of an organization")
        }
        let name = try field("device_name", form)
        guard Names.isLabel(name, longest: 255) else {
            throw GrantRefusal(.invalidRequest, "a device name has at most 255 bytes and no control characters")
        }
        guard ["administration", nil].contains(form["scope"]) else {
            throw GrantRefusal(.invalidRequest, "the only \"scope\" is \"administration\"")
        }
        try await services.limits.take(.deviceAuthorization, address)
        let (deviceCode, userCode) = try await services.store.beginDeviceAuthorization(
            for: organization,
            deviceName: name,
            isForAdministration: form["scope"] != nil,
            from: address,
            at: services.now()
        )
        let shown = DeviceAuthorization.shown(userCode)
        let page = "\(services.settings.publicAddress)/activate"
        return JSONAnswer(
            value: .object([
                JSONMember("device_code", .string(deviceCode.secret)),
                JSONMember("user_code", .string(shown)),
                JSONMember("verification_uri", .string(page)),
                JSONMember("verification_uri_complete", .string("\(page)?user_code=\(shown)")),
                JSONMember("expires_in", .number(String(DeviceAuthorization.lifetimeSeconds))),
                JSONMember("interval", .number(String(DeviceAuthorization.intervalSeconds))),
            ])
        )
    }

    /// Who signs in with a program that was written for Docker: with a password, or an access token in its place.
    func hubPerson(_ name: String, _ secret: String, from address: String) async throws -> SignedInPerson? {
        try await services.metrics.counting(.docker, isGood: { $0 != nil }) {
            try await person(name, secret, from: address)
        }
    }

    private func person(_ name: String, _ secret: String, from address: String) async throws -> SignedInPerson? {
        if let token = OpaqueToken(secret), token.kind == .personal {
            let shown = try await services.store.signedInPerson(showing: token, at: services.now())
            if shown == nil { try await services.limits.take(.wrongToken, address) }
            // Docker Hub takes the name of the owner with the token, and so do we; an organization's name will do, too.
            return shown.flatMap { $0.user == name || $0.organization == name ? $0 : nil }
        }
        return try await services.user(named: name, password: Password(secret), from: address)
            .map { SignedInPerson(user: $0) }
    }

    /// A session for a program that was written for Docker Hub.
    func hubSession(_ name: String?, _ secret: String?, from address: String) async throws -> IssuedSession {
        let refusal = Problem(.unauthorized, .notSignedIn, "the name, or the password or access token, is wrong")
        guard let name, let secret, let person = try await hubPerson(name, secret, from: address) else { throw refusal }
        do {
            return try await begin(person, nil, nil, address)
        } catch is SessionRefusal {
            throw refusal
        }
    }
}

extension IssuedSession {
    /// The access token of a session that has just begun, as programs read it that were written for Docker Hub.
    fileprivate var hubToken: HubToken {
        HubToken(access, expires: min(session.created + Session.accessSeconds, session.expires))
    }
}

extension Store {
    /// Who signs in with an access token.
    ///
    /// - Parameters:
    ///   - token: the token.
    ///   - now: the time.
    /// - Returns: the person, with what the token is limited to; `nil` if the token is unknown or has ended.
    /// - Throws: what SQLite says.
    fileprivate func signedInPerson(showing token: OpaqueToken, at now: Instant) async throws -> SignedInPerson? {
        try await database.write { database in
            try Row.fetchOne(
                database,
                sql: """
                    UPDATE accessToken SET lastUsed = ? WHERE digest = ? AND expires > ?
                    RETURNING user, scopes, organization
                    """,
                arguments: [now.seconds, token.digest, now.seconds]
            ).map { row in
                SignedInPerson(
                    user: row["user"],
                    accessToken: token.digest,
                    scopes: row["scopes"],
                    organization: row["organization"]
                )
            }
        }
    }

    /// What says on a device who is signed in there.
    ///
    /// - Parameters:
    ///   - session: the session.
    ///   - now: the time.
    /// - Returns: the ticket; `nil` if the session is bound to no device.
    /// - Throws: what SQLite says.
    fileprivate func ticket(for session: Session, at now: Instant) async throws -> TicketDocument? {
        guard let device = session.device, let organization = session.organization else { return nil }
        let (teams, seconds) = try await database.read { database in
            (
                try String.fetchAll(
                    database,
                    sql: "SELECT team FROM teamMember WHERE organization = ? AND user = ? ORDER BY team",
                    arguments: [organization, session.user]
                ),
                try Int64.fetchOne(
                    database,
                    sql: "SELECT validitySeconds FROM organization WHERE name = ?",
                    arguments: [organization]
                ) ?? 0
            )
        }
        return TicketDocument(
            organization: organization,
            device: device,
            session: session.id,
            subject: session.user,
            teams: teams,
            signedIn: session.created,
            issued: now,
            expires: min(now + seconds, session.expires)
        )
    }
}
