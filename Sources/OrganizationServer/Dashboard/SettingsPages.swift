import Foundation
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// What an organization has set for itself, and how machines come to it.
    func addSettingsPages(_ dashboard: Dashboard) {
        let pages = SettingsPages(dashboard: dashboard)
        dashboard.get(self, "settings", .readPolicy) { try await pages.general($0) }
        dashboard.post(self, "settings", .manageSettings) { try await pages.saveGeneral($0) }
        dashboard.get(self, "settings/machines", .readSettings) { try await pages.machinesPage($0) }
        dashboard.post(self, "settings/enrollment-tokens", on: "settings/machines", .manageMachines) {
            try await pages.makeToken($0)
        }
        let delete = "settings/enrollment-tokens/delete"
        dashboard.get(self, delete, .manageMachines) { try await pages.askToDelete($0) }
        dashboard.post(self, delete, .manageMachines) { try await pages.deleteToken($0) }
    }
}

/// A page of the settings; which of them somebody sees, their role says.
enum SettingsTab: String, CaseIterable {
    case general = "settings"
    case machines = "settings/machines"
    case singleSignOn = "settings/single-sign-on"
    case tokens = "settings/tokens"
    case keys = "settings/signing-keys"

    private var title: String {
        switch self {
        case .general: "General"
        case .machines: "Machines"
        case .singleSignOn: "Single sign-on"
        case .tokens: "Access tokens"
        case .keys: "Signing keys"
        }
    }

    private var permission: Permission {
        switch self {
        case .general, .machines, .keys: .readSettings
        case .singleSignOn: .readMembers
        // Everybody has their own.
        case .tokens: .readPolicy
        }
    }

    /// Those that somebody may see.
    static func all(for visit: Dashboard.Visit) -> [SettingsTab] { allCases.filter { visit.may($0.permission) } }

    /// What stands on the page.
    func head(_ visit: Dashboard.Visit) -> [String: Any] {
        [
            "base": visit.address(rawValue),
            // Who may not change it is shown no form.
            "mayManage": visit.may(self == .machines ? .manageMachines : .manageSettings),
            "tabs": Self.all(for: visit).map { tab in
                ["title": tab.title, "address": visit.address(tab.rawValue), "isCurrent": tab == self] as [String: Any]
            },
        ]
    }
}

/// A question before something is done that cannot be undone.
struct Confirmation {
    let title: String
    /// What comes of it.
    let lines: [String]
    let button: String
    /// Where the form goes.
    let action: String
    /// What it carries besides.
    var fields: [(name: String, value: String)] = []
    let back: String
    /// Whether it takes somebody who has shown lately who they are.
    var isDangerous = true

    /// The page.
    func reply(fault: String? = nil) -> Dashboard.Reply {
        var content: [String: Any] = [
            "lines": lines, "button": button, "action": action, "back": back, "isDangerous": isDangerous,
            "hidden": fields.map { ["name": $0.name, "value": $0.value] },
        ]
        content["passwordFault"] = fault
        return .page(
            Dashboard.Page(
                template: "confirmation",
                title: title,
                content: content,
                status: fault == nil ? .ok : .forbidden
            )
        )
    }
}

