import Foundation
import LocalInstallation
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationClient

struct OrganizationClientTests {
    /// A web server with TLS for `localhost` and the files of a directory, whose certificate comes from an authority of its
    /// own (`ca.crt` in the directory).
    private func withServer(
        _ certificate: String = "server.crt",
        _ body: (_ directory: String, _ port: Int) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let script = """
                set -e
                cd "$1"
                curve='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
                openssl req -x509 $curve -keyout ca.key -out ca.crt -days 2 -subj '/CN=tests of docker-ram'
                openssl req $curve -keyout server.key -out server.csr -subj '/CN=a server of the tests'
                echo 'subjectAltName=DNS:localhost' > names
                openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt
                openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -days -1 -extfile names -out expired.crt
                mkdir documents
                """
            _ = try await runProgram(["/bin/sh", "-c", script, "sh", directory]).expecting(0)
            let root = try SignedOrganization().root()
            try Files.replace("\(directory)/documents/root.json", with: root, mode: 0o644)
            let server = try RunningProgram([
                "/bin/sh", "-c",
                "cd \"$1\" && exec openssl s_server -WWW -accept 127.0.0.1:0 -cert \(certificate) -key server.key",
                "sh",
                directory,
            ])
            do {
                try await waitUntil("openssl listens") { Self.port(in: server.output) != nil }
                try await body(directory, Self.port(in: server.output) ?? 0)
                try await server.stop()
            } catch {
                try await server.stop()
                throw error
            }
        }
    }

    private static func port(in output: String) -> Int? {
        output.split(separator: "\n").first { $0.hasPrefix("ACCEPT 127.0.0.1:") }.flatMap { Int($0.dropFirst(17)) }
    }

    private func fetch(_ url: String, authority: String?) async throws -> Result<Int, ServerFault> {
        let server = try ServerURL(url)
        let client = OrganizationClient(
            server: server,
            organization: "acme",
            documents: try ServerURL("\(url)/documents"),
            certificateAuthority: authority
        )
        let result: Result<Int, ServerFault>
        do throws(ServerFault) {
            result = .success(try await client.fetch(.root(nil))?.bytes.count ?? 0)
        } catch {
            result = .failure(error)
        }
        await client.shutdown()
        return result
    }

    @Test
    func `only the authority that the enrollment names is trusted, and only for the name of the server`() async throws {
        try await withServer { directory, port in
            let own = "\(directory)/ca.crt"
            #expect(try await fetch("https://localhost:\(port)", authority: own).get() > 100)
            for (url, authority, said) in [
                ("https://localhost:\(port)", nil, "no authority that this machine trusts"),
                ("https://127.0.0.1:\(port)", own, "for another host"),
                ("https://localhost:\(port)", "\(directory)/server.key", "certificate"),
            ] {
                let result = try await fetch(url, authority: authority)
                guard case .failure(.untrusted(let words)) = result else {
                    Issue.record("\(url) with \(authority ?? "the system's authorities"): \(result)")
                    continue
                }
                #expect(words.contains(said), "\(words)")
            }
        }
    }

    @Test
    func `a certificate that has ended is not accepted, which is said`() async throws {
        try await withServer("expired.crt") { directory, port in
            let result = try await fetch("https://localhost:\(port)", authority: "\(directory)/ca.crt")
            guard case .failure(.untrusted(let words)) = result else {
                Issue.record("\(result)")
                return
            }
            #expect(words.contains("certificate is not accepted") && words.contains("has ended"), "\(words)")
        }
    }

    @Test
    func `a port where nobody speaks TLS is said to be one`() async throws {
        let refuse: @Sendable (SocketClient) -> Void = { client in
            _ = client.read { !$0.isEmpty }
            client.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        }
        try await LoopbackServer.with(refuse) { server in
            guard
                case .failure(.unreachable(let words)) = try await fetch(
                    "https://localhost:\(server.port)",
                    authority: nil
                )
            else {
                Issue.record("somebody answers")
                return
            }
            #expect(words == "the server does not speak TLS on this port")
        }
    }

    @Test
    func `a server that is not there is said to be so, without waiting`() async throws {
        guard case .failure(.unreachable(let words)) = try await fetch("http://127.0.0.1:1", authority: nil) else {
            Issue.record("somebody answers")
            return
        }
        #expect(words.contains("refuses connections"), "\(words)")
    }

    @Test(
        arguments: [
            (
                400, #"{"error":"invalid_grant","error_description":"x"}"#,
                ServerFault.refused(status: 400, code: "invalid_grant")
            ),
            (401, #"{"title":"x","code":"device_unknown"}"#, .refused(status: 401, code: "device_unknown")),
            (404, "", .notFound), (404, #"{"code":"no_such_thing"}"#, .refused(status: 404, code: "no_such_thing")),
            (500, "<html>", .status(500)), (403, #"{"code":"A B"}"#, .status(403)),
            (403, #"{"code":"\#u{1B}[2J"}"#, .status(403)), (403, #"{"code":"a","code":"b"}"#, .status(403)),
        ] as [(UInt, String, ServerFault)]
    )
    func `a refusal is told by its code`(_ status: UInt, _ body: String, _ fault: ServerFault) {
        #expect(ServerFault(status: status, body: Array(body.utf8)) == fault)
    }

    @Test
    func `secrets are not printed`() {
        let token = Token("ramr_secret")
        let device = OrganizationClient.Device(id: "d1", secret: token)
        var dumped = ""
        dump(device, to: &dumped)
        for text in ["\(token)", String(reflecting: token), "\(device)", dumped] { #expect(!text.contains("ramr")) }
    }

    @Test(arguments: [("abc-._~", "abc-._~"), ("a b&c=d+e%", "a%20b%26c%3Dd%2Be%25"), ("ü\n", "%C3%BC%0A")])
    func `fields of a form hold what they hold`(_ text: String, _ encoded: String) {
        #expect(PercentEncoding.encode(text) == encoded)
    }
}
