@testable import EnforcementDaemon
import TestSupport
import Testing

/// The first bytes of a tunnel.
struct ClientHelloTests {
    /// A ClientHello with some `server_name` extensions, cut into records.
    static func hello(
        _ names: [String] = ["origin.test"],
        nameType: UInt8 = 0,
        others: [[UInt8]] = [[0, 43, 0, 3, 2, 3, 4]],
        recordSize: Int = 16 << 10,
        behind: [UInt8] = []
    ) -> [UInt8] {
        var extensions: [UInt8] = others.first ?? []
        for name in names {
            let entry = [nameType] + size(name.utf8.count, 2) + Array(name.utf8)
            let list = size(entry.count, 2) + entry
            extensions += [0, 0] + size(list.count, 2) + list
        }
        for other in others.dropFirst() { extensions += other }
        var body: [UInt8] = [3, 3] + Array(repeating: 7, count: 32)
        body += [0]
        body += [0, 2, 0x13, 0x01]
        body += [1, 0]
        body += size(extensions.count, 2) + extensions
        return records([1] + size(body.count, 3) + body + behind, recordSize)
    }

    static func records(_ message: [UInt8], _ recordSize: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        for start in stride(from: 0, to: message.count, by: recordSize) {
            let part = message[start..<min(start + recordSize, message.count)]
            bytes += [22, 3, 1] + size(part.count, 2) + part
        }
        return bytes
    }

    private static func size(_ number: Int, _ bytes: Int) -> [UInt8] {
        (0..<bytes).reversed().map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    @Test(
        "what it names",
        arguments: [
            (hello(), "origin.test"), (hello(["ORIGIN.Test"]), "origin.test"), (hello([]), nil),
            (hello(["10.0.0.1"]), "10.0.0.1"), (hello(recordSize: 40), "origin.test"),
            (hello(others: [[0, 43, 0, 3, 2, 3, 4], [0xFE, 0x0D, 0, 3, 1, 2, 3]]), "origin.test"),
            // What may follow: early data.
            (hello() + [20, 3, 3, 0, 1, 1], "origin.test"),
        ]
    )
    func names(bytes: [UInt8], name: String?) {
        #expect(ClientHello(bytes) == .hello(serverName: name))
    }

    @Test(
        "no beginning of it is taken for something else, and each says how much is missing",
        arguments: [40, 16 << 10]
    )
    func beginnings(recordSize: Int) {
        let whole = Self.hello(recordSize: recordSize)
        for count in 0..<whole.count {
            guard case .incomplete(let needed) = ClientHello(Array(whole.prefix(count))) else {
                Issue.record("\(count) bytes")
                continue
            }
            #expect(count < needed && needed <= whole.count)
        }
    }

    @Test(
        "what is not TLS",
        arguments: [
            "GET / HTTP/1.1\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\u{16}\u{2}\u{0}", "\u{15}\u{3}\u{1}", "PRI * HTTP/2.0",
            "\u{16}\u{3}\u{1}\u{0}\u{0}",
        ]
    )
    func notTLS(text: String) {
        #expect(ClientHello(Array(text.utf8)) == .notTLS)
    }

    @Test(
        "what has no single reading",
        arguments: [
            hello(["origin.test", "evil.test"]), hello(["origin.test", "origin.test"]), hello([""]),
            hello(["origin .test"]), hello(["origin\u{0}.test"]), hello(nameType: 1),
            hello(others: [[0, 43, 0, 9, 2, 3, 4]]), hello(behind: [1]), hello(recordSize: 4),
            hello([String(repeating: "a", count: 256)]),
            hello(others: [[0, 21, 0x50, 0] + Array(repeating: 0, count: 0x5000)]),
            records([2, 0, 0, 1, 0], 100), records([1, 0xFF, 0xFF, 0xFF], 100), records([1, 0, 0, 2, 3, 3], 100),
            Array(hello(recordSize: 40).prefix(45)) + [23, 3, 3, 0, 1, 1],
        ]
    )
    func malformed(bytes: [UInt8]) {
        #expect(ClientHello(bytes) == .malformed)
    }

    @Test("a changed byte names no other host unless it is one of the host's", arguments: 0..<20)
    func changes(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let whole = Self.hello()
        for _ in 0..<500 {
            var changed = whole
            changed[Int.random(in: 0..<whole.count, using: &generator)] = .random(in: 0...255, using: &generator)
            guard case .hello(let name?) = ClientHello(changed) else { continue }
            #expect(name.utf8.count == "origin.test".utf8.count)
            #expect(zip(name.utf8, "origin.test".utf8).filter { $0 != $1 }.count <= 1)
        }
    }
}
