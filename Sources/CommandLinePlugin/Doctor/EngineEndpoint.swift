import LocalInstallation
import RegistryAccess

/// Which engine the caller's `docker` talks to (docker/cli, `cli/command/cli.go`, `resolveContextName`).
struct EngineEndpoint: Equatable {
    /// For example `unix:///var/run/docker.sock`; `nil` for a context whose file cannot be read.
    let host: String?
    /// What says so: `DOCKER_HOST`, `context "x"`, ...; `nil` if nothing does.
    let source: String?

    /// A context of Docker's command line.
    struct Context: Equatable {
        let name: String
        let host: String
    }

    init(_ context: CommandContext) {
        let flags = context.globalFlags.arguments
        let environment = context.environment
        func named(_ name: String, by source: String) -> EngineEndpoint {
            guard name != "default" else { return EngineEndpoint(host: nil, source: nil) }
            let host = Self.contexts(context).first { $0.name == name }?.host
            return EngineEndpoint(host: host, source: "context \"\(name)\" (\(source))")
        }
        if let host = Self.value(of: ["--host", "-H"], in: flags) {
            self = EngineEndpoint(host: host, source: "--host")
        } else if let name = Self.value(of: ["--context", "-c"], in: flags) {
            self = named(name, by: "--context")
        } else if let host = environment["DOCKER_HOST"], !host.isEmpty {
            self = EngineEndpoint(host: host, source: "DOCKER_HOST")
        } else if let name = environment["DOCKER_CONTEXT"], !name.isEmpty {
            self = named(name, by: "DOCKER_CONTEXT")
        } else if let directory = context.dockerConfigDirectory,
            let config = try? DockerConfigFile(directory: directory),
            let name = config.document.value(at: ["currentContext"])?.text, !name.isEmpty
        {
            self = named(name, by: "\"currentContext\" in config.json")
        } else {
            self = EngineEndpoint(host: nil, source: nil)
        }
    }

    private init(host: String?, source: String?) {
        self.host = host
        self.source = source
    }

    /// Whether it is the engine of this machine, or of the root that stands for it.
    func isOfMachine(_ paths: InstallationPaths) -> Bool {
        guard source != nil else { return true }
        return host.map { Self.isOfMachine($0, paths) } ?? false
    }

    static func isOfMachine(_ host: String, _ paths: InstallationPaths) -> Bool {
        guard paths.root == "/" else { return host.hasPrefix("unix://\(paths.root)/") }
        return ["unix:///var/run/docker.sock", "unix:///run/docker.sock"].contains(host)
    }

    /// The contexts of the caller (docker/cli, `cli/context/store`).
    static func contexts(_ context: CommandContext) -> [Context] {
        guard let directory = context.dockerConfigDirectory.map({ "\($0)/contexts/meta" }) else { return [] }
        return ((try? Files.names(in: directory)) ?? []).compactMap { name in
            guard let bytes = try? Files.read("\(directory)/\(name)/meta.json", atMost: 1 << 20).bytes,
                let json = try? StrictJSON.parse(bytes), let name = json.value(named: "Name")?.text,
                let host = json.value(named: "Endpoints")?.value(named: "docker")?.value(named: "Host")?.text
            else { return nil }
            return Context(name: name, host: host)
        }
    }

    private static func value(of names: [String], in flags: [String]) -> String? {
        var value: String?
        for (index, flag) in flags.enumerated() {
            if names.contains(flag), index + 1 < flags.count { value = flags[index + 1] }
            for name in names {
                let isLong = name.hasPrefix("--")
                if flag.hasPrefix("\(name)=") {
                    value = String(flag.dropFirst(name.count + 1))
                } else if !isLong, flag.hasPrefix(name), flag.count > name.count {
                    value = String(flag.dropFirst(name.count))
                }
            }
        }
        return value
    }
}