struct SettingsPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    // MARK: - General

    fileprivate func general(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        guard visit.may(.readSettings) else {
            // The first of those that they may see.
            return .see(visit.address(SettingsTab.all(for: visit).first?.rawValue ?? ""))
        }
        return try await generalPage(visit)
    }

    private func generalPage(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let settings = try await services.store.settings(of: visit.organization)
        let isForm = visit.request.method == .post
        var content = SettingsTab.general.head(visit)
        content["contact"] = isForm ? visit.fields["contact"] ?? "" : settings.contact ?? ""
        content["hasContact"] = settings.contact != nil
        content["reportDays"] = isForm ? visit.fields["reportDays"] ?? "" : "\(settings.reportDays)"
        content["isOpen"] = (isForm ? visit.fields["enrollment"] : settings.enrollment) != "token"
        content["maximumDevices"] = isForm ? visit.fields["maximumDevices"] ?? "" : "\(settings.maximumDevices)"
        content["machinesAddress"] = visit.address("settings/machines")
        content["registryAccessSettings"] = visit.address("registry-access/settings")
        content.merge(more) { _, new in new }
        return .page(
            Dashboard.Page(template: "organization-settings", title: "Settings", content: content, status: status)
        )
    }

    fileprivate func saveGeneral(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        var faults: [String: Any] = [:]
        let contact = visit.fields["contact"]
        if let contact, !Names.isLabel(contact, longest: 100) {
            faults["contactFault"] = "A contact has at most 100 bytes and no control characters."
        }
        func number(_ field: String, _ range: ClosedRange<Int>, _ what: String) -> Int64 {
            let number = visit.fields[field].flatMap { WholeNumber.read($0) } ?? -1
            if !range.contains(number) {
                faults["\(field)Fault"] = "This is a number of \(what) from \(range.lowerBound) to \(range.upperBound)."
            }
            return Int64(number)
        }
        let days = number("reportDays", 1...3650, "days")
        let maximum = number("maximumDevices", 1...1_000_000, "machines")
        let enrollment = visit.fields["enrollment"] ?? ""
        if enrollment != "open", enrollment != "token" { faults["enrollmentFault"] = "Choose one of the two." }
        guard faults.isEmpty else { return try await generalPage(visit, faults, .unprocessableContent) }
        if let fault = try await dashboard.confirm(visit) {
            return try await generalPage(visit, ["passwordFault": fault], .forbidden)
        }
        let before = try await services.store.settings(of: visit.organization)
        var after = before
        after.contact = contact
        after.reportDays = days
        after.maximumDevices = maximum
        after.enrollment = enrollment
        try await services.change(before, to: after, of: visit.organization, by: visit.person.name)
        return .see(visit.address("settings"), message: "The settings are saved.")
    }

    // MARK: - Machines

    fileprivate func machinesPage(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let settings = try await services.store.settings(of: visit.organization)
        let isOpen = settings.enrollment == "open"
        let now = services.now()
        var content = SettingsTab.machines.head(visit)
        content.merge(try await EnrollmentContent.content(of: visit.organization, isOpen: isOpen, services)) { _, new in
            new
        }
        content["isOpen"] = isOpen
        content["generalAddress"] = visit.address("settings")
        content["tokenName"] = visit.fields["name"] ?? ""
        content["tokenDays"] = visit.fields["days"] ?? "30"
        content["makeAddress"] = visit.address("settings/enrollment-tokens")
        let tokens = try await services.store.enrollmentTokens(of: visit.organization)
        content["hasTokens"] = !tokens.isEmpty
        content["tokens"] = tokens.map { token in
            [
                "name": token.name, "author": token.author, "created": token.created.description,
                "expires": token.expires.description, "isOver": token.expires <= now,
                "deleteAddress": Dashboard.address(
                    visit.address("settings/enrollment-tokens/delete"),
                    [("name", token.name)]
                ),
            ] as [String: Any]
        }
        content.merge(more) { _, new in new }
        return .page(
            Dashboard.Page(template: "machines-settings", title: "Settings: machines", content: content, status: status)
        )
    }

    // MARK: - Enrollment tokens

    fileprivate func makeToken(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        var faults: [String: Any] = [:]
        let name = visit.fields["name"] ?? ""
        if !Names.isLabel(name, longest: 80) {
            faults["nameFault"] = "A name has 1 to 80 bytes and no control characters."
        }
        let days = visit.fields["days"].flatMap { WholeNumber.read($0) } ?? 0
        if !(1...365).contains(days) { faults["daysFault"] = "This is a number of days from 1 to 365." }
        guard faults.isEmpty else { return try await machinesPage(visit, faults, .unprocessableContent) }
        if let fault = try await dashboard.confirm(visit) {
            return try await machinesPage(visit, ["passwordFault": fault], .forbidden)
        }
        let now = services.now()
        let expires = now + Int64(days) * 86_400
        let token = try await services.store.makeEnrollmentToken(
            named: name,
            in: visit.organization,
            by: visit.person.name,
            now: now,
            expires: expires
        )
        guard let token else {
            return try await machinesPage(visit, ["nameFault": "There is one of this name already."], .conflict)
        }
        return .page(
            Dashboard.Page(
                template: "secret",
                title: "Enrollment token \(name)",
                content: [
                    "label": "The token", "secret": token.secret, "expires": expires.description,
                    "back": visit.address("settings/machines"),
                    "use":
                        "Whoever enrolls a machine gives it along: docker ram enroll ... --enrollment-token-stdin <token",
                ]
            )
        )
    }

    private func deletion(_ name: String, _ visit: Dashboard.Visit) async throws -> Confirmation {
        guard try await services.store.enrollmentTokens(of: visit.organization).contains(where: { $0.name == name })
        else {
            throw Problem(.notFound, .notFound, "there is no such enrollment token", hint: "it may be deleted already")
        }
        return Confirmation(
            title: "Delete the enrollment token \(name)?",
            lines: ["No machine can register with it any more. Those that have registered stay."],
            button: "Delete it",
            action: visit.address("settings/enrollment-tokens/delete"),
            fields: [("name", name)],
            back: visit.address("settings/machines")
        )
    }

    fileprivate func askToDelete(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await deletion(visit.request.typedValue("name") ?? "", visit).reply()
    }

    fileprivate func deleteToken(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let name = visit.fields["name"] ?? ""
        let question = try await deletion(name, visit)
        if let fault = try await dashboard.confirm(visit) { return question.reply(fault: fault) }
        _ = try await services.store.removeEnrollmentToken(
            name,
            from: visit.organization,
            by: visit.person.name,
            at: services.now()
        )
        return .see(question.back, message: "The enrollment token \(name) is deleted.")
    }
}

