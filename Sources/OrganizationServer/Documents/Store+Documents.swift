import Foundation
import GRDB
import RegistryAccess
import SignedPolicy

/// What an organization has signed last, to build on.
struct SigningState: Sendable {
    /// The newest root document.
    let root: RootDocument
    /// The newest policy; `nil` if there is none yet.
    let policy: PolicyDocument?
    /// The newest policy as it is served.
    let policyEnvelope: Envelope?
    /// The teams that there are.
    let teams: Set<String>

    /// What a change is built on: it is not made if one of these is not the newest any more.
    var base: Base { Base(rootVersion: root.version, policyVersion: policy?.version ?? 0) }

    struct Base: Hashable, Sendable {
        let rootVersion: Int
        let policyVersion: Int
    }
}

/// A version of a policy and how it came about.
struct PolicyVersion: Hashable, Sendable {
    /// The version.
    let version: Int
    /// The digest of its document.
    let digest: String
    /// Who made it.
    let author: String
    /// When.
    let time: Instant
    /// Why, in the author's words.
    let comment: String
    /// What it changed, as JSON.
    let difference: String
}

/// A change of what an organization has signed, ready to be written.
struct Publication: Sendable {
    /// A new version of the policy in its envelope.
    struct Policy: Sendable {
        let document: PolicyDocument
        let envelope: Envelope
        let author: String
        let comment: String
        let difference: String
    }

    let organization: String
    let base: SigningState.Base
    /// The newest root document from then on.
    let root: RootDocument
    /// Its envelope, if it is a new one.
    var newRoot: Envelope?
    var policy: Policy?
    var activities: [Activity] = []
    /// What is written in the same transaction, before all of it.
    var beforehand: @Sendable (Database) throws -> Void = { _ in }
    /// What is written in the same transaction, after the version.
    var alongside: @Sendable (Database) throws -> Void = { _ in }
}

extension Store {
    // MARK: - What is signed

    /// What an organization has signed last.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the newest documents; `nil` if there is no such organization, or it has no root document.
    /// - Throws: what SQLite says, or ``Rejection`` if a document is not in order.
    func signingState(of organization: String) async throws -> SigningState? {
        let found = try await database.read { database in
            (
                root: try Store.newestRoot(of: organization, database),
                policy: try Data.fetchOne(
                    database,
                    sql: "SELECT envelope FROM policyVersion WHERE organization = ? ORDER BY version DESC LIMIT 1",
                    arguments: [organization]
                ),
                teams: try String.fetchSet(
                    database,
                    sql: "SELECT name FROM team WHERE organization = ?",
                    arguments: [organization]
                )
            )
        }
        guard let root = found.root else { return nil }
        // The database is the server's own: what is in it was looked at before it was written.
        let envelope = try found.policy.map { try Envelope(json: Array($0), as: .policy) }
        return SigningState(
            root: try RootDocument(payload: Envelope(json: root, as: .root).payload),
            policy: try envelope.map { try PolicyDocument(payload: $0.payload) },
            policyEnvelope: envelope,
            teams: found.teams
        )
    }

    /// The root documents of an organization.
    ///
    /// - Parameter organization: whose.
    /// - Returns: their envelopes, from version 1 on.
    /// - Throws: what SQLite says.
    func rootDocuments(of organization: String) async throws -> [[UInt8]] {
        try await database.read { try Store.roots(of: organization, $0) }
    }

    /// A version of the policy as it is served.
    ///
    /// - Parameters:
    ///   - version: which.
    ///   - organization: whose.
    /// - Returns: the envelope; `nil` if there is no such version.
    /// - Throws: what SQLite says.
    func policyEnvelope(_ version: Int, of organization: String) async throws -> [UInt8]? {
        try await database.read { database in
            try Data.fetchOne(
                database,
                sql: "SELECT envelope FROM policyVersion WHERE organization = ? AND version = ?",
                arguments: [organization, version]
            ).map { Array($0) }
        }
    }

