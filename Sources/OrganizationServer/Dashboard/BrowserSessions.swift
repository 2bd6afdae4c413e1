import GRDB
import RegistryAccess
import SignedPolicy

/// Somebody who signed in with a browser.
struct BrowserSession: Sendable {
    /// Its name, no secret.
    let id: String
    /// Who, with what they may do.
    let person: Person
    /// When they last showed who they are.
    let authenticated: Instant
    /// What every form of theirs carries, which no other site can know.
    let formToken: String
    /// The one organization whose provider has signed them in, and which nothing is shown beyond; `nil` with a password.
    let organization: String?

    /// How long it goes on without being used.
    static let idleSeconds: Int64 = 1800
    /// How long it goes on at most.
    static let longestSeconds: Int64 = 12 * 3600
    /// How long ago they may have shown who they are, for what is dangerous.
    static let confirmedSeconds: Int64 = 600
    /// Not every request is written down.
    fileprivate static let grain: Int64 = 60

    /// Whether they have shown lately who they are.
    ///
    /// - Parameter now: the time.
    /// - Returns: whether it was within ten minutes.
    func isConfirmed(at now: Instant) -> Bool { now - authenticated < Self.confirmedSeconds }

    /// What the forms of a browser carry.
    ///
    /// - Parameter token: what the browser is known by.
    /// - Returns: a digest that is not the one in the database.
    static func formToken(_ token: OpaqueToken) -> String { Hexadecimal.sha256(Array("form \(token.secret)".utf8)) }
}

extension Schema {
    /// The dashboard.
    static let dashboard: [(String, String)] = [
        (
            "sessions in browsers",
            """
            -- When whoever uses it in a browser last showed who they are; NULL: it is no browser's.
            ALTER TABLE session ADD COLUMN authenticated INTEGER;
            """
        )
    ]
}

/// A session in a browser is one like the others: it is listed with them, and ends with them. With a password it is good for
/// each organization of its user, with single sign-on for the one whose provider it was; what the browser shows stands in the place of the access token, and nothing refreshes it.
extension Store {
    /// Begins a session in a browser, and ends the one that it had.
    ///
    /// - Parameters:
    ///   - user: who signed in.
    ///   - organization: the one that it is good for; `nil`: each of theirs.
    ///   - authenticated: when they showed who they are; `nil`: now.
    ///   - earlier: what the browser was known by until now.
    ///   - address: where the sign-in came from.
    ///   - now: the time.
    /// - Returns: what the browser is known by from now on.
    /// - Throws: ``SessionRefusal/notAMember``, or what SQLite says.
    func beginBrowserSession(
        of user: String,
        in organization: String? = nil,
        authenticated: Instant? = nil,
        after earlier: OpaqueToken?,
        from address: String,
        at now: Instant
    ) async throws -> OpaqueToken {
        let token = OpaqueToken(.browser)
        let id = RandomName.make()
        try await database.write { database in
            let organizations = try Self.roles(of: user, database).keys.sorted()
            if let organization, !organizations.contains(organization) { throw SessionRefusal.notAMember }
            if let earlier {
                try database.execute(
                    sql: "UPDATE session SET ended = ? WHERE access = ? AND ended IS NULL",
                    arguments: [now.seconds, earlier.digest]
                )
            }
            let expires = (now + BrowserSession.idleSeconds).seconds
            try database.execute(
                sql: """
                    INSERT INTO session (id, user, organization, address, created, access, accessExpires, refresh,
                        refreshed, expires, authenticated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    id, user, organization, address, now.seconds, token.digest, expires,
                    // Nobody gets this one.
                    OpaqueToken(.refresh).digest, now.seconds, expires, (authenticated ?? now).seconds,
                ]
            )
            for organization in organization.map({ [$0] }) ?? organizations {
                try Activity(
                    .sessionStarted,
                    by: user,
                    name: user,
                    data: [JSONMember("session", .string(id)), JSONMember("browser", .bool(true))]
                ).record(in: organization, at: now, database)
            }
        }
        return token
    }

    /// Who is signed in with a browser; that it is used is noted.
    ///
    /// - Parameters:
    ///   - token: what the browser is known by.
    ///   - now: the time.
    ///   - isUsed: whether somebody uses it, and not only a page that is open asks for news.
    /// - Returns: the session; `nil` if there is none, or it has ended.
    /// - Throws: what SQLite says.
    func browserSession(showing token: OpaqueToken, at now: Instant, isUsed: Bool = true) async throws
        -> BrowserSession?
    {
        let found = try await database.read { database -> (session: BrowserSession, used: Instant)? in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT id, user, organization, refreshed, authenticated FROM session
                    WHERE access = ? AND expires > ? AND ended IS NULL AND authenticated IS NOT NULL
                    """,
                arguments: [token.digest, now.seconds]
            )
            guard let row else { return nil }
            let organization: String? = row["organization"]
            // The one place where it is bound: what they are elsewhere, no page learns.
            let roles = try Store.roles(of: row["user"], database).filter { name, _ in
                organization.map { $0 == name } ?? true
            }
            let session = BrowserSession(
                id: row["id"],
                person: Person(
                    name: row["user"],
                    roles: roles,
                    onlyOrganization: organization,
                    session: row["id"]
                ),
                authenticated: Instant(seconds: row["authenticated"]),
                formToken: BrowserSession.formToken(token),
                organization: organization
            )
            return (session, Instant(seconds: row["refreshed"]))
        }
        guard let found else { return nil }
        if isUsed, now - found.used >= BrowserSession.grain {
            try await database.write { database in
                try database.execute(
                    sql: """
                        UPDATE session SET refreshed = :now, accessExpires = min(:end, created + :longest),
                            expires = min(:end, created + :longest)
                        WHERE id = :id AND ended IS NULL
                        """,
                    arguments: [
                        "now": now.seconds, "end": (now + BrowserSession.idleSeconds).seconds,
                        "longest": BrowserSession.longestSeconds, "id": found.session.id,
                    ]
                )
            }
        }
        return found.session
    }

    /// Notes that whoever is signed in with a browser has shown again who they are.
    ///
    /// - Parameters:
    ///   - session: the session.
    ///   - now: the time.
    /// - Throws: what SQLite says.
    func confirm(_ session: BrowserSession, at now: Instant) async throws {
        try await database.write { database in
            try database.execute(
                sql: "UPDATE session SET authenticated = ? WHERE id = ? AND ended IS NULL",
                arguments: [now.seconds, session.id]
            )
        }
    }
}
