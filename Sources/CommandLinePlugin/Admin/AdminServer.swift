import ArgumentParser
import Dispatch
import LocalInstallation
import OrganizationClient
import RegistryAccess
import Synchronization

/// Which server and which organization a command is about.
struct AdminOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Address of the server, if not that of the sign-in", valueName: "url"))
    var server: String?

    @Option(help: ArgumentHelp("The organization, if not that of the sign-in", valueName: "name"))
    var organization: String?

    @Option(help: ArgumentHelp("Certificate authorities of the server, a PEM file", valueName: "file"))
    var certificateAuthority: String?
}

/// A command that asks the organization's server for something.
protocol AdminCommand: PluginCommand {
    var admin: AdminOptions { get }
    /// Does the work.
    func run(at server: AdminServer, in context: CommandContext) throws
}

extension AdminCommand {
    func run(in context: CommandContext) throws {
        let server = try AdminServer(admin, context)
        defer { server.close() }
        try run(at: server, in: context)
    }
}

/// An organization's server, as somebody sees it who may do something there.
struct AdminServer: Sendable {
    typealias Request = OrganizationClient.AdministrationRequest
    typealias Answer = OrganizationClient.AdministrationAnswer

    /// By what the server knows who asks.
    private enum Credentials: Sendable {
        /// An access token of the environment.
        case accessToken(Token)
        /// What `docker ram admin login` has put into the keyring.
        case session(AdminSession)
    }

    let client: OrganizationClient
    var organization: String { client.organization }
    private let credentials: Credentials

    init(_ options: AdminOptions, _ context: CommandContext) throws {
        let environment = context.environment.filter { !$0.value.isEmpty }
        let record = try AdminRecord.load(context)
        guard let text = options.server ?? environment["DOCKER_RAM_SERVER"] ?? record?.server.description else {
            throw Failure(
                "it is not known which server is meant",
                hints: [
                    "sign in: docker ram admin login https://ram.acme.test",
                    "without a keyring, as in CI: set DOCKER_RAM_SERVER, DOCKER_RAM_ORGANIZATION and DOCKER_RAM_TOKEN",
                ]
            )
        }
        let server = try Self.server(text)
        let known = record?.server == server ? record : nil
        guard let organization = options.organization ?? environment["DOCKER_RAM_ORGANIZATION"] ?? known?.organization
        else {
            throw Failure("it is not known which organization is meant", hints: ["say it with --organization NAME"])
        }
        try Self.check(organization: organization)
        if let token = environment["DOCKER_RAM_TOKEN"] {
            guard token.hasPrefix("ramp_") else {
                throw Failure(
                    "what is in DOCKER_RAM_TOKEN is no access token: those begin with \"ramp_\"",
                    hints: ["make one: docker ram admin token create --help"]
                )
            }
            credentials = .accessToken(Token(token))
        } else if let known {
            credentials = .session(AdminSession(known, context))
        } else {
            throw Failure(
                "you are not signed in to \"\(server)\"",
                hints: ["run: docker ram admin login \(server)", "or put an access token into DOCKER_RAM_TOKEN"]
            )
        }
        // At last: a client that is there has to be shut down.
        client = try OrganizationClient.ofDeveloper(
            server,
            organization: organization,
            certificateAuthority: options.certificateAuthority ?? known?.certificateAuthority,
            context
        )
    }

    /// Reads the address of a server.
    static func server(_ text: String) throws -> ServerURL {
        let server: ServerURL
        do throws(InvalidServerURL) {
            server = try ServerURL(text)
        } catch {
            throw Failure(
                "\"\(text)\" is no address of a server: \(error)",
                hints: ["for example https://ram.acme.test"]
            )
        }
        guard server.path.isEmpty else {
            throw Failure("\"\(text)\" is no address of a server: it has a path", hints: ["leave the path out"])
        }
        return server
    }

    static func check(organization: String) throws {
        guard OrganizationName.isValid(organization) else {
            throw Failure(
                "\"\(organization)\" is no name of an organization",
                hints: ["a name has 3 to 40 small letters, digits and hyphens"]
            )
        }
    }

    func close() {
        let client = client
        waitFor { await client.shutdown() }
    }

    // MARK: - Requests

    /// Asks for something of the organization.
    ///
    /// - Parameters:
    ///   - method: what to do.
    ///   - path: the parts of the path below the organization's.
    ///   - query: the parameters that are given.
    ///   - body: a JSON document.
    ///   - version: the version that must be the newest for anything to be written.
    /// - Returns: the answer.
    /// - Throws: ``Failure``.
    func ask(
        _ method: Request.Method = .get,
        _ path: String...,
        query: [(String, String?)] = [],
        body: JSONValue? = nil,
        version: Int? = nil
    ) throws -> Answer {
        var request = request(method, path, query: query, version: version)
        request.body = body.map { Array($0.text().utf8) }
        return try answer(to: request)
    }

    /// Asks who it is that asks, and which organizations they belong to.
    ///
    /// - Returns: the answer.
    /// - Throws: ``Failure``.
    func askWhoAsks() throws -> Answer { try answer(to: Request(.get, ["me"])) }

    /// Sends a request, and says why the server did not do it.
    private func answer(to request: Request) throws -> Answer {
        do {
            return try send(request)
        } catch let fault as AdministrationFault {
            throw failure(fault)
        }
    }

