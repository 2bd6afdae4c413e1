import GRDB
import RegistryAccess
import SignedPolicy

extension Store {
    /// Makes an access token, for machines and CI.
    ///
    /// - Parameters:
    ///   - name: what its owner calls it.
    ///   - user: whose it is; it may never do more than they may.
    ///   - organization: where it is good.
    ///   - scopes: what it is limited to.
    ///   - now: the time.
    ///   - expires: when it ends; at most 365 days later.
    /// - Returns: the token, which is never to be had again.
    /// - Throws: what SQLite says, also when there is one of this name, or the user is no member.
    func makeAccessToken(
        named name: String,
        of user: String,
        in organization: String,
        scopes: Set<Permission>,
        now: Instant,
        expires: Instant
    ) async throws -> OpaqueToken {
        let token = OpaqueToken(.personal)
        try await database.write { database in
            try database.execute(
                sql: """
                    INSERT INTO accessToken (digest, organization, user, name, scopes, created, expires)
                    VALUES (?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    token.digest, organization, user, name,
                    scopes.map(\.rawValue).sorted().joined(separator: " "), now.seconds, expires.seconds,
                ]
            )
        }
        return token
    }

    /// Who shows a token.
    ///
    /// - Parameters:
    ///   - token: the token.
    ///   - now: the time.
    /// - Returns: the person; `nil` if the token is unknown or has ended.
    /// - Throws: what SQLite says.
    func person(showing token: OpaqueToken, at now: Instant) async throws -> Person? {
        try await database.read { database in
            let row = try Row.fetchOne(
                database,
                sql: "SELECT user, organization, scopes FROM accessToken WHERE digest = ? AND expires > ?",
                arguments: [token.digest, now.seconds]
            )
            guard let row else { return nil }
            let name: String = row["user"]
            let scopes: String = row["scopes"]
            return Person(
                name: name,
                roles: try Store.roles(of: name, database),
                scopes: Set(scopes.split(separator: " ").compactMap { Permission(rawValue: String($0)) }),
                onlyOrganization: row["organization"]
            )
        }
    }

    /// The roles of somebody in the organizations that they belong to.
    ///
    /// - Parameters:
    ///   - user: whose.
    ///   - database: where to look.
    /// - Returns: the roles by organization.
    /// - Throws: what SQLite says.
    static func roles(of user: String, _ database: Database) throws -> [String: Role] {
        let rows = try Row.fetchAll(
            database,
            sql: "SELECT organization, role FROM membership WHERE user = ?",
            arguments: [user]
        )
        return Dictionary(
            rows.compactMap { row in Role(rawValue: row["role"]).map { (row["organization"], $0) } },
            uniquingKeysWith: { first, _ in first }
        )
    }
}
