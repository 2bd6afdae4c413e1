import AsyncHTTPClient
import NIOCore
import NIOHTTP1
public import RegistryAccess

/// What was asked of an organization: that a registry be allowed.
public struct RegistryRequest: Hashable, Sendable {
    /// What became of it.
    public enum State: String, Hashable, Sendable, CaseIterable {
        /// Nobody has answered.
        case open
        /// The registry is allowed, for good or until a date.
        case allowed
        /// It is not.
        case declined
        /// Whoever asked does not want it any more.
        case withdrawn
        /// It was allowed until a date that has come.
        case ended
    }

    /// Its number in the organization.
    public let number: Int
    /// The registry.
    public let registry: RegistryAddress
    /// To pull, or to push as well.
    public let action: RegistryAction
    /// Why.
    public let reason: String
    /// Who asked, if somebody was signed in.
    public let user: String?
    /// When.
    public let made: Instant
    /// What became of it.
    public let state: State
    /// What was said to it.
    public let word: String
    /// Who answered.
    public let answeredBy: String?
    /// When.
    public let answered: Instant?
    /// When what was allowed ends.
    public let until: Instant?

    /// Reads one as the server and docker-ramd write it; gives `nil` if it is none.
    ///
    /// - Parameter json: an object; keys that are not known are for newer programs.
    public init?(_ json: JSONValue) {
        guard let number = json.number("number"), number >= 1,
            let registry = json.text("registry").flatMap({ try? RegistryAddress($0) }),
            let action = json.text("action").flatMap(RegistryAction.init), let made = Self.time("made", json),
            let state = json.text("state").flatMap(State.init), let reason = json.text("reason"),
            let word = json.text("word"), reason.utf8.count <= 4000, word.utf8.count <= 4000
        else { return nil }
        self.number = number
        self.registry = registry
        self.action = action
        self.reason = reason
        user = json.text("user")
        self.made = made
        self.state = state
        self.word = word
        answeredBy = json.text("answeredBy")
        answered = Self.time("answered", json)
        until = Self.time("until", json)
    }

    private static func time(_ name: String, _ json: JSONValue) -> Instant? { json.text(name).flatMap { Instant($0) } }

    /// The request as a JSON object.
    public var json: JSONValue {
        .object([
            JSONMember("number", .number("\(number)")),
            JSONMember("registry", .string(registry.description)),
            JSONMember("action", .string(action.rawValue)),
            JSONMember("reason", .string(reason)),
            JSONMember("user", .text(user)),
            JSONMember("made", .string(made.description)),
            JSONMember("state", .string(state.rawValue)),
            JSONMember("word", .string(word)),
            JSONMember("answeredBy", .text(answeredBy)),
            JSONMember("answered", .text(answered?.description)),
            JSONMember("until", .text(until?.description)),
        ])
    }
}

extension OrganizationClient {
    /// The most requests that are taken from a server.
    static let mostRequests = 100

    /// Asks the organization for a registry.
    ///
    /// - Parameters:
    ///   - registry: the registry.
    ///   - action: to pull, or to push as well.
    ///   - reason: why.
    ///   - device: this machine.
    /// - Returns: the request; the one that is open already, if there is one.
    /// - Throws: ``ServerFault``.
    public func ask(
        for registry: RegistryAddress,
        to action: RegistryAction,
        because reason: String,
        from device: Device
    ) async throws(ServerFault) -> RegistryRequest {
        let members = [
            JSONMember("registry", .string(registry.description)), JSONMember("action", .string(action.rawValue)),
            JSONMember("reason", .string(reason)),
        ]
        let request = json(.object(members), Self.requestsPath(organization, device), device)
        let answer = try Self.object(try await exchange(request, atMost: 64 << 10, within: limits.exchange).body)
        guard let request = RegistryRequest(answer) else { throw .malformed("it holds no request") }
        return request
    }

    /// Takes back what was asked for on a machine, or by who is signed in there.
    ///
    /// - Parameters:
    ///   - number: the number of the request.
    ///   - device: this machine.
    /// - Returns: the request.
    /// - Throws: ``ServerFault``.
    public func withdraw(_ number: Int, from device: Device) async throws(ServerFault) -> RegistryRequest {
        let path = "\(Self.requestsPath(organization, device))/\(number)/withdraw"
        let answer = try await exchange(json(.object([]), path, device), atMost: 64 << 10, within: limits.exchange)
        guard let request = RegistryRequest(try Self.object(answer.body)) else {
            throw .malformed("it holds no request")
        }
        return request
    }

    /// What was asked for on a machine, and by who is signed in there.
    ///
    /// - Parameter device: this machine.
    /// - Returns: the newest requests, the newest first, and how often any of them has changed.
    /// - Throws: ``ServerFault``.
    public func requests(
        of device: Device
    ) async throws(ServerFault) -> (requests: [RegistryRequest], changes: Int) {
        var request = HTTPClientRequest(url: "\(server)/v1/\(Self.requestsPath(organization, device))")
        request.headers.add(name: "Authorization", value: "Bearer \(device.secret.text)")
        request.headers.add(name: "Accept", value: "application/json")
        let answer = try Self.object(try await exchange(request, atMost: 1 << 20, within: limits.exchange).body)
        guard let elements = answer.value(named: "requests")?.elements, let changes = answer.number("changes") else {
            throw .malformed("it holds no requests")
        }
        return (elements.prefix(Self.mostRequests).compactMap { RegistryRequest($0) }, changes)
    }

    private static func requestsPath(_ organization: String, _ device: Device) -> String {
        "organizations/\(organization)/devices/\(PercentEncoding.encode(device.id))/requests"
    }
}
