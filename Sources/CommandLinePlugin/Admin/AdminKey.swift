import ArgumentParser
import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess
import SignedPolicy

/// `docker ram admin key init`: makes a root key, which never goes to a server.
struct AdminKeyInit: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Make a root key for an organization",
        discussion: """
            Whoever has root.key can take the machines of the organization over: keep it away
            from servers, and keep a copy. The server gets the public key; machines are
            enrolled with the fingerprint.

            Example: docker ram admin key init --out /media/stick
            """
    )

    @Option(help: ArgumentHelp("The directory for root.key and root.pub", valueName: "dir"), completion: .directory)
    var out: String

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let key = SigningKey.generate()
        let publicKey = StrictBase64.encode(key.verificationKey.bytes)
        if mkdir(out, 0o700) != 0, errno != EEXIST { throw FileError("make the directory \"\(out)\"", code: errno) }
        try NewFile.write("\(out)/root.key", key.file, mode: 0o600)
        try NewFile.write("\(out)/root.pub", "\(publicKey)\n", mode: 0o644)
        context.show(
            AdminDone(
                """
                key file     \(out)/root.key
                public key   \(publicKey)
                fingerprint  \(key.verificationKey.id.fingerprint)
                """,
                [
                    JSONMember("file", .string("\(out)/root.key")), JSONMember("publicKey", .string(publicKey)),
                    JSONMember("fingerprint", .string(key.verificationKey.id.fingerprint)),
                ]
            ),
            as: common.format
        )
    }
}

/// `docker ram admin key sign FILE`: signs a root document.
struct AdminKeySign: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "sign",
        abstract: "Sign a root document with a root key",
        discussion: """
            Needs no network. Look at what it shows before you hand the file back: the keys
            that the document names speak for the organization, and "2 of 3" says how many
            of them must sign. With the document that is in force, as you have signed it, it
            shows which keys are new and which are left out; and a document that lets fewer
            keys sign is refused unless you say that it is meant.

            Example: docker ram admin key sign root-2.json --key root.key --before root-1.json
            """
    )

    @Argument(help: "The root document, signed or not", completion: .file())
    var file: String

    @Option(help: ArgumentHelp("The key file", valueName: "file"), completion: .file())
    var key: String

    @Option(help: ArgumentHelp("The root document before it, as you have it", valueName: "file"), completion: .file())
    var before: String?

    @Flag(help: "Sign also if fewer keys must sign than before")
    var lowerThreshold = false

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let (envelope, root) = try Self.read(file)
        let earlier = try before.map { try documentBefore(root, $0) }
        let lowered = earlier.map { root.lowered(since: $0) } ?? []
        if !lowered.isEmpty, !lowerThreshold {
            throw Failure(
                "fewer keys would have to sign than before: \(lowered.words)",
                hints: ["if it is meant, sign with --lower-threshold"]
            )
        }
        let key = try readKey()
        let added = try Envelope(signing: envelope.payload, as: .root, with: [key])
        guard let signed = envelope.joined(with: [added]) else {
            throw Failure("the signature does not belong to \"\(file)\"")
        }
        try Files.replace(file, with: Array("\(signed.json)\n".utf8), mode: 0o644)
        context.show(SignedRoot(file: file, root: root, envelope: signed, before: earlier), as: common.format)
        context.note(lowered)
        let id = key.verificationKey.id
        if root.roles[.root]?.keys.contains(where: { $0.id == id }) != true {
            context.note(
                "note: the document does not name this key as a root key, so it counts only if the version before does"
            )
        }
    }

    static func read(_ file: String) throws -> (Envelope, RootDocument) {
        var bytes = try Files.read(file, atMost: DocumentKind.root.longest).bytes
        while bytes.last == 0x0A { bytes.removeLast() }
        do throws(Rejection) {
            let envelope = try Envelope(json: bytes, as: .root)
            return (envelope, try RootDocument(payload: envelope.payload))
        } catch {
            throw Failure(
                "\"\(file)\" is no root document: \(error)",
                hints: ["the server makes one: docker ram admin key prepare, or docker-ram-server init"]
            )
        }
    }

    private func documentBefore(_ root: RootDocument, _ file: String) throws -> RootDocument {
        let before = try Self.read(file).1
        guard before.organization == root.organization, before.version == root.version - 1 else {
            throw Failure(
                "\"\(file)\" is not the document before version \(root.version) of \(root.organization)",
                hints: ["it is version \(before.version) of \(before.organization)"]
            )
        }
        return before
    }

    private func readKey() throws -> SigningKey {
        let (bytes, status) = try Files.read(key, atMost: 4096)
        guard status.mode & 0o077 == 0 else {
            throw Failure("others may read \"\(key)\"", hints: ["close it to them: chmod 600 \(key)"])
        }
        guard let signing = SigningKey(file: bytes) else {
            throw Failure("\"\(key)\" is no key file", hints: ["it is one line that begins with docker-ram-key-v1"])
        }
        return signing
    }
}

