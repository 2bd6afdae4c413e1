import GRDB
import RegistryAccess
import SignedPolicy

/// Somebody who belongs to an organization.
struct Member: Hashable, Sendable {
    let name: String
    let email: String?
    let role: Role
    let teams: [String]
    let since: Instant
    /// Whether they can sign in with a password.
    let hasPassword: Bool
    /// Whether they are known by a sign-in at the organization's provider.
    let isLinked: Bool
}

extension Store {
    /// The members of an organization.
    ///
    /// - Parameter organization: which.
    /// - Returns: the members by their names.
    /// - Throws: what SQLite says.
    func members(of organization: String) async throws -> [Member] {
        try await database.read { database in
            let teams = try Row.fetchAll(
                database,
                sql: "SELECT user, team FROM teamMember WHERE organization = ? ORDER BY team",
                arguments: [organization]
            )
            let teamsOf = Dictionary(grouping: teams) { row -> String in row["user"] }
            return try Row.fetchAll(
                database,
                sql: """
                    SELECT user.name, user.password IS NOT NULL AS hasPassword, EXISTS (
                        SELECT 1 FROM identity JOIN singleSignOn USING (organization, issuer)
                        WHERE identity.organization = membership.organization AND identity.user = membership.user
                    ) AS isLinked, membership.role, membership.created, coalesce(user.email, (
                        SELECT email FROM identity WHERE identity.organization = membership.organization
                            AND identity.user = membership.user ORDER BY created DESC
                    )) AS email
                    FROM membership JOIN user ON user.name = membership.user WHERE membership.organization = ? ORDER BY user.name
                    """,
                arguments: [organization]
            ).compactMap { row in
                let name: String = row["name"]
                return Role(rawValue: row["role"]).map { role in
                    Member(
                        name: name,
                        email: row["email"],
                        role: role,
                        teams: (teamsOf[name] ?? []).map { $0["team"] },
                        since: Instant(seconds: row["created"]),
                        hasPassword: row["hasPassword"],
                        isLinked: row["isLinked"]
                    )
                }
            }
        }
    }

    /// Gives a member another role.
    ///
    /// - Parameters:
    ///   - user: the member.
    ///   - role: the new role.
    ///   - organization: where.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: whether there is such a member.
    /// - Throws: what SQLite says, also if it is the last owner.
    func changeRole(of user: String, to role: Role, in organization: String, by actor: String, at now: Instant)
        async throws
        -> Bool
    {
        try await database.write { database in
            guard let old = try Self.roles(of: user, database)[organization] else { return false }
            guard old != role else { return true }
            try database.execute(
                sql: "UPDATE membership SET role = ? WHERE organization = ? AND user = ?",
                arguments: [role.rawValue, organization, user]
            )
            try Activity(
                .memberRoleChanged,
                by: actor,
                name: user,
                data: [JSONMember("from", .string(old.rawValue)), JSONMember("to", .string(role.rawValue))]
            ).record(in: organization, at: now, database)
            return true
        }
    }

    /// Takes a member out, with their tokens, sessions and invitations.
    ///
    /// - Parameters:
    ///   - user: the member.
    ///   - organization: where.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: whether there was such a member.
    /// - Throws: what SQLite says, also if it is the last owner.
    func removeMember(_ user: String, from organization: String, by actor: String, at now: Instant) async throws -> Bool
    {
        try await database.write { database in
            try database.execute(
                sql: "DELETE FROM membership WHERE organization = ? AND user = ?",
                arguments: [organization, user]
            )
            guard database.changesCount > 0 else { return false }
            try Activity(.memberRemoved, by: actor, name: user).record(in: organization, at: now, database)
            return true
        }
    }
}