    /// Everything that an organization serves now, of one moment.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the envelopes; `nil` if there is no such organization or it has no policy yet.
    /// - Throws: what SQLite says.
    func newestDocuments(
        of organization: String
    ) async throws -> (roots: [[UInt8]], policy: [UInt8], policyVersion: Int, freshness: [UInt8], sequence: Int)? {
        try await database.read { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT sequence, policyVersion, freshness.envelope AS freshness, policyVersion.envelope AS policy
                    FROM freshness JOIN policyVersion
                    ON policyVersion.organization = freshness.organization AND version = policyVersion
                    WHERE freshness.organization = ?
                    """,
                arguments: [organization]
            )
            guard let row else { return nil }
            let (policy, freshness): (Data, Data) = (row["policy"], row["freshness"])
            return (
                try Store.roots(of: organization, database), Array(policy), row["policyVersion"], Array(freshness),
                row["sequence"]
            )
        }
    }

    /// The sequence number of each organization's newest freshness document.
    ///
    /// - Returns: the numbers.
    /// - Throws: what SQLite says.
    func sequences() async throws -> [String: Int] {
        try await database.read { database in
            let rows = try Row.fetchAll(database, sql: "SELECT organization, sequence FROM freshness")
            return Dictionary(rows.map { ($0["organization"], $0["sequence"]) }, uniquingKeysWith: { $1 })
        }
    }

    private static func newestRoot(of organization: String, _ database: Database) throws -> [UInt8]? {
        try Data.fetchOne(
            database,
            sql: "SELECT envelope FROM rootDocument WHERE organization = ? ORDER BY version DESC LIMIT 1",
            arguments: [organization]
        ).map { Array($0) }
    }

    private static func roots(of organization: String, _ database: Database) throws -> [[UInt8]] {
        try Data.fetchAll(
            database,
            sql: "SELECT envelope FROM rootDocument WHERE organization = ? ORDER BY version",
            arguments: [organization]
        ).map { Array($0) }
    }

    // MARK: - Signing more

    /// Writes a change with the freshness document that announces it and its activity, or nothing of it.
    ///
    /// - Parameters:
    ///   - publication: the change.
    ///   - keys: what signs the freshness document.
    ///   - now: the time.
    /// - Returns: whether it was written; not if what it builds on is not the newest any more.
    /// - Throws: what SQLite says, or ``ServerFileError``.
    func write(_ publication: Publication, keys: SigningKeys, at now: Instant) async throws -> Bool {
        try await database.write { database in
            let organization = publication.organization
            let newest = try SigningState.Base(
                rootVersion: Store.newest("rootDocument", of: organization, database),
                policyVersion: Store.newest("policyVersion", of: organization, database)
            )
            guard newest == publication.base else { return false }
            try publication.beforehand(database)
            if let root = publication.newRoot {
                try database.execute(
                    sql: "INSERT INTO rootDocument (organization, version, envelope, created) VALUES (?, ?, ?, ?)",
                    arguments: [organization, publication.root.version, Data(root.json.utf8), now.seconds]
                )
            }
            if let policy = publication.policy {
                try database.execute(
                    sql: """
                        INSERT INTO policyVersion
                            (organization, version, digest, envelope, author, time, comment, difference)
                        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                        """,
                    arguments: [
                        organization, policy.document.version, policy.document.digest, Data(policy.envelope.json.utf8),
                        policy.author, now.seconds, policy.comment, policy.difference,
                    ]
                )
            }
            try Store.renewFreshness(
                of: organization,
                naming: publication.policy?.document,
                publication.root,
                keys,
                at: now,
                database
            )
            for activity in publication.activities { try activity.record(in: organization, at: now, database) }
            try publication.alongside(database)
            return true
        }
    }

    private static func newest(_ table: String, of organization: String, _ database: Database) throws -> Int {
        try Int.fetchOne(
            database,
            sql: "SELECT max(version) FROM \(table) WHERE organization = ?",
            arguments: [organization]
        ) ?? 0
    }

    /// The organizations whose freshness document has half of its life behind it.
    ///
    /// - Parameter now: the time.
    /// - Returns: their names.
    /// - Throws: what SQLite says.
    func organizationsToRenew(at now: Instant) async throws -> [String] {
        try await database.read { database in
            // A clock that was set back must not keep a document from being renewed, so a distance counts and not a time.
            try String.fetchAll(
                database,
                sql: """
                    SELECT organization FROM freshness WHERE abs(? - issued) * 2 >= expires - issued
                    ORDER BY organization
                    """,
                arguments: [now.seconds]
            )
        }
    }

    /// Makes the freshness document of an organization anew.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - keys: what signs.
    ///   - now: the time.
    /// - Throws: what SQLite says, or why it cannot be signed.
    func renewFreshness(of organization: String, keys: SigningKeys, at now: Instant) async throws {
        try await database.write { database in
            guard let json = try Store.newestRoot(of: organization, database) else {
                throw ServerFileError("\"\(organization)\" has no root document yet")
            }
            let root = try RootDocument(payload: Envelope(json: json, as: .root).payload)
            try Store.renewFreshness(of: organization, naming: nil, root, keys, at: now, database)
        }
    }

    /// Makes a freshness document with the next number; to be called in the transaction of what it announces.
    private static func renewFreshness(
        of organization: String,
        naming policy: PolicyDocument?,
        _ root: RootDocument,
        _ keys: SigningKeys,
        at now: Instant,
        _ database: Database
    ) throws {
        let row = try Row.fetchOne(
            database,
            sql: """
                SELECT refreshSeconds, validitySeconds, sequence, issued, expires - issued AS lastLifetime, envelope
                FROM organization LEFT JOIN freshness ON organization = name WHERE name = ?
                """,
            arguments: [organization]
        )
        guard let row else { throw ServerFileError("there is no organization \"\(organization)\"") }
        let previous: Data? = row["envelope"]
        let (lifetime, refreshSeconds): (Int64, Int) = (row["validitySeconds"], row["refreshSeconds"])
        let last: Int64 = row["issued"] ?? now.seconds
        // Machines accept none that was made before the one they have, even if the clock was set back. But one that lies
        // further ahead than a document lives was made by a clock that was wrong: no machine has accepted it.
        let isFromWrongClock = last - now.seconds > (row["lastLifetime"] ?? lifetime)
        let issued = isFromWrongClock ? now : max(now, Instant(seconds: last))
        let sequence = (row["sequence"] ?? 0) + 1
        let document: FreshnessDocument
        if let policy {
            document = FreshnessDocument(
                of: policy,
                sequence: sequence,
                rootVersion: root.version,
                issued: issued,
                expires: issued + lifetime,
                refreshSeconds: refreshSeconds
            )
        } else if let previous {
            document = FreshnessDocument(
                renewing: try FreshnessDocument(payload: Envelope(json: Array(previous), as: .freshness).payload),
                sequence: sequence,
                rootVersion: root.version,
                issued: issued,
                expires: issued + lifetime,
                refreshSeconds: refreshSeconds
            )
        } else {
            throw ServerFileError("\"\(organization)\" has no policy yet")
        }
        let signers = try keys.signing(.freshness, by: root)
        let envelope = try Envelope(signing: document.payload, as: .freshness, with: signers)
        try database.execute(
            sql: """
                INSERT INTO freshness
                    (organization, sequence, issued, expires, rootVersion, policyVersion, envelope)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (organization) DO UPDATE SET sequence = excluded.sequence, issued = excluded.issued,
                    expires = excluded.expires, rootVersion = excluded.rootVersion,
                    policyVersion = excluded.policyVersion, envelope = excluded.envelope
                """,
            arguments: [
                organization, sequence, issued.seconds, document.expires.seconds, root.version,
                document.policyVersion, Data(envelope.json.utf8),
            ]
        )
    }
}