    func request(
        _ method: Request.Method,
        _ path: [String],
        query: [(String, String?)] = [],
        version: Int? = nil
    ) -> Request {
        var request = Request(method, ["organizations", organization] + path)
        request.query = query.compactMap { name, value in value.map { (name, $0) } }
        request.version = version
        return request
    }

    /// Asks for a list that comes in pages.
    ///
    /// - Parameters:
    ///   - name: the list's name, in the path and in the answer.
    ///   - path: the parts of the path, if they are others.
    ///   - query: the parameters that are given.
    ///   - page: the parameter by which the next page is asked for.
    ///   - limit: how many elements at most; `nil` is all.
    /// - Returns: the elements.
    /// - Throws: ``Failure``.
    func list(
        _ name: String,
        _ path: [String]? = nil,
        query: [(String, String?)] = [],
        page: String,
        limit: Int?
    ) throws -> [JSONValue] {
        var elements: [JSONValue] = []
        var next: String?
        while true {
            let wanted = limit.map { min(200, $0 - elements.count) } ?? 200
            guard wanted > 0 else { return elements }
            let request = request(.get, path ?? [name], query: query + [("limit", "\(wanted)"), (page, next)])
            let answer = try answer(to: request)
            elements += answer.value.value(named: name)?.elements ?? []
            switch answer.value.value(named: "next") {
            case .string(let text)?: next = text
            case .number(let text)?: next = text
            default: return elements
            }
        }
    }

    /// Sends a request; if its access token is not good any more, once more with the next one.
    ///
    /// - Parameter request: the request.
    /// - Returns: the answer.
    /// - Throws: `AdministrationFault`, or ``Failure`` if there is no session to send it with.
    func send(_ request: Request) throws -> Answer {
        let client = client
        return try showing { token throws(AdministrationFault) in
            try waitFor { () async throws(AdministrationFault) -> Answer in
                try await client.administer(request, showing: token)
            }
        }
    }

    /// Fetches something of the organization as it is.
    ///
    /// - Parameters:
    ///   - path: the parts of the path below the organization's.
    ///   - query: the parameters that are given.
    /// - Returns: the text.
    /// - Throws: ``Failure``.
    func export(_ path: String..., query: [(String, String?)]) throws -> [UInt8] {
        let client = client
        let request = request(.get, path, query: query)
        do {
            return try showing { token throws(AdministrationFault) in
                try waitFor { () async throws(AdministrationFault) -> [UInt8] in
                    try await client.export(request, showing: token)
                }
            }
        } catch let fault as AdministrationFault {
            throw failure(fault)
        }
    }

    /// Does something with a token; if it is an access token that is not good any more, once more with the next one.
    private func showing<Result>(_ send: (Token) throws(AdministrationFault) -> Result) throws -> Result {
        switch credentials {
        case .accessToken(let token): return try send(token)
        case .session(let session):
            let token = try session.accessToken(client)
            do {
                return try send(token)
            } catch AdministrationFault.refused(let problem) where problem.status == 401 {
                return try send(session.accessToken(client, insteadOf: token))
            }
        }
    }

    /// Says why the server did not do it.
    func failure(_ fault: AdministrationFault) -> Failure {
        switch fault {
        case .unanswered(let fault): return Failure(fault, at: client.server)
        case .refused(let problem):
            let hint: String? =
                switch (problem.code, credentials) {
                case ("locks_out", _): "take it out or make it narrower; if it is meant: --acknowledge-lock-out"
                case ("not_signed_in", .accessToken): "the token in DOCKER_RAM_TOKEN is wrong or not good any more"
                case ("not_signed_in", .session): "run: docker ram admin login \(client.server)"
                // Only what answers a request sends this member, and it has the option.
                default: problem.hint?.replacing("\"acknowledgeBroad\"", with: "--acknowledge-broad")
                }
            return Failure(problem.detail, hints: hint.map { [$0] } ?? [])
        }
    }
}

extension Failure {
    /// Says why a server did not answer.
    init(_ fault: ServerFault, at server: ServerURL) {
        switch fault {
        case .untrusted: self.init("\"\(server)\": \(fault)", hints: [Self.authorityHint])
        case .unreachable, .tooSlow:
            self.init("\"\(server)\": \(fault)", hints: ["see whether \(server)/healthz answers"])
        default: self.init("\"\(server)\": \(fault)")
        }
    }

    /// What helps where nobody that this machine knows vouches for a server.
    static let authorityHint =
        "if its certificate comes from your organization's own authority: --certificate-authority FILE"
}

/// Waits in a command for what goes on beside it.
///
/// - Parameter body: what goes on.
/// - Returns: what it returns.
/// - Throws: what it throws.
func waitFor<Success: Sendable, Fault: Error>(
    _ body: @escaping @Sendable () async throws(Fault) -> Success
) throws(Fault) -> Success {
    let outcome = Outcome<Success, Fault>()
    Task {
        do throws(Fault) {
            outcome.set(.success(try await body()))
        } catch {
            outcome.set(.failure(error))
        }
    }
    return try outcome.wait().get()
}

private final class Outcome<Success: Sendable, Fault: Error>: Sendable {
    private let result = Mutex<Result<Success, Fault>?>(nil)
    private let semaphore = DispatchSemaphore(value: 0)

    func set(_ value: Result<Success, Fault>) {
        result.withLock { $0 = value }
        semaphore.signal()
    }

    func wait() -> Result<Success, Fault> {
        while true {
            semaphore.wait()
            if let value = result.withLock({ $0 }) { return value }
        }
    }
}
