import RegistryAccess
import GRDB
import SignedPolicy

/// What `docker-ram-server init` makes, `organization add` and the first set-up in a browser: an organization, its owner and
/// its keys.
struct OrganizationSetup: Sendable {
    /// What the organization is called.
    let organization: String
    /// Whom its developers ask.
    let contact: String?
    /// What its first owner is called.
    let owner: String
    /// The owner's password as it is kept; `nil`: they are there already.
    let password: PasswordHash?
    /// The e-mail address of an owner who is new.
    var email: String?
    /// When.
    let now: Instant
    /// What is signed for it.
    let documents: FirstDocuments

    /// Makes all of it, or nothing: no key and no row is left of what could not be made.
    ///
    /// - Parameters:
    ///   - store: a database without this organization.
    ///   - data: where keys go.
    /// - Returns: lines that say what to do now.
    /// - Throws: what SQLite says, also if there is such an organization or such an owner, or why something cannot be signed.
    func run(in store: Store, _ data: DataDirectory) async throws -> [String] {
        try await documents.make(for: self, in: store, data)
    }

    /// Writes the organization and its owner.
    ///
    /// - Parameter database: where the transaction is.
    /// - Throws: what SQLite says.
    func write(_ database: Database) throws {
        try database.execute(
            sql: "INSERT INTO organization (name, contact, created) VALUES (?, ?, ?)",
            arguments: [organization, contact, now.seconds]
        )
        if let password { try Store.insertUser(owner, email: email, password, at: now, database) }
        try database.execute(
            sql: "INSERT INTO membership (organization, user, role, created) VALUES (?, ?, 'owner', ?)",
            arguments: [organization, owner, now.seconds]
        )
        try Activity(.organizationCreated, by: owner, name: organization)
            .record(in: organization, at: now, database)
    }
}
