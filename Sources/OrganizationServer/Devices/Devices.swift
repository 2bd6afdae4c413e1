import GRDB
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

/// An enrolled machine.
struct Device: Sendable {
    /// By which it is known.
    let id: String
    /// What its people call it.
    let name: String
    /// When it registered.
    let created: Instant
    /// When it was heard of last.
    var lastSeen: Instant?
    /// What it said of itself last, as JSON.
    let status: String?
    /// When it said so.
    let statusTime: Instant?
    /// The policy that was in force there then.
    let policyVersion: Int?

    /// After how many seconds a device that was never seen again may make room for others.
    static let forgottenSeconds: Int64 = 30 * 86_400

    /// A device that is there need not say so more often.
    static let pollGrain: Int64 = 300

    /// What devices told last, beside them in SQL.
    static let withStatus = """
        LEFT JOIN deviceStatus ON deviceStatus.organization = device.organization AND deviceStatus.device = device.id
        """

    fileprivate static let select = """
        SELECT device.id, device.name, device.created, device.lastSeen, deviceStatus.document, deviceStatus.time,
            deviceStatus.policyVersion
        FROM device \(withStatus)
        """

    /// A device with its status, of ``select``.
    fileprivate init(_ row: Row) {
        let (lastSeen, time): (Int64?, Int64?) = (row["lastSeen"], row["time"])
        id = row["id"]
        name = row["name"]
        created = Instant(seconds: row["created"])
        self.lastSeen = lastSeen.map(Instant.init(seconds:))
        status = row["document"]
        statusTime = time.map(Instant.init(seconds:))
        policyVersion = row["policyVersion"]
    }

    /// A new name: 26 letters and digits, 130 random bits.
    static func makeID() -> String {
        let digits = Array("abcdefghijklmnopqrstuvwxyz234567")
        var generator = SystemRandomNumberGenerator()
        return String((0..<26).map { _ in digits.randomElement(using: &generator) ?? "a" })
    }
}

extension Device {
    /// Where a list of devices goes on: behind one, which may be gone by then.
    struct Place: Hashable, Sendable, LosslessStringConvertible {
        let name: String
        let id: String

        /// Before every device.
        static let beginning = Place(name: "", id: "")

        init(name: String, id: String) {
            self.name = name
            self.id = id
        }

        /// Reads a place as ``description`` writes it.
        init?(_ text: String) {
            // A name may hold anything, an id is letters and digits.
            guard let colon = text.firstIndex(of: ":") else { return nil }
            self.init(name: String(text[text.index(after: colon)...]), id: String(text[..<colon]))
        }

        var description: String { "\(id):\(name)" }
    }

    /// Where a list goes on behind it.
    var place: Place { Place(name: name, id: id) }
}

/// Which devices of an organization are wanted; texts in whichever case.
struct DeviceFilter: Hashable, Sendable {
    /// Only those of this standing.
    var standing: Device.Standing?
    /// Only those that have this in their name.
    var name: String?
    /// Only those where somebody is signed in who has this in their name.
    var user: String?
    /// Only those that have this in either.
    var text: String?

    /// Who is signed in on a device, in SQL; empty if nobody is.
    fileprivate static let user = """
        coalesce((SELECT iif(ended IS NULL, user, '') FROM session
            WHERE session.organization = device.organization AND session.device = device.id
            ORDER BY number DESC LIMIT 1), '')
        """
}

extension Request {
    /// Where a list of devices goes on, as `after` says.
    ///
    /// - Returns: the place; `nil` if it is not there.
    /// - Throws: ``Problem``.
    func devicePlace() throws(Problem) -> Device.Place? {
        guard let text = try queryValue("after") else { return nil }
        guard let place = Device.Place(text) else {
            throw Problem(.badRequest, .badRequest, "\"after\" must be the \"next\" of an answer")
        }
        return place
    }
}

