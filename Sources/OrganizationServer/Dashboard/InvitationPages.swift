import Hummingbird
import RegistryAccess

extension Router<ServerContext> {
    /// Invitations to an organization, and the page that whoever is invited opens.
    func addInvitationPages(_ dashboard: Dashboard) {
        let pages = InvitationPages(dashboard: dashboard)
        dashboard.get(self, "invitations", .readMembers) { try await pages.page($0) }
        dashboard.post(self, "invitations", .manageMembers) { try await pages.invite($0) }
        dashboard.post(self, "invitations/:invitation/withdraw", .manageMembers) { try await pages.withdraw($0) }
        let joining = JoinPages(dashboard: dashboard)
        get("join") { request, context in try await joining.show(request, context) }
        post("join") { request, context in try await joining.join(request, context) }
    }
}

struct InvitationPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    fileprivate func page(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let invitations = try await services.store.invitations(to: visit.organization, at: services.now())
        let address = visit.address("invitations")
        var content: [String: Any] = [
            "tabs": MemberPages.tabs(visit, "invitations"), "address": address, "mayManage": visit.may(.manageMembers),
            "hasRows": !invitations.isEmpty, "email": visit.fields["email"] ?? "",
            "roles": MemberPages.roles(visit.fields["role"].flatMap(Role.init) ?? .member),
            "count": Dashboard.count(invitations.count, "open invitation", "open invitations"),
        ]
        content["rows"] = invitations.map { invitation in
            [
                "whom": invitation.email ?? "Whoever has the link", "invitedRole": invitation.role.rawValue,
                "inviter": invitation.inviter, "expires": invitation.expires.description,
                "withdraw": "\(address)/\(invitation.id)/withdraw",
            ]
        }
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "invitations", title: "Invitations", content: content, status: status))
    }

    fileprivate func invite(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        guard let role = visit.fields["role"].flatMap(Role.init) else {
            throw Problem.faultyForm
        }
        let email = visit.fields["email"]
        guard email.map(Names.isEmail) ?? true else {
            let fault = "This is no e-mail address. It is shown in the list only, and may be left out."
            return try await page(visit, ["emailFault": fault], .unprocessableContent)
        }
        if let fault = try await dashboard.confirm(visit) {
            return try await page(visit, ["passwordFault": fault], .forbidden)
        }
        let (token, invitation) = try await services.store.invite(
            email,
            as: role,
            to: visit.organization,
            by: visit.person.name,
            at: services.now()
        )
        var fresh = visit
        fresh.fields = [:]
        // The secret is on this page, which nothing keeps, and nowhere else.
        return try await page(
            fresh,
            [
                "made": [
                    "link": "\(services.settings.publicAddress)/join?invitation=\(token.secret)",
                    "madeFor": email ?? "whoever you give it to", "madeRole": role.rawValue,
                    "until": invitation?.expires.description ?? "",
                ],
                // The session has just been confirmed.
                "isConfirmed": true,
            ],
            .created
        )
    }

    fileprivate func withdraw(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let wasThere = try await services.store.cancelInvitation(
            try visit.context.parameters.require("invitation"),
            to: visit.organization,
            by: visit.person.name,
            at: services.now()
        )
        return .see(
            visit.address("invitations"),
            message: wasThere
                ? "The invitation is withdrawn: its link lets nobody in any more."
                : "There is no such invitation any more. It was taken up, withdrawn or too old."
        )
    }
}
