import LocalInstallation
import RegistryAccess

/// What docker-ramd answers to who wants the machine to be signed in or out.
enum SignInAnswer {
    /// Where to go with a browser.
    case code(Code)
    /// Nobody has been there yet.
    case waiting
    /// It is done.
    case done(user: String, organization: String?)

    /// Where to go with a browser, and with what.
    struct Code {
        let userCode: String
        let address: String
        let completeAddress: String?
        /// In seconds.
        let expiresIn: Int
        /// As docker-ramd sent it.
        let json: JSONValue
    }

    private init?(_ line: JSONValue) {
        if let done = line.value(named: "signedIn") ?? line.value(named: "signedOut"),
            let user = done.value(named: "user")?.text
        {
            self = .done(user: user, organization: done.value(named: "organization")?.text)
        } else if let userCode = line.value(named: "userCode")?.text,
            let address = line.value(named: "verificationURI")?.text
        {
            self = .code(
                Code(
                    userCode: userCode,
                    address: address,
                    completeAddress: line.value(named: "completeVerificationURI")?.text,
                    expiresIn: line.value(named: "expiresIn")?.integer ?? 0,
                    json: line
                )
            )
        } else if line.value(named: "waiting") != nil {
            self = .waiting
        } else {
            return nil
        }
    }

    /// Asks docker-ramd.
    ///
    /// - Parameters:
    ///   - request: what to ask.
    ///   - context: where the command runs.
    ///   - patience: how long nothing may come, in milliseconds.
    ///   - body: gets each answer.
    /// - Throws: `Failure`, also where docker-ramd refuses.
    static func ask(
        _ request: JSONValue,
        _ context: CommandContext,
        patience: Int32,
        _ body: (SignInAnswer) -> Void
    ) throws {
        try context.askDaemon(request, patience: patience) { line in
            if let answer = SignInAnswer(line) { body(answer) }
        }
    }
}
