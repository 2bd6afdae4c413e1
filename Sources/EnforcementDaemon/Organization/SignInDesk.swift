import Glibc
import LocalInstallation
import OrganizationClient
import RegistryAccess
import SignedPolicy

/// By what somebody wants this machine to be signed in.
enum SignInMethod: Hashable, Sendable {
    /// A name and a password.
    case password(user: String, password: Token)
    /// An access token for machines and CI.
    case accessToken(Token)
    /// A browser, on this machine or another (RFC 8628).
    case browser
}

/// Signs this machine in and out, for local users who ask over the control socket.
///
/// Everybody may try to sign in: what counts is what the server says. A session may be ended by who began it and by root.
struct SignInDesk: Sendable {
    /// Keeps who is signed in.
    let keeper: OrganizationKeeper
    /// Waits between two questions whether a browser has been used.
    var pause: @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }

    private static let notEnrolled = ControlRefusal(
        code: "not_enrolled",
        text: "this machine belongs to no organization, so there is nobody to sign in with",
        hint: "an administrator enrolls it: sudo docker ram enroll --help"
    )

    /// Signs the machine in.
    ///
    /// - Parameters:
    ///   - method: by what.
    ///   - localUser: who asks.
    ///   - isAwaited: whether who asks still waits; nobody is signed in who has given up.
    ///   - say: gets one line after the other: for a browser where to go (`userCode`, `verificationURI`), while that is
    ///     waited for `waiting` with the seconds that are left, and at last `signedIn` or `refused`.
    /// - Throws: what `say` throws, and `CancellationError` if nobody waits any more.
    func signIn(
        by method: SignInMethod,
        of localUser: uid_t,
        isAwaited: () -> Bool,
        say: (JSONValue) async throws -> Void
    ) async throws {
        do {
            guard let server = await keeper.server, let organization = await keeper.organization else {
                throw Self.notEnrolled
            }
            let (device, session) = try await session(by: method, server, isAwaited, say)
            guard isAwaited() else {
                // Without the token the session ends at the server by itself.
                if let token = session.refreshToken { try? await server.revoke(token) }
                throw CancellationError()
            }
            guard let ticket = session.ticket else {
                throw ControlRefusal(
                    code: "no_ticket",
                    text: "the server gave no ticket for this machine",
                    hint: "its version may be older than this one"
                )
            }
            let kept = session.refreshToken.map {
                OrganizationFiles.Session(user: session.user, refreshToken: $0, localUser: localUser)
            }
            do throws(Rejection) {
                try await keeper.signIn(kept, ticket: ticket, for: device.id)
            } catch {
                throw ControlRefusal(
                    code: "bad_ticket",
                    text: "the server's ticket is refused: \(error)",
                    hint: "run: docker ram status"
                )
            }
            await keeper.refresh()
            let members = [
                JSONMember("user", .string(session.user)), JSONMember("organization", .string(organization)),
            ]
            try await say(.object([JSONMember("signedIn", .object(members))]))
        } catch let refusal as ControlRefusal {
            try await say(refusal.line)
        } catch let fault as ServerFault {
            try await say(Self.refusal(of: fault, method, organization: await keeper.organization ?? "").line)
        }
    }

    /// Ends the session.
    ///
    /// - Parameter localUser: who asks.
    /// - Returns: `signedOut` with who was signed in, or `refused`.
    func signOut(by localUser: uid_t) async -> JSONValue {
        guard await keeper.organization != nil else { return Self.notEnrolled.line }
        guard let session = await keeper.session else {
            return ControlRefusal(
                code: "not_signed_in",
                text: "nobody is signed in",
                hint: "to sign in, run: docker ram login"
            ).line
        }
        guard localUser == 0 || localUser == session.localUser else {
            let text = "\(session.user) was signed in by another user of this machine, who may end that, as may root"
            return ControlRefusal(code: "forbidden", text: text, hint: "run: sudo docker ram logout").line
        }
        await keeper.endSession()
        // The server learns it too, if it can be reached; without the token the session ends there by itself.
        try? await keeper.server?.revoke(session.refreshToken)
        return .object([JSONMember("signedOut", .object([JSONMember("user", .string(session.user))]))])
    }

    private func session(
        by method: SignInMethod,
        _ server: OrganizationClient,
        _ isAwaited: () -> Bool,
        _ say: (JSONValue) async throws -> Void
    ) async throws -> (OrganizationClient.Device, OrganizationClient.Session) {
        var device = try await keeper.registeredDevice()
        func token(_ grant: OrganizationClient.Grant) async throws(ServerFault) -> OrganizationClient.Session {
            do throws(ServerFault) {
                return try await server.token(grant, for: device)
            } catch {
                guard error.code == "device_unknown" else { throw error }
                await keeper.forget(device)
                device = try await keeper.registeredDevice()
                return try await server.token(grant, for: device)
            }
        }
        switch method {
        case .password(let user, let password):
            return try await (device, token(.password(user: user, password: password)))
        case .accessToken(let accessToken): return try await (device, token(.accessToken(accessToken)))
        case .browser:
            let authorization = try await server.authorizeDevice(named: HostName.ofThisMachine)
            try await say(authorization.line)
            var polling = OrganizationClient.BrowserPolling(interval: authorization.interval)
            let end = ContinuousClock.now + .seconds(authorization.expiresIn)
            var left = authorization.expiresIn
            while left > 0 {
                try await pause(.seconds(min(polling.pause, left)))
                // A code that is approved after its owner gave up is good for nobody.
                guard isAwaited() else { throw CancellationError() }
                do throws(ServerFault) {
                    return try await (device, token(.deviceCode(authorization.deviceCode)))
                } catch {
                    try polling.goOn(after: error)
                }
                left = max(0, Int((end - .now).components.seconds))
                try await say(.object([JSONMember("waiting", .number("\(left)"))]))
            }
            throw polling.end
        }
    }

    private static func refusal(
        of fault: ServerFault,
        _ method: SignInMethod,
        organization: String
    ) -> ControlRefusal {
        let code = fault.code ?? "unreachable"
        switch (code, method) {
        case ("invalid_grant", .password(let user, _)):
            return ControlRefusal(
                code: code,
                text: "the name \"\(user)\" or the password is wrong",
                hint: "try again, or sign in with a browser: docker ram login"
            )
        case ("invalid_grant", .accessToken):
            return ControlRefusal(
                code: code,
                text: "the access token is unknown, or it has ended",
                hint: "make a new one on the organization's server"
            )
        case ("expired_token", _), ("invalid_grant", .browser):
            return ControlRefusal(
                code: code,
                text: "the code was not used in time",
                hint: "begin again: docker ram login"
            )
        case ("access_denied", _):
            return ControlRefusal(
                code: code,
                text: "the sign-in was declined in the browser",
                hint: "begin again: docker ram login"
            )
        case ("not_a_member", _):
            return ControlRefusal(
                code: code,
                text: "you are not a member of \"\(organization)\", to which this machine belongs",
                hint: "sign in with another account, or ask an owner of \"\(organization)\" to add you"
            )
        case ("too_many_requests", _):
            return ControlRefusal(
                code: code,
                text: "somebody has tried this too often",
                hint: "try again in a minute; after ten wrong passwords in a row it takes a quarter of an hour"
            )
        case (_, _) where fault.isRegistrationRefused:
            return ControlRefusal(
                code: code,
                text: "\(organization) registers this machine only by an enrollment token, or has as many as it takes",
                hint: "an administrator runs: sudo docker ram enroll ... --enrollment-token-stdin"
            )
        default: return ControlRefusal(code: code, text: "\(fault)", hint: "run: docker ram status")
        }
    }
}

extension OrganizationClient.DeviceAuthorization {
    /// What a person has to know.
    fileprivate var line: JSONValue {
        .object([
            JSONMember("userCode", .string(userCode)),
            JSONMember("verificationURI", .string(verificationURI)),
            JSONMember("completeVerificationURI", .text(completeVerificationURI)),
            JSONMember("expiresIn", .number("\(expiresIn)")),
        ])
    }
}
