import RegistryAccess
import SignedPolicy

extension Services {
    /// Saves the draft of an organization as the next version of its policy; the draft is gone then.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - draft: the number of the draft that the author has seen.
    ///   - policy: the version of the policy that they have seen.
    ///   - comment: why.
    ///   - acknowledgesLockOut: whether a policy is meant that denies the server itself.
    ///   - author: who saves it.
    /// - Returns: the version; `nil` if there is no draft of this number.
    /// - Throws: ``Problem``, among others ``Problem/Code/changedMeanwhile`` if the policy is another one.
    func saveDraft(
        of organization: String,
        seen draft: Int,
        after policy: Int,
        comment: String,
        acknowledgingLockOut acknowledgesLockOut: Bool,
        by author: String
    ) async throws -> Publisher.Result? {
        guard let there = try await store.policyDraft(of: organization).draft, there.number == draft else { return nil }
        let content = try there.policy
        let result = try await publisher.publish(
            in: organization,
            by: author,
            comment: comment,
            expecting: policy,
            acknowledgingLockOut: acknowledgesLockOut
        ) { PolicyContent(policy: content, teams: $0.teams) }
        // Whoever has changed it since goes on with it.
        _ = try await store.writeDraft(
            nil,
            of: organization,
            expecting: draft,
            basedOn: 0,
            by: author,
            at: now()
        )
        return result
    }
}

extension Publisher {
    /// Makes a version that says the same as an earlier one: of teams by the names that they have now, and without what was
    /// allowed until a date that has come.
    ///
    /// - Parameters:
    ///   - document: the earlier one.
    ///   - organization: whose.
    ///   - author: who rolls back.
    ///   - comment: why.
    ///   - version: the version that the author has seen, which must be the newest; `nil` if they do not care.
    ///   - acknowledgesLockOut: whether a policy is meant that denies the server itself.
    /// - Returns: the newest version.
    /// - Throws: as ``publish(in:by:comment:expecting:as:acknowledgingLockOut:_:)``.
    func rollBack(
        to document: PolicyDocument,
        in organization: String,
        by author: String,
        comment: String = "",
        expecting version: Int?,
        acknowledgingLockOut acknowledgesLockOut: Bool
    ) async throws -> Result {
        let content = try await content(ofRollingBackTo: document, in: organization)
        return try await publish(
            in: organization,
            by: author,
            comment: comment.isEmpty ? "as in version \(document.version)" : comment,
            expecting: version,
            as: .policyRolledBack,
            acknowledgingLockOut: acknowledgesLockOut
        ) { _ in content }
    }

    /// What is decided again by rolling back.
    ///
    /// - Parameters:
    ///   - document: the earlier version.
    ///   - organization: where.
    /// - Returns: what it says, of teams by the names that they have now, also of those that are no more, which get nothing
    ///   back; and without what was allowed until a date that has come: what people were given for a time does not stay for
    ///   good.
    /// - Throws: what SQLite says.
    func content(ofRollingBackTo document: PolicyDocument, in organization: String) async throws -> PolicyContent {
        var rules = document.policy.rules
        for ended in try await store.endedRules(in: document.version, of: organization) {
            guard let rule = Services.rule(ended), let index = rules.lastIndex(of: rule) else { continue }
            rules.remove(at: index)
        }
        let renames = try await store.teamRenames(since: document.version, in: organization)
        return PolicyContent(policy: document.policy.with(rules: rules), teams: document.teams.renamed(renames))
    }
}
