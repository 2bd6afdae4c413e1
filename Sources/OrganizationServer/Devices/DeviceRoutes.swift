import Foundation
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// Registration of devices, what they wait for, and what owners see of them.
    func addDeviceRoutes(_ services: Services) {
        let organization = group("v1/organizations/:organization")
        organization.post("devices") { request, context in try await register(request, context, services) }
        organization.get("devices") { request, context in try await list(request, context, services) }
        organization.delete("devices/:device") { _, context in
            let (person, organization) = try context.authorize(.manageMachines)
            let device = try context.parameters.require("device")
            let isGone = try await services.store.removeDevice(
                device,
                from: organization,
                by: person.name,
                at: services.now()
            )
            guard isGone else { throw Problem(.notFound, .notFound, "there is no such device") }
            // It may be waiting; it learns that it is not known any more.
            await services.changes.notify(organization)
            return HTTPResponse.Status.noContent
        }
        organization.get("devices/:device/changes") { request, context in
            try await waitForChange(request, context, services)
        }
        organization.get("enrollment-tokens") { _, context in
            let (_, organization) = try context.authorize(.readSettings, or: .manageMachines)
            let tokens = try await services.store.enrollmentTokens(of: organization).map { token in
                JSONValue.object([
                    JSONMember("name", .string(token.name)),
                    JSONMember("author", .string(token.author)),
                    JSONMember("created", .string(token.created.description)),
                    JSONMember("expires", .string(token.expires.description)),
                ])
            }
            return JSONAnswer(value: .object([JSONMember("enrollmentTokens", .array(tokens))]))
        }
        organization.post("enrollment-tokens") { request, context in
            try await makeEnrollmentToken(request, context, services)
        }
        organization.delete("enrollment-tokens/:name") { _, context in
            let (person, organization) = try context.authorize(.manageMachines)
            // What it is called is whatever its owner has typed; the router leaves it escaped.
            let name = try context.parameters.require("name").removingPercentEncoding
            let isGone = try await services.store.removeEnrollmentToken(
                name ?? "",
                from: organization,
                by: person.name,
                at: services.now()
            )
            guard isGone else { throw Problem(.notFound, .notFound, "there is no such enrollment token") }
            return HTTPResponse.Status.noContent
        }
    }
}

/// What its people call a device or a token; anything that is shown to people is fit to be.
private func label(_ name: String?, longest: Int) throws(Problem) -> String {
    guard let name, Names.isLabel(name, longest: longest) else {
        throw Problem(
            .badRequest,
            .badRequest,
            "\"name\" must be 1 to \(longest) bytes without control characters"
        )
    }
    return name
}

private func register(_ request: Request, _ context: ServerContext, _ services: Services) async throws -> JSONAnswer {
    let organization = try context.parameters.require("organization")
    let texts = try await request.readTexts(["name"], optional: ["enrollmentToken"], context)
    let name = try label(texts["name"], longest: 255)
    let enrollment = texts["enrollmentToken"].flatMap { OpaqueToken($0) }
    guard texts["enrollmentToken"] == nil || enrollment?.kind == .enrollment else {
        throw Problem(
            .forbidden,
            .enrollmentRefused,
            "this is no enrollment token",
            hint: "it begins with \"\(OpaqueToken.Kind.enrollment.rawValue)_\"; look whether all of it was copied"
        )
    }
    // Many machines of one office may show a token at once; without one, anybody may come.
    if enrollment == nil, !context.isFromThisMachine(services.settings) {
        try await services.limits.take(.registration, context.address)
    }
    let (id, secret): (String, OpaqueToken)
    do {
        (id, secret) = try await services.store.addDevice(
            named: name,
            showing: enrollment,
            to: organization,
            at: services.now()
        )
    } catch let problem as Problem {
        services.metrics.happened(.devicesRefused)
        if enrollment != nil, problem.code == .enrollmentRefused {
            try await services.limits.take(.wrongToken, context.address)
        }
        throw problem
    }
    services.metrics.happened(.devicesRegistered)
    return JSONAnswer(
        value: .object([JSONMember("device", .string(id)), JSONMember("secret", .string(secret.secret))]),
        status: .created
    )
}

/// Answers at once if the device does not know the newest state, and else when there is one, or the time is over; what
/// ``ChangesHandler`` does not take.
private func waitForChange(
    _ request: Request,
    _ context: ServerContext,
    _ services: Services
) async throws -> ChangesAnswer {
    let (organization, device) = try context.authorizeDevice()
    let after = try request.queryValue("after")
    guard let seconds = WholeNumber.read(try request.queryValue("wait") ?? "0"),
        seconds <= ChangesQuestion.longestWait
    else {
        throw Problem(
            .badRequest,
            .badRequest,
            "\"wait\" must be a number of seconds from 0 to \(ChangesQuestion.longestWait)"
        )
    }
    let end = ContinuousClock.now + .seconds(seconds)
    while true {
        let seen = await services.changes.count(of: organization)
        guard let changes = try await services.store.deviceChanges(of: device, in: organization) else {
            throw Problem(.unauthorized, .deviceUnknown, "this device is not known", hint: "register it again")
        }
        services.lastSeen.note(device, in: organization, at: services.now())
        let newest = try await services.publisher.served.newest(of: organization)
        let answer = ChangesAnswer(changes, newest, after: after)
        let left = end - .now
        if answer.cursor != after || left <= .zero { return answer }
        // Without a change the time is over, or the server stops: the state is said as it is.
        if await services.changes.change(of: organization, after: seen, within: left) == seen { return answer }
    }
}

