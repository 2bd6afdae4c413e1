import Foundation
import TestSupport

/// Measures docker-ram side by side with what it takes the place of, and prints one table.
///
/// `Tests/Benchmarks/run` builds the release programs and runs this; `Tests/Benchmarks/run proxy` measures only the
/// egress proxy, `Tests/Benchmarks/run server` only the organization's server.
@main
enum Benchmarks {
    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst()
        if arguments.first == "decisions", let rules = arguments.dropFirst().first.flatMap({ Int($0) }) {
            // In a process of its own, so that its memory is that of one policy.
            print(try Decisions.measure(rules: rules).line)
            return
        }
        if arguments.first == "egress-decisions", let rules = arguments.dropFirst().first.flatMap({ Int($0) }) {
            print(try EgressDecisions.measure(rules: rules).line)
            return
        }
        if arguments.first == "follow" || arguments.first == "report" {
            let machines = try MachinesProcess.Arguments(Array(arguments.dropFirst()))
            try await arguments.first == "follow" ? OrganizationScale.follow(machines) : ReportLoad.report(machines)
            return
        }
        var table = Table()
        switch arguments.first {
        case nil:
            try await helpers(&table)
            try await decisions(&table)
            try await egressDecisions(&table)
            try await pluginSocket(&table)
            try await dockerPs(&table)
            try await EgressProxyBenchmark.run(&table)
            try await EgressProxyPullBenchmark.run(&table)
            try await server(&table)
        case "server" where arguments.count == 2: try await server(&table, only: arguments.last)
        case "server": try await server(&table)
        case "proxy": try await EgressProxyBenchmark.run(&table)
        case "pull": try await EgressProxyPullBenchmark.run(&table)
        default:
            note("there are only \"proxy\", \"pull\" and \"server\" to be measured alone")
            exit(64)
        }
        print(table.text)
        if !table.isWithinBudget {
            note("a budget was missed")
            exit(1)
        }
    }

    /// The server of an organization, or one part of its measurements.
    private static func server(_ table: inout Table, only part: String? = nil) async throws {
        let parts: [(String, (inout Table) async throws -> Void)] = [
            ("machines", OrganizationScale.run), ("polls", DocumentPolls.run), ("reports", ReportLoad.run),
            ("rules", LongPolicy.run),
        ]
        for (name, run) in parts where part == nil || part == name { try await run(&table) }
    }

    static func note(_ text: String) {
        FileHandle.standardError.write(Data("benchmarks: \(text)\n".utf8))
    }

    private static func helpers(_ table: inout Table) async throws {
        note("credential helpers, 200 runs of each in turn")
        let (start, refused, allowed, theirs) = try await withTemporaryDirectory {
            (root: String) async throws -> (Sample, Sample, Sample, Sample) in
            try FileManager.default.createDirectory(
                atPath: "\(root)/etc/docker-ram",
                withIntermediateDirectories: true
            )
            try PrivateDocker.policy(version: 1, allowing: ["registry.acme.test"]).write(
                toFile: "\(root)/etc/docker-ram/policy.json",
                atomically: true,
                encoding: .utf8
            )
            return try await PrivateKeyring.with(in: root) { keyring in
                let server = "registry.acme.test"
                let secret = #"{"ServerURL":"\#(server)","Username":"alice","Secret":"open-sesame"}"#
                try await keyring.helper("store", secret).expecting(0)
                let ours = try Programs.path("docker-credential-ram")
                let upstream = "/usr/bin/docker-credential-secretservice"
                let samples = try ProcessTimes.measure(
                    [
                        .init(["/bin/true"], input: "", status: 0),
                        .init([ours, "get"], input: "ghcr.io", status: 1),
                        .init([ours, "get"], input: server, status: 0),
                        .init([upstream, "get"], input: server, status: 0),
                    ],
                    rounds: 200,
                    environment: keyring.environment
                )
                return (samples[0], samples[1], samples[2], samples[3])
            }
        }
        table.add("an empty program (`/bin/true`)", start.milliseconds)
        table.add("`docker-credential-secretservice get`, from the keyring", theirs.milliseconds, ratio: 1)
        table.add(
            "`docker-credential-ram get`, refused",
            refused.milliseconds,
            ratio: refused.median / theirs.median,
            budget: 0.25
        )
        table.add(
            "`docker-credential-ram get`, allowed, from the keyring",
            allowed.milliseconds,
            ratio: allowed.median / theirs.median,
            budget: 0.8
        )
    }

    private static func decisions(_ table: inout Table) async throws {
        var first: Decisions?
        for rules in [10, 10_000, 1_000_000] {
            note("decisions with \(rules) rules")
            let child = try await runProgram([CommandLine.arguments[0], "decisions", "\(rules)"]).expecting(0)
            let measured = try Decisions(line: child.output)
            let base = first ?? measured
            first = base
            table.add(
                "a decision, \(rules) rules, processor time",
                "\(Int(measured.nanoseconds.rounded())) ns",
                ratio: measured.nanoseconds / base.nanoseconds,
                limit: (measured.nanoseconds < 1000, "under 1 µs")
            )
            table.add(
                "loading \(rules) rules (\(measured.bytes / 1024) KiB of JSON), processor time",
                measured.loadSeconds < 0.1
                    ? String(format: "%.2f ms", measured.loadSeconds * 1000)
                    : String(format: "%.2f s", measured.loadSeconds),
                limit: rules == 1_000_000 ? (measured.loadSeconds < 2, "under 2 s") : nil
            )
            table.add(
                "memory that \(rules) rules take",
                String(format: "%.1f MiB", Double(measured.residentBytes) / 1_048_576)
            )
        }
    }

    private static func egressDecisions(_ table: inout Table) async throws {
        for rules in [20, 10_000, 1_000_000] {
            note("decisions of the egress proxy with \(rules) rules")
            let child = try await runProgram([CommandLine.arguments[0], "egress-decisions", "\(rules)"]).expecting(0)
            let measured = try EgressDecisions(line: child.output)
            table.add(
                "may the proxy reach a registry, \(rules) rules for cloud registries",
                "\(Int(measured.registryNanoseconds.rounded())) ns",
                limit: (measured.registryNanoseconds < 1000, "under 1 µs")
            )
            table.add(
                "may the proxy reach a support host, \(rules) rules for cloud registries",
                "\(Int(measured.supportHostNanoseconds.rounded())) ns",
                limit: (measured.supportHostNanoseconds < 5000, "under 5 µs")
            )
            guard rules == 1_000_000 else { continue }
            table.add(
                "loading \(rules) rules for cloud registries",
                String(format: "%.2f s", measured.loadSeconds),
                limit: (measured.loadSeconds < 2, "under 2 s")
            )
        }
    }

    private static func pluginSocket(_ table: inout Table) async throws {
        note("the plugin's socket")
        try await withTemporaryDirectory { (root: String) async throws in
            try FileManager.default.createDirectory(atPath: "\(root)/etc/docker-ram", withIntermediateDirectories: true)
            try PrivateDocker.policy(version: 1, allowing: ["docker.io"]).write(
                toFile: "\(root)/etc/docker-ram/policy.json",
                atomically: true,
                encoding: .utf8
            )
            try #"{"egressProxy":{"listen":"127.0.0.1:0"}}"#.write(
                toFile: "\(root)/etc/docker-ram/daemon.json",
                atomically: true,
                encoding: .utf8
            )
            let daemon = try RunningProgram([try Programs.path("docker-ramd"), "run", "--root", root])
            do {
                let socket = "\(root)/run/docker/plugins/docker-ram.sock"
                try await waitUntil("docker-ramd listens") { PluginSocket.answers(socket) }
                let one = try PluginSocket.measure(socket, connections: 1, calls: 20_000)
                let eight = try PluginSocket.measure(socket, connections: 8, calls: 40_000)
                table.add(
                    "plugin, one connection",
                    "\(Int(one.callsPerSecond)) decisions/s, p50 \(one.p50) µs, p99 \(one.p99) µs"
                )
                table.add(
                    "plugin, eight connections",
                    "\(Int(eight.callsPerSecond)) decisions/s, p50 \(eight.p50) µs, p99 \(eight.p99) µs"
                )
            } catch {
                try await daemon.stop()
                throw error
            }
            try await daemon.stop()
        }
    }

    private static func dockerPs(_ table: inout Table) async throws {
        note("docker ps, 200 runs on each of two engines in turn")
        try await withTemporaryDirectory { (directory: String) async throws in
            for part in ["a", "b"] {
                try FileManager.default.createDirectory(
                    atPath: "\(directory)/\(part)",
                    withIntermediateDirectories: true
                )
            }
            let policy = PrivateDocker.policy(version: 1, allowing: ["docker.io"])
            try await PrivateEngine.with(in: "\(directory)/a", policy: policy) { with in
                try await PrivateEngine.with(in: "\(directory)/b", policy: nil, hasPlugin: false) { without in
                    for client in DockerClients.all {
                        let samples = try ProcessTimes.measure(
                            [without, with].map {
                                .init([client, "-H", "unix://\($0.socket)", "ps"], input: "", status: 0)
                            },
                            rounds: 200,
                            environment: ["DOCKER_CONFIG": without.config, "PATH": "/usr/bin:/bin"]
                        )
                        table.add("`\(client) ps` without the plugin", samples[0].milliseconds, ratio: 1)
                        table.add(
                            "`\(client) ps` with the plugin",
                            samples[1].milliseconds,
                            ratio: samples[1].median / samples[0].median,
                            budget: 1.1
                        )
                    }
                }
            }
        }
    }
}