/// How machines are enrolled, and what has to be done before.
enum EnrollmentContent {
    /// What templates name.
    ///
    /// - Parameters:
    ///   - organization: whose machines.
    ///   - isOpen: whether everybody may register a machine.
    ///   - services: what the parts of the server share.
    /// - Returns: the fingerprints of the root keys, the command, and what waits for the owner.
    /// - Throws: what SQLite says, or ``ServerFileError``.
    static func content(
        of organization: String,
        isOpen: Bool = true,
        _ services: Services
    ) async throws -> [String: Any] {
        var content: [String: Any] = ["data": services.data?.path ?? ""]
        var root = try await services.publisher.served.newest(of: organization)?.rootDocument
        if root == nil, let data = services.data {
            let name = FirstDocuments.fileToSign(of: organization)
            let file = "\(data.path)/\(name)"
            if let bytes = try ServerFile.read(file, atMost: DocumentKind.root.longest) {
                let text = bytes.filter { $0 != UInt8(ascii: "\n") }
                let waiting = try RootDocument(payload: Envelope(json: text, as: .root).payload)
                if waiting.organization == organization {
                    root = waiting
                    content["fileToSign"] = file
                    content["fileName"] = name
                }
            }
        }
        if let data = services.data {
            let file = FirstDocuments.rootKeyFile(of: organization, in: data)
            content["rootKeyFile"] = FileManager.default.fileExists(atPath: file) ? file : nil
            content["rootKeyName"] = "\(organization)-root.key"
        }
        let fingerprints = (root?.roles[.root]?.keys ?? []).map(\.id.fingerprint)
        content["fingerprints"] = fingerprints
        content["hasFingerprint"] = !fingerprints.isEmpty
        content["hasSeveral"] = fingerprints.count > 1
        content["command"] =
            "docker ram enroll \(services.settings.publicAddress) --organization \(organization) "
            + "--fingerprint \(fingerprints.first ?? "sha256:...") --require-sign-in"
            + (isOpen ? "" : " --enrollment-token-stdin <token")
        return content
    }
}
