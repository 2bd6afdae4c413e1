import GRDB
import RegistryAccess

extension Store {
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
        // Those that have run out are closed too, and nobody has lost them now.
        let count = try Int64.fetchAll(
            database,
            sql: "UPDATE session SET ended = :now WHERE \(selected) RETURNING expires",
            arguments: arguments(organization, selection, now)
        ).count { $0 > now.seconds }
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
                    RETURNING organization, expires
                    """,
                arguments: [
                    "now": now.seconds, "user": person.name, "only": person.onlyOrganization, "one": one,
                    "kept": kept,
                ]
            ).filter { $0["expires"] > now.seconds }.map { row -> String? in row["organization"] }
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
            for table in ["invitation", "passwordReset"] {
                try database.execute(sql: "DELETE FROM \(table) WHERE expires < ?", arguments: [now.seconds])
            }
            try database.execute(
                sql: "DELETE FROM accessToken WHERE expires < ?",
                arguments: [(now + -30 * 86_400).seconds]
            )
        }
    }
}
