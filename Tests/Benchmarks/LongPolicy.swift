import Foundation
import OrganizationClient
import RegistryAccess
import TestSupport

/// A policy of a hundred thousand rules on the server.
enum LongPolicy {
    private static let rules = 100_000

    /// Measures.
    ///
    /// - Parameter table: where it is written down.
    /// - Throws: why something could not be measured.
    static func run(_ table: inout Table) async throws {
        Benchmarks.note("a policy of \(rules) rules")
        table.add(
            contentsOf: try await withTemporaryDirectory { (directory: String) async throws -> Table in
                try await OrganizationUnderLoad.make(in: directory)
                return try await OrganizationUnderLoad.serve(in: directory, hasTLS: false) { server in
                    try await measure(server)
                }
            }
        )
    }

    private static func measure(_ server: OrganizationUnderLoad) async throws -> Table {
        let hosts = (0..<rules).map { "registry-\($0).example.test" }
        let long = OrganizationUnderLoad.policy(allowing: hosts)
        let other = OrganizationUnderLoad.policy(allowing: hosts.dropFirst(1000) + ["ghcr.io"])
        let small = OrganizationUnderLoad.policy(allowing: ["docker.io", "ghcr.io"])
        let before = try server.cost()
        var table = Table()
        let timed: [(String, Double?, () async throws -> Void)] = [
            ("save", 10, { try await server.ask(.put, ["policy"], version: 1, body: long) }),
            ("get", nil, { try await server.ask(.get, ["policy"]) }),
            ("write a draft", nil, { try await server.ask(.put, ["policy", "draft"], version: 0, body: other) }),
            ("get the draft", nil, { try await server.ask(.get, ["policy", "draft"]) }),
            (
                "save the draft", 10,
                {
                    try await server.ask(
                        .post,
                        ["policy", "draft", "save"],
                        body: "{\"draft\":1,\"policy\":2,\"comment\":\"\"}"
                    )
                }
            ),
            ("get a version with its difference", nil, { try await server.ask(.get, ["policy", "versions", "3"]) }),
            (
                "roll back", 10,
                { try await server.ask(.post, ["policy", "rollback"], version: 3, body: "{\"version\":2}") }
            ),
            ("fetch as a machine", nil, { _ = try await server.owner.fetch(.policy(4)) }),
            ("replace by 2 rules", nil, { try await server.ask(.put, ["policy"], version: 4, body: small) }),
        ]
        for (what, limit, body) in timed {
            let start = ContinuousClock.now
            try await body()
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            table.add(
                "\(rules) rules on the server: \(what)",
                String(format: "%.2f s", seconds),
                limit: limit.map { (seconds <= $0, "within \(Int($0)) s") }
            )
        }
        let after = try server.cost()
        table.add("\(rules) rules on the server: memory before", String(format: "%.0f MiB", before.resident))
        table.add(
            "\(rules) rules on the server: the most memory",
            String(format: "%.0f MiB", after.highWater),
            limit: (after.highWater < 1024, "under 1 GiB")
        )
        return table
    }
}
