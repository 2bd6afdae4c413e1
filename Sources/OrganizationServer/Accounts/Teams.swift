import GRDB
import RegistryAccess
import SignedPolicy

/// Some members of an organization.
struct Team: Hashable, Sendable {
    let name: String
    let members: [String]
}

extension Store {
    /// The teams of an organization.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - name: which of its teams; `nil` is all.
    /// - Returns: the teams by their names.
    /// - Throws: what SQLite says.
    func teams(of organization: String, named name: String? = nil) async throws -> [Team] {
        try await database.read { database in
            let members = try Row.fetchAll(
                database,
                sql: "SELECT team, user FROM teamMember WHERE organization = ? ORDER BY user",
                arguments: [organization]
            )
            let membersOf = Dictionary(grouping: members) { row -> String in row["team"] }
            return try String.fetchAll(
                database,
                sql:
                    "SELECT name FROM team WHERE organization = :organization AND (:name IS NULL OR name = :name) ORDER BY name",
                arguments: ["organization": organization, "name": name]
            ).map { team in Team(name: team, members: (membersOf[team] ?? []).map { $0["user"] }) }
        }
    }

    /// Makes a team.
    ///
    /// - Parameters:
    ///   - name: what it is called.
    ///   - organization: where.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Throws: what SQLite says, also if there is one of this name.
    func makeTeam(_ name: String, in organization: String, by actor: String, at now: Instant) async throws {
        try await database.write { database in
            try database.execute(
                sql: "INSERT INTO team (organization, name, created) VALUES (?, ?, ?)",
                arguments: [organization, name, now.seconds]
            )
            try Activity(.teamCreated, by: actor, name: name).record(in: organization, at: now, database)
        }
    }

    /// Removes a team; its members stay in the organization.
    ///
    /// - Parameters:
    ///   - name: which.
    ///   - organization: where.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: whether there was one.
    /// - Throws: what SQLite says.
    func removeTeam(_ name: String, in organization: String, by actor: String, at now: Instant) async throws -> Bool {
        try await database.write { database in
            try database.execute(
                sql: "DELETE FROM team WHERE organization = ? AND name = ?",
                arguments: [organization, name]
            )
            guard database.changesCount > 0 else { return false }
            try Activity(.teamDeleted, by: actor, name: name).record(in: organization, at: now, database)
            return true
        }
    }

    /// Puts a member into a team, or takes them out.
    ///
    /// - Parameters:
    ///   - user: the member.
    ///   - team: the team.
    ///   - isIn: whether they are in it from now on.
    ///   - organization: where.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: whether there are such a team and such a member.
    /// - Throws: what SQLite says.
    func setMember(
        _ user: String,
        ofTeam team: String,
        isIn: Bool,
        in organization: String,
        by actor: String,
        at now: Instant
    ) async throws -> Bool {
        try await database.write { database in
            let isThere = try Bool.fetchOne(
                database,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM team WHERE organization = :organization AND name = :team)
                        AND EXISTS (SELECT 1 FROM membership WHERE organization = :organization AND user = :user)
                    """,
                arguments: ["organization": organization, "team": team, "user": user]
            )
            guard isThere ?? false else { return false }
            try database.execute(
                sql: isIn
                    ? "INSERT OR IGNORE INTO teamMember (organization, team, user) VALUES (?, ?, ?)"
                    : "DELETE FROM teamMember WHERE organization = ? AND team = ? AND user = ?",
                arguments: [organization, team, user]
            )
            guard database.changesCount > 0 else { return true }
            try Activity(
                isIn ? .teamMemberAdded : .teamMemberRemoved,
                by: actor,
                name: user,
                data: [.init("team", .string(team))]
            )
            .record(in: organization, at: now, database)
            return true
        }
    }
}
