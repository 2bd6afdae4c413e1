import Foundation
import LocalInstallation
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

@testable import CommandLinePlugin

/// `docker ram admin` against a stand-in for the server: what is asked, what is kept, and what people are told.
struct AdminTests {
    private typealias Reply = ServerStandIn.Reply

    private static let policy = """
        {"version":7,"organization":"acme","contact":"it@acme.test",\
        "registries":[{"address":"docker.io","nickname":"Hub","allowed":true},\
        {"address":"ghcr.io","allowed":true,"actions":["pull"]}]}
        """
    private static let token = "ramp_secret"
    private static let saved = #"{"version":8,"isNew":true,"warnings":[]}"#

    /// What the server answers where nothing else is said.
    private static func answer(_ request: ServerStandIn.Request) -> Reply {
        let path = String(request.target.prefix { $0 != "?" })
        switch (request.method, path.replacing("/v1/organizations/acme/", with: "")) {
        case ("GET", "policy"): return Reply(body: policy, version: 7)
        case ("GET", "policy/versions"):
            let counts = #"{"settings":0,"removed":0,"added":0,"changed":0}"#
            let team = #"{"settings":0,"removed":0,"added":2,"changed":1}"#
            return Reply(
                body: #"{"versions":[{"version":7,"counts":\#(counts),"teamCounts":{"backend":\#(team)}}],"#
                    + #""next":null}"#
            )
        case ("GET", "policy/versions/6"):
            let older = policy.replacing("\"version\":7", with: "\"version\":6").replacing("docker.io", with: "quay.io")
            let rules = #"[{"address":"quay.io","allowed":true}]"#
            return Reply(
                body: #"{"version":6,"policy":\#(older),"teams":{"backend":\#(rules),"web":\#(rules)},"#
                    + #""renamedTeams":[{"version":7,"from":"web","to":"site"},{"version":8,"from":"site","to":"x"}]}"#
            )
        case ("GET", "policy/versions/7"):
            let rules = #"[{"address":"quay.io","allowed":true}]"#
            let others =
                #"[{"address":"quay.io","allowed":true,"actions":["pull"]},{"address":"r.test","allowed":true}]"#
            return Reply(
                body: #"{"version":7,"policy":\#(policy),"teams":{"backend":\#(others),"site":\#(rules)},"#
                    + #""renamedTeams":[{"version":8,"from":"site","to":"x"}]}"#
            )
        case ("GET", "teams/backend/policy"):
            return Reply(body: #"{"team":"backend","registries":[{"address":"quay.io","allowed":true}]}"#, version: 7)
        case ("PUT", _), ("POST", "policy/rollback"): return Reply(body: saved, version: 8)
        case ("POST", "tokens"):
            return Reply(status: 201, body: #"{"token":"ramp_new","expires":"2027-01-01T00:00:00Z"}"#)
        case ("POST", "invitations"):
            return Reply(status: 201, body: #"{"invitation":"rami_new","expires":"2027-01-01T00:00:00Z"}"#)
        case ("POST", "members/bob/password-reset"):
            let link = "https://ram.acme.test/new-password?link=ramn_new"
            return Reply(status: 201, body: #"{"link":"\#(link)","name":"bob","expires":"2027-01-01T00:00:00Z"}"#)
        case ("GET", "/v1/me"):
            return Reply(body: #"{"name":"alice","organizations":[{"name":"acme","role":"owner"}],"scopes":null}"#)
        case ("DELETE", let path) where path.hasPrefix("sessions"): return Reply(body: #"{"ended":2}"#)
        case ("DELETE", _), ("PATCH", _): return Reply(status: 204)
        case ("GET", let list): return Reply(body: #"{"\#(list)":[],"next":null}"#)
        default: return Reply(status: 201, body: "{}")
        }
    }

    private static func with(
        _ answer: @escaping @Sendable (ServerStandIn.Request) -> ServerStandIn.Reply = answer,
        _ body: (Machine, ServerStandIn) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let machine = Machine(directory: directory)
            for path in [machine.config, machine.programs, machine.root] {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            }
            try machine.installHelper()
            try await ServerStandIn.with(answer) { try await body(machine, $0) }
        }
    }

    /// Runs a command on a thread of its own: it waits for what tasks do.
    private static func run(
        _ machine: Machine,
        _ words: [String],
        extra: [String: String] = [:],
        input: String? = nil
    ) async -> Machine.Outcome {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(returning: machine.run(["admin"] + words, extra: extra, input: input))
            }
        }
    }

    private static func environment(_ server: ServerStandIn) -> [String: String] {
        ["DOCKER_RAM_SERVER": server.url, "DOCKER_RAM_ORGANIZATION": "acme", "DOCKER_RAM_TOKEN": token]
    }

    // MARK: - The wire

    @Test(
        "each command asks for what it says, once",
        arguments: [
            ("policy history --limit 5", ["GET policy/versions?limit=5"], ""),
            (
                "policy diff 6",
                ["GET policy/versions?limit=1", "GET policy/versions/7", "GET policy/versions/6"], ""
            ),
            ("policy show --docker", ["GET policy"], ""),
            (
                "request allow 3 --acknowledge-lock-out", ["POST requests/3/allow"],
                #"{"acknowledgeLockOut":true}"#
            ),
            (
                "policy rollback 6 --message back", ["GET policy", "POST policy/rollback"],
                #"{"version":6,"comment":"back"}"#
            ),
            ("member list", ["GET members"], ""),
            ("member role bob editor", ["PATCH members/bob"], #"{"role":"editor"}"#),
            ("member remove bob", ["DELETE members/bob"], ""),
            ("member reset-password bob", ["POST members/bob/password-reset"], ""),
            ("organization list", ["GET /v1/me"], ""), ("organization show", ["GET settings"], ""),
            (
                "organization set --contact it@a.test --refresh-seconds 60 --validity-seconds 3600 --report-days 30 "
                    + "--maximum-devices 10 --enrollment token",
                ["PATCH settings"],
                #"{"contact":"it@a.test","refreshSeconds":60,"validitySeconds":3600,"reportDays":30,"#
                    + #""maximumDevices":10,"enrollment":"token"}"#
            ),
            ("organization set --no-contact", ["PATCH settings"], #"{"contact":null}"#),
            (
                "member invite --role auditor --email a@b.test", ["POST invitations"],
                #"{"role":"auditor","email":"a@b.test"}"#
            ),
            ("member invitations", ["GET invitations"], ""),
            ("member uninvite x/y", ["DELETE invitations/x%2Fy"], ""),
            ("team list", ["GET teams"], ""),
            ("team create backend", ["POST teams"], #"{"name":"backend"}"#),
            ("team rename backend services", ["PATCH teams/backend"], #"{"name":"services"}"#),
            ("team delete backend", ["DELETE teams/backend"], ""),
            ("team add backend bob", ["PUT teams/backend/members/bob"], ""),
            ("team remove backend bob", ["DELETE teams/backend/members/bob"], ""),
            ("session list --user bob", ["GET sessions?user=bob"], ""),
            ("session end abc", ["DELETE sessions/abc"], ""),
            ("session end --user bob --device d1", ["DELETE sessions?user=bob&device=d1"], ""),
            ("session end --all --yes", ["DELETE sessions"], ""),
            ("token list", ["GET tokens"], ""),
            (
                "token create ci --scopes policy:read,policy:write --days 7", ["POST tokens"],
                #"{"name":"ci","scopes":["policy:read","policy:write"],"days":7}"#
            ),
            ("token revoke abc", ["DELETE tokens/abc"], ""),
            ("device list", ["GET devices?limit=200"], ""),
            ("device list --name build- --user mia", ["GET devices?name=build-&user=mia&limit=200"], ""),
            ("device remove d1", ["DELETE devices/d1"], ""),
            ("device tokens list", ["GET enrollment-tokens"], ""),
            ("device tokens create laptops --days 3", ["POST enrollment-tokens"], #"{"name":"laptops","days":3}"#),
            ("device tokens revoke laptops", ["DELETE enrollment-tokens/laptops"], ""),
            (
                "activity --since 2026-11-20 --actor bob",
                ["GET activity?actor=bob&from=2026-11-20T00%3A00%3A00Z&limit=50"], ""
            ),
            ("report list --registry ghcr.io --limit 3", ["GET reports?registry=ghcr.io&limit=3"], ""),
            ("key create policy", ["POST keys"], #"{"kind":"policy"}"#),
            ("sso show", ["GET single-sign-on"], ""),
            (
                "sso set https://login.acme.test --client-id ram --keep-secret --domain acme.test,Acme.example",
                ["PUT single-sign-on"],
                #"{"issuer":"https://login.acme.test","clientID":"ram","membership":"domain","#
                    + #""domains":["acme.test","acme.example"]}"#
            ),
            ("sso remove", ["DELETE single-sign-on"], ""),
            ("sso links", ["GET single-sign-on/identities"], ""),
            ("sso link bob 42", ["PUT single-sign-on/identities/bob"], #"{"subject":"42"}"#),
            ("sso unlink bob", ["DELETE single-sign-on/identities/bob"], ""),
        ]
    )
    func wire(command: String, expected: [String], body: String) async throws {
        try await Self.with { machine, server in
            let words = command.split(separator: " ").map(String.init)
            let outcome = await Self.run(machine, words, extra: Self.environment(server))
            #expect(outcome.code == 0, "\(outcome.errors)")
            let lines = server.requests.map { $0.line.replacing("/v1/organizations/acme/", with: "") }
            #expect(Set(lines) == Set(expected) && lines.count == expected.count, "\(lines)")
            #expect(server.requests.last { !$0.body.isEmpty }?.body ?? "" == body)
            #expect(server.requests.allSatisfy { $0.headers["authorization"] == "Bearer \(Self.token)" })
            #expect(!outcome.output.contains(Self.token) && !outcome.errors.contains(Self.token))
            // Also as JSON, which is one document.
            let json = await Self.run(machine, words + ["--format", "json"], extra: Self.environment(server))
            #expect(json.code == 0)
            #expect((try? StrictJSON.parse(Array(json.output.utf8))) != nil, "\(json.output)")
        }
    }

    @Test
    func `what an organization is set to is shown in words, and no setting is sent that is none`() async throws {
        let settings =
            #"{"contact":"it@acme.test","refreshSeconds":900,"validitySeconds":86400,"reportDays":90,"#
            + #""enrollment":"open","maximumDevices":20000}"#
        try await Self.with { _ in
            Reply(body: settings)
        } _: { machine, server in
            let shown = await Self.run(machine, ["organization", "show"], extra: Self.environment(server))
            #expect(
                shown.output == """
                    organization          acme
                    contact               it@acme.test
                    machines ask after    900 seconds
                    a policy holds for    86400 seconds
                    reports are kept for  90 days
                    who may register      open
                    machines at most      20000

                    """,
                "\(shown)"
            )
            for (words, fault) in [
                ([], "say what is to change"), (["--refresh-seconds", "59"], "from 60 to 86400"),
                (["--report-days", "0"], "from 1 to 3650"), (["--enrollment", "closed"], "closed"),
                (["--contact", "x", "--no-contact"], "exclude each other"),
            ] {
                let refused = await Self.run(
                    machine,
                    ["organization", "set"] + words,
                    extra: Self.environment(server)
                )
                #expect(refused.code == 64 && refused.errors.contains(fault), "\(refused)")
            }
            #expect(server.requests.count == 1)
        }
    }

    @Test
    func `a link for a new password is the only thing on standard output`() async throws {
        try await Self.with { machine, server in
            let made = await Self.run(
                machine,
                ["member", "reset-password", "bob"],
                extra: Self.environment(server)
            )
            #expect(made.output == "https://ram.acme.test/new-password?link=ramn_new\n", "\(made)")
            #expect(made.errors.contains("good until 2027-01-01T00:00:00Z"))
        }
    }

    @Test
    func `the client secret comes from standard input, and is shown to nobody`() async throws {
        try await Self.with { request in
            let body =
                #"{"issuer":"https://login.acme.test","clientID":"ram","scopes":["openid","email"],"#
                + #""membership":"invited","domains":[],"redirectAddress":"https://ram.acme.test/x"}"#
            return request.method == "PUT" ? Reply(body: body) : Reply(status: 404)
        } _: { machine, server in
            let words = ["sso", "set", "https://login.acme.test", "--client-id", "ram"]
            let outcome = await Self.run(
                machine,
                words + ["--client-secret-stdin"],
                extra: Self.environment(server),
                input: "top-secret"
            )
            #expect(
                outcome.output == """
                    issuer            https://login.acme.test
                    client            ram
                    scopes            openid, email
                    who is let in     invited
                    redirect address  https://ram.acme.test/x

                    """,
                "\(outcome)"
            )
            #expect(outcome.errors.contains("must send browsers back to https://ram.acme.test/x"))
            #expect(!outcome.errors.contains("top-secret"))
            #expect(
                server.requests.map(\.body) == [
                    #"{"issuer":"https://login.acme.test","clientID":"ram","clientSecret":"top-secret"}"#
                ]
            )
            let nothing = await Self.run(
                machine,
                words + ["--client-secret-stdin"],
                extra: Self.environment(server),
                input: ""
            )
            #expect(nothing.code == 1 && nothing.errors.contains("there is no client secret on standard input"))
            let both = await Self.run(
                machine,
                words + ["--client-secret-stdin", "--keep-secret"],
                extra: Self.environment(server)
            )
            #expect(both.code != 0 && both.errors.contains("exclude each other"))
            #expect(server.requests.count == 1)
        }
    }

    @Test
    func `all pages of a list are asked for, and no more than were wanted`() async throws {
        try await Self.with { request in
            let isSecond = request.target.contains("after=d2")
            return isSecond
                ? Reply(body: #"{"devices":[{"device":"d3","name":"c"}],"next":null}"#)
                : Reply(body: #"{"devices":[{"device":"d1","name":"a"},{"device":"d2","name":"b"}],"next":"d2"}"#)
        } _: { machine, server in
            let outcome = await Self.run(machine, ["device", "list"], extra: Self.environment(server))
            #expect(outcome.output.split(separator: "\n").map { $0.prefix(2) } == ["DE", "d1", "d2", "d3"])
            #expect(server.requests.count == 2)
        }
        try await Self.with { request in
            let count = request.target.contains("limit=2") ? 2 : 1
            let lines = (0..<count).map { "{\"time\":\"t\($0)\"}" }.joined(separator: ",")
            return Reply(body: #"{"activity":[\#(lines)],"next":17}"#)
        } _: { machine, server in
            _ = await Self.run(machine, ["activity", "--limit", "2"], extra: Self.environment(server))
            #expect(server.requests.count == 1)
        }
    }

    @Test(arguments: [
        (["activity", "list", "--limit", "2"], "GET activity?limit=2"),
        (["activity"], "GET activity?limit=50"),
        (["activity", "export"], "GET activity?format=jsonl"),
        (
            ["activity", "export", "--as", "csv", "--action", "team", "--since", "2026-11-20"],
            "GET activity?format=csv&action=team&from=2026-11-20T00%3A00%3A00Z"
        ), (["activity", "export", "--format", "json"], "GET activity?limit=200"),
    ])
    func `the activity is listed, and exported as the server writes it`(words: [String], line: String) async throws {
        let exported = words.contains("csv") ? "number,name\r\n1,a\u{1B}[31m\r\n" : "{\"name\":\"a\u{202E}\"}\n"
        try await Self.with { request in
            let isExport = request.target.contains("format=")
            return Reply(body: isExport ? exported : #"{"activity":[{"name":"a"}],"next":null}"#)
        } _: { machine, server in
            let outcome = await Self.run(machine, words, extra: Self.environment(server))
            #expect(outcome.code == 0, "\(outcome.errors)")
            #expect(
                server.requests.map { $0.line.replacing("/v1/organizations/acme/", with: "") } == [line]
            )
            if line.contains("format=") {
                // Nothing that a terminal would obey; else byte for byte.
                let shown = exported.replacing("\u{1B}", with: "?").replacing("\u{202E}", with: "\\u202e")
                #expect(outcome.output == shown)
            }
            #expect(outcome.output.contains("a"))
        }
    }

    // MARK: - The policy

    @Test(
        "a registry is added to what the server has, and taken out of it",
        arguments: [
            (
                "add quay.io --nickname Quay --actions pull,push --repositories acme/**",
                """
                [{"address":"docker.io","nickname":"Hub","allowed":true},\
                {"address":"ghcr.io","allowed":true,"actions":["pull"]},\
                {"address":"quay.io","nickname":"Quay","allowed":true,"actions":["pull","push"],\
                "repositories":["acme/**"]}]
                """
            ),
            (
                "add ghcr.io --replace --deny",
                #"[{"address":"docker.io","nickname":"Hub","allowed":true},{"address":"ghcr.io","allowed":false}]"#
            ),
            ("remove docker.io", #"[{"address":"ghcr.io","allowed":true,"actions":["pull"]}]"#),
        ]
    )
    func change(command: String, registries: String) async throws {
        try await Self.with { machine, server in
            let words = ["registry"] + command.split(separator: " ").map(String.init)
            let outcome = await Self.run(machine, words + ["-m", "a b&c"], extra: Self.environment(server))
            #expect(outcome.output == "Saved policy version 8 of acme.\n", "\(outcome)")
            let put = try #require(server.requests.last)
            #expect(put.line == "PUT /v1/organizations/acme/policy?comment=a%20b%26c")
            #expect(put.headers["if-match"] == "\"7\"")
            let document = try StrictJSON.parse(Array(put.body.utf8))
            #expect(document.value(named: "registries")?.text() == registries)
            // What has nothing to do with it stays.
            #expect(document.value(named: "contact") == .string("it@acme.test"))
        }
    }

    @Test
    func `what a team has in addition is changed by itself`() async throws {
        try await Self.with { machine, server in
            let words = ["registry", "add", "ghcr.io", "--team", "backend"]
            let outcome = await Self.run(machine, words, extra: Self.environment(server))
            #expect(outcome.code == 0, "\(outcome.errors)")
            let put = try #require(server.requests.last)
            #expect(put.line == "PUT /v1/organizations/acme/teams/backend/policy")
            #expect(put.headers["if-match"] == "\"7\"")
            let document = try StrictJSON.parse(Array(put.body.utf8))
            #expect(
                document.text()
                    == #"{"registries":[{"address":"quay.io","allowed":true},{"address":"ghcr.io","allowed":true}]}"#
            )
        }
    }

    @Test(
        "what cannot be done is said before anything is sent",
        arguments: [
            ("registry add ghcr.io", "there is a rule for \"ghcr.io\" already", 1),
            ("registry remove quay.io", "there is no rule for \"quay.io\"", 1),
            ("registry add ghcr..io", "\"ghcr..io\" is no address of a registry", 1),
            (
                "registry add https://quay.io",
                "\"https://quay.io\" is no address of a registry: a registry is written", 1
            ),
            (
                "registry add *.com",
                "\"*.com\" is too broad: names below \"com\" are sold to anybody\ndocker ram: hint", 1
            ),
            ("policy plan", "name a policy file: --file policy.json", 64),
            (
                "policy apply one.json -f other.json",
                "name one policy file, and not both \"other.json\" and \"one.json\"", 64
            ),
            ("registry add quay.io --actions pull,fly", "--actions is a list of pull, push and login", 64),
            ("session end --all", "--all makes everybody sign in again, you too; if that is meant, add --yes", 64),
            ("session end", "say which sessions", 64),
            ("session end abc --all --yes", "say which sessions", 64),
            ("activity --since yesterday", "--since is a time like", 64),
            ("token create ci --scopes policy:read --days 0", "--days is a number from 1 to 365", 64),
            ("policy plan missing.json", "cannot read \"missing.json\"", 1),
            ("policy show --server ftp://acme.test", "\"ftp://acme.test\" is no address of a server", 1),
            ("policy show --server http://acme.test", "\"http://acme.test\" is no address of a server", 1),
            ("policy show --organization a", "\"a\" is no name of an organization", 1),
        ]
    )
    func mistakes(command: String, message: String, code: Int32) async throws {
        try await Self.with { machine, server in
            let words = command.split(separator: " ").map(String.init)
            let outcome = await Self.run(machine, words, extra: Self.environment(server))
            #expect(outcome.errors.hasPrefix("docker ram: \(message)"), "\(outcome.errors)")
            #expect(outcome.code == code)
            #expect(outcome.output.isEmpty)
            #expect(server.requests.allSatisfy { $0.method == "GET" })
        }
    }

    @Test
    func `an empty name is no condition, so no session is ended by it`() async throws {
        try await Self.with { machine, server in
            for words in [["--user", ""], ["--device", "", "--user", "bob"], [""]] {
                let outcome = await Self.run(machine, ["session", "end"] + words, extra: Self.environment(server))
                #expect(outcome.errors.hasPrefix("docker ram: a name is empty"), "\(outcome.errors)")
                #expect(outcome.code == 64)
            }
            #expect(server.requests.isEmpty)
        }
    }

    @Test
    func `a file is applied to the version that it was made from, and plan saves nothing`() async throws {
        try await Self.with { machine, server in
            let file = "\(machine.directory)/policy.json"
            try machine.write(Self.policy.replacing("\"version\":7", with: "\"version\":5"), "policy.json")
            let applied = await Self.run(machine, ["policy", "apply", "-f", file], extra: Self.environment(server))
            #expect(applied.code == 0, "\(applied.errors)")
            #expect(server.requests.map(\.method) == ["PUT"])
            #expect(server.requests.last?.headers["if-match"] == "\"5\"")
            let replaced = await Self.run(
                machine,
                ["policy", "apply", "-f", file, "--replace", "--acknowledge-lock-out"],
                extra: Self.environment(server)
            )
            #expect(replaced.code == 0)
            #expect(server.requests.last?.headers["if-match"] == "\"7\"")
            #expect(server.requests.last?.line == "PUT /v1/organizations/acme/policy?acknowledgeLockOut=true")

            try machine.write(Self.policy.replacing("ghcr.io", with: "quay.io"), "policy.json")
            let plan = await Self.run(machine, ["policy", "plan", file], extra: Self.environment(server))
            #expect(plan.output.hasPrefix("policy version 7 -> 8\n-  ghcr.io"), "\(plan.output)")
            #expect(server.requests.last?.method == "GET")

            try machine.write(Self.policy.replacing("acme\"", with: "other\""), "policy.json")
            let foreign = await Self.run(machine, ["policy", "apply", "-f", file], extra: Self.environment(server))
            #expect(foreign.errors.contains("is the policy of \"other\" and not of \"acme\""))
            #expect(foreign.code == 1)
        }
    }

    @Test
    func `what changes for teams is shown, by the names that they have later`() async throws {
        try await Self.with { machine, server in
            let environment = Self.environment(server)
            let difference = await Self.run(machine, ["policy", "diff", "6", "7"], extra: environment)
            let lines = difference.output.split(separator: "\n").map(String.init)
            #expect(
                lines == [
                    "policy version 6 -> 7", "-  quay.io    allowed; nickname Hub",
                    "+  docker.io  allowed; nickname Hub",
                    "team backend", "+  r.test   allowed", "~  quay.io  actions all -> pull",
                ],
                "\(difference)"
            )
            let json = await Self.run(machine, ["policy", "diff", "7", "6", "--format", "json"], extra: environment)
            let teams = try StrictJSON.parse(Array(json.output.utf8)).value(named: "teams")
            #expect(teams?.members?.map(\.name) == ["backend"])
            #expect(teams?.value(named: "backend")?.value(named: "removed")?.elements?.count == 1)
            let history = await Self.run(machine, ["policy", "history"], extra: environment)
            #expect(history.output.contains("backend: +2 ~1"), "\(history)")
        }
    }

    @Test
    func `Docker's own settings are exported, planned and applied`() async throws {
        try await Self.with { machine, server in
            let environment = Self.environment(server)
            let exported = await Self.run(machine, ["policy", "show", "--docker"], extra: environment)
            #expect(exported.output.contains(#""standard_registries""#) && !exported.output.contains("ghcr.io"))
            #expect(exported.errors.contains("\"ghcr.io\" is left out"), "\(exported)")
            let settings =
                #"{"enabled":true,"standard_registries":[{"id":"DockerHub","allowed":true}],"#
                + #""custom_registries":[{"address":"quay.io","friendly_name":"Quay","allowed":true}]}"#
            try machine.write(settings, "settings.json")
            let file = "\(machine.directory)/settings.json"
            let plan = await Self.run(machine, ["policy", "plan", "--docker", file], extra: environment)
            #expect(plan.output.contains("+  quay.io"), "\(plan)")
            let unsafe = await Self.run(machine, ["policy", "apply", "--docker", file], extra: environment)
            #expect(unsafe.code == 64 && unsafe.errors.contains("applied with --replace only"), "\(unsafe)")
            #expect(server.requests.allSatisfy { $0.method == "GET" })
            let words = ["policy", "apply", "--docker", "--replace", file]
            let applied = await Self.run(machine, words, extra: environment)
            #expect(applied.code == 0, "\(applied)")
            let put = try #require(server.requests.last)
            #expect(put.method == "PUT" && put.headers["if-match"] == "\"7\"")
            // What they do not know stays.
            #expect(put.body.contains("it@acme.test") && put.body.contains("quay.io") && put.body.contains("Hub"))
            try machine.write(#"{"custom_registries":[{"address":"*.test","allowed":true}]}"#, "settings.json")
            let faulty = await Self.run(machine, ["policy", "plan", "--docker", file], extra: environment)
            #expect(faulty.code == 1 && faulty.errors.contains("cannot be imported: "), "\(faulty)")
        }
    }

    @Test
    func `a team that has nothing in addition is not a policy that denies everything`() async throws {
        try await Self.with { _ in
            Reply(body: #"{"team":"ops","registries":[]}"#, version: 7)
        } _: { machine, server in
            let words = ["registry", "list", "--team", "ops"]
            let outcome = await Self.run(machine, words, extra: Self.environment(server))
            #expect(outcome.output == "team \"ops\" has no registry in addition to everybody's\n", "\(outcome)")
            let json = await Self.run(machine, words + ["--format", "json"], extra: Self.environment(server))
            #expect(json.output == "[]\n", "\(json)")
        }
    }

    @Test(
        arguments: [
            ("", "--scopes names none"), (" , ", "--scopes names none"),
            ("policy:fly", "there is no scope \"policy:fly\""),
            ("policy:read,policy:fly,x", "there is no scope \"policy:fly\""),
        ]
    )
    func `a token for what cannot be done is wrong usage, and what can be is listed`(
        scopes: String,
        fault: String
    ) async throws {
        try await Self.with { machine, server in
            let words = ["token", "create", "ci", "--scopes", scopes]
            let outcome = await Self.run(machine, words, extra: Self.environment(server))
            #expect(outcome.code == ExitStatus.usage && server.requests.isEmpty, "\(outcome)")
            #expect(outcome.errors.contains("\(fault); there are policy:read, policy:write, "), "\(outcome)")
        }
    }

    @Test(arguments: [["policy", "plan"], ["policy", "apply", "--replace"]])
    func `a policy also comes out of a pipe`(words: [String]) async throws {
        try await Self.with { machine, server in
            let pipe = "\(machine.directory)/pipe"
            #expect(mkfifo(pipe, 0o600) == 0)
            let policy = Self.policy.replacing("docker.io", with: "quay.io")
            Thread.detachNewThread {
                // It opens when it is read.
                guard let writer = fopen(pipe, "w") else { return }
                for part in [policy.prefix(20), policy.dropFirst(20)] {
                    fputs(String(part), writer)
                    fflush(writer)
                    usleep(100_000)
                }
                fclose(writer)
            }
            let outcome = await Self.run(machine, words + [pipe], extra: Self.environment(server))
            // Where it is not read, nobody waits for ever.
            close(open(pipe, O_RDONLY | O_NONBLOCK))
            #expect(outcome.code == 0, "\(outcome)")
        }
    }

    @Test(arguments: [false, true])
    func `a file that is too long is told how long it may be`(isPipe: Bool) async throws {
        try await Self.with { machine, server in
            let file = "\(machine.directory)/settings.json"
            let bytes = [UInt8](repeating: 0x20, count: 9 << 20)
            if isPipe {
                #expect(mkfifo(file, 0o600) == 0)
                Thread.detachNewThread {
                    signal(SIGPIPE, SIG_IGN)
                    guard let writer = fopen(file, "w") else { return }
                    fwrite(bytes, 1, bytes.count, writer)
                    fclose(writer)
                }
            } else {
                try Data(bytes).write(to: URL(fileURLWithPath: file))
            }
            let words = ["policy", "plan", "--docker", file]
            let outcome = await Self.run(machine, words, extra: Self.environment(server))
            close(open(file, O_RDONLY | O_NONBLOCK))
            let fault = "docker ram: cannot read \"\(file)\": it is longer than 8 MiB\n"
            #expect(outcome.code == 1 && outcome.errors == fault, "\(outcome)")
        }
    }

    // MARK: - Refusals

    @Test(
        "what the server refuses is said in its words, with what to do",
        arguments: [
            (
                Reply.problem(
                    412,
                    "changed_meanwhile",
                    "version 7 is not the newest, so nothing was saved",
                    hint: "look"
                ),
                "docker ram: version 7 is not the newest, so nothing was saved\ndocker ram: hint: look\n"
            ),
            (
                Reply.problem(422, "locks_out", "a rule denies the server", hint: "say acknowledgeLockOut"),
                "docker ram: a rule denies the server\n"
                    + "docker ram: hint: take it out or make it narrower; if it is meant: --acknowledge-lock-out\n"
            ),
            (
                Reply(
                    status: 422,
                    body: #"{"code":"faulty","detail":"not in order","faults":[{"line":2,"column":3,"message":"bad"}]}"#
                ),
                "docker ram: error: bad\ndocker ram: not in order\n"
            ),
            (
                Reply.problem(403, "forbidden", "you may not do this"),
                "docker ram: you may not do this\n"
            ),
            (
                Reply.problem(401, "not_signed_in", "this needs a token", hint: "sign in"),
                "docker ram: this needs a token\n"
                    + "docker ram: hint: the token in DOCKER_RAM_TOKEN is wrong or not good any more\n"
            ),
            (
                Reply(status: 502, body: "<html>bad gateway</html>"),
                "docker ram: \"URL\": the server answered with status 502\n"
            ),
            (
                Reply(status: 302),
                "docker ram: \"URL\": the server sends elsewhere, and nobody follows\n"
            ),
            (
                Reply(status: 200, body: "{"),
                "docker ram: \"URL\": the server's answer cannot be understood"
            ),
        ]
    )
    private func refusals(reply: ServerStandIn.Reply, errors: String) async throws {
        try await Self.with {
            $0.method == "GET" ? Self.answer($0) : reply
        } _: { machine, server in
            let words = ["registry", "remove", "ghcr.io"]
            let outcome = await Self.run(machine, words, extra: Self.environment(server))
            #expect(outcome.errors.replacing(server.url, with: "URL").hasPrefix(errors), "\(outcome.errors)")
            #expect(outcome.code == 1)
            #expect(outcome.output.isEmpty)
        }
    }

    @Test
    func `a server that is not there is named`() async throws {
        try await Self.with { machine, server in
            let extra = Self.environment(server).merging(["DOCKER_RAM_SERVER": "http://127.0.0.1:1"]) { $1 }
            let outcome = await Self.run(machine, ["member", "list"], extra: extra)
            #expect(outcome.errors.hasPrefix("docker ram: \"http://127.0.0.1:1\": "), "\(outcome.errors)")
            #expect(outcome.errors.contains("hint: see whether http://127.0.0.1:1/healthz answers"))
            #expect(outcome.code == 1)
        }
    }

    // MARK: - Signing in

    private static let record = "config/ram-admin.json"

    /// Where the stand-in for docker-credential-ram keeps the session.
    private static func kept(_ server: ServerStandIn) -> String {
        "store/" + "\(server.url)/docker-ram-admin".replacing("/", with: "_").replacing(":", with: "_")
    }

    private static func session(_ number: Int, expiresIn: Int = 900) -> Reply {
        Reply(
            body: """
                {"access_token":"rama_\(number)","token_type":"Bearer","expires_in":\(expiresIn),\
                "refresh_token":"ramr_\(number)","user":"alice"}
                """
        )
    }

    @Test
    func `a session is kept in the keyring, renewed when it is due, and ended by logout`() async throws {
        try await Self.with { request in
            switch request.target {
            case "/v1/token" where request.body.contains("grant_type=password"): Self.session(1, expiresIn: 10)
            case "/v1/token": Self.session(2)
            case "/v1/me": Reply(body: #"{"name":"alice","organizations":[{"name":"acme","role":"owner"}]}"#)
            case "/v1/token/revoke": Reply(status: 200)
            default: Self.answer(request)
            }
        } _: { machine, server in
            let words = ["login", server.url, "--username", "alice", "--password-stdin"]
            let login = await Self.run(machine, words, input: "correct horse")
            #expect(!server.requests.contains { $0.target == "/v1/token/revoke" })
            #expect(login.output == "Signed in to acme at \(server.url) as alice.\n", "\(login.errors)")
            // Without --organization the session is for all that she belongs to, and that is one.
            #expect(
                server.requests.first?.body == "grant_type=password&username=alice&password=correct%20horse"
            )
            let record = try machine.read(Self.record)
            #expect(record.contains("\"organization\": \"acme\"") && !record.contains("ram" + "r_"))
            let mode = try FileManager.default.attributesOfItem(atPath: "\(machine.directory)/\(Self.record)")
            #expect(mode[.posixPermissions] as? Int == 0o600)
            #expect(try machine.read(Self.kept(server)).contains(#""Username":"acme/alice""#))

            // Ten seconds are too few, so the next command renews first, and keeps what it got.
            let list = await Self.run(machine, ["member", "list"])
            #expect(list.code == 0, "\(list.errors)")
            #expect(server.requests.map(\.target).suffix(2) == ["/v1/token", "/v1/organizations/acme/members"])
            #expect(
                server.requests[server.requests.count - 2].body
                    == "grant_type=refresh_token&refresh_token=ramr_1&organization=acme"
            )
            #expect(server.requests.last?.headers["authorization"] == "Bearer rama_2")
            #expect(try machine.read(Self.kept(server)).contains("ramr_2"))
            // And the one after that does not.
            _ = await Self.run(machine, ["team", "list"])
            #expect(server.requests.last { $0.target == "/v1/token" }?.body.contains("ramr_1") == true)

            // Another server gets nothing of it.
            let other = await Self.run(machine, ["team", "list", "--server", "https://other.test"])
            #expect(other.errors.hasPrefix("docker ram: it is not known which organization is meant"))
            let named = ["team", "list", "--server", "https://other.test", "--organization", "acme"]
            let signedOut = await Self.run(machine, named)
            #expect(signedOut.errors.hasPrefix("docker ram: you are not signed in to \"https://other.test\""))

            let logout = await Self.run(machine, ["logout"])
            #expect(logout.output == "Signed out alice from \(server.url).\n", "\(logout.errors)")
            #expect(server.requests.last?.body == "token=ramr_2")
            for path in [Self.record, Self.kept(server)] {
                #expect(!FileManager.default.fileExists(atPath: "\(machine.directory)/\(path)"))
            }
            for said in [login, list, logout] {
                #expect(!(said.output + said.errors).contains("rama_") && !said.errors.contains("horse"))
            }
        }
    }

    @Test
    func `an access token that is not good any more is renewed, and a session that has ended is said`() async throws {
        let refused = Reply.problem(401, "not_signed_in", "this needs a token that is good now", hint: "sign in")
        try await Self.with { request in
            switch request.target {
            case "/v1/token" where request.body.contains("ramr_1"): Self.session(2)
            case "/v1/token" where request.body.contains("ramr_2"):
                Reply(status: 400, body: #"{"error":"invalid_grant","error_description":"ended"}"#)
            case "/v1/token": Self.session(1)
            default:
                request.headers["authorization"] == "Bearer rama_2" && request.target.hasSuffix("members")
                    ? Self.answer(request) : refused
            }
        } _: { machine, server in
            let words = ["login", server.url, "--organization", "acme", "--token-stdin"]
            let login = await Self.run(machine, words, input: "ramp_x")
            #expect(login.code == 0, "\(login.errors)")
            #expect(
                server.requests.first?.body
                    == "grant_type=urn%3Adocker-ram%3Aaccess-token&token=ramp_x&organization=acme"
            )
            let list = await Self.run(machine, ["member", "list"])
            #expect(list.code == 0, "\(list.errors)")
            let ended = await Self.run(machine, ["team", "list"])
            #expect(
                ended.errors == """
                    docker ram: your session at "\(server.url)" has ended
                    docker ram: hint: run: docker ram admin login \(server.url)

                    """
            )
            #expect(ended.code == 1)
        }
    }

    @Test(
        "who cannot sign in is told why, and nothing is kept",
        arguments: [
            (
                Reply(status: 400, body: #"{"error":"invalid_grant","error_description":"x"}"#),
                "the name or the password is wrong"
            ),
            (
                Reply(status: 400, body: #"{"error":"not_a_member","error_description":"x"}"#),
                "you do not belong to \"acme\""
            ),
            (Reply.problem(429, "too_many_requests", "slowly"), "\"URL\": the server refused: too_many_requests (429)"),
        ]
    )
    private func cannotSignIn(reply: ServerStandIn.Reply, message: String) async throws {
        try await Self.with { _ in
            reply
        } _: { machine, server in
            let words = ["login", server.url, "--organization", "acme", "-u", "alice", "--password-stdin"]
            let outcome = await Self.run(machine, words, input: "correct horse")
            let errors = outcome.errors.replacing(server.url, with: "URL")
            #expect(errors.hasPrefix("docker ram: \(message)\n"), "\(errors)")
            #expect(outcome.code == 1)
            #expect(!FileManager.default.fileExists(atPath: "\(machine.directory)/\(Self.record)"))
            #expect(!FileManager.default.fileExists(atPath: "\(machine.directory)/store"))
        }
    }

    @Test
    func `without a keyring nobody stays signed in, and it is said how it goes without one`() async throws {
        try await Self.with {
            $0.target == "/v1/token" ? Self.session(1) : Reply(status: 200)
        } _: { machine, server in
            try machine.write("#!/bin/sh\necho 'no keyring here'; exit 1\n", "bin/docker-credential-ram", mode: 0o755)
            let words = ["login", server.url, "--organization", "acme", "-u", "alice", "--password-stdin"]
            let outcome = await Self.run(machine, words, input: "correct horse")
            #expect(outcome.errors.hasPrefix("docker ram: the keyring cannot be used: no keyring here\n"))
            #expect(outcome.errors.contains("DOCKER_RAM_TOKEN"))
            // The session that nobody has was ended.
            #expect(server.requests.last?.line == "POST /v1/token/revoke")
            #expect(!FileManager.default.fileExists(atPath: "\(machine.directory)/\(Self.record)"))
        }
    }

    @Test
    func `nothing is asked of anybody before it is known who and where`() async throws {
        try await Self.with { machine, server in
            let nowhere = await Self.run(machine, ["member", "list"])
            #expect(nowhere.errors.hasPrefix("docker ram: it is not known which server is meant\n"))
            let noToken = Self.environment(server).merging(["DOCKER_RAM_TOKEN": "rama_x"]) { $1 }
            let wrong = await Self.run(machine, ["member", "list"], extra: noToken)
            #expect(wrong.errors.hasPrefix("docker ram: what is in DOCKER_RAM_TOKEN is no access token"))
            #expect(!wrong.errors.contains("rama_x"))
            try machine.write(#"{"server":"\#(server.url)","organization":"acme","token":"x"}"#, Self.record)
            let faulty = await Self.run(machine, ["member", "list"])
            #expect(faulty.errors.contains("ram-admin.json\" is not in order"), "\(faulty.errors)")
            #expect(server.requests.isEmpty)
        }
    }

    @Test("a browser is waited for, also while the server cannot be reached", arguments: [0, 429, 502])
    func browser(status: Int) async throws {
        let asked = Mutex(0)
        try await Self.with { request in
            switch request.target {
            case "/v1/device_authorization":
                return Reply(
                    body: """
                        {"device_code":"ramc_x","user_code":"BCDF-GHJK","expires_in":600,"interval":1,\
                        "verification_uri":"https://ram.acme.test/activate"}
                        """
                )
            case "/v1/token":
                let number = asked.withLock { number in
                    number += 1
                    return number
                }
                if number == 2 { return Self.session(1) }
                return status == 0 ? Reply(body: "", isCut: true) : Reply(status: status, body: "<html>")
            default: return Self.answer(request)
            }
        } _: { machine, server in
            let words = ["login", server.url, "--organization", "acme", "--no-browser"]
            let outcome = await Self.run(machine, words)
            #expect(outcome.output == "Signed in to acme at \(server.url) as alice.\n", "\(outcome.errors)")
            #expect(outcome.errors.contains("BCDF-GHJK"))
            #expect(asked.withLock { $0 } == 2)
        }
    }

    @Test
    func `a browser that declined is not asked again`() async throws {
        try await Self.with { request in
            request.target == "/v1/token"
                ? Reply(status: 400, body: #"{"error":"access_denied"}"#)
                : Reply(
                    body: """
                        {"device_code":"ramc_x","user_code":"BCDF-GHJK","expires_in":600,"interval":1,\
                        "verification_uri":"https://ram.acme.test/activate"}
                        """
                )
        } _: { machine, server in
            let outcome = await Self.run(machine, ["login", server.url, "--organization", "acme", "--no-browser"])
            #expect(outcome.code == 1 && outcome.errors.contains("the sign-in was denied in the browser"))
            #expect(server.requests.count { $0.target == "/v1/token" } == 1)
        }
    }

    // MARK: - Keys

    @Test
    func `a root key is made once, signs what it is given, and is not shown`() async throws {
        try await Self.with { machine, _ in
            let directory = "\(machine.directory)/keys"
            let made = await Self.run(machine, ["key", "init", "--out", directory, "--format", "json"])
            let json = try StrictJSON.parse(Array(made.output.utf8))
            let file = try machine.read("keys/root.key")
            let key = try #require(SigningKey(file: Array(file.utf8)))
            #expect(json.value(named: "fingerprint")?.text == key.verificationKey.id.fingerprint)
            #expect(json.value(named: "publicKey")?.text == StrictBase64.encode(key.verificationKey.bytes))
            #expect(!made.output.contains(file.dropFirst(30).prefix(20)))
            let mode = try FileManager.default.attributesOfItem(atPath: "\(directory)/root.key")
            #expect(mode[.posixPermissions] as? Int == 0o600)
            let again = await Self.run(machine, ["key", "init", "--out", directory])
            #expect(again.errors.hasPrefix("docker ram: \"\(directory)/root.key\" is there already\n"))
            #expect(try machine.read("keys/root.key") == file)

            let others = [DocumentKind.policy, .freshness, .ticket].map { ($0, SigningKey.generate().verificationKey) }
            var roles = Dictionary(uniqueKeysWithValues: others.map { ($0.0, RootDocument.Role([$0.1])) })
            roles[.root] = RootDocument.Role([key.verificationKey])
            let root = RootDocument(
                organization: "acme",
                version: 1,
                expires: Instant(seconds: 2_000_000_000),
                roles: roles
            )
            try machine.write("\(try Envelope(signing: root.payload, as: .root, with: []).json)\n", "root.json")
            let path = "\(machine.directory)/root.json"
            let sign = ["key", "sign", path, "--key", "\(directory)/root.key"]
            for _ in 0..<2 {
                let signed = await Self.run(machine, sign)
                #expect(signed.code == 0, "\(signed.errors)")
                #expect(signed.output.contains("root document 1 of acme, until 2033-05-18T03:33:20Z"))
                for (_, key) in others { #expect(signed.output.contains(key.id.fingerprint)) }
                #expect(signed.errors.isEmpty)
            }
            let text = try machine.read("root.json").trimmingCharacters(in: .newlines)
            let envelope = try Envelope(json: Array(text.utf8), as: .root)
            #expect(envelope.payload == root.payload)
            let id = key.verificationKey.id
            #expect(envelope.signers(among: [id: key.verificationKey]) == [id] && envelope.signatures.count == 1)

            chmod("\(directory)/root.key", 0o644)
            let open = await Self.run(machine, sign)
            #expect(open.errors.hasPrefix("docker ram: others may read \"\(directory)/root.key\"\n"))
            let none = await Self.run(machine, ["key", "sign", "\(directory)/root.pub", "--key", "x"])
            #expect(none.errors.contains("root.pub\" is no root document"))
        }
    }

    /// An organization of which two of two root keys must sign.
    private struct Quorum {
        let organization: SignedOrganization
        let root: RootDocument
        let waiting = SigningKey.generate().verificationKey
        let retired = SigningKey.generate().verificationKey

        init(thresholds: [DocumentKind: Int] = [.root: 2]) {
            var organization = SignedOrganization()
            organization.keys[.root] = [.generate(), .generate()]
            organization.keys[.policy] = [.generate(), .generate()]
            self.organization = organization
            root = RootDocument(
                organization: "acme",
                version: 3,
                expires: Instant(seconds: 2_000_000_000),
                roles: Dictionary(
                    uniqueKeysWithValues: DocumentKind.roles.map { kind in
                        let keys = organization.keys(kind).map(\.verificationKey)
                        return (kind, RootDocument.Role(threshold: thresholds[kind] ?? 1, keys))
                    }
                )
            )
        }

        func fingerprint(_ kind: DocumentKind, _ index: Int = 0) -> String {
            organization.keys(kind)[index].verificationKey.id.fingerprint
        }

        func envelope(_ root: RootDocument? = nil) -> String {
            let payload = (root ?? self.root).payload
            return (try? Envelope(signing: payload, as: .root, with: organization.keys(.root)).json) ?? ""
        }

        /// What its server answers, which has two more keys for tickets.
        func answer(_ request: ServerStandIn.Request) -> Reply {
            if request.target.hasSuffix("root.json") { return Reply(body: envelope()) }
            func json(_ key: VerificationKey, _ state: String) -> String {
                #"{"id":"\#(key.id)","key":"\#(StrictBase64.encode(key.bytes))","signs":\#(state == "signs"),"state":"\#(state)"}"#
            }
            let kinds = [DocumentKind.policy, .freshness, .ticket].map { kind in
                var keys = organization.keys(kind).map { json($0.verificationKey, "signs") }
                if kind == .ticket { keys += [json(waiting, "waiting"), json(retired, "retired")] }
                return #""\#(kind.rawValue)":[\#(keys.joined(separator: ","))]"#
            }
            return Reply(body: #"{"rootVersion":3,"keys":{\#(kinds.joined(separator: ","))}}"#)
        }
    }

    @Test
    func `who signs a root document sees how many keys must sign`() async throws {
        try await Self.with { machine, _ in
            let quorum = Quorum(thresholds: [.root: 2, .policy: 2])
            try machine.write(quorum.organization.keys(.root)[0].file, "root.key", mode: 0o600)
            try machine.write("\(quorum.envelope())\n", "root.json")
            let words = ["key", "sign", "\(machine.directory)/root.json", "--key", "\(machine.directory)/root.key"]
            let signed = await Self.run(machine, words)
            #expect(signed.code == 0, "\(signed.errors)")
            for index in 0..<2 {
                #expect(signed.words.contains("root 2 of 2 \(quorum.fingerprint(.root, index))"), "\(signed.output)")
                #expect(signed.words.contains("policy 2 of 2 \(quorum.fingerprint(.policy, index))"))
                #expect(signed.words.contains("signed by \(quorum.fingerprint(.root, index))"))
            }
            #expect(signed.words.contains("ticket 1 of 1 \(quorum.fingerprint(.ticket))"))
            let json = try StrictJSON.parse(
                Array(await Self.run(machine, words + ["--format", "json"]).output.utf8)
            )
            #expect(
                json.value(named: "thresholds")?.text() == #"{"root":2,"policy":2,"freshness":1,"ticket":1}"#
            )
            #expect(json.value(named: "lowered") == nil)
        }
    }

    @Test
    func `who has the document before does not sign that fewer keys must sign, unless they say so`() async throws {
        try await Self.with { machine, _ in
            let quorum = Quorum()
            try machine.write(quorum.organization.keys(.root)[0].file, "root.key", mode: 0o600)
            try machine.write("\(quorum.envelope())\n", "root-3.json")
            func next(_ version: Int, threshold: Int) throws {
                var roles = quorum.root.roles
                roles[.root] = RootDocument.Role(threshold: threshold, quorum.root.roles[.root]?.keys ?? [])
                let root = RootDocument(
                    organization: "acme",
                    version: version,
                    expires: quorum.root.expires,
                    roles: roles
                )
                try machine.write("\(Envelope(signing: root.payload, as: .root, with: []).json)\n", "root-4.json")
            }
            let directory = machine.directory
            let words = [
                "key", "sign", "\(directory)/root-4.json", "--key", "\(directory)/root.key", "--before",
                "\(directory)/root-3.json",
            ]
            try next(4, threshold: 1)
            let unsigned = try machine.read("root-4.json")
            let refused = await Self.run(machine, words)
            #expect(refused.code == 1)
            #expect(
                refused.errors.hasPrefix(
                    "docker ram: fewer keys would have to sign than before: root 1 of 2, before 2 of 2\n"
                ),
                "\(refused.errors)"
            )
            #expect(refused.errors.contains("--lower-threshold"))
            #expect(try machine.read("root-4.json") == unsigned)
            let meant = await Self.run(machine, words + ["--lower-threshold", "--format", "json"])
            #expect(meant.code == 0, "\(meant.errors)")
            #expect(meant.errors == "docker ram: note: fewer keys must sign than before: root 1 of 2, before 2 of 2\n")
            let json = try StrictJSON.parse(Array(meant.output.utf8))
            #expect(json.value(named: "lowered")?.text() == #"["root"]"#)
            #expect(json.value(named: "added")?.text() == "[]" && json.value(named: "leftOut")?.text() == "[]")
            try next(4, threshold: 2)
            let same = await Self.run(machine, words)
            #expect(same.code == 0 && same.errors.isEmpty, "\(same.errors)")
            try next(5, threshold: 2)
            let other = await Self.run(machine, words)
            #expect(other.code == 1 && other.errors.contains("is not the document before version 5 of acme"))
        }
    }

    @Test
    func `a key that was left out once is named by no later document, and who signs sees what changes`() async throws {
        let quorum = Quorum()
        try await Self.with(quorum.answer) { machine, server in
            let environment = Self.environment(server)
            let list = await Self.run(machine, ["key", "list"], extra: environment)
            #expect(list.words.contains("KIND KEY STATE"), "\(list)")
            #expect(list.words.contains("ticket \(quorum.fingerprint(.ticket)) signs"))
            #expect(list.words.contains("ticket \(quorum.waiting.id.fingerprint) not named yet"))
            #expect(list.words.contains("ticket \(quorum.retired.id.fingerprint) retired"))

            let (old, file) = ("\(machine.directory)/root-3.json", "\(machine.directory)/root-4.json")
            let prepare = ["key", "prepare", "--out", file, "--without"]
            for kind in [quorum.fingerprint(.policy), quorum.retired.id.fingerprint] {
                try? FileManager.default.removeItem(atPath: file)
                let prepared = await Self.run(machine, prepare + [kind], extra: environment)
                #expect(prepared.code == 0, "\(prepared.errors)")
                #expect(prepared.words.contains("ticket 1 of 2 \(quorum.fingerprint(.ticket)) ticket"), "\(prepared)")
                #expect(prepared.words.contains("ticket 1 of 2 \(quorum.waiting.id.fingerprint) new"))
                #expect(!prepared.output.contains(quorum.retired.id.fingerprint))
                #expect(
                    try AdminKeySign.read(file).1.roles[.ticket]?.keys == [
                        quorum.organization.keys(.ticket)[0].verificationKey, quorum.waiting,
                    ]
                )
            }
            try FileManager.default.removeItem(atPath: file)
            let policy = quorum.fingerprint(.policy)
            _ = await Self.run(machine, prepare + [policy], extra: environment)

            // Who signs is told the same by the two documents.
            try machine.write(quorum.organization.keys(.root)[0].file, "root.key", mode: 0o600)
            try machine.write("\(quorum.envelope())\n", "root-3.json")
            let words = ["key", "sign", file, "--key", "\(machine.directory)/root.key"]
            let unknown = await Self.run(machine, words)
            #expect(unknown.code == 0 && !unknown.output.contains("new") && !unknown.output.contains("left out"))
            let signed = await Self.run(machine, words + ["--before", old])
            #expect(signed.words.contains("ticket 1 of 2 \(quorum.waiting.id.fingerprint) new"), "\(signed)")
            #expect(signed.words.contains("policy left out \(policy)"))
            let json = try StrictJSON.parse(
                Array(await Self.run(machine, words + ["--before", old, "--format", "json"]).output.utf8)
            )
            #expect(json.value(named: "added")?.text() == "[\"\(quorum.waiting.id.fingerprint)\"]")
            #expect(json.value(named: "leftOut")?.text() == "[\"\(policy)\"]")
            #expect(json.value(named: "lowered")?.text() == "[]")
        }
    }

    @Test
    func `fewer keys than before must sign only if that is asked for`() async throws {
        let quorum = Quorum(thresholds: [.root: 2, .policy: 2])
        try await Self.with(quorum.answer) { machine, server in
            func prepare(_ words: String...) async throws -> (Machine.Outcome, RootDocument?) {
                let file = "\(machine.directory)/root-4.json"
                try? FileManager.default.removeItem(atPath: file)
                let all = ["key", "prepare", "--out", file] + words
                let outcome = await Self.run(machine, all, extra: Self.environment(server))
                guard FileManager.default.fileExists(atPath: file) else { return (outcome, nil) }
                return (outcome, try AdminKeySign.read(file).1)
            }
            let (same, root) = try await prepare()
            #expect(same.errors.isEmpty && same.words.contains("root 2 of 2"), "\(same)")
            #expect(root?.roles.mapValues(\.threshold) == quorum.root.roles.mapValues(\.threshold))

            for (option, fingerprint, kind) in [
                ("--remove-root-key", quorum.fingerprint(.root), "root"),
                ("--without", quorum.fingerprint(.policy), "policy"),
            ] {
                let (refused, nothing) = try await prepare(option, fingerprint)
                #expect(refused.code == 1 && nothing == nil)
                #expect(
                    refused.errors.hasPrefix("docker ram: 2 \(kind) keys must sign, and there would be only 1\n"),
                    "\(refused.errors)"
                )
                #expect(refused.errors.contains("--threshold \(kind)=1"))
                let (meant, lower) = try await prepare(option, fingerprint, "--threshold", "\(kind)=1")
                #expect(meant.code == 0, "\(meant.errors)")
                let note = "fewer keys must sign than before: \(kind) 1 of 1, before 2 of 2"
                #expect(meant.errors == "docker ram: note: \(note)\n")
                let changed = try #require(DocumentKind(rawValue: kind))
                #expect(lower?.roles[changed]?.threshold == 1 && lower?.roles[changed]?.keys.count == 1)
            }

            let added = StrictBase64.encode(SigningKey.generate().verificationKey.bytes)
            let (more, higher) = try await prepare("--add-root-key", added, "--threshold", "root=3")
            #expect(more.errors.isEmpty && more.words.contains("root 3 of 3"), "\(more)")
            #expect(higher?.roles[.root]?.threshold == 3)
            let (many, _) = try await prepare("--threshold", "root=3")
            #expect(many.errors.hasPrefix("docker ram: 3 root keys must sign, and there would be only 2\n"), "\(many)")
            for wrong in ["root", "root=0", "root=x", "other=1", "root=17"] {
                let (outcome, _) = try await prepare("--threshold", wrong)
                #expect(outcome.code == 64, "\(outcome)")
            }

            // A server that lies about what is in force is found out by who has it.
            try machine.write(quorum.envelope() + "\n", "root-3.json")
            let (known, _) = try await prepare("--before", "\(machine.directory)/root-3.json")
            #expect(known.code == 0, "\(known.errors)")
            let truth = RootDocument(
                organization: "acme",
                version: 3,
                expires: quorum.root.expires,
                roles: Quorum(thresholds: [.root: 2]).root.roles
            )
            try machine.write(quorum.envelope(truth) + "\n", "root-3.json")
            let (lie, nothing) = try await prepare("--before", "\(machine.directory)/root-3.json")
            #expect(lie.code == 1 && nothing == nil)
            #expect(lie.errors.contains("is not the root document that \"\(server.url)\" hands out"), "\(lie.errors)")
        }
    }
}
