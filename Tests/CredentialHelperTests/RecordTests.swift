@preconcurrency import Glibc
import LocalInstallation
import TestSupport
import Testing

/// What the helper tells docker-ramd.
struct RecordTests {
    /// docker-ramd's socket, on which nobody answers.
    private final class Listener {
        let descriptor: CInt

        init(_ session: KeyringSession) throws {
            try Files.makeDirectory("\(session.directory)/root/run/docker-ram")
            descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let path = "\(session.directory)/root/run/docker-ram/control.sock"
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let result = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            guard result == 0, listen(descriptor, 0) == 0 else { throw TestFailure("cannot listen") }
        }

        deinit { close(descriptor) }

        /// What came on the next connection; `nil` if there is none.
        func next() -> String? {
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
            let connection = accept(descriptor, nil, nil)
            guard connection >= 0 else { return nil }
            defer { close(connection) }
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = recv(connection, &bytes, bytes.count, 0)
            return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
        }
    }

    @Test(arguments: ["enforce", "audit"], ["get", "store"])
    func `refusals are recorded, in audit mode too`(mode: String, action: String) throws {
        try withKeyringSession(.noProvider) { session in
            try session.allow("a.test", mode: mode)
            let listener = try Listener(session)
            let input = { action == "get" ? $0 : KeyringSession.json($0, "u", "s") }
            let ending = try session.ours(action, input("https://GHCR.io/v2/"))
            let line = try #require(listener.next())
            let form = /\{"request":"record","id":"([0-9a-f]{6})","registry":"ghcr\.io"\}\n/
            let id = try #require(line.wholeMatch(of: form)).output.1
            let sentence = "disallowed this registry: ghcr.io (acme, policy 42, \(id))"
            #expect(ending.text.contains(sentence) == (mode == "enforce"))
            #expect(listener.next() == nil)

            _ = try session.ours(action, input("not an address"))
            let doubtful = /\{"request":"record","id":"[0-9a-f]{6}","registry":null\}\n/
            #expect(try #require(listener.next()).wholeMatch(of: doubtful) != nil)

            _ = try session.ours(action, input("a.test"))
            #expect(listener.next() == nil)
        }
    }

    @Test(arguments: ["list", "erase"])
    func `what is no use of credentials is not recorded`(action: String) throws {
        try withKeyringSession(.noProvider) { session in
            try session.allow("a.test")
            let listener = try Listener(session)
            _ = try session.ours(action, "ghcr.io")
            #expect(listener.next() == nil)
        }
    }

    @Test
    func `the answer is the same whether docker-ramd is there, away or does not listen`() throws {
        try withKeyringSession(.noProvider) { session in
            try session.allow("a.test")
            func sentence() throws -> Substring {
                let ending = try session.ours("get", "ghcr.io")
                #expect(ending.status == 1 && ending.words.isEmpty, "\(ending)")
                return ending.text.prefix { $0 != "(" }
            }
            let away = try sentence()
            #expect(away == "Your organization has disallowed this registry: ghcr.io ")
            let listener = try Listener(session)
            // More than wait in its queue: what does not fit is lost, and nobody waits for it.
            for _ in 0..<5 { #expect(try sentence() == away) }
            var taken = 0
            while listener.next() != nil { taken += 1 }
            #expect(1..<5 ~= taken)
        }
    }
}
