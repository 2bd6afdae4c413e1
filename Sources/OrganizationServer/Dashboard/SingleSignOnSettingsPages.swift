import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// At which provider an organization's members sign in, and who is linked to whom.
    func addSingleSignOnSettingsPages(_ dashboard: Dashboard) {
        let pages = SingleSignOnSettingsPages(dashboard: dashboard)
        let path = "settings/single-sign-on"
        dashboard.get(self, path, .readMembers) { try await pages.show($0) }
        dashboard.post(self, path, .manageSettings) { try await pages.save($0) }
        dashboard.post(self, "\(path)/test", .manageSettings) { try await pages.test($0) }
        dashboard.get(self, "\(path)/remove", .manageSettings) { try await pages.askToRemove($0) }
        dashboard.post(self, "\(path)/remove", .manageSettings) { try await pages.remove($0) }
        dashboard.get(self, "\(path)/link", .manageMembers) { try await pages.linkForm($0) }
        dashboard.post(self, "\(path)/link", .manageMembers) { try await pages.link($0) }
        dashboard.get(self, "\(path)/unlink", .manageMembers) { try await pages.askToUnlink($0) }
        dashboard.post(self, "\(path)/unlink", .manageMembers) { try await pages.unlink($0) }
    }
}

struct SingleSignOnSettingsPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    private func address(_ visit: Dashboard.Visit, _ more: String = "") -> String {
        visit.address("settings/single-sign-on\(more)")
    }

    // MARK: - The page

    fileprivate func show(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await page(visit)
    }

    private func page(
        _ visit: Dashboard.Visit,
        typed form: SingleSignOnForm? = nil,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let settings = try await services.store.singleSignOn(of: visit.organization)
        let form = form ?? SingleSignOnForm(settings)
        let server = services.settings.publicAddress
        var content = SettingsTab.singleSignOn.head(visit)
        content.merge(form.content) { _, new in new }
        content["isSet"] = settings != nil
        content["mayManage"] = visit.may(.manageSettings)
        content["mayLink"] = visit.may(.manageMembers) && settings != nil
        content["redirectAddress"] = SingleSignOn.redirectAddress(at: server)
        content["tryAddress"] = "/single-sign-on/\(visit.organization)"
        content["signInAddress"] = "\(server)/sign-in?organization=\(visit.organization)"
        let identities = try await services.store.identities(in: visit.organization)
        content["hasIdentities"] = !identities.isEmpty
        content["identities"] = identities.map { identity in
            var row: [String: Any] = [
                "user": identity.user, "subject": identity.subject, "since": identity.since.description,
                "isOfAnother": identity.issuer != settings?.issuer.description, "identityIssuer": identity.issuer,
                "unlinkAddress": Dashboard.address(address(visit, "/unlink"), [("user", identity.user)]),
            ]
            row["email"] = identity.email
            return row
        }
        content["linkAddress"] = address(visit, "/link")
        content.merge(more) { _, new in new }
        return .page(
            Dashboard.Page(
                template: "single-sign-on",
                title: "Settings: single sign-on",
                content: content,
                status: status
            )
        )
    }

    // MARK: - The provider

    fileprivate func save(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        var form = SingleSignOnForm(visit.fields)
        let current = try await services.store.singleSignOn(of: visit.organization)
        guard let settings = form.settings(after: current) else {
            return try await page(visit, typed: form, [:], .unprocessableContent)
        }
        if let fault = try await dashboard.confirm(visit) {
            return try await page(visit, typed: form, ["passwordFault": fault], .forbidden)
        }
        do {
            try await services.set(settings, of: visit.organization, by: visit.person.name)
        } catch let problem as Problem where problem.code == .providerFault {
            form.faults["issuer"] = Dashboard.sentence(problem.detail)
            return try await page(visit, typed: form, [:], .unprocessableContent)
        }
        return .see(
            address(visit),
            message:
                "Members sign in at \(settings.issuer.host) now. Sign-ins that were on their way have ended: try it."
        )
    }

    /// Looks at the provider that was typed, and keeps nothing.
    fileprivate func test(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        var form = SingleSignOnForm(visit.fields)
        guard let issuer = form.issuerAddress else {
            form.faults["issuer"] = SingleSignOnForm.noIssuer
            return try await page(visit, typed: form, [:], .unprocessableContent)
        }
        do {
            let provider = try await services.providers.provider(issuer, isFetched: true)
            return try await page(
                visit,
                typed: form,
                [
                    "tested": [
                        "issuer": provider.issuer, "authorization": provider.authorization.description,
                        "token": provider.token.description, "keys": provider.keys.description,
                    ]
                ]
            )
        } catch let fault as SingleSignOnFault {
            form.faults["issuer"] = Dashboard.sentence("\(fault)")
            return try await page(
                visit,
                typed: form,
                ["discovery": Provider.discovery(of: issuer)],
                .unprocessableContent
            )
        }
    }

    private func removal(_ visit: Dashboard.Visit) async throws -> Confirmation {
        guard let settings = try await services.store.singleSignOn(of: visit.organization) else {
            throw Problem(.notFound, .notFound, "there is no single sign-on", hint: "it may be removed already")
        }
        return Confirmation(
            title: "Remove single sign-on?",
            lines: [
                "Nobody signs in at \(settings.issuer.host) any more; who has no password here cannot sign in at all.",
                "Sessions go on. The client's secret is forgotten; links are kept for when it is set again.",
            ],
            button: "Remove it",
            action: address(visit, "/remove"),
            back: address(visit)
        )
    }

    fileprivate func askToRemove(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await removal(visit).reply()
    }

    fileprivate func remove(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let question = try await removal(visit)
        if let fault = try await dashboard.confirm(visit) { return question.reply(fault: fault) }
        try await services.store.set(nil, of: visit.organization, by: visit.person.name, at: services.now())
        return .see(address(visit), message: "Single sign-on is removed.")
    }

    // MARK: - Who is linked

    fileprivate func linkForm(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await linkPage(visit)
    }

    private func linkPage(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let linked = Set(try await services.store.identities(in: visit.organization).map(\.user))
        var content: [String: Any] = [
            "back": address(visit), "action": address(visit, "/link"), "subject": visit.fields["subject"] ?? "",
            "members": try await services.store.members(of: visit.organization).map { member in
                [
                    "name": member.name, "isLinked": linked.contains(member.name),
                    "isChosen": member.name == visit.fields["user"],
                ] as [String: Any]
            },
        ]
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "link", title: "Link a member", content: content, status: status))
    }

    fileprivate func link(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let (user, subject) = (visit.fields["user"] ?? "", visit.fields["subject"] ?? "")
        if let fault = try await dashboard.confirm(visit) {
            return try await linkPage(visit, ["passwordFault": fault], .forbidden)
        }
        do {
            try await services.link(user, to: subject, in: visit.organization, by: visit.person)
        } catch let problem as Problem {
            return try await linkPage(visit, ["linkFault": Dashboard.sentence(problem.detail)], problem.status)
        }
        return .see(address(visit), message: "\(user) is linked.")
    }

    private func unlinking(_ user: String, _ visit: Dashboard.Visit) async throws -> Confirmation {
        guard
            let identity = try await services.store.identities(in: visit.organization).first(where: { $0.user == user })
        else {
            throw Problem(.notFound, .notFound, "nobody of this name is linked", hint: "they may be unlinked already")
        }
        return Confirmation(
            title: "Unlink \(user)?",
            lines: [
                "\(user) is known at the provider as \(identity.subject).",
                "They cannot sign in there as \(user) any more, until they are linked again. Their sessions go on.",
            ],
            button: "Unlink",
            action: address(visit, "/unlink"),
            fields: [("user", user)],
            back: address(visit)
        )
    }

    fileprivate func askToUnlink(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await unlinking(visit.request.typedValue("user") ?? "", visit).reply()
    }

    fileprivate func unlink(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let user = visit.fields["user"] ?? ""
        let question = try await unlinking(user, visit)
        if let fault = try await dashboard.confirm(visit) { return question.reply(fault: fault) }
        _ = try await services.store.unlink(user, in: visit.organization, by: visit.person.name, at: services.now())
        return .see(address(visit), message: "\(user) is unlinked.")
    }
}

