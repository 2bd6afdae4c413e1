import Foundation
import RegistryAccess
import Synchronization
import TestSupport
import Testing

@testable import LocalInstallation

/// A store that keeps credentials in memory and refuses some registries.
private final class MemoryStore: Sendable {
    private let kept = Mutex<[String: (String, Secret)]>([:])
    let refusing: Set<String>
    /// The store cannot be reached.
    let isAway = Mutex(false)
    let passHolds: Bool

    init(refusing: Set<String> = [], passHolds: Bool = false) {
        self.refusing = refusing
        self.passHolds = passHolds
    }

    struct Refused: Error, CustomStringConvertible {
        let description = "Your organization has disallowed this registry"
    }

    struct Away: Error, CustomStringConvertible {
        let description = "there is no session bus"
    }

    var registries: [String] { kept.withLock { $0.keys.sorted() } }

    func put(_ registry: String, _ username: String, _ secret: String) {
        kept.withLock { $0[registry] = (username, Secret(secret)) }
    }

    func username(_ registry: String) -> String? { kept.withLock { $0[registry]?.0 } }
    func secret(_ registry: String) -> String? { kept.withLock { $0[registry]?.1.text } }

    var stores: CredentialStores {
        CredentialStores(
            holdsCredentials: { [passHolds] in $0 == "pass" && passHolds },
            fetch: { registry in
                if self.refusing.contains(registry) { throw Refused() }
                return self.kept.withLock { $0[registry] }
            },
            store: { registry, username, secret in
                if self.isAway.withLock({ $0 }) { throw Away() }
                if self.refusing.contains(registry) { throw Refused() }
                self.kept.withLock { $0[registry] = (username, secret) }
            },
            erase: { registry in self.kept.withLock { _ = $0.removeValue(forKey: registry) } },
            isDisallowed: { self.refusing.contains($0) }
        )
    }
}

struct DeveloperSetupTests {
    /// Shapes of `config.json` as they are found on machines.
    static let shapes: [String] = [
        "{}",
        "{\n}\n",
        "",
        "{\n\t\"auths\": {}\n}",
        "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"YWxpY2U6czNjcmV0\"\n\t\t}\n\t}\n}",
        "{\"auths\":{\"ghcr.io\":{\"auth\":\"Ym9iOmh1bnRlcjI=\"},\"quay.io\":{\"auth\":\"Yjpj\",\"email\":\"b@c.test\"}}}",
        "{\n  \"auths\": { \"ghcr.io\": {} },\n  \"credsStore\": \"secretservice\"\n}\n",
        "{\n\t\"credsStore\": \"pass\"\n}",
        "{\n\t\"credsStore\": \"desktop\",\n\t\"currentContext\": \"desktop-linux\"\n}",
        "{\n    \"credHelpers\": {\n        \"public.ecr.aws\": \"ecr-login\"\n    }\n}\n",
        "{\"credHelpers\":{\"a.test\":\"x\",\"b.test:5000\":\"y\",\"https://index.docker.io/v1/\":\"z\"},\"credsStore\":\"pass\"}",
        "{\r\n\t\"psFormat\": \"table {{.ID}}\",\r\n\t\"detachKeys\": \"ctrl-e,e\"\r\n}\r\n",
        "{\n\t\"plugins\": {\n\t\t\"debug\": {\n\t\t\t\"hooks\": \"exec\"\n\t\t}\n\t},\n\t\"features\": {\n\t\t\"hooks\": \"true\"\n\t}\n}",
        "{\"features\":{\"hooks\":\"false\"}}",
        "{\"plugins\":{},\"features\":{\"buildkit\":\"true\"},\"unknown\":[1,2.50,{\"deep\":null}]}",
        "{\"auths\":{\"r.test\":{\"auth\":\"MDAwOg==\",\"identitytoken\":\"tok\"}},\"HttpHeaders\":{\"A\":\"b\"}}",
        "{\"auths\":{\"r.test\":{\"username\":\"u\",\"password\":\"p\"}}}",
        "{\"auths\":{\"r.test\":{\"auth\":\"eDp5\",\"registrytoken\":\"t\"},\"bad\":{\"auth\":\"###\"}}}",
        "{\"CredsStore\":\"secretservice\",\"AUTHS\":{\"r.test\":{\"Auth\":\"eDp5\"}}}",
        "{ \"credsStore\" : \"\" , \"proxies\" : { \"default\" : { \"httpProxy\" : \"http://p:1\" } } }",
        "{\n\t\"aliases\": {\n\t\t\"builder\": \"buildx\"\n\t},\n\t\"cliPluginsExtraDirs\": [\n\t\t\"/opt/p\"\n\t]\n}\n\n",
    ]

