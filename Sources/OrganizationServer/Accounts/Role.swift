/// What a member is in an organization.
enum Role: String, Codable, Sendable, CaseIterable {
    /// May do everything.
    case owner
    /// Changes the policy, and reads what an auditor reads.
    case editor
    /// Reads everything, changes nothing.
    case auditor
    /// Reads the policy.
    case member

    /// Whether somebody in this role may do something.
    ///
    /// - Parameter permission: what is wanted.
    /// - Returns: whether they may.
    func allows(_ permission: Permission) -> Bool {
        switch permission {
        case .readPolicy: true
        case .readActivity, .readMachines, .readMembers, .readSettings: self != .member
        case .editPolicy: self == .owner || self == .editor
        case .manageMembers, .manageTokens, .manageMachines, .endSessions, .manageSettings, .readMetrics:
            self == .owner
        }
    }
}

/// What can be done in an organization; also the scopes of an access token, by their raw values.
enum Permission: String, Codable, Sendable, CaseIterable {
    /// The policy in force, its versions and its teams.
    case readPolicy = "policy:read"
    /// Drafts, saving, rolling back, importing.
    case editPolicy = "policy:write"
    /// Who changed what, and what machines refused.
    case readActivity = "activity:read"
    /// Devices and their state.
    case readMachines = "machines:read"
    /// Taking devices out, and enrollment tokens.
    case manageMachines = "machines:write"
    /// Members, teams and invitations.
    case readMembers = "members:read"
    /// Members, roles, teams and invitations.
    case manageMembers = "members:write"
    /// Access tokens of the organization.
    case manageTokens = "tokens:write"
    /// Making people sign in again.
    case endSessions = "sessions:write"
    /// The organization's own settings and public keys, and what tokens there are.
    case readSettings = "settings:read"
    /// The organization's own settings and keys.
    case manageSettings = "settings:write"
    /// The figures of the whole server, which name nobody.
    case readMetrics = "metrics:read"
}

extension Permission {
    /// What the session of a machine may do, whoever has signed in there: root on the machine has its secrets.
    static let ofMachines: Set<Permission> = [.readPolicy]

    /// The scopes that a text names, with a space between them.
    ///
    /// - Parameter text: the text.
    /// - Returns: those of them that there are.
    static func set(_ text: String) -> Set<Permission> {
        Set(text.split(separator: " ").compactMap { Permission(rawValue: String($0)) })
    }

    /// The text that names scopes, as ``set(_:)`` reads it.
    ///
    /// - Parameter scopes: the scopes.
    /// - Returns: their names in order, with a space between them.
    static func text(_ scopes: Set<Permission>) -> String {
        scopes.map(\.rawValue).sorted().joined(separator: " ")
    }
}
