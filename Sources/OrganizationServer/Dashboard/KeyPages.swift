import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// By which keys an organization's documents are signed.
    func addKeyPages(_ dashboard: Dashboard) {
        let pages = KeyPages(dashboard: dashboard)
        dashboard.get(self, "settings/signing-keys", .readSettings) { try await pages.page($0) }
        dashboard.post(self, "settings/signing-keys", .manageSettings) { try await pages.make($0) }
        dashboard.get(self, "settings/signing-keys/root", .manageSettings) { try await pages.rootPage($0) }
        dashboard.post(self, "settings/signing-keys/root", .manageSettings) { try await pages.takeRoot($0) }
    }
}

struct KeyPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    /// How long before its end a root document should be renewed.
    private static let soonSeconds: Int64 = 60 * 86_400

    fileprivate func page(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let newest = try await services.publisher.served.newest(of: visit.organization)
        let root = newest?.rootDocument
        var content = SettingsTab.keys.head(visit)
        content.merge(try await EnrollmentContent.content(of: visit.organization, services)) { _, new in new }
        if let root, let newest {
            content["rootVersion"] = root.version
            content["next"] = "root-\(root.version + 1).json"
            content["rootExpires"] = root.expires.description
            content["isEnding"] = root.expires - services.now() < Self.soonSeconds
            let envelope = try Envelope(json: Array(newest.freshness.bytes.readableBytesView), as: .freshness)
            let freshness = try FreshnessDocument(payload: envelope.payload)
            content["freshnessIssued"] = freshness.issued.description
            content["freshnessExpires"] = freshness.expires.description
        }
        let all = try await services.publisher.serverKeys(of: visit.organization)
        let kinds: [[String: Any]] = SigningKeys.kinds.map { kind in
            let keys = all.filter { $0.kind == kind }
            let named = Set(root?.roles[kind]?.keys ?? [])
            return [
                "kind": kind.rawValue, "signs": Self.words(kind),
                "isChosen": (visit.fields["kind"] ?? "policy") == kind.rawValue,
                "hasKeys": !keys.isEmpty,
                "keys": keys.map { key in
                    [
                        "fingerprint": key.key.id.fingerprint, "isNamed": key.state == .signs,
                        "isWaiting": key.state == .waiting, "isRetired": key.state == .retired,
                    ] as [String: Any]
                },
                // Named, but not here: what only this key could sign is signed by nobody.
                "missing": named.subtracting(keys.map(\.key)).map(\.id.fingerprint).sorted(),
            ]
        }
        content["kinds"] = kinds
        content["hasWaiting"] = root != nil && all.contains { $0.state == .waiting }
        content.merge(more) { _, new in new }
        return .page(
            Dashboard.Page(template: "keys", title: "Settings: signing keys", content: content, status: status)
        )
    }

    private static func words(_ kind: DocumentKind) -> String {
        switch kind {
        case .policy: "each version of the policy"
        case .freshness: "which version is the newest, several times a day; also the checkpoints of the activity"
        case .ticket: "who is signed in on a machine"
        // The server signs nothing else.
        default: kind.rawValue
        }
    }

    /// The first step of a change of keys.
    fileprivate func make(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        guard let kind = SigningKeys.kinds.first(where: { $0.rawValue == visit.fields["kind"] }) else {
            throw Problem.faultyForm
        }
        if let fault = try await dashboard.confirm(visit) {
            return try await page(visit, ["passwordFault": fault], .forbidden)
        }
        let key = try await services.makeKey(kind, for: visit.organization, by: visit.person.name)
        return .see(
            visit.address("settings/signing-keys"),
            message:
                "The \(kind.rawValue) key \(key.id.fingerprint) is made. It signs as soon as a root document names it."
        )
    }

    /// The page where the last step is done without the command line.
    fileprivate func rootPage(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let root = try await services.publisher.served.newest(of: visit.organization)?.rootDocument
        var content: [String: Any] = [
            "keys": visit.address("settings/signing-keys"), "document": visit.fields["document"] ?? "",
            "next": (root?.version ?? 0) + 1,
        ]
        content.merge(more) { _, new in new }
        return .page(
            Dashboard.Page(template: "root", title: "Publish a root document", content: content, status: status)
        )
    }

    /// The last step of a change of keys.
    fileprivate func takeRoot(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        if let fault = try await dashboard.confirm(visit) {
            return try await rootPage(visit, ["passwordFault": fault], .forbidden)
        }
        do {
            let bytes = Array((visit.fields["document"] ?? "").utf8)
            let root = try await services.takeRoot(bytes, in: visit.organization, by: visit.person.name)
            return .see(
                visit.address("settings/signing-keys"),
                message: "Version \(root.version) of the root document is in force. Machines take it by themselves."
            )
        } catch let problem as Problem where [.unprocessableContent, .conflict].contains(problem.status) {
            return try await rootPage(visit, ["documentFault": Dashboard.words(problem)], problem.status)
        }
    }
}