    private func config(_ directory: String) throws -> String {
        String(decoding: try #require(try SharedFile("\(directory)/config.json").bytes), as: UTF8.self)
    }

    private func value(_ directory: String, _ path: String...) throws -> JSONValue? {
        try JSONFileEdit(Array(try config(directory).utf8)).value(at: path)
    }

    private func routing(_ directory: String) throws -> JSONValue {
        try StrictJSON.parse(try #require(try SharedFile("\(directory)/ram.json").bytes))
    }

    private func with(
        _ config: String?,
        store: MemoryStore = MemoryStore(),
        _ body: (String, DeveloperSetup) throws -> Void
    ) throws {
        try withTemporaryDirectory { (directory) throws in
            if let config { try SharedFile("\(directory)/config.json").replace(with: Array(config.utf8)) }
            try body(directory, DeveloperSetup(directory: directory, stores: store.stores))
        }
    }

    // MARK: - Every shape

    @Test(arguments: shapes)
    func `undo gives the bytes back`(shape: String) throws {
        let store = MemoryStore()
        try with(shape, store: store) { (directory, setup) throws in
            let report = try setup.setUp(isDryRun: false)
            #expect(!report.changes.isEmpty)
            #expect(try value(directory, "credsStore") == .string("ram"))
            #expect(try value(directory, "credHelpers") == nil)
            #expect(try value(directory, "plugins", "ram", "hooks") == .string(DeveloperSetup.hooks))
            _ = try setup.undo(isDryRun: false)
            #expect(try config(directory) == shape)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["config.json"])
            #expect(store.registries.isEmpty)
        }
    }

    @Test(arguments: shapes)
    func `setting up twice is setting up once`(shape: String) throws {
        try with(shape) { (directory, setup) throws in
            _ = try setup.setUp(isDryRun: false)
            let once = try config(directory)
            let record = try SharedFile("\(directory)/ram-setup.json").bytes
            #expect(try setup.setUp(isDryRun: false).changes.isEmpty)
            #expect(try config(directory) == once)
            #expect(try SharedFile("\(directory)/ram-setup.json").bytes == record)
            _ = try setup.undo(isDryRun: false)
            #expect(try config(directory) == shape)
        }
    }

    @Test(arguments: shapes)
    func `a dry run changes nothing and says the same`(shape: String) throws {
        try with(shape) { (directory, setup) throws in
            let dry = try setup.setUp(isDryRun: true)
            #expect(try config(directory) == shape)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["config.json"])
            #expect(try setup.setUp(isDryRun: false).changes == dry.changes)
            let after = try config(directory)
            _ = try setup.undo(isDryRun: true)
            #expect(try config(directory) == after)
        }
    }

    @Test(arguments: shapes)
    func `undo keeps what others changed since`(shape: String) throws {
        try with(shape) { (directory, setup) throws in
            let before = try JSONFileEdit(Array(shape.utf8)).value
            _ = try setup.setUp(isDryRun: false)
            var edit = try JSONFileEdit(Array(try config(directory).utf8))
            try edit.set(.string("{{json .}}"), at: ["imagesFormat"])
            try SharedFile("\(directory)/config.json").replace(with: edit.bytes)
            _ = try setup.undo(isDryRun: false)
            var after = try JSONFileEdit(Array(try config(directory).utf8))
            #expect(after.value(at: ["imagesFormat"]) == .string("{{json .}}"))
            try after.remove(at: ["imagesFormat"])
            #expect(Self.sorted(after.value) == Self.sorted(before))
        }
    }

    @Test(arguments: shapes)
    func `no secret stands in the record or in ram json`(shape: String) throws {
        try with(shape) { (directory, setup) throws in
            _ = try setup.setUp(isDryRun: false)
            for name in ["ram-setup.json", "ram.json"] {
                guard let bytes = try SharedFile("\(directory)/\(name)").bytes else { continue }
                let text = String(decoding: bytes, as: UTF8.self)
                for secret in ["YWxpY2U6czNjcmV0", "Ym9iOmh1bnRlcjI=", "\"tok\"", "eDp5", "Yjpj", "s3cret"] {
                    #expect(!text.contains(secret))
                }
            }
        }
    }

    /// A value whose members are in the order of their names: undoing puts members back, at the end.
    private static func sorted(_ value: JSONValue) -> JSONValue {
        guard let members = value.members else { return value }
        return .object(members.sorted { $0.name < $1.name }.map { JSONMember($0.name, sorted($0.value)) })
    }

    // MARK: - What becomes of stores and helpers

    @Test(
        "The earlier store becomes the store of ram.json",
        arguments: [
            ("{}", "keyring"), (#"{"credsStore":"secretservice"}"#, "keyring"), (#"{"credsStore":"pass"}"#, "pass"),
            (#"{"credsStore":"desktop"}"#, "desktop"), (#"{"credsStore":""}"#, "keyring"),
            (#"{"CREDSSTORE":"pass"}"#, "pass"),
        ]
    )
    func store(of config: String, is expected: String) throws {
        try with(config) { (directory, setup) throws in
            _ = try setup.setUp(isDryRun: false)
            #expect(try routing(directory).value(named: "store") == .string(expected))
        }
    }

    @Test
    func `pass is kept where Docker would have taken it by default`() throws {
        try with("{}", store: MemoryStore(passHolds: true)) { (directory, setup) throws in
            _ = try setup.setUp(isDryRun: false)
            #expect(try routing(directory).value(named: "store") == .string("pass"))
        }
    }

    @Test
    func `helpers of single registries move, and what is no registry stays`() throws {
        let config = #"{"credHelpers":{"a.test":"x","no host":"y","b.test:443":"z","c.test":"ram","d.test":""}}"#
        try with(config) { (directory, setup) throws in
            let report = try setup.setUp(isDryRun: false)
            #expect(
                try value(directory, "credHelpers")
                    == .object([JSONMember("no host", .string("y")), JSONMember("d.test", .string(""))])
            )
            let helpers = try routing(directory).value(named: "helpers")?.elements ?? []
            #expect(Set(helpers.compactMap { $0.value(named: "address")?.text }) == ["a.test", "b.test"])
            #expect(report.notes.count == 2)
            _ = try setup.undo(isDryRun: false)
            #expect(try self.config(directory) == config)
        }
    }

    @Test
    func `routes that were written by hand stay, before and after`() throws {
        try with(#"{"credHelpers":{"a.test":"new"},"credsStore":"pass"}"#) { (directory, setup) throws in
            let hand =
                #"{"store":"keyring","helpers":[{"address":"a.test","helper":"old"},{"address":"**","helper":"w"}]}"#
            try SharedFile("\(directory)/ram.json").replace(with: Array(hand.utf8))
            _ = try setup.setUp(isDryRun: false)
            let helpers = try routing(directory).value(named: "helpers")?.elements?.map { $0.text(indentation: nil) }
            #expect(helpers == [#"{"address":"**","helper":"w"}"#, #"{"address":"a.test","helper":"new"}"#])
            #expect(try routing(directory).value(named: "store") == .string("pass"))
            _ = try setup.undo(isDryRun: false)
            #expect(try SharedFile("\(directory)/ram.json").bytes == Array(hand.utf8))
        }
    }

    // MARK: - Secrets

    @Test
    func `plain secrets move, and only what the store took leaves the file`() throws {
        let config = """
            {"auths":{"ghcr.io":{"auth":"Ym9iOmh1bnRlcjI="},"denied.test":{"auth":"YTpi"},\
            "t.test":{"auth":"MDAwOg==","identitytoken":"tok"},"u.test":{"username":"u","password":"p"}}}
            """
        let store = MemoryStore(refusing: ["denied.test"])
        try with(config, store: store) { (directory, setup) throws in
            let report = try setup.setUp(isDryRun: false)
            #expect(store.registries == ["ghcr.io", "t.test", "u.test"])
            #expect(store.secret("ghcr.io") == "hunter2" && store.username("ghcr.io") == "bob")
            #expect(store.secret("t.test") == "tok" && store.username("t.test") == "<token>")
            #expect(store.secret("u.test") == "p")
            #expect(try value(directory, "auths", "denied.test", "auth") == .string("YTpi"))
            for moved in store.registries { #expect(try value(directory, "auths", moved) == .object([])) }
            #expect(report.staying == ["\"denied.test\": Your organization has disallowed this registry"])
            _ = try setup.undo(isDryRun: false)
            #expect(try self.config(directory) == config)
        }
    }

    @Test
    func `after a logout the next login is for the store`() throws {
        let store = MemoryStore()
        try with(#"{"auths":{"ghcr.io":{"auth":"Ym9iOmh1bnRlcjI="}}}"#, store: store) { (directory, setup) throws in
            store.isAway.withLock { $0 = true }
            _ = try setup.setUp(isDryRun: false)
            var edit = try JSONFileEdit(Array(try config(directory).utf8))
            try edit.remove(at: ["auths", "ghcr.io"])
            try SharedFile("\(directory)/config.json").replace(with: edit.bytes)
            #expect(try setup.setUp(isDryRun: true).changes == [#"- config.json: credHelpers "ghcr.io": """#])
            _ = try setup.setUp(isDryRun: false)
            #expect(try value(directory, "credHelpers") == nil)
            #expect(try setup.setUp(isDryRun: false).changes.isEmpty)
            _ = try setup.undo(isDryRun: false)
            #expect(try config(directory) == #"{"auths":{}}"#)
        }
    }

    @Test
    func `what was moved twice is given back once`() throws {
        let config = #"{"auths":{"ghcr.io":{"auth":"Ym9iOmh1bnRlcjI="}}}"#
        try with(config) { (directory, setup) throws in
            _ = try setup.setUp(isDryRun: false)
            // Somebody took the file back from a backup.
            try SharedFile("\(directory)/config.json").replace(with: Array(config.utf8))
            _ = try setup.setUp(isDryRun: false)
            let report = try #require(try setup.undo(isDryRun: false))
            #expect(report.changes.filter { $0.contains("from the store") }.count == 1)
            #expect(try self.config(directory) == config)
        }
    }

    @Test
    func `what a store cannot take is still read from the file, until the store takes it`() throws {
        let config = """
            {"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"https://ghcr.io/v2/":{"auth":"Ym9iOmh1bnRlcjI="},\
            "denied.test":{"auth":"YTpi"}}}
            """
        let store = MemoryStore(refusing: ["denied.test"])
        try with(config, store: store) { (directory, setup) throws in
            store.isAway.withLock { $0 = true }
            let report = try setup.setUp(isDryRun: false)
            #expect(report.staying.count == 3)
            let fromFile: JSONValue = .object([
                JSONMember("https://index.docker.io/v1/", .string("")), JSONMember("ghcr.io", .string("")),
            ])
            #expect(try value(directory, "credHelpers") == fromFile)
            #expect(try setup.setUp(isDryRun: false).changes.isEmpty)
            #expect(try value(directory, "credHelpers") == fromFile)

            store.isAway.withLock { $0 = false }
            _ = try setup.setUp(isDryRun: false)
            #expect(try value(directory, "credHelpers") == nil)
            #expect(store.secret("https://ghcr.io/v2/") == "hunter2")
            _ = try setup.undo(isDryRun: false)
            #expect(try self.config(directory) == config)
            #expect(store.registries.isEmpty)
        }
    }

    @Test
    func `taking a half setup back leaves no helper behind, also where others changed the file`() throws {
        let config = #"{"auths":{"ghcr.io":{"auth":"Ym9iOmh1bnRlcjI="}}}"#
        let store = MemoryStore()
        try with(config, store: store) { (directory, setup) throws in
            store.isAway.withLock { $0 = true }
            _ = try setup.setUp(isDryRun: false)
            var edit = try JSONFileEdit(Array(try self.config(directory).utf8))
            try edit.set(.string("x"), at: ["psFormat"])
            try SharedFile("\(directory)/config.json").replace(with: edit.bytes)
            _ = try setup.undo(isDryRun: false)
            #expect(
                try self.config(directory) == #"{"auths":{"ghcr.io":{"auth":"Ym9iOmh1bnRlcjI="}},"psFormat":"x"}"#
            )
        }
    }

    @Test
    func `a secret that somebody wants in the file is not moved`() throws {
        let config = #"{"auths":{"ghcr.io":{"auth":"Ym9iOmh1bnRlcjI="}},"credHelpers":{"ghcr.io":""}}"#
        let store = MemoryStore()
        try with(config, store: store) { (directory, setup) throws in
            _ = try setup.setUp(isDryRun: false)
            #expect(store.registries.isEmpty)
            #expect(try value(directory, "auths", "ghcr.io", "auth") == .string("Ym9iOmh1bnRlcjI="))
            #expect(try value(directory, "credHelpers", "ghcr.io") == .string(""))
        }
    }

    @Test
    func `what Docker did not read stays where it is`() throws {
        let config = #"{"auths":{"ghcr.io":{"auth":"Ym9iOmh1bnRlcjI="}},"credsStore":"pass"}"#
        let store = MemoryStore()
        try with(config, store: store) { (directory, setup) throws in
            let report = try setup.setUp(isDryRun: false)
            #expect(store.registries.isEmpty)
            #expect(report.staying.count == 1)
            #expect(try value(directory, "auths", "ghcr.io", "auth") == .string("Ym9iOmh1bnRlcjI="))
        }
    }

    @Test
    func `a secret that its store gave away since is left out, and said so`() throws {
        let config = #"{"auths":{"ghcr.io":{"auth":"Ym9iOmh1bnRlcjI="}}}"#
        let store = MemoryStore()
        try with(config, store: store) { (directory, setup) throws in
            _ = try setup.setUp(isDryRun: false)
            try store.stores.erase("ghcr.io")
            let report = try #require(try setup.undo(isDryRun: false))
            #expect(report.staying.count == 1)
            #expect(try self.config(directory) == #"{"auths":{"ghcr.io":{}}}"#)
        }
    }

    @Test
    func `a secret never shows in a description`() {
        #expect("\(Secret("s3cret"))" == "<redacted>")
        #expect(String(reflecting: Secret("s3cret")) == "<redacted>")
        let credential = PlainCredential(
            registry: "r.test",
            entry: .object([JSONMember("auth", .string("YWxpY2U6czNjcmV0"))])
        )
        #expect(credential.map { "\($0)".contains("s3cret") } == false)
    }

    @Test(
        "Docker's base64, both ways",
        arguments: [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("alice:s3cret", "YWxpY2U6czNjcmV0")]
    )
    func base64(text: String, encoded: String) {
        #expect(StrictBase64.encode(Array(text.utf8)) == encoded)
        #expect(Base64.decode(Array(encoded.utf8)) == Array(text.utf8))
    }

    @Test(arguments: [("YR==", "a"), ("YWJ=", "ab"), ("Y\r\nWJ\nj\n", "abc"), ("\n", "")])
    func `base64 that Go reads and does not write`(encoded: String, text: String) {
        #expect(Base64.decode(Array(encoded.utf8)) == Array(text.utf8))
    }

    @Test(arguments: ["Y", "YQ", "YQ=", "=YQ=", "YQ=a", "Y Q=", "YWJj=", "Y-_=", "===="])
    func `what is not base64 is not read`(text: String) {
        #expect(Base64.decode(Array(text.utf8)) == nil)
    }

    // MARK: - Bad input

    @Test(arguments: [
        "not json", "{\"auths\":", "[]", "\"text\"", "{\"credsStore\":\"a\",\"credsstore\":\"b\"}", "{}}",
        "{\"plugins\":\"no\"}", "{\"plugins\":{\"ram\":1}}", "{\"features\":[]}",
    ])
    func `a file that is not what it should be is left untouched`(config: String) throws {
        try with(config) { (directory, setup) throws in
            #expect(throws: (any Error).self) { try setup.setUp(isDryRun: false) }
            #expect(try self.config(directory) == config)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["config.json"])
        }
    }

    @Test
    func `undo without a record does nothing`() throws {
        try with("{\"credsStore\":\"ram\"}") { (directory, setup) throws in
            #expect(try setup.undo(isDryRun: false) == nil)
            #expect(try config(directory) == "{\"credsStore\":\"ram\"}")
        }
    }

    @Test(arguments: ["x", "{}", "{\"version\":2}", "{\"version\":1,\"config\":{}}"])
    func `a record that cannot be read stops undo and setup`(record: String) throws {
        try with("{}") { (directory, setup) throws in
            try SharedFile("\(directory)/ram-setup.json").replace(with: Array(record.utf8))
            #expect(throws: UnusableFile.self) { try setup.undo(isDryRun: false) }
            #expect(throws: UnusableFile.self) { try setup.setUp(isDryRun: false) }
            #expect(try config(directory) == "{}")
        }
    }

    // MARK: - Directories, links, later changes

    @Test
    func `a directory that was not there is made for its owner alone and goes again`() throws {
        try withTemporaryDirectory { (directory) throws in
            let path = "\(directory)/home/.docker"
            try FileManager.default.createDirectory(atPath: "\(directory)/home", withIntermediateDirectories: false)
            let setup = DeveloperSetup(directory: path, stores: MemoryStore().stores)
            _ = try setup.setUp(isDryRun: false)
            #expect(try Files.status(path).mode & 0o777 == 0o700)
            #expect(try Files.status("\(path)/config.json").mode & 0o777 == 0o600)
            _ = try setup.undo(isDryRun: false)
            #expect(try FileManager.default.contentsOfDirectory(atPath: "\(directory)/home") == [])
        }
    }

    @Test
    func `a config file behind a link is changed where it is`() throws {
        try withTemporaryDirectory { (directory) throws in
            try FileManager.default.createDirectory(atPath: "\(directory)/dot", withIntermediateDirectories: false)
            try SharedFile("\(directory)/real.json").replace(with: Array("{}".utf8))
            try FileManager.default.createSymbolicLink(
                atPath: "\(directory)/dot/config.json",
                withDestinationPath: "../real.json"
            )
            let setup = DeveloperSetup(directory: "\(directory)/dot", stores: MemoryStore().stores)
            _ = try setup.setUp(isDryRun: false)
            #expect(try JSONFileEdit(SharedFile("\(directory)/real.json").bytes ?? []).value(at: ["credsStore"]) != nil)
            _ = try setup.undo(isDryRun: false)
            #expect(try SharedFile("\(directory)/real.json").bytes == Array("{}".utf8))
            #expect(
                try FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/dot/config.json")
                    == "../real.json"
            )
        }
    }

    @Test
    func `a helper that was added later moves too, and undo gives both back`() throws {
        try with(#"{"credHelpers":{"a.test":"x"}}"#) { (directory, setup) throws in
            _ = try setup.setUp(isDryRun: false)
            var edit = try JSONFileEdit(Array(try config(directory).utf8))
            try edit.set(.string("y"), at: ["credHelpers", "b.test"])
            try SharedFile("\(directory)/config.json").replace(with: edit.bytes)
            _ = try setup.setUp(isDryRun: false)
            #expect(try routing(directory).value(named: "helpers")?.elements?.count == 2)
            _ = try setup.undo(isDryRun: false)
            #expect(
                Self.sorted(try #require(try value(directory)))
                    == .object([
                        JSONMember(
                            "credHelpers",
                            .object([JSONMember("a.test", .string("x")), JSONMember("b.test", .string("y"))])
                        )
                    ])
            )
            #expect(try SharedFile("\(directory)/ram.json").bytes == nil)
        }
    }

    @Test
    func `a store that somebody chose since stays chosen`() throws {
        try with("{}") { (directory, setup) throws in
            _ = try setup.setUp(isDryRun: false)
            var edit = try JSONFileEdit(Array(try config(directory).utf8))
            try edit.set(.string("desktop"), at: ["credsStore"])
            try SharedFile("\(directory)/config.json").replace(with: edit.bytes)
            let report = try #require(try setup.undo(isDryRun: false))
            #expect(try value(directory, "credsStore") == .string("desktop"))
            #expect(report.notes == ["credsStore in config.json was changed since and stays"])
        }
    }

    @Test
    func `a config file that Docker wrote anew after a login is undone by its keys`() throws {
        let config = #"{"auths":{"ghcr.io":{"auth":"Ym9iOmh1bnRlcjI="}}}"#
        let store = MemoryStore()
        try with(config, store: store) { (directory, setup) throws in
            _ = try setup.setUp(isDryRun: false)
            // What docker/cli 28 writes: tabs, the keys in its own order, an empty entry for the new login.
            let hooks = DeveloperSetup.hooks
            let written =
                "{\n\t\"auths\": {\n\t\t\"ghcr.io\": {},\n\t\t\"new.test\": {}\n\t},\n\t\"credsStore\": \"ram\",\n"
                + "\t\"plugins\": {\n\t\t\"ram\": {\n\t\t\t\"hooks\": \"\(hooks)\"\n\t\t}\n\t},\n"
                + "\t\"features\": {\n\t\t\"hooks\": \"true\"\n\t}\n}"
            try SharedFile("\(directory)/config.json").replace(with: Array(written.utf8))
            _ = try setup.undo(isDryRun: false)
            let expected =
                "{\n\t\"auths\": {\n\t\t\"ghcr.io\": {\n\t\t\t\"auth\": \"Ym9iOmh1bnRlcjI=\"\n\t\t},\n"
                + "\t\t\"new.test\": {}\n\t}\n}"
            #expect(try self.config(directory) == expected)
        }
    }
}
