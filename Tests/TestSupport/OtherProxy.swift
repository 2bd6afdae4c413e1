import Foundation
public import Glibc

/// A proxy that others have made, in a ``PrivateNetwork``: what docker-ramd's is measured against, and the corporate
/// proxy that it goes through.
public final class OtherProxy: Sendable {
    /// Which one.
    public enum Kind: String, Sendable, CaseIterable {
        /// Debian's squid.
        case squid
        /// Debian's tinyproxy.
        case tinyproxy
    }

    /// Its process.
    public var process: pid_t { program.pid }
    /// Where it is, with its user and password if it wants one.
    public let url: String
    /// What it says, tinyproxy's requests included.
    public var log: String {
        let files = ["log", "access.log"].map { "\(directory)/\($0)" }
        return files.compactMap { try? String(contentsOfFile: $0, encoding: .utf8) }.joined()
    }

    private let directory: String
    private let program: RunningProgram

    private init(url: String, directory: String, program: RunningProgram) {
        self.url = url
        self.directory = directory
        self.program = program
    }

    /// Runs a proxy while a body runs.
    ///
    /// - Parameters:
    ///   - kind: which one.
    ///   - directory: an existing directory in which it keeps everything.
    ///   - network: where it is.
    ///   - address: the IPv4 address on which it listens; where that is not loopback it also goes out from there.
    ///   - port: the port on which it listens.
    ///   - password: what the user `corporate` has to say, if anything.
    ///   - isQuiet: whether it keeps no record of connections, as for a measurement.
    ///   - body: gets the proxy.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why the proxy does not start.
    public static func with<Result>(
        _ kind: Kind,
        in directory: String,
        _ network: PrivateNetwork,
        address: String = "127.0.0.1",
        port: UInt16,
        password: String? = nil,
        isQuiet: Bool = false,
        _ body: (OtherProxy) async throws -> Result
    ) async throws -> Result {
        let directory = "\(directory)/\(kind)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let isOnLoopback = address.hasPrefix("127.")
        let configuration: String
        let start: [String]
        switch kind {
        case .squid:
            configuration = """
                http_port \(address):\(port)
                \(isOnLoopback ? "" : "tcp_outgoing_address \(address)")
                \(try await squidAccess(password: password, in: directory))
                cache deny all
                pid_filename \(directory)/pid
                cache_log \(directory)/log
                access_log \(isQuiet ? "none" : "stdio:\(directory)/access.log")
                coredump_dir \(directory)
                max_filedescriptors 20000
                shutdown_lifetime 0 seconds
                """
            start = ["squid", "-N", "-f", "\(directory)/conf"]
            // squid is never root; it writes its logs as its own user.
            try await runProgram(["chown", "proxy:", directory]).expecting(0)
        case .tinyproxy:
            configuration = """
                Listen \(address)
                Port \(port)
                \(isOnLoopback ? "" : "Bind \(address)")
                MaxClients 19000
                Timeout 3600
                LogFile "\(directory)/log"
                LogLevel \(isQuiet ? "Critical" : "Connect")
                DisableViaHeader Yes
                \(password.map { "BasicAuth corporate \($0)" } ?? "")
                """
            start = ["tinyproxy", "-d", "-c", "\(directory)/conf"]
        }
        try configuration.write(toFile: "\(directory)/conf", atomically: true, encoding: .utf8)
        let program = try RunningProgram(network.command(start))
        let user = password.map { "corporate:\($0)@" } ?? ""
        let proxy = OtherProxy(url: "http://\(user)\(address):\(port)", directory: directory, program: program)
        do {
            try await waitUntil("\(kind) listens") {
                guard program.status == nil else {
                    throw UnexpectedEnd(description: "\(kind) ended\n\(program.output)\(program.errors)\(proxy.log)")
                }
                return try network.inside { (try? RawConnection(to: address, port: port)) != nil }
            }
            let result = try await body(proxy)
            try await program.stop()
            return result
        } catch {
            try await program.stop()
            throw error
        }
    }

    /// Makes squid's file of passwords, and says whom squid serves.
    private static func squidAccess(password: String?, in directory: String) async throws -> String {
        guard let password else { return "http_access allow all" }
        let hash = try await runProgram(["openssl", "passwd", "-apr1", "-stdin"], input: password).expecting(0)
        try "corporate:\(hash.output)".write(toFile: "\(directory)/passwords", atomically: true, encoding: .utf8)
        return """
            auth_param basic program /usr/lib/squid/basic_ncsa_auth \(directory)/passwords
            auth_param basic children 1 startup=1 idle=1
            acl known proxy_auth REQUIRED
            http_access allow known
            http_access deny all
            """
    }
}
