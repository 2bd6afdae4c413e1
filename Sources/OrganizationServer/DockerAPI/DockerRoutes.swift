import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// What programs ask that were written for Docker's own service: its Terraform provider, scripts of CI systems.
    ///
    /// Source of the paths and documents: docker/terraform-provider-docker, `internal/hubclient/client_organization.go`, and
    /// the reference of Docker Hub's API for audit logs.
    func addDockerRoutes(_ services: Services) {
        let settings = group("v2/orgs/:organization/settings/registry-access-management")
        settings.get { _, context in
            let (_, organization) = try context.authorize(.readPolicy)
            return JSONAnswer(value: try await exported(organization, services))
        }
        settings.put { request, context in
            let (person, organization) = try context.authorize(.editPolicy)
            let body = try await request.body.collect(upTo: DockerRegistryAccess.longestDocument)
            let given: DockerRegistryAccess
            do throws(InvalidDockerDocument) {
                given = try DockerRegistryAccess(json: Array(body.readableBytesView))
            } catch {
                throw Problem.faults("a document of Docker's registry access management", error.faults)
            }
            _ = try await services.publisher.publish(in: organization, by: person.name) { content in
                PolicyContent(policy: given.policy(after: content.policy, teams: content.teams), teams: content.teams)
            }
            return JSONAnswer(value: try await exported(organization, services))
        }
        // What a machine of CI asks that wants to know what is allowed.
        settings.get("policy") { _, context in
            let (_, organization) = try context.authorize(.readPolicy)
            let document = try await exported(organization, services)
            let custom = (document.value(named: "custom_registries")?.elements ?? []).filter(isAllowed)
                .compactMap { $0.value(named: "address")?.text }
            let standard = (document.value(named: "standard_registries")?.elements ?? []).filter(isAllowed)
                .map { _ in "docker.io" }
            return JSONAnswer(
                value: .object([
                    JSONMember("enabled", document.value(named: "enabled") ?? .bool(true)),
                    JSONMember(
                        "allowed",
                        .array((standard + custom).map { .object([JSONMember("value", .string($0))]) })
                    ),
                ])
            )
        }
        get("v2/auditlogs/:organization") { request, context in try await auditLogs(request, context, services) }
        get("v2/auditlogs/:organization/actions") { _, context in
            _ = try context.authorize(.readActivity)
            return JSONAnswer(value: actions)
        }
    }
}

private func exported(_ organization: String, _ services: Services) async throws -> JSONValue {
    guard let policy = try await services.publisher.served.policy(of: organization) else {
        throw Problem(.notFound, .notFound, "\"\(organization)\" has no policy yet")
    }
    return DockerRegistryAccess.export(policy.policy).document
}

private func isAllowed(_ registry: JSONValue) -> Bool { registry.value(named: "allowed") == .bool(true) }

// MARK: - Audit logs

/// What stands before an action in a line of the log.
private let category = "org"

private func auditLogs(_ request: Request, _ context: ServerContext, _ services: Services) async throws -> JSONAnswer {
    let (_, organization) = try context.authorize(.readActivity)
    let size = try request.limit("page_size", usual: 25, most: 100)
    let page = try request.limit("page", usual: 1, most: 10_000)
    let action = try request.queryValue("action").map { action in
        action.hasPrefix("\(category).") ? String(action.dropFirst(category.utf8.count + 1)) : action
    }
    let filter = ActivityFilter(
        action: action,
        actor: try request.queryValue("actor"),
        name: try request.queryValue("name"),
        from: try time("from", request),
        to: try time("to", request),
        limit: size,
        offset: (page - 1) * size
    )
    let lines = try await services.store.activity(of: organization, filter)
    let logs = lines.map { line in
        JSONValue.object([
            JSONMember("account", .string(organization)),
            JSONMember("action", .string("\(category).\(line.action)")),
            JSONMember("name", .string(line.name)),
            JSONMember("actor", .string(line.actor)),
            JSONMember("data", .object((line.data.members ?? []).map { JSONMember($0.name, asText($0.value)) })),
            JSONMember("timestamp", .string(line.time.description)),
            JSONMember("action_description", .string(line.description)),
        ])
    }
    return JSONAnswer(value: .object([JSONMember("logs", .array(logs))]))
}

