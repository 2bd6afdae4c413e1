import GRDB
import RegistryAccess
import SignedPolicy

/// Something that was done in an organization, for its owners and auditors to read.
struct Activity: Sendable {
    /// What is recorded of accounts and sign-in; the names are Docker Hub's where it has one.
    enum Action: String, Sendable, CaseIterable {
        case organizationCreated = "organization.created"
        case memberAdded = "member.add"
        case memberRemoved = "member.remove"
        case memberRoleChanged = "member.role.change"
        case memberInvited = "member.invite.send"
        case invitationCancelled = "member.invite.cancel"
        case teamCreated = "team.create"
        case teamDeleted = "team.delete"
        case teamRenamed = "team.rename"
        case teamMemberAdded = "team.member.add"
        case teamMemberRemoved = "team.member.remove"
        case tokenCreated = "access_token.create"
        case tokenDeleted = "access_token.delete"
        case sessionStarted = "session.start"
        case sessionsEnded = "session.end"
        case tokenReused = "session.token_reused"
        case signInSlowed = "session.sign_in_slowed"
        case passwordChanged = "user.password.change"
        case passwordSet = "user.password.set"
        case passwordResetMade = "user.password.reset_link"
        case singleSignOnSet = "single_sign_on.set"
        case singleSignOnRemoved = "single_sign_on.remove"
        case identityLinked = "single_sign_on.link"
        case identityUnlinked = "single_sign_on.unlink"
        case requestMade = "request.make"
        case requestAllowed = "request.allow"
        case requestDeclined = "request.decline"
        case requestWithdrawn = "request.withdraw"
        case requestEnded = "request.end"
    }

    /// What was done.
    let action: String
    /// Who did it; a member's name, `system` for the server itself.
    let actor: String
    /// What it was done to.
    let name: String
    /// What more there is to say; never a secret.
    let data: [JSONMember]

    /// Something that was done.
    ///
    /// - Parameters:
    ///   - action: what was done.
    ///   - actor: who did it.
    ///   - name: what it was done to.
    ///   - data: what more there is to say.
    init(_ action: Action, by actor: String, name: String, data: [JSONMember] = []) {
        self.action = action.rawValue
        self.actor = actor
        self.name = name
        self.data = data
    }

    /// Writes it down, in the transaction of what was done.
    ///
    /// - Parameters:
    ///   - organization: where it was done.
    ///   - time: when.
    ///   - database: where that transaction is.
    /// - Throws: what SQLite says.
    func record(in organization: String, at time: Instant, _ database: Database) throws {
        let number = try ActivityChain.nextNumber(database)
        let device = data.first { $0.name == "device" }?.value.text
        let data = JSONValue.object(data).text()
        let hash = ActivityChain.hash(
            after: try ActivityChain.newestHash(of: organization, database),
            number: number,
            organization: organization,
            time: time.seconds,
            texts: [action, actor, name, data]
        )
        try database.execute(
            sql: """
                INSERT INTO activity (number, organization, time, action, actor, name, data, hash)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [number, organization, time.seconds, action, actor, name, data, hash]
        )
        guard let device else { return }
        try database.execute(
            sql: "INSERT INTO activityOnDevice (organization, device, number) VALUES (?, ?, ?)",
            arguments: [organization, device, number]
        )
    }
}
