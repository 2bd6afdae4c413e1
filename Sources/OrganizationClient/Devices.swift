import AsyncHTTPClient
import NIOCore
import NIOHTTP1
public import RegistryAccess

extension OrganizationClient {
    /// What has become of the session of a device.
    public enum SessionState: String, Hashable, Sendable {
        /// Nobody is signed in.
        case none
        /// Somebody is signed in.
        case active
        /// An owner has ended it.
        case ended
    }

    /// What a server says to who waits for changes.
    public struct Changes: Hashable, Sendable {
        /// Names how far everything has come; another one means that something has changed.
        public let cursor: String
        /// What has become of the session.
        public let session: SessionState
        /// Names what a ticket says; another one means that this machine needs another ticket.
        ///
        /// `nil`: the server does not say, so any change may be one.
        public let ticket: String?
        /// How often what was asked for has changed; `nil` if the server does not say.
        public let requests: Int?
        /// The documents, if they are others than those of the cursor asked with, and the server tells them at once.
        public let news: News?
    }

    /// Documents that a server tells with a change, so that nothing has to be fetched: as little to be trusted as fetched ones.
    public struct News: Hashable, Sendable {
        /// How many root documents there are.
        public let root: Int
        /// The newest freshness document.
        public let freshness: [UInt8]
        /// The newest policy, unless it is too long for that.
        public let policy: [UInt8]?
    }

    /// Makes the server know this machine.
    ///
    /// - Parameters:
    ///   - name: what people call it.
    ///   - enrollmentToken: what the organization wants to see, if it does.
    /// - Returns: the device.
    /// - Throws: ``ServerFault``.
    public func registerDevice(
        named name: String,
        enrollmentToken: Token? = nil
    ) async throws(ServerFault) -> Device {
        var members = [JSONMember("name", .string(name))]
        if let enrollmentToken { members.append(JSONMember("enrollmentToken", .string(enrollmentToken.text))) }
        let request = json(.object(members), "organizations/\(organization)/devices", nil)
        let answer = try Self.object(try await exchange(request, atMost: 64 << 10, within: limits.exchange).body)
        guard let id = answer.text("device"), let secret = answer.text("secret"), Self.isDeviceID(id) else {
            throw .malformed("it names no device")
        }
        return Device(id: id, secret: Token(secret))
    }

    /// Waits for a change.
    ///
    /// - Parameters:
    ///   - device: this machine.
    ///   - cursor: how far we know; `nil` asks how far everything has come.
    ///   - seconds: how long the server may wait, 60 at most.
    /// - Returns: how far everything has come.
    /// - Throws: ``ServerFault``; the code `device_unknown` says that the machine has to register again.
    public func changes(
        for device: Device,
        after cursor: String?,
        waiting seconds: Int
    ) async throws(ServerFault) -> Changes {
        var path = "organizations/\(organization)/devices/\(PercentEncoding.encode(device.id))/changes?wait=\(seconds)"
        if let cursor { path += "&after=\(PercentEncoding.encode(cursor))" }
        var request = HTTPClientRequest(url: "\(server)/v1/\(path)")
        request.headers.add(name: "Authorization", value: "Bearer \(device.secret.text)")
        request.headers.add(name: "Accept", value: "application/json")
        let time = limits.exchange + .seconds(seconds)
        let answer = try Self.object(try await exchange(request, atMost: 64 << 10, within: time).body)
        guard let cursor = answer.text("cursor"), cursor.utf8.count <= 512,
            let session = answer.text("session").flatMap(SessionState.init)
        else { throw .malformed("it holds no cursor or session") }
        var news: News?
        if let root = answer.number("root"), let freshness = answer.text("freshness") {
            news = News(
                root: root,
                freshness: Array(freshness.utf8),
                policy: answer.text("policy").map { Array($0.utf8) }
            )
        }
        return Changes(
            cursor: cursor,
            session: session,
            ticket: answer.text("ticket"),
            requests: answer.number("requests"),
            news: news
        )
    }

    /// Tells the server how the machine is and what it refused; the same batch may be sent twice.
    ///
    /// - Parameters:
    ///   - report: the report.
    ///   - device: this machine.
    /// - Throws: ``ServerFault``.
    public func send(report: JSONValue, from device: Device) async throws(ServerFault) {
        let path = "organizations/\(organization)/devices/\(PercentEncoding.encode(device.id))/reports"
        _ = try await exchange(json(report, path, device), atMost: 64 << 10, within: limits.exchange)
    }

    /// Tells the server which registries the machine uses; the same may be told twice.
    ///
    /// - Parameters:
    ///   - uses: objects with `day`, `registry` and `action`, 1,000 at most.
    ///   - device: this machine.
    /// - Throws: ``ServerFault``.
    public func send(uses: [JSONValue], from device: Device) async throws(ServerFault) {
        let path = "organizations/\(organization)/devices/\(PercentEncoding.encode(device.id))/uses"
        let body = JSONValue.object([JSONMember("uses", .array(uses))])
        _ = try await exchange(json(body, path, device), atMost: 64 << 10, within: limits.exchange)
    }

    func json(_ value: JSONValue, _ path: String, _ device: Device?) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: "\(server)/v1/\(path)")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        request.headers.add(name: "Accept", value: "application/json")
        if let device { request.headers.add(name: "Authorization", value: "Bearer \(device.secret.text)") }
        request.body = .bytes(ByteBuffer(string: value.text()))
        return request
    }

    private static func isDeviceID(_ text: String) -> Bool {
        (8...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) }
    }
}

extension JSONValue {
    func text(_ name: String) -> String? { value(named: name)?.text }

    func number(_ name: String) -> Int? {
        if case .number(let text) = value(named: name) { Int(text) } else { nil }
    }
}
