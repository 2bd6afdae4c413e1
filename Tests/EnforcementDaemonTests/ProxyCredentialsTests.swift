@testable import EnforcementDaemon
import Foundation
import LocalInstallation
import NIOHTTP1
import TestSupport
import Testing

/// Who may use the egress proxy.
struct ProxyCredentialsTests {
    @Test("the engine's secret and the builders', each with its own user and with every character, and nothing else")
    func secrets() async throws {
        try withTemporaryDirectory { (root: String) throws in
            let paths = InstallationPaths(root: root)
            let engine = try ProxySecret.readOrMake(paths)
            let builders = try ProxySecret.readOrMake(paths, of: .builders)
            #expect(engine.secret != builders.secret)
            let credentials = ProxyCredentials([engine, builders])
            func admits(_ values: String...) -> Bool {
                credentials.admit(HTTPHeaders(values.map { ("Proxy-Authorization", $0) }))
            }
            func token(_ user: String, _ secret: String) -> String {
                Data("\(user):\(secret)".utf8).base64EncodedString()
            }
            for (user, secret) in [("docker-ram", engine.secret.text), ("docker-ram-builder", builders.secret.text)] {
                let right = token(user, secret)
                #expect(admits("Basic \(right)"))
                #expect(admits("bAsIc \(right)"))
                #expect(!admits("Basic \(right)", "Basic \(right)"))
                #expect(!admits("Basic \(right) "))
                #expect(!admits("Basic\t\(right)"))
                #expect(!admits("Bearer\(right)"))
                #expect(!admits("basic \(right.lowercased())"))
                for index in right.utf8.indices.indices {
                    var bytes = Array(right.utf8)
                    let offset = right.utf8.distance(from: right.utf8.startIndex, to: index)
                    bytes[offset] ^= 1
                    #expect(!admits("Basic \(String(decoding: bytes, as: UTF8.self))"))
                }
            }
            #expect(!admits("Basic \(token("docker-ram", builders.secret.text))"))
            #expect(!admits("Basic \(token("docker-ram-builder", engine.secret.text))"))
            #expect(!admits("Basic \(token("docker-ram", ""))"))
            #expect(!admits())
            #expect(!ProxyCredentials([]).admit(HTTPHeaders([("Proxy-Authorization", "")])))
        }
    }
}