/// What is typed of a provider, and what is wrong with it.
struct SingleSignOnForm {
    private var issuer: String
    private var clientID: String
    private let clientSecret: String?
    private var scopes: String
    private var membership: SingleSignOnSettings.Membership
    private var domains: String
    /// By the names of the fields.
    var faults: [String: String] = [:]

    static let noIssuer =
        "This is no issuer like https://login.acme.test/realms/acme; http:// only goes to the server's own machine."

    /// What is set, or nothing.
    init(_ settings: SingleSignOnSettings?) {
        issuer = settings?.issuer.description ?? ""
        clientID = settings?.clientID ?? ""
        clientSecret = nil
        scopes = (settings?.scopes ?? SingleSignOnSettings.standardScopes).joined(separator: " ")
        membership = settings?.membership ?? .invited
        domains = (settings?.domains ?? []).joined(separator: " ")
    }

    /// What was typed.
    init(_ fields: [String: String]) {
        issuer = fields["issuer"] ?? ""
        clientID = fields["clientID"] ?? ""
        clientSecret = fields["clientSecret"]
        scopes = fields["scopes"] ?? ""
        membership = fields["membership"].flatMap(SingleSignOnSettings.Membership.init) ?? .invited
        domains = fields["domains"] ?? ""
    }

    /// The issuer, if it is one.
    var issuerAddress: ProviderAddress? { ProviderAddress(issuer) }

