import LocalInstallation
import OrganizationClient
import RegistryAccess

/// What a local user asks over the control socket: one line of JSON.
enum ControlRequest: Hashable, Sendable {
    /// How docker-ramd is.
    case status
    /// The newest records of the decision log, and with `follow` those to come.
    case log(limit: Int, follow: Bool)
    /// Every record of the decision log, the oldest first, and then the line `{"end":true}`.
    ///
    /// - Parameters:
    ///   - since: the earliest time, as records have it.
    ///   - refusedOnly: whether to leave out what was allowed.
    case history(since: String?, refusedOnly: Bool)
    /// docker-credential-ram has refused something, or let it pass in audit mode only.
    ///
    /// What else the record holds, docker-ramd knows itself: the policy, the time, and who asks.
    ///
    /// - Parameters:
    ///   - id: the decision's name, which the person has read.
    ///   - registry: the registry; `nil` if what Docker named is none.
    case record(id: DecisionID, registry: RegistryAddress?)
    /// Somebody wants this machine to be signed in.
    case signIn(SignInMethod)
    /// Somebody wants the session of this machine to end.
    case signOut
    /// Root wants this machine to be registered with its organization.
    ///
    /// - Parameter token: the enrollment token that lets it in.
    case register(showing: Token)

    /// What was asked of the organization on this machine, and what it answered.
    case requests
    /// Somebody wants the organization to allow a registry.
    ///
    /// - Parameters:
    ///   - registry: the registry.
    ///   - action: to pull, or to push as well.
    ///   - reason: why.
    case request(registry: RegistryAddress, action: RegistryAction, reason: String)
    /// Somebody takes back what was asked for.
    ///
    /// - Parameter number: the number of the request.
    case withdraw(number: Int)

    /// The longest line that is read, in bytes.
    static let longestLine = 64 << 10

    /// Reads a request.
    ///
    /// - Throws: ``InvalidControlRequest`` if it is none; unknown keys included.
    init(line: [UInt8]) throws(InvalidControlRequest) {
        let json: JSONValue
        do throws(InvalidJSON) {
            json = try StrictJSON.parse(line, limits: StrictJSON.Limits(bytes: Self.longestLine, depth: 4))
        } catch {
            throw InvalidControlRequest(description: "the request is not JSON: \(error.message)")
        }
        guard let members = json.members else { throw InvalidControlRequest(description: "the request is no object") }
        switch json.value(named: "request")?.text {
        case "status":
            guard members.count == 1 else { throw InvalidControlRequest(description: "status takes no other keys") }
            self = .status
        case "log":
            var (limit, follow) = (50, false)
            for member in members where member.name != "request" {
                switch (member.name, member.value) {
                case ("limit", .number(let text)):
                    guard let number = Int(text), (0...DecisionLog.mostLines).contains(number) else {
                        throw InvalidControlRequest(description: "limit is a number from 0 to \(DecisionLog.mostLines)")
                    }
                    limit = number
                case ("follow", .bool(let flag)): follow = flag
                default:
                    throw InvalidControlRequest(description: "log takes limit (a number) and follow (true or false)")
                }
            }
            self = .log(limit: limit, follow: follow)
        case "history":
            var (since, refusedOnly): (String?, Bool) = (nil, false)
            for member in members where member.name != "request" {
                switch (member.name, member.value) {
                case ("since", .string(let text)) where DecisionHistory.isTime(text): since = text
                case ("refusedOnly", .bool(let flag)): refusedOnly = flag
                default:
                    throw InvalidControlRequest(
                        description: "history takes since (a time as in the log) and refusedOnly (true or false)"
                    )
                }
            }
            self = .history(since: since, refusedOnly: refusedOnly)
        case "record": self = try Self.record(members)
        case "sign-in": self = .signIn(try Self.signInMethod(members))
        case "sign-out":
            guard members.count == 1 else { throw InvalidControlRequest(description: "sign-out takes no other keys") }
            self = .signOut
        case "register":
            guard members.count == 2, let token = json.value(named: "enrollmentToken")?.text, !token.isEmpty else {
                throw InvalidControlRequest(description: "register takes enrollmentToken (a text)")
            }
            self = .register(showing: Token(token))
        case "requests":
            guard members.count == 1 else { throw InvalidControlRequest(description: "requests takes no other keys") }
            self = .requests
        case "request": self = try Self.registryRequest(members)
        case "withdraw":
            guard members.count == 2, case .number(let digits)? = json.value(named: "number"),
                let number = Int(digits), number >= 1
            else { throw InvalidControlRequest(description: "withdraw takes number (of a request)") }
            self = .withdraw(number: number)
        default:
            throw InvalidControlRequest(
                description: """
                    the request is none of "status", "log", "history", "record", "sign-in", "sign-out", \
                    "register", "requests", "request", "withdraw"
                    """
            )
        }
    }

    private static func record(_ members: [JSONMember]) throws(InvalidControlRequest) -> ControlRequest {
        var id: DecisionID?
        var registry: RegistryAddress?
        var isRegistryGiven = false
        for member in members where member.name != "request" {
            switch (member.name, member.value) {
            case ("id", .string(let text)): id = DecisionID(text)
            case ("registry", .null): isRegistryGiven = true
            case ("registry", .string(let text)):
                registry = try? RegistryAddress(text)
                isRegistryGiven = registry != nil
            default: isRegistryGiven = false
            }
        }
        guard members.count == 3, let id, isRegistryGiven else {
            throw InvalidControlRequest(description: "record takes id (six digits) and registry (an address or null)")
        }
        return .record(id: id, registry: registry)
    }
}

extension ControlRequest {
    private static func registryRequest(_ members: [JSONMember]) throws(InvalidControlRequest) -> ControlRequest {
        var registry: RegistryAddress?
        var action: RegistryAction?
        var reason: String?
        for member in members where member.name != "request" {
            switch (member.name, member.value) {
            case ("registry", .string(let text)): registry = try? RegistryAddress(text)
            case ("action", .string("pull")): action = .pull
            case ("action", .string("push")): action = .push
            case ("reason", .string(let text)) where text.unicodeScalars.count <= RequestDesk.longestReason:
                reason = text
            default: registry = nil
            }
        }
        guard members.count == 4, let registry, let action, let reason else {
            throw InvalidControlRequest(
                description: "request takes registry (an address), action (pull or push) and reason (a text of at most "
                    + "\(RequestDesk.longestReason) characters)"
            )
        }
        return .request(registry: registry, action: action, reason: reason)
    }

    private static func signInMethod(_ members: [JSONMember]) throws(InvalidControlRequest) -> SignInMethod {
        var texts: [String: String] = [:]
        for member in members where member.name != "request" {
            guard let text = member.value.text, !text.isEmpty else {
                throw InvalidControlRequest(description: "what sign-in takes are texts, and none is empty")
            }
            texts[member.name] = text
        }
        switch texts.keys.sorted() {
        case []: return .browser
        case ["token"]: return .accessToken(Token(texts["token"] ?? ""))
        case ["password", "user"]:
            return .password(user: texts["user"] ?? "", password: Token(texts["password"] ?? ""))
        default:
            throw InvalidControlRequest(description: "sign-in takes user and password, or token, or nothing")
        }
    }
}

/// Why a line is no request.
struct InvalidControlRequest: Error, Hashable, CustomStringConvertible {
    let description: String

    /// The line that is answered.
    var line: String { JSONValue.object([JSONMember("error", .string(description))]).text() }
}
