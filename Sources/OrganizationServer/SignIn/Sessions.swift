import GRDB
import RegistryAccess
import SignedPolicy

/// One member signed in, on a device or in a program.
struct Session: Hashable, Sendable {
    /// Its name, no secret.
    let id: String
    /// Who is signed in.
    let user: String
    /// The one organization that it is good for; `nil` is each of theirs.
    let organization: String?
    /// The device that it is bound to.
    let device: String?
    /// What that device calls itself, in lists.
    let deviceName: String?
    /// Where the sign-in came from.
    let address: String
    /// When they signed in.
    let created: Instant
    /// When its refresh token was last used.
    let refreshed: Instant
    /// When it ends if nothing happens.
    let expires: Instant
    /// Whether it is one of the dashboard.
    let isBrowser: Bool
    /// Whether an access token began it.
    let isOfAccessToken: Bool

    fileprivate init(_ row: Row) {
        id = row["id"]
        user = row["user"]
        organization = row["organization"]
        device = row["device"]
        deviceName = row["deviceName"]
        address = row["address"]
        created = Instant(seconds: row["created"])
        refreshed = Instant(seconds: row["refreshed"])
        expires = Instant(seconds: row["expires"])
        isBrowser = row["authenticated"] as Int64? != nil
        isOfAccessToken = row["accessToken"] as String? != nil
    }
}

/// A sign-in that succeeded, before there is a session.
struct SignedInPerson: Hashable, Sendable {
    /// Who.
    let user: String
    /// The access token that they showed, by its digest.
    var accessToken: String?
    /// What that token is limited to; `nil` is everything that their role allows.
    var scopes: String?
    /// The one organization that it is for.
    var organization: String?
}

/// A session with the two secrets that it is used by.
struct IssuedSession: Sendable {
    /// The session.
    let session: Session
    /// What requests show.
    let access: OpaqueToken
    /// What gets the next two.
    let refresh: OpaqueToken
}

/// Whether somebody is signed in on a device.
enum SessionState: String, Sendable {
    /// Nobody has signed in.
    case none
    /// Somebody is signed in.
    case active
    /// Whoever signed in last has to do so again.
    case ended

    /// The state of a device by its newest session.
    ///
    /// - Parameter isActive: whether nobody has ended it; `nil` if there is none. Whether its time is over does not matter: the
    ///   machine knows that by its ticket, and learns it when it goes on with the session; a clock that is wrong here ends
    ///   none.
    init(isActive: Bool?) {
        self = isActive.map { $0 ? .active : .ended } ?? .none
    }
}

/// Why a sign-in did not give a session.
enum SessionRefusal: Error, Equatable {
    /// The token is none, or not any more, or not for this device.
    case invalidGrant
    /// A token that was already used came again: somebody else has it, so nobody may go on with the session.
    case reused(organization: String?)
    /// The person does not belong to the organization.
    case notAMember
}

