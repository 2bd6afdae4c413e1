public import RegistryAccess

/// The settings of docker-ramd, from ``InstallationPaths/daemonSettings``.
///
/// | key | type | default | what |
/// |---|---|---|---|
/// | `decisionLog.maximumBytes` | number, 4096 to 1073741824 | 10485760 | when a file of the decision log is full |
/// | `decisionLog.files` | number, 1 to 100 | 5 | how many files are kept, the current one included |
/// | `decisionLog.logAllowed` | true or false | true | whether allowed contacts are recorded too |
/// | `egressProxy.listen` | address:port | 127.0.0.1:7260 | where the egress proxy listens, unless systemd opens it |
/// | `egressProxy.upstream` | URL | none | another proxy to go through: `http://user:secret@host:port` |
/// | `egressProxy.noProxy` | list of patterns | none | hosts that are reached without it, on any port unless one is named |
/// | `egressProxy.connections` | number, 16 to 60000 | 16384 | how many connections of the engine are open at a time |
/// | `egressProxy.idleSeconds` | number, 1 to 86400 | 900 | how long nothing may pass through a connection |
/// | `egressProxy.connectSeconds` | number, 1 to 55 | 30 | how long finding and reaching a host may take |
///
/// A file that is not there means the defaults; an unknown key refuses the whole file.
public struct DaemonSettings: Hashable, Sendable {
    /// How the decision log is kept.
    public struct DecisionLog: Hashable, Sendable {
        /// When a file is full, in bytes.
        public var maximumBytes = 10 << 20
        /// How many files are kept, the current one included.
        public var files = 5
        /// Whether allowed contacts are recorded too.
        public var logAllowed = true

        /// The defaults.
        public init() {}
    }

    /// How the egress proxy works.
    public struct EgressProxy: Hashable, Sendable {
        /// Where it listens: an IP address and a port; port 0 is any free one.
        public var listen = "127.0.0.1:7260"
        /// Another proxy that everything goes through.
        public var upstream: UpstreamProxy?
        /// Hosts that are reached without it.
        public var noProxy: [AddressPattern] = []
        /// How many connections of the engine are open at a time; more wait in the kernel's queue.
        public var connections = 16_384
        /// How long nothing may pass through a connection, in seconds.
        public var idleSeconds = 900
        /// How long finding and reaching a host may take, in seconds; Go waits a minute for the answer to `CONNECT`.
        public var connectSeconds = 30

        /// The defaults.
        public init() {}

        /// Whether a host is reached without the other proxy.
        ///
        /// - Parameter address: host and port.
        /// - Returns: whether there is no other proxy or a pattern of ``noProxy`` matches.
        public func isDirect(_ address: RegistryAddress) -> Bool {
            guard upstream != nil else { return true }
            let host = try? RegistryAddress(address.host)
            return noProxy.contains { pattern in pattern.matches(address) || host.map(pattern.matches) == true }
        }
    }

    /// How the decision log is kept.
    public var decisionLog = DecisionLog()
    /// How the egress proxy works.
    public var egressProxy = EgressProxy()

    /// The defaults.
    public init() {}

    /// Reads the settings of this machine.
    ///
    /// - Parameter paths: where to look.
    /// - Throws: ``InvalidDaemonSettings`` if there is a file that cannot be used.
    public init(_ paths: InstallationPaths) throws(InvalidDaemonSettings) {
        let path = paths.daemonSettings
        let json: [UInt8]
        do throws(FileError) {
            json = try Files.read(path, atMost: 1 << 20).bytes
        } catch {
            guard error.isNotFound else { throw InvalidDaemonSettings("\(error)") }
            self.init()
            return
        }
        do throws(InvalidJSON) {
            try self.init(json: json)
        } catch {
            throw InvalidDaemonSettings("\"\(path)\", \(error)")
        }
    }

    /// Reads a document.
    ///
    /// - Parameter json: the document.
    /// - Throws: `InvalidJSON` with the place of the first fault.
    public init(json: [UInt8]) throws(InvalidJSON) {
        var scanner = JSONScanner(json, limits: StrictJSON.Limits(bytes: 1 << 20, depth: 4))
        var log = DecisionLog()
        var proxy = EgressProxy()
        try scanner.checkSize()
        try Self.object(&scanner, ["decisionLog", "egressProxy"]) { (key, scanner) throws(InvalidJSON) in
            guard key == "decisionLog" else { return proxy = try Self.egressProxy(&scanner) }
            let keys = ["maximumBytes", "files", "logAllowed"]
            try Self.object(&scanner, keys) { (key, scanner) throws(InvalidJSON) in
                switch key {
                case "maximumBytes": log.maximumBytes = try Self.number(&scanner, 4096...(1 << 30))
                case "files": log.files = try Self.number(&scanner, 1...100)
                default: log.logAllowed = try scanner.bool()
                }
            }
        }
        try scanner.end()
        decisionLog = log
        egressProxy = proxy
    }

