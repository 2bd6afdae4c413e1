import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// What devices tell, and what owners and auditors read of it.
    func addReportRoutes(_ services: Services) {
        let organization = group("v1/organizations/:organization")
        organization.post("devices/:device/reports") { request, context in
            let (organization, device) = try context.authorizeDevice()
            let report = try await request.readJSON(atMost: context.maxUploadSize, depth: 6) {
                (scanner) throws(InvalidJSON) in try Report(&scanner)
            }
            // Whatever a report holds is written down; so what is in it counts, and not how many there are.
            try await services.limits.take(.reports, "\(organization)/\(device)", max(1, report.refusals.count))
            let now = services.now()
            guard try await services.store.keep(report, of: device, in: organization, at: now) else {
                throw Problem(.unauthorized, .deviceUnknown, "this device is not known", hint: "register it again")
            }
            services.metrics.happened(.reports)
            services.metrics.happened(.refusals, report.refusals.count)
            services.lastSeen.note(device, in: organization, at: now)
            return HTTPResponse.Status.noContent
        }
        organization.post("devices/:device/uses") { request, context in
            let (organization, device) = try context.authorizeDevice()
            let now = services.now()
            let report = try await request.readJSON(atMost: context.maxUploadSize, depth: 4) {
                (scanner) throws(InvalidJSON) in try UseReport(&scanner, at: now)
            }
            guard try await services.store.keep(report, of: device, in: organization, at: now) else {
                throw Problem(.unauthorized, .deviceUnknown, "this device is not known", hint: "register it again")
            }
            services.lastSeen.note(device, in: organization, at: now)
            return HTTPResponse.Status.noContent
        }
        organization.get("reports") { request, context in
            let (_, organization) = try context.authorize(.readActivity)
            let filter = RefusalFilter(
                device: try request.queryValue("device"),
                registry: try request.queryValue("registry"),
                action: try request.queryValue("action"),
                verdict: try request.queryValue("verdict"),
                user: try request.queryValue("user"),
                from: try request.queryInstant("from"),
                to: try request.queryInstant("to"),
                before: try request.queryNumber("before"),
                limit: try request.limit(most: 500)
            )
            let refusals = try await services.store.refusals(of: organization, filter)
            let next = refusals.count == filter.limit ? refusals.last?.number : nil
            return JSONAnswer(
                value: .object([
                    JSONMember("reports", .array(refusals.map(\.json))), JSONMember("next", .integer(next)),
                ])
            )
        }
    }
}