private func list(_ request: Request, _ context: ServerContext, _ services: Services) async throws -> JSONAnswer {
    let (_, organization) = try context.authorize(.readMachines)
    let limit = try request.limit(most: 200)
    let measure = try await services.deviceMeasure(of: organization)
    let filter = DeviceFilter(name: try request.queryValue("name"), user: try request.queryValue("user"))
    let devices = try await services.devices(
        of: organization,
        after: request.devicePlace(),
        atMost: limit,
        filter
    )
    let sessions = try await services.store.sessionStates(of: devices.map(\.id), in: organization)
    var list: [JSONValue] = []
    for device in devices {
        let session = sessions[device.id] ?? .none
        let limits = StrictJSON.Limits(bytes: 1 << 20)
        let status = device.status.flatMap { try? StrictJSON.parse(Array($0.utf8), limits: limits) }
        list.append(
            .object([
                JSONMember("device", .string(device.id)),
                JSONMember("name", .string(device.name)),
                JSONMember("state", .string(device.state(by: measure).rawValue)),
                JSONMember("session", .string(session.rawValue)),
                JSONMember("created", .string(device.created.description)),
                JSONMember("lastSeen", .text(device.lastSeen?.description)),
                JSONMember("reported", .text(device.statusTime?.description)),
                JSONMember("status", status ?? .null),
            ])
        )
    }
    let next = devices.count == limit ? devices.last?.place.description : nil
    return JSONAnswer(value: .object([JSONMember("devices", .array(list)), JSONMember("next", .text(next))]))
}

private func makeEnrollmentToken(
    _ request: Request,
    _ context: ServerContext,
    _ services: Services
) async throws -> JSONAnswer {
    let (person, organization) = try context.authorize(.manageMachines)
    var name: String?
    var days: Int?
    try await request.readObject(of: ["name", "days"], context) { (key, scanner) throws(InvalidJSON) in
        if key == "name" {
            name = try scanner.string()
        } else {
            days = WholeNumber.read(try scanner.number())
        }
    }
    let label = try label(name, longest: 80)
    guard let days, (1...365).contains(days) else {
        throw Problem(.badRequest, .badRequest, "\"days\" must be a number from 1 to 365")
    }
    let now = services.now()
    let token = try await services.store.makeEnrollmentToken(
        named: label,
        in: organization,
        by: person.name,
        now: now,
        expires: person.bounded(now + Int64(days) * 86_400)
    )
    guard let token else {
        throw Problem(.conflict, .conflict, "there is an enrollment token \"\(label)\" already")
    }
    return JSONAnswer(value: .object([JSONMember("enrollmentToken", .string(token.secret))]), status: .created)
}

extension Request {
    /// How many elements of a list are wanted at most.
    ///
    /// - Parameters:
    ///   - name: the parameter's name.
    ///   - usual: how many if it is not there.
    ///   - most: how many at most.
    /// - Returns: the number.
    /// - Throws: ``Problem``.
    func limit(_ name: String = "limit", usual: Int = 100, most: Int) throws(Problem) -> Int {
        guard let text = try queryValue(name) else { return usual }
        guard let number = WholeNumber.read(text), (1...most).contains(number) else {
            throw Problem(.badRequest, .badRequest, "\"\(name)\" must be a number from 1 to \(most)")
        }
        return number
    }

    /// A whole number of the query.
    ///
    /// - Parameter name: the parameter's name.
    /// - Returns: the number; `nil` if it is not there.
    /// - Throws: ``Problem``.
    func queryNumber(_ name: String) throws(Problem) -> Int? {
        guard let text = try queryValue(name) else { return nil }
        guard let number = WholeNumber.read(text) else {
            throw Problem(.badRequest, .badRequest, "\"\(name)\" must be a whole number")
        }
        return number
    }

    /// An instant of the query.
    ///
    /// - Parameter name: the parameter's name.
    /// - Returns: the instant; `nil` if it is not there.
    /// - Throws: ``Problem``.
    func queryInstant(_ name: String) throws(Problem) -> Instant? {
        guard let text = try queryValue(name) else { return nil }
        guard let instant = Instant(text) else {
            throw Problem(.badRequest, .badRequest, "\"\(name)\" must be a time like \"2026-11-25T13:45:10Z\"")
        }
        return instant
    }
}
