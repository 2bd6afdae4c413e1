import GRDB
import HTTPTypes
import RegistryAccess
import SignedPolicy

/// What lets a person set a new password without the old one, once.
///
/// An owner makes it for somebody who belongs to that owner's organization and to no other: whoever has the link can act as
/// that person everywhere.
struct PasswordReset: Hashable, Sendable {
    /// Whose password it is.
    let user: String
    let organization: String
    /// The owner who made it.
    let maker: String
    let expires: Instant

    /// How long one is good.
    static let lifetimeSeconds: Int64 = 86_400

    fileprivate init(_ row: Row) {
        user = row["user"]
        organization = row["organization"]
        maker = row["maker"]
        expires = Instant(seconds: row["expires"])
    }
}

/// Why no link is made.
private enum PasswordResetRefusal {
    case noMember
    case belongsElsewhere
    case signsInElsewhere

    /// The refusal, if there is one.
    init?(of user: String, in organization: String, _ database: Database) throws {
        let row = try Row.fetchOne(
            database,
            sql: """
                SELECT user.password IS NOT NULL AS hasPassword,
                    EXISTS (SELECT 1 FROM membership AS other
                        WHERE other.user = membership.user AND other.organization <> membership.organization)
                        AS isElsewhere,
                    EXISTS (SELECT 1 FROM identity JOIN singleSignOn USING (organization, issuer)
                        WHERE identity.organization = membership.organization AND identity.user = membership.user)
                        AS isLinked
                FROM membership JOIN user ON user.name = membership.user
                WHERE membership.organization = ? AND membership.user = ?
                """,
            arguments: [organization, user]
        )
        guard let row else {
            self = .noMember
            return
        }
        if row["isElsewhere"] {
            self = .belongsElsewhere
        } else if !(row["hasPassword"] as Bool), row["isLinked"] {
            // A password would be a way past the provider.
            self = .signsInElsewhere
        } else {
            return nil
        }
    }

    func problem(_ user: String) -> Problem {
        let hint = "whoever runs the server can set a password: docker-ram-server password --data DIR \(user)"
        return switch self {
        case .noMember: Problem.none("member", user)
        case .belongsElsewhere:
            Problem(.forbidden, .forbidden, "\"\(user)\" belongs to another organization here as well", hint: hint)
        case .signsInElsewhere:
            Problem(
                .forbidden,
                .forbidden,
                "\"\(user)\" has no password and signs in at the organization's provider",
                hint: hint
            )
        }
    }
}

extension Services {
    /// Insists on a link being allowed.
    ///
    /// - Parameters:
    ///   - user: who has forgotten their password.
    ///   - organization: where they are a member.
    ///   - person: who would make the link; a token could get more by it than it may do itself.
    /// - Throws: ``Problem``.
    func checkPasswordReset(for user: String, in organization: String, by person: Person) async throws {
        guard person.scopes == nil else { throw Problem.needsSignIn }
        guard user != person.name else {
            throw Problem(
                .forbidden,
                .forbidden,
                "a link for a new password is for somebody else",
                hint: "you change yours under \"Your account\""
            )
        }
        let refusal = try await store.database.read { try PasswordResetRefusal(of: user, in: organization, $0) }
        if let refusal { throw refusal.problem(user) }
    }