/// The data of a line are texts in Docker's log.
private func asText(_ value: JSONValue) -> JSONValue {
    switch value {
    case .string: value
    case .number(let digits): .string(digits)
    case .bool(let bool): .string(bool ? "true" : "false")
    case .null: .string("")
    case .array, .object: .string(value.text())
    }
}

/// A time of the query, as RFC 3339, section 5.6 writes it: Docker's programs send fractions of a second, and offsets.
private func time(_ name: String, _ request: Request) throws(Problem) -> Instant? {
    guard let text = try request.queryValue(name) else { return nil }
    guard let time = text.wholeMatch(of: #/([0-9T:-]{19})(?:\.[0-9]{1,9})?(?:Z|([+-])([0-9]{2}):([0-9]{2}))/#)?.output,
        let local = Instant("\(time.1)Z"), let hours = Int64(time.3 ?? "0"), let minutes = Int64(time.4 ?? "0"),
        hours < 24, minutes < 60
    else {
        throw Problem(
            .badRequest,
            .badRequest,
            "\"\(name)\" must be a time like \"2026-11-25T13:45:10Z\" or \"2026-11-25T14:45:10.000+01:00\""
        )
    }
    let offset = (hours * 60 + minutes) * 60
    return local + (time.2 == "-" ? offset : -offset)
}

extension KeptActivity {
    /// The line in words: the action's label, and what it was done to.
    fileprivate var description: String {
        let label =
            (Activity.PolicyAction(rawValue: action)?.label)
            ?? action.replacing("_", with: " ").replacing(".", with: " ")
        return name.isEmpty ? label : "\(label): \(name)"
    }
}

extension Activity.PolicyAction {
    /// What Docker Hub calls it, and we where it has no name for it.
    fileprivate var label: String {
        switch self {
        case .enabled: "Registry Access Management enabled"
        case .disabled: "Registry Access Management disabled"
        case .registryAdded: "Registry Access Management registry added"
        case .registryUpdated: "Registry Access Management registry updated"
        case .registryRemoved: "Registry Access Management registry removed"
        case .settingsUpdated: "Registry Access Management settings updated"
        case .policySaved: "Registry Access Management policy saved"
        case .policyRolledBack: "Registry Access Management policy rolled back"
        case .rootUpdated: "Root document updated"
        case .keyCreated: "Signing key created"
        case .deviceAdded: "Device registered"
        case .deviceRemoved: "Device removed"
        case .devicesForgotten: "Devices never seen again forgotten"
        case .devicesFull: "Limit of devices reached"
        case .enrollmentTokenCreated: "Enrollment token created"
        case .enrollmentTokenDeleted: "Enrollment token deleted"
        case .organizationSettingsUpdated: "Organization settings updated"
        }
    }
}

/// Every action that the log may have.
private let actions: JSONValue = {
    let policies = Activity.PolicyAction.allCases.map { ($0.rawValue, $0.label) }
    let accounts = Activity.Action.allCases.map { action in
        (action.rawValue, action.rawValue.replacing("_", with: " ").replacing(".", with: " "))
    }
    let list = (policies + accounts).map { name, label in
        JSONValue.object([
            JSONMember("name", .string(name)), JSONMember("description", .string(label)),
            JSONMember("label", .string(label)),
        ])
    }
    return .object([
        JSONMember(
            "actions",
            .object([
                JSONMember(
                    category,
                    .object([JSONMember("actions", .array(list)), JSONMember("label", .string("Organization"))])
                )
            ])
        )
    ])
}()
