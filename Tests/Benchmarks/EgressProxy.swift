import Foundation
import Glibc
import Synchronization
import TestSupport

/// The egress proxy side by side with no proxy, with squid and with tinyproxy.
///
/// All of them are in one private network, in front of the same nginx; they take turns, so that what else the machine
/// does falls on all of them alike.
struct EgressProxyBenchmark {
    private static let files = PrivateNetwork.Host.files
    private static let gibibyte = 1 << 30

    let network: PrivateNetwork
    let web: WebServer
    let directory: String

    /// Measures everything.
    ///
    /// - Parameter table: where it is written down.
    /// - Throws: why something could not be measured.
    static func run(_ table: inout Table) async throws {
        let rows = try await withTemporaryDirectory { (directory: String) async throws -> Table in
            try await PrivateNetwork.with(in: directory) { network in
                try await WebServer.with(in: directory, network, [.init(files, "root $directory; access_log off;")]) {
                    web in
                    let benchmark = EgressProxyBenchmark(network: network, web: web, directory: directory)
                    var table = Table()
                    try await benchmark.withContenders { contenders in
                        try await benchmark.transfers(contenders, &table)
                        try await Contender.withRecordingTinyproxy(in: directory, network) { recording in
                            try await benchmark.setUps(contenders + [recording], &table)
                            try await benchmark.tunnelsPerSecond(contenders + [recording], &table)
                        }
                    }
                    // Fresh processes, so that what they have kept of earlier connections is not missing.
                    try await benchmark.withContenders { contenders in
                        try await benchmark.memory(contenders, &table)
                    }
                    return table
                }
            }
        }
        table.add(contentsOf: rows)
    }

    // MARK: - The contenders

    private func withContenders(_ body: ([Contender]) async throws -> Void) async throws {
        let hosts = [Self.files.name, PrivateNetwork.Host.registry.name]
        let policy = PrivateDocker.policy(version: 1, allowing: hosts)
        try await Contender.withAll(in: directory, network, policy: policy, body)
    }

    // MARK: - What is measured

    /// A tinyproxy that serves everybody and records nothing does less for each tunnel; its figures are the ratios' base.
    private static let likeForLike = "no slower than with password and log"

    private func transfers(_ contenders: [Contender], _ table: inout Table) async throws {
        let rounds = 7
        Benchmarks.note("1 GiB through a tunnel, \(rounds) times each in turn")
        try await runProgram(["truncate", "-s", "\(Self.gibibyte)", "\(web.directory)/gib"]).expecting(0)
        var seconds = [[Double]](repeating: [], count: contenders.count)
        var processor = seconds
        for round in 0...rounds {
            for (index, contender) in contenders.enumerated() {
                let before = try contender.processorSeconds()
                let proxy = contender.url.map { ["--proxy", $0] } ?? []
                let curl = try await network.run(
                    ["curl", "-sSf", "-o", "/dev/null", "-w", "%{time_total} %{size_download}"] + proxy
                        + ["https://\(Self.files.name)/gib"]
                ).expecting(0)
                let figures = curl.output.split(separator: " ").compactMap { Double($0) }
                guard figures.count == 2, Int(figures[1]) == Self.gibibyte else {
                    throw UnexpectedEnd(description: "not 1 GiB: \(curl)")
                }
                // The first round fills the caches.
                guard round > 0 else { continue }
                seconds[index].append(figures[0])
                if let before, let after = try contender.processorSeconds() {
                    processor[index].append(after - before)
                }
            }
        }
        let times = seconds.map { Sample($0) }
        // Without a budget: curl and nginx keep both processors busy, which a pull does not. See the benchmark of that.
        for (contender, time) in zip(contenders, times) {
            table.add(
                "1 GiB over TLS, \(contender.name)",
                String(format: "%.2f s", time.median),
                ratio: time.median / times[0].median
            )
        }
        table.addProcessorTime(of: "1 GiB over TLS", contenders, processor)
    }

    private func setUps(_ contenders: [Contender], _ table: inout Table) async throws {
        let proxies = Array(contenders.dropFirst())
        let (rounds, each) = (20, 100)
        Benchmarks.note("setting up tunnels, \(rounds * each) each in turn")
        var answered = [[Double]](repeating: [], count: proxies.count)
        var carried = answered
        for round in 0...rounds {
            for (index, proxy) in proxies.enumerated() {
                let times = try network.inside { try (0..<each).map { _ in try Self.setUp(proxy) } }
                guard round > 0 else { continue }
                answered[index] += times.map(\.answered)
                carried[index] += times.map(\.carried)
            }
        }
        for (what, samples) in [
            ("CONNECT until its answer", answered.map { Sample($0) }),
            ("CONNECT until the server's first byte", carried.map { Sample($0) }),
        ] {
            let (tinyproxy, recording) = (samples[2], samples[3])
            for (proxy, sample) in zip(proxies, samples) {
                table.add(
                    "\(what), p50, \(proxy.name)",
                    microseconds(sample.median),
                    ratio: sample.median / tinyproxy.median,
                    limit: proxy.isOurs ? (sample.median <= recording.median, Self.likeForLike) : nil
                )
                table.add(
                    "\(what), p99, \(proxy.name)",
                    microseconds(sample.seconds[sample.seconds.count * 99 / 100]),
                    ratio: sample.seconds[sample.seconds.count * 99 / 100]
                        / tinyproxy.seconds[tinyproxy.seconds.count * 99 / 100]
                )
            }
        }
    }

