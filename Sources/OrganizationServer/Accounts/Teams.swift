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
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT team.name, teamMember.user FROM team
                    LEFT JOIN teamMember ON teamMember.organization = team.organization AND teamMember.team = team.name
                    WHERE team.organization = :organization AND (:name IS NULL OR team.name = :name)
                    ORDER BY team.name, teamMember.user
                    """,
                arguments: ["organization": organization, "name": name]
            )
            return Dictionary(grouping: rows) { row -> String in row["name"] }
                .sorted { $0.key < $1.key }
                .map { name, rows in Team(name: name, members: rows.compactMap { $0["user"] }) }
        }
    }

    /// The names of the teams of an organization.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - user: only those that they are in; `nil`: all.
    /// - Returns: the names in their order.
    /// - Throws: what SQLite says.
    func teamNames(of organization: String, with user: String? = nil) async throws -> [String] {
        try await database.read { database in
            guard let user else {
                return try String.fetchAll(
                    database,
                    sql: "SELECT name FROM team WHERE organization = ? ORDER BY name",
                    arguments: [organization]
                )
            }
            return try String.fetchAll(
                database,
                sql: "SELECT team FROM teamMember WHERE organization = ? AND user = ? ORDER BY team",
                arguments: [organization, user]
            )
        }
    }

    /// How many members teams have.
    ///
    /// - Parameters:
    ///   - teams: which.
    ///   - organization: where.
    /// - Returns: the counts by the names of those that somebody is in.
    /// - Throws: what SQLite says.
    func memberCounts(ofTeams teams: [String], in organization: String) async throws -> [String: Int] {
        try await database.read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT team, count(*) AS count FROM teamMember
                    WHERE organization = ? AND team IN (\(teams.map { _ in "?" }.joined(separator: ", "))) GROUP BY team
                    """,
                arguments: [organization] + StatementArguments(teams)
            )
            return Dictionary(rows.map { ($0["team"], $0["count"]) }, uniquingKeysWith: { first, _ in first })
        }
    }

    /// Some of the members of a team.
    ///
    /// - Parameters:
    ///   - team: which.
    ///   - organization: where.
    ///   - range: which of them, in the order of their names.
    /// - Returns: their names.
    /// - Throws: what SQLite says.
    func members(ofTeam team: String, in organization: String, _ range: Range<Int>) async throws -> [String] {
        try await database.read { database in
            try String.fetchAll(
                database,
                sql: """
                    SELECT user FROM teamMember WHERE organization = ? AND team = ? ORDER BY user LIMIT ? OFFSET ?
                    """,
                arguments: [organization, team, range.count, range.lowerBound]
            )
        }
    }

    /// The first of those members of an organization who are not in a team.
    ///
    /// - Parameters:
    ///   - team: the team.
    ///   - organization: where.
    ///   - limit: how many at most.
    /// - Returns: their names.
    /// - Throws: what SQLite says.
    func members(notInTeam team: String, in organization: String, atMost limit: Int) async throws -> [String] {
        try await database.read { database in
            try String.fetchAll(
                database,
                sql: """
                    SELECT user FROM membership WHERE organization = :organization AND NOT EXISTS (
                        SELECT 1 FROM teamMember WHERE organization = :organization AND team = :team
                            AND user = membership.user)
                    ORDER BY user LIMIT :limit
                    """,
                arguments: ["organization": organization, "team": team, "limit": limit]
            )
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
    ///   - database: where the transaction is.
    /// - Throws: ``Problem`` if there is none, or what SQLite says.
    static func removeTeam(
        _ name: String,
        in organization: String,
        by actor: String,
        at now: Instant,
        _ database: Database
    ) throws {
        try database.execute(
            sql: "DELETE FROM team WHERE organization = ? AND name = ?",
            arguments: [organization, name]
        )
        guard database.changesCount > 0 else { throw Problem.none("team", name) }
        try Activity(.teamDeleted, by: actor, name: name).record(in: organization, at: now, database)
    }

    /// Gives a team another name; who is in it stays, and their tickets name it so from then on.
    ///
    /// - Parameters:
    ///   - name: which.
    ///   - new: its new name.
    ///   - organization: where.
    ///   - actor: who does it.
    ///   - now: the time.
    ///   - database: where the transaction is, in which a new version of the policy is written already, if there is one.
    /// - Throws: ``Problem`` if there is none, or what SQLite says, also if there is one of the new name.
    static func renameTeam(
        _ name: String,
        to new: String,
        in organization: String,
        by actor: String,
        at now: Instant,
        _ database: Database
    ) throws {
        try database.execute(
            sql: """
                INSERT INTO team (organization, name, created)
                SELECT organization, :new, created FROM team WHERE organization = :organization AND name = :name
                """,
            arguments: ["organization": organization, "name": name, "new": new]
        )
        guard database.changesCount > 0 else { throw Problem.none("team", name) }
        try database.execute(
            sql: """
                INSERT INTO teamMember (organization, team, user)
                SELECT organization, :new, user FROM teamMember WHERE organization = :organization AND team = :name
                """,
            arguments: ["organization": organization, "name": name, "new": new]
        )
        // Who is in it goes with it, and whoever waits for changes of teams learns of that.
        try database.execute(
            sql: "DELETE FROM team WHERE organization = ? AND name = ?",
            arguments: [organization, name]
        )
        try database.execute(
            sql: """
                INSERT INTO teamRename (organization, policyVersion, earlier, later)
                SELECT :organization, coalesce(max(version), 0), :name, :new FROM policyVersion
                WHERE organization = :organization
                """,
            arguments: ["organization": organization, "name": name, "new": new]
        )
        try Activity(.teamRenamed, by: actor, name: name, data: [JSONMember("to", .string(new))])
            .record(in: organization, at: now, database)
    }

    /// What teams are called now that a version of the policy knows by earlier names.
    ///
    /// - Parameters:
    ///   - version: which version.
    ///   - organization: whose.
    /// - Returns: the changes of names, in the order in which they were made.
    /// - Throws: what SQLite says.
    func teamRenames(since version: Int, in organization: String) async throws -> [TeamRename] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT policyVersion, earlier, later FROM teamRename
                    WHERE organization = ? AND policyVersion > ? ORDER BY number
                    """,
                arguments: [organization, version]
            ).map { TeamRename(version: $0["policyVersion"], earlier: $0["earlier"], later: $0["later"]) }
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
