import GRDB
import Hummingbird
import RegistryAccess

extension Router<ServerContext> {
    /// At which provider an organization's members sign in, who is linked to whom, and the pages.
    func addSingleSignOnRoutes(_ services: Services) {
        addSingleSignOnPages(services)
        let path = "v1/organizations/{organization}/single-sign-on"
        get("\(path)") { _, context in
            let (_, organization) = try context.authorize(.readMembers)
            guard let settings = try await services.store.singleSignOn(of: organization) else {
                throw Problem.noSingleSignOn(organization)
            }
            return JSONAnswer(value: settings.json(at: services.settings.publicAddress))
        }
        put("\(path)") { request, context in
            let (person, organization) = try context.authorize(.manageSettings)
            let current = try await services.store.singleSignOn(of: organization)
            let settings = try await request.readJSON(atMost: 64 << 10, depth: 3) { (scanner) throws(InvalidJSON) in
                try SingleSignOnSettings(&scanner, current: current)
            }
            // Whoever has the provider lets in whom they like then.
            if settings.membership == .domain { try person.mayGive(.member, in: organization) }
            try await services.set(settings, of: organization, by: person.name)
            return JSONAnswer(value: settings.json(at: services.settings.publicAddress))
        }
        delete("\(path)") { _, context in
            let (person, organization) = try context.authorize(.manageSettings)
            let wasSet = try await services.store.set(nil, of: organization, by: person.name, at: services.now())
            guard wasSet else { throw Problem.noSingleSignOn(organization) }
            return HTTPResponse.Status.noContent
        }
        addIdentityRoutes(services, "\(path)/identities")
    }

    private func addIdentityRoutes(_ services: Services, _ path: String) {
        get("\(path)") { _, context in
            let (_, organization) = try context.authorize(.readMembers)
            return JSONAnswer(list: "identities", try await services.store.identities(in: organization), \.json)
        }
        put("\(path)/{user}") { request, context in
            let (person, organization) = try context.authorize(.manageMembers)
            let user = try context.parameters.require("user")
            let subject = try await request.readTexts(["subject"], context)["subject"] ?? ""
            try await services.link(user, to: subject, in: organization, by: person)
            return HTTPResponse.Status.noContent
        }
        delete("\(path)/{user}") { _, context in
            let (person, organization) = try context.authorize(.manageMembers)
            let user = try context.parameters.require("user")
            guard try await services.store.unlink(user, in: organization, by: person.name, at: services.now()) else {
                throw Problem(.notFound, .notFound, "\(JSONScanner.quoted(user)) is not linked to anybody")
            }
            return HTTPResponse.Status.noContent
        }
    }
}

extension Services {
    /// Sets at which provider the members of an organization sign in, if the provider is in order.
    ///
    /// - Parameters:
    ///   - settings: the settings.
    ///   - organization: whose.
    ///   - actor: who does it.
    /// - Throws: ``Problem`` that says what is wrong with the provider, or what SQLite says.
    func set(_ settings: SingleSignOnSettings, of organization: String, by actor: String) async throws {
        do {
            _ = try await providers.provider(settings.issuer, isFetched: true)
        } catch {
            throw Problem(
                .unprocessableContent,
                .providerFault,
                "\(error)",
                hint: "see what is at \(Provider.discovery(of: settings.issuer))"
            )
        }
        try await store.set(settings, of: organization, by: actor, at: now())
    }

    /// Links a member to a person of the organization's provider.
    ///
    /// - Parameters:
    ///   - user: the member.
    ///   - subject: by what the provider knows the person.
    ///   - organization: where.
    ///   - person: who does it.
    /// - Throws: ``Problem``, or what SQLite says.
    func link(_ user: String, to subject: String, in organization: String, by person: Person) async throws {
        guard Names.isLabel(subject, longest: 255) else {
            throw Problem(.badRequest, .badRequest, "a subject has 1 to 255 bytes and no control characters")
        }
        let members = try await store.members(of: organization)
        guard let member = members.first(where: { $0.name == user }) else {
            throw Problem(.notFound, .notFound, "there is no member \(JSONScanner.quoted(user))")
        }
        // Who is linked to a member can do what the member can, also when the token has ended.
        guard member.role != .owner || person.scopes == nil else {
            throw Problem(.forbidden, .forbidden, "an access token cannot link owners", hint: "sign in")
        }
        try person.mayGive(member.role, in: organization)
        do {
            let isSet = try await store.link(user, to: subject, in: organization, by: person.name, at: now())
            guard isSet else { throw Problem.noSingleSignOn(organization) }
        } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
            throw Problem(
                .conflict,
                .conflict,
                "\(JSONScanner.quoted(subject)) is linked to somebody else already",
                hint: "unlink them first"
            )
        }
    }
}

extension Problem {
    fileprivate static func noSingleSignOn(_ organization: String) -> Problem {
        Problem(
            .notFound,
            .notFound,
            "\"\(organization)\" has no single sign-on",
            hint: "set it: docker ram admin sso set --help"
        )
    }
}
