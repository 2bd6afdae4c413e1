import Foundation
public import Glibc

/// Docker Engine under a directory of its own, with docker-ramd as its authorization plugin: Debian's, or the one that
/// ``EngineUnderTest`` names.
///
/// The machine's own Docker is not touched: the engine has its own data, sockets and settings, and a mount namespace
/// in which `/run/docker/plugins` and `/etc/docker` are ours.
public final class PrivateEngine: Sendable {
    /// How an engine goes out.
    public enum Way: Sendable {
        /// By itself.
        case direct
        /// Through the egress proxy of its docker-ramd, told where this version reads it.
        case egressProxy
        /// As `docker ram engine enable` set it up before it started: the plugin, too.
        case enabled
        /// Through another proxy.
        case proxy(url: String)
    }

    /// The root of docker-ramd and of the engine.
    public let root: String
    /// The developer's `DOCKER_CONFIG`.
    public var config: String { "\(root)/config" }
    /// The engine's socket.
    public var socket: String { "\(root)/run/docker.sock" }
    /// What a Docker client needs to talk to this engine, and our programs to find this root.
    public var environment: [String: String] {
        [
            "DOCKER_HOST": "unix://\(socket)",
            "DOCKER_CONFIG": config,
            "DOCKER_RAM_ROOT": root,
            "DOCKER_BUILDKIT": "0",
            "PATH": "\(root)/programs:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
    }

    /// Its docker-ramd; it runs only if the engine needs it.
    public let daemon: PrivateDaemon

    private let network: PrivateNetwork?

    private init(daemon: PrivateDaemon) {
        self.daemon = daemon
        root = daemon.root
        network = daemon.network
    }

    /// Runs an engine while a body runs.
    ///
    /// - Parameters:
    ///   - directory: an existing directory in which it keeps everything.
    ///   - policy: the policy file, if there is one.
    ///   - hasPlugin: whether docker-ramd runs and the engine asks it.
    ///   - network: where it runs; the machine's own network if nothing is said.
    ///   - way: how it goes out; through the egress proxy it needs a network of its own, where nobody else has its port.
    ///   - engineSettings: more members of the engine's `daemon.json`, each after a comma.
    ///   - daemonSettings: the settings of docker-ramd, if there are any.
    ///   - body: gets the engine.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why the engine does not start.
    public static func with<Result>(
        in directory: String,
        policy: String?,
        hasPlugin: Bool = true,
        network: PrivateNetwork? = nil,
        way: Way = .direct,
        engineSettings: String = "",
        daemonSettings: String? = nil,
        _ body: (PrivateEngine) async throws -> Result
    ) async throws -> Result {
        let daemon = try PrivateDaemon(root: directory, network: network, policy: policy, settings: daemonSettings)
        let engine = PrivateEngine(daemon: daemon)
        try await engine.prepare(hasPlugin: hasPlugin, settings: engineSettings)
        var dockerd: RunningProgram?
        do {
            var variables: [String: String] = [:]
            switch way {
            case .direct:
                if hasPlugin { try await engine.startDaemon() }
            case .egressProxy:
                try await engine.startDaemon()
                variables = try engine.tell(proxy: daemon.proxyURL)
            case .enabled:
                try await engine.startDaemon()
                variables = try await engine.enable()
            case .proxy(let url):
                if hasPlugin { try await engine.startDaemon() }
                variables = Self.variables(proxy: url)
            }
            let started = try engine.startEngine(variables)
            dockerd = started
            try await engine.waitForEngine(started)
            let result = try await body(engine)
            try await started.stop()
            try await engine.stopDaemon()
            return result
        } catch {
            // Why the body failed is what matters, and docker-ramd's log often says it.
            let log = engine.daemonLog
            try await dockerd?.stop()
            try await engine.stopDaemon()
            throw log.isEmpty ? error : UnexpectedEnd(description: "\(error)\ndocker-ramd said:\n\(log.suffix(4000))")
        }
    }

    /// Replaces the policy file as an administrator does: in one step.
    ///
    /// - Parameters:
    ///   - json: the document.
    ///   - mode: the permissions.
    /// - Throws: if it cannot be written.
    public func write(policy json: String, mode: mode_t = 0o644) throws {
        try daemon.write(policy: json, mode: mode)
    }

    /// Starts docker-ramd and waits until it answers.
    ///
    /// - Throws: ``UnexpectedEnd`` if it does not start.
    public func startDaemon() async throws {
        try await daemon.start()
    }

    /// Ends docker-ramd.
    ///
    /// - Parameter signal: how; SIGTERM if nothing is said.
    /// - Returns: its exit status.
    /// - Throws: ``UnexpectedEnd`` if it does not end.
    @discardableResult
    public func stopDaemon(_ signal: Int32? = nil) async throws -> Int32? {
        try await daemon.stop(signal)
    }

    /// What docker-ramd has said since its last start.
    public var daemonLog: String { daemon.log }

    /// Runs a Docker client's command on this engine.
    ///
    /// - Parameters:
    ///   - client: the client's path.
    ///   - arguments: the command.
    ///   - input: what it reads.
    ///   - more: what to add to ``environment``.
    /// - Returns: the ended client.
    /// - Throws: ``UnexpectedEnd`` if it does not end in time.
    public func docker(
        _ client: String,
        _ arguments: [String],
        input: String = "",
        environment more: [String: String] = [:]
    ) async throws -> EndedProgram {
        try await runProgram(
            [client] + arguments,
            environment: environment.merging(more) { _, new in new },
            input: input
        )
    }

    /// Runs a command of Debian's Docker client on this engine.
    ///
    /// - Parameter arguments: the command.
    /// - Returns: the ended client.
    /// - Throws: ``UnexpectedEnd`` if it does not end in time.
    public func docker(_ arguments: [String]) async throws -> EndedProgram {
        try await docker(DockerClients.debian, arguments)
    }

    /// Whether it keeps its images in containerd, which then does the pulling and pushing.
    ///
    /// - Returns: whether it does.
    /// - Throws: ``UnexpectedEnd`` if the engine does not say.
    public func keepsImagesInContainerd() async throws -> Bool {
        try await docker(["info", "--format", "{{json .DriverStatus}}"]).expecting(0).output
            .contains("io.containerd.snapshotter")
    }

    /// Sends bytes to the engine's socket and reads the answer to its end.
    ///
    /// - Parameter request: a whole HTTP request, with `Connection: close`.
    /// - Returns: the whole answer.
    /// - Throws: ``UnexpectedEnd`` if the engine does not answer in time.
    public func raw(_ request: String) async throws -> String {
        try await runProgram(
            ["socat", "-t", "30", "-T", "30", "-", "UNIX-CONNECT:\(socket)"],
            input: request
        ).expecting(0).output
    }

    private func prepare(hasPlugin: Bool, settings: String) async throws {
        let files = FileManager.default
        for directory in ["etc/docker", "run/docker/plugins", "config/cli-plugins", "programs"] {
            try files.createDirectory(atPath: "\(root)/\(directory)", withIntermediateDirectories: true)
        }
        for (name, place) in [
            ("docker-ram", "config/cli-plugins/docker-ram"),
            ("docker-credential-ram", "programs/docker-credential-ram"),
        ] {
            try files.createSymbolicLink(
                atPath: "\(root)/\(place)",
                withDestinationPath: try Programs.path(name)
            )
        }
        // An entry keeps the clients from choosing a credential store by themselves.
        try #"{"auths":{"unused.test":{"auth":"YTpi"}}}"#
            .write(toFile: "\(config)/config.json", atomically: true, encoding: .utf8)
        try "{\"authorization-plugins\":[\(hasPlugin ? "\"docker-ram\"" : "")]\(settings)}"
            .write(toFile: "\(root)/etc/docker/daemon.json", atomically: true, encoding: .utf8)
    }

    /// Writes the proxy into the engine's settings if it reads it there.
    ///
    /// - Returns: what else has to be in its environment.
    private func tell(proxy: String) throws -> [String: String] {
        guard EngineUnderTest.readsProxyFromSettings else { return Self.variables(proxy: proxy) }
        let path = "\(root)/etc/docker/daemon.json"
        let settings = try String(contentsOfFile: path, encoding: .utf8)
        let proxies = #","proxies":{"http-proxy":"\#(proxy)","https-proxy":"\#(proxy)","no-proxy":"127.0.0.1"}}"#
        try (settings.dropLast() + proxies).write(toFile: path, atomically: true, encoding: .utf8)
        return [:]
    }

    /// Has `docker ram engine enable` set it up.
    ///
    /// - Returns: what systemd would give it as its environment.
    private func enable() async throws -> [String: String] {
        let arguments = ["ram", "engine", "enable", "--engine-version", EngineUnderTest.version]
        let command = [try Programs.path("docker-ram")] + arguments
        try await runProgram(network?.command(command) ?? command, environment: environment).expecting(0)
        guard !EngineUnderTest.readsProxyFromSettings else { return [:] }
        let lines = try String(contentsOfFile: "\(root)/etc/docker-ram/engine-proxy.env", encoding: .utf8)
        let pairs = lines.split(separator: "\n").map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
        return Dictionary(uniqueKeysWithValues: pairs.filter { $0.count == 2 }.map { ($0[0], $0[1]) })
    }

    private static func variables(proxy: String) -> [String: String] {
        let names = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"]
        return Dictionary(uniqueKeysWithValues: names.map { ($0, proxy) })
    }

    private func startEngine(_ variables: [String: String]) throws -> RunningProgram {
        try files(exist: ["/etc/docker"])
        let script = """
            mount --bind "$1/etc/docker" /etc/docker
            mount -t tmpfs -o mode=0755 tmpfs /run
            mkdir -p /run/docker/plugins
            mount --bind "$1/run/docker/plugins" /run/docker/plugins
            PATH="$2:$PATH"
            exec "$3" --config-file /etc/docker/daemon.json --host "unix://$1/run/docker.sock" \
                --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/run/docker.pid" \
                --bridge=none --iptables=false --ip6tables=false --userland-proxy=false
            """
        let start = [
            "unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "sh", root,
            EngineUnderTest.directory, EngineUnderTest.dockerd,
        ]
        return try RunningProgram(
            network?.command(start) ?? start,
            environment: variables
        )
    }

    private func waitForEngine(_ program: RunningProgram) async throws {
        try await waitUntil("the engine answers", within: .seconds(60)) {
            guard program.status == nil else {
                throw UnexpectedEnd(description: "dockerd ended\n\(program.errors.suffix(4000))")
            }
            return try await docker(["version"]).status == 0
        }
    }

    private func files(exist paths: [String]) throws {
        for path in paths where !FileManager.default.fileExists(atPath: path) {
            throw UnexpectedEnd(description: "\"\(path)\" is missing; Tests/run installs what the tests need")
        }
    }
}