    /// The settings; `nil` if something is wrong, which the faults say then.
    ///
    /// - Parameter current: what is set so far; its secret goes on to be used for the same client of the same issuer.
    /// - Returns: the settings.
    mutating func settings(after current: SingleSignOnSettings?) -> SingleSignOnSettings? {
        let address = issuerAddress
        if address == nil { faults["issuer"] = Self.noIssuer }
        if !Names.isLabel(clientID, longest: 255) {
            faults["clientID"] = "The client's name has 1 to 255 bytes and no control characters."
        }
        // The secret of one provider is not sent to another because somebody changes the address.
        let kept = current.flatMap { $0.issuer == address && $0.clientID == clientID ? $0.clientSecret : nil }
        let secret = clientSecret.map { ClientSecret(text: $0) } ?? kept
        if secret.map({ !Names.isLabel($0.text, longest: 1024) }) ?? true {
            faults["clientSecret"] =
                secret == nil && current != nil
                ? "For another issuer or client its secret is needed as well."
                : "The secret has 1 to 1024 bytes and no control characters."
        }
        let scopes = Self.words(scopes)
        if !scopes.contains("openid") || scopes.count > 50 || !scopes.allSatisfy(SingleSignOnSettings.isScope) {
            faults["scopes"] = "Scopes have a space between them, are 50 at most, and openid is one of them."
        }
        let domains = membership == .domain ? Self.words(domains).map { $0.lowercased() } : []
        if membership == .domain,
            domains.isEmpty || domains.count > 50 || !domains.allSatisfy(SingleSignOnSettings.isDomain)
        {
            faults["domains"] = "Domains like acme.test, with a space between them, 50 at most."
        }
        guard faults.isEmpty, let address, let secret else { return nil }
        return SingleSignOnSettings(
            issuer: address,
            clientID: clientID,
            clientSecret: secret,
            scopes: scopes,
            membership: membership,
            domains: domains
        )
    }

    /// What stands between spaces, commas and line ends; each once.
    private static func words(_ text: String) -> [String] {
        let words = text.split { $0.isWhitespace || $0 == "," }.map(String.init)
        return words.enumerated().filter { words.firstIndex(of: $0.element) == $0.offset }.map(\.element)
    }

    /// What the template names; never the secret.
    var content: [String: Any] {
        var content: [String: Any] = [
            "issuer": issuer, "clientID": clientID, "scopes": scopes, "domains": domains,
            "isDomain": membership == .domain, "hasFaults": !faults.isEmpty,
        ]
        for (name, fault) in faults { content["\(name)Fault"] = fault }
        return content
    }
}
