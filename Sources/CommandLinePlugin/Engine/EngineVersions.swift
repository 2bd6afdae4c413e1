import LocalInstallation

/// The versions of the engine of this machine, and how it learns of its proxy.
struct EngineVersions {
    /// What the running engine says.
    var running: String?
    /// What the installed program says, and where it is.
    var installed: (version: String, path: String)?

    /// How long `dockerd --version` may take.
    private static let patience = 10_000

    init(_ context: CommandContext, service: EngineService, running: EngineInfo?) {
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
        let prefix = context.paths.prefix
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
