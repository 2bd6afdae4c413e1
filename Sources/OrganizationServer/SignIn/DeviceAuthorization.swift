import RegistryAccess
import GRDB
import SignedPolicy

/// The sign-in of a machine that a person approves in a browser (RFC 8628).
enum DeviceAuthorization {
    /// How long a code is good.
    static let lifetimeSeconds: Int64 = 600
    /// How often the machine may ask whether it was approved.
    static let intervalSeconds: Int64 = 5

    /// Consonants that nobody takes for another, of which no words come out (RFC 8628, section 6.1).
    private static let letters = Array("BCDFGHJKLMNPQRSTVWXZ")

    /// A code for people: eight letters.
    static func makeUserCode() -> String {
        var generator = SystemRandomNumberGenerator()
        return String((0..<8).map { _ in letters.randomElement(using: &generator) ?? "B" })
    }

    /// A code as it is shown: `BCDF-GHJK`.
    static func shown(_ userCode: String) -> String { "\(userCode.prefix(4))-\(userCode.dropFirst(4))" }

    /// Reads a code as somebody typed it.
    ///
    /// - Parameter text: in capital or small letters, with or without hyphen and spaces.
    /// - Returns: eight letters; `nil` if it is none.
    static func userCode(_ text: String) -> String? {
        let code = text.uppercased().filter { $0 != "-" && $0 != " " }
        return code.count == 8 && code.allSatisfy(letters.contains) ? code : nil
    }

    /// What a person is asked about.
    struct Question: Hashable, Sendable {
        let userCode: String
        /// Whether the session may do everything that the person may, as `docker ram admin` needs it.
        let isForAdministration: Bool
        let organization: String
        let deviceName: String
        let address: String
        let created: Instant
    }

    /// How a machine's question was answered.
    enum Answer: Sendable {
        case pending
        case slowDown
        case expired
        case denied
        case notAMember
        case unknown
        case session(IssuedSession)
    }
}

extension Store {
    /// Begins the sign-in of a machine.
    ///
    /// - Parameters:
    ///   - organization: which it is for; it need not be there.
    ///   - deviceName: what the machine is called.
    ///   - isForAdministration: whether the session may do everything that the person may, and not only what the session
    ///     of a machine may (``Permission/ofMachines``).
    ///   - address: where it asks from.
    ///   - now: the time.
    /// - Returns: the codes for the machine and for the person.
    /// - Throws: what SQLite says.
    func beginDeviceAuthorization(
        for organization: String,
        deviceName: String,
        isForAdministration: Bool,
        from address: String,
        at now: Instant
    ) async throws -> (deviceCode: OpaqueToken, userCode: String) {
        let deviceCode = OpaqueToken(.deviceCode)
        let userCode = try await database.write { database in
            // The code of another that is not over yet is not given out again.
            var userCode = DeviceAuthorization.makeUserCode()
            while try Bool.fetchOne(
                database,
                sql: "SELECT EXISTS (SELECT 1 FROM deviceAuthorization WHERE userCode = ?)",
                arguments: [userCode]
            ) ?? false {
                userCode = DeviceAuthorization.makeUserCode()
            }
            try database.execute(
                sql: """
                    INSERT INTO deviceAuthorization
                        (digest, userCode, organization, deviceName, isForAdministration, address, created, expires,
                            interval)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    deviceCode.digest, userCode, organization, deviceName, isForAdministration, address,
                    now.seconds, (now + DeviceAuthorization.lifetimeSeconds).seconds,
                    DeviceAuthorization.intervalSeconds,
                ]
            )
            return userCode
        }
        return (deviceCode, userCode)
    }

    /// The organization of a machine whose code is good and waits for somebody.
    ///
    /// - Parameters:
    ///   - userCode: the code.
    ///   - now: the time.
    /// - Returns: the organization, perhaps one that is not there; `nil` if nobody waits with this code.
    /// - Throws: what SQLite says.
    func organization(waitingWith userCode: String, at now: Instant) async throws -> String? {
        try await database.read { database in
            try String.fetchOne(
                database,
                sql: """
                    SELECT organization FROM deviceAuthorization
                    WHERE userCode = ? AND expires > ? AND decision IS NULL
                    """,
                arguments: [userCode, now.seconds]
            )
        }
    }

    /// Asks a person who has signed in about a machine.
    ///
    /// - Parameters:
    ///   - userCode: the code that they typed.
    ///   - user: who they are.
    ///   - confirmation: what their browser will show with the answer.
    ///   - now: the time.
    /// - Returns: what to ask; `nil` if the code is not good any more.
    /// - Throws: what SQLite says.
    func ask(about userCode: String, _ user: String, confirmation: OpaqueToken, at now: Instant) async throws
        -> DeviceAuthorization.Question?
    {
        try await database.write { database in
            try Row.fetchOne(
                database,
                sql: """
                    UPDATE deviceAuthorization SET user = ?, confirmation = ?
                    WHERE userCode = ? AND expires > ? AND decision IS NULL
                    RETURNING userCode, organization, deviceName, isForAdministration, address, created
                    """,
                arguments: [user, confirmation.digest, userCode, now.seconds]
            ).map(Self.question)
        }
    }

    /// Decides about a machine.
    ///
    /// - Parameters:
    ///   - confirmation: what the browser shows.
    ///   - isApproved: what the person says.
    ///   - now: the time.
    /// - Returns: what was decided about, and by whom; `nil` if that is over.
    /// - Throws: what SQLite says.
    func decide(_ confirmation: OpaqueToken, isApproved: Bool, at now: Instant) async throws
        -> (question: DeviceAuthorization.Question, user: String, isMember: Bool)?
    {
        try await database.write { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    UPDATE deviceAuthorization SET decision = ?, confirmation = NULL
                    WHERE confirmation = ? AND expires > ? AND decision IS NULL
                    RETURNING userCode, organization, deviceName, isForAdministration, address, created, user
                    """,
                arguments: [isApproved ? "approved" : "denied", confirmation.digest, now.seconds]
            )
            guard let row else { return nil }
            let user: String = row["user"]
            let question = Self.question(row)
            let isMember = try Self.roles(of: user, database)[question.organization] != nil
            return (question, user, isMember)
        }
    }

