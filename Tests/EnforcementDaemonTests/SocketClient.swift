@testable import EnforcementDaemon
import Foundation
import Glibc
import NIOCore

/// One end of a Unix or TCP connection, which sends exactly the bytes that it is given.
final class SocketClient: Sendable {
    private let descriptor: CInt

    init(_ path: String) throws {
        let address = try UnixSocketAddress(path)
        descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard address.withPointer({ connect(descriptor, $0, $1) }) == 0 else {
            // All members have their values, so `deinit` runs and closes.
            throw SocketFault.system("connect to", path, errno)
        }
    }

    /// Connects to a port on loopback.
    ///
    /// - Parameters:
    ///   - port: the port.
    ///   - window: about how many bytes the kernel takes that nobody has read; as many as it likes unless given.
    /// - Throws: what the system says.
    init(port: Int, window: CInt? = nil) throws {
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        if var window {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &window, socklen_t(MemoryLayout<CInt>.size))
        }
        guard address.withSockAddr({ connect(descriptor, $0, socklen_t($1)) }) == 0 else {
            throw SocketFault.system("connect to", "\(port)", errno)
        }
    }

    /// Takes over a connection.
    init(descriptor: CInt) {
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Sends bytes; gives whether the other side has taken them all within a time.
    @discardableResult
    func send(_ bytes: some Collection<UInt8>, within seconds: Int = 30) -> Bool {
        var patience = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// Says that no more bytes will come.
    func endSending() { _ = shutdown(descriptor, CInt(SHUT_WR)) }

    /// Lets the connection break, and not end, when it is closed.
    func breakOnClose() {
        var mode = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &mode, socklen_t(MemoryLayout<linger>.size))
    }

    /// Reads until the other side ends the connection, and gives whether it did so in order; `nil` if it does not.
    func endsInOrder(within seconds: Double = 60) -> Bool? {
        let end = Date().addingTimeInterval(seconds)
        while end.timeIntervalSinceNow > 0 {
            var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&poller, 1, CInt(max(end.timeIntervalSinceNow, 0) * 1000) + 1) > 0 else { return nil }
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count <= 0 { return count == 0 }
        }
        return nil
    }

    /// Reads until a condition holds, the other side has closed, or the time is over.
    func read(for seconds: Double = 60, until isComplete: @Sendable ([UInt8]) -> Bool = { _ in false }) -> [UInt8] {
        var bytes: [UInt8] = []
        let end = Date().addingTimeInterval(seconds)
        while !isComplete(bytes) {
            var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let rest = end.timeIntervalSinceNow
            guard rest > 0, poll(&poller, 1, CInt(rest * 1000) + 1) > 0 else { break }
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        return bytes
    }

    /// Whether the other side closes the connection within a time.
    func isClosed(within seconds: Double) -> Bool {
        let end = Date().addingTimeInterval(seconds)
        while end.timeIntervalSinceNow > 0 {
            var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&poller, 1, CInt(max(end.timeIntervalSinceNow, 0) * 1000) + 1) > 0 else { return false }
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            if recv(descriptor, &buffer, buffer.count, 0) <= 0 { return true }
        }
        return false
    }

    /// Reads one HTTP answer, whose head must have a `Content-Length`.
    func readAnswer(for seconds: Double = 60) -> HTTPAnswer? {
        HTTPAnswer(read(for: seconds) { HTTPAnswer($0) != nil })
    }
}

/// The first HTTP answer in some bytes.
struct HTTPAnswer: Equatable {
    let status: Int
    let headers: [String: String]
    let body: String
    /// How many bytes the answer has.
    let count: Int

    init?(_ bytes: [UInt8]) {
        guard let range = Data(bytes).range(of: Data("\r\n\r\n".utf8)) else { return nil }
        let head = String(decoding: bytes[..<range.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        let words = head[0].split(separator: " ")
        guard words.count > 1, let status = Int(words[1]) else { return nil }
        var headers: [String: String] = [:]
        for line in head.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { return nil }
            headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(
                in: .whitespaces
            )
        }
        guard let length = headers["content-length"].flatMap({ Int($0) }), bytes.count >= range.upperBound + length
        else { return nil }
        self.status = status
        self.headers = headers
        body = String(decoding: bytes[range.upperBound..<(range.upperBound + length)], as: UTF8.self)
        count = range.upperBound + length
    }

    /// All answers in some bytes.
    static func all(in bytes: [UInt8]) -> [HTTPAnswer] {
        var (answers, rest): ([HTTPAnswer], [UInt8]) = ([], bytes)
        while let answer = HTTPAnswer(rest) {
            answers.append(answer)
            rest.removeFirst(answer.count)
        }
        return answers
    }
}

/// Waits until a condition holds, or some seconds are over and it was looked at often enough.
///
/// Tests that block take the few threads that tasks run on away from each other, on two processors for more than a minute:
/// time alone says nothing of how long the condition could have come true.
func eventually(within seconds: Double = 60, _ condition: () async throws -> Bool) async rethrows -> Bool {
    let end = Date().addingTimeInterval(seconds)
    var looks = 0
    while looks < 200 || end.timeIntervalSinceNow > 0 {
        if try await condition() { return true }
        looks += 1
        try? await Task.sleep(for: .milliseconds(20))
    }
    return false
}
