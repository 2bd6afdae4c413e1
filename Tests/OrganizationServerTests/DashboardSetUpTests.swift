import Foundation
import GRDB
import Glibc
import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// The first set-up in a browser.
struct DashboardSetUpTests {
    /// A server without an organization, and the address that it has printed.
    private struct Setting: Sendable {
        let server: AccountsServer
        let data: DataDirectory
        let secret: String

        static let good = [
            "organization": "acme", "owner": "alice", "email": "alice@acme.test", "password": AccountsServer.password,
            "again": AccountsServer.password, "contact": "platform@acme.test", "rootKey": "here",
        ]

        static func with(_ body: @escaping @Sendable (Setting) async throws -> Void) async throws {
            try await withTemporaryDirectory { directory in
                let data = DataDirectory(path: directory)
                let setUp = FirstSetUp(data: data)
                try await AccountsServer.with(
                    keys: data.keys,
                    configure: { services in
                        services.data = data
                        services.setUp = setUp
                    },
                    { server in
                        let address = setUp.address(at: server.services.settings.publicAddress)
                        #expect(address.hasPrefix("https://ram.acme.test/set-up?secret=rams_"))
                        let secret = try #require(address.split(separator: "=").last.map(String.init))
                        try await body(Setting(server: server, data: data, secret: secret))
                    }
                )
            }
        }

        func get() async throws -> Answer { try await server.send(.get, "/set-up?secret=\(secret)") }

        func post(_ changes: [String: String?] = [:], origin: String? = AccountsServer.publicURL) async throws -> Answer
        {
            var fields = Self.good
            fields["secret"] = secret
            for (name, value) in changes { fields[name] = value }
            var headers = HTTPFields()
            headers[.origin] = origin
            return try await server.form("/set-up", fields, headers: headers)
        }

        /// Whether nothing was made.
        func isUntouched() async throws -> Bool {
            let rows = try await server.count("organization") + server.count("user")
            let files = try FileManager.default.contentsOfDirectory(atPath: data.path).filter { $0 != "keys" }
            let keys = try ServerFile.names(in: data.keys)
            return rows == 0 && files.isEmpty && keys.isEmpty
        }
    }