/// Fewer keys than before that must sign.
private struct LoweredThreshold {
    let kind: DocumentKind
    let before: RootDocument.Role
    let after: RootDocument.Role
}

extension [LoweredThreshold] {
    fileprivate var words: String {
        map { lowered in "\(lowered.kind.rawValue) \(lowered.after.quorum), before \(lowered.before.quorum)" }
            .joined(separator: "; ")
    }
}

extension RootDocument {
    /// For what fewer keys must sign than the document before says.
    fileprivate func lowered(since before: RootDocument) -> [LoweredThreshold] {
        DocumentKind.roles.compactMap { kind in
            guard let role = roles[kind], let earlier = before.roles[kind], role.threshold < earlier.threshold else {
                return nil
            }
            return LoweredThreshold(kind: kind, before: earlier, after: role)
        }
    }

    /// The keys that another root document does not name for the same.
    fileprivate func keys(notIn other: RootDocument) -> [(kind: DocumentKind, key: VerificationKey)] {
        DocumentKind.roles.flatMap { kind in
            let others = other.roles[kind]?.keys ?? []
            return (roles[kind]?.keys ?? []).filter { !others.contains($0) }.map { (kind, $0) }
        }
    }
}

extension RootDocument.Role {
    /// How many of the keys must sign, for people.
    fileprivate var quorum: String { "\(threshold) of \(keys.count)" }
}

extension CommandContext {
    /// Says if fewer keys must sign than before.
    fileprivate func note(_ lowered: [LoweredThreshold]) {
        guard !lowered.isEmpty else { return }
        note("note: fewer keys must sign than before: \(lowered.words)")
    }
}

/// A root document, and who has signed it.
private struct SignedRoot: CommandResult {
    let file: String
    let root: RootDocument
    let envelope: Envelope
    /// The document before it, if that is known.
    let before: RootDocument?

    var json: JSONValue {
        var members = [
            JSONMember("file", .string(file)), JSONMember("organization", .string(root.organization)),
            JSONMember("version", .number("\(root.version)")), JSONMember("expires", .string(root.expires.description)),
            JSONMember(
                "keys",
                .object(
                    DocumentKind.roles.map { kind in
                        JSONMember(kind.rawValue, .texts((root.roles[kind]?.keys ?? []).map(\.id.fingerprint)))
                    }
                )
            ),
            JSONMember(
                "thresholds",
                .object(
                    DocumentKind.roles.map { kind in
                        JSONMember(kind.rawValue, .integer(root.roles[kind]?.threshold ?? 1))
                    }
                )
            ),
            JSONMember("signatures", .texts(envelope.signatures.map(\.key.fingerprint))),
        ]
        if let before {
            members.append(JSONMember("added", .texts(root.keys(notIn: before).map(\.key.id.fingerprint))))
            members.append(JSONMember("leftOut", .texts(before.keys(notIn: root).map(\.key.id.fingerprint))))
            members.append(JSONMember("lowered", .texts(root.lowered(since: before).map(\.kind.rawValue))))
        }
        return .object(members)
    }

