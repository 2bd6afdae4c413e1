import Glibc
import LocalInstallation
import RegistryAccess

/// Makes `docker login SERVER` and `docker logout SERVER` sign this machine in and out, if the server is the organization's.
///
/// docker-ramd does it, and keeps the session: neither the password nor a token goes into the keyring.
struct OrganizationSignIn {
    /// To which organization the machine belongs, if to any.
    let enrollment: () -> Enrollment?
    /// docker-ramd's control socket.
    let socketPath: String
    /// How long docker-ramd may take, in milliseconds; it asks the server.
    var patience: CInt = 60_000

    /// Whether a server is the organization's own; the session of `docker ram admin` is not this machine's.
    ///
    /// - Parameter serverURL: the server as Docker names it.
    /// - Returns: whether it is.
    func concerns(_ serverURL: String) -> Bool {
        guard !AdministrationKey.isOne(serverURL), let server = enrollment()?.server.target.address,
            let address = try? RegistryAddress(serverURL: serverURL)
        else { return false }
        return address == server
    }

    /// Signs the machine in.
    ///
    /// - Parameter credentials: whose; the secret is a password, or an access token of the organization's server.
    /// - Returns: what to say to Docker.
    func signIn(_ credentials: Credentials) -> Answer {
        guard let secret = String(validating: credentials.secret.bytes, as: UTF8.self) else {
            return .failure("the password is no UTF-8")
        }
        let isAccessToken = secret.hasPrefix("ramp_")
        let members =
            isAccessToken
            ? [JSONMember("token", .string(secret))]
            : [JSONMember("user", .string(credentials.username)), JSONMember("password", .string(secret))]
        return ask("sign-in", members) { answer in
            guard let user = answer.value(named: "signedIn")?.value(named: "user")?.text else { return nil }
            return "this machine is signed in as \(user)"
        }
    }

    /// Signs the machine out.
    ///
    /// - Returns: what to say to Docker.
    func signOut() -> Answer {
        ask("sign-out", []) { answer in
            if answer.value(named: "refused")?.value(named: "code")?.text == "not_signed_in" { return "" }
            guard let user = answer.value(named: "signedOut")?.value(named: "user")?.text else { return nil }
            return "\(user) is signed out of this machine"
        }
    }

    private func ask(_ request: String, _ members: [JSONMember], _ words: (JSONValue) -> String?) -> Answer {
        let line = JSONValue.object([JSONMember("request", .string(request))] + members).text() + "\n"
        guard let answer = exchange(Array(line.utf8)) else {
            return .failure("docker-ramd does not answer, so nobody is signed in or out\nhint: run: docker ram doctor")
        }
        guard let said = words(answer) else {
            let refused = answer.value(named: "refused")
            let text =
                refused?.value(named: "text")?.text ?? answer.value(named: "error")?.text ?? "docker-ramd refuses"
            let hint = refused?.value(named: "hint")?.text
            return .failure(hint.map { "\(text)\nhint: \($0)" } ?? text)
        }
        var success = Answer.success()
        if !said.isEmpty { success.words = [said] }
        return success
    }

    /// Sends a line and reads the last line of the answer.
    private func exchange(_ line: [UInt8]) -> JSONValue? {
        guard let descriptor = ControlSocket.connect(to: socketPath, isWaiting: true) else { return nil }
        defer { close(descriptor) }
        guard line.withUnsafeBytes({ send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }) == line.count
        else { return nil }
        var answer: [UInt8] = []
        while answer.count < 64 << 10 {
            var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&wait, 1, patience) == 1 else { return nil }
            var part = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &part, part.count, 0)
            guard count > 0 else { break }
            answer += part[..<count]
        }
        return answer.split(separator: UInt8(ascii: "\n")).last.flatMap { try? StrictJSON.parse(Array($0)) }
    }
}
