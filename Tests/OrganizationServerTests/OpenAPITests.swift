import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// The server's description of itself, as far as the tests go by it.
struct OpenAPI: Sendable {
    struct Fault: Error, CustomStringConvertible {
        let description: String
    }

    let document: JSONValue

    init() throws {
        let limits = StrictJSON.Limits(bytes: 1 << 20, depth: 64, foldsKeys: false)
        document = try StrictJSON.parse(PackageResources.OpenAPI_json, limits: limits)
    }

    private static let methods = ["get", "put", "post", "delete", "patch"]

    /// Every operation by `METHOD /path`.
    var operations: [String: JSONValue] {
        var operations: [String: JSONValue] = [:]
        for path in document.value(named: "paths")?.members ?? [] {
            for member in path.value.members ?? [] where Self.methods.contains(member.name) {
                operations["\(member.name.uppercased()) \(path.name)"] = member.value
            }
        }
        return operations
    }

    /// What a `$ref` stands for.
    func resolved(_ value: JSONValue) throws -> JSONValue {
        guard let reference = value.value(named: "$ref")?.text else { return value }
        guard reference.hasPrefix("#/") else { throw Fault(description: "\(reference) is elsewhere") }
        var target = document
        for part in reference.dropFirst(2).split(separator: "/") {
            guard let next = target.value(named: String(part)) else { throw Fault(description: "no \(reference)") }
            target = next
        }
        return try resolved(target)
    }

    /// Holds an answer against what is said of its route.
    func check(_ route: String, status: Int, mediaType: String?, _ body: String) throws {
        guard let operation = operations[route], let responses = operation.value(named: "responses") else {
            throw Fault(description: "\(route) is not described")
        }
        let special = responses.value(named: "\(status)")
        guard let response = special ?? (status >= 400 ? responses.value(named: "default") : nil) else {
            throw Fault(description: "\(route): \(status) is not described")
        }
        // What may be refused in any route need not be said at each; what is this route's own must be.
        guard special != nil || [429, 500, 503].contains(status) else {
            throw Fault(description: "\(route): \(status) is not described: \(body)")
        }
        guard let content = try resolved(response).value(named: "content") else {
            guard body.isEmpty else { throw Fault(description: "\(route) \(status): there is a body") }
            return
        }
        let type = String((mediaType ?? "").prefix { $0 != ";" })
        guard let schema = content.value(named: type)?.value(named: "schema") else {
            throw Fault(description: "\(route) \(status): \(type) is not described")
        }
        guard type == "application/json" || type.hasSuffix("+json") else { return }
        let limits = StrictJSON.Limits(bytes: 16 << 20, depth: 64, foldsKeys: false)
        let faults = try faults(of: StrictJSON.parse(Array(body.utf8), limits: limits), schema, "")
        guard faults.isEmpty else { throw Fault(description: "\(route) \(status): \(faults): \(body)") }
    }

    // MARK: - JSON Schema

    private static let ignored: Set<String> = ["description", "maxItems"]