/// The engine that the tests start.
public enum EngineUnderTest {
    /// Where dockerd is, and what it is to find before the machine's own: containerd, runc, docker-proxy.
    ///
    /// `DOCKER_RAM_ENGINE` names it; without it, it is where Debian puts dockerd.
    public static let directory = ProcessInfo.processInfo.environment["DOCKER_RAM_ENGINE"] ?? "/usr/sbin"
    /// Its dockerd.
    public static var dockerd: String { "\(directory)/dockerd" }
    /// Whether it is there.
    public static var isThere: Bool { FileManager.default.isExecutableFile(atPath: dockerd) }
    /// Its version, for example `20.10.24+dfsg1`; empty if it does not say.
    public static let version: String = {
        let program = Process()
        let output = Pipe()
        program.executableURL = URL(fileURLWithPath: dockerd)
        program.arguments = ["--version"]
        program.standardOutput = output
        // Docker version 20.10.24+dfsg1, build 5d6db84
        guard (try? program.run()) != nil, let said = try? output.fileHandleForReading.readToEnd() else { return "" }
        program.waitUntilExit()
        let words = String(decoding: said, as: UTF8.self).split { $0 == " " || $0 == "," }
        return words.count > 2 ? String(words[2]) : ""
    }()
    /// Its major version; 0 if it does not say.
    public static var major: Int { Int(version.prefix { $0.isNumber }) ?? 0 }
    /// Whether it reads its proxy from `daemon.json`, as engines from 23 on do.
    public static var readsProxyFromSettings: Bool { major >= 23 }
}

