import Foundation
import Synchronization

/// A private Docker engine of which it can be seen what it shows of a request and which hosts it then goes to.
///
/// It asks a recording authorization plugin, which allows everything, and its only way out is a recording proxy, which
/// refuses everything.
public final class EngineRecorder: Sendable {
    /// What Docker showed the authorization plugin of one request.
    public struct Shown: Decodable, Sendable {
        /// Docker's `RequestMethod`.
        public let RequestMethod: String
        /// Docker's `RequestUri`.
        public let RequestUri: String
        /// Docker's `RequestBody`, in base 64.
        public let RequestBody: String?
        /// Docker's `RequestHeaders`.
        public let RequestHeaders: [String: String]?

        /// The headers, one by one.
        public var headers: [(name: String, value: String)] {
            (RequestHeaders ?? [:]).map { (name: $0.key, value: $0.value) }
        }

        /// The body, decoded.
        public var body: [UInt8]? { RequestBody.flatMap { Data(base64Encoded: $0) }.map(Array.init) }
    }

    /// What came of one write to the engine's socket.
    public struct Exchange: Sendable {
        /// The first line of the answer, empty if there was none.
        public let status: String
        /// The rest of the answer, to explain a failure.
        public let answer: String
        /// What the plugin was shown, in order.
        public let shown: [Shown]
        /// The hosts, each with its port, that the engine tried to reach.
        public let hosts: [String]
    }

    private struct Records {
        var shown: [Shown] = []
        var hosts: [String] = []
    }

    private let engineSocket: String
    private let records = Mutex(Records())
    private let plugin: LoopbackServer
    private let proxy: LoopbackServer
    private let registry: LoopbackServer

    /// The port on 127.0.0.1 of a registry that hangs up; Go asks no proxy for it.
    public var loopbackPort: UInt16 { registry.port }

    /// Runs a body with an engine of its own; needs root and an engine.
    ///
    /// - Parameter body: gets the recorder once the engine answers.
    /// - Throws: what the body throws, or an error if the engine does not start.
    public static func run(_ body: (EngineRecorder) throws -> Void) throws {
        try withTemporaryDirectory { directory in
            let name = "recorder-\(UInt32.random(in: .min ... .max))"
            let plugins = "/run/docker/plugins"
            try FileManager.default.createDirectory(atPath: plugins, withIntermediateDirectories: true)
            let recorder = try EngineRecorder(
                engineSocket: "\(directory)/engine.sock",
                pluginSocket: "\(plugins)/\(name).sock"
            )
            defer { recorder.stop() }

            let engine = Process()
            // The engine looks up every registry's address, to tell whether it is an insecure one. In its own mount
            // namespace it finds no name server, and so need not wait for one.
            let resolver = "\(directory)/resolv.conf"
            try Data("nameserver 127.255.255.254\n".utf8).write(to: URL(fileURLWithPath: resolver))
            engine.executableURL = URL(fileURLWithPath: "/usr/bin/unshare")
            engine.arguments = [
                "--mount", "sh", "-c", #"mount --bind "$0" /etc/resolv.conf && exec "$@""#, resolver,
                EngineUnderTest.dockerd,
                "--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs",
                "--data-root", "\(directory)/data", "--exec-root", "\(directory)/exec",
                "--pidfile", "\(directory)/pid", "--config-file", "\(directory)/config.json",
                "--host", "unix://\(directory)/engine.sock", "--authorization-plugin", name,
            ]
            try Data("{}".utf8).write(to: URL(fileURLWithPath: "\(directory)/config.json"))
            let proxy = "http://127.0.0.1:\(recorder.proxy.port)"
            var environment = ProcessInfo.processInfo.environment
            environment["PATH"] =
                "\(EngineUnderTest.directory):\(environment["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin")"
            for (key, value) in ["HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": ""] {
                environment[key] = value
                environment[key.lowercased()] = value
            }
            engine.environment = environment
            let log = "\(directory)/log"
            try Data().write(to: URL(fileURLWithPath: log))
            engine.standardError = FileHandle(forWritingAtPath: log)
            engine.standardOutput = FileHandle.nullDevice
            try engine.run()
            defer {
                engine.terminate()
                engine.waitUntilExit()
            }

            let ping = Array("GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n".utf8)
            let end = ContinuousClock.now + .seconds(60)
            while !recorder.send(ping).status.contains(" 200 ") {
                guard engine.isRunning, ContinuousClock.now < end else {
                    throw Failure(try String(contentsOfFile: log, encoding: .utf8))
                }
                usleep(100_000)
            }
            try body(recorder)
        }
    }

    /// Sends bytes to the engine and reads its answer to the end.
    ///
    /// - Parameter bytes: one HTTP request or more; the last should say `Connection: close`.
    /// - Returns: the answer and what was recorded since the call.
    public func send(_ bytes: [UInt8]) -> Exchange {
        records.withLock { $0 = Records() }
        let answer = UnixSocket.exchange(bytes, with: engineSocket)
        let text = String(decoding: answer, as: UTF8.self)
        return records.withLock { records in
            Exchange(
                status: text.prefix { !$0.isNewline }.description,
                answer: text,
                shown: records.shown,
                hosts: records.hosts
            )
        }
    }

