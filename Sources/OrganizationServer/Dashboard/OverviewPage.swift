import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// How an organization does, at a glance.
    func addOverviewPage(_ dashboard: Dashboard) {
        let page = OverviewPage(dashboard: dashboard)
        // Members see the policy, which is another page.
        dashboard.get(self, "", .readPolicy) { visit in
            guard visit.may(.readMachines), visit.may(.readActivity) else {
                return .see(visit.address("registry-access"))
            }
            return try await page.show(visit)
        }
    }
}

struct OverviewPage: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    private static let days = 30

    fileprivate func show(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let now = services.now()
        let staged = try await dashboard.staged.staged(of: visit.organization, withDraft: visit.may(.editPolicy))
        let counts = try await services.deviceCounts(of: visit.organization)
        // Days of UTC, of which today is the last.
        let since = Instant(seconds: (now.seconds / 86_400 - Int64(Self.days - 1)) * 86_400)
        let byDay = try await services.store.refusalsByDay(of: visit.organization, since: since)
        let summaries = try await services.store.refusalSummary(of: visit.organization, since: since)
        var content = RegistryAccessPages.head(staged, visit, "")
        let idle = try await services.deviceCount(.notEnforcing, of: visit.organization)
        let tiles: [(Device.Standing, Int)] = [
            (.current, max(0, (counts[.current] ?? 0) - idle)), (.notEnforcing, idle),
            (.behind, counts[.behind] ?? 0), (.silent, counts[.silent] ?? 0), (.new, counts[.new] ?? 0),
            // Whatever else they are.
            (.signedOut, try await services.deviceCount(.signedOut, of: visit.organization)),
        ]
        content["tiles"] = tiles.map { standing, count -> [String: Any] in
            [
                "title": DevicePages.title(of: standing),
                "count": Dashboard.digits(count),
                "address": visit.address("devices?state=\(standing.rawValue)"),
            ]
        }
        content["devicesAddress"] = visit.address("devices")
        content["activityAddress"] = visit.address("activity?kind=refusals")
        content["hasDevices"] = !counts.isEmpty
        content["server"] = services.settings.publicAddress.description
        content["hasRefusals"] = !byDay.isEmpty
        content["days"] = Plot(byDay: byDay, since: since, days: Self.days).content
        content["top"] = Self.top(summaries, visit)
        content["hasTop"] = !summaries.isEmpty
        content["registries"] = Dashboard.count(staged.inForce.policy.rules.count, "registry", "registries")
        return .page(Dashboard.Page(template: "overview", title: "Overview", content: content))
    }

    /// The registries that were refused most, with bars.
    private static func top(_ summaries: [Store.RefusalSummary], _ visit: Dashboard.Visit) -> [[String: Any]] {
        let byRegistry = Dictionary(grouping: summaries, by: \.registry)
        let rows = byRegistry.map { registry, summaries in
            (
                registry: registry, count: summaries.reduce(0) { $0 + $1.count },
                machines: summaries.map(\.machines).max() ?? 0
            )
        }.sorted { ($1.count, $0.registry) < ($0.count, $1.registry) }.prefix(8)
        let most = max(1, rows.first?.count ?? 1)
        return rows.map { row in
            [
                "registry": row.registry, "count": Dashboard.count(row.count, "time", "times"),
                "machines": Dashboard.count(row.machines, "machine", "machines"),
                "width": max(1, row.count * 100 / most),
                "address": Dashboard.address(
                    visit.address("activity"),
                    [("kind", "refusals"), ("registry", row.registry)]
                ),
            ]
        }
    }
}

/// Bars for days: what was refused, and above it what was only recorded.
struct Plot {
    let content: [String: Any]

    /// Draws.
    ///
    /// - Parameters:
    ///   - byDay: the numbers of days that have any.
    ///   - since: the first day.
    ///   - days: how many days.
    init(byDay: [Int: (refused: Int, recorded: Int)], since: Instant, days: Int) {
        let (width, height, top) = (20, 120, 2)
        let most = max(1, byDay.values.map { $0.refused + $0.recorded }.max() ?? 1)
        let bars = (0..<days).map { day -> [String: Any] in
            let (refused, recorded) = byDay[day] ?? (0, 0)
            // Whatever there is shows.
            func length(_ count: Int) -> Int { count == 0 ? 0 : max(1, count * height / most) }
            let date = (since + Int64(day) * 86_400).description.prefix(10)
            return [
                "x": day * width + 2, "width": width - 4,
                "refusedY": top + height - length(refused), "refusedHeight": length(refused),
                "recordedY": top + height - length(refused) - length(recorded), "recordedHeight": length(recorded),
                "title": "\(date): \(refused) refused, \(recorded) recorded only",
            ]
        }
        content = [
            "bars": bars, "width": days * width, "height": top + height + 1, "base": top + height, "most": most,
            "first": String(since.description.prefix(10)),
            "last": String((since + Int64(days - 1) * 86_400).description.prefix(10)),
            "sum": Dashboard.count(
                byDay.values.reduce(0) { $0 + $1.refused + $1.recorded },
                "refusal",
                "refusals"
            ),
        ]
    }
}
