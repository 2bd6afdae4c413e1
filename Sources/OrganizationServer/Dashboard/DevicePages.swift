import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// The machines of an organization.
    func addDevicePages(_ dashboard: Dashboard) {
        let pages = DevicePages(dashboard: dashboard)
        dashboard.get(self, "devices", .readMachines) { try await pages.list($0) }
        dashboard.get(self, "devices-export", .readMachines) { try await pages.export($0) }
        dashboard.get(self, "devices/:device", .readMachines) { try await pages.show($0) }
        dashboard.post(self, "devices/:device/end-session", .endSessions) { try await pages.endSession($0) }
        dashboard.get(self, "devices/:device/remove", .manageMachines) { try await pages.askToRemove($0) }
        dashboard.post(self, "devices/:device/remove", .manageMachines) { try await pages.remove($0) }
    }
}

struct DevicePages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    fileprivate func list(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let measure = try await services.deviceMeasure(of: visit.organization)
        let filter = Self.filter(visit)
        let place = try visit.request.devicePlace()
        let devices = try await services.devices(of: visit.organization, after: place, atMost: Paging.size, filter)
        let sessions = try await services.store.sessionStates(of: devices.map(\.id), in: visit.organization)
        let rows = devices.map { row($0, measure, sessions[$0.id] ?? .none, visit) }
        let address = visit.address("devices")
        var content: [String: Any] = [
            "rows": rows, "hasRows": !rows.isEmpty, "address": address, "newest": measure.newest,
            "server": services.settings.publicAddress.description,
        ]
        content["machines"] = visit.address("settings/machines")
        content["isPart"] = place != nil
        content["isFiltered"] = filter != DeviceFilter()
        content["hasList"] = !rows.isEmpty || filter != DeviceFilter()
        content["query"] = filter.text ?? ""
        content["searched"] = filter.text
        content["standings"] = Device.Standing.allCases.map { other in
            ["value": other.rawValue, "title": Self.title(of: other), "isCurrent": other == filter.standing]
                as [String: Any]
        }
        let parameters = [(name: "q", value: filter.text ?? ""), ("state", filter.standing?.rawValue ?? "")]
        content["first"] = Dashboard.address(address, parameters)
        content["export"] = Dashboard.address(visit.address("devices-export"), parameters)
        if devices.count == Paging.size, let last = devices.last {
            content["next"] = Dashboard.address(address, parameters + [("after", last.place.description)])
        }
        return .page(Dashboard.Page(template: "devices", title: "Devices", content: content))
    }

    private static func filter(_ visit: Dashboard.Visit) -> DeviceFilter {
        DeviceFilter(
            standing: visit.request.typedValue("state").flatMap(Device.Standing.init),
            text: visit.request.typedValue("q")
        )
    }

    /// The list as a table.
    fileprivate func export(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let measure = try await services.deviceMeasure(of: visit.organization)
        let filter = Self.filter(visit)
        let head = ActivityFormat.line([
            "id", "name", "state", "policyVersion", "engineVersion", "productVersion", "enforcementPoints", "findings",
            "session", "lastSeen", "created",
        ])
        let response = Response.download(
            "devices-\(visit.organization).csv",
            "text/csv; charset=utf-8",
            head: head,
            from: Device.Place.beginning
        ) { place in
            let limit = 500
            let devices = try await services.devices(of: visit.organization, after: place, atMost: limit, filter)
            let sessions = try await services.store.sessionStates(of: devices.map(\.id), in: visit.organization)
            let text = devices.map { line($0, measure, sessions[$0.id] ?? .none) }.joined()
            return (text, devices.count == limit ? devices.last?.place : nil)
        }
        return .answer(response)
    }

    private func line(_ device: Device, _ measure: Device.Measure, _ session: SessionState) -> String {
        let said = Said(device)
        return ActivityFormat.line([
            device.id, device.name, Self.title(of: device.state(by: measure), notEnforcing: said.enforcesNothing).0,
            device.policyVersion.map(String.init) ?? "", said.engineVersion ?? "", said.productVersion ?? "",
            said.points.joined(separator: "; "), said.findings.joined(separator: "; "), "\(session)",
            device.lastSeen?.description ?? "", device.created.description,
        ])
    }

    /// What a device said of itself, in words.
    private struct Said {
        let points: [String]
        let findings: [String]
        let engineVersion: String?
        let productVersion: String?
        /// Whether it said that there is no enforcement point.
        let enforcesNothing: Bool

        init(_ device: Device) {
            let status = device.status.flatMap { try? StrictJSON.parse(Array($0.utf8), limits: .init(bytes: 1 << 20)) }
            points = (status?.value(named: "enforcementPoints")?.elements ?? []).map(DevicePages.words)
            findings = (status?.value(named: "findings")?.elements ?? []).map(DevicePages.words)
            engineVersion = status?.value(named: "engineVersion")?.text
            productVersion = status?.value(named: "productVersion")?.text
            enforcesNothing = status != nil && points.isEmpty
        }
    }

    /// A device as templates name it.
    private func row(
        _ device: Device,
        _ measure: Device.Measure,
        _ session: SessionState,
        _ visit: Dashboard.Visit
    ) -> [String: Any] {
        let said = Said(device)
        let (points, findings) = (said.points, said.findings)
        var row: [String: Any] = [
            "id": device.id, "name": device.name, "address": visit.address("devices/\(device.id)"),
            "created": device.created.description, "points": points, "pointsInWords": points.joined(separator: ", "),
            "findings": findings, "hasPoints": !points.isEmpty, "hasFindings": !findings.isEmpty,
            "findingsInWords": Dashboard.count(findings.count, "finding", "findings"),
            "isSignedIn": session == .active, "isSignedOut": session == .ended, "isNeverSignedIn": session == .none,
        ]
        // A machine that refuses everything, as one that is signed out does, holds none.
        row["policyVersion"] = device.policyVersion == 0 ? nil : device.policyVersion
        row["hasNoPolicy"] = device.policyVersion == 0
        row["lastSeen"] = device.lastSeen?.description
        row["reported"] = device.statusTime?.description
        row["productVersion"] = said.productVersion
        row["engineVersion"] = said.engineVersion
        let state = device.state(by: measure)
        let (title, tone) = Self.title(of: state, notEnforcing: said.enforcesNothing)
        row["state"] = title
        row["tone"] = tone
        return row
    }

    /// What a state is called, and the class of its colour.
    static func title(of state: Device.State, notEnforcing: Bool) -> (String, String) {
        switch state {
        case .new: ("Never reported", "warn")
        case .silent: ("Silent", "bad")
        case .behind: ("Outdated", "warn")
        case .current: notEnforcing ? ("Not enforcing", "bad") : ("Up to date", "good")
        }
    }

    /// What a standing is called.
    static func title(of standing: Device.Standing) -> String {
        switch standing {
        case .current: title(of: .current, notEnforcing: false).0
        case .notEnforcing: title(of: .current, notEnforcing: true).0
        case .behind: title(of: .behind, notEnforcing: false).0
        case .silent: title(of: .silent, notEnforcing: false).0
        case .new: title(of: .new, notEnforcing: false).0
        case .signedOut: "Signed out"
        }
    }

    /// A text, or the members of an object, for people.
    private static func words(_ value: JSONValue) -> String {
        if let text = value.text { return text }
        return (value.members ?? []).map { member in
            let text =
                switch member.value {
                case .string(let text), .number(let text): text
                case .bool(let isSo): isSo ? "yes" : "no"
                default: "-"
                }
            return "\(member.name) \(text)"
        }.joined(separator: ", ")
    }

    private func device(_ visit: Dashboard.Visit) async throws -> Device {
        let id = try visit.context.parameters.require("device")
        guard let device = try await services.device(id, of: visit.organization) else {
            throw Problem(.notFound, .notFound, "there is no such device", hint: "it may have been taken out")
        }
        return device
    }

    fileprivate func show(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await page(visit)
    }

    private func page(
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let device = try await device(visit)
        let session = try await services.store.sessionState(device: device.id, in: visit.organization)
        var content = row(device, try await services.deviceMeasure(of: visit.organization), session, visit)
        content["devices"] = visit.address("devices")
        content["mayEnd"] = visit.may(.endSessions)
        content["mayRemove"] = visit.may(.manageMachines)
        if visit.may(.readActivity) {
            content["mayReadActivity"] = true
            content["activityAddress"] = Dashboard.address(
                visit.address("activity"),
                [("kind", "refusals"), ("device", device.id)]
            )
            let sessions = try await services.store.sessions(
                in: visit.organization,
                Store.SessionSelection(device: device.id),
                at: services.now()
            )
            content["user"] = sessions.first?.user
            content["signedIn"] = sessions.first?.created.description
        }
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "device", title: device.name, content: content, status: status))
    }

    fileprivate func endSession(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let device = try await device(visit)
        if let fault = try await dashboard.confirm(visit) {
            return try await page(visit, ["passwordFault": fault], .forbidden)
        }
        let count = try await services.endSessions(
            in: visit.organization,
            Store.SessionSelection(device: device.id),
            by: visit.person.name
        )
        return .see(
            visit.address("devices/\(device.id)"),
            message: count == 0
                ? "Nobody was signed in there." : "The session is ended: the machine asks to sign in again."
        )
    }

    private func removal(of device: Device, _ visit: Dashboard.Visit) async throws -> Confirmation {
        let user = try await services.store.sessions(
            in: visit.organization,
            Store.SessionSelection(device: device.id),
            at: services.now()
        ).first?.user
        return Confirmation(
            title: "Take \(device.name) out?",
            lines: [
                (user.map { "\($0) is signed in there, and is signed out. " } ?? "")
                    + "The machine is not known here any more. It can register again, as any machine can; where sign-in is "
                    + "required, it refuses whatever touches a registry until somebody signs in there again.",
                "Containers that run go on. What it refused stays in the activity.",
            ],
            button: "Take the machine out",
            action: visit.address("devices/\(device.id)/remove"),
            back: visit.address("devices/\(device.id)")
        )
    }

    fileprivate func askToRemove(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await removal(of: try await device(visit), visit).reply()
    }

    fileprivate func remove(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let device = try await device(visit)
        if let fault = try await dashboard.confirm(visit) {
            return try await removal(of: device, visit).reply(fault: fault)
        }
        _ = try await services.store.removeDevice(
            device.id,
            from: visit.organization,
            by: visit.person.name,
            at: services.now()
        )
        // It may be waiting; it learns that it is not known any more.
        await services.changes.notify(visit.organization)
        return .see(visit.address("devices"), message: "\(device.name) is taken out. It can register again.")
    }
}
