import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Foundation
import NIOCore
import RegistryAccess
import TestSupport
import Testing

@testable import OrganizationServer

/// What is answered on the event loop is what the router answers.
struct DocumentHandlerTests {
    private static let documents = "/v1/organizations/acme/documents"

    @Test(
        "a document is the same from the event loop as from the router",
        arguments: [
            "freshness.json", "policy.json", "policy/1.json", "policy/2.json", "policy/01.json", "root.json",
            "root/1.json", "root/2.json", "root/3.json", "root/x.json", "freshness.json/", "freshness", "policy/",
            "freshness.json?x=1", "../documents/freshness.json", "%66reshness.json", "",
        ]
    )
    func sameAnswer(_ path: String) async throws {
        try await RunningServer.with { server in
            let wanted = try await server.ask(.get, "\(Self.documents)/\(path)")
            try await server.live { client in
                let tags = [nil, wanted.headers[.eTag], "\"other\"", "*"]
                for tag in tags {
                    let wanted = try await server.ask(.get, "\(Self.documents)/\(path)", ifNoneMatch: tag)
                    var headers = HTTPFields()
                    headers[.ifNoneMatch] = tag
                    try await client.execute(uri: "\(Self.documents)/\(path)", method: .get, headers: headers) {
                        found in
                        #expect(found.status == wanted.status)
                        #expect(Array(found.body.readableBytesView) == wanted.bytes)
                        // Of an answer without a body, the test client makes a length of its own.
                        for field in wanted.headers
                        where field.name != .contentLength || wanted.status != .notModified {
                            // Each request has a number of its own, if it has one.
                            if field.name.canonicalName == "x-request-id" { continue }
                            #expect(found.headers[field.name] == field.value)
                        }
                    }
                }
            }
        }
    }

    @Test
    func `other organizations, other methods and bad tokens are the router's`() async throws {
        try await RunningServer.with { server in
            try await server.live { client in
                let freshness = "\(Self.documents)/freshness.json"
                try await client.execute(uri: "/v1/organizations/nobody/documents/freshness.json", method: .get) {
                    #expect($0.status == .notFound)
                }
                try await client.execute(uri: freshness, method: .post) { #expect($0.status != .ok) }
                let bad: HTTPFields = [.authorization: "Bearer ramp_x"]
                try await client.execute(uri: freshness, method: .get, headers: bad) {
                    #expect($0.status == .unauthorized)
                }
            }
        }
    }

    @Test(
        "dates are written as in RFC 9110",
        arguments: [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"), (4_102_444_800, "Fri, 01 Jan 2100 00:00:00 GMT"),
        ]
    )
    func date(_ seconds: Int64, _ text: String) {
        #expect(Instant(seconds: seconds).httpDate == text)
    }

    @Test
    func `every answer says what time it is, and is counted`() async throws {
        try await RunningServer.with { server in
            try await server.live { client in
                for (path, status) in [("freshness.json", 200), ("root/2.json", 404)] {
                    try await client.execute(uri: "\(Self.documents)/\(path)", method: .get) { found in
                        #expect(found.status.code == status)
                        #expect(found.headers[.date] == server.services.now().httpDate)
                    }
                }
                let counted = server.services.metrics.counts.requests.filter { $0.key.pattern.contains("/documents/") }
                #expect(counted.map(\.key.status).sorted() == ["2xx", "4xx"])
            }
        }
    }

    @Test
    func `after a save the next answer is the new document`() async throws {
        try await RunningServer.with { server in
            try await server.live { client in
                for version in 1..<10 {
                    let policy = server.policy(allowing: ["r\(version).acme.test"])
                    #expect(
                        try await server.ask(.put, "policy", by: "owner", body: policy, ifMatch: version).status == .ok
                    )
                    let wanted = try await server.ask(.get, "\(Self.documents)/freshness.json").bytes
                    try await client.execute(uri: "\(Self.documents)/freshness.json", method: .get) { found in
                        #expect(Array(found.body.readableBytesView) == wanted)
                    }
                    try await client.execute(uri: "\(Self.documents)/policy/\(version + 1).json", method: .get) {
                        #expect($0.status == .ok)
                    }
                }
            }
        }
    }

    @Test
    func `answers keep the order of their requests on one connection`() async throws {
        try await RunningServer.with { server in
            try await server.live { client in
                let port = UInt16(try #require(client.port))
                let connection = try RawConnection(to: "127.0.0.1", port: port)
                let host = "Host: ram.acme.test\r\n"
                let paths = [
                    "/healthz", "\(Self.documents)/root/2.json", "/healthz", "\(Self.documents)/policy/1.json",
                ]
                let requests = (paths + paths.reversed() + paths).map { "GET \($0) HTTP/1.1\r\n\(host)\r\n" }
                connection.send(requests.joined() + "GET /readyz HTTP/1.1\r\n\(host)Connection: close\r\n\r\n")
                let answer = String(
                    decoding: try await onThread { connection.readToEnd(waits: 12) },
                    as: UTF8.self
                )
                var kinds: [String] = []
                for part in answer.components(separatedBy: "HTTP/1.1 ").dropFirst() {
                    kinds.append(
                        part.contains("ok\n")
                            ? "health"
                            : part.hasPrefix("404") ? "root" : part.contains("immutable") ? "policy" : "ready"
                    )
                }
                let once = ["health", "root", "health", "policy"]
                #expect(kinds == once + once.reversed() + once + ["ready"])
            }
        }
    }
}
