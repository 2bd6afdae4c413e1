import GRDB
import RegistryAccess
import SignedPolicy

/// What lets a person join an organization, once.
struct Invitation: Hashable, Sendable {
    /// Its name in addresses, no secret.
    let id: String
    let organization: String
    /// Whom it is for, as far as that was said.
    let email: String?
    /// What they will be.
    let role: Role
    let inviter: String
    let expires: Instant

    /// How long one is good.
    static let lifetimeSeconds: Int64 = 7 * 86_400

    fileprivate init?(_ row: Row) {
        guard let role = Role(rawValue: row["role"]) else { return nil }
        let digest: String = row["digest"]
        id = String(digest.prefix(Self.idLength))
        organization = row["organization"]
        email = row["email"]
        self.role = role
        inviter = row["inviter"]
        expires = Instant(seconds: row["expires"])
    }

    fileprivate static let idLength = 20
}

extension Store {
    /// Invites somebody.
    ///
    /// - Parameters:
    ///   - email: whom.
    ///   - role: what they will be.
    ///   - organization: where.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: the secret, which is never to be had again, and the invitation.
    /// - Throws: what SQLite says.
    func invite(_ email: String?, as role: Role, to organization: String, by actor: String, at now: Instant)
        async throws
        -> (token: OpaqueToken, invitation: Invitation?)
    {
        let token = OpaqueToken(.invitation)
        let invitation = try await database.write { database in
            try database.execute(
                sql: """
                    INSERT INTO invitation (digest, organization, email, role, inviter, created, expires)
                    VALUES (?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    token.digest, organization, email, role.rawValue, actor, now.seconds,
                    (now + Invitation.lifetimeSeconds).seconds,
                ]
            )
            try Activity(
                .memberInvited,
                by: actor,
                name: email ?? "",
                data: [JSONMember("role", .string(role.rawValue))]
            ).record(in: organization, at: now, database)
            return try Self.invitation(token, at: now, database)
        }
        return (token, invitation)
    }

    static func invitation(_ token: OpaqueToken, at now: Instant, _ database: Database) throws -> Invitation? {
        try Row.fetchOne(
            database,
            sql: "SELECT * FROM invitation WHERE digest = ? AND expires > ?",
            arguments: [token.digest, now.seconds]
        ).flatMap(Invitation.init)
    }

    /// The invitation that somebody shows.
    ///
    /// - Parameters:
    ///   - token: the secret.
    ///   - now: the time.
    /// - Returns: the invitation; `nil` if it is none, or not any more.
    /// - Throws: what SQLite says.
    func invitation(showing token: OpaqueToken, at now: Instant) async throws -> Invitation? {
        try await database.read { try Self.invitation(token, at: now, $0) }
    }

    /// The invitations of an organization that nobody has accepted so far.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - now: the time.
    /// - Returns: the invitations, the newest first.
    /// - Throws: what SQLite says.
    func invitations(to organization: String, at now: Instant) async throws -> [Invitation] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: "SELECT * FROM invitation WHERE organization = ? AND expires > ? ORDER BY created DESC, digest",
                arguments: [organization, now.seconds]
            ).compactMap(Invitation.init)
        }
    }

    /// Takes an invitation back.
    ///
    /// - Parameters:
    ///   - id: its name in addresses.
    ///   - organization: where it leads to.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: whether there was one.
    /// - Throws: what SQLite says.
    func cancelInvitation(_ id: String, to organization: String, by actor: String, at now: Instant) async throws -> Bool
    {
        guard id.utf8.count == Invitation.idLength else { return false }
        return try await database.write { database in
            try database.execute(
                sql: "DELETE FROM invitation WHERE organization = ? AND substr(digest, 1, \(Invitation.idLength)) = ?",
                arguments: [organization, id]
            )
            guard database.changesCount > 0 else { return false }
            try Activity(.invitationCancelled, by: actor, name: id).record(in: organization, at: now, database)
            return true
        }
    }

    /// Lets somebody join by an invitation, which is used up.
    ///
    /// - Parameters:
    ///   - token: the invitation's secret.
    ///   - user: who joins.
    ///   - newPassword: the password of somebody who is not there so far; `nil` for somebody who is.
    ///   - now: the time.
    /// - Returns: where they are a member now; `nil` if the invitation is not good any more.
    /// - Throws: what SQLite says, also if there is somebody of this name, or they belong to it already.
    func join(by token: OpaqueToken, as user: String, newPassword: PasswordHash?, at now: Instant) async throws
        -> Invitation?
    {
        try await database.write { database in
            guard let invitation = try Self.invitation(token, at: now, database) else { return nil }
            try database.execute(sql: "DELETE FROM invitation WHERE digest = ?", arguments: [token.digest])
            if let newPassword {
                try Self.insertUser(user, email: invitation.email, newPassword, at: now, database)
            }
            try database.execute(
                sql: "INSERT INTO membership (organization, user, role, created) VALUES (?, ?, ?, ?)",
                arguments: [invitation.organization, user, invitation.role.rawValue, now.seconds]
            )
            try Activity(
                .memberAdded,
                by: user,
                name: user,
                data: [
                    JSONMember("role", .string(invitation.role.rawValue)),
                    JSONMember("inviter", .string(invitation.inviter)),
                ]
            ).record(in: invitation.organization, at: now, database)
            return invitation
        }
    }
}
