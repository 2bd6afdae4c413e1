import GRDB
import HTTPTypes
import RegistryAccess
import SignedPolicy

/// What is done with members, teams and sessions, by the API and by pages alike: with what it means for whoever waits for
/// changes, and for the figures.
extension Services {
    // MARK: - Members

    /// Gives a member another role; with that of an owner their invitations go.
    ///
    /// - Parameters:
    ///   - user: the member.
    ///   - role: the new role.
    ///   - organization: where.
    ///   - actor: who does it.
    /// - Throws: ``Problem`` if there is no such member, or they are the last owner.
    func changeRole(of user: String, to role: Role, in organization: String, by actor: String) async throws {
        let isThere = try await conflicts(Self.lastOwner) {
            try await store.changeRole(of: user, to: role, in: organization, by: actor, at: now())
        }
        guard isThere else { throw Problem.none("member", user) }
    }

    /// Takes a member out, with their tokens, sessions and invitations.
    ///
    /// - Parameters:
    ///   - user: the member.
    ///   - organization: where.
    ///   - actor: who does it.
    /// - Throws: ``Problem`` if there is no such member, or they are the last owner.
    func removeMember(_ user: String, from organization: String, by actor: String) async throws {
        let wasThere = try await conflicts(Self.lastOwner) {
            try await store.removeMember(user, from: organization, by: actor, at: now())
        }
        guard wasThere else { throw Problem.none("member", user) }
        await changes.notify(organization)
    }

    private static let lastOwner = "the last owner cannot leave; make another member an owner first"

    // MARK: - Invitations

    /// The invitation that somebody shows.
    ///
    /// - Parameters:
    ///   - text: what they show.
    ///   - address: where the request comes from.
    /// - Returns: the invitation with its secret.
    /// - Throws: ``Problem`` if it is none, or not any more, or too many were shown from there.
    func invitation(_ text: String, _ address: String) async throws -> (token: OpaqueToken, invitation: Invitation) {
        try await limits.take(.invitation, address)
        guard let token = OpaqueToken(text), token.kind == .invitation,
            let invitation = try await store.invitation(showing: token, at: now())
        else { throw Problem.noInvitation }
        return (token, invitation)
    }

    /// Lets somebody join by an invitation, who has shown who they are or is new.
    ///
    /// - Parameters:
    ///   - token: the invitation's secret.
    ///   - name: who joins.
    ///   - newPassword: the password of somebody who is not there so far; `nil` for somebody who is.
    /// - Returns: the invitation, which is used up.
    /// - Throws: ``Problem`` if it is not good any more, they belong to the organization already, or the name was taken.
    func join(by token: OpaqueToken, as name: String, _ newPassword: PasswordHash?) async throws -> Invitation {
        let invitation = try await conflicts(
            "\"\(name)\" belongs to the organization already, or the name was taken"
        ) {
            try await store.join(by: token, as: name, newPassword: newPassword, at: now())
        }
        guard let invitation else { throw Problem.noInvitation }
        return invitation
    }

    /// The hash for somebody who joins, if they are new here; who is not has to know their password.
    ///
    /// - Parameters:
    ///   - name: what they are called, or want to be.
    ///   - password: theirs.
    ///   - organization: where they join.
    ///   - address: where the request comes from.
    /// - Returns: the hash; `nil` for somebody who is not new.
    /// - Throws: ``Problem`` if the password is not theirs, or name or password will not do.
    func newPassword(
        _ name: String,
        _ password: Password,
        in organization: String,
        _ address: String
    ) async throws -> PasswordHash? {
        guard try await store.account(named: name) == nil else {
            guard try await user(named: name, password: password, from: address) == name else {
                throw Problem(
                    .forbidden,
                    .forbidden,
                    "there is a \(JSONScanner.quoted(name)) already, and the password is not theirs",
                    hint: "take another name, or your password if it is you"
                )
            }
            return nil
        }
        guard Names.isPersonName(name) else {
            throw Problem(.badRequest, .badRequest, "\(JSONScanner.quoted(name)) is no name: it is \(Names.personRule)")
        }
        let words = settings.wordsNearPasswords + [organization]
        if let weakness = password.weakness(for: name, near: words) {
            throw Problem(.badRequest, .badRequest, weakness)
        }
        return try await passwords.hash(password)
    }

    // MARK: - Passwords

    /// Changes the password of somebody, and ends their other sessions.
    ///
    /// - Parameters:
    ///   - person: who, in the session that goes on; with an access token nobody does this.
    ///   - current: the password so far.
    ///   - new: the new one.
    ///   - address: where the request comes from.
    /// - Throws: ``Problem`` if the password so far is wrong, or the new one will not do.
    func changePassword(of person: Person, from current: Password, to new: Password, _ address: String) async throws {
        let words = settings.wordsNearPasswords + person.roles.keys.sorted()
        if let weakness = new.weakness(for: person.name, near: words) {
            throw Problem(.badRequest, .badRequest, weakness)
        }
        guard let session = person.session,
            try await isPassword(current, of: person.name, in: session, from: address)
        else { throw Problem(.forbidden, .forbidden, "the current password is wrong") }
        let organizations = try await store.changePassword(
            of: person.name,
            to: passwords.hash(new),
            keeping: person.session,
            at: now()
        )
        for organization in organizations { await changes.notify(organization) }
    }

    // MARK: - Teams

    /// Makes a team.
    ///
    /// - Parameters:
    ///   - name: what it is called.
    ///   - organization: where.
    ///   - actor: who does it.
    /// - Throws: ``Problem`` if that is no name, or there is one of this name.
    func makeTeam(_ name: String, in organization: String, by actor: String) async throws {
        try Self.checkTeamName(name)
        try await conflicts(Self.isTaken(name)) {
            try await store.makeTeam(name, in: organization, by: actor, at: now())
        }
    }

