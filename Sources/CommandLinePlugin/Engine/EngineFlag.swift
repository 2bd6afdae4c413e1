import LocalInstallation

/// A flag of dockerd that says what `engine enable` writes into files.
///
/// dockerd does not start when the same setting comes as a flag and in `daemon.json` (moby, `daemon/config/config.go`,
/// `findConfigurationConflicts`), and a flag goes before the environment.
struct EngineFlag {
    /// For example `--http-proxy`.
    let name: String
    /// Where dockerd gets it: a file of its service in quotes, or its own command line.
    let place: String

    static let plugin = "--authorization-plugin"
    static let proxies = ["--http-proxy", "--https-proxy", "--no-proxy"]

    /// The key of `daemon.json` that says the same.
    var key: String { name == Self.plugin ? "authorization-plugins" : "proxies" }

    /// For example `--http-proxy in "/etc/default/docker"`.
    var inWords: String { "\(name) in \(place)" }

    /// Those of some flags that dockerd gets.
    ///
    /// - Parameters:
    ///   - names: the flags that are looked for.
    ///   - service: how dockerd is started.
    ///   - process: the running engine, if there is one.
    /// - Returns: each that was found, once.
    static func all(
        _ names: [String] = [plugin] + proxies,
        service: EngineService,
        process: EngineProcess?
    ) -> [EngineFlag] {
        let words = process?.words ?? []
        return names.compactMap { name in
            if let file = service.file(giving: name) { return EngineFlag(name: name, place: "\"\(file)\"") }
            guard let process, words.contains(where: { $0 == name || $0.hasPrefix("\(name)=") }) else { return nil }
            return EngineFlag(name: name, place: "the command line of process \(process.id)")
        }
    }
}
