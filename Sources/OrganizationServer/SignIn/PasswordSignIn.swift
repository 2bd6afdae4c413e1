import GRDB
import RegistryAccess
import SignedPolicy

extension Services {
    /// Who signs in with a name and a password.
    ///
    /// Whether the name or the password is wrong is not said, and takes as long to find out.
    ///
    /// - Parameters:
    ///   - name: the name, or the e-mail address.
    ///   - password: the password.
    ///   - address: where the sign-in comes from.
    /// - Returns: the name; `nil` if it is not so.
    /// - Throws: ``Problem`` 429 after too many tries, 503 if too many wait, or what SQLite says.
    func user(named name: String, password: Password, from address: String) async throws -> String? {
        let kept = try await store.account(named: name)
        // An unknown name is limited like a known one, or the limit would say which are known.
        let account = kept?.name ?? String(name.lowercased().prefix(254))
        let pair = "\(account) \(address)"
        // What strangers try elsewhere keeps nobody out where they are signed in already; there the pair is limited.
        let isAtHome = try await store.isSignedIn(account, from: address, at: now())
        var wanted: [(limit: RateLimits.Limit, subject: String)] = [
            (.passwordInARow, pair), (.passwordFromAddress, address),
        ]
        if !isAtHome { wanted.append((.passwordOfAccount, account)) }
        // Taken before it is known whether the password is right, for others may be tried at the same time.
        let emptied = try await limits.take(each: wanted)
        let isRight: Bool
        do {
            isRight = try await passwords.check(password, against: kept?.password)
        } catch {
            for (limit, subject) in wanted { await limits.giveBack(limit, subject) }
            throw error
        }
        guard isRight else {
            if emptied.contains(.passwordInARow), kept != nil { try await recordSlowing(of: account, from: address) }
            return nil
        }
        await limits.fill(.passwordInARow, pair)
        if !isAtHome { await limits.giveBack(.passwordOfAccount, account) }
        if let kept { try await renewHash(of: kept, password) }
        return kept?.name
    }

    /// Whether somebody who is signed in shows their own password again.
    ///
    /// Only what is tried in this session is counted: strangers who try passwords keep nobody from what is dangerous.
    ///
    /// - Parameters:
    ///   - password: what they show.
    ///   - user: who is signed in.
    ///   - session: the session.
    ///   - address: where the request comes from.
    /// - Returns: whether it is theirs.
    /// - Throws: ``Problem`` 429 after too many tries, 503 if too many wait, or what SQLite says.
    func isPassword(_ password: Password, of user: String, in session: String, from address: String) async throws
        -> Bool
    {
        let kept = try await store.account(named: user)
        let emptied = try await limits.take(each: [(.passwordInSession, session)])
        let isRight: Bool
        do {
            isRight = try await passwords.check(password, against: kept?.password)
        } catch {
            await limits.giveBack(.passwordInSession, session)
            throw error
        }
        guard isRight else {
            if !emptied.isEmpty { try await recordSlowing(of: user, from: address) }
            return false
        }
        await limits.fill(.passwordInSession, session)
        if let kept { try await renewHash(of: kept, password) }
        return true
    }

    private func recordSlowing(of user: String, from address: String) async throws {
        try await store.recordInEachOrganization(
            of: user,
            Activity(.signInSlowed, by: Names.system, name: user, data: [JSONMember("address", .string(address))]),
            at: now()
        )
    }

    private func renewHash(of account: Store.Account, _ password: Password) async throws {
        guard let hash = account.password, passwords.isOutdated(hash) else { return }
        try await store.replacePassword(of: account.name, hash, with: passwords.hash(password))
    }
}

extension Store {
    /// Somebody who can sign in.
    struct Account: Sendable {
        let name: String
        /// `nil`: not with a password.
        let password: PasswordHash?
    }

    /// Somebody by their name or e-mail address.
    ///
    /// - Parameter name: which.
    /// - Returns: the account; `nil` if there is none.
    /// - Throws: what SQLite says.
    func account(named name: String) async throws -> Account? {
        try await database.read { database in
            try Row.fetchOne(
                database,
                sql: "SELECT name, password FROM user WHERE name = ? OR email = ?",
                arguments: [name, name]
            ).map { row in
                let phc: String? = row["password"]
                return Account(name: row["name"], password: phc.flatMap(PasswordHash.init(phc:)))
            }
        }
    }

