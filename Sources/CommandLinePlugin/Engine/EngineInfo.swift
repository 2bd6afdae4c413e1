import LocalInstallation
import RegistryAccess

/// What the engine says about itself (moby, `api/types/system/info.go`).
struct EngineInfo {
    private(set) var version: String?
    private(set) var plugins: [String] = []
    /// The proxies that it uses; Docker shows what stands before `@` as `xxxxx`.
    private(set) var proxies = EngineProxySettings()
    /// What it asks in the place of Docker Hub.
    private(set) var mirrors: [String] = []
    /// Registries and networks that it reaches without TLS or with a certificate that nobody vouches for.
    private(set) var insecureRegistries: [String] = []
    private(set) var isRootless = false
    /// Why the engine could not be asked.
    private(set) var fault: String?

    /// Whether the engine's list of authorization plugins holds ours.
    var namesPlugin: Bool { plugins.contains(EngineSetup.plugin) }
    /// For example `engine 20.10.24`.
    var name: String { "engine \(version ?? "")" }

    /// An engine whose plugin hangs would hang us too.
    private static let patience = 5000

    /// Asks the engine that the caller's Docker talks to, with the caller's own global flags.
    init(asking context: CommandContext) {
        let result: ChildProcess.Result
        do throws(DockerProgram.Trouble) {
            result = try DockerProgram(context).run(["info", "--format", "{{json .}}"], within: Self.patience)
        } catch {
            fault = error.description
            return
        }
        let words = Self.firstLine(result.errorWords).map(Self.inShort)
        guard let json = try? StrictJSON.parse(result.output, limits: .init(foldsKeys: false)) else {
            fault = words ?? "docker info said nothing"
            return
        }
        read(json)
        if let error = json.value(named: "ServerErrors")?.elements?.first?.text, !error.isEmpty {
            fault = Self.firstLine(error).map(Self.inShort)
        } else if version?.isEmpty != false {
            fault = words ?? "the engine does not answer"
        }
    }

    /// Asks the engine of this machine over its own socket, whichever engine the caller's Docker talks to; `nil` if none
    /// answers.
    ///
    /// - Parameters:
    ///   - paths: the machine.
    ///   - hosts: where `daemon.json` says that it listens.
    init?(ofMachine paths: InstallationPaths, hosts: [String]) {
        let scheme = "unix://"
        let sockets = hosts.filter { $0.hasPrefix(scheme) }.map { String($0.dropFirst(scheme.count)) }
        for path in sockets + [paths.dockerSocket] {
            guard let socket = ClientSocket(connectingTo: path) else { continue }
            defer { socket.close() }
            // The end of the connection is the end of the answer only in HTTP/1.0.
            let answer = socket.answer(to: "GET /info HTTP/1.0\r\nHost: docker\r\n\r\n") { _ in false }
            guard answer.hasPrefix("HTTP/1.0 200 "), let head = answer.utf8.firstRange(of: "\r\n\r\n".utf8),
                let json = try? StrictJSON.parse(
                    Array(answer.utf8[head.upperBound...]),
                    limits: .init(foldsKeys: false)
                )
            else { continue }
            read(json)
            if version?.isEmpty == false { return }
        }
        return nil
    }

    private mutating func read(_ json: JSONValue) {
        version = json.value(named: "ServerVersion")?.text
        plugins =
            (json.value(named: "Plugins")?.value(named: "Authorization")?.elements ?? []).compactMap(\.text)
        proxies = EngineProxySettings(
            httpProxy: json.value(named: "HttpProxy")?.text.map(Secret.init),
            httpsProxy: json.value(named: "HttpsProxy")?.text.map(Secret.init),
            noProxy: json.value(named: "NoProxy")?.text
        )
        let options = (json.value(named: "SecurityOptions")?.elements ?? []).compactMap(\.text)
        isRootless = options.contains { $0.split(separator: ",").contains("name=rootless") }
        let registries = json.value(named: "RegistryConfig")
        mirrors = (registries?.value(named: "Mirrors")?.elements ?? []).compactMap(\.text)
        insecureRegistries =
            (registries?.value(named: "IndexConfigs")?.members ?? [])
            .filter { $0.value.value(named: "Secure") == .bool(false) }.map(\.name)
            + (registries?.value(named: "InsecureRegistryCIDRs")?.elements ?? []).compactMap(\.text)
    }

    /// Docker says the same four times where the caller may not use its socket.
    private static func inShort(_ fault: String) -> String {
        fault.contains("permission denied while trying to connect") ? "permission denied on the engine's socket" : fault
    }

    private static func firstLine(_ text: String) -> String? {
        text.split(whereSeparator: \.isNewline).first.map(String.init)
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
