@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import NIOCore
import NIOPosix
import RegistryAccess
import Synchronization
import TestSupport

/// An egress proxy on loopback, in the process of the test.
struct RunningProxy: Sendable {
    let port: Int
    let proxy: EgressProxy
    /// What was recorded so far.
    let log: RecordedDecisions
    let server: EgressProxyServer
    /// The socket that listens.
    let descriptor: CInt

    let policy: CurrentPolicy

    /// The header of somebody who knows the secret.
    let authorization: String

    /// Names that lead to loopback, which a rule names, and others that no resolver knows.
    struct Names: HostResolver {
        var addresses: [String: [String]] = [:]
        /// Opened when they are found; `nil`: at once.
        var gate: EventLoopFuture<Void>?

        func addresses(
            of host: String,
            port: UInt16,
            on eventLoop: any EventLoop
        ) -> EventLoopFuture<[SocketAddress]> {
            let found = (addresses[host] ?? [host]).compactMap { try? SocketAddress(ipAddress: $0, port: Int(port)) }
            guard !found.isEmpty else {
                return eventLoop.makeFailedFuture(DialFault.notFound("name or service not known"))
            }
            guard let gate else { return eventLoop.makeSucceededFuture(found) }
            return gate.hop(to: eventLoop).map { found }
        }
    }

    /// Names that the policy below speaks of.
    static let names = Names(addresses: [
        "origin.test": ["127.0.0.1"], "plain.test": ["127.0.0.1"], "inside.test": ["169.254.169.254"],
    ])

    /// A policy: TLS to `origin.test`, plain HTTP to `plain.test`, and the addresses of loopback by name.
    static func policy(_ more: String = "", mode: String = "enforce") -> String {
        """
        {"version": 7, "organization": "acme", "contact": "platform@acme.test", "mode": "\(mode)", "registries": [
          {"address": "127.0.0.0/8:*", "allowed": true},
          {"address": "origin.test:*", "allowed": true},
          {"address": "inside.test:*", "allowed": true},
          {"address": "nowhere.test:*", "allowed": true},
          {"address": "plain.test:*", "allowed": true, "insecure": true}\(more)]}
        """
    }

    /// Runs a proxy while the body runs.
    static func with(
        policy json: String? = Self.policy(),
        settings: DaemonSettings.EgressProxy = DaemonSettings.EgressProxy(),
        names: Names = Self.names,
        adjust: (inout ProxyLimits) -> Void = { _ in },
        _ body: (RunningProxy) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { root in
            let inForce = try json.map(Self.inForce) ?? .unmanaged
            let secret = try ProxySecret.readOrMake(InstallationPaths(root: root))
            let queue = DecisionQueue()
            let current = CurrentPolicy(PolicySnapshot(inForce: inForce, loadedAt: .now()))
            let proxy = EgressProxy(policy: current, credentials: ProxyCredentials([secret]), log: queue)
            var limits = ProxyLimits(settings)
            // Without optimization and on a busy machine, everything takes its time.
            limits.head = .seconds(60)
            limits.hello = .seconds(60)
            limits.drain = .milliseconds(200)
            adjust(&limits)
            let descriptor = try ListeningSocket.openTCP(at: "127.0.0.1:0").descriptor
            let server = try await EgressProxyServer.start(
                on: descriptor,
                proxy: proxy,
                settings: settings,
                limits: limits,
                resolver: names,
                group: MultiThreadedEventLoopGroup.singleton
            )
            let token = Data("\(ProxySecret.user):\(secret.secret.text)".utf8).base64EncodedString()
            let log = RecordedDecisions()
            // Ends with the queue.
            let collection = Task { for await _ in queue.rings { for record in queue.take() { log.add(record) } } }
            let running = RunningProxy(
                port: server.address.port ?? 0,
                proxy: proxy,
                log: log,
                server: server,
                descriptor: descriptor,
                policy: current,
                authorization: "Proxy-Authorization: Basic \(token)\r\n"
            )
            do {
                try await body(running)
                await server.stop()
            } catch {
                await server.stop()
                queue.finish()
                throw error
            }
            queue.finish()
            await collection.value
        }
    }

    private static func inForce(_ json: String) throws -> PolicyInForce {
        .policy(try AccessPolicy(json: Array(json.utf8)), source: PolicySource(path: "policy.json"))
    }

    /// Puts another policy in force.
    func replacePolicy(with json: String) throws {
        policy.replace(with: PolicySnapshot(inForce: try Self.inForce(json), loadedAt: .now()))
    }

    /// Sends bytes and reads until the proxy closes.
    func exchange(_ text: String, for seconds: Double = 60) async throws -> String {
        let port = port
        return try await onThread {
            let client = try SocketClient(port: port)
            client.send(text)
            return String(decoding: client.read(for: seconds), as: UTF8.self)
        }
    }

    /// The head of a `CONNECT` of somebody who knows the secret.
    func connect(_ authority: String, _ headers: String = "") -> String {
        "CONNECT \(authority) HTTP/1.1\r\nHost: \(authority)\r\n\(authorization)\(headers)\r\n"
    }

    /// Opens a tunnel.
    func tunnel(_ authority: String) throws -> SocketClient? {
        let client = try SocketClient(port: port)
        client.send(connect(authority))
        let answer = client.read { $0.suffix(4).elementsEqual("\r\n\r\n".utf8) }
        return answer.starts(with: "HTTP/1.1 200 ".utf8) ? client : nil
    }
}

/// What a proxy has recorded.
final class RecordedDecisions: Sendable {
    private let records = Mutex<[DecisionRecord]>([])

    func add(_ record: DecisionRecord) { records.withLock { $0.append(record) } }

    /// Takes what there is when there are so many, or when waiting for more makes no sense.
    func take(_ count: Int) async -> [DecisionRecord] {
        _ = await eventually(within: 20) { records.withLock { $0.count } >= count }
        return records.withLock { all in
            defer { all = [] }
            return all
        }
    }
}