    func text(for context: CommandContext) -> String {
        var rows: [[String]] = []
        for kind in DocumentKind.roles {
            guard let role = root.roles[kind] else { continue }
            for key in role.keys {
                let isNew = before.map { $0.roles[kind]?.keys.contains(key) != true } ?? false
                rows.append([kind.rawValue, role.quorum, key.id.fingerprint, isNew ? "new" : ""])
            }
        }
        if let before {
            rows += before.keys(notIn: root).map { [$0.kind.rawValue, "left out", $0.key.id.fingerprint, ""] }
        }
        rows += envelope.signatures.map { ["signed by", "", $0.key.fingerprint, ""] }
        let title = "\(file): root document \(root.version) of \(root.organization), until \(root.expires)"
        return ([title] + TerminalText.table(rows, indentation: "  ")).map(TerminalText.printable)
            .joined(separator: "\n")
    }
}

/// `docker ram admin key list`.
struct AdminKeyList: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the keys that the server signs with",
        discussion: "Example: docker ram admin key list"
    )

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        context.show(ServerKeys(json: try server.ask(.get, "keys").value), as: common.format)
    }
}

private struct ServerKeys: CommandResult {
    let json: JSONValue

    func text(for context: CommandContext) -> String {
        let rows = (json.value(named: "keys")?.members ?? []).flatMap { member in
            (member.value.elements ?? []).map { key in
                [member.name, "sha256:\(key.shown("id"))", Self.words(state: key.shown("state"))]
            }
        }
        let title = "root document \(json.shown("rootVersion")), until \(json.shown("rootExpires"))"
        return ([title, ""] + TerminalText.table([["KIND", "KEY", "STATE"]] + rows)).map(TerminalText.printable)
            .joined(separator: "\n")
    }

    private static func words(state: String) -> String { state == "waiting" ? "not named yet" : state }
}

/// What the server signs.
enum ServerKeyKind: String, ExpressibleByArgument, CaseIterable {
    case policy
    case freshness
    case ticket
}

/// `docker ram admin key create KIND`.
struct AdminKeyCreate: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Have the server make a key",
        discussion: """
            It signs as soon as a root document names it: see docker ram admin key prepare.

            Example: docker ram admin key create policy
            """
    )

    @Argument(help: "What it is for")
    var kind: ServerKeyKind

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let answer = try server.ask(.post, "keys", body: .object([JSONMember("kind", .string(kind.rawValue))]))
        context.show(
            AdminDone("Made the \(kind.rawValue) key sha256:\(answer.value.shown("id")).", answer.value),
            as: common.format
        )
    }
}

/// How many keys of a kind must sign: `root=2`.
struct RoleThreshold: ExpressibleByArgument {
    let kind: DocumentKind
    let count: Int

    init?(argument: String) {
        let parts = argument.split(separator: "=", omittingEmptySubsequences: false)
        guard parts.count == 2, let kind = DocumentKind.roles.first(where: { $0.rawValue == parts[0] }),
            let count = Int(parts[1]), (1...Envelope.mostSignatures).contains(count)
        else { return nil }
        self.kind = kind
        self.count = count
    }
}

