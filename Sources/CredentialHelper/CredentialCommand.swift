import LocalInstallation
import RegistryAccess

/// One call of the credential helper.
///
/// | action | reads | answers |
/// |---|---|---|
/// | `get` | a server URL | the credentials as JSON |
/// | `store` | credentials as JSON | nothing |
/// | `erase` | a server URL | nothing, also when there was nothing to erase |
/// | `list` | nothing | servers and users as JSON |
/// | `version` | nothing | the version |
///
/// Errors go to standard output and the exit code is 1: that is Docker's rule. A registry that the organization has
/// disallowed gets no credentials (`get`), takes none (`store`) and is not listed; its credentials can be erased. For the
/// organization's own server, `store` signs the machine in and `erase` signs it out, see ``OrganizationSignIn``.
/// The session of `docker ram admin` is kept like credentials and never listed, see `AdministrationKey`.
///
/// A session that has no keyring at all (no bus, no provider, no libsecret, a helper that is not installed) has no
/// credentials either: `get` then answers as if none were kept, so that Docker can go on without them, and tells the
/// person on standard error why. A keyring that is there but locked or does not answer is a fault of every action:
/// going on without credentials would look like a wrong password.
struct CredentialCommand {
    /// Finds the policy; asked only where it matters.
    let policy: () -> PolicyInForce
    let environment: ProcessEnvironment
    /// Where refusals are recorded, and in audit mode what would have been one.
    let record: DecisionNotice
    /// Signs the machine in and out, where the organization's own server is meant.
    let signIn: OrganizationSignIn

    /// The longest server URL that is read, in bytes.
    static let longestServerURL = 64 << 10
    /// The longest credentials that are read, in bytes.
    static let longestCredentials = 1 << 20

    /// Does what the arguments say.
    ///
    /// - Parameters:
    ///   - arguments: the command line without the program's name.
    ///   - input: what is read where the action reads something.
    /// - Returns: what to say.
    func run(_ arguments: [String], input: Input) -> Answer {
        guard arguments.count == 1 else { return .failure(ProtocolText.usage) }
        switch arguments[0] {
        case "--version", "-v", HelperAction.version.rawValue:
            return .success(Array("\(ProtocolText.versionLine)\n".utf8))
        case "--help", "-h": return .success(Array("\(ProtocolText.usage)\n".utf8))
        case HelperAction.get.rawValue: return withServerURL(input, get)
        case HelperAction.erase.rawValue: return withServerURL(input, erase)
        case HelperAction.store.rawValue: return store(input)
        case HelperAction.list.rawValue: return list()
        default: return .failure(ProtocolText.unknownAction(arguments[0]))
        }
    }

    // MARK: - The actions

    private func withServerURL(_ input: Input, _ action: (ServerURLInput) -> Answer) -> Answer {
        guard let bytes = input.read(atMost: Self.longestServerURL) else {
            return .failure("the server URL on standard input is longer than \(Self.longestServerURL) bytes")
        }
        let server = GoText.joinedAndTrimmed(bytes)
        guard !server.isEmpty else { return .failure(ProtocolText.missingServerURL) }
        return action(ServerURLInput(bytes: server))
    }

    private func get(_ server: ServerURLInput) -> Answer {
        if signIn.concerns(server.shown) { return .failure(ProtocolText.credentialsNotFound) }
        if let refusal = refusal(of: server.shown) { return Self.refused(refusal) }
        guard let serverURL = server.text else { return .failure(ProtocolText.credentialsNotFound) }
        return withStore(of: serverURL) { store in
            switch store {
            case .keyring:
                do throws(KeyringFault) {
                    let credentials = try keyring().credentials(for: serverURL)
                    guard let credentials else { return .failure(ProtocolText.credentialsNotFound) }
                    return .success(credentials.json)
                } catch {
                    guard error.isKeyringAbsent else { return .failure(error.answer) }
                    // No keyring, no credentials: a public image can still be pulled. Docker says nothing about
                    // this answer, so the person is told here.
                    return Self.notFound(error.text, error.hint)
                }
            case .helper(let name):
                do throws(OtherHelper.Fault) {
                    let helper = try OtherHelper(name, environment: environment)
                    throw helper.replaceProcess(.get, input: server.line)
                } catch {
                    if case .notFound = error { return Self.notFound(error.text, error.hint) }
                    return .failure("\(error.text)\nhint: \(error.hint)")
                }
            }
        }
    }

