import Foundation
public import Glibc
import Synchronization

/// docker-ramd under a root of its own.
public final class PrivateDaemon: Sendable {
    /// Its root.
    public let root: String
    /// The network in which it runs, if it is not the machine's own.
    public let network: PrivateNetwork?
    /// Its process, once it has been started.
    public var process: pid_t? { program.withLock { $0 }?.pid }
    /// What it has said since its last start.
    public var log: String { program.withLock { $0 }?.errors ?? "" }
    /// Its decision log: a JSON object in each line, without those that are not written yet.
    public var decisions: String {
        (try? String(contentsOfFile: "\(root)/var/lib/docker-ram/decisions.jsonl", encoding: .utf8)) ?? ""
    }

    private let program = Mutex<RunningProgram?>(nil)

    /// A daemon that does not run yet.
    ///
    /// - Parameters:
    ///   - root: an existing directory.
    ///   - network: where it is to run; the machine's own network if nothing is said.
    ///   - policy: the policy file, if there is one.
    ///   - settings: its settings, if there are any; on the machine's own network its proxy listens anywhere on loopback,
    ///     because there may be other tests.
    /// - Throws: if that cannot be written.
    public init(root: String, network: PrivateNetwork? = nil, policy: String?, settings: String? = nil) throws {
        self.root = root
        self.network = network
        try FileManager.default.createDirectory(atPath: "\(root)/etc/docker-ram", withIntermediateDirectories: true)
        if let policy { try write(policy: policy) }
        try (settings ?? (network == nil ? #"{"egressProxy":{"listen":"127.0.0.1:0"}}"# : nil))?
            .write(toFile: "\(root)/etc/docker-ram/daemon.json", atomically: true, encoding: .utf8)
    }

    /// Runs a daemon alone in a network while a body runs.
    ///
    /// - Parameters:
    ///   - directory: an existing directory in which it keeps everything.
    ///   - network: where it runs.
    ///   - policy: the policy file.
    ///   - settings: its settings, if there are any.
    ///   - body: gets the daemon.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why the daemon does not start.
    public static func with<Result>(
        in directory: String,
        _ network: PrivateNetwork,
        policy: String,
        settings: String? = nil,
        _ body: (PrivateDaemon) async throws -> Result
    ) async throws -> Result {
        let root = "\(directory)/d-\(UInt32.random(in: .min ... .max))"
        let daemon = try PrivateDaemon(root: root, network: network, policy: policy, settings: settings)
        do {
            try await daemon.start()
            let result = try await body(daemon)
            try await daemon.stop()
            return result
        } catch {
            let log = daemon.log
            try await daemon.stop()
            throw UnexpectedEnd(description: "\(error)\ndocker-ramd said:\n\(log.suffix(4000))")
        }
    }

    /// Replaces the policy file as an administrator does: in one step.
    ///
    /// - Parameters:
    ///   - json: the document.
    ///   - mode: the permissions.
    /// - Throws: if it cannot be written.
    public func write(policy json: String, mode: mode_t = 0o644) throws {
        let path = "\(root)/etc/docker-ram/policy.json"
        try json.write(toFile: "\(path).new", atomically: false, encoding: .utf8)
        chmod("\(path).new", mode)
        guard rename("\(path).new", path) == 0 else { throw CocoaError(.fileWriteUnknown) }
    }

    /// Replaces the policy file and waits until the daemon has it in force.
    ///
    /// - Parameters:
    ///   - json: the document.
    ///   - version: the version in it, another one than that in force.
    /// - Throws: ``UnexpectedEnd`` if it does not come into force within five seconds.
    public func enforce(policy json: String, version: Int) async throws {
        try write(policy: json)
        try await waitUntil("policy \(version) is in force", within: .seconds(5)) {
            log.split(separator: "\n").contains {
                $0.hasSuffix("policy in force") && $0.contains("policy.version=\(version) ")
            }
        }
    }

    /// Starts it and waits until it answers.
    ///
    /// - Throws: ``UnexpectedEnd`` if it does not start.
    public func start() async throws {
        let command = [try Programs.path("docker-ramd"), "run", "--root", root]
        let started = try RunningProgram(network?.command(command) ?? command)
        program.withLock { $0 = started }
        try await waitUntil("docker-ramd answers\n\(started.errors)") {
            guard started.status == nil else {
                throw UnexpectedEnd(description: "docker-ramd ended\n\(started.errors)")
            }
            let answer = try await runProgram([
                "curl", "-s", "-m", "2", "--unix-socket", "\(root)/run/docker/plugins/docker-ram.sock",
                "-X", "POST", "http://plugin/Plugin.Activate",
            ])
            return answer.output.contains("authz")
        }
        guard let network else { return }
        try await waitUntil("the egress proxy listens") {
            try network.inside { (try? RawConnection(to: "127.0.0.1", port: Self.port)) != nil }
        }
    }

    /// Ends it.
    ///
    /// - Parameter signal: how; SIGTERM if nothing is said.
    /// - Returns: its exit status.
    /// - Throws: ``UnexpectedEnd`` if it does not end.
    @discardableResult
    public func stop(_ signal: Int32? = nil) async throws -> Int32? {
        guard let program = program.withLock({ $0 }) else { return nil }
        program.send(signal ?? SIGTERM)
        try await program.stop()
        return program.status
    }

    // MARK: - Its egress proxy

    /// Where the egress proxy listens in a network of its own.
    public static let port: UInt16 = 7260

    /// The URL of the egress proxy, with the secret without which it serves nobody.
    ///
    /// - Throws: if docker-ramd has not made a secret.
    public var proxyURL: String {
        get throws { "http://\(try user)@127.0.0.1:\(Self.port)" }
    }

    /// The header with which the egress proxy is asked.
    ///
    /// - Throws: if docker-ramd has not made a secret.
    public var authorization: String {
        get throws { "Proxy-Authorization: Basic \(Data(try user.utf8).base64EncodedString())\r\n" }
    }

    private var user: String {
        get throws {
            let secret = try String(contentsOfFile: "\(root)/var/lib/docker-ram/proxy-secret", encoding: .utf8)
            return "docker-ram:\(secret.prefix { !$0.isNewline })"
        }
    }
}
