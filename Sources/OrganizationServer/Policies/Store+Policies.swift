import Foundation
import GRDB
import RegistryAccess
import SignedPolicy

/// What an organization prepares before it saves it.
struct PolicyDraft: Sendable {
    /// Rises with each change of the draft, and past drafts that were thrown away.
    let number: Int
    /// The policy document.
    let document: [UInt8]
    /// The version of the policy that it was begun on.
    let basedOn: Int
    /// Who changed it last.
    let author: String
    /// When.
    let time: Instant
}

extension PolicyVersion {
    /// The version as answers have it.
    ///
    /// - Parameter withDifference: whether what it changed is in it, beyond the counts.
    /// - Returns: an object.
    func json(withDifference: Bool) -> JSONValue {
        var members = [
            JSONMember("version", .number("\(version)")),
            JSONMember("digest", .string("sha256:\(digest)")),
            JSONMember("author", .string(author)),
            JSONMember("time", .string(time.description)),
            JSONMember("comment", .string(comment)),
        ]
        let limits = StrictJSON.Limits(bytes: 64 << 20, depth: 16, foldsKeys: false)
        let difference = try? StrictJSON.parse(Array(difference.utf8), limits: limits)
        if withDifference {
            members.append(JSONMember("difference", difference ?? .null))
        } else {
            members.append(JSONMember("counts", difference?.value(named: "counts") ?? .null))
            let teams = difference?.value(named: "teams")?.members ?? []
            members.append(
                JSONMember(
                    "teamCounts",
                    .object(teams.map { JSONMember($0.name, $0.value.value(named: "counts") ?? .null) })
                )
            )
        }
        return .object(members)
    }
}

extension Store {
    /// The versions of an organization's policy, the newest first.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - version: only older ones than this; `nil` begins with the newest.
    ///   - limit: how many at most.
    /// - Returns: the versions without what they say.
    /// - Throws: what SQLite says.
    func policyVersions(
        of organization: String,
        before version: Int?,
        atMost limit: Int
    ) async throws -> [PolicyVersion] {
        try await database.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT version, digest, author, time, comment, difference FROM policyVersion
                    WHERE organization = ? AND version < ? ORDER BY version DESC LIMIT ?
                    """,
                arguments: [organization, version ?? Int.max, limit]
            ).map { row in
                PolicyVersion(
                    version: row["version"],
                    digest: row["digest"],
                    author: row["author"],
                    time: Instant(seconds: row["time"]),
                    comment: row["comment"],
                    difference: row["difference"]
                )
            }
        }
    }

    /// What a version of an organization's policy says.
    ///
    /// - Parameters:
    ///   - version: which.
    ///   - organization: whose.
    /// - Returns: the document; `nil` if there is none.
    /// - Throws: what SQLite says.
    func policyDocument(_ version: Int, of organization: String) async throws -> PolicyDocument? {
        guard let json = try await policyEnvelope(version, of: organization) else { return nil }
        return try PolicyDocument(payload: Envelope(json: json, as: .policy).payload)
    }

    /// Whether there is a team.
    ///
    /// - Parameters:
    ///   - team: its name.
    ///   - organization: where.
    /// - Returns: whether there is one.
    /// - Throws: what SQLite says.
    func hasTeam(_ team: String, in organization: String) async throws -> Bool {
        try await database.read { database in
            try Bool.fetchOne(
                database,
                sql: "SELECT EXISTS (SELECT 1 FROM team WHERE organization = ? AND name = ?)",
                arguments: [organization, team]
            ) ?? false
        }
    }

    // MARK: - Drafts

    /// The draft of an organization.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the draft, and its number, also if it is gone; 0 if there never was one.
    /// - Throws: what SQLite says.
    func policyDraft(of organization: String) async throws -> (draft: PolicyDraft?, number: Int) {
        try await database.read { try Store.policyDraft(of: organization, $0) }
    }

    /// The number of the draft of an organization, without reading it.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the number, also if the draft is gone; 0 if there never was one.
    /// - Throws: what SQLite says.
    func draftNumber(of organization: String) async throws -> Int {
        try await database.read { database in
            try Int.fetchOne(
                database,
                sql: "SELECT number FROM policyDraft WHERE organization = ?",
                arguments: [organization]
            ) ?? 0
        }
    }

    private static func policyDraft(
        of organization: String,
        _ database: Database
    ) throws -> (draft: PolicyDraft?, number: Int) {
        let row = try Row.fetchOne(
            database,
            sql: "SELECT number, document, basedOn, author, time FROM policyDraft WHERE organization = ?",
            arguments: [organization]
        )
        guard let row else { return (nil, 0) }
        let number: Int = row["number"]
        let document: Data? = row["document"]
        let draft = document.map { document in
            PolicyDraft(
                number: number,
                document: Array(document),
                basedOn: row["basedOn"],
                author: row["author"],
                time: Instant(seconds: row["time"])
            )
        }
        return (draft, number)
    }

    /// Writes a draft, or throws it away.
    ///
    /// - Parameters:
    ///   - document: the policy document; `nil` throws the draft away.
    ///   - organization: whose.
    ///   - number: the number of the draft that the author has seen.
    ///   - basedOn: the version of the policy that it builds on; not heeded where there is a draft that goes on.
    ///   - movesBase: whether it builds on that version also if there is a draft that goes on.
    ///   - author: who changes it.
    ///   - now: the time.
    /// - Returns: its new number; `nil` if the number that the author has seen is not the newest: nothing was written.
    /// - Throws: what SQLite says.
    func writeDraft(
        _ document: [UInt8]?,
        of organization: String,
        expecting number: Int,
        basedOn: Int,
        movesBase: Bool = false,
        by author: String,
        at now: Instant
    ) async throws -> Int? {
        try await database.write { database in
            let there = try Store.policyDraft(of: organization, database)
            guard there.number == number else { return nil }
            try database.execute(
                sql: """
                    INSERT INTO policyDraft (organization, number, document, basedOn, author, time)
                    VALUES (?, ?, ?, ?, ?, ?)
                    ON CONFLICT (organization) DO UPDATE SET number = excluded.number, document = excluded.document,
                        basedOn = excluded.basedOn, author = excluded.author, time = excluded.time
                    """,
                arguments: [
                    organization, number + 1, document.map { Data($0) },
                    movesBase ? basedOn : there.draft?.basedOn ?? basedOn, author, now.seconds,
                ]
            )
            return number + 1
        }
    }
}
