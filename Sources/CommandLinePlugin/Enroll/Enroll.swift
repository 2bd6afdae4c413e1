import ArgumentParser
import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess
import SignedPolicy

/// `docker ram enroll`: makes this machine belong to an organization.
struct Enroll: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "enroll",
        abstract: "Have this machine follow an organization's policy (as root)",
        discussion: """
            The fingerprint is that of the organization's root key; an owner tells it to you by another way than the \
            server. Nothing is written unless the server's documents are signed by that key.

            Where the only way out is a company's proxy, name it in "egressProxy": {"upstream": ...} of \
            /etc/docker-ram/daemon.json first; "docker ram engine enable" takes over the engine's.

            An organization may take in only who shows an enrollment token, which an owner makes: \
            --enrollment-token-stdin < token. The token is used once, by docker-ramd, and kept nowhere.

            Example: docker ram enroll https://ram.acme.test --organization acme --fingerprint sha256:4f53cda1...
            Undo it: docker ram enroll --remove
            """
    )

    @Argument(help: "The organization's server, like https://ram.acme.test:8443")
    var server: String?

    @Option(help: ArgumentHelp("The organization", valueName: "name"))
    var organization: String?

    @Option(help: ArgumentHelp("Fingerprint of the organization's root key", valueName: "sha256:..."))
    var fingerprint: String?

    @Option(help: ArgumentHelp("Folder with a copy of the documents on another web server", valueName: "url"))
    var documents: String?

    @Option(help: ArgumentHelp("Certificate authorities of the server, if not the system's", valueName: "file"))
    var certificateAuthority: String?

    @Flag(help: "Read an enrollment token from standard input, and register this machine with it")
    var enrollmentTokenStdin = false

    @Flag(help: "Refuse every registry until a member of the organization signs in")
    var requireSignIn = false

    @Flag(help: "Take this machine out of the organization")
    var remove = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        let others: [Any?] = [server, organization, fingerprint, documents, certificateAuthority]
        if remove {
            guard others.allSatisfy({ $0 == nil }), !requireSignIn, !enrollmentTokenStdin else {
                throw ValidationError("--remove says all there is to say; it goes alone")
            }
        } else {
            guard server != nil, organization != nil, fingerprint != nil else {
                throw ValidationError("name the server, --organization and --fingerprint")
            }
        }
    }

    func run(in context: CommandContext) throws {
        do {
            if remove { try leave(in: context) } else { try join(in: context) }
        } catch let error as FileError where error.isPermission && geteuid() != 0 {
            throw Failure("\(error)", hints: ["run it as root: sudo docker ram enroll ..."])
        }
    }

    // MARK: - Joining

    private func join(in context: CommandContext) throws {
        let enrollment = try enrollment()
        let token = enrollmentTokenStdin ? try Login.line(of: "enrollment token", context) : nil
        if let token, !token.hasPrefix("rame_") {
            throw Failure(
                "what is on standard input is no enrollment token",
                hints: ["an enrollment token begins with \"rame_\"; an owner of \(enrollment.organization) makes one"]
            )
        }
        let rootVersion = try checkedRoot(of: enrollment, in: context)
        let paths = context.paths
        try Files.makeDirectory(Files.directory(of: paths.enrollment))
        // First, so that nobody uses registries in between who has to sign in.
        if requireSignIn {
            let requirement = JSONValue.object([JSONMember("allowedOrgs", .texts([enrollment.organization]))])
            try Files.replace(paths.registryRequirement, with: Self.file(requirement), mode: 0o644)
        }
        try Files.replace(paths.enrollment, with: Self.file(enrollment.json), mode: 0o644)
        switch Enrollment.read(paths) {
        case .enrolled(let written):
            if let token { try register(showing: token, in: context) }
            context.show(Enrolled(enrollment: written, rootVersion: rootVersion), as: common.format)
        case .faulty(let problem):
            throw Failure(problem, hints: ["every registry is refused until then"])
        case .none:
            throw Failure("\"\(paths.enrollment)\" was taken away again")
        }
        if token == nil, (try? ControlClient(path: paths.controlSocket).status()) == nil {
            context.note("note: docker-ramd does not answer; every registry is refused until it runs")
        }
    }

    /// Has docker-ramd register this machine, which keeps what the server knows it by.
    private func register(showing token: String, in context: CommandContext) throws {
        let request = JSONValue.object([
            JSONMember("request", .string("register")), JSONMember("enrollmentToken", .string(token)),
        ])
        var isRegistered = false
        do {
            try context.askDaemon(request, patience: 90_000) { line in
                if line.value(named: "registered") != nil { isRegistered = true }
            }
            guard isRegistered else { throw Failure("docker-ramd ended the conversation") }
        } catch let failure as Failure {
            throw Failure("this machine is enrolled, but not registered: \(failure.message)", hints: failure.hints)
        }
    }

    private func enrollment() throws(Failure) -> Enrollment {
        let organization = organization ?? ""
        guard OrganizationName.isValid(organization) else {
            throw Failure(
                "\"\(organization)\" is no name of an organization",
                hints: ["it has 3 to 40 lower-case letters, digits and hyphens"]
            )
        }
        let fingerprint = fingerprint ?? ""
        guard Enrollment.isFingerprint(fingerprint) else {
            throw Failure(
                "\"\(fingerprint)\" is no fingerprint",
                hints: ["it is \"sha256:\" and 64 hexadecimal digits; an owner of \(organization) knows it"]
            )
        }
        if let file = certificateAuthority, !file.hasPrefix("/") {
            throw Failure("\"\(file)\" is no absolute path", hints: ["docker-ramd has to find it, too"])
        }
        return Enrollment(
            server: try Self.address(server ?? ""),
            organization: organization,
            fingerprint: fingerprint,
            documents: try documents.map { (text) throws(Failure) in try Self.address(text) },
            certificateAuthority: certificateAuthority
        )
    }

    private static func address(_ text: String) throws(Failure) -> ServerURL {
        do throws(InvalidServerURL) {
            return try ServerURL(text)
        } catch {
            throw Failure("\"\(text)\" is no address of a server: \(error)", hints: ["write https://host[:port]"])
        }
    }

    /// The version of the root document with which trust begins.
    private func checkedRoot(of enrollment: Enrollment, in context: CommandContext) throws -> Int {
        guard let pinned = KeyID(fingerprint: enrollment.fingerprint) else {
            throw Failure("\"\(enrollment.fingerprint)\" is no fingerprint")
        }
        if let file = enrollment.certificateAuthority { _ = try Files.read(file, atMost: 16 << 20) }
        let settings = try settings(context)
        let names = EngineProxySettings(environment: context.environment)
        let hint =
            settings.upstream == nil && names.httpsProxy != nil
            ? "docker-ramd does not read HTTPS_PROXY; name the proxy in \"egressProxy\": {\"upstream\": ...} of "
                + context.paths.daemonSettings : nil
        return try waiting {
            let client = OrganizationClient(
                server: enrollment.server,
                organization: enrollment.organization,
                documents: enrollment.documents,
                certificateAuthority: enrollment.certificateAuthority,
                proxy: settings.proxy
            )
            let result: Result<Int, OrganizationClient.FirstRootFault>
            do throws(OrganizationClient.FirstRootFault) {
                result = .success(try await client.firstRoot(pinned: pinned).documents.root.version)
            } catch {
                result = .failure(error)
            }
            await client.shutdown()
            do throws(OrganizationClient.FirstRootFault) {
                return try result.get()
            } catch {
                throw Self.failure(error, enrollment, hint)
            }
        }
    }

    /// The settings of docker-ramd, which has to get there the same way.
    private func settings(_ context: CommandContext) throws(Failure) -> DaemonSettings.EgressProxy {
        do throws(InvalidDaemonSettings) {
            return try DaemonSettings(context.paths).egressProxy
        } catch {
            throw Failure("\(error)", hints: geteuid() == 0 ? [] : ["run it as root: sudo docker ram enroll ..."])
        }
    }

    private static func failure(
        _ fault: OrganizationClient.FirstRootFault,
        _ enrollment: Enrollment,
        _ proxyHint: String?
    ) -> Failure {
        let place = enrollment.documents ?? enrollment.server
        switch fault {
        case .rejection(.notPinned):
            return Failure(
                "the fingerprint does not match: no root document of \"\(enrollment.organization)\" at \(place) is signed by "
                    + "the key \(enrollment.fingerprint); nothing was changed",
                hints: [
                    "compare the fingerprint with what an owner of \(enrollment.organization) says",
                    "if it is right, somebody else answers in the place of \(place)",
                ]
            )
        case .rejection(let rejection):
            return Failure("the root document at \(place) is not accepted: \(rejection); nothing was changed")
        case .server(.notFound):
            return Failure(
                "there is no root document of \"\(enrollment.organization)\" at \(place); nothing was changed",
                hints: ["see whether the organization and the address are right"]
            )
        case .server(.untrusted(let words)):
            return Failure("\(place): \(words); nothing was changed", hints: [Failure.authorityHint])
        case .server(let fault):
            return Failure(
                "\(place): \(fault); nothing was changed",
                hints: [proxyHint ?? "see whether this machine reaches \(place.target.authority)"]
            )
        }
    }

    private static func file(_ document: JSONValue) -> [UInt8] {
        Array((document.text(indentation: "  ") + "\n").utf8)
    }

    // MARK: - Leaving

    private func leave(in context: CommandContext) throws {
        let paths = context.paths
        let before = Enrollment.read(paths)
        // The enrollment goes first: without it, the rest counts for nothing.
        for path in [paths.enrollment, paths.registryRequirement, paths.organizationPolicy] {
            guard unlink(path) == 0 || errno == ENOENT else { throw FileError("remove \"\(path)\"", code: errno) }
        }
        try Files.empty(paths.organizationDirectory)
        context.show(Left(organization: before.enrollment?.organization), as: common.format)
        if before == .none { context.note("note: it belonged to none") }
    }
}

/// What `enroll` did.
private struct Enrolled: CommandResult {
    let enrollment: Enrollment
    let rootVersion: Int

    func text(for context: CommandContext) -> String {
        let signIn = enrollment.requiresSignIn ? "\nmembers have to sign in: docker ram login" : ""
        return "this machine belongs to \(enrollment.organization) at \(enrollment.server) now\(signIn)"
            + "\nsee what is in force: docker ram status"
    }

    var json: JSONValue {
        .object([
            JSONMember("organization", .string(enrollment.organization)),
            JSONMember("server", .string(enrollment.server.description)),
            JSONMember("documents", .text(enrollment.documents?.description)),
            JSONMember("fingerprint", .string(enrollment.fingerprint)),
            JSONMember("rootVersion", .integer(rootVersion)),
            JSONMember("signInRequired", .bool(enrollment.requiresSignIn)),
        ])
    }
}

/// What `enroll --remove` did.
private struct Left: CommandResult {
    let organization: String?

    func text(for context: CommandContext) -> String {
        "this machine belongs to \(organization.map { "\($0) no more" } ?? "no organization")"
    }

    var json: JSONValue { .object([JSONMember("left", .text(organization))]) }
}