extension Store {
    /// Which device shows a secret.
    ///
    /// - Parameter token: the secret.
    /// - Returns: the device; `nil` if it is unknown.
    /// - Throws: what SQLite says.
    func device(showing token: OpaqueToken) async throws -> Caller? {
        try await reads.run { database in
            try Row.fetchOne(
                database.cachedStatement(sql: "SELECT organization, id FROM device WHERE digest = ?"),
                arguments: [token.digest]
            ).map { Caller.device(organization: $0["organization"], id: $0["id"]) }
        }
    }

    /// How many devices all organizations have.
    ///
    /// - Returns: the count.
    /// - Throws: what SQLite says.
    func deviceCount() async throws -> Int {
        try await database.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM device") ?? 0 }
    }

    /// Takes a device in.
    ///
    /// - Parameters:
    ///   - name: what its people call it.
    ///   - enrollment: what lets it in where not everyone may; one that is shown must be good in any case.
    ///   - organization: where.
    ///   - now: the time.
    /// - Returns: its id and its secret, which is never to be had again.
    /// - Throws: ``Problem`` if there is no such organization, or the device is not let in.
    func addDevice(
        named name: String,
        showing enrollment: OpaqueToken?,
        to organization: String,
        at now: Instant
    ) async throws -> (id: String, secret: OpaqueToken) {
        let id = Device.makeID()
        let secret = OpaqueToken(.device)
        let full = try await writes.run { database -> Problem? in
            let row = try Row.fetchOne(
                database,
                sql: "SELECT enrollment, maximumDevices FROM organization WHERE name = ?",
                arguments: [organization]
            )
            guard let row else {
                throw Problem(.notFound, .notFound, "there is no organization of this name")
            }
            if row["enrollment"] != "open" || enrollment != nil {
                let isGood = try Bool.fetchOne(
                    database,
                    sql: """
                        SELECT EXISTS (SELECT 1 FROM enrollmentToken
                            WHERE digest = ? AND organization = ? AND expires > ?)
                        """,
                    arguments: [enrollment?.digest ?? "", organization, now.seconds]
                )
                guard isGood == true else {
                    throw Problem(
                        .forbidden,
                        .enrollmentRefused,
                        enrollment == nil
                            ? "this organization takes in devices with an enrollment token only"
                            : "the enrollment token is unknown or has ended",
                        hint: "ask an owner of the organization for an enrollment token"
                    )
                }
            }
            if let problem = try Self.makeRoom(in: organization, for: row["maximumDevices"], at: now, database) {
                // What is noted of it is kept.
                return problem
            }
            try database.execute(
                sql: """
                    INSERT INTO device (organization, id, name, digest, created, lastSeen, showedToken)
                    VALUES (?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [organization, id, name, secret.digest, now.seconds, now.seconds, enrollment != nil]
            )
            try Activity(.deviceAdded, by: "device:\(id)", name: id, data: [JSONMember("device_name", .string(name))])
                .record(in: organization, at: now, database)
            return nil
        }
        if let full { throw full }
        return (id, secret)
    }

    /// Refuses if there are as many devices as there may be, having forgotten those first that registered a month ago and
    /// were never seen again.
    private static func makeRoom(
        in organization: String,
        for most: Int,
        at now: Instant,
        _ database: Database
    ) throws -> Problem? {
        func count() throws -> Int {
            try Int.fetchOne(
                database,
                sql: "SELECT count(*) FROM device WHERE organization = ?",
                arguments: [organization]
            ) ?? 0
        }
        guard try count() >= most else { return nil }
        try database.execute(
            sql: """
                DELETE FROM device WHERE organization = ? AND created <= ? AND coalesce(lastSeen, created) = created
                    AND NOT EXISTS (SELECT 1 FROM deviceStatus
                        WHERE deviceStatus.organization = device.organization AND deviceStatus.device = device.id)
                    AND NOT EXISTS (SELECT 1 FROM session
                        WHERE session.organization = device.organization AND session.device = device.id)
                """,
            arguments: [organization, (now + -Device.forgottenSeconds).seconds]
        )
        let forgotten = database.changesCount
        if forgotten > 0 {
            try Activity(
                .devicesForgotten,
                by: Names.system,
                name: organization,
                data: [JSONMember("devices", .number("\(forgotten)"))]
            ).record(in: organization, at: now, database)
        }
        guard try count() >= most else { return nil }
        // The activity says so once a day: strangers may ask as often as they like.
        try database.execute(
            sql: """
                UPDATE organization SET devicesFull = :now
                WHERE name = :name AND (devicesFull IS NULL OR devicesFull <= :now - 86400)
                """,
            arguments: ["now": now.seconds, "name": organization]
        )
        if database.changesCount > 0 {
            try Activity(
                .devicesFull,
                by: Names.system,
                name: organization,
                data: [JSONMember("maximum", .number("\(most)"))]
            ).record(in: organization, at: now, database)
        }
        return Problem(
            .forbidden,
            .enrollmentRefused,
            "\"\(organization)\" has \(most) devices, and may have no more",
            hint: "an owner can take devices out that are not used any more, or set \"maximumDevices\" higher"
        )
    }

    /// Takes a device out: its secret is good for nothing from then on.
    ///
    /// - Parameters:
    ///   - id: which.
    ///   - organization: where.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: whether there was one.
    /// - Throws: what SQLite says.
    func removeDevice(_ id: String, from organization: String, by actor: String, at now: Instant) async throws -> Bool {
        try await database.write { database in
            let name = try String.fetchOne(
                database,
                sql: "SELECT name FROM device WHERE organization = ? AND id = ?",
                arguments: [organization, id]
            )
            guard let name else { return false }
            try database.execute(
                sql: "DELETE FROM device WHERE organization = ? AND id = ?",
                arguments: [organization, id]
            )
            try Activity(.deviceRemoved, by: actor, name: id, data: [JSONMember("device_name", .string(name))])
                .record(in: organization, at: now, database)
            return true
        }
    }

    /// What concerns a device besides documents.
    ///
    /// - Parameters:
    ///   - id: which.
    ///   - secret: the secret by which it is known; `nil` if that was looked at before.
    ///   - organization: where.
    /// - Returns: the changes; `nil` if there is no such device.
    /// - Throws: what SQLite says.
    func deviceChanges(
        of id: String,
        showing secret: OpaqueToken? = nil,
        in organization: String
    ) async throws -> DeviceChanges? {
        try await reads.run { database in
            try Row.fetchOne(
                database.cachedStatement(
                    sql: """
                        SELECT \(DeviceChanges.columns) FROM device
                        WHERE organization = :organization AND id = :device AND (:digest IS NULL OR digest = :digest)
                        """
                ),
                arguments: ["organization": organization, "device": id, "digest": secret?.digest]
            ).map { DeviceChanges($0) }
        }
    }

    /// What concerns each device of an organization besides documents.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the changes by device.
    /// - Throws: what SQLite says.
    func deviceChanges(in organization: String) async throws -> [String: DeviceChanges] {
        try await database.read { database in
            let rows = try Row.fetchCursor(
                database,
                sql: "SELECT id, \(DeviceChanges.columns) FROM device WHERE organization = ?",
                arguments: [organization]
            )
            var changes: [String: DeviceChanges] = [:]
            while let row = try rows.next() { changes[row["id"]] = DeviceChanges(row) }
            return changes
        }
    }

    /// The devices of an organization in the order of their names, as the database has them.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - place: only those behind this one; `nil` begins at the beginning.
    ///   - limit: how many at most.
    ///   - filter: which of them.
    ///   - now: the time, by which devices have a standing.
    /// - Returns: the devices.
    /// - Throws: what SQLite says.
    func devices(
        of organization: String,
        after place: Device.Place?,
        atMost limit: Int,
        _ filter: DeviceFilter = DeviceFilter(),
        at now: Instant
    ) async throws -> [Device] {
        let place = place ?? .beginning
        var arguments: StatementArguments = [
            "organization": organization, "name": place.name, "id": place.id, "limit": limit,
        ]
        var conditions: [String] = []
        if let standing = filter.standing {
            // Not each condition goes by the time.
            conditions.append(":now > 0 AND \(standing.condition)")
            arguments += ["now": now.seconds]
        }
        let isNamed = "instr(swiftLowercaseString(device.name), :text) > 0"
        let isUsed = "instr(\(DeviceFilter.user), :text) > 0"
        for (condition, parameter, text) in [
            (isNamed, "wantedName", filter.name), (isUsed, "wantedUser", filter.user),
            ("(\(isNamed) OR \(isUsed))", "wantedText", filter.text),
        ] {
            guard let text else { continue }
            conditions.append(condition.replacing(":text", with: ":\(parameter)"))
            arguments += [parameter: text.lowercased()]
        }
        return try await database.read { [arguments, conditions] database in
            try Row.fetchAll(
                database,
                sql: """
                    \(Device.select) \(filter.standing == nil ? "" : Device.measured)
                    WHERE device.organization = :organization AND device.name COLLATE NOCASE >= :name
                        AND (device.name COLLATE NOCASE > :name OR device.id > :id)
                        \(conditions.map { "AND \($0)" }.joined(separator: " "))
                    ORDER BY device.name COLLATE NOCASE, device.id LIMIT :limit
                    """,
                arguments: arguments
            ).map(Device.init)
        }
    }

    /// One device of an organization, as the database has it.
    ///
    /// - Parameters:
    ///   - id: which.
    ///   - organization: whose.
    /// - Returns: the device; `nil` if there is none.
    /// - Throws: what SQLite says.
    func device(_ id: String, of organization: String) async throws -> Device? {
        try await database.read { database in
            try Row.fetchOne(
                database,
                sql: "\(Device.select) WHERE device.organization = ? AND id = ?",
                arguments: [organization, id]
            ).map(Device.init)
        }
    }

    // MARK: - Enrollment tokens

    /// Makes a token that lets devices register themselves.
    ///
    /// - Parameters:
    ///   - name: what its owner calls it.
    ///   - organization: where it is good.
    ///   - author: who makes it.
    ///   - now: the time.
    ///   - expires: when it ends; at most 365 days later.
    /// - Returns: the token, which is never to be had again; `nil` if there is one of this name.
    /// - Throws: what SQLite says.
    func makeEnrollmentToken(
        named name: String,
        in organization: String,
        by author: String,
        now: Instant,
        expires: Instant
    ) async throws -> OpaqueToken? {
        let token = OpaqueToken(.enrollment)
        return try await database.write { database in
            try database.execute(
                sql: """
                    INSERT INTO enrollmentToken (digest, organization, name, author, created, expires)
                    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (organization, name) DO NOTHING
                    """,
                arguments: [token.digest, organization, name, author, now.seconds, expires.seconds]
            )
            guard database.changesCount == 1 else { return nil }
            try Activity(.enrollmentTokenCreated, by: author, name: name).record(in: organization, at: now, database)
            return token
        }
    }

    /// The enrollment tokens of an organization, without what is secret of them.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the tokens in the order of their names.
    /// - Throws: what SQLite says.
    func enrollmentTokens(
        of organization: String
    ) async throws -> [(name: String, author: String, created: Instant, expires: Instant)] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT name, author, created, expires FROM enrollmentToken WHERE organization = ? ORDER BY name
                    """,
                arguments: [organization]
            ).map { row in
                (row["name"], row["author"], Instant(seconds: row["created"]), Instant(seconds: row["expires"]))
            }
        }
    }

    /// Ends an enrollment token; devices that registered with it stay.
    ///
    /// - Parameters:
    ///   - name: which.
    ///   - organization: where.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: whether there was one.
    /// - Throws: what SQLite says.
    func removeEnrollmentToken(
        _ name: String,
        from organization: String,
        by actor: String,
        at now: Instant
    ) async throws -> Bool {
        try await database.write { database in
            try database.execute(
                sql: "DELETE FROM enrollmentToken WHERE organization = ? AND name = ?",
                arguments: [organization, name]
            )
            guard database.changesCount == 1 else { return false }
            try Activity(.enrollmentTokenDeleted, by: actor, name: name).record(in: organization, at: now, database)
            return true
        }
    }
}