    private func store(_ input: Input) -> Answer {
        guard let bytes = input.read(atMost: Self.longestCredentials) else {
            return .failure("the credentials on standard input are longer than \(Self.longestCredentials) bytes")
        }
        let credentials: Credentials
        do throws(InvalidCredentials) {
            credentials = try Credentials(json: bytes)
        } catch {
            return .failure(error.text)
        }
        if signIn.concerns(credentials.serverURL) { return signIn.signIn(credentials) }
        if let refusal = refusal(of: credentials.serverURL) { return Self.refused(refusal) }
        return withStore(of: credentials.serverURL) { store in
            switch store {
            case .keyring:
                do throws(KeyringFault) {
                    try StoreLock.held(on: lockDirectories) { () throws(KeyringFault) in
                        try keyring().store(credentials)
                    }
                    return .success()
                } catch {
                    return .failure(error.answer)
                }
            case .helper(let name): return handOn(name, .store, bytes)
            }
        }
    }

    private func erase(_ server: ServerURLInput) -> Answer {
        if signIn.concerns(server.shown) { return signIn.signOut() }
        // What is not text was never stored.
        guard let serverURL = server.text else { return .success() }
        return withStore(of: serverURL) { store in
            switch store {
            case .keyring:
                do throws(KeyringFault) {
                    try keyring().erase(serverURL)
                    return .success()
                } catch {
                    return .failure(error.answer)
                }
            case .helper(let name): return eraseElsewhere(name, serverURL, server.line)
            }
        }
    }

    private func list() -> Answer {
        let routing: CredentialRouting
        switch loadRouting() {
        case .success(let found): routing = found
        case .failure(let fault): return .failure(fault.text)
        }
        let gate = RegistryGate(policy: policy())
        var list = CredentialList()
        var answer = Answer()
        // All other helpers together get this much time, because Docker waits for all of them.
        let end = OtherHelper.now() + OtherHelper.listTime
        for store in routing.stores {
            let entries: [(server: String, username: String)]
            switch store {
            case .keyring:
                do throws(KeyringFault) {
                    entries = try keyring().list()
                } catch {
                    if routing.stores.count == 1 { return .failure(error.answer) }
                    answer.words += ["the keyring is left out: \(error.text)", "hint: \(error.hint)"]
                    continue
                }
            case .helper(let name):
                switch listElsewhere(name, milliseconds: max(end - OtherHelper.now(), 0)) {
                case .success(let found): entries = found
                case .failure(let fault):
                    answer.words.append("\"\(name.program)\" is left out: \(fault.text)")
                    continue
                }
            }
            for (server, username) in entries where routing.store(for: Self.address(of: server)) == store {
                // Docker asks for each of them, and one that is refused would spoil the whole answer.
                // And `docker build` hands them all to the engine, for which a session of `docker ram admin` is not.
                if gate.objection(to: server)?.refusal == nil, !AdministrationKey.isOne(server) {
                    list.add(server: server, username: username)
                }
            }
        }
        answer.output = list.json
        return answer
    }

    /// Why the credentials of a server are withheld, if they are; recorded also where audit mode lets them pass.
    private func refusal(of server: String) -> Refusal? {
        guard let objection = RegistryGate(policy: policy()).objection(to: server) else { return nil }
        record.send(objection.id, objection.registry)
        return objection.refusal
    }

    // MARK: - Stores

    /// Something that went wrong, in words.
    struct Fault: Error {
        let text: String
    }

    private func keyring() throws(KeyringFault) -> Keyring { try Keyring(canPrompt: environment.canPrompt) }

    private func loadRouting() -> Result<CredentialRouting, Fault> {
        guard let path = CredentialRouting.path(environment: environment.variables) else {
            return .success(CredentialRouting())
        }
        do {
            return .success(try CredentialRouting.load(path))
        } catch let error as FileError {
            return .failure(Fault(text: "\(error)"))
        } catch {
            return .failure(Fault(text: "\"\(path)\": \(error)"))
        }
    }

    private func withStore(of serverURL: String, _ body: (CredentialRouting.Store) -> Answer) -> Answer {
        switch loadRouting() {
        case .success(let routing): body(routing.store(for: Self.address(of: serverURL)))
        case .failure(let fault): .failure(fault.text)
        }
    }

    /// Which registry decides where credentials are kept; helpers of single registries know nothing of administration.
    private static func address(of serverURL: String) -> RegistryAddress? {
        AdministrationKey.isOne(serverURL) ? nil : try? RegistryAddress(serverURL: serverURL)
    }