    @Test
    func `whoever has the address makes the organization, and is signed in as its owner`() async throws {
        try await Setting.with { setting in
            let server = setting.server
            #expect(try await server.send(.get, "/readyz").status == 503)
            let page = try await setting.get()
            #expect(page.status == 200 && page.hidden("secret") == setting.secret, "\(page)")
            #expect(page.headers[.cacheControl] == "no-store")
            let made = try await setting.post()
            #expect(made.status == 303, "\(made)")
            #expect(try await server.send(.get, "/readyz").status == 200)
            let browser = TestBrowser(server, try #require(made.cookie("__Host-ram_session")))
            let first = try await browser.get(try #require(made.headers[.location]))
            #expect(first.status == 200, "\(first)")
            let keyFile = "\(setting.data.path)/acme-root.key"
            let key = try #require(SigningKey(file: try ServerFile.read(keyFile, atMost: 4096, isSecret: true) ?? []))
            let fingerprint = key.verificationKey.id.fingerprint
            let command =
                "docker ram enroll https://ram.acme.test --organization acme --fingerprint \(fingerprint) --require-sign-in"
            #expect(first.text.contains(command), "\(first)")
            #expect(first.text.contains("The root key is still on the server") && first.text.contains(keyFile))
            // As soon as it is moved away nothing is said of it any more.
            unlink(keyFile)
            #expect(
                try await !browser.get("/organizations/acme/settings/machines").text.contains("still on the server")
            )
            // A machine that was told the fingerprint takes what the server has.
            let root = try await server.send(.get, "/v1/organizations/acme/documents/root/1.json")
            _ = try TrustedDocuments(
                organization: "acme",
                pinned: key.verificationKey.id,
                roots: [Array(root.text.utf8)]
            )
            let policy = try await server.policy()
            #expect(policy.rules.map(\.address.description) == ["docker.io"])
            #expect(policy.contact == "platform@acme.test")
            #expect(try await server.count("membership WHERE role = 'owner' AND user = 'alice'") == 1)
            for name in ["alice", "alice@acme.test"] {
                let user = try await server.services.user(
                    named: name,
                    password: Password(AccountsServer.password),
                    from: "192.0.2.1"
                )
                #expect(user == "alice")
            }
            let names = try FileManager.default.contentsOfDirectory(atPath: setting.data.path)
            #expect(names == ["keys"], "what was beside the database is gone")
            // It is over, also for who has the address.
            #expect(try await setting.get().status == 404)
            #expect(try await setting.post(["organization": "other", "owner": "mallory"]).status == 404)
            #expect(try await server.count("organization") == 1)
        }
    }

    @Test
    func `the sign-in page says that the server is not set up as long as it is not, and gives no address away`()
        async throws
    {
        try await Setting.with { setting in
            let server = setting.server
            let words = "This server is not set up yet."
            #expect(try await server.send(.get, "/").headers[.location]?.hasPrefix("/sign-in") == true)
            let page = try await server.send(.get, "/sign-in")
            #expect(page.status == 200 && page.text.contains(words), "\(page)")
            #expect(!page.text.contains("set-up?") && !page.text.contains("rams_"))
            #expect(!page.text.contains("name=\"password\""), "there is nobody who could sign in")
            #expect(try await setting.post().status == 303)
            let then = try await server.send(.get, "/sign-in")
            #expect(!then.text.contains(words) && then.text.contains("name=\"password\""))
        }
    }

    @Test(arguments: ["", "?secret=", "?secret=x", "?secret=x&secret=y", "?secret=\(OpaqueToken(.setUp).secret)"])
    func `without the secret there is the page that tells of none, whoever asks`(query: String) async throws {
        try await Setting.with { setting in
            let server = setting.server
            let accept: HTTPFields = [.accept: "text/html", .origin: AccountsServer.publicURL]
            let none = try await server.send(.get, "/nothing", headers: accept)
            let page = try await server.send(.get, "/set-up\(query)", headers: accept)
            #expect(page.status == 404 && page.text == none.text, "\(page)")
            let form = try await server.form("/set-up", ["secret": "x"], headers: accept)
            #expect(form.status == 404 && form.text == none.text, "\(form)")
            let noForm = try await server.send(.post, "/set-up", headers: accept, body: "{}")
            #expect(noForm.status == 404 && noForm.text == none.text, "\(noForm)")
            let made = try await setting.post()
            let owner = TestBrowser(server, try #require(made.cookie("__Host-ram_session")))
            var headers = accept
            headers[.cookie] = owner.cookie
            let again = try await server.send(.get, "/set-up?secret=\(setting.secret)", headers: headers)
            #expect(again.status == 404 && again.text.contains("There is no page here."), "\(again)")
            #expect(again.headers[.contentType]?.hasPrefix("text/html") == true)
        }
    }

    @Test
    func `it makes what init makes`() async throws {
        try await withTemporaryDirectory { directory in
            let data = DataDirectory(path: "\(directory)/init")
            try data.create()
            let store = try Store(path: data.database)
            let setup = OrganizationSetup(
                organization: "acme",
                contact: "platform@acme.test",
                owner: "alice",
                password: try await Passwords(cost: 4).hash(Password(AccountsServer.password)),
                now: .now,
                documents: FirstDocuments(rootKey: .new(file: "\(directory)/root.key"))
            )
            _ = try await setup.run(in: store, data)
            let expected = try await Self.content(store)
            try store.database.close()
            try await Setting.with { setting in
                #expect(try await setting.post(["email": nil]).status == 303)
                // The session of the browser is what more there is.
                let content = try await Self.content(setting.server.services.store)
                    .filter { !$0.hasPrefix("session ") && !$0.contains("session.start") }
                #expect(content == expected.filter { !$0.hasPrefix("session ") })
                #expect(try await setting.server.services.store.damage() == nil)
            }
        }
    }

    /// How many rows each table has, and what was recorded.
    private static func content(_ store: Store) async throws -> [String] {
        try await store.database.read { database in
            let tables = try String.fetchAll(
                database,
                sql: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
            )
            let counts = try tables.filter { $0 != "activity" }.map { table in
                "\(table) \(try Int.fetchOne(database, sql: "SELECT count(*) FROM \(table)") ?? -1)"
            }
            let activity = try String.fetchAll(
                database,
                sql: "SELECT action || ' ' || actor || ' ' || replace(name, 'sha256', '') FROM activity ORDER BY number"
            )
            return counts + activity
        }
    }

    @Test
    func `without the secret there is nothing`() async throws {
        try await Setting.with { setting in
            let server = setting.server
            let others = ["", "?secret=", "?secret=rams_x", "?secret=\(OpaqueToken(.setUp).secret)", "?other=x"]
            let nothing = try await server.send(.get, "/nothing")
            for query in others {
                let answer = try await server.send(.get, "/set-up\(query)")
                #expect(answer.status == 404, "\(query)")
                #expect(answer["detail"] == nothing["detail"])
            }
            for secret in [nil, "", OpaqueToken(.setUp).secret, OpaqueToken(.form).secret] as [String?] {
                #expect(try await setting.post(["secret": secret]).status == 404)
            }
            #expect(try await setting.isUntouched())
        }
        // Nor on a server that has an organization from the start.
        try await AccountsServer.with { server in
            try await server.make()
            #expect(try await server.send(.get, "/set-up?secret=\(OpaqueToken(.setUp).secret)").status == 404)
        }
    }

    @Test(arguments: ["https://evil.test", "null", nil] as [String?])
    func `a form of another site makes nothing`(origin: String?) async throws {
        try await Setting.with { setting in
            let answer = try await setting.post(origin: origin)
            #expect(answer.status == 403, "\(answer)")
            #expect(try await setting.isUntouched())
        }
    }

    @Test(
        "what is not in order is said, and nothing of what was typed is lost but passwords",
        arguments: [
            ("organization", "", "A name is 3 to 40"), ("organization", "Acme", "A name is 3 to 40"),
            ("owner", "al", "A name is 3 to 40"), ("owner", "system", "the server&#39;s own"),
            ("email", "nobody", "no e-mail address"), ("contact", "caf\u{e9}", "100 printable ASCII"),
            ("contact", String(repeating: "x", count: 101), "100 printable ASCII"),
            ("password", "short", "12 to 256 bytes"), ("password", "alice in a wonderland", "the name of its owner"),
            ("password", "the acme of horses", "everybody would try"), ("password", "abcdefghijklmnop", "sequences"),
            ("again", "another horse battery", "The two passwords differ"),
            ("rootPublicKey", "bm8ga2V5", "no public key as docker ram admin key init prints it"),
        ]
    )
    func faults(field: String, value: String, words: String) async throws {
        try await Setting.with { setting in
            let changes: [String: String?] = [field: value, "rootKey": field == "rootPublicKey" ? "elsewhere" : "here"]
            let answer = try await setting.post(changes)
            #expect(answer.status == 422 && answer.text.contains(words), "\(answer)")
            for name in ["organization", "owner", "email", "contact"] {
                let typed = name == field ? value : Setting.good[name] ?? ""
                #expect(
                    answer.text.contains("name=\"\(name)\"") && answer.text.contains("value=\"\(typed)\""),
                    "\(name)"
                )
            }
            #expect(!answer.text.contains(AccountsServer.password) && !answer.text.contains("another horse"))
            #expect(answer.cookie("__Host-ram_session") == nil)
            #expect(try await setting.isUntouched())
            #expect(try await setting.post().status == 303)
        }
    }

    @Test
    func `of two who send the form at the same time one makes the organization`() async throws {
        try await Setting.with { setting in
            let answers = try await withThrowingTaskGroup { group in
                for number in 0..<6 {
                    group.addTask {
                        try await setting.post([
                            "organization": "acme-\(number)", "owner": "owner-\(number)", "email": nil,
                        ])
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.filter { $0.status == 303 }.count == 1)
            #expect(answers.allSatisfy { [303, 404, 409].contains($0.status) }, "\(answers)")
            for table in ["organization", "user", "membership", "policyVersion"] {
                #expect(try await setting.server.count(table) == 1, "\(table)")
            }
            #expect(try ServerFile.names(in: setting.data.keys).count == 1)
        }
    }

    @Test
    func `what cannot be made leaves nothing behind, and can be tried again`() async throws {
        try await Setting.with { setting in
            let file = "\(setting.data.path)/acme-root.key"
            try Data("mine".utf8).write(to: URL(fileURLWithPath: file))
            let failed = try await setting.post()
            #expect(failed.status == 500 && failed.text.contains("file exists"), "\(failed)")
            #expect(FileManager.default.contents(atPath: file) == Data("mine".utf8), "what was there stays")
            unlink(file)
            #expect(try await setting.isUntouched())
            // A directory in the place of the folder of keys.
            try Data().write(to: URL(fileURLWithPath: setting.data.keys))
            #expect(try await setting.post().status == 500)
            unlink(setting.data.keys)
            #expect(try await setting.isUntouched())
            #expect(try await setting.post().status == 303)
        }
    }

    @Test
    func `a root key that was made elsewhere never comes to the server`() async throws {
        try await Setting.with { setting in
            let key = SigningKey.generate()
            let publicKey = StrictBase64.encode(key.verificationKey.bytes)
            let made = try await setting.post(["rootKey": "elsewhere", "rootPublicKey": " \(publicKey)\n"])
            #expect(made.status == 303, "\(made)")
            let browser = TestBrowser(setting.server, try #require(made.cookie("__Host-ram_session")))
            let page = "/organizations/acme/settings/machines"
            let waiting = try await browser.get(page)
            let file = "\(setting.data.path)/acme-root-1-to-sign.json"
            #expect(waiting.text.contains("waits for your signature") && waiting.text.contains(file), "\(waiting)")
            #expect(waiting.text.contains(key.verificationKey.id.fingerprint))
            let keys = try await browser.get("/organizations/acme/settings/signing-keys").text
            #expect(keys.contains("waits for your signature") && !keys.contains("Change a key"), "\(keys)")
            #expect(!FileManager.default.fileExists(atPath: "\(setting.data.path)/acme-root.key"))
            // Where there is no policy yet the pages say what is missing.
            let access = try await browser.get(TestBrowser.access)
            #expect(access.status == 404 && access.text.contains("has to be signed first"), "\(access)")
            var bytes = try #require(try ServerFile.read(file, atMost: 1 << 20))
            while bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
            let payload = try Envelope(json: bytes, as: .root).payload
            let signed = try Envelope(signing: payload, as: .root, with: [key])
            _ = try await FirstDocuments.take(
                root: Array(signed.json.utf8),
                in: setting.server.services.store,
                setting.data
            )
            #expect(try await !browser.get(page).text.contains("waits for your signature"))
            #expect(try await browser.get(TestBrowser.access).status == 200)
        }
    }

    @Test
    func `50 hostile texts stay text`() async throws {
        try await Setting.with { setting in
            func page(_ text: String) async throws -> Answer {
                let fields = ["organization", "owner", "email", "contact", "rootPublicKey", "password"]
                var changes: [String: String?] = ["rootKey": "elsewhere"]
                for field in fields { changes[field] = "\(text) \u{e9}" }
                return try await setting.post(changes)
            }
            let harmless = try await page("harmless")
            for text in DashboardPageTests.hostile {
                let answer = try await page(text)
                #expect(answer.status == 422)
                #expect(answer.text.contains(HTMLText.escaped(text)), "\(text)")
                #expect(Self.form(answer) == Self.form(harmless), "\(text)")
            }
            #expect(try await setting.isUntouched())
        }
    }

    /// The tags of a page without those of its faults: a text may also be too short, or an address.
    private static func form(_ answer: Answer) -> [String] {
        PageTags(answer.text).tags.filter { !$0.hasPrefix("p") && !$0.hasPrefix("/p") }.map { tag in
            String(tag.prefix { $0 != " " })
        }
    }

    // MARK: - The program

    @Test
    func `serve begins a server in a new directory, and prints the address once`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            let refused = try await ServerCommandTests.run("serve", "--data", data, "--listen", "127.0.0.1:0")
                .expecting(1)
            #expect(refused.errors.contains("serve --public-url"), "\(refused)")
            #expect(!FileManager.default.fileExists(atPath: data))
            var secrets: Set<String> = []
            // It goes on to be without an organization when it is started again, with another secret.
            for more in [["--public-url", "http://127.0.0.1:8443"], [], ["--log-format", "json"]] {
                try await ServerCommandTests.serving(data, more) { port, program in
                    try await waitUntil("the address is printed") { program.output.contains("\n") }
                    let line = program.output.split(separator: "\n").first.map(String.init) ?? ""
                    let start = "set the server up at http://127.0.0.1:8443/set-up?secret="
                    #expect(line.hasPrefix(start) && program.output.split(separator: "\n").count == 1)
                    let secret = String(line.dropFirst(start.count))
                    secrets.insert(secret)
                    let ready = try ServerCommandTests.ask(port, "GET /readyz HTTP/1.1")
                    #expect(ready.contains(" 503 ") && ready.contains("there is no organization yet"), "\(ready)")
                    let page = try ServerCommandTests.ask(port, "GET /set-up?secret=\(secret) HTTP/1.1")
                    #expect(page.contains(" 200 ") && page.contains("Set up your organization"), "\(page)")
                    #expect(try ServerCommandTests.ask(port, "GET /set-up HTTP/1.1").contains(" 404 "))
                    program.send(SIGTERM)
                    _ = try await program.status(within: .seconds(20))
                    #expect(!program.errors.contains("rams_"), "the log holds no secret")
                }
            }
            #expect(secrets.count == 3)
            let other = try await ServerCommandTests.run(
                "serve",
                "--data",
                data,
                "--public-url",
                "https://ram.acme.test"
            ).expecting(1)
            #expect(other.errors.contains("is at http://127.0.0.1:8443"), "\(other)")
            // Where there are keys there was an organization, and the database is not the one that there was.
            let keys = "\(data)/keys/acme"
            try FileManager.default.createDirectory(atPath: keys, withIntermediateDirectories: true)
            let lost = try await ServerCommandTests.run("serve", "--data", data, "--listen", "127.0.0.1:0").expecting(1)
            #expect(lost.errors.contains("it holds no organization"), "\(lost)")
        }
    }

    @Test
    func `a directory with something in it is not taken for a new one`() async throws {
        try await withTemporaryDirectory { directory in
            try Data("x".utf8).write(to: URL(fileURLWithPath: "\(directory)/mine"))
            let refused = try await ServerCommandTests.run(
                "serve",
                "--data",
                directory,
                "--public-url",
                "http://127.0.0.1:8443"
            ).expecting(1)
            #expect(refused.errors.contains("there is no server in"), "\(refused)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["mine"])
        }
    }
}
