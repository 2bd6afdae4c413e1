import Foundation
import Synchronization

/// docker-ram-server as ``PrivateNetwork/Host/server`` of a ``PrivateNetwork``, with TLS.
///
/// Its certificate comes from an authority of its own that nothing in that network trusts by itself.
public final class PrivateServer: Sendable {
    /// The password of its owner, alice.
    public static let password = LoopbackOrganization.password

    /// Its address.
    public static let url = "https://\(PrivateNetwork.Host.server.name):8443"
    /// Host and port.
    public static let authority = "\(PrivateNetwork.Host.server.name):8443"
    /// The port.
    public static let port: UInt16 = 8443

    /// Where everything of it is.
    public let directory: String
    /// The network in which it is.
    public let network: PrivateNetwork
    /// The fingerprint of the root key of its organization, acme.
    public let fingerprint: String
    /// The certificate of its authority.
    public var certificateAuthority: String { "\(directory)/ca.crt" }
    /// What it has said since its last start.
    public var log: String { program.withLock { $0 }?.errors ?? "" }

    private let program = Mutex<RunningProgram?>(nil)

    private init(directory: String, network: PrivateNetwork, fingerprint: String) {
        self.directory = directory
        self.network = network
        self.fingerprint = fingerprint
    }

    /// Runs a server while a body runs.
    ///
    /// - Parameters:
    ///   - directory: an existing directory in which it keeps everything.
    ///   - network: where it is.
    ///   - body: gets the server.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why the server does not start.
    public static func with<Result>(
        in directory: String,
        _ network: PrivateNetwork,
        _ body: (PrivateServer) async throws -> Result
    ) async throws -> Result {
        let directory = "\(directory)/server"
        let script = """
            mkdir "$1" && cd "$1"
            curve='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
            openssl req -x509 $curve -keyout ca.key -out ca.crt -days 2 -subj '/CN=an authority of acme'
            openssl req $curve -keyout tls.key -out tls.csr -subj '/CN=the server of acme'
            echo 'subjectAltName=DNS:\(PrivateNetwork.Host.server.name)' >names
            openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out tls.crt
            """
        try await runProgram(["sh", "-euc", script, "sh", directory]).expecting(0)
        let fingerprint = try await LoopbackOrganization.make("\(directory)/data", publicURL: url)
        let server = PrivateServer(directory: directory, network: network, fingerprint: fingerprint)
        do {
            try await server.start()
            let result = try await body(server)
            try await server.stop()
            return result
        } catch {
            let log = server.log
            try await server.stop()
            throw UnexpectedEnd(description: "\(error)\nthe server said:\n\(log.suffix(4000))")
        }
    }

    /// Starts it and waits until it listens.
    ///
    /// - Throws: ``UnexpectedEnd`` if it does not.
    public func start() async throws {
        let started = try RunningProgram(
            network.command([
                try Programs.path("docker-ram-server"), "serve", "--data", "\(directory)/data", "--listen",
                "\(PrivateNetwork.Host.server.address):\(Self.port)", "--tls-certificate", "\(directory)/tls.crt",
                "--tls-key", "\(directory)/tls.key",
            ])
        )
        program.withLock { $0 = started }
        try await waitUntil("the server listens") {
            guard started.status == nil else {
                throw UnexpectedEnd(description: "docker-ram-server ended\n\(started.errors)")
            }
            return started.errors.contains(" listening")
        }
    }

    /// Ends it.
    ///
    /// - Throws: ``UnexpectedEnd`` if it does not end.
    public func stop() async throws {
        try await program.withLock { $0 }?.stop()
    }

    /// Runs curl in the network, which trusts the server and says who refuses.
    ///
    /// - Parameter arguments: what curl gets.
    /// - Returns: what it printed.
    /// - Throws: ``UnexpectedEnd`` if it does not end with 0.
    public func curl(_ arguments: String...) async throws -> String { try await curl(arguments) }

    private func curl(_ arguments: [String]) async throws -> String {
        try await network.run(["curl", "-sS", "--cacert", certificateAuthority] + arguments).expecting(0).output
    }

    /// Makes an access token for its owner.
    ///
    /// - Parameter scopes: what it can do.
    /// - Returns: its secret.
    /// - Throws: ``UnexpectedEnd`` if there is none.
    public func accessToken(_ scopes: [String]) async throws -> String {
        try await LoopbackOrganization.accessToken(scopes, at: Self.url) { try await curl($0) }
    }
}
