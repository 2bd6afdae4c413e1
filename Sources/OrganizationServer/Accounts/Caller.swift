/// Who asks.
enum Caller: Hashable, Sendable {
    /// A person, or what shows an access token of theirs.
    case person(Person)
    /// An enrolled machine.
    case device(organization: String, id: String)
}

/// A person who asks, with what they may do.
struct Person: Hashable, Sendable {
    /// Their name.
    let name: String
    /// Their role in each organization that they belong to.
    let roles: [String: Role]
    /// What the token is limited to; `nil` is everything that the roles allow.
    var scopes: Set<Permission>?
    /// The one organization that the token is limited to; `nil` is each of theirs.
    var onlyOrganization: String?
    /// The session that the token belongs to; `nil` for an access token.
    var session: String?

    /// Whether they may do something in an organization.
    ///
    /// - Parameters:
    ///   - permission: what is wanted.
    ///   - organization: where; one that they do not belong to is like one that does not exist.
    /// - Returns: whether they may.
    func may(_ permission: Permission, in organization: String) -> Bool {
        guard let role = role(in: organization), role.allows(permission) else { return false }
        return scopes?.contains(permission) ?? true
    }

    /// Their role in an organization.
    ///
    /// - Parameter organization: which.
    /// - Returns: the role; `nil` if they do not belong to it, or the token is not for it.
    func role(in organization: String) -> Role? {
        guard onlyOrganization.map({ $0 == organization }) ?? true else { return nil }
        return roles[organization]
    }
}
