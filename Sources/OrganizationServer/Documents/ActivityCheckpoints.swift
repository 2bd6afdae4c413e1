import Foundation
import GRDB
import RegistryAccess
import SignedPolicy

extension Publisher {
    /// How old the newest checkpoint of activity may become, in seconds.
    static let checkpointSeconds: Int64 = 86_400

    /// Makes a checkpoint for each organization whose last one is a day old, if anything was done since.
    ///
    /// - Returns: what was made.
    /// - Throws: what SQLite says, or why it cannot be signed.
    func makeDailyCheckpoints() async throws -> [ActivityCheckpoint] {
        var made: [ActivityCheckpoint] = []
        for organization in try await store.organizationsWithoutCheckpoint(since: now() + -Self.checkpointSeconds) {
            if let checkpoint = try await makeCheckpoint(of: organization) { made.append(checkpoint) }
        }
        return made
    }

    /// Signs how far the activity of an organization goes now.
    ///
    /// - Parameter organization: whose.
    /// - Returns: what was signed; `nil` if the last checkpoint says so already, or the organization has no root document
    ///   yet, which would name the key.
    /// - Throws: what SQLite says, or why it cannot be signed.
    @discardableResult
    func makeCheckpoint(of organization: String) async throws -> ActivityCheckpoint? {
        guard let root = try await store.signingState(of: organization)?.root else { return nil }
        let signers = try keys.signing(.freshness, by: root)
        let time = now()
        return try await store.database.write { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT max(number) AS number, count(*) AS lines,
                        (SELECT max(number) FROM activityCheckpoint WHERE organization = :organization) AS last
                    FROM activity WHERE organization = :organization
                    """,
                arguments: ["organization": organization]
            )
            guard let row, let number = row["number"] as Int?, number > row["last"] as Int? ?? 0 else { return nil }
            let checkpoint = ActivityCheckpoint(
                organization: organization,
                number: number,
                lines: row["lines"],
                hash: try ActivityChain.newestHash(of: organization, database),
                issued: time
            )
            let envelope = try Envelope(signing: checkpoint.payload, as: .activity, with: signers)
            try database.execute(
                sql: "INSERT INTO activityCheckpoint (organization, number, created, envelope) VALUES (?, ?, ?, ?)",
                arguments: [organization, number, time.seconds, Data(envelope.json.utf8)]
            )
            return checkpoint
        }
    }

    /// Proves the activity of an organization.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - others: checkpoints that were kept elsewhere, in their envelopes.
    /// - Returns: how far it goes, and how many checkpoints say so.
    /// - Throws: ``ActivityChain/Fault``, ``Rejection`` of a checkpoint, or what SQLite says.
    func verifyActivity(
        of organization: String,
        with others: [[UInt8]] = []
    ) async throws -> (end: ActivityChain.End, checkpoints: Int) {
        let roots = try await store.rootDocuments(of: organization)
        let keys = try checkpointKeys(roots, organization)
        return try await store.database.read { database in
            let kept = try Data.fetchAll(
                database,
                sql: "SELECT envelope FROM activityCheckpoint WHERE organization = ? ORDER BY number",
                arguments: [organization]
            ).map { Array($0) }
            let checkpoints = try (kept + others).compactMap { json -> ActivityCheckpoint? in
                let envelope = try Envelope(json: json, as: .activity)
                guard !envelope.signers(among: keys).isEmpty else {
                    throw Rejection.notSigned(signatures: 0, needed: 1)
                }
                let checkpoint = try ActivityCheckpoint(payload: envelope.payload)
                guard checkpoint.organization == organization else {
                    throw Rejection.otherOrganization(checkpoint.organization)
                }
                return checkpoint
            }
            return (try ActivityChain.follow(organization, checkpoints, database), checkpoints.count)
        }
    }

    /// The keys that may have signed checkpoints: those of freshness in every root document, each of which was signed as the
    /// one before asks for.
    private func checkpointKeys(_ roots: [[UInt8]], _ organization: String) throws -> [KeyID: VerificationKey] {
        guard !roots.isEmpty else { return [:] }
        _ = try trust(roots, organization)
        let keys = try roots.flatMap { json in
            try RootDocument(payload: Envelope(json: json, as: .root).payload).roles[.freshness]?.keys ?? []
        }
        return Dictionary(keys.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }
}

extension Store {
    /// The organizations with lines that no checkpoint since a time covers.
    fileprivate func organizationsWithoutCheckpoint(since time: Instant) async throws -> [String] {
        try await database.read { database in
            try String.fetchAll(
                database,
                sql: """
                    SELECT organization.name FROM organization
                    LEFT JOIN (SELECT organization, max(created) AS created, max(number) AS number
                        FROM activityCheckpoint GROUP BY organization) AS last ON last.organization = organization.name
                    WHERE EXISTS (SELECT 1 FROM rootDocument WHERE rootDocument.organization = organization.name)
                        AND (last.created IS NULL OR last.created <= ?)
                        AND EXISTS (SELECT 1 FROM activity
                            WHERE activity.organization = organization.name AND activity.number > coalesce(last.number, 0))
                    ORDER BY 1
                    """,
                arguments: [time.seconds]
            )
        }
    }

    /// The newest checkpoint of an organization's activity.
    ///
    /// - Parameter organization: whose.
    /// - Returns: its envelope; `nil` if there is none.
    /// - Throws: what SQLite says.
    func newestCheckpoint(of organization: String) async throws -> [UInt8]? {
        try await database.read { database in
            try Data.fetchOne(
                database,
                sql: "SELECT envelope FROM activityCheckpoint WHERE organization = ? ORDER BY number DESC LIMIT 1",
                arguments: [organization]
            ).map { Array($0) }
        }
    }

    /// All organizations.
    ///
    /// - Returns: their names in order.
    /// - Throws: what SQLite says.
    func organizations() async throws -> [String] {
        try await database.read { try String.fetchAll($0, sql: "SELECT name FROM organization ORDER BY name") }
    }
}