    private struct Failure: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    private init(engineSocket: String, pluginSocket: String) throws {
        self.engineSocket = engineSocket
        plugin = try LoopbackServer(path: pluginSocket)
        proxy = try LoopbackServer()
        registry = try LoopbackServer()
        plugin.start { [self] head, body in
            if head.contains("/Plugin.Activate") { return Self.answer("200 OK", #"{"Implements":["authz"]}"#) }
            if head.contains("/AuthZPlugin.AuthZReq") {
                let shown = try? JSONDecoder().decode(Shown.self, from: Data(body))
                records.withLock { records in
                    if let shown { records.shown.append(shown) }
                }
            }
            return Self.answer("200 OK", #"{"Allow":true}"#)
        }
        proxy.start { [self] head, _ in
            let words = head.prefix { !$0.isNewline }.split(separator: " ")
            if words.count >= 2 { record(host: Self.host(method: words[0], target: String(words[1]))) }
            return Self.answer("403 Refused by the recorder", "")
        }
        let direct = "127.0.0.1:\(registry.port)"
        registry.onConnection { [self] in record(host: direct) }
    }

    private func record(host: String) {
        records.withLock { $0.hosts.append(host) }
    }

    /// `CONNECT host:port`, or a plain request for `http://host[:port]/...`.
    private static func host(method: Substring, target: String) -> String {
        if method == "CONNECT" { return target }
        let authority = target.dropFirst("http://".count).prefix { $0 != "/" && $0 != "?" }
        let afterBracket = authority.lastIndex(of: "]").map { authority[$0...] } ?? authority
        return afterBracket.contains(":") ? String(authority) : "\(authority):80"
    }

    private static func answer(_ status: String, _ body: String) -> String {
        "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private func stop() {
        plugin.stop()
        proxy.stop()
        registry.stop()
    }
}

/// A server for HTTP/1 with lengths, one thread for each connection: enough for the few clients of a test.
private final class LoopbackServer: Sendable {
    private let descriptor: Int32
    private let path: String?
    let port: UInt16

    /// Listens on a Unix socket.
    init(path: String) throws {
        self.path = path
        port = 0
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let bound = UnixSocket.withAddress(path) { bind(descriptor, $0, $1) }
        guard descriptor >= 0, bound == 0, listen(descriptor, 64) == 0 else { throw POSIXError(.EADDRINUSE) }
    }

    /// Listens on a free port of 127.0.0.1.
    init() throws {
        path = nil
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) | getsockname(descriptor, pointer, &length)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        guard descriptor >= 0, result == 0, listen(descriptor, 64) == 0 else { throw POSIXError(.EADDRINUSE) }
    }

    func onConnection(_ body: @escaping @Sendable () -> Void) {
        accept { connection in
            body()
            close(connection)
        }
    }

    func start(_ respond: @escaping @Sendable (_ head: String, _ body: [UInt8]) -> String) {
        accept { connection in
            var pending: [UInt8] = []
            while let (head, body) = Self.readRequest(connection, &pending) {
                UnixSocket.write(Array(respond(head, body).utf8), to: connection)
                if head.hasPrefix("CONNECT") { break }
            }
            close(connection)
        }
    }

    func stop() {
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
        if let path { unlink(path) }
    }

    private func accept(_ serve: @escaping @Sendable (Int32) -> Void) {
        let descriptor = descriptor
        Thread.detachNewThread {
            while true {
                let connection = Foundation.accept(descriptor, nil, nil)
                if connection < 0 { break }
                Thread.detachNewThread { serve(connection) }
            }
        }
    }

    private static func readRequest(_ connection: Int32, _ pending: inout [UInt8]) -> (String, [UInt8])? {
        let blank = Array("\r\n\r\n".utf8)
        var headEnd = pending.firstRange(of: blank)
        while headEnd == nil {
            guard let more = UnixSocket.read(connection) else { return nil }
            pending += more
            headEnd = pending.firstRange(of: blank)
        }
        guard let headEnd else { return nil }
        let head = String(decoding: pending[..<headEnd.lowerBound], as: UTF8.self)
        let length =
            head.split(whereSeparator: \.isNewline).first { $0.lowercased().hasPrefix("content-length:") }
            .flatMap { Int($0.dropFirst(15).trimmingCharacters(in: .whitespaces)) } ?? 0
        while pending.count < headEnd.upperBound + length {
            guard let more = UnixSocket.read(connection) else { return nil }
            pending += more
        }
        let body = Array(pending[headEnd.upperBound..<(headEnd.upperBound + length)])
        pending.removeFirst(headEnd.upperBound + length)
        return (head, body)
    }
}

/// Blocking reads and writes.
private enum UnixSocket {
    /// Connects, writes, and reads until the other side hangs up or says nothing for ten seconds.
    static func exchange(_ bytes: [UInt8], with path: String) -> [UInt8] {
        let connection = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(connection) }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard withAddress(path, { connect(connection, $0, $1) }) == 0 else { return [] }
        write(bytes, to: connection)
        var answer: [UInt8] = []
        while let more = read(connection) { answer += more }
        return answer
    }

    static func read(_ connection: Int32) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(connection, &buffer, buffer.count, 0)
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    static func write(_ bytes: [UInt8], to connection: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else { return -1 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