extension Session {
    /// How long an access token is good.
    static let accessSeconds: Int64 = 900
    /// How long a session goes on without being used.
    static let idleSeconds: Int64 = 30 * 86_400
    /// How long a session goes on at most.
    static let longestSeconds: Int64 = 90 * 86_400
    /// How long the refresh token before the newest is taken once more: the answer with the newest may have been lost.
    ///
    /// A machine shows the secret of its device too, and may have been off since: there it is taken until the newest is used.
    static let lostAnswerSeconds: Int64 = 300
}

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
        if let organization {
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
        let organization: String? = row["organization"]
        if let organization {
            try Activity(.tokenReused, by: "system", name: row["user"], data: [JSONMember("session", .text(row["id"]))])
                .record(in: organization, at: now, database)
        }
        return .reused(organization: organization)
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
                    SELECT id, user, organization, scopes FROM session
                    WHERE access = ? AND accessExpires > ? AND expires > ? AND ended IS NULL
                    """,
                arguments: [token.digest, now.seconds, now.seconds]
            )
            guard let row else { return nil }
            let scopes: String? = row["scopes"]
            return Person(
                name: row["user"],
                roles: try Store.roles(of: row["user"], database),
                scopes: scopes.map(Permission.set),
                onlyOrganization: row["organization"],
                session: row["id"]
            )
        }
    }

    /// Ends the session of a token: a sign-out.
    ///
    /// - Parameters:
    ///   - token: its refresh token or its access token.
    ///   - now: the time.
    /// - Returns: the organization of the session that has ended.
    /// - Throws: what SQLite says.
    func endSession(showing token: OpaqueToken, at now: Instant) async throws -> String? {
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
            let organization: String? = row["organization"]
            guard let organization else { return nil }
            try Activity(
                .sessionsEnded,
                by: row["user"],
                name: row["user"],
                data: [JSONMember("sessions", .number("1"))]
            )
            .record(in: organization, at: now, database)
            return organization
        }
    }

    /// Whether somebody is signed in on a device.
    ///
    /// - Parameters:
    ///   - device: the device's id.
    ///   - organization: its organization.
    /// - Returns: the state of the newest session.
    /// - Throws: what SQLite says.
    func sessionState(device: String, in organization: String) async throws -> SessionState {
        try await sessionStates(of: [device], in: organization)[device] ?? .none
    }

    /// Whether somebody is signed in on devices, by their ids; where nobody ever was, there is no state.
    ///
    /// - Parameters:
    ///   - devices: which.
    ///   - organization: their organization.
    /// - Returns: the states of the newest sessions.
    /// - Throws: what SQLite says.
    func sessionStates(of devices: [String], in organization: String) async throws -> [String: SessionState] {
        try await database.read { database in
            let rows = try Row.fetchAll(
                database,
                // Beside max() the other columns are those of the row that has it.
                sql: """
                    SELECT device, ended IS NULL AS isActive, max(number) FROM session
                    WHERE organization = ? AND device IN (\(devices.map { _ in "?" }.joined(separator: ", ")))
                    GROUP BY device
                    """,
                arguments: [organization] + StatementArguments(devices)
            )
            return Dictionary(
                rows.map { ($0["device"], SessionState(isActive: $0["isActive"])) },
                uniquingKeysWith: { first, _ in first }
            )
        }
    }

    /// Which sessions of an organization.
    struct SessionSelection: Sendable {
        /// One.
        var id: String?
        /// All of a person.
        var user: String?
        /// All on a device.
        var device: String?

        /// Whether it is all of the organization.
        var isEverything: Bool { id == nil && user == nil && device == nil }
    }

    /// The sessions of an organization that have not ended.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - selection: which of its sessions.
    ///   - now: the time.
    /// - Returns: the sessions, the newest first.
    /// - Throws: what SQLite says.
    func sessions(in organization: String, _ selection: SessionSelection, at now: Instant) async throws -> [Session] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: "\(Self.listed) WHERE \(Self.selected) AND expires > :now ORDER BY number DESC",
                arguments: Self.arguments(organization, selection, now)
            ).map(Session.init)
        }
    }

    /// How many sessions there are, of how many people, on how many machines.
    struct SessionCounts: Sendable {
        let sessions: Int
        let people: Int
        let machines: Int
    }

    /// Counts the sessions of an organization that have not ended.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - selection: which of its sessions.
    ///   - text: only those of people whose name holds it.
    ///   - now: the time.
    /// - Returns: the counts.
    /// - Throws: what SQLite says.
    func sessionCounts(
        in organization: String,
        _ selection: SessionSelection,
        holding text: String = "",
        at now: Instant
    ) async throws -> SessionCounts {
        try await database.read { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT count(*) AS sessions, count(DISTINCT user) AS people, count(DISTINCT device) AS machines
                    FROM session WHERE \(Self.selected) AND expires > :now AND instr(user, :text) > 0
                    """,
                arguments: Self.arguments(organization, selection, now) &+ ["text": text]
            )
            return SessionCounts(
                sessions: row?["sessions"] ?? 0,
                people: row?["people"] ?? 0,
                machines: row?["machines"] ?? 0
            )
        }
    }

    /// A part of the sessions of an organization that have not ended.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - text: only those of people whose name holds it.
    ///   - range: which of them, the newest being the first.
    ///   - now: the time.
    /// - Returns: the sessions, the newest first.
    /// - Throws: what SQLite says.
    func sessions(in organization: String, holding text: String, _ range: Range<Int>, at now: Instant) async throws
        -> [Session]
    {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    \(Self.listed) WHERE \(Self.selected) AND expires > :now AND instr(user, :text) > 0
                    ORDER BY number DESC LIMIT :count OFFSET :start
                    """,
                arguments: Self.arguments(organization, SessionSelection(), now)
                    &+ ["text": text, "count": range.count, "start": range.lowerBound]
            ).map(Session.init)
        }
    }

    /// On how many machines people are signed in, and in how many browsers and programs.
    ///
    /// - Parameters:
    ///   - users: who.
    ///   - organization: where.
    ///   - now: the time.
    /// - Returns: the counts by the names of those who are signed in.
    /// - Throws: what SQLite says.
    func places(of users: [String], in organization: String, at now: Instant) async throws
        -> [String: (machines: Int, others: Int)]
    {
        try await database.read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT user, count(DISTINCT device) AS machines, count(*) - count(device) AS others FROM session
                    WHERE user IN (\(users.map { _ in "?" }.joined(separator: ", "))) AND ended IS NULL AND expires > ?
                        AND (organization = ? OR organization IS NULL) GROUP BY user
                    """,
                arguments: StatementArguments(users) + [now.seconds, organization]
            )
            return Dictionary(
                rows.map { ($0["user"], ($0["machines"], $0["others"])) },
                uniquingKeysWith: { first, _ in first }
            )
        }
    }

    /// Ends sessions of an organization: those people have to sign in again.
    ///
    /// A session that is good for each organization of a member counts as one of this organization. Sign-ins of machines
    /// that somebody has approved already, and that have not been fetched, are taken back.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - selection: which of its sessions.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: how many sessions have ended.
    /// - Throws: what SQLite says.
    func endSessions(in organization: String, _ selection: SessionSelection, by actor: String, at now: Instant)
        async throws
        -> Int
    {
        try await database.write { database in
            try Self.endSessions(in: organization, selection, by: actor, at: now, database)
        }
    }

    static func endSessions(
        in organization: String,
        _ selection: SessionSelection,
        by actor: String,
        at now: Instant,
        _ database: Database
    ) throws -> Int {
        try database.execute(
            sql: "UPDATE session SET ended = :now WHERE \(selected)",
            arguments: arguments(organization, selection, now)
        )
        let count = database.changesCount
        if selection.id == nil, selection.device == nil {
            try database.execute(
                sql: """
                    DELETE FROM deviceAuthorization
                    WHERE user IS NOT NULL AND organization = ? AND (? IS NULL OR user = ?)
                    """,
                arguments: [organization, selection.user, selection.user]
            )
        }
        try Activity(
            .sessionsEnded,
            by: actor,
            name: selection.id ?? selection.user ?? selection.device ?? organization,
            data: [JSONMember("sessions", .integer(count))]
        ).record(in: organization, at: now, database)
        return count
    }

    /// Sessions with the names of their devices.
    private static let listed = """
        SELECT session.*, (SELECT name FROM device
            WHERE device.organization = session.organization AND device.id = session.device) AS deviceName
        FROM session
        """

    private static let selected = """
        ended IS NULL AND (organization = :organization OR (organization IS NULL AND user IN
            (SELECT user FROM membership WHERE organization = :organization)))
        AND (:id IS NULL OR id = :id) AND (:user IS NULL OR user = :user) AND (:device IS NULL OR device = :device)
        """

    private static func arguments(_ organization: String, _ selection: SessionSelection, _ now: Instant)
        -> StatementArguments
    {
        [
            "organization": organization, "id": selection.id, "user": selection.user, "device": selection.device,
            "now": now.seconds,
        ]
    }

    /// Which of somebody's own sessions.
    enum OwnSessions: Sendable {
        /// One.
        case one(String)
        /// Each but this one.
        case allBut(String)
    }

    /// The sessions of somebody that have not ended, in each organization that they may speak for.
    ///
    /// - Parameters:
    ///   - person: who.
    ///   - now: the time.
    /// - Returns: the sessions, the newest first.
    /// - Throws: what SQLite says.
    func sessions(of person: Person, at now: Instant) async throws -> [Session] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    \(Self.listed) WHERE user = :user AND (:only IS NULL OR organization = :only)
                        AND ended IS NULL AND expires > :now ORDER BY number DESC
                    """,
                arguments: ["user": person.name, "only": person.onlyOrganization, "now": now.seconds]
            ).map(Session.init)
        }
    }

    /// Ends sessions of whoever asks: a sign-out elsewhere.
    ///
    /// Whoever ends all of them also takes sign-ins of machines back that they have approved, and that have not been fetched.
    ///
    /// - Parameters:
    ///   - person: who.
    ///   - selection: which of theirs.
    ///   - now: the time.
    /// - Returns: how many have ended, and the organizations where that means something.
    /// - Throws: what SQLite says.
    func endSessions(of person: Person, _ selection: OwnSessions, at now: Instant) async throws
        -> (count: Int, organizations: [String])
    {
        try await database.write { database in
            var (one, kept): (String?, String?)
            switch selection {
            case .one(let id): one = id
            case .allBut(let id): kept = id
            }
            let ended = try Row.fetchAll(
                database,
                sql: """
                    UPDATE session SET ended = :now
                    WHERE user = :user AND (:only IS NULL OR organization = :only) AND ended IS NULL
                        AND (:one IS NULL OR id = :one) AND id IS NOT :kept
                    RETURNING organization
                    """,
                arguments: [
                    "now": now.seconds, "user": person.name, "only": person.onlyOrganization, "one": one,
                    "kept": kept,
                ]
            ).map { row -> String? in row["organization"] }
            if one == nil {
                try database.execute(
                    sql: """
                        DELETE FROM deviceAuthorization
                        WHERE user = :user AND (:only IS NULL OR organization = :only)
                        """,
                    arguments: ["user": person.name, "only": person.onlyOrganization]
                )
            }
            var organizations: [String] = []
            for organization in person.roles.keys.sorted() {
                // One that is good for each organization counts in each.
                let count = ended.count { $0 == nil || $0 == organization }
                guard count > 0 else { continue }
                organizations.append(organization)
                try Activity(
                    .sessionsEnded,
                    by: person.name,
                    name: person.name,
                    data: [JSONMember("sessions", .integer(count))]
                ).record(in: organization, at: now, database)
            }
            return (ended.count, organizations)
        }
    }

    /// Forgets sessions and codes that ended long ago.
    ///
    /// - Parameter now: the time.
    /// - Throws: what SQLite says.
    func forgetWhatEnded(at now: Instant) async throws {
        try await database.write { database in
            // An ended session is kept as long as it could have gone on: its device still has to learn that it ended.
            try database.execute(
                sql: "DELETE FROM session WHERE max(coalesce(ended, expires), expires) < ?",
                arguments: [(now + -Session.idleSeconds).seconds]
            )
            try database.execute(
                sql: "DELETE FROM deviceAuthorization WHERE expires < ?",
                arguments: [(now + -3600).seconds]
            )
            try database.execute(sql: "DELETE FROM invitation WHERE expires < ?", arguments: [now.seconds])
            try database.execute(
                sql: "DELETE FROM accessToken WHERE expires < ?",
                arguments: [(now + -30 * 86_400).seconds]
            )
        }
    }
}

/// Names that are made, not chosen.
enum RandomName {
    private static let digits = Array("abcdefghijklmnopqrstuvwxyz0123456789")

    /// A name of 26 small letters and digits, of which there are more than 2^128.
    static func make() -> String {
        var generator = SystemRandomNumberGenerator()
        return String((0..<26).map { _ in digits.randomElement(using: &generator) ?? "0" })
    }
}

extension Permission {
    /// The scopes that a text names, with a space between them.
    ///
    /// - Parameter text: the text.
    /// - Returns: those of them that there are.
    static func set(_ text: String) -> Set<Permission> {
        Set(text.split(separator: " ").compactMap { Permission(rawValue: String($0)) })
    }
}
