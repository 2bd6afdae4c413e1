import Foundation

/// Debian's `docker-registry`, on loopback or in a ``PrivateNetwork``, with one tiny image, `acme/hello:1`.
public struct PrivateRegistry: Sendable {
    /// Who may use it, if not everybody.
    public struct Account: Sendable {
        /// The name.
        public let name = "alice"
        /// The password.
        public let password = "open-sesame"
        /// bcrypt of the password: the only kind that the registry takes.
        let line = "alice:$2y$05$abcdefghijklmnopqrstuutXu9KzOt.1yBoZUeFWoT/914/JfszCO\n"

        /// The one account.
        public init() {}
    }

    /// Where in a private network it is.
    public struct Place: Sendable {
        /// The network.
        public let network: PrivateNetwork
        /// Its host.
        public let host: PrivateNetwork.Host
        /// Its port.
        public let port: UInt16
        /// Whether it speaks TLS.
        public let hasTLS: Bool

        /// A place.
        ///
        /// - Parameters:
        ///   - network: the network.
        ///   - host: its host.
        ///   - port: its port.
        ///   - hasTLS: whether it speaks TLS.
        public init(_ network: PrivateNetwork, _ host: PrivateNetwork.Host, port: UInt16 = 443, hasTLS: Bool = true) {
            self.network = network
            self.host = host
            self.port = port
            self.hasTLS = hasTLS
        }

        /// Host and port, as image names begin.
        public var address: String { port == 443 ? host.name : "\(host.name):\(port)" }
    }

    /// Host and port, as image names begin.
    public let address: String
    /// The image in it.
    public var image: String { "\(address)/acme/hello:1" }
    /// What the image's only program prints.
    public static let greeting = "hello from a container"

    /// The registry's access log so far.
    public var log: String { program.errors }

    /// What its image is made of: `layer.tar`, `layer.tar.gz`, `config.json` and `manifest.json`.
    public let parts: String

    private let program: RunningProgram
    private let place: Place?

    /// Runs a registry while a body runs.
    ///
    /// - Parameters:
    ///   - directory: an existing directory in which it keeps everything.
    ///   - account: who may use it, if not everybody.
    ///   - place: where it is; without one, on a free port of 127.0.0.1 and without TLS.
    ///   - body: gets the registry.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why the registry does not start.
    public static func with<Result>(
        in directory: String,
        account: Account? = nil,
        at place: Place? = nil,
        _ body: (PrivateRegistry) async throws -> Result
    ) async throws -> Result {
        let registry = try await start(in: directory, account: account, at: place)
        do {
            try await registry.push(from: directory, account: account)
            let result = try await body(registry)
            try await registry.program.stop()
            return result
        } catch {
            try await registry.program.stop()
            throw error
        }
    }

    private static func start(in directory: String, account: Account?, at place: Place?) async throws -> PrivateRegistry
    {
        var auth = ""
        if let account {
            try account.line.write(toFile: "\(directory)/htpasswd", atomically: true, encoding: .utf8)
            auth = "auth: { htpasswd: { realm: private, path: \(directory)/htpasswd } }"
        }
        for _ in 0..<50 {
            let address = place?.address ?? "127.0.0.1:\(Int.random(in: 20000..<32000))"
            let listen = place.map { "\($0.host.address):\($0.port)" } ?? address
            let tls = place.map { place in
                let network = place.network
                return place.hasTLS ? ", tls: { certificate: \(network.certificate), key: \(network.key) }" : ""
            }
            let settings = """
                version: 0.1
                log: { level: info }
                storage: { filesystem: { rootdirectory: \(directory)/registry }, delete: { enabled: true } }
                http: { addr: "\(listen)"\(tls ?? "") }
                validation: { manifests: { urls: { allow: [".*"] } } }
                \(auth)
                """
            try settings.write(toFile: "\(directory)/registry.yml", atomically: true, encoding: .utf8)
            let serve = ["docker-registry", "serve", "\(directory)/registry.yml"]
            let program = try RunningProgram(place?.network.command(serve) ?? serve)
            let scheme = place?.hasTLS == true ? "https" : "http"
            let ask = ["curl", "-s", "-o", "/dev/null", "\(scheme)://\(address)/v2/"]
            for _ in 0..<100 {
                if try await program.status(within: .milliseconds(20)) != nil { break }
                let answer = try await runProgram(place?.network.command(ask) ?? ask)
                if answer.status == 0, program.status == nil {
                    return PrivateRegistry(
                        address: address,
                        parts: "\(directory)/image",
                        program: program,
                        place: place
                    )
                }
            }
            if program.status == nil || !program.errors.contains("address already in use") {
                try await program.stop()
                throw UnexpectedEnd(description: "docker-registry does not start\n\(program.errors)")
            }
        }
        throw UnexpectedEnd(description: "no free port for docker-registry")
    }