    private static func egressProxy(_ scanner: inout JSONScanner) throws(InvalidJSON) -> EgressProxy {
        var proxy = EgressProxy()
        let keys = ["listen", "upstream", "noProxy", "connections", "idleSeconds", "connectSeconds"]
        try object(&scanner, keys) { (key, scanner) throws(InvalidJSON) in
            _ = scanner.peek()
            let start = scanner.position
            switch key {
            case "listen":
                proxy.listen = try scanner.string()
                guard isListenAddress(proxy.listen) else {
                    throw scanner.fault("expected an IP address and a port, like \"127.0.0.1:7260\"", at: start)
                }
            case "upstream":
                let url = Secret(try scanner.string())
                do throws(InvalidUpstreamProxy) {
                    proxy.upstream = try UpstreamProxy(url: url)
                } catch {
                    throw scanner.fault(error.description, at: start)
                }
            case "noProxy":
                proxy.noProxy = []
                try scanner.array { (scanner) throws(InvalidJSON) in
                    _ = scanner.peek()
                    let start = scanner.position
                    guard let pattern = try? AddressPattern(try scanner.string()) else {
                        throw scanner.fault("expected an address pattern, like \"**.acme.test\"", at: start)
                    }
                    proxy.noProxy.append(pattern)
                }
            case "connections": proxy.connections = try number(&scanner, 16...60_000)
            case "idleSeconds": proxy.idleSeconds = try number(&scanner, 1...86_400)
            default: proxy.connectSeconds = try number(&scanner, 1...55)
            }
        }
        return proxy
    }

    private static func isListenAddress(_ text: String) -> Bool {
        let isAnyPort = text.utf8.elementsEqual((text.dropLast(2) + ":0").utf8)
        let address = try? RegistryAddress(isAnyPort ? String(text.dropLast(2)) : text)
        guard let address, address.isIPAddress else { return false }
        return isAnyPort || address.port != nil || text.hasSuffix(":443")
    }

    private static func object(
        _ scanner: inout JSONScanner,
        _ known: [String],
        _ member: (_ key: String, inout JSONScanner) throws(InvalidJSON) -> Void
    ) throws(InvalidJSON) {
        try scanner.object { (key, offset, scanner) throws(InvalidJSON) in
            // As bytes, because Swift holds some Unicode characters for equal to ASCII ones.
            guard let key = known.first(where: { $0.utf8.elementsEqual(key.utf8) }) else {
                let keys = known.map { "\"\($0)\"" }.joined(separator: ", ")
                throw scanner.fault("unknown key \(JSONScanner.quoted(key)); known here: \(keys)", at: offset)
            }
            try member(key, &scanner)
        }
    }

    private static func number(
        _ scanner: inout JSONScanner,
        _ range: ClosedRange<Int>
    ) throws(InvalidJSON) -> Int {
        _ = scanner.peek()
        let start = scanner.position
        guard let number = Int(try scanner.number()), range.contains(number) else {
            throw scanner.fault(
                "expected a whole number from \(range.lowerBound) to \(range.upperBound)",
                at: start
            )
        }
        return number
    }
}

/// Why the settings of docker-ramd cannot be used.
public struct InvalidDaemonSettings: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file, the place and the fault.
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

extension DaemonSettings.EgressProxy {
    /// Where programs of this machine reach a listener.
    ///
    /// On every address (`0.0.0.0`, `[::]`) means on loopback, because no other address of the machine is sure to be
    /// there.
    ///
    /// - Parameter listen: an IP address and a port.
    /// - Returns: both; an IPv6 address stands in brackets.
    public static func reached(listening listen: String) -> (host: String, port: String) {
        let colon = listen.lastIndex(of: ":") ?? listen.endIndex
        let host =
            switch listen[..<colon] {
            case "0.0.0.0": "127.0.0.1"
            case "[::]": "[::1]"
            case let host: String(host)
            }
        return (host, String(listen[colon...].dropFirst()))
    }
}
