import GRDB
import HTTPTypes
import RegistryAccess
import SignedPolicy

/// Which requests are wanted.
struct RequestFilter: Sendable {
    var state: RegistryRequest.State?
    /// Only those that are answered, or taken back.
    var isClosed = false
    /// Only those of this person.
    var user: String?
    /// Only of this registry.
    var registry: String?
    /// Only those with a smaller number.
    var before: Int?
    var limit = 100
}

extension Store {
    // MARK: - Asking

    /// Takes a request down.
    ///
    /// - Parameters:
    ///   - registry: the registry.
    ///   - action: to pull, or to push as well.
    ///   - reason: why.
    ///   - asker: who asks.
    ///   - organization: whom.
    ///   - now: the time.
    /// - Returns: the request, and whether it is new: who asks again while it is open gets the one that is there.
    /// - Throws: ``Problem`` 429 if there were too many, or what SQLite says.
    func ask(
        for registry: RegistryAddress,
        to action: RegistryAction,
        because reason: String,
        by asker: Asker,
        in organization: String,
        at now: Instant
    ) async throws -> (request: RegistryRequest, isNew: Bool) {
        try await database.write { database in
            var (user, device): (String?, String?) = (nil, nil)
            switch asker {
            case .person(let name): user = name
            case .device(let id): (user, device) = (try Self.user(on: id, in: organization, database), id)
            }
            let there = try Row.fetchOne(
                database,
                sql: """
                    SELECT * FROM registryRequest WHERE organization = :organization AND state = 'open'
                        AND registry = :registry AND action = :action
                        AND coalesce('u' || user, 'd' || device) = coalesce('u' || :user, 'd' || :device)
                    """,
                arguments: [
                    "organization": organization, "registry": registry.description, "action": action.rawValue,
                    "user": user, "device": device,
                ]
            )
            if let there { return (try RegistryRequest(there), false) }
            try Self.checkLimits(user, device, organization, now, database)
            let number =
                1
                + (try Int.fetchOne(
                    database,
                    sql: "SELECT max(number) FROM registryRequest WHERE organization = ?",
                    arguments: [organization]
                ) ?? 0)
            try database.execute(
                sql: """
                    INSERT INTO registryRequest (organization, number, registry, action, reason, user, device, made)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    organization, number, registry.description, action.rawValue, reason, user, device, now.seconds,
                ]
            )
            let request = try Self.request(number, of: organization, database)
            var data = [JSONMember("request", .number("\(number)")), JSONMember("for", .string(action.rawValue))]
            if let device { data.append(JSONMember("device", .string(device))) }
            try Activity(.requestMade, by: request.asker, name: registry.description, data: data)
                .record(in: organization, at: now, database)
            return (request, true)
        }
    }

    /// Who is signed in on a device.
    ///
    /// - Parameters:
    ///   - device: the device.
    ///   - organization: where.
    /// - Returns: their name; `nil`: nobody is.
    /// - Throws: what SQLite says.
    func user(on device: String, in organization: String) async throws -> String? {
        try await database.read { try Self.user(on: device, in: organization, $0) }
    }

    private static func user(on device: String, in organization: String, _ database: Database) throws -> String? {
        try String.fetchOne(
            database,
            sql: "SELECT user FROM session WHERE organization = ? AND device = ? AND ended IS NULL",
            arguments: [organization, device]
        )
    }

    private static func checkLimits(
        _ user: String?,
        _ device: String?,
        _ organization: String,
        _ now: Instant,
        _ database: Database
    ) throws {
        let lately = try Int.fetchOne(
            database,
            sql: """
                SELECT count(*) FROM registryRequest
                WHERE organization = ? AND (device = ? OR user = ?) AND made > ?
                """,
            arguments: [organization, device, user, now.seconds - 86_400]
        )
        guard lately ?? 0 < RegistryRequest.mostInADay else {
            throw Problem(
                .tooManyRequests,
                .tooManyRequests,
                "there were \(RegistryRequest.mostInADay) requests from here in a day",
                hint: "wait until tomorrow, or ask an owner of the organization otherwise"
            )
        }
        // What devices ask where nobody is signed in keeps nobody from asking who is.
        let open = try Int.fetchOne(
            database,
            sql: """
                SELECT count(*) FROM registryRequest
                WHERE organization = ? AND state = 'open' AND (user IS NULL) = (? IS NULL)
                """,
            arguments: [organization, user]
        )
        let most = user == nil ? RegistryRequest.mostOpenOfNobody : RegistryRequest.mostOpen
        guard open ?? 0 < most else {
            throw Problem(
                .tooManyRequests,
                .tooManyRequests,
                "\(most) requests\(user == nil ? " of machines where nobody was signed in" : "") are open already",
                hint: "ask an owner of the organization to answer them"
                    + (user == nil ? ", or sign in: docker ram login" : "")
            )
        }
    }

    // MARK: - Reading

    /// Requests with the names of their devices.
    private static let listed = """
        SELECT registryRequest.*, (SELECT name FROM device
            WHERE device.organization = registryRequest.organization AND device.id = registryRequest.device
        ) AS deviceName
        FROM registryRequest
        """

    /// A request that is known to be there.
    fileprivate static func request(_ number: Int, of organization: String, _ database: Database) throws
        -> RegistryRequest
    {
        let row = try Row.fetchOne(
            database,
            sql: "\(listed) WHERE organization = ? AND number = ?",
            arguments: [organization, number]
        )
        guard let row else { throw Problem.noRequest }
        return try RegistryRequest(row)
    }

    /// One request.
    ///
    /// - Parameters:
    ///   - number: which.
    ///   - organization: whose.
    /// - Returns: the request.
    /// - Throws: ``Problem`` 404 if there is none, or what SQLite says.
    func request(_ number: Int, of organization: String) async throws -> RegistryRequest {
        try await database.read { try Self.request(number, of: organization, $0) }
    }

    /// The requests of an organization, the newest first.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - filter: which.
    /// - Returns: the requests.
    /// - Throws: what SQLite says.
    func requests(of organization: String, _ filter: RequestFilter) async throws -> [RegistryRequest] {
        var conditions = ["organization = ?"]
        var arguments: StatementArguments = [organization]
        for (column, text) in [
            ("state", filter.state?.rawValue), ("user", filter.user), ("registry", filter.registry),
        ] {
            guard let text else { continue }
            conditions.append("\(column) = ?")
            arguments += [text]
        }
        if filter.isClosed { conditions.append("state <> 'open'") }
        if let before = filter.before {
            conditions.append("number < ?")
            arguments += [before]
        }
        arguments += [filter.limit]
        let sql = """
            \(Self.listed) WHERE \(conditions.joined(separator: " AND "))
            ORDER BY number DESC LIMIT ?
            """
        return try await database.read { [arguments] database in
            try Row.fetchAll(database, sql: sql, arguments: arguments).map { try RegistryRequest($0) }
        }
    }

    /// How many requests of an organization are open.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - user: who made them; `nil`: whoever.
    /// - Returns: the count.
    /// - Throws: what SQLite says.
    func openRequestCount(of organization: String, by user: String? = nil) async throws -> Int {
        try await database.read { database in
            try Int.fetchOne(
                database,
                sql: """
                    SELECT count(*) FROM registryRequest
                    WHERE organization = :organization AND state = 'open' AND (:user IS NULL OR user = :user)
                    """,
                arguments: ["organization": organization, "user": user]
            ) ?? 0
        }
    }

    /// The newest requests that concern a device: those made there, and those of who is signed in there.
    ///
    /// - Parameters:
    ///   - device: the device.
    ///   - organization: where.
    /// - Returns: the requests, and how often any of them has changed.
    /// - Throws: what SQLite says.
    func requests(ofDevice device: String, in organization: String) async throws
        -> (requests: [RegistryRequest], changes: Int)
    {
        try await database.read { database in
            let user = try Self.user(on: device, in: organization, database)
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM registryRequest WHERE organization = ? AND (device = ? OR user = ?)
                    ORDER BY number DESC LIMIT ?
                    """,
                arguments: [organization, device, user, RegistryRequest.mostOfDevice]
            )
            let changes = try Int.fetchOne(
                database,
                sql: "SELECT \(Self.requestChanges(organization: ":organization", device: ":device"))",
                arguments: ["organization": organization, "device": device]
            )
            return (try rows.map { try RegistryRequest($0) }, changes ?? 0)
        }
    }