    /// Where a value is not what a schema says: the part of JSON Schema 2020-12 that the description uses, and any other
    /// keyword is a fault of the description.
    func faults(of value: JSONValue, _ schema: JSONValue, _ place: String) throws -> [String] {
        let schema = try resolved(schema)
        guard case .object(let keywords) = schema else { throw Fault(description: "\(place): no schema") }
        var faults: [String] = []
        for keyword in keywords where !Self.ignored.contains(keyword.name) {
            switch keyword.name {
            case "type":
                let types = keyword.value.text.map { [$0] } ?? keyword.value.elements?.compactMap(\.text) ?? []
                if !types.contains(where: { Self.isOf($0, value) }) { faults.append("\(place): no \(types)") }
            case "enum":
                if !(keyword.value.elements ?? []).contains(value) { faults.append("\(place): \(value.text())") }
            case "pattern":
                guard let pattern = keyword.value.text else { throw Fault(description: "\(place): no pattern") }
                if let text = value.text, try Regex(pattern).firstMatch(in: text) == nil {
                    faults.append("\(place): \(text)")
                }
            case "minimum", "maximum":
                guard case .number(let digits) = value, case .number(let bound) = keyword.value,
                    let number = Double(digits), let bound = Double(bound)
                else { continue }
                if keyword.name == "minimum" ? number < bound : number > bound { faults.append("\(place): \(digits)") }
            case "required":
                guard let members = value.members else { continue }
                for name in keyword.value.elements?.compactMap(\.text) ?? []
                where !members.contains(where: { $0.name == name }) { faults.append("\(place): \(name) is missing") }
            case "properties":
                for member in value.members ?? [] {
                    guard let inner = keyword.value.value(named: member.name) else { continue }
                    faults += try self.faults(of: member.value, inner, "\(place)/\(member.name)")
                }
            case "additionalProperties":
                let known = Set((schema.value(named: "properties")?.members ?? []).map(\.name))
                for member in value.members ?? [] where !known.contains(member.name) {
                    if keyword.value == .bool(false) {
                        faults.append("\(place): \(member.name) is not described")
                    } else {
                        faults += try self.faults(of: member.value, keyword.value, "\(place)/\(member.name)")
                    }
                }
            case "items":
                for (index, element) in (value.elements ?? []).enumerated() {
                    faults += try self.faults(of: element, keyword.value, "\(place)/\(index)")
                }
            case "allOf":
                for inner in keyword.value.elements ?? [] { faults += try self.faults(of: value, inner, place) }
            case "oneOf":
                let fitting = try (keyword.value.elements ?? []).filter { inner in
                    try self.faults(of: value, inner, place).isEmpty
                }
                if fitting.count != 1 { faults.append("\(place): fits \(fitting.count) of oneOf") }
            default: throw Fault(description: "\(place): what is \"\(keyword.name)\"?")
            }
        }
        return faults
    }

    private static func isOf(_ type: String, _ value: JSONValue) -> Bool {
        switch (type, value) {
        case ("object", .object), ("array", .array), ("string", .string), ("boolean", .bool), ("null", .null): true
        case ("integer", .number(let digits)): Int(digits) != nil
        default: false
        }
    }
}

struct OpenAPITests {
    @Test
    func `every route is described, and nothing is described that is no route`() throws {
        let described = Set(try OpenAPI().operations.keys)
        let routes = Set(RouteRow.rows.map(\.route))
        // Pages for browsers say themselves what they are.
        let forPrograms = routes.filter { route in
            ["/v1/", "/v2", "/healthz", "/readyz", "/metrics"].contains { route.contains(" \($0)") }
        }
        #expect(forPrograms.subtracting(described) == [], "these are not described")
        #expect(described.subtracting(routes) == [], "these are no routes")
    }

    @Test
    func `operations say what they need, as the table of routes has it`() throws {
        let api = try OpenAPI()
        var ids: Set<String> = []
        for row in RouteRow.rows {
            guard let operation = api.operations[row.route] else { continue }
            #expect(ids.insert(try #require(operation.value(named: "operationId")?.text)).inserted)
            #expect(operation.value(named: "summary")?.text?.isEmpty == false)
            let security = (operation.value(named: "security")?.elements ?? []).map { $0.text() }
            switch row.access {
            case .open where row.route == "GET /v2": #expect(security == [#"{"basic":[]}"#])
            case .open: #expect(security == [], "\(row.route)")
            case .person(let withToken):
                #expect(security.contains(#"{"session":[]}"#), "\(row.route)")
                #expect(security.contains { $0.contains("accessToken") } == withToken, "\(row.route)")
            case .members(_, let scope, let other):
                let scopes = [scope, other].compactMap(\.self).map { "{\"accessToken\":[\"\($0.rawValue)\"]}" }
                #expect(security == [#"{"session":[]}"#] + scopes, "\(row.route)")
            case .server(_, let scope):
                #expect(security.contains(#"{"session":[]}"#), "\(row.route)")
                #expect(security.contains("{\"accessToken\":[\"\(scope.rawValue)\"]}"), "\(row.route)")
            case .signedIn: #expect(security == [#"{"session":[]}"#], "\(row.route)")
            case .device: #expect(security == [#"{"deviceSecret":[]}"#], "\(row.route)")
            case .page: Issue.record("\(row.route) is a page")
            }
            // What is in the path is described, and nothing else.
            let path = String(row.route.split(separator: " ")[1])
            let item = try #require(api.document.value(named: "paths")?.value(named: path))
            let parameters = try (item.value(named: "parameters")?.elements ?? []).map { parameter in
                try api.resolved(parameter).value(named: "name")?.text ?? ""
            }
            #expect(parameters == path.matches(of: #/\{([a-z]+)\}/#).map { String($0.1) }, "\(row.route)")
        }
    }