    private static func question(_ row: Row) -> DeviceAuthorization.Question {
        DeviceAuthorization.Question(
            userCode: row["userCode"],
            isForAdministration: row["isForAdministration"],
            organization: row["organization"],
            deviceName: row["deviceName"],
            address: row["address"],
            created: Instant(seconds: row["created"])
        )
    }

    /// Answers a machine that asks whether it was approved; a code that was approved is good once.
    ///
    /// - Parameters:
    ///   - deviceCode: the machine's code.
    ///   - device: the device that has shown its secret with it, and its organization.
    ///   - address: where the machine asks from.
    ///   - now: the time.
    /// - Returns: the answer.
    /// - Throws: what SQLite says.
    func redeem(
        _ deviceCode: OpaqueToken,
        on device: (organization: String, id: String)?,
        from address: String,
        at now: Instant
    ) async throws -> DeviceAuthorization.Answer {
        let id = device?.id
        let organizationOfDevice = device?.organization
        return try await database.write { database in
            let row = try Row.fetchOne(
                database,
                sql: "SELECT * FROM deviceAuthorization WHERE digest = ?",
                arguments: [deviceCode.digest]
            )
            guard let row else { return .unknown }
            let expires: Int64 = row["expires"]
            guard expires > now.seconds else { return .expired }
            let organization: String = row["organization"]
            guard organizationOfDevice.map({ $0 == organization }) ?? true else { return .unknown }
            let decision: String? = row["decision"]
            guard let decision else { return try Self.pace(row, at: now, database) }
            try database.execute(
                sql: "DELETE FROM deviceAuthorization WHERE digest = ?",
                arguments: [deviceCode.digest]
            )
            guard decision == "approved" else { return .denied }
            let isForAdministration: Bool = row["isForAdministration"]
            let scopes = isForAdministration ? nil : Permission.text(Permission.ofMachines)
            do {
                return .session(
                    try Self.beginSession(
                        of: SignedInPerson(user: row["user"], scopes: scopes),
                        in: organization,
                        on: id,
                        from: address,
                        at: now,
                        database
                    )
                )
            } catch SessionRefusal.notAMember {
                return .notAMember
            }
        }
    }

    private static func pace(_ row: Row, at now: Instant, _ database: Database) throws -> DeviceAuthorization.Answer {
        let lastPoll: Int64? = row["lastPoll"]
        let interval: Int64 = row["interval"]
        // Times are whole seconds here: who waits five seconds may seem to have waited four.
        let isTooSoon = lastPoll.map { now.seconds - $0 < interval - 1 } ?? false
        try database.execute(
            sql: "UPDATE deviceAuthorization SET lastPoll = ?, interval = ? WHERE digest = ?",
            arguments: [now.seconds, isTooSoon ? min(interval + 5, 60) : interval, row["digest"] as String]
        )
        return isTooSoon ? .slowDown : .pending
    }
}