    /// How often the requests that concern a device have changed, in SQL.
    ///
    /// - Parameters:
    ///   - organization: the organization, as an expression of SQL.
    ///   - device: the device, as an expression of SQL.
    /// - Returns: an expression of SQL.
    static func requestChanges(organization: String, device: String) -> String {
        """
        coalesce((SELECT sum(changes) FROM registryRequest AS asked
            WHERE asked.organization = \(organization) AND (asked.device = \(device) OR asked.user = (
                SELECT user FROM session WHERE session.organization = \(organization) AND session.device = \(device)
                    AND ended IS NULL))), 0)
        """
    }

    /// How much a registry is wanted: by how many others who asked, and on how many machines that were refused it.
    struct Demand: Sendable, Hashable {
        /// People and devices that asked for it, all in all.
        var askers = 0
        /// Machines that were refused it.
        var machines = 0
    }

    /// How much registries are wanted.
    ///
    /// - Parameters:
    ///   - registries: which.
    ///   - organization: where.
    ///   - since: asked, or refused, at this time or later.
    /// - Returns: what is wanted, by registry.
    /// - Throws: what SQLite says.
    func demand(for registries: Set<String>, in organization: String, since: Instant) async throws -> [String: Demand] {
        try await database.read { database in
            var demands: [String: Demand] = [:]
            for registry in registries {
                let askers = try Int.fetchOne(
                    database,
                    sql: """
                        SELECT count(DISTINCT coalesce('u' || user, 'd' || device)) FROM registryRequest
                        WHERE organization = ? AND registry = ? AND made >= ? AND state <> 'withdrawn'
                        """,
                    arguments: [organization, registry, since.seconds]
                )
                let machines = try Int.fetchOne(
                    database,
                    sql: """
                        SELECT count(DISTINCT device) FROM refusal
                        WHERE organization = ? AND registry = ? AND received >= ?
                        """,
                    arguments: [organization, registry, since.seconds]
                )
                demands[registry] = Demand(askers: askers ?? 0, machines: machines ?? 0)
            }
            return demands
        }
    }

