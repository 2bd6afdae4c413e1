import Foundation
import GRDB
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// `docker-ram-server organization` and `docker-ram-server password`, with a server that runs.
struct OrganizationCommandTests {
    private static let password = ServerCommandTests.password
    private static let new = "quite a fine sentence"

    private static func run(_ arguments: String..., input: String = "") async throws -> EndedProgram {
        try await runProgram([try Programs.path("docker-ram-server")] + arguments, input: input)
    }

    /// Asks a server; gives the status and the document.
    private static func ask(
        _ port: Int,
        _ request: String,
        as token: String? = nil,
        _ body: String = "",
        type: String = "application/json"
    ) throws -> (status: Int, json: JSONValue, text: String) {
        let bearer = token.map { "\r\nAuthorization: Bearer \($0)" } ?? ""
        let content = body.isEmpty ? "" : "\r\nContent-Type: \(type)"
        let answer = try ServerCommandTests.ask(port, "\(request) HTTP/1.1\(bearer)\(content)", body)
        let text = answer.firstRange(of: "\r\n\r\n").map { String(answer[$0.upperBound...]) } ?? ""
        let status = Int(answer.split(separator: " ").dropFirst().first ?? "") ?? 0
        return (status, (try? StrictJSON.parse(Array(text.utf8))) ?? .null, text)
    }

    /// Signs somebody in, on a machine if there is one.
    private static func signIn(
        _ port: Int,
        _ user: String,
        _ password: String = password,
        in organization: String,
        on device: (id: String, secret: String)? = nil
    ) throws -> (status: Int, json: JSONValue, text: String) {
        let machine = device.map { "&device=\($0.id)&device_secret=\($0.secret)" } ?? ""
        return try ask(
            port,
            "POST /v1/token",
            as: nil,
            "grant_type=password&username=\(user)&organization=\(organization)"
                + "&password=\(password.replacing(" ", with: "+"))\(machine)",
            type: "application/x-www-form-urlencoded"
        )
    }