/// `docker ram admin key prepare`: writes the next root document, to be signed.
struct AdminKeyPrepare: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "prepare",
        abstract: "Write the next root document, to be signed",
        discussion: """
            It names the keys of the server that sign, and those made since; never again one
            that was left out before. As many of each kind must sign as before, by what the
            server says; --before compares that with what you have.
            Then: docker ram admin key sign, with enough root keys of the version before, and
            with enough of its own if those change; and docker ram admin key publish.

            Example: docker ram admin key prepare --out root-2.json
            """
    )

    @Option(help: ArgumentHelp("The file to write", valueName: "file"), completion: .file())
    var out: String

    @Option(help: ArgumentHelp("Leave this key of the server out", valueName: "fingerprint"))
    var without: [String] = []

    @Option(help: ArgumentHelp("Add a root key: its public key", valueName: "key"))
    var addRootKey: [String] = []

    @Option(help: ArgumentHelp("Take a root key out", valueName: "fingerprint"))
    var removeRootKey: [String] = []

    @Option(help: ArgumentHelp("How many keys must sign, for example root=2", valueName: "kind=int"))
    var threshold: [RoleThreshold] = []

    @Option(help: ArgumentHelp("The root document in force, as you have it", valueName: "file"), completion: .file())
    var before: String?

    @Option(help: ArgumentHelp("For how many days it is good", valueName: "int"))
    var days = 400

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (1...3650).contains(days) else { throw ValidationError("--days is a number from 1 to 3650") }
    }

    func run(at server: AdminServer, in context: CommandContext) throws {
        let current = try server.newestRoot()
        if let before {
            guard try AdminKeySign.read(before).1 == current else {
                throw Failure(
                    "\"\(before)\" is not the root document that \"\(server.client.server)\" hands out",
                    hints: ["look at both: if yours is in force, do not trust the server"]
                )
            }
        }
        var roles: [DocumentKind: RootDocument.Role] = [:]
        roles[.root] = try role(.root, of: rootKeys(after: current.roles[.root]), after: current)
        let keys = try server.ask(.get, "keys").value.value(named: "keys")
        var left = Set(try without.map(Self.fingerprint))
        for kind in ServerKeyKind.allCases {
            guard let document = DocumentKind(rawValue: kind.rawValue) else { continue }
            let all = (keys?.value(named: kind.rawValue)?.elements ?? []).compactMap(Self.serverKey)
            let kept = all.filter { !$0.isRetired && !left.contains($0.key.id) }.map(\.key)
            guard !kept.isEmpty else {
                throw Failure(
                    "no \(kind.rawValue) key would be left",
                    hints: ["make another first: docker ram admin key create \(kind.rawValue)"]
                )
            }
            left.subtract(all.map(\.key.id))
            roles[document] = try role(document, of: kept, after: current)
        }
        if let unknown = left.first {
            throw Failure(
                "the server has no key \"\(unknown.fingerprint)\"",
                hints: ["see its keys: docker ram admin key list"]
            )
        }
        let next = RootDocument(
            organization: current.organization,
            version: current.version + 1,
            expires: Instant(seconds: Int64(context.now())) + Int64(days) * 86_400,
            roles: roles
        )
        let envelope = try Envelope(signing: next.payload, as: .root, with: [])
        try NewFile.write(out, "\(envelope.json)\n", mode: 0o644)
        context.show(SignedRoot(file: out, root: next, envelope: envelope, before: current), as: common.format)
        context.note(next.lowered(since: current))
    }

    /// A key in the server's answer, and whether a root document has left it out.
    private static func serverKey(_ json: JSONValue) -> (key: VerificationKey, isRetired: Bool)? {
        guard let bytes = json.value(named: "key")?.text.flatMap({ StrictBase64.decode($0.utf8) }),
            let key = VerificationKey(bytes)
        else { return nil }
        return (key, json.value(named: "state")?.text == "retired")
    }

    /// As many keys must sign as before, or as is asked for: that fewer do is nothing that happens by itself.
    private func role(
        _ kind: DocumentKind,
        of keys: [VerificationKey],
        after current: RootDocument
    ) throws -> RootDocument.Role {
        let asked = threshold.last { $0.kind == kind }?.count
        let count = asked ?? current.roles[kind]?.threshold ?? 1
        guard count <= keys.count else {
            throw Failure(
                "\(count) \(kind.rawValue) keys must sign, and there would be only \(keys.count)",
                hints: ["to let fewer sign: --threshold \(kind.rawValue)=\(keys.count)"]
            )
        }
        return RootDocument.Role(threshold: count, keys)
    }

    private func rootKeys(after current: RootDocument.Role?) throws -> [VerificationKey] {
        let removed = Set(try removeRootKey.map(Self.fingerprint))
        let before = current?.keys ?? []
        if let unknown = removed.first(where: { id in !before.contains { $0.id == id } }) {
            throw Failure("\"\(unknown.fingerprint)\" is no root key of the organization")
        }
        var keys = before.filter { !removed.contains($0.id) }
        for text in addRootKey {
            guard let key = StrictBase64.decode(text.utf8).flatMap({ VerificationKey($0) }) else {
                throw Failure(
                    "\"\(text)\" is no public key",
                    hints: ["docker ram admin key init prints it, and root.pub holds it"]
                )
            }
            if !keys.contains(key) { keys.append(key) }
        }
        guard !keys.isEmpty else {
            throw Failure("no root key would be left", hints: ["add another with --add-root-key"])
        }
        return keys
    }

    private static func fingerprint(_ text: String) throws -> KeyID {
        guard let id = KeyID(fingerprint: text) ?? KeyID(text) else {
            throw Failure("\"\(text)\" is no fingerprint", hints: ["one is sha256: and 64 hexadecimal digits"])
        }
        return id
    }
}

