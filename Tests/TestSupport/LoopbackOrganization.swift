import Foundation

/// docker-ram-server on 127.0.0.1, without TLS, with an organization acme that alice owns.
public struct LoopbackOrganization: Sendable {
    /// The password of its owner, alice.
    public static let password = "correct horse battery"

    /// Host and port.
    public let authority: String
    /// Its address.
    public var url: String { "http://\(authority)" }
    private let program: RunningProgram

    /// Makes the organization, with a first policy that allows Docker Hub.
    ///
    /// - Parameters:
    ///   - data: the server's directory, which is made.
    ///   - url: where people reach the server.
    /// - Returns: the fingerprint of its root key.
    /// - Throws: ``UnexpectedEnd``.
    public static func make(_ data: String, publicURL url: String = "http://127.0.0.1:8443") async throws -> String {
        let made = try await runProgram(
            [
                try Programs.path("docker-ram-server"), "init", "--data", data, "--organization", "acme", "--owner",
                "alice", "--password-stdin", "--public-url", url, "--contact", "platform@acme.test",
            ],
            input: "\(password)\n"
        ).expecting(0)
        guard let fingerprint = made.output.firstMatch(of: #/sha256:[0-9a-f]{64}/#)?.output else {
            throw UnexpectedEnd(description: "no fingerprint is said: \(made)")
        }
        return String(fingerprint)
    }

    /// Runs the server while a body runs.
    ///
    /// - Parameters:
    ///   - data: the server's directory.
    ///   - body: gets the server.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, with the server's log, or why the server does not start.
    public static func serve<Result>(
        _ data: String,
        _ body: (LoopbackOrganization) async throws -> Result
    ) async throws -> Result {
        let program = try RunningProgram([
            try Programs.path("docker-ram-server"), "serve", "--data", data, "--listen", "127.0.0.1:0",
        ])
        do {
            try await waitUntil("the server listens") {
                guard program.status == nil else { throw UnexpectedEnd(description: "docker-ram-server ended") }
                return authority(in: program.errors) != nil
            }
            let server = LoopbackOrganization(authority: authority(in: program.errors) ?? "", program: program)
            let result = try await body(server)
            try await program.stop()
            return result
        } catch {
            try await program.stop()
            throw UnexpectedEnd(description: "\(error)\nthe server said:\n\(program.errors.suffix(4000))")
        }
    }

    private static func authority(in log: String) -> String? {
        log.split(separator: "\n").first { $0.contains("listening") }
            .flatMap { $0.firstMatch(of: #/127\.0\.0\.1:\d+\b/#)?.output }.map { String($0) }
    }

    /// Ends the server before the body ends.
    ///
    /// - Throws: ``UnexpectedEnd`` if it does not end.
    public func stop() async throws { try await program.stop() }

    /// Makes an access token for the owner.
    ///
    /// - Parameter scopes: what it can do.
    /// - Returns: its secret.
    /// - Throws: ``UnexpectedEnd`` if there is none.
    public func accessToken(_ scopes: [String]) async throws -> String {
        try await Self.accessToken(scopes, at: url) { try await runProgram(["curl", "-sS"] + $0).expecting(0).output }
    }

    /// Makes an access token for the owner of a server.
    ///
    /// - Parameters:
    ///   - scopes: what it can do.
    ///   - url: the server.
    ///   - curl: runs curl where the server is, and gives what that prints.
    /// - Returns: its secret.
    /// - Throws: ``UnexpectedEnd`` if there is none.
    static func accessToken(
        _ scopes: [String],
        at url: String,
        curl: ([String]) async throws -> String
    ) async throws -> String {
        func secret(_ prefix: String, in answer: String) throws -> String {
            let words = answer.split { !($0.isLetter || $0.isNumber || $0 == "_") }
            guard let word = words.first(where: { $0.hasPrefix("\(prefix)_") }) else {
                throw UnexpectedEnd(description: "no token: \(answer)")
            }
            return String(word)
        }
        let session = try await curl([
            "\(url)/v1/token", "-d", "grant_type=password&username=alice&organization=acme", "--data-urlencode",
            "password=\(password)",
        ])
        let list = scopes.map { "\"\($0)\"" }.joined(separator: ",")
        let answer = try await curl([
            "\(url)/v1/organizations/acme/tokens", "-H", "Authorization: Bearer \(try secret("rama", in: session))",
            "--json", #"{"name":"tests","scopes":[\#(list)],"days":1}"#,
        ])
        return try secret("ramp", in: answer)
    }
}