/// The programs that this package builds.
public enum Programs {
    /// Where one of them is: in `DOCKER_RAM_PROGRAMS`, or beside the running test.
    ///
    /// - Parameter name: its name.
    /// - Returns: its absolute path.
    /// - Throws: ``UnexpectedEnd`` if it was not built.
    public static func path(_ name: String) throws -> String {
        let directory: String
        if let given = ProcessInfo.processInfo.environment["DOCKER_RAM_PROGRAMS"] {
            directory = given
        } else {
            let test = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            // `swift test` runs the bundle itself, or a helper of the toolchain that gets the bundle as an argument.
            let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? test
            directory = URL(fileURLWithPath: bundle).deletingLastPathComponent().path
        }
        let path = "\(directory)/\(name)"
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw UnexpectedEnd(description: "\"\(path)\" is missing: build it first")
        }
        return path
    }

    /// The root of the package.
    public static var package: String {
        URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
    }
}

/// The Docker clients of this machine.
public enum DockerClients {
    /// Debian's own, which `Tests/run` installs.
    public static let debian = "/usr/bin/docker"
    /// Debian's own and, where there is another one on the machine, that one too.
    public static let all: [String] = [debian] + ["/usr/local/bin/docker"].filter(FileManager.default.isExecutableFile)
}
