import Foundation
import Glibc
import Synchronization

/// A network of the tests' own: a Linux network namespace with made-up hosts, of which nothing can leave the machine.
///
/// All addresses are on its loopback device, so there is no way out. It has a mount namespace too, in which `/etc/hosts`
/// knows ``hosts``, no name server answers, and a certificate authority of its own is the only one that is trusted. The
/// kernel counts who tries to connect to whom. It is gone when the test process is.
public final class PrivateNetwork: Sendable {
    /// A host, as `/etc/hosts` knows it.
    public struct Host: Sendable, Hashable {
        /// Its name.
        public let name: String
        /// Its IPv4 address.
        public let address: String

        /// A host.
        ///
        /// - Parameters:
        ///   - name: its name.
        ///   - address: its IPv4 address; servers can listen on those in 10.77.0.0/24 and on loopback.
        public init(_ name: String, _ address: String) {
            self.name = name
            self.address = address
        }

        /// The organization's registry.
        public static let registry = Host("registry.acme.test", "10.77.0.2")
        /// The token service of a registry.
        public static let auth = Host("auth.acme.test", "10.77.0.3")
        /// Where a registry keeps its blobs.
        public static let blobs = Host("blobs.acme.test", "10.77.0.4")
        /// A host with files and git repositories.
        public static let files = Host("files.acme.test", "10.77.0.5")
        /// A registry's mirror.
        public static let mirror = Host("mirror.acme.test", "10.77.0.6")
        /// A registry that answers through another one.
        public static let front = Host("front.acme.test", "10.77.0.7")
        /// The corporate proxy.
        public static let corporateProxy = Host("proxy.acme.test", "10.77.0.8")
        /// Somebody else, whom no policy of the tests allows.
        public static let stranger = Host("stranger.test", "10.77.0.9")
        /// A registry without TLS.
        public static let plain = Host("plain.acme.test", "10.77.0.10")
        /// The server of the organization.
        public static let server = Host("ram.acme.test", "10.77.0.11")
        /// A name that leads to loopback.
        public static let inside = Host("inside.acme.test", "127.0.0.1")
        /// A name that leads to where cloud machines keep their secrets.
        public static let metadata = Host("metadata.acme.test", "169.254.169.254")
    }

    /// All hosts.
    public static let hosts: [Host] = [
        .registry, .auth, .blobs, .files, .mirror, .front, .corporateProxy, .stranger, .plain, .server, .inside,
        .metadata,
    ]

    /// Where its files are.
    public let directory: String
    /// The certificate of its authority.
    public var authority: String { "\(directory)/ca.crt" }
    /// The one certificate of all its servers, with its chain.
    public var certificate: String { "\(directory)/server.crt" }
    /// The key of ``certificate``.
    public var key: String { "\(directory)/server.key" }

    private let holder: RunningProgram

    private init(directory: String, holder: RunningProgram) {
        self.directory = directory
        self.holder = holder
    }

    /// Runs a network while a body runs; needs root.
    ///
    /// - Parameters:
    ///   - directory: an existing directory in which it keeps its files.
    ///   - body: gets the network.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why there is no network.
    public static func with<Result>(
        in directory: String,
        _ body: (PrivateNetwork) async throws -> Result
    ) async throws -> Result {
        try await makeCertificates(in: directory)
        let names = hosts.map { "\($0.address) \($0.name)\n" }.joined()
        try "127.0.0.1 localhost\n\(names)".write(toFile: "\(directory)/hosts", atomically: true, encoding: .utf8)
        // On loopback nobody listens there, so a question for an unknown name fails at once.
        try "nameserver 127.255.255.254\n"
            .write(toFile: "\(directory)/resolv.conf", atomically: true, encoding: .utf8)
        let addresses = hosts.map(\.address).filter { $0.hasPrefix("10.") }
        let setUp = """
            cd "$1"
            ip link set lo up
            # Enough ports for the load tests, however many connections have just ended; none on which the tests listen,
            # because a connection to a port that nobody has can come from that port itself.
            echo 10000 65535 >/proc/sys/net/ipv4/ip_local_port_range
            echo 1000 >/proc/sys/net/ipv4/tcp_max_tw_buckets
            for address in \(addresses.joined(separator: " ")); do ip address add $address/32 dev lo; done
            nft -f - <<end
            table inet tests {
                set asked { type ipv4_addr . inet_service; flags dynamic; counter; }
                chain output {
                    type filter hook output priority 0;
                    tcp flags & (syn | ack) == syn add @asked { ip daddr . tcp dport };
                }
            }
            end
            mount --bind hosts /etc/hosts
            mount --bind resolv.conf /etc/resolv.conf
            mount --bind ca.crt /etc/ssl/certs/ca-certificates.crt
            echo ready
            exec tail --pid="$2" -f /dev/null
            """
        let holder = try RunningProgram([
            "unshare", "--net", "--mount", "--propagation", "private", "sh", "-euc", setUp, "sh", directory,
            "\(getpid())",
        ])
        let network = PrivateNetwork(directory: directory, holder: holder)
        do {
            try await waitUntil("there is a network") {
                guard holder.status == nil else { throw UnexpectedEnd(description: "no network\n\(holder.errors)") }
                return holder.output == "ready\n"
            }
            let result = try await body(network)
            try await holder.stop()
            return result
        } catch {
            try await holder.stop()
            throw error
        }
    }

