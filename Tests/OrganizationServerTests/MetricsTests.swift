import HTTPTypes
import RegistryAccess
import SignedPolicy
import TestSupport
import Testing

@testable import OrganizationServer

/// Prometheus' text format, read strictly: what a scraper takes and a little less.
struct ReadMetrics {
    struct Fault: Error, CustomStringConvertible {
        let description: String
    }

    struct Sample {
        let name: String
        let labels: [String: String]
        let value: Double
    }

    /// The kind of each family.
    private(set) var kinds: [String: String] = [:]
    private(set) var samples: [Sample] = []

    init(_ text: String) throws {
        guard text.hasSuffix("\n") else { throw Fault(description: "the last line has no end") }
        var family: String?
        var help: String?
        for line in text.dropLast().split(separator: "\n", omittingEmptySubsequences: false) {
            if let match = line.wholeMatch(of: #/# HELP ([a-z_]+) ([A-Z][^\n]*)/#) {
                guard help == nil, kinds[String(match.1)] == nil else { throw Fault(description: "twice: \(line)") }
                help = String(match.1)
            } else if let match = line.wholeMatch(of: #/# TYPE ([a-z_]+) (counter|gauge|histogram)/#) {
                guard help == String(match.1) else { throw Fault(description: "no help: \(line)") }
                kinds[String(match.1)] = String(match.2)
                family = help
                help = nil
            } else {
                let sample = try Self.sample(line)
                guard let family, help == nil, let kind = kinds[family],
                    kind == "histogram"
                        ? ["_bucket", "_sum", "_count"].contains(where: { sample.name == family + $0 })
                        : sample.name == family
                else { throw Fault(description: "of no family: \(line)") }
                guard kind != "counter" || (family.hasSuffix("_total") && sample.value >= 0) else {
                    throw Fault(description: "no counter: \(line)")
                }
                guard !samples.contains(where: { $0.name == sample.name && $0.labels == sample.labels }) else {
                    throw Fault(description: "twice: \(line)")
                }
                samples.append(sample)
            }
        }
        for (name, kind) in kinds where kind == "histogram" { try checkHistogram(name) }
    }

    private static func sample(_ line: Substring) throws -> Sample {
        guard let match = line.wholeMatch(of: #/([a-z_]+)(?:\{([^\n]*)\})? ([0-9.e+-]+)/#),
            let value = Double(match.3)
        else { throw Fault(description: "no sample: \(line)") }
        var labels: [String: String] = [:]
        var rest = match.2 ?? ""
        while !rest.isEmpty {
            guard let label = rest.prefixMatch(of: #/([a-z]+)="((?:[^"\\\n]|\\["\\n])*)"(,(?=[a-z])|$)/#),
                labels.updateValue(String(label.2), forKey: String(label.1)) == nil
            else { throw Fault(description: "no labels: \(line)") }
            rest = rest[label.range.upperBound...]
        }
        return Sample(name: String(match.1), labels: labels, value: value)
    }

    /// Buckets rise with their bounds to the count.
    private func checkHistogram(_ name: String) throws {
        var series: [[String: String]: [(bound: Double, count: Double)]] = [:]
        for sample in samples where sample.name == "\(name)_bucket" {
            var labels = sample.labels
            guard let bound = labels.removeValue(forKey: "le") else { throw Fault(description: "\(name): no bound") }
            guard let bound = bound == "+Inf" ? .infinity : Double(bound) else {
                throw Fault(description: "\(name): \(bound) is no bound")
            }
            series[labels, default: []].append((bound, sample.value))
        }
        for (labels, buckets) in series {
            let counts = buckets.map(\.count)
            guard buckets.map(\.bound) == buckets.map(\.bound).sorted(), counts == counts.sorted(),
                buckets.last?.bound == .infinity, counts.last == self["\(name)_count", labels],
                let sum = self["\(name)_sum", labels], sum >= 0, counts.last ?? 0 > 0 || sum == 0
            else { throw Fault(description: "\(name) \(labels): \(buckets)") }
        }
    }

    /// A series; `nil` if it is not there.
    subscript(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        samples.first { $0.name == name && $0.labels == labels }?.value
    }
}

struct MetricsTests {
    /// Asks with a token that may do nothing else.
    private func read(_ server: AccountsServer, _ token: String) async throws -> ReadMetrics {
        let answer = try await server.send(.get, "/metrics", as: token)
        #expect(answer.status == 200)
        #expect(answer.headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
        return try ReadMetrics(answer.text)
    }

    private func makeToken(_ server: AccountsServer) async throws -> String {
        try await server.services.store.makeAccessToken(
            named: "prometheus",
            of: "alice",
            in: "acme",
            scopes: [.readMetrics],
            now: server.clock.now,
            expires: server.clock.now + 86_400
        ).secret
    }

    @Test
    func `figures count what is done`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let token = try await makeToken(server)
            let device = try await server.makeDevice()
            for password in [AccountsServer.password, "wrong horse battery"] {
                _ = try await server.form(
                    "/v1/token",
                    ["grant_type": "password", "username": "alice", "password": password, "organization": "acme"]
                )
            }
            let reports = "/v1/organizations/acme/devices/device0000000000000000001a/reports"
            let report =
                #"{"batch":"b0000001","refusals":[{"id":"a","time":"2026-11-25T13:45:10Z","verdict":"deny","#
                + #""point":"egress-proxy","registry":"ghcr.io"}]}"#
            #expect(try await server.send(.post, reports, as: device.secret, body: report).status == 204)
            let session = try await server.signIn("alice")
            let ended = try await server.send(.delete, "/v1/organizations/acme/sessions", as: session)
            #expect(ended.json.value(named: "ended") == .number("2"))
            for number in 0..<12 {
                let answer = try await server.send(
                    .post,
                    "/v1/organizations/acme/devices",
                    body: "{\"name\":\"laptop \(number)\"}"
                )
                #expect(answer.status == (number < 10 ? 201 : 429))
            }

            let metrics = try await read(server, token)
            #expect(metrics["docker_ram_sign_ins_total", ["kind": "password", "result": "succeeded"]] == 1)
            #expect(metrics["docker_ram_sign_ins_total", ["kind": "password", "result": "refused"]] == 1)
            #expect(metrics["docker_ram_sign_ins_total", ["kind": "docker", "result": "succeeded"]] == 0)
            #expect(metrics["docker_ram_reports_total"] == 1)
            #expect(metrics["docker_ram_refusals_total"] == 1)
            #expect(metrics["docker_ram_sessions_ended_total", ["reason": "forced"]] == 2)
            #expect(metrics["docker_ram_sessions"] == 0)
            #expect(metrics["docker_ram_organizations"] == 1)
            #expect(metrics["docker_ram_machines", ["state": "new"]] == 11)
            #expect(metrics["docker_ram_machines", ["state": "silent"]] == 0)
            #expect(metrics["docker_ram_machine_registrations_total", ["result": "registered"]] == 10)
            #expect(metrics["docker_ram_rate_limited_total", ["limit": "registration"]] == 2)
            #expect(metrics["docker_ram_rate_limited_total", ["limit": "wrongToken"]] == 0)
            let route = "/v1/organizations/{organization}/devices"
            let requests = "docker_ram_http_request_duration_seconds_count"
            #expect(metrics[requests, ["method": "POST", "route": route, "status": "2xx"]] == 10)
            #expect(metrics[requests, ["method": "POST", "route": route, "status": "4xx"]] == 2)
            #expect(try #require(metrics["docker_ram_database_bytes", ["part": "all"]]) > 4096)
            #expect(try #require(metrics["docker_ram_database_commit_duration_seconds_count"]) > 10)
            #expect(metrics["docker_ram_build_info", ["version": ProductVersion.text]] == 1)
            #expect(try #require(metrics["process_resident_memory_bytes"]) > 1_000_000)
            // Some time after this was written, and not in the future.
            let start = try #require(metrics["process_start_time_seconds"])
            #expect(start > 1_700_000_000 && start <= Double(Instant.now.seconds) + 1)
            #expect(try #require(metrics["process_open_fds"]) >= 3)
            #expect(try #require(metrics["process_cpu_seconds_total"]) > 0)
        }
    }

