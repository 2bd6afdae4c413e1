@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import Logging
import NIOCore
import RegistryAccess
import TestSupport

/// A docker-ramd under a root of its own, running in the process of the test.
struct RunningDaemon: Sendable {
    let paths: InstallationPaths
    let orders: AsyncStream<EnforcementDaemon.Order>.Continuation

    /// Docker Hub and pulls of one organization from GHCR.
    static let policy = """
        {"version": 7, "organization": "acme", "contact": "platform@acme.test", "registries": [
          {"address": "docker.io", "allowed": true},
          {"address": "ghcr.io", "allowed": true, "actions": ["pull"], "repositories": ["acme/**"]}]}
        """

    /// Limits for tests of something else: without optimization and on a busy machine, everything takes its time.
    static let patientPlugin: PluginLimits = {
        var limits = PluginLimits()
        limits.call = .seconds(60)
        return limits
    }()

    /// The same for the control socket.
    static let patientControl: ControlServer.Limits = {
        var limits = ControlServer.Limits()
        limits.patience = .seconds(60)
        return limits
    }()

    /// Runs a daemon while the body runs.
    static func with(
        policy: String? = Self.policy,
        settings: DaemonSettings = DaemonSettings(),
        pluginLimits: PluginLimits = Self.patientPlugin,
        controlLimits: ControlServer.Limits = Self.patientControl,
        pace: OrganizationKeeper.Pace = OrganizationKeeper.Pace(),
        reportPace: RefusalReporter.Pace = RefusalReporter.Pace(),
        usePace: UseReporter.Pace = UseReporter.Pace(),
        preparing: (InstallationPaths) throws -> Void = { _ in },
        _ body: @Sendable @escaping (RunningDaemon) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { root in
            let paths = InstallationPaths(root: root)
            try Files.makeDirectory(Files.directory(of: paths.policyFile))
            if let policy { try Files.replace(paths.policyFile, with: Array(policy.utf8), mode: 0o644) }
            try preparing(paths)
            var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            logger.logLevel = .critical
            let (orders, continuation) = AsyncStream.makeStream(of: EnforcementDaemon.Order.self)
            let daemon = EnforcementDaemon(
                paths: paths,
                settings: settings,
                pluginSocket: try ListeningSocket.open(at: paths.pluginSocket, mode: 0o600),
                controlSocket: try ListeningSocket.open(at: paths.controlSocket, mode: 0o666),
                proxySocket: .success(try ListeningSocket.openTCP(at: "127.0.0.1:0")),
                logger: logger,
                pluginLimits: pluginLimits,
                controlLimits: controlLimits,
                organizationPace: pace,
                reportPace: reportPace,
                usePace: usePace
            )
            let running = RunningDaemon(paths: paths, orders: continuation)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await daemon.run(orders: orders) }
                defer { continuation.finish() }
                // The sockets take connections before anybody serves them; the policy is read before the first answer.
                let isServing = await eventually(within: 120) { (try? await running.status()) != nil }
                guard isServing else { throw NotServing() }
                try await body(running)
            }
        }
    }

    /// The answer to one call of the plugin, on a connection of its own.
    func call(_ path: String, _ body: some Collection<UInt8> & Sendable) async throws -> HTTPAnswer? {
        let socket = paths.pluginSocket
        return try await onThread {
            let client = try SocketClient(socket)
            client.send(Self.post(path, body))
            return client.readAnswer()
        }
    }

    /// The answer to a request to the engine, or `nil` if it is not one of the two that there are.
    func isAllowed(_ method: String, _ target: String) async throws -> Bool? {
        let request = JSONValue.object([
            JSONMember("RequestMethod", .string(method)), JSONMember("RequestUri", .string(target)),
        ])
        let answer = try await call("/AuthZPlugin.AuthZReq", Array(request.text().utf8))
        guard let answer, answer.status == 200 else { return nil }
        if answer.body == #"{"Allow":true}"# { return true }
        return answer.body.hasPrefix(#"{"Allow":false,"Msg":"#) ? false : nil
    }

    /// What the control socket answers to a line.
    func ask(_ line: String) async throws -> [String] {
        let socket = paths.controlSocket
        return try await onThread {
            let client = try SocketClient(socket)
            client.send(line + "\n")
            return String(decoding: client.read(), as: UTF8.self).split(separator: "\n").map(String.init)
        }
    }

    /// The status.
    func status() async throws -> DaemonStatus {
        let line = try await ask(#"{"request":"status"}"#).first ?? ""
        return try JSONDecoder().decode(DaemonStatus.self, from: Data(line.utf8))
    }

    /// The newest records of the decision log.
    func records(_ limit: Int = 50) async throws -> [DecisionRecord] {
        try await ask(#"{"request":"log","limit":\#(limit)}"#).map {
            try JSONDecoder().decode(DecisionRecord.self, from: Data($0.utf8))
        }
    }

    /// A call in bytes.
    static func post(_ path: String, _ body: some Collection<UInt8>, _ headers: String = "") -> [UInt8] {
        Array("POST \(path) HTTP/1.1\r\nHost: \r\n\(headers)Content-Length: \(body.count)\r\n\r\n".utf8) + Array(body)
    }
}

/// docker-ramd did not begin to serve.
struct NotServing: Error {}

/// A pull as the engine hands it over.
func pull(_ image: String) -> [UInt8] {
    Array(#"{"RequestMethod":"POST","RequestUri":"/v1.41/images/create?fromImage=\#(image)&tag=1"}"#.utf8)
}
