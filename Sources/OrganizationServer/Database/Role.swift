/// What a member may do in an organization.
enum Role: String, Codable, Sendable, CaseIterable {
    /// Everything.
    case owner
    /// Changes the policy, and reads what an auditor reads.
    case editor
    /// Reads everything, changes nothing.
    case auditor
    /// Reads the policy.
    case member
}
