import HTTPTypes
import Hummingbird
import NIOCore
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// What was changed, and what machines refused.
    func addActivityPages(_ dashboard: Dashboard) {
        let pages = ActivityPages(dashboard: dashboard)
        dashboard.get(self, "activity", .readActivity) { try await pages.list($0) }
        dashboard.watch(self, "activity/news", .readActivity) { try await pages.news($0) }
        dashboard.get(self, "activity/export", .readActivity) { try await pages.export($0) }
    }
}

/// Changes and refusals in one list, the newest first.
struct ActivityPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    /// What is wanted.
    private struct Filter {
        /// `nil`: everything.
        let kind: ActivityKind?
        let person: String?
        /// The name of a device, its beginning, or an id.
        let device: String?
        /// The devices that this means; ``ActivityPages/filter(_:)`` looks them up.
        var devices: [String]?
        let registry: String?
        /// The days as they were typed.
        let days: [String: String]
        private(set) var from: Instant?
        private(set) var to: Instant?
        /// What is wrong with the days, by the names that templates have for it.
        private(set) var faults: [String: String] = [:]

        init(_ request: Request) {
            kind = request.typedValue("kind").flatMap(ActivityKind.init)
            person = request.typedValue("person")
            device = request.typedValue("device")
            registry = request.typedValue("registry")
            days = ["from": request.typedValue("from") ?? "", "to": request.typedValue("to") ?? ""]
            from = day("from")
            // That day is wanted too.
            to = day("to").map { $0 + 86_400 }
        }

        private mutating func day(_ name: String) -> Instant? {
            guard let text = days[name], !text.isEmpty else { return nil }
            let instant = Instant("\(text)T00:00:00Z")
            if instant == nil { faults["\(name)Fault"] = "This is no day like 2026-11-25." }
            return instant
        }

        var isEmpty: Bool { parameters.allSatisfy(\.value.isEmpty) }

        /// Whether more than a kind is wanted: the fields for the rest are folded away otherwise.
        var isNarrowed: Bool { narrowing.contains { !$0.value.isEmpty } }

        var parameters: [(name: String, value: String)] { [("kind", kind?.rawValue ?? "")] + narrowing }

        private var narrowing: [(name: String, value: String)] {
            [
                ("person", person ?? ""), ("device", device ?? ""), ("registry", registry ?? ""),
                ("from", days["from"] ?? ""), ("to", days["to"] ?? ""),
            ]
        }

        /// The changes that are wanted; `nil`: none.
        var changes: ActivityFilter? {
            guard kind != .refusals else { return nil }
            return ActivityFilter(
                actions: kind?.actions,
                actor: person,
                name: registry,
                devices: devices,
                from: from,
                to: to,
                limit: Paging.size + 1
            )
        }

        /// The refusals that are wanted; `nil`: none.
        var refusals: RefusalFilter? {
            guard kind == nil || kind == .refusals else { return nil }
            return RefusalFilter(
                devices: devices,
                registry: registry,
                user: person,
                from: from,
                to: to,
                limit: Paging.size + 1
            )
        }
    }

    /// What a request asks for, with the devices that it means.
    private func filter(_ visit: Dashboard.Visit) async throws -> Filter {
        var filter = Filter(visit.request)
        if let device = filter.device {
            filter.devices = try await services.store.devices(called: device, in: visit.organization)
        }
        return filter
    }

    /// A line of the list.
    private struct Line {
        let time: Instant
        /// The number of the change or of the refusal.
        let change: Int?
        let refusal: Int?
        let content: [String: Any]
    }

    // MARK: - The list

    fileprivate func list(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let filter = try await filter(visit)
        let (change, refusal) = (try visit.request.queryNumber("change"), try visit.request.queryNumber("refusal"))
        var (changes, refusals) = (filter.changes, filter.refusals)
        changes?.before = change
        refusals?.before = refusal
        let lines = try await lines(visit, changes, refusals)
        let shown = lines.prefix(Paging.size)
        let address = visit.address("activity")
        var content: [String: Any] = filter.faults
        content["lines"] = shown.map(\.content)
        content["hasLines"] = !shown.isEmpty
        content["isFiltered"] = !filter.isEmpty
        content["isNarrowed"] = filter.isNarrowed
        for (name, value) in filter.parameters { content[name] = value }
        let kinds: [ActivityKind?] = [nil] + ActivityKind.allCases
        content["kinds"] = kinds.map { kind -> [String: Any] in
            [
                "value": kind?.rawValue ?? "", "title": kind?.title ?? "Everything",
                "isCurrent": kind == filter.kind,
            ]
        }
        content["address"] = address
        content["here"] = Dashboard.address(address, filter.parameters)
        content["exports"] = Self.exports(filter, address)
        if change != nil || refusal != nil { content["newest"] = Dashboard.address(address, filter.parameters) }
        if shown.isEmpty {
            let suggestions = try await suggestions(for: filter, visit)
            content["suggestions"] = suggestions
            content["hasSuggestions"] = !suggestions.isEmpty
        }
        if change == nil, refusal == nil {
            content["news"] = [
                "address": Dashboard.address("\(address)/news", filter.parameters),
                "change": lines.compactMap(\.change).max() ?? 0, "refusal": lines.compactMap(\.refusal).max() ?? 0,
            ]
        }
        if lines.count > shown.count {
            let change = shown.compactMap(\.change).min() ?? change
            let refusal = shown.compactMap(\.refusal).min() ?? refusal
            content["older"] = Dashboard.address(
                address,
                filter.parameters + [
                    ("change", change.map(String.init) ?? ""), ("refusal", refusal.map(String.init) ?? ""),
                ]
            )
        }
        return .page(Dashboard.Page(template: "activity", title: "Activity", content: content))
    }

    /// What came since a page was made, as lines for it.
    ///
    /// The page says which change and which refusal it knows; where there is nothing new, there is no content.
    fileprivate func news(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let filter = try await filter(visit)
        let (change, refusal) = (try visit.request.queryNumber("change"), try visit.request.queryNumber("refusal"))
        var (changes, refusals) = (filter.changes, filter.refusals)
        changes?.after = change ?? 0
        refusals?.after = refusal ?? 0
        let lines = try await lines(visit, changes, refusals)
        guard !lines.isEmpty else { return .answer(Response(status: .noContent)) }
        let content: [String: Any] = [
            "lines": lines.prefix(Paging.size).map(\.content), "isMore": lines.count > Paging.size,
            "change": lines.compactMap(\.change).max() ?? change ?? 0,
            "refusal": lines.compactMap(\.refusal).max() ?? refusal ?? 0,
        ]
        let text = DashboardFiles.html("activity-news", content)
        return .answer(
            Response(
                status: .ok,
                headers: [.contentType: "text/html; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: text))
            )
        )
    }

    /// The lines that two filters let through, the newest first.
    private func lines(_ visit: Dashboard.Visit, _ changes: ActivityFilter?, _ refusals: RefusalFilter?) async throws
        -> [Line]
    {
        let store = services.store
        var (activities, kept): ([KeptActivity], [KeptRefusal]) = ([], [])
        if let changes { activities = try await store.activity(of: visit.organization, changes) }
        if let refusals { kept = try await store.refusals(of: visit.organization, refusals) }
        let ids = Set(activities.flatMap(\.possibleDevices) + kept.map(\.device))
        let names = DeviceNames(names: try await store.deviceNames(of: ids, in: visit.organization), visit: visit)
        let lines = kept.map { Self.line($0, names) } + activities.map { Self.line($0, names) }
        return lines.enumerated().sorted { first, second in
            // Of one second, what was refused comes after the change because of which it was.
            first.element.time != second.element.time
                ? first.element.time > second.element.time : first.offset < second.offset
        }.map(\.element)
    }

    /// The devices that lines name, as templates name them.
    private struct DeviceNames {
        let names: [String: Store.DeviceName]
        let visit: Dashboard.Visit

        /// A device; `nil` if there was none of this id.
        func content(of id: String) -> [String: Any]? {
            guard let device = names[id] else { return nil }
            var content: [String: Any] = ["deviceID": id, "deviceName": device.name]
            content["deviceAddress"] = device.isThere ? visit.address("devices/\(id)") : nil
            return content
        }
    }

    private static func line(_ activity: KeptActivity, _ names: DeviceNames) -> Line {
        // Who signs in does so for themselves, who takes an invitation up joins, and a machine registers itself.
        let isOwn = activity.name == activity.actor || activity.actor == "device:\(activity.name)"
        let own = isOwn ? Activity.ownWords(activity.action) : nil
        let action = activity.action
        var content: [String: Any] = [
            "time": activity.time.description, "actor": activity.actor,
            "words": own ?? (activity.name.isEmpty ? Activity.wordsAlone(action) : Activity.words(action)),
            "isChange": true,
        ]
        content["name"] = activity.name.isEmpty || own != nil ? nil : activity.name
        content["actorDevice"] = activity.actingDevice.flatMap(names.content(of:))
        content["nameDevice"] = own != nil ? nil : names.content(of: activity.name)
        content["details"] = details(activity.data, names)
        return Line(time: activity.time, change: activity.number, refusal: nil, content: content)
    }

    private static func line(_ kept: KeptRefusal, _ names: DeviceNames) -> Line {
        let refusal = kept.refusal
        var content: [String: Any] = [
            "time": kept.received.description, "isRefusal": true,
            "isRecorded": refusal.verdict != Verdict.Outcome.deny.rawValue, "device": kept.device,
            "id": refusal.id, "point": refusal.point, "action": refusal.action ?? "request",
        ]
        content["whereDevice"] = names.content(of: kept.device)
        content["registry"] = refusal.registry
        content["user"] = refusal.user
        content["rule"] = refusal.rule
        return Line(time: kept.received, change: nil, refusal: kept.number, content: content)
    }

    /// The members of an activity's data that say something to people.
    private static func details(_ data: JSONValue, _ names: DeviceNames) -> String? {
        let words = (data.members ?? []).compactMap { member -> String? in
            switch member.value {
            // The line itself has it.
            case .string where member.name == "device_name": nil
            case .string(let id) where member.name == "device": "device \(names.names[id]?.name ?? id)"
            case .string(let text): text.isEmpty ? nil : "\(member.name) \(text)"
            case .number(let text): "\(member.name) \(text)"
            case .bool(let value): "\(member.name): \(value ? "yes" : "no")"
            default: nil
            }
        }
        return words.isEmpty ? nil : words.joined(separator: ", ")
    }

    /// Names that begin with what was typed, with the way to them: a filter goes by whole names.
    private func suggestions(for filter: Filter, _ visit: Dashboard.Visit) async throws -> [[String: Any]] {
        let fields: [(field: String, typed: String?, lists: [Store.NameList])] = [
            ("person", filter.person, [.actors]), ("registry", filter.registry, [.registries, .names]),
        ]
        var suggestions: [[String: Any]] = []
        for (field, typed, lists) in fields {
            guard let typed else { continue }
            var names: Set<String> = []
            for list in lists {
                names.formUnion(
                    try await services.store.names(in: list, of: visit.organization, beginningWith: typed.lowercased())
                )
            }
            names.subtract([typed])
            suggestions += names.sorted().prefix(Store.NameList.most).map { name in
                let parameters = filter.parameters.map { $0.name == field ? (field, name) : $0 }
                return ["name": name, "address": Dashboard.address(visit.address("activity"), parameters)]
            }
        }
        return suggestions
    }

    // MARK: - Files

    /// The files that there are of what is shown.
    private static func exports(_ filter: Filter, _ address: String) -> [[String: Any]] {
        let lists = [("changes", "Changes", filter.changes != nil), ("refusals", "Refusals", filter.refusals != nil)]
        let formats = [(ActivityFormat.csv, "CSV"), (.jsonl, "JSON lines")]
        return lists.filter(\.2).flatMap { name, title, _ in
            formats.map { format, words in
                [
                    "title": "\(title) as \(words)",
                    "address": Dashboard.address(
                        "\(address)/export",
                        filter.parameters + [("list", name), ("format", format.rawValue)]
                    ),
                ]
            }
        }
    }

    fileprivate func export(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let filter = try await filter(visit)
        if let fault = filter.faults.values.first { throw Problem(.badRequest, .badRequest, fault) }
        let format = try ActivityFormat(of: visit.request)
        guard format != .json else { throw Problem(.badRequest, .badRequest, "there are files in CSV and JSON lines") }
        let (organization, store) = (visit.organization, services.store)
        if visit.request.typedValue("list") == "refusals", let refusals = filter.refusals {
            return .answer(format.export(of: organization, refusals, store))
        }
        guard visit.request.typedValue("list") == "changes", let changes = filter.changes else {
            throw Problem(.notFound, .notFound, "there is no such file", hint: "choose one on the page of the activity")
        }
        return .answer(format.export(of: organization, changes, isLimited: false, store))
    }
}
