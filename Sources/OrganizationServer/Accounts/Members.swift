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

/// Which members are wanted.
struct MemberFilter: Sendable {
    /// What their name, their e-mail address or a team of theirs holds, in small letters.
    var text = ""
    var role: Role?
    /// Only the one of this name.
    var name: String?

    fileprivate func arguments(_ organization: String) -> StatementArguments {
        ["organization": organization, "text": text, "role": role?.rawValue, "name": name]
    }

    /// The members in SQL, as ``arguments(_:)`` says.
    fileprivate static let selected = """
        (SELECT membership.user AS name, user.password IS NOT NULL AS hasPassword, EXISTS (
                SELECT 1 FROM identity JOIN singleSignOn USING (organization, issuer)
                WHERE identity.organization = membership.organization AND identity.user = membership.user
            ) AS isLinked, membership.role, membership.created, coalesce(user.email, (
                SELECT email FROM identity WHERE identity.organization = membership.organization
                    AND identity.user = membership.user ORDER BY created DESC
            )) AS email
            FROM membership JOIN user ON user.name = membership.user WHERE membership.organization = :organization)
        WHERE (:role IS NULL OR role = :role) AND (:name IS NULL OR name = :name)
            AND (:text = '' OR instr(name, :text) > 0 OR instr(lower(email), :text) > 0 OR EXISTS (
                SELECT 1 FROM teamMember WHERE organization = :organization AND user = name AND instr(team, :text) > 0
            ))
        """
}

extension Store {
    /// The members of an organization.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - filter: which of its members.
    ///   - range: which of those, in the order of their names; `nil`: all.
    /// - Returns: the members by their names.
    /// - Throws: what SQLite says.
    func members(
        of organization: String,
        _ filter: MemberFilter = MemberFilter(),
        _ range: Range<Int>? = nil
    ) async throws -> [Member] {
        let arguments =
            filter.arguments(organization) &+ ["count": range?.count ?? -1, "start": range?.lowerBound ?? 0]
        return try await database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT *, (SELECT group_concat(team, ' ') FROM (SELECT team FROM teamMember
                        WHERE organization = :organization AND user = name ORDER BY team)) AS teams
                    FROM \(MemberFilter.selected) ORDER BY name LIMIT :count OFFSET :start
                    """,
                arguments: arguments
            ).compactMap { row in
                let teams: String? = row["teams"]
                return Role(rawValue: row["role"]).map { role in
                    Member(
                        name: row["name"],
                        email: row["email"],
                        role: role,
                        teams: (teams ?? "").split(separator: " ").map(String.init),
                        since: Instant(seconds: row["created"]),
                        hasPassword: row["hasPassword"],
                        isLinked: row["isLinked"]
                    )
                }
            }
        }
    }

    /// Counts the members of an organization.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - filter: which of its members.
    /// - Returns: how many there are.
    /// - Throws: what SQLite says.
    func memberCount(of organization: String, _ filter: MemberFilter = MemberFilter()) async throws -> Int {
        try await database.read { database in
            try Int.fetchOne(
                database,
                sql: "SELECT count(*) FROM \(MemberFilter.selected)",
                arguments: filter.arguments(organization)
            ) ?? 0
        }
    }

    /// Gives a member another role; with that of an owner their invitations go.
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
