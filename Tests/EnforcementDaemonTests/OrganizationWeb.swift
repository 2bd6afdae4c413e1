@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import RegistryAccess
import SignedPolicy
import Synchronization
import TestSupport

/// The web server of an organization on loopback: what it answers to a path is what a test has put there.
final class OrganizationWeb: Sendable {
    /// A request as it came.
    struct Request: Sendable, Equatable {
        var method = ""
        var target = ""
        var headers: [String: String] = [:]
        var body = ""

        /// The target without its query.
        var path: String { String(target.prefix { $0 != "?" }) }
    }

    /// What is answered.
    enum Reply: Sendable {
        /// Something in order.
        case answer(Int, [UInt8], [String: String] = [:])
        /// Whatever a test does with the connection.
        case raw(@Sendable (SocketClient) -> Void)

        static func json(_ text: String, _ status: Int = 200) -> Reply { .answer(status, Array(text.utf8)) }
    }

    private let replies = Mutex<[String: @Sendable (Request) -> Reply]>([:])
    private let log = Mutex<[Request]>([])
    private let server = Mutex<LoopbackServer?>(nil)

    /// What came so far.
    var requests: [Request] { log.withLock { $0 } }

    /// Where it is.
    var url: String { "http://127.0.0.1:\(server.withLock { $0?.port ?? 0 })" }

    /// Runs a server while a body runs.
    static func with(_ body: (OrganizationWeb) async throws -> Void) async throws {
        let web = OrganizationWeb()
        let server = try LoopbackServer { [web] connection in web.serve(connection) }
        web.server.withLock { $0 = server }
        defer { server.stop() }
        try await body(web)
    }

    /// Answers to a path from now on.
    func reply(to path: String, _ reply: @escaping @Sendable (Request) -> Reply) {
        replies.withLock { $0[path] = reply }
    }

    /// What is answered to a path now.
    func reply(of path: String) -> (@Sendable (Request) -> Reply)? { replies.withLock { $0[path] } }

    func reply(to path: String, _ reply: Reply) { self.reply(to: path) { _ in reply } }

    /// Puts a document at its place below `/documents`.
    func publish(_ name: String, _ document: [UInt8]) {
        let tag = "\"\(document.hashValue)\""
        reply(to: "/documents/\(name)") { request in
            request.headers["if-none-match"] == tag
                ? .answer(304, [], ["ETag": tag]) : .answer(200, document, ["ETag": tag])
        }
    }

    /// Puts a version of the policy in force, and a freshness document with the same number.
    func publish(
        _ organization: SignedOrganization,
        version: Int,
        sequence: Int? = nil,
        allowing registry: String = "ghcr.io",
        issued: Instant = .now(),
        lifetime: Int64 = SignedOrganization.day
    ) throws {
        publish("policy/\(version).json", try organization.policy(version, allowing: registry))
        publish(
            "freshness.json",
            try organization.freshness(
                sequence ?? version,
                of: version,
                allowing: registry,
                issued: issued,
                lifetime: lifetime
            )
        )
    }

    /// Puts the first root document at its places.
    func publishRoot(_ organization: SignedOrganization) throws {
        let root = try organization.root(expires: .now() + 365 * SignedOrganization.day)
        publish("root.json", root)
        publish("root/1.json", root)
    }

    /// Makes the machine with these paths belong to an organization that is here.
    func enroll(
        _ paths: InstallationPaths,
        _ organization: SignedOrganization,
        requiresSignIn: Bool = false
    ) throws {
        let enrollment = Enrollment(
            server: try ServerURL(url),
            organization: organization.name,
            fingerprint: organization.pinned.fingerprint,
            documents: try ServerURL("\(url)/documents")
        )
        try Files.makeDirectory(Files.directory(of: paths.enrollment))
        if requiresSignIn {
            let requirement = #"{"allowedOrgs":["\#(organization.name)"]}"#
            try Files.replace(paths.registryRequirement, with: Array(requirement.utf8), mode: 0o644)
        }
        try Files.replace(paths.enrollment, with: Array(enrollment.json.text().utf8), mode: 0o644)
    }

    private func serve(_ connection: SocketClient) {
        let bytes = connection.read(for: 60) { Self.request($0) != nil }
        guard let request = Self.request(bytes) else { return }
        log.withLock { $0.append(request) }
        let reply = replies.withLock { $0[request.path] }
        switch reply?(request) ?? .json("{}", 404) {
        case .raw(let body): body(connection)
        case .answer(let status, let body, let headers):
            let lines = headers.map { "\($0.key): \($0.value)\r\n" }.joined()
            let head = "HTTP/1.1 \(status) X\r\n\(lines)Content-Length: \(body.count)\r\nConnection: close\r\n\r\n"
            connection.send(Array(head.utf8) + body)
        }
    }

    private static func request(_ bytes: [UInt8]) -> Request? {
        guard let range = Data(bytes).range(of: Data("\r\n\r\n".utf8)) else { return nil }
        let lines = String(decoding: bytes[..<range.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ").map(String.init)
        guard words.count == 3 else { return nil }
        var request = Request(method: words[0], target: words[1])
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            request.headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
        }
        let length = request.headers["content-length"].flatMap { Int($0) } ?? 0
        guard bytes.count >= range.upperBound + length else { return nil }
        request.body = String(decoding: bytes[range.upperBound..<(range.upperBound + length)], as: UTF8.self)
        return request
    }
}
