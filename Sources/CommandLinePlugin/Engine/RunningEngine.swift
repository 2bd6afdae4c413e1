import LocalInstallation
import RegistryAccess

/// What the engine of this machine says about itself over its own socket, whichever engine the caller's Docker talks to.
struct RunningEngine {
    /// Its version.
    let version: String
    /// The proxies that it uses; their passwords come as `xxxxx`.
    let proxies: EngineProxySettings

    /// Asks the engine; `nil` if none answers.
    init?(_ paths: InstallationPaths, hosts: [String]) {
        let scheme = "unix://"
        let sockets = hosts.filter { $0.hasPrefix(scheme) }.map { String($0.dropFirst(scheme.count)) }
        for path in sockets + [paths.dockerSocket] {
            guard let info = Self.info(path), let version = info.value(named: "ServerVersion")?.text, !version.isEmpty
            else { continue }
            self.version = version
            proxies = EngineProxySettings(
                httpProxy: info.value(named: "HttpProxy")?.text.map(Secret.init),
                httpsProxy: info.value(named: "HttpsProxy")?.text.map(Secret.init),
                noProxy: info.value(named: "NoProxy")?.text
            )
            return
        }
        return nil
    }

    private static func info(_ path: String) -> JSONValue? {
        guard let socket = UnixSocket(connectingTo: path) else { return nil }
        defer { socket.close() }
        // The end of the connection is the end of the answer only in HTTP/1.0.
        guard socket.send("GET /info HTTP/1.0\r\nHost: docker\r\n\r\n") else { return nil }
        let answer = socket.receiveText { _ in false }
        guard answer.hasPrefix("HTTP/1.0 200 "), let head = answer.utf8.firstRange(of: "\r\n\r\n".utf8) else {
            return nil
        }
        return try? StrictJSON.parse(Array(answer.utf8[head.upperBound...]), limits: .init(foldsKeys: false))
    }

    /// Whether it uses a proxy for everything but loopback.
    ///
    /// - Parameter url: the address of the proxy with the secret.
    /// - Returns: whether it says so.
    func uses(_ url: Secret) -> Bool {
        let masked = Secret(EngineProxySettings.masked(url))
        return proxies == EngineProxySettings(httpProxy: masked, httpsProxy: masked, noProxy: EngineProxy.noProxy)
    }

    /// Whether it uses a proxy at an address for HTTPS, with whatever secret.
    ///
    /// - Parameter address: host and port.
    /// - Returns: whether it says so.
    func goesThrough(_ address: String) -> Bool {
        proxies.httpsProxy.map(EngineProxySettings.masked)?.hasSuffix("xxxxx:xxxxx@\(address)") == true
    }
}

/// Which engine there is, and how it learns of its proxy.
struct EngineVersion {
    /// What the running engine says.
    var running: String?
    /// What the installed program says, and where it is.
    var installed: (version: String, path: String)?

    /// How long `dockerd --version` may take.
    private static let patience = 10_000

    init(_ context: CommandContext, service: EngineService, running: RunningEngine?) {
        self.running = running?.version
        guard let path = Self.program(context, service),
            let result = try? ChildProcess(path: path, arguments: ["--version"], environment: context.environment)
                .run(within: Self.patience),
            result.exitCode == 0
        else { return }
        // Docker version 20.10.24+dfsg1, build 5d6db84
        let words = result.words.split { $0 == " " || $0 == "," }
        guard words.count >= 3, words[0] == "Docker", words[1] == "version" else { return }
        installed = (String(words[2]), path)
    }

    private static func program(_ context: CommandContext, _ service: EngineService) -> String? {
        let prefix = context.paths.root == "/" ? "" : context.paths.root
        let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].map { "\($0)/dockerd" }
        // What is on the caller's PATH says nothing about the engine of an image.
        if prefix.isEmpty, service.program == nil,
            let found = ChildProcess.find("dockerd", environment: context.environment)
        {
            return found
        }
        return ([service.program].compactMap(\.self) + places).map { prefix + $0 }
            .first { ChildProcess.find($0, environment: [:]) != nil }
    }

    /// Where the engine reads its proxy; where its version is not known, where engines of every version do.
    ///
    /// - Throws: ``Failure`` if the running engine and the installed one read it in different places.
    func place(besides proxies: EngineProxySettings) throws -> EngineProxy.Place {
        let places = [running, installed?.version].compactMap(\.self)
            .compactMap { EngineProxy.Place(engineVersion: $0) }
        if let first = places.first {
            guard places.allSatisfy({ $0 == first }) else {
                throw Failure(
                    "\(words), and these read their proxy in different places; nothing was changed",
                    hints: ["restart Docker first, so that the installed engine runs; or use --engine-version"]
                )
            }
            return first
        }
        // Only an engine that reads them there starts with them.
        return proxies.isEmpty ? .systemdDropIn : .daemonConfig
    }

    /// Whether any version was found.
    var isKnown: Bool { running != nil || installed != nil }

    /// What was found.
    var words: String {
        switch (running, installed) {
        case (let running?, nil): "the running engine is \(running)"
        case (let running?, let installed?) where running == installed.version: "the engine is \(running)"
        case (let running?, let installed?):
            "the running engine is \(running), \"\(installed.path)\" is \(installed.version)"
        case (nil, let installed?): "\"\(installed.path)\" is \(installed.version)"
        case (nil, nil): "the version of the engine cannot be found out"
        }
    }
}