/// `docker ram admin key publish FILE`.
struct AdminKeyPublish: AdminCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Bring a signed root document to the server",
        discussion: """
            The server takes only what machines would take.

            Example: docker ram admin key publish root-2.json
            """
    )

    @Argument(help: "The root document", completion: .file())
    var file: String

    @OptionGroup var admin: AdminOptions
    @OptionGroup var common: CommonOptions

    func run(at server: AdminServer, in context: CommandContext) throws {
        let (envelope, _) = try AdminKeySign.read(file)
        let answer = try server.bring(root: Array(envelope.json.utf8))
        context.show(
            AdminDone(
                "Root document \(answer.value.shown("version")) of \(server.organization) is in force.",
                answer.value
            ),
            as: common.format
        )
    }
}

extension AdminServer {
    /// The newest root document, which counts for nothing until somebody has signed what is made of it.
    fileprivate func newestRoot() throws -> RootDocument {
        let client = client
        let fetched: OrganizationClient.FetchedDocument?
        do throws(ServerFault) {
            fetched = try waitFor { () async throws(ServerFault) in try await client.fetch(.root(nil)) }
        } catch {
            throw Failure(error, at: client.server)
        }
        guard let fetched else { throw Failure("\"\(client.server)\" sent no root document") }
        do throws(Rejection) {
            return try RootDocument(payload: Envelope(json: fetched.bytes, as: .root).payload)
        } catch {
            throw Failure("what \"\(client.server)\" sent is no root document: \(error)")
        }
    }

    fileprivate func bring(root: [UInt8]) throws -> Answer {
        var request = request(.post, ["root"])
        request.body = root
        do {
            return try send(request)
        } catch let fault as AdministrationFault {
            throw failure(fault)
        }
    }
}

/// A file that must not be there yet: what a key file holds is lost when it is overwritten.
private enum NewFile {
    static func write(_ path: String, _ text: String, mode: mode_t) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else {
            guard errno == EEXIST else { throw FileError("write \"\(path)\"", code: errno) }
            throw Failure("\"\(path)\" is there already", hints: ["take it away first, if nobody needs it any more"])
        }
        var rest = Array(text.utf8)[...]
        var failure: CInt = 0
        while failure == 0, !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { failure = errno }
        }
        if failure == 0, fsync(descriptor) != 0 { failure = errno }
        if close(descriptor) != 0, failure == 0 { failure = errno }
        guard failure == 0 else {
            unlink(path)
            throw FileError("write \"\(path)\"", code: failure)
        }
    }
}