    private func tunnelsPerSecond(_ contenders: [Contender], _ table: inout Table) async throws {
        let proxies = Array(contenders.dropFirst())
        let (rounds, threads, each) = (5, 8, 250)
        Benchmarks.note("new tunnels per second, \(threads) clients, \(rounds) times \(threads * each) each in turn")
        var rates = [[Double]](repeating: [], count: proxies.count)
        for round in 0...rounds {
            for (index, proxy) in proxies.enumerated() {
                let start = ContinuousClock.now
                try inParallel(threads) { for _ in 0..<each { _ = try Self.setUp(proxy) } }
                if round > 0 {
                    rates[index].append(Double(threads * each) / ((ContinuousClock.now - start) / .seconds(1)))
                }
            }
        }
        let medians = rates.map { Sample($0).median }
        for (proxy, rate) in zip(proxies, medians) {
            table.add(
                "new tunnels that carry a byte, \(proxy.name)",
                "\(Int(rate))/s",
                ratio: rate / medians[2],
                limit: proxy.isOurs ? (rate >= medians[3], Self.likeForLike) : nil
            )
        }
    }

    private func memory(_ contenders: [Contender], _ table: inout Table) async throws {
        let tunnels = 5000
        Benchmarks.note("\(tunnels) idle tunnels through each")
        for proxy in contenders.dropFirst() {
            // The first few tunnels pay for what is there only once.
            _ = try network.inside { try (0..<50).map { _ in try Self.openTunnel(proxy) } }
            let before = try proxy.residentKibibytes()
            let held = try network.inside { try (0..<tunnels).map { _ in try Self.openTunnel(proxy) } }
            try await Task.sleep(for: .seconds(2))
            let after = try proxy.residentKibibytes()
            guard let before, let after else { continue }
            let each = withExtendedLifetime(held) { Double(after - before) / Double(tunnels) }
            table.add(
                "memory for an idle tunnel, \(proxy.name)",
                String(format: "%.1f KiB", each),
                limit: proxy.isOurs ? (each <= 20, "at most 20 KiB") : nil
            )
        }
    }

    // MARK: - Tunnels

    private static func setUp(_ proxy: Contender) throws -> (answered: Double, carried: Double) {
        let hello = ClientHello.record(serverName: files.name)
        let head = Array(proxy.connect(to: files.name).utf8)
        let start = ContinuousClock.now
        let connection = try RawConnection(to: "127.0.0.1", port: proxy.port)
        connection.send(head)
        let answer = connection.readHead()
        let answered = (ContinuousClock.now - start) / .seconds(1)
        guard answer.hasPrefix("HTTP/1."), answer.dropFirst(8).hasPrefix(" 200") else {
            throw UnexpectedEnd(description: "\(proxy.name) answered: \(answer)")
        }
        connection.send(hello)
        guard connection.read() != nil else {
            throw UnexpectedEnd(description: "nothing came through \(proxy.name)")
        }
        return (answered, (ContinuousClock.now - start) / .seconds(1))
    }

    private static func openTunnel(_ proxy: Contender) throws -> RawConnection {
        let connection = try RawConnection(to: "127.0.0.1", port: proxy.port)
        connection.send(proxy.connect(to: files.name))
        let answer = connection.readHead()
        guard answer.dropFirst(8).hasPrefix(" 200") else {
            throw UnexpectedEnd(description: "\(proxy.name) answered: \(answer)")
        }
        connection.send(ClientHello.record(serverName: files.name))
        guard connection.read() != nil else {
            throw UnexpectedEnd(description: "nothing came through \(proxy.name)")
        }
        return connection
    }

    private func inParallel(_ count: Int, _ body: @escaping @Sendable () throws -> Void) throws {
        let results = Mutex<[Result<Void, any Error>]>([])
        let network = network
        let done = DispatchSemaphore(value: 0)
        for _ in 0..<count {
            Thread.detachNewThread {
                let result = Result { try network.inside(body) }
                results.withLock { $0.append(result) }
                done.signal()
            }
        }
        for _ in 0..<count { done.wait() }
        for result in results.withLock({ $0 }) { try result.get() }
    }

    private func microseconds(_ seconds: Double) -> String { "\(Int((seconds * 1e6).rounded())) µs" }
}
