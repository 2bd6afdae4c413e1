import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// What was changed, and what machines refused.
    func addActivityPages(_ dashboard: Dashboard) {
        let pages = ActivityPages(dashboard: dashboard)
        dashboard.get(self, "activity", .readActivity) { try await pages.list($0) }
    }
}

/// Changes and refusals in one list, the newest first.
struct ActivityPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    static let pageSize = 50

    /// What is wanted.
    private struct Filter {
        var kind: Kind
        var person: String
        var device: String
        var registry: String
        var from: String
        var to: String

        enum Kind: String, CaseIterable {
            case everything = ""
            case changes
            case signIns = "sign-ins"
            case people
            case refusals

            var title: String {
                switch self {
                case .everything: "Everything"
                case .changes: "Changes of Registry Access"
                case .signIns: "Sign-ins"
                case .people: "Members, teams and tokens"
                case .refusals: "Refusals"
                }
            }

            /// The first parts of the names of actions; `nil`: all; empty: none.
            var actions: [String]? {
                switch self {
                case .everything: nil
                case .changes: ["registry_access", "settings"]
                case .signIns: ["session"]
                case .people: ["member", "team", "access_token", "user", "enrollment_token", "organization", "device"]
                case .refusals: []
                }
            }
        }

        init(_ request: Request) {
            kind = request.typedValue("kind").flatMap(Kind.init) ?? .everything
            person = request.typedValue("person") ?? ""
            device = request.typedValue("device") ?? ""
            registry = request.typedValue("registry") ?? ""
            from = request.typedValue("from") ?? ""
            to = request.typedValue("to") ?? ""
        }

        var isEmpty: Bool { kind == .everything && [person, device, registry, from, to].allSatisfy(\.isEmpty) }

        var parameters: [(name: String, value: String)] {
            [
                ("kind", kind.rawValue), ("person", person), ("device", device), ("registry", registry), ("from", from),
                ("to", to),
            ]
        }
    }

    /// A line of the list.
    private struct Line {
        let time: Instant
        /// The number of the change or of the refusal.
        let change: Int?
        let refusal: Int?
        let content: [String: Any]
    }

    fileprivate func list(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let filter = Filter(visit.request)
        var faults: [String: Any] = [:]
        func day(_ text: String, _ name: String, _ seconds: Int64) -> Instant? {
            guard !text.isEmpty else { return nil }
            guard let instant = Instant("\(text)T00:00:00Z") else {
                faults["\(name)Fault"] = "This is no day like 2026-11-25."
                return nil
            }
            return instant + seconds
        }
        let (from, to) = (day(filter.from, "from", 0), day(filter.to, "to", 86_400))
        let lines = try await changes(visit, filter, from, to) + refusals(visit, filter, from, to)
        let sorted = lines.enumerated().sorted { first, second in
            // Of one second, what came first stays so.
            first.element.time != second.element.time
                ? first.element.time > second.element.time : first.offset < second.offset
        }.map(\.element)
        let shown = Array(sorted.prefix(Self.pageSize))
        let address = visit.address("activity")
        var content: [String: Any] = faults
        content["lines"] = shown.map(\.content)
        content["hasLines"] = !shown.isEmpty
        content["isFiltered"] = !filter.isEmpty
        for (name, value) in filter.parameters { content[name] = value }
        content["kinds"] = Filter.Kind.allCases.map { kind in
            ["value": kind.rawValue, "title": kind.title, "isCurrent": kind == filter.kind] as [String: Any]
        }
        content["address"] = address
        if sorted.count > shown.count {
            let change = try shown.compactMap(\.change).min() ?? visit.request.queryNumber("change")
            let refusal = try shown.compactMap(\.refusal).min() ?? visit.request.queryNumber("refusal")
            content["older"] = RegistryAccessPages.address(
                address,
                filter.parameters + [
                    ("change", change.map(String.init) ?? ""), ("refusal", refusal.map(String.init) ?? ""),
                ]
            )
        }
        return .page(Dashboard.Page(template: "activity", title: "Activity", content: content))
    }

    private func changes(_ visit: Dashboard.Visit, _ filter: Filter, _ from: Instant?, _ to: Instant?) async throws
        -> [Line]
    {
        guard filter.device.isEmpty else { return [] }
        let before = try visit.request.queryNumber("change")
        var kept: [KeptActivity] = []
        for action in filter.kind.actions.map({ $0.map(Optional.some) }) ?? [nil] {
            kept += try await services.store.activity(
                of: visit.organization,
                ActivityFilter(
                    action: action,
                    actor: filter.person.isEmpty ? nil : filter.person,
                    name: filter.registry.isEmpty ? nil : filter.registry,
                    from: from,
                    to: to,
                    before: before,
                    limit: Self.pageSize + 1
                )
            )
        }
        return kept.sorted { $0.number > $1.number }.map { activity in
            // Who signs in does so for themselves, and who takes an invitation up joins.
            let isOwn = activity.name == activity.actor
            let words = isOwn && activity.action == "member.add" ? "joined" : Self.words(activity.action)
            var content: [String: Any] = [
                "time": activity.time.description, "actor": activity.actor, "words": words, "isChange": true,
            ]
            content["name"] = activity.name.isEmpty || isOwn ? nil : activity.name
            content["details"] = Self.details(activity.data)
            return Line(time: activity.time, change: activity.number, refusal: nil, content: content)
        }
    }

    private func refusals(_ visit: Dashboard.Visit, _ filter: Filter, _ from: Instant?, _ to: Instant?) async throws
        -> [Line]
    {
        guard filter.kind == .everything || filter.kind == .refusals else { return [] }
        let kept = try await services.store.refusals(
            of: visit.organization,
            RefusalFilter(
                device: filter.device.isEmpty ? nil : filter.device,
                registry: filter.registry.isEmpty ? nil : filter.registry,
                user: filter.person.isEmpty ? nil : filter.person,
                from: from,
                to: to,
                before: try visit.request.queryNumber("refusal"),
                limit: Self.pageSize + 1
            )
        )
        return kept.map { kept in
            let refusal = kept.refusal
            var content: [String: Any] = [
                "time": kept.received.description, "isRefusal": true,
                "isRecorded": refusal.verdict != Verdict.Outcome.deny.rawValue, "device": kept.device,
                "deviceAddress": visit.address("devices/\(kept.device)"), "id": refusal.id, "point": refusal.point,
                "action": refusal.action ?? "request",
            ]
            content["registry"] = refusal.registry
            content["user"] = refusal.user
            content["rule"] = refusal.rule
            return Line(time: kept.received, change: nil, refusal: kept.number, content: content)
        }
    }

    /// What an action is called for people.
    static func words(_ action: String) -> String {
        switch action {
        case "registry_access.enabled": "turned Registry Access Management on"
        case "registry_access.disabled": "turned Registry Access Management off"
        case "registry_access.registry_added": "added the registry"
        case "registry_access.registry_updated": "changed the registry"
        case "registry_access.registry_removed": "removed the registry"
        case "registry_access.settings_updated": "changed the setting"
        case "registry_access.policy_saved": "saved and applied"
        case "registry_access.policy_rolled_back": "rolled back, making"
        case "registry_access.root_updated": "installed the root document"
        case "registry_access.key_created": "made a signing key for"
        case "device.add": "registered the device"
        case "device.remove": "removed the device"
        case "enrollment_token.create": "made the enrollment token"
        case "enrollment_token.delete": "deleted the enrollment token"
        case "settings.update": "changed the settings of"
        case "organization.created": "created the organization"
        case "member.add": "added the member"
        case "member.remove": "removed the member"
        case "member.role.change": "changed the role of"
        case "member.invite.send": "invited"
        case "member.invite.cancel": "took back the invitation"
        case "team.create": "created the team"
        case "team.delete": "deleted the team"
        case "team.member.add": "changed the team by adding"
        case "team.member.remove": "changed the team by taking out"
        case "access_token.create": "made the access token"
        case "access_token.delete": "deleted the access token"
        case "session.start": "signed in"
        case "session.end": "ended sessions"
        case "session.token_reused": "ended the session, because a used token came again, of"
        case "session.sign_in_slowed": "slowed down sign-ins of"
        case "user.password.change": "changed the password"
        default: action
        }
    }

    /// The members of an activity's data that say something to people.
    private static func details(_ data: JSONValue) -> String? {
        let words = (data.members ?? []).compactMap { member -> String? in
            switch member.value {
            case .string(let text): text.isEmpty ? nil : "\(member.name) \(text)"
            case .number(let text): "\(member.name) \(text)"
            case .bool(let value): "\(member.name): \(value ? "yes" : "no")"
            default: nil
            }
        }
        return words.isEmpty ? nil : words.joined(separator: ", ")
    }
}
