import ArgumentParser
import LocalInstallation
import RegistryAccess
import TerminalInput

/// `docker ram login`: signs this machine in with its organization.
struct Login: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "login",
        abstract: "Sign this machine in with its organization",
        discussion: """
            Without options it shows an address and a code: open the address in any browser, on any machine, and type \
            the code there.

            Example: docker ram login
            In CI: docker ram login --token-stdin < token
            """
    )

    @Option(name: [.short, .long], help: ArgumentHelp("Sign in with this name and a password", valueName: "name"))
    var username: String?

    @Flag(help: "Read the password from standard input")
    var passwordStdin = false

    @Flag(help: "Read an access token for machines and CI from standard input")
    var tokenStdin = false

    @Flag(help: "Do not open a browser")
    var noBrowser = false

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
        var members = [JSONMember("request", .string("sign-in"))]
        if tokenStdin {
            members.append(JSONMember("token", .string(try Self.line(of: "access token", context))))
        } else if let username {
            let password = passwordStdin ? try Self.line(of: "password", context) : try Self.askForPassword(context)
            members += [JSONMember("user", .string(username)), JSONMember("password", .string(password))]
        }
        var result: SignedIn?
        // A question to the server and back may take half a minute; between two, docker-ramd says that it waits.
        try SignInAnswer.ask(.object(members), context, patience: 90_000) { answer in
            switch answer {
            case .code(let code): show(code, context)
            case .waiting: break
            case .done(let user, let organization):
                result = SignedIn(user: user, organization: organization ?? "")
            }
        }
        guard let result else { throw Failure("docker-ramd ended the conversation; nobody is signed in by this") }
        context.show(result, as: common.format)
    }

    private func show(_ code: SignInAnswer.Code, _ context: CommandContext) {
        if common.format == .json {
            // A program that wants the code reads this line first.
            context.errors.line(TerminalText.escaped(json: code.json.text()))
        } else {
            context.errors.line("To sign in, open this address in a browser:")
            context.errors.line("")
            context.errors.line("    \(TerminalText.printable(code.address))")
            context.errors.line("")
            context.errors.line("and enter the code \(TerminalText.printable(code.userCode))")
            context.errors.line("")
            context.errors.line("Waiting; the code is good for \(code.expiresIn / 60) minutes. Control-C gives up.")
        }
        if !noBrowser { Browser.open(code.completeAddress ?? code.address, context) }
    }

    /// The first line of standard input.
    static func line(of what: String, _ context: CommandContext) throws -> String {
        guard let line = context.readLine(), !line.isEmpty else {
            throw Failure("there is no \(what) on standard input", hints: ["for example: docker ram ... < file"])
        }
        return line
    }

    static func askForPassword(_ context: CommandContext) throws -> String {
        try ask("Password: ", "password", context)
    }

    /// Asks for a secret on the terminal, without showing it.
    static func ask(_ words: String, _ what: String, _ context: CommandContext) throws -> String {
        let answer = TypedSecret.reading {
            context.errors.write(words)
            return context.readLine() ?? ""
        }
        guard let answer else {
            throw Failure(
                "standard input is no terminal, so the \(what) cannot be asked for",
                hints: ["give it on standard input: see --help"]
            )
        }
        guard !answer.isEmpty else { throw Failure("no \(what) was typed") }
        return answer
    }
}

/// `docker ram logout`: ends the session of this machine.
struct Logout: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "logout",
        abstract: "End the session of this machine",
        discussion: """
            Where sign-in is enforced, Docker may not use any registry until somebody signs in again. Containers keep \
            running.

            Example: docker ram logout
            """
    )

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        var result: SignedOut?
        try SignInAnswer.ask(
            .object([JSONMember("request", .string("sign-out"))]),
            context,
            patience: 60_000
        ) { answer in
            if case .done(let user, _) = answer { result = SignedOut(user: user) }
        }
        guard let result else { throw Failure("docker-ramd ended the conversation") }
        context.show(result, as: common.format)
    }
}

private struct SignedIn: CommandResult {
    let user: String
    let organization: String

    func text(for context: CommandContext) -> String {
        TerminalText.printable("Signed in to \(organization) as \(user).")
    }

    var json: JSONValue {
        .object([JSONMember("organization", .string(organization)), JSONMember("user", .string(user))])
    }
}

private struct SignedOut: CommandResult {
    let user: String

    func text(for context: CommandContext) -> String { TerminalText.printable("Signed out \(user).") }

    var json: JSONValue { .object([JSONMember("user", .string(user))]) }
}
