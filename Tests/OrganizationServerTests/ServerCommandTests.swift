import Foundation
import GRDB
import Glibc
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport
import Testing

@testable import OrganizationServer

/// The program itself, with files and sockets.
struct ServerCommandTests {
    static let password = "correct horse battery"

    static func run(_ arguments: String..., input: String = "") async throws -> EndedProgram {
        try await runProgram([try Programs.path("docker-ram-server")] + arguments, input: input)
    }

    private static func initialize(_ directory: String) async throws {
        try await run(
            "init",
            "--data",
            directory,
            "--organization",
            "acme",
            "--owner",
            "alice",
            "--password-stdin",
            "--public-url",
            "http://127.0.0.1:8443",
            "--contact",
            "platform@acme.test",
            "--root-key",
            "\(directory).root.key",
            input: "\(password)\n"
        ).expecting(0)
    }

    /// A server as `init` makes it, at a cost for tests: an unoptimized scrypt takes many seconds.
    static func make(in directory: String) async throws {
        let data = DataDirectory(path: directory)
        try data.create()
        let store = try Store(path: data.database)
        let setup = OrganizationSetup(
            organization: "acme",
            contact: nil,
            owner: "alice",
            password: try await Passwords(cost: 4).hash(Password(password)),
            now: .now,
            documents: FirstDocuments(rootKey: .new(file: "\(directory)/root.key"))
        )
        _ = try await setup.run(in: store, data)
        try store.database.close()
        let address = try #require(PublicAddress("http://127.0.0.1:8443"))
        try DataDirectory.write(ServerSettings(publicAddress: address, passwordCost: 15).json, to: data.settings)
        for name in try FileManager.default.contentsOfDirectory(atPath: directory) where name != "keys" {
            #expect(chmod("\(directory)/\(name)", 0o600) == 0)
        }
    }

