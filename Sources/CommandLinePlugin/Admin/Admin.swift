import ArgumentParser

/// `docker ram admin`.
struct AdminCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "admin",
        abstract: "Administer an organization at its server",
        subcommands: [
            AdminLogin.self, AdminLogout.self, AdminOrganizationCommands.self, AdminActivityCommands.self,
            AdminPolicyCommands.self,
            AdminRegistryCommands.self, AdminRequestCommands.self, AdminMemberCommands.self, AdminTeamCommands.self,
            AdminSessionCommands.self,
            AdminTokenCommands.self, AdminDeviceCommands.self, AdminReportCommands.self, AdminKeyCommands.self,
            AdminSingleSignOnCommands.self,
        ]
    )
}

/// `docker ram admin organization`.
struct AdminOrganizationCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "organization",
        abstract: "Your organizations, and what one is set to",
        subcommands: [AdminOrganizationList.self, AdminOrganizationShow.self, AdminOrganizationSet.self]
    )
}

/// `docker ram admin activity`.
struct AdminActivityCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "activity",
        abstract: "Who changed what",
        subcommands: [AdminActivity.self, AdminActivityExport.self],
        defaultSubcommand: AdminActivity.self
    )
}

/// `docker ram admin policy`.
struct AdminPolicyCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy",
        abstract: "The policy, its versions and its changes",
        subcommands: [
            AdminPolicyShow.self, AdminPolicyPlan.self, AdminPolicyApply.self, AdminPolicyDiff.self,
            AdminPolicyHistory.self, AdminPolicyRollback.self,
        ]
    )
}

/// `docker ram admin registry`.
struct AdminRegistryCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "registry",
        abstract: "Single registries of the policy",
        subcommands: [AdminRegistryList.self, AdminRegistryAdd.self, AdminRegistryRemove.self]
    )
}

/// `docker ram admin request`.
struct AdminRequestCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "request",
        abstract: "What people ask for, and answers to it",
        subcommands: [AdminRequestList.self, AdminRequestAllow.self, AdminRequestDecline.self]
    )
}

/// `docker ram admin member`.
struct AdminMemberCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "member",
        abstract: "Members and invitations",
        subcommands: [
            AdminMemberList.self, AdminMemberInvite.self, AdminMemberInvitations.self, AdminMemberUninvite.self,
            AdminMemberJoin.self, AdminMemberRole.self, AdminMemberResetPassword.self, AdminMemberRemove.self,
        ]
    )
}

/// `docker ram admin team`.
struct AdminTeamCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "team",
        abstract: "Teams, and who is in them",
        subcommands: [
            AdminTeamList.self, AdminTeamCreate.self, AdminTeamRename.self, AdminTeamDelete.self, AdminTeamAdd.self,
            AdminTeamRemove.self,
        ]
    )
}

/// `docker ram admin session`.
struct AdminSessionCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "session",
        abstract: "Who is signed in; making people sign in again",
        subcommands: [AdminSessionList.self, AdminSessionEnd.self]
    )
}

/// `docker ram admin token`.
struct AdminTokenCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Access tokens for machines and CI",
        subcommands: [AdminTokenList.self, AdminTokenCreate.self, AdminTokenRevoke.self]
    )
}

/// `docker ram admin device`.
struct AdminDeviceCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device",
        abstract: "Machines, and what lets them register",
        subcommands: [AdminDeviceList.self, AdminDeviceRemove.self, AdminEnrollmentTokenCommands.self]
    )
}

/// `docker ram admin device tokens`.
struct AdminEnrollmentTokenCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokens",
        abstract: "What lets machines register",
        subcommands: [
            AdminEnrollmentTokenList.self, AdminEnrollmentTokenCreate.self, AdminEnrollmentTokenRevoke.self,
        ]
    )
}

/// `docker ram admin report`.
struct AdminReportCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "What machines have reported",
        subcommands: [AdminReportList.self]
    )
}

/// `docker ram admin key`.
struct AdminKeyCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "Root keys and root documents",
        subcommands: [
            AdminKeyInit.self, AdminKeySign.self, AdminKeyList.self, AdminKeyCreate.self, AdminKeyPrepare.self,
            AdminKeyPublish.self,
        ]
    )
}

/// `docker ram admin sso`.
struct AdminSingleSignOnCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sso",
        abstract: "Sign-in at the organization's own provider (OpenID Connect)",
        subcommands: [
            AdminSingleSignOnShow.self, AdminSingleSignOnSet.self, AdminSingleSignOnRemove.self,
            AdminSingleSignOnLinks.self, AdminSingleSignOnLink.self, AdminSingleSignOnUnlink.self,
        ]
    )
}
