import Foundation
import RegistryAccess
import TestSupport
import Testing

/// Requests that were sent to a running engine, what it showed its plugin, and which hosts it then went to.
@Suite struct EngineRequestFixtureTests {
    struct Recording: Decodable {
        struct Case: Decodable, Sendable, CustomTestStringConvertible {
            let name: String
            let authz_plugin_received: [String]
            let egress_hosts_seen_by_proxy: [String]

            var testDescription: String { name }
        }

        let cases: [Case]
    }

    static func recordedCases() throws -> [Recording.Case] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Fixtures/engine-requests.json")
        return try JSONDecoder().decode(Recording.self, from: Data(contentsOf: file)).cases
    }

    @Test func `the recording is there`() throws {
        #expect(try Self.recordedCases().count == 24)
    }

    @Test(arguments: try recordedCases())
    func `every host that the engine went to was read or the request refused`(_ recorded: Recording.Case) throws {
        #expect(!recorded.authz_plugin_received.isEmpty)
        for line in recorded.authz_plugin_received {
            let shown = try JSONDecoder().decode(EngineRecorder.Shown.self, from: Data(line.utf8))
            var request = EngineRequest(
                method: shown.RequestMethod,
                target: shown.RequestUri,
                headers: shown.headers,
                body: shown.body
            )
            request.trustsContentLength = true
            switch request.reading(ownPluginName: "docker-ram") {
            case .notInspected, .ownPlugin: continue
            case .nothing, .builder: #expect(recorded.egress_hosts_seen_by_proxy.isEmpty)
            case .accesses(let contacts):
                let addresses = Set(contacts.map(\.access.address))
                for host in recorded.egress_hosts_seen_by_proxy {
                    // A proxy sees a host with its port, or without one if it is asked for plain HTTP on port 80.
                    let address = try RegistryAddress(host.contains(":") ? host : "\(host):80")
                    #expect(addresses.contains(address), "\(host) is not among \(addresses)")
                }
            }
        }
    }
}