    /// Makes the image and puts it into the registry, without any engine.
    private func push(from directory: String, account: Account?) async throws {
        let scratch = "\(directory)/image"
        try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
        let source = """
            int puts(const char *);
            int main(void) { puts("\(Self.greeting)"); return 0; }
            """
        try source.write(toFile: "\(scratch)/hello.c", atomically: true, encoding: .utf8)
        try await sh("gcc -static -Os -o hello hello.c && tar -cf layer.tar hello && gzip -kn layer.tar", in: scratch)
        let layer = try await blob("layer.tar.gz", in: scratch)
        let contents = try await blob("layer.tar", in: scratch)
        let architecture = try await sh("dpkg --print-architecture", in: scratch)
        let config = """
            {"architecture":"\(architecture)","os":"linux","config":{"Cmd":["/hello"]},
             "rootfs":{"type":"layers","diff_ids":["\(contents.digest)"]}}
            """
        try config.write(toFile: "\(scratch)/config.json", atomically: true, encoding: .utf8)
        let settings = try await blob("config.json", in: scratch)
        let manifest = """
            {"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
             "config":{"mediaType":"application/vnd.docker.container.image.v1+json",
                       "size":\(settings.size),"digest":"\(settings.digest)"},
             "layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip",
                        "size":\(layer.size),"digest":"\(layer.digest)"}]}
            """
        try manifest.write(toFile: "\(scratch)/manifest.json", atomically: true, encoding: .utf8)

        let user = account.map { "-u \($0.name):\($0.password)" } ?? ""
        let base = "\(place?.hasTLS == true ? "https" : "http")://\(address)/v2/acme/hello"
        for (file, blob) in [("layer.tar.gz", layer), ("config.json", settings)] {
            try await sh(
                """
                place=$(curl -sSf \(user) -X POST -o /dev/null -w '%header{location}' \(base)/blobs/uploads/)
                curl -sSf \(user) -X PUT -H 'Content-Type: application/octet-stream' --data-binary @\(file) \
                    "$place&digest=\(blob.digest)"
                """,
                in: scratch
            )
        }
        try await sh(
            """
            curl -sSf \(user) -X PUT -H 'Content-Type: application/vnd.docker.distribution.manifest.v2+json' \
                --data-binary @manifest.json \(base)/manifests/1
            """,
            in: scratch
        )
    }

    private func blob(_ file: String, in directory: String) async throws -> (digest: String, size: Int) {
        let sum = try await sh("sha256sum <\(file) | cut -d ' ' -f 1", in: directory)
        let attributes = try FileManager.default.attributesOfItem(atPath: "\(directory)/\(file)")
        guard let size = attributes[.size] as? Int else { throw CocoaError(.fileReadUnknown) }
        return ("sha256:\(sum)", size)
    }

    @discardableResult
    private func sh(_ script: String, in directory: String) async throws -> String {
        let command = ["sh", "-euc", "cd '\(directory)'\n\(script)"]
        let ended = try await runProgram(place?.network.command(command) ?? command).expecting(0)
        return ended.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
