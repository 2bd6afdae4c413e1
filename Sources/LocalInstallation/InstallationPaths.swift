/// Where everything lies that docker-ram keeps on a machine, under one root.
///
/// The root is `/` on a real machine; tests and trial runs use a directory of their own.
public struct InstallationPaths: Hashable, Sendable {
    /// What stands before a path of the machine: the root without a slash at its end, and nothing for `/`.
    public let prefix: String

    /// Paths under a root.
    ///
    /// - Parameter root: an absolute path; `/` is the machine itself.
    public init(root: String = "/") {
        var root = root[...]
        while root.hasSuffix("/") { root = root.dropLast() }
        prefix = String(root)
    }

    /// Paths under `DOCKER_RAM_ROOT`, or under `/` if that is not set or empty.
    ///
    /// - Parameter environment: the environment of the process.
    public init(environment: [String: String]) {
        self.init(root: environment["DOCKER_RAM_ROOT"] ?? "/")
    }

    /// The root itself.
    public var root: String { prefix.isEmpty ? "/" : prefix }

    /// The policy of a machine without a server.
    public var policyFile: String { "\(prefix)/etc/docker-ram/policy.json" }
    /// To which organization the machine belongs; root's alone.
    public var enrollment: String { "\(prefix)/etc/docker-ram/enrollment.json" }
    /// Whose members have to sign in on this machine, in Docker Desktop's format.
    public var registryRequirement: String { "\(prefix)/etc/docker-ram/registry.json" }
    /// The same, where Docker Desktop looks for it.
    public var desktopRegistryRequirement: String {
        "\(prefix)/usr/share/docker-desktop/registry/registry.json"
    }
    /// Registry packs that are newer than those of the programs.
    public var registryPacks: String { "\(prefix)/etc/docker-ram/registry-packs.json" }
    /// The settings of docker-ramd.
    public var daemonSettings: String { "\(prefix)/etc/docker-ram/daemon.json" }
    /// What docker-ramd keeps.
    public var stateDirectory: String { "\(prefix)/var/lib/docker-ram" }
    /// The last policy file that docker-ramd read without an error; every program falls back on it.
    public var lastValidPolicy: String { "\(stateDirectory)/last-valid-policy.json" }
    /// What docker-ramd keeps of the organization: documents, marks, the session; its own alone.
    public var organizationDirectory: String { "\(stateDirectory)/organization" }
    /// What the organization has in force on this machine, as docker-ramd says; every program goes by it.
    public var organizationPolicy: String { "\(stateDirectory)/in-force.json" }
    /// What root's `docker ram doctor` found wrong the last time.
    public var doctorFindings: String { "\(stateDirectory)/doctor.json" }
    /// The secret without which the egress proxy serves nobody; docker-ramd's and root's alone.
    public var proxySecret: String { "\(stateDirectory)/proxy-secret" }
    /// The secret by which the egress proxy knows BuildKit containers: docker-ramd's, root's, and that of everybody who
    /// may use the Docker socket, who can read it in the environment of every builder anyway.
    public var builderProxySecret: String { "\(stateDirectory)/builder-proxy-secret" }
    /// The decision log: JSON lines, the newest last; older files end in `.1`, `.2`, ...
    public var decisionLog: String { "\(stateDirectory)/decisions.jsonl" }
    /// What a file held before we changed it, kept to give it back exactly; root's alone.
    public var undoDirectory: String { "\(prefix)/var/lib/docker-ram-undo" }
    /// The socket of the authorization plugin; Docker takes the plugin's name from it.
    public var pluginSocket: String { "\(prefix)/run/docker/plugins/docker-ram.sock" }
    /// The socket for local control: status and log.
    public var controlSocket: String { "\(prefix)/run/docker-ram/control.sock" }
    /// Has systemd give the engine the environment in ``proxyEnvironment``.
    public var proxyDropIn: String { "\(prefix)/etc/systemd/system/docker.service.d/docker-ram-proxy.conf" }
    /// The environment that tells the engine its proxy, secret included; root's alone, in a directory of root's: whoever
    /// writes it decides what runs in the engine.
    public var proxyEnvironment: String { "\(prefix)/etc/docker-ram/engine-proxy.env" }
    /// The socket of the engine.
    public var dockerSocket: String { "\(prefix)/run/docker.sock" }
    /// The packet filter of lockdown, as nft reads it.
    public var lockdownRules: String { "\(prefix)/etc/docker-ram/lockdown.nft" }
    /// What makes systemd load it with every start of Docker.
    public var lockdownDropIn: String { "\(prefix)/etc/systemd/system/docker.service.d/60-docker-ram-lockdown.conf" }
    /// Docker's own settings of the engine.
    public var dockerDaemonConfig: String { "\(prefix)/etc/docker/daemon.json" }
}