    private static func checkTeamName(_ name: String) throws(Problem) {
        guard Names.isName(name) else {
            throw Problem(.badRequest, .badRequest, "\(JSONScanner.quoted(name)) is no name: it is \(Names.rule)")
        }
    }

    private static func isTaken(_ name: String) -> String { "there is a team \"\(name)\" already" }

    /// Removes a team, and what it had in addition; its members stay in the organization.
    ///
    /// - Parameters:
    ///   - name: which.
    ///   - organization: where.
    ///   - person: who does it; with what it had, the policy changes, which they must be allowed to do then.
    /// - Throws: ``Problem`` if there is none, or what comes of saving the policy without it.
    func removeTeam(_ name: String, from organization: String, by person: Person) async throws {
        let (actor, now) = (person.name, now())
        let comment = "without the team \(name), which is removed"
        try await end(team: name, as: nil, in: organization, by: person, comment) { database in
            try Store.removeTeam(name, in: organization, by: actor, at: now, database)
        }
    }

    /// Gives a team another name; its members, what it has in addition and its history stay.
    ///
    /// - Parameters:
    ///   - name: which.
    ///   - new: its new name.
    ///   - organization: where.
    ///   - person: who does it; if the team has anything in addition they must be allowed to change the policy.
    /// - Throws: ``Problem`` if there is none, or the new name is none or taken, or what comes of saving the policy.
    func renameTeam(_ name: String, to new: String, in organization: String, by person: Person) async throws {
        try Self.checkTeamName(new)
        guard new != name else {
            guard try await store.hasTeam(name, in: organization) else { throw Problem.none("team", name) }
            return
        }
        let (actor, now) = (person.name, now())
        let comment = "the team \(name) is called \(new) now"
        try await conflicts(Self.isTaken(new)) {
            try await end(team: name, as: new, in: organization, by: person, comment) { database in
                try Store.renameTeam(name, to: new, in: organization, by: actor, at: now, database)
            }
        }
    }

    /// Ends a name of a team, with a version of the policy if it says something of the team.
    private func end(
        team: String,
        as newName: String?,
        in organization: String,
        by person: Person,
        _ comment: String,
        _ write: @escaping @Sendable (Database) throws -> Void
    ) async throws {
        while true {
            let policy = try await store.signingState(of: organization)?.policy
            guard policy?.teams[team] == nil else { break }
            let isWritten = try await store.database.write { database in
                // Somebody may give it something at this moment.
                guard try Store.newestPolicyVersion(of: organization, database) == policy?.version else { return false }
                try write(database)
                return true
            }
            if isWritten { return await changes.notify(organization) }
        }
        guard person.may(.editPolicy, in: organization) else { throw Problem.needs(.editPolicy, in: organization) }
        _ = try await publisher.publish(
            in: organization,
            by: person.name,
            comment: comment,
            acknowledgingLockOut: true,
            leaving: (team, newName),
            alongside: write
        ) { $0 }
    }

    /// Puts a member into a team, or takes them out.
    ///
    /// - Parameters:
    ///   - user: the member.
    ///   - team: the team.
    ///   - isIn: whether they are in it from now on.
    ///   - organization: where.
    ///   - actor: who does it.
    /// - Throws: ``Problem`` if there is no such team, or no such member.
    func setMember(_ user: String, ofTeam team: String, isIn: Bool, in organization: String, by actor: String)
        async throws
    {
        let isThere = try await store.setMember(
            user,
            ofTeam: team,
            isIn: isIn,
            in: organization,
            by: actor,
            at: now()
        )
        guard isThere else { throw Problem(.notFound, .notFound, "there is no such team, or no such member") }
        await changes.notify(organization)
    }

    // MARK: - Sessions

    /// Ends sessions of an organization: those people have to sign in again.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - selection: which of its sessions.
    ///   - actor: who does it.
    /// - Returns: how many sessions have ended.
    /// - Throws: what SQLite says.
    func endSessions(in organization: String, _ selection: Store.SessionSelection, by actor: String) async throws
        -> Int
    {
        let count = try await store.endSessions(in: organization, selection, by: actor, at: now())
        metrics.ended(count, .forced)
        await changes.notify(organization)
        return count
    }

    /// Ends sessions of whoever asks.
    ///
    /// - Parameters:
    ///   - person: who.
    ///   - selection: which of theirs.
    /// - Returns: how many sessions have ended.
    /// - Throws: what SQLite says.
    func endSessions(of person: Person, _ selection: Store.OwnSessions) async throws -> Int {
        let (count, organizations) = try await store.endSessions(of: person, selection, at: now())
        metrics.ended(count, .signOut)
        for organization in organizations { await changes.notify(organization) }
        return count
    }
}

extension Problem {
    /// An invitation that lets nobody in.
    fileprivate static var noInvitation: Problem {
        Problem(.notFound, .notFound, "this invitation is not good, or not any more", hint: "ask for another")
    }
}

/// Makes a conflict of what the schema refuses.
///
/// - Parameters:
///   - detail: what is wrong then.
///   - body: what writes.
/// - Returns: what the body returns.
/// - Throws: ``Problem`` 409, or what the body throws besides.
func conflicts<Result: Sendable>(_ detail: String, _ body: () async throws -> Result) async throws -> Result {
    do {
        return try await body()
    } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
        throw Problem(.conflict, .conflict, detail)
    }
}