    @Test
    func `the closed sets of the description are those of the program`() throws {
        let api = try OpenAPI()
        func values(_ schema: String, _ property: String? = nil) throws -> Set<String> {
            let schemas = try #require(api.document.value(named: "components")?.value(named: "schemas"))
            var found = try #require(schemas.value(named: schema))
            if let property { found = try #require(found.value(named: "properties")?.value(named: property)) }
            return Set(found.value(named: "enum")?.elements?.compactMap(\.text) ?? [])
        }
        #expect(try values("Problem", "code") == Set(Problem.Code.allCases.map(\.rawValue)))
        #expect(try values("GrantRefusal", "error") == Set(GrantRefusal.Code.allCases.map(\.rawValue)))
        #expect(try values("Scope") == Set(Permission.allCases.map(\.rawValue)))
        #expect(try values("Role") == Set(Role.allCases.map(\.rawValue)))
        #expect(try values("Device", "state") == Set(Device.State.allCases.map(\.rawValue)))
    }

    @Test
    func `every reference leads somewhere, and everything is referred to`() throws {
        let api = try OpenAPI()
        var references: Set<String> = []
        func look(_ value: JSONValue) throws {
            if let reference = value.value(named: "$ref")?.text {
                references.insert(reference)
                _ = try api.resolved(value)
            }
            for member in value.members ?? [] { try look(member.value) }
            for element in value.elements ?? [] { try look(element) }
        }
        try look(api.document)
        for kind in api.document.value(named: "components")?.members ?? [] where kind.name != "securitySchemes" {
            for part in kind.value.members ?? [] {
                #expect(references.contains("#/components/\(kind.name)/\(part.name)"), "\(part.name)")
            }
        }
    }

    @Test
    func `the description is served to everybody`() async throws {
        try await AccountsServer.with { server in
            let answer = try await server.send(.get, "/v1/openapi.json")
            #expect(answer.status == 200)
            #expect(answer.headers[.contentType] == "application/json")
            #expect(Array(answer.text.utf8) == PackageResources.OpenAPI_json)
        }
    }

    @Test(arguments: [
        (
            #"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}"#,
            [
                #"{"a":1}"#
            ], [#"{}"#, #"{"a":"1"}"#, #"{"a":1.5}"#, #"{"a":1,"b":2}"#, "[]", "null"]
        ),
        (#"{"type":["string","null"],"pattern":"^a+$"}"#, [#""aa""#, "null"], [#""b""#, "1"]),
        (#"{"type":"array","items":{"enum":["x","y"]}}"#, ["[]", #"["x","y"]"#], [#"["z"]"#, "{}"]),
        (#"{"type":"integer","minimum":1,"maximum":3}"#, ["1", "3"], ["0", "4", "true"]),
        (#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#, [#""a""#, "null"], ["1"]),
        (#"{"type":"object","additionalProperties":{"type":"string"}}"#, [#"{"a":"b"}"#], [#"{"a":1}"#]),
    ])
    func `a value is held against its schema`(schema: String, good: [String], bad: [String]) throws {
        let api = try OpenAPI()
        func faults(_ text: String) throws -> [String] {
            try api.faults(of: StrictJSON.parse(Array(text.utf8)), StrictJSON.parse(Array(schema.utf8)), "")
        }
        for text in good { #expect(try faults(text) == [], "\(text)") }
        for text in bad { #expect(try !faults(text).isEmpty, "\(text)") }
        #expect(throws: OpenAPI.Fault.self) {
            try api.faults(of: .null, .object([JSONMember("unknown", .null)]), "")
        }
    }

    /// Requests that do something, in an order in which they can; `{x}` stands for what an earlier answer gave.
    private static let requests: [(route: String, body: String?, ifMatch: String?, query: String, status: Int)] = {
        let policy =
            #"{"version":1,"organization":"acme","enabled":true,"mode":"enforce","contact":"p@acme.test","#
            + #""registries":[{"address":"docker.io","allowed":true},{"address":"ghcr.io","nickname":"GitHub","#
            + #""allowed":true,"actions":["pull"],"repositories":["acme/**"],"supportHosts":["blobs.acme.test"]}]}"#
        let docker =
            #"{"enabled":true,"standard_registries":[],"custom_registries":[{"address":"quay.io","#
            + #""friendly_name":"Quay","allowed":true}]}"#
        let own = "/v1/organizations/{organization}"
        let hub = "/v2/orgs/{organization}/settings/registry-access-management"
        return [
            ("PUT \(own)/policy", policy, "1", "?comment=first", 200),
            ("GET \(own)/policy", nil, nil, "", 200), ("GET \(own)/policy", nil, nil, "?format=docker", 200),
            ("PUT \(own)/policy", policy, "1", "", 412), ("PUT \(own)/policy", policy, nil, "", 428),
            ("PUT \(own)/policy", #"{"registries":[{"address":"!"},{"address":"?"}]}"#, "2", "", 422),
            ("PUT \(own)/policy/draft", policy, "0", "", 200), ("GET \(own)/policy/draft", nil, nil, "", 200),
            ("DELETE \(own)/policy/draft", nil, "1", "", 204), ("GET \(own)/policy/draft", nil, nil, "", 404),
            ("PUT \(own)/teams/{team}/policy", #"{"registries":[{"address":"quay.io","allowed":true}]}"#, "2", "", 200),
            ("GET \(own)/teams/{team}/policy", nil, nil, "", 200),
            ("PUT \(own)/policy/draft", policy.replacing("\"pull\"", with: "\"push\""), "2", "", 200),
            ("POST \(own)/policy/draft/save", #"{"draft":3,"policy":3,"comment":"two"}"#, nil, "", 200),
            ("POST \(own)/policy/rollback", #"{"version":1}"#, "4", "", 200),
            ("GET \(own)/policy/versions", nil, nil, "?limit=2", 200),
            ("GET \(own)/policy/versions/{version}", nil, nil, "", 200),
            ("PUT \(hub)", docker, nil, "", 200), ("GET \(hub)", nil, nil, "", 200),
            ("GET \(hub)/policy", nil, nil, "", 200),
            ("POST \(own)/enrollment-tokens", #"{"name":"office","days":3}"#, nil, "", 201),
            ("GET \(own)/enrollment-tokens", nil, nil, "", 200),
            ("POST \(own)/invitations", #"{"role":"member","email":"new@acme.test"}"#, nil, "", 201),
            ("GET \(own)/invitations", nil, nil, "", 200),
            ("POST \(own)/keys", #"{"kind":"ticket"}"#, nil, "", 201), ("GET \(own)/keys", nil, nil, "", 200),
            ("PATCH \(own)/settings", #"{"contact":null,"reportDays":30,"maximumDevices":10}"#, nil, "", 200),
            ("PATCH \(own)/settings", #"{"reportDays":0}"#, nil, "", 422),
            ("POST \(own)/devices", #"{"name":"another"}"#, nil, "", 201), ("GET \(own)/devices", nil, nil, "", 200),
            ("POST \(own)/members/{user}/password-reset", nil, nil, "", 201),
            ("GET \(own)/sessions", nil, nil, "?user=member", 200), ("GET \(own)/members", nil, nil, "", 200),
            ("GET \(own)/teams", nil, nil, "", 200), ("GET \(own)/tokens", nil, nil, "", 200),
            ("GET /v1/me", nil, nil, "", 200), ("GET \(own)/reports", nil, nil, "", 200),
            ("GET \(own)/activity", nil, nil, "?limit=500", 200), ("GET \(own)/activity", nil, nil, "?format=csv", 200),
            ("GET \(own)/activity", nil, nil, "?format=jsonl", 200), ("GET \(own)/activity", nil, nil, "?limit=0", 400),
            ("GET /v2/auditlogs/{organization}", nil, nil, "?page_size=100", 200),
            ("GET /v2/auditlogs/{organization}/actions", nil, nil, "", 200),
            ("DELETE \(own)/members/{user}", nil, nil, "", 204), ("DELETE \(own)/members/{user}", nil, nil, "", 404),
            ("DELETE \(own)/sessions", nil, nil, "", 200),
        ]
    }()

    @Test
    func `what the server answers is what the description says`() async throws {
        try await withTemporaryDirectory { directory in
            try await AccountsServer.with(keys: "\(directory)/keys") { server in
                let api = try OpenAPI()
                let row = RouteRow("POST /v1/organizations/{organization}/devices/{device}/reports", .device)
                let tokens = try await RouteTests.prepare(server, row)
                let report =
                    #"{"batch":"b0000001","status":{"policyVersion":1,"engineVersion":"29.0.0","#
                    + #""productVersion":"0.1.0","enforcementPoints":["egress-proxy"],"findings":[{"check":"a"}]},"#
                    + #""refusals":[{"id":"a","time":"2026-11-25T13:45:10Z","verdict":"deny","point":"egress-proxy"}]}"#
                let told = try await server.send(.post, row.path, as: tokens[.device] ?? nil, body: report)
                #expect(told.status == 204, "\(told)")
                let used = #"{"uses":[{"day":"2026-11-25","registry":"ghcr.io","action":"pull"}]}"#
                let uses = RouteRow("POST /v1/organizations/{organization}/devices/{device}/uses", .device)
                let heard = try await server.send(.post, uses.path, as: tokens[.device] ?? nil, body: used)
                #expect(heard.status == 204, "\(heard)")
                let schema = try #require(
                    api.operations[uses.route]?.value(named: "requestBody")?.value(named: "content")?
                        .value(named: "application/json")?.value(named: "schema")
                )
                #expect(try api.faults(of: StrictJSON.parse(Array(used.utf8)), schema, uses.route) == [])
                for request in Self.requests {
                    let row = RouteRow(request.route, .open)
                    var headers = HTTPFields()
                    if let version = request.ifMatch { headers[.ifMatch] = "\"\(version)\"" }
                    let answer = try await server.send(
                        try #require(row.method),
                        row.path + request.query,
                        as: tokens[.owner] ?? nil,
                        headers: headers,
                        body: request.body
                    )
                    #expect(answer.status == request.status, "\(request) \(answer)")
                    try api.check(
                        request.route,
                        status: answer.status,
                        mediaType: answer.headers[.contentType],
                        answer.text
                    )
                    // What is sent is described, too, where it is in order.
                    guard let body = request.body, (200...299).contains(request.status),
                        let schema = api.operations[request.route]?.value(named: "requestBody")?
                            .value(named: "content")?.value(named: "application/json")?.value(named: "schema"),
                        schema.value(named: "oneOf") == nil
                    else { continue }
                    #expect(try api.faults(of: StrictJSON.parse(Array(body.utf8)), schema, request.route) == [])
                }
            }
        }
    }

    @Test
    func `sign-in answers as the description says`() async throws {
        try await withTemporaryDirectory { directory in
            try await AccountsServer.with(keys: "\(directory)/keys") { server in
                let api = try OpenAPI()
                try await server.make()
                let secret = try await server.makeDevice().secret
                let person = ["grant_type": "password", "username": "alice", "password": AccountsServer.password]
                let device = [
                    "organization": "acme", "device": "device0000000000000000001a", "device_secret": secret,
                ]
                let forms: [(String, [String: String], Int)] = [
                    ("/v1/token", person, 200), ("/v1/token", person.merging(device) { $1 }, 200),
                    ("/v1/token", [:], 400), ("/v1/token", ["grant_type": "refresh_token", "refresh_token": "x"], 400),
                    ("/v1/token", person.merging(device) { $1 }.merging(["device_secret": "x"]) { $1 }, 401),
                    ("/v1/token/revoke", ["token": "x"], 200), ("/v1/token/revoke", [:], 400),
                    (
                        "/v1/device_authorization",
                        ["client_id": "docker-ram", "organization": "acme", "device_name": "laptop"], 200
                    ), ("/v1/device_authorization", ["client_id": "other"], 400), ("/activate", [:], 403),
                ]
                for (path, form, status) in forms {
                    let answer = try await server.form(path, form)
                    #expect(answer.status == status, "\(path) \(answer)")
                    let type = answer.headers[.contentType]
                    try api.check("POST \(path)", status: answer.status, mediaType: type, answer.text)
                }
                for password in [AccountsServer.password, "x"] {
                    for (path, name, field) in [
                        ("/v2/users/login", "username", "password"), ("/v2/auth/token", "identifier", "secret"),
                    ] {
                        let body = "{\"\(name)\":\"alice\",\"\(field)\":\"\(password)\"}"
                        let answer = try await server.send(.post, path, body: body)
                        let type = answer.headers[.contentType]
                        #expect(answer.status == (password == "x" ? 401 : 200))
                        try api.check("POST \(path)", status: answer.status, mediaType: type, answer.text)
                    }
                    let basic = StrictBase64.encode(Array("alice:\(password)".utf8))
                    let answer = try await server.send(.get, "/v2", headers: [.authorization: "Basic \(basic)"])
                    let type = answer.headers[.contentType]
                    try api.check("GET /v2", status: answer.status, mediaType: type, answer.text)
                }
            }
        }
    }
}
