import Foundation
public import Glibc

/// nginx in a ``PrivateNetwork``: the hosts that a registry sends its clients to, as a test describes them.
public final class WebServer: Sendable {
    /// A host that it serves, with TLS on port 443 unless something else is said.
    public struct Site: Sendable {
        let host: PrivateNetwork.Host
        let listen: String
        let configuration: String

        /// A site.
        ///
        /// - Parameters:
        ///   - host: the host.
        ///   - port: its port.
        ///   - hasTLS: whether it speaks TLS.
        ///   - configuration: what stands in nginx's `server` block; `$directory` is ``WebServer/directory``.
        public init(
            _ host: PrivateNetwork.Host,
            port: UInt16 = 443,
            hasTLS: Bool = true,
            _ configuration: String = "root $directory;"
        ) {
            self.host = host
            listen = "\(host.address):\(port)\(hasTLS ? " ssl" : "")"
            self.configuration = configuration
        }
    }

    /// Its files.
    public let directory: String
    /// The process that the others come from.
    public var process: pid_t { program.pid }

    private let state: String
    private let program: RunningProgram

    private init(state: String, program: RunningProgram) {
        self.state = state
        directory = "\(state)/files"
        self.program = program
    }

    /// Runs a server while a body runs.
    ///
    /// - Parameters:
    ///   - directory: an existing directory in which it keeps everything.
    ///   - network: where it is.
    ///   - sites: what it serves.
    ///   - body: gets the server.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why the server does not start.
    public static func with<Result>(
        in directory: String,
        _ network: PrivateNetwork,
        _ sites: [Site],
        _ body: (WebServer) async throws -> Result
    ) async throws -> Result {
        let state = "\(directory)/web"
        for part in ["files", "scratch"] {
            try FileManager.default.createDirectory(atPath: "\(state)/\(part)", withIntermediateDirectories: true)
        }
        let servers = sites.map { site in
            """
            server {
                listen \(site.listen) backlog=4096;
                server_name \(site.host.name);
                access_log \(state)/\(site.host.name).log plain;
                \(site.configuration.replacingOccurrences(of: "$directory", with: "\(state)/files"))
            }
            """
        }
        let scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "\($0)_temp_path \(state)/scratch;" }
        let configuration = """
            daemon off;
            user root;
            worker_processes 1;
            worker_rlimit_nofile 20000;
            pid \(state)/pid;
            error_log \(state)/error.log info;
            events { worker_connections 19000; }
            http {
                log_format plain '$remote_addr "$request" $status "$http_user_agent"';
                \(scratch.joined(separator: "\n"))
                ssl_certificate \(network.certificate);
                ssl_certificate_key \(network.key);
                client_max_body_size 0;
                client_header_timeout 1h;
                sendfile on;
                tcp_nopush on;
                \(servers.joined(separator: "\n"))
            }
            """
        try configuration.write(toFile: "\(state)/nginx.conf", atomically: true, encoding: .utf8)
        let program = try RunningProgram(
            network.command(["nginx", "-e", "\(state)/error.log", "-p", state, "-c", "\(state)/nginx.conf"])
        )
        let server = WebServer(state: state, program: program)
        do {
            try await waitUntil("nginx listens") {
                guard program.status == nil else {
                    let log = try? String(contentsOfFile: "\(state)/error.log", encoding: .utf8)
                    throw UnexpectedEnd(description: "nginx ended\n\(program.errors)\(log ?? "")")
                }
                return FileManager.default.fileExists(atPath: "\(state)/pid")
            }
            let result = try await body(server)
            try await program.stop()
            return result
        } catch {
            try await program.stop()
            throw error
        }
    }

    /// What was asked of a host so far, one line for each request.
    ///
    /// - Parameter host: the host.
    /// - Returns: its access log.
    public func log(of host: PrivateNetwork.Host) -> String {
        (try? String(contentsOfFile: "\(state)/\(host.name).log", encoding: .utf8)) ?? ""
    }

    /// What it says of connections and their faults.
    public var errors: String { (try? String(contentsOfFile: "\(state)/error.log", encoding: .utf8)) ?? "" }
}
