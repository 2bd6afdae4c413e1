/// What is recorded, in words for people.
enum ActivityKind: String, CaseIterable {
    case changes
    case settings
    case signIns = "sign-ins"
    case people
    case devices
    case requests
    case refusals

    /// What it is called.
    var title: String {
        switch self {
        case .changes: "Changes of Registry Access"
        case .settings: "Settings and keys"
        case .signIns: "Sign-ins and sessions"
        case .people: "Members, teams and tokens"
        case .devices: "Devices"
        case .requests: "Requests"
        case .refusals: "Refusals"
        }
    }

    /// The names of its actions.
    var actions: [String] {
        Activity.Action.allCases.filter { $0.kind == self }.map(\.rawValue)
            + Activity.PolicyAction.allCases.filter { $0.kind == self }.map(\.rawValue)
    }
}

extension Activity {
    /// What an action is called after the name of who did it, and before what it was done to.
    ///
    /// - Parameter action: its name.
    /// - Returns: the words; the name where an earlier version of the server recorded what this one does not know.
    static func words(_ action: String) -> String {
        Action(rawValue: action)?.words ?? PolicyAction(rawValue: action)?.words ?? action
    }

    /// What an action is called after the name of who did it, where it was done to nobody in particular.
    ///
    /// - Parameter action: its name.
    /// - Returns: the words, a whole sentence with that name.
    static func wordsAlone(_ action: String) -> String {
        Action(rawValue: action) == .memberInvited ? "made an invitation" : words(action)
    }

    /// What an action is called after the name of who did it to themselves, with nothing behind it.
    ///
    /// - Parameter action: its name.
    /// - Returns: the words; `nil` where the name is said twice.
    static func ownWords(_ action: String) -> String? {
        if PolicyAction(rawValue: action) == .deviceAdded { return "registered" }
        return switch Action(rawValue: action) {
        case .memberAdded: "joined"
        case .sessionStarted, .sessionsEnded, .passwordChanged: words(action)
        case .identityLinked: "linked an identity of single sign-on"
        case .identityUnlinked: "unlinked an identity of single sign-on"
        default: nil
        }
    }
}

extension Activity.Action {
    fileprivate var kind: ActivityKind {
        switch self {
        case .organizationCreated, .memberAdded, .memberRemoved, .memberRoleChanged, .memberInvited,
            .invitationCancelled, .teamCreated, .teamDeleted, .teamRenamed, .teamMemberAdded, .teamMemberRemoved,
            .tokenCreated, .tokenDeleted:
            .people
        case .sessionStarted, .sessionsEnded, .tokenReused, .signInSlowed, .passwordChanged, .passwordSet,
            .passwordResetMade, .identityLinked, .identityUnlinked:
            .signIns
        case .singleSignOnSet, .singleSignOnRemoved: .settings
        case .requestMade, .requestAllowed, .requestDeclined, .requestWithdrawn, .requestEnded: .requests
        }
    }

    fileprivate var words: String {
        switch self {
        case .organizationCreated: "created the organization"
        case .memberAdded: "added the member"
        case .memberRemoved: "removed the member"
        case .memberRoleChanged: "changed the role of"
        case .memberInvited: "invited"
        case .invitationCancelled: "took back the invitation"
        case .teamCreated: "created the team"
        case .teamDeleted: "deleted the team"
        case .teamRenamed: "renamed the team"
        case .teamMemberAdded: "changed a team by adding"
        case .teamMemberRemoved: "changed a team by taking out"
        case .tokenCreated: "made the access token"
        case .tokenDeleted: "deleted the access token"
        case .sessionStarted: "signed in"
        case .sessionsEnded: "ended sessions"
        case .tokenReused: "ended the session, because a used token came again, of"
        case .signInSlowed: "slowed down sign-ins of"
        case .passwordChanged: "changed the password"
        case .passwordSet: "set a new password for"
        case .passwordResetMade: "made a link for a new password of"
        case .singleSignOnSet: "set up single sign-on with"
        case .singleSignOnRemoved: "removed single sign-on from"
        case .identityLinked: "linked an identity of single sign-on with"
        case .identityUnlinked: "took the identity of single sign-on from"
        case .requestMade: "asked for"
        case .requestAllowed: "allowed the request for"
        case .requestDeclined: "declined the request for"
        case .requestWithdrawn: "took back the request for"
        case .requestEnded: "ended what was allowed until its date:"
        }
    }
}

extension Activity.PolicyAction {
    fileprivate var kind: ActivityKind {
        switch self {
        case .enabled, .disabled, .registryAdded, .registryUpdated, .registryRemoved, .settingsUpdated, .policySaved,
            .policyRolledBack:
            .changes
        case .rootUpdated, .keyCreated, .organizationSettingsUpdated: .settings
        case .deviceAdded, .deviceRemoved, .devicesForgotten, .devicesFull, .enrollmentTokenCreated,
            .enrollmentTokenDeleted:
            .devices
        }
    }

    fileprivate var words: String {
        switch self {
        case .enabled: "turned Registry Access Management on"
        case .disabled: "turned Registry Access Management off"
        case .registryAdded: "added the registry"
        case .registryUpdated: "changed the registry"
        case .registryRemoved: "removed the registry"
        case .settingsUpdated: "changed the setting"
        case .policySaved: "saved and applied"
        case .policyRolledBack: "rolled back, making"
        case .rootUpdated: "installed the root document"
        case .keyCreated: "made the signing key"
        case .deviceAdded: "registered the device"
        case .deviceRemoved: "took out the device"
        case .devicesForgotten: "forgot devices that were never seen again in"
        case .devicesFull: "let no more devices into"
        case .enrollmentTokenCreated: "made the enrollment token"
        case .enrollmentTokenDeleted: "deleted the enrollment token"
        case .organizationSettingsUpdated: "changed the settings of"
        }
    }
}