    /// Makes a link by which somebody sets a new password; one that was made before is good for nothing then.
    ///
    /// - Parameters:
    ///   - user: who has forgotten theirs.
    ///   - organization: where they are a member.
    ///   - person: the owner who makes it.
    /// - Returns: the link, which is never to be had again, and its end.
    /// - Throws: ``Problem`` if that is not allowed, or what SQLite says.
    func makePasswordReset(for user: String, in organization: String, by person: Person) async throws -> (
        link: String, expires: Instant
    ) {
        try await checkPasswordReset(for: user, in: organization, by: person)
        let token = OpaqueToken(.passwordReset)
        let (maker, now) = (person.name, now())
        let expires = now + PasswordReset.lifetimeSeconds
        try await store.database.write { database in
            // They may have joined another organization at this moment.
            if let refusal = try PasswordResetRefusal(of: user, in: organization, database) {
                throw refusal.problem(user)
            }
            try database.execute(sql: "DELETE FROM passwordReset WHERE user = ?", arguments: [user])
            try database.execute(
                sql: """
                    INSERT INTO passwordReset (digest, organization, user, maker, created, expires)
                    VALUES (?, ?, ?, ?, ?, ?)
                    """,
                arguments: [token.digest, organization, user, maker, now.seconds, expires.seconds]
            )
            try Activity(.passwordResetMade, by: maker, name: user).record(in: organization, at: now, database)
        }
        return ("\(settings.publicAddress)/new-password?link=\(token.secret)", expires)
    }

    /// What somebody shows who wants to set a new password.
    ///
    /// - Parameters:
    ///   - text: the secret of the link.
    ///   - address: where the request comes from.
    /// - Returns: whose password it is, with the secret.
    /// - Throws: ``Problem`` if it is none, or not any more, or too many were shown from there.
    func passwordReset(_ text: String, _ address: String) async throws -> (token: OpaqueToken, reset: PasswordReset) {
        try await limits.take(.passwordReset, address)
        guard let token = OpaqueToken(text), token.kind == .passwordReset,
            let reset = try await store.passwordReset(showing: token, at: now())
        else { throw Problem.noPasswordReset }
        return (token, reset)
    }

    /// Sets a new password by a link, which is used up, and ends all sessions of its owner.
    ///
    /// - Parameters:
    ///   - token: the secret of the link.
    ///   - reset: what it is for.
    ///   - password: the new password.
    ///   - address: where the request comes from.
    /// - Throws: ``Problem`` if the link is not good any more, or the password will not do.
    func setPassword(
        by token: OpaqueToken,
        for reset: PasswordReset,
        to password: Password,
        _ address: String
    ) async throws {
        let words = settings.wordsNearPasswords + [reset.organization]
        if let weakness = password.weakness(for: reset.user, near: words) {
            throw Problem(.badRequest, .badRequest, weakness)
        }
        let hash = try await passwords.hash(password)
        let now = now()
        let organizations = try await store.database.write { database -> [String]? in
            // Of two who use it at the same time one does.
            guard let reset = try Store.passwordReset(token, at: now, database) else { return nil }
            return try Store.changePassword(
                of: reset.user,
                to: hash,
                Activity(
                    .passwordChanged,
                    by: reset.user,
                    name: reset.user,
                    data: [JSONMember("maker", .string(reset.maker))]
                ),
                at: now,
                database
            )
        }
        guard let organizations else { throw Problem.noPasswordReset }
        for organization in organizations { await changes.notify(organization) }
        // Whoever has forgotten a password has tried some.
        await limits.fill(.passwordInARow, "\(reset.user) \(address)")
    }
}

extension Store {
    /// What somebody shows who wants to set a new password.
    ///
    /// - Parameters:
    ///   - token: the secret.
    ///   - now: the time.
    /// - Returns: whose password it is; `nil` if the link is none, or not any more.
    /// - Throws: what SQLite says.
    func passwordReset(showing token: OpaqueToken, at now: Instant) async throws -> PasswordReset? {
        try await database.read { try Self.passwordReset(token, at: now, $0) }
    }

    fileprivate static func passwordReset(_ token: OpaqueToken, at now: Instant, _ database: Database) throws
        -> PasswordReset?
    {
        try Row.fetchOne(
            database,
            sql: "SELECT * FROM passwordReset WHERE digest = ? AND expires > ?",
            arguments: [token.digest, now.seconds]
        ).map(PasswordReset.init)
    }
}

extension Problem {
    /// A link that sets no password.
    fileprivate static var noPasswordReset: Problem {
        Problem(.notFound, .notFound, "this link is not good, or not any more", hint: "ask for another")
    }
}