    /// What was allowed until a time that has come.
    ///
    /// - Parameter now: the time.
    /// - Returns: the requests with their organizations.
    /// - Throws: what SQLite says.
    func requestsToEnd(at now: Instant) async throws -> [(organization: String, request: RegistryRequest)] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM registryRequest WHERE state = 'allowed' AND until IS NOT NULL AND until <= ?
                    ORDER BY until LIMIT 100
                    """,
                arguments: [now.seconds]
            ).map { row in (row["organization"], try RegistryRequest(row)) }
        }
    }

    // MARK: - Answering

    /// An answer to be written down.
    struct WrittenAnswer: Sendable {
        let state: RegistryRequest.State
        var word = ""
        let actor: String
        var until: Instant?
        /// The rule that was added to the policy.
        var rule: String?
        var policyVersion: Int?
        /// Whether others who wait for the same have the same answer.
        var isForAll = true
    }

    /// Writes down the answer to a request; to be called in the transaction of what is done about it.
    ///
    /// Others who wait for the same registry and action have the same answer, if it is for all.
    ///
    /// - Parameters:
    ///   - answer: the answer.
    ///   - number: of which request.
    ///   - organization: where.
    ///   - now: the time.
    ///   - database: where that transaction is.
    /// - Returns: the numbers of the requests that are answered by it.
    /// - Throws: ``Problem`` if it is answered already, or what SQLite says.
    @discardableResult
    static func write(
        _ answer: WrittenAnswer,
        to number: Int,
        in organization: String,
        at now: Instant,
        _ database: Database
    ) throws -> [Int] {
        let request = try Self.request(number, of: organization, database)
        guard request.state == .open else { throw Problem.answered(request) }
        var numbers = [number]
        if answer.state != .withdrawn, answer.isForAll {
            numbers += try Int.fetchAll(
                database,
                sql: """
                    SELECT number FROM registryRequest WHERE organization = ? AND state = 'open' AND registry = ?
                        AND action = ? AND number <> ? ORDER BY number
                    """,
                arguments: [organization, request.registry.description, request.action.rawValue, number]
            )
        }
        for one in numbers {
            let its = one == number ? request : try Self.request(one, of: organization, database)
            try database.execute(
                sql: """
                    UPDATE registryRequest SET state = ?, word = ?, actor = ?, answered = ?, until = ?, rule = ?,
                        policyVersion = ?, changes = changes + 1
                    WHERE organization = ? AND number = ?
                    """,
                arguments: [
                    answer.state.rawValue, answer.word, answer.actor, now.seconds, answer.until?.seconds,
                    // It is taken out once.
                    one == number ? answer.rule : nil, answer.policyVersion, organization, one,
                ]
            )
            var data = [JSONMember("request", .number("\(one)")), JSONMember("asked_by", .string(its.asker))]
            if let until = answer.until { data.append(JSONMember("until", .string(until.description))) }
            if let version = answer.policyVersion { data.append(JSONMember("version", .number("\(version)"))) }
            if !answer.word.isEmpty { data.append(JSONMember("word", .string(answer.word))) }
            let action: Activity.Action =
                switch answer.state {
                case .allowed: .requestAllowed
                case .withdrawn: .requestWithdrawn
                case .declined, .open, .ended: .requestDeclined
                }
            try Activity(action, by: answer.actor, name: request.registry.description, data: data)
                .record(in: organization, at: now, database)
        }
        return numbers
    }

    /// Writes down that what was allowed until a time has ended; to be called in the transaction of what is done about it.
    ///
    /// - Parameters:
    ///   - number: which request.
    ///   - organization: where.
    ///   - more: what more there is to say.
    ///   - now: the time.
    ///   - database: where that transaction is.
    /// - Throws: what SQLite says.
    static func endRequest(
        _ number: Int,
        in organization: String,
        _ more: [JSONMember],
        at now: Instant,
        _ database: Database
    ) throws {
        let request = try Self.request(number, of: organization, database)
        guard request.state == .allowed else { return }
        try database.execute(
            sql: """
                UPDATE registryRequest SET state = 'ended', changes = changes + 1,
                    endVersion = (SELECT max(version) FROM policyVersion WHERE organization = :organization)
                WHERE organization = :organization AND number = :number
                """,
            arguments: ["organization": organization, "number": number]
        )
        let data = [JSONMember("request", .number("\(number)")), JSONMember("asked_by", .string(request.asker))]
        try Activity(.requestEnded, by: Names.system, name: request.registry.description, data: data + more)
            .record(in: organization, at: now, database)
    }

    /// The rules that a version of the policy had until a time that has come since.
    ///
    /// - Parameters:
    ///   - version: which version.
    ///   - organization: whose.
    /// - Returns: the rules as policy documents have them.
    /// - Throws: what SQLite says.
    func endedRules(in version: Int, of organization: String) async throws -> [String] {
        try await database.read { database in
            try String.fetchAll(
                database,
                sql: """
                    SELECT rule FROM registryRequest WHERE organization = :organization AND state = 'ended'
                        AND rule IS NOT NULL AND policyVersion <= :version AND endVersion > :version ORDER BY number
                    """,
                arguments: ["organization": organization, "version": version]
            )
        }
    }

    /// The newest version of an organization's policy.
    static func newestPolicyVersion(of organization: String, _ database: Database) throws -> Int? {
        try Int.fetchOne(
            database,
            sql: "SELECT max(version) FROM policyVersion WHERE organization = ?",
            arguments: [organization]
        )
    }

    /// Until when rules are allowed that answers have added.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the times, by the rules as policy documents have them; those that are not in the policy any more, too.
    /// - Throws: what SQLite says.
    func ends(in organization: String) async throws -> [(rule: String, until: Instant)] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT rule, max(until) AS until FROM registryRequest
                    WHERE state = 'allowed' AND until IS NOT NULL AND organization = ? AND rule IS NOT NULL
                    GROUP BY rule
                    """,
                arguments: [organization]
            ).map { row in (row["rule"], Instant(seconds: row["until"])) }
        }
    }

    /// Until when a rule is allowed that an answer has added.
    static func end(ofRule rule: String, in organization: String, _ database: Database) throws -> Instant? {
        try Int64.fetchOne(
            database,
            sql: "SELECT max(until) FROM registryRequest WHERE organization = ? AND state = 'allowed' AND rule = ?",
            arguments: [organization, rule]
        ).map(Instant.init(seconds:))
    }
}

extension Problem {
    /// The refusal of a second answer.
    static func answered(_ request: RegistryRequest) -> Problem {
        let by = request.actor.map { " by \($0)" } ?? ""
        return Problem(
            .conflict,
            .conflict,
            "request \(request.number) is \(request.state.rawValue) already\(by)",
            hint: "look at it again"
        )
    }
}