    /// Runs a server while the body runs; gets its port.
    static func serving(
        _ directory: String,
        _ arguments: [String] = [],
        on disk: SmallDisk? = nil,
        _ body: (Int, RunningProgram) async throws -> Void
    ) async throws {
        let command = [
            try Programs.path("docker-ram-server"), "serve", "--data", directory, "--listen", "127.0.0.1:0",
        ]
        let program = try RunningProgram(disk?.command(command + arguments) ?? command + arguments)
        do {
            try await waitUntil("the server listens") {
                if let status = program.status {
                    throw UnexpectedEnd(description: "ended with \(status): \(program.errors)")
                }
                return port(in: program.errors) != nil
            }
            try await body(try #require(port(in: program.errors)), program)
        } catch {
            try await program.stop()
            throw error
        }
        try await program.stop()
    }

    static func port(in log: String) -> Int? {
        log.split(separator: "\n").first { $0.contains("listening") }
            .flatMap { $0.firstMatch(of: #/127\.0\.0\.1:(\d+)\b/#)?.1 }.flatMap { Int($0) }
    }

    static func ask(_ port: Int, _ head: String, _ body: String = "") throws -> String {
        let connection = try RawConnection(to: "127.0.0.1", port: UInt16(port))
        let length = body.isEmpty ? "" : "Content-Length: \(body.utf8.count)\r\n"
        _ = connection.send("\(head)\r\nHost: 127.0.0.1\r\n\(length)Connection: close\r\n\r\n\(body)")
        var answer: [UInt8] = []
        // A connection waits ten seconds; an unoptimized scrypt on a busy machine takes longer.
        for _ in 0..<12 where answer.isEmpty { answer = connection.readToEnd() }
        return String(decoding: answer, as: UTF8.self)
    }

    private static func signIn(_ port: Int) throws -> String {
        try ask(
            port,
            "POST /v1/token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded",
            "grant_type=password&username=alice&organization=acme&password=correct+horse+battery"
        )
    }

    @Test
    func `init makes a server that only its owner can read, and serve runs it until SIGTERM`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            try await Self.initialize(data)
            for (path, mode) in [("", 0o700), ("/server.sqlite", 0o600), ("/server.json", 0o600)] {
                let attributes = try FileManager.default.attributesOfItem(atPath: data + path)
                #expect(attributes[.posixPermissions] as? Int == mode, "\(path)")
            }
            try await Self.serving(data) { port, program in
                for path in ["healthz", "readyz"] {
                    let answer = try Self.ask(port, "GET /\(path) HTTP/1.1")
                    #expect(answer.contains("200 OK"), "\(answer)")
                }
                let answer = try Self.signIn(port)
                #expect(answer.contains("200 OK"), "\(answer)")
                // Neither a second server nor a restore works in the same directory.
                let second = try await Self.run("serve", "--data", data, "--listen", "127.0.0.1:0").expecting(1)
                #expect(second.errors.contains("another docker-ram-server works in"))
                program.send(SIGTERM)
                #expect(try await program.status(within: .seconds(20)) == 0)
                #expect(program.errors.contains("stopped"))
                // What is logged says what was asked, and no secret.
                #expect(program.errors.contains("route=/v1/token"))
                #expect(!program.errors.contains("horse") && !program.errors.contains("ramr_"))
                #expect(!program.errors.contains("rama_"))
            }
            let store = try DatabaseQueue(path: "\(data)/server.sqlite")
            let kept = try await store.read { try String.fetchAll($0, sql: "SELECT password FROM user") }
            #expect(kept.count == 1 && kept[0].hasPrefix("$scrypt$ln=17,r=8,p=1$"))
        }
    }

    @Test
    func `a directory with something in it is not taken, and a failed init leaves nothing`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: false)
            try "x".write(toFile: "\(data)/mine", atomically: true, encoding: .utf8)
            let arguments = [
                "--data", data, "--organization", "acme", "--owner", "alice", "--password-stdin", "--public-url",
                "https://ram.acme.test",
            ]
            let program = try Programs.path("docker-ram-server")
            let refused = try await runProgram([program, "init"] + arguments, input: "\(Self.password)\n").expecting(1)
            #expect(refused.errors.contains("is not empty"))
            #expect(try FileManager.default.contentsOfDirectory(atPath: data) == ["mine"])
            try FileManager.default.removeItem(atPath: "\(data)/mine")
            for weak in ["short\n", "", "alice and her friends\n", "aaaaaaaaaaaaaaaa\n"] {
                let refused = try await runProgram([program, "init"] + arguments, input: weak).expecting(1)
                #expect(refused.errors.contains("password"), "\(refused)")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: data) == [])
        }
    }

    @Test(arguments: [
        (["--organization", "Acme"], "is no name"), (["--owner", "al"], "is no name"),
        (["--owner", "system"], "the server's own"),
        (["--public-url", "http://ram.acme.test"], "is no address"),
        (["--public-url", "https://ram.acme.test/x"], "is no address"),
    ])
    func `init says what is wrong with its arguments`(change: ([String], String)) async throws {
        var options = [
            "--organization": "acme", "--owner": "alice", "--public-url": "https://ram.acme.test",
            "--data": "/nowhere/data",
        ]
        options[change.0[0]] = change.0[1]
        let command = [try Programs.path("docker-ram-server"), "init", "--password-stdin"]
        let refused = try await runProgram(command + options.flatMap { [$0.key, $0.value] }).expecting(64)
        #expect(refused.errors.contains(change.1), "\(refused)")
    }

    @Test
    func `without TLS and without a proxy it listens on loopback only`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            try await Self.make(in: data)
            let refused = try await Self.run("serve", "--data", data, "--listen", "0.0.0.0:0").expecting(1)
            #expect(refused.errors.contains("passwords would cross the network in the clear"))
            #expect(chmod(data, 0o755) == 0)
            let open = try await Self.run("serve", "--data", data, "--listen", "127.0.0.1:0").expecting(1)
            #expect(open.errors.contains("others can look into"))
        }
    }

    @Test
    func `it does TLS with a certificate and a key from files`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            try await Self.make(in: data)
            let files = ["--tls-certificate", "\(directory)/tls.crt", "--tls-key", "\(directory)/tls.key"]
            try await runProgram([
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", files[3], "-out", files[1], "-days", "2", "-subj", "/CN=localhost",
            ]).expecting(0)
            try await Self.serving(data, files) { port, _ in
                let answer = try await runProgram(
                    [
                        "openssl", "s_client", "-connect", "127.0.0.1:\(port)", "-CAfile", files[1],
                        "-verify_return_error", "-quiet",
                    ],
                    input: "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                )
                #expect(answer.output.contains("200 OK"), "\(answer)")
            }
            let half = try await Self.run("serve", "--data", data, "--tls-certificate", files[1]).expecting(64)
            #expect(half.errors.contains("go together"))
            let none = "\(directory)/none"
            for (certificate, key) in [(none, files[3]), (files[1], none)] {
                let options = ["--tls-certificate", certificate, "--tls-key", key]
                let command = [try Programs.path("docker-ram-server"), "serve", "--data", data] + options
                let ended = try await runProgram(command + ["--listen", "127.0.0.1:0"]).expecting(1)
                let fault = "error: cannot read \"\(none)\": no such file or directory\n"
                #expect(ended.errors.hasSuffix(fault), "\(ended)")
            }
        }
    }

    private static func initOnTerminal(_ directory: String, _ terminal: PseudoTerminal) throws -> RunningProgram {
        let program = try Programs.path("docker-ram-server")
        let names = ["--organization", "acme", "--owner", "alice", "--public-url", "https://ram.acme.test"]
        return try RunningProgram([program, "init", "--data", "\(directory)/data"] + names, terminal: terminal)
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
    func `whoever gives up at the question for a password has a terminal as before`(signal: Int32) async throws {
        try await withTemporaryDirectory { directory in
            let terminal = try PseudoTerminal()
            let program = try Self.initOnTerminal(directory, terminal)
            try await waitUntil("the password is asked for") { !terminal.echoes }
            if signal == SIGINT { terminal.type("hunt\u{3}") } else { program.send(signal) }
            #expect(try await program.status(within: .seconds(30)) == 128 + signal)
            #expect(terminal.echoes)
            #expect(!FileManager.default.fileExists(atPath: "\(directory)/data"))
            try await program.stop()
        }
    }

    @Test
    func `a password is asked for twice`() async throws {
        try await withTemporaryDirectory { directory in
            let terminal = try PseudoTerminal()
            let program = try Self.initOnTerminal(directory, terminal)
            for (question, answer) in [("Password of alice: ", "one"), ("Once more: ", "two")] {
                try await waitUntil(question) { program.errors.hasSuffix(question) && !terminal.echoes }
                terminal.type("\(answer)\n")
            }
            #expect(try await program.status(within: .seconds(30)) == 1)
            #expect(program.errors.contains("the two passwords differ") && terminal.echoes, "\(program.errors)")
            try await program.stop()
        }
    }

    @Test
    func `a server that cannot listen at its address ends and says so`() async throws {
        try await withTemporaryDirectory { directory in
            let (first, second) = ("\(directory)/first", "\(directory)/second")
            try await Self.make(in: first)
            try await Self.make(in: second)
            try await Self.serving(first) { port, _ in
                let address = "127.0.0.1:\(port)"
                let taken = try await Self.run("serve", "--data", second, "--listen", address).expecting(1)
                let said = "error: cannot listen at \(address): address already in use\n"
                #expect(taken.errors.hasSuffix(said), "\(taken)")
                #expect(!taken.errors.contains("CancellationError"), "\(taken)")
            }
            // Once the address is free, so is the directory.
            try await Self.serving(second) { port, _ in
                let answer = try Self.ask(port, "GET /readyz HTTP/1.1")
                #expect(answer.contains("200 OK"), "\(answer)")
            }
        }
    }

    @Test(.enabled(if: geteuid() == 0, "only root can be in somebody else's directory"))
    func `root makes nothing in the directory of the service's account, but copies it`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            let copy = "\(directory)/copy.sqlite"
            let nobody: uid_t = 65534
            try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: false)
            #expect(chown(data, nobody, nobody) == 0)
            func expectRefused(_ arguments: [String], input: String = "") async throws {
                let command = [try Programs.path("docker-ram-server"), arguments[0], "--data", data]
                let ended = try await runProgram(command + arguments.dropFirst(), input: input).expecting(1)
                #expect(ended.errors.contains("\"\(data)\" belongs to "), "\(ended)")
                #expect(ended.errors.contains("; run this as its owner: sudo -u '"), "\(ended)")
            }
            let address = ["--public-url", "http://127.0.0.1:8443"]
            try await expectRefused(
                ["init", "--organization", "acme", "--owner", "alice", "--password-stdin"] + address,
                input: "\(Self.password)\n"
            )
            try await expectRefused(["serve"] + address)
            #expect(try FileManager.default.contentsOfDirectory(atPath: data).isEmpty)

            #expect(chown(data, 0, 0) == 0)
            try await Self.make(in: data)
            #expect(chown(data, nobody, nobody) == 0)
            try await Self.run("backup", "--data", data, copy).expecting(0)
            let before = try Data(contentsOf: URL(fileURLWithPath: "\(data)/server.sqlite"))
            try await expectRefused(["restore", copy])
            try await expectRefused(["serve", "--listen", "127.0.0.1:0"])
            #expect(try Data(contentsOf: URL(fileURLWithPath: "\(data)/server.sqlite")) == before)
        }
    }

    @Test
    func `a copy made while the server runs brings everything back, and everybody signs in again`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            let copy = "\(directory)/copy.sqlite"
            try await Self.make(in: data)
            try await Self.serving(data) { port, _ in
                #expect(try Self.signIn(port).contains("200 OK"))
                try await Self.run("backup", "--data", data, copy).expecting(0)
                let again = try await Self.run("backup", "--data", data, copy).expecting(1)
                #expect(again.errors.contains("there is already a file"))
                let busy = try await Self.run("restore", "--data", data, copy).expecting(1)
                #expect(busy.errors.contains("another docker-ram-server works in"))
            }
            #expect(try FileManager.default.attributesOfItem(atPath: copy)[.posixPermissions] as? Int == 0o600)
            // The database is lost.
            try "no database".write(toFile: "\(data)/server.sqlite", atomically: false, encoding: .utf8)
            try await Self.run("restore", "--data", data, copy).expecting(0)
            let restored = try DatabaseQueue(path: "\(data)/server.sqlite")
            let counts = try await restored.read { database in
                [
                    try Int.fetchOne(database, sql: "SELECT count(*) FROM session"),
                    try Int.fetchOne(database, sql: "SELECT count(*) FROM session WHERE ended IS NULL"),
                    try Int.fetchOne(database, sql: "SELECT count(*) FROM membership WHERE role = 'owner'"),
                ]
            }
            #expect(counts == [1, 0, 1])
            try restored.close()
            let lost = try String(contentsOfFile: "\(data)/server.sqlite.before-restore", encoding: .utf8)
            #expect(lost == "no database")
            try await Self.serving(data) { port, _ in
                let answer = try Self.signIn(port)
                #expect(answer.contains("200 OK"), "\(answer)")
            }
        }
    }

    @Test
    func `what is no sound copy is not restored, and the database stays`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            let copy = "\(directory)/copy.sqlite"
            try await Self.make(in: data)
            try await Self.run("backup", "--data", data, copy).expecting(0)
            let before = try Data(contentsOf: URL(fileURLWithPath: "\(data)/server.sqlite"))
            var torn = try Data(contentsOf: URL(fileURLWithPath: copy))
            for index in stride(from: 4096, to: torn.count, by: 7) { torn[index] ^= 0x5A }
            try torn.write(to: URL(fileURLWithPath: "\(directory)/torn"))
            try Data("hello".utf8).write(to: URL(fileURLWithPath: "\(directory)/text"))
            try Data().write(to: URL(fileURLWithPath: "\(directory)/empty"))
            for name in ["torn", "text", "empty", "missing"] {
                let refused = try await Self.run("restore", "--data", data, "\(directory)/\(name)").expecting(1)
                #expect(refused.errors.hasPrefix("docker-ram-server: error: "), "\(refused)")
                #expect(try Data(contentsOf: URL(fileURLWithPath: "\(data)/server.sqlite")) == before, "\(name)")
            }
        }
    }

    @Test
    func `figures are for the server's own machine, and behind a proxy for who has a token`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            try await Self.make(in: data)
            for (arguments, status) in [([], "200 OK"), (["--behind-proxy"], "401 Unauthorized")] {
                try await Self.serving(data, arguments) { port, _ in
                    for more in ["", "\r\nX-Forwarded-For: 127.0.0.1", "\r\nX-Forwarded-For: 192.0.2.1"] {
                        let answer = try Self.ask(port, "GET /metrics HTTP/1.1\(more)")
                        #expect(answer.hasPrefix("HTTP/1.1 \(status)"), "\(arguments) \(more) \(answer.prefix(200))")
                        guard let body = answer.split(separator: "\r\n\r\n", maxSplits: 1).last, arguments.isEmpty
                        else { continue }
                        // A body of known length comes in one piece.
                        #expect(try ReadMetrics(String(body))["docker_ram_organizations"] == 1)
                    }
                }
            }
        }
    }

    @Test
    func `the log is lines of JSON if that is asked for`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            try await Self.make(in: data)
            try await Self.serving(data, ["--log-format", "json"]) { port, program in
                _ = try Self.ask(port, "GET /v1/me?token=ramp_secret HTTP/1.1")
                program.send(SIGTERM)
                #expect(try await program.status(within: .seconds(20)) == 0)
                let entries = try program.errors.split(separator: "\n").map { try StrictJSON.parse(Array($0.utf8)) }
                let messages = entries.compactMap { $0.value(named: "message")?.text }
                #expect(messages.contains("listening") && messages.contains("stopped"), "\(messages)")
                let answered = try #require(entries.first { $0.value(named: "message")?.text == "answered" })
                #expect(answered.value(named: "address")?.text == "127.0.0.1")
                #expect(answered.value(named: "status")?.text == "401")
                #expect(!program.errors.contains("ramp_secret"))
            }
            try await Self.run("serve", "--data", data, "--log-format", "xml").expecting(64)
        }
    }

    @Test
    func `verify proves the activity, also while the server runs, and names the line that was changed`() async throws {
        try await withTemporaryDirectory { directory in
            let data = "\(directory)/data"
            let kept = "\(directory)/checkpoints"
            try await Self.make(in: data)
            try await Self.serving(data) { port, _ in
                let first = try await Self.run("verify", "--data", data, "--checkpoints", kept).expecting(0)
                #expect(first.output.hasPrefix("acme: "), "\(first)")
                #expect(try Self.signIn(port).contains("200 OK"))
                let second = try await Self.run("verify", "--data", data, "--checkpoints", kept).expecting(0)
                #expect(second.output != first.output)
            }
            #expect(try String(contentsOfFile: kept, encoding: .utf8).split(separator: "\n").count == 1)
            let database = try DatabaseQueue(path: "\(data)/server.sqlite")
            let last = try await database.write { database in
                let last = try Int.fetchOne(database, sql: "SELECT max(number) FROM activity") ?? 0
                try database.execute(
                    sql: """
                        DROP TRIGGER activityIsNotRemoved;
                        DROP TRIGGER activityCheckpointIsNotRemoved;
                        DELETE FROM activity WHERE number = \(last);
                        DELETE FROM activityCheckpoint;
                        UPDATE sqlite_sequence SET seq = \(last - 1) WHERE name = 'activity';
                        """
                )
                return last
            }
            // Whoever can write to the whole directory leaves no trace in it, but what is elsewhere shows it.
            let compared = try await Self.run("verify", "--data", data, "--checkpoints", kept).expecting(1)
            #expect(compared.errors.contains("the activity of \"acme\": line \(last) does not fit"), "\(compared)")
            try await database.write { database in
                try database.execute(
                    sql: """
                        DROP TRIGGER activityIsNotChanged;
                        UPDATE activity SET actor = 'mallory' WHERE number = 2;
                        """
                )
            }
            let changed = try await Self.run("verify", "--data", data).expecting(1)
            #expect(changed.errors.contains("line 2 does not fit"), "\(changed)")
            #expect(changed.output == "")
        }
    }

    @Test(
        arguments: [
            (#"{"version":1,"publicURL":"https://ram.acme.test","listen":"127.0.0.1:1","passwordCost":15}"#, nil),
            (#"{"version":1,"publicURL":"https://ram.acme.test"}"#, nil),
            (#"{"version":2,"publicURL":"https://ram.acme.test"}"#, "must be there and 1"),
            (#"{"version":1}"#, "the key \"publicURL\" is missing"),
            (#"{"version":1,"publicURL":"https://ram.acme.test","port":1}"#, "port"),
            (#"{"version":1,"publicURL":"https://ram.acme.test","publicURL":"https://ram.acme.test"}"#, "twice"),
            (#"{"version":1,"publicURL":"https://ram.acme.test","passwordCost":12}"#, "from 15 to 17"),
            (#"{"version":1,"publicURL":"https://ram.acme.test","listen":"here"}"#, "no address"),
        ] as [(String, String?)]
    )
    func `the settings are read strictly`(json: String, fault: String?) throws {
        let read = Result { () throws(InvalidJSON) in try ServerSettings(json: Array(json.utf8)) }
        switch (read, fault) {
        case (.success(let settings), nil):
            #expect(try ServerSettings(json: Array(settings.json.utf8)) == settings)
        case (.failure(let error), let fault?): #expect(error.description.contains(fault), "\(error)")
        default: Issue.record("\(read)")
        }
    }
}

extension Store {
    /// A token of alice's that may do everything in acme for a day.
    func makeTokenForEverything() async throws -> OpaqueToken {
        try await makeAccessToken(
            named: "test",
            of: "alice",
            in: "acme",
            scopes: Set(Permission.allCases),
            now: .now,
            expires: Instant.now + 86_400
        )
    }
}
