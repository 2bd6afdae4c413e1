import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import RegistryAccess

extension OrganizationClient {
    /// A machine as the server knows it.
    public struct Device: Hashable, Sendable {
        /// Its name.
        public let id: String
        /// What it proves to be itself with.
        public let secret: Token

        /// A device.
        ///
        /// - Parameters:
        ///   - id: its name.
        ///   - secret: what it proves to be itself with.
        public init(id: String, secret: Token) {
            self.id = id
            self.secret = secret
        }
    }

    /// By what somebody signs in, or stays signed in.
    public enum Grant: Sendable {
        /// A name and a password.
        case password(user: String, password: Token)
        /// What the last answer brought; it is good once.
        case refresh(Token)
        /// What the device authorization began with (RFC 8628).
        case deviceCode(Token)
        /// An access token for machines and CI.
        case accessToken(Token)

        fileprivate var fields: [(String, String)] {
            switch self {
            case .password(let user, let password):
                [("grant_type", "password"), ("username", user), ("password", password.text)]
            case .refresh(let token): [("grant_type", "refresh_token"), ("refresh_token", token.text)]
            case .deviceCode(let code):
                [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", code.text)]
            case .accessToken(let token): [("grant_type", "urn:docker-ram:access-token"), ("token", token.text)]
            }
        }
    }

    /// Who has signed in.
    public struct Session: Sendable {
        /// For calls of the API.
        public let accessToken: Token
        /// How long that is good, in seconds.
        public let expiresIn: Int
        /// For staying signed in.
        public let refreshToken: Token?
        /// Who.
        public let user: String
        /// The envelope of the ticket, if a device was named.
        public let ticket: [UInt8]?
    }

    /// What to do in a browser to sign in (RFC 8628).
    public struct DeviceAuthorization: Sendable {
        /// For asking whether it was done.
        public let deviceCode: Token
        /// What to type there.
        public let userCode: String
        /// Where.
        public let verificationURI: String
        /// Where, with the code already typed.
        public let completeVerificationURI: String?
        /// How long that is good, in seconds.
        public let expiresIn: Int
        /// How many seconds to wait between two questions.
        public let interval: Int
    }

    /// Signs in, or stays signed in.
    ///
    /// - Parameters:
    ///   - grant: by what.
    ///   - device: the machine that the session and its ticket are for.
    ///   - isForEveryOrganization: whether the session is for all organizations that the person belongs to.
    /// - Returns: who has signed in.
    /// - Throws: ``ServerFault``; its ``ServerFault/code`` is one of RFC 6749 and 8628, or `not_a_member`.
    public func token(
        _ grant: Grant,
        for device: Device? = nil,
        isForEveryOrganization: Bool = false
    ) async throws(ServerFault) -> Session {
        var fields = grant.fields
        if !isForEveryOrganization { fields.append(("organization", organization)) }
        if let device { fields += [("device", device.id), ("device_secret", device.secret.text)] }
        let answer = try await post(form: fields, to: "token")
        guard let accessToken = answer.text("access_token"), let user = answer.text("user"),
            let expiresIn = answer.number("expires_in"), answer.text("token_type")?.lowercased() == "bearer",
            OrganizationName.isValid(user)
        else { throw .malformed("it holds no session") }
        return Session(
            accessToken: Token(accessToken),
            expiresIn: expiresIn,
            refreshToken: answer.text("refresh_token").map(Token.init),
            user: user,
            ticket: answer.value(named: "ticket").map { Array($0.text().utf8) }
        )
    }

    /// Begins to sign in with a browser.
    ///
    /// - Parameters:
    ///   - name: the name of this machine, to be shown there.
    ///   - isForAdministration: whether the session is to do everything that the person may; they are told. Without it, it
    ///     reads the policy and no more.
    /// - Returns: what to do there.
    /// - Throws: ``ServerFault``.
    public func authorizeDevice(
        named name: String,
        forAdministration isForAdministration: Bool = false
    ) async throws(ServerFault) -> DeviceAuthorization {
        var fields = [("client_id", "docker-ram"), ("organization", organization), ("device_name", name)]
        if isForAdministration { fields.append(("scope", "administration")) }
        let answer = try await post(form: fields, to: "device_authorization")
        guard let deviceCode = answer.text("device_code"), let userCode = answer.text("user_code"),
            let uri = answer.text("verification_uri"), let expiresIn = answer.number("expires_in")
        else { throw .malformed("it holds no device authorization") }
        return DeviceAuthorization(
            deviceCode: Token(deviceCode),
            userCode: userCode,
            verificationURI: uri,
            completeVerificationURI: answer.text("verification_uri_complete"),
            expiresIn: expiresIn,
            // RFC 8628, section 3.2.
            interval: answer.number("interval") ?? 5
        )
    }

    /// How often is asked whether a browser has been used (RFC 8628, section 3.5).
    public struct BrowserPolling: Hashable, Sendable {
        /// The longest pause that is made because the server cannot be reached, in seconds.
        static let longestPause = 30

        /// How long to wait before the next question, in seconds.
        public private(set) var pause: Int
        private var interval: Int
        /// Why the last question has no answer, if it has none.
        private var lastFault: ServerFault?

        /// Begins.
        ///
        /// - Parameter interval: how long the server wants to be left alone between two questions, in seconds.
        public init(interval: Int) {
            self.interval = max(interval, 1)
            pause = self.interval
        }

        /// Goes on after a question that brought no session.
        ///
        /// - Parameter fault: what it brought.
        /// - Throws: the fault, if there is nothing more to wait for.
        public mutating func goOn(after fault: ServerFault) throws(ServerFault) {
            switch fault.code {
            case "authorization_pending": lastFault = nil
            case "slow_down":
                interval += 5
                lastFault = nil
            default:
                guard fault.mayPass else { throw fault }
                lastFault = fault
                pause = max(interval, min(pause * 2, Self.longestPause))
                return
            }
            pause = interval
        }

        /// Why there is no session when the code has ended.
        public var end: ServerFault { lastFault ?? .refused(status: 400, code: "expired_token") }
    }

    /// Takes a token back, so that it is good for nothing any more.
    ///
    /// - Parameter token: the token.
    /// - Throws: ``ServerFault``.
    public func revoke(_ token: Token) async throws(ServerFault) {
        _ = try await exchange(form([("token", token.text)], "token/revoke"), atMost: 64 << 10, within: limits.exchange)
    }

    private func post(form fields: [(String, String)], to path: String) async throws(ServerFault) -> JSONValue {
        let answer = try await exchange(form(fields, path), atMost: 1 << 20, within: limits.exchange)
        return try Self.object(answer.body)
    }

    private func form(_ fields: [(String, String)], _ path: String) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: "\(server)/v1/\(path)")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/x-www-form-urlencoded")
        request.headers.add(name: "Accept", value: "application/json")
        request.body = .bytes(ByteBuffer(string: PercentEncoding.form(fields)))
        return request
    }

    /// Reads an answer: keys that are not known are for newer programs, none may come twice.
    static func object(_ body: [UInt8]) throws(ServerFault) -> JSONValue {
        do throws(InvalidJSON) {
            let limits = StrictJSON.Limits(bytes: 1 << 20, depth: 8, foldsKeys: false)
            let value = try StrictJSON.parse(body, limits: limits)
            if value.members != nil { return value }
        } catch {
            throw .malformed("\(error)")
        }
        throw .malformed("it is no object")
    }
}
