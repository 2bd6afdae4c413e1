import GRDB
import RegistryAccess

extension Store {
    /// Begins a session, and ends the one that was on the device.
    ///
    /// - Parameters:
    ///   - person: who signed in.
    ///   - organization: what it is good for; `nil` is each of theirs.
    ///   - device: the device that it is bound to; of that organization.
    ///   - address: where the sign-in came from.
    ///   - now: the time.
    /// - Returns: the session with its secrets.
    /// - Throws: ``SessionRefusal/notAMember``, or what SQLite says.
    func beginSession(
        of person: SignedInPerson,
        in organization: String?,
        on device: String?,
        from address: String,
        at now: Instant
    ) async throws -> IssuedSession {
        try await writes.run { database in
            try Self.beginSession(of: person, in: organization, on: device, from: address, at: now, database)
        }
    }

    static func beginSession(
        of person: SignedInPerson,
        in wanted: String?,
        on device: String?,
        from address: String,
        at now: Instant,
        _ database: Database
    ) throws -> IssuedSession {
        let organization = wanted ?? person.organization
        if let organization {
            guard person.organization.map({ $0 == organization }) ?? true,
                try roles(of: person.user, database)[organization] != nil
            else { throw SessionRefusal.notAMember }
        }
        if let accessToken = person.accessToken {
            // It may have been taken back since it was looked at.
            let isThere = try Bool.fetchOne(
                database,
                sql: "SELECT EXISTS (SELECT 1 FROM accessToken WHERE digest = ? AND expires > ?)",
                arguments: [accessToken, now.seconds]
            )
            guard isThere ?? false else { throw SessionRefusal.invalidGrant }
        }
        if let device {
            try database.execute(
                sql: "UPDATE session SET ended = ? WHERE organization = ? AND device = ? AND ended IS NULL",
                arguments: [now.seconds, organization, device]
            )
        }
        let access = OpaqueToken(.access)
        let refresh = OpaqueToken(.refresh)
        let id = RandomName.make()
        try database.execute(
            sql: """
                INSERT INTO session (id, user, organization, device, accessToken, scopes, address, created, access,
                    accessExpires, refresh, refreshed, expires)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, min(?, \(accessTokenEnd)))
                """,
            arguments: [
                id, person.user, organization, device, person.accessToken, person.scopes, address, now.seconds,
                access.digest, (now + Session.accessSeconds).seconds, refresh.digest, now.seconds,
                (now + Session.idleSeconds).seconds, person.accessToken,
            ]
        )
        // One that is good for each organization is recorded in each.
        for organization in try organization.map({ [$0] }) ?? roles(of: person.user, database).keys.sorted() {
            try Activity(
                .sessionStarted,
                by: person.user,
                name: person.user,
                data: [JSONMember("session", .string(id)), JSONMember("device", .text(device))]
            ).record(in: organization, at: now, database)
        }
        return IssuedSession(session: try session(id, database), access: access, refresh: refresh)
    }

