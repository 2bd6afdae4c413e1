import GRDB
import RegistryAccess
import SignedPolicy

/// Who a person of a provider is in an organization.
struct Identity: Hashable, Sendable {
    let user: String
    let issuer: String
    let subject: String
    let email: String?
    let since: Instant

    /// As answers have it.
    var json: [JSONMember] {
        [
            JSONMember("user", .string(user)), JSONMember("issuer", .string(issuer)),
            JSONMember("subject", .string(subject)), JSONMember("email", .text(email)),
            JSONMember("since", .string(since.description)),
        ]
    }
}

extension Store {
    /// Who is linked to a person of a provider.
    ///
    /// - Parameter organization: where.
    /// - Returns: the links by the names of the people.
    /// - Throws: what SQLite says.
    func identities(in organization: String) async throws -> [Identity] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: "SELECT * FROM identity WHERE organization = ? ORDER BY user, issuer",
                arguments: [organization]
            ).map { row in
                Identity(
                    user: row["user"],
                    issuer: row["issuer"],
                    subject: row["subject"],
                    email: row["email"],
                    since: Instant(seconds: row["created"])
                )
            }
        }
    }

    /// Links a member to a person of the organization's provider; a link that they have there is replaced.
    ///
    /// - Parameters:
    ///   - user: the member.
    ///   - subject: by what the provider knows the person.
    ///   - organization: where.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: whether there is single sign-on in the organization.
    /// - Throws: what SQLite says, also if somebody else is linked to that person.
    func link(_ user: String, to subject: String, in organization: String, by actor: String, at now: Instant)
        async throws
        -> Bool
    {
        try await database.write { database in
            guard let settings = try Self.singleSignOn(of: organization, database) else { return false }
            let issuer = settings.issuer.description
            try database.execute(
                sql: "DELETE FROM identity WHERE organization = ? AND issuer = ? AND user = ?",
                arguments: [organization, issuer, user]
            )
            try Self.insertIdentity(issuer, subject, email: nil, user, in: organization, by: actor, at: now, database)
            return true
        }
    }

    /// Links somebody to a person of a provider, and writes it down.
    static func insertIdentity(
        _ issuer: String,
        _ subject: String,
        email: String?,
        _ user: String,
        in organization: String,
        by actor: String,
        at now: Instant,
        _ database: Database
    ) throws {
        try database.execute(
            sql: """
                INSERT INTO identity (organization, issuer, subject, user, email, created) VALUES (?, ?, ?, ?, ?, ?)
                """,
            arguments: [organization, issuer, subject, user, email, now.seconds]
        )
        try Activity(
            .identityLinked,
            by: actor,
            name: user,
            data: [
                JSONMember("issuer", .string(issuer)), JSONMember("subject", .string(subject)),
                JSONMember("email", .text(email)),
            ]
        ).record(in: organization, at: now, database)
    }

    /// Unlinks a member from every person of a provider.
    ///
    /// - Parameters:
    ///   - user: the member.
    ///   - organization: where.
    ///   - actor: who does it.
    ///   - now: the time.
    /// - Returns: whether there was a link.
    /// - Throws: what SQLite says.
    func unlink(_ user: String, in organization: String, by actor: String, at now: Instant) async throws -> Bool {
        try await database.write { database in
            try database.execute(
                sql: "DELETE FROM identity WHERE organization = ? AND user = ?",
                arguments: [organization, user]
            )
            guard database.changesCount > 0 else { return false }
            try Activity(.identityUnlinked, by: actor, name: user).record(in: organization, at: now, database)
            return true
        }
    }
}