    /// A command as it is run in this network.
    ///
    /// - Parameter command: the program and its arguments; its paths are absolute.
    /// - Returns: what to start.
    public func command(_ command: [String]) -> [String] {
        ["nsenter", "--net=/proc/\(holder.pid)/ns/net", "--mount=/proc/\(holder.pid)/ns/mnt", "--"] + command
    }

    /// Runs a program in this network to its end.
    ///
    /// - Parameters:
    ///   - command: the program and its arguments; its paths are absolute.
    ///   - environment: what to add to the environment.
    ///   - input: what the program reads.
    /// - Returns: the ended program.
    /// - Throws: ``UnexpectedEnd`` if it does not start, or does not end in time.
    public func run(
        _ command: [String],
        environment: [String: String] = [:],
        input: String = ""
    ) async throws -> EndedProgram {
        try await runProgram(self.command(command), environment: environment, input: input)
    }

    /// How often somebody in this network has tried to connect to an address, whether or not anybody listened.
    ///
    /// - Parameters:
    ///   - address: an IPv4 address.
    ///   - port: a port, or nil for all.
    /// - Returns: the number of SYN packets that the kernel has seen.
    /// - Throws: if the kernel cannot be asked.
    public func connections(to address: String, port: UInt16? = nil) async throws -> Int {
        let list = try await run(["nft", "-n", "list", "set", "inet", "tests", "asked"]).expecting(0).output
        // 10.77.0.9 . 443 counter packets 2 bytes 120, ...
        let words = list.split { " \t\n,{}=".contains($0) }.map(String.init)
        return words.indices.reduce(0) { sum, index in
            guard words[index] == address, index + 5 < words.count, words[index + 4] == "packets",
                port == nil || words[index + 2] == port.map(String.init)
            else { return sum }
            return sum + (Int(words[index + 5]) ?? 0)
        }
    }

    /// Gives a host another address, as its owner does by changing its name server.
    ///
    /// - Parameter host: the name and its new address.
    /// - Throws: if that cannot be written.
    public func resolve(_ host: Host) throws {
        let path = "\(directory)/hosts"
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        let kept = lines.filter { !$0.hasSuffix(" \(host.name)") } + ["\(host.address) \(host.name)"]
        // In place: the namespace holds on to the file, not to its name.
        guard let file = FileHandle(forWritingAtPath: path) else { throw CocoaError(.fileWriteUnknown) }
        try file.write(contentsOf: Data((kept.joined(separator: "\n") + "\n").utf8))
        try file.truncate(atOffset: try file.offset())
        try file.close()
    }

    /// Runs a body on a thread that is in this network; sockets that it makes stay in it.
    ///
    /// - Parameter body: what to run; it blocks this thread.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or `POSIXError` if the network is gone.
    public func inside<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value {
        let path = "/proc/\(holder.pid)/ns/net"
        let outcome = OutcomeBox<Value>()
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            outcome.set(
                Swift.Result {
                    let namespace = open(path, O_RDONLY | O_CLOEXEC)
                    defer { close(namespace) }
                    // glibc declares it only for GNU C, which Swift does not ask for.
                    guard let symbol = dlsym(nil, "setns") else { throw POSIXError(.ENOSYS) }
                    let setns = unsafeBitCast(symbol, to: (@convention(c) (Int32, Int32) -> Int32).self)
                    guard namespace >= 0, setns(namespace, 0) == 0 else { throw POSIXError(.ENONET) }
                    return try body()
                }
            )
            done.signal()
        }
        done.wait()
        return try outcome.get()
    }

    private static func makeCertificates(in directory: String) async throws {
        let names = hosts.map { "DNS:\($0.name)" } + Set(hosts.map(\.address)).sorted().map { "IP:\($0)" }
        let script = """
            cd "$1"
            curve='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
            openssl req -x509 $curve -keyout ca.key -out ca.crt -days 2 -subj '/CN=tests of docker-ram'
            openssl req $curve -keyout server.key -out server.csr -subj '/CN=a server of the tests'
            printf 'subjectAltName=DNS:localhost,\(names.joined(separator: ","))\\n' >names
            openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out leaf.crt
            cat leaf.crt ca.crt >server.crt
            """
        try await runProgram(["sh", "-euc", script, "sh", directory]).expecting(0)
    }
}

/// What a thread leaves behind for the one that waits for it.
private final class OutcomeBox<Value: Sendable>: Sendable {
    private let outcome = Mutex<Result<Value, any Error>?>(nil)

    func set(_ result: Result<Value, any Error>) {
        outcome.withLock { $0 = result }
    }

    func get() throws -> Value {
        guard let outcome = outcome.withLock({ $0 }) else { throw POSIXError(.EIO) }
        return try outcome.get()
    }
}
