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
        try await limits.check(.passwordInARow, pair)
        try await limits.take(.passwordFromAddress, address)
        try await limits.check(.passwordOfAccount, account)
        guard try await passwords.check(password, against: kept?.password) else {
            await limits.spend(.passwordOfAccount, account)
            if await limits.spend(.passwordInARow, pair), kept != nil {
                try await store.recordInEachOrganization(
                    of: account,
                    Activity(
                        .signInSlowed,
                        by: "system",
                        name: account,
                        data: [JSONMember("address", .string(address))]
                    ),
                    at: now()
                )
            }
            return nil
        }
        await limits.fill(.passwordInARow, pair)
        if let kept, let hash = kept.password, passwords.isOutdated(hash) {
            try await store.replacePassword(of: kept.name, hash, with: passwords.hash(password))
        }
        return kept?.name
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
            try database.execute(
                sql: "UPDATE user SET password = ? WHERE name = ?",
                arguments: [password.phc, user]
            )
            try database.execute(
                sql: "UPDATE session SET ended = ? WHERE user = ? AND ended IS NULL AND id IS NOT ?",
                arguments: [now.seconds, user, session]
            )
            try database.execute(sql: "DELETE FROM deviceAuthorization WHERE user = ?", arguments: [user])
            let organizations = try Self.roles(of: user, database).keys.sorted()
            for organization in organizations {
                try Activity(.passwordChanged, by: user, name: user).record(in: organization, at: now, database)
            }
            return organizations
        }
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
