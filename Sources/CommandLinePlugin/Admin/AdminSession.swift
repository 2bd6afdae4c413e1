import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess

/// Where somebody has signed in with `docker ram admin login`: `ram-admin.json` beside Docker's own settings.
///
/// It holds no secret; the tokens are in the keyring.
struct AdminRecord: Equatable, Sendable {
    let server: ServerURL
    let organization: String
    let certificateAuthority: String?

    static func path(_ context: CommandContext) throws -> String {
        guard let directory = context.dockerConfigDirectory else {
            throw Failure("neither HOME nor DOCKER_CONFIG is set, so Docker's settings cannot be found")
        }
        return "\(directory)/ram-admin.json"
    }

    /// The record of this person; `nil` if they have not signed in.
    static func load(_ context: CommandContext) throws -> AdminRecord? {
        guard let path = try? path(context) else { return nil }
        let bytes: [UInt8]
        do throws(FileError) {
            bytes = try Files.read(path, atMost: 64 << 10).bytes
        } catch {
            if error.isNotFound { return nil }
            throw error
        }
        do {
            return try AdminRecord(json: bytes)
        } catch {
            throw Failure(
                "\"\(path)\" is not in order: \(error)",
                hints: ["take it away, and sign in again: docker ram admin login"]
            )
        }
    }

    init(server: ServerURL, organization: String, certificateAuthority: String?) {
        self.server = server
        self.organization = organization
        self.certificateAuthority = certificateAuthority
    }

    private init(json: [UInt8]) throws {
        var texts: [String: String] = [:]
        var scanner = JSONScanner(json, limits: StrictJSON.Limits(bytes: 64 << 10, depth: 2))
        try scanner.object(of: ["server", "organization", "certificateAuthority"]) {
            (key, scanner) throws(InvalidJSON) in texts[key] = try scanner.string()
        }
        try scanner.end()
        guard let server = texts["server"], let organization = texts["organization"] else {
            throw Failure("\"server\" and \"organization\" must be there")
        }
        self.server = try AdminServer.server(server)
        try AdminServer.check(organization: organization)
        self.organization = organization
        certificateAuthority = texts["certificateAuthority"]
    }

    func write(_ context: CommandContext) throws {
        let path = try Self.path(context)
        try Files.makeDirectory(Files.directory(of: path), mode: 0o700)
        var members = [
            JSONMember("server", .string(server.description)), JSONMember("organization", .string(organization)),
        ]
        if let certificateAuthority {
            members.append(JSONMember("certificateAuthority", .string(certificateAuthority)))
        }
        try Files.replace(path, with: Array("\(JSONValue.object(members).text(indentation: "  "))\n".utf8), mode: 0o600)
    }
}

/// A session at an organization's server, kept in the keyring.
struct AdminSession: Sendable {
    /// What the keyring keeps.
    private struct Tokens {
        let user: String
        let access: Token
        /// Seconds since 1970.
        let accessEnds: Int
        let refresh: Token

        init?(_ secret: Secret) {
            guard let json = try? StrictJSON.parse(Array(secret.text.utf8)), let user = json.value(named: "user")?.text,
                let access = json.value(named: "accessToken")?.text,
                let ends = json.value(named: "accessTokenEnds")?.integer,
                let refresh = json.value(named: "refreshToken")?.text
            else { return nil }
            self.user = user
            self.access = Token(access)
            accessEnds = ends
            self.refresh = Token(refresh)
        }

        init?(_ session: OrganizationClient.Session, now: Int) {
            guard let refresh = session.refreshToken else { return nil }
            user = session.user
            access = session.accessToken
            accessEnds = now + session.expiresIn
            self.refresh = refresh
        }

        var secret: Secret {
            Secret(
                JSONValue.object([
                    JSONMember("user", .string(user)), JSONMember("accessToken", .string(access.text)),
                    JSONMember("accessTokenEnds", .integer(accessEnds)),
                    JSONMember("refreshToken", .string(refresh.text)),
                ]).text()
            )
        }
    }

    private let record: AdminRecord
    private let recordPath: String?
    private let helper: HelperProgram
    private let now: @Sendable () -> Int

    init(_ record: AdminRecord, _ context: CommandContext) {
        self.record = record
        recordPath = try? AdminRecord.path(context)
        helper = HelperProgram(context: context, configDirectory: context.dockerConfigDirectory ?? "/")
        now = context.now
    }

    private var serverURL: String { AdministrationKey.serverURL(of: record.server) }
    private var signInAgain: String { "run: docker ram admin login \(record.server)" }

    /// An access token that is good now.
    ///
    /// Refresh tokens are good once, so commands that run at the same time take turns.
    ///
    /// - Parameters:
    ///   - client: the server.
    ///   - refused: the token that the server did not take.
    /// - Returns: the token.
    /// - Throws: ``Failure`` if nobody is signed in any more.
    func accessToken(_ client: OrganizationClient, insteadOf refused: Token? = nil) throws -> Token {
        let lock = recordPath.map { open($0, O_RDONLY | O_CLOEXEC) } ?? -1
        defer { if lock >= 0 { close(lock) } }
        if lock >= 0 { while flock(lock, LOCK_EX) != 0, errno == EINTR {} }
        guard let tokens = try tokens() else {
            throw Failure("you are not signed in to \"\(record.server)\"", hints: [signInAgain])
        }
        if tokens.access != refused, tokens.accessEnds > now() + 30 { return tokens.access }
        let next: OrganizationClient.Session
        do throws(ServerFault) {
            let old = tokens.refresh
            next = try waitFor { () async throws(ServerFault) in try await client.token(.refresh(old)) }
        } catch {
            guard error.code == "invalid_grant" || error.code == "not_a_member" else {
                throw Failure(error, at: record.server)
            }
            throw Failure("your session at \"\(record.server)\" has ended", hints: [signInAgain])
        }
        try keep(next)
        return next.accessToken
    }

    /// Keeps a session in the keyring.
    func keep(_ session: OrganizationClient.Session) throws {
        guard let tokens = Tokens(session, now: now()) else {
            throw Failure("\"\(record.server)\" gave no refresh token, so there is no session to keep")
        }
        try reachingKeyring { stores in
            try stores.store(serverURL, "\(record.organization)/\(session.user)", tokens.secret)
        }
    }

    /// What ends the session at the server; `nil` if there is none.
    func refreshToken() throws -> Token? { try tokens()?.refresh }

    /// Takes the session out of the keyring.
    ///
    /// - Returns: what ends the session at the server; `nil` if there was none.
    func forget() throws -> (user: String, refreshToken: Token)? {
        let tokens = try tokens()
        try reachingKeyring { try $0.erase(serverURL) }
        return tokens.map { ($0.user, $0.refresh) }
    }

    private func tokens() throws -> Tokens? {
        try reachingKeyring { stores in
            guard let kept = try stores.fetch(serverURL) else { return nil }
            guard let tokens = Tokens(kept.secret) else {
                throw Failure("what the keyring holds for \"\(serverURL)\" is no session", hints: [signInAgain])
            }
            return tokens
        }
    }

    private func reachingKeyring<Result>(_ body: (CredentialStores) throws -> Result) throws -> Result {
        do {
            return try body(helper.stores)
        } catch let refused as HelperProgram.Refused {
            throw Failure(
                "the keyring cannot be used: \(refused)",
                hints: [
                    "without a keyring, as in CI: set DOCKER_RAM_SERVER, DOCKER_RAM_ORGANIZATION and DOCKER_RAM_TOKEN"
                ]
            )
        }
    }
}
