import Foundation
import TestSupport

/// `docker pull` of 1 GiB that cannot be compressed, directly and through the egress proxy, in turn.
enum EgressProxyPullBenchmark {
    /// Measures.
    ///
    /// - Parameter table: where it is written down.
    /// - Throws: why something could not be measured.
    static func run(_ table: inout Table) async throws {
        let rounds = 3
        Benchmarks.note("docker pull of 1 GiB, \(rounds) times each in turn")
        let samples = try await PrivateDocker.behindProxy { docker, network in
            let directory = "\(docker.engine.root)/direct"
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            return try await PrivateEngine.with(in: directory, policy: nil, hasPlugin: false, network: network) {
                direct in
                let image = "\(docker.allowed.address)/acme/gib:1"
                try await pushGibibyte(as: image, by: direct)
                var seconds: [[Double]] = [[], []]
                // The first round fills the caches.
                for round in 0...rounds {
                    for (index, engine) in [direct, docker.engine].enumerated() {
                        let start = ContinuousClock.now
                        try await engine.docker(["pull", image]).expecting(0)
                        let took = (ContinuousClock.now - start) / .seconds(1)
                        if round > 0 { seconds[index].append(took) }
                        try await engine.docker(["image", "rm", image]).expecting(0)
                    }
                }
                return seconds.map { Sample($0) }
            }
        }
        for (name, sample) in zip(["direct", "through docker-ramd"], samples) {
            table.add(
                "`docker pull` of 1 GiB, \(name)",
                String(format: "%.2f s", sample.median),
                ratio: sample.median / samples[0].median,
                budget: name == "direct" ? nil : 1.05
            )
        }
    }

    private static func pushGibibyte(as image: String, by engine: PrivateEngine) async throws {
        let context = "\(engine.root)/context"
        try FileManager.default.createDirectory(atPath: context, withIntermediateDirectories: true)
        try await runProgram([
            "dd", "if=/dev/urandom", "of=\(context)/chance", "bs=1M", "count=1024", "status=none",
        ]).expecting(0)
        try "FROM scratch\nADD chance /chance\n"
            .write(toFile: "\(context)/Dockerfile", atomically: true, encoding: .utf8)
        try await engine.docker(["build", "--tag", image, context]).expecting(0)
        try await engine.docker(["push", image]).expecting(0)
        try await engine.docker(["image", "rm", image]).expecting(0)
        try FileManager.default.removeItem(atPath: context)
    }
}
