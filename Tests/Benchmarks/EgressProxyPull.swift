import Foundation
import TestSupport

/// `docker pull` of 1 GiB that cannot be compressed: directly, through the egress proxy, through squid and through
/// tinyproxy, in turn.
enum EgressProxyPullBenchmark {
    /// Measures.
    ///
    /// - Parameter table: where it is written down.
    /// - Throws: why something could not be measured.
    static func run(_ table: inout Table) async throws {
        let rounds = 5
        Benchmarks.note("docker pull of 1 GiB, \(rounds) times each in turn")
        let rows = try await withTemporaryDirectory { (directory: String) async throws -> Table in
            try await PrivateNetwork.with(in: directory) { network in
                let place = PrivateRegistry.Place(network, .registry)
                let policy = PrivateDocker.policy(version: 1, allowing: [place.address])
                return try await PrivateRegistry.with(in: directory, at: place) { registry in
                    try await Contender.withAll(in: directory, network, policy: policy) { contenders in
                        try await withEngines(in: directory, network, contenders[...]) { engines in
                            let image = "\(registry.address)/acme/gib:1"
                            try await pushGibibyte(as: image, by: engines[0])
                            return try await pulls(of: image, contenders, engines, rounds: rounds)
                        }
                    }
                }
            }
        }
        table.add(contentsOf: rows)
    }

    private static func pulls(
        of image: String,
        _ contenders: [Contender],
        _ engines: [PrivateEngine],
        rounds: Int
    ) async throws -> Table {
        var seconds = [[Double]](repeating: [], count: contenders.count)
        var processor = seconds
        // The first round fills the caches.
        for round in 0...rounds {
            for (index, (contender, engine)) in zip(contenders, engines).enumerated() {
                let before = try contender.processorSeconds()
                let start = ContinuousClock.now
                try await engine.docker(["pull", image]).expecting(0)
                let took = (ContinuousClock.now - start) / .seconds(1)
                if round > 0 {
                    seconds[index].append(took)
                    if let before, let after = try contender.processorSeconds() {
                        processor[index].append(after - before)
                    }
                }
                try await engine.docker(["image", "rm", image]).expecting(0)
            }
        }
        var table = Table()
        let times = seconds.map { Sample($0) }
        for (contender, time) in zip(contenders, times) {
            table.add(
                "`docker pull` of 1 GiB, \(contender.name)",
                String(format: "%.2f s", time.median),
                ratio: time.median / times[0].median,
                budget: contender.isOurs ? 1.05 : nil
            )
        }
        table.addProcessorTime(of: "`docker pull` of 1 GiB", contenders, processor)
        return table
    }

    /// Runs an engine for each contender, whose only way out it is, while a body runs.
    private static func withEngines<Result>(
        in directory: String,
        _ network: PrivateNetwork,
        _ contenders: ArraySlice<Contender>,
        _ engines: [PrivateEngine] = [],
        _ body: ([PrivateEngine]) async throws -> Result
    ) async throws -> Result {
        guard let contender = contenders.first else { return try await body(engines) }
        let root = "\(directory)/engine-\(contender.name)"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        return try await PrivateEngine.with(
            in: root,
            policy: nil,
            hasPlugin: false,
            network: network,
            way: contender.url.map { .proxy(url: $0) } ?? .direct
        ) { engine in
            try await withEngines(in: directory, network, contenders.dropFirst(), engines + [engine], body)
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
