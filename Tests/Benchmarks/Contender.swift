import Foundation
import Glibc
import TestSupport

/// Who carries the bytes between a client and a server: nobody, docker-ramd, or a proxy that others have made.
struct Contender {
    /// The name in the table.
    let name: String
    /// Its URL; nil is no proxy at all.
    let url: String?
    /// Its process group; nil is no proxy at all.
    let process: pid_t?

    /// Whether its figures have to keep the budgets.
    var isOurs: Bool { name == "docker-ramd" }
    /// Where it listens on 127.0.0.1.
    var port: UInt16 { url?.split(separator: ":").last.flatMap { UInt16($0) } ?? 0 }

    /// Runs all of them beside each other while a body runs.
    ///
    /// - Parameters:
    ///   - directory: an existing directory in which they keep everything.
    ///   - network: where they are.
    ///   - policy: the policy of docker-ramd.
    ///   - body: gets no proxy at all, docker-ramd, squid and tinyproxy, in this order.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why one does not start.
    static func withAll<Result>(
        in directory: String,
        _ network: PrivateNetwork,
        policy: String,
        _ body: ([Contender]) async throws -> Result
    ) async throws -> Result {
        try await PrivateDaemon.with(in: directory, network, policy: policy) { ours in
            try await OtherProxy.with(.squid, in: directory, network, port: 7262, isQuiet: true) { squid in
                try await OtherProxy.with(.tinyproxy, in: directory, network, port: 7263, isQuiet: true) { tinyproxy in
                    try await body([
                        Contender(name: "direct", url: nil, process: nil),
                        Contender(name: "docker-ramd", url: try ours.proxyURL, process: ours.process),
                        Contender(name: "squid", url: squid.url, process: squid.process),
                        Contender(name: "tinyproxy", url: tinyproxy.url, process: tinyproxy.process),
                    ])
                }
            }
        }
    }

    /// Runs a tinyproxy that does what docker-ramd does for each tunnel, a password and a record of it, while a body runs.
    ///
    /// - Parameters:
    ///   - directory: an existing directory in which it keeps everything.
    ///   - network: where it is.
    ///   - body: gets it.
    /// - Throws: what the body throws, or why it does not start.
    static func withRecordingTinyproxy(
        in directory: String,
        _ network: PrivateNetwork,
        _ body: (Contender) async throws -> Void
    ) async throws {
        let directory = "\(directory)/recording"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try await OtherProxy.with(.tinyproxy, in: directory, network, port: 7264, password: "s3cret") { tinyproxy in
            try await body(
                Contender(name: "tinyproxy with password and log", url: tinyproxy.url, process: tinyproxy.process)
            )
        }
    }

    /// The head of a `CONNECT`.
    func connect(to host: String) -> String {
        var head = "CONNECT \(host):443 HTTP/1.1\r\nHost: \(host):443\r\n"
        if let user = url?.split(separator: "/").last?.split(separator: "@").dropLast().last {
            head += "Proxy-Authorization: Basic \(Data(user.utf8).base64EncodedString())\r\n"
        }
        return head + "\r\n"
    }

    // MARK: - What it costs

    /// Processor time so far, that of ended children included; nil if there is no process.
    ///
    /// - Throws: if the kernel cannot be asked.
    func processorSeconds() throws -> Double? {
        guard let process else { return nil }
        let ticks = try Self.processes(of: process).reduce(0) { sum, fields in
            sum + fields[11...14].compactMap { Int($0) }.reduce(0, +)
        }
        return Double(ticks) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Memory; nil if there is no process.
    ///
    /// - Throws: if the kernel cannot be asked.
    func residentKibibytes() throws -> Int? {
        guard let process else { return nil }
        let pages = try Self.processes(of: process).reduce(0) { sum, fields in sum + (Int(fields[21]) ?? 0) }
        return pages * sysconf(Int32(_SC_PAGESIZE)) / 1024
    }

    /// `/proc/PID/stat` of each process in a group, from the state on, which is the third field of proc(5).
    private static func processes(of group: pid_t) throws -> [[Substring]] {
        let all = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { Int($0) != nil }
        let stats = all.compactMap { try? String(contentsOfFile: "/proc/\($0)/stat", encoding: .utf8) }
        let fields = stats.compactMap { stat in
            stat.lastIndex(of: ")").map { stat[stat.index(after: $0)...].split(separator: " ") }
        }
        return fields.filter { $0.count > 21 && $0[2] == "\(group)" }
    }
}

extension Table {
    /// Adds what 1 GiB takes of a processor by way of each proxy, against squid's.
    ///
    /// - Parameters:
    ///   - what: what was carried.
    ///   - contenders: no proxy, and the proxies.
    ///   - processor: for each of them, processor seconds for each time that it carried 1 GiB.
    mutating func addProcessorTime(of what: String, _ contenders: [Contender], _ processor: [[Double]]) {
        let medians = zip(contenders, processor).filter { $0.0.process != nil }
            .map { (contender: $0, seconds: Sample($1).median) }
        let squid = medians.first { $0.contender.name == "squid" }?.seconds
        for (contender, median) in medians {
            add(
                "processor time for \(what), \(contender.name)",
                String(format: "%.2f s", median),
                ratio: squid.map { median / $0 },
                budget: contender.isOurs ? 1 : nil
            )
        }
    }
}