    /// Where docker-credential-ram's lock is: every helper of the same person takes the same directory.
    private var lockDirectories: [String] {
        let home = environment.variables["HOME"]
        let docker = CredentialRouting.path(environment: environment.variables).map(Files.directory(of:))
        return [home, docker].compactMap(\.self)
    }

    // MARK: - Other helpers

    private func handOn(_ name: HelperName, _ action: HelperAction, _ input: [UInt8]) -> Answer {
        do throws(OtherHelper.Fault) {
            let helper = try OtherHelper(name, environment: environment)
            var answer = try helper.run(action, input: input, milliseconds: nil)
            if answer.exitCode != 0, Self.isNotImplemented(answer.output) {
                // Helpers that make credentials by themselves keep none; `docker login` must not fail over that.
                answer = .success()
                answer.words = ["\"\(name.program)\" makes credentials itself and does not \(action) any"]
            }
            return answer
        } catch {
            return .failure("\(error.text)\nhint: \(error.hint)")
        }
    }

    private func eraseElsewhere(_ name: HelperName, _ serverURL: String, _ line: [UInt8]) -> Answer {
        var answer = handOn(name, .erase, line)
        if answer.exitCode != 0, isAbsent(line, from: name) { answer = .success() }
        guard answer.exitCode == 0, let key = ServerKey(serverURL) else { return answer }
        // Docker Hub has several names, and Docker may have kept the credentials under another one.
        guard case .success(let entries) = listElsewhere(name, milliseconds: OtherHelper.listTime) else {
            return answer
        }
        for (server, _) in entries where server != serverURL && ServerKey(server) == key {
            let other = handOn(name, .erase, Array("\(server)\n".utf8))
            if other.exitCode != 0 { return other }
        }
        return answer
    }

    private func isAbsent(_ line: [UInt8], from name: HelperName) -> Bool {
        guard let helper = try? OtherHelper(name, environment: environment),
            let answer = try? helper.run(.get, input: line, milliseconds: nil)
        else { return false }
        if answer.exitCode != 0 {
            return GoText.joinedAndTrimmed(answer.output).elementsEqual(ProtocolText.credentialsNotFound.utf8)
        }
        // docker-credential-pass answers with a user and a secret that are empty.
        let found = try? StrictJSON.parse(answer.output)
        return found?.value(foldedName: "Username") == .string("") && found?.value(foldedName: "Secret") == .string("")
    }

    private func listElsewhere(
        _ name: HelperName,
        milliseconds: Int
    ) -> Result<[(server: String, username: String)], Fault> {
        do throws(OtherHelper.Fault) {
            let helper = try OtherHelper(name, environment: environment)
            // Docker's own client passes this word to `list`.
            let answer = try helper.run(.list, input: Array("unused".utf8), milliseconds: milliseconds)
            if answer.exitCode != 0 {
                if Self.isNotImplemented(answer.output) { return .success([]) }
                return .failure(Fault(text: "it ended with exit code \(answer.exitCode)"))
            }
            guard let entries = CredentialList.read(answer.output) else {
                return .failure(Fault(text: "its answer is not a list of servers and users"))
            }
            return .success(entries)
        } catch {
            return .failure(Fault(text: error.text))
        }
    }

    /// Whether a helper says that it has no such action: `not implemented` (ecr-login), `add is unimplemented` (gcr).
    private static func isNotImplemented(_ output: [UInt8]) -> Bool {
        let text = String(decoding: output.prefix(200), as: UTF8.self).lowercased()
        return text.contains("not implemented") || text.contains("unimplemented")
    }

    // MARK: - Answers

    private static func refused(_ refusal: Refusal) -> Answer {
        var answer = Answer.failure(refusal.sentence)
        answer.wordsForTerminal = [refusal.sentence]
        return answer
    }

    private static func notFound(_ text: String, _ hint: String) -> Answer {
        var answer = Answer.failure(ProtocolText.credentialsNotFound)
        answer.words = [text, "hint: \(hint)"]
        return answer
    }
}

/// A server URL as it was read, white space cut off.
struct ServerURLInput {
    let bytes: [UInt8]

    /// The text, unless it is not UTF-8 or holds a zero byte; the Secret Service takes neither.
    var text: String? { bytes.contains(0) ? nil : GoText.validated(bytes) }
    /// The text for the policy, in which what is not UTF-8 becomes U+FFFD: no address holds that.
    var shown: String { String(decoding: bytes, as: UTF8.self) }
    /// The input for another helper.
    var line: [UInt8] { bytes + [0x0A] }
}
