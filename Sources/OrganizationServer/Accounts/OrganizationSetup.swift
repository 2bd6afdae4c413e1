import RegistryAccess
import GRDB
import SignedPolicy

/// What `docker-ram-server init` makes, and the first set-up in a browser: the first organization, its owner and its keys.
struct OrganizationSetup: Sendable {
    /// What the organization is called.
    let organization: String
    /// Whom its developers ask.
    let contact: String?
    /// What its first owner is called.
    let owner: String
    /// The owner's password as it is kept.
    let password: PasswordHash
    /// The owner's e-mail address.
    var email: String?
    /// When.
    let now: Instant
    /// What is signed for it.
    let documents: FirstDocuments

    /// Makes all of it.
    ///
    /// - Parameters:
    ///   - store: an empty database.
    ///   - data: where keys go.
    /// - Returns: lines that say what to do now.
    /// - Throws: what SQLite says, or why something cannot be signed.
    func run(in store: Store, _ data: DataDirectory) async throws -> [String] {
        try await store.database.write { database in
            try database.execute(
                sql: "INSERT INTO organization (name, contact, created) VALUES (?, ?, ?)",
                arguments: [organization, contact, now.seconds]
            )
            try Store.insertUser(owner, email: email, password, at: now, database)
            try database.execute(
                sql: "INSERT INTO membership (organization, user, role, created) VALUES (?, ?, 'owner', ?)",
                arguments: [organization, owner, now.seconds]
            )
            try Activity(.organizationCreated, by: owner, name: organization)
                .record(in: organization, at: now, database)
        }
        return try await documents.make(for: self, in: store, data)
    }
}
