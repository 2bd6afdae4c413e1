import ArgumentParser
import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess

/// `docker ram admin login SERVER`: signs a person in who administers an organization.
struct AdminLogin: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "login",
        abstract: "Sign in to administer an organization",
        discussion: """
            Without a name it shows an address and a code for a browser. The session is kept
            in the keyring. Where there is none, as in CI, set DOCKER_RAM_SERVER,
            DOCKER_RAM_ORGANIZATION and DOCKER_RAM_TOKEN instead.

            Example: docker ram admin login https://ram.acme.test --organization acme
            """
    )

    @Argument(help: "Address of the organization's server; that of the last sign-in if none is given")
    var server: String?

    @Option(
        help: ArgumentHelp("The organization; needed for a browser, and where you are in several", valueName: "name")
    )
    var organization: String?

    @Option(name: [.short, .long], help: ArgumentHelp("Sign in with this name and a password", valueName: "name"))
    var username: String?

    @Flag(help: "Read the password from standard input")
    var passwordStdin = false

    @Flag(help: "Read an access token from standard input")
    var tokenStdin = false

    @Flag(help: "Do not open a browser")
    var noBrowser = false

    @Option(
        help: ArgumentHelp("Certificate authorities of the server, a PEM file", valueName: "file"),
        completion: .file()
    )
    var certificateAuthority: String?

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard !passwordStdin || username != nil else {
            throw ValidationError("--password-stdin needs --username")
        }
        guard !tokenStdin || username == nil else {
            throw ValidationError("--token-stdin goes without --username: the token says whose it is")
        }
    }

    func run(in context: CommandContext) throws {
        let last = try AdminRecord.load(context)
        guard let address = try server.map(AdminServer.server) ?? last?.server else {
            throw Failure(
                "it is not known which server is meant",
                hints: ["for example: docker ram admin login https://ram.acme.test"]
            )
        }
        let known = last?.server == address ? last : nil
        let authority = try certificateAuthority.map(Self.authority) ?? known?.certificateAuthority
        let wanted = organization ?? known?.organization
        if let wanted { try AdminServer.check(organization: wanted) }
        let client = try OrganizationClient.ofDeveloper(
            address,
            organization: wanted ?? "",
            certificateAuthority: authority,
            context
        )
        defer { waitFor { await client.shutdown() } }
        let session = try signIn(client, hasOrganization: wanted != nil, context)
        let name = try wanted ?? onlyOrganization(client, session)
        let record = AdminRecord(server: address, organization: name, certificateAuthority: authority)
        let earlier = last.flatMap { try? AdminSession($0, context).refreshToken() }
        do {
            try AdminSession(record, context).keep(session)
            try record.write(context)
        } catch {
            // A session that nobody keeps shall not stay open.
            if let token = session.refreshToken { Self.end(token, client) }
            throw error
        }
        // Nor shall the one before, which nobody has any more.
        if let last, let earlier { last.end(earlier, isForgotten: last.server != address, context) }
        context.show(
            AdminDone(
                "Signed in to \(name) at \(address) as \(session.user).",
                [
                    JSONMember("server", .string(address.description)), JSONMember("organization", .string(name)),
                    JSONMember("user", .string(session.user)),
                ]
            ),
            as: common.format
        )
    }

    private static func authority(_ file: String) throws -> String {
        _ = try Files.read(file, atMost: 16 << 20)
        guard let path = realpath(file, nil) else { return file }
        defer { free(path) }
        return String(cString: path)
    }

    /// Ends a session at the server; that it cannot be reached is no matter.
    fileprivate static func end(_ token: Token, _ client: OrganizationClient) {
        waitFor { try? await client.revoke(token) }
    }

    private func signIn(
        _ client: OrganizationClient,
        hasOrganization: Bool,
        _ context: CommandContext
    ) throws -> OrganizationClient.Session {
        let grant: OrganizationClient.Grant
        if tokenStdin {
            grant = .accessToken(Token(try Login.line(of: "access token", context)))
        } else if let username {
            let password =
                passwordStdin ? try Login.line(of: "password", context) : try Login.askForPassword(context)
            grant = .password(user: username, password: Token(password))
        } else {
            guard hasOrganization else {
                throw Failure(
                    "it is not known which organization is meant",
                    hints: ["say it with --organization NAME, or sign in with --username NAME"]
                )
            }
            return try signInWithBrowser(client, context)
        }
        do throws(ServerFault) {
            return try waitFor { () async throws(ServerFault) in
                try await client.token(grant, isForEveryOrganization: !hasOrganization)
            }
        } catch {
            throw failure(error, client)
        }
    }

    private func failure(_ fault: ServerFault, _ client: OrganizationClient) -> Failure {
        switch fault.code {
        case "invalid_grant":
            Failure(tokenStdin ? "this access token is not good" : "the name or the password is wrong")
        case "not_a_member":
            Failure(
                "you do not belong to \"\(client.organization)\"",
                hints: ["ask an owner of it for an invitation"]
            )
        case "access_denied": Failure("the sign-in was denied in the browser")
        case "expired_token": Failure("the code is too old", hints: ["begin again"])
        default: Failure(fault, at: client.server)
        }
    }

    private func signInWithBrowser(
        _ client: OrganizationClient,
        _ context: CommandContext
    ) throws -> OrganizationClient.Session {
        var name = [CChar](repeating: 0, count: 256)
        let hasName = gethostname(&name, name.count - 1) == 0
        let host = hasName ? String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) : ""
        do throws(ServerFault) {
            let code = try waitFor { () async throws(ServerFault) in
                try await client.authorizeDevice(
                    named: host.isEmpty ? "docker ram admin" : "docker ram admin on \(host)",
                    forAdministration: true
                )
            }
            context.errors.line("To sign in, open this address in a browser:")
            context.errors.line("\n    \(TerminalText.printable(code.verificationURI))\n")
            context.errors.line("and enter the code \(TerminalText.printable(code.userCode))")
            if !noBrowser { Browser.open(code.completeVerificationURI ?? code.verificationURI, context) }
            var polling = OrganizationClient.BrowserPolling(interval: code.interval)
            let end = context.now() + code.expiresIn
            while context.now() < end {
                sleep(UInt32(max(1, min(polling.pause, end - context.now(), 60))))
                do throws(ServerFault) {
                    return try waitFor { () async throws(ServerFault) in
                        try await client.token(.deviceCode(code.deviceCode))
                    }
                } catch {
                    try polling.goOn(after: error)
                }
            }
            throw polling.end
        } catch {
            throw failure(error, client)
        }
    }

    /// The organization of somebody who belongs to one only.
    private func onlyOrganization(
        _ client: OrganizationClient,
        _ session: OrganizationClient.Session
    ) throws -> String {
        let answer: OrganizationClient.AdministrationAnswer
        do throws(AdministrationFault) {
            answer = try waitFor { () async throws(AdministrationFault) in
                try await client.administer(.init(.get, ["me"]), showing: session.accessToken)
            }
        } catch {
            switch error {
            case .refused(let problem): throw Failure(problem.detail)
            case .unanswered(let fault): throw Failure(fault, at: client.server)
            }
        }
        let names = (answer.value.value(named: "organizations")?.elements ?? []).compactMap {
            $0.value(named: "name")?.text
        }
        if names.count == 1, OrganizationName.isValid(names[0]) { return names[0] }
        if let token = session.refreshToken { Self.end(token, client) }
        guard !names.isEmpty else {
            throw Failure("\"\(session.user)\" belongs to no organization", hints: ["ask an owner for an invitation"])
        }
        throw Failure(
            "\"\(session.user)\" belongs to \(names.count) organizations: \(names.joined(separator: ", "))",
            hints: ["say which one with --organization NAME"]
        )
    }
}

