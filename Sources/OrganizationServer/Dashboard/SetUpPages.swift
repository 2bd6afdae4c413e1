import Foundation
import HTTPTypes
import Hummingbird
import Logging
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// The first set-up, for whoever has the address that `serve` has printed; for everybody else there is nothing.
    func addSetUpPages(_ dashboard: Dashboard) {
        let pages = SetUpPages(dashboard: dashboard)
        get("set-up") { request, context in try await pages.form(request, context) }
        post("set-up") { request, context in try await pages.make(request, context) }
    }
}

struct SetUpPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    /// The set-up, if the secret is shown while it is good for something.
    private func setUp(_ secret: String?) -> FirstSetUp? {
        services.setUp.flatMap { $0.isShown(secret) ? $0 : nil }
    }

    private func nothing(_ request: Request, _ context: ServerContext) async throws -> Response {
        guard request.acceptsPage else { throw Problem(.notFound, .notFound, "there is nothing here") }
        return try await dashboard.missing(request, context)
    }

    fileprivate func form(_ request: Request, _ context: ServerContext) async throws -> Response {
        guard let secret = try? request.queryValue("secret"), setUp(secret) != nil else {
            return try await nothing(request, context)
        }
        return page(["secret": secret], [:], .ok, request)
    }

    fileprivate func make(_ request: Request, _ context: ServerContext) async throws -> Response {
        // Before the secret is shown not even a form that is not in order is one.
        guard let fields = try? await request.readForm(context), let setUp = setUp(fields["secret"]) else {
            return try await nothing(request, context)
        }
        guard request.isFromPage(of: services.settings.publicAddress) else {
            return page(fields, ["fault": Dashboard.words(Problem.foreignForm)], Problem.foreignForm.status, request)
        }
        let form = SetUpForm(fields, services.settings)
        guard form.faults.isEmpty, let rootKey = form.rootKey(services.data) else {
            return page(fields, form.faults, .unprocessableContent, request)
        }
        do {
            let setup = OrganizationSetup(
                organization: form.organization,
                contact: form.contact,
                owner: form.owner,
                password: try await services.passwords.hash(form.password),
                email: form.email,
                now: services.now(),
                documents: FirstDocuments(rootKey: rootKey)
            )
            try await setUp.make(setup, in: services.store)
        } catch let problem as Problem {
            return page(fields, ["fault": Dashboard.words(problem)], problem.status, request)
        } catch let error as ServerFileError {
            context.logger.error("cannot make the organization", metadata: ["error": "\(error)"])
            let fault = "The organization was not made: \(error). Nothing is left of it; try again."
            return page(fields, ["fault": fault], .internalServerError, request)
        }
        context.logger.notice("the organization is made", metadata: ["organization": "\(form.organization)"])
        return try await SignInPages(dashboard: dashboard).begin(
            form.owner,
            to: "/organizations/\(form.organization)/settings/machines",
            request,
            context
        )
    }

    private func page(
        _ fields: [String: String],
        _ faults: [String: String],
        _ status: HTTPResponse.Status,
        _ request: Request
    ) -> Response {
        var content: [String: Any] = [
            "title": "Set up", "server": services.settings.publicAddress.description,
            "isElsewhere": fields["rootKey"] == "elsewhere",
            "directory": services.data?.path ?? "",
        ]
        for name in ["secret", "organization", "owner", "email", "contact", "rootPublicKey"] {
            content[name] = fields[name] ?? ""
        }
        content["hasFaults"] = !faults.isEmpty
        for (name, fault) in faults { content[name == "fault" ? name : "\(name)Fault"] = fault }
        return dashboard.html("set-up", content, status, request)
    }
}

/// What was typed into the form of the first set-up, and what is wrong with it.
private struct SetUpForm {
    let organization: String
    let owner: String
    let email: String?
    let contact: String?
    let password: Password
    private let isElsewhere: Bool
    private let rootPublicKey: VerificationKey?
    /// By the names of the fields.
    private(set) var faults: [String: String] = [:]

    init(_ fields: [String: String], _ settings: ServerSettings) {
        organization = fields["organization"] ?? ""
        owner = fields["owner"] ?? ""
        email = fields["email"]
        contact = fields["contact"]
        password = Password(fields["password"] ?? "")
        isElsewhere = fields["rootKey"] == "elsewhere"
        rootPublicKey = fields["rootPublicKey"].flatMap { text in
            OrganizationOptions.key(text.trimmingCharacters(in: .whitespacesAndNewlines))
        }
        for (name, value) in [("organization", organization), ("owner", owner)] where !Names.isName(value) {
            faults[name] = "A name is \(Names.rule)."
        }
        if Names.isName(owner), !Names.isPersonName(owner) { faults["owner"] = "This name is the server's own." }
        if let email, !Names.isEmail(email) {
            faults["email"] = "This is no e-mail address."
        }
        if let contact, !Names.isContact(contact) { faults["contact"] = "A contact has \(Names.contactRule)." }
        let words = settings.wordsNearPasswords + [organization].filter { !$0.isEmpty }
        if let weakness = password.weakness(for: owner.isEmpty ? "password" : owner, near: words) {
            faults["password"] = Dashboard.sentence(weakness)
        } else if fields["password"] != fields["again"] {
            faults["again"] = "The two passwords differ."
        }
        if isElsewhere, rootPublicKey == nil {
            faults["rootPublicKey"] = "This is no public key as docker ram admin key init prints it."
        }
    }

    /// Where the root key comes from.
    func rootKey(_ data: DataDirectory?) -> FirstDocuments.RootKey? {
        if isElsewhere { return rootPublicKey.map(FirstDocuments.RootKey.elsewhere) }
        return data.map { .new(file: FirstDocuments.rootKeyFile(of: organization, in: $0)) }
    }
}
