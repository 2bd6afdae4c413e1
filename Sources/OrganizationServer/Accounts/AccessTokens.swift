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
    ///   - maker: the access token that makes it, by its digest, with which it ends; `nil`: who has signed in does.
    ///   - now: the time.
    ///   - expires: when it ends; at most 365 days later.
    /// - Returns: the token, which is never to be had again.
    /// - Throws: what SQLite says, also when there is one of this name, or the user is no member.
    func makeAccessToken(
        named name: String,
        of user: String,
        in organization: String,
        scopes: Set<Permission>,
        by maker: String? = nil,
        now: Instant,
        expires: Instant
    ) async throws -> OpaqueToken {
        let token = OpaqueToken(.personal)
        try await database.write { database in
            try database.execute(
                sql: """
                    INSERT INTO accessToken (digest, organization, user, name, scopes, created, expires, maker)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    token.digest, organization, user, name,
                    Permission.text(scopes), now.seconds, expires.seconds,
                    maker,
                ]
            )
            try Activity(
                .tokenCreated,
                by: user,
                name: name,
                data: [
                    JSONMember("scopes", .texts(scopes.map(\.rawValue).sorted())),
                    JSONMember("expires", .string(expires.description)),
                ]
            ).record(in: organization, at: now, database)
        }
        return token
    }

    /// Who shows an access token, and notes that it was used.
    ///
    /// - Parameters:
    ///   - token: the token.
    ///   - now: the time.
    /// - Returns: the person; `nil` if the token is unknown or has ended.
    /// - Throws: what SQLite says.
    func person(showing token: OpaqueToken, at now: Instant) async throws -> Person? {
        let (person, isNoted) = try await database.read { database -> (Person?, Bool) in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT user, organization, scopes, expires, lastUsed FROM accessToken
                    WHERE digest = ? AND expires > ?
                    """,
                arguments: [token.digest, now.seconds]
            )
            guard let row else { return (nil, true) }
            let lastUsed: Int64? = row["lastUsed"]
            let person = Person(
                name: row["user"],
                roles: try Store.roles(of: row["user"], database),
                scopes: Permission.set(row["scopes"]),
                onlyOrganization: row["organization"],
                accessToken: ShownAccessToken(digest: token.digest, expires: Instant(seconds: row["expires"]))
            )
            return (person, lastUsed.map { now.seconds - $0 < 3600 } ?? false)
        }
        guard !isNoted else { return person }
        // To the hour is enough for its owner to see which of them are used.
        try await database.write { database in
            try database.execute(
                sql: "UPDATE accessToken SET lastUsed = ? WHERE digest = ?",
                arguments: [now.seconds, token.digest]
            )
        }
        return person
    }

    /// An access token as its owner and the organization's owners see it.
    struct AccessTokenEntry: Hashable, Sendable {
        /// Its name in addresses, no secret.
        let id: String
        let name: String
        let user: String
        let scopes: [String]
        let created: Instant
        let expires: Instant
        let lastUsed: Instant?
    }

    /// The access tokens of an organization.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - user: whose; `nil` is everybody's.
    /// - Returns: the tokens by their owners and names.
    /// - Throws: what SQLite says.
    func accessTokens(in organization: String, of user: String?) async throws -> [AccessTokenEntry] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM accessToken WHERE organization = :organization AND (:user IS NULL OR user = :user)
                    ORDER BY user, name
                    """,
                arguments: ["organization": organization, "user": user]
            ).map { row in
                let digest: String = row["digest"]
                let scopes: String = row["scopes"]
                let lastUsed: Int64? = row["lastUsed"]
                return AccessTokenEntry(
                    id: String(digest.prefix(Self.accessTokenIDLength)),
                    name: row["name"],
                    user: row["user"],
                    scopes: scopes.split(separator: " ").map(String.init),
                    created: Instant(seconds: row["created"]),
                    expires: Instant(seconds: row["expires"]),
                    lastUsed: lastUsed.map(Instant.init(seconds:))
                )
            }
        }
    }

    /// 80 bits of the digest are a name that no two tokens share.
    private static let accessTokenIDLength = 20

    /// Takes an access token back, and ends what was begun with it, and the tokens that were made with it.
    ///
    /// - Parameters:
    ///   - id: the token's name in addresses.
    ///   - organization: where it is good.
    ///   - user: whose it has to be; `nil` is anybody's.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: whether there was one.
    /// - Throws: what SQLite says.
    func deleteAccessToken(
        _ id: String,
        in organization: String,
        of user: String?,
        by actor: String,
        at now: Instant
    ) async throws -> Bool {
        guard id.utf8.count == Self.accessTokenIDLength else { return false }
        return try await database.write { database in
            let gone = try Row.fetchAll(
                database,
                sql: """
                    WITH RECURSIVE gone (digest, name) AS (
                        SELECT digest, name FROM accessToken
                        WHERE organization = :organization AND (:user IS NULL OR user = :user)
                            AND substr(digest, 1, \(Self.accessTokenIDLength)) = :id
                        UNION ALL
                        SELECT made.digest, made.name FROM accessToken AS made JOIN gone ON made.maker = gone.digest
                    )
                    SELECT digest, name FROM gone
                    """,
                arguments: ["organization": organization, "user": user, "id": id]
            )
            guard let first = gone.first else { return false }
            // What was made with it goes with it.
            try database.execute(
                sql: "DELETE FROM accessToken WHERE digest = ?",
                arguments: [first["digest"] as String]
            )
            for row in gone {
                try Activity(.tokenDeleted, by: actor, name: row["name"]).record(in: organization, at: now, database)
            }
            return true
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