    /// Whether somebody is signed in from an address.
    ///
    /// - Parameters:
    ///   - user: who.
    ///   - address: where; none is known as `-`.
    ///   - now: the time.
    /// - Returns: whether they have a session that came from there.
    /// - Throws: what SQLite says.
    func isSignedIn(_ user: String, from address: String, at now: Instant) async throws -> Bool {
        guard address != "-" else { return false }
        return try await database.read { database in
            try Bool.fetchOne(
                database,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM session
                        WHERE user = ? AND address = ? AND ended IS NULL AND expires > ?)
                    """,
                arguments: [user, address, now.seconds]
            ) ?? false
        }
    }

    /// Makes somebody.
    ///
    /// - Parameters:
    ///   - name: what they are called.
    ///   - email: their e-mail address.
    ///   - password: their password; `nil` for who signs in elsewhere only.
    ///   - now: the time.
    ///   - database: where the transaction is.
    /// - Throws: what SQLite says, also if there is somebody of this name.
    static func insertUser(
        _ name: String,
        email: String?,
        _ password: PasswordHash?,
        at now: Instant,
        _ database: Database
    ) throws {
        try database.execute(
            sql: "INSERT INTO user (name, email, password, created) VALUES (?, ?, ?, ?)",
            arguments: [name, email, password?.phc, now.seconds]
        )
    }

    /// Keeps the same password at a higher cost, unless it has been changed meanwhile.
    func replacePassword(of user: String, _ old: PasswordHash, with new: PasswordHash) async throws {
        try await database.write { database in
            try database.execute(
                sql: "UPDATE user SET password = ? WHERE name = ? AND password = ?",
                arguments: [new.phc, user, old.phc]
            )
        }
    }

    /// Changes a password, and ends every other session of its owner.
    ///
    /// - Parameters:
    ///   - user: whose.
    ///   - password: the new one.
    ///   - session: the session that goes on: the one that changes it.
    ///   - now: the time.
    /// - Returns: the organizations that the person belongs to.
    /// - Throws: what SQLite says.
    func changePassword(of user: String, to password: PasswordHash, keeping session: String?, at now: Instant)
        async throws
        -> [String]
    {
        try await database.write { database in
            let activity = Activity(.passwordChanged, by: user, name: user)
            return try Self.changePassword(of: user, to: password, keeping: session, activity, at: now, database)
        }
    }

    /// Changes a password, ends the sessions of its owner, and takes back what waits to become one.
    ///
    /// - Parameters:
    ///   - user: whose.
    ///   - password: the new one.
    ///   - session: a session that goes on; `nil`: none does.
    ///   - activity: what is recorded in every organization that the person belongs to.
    ///   - now: the time.
    ///   - database: where the transaction is.
    /// - Returns: those organizations.
    /// - Throws: what SQLite says.
    static func changePassword(
        of user: String,
        to password: PasswordHash,
        keeping session: String? = nil,
        _ activity: Activity,
        at now: Instant,
        _ database: Database
    ) throws -> [String] {
        try database.execute(
            sql: "UPDATE user SET password = ? WHERE name = ?",
            arguments: [password.phc, user]
        )
        try database.execute(
            sql: "UPDATE session SET ended = ? WHERE user = ? AND ended IS NULL AND id IS NOT ?",
            arguments: [now.seconds, user, session]
        )
        try database.execute(sql: "DELETE FROM deviceAuthorization WHERE user = ?", arguments: [user])
        try database.execute(sql: "DELETE FROM passwordReset WHERE user = ?", arguments: [user])
        let organizations = try Self.roles(of: user, database).keys.sorted()
        for organization in organizations { try activity.record(in: organization, at: now, database) }
        return organizations
    }

    /// Writes something down in every organization that somebody belongs to.
    func recordInEachOrganization(of user: String, _ activity: Activity, at now: Instant) async throws {
        try await database.write { database in
            for organization in try Self.roles(of: user, database).keys.sorted() {
                try activity.record(in: organization, at: now, database)
            }
        }
    }
}
