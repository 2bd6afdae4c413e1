import RegistryAccess

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
    /// The access token that they show, or that began their session; `nil` for who has signed in themselves.
    var accessToken: ShownAccessToken?

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

    /// What keeps a token from giving somebody a role: what it could make would do more than it may, and outlive it.
    ///
    /// - Parameter role: the role.
    /// - Returns: a permission that comes with the role and that the token has not got; `nil` if it may give the role. Only
    ///   who has signed in makes owners.
    func missing(toGive role: Role) -> Permission? {
        guard let scopes else { return nil }
        return Permission.allCases.first { role.allows($0) && !scopes.contains($0) }
    }

    /// When something ends that they make.
    ///
    /// - Parameter end: when they want it to end.
    /// - Returns: the end, or that of their access token if it is earlier.
    func bounded(_ end: Instant) -> Instant { accessToken.map { min($0.expires, end) } ?? end }

    /// Their role in an organization.
    ///
    /// - Parameter organization: which.
    /// - Returns: the role; `nil` if they do not belong to it, or the token is not for it.
    func role(in organization: String) -> Role? {
        guard onlyOrganization.map({ $0 == organization }) ?? true else { return nil }
        return roles[organization]
    }
}

/// An access token as it bounds what is made with it.
struct ShownAccessToken: Hashable, Sendable {
    let digest: String
    let expires: Instant
}
