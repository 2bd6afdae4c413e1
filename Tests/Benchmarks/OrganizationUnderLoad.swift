import Foundation
import Glibc
import OrganizationClient
import RegistryAccess
import TestSupport

/// The server of an organization, started for a measurement.
struct OrganizationUnderLoad: Sendable {
    /// The name in its certificate.
    static let host = "ram.acme.test"

    /// What the owner asks with.
    let owner: OrganizationClient
    /// What shows that it is the owner.
    let ownerToken: Token
    /// Where it listens on 127.0.0.1.
    let port: Int
    /// The file with its certificate; `nil` if it does without TLS.
    let certificate: String?
    /// The file with the key of that.
    let key: String?
    private let program: RunningProgram
    private let data: String

    /// Where it is.
    var url: String { certificate == nil ? "http://127.0.0.1:\(port)" : "https://localhost:\(port)" }

    /// Makes a server in a directory.
    ///
    /// - Parameter directory: an existing directory in which it keeps everything.
    /// - Throws: why it cannot be made.
    static func make(in directory: String) async throws {
        let script = """
            cd "$1"
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.crt \
                -days 2 -subj '/CN=a server under load' -addext 'subjectAltName=DNS:\(host),DNS:localhost,IP:127.0.0.1'
            """
        try await runProgram(["sh", "-euc", script, "sh", directory]).expecting(0)
        try await runProgram(
            [
                try Programs.path("docker-ram-server"), "init", "--data", "\(directory)/data", "--organization", "acme",
                "--owner", "owner", "--password-stdin", "--public-url", "https://\(host)",
                "--root-key", "\(directory)/root.key",
            ],
            input: "\(password)\n"
        ).expecting(0)
    }

    private static let password = "seven brown horses"

    /// Runs the server while a body runs.
    ///
    /// - Parameters:
    ///   - directory: where it was made.
    ///   - hasTLS: whether it speaks TLS.
    ///   - body: gets the server.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why it does not run.
    static func serve<Result>(
        in directory: String,
        hasTLS: Bool,
        _ body: (OrganizationUnderLoad) async throws -> Result
    ) async throws -> Result {
        let (certificate, key) = ("\(directory)/server.crt", "\(directory)/server.key")
        let program = try RunningProgram(
            [try Programs.path("docker-ram-server"), "serve", "--data", "\(directory)/data", "--listen", "127.0.0.1:0"]
                + (hasTLS ? ["--tls-certificate", certificate, "--tls-key", key] : [])
        )
        do {
            try await waitUntil("docker-ram-server listens") {
                guard program.status == nil else { throw UnexpectedEnd(description: program.errors) }
                return listeningPort(program.errors) != nil
            }
            let port = listeningPort(program.errors) ?? 0
            let owner = OrganizationClient(
                server: try ServerURL(hasTLS ? "https://localhost:\(port)" : "http://127.0.0.1:\(port)"),
                organization: "acme",
                certificateAuthority: hasTLS ? certificate : nil
            )
            do {
                let session = try await owner.token(.password(user: "owner", password: Token(password)))
                let result = try await body(
                    OrganizationUnderLoad(
                        owner: owner,
                        ownerToken: session.accessToken,
                        port: port,
                        certificate: hasTLS ? certificate : nil,
                        key: hasTLS ? key : nil,
                        program: program,
                        data: "\(directory)/data"
                    )
                )
                await owner.shutdown()
                try await program.stop()
                return result
            } catch {
                await owner.shutdown()
                throw error
            }
        } catch {
            try await program.stop()
            throw error
        }
    }

    /// The port in the line of the log that says where it listens.
    private static func listeningPort(_ log: String) -> Int? {
        guard let line = log.split(separator: "\n").first(where: { $0.contains("listening") }),
            let address = line.range(of: "127.0.0.1:")
        else { return nil }
        return Int(line[address.upperBound...].prefix { $0.isNumber })
    }

    // MARK: - What it holds

    /// Registers machines.
    ///
    /// - Parameter count: how many.
    /// - Returns: them.
    /// - Throws: `ServerFault`.
    func register(_ count: Int) async throws -> [OrganizationClient.Device] {
        try await withThrowingTaskGroup(of: OrganizationClient.Device.self) { group in
            var devices: [OrganizationClient.Device] = []
            for index in 0..<count {
                if index >= 64, let device = try await group.next() { devices.append(device) }
                group.addTask { [owner] in try await owner.registerDevice(named: "machine \(index)") }
            }
            for try await device in group { devices.append(device) }
            return devices
        }
    }

    /// Asks as the owner.
    ///
    /// - Parameters:
    ///   - method: what to do.
    ///   - path: the parts of the path below the organization.
    ///   - version: what the owner has seen.
    ///   - body: a JSON document.
    ///   - query: the parameters of the query.
    /// - Returns: the answer.
    /// - Throws: `AdministrationFault`.
    @discardableResult
    func ask(
        _ method: OrganizationClient.AdministrationRequest.Method,
        _ path: [String],
        version: Int? = nil,
        body: String? = nil,
        query: [(name: String, value: String)] = []
    ) async throws -> OrganizationClient.AdministrationAnswer {
        var request = OrganizationClient.AdministrationRequest(method, ["organizations", "acme"] + path)
        request.version = version
        request.body = body.map { Array($0.utf8) }
        request.query = query
        return try await owner.administer(request, showing: ownerToken)
    }

    /// A policy of the organization.
    ///
    /// - Parameter registries: the hosts that it allows.
    /// - Returns: the document.
    static func policy(allowing registries: some Sequence<String>) -> String {
        let rules = registries.map { "{\"address\":\"\($0)\",\"allowed\":true}" }.joined(separator: ",")
        return "{\"version\":1,\"organization\":\"acme\",\"registries\":[\(rules)]}"
    }

    // MARK: - What it costs

    /// What the process takes.
    struct Cost {
        /// Memory now, in MiB.
        let resident: Double
        /// The most memory so far, in MiB.
        let highWater: Double
        /// Processor time so far, in seconds.
        let processor: Double
    }

    /// What the process takes.
    ///
    /// - Throws: if the kernel does not say.
    func cost() throws -> Cost {
        let status = try String(contentsOfFile: "/proc/\(program.pid)/status", encoding: .utf8)
        func mebibytes(_ name: String) throws -> Double {
            guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("\(name):") }),
                let kibibytes = Double(line.filter(\.isNumber))
            else { throw UnexpectedEnd(description: "no \(name) in \(status)") }
            return kibibytes / 1024
        }
        let stat = try String(contentsOfFile: "/proc/\(program.pid)/stat", encoding: .utf8)
        let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
        let ticks = fields.count > 12 ? (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0) : 0
        return Cost(
            resident: try mebibytes("VmRSS"),
            highWater: try mebibytes("VmHWM"),
            processor: Double(ticks) / Double(sysconf(Int32(_SC_CLK_TCK)))
        )
    }

    /// How long the database of a server that does not run is.
    ///
    /// - Parameter directory: where it was made.
    /// - Returns: bytes.
    /// - Throws: what the file system says.
    static func databaseSize(in directory: String) throws -> Int {
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(directory)/data")
        return try names.filter { $0.hasPrefix("server.sqlite") }.reduce(0) { sum, name in
            let attributes = try FileManager.default.attributesOfItem(atPath: "\(directory)/data/\(name)")
            return sum + (attributes[.size] as? Int ?? 0)
        }
    }
}
