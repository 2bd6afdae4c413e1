import Foundation
import OrganizationClient
import TestSupport

/// Polls of `freshness.json`, against nginx serving the same bytes, under the same load in turn.
///
/// Neither writes a line of log for a poll: docker-ram-server does not unless it is told to, and nginx is told not to. Both use
/// as many processors.
enum DocumentPolls {
    private static let (rounds, seconds, connections) = (5, 3, 64)

    /// Measures.
    ///
    /// - Parameter table: where it is written down.
    /// - Throws: why something could not be measured.
    static func run(_ table: inout Table) async throws {
        for hasTLS in [true, false] {
            table.add(
                contentsOf: try await withTemporaryDirectory { (directory: String) async throws -> Table in
                    try await OrganizationUnderLoad.make(in: directory)
                    return try await OrganizationUnderLoad.serve(in: directory, hasTLS: hasTLS) { server in
                        try await withNginx(besides: server, in: directory) { url in try await measure(server, url) }
                    }
                }
            )
        }
    }

    private static func measure(_ server: OrganizationUnderLoad, _ nginx: String) async throws -> Table {
        let kind = server.certificate == nil ? "HTTP" : "TLS"
        let ours = "\(server.url)/v1/organizations/acme/documents/freshness.json"
        var table = Table()
        for isUnchanged in [true, false] {
            let status = isUnchanged ? "304" : "200"
            Benchmarks.note("polls answered with \(status), \(kind), \(rounds) times \(seconds) s each in turn")
            var rates: [[Double]] = [[], []]
            for _ in 0..<rounds {
                for (index, url) in [nginx, ours].enumerated() {
                    let tag = isUnchanged ? try await tag(of: url) : nil
                    rates[index].append(try await load(url, tag))
                }
            }
            let medians = rates.map { Sample($0).median }
            table.add("polls answered with \(status), \(kind), nginx", "\(Int(medians[0]))/s", ratio: 1)
            table.add(
                "polls answered with \(status), \(kind), docker-ram-server",
                "\(Int(medians[1]))/s",
                ratio: medians[1] / medians[0],
                limit: (medians[1] >= 0.5 * medians[0], "at least 0.5 x")
            )
        }
        return table
    }

    /// The name of the document's state; both must serve the same.
    private static func tag(of url: String) async throws -> String {
        let head = try await runProgram(["curl", "-sSfk", "-D", "-", "-o", "/dev/null", url]).expecting(0)
        let line = head.output.split(separator: "\r\n").first { $0.lowercased().hasPrefix("etag:") }
        guard let tag = line?.dropFirst(5) else { throw UnexpectedEnd(description: "no ETag: \(head)") }
        let unchanged = ["curl", "-sSfk", "-o", "/dev/null", "-w", "%{http_code}", "-H", "If-None-Match:\(tag)", url]
        let answer = try await runProgram(unchanged).expecting(0)
        guard answer.output == "304" else { throw UnexpectedEnd(description: "not 304: \(answer)") }
        return String(tag)
    }

    /// Requests per second.
    private static func load(_ url: String, _ tag: String?) async throws -> Double {
        let field = tag.map { ["-H", "If-None-Match:\($0)"] } ?? []
        let wrk = try await runProgram(
            ["wrk", "-t", "1", "-c", "\(connections)", "-d", "\(seconds)s"] + field + [url]
        ).expecting(0)
        guard !wrk.output.contains("Non-2xx"), !wrk.output.contains("Socket errors"),
            let line = wrk.output.split(separator: "\n").first(where: { $0.hasPrefix("Requests/sec:") }),
            let rate = line.split(separator: " ").last.flatMap({ Double($0) })
        else { throw UnexpectedEnd(description: "\(wrk)") }
        return rate
    }

    /// Runs nginx with a copy of the document while a body runs.
    private static func withNginx(
        besides server: OrganizationUnderLoad,
        in directory: String,
        _ body: (String) async throws -> Table
    ) async throws -> Table {
        let state = "\(directory)/nginx"
        try FileManager.default.createDirectory(atPath: "\(state)/files", withIntermediateDirectories: true)
        let document = try await server.owner.fetch(.freshness)
        guard let document else { throw UnexpectedEnd(description: "there is no freshness document") }
        try Data(document.bytes).write(to: URL(fileURLWithPath: "\(state)/files/freshness.json"))
        let scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "\($0)_temp_path \(state)/scratch;" }
        let port = server.port == 27_443 ? 27_444 : 27_443
        let tls = server.certificate.map { "ssl_certificate \($0); ssl_certificate_key \(directory)/server.key;" }
        try """
        daemon off;
        user root;
        worker_processes auto;
        pid \(state)/pid;
        error_log \(state)/error.log;
        events { worker_connections 4096; }
        http {
            \(scratch.joined(separator: "\n"))
            types { application/json json; }
            access_log off;
            sendfile on;
            open_file_cache max=10;
            keepalive_requests 1000000000;
            \(tls ?? "")
            server {
                listen 127.0.0.1:\(port)\(tls == nil ? "" : " ssl");
                root \(state)/files;
                add_header Cache-Control no-cache;
            }
        }
        """.write(toFile: "\(state)/nginx.conf", atomically: true, encoding: .utf8)
        let nginx = try RunningProgram(["nginx", "-e", "\(state)/error.log", "-p", state, "-c", "\(state)/nginx.conf"])
        do {
            try await waitUntil("nginx listens") {
                guard nginx.status == nil else {
                    let log = try? String(contentsOfFile: "\(state)/error.log", encoding: .utf8)
                    throw UnexpectedEnd(description: "nginx ended\n\(nginx.errors)\(log ?? "")")
                }
                return FileManager.default.fileExists(atPath: "\(state)/pid")
            }
            let scheme = tls == nil ? "http://127.0.0.1" : "https://localhost"
            let table = try await body("\(scheme):\(port)/freshness.json")
            try await nginx.stop()
            return table
        } catch {
            try await nginx.stop()
            throw error
        }
    }
}