    /// Goes on with a session: both of its secrets are replaced.
    ///
    /// - Parameters:
    ///   - token: the refresh token.
    ///   - device: the device that has shown its secret with it.
    ///   - now: the time.
    /// - Returns: the session with its new secrets.
    /// - Throws: ``SessionRefusal``, or what SQLite says. A token that was used before ends the session.
    func refreshSession(showing token: OpaqueToken, on device: String?, at now: Instant) async throws -> IssuedSession {
        let outcome = try await writes.run { database -> Result<IssuedSession, SessionRefusal> in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT * FROM session
                    WHERE refresh = :digest
                        OR (earlierRefresh = :digest AND (refreshed > :earliest OR device IS NOT NULL))
                    """,
                arguments: ["digest": token.digest, "earliest": (now + -Session.lostAnswerSeconds).seconds]
            )
            guard let row else { return .failure(try Self.endReused(token, at: now, database)) }
            let session = Session(row)
            let ended: Int64? = row["ended"]
            guard ended == nil, session.expires > now, session.device == device else {
                return .failure(.invalidGrant)
            }
            if let organization = session.organization {
                guard try Self.roles(of: session.user, database)[organization] != nil else {
                    return .failure(.notAMember)
                }
            }
            return .success(try Self.rotate(row, token, at: now, database))
        }
        return try outcome.get()
    }

    /// No session outlives the access token that began it.
    private static let accessTokenEnd = "coalesce((SELECT expires FROM accessToken WHERE digest = ?), 1 << 60)"

    private static func rotate(_ row: Row, _ token: OpaqueToken, at now: Instant, _ database: Database) throws
        -> IssuedSession
    {
        let number: Int64 = row["number"]
        let newest: String = row["refresh"]
        let created: Int64 = row["created"]
        let isNewest = newest == token.digest
        let access = OpaqueToken(.access)
        let refresh = OpaqueToken(.refresh)
        try database.execute(
            sql: "INSERT INTO usedRefreshToken (digest, session) VALUES (?, ?)",
            arguments: [newest, number]
        )
        try database.execute(
            sql: """
                UPDATE session SET access = ?, accessExpires = ?, refresh = ?, earlierRefresh = ?, refreshed = ?,
                    expires = min(?, \(accessTokenEnd))
                WHERE number = ?
                """,
            arguments: [
                access.digest, (now + Session.accessSeconds).seconds, refresh.digest, token.digest,
                // The time in which an answer counts as lost is not made longer by its being lost again.
                isNewest ? now.seconds : row["refreshed"] as Int64,
                min((now + Session.idleSeconds).seconds, created + Session.longestSeconds),
                row["accessToken"] as String?, number,
            ]
        )
        return IssuedSession(session: try session(row["id"], database), access: access, refresh: refresh)
    }

    private static func endReused(_ token: OpaqueToken, at now: Instant, _ database: Database) throws -> SessionRefusal
    {
        let row = try Row.fetchOne(
            database,
            sql: """
                SELECT session.number, session.id, session.user, session.organization FROM session
                JOIN usedRefreshToken ON usedRefreshToken.session = session.number
                WHERE usedRefreshToken.digest = ? AND session.ended IS NULL
                """,
            arguments: [token.digest]
        )
        guard let row else { return .invalidGrant }
        try database.execute(
            sql: "UPDATE session SET ended = ? WHERE number = ?",
            arguments: [now.seconds, row["number"] as Int64]
        )
        let organizations = try organizations(ofSession: row, database)
        for organization in organizations {
            try Activity(
                .tokenReused,
                by: Names.system,
                name: row["user"],
                data: [JSONMember("session", .text(row["id"]))]
            ).record(in: organization, at: now, database)
        }
        return .reused(organizations: organizations)
    }

    /// Where a session is good: in its organization, or in each of its user.
    private static func organizations(ofSession row: Row, _ database: Database) throws -> [String] {
        let organization: String? = row["organization"]
        return try organization.map { [$0] } ?? roles(of: row["user"], database).keys.sorted()
    }

    private static func session(_ id: String, _ database: Database) throws -> Session {
        let row = try Row.fetchOne(database, sql: "SELECT * FROM session WHERE id = ?", arguments: [id])
        guard let row else { throw DatabaseError(resultCode: .SQLITE_NOTFOUND, message: "the session is gone") }
        return Session(row)
    }

    /// Who shows an access token of a session.
    ///
    /// - Parameters:
    ///   - token: the token.
    ///   - now: the time.
    /// - Returns: the person; `nil` if the token is unknown, or it or the session has ended.
    /// - Throws: what SQLite says.
    func person(inSessionShowing token: OpaqueToken, at now: Instant) async throws -> Person? {
        try await database.read { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT id, user, organization, device, scopes, accessToken,
                        (SELECT expires FROM accessToken WHERE digest = session.accessToken) AS tokenExpires
                    FROM session WHERE access = ? AND accessExpires > ? AND expires > ? AND ended IS NULL
                    """,
                arguments: [token.digest, now.seconds, now.seconds]
            )
            guard let row else { return nil }
            let (device, scopes): (String?, String?) = (row["device"], row["scopes"])
            var permissions = scopes.map(Permission.set)
            if device != nil { permissions = permissions?.intersection(Permission.ofMachines) ?? Permission.ofMachines }
            let (accessToken, tokenExpires): (String?, Int64?) = (row["accessToken"], row["tokenExpires"])
            return Person(
                name: row["user"],
                roles: try Store.roles(of: row["user"], database),
                scopes: permissions,
                onlyOrganization: row["organization"],
                session: row["id"],
                accessToken: accessToken.map {
                    ShownAccessToken(digest: $0, expires: Instant(seconds: tokenExpires ?? now.seconds))
                }
            )
        }
    }

    /// Ends the session of a token: a sign-out.
    ///
    /// - Parameters:
    ///   - token: its refresh token or its access token.
    ///   - now: the time.
    /// - Returns: the organizations where the session that has ended was good; `nil` if there is none.
    /// - Throws: what SQLite says.
    @discardableResult
    func endSession(showing token: OpaqueToken, at now: Instant) async throws -> [String]? {
        try await database.write { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    UPDATE session SET ended = :now
                    WHERE (refresh = :digest OR earlierRefresh = :digest OR access = :digest) AND ended IS NULL
                    RETURNING id, user, organization
                    """,
                arguments: ["now": now.seconds, "digest": token.digest]
            )
            guard let row else { return nil }
            let organizations = try Self.organizations(ofSession: row, database)
            for organization in organizations {
                try Activity(
                    .sessionsEnded,
                    by: row["user"],
                    name: row["user"],
                    data: [JSONMember("sessions", .number("1"))]
                )
                .record(in: organization, at: now, database)
            }
            return organizations
        }
    }
}
