import Foundation
import Glibc
import Synchronization
import TestSupport

/// A client of the authorization plugin's socket that does nothing but ask.
enum PluginSocket {
    /// What came out.
    struct Result {
        let callsPerSecond: Double
        /// Half of the calls were faster, in microseconds.
        let p50: Int
        /// All but one call in a hundred were faster, in microseconds.
        let p99: Int
    }

    /// Whether somebody listens.
    ///
    /// - Parameter path: the socket.
    /// - Returns: whether a connection could be made.
    static func answers(_ path: String) -> Bool {
        guard let connection = try? Connection(path) else { return false }
        connection.end()
        return true
    }

    /// Asks for pulls, half of them allowed, as Docker does.
    ///
    /// - Parameters:
    ///   - path: the socket.
    ///   - connections: how many ask at the same time.
    ///   - calls: how many calls all of them make together.
    /// - Returns: how fast it went.
    /// - Throws: ``UnexpectedEnd`` if an answer is missing or wrong.
    static func measure(_ path: String, connections: Int, calls: Int) throws -> Result {
        let shared = Shared()
        let each = calls / connections
        let clock = ContinuousClock()
        let start = clock.now
        let threads = (0..<connections).map { _ in
            Thread { shared.add(Swift.Result { try ask(path, each) }) }
        }
        for thread in threads { thread.start() }
        shared.wait(for: connections)
        let took = (clock.now - start) / .seconds(1)
        let times = try shared.results.flatMap { try $0.get() }.sorted()
        return Result(
            callsPerSecond: Double(times.count) / took,
            p50: Int(times[times.count / 2] * 1e6),
            p99: Int(times[times.count * 99 / 100] * 1e6)
        )
    }

    private static func ask(_ path: String, _ calls: Int) throws -> [Double] {
        let connection = try Connection(path)
        defer { connection.end() }
        let good = request(image: "docker.io%2Flibrary%2Falpine")
        let bad = request(image: "ghcr.io%2Facme%2Fapi")
        let clock = ContinuousClock()
        return try (0..<calls).map { number in
            let isGood = number.isMultiple(of: 2)
            let start = clock.now
            let answer = try connection.ask(isGood ? good : bad)
            let time = (clock.now - start) / .seconds(1)
            guard answer.contains(isGood ? #""Allow":true"# : "disallowed this registry") else {
                throw UnexpectedEnd(description: "a wrong answer: \(answer)")
            }
            return time
        }
    }

    private static func request(image: String) -> [UInt8] {
        let uri = "/v1.41/images/create?fromImage=\(image)&tag=1"
        let body =
            #"{"RequestMethod":"POST","RequestUri":"\#(uri)","RequestHeaders":{"Content-Length":"0","User-Agent":"Docker-Client"}}"#
        let head = """
            POST /AuthZPlugin.AuthZReq HTTP/1.1\r
            Host: plugin.moby.localhost\r
            User-Agent: Go-http-client/1.1\r
            Content-Length: \(body.utf8.count)\r
            Accept: application/vnd.docker.plugins.v1.1+json\r
            Content-Type: application/vnd.docker.plugins.v1.1+json\r
            \r

            """
        return Array((head + body).utf8)
    }

    /// What the threads have brought together.
    private final class Shared: Sendable {
        private let collected = Mutex<[Swift.Result<[Double], any Error>]>([])

        var results: [Swift.Result<[Double], any Error>] { collected.withLock { $0 } }

        func add(_ result: Swift.Result<[Double], any Error>) {
            collected.withLock { $0.append(result) }
        }

        func wait(for count: Int) {
            while results.count < count { usleep(1000) }
        }
    }

    /// One connection that is kept open.
    private final class Connection {
        private let descriptor: Int32
        private var buffer = [UInt8](repeating: 0, count: 65536)

        init(_ path: String) throws {
            descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let bytes = Array(path.utf8)
            guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
                throw UnexpectedEnd(description: "the path is too long: \(path)")
            }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
            let status = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            guard status == 0 else {
                close(descriptor)
                throw UnexpectedEnd(description: "cannot connect to \(path)")
            }
        }

        func end() {
            close(descriptor)
        }

        /// Sends a request and reads one answer; answers here have a length and come in one piece or a few.
        func ask(_ request: [UInt8]) throws -> String {
            guard write(descriptor, request, request.count) == request.count else {
                throw UnexpectedEnd(description: "the plugin does not listen any more")
            }
            var count = 0
            while true {
                let more = buffer[count...].withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
                guard more > 0 else { throw UnexpectedEnd(description: "the plugin closed the connection") }
                count += more
                let text = String(decoding: buffer[..<count], as: UTF8.self)
                guard let end = text.range(of: "\r\n\r\n") else { continue }
                let head = text[..<end.lowerBound].lowercased()
                guard let name = head.range(of: "content-length: "),
                    let length = Int(head[name.upperBound...].prefix { $0.isNumber })
                else { throw UnexpectedEnd(description: "an answer without a length: \(text)") }
                if text[end.upperBound...].utf8.count >= length { return text }
            }
        }
    }
}