    private static func register(_ port: Int, in organization: String) throws -> (id: String, secret: String) {
        let answer = try ask(port, "POST /v1/organizations/\(organization)/devices", as: nil, #"{"name":"laptop"}"#)
        return (
            try #require(answer.json.value(named: "device")?.text, "\(answer)"),
            try #require(answer.json.value(named: "secret")?.text, "\(answer)")
        )
    }

    // MARK: - Passwords

    @Test
    func `a forgotten password is set anew beside a running server, which ends every session at once`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            try await ServerCommandTests.make(in: data)
            let unknown = try await Self.run("password", "--data", data, "bob", "--password-stdin").expecting(1)
            #expect(unknown.errors.contains("there is nobody \"bob\""), "\(unknown)")
            for weak in ["short", "", "horses of acme", "alice in a wonderland"] {
                let refused = try await Self.run(
                    "password",
                    "--data",
                    data,
                    "alice",
                    "--password-stdin",
                    input: "\(weak)\n"
                ).expecting(1)
                #expect(refused.errors.contains("password"), "\(refused)")
            }
            try await ServerCommandTests.serving(data) { port, _ in
                let device = try Self.register(port, in: "acme")
                #expect(try Self.signIn(port, "alice", in: "acme", on: device).status == 200)
                let signedIn = try Self.signIn(port, "alice", in: "acme")
                let token = try #require(signedIn.json.value(named: "access_token")?.text, "\(signedIn)")
                #expect(try Self.ask(port, "GET /v1/me", as: token).status == 200)
                let changes = "/v1/organizations/acme/devices/\(device.id)/changes"
                let known = try Self.ask(port, "GET \(changes)", as: device.secret)
                #expect(known.text.contains("active"), "\(known)")
                let cursor = try #require(known.json.value(named: "cursor")?.text)
                async let told = onThread {
                    let start = ContinuousClock.now
                    let answer = try Self.ask(port, "GET \(changes)?wait=60&after=\(cursor)", as: device.secret)
                    return (answer.text, start.duration(to: .now))
                }
                let set = try await Self.run(
                    "password",
                    "--data",
                    data,
                    "alice",
                    "--password-stdin",
                    input: "\(Self.new)\n"
                ).expecting(0)
                #expect(set.output.contains("\"alice\" has a new password"), "\(set)")
                #expect(!set.output.contains(Self.new) && !set.errors.contains(Self.new))
                // The machine that waits is told, and does not find out when its time is over.
                let (news, after) = try await told
                #expect(news.contains("ended") && after < .seconds(50), "\(news) after \(after)")
                #expect(try Self.ask(port, "GET /v1/me", as: token).status == 401)
                #expect(try Self.signIn(port, "alice", in: "acme").status == 400)
                #expect(try Self.signIn(port, "alice", Self.new, in: "acme").status == 200)
                try await Self.run("verify", "--data", data).expecting(0)
            }
            let database = try DatabaseQueue(path: "\(data)/server.sqlite")
            let recorded = try await database.read { database in
                try String.fetchAll(
                    database,
                    sql: "SELECT actor || ' ' || name FROM activity WHERE action = 'user.password.set'"
                )
            }
            #expect(recorded == ["system alice"])
        }
    }

    // MARK: - Organizations

    @Test
    func `a further organization works beside the first, with everything that is its own`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            let copy = "\(directory)/copy.sqlite"
            try await ServerCommandTests.make(in: data)
            try await ServerCommandTests.serving(data) { port, _ in
                // Its owner is there already, so that no password is asked for; nor does the server have to be stopped.
                let ops = try await Self.run(
                    "organization",
                    "add",
                    "--data",
                    data,
                    "--organization",
                    "ops",
                    "--owner",
                    "alice"
                )
                .expecting(0)
                #expect(ops.output.hasPrefix("made \"ops\" with its owner \"alice\"\nthe root key is "), "\(ops)")
                let lab = try await Self.run(
                    "organization",
                    "add",
                    "--data",
                    data,
                    "--organization",
                    "lab",
                    "--owner",
                    "bob",
                    "--contact",
                    "lab@acme.test",
                    "--root-key",
                    "\(directory)/lab.key",
                    "--password-stdin",
                    input: "\(Self.new)\n"
                ).expecting(0)
                #expect(lab.output.contains("\(directory)/lab.key"), "\(lab)")
                let list = try await Self.run("organization", "list", "--data", data).expecting(0)
                #expect(
                    list.output == """
                        acme: 1 member, 0 machines, policy 1; owned by alice
                        lab: 1 member, 0 machines, policy 1; owned by bob
                        ops: 1 member, 0 machines, policy 1; owned by alice

                        """
                )
                for (name, owner, password, made) in [
                    ("ops", "alice", Self.password, ops), ("lab", "bob", Self.new, lab),
                ] {
                    let own = "/v1/organizations/\(name)"
                    let fingerprint = try #require(made.output.firstMatch(of: #/sha256:[0-9a-f]{64}/#)?.output)
                    let machine = try Self.register(port, in: name)
                    let signedIn = try Self.signIn(port, owner, password, in: name, on: machine)
                    #expect(signedIn.status == 200, "\(signedIn)")
                    #expect(signedIn.json.value(named: "ticket") != nil)
                    // A machine that was told the fingerprint takes what the server has.
                    let root = try Self.ask(port, "GET \(own)/documents/root/1.json").text
                    let envelope = try Envelope(json: Array(root.utf8), as: .root)
                    let key = try #require(try RootDocument(payload: envelope.payload).roles[.root]?.keys.first)
                    #expect(key.id.fingerprint == fingerprint)
                    var trusted = try TrustedDocuments(organization: name, pinned: key.id, roots: [Array(root.utf8)])
                    // A policy of its own.
                    let session = try Self.signIn(port, owner, password, in: name)
                    let token = try #require(session.json.value(named: "access_token")?.text)
                    let rule =
                        #"{"version":1,"organization":"\#(name)","registries":[{"address":"\#(name).test","allowed":true}]}"#
                    let saved = try ServerCommandTests.ask(
                        port,
                        "PUT \(own)/policy HTTP/1.1\r\nAuthorization: Bearer \(token)\r\nIf-Match: \"1\"\r\n"
                            + "Content-Type: application/json",
                        rule
                    )
                    #expect(saved.contains("200 OK"), "\(saved)")
                    let policy = try Self.ask(port, "GET \(own)/documents/policy.json").text
                    let freshness = try Self.ask(port, "GET \(own)/documents/freshness.json").text
                    try trusted.accept(freshness: Array(freshness.utf8), policy: Array(policy.utf8), at: .now)
                    let read = try PolicyDocument(payload: Envelope(json: Array(policy.utf8), as: .policy).payload)
                    #expect(read.policy.rules.map(\.address.description) == ["\(name).test"])
                    let news = try Self.ask(
                        port,
                        "GET \(own)/devices/\(machine.id)/changes",
                        as: machine.secret
                    )
                    #expect(news.status == 200 && news.text.contains("active"), "\(news)")
                    // Nobody of it gets at another one, and no machine.
                    for other in ["acme", "ops", "lab"] where other != name {
                        #expect(try Self.ask(port, "GET /v1/organizations/\(other)/members", as: token).status == 404)
                        let foreign = try Self.ask(
                            port,
                            "GET /v1/organizations/\(other)/devices/\(machine.id)/changes",
                            as: machine.secret
                        )
                        #expect(foreign.status == 401, "\(foreign)")
                    }
                    let folder = "\(directory)/\(name)-files"
                    try await Self.run("publish", "--data", data, folder, "--organization", name).expecting(0)
                    #expect(FileManager.default.fileExists(atPath: "\(folder)/policy/2.json"))
                }
                // Alice is in two organizations, Bob in one.
                #expect(try Self.signIn(port, "bob", Self.new, in: "ops").status == 400)
                let verified = try await Self.run("verify", "--data", data).expecting(0)
                #expect(verified.output.split(separator: "\n").map { $0.prefix(5) } == ["acme:", "lab: ", "ops: "])
                try await Self.run("backup", "--data", data, copy).expecting(0)
            }
            // What is there after a restore is what was there before.
            try await Self.run("restore", "--data", data, copy).expecting(0)
            let list = try await Self.run("organization", "list", "--data", data).expecting(0)
            #expect(list.output.contains("ops: 1 member, 1 machine, policy 2; owned by alice\n"), "\(list)")
        }
    }

    /// All that there is in a directory, and how many rows each table has.
    private static func content(_ data: String) async throws -> [String] {
        let files = (FileManager.default.enumerator(atPath: data)?.compactMap { $0 as? String } ?? [])
            .filter { !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm") }
        let database = try DatabaseQueue(path: "\(data)/server.sqlite")
        let rows = try await database.read { database in
            try String.fetchAll(database, sql: "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
                .map { "\($0) \(try Int.fetchOne(database, sql: "SELECT count(*) FROM \($0)") ?? -1)" }
        }
        try database.close()
        return files.sorted() + rows
    }

    @Test
    func `what cannot be made leaves nothing behind, and names cannot be taken twice`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            try await ServerCommandTests.make(in: data)
            try "mine".write(toFile: "\(directory)/mine.key", atomically: true, encoding: .utf8)
            let before = try await Self.content(data)
            let add = [try Programs.path("docker-ram-server"), "organization", "add", "--data", data]
            let cases: [(arguments: [String], status: Int32, words: String)] = [
                (["--organization", "acme", "--owner", "alice"], 1, "there is an organization \"acme\" already"),
                (["--organization", "Ops", "--owner", "alice"], 64, "is no name"),
                (["--organization", "ops", "--owner", "system"], 64, "which is the server's own"),
                (["--organization", "ops", "--owner", "alice", "--contact", "caf\u{e9}"], 64, "printable ASCII"),
                (["--organization", "ops", "--owner", "bob", "--password-stdin"], 1, "no password on standard input"),
                (
                    ["--organization", "ops", "--owner", "alice", "--root-key", "\(directory)/mine.key"], 1,
                    "file exists"
                ),
                (
                    ["--organization", "ops", "--owner", "alice", "--root-key", "\(directory)/no/key"], 1,
                    "cannot write"
                ),
            ]
            for (arguments, status, words) in cases {
                let refused = try await runProgram(add + arguments).expecting(status)
                #expect(refused.errors.contains(words), "\(refused)")
                #expect(try await Self.content(data) == before, "\(arguments)")
            }
            #expect(try String(contentsOfFile: "\(directory)/mine.key", encoding: .utf8) == "mine")
            let nowhere = try await Self.run("organization", "list", "--data", "\(directory)/other").expecting(1)
            #expect(nowhere.errors.contains("there is no server in"))
        }
    }

    @Test
    func `of those who make the same organization at the same time one does, and its keys stay`() async throws {
        try await withTemporaryDirectory { directory in
            let data = DataDirectory(path: "\(directory)/data")
            try await ServerCommandTests.make(in: data.path)
            let outcomes = await withTaskGroup { group in
                for number in 0..<4 {
                    group.addTask {
                        do {
                            let store = try Store(path: data.database)
                            let setup = OrganizationSetup(
                                organization: "ops",
                                contact: nil,
                                owner: "alice",
                                password: nil,
                                now: .now,
                                documents: FirstDocuments(rootKey: .new(file: "\(directory)/\(number).key"))
                            )
                            _ = try await setup.run(in: store, data)
                            return true
                        } catch {
                            return false
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(outcomes.count { $0 } == 1)
            #expect(try ServerFile.names(in: "\(data.keys)/ops").count == SigningKeys.kinds.count)
            #expect(try ServerFile.names(in: directory).filter { $0.hasSuffix(".key") }.count == 1)
            try await Self.run("publish", "--data", data.path, "\(directory)/files", "--organization", "ops").expecting(
                0
            )
        }
    }

    @Test
    func `two root keys that are made elsewhere wait for their signatures apart`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            try await ServerCommandTests.make(in: data)
            let keys = ["ops": SigningKey.generate(), "lab": SigningKey.generate()]
            for (name, key) in keys {
                let publicKey = StrictBase64.encode(key.verificationKey.bytes)
                let made = try await Self.run(
                    "organization",
                    "add",
                    "--data",
                    data,
                    "--organization",
                    name,
                    "--owner",
                    "alice",
                    "--root-public-key",
                    publicKey
                ).expecting(0)
                #expect(made.output.contains("\(data)/\(name)-root-1-to-sign.json"), "\(made)")
            }
            let list = try await Self.run("organization", "list", "--data", data).expecting(0)
            #expect(list.output.ranges(of: "its root document waits for a signature").count == 2, "\(list)")
            for (name, key) in keys {
                let file = "\(data)/\(name)-root-1-to-sign.json"
                var bytes = try #require(try ServerFile.read(file, atMost: 1 << 20))
                while bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
                let payload = try Envelope(json: bytes, as: .root).payload
                let signed = "\(directory)/signed.json"
                try Envelope(signing: payload, as: .root, with: [key]).json
                    .write(toFile: signed, atomically: true, encoding: .utf8)
                let trusted = try await Self.run("trust", "--data", data, signed).expecting(0)
                #expect(trusted.output.hasPrefix("\(name): root document 1 is in force"), "\(trusted)")
                #expect(!FileManager.default.fileExists(atPath: file))
            }
            try await Self.run("verify", "--data", data).expecting(0)
        }
    }
}