extension AdminRecord {
    /// Ends the session that was there before.
    fileprivate func end(_ refreshToken: Token, isForgotten: Bool, _ context: CommandContext) {
        if isForgotten { _ = try? AdminSession(self, context).forget() }
        let client = try? OrganizationClient.ofDeveloper(
            server,
            organization: organization,
            certificateAuthority: certificateAuthority,
            context
        )
        guard let client else { return }
        defer { waitFor { await client.shutdown() } }
        AdminLogin.end(refreshToken, client)
    }
}

/// `docker ram admin logout`: ends the session of who administers an organization.
struct AdminLogout: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "logout",
        abstract: "End the session of docker ram admin",
        discussion: """
            The machine itself stays signed in; see docker ram logout for that.

            Example: docker ram admin logout
            """
    )

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        guard let record = try AdminRecord.load(context) else {
            throw Failure("you are not signed in to any server")
        }
        let kept = try AdminSession(record, context).forget()
        let path = try AdminRecord.path(context)
        guard unlink(path) == 0 || errno == ENOENT else { throw FileError("remove \"\(path)\"", code: errno) }
        if let kept {
            let client = try OrganizationClient.ofDeveloper(
                record.server,
                organization: record.organization,
                certificateAuthority: record.certificateAuthority,
                context
            )
            defer { waitFor { await client.shutdown() } }
            do throws(ServerFault) {
                try waitFor { () async throws(ServerFault) in try await client.revoke(kept.refreshToken) }
            } catch {
                context.note("note: the session is forgotten here, but the server was not told: \(error)")
            }
        }
        context.show(
            AdminDone(
                kept.map { "Signed out \($0.user) from \(record.server)." } ?? "Nobody was signed in.",
                [
                    JSONMember("server", .string(record.server.description)),
                    JSONMember("user", .text(kept?.user)),
                ]
            ),
            as: common.format
        )
    }
}
