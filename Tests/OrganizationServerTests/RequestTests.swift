import GRDB
import HTTPTypes
import Logging
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

extension RunningServer {
    typealias TestDevice = (id: String, secret: String)

    /// Asks for a registry on a device.
    fileprivate func ask(
        for registry: String,
        to action: String = "pull",
        because reason: String = "base images",
        on device: TestDevice
    ) async throws -> Answer {
        let body = JSONValue.object([
            JSONMember("registry", .string(registry)), JSONMember("action", .string(action)),
            JSONMember("reason", .string(reason)),
        ]).text()
        return try await ask(.post, "devices/\(device.id)/requests", secret: device.secret, body: body)
    }

    /// What a device is told of requests: how often they have changed, and number and state of each.
    fileprivate func requests(of device: TestDevice) async throws -> (changes: Int, states: [String]) {
        let answer = try await ask(.get, "devices/\(device.id)/requests", secret: device.secret)
        let json = try answer.json()
        guard case .number(let changes)? = json.value(named: "changes") else { return (-1, []) }
        let states = (json.value(named: "requests")?.elements ?? []).map { request in
            "\(request.value(named: "registry")?.text ?? "") \(request.value(named: "state")?.text ?? "")"
        }
        return (Int(changes) ?? -1, states)
    }

    fileprivate func answer(_ number: Int, _ how: String, _ body: String = "{}", by who: String = "owner") async throws
        -> Answer
    {
        try await ask(.post, "requests/\(number)/\(how)", by: who, body: body)
    }

    /// The rules in force, the newest version, and who made it.
    fileprivate func inForce() async throws -> (rules: [String], version: Int, author: String) {
        let document = try #require(try await publisher.served.policy(of: "acme"))
        let version = try #require(try await store.policyVersions(of: "acme", before: nil, atMost: 1).first)
        return (document.policy.rules.map(\.document).map { $0.text() }, version.version, version.author)
    }

    /// The activity about requests, the newest first.
    fileprivate func requestActivity() async throws -> [String] {
        try await store.activity(of: "acme", ActivityFilter(action: "request")).map {
            "\($0.action) \($0.actor) \($0.name) \($0.data.text())"
        }
    }

    fileprivate func end() async throws {
        let failures = try await services.endRequests()
        #expect(failures.isEmpty, "\(failures)")
    }
}

/// Requests for registries: asking, answering, and the end of what was allowed until a date.
struct RequestTests {
    // MARK: - Asking

    @Test
    func `a request is taken once, in the name of who is signed in, with the registry as it is written`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let first = try await server.ask(for: "GHCR.io:443", on: device)
            #expect(first.status == .created, "\(first.text)")
            #expect(try first.text("registry") == "ghcr.io")
            #expect(try first.text("state") == "open")
            #expect(try first.json().value(named: "user") == .null)
            let again = try await server.ask(for: "ghcr.io", because: "I really need it", on: device)
            #expect(again.status == .ok)
            #expect(again.bytes == first.bytes)