    @Test
    func `whatever strangers ask for makes no series of theirs, and names are no one's`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let token = try await makeToken(server)
            func ask(_ number: Int) async throws {
                _ = try await server.send(.get, "/v1/nothing\(number)/\"\\{}")
                _ = try await server.send(.get, "/v1/organizations/org\(number)/documents/policy.json")
                let method = try #require(HTTPRequest.Method("METHOD\(number)"))
                _ = try await server.send(method, "/v1/me")
                _ = try await server.form("/v1/token", ["grant_type": "grant\(number)"])
            }
            try await ask(0)
            // What is counted of the reading itself is there afterwards.
            _ = try await read(server, token)
            let before = try await read(server, token)
            for number in 1..<100 { try await ask(number) }
            let after = try await read(server, token)
            #expect(after.samples.count == before.samples.count)
            for sample in after.samples {
                for value in sample.labels.values {
                    #expect(!value.contains("acme") && !value.contains("alice") && !value.contains("org1"), "\(sample)")
                }
            }
        }
    }

    @Test(arguments: [0, 1, 2, 7, 1000])
    func `a histogram holds everything that fell into it`(count: Int) {
        var histogram = Histogram(bounds: [0.1, 1])
        for number in 0..<count { histogram.add(Double(number)) }
        #expect(histogram.count == count)
        #expect(histogram.buckets == [min(count, 1), count > 1 ? 1 : 0, max(0, count - 2)])
        #expect(histogram.sum == Double(count * (count - 1) / 2))
    }

    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::2", "0:0:0:0::/64"), ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ])
    func `this machine is told from others by its address`(address: String, shown: String) {
        #expect(ClientAddress.shortened(address) == shown)
    }

    @Test
    func `labels are written so that none ends early`() throws {
        var text = PrometheusText()
        text.add("a_b", .gauge, "Help.", [([("name", "q\"uo\\te\nline")], 1.5)])
        #expect(text.text == "# HELP a_b Help.\n# TYPE a_b gauge\na_b{name=\"q\\\"uo\\\\te\\nline\"} 1.5\n")
        #expect(try ReadMetrics(text.text).samples.count == 1)
    }
}
