import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// What an organization has set for itself, and what was done in it.
    func addOrganizationRoutes(_ services: Services) {
        let organization = group("v1/organizations/:organization")
        organization.get("settings") { _, context in
            let (_, organization) = try context.authorize(.readSettings, or: .manageSettings)
            return JSONAnswer(value: try await services.store.settings(of: organization).json)
        }
        organization.patch("settings") { request, context in
            let (person, organization) = try context.authorize(.manageSettings)
            let before = try await services.store.settings(of: organization)
            let after = try await request.readJSON(atMost: 64 << 10, depth: 2) { (scanner) throws(InvalidJSON) in
                try before.changed(&scanner)
            }
            try await services.change(before, to: after, of: organization, by: person.name)
            return JSONAnswer(value: after.json)
        }
        organization.get("activity") { request, context -> Response in
            let (_, organization) = try context.authorize(.readActivity)
            let format = try ActivityFormat(of: request)
            let filter = ActivityFilter(
                action: try request.queryValue("action"),
                actor: try request.queryValue("actor"),
                name: try request.queryValue("name"),
                from: try request.queryInstant("from"),
                to: try request.queryInstant("to"),
                before: try request.queryNumber("before"),
                limit: try request.limit(most: 500)
            )
            guard format == .json else {
                let isLimited = try request.queryValue("limit") != nil
                return format.export(of: organization, filter, isLimited: isLimited, services.store)
            }
            let lines = try await services.store.activity(of: organization, filter)
            let next = lines.count == filter.limit ? lines.last?.number : nil
            return JSONAnswer(
                value: .object([
                    JSONMember("activity", .array(lines.map(\.json))), JSONMember("next", .integer(next)),
                ])
            ).response(from: request, context: context)
        }
    }
}

extension Services {
    /// Sets what an organization has for itself; machines learn of times at once.
    ///
    /// - Parameters:
    ///   - before: what was.
    ///   - after: what is to be.
    ///   - organization: whose.
    ///   - author: who does it.
    /// - Throws: what SQLite says, or why nothing can be signed.
    func change(
        _ before: OrganizationSettings,
        to after: OrganizationSettings,
        of organization: String,
        by author: String
    ) async throws {
        guard after != before else { return }
        try await store.set(after, of: organization, by: author, at: now())
        if after.refreshSeconds != before.refreshSeconds || after.validitySeconds != before.validitySeconds {
            try await publisher.renewFreshness(of: organization)
        }
    }
}

extension KeptActivity {
    var json: JSONValue {
        .object([
            JSONMember("number", .number("\(number)")),
            JSONMember("time", .string(time.description)),
            JSONMember("action", .string(action)),
            JSONMember("actor", .string(actor)),
            JSONMember("name", .string(name)),
            JSONMember("data", data),
        ])
    }
}

extension OrganizationSettings {
    /// The settings with those that an object names; `"contact": null` takes that out.
    fileprivate func changed(_ scanner: inout JSONScanner) throws(InvalidJSON) -> OrganizationSettings {
        var settings = self
        let known = ["contact", "refreshSeconds", "validitySeconds", "reportDays", "enrollment", "maximumDevices"]
        try scanner.object(of: known) { (key, scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            func number(_ range: ClosedRange<Int64>) throws(InvalidJSON) -> Int64 {
                guard let number = WholeNumber.read(try scanner.number()), range.contains(Int64(number)) else {
                    throw scanner.fault("this is no number from \(range.lowerBound) to \(range.upperBound)", at: start)
                }
                return Int64(number)
            }
            switch key {
            case "refreshSeconds": settings.refreshSeconds = try number(60...86_400)
            case "validitySeconds": settings.validitySeconds = try number(3600...604_800)
            case "reportDays": settings.reportDays = try number(1...3650)
            case "maximumDevices": settings.maximumDevices = try number(1...1_000_000)
            case "enrollment":
                let text = try scanner.string()
                guard text == "open" || text == "token" else {
                    throw scanner.fault("expected \"open\" or \"token\"", at: start)
                }
                settings.enrollment = text
            default:
                switch try scanner.value() {
                case .null: settings.contact = nil
                case .string(let text) where Names.isLabel(text, longest: 100): settings.contact = text
                default: throw scanner.fault("\"contact\" is not 1 to 100 bytes without control characters", at: start)
                }
            }
        }
        return settings
    }
}
