import LocalInstallation
import RegistryAccess

extension MachineCheck {
    static let builderChecks = [
        MachineCheck("builder-containers", "BuildKit in containers", asksPrograms: true) { facts in
            guard facts.engine.fault == nil else { return .unknown("the engine could not be asked") }
            do {
                let builders = try RunningBuilder.all(facts)
                let outcomes = builders.filter { !$0.usesProxy(facts) }.map { builder in
                    facts.leak(
                        "container \"\(builder.name)\" (\(builder.image)) fetches past the egress proxy",
                        hint: "run: docker ram engine builder --help"
                    )
                }
                return .all(outcomes, otherwise: .ok(builders.isEmpty ? "there is none" : "all use the egress proxy"))
            } catch {
                return .unknown("\(error)")
            }
        },
        MachineCheck("builder-instances", "Builders of docker buildx") { facts in
            let configured = facts.context.environment["BUILDX_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
            guard let directory = configured ?? facts.context.dockerConfigDirectory.map({ "\($0)/buildx" }) else {
                return .unknown("there is no home directory")
            }
            let places = (try? Files.names(in: "\(directory)/instances")) ?? []
            let outcomes = places.compactMap { BuilderInstance(at: "\(directory)/instances/\($0)") }.compactMap {
                $0.outcome(facts)
            }
            return .all(outcomes, otherwise: .ok("none that fetches past the egress proxy"))
        },
    ]
}

/// A container that runs BuildKit.
private struct RunningBuilder {
    let name: String
    let image: String
    let variables: [String]
    let isOnHostNetwork: Bool

    struct Unreadable: Error, CustomStringConvertible {
        let description: String
    }

    private static let patience = 5000

    /// Those of the engine, stopped ones included: buildx starts them when it wants them.
    static func all(_ facts: MachineFacts) throws -> [RunningBuilder] {
        let docker = DockerProgram(facts.context)
        let list = try docker.run(["ps", "--all", "--no-trunc", "--format", "{{json .}}"], within: patience)
        guard list.exitCode == 0 else { throw Unreadable(description: "docker ps says: \(list.errorWords)") }
        let ids = list.output.split(separator: UInt8(ascii: "\n")).compactMap { line -> String? in
            guard let json = try? StrictJSON.parse(Array(line), limits: .init(foldsKeys: false)),
                let id = json.value(named: "ID")?.text, let names = json.value(named: "Names")?.text,
                let image = json.value(named: "Image")?.text
            else { return nil }
            return isBuilder(name: names, image: image) ? id : nil
        }
        guard !ids.isEmpty else { return [] }
        let details = try docker.run(["inspect"] + ids, within: patience)
        let json = try? StrictJSON.parse(details.output, limits: .init(foldsKeys: false))
        guard let elements = json?.elements else {
            throw Unreadable(description: "docker inspect says: \(details.errorWords)")
        }
        return elements.map(RunningBuilder.init)
    }

    /// buildx names its containers so; others run the same image.
    private static func isBuilder(name: String, image: String) -> Bool {
        guard !name.hasPrefix("buildx_buildkit_") else { return true }
        let repository = (try? ImageReference(image))?.repository ?? image
        return repository.split(separator: "/").last == "buildkit"
    }

    private init(_ json: JSONValue) {
        let config = json.value(named: "Config")
        let name = json.value(named: "Name")?.text ?? ""
        self.name = name.hasPrefix("/") ? String(name.dropFirst()) : name
        image = config?.value(named: "Image")?.text ?? "unknown image"
        variables = (config?.value(named: "Env")?.elements ?? []).compactMap(\.text)
        isOnHostNetwork = json.value(named: "HostConfig")?.value(named: "NetworkMode")?.text == "host"
    }

    func usesProxy(_ facts: MachineFacts) -> Bool {
        let pairs = variables.compactMap { variable -> (String, String)? in
            let parts = variable.split(separator: "=", maxSplits: 1).map(String.init)
            return parts.count == 2 ? (parts[0], parts[1]) : nil
        }
        return BuilderEnvironment(pairs, isOnHostNetwork: isOnHostNetwork).isOurs(facts)
    }
}

/// A builder that buildx keeps (docker/buildx, `store/nodegroup.go`).
private struct BuilderInstance {
    let name: String
    let driver: String
    let nodes: [JSONValue]

    init?(at path: String) {
        guard let bytes = try? Files.read(path, atMost: 1 << 20).bytes,
            let json = try? StrictJSON.parse(bytes, limits: .init(foldsKeys: false)),
            let name = json.value(named: "Name")?.text
        else { return nil }
        self.name = name
        driver = json.value(named: "Driver")?.text ?? ""
        nodes = json.value(named: "Nodes")?.elements ?? []
    }

    /// What there is to say against it.
    func outcome(_ facts: MachineFacts) -> MachineCheck.Outcome? {
        let remove = "run: docker buildx rm \(name)"
        switch driver {
        case "", "docker": return nil
        case "docker-container":
            guard !nodes.isEmpty, nodes.allSatisfy({ Self.proxy(of: $0).isOurs(facts) }) else {
                let hint = "\(remove), and make another one: docker ram engine builder --help"
                return facts.leak("builder \"\(name)\" (docker-container) fetches past the egress proxy", hint: hint)
            }
            return nil
        default:
            let text = "builder \"\(name)\" (\(driver)) builds elsewhere, where this machine decides nothing"
            return facts.leak(text, hint: remove)
        }
    }

    private static func proxy(of node: JSONValue) -> BuilderEnvironment {
        let options = (node.value(named: "DriverOpts")?.members ?? []).compactMap { member in
            member.value.text.map { (member.name, $0) }
        }
        let variables = options.filter { $0.0.hasPrefix("env.") }.map { (String($0.0.dropFirst(4)), $0.1) }
        let isOnHostNetwork = options.contains { $0.0 == "network" && $0.1 == "host" }
        return BuilderEnvironment(variables, isOnHostNetwork: isOnHostNetwork)
    }
}

/// What the environment of a BuildKit says about proxies.
private struct BuilderEnvironment {
    private let variables: [(name: String, value: String)]
    private let isOnHostNetwork: Bool

    init(_ variables: [(String, String)], isOnHostNetwork: Bool) {
        self.variables = variables.map { ($0.0.lowercased(), $0.1) }
        self.isOnHostNetwork = isOnHostNetwork
    }

    /// Whether it is docker-ramd's, for everything; the loopback address of a container is not the machine's.
    func isOurs(_ facts: MachineFacts) -> Bool {
        let isReachable = isOnHostNetwork || (try? EgressTarget(authority: facts.listen))?.address.isLoopback == false
        let usesProxy = ["http_proxy", "https_proxy"].allSatisfy { name in
            let values = variables.filter { $0.name == name }
            return !values.isEmpty && values.allSatisfy { ProxyURL(Secret($0.value)).leads(to: facts.listen) }
        }
        let goesAround = variables.filter { $0.name == "no_proxy" }.contains { variable in
            NoProxyEntry.list(variable.value).contains { !$0.isLoopbackOnly }
        }
        return isReachable && usesProxy && !goesAround
    }
}