            // Who signs in is somebody else than the machine was before, and asks for themselves on each machine.
            let other = try await server.register("desktop")
            try await server.signIn("member", on: device)
            try await server.signIn("editor", on: other)
            let ofMember = try await server.ask(for: "ghcr.io", on: device)
            #expect(ofMember.status == .created)
            #expect(try ofMember.text("user") == "member")
            let inBrowser = try await server.ask(.post, "requests", by: "member", body: #"{"registry":"ghcr.io"}"#)
            #expect(inBrowser.status == .ok)
            #expect(inBrowser.bytes == ofMember.bytes)
            #expect(try await server.ask(for: "ghcr.io", on: other).status == .created)
            // To push is another question.
            #expect(try await server.ask(for: "ghcr.io", to: "push", on: device).status == .created)
            #expect(try await server.requests(of: device).states.count == 3)
            #expect(try await server.requests(of: other).states == ["ghcr.io open"])
            #expect(try await server.requestActivity().first?.hasPrefix("request.make member ghcr.io ") == true)
            #expect(try await server.requestActivity().count == 4)
        }
    }

    private static let hostile = [
        "", " ", "ghcr.io ", "https://ghcr.io", "ghcr.io/acme", "user@ghcr.io", "ghcr.io.", "%67hcr.io", "gh\u{0}cr.io",
        "ghcr.io\r\nX: y", "<script>alert(1)</script>", "'; DROP TABLE registryRequest; --", "\u{202E}oi.rchg",
        "*.ghcr.io", "**", "10.0.0.0/8", "ghcr.io:0", "ghcr.io:65536", "ghcr.io:080", "gĥcr.io", "{{title}}",
        String(repeating: "a.", count: 200) + "io", "1.2.3", "[::1%eth0]:5000",
    ]

    @Test(arguments: hostile)
    func `what is no registry is refused, and nothing is written`(registry: String) async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let answer = try await server.ask(for: registry, on: device)
            #expect([400, 422].contains(answer.status.code), "\(answer.text)")
            #expect(answer.bytes.count < 4000)
            #expect(try await server.requests(of: device).states.isEmpty)
            #expect(try await server.requestActivity().isEmpty)
        }
    }

    @Test(
        arguments: [
            ("a\nb", 400), ("\u{1B}[31m", 400), ("\u{202E}", 400), (String(repeating: "x", count: 501), 400),
            (String(repeating: "ü", count: 500), 201), ("<b>{{form}}</b> ' OR 1=1 --", 201), ("", 201),
        ]
    )
    func `a reason is a line that people can be shown`(reason: String, status: Int) async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            let answer = try await server.ask(for: "ghcr.io", because: reason, on: device)
            #expect(answer.status.code == status, "\(answer.text)")
            if status == 201 { #expect(try answer.text("reason") == reason) }
        }
    }

    @Test(arguments: [#"{"registry":"ghcr.io","action":"login"}"#, #"{"registry":"ghcr.io","state":"allowed"}"#, "{}"])
    func `nobody asks for more than a registry`(body: String) async throws {
        try await RunningServer.with { server in
            let answer = try await server.ask(.post, "requests", by: "member", body: body)
            #expect(answer.status == .badRequest)
        }
    }

    @Test
    func `a device and a person ask so often in a day, and the organization holds so many`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            for number in 1...RegistryRequest.mostInADay {
                #expect(try await server.ask(for: "r\(number).test", on: device).status == .created)
            }
            let refused = try await server.ask(for: "more.test", on: device)
            #expect(refused.status == .tooManyRequests)
            // What is there already is still answered.
            #expect(try await server.ask(for: "r1.test", on: device).status == .ok)
            let other = try await server.register("desktop")
            #expect(try await server.ask(for: "more.test", on: other).status == .created)
            // Another machine is no way around it for a person.
            try await server.signIn("member", on: other)
            for number in 1...RegistryRequest.mostInADay {
                let body = "{\"registry\":\"p\(number).test\"}"
                #expect(try await server.ask(.post, "requests", by: "member", body: body).status == .created)
            }
            #expect(try await server.ask(for: "more.test", on: other).status == .tooManyRequests)
            server.time.pass(86_401)
            #expect(try await server.ask(for: "more2.test", on: device).status == .created)

        }
    }

    @Test(arguments: [("device", 100), ("user", 1000)])
    func `machines where nobody is signed in keep nobody from asking, nor the other way round`(
        column: String,
        most: Int
    ) async throws {
        try await RunningServer.with { server in
            let (device, other) = (try await server.register(), try await server.register("desktop"))
            try await server.signIn("member", on: other)
            try await server.store.database.write { database in
                for number in 1...most {
                    try database.execute(
                        sql: """
                            INSERT INTO registryRequest (organization, number, registry, action, reason, \(column), made)
                            VALUES ('acme', ?, 'x.test', 'pull', '', ?, 0)
                            """,
                        arguments: [number, "d\(number)"]
                    )
                }
            }
            let ofNobody = try await server.ask(for: "ghcr.io", on: device)
            let ofMember = try await server.ask(for: "ghcr.io", on: other)
            let (refused, taken) = column == "device" ? (ofNobody, ofMember) : (ofMember, ofNobody)
            #expect(refused.status == .tooManyRequests)
            #expect(try refused.text("detail")?.hasPrefix("\(most) requests ") == true, "\(refused.text)")
            #expect(taken.status == .created, "\(taken.text)")
        }
    }

    @Test
    func `nobody sees or answers what is not theirs`() async throws {
        try await RunningServer.with { server in
            let (device, other) = (try await server.register(), try await server.register("desktop"))
            try await server.signIn("editor", on: device)
            #expect(try await server.ask(for: "ghcr.io", on: device).status == .created)
            // Another device of the organization, its own secret at the place of the other, and no secret.
            for secret in [other.secret, nil] {
                for method in [HTTPRequest.Method.get, .post] {
                    let answer = try await server.ask(
                        method,
                        "devices/\(device.id)/requests",
                        secret: secret,
                        body: method == .post ? #"{"registry":"quay.io"}"# : nil
                    )
                    #expect(answer.status == .unauthorized)
                }
            }
            #expect(try await server.requests(of: other).states.isEmpty)
            // A device answers nothing, and another organization's owner finds nothing.
            for how in ["allow", "decline", "withdraw"] {
                let path = "requests/1/\(how)"
                #expect(try await server.ask(.post, path, secret: device.secret, body: "{}").status == .unauthorized)
                #expect(try await server.ask(.post, path, by: "stranger", body: "{}").status == .notFound)
                let elsewhere = "/v1/organizations/other/requests/1/\(how)"
                #expect(try await server.ask(.post, elsewhere, by: "stranger", body: "{}").status == .notFound)
            }
            for who in ["auditor", "member"] {
                #expect(try await server.answer(1, "allow", by: who).status == .forbidden)
                #expect(try await server.answer(1, "decline", by: who).status == .forbidden)
            }
            // Only who has asked takes it back, an owner neither.
            #expect(try await server.answer(1, "withdraw", by: "owner").status == .notFound)
            func seen(by who: String, _ query: String = "") async throws -> Int? {
                try await server.ask(.get, "requests\(query)", by: who).json().value(named: "requests")?.elements?.count
            }
            for who in ["owner", "editor", "auditor"] { #expect(try await seen(by: who) == 1) }
            #expect(try await seen(by: "member") == 0)
            #expect(try await seen(by: "owner", "?state=open&registry=ghcr.io") == 1)
            #expect(try await seen(by: "owner", "?state=declined") == 0)
            #expect(try await server.ask(.get, "requests?state=x", by: "owner").status == .badRequest)
            #expect(try await server.answer(1, "withdraw", by: "editor").status == .ok)
            #expect(try await server.requests(of: device).states == ["ghcr.io withdrawn"])
            #expect(try await server.inForce().version == 1)
        }
    }

    // MARK: - Answering

    @Test
    func `who allows makes a version of the policy, and all who asked have the answer`() async throws {
        try await RunningServer.with { server in
            let (device, other) = (try await server.register(), try await server.register("desktop"))
            _ = try await server.ask(for: "ghcr.io", on: device)
            _ = try await server.ask(for: "ghcr.io", on: other)
            _ = try await server.ask(for: "ghcr.io", to: "push", on: other)
            let allowed = try await server.answer(1, "allow", #"{"word":"for base images"}"#, by: "editor")
            #expect(allowed.status == .ok, "\(allowed.text)")
            let json = try allowed.json()
            #expect(json.value(named: "version") == .number("2"))
            #expect(json.value(named: "isNew") == .bool(true))
            #expect(json.value(named: "request")?.value(named: "word")?.text == "for base images")
            #expect(json.value(named: "request")?.value(named: "answeredBy")?.text == "editor")
            let inForce = try await server.inForce()
            #expect(inForce.rules.last == #"{"address":"ghcr.io","allowed":true,"actions":["pull"]}"#)
            #expect(inForce.version == 2 && inForce.author == "editor")
            #expect(try await server.requests(of: device).states == ["ghcr.io allowed"])
            // To push was not allowed.
            #expect(try await server.requests(of: other).states == ["ghcr.io open", "ghcr.io allowed"])
            let activity = try await server.requestActivity().filter { $0.hasPrefix("request.allow editor ghcr.io") }
            #expect(activity.count == 2)
            for how in ["allow", "decline"] {
                let again = try await server.answer(1, how)
                #expect(again.status == .conflict)
                #expect(again.text.contains("allowed already by editor"))
            }
            #expect(try await server.inForce().version == 2)
            // A machine accepts the version.
            var machine = try await server.machine()
            try await server.refresh(&machine)
            let policy = try #require(machine.policyInForce(at: server.time.now)?.policy)
            #expect(policy.verdict(on: AccessRequest(.pull, try RegistryAddress("ghcr.io"))).isAllowed)
            #expect(!policy.verdict(on: AccessRequest(.push, try RegistryAddress("ghcr.io"))).isAllowed)
        }
    }

    @Test
    func `what is allowed can be narrower or wider than what was asked for`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            _ = try await server.ask(for: "a.acme.test", to: "push", on: device)
            let body = #"{"address":"*.acme.test","actions":["pull","push","login"],"repositories":["base/**"]}"#
            #expect(try await server.answer(1, "allow", body).status == .ok)
            let rule = #"{"address":"*.acme.test","allowed":true,"repositories":["base/**"]}"#
            #expect(try await server.inForce().rules.last == rule)
        }
    }

    @Test(
        arguments: [
            (#"{"address":"quay.io"}"#, 422, "does not speak of"), (#"{"address":"**"}"#, 422, "too broad"),
            (#"{"address":"ghcr.io/x"}"#, 422, "bad address"), (#"{"actions":[]}"#, 422, "an empty list"),
            (#"{"actions":["push"]}"#, 422, "which the answer does not"), (#"{"actions":["x"]}"#, 422, "unknown value"),
            (#"{"until":"2026-12-24"}"#, 422, "is a time like"), (#"{"until":"2001-01-01T00:00:00Z"}"#, 422, "to come"),
            (#"{"until":"2999-01-01T00:00:00Z"}"#, 422, "to come"), (#"{"word":"a\nb"}"#, 400, "on one line"),
            (#"{"repositories":["A"]}"#, 422, "bad repository"), (#"{"repositories":[]}"#, 422, "an empty list"),
            (#"{"rule":{}}"#, 422, "rule"),
            (#"{"word":"a","word":"b"}"#, 422, "word"), ("[]", 422, ""), ("", 422, ""),
        ]
    )
    func `an answer that is not in order changes nothing`(body: String, status: Int, words: String) async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            _ = try await server.ask(for: "ghcr.io", on: device)
            let answer = try await server.answer(1, "allow", body)
            #expect(answer.status.code == status, "\(answer.text)")
            #expect(answer.text.contains(words), "\(answer.text)")
            #expect(try await server.inForce().version == 1)
            #expect(try await server.requests(of: device).states == ["ghcr.io open"])
        }
    }

    @Test
    func `a broad pattern has to be meant`() async throws {
        try await RunningServer.with { server in
            _ = try await server.ask(for: "ghcr.io", on: try await server.register())
            let body = #"{"address":"**","acknowledgeBroad":true}"#
            let answer = try await server.answer(1, "allow", body)
            #expect(answer.status == .ok, "\(answer.text)")
            #expect(answer.text.contains("is broad"))
        }
    }

    @Test
    func `a rule that denies is told, for deny wins`() async throws {
        try await RunningServer.with { server in
            let policy = """
                {"version":1,"organization":"acme","registries":[{"address":"docker.io","allowed":true},
                {"address":"*.io","allowed":false}]}
                """
            #expect(try await server.ask(.put, "policy", by: "owner", body: policy, ifMatch: 1).status == .ok)
            let device = try await server.register()
            _ = try await server.ask(for: "ghcr.io", on: device)
            let answer = try await server.answer(1, "allow")
            #expect(answer.status == .conflict)
            #expect(try answer.text("detail") == #"registry 2, "*.io", denies "ghcr.io", and deny wins"#)
            #expect(try await server.inForce().version == 2)
            #expect(try await server.requests(of: device).states == ["ghcr.io open"])
        }
    }

    @Test
    func `what is allowed already is told, and no version made`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            _ = try await server.ask(for: "docker.io", on: device)
            let dated = try await server.answer(1, "allow", #"{"until":"2030-01-01T00:00:00Z"}"#)
            #expect(dated.status == .conflict)
            #expect(dated.text.contains("allowed already"))
            let answer = try await server.answer(1, "allow")
            #expect(answer.status == .ok, "\(answer.text)")
            #expect(try answer.json().value(named: "isNew") == .bool(false))
            #expect(try await server.inForce().version == 1)
            #expect(try await server.requests(of: device).states == ["docker.io allowed"])
            // Some repositories are not all of them.
            let policy = """
                {"version":1,"organization":"acme","registries":[
                {"address":"ghcr.io","allowed":true,"repositories":["acme/**"]}]}
                """
            #expect(try await server.ask(.put, "policy", by: "owner", body: policy, ifMatch: 1).status == .ok)
            _ = try await server.ask(for: "ghcr.io", on: device)
            #expect(try await server.answer(2, "allow").status == .ok)
            #expect(try await server.inForce().rules.count == 2)
        }
    }

    @Test(arguments: [
        ("docker.io", "pull", true), ("docker.io", "push", true), ("index.docker.io", "pull", true),
        // Only to pull; in part; denied; allowed, and denied to a team of who asks.
        ("pull.test", "pull", true), ("pull.test", "push", false), ("part.test", "pull", false),
        ("denied.test", "pull", false), ("team.test", "pull", true), ("theirs.test", "pull", false),
        ("other.test", "pull", false), ("ghcr.io", "pull", false),
    ])
    func `a person does not ask for what is allowed them already`(
        registry: String,
        action: String,
        isAllowed: Bool
    ) async throws {
        try await RunningServer.with { server in
            let policy = """
                {"version":1,"organization":"acme","registries":[{"address":"docker.io","allowed":true},
                {"address":"pull.test","allowed":true,"actions":["pull"]},{"address":"theirs.test","allowed":true},
                {"address":"part.test","allowed":true,"repositories":["acme/**"]},
                {"address":"denied.test","allowed":true},{"address":"denied.test","allowed":false}]}
                """
            #expect(try await server.ask(.put, "policy", by: "owner", body: policy, ifMatch: 1).status == .ok)
            let rules = #"{"address":"team.test","allowed":true},{"address":"theirs.test","allowed":false}"#
            try await Self.give(server, "platform", ["member"], rules, seen: 2)
            try await Self.give(server, "others", ["editor"], #"{"address":"other.test","allowed":true}"#, seen: 3)
            let body = "{\"registry\":\"\(registry)\",\"action\":\"\(action)\"}"
            let answer = try await server.ask(.post, "requests", by: "member", body: body)
            #expect(answer.status == (isAllowed ? .conflict : .created), "\(answer.text)")
            if isAllowed {
                let words = "\"\(try RegistryAddress(registry))\" is allowed already, by "
                #expect(try answer.text("detail")?.hasPrefix(words) == true, "\(answer.text)")
            }
            #expect(try await server.requestActivity().isEmpty == isAllowed)
        }
    }

    @Test(arguments: [
        ("alpine", "docker.io"), ("alpine:3.20", "docker.io"), ("ghcr.io/acme/api:1.2", "ghcr.io"),
    ])
    func `an image is not taken for a registry`(image: String, registry: String) async throws {
        try await RunningServer.with { server in
            let answer = try await server.ask(.post, "requests", by: "member", body: "{\"registry\":\"\(image)\"}")
            #expect(answer.status.code == 422)
            #expect(try answer.text("detail") == "\"\(image)\" is an image; its registry is \"\(registry)\"")
            #expect(try await server.requestActivity().isEmpty)
        }
    }

    /// Gives a team of some people entries of its own.
    private static func give(
        _ server: RunningServer,
        _ team: String,
        _ people: [String],
        _ registries: String,
        seen: Int
    ) async throws {
        let (owner, now) = ("owner", server.time.now)
        try await server.store.makeTeam(team, in: "acme", by: owner, at: now)
        for user in people {
            _ = try await server.store.setMember(user, ofTeam: team, isIn: true, in: "acme", by: owner, at: now)
        }
        let body = #"{"registries":[\#(registries)]}"#
        let saved = try await server.ask(.put, "teams/\(team)/policy", by: owner, body: body, ifMatch: seen)
        #expect(saved.status == .ok, "\(saved.text)")
    }

    @Test
    func `what a team has in addition counts for who is in it, and only for them`() async throws {
        try await RunningServer.with { server in
            let (laptop, desktop) = (try await server.register(), try await server.register("desktop"))
            try await server.signIn("member", on: laptop)
            try await server.signIn("editor", on: desktop)
            try await Self.give(server, "platform", ["member"], #"{"address":"ghcr.io","allowed":true}"#, seen: 1)
            _ = try await server.ask(for: "ghcr.io", on: laptop)
            _ = try await server.ask(for: "ghcr.io", on: desktop)
            let dated = try await server.answer(1, "allow", #"{"until":"2030-01-01T00:00:00Z"}"#)
            #expect(dated.status == .conflict && dated.text.contains("of team"), "\(dated.text)")
            let already = try await server.answer(1, "allow")
            #expect(try already.json().value(named: "isNew") == .bool(false), "\(already.text)")
            #expect(try await server.inForce().version == 2)
            #expect(try await server.requests(of: laptop).states == ["ghcr.io allowed"])
            // Who is not in the team waits on, and is answered with an entry for everybody.
            #expect(try await server.requests(of: desktop).states == ["ghcr.io open"])
            #expect(try await server.answer(2, "allow").status == .ok)
            #expect(try await server.inForce().version == 3)
            #expect(try await server.requests(of: desktop).states == ["ghcr.io allowed"])
        }
    }

    @Test
    func `a team that denies keeps an answer from having no effect`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            try await server.signIn("member", on: device)
            try await Self.give(server, "platform", ["member"], #"{"address":"ghcr.io","allowed":false}"#, seen: 1)
            _ = try await server.ask(for: "ghcr.io", on: device)
            let answer = try await server.answer(1, "allow")
            #expect(answer.status == .conflict)
            #expect(
                try answer.text("detail")
                    == #"registry 1 of team "platform", "ghcr.io", denies "ghcr.io", and deny wins"#
            )
            #expect(try await server.inForce().version == 2)
        }
    }

    @Test
    func `a machine takes back what it or who is signed in there has asked for, and nothing else`() async throws {
        try await RunningServer.with { server in
            let (laptop, desktop) = (try await server.register(), try await server.register("desktop"))
            func withdraw(_ number: Int, on device: RunningServer.TestDevice) async throws -> RunningServer.Answer {
                let path = "devices/\(device.id)/requests/\(number)/withdraw"
                return try await server.ask(.post, path, secret: device.secret, body: "{}")
            }
            _ = try await server.ask(for: "quay.io", on: laptop)
            try await server.signIn("member", on: laptop)
            try await server.signIn("editor", on: desktop)
            _ = try await server.ask(for: "ghcr.io", on: laptop)
            _ = try await server.ask(for: "ghcr.io", on: desktop)
            for (number, device) in [(1, desktop), (2, desktop), (3, laptop), (4, laptop)] {
                #expect(try await withdraw(number, on: device).status == .notFound, "\(number)")
            }
            #expect(try await server.store.openRequestCount(of: "acme") == 3)
            let first = try await withdraw(1, on: laptop)
            #expect(first.status == .ok, "\(first.text)")
            #expect(try first.text("state") == "withdrawn")
            #expect(try await server.requestActivity().first?.hasPrefix("request.withdraw device:\(laptop.id)") == true)
            #expect(try await withdraw(2, on: laptop).status == .ok)
            #expect(try await server.requestActivity().first?.hasPrefix("request.withdraw member ghcr.io") == true)
            #expect(try await withdraw(2, on: laptop).status == .conflict)
            // Others who ask for the same wait on.
            #expect(try await server.requests(of: desktop).states == ["ghcr.io open"])
        }
    }

    @Test
    func `who has seen an older version is told so`() async throws {
        try await RunningServer.with { server in
            let device = try await server.register()
            _ = try await server.ask(for: "ghcr.io", on: device)
            let policy = server.policy(allowing: ["docker.io", "quay.io"])
            #expect(try await server.ask(.put, "policy", by: "owner", body: policy, ifMatch: 1).status == .ok)
            let late = try await server.ask(.post, "requests/1/allow", by: "owner", body: "{}", ifMatch: 1)
            #expect(late.status == .preconditionFailed)
            #expect(try await server.requests(of: device).states == ["ghcr.io open"])
            let now = try await server.ask(.post, "requests/1/allow", by: "owner", body: "{}", ifMatch: 2)
            #expect(now.status == .ok, "\(now.text)")
        }
    }

    @Test
    func `two owners who answer at once make one answer`() async throws {
        try await RunningServer.with { server in
            _ = try await server.ask(for: "ghcr.io", on: try await server.register())
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for index in 0..<8 {
                    group.addTask {
                        try await server.answer(1, index.isMultiple(of: 2) ? "allow" : "decline").status.code
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.filter { $0 == 200 }.count == 1, "\(statuses)")
            #expect(statuses.filter { $0 == 409 }.count == 7, "\(statuses)")
            let activity = try await server.requestActivity()
            #expect(activity.count == 2)
            let isAllowed = activity[0].hasPrefix("request.allow")
            #expect(try await server.inForce().version == (isAllowed ? 2 : 1))
        }
    }

    @Test(arguments: ["decline", "allow"])
    func `an answer wakes the machine that waits for it`(how: String) async throws {
        try await RunningServer.with { server in
            let (device, other) = (try await server.register(), try await server.register("desktop"))
            _ = try await server.ask(for: "ghcr.io", on: device)
            let before = try await server.changes(device)
            let ofOther = try await server.changes(other)
            let count = try await server.requests(of: device).changes
            async let waiting = server.changes(device, after: before.cursor, wait: 60)
            await server.waiters(1)
            #expect(try await server.answer(1, how, #"{"word":"no"}"#).status == .ok)
            #expect(try await waiting.cursor != before.cursor)
            #expect(try await server.requests(of: device).changes > count)
            // What one has asked is nothing to others, unless the policy is another one.
            #expect((try await server.changes(other).cursor == ofOther.cursor) == (how == "decline"))
        }
    }

    // MARK: - The end

    @Test
    func `what was allowed until a time is taken out then`() async throws {
        try await RunningServer.with { server in
            let (device, other) = (try await server.register(), try await server.register("desktop"))
            _ = try await server.ask(for: "ghcr.io", on: device)
            _ = try await server.ask(for: "ghcr.io", on: other)
            let until = server.time.now + 3600
            let answer = try await server.answer(1, "allow", "{\"until\":\"\(until)\"}")
            #expect(answer.status == .ok, "\(answer.text)")
            #expect(try await server.inForce().rules.count == 2)
            server.time.pass(3599)
            try await server.end()
            #expect(try await server.inForce().version == 2)
            // Whoever asks for it meanwhile is told when it ends.
            let person = try await server.ask(.post, "requests", by: "member", body: #"{"registry":"ghcr.io"}"#)
            #expect(person.status == .conflict)
            #expect(try person.text("detail")?.contains(", until \(Dashboard.end(until))") == true, "\(person.text)")
            _ = try await server.ask(for: "ghcr.io", on: device)
            let late = try await server.answer(3, "allow")
            #expect(try late.json().value(named: "request")?.value(named: "until")?.text == until.description)

            server.time.pass(1)
            // Also after the server was away: it looks when it starts.
            let silent = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }
            await RequestEnds(services: server.services, clock: .continuous, logger: silent).look()
            let inForce = try await server.inForce()
            #expect(inForce.rules.count == 1)
            #expect(inForce.version == 3 && inForce.author == "system")
            #expect(try await server.requests(of: device).states == ["ghcr.io ended", "ghcr.io ended"])
            #expect(try await server.requests(of: other).states == ["ghcr.io ended"])
            #expect(try await server.requestActivity().filter { $0.hasPrefix("request.end system") }.count == 3)
            try await server.end()
            #expect(try await server.inForce().version == 3)
            // It can be asked for again.
            #expect(try await server.ask(for: "ghcr.io", on: device).status == .created)
        }
    }

    @Test(
        arguments: [
            #"{"address":"ghcr.io","allowed":true}"#,
            #"{"address":"ghcr.io","allowed":true,"actions":["pull"],"nickname":"x"}"#,
            #"{"address":"quay.io","allowed":true}"#,
        ]
    )
    func `an entry that somebody has changed meanwhile stays, and the activity says so`(rule: String) async throws {
        try await RunningServer.with { server in
            _ = try await server.ask(for: "ghcr.io", on: try await server.register())
            let until = server.time.now + 3600
            #expect(try await server.answer(1, "allow", "{\"until\":\"\(until)\"}").status == .ok)
            let policy = "{\"version\":1,\"organization\":\"acme\",\"registries\":[\(rule)]}"
            #expect(try await server.ask(.put, "policy", by: "owner", body: policy, ifMatch: 2).status == .ok)
            server.time.pass(3600)
            try await server.end()
            let inForce = try await server.inForce()
            #expect(inForce.version == 3 && inForce.rules.count == 1)
            #expect(try await server.requestActivity().first?.contains("the entry was changed") == true)
            try await server.end()
            #expect(try await server.requestActivity().count == 3)
        }
    }

    @Test
    func `what was allowed until a time does not come back with an earlier version`() async throws {
        try await RunningServer.with { server in
            _ = try await server.ask(for: "ghcr.io", on: try await server.register())
            let until = server.time.now + 3600
            #expect(try await server.answer(1, "allow", "{\"until\":\"\(until)\"}").status == .ok)
            let rule = #"{"address":"ghcr.io","allowed":true,"actions":["pull"]}"#
            func save(_ rules: [String], after version: Int) async throws {
                let body = #"{"version":1,"organization":"acme","registries":[\#(rules.joined(separator: ","))]}"#
                let saved = try await server.ask(.put, "policy", by: "owner", body: body, ifMatch: version)
                #expect(saved.status == .ok, "\(saved.text)")
            }
            func rollBack(to version: Int) async throws -> [String] {
                let answer = try await server.ask(
                    .post,
                    "policy/rollback",
                    by: "owner",
                    body: "{\"version\":\(version)}"
                )
                #expect(answer.status == .ok, "\(answer.text)")
                return try await server.inForce().rules
            }
            let quay = #"{"address":"quay.io","allowed":true}"#
            try await save([rule, quay], after: 2)
            // Before its end it comes back, for it will end.
            try await save([quay], after: 3)
            #expect(try await rollBack(to: 3) == [rule, quay])
            server.time.pass(3600)
            try await server.end()
            #expect(try await server.inForce().rules == [quay])
            for version in [2, 3, 5] {
                #expect(try await !rollBack(to: version).contains(rule), "\(version)")
            }
            #expect(try await rollBack(to: 3) == [quay])
            // What an owner has allowed for good since then does.
            let newest = try await server.inForce().version
            try await save([rule], after: newest)
            try await save([quay], after: newest + 1)
            #expect(try await rollBack(to: newest + 1) == [rule])
        }
    }

    @Test
    func `an entry that was changed before its end does not come back as it was`() async throws {
        try await RunningServer.with { server in
            _ = try await server.ask(for: "ghcr.io", on: try await server.register())
            let until = server.time.now + 3600
            #expect(try await server.answer(1, "allow", "{\"until\":\"\(until)\"}").status == .ok)
            let body = server.policy(allowing: ["ghcr.io"])
            #expect(try await server.ask(.put, "policy", by: "owner", body: body, ifMatch: 2).status == .ok)
            server.time.pass(3600)
            try await server.end()
            for (version, rules) in [(2, []), (3, [#"{"address":"ghcr.io","allowed":true}"#])] {
                _ = try await server.ask(.post, "policy/rollback", by: "owner", body: "{\"version\":\(version)}")
                #expect(try await server.inForce().rules.filter { $0.contains("ghcr.io") } == rules)
            }
        }
    }

    @Test
    func `which versions had what has ended is known of earlier requests, too`() async throws {
        let database = try DatabaseQueue()
        let mark = "how long versions had what was allowed until a date"
        let place = try #require(Schema.migrator.migrations.firstIndex(of: mark))
        try Schema.migrator.migrate(database, upTo: Schema.migrator.migrations[place - 1])
        try await database.write { database in
            try database.execute(sql: "INSERT INTO organization (name, created) VALUES ('acme', 1)")
            for (version, time) in [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)] {
                try database.execute(
                    sql: """
                        INSERT INTO policyVersion (organization, version, digest, envelope, author, time, comment, difference)
                        VALUES ('acme', ?, ?, x'', 'x', ?, '', '{}')
                        """,
                    arguments: [version, String(repeating: "0", count: 64), time]
                )
            }
            for (number, state, until, rule) in [
                (1, "ended", 40, "{}"), (2, "ended", 60, "{}"), (3, "allowed", 70, "{}"), (4, "ended", 40, nil),
            ] as [(Int, String, Int, String?)] {
                try database.execute(
                    sql: """
                        INSERT INTO registryRequest (organization, number, registry, action, reason, user, made, state,
                            actor, answered, until, rule, policyVersion)
                        VALUES ('acme', ?, 'ghcr.io', 'pull', '', 'mia', 5, ?, 'x', 20, ?, ?, 2)
                        """,
                    arguments: [number, state, until, rule]
                )
            }
        }
        try Schema.migrator.migrate(database)
        let ends = try await database.read {
            try Int?.fetchAll($0, sql: "SELECT endVersion FROM registryRequest ORDER BY number")
        }
        #expect(ends == [4, 6, nil, nil])
        await #expect(throws: DatabaseError.self) {
            try await database.write { try $0.execute(sql: "UPDATE registryRequest SET word = 'x' WHERE number = 1") }
        }
    }

    @Test
    func `an end takes out also from a policy that denies the server itself`() async throws {
        try await RunningServer.with(serverAddress: "ram.acme.test") { server in
            _ = try await server.ask(for: "ghcr.io", on: try await server.register())
            let until = server.time.now + 3600
            #expect(try await server.answer(1, "allow", "{\"until\":\"\(until)\"}").status == .ok)
            let policy = """
                {"version":1,"organization":"acme","registries":[
                {"address":"ghcr.io","allowed":true,"actions":["pull"]},{"address":"ram.acme.test","allowed":false}]}
                """
            let path = "policy?acknowledgeLockOut=true"
            #expect(try await server.ask(.put, path, by: "owner", body: policy, ifMatch: 2).status == .ok)
            server.time.pass(3600)
            try await server.end()
            #expect(try await server.inForce().rules == [#"{"address":"ram.acme.test","allowed":false}"#])
        }
    }

    @Test(
        arguments: [
            "UPDATE registryRequest SET state = 'open', answered = NULL WHERE number = 1",
            "UPDATE registryRequest SET state = 'allowed' WHERE number = 1",
            "UPDATE registryRequest SET registry = 'docker.io' WHERE number = 2",
            "UPDATE registryRequest SET state = 'allowed' WHERE number = 2",
            "UPDATE registryRequest SET state = 'allowed', answered = 10, until = 9 WHERE number = 2",
            "UPDATE registryRequest SET state = 'declined', answered = 10, rule = '{}' WHERE number = 2",
            "UPDATE registryRequest SET user = NULL, device = NULL WHERE number = 2",
        ]
    )
    func `the schema holds what requests are`(sql: String) async throws {
        try await RunningServer.with { server in
            for registry in ["ghcr.io", "quay.io"] {
                _ = try await server.ask(.post, "requests", by: "member", body: "{\"registry\":\"\(registry)\"}")
            }
            #expect(try await server.answer(1, "decline").status == .ok)
            await #expect(throws: DatabaseError.self) {
                try await server.store.database.write { try $0.execute(sql: sql) }
            }
        }
    }
}
